/*
 * stack.h - the operations on a whole stack: backup, mark, stream, list, restore,
 * verify.  What a user types in cli/ and (later) asks for in SQL ends here.
 *
 * Every operation returns its answer as the JSON object that docs/configuration.md promises; the
 * text output is rendered from the same object, so both always say the same.
 * MB_PARTIAL comes with a complete answer: something in it is named as missing.
 *
 * Threads: one operation at a time per struct mb_stack.
 */
#ifndef MB_ENGINE_STACK_H
#define MB_ENGINE_STACK_H

#include "core/engine/component.h"

struct mb_stack
{
	const struct mb_env *env;
	struct mb_component **components; /* the clock, if any, first */
	size_t count;
};

struct mb_component *mb_stack_find(const struct mb_stack *stack, const char *name);
/* The component that is the clock, or NULL. */
struct mb_component *mb_stack_clock(const struct mb_stack *stack);
/*
 * Keep only the named components (count 0: all).  MB_NOT_FOUND names the unknown one
 * and what there is.
 */
enum mb_code mb_stack_select(struct mb_stack *out, const struct mb_stack *stack, char *const *names,
							 size_t count, struct mb_error *err) MB_MUST_CHECK;
void mb_stack_release(struct mb_stack *stack); /* frees the array, not the components */

enum mb_backup_type
{
	MB_BACKUP_AUTO,
	MB_BACKUP_FULL,
	MB_BACKUP_INCREMENTAL
};

struct mb_backup_options
{
	enum mb_backup_type type;
	unsigned flags;       /* MB_CUT_PAUSE */
	const json_t *labels; /* object of strings, or NULL */
};

enum mb_cut_flags
{
	MB_CUT_PAUSE = 1
};

/* Longest time that --pause may hold writes. */
#define MB_PAUSE_LIMIT_MS 2000

/*
 * Take a set: a backup of every component of the stack at one cut.  *set is B of
 * docs/configuration.md.  A component that fails makes the set partial and is named in it; when all
 * fail, so does the call.  MB_CONFLICT: another backup of this stack runs here.
 */
enum mb_code mb_backup_run(const struct mb_stack *stack, const struct mb_backup_options *options,
						   json_t **set, struct mb_error *err) MB_MUST_CHECK;

/*
 * Take a mark.  Written only when the streams hold it; MB_EXISTS when the name is
 * taken, MB_PARTIAL when a component other than the clock has no stream that covers it.
 */
enum mb_code mb_mark_run(const struct mb_stack *stack, const char *name, unsigned flags,
						 json_t **mark, struct mb_error *err) MB_MUST_CHECK;

/*
 * Look at one component (MB_CAP_SCAN) now and commit what it finds as a backup of type "scan", when
 * something changed; *id gets its commit, or the one that holds the same.  For streams of drivers
 * that know when to look.
 */
enum mb_code mb_scan_run(struct mb_component *component, char id[MB_ID_TEXT],
						 struct mb_error *err) MB_MUST_CHECK;

/* Run the streams of all components until cancelled. */
enum mb_code mb_stream_run(const struct mb_stack *stack, struct mb_error *err) MB_MUST_CHECK;

/* {"backups": [...], "marks": [...], "windows": [...]}, oldest first. */
enum mb_code mb_list_run(const struct mb_stack *stack, json_t **answer,
						 struct mb_error *err) MB_MUST_CHECK;

/*
 * One set by id, unique prefix or "latest".  MB_NOT_FOUND lists what there is;
 * MB_CONFIG for an ambiguous prefix.
 */
enum mb_code mb_set_find(const struct mb_repo *repo, const char *which, json_t **set,
						 struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_mark_find(const struct mb_repo *repo, const char *name, json_t **mark,
						  struct mb_error *err) MB_MUST_CHECK;

struct mb_restore_destination
{
	char *component;
	char *destination; /* NULL: its own place */
};

struct mb_restore_options
{
	const char *backup;      /* id, prefix, "latest", or NULL: chosen by the target */
	struct mb_target target; /* cut is filled by the engine */
	const struct mb_restore_destination *destinations; /* empty: every component */
	size_t destination_count;
	char **only;
	size_t only_count;
	struct mb_restore_wishes wishes;
};

/*
 * Plan every component, then restore every component.  Nothing is written anywhere
 * before all plans stand.  When a component fails, what this restore made of it is
 * removed again (but never what a delta found), the others are left as they are, and the
 * error says so.
 */
enum mb_code mb_restore_run(const struct mb_stack *stack, const struct mb_restore_options *options,
							json_t **answer, struct mb_error *err) MB_MUST_CHECK;

enum mb_read_data
{
	MB_READ_NONE,    /* commits, manifests, references: every pack that is needed is there */
	MB_READ_CHANGED, /* the packs written by the backups that are verified */
	MB_READ_FULL     /* every bit of every blob */
};

struct mb_verify_options
{
	char *const *backups; /* ids or prefixes; none: the whole repository */
	size_t backup_count;
	enum mb_read_data read_data;
	/* With MB_READ_FULL, by age: what was not read for the longest time comes first. */
	int64_t older_than_ms; /* only what was not read for so long; 0: everything */
	int64_t budget_ms;     /* begin no blob after so long; 0: no end */
	uint64_t budget_bytes; /* ... or after so many stored bytes */
};

static inline bool
mb_verify_goes_by_age(const struct mb_verify_options *options)
{
	return options->older_than_ms || options->budget_ms || options->budget_bytes;
}

/*
 * *answer is the verify object of docs/configuration.md; MB_CORRUPT with a complete answer when there
 * are problems.  What was read is noted in the repository (verified.h), where that can be written.
 */
enum mb_code mb_verify_run(const struct mb_stack *stack, const struct mb_verify_options *options,
						   json_t **answer, struct mb_error *err) MB_MUST_CHECK;

#endif
