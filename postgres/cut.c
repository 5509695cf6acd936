/* cut.c - a cut in Postgres: making a restore point, and waiting until the repository holds the WAL past it. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "postgres/private.h"

/* Without any progress of the WAL stream for so long a backup fails. */
#define SETTLE_IDLE_MS 120000

static const char point_sql[] =
	"SELECT pg_create_restore_point($1)::text AS lsn,"
	" (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us";

/* Where the WAL of a cut stands: also the timeline that is being written. */
static const char position_sql[] =
	"SELECT pg_current_wal_flush_lsn()::text AS flush_lsn,"
	" ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint AS timeline";

/* pg_create_restore_point does not flush; a commit that waits for no standby does. */
static enum mb_code
flush_wal(struct mb_postgres *pg, const char *point, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_pg_exec(pg->conn, "BEGIN", err);

	if (!code)
		code = mb_pg_exec(pg->conn, "SET LOCAL synchronous_commit = 'local'", err);
	if (!code)
	{
		code = mb_pg_query(pg->conn, &res, "SELECT pg_logical_emit_message(true, 'mbackup', $1)", 1,
						   &point, err);
		if (!code)
			PQclear(res);
	}
	if (!code)
		code = mb_pg_exec(pg->conn, "COMMIT", err);
	if (code)
		mb_postgres_disconnect(pg);
	return code;
}

static enum mb_code
take_position(struct mb_postgres *pg, struct mb_cut *cut, json_t *position, struct mb_error *err)
{
	const char *params[] = {cut->restore_point};
	int64_t before_us = mb_time_now_us(), after_us, server_us;
	PGresult *res;
	uint64_t lsn;
	enum mb_code code = mb_pg_query(pg->conn, &res, point_sql, 1, params, err);

	after_us = mb_time_now_us();
	if (code)
	{
		mb_error_context(err, "could not create a restore point");
		if (code == MB_DENIED)
			mb_error_hint(err,
						  "Grant EXECUTE ON FUNCTION pg_create_restore_point(text) to the user.");
		return code;
	}
	server_us = strtoll(mb_pg_field(res, 0, "now_us"), NULL, 10);
	if (!mb_lsn_parse(&lsn, mb_pg_field(res, 0, "lsn")))
		code = mb_fail(err, MB_IO, "the server gave no LSN for the restore point");
	PQclear(res);
	if (code)
		return code;
	mb_json_set_lsn(position, "lsn", lsn);
	cut->time_us = server_us;
	cut->clock_skew_us = (before_us + after_us) / 2 - server_us;
	cut->clock_error_us = (after_us - before_us) / 2;
	return MB_OK;
}

enum mb_code
mb_postgres_position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
					 struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	json_t *position;
	PGresult *res;
	enum mb_code code;

	if (moment != MB_MOMENT_AT)
		return MB_OK;
	code = mb_postgres_connect(pg, err);
	if (code)
		return code;
	if (pg->server.in_recovery)
		return mb_fail(err, MB_UNSUPPORTED,
					   "the server is a standby: a restore point can only be made on the primary");
	code = mb_pg_check_adopted(pg->conn, err);
	if (code)
		return code;
	position = json_object();
	code = take_position(pg, cut, position, err);
	if (!code)
		code = flush_wal(pg, cut->restore_point, err);
	if (!code)
		code = mb_pg_query(pg->conn, &res, position_sql, 0, NULL, err);
	if (!code)
	{
		mb_json_set_str(position, "flush_lsn", mb_pg_field(res, 0, "flush_lsn"));
		mb_json_set_int(position, "timeline", strtoll(mb_pg_field(res, 0, "timeline"), NULL, 10));
		mb_json_set_str(position, "system_id", pg->server.system_id);
		if (pg->stop_lsn)
		{
			mb_json_set_lsn(position, "start_lsn", pg->start_lsn);
			mb_json_set_lsn(position, "stop_lsn", pg->stop_lsn);
		}
		json_object_set(cut->positions, pg->base.name, position);
		PQclear(res);
	}
	json_decref(position);
	return code;
}

/* What a cut says about this component. */
struct cut_position
{
	uint64_t lsn;
	uint64_t flush_lsn;
	uint32_t timeline;
	const char *system_id;
};

static enum mb_code
read_position(const struct mb_postgres *pg, const struct mb_cut *cut, struct cut_position *out,
			  struct mb_error *err)
{
	const json_t *position = json_object_get(cut->positions, pg->base.name);

