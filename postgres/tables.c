/*
 * tables.c - single tables: what was restored is a scratch cluster that holds their database;
 * it is started on a private socket (scratch.c), pg_dump takes the tables, and it is stopped again.
 *
 * The dump is complete in a file before psql sees a byte of it, because a dump that ends early looks
 * like one that is finished.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/restore_private.h"

/* -- names ---------------------------------------------------------------------------------------- */

/* One part: up to a dot, or in double quotes (doubled inside); taken as it is written. */
static const char *
take_part(const char *p, char **out)
{
	struct mb_buf part = {0};

	if (*p != '"')
	{
		size_t len = strcspn(p, ".");

		mb_buf_put(&part, p, len);
		p += len;
	}
	else
	{
		for (p++; *p && !(p[0] == '"' && p[1] != '"'); p++)
		{
			mb_buf_put_u8(&part, (uint8_t) *p);
			p += *p == '"';
		}
		p = *p == '"' ? p + 1 : NULL;
	}
	*out = mb_strdup(mb_buf_cstr(&part));
	mb_buf_release(&part);
	return p;
}

void
mb_pg_table_release(struct mb_pg_table *table)
{
	free(table->database);
	free(table->schema);
	free(table->table);
	memset(table, 0, sizeof(*table));
}

enum mb_code
mb_pg_table_parse(struct mb_pg_table *table, const char *text, struct mb_error *err)
{
	char **parts[] = {&table->database, &table->schema, &table->table};
	const char *p = text;
	size_t i;

	memset(table, 0, sizeof(*table));
	for (i = 0; p && i < 3; i++)
	{
		p = take_part(p, parts[i]);
		if (p && **parts[i] == '\0')
			p = NULL;
		if (p && i < 2)
			p = *p == '.' ? p + 1 : NULL;
	}
	if (p && *p == '\0')
		return MB_OK;
	mb_pg_table_release(table);
	mb_fail(err, MB_CONFIG, "\"%s\" does not name a table", text);
	return mb_error_hint(err,
						 "Write DATABASE.SCHEMA.TABLE, exactly as they are called; a part with a "
						 "dot goes into double quotes.");
}

enum mb_code
mb_postgres_table_database(const char *text, char **database, struct mb_error *err)
{
	struct mb_pg_table table;
	enum mb_code code = mb_pg_table_parse(&table, text, err);

	if (code)
		return code;
	*database = mb_strdup(table.database);
	mb_pg_table_release(&table);
	return MB_OK;
}

/* -- the tables ----------------------------------------------------------------------------------------- */

/* A pattern of pg_dump that means this one table: in quotes nothing is folded or a wildcard. */
static char *
pattern_of(const struct mb_pg_table *table)
{
	char *schema = mb_pg_quote_ident(table->schema), *name = mb_pg_quote_ident(table->table);
	char *pattern = mb_asprintf("--table=%s.%s", schema, name);

	free(schema);
	free(name);
	return pattern;
}

static enum mb_code
dump(struct mb_pg_scratch *scratch, int out_fd, struct mb_error *err)
{
	const struct mb_restore_wishes *wishes = scratch->restore->wishes;
	const char **argv = mb_calloc(wishes->table_count + 24, sizeof(*argv));
	char *program = mb_path_join(scratch->bindir, "pg_dump");
	char **patterns = mb_calloc(wishes->table_count, sizeof(*patterns));
	struct mb_pg_table table = {0};
	struct mb_pg_run run = {.argv = argv,
							.change_user = scratch->place->change_owner,
							.uid = scratch->place->uid,
							.gid = scratch->place->gid,
							.out_fd = out_fd};
	char *database = NULL;
	enum mb_code code = MB_OK;
	size_t n = 0, i;

	argv[n++] = program;
	argv[n++] = "-h";
	argv[n++] = scratch->socket_dir;
	argv[n++] = "-p";
	argv[n++] = MB_PG_SCRATCH_PORT;
	argv[n++] = "-U";
	argv[n++] = scratch->user;
	argv[n++] = "--no-password";
	argv[n++] = "--strict-names";
	for (i = 0; !code && i < wishes->table_count; i++)
	{
		code = mb_pg_table_parse(&table, wishes->tables[i], err);
		if (code)
			break;
		argv[n++] = patterns[i] = pattern_of(&table);
		if (!database)
			database = mb_pg_dbname(table.database);
		mb_pg_table_release(&table);
	}
	argv[n++] = "-d";
	argv[n++] = database;
	if (!code)
		code = mb_pg_run(&run, err);
	for (i = 0; i < wishes->table_count; i++)
		free(patterns[i]);
	free(patterns);
	free(database);
	free(program);
	free(argv);
	return code;
}

