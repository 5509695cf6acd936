/*
 * base_backup.c - a base backup by reading the data directory on this host: the session.
 *
 * pg_backup_start(fast) and _stop on a session that is held and pinged; between them
 * copy_files.c reads.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "postgres/backup_label.h"
#include "postgres/copy_files.h"
#include "postgres/dialect.h"
#include "postgres/method.h"
#include "postgres/page_checksum.h"

#define PING_MS 10000
/* A standby's WAL may be a moment behind in the repository. */
#define WAL_FROM_WAIT_MS 15000

/* -- the session ---------------------------------------------------------------------------------- */

struct pinger
{
	struct mb_pg_copy *copy;
	pthread_t thread;
	atomic_bool stop;
};

/* SELECT 1 now and then, so that nothing between us and the server forgets the session. */
static void *
ping_main(void *arg)
{
	struct pinger *pinger = arg;
	struct mb_postgres *pg = pinger->copy->pg;
	int64_t last = mb_monotonic_ms();

	while (!atomic_load(&pinger->stop))
	{
		struct mb_error ignored;

		mb_sleep_ms(10);
		if (mb_monotonic_ms() - last < PING_MS)
			continue;
		last = mb_monotonic_ms();
		pthread_mutex_lock(&pg->lock);
		if (mb_pg_exec(pg->conn, "SELECT 1", &ignored))
			atomic_store(&pinger->copy->session_lost, true);
		pthread_mutex_unlock(&pg->lock);
	}
	return NULL;
}

static int64_t
server_time_us(PGconn *conn)
{
	struct mb_error ignored;
	char *text;
	int64_t us;

	if (mb_pg_value(conn, &text, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
					0, NULL, &ignored))
		return mb_time_now_us();
	us = strtoll(text, NULL, 10);
	free(text);
	return us;
}

static enum mb_code
start_backup(struct mb_pg_copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	const struct mb_pg_dialect *dialect = mb_pg_dialect_of(pg->server.version);
	char *label = mb_asprintf("mbackup %s", copy->capture->id);
	const char *params[] = {label};
	PGresult *res;
	enum mb_code code;

	mb_progress_phase(copy->capture->progress, "waiting for a checkpoint");
	mb_json_set_time(copy->capture->meta, "start_time", server_time_us(pg->conn));
	code = mb_pg_query(pg->conn, &res, dialect->backup_start, 1, params, err);
	free(label);
	if (code)
	{
		mb_error_context(err, "could not start a base backup");
		if (code == MB_DENIED)
			mb_error_hint(err, "GRANT EXECUTE ON FUNCTION %s, %s to the user.",
						  dialect->backup_start_function, dialect->backup_stop_function);
		return code;
	}
	if (!mb_lsn_parse(&pg->start_lsn, mb_pg_field(res, 0, "lsn")))
		code = mb_fail(err, MB_IO, "the server gave no start LSN");
	PQclear(res);
	return code;
}

static enum mb_code
stop_backup(struct mb_pg_copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	struct mb_backup_label parsed;
	const char *label, *map;
	PGresult *res;
	enum mb_code code =
		mb_pg_query(pg->conn, &res, mb_pg_dialect_of(pg->server.version)->backup_stop, 0, NULL,
					err);

	if (code)
		return mb_error_context(err, "could not finish the base backup");
	label = mb_pg_field(res, 0, "labelfile");
	map = mb_pg_field(res, 0, "spcmapfile");
	if (!mb_lsn_parse(&pg->stop_lsn, mb_pg_field(res, 0, "lsn")) ||
		!mb_backup_label_parse(&parsed, label) || parsed.start_lsn != pg->start_lsn)
		code = mb_fail(err, MB_IO, "the server's backup label makes no sense");
	else
		pg->backup_timeline = parsed.timeline;
	if (!code)
		code = mb_capture_data(copy->capture, "backup_label", label, strlen(label), err);
	if (!code && *map)
		code = mb_capture_data(copy->capture, "tablespace_map", map, strlen(map), err);
	PQclear(res);
	return code;
}
/* -- all of it ---------------------------------------------------------------------------------------------- */

