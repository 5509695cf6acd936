/* journal.c - events of a bucket; see journal.h.  The listener is in listener.c. */
#include "objectstore/journal.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/time.h"
#include "objectstore/s3_xml.h"

/* -- reading a message --------------------------------------------------------------------------------- */

/* MinIO: the version's time in nanoseconds as hex digits.  Elsewhere a number without a unit. */
static uint64_t
sequencer_ns(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 16);

	/* From 2001 to 2262, or it is no time. */
	if (*end || value < UINT64_C(1000000000000000000) || value > INT64_MAX)
		return 0;
	return value;
}

static bool
is_any(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static enum mb_event_kind
kind_of(const char *name)
{
	static const char *const created[] = {"s3:ObjectCreated:Put",
										  "s3:ObjectCreated:Post",
										  "s3:ObjectCreated:Copy",
										  "s3:ObjectCreated:CompleteMultipartUpload",
										  "s3:ObjectRemoved:DeleteMarkerCreated",
										  NULL};

	if (is_any(name, created))
		return MB_EVENT_CREATED;
	return strcmp(name, "s3:ObjectRemoved:Delete") == 0 ? MB_EVENT_ERASED : MB_EVENT_TOUCHED;
}

static char *
copy_key(struct mb_arena *arena, const char *key, unsigned flags)
{
	struct mb_buf decoded = {0};
	char *copy;

	if (!(flags & MB_EVENT_KEYS_ENCODED))
		return mb_arena_strdup(arena, key);
	mb_xml_url_decode(&decoded, key, strlen(key));
	copy = mb_arena_strdup(arena, mb_buf_cstr(&decoded));
	mb_buf_release(&decoded);
	return copy;
}

static void
add_record(struct mb_events *events, const json_t *record, unsigned flags, const char *bucket,
		   const char *prefix, uint64_t lsn)
{
	const json_t *s3 = json_object_get(record, "s3");
	const json_t *object = json_object_get(s3, "object");
	const char *key = mb_json_str(object, "key", "");
	const char *version_id = mb_json_str(object, "versionId", "");
	const char *name = mb_json_str(record, "eventName", "");
	struct mb_event event = {.kind = kind_of(name), .lsn = lsn, .at = events->count};
	struct mb_error err;

	if (strcmp(mb_json_str(json_object_get(s3, "bucket"), "name", ""), bucket) != 0 || !key[0])
		return;
	event.key = copy_key(&events->arena, key, flags);
	if (!mb_starts_with(event.key, prefix))
		return;
	event.version_id = mb_arena_strdup(&events->arena, version_id);
	if (event.kind == MB_EVENT_CREATED)
		event.version_ns = sequencer_ns(mb_json_str(object, "sequencer", ""));
	if (mb_time_parse(&event.time_us, mb_json_str(record, "eventTime", ""), &err))
		event.time_us = 0;
	/* Without an id, or without a time, it only says that something happened. */
	if (event.kind == MB_EVENT_ERASED && (!version_id[0] || !event.time_us))
		event.kind = MB_EVENT_TOUCHED;
	events->items = mb_grow(events->items, &events->cap, events->count + 1, sizeof(*events->items));
	events->items[events->count++] = event;
	events->is_sorted = false;
}

enum mb_code
mb_events_parse(struct mb_events *events, const void *data, size_t len, unsigned flags,
				const char *bucket, const char *prefix, uint64_t lsn, struct mb_error *err)
{
	json_t *message = NULL;
	const json_t *records;
	enum mb_code code = mb_json_parse(&message, data, len, "an event", err);
	size_t i;

	if (code)
		return code;
	records = json_object_get(message, "Records");
	if (!records || (!json_is_array(records) && !json_is_null(records)))
		code = mb_fail(err, MB_CORRUPT, "an event has no records");
	for (i = 0; !code && i < json_array_size(records); i++)
		add_record(events, json_array_get(records, i), flags, bucket, prefix, lsn);
	json_decref(message);
	return code;
}

/* -- finding --------------------------------------------------------------------------------------------- */

static int
compare_events(const void *a, const void *b)
{
	const struct mb_event *left = a;
	const struct mb_event *right = b;
	int order = strcmp(left->key, right->key);

	return order ? order : left->at < right->at ? -1 : 1;
}

void
mb_events_sort(struct mb_events *events)
{
	if (!events->is_sorted && events->count > 0)
		qsort(events->items, events->count, sizeof(*events->items), compare_events);
	events->is_sorted = true;
}

const struct mb_event *
mb_events_of(const struct mb_events *events, const char *key, size_t *count)
{
	size_t low = 0, high = events->count;

	MB_ASSERT(events->is_sorted || events->count == 0);
	*count = 0;
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (strcmp(events->items[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + *count < events->count && strcmp(events->items[low + *count].key, key) == 0)
		(*count)++;
	return *count ? &events->items[low] : NULL;
}

/* The last event of this kind about a version. */
static const struct mb_event *
find_event(const struct mb_events *events, const char *key, const char *version_id,
		   enum mb_event_kind kind)
{
	const struct mb_event *found = NULL;
	size_t count, i;
	const struct mb_event *of_key = mb_events_of(events, key, &count);

	for (i = 0; i < count; i++)
		if (of_key[i].kind == kind && strcmp(of_key[i].version_id, version_id) == 0)
			found = &of_key[i];
	return found;
}

uint64_t
mb_events_version_ns(const struct mb_events *events, const char *key, const char *version_id)
{
	const struct mb_event *event = find_event(events, key, version_id, MB_EVENT_CREATED);

	return event ? event->version_ns : 0;
}

int64_t
mb_events_erased_us(const struct mb_events *events, const char *key, const char *version_id)
{
	const struct mb_event *event = find_event(events, key, version_id, MB_EVENT_ERASED);

	return event ? event->time_us : 0;
}

void
mb_events_release(struct mb_events *events)
{
	mb_arena_release(&events->arena);
	free(events->items);
	memset(events, 0, sizeof(*events));
}
