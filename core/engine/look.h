/*
 * look.h - one component's backup as of a moment, to look into it without restoring it.
 */
#ifndef MB_ENGINE_LOOK_H
#define MB_ENGINE_LOOK_H

#include "core/engine/stack.h"

enum mb_look_kind
{
	MB_LOOK_LATEST, /* the newest backup, scans included */
	MB_LOOK_MARK,
	MB_LOOK_BACKUP, /* a set, or one backup of the component by its own id */
	MB_LOOK_TIME
};

struct mb_look
{
	enum mb_look_kind kind;
	struct mb_commit commit; /* complete */
	int64_t time_us;         /* the moment; with LATEST and a backup by its own id its cut */
	char id[64];             /* MARK and BACKUP: what a restore is told; else empty */
};

/*
 * `at` is a mark's name, a backup's id or a unique prefix of one, or a time; NULL is the newest.
 * MB_NOT_FOUND: none of these, or the component has no backup then (the detail says what there is).
 */
enum mb_code mb_look_find(const struct mb_repo *repo, const char *component, const char *at,
						  struct mb_look *look, struct mb_error *err) MB_MUST_CHECK;
void mb_look_release(struct mb_look *look);

#endif
