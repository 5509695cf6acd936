/* commit.c - see commit.h: the names of commits, the newest one, a new one. */
#include "core/repo/commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/commit_private.h"

#define PREFIX "backups/"
#define LEAF "/commit"
/* Two commits whose ids are so near may have been made the other way round. */
#define CLOCK_SPREAD_US 2000000

bool
mb_component_name_is_valid(const char *name)
{
	size_t i;

	if (name[0] < 'a' || name[0] > 'z')
		return false;
	for (i = 1; name[i]; i++)
		if (i + 1 >= MB_COMPONENT_MAX ||
			!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
			  name[i] == '_' || name[i] == '-'))
			return false;
	return true;
}

void
mb_commit_release(struct mb_commit *commit)
{
	json_decref(commit->meta);
	mb_blocks_release(&commit->blocks);
	mb_pack_refs_release(&commit->refs);
	memset(commit, 0, sizeof(*commit));
}

/* -- names ----------------------------------------------------------------------------------- */

void
mb_commit_blob_name(char out[MB_NAME_MAX], const char *component, const char *id)
{
	snprintf(out, MB_NAME_MAX, PREFIX "%s/%s" LEAF, component, id);
}

enum mb_code
mb_commit_checked_name(char out[MB_NAME_MAX], const char *component, const char *id,
					   struct mb_error *err)
{
	if (!mb_component_name_is_valid(component) || !mb_id_is_valid(id))
		return mb_fail(err, MB_NOT_FOUND, "there is no backup \"%.64s\" of component \"%.64s\"", id,
					   component);
	mb_commit_blob_name(out, component, id);
	return MB_OK;
}

static bool
parse_commit_name(struct mb_commit_name *out, const char *name)
{
	const char *component = name + strlen(PREFIX);
	const char *slash;
	size_t len;

	if (!mb_starts_with(name, PREFIX) || !mb_ends_with(name, LEAF))
		return false;
	slash = strchr(component, '/');
	len = slash ? (size_t) (slash - component) : 0;
	if (len == 0 || len >= sizeof(out->component))
		return false;
	memcpy(out->component, component, len);
	out->component[len] = '\0';
	len = strlen(slash + 1);
	if (len < strlen(LEAF) || len - strlen(LEAF) >= sizeof(out->id))
		return false;
	len -= strlen(LEAF);
	memcpy(out->id, slash + 1, len);
	out->id[len] = '\0';
	return mb_component_name_is_valid(out->component) && mb_id_is_valid(out->id);
}

static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_commit_names *names = ctx;
	struct mb_commit_name name;

	(void) err;
	if (!parse_commit_name(&name, info->name))
		return MB_OK;
	name.put_us = info->modified_us;
	names->items = mb_grow(names->items, &names->cap, names->count + 1, sizeof(names->items[0]));
	names->items[names->count++] = name;
	return MB_OK;
}

static int
compare_names(const void *a, const void *b)
{
	const struct mb_commit_name *x = a;
	const struct mb_commit_name *y = b;
	int order = strcmp(x->component, y->component);

	return order ? order : strcmp(x->id, y->id);
}

enum mb_code
mb_commit_list(const struct mb_repo *repo, const char *component, struct mb_commit_names *names,
			   struct mb_error *err)
{
	char prefix[MB_NAME_MAX] = PREFIX;
	enum mb_code code;

	memset(names, 0, sizeof(*names));
	if (component)
	{
		if (!mb_component_name_is_valid(component))
			return MB_OK;
		snprintf(prefix, sizeof(prefix), PREFIX "%s/", component);
	}
	code = mb_store_list(repo->store, prefix, add_name, names, err);
	if (code)
		mb_commit_names_release(names);
	else if (names->count > 1)
		qsort(names->items, names->count, sizeof(names->items[0]), compare_names);
	return code;
}

void
mb_commit_names_release(struct mb_commit_names *names)
{
	free(names->items);
	memset(names, 0, sizeof(*names));
}

/* -- put ------------------------------------------------------------------------------------- */

/*
 * Ids sort by time, as well as a store can tell it (store.h): the newest commit is among those
 * within two seconds of the last readable one; among these the highest sequence decides.  A damaged
 * one, or one that was removed meanwhile, is passed over: it must not keep new backups from being
 * made.
 */
enum mb_code
mb_commit_newest(const struct mb_repo *repo, const char *component, char id[MB_ID_TEXT],
				 uint64_t *sequence, struct mb_error *err)
{
	struct mb_commit_names names;
	enum mb_code code = mb_commit_list(repo, component, &names, err);
	char best[MB_ID_TEXT] = "";
	uint64_t best_sequence = 0;
	int64_t from_us = 0;
	size_t i;

	if (code)
		return code;
	for (i = names.count; i > 0 && !code; i--)
	{
		struct mb_commit head;
		struct mb_error why;

		if (best[0] && mb_id_time_us(names.items[i - 1].id) < from_us)
			break;
		mb_error_clear(&why);
		code = mb_commit_head(repo, component, names.items[i - 1].id, &head, &why);
		if (code == MB_CORRUPT || code == MB_NOT_FOUND)
		{
			code = MB_OK;
			continue;
		}
		if (code)
			*err = why;
		else if (head.sequence > best_sequence)
		{
			if (!best[0])
				from_us = mb_id_time_us(head.id) - CLOCK_SPREAD_US;
			best_sequence = head.sequence;
			strcpy(best, head.id);
		}
		if (!code)
			mb_commit_release(&head);
	}
	mb_commit_names_release(&names);
	if (!code)
	{
		strcpy(id, best);
		*sequence = best_sequence;
	}
	return code;
}

