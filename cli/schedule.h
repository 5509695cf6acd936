/*
 * schedule.h - the section [schedule]: what runs when, and what became of it.
 *
 * The daemon has schedules of its own, in the database; these here are for hosts without it: "mbackup schedule run-due" is
 * called each minute (cron, a container), or each schedule has a timer of systemd. Both take the lock <spool>/schedule.lock, so
 * that one runs at a time, and note in <spool>/schedule.json how far each schedule is. Losing that
 * file loses no more than what was due meanwhile.
 *
 * Deciding is apart from doing: schedule_look() gets the time as a parameter.
 */
#ifndef MB_CLI_SCHEDULE_H
#define MB_CLI_SCHEDULE_H

#include "cli/cron.h"
#include "core/base/json.h"

#define SCHEDULE_KINDS 7
/* A run that was killed is begun again so often; then its time is over. */
#define SCHEDULE_MAX_ATTEMPTS 2
/* Of runs that were missed no more are counted. */
#define SCHEDULE_MAX_COUNTED 1000

/* In the order in which they run. */
struct schedule_kind
{
	const char *name;     /* key of the section */
	const char *words[4]; /* of the command; NULL-terminated */
	const char *what;     /* for people */
};
extern const struct schedule_kind schedule_kinds[SCHEDULE_KINDS];

/* One that is configured. */
struct schedule
{
	const struct schedule_kind *kind;
	const char *text; /* borrowed from the configuration */
	struct mb_cron cron;
	/* from the state */
	int64_t seen_us; /* everything until then is settled */
	int attempts;    /* of what is due, that were killed */
	bool is_new;     /* the state knew nothing of it, or another expression */
	/* from schedule_look */
	bool is_due;
	int64_t since_us; /* the first time that is due: nobody has come since */
	int64_t due_us;   /* the last one */
	uint64_t missed;  /* how many before that one were passed over */
	int64_t next_us;  /* after now; 0: never */
};

/* Kinds whose time has come, and when the others come.  `now_us` is a parameter, for tests. */
void schedule_look(struct schedule *schedules, size_t count, int64_t now_us);

/* What the state says of each; a state that cannot be read is none.  Sets seen_us, attempts, is_new. */
void schedule_take_state(struct schedule *schedules, size_t count, const json_t *state,
						 int64_t now_us);
/* The member of the state for a schedule, made when it is missing; borrowed. */
json_t *schedule_state_of(json_t *state, const char *name);
/* What is in the file; {"schedules": {}} when there is none, or nothing that can be understood. */
enum mb_code schedule_state_read(json_t **state, const char *path,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code schedule_state_write(const char *path, const json_t *state,
								  struct mb_error *err) MB_MUST_CHECK;

#endif
