/* retention.c - see retention.h: the rules, for one component. */
#include "core/engine/retention.h"

#include <stdio.h>
#include <time.h>

#include "core/base/mem.h"
#include "core/engine/retention_private.h"

#define DAY_US (24LL * 3600 * 1000000)

bool
mb_policy_keeps_something(const struct mb_policy *policy)
{
	return policy->days > 0 || policy->last > 0 || policy->hourly > 0 || policy->daily > 0 ||
		   policy->weekly > 0 || policy->monthly > 0 || policy->yearly > 0 || policy->window_us > 0;
}

json_t *
mb_policy_json(const struct mb_policy *policy)
{
	const struct
	{
		const char *name;
		int64_t value;
	} members[] = {{"days", policy->days},     {"last", policy->last},
				   {"hourly", policy->hourly}, {"daily", policy->daily},
				   {"weekly", policy->weekly}, {"monthly", policy->monthly},
				   {"yearly", policy->yearly}, {"window_seconds", policy->window_us / 1000000}};
	json_t *json;
	size_t i;

	if (!policy->is_set)
		return json_null();
	json = json_object();
	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].value > 0)
			mb_json_set_int(json, members[i].name, members[i].value);
	return json;
}

/* -- periods --------------------------------------------------------------------------------- */

enum period
{
	PERIOD_HOUR,
	PERIOD_DAY,
	PERIOD_WEEK,
	PERIOD_MONTH,
	PERIOD_YEAR
};

/* A number that all moments of one period share, and no others. */
static int64_t
period_of(enum period period, int64_t time_us)
{
	time_t seconds = (time_t) (time_us / 1000000);
	int64_t day = time_us / DAY_US;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	switch (period)
	{
		case PERIOD_HOUR:
			return time_us / 3600000000LL;
		case PERIOD_DAY:
			return day;
		case PERIOD_WEEK:
			return (day + 3) / 7; /* 1 January 1970 was a Thursday; weeks begin on Monday */
		case PERIOD_MONTH:
			return (int64_t) tm.tm_year * 12 + tm.tm_mon;
		case PERIOD_YEAR:
			return tm.tm_year;
	}
	MB_BUG("unknown period");
}

/* -- rules ----------------------------------------------------------------------------------- */

static void
keep(struct mb_candidate *candidate, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(candidate->part->why, json_string(text));
	candidate->part->is_kept = candidate->part->is_wanted = true;
}

static void
keep_periods(struct mb_candidate *candidates, size_t count, enum period period, const char *name,
			 int64_t want)
{
	int64_t found = 0, last = 0;
	size_t i;

	for (i = count; i-- > 0 && found < want;)
	{
		int64_t number = period_of(period, candidates[i].time_us);

		if (candidates[i].is_future || (found > 0 && number >= last))
			continue;
		last = number;
		found++;
		keep(&candidates[i], "%s %lld of %lld", name, (long long) found, (long long) want);
	}
}

static void
keep_last(struct mb_candidate *candidates, size_t count, int64_t want)
{
	int64_t found = 0;
	size_t i;

	for (i = count; i-- > 0 && found < want;)
		if (!candidates[i].is_future)
		{
			candidates[i].opens_window = true;
			keep(&candidates[i], "last %lld of %lld", (long long) ++found, (long long) want);
		}
}

static void
keep_days(struct mb_candidate *candidates, size_t count, int64_t days, int64_t now_us)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!candidates[i].is_future && now_us - candidates[i].time_us < days * DAY_US)
		{
			candidates[i].opens_window = true;
			keep(&candidates[i], "younger than %lld day%s", (long long) days, days == 1 ? "" : "s");
		}
}

static const char *
duration_text(int64_t us, char out[64])
{
	if (us % DAY_US == 0)
		snprintf(out, 64, "%lld day%s", (long long) (us / DAY_US), us == DAY_US ? "" : "s");
	else if (us % 3600000000LL == 0)
		snprintf(out, 64, "%lld h", (long long) (us / 3600000000LL));
	else
		snprintf(out, 64, "%lld s", (long long) (us / 1000000));
	return out;
}

/* The newest one from which the whole window can be reached; all when it is not so old yet. */
static int64_t
keep_window(struct mb_candidate *candidates, size_t count, int64_t window_us, int64_t now_us)
{
	struct mb_candidate *first = NULL;
	char text[64];
	size_t i;

	for (i = 0; i < count; i++)
		if (!candidates[i].is_future && (!first || candidates[i].time_us <= now_us - window_us))
			first = &candidates[i];
	if (!first)
		return INT64_MIN;
	keep(first, "the recovery window of %s begins here", duration_text(window_us, text));
	return first->time_us;
}

/* Never empty: the newest whole backup of a component, and the newest at all. */
static void
keep_newest(struct mb_candidate *candidates, size_t count)
{
	struct mb_candidate *newest = NULL, *whole = NULL;
	size_t i;

	for (i = 0; i < count; i++)
		if (!candidates[i].is_future)
		{
			newest = &candidates[i];
			if (!candidates[i].is_incomplete)
				whole = &candidates[i];
		}
	if (whole && !whole->part->is_wanted)
		keep(whole, "the newest complete backup of %s", whole->part->component);
	if (newest && newest != whole && !newest->part->is_wanted)
		keep(newest, "the newest backup of %s", newest->part->component);
}

int64_t
mb_candidates_judge(struct mb_candidate *candidates, size_t count, const struct mb_policy *policy,
					int64_t now_us)
{
	int64_t from_us = INT64_MIN;
	size_t i;

	if (!policy->is_set)
	{
		for (i = 0; i < count; i++)
			keep(&candidates[i], "no retention is configured");
		return INT64_MIN;
	}
	keep_days(candidates, count, policy->days, now_us);
	keep_last(candidates, count, policy->last);
	keep_periods(candidates, count, PERIOD_HOUR, "hourly", policy->hourly);
	keep_periods(candidates, count, PERIOD_DAY, "daily", policy->daily);
	keep_periods(candidates, count, PERIOD_WEEK, "weekly", policy->weekly);
	keep_periods(candidates, count, PERIOD_MONTH, "monthly", policy->monthly);
	keep_periods(candidates, count, PERIOD_YEAR, "yearly", policy->yearly);
	if (policy->window_us > 0)
		from_us = keep_window(candidates, count, policy->window_us, now_us);
	keep_newest(candidates, count);
	for (i = 0; policy->window_us == 0 && from_us == INT64_MIN && i < count; i++)
		if (candidates[i].opens_window)
			from_us = candidates[i].time_us;
	/* Neither days nor last: the newest backup, and what comes behind it. */
	for (i = count; from_us == INT64_MIN && i-- > 0;)
		if (!candidates[i].is_future)
			from_us = candidates[i].time_us;
	return from_us;
}
