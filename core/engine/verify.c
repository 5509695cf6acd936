/*
 * verify.c - mb_verify_run: is everything that the backups need there and undamaged?
 *
 * First the commits: their blocks, page maps and references, against the list of
 * packs that exist.  Then, by choice, the data: packs and stream pieces, read whole by
 * all workers.  Each problem names the backups that it concerns.  Nothing is changed.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/verify_private.h"

/* -- problems ---------------------------------------------------------------------------------- */

/* The ids by which a user knows a commit: its sets, else the marks over it, else its own name. */
static void
add_names(const struct mb_verify *verify, const struct mb_commit *commit, json_t *names)
{
	bool found = false;
	size_t i, j;

	for (i = 0; i < json_array_size(verify->sets); i++)
	{
		json_t *set = json_array_get(verify->sets, i);
		json_t *parts = json_object_get(set, "components");

		for (j = 0; j < json_array_size(parts); j++)
			if (strcmp(mb_json_str(json_array_get(parts, j), "backup", ""), commit->id) == 0 &&
				strcmp(mb_json_str(json_array_get(parts, j), "name", ""), commit->component) == 0)
			{
				json_array_append(names, json_object_get(set, "id"));
				found = true;
			}
	}
	for (i = 0; i < json_array_size(verify->marks); i++)
	{
		json_t *mark = json_array_get(verify->marks, i);
		const char *base = mb_json_str(json_object_get(mark, "bases"), commit->component, "");

		if (!found && strcmp(base, commit->id) == 0)
		{
			json_array_append(names, json_object_get(mark, "name"));
			found = true;
		}
	}
	if (!found)
	{
		char *own = mb_asprintf("%s/%s", commit->component, commit->id);

		json_array_append_new(names, json_string(own));
		free(own);
	}
}

void
mb_verify_problem(struct mb_verify *verify, const char *kind, const char *where,
				  const char *message, mb_verify_concerns_fn concerns, const void *what)
{
	json_t *problem = json_object();
	json_t *names = json_array();
	size_t i;

	mb_json_set_str(problem, "kind", kind);
	mb_json_set_str(problem, "where", where);
	mb_json_set_str(problem, "message", message);
	for (i = 0; concerns && i < verify->subject_count; i++)
		if (concerns(&verify->subjects[i].commit, what))
			add_names(verify, &verify->subjects[i].commit, names);
	json_object_set_new(problem, "backups", names);
	pthread_mutex_lock(&verify->lock);
	json_array_append_new(verify->problems, problem);
	pthread_mutex_unlock(&verify->lock);
}

bool
mb_verify_is_commit(const struct mb_commit *commit, const void *what)
{
	return commit == what;
}

bool
mb_verify_refers_to_pack(const struct mb_commit *commit, const void *what)
{
	size_t lo = 0, hi = commit->refs.count;

	while (lo < hi)
	{
		size_t mid = (lo + hi) / 2;
		int order = memcmp(&commit->refs.items[mid].pack, what, sizeof(struct mb_pack_id));

		if (order == 0)
			return true;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* -- what there is ------------------------------------------------------------------------------- */

static int
compare_pack_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct mb_pack_id));
}

const struct mb_pack_id *
mb_verify_find_pack(const struct mb_verify *verify, const struct mb_pack_id *pack)
{
	if (verify->pack_count == 0)
		return NULL;
	return bsearch(pack, verify->packs, verify->pack_count, sizeof(*pack), compare_pack_ids);
}

static void
add_blob(struct mb_verify *verify, const struct mb_blob_info *info)
{
	struct mb_verify_blob *blob;

	verify->blobs =
		mb_grow(verify->blobs, &verify->blob_cap, verify->blob_count + 1, sizeof(*verify->blobs));
	blob = &verify->blobs[verify->blob_count++];
	*blob = (struct mb_verify_blob){.name = mb_strdup(info->name),
									.bytes = info->bytes,
									.modified_us = info->modified_us};
}

/* A small document: check it at once. */
static enum mb_code
check_document(struct mb_verify *verify, enum mb_role role, const char *name, struct mb_error *err)
{
	enum mb_code code;
	struct mb_error why;
	json_t *doc;

	mb_error_clear(&why);
	code = mb_doc_get(verify->repo, role, name, &doc, &why);
	if (!code)
	{
		if (role == MB_ROLE_PIN)
			code = mb_verify_pin(verify, name, doc, &why);
		json_decref(doc);
	}
	else if (mb_error_is_of_contents(&why))
	{
		mb_verify_problem(verify, "damaged", name, why.message, NULL, NULL);
		code = MB_OK;
	}
	if (code && code != MB_NOT_FOUND) /* removed meanwhile */
	{
		*err = why;
		return code;
	}
	return mb_cancel_check(verify->stack->env->cancel, err);
}

