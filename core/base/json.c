/* json.c - see json.h. */
#include "core/base/json.h"

#include <ctype.h>
#include <stdio.h>

#include "core/base/log.h"
#include "core/base/mem.h"
#include "core/base/time.h"

enum mb_code
mb_json_parse(json_t **out, const char *text, size_t len, const char *what, struct mb_error *err)
{
	json_error_t why;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

	if (!json)
		return mb_fail(err, MB_CORRUPT, "%s is not valid JSON: line %d: %s", what, why.line,
					   why.text);
	if (!json_is_object(json))
	{
		json_decref(json);
		return mb_fail(err, MB_CORRUPT, "%s is not a JSON object", what);
	}
	*out = json;
	return MB_OK;
}

char *
mb_json_text(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text)
		MB_BUG("out of memory");
	return text;
}

const char *
mb_json_str(const json_t *object, const char *key, const char *dflt)
{
	return mb_json_value_str(json_object_get(object, key), dflt);
}

const char *
mb_json_value_str(const json_t *value, const char *dflt)
{
	return json_is_string(value) ? json_string_value(value) : dflt;
}

int64_t
mb_json_int(const json_t *object, const char *key, int64_t dflt)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (int64_t) json_integer_value(value) : dflt;
}

bool
mb_json_bool(const json_t *object, const char *key, bool dflt)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : dflt;
}

int64_t
mb_json_time(const json_t *object, const char *key)
{
	const char *text = mb_json_str(object, key, NULL);
	struct mb_error ignored;
	int64_t time_us;

	if (!text || mb_time_parse(&time_us, text, &ignored) != MB_OK)
		return 0;
	return time_us;
}

void
mb_json_set_str(json_t *object, const char *key, const char *value)
{
	json_t *string = json_string(value);

	if (!string)
	{
		/* Not UTF-8 (a hostile file name): quote with replacements and decode again. */
		struct mb_buf quoted = {0};

		mb_json_quote(&quoted, value);
		string = json_loadb((const char *) quoted.data, quoted.len, JSON_DECODE_ANY, NULL);
		mb_buf_release(&quoted);
	}
	if (json_object_set_new(object, key, string))
		MB_BUG("could not set JSON member \"%s\"", key);
}

void
mb_json_set_int(json_t *object, const char *key, int64_t value)
{
	if (json_object_set_new(object, key, json_integer(value)))
		MB_BUG("could not set JSON member \"%s\"", key);
}

void
mb_json_set_bool(json_t *object, const char *key, bool value)
{
	if (json_object_set_new(object, key, json_boolean(value)))
		MB_BUG("could not set JSON member \"%s\"", key);
}

void
mb_json_set_time(json_t *object, const char *key, int64_t time_us)
{
	char text[MB_TIME_TEXT];

	mb_time_format(text, time_us);
	mb_json_set_str(object, key, text);
}

void
mb_json_set_lsn(json_t *object, const char *key, uint64_t lsn)
{
	char text[32];

	snprintf(text, sizeof(text), "%X/%X", (unsigned) (lsn >> 32), (unsigned) lsn);
	mb_json_set_str(object, key, text);
}

/* Up to 8 hex digits; returns what follows, or NULL. */
static const char *
take_hex(const char *p, uint32_t *value)
{
	int digits = 0;

	for (*value = 0; isxdigit((unsigned char) *p) && digits < 9; p++, digits++)
		*value = *value << 4 |
				 (uint32_t) (isdigit((unsigned char) *p) ? *p - '0'
														 : tolower((unsigned char) *p) - 'a' + 10);
	return digits >= 1 && digits <= 8 ? p : NULL;
}

bool
mb_lsn_parse(uint64_t *lsn, const char *text)
{
	uint32_t hi, lo;
	const char *p = take_hex(text, &hi);

	if (!p || *p != '/')
		return false;
	p = take_hex(p + 1, &lo);
	if (!p || *p != '\0')
		return false;
	*lsn = (uint64_t) hi << 32 | lo;
	return true;
}
