/*
 * wal_name.h - how WAL is named in the repository, and timeline history files.
 *
 *     streams/<component>/wal/<system id>/<timeline>/<branch>/<segment>/<start>-<end>
 *     streams/<component>/wal/<system id>/history/<timeline>.history-<xxh>
 *     streams/<component>/gaps/<id>
 *
 * system id decimal; timeline, start, end %08X (offsets in the segment); branch 16
 * lower-case hex digits; segment the 24 digits of the WAL file name; xxh the XXH3-128 of
 * the history file's bytes in hex.
 *
 * A *unit* is min(segment size, 16 MiB): a finished aligned unit is one piece; a tail
 * piece covers a stretch of an unfinished one.
 */
#ifndef MB_WALSTREAMER_WAL_NAME_H
#define MB_WALSTREAMER_WAL_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/repo/store.h"

#define MB_WAL_UNIT_MAX (16u << 20)
#define MB_WAL_FILE_TEXT 25
#define MB_WAL_BRANCH_CHARS 16
#define MB_WAL_HISTORY_MAX (1u << 20)

struct mb_wal_where
{
	const char *component;
	const char *system_id;
	uint32_t timeline;
	const char *branch;
	uint32_t segment_size;
};

uint32_t mb_wal_unit_bytes(uint32_t segment_size);
bool mb_wal_segment_size_is_valid(uint64_t segment_size);

/* The name Postgres gives the segment that holds lsn. */
void mb_wal_file_name(char out[MB_WAL_FILE_TEXT], uint32_t timeline, uint64_t lsn,
					  uint32_t segment_size);
/* timeline and start of a segment from its name; false when it is not one. */
bool mb_wal_file_parse(const char *name, uint32_t segment_size, uint32_t *timeline,
					   uint64_t *start_lsn);
/* "00000003.history" */
bool mb_wal_history_parse(const char *name, uint32_t *timeline);
/* Could Postgres ask for this one?  Any other name would be a path from outside. */
bool mb_wal_file_name_is_known(const char *name);

/* The name of the piece [from, to) of one segment. */
void mb_wal_piece_name(char out[MB_NAME_MAX], const struct mb_wal_where *where, uint64_t from_lsn,
					   uint64_t to_lsn);
/* Its directory with a slash at the end. */
void mb_wal_segment_prefix(char out[MB_NAME_MAX], const struct mb_wal_where *where,
						   uint64_t from_lsn);
void mb_wal_branch_prefix(char out[MB_NAME_MAX], const struct mb_wal_where *where);
void mb_wal_system_prefix(char out[MB_NAME_MAX], const char *component, const char *system_id);
void mb_wal_history_name(char out[MB_NAME_MAX], const char *component, const char *system_id,
						 uint32_t timeline, const void *content, size_t len);

/* A piece's name, taken apart; text offsets in the segment, since the size is not in it. */
struct mb_wal_piece_parts
{
	uint32_t timeline;
	char branch[MB_WAL_BRANCH_CHARS + 1];
	char file[MB_WAL_FILE_TEXT];
	uint32_t log_id; /* the two numbers in the file name */
	uint32_t log_seg;
	uint32_t start;
	uint32_t end;
};
/* The LSN of the segment's first byte; false when the numbers do not fit the size. */
bool mb_wal_piece_lsn(const struct mb_wal_piece_parts *parts, uint32_t segment_size,
					  uint64_t *segment_lsn);
/* rest: the name behind mb_wal_system_prefix. */
bool mb_wal_piece_parse(const char *rest, struct mb_wal_piece_parts *parts);
/* rest as above; *timeline of a history blob. */
bool mb_wal_history_blob_parse(const char *rest, uint32_t *timeline);

/*
 * The last line of a history file: the parent timeline and where it was left.  MB_CORRUPT
 * when it is none.
 */
enum mb_code mb_wal_history_parent(const void *content, size_t len, uint32_t timeline,
								   uint32_t *parent, uint64_t *switch_lsn,
								   struct mb_error *err) MB_MUST_CHECK;
/*
 * Where a history file says that `ancestor` was left: what lies before *switch_lsn is in the
 * past of its timeline.  False when the ancestor does not stand in it.
 */
bool mb_wal_history_left(const void *content, size_t len, uint32_t ancestor, uint64_t *switch_lsn);

#endif
