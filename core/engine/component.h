/*
 * component.h - one thing to protect: the interface that every driver fills.
 *
 * Life of a backup, as the engine drives it (core/engine/backup.c):
 *
 *     open        from settings; cheap, connects to nothing
 *     snapshot    the bulk of the data, before the cut; may take hours
 *     hold        (--pause) stop writes for milliseconds
 *     position    BEFORE on all but the clock, AT on the clock (Postgres), AFTER on all others
 *     release     end of hold
 *     settle      bring the snapshot up to the cut: Redis reads its stream to the cut, a
 *                 bucket or tree is scanned, Postgres waits until its WAL is durable past it
 *     -> the engine writes the commit
 *
 * A mark is hold/position/release, then for each component either await (its stream
 * holds the cut) or, with MB_CAP_SCAN, a settle into a small incremental backup of
 * type "scan".
 *
 * Life of a restore: plan for every component (reads only; refuses what cannot be
 * done), then restore for every component.  A drill (core/engine/drill.h) is a restore into scratch
 * directories, then revive for every component, the user's health hook, and lay_down.
 * Over what is there (stack_restore.h): plan, holds, keep, restore, health; and undo on the
 * way back.
 *
 * Threads: a component is used by one thread at a time, but its stream runs on a
 * thread of its own with a component object of its own.
 *
 * Every callback is filled; a driver without a feature points at the mb_no_* stub and
 * leaves the capability bit out.  cli/drivers.c lists the drivers; core names none.
 */
#ifndef MB_ENGINE_COMPONENT_H
#define MB_ENGINE_COMPONENT_H

#include "core/base/names.h"
#include "core/engine/capture.h"
#include "core/engine/env.h"
#include "core/engine/restore.h"
#include "core/engine/safety.h"
#include "core/repo/sweep.h"

enum mb_capability
{
	MB_CAP_CLOCK = 1,        /* its position defines the time of a cut (Postgres) */
	MB_CAP_HOLD = 2,         /* can stop writes for a moment */
	MB_CAP_STREAM = 4,       /* has a continuous stream */
	MB_CAP_SCAN = 8,         /* its state at a mark is taken by an incremental settle */
	MB_CAP_INCREMENTAL = 16, /* makes use of capture->parent */
	MB_CAP_PRESCAN = 32,     /* is scanned just before a cut too, so that little lies between */
	MB_CAP_UNHELD = 64       /* takes writes that it cannot stop: no cut with it is a paused one */
};

/*
 * A cut: the positions that belong together.  `positions` maps component name to the
 * object that position() filled.
 */
struct mb_cut
{
	char id[MB_ID_TEXT];
	char restore_point[64];  /* "mbackup_<id>": the name of the restore point in the WAL */
	const char *consistency; /* "ordered" or "paused": what was reached */
	int64_t time_us;         /* by the clock component, or this machine */
	int64_t pause_us;        /* how long writes stood still; 0 when not paused */
	int64_t clock_skew_us;   /* local clock minus the clock component's, at the cut */
	int64_t clock_error_us;  /* half of the round trip of that comparison */
	json_t *positions;       /* owned */
};
void mb_cut_release(struct mb_cut *cut);
json_t *mb_cut_to_json(const struct mb_cut *cut); /* a new reference */
enum mb_code mb_cut_from_json(struct mb_cut *cut, const json_t *json,
							  struct mb_error *err) MB_MUST_CHECK;

enum mb_moment
{
	MB_MOMENT_BEFORE,
	MB_MOMENT_AT,
	MB_MOMENT_AFTER
};

/* What check() found; one line of `mbackup check`. */
enum mb_check_status
{
	MB_CHECK_OK,
	MB_CHECK_WARNING,
	MB_CHECK_FAILED,
	MB_CHECK_SKIPPED,
	MB_CHECK_ACCEPTED /* a warning that the user lives with; made of WARNING by mb_check_add() */
};
struct mb_checks
{
	json_t *list;     /* array of {id, name, component, status, message, fix}, owned */
	const char *kind; /* of the component that is looked at; NULL: of something else */
	const struct mb_names *accepted; /* "ID" or "ID:COMPONENT", or NULL: none */
};
/*
 * name: "wal-level", or "permission s3:GetObject", the first word of which is meant.  With the kind, or
 * else with the component, it makes the id ("postgres.wal-level", "repository.space") that stands in
 * conditions.h; a name with a dot is an id itself.  fix: a command or a line that can be pasted, with
 * the real names put in; "" when status is OK.
 */
void mb_check_add(struct mb_checks *checks, enum mb_check_status status, const char *component,
				  const char *name, const char *fix, const char *message_fmt, ...) MB_PRINTF(6, 7);
/* The same with a fix that is freed. */
void mb_check_add_fix(struct mb_checks *checks, enum mb_check_status status, const char *component,
					  const char *name, char *fix, const char *message_fmt, ...) MB_PRINTF(6, 7);

