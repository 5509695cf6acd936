/* check_server.c - archive_command, damage, slots, the extension, and the host: see check_private.h. */
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/check.h"
#include "postgres/check_private.h"

/* A slot that is cut off earlier than this does not outlive a short outage of the stream. */
#define SLOT_LIMIT_MB 1024

static const char state_sql[] =
	"SELECT current_setting('archive_mode') AS archive_mode,"
	" current_setting('archive_command') AS archive_command,"
	" coalesce(current_setting('archive_library', true), '') AS archive_library,"
	" (last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR"
	"  last_failed_time > last_archived_time)) AS archive_fails,"
	" coalesce(last_failed_wal, '') AS failed_wal,"
	" (SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database) AS damaged,"
	" (SELECT coalesce(min(datname), current_database()) FROM pg_stat_database"
	"  WHERE checksum_failures > 0) AS damaged_database,"
	" (SELECT count(*) FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r') AS unlogged,"
	" (SELECT min(c.oid::regclass::text) FROM pg_class c"
	"  WHERE relpersistence = 'u' AND relkind = 'r') AS unlogged_table,"
	" (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS slot_mb,"
	" (SELECT min(slot_name) FROM pg_replication_slots WHERE NOT active AND NOT temporary"
	"  AND slot_name <> $1 AND restart_lsn IS NOT NULL) AS idle_slot,"
	" (SELECT extversion FROM pg_extension WHERE extname = 'mbackup') AS extension,"
	" (SELECT default_version FROM pg_available_extensions WHERE name = 'mbackup') AS installed"
	" FROM pg_stat_archiver";

/* -- archive_command --------------------------------------------------------------------------- */

/* The command as the server runs it for one segment. */
static char *
command_for(const char *command, const char *segment)
{
	struct mb_buf out = {0};
	char *made;

	for (; *command; command++)
		if (command[0] == '%' && command[1] == 'p')
			mb_buf_printf(&out, "pg_wal/%s", segment), command++;
		else if (command[0] == '%' && command[1] == 'f')
			mb_buf_put_str(&out, segment), command++;
		else if (command[0] == '%' && command[1] == '%')
			mb_buf_put_u8(&out, '%'), command++;
		else
			mb_buf_put_u8(&out, (uint8_t) *command);
	made = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return made;
}

static void
say_failing(struct checker *checker, const char *command, const char *segment)
{
	char *data = mb_shell_word(checker->pg->server.data_directory);
	char *run = command_for(command, segment);

	mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "archive-failing",
					 mb_asprintf("cd %s && %s", data, run),
					 "archive_command fails since segment %s: the server keeps all WAL from there",
					 segment);
	free(run);
	free(data);
}

static void
say_empty(struct checker *checker)
{
	const struct mb_env *env = checker->pg->base.env;
	char *sql = mb_asprintf("ALTER SYSTEM SET archive_command = '%s --config %s wal-push %%p'",
							env->program, env->config_path ? env->config_path : "CONFIG");

	mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "archive-empty",
					 mb_pg_fix(checker, sql, MB_PG_RELOAD_SQL),
					 "archive_mode is on without an archive_command: the server keeps all WAL");
	free(sql);
}

/*
 * A command that is not there ends the archiver, which counts no failure then: what waits for it for a
 * minute tells.  Empty for a user who may not look.
 */
static char *
waiting_segment(struct checker *checker)
{
	struct mb_error ignored;
	char *segment = NULL;

	mb_error_clear(&ignored);
	if (mb_pg_value(checker->pg->conn, &segment,
					"SELECT left(min(name), 24) FROM pg_ls_archive_statusdir()"
					" WHERE name LIKE '%.ready' AND modification < now() - interval '1 min'",
					0, NULL, &ignored))
		return mb_strdup("");
	return segment;
}