static void
name_owner(struct mb_pg_copy *copy)
{
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;
	struct stat st;

	if (fstat(copy->root_fd, &st) != 0)
		return;
	mb_json_set_int(copy->capture->meta, "mode", st.st_mode & 07777);
	mb_json_set_int(copy->capture->meta, "uid", st.st_uid);
	mb_json_set_int(copy->capture->meta, "gid", st.st_gid);
	if (getpwuid_r(st.st_uid, &pw, buf, sizeof(buf), &pw_found) == 0 && pw_found)
	{
		snprintf(copy->user_text, sizeof(copy->user_text), "%s", pw_found->pw_name);
		copy->user = copy->user_text;
		mb_json_set_str(copy->capture->meta, "user", copy->user);
	}
	if (getgrgid_r(st.st_gid, &gr, buf, sizeof(buf), &gr_found) == 0 && gr_found)
	{
		snprintf(copy->group_text, sizeof(copy->group_text), "%s", gr_found->gr_name);
		copy->group = copy->group_text;
		mb_json_set_str(copy->capture->meta, "group", copy->group);
	}
}

static enum mb_code
copy_under_session(struct mb_pg_copy *copy, struct mb_error *err)
{
	struct pinger pinger = {.copy = copy};
	enum mb_code code;

	if (pthread_create(&pinger.thread, NULL, ping_main, &pinger) != 0)
		MB_BUG("could not create a thread");
	code = mb_pg_copy_files(copy, err);
	if (!code)
		code = mb_pg_copy_control(copy, err);
	atomic_store(&pinger.stop, true);
	pthread_join(pinger.thread, NULL);
	return code;
}

/* For a restore of some of them: names become oids. */
static enum mb_code
list_databases(struct mb_pg_copy *copy, struct mb_error *err)
{
	json_t *databases = json_array();
	PGresult *res;
	enum mb_code code;
	int i;

	json_object_set_new(copy->capture->meta, "databases", databases);
	code = mb_pg_query(copy->pg->conn, &res,
					   "SELECT oid::text, datname FROM pg_database ORDER BY 2", 0, NULL, err);
	if (code)
		return code;
	for (i = 0; i < PQntuples(res); i++)
	{
		json_t *one = json_object();

		mb_json_set_int(one, "oid", strtoll(mb_pg_field(res, i, "oid"), NULL, 10));
		mb_json_set_str(one, "name", mb_pg_field(res, i, "datname"));
		json_array_append_new(databases, one);
	}
	PQclear(res);
	return MB_OK;
}

static enum mb_code
describe_backup(struct mb_pg_copy *copy, struct mb_error *err)
{
	static const char tablespaces_sql[] =
		"SELECT oid::text, pg_tablespace_location(oid) AS path FROM pg_tablespace"
		" WHERE pg_tablespace_location(oid) <> ''";
	struct mb_postgres *pg = copy->pg;
	json_t *meta = copy->capture->meta;
	json_t *tablespaces = json_array();
	PGresult *res;
	enum mb_code code;
	char *text;
	int i;

	mb_json_set_str(meta, "version", pg->server.version_text);
	mb_json_set_int(meta, "version_num", pg->server.version);
	mb_json_set_str(meta, "system_id", pg->server.system_id);
	mb_json_set_int(meta, "catalog_version", pg->server.catalog_version);
	mb_json_set_int(meta, "wal_segment_size", pg->server.segment_size);
	mb_json_set_int(meta, "page_size", pg->server.block_size);
	mb_json_set_bool(meta, "data_checksums", pg->server.checksums);
	mb_json_set_str(meta, "data_directory", pg->server.data_directory);
	mb_json_set_str(meta, "config_file", pg->server.config_file);
	mb_json_set_int(meta, "timeline", pg->backup_timeline);
	mb_json_set_lsn(meta, "start_lsn", pg->start_lsn);
	mb_json_set_lsn(meta, "stop_lsn", pg->stop_lsn);
	mb_json_set_time(meta, "stop_time", server_time_us(pg->conn));
	json_object_set_new(meta, "tablespaces", tablespaces);
	code = mb_pg_query(pg->conn, &res, tablespaces_sql, 0, NULL, err);
	if (code)
		return code;
	for (i = 0; i < PQntuples(res); i++)
	{
		json_t *one = json_object();

		mb_json_set_str(one, "oid", mb_pg_field(res, i, "oid"));
		mb_json_set_str(one, "path", mb_pg_field(res, i, "path"));
		json_array_append_new(tablespaces, one);
	}
	PQclear(res);
	code = mb_pg_value(pg->conn, &text, "SELECT txid_snapshot_xmax(txid_current_snapshot())", 0,
					   NULL, err);
	if (code)
		return code;
	mb_json_set_int(meta, "next_xid", strtoll(text, NULL, 10));
	free(text);
	return list_databases(copy, err);
}

