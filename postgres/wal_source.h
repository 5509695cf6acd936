/*
 * wal_source.h - what the Postgres component needs from whoever keeps its WAL.
 *
 * postgres/ may not include walstreamer/, so it states its needs here; walstreamer/
 * fills the table (mb_walstreamer_ops in walstreamer/source.h) and cli/drivers.c hands
 * it over: mb_postgres_component_ops(&mb_walstreamer_ops).
 *
 * A *branch* is a random 64-bit id (16 hex digits): (system id, timeline) is not unique,
 * since two restores of one base both become timeline 2.  Everything below speaks about
 * WAL that is durable in the repository, never about what a server still has.
 */
#ifndef MB_POSTGRES_WAL_SOURCE_H
#define MB_POSTGRES_WAL_SOURCE_H

#include <stdatomic.h>

#include "core/base/json.h"
#include "core/engine/env.h"
#include "postgres/connection.h"

/* printf("... " LSN_FMT " ...", LSN_ARGS(lsn)): as Postgres writes a position. */
#define LSN_FMT "%X/%X"
#define LSN_ARGS(lsn) (unsigned) ((lsn) >> 32), (unsigned) (lsn)

#define MB_WAL_BRANCH_TEXT 17
#define MB_WAL_SYSID_TEXT 24

/* -- receiving ------------------------------------------------------------------------------- */

enum mb_wal_slot
{
	MB_WAL_SLOT_PERMANENT, /* named; created when missing */
	MB_WAL_SLOT_EXISTING,  /* named; MB_NOT_FOUND when missing */
	MB_WAL_SLOT_TEMPORARY  /* lives as long as the connection */
};

struct mb_wal_receive
{
	const struct mb_env *env;
	const char *component;
	struct mb_pg_params connect;
	enum mb_wal_slot slot_kind;
	const char *slot;         /* its name; NULL for a temporary one */
	int64_t tail_interval_ms; /* how often an unfinished unit goes up */
	int64_t give_up_ms;       /* without the server: fail after so long; 0: never */
	/*
	 * With a permanent slot: report flush as soon as env->spool holds it, and read on while the
	 * repository does not follow, as far as the limit goes.
	 */
	bool ack_spool;
	uint64_t spool_limit_bytes;
	struct mb_progress *progress; /* NULL, or bumped with received bytes */
};

struct mb_wal_receiver;

/* Where a receiver is. */
struct mb_wal_status
{
	enum mb_code code;   /* MB_OK while it runs, else why it ended */
	struct mb_error err; /* with code */
	bool streaming;      /* connected, slot held, WAL flows */
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t timeline;
	char branch[MB_WAL_BRANCH_TEXT]; /* "" while it compares with what is stored */
	uint64_t start_lsn;              /* first byte that this run vouches for */
	uint64_t received_lsn;
	uint64_t durable_lsn; /* in the repository */
};

/* -- what is there --------------------------------------------------------------------------- */

/* A wait for WAL: extended as more becomes durable. */
struct mb_wal_cursor
{
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t timeline;
	uint32_t segment_size;
	char branch[MB_WAL_BRANCH_TEXT]; /* "": any; set once one covers the beginning */
	uint64_t from_lsn;               /* the beginning (its segment from the start) */
	uint64_t lsn;                    /* covered without a hole from from_lsn to here */
	/*
	 * The cut's restore point, or NULL.  A position says nothing about which history it is
	 * of (two clusters restored from one base write the same LSNs on the same timeline), but a
	 * restore point's name is unique: a branch that reaches point_lsn without it is not ours.
	 */
	const char *point;
	uint64_t point_lsn;
	/* private */
	bool point_seen;
	char refused[8][MB_WAL_BRANCH_TEXT];
	size_t refused_count;
	int64_t listed_ms;  /* when everything was listed last */
	int64_t listing_ms; /* how long that took */
};

/* One piece of a way through the WAL: [from_lsn, to_lsn) on one branch. */
struct mb_wal_link
{
	uint32_t timeline;
	char branch[MB_WAL_BRANCH_TEXT];
	uint64_t from_lsn; /* a segment start */
	uint64_t to_lsn;
	char history[MB_NAME_MAX]; /* blob with the timeline's history file, "" on timeline 1 */
};

struct mb_wal_point
{
	char name[64];
	uint64_t lsn; /* end of its record */
	int64_t time_us;
};

/* What a chain must lead to; everything else zero. */
struct mb_wal_query
{
	uint64_t start_lsn; /* of the base backup */
	uint32_t timeline;
	const char *branch;       /* NULL or "": any that covers start_lsn */
	uint32_t target_timeline; /* 0: the newest that descends from here */
	uint64_t need_lsn;        /* at least to here; 0: as far as it goes */
	const char *point;        /* a restore point that the chain must hold, or NULL */
	bool want_points;         /* fill chain.nearest, whatever it takes */
};

