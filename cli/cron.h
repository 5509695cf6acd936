/*
 * cron.h - when something is due: cron expressions, and calendar expressions of systemd.
 *
 * Of cron: five fields, and @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, as cronie reads them.
 * Of systemd: the words minutely to yearly, and "[WEEKDAYS] [*-MONTHS-DAYS] [HOURS:MINUTES[:00]]" with lists, ".." and "/", so
 * "Mon..Fri 02:00", "*-*-01 03:30:00", "*:0/15".  No years, seconds, zones, or days from the end.
 *
 * Times are those of the local zone.  When its clocks change: if minute or hour begins with "*", a time that is skipped
 * does not happen and one that comes twice happens twice; any other is a time of the day, which happens
 * once: a skipped one at the moment of the change.
 */
#ifndef MB_CLI_CRON_H
#define MB_CLI_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/mem.h"

struct mb_cron
{
	uint64_t minutes; /* bit n: minute n, and so on */
	uint64_t hours;
	uint64_t days;     /* from bit 1 */
	uint64_t months;   /* from bit 1 */
	uint64_t weekdays; /* bit 0: Sunday */
	bool is_wild;      /* follows the clock as it is */
	bool is_both;      /* day and weekday must fit; else one of them is enough */
};

/* MB_CONFIG that says which part is wrong. */
enum mb_code mb_cron_parse(struct mb_cron *cron, const char *text,
						   struct mb_error *err) MB_MUST_CHECK;
/* The first time behind after_us, a whole minute; 0 when there is none within 8 years. */
int64_t mb_cron_next(const struct mb_cron *cron, int64_t after_us);
/* Lines of a timer of systemd that mean the same. */
void mb_cron_on_calendar(const struct mb_cron *cron, struct mb_buf *out);

#endif
