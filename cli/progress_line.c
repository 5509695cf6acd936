/* progress_line.c - see progress_line.h. */
#include "cli/progress_line.h"

#include <string.h>
#include <wchar.h>

#include "core/base/time.h"

#define NAME_COLUMNS 14
#define PHASE_COLUMNS 18
#define LOOK_MS 200
#define SMOOTH 0.3
#define LONGEST_S (99.0 * 3600)

/* -- rates ------------------------------------------------------------------------------------- */

void
progress_rate_look(struct progress_rate *rate, uint64_t done_bytes, int64_t now_ms)
{
	double bytes_per_s;

	if (rate->samples == 0)
	{
		if (done_bytes == 0)
			return;
		*rate = (struct progress_rate){now_ms, now_ms, done_bytes, done_bytes, 0, 1};
		return;
	}
	if (now_ms - rate->last_ms < LOOK_MS)
		return;
	/* Counters never go back, but the run of a second phase may begin at zero again. */
	if (done_bytes < rate->last_bytes)
	{
		*rate = (struct progress_rate){now_ms, now_ms, done_bytes, done_bytes, 0, 1};
		return;
	}
	bytes_per_s =
		(double) (done_bytes - rate->last_bytes) * 1000 / (double) (now_ms - rate->last_ms);
	rate->bytes_per_s =
		rate->samples == 1 ? bytes_per_s : rate->bytes_per_s * (1 - SMOOTH) + bytes_per_s * SMOOTH;
	rate->last_ms = now_ms;
	rate->last_bytes = done_bytes;
	rate->samples++;
}

/* -- columns ----------------------------------------------------------------------------------- */

/*
 * Text of anybody's in at most `columns`, padded to `least`: control characters, escapes, broken
 * UTF-8 and what has no width become "?"; what is cut ends with "~".
 */
static void
put_text(struct mb_buf *out, const char *text, size_t least, size_t columns)
{
	mbstate_t state = {0};
	size_t used = 0, left = strlen(text), cut_len = out->len, cut_used = 0;

	while (left > 0)
	{
		wchar_t wide = 0;
		size_t len = mbrtowc(&wide, text, left, &state);
		int width = len == (size_t) -1 || len == (size_t) -2 ? -1 : wcwidth(wide);

		/* A mark that goes over the character before it has no width: such a name can grow high. */
		bool bad = width <= 0;

		if (bad)
		{
			width = 1;
			if (len == 0 || len == (size_t) -1 || len == (size_t) -2)
				len = 1;
			memset(&state, 0, sizeof(state));
		}
		if (used + (size_t) width > columns)
		{
			out->len = cut_len;
			mb_buf_put_str(out, columns > 0 ? "~" : "");
			used = cut_used + (columns > 0);
			break;
		}
		/* The last place at which a "~" has room. */
		if (used + 1 <= columns)
		{
			cut_len = out->len;
			cut_used = used;
		}
		if (bad)
			mb_buf_put_u8(out, '?');
		else
			mb_buf_put(out, text, len);
		used += (size_t) width;
		text += len;
		left -= len;
	}
	for (; used < least && used < columns; used++)
		mb_buf_put_u8(out, ' ');
}

/* -- the parts ---------------------------------------------------------------------------------- */

enum detail
{
	SAY_PHASE = 1,
	SAY_DONE = 2,
	SAY_TOTAL = 4,
	SAY_PERCENT = 8,
	SAY_RATE = 16,
	SAY_LEFT = 32
};

static void
put_duration(struct mb_buf *out, double seconds)
{
	long s = (long) (seconds + 0.5);

	if (s < 60)
		mb_buf_printf(out, "%ld s", s);
	else if (s < 3600)
		mb_buf_printf(out, "%ld min %02ld s", s / 60, s % 60);
	else
		mb_buf_printf(out, "%ld h %02ld min", s / 3600, s % 3600 / 60);
}

static void
put_numbers(struct mb_buf *out, const struct progress_line *line, unsigned details)
{
	bool has_total = line->total_bytes > 0;
	char text[MB_SIZE_TEXT];

	if ((details & SAY_PERCENT) && has_total)
		mb_buf_printf(out, " %3d %%",
					  line->done_bytes >= line->total_bytes
						  ? 100
						  : (int) (100.0 * (double) line->done_bytes / (double) line->total_bytes));
	if ((details & SAY_DONE) && (has_total ? (details & SAY_TOTAL) != 0 : line->done_bytes > 0))
	{
		mb_size_format(text, line->done_bytes);
		mb_buf_printf(out, " %9s", text);
	}
	if ((details & SAY_TOTAL) && has_total)
	{
		mb_size_format(text, line->total_bytes);
		mb_buf_printf(out, " of %s", text);
	}
	if ((details & SAY_RATE) && line->bytes_per_s >= 1)
	{
		mb_size_format(text, (uint64_t) line->bytes_per_s);
		mb_buf_printf(out, "  %s/s", text);
	}
	if ((details & SAY_LEFT) && !line->is_over && line->bytes_per_s >= 1 &&
		line->total_bytes > line->done_bytes &&
		(double) (line->total_bytes - line->done_bytes) / line->bytes_per_s < LONGEST_S)
	{
		mb_buf_put_str(out, "  ");
		put_duration(out, (double) (line->total_bytes - line->done_bytes) / line->bytes_per_s);
		mb_buf_put_str(out, " left");
	}
}

void
progress_line_format(struct mb_buf *out, const struct progress_line *line, size_t columns)
{
	/* From all that is known to the least that helps: the first that fits. */
	static const unsigned layouts[] = {
		SAY_PHASE | SAY_DONE | SAY_TOTAL | SAY_PERCENT | SAY_RATE | SAY_LEFT,
		SAY_PHASE | SAY_DONE | SAY_PERCENT | SAY_RATE | SAY_LEFT,
		SAY_PHASE | SAY_DONE | SAY_PERCENT | SAY_LEFT,
		SAY_DONE | SAY_PERCENT | SAY_LEFT,
		SAY_DONE | SAY_PERCENT,
	};
	struct mb_buf numbers = {0};
	size_t i, before = 0;

	for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
	{
		mb_buf_reset(&numbers);
		put_numbers(&numbers, line, layouts[i]);
		before = NAME_COLUMNS + (layouts[i] & SAY_PHASE ? 1 + PHASE_COLUMNS : 0);
		if (before + numbers.len <= columns)
			break;
	}
	if (i < sizeof(layouts) / sizeof(layouts[0]))
	{
		put_text(out, line->name, NAME_COLUMNS, NAME_COLUMNS);
		if (layouts[i] & SAY_PHASE)
		{
			mb_buf_put_str(out, " ");
			put_text(out, line->phase, numbers.len ? PHASE_COLUMNS : 0, PHASE_COLUMNS);
		}
	}
	else
	{
		/* Not even a whole name beside them: a shorter one, at last the numbers alone. */
		before = columns > numbers.len ? columns - numbers.len : 0;
		put_text(out, line->name, before, before);
	}
	if (before + numbers.len <= columns)
		mb_buf_put(out, numbers.data, numbers.len);
	else
		put_text(out, mb_buf_cstr(&numbers), 0, columns);
	mb_buf_release(&numbers);
}
