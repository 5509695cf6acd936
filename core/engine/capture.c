/* capture.c - see capture.h. */
#include "core/engine/capture_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "core/repo/provisional.h"

#define READ_BYTES (1u << 20)
#define SAVE_INTERVAL_MS (10 * 60 * 1000)

enum mb_code
mb_capture_add(struct mb_capture *capture, const struct mb_entry *entry, struct mb_error *err)
{
	enum mb_code code = mb_manifest_add(capture->manifest, entry, err);

	if (!code && capture->unsaved && entry->type == MB_ENTRY_FILE)
		code = mb_manifest_add(capture->unsaved, entry, err);
	if (code)
		return code;
	atomic_fetch_add(&capture->entries, 1);
	atomic_fetch_add(&capture->bytes, entry->size);
	atomic_fetch_add(&capture->progress->done_entries, 1);
	return MB_OK;
}

static void
append_text(struct mb_capture *capture, json_t *array, const char *text)
{
	/* Through an object, because only mb_json_set_str copes with names that are not UTF-8. */
	json_t *holder = json_object();

	mb_json_set_str(holder, "text", text);
	pthread_mutex_lock(capture->lock);
	json_array_append(array, json_object_get(holder, "text"));
	pthread_mutex_unlock(capture->lock);
	json_decref(holder);
}

void
mb_capture_warn(struct mb_capture *capture, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_log_warning(capture->env->log, "%s: %s", capture->component, text);
	append_text(capture, capture->warnings, text);
}

void
mb_capture_note(struct mb_capture *capture, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_log_info(capture->env->log, "%s: %s", capture->component, text);
	append_text(capture, capture->notes, text);
}

enum mb_code
mb_capture_bytes(struct mb_capture *capture, unsigned worker, const void *data, size_t len,
				 struct mb_runs *runs, struct mb_error *err)
{
	MB_ASSERT(worker < capture->workers);
	atomic_fetch_add(&capture->changed_bytes, len);
	atomic_fetch_add(&capture->progress->done_bytes, len);
	return mb_packer_append(capture->packers[worker], data, len, runs, err);
}

/* Is [offset, offset + READ_BYTES) a hole, or what of it lies before the end?  *len is that. */
static bool
is_hole(int fd, uint64_t offset, size_t *len)
{
	off_t data = lseek(fd, (off_t) offset, SEEK_DATA);
	struct stat st;

	/* Filesystems without holes say that all is data. */
	if (data >= 0)
		*len = READ_BYTES;
	else if (errno == ENXIO && fstat(fd, &st) == 0 && (uint64_t) st.st_size > offset)
		*len = (uint64_t) st.st_size - offset < READ_BYTES
				   ? (size_t) ((uint64_t) st.st_size - offset)
				   : READ_BYTES;
	else
		return false;
	return data < 0 || (uint64_t) data >= offset + READ_BYTES;
}

enum file_reading
{
	READ_ALL,
	READ_NO_HOLES
};

static enum mb_code
capture_file(struct mb_capture *capture, unsigned worker, int fd, const char *path,
			 enum file_reading reading, struct mb_runs *runs, uint64_t *size, uint32_t *crc32c,
			 struct mb_error *err)
{
	unsigned char *buf = mb_malloc(READ_BYTES);
	uint32_t crc = MB_CRC32C_INIT;
	uint64_t offset = 0;
	enum mb_code code;
	size_t got;

	do
	{
		code = mb_cancel_check(capture->env->cancel, err);
		if (!code && reading == READ_NO_HOLES && is_hole(fd, offset, &got))
			memset(buf, 0, got);
		else if (!code)
			code = mb_pread_full(fd, buf, READ_BYTES, (int64_t) offset, &got, path, err);
		if (!code && got > 0)
		{
			crc = mb_crc32c(crc, buf, got);
			offset += got;
			code = mb_capture_bytes(capture, worker, buf, got, runs, err);
		}
	} while (!code && got == READ_BYTES);
	free(buf);
	if (code)
		return code;
	*size = offset;
	*crc32c = crc;
	return MB_OK;
}

enum mb_code
mb_capture_fd(struct mb_capture *capture, unsigned worker, int fd, const char *path,
			  struct mb_runs *runs, uint64_t *size, uint32_t *crc32c, struct mb_error *err)
{
	return capture_file(capture, worker, fd, path, READ_ALL, runs, size, crc32c, err);
}

