/*
 * expire_test.c - ten years of backups under a retention, with clocks that jump, crashes between any
 * two operations of the store and two hosts at once: nothing that is kept is ever damaged, what is
 * garbage goes, what was said is what was done, and crashes change nothing in the end.
 *
 * The judge is a model of its own: periods by strftime, needs by what the test itself has put.  Some months
 * are simulated, or ten years with MBACKUP_LONG=1; MBACKUP_SEED repeats a run.
 */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/expire.h"
#include "core/engine/pins.h"
#include "core/repo/lease_private.h"
#include "postgres/component_postgres.h"
#include "redis/component_private.h"
#include "redis/pieces.h"
#include "tests/lib/repo_fixture.h"
#include "tests/lib/sim_store.h"
#include "walstreamer/piece.h"
#include "walstreamer/source.h"

#define DAY_US (24LL * 3600 * 1000000)
#define HOUR_US (3600LL * 1000000)
#define SEGMENT (1u << 20)
#define PIECE (256u << 10) /* a unit, of which the last is always kept, is a day of WAL */
#define SYSTEM_ID "7711275727152647008"
#define MAX_TIMELINES 64

enum
{
	PG,
	REDIS,
	UPLOADS,
	COMPONENTS
};
static const char *const component_names[COMPONENTS] = {"postgres", "redis", "uploads"};
static const char *const kinds[COMPONENTS] = {"postgres", "redis", "objects"};

/* -- the world ------------------------------------------------------------------------------- */

struct piece
{
	char name[MB_NAME_MAX];
	uint32_t timeline;
	uint64_t from, to;
};

struct timeline
{
	uint32_t parent;
	uint64_t left_at; /* where it left its parent */
};

/* A backup that takes until the next day: an expire runs meanwhile. */
struct slow
{
	struct mb_lease *lease; /* NULL: none is running */
	char lease_id[MB_ID_TEXT];
	char set_id[MB_ID_TEXT];
	char postgres[MB_ID_TEXT]; /* committed on the first day */
	struct mb_pack_refs refs;  /* what the bucket's backup will refer to, chosen on the first day */
	unsigned number;
	unsigned jumps;
};

struct world
{
	struct sim_store *sim;
	struct mb_repo *repo;
	struct mb_env hosts[2];
	struct mb_component *components[COMPONENTS];
	struct mb_settings settings[COMPONENTS];
	struct mb_stack stacks[2];
	struct mb_expire_options options;
	struct mb_override overrides[1];
	uint64_t random; /* of the story: the same with and without crashes */
	uint64_t luck;   /* of crashes and hosts */
	bool with_crashes;
	int64_t now_us;
	/* the database */
	uint32_t timeline;
	uint64_t lsn;
	struct timeline timelines[MAX_TIMELINES + 1];
	struct piece *pieces;
	size_t piece_count, piece_cap;
	/* Redis */
	char replid[MB_REPLID_TEXT];
	uint64_t offset;
	struct mb_piece_name *redis; /* in the order of putting; a gap is between two without a chain */
	size_t redis_count, redis_cap;
	/* what the last backup of each component refers to */
	struct mb_pack_refs refs[COMPONENTS];
	unsigned number; /* of backups and marks: their labels */
	/*
	 * Sets, by component, whose window an expire found closed: what they needed for it may be gone,
	 * though the clock was set back since and their age would want it again.
	 */
	json_t *closed[COMPONENTS];
	struct slow slow;
	unsigned jumps;
	/* figures */
	size_t expires, crashes, beside, sets_made, sets_expired, guarded;
	size_t most_garbage, packs_then;
};

static uint64_t
roll(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 11) % below;
}

static void
set_clock(struct world *world, int64_t now_us)
{
	world->now_us = now_us;
	world->options.local_us = now_us;
	mb_store_memory_set_clock(world->sim->inner, now_us);
}

static char spool[] = "/tmp/mb-expire-XXXXXX";

/* A bucket: scanned, without streams. */
static const struct mb_component_ops uploads_ops = {.kind = "objects",
													.capabilities =
														MB_CAP_SCAN | MB_CAP_INCREMENTAL,
													.trim = mb_nothing_trim};

static void
open_components(struct world *world)
{
	static struct mb_component uploads;
	struct mb_error err;
	size_t i;

	for (i = 0; i < COMPONENTS; i++)
	{
		snprintf(world->settings[i].name, sizeof(world->settings[i].name), "%s",
				 component_names[i]);
		snprintf(world->settings[i].kind, sizeof(world->settings[i].kind), "%s", kinds[i]);
	}
	mb_settings_add(&world->settings[PG], "conninfo", "host=/nonexistent");
	mb_settings_add(&world->settings[REDIS], "url", "redis://127.0.0.1:1");
	assert_ok(mb_postgres_component_ops(&mb_walstreamer_ops)
				  ->open(&world->components[PG], &world->settings[PG], &world->hosts[0], &err),
			  err);
	assert_ok(mb_redis_component_ops.open(&world->components[REDIS], &world->settings[REDIS],
										  &world->hosts[0], &err),
			  err);
	uploads = (struct mb_component){&uploads_ops, &world->settings[UPLOADS], &world->hosts[0],
									component_names[UPLOADS]};
	world->components[UPLOADS] = &uploads;
}

static void
new_replid(struct world *world)
{
	size_t i;

	for (i = 0; i < MB_REPLID_LEN; i++)
		world->replid[i] = "0123456789abcdef"[roll(&world->random, 16)];
	world->replid[MB_REPLID_LEN] = '\0';
}