/* The time range(s) a component can be restored to, as the window objects of docs/configuration.md. */
struct mb_window
{
	int64_t from_us; /* 0: nothing can be restored */
	int64_t to_us;
	json_t *gaps; /* array of [from, to] texts, owned, or NULL */
};

struct mb_component;

/* What a drill has restored of one component, on its way from revive() to lay_down(). */
struct mb_trial
{
	const struct mb_commit *commit; /* complete */
	const char *directory;          /* absolute: what restore() was given */
	const char *sockets;            /* a directory of our own, 0700, empty, with a short path */
	const json_t *restored;         /* the component's part of the answer of the restore */
	struct mb_progress *progress;
	json_t *report; /* members for docs/configuration.md, "drill" */
	json_t
		*environment; /* for the health hook: {"CONNINFO": text} is MBACKUP_DRILL_<NAME>_CONNINFO */
	int64_t ready_ms; /* set by revive(): how long it took until it could be used */
	void *running;    /* the driver's */
};

/* What a restore would write, as directories that can be moved aside; owned. */
struct mb_holdings
{
	struct mb_safety **items;
	size_t count;
	size_t cap;
};
void mb_holdings_add(struct mb_holdings *holdings, struct mb_safety *safety); /* takes it */
void mb_holdings_release(struct mb_holdings *holdings);

/* -- which blobs of a stream are still needed -- */

/* A backup that stays. */
struct mb_trim_base
{
	const struct mb_commit *commit; /* its head: without blocks and references */
	/*
	 * Any moment behind it may be asked for.  Else only its own cut, and the positions of the marks
	 * that start from it.
	 */
	bool is_open;
	const json_t **positions; /* as cut->positions[name]; borrowed */
	size_t position_count;
};

struct mb_trim
{
	const struct mb_trim_base *bases; /* by id */
	size_t base_count;
	struct mb_stream_blob *blobs; /* all below streams/<component>/, by name */
	size_t blob_count;
	int64_t now_us;   /* by the store */
	int64_t young_us; /* what was put less than this ago is needed, whatever else */
};

/* The cut of a mark that starts from a backup: can it still be reached? */
struct mb_reach
{
	const struct mb_cut *cut;
	struct mb_error why; /* MB_OK: yes; MB_CORRUPT: no, and why not */
};

struct mb_component_ops
{
	const char *kind;
	unsigned capabilities;

	/* Settings are borrowed and outlive the component.  MB_CONFIG for values that make no sense. */
	enum mb_code (*open)(struct mb_component **component, const struct mb_settings *settings,
						 const struct mb_env *env, struct mb_error *err);
	void (*close)(struct mb_component *component); /* NULL does nothing */

	/* Add findings; fails only when it could not even look (most failures are findings). */
	enum mb_code (*check)(struct mb_component *component, struct mb_checks *checks,
						  struct mb_error *err);

	enum mb_code (*snapshot)(struct mb_component *component, struct mb_capture *capture,
							 struct mb_error *err);
	enum mb_code (*hold)(struct mb_component *component, int64_t limit_ms, struct mb_error *err);
	/* *held is false when the pause did not last until now. */
	enum mb_code (*release)(struct mb_component *component, bool *held, struct mb_error *err);
	/* Add to cut->positions[name].  At AT the clock also sets time_us and the skew. */
	enum mb_code (*position)(struct mb_component *component, struct mb_cut *cut,
							 enum mb_moment moment, struct mb_error *err);
	enum mb_code (*settle)(struct mb_component *component, struct mb_capture *capture,
						   const struct mb_cut *cut, struct mb_error *err);

	/*
	 * Wait until the component's stream in the repository holds everything up to the
	 * cut, or catch up by itself where it can.  MB_NEGATIVE: no stream covers it (the
	 * message says what to start).
	 */
	enum mb_code (*await)(struct mb_component *component, const struct mb_cut *cut,
						  int64_t timeout_ms, struct mb_error *err);
	/*
	 * Capture until cancelled (returns MB_OK then).  Survives what passes (a restart of
	 * the server) by reconnecting with a back-off; returns what cannot pass.
	 */
	enum mb_code (*stream)(struct mb_component *component, struct mb_error *err);

	/*
	 * What a restore of this backup to its own cut needs besides its packs (WAL, stream
	 * pieces) is there: MB_OK, or MB_CORRUPT saying what is missing.
	 */
	enum mb_code (*verify)(struct mb_component *component, const struct mb_commit *commit,
						   struct mb_error *err);
	/*
	 * The same for the cuts of marks that start from this backup: sets `why` of those that a restore
	 * would refuse, or would bring no further than to an older moment.  Fails only when it could not look.
	 */
	enum mb_code (*reach)(struct mb_component *component, const struct mb_commit *commit,
						  struct mb_reach *reaches, size_t count, struct mb_error *err);
	enum mb_code (*window)(struct mb_component *component, struct mb_window *window,
						   struct mb_error *err);

