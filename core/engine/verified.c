/* verified.c - see verified.h. */
#include "core/engine/verified.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/time.h"

#define PREFIX "verified/"
#define FLUSH_MS 15000
/* 32 digits each: well below the cap of a document. */
#define DOCUMENT_MAX 400000

struct statement
{
	unsigned char print[MB_XXH128_BYTES];
	int64_t time_us;
	bool is_damage;
	uint32_t document; /* index into documents */
};

struct statements
{
	struct statement *items;
	size_t count;
	size_t cap;
};

struct document
{
	char name[MB_NAME_MAX];
	bool counts;
};

struct mb_verified
{
	struct statements all; /* sorted by fingerprint; only the one that counts of each blob */
	struct document *documents;
	size_t document_count;
	size_t document_cap;
	int64_t since_us;
	int64_t since_time_us; /* of the document that says so */
};

struct mb_verified_notes
{
	const struct mb_repo *repo;
	int64_t started_us;
	pthread_mutex_t lock;         /* guards everything below */
	struct statements statements; /* `document` is not used */
	json_t *damaged;              /* name: time */
	size_t written;               /* statements that a document holds */
	int64_t written_ms;
	struct document *documents; /* written so far */
	size_t document_count;
	size_t document_cap;
};

static void
print_of(unsigned char out[MB_XXH128_BYTES], const char *blob)
{
	mb_xxh128(out, blob, strlen(blob));
}

static struct statement *
add_statement(struct statements *list, int64_t time_us, bool is_damage)
{
	struct statement *added;

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
	const struct statement *left = a, *right = b;
	int order = memcmp(left->print, right->print, sizeof(left->print));

	if (order != 0)
		return order;
	if (left->time_us != right->time_us)
		return left->time_us > right->time_us ? -1 : 1;
	return (int) right->is_damage - (int) left->is_damage;
}

static void
keep_what_counts(struct statements *list)
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
	return memcmp(((const struct statement *) a)->print, ((const struct statement *) b)->print,
				  MB_XXH128_BYTES);
}

static struct statement *
find_statement(const struct statements *list, const char *blob)
{
	struct statement key;

	if (list->count == 0)
		return NULL;
	print_of(key.print, blob);
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
		struct statement *added = add_statement(&verified->all, time_us, false);

		added->document = index;
		memcpy(added->print, prints + i * MB_XXH128_BYTES, MB_XXH128_BYTES);
	}
	free(prints);
	json_object_foreach(json_object_get(doc, "damaged"), blob, found)
	{
		int64_t found_us = mb_json_time(json_object_get(doc, "damaged"), blob);
		struct statement *added = add_statement(&verified->all, found_us, true);

		added->document = index;
		print_of(added->print, blob);
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
	struct document *document;
	enum mb_code code;
	json_t *doc;

	if (!mb_id_is_valid(info->name + strlen(PREFIX)))
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
	enum mb_code code = mb_store_list(repo->store, PREFIX, load_document, &loading, err);

	if (code)
	{
		mb_verified_free(verified);
		return code;
	}
	keep_what_counts(&verified->all);
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
	const struct statement *found = find_statement(&verified->all, blob);

	return found && !found->is_damage ? found->time_us : 0;
}

int64_t
mb_verified_since(const struct mb_verified *verified)
{
	return verified->since_us;
}

/* -- taking notes --------------------------------------------------------------------------------- */

struct mb_verified_notes *
mb_verified_notes_new(const struct mb_repo *repo, int64_t started_us)
{
	struct mb_verified_notes *notes = mb_calloc(1, sizeof(*notes));

	notes->repo = repo;
	notes->started_us = started_us;
	notes->written_ms = mb_monotonic_ms();
	notes->damaged = json_object();
	pthread_mutex_init(&notes->lock, NULL);
	return notes;
}

void
mb_verified_notes_free(struct mb_verified_notes *notes)
{
	if (!notes)
		return;
	free(notes->statements.items);
	free(notes->documents);
	json_decref(notes->damaged);
	pthread_mutex_destroy(&notes->lock);
	free(notes);
}

/* Put a document of the statements [from, to).  Locked. */
static enum mb_code
put_document(struct mb_verified_notes *notes, size_t from, size_t to, json_t *damaged,
			 int64_t since_us, struct mb_error *err)
{
	char *hex = mb_malloc(2 * MB_XXH128_BYTES * (to - from) + 1);
	json_t *doc = json_object();
	char id[MB_ID_TEXT], host[256] = "";
	struct document *document;
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(notes->repo->store, &now_us, err);
	size_t i;

	hex[0] = '\0';
	for (i = from; i < to; i++)
		mb_hex(hex + 2 * MB_XXH128_BYTES * (i - from), notes->statements.items[i].print,
			   MB_XXH128_BYTES);
	gethostname(host, sizeof(host) - 1);
	mb_json_set_time(doc, "time", notes->started_us);
	mb_json_set_str(doc, "host", host);
	mb_json_set_str(doc, "read", hex);
	if (damaged)
		json_object_set(doc, "damaged", damaged);
	if (since_us)
		mb_json_set_time(doc, "since", since_us);
	mb_id_new(id, now_us);
	notes->documents = mb_grow(notes->documents, &notes->document_cap, notes->document_count + 1,
							   sizeof(*notes->documents));
	document = &notes->documents[notes->document_count];
	memset(document, 0, sizeof(*document));
	snprintf(document->name, sizeof(document->name), PREFIX "%s", id);
	if (!code)
		code = mb_doc_put(notes->repo, MB_ROLE_VERIFIED, document->name, doc, err);
	if (!code)
		notes->document_count++;
	json_decref(doc);
	free(hex);
	return code ? mb_error_context(err, "could not note what was read") : MB_OK;
}

