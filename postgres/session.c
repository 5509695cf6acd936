/* session.c - the driver's connection, what it knows about the server, and waiting for WAL. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "postgres/private.h"

#define POLL_MIN_MS 10
#define POLL_MAX_MS 100
/* A stream that we rely on may be between two connections for so long. */
#define TAKE_OVER_MS 5000
#define GIVE_UP_MS 30000

static const char server_sql[] =
	"SELECT current_setting('server_version') AS version_text,"
	" s.system_identifier::text AS system_id, s.catalog_version_no AS catalog_version,"
	" c.timeline_id AS timeline, i.bytes_per_wal_segment AS segment_size,"
	" i.database_block_size AS block_size, i.data_page_checksum_version AS checksums,"
	" pg_is_in_recovery() AS in_recovery, current_setting('data_directory', true) AS "
	"data_directory,"
	" current_setting('config_file', true) AS config_file"
	" FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i";

void
mb_pg_server_release(struct mb_pg_server *server)
{
	free(server->data_directory);
	free(server->config_file);
	memset(server, 0, sizeof(*server));
}

static void
take_server(struct mb_postgres *pg, const PGresult *res)
{
	struct mb_pg_server *server = &pg->server;

	mb_pg_server_release(server);
	server->version = PQserverVersion(pg->conn);
	snprintf(server->version_text, sizeof(server->version_text), "%s",
			 mb_pg_field(res, 0, "version_text"));
	snprintf(server->system_id, sizeof(server->system_id), "%s", mb_pg_field(res, 0, "system_id"));
	server->timeline = (uint32_t) strtoul(mb_pg_field(res, 0, "timeline"), NULL, 10);
	server->segment_size = (uint32_t) strtoul(mb_pg_field(res, 0, "segment_size"), NULL, 10);
	server->block_size = (uint32_t) strtoul(mb_pg_field(res, 0, "block_size"), NULL, 10);
	server->catalog_version = strtoll(mb_pg_field(res, 0, "catalog_version"), NULL, 10);
	server->checksums = strtoul(mb_pg_field(res, 0, "checksums"), NULL, 10) != 0;
	server->in_recovery = mb_pg_field(res, 0, "in_recovery")[0] == 't';
	server->data_directory = mb_strdup(mb_pg_field(res, 0, "data_directory"));
	server->config_file = mb_strdup(mb_pg_field(res, 0, "config_file"));
	pg->server_known = true;
}

enum mb_code
mb_postgres_connect(struct mb_postgres *pg, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code;

	if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK)
		return MB_OK;
	mb_postgres_disconnect(pg);
	code = mb_pg_connect(&pg->conn, &pg->params, MB_PG_SQL, err);
	if (code)
		return code;
	code = mb_pg_query(pg->conn, &res, server_sql, 0, NULL, err);
	if (code == MB_DENIED)
		mb_error_hint(err, "Grant pg_monitor (or pg_read_all_settings) to the user.");
	if (!code)
	{
		take_server(pg, res);
		PQclear(res);
	}
	else
		mb_postgres_disconnect(pg);
	return code;
}

void
mb_postgres_disconnect(struct mb_postgres *pg)
{
	PQfinish(pg->conn);
	pg->conn = NULL;
}

enum mb_code
mb_postgres_query(struct mb_postgres *pg, PGresult **res, const char *sql, int count,
				  const char *const *params, struct mb_error *err)
{
	enum mb_code code;

	pthread_mutex_lock(&pg->lock);
	code = mb_postgres_connect(pg, err);
	if (!code)
		code = mb_pg_query(pg->conn, res, sql, count, params, err);
	pthread_mutex_unlock(&pg->lock);
	return code;
}

enum mb_code
mb_postgres_lsn(struct mb_postgres *pg, uint64_t *lsn, const char *sql, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = mb_postgres_query(pg, &res, sql, 0, NULL, err);

	if (code)
		return code;
	if (PQntuples(res) != 1 || !mb_lsn_parse(lsn, PQgetvalue(res, 0, 0)))
		code = mb_fail(err, MB_IO, "\"%s\" gave no LSN", sql);
	PQclear(res);
	return code;
}

enum mb_code
mb_postgres_wal_lsn(struct mb_postgres *pg, uint64_t *lsn, struct mb_error *err)
{
	return mb_postgres_lsn(pg, lsn,
						   "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
						   " ELSE pg_current_wal_insert_lsn() END",
						   err);
}

enum mb_code
mb_postgres_slot(struct mb_postgres *pg, struct mb_pg_slot *slot, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code;

	memset(slot, 0, sizeof(*slot));
	code = mb_postgres_query(pg, &res,
							 "SELECT active, wal_status, restart_lsn FROM pg_replication_slots"
							 " WHERE slot_name = $1",
							 1, &pg->slot, err);
	if (code)
		return code;
	if (PQntuples(res) == 1)
	{
		slot->exists = true;
		slot->active = mb_pg_field(res, 0, "active")[0] == 't';
		slot->lost = strcmp(mb_pg_field(res, 0, "wal_status"), "lost") == 0;
		if (!mb_lsn_parse(&slot->restart_lsn, mb_pg_field(res, 0, "restart_lsn")))
			slot->restart_lsn = 0;
	}
	PQclear(res);
	return MB_OK;
}

