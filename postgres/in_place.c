/*
 * in_place.c - a restore over a cluster that is there: what is moved aside, and whether what came
 * is well (see restore_private.h).
 */

#include "postgres/restore_private.h"

enum mb_code
mb_postgres_holds(struct mb_component *component, struct mb_restore *restore,
				  struct mb_holdings *holdings, struct mb_error *err)
{
	unsigned wishes = mb_json_bool(restore->plan, "delta", false) ? MB_SAFETY_IS_USED : 0;
	struct mb_pg_place place;
	enum mb_code code = mb_pg_place_read(&place, restore, err);
	size_t i;

	(void) component;
	for (i = 0; !code && i < mb_pg_place_root_count(&place); i++)
	{
		bool is_tablespace = i > 0 && i <= place.tablespace_count;

		/* A tablespace directory may be shared with another major version. */
		mb_holdings_add(holdings, mb_safety_new(mb_pg_place_root(&place, i),
												is_tablespace ? place.version_dir : NULL, wishes));
	}
	mb_pg_place_release(&place);
	return code;
}

/* Does it take connections, and is it out of recovery? */
static enum mb_code
is_open(struct mb_postgres *pg, struct mb_error *err)
{
	enum mb_code code;

	mb_postgres_disconnect(pg);
	code = mb_postgres_connect(pg, err);
	if (!code && pg->server.in_recovery)
		code = mb_fail(err, MB_NEGATIVE, "the server is still in recovery");
	else if (code == MB_UNREACHABLE)
		code = err->code = MB_NEGATIVE;
	mb_postgres_disconnect(pg);
	return code;
}

/*
 * The server on the directory itself first, by its files: an answer over the network may be
 * another server's.  Then whether the application's way to it is open.
 */
enum mb_code
mb_postgres_health(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	bool stays_down = restore && restore->target.action != MB_ACTION_PROMOTE &&
					  mb_json_str(restore->plan, "setting", NULL);
	bool was_started =
		restore && (restore->is_served || (restore->wishes->flags & MB_RESTORE_START));
	struct mb_pg_place place;
	enum mb_code code = MB_OK;

	if (!restore)
	{
		code = is_open(pg, err);
		/* Whoever says that we may not come in is there. */
		return code == MB_DENIED ? MB_OK : code;
	}
	if (!was_started)
	{
		mb_restore_warn(restore,
						"the server was not started: [%s] names no service, and --start "
						"was not given",
						component->name);
		mb_json_set_str(restore->result, "health", "not started");
		return MB_OK;
	}
	code = mb_pg_place_read(&place, restore, err);
	if (!code && restore->is_served)
		code = mb_pg_await(pg, restore, &place, err);
	mb_pg_place_release(&place);
	if (!code && !stays_down && restore->wishes->port == 0)
		code = is_open(pg, err);
	/* Its files say that it is open; root, say, is not let in by "peer". */
	if (code == MB_DENIED)
	{
		mb_restore_warn(restore, "the server is open, but could not be asked: %s", err->message);
		mb_error_clear(err);
		code = MB_OK;
	}
	if (code && code != MB_INTERRUPTED)
		err->code = code = MB_NEGATIVE;
	if (!code)
		mb_json_set_str(restore->result, "health",
						stays_down ? "as --target-action says" : "open, recovery has ended");
	return code;
}
