/*
 * restore_private.h - what the files that plan and carry out a restore of Postgres share:
 * the place that it goes to, the settings that it writes, the databases that it holds.
 */
#ifndef MB_POSTGRES_RESTORE_PRIVATE_H
#define MB_POSTGRES_RESTORE_PRIVATE_H

#include "postgres/private.h"

#define MB_PG_MAX_TABLESPACES 60
/*
 * Stands in a directory from the first change to the last but one: what is there belongs to a
 * restore, whatever is missing.  It names the tablespace and WAL directories that are part of it.
 */
#define MB_PG_PARTIAL_FILE "mbackup_restore.partial"
#define MB_PG_CONF_MAX_BYTES (16u << 20)

struct mb_pg_tablespace
{
	char oid[16];
	char *old_path;
	char *new_path;
	int fd; /* -1 until opened */
};

/* -- place.c, place_check.c: where to ------------------------------------------------------------------------ */

struct mb_pg_place
{
	char *directory; /* absolute */
	int fd;          /* -1 until opened */
	char *wal_dir;   /* NULL: pg_wal is a directory like others */
	int wal_fd;
	struct mb_pg_tablespace tablespaces[MB_PG_MAX_TABLESPACES];
	size_t tablespace_count;
	char version_dir[64]; /* "PG_15_202209061": what is the cluster's in a tablespace */
	bool change_owner;    /* we are root */
	uid_t uid;
	gid_t gid;
	mode_t mode;
	bool delta;    /* the directory holds something that may be replaced */
	bool in_place; /* where the component itself lives: adopted from the start */
};

/* From restore->commit and ->wishes; touches nothing. */
enum mb_code mb_pg_place_read(struct mb_pg_place *place, const struct mb_restore *restore,
							  struct mb_error *err) MB_MUST_CHECK;
/*
 * Can it be written?  MB_CONFLICT: not empty, another cluster's, a running server; MB_DENIED.
 * Touches nothing; sets place->delta.  service: how the server will be stopped, or NULL.
 */
enum mb_code mb_pg_place_check(struct mb_pg_place *place, struct mb_restore *restore,
							   const char *service, struct mb_error *err) MB_MUST_CHECK;
