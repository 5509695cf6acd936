/*
 * bucket_capture.c - see bucket_capture.h.
 *
 * Both sides come in the order of keys; of one key everything is in memory.  A version of the
 * listing is the parent's when id, ETag, size and time are the same.  What the parent had and the
 * listing lacks was erased in between; it stays as long as a target could need it.
 *
 * When a listener heard everything since the parent, only the keys that it heard of are listed, and
 * the others are the parent's.  A full listing makes up for what nobody was told of.
 */
#include "objectstore/bucket_capture.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/entry.h"
#include "objectstore/bucket_config.h"
#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_fetch.h"
#include "objectstore/bucket_iam.h"
#include "objectstore/bucket_journal.h"
#include "objectstore/bucket_listing.h"

/* A LIST of one key costs about what one of a thousand keys does. */
#define HEARD_MAX 1000

/* A version or marker of the parent, with what of its meta the comparison needs. */
struct known
{
	struct mb_entry entry;
	json_t *meta;
	bool is_taken;
};

struct merge
{
	struct mb_bucket *bucket;
	struct mb_capture *capture;
	struct mb_bucket_fetch *fetch;
	struct mb_bucket_config config;
	struct mb_bucket_journal journal;
	const struct mb_commit *parent;
	/* the parent's manifest, one entry ahead */
	struct mb_manifest_reader *reader;
	const struct mb_entry *ahead;
	/* the parent's entries of the key that is merged */
	struct mb_arena arena;
	struct known *known;
	size_t known_count;
	size_t known_cap;
	/* bucket/... of the parent */
	struct mb_arena data_arena;
	struct mb_entry *data;
	size_t data_count;
	size_t data_cap;
	/* new entries of one key */
	struct mb_entry *made;
	size_t made_cap;
	/* times of the server, in ns and us */
	uint64_t doubt_ns;       /* older versions are before the cut for certain */
	uint64_t limit_ns;       /* younger versions are after the cut */
	int64_t parent_from_us;  /* when the parent's listing began */
	int64_t parent_known_us; /* no target that needs this backup cares for what was gone then */
	int64_t known_us;        /* the same for the backup to come */
	bool asks_headers;       /* of what the listing says nothing about */
	bool is_partial;         /* only the keys that were heard of */
	uint64_t changes;
	uint64_t erased;
	uint64_t keys;
	uint64_t versions;
};

/* -- the parent ------------------------------------------------------------------------------------ */

static enum mb_code
advance(struct merge *merge, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	merge->ahead = NULL;
	if (!merge->reader)
		return MB_OK;
	for (;;)
	{
		code = mb_manifest_next(merge->reader, &merge->ahead, err);
		if (code || !merge->ahead || merge->ahead->type != MB_ENTRY_DATA)
			return code;
		merge->data =
			mb_grow(merge->data, &merge->data_cap, merge->data_count + 1, sizeof(*merge->data));
		mb_entry_copy(&merge->data_arena, merge->ahead, &merge->data[merge->data_count++]);
	}
}

static int
compare_key(const struct mb_entry *entry, const char *key)
{
	size_t len = strlen(key);
	int order = memcmp(entry->path, key, entry->path_len < len ? entry->path_len : len);

	if (order)
		return order;
	return (entry->path_len > len) - (entry->path_len < len);
}

static void
forget_known(struct merge *merge)
{
	size_t i;

	for (i = 0; i < merge->known_count; i++)
		json_decref(merge->known[i].meta);
	merge->known_count = 0;
	mb_arena_release(&merge->arena);
}

/* A meta that cannot be read is that of another driver: nothing is known about the version. */
static json_t *
read_meta(const char *text)
{
	struct mb_error err;
	json_t *meta = NULL;

	if (!text || mb_json_parse(&meta, text, strlen(text), "meta", &err))
		return json_object();
	return meta;
}

/* Take all entries of the key that is ahead. */
static enum mb_code
take_known(struct merge *merge, struct mb_error *err)
{
	enum mb_code code;
	const char *key;

	forget_known(merge);
	do
	{
		struct known *known;

		merge->known =
			mb_grow(merge->known, &merge->known_cap, merge->known_count + 1, sizeof(*merge->known));
		known = &merge->known[merge->known_count++];
		memset(known, 0, sizeof(*known));
		mb_entry_copy(&merge->arena, merge->ahead, &known->entry);
		known->meta = read_meta(known->entry.meta);
		key = merge->known[0].entry.path;
		code = advance(merge, err);
	} while (!code && merge->ahead && compare_key(merge->ahead, key) == 0);
	return code;
}

