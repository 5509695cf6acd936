/*
 * log.h - the log: what happened, on stderr, as text or JSON lines.
 *
 * A struct mb_log is made once by cli/ and passed down; NULL is a valid log that
 * drops everything.  Lines are written with one write(2) each, so that threads
 * do not interleave.  Nothing secret is ever passed to it.  Functions that
 * return an error do not log it: the caller decides.
 */
#ifndef MB_BASE_LOG_H
#define MB_BASE_LOG_H

#include "core/base/error.h"

enum mb_log_level
{
	MB_LOG_ERROR,
	MB_LOG_WARNING,
	MB_LOG_INFO,
	MB_LOG_DEBUG
};

enum mb_log_format
{
	MB_LOG_TEXT,
	MB_LOG_JSON
};

struct mb_log
{
	enum mb_log_level level;
	enum mb_log_format format;
	int fd;
	const char
		*before; /* stands before each line in the same write: what clears a terminal; or NULL */
};

void mb_log(const struct mb_log *log, enum mb_log_level level, const char *fmt, ...)
	MB_PRINTF(3, 4);

#define mb_log_warning(log, ...) mb_log(log, MB_LOG_WARNING, __VA_ARGS__)
#define mb_log_info(log, ...) mb_log(log, MB_LOG_INFO, __VA_ARGS__)
#define mb_log_debug(log, ...) mb_log(log, MB_LOG_DEBUG, __VA_ARGS__)

/* Append s to out as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
struct mb_buf;
void mb_json_quote(struct mb_buf *out, const char *s);

#endif
