/* time.c - see time.h. */
#include "core/base/time.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/mem.h"

int64_t
mb_time_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
mb_monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
mb_sleep_ms(int64_t ms)
{
	struct timespec ts = {ms / 1000, (ms % 1000) * 1000000};

	/* A signal may cut the sleep short: callers loop on a condition anyway. */
	nanosleep(&ts, NULL);
}

/* Floor division, so that times before 1970 break down correctly too. */
static void
break_down(int64_t time_us, struct tm *tm, int *micros)
{
	int64_t secs = time_us / 1000000;
	int64_t rest = time_us % 1000000;
	time_t t;

	if (rest < 0)
	{
		rest += 1000000;
		secs--;
	}
	t = (time_t) secs;
	gmtime_r(&t, tm);
	*micros = (int) rest;
}

void
mb_time_format(char out[MB_TIME_TEXT], int64_t time_us)
{
	struct tm tm;
	int micros;

	break_down(time_us, &tm, &micros);
	snprintf(out, MB_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", (tm.tm_year + 1900) % 10000,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, micros);
}

void
mb_time_compact(char out[MB_TIME_TEXT], int64_t time_us)
{
	struct tm tm;
	int micros;

	break_down(time_us, &tm, &micros);
	snprintf(out, MB_TIME_TEXT, "%04d%02d%02dT%02d%02d%02dZ", (tm.tm_year + 1900) % 10000,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Exactly n digits at *p, which is advanced; -1 otherwise. */
static int
take_digits(const char **p, int n)
{
	int value = 0;
	int i;

	for (i = 0; i < n; i++)
	{
		if (!isdigit((unsigned char) (*p)[i]))
			return -1;
		value = value * 10 + ((*p)[i] - '0');
	}
	*p += n;
	return value;
}

/* "Z", "+02", "+0200", "+02:00"; true with *offset_s set, or false when it is none of them. */
static bool
take_zone(const char **p, long *offset_s)
{
	int sign, hours, minutes = 0;

	if (**p == 'Z' || **p == 'z')
	{
		(*p)++;
		*offset_s = 0;
		return true;
	}
	if (**p != '+' && **p != '-')
		return false;
	sign = *(*p)++ == '-' ? -1 : 1;
	hours = take_digits(p, 2);
	if (**p == ':')
		(*p)++;
	if (isdigit((unsigned char) **p))
		minutes = take_digits(p, 2);
	if (hours < 0 || hours > 15 || minutes < 0 || minutes > 59)
		return false;
	*offset_s = sign * (hours * 3600L + minutes * 60L);
	return true;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* "2026-11-23" */
static bool
take_date(const char **p, struct tm *tm)
{
	int year, month, day;

	year = take_digits(p, 4);
	if (year < 0 || *(*p)++ != '-')
		return false;
	month = take_digits(p, 2);
	if (month < 1 || month > 12 || *(*p)++ != '-')
		return false;
	day = take_digits(p, 2);
	if (day < 1 || day > days_in_month(year, month))
		return false;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return true;
}

/* ":05" or ":05.25"; what is finer than a microsecond is passed over. */
static bool
take_seconds(const char **p, struct tm *tm, long *micros)
{
	if (**p != ':')
		return true;
	++*p;
	tm->tm_sec = take_digits(p, 2);
	if (tm->tm_sec < 0 || tm->tm_sec > 60)
		return false;
	if (**p == '.')
	{
		long unit = 100000;

		for (++*p; isdigit((unsigned char) **p); ++*p, unit /= 10)
			*micros += (**p - '0') * unit;
	}
	return true;
}

/* "14:05" and what take_seconds takes. */
static bool
take_time_of_day(const char **p, struct tm *tm, long *micros)
{
	tm->tm_hour = take_digits(p, 2);
	if (tm->tm_hour < 0 || tm->tm_hour > 23 || *(*p)++ != ':')
		return false;
	tm->tm_min = take_digits(p, 2);
	return tm->tm_min >= 0 && tm->tm_min <= 59 && take_seconds(p, tm, micros);
}

static bool
parse_time(const char *p, int64_t *time_us)
{
	struct tm tm = {0};
	long micros = 0, offset_s;
	time_t t;

	if (!take_date(&p, &tm))
		return false;
	if (*p == 'T' || *p == 't' || *p == ' ')
	{
		p++;
		if (!take_time_of_day(&p, &tm, &micros))
			return false;
	}
	while (*p == ' ')
		p++;
	if (*p == '\0')
	{
		tm.tm_isdst = -1;
		t = mktime(&tm);
	}
	else
	{
		if (!take_zone(&p, &offset_s) || *p != '\0')
			return false;
		t = timegm(&tm) - offset_s;
	}
	*time_us = (int64_t) t * 1000000 + micros;
	return true;
}

enum mb_code
mb_time_parse(int64_t *time_us, const char *text, struct mb_error *err)
{
	if (!parse_time(text, time_us))
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not a time", text);
		return mb_error_hint(err,
							 "Write it as 2026-11-23T14:05:00Z or \"2026-11-23 14:05:00+01\".");
	}
	return MB_OK;
}

/* A non-negative decimal number; returns what follows it, or NULL. */
static const char *
take_number(const char *text, double *value)
{
	char *end;

	if (!isdigit((unsigned char) text[0]))
		return NULL;
	errno = 0;
	*value = strtod(text, &end);
	if (errno || *value > 1e18)
		return NULL;
	while (*end == ' ')
		end++;
	return end;
}

enum mb_code
mb_duration_parse(int64_t *ms, const char *text, struct mb_error *err)
{
	static const struct
	{
		const char *unit;
		double ms;
	} units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},
				 {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	double value = 0;
	const char *unit = take_number(text, &value);
	size_t i;

	for (i = 0; unit && i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].unit) == 0 && value * units[i].ms < 9e15)
		{
			*ms = (int64_t) (value * units[i].ms);
			return MB_OK;
		}
	mb_fail(err, MB_CONFIG, "\"%s\" is not a duration", text);
	return mb_error_hint(err, "Use a number with ms, s, min, h or d, such as 10s.");
}

enum mb_code
mb_size_parse(uint64_t *bytes, const char *text, struct mb_error *err)
{
	static const char letters[] = "KMGT";
	double value = 0;
	const char *unit = take_number(text, &value);

	if (unit)
	{
		const char *letter = *unit ? strchr(letters, toupper((unsigned char) *unit)) : NULL;
		double factor = 1;

		if (letter)
		{
			factor = (double) ((uint64_t) 1 << (10 * (letter - letters + 1)));
			unit++;
			if (*unit == 'i')
				unit++;
		}
		if (*unit == 'B')
			unit++;
		if (*unit == '\0' && value * factor < 9e18)
		{
			*bytes = (uint64_t) (value * factor);
			return MB_OK;
		}
	}
	mb_fail(err, MB_CONFIG, "\"%s\" is not a size", text);
	return mb_error_hint(err, "Use a number with KiB, MiB, GiB or TiB, such as 64MiB.");
}

void
mb_size_format(char out[MB_SIZE_TEXT], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double) bytes;
	size_t i = 0;

	while (value >= 1023.5 && i < 6)
	{
		value /= 1024;
		i++;
	}
	snprintf(out, MB_SIZE_TEXT, i == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[i]);
}
