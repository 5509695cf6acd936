/* wal_push_branch.c - which branch a pushed segment belongs to; the rules are in wal_push.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "walstreamer/gap.h"
#include "walstreamer/wal_push_private.h"

static void
take_branch(struct mb_push_target *target, const char *branch)
{
	snprintf(target->branch, sizeof(target->branch), "%s", branch);
}

/* The branch that this copy of the cluster wrote of a timeline, or NULL. */
static const char *
own_branch(const struct mb_push_target *target, const struct mb_push_file *file, uint32_t timeline)
{
	char key[16];

	if (strcmp(mb_json_str(target->note, "system_id", ""), file->system_id) != 0)
		return NULL;
	snprintf(key, sizeof(key), "%u", timeline);
	return mb_json_str(json_object_get(target->note, "branches"), key, NULL);
}

/* The branch that the stream of this machine writes now, or NULL; out has room for it. */
static const char *
stream_branch(const struct mb_push_target *target, const struct mb_push_file *file,
			  char out[MB_WAL_BRANCH_TEXT])
{
	char *path = mb_asprintf("%s/wal-%s.json", target->env->spool, target->component);
	struct mb_buf text = {0};
	struct mb_error ignored;
	json_t *state = NULL;

	out[0] = '\0';
	if (mb_file_read(&text, path, 65536, &ignored) == MB_OK &&
		mb_json_parse(&state, (const char *) text.data, text.len, path, &ignored) == MB_OK &&
		strcmp(mb_json_str(state, "repository", ""), target->env->repo->id_text) == 0 &&
		strcmp(mb_json_str(state, "system_id", ""), file->system_id) == 0 &&
		mb_json_int(state, "timeline", 0) == file->timeline)
		snprintf(out, MB_WAL_BRANCH_TEXT, "%s", mb_json_str(state, "branch", ""));
	json_decref(state);
	mb_buf_release(&text);
	free(path);
	return out[0] ? out : NULL;
}

/* The segment before this one, still in the same directory: is it the end of the branch? */
static enum mb_code
equals_before(const struct mb_push_target *target, const struct mb_push_file *file,
			  const char *branch, bool *yes, struct mb_error *err)
{
	const char *slash = strrchr(file->path, '/');
	int dir_len = slash ? (int) (slash - file->path) + 1 : 0;
	struct mb_push_agreement agreement;
	struct mb_push_file before;
	char name[MB_WAL_FILE_TEXT];
	struct mb_error ignored;
	char *path;
	enum mb_code code = MB_OK;

	*yes = false;
	if (file->start_lsn < file->segment_size)
		return MB_OK;
	mb_wal_file_name(name, file->timeline, file->start_lsn - 1, file->segment_size);
	path = mb_asprintf("%.*s%s", dir_len, file->path, name);
	/* Gone, or made ready for later WAL: nothing to prove it by. */
	if (mb_push_open(&before, path, &ignored) == MB_OK)
	{
		if (strcmp(before.system_id, file->system_id) == 0)
			code = mb_push_compare(target, &before, branch, &agreement, err);
		else
			agreement.differs = true;
		*yes = !code && !agreement.differs && agreement.covered_to == before.end_lsn;
		close(before.fd);
	}
	free(path);
	return code;
}

/* Does the branch hold equal bytes of this segment?  Then it is the one. */
static enum mb_code
try_overlap(struct mb_push_target *target, const struct mb_push_file *file, const char *branch,
			uint64_t *best, bool *differs, struct mb_error *err)
{
	struct mb_push_agreement agreement;
	enum mb_code code = mb_push_compare(target, file, branch, &agreement, err);

	*differs = !code && agreement.differs;
	if (!code && !agreement.differs && agreement.equal_bytes > *best)
	{
		*best = agreement.equal_bytes;
		take_branch(target, branch);
	}
	return code;
}

/* No note helps: look at all branches of the timeline. */
static enum mb_code
search_branches(struct mb_push_target *target, const struct mb_push_file *file,
				struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	uint64_t best = 0;
	enum mb_code code;
	size_t i;
	int pass;

	code = mb_wal_inventory_load(&inventory, target->env->repo, target->component, file->system_id,
								 err);
	if (code)
		return code;
	/* First those that hold bytes of the segment, then those that end where it begins. */
	for (pass = 0; pass < 2 && !target->branch[0]; pass++)
		for (i = 0; !code && i < inventory->branch_count; i++)
		{
			const struct mb_wal_branch *branch = &inventory->branches[i];
			const struct mb_wal_span *span;
			bool yes = false;

			if (branch->timeline != file->timeline || inventory->segment_size != file->segment_size)
				continue;
			if (pass == 0)
			{
				code = try_overlap(target, file, branch->branch, &best, &yes, err);
				continue;
			}
			span = mb_wal_branch_span(branch, file->start_lsn);
			if (span && span->to_lsn == file->start_lsn)
				code = equals_before(target, file, branch->branch, &yes, err);
			if (!code && yes)
				take_branch(target, branch->branch);
		}
	mb_wal_inventory_free(inventory);
	return code;
}

