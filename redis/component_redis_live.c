/*
 * component_redis_live.c - a restore into a running Redis.
 *
 * The files of a restore into a directory are written into the spool and loaded by a
 * private server (scratch.h); the destination's present data is saved; then the keys go
 * over, all at one instant (live_swap.c) or, of a part or where no database is free, one
 * by one (live_copy.c).  Up to the safety copy nothing in the destination is touched but what
 * a dead restore has left there.
 *
 * Killed at any moment and run again it ends in the same state: it keeps none but the
 * marker in the staging databases, and the scratch directory has one name, under a lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "redis/live.h"

struct run
{
	struct mb_live live;
	struct mb_restore *restore;
	const struct mb_env *env;
	char *directory; /* of the scratch server */
	char *safety;    /* the file; NULL until it is there */
	struct mb_scratch *scratch;
	struct mb_live_dbs dbs;    /* of the scratch server */
	struct mb_live_dbs before; /* of the destination */
	struct mb_buf functions;   /* of the scratch server */
	struct mb_live_copy copy;
};

/* -- the scratch server --------------------------------------------------------------------- */

static enum mb_code
write_scratch(struct mb_component *component, struct mb_restore *restore, const char *directory,
			  bool *append_only, struct mb_error *err)
{
	enum mb_code code = mb_rmtree(directory, err);
	char *link;

	if (!code && mkdir(directory, 0700) != 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", directory);
	if (code || !restore->wishes->rdb)
		return code ? code : mb_redis_write_files(component, restore, directory, append_only, err);
	*append_only = false;
	link = mb_path_join(directory, MB_REDIS_RDB_NAME);
	if (symlink(restore->wishes->rdb, link) != 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", link);
	free(link);
	return code;
}

enum mb_code
mb_live_load(struct mb_component *component, struct mb_restore *restore, const char *directory,
			 struct mb_scratch **scratch, struct mb_error *err)
{
	const char *program = mb_settings_get(component->settings, "redis-server");
	struct mb_scratch_options options = {.program = program ? program : "redis-server",
										 .directory = directory,
										 .databases = MB_LIVE_MAX_DBS,
										 .cancel = component->env->cancel};

	if (write_scratch(component, restore, directory, &options.append_only, err))
		return err->code;
	/* What counts from here on is what goes into the destination; the files are ours to remove. */
	restore->entries = restore->bytes = 0;
	atomic_store(&restore->progress->total_bytes, 0); /* of values: not known */
	atomic_store(&restore->progress->done_bytes, 0);
	mb_restore_keep(restore);
	mb_progress_phase(restore->progress, "loading into a private server");
	return mb_scratch_start(scratch, &options, err);
}

/* What it holds, and whether the destination takes it. */
static enum mb_code
look_at_scratch(struct run *run, struct mb_error *err)
{
	struct mb_live scratch = {.component = run->live.component,
							  .redis = mb_scratch_connection(run->scratch)};

	/* The backup may be of a server into which a restore was just being made. */
	if (mb_live_sweep(&scratch, err) || mb_live_dbs_read(scratch.redis, &run->dbs, err) ||
		mb_live_functions(scratch.redis, &run->functions, err))
		return err->code;
	return mb_live_takes(&run->live, &run->dbs, mb_live_payload_version(&run->functions), err);
}

/* -- a part, or no database free: key by key -------------------------------------------------- */

static bool
functions_differ(const struct mb_live *live, const struct mb_buf *ours)
{
	const struct mb_buf *theirs = &live->functions;

	return ours->len != theirs->len || memcmp(ours->data, theirs->data, ours->len) != 0;
}

enum mb_code
mb_live_load_functions(const struct mb_live *live, struct mb_pipe *pipe,
					   const struct mb_buf *functions, struct mb_error *err)
{
	struct mb_pipe_reply reply;

	if (!functions_differ(live, functions))
		return MB_OK;
	mb_live_add_functions(pipe, functions);
	if (mb_pipe_flush(pipe, err))
		return err->code;
	return mb_pipe_expect(pipe, "FUNCTION RESTORE", &reply, err);
}

/* First everything that comes, then what goes: no key that stays is ever missing. */
static enum mb_code
copy_keys(struct run *run, struct mb_error *err)
{
	const struct mb_live *live = &run->live;
	size_t i;

	for (i = 0; i < run->dbs.count; i++)
		if (mb_redis_only_db(live->only, live->only_count, run->dbs.items[i].db) &&
			mb_live_copy_db(&run->copy, run->dbs.items[i].db, run->dbs.items[i].db, err))
			return err->code;
	for (i = 0; i < run->before.count; i++)
		if (mb_redis_only_db(live->only, live->only_count, run->before.items[i].db) &&
			mb_live_remove_extra(&run->copy, run->before.items[i].db, err))
			return err->code;
	return live->only_count > 0 ? MB_OK
								: mb_live_load_functions(live, &run->copy.to, &run->functions, err);
}

/* -- the whole ---------------------------------------------------------------------------------- */

/* The memory that the wanted keys take, and how many there are on both sides. */
static enum mb_code
measure(struct run *run, uint64_t *bytes, struct mb_error *err)
{
	const struct mb_live *live = &run->live;
	uint64_t ours = 0, theirs = 0;
	uint64_t used, idle;
	size_t i;

	*bytes = 0;
	if (live->only_count == 0)
	{
		used = mb_live_info_number(run->copy.from.redis, "memory", "used_memory", err);
		idle = mb_live_info_number(run->copy.from.redis, "memory", "used_memory_startup", err);
		*bytes = used > idle ? used - idle : 0;
		mb_log_info(run->env->log, "%s: %" PRIu64 " keys come, in place of %" PRIu64 " in %s",
					run->restore->component, mb_live_dbs_total(&run->dbs),
					mb_live_dbs_total(&run->before), mb_redis_name(live->redis));
		return err->code;
	}
	for (i = 0; i < run->dbs.count; i++)
		if (mb_redis_only_db(live->only, live->only_count, run->dbs.items[i].db) &&
			mb_live_count(&run->copy, &run->copy.from, run->dbs.items[i].db, &ours, bytes, err))
			return err->code;
	for (i = 0; i < run->before.count; i++)
		if (mb_redis_only_db(live->only, live->only_count, run->before.items[i].db) &&
			mb_live_count(&run->copy, &run->copy.to, run->before.items[i].db, &theirs, NULL, err))
			return err->code;
	mb_log_info(run->env->log,
				"%s: %" PRIu64 " keys that match come, in place of %" PRIu64 " in %s",
				run->restore->component, ours, theirs, mb_redis_name(live->redis));
	mb_json_set_int(run->restore->result, "replaced", (int64_t) theirs);
	return MB_OK;
}

/* Unless keep() has done so, before anything of this restore was in it. */
static enum mb_code
save_present(struct run *run, struct mb_error *err)
{
	if (!run->restore->kept)
		return mb_live_save(&run->live, &run->before, &run->safety, err);
	mb_live_dbs_release(&run->before);
	return mb_live_dbs_read(run->live.redis, &run->before, err);
}

static enum mb_code
transfer(struct run *run, struct mb_error *err)
{
	struct mb_live *live = &run->live;
	struct mb_live_swap swap = {.dbs = &run->dbs};
	uint64_t bytes;
	bool at_once = false;
	enum mb_code code = MB_OK;

	run->copy = (struct mb_live_copy){.live = live,
									  .from = {.redis = mb_scratch_connection(run->scratch)},
									  .to = {.redis = live->redis}};
	if (mb_live_dbs_read(live->redis, &run->before, err) || measure(run, &bytes, err) ||
		mb_live_room(live, bytes, err))
		return err->code;
	if (live->only_count == 0)
		code = mb_live_swap_plan(live, &swap, &at_once, err);
	if (!code)
		code = save_present(run, err);
	mb_progress_phase(run->restore->progress, "copying keys");
	if (!code && at_once)
		code =
			mb_live_swap_run(&run->copy, &swap,
							 functions_differ(live, &run->functions) ? &run->functions : NULL, err);
	else if (!code)
		code = copy_keys(run, err);
	if (!code && !at_once && live->only_count == 0)
		mb_restore_warn(run->restore,
						"too few databases of the server are empty for an exchange at "
						"one instant: clients saw keys of both states meanwhile");
	mb_json_set_str(run->restore->result, "method", at_once ? "swap" : "keys");
	free(swap.staging);
	return code;
}

static enum mb_code
empty(struct run *run, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};

	if (save_present(run, err) || MB_REDIS_CALL(run->live.redis, &reply, err, "FLUSHALL", "ASYNC"))
		return err->code;
	mb_redis_reply_release(&reply);
	mb_restore_warn(run->restore,
					"role = cache: the server at %s was emptied, the application fills it anew",
					mb_redis_name(run->live.redis));
	mb_json_set_bool(run->restore->result, "empty", true);
	mb_json_set_int(run->restore->result, "replaced", (int64_t) mb_live_dbs_total(&run->before));
	return MB_OK;
}

/* Keys whose time has passed since the backup are gone; the scratch server has counted them. */
static enum mb_code
report(struct run *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	struct mb_redis *scratch = run->copy.from.redis;
	uint64_t expired;

	restore->entries = run->copy.keys;
	restore->bytes = run->copy.bytes;
	mb_json_set_int(restore->result, "removed", (int64_t) run->copy.removed);
	if (run->live.only_count > 0)
		return MB_OK;
	expired = mb_live_info_number(scratch, "stats", "expired_keys", err) +
			  mb_live_info_number(scratch, "persistence", "rdb_last_load_keys_expired", err);
	mb_json_set_int(restore->result, "expired", (int64_t) expired);
	mb_json_set_int(restore->result, "replaced", (int64_t) mb_live_dbs_total(&run->before));
	return err->code;
}

/* Whoever may restore some keys only cannot see the marker, and need not: no part is staged. */
static enum mb_code
sweep(struct run *run, struct mb_error *err)
{
	enum mb_code code = mb_live_sweep(&run->live, err);

	if (code != MB_DENIED || run->live.only_count == 0)
		return code;
	mb_error_clear(err);
	return MB_OK;
}

static enum mb_code
restore_data(struct run *run, struct mb_error *err)
{
	enum mb_code code =
		mb_live_load(run->live.component, run->restore, run->directory, &run->scratch, err);

	if (!code)
		code = look_at_scratch(run, err);
	if (!code)
		code = sweep(run, err);
	if (!code)
		code = transfer(run, err);
	return code ? code : report(run, err);
}

static enum mb_code
run_locked(struct run *run, struct mb_error *err)
{
	struct mb_restore *restore = run->restore;
	struct mb_error ignored;
	enum mb_code code;

	code = mb_live_open(&run->live, run->live.component, restore, err);
	if (!code)
		code = mb_live_check(&run->live, restore->wishes->rdb ? NULL : restore->commit.meta, err);
	if (!code)
		code = run->live.empties ? empty(run, err) : restore_data(run, err);
	if (code && run->safety)
		mb_error_hint(err, "The data from before is in \"%.400s\"; the log says how to undo.",
					  run->safety);
	mb_scratch_stop(run->scratch);
	mb_error_clear(&ignored);
	if (mb_rmtree(run->directory, code ? &ignored : err) && !code)
		code = err->code;
	mb_json_set_str(restore->result, "destination", restore->destination);
	if (restore->wishes->rdb)
		mb_json_set_str(restore->result, "backup", restore->wishes->rdb);
	return code;
}

enum mb_code
mb_live_lock(struct mb_component *component, int *lock_fd, struct mb_error *err)
{
	char *path = mb_asprintf("%s/redis-live-%s.lock", component->env->spool, component->name);
	enum mb_code code = mb_lock_file(lock_fd, path, err);

	free(path);
	if (code == MB_CONFLICT)
		mb_error_hint(err, "Another restore of this component is running on this machine.");
	return code;
}

enum mb_code
mb_redis_live_restore(struct mb_component *component, struct mb_restore *restore,
					  struct mb_error *err)
{
	struct run run = {.restore = restore, .env = component->env, .live.component = component};
	enum mb_code code;
	int lock_fd;

	if (mb_json_bool(restore->plan, "by_slot", false))
		return mb_cluster_live_restore(component, restore, err);
	run.directory = mb_asprintf("%s/redis-scratch-%s", component->env->spool, component->name);
	code = mb_live_lock(component, &lock_fd, err);
	if (!code)
	{
		code = run_locked(&run, err);
		close(lock_fd);
	}
	mb_live_copy_release(&run.copy);
	mb_live_close(&run.live);
	mb_live_dbs_release(&run.dbs);
	mb_live_dbs_release(&run.before);
	mb_buf_release(&run.functions);
	free(run.directory);
	free(run.safety);
	return code;
}
