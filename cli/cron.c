/* cron.c - see cron.h: reading an expression, and writing it for systemd. */
#include "cli/cron.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX 256
#define MAX_WORDS 8

/* One field: what it is called, and its numbers. */
struct field
{
	const char *what;
	unsigned low;
	unsigned high;
	const char *names; /* of three letters each, from `first` on; or NULL */
	unsigned first;
};

static const struct field minute_field = {"minute", 0, 59, NULL, 0};
static const struct field hour_field = {"hour", 0, 23, NULL, 0};
static const struct field day_field = {"day of month", 1, 31, NULL, 0};
static const struct field month_field = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1};
static const struct field weekday_field = {"day of week", 0, 7, "sunmontuewedthufrisat", 0};

static enum mb_code
refuse(const struct field *field, const char *item, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "\"%s\" is no %s", item, field->what);
	return mb_error_hint(err,
						 "Numbers from %u to %u are possible%s; in a cron expression *, 1-5, 1,3 "
						 "and "
						 "*/2, in a calendar expression *, 1..5, 1,3 and 0/2.",
						 field->low, field->high,
						 field->names ? ", and names of three letters" : "");
}

/* A number or a name at *p, which goes behind it. */
static bool
read_number(const struct field *field, const char **p, unsigned *number)
{
	size_t i, len = 0;

	while (isdigit((unsigned char) (*p)[len]))
		len++;
	if (len > 0)
	{
		*number = (unsigned) strtoul(*p, NULL, 10);
		*p += len;
		return len <= 2 && *number >= field->low && *number <= field->high;
	}
	while (isalpha((unsigned char) (*p)[len]))
		len++;
	for (i = 0; field->names && len >= 3 && i < strlen(field->names); i += 3)
		if (strncasecmp(*p, field->names + i, 3) == 0)
		{
			*number = field->first + (unsigned) i / 3;
			*p += len;
			return true;
		}
	return false;
}

enum dialect
{
	CRON,
	CALENDAR
};

/* "*", "1", "1-5", "1..5", each with a step. */
static enum mb_code
read_item(const struct field *field, enum dialect dialect, const char *item, uint64_t *set,
		  struct mb_error *err)
{
	const char *span = dialect == CRON ? "-" : "..", *p = item;
	unsigned from = field->low, to = field == &weekday_field ? 6 : field->high, step = 1;
	bool is_range = true;

	if (*p == '*')
		p++;
	else
	{
		if (!read_number(field, &p, &from))
			return refuse(field, item, err);
		is_range = strncmp(p, span, strlen(span)) == 0;
		to = from;
		if (is_range)
			p += strlen(span);
		if (is_range && (!read_number(field, &p, &to)))
			return refuse(field, item, err);
	}
	if (*p == '/')
	{
		char *end;

		step = isdigit((unsigned char) p[1]) && strlen(p) <= 5 ? (unsigned) strtoul(p + 1, &end, 10)
															   : 0;
		/* "5/15" is a calendar's: from 5 on. */
		if (step == 0 || *end || (!is_range && dialect == CRON))
			return refuse(field, item, err);
		to = is_range ? to : field->high;
		p = end;
	}
	/* Of systemd a week may go on over its end. */
	if (from > to && dialect == CALENDAR && field == &weekday_field)
		to += 7;
	if (*p || from > to)
		return refuse(field, item, err);
	for (; from <= to; from += step)
		*set |= 1ull << (field == &weekday_field ? from % 7 : from);
	return MB_OK;
}

static enum mb_code
read_field(const struct field *field, enum dialect dialect, const char *text, uint64_t *set,
		   struct mb_error *err)
{
	enum mb_code code = MB_OK;
	const char *p = text;

	*set = 0;
	while (!code && p)
	{
		const char *comma = strchr(p, ',');
		char *item = comma ? mb_strndup(p, (size_t) (comma - p)) : mb_strdup(p);

		code = read_item(field, dialect, item, set, err);
		free(item);
		p = comma ? comma + 1 : NULL;
	}
	return code;
}

