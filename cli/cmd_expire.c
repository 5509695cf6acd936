/* cmd_expire.c - mbackup expire, pin, unpin: the retention of mbackup.conf, and what is asked of it. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/time.h"
#include "core/engine/expire.h"

#define DAY_US (24LL * 3600 * 1000000)
#define MAX_OVERRIDES 256

/* -- the configuration ----------------------------------------------------------------------- */

static enum mb_code
read_number(const struct mb_settings *settings, const char *key, int64_t *out, struct mb_error *err)
{
	const char *text = mb_settings_get(settings, key);

	*out = text ? strtoll(text, NULL, 10) : 0;
	if (!text || *out > 0)
		return MB_OK;
	/* The parser of options knows "auto" as a number. */
	return mb_fail(err, MB_CONFIG, "[retention%s%s]: %s = \"%s\" is not a number from 1 on",
				   settings->name[0] ? ":" : "", settings->name, key, text);
}

static enum mb_code
read_policy(const struct mb_settings *settings, struct mb_policy *policy, struct mb_error *err)
{
	const struct
	{
		const char *key;
		int64_t *out;
	} numbers[] = {{"days", &policy->days},     {"last", &policy->last},
				   {"hourly", &policy->hourly}, {"daily", &policy->daily},
				   {"weekly", &policy->weekly}, {"monthly", &policy->monthly},
				   {"yearly", &policy->yearly}};
	enum mb_code code = MB_OK;
	size_t i;

	memset(policy, 0, sizeof(*policy));
	policy->is_set = true;
	for (i = 0; !code && i < sizeof(numbers) / sizeof(numbers[0]); i++)
		code = read_number(settings, numbers[i].key, numbers[i].out, err);
	policy->window_us = mb_settings_ms(settings, "window", 0) * 1000;
	return code;
}

struct retention_config
{
	struct mb_expire_options options;
	struct mb_override overrides[MAX_OVERRIDES];
	bool after_backup;
};

/* How long the first place locks what is put there. */
static int64_t
lock_us(const struct mb_cli *cli)
{
	const char *url = mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");
	const char *mode = mb_config_get(&cli->config, SCOPE_REPOSITORY, "object-lock");
	const char *days = mb_config_get(&cli->config, SCOPE_REPOSITORY, "object-lock-days");

	if (!url || !mb_starts_with(url, "s3:") || strcmp(mode, "none") == 0)
		return 0;
	return strtoll(days, NULL, 10) * DAY_US;
}

static enum mb_code
read_retention(const struct mb_cli *cli, struct retention_config *out, struct mb_error *err)
{
	const char *grace = cli_option(cli, "grace");
	int64_t grace_ms = 0;
	enum mb_code code = MB_OK;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->options.overrides = out->overrides;
	out->options.grace_us = MB_GRACE_US;
	out->options.lock_us = lock_us(cli);
	for (i = 0; !code && i < cli->config.retention_count; i++)
	{
		const struct mb_settings *settings = &cli->config.retentions[i];
		const char *after = mb_settings_get(settings, "after-backup");

		if (!settings->name[0])
		{
			code = read_policy(settings, &out->options.policy, err);
			out->after_backup = after && strcmp(after, "yes") == 0;
			continue;
		}
		if (after)
			return mb_fail(err, MB_CONFIG,
						   "after-backup stands in [retention], not in [retention:%s]",
						   settings->name);
		if (out->options.override_count == MAX_OVERRIDES)
			return mb_fail(err, MB_CONFIG, "there are more than %d sections [retention:...]",
						   MAX_OVERRIDES);
		out->overrides[out->options.override_count].component = settings->name;
		code = read_policy(settings, &out->overrides[out->options.override_count++].policy, err);
	}
	if (!code && grace)
	{
		code = mb_duration_parse(&grace_ms, grace, err);
		out->options.grace_us = grace_ms * 1000;
	}
	return code;
}

/* Section names are not checked against components, which may be gone while their backups are not. */
static void
warn_unknown(const struct mb_cli *cli, const struct mb_expire_options *options, json_t *answer)
{
	json_t *expire = json_object_get(answer, "expire"), *window;
	json_t *warnings = json_object_get(expire, "warnings");
	size_t i, j;

	for (i = 0; i < options->override_count; i++)
	{
		bool known = mb_stack_find(&cli->stack, options->overrides[i].component) != NULL;
		char *text;

		json_array_foreach(json_object_get(expire, "windows"), j, window) known =
			known ||
			strcmp(mb_json_str(window, "component", ""), options->overrides[i].component) == 0;
		if (known)
			continue;
		text = mb_asprintf("[retention:%s]: there is no component and no backup of that name",
						   options->overrides[i].component);
		json_array_append_new(warnings, json_string(text));
		free(text);
	}
}

