/*
 * scan_private.h - what scan.c (walking, deciding), scan_read.c (reading) and scan_links.c (names
 * of one file) share; nobody else includes it.
 *
 * The walk is one thread.  Files to be read are collected; a batch of them is read by all workers
 * while the walk stands still, so that what they note needs no lock.
 */
#ifndef MB_ENGINE_SCAN_PRIVATE_H
#define MB_ENGINE_SCAN_PRIVATE_H

#include "core/engine/scan.h"

#define MB_SCAN_OWNER_CACHE 64
#define MB_NO_LINK SIZE_MAX

/* Names of owners, looked up once; a scan is one thread, so no lock. */
struct mb_scan_owner
{
	uint32_t id;
	bool known;
	char name[64]; /* "" when the id has no name */
};

/* A file to be read by the workers. */
struct mb_scan_todo
{
	struct mb_entry entry;
	const char *path;
	size_t link;  /* of scan->links, or MB_NO_LINK */
	bool is_kept; /* set by the worker: it is in the manifest */
};

enum mb_scan_link_state
{
	MB_LINK_WAITING, /* its first name is among the todos */
	MB_LINK_STORED,  /* its first name is in the manifest */
	MB_LINK_LOST     /* ... could not be read: the next name is the first */
};

/* One file with several names, of which one was seen. */
struct mb_scan_link
{
	dev_t dev;
	ino_t ino;
	char *first; /* the path that carries the contents */
	enum mb_scan_link_state state;
};

struct mb_scan_links
{
	struct mb_scan_link *items;
	size_t count;
	size_t cap;
	size_t *table; /* index + 1 by hash, open addressing; 0: free */
	size_t table_size;
	uint64_t bytes;
	bool is_full; /* further ones are files of their own; said once */
	/* Further names of files that wait: copies in todo_arena. */
	struct mb_scan_todo *waiting;
	size_t waiting_count;
	size_t waiting_cap;
};

struct mb_tree_scan
{
	struct mb_capture *capture;
	int root_fd;
	char **roots; /* sorted, none below another */
	size_t root_count;
	const struct mb_scan_ops *ops;
	void *ctx;
	/* the parent's manifest, one group of versions ahead */
	struct mb_manifest_reader *parent;
	const struct mb_entry *parent_next; /* borrowed from the reader */
	struct mb_arena group_arena;
	struct mb_entry *group;
	size_t group_count;
	size_t group_cap;
	/* to be read */
	struct mb_arena todo_arena;
	struct mb_scan_todo *todos;
	size_t todo_count;
	size_t todo_cap;
	uint64_t todo_bytes;
	struct mb_scan_links links;
	struct mb_scan_owner users[MB_SCAN_OWNER_CACHE];
	struct mb_scan_owner groups[MB_SCAN_OWNER_CACHE];
	char *unseen; /* the last path that could not be looked at, which was said */
};

/* Failures of one file that must not fail the whole backup. */
bool mb_scan_is_file_trouble(enum mb_code code);
/* Warn, and note that something is missing. */
void mb_scan_left_out(struct mb_tree_scan *scan, const char *what);

/*
 * scan_read.c: add a directory or a link to the manifest, or a file to what is read.  Reads the
 * batch when it is large enough.
 */
enum mb_code mb_scan_take(struct mb_tree_scan *scan, const struct mb_scan_item *item,
						  struct mb_entry *entry, size_t link, struct mb_error *err) MB_MUST_CHECK;
/* Read what waits, and settle the names that wait for it. */
enum mb_code mb_scan_read_batch(struct mb_tree_scan *scan, struct mb_error *err) MB_MUST_CHECK;
/* One more file to be read; the entry's head is copied. */
void mb_scan_add_todo(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link);

/* scan_links.c: the file's slot, or MB_NO_LINK when none of its names was seen. */
size_t mb_scan_link_find(const struct mb_tree_scan *scan, const struct stat *st);
/* Its first name; MB_NO_LINK when there are too many. */
size_t mb_scan_link_new(struct mb_tree_scan *scan, const struct mb_scan_item *item,
						enum mb_scan_link_state state);
/* A further name: into the manifest, or to those that wait; of a lost file it is the first. */
enum mb_code mb_scan_link_add(struct mb_tree_scan *scan, const struct mb_entry *entry, size_t link,
							  struct mb_error *err) MB_MUST_CHECK;
/* A batch was read: note which first names are stored, and settle what waited. */
enum mb_code mb_scan_links_settle(struct mb_tree_scan *scan, struct mb_error *err) MB_MUST_CHECK;
void mb_scan_links_release(struct mb_scan_links *links);

#endif
