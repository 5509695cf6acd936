/* keyring.c - see keyring.h. */
#include "core/repo/keyring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/repo_private.h"

#define PAPER_GROUPS 8
#define PAPER_GROUP 5

/* -- who has one ---------------------------------------------------------------------------- */

static struct mb_keyring_key *
key_of(struct mb_keyring *ring, const char *id)
{
	struct mb_keyring_key *key;
	size_t i;

	for (i = 0; i < ring->count; i++)
		if (strcmp(ring->items[i].id, id) == 0)
			return &ring->items[i];
	ring->items = mb_grow(ring->items, &ring->cap, ring->count + 1, sizeof(*ring->items));
	key = &ring->items[ring->count++];
	*key = (struct mb_keyring_key){.first_epoch = UINT32_MAX};
	snprintf(key->id, sizeof(key->id), "%s", id);
	return key;
}

/* Does the secret open it?  Only the newest epoch is asked: each answer costs a scrypt. */
static enum mb_code
try_slot(const struct mb_repo *repo, const struct mb_slot_name *name, const struct mb_slot *slot,
		 const struct mb_unlock *unlock, bool *opens, struct mb_error *err)
{
	unsigned char key[MB_KEY_BYTES];
	struct mb_error why;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_slot_open(repo, name, slot, unlock, key, &why);
	mb_wipe(key, sizeof(key));
	*opens = code == MB_OK;
	if (code == MB_OK || code == MB_DENIED || code == MB_CORRUPT)
		return MB_OK;
	*err = why;
	return code;
}

static enum mb_code
take_slot(struct mb_keyring *ring, const struct mb_repo *repo, const struct mb_slot_name *name,
		  const struct mb_unlock *unlock, struct mb_error *err)
{
	struct mb_keyring_key *key = key_of(ring, name->id);
	struct mb_error why;
	struct mb_slot slot;
	enum mb_code code;

	mb_error_clear(&why);
	code = mb_slot_read(repo, name, &slot, &why);
	if (code == MB_CORRUPT || code == MB_UNSUPPORTED)
	{
		key->is_damaged = true;
		return MB_OK;
	}
	if (code)
	{
		*err = why;
		return code;
	}
	key->slots++;
	key->is_passphrase = slot.is_scrypt;
	snprintf(key->label, sizeof(key->label), "%s", slot.label);
	if (key->created_us == 0 || (slot.created_us && slot.created_us < key->created_us))
		key->created_us = slot.created_us;
	if (name->epoch < key->first_epoch)
		key->first_epoch = name->epoch;
	if (name->epoch > key->last_epoch)
		key->last_epoch = name->epoch;
	if (name->epoch == ring->newest && unlock)
		return try_slot(repo, name, &slot, unlock, &key->is_ours, err);
	return MB_OK;
}

static int
compare_keys(const void *a, const void *b)
{
	const struct mb_keyring_key *x = a, *y = b;

	if (x->created_us != y->created_us)
		return x->created_us < y->created_us ? -1 : 1;
	return strcmp(x->id, y->id);
}

enum mb_code
mb_keyring_read(const struct mb_repo *repo, const struct mb_unlock *unlock, struct mb_keyring *ring,
				struct mb_error *err)
{
	struct mb_slot_names names = {0};
	struct mb_keyring made = {0};
	enum mb_code code = mb_slots_list(repo->store, &names, err);
	size_t i;

	made.newest = names.count > 0 ? names.items[0].epoch : 0;
	for (i = 0; !code && i < names.count; i++)
	{
		made.epochs += i == 0 || names.items[i].epoch != names.items[i - 1].epoch;
		code = take_slot(&made, repo, &names.items[i], unlock, err);
	}
	free(names.items);
	if (code)
		mb_keyring_release(&made);
	else
		qsort(made.items, made.count, sizeof(*made.items), compare_keys);
	*ring = made;
	return code;
}