static void
check_archive(struct checker *checker, const PGresult *state)
{
	const char *command = mb_pg_field(state, 0, "archive_command");
	bool is_on = strcmp(mb_pg_field(state, 0, "archive_mode"), "off") != 0;
	bool has_library = *mb_pg_field(state, 0, "archive_library") != '\0';
	/* What the server prints for an empty one. */
	bool is_empty = !*command || strcmp(command, "(disabled)") == 0;
	char *waiting = waiting_segment(checker);

	if (is_on && is_empty && !has_library)
		say_empty(checker);
	else
		mb_pg_found_ok(checker, "archive-empty", is_on ? "WAL is archived" : "archive_mode is off");
	if (is_on && !is_empty && mb_pg_field(state, 0, "archive_fails")[0] == 't')
		say_failing(checker, command, mb_pg_field(state, 0, "failed_wal"));
	else if (is_on && !is_empty && *waiting)
		say_failing(checker, command, waiting);
	else
		mb_pg_found_ok(checker, "archive-failing", "no archive_command fails");
	if (is_on && !is_empty && !strstr(command, "mbackup") && strcmp(command, "/bin/true") != 0)
		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "archive-other",
						 mb_pg_fix(checker, "ALTER SYSTEM SET archive_command = '/bin/true'",
								   MB_PG_RELOAD_SQL),
						 "archive_command is another tool's (%.200s): see which one you rely on",
						 command);
	else
		mb_pg_found_ok(checker, "archive-other", "no other tool archives");
	free(waiting);
}

/* -- damage and what does not come back -------------------------------------------------------- */

static void
check_data(struct checker *checker, const PGresult *state)
{
	const char *table = mb_pg_field(state, 0, "unlogged_table");
	const char *database = mb_pg_field(state, 0, "damaged_database");

	if (strcmp(mb_pg_field(state, 0, "damaged"), "0") != 0)
		mb_check_add_fix(checker->checks, MB_CHECK_FAILED, checker->pg->base.name,
						 "checksum-failures",
						 mb_asprintf("pg_amcheck -d %s names what is damaged; when it is mended: "
									 "psql -d %s -c \"SELECT pg_stat_reset()\"",
									 database, database),
						 "the server has read %s damaged pages, in database \"%s\"",
						 mb_pg_field(state, 0, "damaged"), database);
	else
		mb_pg_found_ok(checker, "checksum-failures", "the server has read no damaged page");
	if (*table)
	{
		char *sql = mb_asprintf("ALTER TABLE %s SET LOGGED", table);

		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "unlogged",
						 mb_pg_fix(checker, sql, NULL),
						 "%s unlogged tables in database \"%s\" are empty after a restore, %s "
						 "among "
						 "them",
						 mb_pg_field(state, 0, "unlogged"), PQdb(checker->pg->conn), table);
		free(sql);
	}
	else
		mb_pg_found_ok(checker, "unlogged", "every table of this database comes back");
}

/* -- slots and the extension --------------------------------------------------------------------- */

static void
check_slots(struct checker *checker, const PGresult *state)
{
	long long limit_mb = strtoll(mb_pg_field(state, 0, "slot_mb"), NULL, 10);
	const char *idle = mb_pg_field(state, 0, "idle_slot");

	if (limit_mb >= 0 && limit_mb < SLOT_LIMIT_MB)
		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "slot-limit",
						 mb_pg_fix(checker, "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'",
								   MB_PG_RELOAD_SQL),
						 "max_slot_wal_keep_size is %lld MB: a short outage of the stream leaves a "
						 "gap",
						 limit_mb);
	else
		mb_pg_found_ok(checker, "slot-limit",
					   limit_mb < 0 ? "a slot keeps WAL as long as there is room"
									: "a slot keeps WAL enough");
	if (*idle)
	{
		char *sql = mb_asprintf("SELECT pg_drop_replication_slot('%s')", idle);

		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "slot-other",
						 mb_pg_fix(checker, sql, NULL),
						 "nobody reads replication slot \"%s\": the server keeps WAL for it until "
						 "its disk is full",
						 idle);
		free(sql);
	}
	else
		mb_pg_found_ok(checker, "slot-other", "no other slot holds WAL back");
}

static void
check_extension(struct checker *checker, const PGresult *state)
{
	const char *has = mb_pg_field(state, 0, "extension");
	const char *could = mb_pg_field(state, 0, "installed");

	if (!*has || !*could)
		return;
	if (strcmp(has, could) != 0)
		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "extension",
						 mb_pg_fix(checker, "ALTER EXTENSION mbackup UPDATE", NULL),
						 "extension mbackup is of version %s, %s is installed", has, could);
	else
		mb_pg_found_ok(checker, "extension",
					   "the extension mbackup is of the version that is installed");
}

