/*
 * restore_session.h - a restore between its plan and its answer: what mb_restore_run (all at once)
 * and mb_stack_restore (step by step, with a journal) share.
 */
#ifndef MB_ENGINE_RESTORE_SESSION_H
#define MB_ENGINE_RESTORE_SESSION_H

#include "core/engine/stack.h"

struct mb_restore_session
{
	struct mb_stack stack; /* narrowed to what is restored; components are borrowed */
	const struct mb_restore_options *options;
	char id[MB_ID_TEXT];
	json_t *set;    /* of a BACKUP target, or the one named */
	json_t *unread; /* where "latest" was asked for: a newer one, which cannot be read */
	json_t *mark;   /* of a MARK target */
	struct mb_cut cut;
	struct mb_restore *parts; /* parallel to stack.components */
	double *seconds;
	int64_t started_ms;
};

/* Plan every component; writes nothing anywhere.  Release it also after a failure. */
enum mb_code mb_restore_session_plan(struct mb_restore_session *session,
									 const struct mb_stack *stack,
									 const struct mb_restore_options *options,
									 struct mb_error *err) MB_MUST_CHECK;
/* restore_run.c, for restore_resume.c: the parts, empty; and one with its candidates, before it is planned. */
enum mb_code mb_restore_session_begin(struct mb_restore_session *session,
									  const struct mb_stack *stack,
									  const struct mb_restore_options *options,
									  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_restore_session_prepare(struct mb_restore_session *session, size_t i,
										struct mb_error *err) MB_MUST_CHECK;
/*
 * restore_resume.c: what was decided, so that another process can go on; and going on, with the same
 * options.
 */
json_t *mb_restore_session_save(const struct mb_restore_session *session);
enum mb_code mb_restore_session_resume(struct mb_restore_session *session,
									   const struct mb_stack *stack,
									   const struct mb_restore_options *options,
									   const json_t *saved, struct mb_error *err) MB_MUST_CHECK;
/* Restore one component; another may be restored by another thread. */
enum mb_code mb_restore_session_part(struct mb_restore_session *session, size_t i,
									 struct mb_error *err) MB_MUST_CHECK;
/* The "restore" object of docs/configuration.md. */
json_t *mb_restore_session_answer(const struct mb_restore_session *session);
void mb_restore_session_release(struct mb_restore_session *session);

/* What a user asked for, as a document and back.  The texts live as long as the document. */
json_t *mb_restore_options_save(const struct mb_restore_options *options);
struct mb_restore_options_read
{
	struct mb_restore_options options;
	struct mb_restore_destination *destinations;
	char **lists[4];
};
void mb_restore_options_load(struct mb_restore_options_read *read, const json_t *json);
void mb_restore_options_release(struct mb_restore_options_read *read);

#endif
