/*
 * verify.c - mb_verify_run: is everything that the backups need there and undamaged?
 *
 * First the commits: their blocks, page maps and references, against the list of
 * packs that exist.  Then, by choice, the data: packs and stream pieces, read whole by
 * all workers.  Each problem names the backups that it concerns.  Nothing is changed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/docs.h"

#define STREAM_PIECE_MAX_BYTES (64u << 20)

/* A commit under verification and the sets that contain it. */
struct subject
{
	struct mb_commit commit;
	bool chosen;
};

struct verify
{
	const struct mb_stack *stack;
	const struct mb_repo *repo;
	enum mb_read_data read_data;
	struct subject *subjects;
	size_t subject_count;
	json_t *sets;
	json_t *marks;
	struct mb_pack_id *packs; /* every pack in the store, sorted */
	size_t pack_count;
	size_t pack_cap;
	char **blobs; /* what the workers read whole: packs and stream pieces */
	size_t blob_count;
	size_t blob_cap;
	struct mb_pack_reader **readers;
	pthread_mutex_t lock; /* guards the members below */
	json_t *problems;
	uint64_t frames;
	uint64_t bytes;
	struct mb_progress *progress;
};

/* -- problems ---------------------------------------------------------------------------------- */

/* The ids by which a user knows a commit: its sets, else the marks over it, else its own name. */
static void
add_names(const struct verify *verify, const struct mb_commit *commit, json_t *names)
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

typedef bool (*concerns_fn)(const struct mb_commit *commit, const void *what);

static void
add_problem(struct verify *verify, const char *kind, const char *where, const char *message,
			concerns_fn concerns, const void *what)
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

static bool
is_commit(const struct mb_commit *commit, const void *what)
{
	return commit == what;
}

static bool
refers_to_pack(const struct mb_commit *commit, const void *what)
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

/* -- what there is ------------------------------------------------------------------------------- */

static int
compare_pack_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct mb_pack_id));
}

static bool
pack_exists(const struct verify *verify, const struct mb_pack_id *pack)
{
	return bsearch(pack, verify->packs, verify->pack_count, sizeof(*pack), compare_pack_ids) !=
		   NULL;
}

static void
add_blob(struct verify *verify, const char *name)
{
	verify->blobs =
		mb_grow(verify->blobs, &verify->blob_cap, verify->blob_count + 1, sizeof(char *));
	verify->blobs[verify->blob_count++] = mb_strdup(name);
}

/* A small document: check it at once. */
static void
check_document(struct verify *verify, enum mb_role role, const char *name)
{
	struct mb_error err;
	json_t *doc;

	mb_error_clear(&err);
	if (mb_doc_get(verify->repo, role, name, &doc, &err) == MB_OK)
		json_decref(doc);
	else if (err.code != MB_NOT_FOUND)
		add_problem(verify, "damaged", name, err.message, NULL, NULL);
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
					 {"probes/", MB_ROLE_PROBE}};
	struct verify *verify = ctx;
	struct mb_pack_id pack;
	size_t i;

	if (mb_pack_name_parse(&pack, info->name))
	{
		verify->packs = mb_grow(verify->packs, &verify->pack_cap, verify->pack_count + 1,
								sizeof(*verify->packs));
		verify->packs[verify->pack_count++] = pack;
		if (verify->read_data == MB_READ_FULL)
			add_blob(verify, info->name);
		return MB_OK;
	}
	if (mb_starts_with(info->name, "streams/"))
	{
		if (verify->read_data == MB_READ_FULL)
			add_blob(verify, info->name);
		return MB_OK;
	}
	for (i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		if (mb_starts_with(info->name, documents[i].prefix))
		{
			check_document(verify, documents[i].role, info->name);
			return mb_cancel_check(verify->stack->env->cancel, err);
		}
	/* Commits and key slots have checks of their own. */
	if (strcmp(info->name, "mbackup.json") != 0 && !mb_starts_with(info->name, "keys/") &&
		!(mb_starts_with(info->name, "backups/") && mb_ends_with(info->name, "/commit")))
		add_problem(verify, "unknown", info->name, "this blob does not belong to a repository",
					NULL, NULL);
	return MB_OK;
}

/* -- commits --------------------------------------------------------------------------------------- */

