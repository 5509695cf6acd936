/*
 * places.c - the places of the repository: [repository] and its copies, [repository:NAME].
 *
 * A command that only reads goes to a copy when the first cannot be opened.  One that writes
 * does not, and check does not either: what it wrote there would be missing in the first, and
 * two histories of one repository cannot be joined.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/time.h"
#include "core/repo/store_mirror.h"
#include "objectstore/s3_settings.h"
#include "objectstore/store_s3.h"

#define READS (CMD_LIST | CMD_INFO | CMD_RESTORE | CMD_VERIFY | CMD_WAL_GET)

static enum mb_code
open_s3(const struct mb_cli *cli, const struct mb_settings *settings, unsigned flags,
		struct mb_store **store, struct mb_error *err)
{
	const char *days = mb_settings_get(settings, "object-lock-days");
	struct mb_store_s3_options options = {.url = mb_settings_get(settings, "url"),
										  .flags = flags,
										  .lock_mode = mb_settings_get(settings, "object-lock"),
										  .lock_ms = strtoll(days, NULL, 10) * 24 * 3600 * 1000};
	char *bucket = NULL, *prefix = NULL;
	enum mb_code code = mb_s3_url_parse(options.url, &bucket, &prefix, err);

	free(bucket);
	free(prefix);
	if (!code)
		code = mb_s3_from_settings(&options.s3, settings, &cli->env, err);
	return code ? code : mb_store_s3_open(store, &options, err);
}

static enum mb_code
open_url(const struct mb_cli *cli, const struct mb_settings *settings, unsigned flags,
		 struct mb_store **store, struct mb_error *err)
{
	const char *url = mb_settings_get(settings, "url");

	if (strncmp(url, "s3:", 3) == 0)
		return open_s3(cli, settings, flags, store, err);
	if (strncmp(url, "file://", 7) == 0)
		url += 7;
	if (url[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "repository \"%s\" is not an absolute path", url);
		return mb_error_hint(err, "Give a directory such as /backup/shop, or s3://bucket/shop.");
	}
	return mb_store_posix_open(store, url, flags, err);
}

static enum mb_code
open_copy_url(void *ctx, const char *place, struct mb_store **store, struct mb_error *err)
{
	const struct mb_cli *cli = ctx;
	size_t i;

	for (i = 0; i < cli->config.copy_count; i++)
		if (strcmp(cli->config.copies[i].place, place) == 0)
			return open_url(cli, &cli->config.copies[i].settings, MB_STORE_OPEN, store, err);
	MB_BUG("no copy at %s", place);
}

enum mb_code
cli_check_url(const struct mb_cli *cli, struct mb_error *err)
{
	const char *url = mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");

	if (url && url[0])
		return MB_OK;
	mb_fail(err, MB_CONFIG, "no repository is configured");
	return mb_error_hint(err, "Write url = /a/directory or s3://bucket in [repository], or give "
							  "--repository-url.");
}

enum mb_code
cli_open_store(struct mb_cli *cli, unsigned flags, struct mb_store **store, struct mb_error *err)
{
	struct mb_settings settings = {0};
	enum mb_code code = cli_check_url(cli, err);

	if (!code)
		code = mb_config_place(&cli->config, &settings, err);
	if (!code)
		code = open_url(cli, &settings, flags, store, err);
	mb_settings_release(&settings);
	return code;
}

/* -- which one ------------------------------------------------------------------------------- */

static enum mb_code
unknown_copy(const struct mb_config *config, const char *name, struct mb_error *err)
{
	struct mb_buf names = {0};
	size_t i;

	for (i = 0; i < config->copy_count; i++)
		mb_buf_printf(&names, "%s%s", i ? ", " : "", config->copies[i].name);
	mb_fail(err, MB_CONFIG, "there is no copy \"%s\" of the repository", name);
	if (names.len)
		mb_error_hint(err, "mbackup.conf names: %s.", mb_buf_cstr(&names));
	else
		mb_error_hint(err, "mbackup.conf names none: write [repository:%s] with its url.", name);
	mb_buf_release(&names);
	return err->code;
}

