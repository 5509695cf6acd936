/* cmd_redis_info.c - mbackup redis info: what is in a backup, or in an RDB file. */
#include <stdlib.h>

#include "cli/redis.h"
#include "cli/render.h"
#include "core/base/time.h"
#include "redis/rdb_file.h"
#include "redis/rdb_stats.h"

/* -- an RDB file --------------------------------------------------------------------------------- */

static json_t *
file_json(const char *path, const struct mb_rdb_summary *summary, const struct mb_rdb_stats *stats)
{
	json_t *info = json_object(), *warnings = json_array();

	mb_json_set_str(info, "file", path);
	mb_json_set_int(info, "bytes", (int64_t) summary->bytes);
	mb_json_set_str(info, "format", summary->magic);
	mb_json_set_int(info, "rdb_version", summary->version);
	mb_json_set_str(info, "server_version", summary->server);
	mb_json_set_int(info, "keys", (int64_t) summary->keys);
	mb_json_set_int(info, "functions", (int64_t) summary->functions);
	json_object_set_new(info, "databases", mb_rdb_databases_json(summary));
	json_object_set_new(info, "statistics", mb_rdb_stats_json(stats));
	mb_json_set_bool(info, "checksum", summary->has_checksum);
	mb_json_set_bool(info, "understood", !summary->opaque);
	if (summary->has_offset)
	{
		mb_json_set_str(info, "replid", summary->replid);
		mb_json_set_int(info, "snapshot_offset", (int64_t) summary->offset);
	}
	if (summary->opaque)
		json_array_append_new(warnings,
							  json_string("its format is newer than this mbackup: from some "
										  "byte on only the checksum was verified"));
	if (!summary->has_checksum)
		json_array_append_new(warnings,
							  json_string("it has no checksum: only its structure was verified"));
	json_object_set_new(info, "warnings", warnings);
	return info;
}

static enum mb_code
info_of_file(struct mb_cli *cli, const char *path, struct mb_error *err)
{
	struct mb_rdb_stats *stats = mb_rdb_stats_new();
	struct mb_rdb_file_options options = {.flags = MB_RDB_FOREIGN,
										  .on_key = mb_rdb_stats_add,
										  .ctx = stats,
										  .cancel = &mb_interrupt};
	struct mb_rdb *walker;
	enum mb_code code;

	if (cli->words.count > 1)
		code = redis_exclude("--rdb", "the name of a component", err);
	else
		code = mb_rdb_file_walk(&walker, path, &options, err);
	if (!code)
	{
		cli->answer = json_pack("{s:o}", "info", file_json(path, mb_rdb_summary(walker), stats));
		mb_rdb_free(walker);
	}
	mb_rdb_stats_free(stats);
	return code;
}

/* -- a backup -------------------------------------------------------------------------------------- */

/* Where what goes on without a gap from this moment ends: a gap's begin, or the window's. */
static void
set_reaches(json_t *info, const struct mb_window *window, int64_t from_us)
{
	int64_t reaches_us = window->to_us, gap_us;
	size_t i;

	for (i = 0; i < json_array_size(window->gaps); i++)
	{
		const char *text = json_string_value(json_array_get(json_array_get(window->gaps, i), 0));
		struct mb_error ignored;

		mb_error_clear(&ignored);
		if (mb_time_parse(&gap_us, text, &ignored) == MB_OK && gap_us >= from_us &&
			gap_us < reaches_us)
			reaches_us = gap_us;
	}
	if (reaches_us >= from_us)
		mb_json_set_time(info, "reaches", reaches_us);
}

static enum mb_code
add_window(json_t *info, struct mb_component *component, int64_t cut_us, struct mb_error *err)
{
	struct mb_window window = {0};
	json_t *json;

	if (component->ops->window(component, &window, err))
		return err->code;
	json = json_object();
	if (window.from_us)
	{
		mb_json_set_time(json, "from", window.from_us);
		mb_json_set_time(json, "to", window.to_us);
		set_reaches(info, &window, cut_us);
	}
	json_object_set_new(json, "gaps", window.gaps ? window.gaps : json_array());
	json_object_set_new(info, "window", json);
	return MB_OK;
}

/* What the commit says of itself. */
static void
add_backup(json_t *info, const struct mb_commit *commit)
{
	static const char *const same[] = {"server_version", "rdb_version", "role",
									   "side",           "replid",      "keys",
									   "functions",      "databases",   "statistics"};
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (json_object_get(commit->meta, same[i]))
			json_object_set(info, same[i], json_object_get(commit->meta, same[i]));
	mb_json_set_int(info, "bytes", (int64_t) commit->bytes);
	mb_json_set_time(info, "cut", mb_commit_cut_time(commit));
	mb_json_set_int(info, "snapshot_offset", mb_json_int(commit->meta, "rdb_offset", 0));
	mb_json_set_int(info, "backup_offset", mb_json_int(commit->meta, "offset", 0));
}