static enum mb_code
load_subjects(struct verify *verify, struct mb_error *err)
{
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(verify->repo, NULL, &names, err);
	size_t i;

	verify->subjects = mb_calloc(names.count, sizeof(*verify->subjects));
	for (i = 0; !code && i < names.count; i++)
	{
		struct mb_commit *commit = &verify->subjects[verify->subject_count].commit;
		struct mb_error why;

		mb_error_clear(&why);
		switch (
			mb_commit_get(verify->repo, names.items[i].component, names.items[i].id, commit, &why))
		{
			case MB_OK:
				verify->subject_count++;
				break;
			case MB_NOT_FOUND:
				break;
			case MB_CORRUPT:
			case MB_DENIED:
			case MB_UNSUPPORTED:
				/* Known by its name only; that is enough to say which backups it breaks. */
				snprintf(commit->component, sizeof(commit->component), "%s",
						 names.items[i].component);
				snprintf(commit->id, sizeof(commit->id), "%s", names.items[i].id);
				verify->subject_count++;
				add_problem(verify, "damaged", names.items[i].id, why.message, is_commit, commit);
				break;
			default:
				*err = why;
				code = why.code;
		}
	}
	mb_commit_names_release(&names);
	return code;
}

/* Does a set of commits that the user named by set id contain this one? */
static bool
set_contains(const json_t *set, const struct mb_commit *commit)
{
	json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (strcmp(mb_json_str(json_array_get(parts, i), "backup", ""), commit->id) == 0)
			return true;
	return false;
}

static enum mb_code
choose_subjects(struct verify *verify, char *const *backups, size_t count, struct mb_error *err)
{
	size_t i, j;

	for (j = 0; count == 0 && j < verify->subject_count; j++)
		verify->subjects[j].chosen = true;
	for (i = 0; i < count; i++)
	{
		json_t *set;

		if (mb_set_find(verify->repo, backups[i], &set, err))
			return err->code;
		for (j = 0; j < verify->subject_count; j++)
			if (set_contains(set, &verify->subjects[j].commit))
				verify->subjects[j].chosen = true;
		json_decref(set);
	}
	return MB_OK;
}

/* Walk the manifest: every block and page map must decode and be covered by the references. */
static enum mb_code
walk_manifest(struct verify *verify, const struct mb_commit *commit, struct mb_error *err)
{
	struct mb_manifest_reader *reader = mb_manifest_reader_new(verify->repo, &commit->blocks);
	struct mb_pack_reader *packs = mb_pack_reader_new(verify->repo);
	struct mb_runs runs = {0};
	const struct mb_entry *entry;
	uint64_t entries = 0;
	enum mb_code code;
	size_t i;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
	{
		entries++;
		runs.count = 0;
		code = mb_entry_runs(entry, packs, &runs, err);
		for (i = 0; !code && i < runs.count; i++)
			if (!refers_to_pack(commit, &runs.items[i].pack))
				code = mb_fail(err, MB_CORRUPT,
							   "\"%.*s\" lies in a pack that the commit does not "
							   "list",
							   (int) entry->path_len, entry->path);
		if (!code)
			code = mb_cancel_check(verify->stack->env->cancel, err);
		if (code)
			break;
	}
	if (!code && entries != commit->entries)
		code = mb_fail(err, MB_CORRUPT, "the manifest has %llu entries instead of %llu",
					   (unsigned long long) entries, (unsigned long long) commit->entries);
	mb_runs_release(&runs);
	mb_pack_reader_free(packs);
	mb_manifest_reader_free(reader);
	return code;
}

static enum mb_code
check_commit(struct verify *verify, const struct mb_commit *commit, struct mb_error *err)
{
	struct mb_component *component = mb_stack_find(verify->stack, commit->component);
	size_t i, missing = 0;
	char name[MB_PACK_NAME_TEXT];
	struct mb_error why;
	enum mb_code code;

	if (commit->kind[0] == '\0')
		return MB_OK; /* damaged, and reported already */
	for (i = 0; i < commit->refs.count; i++)
		if (!pack_exists(verify, &commit->refs.items[i].pack))
		{
			mb_pack_name(name, &commit->refs.items[i].pack);
			add_problem(verify, "missing", name, "this pack is referred to but does not exist",
						refers_to_pack, &commit->refs.items[i].pack);
			missing++;
		}
	mb_error_clear(&why);
	code = missing ? MB_OK : walk_manifest(verify, commit, &why);
	if (!code && component && strcmp(component->ops->kind, commit->kind) == 0)
		code = component->ops->verify(component, commit, &why);
	if (code == MB_CORRUPT || code == MB_NOT_FOUND || code == MB_DENIED || code == MB_UNSUPPORTED)
	{
		add_problem(verify, "damaged", commit->id, why.message, is_commit, commit);
		return MB_OK;
	}
	if (code)
		*err = why;
	return code;
}

