/* progress_line_test.c - a line of progress in every width, of every name; rates and time left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/progress_line.h"

#define MIB (1024.0 * 1024.0)

static const struct progress_line whole = {.name = "postgres",
										   .phase = "copying",
										   .done_bytes = 30 * 1024 * 1024,
										   .total_bytes = 120 * 1024 * 1024,
										   .bytes_per_s = 10 * MIB};

static char *
format(const struct progress_line *line, size_t columns)
{
	struct mb_buf out = {0};
	char *text;

	progress_line_format(&out, line, columns);
	text = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	return text;
}

/* The judge: columns by the C library, of the whole text at once; -1 when something cannot be shown. */
static int
columns_of(const char *text)
{
	wchar_t wide[1024];
	size_t len = mbstowcs(wide, text, 1024);

	return len == (size_t) -1 ? -1 : wcswidth(wide, len);
}

static void
is_line(const struct progress_line *line, size_t columns, const char *expected)
{
	char *text = format(line, columns);

	assert_string_equal(text, expected);
	free(text);
}

static void
test_progress_line__says_less_in_less_room(void **state)
{
	(void) state;
	is_line(&whole, 100,
			"postgres       copying             25 %  30.0 MiB of 120 MiB  10.0 MiB/s  9 s left");
	is_line(&whole, 70, "postgres       copying             25 %  10.0 MiB/s  9 s left");
	is_line(&whole, 50, "postgres       copying             25 %  9 s left");
	is_line(&whole, 32, "postgres        25 %  9 s left");
	is_line(&whole, 20, "postgres        25 %");
	is_line(&whole, 10, "pos~  25 %");
	is_line(&whole, 3, "  ~");
}

static void
test_progress_line__without_a_total_there_is_no_percent_and_no_end(void **state)
{
	struct progress_line line = whole;

	(void) state;
	line.total_bytes = 0;
	is_line(&line, 100, "postgres       copying             30.0 MiB  10.0 MiB/s");
	line.done_bytes = 0;
	line.bytes_per_s = 0;
	is_line(&line, 100, "postgres       copying");
}

static void
test_progress_line__what_is_over_has_no_time_left(void **state)
{
	struct progress_line line = whole;

	(void) state;
	line.is_over = true;
	line.phase = "failed";
	is_line(&line, 100, "postgres       failed              25 %  30.0 MiB of 120 MiB  10.0 MiB/s");
	/* More than was thought: never above all of it. */
	line.done_bytes = 200 * 1024 * 1024;
	line.is_over = false;
	is_line(&line, 100, "postgres       failed             100 %   200 MiB of 120 MiB  10.0 MiB/s");
}

static void
test_progress_line__long_times(void **state)
{
	struct progress_line line = whole;

	(void) state;
	line.bytes_per_s = 90 * MIB / 200;
	is_line(&line, 60, "postgres       copying             25 %  3 min 20 s left");
	line.bytes_per_s = 90 * MIB / 7500;
	is_line(&line, 60, "postgres       copying             25 %  2 h 05 min left");
	/* Nobody believes that. */
	line.bytes_per_s = 10;
	is_line(&line, 60, "postgres       copying             25 %  10 B/s");
}

static const char *const names[] = {
	"a",
	"a-name-that-is-longer-than-its-column",
	"\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE\xE3\x83\x90\xE3\x82\xB1\xE3\x83\x84\xE5\x90"
	"\x8D",
	"\xF0\x9F\x92\xBE\xF0\x9F\x92\xBE\xF0\x9F\x92\xBE\xF0\x9F\x92\xBE\xF0\x9F\x92\xBE\xF0\x9F\x92"
	"\xBE\xF0\x9F\x92\xBE\xF0\x9F\x92\xBE",
	"Gr\xC3\xBC\xC3\x9F"
	"e",
	"e\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC"
	"\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81",
	"\033[2J\033]0;evil\007\r\n\x9B"
	"2J\x7F",
	"\xFF\xFE\xC3",
	"\xE2\x80\xAE"
	"txt.exe",
	"",
};

static void
test_progress_line__fits_whatever_the_name(void **state)
{
	size_t i, columns;

	(void) state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (columns = 1; columns <= 140; columns++)
		{
			struct progress_line line = whole;
			char *text;
			int width;

			line.name = names[i];
			text = format(&line, columns);
			width = columns_of(text);
			if (width < 0 || (size_t) width > columns || strpbrk(text, "\033\007\r\n\x7F") ||
				strstr(text, "\xE2\x80\xAE"))
				fail_msg("name %zu in %zu columns: %d: \"%s\"", i, columns, width, text);
			free(text);
		}
}

static void
test_progress_line__without_utf8_nothing_but_ascii(void **state)
{
	size_t i;
	char *was = mb_strdup(setlocale(LC_CTYPE, NULL));

	(void) state;
	setlocale(LC_CTYPE, "C");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		struct progress_line line = whole;
		const char *p;
		char *text;

		line.name = names[i];
		text = format(&line, 80);
		for (p = text; *p; p++)
			assert_in_range((unsigned char) *p, ' ', '~');
		free(text);
	}
	setlocale(LC_CTYPE, was);
	free(was);
}

static void
test_progress_rate__follows_and_is_not_fooled(void **state)
{
	struct progress_rate rate = {0};
	int64_t now_ms;

	(void) state;
	progress_rate_look(&rate, 0, 1000);
	assert_int_equal(rate.samples, 0);
	progress_rate_look(&rate, 1000, 60000);
	assert_true(rate.bytes_per_s < 1); /* the minute of waiting before counts for nothing */
	progress_rate_look(&rate, 2000, 61000);
	assert_true(rate.bytes_per_s > 999 && rate.bytes_per_s < 1001);
	progress_rate_look(&rate, 900000, 61100); /* too soon to tell anything */
	assert_true(rate.bytes_per_s < 1001);
	for (now_ms = 62000; now_ms < 92000; now_ms += 1000)
		progress_rate_look(&rate, 2000, now_ms);
	assert_true(rate.bytes_per_s < 1);    /* it stands still: the time left is not known */
	progress_rate_look(&rate, 10, 93000); /* from the beginning again */
	assert_int_equal(rate.samples, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_line__says_less_in_less_room),
		cmocka_unit_test(test_progress_line__without_a_total_there_is_no_percent_and_no_end),
		cmocka_unit_test(test_progress_line__what_is_over_has_no_time_left),
		cmocka_unit_test(test_progress_line__long_times),
		cmocka_unit_test(test_progress_line__fits_whatever_the_name),
		cmocka_unit_test(test_progress_line__without_utf8_nothing_but_ascii),
		cmocka_unit_test(test_progress_rate__follows_and_is_not_fooled),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
