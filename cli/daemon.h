/*
 * daemon.h - mbackup daemon: what its files share.
 *
 *     cmd_daemon.c       the loop; starting, reloading and ending
 *     daemon_catalog.c   the connection to the catalog, and what is called there;
 *                        daemon_catalog_jobs.c: of jobs
 *     daemon_jobs.c      jobs: from a row to a command line, and from its end to the row
 *     daemon_streams.c   mbackup stream, kept running
 *     daemon_sync.c      what the repository has, for the catalog and the status
 *     daemon_status.c    problems and the status document (docs/daemon.md)
 *     daemon_document.c  the parts of it that come from the repository
 *     daemon_systemd.c   sd_notify
 *     notify*.c          telling people what is wrong (notify.h)
 *
 * One thread does all this; it waits for nothing but the database, and there at most
 * DAEMON_DATABASE_MS.  What takes long is a child process (child.h), or a thread that
 * shares nothing (notify_send.c).
 */
#ifndef MB_CLI_DAEMON_H
#define MB_CLI_DAEMON_H

#include "cli/child.h"
#include "cli/cli.h"

#define DAEMON_UUID_TEXT 37
#define DAEMON_DATABASE_MS 15000
#define DAEMON_MAX_JOBS 16

struct catalog;
struct http;
struct notify;

struct daemon_job
{
	int64_t id;
	char key[DAEMON_UUID_TEXT]; /* never given again, unlike the id */
	char kind[16];
	struct child child;
	int lock_fd; /* held by the child too: by that a later daemon knows that it lives */
	bool cancel; /* somebody asked for it */
	bool ended;  /* the row may not know yet: the database was down */
	json_t *row; /* of job_table, owned */
	/* It was killed and has said nothing: the repository knows. */
	bool is_unsure;
	int64_t killed_ms;
	char state[16];
	json_t *result; /* owned, or NULL */
	json_t *error;
	int64_t told_ms; /* when its progress was told last */
};

struct daemon
{
	struct mb_cli *cli;          /* with the configuration in force */
	struct mb_cli *reloaded;     /* the same when it was read again, else NULL */
	char uuid[DAEMON_UUID_TEXT]; /* of this run */
	char host[256];
	struct catalog *catalog;
	bool is_ending; /* nothing new is begun */
	struct daemon_job jobs[DAEMON_MAX_JOBS];
	size_t job_count;

	/* mbackup stream */
	struct child stream;
	char stream_state[16];
	char stream_message[512];
	int64_t stream_since_us;
	int64_t stream_retry_ms;
	int64_t stream_backoff_ms;

	/* mbackup list, mbackup check */
	struct child sync;
	struct child check;
	int64_t next_sync_ms;
	int64_t next_check_ms;
	bool sync_again;       /* something changed while it ran */
	json_t *list;          /* the newest answer, or NULL */
	int64_t list_asked_ms; /* when it was asked for */
	json_t *checks;        /* the newest findings, or NULL */
	bool list_is_new;      /* the catalog has not got it */
	char repository_message[512];
	bool repository_up;

	json_t *problems;
	json_t *status;
	json_t *rows; /* what the catalog said last: jobs, schedules */
	int64_t next_report_ms;
	struct http *http; /* what the status is shown on, or NULL */
	struct notify *notify;
};

/* -- the catalog ---------------------------------------------------------------------------- */

/*
 * Where it is: conninfo of [daemon] catalog, else that of the first [postgres], with the password
 * of that section.  Everything is borrowed from the configuration.
 */
struct mb_pg_params;
enum mb_code catalog_params(const struct mb_config *config, struct mb_pg_params *params,
							struct mb_error *err) MB_MUST_CHECK;

/* Connects to nothing yet. */
struct catalog *catalog_new(struct daemon *daemon);
void catalog_free(struct catalog *catalog);
/*
 * Connect when it is time to; settle what a dead daemon left; take, tell and end jobs; make
 * those of schedules.  What can pass is logged once and tried again.  A fault that cannot
 * pass (no extension, no right) is that too: an administrator may mend it while we run.
 */
void catalog_turn(struct catalog *catalog);
/* The socket to wait on, or -1. */
int catalog_fd(const struct catalog *catalog);
bool catalog_is_up(const struct catalog *catalog);
/* Since when it is so, and why it is down ("" when it is up). */
int64_t catalog_since_us(const struct catalog *catalog);
const char *catalog_message(const struct catalog *catalog);

/* -- jobs ----------------------------------------------------------------------------------- */

/* Start what a row of job_table asks for; one that cannot be understood ends failed. */
void job_start(struct daemon *daemon, const json_t *row);
/* Take what the children say. */
void jobs_turn(struct daemon *daemon);
/* Forget a job whose end the catalog has. */
void job_forget(struct daemon *daemon, size_t i);
/* Ask all to stop. */
void jobs_stop(struct daemon *daemon);
bool jobs_are_running(const struct daemon *daemon);
/*
 * A job of a daemon that is gone: does its process still live (on this host)?  Does the
 * repository, by the newest list, show that it came to its end?
 */
bool job_is_alive(const struct daemon *daemon, int64_t id);
bool job_has_ended_well(const struct daemon *daemon, const json_t *row, json_t **result);

/* -- the rest ------------------------------------------------------------------------------- */

void streams_turn(struct daemon *daemon);
void streams_stop(struct daemon *daemon);
bool streams_are_running(const struct daemon *daemon);
json_t *streams_json(const struct daemon *daemon); /* a new reference */

void sync_turn(struct daemon *daemon);
/* Look into the repository at the next turn. */
void sync_soon(struct daemon *daemon);

/* Problems and the document of now; daemon->status is then complete. */
void status_turn(struct daemon *daemon);

/* Members of it, from an answer of "mbackup list" (NULL: nothing yet); new references. */
json_t *document_backups(const json_t *list);
json_t *document_last_backups(const json_t *list);
json_t *document_marks(const json_t *list);
json_t *document_windows(const json_t *list, const struct mb_stack *stack);
char *document_url(const char *url); /* without keys in it; free() it */

/* A command of ours with our configuration: words end with NULL; free() the array. */
char **daemon_argv(const struct daemon *daemon, const char *const *words);
int64_t daemon_duration_ms(const struct daemon *daemon, const char *name);

void systemd_notify(const char *state); /* "READY=1"; nothing without $NOTIFY_SOCKET */
/* How often WATCHDOG=1 is wanted; 0: not. */
int64_t systemd_watchdog_ms(void);

#endif
