/*
 * redis_text_fuzz.c - any bytes as what a Redis server says of itself: INFO, its keyspace, slots; and as the payload that
 * it sends a replica, in pieces of byte 0.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redis/cluster.h"
#include "redis/live.h"
#include "redis/point.h"
#include "redis/replica.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum mb_code
count(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	(void) data;
	(void) err;
	*(uint64_t *) ctx += len;
	return MB_OK;
}

static void
touch_payload(const uint8_t *data, size_t size, size_t step)
{
	struct mb_payload payload = {0};
	uint64_t bytes = 0;
	size_t at = 0;
	struct mb_error err;
	enum mb_code code = MB_OK;

	mb_error_clear(&err);
	while (!code && at < size)
	{
		size_t len = size - at < step ? size - at : step, used = 0;

		code = mb_payload_feed(&payload, data + at, len, count, &bytes, &used, &err);
		MB_ASSERT(code || used <= len);
		if (used == 0)
			break;
		at += used;
	}
	MB_ASSERT(bytes <= size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mb_strndup((const char *) data, size), field[64];
	struct mb_live_dbs dbs = {0};
	struct mb_slots slots = {0};

	if (mb_redis_info_field(text, "role", field, sizeof(field)))
		MB_ASSERT(strlen(field) < sizeof(field));
	(void) mb_redis_info_number(text, "master_repl_offset", 0);
	(void) mb_replid_is_valid(text);
	mb_live_dbs_parse(&dbs, text);
	(void) mb_live_dbs_total(&dbs);
	mb_live_dbs_release(&dbs);
	if (mb_slots_parse(&slots, text))
	{
		char *again = mb_slots_text(&slots);
		struct mb_slots same = {0};

		MB_ASSERT(mb_slots_count(&slots) == 0 ||
				  (mb_slots_parse(&same, again) && mb_slots_equal(&slots, &same)));
		free(again);
	}
	if (size > 1)
		touch_payload(data + 1, size - 1, (size_t) data[0] + 1);
	free(text);
	return 0;
}
