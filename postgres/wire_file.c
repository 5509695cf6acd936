/* wire_file.c - see wire_private.h: files on their way, and the workers' part in them. */
#include "postgres/wire_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/hash.h"
#include "postgres/data_directory.h"
#include "postgres/page_checksum.h"

/* -- files ------------------------------------------------------------------------------------------- */

void
mb_wire_file_unref(struct wire_copy *copy, struct file *file)
{
	bool last;
	size_t i;

	pthread_mutex_lock(&copy->lock);
	last = --file->refs == 0;
	pthread_mutex_unlock(&copy->lock);
	if (!last)
		return;
	for (i = 0; i < file->ranges; i++)
	{
		mb_map_ref_release(&file->maps[i]);
		mb_runs_release(&file->runs[i]);
	}
	free(file->maps);
	free(file->runs);
	free(file->crcs);
	mb_pg_damaged_release(&file->damaged);
	free((char *) (uintptr_t) file->entry.path);
	free((char *) (uintptr_t) file->entry.user);
	free((char *) (uintptr_t) file->entry.group);
	free((char *) (uintptr_t) file->entry.link_target);
	free(file);
}

static char *
dup_or_null(const char *text)
{
	return text ? mb_strdup(text) : NULL;
}

/* "base/5/16384.1" is a relation, other files of such directories are at least made of pages. */
static void
classify(const struct wire_copy *copy, struct file *file)
{
	const char *path = file->entry.path;
	const char *name = strrchr(path, '/');
	struct mb_pg_relation_name relation;

	file->paged = file->entry.size > 0 && name && strcmp(path, "global/pg_control") != 0 &&
				  (mb_starts_with(path, "global/") || mb_starts_with(path, "base/") ||
				   mb_starts_with(path, "pg_tblspc/"));
	if (!file->paged || !mb_pg_relation_parse(&relation, name + 1))
		return;
	file->is_relation = copy->pg->server.checksums;
	file->first_block = mb_pg_first_block(&relation);
}

struct file *
mb_wire_file_new(const struct wire_copy *copy, const struct mb_tar_member *member)
{
	struct file *file = mb_calloc(1, sizeof(*file));
	struct mb_entry *entry = &file->entry;
	char *path = *copy->wire.oid ? mb_asprintf("pg_tblspc/%s/%s", copy->wire.oid, member->path)
								 : mb_strdup(member->path);

	entry->path = path;
	entry->path_len = strlen(path);
	entry->mode = member->mode;
	entry->uid = member->uid;
	entry->gid = member->gid;
	entry->user = dup_or_null(member->user);
	entry->group = dup_or_null(member->group);
	entry->mtime_ns = member->mtime_ns;
	entry->link_target = dup_or_null(member->link);
	if (member->type == S_IFDIR)
		entry->type = MB_ENTRY_DIR;
	else if (member->type == S_IFLNK)
		entry->type = MB_ENTRY_SYMLINK;
	else
	{
		entry->type = MB_ENTRY_FILE;
		entry->size = member->size;
		entry->has_crc32c = true;
		entry->crc32c = MB_CRC32C_INIT;
	}
	classify(copy, file);
	file->ranges = (size_t) ((entry->size + MB_RANGE_BYTES - 1) / MB_RANGE_BYTES);
	file->left = file->ranges;
	file->refs = 1;
	file->maps = mb_calloc(file->ranges + 1, sizeof(*file->maps));
	file->runs = mb_calloc(file->ranges + 1, sizeof(*file->runs));
	file->crcs = mb_calloc(file->ranges + 1, sizeof(*file->crcs));
	return file;
}

uint64_t
mb_wire_range_bytes(const struct file *file, size_t range)
{
	uint64_t begin = (uint64_t) range * MB_RANGE_BYTES;

	return file->entry.size - begin < MB_RANGE_BYTES ? file->entry.size - begin : MB_RANGE_BYTES;
}

enum mb_code
mb_wire_file_finish(struct wire_copy *copy, struct file *file, struct mb_error *err)
{
	struct mb_entry *entry = &file->entry;
	struct mb_runs all = {0};
	enum mb_code code;
	size_t i, r;

	for (i = 0; i < file->ranges; i++)
	{
		entry->crc32c =
			mb_crc32c_combine(entry->crc32c, file->crcs[i], mb_wire_range_bytes(file, i));
		for (r = 0; r < file->runs[i].count; r++)
			mb_runs_add(&all, &file->runs[i].items[r]);
	}
	if (file->paged)
	{
		entry->maps = file->maps;
		entry->map_count = file->ranges;
	}
	entry->runs = all.items;
	entry->run_count = all.count;
	if (file->damaged.count > 0)
	{
		mb_pg_damaged_sort(&file->damaged);
		entry->damaged_pages = file->damaged.pages;
		entry->damaged_count = file->damaged.count;
		mb_capture_warn(copy->capture,
						"\"%s\" has %zu pages with a wrong checksum, the first at block %u: it is "
						"stored as it is",
						entry->path, file->damaged.count,
						file->first_block + file->damaged.pages[0]);
	}
	if (file->is_torn)
		entry->flags |= MB_ENTRY_CHANGING;
	code = mb_capture_add(copy->capture, entry, err);
	if (!code && file->changed)
		mb_wire_manifest_note_changed(copy->manifest, entry->path);
	else if (!code && entry->type == MB_ENTRY_FILE)
		mb_wire_manifest_note(copy->manifest, entry->path, entry->size, entry->crc32c);
	mb_runs_release(&all);
	return code;
}

