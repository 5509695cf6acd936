/*
 * recovery.c - put a base backup into a directory and tell Postgres how to recover it.
 *
 * Order: the mark of an unfinished restore; in a delta pg_control is removed; files, links,
 * backup_label and tablespace_map, settings and signal, the manifest; the mark goes, and
 * pg_control comes at the very end, so that a directory that was not finished does not
 * start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/recovery_private.h"

/* -- files --------------------------------------------------------------------------------------------------- */

static bool
path_is(const struct mb_entry *entry, const char *path)
{
	return entry->path_len == strlen(path) && memcmp(entry->path, path, entry->path_len) == 0;
}

static bool
select_entry(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	struct mb_pg_writer *writer = ctx;
	size_t root;

	if (entry->type == MB_ENTRY_DATA || path_is(entry, "global/pg_control"))
		return false;
	switch (mb_pg_place_of(&writer->place, entry->path, entry->path_len, name, &root))
	{
		case MB_PG_ELSEWHERE:
			*dir_fd = mb_pg_place_root_fd(&writer->place, root);
			return true;
		case MB_PG_LINKED:
			return false;
		case MB_PG_HERE:
			break;
	}
	/* Links of the source lead nowhere here: the ones that are needed come with the labels. */
	return entry->type != MB_ENTRY_SYMLINK || !mb_starts_with(mb_buf_cstr(name), "pg_tblspc/");
}

static bool
is_hollow(void *ctx, const struct mb_entry *entry)
{
	return mb_pg_is_hollow(&((struct mb_pg_writer *) ctx)->databases, entry);
}

static enum mb_code
file_done(void *ctx, const struct mb_entry *entry, const char *name, struct mb_error *err)
{
	struct mb_pg_writer *writer = ctx;
	uint32_t crc = entry->crc32c;
	char *path;

	(void) name;
	(void) err;
	/* Written anew with the settings; pg_verifybackup does not expect it either. */
	if (path_is(entry, "postgresql.auto.conf"))
		return MB_OK;
	/* The manifest speaks about this directory: of a hollow file it says so many zeros. */
	if (is_hollow(writer, entry))
	{
		crc = mb_pg_zero_crc(entry->size);
		writer->hollow_files++;
	}
	path = mb_strndup(entry->path, entry->path_len);
	mb_pg_manifest_add(&writer->manifest, path, entry->size, entry->mtime_ns / 1000000000, crc);
	free(path);
	return MB_OK;
}

/* -- the beginning ------------------------------------------------------------------------------------------------------ */

/* Without it no server starts here, whatever happens next. */
static enum mb_code
remove_control(struct mb_pg_writer *writer, struct mb_error *err)
{
	enum mb_code code;
	int fd;

	code = mb_open_beneath(&fd, writer->place.fd, "global", O_RDONLY | O_DIRECTORY, 0, err);
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (code)
		return code;
	if (unlinkat(fd, "pg_control", 0) != 0 && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not remove \"global/pg_control\"");
	else if (fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"global\"");
	close(fd);
	return code;
}

static enum mb_code
begin(struct mb_pg_writer *writer, struct mb_error *err)
{
	enum mb_code code = mb_pg_place_open(&writer->place, writer->restore, err);
	char *path;

	if (!code)
		code = mb_pg_write_partial(writer, err);
	if (!code && writer->place.delta)
		code = remove_control(writer, err);
	if (code)
		return code;
	code = mb_rmtree_at(writer->place.fd, "backup_manifest", err);
	if (code)
		return code;
	path = mb_path_join(writer->place.directory, "backup_manifest");
	code = mb_pg_manifest_begin(&writer->manifest, path, err);
	free(path);
	return code;
}

static enum mb_code
write_tree(struct mb_pg_writer *writer, struct mb_error *err)
{
	static const char *const keep[] = {MB_PG_PARTIAL_FILE, "backup_manifest", NULL};
	struct mb_tree_root roots[MB_PG_MAX_TABLESPACES + 2] = {{0}};
	struct mb_tree tree = {.flags = MB_TREE_OWNER,
						   .root_fd = writer->place.fd,
						   .select = select_entry,
						   .done = file_done,
						   .hollow = is_hollow,
						   .ctx = writer,
						   .roots = roots,
						   .keep = keep};
	size_t i;

	tree.root_count = mb_pg_place_root_count(&writer->place);
	for (i = 0; i < tree.root_count; i++)
	{
		roots[i].fd = mb_pg_place_root_fd(&writer->place, i);
		/* A tablespace directory may be shared with another major version. */
		if (i > 0 && i <= writer->place.tablespace_count)
			roots[i].only = writer->place.version_dir;
	}
	if (writer->place.delta)
		tree.flags |= MB_TREE_DELTA;
	return mb_restore_tree(writer->restore, &tree, err);
}

/* -- the end --------------------------------------------------------------------------------------------------------- */