/* -- the commands ---------------------------------------------------------------------------- */

static enum mb_code
confirm_grace(const struct mb_cli *cli, const struct mb_expire_options *options,
			  struct mb_error *err)
{
	if (options->is_dry || options->grace_us >= MB_GRACE_US)
		return MB_OK;
	return cli_confirm(cli,
					   "A restore or verify that is running may need what has expired, and "
					   "would fail.",
					   "a grace of less than 24h",
					   "Write --yes when no restore and no verify of this repository is running.",
					   err);
}

enum mb_code
cmd_expire(struct mb_cli *cli, struct mb_error *err)
{
	struct retention_config config;
	enum mb_code code = read_retention(cli, &config, err);

	config.options.is_dry = mb_config_flag(&cli->config, "dry-run");
	if (!code)
		code = confirm_grace(cli, &config.options, err);
	if (!code)
		code = mb_expire_run(&cli->stack, &config.options, &cli->answer, err);
	if (cli->answer)
		warn_unknown(cli, &config.options, cli->answer);
	return code;
}

void
cli_expire_after_backup(struct mb_cli *cli)
{
	struct retention_config config;
	json_t *answer = NULL;
	struct mb_error err;
	enum mb_code code;

	mb_error_clear(&err);
	code = read_retention(cli, &config, &err);
	if (!code && !config.after_backup)
		return;
	if (!code)
		code = mb_expire_run(&cli->stack, &config.options, &answer, &err);
	if (answer)
		json_object_update(cli->answer, answer);
	if (code)
		mb_log_warning(&cli->log, "the backup is made, but expire after it: %s", err.message);
	json_decref(answer);
}

enum mb_code
cmd_pin(struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_stack stack = {.env = &cli->env};
	const char *until = cli_option(cli, "until");
	int64_t until_us = 0;
	enum mb_code code = until ? mb_time_parse(&until_us, until, err) : MB_OK;

	if (code)
		return code;
	return mb_pin_run(&stack, cli->words.items[0], cli_option(cli, "reason"), until_us,
					  &cli->answer, err);
}

enum mb_code
cmd_unpin(struct mb_cli *cli, struct mb_error *err)
{
	const struct mb_stack stack = {.env = &cli->env};

	return mb_unpin_run(&stack, cli->words.items[0], &cli->answer, err);
}

/* -- check ----------------------------------------------------------------------------------- */

static enum mb_code
note_oldest(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	const char *id = info->name + strlen("sets/");
	int64_t *oldest_us = ctx;

	(void) err;
	if (mb_id_is_valid(id) && (*oldest_us == 0 || mb_id_time_us(id) < *oldest_us))
		*oldest_us = mb_id_time_us(id);
	return MB_OK;
}

/* A repository that only grows is full one day; a month is time enough to have noticed. */
void
cli_check_retention(struct mb_cli *cli, struct mb_checks *checks)
{
	int64_t oldest_us = 0, now_us = 0;
	struct mb_error err;

	mb_error_clear(&err);
	if (cli->config.retention_count > 0)
	{
		mb_check_add(checks, MB_CHECK_OK, "repository", "retention", "",
					 "backups expire as [retention] says, when mbackup expire runs");
		return;
	}
	if (mb_store_clock(cli->env.repo->store, &now_us, &err) ||
		mb_store_list(cli->env.repo->store, "sets/", note_oldest, &oldest_us, &err))
		mb_check_add(checks, MB_CHECK_SKIPPED, "repository", "retention", "", "%s", err.message);
	else if (oldest_us && now_us - oldest_us > 30 * DAY_US)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "retention",
					 "[retention] and, below it, days = 30 and after-backup = yes in mbackup.conf",
					 "no retention is configured: backups are kept for ever, the oldest since "
					 "%lld days",
					 (long long) ((now_us - oldest_us) / DAY_US));
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "retention", "",
					 "no retention is configured: backups are kept for ever");
}