static struct world *
world_new(uint64_t seed, bool with_crashes)
{
	struct world *world = mb_calloc(1, sizeof(*world));
	struct mb_unlock unlock = {0};
	struct mb_error err;
	size_t i;

	world->sim = sim_store_new();
	world->random = seed * 2654435761u + 88172645463325252u;
	world->luck = world->random ^ 0x5555;
	world->with_crashes = with_crashes;
	set_clock(world, 1767225600LL * 1000000); /* 2026-01-01 */
	assert_ok(mb_repo_create(&world->repo, &world->sim->base, MB_SUITE_NONE, &unlock, &err), err);
	world->repo->zstd_level = 1;
	for (i = 0; i < 2; i++)
	{
		char *path = mb_asprintf("%s/%zu", spool, i);

		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		world->hosts[i] = (struct mb_env){.repo = world->repo, .workers = 1, .spool = path};
	}
	open_components(world);
	for (i = 0; i < 2; i++)
		world->stacks[i] = (struct mb_stack){&world->hosts[i], world->components, COMPONENTS};
	world->options.policy = (struct mb_policy){.is_set = true,
											   .days = 10,
											   .last = 3,
											   .daily = 14,
											   .weekly = 6,
											   .monthly = 8,
											   .yearly = 4};
	world->overrides[0] =
		(struct mb_override){component_names[UPLOADS], {.is_set = true, .days = 20, .weekly = 12}};
	world->options.overrides = world->overrides;
	world->options.override_count = 1;
	world->options.grace_us = MB_GRACE_US;
	for (i = 0; i < COMPONENTS; i++)
		world->closed[i] = json_object();
	world->timeline = 1;
	world->timelines[1].left_at = 17u << 20;
	world->lsn = 16u << 20;
	world->offset = 1000;
	new_replid(world);
	return world;
}

static void
world_free(struct world *world)
{
	size_t i;

	world->components[PG]->ops->close(world->components[PG]);
	world->components[REDIS]->ops->close(world->components[REDIS]);
	for (i = 0; i < COMPONENTS; i++)
	{
		json_decref(world->closed[i]);
		mb_settings_release(&world->settings[i]);
		mb_pack_refs_release(&world->refs[i]);
	}
	for (i = 0; i < 2; i++)
		free((char *) (uintptr_t) world->hosts[i].spool);
	free(world->pieces);
	free(world->redis);
	mb_repo_free(world->repo);
	free(world);
}

/* -- streams --------------------------------------------------------------------------------- */

static void
branch_of(uint32_t timeline, char out[MB_WAL_BRANCH_TEXT])
{
	snprintf(out, MB_WAL_BRANCH_TEXT, "%016x", timeline);
}

static void
put_wal(struct world *world)
{
	static const unsigned char zeros[PIECE];
	struct mb_blob_writer writer = {0};
	struct mb_wal_facts facts = {0};
	char branch[MB_WAL_BRANCH_TEXT];
	struct mb_wal_piece piece = {.where = {component_names[PG], SYSTEM_ID, world->timeline, branch,
										   SEGMENT},
								 .from_lsn = world->lsn,
								 .to_lsn = world->lsn + PIECE,
								 .facts = &facts,
								 .data = zeros};
	struct piece *made;
	struct mb_error err;

	branch_of(world->timeline, branch);
	assert_ok(mb_wal_piece_put(&writer, world->repo, &piece, &err), err);
	mb_blob_writer_release(&writer);
	world->pieces =
		mb_grow(world->pieces, &world->piece_cap, world->piece_count + 1, sizeof(*world->pieces));
	made = &world->pieces[world->piece_count++];
	*made = (struct piece){.timeline = world->timeline, .from = piece.from_lsn, .to = piece.to_lsn};
	mb_wal_piece_name(made->name, &piece.where, piece.from_lsn, piece.to_lsn);
	world->lsn += PIECE;
}

static void
put_redis(struct world *world, enum mb_piece_kind kind, const char *from_replid)
{
	static const char bytes[64];
	uint64_t len = kind == MB_PIECE_DATA ? sizeof(bytes) : 0;
	struct mb_piece *piece = mb_calloc(1, sizeof(*piece));
	struct mb_error err;

	strcpy(piece->name.replid, world->replid);
	piece->name.start = world->offset;
	piece->name.end = piece->command = world->offset + len;
	if (len)
		piece->command = world->offset;
	piece->kind = kind;
	if (from_replid)
	{
		strcpy(piece->from_replid, from_replid);
		piece->from_offset = world->offset;
	}
	assert_ok(mb_piece_put(world->repo, component_names[REDIS], piece, bytes, len, &err), err);
	world->redis =
		mb_grow(world->redis, &world->redis_cap, world->redis_count + 1, sizeof(*world->redis));
	world->redis[world->redis_count++] = piece->name;
	world->offset += len;
	free(piece);
}

/* A restore to an earlier moment: a new timeline, that left the old one a little before its end. */
static void
switch_timeline(struct world *world)
{
	uint64_t back = roll(&world->random, 12) * PIECE;

	/* A timeline is left behind where it began. */
	if (world->timeline == MAX_TIMELINES ||
		world->lsn < back + world->timelines[world->timeline].left_at + PIECE)
		return;
	world->lsn -= back;
	world->timelines[world->timeline + 1] = (struct timeline){world->timeline, world->lsn};
	world->timeline++;
}

static void
move_redis(struct world *world)
{
	char old[MB_REPLID_TEXT];

	strcpy(old, world->replid);
	new_replid(world);
	if (roll(&world->random, 2))
		put_redis(world, MB_PIECE_CONTINUE, old);
	else
	{
		world->offset += 500;
		put_redis(world, MB_PIECE_GAP, old);
	}
}

/* -- backups --------------------------------------------------------------------------------- */

/* Most of what the parent has, and some new packs.  Their contents are nobody's business here. */
static void
make_refs(struct world *world, int component, struct mb_pack_refs *refs, bool is_full)
{
	const struct mb_pack_refs *parent = &world->refs[component];
	struct mb_error err;
	size_t i, fresh = 1 + roll(&world->random, 3);

	for (i = 0; !is_full && i < parent->count; i++)
		if (roll(&world->random, 10) > 0)
			mb_pack_refs_add(refs, &parent->items[i].pack, 100);
	for (i = 0; i < fresh; i++)
	{
		char name[MB_PACK_NAME_TEXT];
		struct mb_pack_id id;
		size_t j;

		for (j = 0; j < sizeof(id.bytes); j++)
			id.bytes[j] = (unsigned char) roll(&world->random, 256);
		mb_pack_name(name, &id);
		assert_ok(mb_store_put(world->sim->inner, name, name, strlen(name), &err), err);
		mb_pack_refs_add(refs, &id, 100);
	}
	mb_pack_refs_settle(refs);
}

