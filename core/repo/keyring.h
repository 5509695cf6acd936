/*
 * keyring.h - the keys that open a repository: who has one, giving one away, taking one
 * back, and a new epoch.
 *
 * A *key* is one secret: a passphrase or a key file.  It is a slot (docs/format.md,
 * section 3) of the same id in every epoch, because a slot wraps the key of one epoch.
 *
 * What taking a key back can do: whoever has opened the repository with it may have kept the
 * epoch key, and a copy of the removed slot opens it still.  So a key that has leaked is
 * removed *and* the epoch rotated: then it opens nothing that is written from then on.
 *
 * Threads: as of struct mb_repo; nobody else may use it during mb_keyring_rotate.
 */
#ifndef MB_REPO_KEYRING_H
#define MB_REPO_KEYRING_H

#include "core/repo/repo.h"

#define MB_KEY_LABEL_MAX 64
#define MB_KEY_ID_TEXT 17

struct mb_keyring_key
{
	char id[MB_KEY_ID_TEXT];
	char label[MB_KEY_LABEL_MAX + 1];
	bool is_passphrase; /* else a key file */
	bool is_damaged;    /* some slot of it cannot be read */
	bool is_ours;       /* the secret that was given opens it */
	int64_t created_us; /* of its oldest slot; 0: not known */
	uint32_t first_epoch;
	uint32_t last_epoch;
	uint32_t slots; /* how many epochs it opens */
};

struct mb_keyring
{
	struct mb_keyring_key *items; /* by the time of their making */
	size_t count;
	size_t cap;
	uint32_t epochs; /* how many there are */
	uint32_t newest; /* the epoch of new blobs */
};

/* unlock: tells which keys are ours (one scrypt for each passphrase), or NULL. */
enum mb_code mb_keyring_read(const struct mb_repo *repo, const struct mb_unlock *unlock,
							 struct mb_keyring *ring, struct mb_error *err) MB_MUST_CHECK;
void mb_keyring_release(struct mb_keyring *ring);
/* The one whose id begins so, or whose label is that.  MB_NOT_FOUND; MB_CONFIG when several fit. */
enum mb_code mb_keyring_find(const struct mb_keyring *ring, const char *word, size_t *found,
							 struct mb_error *err) MB_MUST_CHECK;

/* A label is text of 1 to 64 bytes without control characters.  MB_CONFIG. */
enum mb_code mb_key_label_check(const char *label, struct mb_error *err) MB_MUST_CHECK;

/*
 * Give another secret a key: a slot in every epoch.  MB_DENIED when the key of some epoch is
 * not among ours.  Killed in the middle it opens some epochs; it is then no key that
 * opens the repository, and may be removed.
 */
enum mb_code mb_keyring_add(const struct mb_repo *repo, const struct mb_unlock *fresh,
							const char *label, char id[MB_KEY_ID_TEXT],
							struct mb_error *err) MB_MUST_CHECK;

/* Does the repository stay open to another undamaged key without this one?  MB_CONFLICT. */
enum mb_code mb_keyring_may_remove(const struct mb_keyring *ring, size_t key,
								   struct mb_error *err) MB_MUST_CHECK;
/*
 * Remove the slots of a key in one place of the repository (each copy has its own), the newest
 * epoch first, so that what is left after a kill opens nothing.  None is fine.
 */
enum mb_code mb_keyring_remove(struct mb_store *store, const char *id, size_t *removed,
							   struct mb_error *err) MB_MUST_CHECK;

/*
 * A new epoch: what is written from now on is under a new key, which only the secret that was
 * given opens, under the id of its key.  Every other key loses its way into the repository.
 */
enum mb_code mb_keyring_rotate(struct mb_repo *repo, const struct mb_unlock *unlock,
							   struct mb_error *err) MB_MUST_CHECK;

/* A passphrase for a sheet of paper: 8 groups of 5 letters and digits, about 200 bits. */
#define MB_PAPER_TEXT 48
void mb_keyring_paper(char out[MB_PAPER_TEXT]);

#endif
