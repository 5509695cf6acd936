/*
 * capture.h - one component backup in the making: the way in.
 *
 * The engine makes a struct mb_capture for each component backup; the driver adds
 * entries to it and packs their contents through it.  The engine then finishes
 * packs, writes the manifest, drains the uploader and puts the commit.
 *
 * Threads: mb_capture_add, _warn and the counters may be called from any thread;
 * the packing functions take a worker number in [0, capture->workers) and a worker
 * number is used by one thread at a time (mb_pool_run gives it).
 */
#ifndef MB_ENGINE_CAPTURE_H
#define MB_ENGINE_CAPTURE_H

#include "core/engine/env.h"
#include "core/engine/rehome.h"

struct mb_capture
{
	const struct mb_env *env;
	const struct mb_repo *repo;
	char id[MB_ID_TEXT]; /* of the component backup */
	const char *component;
	const struct mb_commit *parent; /* NULL: full; else complete, with blocks; a driver that
									   cannot build on it sets it to NULL, and says so */
	unsigned workers;
	struct mb_packer **packers;      /* one for each worker */
	struct mb_pack_reader **readers; /* of the parent's packs, one for each worker that needs it */
	unsigned char **ranges;          /* buffers for each worker that needs them */
	bool
		is_prelude; /* another look follows at once: what that one sees anyway need not be looked for */
	struct mb_rehome rehome; /* what of the parent is not referred to; see mb_rehome_plan */
	struct mb_uploader *uploader;
	struct mb_manifest_writer *manifest;
	struct mb_progress *progress;
	struct mb_manifest_writer *unsaved; /* files finished since the last mb_capture_save, or NULL */
	unsigned saves;
	int64_t saved_ms;
	json_t *meta;     /* the driver's object in the commit */
	json_t *warnings; /* array of strings; guarded by lock */
	json_t *notes;    /* likewise */
	pthread_mutex_t *lock;
	atomic_uint_fast64_t entries;
	atomic_uint_fast64_t bytes;
	atomic_uint_fast64_t changed_bytes;
	atomic_bool incomplete; /* something could not be read: warned about, exit status 3 */
};

/* Add an entry (copied) to the manifest; counts entries and bytes. */
enum mb_code mb_capture_add(struct mb_capture *capture, const struct mb_entry *entry,
							struct mb_error *err) MB_MUST_CHECK;

/* Something the user should know about this backup; also makes it visible in `info`. */
void mb_capture_warn(struct mb_capture *capture, const char *fmt, ...) MB_PRINTF(2, 3);

/* Something worth knowing that is nothing to worry about: in the log, and `notes` of the meta. */
void mb_capture_note(struct mb_capture *capture, const char *fmt, ...) MB_PRINTF(2, 3);

/* Pack bytes from memory; counts changed_bytes. */
enum mb_code mb_capture_bytes(struct mb_capture *capture, unsigned worker, const void *data,
							  size_t len, struct mb_runs *runs, struct mb_error *err) MB_MUST_CHECK;

/*
 * Read a file to its end from fd and pack it.  *size gets the bytes read and *crc32c
 * their checksum.  `path` is for messages.
 */
enum mb_code mb_capture_fd(struct mb_capture *capture, unsigned worker, int fd, const char *path,
						   struct mb_runs *runs, uint64_t *size, uint32_t *crc32c,
						   struct mb_error *err) MB_MUST_CHECK;

/* The same, but what is a hole of the file is not read: zeros are packed. */
enum mb_code mb_capture_sparse(struct mb_capture *capture, unsigned worker, int fd,
							   const char *path, struct mb_runs *runs, uint64_t *size,
							   uint32_t *crc32c, struct mb_error *err) MB_MUST_CHECK;

/*
 * Called for all that is read, in stretches, before it is packed; may change it (read a torn
 * page again).  offset is in the file; len a multiple of a page, but for the end of the file.
 */
typedef enum mb_code (*mb_page_filter)(void *ctx, int fd, unsigned char *data, size_t len,
									   int64_t offset, struct mb_error *err);

enum mb_range_flags
{
	/* Pages that the parent holds with the same hash were judged then: no filter for them. */
	MB_RANGE_JUDGED = 1
};

/* A range of a file that is to be read: [offset, offset + len). */
struct mb_range_source
{
	int fd;
	const char *path;      /* for messages */
	int64_t offset;        /* a multiple of MB_RANGE_BYTES */
	size_t len;            /* at most MB_RANGE_BYTES */
	mb_page_filter filter; /* or NULL */
	void *filter_ctx;
	unsigned flags;
};

/*
 * Read a range with a page map and pack it.  *got is what there was: short at the end of
 * the file is normal.  *ref is owned by the caller (mb_map_ref_release) and valid for
 * mb_capture_add; *crc32c is that of the range.
 *
 * `parent` is the parent backup's map of this range, or NULL.  Pages that it holds with
 * the same hash at the same place are referred to, the others are packed; when all are the
 * same, its map is shared too.  What is packed of a range against a parent is held in memory to
 * its end; when that would make too many runs the range is read a second time.
 */
enum mb_code mb_capture_range(struct mb_capture *capture, unsigned worker,
							  const struct mb_range_source *source, const struct mb_map_ref *parent,
							  struct mb_map_ref *ref, size_t *got, uint32_t *crc32c,
							  struct mb_error *err) MB_MUST_CHECK;
/*
 * The same for one whole range (or the end of a file) that is already in memory, because it
 * comes from a stream.
 */
enum mb_code mb_capture_pages(struct mb_capture *capture, unsigned worker, const void *data,
							  size_t len, const struct mb_map_ref *parent, struct mb_map_ref *ref,
							  uint32_t *crc32c, struct mb_error *err) MB_MUST_CHECK;
/*
 * The whole contents of a small file without page maps.  When the parent's entry (or NULL)
 * has runs with the very same bytes, these are referred to: size and checksum choose, the
 * bytes decide.
 */
enum mb_code mb_capture_small(struct mb_capture *capture, unsigned worker, const void *data,
							  size_t len, const struct mb_entry *parent, struct mb_runs *runs,
							  uint32_t *crc32c, struct mb_error *err) MB_MUST_CHECK;
void mb_map_ref_release(struct mb_map_ref *ref);

/*
 * For long backups: note now and then what is finished, for the next attempt should this one
 * be killed (core/repo/provisional.h).  _begin before the first file is packed; _due tells any
 * thread whether 10 minutes have passed since; mb_capture_save makes all that was packed
 * durable and notes the files that were added, while no worker packs.
 */
void mb_capture_save_begin(struct mb_capture *capture);
bool mb_capture_save_due(const struct mb_capture *capture);
enum mb_code mb_capture_save(struct mb_capture *capture, struct mb_error *err) MB_MUST_CHECK;

/* A small named byte string as an entry of type MB_ENTRY_DATA (backup_label). */
enum mb_code mb_capture_data(struct mb_capture *capture, const char *name, const void *data,
							 size_t len, struct mb_error *err) MB_MUST_CHECK;

#endif
