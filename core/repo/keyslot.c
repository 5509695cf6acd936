/* keyslot.c - the slots that wrap epoch keys: keys/<epoch>/<slot id> (see repo_private.h). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/repo_private.h"

#define KEYS_PREFIX "keys/"
#define SLOT_MAX_COUNT 4096
#define SLOT_AD_TEXT "mbackup slot"
#define COMMITMENT_TEXT "mbackup key commitment"
#define KEY_FILE_TEXT "mbackup key file"

/* -- slots ------------------------------------------------------------------------------- */

void
mb_slot_blob_name(char out[MB_NAME_MAX], const struct mb_slot_name *name)
{
	snprintf(out, MB_NAME_MAX, KEYS_PREFIX "%08u/%s", name->epoch, name->id);
}

static void
put_text_nul(struct mb_buf *out, const char *text)
{
	mb_buf_put(out, text, strlen(text) + 1);
}

static void
slot_ad(struct mb_buf *out, const struct mb_repo *repo, const struct mb_slot_name *name)
{
	put_text_nul(out, SLOT_AD_TEXT);
	mb_buf_put(out, repo->id, MB_REPO_ID_BYTES);
	mb_buf_put_u32(out, name->epoch);
	mb_buf_put_str(out, name->id);
}

/* AES-GCM alone would let one wrapped key open to two; this pins it. */
static void
key_commitment(unsigned char out[MB_KEY_BYTES], const struct mb_repo *repo, uint32_t epoch,
			   const unsigned char key[MB_KEY_BYTES])
{
	struct mb_buf info = {0};

	put_text_nul(&info, COMMITMENT_TEXT);
	mb_buf_put_u32(&info, epoch);
	mb_hkdf(out, key, MB_KEY_BYTES, repo->id, MB_REPO_ID_BYTES, info.data, info.len);
	mb_buf_release(&info);
}

/* The key that wraps: from the passphrase or the key file, with the slot's own salt. */
static enum mb_code
slot_kek(unsigned char kek[MB_KEY_BYTES], const struct mb_slot *slot,
		 const struct mb_unlock *unlock, struct mb_error *err)
{
	if (slot->is_scrypt)
		return mb_scrypt(kek, unlock->passphrase.data, unlock->passphrase.len, slot->salt,
						 sizeof(slot->salt), slot->n, slot->r, slot->p, err);
	mb_hkdf(kek, unlock->key_file.data, unlock->key_file.len, slot->salt, sizeof(slot->salt),
			KEY_FILE_TEXT, strlen(KEY_FILE_TEXT));
	return MB_OK;
}

static void
set_hex(json_t *json, const char *key, const unsigned char *data, size_t len)
{
	char hex[2 * 64 + 1];

	MB_ASSERT(len <= 64);
	mb_hex(hex, data, len);
	mb_json_set_str(json, key, hex);
}

static json_t *
slot_to_json(const struct mb_slot *slot)
{
	json_t *json = json_object();

	mb_json_set_str(json, "kdf", slot->is_scrypt ? "scrypt" : "raw");
	if (slot->is_scrypt)
	{
		mb_json_set_int(json, "n", (int64_t) slot->n);
		mb_json_set_int(json, "r", slot->r);
		mb_json_set_int(json, "p", slot->p);
	}
	set_hex(json, "salt", slot->salt, sizeof(slot->salt));
	set_hex(json, "wrapped", slot->wrapped, sizeof(slot->wrapped));
	set_hex(json, "commitment", slot->commitment, sizeof(slot->commitment));
	if (slot->label[0])
		mb_json_set_str(json, "label", slot->label);
	if (slot->created_us)
		mb_json_set_time(json, "created", slot->created_us);
	return json;
}

static bool
get_hex(const json_t *json, const char *key, unsigned char *out, size_t len)
{
	const char *hex = mb_json_str(json, key, "");

	return strlen(hex) == 2 * len && mb_unhex(out, hex, len);
}