static void
begin_branch(struct mb_push_target *target, const struct mb_push_file *file)
{
	unsigned char random[8];
	struct mb_wal_where where;

	mb_random(random, sizeof(random));
	mb_hex(target->branch, random, sizeof(random));
	where = mb_push_where(target, file);
	mb_log_info(target->env->log, "%s: archiving WAL from segment %s on, new branch %s",
				target->component, file->file, target->branch);
	mb_wal_gap_note(target->env, &where, NULL, file->start_lsn);
}

/* -- the timeline's history file ------------------------------------------------------------- */

/* The one that the repository has, when it has one only: the server's is gone. */
static enum mb_code
stored_history(struct mb_push_target *target, const struct mb_push_file *file,
			   struct mb_buf *content, struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	size_t i, found = 0;
	enum mb_code code = mb_wal_inventory_load(&inventory, target->env->repo, target->component,
											  file->system_id, err);

	if (code)
		return code;
	for (i = 0; i < inventory->history_count; i++)
		if (inventory->histories[i].timeline == file->timeline && found++ == 0)
			snprintf(target->history, sizeof(target->history), "%s", inventory->histories[i].name);
	mb_wal_inventory_free(inventory);
	if (found == 1)
		return mb_blob_get(target->env->repo, MB_ROLE_STREAM, target->history, MB_WAL_HISTORY_MAX,
						   content, err);
	mb_fail(err, MB_NOT_FOUND, "the history file of timeline %u is neither beside \"%s\" nor %s",
			file->timeline, file->path,
			found ? "the only one in the repository" : "in the repository");
	return mb_error_hint(err, "Copy %08X.history into pg_wal.", file->timeline);
}

static enum mb_code
find_history(struct mb_push_target *target, const struct mb_push_file *file, struct mb_error *err)
{
	const char *slash = strrchr(file->path, '/');
	int dir_len = slash ? (int) (slash - file->path) + 1 : 0;
	struct mb_blob_writer writer = {0};
	struct mb_buf content = {0};
	uint64_t switch_lsn;
	uint32_t parent;
	const char *own;
	char *path;
	enum mb_code code;

	if (file->timeline <= 1)
		return MB_OK;
	path = mb_asprintf("%.*s%08X.history", dir_len, file->path, file->timeline);
	code = mb_file_read(&content, path, MB_WAL_HISTORY_MAX, err);
	if (code == MB_NOT_FOUND)
		code = stored_history(target, file, &content, err);
	if (!code)
		code = mb_wal_history_parent(content.data, content.len, file->timeline, &parent,
									 &switch_lsn, err);
	if (!code)
		code = mb_wal_history_put(&writer, target->env->repo, target->component, file->system_id,
								  file->timeline, content.data, content.len, target->history, err);
	own = !code ? own_branch(target, file, parent) : NULL;
	if (own)
		snprintf(target->parent_branch, sizeof(target->parent_branch), "%s", own);
	mb_blob_writer_release(&writer);
	mb_buf_release(&content);
	free(path);
	return code;
}

enum mb_code
mb_push_choose(struct mb_push_target *target, const struct mb_push_file *file, struct mb_error *err)
{
	char buffer[MB_WAL_BRANCH_TEXT];
	const char *own = own_branch(target, file, file->timeline);
	const char *stream = stream_branch(target, file, buffer);
	uint64_t best = 0;
	bool differs = false;
	enum mb_code code = find_history(target, file, err);

	/* A stream is ahead, as a rule: then its branch holds most of the segment already. */
	if (!code && stream)
		code = try_overlap(target, file, stream, &best, &differs, err);
	if (!code && !target->branch[0] && own)
	{
		code = try_overlap(target, file, own, &best, &differs, err);
		if (!code && !differs)
			take_branch(target, own);
	}
	if (!code && !target->branch[0])
		code = search_branches(target, file, err);
	if (!code && !target->branch[0])
		begin_branch(target, file);
	return code;
}
