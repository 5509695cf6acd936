/*
 * recovery.c - put a base backup into a directory and tell Postgres how to recover it.
 *
 * Order: files, links, backup_label and tablespace_map, settings and signal, the
 * manifest; pg_control at the very end, so that a directory that was not finished does not
 * start.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "postgres/backup_manifest.h"
#include "postgres/private.h"

#define LABEL_MAX_BYTES (1u << 20)
#define CONF_MAX_BYTES (16u << 20)
#define MAX_TABLESPACES 60

/* Settings of the source that would lead a restored server astray. */
static const char *const stale_settings[] = {"restore_command",         "recovery_end_command",
											 "archive_cleanup_command", "primary_conninfo",
											 "primary_slot_name",       "promote_trigger_file"};

struct tablespace
{
	char oid[16];
	char *old_path;
	char *new_path;
	int fd;
};

struct writer
{
	struct mb_restore *restore;
	char *directory;
	int root_fd;
	bool change_owner;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	struct tablespace tablespaces[MAX_TABLESPACES];
	size_t tablespace_count;
	struct mb_pg_manifest manifest;
	uint64_t start_lsn;
	uint64_t stop_lsn;
	size_t damaged_files;
};

/* -- where to ------------------------------------------------------------------------------------------- */

static void
find_owner(struct writer *writer)
{
	const json_t *meta = writer->restore->commit.meta;
	const char *user = mb_json_str(meta, "user", NULL), *group = mb_json_str(meta, "group", NULL);
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;

	writer->change_owner = geteuid() == 0;
	writer->mode = (mode_t) mb_json_int(meta, "mode", 0700) & 0750;
	if (user)
		getpwnam_r(user, &pw, buf, sizeof(buf), &pw_found);
	writer->uid = pw_found ? pw_found->pw_uid : (uid_t) mb_json_int(meta, "uid", 0);
	if (group)
		getgrnam_r(group, &gr, buf, sizeof(buf), &gr_found);
	writer->gid = gr_found ? gr_found->gr_gid : (gid_t) mb_json_int(meta, "gid", 0);
}

/* "--tablespace OLD=NEW" for one path; the path itself when there is none. */
static char *
remapped(const struct mb_restore *restore, const char *path)
{
	size_t len = strlen(path), i;

	for (i = 0; i < restore->tablespace_count; i++)
		if (strncmp(restore->tablespaces[i], path, len) == 0 && restore->tablespaces[i][len] == '=')
			return mb_strdup(restore->tablespaces[i] + len + 1);
	return mb_strdup(path);
}

static enum mb_code
read_tablespaces(struct writer *writer, struct mb_error *err)
{
	const json_t *list = json_object_get(writer->restore->commit.meta, "tablespaces");
	size_t i, t;

	for (i = 0; i < json_array_size(list); i++)
	{
		const char *path = mb_json_str(json_array_get(list, i), "path", "");
		struct tablespace *tablespace;

		if (*path != '/')
			continue; /* in place, below the data directory */
		if (writer->tablespace_count == MAX_TABLESPACES)
			return mb_fail(err, MB_UNSUPPORTED, "more than %d tablespaces", MAX_TABLESPACES);
		tablespace = &writer->tablespaces[writer->tablespace_count++];
		tablespace->fd = -1;
		snprintf(tablespace->oid, sizeof(tablespace->oid), "%s",
				 mb_json_str(json_array_get(list, i), "oid", ""));
		tablespace->old_path = mb_strdup(path);
		tablespace->new_path = remapped(writer->restore, path);
		if (*tablespace->new_path != '/')
			return mb_fail(err, MB_CONFIG,
						   "the new place of tablespace \"%s\" must be an absolute path", path);
	}
	for (i = 0; i < writer->restore->tablespace_count; i++)
	{
		bool used = false;

		for (t = 0; t < writer->tablespace_count; t++)
			used |=
				mb_starts_with(writer->restore->tablespaces[i], writer->tablespaces[t].old_path) &&
				writer->restore->tablespaces[i][strlen(writer->tablespaces[t].old_path)] == '=';
		if (!used)
			return mb_fail(err, MB_CONFIG, "--tablespace \"%s\" names no tablespace of this backup",
						   writer->restore->tablespaces[i]);
	}
	return MB_OK;
}

