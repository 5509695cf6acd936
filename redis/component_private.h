/*
 * component_private.h - what the files of the Redis component share:
 * component_redis.c (settings, position), component_redis_backup.c (snapshot, settle),
 * component_redis_rdb.c (all of that with capture = rdb),
 * component_redis_hold.c, component_redis_check.c, component_redis_attach.c and
 * component_redis_stream.c (stream), component_redis_await.c, component_redis_plan.c (plan),
 * component_redis_window.c (window), component_redis_restore.c (restore into a directory),
 * component_redis_expired.c.
 * A restore into a running server: live.h.  A cluster: component_cluster.h.
 */
#ifndef MB_REDIS_COMPONENT_PRIVATE_H
#define MB_REDIS_COMPONENT_PRIVATE_H

#include "redis/component_redis.h"
#include "redis/pieces.h"
#include "redis/spool.h"

#define MB_REDIS_RDB_NAME "dump.rdb"
#define MB_REDIS_TAIL_NAME "tail.aof"
#define MB_REDIS_ENTRY_MAX 64
/* What a restore into a directory writes: see component_redis_restore.c. */
#define MB_REDIS_AOF_DIR "appendonlydir"
#define MB_REDIS_AOF_BASE "appendonly.aof.1.base.rdb"
#define MB_REDIS_AOF_INCR "appendonly.aof.1.incr.aof"
#define MB_REDIS_AOF_SINGLE "appendonly.aof"

enum mb_redis_side
{
	MB_REDIS_BEFORE,
	MB_REDIS_AFTER
};

struct mb_redis_component
{
	struct mb_component base;
	struct mb_redis_url url;
	struct mb_redis_options options; /* borrows url and the settings */
	enum mb_redis_side side;
	bool is_cache;

	/* From the first position or hold to the end: commands beside the replica. */
	struct mb_redis *control;

	/* A pause: held at this offset since this moment. */
	struct mb_redis_point held;
	int64_t held_from_ms;
	int64_t held_limit_ms;

	/* Of a cluster: its shards (component_cluster.h), each with such an object of its own. */
	struct mb_redis_cluster *cluster;
	const char *prefix; /* of a shard: before the names of its entries; else "" */

	/* From snapshot to settle. */
	struct mb_spool *spool;
	char replid[MB_REPLID_TEXT];
	uint64_t rdb_offset;
	int64_t stream_db;
	char server[64]; /* version */
	uint64_t keys;

	/* With capture = rdb: of what moment the snapshot is; 0 before there is one. */
	int64_t taken_us;
	int64_t taken_from_us; /* key by key: when that began */
	bool by_keys;
};

/* capture = rdb: a snapshot and nothing else (component_redis_rdb.c). */
extern const struct mb_component_ops mb_redis_rdb_component_ops;
/* Which way a backup will go and the rights for it, over this connection; cli: "redis-cli -p 6379". */
void mb_redis_check_rdb(struct mb_redis_component *redis, struct mb_redis *connection,
						const char *cli, struct mb_checks *checks);

static inline struct mb_redis_component *
mb_redis_of(struct mb_component *component)
{
	return (struct mb_redis_component *) component;
}

/*
 * Names, which tell where an object of the component is: base.name is "sessions", or of a shard
 * "sessions/slot-0".  A file of ours in the spool, "redis-sessions.slot-0<suffix>"; free() it.
 */
char *mb_redis_spool_path(const struct mb_redis_component *redis, const char *suffix);
/* "dump.rdb", of a shard "slot-0/dump.rdb". */
void mb_redis_entry_name(const struct mb_redis_component *redis, const char *file,
						 char out[MB_REDIS_ENTRY_MAX]);

/* The point of now over redis->control, which is opened (and once reopened) as needed. */
enum mb_code mb_redis_component_point(struct mb_redis_component *redis,
									  struct mb_redis_point *point,
									  struct mb_error *err) MB_MUST_CHECK;

