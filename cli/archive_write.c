/* archive_write.c - see archive.h: members and their sums. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive.h"
#include "core/base/fs.h"
#include "core/base/time.h"

enum mb_code
archive_temporary(FILE **file, const char *dir, struct mb_error *err)
{
	int fd = mb_open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
	{
		char *path = mb_asprintf("%s/archive-XXXXXX", dir);

		fd = mb_mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
		free(path);
	}
	*file = fd >= 0 ? fdopen(fd, "w+") : NULL;
	if (!*file)
		return mb_fail_errno(err, errno, "could not create a temporary file in \"%s\"", dir);
	return MB_OK;
}

enum mb_code
archive_writer_open(struct archive_writer *writer, struct archive_output *out, unsigned flags,
					const char *tmp_dir, struct mb_error *err)
{
	memset(writer, 0, sizeof(*writer));
	if (archive_temporary(&writer->sums, tmp_dir, err))
		return err->code;
	writer->tar = mb_tar_writer_new(flags, archive_output_write, out);
	writer->now_ns = mb_time_now_us() * 1000;
	return MB_OK;
}

enum mb_code
archive_add(struct archive_writer *writer, const struct mb_tar_member *member, struct mb_error *err)
{
	return mb_tar_begin(writer->tar, member, err);
}

enum mb_code
archive_begin(struct archive_writer *writer, const struct mb_tar_member *member,
			  struct mb_error *err)
{
	mb_buf_reset(&writer->name);
	mb_buf_put_str(&writer->name, member->path);
	writer->sum = mb_sha256_new();
	writer->members++;
	writer->bytes += member->size;
	return mb_tar_begin(writer->tar, member, err);
}

enum mb_code
archive_write(struct archive_writer *writer, const void *data, size_t len, struct mb_error *err)
{
	mb_sha256_add(writer->sum, data, len);
	return mb_tar_write(writer->tar, data, len, err);
}

enum mb_code
archive_end(struct archive_writer *writer, struct mb_error *err)
{
	unsigned char sum[MB_SHA256_BYTES];
	char hex[2 * MB_SHA256_BYTES + 1];

	mb_sha256_end(writer->sum, sum);
	writer->sum = NULL;
	mb_hex(hex, sum, sizeof(sum));
	if (fprintf(writer->sums, "%s  %s\n", hex, mb_buf_cstr(&writer->name)) < 0)
		return mb_fail_errno(err, errno, "could not write the list of checksums");
	return MB_OK;
}

enum mb_code
archive_add_bytes(struct archive_writer *writer, const char *name, const void *data, size_t len,
				  struct mb_error *err)
{
	struct mb_tar_member member = {.path = name,
								   .type = S_IFREG,
								   .mode = 0600,
								   .size = len,
								   .mtime_ns = writer->now_ns};
	enum mb_code code = archive_begin(writer, &member, err);

	if (!code)
		code = archive_write(writer, data, len, err);
	return code ? code : archive_end(writer, err);
}

/* The contents of an open file, as many bytes as the member has. */
static enum mb_code
copy_fd(struct archive_writer *writer, const struct mb_tar_member *member, int fd, bool summed,
		struct mb_error *err)
{
	unsigned char *chunk = mb_malloc(ARCHIVE_CHUNK);
	enum mb_code code = MB_OK;
	uint64_t at;

	for (at = 0; !code && at < member->size;)
	{
		uint64_t left = member->size - at;
		size_t got, want = left < ARCHIVE_CHUNK ? (size_t) left : ARCHIVE_CHUNK;

		code = mb_pread_full(fd, chunk, want, (int64_t) at, &got, member->path, err);
		if (!code && got < want)
			code = mb_fail(err, MB_IO, "the file for \"%s\" became shorter", member->path);
		if (!code)
			code = summed ? archive_write(writer, chunk, got, err)
						  : mb_tar_write(writer->tar, chunk, got, err);
		at += want;
	}
	free(chunk);
	return code;
}

static enum mb_code
describe_fd(const struct archive_writer *writer, const char *name, int fd,
			struct mb_tar_member *member, struct mb_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return mb_fail_errno(err, errno, "could not look at the file for \"%s\"", name);
	*member = (struct mb_tar_member){.path = name,
									 .type = S_IFREG,
									 .mode = 0600,
									 .size = (uint64_t) st.st_size,
									 .mtime_ns = writer->now_ns};
	return MB_OK;
}

enum mb_code
archive_add_fd(struct archive_writer *writer, const char *name, int fd, struct mb_error *err)
{
	struct mb_tar_member member;
	enum mb_code code = describe_fd(writer, name, fd, &member, err);

	if (!code)
		code = archive_begin(writer, &member, err);
	if (!code)
		code = copy_fd(writer, &member, fd, true, err);
	return code ? code : archive_end(writer, err);
}

enum mb_code
archive_add_file(struct archive_writer *writer, const char *name, const char *path,
				 struct mb_error *err)
{
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	enum mb_code code;

	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	code = archive_add_fd(writer, name, fd, err);
	close(fd);
	return code;
}

enum mb_code
archive_finish(struct archive_writer *writer, struct mb_error *err)
{
	struct mb_tar_member member;
	enum mb_code code;

	if (fflush(writer->sums) != 0)
		return mb_fail_errno(err, errno, "could not write the list of checksums");
	code = describe_fd(writer, ARCHIVE_SUMS, fileno(writer->sums), &member, err);
	if (!code)
		code = mb_tar_begin(writer->tar, &member, err);
	if (!code)
		code = copy_fd(writer, &member, fileno(writer->sums), false, err);
	return code ? code : mb_tar_finish(writer->tar, err);
}

void
archive_writer_close(struct archive_writer *writer)
{
	mb_tar_writer_free(writer->tar);
	if (writer->sums)
		fclose(writer->sums);
	mb_sha256_end(writer->sum, NULL);
	mb_buf_release(&writer->name);
	memset(writer, 0, sizeof(*writer));
}
