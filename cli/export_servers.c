/*
 * export_servers.c - Postgres and Redis on their way into an archive: both are restored to the moment
 * into a scratch directory, because only their own servers can replay what lies behind a backup.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive_name.h"
#include "cli/export.h"
#include "core/base/fs.h"
#include "redis/look.h"

#define SCRATCH_PREFIX "mbackup-export-"

/* -- the scratch directory ------------------------------------------------------------------------ */

static const char *
scratch_parent(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp && *tmp == '/' ? tmp : "/var/tmp";
}

/* The lock goes last: a directory without one would be nobody's, and stay. */
static enum mb_code
remove_directory(const char *path, struct mb_error *err)
{
	DIR *dir = mb_opendir(path);
	enum mb_code code = MB_OK;
	struct dirent *item;

	while (!code && dir && !(code = mb_dir_next(dir, path, &item, err)) && item)
		if (strcmp(item->d_name, "lock") != 0)
			code = mb_rmtree_at(dirfd(dir), item->d_name, err);
	if (dir)
		closedir(dir);
	return code ? code : mb_rmtree(path, err);
}

/* What a killed export has left: nobody holds its lock. */
static void
sweep(const struct export_run *run)
{
	struct mb_names left = {0};
	struct mb_error err;
	size_t i;

	if (mb_dir_names(scratch_parent(), SCRATCH_PREFIX, &left, &err))
		mb_log_warning(&run->cli->log, "%s", err.message);
	for (i = 0; i < left.count; i++)
	{
		char *path = mb_path_join(scratch_parent(), left.items[i]);
		char *lock = mb_path_join(path, "lock");
		struct stat st;
		int fd;

		if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
			access(lock, F_OK) == 0 && mb_lock_file(&fd, lock, &err) == MB_OK)
		{
			if (remove_directory(path, &err))
				mb_log_warning(&run->cli->log, "%s", err.message);
			close(fd);
		}
		free(lock);
		free(path);
	}
	mb_names_release(&left);
}

/* Below $TMPDIR, or /var/tmp: it may be large, and the server's user must get there. */
enum mb_code
export_make_scratch(struct export_run *run, struct mb_error *err)
{
	enum mb_code code;
	char *lock;

	sweep(run);
	run->scratch = mb_asprintf("%s/" SCRATCH_PREFIX "XXXXXX", scratch_parent());
	if (!mkdtemp(run->scratch) || chmod(run->scratch, 0711) != 0)
	{
		code = mb_fail_errno(err, errno, "could not create \"%s\"", run->scratch);
		free(run->scratch);
		run->scratch = NULL;
		return code;
	}
	lock = mb_path_join(run->scratch, "lock");
	code = mb_lock_file(&run->scratch_lock, lock, err);
	free(lock);
	run->tablespaces = mb_path_join(run->scratch, "tablespaces");
	if (!code && (mkdir(run->tablespaces, 0711) != 0 || chmod(run->tablespaces, 0711) != 0))
		code = mb_fail_errno(err, errno, "could not create \"%s\"", run->tablespaces);
	return code;
}

void
export_remove_scratch(struct export_run *run)
{
	struct mb_error err;

	mb_error_clear(&err);
	if (run->scratch && remove_directory(run->scratch, &err))
		mb_log_warning(&run->cli->log, "could not remove \"%s\": %s", run->scratch, err.message);
	if (run->scratch_lock >= 0)
		close(run->scratch_lock);
	free(run->scratch);
	free(run->tablespaces);
}

/* -- Postgres --------------------------------------------------------------------------------------- */

/* An mb_restore_dump_fn. */
static enum mb_code
take_dump(void *ctx, const char *database, const char *suffix, const char *path,
		  struct mb_error *err)
{
	struct export_run *run = ctx;
	struct mb_buf name = {0};
	enum mb_code code;

	mb_buf_put_str(&name, "postgres/");
	if (database)
		archive_name_encode(&name, database, strlen(database), ARCHIVE_NAME_SEGMENT);
	else
		mb_buf_put_str(&name, "globals");
	/* A database may be called "globals" too. */
	if (database && strcmp(database, "globals") == 0)
	{
		mb_buf_reset(&name);
		mb_buf_put_str(&name, "postgres/%67lobals");
	}
	mb_buf_printf(&name, ".%s", suffix);
	code = archive_add_file(&run->archive, mb_buf_cstr(&name), path, err);
	if (!code && database && strcmp(suffix, "dump") == 0)
	{
		json_t *item = json_object();

		mb_json_set_str(item, "name", database);
		mb_json_set_str(item, "file", mb_buf_cstr(&name));
		json_array_append_new(run->dumped, item);
	}
	mb_buf_release(&name);
	return code;
}

