/*
 * wal_walk.h - read WAL as it streams by: when were commits, where are restore points?
 *
 * The walker is fed WAL in pieces of any size, in order, beginning at any page
 * start (8 KiB), and reports what it meets through struct mb_wal_facts.  It follows
 * page headers and records as in PostgreSQL's access/xlogrecord.h and
 * access/xlog_internal.h (13 to 18) and looks into two resource managers only: transactions
 * (commit and abort times) and XLOG (restore points, switches).
 *
 * It trusts nothing: bytes that make no sense lose it until the next page that does
 * (`lost` counts).  What it finds serves to choose WAL and to answer questions; the WAL
 * itself is kept whether it understands it or not.
 */
#ifndef MB_WALSTREAMER_WAL_WALK_H
#define MB_WALSTREAMER_WAL_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MB_WAL_PAGE_BYTES 8192u
#define MB_WAL_POINT_NAME 64
#define MB_WAL_MAX_POINTS 1000
/* Enough of a record to reach its main data when it refers to no blocks. */
#define MB_WAL_RECORD_KEEP 512

struct mb_wal_fact_point
{
	char name[MB_WAL_POINT_NAME];
	uint64_t lsn; /* end of the record, as pg_create_restore_point returns it */
	int64_t time_us;
};

/* What a stretch of WAL holds.  All zero is a valid empty one. */
struct mb_wal_facts
{
	int64_t first_commit_us; /* 0: none; commits and aborts, whole records only */
	int64_t last_commit_us;
	int64_t newest_commit_us; /* the largest: times need not ascend */
	uint64_t last_record_lsn; /* start of the last record that ended in it */
	uint64_t records;
	uint64_t commits;
	struct mb_wal_fact_point *points; /* owned */
	size_t point_count;
	size_t point_cap;
	bool points_dropped; /* more than MB_WAL_MAX_POINTS */
};
void mb_wal_facts_release(struct mb_wal_facts *facts);
/* Add what follows (a later stretch) to facts. */
void mb_wal_facts_merge(struct mb_wal_facts *facts, const struct mb_wal_facts *later);

struct mb_wal_walk
{
	uint64_t lsn; /* of the next byte */
	uint32_t segment_size;
	bool started;
	bool lost;           /* skipping to the next page header */
	uint64_t lost_count; /* how often sense was lost */
	uint16_t magic;      /* of the last page */
	uint32_t timeline;   /* of the last page */
	uint64_t system_id;  /* of the last long header */
	/* the page header being gathered */
	unsigned char head[40];
	uint32_t head_len;
	uint32_t head_want;
	/* the record being gathered */
	uint64_t record_lsn;
	uint64_t record_total; /* 0: between records */
	uint64_t record_got;
	unsigned char record[MB_WAL_RECORD_KEEP];
	uint64_t skip;       /* bytes of a record whose beginning we have not seen */
	uint64_t skip_until; /* after a switch: nothing but padding before this LSN */
};

/* lsn must be a page start; segment_size a power of two between 1 MiB and 1 GiB. */
void mb_wal_walk_init(struct mb_wal_walk *walk, uint64_t lsn, uint32_t segment_size);
/* Take the next bytes; what ends in them is added to facts (NULL: to nothing). */
void mb_wal_walk_feed(struct mb_wal_walk *walk, const void *data, size_t len,
					  struct mb_wal_facts *facts);

/*
 * The header of a segment's first page: MB_CORRUPT-worthy differences give false and a
 * reason.
 */
bool mb_wal_segment_is(const unsigned char *data, size_t len, uint64_t system_id,
					   uint64_t start_lsn, uint32_t segment_size, const char **why);
/* Is this the magic number of a WAL page of a version that we know? */
bool mb_wal_magic_is_known(uint16_t magic);

#endif
