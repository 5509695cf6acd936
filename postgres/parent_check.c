/*
 * parent_check.c - see parent.h: can the newest backup be built on?
 *
 * Equal pages are equal whatever cluster they come from, so a wrong parent would cost space
 * and not data; it is refused all the same, because it is a sign that something is not as
 * somebody thinks, and a full backup is always right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/parent.h"
#include "postgres/private.h"

/* Where a history file says that a timeline was left; false when it is not an ancestor. */
static bool
find_switch(const char *history, uint32_t timeline, uint64_t *switch_lsn)
{
	const char *line = history;

	while (line && *line)
	{
		unsigned number, high, low;

		if (sscanf(line, " %u %X/%X", &number, &high, &low) == 3 && number == timeline)
		{
			*switch_lsn = (uint64_t) high << 32 | low;
			return true;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

bool
mb_pg_history_holds(const char *history, uint32_t timeline, uint64_t lsn)
{
	uint64_t switch_lsn;

	return find_switch(history, timeline, &switch_lsn) && lsn <= switch_lsn;
}

static enum mb_code
get_history(struct mb_postgres *pg, uint32_t timeline, char **history, struct mb_error *err)
{
	char command[64];
	PGconn *conn;
	PGresult *res;
	enum mb_code code = mb_pg_connect(&conn, &pg->params, MB_PG_REPLICATION, err);

	if (code)
		return code;
	snprintf(command, sizeof(command), "TIMELINE_HISTORY %u", timeline);
	code = mb_pg_command(conn, &res, command, err);
	if (!code)
	{
		*history = PQntuples(res) == 1 && PQnfields(res) == 2
					   ? mb_strndup(PQgetvalue(res, 0, 1), (size_t) PQgetlength(res, 0, 1))
					   : mb_strdup("");
		PQclear(res);
	}
	PQfinish(conn);
	return code;
}

/* Does the parent's end lie on the way that the server came? */
static bool
is_on_our_way(struct mb_postgres *pg, const json_t *meta, uint32_t timeline, uint64_t lsn,
			  char *why, size_t why_bytes)
{
	uint32_t parent_timeline = (uint32_t) mb_json_int(meta, "timeline", 0);
	struct mb_error err;
	uint64_t stop_lsn;
	char *history;
	bool ours;

	if (!mb_lsn_parse(&stop_lsn, mb_json_str(meta, "stop_lsn", "")) || parent_timeline == 0)
	{
		snprintf(why, why_bytes, "it does not say where it ends");
		return false;
	}
	if (parent_timeline == timeline)
		ours = stop_lsn <= lsn;
	else if (parent_timeline > timeline)
		ours = false;
	else if (get_history(pg, timeline, &history, &err))
	{
		snprintf(why, why_bytes, "the history of timeline %u cannot be read (%.300s)", timeline,
				 err.message);
		return false;
	}
	else
	{
		ours = mb_pg_history_holds(history, parent_timeline, stop_lsn);
		free(history);
	}
	if (!ours)
		snprintf(why, why_bytes,
				 "it ends at " LSN_FMT " on timeline %u, which is not in the history of this "
				 "server at " LSN_FMT " on timeline %u",
				 LSN_ARGS(stop_lsn), parent_timeline, LSN_ARGS(lsn), timeline);
	return ours;
}

/* Is it a backup of this cluster as it is today?  Fills why when not. */
static bool
is_usable(struct mb_postgres *pg, const struct mb_commit *parent, uint32_t timeline, uint64_t lsn,
		  char *why, size_t why_bytes)
{
	const struct mb_pg_server *server = &pg->server;
	const json_t *meta = parent->meta;

	if (strcmp(mb_json_str(meta, "system_id", ""), server->system_id) != 0)
		snprintf(why, why_bytes, "it is of another cluster (system identifier %s, not %s)",
				 mb_json_str(meta, "system_id", "?"), server->system_id);
	else if (mb_json_int(meta, "version_num", 0) / 10000 != server->version / 10000 ||
			 mb_json_int(meta, "catalog_version", 0) != server->catalog_version)
		snprintf(why, why_bytes, "it is of another version (%s, not %s)",
				 mb_json_str(meta, "version", "?"), server->version_text);
	else if (mb_json_int(meta, "page_size", 0) != (int64_t) server->block_size)
		snprintf(why, why_bytes, "its pages have another size");
	else if (mb_json_bool(meta, "data_checksums", false) != server->checksums)
		snprintf(why, why_bytes, "data checksums were switched %s since",
				 server->checksums ? "on" : "off");
	else
		return is_on_our_way(pg, meta, timeline, lsn, why, why_bytes);
	return false;
}

static void
refuse(struct mb_capture *capture, const char *why)
{
	mb_capture_note(capture, "backup %s cannot be built on: %s; this backup is a full one",
					capture->parent->id, why);
	capture->parent = NULL;
}

enum mb_code
mb_pg_parent_choose(struct mb_pg_parent **parent, struct mb_postgres *pg,
					struct mb_capture *capture, uint32_t timeline, uint64_t start_lsn,
					struct mb_error *err)
{
	char why[640];
	enum mb_code code;

	*parent = NULL;
	if (capture->parent && !is_usable(pg, capture->parent, timeline, start_lsn, why, sizeof(why)))
		refuse(capture, why);
	code = mb_pg_parent_open(parent, capture, err);
	if (code == MB_CORRUPT)
	{
		refuse(capture, err->message);
		code = mb_pg_parent_open(parent, capture, err);
	}
	if (!code && capture->parent)
		code = mb_rehome_plan(&capture->rehome, capture->repo, capture->parent, err);
	if (code)
	{
		mb_pg_parent_close(*parent);
		*parent = NULL;
	}
	return code;
}
