/* tombstone.c - see tombstone.h. */
#include "core/repo/tombstone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "tombstones/"

/* -- the documents --------------------------------------------------------------------------- */

static enum mb_code
note_tombstone(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_tombstones *tombstones = ctx;
	struct mb_tombstone *made;

	(void) err;
	if (!mb_id_is_valid(info->name + strlen(PREFIX)))
		return MB_OK;
	tombstones->items = mb_grow(tombstones->items, &tombstones->cap, tombstones->count + 1,
								sizeof(*tombstones->items));
	made = &tombstones->items[tombstones->count++];
	memset(made, 0, sizeof(*made));
	snprintf(made->name, sizeof(made->name), "%s", info->name);
	made->put_us = info->modified_us;
	return MB_OK;
}

static enum mb_code
read_tombstone(const struct mb_repo *repo, struct mb_tombstone *tombstone, struct mb_error *err)
{
	json_t *doc = NULL;
	enum mb_code code = mb_doc_get(repo, MB_ROLE_TOMBSTONE, tombstone->name, &doc, err);

	/* Removed by another expire meanwhile, or damaged. */
	if (code == MB_NOT_FOUND || code == MB_CORRUPT)
		code = MB_OK;
	if (code)
		return code;
	tombstone->blobs = json_is_array(json_object_get(doc, "blobs"))
						   ? json_incref(json_object_get(doc, "blobs"))
						   : json_array();
	json_decref(doc);
	return MB_OK;
}

enum mb_code
mb_tombstones_list(const struct mb_repo *repo, struct mb_tombstones *tombstones,
				   struct mb_error *err)
{
	enum mb_code code;
	size_t i;

	memset(tombstones, 0, sizeof(*tombstones));
	code = mb_store_list(repo->store, PREFIX, note_tombstone, tombstones, err);
	for (i = 0; !code && i < tombstones->count; i++)
		code = read_tombstone(repo, &tombstones->items[i], err);
	if (code)
		mb_tombstones_release(tombstones);
	return code;
}

void
mb_tombstones_release(struct mb_tombstones *tombstones)
{
	size_t i;

	for (i = 0; i < tombstones->count; i++)
		json_decref(tombstones->items[i].blobs);
	free(tombstones->items);
	memset(tombstones, 0, sizeof(*tombstones));
}

enum mb_code
mb_tombstone_put(const struct mb_repo *repo, json_t *blobs, struct mb_error *err)
{
	char name[MB_NAME_MAX], id[MB_ID_TEXT];
	int64_t now_us = 0;
	json_t *doc;
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);

	MB_ASSERT(json_array_size(blobs) <= MB_TOMBSTONE_MAX_BLOBS);
	if (code)
		return code;
	mb_id_new(id, now_us);
	snprintf(name, sizeof(name), PREFIX "%s", id);
	doc = json_object();
	json_object_set(doc, "blobs", blobs);
	code = mb_doc_put(repo, MB_ROLE_TOMBSTONE, name, doc, err);
	json_decref(doc);
	return code;
}

/* -- a writer's questions -------------------------------------------------------------------- */

static enum mb_code
gone(const char *name, struct mb_error *err)
{
	mb_fail(err, MB_CONFLICT, "expire has removed \"%s\", to which this backup refers", name);
	return mb_error_hint(err, "Run the backup again.");
}

static enum mb_code
check_named(const struct mb_repo *repo, const struct mb_tombstones *tombstones,
			const struct mb_pack_refs *refs, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i, j;
	json_t *item;

	for (i = 0; !code && i < tombstones->count; i++)
		json_array_foreach(tombstones->items[i].blobs, j, item)
		{
			struct mb_blob_info info;
			struct mb_pack_id pack;
			const char *name = json_string_value(item);

			if (!name || !mb_pack_name_parse(&pack, name) || !mb_pack_refs_has(refs, &pack))
				continue;
			code = mb_store_head(repo->store, name, &info, err);
			if (code == MB_NOT_FOUND)
				code = gone(name, err);
			if (code)
				break;
		}
	return code;
}

struct presence
{
	const struct mb_pack_refs *refs;
	size_t next; /* of refs: the first that has not been seen */
};

/* Both are in the order of ids. */
static enum mb_code
see_pack(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct presence *seen = ctx;
	char name[MB_PACK_NAME_TEXT];
	int order;

	if (seen->next == seen->refs->count)
		return MB_OK;
	mb_pack_name(name, &seen->refs->items[seen->next].pack);
	order = strcmp(name, info->name);
	if (order == 0)
		seen->next++;
	return order < 0 ? gone(name, err) : MB_OK;
}

static enum mb_code
check_all(const struct mb_repo *repo, const struct mb_pack_refs *refs, struct mb_error *err)
{
	struct presence seen = {.refs = refs};
	char name[MB_PACK_NAME_TEXT];
	enum mb_code code = mb_store_list(repo->store, "packs/", see_pack, &seen, err);

	if (code || seen.next == refs->count)
		return code;
	mb_pack_name(name, &refs->items[seen.next].pack);
	return gone(name, err);
}

enum mb_code
mb_refs_guard(const struct mb_repo *repo, const struct mb_lease *lease,
			  const struct mb_pack_refs *refs, struct mb_error *err)
{
	struct mb_tombstones tombstones = {0};
	bool jumped = false;
	enum mb_code code = mb_lease_clock_jumped(lease, &jumped, err);

	if (!code && jumped)
		return check_all(repo, refs, err);
	if (!code)
		code = mb_tombstones_list(repo, &tombstones, err);
	if (!code)
		code = check_named(repo, &tombstones, refs, err);
	mb_tombstones_release(&tombstones);
	return code;
}

/* The commit must not be there: what it refers to is not.  A failure to look leaves it. */
static enum mb_code
withdraw(const struct mb_repo *repo, const struct mb_commit *commit, struct mb_error *err)
{
	char name[MB_NAME_MAX];
	const char *names[] = {name};
	struct mb_error why;

	mb_commit_blob_name(name, commit->component, commit->id);
	if (mb_store_remove(repo->store, names, 1, &why))
		mb_error_detail(err, "It could not be taken back either (%.800s); mbackup verify names it.",
						why.message);
	return err->code;
}

enum mb_code
mb_commit_put_guarded(const struct mb_repo *repo, const struct mb_lease *lease,
					  struct mb_commit *commit, struct mb_error *err)
{
	enum mb_code code;

	mb_pack_refs_settle(&commit->refs);
	code = mb_refs_guard(repo, lease, &commit->refs, err);
	if (!code)
		code = mb_commit_put(repo, commit, err);
	if (code)
		return code;
	code = mb_refs_guard(repo, lease, &commit->refs, err);
	return code == MB_CONFLICT ? withdraw(repo, commit, err) : code;
}
