/* options_value.c - values of options: kept with where they came from, and checked by the type of their row. */
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "core/base/json.h"
#include "core/base/time.h"

void
mb_values_add(struct mb_values *values, const struct mb_option *option, const char *text,
			  const char *origin)
{
	values->items = mb_grow(values->items, &values->cap, values->count + 1, sizeof(*values->items));
	values->items[values->count++] = (struct mb_value){option, mb_strdup(text), mb_strdup(origin)};
}

void
mb_values_release(struct mb_values *values)
{
	size_t i;

	for (i = 0; i < values->count; i++)
	{
		free(values->items[i].text);
		free(values->items[i].origin);
	}
	free(values->items);
	memset(values, 0, sizeof(*values));
}

const char *
mb_values_get(const struct mb_values *values, enum mb_scope scope, const char *name, size_t i)
{
	size_t j;

	for (j = 0; j < values->count; j++)
		if (values->items[j].option->scope == scope &&
			strcmp(values->items[j].option->name, name) == 0 && i-- == 0)
			return values->items[j].text;
	return NULL;
}

static bool
is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	const char *p = choices;

	while (p)
	{
		if (strncmp(p, text, len) == 0 && (p[len] == '|' || p[len] == '\0'))
			return true;
		p = strchr(p, '|');
		if (p)
			p++;
	}
	return false;
}

static enum mb_code
check_integer(const char *text, const char *origin, struct mb_error *err)
{
	char *end;
	long value;

	if (strcmp(text, "auto") == 0)
		return MB_OK;
	value = strtol(text, &end, 10);
	if (*end != '\0' || end == text || value < 1 || value > 1000000)
		return mb_fail(err, MB_CONFIG, "%s: \"%s\" is not a number from 1 on", origin, text);
	return MB_OK;
}

static enum mb_code
check_flag(const char *text, const char *origin, struct mb_error *err)
{
	if (is_choice("on|off|true|false|yes|no|1|0", text))
		return MB_OK;
	return mb_fail(err, MB_CONFIG, "%s: \"%s\" is neither on nor off", origin, text);
}

enum mb_code
mb_option_check(const struct mb_option *option, const char *text, const char *origin,
				struct mb_error *err)
{
	enum mb_code code = MB_OK;
	uint64_t number;
	int64_t duration;

	switch (option->type)
	{
		case OPT_CHOICE:
			if (is_choice(option->choices, text))
				return MB_OK;
			mb_fail(err, MB_CONFIG, "%s: \"%s\" is not possible here", origin, text);
			return mb_error_hint(err, "Choose one of %s.", option->choices);
		case OPT_INTEGER:
			return check_integer(text, origin, err);
		case OPT_FLAG:
			return check_flag(text, origin, err);
		case OPT_SIZE:
			code = mb_size_parse(&number, text, err);
			break;
		case OPT_DURATION:
			code = mb_duration_parse(&duration, text, err);
			break;
		case OPT_TIME:
			code = mb_time_parse(&duration, text, err);
			break;
		case OPT_LSN:
			if (!mb_lsn_parse(&number, text))
			{
				code = mb_fail(err, MB_CONFIG, "\"%s\" is not a WAL position", text);
				mb_error_hint(err, "Write it as Postgres does, such as 0/3000148.");
			}
			break;
		default:
			break;
	}
	return code ? mb_error_context(err, "%s", origin) : MB_OK;
}
