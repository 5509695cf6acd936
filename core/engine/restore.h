/*
 * restore.h - the way out: what a component is given to restore, and the writer of
 * directory trees that most of them use.
 */
#ifndef MB_ENGINE_RESTORE_H
#define MB_ENGINE_RESTORE_H

#include "core/engine/env.h"
#include "core/repo/commit.h"

enum mb_target_kind
{
	MB_TARGET_BACKUP, /* the cut of the backup */
	MB_TARGET_LATEST, /* as far as the streams go */
	MB_TARGET_TIME,
	MB_TARGET_MARK,
	MB_TARGET_LSN,
	MB_TARGET_XID,
	MB_TARGET_NAME /* a restore point made by somebody else */
};

enum mb_target_action
{
	MB_ACTION_PROMOTE,
	MB_ACTION_PAUSE,
	MB_ACTION_SHUTDOWN
};

enum mb_restore_flags
{
	MB_RESTORE_DRY_RUN = 1,
	MB_RESTORE_DELTA = 2, /* over what is there: only what differs is written */
	MB_RESTORE_FORCE = 4, /* ... even when it is another cluster's */
	MB_RESTORE_START = 8, /* start the server and wait for the target */
	MB_RESTORE_LOOK = 16, /* only to look into it: also what a restore would leave out (a cache) */
	MB_RESTORE_REPLACE =
		32, /* what stands in the own places is moved aside first: stack_restore.h */
	MB_RESTORE_HOOK_STOPS = 64, /* a hook stops servers that have no service of their own */
	MB_RESTORE_UNKEPT = 128     /* ... moved aside?  no: removed (--no-snapshot) */
};

/*
 * Takes a dump that is complete at `path`, which is removed afterwards.  database is NULL for what is
 * the whole cluster's (roles, tablespaces).
 */
typedef enum mb_code (*mb_restore_dump_fn)(void *ctx, const char *database, const char *suffix,
										   const char *path, struct mb_error *err);

/* Keys whose time is over by now, although it was not at the moment that is restored to. */
enum mb_expired
{
	MB_EXPIRED_DROP, /* vanish, as they would have */
	MB_EXPIRED_SHIFT /* have as much time left as they had then: all expiries are moved */
};

/*
 * What is asked of a restore beyond the target.  Everything but DRY_RUN, rdb and expired concerns
 * Postgres; other kinds need an empty place whatever is said here.  All texts are borrowed.
 */
struct mb_restore_wishes
{
	unsigned flags;
	char **tablespaces; /* "OLD=NEW" */
	size_t tablespace_count;
	const char *tablespace_all; /* directory for those without an own place, or NULL */
	const char *wal_dir;        /* pg_wal becomes a link to it, or NULL */
	char **databases;           /* only these come back whole; none: all */
	size_t database_count;
	char **tables; /* "DB.SCHEMA.TABLE": by way of a scratch server */
	size_t table_count;
	mb_restore_dump_fn dumped; /* not NULL: all databases, or those, as dumps by a scratch server */
	void *dumped_ctx;
	const char *output;      /* the tables go to this file ... */
	const char *into;        /* ... or to this server (connection string) */
	const char *rdb;         /* Redis: this RDB file in place of what the repository has, or NULL */
	enum mb_expired expired; /* Redis */
	unsigned port;           /* of the restored server; 0: as it was */
	const char *standby;     /* Postgres: a standby of this primary (connection string), or NULL */
	int64_t start_timeout_ms; /* 0: as long as it takes */
};

struct mb_cut;

#define MB_TIMELINE_CURRENT UINT32_MAX /* the backup's own */

struct mb_target
{
	enum mb_target_kind kind;
	const char *text;         /* as the user wrote it */
	int64_t time_us;          /* TIME */
	uint64_t lsn;             /* LSN */
	uint64_t xid;             /* XID */
	const struct mb_cut *cut; /* BACKUP and MARK: the cut of the set or the mark */
	uint32_t timeline;        /* 0: the newest that leads to the target; or MB_TIMELINE_CURRENT */
	bool exclusive;
	enum mb_target_action action;
};