static json_t *
lsn_json(json_t *json, const char *key, uint64_t lsn)
{
	mb_json_set_lsn(json, key, lsn);
	return json;
}

static json_t *
meta_of(struct world *world, int component, uint64_t start_lsn)
{
	json_t *meta = json_object();
	char branch[MB_WAL_BRANCH_TEXT];

	branch_of(world->timeline, branch);
	mb_json_set_int(meta, "label", world->number);
	if (component == PG)
	{
		mb_json_set_int(meta, "timeline", world->timeline);
		mb_json_set_str(meta, "system_id", SYSTEM_ID);
		mb_json_set_str(meta, "branch", branch);
		lsn_json(meta, "start_lsn", start_lsn);
		lsn_json(meta, "stop_lsn", world->lsn);
		json_object_set_new(meta, "wal",
							lsn_json(lsn_json(json_object(), "from", start_lsn), "to", world->lsn));
	}
	else if (component == REDIS)
	{
		mb_json_set_str(meta, "replid", world->replid);
		mb_json_set_int(meta, "offset", (int64_t) world->offset);
	}
	return meta;
}

/* Of given references, which it takes.  MB_CONFLICT: expire was there first, and the commit is not. */
static enum mb_code
commit_refs(struct world *world, struct mb_lease *lease, int component, const char *type,
			uint64_t start_lsn, struct mb_pack_refs *refs, char id[MB_ID_TEXT])
{
	struct mb_commit commit = {0};
	struct mb_error err;
	enum mb_code code;

	mb_id_new(commit.id, world->now_us);
	snprintf(commit.component, sizeof(commit.component), "%s", component_names[component]);
	snprintf(commit.kind, sizeof(commit.kind), "%s", kinds[component]);
	snprintf(commit.type, sizeof(commit.type), "%s", type);
	commit.started_us = commit.finished_us = world->now_us;
	commit.meta = meta_of(world, component, start_lsn);
	commit.refs = *refs;
	memset(refs, 0, sizeof(*refs));
	code = mb_commit_put_guarded(world->repo, lease, &commit, &err);
	if (code)
	{
		assert_int_equal(code, MB_CONFLICT);
		world->guarded++;
	}
	else
	{
		strcpy(id, commit.id);
		mb_pack_refs_release(&world->refs[component]);
		world->refs[component] = commit.refs;
		memset(&commit.refs, 0, sizeof(commit.refs));
	}
	mb_commit_release(&commit);
	return code;
}

static enum mb_code
commit_one(struct world *world, struct mb_lease *lease, int component, const char *type,
		   uint64_t start_lsn, char id[MB_ID_TEXT])
{
	struct mb_pack_refs refs = {0};

	make_refs(world, component, &refs, strcmp(type, "full") == 0);
	return commit_refs(world, lease, component, type, start_lsn, &refs, id);
}

static struct mb_lease *
begin_lease_named(struct world *world, const char *kind, char id[MB_ID_TEXT])
{
	struct mb_lease *lease = NULL;
	struct mb_error err;

	mb_id_new(id, world->now_us);
	assert_ok(mb_lease_start_every(&lease, world->repo, id, kind, 1000000000, DAY_US / 2, &err),
			  err);
	return lease;
}

static struct mb_lease *
begin_lease(struct world *world, const char *kind)
{
	char id[MB_ID_TEXT];

	return begin_lease_named(world, kind, id);
}

static void
slow_begin(struct world *world)
{
	struct slow *slow = &world->slow;
	uint64_t start_lsn = world->lsn;

	set_clock(world, world->now_us + 1000000);
	mb_id_new(slow->set_id, world->now_us);
	slow->lease = begin_lease_named(world, "backup", slow->lease_id);
	slow->number = ++world->number;
	slow->jumps = world->jumps;
	set_clock(world, world->now_us + 1000000);
	put_wal(world);
	assert_int_equal(commit_one(world, slow->lease, PG, "full", start_lsn, slow->postgres), MB_OK);
	make_refs(world, UPLOADS, &slow->refs, false);
}

static void
slow_renew(struct world *world)
{
	char name[MB_NAME_MAX];
	json_t *json = json_object();
	struct mb_error err;

	mb_json_set_str(json, "kind", "backup");
	snprintf(name, sizeof(name), "leases/%s/00000001", world->slow.lease_id);
	assert_ok(mb_doc_put(world->repo, MB_ROLE_LEASE, name, json, &err), err);
	json_decref(json);
}

static void
slow_end(struct world *world)
{
	struct slow *slow = &world->slow;
	char id[MB_ID_TEXT], renewal[MB_NAME_MAX];
	const char *names[] = {renewal};
	struct mb_error err;
	json_t *set;

	if (commit_refs(world, slow->lease, UPLOADS, "incremental", 0, &slow->refs, id))
		/* Only a clock that was set can make a lease look dead. */
		assert_int_not_equal(slow->jumps, world->jumps);
	else if (slow->jumps == world->jumps)
	{
		set = json_pack("{s:s,s:i,s:s,s:[{s:s,s:s},{s:s,s:s}]}", "id", slow->set_id, "label",
						(int) slow->number, "status", "partial", "components", "name", "postgres",
						"backup", slow->postgres, "name", "uploads", "backup", id);
		assert_ok(mb_set_put(world->repo, set, &err), err);
		json_decref(set);
		world->sets_made++;
	}
	snprintf(renewal, sizeof(renewal), "leases/%s/00000001", slow->lease_id);
	assert_ok(mb_store_remove(world->repo->store, names, 1, &err), err);
	mb_lease_stop(slow->lease);
	memset(slow, 0, sizeof(*slow));
}

static void
scan(struct world *world)
{
	struct mb_lease *lease = begin_lease(world, "scan");
	char id[MB_ID_TEXT];

	(void) commit_one(world, lease, UPLOADS, "scan", 0, id);
	mb_lease_stop(lease);
}

