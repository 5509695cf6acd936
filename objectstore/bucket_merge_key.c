/* bucket_merge_key.c - see bucket_merge.h: the entries of one key, from what is listed and what was. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_listing.h"
#include "objectstore/bucket_merge.h"

/* -- what is listed ------------------------------------------------------------------------------------- */

/* A version with an id is immutable, so an ETag that was not told says nothing. */
static bool
is_same_etag(const struct known *known, const struct mb_s3_version *version)
{
	bool is_named = version->version_id[0] && strcmp(version->version_id, "null") != 0;

	return strcmp(mb_json_str(known->meta, "etag", ""), version->etag) == 0 ||
		   (is_named && !version->etag[0]);
}

static bool
is_same_version(const struct known *known, const struct mb_s3_version *version)
{
	enum mb_entry_type type = version->is_marker ? MB_ENTRY_MARKER : MB_ENTRY_OBJECT;

	return !known->is_taken && known->entry.type == type &&
		   strcmp(mb_json_str(known->meta, "id", ""), version->version_id) == 0 &&
		   known->entry.mtime_ns == version->modified_ns && known->entry.size == version->size &&
		   is_same_etag(known, version);
}

/* Both sides are in the same order, so the search begins where the last one ended. */
static struct known *
find_known(struct merge *merge, const struct mb_s3_version *version, size_t *from)
{
	size_t i;

	for (i = 0; i < merge->known_count; i++)
	{
		struct known *known = &merge->known[(*from + i) % merge->known_count];

		if (is_same_version(known, version))
		{
			*from = (size_t) (known - merge->known) + 1;
			known->is_taken = true;
			return known;
		}
	}
	return NULL;
}

enum currency
{
	META_CURRENT,
	META_CONFIRMED, /* made without a listing of metadata, which now says the same */
	META_OLD        /* has to be made anew */
};

static enum currency
judge_meta(const struct merge *merge, const struct known *known,
		   const struct mb_s3_version *version)
{
	const char *stored = mb_json_str(known->meta, "listed", "");
	char listed[MB_LISTED_TEXT];

	if (version->is_marker)
		return META_CURRENT;
	mb_version_listed(version, listed);
	if (!listed[0])
		return merge->asks_headers ? META_OLD : META_CURRENT;
	if (stored[0])
		return strcmp(listed, stored) == 0 ? META_CURRENT : META_OLD;
	if (!mb_version_agrees(version, known->meta))
		return META_OLD;
	mb_json_set_str(known->meta, "listed", listed);
	return META_CONFIRMED;
}

/* Add an entry whose meta is new. */
static enum mb_code
add_with_meta(struct merge *merge, struct mb_entry *entry, const json_t *json, struct mb_error *err)
{
	char *meta = mb_json_text(json);
	enum mb_code code;

	entry->meta = meta;
	code = mb_capture_add(merge->capture, entry, err);
	free(meta);
	return code;
}

static enum mb_code
add_marker(struct merge *merge, const struct mb_s3_version *version, struct mb_entry *entry,
		   struct mb_error *err)
{
	json_t *meta = mb_version_meta(version);
	enum mb_code code = add_with_meta(merge, entry, meta, err);

	json_decref(meta);
	return code;
}

static bool
is_event_late(const struct known *known, const struct mb_s3_version *version)
{
	return version->lsn && !json_object_get(known->meta, "lsn");
}

static enum mb_code
keep_listed(struct merge *merge, const struct mb_s3_version *version, struct known *known,
			struct mb_entry *entry, struct mb_error *err)
{
	enum currency currency;

	if (!known)
	{
		merge->changes++;
		if (version->is_marker)
			return add_marker(merge, version, entry, err);
		return mb_bucket_fetch_version(merge->fetch, version, entry, err);
	}
	currency = judge_meta(merge, known, version);
	if (currency == META_OLD)
		return mb_bucket_fetch_headers(merge->fetch, version, entry, err);
	if (json_object_get(known->meta, "erased") || is_event_late(known, version))
	{
		/* It was found gone, and is there again; or its event came after the scan that found it. */
		merge->changes++;
		json_object_del(known->meta, "erased");
		json_object_del(known->meta, "erased_lsn");
		if (version->lsn)
			mb_json_set_lsn(known->meta, "lsn", version->lsn);
		return add_with_meta(merge, entry, known->meta, err);
	}
	if (currency == META_CONFIRMED)
		return add_with_meta(merge, entry, known->meta, err);
	return mb_capture_add(merge->capture, entry, err);
}

