/* provisional.c - see provisional.h. */
#include "core/repo/provisional.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/names.h"
#include "core/repo/commit_private.h"
#include "core/repo/pack_private.h"

static void
prefix_of(char out[MB_NAME_MAX], const char *component)
{
	snprintf(out, MB_NAME_MAX, "provisional/%s/", component);
}

static void
set_hex(json_t *json, const char *key, const struct mb_buf *bytes)
{
	char *hex = mb_malloc(2 * bytes->len + 1);

	mb_hex(hex, bytes->data, bytes->len);
	mb_json_set_str(json, key, hex);
	free(hex);
}

static bool
get_hex(struct mb_buf *out, const json_t *json, const char *key)
{
	const char *hex = mb_json_str(json, key, "");
	size_t len = strlen(hex) / 2;

	mb_buf_reserve(out, len + 1);
	out->len = len;
	return strlen(hex) == 2 * len && mb_unhex(out->data, hex, len);
}

enum mb_code
mb_provisional_put(const struct mb_repo *repo, const char *component, const char *id, unsigned seq,
				   const struct mb_blocks *blocks, const struct mb_pack_refs *refs,
				   struct mb_error *err)
{
	json_t *json = json_object();
	struct mb_buf bytes = {0};
	char name[MB_NAME_MAX];
	enum mb_code code;

	snprintf(name, sizeof(name), "provisional/%s/%s/%08u", component, id, seq);
	mb_json_set_int(json, "block_count", (int64_t) blocks->count);
	mb_blocks_encode(&bytes, blocks);
	set_hex(json, "blocks", &bytes);
	mb_buf_reset(&bytes);
	mb_refs_encode(&bytes, refs);
	set_hex(json, "refs", &bytes);
	code = mb_doc_put(repo, MB_ROLE_PROVISIONAL, name, json, err);
	mb_buf_release(&bytes);
	json_decref(json);
	return code;
}

/* -- names ------------------------------------------------------------------------------------ */

/* In the order of the listing: by id, then seq. */
static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_names *names = ctx;

	(void) err;
	mb_names_add(names, info->name, strlen(info->name));
	return MB_OK;
}

/* -- reading ---------------------------------------------------------------------------------- */

static enum mb_code
packs_are_there(const struct mb_repo *repo, const struct mb_pack_refs *refs, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < refs->count; i++)
	{
		struct mb_blob_info info;
		char name[MB_PACK_NAME_TEXT];

		mb_pack_name(name, &refs->items[i].pack);
		code = mb_store_head(repo->store, name, &info, err);
	}
	return code;
}

static enum mb_code
get_refs(const json_t *json, const char *name, struct mb_pack_refs *refs, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	enum mb_code code;

	if (!get_hex(&bytes, json, "refs"))
		code = mb_fail(err, MB_CORRUPT, "\"%s\" is damaged", name);
	else
		code = mb_refs_decode(refs, bytes.len / MB_REF_BYTES, bytes.data, bytes.len, err);
	mb_buf_release(&bytes);
	return code;
}

static enum mb_code
get_part(const struct mb_repo *repo, const char *name, struct mb_blocks *blocks,
		 struct mb_error *err)
{
	struct mb_buf bytes = {0};
	struct mb_pack_refs refs = {0};
	json_t *json;
	enum mb_code code = mb_doc_get(repo, MB_ROLE_PROVISIONAL, name, &json, err);

	if (code)
		return code;
	code = get_refs(json, name, &refs, err);
	if (!code)
		code = packs_are_there(repo, &refs, err);
	if (!code && !get_hex(&bytes, json, "blocks"))
		code = mb_fail(err, MB_CORRUPT, "\"%s\" is damaged", name);
	if (!code)
		code = mb_blocks_decode(blocks, (uint64_t) mb_json_int(json, "block_count", 0), bytes.data,
								bytes.len, err);
	mb_pack_refs_release(&refs);
	mb_buf_release(&bytes);
	json_decref(json);
	return code;
}

enum mb_code
mb_provisionals_get(const struct mb_repo *repo, const char *component,
					struct mb_provisionals *found, struct mb_error *err)
{
	char prefix[MB_NAME_MAX];
	struct mb_names names = {0};
	enum mb_code code;
	size_t i;

	memset(found, 0, sizeof(*found));
	prefix_of(prefix, component);
	code = mb_store_list(repo->store, prefix, add_name, &names, err);
	for (i = 0; !code && i < names.count; i++)
	{
		struct mb_blocks blocks;

		code = get_part(repo, names.items[i], &blocks, err);
		if (code == MB_CORRUPT || code == MB_NOT_FOUND)
		{
			code = MB_OK;
			continue;
		}
		if (code)
			break;
		found->parts = mb_grow(found->parts, &found->cap, found->count + 1, sizeof(*found->parts));
		found->parts[found->count++] = blocks;
	}
	mb_names_release(&names);
	if (code)
		mb_provisionals_release(found);
	return code;
}

enum mb_code
mb_provisional_refs(const struct mb_repo *repo, const char *name, struct mb_pack_refs *refs,
					struct mb_error *err)
{
	json_t *json;
	enum mb_code code = mb_doc_get(repo, MB_ROLE_PROVISIONAL, name, &json, err);

	if (code)
		return code;
	code = get_refs(json, name, refs, err);
	json_decref(json);
	return code;
}

void
mb_provisionals_release(struct mb_provisionals *found)
{
	while (found->count > 0)
		mb_blocks_release(&found->parts[--found->count]);
	free(found->parts);
	memset(found, 0, sizeof(*found));
}

enum mb_code
mb_provisionals_remove(const struct mb_repo *repo, const char *component, struct mb_error *err)
{
	char prefix[MB_NAME_MAX];
	struct mb_names names = {0};
	enum mb_code code;

	prefix_of(prefix, component);
	code = mb_store_list(repo->store, prefix, add_name, &names, err);
	if (!code && names.count > 0)
		code = mb_store_remove(repo->store, (const char *const *) names.items, names.count, err);
	mb_names_release(&names);
	return code;
}