/* Killed: the commits are there, the set is not, and the lease stays as its blobs. */
static void
leave_lease(struct world *world, const struct mb_lease *lease)
{
	struct mb_error err;
	char id[MB_ID_TEXT], name[MB_NAME_MAX];
	json_t *json = json_object();

	(void) lease;
	mb_id_new(id, world->now_us);
	snprintf(name, sizeof(name), "leases/%s/00000000", id);
	mb_json_set_str(json, "kind", "backup");
	assert_ok(mb_doc_put(world->repo, MB_ROLE_LEASE, name, json, &err), err);
	json_decref(json);
}

static void
back_up(struct world *world)
{
	bool killed = roll(&world->random, 25) == 0, is_full = roll(&world->random, 15) == 0;
	int lacks = roll(&world->random, 12) == 0 ? (int) roll(&world->random, COMPONENTS) : -1;
	bool incomplete = roll(&world->random, 20) == 0;
	struct mb_lease *lease;
	json_t *set = json_object(), *parts = json_array();
	char set_id[MB_ID_TEXT];
	struct mb_error err;
	uint64_t start_lsn;
	int i;

	set_clock(world, world->now_us + 1000000);
	mb_id_new(set_id, world->now_us);
	lease = begin_lease(world, "backup");
	start_lsn = world->lsn;
	put_wal(world);
	world->number++;
	set_clock(world, world->now_us + 1000000);
	for (i = 0; i < COMPONENTS; i++)
	{
		json_t *part = json_object();
		char id[MB_ID_TEXT];

		mb_json_set_str(part, "name", component_names[i]);
		mb_json_set_str(part, "kind", kinds[i]);
		if (i == lacks ||
			commit_one(world, lease, i, is_full ? "full" : "incremental", start_lsn, id))
			json_object_set_new(part, "error", json_object());
		else
			mb_json_set_str(part, "backup", id);
		if (incomplete && i == UPLOADS)
			mb_json_set_bool(part, "incomplete", true);
		json_array_append_new(parts, part);
	}
	mb_json_set_str(set, "id", set_id);
	mb_json_set_int(set, "label", world->number);
	mb_json_set_str(set, "status", lacks >= 0 ? "partial" : "complete");
	json_object_set_new(set, "components", parts);
	if (!killed)
	{
		assert_ok(mb_set_put(world->repo, set, &err), err);
		world->sets_made++;
	}
	json_decref(set);
	mb_lease_stop(lease);
	if (killed)
		leave_lease(world, lease);
}

static void
mark(struct world *world)
{
	json_t *made = json_object(), *bases = json_object(), *positions = json_object();
	struct mb_lease *lease = begin_lease(world, "mark");
	struct mb_error err;
	char id[MB_ID_TEXT], name[32];
	bool has_all = true;
	int i;

	set_clock(world, world->now_us + 1000000);
	for (i = 0; i < COMPONENTS; i++)
	{
		uint64_t sequence;

		assert_ok(mb_commit_newest(world->repo, component_names[i], id, &sequence, &err), err);
		has_all = has_all && sequence > 0;
		mb_json_set_str(bases, component_names[i], id);
	}
	put_wal(world);
	json_object_set_new(positions, "postgres", lsn_json(json_object(), "lsn", world->lsn));
	mb_json_set_int(json_object_get(positions, "postgres"), "timeline", world->timeline);
	json_object_set_new(positions, "redis", json_object());
	mb_json_set_str(json_object_get(positions, "redis"), "replid", world->replid);
	mb_json_set_int(json_object_get(positions, "redis"), "offset", (int64_t) world->offset);
	mb_id_new(id, world->now_us);
	snprintf(name, sizeof(name), "mark %u", ++world->number);
	mb_json_set_str(made, "id", id);
	mb_json_set_str(made, "name", name);
	mb_json_set_time(made, "time", world->now_us);
	json_object_set_new(made, "bases", bases);
	json_object_set_new(made, "cut", json_pack("{s:o}", "positions", positions));
	if (has_all)
		assert_ok(mb_mark_put(world->repo, made, &err), err);
	json_decref(made);
	mb_lease_stop(lease);
}

static void
pin_something(struct world *world)
{
	json_t *docs = NULL, *answer = NULL;
	bool is_mark = roll(&world->random, 3) == 0;
	struct mb_error err;
	const char *id;

	assert_ok((is_mark ? mb_marks_list : mb_sets_list)(world->repo, &docs, &err), err);
	if (json_array_size(docs) > 0)
	{
		json_t *doc = json_array_get(docs, roll(&world->random, json_array_size(docs)));

		id = mb_json_str(doc, "id", "");
		if (mb_json_bool(doc, "pinned", false))
			assert_ok(mb_unpin_run(&world->stacks[0], id, &answer, &err), err);
		else
			assert_ok(mb_pin_run(&world->stacks[0], id, "the test",
								 roll(&world->random, 2) ? world->now_us + 40 * DAY_US : 0, &answer,
								 &err),
					  err);
	}
	json_decref(answer);
	json_decref(docs);
}

/* -- the model: what a retention wants, by other means ---------------------------------------- */

struct modelled
{
	const json_t *set;
	int64_t time_us;
	bool has[COMPONENTS];
	bool is_future;
	bool wanted[COMPONENTS];
	bool opens[COMPONENTS]; /* days or last want it */
};

static const struct mb_policy *
policy_of(const struct world *world, int component)
{
	return component == UPLOADS ? &world->overrides[0].policy : &world->options.policy;
}