/*
 * The entry of a listed version.  Its number is the parent's, or the nanoseconds that a listener heard;
 * else it comes later, from the order.
 */
static struct mb_entry
entry_of(const struct merge *merge, const struct mb_s3_version *version, const struct known *known)
{
	const struct mb_events *heard = merge->bucket->heard;
	struct mb_entry entry = {.type = version->is_marker ? MB_ENTRY_MARKER : MB_ENTRY_OBJECT,
							 .path = version->key,
							 .path_len = strlen(version->key),
							 .mode = 0644,
							 .size = version->size,
							 .mtime_ns = version->modified_ns};

	if (known)
	{
		entry = known->entry;
		entry.path = version->key;
	}
	else if (heard)
		entry.version = mb_events_version_ns(heard, version->key, version->version_id);
	return entry;
}

void
mb_merge_place_by_time(const struct merge *merge, struct mb_entry *entry)
{
	entry->flags &= ~(unsigned) (MB_ENTRY_AFTER_CUT | MB_ENTRY_AMBIGUOUS);
	if (entry->version > merge->limit_ns)
		entry->flags |= MB_ENTRY_AFTER_CUT;
}

/*
 * Number the versions of a key from the oldest: by their time, but each above the one before it,
 * because listings cut times to milliseconds or seconds, and the order is what the server says.
 */
static void
number_versions(struct merge *merge, const struct mb_listed_key *key)
{
	uint64_t last = 0;
	size_t i;

	for (i = key->count; i-- > 0;)
	{
		struct mb_entry *entry = &merge->made[i];
		uint64_t wanted = entry->version ? entry->version
						  : key->versions[i].modified_ns > 0
							  ? (uint64_t) key->versions[i].modified_ns
							  : 1;

		entry->version = wanted > last ? wanted : last + 1;
		last = entry->version;
		mb_merge_place_by_time(merge, entry);
	}
}

/* Before or after the cut: by the event where there is one, whatever its time says. */
static void
place_by_event(struct merge *merge, struct mb_s3_version *version, const struct known *known,
			   struct mb_entry *entry)
{
	const struct mb_bucket_journal *journal = &merge->journal;
	uint64_t lsn = 0;

	if (!journal->is_read)
		return;
	version->lsn =
		mb_bucket_journal_lsn(journal, version->key, version->version_id, MB_EVENT_CREATED);
	if (version->lsn)
		lsn = version->lsn;
	else if (!known || !mb_lsn_parse(&lsn, mb_json_str(known->meta, "lsn", "")))
	{
		/* Far from the cut its time is good enough. */
		merge->journal.missing += entry->version >= merge->doubt_ns;
		return;
	}
	if (!journal->cut_lsn)
		return;
	entry->flags &= ~(unsigned) MB_ENTRY_AFTER_CUT;
	if (lsn > journal->cut_lsn)
		entry->flags |= MB_ENTRY_AFTER_CUT;
}

enum mb_code
mb_merge_keep_key(struct merge *merge, const struct mb_listed_key *key, struct mb_error *err)
{
	struct known **known = mb_calloc(key->count, sizeof(struct known *));
	enum mb_code code = MB_OK;
	size_t from = 0, i;

	merge->made = mb_grow(merge->made, &merge->made_cap, key->count, sizeof(*merge->made));
	for (i = 0; i < key->count; i++)
	{
		known[i] = find_known(merge, &key->versions[i], &from);
		merge->made[i] = entry_of(merge, &key->versions[i], known[i]);
	}
	number_versions(merge, key);
	/* The page's own copies: nobody else looks at them. */
	for (i = 0; i < key->count; i++)
		place_by_event(merge, (struct mb_s3_version *) (uintptr_t) &key->versions[i], known[i],
					   &merge->made[i]);
	for (i = 0; !code && i < key->count; i++)
		code = keep_listed(merge, &key->versions[i], known[i], &merge->made[i], err);
	free(known);
	return code;
}

