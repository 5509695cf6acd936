/*
 * bucket_decide.c - what each key of a restore needs: which versions are there, which are to be
 * written, and what does not belong.
 *
 * A restore that was killed is run again: so a target may hold anything that this restore would have
 * put there, and nothing else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_restore_private.h"

/* -- comparing ------------------------------------------------------------------------------------------ */

/* Two ETags that need not be equal when they come from different ways of uploading. */
static bool
are_etags_alike(const struct bucket_restore *run, const char *a, const char *b)
{
	if (strcmp(a, b) == 0 || !a[0] || !b[0])
		return true;
	/* In other parts, or encrypted in another way: the sizes have to do. */
	return !(run->place.flags & MB_PUT_TIMES) &&
		   (mb_etag_parts(a) > 0 || mb_etag_parts(b) > 0 || strlen(a) != 32 || strlen(b) != 32);
}

static bool
is_like(const struct bucket_restore *run, const struct mb_entry *entry, const json_t *meta,
		const struct mb_s3_version *version)
{
	if (version->is_marker || entry->type == MB_ENTRY_MARKER)
		return version->is_marker && entry->type == MB_ENTRY_MARKER;
	return entry->size == version->size &&
		   are_etags_alike(run, mb_json_str(meta, "etag", ""), version->etag);
}

static void
note(uint64_t *count, char *first, const char *target)
{
	if ((*count)++ == 0)
		snprintf(first, 512, "%s", target);
}

/* What the listing says of metadata, tags and locks, against what it said then. */
static void
compare_listed(struct bucket_restore *run, const char *target, const json_t *meta,
			   const struct mb_s3_version *version)
{
	const char *was = mb_json_str(meta, "listed", "");
	char is[MB_LISTED_TEXT];

	if (!(run->place.flags & MB_PUT_IDS) || version->is_marker)
		return;
	mb_version_listed(version, is);
	if (was[0] && is[0] && strcmp(was, is) != 0)
		note(&run->unlike, run->first_unlike, target);
}

/* -- what is wanted of a key ------------------------------------------------------------------------------- */

/* Oldest first, without what the target cannot have. */
struct wish
{
	const struct mb_entry **entries;
	json_t **metas;
	size_t count;
};

static void
add_wish(struct wish *wish, const struct mb_entry *entry)
{
	wish->entries[wish->count] = entry;
	wish->metas[wish->count++] = mb_state_meta(entry);
}

static void
make_wish(struct bucket_restore *run, const struct mb_state_key *wanted, struct wish *wish)
{
	size_t i;

	memset(wish, 0, sizeof(*wish));
	if (!wanted)
		return;
	wish->entries = mb_calloc(wanted->count, sizeof(*wish->entries));
	wish->metas = mb_calloc(wanted->count, sizeof(*wish->metas));
	run->ambiguous += wanted->is_ambiguous;
	if (!run->is_history)
	{
		if (wanted->current)
			add_wish(wish, &wanted->current->entry);
		return;
	}
	for (i = wanted->count; i-- > 0;)
	{
		const struct mb_entry *entry = &wanted->versions[i].entry;

		/* Servers that give ids of their own make one marker of several. */
		if (run->how == HOW_IN_ORDER && entry->type == MB_ENTRY_MARKER &&
			(wish->count == 0 || wish->entries[wish->count - 1]->type == MB_ENTRY_MARKER))
			continue;
		add_wish(wish, entry);
	}
}

static void
release_wish(struct wish *wish)
{
	size_t i;

	for (i = 0; i < wish->count; i++)
		json_decref(wish->metas[i]);
	free(wish->entries);
	free(wish->metas);
}

static void
count_wish(struct bucket_restore *run, const struct wish *wish)
{
	size_t i;

	run->versions += wish->count;
	for (i = 0; i < wish->count; i++)
		run->bytes += wish->entries[i]->size;
}

/* -- a history ------------------------------------------------------------------------------------------------ */

static const struct mb_s3_version *
find_there(const struct mb_listed_key *there, const char *id, size_t *index)
{
	size_t i;

	for (i = 0; there && i < there->count; i++)
		if (strcmp(there->versions[i].version_id, id) == 0)
		{
			*index = i;
			return &there->versions[i];
		}
	return NULL;
}

/* By ids: any of them may be there. */
static size_t
match_ids(struct bucket_restore *run, const char *target, const struct wish *wish,
		  const struct mb_listed_key *there, bool *is_there)
{
	size_t matched = 0, i, at;

	for (i = 0; i < wish->count; i++)
	{
		const struct mb_s3_version *found =
			find_there(there, mb_json_str(wish->metas[i], "id", "null"), &at);

		if (!found)
			continue;
		matched++;
		is_there[i] = true;
		if (!is_like(run, wish->entries[i], wish->metas[i], found) ||
			found->modified_ns / 1000000 != (int64_t) (wish->entries[i]->version / 1000000))
			note(&run->odd, run->first_odd, target);
		compare_listed(run, target, wish->metas[i], found);
	}
	return matched;
}

/* Without ids: what is there must be how it begins. */
static size_t
match_order(struct bucket_restore *run, const char *target, const struct wish *wish,
			const struct mb_listed_key *there, bool *is_there)
{
	size_t count = there ? there->count : 0, i;

	for (i = 0; i < count && i < wish->count; i++)
	{
		is_there[i] =
			is_like(run, wish->entries[i], wish->metas[i], &there->versions[count - 1 - i]);
		if (!is_there[i])
			break;
	}
	if (i < count)
		note(&run->odd, run->first_odd, target);
	return i;
}

