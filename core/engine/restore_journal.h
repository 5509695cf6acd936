/*
 * restore_journal.h - what a restore into its own place has done so far, so that it can go on, or
 * back, after a kill at any moment.
 *
 *     <spool>/restores/<id>/plan.json    everything that was decided, written before anything is touched
 *     <spool>/restores/<id>/journal      a line of JSON for each step begun and done, synced
 *     <spool>/restores/<id>/report.json  the answer, when there is one
 *     <spool>/restores/<id>/output.log   what services and hooks said
 *
 * A step is named by a text ("keep:0", "restore:postgres").  A line that was not written whole is no
 * line, and goes with the next note; who holds the lock of the spool notes, anybody reads.  Notes come from several threads; everything else is one thread's.
 *
 * A restore ends in one of: finished, aborted (nothing was harmed, all is as it was), rolled
 * back, forgotten (finished, and what was kept is removed).  Until then it is unfinished, and no
 * other begins.
 */
#ifndef MB_ENGINE_RESTORE_JOURNAL_H
#define MB_ENGINE_RESTORE_JOURNAL_H

#include <pthread.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/repo/commit.h"

enum mb_step_state
{
	MB_STEP_NEW,
	MB_STEP_BEGUN,
	MB_STEP_DONE
};

struct mb_journal
{
	char id[MB_ID_TEXT];
	char *directory;
	json_t *plan;
	json_t *steps; /* name -> {"state", "time", "data"}: the last line of each */
	int fd;
	size_t whole_bytes; /* of the lines that are whole; */
	bool is_torn;       /* there may be more */
	pthread_mutex_t lock;
};

/* Write the plan (a new reference is kept) and begin an empty journal. */
enum mb_code mb_journal_create(struct mb_journal **journal, const char *spool, const char *id,
							   json_t *plan, struct mb_error *err) MB_MUST_CHECK;
/* To go on with one; MB_NOT_FOUND, MB_CORRUPT. */
enum mb_code mb_journal_open(struct mb_journal **journal, const char *spool, const char *id,
							 struct mb_error *err) MB_MUST_CHECK;
void mb_journal_close(struct mb_journal *journal); /* NULL does nothing */

/* Durable when it returns.  data (may be NULL) is borrowed. */
enum mb_code mb_journal_note(struct mb_journal *journal, const char *step, enum mb_step_state state,
							 const json_t *data, struct mb_error *err) MB_MUST_CHECK;
enum mb_step_state mb_journal_state(struct mb_journal *journal, const char *step);
/* What the step's last line has, borrowed; NULL when nothing. */
const json_t *mb_journal_data(struct mb_journal *journal, const char *step);
/* When a step was begun or done last, in microseconds; 0: never. */
int64_t mb_journal_time(struct mb_journal *journal, const char *step);

/* The state of the whole: "unfinished", "rolling back", "finished", "aborted", "rolled back", "forgotten". */
const char *mb_journal_status(struct mb_journal *journal);

/* A file in the journal's directory; free() it. */
char *mb_journal_path(const struct mb_journal *journal, const char *name);
enum mb_code mb_journal_write(struct mb_journal *journal, const char *name, const json_t *json,
							  struct mb_error *err) MB_MUST_CHECK;

/* Ids of all restores in a spool, oldest first; owned.  None is fine. */
struct mb_journal_ids
{
	char (*items)[MB_ID_TEXT];
	size_t count;
	size_t cap;
};
enum mb_code mb_journal_list(struct mb_journal_ids *ids, const char *spool,
							 struct mb_error *err) MB_MUST_CHECK;
void mb_journal_ids_release(struct mb_journal_ids *ids);
/* The one that is not finished; *id is empty when there is none. */
enum mb_code mb_journal_unfinished(char id[MB_ID_TEXT], const char *spool,
								   struct mb_error *err) MB_MUST_CHECK;
/* One by id or unique prefix; NULL: the newest. */
enum mb_code mb_journal_find(char id[MB_ID_TEXT], const char *spool, const char *which,
							 struct mb_error *err) MB_MUST_CHECK;

#endif
