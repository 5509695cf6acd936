/* directory_private.h - what component_directory.c and directory_restore.c share. */
#ifndef MB_OBJECTSTORE_DIRECTORY_PRIVATE_H
#define MB_OBJECTSTORE_DIRECTORY_PRIVATE_H

#include "objectstore/component_directory.h"

struct directory
{
	struct mb_component base; /* first */
	const char *path;         /* into the settings: the url without file:// */
	int64_t margin_us;
};

/* directory_restore.c: callbacks of component.h. */
enum mb_code mb_directory_plan(struct mb_component *component, struct mb_restore *restore,
							   struct mb_error *err);
enum mb_code mb_directory_restore(struct mb_component *component, struct mb_restore *restore,
								  struct mb_error *err);
enum mb_code mb_directory_holds(struct mb_component *component, struct mb_restore *restore,
								struct mb_holdings *holdings, struct mb_error *err);
enum mb_code mb_directory_health(struct mb_component *component, struct mb_restore *restore,
								 struct mb_error *err);

#endif
