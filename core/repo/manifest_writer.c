/*
 * manifest_writer.c - see manifest.h: sorts entries and writes blocks.
 *
 * Records gather in one buffer.  When that is full it is sorted and written to a
 * temporary file without a name; at the end the files and the buffer are merged.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/repo/manifest_private.h"

#define MERGE_BUFFER_BYTES (256u << 10)

struct mb_manifest_writer
{
	pthread_mutex_t lock;
	char *tmp_dir;
	size_t spill_bytes;
	struct mb_buf records;
	uint32_t *offsets; /* of the records in the buffer */
	size_t count;
	size_t cap;
	int *files; /* sorted, one file each */
	size_t file_count;
	size_t file_cap;
	/* of the parent, for blocks that come out the same */
	const struct mb_repo *parent_repo;
	const struct mb_blocks *parent_blocks;
	const struct mb_pack_refs *parent_avoid;
};

struct mb_manifest_writer *
mb_manifest_writer_new_sized(const char *tmp_dir, size_t spill_bytes)
{
	struct mb_manifest_writer *writer = mb_calloc(1, sizeof(*writer));

	pthread_mutex_init(&writer->lock, NULL);
	writer->tmp_dir = mb_strdup(tmp_dir);
	writer->spill_bytes = spill_bytes;
	return writer;
}

struct mb_manifest_writer *
mb_manifest_writer_new(const char *tmp_dir)
{
	return mb_manifest_writer_new_sized(tmp_dir, MB_SPILL_BYTES);
}

unsigned
mb_manifest_writer_spills(const struct mb_manifest_writer *writer)
{
	return (unsigned) writer->file_count;
}

void
mb_manifest_share(struct mb_manifest_writer *writer, const struct mb_repo *repo,
				  const struct mb_blocks *blocks, const struct mb_pack_refs *avoid)
{
	writer->parent_repo = repo;
	writer->parent_blocks = blocks;
	writer->parent_avoid = avoid;
}

static void
close_files(struct mb_manifest_writer *writer)
{
	while (writer->file_count > 0)
		close(writer->files[--writer->file_count]);
}

void
mb_manifest_writer_free(struct mb_manifest_writer *writer)
{
	if (!writer)
		return;
	close_files(writer);
	pthread_mutex_destroy(&writer->lock);
	mb_buf_release(&writer->records);
	free(writer->offsets);
	free(writer->files);
	free(writer->tmp_dir);
	free(writer);
}

static int
compare_offsets(const void *a, const void *b, void *ctx)
{
	const unsigned char *records = ctx;

	return mb_record_order(records + *(const uint32_t *) a, records + *(const uint32_t *) b);
}

static void
sort_records(struct mb_manifest_writer *writer)
{
	if (writer->count > 1)
		qsort_r(writer->offsets, writer->count, sizeof(writer->offsets[0]), compare_offsets,
				writer->records.data);
}