/* Killed between the end of an upload and what has to be said about it later. */
static bool
is_maybe_unfinished(const struct bucket_restore *run, const struct mb_entry *entry, json_t *meta)
{
	struct mb_put_version version = {.entry = entry, .meta = meta};

	return !(run->place.flags & MB_PUT_IDS) && mb_put_in_parts(&run->place, &version) &&
		   mb_put_has_late(&run->place, &version);
}

static enum mb_code
decide_history(void *ctx, const char *target, const struct mb_state_key *wanted,
			   const struct mb_listed_key *there, struct mb_error *err)
{
	struct bucket_restore *run = ctx;
	size_t there_count = there ? there->count : 0, matched, count = 0, i;
	struct mb_write_step *steps;
	enum mb_code code = MB_OK;
	struct wish wish;
	bool *is_there;

	make_wish(run, wanted, &wish);
	count_wish(run, &wish);
	is_there = mb_calloc(wish.count + 1, sizeof(*is_there));
	steps = mb_calloc(wish.count + 1, sizeof(*steps));
	matched = (run->place.flags & MB_PUT_IDS) ? match_ids(run, target, &wish, there, is_there)
											  : match_order(run, target, &wish, there, is_there);
	if ((run->place.flags & MB_PUT_IDS) && matched < there_count)
		note(&run->odd, run->first_odd, target);
	for (i = 0; i < wish.count; i++)
	{
		if (is_there[i])
		{
			run->there++;
			if (is_maybe_unfinished(run, wish.entries[i], wish.metas[i]))
			{
				steps[count].kind = MB_WRITE_LATE;
				steps[count].id = there->versions[there_count - 1 - i].version_id;
				steps[count++].entry = wish.entries[i];
			}
			continue;
		}
		run->put++;
		run->put_bytes += wish.entries[i]->size;
		steps[count].kind = MB_WRITE_VERSION;
		steps[count++].entry = wish.entries[i];
	}
	if (run->write && count > 0)
		code = mb_bucket_write_key(run->write, target, steps, count, there_count, err);
	free(steps);
	free(is_there);
	release_wish(&wish);
	return code;
}

/* -- a delta ----------------------------------------------------------------------------------------------------- */

/*
 * Is what is current in the bucket what was current then?  MinIO's listing tells metadata, tags and
 * locks.  Elsewhere only the same version surely has the same metadata (its tags may have been
 * changed since: that is not seen); in another bucket the contents have to do.
 */
static bool
is_same_state(const struct bucket_restore *run, const struct mb_entry *entry,
			  const struct mb_s3_version *version)
{
	json_t *meta = mb_state_meta(entry);
	const char *was = mb_json_str(meta, "listed", "");
	const char *id = mb_json_str(meta, "id", "");
	char is[MB_LISTED_TEXT];
	bool same = is_like(run, entry, meta, version);

	mb_version_listed(version, is);
	if (same && was[0] && is[0])
		same = strcmp(was, is) == 0;
	else if (same && run->is_own && id[0] && version->version_id[0])
		same = strcmp(id, version->version_id) == 0;
	json_decref(meta);
	return same;
}

/* What a plain listing would show. */
static const struct mb_s3_version *
current_of(const struct mb_listed_key *there)
{
	return there && !there->versions[0].is_marker ? &there->versions[0] : NULL;
}

static enum mb_code
decide_delta(void *ctx, const char *target, const struct mb_state_key *wanted,
			 const struct mb_listed_key *there, struct mb_error *err)
{
	struct bucket_restore *run = ctx;
	const struct mb_state_version *current = wanted ? wanted->current : NULL;
	const struct mb_s3_version *is = current_of(there);
	struct mb_write_step step = {.kind = MB_WRITE_VERSION};

	if (wanted)
		run->ambiguous += wanted->is_ambiguous;
	if (current)
	{
		run->versions++;
		run->bytes += current->entry.size;
		if (is && is_same_state(run, &current->entry, is))
		{
			run->there++;
			return MB_OK;
		}
		run->put++;
		run->put_bytes += current->entry.size;
		step.entry = &current->entry;
	}
	else
	{
		/* --only: what was not asked for stays as it is. */
		if (!is || !mb_state_wanted(run->restore->only, run->restore->only_count,
									target + strlen(run->prefix)))
			return MB_OK;
		run->deleted++;
		step.kind = MB_WRITE_DELETE;
	}
	return run->write ? mb_bucket_write_key(run->write, target, &step, 1, 0, err) : MB_OK;
}

/* -- all keys ------------------------------------------------------------------------------------------------------- */

enum mb_code
mb_decide_all(struct bucket_restore *run, struct mb_error *err)
{
	bool is_minio = mb_s3_dialect(run->bucket->s3) == MB_S3_MINIO;
	struct mb_walk walk = {.repo = run->restore->env->repo,
						   .commit = &run->restore->commit,
						   .time = run->time,
						   .only = run->restore->only,
						   .only_count = run->restore->only_count,
						   .s3 = run->exists ? run->bucket->s3 : NULL,
						   .bucket = run->name,
						   .prefix = run->prefix,
						   .within = run->within,
						   .listing = (run->how == HOW_DELTA && (is_minio || !run->is_own)
										   ? MB_LISTING_CURRENT
										   : 0) |
									  (is_minio ? MB_LISTING_METADATA : 0),
						   .cancel = run->restore->env->cancel,
						   .each = run->how == HOW_DELTA ? decide_delta : decide_history,
						   .ctx = run};

	run->versions = run->bytes = run->there = run->put = run->put_bytes = 0;
	run->deleted = run->ambiguous = run->odd = run->unlike = 0;
	return mb_walk_run(&walk, err);
}