/* --repository NAME: that place alone. */
static enum mb_code
open_named(struct mb_cli *cli, const char *name, struct mb_store **store, struct mb_error *err)
{
	const struct mb_config *config = &cli->config;
	size_t i;

	for (i = 0; i < config->copy_count; i++)
		if (strcmp(config->copies[i].name, name) == 0)
		{
			cli->env.repository = config->copies[i].name;
			cli->env.is_copy = true;
			return open_url(cli, &config->copies[i].settings, MB_STORE_OPEN, store, err);
		}
	return unknown_copy(config, name, err);
}

/* A directory without mbackup.json is an empty mount point, not a repository. */
static enum mb_code
open_holding(struct mb_cli *cli, const struct mb_settings *copy, struct mb_store **store,
			 struct mb_error *err)
{
	struct mb_store *opened = NULL;
	enum mb_code code = copy ? open_url(cli, copy, MB_STORE_OPEN, &opened, err)
							 : cli_open_store(cli, MB_STORE_OPEN, &opened, err);

	if (!code)
		code = mb_mirror_check_place(opened, opened, err);
	if (code)
		mb_store_free(opened);
	else
		*store = opened;
	return code;
}

/* The first cannot be read: the first copy that can. */
static enum mb_code
fall_over(struct mb_cli *cli, struct mb_store **store, struct mb_error *err)
{
	struct mb_error why;
	size_t i;

	for (i = 0; i < cli->config.copy_count; i++)
	{
		const struct mb_copy_section *copy = &cli->config.copies[i];

		if (open_holding(cli, &copy->settings, store, &why) != MB_OK)
			continue;
		cli->env.is_copy = true;
		mb_log_warning(&cli->log, "%s: reading the copy \"%s\" at \"%s\" instead", err->message,
					   copy->name, copy->place);
		return MB_OK;
	}
	return err->code;
}

/* -- the mirror ------------------------------------------------------------------------------ */

static enum mb_code
open_mirror(struct mb_cli *cli, struct mb_store *first, unsigned flags, struct mb_store **store,
			struct mb_error *err)
{
	const struct mb_config *config = &cli->config;
	const char *interval = mb_config_get(config, SCOPE_GLOBAL, "catch-up-interval");
	struct mb_mirror_options options = {.flags = flags,
										.spool = cli->env.spool,
										.log = &cli->log,
										.cancel = &mb_interrupt,
										.open = open_copy_url,
										.open_ctx = cli};
	struct mb_mirror_place *places = mb_calloc(config->copy_count, sizeof(*places));
	enum mb_code code = mb_duration_parse(&options.retry_ms, interval, err);
	size_t i;

	for (i = 0; i < config->copy_count; i++)
		places[i] = (struct mb_mirror_place){config->copies[i].name, config->copies[i].place};
	if (code)
		mb_store_free(first);
	else
		code = mb_store_mirror_open(store, first, places, config->copy_count, &options, err);
	free(places);
	return code;
}

/* Two names of one directory would look like a copy and be none. */
static enum mb_code
check_distinct(const struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_config *config = &cli->config;
	struct mb_settings settings = {0};
	char first[PATH_MAX], second[PATH_MAX];
	char *own;
	size_t i, j;

	if (mb_config_place(config, &settings, err))
	{
		mb_settings_release(&settings);
		return err->code;
	}
	own = mb_config_place_text(&settings);
	mb_settings_release(&settings);
	for (i = 0; i < config->copy_count; i++)
		for (j = 0; j <= i; j++)
		{
			const char *url = j == i ? own : config->copies[j].place;
			const char *copy = config->copies[i].place;

			url += mb_starts_with(url, "file://") ? 7 : 0;
			copy += mb_starts_with(copy, "file://") ? 7 : 0;
			if (strcmp(url, copy) == 0 ||
				(realpath(url, first) && realpath(copy, second) && strcmp(first, second) == 0))
			{
				free(own);
				return mb_fail(err, MB_CONFIG, "[repository:%s] is at \"%s\", as another one is",
							   config->copies[i].name, copy);
			}
		}
	free(own);
	return MB_OK;
}

static enum mb_code
first_is_needed(const struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_copy_section *copy = &cli->config.copies[0];

	mb_error_detail(err, "There is a copy, [repository:%s] at \"%s\", which can be read.",
					copy->name, copy->place);
	return mb_error_hint(err, "Bring the first back; or, to go on from the copy, make its url that "
							  "of [repository].");
}