/* A file in tmp_dir that has no name (any more). */
static enum mb_code
nameless_file(const char *tmp_dir, int *fd, struct mb_error *err)
{
	char *name;

	*fd = open(tmp_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return MB_OK;
	name = mb_asprintf("%s/.tmp-manifest-XXXXXX", tmp_dir);
	*fd = mkostemp(name, O_CLOEXEC);
	if (*fd >= 0)
		unlink(name);
	else
		mb_fail_errno(err, errno, "could not create a temporary file in \"%s\"", tmp_dir);
	free(name);
	return *fd >= 0 ? MB_OK : err->code;
}

static enum mb_code
spill(struct mb_manifest_writer *writer, struct mb_error *err)
{
	struct mb_buf sorted = {0};
	enum mb_code code;
	size_t i;
	int fd;

	code = nameless_file(writer->tmp_dir, &fd, err);
	if (code)
		return code;
	sort_records(writer);
	for (i = 0; i < writer->count && !code; i++)
	{
		const unsigned char *record = writer->records.data + writer->offsets[i];

		mb_buf_put(&sorted, record, mb_record_bytes(record));
		if (sorted.len >= MERGE_BUFFER_BYTES || i + 1 == writer->count)
		{
			code = mb_write_full(fd, sorted.data, sorted.len, writer->tmp_dir, err);
			mb_buf_reset(&sorted);
		}
	}
	mb_buf_release(&sorted);
	if (code)
	{
		close(fd);
		return code;
	}
	writer->files =
		mb_grow(writer->files, &writer->file_cap, writer->file_count + 1, sizeof(writer->files[0]));
	writer->files[writer->file_count++] = fd;
	mb_buf_reset(&writer->records);
	writer->count = 0;
	return MB_OK;
}

enum mb_code
mb_manifest_add(struct mb_manifest_writer *writer, const struct mb_entry *entry,
				struct mb_error *err)
{
	struct mb_buf record = {0};
	enum mb_code code = mb_record_encode(&record, entry, err);

	if (!code)
	{
		pthread_mutex_lock(&writer->lock);
		if (writer->count > 0 && writer->records.len + record.len > writer->spill_bytes)
			code = spill(writer, err);
		if (!code)
		{
			writer->offsets = mb_grow(writer->offsets, &writer->cap, writer->count + 1,
									  sizeof(writer->offsets[0]));
			writer->offsets[writer->count++] = (uint32_t) writer->records.len;
			mb_buf_put(&writer->records, record.data, record.len);
		}
		pthread_mutex_unlock(&writer->lock);
	}
	mb_buf_release(&record);
	return code;
}

/* -- merging --------------------------------------------------------------------------------- */

/* A sorted sequence: a file, or the buffer. */
struct source
{
	FILE *file; /* NULL: the buffer */
	const struct mb_manifest_writer *writer;
	size_t next; /* of the buffer */
	struct mb_buf bytes;
	const unsigned char *record; /* NULL at the end */
};

static enum mb_code
read_back_failed(const struct source *source, struct mb_error *err)
{
	return mb_fail_errno(err, ferror(source->file) && errno ? errno : EIO,
						 "could not read back a temporary file in \"%s\"", source->writer->tmp_dir);
}

static enum mb_code
source_next(struct source *source, struct mb_error *err)
{
	unsigned char head[4];
	size_t len, got;

	source->record = NULL;
	if (!source->file)
	{
		if (source->next < source->writer->count)
			source->record = source->writer->records.data + source->writer->offsets[source->next++];
		return MB_OK;
	}
	errno = 0;
	got = fread(head, 1, sizeof(head), source->file);
	if (got == 0 && feof(source->file))
		return MB_OK;
	len = mb_record_bytes(head);
	if (got != sizeof(head) || len > MB_RECORD_MAX_BYTES || len < MB_RECORD_FIXED_BYTES)
		return read_back_failed(source, err);
	mb_buf_reset(&source->bytes);
	mb_buf_put(&source->bytes, head, sizeof(head));
	mb_buf_reserve(&source->bytes, len);
	if (fread(source->bytes.data + 4, 1, len - 4, source->file) != len - 4)
		return read_back_failed(source, err);
	source->record = source->bytes.data;
	return MB_OK;
}

static enum mb_code
merge(struct source *sources, size_t count, struct mb_block_writer *out, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; i < count && !code; i++)
		code = source_next(&sources[i], err);
	while (!code)
	{
		struct source *least = NULL;

		for (i = 0; i < count; i++)
			if (sources[i].record &&
				(!least || mb_record_order(sources[i].record, least->record) < 0))
				least = &sources[i];
		if (!least)
			break;
		code = mb_block_add(out, least->record, err);
		if (!code)
			code = source_next(least, err);
	}
	return code ? code : mb_block_flush(out, err);
}

static enum mb_code
open_sources(struct mb_manifest_writer *writer, struct source *sources, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < writer->file_count; i++)
	{
		int fd = dup(writer->files[i]);

		sources[i].file = fd >= 0 && lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;
		if (!sources[i].file)
		{
			int saved = errno;

			if (fd >= 0)
				close(fd);
			return mb_fail_errno(err, saved, "could not read back a temporary file in \"%s\"",
								 writer->tmp_dir);
		}
		setvbuf(sources[i].file, NULL, _IOFBF, MERGE_BUFFER_BYTES);
	}
	return MB_OK;
}

enum mb_code
mb_manifest_finish(struct mb_manifest_writer *writer, struct mb_packer *packer,
				   struct mb_blocks *blocks, struct mb_pack_refs *refs, struct mb_error *err)
{
	struct mb_block_writer out = {.packer = packer, .blocks = blocks, .refs = refs};
	size_t count = writer->file_count + 1, i;
	struct source *sources = mb_calloc(count, sizeof(*sources));
	enum mb_code code;

	memset(blocks, 0, sizeof(*blocks));
	memset(refs, 0, sizeof(*refs));
	if (writer->parent_blocks)
	{
		out.parent = writer->parent_blocks;
		out.avoid = writer->parent_avoid;
		out.reader = mb_pack_reader_new(writer->parent_repo);
	}
	sort_records(writer);
	for (i = 0; i < count; i++)
		sources[i].writer = writer;
	code = open_sources(writer, sources, err);
	if (!code)
		code = merge(sources, count, &out, err);
	for (i = 0; i < count; i++)
	{
		if (sources[i].file)
			fclose(sources[i].file);
		mb_buf_release(&sources[i].bytes);
	}
	free(sources);
	mb_block_writer_release(&out);
	if (code)
	{
		mb_blocks_release(blocks);
		mb_pack_refs_release(refs);
		return code;
	}
	mb_pack_refs_settle(refs);
	close_files(writer);
	mb_buf_reset(&writer->records);
	writer->count = 0;
	return MB_OK;
}
