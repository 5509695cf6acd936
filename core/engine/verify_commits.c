/* verify_commits.c - commits, their manifests and page maps, and whatever refers to them. */
#include <stdlib.h>
#include <string.h>

#include "core/engine/chain_check.h"
#include "core/engine/verify_private.h"

enum mb_code
mb_verify_load_subjects(struct mb_verify *verify, struct mb_error *err)
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
		if (!mb_commit_get(verify->repo, names.items[i].component, names.items[i].id, commit, &why))
			verify->subject_count++;
		else if (mb_error_is_of_contents(&why))
		{
			/* Known by its name only; that is enough to say which backups it breaks. */
			snprintf(commit->component, sizeof(commit->component), "%s", names.items[i].component);
			snprintf(commit->id, sizeof(commit->id), "%s", names.items[i].id);
			verify->subject_count++;
			mb_verify_problem(verify, "damaged", names.items[i].id, why.message,
							  mb_verify_is_commit, commit);
		}
		else if (why.code != MB_NOT_FOUND)
		{
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

enum mb_code
mb_verify_choose_subjects(struct mb_verify *verify, struct mb_error *err)
{
	size_t i, j;

	for (j = 0; verify->options->backup_count == 0 && j < verify->subject_count; j++)
		verify->subjects[j].chosen = true;
	for (i = 0; i < verify->options->backup_count; i++)
	{
		json_t *set;

		if (mb_set_find(verify->repo, verify->options->backups[i], &set, err))
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
walk_manifest(struct mb_verify *verify, const struct mb_commit *commit, struct mb_error *err)
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
			if (!mb_verify_refers_to_pack(commit, &runs.items[i].pack))
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
check_commit(struct mb_verify *verify, const struct mb_commit *commit, struct mb_error *err)
{
	struct mb_component *component = mb_stack_find(verify->stack, commit->component);
	size_t i, missing = 0;
	char name[MB_PACK_NAME_TEXT];
	struct mb_error why;
	enum mb_code code;

	if (commit->kind[0] == '\0')
		return MB_OK; /* damaged, and reported already */
	for (i = 0; i < commit->refs.count; i++)
		if (!mb_verify_find_pack(verify, &commit->refs.items[i].pack))
		{
			mb_pack_name(name, &commit->refs.items[i].pack);
			mb_verify_problem(verify, "missing", name,
							  "this pack is referred to but does not exist",
							  mb_verify_refers_to_pack, &commit->refs.items[i].pack);
			missing++;
		}
	mb_error_clear(&why);
	code = missing ? MB_OK : walk_manifest(verify, commit, &why);
	if (!code)
		code = mb_chain_check(verify->repo, commit, &why);
	if (!code && component && strcmp(component->ops->kind, commit->kind) == 0)
	{
		code = component->ops->verify(component, commit, &why);
		if (!code)
			code = mb_verify_marks(verify, component, commit, &why);
	}
	if (code == MB_NOT_FOUND || (code && mb_error_is_of_contents(&why)))
	{
		mb_verify_problem(verify, "damaged", commit->id, why.message, mb_verify_is_commit, commit);
		return MB_OK;
	}
	if (code)
		*err = why;
	return code;
}

static bool
have_commit(const struct mb_verify *verify, const char *component, const char *id)
{
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
		if (strcmp(verify->subjects[i].commit.id, id) == 0 &&
			strcmp(verify->subjects[i].commit.component, component) == 0)
			return true;
	return false;
}

bool
mb_verify_is_still_there(const struct mb_verify *verify, const char *folder, const json_t *doc,
						 const char *component)
{
	char *set = mb_asprintf("%s/%s", folder, mb_json_str(doc, "id", ""));
	char *reduced = mb_asprintf("reduced/%s/%s", mb_json_str(doc, "id", ""), component);
	struct mb_error ignored;
	struct mb_blob_info info;
	bool there = mb_store_head(verify->repo->store, set, &info, &ignored) != MB_NOT_FOUND &&
				 mb_store_head(verify->repo->store, reduced, &info, &ignored) != MB_OK;

	free(set);
	free(reduced);
	return there;
}

/* Was the repository set back to what it was before this machine's last backup? */
static void
check_newest(struct mb_verify *verify, const char *component)
{
	uint64_t sequence = 0;
	struct mb_error why;
	size_t i;

	for (i = 0; i < verify->subject_count; i++)
	{
		const struct mb_commit *commit = &verify->subjects[i].commit;

		if (strcmp(commit->component, component) != 0)
			continue;
		if (commit->kind[0] == '\0')
			return; /* it may be the one that cannot be read */
		if (commit->sequence > sequence)
			sequence = commit->sequence;
	}
	mb_error_clear(&why);
	if (mb_chain_check_newest(verify->stack->env, component, sequence, &why))
		mb_verify_problem(verify, "set back", component, why.message, NULL, NULL);
}

/* A set or mark names a commit: it must be there. */
static void
check_reference(struct mb_verify *verify, const char *component, const char *id, const char *folder,
				const json_t *doc)
{
	const char *doc_name = mb_json_str(doc, strcmp(folder, "sets") == 0 ? "id" : "name", "?");
	json_t *problem;
	char *where;

	if (have_commit(verify, component, id) ||
		!mb_verify_is_still_there(verify, folder, doc, component))
		return;
	where = mb_asprintf("backups/%s/%s/commit", component, id);
	mb_verify_problem(verify, "missing", where, "this commit is referred to but does not exist",
					  NULL, NULL);
	problem = json_array_get(verify->problems, json_array_size(verify->problems) - 1);
	json_array_append_new(json_object_get(problem, "backups"), json_string(doc_name));
	free(where);
}

static void
check_references(struct mb_verify *verify)
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
								mb_json_str(part, "backup", ""), "sets", set);
		}
	}
	for (i = 0; i < json_array_size(verify->marks); i++)
	{
		json_t *mark = json_array_get(verify->marks, i);

		json_object_foreach(json_object_get(mark, "bases"), component, base)
			check_reference(verify, component, mb_json_value_str(base, "?"), "marks", mark);
	}
}

enum mb_code
mb_verify_commits(struct mb_verify *verify, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	mb_progress_phase(verify->progress, "checking");
	check_references(verify);
	mb_verify_mark_cuts(verify);
	for (i = 0; verify->options->backup_count == 0 && i < verify->stack->count; i++)
		check_newest(verify, verify->stack->components[i]->name);
	for (i = 0; !code && i < verify->subject_count; i++)
		if (verify->subjects[i].chosen)
			code = check_commit(verify, &verify->subjects[i].commit, err);
	return code;
}
