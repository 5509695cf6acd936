/*
 * live.h - a restore into a running Redis: what its files share.
 *
 *     component_redis_live.c   the whole: files, scratch server, safety copy, copy, answer
 *     live_server.c            the destination: what it is
 *     live_check.c             what forbids the restore, and its plan
 *     live_safety.c            its present data as an RDB file, before anything is changed
 *     live_copy.c              keys from the scratch server into it, one by one
 *     live_swap.c              the whole data set at once: staged, then exchanged
 *     component_cluster_live.c from or into a cluster: by slot, key by key
 *
 * How, and what clients see: docs/redis.md and architecture.md, section 9.
 */
#ifndef MB_REDIS_LIVE_H
#define MB_REDIS_LIVE_H

#include "redis/cluster.h"
#include "redis/component_private.h"
#include "redis/glob.h"
#include "redis/pipeline.h"
#include "redis/replica.h"
#include "redis/scratch.h"

#define MB_LIVE_MAX_DBS 65536
/* Stands in a database that a restore fills; one that is found later was left by a dead run. */
#define MB_LIVE_MARKER "mbackup:restore:staging"

/* Databases that hold keys, ascending. */
struct mb_live_db
{
	int64_t db;
	uint64_t keys;
};
struct mb_live_dbs
{
	struct mb_live_db *items;
	size_t count;
	size_t cap;
};
enum mb_code mb_live_dbs_read(struct mb_redis *redis, struct mb_live_dbs *dbs,
							  struct mb_error *err) MB_MUST_CHECK;
/* From the text of INFO keyspace. */
void mb_live_dbs_parse(struct mb_live_dbs *dbs, const char *info);
void mb_live_dbs_release(struct mb_live_dbs *dbs);
uint64_t mb_live_dbs_keys(const struct mb_live_dbs *dbs, int64_t db); /* 0: none */
uint64_t mb_live_dbs_total(const struct mb_live_dbs *dbs);

/* The destination.  All zero is a valid empty one. */
struct mb_live
{
	struct mb_component *component;
	struct mb_restore *restore;
	struct mb_redis_url url;
	struct mb_redis_options options; /* the component's, for this url */
	struct mb_redis *redis;
	char *info;
	unsigned databases;
	unsigned rdb_version;    /* of what it takes; 0: it may not be asked */
	struct mb_buf functions; /* FUNCTION DUMP; empty: it may not be asked */
	struct mb_redis_only *only;
	size_t only_count;
	bool empties;                 /* role = cache: FLUSHALL is the whole restore */
	bool in_cluster;              /* it is a node of one */
	bool by_keys;                 /* its keys will go one by one: nothing is exchanged */
	const struct mb_slots *slots; /* only keys of these are wanted; NULL: of all */
	const char *tag;              /* in the name of the safety copy, or NULL */
};

/* Is a destination a server rather than a directory? */
bool mb_live_is_destination(const char *place);
/* Connect to restore->destination and look at it. */
enum mb_code mb_live_open(struct mb_live *live, struct mb_component *component,
						  struct mb_restore *restore, struct mb_error *err) MB_MUST_CHECK;
void mb_live_close(struct mb_live *live);
/*
 * Refuse what cannot be done, before anything is touched: cluster, replica, loading
 * (MB_UNSUPPORTED, MB_UNREACHABLE), missing rights (MB_DENIED), and with `meta`, of the backup,
 * too few databases or an older format (MB_UNSUPPORTED).
 */
enum mb_code mb_live_check(struct mb_live *live, const json_t *meta,
						   struct mb_error *err) MB_MUST_CHECK;
/* Is there room for so many more bytes?  MB_NO_SPACE by its maxmemory. */
enum mb_code mb_live_room(struct mb_live *live, uint64_t bytes, struct mb_error *err) MB_MUST_CHECK;
/* The text of INFO, of one section or (NULL) all; free() it. */
enum mb_code mb_live_info(struct mb_redis *redis, const char *section, char **text,
						  struct mb_error *err) MB_MUST_CHECK;
uint64_t mb_live_info_number(struct mb_redis *redis, const char *section, const char *key,
							 struct mb_error *err); /* 0 when it cannot be asked */

/* FUNCTION DUMP, appended; nothing when the server has no such command or may not be asked. */
enum mb_code mb_live_functions(struct mb_redis *redis, struct mb_buf *payload,
							   struct mb_error *err) MB_MUST_CHECK;
/* The RDB version in the footer of a payload of DUMP or FUNCTION DUMP; 0 when it is too short. */
unsigned mb_live_payload_version(const struct mb_buf *payload);

/*
 * Save the destination's data in a new file of the spool, walked while it comes; durable.
 * *path (free it) names it, *before says how many keys it has; log and result tell the way back.
 */
