/*
 * export.h - what the files of `mbackup export` share: one run of it.
 *
 *     cmd_export.c       options, the plan, the order of things, the answer
 *     export_servers.c   Postgres and Redis: brought up in a scratch directory, dumped from there
 *     export_data.c      objects and files: straight from the repository
 */
#ifndef MB_CLI_EXPORT_H
#define MB_CLI_EXPORT_H

#include "cli/archive.h"
#include "cli/cli.h"

struct export_run
{
	struct mb_cli *cli;
	struct mb_stack stack; /* what is exported */
	struct mb_restore_options options;
	struct mb_restore_destination *destinations; /* below scratch, one for each component */
	char **databases;
	char *scratch; /* a directory; NULL: not made */
	char *tablespaces;
	int scratch_lock;
	json_t *plan; /* the answer of a restore that is only planned */
	struct archive_output output;
	struct archive_writer archive;
	json_t *components; /* of backup-info.json */
	json_t *dumped;     /* names of databases, while Postgres is written */
	struct mb_progress *progress;
};

/* The component's part of the plan; borrowed. */
json_t *export_part(const struct export_run *run, const char *component);
/* Its place in the archive: a bucket's name, or the component's where two are called the same. */
char *export_folder(const struct export_run *run, const struct mb_component *component);
/* Add the description of a component that is in the archive now; takes it. */
void export_describe(struct export_run *run, const struct mb_component *component,
					 const struct mb_commit *commit, json_t *more);

/* export_servers.c */
enum mb_code export_make_scratch(struct export_run *run, struct mb_error *err) MB_MUST_CHECK;
void export_remove_scratch(struct export_run *run);
enum mb_code export_servers(struct export_run *run, struct mb_error *err) MB_MUST_CHECK;

/* export_data.c */
enum mb_code export_objects(struct export_run *run, struct mb_component *component,
							struct mb_error *err) MB_MUST_CHECK;
enum mb_code export_files(struct export_run *run, struct mb_component *component,
						  struct mb_error *err) MB_MUST_CHECK;

#endif