static enum mb_code
dump_to_file(struct mb_pg_scratch *scratch, const char *path, struct mb_error *err)
{
	enum mb_code code;
	int fd = mb_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", path);
	code = dump(scratch, fd, err);
	if (!code && fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", path);
	close(fd);
	if (code)
		unlink(path);
	return code;
}

/* All of it or nothing. */
static enum mb_code
load(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	char *program = mb_path_join(scratch->bindir, "psql");
	const char *argv[] = {program,
						  "-X",
						  "-q",
						  "-1",
						  "-v",
						  "ON_ERROR_STOP=1",
						  "--no-password",
						  "-d",
						  scratch->restore->wishes->into,
						  "-f",
						  scratch->dump,
						  NULL};
	struct mb_pg_run run = {.argv = argv, .out_fd = -1};
	enum mb_code code = mb_pg_run(&run, err);

	free(program);
	if (code)
	{
		mb_error_context(err, "could not load the tables; the target is as it was");
		mb_error_hint(err, "A table that is there already must be renamed or dropped first.");
	}
	return code;
}

/* It has its name only when all of it is there. */
static enum mb_code
dump_to_output(struct mb_pg_scratch *scratch, const char *path, struct mb_error *err)
{
	char *temporary = mb_asprintf("%s.mbackup-tmp", path), *copy = mb_strdup(path);
	enum mb_code code;

	/* Of a run that was killed; when it cannot be removed, it cannot be made anew. */
	unlink(temporary);
	code = dump_to_file(scratch, temporary, err);
	if (!code && link(temporary, path) != 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", path);
	if (!code)
		code = mb_fsync_path(dirname(copy), err);
	if (unlink(temporary) != 0 && errno != ENOENT)
		mb_log_warning(scratch->restore->env->log, "could not remove \"%s\": %s", temporary,
					   strerror(errno));
	free(copy);
	free(temporary);
	return code;
}

static enum mb_code
deliver(struct mb_pg_scratch *scratch, struct mb_error *err)
{
	const struct mb_restore_wishes *wishes = scratch->restore->wishes;
	enum mb_code code;

	mb_progress_phase(scratch->restore->progress, "dumping");
	if (wishes->dumped)
		return mb_pg_dump_databases(scratch, err);
	if (wishes->output)
		return dump_to_output(scratch, wishes->output, err);
	code = dump_to_file(scratch, scratch->dump, err);
	return code ? code : load(scratch, err);
}

/* The scratch cluster goes in any case. */
static void
clean_up(struct mb_pg_scratch *scratch)
{
	struct mb_error why;
	size_t i;

	mb_pg_scratch_stop(scratch);
	unlink(scratch->dump);
	for (i = mb_pg_place_root_count(scratch->place); i > 0; i--)
		if (mb_rmtree(mb_pg_place_root(scratch->place, i - 1), &why))
			mb_log_warning(scratch->restore->env->log, "%s", why.message);
	mb_restore_keep(scratch->restore);
	free(scratch->dump);
}

enum mb_code
mb_pg_tables(struct mb_postgres *pg, struct mb_restore *restore, const struct mb_pg_place *place,
			 struct mb_error *err)
{
	struct mb_pg_scratch scratch = {.pg = pg, .restore = restore, .place = place};
	json_t *tables = json_array();
	enum mb_code code;
	size_t i;

	scratch.bindir = mb_json_str(restore->plan, "bindir", "");
	scratch.dump = mb_asprintf("%s.tables.sql", place->directory);
	mb_progress_phase(restore->progress, "recovering");
	code = mb_pg_scratch_start(&scratch, err);
	if (!code)
		code = deliver(&scratch, err);
	clean_up(&scratch);
	for (i = 0; i < restore->wishes->table_count; i++)
		json_array_append_new(tables, json_string(restore->wishes->tables[i]));
	if (i > 0)
		json_object_set(restore->result, "tables", tables);
	json_decref(tables);
	json_object_del(restore->result, "next");
	/* They were the scratch cluster's. */
	json_object_del(restore->result, "drop");
	json_object_del(restore->result, "warnings");
	if (!code && !restore->wishes->dumped)
		mb_json_set_str(restore->result, "destination",
						restore->wishes->into ? "the target server" : restore->wishes->output);
	return code;
}