void
mb_keyring_release(struct mb_keyring *ring)
{
	free(ring->items);
	memset(ring, 0, sizeof(*ring));
}

enum mb_code
mb_keyring_find(const struct mb_keyring *ring, const char *word, size_t *found,
				struct mb_error *err)
{
	size_t fits = 0, i;

	for (i = 0; i < ring->count; i++)
		if (*word &&
			(mb_starts_with(ring->items[i].id, word) || strcmp(ring->items[i].label, word) == 0))
		{
			*found = i;
			fits++;
		}
	if (fits == 1)
		return MB_OK;
	if (fits == 0)
		mb_fail(err, MB_NOT_FOUND, "there is no key \"%s\"", word);
	else
		mb_fail(err, MB_CONFIG, "\"%s\" is the beginning of %zu keys", word, fits);
	return mb_error_hint(err, "\"mbackup key list\" shows the ids and labels.");
}

enum mb_code
mb_key_label_check(const char *label, struct mb_error *err)
{
	size_t len = strlen(label), i;
	bool good = len > 0 && len <= MB_KEY_LABEL_MAX;

	for (i = 0; good && i < len; i++)
		good = (unsigned char) label[i] >= 0x20 && label[i] != 0x7f;
	if (good)
		return MB_OK;
	mb_fail(err, MB_CONFIG, "this label of a key is not possible");
	return mb_error_hint(err, "Write 1 to %d characters, such as the name of who has it.",
						 MB_KEY_LABEL_MAX);
}

/* -- giving one away ------------------------------------------------------------------------ */

enum mb_code
mb_keyring_add(const struct mb_repo *repo, const struct mb_unlock *fresh, const char *label,
			   char id[MB_KEY_ID_TEXT], struct mb_error *err)
{
	struct mb_slot_names names = {0};
	enum mb_code code = mb_slots_list(repo->store, &names, err);
	struct mb_slot_name made = {0};
	size_t i;

	for (i = 0; !code && i < names.count; i++)
		if (!mb_repo_epoch_key(repo, names.items[i].epoch))
		{
			code = mb_fail(err, MB_DENIED, "the key in use does not open epoch %u",
						   names.items[i].epoch);
			mb_error_hint(err, "Add keys with one that opens everything: \"mbackup key list\".");
		}
	mb_slot_id_new(made.id);
	/* The oldest epoch first: with the newest one in place it opens the repository. */
	for (i = names.count; !code && i-- > 0;)
	{
		if (i + 1 < names.count && names.items[i].epoch == names.items[i + 1].epoch)
			continue;
		made.epoch = names.items[i].epoch;
		code = mb_slot_put(repo, &made, label, mb_repo_epoch_key(repo, made.epoch), fresh,
						   MB_SCRYPT_N, err);
	}
	free(names.items);
	if (!code)
		memcpy(id, made.id, MB_KEY_ID_TEXT);
	return code;
}

void
mb_keyring_paper(char out[MB_PAPER_TEXT])
{
	/* Without I, L, O and U: what is read from paper is not mistaken (Crockford's base 32). */
	static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	unsigned char random[PAPER_GROUPS * PAPER_GROUP];
	size_t n = 0, i;

	mb_random(random, sizeof(random));
	for (i = 0; i < sizeof(random); i++)
	{
		if (i > 0 && i % PAPER_GROUP == 0)
			out[n++] = '-';
		out[n++] = letters[random[i] % 32];
	}
	out[n] = '\0';
	mb_wipe(random, sizeof(random));
	_Static_assert(PAPER_GROUPS * (PAPER_GROUP + 1) <= MB_PAPER_TEXT, "it must fit");
}

/* -- taking one back ------------------------------------------------------------------------ */

enum mb_code
mb_keyring_may_remove(const struct mb_keyring *ring, size_t key, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < ring->count; i++)
	{
		const struct mb_keyring_key *other = &ring->items[i];

		if (i != key && !other->is_damaged && other->slots == ring->epochs)
			return MB_OK;
	}
	mb_fail(err, MB_CONFLICT, "without key %s nothing would open all of the repository, ever again",
			ring->items[key].id);
	return mb_error_hint(err, "Add another key first: mbackup key add.");
}