/* -- what is gone --------------------------------------------------------------------------------------- */

static int64_t
server_now_us(const struct merge *merge)
{
	int64_t low_us = 0, high_us = 0;

	(void) mb_s3_clock(merge->bucket->s3, &low_us, &high_us);
	return mb_time_now_us() + high_us;
}

/* Of an erased version: when it was seen last (0) and found gone (1); 0: it was not erased. */
static int64_t
erased_us(const json_t *meta, size_t which)
{
	const char *text = json_string_value(json_array_get(json_object_get(meta, "erased"), which));
	struct mb_error err;
	int64_t time_us;

	return text && mb_time_parse(&time_us, text, &err) == MB_OK ? time_us : 0;
}

static void
set_erased(json_t *meta, int64_t seen_us, int64_t gone_us)
{
	char seen[MB_TIME_TEXT], gone[MB_TIME_TEXT];

	mb_time_format(seen, seen_us < gone_us ? seen_us : gone_us);
	mb_time_format(gone, gone_us);
	json_object_set_new(meta, "erased", json_pack("[ss]", seen, gone));
}

/* Two entries of one key must not have the same number; the erased one makes way. */
static uint64_t
free_number(const struct merge *merge, size_t listed, uint64_t wanted)
{
	bool is_taken = true;
	size_t i;

	while (is_taken && wanted > 1)
	{
		is_taken = false;
		for (i = 0; !is_taken && i < listed; i++)
			is_taken = merge->made[i].version == wanted;
		for (i = 0; !is_taken && i < merge->known_count; i++)
			is_taken = merge->known[i].is_taken && merge->known[i].entry.version == wanted;
		wanted -= is_taken;
	}
	return wanted;
}

/* When a listener heard that it was erased; 0: none did. */
static int64_t
heard_erased_us(const struct merge *merge, const struct known *known)
{
	const struct mb_events *heard = merge->bucket->heard;

	return heard ? mb_events_erased_us(heard, known->entry.path, mb_json_str(known->meta, "id", ""))
				 : 0;
}

/*
 * The parent found it gone, so it was gone when this cut was taken: no clock needs to say so.
 * For targets between the two cuts it stays once more.
 */
static enum mb_code
keep_long_erased(struct merge *merge, struct known *known, struct mb_entry *entry,
				 struct mb_error *err)
{
	int64_t seen_us = erased_us(known->meta, 0), gone_us = erased_us(known->meta, 1);

	if (gone_us <= merge->parent_known_us)
		return MB_OK;
	if (gone_us <= merge->known_us)
		return mb_capture_add(merge->capture, entry, err);
	set_erased(known->meta, seen_us, merge->known_us);
	return add_with_meta(merge, entry, known->meta, err);
}

enum mb_code
mb_merge_keep_erased(struct merge *merge, struct known *known, size_t listed, struct mb_error *err)
{
	struct mb_entry entry = known->entry;
	int64_t heard_us;
	uint64_t lsn;

	entry.version = free_number(merge, listed, entry.version);
	known->entry.version = entry.version;
	known->is_taken = true;
	if (erased_us(known->meta, 1))
		return keep_long_erased(merge, known, &entry, err);
	merge->changes++;
	heard_us = heard_erased_us(merge, known);
	merge->erased += heard_us == 0 && entry.type == MB_ENTRY_OBJECT;
	entry.flags = (entry.flags & ~(unsigned) MB_ENTRY_AFTER_CUT) | MB_ENTRY_AMBIGUOUS;
	set_erased(known->meta, heard_us ? heard_us : merge->parent_from_us,
			   heard_us ? heard_us : server_now_us(merge));
	lsn = mb_bucket_journal_lsn(&merge->journal, entry.path, mb_json_str(known->meta, "id", ""),
								MB_EVENT_ERASED);
	if (lsn)
		mb_json_set_lsn(known->meta, "erased_lsn", lsn);
	return add_with_meta(merge, &entry, known->meta, err);
}

enum mb_code
mb_merge_keep_missing(struct merge *merge, size_t listed, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < merge->known_count; i++)
		if (!merge->known[i].is_taken)
			code = mb_merge_keep_erased(merge, &merge->known[i], listed, err);
	return code;
}