/* -- pages ------------------------------------------------------------------------------------------- */

/* Ask for one page by SQL; *again is false when that is not allowed, or it is gone. */
static enum mb_code
read_page_again(struct wire_copy *copy, const struct file *file, uint32_t number,
				unsigned char *page, bool *again, struct mb_error *err)
{
	char offset[32];
	const char *params[] = {file->entry.path, offset};
	PGresult *res;
	size_t len = 0;
	unsigned char *bytes;
	enum mb_code code;

	*again = false;
	if (copy->cannot_read_again)
		return MB_OK;
	snprintf(offset, sizeof(offset), "%llu", (unsigned long long) number * MB_PG_PAGE_BYTES);
	code =
		mb_postgres_query(copy->pg, &res, "SELECT pg_read_binary_file($1, $2::bigint, 8192, true)",
						  2, params, err);
	if (code == MB_DENIED)
	{
		copy->cannot_read_again = true;
		mb_capture_warn(copy->capture, "pages whose checksum is wrong cannot be read again: GRANT "
									   "pg_read_server_files lets mbackup make sure");
		return MB_OK;
	}
	if (code)
		return code;
	bytes = PQunescapeBytea((const unsigned char *) PQgetvalue(res, 0, 0), &len);
	*again = bytes && len == MB_PG_PAGE_BYTES;
	if (*again)
		memcpy(page, bytes, MB_PG_PAGE_BYTES);
	PQfreemem(bytes);
	PQclear(res);
	return MB_OK;
}

/*
 * Torn while the server read it, or damaged?  A page that WAL since our start holds a full
 * image of is brought right by recovery; its LSN lies behind the start.
 */
static enum mb_code
judge_page(struct wire_copy *copy, struct file *file, uint32_t number, unsigned char *page,
		   struct mb_error *err)
{
	bool again = false;
	enum mb_code code;

	pthread_mutex_lock(&copy->lock);
	code = read_page_again(copy, file, number, page, &again, err);
	file->changed |= again;
	if (!code && !(again && mb_page_is_good(page, file->first_block + number)))
	{
		bool torn;

		code = mb_postgres_page_is_torn(copy->pg, copy->wire.start_lsn, page, &torn, err);
		file->is_torn |= !code && torn;
		if (!code && !torn)
			mb_pg_damaged_add(&file->damaged, number);
	}
	pthread_mutex_unlock(&copy->lock);
	return code;
}

static enum mb_code
check_pages(struct wire_copy *copy, const struct job *job, struct mb_error *err)
{
	uint32_t first = (uint32_t) (job->range * MB_RANGE_PAGES);
	enum mb_code code = MB_OK;
	size_t at;

	for (at = 0; !code && at + MB_PG_PAGE_BYTES <= job->len; at += MB_PG_PAGE_BYTES)
	{
		uint32_t number = first + (uint32_t) (at / MB_PG_PAGE_BYTES);

		if (!mb_page_is_good(job->data + at, job->file->first_block + number))
			code = judge_page(copy, job->file, number, job->data + at, err);
	}
	return code;
}

/* -- the workers' part -------------------------------------------------------------------------------- */

void
mb_wire_job_drop(void *ctx, void *arg)
{
	struct job *job = arg;

	mb_wire_file_unref(ctx, job->file);
	free(job->data);
	free(job);
}

static enum mb_code
pack_range(struct wire_copy *copy, unsigned worker, const struct job *job, struct mb_error *err)
{
	struct file *file = job->file;
	const struct mb_map_ref *old = NULL;
	enum mb_code code = MB_OK;

	if (!file->paged)
	{
		file->crcs[job->range] = mb_crc32c(MB_CRC32C_INIT, job->data, job->len);
		return mb_capture_bytes(copy->capture, worker, job->data, job->len, &file->runs[job->range],
								err);
	}
	if (file->is_relation)
		code = check_pages(copy, job, err);
	if (file->parent && job->range < file->parent->map_count)
		old = &file->parent->maps[job->range];
	if (!code)
		code = mb_capture_pages(copy->capture, worker, job->data, job->len, old,
								&file->maps[job->range], &file->crcs[job->range], err);
	return code;
}

enum mb_code
mb_wire_job_run(void *ctx, unsigned worker, void *arg, struct mb_error *err)
{
	struct wire_copy *copy = ctx;
	struct job *job = arg;
	struct file *file = job->file;
	enum mb_code code = pack_range(copy, worker, job, err);
	bool last;

	pthread_mutex_lock(&copy->lock);
	last = !code && --file->left == 0;
	pthread_mutex_unlock(&copy->lock);
	if (last)
		code = mb_wire_file_finish(copy, file, err);
	mb_wire_job_drop(copy, job);
	return code;
}
