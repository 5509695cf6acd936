/*
 * verify_data.c - reading what is stored: which blobs, in which order, until when; and the notes about it.
 *
 * By age the blobs come in the order of their last reading, those never read first, so that a run
 * that stops at its budget leaves to the next one what is younger than all that it has read.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/verify_private.h"

#define STREAM_PIECE_MAX_BYTES (64u << 20)

struct reading
{
	struct mb_verify *verify;
	struct mb_verify_blob **due; /* verify->due of them */
};

/* -- problems ------------------------------------------------------------------------------------- */

/*
 * Does a commit need the stream blob `what`?  Its driver says so by meta.needs, a list
 * of {prefix, from, to}: from <= name after the prefix, and its first part <= to.  A
 * driver that says nothing gets every blob of its component counted.
 */
static bool
needs_stream_blob(const struct mb_commit *commit, const void *what)
{
	const char *name = what;
	json_t *needs = json_object_get(commit->meta, "needs");
	char *own = mb_asprintf("streams/%s/", commit->component);
	bool ours = mb_starts_with(name, own);
	size_t i;

	free(own);
	if (!ours || !json_is_array(needs))
		return ours;
	for (i = 0; i < json_array_size(needs); i++)
	{
		const json_t *range = json_array_get(needs, i);
		const char *prefix = mb_json_str(range, "prefix", "");
		const char *from = mb_json_str(range, "from", "");
		const char *to = mb_json_str(range, "to", "");
		const char *rest = name + strlen(prefix);

		if (mb_starts_with(name, prefix) && strcmp(rest, from) >= 0 &&
			strncmp(rest, to, strlen(to)) <= 0)
			return true;
	}
	return false;
}

/* A damaged piece of a stream concerns the backups that need it, or only what lies between. */
static void
add_stream_problem(struct mb_verify *verify, const char *name, const struct mb_error *found)
{
	struct mb_error why = *found;
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		if (needs_stream_blob(&verify->subjects[i].commit, name))
			break;
	if (i == verify->subject_count)
		mb_error_context(&why, "no backup needs it, but restores to moments after it do");
	mb_verify_problem(verify, "damaged", name, why.message, needs_stream_blob, name);
}

/* -- one blob ------------------------------------------------------------------------------------- */

static enum mb_code
read_blob(struct mb_verify *verify, unsigned worker, const char *name, uint64_t *bytes,
		  uint32_t *frames, struct mb_error *err)
{
	struct mb_pack_id pack;
	struct mb_buf plain = {0};
	enum mb_code code;

	if (mb_pack_name_parse(&pack, name))
		return mb_pack_verify(verify->readers[worker], &pack, bytes, frames, err);
	code = mb_blob_get(verify->repo, MB_ROLE_STREAM, name, STREAM_PIECE_MAX_BYTES, &plain, err);
	*bytes = plain.len;
	*frames = (uint32_t) ((plain.len + MB_FRAME_MAX_PLAIN - 1) / MB_FRAME_MAX_PLAIN);
	mb_buf_release(&plain);
	return code;
}

/* That it cannot be noted fails a run that goes by the notes, and no other. */
static enum mb_code
take_note_failure(struct mb_verify *verify, struct mb_error *err)
{
	bool is_first;

	if (mb_verify_goes_by_age(verify->options))
		return err->code;
	pthread_mutex_lock(&verify->lock);
	is_first = !verify->cannot_note;
	verify->cannot_note = true;
	pthread_mutex_unlock(&verify->lock);
	if (is_first)
		mb_log_info(verify->stack->env->log, "%s", err->message);
	mb_error_clear(err);
	return MB_OK;
}

static enum mb_code
take_damage(struct mb_verify *verify, struct mb_verify_blob *blob, struct mb_error *err)
{
	struct mb_pack_id pack;
	int64_t now_us = 0;

	blob->read_us = 0;
	if (mb_pack_name_parse(&pack, blob->name))
		mb_verify_problem(verify, "damaged", blob->name, err->message, mb_verify_refers_to_pack,
						  &pack);
	else
		add_stream_problem(verify, blob->name, err);
	mb_error_clear(err);
	if (verify->notes && !verify->cannot_note &&
		(mb_store_clock(verify->repo->store, &now_us, err) ||
		 mb_verified_note_damaged(verify->notes, blob->name, now_us, err)))
		return take_note_failure(verify, err);
	return MB_OK;
}

