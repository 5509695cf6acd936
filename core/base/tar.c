/* tar.c - see tar.h. */
#include "core/base/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/mem.h"

struct mb_tar
{
	struct archive *archive;
	const char *what;
	mb_tar_source source;
	void *ctx;
	bool source_failed;
	struct mb_error failure;
	char *path; /* of the member, without a trailing slash */
};

static la_ssize_t
read_source(struct archive *archive, void *ctx, const void **data)
{
	struct mb_tar *tar = ctx;
	size_t len = 0;

	if (tar->source(tar->ctx, data, &len, &tar->failure) == MB_OK)
		return (la_ssize_t) len;
	tar->source_failed = true;
	archive_set_error(archive, EIO, "the source failed");
	return -1;
}

static enum mb_code
tar_failed(struct mb_tar *tar, struct mb_error *err)
{
	const char *why = archive_error_string(tar->archive);

	if (tar->source_failed)
	{
		*err = tar->failure;
		return err->code;
	}
	return mb_fail(err, MB_CORRUPT, "could not read the tar archive \"%s\": %s", tar->what,
				   why ? why : "unknown reason");
}

enum mb_code
mb_tar_open(struct mb_tar **tar, const char *what, mb_tar_source source, void *ctx,
			struct mb_error *err)
{
	struct mb_tar *made = mb_calloc(1, sizeof(*made));
	enum mb_code code = MB_OK;

	made->what = what;
	made->source = source;
	made->ctx = ctx;
	made->archive = archive_read_new();
	if (!made->archive)
		MB_BUG("out of memory");
	archive_read_support_filter_gzip(made->archive);
	archive_read_support_filter_lz4(made->archive);
	archive_read_support_filter_zstd(made->archive);
	archive_read_support_format_tar(made->archive);
	archive_read_support_format_empty(made->archive);
	if (archive_read_open2(made->archive, made, NULL, read_source, NULL, NULL) != ARCHIVE_OK)
		code = tar_failed(made, err);
	if (code)
		mb_tar_close(made);
	else
		*tar = made;
	return code;
}

static const char *
text_or_null(const char *text)
{
	return text && *text ? text : NULL;
}

static void
take_member(struct mb_tar *tar, struct archive_entry *entry, struct mb_tar_member *member)
{
	const char *path = archive_entry_pathname(entry);
	size_t len;

	while (path && path[0] == '.' && path[1] == '/' && path[2])
		path += 2;
	len = path ? strlen(path) : 0;
	while (len > 1 && path[len - 1] == '/')
		len--;
	free(tar->path);
	tar->path = mb_strndup(path ? path : "", len);
	member->path = tar->path;
	member->type = archive_entry_filetype(entry);
	member->mode = archive_entry_perm(entry);
	member->link = text_or_null(archive_entry_symlink(entry));
	member->hard_link = text_or_null(archive_entry_hardlink(entry));
	member->uid = (uint32_t) archive_entry_uid(entry);
	member->gid = (uint32_t) archive_entry_gid(entry);
	member->user = text_or_null(archive_entry_uname(entry));
	member->group = text_or_null(archive_entry_gname(entry));
	member->size = archive_entry_size(entry) > 0 ? (uint64_t) archive_entry_size(entry) : 0;
	member->mtime_ns =
		(int64_t) archive_entry_mtime(entry) * 1000000000 + archive_entry_mtime_nsec(entry);
}

enum mb_code
mb_tar_next(struct mb_tar *tar, struct mb_tar_member *member, bool *more, struct mb_error *err)
{
	struct archive_entry *entry;
	int status = archive_read_next_header(tar->archive, &entry);

	if (status == ARCHIVE_EOF)
	{
		*more = false;
		return MB_OK;
	}
	/* A warning is about a name in another character set: the bytes are right. */
	if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
		return tar_failed(tar, err);
	take_member(tar, entry, member);
	*more = true;
	return MB_OK;
}

enum mb_code
mb_tar_read(struct mb_tar *tar, void *data, size_t len, size_t *got, struct mb_error *err)
{
	size_t done = 0;

	while (done < len)
	{
		la_ssize_t n = archive_read_data(tar->archive, (unsigned char *) data + done, len - done);

		if (n < 0)
			return tar_failed(tar, err);
		if (n == 0)
			break;
		done += (size_t) n;
	}
	*got = done;
	return MB_OK;
}