/* A standby must be one of this very cluster. */
static enum mb_code
check_standby(const struct mb_postgres *pg, const struct mb_postgres *standby, struct mb_error *err)
{
	if (strcmp(pg->server.system_id, standby->server.system_id) != 0)
		return mb_fail(err, MB_CONFIG,
					   "the standby is of another cluster (system %s instead of %s)",
					   standby->server.system_id, pg->server.system_id);
	if (!standby->server.in_recovery)
	{
		mb_fail(err, MB_CONFLICT, "the server that \"standby\" leads to is not a standby");
		return mb_error_hint(err, "Was it promoted?  Point conninfo at the primary and standby at "
								  "a server that follows it.");
	}
	return MB_OK;
}

enum mb_code
mb_postgres_check_source(const struct mb_postgres *pg, const struct mb_postgres *from,
						 struct mb_error *err)
{
	if (pg->server.in_recovery)
	{
		mb_fail(err, MB_UNSUPPORTED, "the server is a standby, where no cut can be made");
		return mb_error_hint(err, "Point conninfo at the primary, and standby = CONNINFO at the "
								  "server whose files are to be read.");
	}
	if (from->server.block_size != MB_PG_PAGE_BYTES)
		return mb_fail(err, MB_UNSUPPORTED, "the server has pages of %u bytes instead of 8192",
					   from->server.block_size);
	return from == pg ? MB_OK : check_standby(pg, from, err);
}

/* Before anything is read, somebody must be receiving WAL. */
static enum mb_code
ensure_receiver(struct mb_postgres *pg, struct mb_error *err)
{
	struct mb_pg_slot slot;
	enum mb_code code = mb_postgres_slot(pg, &slot, err);

	if (code || slot.active)
		return code;
	if (slot.exists && !slot.lost)
	{
		code = mb_postgres_receive(pg, MB_WAL_SLOT_EXISTING, err);
		/* A stream may have started just now. */
		return code == MB_CONFLICT ? MB_OK : code;
	}
	return mb_postgres_receive(pg, MB_WAL_SLOT_TEMPORARY, err);
}

/*
 * A standby's backup begins at its last restartpoint, which may lie far behind: the WAL from there
 * must be in the repository, or on its way, or the backup could never be restored.
 */
static enum mb_code
ensure_wal_from(struct mb_postgres *pg, const struct mb_postgres *from, struct mb_error *err)
{
	struct mb_wal_cursor cursor = {.timeline = from->server.timeline,
								   .segment_size = from->server.segment_size,
								   .from_lsn = from->start_lsn};
	int64_t begun_ms = mb_monotonic_ms();
	enum mb_code code;

	snprintf(cursor.system_id, sizeof(cursor.system_id), "%s", from->server.system_id);
	do
	{
		code = mb_cancel_check(pg->base.env->cancel, err);
		if (!code)
			code = pg->wal->advance(pg->base.env, pg->base.name, &cursor, err);
		if (code || cursor.lsn > from->start_lsn)
			return code;
		mb_sleep_ms(100);
	} while (mb_monotonic_ms() - begun_ms < WAL_FROM_WAIT_MS);
	mb_fail(err, MB_CONFLICT,
			"the standby's backup begins at " LSN_FMT
			", and the WAL from there is not in the repository",
			LSN_ARGS(from->start_lsn));
	return mb_error_hint(err,
						 "Keep \"mbackup stream\" running; then CHECKPOINT on the primary, and "
						 "again once the standby has replayed it.");
}