static bool
have_commit(const struct verify *verify, const char *component, const char *id)
{
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		if (strcmp(verify->subjects[i].commit.id, id) == 0 &&
			strcmp(verify->subjects[i].commit.component, component) == 0)
			return true;
	return false;
}

/* A set or mark names a commit: it must be there.  `doc_name` is what the user calls it. */
static void
check_reference(struct verify *verify, const char *component, const char *id, const char *doc_name)
{
	json_t *problem;
	char *where;

	if (have_commit(verify, component, id))
		return;
	where = mb_asprintf("backups/%s/%s/commit", component, id);
	add_problem(verify, "missing", where, "this commit is referred to but does not exist", NULL,
				NULL);
	problem = json_array_get(verify->problems, json_array_size(verify->problems) - 1);
	json_array_append_new(json_object_get(problem, "backups"), json_string(doc_name));
	free(where);
}

static void
check_references(struct verify *verify)
{
	const char *component;
	json_t *base;
	size_t i, j;

	for (i = 0; i < json_array_size(verify->sets); i++)
	{
		json_t *set = json_array_get(verify->sets, i);
		json_t *parts = json_object_get(set, "components");

		for (j = 0; j < json_array_size(parts); j++)
		{
			json_t *part = json_array_get(parts, j);

			if (mb_json_str(part, "backup", NULL))
				check_reference(verify, mb_json_str(part, "name", ""),
								mb_json_str(part, "backup", ""), mb_json_str(set, "id", "?"));
		}
	}
	for (i = 0; i < json_array_size(verify->marks); i++)
	{
		json_t *mark = json_array_get(verify->marks, i);

		json_object_foreach(json_object_get(mark, "bases"), component, base)
			check_reference(verify, component, json_string_value(base),
							mb_json_str(mark, "name", "?"));
	}
}

/* -- data -------------------------------------------------------------------------------------------- */

