/*
 * retention.h - which backups are kept, and why, in words.  Pure: it looks at nothing but what it is
 * given.
 *
 * A *set* is kept when any rule wants it for any of its components.  Each component is judged by
 * itself, over the sets that hold it, so that a set which lacks Redis does not take a place among the
 * last backups of Redis; then a set lives or dies whole, because only a whole one can bring a stack
 * back.  A component with a policy of its own ([retention:NAME]) is judged by that alone, and may
 * outlive the rest of its set, or be outlived.
 *
 * A set's time is that of its id: when it began, by the store.  Periods are calendar hours, days, weeks
 * (from Monday), months and years in UTC; of each the newest backup is kept.  Rules do not know of each
 * other: the newest backup is usually the first of every one.
 *
 * The *window* of a component begins at one of its kept sets: everything since can be restored to any
 * moment, so its streams and scans are kept from there on.
 */
#ifndef MB_ENGINE_RETENTION_H
#define MB_ENGINE_RETENTION_H

#include "core/base/json.h"

struct mb_policy
{
	bool is_set; /* a section exists; without one everything is kept */
	int64_t days;
	int64_t last;
	int64_t hourly;
	int64_t daily;
	int64_t weekly;
	int64_t monthly;
	int64_t yearly;
	int64_t window_us; /* any moment of so long; 0: from the oldest kept by days or last */
};

/* At least one rule? */
bool mb_policy_keeps_something(const struct mb_policy *policy);
json_t *
mb_policy_json(const struct mb_policy *policy); /* a new reference; null without a section */

struct mb_override
{
	const char *component;
	struct mb_policy policy;
};

struct mb_retention
{
	struct mb_policy policy;
	const struct mb_override *overrides;
	size_t override_count;
	int64_t now_us;  /* by the store */
	int64_t lock_us; /* sets younger than this cannot be removed: the bucket locks them; 0: none */
	/*
	 * Oldest first, as core/engine/docs.h lists them: with "pin" {reason, time, until} where there is one.
	 */
	const json_t *sets;
	const json_t *marks;
};

/* One component of one set. */
struct mb_kept_part
{
	const char *component; /* borrowed from the document */
	const char *commit;
	bool is_kept;
	bool is_wanted; /* by a rule for this component itself */
	json_t *why;    /* texts; owned */
};

struct mb_kept_set
{
	const json_t *set; /* borrowed */
	const char *id;
	int64_t time_us;
	bool is_kept;
	bool is_pinned;
	json_t *why; /* what a person reads: texts that begin with "kept: " or "expires: "; owned */
	struct mb_kept_part *parts; /* those that it holds */
	size_t part_count;
};

struct mb_kept_mark
{
	const json_t *mark; /* borrowed */
	bool is_kept;
	bool is_pinned;
	json_t *why; /* owned */
};

struct mb_kept_window
{
	const char *component; /* borrowed from a document */
	int64_t from_us;       /* the time of the set that it begins with; INT64_MIN: everything */
};

struct mb_verdict
{
	struct mb_kept_set *sets; /* parallel to the input */
	size_t set_count;
	struct mb_kept_mark *marks; /* parallel to the input */
	size_t mark_count;
	struct mb_kept_window *windows; /* of every component that any set holds */
	size_t window_count;
	bool is_damaged; /* some document cannot be read, so nobody knows what it names */
};

/* Borrows from `retention`, which must outlive the verdict. */
void mb_retention_judge(const struct mb_retention *retention, struct mb_verdict *verdict);
void mb_verdict_release(struct mb_verdict *verdict);

/* Where the window of a component begins; INT64_MAX for one that no set holds. */
int64_t mb_verdict_window_us(const struct mb_verdict *verdict, const char *component);

#endif
