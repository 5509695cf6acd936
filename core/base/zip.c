/* zip.c - see zip.h. */
#include "core/base/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES 255
#define CHUNK_BYTES 65536
/* Headers of a member, twice, and the end of the archive. */
#define OVERHEAD_BYTES 1024

static enum mb_code
zip_failed(struct archive *archive, const char *what, struct mb_error *err)
{
	const char *why = archive_error_string(archive);

	return mb_fail(err, MB_CORRUPT, "could not read the zip archive \"%s\": %s", what,
				   why ? why : "unknown reason");
}

/* -- in ------------------------------------------------------------------------------------------ */

static enum mb_code
check_member(const struct mb_zip *zip, struct archive_entry *entry,
			 const struct mb_zip_limits *limits, struct mb_error *err)
{
	const char *name = archive_entry_pathname(entry);

	if (!name || !*name || strlen(name) > NAME_MAX_BYTES)
		return mb_fail(err, MB_CORRUPT, "\"%s\" has a member without a name that can be read",
					   limits->what);
	if (archive_entry_filetype(entry) != S_IFREG)
		return mb_fail(err, MB_CORRUPT, "\"%s\" has a member that is no file", limits->what);
	if (mb_zip_find(zip, name))
		return mb_fail(err, MB_CORRUPT, "\"%s\" has two members of one name", limits->what);
	if (zip->count >= limits->members)
		return mb_fail(err, MB_CORRUPT, "\"%s\" has more than %zu members", limits->what,
					   limits->members);
	return MB_OK;
}

/*
 * The size that a member states is no more than a claim: what counts is what comes.  Where it is
 * true, nothing is moved and no copy is left behind.
 */
static enum mb_code
read_member(struct archive *archive, uint64_t stated, struct mb_buf *data, size_t *left,
			const struct mb_zip_limits *limits, struct mb_error *err)
{
	unsigned char chunk[CHUNK_BYTES];
	la_ssize_t got = 0;
	enum mb_code code = MB_OK;

	mb_buf_reserve(data, stated < *left ? (size_t) stated : *left);
	while (!code && (got = archive_read_data(archive, chunk, sizeof(chunk))) > 0)
	{
		if ((size_t) got > *left)
			code = mb_fail(err, MB_CORRUPT, "\"%s\" unpacks to more than %zu bytes", limits->what,
						   limits->bytes);
		else
			mb_buf_put(data, chunk, (size_t) got);
		*left -= code ? 0 : (size_t) got;
	}
	mb_wipe(chunk, sizeof(chunk));
	if (!code && got < 0)
		return zip_failed(archive, limits->what, err);
	return code;
}

static uint64_t
stated_size(struct archive_entry *entry)
{
	return archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0
			   ? (uint64_t) archive_entry_size(entry)
			   : 0;
}

static enum mb_code
read_all(struct archive *archive, struct mb_zip *zip, const struct mb_zip_limits *limits,
		 struct mb_error *err)
{
	struct archive_entry *entry;
	size_t left = limits->bytes;
	enum mb_code code = MB_OK;
	int status = ARCHIVE_OK;

	while (!code && (status = archive_read_next_header(archive, &entry)) == ARCHIVE_OK)
	{
		code = check_member(zip, entry, limits, err);
		if (code)
			break;
		mb_zip_add(zip, archive_entry_pathname(entry), "", 0);
		code = read_member(archive, stated_size(entry), &zip->members[zip->count - 1].data, &left,
						   limits, err);
	}
	if (!code && status != ARCHIVE_EOF)
		return zip_failed(archive, limits->what, err);
	return code;
}

enum mb_code
mb_zip_read(struct mb_zip *zip, const void *data, size_t len, const struct mb_zip_limits *limits,
			struct mb_error *err)
{
	struct archive *archive = archive_read_new();
	enum mb_code code;

	if (!archive)
		MB_BUG("out of memory");
	archive_read_support_format_zip_seekable(archive);
	if (archive_read_open_memory(archive, data, len) == ARCHIVE_OK)
		code = read_all(archive, zip, limits, err);
	else
		code = zip_failed(archive, limits->what, err);
	archive_read_free(archive);
	return code;
}

/* -- members --------------------------------------------------------------------------------------- */

const struct mb_buf *
mb_zip_find(const struct mb_zip *zip, const char *name)
{
	size_t i;

	for (i = 0; i < zip->count; i++)
		if (strcmp(zip->members[i].name, name) == 0)
			return &zip->members[i].data;
	return NULL;
}

void
mb_zip_add(struct mb_zip *zip, const char *name, const void *data, size_t len)
{
	struct mb_zip_member *member;

	zip->members = mb_grow(zip->members, &zip->cap, zip->count + 1, sizeof(*zip->members));
	member = &zip->members[zip->count++];
	*member = (struct mb_zip_member){.name = mb_strdup(name)};
	mb_buf_put(&member->data, data, len);
}

void
mb_zip_release(struct mb_zip *zip)
{
	size_t i;

	for (i = 0; i < zip->count; i++)
	{
		mb_buf_wipe(&zip->members[i].data);
		free(zip->members[i].name);
	}
	free(zip->members);
	memset(zip, 0, sizeof(*zip));
}

/* -- out ------------------------------------------------------------------------------------------- */

static bool
write_member(struct archive *archive, const struct mb_zip_member *member)
{
	struct archive_entry *entry = archive_entry_new();
	bool is_written;

	archive_entry_set_pathname(entry, member->name);
	archive_entry_set_filetype(entry, S_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, (la_int64_t) member->data.len);
	is_written = archive_write_header(archive, entry) == ARCHIVE_OK &&
				 archive_write_data(archive, member->data.data, member->data.len) ==
					 (la_ssize_t) member->data.len;
	archive_entry_free(entry);
	return is_written;
}

enum mb_code
mb_zip_write(const struct mb_zip *zip, struct mb_buf *out, struct mb_error *err)
{
	struct archive *archive = archive_write_new();
	size_t room = OVERHEAD_BYTES, used = 0, i;
	bool is_fine;

	if (!archive)
		MB_BUG("out of memory");
	for (i = 0; i < zip->count; i++)
		room += OVERHEAD_BYTES + zip->members[i].data.len;
	mb_buf_reserve(out, room);
	is_fine = archive_write_set_format_zip(archive) == ARCHIVE_OK &&
			  archive_write_zip_set_compression_store(archive) == ARCHIVE_OK &&
			  archive_write_open_memory(archive, out->data + out->len, room, &used) == ARCHIVE_OK;
	for (i = 0; is_fine && i < zip->count; i++)
		is_fine = write_member(archive, &zip->members[i]);
	is_fine = is_fine && archive_write_close(archive) == ARCHIVE_OK;
	if (is_fine)
		out->len += used;
	else
		(void) mb_fail(err, MB_IO, "could not make a zip archive: %s",
					   archive_error_string(archive) ? archive_error_string(archive)
													 : "unknown reason");
	archive_write_free(archive);
	return is_fine ? MB_OK : err->code;
}