/* -- cron ------------------------------------------------------------------------------------- */

static enum mb_code
read_cron(struct mb_cron *cron, char *const *words, struct mb_error *err)
{
	enum mb_code code = read_field(&minute_field, CRON, words[0], &cron->minutes, err);

	if (!code)
		code = read_field(&hour_field, CRON, words[1], &cron->hours, err);
	if (!code)
		code = read_field(&day_field, CRON, words[2], &cron->days, err);
	if (!code)
		code = read_field(&month_field, CRON, words[3], &cron->months, err);
	if (!code)
		code = read_field(&weekday_field, CRON, words[4], &cron->weekdays, err);
	cron->is_wild = words[0][0] == '*' || words[1][0] == '*';
	cron->is_both = words[2][0] == '*' || words[4][0] == '*';
	return code;
}

/* -- calendar ----------------------------------------------------------------------------------- */

static enum mb_code
bad_calendar(const char *part, const char *why, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "\"%s\" cannot be used: %s", part, why);
	return mb_error_hint(err, "Write for example Mon..Fri 02:00, *-*-01 03:30, *:0/15 or daily.");
}

/* [YEAR-]MONTH-DAY */
static enum mb_code
read_date(struct mb_cron *cron, char *text, struct mb_error *err)
{
	char *day = strrchr(text, '-'), *month;
	enum mb_code code;

	*day++ = '\0';
	month = strrchr(text, '-');
	if (month)
		*month++ = '\0';
	if (month && strcmp(text, "*") != 0)
		return bad_calendar(text, "a year other than *", err);
	code = read_field(&month_field, CALENDAR, month ? month : text, &cron->months, err);
	return code ? code : read_field(&day_field, CALENDAR, day, &cron->days, err);
}

/* HOUR:MINUTE[:SECOND] */
static enum mb_code
read_time(struct mb_cron *cron, char *text, struct mb_error *err)
{
	char *minute = strchr(text, ':'), *second;
	enum mb_code code;

	*minute++ = '\0';
	second = strchr(minute, ':');
	if (second)
		*second++ = '\0';
	if (second && strcmp(second, "0") != 0 && strcmp(second, "00") != 0)
		return bad_calendar(second, "seconds other than 00", err);
	cron->is_wild = text[0] == '*' || minute[0] == '*';
	code = read_field(&hour_field, CALENDAR, text, &cron->hours, err);
	return code ? code : read_field(&minute_field, CALENDAR, minute, &cron->minutes, err);
}

static enum mb_code
read_calendar(struct mb_cron *cron, char *const *words, size_t count, struct mb_error *err)
{
	unsigned stage = 0; /* weekdays, date, time: in this order, each at most once */
	enum mb_code code = MB_OK;
	size_t i;

	*cron = (struct mb_cron){1, 1, ~1ull & 0xFFFFFFFF, 0x1FFE, 0x7F, false, true};
	for (i = 0; !code && i < count; i++)
	{
		unsigned part = strchr(words[i], ':')                  ? 3
						: isalpha((unsigned char) words[i][0]) ? 1
						: strchr(words[i], '-')                ? 2
															   : 0;

		if (part <= stage)
			return bad_calendar(words[i], "it is no weekday, date or time where it stands", err);
		stage = part;
		code = part == 1   ? read_field(&weekday_field, CALENDAR, words[i], &cron->weekdays, err)
			   : part == 2 ? read_date(cron, words[i], err)
						   : read_time(cron, words[i], err);
	}
	return code;
}

/* -- both ------------------------------------------------------------------------------------------ */

