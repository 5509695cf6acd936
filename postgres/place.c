/*
 * place.c - where a restore goes: the data directory, its tablespaces and pg_wal (see
 * restore_private.h); what must not be there is place_check.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/restore_private.h"

/* -- reading ------------------------------------------------------------------------------------ */

static void
find_owner(struct mb_pg_place *place, const json_t *meta)
{
	const char *user = mb_json_str(meta, "user", NULL), *group = mb_json_str(meta, "group", NULL);
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;

	place->change_owner = geteuid() == 0;
	place->mode = (mode_t) mb_json_int(meta, "mode", 0700) & 0750;
	if (user)
		getpwnam_r(user, &pw, buf, sizeof(buf), &pw_found);
	place->uid = pw_found ? pw_found->pw_uid : (uid_t) mb_json_int(meta, "uid", 0);
	if (group)
		getgrnam_r(group, &gr, buf, sizeof(buf), &gr_found);
	place->gid = gr_found ? gr_found->gr_gid : (gid_t) mb_json_int(meta, "gid", 0);
}

/* "--tablespace OLD=NEW" for one path, "--tablespace-all", or the path itself. */
static char *
remapped(const struct mb_restore_wishes *wishes, const char *path, const char *oid)
{
	size_t len = strlen(path), i;

	for (i = 0; i < wishes->tablespace_count; i++)
		if (strncmp(wishes->tablespaces[i], path, len) == 0 && wishes->tablespaces[i][len] == '=')
			return mb_strdup(wishes->tablespaces[i] + len + 1);
	return wishes->tablespace_all ? mb_path_join(wishes->tablespace_all, oid) : mb_strdup(path);
}

static enum mb_code
check_tablespace_options(const struct mb_pg_place *place, const struct mb_restore_wishes *wishes,
						 struct mb_error *err)
{
	size_t i, t;

	for (i = 0; i < wishes->tablespace_count; i++)
	{
		bool used = false;

		for (t = 0; t < place->tablespace_count; t++)
			used |= mb_starts_with(wishes->tablespaces[i], place->tablespaces[t].old_path) &&
					wishes->tablespaces[i][strlen(place->tablespaces[t].old_path)] == '=';
		if (!used)
			return mb_fail(err, MB_CONFIG, "--tablespace \"%s\" names no tablespace of this backup",
						   wishes->tablespaces[i]);
	}
	return MB_OK;
}

static enum mb_code
read_tablespaces(struct mb_pg_place *place, const struct mb_restore *restore, struct mb_error *err)
{
	const json_t *list = json_object_get(restore->commit.meta, "tablespaces");
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
	{
		const char *path = mb_json_str(json_array_get(list, i), "path", "");
		struct mb_pg_tablespace *tablespace;

		if (*path != '/')
			continue; /* in place, below the data directory */
		if (place->tablespace_count == MB_PG_MAX_TABLESPACES)
			return mb_fail(err, MB_UNSUPPORTED, "more than %d tablespaces", MB_PG_MAX_TABLESPACES);
		tablespace = &place->tablespaces[place->tablespace_count++];
		tablespace->fd = -1;
		snprintf(tablespace->oid, sizeof(tablespace->oid), "%s",
				 mb_json_str(json_array_get(list, i), "oid", ""));
		tablespace->old_path = mb_strdup(path);
		tablespace->new_path = remapped(restore->wishes, path, tablespace->oid);
		if (*tablespace->new_path != '/')
			return mb_fail(err, MB_CONFIG,
						   "the new place of tablespace \"%s\" must be an absolute path", path);
	}
	return check_tablespace_options(place, restore->wishes, err);
}

static char *
absolute(const char *path)
{
	char here[PATH_MAX];

	if (*path == '/' || !getcwd(here, sizeof(here)))
		return mb_strdup(path);
	return mb_path_join(here, path);
}

