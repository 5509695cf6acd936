/* files_private.h - what component_files.c and files_restore.c share. */
#ifndef MB_FILES_FILES_PRIVATE_H
#define MB_FILES_FILES_PRIVATE_H

#include "files/component_files.h"
#include "files/mask.h"
#include "files/patterns.h"

struct files_component
{
	struct mb_component base; /* first */
	struct mb_patterns exclude;
	struct mb_patterns mask_files; /* masked too, whatever their names say */
	struct mb_mask mask;
	bool is_masking;
	bool skips_caches;
	bool stays_on_filesystem;
};

enum mb_code files_plan(struct mb_component *component, struct mb_restore *restore,
						struct mb_error *err) MB_MUST_CHECK;
enum mb_code files_restore(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err) MB_MUST_CHECK;

#endif
