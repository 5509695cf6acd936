/* bucket_merge_parent.c - see bucket_merge.h: what the parent backup has, key by key. */
#include <string.h>

#include "core/engine/entry.h"
#include "objectstore/bucket_merge.h"
#include "objectstore/state.h"

enum mb_code
mb_merge_advance(struct merge *merge, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	merge->ahead = NULL;
	if (!merge->reader)
		return MB_OK;
	for (;;)
	{
		code = mb_manifest_next(merge->reader, &merge->ahead, err);
		if (code || !merge->ahead || merge->ahead->type != MB_ENTRY_DATA)
			return code;
		merge->data =
			mb_grow(merge->data, &merge->data_cap, merge->data_count + 1, sizeof(*merge->data));
		mb_entry_copy(&merge->data_arena, merge->ahead, &merge->data[merge->data_count++]);
	}
}

int
mb_merge_compare_key(const struct mb_entry *entry, const char *key)
{
	size_t len = strlen(key);
	int order = memcmp(entry->path, key, entry->path_len < len ? entry->path_len : len);

	if (order)
		return order;
	return (entry->path_len > len) - (entry->path_len < len);
}

void
mb_merge_forget_known(struct merge *merge)
{
	size_t i;

	for (i = 0; i < merge->known_count; i++)
		json_decref(merge->known[i].meta);
	merge->known_count = 0;
	mb_arena_release(&merge->arena);
}

/* Take all entries of the key that is ahead. */
enum mb_code
mb_merge_take_known(struct merge *merge, struct mb_error *err)
{
	enum mb_code code;
	const char *key;

	mb_merge_forget_known(merge);
	do
	{
		struct known *known;

		merge->known =
			mb_grow(merge->known, &merge->known_cap, merge->known_count + 1, sizeof(*merge->known));
		known = &merge->known[merge->known_count++];
		memset(known, 0, sizeof(*known));
		mb_entry_copy(&merge->arena, merge->ahead, &known->entry);
		known->meta = mb_state_meta(&known->entry);
		key = merge->known[0].entry.path;
		code = mb_merge_advance(merge, err);
	} while (!code && merge->ahead && mb_merge_compare_key(merge->ahead, key) == 0);
	return code;
}

/* A parent of another bucket, or of a directory, has nothing to build on. */
void
mb_merge_use_parent(struct merge *merge, const char *url)
{
	const struct mb_commit *parent = merge->capture->parent;
	const char *was;

	if (!parent)
		return;
	was = mb_json_str(parent->meta, "bucket", "");
	if (strcmp(was, url) != 0)
	{
		mb_capture_note(merge->capture, "the backup before was of %s: this one is full",
						was[0] ? was : "a directory");
		merge->capture->parent = NULL;
		return;
	}
	merge->parent = parent;
	merge->parent_from_us = mb_json_time(parent->meta, "listed_from");
	merge->parent_known_us = mb_commit_cut_time(parent) +
							 mb_json_int(parent->meta, "clock_skew_us", 0) -
							 mb_json_int(parent->meta, "margin_us", 1000000);
	if (!merge->parent_from_us)
		merge->parent_from_us = mb_commit_cut_time(parent);
	merge->reader = mb_manifest_reader_new(merge->capture->repo, &parent->blocks);
}