static void
choose_changed_packs(struct verify *verify)
{
	size_t i, j;

	for (i = 0; i < verify->subject_count; i++)
		for (j = 0; verify->subjects[i].chosen && j < verify->subjects[i].commit.refs.count; j++)
		{
			char name[MB_PACK_NAME_TEXT];

			mb_pack_name(name, &verify->subjects[i].commit.refs.items[j].pack);
			add_blob(verify, name);
		}
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
drop_repeated_blobs(struct verify *verify)
{
	size_t i, kept = 0;

	if (verify->blob_count > 1)
		qsort(verify->blobs, verify->blob_count, sizeof(char *), compare_names);
	for (i = 0; i < verify->blob_count; i++)
		if (kept > 0 && strcmp(verify->blobs[kept - 1], verify->blobs[i]) == 0)
			free(verify->blobs[i]);
		else
			verify->blobs[kept++] = verify->blobs[i];
	verify->blob_count = kept;
}

static enum mb_code
read_blob(struct verify *verify, unsigned worker, const char *name, uint64_t *bytes,
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

/* A damaged piece of a stream concerns the backups that need it, or only what lies between. */
static void
add_stream_problem(struct verify *verify, const char *name, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		if (needs_stream_blob(&verify->subjects[i].commit, name))
			break;
	if (i == verify->subject_count)
		mb_error_context(err, "no backup needs it, but restores to moments after it do");
	add_problem(verify, "damaged", name, err->message, needs_stream_blob, name);
}

static enum mb_code
check_blob(void *ctx, unsigned worker, size_t item, struct mb_error *err)
{
	struct verify *verify = ctx;
	const char *name = verify->blobs[item];
	uint64_t bytes = 0;
	uint32_t frames = 0;
	struct mb_pack_id pack;
	enum mb_code code = read_blob(verify, worker, name, &bytes, &frames, err);

	if (code == MB_CORRUPT || code == MB_DENIED || code == MB_UNSUPPORTED)
	{
		if (mb_pack_name_parse(&pack, name))
			add_problem(verify, "damaged", name, err->message, refers_to_pack, &pack);
		else
			add_stream_problem(verify, name, err);
		return MB_OK;
	}
	if (code == MB_NOT_FOUND)
		return MB_OK; /* expired meanwhile; a missing pack that is needed was reported before */
	if (code)
		return code;
	pthread_mutex_lock(&verify->lock);
	verify->frames += frames;
	verify->bytes += bytes;
	pthread_mutex_unlock(&verify->lock);
	atomic_fetch_add(&verify->progress->done_bytes, bytes);
	return MB_OK;
}

static enum mb_code
read_data(struct verify *verify, struct mb_error *err)
{
	const struct mb_env *env = verify->stack->env;
	enum mb_code code;
	unsigned i;

	if (verify->read_data == MB_READ_CHANGED)
		choose_changed_packs(verify);
	drop_repeated_blobs(verify);
	verify->readers = mb_calloc(env->workers, sizeof(*verify->readers));
	for (i = 0; i < env->workers; i++)
		verify->readers[i] = mb_pack_reader_new(verify->repo);
	mb_progress_phase(verify->progress, "reading");
	code = mb_pool_run(env->workers, verify->blob_count, check_blob, verify, env->cancel, err);
	for (i = 0; i < env->workers; i++)
		mb_pack_reader_free(verify->readers[i]);
	free(verify->readers);
	return code;
}

/* -- the whole -------------------------------------------------------------------------------------- */

static enum mb_code
run_verify(struct verify *verify, char *const *backups, size_t count, struct mb_error *err)
{
	enum mb_code code = mb_repo_verify_header(verify->repo->store, err);
	size_t i;

	if (code == MB_CORRUPT)
	{
		add_problem(verify, "damaged", "mbackup.json, keys/", err->message, NULL, NULL);
		code = MB_OK;
	}
	if (!code)
		code = mb_sets_list(verify->repo, &verify->sets, err);
	if (!code)
		code = mb_marks_list(verify->repo, &verify->marks, err);
	if (!code)
		code = load_subjects(verify, err);
	if (!code)
		code = choose_subjects(verify, backups, count, err);
	/* Packs after commits: whatever a commit refers to was durable before the commit. */
	if (!code)
		code = mb_store_list(verify->repo->store, "", see_blob, verify, err);
	if (!code && verify->pack_count > 0)
		qsort(verify->packs, verify->pack_count, sizeof(*verify->packs), compare_pack_ids);
	mb_progress_phase(verify->progress, "checking");
	if (!code)
		check_references(verify);
	for (i = 0; !code && i < verify->subject_count; i++)
		if (verify->subjects[i].chosen)
			code = check_commit(verify, &verify->subjects[i].commit, err);
	if (!code && verify->read_data != MB_READ_NONE)
		code = read_data(verify, err);
	return code;
}

static json_t *
verify_answer(const struct verify *verify, int64_t started_ms)
{
	json_t *json = json_object();
	size_t i, chosen = 0;

	for (i = 0; i < verify->subject_count; i++)
		chosen += verify->subjects[i].chosen;
	mb_json_set_int(json, "backups", (int64_t) chosen);
	mb_json_set_int(json, "packs", (int64_t) verify->pack_count);
	mb_json_set_int(json, "frames", (int64_t) verify->frames);
	mb_json_set_int(json, "bytes", (int64_t) verify->bytes);
	json_object_set_new(json, "seconds",
						json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
	json_object_set(json, "problems", verify->problems);
	return json_pack("{s:o}", "verify", json);
}

static void
release_verify(struct verify *verify)
{
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		mb_commit_release(&verify->subjects[i].commit);
	free(verify->subjects);
	for (i = 0; i < verify->blob_count; i++)
		free(verify->blobs[i]);
	free(verify->blobs);
	free(verify->packs);
	json_decref(verify->sets);
	json_decref(verify->marks);
	json_decref(verify->problems);
	pthread_mutex_destroy(&verify->lock);
}

enum mb_code
mb_verify_run(const struct mb_stack *stack, char *const *backups, size_t count,
			  enum mb_read_data read_data_choice, json_t **answer, struct mb_error *err)
{
	struct verify verify = {.stack = stack,
							.repo = stack->env->repo,
							.read_data = read_data_choice,
							.problems = json_array(),
							.progress = mb_env_progress(stack->env, "repository")};
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code;

	pthread_mutex_init(&verify.lock, NULL);
	code = run_verify(&verify, backups, count, err);
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