static enum mb_code
copy_directly(struct mb_pg_copy *copy, struct mb_postgres *pg, struct mb_error *err)
{
	enum mb_code code;

	name_owner(copy);
	code = start_backup(copy, err);
	if (!code && copy->pg != pg)
		code = ensure_wal_from(pg, copy->pg, err);
	if (!code)
		code = copy_under_session(copy, err);
	return code ? code : stop_backup(copy, err);
}

static enum mb_code
copy_over_wire(struct mb_pg_copy *copy, struct mb_postgres *pg, struct mb_error *err)
{
	enum mb_code code;

	mb_json_set_time(copy->capture->meta, "start_time", server_time_us(copy->pg->conn));
	code = mb_postgres_wire_copy(copy->pg, copy->capture, copy->parent, err);
	if (!code && copy->pg != pg)
		code = ensure_wal_from(pg, copy->pg, err);
	return code;
}

/* Everything under way on a server ends with its session. */
static void
abandon(struct mb_postgres *pg)
{
	mb_postgres_disconnect(pg);
	pg->wal->stop(pg->receiver);
	pg->receiver = NULL;
}

/* Whether the parent can be built on is seen on the primary, wherever the files are read. */
static enum mb_code
choose_parent(struct mb_pg_copy *copy, struct mb_postgres *pg, struct mb_error *err)
{
	static const char sql[] = "SELECT pg_current_wal_insert_lsn()::text AS lsn,"
							  " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, "
							  "8))::bit(32)::bigint AS timeline";
	uint32_t timeline = 0;
	uint64_t lsn = 0;
	enum mb_code code = MB_OK;
	PGresult *res;

	if (copy->capture->parent)
	{
		code = mb_pg_query(pg->conn, &res, sql, 0, NULL, err);
		if (code)
			return code;
		timeline = (uint32_t) strtoul(mb_pg_field(res, 0, "timeline"), NULL, 10);
		if (!mb_lsn_parse(&lsn, mb_pg_field(res, 0, "lsn")))
			code = mb_fail(err, MB_IO, "the server does not say where its WAL is");
		PQclear(res);
	}
	if (!code)
		code = mb_pg_parent_choose(&copy->parent, pg, copy->capture, timeline, lsn, err);
	return code;
}

/* The server that is asked, and the one that is read: is it one that can be? */
static enum mb_code
connect_both(struct mb_postgres *pg, struct mb_postgres *from, struct mb_error *err)
{
	enum mb_code code = mb_postgres_connect(pg, err);

	if (!code && from != pg)
	{
		code = mb_postgres_connect(from, err);
		if (code)
			mb_error_context(err, "could not connect to the standby");
	}
	return code ? code : mb_postgres_check_source(pg, from, err);
}

enum mb_code
mb_postgres_snapshot(struct mb_component *component, struct mb_capture *capture,
					 struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_postgres *from = pg->standby ? pg->standby : pg;
	struct mb_pg_copy copy = {.pg = from,
							  .capture = capture,
							  .root_fd = -1,
							  .lock = PTHREAD_MUTEX_INITIALIZER};
	enum mb_pg_method method = MB_PG_DIRECT;
	enum mb_code code;

	code = connect_both(pg, from, err);
	if (!code)
		code = mb_postgres_choose_method(from, &method, &copy.root_fd, err);
	if (!code)
		code = choose_parent(&copy, pg, err);
	if (!code)
		code = ensure_receiver(pg, err);
	if (!code)
		code =
			method == MB_PG_DIRECT ? copy_directly(&copy, pg, err) : copy_over_wire(&copy, pg, err);
	if (!code)
	{
		mb_json_set_str(capture->meta, "method", method == MB_PG_DIRECT ? "direct" : "basebackup");
		mb_json_set_bool(capture->meta, "from_standby", from != pg);
		pg->start_lsn = from->start_lsn;
		pg->stop_lsn = from->stop_lsn;
		pg->backup_timeline = from->backup_timeline;
		/* The primary's places: that is where it will be restored to. */
		copy.pg = pg;
		code = describe_backup(&copy, err);
	}
	if (code)
		abandon(pg);
	if (from != pg)
		mb_postgres_disconnect(from);
	mb_pg_parent_close(copy.parent);
	mb_pg_unchanged_release(&copy.unchanged);
	if (copy.root_fd >= 0)
		close(copy.root_fd);
	return code;
}
