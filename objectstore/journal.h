/*
 * journal.h - what happened to the objects of a bucket: events, and a listener for them.
 *
 * Events are hints with three uses: which keys to look at again, when exactly a version came to
 * be (MinIO's sequencer is its time in nanoseconds, which no listing tells), and when exactly one
 * was erased.  They are never the truth: MinIO drops events when a reader is slow, without a sign,
 * and sends none for what replication writes.  The truth is a full listing.
 *
 * Source: MinIO's ListenNotification (GET /bucket?events=..., an endless body of JSON lines), and
 * the event message structure of the S3 user guide.
 */
#ifndef MB_OBJECTSTORE_JOURNAL_H
#define MB_OBJECTSTORE_JOURNAL_H

#include "objectstore/s3.h"

enum mb_event_kind
{
	MB_EVENT_CREATED, /* a version or delete marker with this id came to be */
	MB_EVENT_ERASED,  /* the version with this id is gone for good */
	MB_EVENT_TOUCHED  /* something else about the key: tags, locks, or what we do not know */
};

/* Texts are owned by the struct mb_events that holds it. */
struct mb_event
{
	enum mb_event_kind kind;
	const char *key;
	const char *version_id; /* "" when it says none */
	uint64_t version_ns;    /* CREATED: the version's time; 0: not told */
	int64_t time_us;        /* of the event, by the server's clock, to a millisecond */
	uint64_t lsn;           /* from the table of journalled buckets; else 0 */
	size_t at;              /* in the order of arrival */
};

/* Zero is a valid empty one. */
struct mb_events
{
	struct mb_arena arena;
	struct mb_event *items;
	size_t count;
	size_t cap;
	bool is_sorted;
	bool has_gap; /* something may be missing */
};

enum mb_event_parse_flags
{
	MB_EVENT_KEYS_ENCODED = 1 /* as notification targets get them; listeners get them plain */
};
/*
 * Add the events of one message, {"Records": [...]}, that concern the bucket and the prefix.  An
 * empty one (a ping) adds nothing.  MB_CORRUPT: it is no such message.
 */
enum mb_code mb_events_parse(struct mb_events *events, const void *data, size_t len, unsigned flags,
							 const char *bucket, const char *prefix, uint64_t lsn,
							 struct mb_error *err) MB_MUST_CHECK;
/* By key, then in the order of arrival. */
void mb_events_sort(struct mb_events *events);
/* After sorting: the events of a key, *count of them. */
const struct mb_event *mb_events_of(const struct mb_events *events, const char *key, size_t *count);
/* Of a key's version: when it came to be (0: not told), when it was erased (0: it was not). */
uint64_t mb_events_version_ns(const struct mb_events *events, const char *key,
							  const char *version_id);
int64_t mb_events_erased_us(const struct mb_events *events, const char *key,
							const char *version_id);
void mb_events_release(struct mb_events *events);

/* -- the listener: a thread that hears what MinIO tells ----------------------------------------------- */

struct mb_listener;

/* All is borrowed and outlives the listener; prefix may be "". */
struct mb_listener *mb_listener_start(struct mb_s3 *s3, const char *bucket, const char *prefix,
									  const struct mb_log *log, const struct mb_cancel *cancel);
/*
 * Take what was heard since the last call into *events (empty before).  has_gap: something may be
 * missing (the server was not heard all the time, or too much came at once); a full listing that begins
 * after this call makes up for it.
 */
void mb_listener_take(struct mb_listener *listener, struct mb_events *events);
/*
 * Is the server heard?  It speaks twice a second; one that is silent for five seconds is not connected, or
 * holds back what it says, and is of no use meanwhile.
 */
bool mb_listener_hears(struct mb_listener *listener);
/* How many events wait; has anything been missed? */
size_t mb_listener_waiting(struct mb_listener *listener, bool *has_gap);
/* MB_OK while it listens or tries to; else why it cannot (the server knows no listeners). */
enum mb_code mb_listener_status(struct mb_listener *listener, struct mb_error *err);
void mb_listener_stop(struct mb_listener *listener); /* joins the thread; NULL does nothing */

#endif
