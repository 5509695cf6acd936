/*
 * safety.h - what stands where a restore goes, moved aside so that it can be put back.
 *
 * One struct mb_safety is one directory (all of it, one name in it, or a list of files below it).
 * How it is kept is chosen once, before anything is touched, and printed:
 *
 *     rename   PATH becomes PATH.mbackup-old-<id>: one system call, but the directory itself is
 *              another one afterwards, its parent must be writable and it no mount point
 *     move     its contents go into PATH/.mbackup-old-<id>/: on the same filesystem, and the
 *              directory stays the one that others have mounted or open
 *     files    the same for a list of files, each under its own path
 *     reflink  a copy that shares its blocks, PATH.mbackup-old-<id>; PATH stays as it is
 *     none     nothing is kept
 *     empty    there was nothing
 *
 * keep, clear, put_back and forget may each be killed at any moment and called again; who calls
 * them notes in a journal which one has ended (restore_journal.h): keep after clear would keep
 * the restore's own work.
 *
 * Trust: the last component of a path is never followed when it is a link; a directory that is not
 * the one that was looked at (device and inode) is refused; names that come from a
 * manifest are opened beneath their root.
 */
#ifndef MB_ENGINE_SAFETY_H
#define MB_ENGINE_SAFETY_H

#include <stdint.h>
#include <sys/types.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/names.h"

enum mb_safety_method
{
	MB_SAFETY_EMPTY,
	MB_SAFETY_RENAME,
	MB_SAFETY_MOVE,
	MB_SAFETY_FILES,
	MB_SAFETY_REFLINK,
	MB_SAFETY_NONE
};

enum mb_safety_wish
{
	MB_SAFETY_STAYS = 1,   /* the directory must stay the same one: no rename */
	MB_SAFETY_IS_USED = 2, /* what is there is used by the restore (--delta): reflink or none */
	MB_SAFETY_UNKEPT = 4   /* --no-snapshot */
};

struct mb_safety
{
	char *path; /* absolute, of a directory */
	char *only; /* only this name in it; NULL: all */
	bool is_list;
	struct mb_names keep; /* is_list: files that are there and are moved aside */
	struct mb_names put;  /* is_list: files that the restore will write */
	unsigned wishes;
	/* chosen */
	enum mb_safety_method method;
	char *kept; /* where it will stand; NULL with none and empty */
	char *why;  /* one word why not a better way, for people; or NULL */
	bool existed;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t dev;
	uint64_t ino;
	uint64_t bytes; /* on disk, of what is there */
};

/* Takes copies.  only may be NULL. */
struct mb_safety *mb_safety_new(const char *path, const char *only, unsigned wishes);
void mb_safety_free(struct mb_safety *safety); /* NULL does nothing */
const char *mb_safety_method_name(enum mb_safety_method method);

/*
 * Look and choose; touches nothing.  id: of the restore.  MB_CONFLICT: no directory, or what
 * was kept by this id stands there already; MB_DENIED: it may not be moved.
 */
enum mb_code mb_safety_choose(struct mb_safety *safety, const char *id,
							  struct mb_error *err) MB_MUST_CHECK;

/*
 * Move it aside (none: remove it, for good).  Afterwards the restore finds an empty place (reflink:
 * the place as it was).
 */
enum mb_code mb_safety_keep(const struct mb_safety *safety, struct mb_error *err) MB_MUST_CHECK;
/* Remove what a restore has written since keep; what is kept stays. */
enum mb_code mb_safety_clear(const struct mb_safety *safety, struct mb_error *err) MB_MUST_CHECK;
/*
 * What was kept stands in its place again, as it was; what stood there instead is removed.
 * MB_UNSUPPORTED with none.
 */
enum mb_code mb_safety_put_back(const struct mb_safety *safety, struct mb_error *err) MB_MUST_CHECK;
/* Remove what is kept.  That it is gone already is fine. */
enum mb_code mb_safety_forget(const struct mb_safety *safety, struct mb_error *err) MB_MUST_CHECK;
/* Is it (still) kept? */
bool mb_safety_is_kept(const struct mb_safety *safety);
/* Bytes on disk of a tree; what cannot be read counts nothing. */
uint64_t mb_tree_bytes(const char *path);

/*
 * As the journal has it.  A list of files goes into a file beside the journal, whose path is
 * list_path (NULL unless is_list).
 */
json_t *mb_safety_to_json(const struct mb_safety *safety, const char *list_path);
enum mb_code mb_safety_from_json(struct mb_safety **safety, const json_t *json,
								 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_safety_write_list(const struct mb_safety *safety, const char *path,
								  struct mb_error *err) MB_MUST_CHECK;

#endif