enum mb_code
mb_capture_sparse(struct mb_capture *capture, unsigned worker, int fd, const char *path,
				  struct mb_runs *runs, uint64_t *size, uint32_t *crc32c, struct mb_error *err)
{
	return capture_file(capture, worker, fd, path, READ_NO_HOLES, runs, size, crc32c, err);
}

enum mb_code
mb_capture_data(struct mb_capture *capture, const char *name, const void *data, size_t len,
				struct mb_error *err)
{
	struct mb_runs runs = {0};
	struct mb_entry entry = {.type = MB_ENTRY_DATA,
							 .path = name,
							 .path_len = strlen(name),
							 .mode = 0600,
							 .size = len,
							 .has_crc32c = true,
							 .crc32c = mb_crc32c(MB_CRC32C_INIT, data, len)};
	enum mb_code code = mb_capture_bytes(capture, 0, data, len, &runs, err);

	entry.runs = runs.items;
	entry.run_count = runs.count;
	if (!code)
		code = mb_capture_add(capture, &entry, err);
	mb_runs_release(&runs);
	return code;
}

/* -- small contents ------------------------------------------------------------------------------ */

/* Are the parent's contents these bytes?  What cannot be read is not. */
static enum mb_code
is_same(struct mb_capture *capture, unsigned worker, const struct mb_entry *parent,
		const void *data, size_t len, bool *same, struct mb_error *err)
{
	struct mb_buf old = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < parent->run_count; i++)
		code = mb_pack_reader_run(mb_capture_reader(capture, worker), &parent->runs[i], &old, err);
	*same = !code && old.len == len && memcmp(old.data, data, len) == 0;
	mb_buf_release(&old);
	return code == MB_CORRUPT ? MB_OK : code;
}

enum mb_code
mb_capture_small(struct mb_capture *capture, unsigned worker, const void *data, size_t len,
				 const struct mb_entry *parent, struct mb_runs *runs, uint32_t *crc32c,
				 struct mb_error *err)
{
	uint32_t crc = mb_crc32c(MB_CRC32C_INIT, data, len);
	enum mb_code code = MB_OK;
	bool same = false;
	size_t i;

	if (parent && len > 0 && parent->run_count > 0 && parent->size == len && parent->has_crc32c &&
		parent->crc32c == crc)
		code = is_same(capture, worker, parent, data, len, &same, err);
	if (code)
		return code;
	for (i = 0; same && i < parent->run_count; i++)
		same = !mb_rehome_takes(&capture->rehome, &parent->runs[i].pack, parent->runs[i].length);
	if (same)
	{
		for (i = 0; i < parent->run_count; i++)
			mb_runs_add(runs, &parent->runs[i]);
		atomic_fetch_add(&capture->progress->done_bytes, len);
	}
	else
		code = mb_capture_bytes(capture, worker, data, len, runs, err);
	if (!code)
		*crc32c = crc;
	return code;
}

/* -- what the next attempt may use ---------------------------------------------------------- */

/* Tests cannot wait 10 minutes. */
static int64_t
save_interval_ms(void)
{
	const char *text = getenv("MBACKUP_TEST_SAVE_MS");

	return text ? strtoll(text, NULL, 10) : SAVE_INTERVAL_MS;
}

void
mb_capture_save_begin(struct mb_capture *capture)
{
	mb_manifest_writer_free(capture->unsaved);
	capture->unsaved = mb_manifest_writer_new(capture->env->spool);
	capture->saved_ms = mb_monotonic_ms();
}

bool
mb_capture_save_due(const struct mb_capture *capture)
{
	return capture->unsaved && mb_monotonic_ms() - capture->saved_ms >= save_interval_ms();
}

/* Finish all packs and wait for them. */
static enum mb_code
make_durable(struct mb_capture *capture, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	unsigned i;

	for (i = 0; !code && i < capture->workers; i++)
		code = mb_packer_finish(capture->packers[i], err);
	return code ? code : mb_uploader_drain(capture->uploader, err);
}

enum mb_code
mb_capture_save(struct mb_capture *capture, struct mb_error *err)
{
	struct mb_blocks blocks = {0};
	struct mb_pack_refs refs = {0};
	enum mb_code code =
		mb_manifest_finish(capture->unsaved, capture->packers[0], &blocks, &refs, err);

	if (!code)
		code = make_durable(capture, err);
	if (!code && blocks.count > 0)
		code = mb_provisional_put(capture->repo, capture->component, capture->id, ++capture->saves,
								  &blocks, &refs, err);
	mb_blocks_release(&blocks);
	mb_pack_refs_release(&refs);
	mb_capture_save_begin(capture);
	return code;
}
