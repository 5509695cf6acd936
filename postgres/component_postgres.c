/* component_postgres.c - the driver's table, opening and streaming; see the header. */
#include "postgres/component_postgres.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "postgres/restore_private.h"

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
check_settings(const struct mb_settings *settings, struct mb_error *err)
{
	const char *method = mb_settings_get(settings, "method");
	const char *slot = mb_settings_get(settings, "slot");
	size_t len = slot ? strlen(slot) : 0;

	if (method && strcmp(method, "auto") != 0 && strcmp(method, "direct") != 0 &&
		strcmp(method, "basebackup") != 0)
		return mb_fail(err, MB_CONFIG, "method \"%s\" is not one of auto, direct, basebackup",
					   method);
	if (slot &&
		(len == 0 || len > 63 || strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_") != len))
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not a valid name of a replication slot", slot);
		return mb_error_hint(err, "Use lower-case letters, digits and underscores.");
	}
	if (mb_pg_conninfo_check(mb_settings_get(settings, "conninfo"), err))
		return err->code;
	if (mb_settings_get(settings, "standby") &&
		mb_pg_conninfo_check(mb_settings_get(settings, "standby"), err))
		return mb_error_context(err, "standby");
	return check_compression(mb_settings_get(settings, "wire-compression"), err);
}

static enum mb_code
postgres_open(struct mb_component **component, const struct mb_settings *settings,
			  const struct mb_env *env, struct mb_error *err)
{
	const char *slot = mb_settings_get(settings, "slot");
	const char *ack = mb_settings_get(settings, "ack");
	const char *limit = mb_settings_get(settings, "spool-limit");
	uint64_t limit_bytes = MB_PG_DEFAULT_SPOOL_BYTES;
	struct mb_postgres *pg;
	enum mb_code code = check_settings(settings, err);

	MB_ASSERT(wal_keeper);
	if (code)
		return code;
	if (limit && mb_size_parse(&limit_bytes, limit, err))
		return mb_error_context(err, "spool-limit");
	pg = mb_calloc(1, sizeof(*pg));
	pg->wal = wal_keeper;
	pg->base.settings = settings;
	pg->base.env = env;
	pg->base.name = settings->name;
	pg->base.ops = mb_postgres_component_ops(wal_keeper);
	pg->slot = slot ? slot : MB_PG_DEFAULT_SLOT;
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
		.position = mb_postgres_position,
		.settle = mb_postgres_settle,
		.await = mb_postgres_await,
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
