/*
 * wire_backup.c - read a cluster over the wire: BASE_BACKUP, taken apart as it comes.
 *
 * One thread reads the tar streams and cuts files into ranges of 32 MiB; the workers hash, pack and
 * compare them with the parent.  What was read is compared with the server's own backup
 * manifest at the end, so that neither the wire nor the tar can lose or change a file unnoticed.
 *
 * A page with a wrong checksum cannot be read again from the stream; it is asked for by SQL,
 * where the user may (pg_read_binary_file).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/feed.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/tar.h"
#include "core/base/time.h"
#include "postgres/backup_label.h"
#include "postgres/damaged.h"
#include "postgres/data_directory.h"
#include "postgres/page_checksum.h"
#include "postgres/parent.h"
#include "postgres/private.h"
#include "postgres/wire.h"
#include "postgres/wire_manifest.h"

/* What is read and not packed yet; one range may always be. */
#define FEED_BYTES ((size_t) 96 << 20)
#define LABEL_MAX_BYTES (1u << 20)

/* A file whose ranges are on their way. */
struct file
{
	struct mb_entry entry; /* its texts are owned */
	bool paged;
	bool is_relation;
	uint32_t first_block;
	const struct mb_entry *parent;
	size_t ranges;
	size_t left; /* not packed yet; lock */
	size_t refs; /* the reader's and those of the jobs; lock */
	struct mb_map_ref *maps;
	struct mb_runs *runs; /* not paged: of each range */
	uint32_t *crcs;
	bool is_torn;                 /* a page was being written, WAL repairs it; lock */
	bool changed;                 /* a page was read again: not the bytes that were sent; lock */
	struct mb_pg_damaged damaged; /* lock */
};

struct job
{
	struct file *file;
	size_t range;
	unsigned char *data;
	size_t len;
};

struct wire_copy
{
	struct mb_postgres *pg;
	struct mb_capture *capture;
	struct mb_wire wire;
	const struct mb_pg_parent *parent;
	struct mb_feed *feed;
	struct mb_wire_manifest *manifest;
	pthread_mutex_t lock;
	char *label;            /* backup_label, as it came */
	bool cannot_read_again; /* lock */
};

/* -- files ------------------------------------------------------------------------------------------- */

static void
unref_file(struct wire_copy *copy, struct file *file)
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

static struct file *
new_file(const struct wire_copy *copy, const struct mb_tar_member *member)
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

static uint64_t
range_bytes(const struct file *file, size_t range)
{
	uint64_t begin = (uint64_t) range * MB_RANGE_BYTES;

	return file->entry.size - begin < MB_RANGE_BYTES ? file->entry.size - begin : MB_RANGE_BYTES;
}

