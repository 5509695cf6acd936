/* backup_manifest.c - see backup_manifest.h. */
#include "postgres/backup_manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/log.h"
#include "core/repo/crypto.h"

#define FLUSH_BYTES 65536

static bool
is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s < 0x20 || (unsigned char) *s > 0x7E)
			return false;
	return true;
}

enum mb_code
mb_pg_manifest_begin(struct mb_pg_manifest *manifest, const char *path, struct mb_error *err)
{
	memset(manifest, 0, sizeof(*manifest));
	manifest->fd = mb_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (manifest->fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", path);
	manifest->path = mb_strdup(path);
	mb_buf_put_str(&manifest->buf, "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [");
	return MB_OK;
}

static void
flush_buffer(struct mb_pg_manifest *manifest)
{
	if (!manifest->code)
		manifest->code = mb_write_full(manifest->fd, manifest->buf.data, manifest->buf.len,
									   manifest->path, &manifest->err);
	mb_buf_reset(&manifest->buf);
}

void
mb_pg_manifest_add(struct mb_pg_manifest *manifest, const char *path, uint64_t size,
				   int64_t mtime_s, uint32_t crc32c)
{
	struct mb_buf *buf = &manifest->buf;
	unsigned char crc[4];
	char hex[9], when[64];
	time_t t = (time_t) mtime_s;
	struct tm tm;

	mb_buf_put_str(buf, manifest->files++ == 0 ? "\n" : ",\n");
	if (is_plain(path))
	{
		mb_buf_put_str(buf, "{ \"Path\": ");
		mb_json_quote(buf, path);
	}
	else
	{
		char *encoded = mb_malloc(2 * strlen(path) + 1);

		mb_hex(encoded, (const unsigned char *) path, strlen(path));
		mb_buf_printf(buf, "{ \"Encoded-Path\": \"%s\"", encoded);
		free(encoded);
	}
	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S GMT", &tm);
	mb_set_u32(crc, crc32c); /* the bytes of a little-endian integer, as Postgres writes them */
	mb_hex(hex, crc, sizeof(crc));
	mb_buf_printf(buf,
				  ", \"Size\": %llu, \"Last-Modified\": \"%s\", \"Checksum-Algorithm\": "
				  "\"CRC32C\", "
				  "\"Checksum\": \"%s\" }",
				  (unsigned long long) size, when, hex);
	if (buf->len > FLUSH_BYTES)
		flush_buffer(manifest);
}

/* SHA-256 of what has been written so far; mapped, so that it takes no memory of ours. */
static enum mb_code
hash_file(struct mb_pg_manifest *manifest, unsigned char hash[MB_SHA256_BYTES],
		  struct mb_error *err)
{
	struct stat st;
	void *map;

	if (fstat(manifest->fd, &st) != 0)
		return mb_fail_errno(err, errno, "could not stat \"%s\"", manifest->path);
	map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, manifest->fd, 0);
	if (map == MAP_FAILED)
		return mb_fail_errno(err, errno, "could not map \"%s\"", manifest->path);
	mb_sha256(hash, map, (size_t) st.st_size);
	munmap(map, (size_t) st.st_size);
	return MB_OK;
}

enum mb_code
mb_pg_manifest_finish(struct mb_pg_manifest *manifest, uint32_t timeline, uint64_t start_lsn,
					  uint64_t end_lsn, struct mb_error *err)
{
	unsigned char hash[MB_SHA256_BYTES];
	char hex[2 * MB_SHA256_BYTES + 1];
	enum mb_code code;

	mb_buf_printf(&manifest->buf,
				  "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": %u, \"Start-LSN\": \"%X/%X\", "
				  "\"End-LSN\": \"%X/%X\" }\n],\n",
				  timeline, (unsigned) (start_lsn >> 32), (unsigned) start_lsn,
				  (unsigned) (end_lsn >> 32), (unsigned) end_lsn);
	flush_buffer(manifest);
	if (manifest->code)
	{
		*err = manifest->err;
		return manifest->code;
	}
	code = hash_file(manifest, hash, err);
	if (code)
		return code;
	mb_hex(hex, hash, sizeof(hash));
	mb_buf_printf(&manifest->buf, "\"Manifest-Checksum\": \"%s\"}\n", hex);
	flush_buffer(manifest);
	if (!manifest->code && fsync(manifest->fd) != 0)
		manifest->code =
			mb_fail_errno(&manifest->err, errno, "could not fsync \"%s\"", manifest->path);
	if (manifest->code)
		*err = manifest->err;
	return manifest->code;
}

void
mb_pg_manifest_release(struct mb_pg_manifest *manifest)
{
	if (manifest->path)
		close(manifest->fd);
	free(manifest->path);
	mb_buf_release(&manifest->buf);
	memset(manifest, 0, sizeof(*manifest));
}