/* Words for whole expressions; those with "@" are cron's, whose week begins on Sunday. */
static const char *
meaning_of(const char *word)
{
	static const struct
	{
		const char *word;
		const char *meaning;
	} known[] = {
		{"@hourly", "0 * * * *"},          {"@daily", "0 0 * * *"},
		{"@midnight", "0 0 * * *"},        {"@weekly", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"},         {"@yearly", "0 0 1 1 *"},
		{"@annually", "0 0 1 1 *"},        {"minutely", "* * * * *"},
		{"hourly", "0 * * * *"},           {"daily", "0 0 * * *"},
		{"weekly", "0 0 * * 1"},           {"monthly", "0 0 1 * *"},
		{"quarterly", "0 0 1 1,4,7,10 *"}, {"semiannually", "0 0 1 1,7 *"},
		{"yearly", "0 0 1 1 *"},           {"annually", "0 0 1 1 *"},
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(known[i].word, word) == 0)
			return known[i].meaning;
	return NULL;
}

enum mb_code
mb_cron_parse(struct mb_cron *cron, const char *text, struct mb_error *err)
{
	char *words[MAX_WORDS], *copy, *save = NULL, *word;
	const char *meaning;
	enum mb_code code;
	size_t count = 0;

	if (strlen(text) > TEXT_MAX)
		return mb_fail(err, MB_CONFIG, "an expression of %zu bytes is too long", strlen(text));
	copy = mb_strdup(text);
	for (word = strtok_r(copy, " \t", &save); word && count < MAX_WORDS;
		 word = strtok_r(NULL, " \t", &save))
		words[count++] = word;
	meaning = count == 1 ? meaning_of(words[0]) : NULL;
	if (meaning)
		code = mb_cron_parse(cron, meaning, err);
	else if (count == 5 && !strchr(text, ':'))
		code = read_cron(cron, words, err);
	else if (count == 0 || count > 3)
	{
		code = mb_fail(err, MB_CONFIG,
					   "it has not the five fields minute, hour, day of month, month, "
					   "day of week");
		mb_error_hint(err, "Write for example 0 2 * * * (every night at two), @daily, or Mon..Fri "
						   "02:00.");
	}
	else
		code = read_calendar(cron, words, count, err);
	free(copy);
	return code ? mb_error_context(err, "could not read \"%s\"", text) : MB_OK;
}

/* -- for systemd ---------------------------------------------------------------------------------------- */

static void
put_set(struct mb_buf *out, uint64_t set, unsigned low, unsigned high)
{
	bool is_first = true;
	unsigned i;

	if (set == ((high == 63 ? 0 : 1ull << (high + 1)) - 1) - ((1ull << low) - 1))
	{
		mb_buf_put_str(out, "*");
		return;
	}
	for (i = low; i <= high; i++)
		if (set >> i & 1)
		{
			mb_buf_printf(out, "%s%02u", is_first ? "" : ",", i);
			is_first = false;
		}
}

static void
put_line(const struct mb_cron *cron, uint64_t days, uint64_t weekdays, struct mb_buf *out)
{
	static const char names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	bool is_first = true;
	unsigned i;

	mb_buf_put_str(out, "OnCalendar=");
	for (i = 0; weekdays != 0x7F && i < 7; i++)
		if (weekdays >> i & 1)
		{
			mb_buf_printf(out, "%s%s", is_first ? "" : ",", names[i]);
			is_first = false;
		}
	mb_buf_put_str(out, is_first ? "*-" : " *-");
	put_set(out, cron->months, 1, 12);
	mb_buf_put_str(out, "-");
	put_set(out, days, 1, 31);
	mb_buf_put_str(out, " ");
	put_set(out, cron->hours, 0, 23);
	mb_buf_put_str(out, ":");
	put_set(out, cron->minutes, 0, 59);
	mb_buf_put_str(out, ":00\n");
}

void
mb_cron_on_calendar(const struct mb_cron *cron, struct mb_buf *out)
{
	const uint64_t every_day = 0xFFFFFFFEull;

	if (cron->is_both)
	{
		put_line(cron, cron->days, cron->weekdays, out);
		return;
	}
	/* Either of them: a timer elapses when any of its lines does. */
	put_line(cron, cron->days, 0x7F, out);
	put_line(cron, every_day, cron->weekdays, out);
}
