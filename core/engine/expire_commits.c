/*
 * expire_commits.c - which commits go.  A commit stays when a kept set or mark names it, when it lies
 * in the window of a component that is scanned, when it is the newest, and when somebody at work
 * may be about to name it or build on it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/expire_private.h"
#include "core/engine/stack_restore.h"

#define REMOVE_BATCH 500
#define LOOKING_US \
	(5LL * 60 * 1000000) /* what came so shortly before we looked may lack its set yet */

/* -- loading --------------------------------------------------------------------------------- */

static enum mb_code
load_commit(struct expire *expire, const struct mb_commit_name *name, struct expire_commit *out,
			struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_commit_get(expire->repo, name->component, name->id, &out->head, &why);
	out->put_us = name->put_us;
	if (code == MB_CORRUPT || code == MB_DENIED || code == MB_UNSUPPORTED)
	{
		mb_sweep_cannot_read(&expire->sweep, name->component, name->id);
		snprintf(out->head.component, sizeof(out->head.component), "%s", name->component);
		snprintf(out->head.id, sizeof(out->head.id), "%s", name->id);
		expire_warn(expire, "backup %s of \"%s\" stays, and so does every pack: %s", name->id,
					name->component, why.message);
		return MB_OK;
	}
	if (code)
	{
		*err = why;
		return code;
	}
	mb_sweep_count(&expire->sweep, &out->head);
	/* The references of all commits would not fit into memory; those that go are read again. */
	mb_blocks_release(&out->head.blocks);
	mb_pack_refs_release(&out->head.refs);
	return MB_OK;
}

enum mb_code
expire_load_commits(struct expire *expire, struct mb_error *err)
{
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(expire->repo, NULL, &names, err);
	size_t i;

	expire->commits = mb_calloc(names.count + 1, sizeof(*expire->commits));
	for (i = 0; !code && i < names.count; i++)
	{
		struct expire_commit *commit = &expire->commits[expire->commit_count];

		code = mb_cancel_check(expire->stack->env->cancel, err);
		if (!code)
			code = load_commit(expire, &names.items[i], commit, err);
		if (code == MB_NOT_FOUND)
			code = MB_OK; /* removed by another host */
		else
			expire->commit_count++;
	}
	mb_commit_names_release(&names);
	return code;
}

/* -- judging --------------------------------------------------------------------------------- */