static enum mb_code
slot_from_json(struct mb_slot *slot, const json_t *json, const char *name, struct mb_error *err)
{
	const char *kdf = mb_json_str(json, "kdf", "");
	int64_t n = mb_json_int(json, "n", 0);
	int64_t r = mb_json_int(json, "r", 0);
	int64_t p = mb_json_int(json, "p", 0);

	memset(slot, 0, sizeof(*slot));
	slot->is_scrypt = strcmp(kdf, "scrypt") == 0;
	if (!slot->is_scrypt && strcmp(kdf, "raw") != 0)
		return mb_fail(err, MB_UNSUPPORTED, "key slot \"%s\" uses an unknown derivation", name);
	if (!get_hex(json, "salt", slot->salt, sizeof(slot->salt)) ||
		!get_hex(json, "wrapped", slot->wrapped, sizeof(slot->wrapped)) ||
		!get_hex(json, "commitment", slot->commitment, sizeof(slot->commitment)) ||
		(slot->is_scrypt && (n <= 0 || r <= 0 || r > UINT32_MAX || p <= 0 || p > UINT32_MAX)))
		return mb_fail(err, MB_CORRUPT, "key slot \"%s\" is damaged", name);
	snprintf(slot->label, sizeof(slot->label), "%s", mb_json_str(json, "label", ""));
	slot->created_us = mb_json_time(json, "created");
	slot->n = (uint64_t) n;
	slot->r = (uint32_t) r;
	slot->p = (uint32_t) p;
	return MB_OK;
}

void
mb_slot_id_new(char id[MB_SLOT_ID_DIGITS + 1])
{
	unsigned char random[MB_SLOT_ID_DIGITS / 2];

	mb_random(random, sizeof(random));
	mb_hex(id, random, sizeof(random));
}

enum mb_code
mb_slot_put(const struct mb_repo *repo, const struct mb_slot_name *name, const char *label,
			const unsigned char key[MB_KEY_BYTES], const struct mb_unlock *unlock,
			uint64_t scrypt_n, struct mb_error *err)
{
	struct mb_slot slot = {.is_scrypt = unlock->passphrase.len > 0,
						   .n = scrypt_n,
						   .r = MB_SCRYPT_R,
						   .p = MB_SCRYPT_P};
	unsigned char kek[MB_KEY_BYTES];
	char blob_name[MB_NAME_MAX];
	struct mb_buf ad = {0};
	struct mb_aead *aead;
	enum mb_code code = mb_store_clock(repo->store, &slot.created_us, err);
	json_t *json;

	if (code)
		return code;
	snprintf(slot.label, sizeof(slot.label), "%s", label);
	mb_random(slot.salt, sizeof(slot.salt));
	code = slot_kek(kek, &slot, unlock, err);
	if (code)
		return code;
	slot_ad(&ad, repo, name);
	aead = mb_aead_new(kek);
	mb_wipe(kek, sizeof(kek));
	mb_aead_seal(aead, 0, ad.data, ad.len, key, MB_KEY_BYTES, slot.wrapped,
				 slot.wrapped + MB_KEY_BYTES);
	mb_aead_free(aead);
	mb_buf_release(&ad);
	key_commitment(slot.commitment, repo, name->epoch, key);
	json = slot_to_json(&slot);
	mb_slot_blob_name(blob_name, name);
	code = mb_doc_put(repo, MB_ROLE_KEY, blob_name, json, err);
	json_decref(json);
	return code;
}

enum mb_code
mb_repo_add_slot(const struct mb_repo *repo, uint32_t epoch, const unsigned char key[MB_KEY_BYTES],
				 const struct mb_unlock *unlock, uint64_t scrypt_n, struct mb_error *err)
{
	struct mb_slot_name name = {.epoch = epoch};

	mb_slot_id_new(name.id);
	return mb_slot_put(repo, &name, "", key, unlock, scrypt_n, err);
}

bool
mb_slot_name_parse(struct mb_slot_name *out, const char *name)
{
	unsigned char id[MB_SLOT_ID_DIGITS / 2];
	char again[MB_NAME_MAX];
	const char *p = name + strlen(KEYS_PREFIX);
	char *end;
	unsigned long epoch;

	if (!mb_starts_with(name, KEYS_PREFIX) || !isdigit((unsigned char) *p))
		return false;
	epoch = strtoul(p, &end, 10);
	if (epoch == 0 || epoch > 99999999 || *end != '/' || strlen(end + 1) != MB_SLOT_ID_DIGITS ||
		!mb_unhex(id, end + 1, sizeof(id)))
		return false;
	out->epoch = (uint32_t) epoch;
	memcpy(out->id, end + 1, MB_SLOT_ID_DIGITS + 1);
	mb_slot_blob_name(again, out);
	return strcmp(again, name) == 0;
}

