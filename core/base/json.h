/*
 * json.h - JSON by jansson, the only header that includes it.
 *
 * json_t values are reference counted: json_decref what you own.  mb_json_parse
 * is strict: duplicate keys are refused, depth is bounded by jansson (2048), and
 * the caller bounds the length before.
 */
#ifndef MB_BASE_JSON_H
#define MB_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

/* Parse one object; MB_CORRUPT naming `what` when it is not one.  *out is owned by the caller. */
enum mb_code mb_json_parse(json_t **out, const char *text, size_t len, const char *what,
						   struct mb_error *err) MB_MUST_CHECK;

/* Compact text with sorted keys, so that equal documents have equal bytes; free() it. */
char *mb_json_text(const json_t *json);

/* Typed members; the default when absent or of another type.  Strings are borrowed. */
const char *mb_json_str(const json_t *object, const char *key, const char *dflt);
/* The text that a value is, such as an element of an array; the default when it is none, or NULL. */
const char *mb_json_value_str(const json_t *value, const char *dflt);
int64_t mb_json_int(const json_t *object, const char *key, int64_t dflt);
bool mb_json_bool(const json_t *object, const char *key, bool dflt);
/* A member that mb_json_set_time wrote; 0 when absent or not a time. */
int64_t mb_json_time(const json_t *object, const char *key);

void mb_json_set_str(json_t *object, const char *key, const char *value); /* U+FFFD for bad UTF-8 */
void mb_json_set_int(json_t *object, const char *key, int64_t value);
void mb_json_set_bool(json_t *object, const char *key, bool value);
void mb_json_set_time(json_t *object, const char *key, int64_t time_us); /* RFC 3339 */
void mb_json_set_lsn(json_t *object, const char *key, uint64_t lsn);     /* X/XXXXXXXX */
bool mb_lsn_parse(uint64_t *lsn, const char *text);

#endif
