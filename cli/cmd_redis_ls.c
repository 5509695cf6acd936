/*
 * cmd_redis_ls.c - mbackup redis ls: the keys of a moment, or of an RDB file.
 *
 * Printed while they come, in JSON too, so that memory does not grow with their number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/redis.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/session.h"
#include "redis/glob.h"
#include "redis/look.h"
#include "redis/rdb_file.h"

#define LOCK_WAIT_MS 60000
#define MAX_TIME_MS INT64_C(253402300800000) /* the year 10000: no date says it */

struct listing
{
	struct mb_cli *cli;
	const char *pattern; /* NULL: all */
	int64_t db;          /* MB_GLOB_EVERY_DB */
	int64_t alive_us;    /* keys whose time had passed at this moment are left out; 0: none */
	bool json;
	bool with_more;
	uint64_t count;
};

/* -- one key ---------------------------------------------------------------------------------------- */

/* As redis-cli shows it, so that it can be given back to it (sdscatrepr). */
static void
print_quoted(const unsigned char *p, size_t len, FILE *out)
{
	static const char letters[] = "\\\"\n\r\t\a\b", escaped[] = "\\\"nrtab";
	size_t i;

	fputc('"', out);
	for (i = 0; i < len; i++)
	{
		const char *at = p[i] ? strchr(letters, p[i]) : NULL;

		if (at)
			fprintf(out, "\\%c", escaped[at - letters]);
		else if (p[i] >= 0x20 && p[i] < 0x7f)
			fputc(p[i], out);
		else
			fprintf(out, "\\x%02x", p[i]);
	}
	fputc('"', out);
}

static void
print_text(const struct listing *listing, const struct mb_rdb_key *key)
{
	char time[MB_TIME_TEXT] = "-";

	printf("%5" PRIu64 " ", key->db);
	if (listing->with_more)
	{
		if (key->expires && key->expiry_ms >= 0 && key->expiry_ms < MAX_TIME_MS)
			mb_time_format(time, key->expiry_ms * 1000);
		else if (key->expires)
			snprintf(time, sizeof(time), "%" PRId64 " ms", key->expiry_ms);
		printf("%-8s %-27s %12" PRIu64 " ", key->type, time, key->bytes);
	}
	print_quoted(key->whole, key->whole_len, stdout);
	putchar('\n');
}

/* A name that is no UTF-8 cannot stand in JSON as it is: then it has another member. */
static void
print_json(struct listing *listing, const struct mb_rdb_key *key)
{
	json_t *item = json_object();
	json_t *name = json_stringn((const char *) key->whole, key->whole_len);
	char *text;

	mb_json_set_int(item, "db", (int64_t) key->db);
	if (name)
		json_object_set_new(item, "key", name);
	else
	{
		struct mb_buf base64 = {0};

		mb_base64(&base64, key->whole, key->whole_len);
		mb_json_set_str(item, "key_base64", mb_buf_cstr(&base64));
		mb_buf_release(&base64);
	}
	mb_json_set_str(item, "type", key->type);
	mb_json_set_int(item, "bytes", (int64_t) key->bytes);
	if (key->expires)
		mb_json_set_int(item, "expires_ms", key->expiry_ms);
	if (key->expires && key->expiry_ms >= 0 && key->expiry_ms < MAX_TIME_MS)
		mb_json_set_time(item, "expires", key->expiry_ms * 1000);
	text = mb_json_text(item);
	fputs(listing->count == 0 ? "" : ",\n", stdout);
	fputs(text, stdout);
	free(text);
	json_decref(item);
}

static void
show_key(void *ctx, const struct mb_rdb_key *key)
{
	struct listing *listing = ctx;

	if ((listing->db != MB_GLOB_EVERY_DB && (uint64_t) listing->db != key->db) ||
		(listing->alive_us && key->expires && key->expiry_ms <= listing->alive_us / 1000) ||
		(listing->pattern &&
		 !mb_redis_glob(listing->pattern, strlen(listing->pattern), key->whole, key->whole_len)))
		return;
	if (listing->json)
		print_json(listing, key);
	else
		print_text(listing, key);
	listing->count++;
}

/* -- many keys ---------------------------------------------------------------------------------------- */

/* Nobody reads it any more, or the disk behind it is full. */
static enum mb_code
check_output(void *ctx, struct mb_error *err)
{
	(void) ctx;
	errno = 0;
	if (fflush(stdout) != 0 || ferror(stdout))
		return mb_fail_errno(err, errno, "could not write to the standard output");
	return MB_OK;
}

