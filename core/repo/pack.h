/*
 * pack.h - packs: immutable blobs of many frames, and the runs that point into them.
 *
 * A pack is written by one worker and holds about 16 MiB of stored bytes.  Behind
 * its data frames stands one index frame (flags INDEX | LAST) with, for each data
 * frame, {blob offset u32, stored_len u32, plain_len u32}, and behind that the tail:
 * {offset of the index frame u32, "PACK"}.  A reader of single frames gets the tail,
 * then the index, then what it wants.
 *
 * A *run* says where a byte range of a file lives.  Data is addressed by place, not
 * by content.
 *
 * Threads: an uploader is shared; a packer and a reader belong to one thread.
 */
#ifndef MB_REPO_PACK_H
#define MB_REPO_PACK_H

#include "core/repo/repo.h"

#define MB_PACK_ID_BYTES 16
#define MB_PACK_TARGET_BYTES (16u << 20)
#define MB_PACK_TAIL_BYTES 8
#define MB_PACK_MAX_FRAMES 65536
#define MB_PACK_NAME_TEXT 48

struct mb_pack_id
{
	unsigned char bytes[MB_PACK_ID_BYTES]; /* random */
};

void mb_pack_name(char out[MB_PACK_NAME_TEXT], const struct mb_pack_id *id); /* packs/ab/ab... */
bool mb_pack_name_parse(struct mb_pack_id *id, const char *name);

/* length bytes at `offset` of the plain data of frame number `frame` of a pack. */
struct mb_run
{
	struct mb_pack_id pack;
	uint32_t frame;
	uint32_t offset;
	uint32_t length;
};

struct mb_runs
{
	struct mb_run *items;
	size_t count;
	size_t cap;
};

void mb_runs_add(struct mb_runs *runs, const struct mb_run *run); /* joins neighbours */
void mb_runs_release(struct mb_runs *runs);

/* What one backup keeps alive in one pack: a line of the reference table. */
struct mb_pack_ref
{
	struct mb_pack_id pack;
	uint64_t live_bytes; /* plain bytes that are referred to */
};

/* Reference tables are sorted by pack id; _add keeps them so (amortised). */
struct mb_pack_refs
{
	struct mb_pack_ref *items;
	size_t count;
	size_t cap;
	size_t sorted; /* private */
};

void mb_pack_refs_add(struct mb_pack_refs *refs, const struct mb_pack_id *pack, uint64_t bytes);
void mb_pack_refs_settle(struct mb_pack_refs *refs); /* sort and merge; before reading items */
bool mb_pack_refs_has(const struct mb_pack_refs *refs, const struct mb_pack_id *pack); /* settled */
void mb_pack_refs_release(struct mb_pack_refs *refs);

/* -- the uploader: threads that put finished packs, with a bounded queue -------------------- */

struct mb_uploader;
/* threads >= 1; at most so many blobs wait or are being put. */
struct mb_uploader *mb_uploader_new(struct mb_store *store, unsigned threads);
/* Takes *bytes (left empty).  Blocks while there is no room.  Returns an earlier failure. */
enum mb_code mb_uploader_put(struct mb_uploader *uploader, const char *name, struct mb_buf *bytes,
							 struct mb_error *err) MB_MUST_CHECK;
/* Wait until everything is durable; the first failure, if any. */
enum mb_code mb_uploader_drain(struct mb_uploader *uploader, struct mb_error *err) MB_MUST_CHECK;
uint64_t mb_uploader_bytes(struct mb_uploader *uploader); /* stored so far */
void mb_uploader_free(struct mb_uploader *uploader);      /* joins the threads */

/* -- the packer: one worker's open pack ----------------------------------------------------- */

struct mb_packer;
struct mb_packer *mb_packer_new(const struct mb_repo *repo, struct mb_uploader *uploader);
/*
 * Append plain data of any length; runs gets where it went (valid once the packer
 * is finished and the uploader drained).  Small pieces share frames.
 */
enum mb_code mb_packer_append(struct mb_packer *packer, const void *data, size_t len,
							  struct mb_runs *runs, struct mb_error *err) MB_MUST_CHECK;
/* The same, but as a frame of its own (page maps, manifest blocks); 0 < len <= 1 MiB. */
enum mb_code mb_packer_append_frame(struct mb_packer *packer, const void *data, size_t len,
									struct mb_run *run, struct mb_error *err) MB_MUST_CHECK;
/* Seal and hand over the open pack, if any.  The packer may be used again. */
enum mb_code mb_packer_finish(struct mb_packer *packer, struct mb_error *err) MB_MUST_CHECK;
void mb_packer_free(struct mb_packer *packer);

/* -- the reader: decoded frames, a few kept ------------------------------------------------- */

struct mb_pack_reader;
struct mb_pack_reader *mb_pack_reader_new(const struct mb_repo *repo);
/*
 * The plain data of one frame, borrowed until the next call.  MB_CORRUPT when the
 * pack, its index or the frame is damaged, MB_NOT_FOUND becomes MB_CORRUPT ("pack
 * ... is missing"), since something refers to it.
 */
enum mb_code mb_pack_reader_frame(struct mb_pack_reader *reader, const struct mb_pack_id *pack,
								  uint32_t frame, const unsigned char **data, size_t *len,
								  struct mb_error *err) MB_MUST_CHECK;
/*
 * Fetch a whole pack in one get and keep it (one at a time): the frames of that pack
 * that are read next need no I/O.  For restores, which read packs from end to end.
 */
enum mb_code mb_pack_reader_load(struct mb_pack_reader *reader, const struct mb_pack_id *pack,
								 struct mb_error *err) MB_MUST_CHECK;
/* Append the bytes of a run to out. */
enum mb_code mb_pack_reader_run(struct mb_pack_reader *reader, const struct mb_run *run,
								struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;
/* The sum of a pack's data frames, from its index. */
enum mb_code mb_pack_reader_plain_bytes(struct mb_pack_reader *reader,
										const struct mb_pack_id *pack, uint64_t *plain_bytes,
										struct mb_error *err) MB_MUST_CHECK;
void mb_pack_reader_free(struct mb_pack_reader *reader);

/*
 * Read a whole pack and check every bit of it: header, every frame, index, tail.
 * *plain_bytes gets the sum of its data frames, *frames their number.
 */
enum mb_code mb_pack_verify(struct mb_pack_reader *reader, const struct mb_pack_id *pack,
							uint64_t *plain_bytes, uint32_t *frames,
							struct mb_error *err) MB_MUST_CHECK;

#endif
