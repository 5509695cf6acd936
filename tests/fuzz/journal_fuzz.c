/* journal_fuzz.c - any bytes as an event message. */
#include <stdint.h>
#include <stdlib.h>

#include "objectstore/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_events events = {0};
	struct mb_error err;
	size_t i;

	if (mb_events_parse(&events, data, size, size & 1 ? MB_EVENT_KEYS_ENCODED : 0, "shop", "", 0,
						&err) == MB_OK)
		for (mb_events_sort(&events), i = 0; i < events.count; i++)
		{
			size_t count;

			MB_ASSERT(mb_events_of(&events, events.items[i].key, &count) && count > 0);
			(void) mb_events_version_ns(&events, events.items[i].key, events.items[i].version_id);
		}
	mb_events_release(&events);
	return 0;
}
