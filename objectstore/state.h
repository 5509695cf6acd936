/*
 * state.h - which versions make up the state of a bucket (or of a directory that stands for
 * one) at a time, read from a manifest.
 *
 * A creation counts until *after* the time, a deletion only from *before* it: see
 * component_bucket.h.  What lies within the margin on the wrong side is ambiguous: it is there,
 * and said to be ambiguous.
 *
 * The manifest is read once, in the order of keys; what is held in memory is the versions of one key.
 */
#ifndef MB_OBJECTSTORE_STATE_H
#define MB_OBJECTSTORE_STATE_H

#include "core/engine/restore.h"

struct mb_state_time
{
	uint64_t created_ns; /* versions up to here are there */
	uint64_t deleted_ns; /* markers up to here, and what was erased before, are */
	/*
	 * Not 0: a position in the WAL.  Versions whose event is in the journal of a journalled bucket
	 * (meta.lsn) are placed by it and by nothing else.
	 */
	uint64_t lsn;
};

/* Everything there is, as far as the backup looked: the end of the stream. */
#define MB_STATE_LATEST ((struct mb_state_time){UINT64_MAX, UINT64_MAX, 0})

/*
 * T +- margin in the server's clock, as a backup of the component says it: its meta.clock_skew_us and meta.margin_us, or,
 * where it says no margin, the setting clock-margin.  At the backup's own cut also meta.cut_lsn.
 */
struct mb_state_time mb_state_of(const struct mb_commit *commit, const struct mb_settings *settings,
								 int64_t time_us);

struct mb_state_version
{
	struct mb_entry entry; /* complete; type OBJECT or MARKER */
	bool is_ambiguous;     /* erased around the time, nobody knows on which side */
};

struct mb_state_key
{
	const char *key;
	size_t key_len;
	const struct mb_state_version *versions; /* newest first */
	size_t count;                            /* at least 1 */
	const struct mb_state_version *current;  /* NULL: a marker hides it */
	bool is_ambiguous;                       /* whether it is there at all */
};

struct mb_state;

/* All is borrowed and outlives the state. */
struct mb_state *mb_state_new(const struct mb_repo *repo, const struct mb_commit *commit,
							  struct mb_state_time time);
/* The same from the first key that is not before `from`: what lies far before it is not read. */
struct mb_state *mb_state_new_from(const struct mb_repo *repo, const struct mb_commit *commit,
								   struct mb_state_time time, const char *from);
/*
 * The next key that has a version at the time; *key is NULL at the end.  Borrowed until the next call.
 * MB_CORRUPT: the manifest is damaged.
 */
enum mb_code mb_state_next(struct mb_state *state, const struct mb_state_key **key,
						   struct mb_error *err) MB_MUST_CHECK;
void mb_state_free(struct mb_state *state); /* NULL does nothing */

/*
 * The meta of a version's entry, a new reference; {} when there is none, or none that can be read:
 * that of another driver, of which nothing is known.
 */
json_t *mb_state_meta(const struct mb_entry *entry);

/* Does a key match one of the "--only PATTERN"s (fnmatch(3), '*' crosses '/')?  None: yes. */
bool mb_state_wanted(char *const *only, size_t only_count, const char *key);

#endif