/* All ranges are packed: the entry, and its line for the comparison with the manifest. */
static enum mb_code
finish_file(struct wire_copy *copy, struct file *file, struct mb_error *err)
{
	struct mb_entry *entry = &file->entry;
	struct mb_runs all = {0};
	enum mb_code code;
	size_t i, r;

	for (i = 0; i < file->ranges; i++)
	{
		entry->crc32c = mb_crc32c_combine(entry->crc32c, file->crcs[i], range_bytes(file, i));
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

static void
drop_job(void *ctx, void *arg)
{
	struct job *job = arg;

	unref_file(ctx, job->file);
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

static enum mb_code
run_job(void *ctx, unsigned worker, void *arg, struct mb_error *err)
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
		code = finish_file(copy, file, err);
	drop_job(copy, job);
	return code;
}

/* -- the reader's part --------------------------------------------------------------------------------- */

/* One range from the archive to the workers. */
static enum mb_code
feed_range(struct wire_copy *copy, struct mb_tar *tar, struct file *file, size_t range,
		   struct mb_error *err)
{
	struct job *job = mb_calloc(1, sizeof(*job));
	size_t got = 0;
	enum mb_code code;

	job->file = file;
	job->range = range;
	job->len = (size_t) range_bytes(file, range);
	job->data = mb_malloc(job->len);
	pthread_mutex_lock(&copy->lock);
	file->refs++;
	pthread_mutex_unlock(&copy->lock);
	code = mb_tar_read(tar, job->data, job->len, &got, err);
	if (!code && got < job->len)
		code = mb_fail(err, MB_CORRUPT, "the base backup stream ends in the middle of \"%s\"",
					   file->entry.path);
	if (code)
	{
		drop_job(copy, job);
		return code;
	}
	return mb_feed_put(copy->feed, job, job->len, err);
}

/* backup_label and tablespace_map are named byte strings of the backup, not files. */
static enum mb_code
take_label(struct wire_copy *copy, struct mb_tar *tar, const struct mb_tar_member *member,
		   struct mb_error *err)
{
	char *text;
	size_t got;
	enum mb_code code;

	if (member->size > LABEL_MAX_BYTES)
		return mb_fail(err, MB_CORRUPT, "\"%s\" has %llu bytes", member->path,
					   (unsigned long long) member->size);
	text = mb_calloc(1, (size_t) member->size + 1);
	code = mb_tar_read(tar, text, (size_t) member->size, &got, err);
	if (!code)
		mb_wire_manifest_note(copy->manifest, member->path, got,
							  mb_crc32c(MB_CRC32C_INIT, text, got));
	if (!code && strcmp(member->path, "backup_label") == 0)
	{
		free(copy->label);
		copy->label = text;
		return MB_OK;
	}
	if (!code && got > 0)
		code = mb_capture_data(copy->capture, "tablespace_map", text, got, err);
	free(text);
	return code;
}

/* The owner of PG_VERSION owns the data directory. */
static void
note_owner(struct wire_copy *copy, const struct mb_entry *entry)
{
	json_t *meta = copy->capture->meta;

	mb_json_set_int(meta, "uid", entry->uid);
	mb_json_set_int(meta, "gid", entry->gid);
	if (entry->user)
		mb_json_set_str(meta, "user", entry->user);
	if (entry->group)
		mb_json_set_str(meta, "group", entry->group);
}

/* mb_capture_data packs as worker 0: not while the workers run. */
static enum mb_code
take_member(struct wire_copy *copy, struct mb_tar *tar, const struct mb_tar_member *member,
			struct mb_error *err)
{
	struct file *file;
	enum mb_code code = MB_OK;
	size_t range;

	if (!*copy->wire.oid &&
		(strcmp(member->path, "backup_label") == 0 || strcmp(member->path, "tablespace_map") == 0))
	{
		code = mb_feed_drain(copy->feed, err);
		return code ? code : take_label(copy, tar, member, err);
	}
	if (member->type != S_IFREG && member->type != S_IFDIR && member->type != S_IFLNK)
	{
		mb_capture_warn(copy->capture, "\"%s\" is not a file or directory and was left out",
						member->path);
		return MB_OK;
	}
	file = new_file(copy, member);
	file->parent = mb_pg_parent_find(copy->parent, file->entry.path);
	if (strcmp(file->entry.path, "PG_VERSION") == 0)
		note_owner(copy, &file->entry);
	for (range = 0; !code && range < file->ranges; range++)
		code = feed_range(copy, tar, file, range, err);
	if (!code && file->ranges == 0)
		code = finish_file(copy, file, err);
	unref_file(copy, file);
	return code;
}

/* Now and then between two files: what is packed so far survives a kill. */
static enum mb_code
save_when_due(struct wire_copy *copy, struct mb_error *err)
{
	enum mb_code code;

	if (!mb_capture_save_due(copy->capture))
		return MB_OK;
	code = mb_feed_drain(copy->feed, err);
	return code ? code : mb_capture_save(copy->capture, err);
}

static enum mb_code
take_archive(struct wire_copy *copy, struct mb_error *err)
{
	struct mb_tar_member member;
	struct mb_tar *tar = NULL;
	bool more = true;
	enum mb_code code = mb_tar_open(&tar, *copy->wire.oid ? copy->wire.oid : "base", mb_wire_read,
									&copy->wire, err);

	while (!code)
	{
		code = mb_cancel_check(copy->pg->base.env->cancel, err);
		if (!code)
			code = save_when_due(copy, err);
		if (!code)
			code = mb_tar_next(tar, &member, &more, err);
		if (code || !more)
			break;
		if (!mb_name_is_safe(member.path, strlen(member.path)))
			code = mb_fail(err, MB_CORRUPT, "the base backup stream holds the name \"%s\"",
						   member.path);
		else
			code = take_member(copy, tar, &member, err);
	}
	mb_tar_close(tar);
	return code;
}

static enum mb_code
take_parts(struct wire_copy *copy, struct mb_error *err)
{
	enum mb_wire_part part;
	enum mb_code code;

	for (;;)
	{
		code = mb_wire_next(&copy->wire, &part, err);
		if (code)
			return code;
		switch (part)
		{
			case MB_WIRE_ARCHIVE:
				code = take_archive(copy, err);
				break;
			case MB_WIRE_MANIFEST:
				code = mb_feed_drain(copy->feed, err);
				if (!code)
					code = mb_wire_manifest_compare(copy->manifest, mb_wire_read, &copy->wire, err);
				break;
			case MB_WIRE_END:
				return mb_feed_drain(copy->feed, err);
		}
		if (code)
			return code;
	}
}

/* -- all of it ------------------------------------------------------------------------------------------ */

static enum mb_code
finish_label(struct wire_copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	struct mb_backup_label label;

	if (!copy->label || !mb_backup_label_parse(&label, copy->label) ||
		label.start_lsn != copy->wire.start_lsn)
		return mb_fail(err, MB_IO, "the server's backup label makes no sense");
	pg->start_lsn = copy->wire.start_lsn;
	pg->stop_lsn = copy->wire.end_lsn;
	pg->backup_timeline = label.timeline;
	return mb_capture_data(copy->capture, "backup_label", copy->label, strlen(copy->label), err);
}

static enum mb_code
directory_mode(struct wire_copy *copy, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_postgres_query(copy->pg, &res, "SHOW data_directory_mode", 0, NULL, err);

	if (code)
		return code;
	mb_json_set_int(copy->capture->meta, "mode", strtol(PQgetvalue(res, 0, 0), NULL, 8));
	PQclear(res);
	return MB_OK;
}

static enum mb_code
run_copy(struct wire_copy *copy, const struct mb_wire_options *options, struct mb_error *err)
{
	enum mb_code code = directory_mode(copy, err);

	mb_progress_phase(copy->capture->progress, "waiting for a checkpoint");
	if (!code)
		code = mb_wire_open(&copy->wire, options, err);
	if (code)
		return code;
	mb_progress_phase(copy->capture->progress, "copying");
	mb_capture_save_begin(copy->capture);
	atomic_store(&copy->capture->progress->total_bytes, copy->wire.total_bytes);
	code = take_parts(copy, err);
	return code ? code : finish_label(copy, err);
}

enum mb_code
mb_postgres_wire_copy(struct mb_postgres *pg, struct mb_capture *capture,
					  const struct mb_pg_parent *parent, struct mb_error *err)
{
	struct wire_copy copy = {.pg = pg,
							 .capture = capture,
							 .parent = parent,
							 .manifest = mb_wire_manifest_new()};
	char *label = mb_asprintf("mbackup %s", capture->id);
	struct mb_wire_options options = {.params = &pg->params,
									  .label = label,
									  .compression =
										  mb_settings_get(pg->base.settings, "wire-compression"),
									  .cancel = pg->base.env->cancel};
	enum mb_code code;

	pthread_mutex_init(&copy.lock, NULL);
	copy.feed = mb_feed_new(capture->workers, FEED_BYTES, run_job, drop_job, &copy);
	code = run_copy(&copy, &options, err);
	mb_feed_free(copy.feed);
	mb_wire_close(&copy.wire);
	mb_wire_manifest_free(copy.manifest);
	pthread_mutex_destroy(&copy.lock);
	free(copy.label);
	free(label);
	return code;
}
