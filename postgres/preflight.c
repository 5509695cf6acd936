/*
 * preflight.c - everything that a restore needs besides its WAL, looked at before anything is
 * touched: packs, databases, destinations, space, programs (see restore_private.h).
 *
 * The manifest is read for sizes, so that each filesystem is asked for what it will really
 * hold: tablespaces stand elsewhere, hollow files take nothing, and a delta first frees what
 * it removes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/restore_private.h"

#define BLOCK_BYTES 4096u
/* Segments that recovery and wal-get keep in pg_wal beside each other. */
#define WAL_SEGMENTS 4
#define MAX_DEPTH 64

struct need
{
	uint64_t bytes;
	uint64_t freed; /* what a delta finds there */
	char *at;       /* the first directory upwards that exists */
	dev_t device;
};

struct preflight
{
	struct mb_restore *restore;
	struct mb_pg_place place;
	struct mb_pg_databases databases;
	struct need needs[MB_PG_MAX_TABLESPACES + 2];
	size_t damaged_files;
};

static enum mb_code
add_sizes(struct preflight *flight, struct mb_error *err)
{
	struct mb_restore *restore = flight->restore;
	struct mb_manifest_reader *reader =
		mb_manifest_reader_new(restore->env->repo, &restore->commit.blocks);
	const struct mb_entry *entry;
	struct mb_buf name = {0};
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		size_t root = 0;

		code = mb_cancel_check(restore->env->cancel, err);
		if (code)
			break;
		if (entry->type != MB_ENTRY_FILE)
			continue;
		flight->damaged_files += entry->damaged_count > 0;
		if (mb_pg_is_hollow(&flight->databases, entry))
			continue;
		mb_pg_place_of(&flight->place, entry->path, entry->path_len, &name, &root);
		flight->needs[root].bytes += (entry->size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	}
	mb_buf_release(&name);
	mb_manifest_reader_free(reader);
	flight->needs[flight->place.wal_dir ? 1 + flight->place.tablespace_count : 0].bytes +=
		WAL_SEGMENTS * (uint64_t) mb_json_int(restore->commit.meta, "wal_segment_size", 0);
	return code;
}

/* Bytes below an open directory; closes it.  What cannot be read frees nothing. */
static uint64_t
used_below(int fd, const char *only, int depth)
{
	DIR *dir = depth < MAX_DEPTH ? fdopendir(fd) : NULL;
	struct dirent *entry;
	uint64_t sum = 0;

	if (!dir)
	{
		close(fd);
		return 0;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			(only && strcmp(entry->d_name, only) != 0) ||
			fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(st.st_mode) && st.st_nlink == 1)
			sum += (uint64_t) st.st_blocks * 512;
		else if (S_ISDIR(st.st_mode))
		{
			int below =
				mb_openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);

			if (below >= 0)
				sum += used_below(below, NULL, depth + 1);
		}
	}
	closedir(dir);
	return sum;
}

