/*
 * pipe_fuzz.c - replies of a Redis server on any bytes: no crash, nothing outside of the input, and
 * what is complete does not change when more follows.
 */
#include <stdint.h>
#include <string.h>

#include "redis/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *) data, *end = at + size;

	while (at < end)
	{
		struct mb_pipe_reply reply, alone;
		size_t used, used_alone;
		struct mb_error err;

		mb_error_clear(&err);
		if (mb_pipe_parse(at, (size_t) (end - at), &reply, &used, &err) || used == 0)
			return 0;
		MB_ASSERT(used <= (size_t) (end - at));
		MB_ASSERT(!reply.data || (reply.data >= at && reply.data + reply.len <= at + used));
		MB_ASSERT(mb_pipe_parse(at, used, &alone, &used_alone, &err) == MB_OK);
		MB_ASSERT(used_alone == used && alone.type == reply.type && alone.len == reply.len);
		at += used;
	}
	return 0;
}
