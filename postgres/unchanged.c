/* unchanged.c - see unchanged.h. */
#include "postgres/unchanged.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"

#define OLD_ENOUGH_S 60
#define VERIFY_DEFAULT_MS (7LL * 24 * 3600 * 1000)

static const char server_sql[] =
	"SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started,"
	" current_setting('full_page_writes') AS full_page_writes";

/* Tests, which cannot wait a minute for every file, say less. */
static int64_t
old_enough_ns(void)
{
	const char *text = getenv("MBACKUP_TEST_OLD_ENOUGH_S");

	return (text ? strtoll(text, NULL, 10) : OLD_ENOUGH_S) * 1000000000;
}

/* -- probes ------------------------------------------------------------------------------------- */

static int64_t
nanoseconds(const struct timespec *ts)
{
	return (int64_t) ts->tv_sec * 1000000000 + ts->tv_nsec;
}

/* A file in a directory for a moment; without a name where the filesystem can do that. */
static int
open_probe(int root_fd, const char *dir)
{
	int fd = mb_openat(root_fd, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *name;

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	/* A name that backups and the server's start take for a temporary file. */
	name = mb_asprintf("%s/pgsql_tmp_mbackup.%ld", dir, (long) getpid());
	fd = mb_openat(root_fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlinkat(root_fd, name, 0);
	free(name);
	return fd;
}

/* The time of the filesystem that `dir` is on; where we may not write there is no probe, and no rule. */
static void
probe(json_t *probes, int root_fd, const char *dir, dev_t device)
{
	char fsid[32];
	struct stat st;
	int fd;

	snprintf(fsid, sizeof(fsid), "%llu", (unsigned long long) device);
	if (json_object_get(probes, fsid))
		return;
	fd = open_probe(root_fd, dir);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_dev == device)
		mb_json_set_int(probes, fsid, nanoseconds(&st.st_ctim));
	close(fd);
}

static json_t *
probe_all(int root_fd, const struct mb_pg_files *files)
{
	json_t *probes = json_object();
	struct stat st;
	size_t i;

	if (fstat(root_fd, &st) == 0)
		probe(probes, root_fd, ".", st.st_dev);
	for (i = 0; i < files->count; i++)
		if (files->items[i].kind == MB_PG_DIRECTORY)
			probe(probes, root_fd, files->items[i].path, files->items[i].st.st_dev);
	return probes;
}

static void
take_probes(struct mb_pg_unchanged *unchanged, json_t *probes)
{
	const char *key;
	json_t *value;

	json_object_foreach(probes, key, value)
	{
		struct mb_pg_probe *one;

		unchanged->probes = mb_grow(unchanged->probes, &unchanged->probe_cap,
									unchanged->probe_count + 1, sizeof(*unchanged->probes));
		one = &unchanged->probes[unchanged->probe_count++];
		one->fsid = strtoull(key, NULL, 10);
		one->settled_ns = json_integer_value(value) - old_enough_ns();
	}
}

/* -- may the rule be used -------------------------------------------------------------------------- */

/* Compare what was noted now with what the parent noted. */
static bool
is_same_server(const json_t *now, const json_t *parent)
{
	return strcmp(mb_json_str(parent, "directory", ""), mb_json_str(now, "directory", "?")) == 0 &&
		   mb_json_int(now, "postmaster_start", 0) > 0 &&
		   mb_json_int(parent, "postmaster_start", 0) == mb_json_int(now, "postmaster_start", 0) &&
		   mb_json_bool(now, "full_page_writes", false) &&
		   mb_json_bool(parent, "full_page_writes", false);
}

static enum mb_code
note_source(struct mb_postgres *pg, json_t *source, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_postgres_query(pg, &res, server_sql, 0, NULL, err);

	if (code)
		return code;
	mb_json_set_str(source, "directory", pg->server.data_directory);
	mb_json_set_int(source, "postmaster_start", strtoll(mb_pg_field(res, 0, "started"), NULL, 10));
	mb_json_set_bool(source, "full_page_writes",
					 strcmp(mb_pg_field(res, 0, "full_page_writes"), "on") == 0);
	PQclear(res);
	return MB_OK;
}

/* When all files were read last, in the repository's time. */
static void
note_verified(struct mb_pg_unchanged *unchanged, const struct mb_postgres *pg,
			  const struct mb_capture *capture, int64_t now_us)
{
	int64_t every_ms = mb_settings_ms(pg->base.settings, "verify-unchanged", VERIFY_DEFAULT_MS);
	int64_t last_us = unchanged->holds ? mb_json_time(capture->parent->meta, "all_files_read") : 0;

	unchanged->verify = now_us - last_us >= every_ms * 1000 || last_us > now_us;
	mb_json_set_time(capture->meta, "all_files_read",
					 unchanged->holds && !unchanged->verify ? last_us : now_us);
}

enum mb_code
mb_pg_unchanged_begin(struct mb_pg_unchanged *unchanged, struct mb_postgres *pg,
					  struct mb_capture *capture, int root_fd, const struct mb_pg_files *files,
					  struct mb_error *err)
{
	json_t *source = json_object();
	const json_t *before =
		capture->parent ? json_object_get(capture->parent->meta, "source") : NULL;
	enum mb_code code;
	int64_t now_us;

	json_object_set_new(capture->meta, "source", source);
	code = note_source(pg, source, err);
	if (!code)
		code = mb_store_clock(capture->repo->store, &now_us, err);
	if (code)
		return code;
	json_object_set_new(source, "probes", probe_all(root_fd, files));
	/* A backup over the wire notes no source. */
	unchanged->holds = before && is_same_server(source, before);
	if (unchanged->holds)
		take_probes(unchanged, json_object_get(before, "probes"));
	note_verified(unchanged, pg, capture, now_us);
	if (unchanged->holds && unchanged->verify)
		mb_log_info(capture->env->log, "%s: every file is read this time (verify-unchanged)",
					capture->component);
	return MB_OK;
}

void
mb_pg_unchanged_release(struct mb_pg_unchanged *unchanged)
{
	free(unchanged->probes);
	memset(unchanged, 0, sizeof(*unchanged));
}

/* -- one file --------------------------------------------------------------------------------------- */

static bool
is_old_enough(const struct mb_pg_unchanged *unchanged, const struct mb_entry *parent)
{
	size_t i;

	for (i = 0; i < unchanged->probe_count; i++)
	{
		const struct mb_pg_probe *one = &unchanged->probes[i];

		if (one->fsid == parent->fsid)
			return parent->mtime_ns <= one->settled_ns && parent->ctime_ns <= one->settled_ns;
	}
	return false;
}

bool
mb_pg_unchanged_file(const struct mb_pg_unchanged *unchanged, const struct stat *st,
					 const struct mb_entry *parent)
{
	return unchanged->holds && parent && parent->type == MB_ENTRY_FILE &&
		   (parent->flags & MB_ENTRY_CHANGING) == 0 && parent->damaged_count == 0 &&
		   parent->has_crc32c && (uint64_t) st->st_size == parent->size &&
		   nanoseconds(&st->st_mtim) == parent->mtime_ns &&
		   nanoseconds(&st->st_ctim) == parent->ctime_ns && st->st_ino == parent->inode &&
		   st->st_dev == parent->fsid && (st->st_mode & 07777) == parent->mode &&
		   st->st_uid == parent->uid && st->st_gid == parent->gid &&
		   is_old_enough(unchanged, parent);
}
