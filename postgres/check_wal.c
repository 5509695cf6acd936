/* check_wal.c - what `check` says of WAL that waits in the spool, and of WAL that never came. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "postgres/private.h"

/* -- the spool ------------------------------------------------------------------------------- */

/* MB_OK with 0 when there is no such directory: nothing waits. */
static enum mb_code
spooled_bytes(const struct mb_postgres *pg, uint64_t *bytes, struct mb_error *err)
{
	char *path = mb_asprintf("%s/wal-%s", pg->base.env->spool, pg->base.name);
	DIR *dir = mb_opendir(path);
	struct dirent *entry;
	enum mb_code code = MB_OK;

	*bytes = 0;
	if (!dir && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not list \"%s\"", path);
	for (errno = 0; dir && (entry = readdir(dir)) != NULL; errno = 0)
	{
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			*bytes += (uint64_t) st.st_size;
	}
	if (dir && errno)
		code = mb_fail_errno(err, errno, "could not list \"%s\"", path);
	if (dir)
		closedir(dir);
	free(path);
	return code;
}

static void
check_ack(struct mb_postgres *pg, struct mb_checks *checks)
{
	char waiting[MB_SIZE_TEXT];
	struct mb_error err;
	uint64_t bytes;

	if (!pg->ack_spool)
	{
		mb_check_add(checks, MB_CHECK_OK, pg->base.name, "ack", "",
					 "WAL is reported as flushed when it is in the repository");
		return;
	}
	if (!pg->base.env->spool || spooled_bytes(pg, &bytes, &err))
	{
		mb_check_add(checks, MB_CHECK_FAILED, pg->base.name, "ack",
					 "spool = /var/lib/mbackup/spool in [global]",
					 "the spool cannot be looked at%s%s", pg->base.env->spool ? ": " : "",
					 pg->base.env->spool ? err.message : "");
		return;
	}
	mb_size_format(waiting, bytes);
	if (bytes >= pg->spool_limit_bytes)
		mb_check_add(checks, MB_CHECK_FAILED, pg->base.name, "spool",
					 "spool-limit = 8GiB in [postgres]; the log of the stream says why WAL does "
					 "not reach the repository",
					 "the spool is full (%s): no more WAL is read, the server keeps it", waiting);
	mb_check_add(checks, MB_CHECK_WARNING, pg->base.name, "ack", "ack = repository in [postgres]",
				 "ack = spool survives a crash of a process only: with this host's disk what is "
				 "not in the repository yet is lost (%s in the spool now)",
				 waiting);
}

/* -- gaps ------------------------------------------------------------------------------------ */

struct gaps
{
	struct mb_postgres *pg;
	struct mb_checks *checks;
	uint64_t newest_lsn;               /* where the newest backup begins, 0: there is none */
	char system_id[MB_WAL_SYSID_TEXT]; /* its cluster; "" */
	uint32_t timeline;
};

static enum mb_code
look_at_gap(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct gaps *gaps = ctx;
	uint64_t from, to;
	json_t *json;
	enum mb_code code =
		mb_doc_get(gaps->pg->base.env->repo, MB_ROLE_STREAM, info->name, &json, err);

	if (code)
		return code;
	if (strcmp(mb_json_str(json, "system_id", ""), gaps->pg->server.system_id) == 0 &&
		mb_lsn_parse(&from, mb_json_str(json, "from", "")) &&
		mb_lsn_parse(&to, mb_json_str(json, "to", "")) && gaps->newest_lsn < to)
		mb_check_add(gaps->checks, MB_CHECK_WARNING, gaps->pg->base.name, "gap", "mbackup backup",
					 "WAL from " LSN_FMT " to " LSN_FMT
					 " was never received: no restore can cross it, and no backup lies behind it",
					 LSN_ARGS(from), LSN_ARGS(to));
	json_decref(json);
	return MB_OK;
}

static enum mb_code
find_newest(struct gaps *gaps, struct mb_error *err)
{
	struct mb_commit_names names = {0};
	struct mb_commit commit = {0};
	const struct mb_postgres *pg = gaps->pg;
	enum mb_code code = mb_commit_list(pg->base.env->repo, pg->base.name, &names, err);

	if (!code && names.count > 0)
	{
		code = mb_commit_head(pg->base.env->repo, pg->base.name, names.items[names.count - 1].id,
							  &commit, err);
		if (!code && !mb_lsn_parse(&gaps->newest_lsn,
								   mb_json_str(json_object_get(commit.meta, "wal"), "from", "")))
			gaps->newest_lsn = 0;
		snprintf(gaps->system_id, sizeof(gaps->system_id), "%s",
				 code ? "" : mb_json_str(commit.meta, "system_id", ""));
		gaps->timeline = (uint32_t) (code ? 0 : mb_json_int(commit.meta, "timeline", 0));
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	return code;
}

/* Is the server what the newest backup is of, on the same timeline? */
static void
check_history(const struct gaps *gaps)
{
	const struct mb_pg_server *server = &gaps->pg->server;
	const char *name = gaps->pg->base.name;

	if (!gaps->system_id[0])
		return;
	if (strcmp(gaps->system_id, server->system_id) != 0)
	{
		mb_check_add(gaps->checks, MB_CHECK_FAILED, name, "system-id",
					 "mbackup backup --type full, when this is the new cluster; else the right "
					 "conninfo in "
					 "its section",
					 "the server is cluster %s, the newest backup is of cluster %s",
					 server->system_id, gaps->system_id);
		return;
	}
	mb_check_add(gaps->checks, MB_CHECK_OK, name, "system-id", "",
				 "the server is the cluster of the newest backup");
	if (gaps->timeline && gaps->timeline != server->timeline)
		mb_check_add(gaps->checks, MB_CHECK_WARNING, name, "timeline", "mbackup backup",
					 "the server is on timeline %u since it was promoted, the newest backup on %u",
					 server->timeline, gaps->timeline);
	else
		mb_check_add(gaps->checks, MB_CHECK_OK, name, "timeline", "",
					 "the newest backup is of its timeline");
}

static enum mb_code
check_gaps(struct mb_postgres *pg, struct mb_checks *checks, struct mb_error *err)
{
	struct gaps gaps = {.pg = pg, .checks = checks};
	char *prefix = mb_asprintf("streams/%s/gaps/", pg->base.name);
	enum mb_code code = find_newest(&gaps, err);

	if (!code)
	{
		check_history(&gaps);
		code = mb_store_list(pg->base.env->repo->store, prefix, look_at_gap, &gaps, err);
	}
	free(prefix);
	return code;
}

enum mb_code
mb_postgres_check_wal(struct mb_postgres *pg, struct mb_checks *checks, struct mb_error *err)
{
	check_ack(pg, checks);
	return check_gaps(pg, checks, err);
}
