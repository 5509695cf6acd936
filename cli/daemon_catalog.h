/* daemon_catalog.h - what daemon_catalog.c and daemon_catalog_jobs.c share; nobody else includes it. */
#ifndef MB_CLI_DAEMON_CATALOG_H
#define MB_CLI_DAEMON_CATALOG_H

#include "cli/daemon.h"
#include "postgres/connection.h"

#define PROGRESS_MS 1000 /* between two tellings of a running job */

struct catalog
{
	struct daemon *daemon;
	PGconn *conn;
	int64_t timeline;
	char *schema;     /* of the people's functions, quoted */
	json_t *orphans;  /* running under daemons that are gone: array of rows, or NULL */
	int64_t hello_ms; /* when they were found */
	int64_t retry_ms;
	int64_t next_ask_ms;
	int64_t next_due_ms;
	int64_t next_report_ms;
	int64_t since_us;
	char message[512];
};

/* One value of a call, parsed as JSON when `json` is given; it is the caller's. */
enum mb_code catalog_call(struct catalog *catalog, const char *sql, int count,
						  const char *const *params, json_t **json,
						  struct mb_error *err) MB_MUST_CHECK;
void catalog_number(char out[24], int64_t number);

/*
 * daemon_catalog_jobs.c.  Orphans are jobs of daemons that are gone: they are settled once the repository
 * was looked at, because a backup may be there that nobody wrote down.
 */
enum mb_code catalog_settle_orphans(struct catalog *catalog, struct mb_error *err) MB_MUST_CHECK;
/* Start what waits, as far as there is room. */
enum mb_code catalog_take_jobs(struct catalog *catalog, struct mb_error *err) MB_MUST_CHECK;
/* How jobs go and how they ended.  at_once: somebody may have said mbackup_stop(). */
enum mb_code catalog_tell_jobs(struct catalog *catalog, bool at_once,
							   struct mb_error *err) MB_MUST_CHECK;

#endif
