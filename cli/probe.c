/*
 * probe.c - what the servers of the repository's buckets really do: tried out by init, which refuses
 * what nothing can be built on, and again by check, because servers are replaced.  What was
 * found stands in the repository (docs/format.md, probes/<id>).
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/engine/docs.h"
#include "objectstore/store_s3.h"

/* What the rest relies on. */
static const struct promise
{
	const char *member;
	bool is_needed; /* nothing can be built on a server without */
	const char *broken;
	const char *fix;
} promises[] = {
	{"ordered_listing", true, "does not list names in order",
	 "Use another server: MinIO, Ceph and Amazon S3 do."},
	{"read_after_write", true, "does not list what was just stored",
	 "Use another server, or no cache in front of this one."},
	{"checks_body", false, "stores a body that is not what was signed",
	 "Use https, or no proxy in between: what is damaged on the way is only found when it is "
	 "read."},
	{"conditional_put", false,
	 "does not keep If-None-Match, so each put is made between two looks, and two machines must "
	 "not "
	 "write to it at one time",
	 "Let one machine write, or use a server and a bucket (without versions on Ceph) that keep "
	 "it."},
};
#define PROMISE_COUNT (sizeof(promises) / sizeof(promises[0]))

/* Members that tell whether it is still the same server, in the same state. */
static const char *const steady[] = {"server",          "conditional_put",  "checks_body",
									 "ordered_listing", "read_after_write", "versioned",
									 "object_lock"};

static bool
is_broken(const json_t *verdict, const struct promise *promise)
{
	return !mb_json_bool(verdict, promise->member, false);
}

static bool
is_bucket(const struct mb_store *store)
{
	return strcmp(store->ops->driver, "s3") == 0;
}

enum mb_code
cli_probe_place(struct mb_cli *cli, struct mb_store *store, struct mb_error *err)
{
	json_t *verdict = NULL;
	bool removes = true;
	enum mb_code code;
	size_t i;

	if (!is_bucket(store))
		return MB_OK;
	code = mb_store_s3_removes(store, &removes, err);
	if (!code)
		code = mb_store_s3_probe(store, &verdict, err);
	for (i = 0; !code && i < PROMISE_COUNT; i++)
	{
		if (!is_broken(verdict, &promises[i]))
			continue;
		if (promises[i].is_needed)
		{
			mb_fail(err, MB_UNSUPPORTED, "the server of %s %s", store->url, promises[i].broken);
			code = mb_error_hint(err, "%s", promises[i].fix);
		}
		else
			mb_log_warning(&cli->log, "the server of %s %s", store->url, promises[i].broken);
	}
	if (!code && !removes)
		mb_log_warning(&cli->log,
					   "the key for %s may not remove objects: a few small ones below \"probe/\", "
					   "by "
					   "which the server was tried out, stay; \"mbackup expire\" needs another key",
					   store->url);
	if (code)
		json_decref(verdict);
	else
		json_array_append_new(cli->probes, verdict);
	return code;
}

enum mb_code
cli_keep_probes(struct mb_cli *cli, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < json_array_size(cli->probes); i++)
		code = mb_probe_put(cli->env.repo, json_array_get(cli->probes, i), err);
	json_array_clear(cli->probes);
	return code;
}

/* -- check --------------------------------------------------------------------------------------- */

struct check
{
	struct mb_cli *cli;
	struct mb_checks *checks;
	json_t *known; /* all probes, oldest first */
};

/* The newest of this place; NULL: it was never tried out. */
static const json_t *
known_probe(const struct check *check, const char *url)
{
	size_t i;

	for (i = json_array_size(check->known); i-- > 0;)
		if (strcmp(mb_json_str(json_array_get(check->known, i), "url", ""), url) == 0)
			return json_array_get(check->known, i);
	return NULL;
}

