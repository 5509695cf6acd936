/* cron_next.c - see cron.h: when an expression comes true, by a clock that is changed now and then. */
#include "cli/cron.h"

#include <time.h>

#define MAX_DAYS 2930 /* 29 February comes after 8 years when a century is no leap year */
/* How far clocks are put back or forward at most, and a bit. */
#define CHANGE_MINUTES 180
#define MARGIN_MINUTES 240
#define DAY_MINUTES 1440

/* Minutes of the local clock since 1970, as it shows them. */
static int64_t
local_of(int64_t minute)
{
	time_t t = (time_t) (minute * 60);
	struct tm tm;
	int64_t seconds;

	localtime_r(&t, &tm);
	seconds = (int64_t) t + tm.tm_gmtoff;
	return seconds >= 0 ? seconds / 60 : -((59 - seconds) / 60);
}

static int64_t
day_of(int64_t local)
{
	return local >= 0 ? local / DAY_MINUTES : -((DAY_MINUTES - 1 - local) / DAY_MINUTES);
}

static bool
day_fits(const struct mb_cron *cron, int64_t day)
{
	time_t t = (time_t) (day * 86400);
	struct tm tm;
	bool fits_day, fits_weekday;

	gmtime_r(&t, &tm);
	fits_day = cron->days >> tm.tm_mday & 1;
	fits_weekday = cron->weekdays >> tm.tm_wday & 1;
	return (cron->months >> (tm.tm_mon + 1) & 1) &&
		   (cron->is_both ? fits_day && fits_weekday : fits_day || fits_weekday);
}

static bool
fits(const struct mb_cron *cron, int64_t local)
{
	int64_t day = day_of(local), in_day = local - day * DAY_MINUTES;

	return (cron->minutes >> (in_day % 60) & 1) && (cron->hours >> (in_day / 60) & 1) &&
		   day_fits(cron, day);
}

/* What the clock has shown already: it may stand in a repeated hour. */
static int64_t
highest_until(int64_t minute)
{
	int64_t highest = local_of(minute), back;

	for (back = 1; back <= CHANGE_MINUTES; back++)
	{
		int64_t shown = local_of(minute - back);

		highest = shown > highest ? shown : highest;
	}
	return highest;
}

/* Over days that do not fit, to some hours before the next that does; the same minute when there is none to skip. */
static int64_t
skip_days(const struct mb_cron *cron, int64_t minute, int64_t *days_left)
{
	int64_t local = local_of(minute), day = day_of(local), target;

	while (*days_left > 0 && !day_fits(cron, day))
	{
		day++;
		(*days_left)--;
	}
	target = day * DAY_MINUTES - MARGIN_MINUTES;
	if (target <= local)
		return minute;
	/* Across the date line a day may be missing: then minute by minute. */
	return local_of(minute + target - local) < day * DAY_MINUTES - 60 ? minute + target - local
																	  : minute;
}

/* The clock is looked at once a minute, as cronie does it; what it did since the last look says what is run. */
int64_t
mb_cron_next(const struct mb_cron *cron, int64_t after_us)
{
	int64_t minute = after_us / 60000000, days_left = MAX_DAYS, highest, last_day;

	highest = highest_until(minute);
	last_day = day_of(local_of(minute));
	while (days_left > 0)
	{
		int64_t now, shown;

		minute++;
		now = local_of(minute);
		if (cron->is_wild && fits(cron, now))
			return minute * 60000000;
		for (shown = highest + 1; !cron->is_wild && shown <= now; shown++)
			if (fits(cron, shown))
				return minute * 60000000;
		highest = now > highest ? now : highest;
		if (day_of(now) != last_day)
		{
			int64_t skipped = skip_days(cron, minute, &days_left);

			days_left--;
			if (skipped != minute)
				highest = highest_until(skipped);
			minute = skipped;
			last_day = day_of(local_of(minute));
		}
	}
	return 0;
}
