/* check_age.c - the newest backup, what was left unfinished, and who else writes (see check.h). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "core/engine/check.h"
#include "core/engine/docs.h"
#include "core/repo/lease.h"

/* Who has missed two renewals is not at work any more. */
#define SILENT_US (3000LL * MB_LEASE_RENEW_MS)
#define HOUR_US (3600LL * 1000000)

/* -- the newest backup ------------------------------------------------------------------------ */

static bool
is_complete(const json_t *set)
{
	return strcmp(mb_json_str(set, "status", ""), "complete") == 0;
}

static void
check_newest(const json_t *sets, int64_t age_ms, int64_t now_us, struct mb_checks *checks)
{
	const json_t *complete = NULL, *newest = NULL, *set = NULL;
	int64_t old_us;
	size_t i;

	json_array_foreach(sets, i, set)
	{
		newest = set;
		if (is_complete(set))
			complete = set;
	}
	old_us = complete ? now_us - mb_json_time(complete, "finished") : 0;
	if (!complete)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "backup-age", "mbackup backup",
					 "there is no complete backup yet: nothing can be restored");
	else if (age_ms && old_us > age_ms * 1000)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "backup-age", "mbackup backup",
					 "the newest complete backup, %s, is %lld hours old",
					 mb_json_str(complete, "id", "?"), (long long) (old_us / HOUR_US));
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "backup-age", "",
					 "the newest complete backup is %s", mb_json_str(complete, "id", "?"));
	if (newest && newest != complete)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "backup-partial", "mbackup backup",
					 "the newest backup, %s, is %s: a restore to it does not bring back the whole "
					 "stack",
					 mb_json_str(newest, "id", "?"), mb_json_str(newest, "status", "?"));
	else if (newest)
		mb_check_add(checks, MB_CHECK_OK, "repository", "backup-partial", "",
					 "the newest backup has every component");
}

static uint64_t
newest_full_bytes(const json_t *sets)
{
	uint64_t bytes = 0;
	const json_t *set;
	size_t i;

	json_array_foreach(sets, i, set) if (strcmp(mb_json_str(set, "type", ""), "full") == 0 &&
										 is_complete(set)) bytes =
		(uint64_t) mb_json_int(set, "stored_bytes", 0);
	return bytes;
}

/* -- leases and what was left --------------------------------------------------------------- */

struct left
{
	const struct mb_leases *leases;
	bool at_work;            /* somebody is making a backup now */
	char newest[MB_ID_TEXT]; /* of a lease that nobody holds any more */
	char kind[64];
	char component[MB_COMPONENT_MAX]; /* whose entries the next backup takes over; "" */
	size_t count;
};

static enum mb_code
note_provisional(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct left *left = ctx;
	const char *name = info->name + strlen("provisional/");

	(void) err;
	snprintf(left->component, sizeof(left->component), "%.*s", (int) strcspn(name, "/"), name);
	return MB_OK;
}

/* Ours is alive while its process is, another's while it renews. */
static bool
is_at_work(const struct mb_lease_info *lease, const char *host, int64_t now_us)
{
	if (strcmp(lease->host, host) == 0)
		return lease->pid > 0 && (kill((pid_t) lease->pid, 0) == 0 || errno != ESRCH);
	return now_us - lease->renewed_us < SILENT_US;
}

static void
look_at_lease(struct left *left, const struct mb_lease_info *lease, const char *host,
			  int64_t now_us, struct mb_checks *checks)
{
	char since[MB_TIME_TEXT];

	mb_time_format(since, lease->started_us);
	if (!is_at_work(lease, host, now_us))
	{
		snprintf(left->newest, sizeof(left->newest), "%s", lease->id);
		snprintf(left->kind, sizeof(left->kind), "%s", lease->kind);
		left->count++;
		return;
	}
	left->at_work = true;
	if (strcmp(lease->host, host) != 0)
		mb_check_add_fix(checks, MB_CHECK_WARNING, "repository", "foreign-lease",
						 mb_asprintf("systemctl stop mbackup, on host %s", lease->host),
						 "host \"%s\" is writing into this repository too (%s, since %s)",
						 lease->host, lease->kind, since);
}

static void
check_leases(const struct mb_env *env, int64_t now_us, struct mb_checks *checks,
			 struct mb_error *err)
{
	struct mb_leases leases = {0};
	struct left left = {.leases = &leases};
	char host[256] = "";
	enum mb_code code = mb_leases_list(env->repo, &leases, err);
	size_t i;

	gethostname(host, sizeof(host) - 1);
	for (i = 0; !code && i < leases.count; i++)
		look_at_lease(&left, &leases.items[i], host, now_us, checks);
	if (!code && !left.at_work)
		code = mb_store_list(env->repo->store, "provisional/", note_provisional, &left, err);
	if (!code && left.count > 0)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "unfinished", "mbackup backup",
					 "%s %s was interrupted%s%s; its lease keeps what it stored for a day",
					 left.kind[0] ? left.kind : "work", left.newest,
					 left.component[0] ? ", and the next backup takes over what it had of " : "",
					 left.component);
	else if (!code && left.component[0])
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "unfinished", "mbackup backup",
					 "a backup of %s was interrupted; the next one takes over what it had",
					 left.component);
	else if (!code)
		mb_check_add(checks, MB_CHECK_OK, "repository", "unfinished", "",
					 "nothing was left unfinished");
	mb_leases_release(&leases);
}

void
mb_check_age(const struct mb_env *env, int64_t age_ms, uint64_t *full_bytes,
			 struct mb_checks *checks)
{
	json_t *sets = NULL;
	struct mb_error why;
	int64_t now_us = 0;

	mb_error_clear(&why);
	*full_bytes = 0;
	if (mb_store_clock(env->repo->store, &now_us, &why) == MB_OK &&
		mb_sets_list(env->repo, &sets, &why) == MB_OK)
	{
		*full_bytes = newest_full_bytes(sets);
		check_newest(sets, age_ms, now_us, checks);
		check_leases(env, now_us, checks, &why);
	}
	/* Not being able to write is told as such. */
	if (why.code && now_us)
		mb_check_add(checks, MB_CHECK_FAILED, "repository", "repository.look",
					 why.hint[0] ? why.hint : "What the message says", "%s", why.message);
	json_decref(sets);
}
