/* files_private.h - what the files of the driver share; nobody else includes it. */
#ifndef MB_FILES_FILES_PRIVATE_H
#define MB_FILES_FILES_PRIVATE_H

#include <sys/stat.h>

#include "core/engine/replace.h"
#include "core/engine/scan.h"
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

/* files_look.c: looking at a tree by the rules of the component. */
#define FILES_ROOT_DEVICES 256
struct files_look
{
	const struct files_component *files;
	int root_fd;                       /* "/", borrowed */
	dev_t devices[FILES_ROOT_DEVICES]; /* of the filesystems that the roots are on */
	size_t device_count;
};
/*
 * A root whose filesystem belongs to what is looked at; false: it is there and cannot be looked at.
 * The walk, for which it stands on another filesystem then, would leave it out in silence.
 */
bool files_look_root(struct files_look *look, const char *root);
enum mb_scan_wish files_wish(const struct files_look *look, const char *path,
							 const struct stat *st);
/* One of ours would hold itself, and grow without end. */
bool files_is_repository(const struct files_look *look, const char *path);
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