enum mb_code mb_live_save(struct mb_live *live, struct mb_live_dbs *before, char **path,
						  struct mb_error *err) MB_MUST_CHECK;
/* Is this file a whole and good RDB?  MB_CORRUPT. */
struct mb_live_rdb
{
	unsigned version;
	uint64_t bytes;
};
enum mb_code mb_live_check_rdb(const char *path, struct mb_live_rdb *rdb,
							   struct mb_error *err) MB_MUST_CHECK;

/* -- copying -------------------------------------------------------------------------------- */

struct mb_live_keys /* a batch of SCAN */
{
	struct mb_buf bytes;
	size_t *ends;
	size_t count;
	size_t cap;
};

struct mb_live_copy
{
	struct mb_live *live;
	struct mb_pipe from; /* the scratch server */
	struct mb_pipe to;   /* the destination */
	size_t outstanding;  /* commands sent to it whose replies were not read */
	struct mb_live_keys batch;
	uint64_t keys;
	uint64_t bytes;
	uint64_t removed;
};
void mb_live_copy_release(struct mb_live_copy *copy);
/* Every wanted key of the scratch server's database into one of the destination. */
enum mb_code mb_live_copy_db(struct mb_live_copy *copy, int64_t from, int64_t to,
							 struct mb_error *err) MB_MUST_CHECK;
/* Remove the wanted keys of a database that the scratch server does not have. */
enum mb_code mb_live_remove_extra(struct mb_live_copy *copy, int64_t db,
								  struct mb_error *err) MB_MUST_CHECK;
/* How many keys of a database are wanted, and their memory when `memory` is not NULL. */
enum mb_code mb_live_count(struct mb_live_copy *copy, struct mb_pipe *pipe, int64_t db,
						   uint64_t *keys, uint64_t *memory, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_live_select(struct mb_pipe *pipe, int64_t db, struct mb_error *err) MB_MUST_CHECK;

/* One restore of a component into running servers at a time on this machine: close it at the end. */
enum mb_code mb_live_lock(struct mb_component *component, int *lock_fd,
						  struct mb_error *err) MB_MUST_CHECK;

/* -- the whole at once ---------------------------------------------------------------------- */

struct mb_live_swap
{
	const struct mb_live_dbs *dbs; /* of the scratch server */
	int64_t *staging;              /* for each of them a database of the destination, owned */
};
/* Empty what a dead run left in the destination. */
enum mb_code mb_live_sweep(struct mb_live *live, struct mb_error *err) MB_MUST_CHECK;
/* Choose staging databases; *yes is false when too few are free. */
enum mb_code mb_live_swap_plan(struct mb_live *live, struct mb_live_swap *swap, bool *yes,
							   struct mb_error *err) MB_MUST_CHECK;
/* Fill them, exchange, empty the rest; functions: NULL or the payload to load. */
enum mb_code mb_live_swap_run(struct mb_live_copy *copy, struct mb_live_swap *swap,
							  const struct mb_buf *functions, struct mb_error *err) MB_MUST_CHECK;

/*
 * Load into a private server what the restore says, by way of files in `directory`, which is made
 * anew; whoever stops the server removes it.
 */
enum mb_code mb_live_load(struct mb_component *component, struct mb_restore *restore,
						  const char *directory, struct mb_scratch **scratch,
						  struct mb_error *err) MB_MUST_CHECK;
/* Does the destination take payloads of this RDB version, and have these databases? */
enum mb_code mb_live_takes(const struct mb_live *live, const struct mb_live_dbs *dbs,
						   unsigned version, struct mb_error *err) MB_MUST_CHECK;
/* Add FUNCTION RESTORE FLUSH to what is to be sent. */
void mb_live_add_functions(struct mb_pipe *pipe, const struct mb_buf *functions);
/* The same, sent and answered, where they differ. */
enum mb_code mb_live_load_functions(const struct mb_live *live, struct mb_pipe *pipe,
									const struct mb_buf *functions,
									struct mb_error *err) MB_MUST_CHECK;

enum mb_code mb_redis_live_plan(struct mb_component *component, struct mb_restore *restore,
								const struct mb_commit *commit, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_redis_live_restore(struct mb_component *component, struct mb_restore *restore,
								   struct mb_error *err) MB_MUST_CHECK;
/* The same two where the destination or the backup is a cluster: component_cluster_live.c. */
enum mb_code mb_cluster_live_plan(struct mb_component *component, struct mb_restore *restore,
								  const struct mb_commit *commit,
								  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_cluster_live_restore(struct mb_component *component, struct mb_restore *restore,
									 struct mb_error *err) MB_MUST_CHECK;

#endif
