/*
 * chain_private.h - the search for a way through the WAL, from the inside: chain.c searches,
 * chain_match.c tells where one can go on, chain_facts.c reads headers, chain_explain.c says why
 * there is no way.  All of it runs on the caller's thread.
 */
#ifndef MB_WALSTREAMER_CHAIN_PRIVATE_H
#define MB_WALSTREAMER_CHAIN_PRIVATE_H

#include "walstreamer/inventory.h"

#define MAX_DEPTH 64

/* A stretch of one branch. */
struct node
{
	struct mb_wal_branch *branch;
	uint64_t from_lsn;
	uint64_t to_lsn;
};

struct search
{
	struct mb_wal_inventory *inventory;
	const struct mb_wal_query *query;
	struct node path[MAX_DEPTH];
	size_t depth;
	size_t paths;
	struct node best[MAX_DEPTH];
	size_t best_depth; /* 0: none */
	struct mb_wal_point best_point;
	bool best_has_point;
	uint64_t furthest_lsn; /* the end of the longest way that was too short */
	uint32_t furthest_timeline;
	bool reached_timeline;
	bool point_missing;
	/* The stretch that leads furthest, of a timeline that a younger one left still later; 0: none. */
	uint32_t short_timeline;
	uint32_t short_parent;
	uint64_t short_lsn;
	uint64_t short_switch;
	uint32_t broken_timeline; /* the youngest that could not be followed for want of its WAL */
	uint32_t broken_parent;
	uint64_t broken_lsn;
};

/* chain_match.c */
/* Learn from its first piece where a branch came from. */
enum mb_code mb_way_look_at_branch(struct mb_wal_inventory *inventory, struct mb_wal_branch *branch,
								   struct mb_error *err) MB_MUST_CHECK;
/* Can one go on from node to branch, and from where? */
enum mb_code mb_way_continues(struct search *search, const struct node *node,
							  struct mb_wal_branch *branch, uint64_t *from_lsn, uint64_t *to_lsn,
							  bool *yes, struct mb_error *err) MB_MUST_CHECK;

/* chain_facts.c */
struct mb_wal_where mb_way_where(const struct mb_wal_inventory *inventory,
								 const struct mb_wal_branch *branch);
/* The header of a piece; a new reference.  MB_NOT_FOUND: a tail piece that has been removed. */
enum mb_code mb_way_header(const struct mb_wal_inventory *inventory,
						   const struct mb_wal_branch *branch, const struct mb_wal_span *piece,
						   json_t **header, struct mb_error *err) MB_MUST_CHECK;
/*
 * Look through a way's headers, newest first, for a restore point.  With need_lsn only at
 * the pieces where it must be.
 */
enum mb_code mb_way_find_point(struct search *search, const struct node *path, size_t depth,
							   bool *found, struct mb_wal_point *point,
							   struct mb_error *err) MB_MUST_CHECK;
/* When the end of a stretch was received, by the server's clock. */
int64_t mb_way_end_time(const struct search *search, const struct node *node);
/* Newest times and the last record, from headers, newest piece first. */
enum mb_code mb_way_gather_facts(struct search *search, struct mb_wal_chain *chain,
								 struct mb_error *err) MB_MUST_CHECK;

/* chain_explain.c */
/* Why nothing was found. */
enum mb_code mb_way_explain(const struct search *search, bool started, uint64_t hole_lsn,
							struct mb_error *err) MB_MUST_CHECK;
/* Where WAL goes on behind lsn on this timeline, before need_lsn; 0: nowhere. */
uint64_t mb_way_next_beginning(const struct mb_wal_inventory *inventory, uint32_t timeline,
							   uint64_t lsn, uint64_t need_lsn);
/* What stands behind the end: of the same branch for certain, of another one perhaps. */
void mb_way_note_hole(const struct search *search, struct mb_wal_chain *chain);

#endif