struct mb_wal_chain
{
	struct mb_wal_link *links;
	size_t count;
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t segment_size;
	uint64_t end_lsn;               /* = to_lsn of the last link */
	uint64_t last_record_lsn;       /* start of the last whole record known, 0 if not known */
	int64_t first_commit_us;        /* 0: none seen */
	int64_t last_commit_us;         /* newest commit or abort in it, 0: none */
	int64_t received_until_us;      /* the server's clock when its end was received */
	bool has_point;                 /* query.point was found ... */
	struct mb_wal_point point;      /* ... here */
	struct mb_wal_point nearest[4]; /* else some that exist, newest first */
	size_t nearest_count;
	/*
	 * A younger timeline leaves this chain at broken_lsn, but the segment of that place is
	 * not there, so the chain could not follow it.  0: none.
	 */
	uint32_t broken_timeline;
	uint32_t broken_parent;
	uint64_t broken_lsn;
	char broken_file[32];
	/* WAL of the last timeline begins again at hole_lsn, behind the end.  0: none. */
	uint64_t hole_lsn;
	bool hole_is_certain; /* it is of this very branch, not of another history */
	char hole_files[64];  /* "segments X to Y" */
};

/* A stretch of WAL that a backup which stays needs. */
struct mb_wal_need
{
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t timeline;               /* on this one, and up to ... */
	uint32_t to_timeline;            /* ... this one; UINT32_MAX: on all that may descend from it */
	char branch[MB_WAL_BRANCH_TEXT]; /* "": any */
	uint64_t from_lsn;
	uint64_t to_lsn; /* UINT64_MAX: all that follows */
};

struct mb_wal_inventory;
struct mb_trim;

struct mb_wal_ops
{
	/* Receive in this thread until cancelled or it cannot go on. */
	enum mb_code (*run)(const struct mb_wal_receive *options, struct mb_error *err);
	/*
	 * Start a receiver thread and wait until it streams (or failed).  options are
	 * copied, what they point to must live until stop.
	 */
	enum mb_code (*start)(struct mb_wal_receiver **receiver, const struct mb_wal_receive *options,
						  struct mb_error *err);
	void (*status)(struct mb_wal_receiver *receiver, struct mb_wal_status *status);
	/* Make what was received durable, end, join, free.  NULL does nothing. */
	void (*stop)(struct mb_wal_receiver *receiver);

	/* Extend cursor->lsn as far as the repository goes; returns at once. */
	enum mb_code (*advance)(const struct mb_env *env, const char *component,
							struct mb_wal_cursor *cursor, struct mb_error *err);

	/*
	 * Which blobs hold the WAL from the cursor's beginning to to_lsn, on its branch: the
	 * {prefix, from, to} of a commit's meta.needs, by which verify names the backups that a
	 * damaged piece concerns.  A new reference.
	 */
	json_t *(*needs)(const char *component, const struct mb_wal_cursor *cursor, uint64_t to_lsn);

	/* List all WAL of a system. */
	enum mb_code (*inventory)(struct mb_wal_inventory **inventory, const struct mb_env *env,
							  const char *component, const char *system_id, struct mb_error *err);
	void (*inventory_free)(struct mb_wal_inventory *inventory);
	/*
	 * The way from a base backup: MB_NOT_FOUND when nothing begins there, the wanted timeline
	 * is not reached, need_lsn is past the end or the point is not there; MB_CORRUPT
	 * for a hole before need_lsn, naming it.  On success release with chain_release.
	 */
	enum mb_code (*chain)(struct mb_wal_inventory *inventory, const struct mb_wal_query *query,
						  struct mb_wal_chain *chain, struct mb_error *err);
	/*
	 * When the newest commit or abort before lsn, in the chain, was: the time that an LSN stands for.
	 * 0 when there is none, or none near.
	 */
	enum mb_code (*time_at)(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
							uint64_t lsn, int64_t *before_us, struct mb_error *err);
	void (*chain_release)(struct mb_wal_chain *chain);
	/* The document that wal-get serves from: a new reference. */
	json_t *(*plan)(struct mb_wal_inventory *inventory, const struct mb_wal_chain *chain,
					const struct mb_env *env, const char *component, const char *restore_id);
	/*
	 * Set is_needed of the blobs that hold what is needed, that the receiver goes on from, or of whose
	 * cluster there is no backup yet (a week long).
	 */
	enum mb_code (*trim)(const struct mb_env *env, const char *component,
						 const struct mb_wal_need *needs, size_t count, struct mb_trim *trim,
						 struct mb_error *err);
};

/* The file in a restored data directory that holds the plan. */
#define MB_WAL_PLAN_FILE "mbackup_restore.json"

#endif