/* -- one key ------------------------------------------------------------------------------------------ */

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

static void
place_by_time(const struct merge *merge, struct mb_entry *entry)
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
		place_by_time(merge, entry);
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

static enum mb_code
keep_key(struct merge *merge, const struct mb_listed_key *key, struct mb_error *err)
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

static enum mb_code
keep_erased(struct merge *merge, struct known *known, size_t listed, struct mb_error *err)
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

static enum mb_code
keep_missing(struct merge *merge, size_t listed, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < merge->known_count; i++)
		if (!merge->known[i].is_taken)
			code = keep_erased(merge, &merge->known[i], listed, err);
	return code;
}

/* -- the merge -------------------------------------------------------------------------------------------- */

/* Keys of the parent before `key` (NULL: all that are left) are gone. */
static enum mb_code
pass_gone(struct merge *merge, const char *key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && merge->ahead && (!key || compare_key(merge->ahead, key) < 0))
	{
		code = take_known(merge, err);
		if (!code)
			code = keep_missing(merge, 0, err);
	}
	return code;
}

static enum mb_code
merge_key(struct merge *merge, const struct mb_listed_key *key, struct mb_error *err)
{
	enum mb_code code = pass_gone(merge, key->key, err);

	forget_known(merge);
	if (!code && merge->ahead && compare_key(merge->ahead, key->key) == 0)
		code = take_known(merge, err);
	if (!code)
		code = keep_key(merge, key, err);
	if (!code)
		code = keep_missing(merge, key->count, err);
	merge->keys++;
	merge->versions += key->count;
	return code;
}

/* A key that nobody heard of is as the parent has it. */
static enum mb_code
keep_untouched(struct merge *merge, struct mb_error *err)
{
	enum mb_code code = take_known(merge, err);
	size_t i;

	for (i = 0; !code && i < merge->known_count; i++)
	{
		struct known *known = &merge->known[i];

		if (json_object_get(known->meta, "erased"))
		{
			code = keep_erased(merge, known, 0, err);
			continue;
		}
		known->is_taken = true;
		place_by_time(merge, &known->entry);
		code = mb_capture_add(merge->capture, &known->entry, err);
	}
	merge->keys++;
	merge->versions += merge->known_count;
	return code;
}

/* Keys of the parent before `key` (NULL: all that are left). */
static enum mb_code
pass_untouched(struct merge *merge, const char *key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && merge->ahead && (!key || compare_key(merge->ahead, key) < 0))
		code = keep_untouched(merge, err);
	return code;
}

static unsigned
listing_flags(const struct merge *merge)
{
	unsigned flags = merge->bucket->is_current_only ? MB_LISTING_CURRENT : 0;

	/* Metadata makes a listing twice as dear, and of a prelude everything is listed again. */
	if (mb_s3_dialect(merge->bucket->s3) == MB_S3_MINIO && !merge->capture->is_prelude)
		flags |= MB_LISTING_METADATA;
	return flags;
}

/* List one key.  There may be none: then what the parent has of it is gone. */
static enum mb_code
merge_heard_key(struct merge *merge, const char *name, struct mb_error *err)
{
	struct mb_bucket *bucket = merge->bucket;
	struct mb_bucket_listing *listing;
	const struct mb_listed_key *key = NULL;
	enum mb_code code = pass_untouched(merge, name, err);

	if (code)
		return code;
	listing = mb_bucket_listing_new(bucket->s3, bucket->name, name, listing_flags(merge),
									merge->capture->env->cancel);
	code = mb_bucket_listing_next(listing, &key, err);
	if (!code && key && strcmp(key->key, name) == 0)
		code = merge_key(merge, key, err);
	else if (!code && merge->ahead && compare_key(merge->ahead, name) == 0)
	{
		code = take_known(merge, err);
		if (!code)
			code = keep_missing(merge, 0, err);
	}
	mb_bucket_listing_free(listing);
	return code;
}

static enum mb_code
merge_heard(struct merge *merge, struct mb_error *err)
{
	const struct mb_events *heard = merge->bucket->heard;
	enum mb_code code = advance(merge, err);
	size_t i;

	for (i = 0; !code && i < heard->count; i++)
	{
		code = mb_cancel_check(merge->capture->env->cancel, err);
		if (!code && (i == 0 || strcmp(heard->items[i].key, heard->items[i - 1].key) != 0))
			code = merge_heard_key(merge, heard->items[i].key, err);
	}
	if (!code)
		code = pass_untouched(merge, NULL, err);
	return code;
}

