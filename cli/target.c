/* target.c - to which moment: the options that restore, objects and redis share. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/time.h"

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
parse_timeline(const char *text, struct mb_target *target, struct mb_error *err)
{
	char *end;
	unsigned long number;

	if (strcmp(text, "latest") == 0)
		return MB_OK;
	if (strcmp(text, "current") == 0)
	{
		target->timeline = MB_TIMELINE_CURRENT;
		return MB_OK;
	}
	number = isdigit((unsigned char) text[0]) ? strtoul(text, &end, 10) : 0;
	if (number == 0 || number >= MB_TIMELINE_CURRENT || *end != '\0')
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not a timeline", text);
		return mb_error_hint(err, "Write current, latest or a number from 1 on.");
	}
	target->timeline = (uint32_t) number;
	return MB_OK;
}

/* Which of the options says where to; none: the backup itself. */
static enum mb_code
find_target(const struct mb_cli *cli, struct mb_target *target, struct mb_error *err)
{
	static const struct
	{
		const char *name;
		enum mb_target_kind kind;
	} kinds[] = {{"to-time", MB_TARGET_TIME},    {"to-mark", MB_TARGET_MARK},
				 {"to-lsn", MB_TARGET_LSN},      {"to-xid", MB_TARGET_XID},
				 {"to-name", MB_TARGET_NAME},    {"to-latest", MB_TARGET_LATEST},
				 {"to-backup", MB_TARGET_BACKUP}};
	const char *first = NULL;
	size_t i;

	target->kind = MB_TARGET_BACKUP;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		const char *text = cli_option(cli, kinds[i].name);

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
	return MB_OK;
}

/* The option's text as what it stands for. */
static enum mb_code
parse_value(struct mb_target *target, struct mb_error *err)
{
	switch (target->kind)
	{
		case MB_TARGET_TIME:
			return mb_time_parse(&target->time_us, target->text, err);
		case MB_TARGET_LSN:
			MB_ASSERT(mb_lsn_parse(&target->lsn, target->text));
			break;
		case MB_TARGET_XID:
			return parse_xid(target->text, &target->xid, err);
		case MB_TARGET_LATEST:
		case MB_TARGET_BACKUP:
			target->text = NULL;
			break;
		case MB_TARGET_MARK:
		case MB_TARGET_NAME:
			break;
	}
	return MB_OK;
}

/* Of places that can be told exactly: up to it, or without it. */
static enum mb_code
check_exclusive(const struct mb_target *target, struct mb_error *err)
{
	if (!target->exclusive || target->kind == MB_TARGET_TIME || target->kind == MB_TARGET_LSN ||
		target->kind == MB_TARGET_XID)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "--exclusive has no meaning for this target");
	return mb_error_hint(err, "It goes with --to-time, --to-lsn and --to-xid.");
}

enum mb_code
cli_read_target(const struct mb_cli *cli, struct mb_target *target, struct mb_error *err)
{
	const char *action = cli_option(cli, "target-action");
	const char *timeline = cli_option(cli, "timeline");
	enum mb_code code = find_target(cli, target, err);

	if (!code)
		code = parse_value(target, err);
	target->exclusive = mb_config_flag(&cli->config, "exclusive");
	if (!code)
		code = check_exclusive(target, err);
	if (!code && timeline)
		code = parse_timeline(timeline, target, err);
	if (action && strcmp(action, "pause") == 0)
		target->action = MB_ACTION_PAUSE;
	else if (action && strcmp(action, "shutdown") == 0)
		target->action = MB_ACTION_SHUTDOWN;
	return code;
}