/* Can this backup be brought exactly to (replid, offset), by its own tail or by the pieces? */
enum mb_code mb_redis_commit_reaches(struct mb_component *component, const struct mb_commit *commit,
									 const struct mb_pieces *pieces, const char *replid,
									 uint64_t offset, bool *yes,
									 struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_redis_open_component(struct mb_component **out, const struct mb_settings *settings,
									 const struct mb_env *env, struct mb_error *err);
void mb_redis_close_component(struct mb_component *component);
char *mb_redis_describe(struct mb_component *component);
enum mb_code mb_redis_snapshot(struct mb_component *component, struct mb_capture *capture,
							   struct mb_error *err);
/* A snapshot that failed with MB_UNREACHABLE may have more luck: say why, and wait a moment. */
#define MB_REDIS_SNAPSHOT_TRIES 3
enum mb_code mb_redis_try_again(struct mb_component *component, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_redis_settle(struct mb_component *component, struct mb_capture *capture,
							 const struct mb_cut *cut, struct mb_error *err);
enum mb_code mb_redis_position(struct mb_component *component, struct mb_cut *cut,
							   enum mb_moment moment, struct mb_error *err);
enum mb_code mb_redis_hold(struct mb_component *component, int64_t limit_ms, struct mb_error *err);
enum mb_code mb_redis_release(struct mb_component *component, bool *held, struct mb_error *err);
enum mb_code mb_redis_check(struct mb_component *component, struct mb_checks *checks,
							struct mb_error *err);
enum mb_code mb_redis_await(struct mb_component *component, const struct mb_cut *cut,
							int64_t timeout_ms, struct mb_error *err);
/* The head of the newest backup; *any is false when there is none. */
enum mb_code mb_redis_newest(struct mb_component *component, struct mb_commit *newest, bool *any,
							 struct mb_error *err) MB_MUST_CHECK;
/* await for one position; `newest`: the newest backup, or NULL when there is none. */
enum mb_code mb_redis_await_position(struct mb_component *component, const json_t *position,
									 int64_t timeout_ms, const struct mb_commit *newest,
									 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_redis_stream(struct mb_component *component, struct mb_error *err);
enum mb_code mb_redis_window(struct mb_component *component, struct mb_window *window,
							 struct mb_error *err);
/* For single servers and clusters alike. */
enum mb_code mb_redis_reach(struct mb_component *component, const struct mb_commit *commit,
							struct mb_reach *reaches, size_t count, struct mb_error *err);
enum mb_code mb_redis_trim(struct mb_component *component, struct mb_trim *trim,
						   struct mb_error *err);
enum mb_code mb_redis_plan(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err);
/* trial.c: a private server on what was restored (of a cluster: its shards' files), its keys counted. */
enum mb_code mb_redis_revive(struct mb_component *component, struct mb_trial *trial,
							 struct mb_error *err);
void mb_redis_lay_down(struct mb_component *component, struct mb_trial *trial);
enum mb_code mb_redis_restore(struct mb_component *component, struct mb_restore *restore,
							  struct mb_error *err);
/* Choose restore->chosen and the offset; directory: where to, or NULL for a running server. */
enum mb_code mb_redis_plan_target(struct mb_component *component, struct mb_restore *restore,
								  const char *directory, struct mb_error *err) MB_MUST_CHECK;
/*
 * *directory: where a restore goes to, writable; NULL: into a running server.  MB_NOT_FOUND when
 * there is no backup.
 */
enum mb_code mb_redis_plan_place(struct mb_component *component, struct mb_restore *restore,
								 const char **directory, struct mb_error *err) MB_MUST_CHECK;

/* -- a restore over what is there (component_redis_in_place.c) ------------------------------- */

/* Its directory, when a service stops it; else the running server; sets restore->destination. */
enum mb_code mb_redis_choose_own_place(struct mb_component *component, struct mb_restore *restore,
									   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_redis_holds(struct mb_component *component, struct mb_restore *restore,
							struct mb_holdings *holdings, struct mb_error *err);
enum mb_code mb_redis_keep(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err);
enum mb_code mb_redis_undo(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err);
enum mb_code mb_redis_health(struct mb_component *component, struct mb_restore *restore,
							 struct mb_error *err);

/* component_redis_window.c: what a commit says about its place in the stream; borrowed from it. */
struct mb_redis_base
{
	const char *replid;
	uint64_t rdb_offset;
	uint64_t offset;
};
struct mb_redis_base mb_redis_base_of(const struct mb_commit *commit);

/* The heads of all backups of the component, oldest first. */
struct mb_redis_commits
{
	struct mb_commit *items;
	size_t count;
};
enum mb_code mb_redis_commits_read(struct mb_component *component, struct mb_redis_commits *commits,
								   struct mb_error *err) MB_MUST_CHECK;
void mb_redis_commits_release(struct mb_redis_commits *commits);

/* The window that these commits (oldest first, heads) and the pieces make. */
enum mb_code mb_redis_window_of(struct mb_component *component, const struct mb_commit *commits,
								size_t count, struct mb_window *window,
								struct mb_error *err) MB_MUST_CHECK;
/* Join [from, to] to a window; what lies between is a gap. */
void mb_redis_window_extend(struct mb_window *window, int64_t from_us, int64_t to_us);
/*
 * The files of restore->commit up to the planned offset, into an empty directory.
 * *append_only: the server that loads them needs appendonly yes.  Sets result.reached.
 */
enum mb_code mb_redis_write_files(struct mb_component *component, struct mb_restore *restore,
								  const char *directory, bool *append_only,
								  struct mb_error *err) MB_MUST_CHECK;

/* -- restore --expired shift (component_redis_expired.c) ------------------------------------- */

bool mb_redis_shifts(const struct mb_restore *restore);
/* May it be done with this backup, replayed to offset?  MB_CONFIG, MB_UNSUPPORTED. */
enum mb_code mb_redis_plan_shift(const struct mb_component *component,
								 const struct mb_restore *restore, const struct mb_commit *commit,
								 uint64_t offset, struct mb_error *err) MB_MUST_CHECK;
/* From the moment that is restored to until now; logged, and in the result. */
int64_t mb_redis_shift_ms(const struct mb_component *component, struct mb_restore *restore);
/* As mb_entry_to_file, of an RDB, with its expiries moved. */
enum mb_code mb_redis_shifted_to_file(const struct mb_repo *repo, const struct mb_entry *entry,
									  int dir_fd, const char *name, int64_t shift_ms,
									  struct mb_error *err) MB_MUST_CHECK;

#endif
