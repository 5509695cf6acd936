/* archive_read.c - see archive.h: from a file to its members, whoever wrote it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive.h"
#include "core/base/fs.h"

#define TAR_MAGIC_AT 257
#define TAR_MAGIC "ustar"

/* -- bytes ------------------------------------------------------------------------------------------ */

static bool
looks_like_archive(const unsigned char *data, size_t len)
{
	if (len >= 2 && data[0] == 0x1F && data[1] == 0x8B)
		return true;
	return len >= TAR_MAGIC_AT + strlen(TAR_MAGIC) &&
		   memcmp(data + TAR_MAGIC_AT, TAR_MAGIC, strlen(TAR_MAGIC)) == 0;
}

static enum mb_code
read_raw(struct archive_reader *reader, size_t *len, struct mb_error *err)
{
	ssize_t got;

	do
		got = read(reader->fd, reader->in, ARCHIVE_CHUNK);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return mb_fail_errno(err, errno, "could not read \"%s\"", reader->path);
	*len = (size_t) got;
	mb_sha256_add(reader->raw, reader->in, *len);
	return MB_OK;
}

static enum mb_code
no_archive(const struct archive_reader *reader, struct mb_error *err)
{
	if (!reader->encrypted)
		return mb_fail(err, MB_CORRUPT, "\"%s\" is no archive", reader->path);
	mb_fail(err, MB_DENIED, "the passphrase does not open \"%s\"", reader->path);
	return mb_error_hint(err, "If it is the right one, the file is damaged in its first bytes: "
							  "compare it with its .sha256.");
}

/* An mb_tar_source. */
static enum mb_code
read_piece(void *ctx, const void **data, size_t *len, struct mb_error *err)
{
	struct archive_reader *reader = ctx;
	enum mb_code code = MB_OK;
	size_t got = 0;

	*data = reader->in;
	*len = 0;
	/* A block of a cipher may yield nothing yet, which is not the end. */
	while (!code && *len == 0 && !reader->ended)
	{
		code = read_raw(reader, &got, err);
		if (code)
			break;
		reader->ended = got == 0;
		if (!reader->enc)
			*len = got;
		else if (got > 0)
			*len = mb_enc_update(reader->enc, reader->in, got, reader->out);
		else if (mb_enc_finish(reader->enc, reader->out, len, err))
		{
			code = mb_fail(err, MB_CORRUPT, "\"%s\" is damaged or ends too early", reader->path);
			mb_error_hint(err, "Compare it with its .sha256; or the passphrase is another one.");
		}
		if (reader->enc)
			*data = reader->out;
	}
	if (!code && !reader->begun && !looks_like_archive(*data, *len))
		code = no_archive(reader, err);
	reader->begun = true;
	if (code)
		reader->failure = *err;
	return code;
}

static enum mb_code
begin_opening(struct archive_reader *reader, const unsigned char *salt,
			  const struct mb_secret *pass, struct mb_error *err)
{
	reader->encrypted = true;
	if (!pass || pass->len == 0)
	{
		mb_fail(err, MB_DENIED, "\"%s\" is encrypted, and there is no passphrase", reader->path);
		return mb_error_hint(err, "Give --export-passphrase-file FILE, --export-passphrase-command "
								  "COMMAND or $MBACKUP_EXPORT_PASSPHRASE.");
	}
	reader->enc = mb_enc_new(MB_ENC_DECRYPT, pass->data, pass->len, salt);
	return MB_OK;
}

enum mb_code
archive_reader_open(struct archive_reader *reader, const char *path, int fd,
					const struct mb_secret *pass, struct mb_error *err)
{
	unsigned char header[MB_ENC_HEADER_BYTES];
	enum mb_code code;
	size_t got;

	memset(reader, 0, sizeof(*reader));
	reader->path = path;
	reader->fd = fd;
	reader->raw = mb_sha256_new();
	reader->in = mb_malloc(ARCHIVE_CHUNK);
	reader->out = mb_malloc(ARCHIVE_CHUNK + MB_ENC_BLOCK_BYTES);
	code = mb_pread_full(fd, header, sizeof(header), 0, &got, path, err);
	if (!code && lseek(fd, 0, SEEK_SET) != 0)
		code = mb_fail_errno(err, errno, "could not read \"%s\"", path);
	if (!code && got == sizeof(header) &&
		memcmp(header, MB_ENC_MAGIC, sizeof(header) - MB_ENC_SALT_BYTES) == 0)
	{
		code = begin_opening(reader, header + sizeof(header) - MB_ENC_SALT_BYTES, pass, err);
		mb_sha256_add(reader->raw, header, sizeof(header));
		if (!code && lseek(fd, sizeof(header), SEEK_SET) != sizeof(header))
			code = mb_fail_errno(err, errno, "could not read \"%s\"", path);
	}
	return code ? code : mb_tar_open(&reader->tar, path, read_piece, reader, err);
}

