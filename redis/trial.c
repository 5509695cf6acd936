/*
 * trial.c - the drill of Redis: a private server loads what was restored, and its keys are counted.
 *
 * It keeps keys whose time is over since (scratch.h), so that without commands to replay there must be
 * exactly as many as the RDB's statistics say.  With commands nobody knows the number beforehand; that the
 * loader took every one of them is what is shown.  The shards of a cluster are loaded one after the other.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "redis/component_cluster.h"
#include "redis/live.h"
#include "redis/look.h"

/* Keys of all databases and types, of a commit's meta or a shard's. */
static int64_t
keys_of_snapshot(const json_t *meta)
{
	json_t *types = json_object_get(json_object_get(meta, "statistics"), "types"), *type;
	int64_t keys = 0;
	size_t i;

	json_array_foreach(types, i, type) keys += mb_json_int(type, "keys", 0);
	return keys;
}

static bool
has_statistics(const json_t *meta)
{
	return json_is_object(json_object_get(meta, "statistics"));
}

static enum mb_code
start(struct mb_component *component, const char *directory, enum mb_redis_files files,
	  struct mb_scratch **scratch, struct mb_error *err)
{
	const char *program = mb_settings_get(component->settings, "redis-server");
	struct mb_scratch_options options = {.program = program ? program : "redis-server",
										 .directory = directory,
										 .databases = MB_LIVE_MAX_DBS,
										 .append_only = files != MB_REDIS_FILES_RDB,
										 .keep_expired = true,
										 .cancel = component->env->cancel};

	return mb_scratch_start(scratch, &options, err);
}

static enum mb_code
count_keys(struct mb_scratch *scratch, uint64_t *keys, struct mb_error *err)
{
	struct mb_live_dbs dbs = {0};
	enum mb_code code = mb_live_dbs_read(mb_scratch_connection(scratch), &dbs, err);

	if (!code)
		*keys += mb_live_dbs_total(&dbs);
	mb_live_dbs_release(&dbs);
	return code;
}

/* What a loader refuses is a finding; that there is no loader is not. */
static enum mb_code
judge_start(struct mb_trial *trial, enum mb_code code, struct mb_error *err)
{
	char why[sizeof(err->message) + sizeof(err->detail) + 2];

	if (code != MB_IO)
		return code;
	snprintf(why, sizeof(why), "%s: %s", err->message, err->detail);
	return mb_trial_check(trial, "load", MB_TRIAL_FAILED, err, "%s", why);
}

static enum mb_code
judge_keys(struct mb_trial *trial, uint64_t keys, bool replays, struct mb_error *err)
{
	int64_t wanted = keys_of_snapshot(trial->commit->meta);

	mb_json_set_int(trial->report, "keys", (int64_t) keys);
	if (has_statistics(trial->commit->meta))
		mb_json_set_int(trial->report, "snapshot_keys", wanted);
	if (replays || !has_statistics(trial->commit->meta))
		return mb_trial_check(trial, "keys", MB_TRIAL_OK, err,
							  "%" PRIu64 " keys; the snapshot had %" PRId64
							  ", and commands were replayed behind it",
							  keys, wanted);
	if (keys != (uint64_t) wanted)
		return mb_trial_check(trial, "keys", MB_TRIAL_FAILED, err,
							  "the server has %" PRIu64 " keys, the snapshot had %" PRId64, keys,
							  wanted);
	return mb_trial_check(trial, "keys", MB_TRIAL_OK, err,
						  "%" PRIu64 " keys, as many as in the snapshot", keys);
}

static enum mb_code
revive_shards(struct mb_component *component, struct mb_trial *trial, struct mb_error *err)
{
	const struct mb_redis_cluster *cluster = mb_redis_of(component)->cluster;
	bool replays = false;
	uint64_t keys = 0;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < cluster->count; i++)
	{
		char *own = mb_path_join(trial->directory, cluster->shards[i].prefix);
		enum mb_redis_files files = mb_redis_files_in(own);
		struct mb_scratch *scratch = NULL;
		int64_t started_ms = mb_monotonic_ms();

		replays = replays || files == MB_REDIS_FILES_AOF;
		code = files == MB_REDIS_FILES_NONE ? MB_OK : start(component, own, files, &scratch, err);
		trial->ready_ms += mb_monotonic_ms() - started_ms;
		if (!code && scratch)
			code = count_keys(scratch, &keys, err);
		mb_scratch_stop(scratch);
		free(own);
	}
	code = judge_start(trial, code, err);
	return code ? code : judge_keys(trial, keys, replays, err);
}

enum mb_code
mb_redis_revive(struct mb_component *component, struct mb_trial *trial, struct mb_error *err)
{
	int64_t started_ms = mb_monotonic_ms();
	enum mb_redis_files files;
	struct mb_scratch *scratch = NULL;
	uint64_t keys = 0;
	enum mb_code code;
	char *socket;

	mb_progress_phase(trial->progress, "loading");
	if (mb_redis_of(component)->cluster)
		return revive_shards(component, trial, err);
	files = mb_redis_files_in(trial->directory);
	if (files == MB_REDIS_FILES_NONE && mb_redis_of(component)->is_cache)
		return mb_trial_check(trial, "keys", MB_TRIAL_SKIPPED, err, "a cache: it comes back empty");
	code = start(component, trial->directory, files, &scratch, err);
	trial->running = scratch;
	trial->ready_ms = mb_monotonic_ms() - started_ms;
	if (code)
		return judge_start(trial, code, err);
	code = count_keys(scratch, &keys, err);
	if (code)
		return code;
	socket = mb_path_join(trial->directory, MB_SCRATCH_SOCKET);
	mb_json_set_str(trial->environment, "SOCKET", socket);
	mb_json_set_str(trial->environment, "PASSWORD", mb_scratch_password(scratch));
	free(socket);
	return judge_keys(trial, keys, files == MB_REDIS_FILES_AOF, err);
}

void
mb_redis_lay_down(struct mb_component *component, struct mb_trial *trial)
{
	(void) component;
	mb_scratch_stop(trial->running);
	trial->running = NULL;
}
