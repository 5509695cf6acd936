/*
 * piece.h - one stretch of WAL as a blob: frame 0 is a JSON header, the rest the bytes.
 *
 * Header: {"system_id", "timeline", "branch", "segment", "start", "end", "segment_size", "hash",
 * "received", "server_time", "first_commit_time", "last_commit_time", "last_record_lsn",
 * "restore_points": [{"name", "lsn", "time"}], "history", "parent_branch", "version"}.  Absent
 * members are not known.
 */
#ifndef MB_WALSTREAMER_PIECE_H
#define MB_WALSTREAMER_PIECE_H

#include "core/base/json.h"
#include "core/repo/repo.h"
#include "walstreamer/wal_name.h"
#include "walstreamer/wal_walk.h"

/* Frame 0 is never larger; a header alone is read by one get of this size. */
#define MB_WAL_HEADER_MAX (512u << 10)
#define MB_WAL_HEADER_GET (16u << 10)

/* What a header says about the bytes: XXH3-128 in hex. */
#define MB_WAL_HASH_TEXT 33
void mb_wal_hash(char out[MB_WAL_HASH_TEXT], const void *data, size_t len);

struct mb_wal_piece
{
	struct mb_wal_where where;
	uint64_t from_lsn;
	uint64_t to_lsn;
	int64_t received_us;
	int64_t server_time_us;    /* of the last message, by the server's clock */
	const char *history;       /* blob name of the timeline's history file, NULL on timeline 1 */
	const char *parent_branch; /* of the parent timeline, when known */
	const struct mb_wal_facts *facts;
	const unsigned char *data; /* to_lsn - from_lsn bytes */
};

/*
 * Store it.  MB_OK also when exactly these bytes are there already; MB_EXISTS when other
 * bytes are there: this is another history.  The writer is reused between calls.
 */
enum mb_code mb_wal_piece_put(struct mb_blob_writer *writer, const struct mb_repo *repo,
							  const struct mb_wal_piece *piece, struct mb_error *err) MB_MUST_CHECK;

/* The same in two steps: compress and seal, which takes the time; then put, perhaps again. */
void mb_wal_piece_seal(struct mb_blob_writer *writer, const struct mb_repo *repo,
					   const struct mb_wal_piece *piece);
enum mb_code mb_wal_piece_put_sealed(struct mb_blob_writer *writer, const struct mb_repo *repo,
									 const struct mb_wal_piece *piece,
									 struct mb_error *err) MB_MUST_CHECK;

/* The header only; a new reference in *header. */
enum mb_code mb_wal_piece_header(const struct mb_repo *repo, const char *name, json_t **header,
								 struct mb_error *err) MB_MUST_CHECK;
/*
 * Header (NULL: not wanted) and bytes, appended to out; their number is checked against the
 * header and the header against the name.
 */
enum mb_code mb_wal_piece_get(const struct mb_repo *repo, const char *name, json_t **header,
							  struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

/*
 * The unit [from_lsn, to_lsn) is there whole: remove its tail pieces, which say nothing new.
 * It does not matter if some stay.
 */
void mb_wal_tails_remove(const struct mb_repo *repo, const struct mb_wal_where *where,
						 uint64_t from_lsn, uint64_t to_lsn);

/* A history file; equal content has the same name, so MB_EXISTS is MB_OK.  name gets it. */
enum mb_code mb_wal_history_put(struct mb_blob_writer *writer, const struct mb_repo *repo,
								const char *component, const char *system_id, uint32_t timeline,
								const void *content, size_t len, char name[MB_NAME_MAX],
								struct mb_error *err) MB_MUST_CHECK;

#endif