static enum mb_code
own(const struct writer *writer, int fd, const char *path, struct mb_error *err)
{
	if (writer->change_owner && fchown(fd, writer->uid, writer->gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", path);
	return MB_OK;
}

static enum mb_code
make_root(struct writer *writer, const char *path, int *fd, struct mb_error *err)
{
	enum mb_code code = mb_restore_directory(path, MB_DIRECTORY_CREATE, writer->mode, err);

	if (code)
		return code;
	mb_restore_made(writer->restore, path);
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", path);
	return own(writer, *fd, path, err);
}

/* Everything is looked at before anything is made. */
static enum mb_code
prepare(struct writer *writer, struct mb_error *err)
{
	const char *own_place = mb_json_str(writer->restore->commit.meta, "data_directory", NULL);
	const char *place = writer->restore->destination ? writer->restore->destination : own_place;
	enum mb_code code;
	size_t i;

	if (!place || !*place)
		return mb_fail(err, MB_CONFIG, "the backup does not say where its data directory was");
	if (*place == '/')
		writer->directory = mb_strdup(place);
	else
	{
		char cwd[4096];

		if (!getcwd(cwd, sizeof(cwd)))
			return mb_fail_errno(err, errno, "could not get the current directory");
		writer->directory = mb_path_join(cwd, place);
	}
	find_owner(writer);
	code = read_tablespaces(writer, err);
	if (!code)
		code = mb_restore_directory(writer->directory, MB_DIRECTORY_CHECK, writer->mode, err);
	for (i = 0; !code && i < writer->tablespace_count; i++)
	{
		code = mb_restore_directory(writer->tablespaces[i].new_path, MB_DIRECTORY_CHECK,
									writer->mode, err);
		if (code == MB_CONFLICT)
			mb_error_hint(err, "Give the tablespace another place: --tablespace %s=DIRECTORY.",
						  writer->tablespaces[i].old_path);
	}
	if (!code)
		code = make_root(writer, writer->directory, &writer->root_fd, err);
	for (i = 0; !code && i < writer->tablespace_count; i++)
		code = make_root(writer, writer->tablespaces[i].new_path, &writer->tablespaces[i].fd, err);
	return code;
}

/* -- files --------------------------------------------------------------------------------------------------- */

static bool
path_is(const struct mb_entry *entry, const char *path)
{
	return entry->path_len == strlen(path) && memcmp(entry->path, path, entry->path_len) == 0;
}

/* "pg_tblspc/<oid>/rest" goes to its tablespace's own directory. */
static bool
select_entry(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	static const char links[] = "pg_tblspc/";
	struct writer *writer = ctx;
	size_t i;

	if (entry->type == MB_ENTRY_DATA || path_is(entry, "global/pg_control"))
		return false;
	writer->damaged_files += entry->damaged_count > 0;
	if (entry->path_len <= strlen(links) || memcmp(entry->path, links, strlen(links)) != 0)
		return true;
	for (i = 0; i < writer->tablespace_count; i++)
	{
		const char *oid = writer->tablespaces[i].oid;
		size_t prefix = strlen(links) + strlen(oid);

		if (entry->path_len < prefix || memcmp(entry->path + strlen(links), oid, strlen(oid)) != 0)
			continue;
		if (entry->path_len == prefix)
			return false; /* the link: made from the map */
		if (entry->path[prefix] != '/')
			continue;
		mb_buf_reset(name);
		mb_buf_put(name, entry->path + prefix + 1, entry->path_len - prefix - 1);
		*dir_fd = writer->tablespaces[i].fd;
		return true;
	}
	return entry->type != MB_ENTRY_SYMLINK;
}

static enum mb_code
file_done(void *ctx, const struct mb_entry *entry, const char *name, struct mb_error *err)
{
	struct writer *writer = ctx;
	char *path;

	(void) name;
	(void) err;
	/* Rewritten below; pg_verifybackup does not expect it either. */
	if (path_is(entry, "postgresql.auto.conf"))
		return MB_OK;
	path = mb_strndup(entry->path, entry->path_len);
	mb_pg_manifest_add(&writer->manifest, path, entry->size, entry->mtime_ns / 1000000000,
					   entry->crc32c);
	free(path);
	return MB_OK;
}

/* A small file of ours, durable; into the manifest unless it is one that recovery changes. */
static enum mb_code
write_file(struct writer *writer, const char *name, const void *data, size_t len, bool in_manifest,
		   struct mb_error *err)
{
	enum mb_code code = MB_OK;
	int fd;

	unlinkat(writer->root_fd, name, 0);
	fd = openat(writer->root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", name);
	code = mb_write_full(fd, data, len, name, err);
	if (!code)
		code = own(writer, fd, name, err);
	if (!code && fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", name);
	close(fd);
	if (!code && in_manifest)
		mb_pg_manifest_add(&writer->manifest, name, len, mb_time_now_us() / 1000000,
						   mb_crc32c(MB_CRC32C_INIT, data, len));
	return code;
}

/* The contents of a named byte string of the backup. */
static enum mb_code
read_data(struct writer *writer, const char *name, struct mb_buf *out, bool *found,
		  struct mb_error *err)
{
	struct mb_arena arena = {0};
	struct mb_entry entry;
	enum mb_code code = mb_commit_find(writer->restore->env->repo, &writer->restore->commit, name,
									   &arena, &entry, found, err);

	if (!code && *found)
		code = mb_entry_contents(writer->restore->env->repo, &entry, LABEL_MAX_BYTES, out, err);
	mb_arena_release(&arena);
	return code;
}

/*
 * tablespace_map, with the new places: Postgres makes the links from it at the start of
 * recovery.  Lines are "oid path", with backslash before line feeds and backslashes.
 */
static void
make_map(const struct writer *writer, struct mb_buf *out)
{
	size_t i;

	for (i = 0; i < writer->tablespace_count; i++)
	{
		const char *p;

		mb_buf_printf(out, "%s ", writer->tablespaces[i].oid);
		for (p = writer->tablespaces[i].new_path; *p; p++)
		{
			if (*p == '\n' || *p == '\r' || *p == '\\')
				mb_buf_put_u8(out, '\\');
			mb_buf_put_u8(out, (uint8_t) *p);
		}
		mb_buf_put_u8(out, '\n');
	}
}

static enum mb_code
write_labels(struct writer *writer, struct mb_error *err)
{
	struct mb_buf text = {0};
	bool found;
	size_t i;
	enum mb_code code = read_data(writer, "backup_label", &text, &found, err);

	if (!code && !found)
		code = mb_fail(err, MB_CORRUPT, "the backup has no backup_label");
	if (!code)
		code = write_file(writer, "backup_label", text.data, text.len, true, err);
	mb_buf_reset(&text);
	make_map(writer, &text);
	if (!code && text.len > 0)
		code = write_file(writer, "tablespace_map", text.data, text.len, true, err);
	for (i = 0; !code && i < writer->tablespace_count; i++)
	{
		char *link = mb_asprintf("pg_tblspc/%s", writer->tablespaces[i].oid);

		if (symlinkat(writer->tablespaces[i].new_path, writer->root_fd, link) != 0)
			code = mb_fail_errno(err, errno, "could not create link \"%s\"", link);
		else if (writer->change_owner && fchownat(writer->root_fd, link, writer->uid, writer->gid,
												  AT_SYMLINK_NOFOLLOW) != 0)
			code = mb_fail_errno(err, errno, "could not set the owner of \"%s\"", link);
		free(link);
	}
	mb_buf_release(&text);
	return code;
}

/* -- settings ---------------------------------------------------------------------------------------------------- */

/* One word of a shell command; % doubled, since Postgres replaces %f and %p. */
static void
put_shell_word(struct mb_buf *out, const char *word)
{
	mb_buf_put_u8(out, '\'');
	for (; *word; word++)
	{
		if (*word == '\'')
			mb_buf_put_str(out, "'\\''");
		else if (*word == '%')
			mb_buf_put_str(out, "%%");
		else
			mb_buf_put_u8(out, (uint8_t) *word);
	}
	mb_buf_put_u8(out, '\'');
}

/* name = 'value' as guc-file.l reads it: quotes and backslashes doubled. */
static void
put_setting(struct mb_buf *out, const char *name, const char *value)
{
	mb_buf_printf(out, "%s = '", name);
	for (; *value; value++)
	{
		if (*value == '\'' || *value == '\\')
			mb_buf_put_u8(out, (uint8_t) *value);
		mb_buf_put_u8(out, (uint8_t) *value);
	}
	mb_buf_put_str(out, "'\n");
}

static bool
is_stale(const char *line, size_t len)
{
	char key[64] = "";
	size_t n = 0, i;

	while (len > 0 && isspace((unsigned char) *line))
		line++, len--;
	while (n < len && n + 1 < sizeof(key) && (isalnum((unsigned char) line[n]) || line[n] == '_'))
	{
		key[n] = (char) tolower((unsigned char) line[n]);
		n++;
	}
	key[n] = '\0';
	if (mb_starts_with(key, "recovery_target"))
		return true;
	for (i = 0; i < sizeof(stale_settings) / sizeof(*stale_settings); i++)
		if (strcmp(key, stale_settings[i]) == 0)
			return true;
	return false;
}

static void
copy_settings(struct mb_buf *out, const struct mb_buf *source)
{
	size_t at = 0;

	while (at < source->len)
	{
		const unsigned char *end = memchr(source->data + at, '\n', source->len - at);
		size_t len = end ? (size_t) (end - source->data) - at + 1 : source->len - at;

		if (!is_stale((const char *) source->data + at, len))
			mb_buf_put(out, source->data + at, len);
		at += len;
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		mb_buf_put_u8(out, '\n');
}

static void
put_recovery_settings(struct writer *writer, struct mb_buf *out)
{
	static const char *const actions[] = {"promote", "pause", "shutdown"};
	const struct mb_restore *restore = writer->restore;
	const char *setting = mb_json_str(restore->plan, "setting", NULL);
	struct mb_buf command = {0};
	char timeline[16];

	put_shell_word(&command, restore->env->program);
	if (restore->env->config_path)
	{
		mb_buf_put_str(&command, " --config ");
		put_shell_word(&command, restore->env->config_path);
	}
	mb_buf_printf(&command, " wal-get --restore=%s %%f %%p", restore->id);
	snprintf(timeline, sizeof(timeline), "%u",
			 (unsigned) mb_json_int(restore->plan, "timeline", 1));
	mb_buf_printf(out, "# Restore %s by mbackup\n", restore->id);
	put_setting(out, "restore_command", mb_buf_cstr(&command));
	put_setting(out, "recovery_target_timeline", timeline);
	if (setting)
	{
		put_setting(out, setting, mb_json_str(restore->plan, "value", ""));
		if (restore->target.exclusive && strcmp(setting, "recovery_target_name") != 0)
			put_setting(out, "recovery_target_inclusive", "false");
		put_setting(out, "recovery_target_action", actions[restore->target.action]);
	}
	mb_buf_release(&command);
}

static enum mb_code
write_settings(struct writer *writer, struct mb_error *err)
{
	struct mb_buf source = {0}, out = {0};
	char *path = mb_path_join(writer->directory, "postgresql.auto.conf");
	char *plan = mb_json_text(json_object_get(writer->restore->plan, "wal"));
	enum mb_code code = mb_file_read(&source, path, CONF_MAX_BYTES, err);

	if (code == MB_NOT_FOUND)
		code = MB_OK;
	if (!code)
	{
		copy_settings(&out, &source);
		put_recovery_settings(writer, &out);
		code = write_file(writer, "postgresql.auto.conf", out.data, out.len, false, err);
	}
	if (!code)
		code = write_file(writer, MB_WAL_PLAN_FILE, plan, strlen(plan), true, err);
	if (!code)
		code = write_file(writer, "recovery.signal", "", 0, false, err);
	free(plan);
	free(path);
	mb_buf_release(&source);
	mb_buf_release(&out);
	return code;
}

/* -- the end --------------------------------------------------------------------------------------------------------- */

static enum mb_code
write_control(struct writer *writer, struct mb_error *err)
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
		code = own(writer, writer->manifest.fd, "backup_manifest", err);
	if (!code)
		code = mb_entry_to_file(writer->restore->env->repo, &entry, writer->root_fd,
								"global/pg_control", 0600, err);
	if (!code && writer->change_owner &&
		fchownat(writer->root_fd, "global/pg_control", writer->uid, writer->gid,
				 AT_SYMLINK_NOFOLLOW) != 0)
		code = mb_fail_errno(err, errno, "could not set the owner of \"global/pg_control\"");
	if (!code && syncfs(writer->root_fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\" to disk", writer->directory);
	writer->restore->entries++;
	mb_arena_release(&arena);
	return code;
}

static void
report(struct writer *writer)
{
	struct mb_restore *restore = writer->restore;
	const char *config = mb_json_str(restore->commit.meta, "config_file", "");
	const char *data = mb_json_str(restore->commit.meta, "data_directory", "");
	const char *note = mb_json_str(restore->plan, "note", NULL);
	json_t *reached = json_object();
	char *next;

	mb_json_set_str(restore->result, "destination", writer->directory);
	next = mb_asprintf("pg_ctl -D '%s' start", writer->directory);
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
	if (writer->damaged_files > 0)
		mb_restore_warn(restore, "%zu file(s) had pages with wrong checksums in the source",
						writer->damaged_files);
}

static void
release_writer(struct writer *writer)
{
	size_t i;

	for (i = 0; i < writer->tablespace_count; i++)
	{
		free(writer->tablespaces[i].old_path);
		free(writer->tablespaces[i].new_path);
		if (writer->tablespaces[i].fd >= 0)
			close(writer->tablespaces[i].fd);
	}
	mb_pg_manifest_release(&writer->manifest);
	if (writer->root_fd >= 0)
		close(writer->root_fd);
	free(writer->directory);
}

enum mb_code
mb_postgres_restore(struct mb_component *component, struct mb_restore *restore,
					struct mb_error *err)
{
	struct writer writer = {.restore = restore, .root_fd = -1};
	struct mb_tree tree = {.flags = MB_TREE_OWNER,
						   .select = select_entry,
						   .done = file_done,
						   .ctx = &writer};
	enum mb_code code = MB_OK;
	char *path;

	(void) component;
	if (!mb_lsn_parse(&writer.start_lsn, mb_json_str(restore->commit.meta, "start_lsn", "")) ||
		!mb_lsn_parse(&writer.stop_lsn, mb_json_str(restore->commit.meta, "stop_lsn", "")))
		code = mb_fail(err, MB_CORRUPT, "the backup does not say where it begins");
	if (!code)
		code = prepare(&writer, err);
	if (!code)
	{
		path = mb_path_join(writer.directory, "backup_manifest");
		code = mb_pg_manifest_begin(&writer.manifest, path, err);
		free(path);
	}
	if (!code)
	{
		tree.root_fd = writer.root_fd;
		code = mb_restore_tree(restore, &tree, err);
	}
	if (!code)
		code = write_labels(&writer, err);
	if (!code)
		code = write_settings(&writer, err);
	if (!code)
		code = write_control(&writer, err);
	if (!code)
		report(&writer);
	release_writer(&writer);
	return code;
}