static enum mb_code
write_control(struct mb_pg_writer *writer, struct mb_error *err)
{
	struct mb_arena arena = {0};
	struct mb_entry entry;
	enum mb_code code;
	bool found;

	code = mb_commit_find(writer->restore->env->repo, &writer->restore->commit, "global/pg_control",
						  &arena, &entry, &found, err);
	if (!code && !found)
		code = mb_fail(err, MB_CORRUPT, "the backup has no global/pg_control");
	if (!code)
	{
		mb_pg_manifest_add(&writer->manifest, "global/pg_control", entry.size,
						   entry.mtime_ns / 1000000000, entry.crc32c);
		code = mb_pg_manifest_finish(&writer->manifest,
									 (uint32_t) mb_json_int(writer->restore->commit.meta,
															"timeline", 1),
									 writer->start_lsn, writer->stop_lsn, err);
	}
	if (!code)
		code = mb_pg_writer_own(writer, writer->manifest.fd, "backup_manifest", err);
	if (!code && unlinkat(writer->place.fd, MB_PG_PARTIAL_FILE, 0) != 0)
		code = mb_fail_errno(err, errno, "could not remove \"%s\"", MB_PG_PARTIAL_FILE);
	/* Everything else is durable before the directory can start. */
	if (!code && syncfs(writer->place.fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\" to disk", writer->place.directory);
	if (!code)
		code = mb_entry_to_file(writer->restore->env->repo, &entry, writer->place.fd,
								"global/pg_control", 0600, err);
	if (!code && writer->place.change_owner &&
		fchownat(writer->place.fd, "global/pg_control", writer->place.uid, writer->place.gid,
				 AT_SYMLINK_NOFOLLOW) != 0)
		code = mb_fail_errno(err, errno, "could not set the owner of \"global/pg_control\"");
	if (!code && syncfs(writer->place.fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\" to disk", writer->place.directory);
	writer->restore->entries++;
	mb_arena_release(&arena);
	return code;
}

/* The exact commands: a database of zeros must not be taken for one. */
static void
report_hollow(struct mb_pg_writer *writer)
{
	const struct mb_pg_databases *databases = &writer->databases;
	struct mb_buf commands = {0};
	json_t *list;
	size_t i;

	if (databases->hollow_count == 0)
		return;
	list = json_array();
	for (i = 0; i < databases->hollow_count; i++)
	{
		char *quoted = mb_pg_quote_ident(databases->hollow_names[i]);
		char *command = mb_asprintf("DROP DATABASE %s;", quoted);

		mb_buf_printf(&commands, "%s%s", i ? " " : "", command);
		json_array_append_new(list, json_string(command));
		free(command);
		free(quoted);
	}
	json_object_set_new(writer->restore->result, "drop", list);
	mb_restore_warn(writer->restore,
					"%zu database(s) hold nothing but zeros (%llu files) and must be dropped once "
					"the server is up: %.600s",
					databases->hollow_count, (unsigned long long) writer->hollow_files,
					mb_buf_cstr(&commands));
	mb_buf_release(&commands);
}

static void
report(struct mb_pg_writer *writer)
{
	struct mb_restore *restore = writer->restore;
	const char *config = mb_json_str(restore->commit.meta, "config_file", "");
	const char *data = mb_json_str(restore->commit.meta, "data_directory", "");
	const char *note = mb_json_str(restore->plan, "note", NULL);
	json_t *reached = json_object();
	char *next;

	mb_json_set_str(restore->result, "destination", writer->place.directory);
	next = mb_asprintf("pg_ctl -D '%s' start", writer->place.directory);
	mb_json_set_str(restore->result, "next", next);
	free(next);
	mb_json_set_str(reached, "end_lsn", mb_json_str(restore->plan, "end_lsn", ""));
	mb_json_set_int(reached, "timeline", mb_json_int(restore->plan, "timeline", 0));
	json_object_set_new(restore->result, "reached", reached);
	if (note)
		mb_restore_warn(restore, "%s", note);
	if (!mb_json_str(restore->plan, "setting", NULL) && restore->target.action != MB_ACTION_PROMOTE)
		mb_restore_warn(restore, "the server will be promoted at the end of the WAL: without a "
								 "target inside it Postgres knows no other action");
	if (*config && !mb_starts_with(config, data))
		mb_restore_warn(restore,
						"the configuration of the source was in \"%s\", outside of its data "
						"directory, and is not part of this backup",
						config);
	report_hollow(writer);
}

static void
release_writer(struct mb_pg_writer *writer)
{
	mb_pg_databases_release(&writer->databases);
	mb_pg_manifest_release(&writer->manifest);
	mb_pg_place_release(&writer->place);
}

static enum mb_code
write_all(struct mb_pg_writer *writer, struct mb_error *err)
{
	enum mb_code code = begin(writer, err);

	if (!code)
		code = write_tree(writer, err);
	if (!code)
		code = mb_pg_write_labels(writer, err);
	if (!code)
		code = mb_pg_write_settings(writer, err);
	if (!code)
		code = write_control(writer, err);
	if (code && writer->place.delta)
		mb_error_hint(err,
					  "\"%s\" is unfinished and does not start: run the same restore with "
					  "--delta again, which goes on from here.",
					  writer->place.directory);
	return code;
}

enum mb_code
mb_postgres_restore(struct mb_component *component, struct mb_restore *restore,
					struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_pg_writer writer = {.restore = restore};
	enum mb_code code = MB_OK;

	writer.place.fd = writer.place.wal_fd = -1;
	if (!mb_lsn_parse(&writer.start_lsn, mb_json_str(restore->commit.meta, "start_lsn", "")) ||
		!mb_lsn_parse(&writer.stop_lsn, mb_json_str(restore->commit.meta, "stop_lsn", "")))
		code = mb_fail(err, MB_CORRUPT, "the backup does not say where it begins");
	if (!code)
		code = mb_pg_databases_read(&writer.databases, restore, err);
	if (!code)
		code = mb_pg_place_read(&writer.place, restore, err);
	/* Planned long ago, perhaps: is it still as it was? */
	if (!code)
		code = mb_pg_place_check(&writer.place, restore, NULL, err);
	if (!code)
		code = write_all(&writer, err);
	if (!code)
		report(&writer);
	if (!code && mb_pg_is_scratch(restore))
		code = mb_pg_tables(pg, restore, &writer.place, err);
	else if (!code && (restore->wishes->flags & MB_RESTORE_START) && !restore->is_served)
		code = mb_pg_start(pg, restore, &writer.place, err);
	release_writer(&writer);
	return code;
}
