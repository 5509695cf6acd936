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
#include "postgres/wire_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "postgres/backup_label.h"

/* What is read and not packed yet; one range may always be. */
#define FEED_BYTES ((size_t) 96 << 20)
#define LABEL_MAX_BYTES (1u << 20)

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
	job->len = (size_t) mb_wire_range_bytes(file, range);
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
		mb_wire_job_drop(copy, job);
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
	file = mb_wire_file_new(copy, member);
	file->parent = mb_pg_parent_find(copy->parent, file->entry.path);
	if (strcmp(file->entry.path, "PG_VERSION") == 0)
		note_owner(copy, &file->entry);
	for (range = 0; !code && range < file->ranges; range++)
		code = feed_range(copy, tar, file, range, err);
	if (!code && file->ranges == 0)
		code = mb_wire_file_finish(copy, file, err);
	mb_wire_file_unref(copy, file);
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
	copy.feed = mb_feed_new(capture->workers, FEED_BYTES, mb_wire_job_run, mb_wire_job_drop, &copy);
	code = run_copy(&copy, &options, err);
	mb_feed_free(copy.feed);
	mb_wire_close(&copy.wire);
	mb_wire_manifest_free(copy.manifest);
	pthread_mutex_destroy(&copy.lock);
	free(copy.label);
	free(label);
	return code;
}