static struct expire_commit *
find_commit(const struct expire *expire, const char *component, const char *id)
{
	size_t low = 0, high = expire->commit_count;

	while (low < high)
	{
		size_t mid = low + (high - low) / 2;
		const struct mb_commit *head = &expire->commits[mid].head;
		int order = strcmp(head->component, component);

		if (order == 0)
			order = strcmp(head->id, id);
		if (order == 0)
			return &expire->commits[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void
keep_named(struct expire *expire)
{
	const char *component;
	json_t *base;
	size_t i, j;

	for (i = 0; i < expire->verdict.set_count; i++)
		for (j = 0; j < expire->verdict.sets[i].part_count; j++)
		{
			const struct mb_kept_part *part = &expire->verdict.sets[i].parts[j];
			struct expire_commit *commit = find_commit(expire, part->component, part->commit);

			if (!commit)
				continue;
			commit->is_named = true;
			commit->is_kept = commit->is_kept || part->is_kept;
		}
	for (i = 0; i < expire->verdict.mark_count; i++)
		json_object_foreach(json_object_get(expire->verdict.marks[i].mark, "bases"), component,
							base)
		{
			struct expire_commit *commit =
				expire->verdict.marks[i].is_kept && json_is_string(base)
					? find_commit(expire, component, json_string_value(base))
					: NULL;

			if (commit)
				commit->is_kept = true;
		}
}

/* Of a component without a driver here nothing is known: as if it were scanned. */
static bool
is_scanned(const struct expire *expire, const struct mb_commit *head)
{
	const struct mb_component *component = mb_stack_find(expire->stack, head->component);

	return !component || (component->ops->capabilities & MB_CAP_SCAN) != 0;
}

/* The time of a commit is that of its id, as that of a set. */
static void
keep_window(struct expire *expire, struct expire_commit *commit)
{
	int64_t from_us = mb_verdict_window_us(&expire->verdict, commit->head.component);
	bool inside = from_us == INT64_MAX || mb_id_time_us(commit->head.id) >= from_us;

	commit->is_open = inside;
	if (from_us == INT64_MAX || !expire_policy(expire, commit->head.component)->is_set ||
		(inside && is_scanned(expire, &commit->head)))
		commit->is_kept = true;
}

static bool
is_writer(const struct mb_lease_info *lease, int64_t now_us)
{
	return strcmp(lease->kind, "expire") != 0 && mb_lease_is_live(lease, now_us);
}

/* A backup that runs names its commits at its end; a scan names none. */
static bool
may_be_named_yet(const struct expire *expire)
{
	size_t i;

	for (i = 0; i < expire->sweep.leases.count; i++)
		if (is_writer(&expire->sweep.leases.items[i], expire->now_us) &&
			strcmp(expire->sweep.leases.items[i].kind, "scan") != 0)
			return true;
	return false;
}

static void
keep_unnamed(struct expire *expire, struct expire_commit *commit, bool may_be_named)
{
	if (commit->is_named)
		return;
	if (expire->verdict.is_damaged || may_be_named ||
		commit->put_us >= expire->now_us - LOOKING_US ||
		(expire->options->lock_us && commit->put_us + expire->options->lock_us > expire->now_us))
		commit->is_kept = true;
}

/* Of the commits of one component [first, last): the newest, by sequence and by id. */
static void
keep_newest(struct expire *expire, size_t first, size_t last)
{
	struct expire_commit *newest = &expire->commits[first];
	size_t i;

	for (i = first; i < last; i++)
		if (expire->commits[i].head.sequence >= newest->head.sequence)
			newest = &expire->commits[i];
	newest->is_kept = newest->is_open = true;
	newest = &expire->commits[last - 1];
	newest->is_kept = newest->is_open = true;
}

/*
 * What a writer may build on: the newest when it began, and all that came since.  Times are of one
 * clock, and to the second at some stores.
 */
static void
keep_for_writer(struct expire *expire, const struct mb_lease_info *lease, size_t first, size_t last)
{
	struct expire_commit *before = NULL;
	size_t i;

	for (i = first; i < last; i++)
	{
		struct expire_commit *commit = &expire->commits[i];

		if (commit->put_us >= lease->started_us - 2000000)
			commit->is_kept = commit->is_open = true;
		else if (!before || commit->head.sequence > before->head.sequence)
			before = commit;
	}
	if (before)
		before->is_kept = before->is_open = true;
}

static void
judge_component(struct expire *expire, size_t first, size_t last)
{
	bool may_be_named = may_be_named_yet(expire);
	size_t i;

	for (i = first; i < last; i++)
	{
		struct expire_commit *commit = &expire->commits[i];

		if (!commit->head.kind[0])
			commit->is_kept = true; /* it cannot be read */
		keep_window(expire, commit);
		keep_unnamed(expire, commit, may_be_named);
	}
	keep_newest(expire, first, last);
	for (i = 0; i < expire->sweep.leases.count; i++)
		if (is_writer(&expire->sweep.leases.items[i], expire->now_us))
			keep_for_writer(expire, &expire->sweep.leases.items[i], first, last);
}

void
expire_judge_commits(struct expire *expire)
{
	size_t first, last;

	keep_named(expire);
	for (first = 0; first < expire->commit_count; first = last)
	{
		for (last = first; last < expire->commit_count; last++)
			if (strcmp(expire->commits[first].head.component,
					   expire->commits[last].head.component) != 0)
				break;
		judge_component(expire, first, last);
	}
}

static void
keep_needed(void *ctx, const char *component, const char *backup, bool is_open)
{
	struct expire_commit *commit = find_commit(ctx, component, backup);

	if (!commit)
		return;
	commit->is_kept = true;
	commit->is_open = commit->is_open || is_open;
}

enum mb_code
expire_keep_for_restores(struct expire *expire, struct mb_error *err)
{
	const char *spool = expire->stack->env->spool;

	if (!spool || !mb_restores_need(spool, keep_needed, expire, err))
		return MB_OK;
	return mb_error_context(err, "could not see what restores on this machine need");
}

/* -- removing -------------------------------------------------------------------------------- */

/* Several at once; what they referred to is known only as long as they are there. */
struct batch
{
	struct mb_commit commits[REMOVE_BATCH];
	struct expire_commit *of[REMOVE_BATCH];
	size_t count;
};

static enum mb_code
remove_batch(struct expire *expire, struct batch *batch, struct mb_error *err)
{
	char(*texts)[MB_NAME_MAX] = mb_calloc(batch->count + 1, sizeof(*texts));
	const char **names = mb_calloc(batch->count + 1, sizeof(*names));
	bool done = false;
	enum mb_code code;
	size_t i;

	for (i = 0; i < batch->count; i++)
	{
		mb_commit_blob_name(texts[i], batch->commits[i].component, batch->commits[i].id);
		names[i] = texts[i];
	}
	code = expire_remove(expire, names, batch->count, &done, err);
	for (i = 0; i < batch->count; i++)
	{
		if (!code && done)
		{
			mb_sweep_uncount(&expire->sweep, &batch->commits[i]);
			batch->of[i]->is_removed = true;
			expire->removed_commits++;
		}
		mb_commit_release(&batch->commits[i]);
	}
	batch->count = 0;
	free(texts);
	free(names);
	return code;
}

enum mb_code
expire_remove_commits(struct expire *expire, struct mb_error *err)
{
	struct batch *batch = mb_calloc(1, sizeof(*batch));
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < expire->commit_count; i++)
	{
		struct expire_commit *commit = &expire->commits[i];

		if (commit->is_kept)
			continue;
		code = mb_commit_get(expire->repo, commit->head.component, commit->head.id,
							 &batch->commits[batch->count], err);
		if (code == MB_NOT_FOUND)
		{
			/* Another host was faster.  What it referred to is counted until the next run. */
			commit->is_removed = true;
			code = MB_OK;
			continue;
		}
		batch->of[batch->count] = commit;
		batch->count += !code;
		/* Each may have a large table of references. */
		if (!code &&
			(batch->count == REMOVE_BATCH || batch->commits[batch->count - 1].refs.count > 1000))
			code = remove_batch(expire, batch, err);
	}
	if (!code && batch->count > 0)
		code = remove_batch(expire, batch, err);
	while (batch->count > 0)
		mb_commit_release(&batch->commits[--batch->count]);
	free(batch);
	return code ? mb_error_context(err, "could not remove what has expired") : MB_OK;
}