	out->timeline = (uint32_t) mb_json_int(position, "timeline", 0);
	out->system_id = mb_json_str(position, "system_id", "");
	if (!position || out->timeline == 0 ||
		!mb_lsn_parse(&out->lsn, mb_json_str(position, "lsn", "")) ||
		!mb_lsn_parse(&out->flush_lsn, mb_json_str(position, "flush_lsn", "")))
		return mb_fail(err, MB_NEGATIVE, "the cut holds no position of \"%s\"", pg->base.name);
	return MB_OK;
}

static void
begin_cursor(const struct mb_postgres *pg, struct mb_wal_cursor *cursor, uint32_t timeline,
			 uint64_t from_lsn)
{
	memset(cursor, 0, sizeof(*cursor));
	snprintf(cursor->system_id, sizeof(cursor->system_id), "%s", pg->server.system_id);
	cursor->timeline = timeline;
	cursor->segment_size = pg->server.segment_size;
	cursor->from_lsn = from_lsn;
}

/*
 * Until what the backup needs is in the repository, and the restore point of the cut too.  *to_lsn: the end
 * of it; the cursor knows the branch afterwards.
 */
static enum mb_code
wait_for_cut(struct mb_postgres *pg, const struct mb_cut *cut, struct mb_progress *progress,
			 struct mb_wal_cursor *cursor, uint64_t *to_lsn, struct mb_error *err)
{
	/* A set whose clock failed has a cut without us: then our own end is the cut. */
	bool has_position = json_object_get(cut->positions, pg->base.name) != NULL;
	struct cut_position position;
	enum mb_code code;

	*to_lsn = pg->stop_lsn;
	if (has_position)
	{
		code = read_position(pg, cut, &position, err);
		if (code)
			return code;
		if (position.timeline != pg->backup_timeline)
			return mb_fail(err, MB_CONFLICT,
						   "the server changed from timeline %u to %u during the backup",
						   pg->backup_timeline, position.timeline);
		if (position.flush_lsn > *to_lsn)
			*to_lsn = position.flush_lsn;
	}
	mb_progress_phase(progress, "waiting for WAL");
	begin_cursor(pg, cursor, pg->backup_timeline, pg->start_lsn);
	if (has_position)
	{
		cursor->point = cut->restore_point;
		cursor->point_lsn = position.lsn;
	}
	return mb_postgres_wait_for_wal(pg, cursor, *to_lsn, SETTLE_IDLE_MS, err);
}

enum mb_code
mb_postgres_settle(struct mb_component *component, struct mb_capture *capture,
				   const struct mb_cut *cut, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_wal_cursor cursor;
	uint64_t to_lsn;
	json_t *wal;
	enum mb_code code;

	MB_ASSERT(pg->stop_lsn);
	code = wait_for_cut(pg, cut, capture->progress, &cursor, &to_lsn, err);
	pg->wal->stop(pg->receiver);
	pg->receiver = NULL;
	mb_postgres_disconnect(pg);
	if (code)
		return code;
	wal = json_object();
	mb_json_set_int(wal, "timeline", pg->backup_timeline);
	mb_json_set_lsn(wal, "from", pg->start_lsn - pg->start_lsn % pg->server.segment_size);
	mb_json_set_lsn(wal, "to", to_lsn);
	json_object_set_new(capture->meta, "wal", wal);
	mb_json_set_str(capture->meta, "branch", cursor.branch);
	json_object_set_new(capture->meta, "needs",
						json_pack("[o]", pg->wal->needs(capture->component, &cursor, to_lsn)));
	return MB_OK;
}

enum mb_code
mb_postgres_await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
				  struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct cut_position position;
	struct mb_wal_cursor cursor;
	enum mb_code code = read_position(pg, cut, &position, err);

	if (!code)
		code = mb_postgres_connect(pg, err);
	if (!code && strcmp(position.system_id, pg->server.system_id) != 0)
		code = mb_fail(err, MB_NEGATIVE, "the cut is of another cluster");
	if (code)
		return code;
	begin_cursor(pg, &cursor, position.timeline, position.lsn);
	cursor.point = cut->restore_point;
	cursor.point_lsn = position.lsn;
	code = mb_postgres_wait_for_wal(pg, &cursor, position.flush_lsn, timeout_ms, err);
	pg->wal->stop(pg->receiver);
	pg->receiver = NULL;
	if (code == MB_UNREACHABLE)
		code = err->code = MB_NEGATIVE;
	return code;
}
