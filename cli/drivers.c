/* drivers.c - the only place that knows every kind of component. */
#include <string.h>

#include "cli/cli.h"
#include "cli/object_journal.h"
#include "files/component_files.h"
#include "objectstore/component_objects.h"
#include "postgres/component_postgres.h"
#include "redis/component_redis.h"
#include "walstreamer/source.h"

const struct mb_component_ops *
cli_find_driver(const char *kind)
{
	const struct mb_component_ops *drivers[] = {mb_postgres_component_ops(&mb_walstreamer_ops),
												mb_objects_component_ops(&cli_object_journal),
												&mb_redis_component_ops, &mb_files_component_ops};
	size_t i;

	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(drivers[i]->kind, kind) == 0)
			return drivers[i];
	return NULL;
}