bool
mb_pg_same_directory(const char *a, const char *b)
{
	struct stat st_a, st_b;

	return stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && st_a.st_dev == st_b.st_dev &&
		   st_a.st_ino == st_b.st_ino;
}

/* No two of them may be one, or lie in each other. */
static enum mb_code
check_apart(const struct mb_pg_place *place, struct mb_error *err)
{
	size_t count = mb_pg_place_root_count(place), i, j;

	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++)
		{
			const char *a = mb_pg_place_root(place, i), *b = mb_pg_place_root(place, j);
			size_t len = strlen(a);

			if (i != j && ((strncmp(a, b, len) == 0 && (b[len] == '/' || b[len] == '\0')) ||
						   mb_pg_same_directory(a, b)))
				return mb_fail(err, MB_CONFIG,
							   "\"%s\" and \"%s\" are needed for different things: one lies in "
							   "the other",
							   a, b);
		}
	return MB_OK;
}

/*
 * As --wal-dir says; else as it was planned; else where pg_wal leads in the place that is
 * replaced: whoever gave the WAL a disk of its own wants it there again.
 */
static void
find_wal_dir(struct mb_pg_place *place, const struct mb_restore *restore)
{
	const char *wanted = restore->wishes->wal_dir;
	char target[PATH_MAX], *link;
	ssize_t len = -1;

	if (!wanted)
		wanted = mb_json_str(restore->plan, "wal_dir", NULL);
	if (wanted)
	{
		place->wal_dir = mb_strdup(wanted);
		return;
	}
	if (!restore->own_place || restore->is_cleared)
		return;
	link = mb_path_join(place->directory, "pg_wal");
	len = readlink(link, target, sizeof(target) - 1);
	if (len > 0)
	{
		target[len] = '\0';
		if (target[0] == '/')
			place->wal_dir = mb_strdup(target);
	}
	free(link);
}

enum mb_code
mb_pg_place_read(struct mb_pg_place *place, const struct mb_restore *restore, struct mb_error *err)
{
	const json_t *meta = restore->commit.meta;
	const char *own_place = mb_json_str(meta, "data_directory", NULL);
	const char *wanted = restore->destination ? restore->destination : own_place;
	enum mb_code code;

	memset(place, 0, sizeof(*place));
	place->fd = place->wal_fd = -1;
	if (!wanted || !*wanted)
		return mb_fail(err, MB_CONFIG, "the backup does not say where its data directory was");
	place->directory = absolute(wanted);
	place->in_place = own_place && (strcmp(place->directory, own_place) == 0 ||
									mb_pg_same_directory(place->directory, own_place));
	snprintf(place->version_dir, sizeof(place->version_dir), "PG_%lld_%lld",
			 (long long) mb_json_int(meta, "version_num", 0) / 10000,
			 (long long) mb_json_int(meta, "catalog_version", 0));
	find_owner(place, meta);
	code = read_tablespaces(place, restore, err);
	if (!code)
		find_wal_dir(place, restore);
	if (!code && place->wal_dir)
	{
		if (*place->wal_dir != '/')
			code =
				mb_fail(err, MB_CONFIG, "the directory of pg_wal, \"%s\", must be an absolute path",
						place->wal_dir);
	}
	if (!code)
		code = check_apart(place, err);
	return code;
}

void
mb_pg_place_release(struct mb_pg_place *place)
{
	size_t i;

	for (i = 0; i < place->tablespace_count; i++)
	{
		free(place->tablespaces[i].old_path);
		free(place->tablespaces[i].new_path);
		if (place->tablespaces[i].fd >= 0)
			close(place->tablespaces[i].fd);
	}
	if (place->directory && place->fd >= 0)
		close(place->fd);
	if (place->wal_dir && place->wal_fd >= 0)
		close(place->wal_fd);
	free(place->directory);
	free(place->wal_dir);
	memset(place, 0, sizeof(*place));
}

