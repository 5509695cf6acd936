/*
 * autoconf.c - what a restore writes into postgresql.auto.conf, and what adopt takes out of
 * it again.
 *
 * A copy beside its original carries the setting mbackup.restored: every session can read it
 * without a privilege, base backups and standbys of the copy inherit it, and as long as it is
 * there no stream and no backup of ours begins.  A file in the directory would need rights
 * to be seen through SQL, and would be missing in a copy made by pg_basebackup.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define RELOAD_WAIT_MS 10000

/* Settings of the source that would lead a restored server astray. */
static const char *const stale_settings[] = {"restore_command",         "recovery_end_command",
											 "archive_cleanup_command", "primary_conninfo",
											 "primary_slot_name",       "promote_trigger_file",
											 MB_PG_RESTORED_SETTING};

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

/* The name that a line sets, in lower case; "" for none. */
static void
setting_name(char key[64], const char *line, size_t len)
{
	size_t n = 0;

	while (len > 0 && isspace((unsigned char) *line))
		line++, len--;
	while (n < len && n + 1 < 64 &&
		   (isalnum((unsigned char) line[n]) || line[n] == '_' || line[n] == '.'))
	{
		key[n] = (char) tolower((unsigned char) line[n]);
		n++;
	}
	key[n] = '\0';
}

static bool
is_stale(const char *line, size_t len)
{
	char key[64];
	size_t i;

	setting_name(key, line, len);
	if (mb_starts_with(key, "recovery_target"))
		return true;
	for (i = 0; i < sizeof(stale_settings) / sizeof(*stale_settings); i++)
		if (strcmp(key, stale_settings[i]) == 0)
			return true;
	return false;
}

static void
copy_settings(struct mb_buf *out, const struct mb_buf *source,
			  bool (*drop)(const char *line, size_t len))
{
	size_t at = 0;

	while (at < source->len)
	{
		const unsigned char *end = memchr(source->data + at, '\n', source->len - at);
		size_t len = end ? (size_t) (end - source->data) - at + 1 : source->len - at;

		if (!drop((const char *) source->data + at, len))
			mb_buf_put(out, source->data + at, len);
		at += len;
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		mb_buf_put_u8(out, '\n');
}

/*
 * restore_command runs once for each segment, so it is the program that starts quickly where
 * there is one, and whoever may run mbackup may run it too.
 */
static char *
wal_get_program(const char *mbackup)
{
	char *quick = mb_asprintf("%s-wal-get", mbackup);
	struct stat st, full;

	if (stat(quick, &st) == 0 && stat(mbackup, &full) == 0 && S_ISREG(st.st_mode) &&
		st.st_uid == full.st_uid && st.st_gid == full.st_gid &&
		(full.st_mode & 0111) == (st.st_mode & full.st_mode & 0111))
		return quick;
	free(quick);
	return NULL;
}

static void
put_wal_get(struct mb_buf *command, const struct mb_env *env)
{
	char *quick = wal_get_program(env->program);

	put_shell_word(command, quick ? quick : env->program);
	if (env->config_path)
	{
		mb_buf_put_str(command, " --config ");
		put_shell_word(command, env->config_path);
	}
	if (!quick)
		mb_buf_put_str(command, " wal-get");
	free(quick);
}

/*
 * A standby is a member of the cluster and no copy beside it: it carries no mark.  Its restore_command
 * serves what the primary has removed meanwhile, over promotions too, and so has no plan.
 */
static void
put_standby_settings(struct mb_buf *out, const struct mb_restore *restore)
{
	struct mb_buf command = {0};

	put_wal_get(&command, restore->env);
	mb_buf_put_str(&command, " --component=");
	put_shell_word(&command, restore->component);
	if (restore->env->repository)
		mb_buf_printf(&command, " --repository=%s", restore->env->repository);
	mb_buf_put_str(&command, " %f %p");
	put_setting(out, "restore_command", mb_buf_cstr(&command));
	put_setting(out, "primary_conninfo", restore->wishes->standby);
	mb_buf_release(&command);
}

static void
put_port(struct mb_buf *out, unsigned port)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", port);
	put_setting(out, "port", text);
}

