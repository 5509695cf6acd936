/*
 * cmd_catalog.c - mbackup catalog sync: the projection in Postgres made anew from the repository.
 *
 * The daemon does it all the time; by hand it is for a stack without a daemon, and right after a
 * restore of the very database that holds the catalog.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "postgres/connection.h"

static enum mb_code
give(struct mb_cli *cli, PGconn *conn, struct mb_error *err)
{
	char *list = mb_json_text(cli->answer);
	const char *params[] = {list};
	PGresult *res = NULL;
	enum mb_code code = mb_pg_query(conn, &res, "SELECT mbackup.sync($1)", 1, params, err);

	PQclear(res);
	free(list);
	if (code == MB_NOT_FOUND || code == MB_IO)
		mb_error_hint(err, "Is the extension there? CREATE EXTENSION mbackup.");
	return code;
}

enum mb_code
cmd_catalog(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_pg_params params;
	PGconn *conn = NULL;
	enum mb_code code;

	if (strcmp(cli->words.items[0], "sync") != 0)
	{
		mb_fail(err, MB_CONFIG, "there is no \"mbackup catalog %s\"", cli->words.items[0]);
		return mb_error_hint(err, "Write: mbackup catalog sync");
	}
	code = catalog_params(&cli->config, &params, err);
	if (!code)
		code = mb_pg_connect(&conn, &params, MB_PG_SQL, err);
	if (!code)
		code = cmd_list(cli, err);
	if (!code)
		code = give(cli, conn, err);
	PQfinish(conn);
	if (cli->answer)
	{
		size_t backups = json_array_size(json_object_get(cli->answer, "backups"));
		size_t marks = json_array_size(json_object_get(cli->answer, "marks"));

		json_decref(cli->answer);
		cli->answer = code ? NULL
						   : json_pack("{s:{s:I,s:I}}", "catalog", "backups", (json_int_t) backups,
									   "marks", (json_int_t) marks);
	}
	return code;
}

void
render_catalog(const json_t *answer, FILE *out)
{
	const json_t *catalog = json_object_get(answer, "catalog");

	fprintf(out, "the catalog has %lld backups and %lld marks\n",
			(long long) mb_json_int(catalog, "backups", 0),
			(long long) mb_json_int(catalog, "marks", 0));
}
