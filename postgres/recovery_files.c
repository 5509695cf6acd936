/* recovery_files.c - the small files that a restore writes itself, beside those of the backup. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "postgres/recovery_private.h"

#define LABEL_MAX_BYTES (1u << 20)

enum mb_code
mb_pg_writer_own(const struct mb_pg_writer *writer, int fd, const char *path, struct mb_error *err)
{
	if (writer->place.change_owner && fchown(fd, writer->place.uid, writer->place.gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", path);
	return MB_OK;
}

/* A small file of ours, durable; into the manifest unless it is one that recovery changes. */
static enum mb_code
write_file(struct mb_pg_writer *writer, const char *name, const void *data, size_t len,
		   bool in_manifest, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	int fd;

	/* A delta may find anything under this name. */
	code = mb_rmtree_at(writer->place.fd, name, err);
	if (code)
		return code;
	fd = mb_openat(writer->place.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
				   0600);
	if (fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", name);
	code = mb_write_full(fd, data, len, name, err);
	if (!code)
		code = mb_pg_writer_own(writer, fd, name, err);
	if (!code && fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", name);
	close(fd);
	if (!code && in_manifest)
		mb_pg_manifest_add(&writer->manifest, name, len, mb_time_now_us() / 1000000,
						   mb_crc32c(MB_CRC32C_INIT, data, len));
	return code;
}

/* The contents of one entry of the backup. */
static enum mb_code
read_data(struct mb_pg_writer *writer, const char *name, uint64_t max_bytes, struct mb_buf *out,
		  bool *found, struct mb_error *err)
{
	struct mb_arena arena = {0};
	struct mb_entry entry;
	enum mb_code code = mb_commit_find(writer->restore->env->repo, &writer->restore->commit, name,
									   &arena, &entry, found, err);

	if (!code && *found)
		code = mb_entry_contents(writer->restore->env->repo, &entry, max_bytes, out, err);
	mb_arena_release(&arena);
	return code;
}

/*
 * tablespace_map, with the new places: Postgres makes the links from it at the start of
 * recovery.  Lines are "oid path", with backslash before line feeds and backslashes.
 */
static void
make_map(const struct mb_pg_writer *writer, struct mb_buf *out)
{
	size_t i;

	for (i = 0; i < writer->place.tablespace_count; i++)
	{
		const char *p;

		mb_buf_printf(out, "%s ", writer->place.tablespaces[i].oid);
		for (p = writer->place.tablespaces[i].new_path; *p; p++)
		{
			if (*p == '\n' || *p == '\r' || *p == '\\')
				mb_buf_put_u8(out, '\\');
			mb_buf_put_u8(out, (uint8_t) *p);
		}
		mb_buf_put_u8(out, '\n');
	}
}

static enum mb_code
write_link(struct mb_pg_writer *writer, const char *link, const char *target, struct mb_error *err)
{
	if (symlinkat(target, writer->place.fd, link) != 0)
		return mb_fail_errno(err, errno, "could not create link \"%s\"", link);
	if (writer->place.change_owner && fchownat(writer->place.fd, link, writer->place.uid,
											   writer->place.gid, AT_SYMLINK_NOFOLLOW) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", link);
	return MB_OK;
}

enum mb_code
mb_pg_write_labels(struct mb_pg_writer *writer, struct mb_error *err)
{
	struct mb_buf text = {0};
	bool found;
	size_t i;
	enum mb_code code = read_data(writer, "backup_label", LABEL_MAX_BYTES, &text, &found, err);

	if (!code && !found)
		code = mb_fail(err, MB_CORRUPT, "the backup has no backup_label");
	if (!code)
		code = write_file(writer, "backup_label", text.data, text.len, true, err);
	mb_buf_reset(&text);
	make_map(writer, &text);
	if (!code && text.len > 0)
		code = write_file(writer, "tablespace_map", text.data, text.len, true, err);
	for (i = 0; !code && i < writer->place.tablespace_count; i++)
	{
		char *link = mb_asprintf("pg_tblspc/%s", writer->place.tablespaces[i].oid);

		code = write_link(writer, link, writer->place.tablespaces[i].new_path, err);
		free(link);
	}
	if (!code && writer->place.wal_dir)
		code = write_link(writer, "pg_wal", writer->place.wal_dir, err);
	mb_buf_release(&text);
	return code;
}

/* From the backup, not from the directory: what stands there could be somebody's link by now. */
enum mb_code
mb_pg_write_settings(struct mb_pg_writer *writer, struct mb_error *err)
{
	struct mb_buf source = {0}, out = {0};
	char *plan = mb_json_text(json_object_get(writer->restore->plan, "wal"));
	bool found, is_standby = writer->restore->wishes->standby != NULL;
	enum mb_code code =
		read_data(writer, "postgresql.auto.conf", MB_PG_CONF_MAX_BYTES, &source, &found, err);

	if (!code)
	{
		mb_pg_autoconf_make(&out, &source, writer->restore, &writer->place);
		code = write_file(writer, "postgresql.auto.conf", out.data, out.len, false, err);
	}
	/* A standby has no end that could be planned. */
	if (!code && !is_standby)
		code = write_file(writer, MB_WAL_PLAN_FILE, plan, strlen(plan), true, err);
	if (!code)
		code = write_file(writer, is_standby ? "standby.signal" : "recovery.signal", "", 0, false,
						  err);
	free(plan);
	mb_buf_release(&source);
	mb_buf_release(&out);
	return code;
}

/* What is there from now on belongs to a restore that is not finished. */
enum mb_code
mb_pg_write_partial(struct mb_pg_writer *writer, struct mb_error *err)
{
	json_t *json = json_object(), *list = json_array();
	enum mb_code code;
	char *text;
	size_t i;

	mb_json_set_str(json, "restore", writer->restore->id);
	for (i = 1; i < mb_pg_place_root_count(&writer->place); i++)
		json_array_append_new(list, json_string(mb_pg_place_root(&writer->place, i)));
	json_object_set_new(json, "directories", list);
	text = mb_json_text(json);
	/* Never without one: a restore that was killed left it, and the next one asks it. */
	code = write_file(writer, MB_PG_PARTIAL_FILE ".new", text, strlen(text), false, err);
	if (!code && renameat(writer->place.fd, MB_PG_PARTIAL_FILE ".new", writer->place.fd,
						  MB_PG_PARTIAL_FILE) != 0)
		code = mb_fail_errno(err, errno, "could not rename \"%s.new\"", MB_PG_PARTIAL_FILE);
	free(text);
	json_decref(json);
	if (!code && fsync(writer->place.fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", writer->place.directory);
	return code;
}
