/* component_postgres.c - the driver's table, the cut, and waiting for WAL; see the header. */
#include "postgres/component_postgres.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "postgres/restore_private.h"

/* Without any progress of the WAL stream for so long a backup fails. */
#define SETTLE_IDLE_MS 120000

/* Given once by mb_postgres_component_ops, before any thread; const from then on. */
static const struct mb_wal_ops *wal_keeper;

/* The server that files are read from: only its session and its facts are used. */
static void
open_standby(struct mb_postgres *pg, const char *conninfo)
{
	if (!conninfo || !*conninfo)
		return;
	pg->standby = mb_calloc(1, sizeof(*pg->standby));
	pg->standby->base = pg->base;
	pg->standby->wal = pg->wal;
	pg->standby->slot = pg->slot;
	pg->standby->params.conninfo = conninfo;
	pg->standby->params.password = pg->params.password;
	pthread_mutex_init(&pg->standby->lock, NULL);
}

static void
close_standby(struct mb_postgres *pg)
{
	if (!pg->standby)
		return;
	mb_postgres_disconnect(pg->standby);
	mb_pg_server_release(&pg->standby->server);
	pthread_mutex_destroy(&pg->standby->lock);
	free(pg->standby);
}

/* "none", "lz4", "gzip" or "zstd", perhaps with ":LEVEL". */
static enum mb_code
check_compression(const char *how, struct mb_error *err)
{
	static const char *const methods[] = {"none", "lz4", "gzip", "zstd"};
	size_t len = how ? strcspn(how, ":") : 0, i;
	const char *level = how && how[len] == ':' ? how + len + 1 : "1";

	for (i = 0; how && i < sizeof(methods) / sizeof(*methods); i++)
		if (strlen(methods[i]) == len && strncmp(how, methods[i], len) == 0 && *level &&
			strspn(level, "0123456789") == strlen(level) && strlen(level) <= 2)
			return MB_OK;
	return how ? mb_fail(err, MB_CONFIG,
						 "wire-compression \"%s\" is not none, or one of zstd, lz4, gzip with an "
						 "optional :LEVEL",
						 how)
			   : MB_OK;
}

static enum mb_code
postgres_open(struct mb_component **component, const struct mb_settings *settings,
			  const struct mb_env *env, struct mb_error *err)
{
	const char *method = mb_settings_get(settings, "method");
	const char *slot = mb_settings_get(settings, "slot");
	const char *ack = mb_settings_get(settings, "ack");
	const char *limit = mb_settings_get(settings, "spool-limit");
	uint64_t limit_bytes = MB_PG_DEFAULT_SPOOL_BYTES;
	struct mb_postgres *pg;
	size_t len;

	MB_ASSERT(wal_keeper);
	if (method && strcmp(method, "auto") != 0 && strcmp(method, "direct") != 0 &&
		strcmp(method, "basebackup") != 0)
		return mb_fail(err, MB_CONFIG, "method \"%s\" is not one of auto, direct, basebackup",
					   method);
	if (!slot)
		slot = MB_PG_DEFAULT_SLOT;
	len = strlen(slot);
	if (len == 0 || len > 63 || strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not a valid name of a replication slot", slot);
		return mb_error_hint(err, "Use lower-case letters, digits and underscores.");
	}
	if (mb_pg_conninfo_check(mb_settings_get(settings, "conninfo"), err))
		return err->code;
	if (mb_settings_get(settings, "standby") &&
		mb_pg_conninfo_check(mb_settings_get(settings, "standby"), err))
		return mb_error_context(err, "standby");
	if (check_compression(mb_settings_get(settings, "wire-compression"), err))
		return err->code;
	if (limit && mb_size_parse(&limit_bytes, limit, err))
		return mb_error_context(err, "spool-limit");
	pg = mb_calloc(1, sizeof(*pg));
	pg->wal = wal_keeper;
	pg->base.settings = settings;
	pg->base.env = env;
	pg->base.name = settings->name;
	pg->base.ops = mb_postgres_component_ops(wal_keeper);
	pg->slot = slot;
	pg->tail_ms = mb_settings_ms(settings, "tail-interval", MB_PG_DEFAULT_TAIL_MS);
	pg->ack_spool = ack && strcmp(ack, "spool") == 0;
	pg->spool_limit_bytes = limit_bytes;
	pg->params.conninfo = mb_settings_get(settings, "conninfo");
	pg->params.password = mb_settings_secret(settings, "password");
	pthread_mutex_init(&pg->lock, NULL);
	open_standby(pg, mb_settings_get(settings, "standby"));
	*component = &pg->base;
	return MB_OK;
}

