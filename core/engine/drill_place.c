/* drill_place.c - where a drill happens, and what is kept of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/names.h"
#include "core/base/time.h"
#include "core/engine/drill_private.h"

#define ROOT_PREFIX "mbackup-drill-"
#define LOCK_NAME "drill.lock"
#define DRILLS_PREFIX "drills/"
/* Of what a restore writes beside the data: WAL that is replayed, logs. */
#define NEW_S 60
#define SPARE_BYTES (256u << 20)

/* -- the scratch directory ------------------------------------------------------------------------ */

/* Somebody may just be making it. */
static bool
is_new(const char *lock, const struct stat *st)
{
	return access(lock, F_OK) != 0 && time(NULL) - st->st_mtime < NEW_S;
}

/* A directory of ours that nobody holds. */
static void
remove_dead(const struct mb_drill *drill, const char *path)
{
	char *lock = mb_path_join(path, LOCK_NAME);
	struct mb_error why;
	struct stat st;
	int fd = -1;

	mb_error_clear(&why);
	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
		!is_new(lock, &st) && mb_lock_file(&fd, lock, &why) == MB_OK)
	{
		mb_log_info(drill->stack->env->log, "removing \"%s\", which a dead drill has left", path);
		if (mb_rmtree(path, &why))
			mb_log_warning(drill->stack->env->log, "%s", why.message);
		close(fd);
	}
	free(lock);
}

static void
remove_all_dead(const struct mb_drill *drill)
{
	const char *parent = drill->options->parent;
	struct mb_names left = {0};
	struct mb_error err;
	size_t i;

	if (mb_dir_names(parent, ROOT_PREFIX, &left, &err))
		mb_log_warning(drill->stack->env->log, "%s", err.message);
	for (i = 0; i < left.count; i++)
	{
		char *path = mb_path_join(parent, left.items[i]);

		remove_dead(drill, path);
		free(path);
	}
	mb_names_release(&left);
}

static enum mb_code
check_parent(const char *parent, struct mb_error *err)
{
	if (parent[0] != '/' || strlen(parent) > MB_DRILL_PARENT_MAX)
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is no absolute path of at most %d bytes", parent,
				MB_DRILL_PARENT_MAX);
		return mb_error_hint(err, "Name another directory with --drill-directory: unix sockets are "
								  "made below it, whose paths are short.");
	}
	return MB_OK;
}

/* The server's user must get there, so others may pass; what is below has modes of its own. */
static enum mb_code
make_root(struct mb_drill *drill, struct mb_error *err)
{
	char *lock;
	enum mb_code code;

	drill->root = mb_asprintf("%s/" ROOT_PREFIX "XXXXXX", drill->options->parent);
	if (!mkdtemp(drill->root))
	{
		code = mb_fail_errno(err, errno, "could not create \"%s\"", drill->root);
		free(drill->root);
		drill->root = NULL;
		return code;
	}
	lock = mb_path_join(drill->root, LOCK_NAME);
	code = mb_lock_file(&drill->lock_fd, lock, err);
	free(lock);
	if (!code && chmod(drill->root, 0711) != 0)
		code = mb_fail_errno(err, errno, "could not set the mode of \"%s\"", drill->root);
	return code;
}