static bool
is_spent(struct mb_verify *verify, const struct mb_verify_blob *blob)
{
	uint64_t before = atomic_fetch_add(&verify->begun_bytes, blob->bytes);

	if ((verify->options->budget_bytes && before >= verify->options->budget_bytes) ||
		(verify->deadline_ms && before > 0 && mb_monotonic_ms() >= verify->deadline_ms))
		atomic_store(&verify->is_spent, true);
	return atomic_load(&verify->is_spent);
}

static enum mb_code
check_blob(void *ctx, unsigned worker, size_t item, struct mb_error *err)
{
	struct mb_verify *verify = ((struct reading *) ctx)->verify;
	struct mb_verify_blob *blob = ((struct reading *) ctx)->due[item];
	uint64_t bytes = 0;
	uint32_t frames = 0;
	enum mb_code code;

	if (is_spent(verify, blob))
	{
		pthread_mutex_lock(&verify->lock);
		verify->left++;
		pthread_mutex_unlock(&verify->lock);
		return MB_OK;
	}
	code = read_blob(verify, worker, blob->name, &bytes, &frames, err);
	if (code && mb_error_is_of_contents(err))
		return take_damage(verify, blob, err);
	if (code == MB_NOT_FOUND)
	{
		/* Expired meanwhile; a missing pack that is needed was reported before. */
		mb_error_clear(err);
		return MB_OK;
	}
	if (code)
		return code;
	blob->read_us = verify->started_us;
	pthread_mutex_lock(&verify->lock);
	verify->read++;
	verify->frames += frames;
	verify->bytes += bytes;
	verify->stored_bytes += blob->bytes;
	pthread_mutex_unlock(&verify->lock);
	atomic_fetch_add(&verify->progress->done_bytes, blob->bytes);
	if (verify->notes && !verify->cannot_note && mb_verified_note(verify->notes, blob->name, err))
		return take_note_failure(verify, err);
	return MB_OK;
}

/* -- which, and in which order -------------------------------------------------------------------- */

