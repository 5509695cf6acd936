/* session.c - see session.h. */
#include "core/engine/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/chain_check.h"
#include "core/repo/provisional.h"
#include "core/repo/tombstone.h"

#define UPLOAD_THREADS 2
#define COMMIT_LOCK_WAIT_MS 60000

/* What belongs to a capture but is nobody else's business. */
struct capture_private
{
	struct mb_capture capture; /* first */
	struct mb_component *component;
	struct mb_commit parent;
	pthread_mutex_t lock;
	int64_t started_us;
	int64_t started_ms;
	uint64_t stored_bytes; /* of the packs that this capture has filled */
};

static enum mb_code
note_newest(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	const char *id = info->name + strlen("sets/");
	int64_t *newest_us = ctx;

	(void) err;
	if (mb_id_is_valid(id) && mb_id_time_us(id) > *newest_us)
		*newest_us = mb_id_time_us(id);
	return MB_OK;
}

/*
 * The id of a set sorts behind those of all sets before it, even where the store tells the time less
 * exactly than backups follow each other: the last one is what "latest" means.
 */
static enum mb_code
make_id(struct mb_session *session, bool is_set, struct mb_error *err)
{
	struct mb_store *store = session->env->repo->store;
	int64_t now_us, newest_us = 0;
	enum mb_code code = mb_store_clock(store, &now_us, err);

	if (!code && is_set)
		code = mb_store_list(store, "sets/", note_newest, &newest_us, err);
	if (!code)
		mb_id_new(session->id, now_us > newest_us ? now_us : newest_us + 1);
	return code;
}

enum mb_code
mb_session_open(struct mb_session *session, const struct mb_env *env, const char *kind,
				struct mb_error *err)
{
	struct mb_session made = {.env = env};
	enum mb_code code = make_id(&made, strcmp(kind, "backup") == 0, err);
	unsigned i;

	if (code)
		return code;
	code = mb_lease_start(&made.lease, env->repo, made.id, kind, err);
	if (code)
		return code;
	made.uploader = mb_uploader_new(env->repo->store, UPLOAD_THREADS);
	made.packers = mb_calloc(env->workers, sizeof(*made.packers));
	for (i = 0; i < env->workers; i++)
		made.packers[i] = mb_packer_new(env->repo, made.uploader);
	*session = made;
	return MB_OK;
}

void
mb_session_close(struct mb_session *session)
{
	unsigned i;

	for (i = 0; session->packers && i < session->env->workers; i++)
		mb_packer_free(session->packers[i]);
	free(session->packers);
	mb_uploader_free(session->uploader);
	mb_lease_stop(session->lease);
	memset(session, 0, sizeof(*session));
}

static enum mb_code
load_parent(struct capture_private *own, struct mb_error *err)
{
	struct mb_component *component = own->component;
	char id[MB_ID_TEXT];
	uint64_t sequence;
	enum mb_code code;

	code = mb_commit_newest(component->env->repo, component->name, id, &sequence, err);
	if (code || sequence == 0)
		return code;
	code = mb_commit_get(component->env->repo, component->name, id, &own->parent, err);
	if (!code)
		own->capture.parent = &own->parent;
	return code;
}

enum mb_code
mb_capture_begin(struct mb_session *session, struct mb_component *component,
				 enum mb_parent_choice parent, struct mb_capture **capture, struct mb_error *err)
{
	struct capture_private *own = mb_calloc(1, sizeof(*own));
	struct mb_capture *made = &own->capture;
	enum mb_code code;