enum mb_code
archive_reader_sum(struct archive_reader *reader, unsigned char sum[MB_SHA256_BYTES],
				   struct mb_error *err)
{
	enum mb_code code = MB_OK;
	const void *data;
	size_t len;

	if (reader->failure.code)
	{
		*err = reader->failure;
		return err->code;
	}
	while (!code && !reader->ended)
		code = read_piece(reader, &data, &len, err);
	if (code)
		return code;
	mb_sha256_end(reader->raw, sum);
	reader->raw = NULL;
	return MB_OK;
}

void
archive_reader_close(struct archive_reader *reader)
{
	mb_tar_close(reader->tar);
	mb_enc_free(reader->enc);
	mb_sha256_end(reader->raw, NULL);
	free(reader->in);
	free(reader->out);
	memset(reader, 0, sizeof(*reader));
}

/* -- members ------------------------------------------------------------------------------------------ */

/* Older scripts put everything into one directory "backup-20260101-020000/". */
static void
find_top(struct archive_reader *reader, const char *path)
{
	size_t len = strcspn(path, "/");

	if (mb_starts_with(path, "backup-"))
		reader->top = len + 1;
}

static bool
is_config(const char *path)
{
	return mb_starts_with(path, "configs/");
}

static enum mb_code
check_member(const struct archive_reader *reader, const struct mb_tar_member *member,
			 struct mb_error *err)
{
	const char *what = NULL;

	if (!mb_name_is_safe(member->path, strlen(member->path)))
		what = "leads out of the archive";
	else if (member->hard_link && (!is_config(member->path) || !is_config(member->hard_link) ||
								   !mb_name_is_safe(member->hard_link, strlen(member->hard_link))))
		what = "is a link to what is not its own";
	else if (S_ISLNK(member->type) && !is_config(member->path))
		what = "is a symbolic link where none belongs";
	else if (!S_ISREG(member->type) && !S_ISDIR(member->type) && !S_ISLNK(member->type) &&
			 !member->hard_link)
		what = "is neither a file nor a directory";
	if (!what)
		return MB_OK;
	mb_fail(err, MB_CORRUPT, "\"%.200s\" in \"%s\" %s", member->path, reader->path, what);
	return mb_error_hint(err, "Nothing was touched. Such an archive was not made by mbackup: look "
							  "at it with tar before you use any of it.");
}

enum mb_code
archive_next(struct archive_reader *reader, struct mb_tar_member *member, bool *more,
			 struct mb_error *err)
{
	bool is_first = reader->top == 0;
	enum mb_code code;

	for (;;)
	{
		code = mb_tar_next(reader->tar, member, more, err);
		if (code || !*more)
			return code;
		/* "./" itself */
		if (S_ISDIR(member->type) &&
			(strcmp(member->path, ".") == 0 || strcmp(member->path, "./") == 0))
			continue;
		code = check_member(reader, member, err);
		if (code)
			return code;
		if (is_first)
			find_top(reader, member->path);
		is_first = false;
		if (reader->top == 0)
			return MB_OK;
		if (strlen(member->path) < reader->top && S_ISDIR(member->type))
			continue;
		if (strlen(member->path) <= reader->top || member->path[reader->top - 1] != '/')
			return mb_fail(err, MB_CORRUPT, "\"%.200s\" in \"%s\" is outside of its directory",
						   member->path, reader->path);
		member->path += reader->top;
		if (member->hard_link && strlen(member->hard_link) > reader->top)
			member->hard_link += reader->top;
		return MB_OK;
	}
}

enum mb_code
archive_read(struct archive_reader *reader, void *data, size_t len, size_t *got,
			 struct mb_error *err)
{
	return mb_tar_read(reader->tar, data, len, got, err);
}