enum mb_code
mb_keyring_remove(struct mb_store *store, const char *id, size_t *removed, struct mb_error *err)
{
	struct mb_slot_names names = {0};
	enum mb_code code = mb_slots_list(store, &names, err);
	size_t i;

	*removed = 0;
	for (i = 0; !code && i < names.count; i++)
	{
		char blob_name[MB_NAME_MAX];
		const char *one = blob_name;

		if (strcmp(names.items[i].id, id) != 0)
			continue;
		mb_slot_blob_name(blob_name, &names.items[i]);
		code = mb_store_remove(store, &one, 1, err);
		*removed += !code;
	}
	free(names.items);
	return code;
}

/* -- a new epoch ---------------------------------------------------------------------------- */

/* The id of the key that the secret is, so that it stays one key over the epochs. */
static enum mb_code
own_id(const struct mb_repo *repo, const struct mb_unlock *unlock, struct mb_slot_name *name,
	   char label[MB_KEY_LABEL_MAX + 1], struct mb_error *err)
{
	struct mb_keyring ring;
	enum mb_code code = mb_keyring_read(repo, unlock, &ring, err);
	size_t i;

	if (code)
		return code;
	code = mb_fail(err, MB_DENIED, "the secret in use opens no key of the newest epoch");
	for (i = 0; i < ring.count; i++)
		if (ring.items[i].is_ours)
		{
			memcpy(name->id, ring.items[i].id, sizeof(name->id));
			memcpy(label, ring.items[i].label, MB_KEY_LABEL_MAX + 1);
			mb_error_clear(err);
			code = MB_OK;
			break;
		}
	mb_keyring_release(&ring);
	return code;
}

/* Two at once would wrap two different keys as one epoch: then neither has begun it. */
static enum mb_code
check_alone(const struct mb_repo *repo, const struct mb_slot_name *made, struct mb_error *err)
{
	struct mb_slot_names names = {0};
	enum mb_code code = mb_slots_list(repo->store, &names, err);
	size_t i;

	for (i = 0; !code && i < names.count; i++)
		if (names.items[i].epoch == made->epoch && strcmp(names.items[i].id, made->id) != 0)
			code = mb_fail(err, MB_CONFLICT, "somebody else is rotating the key too");
	free(names.items);
	if (code == MB_CONFLICT)
	{
		char blob_name[MB_NAME_MAX];
		const char *one = blob_name;
		struct mb_error why = {0};

		mb_slot_blob_name(blob_name, made);
		if (mb_store_remove(repo->store, &one, 1, &why))
			mb_error_detail(err, "Its slot could not be taken back: %.900s", why.message);
		mb_error_hint(err, "Try again when the other one is done.");
	}
	return code;
}

enum mb_code
mb_keyring_rotate(struct mb_repo *repo, const struct mb_unlock *unlock, struct mb_error *err)
{
	struct mb_slot_name name = {.epoch = repo->epoch + 1};
	char label[MB_KEY_LABEL_MAX + 1];
	unsigned char key[MB_KEY_BYTES];
	enum mb_code code = own_id(repo, unlock, &name, label, err);

	if (code)
		return code;
	mb_random(key, sizeof(key));
	code = mb_slot_put(repo, &name, label, key, unlock, MB_SCRYPT_N, err);
	if (code == MB_EXISTS)
		code = mb_fail(err, MB_CONFLICT, "somebody else has just begun epoch %u", name.epoch);
	if (!code)
		code = check_alone(repo, &name, err);
	if (!code)
	{
		mb_keys_add(repo->keys, name.epoch, key);
		repo->epoch = name.epoch;
	}
	mb_wipe(key, sizeof(key));
	return code;
}