static void
put_recovery_settings(struct mb_buf *out, const struct mb_restore *restore,
					  const struct mb_pg_place *place)
{
	static const char *const actions[] = {"promote", "pause", "shutdown"};
	const char *setting = mb_json_str(restore->plan, "setting", NULL);
	struct mb_buf command = {0};
	char timeline[16];

	put_wal_get(&command, restore->env);
	mb_buf_printf(&command, " --restore=%s", restore->id);
	if (restore->env->repository)
		mb_buf_printf(&command, " --repository=%s", restore->env->repository);
	mb_buf_put_str(&command, " %f %p");
	snprintf(timeline, sizeof(timeline), "%u",
			 (unsigned) mb_json_int(restore->plan, "timeline", 1));
	if (!place->in_place)
		put_setting(out, MB_PG_RESTORED_SETTING, restore->id);
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

void
mb_pg_autoconf_make(struct mb_buf *out, const struct mb_buf *source,
					const struct mb_restore *restore, const struct mb_pg_place *place)
{
	copy_settings(out, source, is_stale);
	mb_buf_printf(out, "# Restore %s by mbackup\n", restore->id);
	if (restore->wishes->port)
		put_port(out, restore->wishes->port);
	if (restore->wishes->standby)
		put_standby_settings(out, restore);
	else
		put_recovery_settings(out, restore, place);
}

/* -- adopting ------------------------------------------------------------------------------------- */

static bool
is_mark(const char *line, size_t len)
{
	char key[64];

	setting_name(key, line, len);
	return strcmp(key, MB_PG_RESTORED_SETTING) == 0;
}

/* Keeps the owner and mode that the file had: we may be root. */
static enum mb_code
replace_autoconf(const char *path, const struct mb_buf *text, struct mb_error *err)
{
	char *temporary = mb_asprintf("%s.mbackup-tmp", path);
	enum mb_code code = MB_OK;
	struct stat st;
	int fd;

	unlink(temporary);
	fd = mb_open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || lstat(path, &st) != 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", temporary);
	if (!code)
		code = mb_write_full(fd, text->data, text->len, temporary, err);
	if (!code && ((geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0) ||
				  fchmod(fd, st.st_mode & 07777) != 0 || fsync(fd) != 0))
		code = mb_fail_errno(err, errno, "could not write \"%s\"", temporary);
	if (fd >= 0)
		close(fd);
	if (!code && rename(temporary, path) != 0)
		code = mb_fail_errno(err, errno, "could not rename \"%s\"", temporary);
	if (code)
		unlink(temporary);
	free(temporary);
	return code;
}

/* Tell a running server; MB_OK too when none runs. */
static enum mb_code
reload(const char *directory, struct mb_error *err)
{
	char *path = mb_path_join(directory, "postmaster.pid");
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, 65536, err);
	long pid;

	free(path);
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (!code)
	{
		pid = strtol(mb_buf_cstr(&text), NULL, 10);
		if (pid > 0 && kill((pid_t) pid, SIGHUP) != 0 && errno != ESRCH)
			code = mb_fail_errno(err, errno, "could not make the server reload its settings");
	}
	mb_buf_release(&text);
	return code;
}

static enum mb_code
adopt_directory(const char *directory, bool *adopted, struct mb_error *err)
{
	char *path = mb_path_join(directory, "postgresql.auto.conf");
	char *version = mb_path_join(directory, "PG_VERSION");
	struct mb_buf source = {0}, out = {0};
	enum mb_code code = MB_OK;

	*adopted = false;
	if (access(version, F_OK) != 0)
	{
		code = mb_fail_errno(err, errno, "\"%s\" is not a data directory of Postgres", directory);
		mb_error_hint(err, "Give the data directory: mbackup adopt DIRECTORY.");
	}
	if (!code)
		code = mb_file_read(&source, path, MB_PG_CONF_MAX_BYTES, err);
	if (code == MB_NOT_FOUND && access(version, F_OK) == 0)
		code = MB_OK; /* no such file: nothing was restored here */
	if (!code)
	{
		copy_settings(&out, &source, is_mark);
		*adopted = out.len < source.len;
	}
	if (!code && *adopted)
		code = replace_autoconf(path, &out, err);
	if (!code && *adopted)
		code = mb_fsync_path(directory, err);
	if (!code && *adopted)
		code = reload(directory, err);
	mb_buf_release(&source);
	mb_buf_release(&out);
	free(version);
	free(path);
	return code;
}

enum mb_code
mb_pg_directory_is_adopted(const char *directory, struct mb_error *err)
{
	char *path = mb_path_join(directory, "postgresql.auto.conf");
	struct mb_buf source = {0}, out = {0};
	enum mb_code code = mb_file_read(&source, path, MB_PG_CONF_MAX_BYTES, err);

	if (code == MB_NOT_FOUND)
		code = MB_OK;
	else if (!code)
	{
		copy_settings(&out, &source, is_mark);
		if (out.len < source.len)
		{
			code = mb_fail(err, MB_CONFLICT,
						   "the cluster in \"%s\" was restored by mbackup beside "
						   "its original and has not been adopted",
						   directory);
			mb_error_hint(err, "If it takes the original's place, run \"mbackup adopt\".");
		}
	}
	mb_buf_release(&source);
	mb_buf_release(&out);
	free(path);
	return code;
}

enum mb_code
mb_postgres_adopt(struct mb_component *component, const char *directory, json_t **answer,
				  struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	int64_t deadline_ms = mb_monotonic_ms() + RELOAD_WAIT_MS;
	bool adopted = false;
	enum mb_code code = MB_OK;
	json_t *json;

	if (!directory)
	{
		code = mb_postgres_connect(pg, err);
		directory = pg->server.data_directory;
		if (!code && (!directory || !*directory))
		{
			code = mb_fail(err, MB_DENIED, "the server does not tell its data directory");
			mb_error_hint(err, "Run \"mbackup adopt DIRECTORY\" on its host.");
		}
	}
	if (!code)
		code = adopt_directory(directory, &adopted, err);
	/* A server that we can ask must say so too: the next stream asks it. */
	while (!code && pg->conn && (code = mb_pg_check_adopted(pg->conn, err)) == MB_CONFLICT &&
		   mb_monotonic_ms() < deadline_ms)
	{
		mb_sleep_ms(100);
		code = MB_OK;
	}
	if (code)
		return mb_error_context(err, "could not adopt the cluster");
	json = json_object();
	mb_json_set_str(json, "component", component->name);
	mb_json_set_str(json, "directory", directory);
	mb_json_set_bool(json, "changed", adopted);
	*answer = json_pack("{s:o}", "adopt", json);
	return MB_OK;
}
