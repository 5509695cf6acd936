/*
 * documents.c - see mutants.h: mutants of what blobs hold, sealed again.  Of an unencrypted repository
 * anybody can do that.  Of an encrypted one only the key slots and mbackup.json can be written without the
 * key, and these are all that is changed here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/mutants/mutants.h"

#define DOUBLED "@@doubled@@"

/* -- JSON -------------------------------------------------------------------------------------- */

static size_t
count_nodes(const json_t *json)
{
	size_t count = 1, i;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *) (uintptr_t) json, key, value) count += count_nodes(value);
	json_array_foreach(json, i, value) count += count_nodes(value);
	return count;
}

struct place
{
	json_t *parent; /* NULL: the whole document */
	const char *key;
	size_t index;
	json_t *value;
};

/* The n-th node, in the order of a walk. */
static bool
find_node(json_t *json, size_t *n, struct place *place)
{
	const char *key;
	json_t *value;
	size_t i;

	place->value = json;
	if ((*n)-- == 0)
		return true;
	json_object_foreach(json, key, value) if (find_node(value, n, place))
	{
		if (place->value == value && !place->parent)
			*place = (struct place){json, key, 0, value};
		return true;
	}
	json_array_foreach(json, i, value) if (find_node(value, n, place))
	{
		if (place->value == value && !place->parent)
			*place = (struct place){json, NULL, i, value};
		return true;
	}
	return false;
}

static json_t *
deep(size_t depth)
{
	json_t *json = json_array();

	while (depth-- > 0)
		json = json_pack("[o]", json);
	return json;
}

static json_t *
other_text(struct mutant *mutant, const char *text)
{
	static const char *const strange[] = {"",
										  "../../../../outside",
										  "/outside",
										  "a/../../outside",
										  "%n%s",
										  "\xC3\xA9",
										  "99999999999999999999",
										  "-1",
										  "0/0",
										  "FFFFFFFF/FFFFFFFF"};
	char *copy;
	json_t *json;

	if (mutant_random(mutant, 2) || !text[0])
		return json_string(strange[mutant_random(mutant, sizeof(strange) / sizeof(strange[0]))]);
	copy = mb_strdup(text);
	copy[mutant_random(mutant, strlen(copy))] = (char) ('0' + mutant_random(mutant, 60));
	json = json_string(copy);
	free(copy);
	return json ? json : json_string("?");
}

static json_t *
other_value(struct mutant *mutant, const json_t *value)
{
	static const json_int_t numbers[] = {0,     1,         -1,         2,         255,
										 65536, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN};
	json_int_t number;

	if (json_is_integer(value))
	{
		number = numbers[mutant_random(mutant, 10)];
		if (mutant_random(mutant, 2))
			number = json_integer_value(value) ^ ((json_int_t) 1 << mutant_random(mutant, 34));
		return json_integer(number);
	}
	if (json_is_boolean(value))
		return json_boolean(!json_boolean_value(value));
	return json_is_string(value) ? other_text(mutant, json_string_value(value)) : json_null();
}

static json_t *
other_type(struct mutant *mutant)
{
	switch (mutant_random(mutant, 8))
	{
		case 0:
			return json_null();
		case 1:
			return json_integer((json_int_t) mutant_random(mutant, 100));
		case 2:
			return json_string("text");
		case 3:
			return json_array();
		case 4:
			return json_object();
		case 5:
			return json_real(1.5);
		case 6:
			return deep(mutant_random(mutant, 2) ? 2000 : 3);
		default:
			return json_true();
	}
}

static void
replace_node(const struct place *place, json_t *value)
{
	if (json_is_object(place->parent))
		json_object_set_new(place->parent, place->key, value);
	else
		json_array_set_new(place->parent, place->index, value);
}

static void
remove_node(const struct place *place)
{
	if (json_is_object(place->parent))
		json_object_del(place->parent, place->key);
	else
		json_array_remove(place->parent, place->index);
}

