/* render_parts.c - see render.h. */
#include "cli/render.h"

#include <string.h>

const char *
render_size(const json_t *object, const char *key, char out[MB_SIZE_TEXT])
{
	mb_size_format(out, (uint64_t) mb_json_int(object, key, 0));
	return out;
}

const char *
render_time(const json_t *object, const char *key, char out[MB_TIME_TEXT])
{
	const char *text = mb_json_str(object, key, NULL);

	if (!text || strlen(text) < 19)
		return "-";
	snprintf(out, MB_TIME_TEXT, "%.10s %.8sZ", text, text + 11);
	return out;
}

double
render_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

void
render_warnings(const json_t *object, const char *indent, FILE *out)
{
	const json_t *list = json_object_get(object, "warnings");
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		fprintf(out, "%swarning: %s\n", indent, json_string_value(json_array_get(list, i)));
}