static enum mb_code
flush_locked(struct mb_verified_notes *notes, struct mb_error *err)
{
	enum mb_code code = put_document(notes, notes->written, notes->statements.count, NULL, 0, err);

	if (!code)
		notes->written = notes->statements.count;
	notes->written_ms = mb_monotonic_ms();
	return code;
}

enum mb_code
mb_verified_note(struct mb_verified_notes *notes, const char *blob, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&notes->lock);
	print_of(add_statement(&notes->statements, notes->started_us, false)->print, blob);
	if (mb_monotonic_ms() - notes->written_ms > FLUSH_MS ||
		notes->statements.count - notes->written >= DOCUMENT_MAX)
		code = flush_locked(notes, err);
	pthread_mutex_unlock(&notes->lock);
	return code;
}

enum mb_code
mb_verified_note_damaged(struct mb_verified_notes *notes, const char *blob, int64_t found_us,
						 struct mb_error *err)
{
	json_t *damaged = json_object();
	enum mb_code code;

	mb_json_set_time(damaged, blob, found_us);
	pthread_mutex_lock(&notes->lock);
	json_object_update(notes->damaged, damaged);
	code = put_document(notes, 0, 0, damaged, 0, err);
	pthread_mutex_unlock(&notes->lock);
	json_decref(damaged);
	return code;
}

enum mb_code
mb_verified_flush(struct mb_verified_notes *notes, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	pthread_mutex_lock(&notes->lock);
	if (notes->statements.count > notes->written)
		code = flush_locked(notes, err);
	pthread_mutex_unlock(&notes->lock);
	return code;
}

/* -- the end of a run ----------------------------------------------------------------------------- */

/* All of the run in as few documents as it takes; then the first ones of it may go. */
static enum mb_code
put_whole(struct mb_verified_notes *notes, int64_t since_us, struct mb_error *err)
{
	size_t before = notes->document_count, from = 0, to, i;
	const char **names = mb_calloc(before + 1, sizeof(*names));
	json_t *damaged = json_object_size(notes->damaged) ? notes->damaged : NULL;
	enum mb_code code = MB_OK;

	keep_what_counts(&notes->statements);
	do
	{
		to = from + DOCUMENT_MAX < notes->statements.count ? from + DOCUMENT_MAX
														   : notes->statements.count;
		/* The last one says how far all of it got. */
		code = put_document(notes, from, to, damaged, to == notes->statements.count ? since_us : 0,
							err);
		damaged = NULL;
		from = to;
	} while (!code && from < notes->statements.count);
	for (i = 0; i < before; i++)
		names[i] = notes->documents[i].name;
	if (!code && before > 0)
		code = mb_store_remove(notes->repo->store, names, before, err);
	free(names);
	return code;
}

/* Which documents of earlier runs still say something that no later one says? */
static void
mark_what_counts(const struct mb_verified_notes *notes, const struct mb_verified *before,
				 char *const *blobs, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		const struct statement *old = find_statement(&before->all, blobs[i]);

		/* What another run has found since we began outlives what we say. */
		if (old &&
			(old->time_us >= notes->started_us || (!find_statement(&notes->statements, blobs[i]) &&
												   !json_object_get(notes->damaged, blobs[i]))))
			before->documents[old->document].counts = true;
	}
}

static enum mb_code
remove_the_rest(const struct mb_verified_notes *notes, const struct mb_verified *before,
				struct mb_error *err)
{
	const char **names = mb_calloc(before->document_count + 1, sizeof(*names));
	enum mb_code code = MB_OK;
	size_t count = 0, i;

	for (i = 0; i < before->document_count; i++)
		if (!before->documents[i].counts)
			names[count++] = before->documents[i].name;
	if (count > 0)
		code = mb_store_remove(notes->repo->store, names, count, err);
	free(names);
	return code;
}

enum mb_code
mb_verified_finish(struct mb_verified_notes *notes, const struct mb_verified *before,
				   int64_t since_us, char *const *blobs, size_t count, struct mb_error *err)
{
	bool is_news = notes->statements.count > 0 || json_object_size(notes->damaged) > 0 ||
				   since_us > before->since_us;
	enum mb_code code;

	if (!is_news)
		return MB_OK;
	pthread_mutex_lock(&notes->lock);
	code = put_whole(notes, since_us, err);
	if (!code)
	{
		mark_what_counts(notes, before, blobs, count);
		code = remove_the_rest(notes, before, err);
	}
	pthread_mutex_unlock(&notes->lock);
	return code;
}