static enum mb_code
make_directory(const char *path, mode_t mode, struct mb_error *err)
{
	/* The umask is ours alone; chmod says what is meant. */
	if (mkdir(path, mode) != 0 || chmod(path, mode) != 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", path);
	return MB_OK;
}

enum mb_code
mb_drill_place_make(struct mb_drill *drill, struct mb_error *err)
{
	const struct mb_stack *stack = drill->stack;
	enum mb_code code;
	size_t i;

	drill->started_us = mb_time_now_us();
	drill->lock_fd = -1;
	mb_id_new(drill->id, drill->started_us);
	drill->destinations = mb_calloc(stack->count + 1, sizeof(*drill->destinations));
	drill->sockets = mb_calloc(stack->count + 1, sizeof(*drill->sockets));
	drill->commits = mb_calloc(stack->count + 1, sizeof(*drill->commits));
	drill->trials = mb_calloc(stack->count + 1, sizeof(*drill->trials));
	drill->phases = json_object();
	drill->report = json_object();
	mb_json_set_str(drill->report, "id", drill->id);
	mb_json_set_time(drill->report, "started", drill->started_us);
	json_object_set_new(drill->report, "components", json_array());
	if (stack->count == 0)
		return mb_fail(err, MB_CONFIG, "the configuration names no component");
	code = check_parent(drill->options->parent, err);
	if (code)
		return code;
	remove_all_dead(drill);
	code = make_root(drill, err);
	for (i = 0; !code && i < stack->count; i++)
	{
		drill->destinations[i].component = mb_strdup(stack->components[i]->name);
		drill->destinations[i].destination = mb_path_join(drill->root, stack->components[i]->name);
		drill->sockets[i] = mb_asprintf("%s/.s%zu", drill->root, i);
		code = make_directory(drill->sockets[i], 0700, err);
	}
	if (code)
		return code;
	drill->tablespaces = mb_path_join(drill->root, ".tablespaces");
	return make_directory(drill->tablespaces, 0711, err);
}

enum mb_code
mb_drill_room(struct mb_drill *drill, uint64_t bytes, struct mb_error *err)
{
	uint64_t needed = bytes + SPARE_BYTES, available;
	char need[MB_SIZE_TEXT], have[MB_SIZE_TEXT];
	struct statvfs fs;

	if (statvfs(drill->root, &fs) != 0)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", drill->root);
	available = (uint64_t) fs.f_bavail * fs.f_frsize;
	if (available >= needed)
		return MB_OK;
	mb_size_format(need, needed);
	mb_size_format(have, available);
	mb_fail(err, MB_NO_SPACE, "the drill needs %s below \"%s\", where %s are free", need,
			drill->options->parent, have);
	return mb_error_hint(err, "Name a directory with more room: --drill-directory DIR.");
}

void
mb_drill_place_remove(struct mb_drill *drill)
{
	struct mb_error why;

	mb_error_clear(&why);
	if (drill->root && mb_rmtree(drill->root, &why))
		mb_log_warning(drill->stack->env->log, "could not remove \"%s\": %s", drill->root,
					   why.message);
	if (drill->lock_fd >= 0)
		close(drill->lock_fd);
	drill->lock_fd = -1;
}

void
mb_drill_release(struct mb_drill *drill)
{
	size_t i;

	for (i = 0; i < drill->stack->count; i++)
	{
		free(drill->destinations[i].component);
		free(drill->destinations[i].destination);
		free(drill->sockets[i]);
		mb_commit_release(&drill->commits[i]);
		json_decref(drill->trials[i].report);
		json_decref(drill->trials[i].environment);
	}
	for (i = 0; i < drill->variable_count; i++)
		free(drill->variables[i]);
	free(drill->variables);
	free(drill->destinations);
	free(drill->sockets);
	free(drill->commits);
	free(drill->trials);
	free(drill->root);
	free(drill->tablespaces);
	json_decref(drill->restored);
	json_decref(drill->phases);
	json_decref(drill->report);
}

/* -- the history ---------------------------------------------------------------------------------- */

static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_names *names = ctx;

	(void) err;
	if (!mb_id_is_valid(info->name + strlen(DRILLS_PREFIX)))
		return MB_OK;
	mb_names_add(names, info->name, strlen(info->name));
	return MB_OK;
}

static enum mb_code
forget_oldest(const struct mb_repo *repo, struct mb_error *err)
{
	struct mb_names names = {0};
	enum mb_code code = mb_store_list(repo->store, DRILLS_PREFIX, add_name, &names, err);

	if (!code && names.count > MB_DRILLS_KEPT)
		code = mb_store_remove(repo->store, (const char *const *) names.items,
							   names.count - MB_DRILLS_KEPT, err);
	mb_names_release(&names);
	return code;
}

enum mb_code
mb_drill_keep(struct mb_drill *drill, struct mb_error *err)
{
	const struct mb_env *env = drill->stack->env;
	char name[MB_NAME_MAX], host[256] = "";
	json_t *doc;
	enum mb_code code;

	gethostname(host, sizeof(host) - 1);
	mb_json_set_str(drill->report, "host", host);
	/* A copy of the repository is only read. */
	if (env->repository || env->is_copy)
		return MB_OK;
	snprintf(name, sizeof(name), DRILLS_PREFIX "%s", drill->id);
	doc = json_pack("{s:O}", "drill", drill->report);
	code = mb_doc_put(env->repo, MB_ROLE_DRILL, name, doc, err);
	json_decref(doc);
	return code ? code : forget_oldest(env->repo, err);
}

enum mb_code
mb_drills_list(const struct mb_repo *repo, size_t limit, json_t **drills, struct mb_error *err)
{
	json_t *list = json_array();
	struct mb_names names = {0};
	enum mb_code code = mb_store_list(repo->store, DRILLS_PREFIX, add_name, &names, err);
	size_t i = limit && names.count > limit ? names.count - limit : 0;

	for (; !code && i < names.count; i++)
	{
		json_t *doc = NULL;

		code = mb_doc_get(repo, MB_ROLE_DRILL, names.items[i], &doc, err);
		if (!code && json_is_object(json_object_get(doc, "drill")))
			json_array_append(list, json_object_get(doc, "drill"));
		/* One that is damaged, or was just forgotten, hides no other; verify tells. */
		if (code == MB_NOT_FOUND || (code && mb_error_is_of_contents(err)))
			code = MB_OK;
		json_decref(doc);
	}
	mb_names_release(&names);
	if (code)
		json_decref(list);
	else
		*drills = list;
	return code;
}
