/*
 * progress_line.h - one line of progress: what it says, in as many columns as there are.
 *
 * Pure: no clock, no terminal.  Widths are those of the C locale of the calling thread (wcwidth), so
 * the caller chooses UTF-8 by uselocale(); what is no printable character there becomes a "?".
 */
#ifndef MB_CLI_PROGRESS_LINE_H
#define MB_CLI_PROGRESS_LINE_H

#include "core/base/mem.h"

/* What is known of one component; all zero: not begun. */
struct progress_rate
{
	int64_t first_ms; /* when its first byte was seen */
	int64_t last_ms;
	uint64_t first_bytes;
	uint64_t last_bytes;
	double bytes_per_s; /* smoothed; 0: not known yet */
	unsigned samples;
};
/* Look again; looks that are less than 200 ms apart are one. */
void progress_rate_look(struct progress_rate *rate, uint64_t done_bytes, int64_t now_ms);

struct progress_line
{
	const char *name;  /* from outside: anything */
	const char *phase; /* a literal */
	uint64_t done_bytes;
	uint64_t total_bytes; /* 0: not known */
	double bytes_per_s;   /* 0: not known */
	bool is_over;         /* nothing is left to wait for */
};

/* Append the line, without a newline; at most `columns` wide, of which 1 is the least. */
void progress_line_format(struct mb_buf *out, const struct progress_line *line, size_t columns);

#endif