static void
period_text(int64_t time_us, const char *format, char out[32])
{
	time_t seconds = (time_t) (time_us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	assert_true(strftime(out, 32, format, &tm) > 0);
}

/* Of how many periods is there a backup that is newer than this one?  -1: there is one in its own. */
static int64_t
periods_after(const struct modelled *sets, size_t count, size_t i, int component,
			  const char *format)
{
	char own[32], other[32], last[32] = "";
	int64_t found = 0;
	size_t j;

	period_text(sets[i].time_us, format, own);
	for (j = i + 1; j < count; j++)
	{
		if (!sets[j].has[component] || sets[j].is_future)
			continue;
		period_text(sets[j].time_us, format, other);
		if (strcmp(own, other) == 0)
			return -1;
		found += strcmp(last, other) != 0;
		strcpy(last, other);
	}
	return found;
}

static int64_t
backups_after(const struct modelled *sets, size_t count, size_t i, int component)
{
	int64_t found = 0;
	size_t j;

	for (j = i + 1; j < count; j++)
		found += sets[j].has[component] && !sets[j].is_future;
	return found;
}

static bool
is_among(int64_t before, int64_t want)
{
	return before >= 0 && before < want;
}

static void
want(const struct world *world, struct modelled *sets, size_t count, size_t i, int component)
{
	const struct mb_policy *policy = policy_of(world, component);
	int64_t after = backups_after(sets, count, i, component);

	if (!sets[i].has[component] || sets[i].is_future)
		return;
	sets[i].opens[component] =
		world->now_us - sets[i].time_us < policy->days * DAY_US || after < policy->last;
	sets[i].wanted[component] =
		sets[i].opens[component] || after == 0 ||
		is_among(periods_after(sets, count, i, component, "%Y %j"), policy->daily) ||
		is_among(periods_after(sets, count, i, component, "%G %V"), policy->weekly) ||
		is_among(periods_after(sets, count, i, component, "%Y %m"), policy->monthly) ||
		is_among(periods_after(sets, count, i, component, "%Y"), policy->yearly);
}

static const json_t *
part_named(const json_t *set, const char *name)
{
	const json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (strcmp(mb_json_str(json_array_get(parts, i), "name", ""), name) == 0)
			return json_array_get(parts, i);
	return NULL;
}

static struct modelled *
model(const struct world *world, const json_t *sets, size_t *count)
{
	struct modelled *made;
	size_t i;
	int c;

	*count = json_array_size(sets);
	made = mb_calloc(*count + 1, sizeof(*made));
	for (i = 0; i < *count; i++)
	{
		made[i].set = json_array_get(sets, i);
		made[i].time_us = mb_id_time_us(mb_json_str(made[i].set, "id", ""));
		made[i].is_future = made[i].time_us > world->now_us + HOUR_US;
		for (c = 0; c < COMPONENTS; c++)
			made[i].has[c] =
				mb_json_str(part_named(made[i].set, component_names[c]), "backup", NULL) != NULL;
	}
	for (i = 0; i < *count; i++)
		for (c = 0; c < COMPONENTS; c++)
			want(world, made, *count, i, c);
	return made;
}

/* -- the judges ------------------------------------------------------------------------------ */

static bool
exists(const struct world *world, const char *name)
{
	struct mb_blob_info info;
	struct mb_error err;

	return mb_store_head(world->sim->inner, name, &info, &err) == MB_OK;
}

/* Every reference of every commit is there. */
static void
judge_commits(const struct world *world)
{
	struct mb_commit_names names;
	struct mb_error err;
	size_t i, j;

	assert_ok(mb_commit_list(world->repo, NULL, &names, &err), err);
	for (i = 0; i < names.count; i++)
	{
		struct mb_commit commit;

		assert_ok(mb_commit_get(world->repo, names.items[i].component, names.items[i].id, &commit,
								&err),
				  err);
		for (j = 0; j < commit.refs.count; j++)
		{
			char name[MB_PACK_NAME_TEXT];

			mb_pack_name(name, &commit.refs.items[j].pack);
			if (!exists(world, name))
				fail_msg("commit %s/%s refers to %s, which is gone", commit.component, commit.id,
						 name);
		}
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
}

/* What is kept of sets and marks leads to commits that are there. */
static void
judge_documents(const struct world *world, const json_t *docs, const char *member)
{
	size_t i;
	int c;

	for (i = 0; i < json_array_size(docs); i++)
		for (c = 0; c < COMPONENTS; c++)
		{
			const json_t *doc = json_array_get(docs, i);
			char name[MB_NAME_MAX];
			const char *id =
				strcmp(member, "components") == 0
					? mb_json_str(part_named(doc, component_names[c]), "backup", NULL)
					: mb_json_str(json_object_get(doc, member), component_names[c], NULL);

			if (!id)
				continue;
			mb_commit_blob_name(name, component_names[c], id);
			if (!exists(world, name))
				fail_msg("%s names %s, which is gone", mb_json_str(doc, "id", "?"), name);
		}
}

/* The WAL of one stretch, as far as it was ever put. */
static void
judge_wal(const struct world *world, uint32_t timeline, uint64_t from, uint64_t to, const char *why,
		  const char *of)
{
	size_t i;

	for (i = 0; i < world->piece_count; i++)
	{
		const struct piece *piece = &world->pieces[i];

		if (piece->timeline == timeline && piece->to > from && piece->from < to &&
			!exists(world, piece->name))
			fail_msg("%s of %s needs %s, which is gone", why, of, piece->name);
	}
}

/* From a base over all timelines that descend from it. */
static void
judge_wal_window(const struct world *world, uint32_t timeline, uint64_t from, const char *of)
{
	uint32_t child;

	judge_wal(world, timeline, from, UINT64_MAX, "the window", of);
	for (child = timeline + 1; child <= world->timeline; child++)
		if (world->timelines[child].parent == timeline && world->timelines[child].left_at >= from)
			judge_wal_window(world, child, world->timelines[child].left_at, of);
}

/* From where a mark's base begins to the mark, back along the timelines. */
static void
judge_wal_mark(const struct world *world, const struct mb_commit *base, const json_t *position,
			   const char *of)
{
	uint32_t timeline = (uint32_t) mb_json_int(position, "timeline", 0);
	uint32_t base_timeline = (uint32_t) mb_json_int(base->meta, "timeline", 0);
	uint64_t to, from;

	assert_true(mb_lsn_parse(&to, mb_json_str(position, "lsn", "")));
	assert_true(mb_lsn_parse(&from, mb_json_str(base->meta, "start_lsn", "")));
	/*
	 * A base that a timeline left behind leads nowhere: after a clock was set back the newest commit may
	 * be one of the future that was, and such a mark could never be reached from it.
	 */
	for (; timeline > base_timeline; timeline = world->timelines[timeline].parent)
		to = world->timelines[timeline].left_at;
	if (timeline != base_timeline || from >= to)
		return;
	judge_wal(world, timeline, from, to, "the mark", of);
	timeline = (uint32_t) mb_json_int(position, "timeline", 0);
	assert_true(mb_lsn_parse(&to, mb_json_str(position, "lsn", "")));
	for (; timeline > base_timeline; timeline = world->timelines[timeline].parent)
	{
		judge_wal(world, timeline, world->timelines[timeline].left_at, to, "the mark", of);
		to = world->timelines[timeline].left_at;
	}
}

/* Pieces behind an offset, up to the next gap, as they were put. */
static void
judge_redis(const struct world *world, const char *replid, uint64_t from, uint64_t to,
			const char *of)
{
	size_t i;

	for (i = 0; i < world->redis_count; i++)
	{
		const struct mb_piece_name *name = &world->redis[i];
		char blob[MB_NAME_MAX];

		if (strcmp(name->replid, replid) != 0 || name->end <= from || name->start >= to)
			continue;
		snprintf(blob, sizeof(blob), "streams/%s/%s/%016llx-%016llx", component_names[REDIS],
				 replid, (unsigned long long) name->start, (unsigned long long) name->end);
		if (!exists(world, blob))
			fail_msg("%s needs %s, which is gone", of, blob);
	}
}

static void
load_head(const struct world *world, int component, const char *id, struct mb_commit *commit)
{
	struct mb_error err;

	assert_ok(mb_commit_head(world->repo, component_names[component], id, commit, &err), err);
}

static void
judge_set_streams(const struct world *world, const struct modelled *set, bool pg_open,
				  bool redis_open)
{
	const char *id = mb_json_str(set->set, "id", "?");
	struct mb_commit commit;
	uint64_t from, to;

	if (set->has[PG])
	{
		load_head(world, PG, mb_json_str(part_named(set->set, "postgres"), "backup", ""), &commit);
		assert_true(mb_lsn_parse(&from, mb_json_str(commit.meta, "start_lsn", "")));
		assert_true(mb_lsn_parse(&to, mb_json_str(commit.meta, "stop_lsn", "")));
		judge_wal(world, (uint32_t) mb_json_int(commit.meta, "timeline", 0), from, to, "the cut",
				  id);
		if (pg_open)
			judge_wal_window(world, (uint32_t) mb_json_int(commit.meta, "timeline", 0), from, id);
		mb_commit_release(&commit);
	}
	if (set->has[REDIS] && redis_open)
	{
		load_head(world, REDIS, mb_json_str(part_named(set->set, "redis"), "backup", ""), &commit);
		judge_redis(world, mb_json_str(commit.meta, "replid", ""),
					(uint64_t) mb_json_int(commit.meta, "offset", 0), UINT64_MAX, id);
		mb_commit_release(&commit);
	}
}

static void
judge_mark_streams(const struct world *world, const json_t *mark)
{
	const json_t *positions = json_object_get(json_object_get(mark, "cut"), "positions");
	const json_t *bases = json_object_get(mark, "bases");
	const json_t *redis = json_object_get(positions, "redis");
	const char *name = mb_json_str(mark, "name", "?");
	struct mb_commit commit;

	load_head(world, PG, mb_json_str(bases, "postgres", ""), &commit);
	judge_wal_mark(world, &commit, json_object_get(positions, "postgres"), name);
	mb_commit_release(&commit);
	load_head(world, REDIS, mb_json_str(bases, "redis", ""), &commit);
	if (strcmp(mb_json_str(commit.meta, "replid", ""), mb_json_str(redis, "replid", "")) == 0)
		judge_redis(world, mb_json_str(redis, "replid", ""),
					(uint64_t) mb_json_int(commit.meta, "offset", 0),
					(uint64_t) mb_json_int(redis, "offset", 0), name);
	mb_commit_release(&commit);
}

/* Everything that is there can be restored; and what lies in a window to any moment. */
static void
judge_all(struct world *world)
{
	json_t *sets = NULL, *marks = NULL;
	bool open[COMPONENTS] = {false};
	struct modelled *modelled;
	struct mb_error err;
	size_t count, i;
	int c;

	assert_ok(mb_sets_list(world->repo, &sets, &err), err);
	assert_ok(mb_marks_list(world->repo, &marks, &err), err);
	judge_commits(world);
	judge_documents(world, sets, "components");
	judge_documents(world, marks, "bases");
	modelled = model(world, sets, &count);
	for (i = 0; i < count; i++)
	{
		const char *id = mb_json_str(modelled[i].set, "id", "");

		for (c = 0; c < COMPONENTS; c++)
			open[c] = open[c] || (modelled[i].opens[c] && !json_object_get(world->closed[c], id));
		judge_set_streams(world, &modelled[i], open[PG] && !json_object_get(world->closed[PG], id),
						  open[REDIS] && !json_object_get(world->closed[REDIS], id));
	}
	for (i = 0; i < json_array_size(marks); i++)
		judge_mark_streams(world, json_array_get(marks, i));
	free(modelled);
	json_decref(sets);
	json_decref(marks);
}

/* -- expire ---------------------------------------------------------------------------------- */

static bool
has_reason(const json_t *reasons, const char *prefix)
{
	size_t i;

	for (i = 0; i < json_array_size(reasons); i++)
		if (mb_starts_with(json_string_value(json_array_get(reasons, i)), prefix))
			return true;
	return false;
}

/* What it says of each backup, what the model says, and what there is afterwards. */
static void
judge_decisions(struct world *world, const json_t *before, const json_t *answer)
{
	const json_t *decisions = json_object_get(json_object_get(answer, "expire"), "backups");
	struct modelled *modelled;
	size_t count, i;

	modelled = model(world, before, &count);
	assert_int_equal(json_array_size(decisions), count);
	for (i = 0; i < count; i++)
	{
		const json_t *decision = json_array_get(decisions, i);
		const json_t *reasons = json_object_get(decision, "reasons");
		const char *action = mb_json_str(decision, "action", "");
		const char *id = mb_json_str(decision, "id", "");
		bool expires = strcmp(action, "expire") == 0;
		bool wanted = modelled[i].is_future || mb_json_bool(modelled[i].set, "pinned", false);
		char name[MB_NAME_MAX];
		int c;

		for (c = 0; c < COMPONENTS; c++)
			wanted = wanted || modelled[i].wanted[c];
		snprintf(name, sizeof(name), "sets/%s", id);
		if (exists(world, name) == expires)
			fail_msg("%s: %s, but it is %s", id, action, expires ? "there" : "gone");
		if (wanted && expires)
			fail_msg("%s expires, and the model wants it", id);
		if (!wanted && !expires && !has_reason(reasons, "kept: the mark ") &&
			!has_reason(reasons, "kept: the newest complete"))
			fail_msg("%s is kept (%s), and the model does not want it", id,
					 json_string_value(json_array_get(reasons, 0)));
		assert_true(has_reason(reasons, "kept: ") != expires);
		assert_true(has_reason(reasons, "expires: ") == (expires || strcmp(action, "reduce") == 0));
		world->sets_expired += expires;
	}
	free(modelled);
}

static void
expire_elsewhere(void *ctx)
{
	struct world *world = ctx;
	int64_t calls = world->sim->calls, die_at = world->sim->die_at;
	json_t *answer = NULL;
	struct mb_error err;

	world->sim->die_at = 0;
	assert_ok(mb_expire_run(&world->stacks[1], &world->options, &answer, &err), err);
	json_decref(answer);
	world->sim->calls = calls;
	world->sim->die_at = die_at;
	world->beside++;
}

static void
back_up_elsewhere(void *ctx)
{
	struct world *world = ctx;
	int64_t calls = world->sim->calls, die_at = world->sim->die_at, now_us = world->now_us;

	world->sim->die_at = 0;
	back_up(world);
	set_clock(world, now_us);
	world->sim->calls = calls;
	world->sim->die_at = die_at;
	world->beside++;
}

/* What an expire finds before any window may lose its streams with it. */
static void
note_closed(struct world *world)
{
	json_t *sets = NULL;
	struct modelled *modelled;
	struct mb_error err;
	size_t count, i;
	int c;

	assert_ok(mb_sets_list(world->repo, &sets, &err), err);
	modelled = model(world, sets, &count);
	for (c = 0; c < COMPONENTS; c++)
		for (i = 0; i < count && !modelled[i].opens[c]; i++)
			json_object_set_new(world->closed[c], mb_json_str(modelled[i].set, "id", ""),
								json_true());
	free(modelled);
	json_decref(sets);
}

/* One run; a crash before a random call, another host at one, and again until it comes through. */
static json_t *
expire_through(struct world *world, void (*beside)(void *))
{
	json_t *answer = NULL;
	struct mb_error err;
	enum mb_code code;
	bool once = false;

	note_closed(world);
	do
	{
		world->sim->calls = 0;
		world->sim->die_at = world->with_crashes && !once && roll(&world->luck, 2)
								 ? 1 + (int64_t) roll(&world->luck, 120)
								 : 0;
		world->sim->hook =
			world->with_crashes && beside && roll(&world->luck, 3) == 0 ? beside : NULL;
		world->sim->hook_ctx = world;
		world->sim->hook_at = 1 + (int64_t) roll(&world->luck, 100);
		once = world->sim->die_at != 0 && roll(&world->luck, 2);
		code = mb_expire_run(&world->stacks[0], &world->options, &answer, &err);
		world->sim->hook = NULL;
		if (code && world->sim->die_at == 0)
			fail_msg("expire: %s", err.message);
		if (code)
		{
			world->crashes++;
			world->sim->die_at = 0;
			judge_commits(world);
		}
	} while (code);
	world->sim->die_at = 0;
	world->expires++;
	return answer;
}

/* Packs that no commit refers to. */
static size_t
count_garbage(struct world *world, size_t *packs)
{
	struct mb_sweep_options options = {.grace_us = 100LL * 365 * DAY_US, .is_dry = true};
	struct mb_sweep sweep;
	struct mb_commit_names names;
	struct mb_error err;
	size_t i, garbage = 0;

	assert_ok(mb_sweep_begin(&sweep, world->repo, &options, &err), err);
	assert_ok(mb_commit_list(world->repo, NULL, &names, &err), err);
	for (i = 0; i < names.count; i++)
	{
		struct mb_commit commit;

		assert_ok(mb_commit_get(world->repo, names.items[i].component, names.items[i].id, &commit,
								&err),
				  err);
		mb_sweep_count(&sweep, &commit);
		mb_commit_release(&commit);
	}
	for (i = 0; i < sweep.pack_count; i++)
		garbage += sweep.packs[i].refs == 0;
	*packs = sweep.pack_count;
	mb_commit_names_release(&names);
	mb_sweep_end(&sweep);
	return garbage;
}

/* -- the story ------------------------------------------------------------------------------- */

static void
jump(struct world *world)
{
	static const int64_t days[] = {1, 3, 40, -1, -3, -20};

	world->jumps++;
	set_clock(world, world->now_us + days[roll(&world->random, 6)] * DAY_US);
}

static void
one_day(struct world *world, void (*beside)(void *))
{
	json_t *answer, *before = NULL;
	struct mb_error err;
	int64_t start_us = world->now_us;
	int i;

	if (roll(&world->random, 70) == 0)
		jump(world);
	start_us = world->now_us;
	for (i = 0; i < 3; i++)
	{
		put_wal(world);
		put_redis(world, MB_PIECE_DATA, NULL);
	}
	if (roll(&world->random, 4) == 0)
		scan(world);
	if (roll(&world->random, 20) > 0)
		back_up(world);
	if (world->slow.lease)
		slow_end(world);
	else if (roll(&world->random, 8) == 0)
		slow_begin(world);
	if (roll(&world->random, 9) == 0)
		mark(world);
	if (roll(&world->random, 15) == 0)
		pin_something(world);
	/* Behind the backup, so that a day's stream comes before the first backup of the new history. */
	if (roll(&world->random, 50) == 0)
		switch_timeline(world);
	if (roll(&world->random, 40) == 0)
		move_redis(world);
	set_clock(world, start_us + 3 * HOUR_US);
	if (world->slow.lease)
		slow_renew(world);
	assert_ok(mb_sets_list(world->repo, &before, &err), err);
	answer = expire_through(world, beside);
	if (!world->with_crashes)
		judge_decisions(world, before, answer);
	json_decref(before);
	json_decref(answer);
	set_clock(world, start_us + DAY_US + (int64_t) roll(&world->random, 3600) * 1000000);
}

static void
live(struct world *world, int days, void (*beside)(void *))
{
	size_t packs, garbage;
	int day;

	for (day = 0; day < days; day++)
	{
		one_day(world, beside);
		if (day % 5 == 4)
			judge_all(world);
		if (day % 5 != 4)
			continue;
		garbage = count_garbage(world, &packs);
		if (garbage > world->most_garbage)
		{
			world->most_garbage = garbage;
			world->packs_then = packs;
		}
	}
}

static void
print_figures(const char *what, const struct world *world, int days)
{
	printf("# %s: %d days, %zu backups made, %zu expired, %zu runs of expire, %zu crashes, %zu "
		   "times "
		   "beside another, %zu commits taken back; at most %zu of %zu packs were garbage\n",
		   what, days, world->sets_made, world->sets_expired, world->expires, world->crashes,
		   world->beside, world->guarded, world->most_garbage, world->packs_then);
}

/* -- what is left, without what is random in it ----------------------------------------------- */

static enum mb_code
add_stream_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) err;
	json_array_append_new(ctx, json_string(info->name));
	return MB_OK;
}

