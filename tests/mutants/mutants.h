/*
 * mutants.h - what becomes of a repository that somebody has changed: the program tests/mutants/mutants takes the
 * bytes of one, changes one thing, and asks mbackup (in this process, by the functions behind "mbackup verify" and
 * "mbackup restore") what it says.  tests/integration/432_mutants.t makes the repositories and says how many.
 *
 *     image.c      a repository as bytes in memory, with a store over them
 *     judge.c      open, verify, restore; is what came out what the undamaged repository gives?
 *     frames.c     blobs taken apart and put together again, with and without tags that fit
 *     bytes.c      mutants of the bytes and the names
 *     documents.c  mutants of what stands in the blobs, sealed again as an attacker can or cannot
 *     disk.c       mutants of the files of a directory: links, devices of the path, types
 *
 * One thread.  All randomness comes from one seed.
 */
#ifndef MB_TESTS_MUTANTS_H
#define MB_TESTS_MUTANTS_H

#include "core/engine/stack.h"
#include "core/repo/repo_private.h"

/* -- image.c ---------------------------------------------------------------------------------- */

struct mutant_blob
{
	const char *name;
	const unsigned char *data;
	size_t len;
};

/* Blobs by name.  A copy is shallow: names and bytes live in an arena, or in the original. */
struct mutant_image
{
	struct mutant_blob *items;
	size_t count;
	size_t cap;
};

/* Everything below a directory; exits on failure. */
void image_load(struct mutant_image *image, struct mb_arena *arena, const char *directory);
void image_copy(struct mutant_image *image, const struct mutant_image *from);
void image_release(struct mutant_image *image);
/* NULL: there is none. */
struct mutant_blob *image_find(const struct mutant_image *image, const char *name);
/* Add or replace; borrowed. */
void image_put(struct mutant_image *image, const char *name, const void *data, size_t len);
void image_remove(struct mutant_image *image, const char *name);
/* A store that can be read and not written, over an image that outlives it. */
struct mb_store *image_store_new(const struct mutant_image *image);

/* -- judge.c ---------------------------------------------------------------------------------- */

enum mutant_outcome
{
	MUTANT_FOUND, /* verify or opening found it, and no restore gave anything else than the truth */
	MUTANT_REFUSED, /* verify did not, but every restore that it concerns refused, or warned of it */
	MUTANT_HARMLESS, /* every restore gives the truth, and nothing is said */
	MUTANT_BELIEVED, /* a restore succeeded, and what it gave is something else */
	MUTANT_OUTSIDE,  /* something was written outside of the destination */
	MUTANT_OUTCOMES
};

struct mutant_judge
{
	struct mb_unlock unlock;
	struct mb_repo *repo; /* over the undamaged image */
	enum mb_suite suite;
	char *scratch;      /* a directory of our own */
	json_t *moments;    /* what can be restored: {"backup": id} or {"mark": name} */
	json_t *truth;      /* for each moment the hash of the tree that comes out */
	json_t *warnings;   /* ... and what is said about it */
	char detail[1024];  /* what the last one said */
	unsigned restores;  /* made so far */
	bool skip_restores; /* of the next one: verify alone */
};

/* Restores the undamaged image to know the truth; exits when that fails or is not the same twice. */
void judge_open(struct mutant_judge *judge, const struct mutant_image *image, const char *key_file,
				const char *scratch);
void judge_close(struct mutant_judge *judge);
enum mutant_outcome judge_image(struct mutant_judge *judge, const struct mutant_image *image);
/* The same of a directory. */
enum mutant_outcome judge_directory(struct mutant_judge *judge, const char *directory);

/* -- frames.c --------------------------------------------------------------------------------- */

enum mb_role mutant_role(const char *name);
/* Where each frame begins, and the end of the last: count + 1 offsets.  0 when it is no blob of frames. */
#define MUTANT_MAX_FRAMES 4096
size_t frames_find(const struct mutant_blob *blob, size_t offsets[MUTANT_MAX_FRAMES + 1]);
/* The plain bytes of all data frames, each in `plain`; false when it cannot be read. */
struct mutant_plain
{
	struct mb_buf frames[MUTANT_MAX_FRAMES];
	size_t count;
};
bool frames_open(const struct mb_repo *repo, const struct mutant_blob *blob,
				 struct mutant_plain *plain);
void frames_release(struct mutant_plain *plain);
/* Put together and sealed with the key of the repository; of a pack with an index that fits. */
void frames_seal(const struct mb_repo *repo, const char *name, const struct mutant_plain *plain,
				 struct mb_buf *out);
/* Make the checksums of an unencrypted blob (or key slot, or mbackup.json) fit what it holds now. */
void frames_fix(const struct mb_repo *repo, const char *name, struct mb_buf *blob);

/* -- mutants: each changes one thing in a copy ------------------------------------------------- */

struct mutant
{
	const struct mutant_judge *judge;
	struct mutant_image *image; /* a copy, to be changed */
	struct mb_arena arena;      /* of its new names and bytes */
	uint64_t random;            /* state */
	bool fix;                   /* make checksums fit, where no key is needed for that */
	bool is_sealed; /* out: sealed with the key, so nothing can tell it from the truth */
	char what[512]; /* out: for people */
};

uint64_t mutant_random(struct mutant *mutant, uint64_t below);
const struct mutant_blob *mutant_victim(struct mutant *mutant);
/* False: not possible with this victim; try again. */
bool mutate_bytes(struct mutant *mutant);
bool mutate_names(struct mutant *mutant);
bool mutate_document(struct mutant *mutant);
/* Into a directory that holds the image; returns false when the victim is of no use. */
bool mutate_disk(struct mutant *mutant, const char *directory, const char *outside);

#endif
