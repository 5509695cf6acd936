/*
 * import.h - what the files of `mbackup import` share: one run of it.
 *
 *     cmd_import.c       the order of things: look at all of it, ask, load, answer
 *     import_map.c       which component and which place each part of the archive belongs to
 *     import_check.c     may the places be written?
 *     import_target.c    writing them
 *     import_tree.c      files below a directory
 */
#ifndef MB_CLI_IMPORT_H
#define MB_CLI_IMPORT_H

#include "cli/archive_check.h"
#include "cli/cli.h"
#include "cli/import_tree.h"
#include "objectstore/upload.h"
#include "postgres/load.h"

/* --component NAME[=DESTINATION] */
struct import_choice
{
	char *component;
	char *destination; /* NULL: its own place */
	bool is_used;
};

/* Where one item of the archive goes. */
struct import_target
{
	struct archive_item *item;
	struct mb_component *component; /* NULL: it is left out */
	const char *destination;        /* as the user wrote it, or NULL */
	char *place;                    /* for people */
	char *database;
	struct mb_s3 *s3;
	char *bucket;
	char *prefix;
	bool makes_bucket;
	char *root;              /* of a tree */
	struct import_tree tree; /* open when root_fd is not -1 */
	struct mb_upload *upload;
	char *aside;
	uint64_t left_out; /* keys that cannot be names of files */
	uint64_t loaded;
};

struct import_run
{
	struct mb_cli *cli;
	const char *path;
	int fd;
	int lock_fd;
	struct mb_secret pass;
	struct archive_inventory inventory;
	struct import_choice *choices;
	size_t choice_count;
	struct import_target *targets; /* parallel to the inventory's items */
	struct mb_pg_load *load;
	struct mb_buf globals;
	json_t *warnings;
};

/* MB_NOT_FOUND: nothing in the configuration, or in the archive, answers to a name. */
enum mb_code import_map(struct import_run *run, struct mb_error *err) MB_MUST_CHECK;

bool import_is_forced(const struct import_run *run);
/* The RDB into the running server, as "mbackup redis restore --rdb" does it; or only the plan of that (flags: MB_RESTORE_DRY_RUN). */
enum mb_code import_load_rdb(struct import_run *run, struct import_target *target, unsigned flags,
							 struct mb_error *err) MB_MUST_CHECK;
/* May it be written?  Touches nothing. */
enum mb_code import_target_check(struct import_run *run, struct import_target *target,
								 struct mb_error *err) MB_MUST_CHECK;
/* Is there already something under the name of this member?  MB_EXISTS. */
enum mb_code import_target_look(struct import_run *run, struct import_target *target,
								const char *rest, struct mb_error *err) MB_MUST_CHECK;
/* One member: its contents come from the reader. */
enum mb_code import_target_take(struct import_run *run, struct import_target *target,
								struct archive_reader *reader, const struct mb_tar_member *member,
								const char *rest, struct mb_error *err) MB_MUST_CHECK;
enum mb_code import_target_finish(struct import_run *run, struct import_target *target,
								  struct mb_error *err) MB_MUST_CHECK;
void import_target_release(struct import_target *target);

/* Where the RDB of an item is kept between looking and loading; free it. */
char *import_rdb_path(const struct import_run *run, const struct archive_item *item);

#endif