enum mb_code
cli_open_places(struct mb_cli *cli, struct mb_store **store, struct mb_error *err)
{
	const char *name = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "repository", 0);
	enum mb_command_id id = cli->command->id;
	/* Before a delta what is there is kept. */
	bool is_delta = mb_config_flag(&cli->config, "delta");
	unsigned flags = id & (READS | CMD_CHECK) && !is_delta ? MB_MIRROR_READ_ONLY
					 : id & (CMD_BACKUP | CMD_STREAM)      ? MB_MIRROR_CATCH_UP
														   : 0;
	struct mb_store *first = NULL;
	enum mb_code code;

	if (name)
		return open_named(cli, name, store, err);
	if (cli->config.copy_count == 0)
		return cli_open_store(cli, MB_STORE_OPEN, store, err);
	code = open_holding(cli, NULL, &first, err);
	if (code == MB_CONFIG || code == MB_UNSUPPORTED)
		return code;
	if (code)
		return id & READS ? fall_over(cli, store, err) : first_is_needed(cli, err);
	code = check_distinct(cli, err);
	if (code)
	{
		mb_store_free(first);
		return code;
	}
	return open_mirror(cli, first, flags, store, err);
}

enum mb_code
cli_each_place(struct mb_cli *cli, cli_place_fn fn, void *ctx, struct mb_error *err)
{
	struct mb_store *place = NULL;
	enum mb_code code;
	size_t i;

	if (cli->env.repository || cli->config.copy_count == 0)
		return fn(ctx, cli->env.repository, cli->env.repo->store, err);
	code = cli_open_store(cli, MB_STORE_OPEN, &place, err);
	if (!code)
		code = fn(ctx, NULL, place, err);
	mb_store_free(place);
	for (i = 0; !code && i < cli->config.copy_count; i++)
	{
		const struct mb_copy_section *copy = &cli->config.copies[i];
		struct mb_error why;

		place = NULL;
		if (open_holding(cli, &copy->settings, &place, &why) == MB_OK)
			code = fn(ctx, copy->name, place, err);
		mb_store_free(place);
	}
	return code;
}

void
cli_reconcile(struct mb_cli *cli)
{
	struct mb_error why;

	mb_error_clear(&why);
	if (!mb_cancelled(&mb_interrupt) && mb_mirror_reconcile(cli->env.repo->store, &why))
		mb_log_warning(&cli->log, "not every copy of the repository has all of it; %s",
					   why.message);
}

/* -- init ------------------------------------------------------------------------------------ */

/* *made: it was not there. */
static enum mb_code
make_copy(struct mb_cli *cli, struct mb_store *first, const struct mb_copy_section *copy,
		  bool *made, struct mb_error *err)
{
	struct mb_store *place = NULL;
	enum mb_code code = open_url(cli, &copy->settings, MB_STORE_OPEN, &place, err);

	*made = false;
	if (!code)
		code = mb_mirror_check_place(first, place, err);
	if (code == MB_NOT_FOUND)
	{
		mb_store_free(place);
		place = NULL;
		code = open_url(cli, &copy->settings, MB_STORE_CREATE, &place, err);
		if (!code)
			code = cli_probe_place(cli, place, err);
		if (!code)
			code = mb_mirror_found_place(first, place, err);
		*made = !code;
	}
	mb_store_free(place);
	return code ? mb_error_context(err, "[repository:%s]", copy->name) : MB_OK;
}

enum mb_code
cli_make_copies(struct mb_cli *cli, struct mb_store *first, size_t *made, struct mb_error *err)
{
	enum mb_code code = cli->config.copy_count ? check_distinct(cli, err) : MB_OK;
	size_t i;

	*made = 0;
	for (i = 0; !code && i < cli->config.copy_count; i++)
	{
		bool one = false;

		code = make_copy(cli, first, &cli->config.copies[i], &one, err);
		*made += one;
	}
	return code;
}

/* Takes first. */
enum mb_code
cli_fill_copies(struct mb_cli *cli, struct mb_store *first, struct mb_error *err)
{
	struct mb_store *mirror = NULL;
	enum mb_code code = open_mirror(cli, first, MB_MIRROR_CATCH_UP, &mirror, err);

	if (!code)
		code = mb_mirror_reconcile(mirror, err);
	mb_store_free(mirror);
	return code;
}
