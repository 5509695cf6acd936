/* cluster_nodes_fuzz.c - the answer to CLUSTER NODES, any bytes: no crash; what is taken adds up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redis/cluster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_redis_url asked = {.host = "h", .port = 1};
	struct mb_cluster_nodes nodes = {0};
	char *text = mb_strndup((const char *) data, size);
	struct mb_error err;
	size_t i;

	mb_error_clear(&err);
	if (mb_cluster_parse(&nodes, text, &asked, &err) == MB_OK)
		for (i = 0; i < nodes.count; i++)
		{
			struct mb_slots again = {{0}};
			char *slots = mb_slots_text(&nodes.items[i].slots);

			MB_ASSERT(mb_slots_parse(&again, slots));
			MB_ASSERT(mb_slots_equal(&again, &nodes.items[i].slots));
			MB_ASSERT(mb_slots_first(&again) < MB_CLUSTER_SLOTS);
			free(slots);
		}
	mb_cluster_nodes_release(&nodes);
	free(text);
	return 0;
}