/* Make and open its directories; notes those that are new by mb_restore_made. */
enum mb_code mb_pg_place_open(struct mb_pg_place *place, struct mb_restore *restore,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_pg_place_release(struct mb_pg_place *place);
/* "pg_tblspc/<oid>/rest" and "pg_wal/rest" stand elsewhere: the name and root of a path. */
enum mb_pg_where
{
	MB_PG_HERE,      /* below the directory, under its own name */
	MB_PG_ELSEWHERE, /* *name and *root are set */
	MB_PG_LINKED     /* a link that is made from the plan */
};
enum mb_pg_where mb_pg_place_of(const struct mb_pg_place *place, const char *path, size_t len,
								struct mb_buf *name, size_t *root);
/* Roots: 0 the directory, then the tablespaces, last pg_wal. */
const char *mb_pg_place_root(const struct mb_pg_place *place, size_t root);
int mb_pg_place_root_fd(const struct mb_pg_place *place, size_t root);
size_t mb_pg_place_root_count(const struct mb_pg_place *place);
/* Do two paths lead to one directory?  One that is not there leads nowhere. */
bool mb_pg_same_directory(const char *a, const char *b);

/* -- databases.c: a restore of some databases ---------------------------------------------------- */

struct mb_pg_databases
{
	uint32_t *hollow; /* sorted oids of those that come back as zeros */
	size_t hollow_count;
	char **hollow_names;
};
/* MB_NOT_FOUND for a name that is not in the backup, MB_UNSUPPORTED for a backup that names none. */
enum mb_code mb_pg_databases_read(struct mb_pg_databases *databases,
								  const struct mb_restore *restore,
								  struct mb_error *err) MB_MUST_CHECK;
bool mb_pg_is_hollow(const struct mb_pg_databases *databases, const struct mb_entry *entry);
void mb_pg_databases_release(struct mb_pg_databases *databases);
/* The CRC-32C of so many zeros. */
uint32_t mb_pg_zero_crc(uint64_t size);

/* -- preflight.c ------------------------------------------------------------------------------------ */

/* After the WAL is planned: everything else that a restore needs; adds to restore->plan. */
enum mb_code mb_pg_preflight(struct mb_postgres *pg, struct mb_restore *restore,
							 struct mb_error *err) MB_MUST_CHECK;

/* -- autoconf.c: postgresql.auto.conf ---------------------------------------------------------------- */

/* The source's settings without what would lead recovery astray, and the restore's own. */
void mb_pg_autoconf_make(struct mb_buf *out, const struct mb_buf *source,
						 const struct mb_restore *restore, const struct mb_pg_place *place);

/* -- program.c: programs of Postgres ------------------------------------------------------------ */

/* "/usr/lib/postgresql/15/bin"; free() it.  MB_NOT_FOUND says where it looked. */
enum mb_code mb_pg_bindir(const struct mb_settings *settings, int major, char **bindir,
						  struct mb_error *err) MB_MUST_CHECK;
struct mb_pg_run
{
	const char *const *argv; /* argv[0] is a path */
	bool change_user;        /* to uid and gid; we are root */
	uid_t uid;
	gid_t gid;
	int out_fd;  /* its stdout; -1: nowhere */
	bool has_in; /* in_fd is its stdin; else there is none */
	int in_fd;
	char *const *variables;         /* "NAME=value" instead of ours, NULL-terminated; or NULL */
	int fine_status;                /* an exit status that is as good as 0 */
	bool die_with_us;               /* it gets a SIGQUIT when this thread ends */
	const struct mb_cancel *cancel; /* ends it: MB_INTERRUPTED; NULL: nothing does */
};
/* Run to its end.  MB_IO with its last words for any other exit status. */
enum mb_code mb_pg_run(const struct mb_pg_run *run, struct mb_error *err) MB_MUST_CHECK;
/*
 * The same, but what it reads is written to it: open, write, close.  A program that ends early is told by
 * close; until then writing goes on into nothing.
 */
struct mb_pg_pipe
{
	const char *program;
	pid_t pid; /* 0: none */
	int fd;
	int err_fd;
	bool is_over; /* nobody reads any more */
};
enum mb_code mb_pg_pipe_open(struct mb_pg_pipe *pipe, const struct mb_pg_run *run,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_pg_pipe_write(struct mb_pg_pipe *pipe, const void *data, size_t len,
							  struct mb_error *err) MB_MUST_CHECK;
/* End of input, wait.  MB_IO with its last words. */
enum mb_code mb_pg_pipe_close(struct mb_pg_pipe *pipe, struct mb_error *err) MB_MUST_CHECK;
void mb_pg_pipe_kill(struct mb_pg_pipe *pipe); /* when nobody wants the rest; nothing when closed */
/* What a program wrote into a file from there on, as one line: at most out_bytes, with the NUL. */
void mb_pg_words(int fd, off_t from, char *out, size_t out_bytes);
/* Start and go on; the caller waits for it. */
enum mb_code mb_pg_spawn(const struct mb_pg_run *run, int err_fd, pid_t *pid,
						 struct mb_error *err) MB_MUST_CHECK;

/* -- server.c: a server on what was restored --------------------------------------------------------- */

#define MB_PG_START_LOG "mbackup_start.log"

/* What pg_control and postmaster.pid say, without asking the server. */
enum mb_pg_state
{
	MB_PG_DOWN,          /* no process */
	MB_PG_DOWN_RECOVERY, /* shut down while in recovery */
	MB_PG_RECOVERING,
	MB_PG_UP /* in production and open */
};
enum mb_pg_state mb_pg_server_state(const char *directory);
/* The lines of a server's log that say why; into err's detail. */
void mb_pg_explain_log(const char *path, struct mb_error *err);
/* Start what was restored and wait for the target; fills restore->result "reached". */
enum mb_code mb_pg_start(struct mb_postgres *pg, struct mb_restore *restore,
						 const struct mb_pg_place *place, struct mb_error *err) MB_MUST_CHECK;

/* -- scratch.c: a server of our own on what was restored ------------------------------------------ */

/* The first group is filled by the caller, and borrowed. */
struct mb_pg_scratch
{
	struct mb_postgres *pg;
	struct mb_restore *restore;      /* env and progress */
	const struct mb_pg_place *place; /* directory and owner */
	const char *bindir;
	const char *sockets; /* a directory for its socket, or NULL: a new one in /tmp */
	char socket_dir[100];
	char *log;
	char *config;
	char *hba;
	char *dump; /* tables.c: a file beside the directory */
	char *user; /* who may read everything */
	pid_t pid;  /* 0: not running */
};
#define MB_PG_SCRATCH_PORT "5432" /* also in start() */

/*
 * Start it and wait until it has recovered and is open: on a private socket, with nobody but us, and
 * nothing of it goes out.  It dies with this thread.  MB_IO with the reason in the detail when it
 * ends before.
 */
enum mb_code mb_pg_scratch_start(struct mb_pg_scratch *scratch, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_pg_scratch_connect(const struct mb_pg_scratch *scratch, const char *database,
								   PGconn **conn, struct mb_error *err) MB_MUST_CHECK;
/* Kill it; the directory is the caller's.  One that was never started is fine. */
void mb_pg_scratch_stop(struct mb_pg_scratch *scratch);

/* Wait until a server that somebody else starts has reached the target; fills "reached". */
enum mb_code mb_pg_await(struct mb_postgres *pg, struct mb_restore *restore,
						 const struct mb_pg_place *place, struct mb_error *err) MB_MUST_CHECK;
/* in_place.c: a restore over what is there. */
enum mb_code mb_postgres_holds(struct mb_component *component, struct mb_restore *restore,
							   struct mb_holdings *holdings, struct mb_error *err);
enum mb_code mb_postgres_health(struct mb_component *component, struct mb_restore *restore,
								struct mb_error *err);

/* -- tables.c: single tables by way of a scratch server ------------------------------------------- */

/* Is what is restored only there to be dumped? */
static inline bool
mb_pg_is_scratch(const struct mb_restore *restore)
{
	return restore->wishes->table_count > 0 || restore->wishes->dumped;
}

/* dump.c: hand over a dump of each database that restore->wishes wants (wishes->dumped). */
enum mb_code mb_pg_dump_databases(const struct mb_pg_scratch *scratch,
								  struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_pg_tables(struct mb_postgres *pg, struct mb_restore *restore,
						  const struct mb_pg_place *place, struct mb_error *err) MB_MUST_CHECK;
/* "DB.SCHEMA.TABLE", each part may stand in double quotes; MB_CONFIG. free() all three. */
struct mb_pg_table
{
	char *database;
	char *schema;
	char *table;
};
enum mb_code mb_pg_table_parse(struct mb_pg_table *table, const char *text,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_pg_table_release(struct mb_pg_table *table);

#endif
