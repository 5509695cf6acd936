/*
 * scan_links.c - files with several names: the first carries the contents, the others lead to it.
 *
 * The first name of the walk is read as any file.  Until that has worked no other name may lead to
 * it: those wait for the end of the batch, and when the first could not be read (it has vanished,
 * or became something else) the next one takes its place.  What is known of a file is kept until the
 * end of the scan, 32 MiB at most; beyond that further files are stored once for each name.
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/entry.h"
#include "core/engine/scan_private.h"

#define LINKS_MAX_BYTES (32u << 20)
#define FIRST_TABLE 1024

static size_t
hash_of(dev_t dev, ino_t ino)
{
	uint64_t x = (uint64_t) ino * 0x9E3779B97F4A7C15ull ^ (uint64_t) dev * 0xC2B2AE3D27D4EB4Full;

	return (size_t) (x ^ x >> 29);
}

/* The place in the table: that of the file, or the free one where it belongs. */
static size_t
place_of(const struct mb_scan_links *links, dev_t dev, ino_t ino)
{
	size_t at = hash_of(dev, ino) & (links->table_size - 1);

	while (links->table[at])
	{
		const struct mb_scan_link *link = &links->items[links->table[at] - 1];

		if (link->dev == dev && link->ino == ino)
			break;
		at = (at + 1) & (links->table_size - 1);
	}
	return at;
}

static void
grow_table(struct mb_scan_links *links)
{
	size_t i;

	if (links->table && links->count * 2 < links->table_size)
		return;
	free(links->table);
	links->table_size = links->table_size ? links->table_size * 2 : FIRST_TABLE;
	links->table = mb_calloc(links->table_size, sizeof(*links->table));
	for (i = 0; i < links->count; i++)
		links->table[place_of(links, links->items[i].dev, links->items[i].ino)] = i + 1;
}

size_t
mb_scan_link_find(const struct mb_tree_scan *scan, const struct stat *st)
{
	const struct mb_scan_links *links = &scan->links;

	if (links->count == 0)
		return MB_NO_LINK;
	/* Free: 0 - 1 is MB_NO_LINK. */
	return links->table[place_of(links, st->st_dev, st->st_ino)] - 1;
}

size_t
mb_scan_link_new(struct mb_tree_scan *scan, const struct mb_scan_item *item,
				 enum mb_scan_link_state state)
{
	struct mb_scan_links *links = &scan->links;
	uint64_t bytes = sizeof(*links->items) + 4 * sizeof(*links->table) + strlen(item->path);

	if (links->bytes + bytes > LINKS_MAX_BYTES)
	{
		if (!links->is_full)
			mb_capture_warn(scan->capture,
							"more files with several names than can be told apart, from \"/%s\" "
							"on: they are stored once for each name",
							item->path);
		links->is_full = true;
		return MB_NO_LINK;
	}
	links->bytes += bytes;
	grow_table(links);
	links->items = mb_grow(links->items, &links->cap, links->count + 1, sizeof(*links->items));
	links->items[links->count] =
		(struct mb_scan_link){item->st.st_dev, item->st.st_ino, mb_strdup(item->path), state};
	links->table[place_of(links, item->st.st_dev, item->st.st_ino)] = links->count + 1;
	return links->count++;
}

static enum mb_code
add_to_manifest(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link,
				struct mb_error *err)
{
	struct mb_entry name = *entry;

	name.type = MB_ENTRY_HARDLINK;
	name.size = 0;
	name.link_target = scan->links.items[link].first;
	return mb_capture_add(scan->capture, &name, err);
}

/* The file's contents under this name. */
static void
become_first(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link)
{
	struct mb_scan_link *slot = &scan->links.items[link];

	free(slot->first);
	slot->first = mb_strndup(entry->path, entry->path_len);
	slot->state = MB_LINK_WAITING;
	mb_scan_add_todo(scan, entry, link);
}

enum mb_code
mb_scan_link_add(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link,
				 struct mb_error *err)
{
	struct mb_scan_links *links = &scan->links;
	struct mb_scan_todo *waiting;

	switch (links->items[link].state)
	{
		case MB_LINK_STORED:
			return add_to_manifest(scan, entry, link, err);
		case MB_LINK_LOST:
			become_first(scan, entry, link);
			return MB_OK;
		case MB_LINK_WAITING:
			break;
	}
	links->waiting = mb_grow(links->waiting, &links->waiting_cap, links->waiting_count + 1,
							 sizeof(*links->waiting));
	waiting = &links->waiting[links->waiting_count++];
	*waiting = (struct mb_scan_todo){.link = link};
	mb_entry_copy_head(&scan->todo_arena, entry, &waiting->entry);
	return MB_OK;
}

enum mb_code
mb_scan_links_settle(struct mb_tree_scan *scan, struct mb_error *err)
{
	struct mb_scan_links *links = &scan->links;
	enum mb_code code = MB_OK;
	size_t i, still = 0;

	for (i = 0; i < scan->todo_count; i++)
		if (scan->todos[i].link != MB_NO_LINK)
			links->items[scan->todos[i].link].state =
				scan->todos[i].is_kept ? MB_LINK_STORED : MB_LINK_LOST;
	scan->todo_count = 0;
	scan->todo_bytes = 0;
	/* Those that become first are the next batch; further names of theirs go on waiting for it. */
	for (i = 0; !code && i < links->waiting_count; i++)
		if (links->items[links->waiting[i].link].state == MB_LINK_WAITING)
			links->waiting[still++] = links->waiting[i];
		else
			code = mb_scan_link_add(scan, &links->waiting[i].entry, links->waiting[i].link, err);
	links->waiting_count = still;
	return code;
}

void
mb_scan_links_release(struct mb_scan_links *links)
{
	size_t i;

	for (i = 0; i < links->count; i++)
		free(links->items[i].first);
	free(links->items);
	free(links->table);
	free(links->waiting);
}