/* A restore is planned and not done: it says which backup, and how far the commands go. */
static enum mb_code
info_of_backup(struct mb_cli *cli, struct mb_component *component, struct mb_error *err)
{
	char *nowhere = mb_asprintf("%s/redis-info-%s", cli->env.spool, component->name);
	struct redis_moment moment;
	struct mb_commit commit = {0};
	json_t *part = NULL, *info = json_object();
	const json_t *plan;
	enum mb_code code = redis_moment(cli, component, &moment, err);

	if (!code)
		code = redis_restore_to(cli, component, &moment, nowhere, MB_RESTORE_DRY_RUN, &part, err);
	if (!code)
		code = mb_commit_get(cli->env.repo, component->name, mb_json_str(part, "backup", ""),
							 &commit, err);
	if (!code)
		code = add_window(info, component, mb_commit_cut_time(&commit), err);
	if (!code)
	{
		plan = json_object_get(part, "plan");
		mb_json_set_str(info, "component", component->name);
		mb_json_set_str(info, "backup", commit.id);
		mb_json_set_time(info, "time", mb_json_time(plan, "reached"));
		mb_json_set_int(info, "offset", mb_json_int(plan, "offset", 0));
		mb_json_set_int(info, "replay_bytes", mb_json_int(plan, "replay_bytes", 0));
		add_backup(info, &commit);
		json_object_set_new(info, "warnings",
							json_object_get(part, "warnings")
								? json_incref(json_object_get(part, "warnings"))
								: json_array());
		cli->answer = json_pack("{s:O}", "info", info);
	}
	json_decref(info);
	json_decref(part);
	mb_commit_release(&commit);
	free(nowhere);
	return code;
}

enum mb_code
redis_info(struct mb_cli *cli, struct mb_error *err)
{
	const char *rdb = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "rdb", 0);
	struct mb_component *component;
	size_t next;

	if (rdb && mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "at", 0))
		return redis_exclude("--rdb", "--at", err);
	if (rdb)
		return info_of_file(cli, rdb, err);
	if (redis_component(cli, &component, &next, err))
		return err->code;
	if (next < cli->words.count)
		return redis_too_many(cli, next, err);
	return info_of_backup(cli, component, err);
}

/* -- for people ------------------------------------------------------------------------------------ */

static void
render_head(const json_t *info, FILE *out)
{
	const json_t *window = json_object_get(info, "window"), *gaps = json_object_get(window, "gaps");
	char time[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];
	size_t i;

	if (mb_json_str(info, "file", NULL))
		fprintf(out, "%s: %s, %s, %s\n", mb_json_str(info, "file", "?"),
				render_size(info, "bytes", bytes), mb_json_str(info, "format", "?"),
				mb_json_bool(info, "checksum", false) ? "checksum good" : "no checksum");
	else
		fprintf(out, "%s: backup %s of %s\n", mb_json_str(info, "component", "?"),
				mb_json_str(info, "backup", "?"), render_time(info, "cut", time));
	fprintf(out, "  server    Redis %s, RDB version %lld\n",
			mb_json_str(info, "server_version", "?"),
			(long long) mb_json_int(info, "rdb_version", 0));
	if (mb_json_str(info, "replid", NULL))
		fprintf(out, "  snapshot  offset %lld of %s\n",
				(long long) mb_json_int(info, "snapshot_offset", 0),
				mb_json_str(info, "replid", "?"));
	if (mb_json_str(info, "file", NULL))
		return;
	fprintf(out, "  moment    %s, offset %lld: %s of commands behind the snapshot\n",
			render_time(info, "time", time), (long long) mb_json_int(info, "offset", 0),
			render_size(info, "replay_bytes", bytes));
	fprintf(out, "  stream    can go on to %s\n", render_time(info, "reaches", time));
	for (i = 0; i < json_array_size(gaps); i++)
		fprintf(out, "  gap       %s to %s\n",
				json_string_value(json_array_get(json_array_get(gaps, i), 0)),
				json_string_value(json_array_get(json_array_get(gaps, i), 1)));
}

static void
render_contents(const json_t *info, FILE *out)
{
	const json_t *statistics = json_object_get(info, "statistics");
	const json_t *expires = json_object_get(statistics, "expires");
	const json_t *types = json_object_get(statistics, "types");
	const json_t *biggest = json_object_get(statistics, "biggest");
	char nearest[MB_TIME_TEXT], furthest[MB_TIME_TEXT], bytes[MB_SIZE_TEXT];
	size_t i;

	fprintf(out, "  contents  %lld keys in %zu databases, %lld function libraries%s\n",
			(long long) mb_json_int(info, "keys", 0),
			json_array_size(json_object_get(info, "databases")),
			(long long) mb_json_int(info, "functions", 0),
			mb_json_int(info, "replay_bytes", 0) > 0 ? " (of the snapshot)" : "");
	if (mb_json_int(expires, "keys", 0) > 0)
		fprintf(out, "  expiring  %lld keys, from %s to %s\n",
				(long long) mb_json_int(expires, "keys", 0),
				render_time(expires, "nearest", nearest),
				render_time(expires, "furthest", furthest));
	if (json_array_size(types) > 0)
		fprintf(out, "\n%8s  %-8s %12s %12s\n", "Database", "Type", "Keys", "Bytes");
	for (i = 0; i < json_array_size(types); i++)
	{
		const json_t *item = json_array_get(types, i);

		fprintf(out, "%8lld  %-8s %12lld %12s\n", (long long) mb_json_int(item, "db", 0),
				mb_json_str(item, "type", "?"), (long long) mb_json_int(item, "keys", 0),
				render_size(item, "bytes", bytes));
	}
	if (json_array_size(biggest) > 0)
		fprintf(out, "\n%8s  %-8s %12s  %s\n", "Database", "Type", "Bytes", "Biggest keys");
	for (i = 0; i < json_array_size(biggest); i++)
	{
		const json_t *item = json_array_get(biggest, i);

		fprintf(out, "%8lld  %-8s %12s  %s\n", (long long) mb_json_int(item, "db", 0),
				mb_json_str(item, "type", "?"), render_size(item, "bytes", bytes),
				mb_json_str(item, "key", "?"));
	}
}

void
render_redis_info(const json_t *info, FILE *out)
{
	const json_t *warnings = json_object_get(info, "warnings");
	size_t i;

	render_head(info, out);
	render_contents(info, out);
	for (i = 0; i < json_array_size(warnings); i++)
		fprintf(out, "warning: %s\n", json_string_value(json_array_get(warnings, i)));
}