/* The same key twice is no JSON object that jansson can hold: it is written into the text. */
static void
put_doubled(struct mb_buf *out, const char *text, const char *key, const json_t *value)
{
	char *dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	char *mark = mb_asprintf("\"" DOUBLED "\"");
	const char *at = strstr(text, mark);

	mb_buf_put(out, text, (size_t) (at - text));
	mb_buf_printf(out, "%s,\"%s\":%s", dump, key, dump);
	mb_buf_put_str(out, at + strlen(mark));
	free(mark);
	free(dump);
}

/* One node of a JSON object changed; false when the text is none. */
static bool
mutate_json(struct mutant *mutant, const struct mb_buf *text, struct mb_buf *out)
{
	static const char *const ways[] = {"changed", "of another type", "removed", "doubled",
									   "joined by a stranger"};
	json_t *json = json_loadb((const char *) text->data, text->len, 0, NULL), *doubled = NULL;
	unsigned way = (unsigned) mutant_random(mutant, 5);
	struct place place = {0};
	size_t n;
	char *dump;

	if (!json || count_nodes(json) < 2)
	{
		json_decref(json);
		return false;
	}
	n = 1 + mutant_random(mutant, count_nodes(json) - 1);
	find_node(json, &n, &place);
	snprintf(mutant->what + strlen(mutant->what), sizeof(mutant->what) - strlen(mutant->what),
			 ": %s[%zu] %s", place.key ? place.key : "", place.index, ways[way]);
	if (way == 3 && !json_is_object(place.parent))
		json_array_append(place.parent, place.value);
	else if (way == 3)
	{
		doubled = json_incref(place.value);
		replace_node(&place, json_string(DOUBLED));
	}
	else if (way == 2)
		remove_node(&place);
	else if (way == 4 && json_is_object(place.parent))
		json_object_set_new(place.parent, "stranger", other_type(mutant));
	else
		replace_node(&place, way == 0 ? other_value(mutant, place.value) : other_type(mutant));
	dump = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	if (dump && doubled)
		put_doubled(out, dump, place.key, doubled);
	else if (dump)
		mb_buf_put_str(out, dump);
	free(dump);
	json_decref(doubled);
	json_decref(json);
	return out->len > 0;
}

/* -- other plain bytes: records, page maps, tables ---------------------------------------------- */

static void
mutate_plain(struct mutant *mutant, struct mb_buf *frame)
{
	static const uint64_t values[] = {0,          1,          0xFF,     0xFFFF,
									  0x7FFFFFFF, UINT32_MAX, 0x100000, UINT64_MAX};
	size_t at = mutant_random(mutant, frame->len);
	uint64_t value = values[mutant_random(mutant, 8)];

	snprintf(mutant->what + strlen(mutant->what), sizeof(mutant->what) - strlen(mutant->what),
			 " at %zu", at);
	switch (mutant_random(mutant, 5))
	{
		case 0:
			frame->len = at;
			break;
		case 1:
			frame->data[at] ^= (unsigned char) (1u << mutant_random(mutant, 8));
			break;
		case 2:
			if (frame->len - at >= 8)
				mb_set_u64(frame->data + at, value);
			break;
		case 3:
			if (frame->len - at >= 4)
				mb_set_u32(frame->data + at, (uint32_t) value);
			break;
		default:
			mb_buf_put_u32(frame, (uint32_t) value);
	}
}

static bool
shuffle_plain(struct mutant *mutant, struct mutant_plain *plain)
{
	size_t a = mutant_random(mutant, plain->count), b = mutant_random(mutant, plain->count);
	struct mb_buf frame = plain->frames[a];

	if (a == b)
		return false;
	plain->frames[a] = plain->frames[b];
	plain->frames[b] = frame;
	snprintf(mutant->what + strlen(mutant->what), sizeof(mutant->what) - strlen(mutant->what),
			 ": frames %zu and %zu exchanged", a, b);
	return true;
}

