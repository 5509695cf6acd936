/* expire_streams.c - which blobs of the streams are still needed; the drivers know. */
#include <stdlib.h>
#include <string.h>

#include "core/engine/expire_private.h"

static enum mb_code
add_blob(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct expire *expire = ctx;
	struct mb_stream_blob *blob;

	expire->blobs =
		mb_grow(expire->blobs, &expire->blob_cap, expire->blob_count + 1, sizeof(*expire->blobs));
	blob = &expire->blobs[expire->blob_count++];
	blob->name = mb_strdup(info->name);
	blob->bytes = info->bytes;
	blob->put_us = info->modified_us;
	blob->is_needed = false;
	return mb_cancel_check(expire->stack->env->cancel, err);
}

/* The positions of kept marks that start from a commit. */
static void
add_positions(const struct expire *expire, const struct mb_commit *commit,
			  struct mb_trim_base *base)
{
	size_t i;

	base->positions = mb_calloc(expire->verdict.mark_count + 1, sizeof(*base->positions));
	for (i = 0; i < expire->verdict.mark_count; i++)
	{
		const json_t *mark = expire->verdict.marks[i].mark;
		const json_t *position;

		if (!expire->verdict.marks[i].is_kept ||
			strcmp(mb_json_str(json_object_get(mark, "bases"), commit->component, ""),
				   commit->id) != 0)
			continue;
		position = json_object_get(json_object_get(json_object_get(mark, "cut"), "positions"),
								   commit->component);
		if (position)
			base->positions[base->position_count++] = position;
	}
}

static enum mb_code
judge_stream(struct expire *expire, struct mb_component *component, struct mb_error *err)
{
	char *prefix = mb_asprintf("streams/%s/", component->name);
	size_t first = expire->blob_count, i;
	struct mb_trim_base *bases = mb_calloc(expire->commit_count + 1, sizeof(*bases));
	struct mb_trim trim = {.bases = bases, .now_us = expire->now_us};
	enum mb_code code = mb_store_list(expire->repo->store, prefix, add_blob, expire, err);

	trim.young_us =
		expire->options->grace_us < MB_GRACE_US ? expire->options->grace_us : MB_GRACE_US;
	for (i = 0; i < expire->commit_count; i++)
	{
		const struct expire_commit *commit = &expire->commits[i];
		struct mb_trim_base *base = &bases[trim.base_count];

		if (strcmp(commit->head.component, component->name) != 0 ||
			(!commit->is_kept && (expire->options->is_dry || commit->is_removed)))
			continue;
		base->commit = &commit->head;
		base->is_open = commit->is_open;
		add_positions(expire, &commit->head, base);
		trim.base_count++;
	}
	if (!code && expire->blob_count > first)
	{
		trim.blobs = expire->blobs + first;
		trim.blob_count = expire->blob_count - first;
		code = component->ops->trim(component, &trim, err);
	}
	for (i = 0; i < trim.base_count; i++)
		free(bases[i].positions);
	free(bases);
	free(prefix);
	return code ? mb_error_context(err, "could not judge the stream of \"%s\"", component->name)
				: MB_OK;
}

static int
compare_blobs(const void *a, const void *b)
{
	return strcmp(((const struct mb_stream_blob *) a)->name,
				  ((const struct mb_stream_blob *) b)->name);
}

/* A commit that cannot be read might need anything of its stream. */
static bool
has_unreadable(const struct expire *expire, const char *component)
{
	size_t i;

	for (i = 0; i < expire->commit_count; i++)
		if (!expire->commits[i].head.kind[0] &&
			strcmp(expire->commits[i].head.component, component) == 0)
			return true;
	return false;
}

enum mb_code
expire_judge_streams(struct expire *expire, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < expire->stack->count; i++)
	{
		struct mb_component *component = expire->stack->components[i];

		/* Documents that cannot be read may name any moment. */
		if (expire_policy(expire, component->name)->is_set && !expire->verdict.is_damaged &&
			!has_unreadable(expire, component->name))
			code = judge_stream(expire, component, err);
	}
	if (!code && expire->blob_count > 1)
		qsort(expire->blobs, expire->blob_count, sizeof(*expire->blobs), compare_blobs);
	return code;
}
