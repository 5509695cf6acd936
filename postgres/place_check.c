/*
 * place_check.c - what must not be where a restore goes (see restore_private.h).
 *
 * A delta takes what it finds, so it is strict about what that is: a data directory of the
 * same system (or --force), no server on it, and tablespace directories only where that very
 * data directory leads already: the path of the backup may belong to the original.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/restore_private.h"

#define SMALL_FILE_BYTES 65536

/* -- a running server --------------------------------------------------------------------------------- */

/*
 * A server's working directory is its data directory: found even when postmaster.pid holds a
 * number of another process namespace.  A process that we may not look at is not found; that the
 * processes cannot be listed is a failure.
 */
static enum mb_code
server_below(const char *directory, long *found, struct mb_error *err)
{
	DIR *dir = mb_opendir("/proc");
	enum mb_code code = MB_OK;
	struct dirent *entry;

	*found = 0;
	if (!dir)
		return mb_fail_errno(err, errno, "could not read directory \"/proc\"");
	while (!*found && !(code = mb_dir_next(dir, "/proc", &entry, err)) && entry)
	{
		char path[300], comm[32] = "";
		struct mb_buf text = {0};
		struct mb_error ignored;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cwd", entry->d_name);
		if (!mb_pg_same_directory(path, directory))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (mb_file_read(&text, path, sizeof(comm) - 1, &ignored) == MB_OK)
			snprintf(comm, sizeof(comm), "%s", mb_buf_cstr(&text));
		if (mb_starts_with(comm, "postgres") || mb_starts_with(comm, "postmaster"))
			*found = strtol(entry->d_name, NULL, 10);
		mb_buf_release(&text);
	}
	closedir(dir);
	return code;
}

static enum mb_code
check_not_running(const char *directory, struct mb_error *err)
{
	char *path = mb_path_join(directory, "postmaster.pid");
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, SMALL_FILE_BYTES, err);
	long pid = 0;

	if (code == MB_NOT_FOUND)
		code = MB_OK;
	else if (!code)
	{
		pid = strtol(mb_buf_cstr(&text), NULL, 10);
		if (pid > 0 && kill((pid_t) pid, 0) != 0 && errno == ESRCH)
			pid = 0;
	}
	if (!code && pid <= 0)
		code = server_below(directory, &pid, err);
	if (!code && pid > 0)
	{
		code = mb_fail(err, MB_CONFLICT, "a server is running on \"%s\" (process %ld)", directory,
					   pid);
		mb_error_hint(err,
					  "Stop it first: pg_ctl -D '%s' stop. If no process of Postgres is left, "
					  "remove \"%s\".",
					  directory, path);
	}
	mb_buf_release(&text);
	free(path);
	return code;
}

/* -- what a delta may take -------------------------------------------------------------------------- */

static bool
has(const char *directory, const char *name)
{
	char *path = mb_path_join(directory, name);
	struct stat st;
	bool there = lstat(path, &st) == 0 && S_ISREG(st.st_mode);

	free(path);
	return there;
}

/* The system identifier is what pg_control begins with. */
static enum mb_code
check_system(const struct mb_pg_place *place, const struct mb_restore *restore,
			 struct mb_error *err)
{
	const char *wanted = mb_json_str(restore->commit.meta, "system_id", "");
	char *path = mb_path_join(place->directory, "global/pg_control");
	struct mb_buf bytes = {0};
	char found[MB_WAL_SYSID_TEXT];
	enum mb_code code = mb_file_read(&bytes, path, SMALL_FILE_BYTES, err);

	if (code == MB_NOT_FOUND)
		code = MB_OK; /* a restore that was interrupted: the caller saw its marks */
	else if (!code && bytes.len >= 8)
	{
		snprintf(found, sizeof(found), "%llu", (unsigned long long) mb_get_u64(bytes.data));
		if (strcmp(found, wanted) != 0 && !(restore->wishes->flags & MB_RESTORE_FORCE))
		{
			code = mb_fail(err, MB_CONFLICT,
						   "\"%s\" holds another cluster: its system identifier is %s, that of "
						   "the backup %s",
						   place->directory, found, wanted);
			mb_error_hint(err, "Look twice. With --force it is replaced all the same.");
		}
	}
	mb_buf_release(&bytes);
	free(path);
	return code;
}

static enum mb_code
check_delta(const struct mb_pg_place *place, const struct mb_restore *restore, struct mb_error *err)
{
	if (!has(place->directory, "PG_VERSION") && !has(place->directory, "backup_manifest") &&
		!has(place->directory, MB_PG_PARTIAL_FILE) &&
		!has(place->directory, MB_PG_PARTIAL_FILE ".new"))
	{
		mb_fail(err, MB_CONFLICT, "\"%s\" is not empty and not a data directory of Postgres",
				place->directory);
		return mb_error_hint(err, "--delta replaces what is there, so there must be a PG_VERSION, "
								  "a backup_manifest or a " MB_PG_PARTIAL_FILE
								  ". Move its contents away, or give another directory.");
	}
	return check_system(place, restore, err);
}

/* Is this directory a part of what stands in the data directory: linked, or noted before? */
static bool
belongs(const struct mb_pg_place *place, const char *link, const char *path)
{
	char *full = mb_path_join(place->directory, link);
	char *partial = mb_path_join(place->directory, MB_PG_PARTIAL_FILE);
	struct mb_buf text = {0};
	struct mb_error ignored;
	json_t *json = NULL;
	bool found = mb_pg_same_directory(full, path);
	size_t i;

	if (!found && mb_file_read(&text, partial, SMALL_FILE_BYTES, &ignored) == MB_OK &&
		mb_json_parse(&json, (const char *) text.data, text.len, partial, &ignored) == MB_OK)
	{
		const json_t *list = json_object_get(json, "directories");

		for (i = 0; i < json_array_size(list); i++)
			if (json_is_string(json_array_get(list, i)) &&
				strcmp(json_string_value(json_array_get(list, i)), path) == 0)
				found = true;
		json_decref(json);
	}
	mb_buf_release(&text);
	free(partial);
	free(full);
	return found;
}