	/*
	 * Set is_needed of every blob that a restore from one of the bases may need, or the stream itself
	 * to go on: in doubt it is needed.  What is not ours to judge is needed too.
	 */
	enum mb_code (*trim)(struct mb_component *component, struct mb_trim *trim,
						 struct mb_error *err);

	/* Choose restore->commit and refuse what cannot be done; changes nothing anywhere. */
	enum mb_code (*plan)(struct mb_component *component, struct mb_restore *restore,
						 struct mb_error *err);
	enum mb_code (*restore)(struct mb_component *component, struct mb_restore *restore,
							struct mb_error *err);
	/*
	 * A drill: bring to life, in private, what restore() has put into a directory, look at all of
	 * it, and leave it running.  MB_NEGATIVE says what is wrong with it.  lay_down() follows in any case
	 * and leaves no process; the directories are the caller's.
	 */
	enum mb_code (*revive)(struct mb_component *component, struct mb_trial *trial,
						   struct mb_error *err);
	void (*lay_down)(struct mb_component *component, struct mb_trial *trial);
	/*
	 * After plan: the directories that restore would write (struct mb_safety, not yet chosen).
	 * None for what is not in a directory of this machine.
	 */
	enum mb_code (*holds)(struct mb_component *component, struct mb_restore *restore,
						  struct mb_holdings *holdings, struct mb_error *err);
	/*
	 * The other way to keep what is there, where no directory can be moved (a bucket, a running
	 * server): fills restore->kept, so that undo() brings it back.  Both may be killed and called
	 * again; keep() never after restore() began.  kept stays NULL when there is nothing to do.
	 */
	enum mb_code (*keep)(struct mb_component *component, struct mb_restore *restore,
						 struct mb_error *err);
	enum mb_code (*undo)(struct mb_component *component, struct mb_restore *restore,
						 struct mb_error *err);
	/*
	 * Is it well?  MB_NEGATIVE with the reason when not.  With a restore that replaced it: waits
	 * until it is up and has reached the target, and adds to restore->result; without (NULL): as
	 * it is now.
	 */
	enum mb_code (*health)(struct mb_component *component, struct mb_restore *restore,
						   struct mb_error *err);
	/* One line about it for `check` and `info`, e.g. "PostgreSQL 15.8 at /var/lib/..."; free() it. */
	char *(*describe)(struct mb_component *component);
};

/* A driver embeds this first. */
struct mb_component
{
	const struct mb_component_ops *ops;
	const struct mb_settings *settings;
	const struct mb_env *env;
	const char *name; /* = settings->name */
};

/* Shared stubs: MB_UNSUPPORTED "<kind> does not support ...". */
enum mb_code mb_no_hold(struct mb_component *, int64_t, struct mb_error *);
enum mb_code mb_no_release(struct mb_component *, bool *, struct mb_error *);
enum mb_code mb_no_await(struct mb_component *, const struct mb_cut *, int64_t, struct mb_error *);
enum mb_code mb_no_stream(struct mb_component *, struct mb_error *);
/* Shared: nothing to do, MB_OK. */
enum mb_code mb_nothing_snapshot(struct mb_component *, struct mb_capture *, struct mb_error *);
enum mb_code mb_nothing_position(struct mb_component *, struct mb_cut *, enum mb_moment,
								 struct mb_error *);
enum mb_code mb_nothing_kept(struct mb_component *, struct mb_restore *, struct mb_error *);
enum mb_code mb_nothing_verify(struct mb_component *, const struct mb_commit *, struct mb_error *);
/* Shared: a mark is a backup of its own, so everything is in its packs. */
enum mb_code mb_nothing_reach(struct mb_component *, const struct mb_commit *, struct mb_reach *,
							  size_t, struct mb_error *);
/* For reach(): reach->why was just raised.  Is it the answer no (MB_OK), or a failure to look (*err)? */
enum mb_code mb_reach_answer(struct mb_reach *reach, struct mb_error *err) MB_MUST_CHECK;
/* Shared: what is below the directory is what the manifest says, by size and checksum (trial_tree.c). */
enum mb_code mb_tree_revive(struct mb_component *, struct mb_trial *, struct mb_error *);
void mb_nothing_lay_down(struct mb_component *, struct mb_trial *);
/* A line of a trial's report; FAILED is MB_NEGATIVE with that message. */
enum mb_trial_status
{
	MB_TRIAL_OK,
	MB_TRIAL_FAILED,
	MB_TRIAL_SKIPPED
};
enum mb_code mb_trial_check(struct mb_trial *trial, const char *name, enum mb_trial_status status,
							struct mb_error *err, const char *message_fmt, ...) MB_PRINTF(5, 6);
/* Shared: a component without streams; whatever stands there is needed. */
enum mb_code mb_nothing_trim(struct mb_component *, struct mb_trim *, struct mb_error *);
/* Shared: from the first to the last commit's cut time (for components with MB_CAP_SCAN). */
enum mb_code mb_scan_window(struct mb_component *, struct mb_window *, struct mb_error *);

#endif