/* One component's part of a restore. */
struct mb_restore
{
	const struct mb_env *env;
	char id[MB_ID_TEXT]; /* of the whole restore */
	const char *component;
	const char *destination; /* as the user gave it, or NULL: the component's own place */
	struct mb_target target;
	/*
	 * All commits of the component, oldest first, with heads only.  plan() sets `chosen` to
	 * an index of it; the engine prefills it for BACKUP and MARK targets from the set or
	 * mark, else with SIZE_MAX.  After plan the engine loads `commit`.
	 */
	struct mb_commit *candidates;
	size_t candidate_count;
	size_t chosen;
	struct mb_commit commit; /* complete; loaded between plan and restore */
	/* TIME of the whole stack once the clock component has planned; 0 before. */
	int64_t stack_time_us;
	const struct mb_restore_wishes *wishes;
	/*
	 * Of a restore that replaces (MB_RESTORE_REPLACE), set by the engine: it goes into the
	 * component's own place; what was there is out of the way by now; a service starts the server.
	 */
	bool own_place;
	bool is_cleared;
	bool is_served;
	/* What keep() noted, for undo(); with it restore() keeps nothing more.  Owned. */
	json_t *kept;
	char **only; /* "--only PATTERN" as given */
	size_t only_count;
	struct mb_progress *progress;
	json_t *plan;   /* the driver's own, made by plan(), used by restore(); shown by --dry-run */
	json_t *result; /* what restore() reports: {"reached": {...}, "warnings": [...]} */
	/*
	 * Every directory that restore() made or filled is noted here (mb_restore_made), so
	 * that the engine can empty it again when the restore fails: nothing half-made stays.
	 */
	char **made;
	size_t made_count;
	size_t made_cap;
	uint64_t entries;
	uint64_t bytes;
	uint64_t written_bytes; /* of them: what was not there already */
	uint64_t removed;       /* names that a delta took away */
	bool packs_seen;        /* private to mb_restore_packs */
};

/* Something the user should know after the restore. */
void mb_restore_warn(struct mb_restore *restore, const char *fmt, ...) MB_PRINTF(2, 3);

/*
 * Something stands in the way that need not when the restore is made (a server that runs, a
 * place that is not empty): *err as it is, but in a dry run a warning, and MB_OK.
 */
enum mb_code mb_restore_in_the_way(struct mb_restore *restore, struct mb_error *err) MB_MUST_CHECK;

/* Note a directory that was missing or empty before and is written from now on. */
void mb_restore_made(struct mb_restore *restore, const char *path);
/* Forget them: from now on what was made stays, also when the restore fails. */
void mb_restore_keep(struct mb_restore *restore);

/*
 * The newest candidate whose cut or finishing time (meta.cut_time, see core/engine/backup.c) is
 * at or before time_us; SIZE_MAX when there is none.
 */
size_t mb_restore_newest_before(const struct mb_restore *restore, int64_t time_us);
/* The oldest candidate whose cut time is at or after time_us; SIZE_MAX when there is none. */
size_t mb_restore_oldest_after(const struct mb_restore *restore, int64_t time_us);
/* The cut time of a commit: meta.cut_time. */
int64_t mb_commit_cut_time(const struct mb_commit *commit);

/*
 * Is every pack that the chosen backup refers to in the repository?  MB_CORRUPT naming the
 * ones that are missing.  One listing, nothing is read; asked again it knows.
 */
enum mb_code mb_restore_packs(struct mb_restore *restore, struct mb_error *err) MB_MUST_CHECK;

/*
 * Make sure that a destination directory can be written: missing (its parents are made)
 * or empty, else MB_CONFLICT with a hint.  Without MB_DIRECTORY_CREATE it only looks.
 */
enum mb_directory_flags
{
	MB_DIRECTORY_CHECK = 0,
	MB_DIRECTORY_CREATE = 1
};
enum mb_code mb_restore_directory(const char *path, unsigned flags, mode_t mode,
								  struct mb_error *err) MB_MUST_CHECK;