static bool
mutate_frames(struct mutant *mutant, const struct mutant_blob *blob, struct mutant_plain *plain)
{
	size_t i = mutant_random(mutant, plain->count);
	struct mb_buf text = {0};
	bool done;

	if (plain->count > 1 && mutant_random(mutant, 8) == 0)
		return shuffle_plain(mutant, plain);
	/* JSON is frame 0, and of documents all of them. */
	if (plain->frames[0].len > 0 && plain->frames[0].data[0] == '{' && mutant_random(mutant, 4))
		i = 0;
	snprintf(mutant->what + strlen(mutant->what), sizeof(mutant->what) - strlen(mutant->what),
			 " frame %zu", i);
	if (plain->frames[i].len == 0)
		return false;
	done = plain->frames[i].data[0] == '{' && mutant_random(mutant, 10) &&
		   mutate_json(mutant, &plain->frames[i], &text);
	if (done)
	{
		mb_buf_release(&plain->frames[i]);
		plain->frames[i] = text;
	}
	else
	{
		mb_buf_release(&text);
		mutate_plain(mutant, &plain->frames[i]);
	}
	(void) blob;
	return plain->frames[i].len <= MB_FRAME_MAX_PLAIN;
}

/* -- mbackup.json ------------------------------------------------------------------------------- */

static bool
mutate_header(struct mutant *mutant, const struct mutant_blob *blob)
{
	struct mb_buf bytes = {0};
	size_t at = mutant_random(mutant, blob->len > 60 ? blob->len - 48 : blob->len);
	const char *none = "\"suite\":\"none\"", *text;

	mb_buf_put(&bytes, blob->data, blob->len);
	text = strstr(mb_buf_cstr(&bytes), "\"suite\":\"aes-256-gcm\"");
	if (text && mutant_random(mutant, 4) == 0)
	{
		/* The downgrade. */
		at = (size_t) (text - (const char *) bytes.data);
		bytes.len = at;
		mb_buf_put_str(&bytes, none);
		mb_buf_put(&bytes, blob->data + at + strlen("\"suite\":\"aes-256-gcm\""),
				   blob->len - at - strlen("\"suite\":\"aes-256-gcm\""));
	}
	else
		bytes.data[at] = (unsigned char) ('0' + mutant_random(mutant, 60));
	frames_fix(mutant->judge->repo, blob->name, &bytes);
	snprintf(mutant->what, sizeof(mutant->what), "%s changed at %zu, its checksum made to fit",
			 blob->name, at);
	image_put(mutant->image, blob->name, mb_arena_copy(&mutant->arena, bytes.data, bytes.len),
			  bytes.len);
	mb_buf_release(&bytes);
	return true;
}

bool
mutate_document(struct mutant *mutant)
{
	const struct mutant_blob *blob = mutant_victim(mutant);
	static struct mutant_plain plain;
	struct mb_buf out = {0};
	bool done;

	if (strcmp(blob->name, MB_HEADER_NAME) == 0)
		return mutate_header(mutant, blob);
	if (mutant->judge->suite != MB_SUITE_NONE && mutant_role(blob->name) != MB_ROLE_KEY)
		return false;
	snprintf(mutant->what, sizeof(mutant->what), "%s", blob->name);
	if (!frames_open(mutant->judge->repo, blob, &plain))
		return false;
	done = mutate_frames(mutant, blob, &plain);
	if (done)
	{
		frames_seal(mutant->judge->repo, blob->name, &plain, &out);
		done = out.len != blob->len || memcmp(out.data, blob->data, out.len) != 0;
		image_put(mutant->image, blob->name, mb_arena_copy(&mutant->arena, out.data, out.len),
				  out.len);
	}
	mutant->is_sealed = mutant_role(blob->name) != MB_ROLE_KEY;
	mb_buf_release(&out);
	frames_release(&plain);
	return done;
}
