/* archive_output.c - see archive.h: the bytes of an archive on their way into a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive.h"
#include "core/base/fs.h"

static bool
is_stdout(const char *path)
{
	return strcmp(path, "-") == 0;
}

static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mb_strdup(".");
	return slash == path ? mb_strdup("/") : mb_strndup(path, (size_t) (slash - path));
}

static enum mb_code
exists(const char *path, struct mb_error *err)
{
	mb_fail(err, MB_EXISTS, "\"%s\" exists", path);
	return mb_error_hint(err, "Choose another name, or replace it with --force.");
}

enum mb_code
archive_output_check(const char *path, unsigned flags, struct mb_error *err)
{
	struct stat st;

	if (is_stdout(path) || lstat(path, &st) != 0)
		return MB_OK;
	if (!S_ISREG(st.st_mode))
		return mb_fail(err, MB_CONFLICT, "\"%s\" is not a regular file", path);
	return flags & ARCHIVE_REPLACE ? MB_OK : exists(path, err);
}

/* Without a name where the file system can: then a kill leaves nothing. */
static enum mb_code
open_file(struct archive_output *out, struct mb_error *err)
{
	char *directory = directory_of(out->path);
	enum mb_code code = MB_OK;

	out->fd = mb_open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (out->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
	{
		out->part = mb_asprintf("%s.part-XXXXXX", out->path);
		out->fd = mb_mkostemp(out->part, O_CLOEXEC);
	}
	if (out->fd < 0)
	{
		code = mb_fail_errno(err, errno, "could not create a file in \"%s\"", directory);
		free(out->part);
		out->part = NULL;
	}
	free(directory);
	return code;
}

static enum mb_code
put(struct archive_output *out, const void *data, size_t len, struct mb_error *err)
{
	mb_sha256_add(out->sum, data, len);
	out->bytes += len;
	return mb_write_full(out->fd, data, len, out->path, err);
}

static enum mb_code
begin_sealing(struct archive_output *out, const struct mb_secret *pass, struct mb_error *err)
{
	unsigned char header[MB_ENC_HEADER_BYTES];

	memcpy(header, MB_ENC_MAGIC, MB_ENC_HEADER_BYTES - MB_ENC_SALT_BYTES);
	mb_random(header + MB_ENC_HEADER_BYTES - MB_ENC_SALT_BYTES, MB_ENC_SALT_BYTES);
	out->enc = mb_enc_new(MB_ENC_ENCRYPT, pass->data, pass->len,
						  header + MB_ENC_HEADER_BYTES - MB_ENC_SALT_BYTES);
	out->sealed = mb_malloc(ARCHIVE_CHUNK + MB_ENC_BLOCK_BYTES);
	return put(out, header, sizeof(header), err);
}

enum mb_code
archive_output_open(struct archive_output *out, const char *path, unsigned flags,
					const struct mb_secret *pass, struct mb_error *err)
{
	enum mb_code code;

	memset(out, 0, sizeof(*out));
	out->path = path;
	out->flags = flags;
	out->fd = is_stdout(path) ? STDOUT_FILENO : -1;
	code = archive_output_check(path, flags, err);
	if (!code && out->fd < 0)
		code = open_file(out, err);
	if (code)
		return code;
	out->sum = mb_sha256_new();
	return pass && pass->len > 0 ? begin_sealing(out, pass, err) : MB_OK;
}

enum mb_code
archive_output_write(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct archive_output *out = ctx;
	const unsigned char *p = data;
	enum mb_code code = MB_OK;

	if (!out->enc)
		return put(out, data, len, err);
	while (!code && len > 0)
	{
		size_t piece = len < ARCHIVE_CHUNK ? len : ARCHIVE_CHUNK;

		code = put(out, out->sealed, mb_enc_update(out->enc, p, piece, out->sealed), err);
		p += piece;
		len -= piece;
	}
	return code;
}

/* link(2) replaces nothing; what is to be replaced goes by rename(2). */
static enum mb_code
name_file(struct archive_output *out, struct mb_error *err)
{
	char *self = mb_asprintf("/proc/self/fd/%d", out->fd);
	char *sum_path = mb_asprintf("%s.sha256", out->path);
	bool replace = out->flags & ARCHIVE_REPLACE;
	int done = 0;

	/* A sum that belongs to another file is worse than none. */
	if (unlink(sum_path) != 0 && errno != ENOENT)
		done = -1;
	if (done == 0 && !out->part && replace)
	{
		unsigned char noise[6];
		char hex[2 * sizeof(noise) + 1];

		mb_random(noise, sizeof(noise));
		mb_hex(hex, noise, sizeof(noise));
		out->part = mb_asprintf("%s.part-%s", out->path, hex);
		done = linkat(AT_FDCWD, self, AT_FDCWD, out->part, AT_SYMLINK_FOLLOW);
		if (done != 0)
		{
			free(out->part);
			out->part = NULL;
		}
	}
	if (done == 0 && replace)
		done = rename(out->part, out->path);
	else if (done == 0 && out->part)
		done = link(out->part, out->path);
	else if (done == 0)
		done = linkat(AT_FDCWD, self, AT_FDCWD, out->path, AT_SYMLINK_FOLLOW);
	if (done == 0 && replace)
	{
		free(out->part);
		out->part = NULL;
	}
	free(self);
	free(sum_path);
	if (done != 0 && errno == EEXIST)
		return exists(out->path, err);
	return done != 0 ? mb_fail_errno(err, errno, "could not create \"%s\"", out->path) : MB_OK;
}

/* As sha256sum prints it, with the name alone: the two may be moved together. */
static enum mb_code
write_sum(const struct archive_output *out, struct mb_error *err)
{
	const char *slash = strrchr(out->path, '/');
	char *path = mb_asprintf("%s.sha256", out->path);
	char *text = mb_asprintf("%s  %s\n", out->sha256, slash ? slash + 1 : out->path);
	enum mb_code code = mb_file_write_durable(path, text, strlen(text), 0600, err);

	free(text);
	free(path);
	return code;
}

enum mb_code
archive_output_finish(struct archive_output *out, struct mb_error *err)
{
	unsigned char sum[MB_SHA256_BYTES];
	enum mb_code code = MB_OK;
	size_t len;

	if (out->enc)
	{
		code = mb_enc_finish(out->enc, out->sealed, &len, err);
		if (!code)
			code = put(out, out->sealed, len, err);
	}
	mb_sha256_end(out->sum, sum);
	out->sum = NULL;
	mb_hex(out->sha256, sum, sizeof(sum));
	if (code || is_stdout(out->path))
		return code;
	if (fsync(out->fd) != 0)
		return mb_fail_errno(err, errno, "could not write \"%s\"", out->path);
	code = name_file(out, err);
	/* This syncs the directory, so both names are durable. */
	return code ? code : write_sum(out, err);
}

void
archive_output_close(struct archive_output *out)
{
	if (out->fd > STDERR_FILENO)
		close(out->fd);
	if (out->part)
		unlink(out->part);
	free(out->part);
	free(out->sealed);
	mb_enc_free(out->enc);
	mb_sha256_end(out->sum, NULL);
	memset(out, 0, sizeof(*out));
	out->fd = -1;
}