/* -- Redis ------------------------------------------------------------------------------------------ */

struct redis_export
{
	struct export_run *run;
	const struct mb_component *component;
	json_t *files;
};

/* An mb_redis_look_fn: of a cluster one file for each shard. */
static enum mb_code
take_rdb(void *ctx, const char *path, struct mb_error *err)
{
	struct redis_export *redis = ctx;
	size_t shard = json_array_size(redis->files);
	char *name = shard == 0 ? mb_asprintf("redis/%s.rdb", redis->component->name)
							: mb_asprintf("redis/%s-%zu.rdb", redis->component->name, shard + 1);
	enum mb_code code = archive_add_file(&redis->run->archive, name, path, err);

	json_array_append_new(redis->files, json_string(name));
	free(name);
	return code;
}

/* What the RDB does not say of itself, for people and for the import. */
static enum mb_code
add_redis_info(struct export_run *run, const struct mb_component *component,
			   const struct mb_commit *commit, struct mb_error *err)
{
	static const char *const members[] = {"server_version", "rdb_version", "replid", "offset",
										  "role",           "databases",   "keys",   "functions"};
	char *name = mb_asprintf("redis/%s.json", component->name);
	json_t *info = json_object();
	enum mb_code code;
	char *text;
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (json_object_get(commit->meta, members[i]))
			json_object_set(info, members[i], json_object_get(commit->meta, members[i]));
	text = mb_json_text(info);
	code = archive_add_bytes(&run->archive, name, text, strlen(text), err);
	free(text);
	json_decref(info);
	free(name);
	return code;
}

/* -- both ------------------------------------------------------------------------------------------- */

static enum mb_code
describe_server(struct export_run *run, struct mb_component *component, const json_t *part,
				struct mb_error *err)
{
	bool is_redis = strcmp(component->ops->kind, "redis") == 0;
	struct redis_export redis = {run, component, NULL};
	struct mb_commit commit = {0};
	json_t *more = json_object();
	enum mb_code code = mb_commit_head(run->cli->env.repo, component->name,
									   mb_json_str(part, "backup", ""), &commit, err);
	size_t i;

	if (!code && is_redis)
	{
		redis.files = json_array();
		json_object_set_new(more, "files", redis.files);
		for (i = 0; i < run->stack.count; i++)
			if (run->stack.components[i] == component)
				code = mb_redis_look(component, run->destinations[i].destination, take_rdb, &redis,
									 err);
		if (!code)
			code = add_redis_info(run, component, &commit, err);
	}
	else if (!code)
	{
		json_object_set(more, "databases", run->dumped);
		if (json_object_get(part, "reached"))
			json_object_set(more, "reached", json_object_get(part, "reached"));
	}
	if (!code)
		export_describe(run, component, &commit, json_incref(more));
	json_decref(more);
	mb_commit_release(&commit);
	return code;
}

enum mb_code
export_servers(struct export_run *run, struct mb_error *err)
{
	struct mb_restore_options options = run->options;
	struct mb_restore_destination *chosen = mb_calloc(run->stack.count + 1, sizeof(*chosen));
	json_t *answer = NULL, *parts;
	enum mb_code code = MB_OK;
	size_t count = 0, i, j;

	for (i = 0; i < run->stack.count; i++)
		if (strcmp(run->stack.components[i]->ops->kind, "postgres") == 0 ||
			strcmp(run->stack.components[i]->ops->kind, "redis") == 0)
			chosen[count++] = run->destinations[i];
	options.destinations = chosen;
	options.destination_count = count;
	options.wishes.dumped = take_dump;
	options.wishes.dumped_ctx = run;
	run->dumped = json_array();
	if (count > 0)
		code = mb_restore_run(&run->cli->stack, &options, &answer, err);
	parts = json_object_get(json_object_get(answer, "restore"), "components");
	for (i = 0; !code && i < json_array_size(parts); i++)
		for (j = 0; !code && j < run->stack.count; j++)
			if (strcmp(run->stack.components[j]->name,
					   mb_json_str(json_array_get(parts, i), "name", "")) == 0)
				code =
					describe_server(run, run->stack.components[j], json_array_get(parts, i), err);
	json_decref(answer);
	json_decref(run->dumped);
	run->dumped = NULL;
	free(chosen);
	return code;
}
