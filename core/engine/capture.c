/* capture.c - see capture.h. */
#include "core/engine/capture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

#define READ_BYTES (1u << 20)

enum mb_code
mb_capture_add(struct mb_capture *capture, const struct mb_entry *entry, struct mb_error *err)
{
	enum mb_code code = mb_manifest_add(capture->manifest, entry, err);

	if (code)
		return code;
	atomic_fetch_add(&capture->entries, 1);
	atomic_fetch_add(&capture->bytes, entry->size);
	atomic_fetch_add(&capture->progress->done_entries, 1);
	return MB_OK;
}

void
mb_capture_warn(struct mb_capture *capture, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	json_t *holder;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	mb_log_warning(capture->env->log, "%s: %s", capture->component, text);
	/* Through an object, because only mb_json_set_str copes with names that are not UTF-8. */
	holder = json_object();
	mb_json_set_str(holder, "text", text);
	pthread_mutex_lock(capture->lock);
	json_array_append(capture->warnings, json_object_get(holder, "text"));
	pthread_mutex_unlock(capture->lock);
	json_decref(holder);
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

enum mb_code
mb_capture_fd(struct mb_capture *capture, unsigned worker, int fd, const char *path,
			  struct mb_runs *runs, uint64_t *size, uint32_t *crc32c, struct mb_error *err)
{
	unsigned char *buf = mb_malloc(READ_BYTES);
	uint32_t crc = MB_CRC32C_INIT;
	uint64_t offset = 0;
	enum mb_code code;
	size_t got;

	do
	{
		code = mb_cancel_check(capture->env->cancel, err);
		if (!code)
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

/* Read, filter, hash and pack one range; fills map (hashes, runs, crc, bytes). */
static enum mb_code
read_range(struct mb_capture *capture, unsigned worker, int fd, const char *path, int64_t offset,
		   size_t len, mb_page_filter filter, void *filter_ctx, struct mb_page_map *map,
		   struct mb_error *err)
{
	unsigned char *buf = mb_malloc(READ_BYTES);
	enum mb_code code = MB_OK;
	size_t done = 0;

	map->hashes = mb_calloc((len + MB_PAGE_BYTES - 1) / MB_PAGE_BYTES, sizeof(*map->hashes));
	while (!code && done < len)
	{
		size_t want = len - done < READ_BYTES ? len - done : READ_BYTES;
		size_t got, at;

		code = mb_cancel_check(capture->env->cancel, err);
		if (!code)
			code = mb_pread_full(fd, buf, want, offset + (int64_t) done, &got, path, err);
		if (code || got == 0)
			break;
		if (filter)
			code = filter(filter_ctx, fd, buf, got, offset + (int64_t) done, err);
		for (at = 0; at < got; at += MB_PAGE_BYTES)
		{
			size_t page = got - at < MB_PAGE_BYTES ? got - at : MB_PAGE_BYTES;

			map->hashes[map->pages++] = mb_xxh64_seed(buf + at, page, capture->repo->page_seed);
		}
		map->crc32c = mb_crc32c(map->crc32c, buf, got);
		if (!code)
			code = mb_capture_bytes(capture, worker, buf, got, &map->runs, err);
		done += got;
		if (got < want)
			break;
	}
	map->bytes = done;
	free(buf);
	return code;
}

/* Put the encoded map inline when it is small, else into a frame of its own. */
static enum mb_code
store_map(struct mb_capture *capture, unsigned worker, const struct mb_page_map *map,
		  struct mb_map_ref *ref, struct mb_error *err)
{
	struct mb_buf encoded = {0};
	struct mb_pack_refs refs = {0};
	struct mb_map_ref made = {0};
	enum mb_code code = MB_OK;
	size_t i;

	mb_page_map_encode(&encoded, map);
	made.is_inline = map->pages <= MB_MAP_INLINE_PAGES;
	if (!made.is_inline)
		code = mb_packer_append_frame(capture->packers[worker], encoded.data, encoded.len,
									  &made.run, err);
	if (!code)
	{
		for (i = 0; i < map->runs.count; i++)
			mb_pack_refs_add(&refs, &map->runs.items[i].pack, map->runs.items[i].length);
		mb_pack_refs_settle(&refs);
		made.refs = refs.items;
		made.ref_count = (uint32_t) refs.count;
		if (made.is_inline)
		{
			made.data = encoded.data;
			made.data_len = (uint32_t) encoded.len;
			encoded.data = NULL;
		}
		*ref = made;
	}
	else
		mb_pack_refs_release(&refs);
	free(encoded.data);
	return code;
}

enum mb_code
mb_capture_range(struct mb_capture *capture, unsigned worker, int fd, const char *path,
				 int64_t offset, size_t len, mb_page_filter filter, void *filter_ctx,
				 struct mb_map_ref *ref, size_t *got, uint32_t *crc32c, struct mb_error *err)
{
	struct mb_page_map map = {.crc32c = MB_CRC32C_INIT};
	enum mb_code code;

	MB_ASSERT(offset % MB_RANGE_BYTES == 0 && len <= MB_RANGE_BYTES);
	code = read_range(capture, worker, fd, path, offset, len, filter, filter_ctx, &map, err);
	if (!code)
		code = store_map(capture, worker, &map, ref, err);
	if (!code)
	{
		*got = map.bytes;
		*crc32c = map.crc32c;
	}
	mb_page_map_release(&map);
	return code;
}

void
mb_map_ref_release(struct mb_map_ref *ref)
{
	free((void *) (uintptr_t) ref->data);
	free(ref->refs);
	memset(ref, 0, sizeof(*ref));
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
