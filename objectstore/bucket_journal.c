/* bucket_journal.c - see bucket_journal.h. */
#include "objectstore/bucket_journal.h"

#include <string.h>

/* Some 300 bytes each.  Beyond, the bucket is placed by time until the next backup. */
#define EVENTS_MAX 300000

struct reading
{
	struct mb_bucket_journal *journal;
	const struct mb_bucket *bucket;
	const struct mb_cancel *cancel;
	uint64_t damaged;
};

static enum mb_code
take_row(void *ctx, uint64_t id, uint64_t lsn, const char *data, size_t len, struct mb_error *err)
{
	struct reading *reading = ctx;
	struct mb_bucket_journal *journal = reading->journal;
	struct mb_error ignored;

	journal->last_id = id;
	if (mb_cancel_check(reading->cancel, err))
		return err->code;
	if (journal->events.count >= EVENTS_MAX)
		return mb_fail(err, MB_NO_SPACE, "more than %d events came since the last backup",
					   EVENTS_MAX);
	/* Whatever else somebody wrote there tells nothing about a version. */
	if (mb_events_parse(&journal->events, data, len, MB_EVENT_KEYS_ENCODED, reading->bucket->name,
						reading->bucket->prefix, lsn, &ignored))
		reading->damaged++;
	return MB_OK;
}

/* The position of the clock in a cut; 0 when it has none. */
static uint64_t
lsn_of_cut(const struct mb_cut *cut)
{
	const char *name;
	json_t *position;
	uint64_t lsn = 0;

	json_object_foreach(cut->positions, name, position)
	{
		if (mb_lsn_parse(&lsn, mb_json_str(position, "lsn", "")))
			return lsn;
	}
	return 0;
}

enum mb_code
mb_bucket_journal_read(struct mb_bucket_journal *journal, const struct mb_bucket *bucket,
					   const struct mb_commit *parent, const struct mb_cut *cut,
					   struct mb_capture *capture, struct mb_error *err)
{
	struct reading reading = {journal, bucket, capture->env->cancel, 0};
	int64_t since = parent ? mb_json_int(parent->meta, "journal_id", -1) : -1;
	enum mb_code code;

	if (!bucket->is_journalled)
		return MB_OK;
	journal->last_id = since > 0 ? (uint64_t) since : 0;
	code = bucket->source->read(bucket->base.settings, journal->last_id, take_row, &reading, err);
	if (code == MB_INTERRUPTED)
		return code;
	if (code)
	{
		mb_capture_warn(capture, "this backup is placed by time, not by the journal: %s",
						err->message);
		mb_events_release(&journal->events);
		return MB_OK;
	}
	if (reading.damaged > 0)
		mb_capture_note(capture, "%llu rows of the journal are no events",
						(unsigned long long) reading.damaged);
	mb_events_sort(&journal->events);
	journal->is_read = true;
	journal->cut_lsn = lsn_of_cut(cut);
	return MB_OK;
}

uint64_t
mb_bucket_journal_lsn(const struct mb_bucket_journal *journal, const char *key,
					  const char *version_id, enum mb_event_kind kind)
{
	const struct mb_event *of_key;
	uint64_t lsn = 0;
	size_t count, i;

	if (!journal->is_read)
		return 0;
	of_key = mb_events_of(&journal->events, key, &count);
	for (i = 0; i < count; i++)
		if (of_key[i].kind == kind && strcmp(of_key[i].version_id, version_id) == 0)
			lsn = of_key[i].lsn;
	return lsn;
}

void
mb_bucket_journal_report(const struct mb_bucket_journal *journal, const struct mb_bucket *bucket,
						 struct mb_capture *capture)
{
	bool is_exact = journal->is_read && journal->cut_lsn && journal->missing == 0;

	if (!bucket->is_journalled)
		return;
	if (journal->is_read)
		mb_json_set_int(capture->meta, "journal_id", (int64_t) journal->last_id);
	if (journal->is_read && journal->cut_lsn)
		mb_json_set_lsn(capture->meta, "cut_lsn", journal->cut_lsn);
	mb_json_set_str(capture->meta, "consistency", is_exact ? "journalled" : "ordered");
	if (journal->is_read && journal->missing > 0)
		mb_capture_warn(capture,
						"the journal has no event of %llu versions from around the cut: they are "
						"placed by their time",
						(unsigned long long) journal->missing);
}

void
mb_bucket_journal_release(struct mb_bucket_journal *journal)
{
	mb_events_release(&journal->events);
	memset(journal, 0, sizeof(*journal));
}