	pthread_mutex_init(&own->lock, NULL);
	own->component = component;
	own->started_ms = mb_monotonic_ms();
	made->env = session->env;
	made->repo = session->env->repo;
	made->component = component->name;
	made->workers = session->env->workers;
	made->packers = session->packers;
	made->readers = mb_calloc(session->env->workers, sizeof(*made->readers));
	made->ranges = mb_calloc(session->env->workers, sizeof(*made->ranges));
	made->uploader = session->uploader;
	made->manifest = mb_manifest_writer_new(session->env->spool);
	made->progress = mb_env_progress(session->env, component->name);
	made->meta = json_object();
	made->warnings = json_array();
	made->notes = json_array();
	made->lock = &own->lock;
	code = mb_store_clock(made->repo->store, &own->started_us, err);
	if (!code)
		mb_id_new(made->id, own->started_us);
	if (!code && parent == MB_PARENT_NEWEST && (component->ops->capabilities & MB_CAP_INCREMENTAL))
		code = load_parent(own, err);
	/* A scan needs its parent, which has the history; for others a full backup is as good. */
	if (code == MB_CORRUPT && !(component->ops->capabilities & MB_CAP_SCAN))
	{
		mb_capture_warn(made, "the newest backup cannot be built on, so this one is full: %s",
						err->message);
		code = MB_OK;
	}
	if (code)
	{
		mb_capture_free(made);
		return code;
	}
	*capture = made;
	return MB_OK;
}

enum mb_code
mb_capture_flush(struct mb_session *session, struct mb_capture *capture, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	unsigned i;

	for (i = 0; !code && i < session->env->workers; i++)
		code = mb_packer_finish(session->packers[i], err);
	if (!code)
		code = mb_uploader_drain(session->uploader, err);
	if (!code)
	{
		/* One component at a time fills packs, so all that came since is this one's. */
		struct capture_private *own = (struct capture_private *) capture;
		uint64_t stored = mb_uploader_bytes(session->uploader);

		own->stored_bytes += stored - session->stored_bytes;
		session->stored_bytes = stored;
	}
	return code;
}

static json_t *
summary_of(const struct capture_private *own, const struct mb_commit *commit)
{
	json_t *summary = json_object();

	mb_json_set_str(summary, "name", commit->component);
	mb_json_set_str(summary, "kind", commit->kind);
	mb_json_set_str(summary, "backup", commit->id);
	mb_json_set_str(summary, "type", commit->type);
	mb_json_set_int(summary, "entries", (int64_t) commit->entries);
	mb_json_set_int(summary, "bytes", (int64_t) commit->bytes);
	mb_json_set_int(summary, "changed_bytes", (int64_t) commit->changed_bytes);
	mb_json_set_int(summary, "stored_bytes", (int64_t) commit->stored_bytes);
	json_object_set_new(summary, "seconds",
						json_real((double) (mb_monotonic_ms() - own->started_ms) / 1000));
	json_object_set(summary, "warnings", own->capture.warnings);
	if (json_object_get(own->capture.meta, "consistency"))
		json_object_set(summary, "consistency", json_object_get(own->capture.meta, "consistency"));
	if (json_object_get(own->capture.meta, "statistics"))
		json_object_set(summary, "statistics", json_object_get(own->capture.meta, "statistics"));
	if (atomic_load(&own->capture.incomplete))
		mb_json_set_bool(summary, "incomplete", true);
	return summary;
}

static void
describe_commit(struct capture_private *own, const struct mb_cut *cut, const char *type,
				struct mb_commit *commit)
{
	struct mb_capture *capture = &own->capture;

	snprintf(commit->id, sizeof(commit->id), "%s", capture->id);
	snprintf(commit->component, sizeof(commit->component), "%s", capture->component);
	snprintf(commit->kind, sizeof(commit->kind), "%s", own->component->ops->kind);
	snprintf(commit->type, sizeof(commit->type), "%s", type);
	if (capture->parent)
		snprintf(commit->parent, sizeof(commit->parent), "%s", capture->parent->id);
	commit->started_us = own->started_us;
	commit->entries = atomic_load(&capture->entries);
	commit->bytes = atomic_load(&capture->bytes);
	commit->changed_bytes = atomic_load(&capture->changed_bytes);
	mb_json_set_time(capture->meta, "cut_time", cut->time_us);
	mb_json_set_str(capture->meta, "cut", cut->id);
	if (json_array_size(capture->warnings) > 0)
		json_object_set(capture->meta, "warnings", capture->warnings);
	if (json_array_size(capture->notes) > 0)
		json_object_set(capture->meta, "notes", capture->notes);
	commit->meta = json_incref(capture->meta);
}