static enum mb_code
add_slot_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct mb_slot_names *names = ctx;
	struct mb_slot_name name;

	/* A blob of another name is not a slot; nothing that we need depends on it. */
	if (!mb_slot_name_parse(&name, info->name))
		return MB_OK;
	if (names->count == SLOT_MAX_COUNT)
		return mb_fail(err, MB_CORRUPT, "the repository has more than %d key slots",
					   SLOT_MAX_COUNT);
	names->items = mb_grow(names->items, &names->cap, names->count + 1, sizeof(names->items[0]));
	names->items[names->count++] = name;
	return MB_OK;
}

static int
compare_slots(const void *a, const void *b)
{
	const struct mb_slot_name *x = a;
	const struct mb_slot_name *y = b;

	if (x->epoch != y->epoch)
		return x->epoch > y->epoch ? -1 : 1; /* the newest first */
	return strcmp(x->id, y->id);
}

enum mb_code
mb_slots_list(struct mb_store *store, struct mb_slot_names *names, struct mb_error *err)
{
	enum mb_code code = mb_store_list(store, KEYS_PREFIX, add_slot_name, names, err);

	if (code)
		return code;
	if (names->count == 0)
		return mb_fail(err, MB_CORRUPT, "the repository is encrypted but has no key slot");
	qsort(names->items, names->count, sizeof(names->items[0]), compare_slots);
	return MB_OK;
}

enum mb_code
mb_slot_read(const struct mb_repo *repo, const struct mb_slot_name *name, struct mb_slot *slot,
			 struct mb_error *err)
{
	char blob_name[MB_NAME_MAX];
	json_t *json = NULL;
	enum mb_code code;

	mb_slot_blob_name(blob_name, name);
	code = mb_doc_get(repo, MB_ROLE_KEY, blob_name, &json, err);
	/* One flipped bit makes any version a later one, and no key proves which it is. */
	if (code == MB_UNSUPPORTED)
		code = mb_fail(err, MB_CORRUPT, "key slot \"%s\" is damaged, or of a later mbackup",
					   blob_name);
	if (!code)
		code = slot_from_json(slot, json, blob_name, err);
	json_decref(json);
	return code;
}

enum mb_code
mb_slot_open(const struct mb_repo *repo, const struct mb_slot_name *name,
			 const struct mb_slot *slot, const struct mb_unlock *unlock,
			 unsigned char key[MB_KEY_BYTES], struct mb_error *err)
{
	unsigned char commitment[MB_KEY_BYTES];
	unsigned char kek[MB_KEY_BYTES];
	struct mb_buf ad = {0};
	struct mb_aead *aead;
	enum mb_code code;

	if (slot->is_scrypt != (unlock->passphrase.len > 0))
		return mb_fail(err, MB_DENIED, "the key slot is of the other kind");
	code = slot_kek(kek, slot, unlock, err);
	if (code)
		return code;
	aead = mb_aead_new(kek);
	mb_wipe(kek, sizeof(kek));
	slot_ad(&ad, repo, name);
	code = mb_aead_open(aead, 0, ad.data, ad.len, slot->wrapped, MB_KEY_BYTES, key,
						slot->wrapped + MB_KEY_BYTES, err);
	mb_aead_free(aead);
	mb_buf_release(&ad);
	if (code)
		return mb_fail(err, MB_DENIED, "the key slot does not open");
	key_commitment(commitment, repo, name->epoch, key);
	if (memcmp(commitment, slot->commitment, sizeof(commitment)) != 0)
	{
		mb_wipe(key, MB_KEY_BYTES);
		return mb_fail(err, MB_CORRUPT, "key slot \"%s\" of epoch %u is damaged", name->id,
					   name->epoch);
	}
	return MB_OK;
}