/* "conditional_put: true, was false; ..."; nothing when it is as it was. */
static void
put_changes(struct mb_buf *out, const json_t *was, const json_t *is)
{
	size_t i;

	for (i = 0; i < sizeof(steady) / sizeof(steady[0]); i++)
	{
		json_t *then = json_object_get(was, steady[i]), *now = json_object_get(is, steady[i]);
		char *then_text, *now_text;

		if (!then || json_equal(then, now))
			continue;
		then_text = json_dumps(then, JSON_ENCODE_ANY);
		now_text = json_dumps(now, JSON_ENCODE_ANY);
		mb_buf_printf(out, "%s%s: %s, was %s", out->len ? "; " : "", steady[i], now_text,
					  then_text);
		free(then_text);
		free(now_text);
	}
}

static void
add_findings(struct check *check, const char *place, const json_t *verdict, const json_t *was,
			 struct mb_buf *changes)
{
	bool is_well = true;
	size_t i;

	for (i = 0; i < PROMISE_COUNT; i++)
		if (is_broken(verdict, &promises[i]))
		{
			is_well = false;
			mb_check_add(check->checks, promises[i].is_needed ? MB_CHECK_FAILED : MB_CHECK_WARNING,
						 place, "server", promises[i].fix, "the server %s", promises[i].broken);
		}
	if (changes->len)
		mb_check_add(check->checks, MB_CHECK_WARNING, place, "server-changed",
					 "Nothing, when the server was replaced or its bucket changed on purpose: this "
					 "is "
					 "said once.",
					 "the server is not what it was on %s: %s", mb_json_str(was, "time", "?"),
					 mb_buf_cstr(changes));
	else if (is_well)
		mb_check_add(check->checks, MB_CHECK_OK, place, "server", "",
					 "%s keeps what a repository needs (tried out now)",
					 mb_json_str(verdict, "server", "the server"));
}

/*
 * Keep what is new; a key that may not write has other trouble, which other checks tell.  One that may
 * not remove would leave the objects of every check behind.
 */
static enum mb_code
check_server(struct check *check, const char *place, struct mb_store *store, struct mb_error *err)
{
	json_t *verdict = NULL;
	struct mb_buf changes = {0};
	const json_t *was;
	bool removes = true;
	enum mb_code code = mb_store_s3_removes(store, &removes, err);

	if (!code && !removes)
		mb_check_add(check->checks, MB_CHECK_SKIPPED, place, "server", "",
					 "this key may not remove objects, so that the server is not tried out again, "
					 "and "
					 "\"mbackup expire\" needs another key");
	if (!code && removes)
		code = mb_store_s3_probe(store, &verdict, err);
	if (code || !removes)
		return code;
	was = known_probe(check, store->url);
	put_changes(&changes, was, verdict);
	add_findings(check, place, verdict, was, &changes);
	if (!was || changes.len)
		code = mb_probe_put(check->cli->env.repo, verdict, err);
	mb_buf_release(&changes);
	json_decref(verdict);
	return code;
}

static enum mb_code
check_place(void *ctx, const char *name, struct mb_store *store, struct mb_error *err)
{
	struct check *check = ctx;
	char place[MB_COMPONENT_MAX + 16];
	enum mb_code code;

	if (!is_bucket(store))
		return MB_OK;
	snprintf(place, sizeof(place), name ? "repository:%s" : "repository", name);
	code = check_server(check, place, store, err);
	if (!code)
		code = mb_store_s3_check(store, place, check->checks, err);
	if (code && code != MB_INTERRUPTED)
	{
		mb_check_add(check->checks, MB_CHECK_FAILED, place, "server",
					 err->hint[0] ? err->hint : "What the message says", "%s", err->message);
		mb_error_clear(err);
		code = MB_OK;
	}
	return code;
}

enum mb_code
cli_check_places(struct mb_cli *cli, struct mb_checks *checks, struct mb_error *err)
{
	struct check check = {cli, checks, NULL};
	enum mb_code code = mb_probes_list(cli->env.repo, &check.known, err);

	if (!code)
		code = cli_each_place(cli, check_place, &check, err);
	json_decref(check.known);
	return code;
}
