/*
 * mirror_private.h - what the files of a mirror share: store_mirror.c (the driver),
 * mirror_copy.c (calls to one copy, with a deadline), mirror_state.c (the spool),
 * mirror_catch_up.c (compare and copy), mirror_reconcile.c (when).
 */
#ifndef MB_REPO_MIRROR_PRIVATE_H
#define MB_REPO_MIRROR_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/repo/repo_private.h"
#include "core/repo/store_mirror.h"

#define MB_MIRROR_OPEN_PATIENCE_MS 15000 /* to open a copy, when somebody waits for it */

/* An open place; calls that were given up may hold it longer than the mirror lives. */
struct mb_mirror_handle
{
	struct mb_store *store;
	atomic_int refs;
};

struct mb_mirror_copy
{
	struct mb_mirror *mirror;
	char *name;
	char *url;
	char *state_path;
	char *removed_path;
	pthread_mutex_t lock;
	struct mb_mirror_handle *handle; /* NULL: not open */
	atomic_bool deaf;                /* behind, though the spool could not be told */
	atomic_llong pause_until_ms;     /* before that, no get tries to open it */
	atomic_bool warned;              /* of being behind, since it was last up to date */
};

struct mb_mirror
{
	struct mb_store base;
	struct mb_store *first; /* owned */
	struct mb_mirror_options options;
	char id_text[37];
	unsigned char header[MB_HEADER_MAX_BYTES]; /* mbackup.json of the first */
	size_t header_len;
	struct mb_mirror_copy *copies;
	size_t count;
	char *lock_path;
	char *writing_path; /* ours, while we may write; NULL else */
	int writing_fd;
	atomic_bool told_fallback;
	/* the thread that catches up */
	bool running;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	atomic_bool stopping;
};

/* Blobs that never go to a copy. */
bool mb_mirror_is_local(const char *name);
struct mb_mirror *mb_as_mirror(const struct mb_store *store); /* NULL: it is none */
/* Its mbackup.json, as bytes and understood. */
enum mb_code mb_mirror_read_header(struct mb_store *store, struct mb_buf *bytes,
								   struct mb_repo_header *header,
								   struct mb_error *err) MB_MUST_CHECK;

/* -- mirror_state.c ------------------------------------------------------------------------- */

/* Byte ranges of the lock file of a repository; see there. */
enum mb_mirror_lock
{
	MB_MIRROR_GATE,
	MB_MIRROR_PUTS,
	MB_MIRROR_STATE,
	MB_MIRROR_ROLL,
	MB_MIRROR_CATCHING
};

struct mb_mirror_state
{
	bool is_behind;
	int64_t since_us;
	char why[512];
	char epoch[17]; /* changes whenever it is said to be behind */
};

/* What the spool says; no file, an unreadable one or another url is behind. */
void mb_mirror_state_read(const struct mb_mirror_copy *copy, struct mb_mirror_state *state);
bool mb_mirror_is_behind(const struct mb_mirror_copy *copy);
void mb_mirror_fall_behind(struct mb_mirror_copy *copy, const char *why);
/* False when it was said to be behind again since that epoch, or the spool cannot be written. */
bool mb_mirror_set_current(struct mb_mirror_copy *copy, const char *epoch);

/* Around a put: -1 when somebody held it too long (and all copies are behind now). */
int mb_mirror_enter(struct mb_mirror *mirror);
/* No put runs while it is held, in any process; -1 when that could not be had. */
int mb_mirror_enter_alone(struct mb_mirror *mirror);
/* One process catches up at a time; -1 when another does. */
int mb_mirror_try_catching(struct mb_mirror *mirror);
void mb_mirror_leave(int lock); /* -1 does nothing */

/* Names to remove from a copy once it has caught up. */
void mb_mirror_note_removed(struct mb_mirror_copy *copy, const char *const *names, size_t count);

/* Say in the spool that we write; copies fall behind when somebody who did so was killed. */
enum mb_code mb_mirror_begin_writing(struct mb_mirror *mirror, struct mb_error *err) MB_MUST_CHECK;
void mb_mirror_end_writing(struct mb_mirror *mirror);
/* Were writers killed since?  Then every copy falls behind. */
void mb_mirror_look_for_killed(struct mb_mirror *mirror);

/* -- mirror_copy.c -------------------------------------------------------------------------- */

/* Open it (again, when anew) and compare mbackup.json.  MB_CONFIG: another repository. */
enum mb_code mb_mirror_copy_open(struct mb_mirror_copy *copy, bool anew, int64_t patience_ms,
								 struct mb_error *err) MB_MUST_CHECK;
void mb_mirror_copy_close(struct mb_mirror_copy *copy);
/* As the functions of a store.  A put of what is there with the same size is MB_OK. */
enum mb_code mb_mirror_copy_put(struct mb_mirror_copy *copy, const char *name, const void *data,
								size_t len, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mirror_copy_get(struct mb_mirror_copy *copy, const char *name, uint64_t offset,
								size_t len, struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mirror_copy_head(struct mb_mirror_copy *copy, const char *name, uint64_t *bytes,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mirror_copy_remove(struct mb_mirror_copy *copy, const char *const *names,
								   size_t count, struct mb_error *err) MB_MUST_CHECK;
/* Names and sizes, in order: u64 size, name, NUL; appended to out. */
enum mb_code mb_mirror_copy_list(struct mb_mirror_copy *copy, const char *prefix,
								 struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mirror_add_listed(void *out, const struct mb_blob_info *info, struct mb_error *err);

/* -- mirror_catch_up.c ---------------------------------------------------------------------- */

/*
 * Bring a copy up to date.  The caller holds MB_MIRROR_CATCHING.  MB_INTERRUPTED: stopped, it
 * stays behind; any other failure has been noted in the spool.
 */
enum mb_code mb_mirror_catch_up(struct mb_mirror_copy *copy, struct mb_error *err) MB_MUST_CHECK;
/* Compare a copy that is believed to be up to date; MB_NEGATIVE names what it lacks. */
enum mb_code mb_mirror_compare(struct mb_mirror_copy *copy, struct mb_error *err) MB_MUST_CHECK;

/* -- mirror_reconcile.c --------------------------------------------------------------------- */

void mb_mirror_start_thread(struct mb_mirror *mirror);
void mb_mirror_stop_thread(struct mb_mirror *mirror);

#endif
