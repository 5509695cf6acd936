/*
 * verify_private.h - what the files of mb_verify_run share: verify.c (what there is, the problems, the
 * answer), verify_commits.c (commits, manifests, references), verify_marks.c, verify_data.c (reading).
 */
#ifndef MB_ENGINE_VERIFY_PRIVATE_H
#define MB_ENGINE_VERIFY_PRIVATE_H

#include <pthread.h>

#include "core/engine/docs.h"
#include "core/engine/verified.h"

/* A commit under verification. */
struct mb_verify_subject
{
	struct mb_commit commit; /* kind "" when it is damaged: only its name is known */
	bool chosen;
};

/* A pack or a piece of a stream. */
struct mb_verify_blob
{
	char *name;
	uint64_t bytes;      /* stored; 0 when not listed */
	int64_t modified_us; /* stored when */
	int64_t read_us;     /* last read and whole; 0: never */
};

struct mb_verify
{
	const struct mb_stack *stack;
	const struct mb_repo *repo;
	const struct mb_verify_options *options;
	struct mb_verify_subject *subjects;
	size_t subject_count;
	json_t *sets;
	json_t *marks;
	struct mb_pack_id *packs; /* every pack in the store, sorted */
	size_t pack_count;
	size_t pack_cap;
	struct mb_verify_blob *blobs; /* all of them, in the order of names until they are to be read */
	size_t blob_count;
	size_t blob_cap;
	int64_t started_us;           /* by the store's clock; 0: nothing is noted */
	struct mb_verified *verified; /* of former runs */
	struct mb_verified_notes *notes;
	struct mb_pack_reader **readers;
	int64_t deadline_ms; /* of the budget, monotonic; 0: none */
	atomic_bool is_spent;
	atomic_uint_fast64_t begun_bytes; /* stored bytes of the blobs that were begun */
	size_t due;                       /* blobs that were to be read */
	pthread_mutex_t lock;             /* guards the members below */
	json_t *problems;
	uint64_t read;
	uint64_t left; /* due, and not begun because the budget was spent */
	uint64_t frames;
	uint64_t bytes;
	uint64_t stored_bytes;
	bool cannot_note;
	int64_t since_us; /* everything was read or stored since; 0: not known */
	struct mb_progress *progress;
};

/* -- verify.c ------------------------------------------------------------------------------------- */

typedef bool (*mb_verify_concerns_fn)(const struct mb_commit *commit, const void *what);

/* Add a problem of the backups that it concerns (fn NULL: none). */
void mb_verify_problem(struct mb_verify *verify, const char *kind, const char *where,
					   const char *message, mb_verify_concerns_fn concerns, const void *what);
/* Concerns the commit that is pointed at. */
bool mb_verify_is_commit(const struct mb_commit *commit, const void *what);
/* Concerns all that refer to a struct mb_pack_id. */
bool mb_verify_refers_to_pack(const struct mb_commit *commit, const void *what);
/* In verify->packs; NULL: there is none. */
const struct mb_pack_id *mb_verify_find_pack(const struct mb_verify *verify,
											 const struct mb_pack_id *pack);

/* -- verify_commits.c ----------------------------------------------------------------------------- */

enum mb_code mb_verify_load_subjects(struct mb_verify *verify, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_verify_choose_subjects(struct mb_verify *verify,
									   struct mb_error *err) MB_MUST_CHECK;
/* Sets and marks lead to commits; the chosen commits to blocks, packs and streams. */
enum mb_code mb_verify_commits(struct mb_verify *verify, struct mb_error *err) MB_MUST_CHECK;

/* An expire beside us removes documents first, then commits: is the document still there? */
bool mb_verify_is_still_there(const struct mb_verify *verify, const char *folder, const json_t *doc,
							  const char *component);

/* -- verify_marks.c ------------------------------------------------------------------------------- */

/* A pin that is in force (name, and what it says) has something to keep: a problem when it has not. */
enum mb_code mb_verify_pin(struct mb_verify *verify, const char *name, const json_t *pin,
						   struct mb_error *err) MB_MUST_CHECK;
/* Every mark says what its moment is. */
void mb_verify_mark_cuts(struct mb_verify *verify);
/* The marks that start from this commit can be reached from it: a problem for each that cannot. */
enum mb_code mb_verify_marks(struct mb_verify *verify, struct mb_component *component,
							 const struct mb_commit *commit, struct mb_error *err) MB_MUST_CHECK;

/* -- verify_data.c -------------------------------------------------------------------------------- */

/* Read what is to be read, and note it. */
enum mb_code mb_verify_data(struct mb_verify *verify, struct mb_error *err) MB_MUST_CHECK;

#endif
