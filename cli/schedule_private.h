/* schedule_private.h - what cmd_schedule.c (verbs), schedule_run.c and schedule_install.c share. */
#ifndef MB_CLI_SCHEDULE_PRIVATE_H
#define MB_CLI_SCHEDULE_PRIVATE_H

#include "cli/cli.h"
#include "cli/schedule.h"

/* What the configuration asks for, in the order of kinds; texts are borrowed from it. */
struct schedule_set
{
	struct schedule items[SCHEDULE_KINDS];
	size_t count;
};

/* MB_CONFIG when there is none, or one makes no sense. */
enum mb_code schedule_read(const struct mb_cli *cli, struct schedule_set *set,
						   struct mb_error *err) MB_MUST_CHECK;
/* <spool>/schedule.json; free it. */
char *schedule_state_path(const struct mb_cli *cli);

/* run-due, and run NAME. */
enum mb_code schedule_run_due(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
enum mb_code schedule_run_one(struct mb_cli *cli, const char *name,
							  struct mb_error *err) MB_MUST_CHECK;

/* install, and uninstall. */
enum mb_code schedule_install(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
enum mb_code schedule_uninstall(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
/* schedule_units.c: [Service] of a unit that runs `words`. */
struct schedule_unit
{
	const struct mb_cli *cli;
	const struct schedule *schedule;
	const char *user;
	const char *root; /* of the files, "" for the system's */
};
void schedule_put_service(const struct schedule_unit *unit, struct mb_buf *out);
void schedule_put_timer(const struct schedule_unit *unit, struct mb_buf *out);

#endif