static json_t *
remains(struct world *world)
{
	json_t *all = json_object(), *list = json_array(), *docs = NULL, *streams = json_array();
	struct mb_commit_names names;
	struct mb_error err;
	size_t i, packs;

	assert_ok(mb_sets_list(world->repo, &docs, &err), err);
	for (i = 0; i < json_array_size(docs); i++)
	{
		json_t *doc = json_array_get(docs, i);
		int c;

		json_array_append(list, json_object_get(doc, "label"));
		json_array_append_new(list, json_boolean(mb_json_bool(doc, "pinned", false)));
		for (c = 0; c < COMPONENTS; c++)
			json_array_append_new(list,
								  json_boolean(mb_json_str(part_named(doc, component_names[c]),
														   "backup", NULL) != NULL));
	}
	json_object_set_new(all, "sets", list);
	json_decref(docs);
	assert_ok(mb_marks_list(world->repo, &docs, &err), err);
	list = json_array();
	for (i = 0; i < json_array_size(docs); i++)
		json_array_append(list, json_object_get(json_array_get(docs, i), "name"));
	json_object_set_new(all, "marks", list);
	json_decref(docs);
	assert_ok(mb_commit_list(world->repo, NULL, &names, &err), err);
	list = json_array();
	for (i = 0; i < names.count; i++)
	{
		char text[100];
		struct mb_commit commit;

		assert_ok(mb_commit_head(world->repo, names.items[i].component, names.items[i].id, &commit,
								 &err),
				  err);
		snprintf(text, sizeof(text), "%s %.16s %lld", commit.component, commit.id,
				 (long long) mb_json_int(commit.meta, "label", 0));
		json_array_append_new(list, json_string(text));
		mb_commit_release(&commit);
	}
	mb_commit_names_release(&names);
	json_object_set_new(all, "commits", list);
	assert_ok(mb_store_list(world->sim->inner, "streams/", add_stream_name, streams, &err), err);
	json_object_set_new(all, "streams", streams);
	mb_json_set_int(all, "garbage", (int64_t) count_garbage(world, &packs));
	mb_json_set_int(all, "packs", (int64_t) packs);
	return all;
}

