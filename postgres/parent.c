/* parent.c - see parent.h. */
#include "postgres/parent.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine/entry.h"

struct mb_pg_parent
{
	struct mb_arena arena;
	struct mb_entry *items; /* in the order of the manifest: by path */
	size_t count;
	size_t cap;
};

static void
keep_entry(struct mb_pg_parent *parent, const struct mb_entry *entry)
{
	struct mb_entry without_names = *entry;

	/* The same few texts for every file, and nobody asks for them. */
	without_names.user = without_names.group = NULL;
	parent->items = mb_grow(parent->items, &parent->cap, parent->count + 1, sizeof(*parent->items));
	mb_entry_copy(&parent->arena, &without_names, &parent->items[parent->count++]);
}

enum mb_code
mb_pg_parent_open(struct mb_pg_parent **parent, const struct mb_capture *capture,
				  struct mb_error *err)
{
	struct mb_pg_parent *made = mb_calloc(1, sizeof(*made));
	struct mb_manifest_reader *reader;
	const struct mb_entry *entry;
	enum mb_code code = MB_OK;

	if (capture->parent)
	{
		reader = mb_manifest_reader_new(capture->repo, &capture->parent->blocks);
		while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
			if (entry->type == MB_ENTRY_FILE)
				keep_entry(made, entry);
		mb_manifest_reader_free(reader);
	}
	if (code)
	{
		mb_pg_parent_close(made);
		return mb_error_context(err, "could not read the manifest of backup %s",
								capture->parent->id);
	}
	*parent = made;
	return MB_OK;
}

void
mb_pg_parent_close(struct mb_pg_parent *parent)
{
	if (!parent)
		return;
	mb_arena_release(&parent->arena);
	free(parent->items);
	free(parent);
}

const struct mb_entry *
mb_pg_parent_find(const struct mb_pg_parent *parent, const char *path)
{
	size_t low = 0, high = parent->count, len = strlen(path);

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		const struct mb_entry *entry = &parent->items[middle];
		int order = memcmp(entry->path, path, entry->path_len < len ? entry->path_len : len);

		if (order == 0)
			order = (entry->path_len > len) - (entry->path_len < len);
		if (order == 0)
			return entry;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
