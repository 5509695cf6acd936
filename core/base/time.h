/*
 * time.h - times are int64_t microseconds since 1970-01-01 00:00:00 UTC ("_us"),
 * durations are int64_t milliseconds ("_ms").  Text is RFC 3339, UTC, with
 * microseconds: 2026-11-23T06:44:02.123456Z.
 */
#ifndef MB_BASE_TIME_H
#define MB_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

#define MB_TIME_TEXT 80

int64_t mb_time_now_us(void);
int64_t mb_monotonic_ms(void);
void mb_sleep_ms(int64_t ms);
void mb_time_format(char out[MB_TIME_TEXT], int64_t time_us);
/* 20261123T064402Z: sorts by time, for ids. */
void mb_time_compact(char out[MB_TIME_TEXT], int64_t time_us);

/*
 * Parse a time as a user writes it: RFC 3339 or PostgreSQL's ISO style, "T" or a
 * space, seconds and fraction optional, zone "Z", "+02", "+02:00", "+0200" or
 * none.  None means the machine's local zone, as in psql.  MB_CONFIG when it is
 * not a time.
 */
enum mb_code mb_time_parse(int64_t *time_us, const char *text, struct mb_error *err) MB_MUST_CHECK;

/* "500ms", "10s", "5min", "24h", "7d"; a bare number is seconds. */
enum mb_code mb_duration_parse(int64_t *ms, const char *text, struct mb_error *err) MB_MUST_CHECK;

/* "64KiB", "16M", "1GiB", "4096"; K, M, G, T are binary with or without iB or B. */
enum mb_code mb_size_parse(uint64_t *bytes, const char *text, struct mb_error *err) MB_MUST_CHECK;

/* "1.2 GiB", "312 KiB", "17 B". */
#define MB_SIZE_TEXT 32
void mb_size_format(char out[MB_SIZE_TEXT], uint64_t bytes);

#endif
