/*
 * verified.h - what was read when, and found whole: documents verified/<id>.
 *
 * The record is the repository's, not a machine's: whoever verifies next, from wherever, goes on with
 * what was not read for the longest time.  A document holds the fingerprints (XXH3-128 of the name)
 * of blobs that were read, the time when that run began (by the store's clock, so that a blob is
 * never taken for younger than it is), and the names of blobs that were found damaged, with the moment
 * of that.  The newest statement about a blob counts, and of equal ones the bad one.  A blob that
 * nothing is said about was never read.
 *
 * A run writes one document for each 15 s of reading, and in the end one for all of it; documents of
 * which no statement counts any more are removed.  A kill loses 15 s of reading and nothing else.
 *
 * Threads: a struct mb_verified is read by any; notes may be taken by several.
 */
#ifndef MB_ENGINE_VERIFIED_H
#define MB_ENGINE_VERIFIED_H

#include "core/repo/repo.h"

struct mb_verified;

/* Everything that is known.  A document that is damaged is left out: what it said is read again. */
enum mb_code mb_verified_load(struct mb_verified **out, const struct mb_repo *repo,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_verified_free(struct mb_verified *verified); /* NULL does nothing */
/* When the run began that read this blob and found it whole; 0: never, or damaged since. */
int64_t mb_verified_time(const struct mb_verified *verified, const char *blob);
/*
 * The moment since which every blob was read, or stored; 0 when no run has come to its end yet.  What
 * is older than it has been read since.
 */
int64_t mb_verified_since(const struct mb_verified *verified);

/* -- the notes of one run ------------------------------------------------------------------------- */

struct mb_verified_notes;

struct mb_verified_notes *mb_verified_notes_new(const struct mb_repo *repo, int64_t started_us);
/* Drops what was not written. */
void mb_verified_notes_free(struct mb_verified_notes *notes);
/* Read and whole.  Writes a document now and then. */
enum mb_code mb_verified_note(struct mb_verified_notes *notes, const char *blob,
							  struct mb_error *err) MB_MUST_CHECK;
/* Damaged; written at once. */
enum mb_code mb_verified_note_damaged(struct mb_verified_notes *notes, const char *blob,
									  int64_t found_us, struct mb_error *err) MB_MUST_CHECK;
/* The run ends before its end: what was read is written. */
enum mb_code mb_verified_flush(struct mb_verified_notes *notes, struct mb_error *err) MB_MUST_CHECK;
/*
 * The run is over: one document for all of it, with `since_us` (0: not known), and away with those that
 * say nothing any more about the blobs that there are (sorted names).
 */
enum mb_code mb_verified_finish(struct mb_verified_notes *notes, const struct mb_verified *before,
								int64_t since_us, char *const *blobs, size_t count,
								struct mb_error *err) MB_MUST_CHECK;

#endif