/* A tablespace or WAL directory: empty, or in a delta one that is a part of it already. */
static enum mb_code
check_outside(const struct mb_pg_place *place, const char *link, const char *path,
			  struct mb_error *err)
{
	if (place->delta && belongs(place, link, path))
		return MB_OK;
	return mb_restore_directory(path, MB_DIRECTORY_CHECK, place->mode, err);
}

/* May something be written there?  Looks at the directory, or at the first one above that exists. */
static enum mb_code
check_writable(const char *path, struct mb_error *err)
{
	char *at = mb_strdup(path);
	enum mb_code code = MB_OK;
	struct stat st;

	while (stat(at, &st) != 0 && errno == ENOENT && strcmp(at, "/") != 0)
	{
		char *slash = strrchr(at, '/');

		slash[slash == at] = '\0';
	}
	if (access(at, W_OK | X_OK) != 0)
	{
		code = mb_fail_errno(err, errno, "could not write to \"%s\"", at);
		mb_error_hint(err, "Restore as its owner or as root, or into another directory.");
	}
	free(at);
	return code;
}

/* A server that will be stopped before anything is touched is in nobody's way now. */
static enum mb_code
check_server(const struct mb_pg_place *place, struct mb_restore *restore, const char *service,
			 struct mb_error *err)
{
	bool is_stopped = restore->own_place && !restore->is_cleared &&
					  (service || (restore->wishes->flags & MB_RESTORE_HOOK_STOPS));

	if (is_stopped || check_not_running(place->directory, err) == MB_OK)
		return MB_OK;
	if (restore->own_place && err->code == MB_CONFLICT)
		mb_error_hint(err,
					  "Stop it; or say in [%s] how a restore does, such as service = "
					  "pg_ctlcluster:15/main or service = pg_ctl.",
					  restore->component);
	return mb_restore_in_the_way(restore, err);
}

/* What is moved aside must be what one thinks: this cluster, of this version. */
static enum mb_code
check_replaced(const struct mb_pg_place *place, const struct mb_restore *restore,
			   struct mb_error *err)
{
	char *path = mb_path_join(place->directory, "PG_VERSION");
	long wanted = (long) mb_json_int(restore->commit.meta, "version_num", 0) / 10000, found;
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, SMALL_FILE_BYTES, err);

	if (code == MB_NOT_FOUND)
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	else if (!code)
	{
		found = strtol(mb_buf_cstr(&text), NULL, 10);
		if (wanted && found && found != wanted && !(restore->wishes->flags & MB_RESTORE_FORCE))
		{
			code = mb_fail(err, MB_UNSUPPORTED,
						   "\"%s\" is of PostgreSQL %ld, the backup of PostgreSQL %ld",
						   place->directory, found, wanted);
			mb_error_hint(err,
						  "Restore it elsewhere (--component %s=DIRECTORY); or, with a server "
						  "of version %ld installed, add --force.",
						  restore->component, wanted);
		}
		if (!code)
			code = check_system(place, restore, err);
	}
	mb_buf_release(&text);
	free(path);
	return code;
}

/* Of a tablespace directory only the cluster's own name in it is moved aside. */
static enum mb_code
check_cleared_tablespace(const struct mb_pg_place *place, const char *path, struct mb_error *err)
{
	char *own = mb_path_join(path, place->version_dir);
	struct stat st;
	bool there = lstat(own, &st) == 0;

	free(own);
	return there ? mb_fail(err, MB_CONFLICT, "\"%s/%s\" exists", path, place->version_dir) : MB_OK;
}

enum mb_code
mb_pg_place_check(struct mb_pg_place *place, struct mb_restore *restore, const char *service,
				  struct mb_error *err)
{
	bool empty = true, will_clear;
	enum mb_code code = check_server(place, restore, service, err);
	size_t i;

	if (!code && (restore->wishes->flags & MB_RESTORE_DELTA))
		code = mb_dir_is_empty(place->directory, &empty, err);
	place->delta = !code && !empty;
	will_clear = restore->own_place && !restore->is_cleared && !place->delta;
	if (!code && place->delta)
		code = check_delta(place, restore, err);
	else if (!code && will_clear)
		code = check_replaced(place, restore, err);
	else if (!code && mb_restore_directory(place->directory, MB_DIRECTORY_CHECK, place->mode, err))
		code = mb_restore_in_the_way(restore, err);
	for (i = 0; !code && !will_clear && i < place->tablespace_count; i++)
	{
		char *link = mb_asprintf("pg_tblspc/%s", place->tablespaces[i].oid);

		code = restore->own_place && !place->delta
				   ? check_cleared_tablespace(place, place->tablespaces[i].new_path, err)
				   : check_outside(place, link, place->tablespaces[i].new_path, err);
		if (code == MB_CONFLICT)
			mb_error_hint(err, "Give the tablespace another place: --tablespace %s=DIRECTORY.",
						  place->tablespaces[i].old_path);
		free(link);
	}
	if (!code && place->wal_dir && !will_clear)
		code = check_outside(place, "pg_wal", place->wal_dir, err);
	for (i = 0; !code && i < mb_pg_place_root_count(place); i++)
		code = check_writable(mb_pg_place_root(place, i), err);
	return code;
}
