/*
 * repo_private.h - what repo.c, keyslot.c, epoch_keys.c and blob.c share, and what tests reach for.
 */
#ifndef MB_REPO_REPO_PRIVATE_H
#define MB_REPO_REPO_PRIVATE_H

#include "core/repo/keyring.h"

#define MB_HEADER_NAME "mbackup.json"
#define MB_HEADER_MAX_BYTES 4096
#define MB_KEY_FILE_MIN_BYTES 32

/* The fields of mbackup.json. */
struct mb_repo_header
{
	unsigned char id[MB_REPO_ID_BYTES];
	char id_text[37];
	int64_t created_us;
	enum mb_suite suite;
};

/* The canonical bytes of mbackup.json, appended to out. */
void mb_repo_header_encode(struct mb_buf *out, const struct mb_repo_header *header);
/* MB_CORRUPT unless they are exactly those of some header; MB_UNSUPPORTED for a newer format. */
enum mb_code mb_repo_header_decode(struct mb_repo_header *header, const void *data, size_t len,
								   struct mb_error *err) MB_MUST_CHECK;

/* The key of an epoch, MB_KEY_BYTES; NULL when it is not among ours. */
const unsigned char *mb_repo_epoch_key(const struct mb_repo *repo, uint32_t epoch);

/* The epoch keys of an open repository. */
struct mb_keys *mb_keys_new(void);
void mb_keys_free(struct mb_keys *keys); /* wipes them; NULL does nothing */
void mb_keys_add(struct mb_keys *keys, uint32_t epoch, const unsigned char key[MB_KEY_BYTES]);
/* Open a slot of every epoch with what was given; sets repo->epoch.  Codes of mb_repo_open. */
enum mb_code mb_keys_open(struct mb_repo *repo, const struct mb_unlock *unlock,
						  struct mb_error *err) MB_MUST_CHECK;
/* Is every slot undamaged?  Needs no key. */
enum mb_code mb_keys_check_slots(const struct mb_repo *repo, struct mb_error *err) MB_MUST_CHECK;

/*
 * Write a slot that wraps an epoch key: scrypt with this n for a passphrase, HKDF for a
 * key file.  mb_repo_create uses MB_SCRYPT_N.
 */
#define MB_SCRYPT_N ((uint64_t) 1 << 17)
#define MB_SCRYPT_R 8
#define MB_SCRYPT_P 1
enum mb_code mb_repo_add_slot(const struct mb_repo *repo, uint32_t epoch,
							  const unsigned char key[MB_KEY_BYTES], const struct mb_unlock *unlock,
							  uint64_t scrypt_n, struct mb_error *err) MB_MUST_CHECK;

/* -- key slots: keys/<epoch>/<id> ----------------------------------------------------------- */

#define MB_SLOT_ID_DIGITS 16
#define MB_SLOT_SALT_BYTES 32

struct mb_slot
{
	bool is_scrypt; /* else a key file */
	uint64_t n;
	uint32_t r;
	uint32_t p;
	unsigned char salt[MB_SLOT_SALT_BYTES];
	unsigned char wrapped[MB_KEY_BYTES + MB_TAG_BYTES];
	unsigned char commitment[MB_KEY_BYTES];
	char label[MB_KEY_LABEL_MAX + 1]; /* "" : none */
	int64_t created_us;               /* 0: not known */
};

struct mb_slot_name
{
	uint32_t epoch;
	char id[MB_SLOT_ID_DIGITS + 1];
};

struct mb_slot_names
{
	struct mb_slot_name *items; /* the newest epoch first */
	size_t count;
	size_t cap;
};

void mb_slot_blob_name(char out[MB_NAME_MAX], const struct mb_slot_name *name);
/* Is it the name of a slot, and which? */
bool mb_slot_name_parse(struct mb_slot_name *out, const char *name);
void mb_slot_id_new(char id[MB_SLOT_ID_DIGITS + 1]);
/* free() the items.  MB_CORRUPT when there is none. */
enum mb_code mb_slots_list(struct mb_store *store, struct mb_slot_names *names,
						   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_slot_read(const struct mb_repo *repo, const struct mb_slot_name *name,
						  struct mb_slot *slot, struct mb_error *err) MB_MUST_CHECK;
/* MB_DENIED when the slot does not open with what was given. */
enum mb_code mb_slot_open(const struct mb_repo *repo, const struct mb_slot_name *name,
						  const struct mb_slot *slot, const struct mb_unlock *unlock,
						  unsigned char key[MB_KEY_BYTES], struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_slot_put(const struct mb_repo *repo, const struct mb_slot_name *name,
						 const char *label, const unsigned char key[MB_KEY_BYTES],
						 const struct mb_unlock *unlock, uint64_t scrypt_n,
						 struct mb_error *err) MB_MUST_CHECK;

#endif
