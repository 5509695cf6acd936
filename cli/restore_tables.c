/* restore_tables.c - see restore_tables.h. */
#include "cli/restore_tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/component_postgres.h"

/* All tables of one run stand in one database. */
static enum mb_code
one_database(const struct mb_restore_options *options, char **database, struct mb_error *err)
{
	size_t i;

	*database = NULL;
	for (i = 0; i < options->wishes.table_count; i++)
	{
		char *name;
		enum mb_code code = mb_postgres_table_database(options->wishes.tables[i], &name, err);
		bool other = !code && *database && strcmp(*database, name) != 0;

		if (other)
			code = mb_fail(err, MB_CONFIG, "\"%s\" and \"%s\" are two databases", *database, name);
		if (other)
			mb_error_hint(err, "Restore the tables of one database at a time.");
		if (!code && !*database)
			*database = name;
		else if (!code || other)
			free(name);
		if (code)
			return code;
	}
	return MB_OK;
}

static enum mb_code
check_table_options(const struct mb_restore_options *options, struct mb_error *err)
{
	const struct mb_restore_wishes *wishes = &options->wishes;

	if (wishes->table_count == 0)
	{
		if (!wishes->output && !wishes->into)
			return MB_OK;
		return mb_fail(err, MB_CONFIG, "--output and --into go together with --table");
	}
	if (!wishes->output == !wishes->into)
		return mb_fail(err, MB_CONFIG, "give --output FILE or --into CONNINFO for the tables");
	if (options->destination_count > 0 || (wishes->flags & (MB_RESTORE_DELTA | MB_RESTORE_START)) ||
		wishes->database_count > 0 || wishes->wal_dir || wishes->port)
		return mb_fail(err, MB_CONFIG,
					   "--table restores into a scratch directory: --component, "
					   "--database, --delta, --start, --wal-dir and --port do not "
					   "go together with it");
	if (options->target.action != MB_ACTION_PROMOTE)
		return mb_fail(err, MB_CONFIG, "--target-action does not go together with --table");
	if (wishes->output && access(wishes->output, F_OK) == 0)
		return mb_fail(err, MB_EXISTS, "\"%s\" exists", wishes->output);
	return MB_OK;
}

/* It may be large, and the server's user must get there. */
enum mb_code
restore_scratch_make(struct mb_cli *cli, struct restore_scratch *scratch,
					 struct mb_restore_options *options, struct mb_error *err)
{
	const struct mb_component *clock = mb_stack_clock(&cli->stack);
	const char *tmp = getenv("TMPDIR");
	enum mb_code code = check_table_options(options, err);

	if (code || options->wishes.table_count == 0)
		return code;
	if (!clock)
		return mb_fail(err, MB_CONFIG, "the configuration names no Postgres");
	code = one_database(options, &scratch->database, err);
	if (code)
		return code;
	scratch->root = mb_asprintf("%s/mbackup-tables-XXXXXX", tmp && *tmp == '/' ? tmp : "/var/tmp");
	if (!mkdtemp(scratch->root))
	{
		code = mb_fail_errno(err, errno, "could not create \"%s\"", scratch->root);
		free(scratch->root);
		scratch->root = NULL;
		return code;
	}
	/* What is there from here on is removed at the end, whatever fails. */
	if (chmod(scratch->root, 0711) != 0)
		return mb_fail_errno(err, errno, "could not set the mode of \"%s\"", scratch->root);
	scratch->tablespaces = mb_path_join(scratch->root, "tablespaces");
	scratch->destination.component = mb_strdup(clock->name);
	scratch->destination.destination = mb_path_join(scratch->root, "data");
	if (mkdir(scratch->tablespaces, 0711) != 0 || chmod(scratch->tablespaces, 0711) != 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", scratch->tablespaces);
	options->destinations = &scratch->destination;
	options->destination_count = 1;
	options->wishes.tablespace_all = scratch->tablespaces;
	options->wishes.databases = &scratch->database;
	options->wishes.database_count = 1;
	return MB_OK;
}

void
restore_scratch_remove(struct mb_cli *cli, struct restore_scratch *scratch)
{
	struct mb_error err;

	if (scratch->root && mb_rmtree(scratch->root, &err))
		mb_log_warning(&cli->log, "could not remove \"%s\": %s", scratch->root, err.message);
	free(scratch->root);
	free(scratch->tablespaces);
	free(scratch->database);
	free(scratch->destination.component);
	free(scratch->destination.destination);
}
