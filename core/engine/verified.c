/* verified.c - see verified.h: what all the documents say together. */
#include <stdlib.h>
#include <string.h>

#include "core/engine/verified_private.h"

void
mb_verified_print(unsigned char out[MB_XXH128_BYTES], const char *blob)
{
	mb_xxh128(out, blob, strlen(blob));
}

struct mb_verified_word *
mb_verified_add(struct mb_verified_list *list, int64_t time_us, bool is_damage)
{
	struct mb_verified_word *added;

	list->items = mb_grow(list->items, &list->cap, list->count + 1, sizeof(*list->items));
	added = &list->items[list->count++];
	memset(added, 0, sizeof(*added));
	added->time_us = time_us;
	added->is_damage = is_damage;
	return added;
}

/* By blob, and of one blob the statement that counts first. */
static int
compare_statements(const void *a, const void *b)
{
	const struct mb_verified_word *left = a, *right = b;
	int order = memcmp(left->print, right->print, sizeof(left->print));

	if (order != 0)
		return order;
	if (left->time_us != right->time_us)
		return left->time_us > right->time_us ? -1 : 1;
	return (int) right->is_damage - (int) left->is_damage;
}

void
mb_verified_settle(struct mb_verified_list *list)
{
	size_t i, kept = 0;

	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_statements);
	for (i = 0; i < list->count; i++)
		if (kept == 0 || memcmp(list->items[kept - 1].print, list->items[i].print,
								sizeof(list->items[i].print)) != 0)
			list->items[kept++] = list->items[i];
	list->count = kept;
}

/* By fingerprint alone. */
static int
compare_prints(const void *a, const void *b)
{
	return memcmp(((const struct mb_verified_word *) a)->print,
				  ((const struct mb_verified_word *) b)->print, MB_XXH128_BYTES);
}

struct mb_verified_word *
mb_verified_find(const struct mb_verified_list *list, const char *blob)
{
	struct mb_verified_word key;

	if (list->count == 0)
		return NULL;
	mb_verified_print(key.print, blob);
	return bsearch(&key, list->items, list->count, sizeof(*list->items), compare_prints);
}

/* -- reading -------------------------------------------------------------------------------------- */

struct loading
{
	struct mb_verified *verified;
	const struct mb_repo *repo;
};

static void
take_document(struct mb_verified *verified, const json_t *doc, uint32_t index)
{
	const char *hex = mb_json_str(doc, "read", "");
	int64_t time_us = mb_json_time(doc, "time"), since_us = mb_json_time(doc, "since");
	size_t count = strlen(hex) / (2 * MB_XXH128_BYTES), i;
	unsigned char *prints = mb_malloc(count * MB_XXH128_BYTES + 1);
	const char *blob;
	json_t *found;

	/* One that makes no sense says nothing. */
	if (!time_us || !mb_unhex(prints, hex, count * MB_XXH128_BYTES))
		count = 0;
	for (i = 0; i < count; i++)
	{
		struct mb_verified_word *added = mb_verified_add(&verified->all, time_us, false);

		added->document = index;
		memcpy(added->print, prints + i * MB_XXH128_BYTES, MB_XXH128_BYTES);
	}
	free(prints);
	json_object_foreach(json_object_get(doc, "damaged"), blob, found)
	{
		int64_t found_us = mb_json_time(json_object_get(doc, "damaged"), blob);
		struct mb_verified_word *added = mb_verified_add(&verified->all, found_us, true);

		added->document = index;
		mb_verified_print(added->print, blob);
	}
	if (since_us && time_us >= verified->since_time_us)
	{
		verified->since_us = since_us;
		verified->since_time_us = time_us;
	}
}

static enum mb_code
load_document(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct loading *loading = ctx;
	struct mb_verified *verified = loading->verified;
	struct mb_verified_document *document;
	enum mb_code code;
	json_t *doc;

	if (!mb_id_is_valid(info->name + strlen(MB_VERIFIED_PREFIX)))
		return MB_OK;
	code = mb_doc_get(loading->repo, MB_ROLE_VERIFIED, info->name, &doc, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* replaced by another run */
	if (code && code != MB_CORRUPT && code != MB_DENIED && code != MB_UNSUPPORTED)
		return code;
	verified->documents = mb_grow(verified->documents, &verified->document_cap,
								  verified->document_count + 1, sizeof(*verified->documents));
	document = &verified->documents[verified->document_count];
	memset(document, 0, sizeof(*document));
	snprintf(document->name, sizeof(document->name), "%s", info->name);
	/* A damaged one says nothing; it is for verify to report, and stays for that. */
	document->counts = code != MB_OK;
	if (code)
		mb_error_clear(err);
	else
	{
		take_document(verified, doc, (uint32_t) verified->document_count);
		json_decref(doc);
	}
	verified->document_count++;
	return MB_OK;
}

enum mb_code
mb_verified_load(struct mb_verified **out, const struct mb_repo *repo, struct mb_error *err)
{
	struct mb_verified *verified = mb_calloc(1, sizeof(*verified));
	struct loading loading = {verified, repo};
	enum mb_code code =
		mb_store_list(repo->store, MB_VERIFIED_PREFIX, load_document, &loading, err);

	if (code)
	{
		mb_verified_free(verified);
		return code;
	}
	mb_verified_settle(&verified->all);
	*out = verified;
	return MB_OK;
}

void
mb_verified_free(struct mb_verified *verified)
{
	if (!verified)
		return;
	free(verified->all.items);
	free(verified->documents);
	free(verified);
}

int64_t
mb_verified_time(const struct mb_verified *verified, const char *blob)
{
	const struct mb_verified_word *found = mb_verified_find(&verified->all, blob);

	return found && !found->is_damage ? found->time_us : 0;
}

int64_t
mb_verified_since(const struct mb_verified *verified)
{
	return verified->since_us;
}