static void
check_adopted(struct checker *checker)
{
	struct mb_error why;

	mb_error_clear(&why);
	if (mb_pg_check_adopted(checker->pg->conn, &why))
	{
		char *data = mb_shell_word(checker->pg->server.data_directory);

		mb_check_add_fix(checker->checks, MB_CHECK_FAILED, checker->pg->base.name, "restored",
						 mb_asprintf("mbackup adopt %s", data), "%s", why.message);
		free(data);
	}
	else
		mb_pg_found_ok(checker, "restored", "it is no copy that waits to be adopted");
}

enum mb_code
mb_pg_check_server(struct checker *checker, struct mb_error *err)
{
	PGresult *state;
	enum mb_code code =
		mb_pg_query(checker->pg->conn, &state, state_sql, 1, &checker->pg->slot, err);

	if (code)
		return mb_error_context(err, "could not examine the server");
	check_archive(checker, state);
	check_data(checker, state);
	check_slots(checker, state);
	check_extension(checker, state);
	check_adopted(checker);
	PQclear(state);
	return MB_OK;
}

/* -- the configuration and the host ------------------------------------------------------------- */

void
mb_pg_check_conninfo(const struct mb_postgres *pg, struct mb_checks *checks)
{
	PQconninfoOption *options = PQconninfoParse(pg->params.conninfo, NULL), *option;
	bool has_password = false;

	for (option = options; option && option->keyword; option++)
		if (strcmp(option->keyword, "password") == 0 && option->val && *option->val)
			has_password = true;
	PQconninfoFree(options);
	if (has_password)
		mb_check_add_fix(checks, MB_CHECK_WARNING, pg->base.name, "password",
						 mb_asprintf("password-file = /etc/mbackup/%s-password in its section, and "
									 "no "
									 "password= in conninfo",
									 pg->base.name),
						 "conninfo holds the password");
	else
		mb_check_add(checks, MB_CHECK_OK, pg->base.name, "password", "",
					 "no password stands in conninfo");
}

static void
check_user(struct checker *checker, int root_fd)
{
	const struct mb_env *env = checker->pg->base.env;
	const struct passwd *owner;
	struct stat st;

	if (fstat(root_fd, &st) != 0 || geteuid() != 0 || st.st_uid == 0)
	{
		mb_pg_found_ok(checker, "user", "what mbackup makes, the server's user can read");
		return;
	}
	owner = getpwuid(st.st_uid);
	mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "user",
					 mb_asprintf("sudo -u %s %s --config %s check",
								 owner ? owner->pw_name : "postgres", env->program,
								 env->config_path ? env->config_path : "CONFIG"),
					 "mbackup runs as root, the server does not: it cannot read what root makes");
}

static void
check_wal_disk(struct checker *checker, int root_fd)
{
	uint64_t want = strtoull(mb_pg_field(checker->facts, 0, "max_wal_mb"), NULL, 10) << 20, have;
	char have_text[MB_SIZE_TEXT], want_text[MB_SIZE_TEXT];
	const char *data = checker->pg->server.data_directory;
	int fd = mb_openat(root_fd, "pg_wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	struct statvfs fs;
	bool known = fd >= 0 && fstatvfs(fd, &fs) == 0;

	if (fd >= 0)
		close(fd);
	if (!known)
		return;
	have = (uint64_t) fs.f_bavail * fs.f_frsize;
	mb_size_format(have_text, have);
	mb_size_format(want_text, want);
	if (have < want)
		mb_check_add_fix(checker->checks, MB_CHECK_WARNING, checker->pg->base.name, "wal-disk",
						 mb_pg_fix(checker, "ALTER SYSTEM SET max_wal_size = '1GB'",
								   MB_PG_RELOAD_SQL),
						 "%s are free for \"%s/pg_wal\", which grows to %s (max_wal_size)",
						 have_text, data, want_text);
	else
		mb_check_add(checker->checks, MB_CHECK_OK, checker->pg->base.name, "wal-disk", "",
					 "%s are free for WAL", have_text);
}

void
mb_pg_check_host(struct checker *checker, int root_fd)
{
	check_user(checker, root_fd);
	check_wal_disk(checker, root_fd);
	mb_check_same_disk(checker->pg->base.env, checker->pg->server.data_directory, checker->checks);
}