static enum mb_code
find_filesystem(struct preflight *flight, size_t root, struct mb_error *err)
{
	struct need *need = &flight->needs[root];
	bool is_tablespace = root > 0 && root <= flight->place.tablespace_count;
	struct stat st;
	int fd;

	need->at = mb_strdup(mb_pg_place_root(&flight->place, root));
	if (flight->place.delta ||
		(flight->restore->own_place && (flight->restore->wishes->flags & MB_RESTORE_UNKEPT)))
	{
		fd = mb_open(need->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (fd >= 0)
			need->freed = used_below(fd, is_tablespace ? flight->place.version_dir : NULL, 0);
	}
	while (stat(need->at, &st) != 0)
	{
		char *slash = strrchr(need->at, '/');

		if (errno != ENOENT || strcmp(need->at, "/") == 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", need->at);
		slash[slash == need->at] = '\0';
	}
	need->device = st.st_dev;
	return MB_OK;
}

/* One filesystem: what all roots on it need, and what it has. */
static enum mb_code
check_filesystem(struct preflight *flight, size_t first, json_t *list, struct mb_error *err)
{
	size_t count = mb_pg_place_root_count(&flight->place), i;
	char want[MB_SIZE_TEXT], have[MB_SIZE_TEXT];
	struct need *need = &flight->needs[first];
	uint64_t needed = 0, available;
	struct statvfs fs;
	json_t *json;

	if (statvfs(need->at, &fs) != 0)
		return mb_fail_errno(err, errno, "could not look at the filesystem of \"%s\"", need->at);
	available = (uint64_t) fs.f_bavail * fs.f_frsize;
	for (i = first; i < count; i++)
		if (flight->needs[i].device == need->device)
		{
			needed += flight->needs[i].bytes;
			available += flight->needs[i].freed;
		}
	json = json_object();
	mb_json_set_str(json, "path", mb_pg_place_root(&flight->place, first));
	mb_json_set_int(json, "needed", (int64_t) needed);
	mb_json_set_int(json, "available", (int64_t) available);
	json_array_append_new(list, json);
	if (needed <= available)
		return MB_OK;
	mb_size_format(want, needed);
	mb_size_format(have, available);
	mb_fail(err, MB_NO_SPACE, "the restore needs %s on the filesystem of \"%s\", %s are available",
			want, mb_pg_place_root(&flight->place, first), have);
	return mb_error_hint(err, "Make room, or give another directory (--component, --tablespace, "
							  "--wal-dir).");
}

static enum mb_code
check_space(struct preflight *flight, struct mb_error *err)
{
	size_t count = mb_pg_place_root_count(&flight->place), i, j;
	json_t *list = json_array();
	enum mb_code code = add_sizes(flight, err);

	json_object_set_new(flight->restore->plan, "space", list);
	for (i = 0; !code && i < count; i++)
		code = find_filesystem(flight, i, err);
	for (i = 0; !code && i < count; i++)
	{
		for (j = 0; j < i && flight->needs[j].device != flight->needs[i].device; j++)
			;
		if (j == i)
			code = check_filesystem(flight, i, list, err);
	}
	return code;
}

/* A server that we are to start must be of the backup's version and have a configuration. */
static enum mb_code
check_start(struct mb_postgres *pg, struct preflight *flight, struct mb_error *err)
{
	const json_t *meta = flight->restore->commit.meta;
	const char *config = mb_json_str(meta, "config_file", ""),
			   *data = mb_json_str(meta, "data_directory", "");
	int major = (int) (mb_json_int(meta, "version_num", 0) / 10000);
	char *bindir;
	enum mb_code code = mb_pg_bindir(pg->base.settings, major, &bindir, err);

	if (code)
		return code;
	mb_json_set_str(flight->restore->plan, "bindir", bindir);
	free(bindir);
	if (!mb_pg_is_scratch(flight->restore) && *config && !mb_starts_with(config, data) &&
		!(flight->place.in_place && access(config, R_OK) == 0))
	{
		mb_fail(err, MB_UNSUPPORTED,
				"the server cannot be started: its configuration was in \"%s\", outside of the "
				"data directory, and is not part of the backup",
				config);
		return mb_error_hint(err, "Restore without --start, bring the configuration, and start it "
								  "as your system does.");
	}
	return MB_OK;
}

/*
 * What root restores is recovered by the server's user, whose restore_command must come as far as
 * ours: asked by running it.  "info" opens all that wal-get opens; that there is no set is no matter.
 */
static enum mb_code
check_fetch(struct preflight *flight, bool starts, struct mb_error *err)
{
	const struct mb_env *env = flight->restore->env;
	const struct mb_pg_place *place = &flight->place;
	const char *argv[] = {env->program, "--config", env->config_path, "info", NULL};
	struct mb_pg_run run = {.argv = argv,
							.change_user = true,
							.uid = place->uid,
							.gid = place->gid,
							.out_fd = -1,
							.fine_status = mb_code_exit_status(MB_NOT_FOUND, 0)};
	struct mb_error why;

	if (!place->change_owner || place->uid == 0 || !env->config_path || !mb_pg_run(&run, &why))
		return MB_OK;
	if (!starts)
	{
		mb_restore_warn(flight->restore,
						"user %u, whom the server belongs to, cannot fetch its WAL until that is "
						"mended: %s",
						(unsigned) place->uid, why.message);
		return MB_OK;
	}
	mb_fail(err, MB_DENIED, "user %u, whom the server belongs to, cannot fetch its WAL",
			(unsigned) place->uid);
	mb_error_detail(err, "%s", why.message);
	return mb_error_hint(err, "Let that user run mbackup and read its configuration, the key and "
							  "the repository; or run mbackup as that user.");
}

static void
write_plan(struct preflight *flight)
{
	struct mb_restore *restore = flight->restore;
	const struct mb_pg_place *place = &flight->place;
	json_t *tablespaces = json_array(), *hollow = json_array();
	size_t i;

	mb_json_set_str(restore->plan, "destination", place->directory);
	mb_json_set_bool(restore->plan, "delta", place->delta);
	mb_json_set_bool(restore->plan, "adopted", place->in_place);
	for (i = 0; i < place->tablespace_count; i++)
		json_array_append_new(tablespaces,
							  json_pack("{s:s, s:s, s:s}", "oid", place->tablespaces[i].oid, "from",
										place->tablespaces[i].old_path, "to",
										place->tablespaces[i].new_path));
	json_object_set_new(restore->plan, "tablespaces", tablespaces);
	if (place->wal_dir)
		mb_json_set_str(restore->plan, "wal_dir", place->wal_dir);
	for (i = 0; i < flight->databases.hollow_count; i++)
		json_array_append_new(hollow, json_string(flight->databases.hollow_names[i]));
	json_object_set_new(restore->plan, "hollow_databases", hollow);
}

static void
warn(struct preflight *flight)
{
	struct mb_restore *restore = flight->restore;
	const struct mb_pg_place *place = &flight->place;

	if (place->delta && !restore->own_place)
		mb_restore_warn(restore,
						"what is in \"%s\" now is lost: it is brought to the backup's state, and "
						"there is no way back",
						place->directory);
	if (flight->damaged_files > 0)
		mb_restore_warn(restore, "%zu file(s) had pages with wrong checksums in the source",
						flight->damaged_files);
	if (!place->change_owner && place->uid != geteuid())
		mb_restore_warn(restore,
						"everything will belong to user %u, in the source it belonged to "
						"%u; only root can keep that",
						(unsigned) geteuid(), (unsigned) place->uid);
	if (flight->databases.hollow_count > 0 &&
		!mb_json_bool(restore->commit.meta, "data_checksums", false))
		mb_restore_warn(restore, "the cluster has no data checksums: WAL of the databases that are "
								 "left out may need pages that are not there; recovery then stops "
								 "with \"WAL contains references to invalid pages\"");
}

enum mb_code
mb_pg_preflight(struct mb_postgres *pg, struct mb_restore *restore, struct mb_error *err)
{
	struct preflight flight = {.restore = restore};
	const char *id = restore->candidates[restore->chosen].id;
	enum mb_code code =
		mb_commit_get(restore->env->repo, restore->component, id, &restore->commit, err);
	const char *service = mb_settings_get(pg->base.settings, "service");
	bool starts = (restore->wishes->flags & MB_RESTORE_START) != 0 || mb_pg_is_scratch(restore) ||
				  (restore->own_place && service);
	size_t i;

	flight.place.fd = flight.place.wal_fd = -1;
	if (!code)
		code = mb_restore_packs(restore, err);
	if (!code)
		code = mb_pg_databases_read(&flight.databases, restore, err);
	if (!code)
		code = mb_pg_place_read(&flight.place, restore, err);
	if (!code)
		code = mb_pg_place_check(&flight.place, restore,
								 mb_settings_get(pg->base.settings, "service"), err);
	if (!code)
		code = check_space(&flight, err);
	if (!code && starts)
		code = check_start(pg, &flight, err);
	if (!code)
		code = check_fetch(&flight, starts, err);
	if (!code)
	{
		write_plan(&flight);
		warn(&flight);
	}
	for (i = 0; i < MB_PG_MAX_TABLESPACES + 2; i++)
		free(flight.needs[i].at);
	mb_pg_databases_release(&flight.databases);
	mb_pg_place_release(&flight.place);
	return code;
}
