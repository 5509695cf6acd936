/*
 * store_mirror.h - one repository in several places: a store over several stores.
 *
 * The *first* answers; the others are *copies* of it, blob by blob, byte by byte, under
 * the same repository id.  A put is durable when the first and every copy that is *up to
 * date* have it.  A copy that fails once falls *behind*: it is left alone from then on, so
 * that it neither blocks nor fails anything, until it has *caught up*: what it lacks is
 * copied in an order in which nothing ever gets there before what it refers to.  Nothing
 * is ever removed from a copy because the first lacks it (the first may be the one that
 * lost something), and a place is used only when its mbackup.json is that of the first:
 * an unmounted directory is not filled.  leases/, provisional/, tombstones/, probes/ and verified/
 * stay with the first.
 *
 * What is known about a copy stands in the spool (copy-<repository id>-<name>), for all
 * processes of this machine; no file means "not compared yet", which is behind.  A writer
 * that is killed leaves a file there too, and after that no copy counts as up to date.
 *
 * get falls over to a copy whatever the reason; list, head and clock ask the first only.
 *
 * Threads: as every store.  Each call to a copy runs on a thread of its own and is given up
 * when nothing moves for patience_ms (a dead network mount), so that only the copy is late.
 */
#ifndef MB_REPO_STORE_MIRROR_H
#define MB_REPO_STORE_MIRROR_H

#include "core/base/log.h"
#include "core/base/pool.h"
#include "core/repo/store.h"

enum mb_mirror_flags
{
	MB_MIRROR_READ_ONLY =
		1,                 /* no put but of what stays with the first, no remove; copies are opened
								when they are needed */
	MB_MIRROR_CATCH_UP = 2 /* a thread brings copies up to date every retry_ms */
};

/* Everything pointed to outlives the mirror. */
struct mb_mirror_options
{
	unsigned flags;
	const char *spool;              /* NULL only with MB_MIRROR_READ_ONLY */
	const struct mb_log *log;       /* may be NULL */
	const struct mb_cancel *cancel; /* ends a catching up; may be NULL */
	/* Opens the place of a copy; never creates it. */
	enum mb_code (*open)(void *ctx, const char *url, struct mb_store **store, struct mb_error *err);
	void *open_ctx;
	int64_t retry_ms;    /* 0: 30 s */
	int64_t patience_ms; /* 0: 60 s */
};

struct mb_mirror_place
{
	const char *name; /* [a-z][a-z0-9_-]* */
	const char *url;
};

/*
 * Takes first, which must hold a repository (on failure too it is freed).  For writing, copies
 * that count as up to date are opened now, with MB_MIRROR_CATCH_UP all of them: one that
 * cannot be is behind, with a warning; one that is another repository is MB_CONFIG.
 */
enum mb_code mb_store_mirror_open(struct mb_store **mirror, struct mb_store *first,
								  const struct mb_mirror_place *places, size_t count,
								  const struct mb_mirror_options *options,
								  struct mb_error *err) MB_MUST_CHECK;

/*
 * Compare every copy with the first by listing, whatever was believed of it, and copy what it
 * lacks; cheap when they are equal.  Ends the thread of MB_MIRROR_CATCH_UP.  MB_PARTIAL: some
 * are behind still, the error names them.  MB_OK for a store that is no mirror.
 */
enum mb_code mb_mirror_reconcile(struct mb_store *store, struct mb_error *err) MB_MUST_CHECK;

struct mb_mirror_status
{
	const char *name; /* borrowed from the mirror */
	const char *url;
	bool is_behind;
	int64_t since_us;       /* of being behind; 0 when never compared */
	char why[512];          /* behind: the last reason */
	struct mb_error access; /* why it cannot be opened now; code MB_OK when it can */
};

/* How many copies; 0 for a store that is no mirror. */
size_t mb_mirror_count(const struct mb_store *store);
/* The i-th copy, looked at now. */
void mb_mirror_status(struct mb_store *store, size_t i, struct mb_mirror_status *status);

/* Does the place hold the repository that first is?  MB_NOT_FOUND: it holds none. */
enum mb_code mb_mirror_check_place(struct mb_store *first, struct mb_store *place,
								   struct mb_error *err) MB_MUST_CHECK;
/* Make an empty place a copy, behind in everything: write mbackup.json there. */
enum mb_code mb_mirror_found_place(struct mb_store *first, struct mb_store *place,
								   struct mb_error *err) MB_MUST_CHECK;

#endif