static int
compare_ages(const void *a, const void *b)
{
	const struct mb_verify_blob *left = *(struct mb_verify_blob *const *) a;
	const struct mb_verify_blob *right = *(struct mb_verify_blob *const *) b;

	if (left->read_us != right->read_us)
		return left->read_us < right->read_us ? -1 : 1;
	if (left->modified_us != right->modified_us)
		return left->modified_us < right->modified_us ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Which packs do the chosen backups refer to?  Parallel to verify->packs. */
static bool *
packs_of_chosen(const struct mb_verify *verify)
{
	bool *wanted = mb_calloc(verify->pack_count + 1, sizeof(*wanted));
	size_t i, j;

	for (i = 0; i < verify->subject_count; i++)
		for (j = 0; verify->subjects[i].chosen && j < verify->subjects[i].commit.refs.count; j++)
		{
			const struct mb_pack_id *found =
				mb_verify_find_pack(verify, &verify->subjects[i].commit.refs.items[j].pack);

			if (found)
				wanted[found - verify->packs] = true;
		}
	return wanted;
}

static bool
is_due(const struct mb_verify *verify, const struct mb_verify_blob *blob, const bool *wanted)
{
	int64_t older_than_us = verify->options->older_than_ms * 1000;
	const struct mb_pack_id *found;
	struct mb_pack_id pack;

	if (wanted)
	{
		found = mb_pack_name_parse(&pack, blob->name) ? mb_verify_find_pack(verify, &pack) : NULL;
		return found && wanted[found - verify->packs];
	}
	return older_than_us == 0 || blob->read_us == 0 ||
		   verify->started_us - blob->read_us > older_than_us;
}

static void
choose_due(struct mb_verify *verify, struct reading *reading)
{
	bool *wanted = verify->options->read_data == MB_READ_CHANGED ? packs_of_chosen(verify) : NULL;
	uint64_t total = 0;
	size_t i;

	reading->due = mb_calloc(verify->blob_count + 1, sizeof(*reading->due));
	for (i = 0; i < verify->blob_count; i++)
	{
		struct mb_verify_blob *blob = &verify->blobs[i];

		if (verify->verified)
			blob->read_us = mb_verified_time(verify->verified, blob->name);
		if (!is_due(verify, blob, wanted))
			continue;
		reading->due[verify->due++] = blob;
		total += blob->bytes;
	}
	free(wanted);
	if (mb_verify_goes_by_age(verify->options) && verify->due > 1)
		qsort(reading->due, verify->due, sizeof(*reading->due), compare_ages);
	atomic_store(&verify->progress->total_bytes, total);
}

/* -- notes ---------------------------------------------------------------------------------------- */

/*
 * A copy has no notes: they are about the first.  From a store that cannot be written one can verify
 * all the same.
 */
static enum mb_code
begin_notes(struct mb_verify *verify, struct mb_error *err)
{
	const struct mb_env *env = verify->stack->env;
	bool is_copy = env->repository || env->is_copy;
	enum mb_code code;

	if (is_copy && mb_verify_goes_by_age(verify->options))
	{
		mb_fail(err, MB_UNSUPPORTED, "a copy of the repository is not read by age");
		return mb_error_hint(err, "Read all of it: leave out --older-than and --budget.");
	}
	if (is_copy)
		return MB_OK;
	code = mb_store_clock(verify->repo->store, &verify->started_us, err);
	if (!code)
		code = mb_verified_load(&verify->verified, verify->repo, err);
	if (code)
	{
		verify->started_us = 0;
		return take_note_failure(verify, err);
	}
	verify->notes = mb_verified_notes_new(verify->repo, verify->started_us);
	return MB_OK;
}

/* Since when was every blob read, or stored? */
static int64_t
find_since(const struct mb_verify *verify)
{
	int64_t since_us = verify->started_us;
	size_t i;

	for (i = 0; i < verify->blob_count; i++)
	{
		const struct mb_verify_blob *blob = &verify->blobs[i];
		int64_t seen_us = blob->read_us > blob->modified_us ? blob->read_us : blob->modified_us;

		if (seen_us < since_us)
			since_us = seen_us;
	}
	return since_us;
}

static enum mb_code
end_notes(struct mb_verify *verify, enum mb_code code, struct mb_error *err)
{
	char **names = mb_calloc(verify->blob_count + 1, sizeof(*names));
	struct mb_error why;
	enum mb_code noted;
	size_t i;

	if (!code)
		verify->since_us = find_since(verify);
	for (i = 0; i < verify->blob_count; i++)
		names[i] = verify->blobs[i].name;
	mb_error_clear(&why);
	noted = code ? mb_verified_flush(verify->notes, &why)
				 : mb_verified_finish(verify->notes, verify->verified, verify->since_us, names,
									  verify->blob_count, &why);
	free(names);
	if (noted)
		noted = take_note_failure(verify, &why);
	if (noted && !code)
	{
		*err = why;
		return noted;
	}
	return code;
}

enum mb_code
mb_verify_data(struct mb_verify *verify, struct mb_error *err)
{
	const struct mb_env *env = verify->stack->env;
	struct reading reading = {.verify = verify};
	enum mb_code code = begin_notes(verify, err);
	unsigned i;

	if (code)
		return code;
	choose_due(verify, &reading);
	if (verify->options->budget_ms)
		verify->deadline_ms = mb_monotonic_ms() + verify->options->budget_ms;
	verify->readers = mb_calloc(env->workers, sizeof(*verify->readers));
	for (i = 0; i < env->workers; i++)
		verify->readers[i] = mb_pack_reader_new(verify->repo);
	mb_progress_phase(verify->progress, "reading");
	code = mb_pool_run(env->workers, verify->due, check_blob, &reading, env->cancel, err);
	for (i = 0; i < env->workers; i++)
		mb_pack_reader_free(verify->readers[i]);
	free(verify->readers);
	free(reading.due);
	if (verify->notes && !verify->cannot_note)
		code = end_notes(verify, code, err);
	return code;
}
