/* epoch_keys.c - the epoch keys of an open repository, out of its key slots (see repo_private.h). */
#include <stdlib.h>
#include <string.h>

#include "core/repo/repo_private.h"

struct mb_epoch_key
{
	uint32_t epoch;
	struct mb_secret key;
};

struct mb_keys
{
	struct mb_epoch_key *items; /* sorted by epoch, descending */
	size_t count;
	size_t cap;
};

const unsigned char *
mb_repo_epoch_key(const struct mb_repo *repo, uint32_t epoch)
{
	size_t i;

	for (i = 0; repo->keys && i < repo->keys->count; i++)
		if (repo->keys->items[i].epoch == epoch)
			return repo->keys->items[i].key.data;
	return NULL;
}

struct mb_keys *
mb_keys_new(void)
{
	return mb_calloc(1, sizeof(struct mb_keys));
}

void
mb_keys_free(struct mb_keys *keys)
{
	size_t i;

	if (!keys)
		return;
	for (i = 0; i < keys->count; i++)
		mb_secret_release(&keys->items[i].key);
	free(keys->items);
	free(keys);
}

void
mb_keys_add(struct mb_keys *keys, uint32_t epoch, const unsigned char key[MB_KEY_BYTES])
{
	struct mb_epoch_key *item;

	keys->items = mb_grow(keys->items, &keys->cap, keys->count + 1, sizeof(keys->items[0]));
	item = &keys->items[keys->count++];
	memset(item, 0, sizeof(*item));
	item->epoch = epoch;
	mb_secret_set(&item->key, key, MB_KEY_BYTES);
}

static enum mb_code
denied(const struct mb_unlock *unlock, uint32_t epoch, struct mb_error *err)
{
	const char *what = unlock->passphrase.len > 0 ? "passphrase" : "key file";

	mb_fail(err, MB_DENIED, "the %s does not open the repository (no key slot of epoch %u fits it)",
			what, epoch);
	return mb_error_hint(err,
						 "Give the %s that the repository was made with, or another one that was "
						 "added to it; nobody can open it without.",
						 what);
}

/*
 * Open one slot of the epoch that begins at names->items[*at]; *at moves behind its slots.
 * MB_DENIED when none fits what was given, MB_CORRUPT when none can be read.
 */
static enum mb_code
open_epoch(struct mb_repo *repo, const struct mb_slot_names *names, size_t *at,
		   const struct mb_unlock *unlock, struct mb_error *err)
{
	uint32_t epoch = names->items[*at].epoch;
	struct mb_error damage = {0};
	bool any_intact = false;
	size_t i = *at;

	while (*at < names->count && names->items[*at].epoch == epoch)
		(*at)++;
	for (; i < *at; i++)
	{
		unsigned char key[MB_KEY_BYTES];
		struct mb_error why = {0};
		struct mb_slot slot;
		enum mb_code code = mb_slot_read(repo, &names->items[i], &slot, &why);

		if (!code)
		{
			any_intact = true;
			code = mb_slot_open(repo, &names->items[i], &slot, unlock, key, &why);
		}
		if (!code)
		{
			mb_keys_add(repo->keys, epoch, key);
			mb_wipe(key, sizeof(key));
			return MB_OK;
		}
		if (code == MB_CORRUPT || code == MB_UNSUPPORTED || code == MB_NOT_FOUND)
			damage = damage.code ? damage : why;
		else if (!mb_error_is_of_contents(&why))
		{
			*err = why;
			return code;
		}
	}
	if (any_intact || !damage.code)
		denied(unlock, epoch, err);
	else
	{
		*err = damage;
		mb_error_context(err, "no key slot of epoch %u can be read", epoch);
	}
	if (damage.code && err->code == MB_DENIED)
		mb_error_detail(err, "A slot could not be read: %.900s", damage.message);
	return err->code;
}

/*
 * Open a slot of every epoch, newest first.  The newest (for writing) and the first (for
 * the page seed) are needed; blobs of any other one are DENIED when they are read.
 */
enum mb_code
mb_keys_open(struct mb_repo *repo, const struct mb_unlock *unlock, struct mb_error *err)
{
	struct mb_slot_names names = {0};
	enum mb_code code = mb_slots_list(repo->store, &names, err);
	size_t i = 0;

	while (!code && i < names.count)
	{
		uint32_t epoch = names.items[i].epoch;
		bool needed = i == 0 || epoch == 1;
		struct mb_error why = {0};

		if (open_epoch(repo, &names, &i, unlock, &why) == MB_OK)
			continue;
		if (needed || why.sys_errno || (why.code != MB_DENIED && why.code != MB_CORRUPT))
		{
			*err = why;
			code = why.code;
		}
	}
	if (!code)
		repo->epoch = names.items[0].epoch;
	free(names.items);
	if (!code && !mb_repo_epoch_key(repo, 1))
		code = mb_fail(err, MB_CORRUPT, "the key slots of epoch 1 are missing");
	return code;
}

enum mb_code
mb_keys_check_slots(const struct mb_repo *repo, struct mb_error *err)
{
	struct mb_slot_names names = {0};
	enum mb_code code = mb_slots_list(repo->store, &names, err);
	size_t i;

	for (i = 0; i < names.count && !code; i++)
	{
		struct mb_slot slot;

		code = mb_slot_read(repo, &names.items[i], &slot, err);
	}
	free(names.items);
	return code;
}