static enum mb_code
merge_all(struct merge *merge, struct mb_error *err)
{
	struct mb_bucket *bucket = merge->bucket;
	struct mb_bucket_listing *listing =
		mb_bucket_listing_new(bucket->s3, bucket->name, bucket->prefix, listing_flags(merge),
							  merge->capture->env->cancel);
	const struct mb_listed_key *key;
	uint64_t pages, broken;
	enum mb_code code = advance(merge, err);

	while (!code && !(code = mb_cancel_check(merge->capture->env->cancel, err)) &&
		   !(code = mb_bucket_listing_next(listing, &key, err)) && key)
		code = merge_key(merge, key, err);
	if (!code)
		code = pass_gone(merge, NULL, err);
	pages = mb_bucket_listing_pages(listing, &broken);
	mb_bucket_listing_free(listing);
	mb_json_set_int(merge->capture->meta, "pages", (int64_t) pages);
	if (broken > 0)
		mb_capture_note(merge->capture,
						"%llu pages of the listing were broken by metadata and "
						"asked for again without",
						(unsigned long long) broken);
	return code;
}

/* -- times ------------------------------------------------------------------------------------------------- */

static void
set_times(struct merge *merge, const struct mb_cut *cut)
{
	json_t *meta = merge->capture->meta;
	int64_t low_us = 0, high_us = 0, skew_us, margin_us;

	/* Without a Date in the answers nothing but the margin is left. */
	(void) mb_s3_clock(merge->bucket->s3, &low_us, &high_us);
	skew_us = cut->clock_skew_us + (low_us + high_us) / 2;
	margin_us = merge->bucket->margin_us + (high_us - low_us) / 2 + cut->clock_error_us;
	merge->limit_ns = (uint64_t) (cut->time_us + skew_us + margin_us) * 1000;
	merge->doubt_ns = (uint64_t) (cut->time_us + skew_us - margin_us) * 1000;
	merge->known_us = cut->time_us + skew_us - margin_us;
	mb_json_set_int(meta, "clock_skew_us", skew_us);
	mb_json_set_int(meta, "margin_us", margin_us);
	mb_json_set_time(meta, "listed_from", mb_time_now_us() + low_us);
}

/* A parent of another bucket, or of a directory, has nothing to build on. */
static void
use_parent(struct merge *merge, const char *url)
{
	const struct mb_commit *parent = merge->capture->parent;
	const char *was;

	if (!parent)
		return;
	was = mb_json_str(parent->meta, "bucket", "");
	if (strcmp(was, url) != 0)
	{
		mb_capture_note(merge->capture, "the backup before was of %s: this one is full",
						was[0] ? was : "a directory");
		merge->capture->parent = NULL;
		return;
	}
	merge->parent = parent;
	merge->parent_from_us = mb_json_time(parent->meta, "listed_from");
	merge->parent_known_us = mb_commit_cut_time(parent) +
							 mb_json_int(parent->meta, "clock_skew_us", 0) -
							 mb_json_int(parent->meta, "margin_us", 1000000);
	if (!merge->parent_from_us)
		merge->parent_from_us = mb_commit_cut_time(parent);
	merge->reader = mb_manifest_reader_new(merge->capture->repo, &parent->blocks);
}

static bool
asks_headers(const struct merge *merge)
{
	if (merge->capture->is_prelude)
		return false;
	switch (merge->bucket->check_tags)
	{
		case MB_BUCKET_TAGS_ALWAYS:
			return true;
		case MB_BUCKET_TAGS_NEVER:
			return false;
		case MB_BUCKET_TAGS_AUTO:
			break;
	}
	/* MinIO tells, but for broken pages: those few are asked about. */
	return mb_s3_dialect(merge->bucket->s3) == MB_S3_MINIO || merge->config.has_lock;
}

/* May the listing be left out?  Above some keys it is cheaper than asking for each. */
static bool
is_partial(const struct merge *merge)
{
	const struct mb_events *heard = merge->bucket->heard;

	return heard && !heard->has_gap && heard->count <= HEARD_MAX && merge->parent &&
		   strcmp(merge->parent->id, merge->bucket->heard_since) == 0;
}

/* -- the whole --------------------------------------------------------------------------------------------- */