/* -- roots ---------------------------------------------------------------------------------------- */

size_t
mb_pg_place_root_count(const struct mb_pg_place *place)
{
	return 1 + place->tablespace_count + (place->wal_dir != NULL);
}

const char *
mb_pg_place_root(const struct mb_pg_place *place, size_t root)
{
	if (root == 0)
		return place->directory;
	return root <= place->tablespace_count ? place->tablespaces[root - 1].new_path : place->wal_dir;
}

int
mb_pg_place_root_fd(const struct mb_pg_place *place, size_t root)
{
	if (root == 0)
		return place->fd;
	return root <= place->tablespace_count ? place->tablespaces[root - 1].fd : place->wal_fd;
}

enum mb_pg_where
mb_pg_place_of(const struct mb_pg_place *place, const char *path, size_t len, struct mb_buf *name,
			   size_t *root)
{
	static const char links[] = "pg_tblspc/", wal[] = "pg_wal";
	size_t i;

	if (place->wal_dir && len >= strlen(wal) && memcmp(path, wal, strlen(wal)) == 0 &&
		(len == strlen(wal) || path[strlen(wal)] == '/'))
	{
		if (len <= strlen(wal) + 1)
			return MB_PG_LINKED;
		mb_buf_reset(name);
		mb_buf_put(name, path + strlen(wal) + 1, len - strlen(wal) - 1);
		*root = 1 + place->tablespace_count;
		return MB_PG_ELSEWHERE;
	}
	if (len <= strlen(links) || memcmp(path, links, strlen(links)) != 0)
		return MB_PG_HERE;
	for (i = 0; i < place->tablespace_count; i++)
	{
		const char *oid = place->tablespaces[i].oid;
		size_t prefix = strlen(links) + strlen(oid);

		if (len < prefix || memcmp(path + strlen(links), oid, strlen(oid)) != 0)
			continue;
		if (len == prefix)
			return MB_PG_LINKED;
		if (path[prefix] != '/')
			continue;
		mb_buf_reset(name);
		mb_buf_put(name, path + prefix + 1, len - prefix - 1);
		*root = 1 + i;
		return MB_PG_ELSEWHERE;
	}
	return MB_PG_HERE;
}

/* -- opening ------------------------------------------------------------------------------------------ */

static enum mb_code
open_root(const struct mb_pg_place *place, struct mb_restore *restore, const char *path, int *fd,
		  struct mb_error *err)
{
	enum mb_code code = MB_OK;
	bool empty = true;

	/* Beside what is kept, or what is another version's, it need not be made. */
	if (place->delta || restore->own_place)
		code = mb_dir_is_empty(path, &empty, err);
	if (!code && empty)
	{
		code = mb_restore_directory(path, MB_DIRECTORY_CREATE, place->mode, err);
		/* A delta that fails is run again; nothing of it is taken back. */
		if (!code && !place->delta)
			mb_restore_made(restore, path);
	}
	if (code)
		return code;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return mb_fail_errno(err, errno, "could not open directory \"%s\"", path);
	if (fchmod(*fd, place->mode) != 0)
		return mb_fail_errno(err, errno, "could not set the mode of \"%s\"", path);
	if (place->change_owner && fchown(*fd, place->uid, place->gid) != 0)
		return mb_fail_errno(err, errno, "could not set the owner of \"%s\"", path);
	return MB_OK;
}

enum mb_code
mb_pg_place_open(struct mb_pg_place *place, struct mb_restore *restore, struct mb_error *err)
{
	enum mb_code code = open_root(place, restore, place->directory, &place->fd, err);
	size_t i;

	for (i = 0; !code && i < place->tablespace_count; i++)
		code = open_root(place, restore, place->tablespaces[i].new_path, &place->tablespaces[i].fd,
						 err);
	if (!code && place->wal_dir)
		code = open_root(place, restore, place->wal_dir, &place->wal_fd, err);
	return code;
}
