/* verified_notes.c - see verified.h: the notes of one run, and what becomes of the former ones. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "core/engine/verified_private.h"

#define FLUSH_MS 15000
/* 32 digits each: well below the cap of a document. */
#define DOCUMENT_MAX 400000

struct mb_verified_notes
{
	const struct mb_repo *repo;
	int64_t started_us;
	pthread_mutex_t lock;               /* guards everything below */
	struct mb_verified_list statements; /* `document` is not used */
	json_t *damaged;                    /* name: time */
	size_t written;                     /* statements that a document holds */
	int64_t written_ms;
	struct mb_verified_document *documents; /* written so far */
	size_t document_count;
	size_t document_cap;
};

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
	struct mb_verified_document *document;
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
	snprintf(document->name, sizeof(document->name), MB_VERIFIED_PREFIX "%s", id);
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
	mb_verified_print(mb_verified_add(&notes->statements, notes->started_us, false)->print, blob);
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
	json_t *damaged, *text = json_string(blob);
	enum mb_code code;

	/* Not UTF-8: no name of the format, so nobody will ask for it. */
	if (!text)
		return MB_OK;
	json_decref(text);
	damaged = json_object();
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

	mb_verified_settle(&notes->statements);
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
		const struct mb_verified_word *old = mb_verified_find(&before->all, blobs[i]);

		/* What another run has found since we began outlives what we say. */
		if (old && (old->time_us >= notes->started_us ||
					(!mb_verified_find(&notes->statements, blobs[i]) &&
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