static void
postgres_close(struct mb_component *component)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;

	if (!pg)
		return;
	pg->wal->stop(pg->receiver);
	close_standby(pg);
	mb_postgres_disconnect(pg);
	mb_pg_server_release(&pg->server);
	pthread_mutex_destroy(&pg->lock);
	free(pg);
}

/* A copy that nobody adopted must not write into its original's history. */
static enum mb_code
postgres_snapshot(struct mb_component *component, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	enum mb_code code = mb_postgres_connect(pg, err);

	if (!code)
		code = mb_pg_check_adopted(pg->conn, err);
	if (!code)
		code = mb_postgres_snapshot(component, capture, err);
	return code;
}

/* -- the cut ---------------------------------------------------------------------------------------- */

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

static enum mb_code
postgres_position(struct mb_component *component, struct mb_cut *cut, enum mb_moment moment,
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

static enum mb_code
postgres_settle(struct mb_component *component, struct mb_capture *capture,
				const struct mb_cut *cut, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_wal_cursor cursor;
	struct cut_position position;
	uint64_t to_lsn = pg->stop_lsn;
	bool has_position = false;
	json_t *wal;
	enum mb_code code = MB_OK;

	MB_ASSERT(pg->stop_lsn);
	/* A set whose clock failed has a cut without us: then our own end is the cut. */
	if (json_object_get(cut->positions, pg->base.name))
	{
		code = read_position(pg, cut, &position, err);
		if (!code && position.timeline != pg->backup_timeline)
			code = mb_fail(err, MB_CONFLICT,
						   "the server changed from timeline %u to %u during the backup",
						   pg->backup_timeline, position.timeline);
		if (!code && position.flush_lsn > to_lsn)
			to_lsn = position.flush_lsn;
		has_position = true;
	}
	if (!code)
	{
		mb_progress_phase(capture->progress, "waiting for WAL");
		begin_cursor(pg, &cursor, pg->backup_timeline, pg->start_lsn);
		if (has_position)
		{
			cursor.point = cut->restore_point;
			cursor.point_lsn = position.lsn;
		}
		code = mb_postgres_wait_for_wal(pg, &cursor, to_lsn, SETTLE_IDLE_MS, err);
	}
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

static enum mb_code
postgres_await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
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

static enum mb_code
postgres_stream(struct mb_component *component, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_wal_receive options;
	struct mb_error why;

	/* The receiver asks again whenever it connects; a server that is not up yet is its business. */
	if (mb_postgres_connect(pg, &why) == MB_OK &&
		mb_pg_check_adopted(pg->conn, &why) == MB_CONFLICT)
	{
		*err = why;
		return err->code;
	}
	mb_postgres_disconnect(pg);
	mb_postgres_receive_options(pg, MB_WAL_SLOT_PERMANENT, &options);
	options.give_up_ms = 0;
	options.progress = mb_env_progress(pg->base.env, pg->base.name);
	mb_progress_phase(options.progress, "streaming");
	return pg->wal->run(&options, err);
}

/* -- small ones ------------------------------------------------------------------------------------------ */

static char *
postgres_describe(struct mb_component *component)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct mb_error ignored;

	/* Never conninfo: a password may stand in it. */
	if (mb_postgres_connect(pg, &ignored))
		return mb_strdup("PostgreSQL (not reachable)");
	return mb_asprintf("PostgreSQL %s at %s", pg->server.version_text,
					   *pg->server.data_directory ? pg->server.data_directory : "?");
}

const struct mb_component_ops *
mb_postgres_component_ops(const struct mb_wal_ops *wal)
{
	static const struct mb_component_ops ops = {
		.kind = "postgres",
		.capabilities = MB_CAP_CLOCK | MB_CAP_STREAM | MB_CAP_INCREMENTAL,
		.open = postgres_open,
		.close = postgres_close,
		.check = mb_postgres_check,
		.snapshot = postgres_snapshot,
		.hold = mb_no_hold,
		.release = mb_no_release,
		.position = postgres_position,
		.settle = postgres_settle,
		.await = postgres_await,
		.stream = postgres_stream,
		.window = mb_postgres_window,
		.verify = mb_postgres_verify,
		.reach = mb_postgres_reach,
		.trim = mb_postgres_trim,
		.plan = mb_postgres_plan,
		.restore = mb_postgres_restore,
		.revive = mb_postgres_revive,
		.lay_down = mb_postgres_lay_down,
		.holds = mb_postgres_holds,
		.keep = mb_nothing_kept,
		.undo = mb_nothing_kept,
		.health = mb_postgres_health,
		.describe = postgres_describe,
	};

	wal_keeper = wal;
	return &ops;
}
