/* files_private.h - what component_files.c, files_restore.c and files_in_place.c share. */
#ifndef MB_FILES_FILES_PRIVATE_H
#define MB_FILES_FILES_PRIVATE_H

#include "core/engine/replace.h"
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

/*
 * What a backup would take now: files and links below "/", and the roots that the configured paths
 * lead to.
 */
enum mb_code files_walk(struct files_component *files, int root_fd, struct mb_names *roots,
						struct mb_names *names, struct mb_error *err) MB_MUST_CHECK;
/* The names that a restore writes; not those that stay as they are. */
enum mb_code files_names(struct mb_restore *restore, struct mb_names *names,
						 struct mb_error *err) MB_MUST_CHECK;
/* "--only" */
bool files_is_wanted(const struct mb_restore *restore, const char *path);

/* files_in_place.c */
enum mb_code mb_files_holds(struct mb_component *component, struct mb_restore *restore,
							struct mb_holdings *holdings, struct mb_error *err);
enum mb_code mb_files_health(struct mb_component *component, struct mb_restore *restore,
							 struct mb_error *err);

enum mb_code files_plan(struct mb_component *component, struct mb_restore *restore,
						struct mb_error *err) MB_MUST_CHECK;
enum mb_code files_restore(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err) MB_MUST_CHECK;

/* files_check.c */
enum mb_code mb_files_check(struct mb_component *component, struct mb_checks *checks,
							struct mb_error *err);

#endif