void
mb_tar_close(struct mb_tar *tar)
{
	if (!tar)
		return;
	archive_read_free(tar->archive);
	free(tar->path);
	free(tar);
}

/* -- writing --------------------------------------------------------------------------------- */

struct mb_tar_writer
{
	struct archive *archive;
	mb_tar_sink sink;
	void *ctx;
	struct mb_error failure; /* of the sink */
	uint64_t left;           /* of the member's contents */
};

static la_ssize_t
write_sink(struct archive *archive, void *ctx, const void *data, size_t len)
{
	struct mb_tar_writer *writer = ctx;

	if (!writer->failure.code && writer->sink(writer->ctx, data, len, &writer->failure) == MB_OK)
		return (la_ssize_t) len;
	archive_set_error(archive, EIO, "the sink failed");
	return -1;
}

static enum mb_code
writer_failed(struct mb_tar_writer *writer, struct mb_error *err)
{
	const char *why = archive_error_string(writer->archive);

	if (!writer->failure.code)
		return mb_fail(err, MB_IO, "could not write the tar archive: %s",
					   why ? why : "unknown reason");
	*err = writer->failure;
	return err->code;
}

struct mb_tar_writer *
mb_tar_writer_new(unsigned flags, mb_tar_sink sink, void *ctx)
{
	struct mb_tar_writer *writer = mb_calloc(1, sizeof(*writer));

	writer->sink = sink;
	writer->ctx = ctx;
	writer->archive = archive_write_new();
	if (!writer->archive)
		MB_BUG("out of memory");
	if (flags & MB_TAR_GZIP)
		archive_write_add_filter_gzip(writer->archive);
	archive_write_set_format_gnutar(writer->archive);
	/* Whole pieces, not the ten kilobytes of a tape. */
	archive_write_set_bytes_per_block(writer->archive, 1 << 16);
	archive_write_set_bytes_in_last_block(writer->archive, 1);
	if (archive_write_open2(writer->archive, writer, NULL, write_sink, NULL, NULL) != ARCHIVE_OK)
		MB_BUG("libarchive: %s", archive_error_string(writer->archive));
	return writer;
}

enum mb_code
mb_tar_begin(struct mb_tar_writer *writer, const struct mb_tar_member *member, struct mb_error *err)
{
	struct archive_entry *entry = archive_entry_new();
	int status;

	MB_ASSERT(entry != NULL && writer->left == 0);
	archive_entry_copy_pathname(entry, member->path);
	archive_entry_set_filetype(entry, member->type);
	archive_entry_set_perm(entry, member->mode);
	if (member->link)
		archive_entry_copy_symlink(entry, member->link);
	if (member->hard_link)
		archive_entry_copy_hardlink(entry, member->hard_link);
	archive_entry_set_uid(entry, member->uid);
	archive_entry_set_gid(entry, member->gid);
	archive_entry_copy_uname(entry, member->user);
	archive_entry_copy_gname(entry, member->group);
	archive_entry_set_mtime(entry, member->mtime_ns / 1000000000, 0);
	writer->left = S_ISREG(member->type) && !member->hard_link ? member->size : 0;
	archive_entry_set_size(entry, (la_int64_t) writer->left);
	status = archive_write_header(writer->archive, entry);
	archive_entry_free(entry);
	return status < ARCHIVE_WARN ? writer_failed(writer, err) : MB_OK;
}

enum mb_code
mb_tar_write(struct mb_tar_writer *writer, const void *data, size_t len, struct mb_error *err)
{
	MB_ASSERT(len <= writer->left);
	if (len > 0 && archive_write_data(writer->archive, data, len) != (la_ssize_t) len)
		return writer_failed(writer, err);
	writer->left -= len;
	return MB_OK;
}

enum mb_code
mb_tar_finish(struct mb_tar_writer *writer, struct mb_error *err)
{
	MB_ASSERT(writer->left == 0);
	return archive_write_close(writer->archive) == ARCHIVE_OK ? MB_OK : writer_failed(writer, err);
}

void
mb_tar_writer_free(struct mb_tar_writer *writer)
{
	if (!writer)
		return;
	/* Without its end: nothing more goes to the sink. */
	archive_write_fail(writer->archive);
	archive_write_free(writer->archive);
	free(writer);
}