static enum mb_code
list_file(void *ctx, const char *path, struct mb_error *err)
{
	struct listing *listing = ctx;
	struct mb_rdb_file_options options = {.flags = MB_RDB_FOREIGN | MB_RDB_NAMES,
										  .on_key = show_key,
										  .between = check_output,
										  .ctx = listing,
										  .cancel = &mb_interrupt};
	struct mb_rdb *walker;
	bool opaque;

	/* Once, though a cluster has a file for each shard. */
	if (listing->json && !listing->cli->json_open)
	{
		printf("{\"keys\":[");
		listing->cli->json_open = true;
	}
	if (mb_rdb_file_walk(&walker, path, &options, err))
		return err->code;
	opaque = mb_rdb_summary(walker)->opaque;
	mb_rdb_free(walker);
	if (!opaque)
		return MB_OK;
	mb_fail(err, MB_PARTIAL,
			"\"%s\" is of a server that is newer than this mbackup: not all of its keys were "
			"understood",
			path);
	return mb_error_hint(err, "Load it into a server of that version.");
}

/* The progress gives way to the first key. */
static enum mb_code
list_first(void *ctx, const char *path, struct mb_error *err)
{
	struct listing *listing = ctx;

	cli_progress_hide(listing->cli);
	return list_file(listing, path, err);
}

/* Under a name of its own and a lock, so that the next run removes what a dead one left. */
static enum mb_code
list_moment(struct listing *listing, struct mb_component *component, json_t *answer,
			struct mb_error *err)
{
	struct mb_cli *cli = listing->cli;
	char *directory = mb_asprintf("%s/redis-look-%s", cli->env.spool, component->name);
	struct redis_moment moment;
	struct mb_error ignored;
	json_t *part = NULL;
	enum mb_code code = redis_moment(cli, component, &moment, err);

	if (!code)
		code = mb_rmtree(directory, err);
	if (!code)
		code = redis_restore_to(cli, component, &moment, directory, 0, &part, err);
	if (!code)
	{
		listing->alive_us = mb_json_time(json_object_get(part, "reached"), "time");
		mb_json_set_str(answer, "component", component->name);
		mb_json_set_str(answer, "backup", mb_json_str(part, "backup", ""));
		mb_json_set_time(answer, "time", listing->alive_us);
		code = mb_redis_look(component, directory, list_first, listing, err);
	}
	cli_progress_hide(cli);
	mb_error_clear(&ignored);
	if (mb_rmtree(directory, code ? &ignored : err) && !code)
		code = err->code;
	json_decref(part);
	free(directory);
	return code;
}

static enum mb_code
list_locked(struct listing *listing, struct mb_component *component, json_t *answer,
			struct mb_error *err)
{
	char *name = mb_asprintf("redis-look-%s", component->name);
	enum mb_code code;
	int lock_fd;

	code = mb_session_lock(&listing->cli->env, name, LOCK_WAIT_MS, &lock_fd, err);
	free(name);
	if (code == MB_CONFLICT)
		return mb_error_hint(err, "Another \"mbackup redis ls\" is running on this machine.");
	if (code)
		return code;
	code = list_moment(listing, component, answer, err);
	close(lock_fd);
	return code;
}

/* -- the verb ----------------------------------------------------------------------------------------- */

static enum mb_code
parse_db(const char *text, int64_t *db, struct mb_error *err)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 9 || text[digits])
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not the number of a database", text);
		return mb_error_hint(err, "Write --db 3; without it all databases are listed.");
	}
	*db = strtol(text, NULL, 10);
	return MB_OK;
}

enum mb_code
redis_ls(struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_values *values = &cli->config.command_line;
	const char *rdb = mb_values_get(values, SCOPE_COMMAND, "rdb", 0);
	const char *db = mb_values_get(values, SCOPE_COMMAND, "db", 0);
	struct listing listing = {.cli = cli, .db = MB_GLOB_EVERY_DB};
	struct mb_component *component = NULL;
	json_t *answer = json_object();
	enum mb_code code = MB_OK;
	size_t next = 1;

	listing.json = mb_config_flag(&cli->config, "json");
	listing.with_more = mb_config_flag(&cli->config, "long");
	if (rdb && mb_values_get(values, SCOPE_COMMAND, "at", 0))
		code = redis_exclude("--rdb", "--at", err);
	if (!code && db)
		code = parse_db(db, &listing.db, err);
	if (!code && !rdb)
		code = redis_component(cli, &component, &next, err);
	if (!code && cli->words.count > next + 1)
		code = redis_too_many(cli, next + 1, err);
	if (!code && next < cli->words.count)
		listing.pattern = cli->words.items[next];
	if (!code && rdb)
	{
		mb_json_set_str(answer, "file", rdb);
		code = list_file(&listing, rdb, err);
	}
	else if (!code)
		code = list_locked(&listing, component, answer, err);
	mb_json_set_int(answer, "count", (int64_t) listing.count);
	if (cli->json_open)
		cli->answer = json_incref(answer);
	json_decref(answer);
	return code;
}