static void
report(struct merge *merge, const struct mb_bucket_fetched *sum, const char *url)
{
	static const char *const dialects[] = {"unknown", "AWS", "MinIO", "Ceph", "other"};
	struct mb_capture *capture = merge->capture;
	json_t *meta = capture->meta;

	mb_json_set_str(meta, "bucket", url);
	mb_json_set_str(meta, "server", dialects[mb_s3_dialect(merge->bucket->s3)]);
	mb_json_set_bool(meta, "current_only", merge->bucket->is_current_only);
	mb_json_set_bool(meta, "versioned", merge->config.is_versioned);
	mb_json_set_bool(meta, "lock", merge->config.has_lock);
	mb_json_set_bool(meta, "unchanged", capture->parent && merge->changes == 0);
	mb_json_set_int(meta, "ambiguous", (int64_t) merge->erased);
	if (merge->is_partial)
		mb_json_set_time(meta, "reconciled", mb_json_time(merge->parent->meta, "reconciled"));
	else
		mb_json_set_time(meta, "reconciled", mb_json_time(meta, "listed_from"));
	mb_json_set_int(meta, "keys", (int64_t) merge->keys);
	mb_json_set_int(meta, "versions", (int64_t) merge->versions);
	mb_json_set_int(meta, "read", (int64_t) sum->read);
	mb_json_set_int(meta, "looked_at", (int64_t) sum->looked_at);
	mb_json_set_int(meta, "vanished", (int64_t) sum->vanished);
	mb_json_set_int(meta, "failed", (int64_t) sum->failed);
	if (sum->vanished > 0)
		mb_capture_warn(capture,
						"%llu versions were listed, but gone when they were to be read, such as "
						"one of \"%s\"",
						(unsigned long long) sum->vanished, sum->first_vanished);
	if (!merge->config.is_versioned && !merge->bucket->is_current_only)
		mb_capture_note(capture, "the bucket keeps no versions: what is overwritten or deleted "
								 "between two looks is not in the repository");
}

static enum mb_code
run_merge(struct merge *merge, const struct mb_cut *cut, const char *url, struct mb_error *err)
{
	struct mb_bucket_fetched sum = {0};
	bool config_changed = false;
	enum mb_code code;

	use_parent(merge, url);
	set_times(merge, cut);
	merge->asks_headers = asks_headers(merge);
	merge->is_partial = is_partial(merge);
	merge->fetch = mb_bucket_fetch_new(merge->bucket, merge->capture);
	code = mb_bucket_journal_read(&merge->journal, merge->bucket, merge->parent, cut,
								  merge->capture, err);
	if (!code)
		code = merge->is_partial ? merge_heard(merge, err) : merge_all(merge, err);
	if (!code)
		code = mb_bucket_fetch_finish(merge->fetch, &sum, err);
	if (!code)
		code = mb_bucket_config_keep(&merge->config, merge->capture, merge->data, merge->data_count,
									 &config_changed, err);
	merge->changes += config_changed + sum.looked_at;
	if (!code)
	{
		report(merge, &sum, url);
		mb_bucket_journal_report(&merge->journal, merge->bucket, merge->capture);
	}
	return code;
}

enum mb_code
mb_bucket_capture(struct mb_bucket *bucket, struct mb_capture *capture, const struct mb_cut *cut,
				  struct mb_error *err)
{
	struct merge merge = {.bucket = bucket, .capture = capture};
	const char *url = mb_settings_get(bucket->base.settings, "url");
	enum mb_code code;

	mb_progress_phase(capture->progress, "copying");
	code = mb_bucket_iam_allowed(bucket, capture->repo, err);
	if (!code)
		code = mb_bucket_connect(bucket, err);
	if (!code)
		code = mb_bucket_config_read(&merge.config, bucket->s3, bucket->name, err);
	/* A bucket that is not there must not look like an empty one. */
	if (code == MB_NOT_FOUND)
		return err->code = MB_UNREACHABLE;
	if (code)
		return code;
	if (bucket->has_iam)
		code = mb_bucket_config_read_iam(&merge.config, bucket->s3, err);
	if (!code)
		code = run_merge(&merge, cut, url, err);
	mb_bucket_fetch_free(merge.fetch);
	mb_manifest_reader_free(merge.reader);
	forget_known(&merge);
	mb_arena_release(&merge.data_arena);
	free(merge.known);
	free(merge.data);
	free(merge.made);
	mb_bucket_journal_release(&merge.journal);
	mb_bucket_config_release(&merge.config);
	return code;
}
