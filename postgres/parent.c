/* parent.c - see parent.h. */
#include "postgres/parent.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine/entry.h"
#include "core/repo/provisional.h"

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

static enum mb_code
load_blocks(struct mb_pg_parent *parent, const struct mb_capture *capture,
			const struct mb_blocks *blocks, struct mb_error *err)
{
	struct mb_manifest_reader *reader = mb_manifest_reader_new(capture->repo, blocks);
	const struct mb_entry *entry;
	enum mb_code code;

	while (!(code = mb_manifest_next(reader, &entry, err)) && entry)
		if (entry->type == MB_ENTRY_FILE)
			keep_entry(parent, entry);
	mb_manifest_reader_free(reader);
	return code;
}

static int
compare_entries(const void *a, const void *b)
{
	const struct mb_entry *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	return order ? order : (x->version < y->version) - (x->version > y->version);
}

/* Of equal paths keep the one that was loaded last. */
static void
keep_newest(struct mb_pg_parent *parent)
{
	size_t kept = 0, i;

	qsort(parent->items, parent->count, sizeof(*parent->items), compare_entries);
	for (i = 0; i < parent->count; i++)
		if (i == 0 || strcmp(parent->items[i].path, parent->items[kept - 1].path) != 0)
		{
			parent->items[kept] = parent->items[i];
			parent->items[kept++].version = 0;
		}
	parent->count = kept;
}

/*
 * What killed attempts have finished is newer than the parent, and replaces it.  Files have
 * no versions, so that member tells meanwhile which attempt an entry is of.
 */
static enum mb_code
load_attempts(struct mb_pg_parent *parent, const struct mb_capture *capture, struct mb_error *err)
{
	struct mb_provisionals found;
	size_t before = parent->count, i;
	enum mb_code code = mb_provisionals_get(capture->repo, capture->component, &found, err);

	for (i = 0; !code && i < found.count; i++)
	{
		size_t from = parent->count;

		code = load_blocks(parent, capture, &found.parts[i], err);
		if (code == MB_CORRUPT)
			code = MB_OK;
		for (; from < parent->count; from++)
			parent->items[from].version = i + 1;
	}
	if (!code && parent->count > before)
	{
		mb_log_info(capture->env->log,
					"%s: going on from what a killed backup has stored, %zu files",
					capture->component, parent->count - before);
		keep_newest(parent);
	}
	mb_provisionals_release(&found);
	return code;
}

enum mb_code
mb_pg_parent_open(struct mb_pg_parent **parent, const struct mb_capture *capture,
				  struct mb_error *err)
{
	struct mb_pg_parent *made = mb_calloc(1, sizeof(*made));
	enum mb_code code = MB_OK;

	if (capture->parent)
		code = load_blocks(made, capture, &capture->parent->blocks, err);
	if (code)
		mb_error_context(err, "could not read the manifest of backup %s", capture->parent->id);
	else
		code = load_attempts(made, capture, err);
	if (code)
	{
		mb_pg_parent_close(made);
		return code;
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

bool
mb_pg_was_judged(const struct mb_entry *parent)
{
	return parent && parent->damaged_count == 0 && (parent->flags & MB_ENTRY_CHANGING) == 0;
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
