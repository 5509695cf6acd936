/* wal_spool.c - see wal_spool.h: the files; what a crash left is wal_spool_flush.c's. */
#include "walstreamer/wal_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "walstreamer/wal_spool_private.h"

static void
path_of(const struct mb_wal_spool *spool, const struct mb_wal_where *where, uint64_t lsn,
		char out[MB_SPOOL_PATH])
{
	snprintf(out, MB_SPOOL_PATH, "%s/%08X-%016" PRIX64 "-%s", spool->dir, where->timeline, lsn,
			 where->branch);
}

/* What lies there counts against the limit from the start; what never got its name is removed. */
static enum mb_code
count_files(struct mb_wal_spool *spool, struct mb_error *err)
{
	DIR *dir = mb_opendir(spool->dir);
	enum mb_code code = MB_OK;
	struct dirent *entry;

	if (!dir)
		return mb_fail_errno(err, errno, "could not list \"%s\"", spool->dir);
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
	{
		struct stat st;

		if (mb_ends_with(entry->d_name, MB_SPOOL_NEW) &&
			unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			spool->used_bytes += (uint64_t) st.st_size;
	}
	if (errno)
		code = mb_fail_errno(err, errno, "could not list \"%s\"", spool->dir);
	closedir(dir);
	return code;
}

enum mb_code
mb_wal_spool_open(struct mb_wal_spool **out, const struct mb_env *env, const char *component,
				  uint64_t limit_bytes, struct mb_error *err)
{
	struct mb_wal_spool *spool = mb_calloc(1, sizeof(*spool));
	char *lock_path;
	enum mb_code code;

	spool->env = env;
	spool->limit_bytes = limit_bytes;
	spool->fd = spool->lock_fd = -1;
	snprintf(spool->component, sizeof(spool->component), "%s", component);
	spool->dir = mb_asprintf("%s/wal-%s", env->spool, component);
	lock_path = mb_asprintf("%s/lock", spool->dir);
	code = mb_mkdirs(spool->dir, 0700, err);
	if (!code)
		code = mb_lock_file(&spool->lock_fd, lock_path, err);
	free(lock_path);
	if (!code)
		code = count_files(spool, err);
	if (code)
	{
		mb_wal_spool_close(spool);
		return mb_error_context(err, "could not use the WAL spool");
	}
	*out = spool;
	return MB_OK;
}

void
mb_wal_spool_close(struct mb_wal_spool *spool)
{
	if (!spool)
		return;
	mb_wal_spool_leave(spool);
	if (spool->lock_fd >= 0)
		close(spool->lock_fd);
	free(spool->dir);
	free(spool);
}

bool
mb_wal_spool_is_full(const struct mb_wal_spool *spool)
{
	return spool->used_bytes >= spool->limit_bytes;
}

/* All or nothing: a part that was written is cut off again. */
static enum mb_code
write_all(struct mb_wal_spool *spool, const struct mb_buf *bytes, struct mb_error *err)
{
	enum mb_code code = mb_pwrite_full(spool->fd, bytes->data, bytes->len,
									   (int64_t) spool->file_bytes, spool->path, err);

	if (code)
	{
		if (ftruncate(spool->fd, (off_t) spool->file_bytes) != 0)
		{
			/* The record's checksum tells that it is cut. */
		}
		return code;
	}
	spool->file_bytes += bytes->len;
	spool->used_bytes += bytes->len;
	spool->dirty = true;
	return MB_OK;
}

static char *
meta_text(const struct mb_wal_spool *spool, const struct mb_wal_piece *piece)
{
	json_t *json = json_object();
	char *text;

	mb_json_set_str(json, "repository", spool->env->repo->id_text);
	mb_json_set_str(json, "component", spool->component);
	mb_json_set_str(json, "system_id", piece->where.system_id);
	mb_json_set_int(json, "timeline", piece->where.timeline);
	mb_json_set_str(json, "branch", piece->where.branch);
	mb_json_set_int(json, "segment_size", piece->where.segment_size);
	mb_json_set_lsn(json, "lsn", piece->from_lsn);
	mb_json_set_str(json, "history", piece->history);
	mb_json_set_str(json, "parent_branch", piece->parent_branch);
	text = mb_json_text(json);
	json_decref(json);
	return text;
}

static void
forget_bytes(struct mb_wal_spool *spool, uint64_t bytes)
{
	spool->used_bytes -= bytes < spool->used_bytes ? bytes : spool->used_bytes;
}

void
mb_wal_spool_leave(struct mb_wal_spool *spool)
{
	if (spool->fd < 0)
		return;
	close(spool->fd);
	if (spool->is_new)
	{
		char path[MB_SPOOL_PATH + sizeof(MB_SPOOL_NEW)];

		snprintf(path, sizeof(path), "%s%s", spool->path, MB_SPOOL_NEW);
		unlink(path); /* else the next start does */
		forget_bytes(spool, spool->file_bytes);
	}
	spool->fd = -1;
	spool->is_new = spool->dirty = false;
}

enum mb_code
mb_wal_spool_begin(struct mb_wal_spool *spool, const struct mb_wal_piece *piece,
				   struct mb_error *err)
{
	char *text = meta_text(spool, piece);
	char path[MB_SPOOL_PATH + sizeof(MB_SPOOL_NEW)];
	struct mb_buf bytes = {0};
	enum mb_code code = MB_OK;

	mb_wal_spool_leave(spool);
	path_of(spool, &piece->where, piece->from_lsn, spool->path);
	snprintf(path, sizeof(path), "%s%s", spool->path, MB_SPOOL_NEW);
	spool->file_bytes = 0;
	spool->fd = mb_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (spool->fd < 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", path);
	spool->is_new = !code;
	mb_buf_put(&bytes, MB_SPOOL_MAGIC, strlen(MB_SPOOL_MAGIC));
	mb_buf_put_u32(&bytes, (uint32_t) strlen(text));
	mb_buf_put_str(&bytes, text);
	if (!code)
		code = write_all(spool, &bytes, err);
	mb_buf_release(&bytes);
	free(text);
	return code;
}

enum mb_code
mb_wal_spool_append(struct mb_wal_spool *spool, uint64_t lsn, const void *data, size_t len,
					struct mb_error *err)
{
	struct mb_buf record = {0};
	enum mb_code code;

	mb_buf_reserve(&record, len + MB_SPOOL_RECORD);
	mb_buf_put_u64(&record, lsn);
	mb_buf_put_u32(&record, (uint32_t) len);
	mb_buf_put_u32(&record, 0);
	mb_buf_put_u64(&record, mb_xxh64_seed(data, len, lsn));
	mb_buf_put(&record, data, len);
	code = write_all(spool, &record, err);
	mb_buf_release(&record);
	return code;
}

/* It is whole up to here and durable: from now on it stands for its unit. */
static enum mb_code
give_name(struct mb_wal_spool *spool, struct mb_error *err)
{
	char path[MB_SPOOL_PATH + sizeof(MB_SPOOL_NEW)];
	struct stat before;
	bool replaces = stat(spool->path, &before) == 0;

	snprintf(path, sizeof(path), "%s%s", spool->path, MB_SPOOL_NEW);
	if (rename(path, spool->path) != 0)
		return mb_fail_errno(err, errno, "could not rename \"%s\"", path);
	spool->is_new = false;
	if (replaces)
		forget_bytes(spool, (uint64_t) before.st_size);
	return mb_fsync_path(spool->dir, err);
}

enum mb_code
mb_wal_spool_sync(struct mb_wal_spool *spool, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (!spool->dirty)
		return MB_OK;
	if (fdatasync(spool->fd) != 0)
		return mb_fail_errno(err, errno, "could not sync \"%s\"", spool->path);
	if (spool->is_new)
		code = give_name(spool, err);
	if (!code)
		spool->dirty = false;
	return code;
}

/* -- reading ------------------------------------------------------------------------------------- */

static enum mb_code
read_meta(struct mb_rd *rd, json_t **meta, const char *path, struct mb_error *err)
{
	const unsigned char *magic = mb_rd_bytes(rd, strlen(MB_SPOOL_MAGIC));
	uint32_t len = mb_rd_u32(rd);
	const unsigned char *text = len <= MB_SPOOL_META_MAX ? mb_rd_bytes(rd, len) : NULL;

	if (!magic || memcmp(magic, MB_SPOOL_MAGIC, strlen(MB_SPOOL_MAGIC)) != 0 || !text)
		return mb_fail(err, MB_CORRUPT, "\"%s\" is not a whole spool file", path);
	return mb_json_parse(meta, (const char *) text, len, path, err);
}

enum mb_code
mb_wal_spool_read(const char *path, json_t **meta, unsigned char *out, uint32_t *len,
				  struct mb_error *err)
{
	struct mb_buf file = {0};
	uint64_t start_lsn = 0;
	struct mb_rd rd;
	enum mb_code code = mb_file_read(&file, path, MB_SPOOL_FILE_MAX, err);

	*len = 0;
	rd = mb_rd_init(file.data, file.len);
	if (!code)
		code = read_meta(&rd, meta, path, err);
	if (!code && !mb_lsn_parse(&start_lsn, mb_json_str(*meta, "lsn", "")))
	{
		code = mb_fail(err, MB_CORRUPT, "\"%s\" does not say where it begins", path);
		json_decref(*meta);
	}
	while (!code && mb_rd_left(&rd) > MB_SPOOL_RECORD)
	{
		uint64_t lsn = mb_rd_u64(&rd);
		uint32_t size = mb_rd_u32(&rd);
		uint32_t zero = mb_rd_u32(&rd);
		uint64_t hash = mb_rd_u64(&rd);
		const unsigned char *data = mb_rd_bytes(&rd, size);

		if (!data || zero != 0 || lsn != start_lsn + *len || size > MB_WAL_UNIT_MAX - *len ||
			mb_xxh64_seed(data, size, lsn) != hash)
			break;
		memcpy(out + *len, data, size);
		*len += size;
	}
	mb_buf_release(&file);
	return code;
}

enum mb_code
mb_wal_spool_load(struct mb_wal_spool *spool, const struct mb_wal_where *where, uint64_t lsn,
				  unsigned char *out, uint32_t *len, struct mb_error *err)
{
	char path[MB_SPOOL_PATH];
	json_t *meta;
	enum mb_code code;

	path_of(spool, where, lsn, path);
	code = mb_wal_spool_read(path, &meta, out, len, err);
	if (!code)
		json_decref(meta);
	return code;
}

void
mb_wal_spool_unlink(struct mb_wal_spool *spool, const char *path)
{
	struct stat st;

	if (spool->fd >= 0 && strcmp(path, spool->path) == 0)
		mb_wal_spool_leave(spool);
	if (stat(path, &st) != 0 || unlink(path) != 0)
		return;
	forget_bytes(spool, (uint64_t) st.st_size);
}

void
mb_wal_spool_remove(struct mb_wal_spool *spool, const struct mb_wal_where *where, uint64_t lsn)
{
	char path[MB_SPOOL_PATH];

	path_of(spool, where, lsn, path);
	mb_wal_spool_unlink(spool, path);
}
