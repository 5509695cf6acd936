/*
 * restore_tables.h - restore --table: their database comes back in a scratch directory, below $TMPDIR or
 * /var/tmp, and the tables are dumped from there.
 */
#ifndef MB_CLI_RESTORE_TABLES_H
#define MB_CLI_RESTORE_TABLES_H

#include "cli/cli.h"

struct restore_scratch
{
	char *root; /* NULL: none */
	char *tablespaces;
	char *database;
	struct mb_restore_destination destination;
};

/*
 * Check the options that go together with --table; with it, make the directory and point the options into
 * it, as long as scratch lives.  Without --table nothing is made.  Remove it also after a failure.
 */
enum mb_code restore_scratch_make(struct mb_cli *cli, struct restore_scratch *scratch,
								  struct mb_restore_options *options,
								  struct mb_error *err) MB_MUST_CHECK;
void restore_scratch_remove(struct mb_cli *cli, struct restore_scratch *scratch);

#endif