/* What earlier attempts left is of no use any more.  That it stays does no harm but cost space. */
static void
forget_attempts(const struct mb_capture *capture)
{
	struct mb_error err;

	if (mb_provisionals_remove(capture->repo, capture->component, &err))
		mb_log_warning(capture->env->log, "%s: could not remove what killed backups left: %s",
					   capture->component, err.message);
}

/* The commit as its parent: what an unchanged scan answers. */
static enum mb_code
keep_parent(struct capture_private *own, json_t **summary)
{
	*summary = summary_of(own, &own->parent);
	mb_json_set_bool(*summary, "unchanged", true);
	return MB_OK;
}

enum mb_code
mb_capture_commit(struct mb_session *session, struct mb_capture *capture, const struct mb_cut *cut,
				  const char *type, json_t **summary, struct mb_error *err)
{
	struct capture_private *own = (struct capture_private *) capture;
	struct mb_commit commit = {0};
	enum mb_code code;
	int lock_fd = -1;

	if (capture->parent && strcmp(type, "scan") == 0 &&
		mb_json_bool(capture->meta, "unchanged", false))
		return keep_parent(own, summary);
	mb_progress_phase(capture->progress, "finishing");
	describe_commit(own, cut, type, &commit);
	if (capture->parent)
		mb_manifest_share(capture->manifest, capture->repo, &capture->parent->blocks,
						  &capture->rehome.avoid);
	code = mb_manifest_finish(capture->manifest, session->packers[0], &commit.blocks, &commit.refs,
							  err);
	if (!code)
		code = mb_capture_flush(session, capture, err);
	commit.stored_bytes = own->stored_bytes;
	if (!code)
		code = mb_lease_check(session->lease, err);
	if (!code)
		code = mb_cancel_check(session->env->cancel, err);
	if (!code)
		code = mb_store_clock(capture->repo->store, &commit.finished_us, err);
	/* Two commits of one component must not take the same sequence number. */
	if (!code)
		code = mb_session_lock(session->env, "commit", COMMIT_LOCK_WAIT_MS, &lock_fd, err);
	if (!code)
		code = mb_commit_put_guarded(capture->repo, session->lease, &commit, err);
	if (!code)
		mb_chain_remember(session->env, &commit);
	if (lock_fd >= 0)
		close(lock_fd);
	if (!code && strcmp(type, "scan") != 0)
		forget_attempts(capture);
	if (!code)
		*summary = summary_of(own, &commit);
	mb_commit_release(&commit);
	mb_progress_phase(capture->progress, code ? "failed" : "done");
	return code;
}

void
mb_capture_free(struct mb_capture *capture)
{
	struct capture_private *own = (struct capture_private *) capture;
	unsigned i;

	if (!capture)
		return;
	for (i = 0; i < capture->workers; i++)
	{
		mb_pack_reader_free(capture->readers[i]);
		free(capture->ranges[i]);
	}
	free(capture->readers);
	free(capture->ranges);
	mb_manifest_writer_free(capture->manifest);
	mb_manifest_writer_free(capture->unsaved);
	mb_commit_release(&own->parent);
	json_decref(capture->meta);
	json_decref(capture->warnings);
	json_decref(capture->notes);
	mb_rehome_release(&capture->rehome);
	pthread_mutex_destroy(&own->lock);
	free(own);
}

enum mb_code
mb_session_lock(const struct mb_env *env, const char *name, int64_t wait_ms, int *fd,
				struct mb_error *err)
{
	char *path = mb_asprintf("%s/%s.%s.lock", env->spool, env->repo->id_text, name);
	int64_t deadline_ms = mb_monotonic_ms() + wait_ms;
	enum mb_code code;

	while ((code = mb_lock_file(fd, path, err)) == MB_CONFLICT && mb_monotonic_ms() < deadline_ms &&
		   !mb_cancelled(env->cancel))
		mb_sleep_ms(50);
	free(path);
	return code;
}