void
mb_postgres_receive_options(struct mb_postgres *pg, enum mb_wal_slot kind,
							struct mb_wal_receive *options)
{
	memset(options, 0, sizeof(*options));
	options->env = pg->base.env;
	options->component = pg->base.name;
	options->connect = pg->params;
	options->slot_kind = kind;
	options->slot = pg->slot;
	options->tail_interval_ms = pg->tail_ms;
	options->ack_spool = pg->ack_spool;
	options->spool_limit_bytes = pg->spool_limit_bytes;
	options->give_up_ms = GIVE_UP_MS;
}

enum mb_code
mb_postgres_receive(struct mb_postgres *pg, enum mb_wal_slot kind, struct mb_error *err)
{
	struct mb_wal_receive options;

	MB_ASSERT(!pg->receiver);
	mb_postgres_receive_options(pg, kind, &options);
	return pg->wal->start(&pg->receiver, &options, err);
}

/* No stream is active: receive ourselves, on the slot, so that nothing is missing. */
static enum mb_code
take_over(struct mb_postgres *pg, struct mb_error *err)
{
	struct mb_pg_slot slot;
	enum mb_code code = mb_postgres_slot(pg, &slot, err);

	if (code || slot.active)
		return code;
	if (!slot.exists)
	{
		mb_fail(err, MB_NEGATIVE, "no stream is running and there is no replication slot \"%s\"",
				pg->slot);
		return mb_error_hint(err, "Start \"mbackup stream\" and leave it running.");
	}
	mb_log_info(pg->base.env->log, "%s: no stream is running, receiving WAL from slot \"%s\"",
				pg->base.name, pg->slot);
	code = mb_postgres_receive(pg, MB_WAL_SLOT_EXISTING, err);
	/* A stream that started at this very moment is as good. */
	return code == MB_CONFLICT ? MB_OK : code;
}

/* Ask the repository, but not for what our own receiver has not put yet. */
static enum mb_code
look(struct mb_postgres *pg, struct mb_wal_cursor *cursor, uint64_t to_lsn, uint64_t *seen,
	 struct mb_error *err)
{
	if (pg->receiver)
	{
		struct mb_wal_status status;

		pg->wal->status(pg->receiver, &status);
		if (status.code)
		{
			*err = status.err;
			return mb_error_context(err, "receiving WAL failed");
		}
		if (status.received_lsn > *seen)
			*seen = status.received_lsn;
		if (status.durable_lsn < to_lsn)
			return MB_OK;
	}
	return pg->wal->advance(pg->base.env, pg->base.name, cursor, err);
}

enum mb_code
mb_postgres_wait_for_wal(struct mb_postgres *pg, struct mb_wal_cursor *cursor, uint64_t to_lsn,
						 int64_t idle_ms, struct mb_error *err)
{
	int64_t moved_ms = mb_monotonic_ms(), asked_ms = 0;
	int64_t poll_ms = POLL_MIN_MS;
	uint64_t best = 0, seen = 0;
	enum mb_code code;

	for (;;)
	{
		int64_t now;

		code = mb_cancel_check(pg->base.env->cancel, err);
		if (!code)
			code = look(pg, cursor, to_lsn, &seen, err);
		if (code || cursor->lsn >= to_lsn)
			return code;
		now = mb_monotonic_ms();
		if (cursor->lsn + seen > best)
		{
			best = cursor->lsn + seen;
			moved_ms = now;
		}
		if (now - moved_ms > idle_ms)
			break;
		if (!pg->receiver && (asked_ms == 0 || now - asked_ms > TAKE_OVER_MS))
		{
			code = take_over(pg, err);
			asked_ms = now;
			if (code)
				return code;
		}
		mb_sleep_ms(poll_ms);
		poll_ms = poll_ms * 3 / 2 < POLL_MAX_MS ? poll_ms * 3 / 2 : POLL_MAX_MS;
	}
	mb_fail(err, MB_UNREACHABLE,
			"WAL from " LSN_FMT " to " LSN_FMT
			" on timeline %u did not reach the repository: for %lld s nothing came behind " LSN_FMT,
			LSN_ARGS(cursor->from_lsn), LSN_ARGS(to_lsn), cursor->timeline,
			(long long) (idle_ms / 1000), LSN_ARGS(cursor->lsn));
	return mb_error_hint(err,
						 "Look at the log of \"mbackup stream\" and at pg_stat_replication; is "
						 "slot "
						 "\"%s\" used by something else?",
						 pg->slot);
}
