/*
 * session.h - a writing session: one lease, one uploader and one packer for each
 * worker, through which component backups are captured and committed.
 *
 * Packers are finished between components, so that a pack belongs to one backup.
 */
#ifndef MB_ENGINE_SESSION_H
#define MB_ENGINE_SESSION_H

#include "core/engine/component.h"
#include "core/repo/lease.h"

struct mb_session
{
	const struct mb_env *env;
	char id[MB_ID_TEXT];
	struct mb_lease *lease;
	struct mb_uploader *uploader;
	struct mb_packer **packers;
	uint64_t stored_bytes; /* already accounted to a capture */
};

enum mb_code mb_session_open(struct mb_session *session, const struct mb_env *env, const char *kind,
							 struct mb_error *err) MB_MUST_CHECK;
/* Whatever was captured and not committed is dropped.  All zero is fine. */
void mb_session_close(struct mb_session *session);

enum mb_parent_choice
{
	MB_PARENT_NONE,
	MB_PARENT_NEWEST
};

/*
 * Begin a component backup.  With MB_PARENT_NEWEST the newest commit becomes the parent
 * when the component can use one and there is one.
 */
enum mb_code mb_capture_begin(struct mb_session *session, struct mb_component *component,
							  enum mb_parent_choice parent, struct mb_capture **capture,
							  struct mb_error *err) MB_MUST_CHECK;

/* Make all that was packed durable, and the packers' memory free for the next component. */
enum mb_code mb_capture_flush(struct mb_session *session, struct mb_capture *capture,
							  struct mb_error *err) MB_MUST_CHECK;

/*
 * Finish the manifest, make everything durable, put the commit.  type is "full",
 * "incremental" or "scan".  *summary gets the component's part of the backup object.  A scan
 * whose driver set meta.unchanged is not committed: its parent stands for it.
 */
enum mb_code mb_capture_commit(struct mb_session *session, struct mb_capture *capture,
							   const struct mb_cut *cut, const char *type, json_t **summary,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_capture_free(struct mb_capture *capture); /* NULL does nothing */

/*
 * Take the lock `name` of this repository on this machine (a file in the spool); waits
 * up to wait_ms, then MB_CONFLICT.  Release by close(*fd).
 */
enum mb_code mb_session_lock(const struct mb_env *env, const char *name, int64_t wait_ms, int *fd,
							 struct mb_error *err) MB_MUST_CHECK;

#endif