/*
 * Called for each entry of the manifest in order.  Returns whether to restore it.  May
 * change the name it gets (`name`, prefilled with the entry's path, relative to the
 * root) and the root (*dir_fd).  Called from one thread.
 */
typedef bool (*mb_tree_select)(void *ctx, const struct mb_entry *entry, struct mb_buf *name,
							   int *dir_fd);

/* Called when a regular file's contents are complete, from one thread; crc32c if recorded. */
typedef enum mb_code (*mb_tree_done)(void *ctx, const struct mb_entry *entry, const char *name,
									 struct mb_error *err);

enum mb_tree_flags
{
	MB_TREE_OWNER = 1,      /* chown to user/group by name, else id, when we are root */
	MB_TREE_TIMES = 2,      /* set mtime */
	MB_TREE_ATTRIBUTES = 8, /* exactly the extended attributes; what cannot be set is a warning */
	MB_TREE_DELTA = 4       /* the directories hold something: bring it to the manifest's state */
};

/* A directory that a delta cleans; `only`: nothing outside of this top-level name of it. */
struct mb_tree_root
{
	int fd;
	const char *only;
};

/* The name that a hard link shall lead to, when it is not that of the entry; borrowed. */
typedef const char *(*mb_tree_link_to)(void *ctx, const struct mb_entry *entry);

/* Is this file restored as a hole of its size? */
typedef bool (*mb_tree_hollow)(void *ctx, const struct mb_entry *entry);

struct mb_tree
{
	int root_fd;
	unsigned flags;
	mb_tree_select select;   /* NULL: everything, AFTER_CUT entries excluded */
	mb_tree_done done;       /* NULL: none */
	mb_tree_hollow hollow;   /* NULL: none */
	mb_tree_link_to link_to; /* NULL: as the entry says */
	void *ctx;
	/* of a delta */
	const struct mb_tree_root *roots;
	size_t root_count;
	const char *const *keep; /* names at the top of the first root that stay; NULL-terminated */
};

/*
 * Write the entries of restore->commit below tree->root_fd: directories first, files
 * pack by pack on env->workers threads (each frame is decoded once), links last,
 * then modes, owners and times, deepest first; everything fsynced (syncfs) before it
 * returns.  No name and no link leads outside the root.  A file that exists is
 * MB_EXISTS.  Of a sparse file zeros become holes.  Counts restore->entries and ->bytes and bumps
 * the progress.
 *
 * With MB_TREE_DELTA first everything is removed below `roots` that select() does not take,
 * that is of another type, or that has a second name (a hard link may lead anywhere);
 * links are never followed.  Of files that stay, pages (by their hashes) or whole files
 * (by size and CRC) that differ are written.  Killed at any moment and run again it ends
 * in the same state.  select() is called twice for each entry.
 */
enum mb_code mb_restore_tree(struct mb_restore *restore, const struct mb_tree *tree,
							 struct mb_error *err) MB_MUST_CHECK;

/* Append the contents of one entry (at most max_bytes, else MB_CORRUPT) to out. */
enum mb_code mb_entry_contents(const struct mb_repo *repo, const struct mb_entry *entry,
							   uint64_t max_bytes, struct mb_buf *out,
							   struct mb_error *err) MB_MUST_CHECK;
/* Stream the contents of one entry to a new file, fsynced. */
enum mb_code mb_entry_to_file(const struct mb_repo *repo, const struct mb_entry *entry, int dir_fd,
							  const char *name, mode_t mode, struct mb_error *err) MB_MUST_CHECK;
/*
 * Find one entry by path (version: the newest); *found is false when there is none.
 * The entry's memory lives in the arena.
 */
enum mb_code mb_commit_find(const struct mb_repo *repo, const struct mb_commit *commit,
							const char *path, struct mb_arena *arena, struct mb_entry *entry,
							bool *found, struct mb_error *err) MB_MUST_CHECK;

#endif
