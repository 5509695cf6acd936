/*
 * tree_private.h - what tree.c (entries), tree_window.c (contents), tree_finish.c (owners, modes, links), tree_clean.c
 * and tree_delta.c (writing over what is there) share; nobody else includes it.
 */
#ifndef MB_ENGINE_TREE_PRIVATE_H
#define MB_ENGINE_TREE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/engine/restore.h"

#define MB_TREE_OPEN_FILES 64
#define MB_TREE_WHOLE UINT32_MAX

/* Something that has been made and still needs its owner, mode and times. */
struct mb_tree_item
{
	struct mb_entry entry;
	const char *name;
	int dir_fd;
	bool is_sparse; /* zeros of it are holes */
};

struct mb_tree_items
{
	struct mb_tree_item *items;
	size_t count;
	size_t cap;
};

/* One run to be written into one file of the window. */
struct mb_tree_job
{
	struct mb_run run;
	uint32_t file;
	uint64_t offset;
};

struct mb_tree_worker
{
	struct mb_pack_reader *reader;
	struct
	{
		uint32_t file;
		int fd; /* -1: free */
	} open[MB_TREE_OPEN_FILES];
	unsigned next; /* to be replaced next */
};

/* One piece of a file that exists: a range with a page map, or all of a file without. */
struct mb_tree_check
{
	uint32_t file;
	uint32_t range; /* MB_TREE_WHOLE: the file */
};

struct mb_tree_run
{
	struct mb_restore *restore;
	const struct mb_tree *spec;
	struct mb_pack_reader *map_reader;
	struct mb_arena window_arena;
	struct mb_arena late_arena;
	struct mb_tree_items files; /* of this window */
	struct mb_tree_items dirs;
	struct mb_tree_items links;
	struct mb_tree_job *jobs;
	size_t job_count;
	size_t job_cap;
	size_t *pack_starts; /* index of the first job of each pack */
	size_t pack_count;
	struct mb_tree_worker *workers;
	char *last_parent; /* known to exist below last_parent_fd */
	int last_parent_fd;
	int root_fds[64]; /* every filesystem we wrote to, to be synced */
	size_t root_count;
	bool is_root;
	uint64_t attribute_bytes; /* of the files of this window */
	uint64_t not_set;         /* attributes that could not be set */
	/* a delta: what stands there already and must be compared first */
	struct mb_tree_check *checks;
	size_t check_count;
	size_t check_cap;
	uint64_t check_bytes;
	pthread_mutex_t lock; /* jobs, while checks add to them */
	atomic_uint_fast64_t written_bytes;
};

/* tree.c */
void mb_tree_add_item(struct mb_tree_items *items, const struct mb_entry *entry, const char *name,
					  int dir_fd);
void mb_tree_add_jobs(struct mb_tree_run *tree, uint32_t file, const struct mb_runs *runs);

/* tree_window.c */
/* The file, open for reading and writing; kept open by the worker. */
enum mb_code mb_tree_file_fd(struct mb_tree_run *tree, struct mb_tree_worker *worker, uint32_t file,
							 int *fd, struct mb_error *err) MB_MUST_CHECK;
void mb_tree_close_files(struct mb_tree_worker *worker);
/* Write the files of the window, finish them, and begin an empty one. */
enum mb_code mb_tree_flush_window(struct mb_tree_run *tree, struct mb_error *err) MB_MUST_CHECK;

/* tree_finish.c */
/*
 * Open the directory that name stands in; *base is its last part.  *parent_fd may be
 * dir_fd itself: close it by mb_tree_close_parent.
 */
enum mb_code mb_tree_open_parent(int dir_fd, const char *name, int *parent_fd, const char **base,
								 struct mb_error *err) MB_MUST_CHECK;
void mb_tree_close_parent(int dir_fd, int parent_fd);
/* Owner, attributes, mode and times. */
enum mb_code mb_tree_finish_item(struct mb_tree_run *tree, const struct mb_tree_item *item,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_tree_make_link(struct mb_tree_run *tree, const struct mb_tree_item *item,
							   struct mb_error *err) MB_MUST_CHECK;
/* How many attributes could not be set beyond those that were named. */
void mb_tree_tell_not_set(struct mb_tree_run *tree);

/* tree_clean.c: remove what the manifest does not have, or has as something else. */
enum mb_code mb_tree_clean(struct mb_tree_run *tree, struct mb_error *err) MB_MUST_CHECK;
/*
 * Take over a file that is there: its size is made right and its pieces are noted to be
 * compared.  *found is false when there is none.
 */
enum mb_code mb_tree_take_over(struct mb_tree_run *tree, const struct mb_entry *entry,
							   const char *name, int dir_fd, bool *found,
							   struct mb_error *err) MB_MUST_CHECK;
/* Compare what was noted on all workers; what differs becomes jobs. */
enum mb_code mb_tree_compare(struct mb_tree_run *tree, struct mb_error *err) MB_MUST_CHECK;

#endif
