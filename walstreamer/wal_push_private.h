/*
 * wal_push_private.h - wal-push from the inside: wal_push.c decides what a file is and runs
 * the batch, wal_push_file.c reads a segment and puts its units, wal_push_branch.c finds the
 * branch, wal_push_note.c keeps what the spool knows.
 */
#ifndef MB_WALSTREAMER_WAL_PUSH_PRIVATE_H
#define MB_WALSTREAMER_WAL_PUSH_PRIVATE_H

#include "walstreamer/data_dir.h"
#include "walstreamer/inventory.h"
#include "walstreamer/wal_push.h"

/* One segment file, open and checked. */
struct mb_push_file
{
	int fd;
	const char *path;
	char file[MB_WAL_FILE_TEXT];
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t timeline;
	uint32_t segment_size;
	uint64_t start_lsn;
	uint64_t end_lsn; /* bytes of this timeline end here: the segment's end but for .partial */
	int64_t modified_us;
	uint64_t inode;
};

/* Where the pieces of a call go. */
struct mb_push_target
{
	const struct mb_env *env;
	const char *component;
	char marker[MB_DATA_DIR_MARKER];
	char branch[MB_WAL_BRANCH_TEXT];
	char history[MB_NAME_MAX];
	char parent_branch[MB_WAL_BRANCH_TEXT];
	json_t *note; /* what the spool says, of this repository and cluster, or an empty object */
};

/* -- wal_push_file.c -- */
/*
 * Open a segment and hold it against its name: size, magic, address, timeline and segment size.
 * MB_CORRUPT names the difference.  Close file->fd.
 */
enum mb_code mb_push_open(struct mb_push_file *file, const char *path,
						  struct mb_error *err) MB_MUST_CHECK;
struct mb_wal_where mb_push_where(const struct mb_push_target *target,
								  const struct mb_push_file *file);
/* How a branch and a segment file agree. */
struct mb_push_agreement
{
	bool differs;          /* some stored byte is another one */
	uint64_t equal_bytes;  /* stored and equal, counted in pieces */
	uint64_t covered_to;   /* from the segment's start without a hole; start_lsn: nothing */
	uint64_t whole_pieces; /* bit i: unit i is there whole */
};
enum mb_code mb_push_compare(const struct mb_push_target *target, const struct mb_push_file *file,
							 const char *branch, struct mb_push_agreement *out,
							 struct mb_error *err) MB_MUST_CHECK;
/* Put what target->branch lacks of the file.  MB_EXISTS: other bytes are there. */
enum mb_code mb_push_put(const struct mb_push_target *target, const struct mb_push_file *file,
						 struct mb_error *err) MB_MUST_CHECK;

/* -- wal_push_branch.c -- */
/* Set target->branch, history and parent_branch for the file. */
enum mb_code mb_push_choose(struct mb_push_target *target, const struct mb_push_file *file,
							struct mb_error *err) MB_MUST_CHECK;

/* -- wal_push_note.c -- */
json_t *mb_push_note_read(const char *spool, const char *component, const char *repository_id);
/* Add a stored segment; the caller writes the note in the end. */
void mb_push_note_add(json_t *note, const struct mb_push_file *file);
/* What target knows becomes the note of the spool; best effort. */
void mb_push_note_write(const struct mb_push_target *target, const struct mb_push_file *file,
						json_t *segments);

#endif