static bool
is_whole(const struct mb_repo *repo, const char *name, const struct mb_buf *bytes)
{
	struct mb_blob_reader reader = {0};
	struct mb_frame_header header = {0};
	struct mb_error ignored;
	size_t at = MB_BLOB_HEADER_BYTES, used = 0;
	uint32_t number = 0;
	enum mb_code code =
		mb_blob_open(&reader, repo, MB_ROLE_COMMIT, name, bytes->data, bytes->len, &ignored);

	while (!code && !(header.flags & MB_FRAME_LAST))
	{
		code = mb_blob_check(&reader, number++, bytes->data + at, bytes->len - at, &header, &used,
							 &ignored);
		at += code ? 0 : used;
	}
	mb_blob_reader_release(&reader);
	return !code && at == bytes->len;
}

/* No hash of one that is damaged: mended from a copy it would be another one for ever. */
static enum mb_code
link_to_previous(const struct mb_repo *repo, struct mb_commit *commit, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	char name[MB_NAME_MAX];
	uint64_t sequence = 0;
	enum mb_code code = mb_commit_newest(repo, commit->component, commit->previous, &sequence, err);

	memset(commit->previous_hash, 0, sizeof(commit->previous_hash));
	if (code)
		return code;
	commit->sequence = sequence + 1;
	if (!commit->previous[0])
		return MB_OK;
	code = mb_commit_checked_name(name, commit->component, commit->previous, err);
	if (!code)
		code = mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, err);
	if (!code && is_whole(repo, name, &bytes))
		mb_sha256(commit->previous_hash, bytes.data, bytes.len);
	mb_buf_release(&bytes);
	return code;
}

/* Write the parts: a part begins with a frame of its own, an empty one has none. */
static void
write_parts(struct mb_blob_writer *writer, const char *text, const struct mb_buf *blocks,
			const struct mb_buf *refs)
{
	const struct
	{
		const void *data;
		size_t len;
	} parts[] = {{text, strlen(text)}, {blocks->data, blocks->len}, {refs->data, refs->len}};
	int last = refs->len ? 2 : (blocks->len ? 1 : 0);
	int i;

	for (i = 0; i <= last; i++)
	{
		const unsigned char *p = parts[i].data;
		size_t left = parts[i].len;

		while (left > 0)
		{
			size_t piece = left < MB_FRAME_MAX_PLAIN ? left : MB_FRAME_MAX_PLAIN;

			left -= piece;
			mb_blob_frame(writer, p, piece, left == 0 && i == last ? MB_FRAME_LAST : 0);
			p += piece;
		}
	}
}

enum mb_code
mb_commit_put(const struct mb_repo *repo, struct mb_commit *commit, struct mb_error *err)
{
	struct mb_commit_parts parts = {.block_count = commit->blocks.count};
	struct mb_blob_writer writer = {0};
	struct mb_buf blocks = {0};
	struct mb_buf refs = {0};
	char name[MB_NAME_MAX];
	enum mb_code code;
	char *text = NULL;
	json_t *json;

	MB_ASSERT(mb_component_name_is_valid(commit->component) && mb_id_is_valid(commit->id));
	code = mb_commit_checked_name(name, commit->component, commit->id, err);
	if (!code)
		code = link_to_previous(repo, commit, err);
	if (code)
		return code;
	mb_pack_refs_settle(&commit->refs);
	mb_blocks_encode(&blocks, &commit->blocks);
	mb_refs_encode(&refs, &commit->refs);
	parts.block_bytes = blocks.len;
	parts.ref_count = commit->refs.count;
	parts.ref_bytes = refs.len;
	json = mb_commit_to_json(commit, &parts);
	text = mb_json_text(json);
	json_decref(json);
	if (strlen(text) > MB_FRAME_MAX_PLAIN)
		code = mb_fail(err, MB_UNSUPPORTED,
					   "what component \"%s\" says about its backup is larger than %u bytes",
					   commit->component, MB_FRAME_MAX_PLAIN);
	else
	{
		mb_blob_begin(&writer, repo, MB_ROLE_COMMIT, name);
		write_parts(&writer, text, &blocks, &refs);
		code = mb_blob_put(&writer, err);
	}
	mb_blob_writer_release(&writer);
	mb_buf_release(&blocks);
	mb_buf_release(&refs);
	free(text);
	return code;
}
