/*
 * inventory.h - which WAL the repository holds, and the way through it.
 *
 * Coverage is read from names alone; headers are read only where a question needs them
 * (times, restore points, parents of timelines).  See postgres/wal_source.h for the shapes.
 */
#ifndef MB_WALSTREAMER_INVENTORY_H
#define MB_WALSTREAMER_INVENTORY_H

#include "postgres/wal_source.h"
#include "core/engine/component.h"
#include "walstreamer/piece.h"
#include "walstreamer/wal_name.h"

struct mb_wal_span
{
	uint64_t from_lsn;
	uint64_t to_lsn;
};

struct mb_wal_branch
{
	uint32_t timeline;
	char branch[MB_WAL_BRANCH_TEXT];
	struct mb_wal_span *pieces; /* by from_lsn, then the longest first */
	size_t piece_count;
	size_t piece_cap;
	struct mb_wal_span *spans; /* pieces joined: disjoint, ascending */
	size_t span_count;
	/* from the first piece's header, when `looked` */
	bool looked;
	char history[MB_NAME_MAX];
	char parent_branch[MB_WAL_BRANCH_TEXT];
	uint32_t parent; /* 0: none */
	uint64_t switch_lsn;
};

struct mb_wal_history
{
	uint32_t timeline;
	char *name;
};

struct mb_wal_inventory
{
	const struct mb_repo *repo;
	char component[64];
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t segment_size; /* 0 when there is no WAL at all */
	struct mb_wal_branch *branches;
	size_t branch_count;
	size_t branch_cap;
	struct mb_wal_history *histories;
	size_t history_count;
	size_t history_cap;
};

/*
 * All WAL of a component, of one cluster; free it.  Without any it is empty.  One thread at a time: what is
 * looked up is remembered in it.
 */
enum mb_code mb_wal_inventory_load(struct mb_wal_inventory **inventory, const struct mb_repo *repo,
								   const char *component, const char *system_id,
								   struct mb_error *err) MB_MUST_CHECK;
/* One segment of one branch: at most one branch in it. */
enum mb_code mb_wal_inventory_segment(struct mb_wal_inventory **inventory,
									  const struct mb_repo *repo, const struct mb_wal_where *where,
									  uint64_t lsn, struct mb_error *err) MB_MUST_CHECK;
void mb_wal_inventory_free(struct mb_wal_inventory *inventory); /* NULL does nothing */

/* The span that holds lsn (or ends there, when nothing follows), or NULL. */
const struct mb_wal_span *mb_wal_branch_span(const struct mb_wal_branch *branch, uint64_t lsn);
uint64_t mb_wal_branch_end(const struct mb_wal_branch *branch);

/* chain.c, chain_facts.c: chain, time_at, chain_release and plan of struct mb_wal_ops. */
enum mb_code mb_wal_chain_find(struct mb_wal_inventory *inventory, const struct mb_wal_query *query,
							   struct mb_wal_chain *chain, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_wal_chain_time_at(struct mb_wal_inventory *inventory,
								  const struct mb_wal_chain *chain, uint64_t lsn,
								  int64_t *before_us, struct mb_error *err) MB_MUST_CHECK;
void mb_wal_chain_release(struct mb_wal_chain *chain);
json_t *mb_wal_chain_plan(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
						  const struct mb_env *env, const char *component, const char *restore_id);

/* cursor.c: advance of struct mb_wal_ops. */
enum mb_code mb_wal_cursor_advance(const struct mb_env *env, const char *component,
								   struct mb_wal_cursor *cursor,
								   struct mb_error *err) MB_MUST_CHECK;

/* trim.c: trim of struct mb_wal_ops. */
enum mb_code mb_wal_trim(const struct mb_env *env, const char *component,
						 const struct mb_wal_need *needs, size_t count, struct mb_trim *trim,
						 struct mb_error *err) MB_MUST_CHECK;

/*
 * assemble.c: put the bytes [from_lsn, to_lsn) of one segment into out (to_lsn - from_lsn bytes) from
 * the pieces that are there now.  MB_CORRUPT when some are missing or damaged.
 */
enum mb_code mb_wal_assemble(const struct mb_repo *repo, const struct mb_wal_where *where,
							 uint64_t from_lsn, uint64_t to_lsn, unsigned char *out,
							 struct mb_error *err) MB_MUST_CHECK;

#endif
