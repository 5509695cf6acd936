/* cmd_restore.c - restore. */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define MAX_LIST 256

static const char *
option(const struct mb_cli *cli, const char *name)
{
	return mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, 0);
}

/* All values of a repeatable option; free() the array, not the texts. */
static char **
all_values(const struct mb_cli *cli, const char *name, size_t *count)
{
	char **list = mb_calloc(MAX_LIST, sizeof(*list));
	const char *text;
	size_t n = 0;

	while (n < MAX_LIST &&
		   (text = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, n)) != NULL)
		list[n++] = (char *) (uintptr_t) text;
	*count = n;
	return list;
}

static enum mb_code
parse_xid(const char *text, uint64_t *xid, struct mb_error *err)
{
	char *end;

	*xid = isdigit((unsigned char) text[0]) ? strtoull(text, &end, 10) : 0;
	if (*xid == 0 || *end != '\0')
		return mb_fail(err, MB_CONFIG, "\"%s\" is not a transaction id", text);
	return MB_OK;
}

static enum mb_code
read_target(const struct mb_cli *cli, struct mb_target *target, struct mb_error *err)
{
	static const struct
	{
		const char *name;
		enum mb_target_kind kind;
	} kinds[] = {{"to-time", MB_TARGET_TIME},    {"to-mark", MB_TARGET_MARK},
				 {"to-lsn", MB_TARGET_LSN},      {"to-xid", MB_TARGET_XID},
				 {"to-name", MB_TARGET_NAME},    {"to-latest", MB_TARGET_LATEST},
				 {"to-backup", MB_TARGET_BACKUP}};
	const char *action = option(cli, "target-action");
	const char *timeline = option(cli, "timeline");
	const char *first = NULL;
	enum mb_code code = MB_OK;
	size_t i;

	target->kind = MB_TARGET_BACKUP;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		const char *text = option(cli, kinds[i].name);

		if (!text)
			continue;
		if (first)
		{
			mb_fail(err, MB_CONFIG, "--%s and --%s exclude each other", first, kinds[i].name);
			return mb_error_hint(err, "Give one target.");
		}
		first = kinds[i].name;
		target->kind = kinds[i].kind;
		target->text = text;
	}
	if (target->kind == MB_TARGET_TIME)
		code = mb_time_parse(&target->time_us, target->text, err);
	else if (target->kind == MB_TARGET_LSN)
		MB_ASSERT(mb_lsn_parse(&target->lsn, target->text));
	else if (target->kind == MB_TARGET_XID)
		code = parse_xid(target->text, &target->xid, err);
	else if (target->kind == MB_TARGET_LATEST || target->kind == MB_TARGET_BACKUP)
		target->text = NULL;
	target->exclusive = mb_config_flag(&cli->config, "exclusive");
	if (!code && target->exclusive &&
		(target->kind == MB_TARGET_LATEST || target->kind == MB_TARGET_BACKUP ||
		 target->kind == MB_TARGET_MARK || target->kind == MB_TARGET_NAME))
	{
		mb_fail(err, MB_CONFIG, "--exclusive has no meaning for this target");
		return mb_error_hint(err, "It goes with --to-time, --to-lsn and --to-xid.");
	}
	target->timeline = timeline ? (uint32_t) strtoul(timeline, NULL, 10) : 0;
	if (action && strcmp(action, "pause") == 0)
		target->action = MB_ACTION_PAUSE;
	else if (action && strcmp(action, "shutdown") == 0)
		target->action = MB_ACTION_SHUTDOWN;
	return code;
}

/* A relative directory means one here; whoever restores may be somewhere else by then. */
static char *
absolute_destination(const char *text)
{
	char here[PATH_MAX];

	if (text[0] == '/' || text[0] == '\0' || strstr(text, "://") || !getcwd(here, sizeof(here)))
		return mb_strdup(text);
	return mb_path_join(here, text);
}

/* --component NAME[=DESTINATION] */
static struct mb_restore_destination *
read_destinations(const struct mb_cli *cli, size_t *count)
{
	char **texts = all_values(cli, "component", count);
	struct mb_restore_destination *list = mb_calloc(*count + 1, sizeof(*list));
	size_t i;

	for (i = 0; i < *count; i++)
	{
		const char *equals = strchr(texts[i], '=');

		list[i].component =
			equals ? mb_strndup(texts[i], (size_t) (equals - texts[i])) : mb_strdup(texts[i]);
		list[i].destination = equals ? absolute_destination(equals + 1) : NULL;
	}
	free(texts);
	return list;
}

static void
free_destinations(struct mb_restore_destination *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		free(list[i].component);
		free(list[i].destination);
	}
	free(list);
}

/* A restore into a component's own place is asked for twice. */
static enum mb_code
confirm(const struct mb_cli *cli, const struct mb_restore_options *options, struct mb_error *err)
{
	bool own_place = options->destination_count == 0;
	char answer[16];
	size_t i;

	for (i = 0; i < options->destination_count; i++)
		own_place = own_place || !options->destinations[i].destination;
	if (!own_place || mb_config_flag(&cli->config, "yes") || (options->flags & MB_RESTORE_DRY_RUN))
		return MB_OK;
	if (!isatty(STDIN_FILENO))
	{
		mb_fail(err, MB_CONFIG, "a restore into the components' own places must be confirmed");
		return mb_error_hint(err, "Add --yes, or give destinations with --component "
								  "NAME=DIRECTORY.");
	}
	fprintf(stderr, "This restores into the components' own places (they must be empty). Go on? "
					"[y/N] ");
	if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return mb_fail(err, MB_CONFIG, "not confirmed: nothing was done");
	return MB_OK;
}

enum mb_code
cmd_restore(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_restore_options options = {0};
	struct mb_restore_destination *destinations;
	enum mb_code code;

	options.backup = cli->words.count ? cli->words.items[0] : NULL;
	destinations = read_destinations(cli, &options.destination_count);
	options.destinations = destinations;
	options.tablespaces = all_values(cli, "tablespace", &options.tablespace_count);
	options.only = all_values(cli, "only", &options.only_count);
	options.flags = mb_config_flag(&cli->config, "dry-run") ? MB_RESTORE_DRY_RUN : 0;
	code = read_target(cli, &options.target, err);
	if (!code)
		code = confirm(cli, &options, err);
	if (!code)
		code = mb_restore_run(&cli->stack, &options, &cli->answer, err);
	free(options.tablespaces);
	free(options.only);
	free_destinations(destinations, options.destination_count);
	return code;
}