/* Nothing is made any more: what is garbage must go, to the last blob. */
static void
come_to_rest(struct world *world)
{
	int i;

	if (world->slow.lease)
		slow_end(world);
	/* What was put before the clock was set back is from the future, and waits until it is not. */
	set_clock(world, world->now_us + 150 * DAY_US);
	for (i = 0; i < 4; i++)
	{
		json_decref(expire_through(world, NULL));
		set_clock(world, world->now_us + 2 * DAY_US);
	}
}

/* -- tests ----------------------------------------------------------------------------------- */

static int
long_days(int days, int many)
{
	const char *is_long = getenv("MBACKUP_LONG");

	return is_long && *is_long ? many : days;
}

static uint64_t
seed(void)
{
	const char *text = getenv("MBACKUP_SEED");

	return text ? strtoull(text, NULL, 10) : 1;
}

static void
test_expire__crashes_and_a_second_host_change_nothing(void **state)
{
	int days = long_days(100, 3650);
	struct world *calm = world_new(seed(), false), *rough = world_new(seed(), true);
	json_t *left, *right;
	char *a, *b;

	(void) state;
	live(calm, days, NULL);
	live(rough, days, expire_elsewhere);
	come_to_rest(calm);
	come_to_rest(rough);
	judge_all(calm);
	judge_all(rough);
	left = remains(calm);
	right = remains(rough);
	assert_int_equal(mb_json_int(left, "garbage", -1), 0);
	assert_int_equal(mb_json_int(right, "garbage", -1), 0);
	a = mb_json_text(left);
	b = mb_json_text(right);
	if (strcmp(a, b) != 0)
		fail_msg("crashes made a difference (MBACKUP_SEED=%llu):\n%.3000s\n%.3000s",
				 (unsigned long long) seed(), a, b);
	print_figures("calm", calm, days);
	print_figures("rough", rough, days);
	free(a);
	free(b);
	json_decref(left);
	json_decref(right);
	world_free(calm);
	world_free(rough);
}

static void
test_expire__beside_backups(void **state)
{
	int days = long_days(100, 3650);
	struct world *world = world_new(seed() + 1, true);

	(void) state;
	live(world, days, back_up_elsewhere);
	come_to_rest(world);
	judge_all(world);
	print_figures("beside backups", world, days);
	world_free(world);
}

static int
set_up(void **state)
{
	(void) state;
	return mkdtemp(spool) ? 0 : 1;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	return mb_rmtree(spool, &err) != MB_OK;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expire__crashes_and_a_second_host_change_nothing),
		cmocka_unit_test(test_expire__beside_backups),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