static enum mb_code
see_blob(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	static const struct
	{
		const char *prefix;
		enum mb_role role;
	} documents[] = {{"sets/", MB_ROLE_SET},
					 {"marks/", MB_ROLE_MARK},
					 {"leases/", MB_ROLE_LEASE},
					 {"tombstones/", MB_ROLE_TOMBSTONE},
					 {"provisional/", MB_ROLE_PROVISIONAL},
					 {"probes/", MB_ROLE_PROBE},
					 {"verified/", MB_ROLE_VERIFIED},
					 {"drills/", MB_ROLE_DRILL},
					 {"pins/", MB_ROLE_PIN},
					 {"reduced/", MB_ROLE_REDUCED}};
	struct mb_verify *verify = ctx;
	struct mb_pack_id pack;
	size_t i;

	if (mb_pack_name_parse(&pack, info->name))
	{
		verify->packs = mb_grow(verify->packs, &verify->pack_cap, verify->pack_count + 1,
								sizeof(*verify->packs));
		verify->packs[verify->pack_count++] = pack;
		add_blob(verify, info);
		return MB_OK;
	}
	if (mb_starts_with(info->name, "streams/"))
	{
		add_blob(verify, info);
		return MB_OK;
	}
	for (i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		if (mb_starts_with(info->name, documents[i].prefix))
			return check_document(verify, documents[i].role, info->name, err);
	/* Commits and key slots have checks of their own. */
	if (strcmp(info->name, "mbackup.json") != 0 && !mb_starts_with(info->name, "keys/") &&
		!(mb_starts_with(info->name, "backups/") && mb_ends_with(info->name, "/commit")))
		mb_verify_problem(verify, "unknown", info->name,
						  "this blob does not belong to a repository", NULL, NULL);
	return MB_OK;
}

/* -- the whole -------------------------------------------------------------------------------------- */

static enum mb_code
run_verify(struct mb_verify *verify, struct mb_error *err)
{
	enum mb_code code = mb_repo_verify_header(verify->repo->store, err);

	if (code == MB_CORRUPT)
	{
		mb_verify_problem(verify, "damaged", "mbackup.json, keys/", err->message, NULL, NULL);
		code = MB_OK;
	}
	if (!code)
		code = mb_sets_list(verify->repo, &verify->sets, err);
	if (!code)
		code = mb_marks_list(verify->repo, &verify->marks, err);
	if (!code)
		code = mb_verify_load_subjects(verify, err);
	if (!code)
		code = mb_verify_choose_subjects(verify, err);
	/* Packs after commits: whatever a commit refers to was durable before the commit. */
	if (!code)
		code = mb_store_list(verify->repo->store, "", see_blob, verify, err);
	if (!code && verify->pack_count > 0)
		qsort(verify->packs, verify->pack_count, sizeof(*verify->packs), compare_pack_ids);
	if (!code)
		code = mb_verify_commits(verify, err);
	if (!code && verify->options->read_data != MB_READ_NONE)
		code = mb_verify_data(verify, err);
	return code;
}

static json_t *
verify_answer(const struct mb_verify *verify, int64_t started_ms)
{
	json_t *json = json_object();
	size_t i, chosen = 0;

	for (i = 0; i < verify->subject_count; i++)
		chosen += verify->subjects[i].chosen;
	mb_json_set_int(json, "backups", (int64_t) chosen);
	mb_json_set_int(json, "packs", (int64_t) verify->pack_count);
	mb_json_set_int(json, "frames", (int64_t) verify->frames);
	mb_json_set_int(json, "bytes", (int64_t) verify->bytes);
	mb_json_set_int(json, "blobs", (int64_t) verify->read);
	mb_json_set_int(json, "stored_bytes", (int64_t) verify->stored_bytes);
	mb_json_set_int(json, "left", (int64_t) verify->left);
	if (verify->since_us)
		mb_json_set_time(json, "since", verify->since_us);
	json_object_set_new(json, "seconds",
						json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
	json_object_set(json, "problems", verify->problems);
	return json_pack("{s:o}", "verify", json);
}

static void
release_verify(struct mb_verify *verify)
{
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		mb_commit_release(&verify->subjects[i].commit);
	free(verify->subjects);
	for (i = 0; i < verify->blob_count; i++)
		free(verify->blobs[i].name);
	free(verify->blobs);
	free(verify->packs);
	mb_verified_free(verify->verified);
	mb_verified_notes_free(verify->notes);
	json_decref(verify->sets);
	json_decref(verify->marks);
	json_decref(verify->problems);
	pthread_mutex_destroy(&verify->lock);
}

enum mb_code
mb_verify_run(const struct mb_stack *stack, const struct mb_verify_options *options,
			  json_t **answer, struct mb_error *err)
{
	struct mb_verify verify = {.stack = stack,
							   .repo = stack->env->repo,
							   .options = options,
							   .problems = json_array(),
							   .progress = mb_env_progress(stack->env, "repository")};
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code;

	MB_ASSERT(options->read_data == MB_READ_FULL || !mb_verify_goes_by_age(options));
	pthread_mutex_init(&verify.lock, NULL);
	code = run_verify(&verify, err);
	mb_progress_phase(verify.progress, "done");
	if (!code)
	{
		size_t problems = json_array_size(verify.problems);

		*answer = verify_answer(&verify, started_ms);
		if (problems > 0)
		{
			code = mb_fail(err, MB_CORRUPT, "%zu problem%s found in the repository", problems,
						   problems == 1 ? " was" : "s were");
			mb_error_hint(err, "The problems name the backups concerned; take a new full backup, "
							   "and restore what you need from the others.");
		}
	}
	release_verify(&verify);
	return code;
}
