/* lease.c - see lease.h. */
#include "core/repo/lease.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/pool.h"
#include "core/base/time.h"
#include "core/repo/lease_private.h"

#define RETRY_MS 30000 /* after a renewal that failed */
#define JUMP_US (3600LL * 1000000)

struct mb_lease
{
	const struct mb_repo *repo;
	char id[MB_ID_TEXT];
	char kind[64];
	int64_t renew_ms;
	int64_t max_age_us;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	uint32_t next_seq;
	int64_t started_us;      /* in the store's time, taken before the first put */
	int64_t started_ms;      /* the same moment by this machine's monotonic clock */
	int64_t renewed_us;      /* in the store's time, taken before the put */
	struct mb_error failure; /* of the last renewal, if it failed */
};

static void
lease_name(char out[MB_NAME_MAX], const struct mb_lease *lease, uint32_t seq)
{
	snprintf(out, MB_NAME_MAX, "leases/%s/%08u", lease->id, seq);
}

static enum mb_code
put_lease(const struct mb_lease *lease, uint32_t seq, int64_t *now_us, struct mb_error *err)
{
	char host[256] = "";
	char name[MB_NAME_MAX];
	json_t *json;
	enum mb_code code = mb_store_clock(lease->repo->store, now_us, err);

	if (code)
		return code;
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	json = json_object();
	mb_json_set_str(json, "kind", lease->kind);
	mb_json_set_str(json, "host", host);
	mb_json_set_int(json, "pid", getpid());
	lease_name(name, lease, seq);
	code = mb_doc_put(lease->repo, MB_ROLE_LEASE, name, json, err);
	json_decref(json);
	return code;
}

/* Called with the lock; gives it up while it talks to the store. */
static enum mb_code
renew(struct mb_lease *lease, struct mb_error *err)
{
	uint32_t seq = lease->next_seq++;
	int64_t now_us = 0;
	enum mb_code code;

	pthread_mutex_unlock(&lease->lock);
	mb_error_clear(err);
	code = put_lease(lease, seq, &now_us, err);
	pthread_mutex_lock(&lease->lock);
	if (!code)
		lease->renewed_us = now_us;
	lease->failure = *err;
	return code;
}

static void
deadline_in(struct timespec *at, int64_t ms)
{
	clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_sec += ms / 1000;
	at->tv_nsec += (ms % 1000) * 1000000;
	if (at->tv_nsec >= 1000000000)
	{
		at->tv_nsec -= 1000000000;
		at->tv_sec++;
	}
}

static void *
keep_renewing(void *ctx)
{
	struct mb_lease *lease = ctx;
	int64_t wait_ms = lease->renew_ms;
	struct mb_error err;

	pthread_mutex_lock(&lease->lock);
	while (!lease->stopping)
	{
		struct timespec at;
		int woken = 0;

		deadline_in(&at, wait_ms);
		while (!lease->stopping && woken == 0)
			woken = pthread_cond_timedwait(&lease->wake, &lease->lock, &at);
		if (lease->stopping)
			break;
		wait_ms = lease->renew_ms;
		if (renew(lease, &err) != MB_OK && wait_ms > RETRY_MS)
			wait_ms = RETRY_MS;
	}
	pthread_mutex_unlock(&lease->lock);
	return NULL;
}

static void
lease_free(struct mb_lease *lease)
{
	pthread_mutex_destroy(&lease->lock);
	pthread_cond_destroy(&lease->wake);
	free(lease);
}

enum mb_code
mb_lease_start_every(struct mb_lease **out, const struct mb_repo *repo, const char *id,
					 const char *kind, int64_t renew_ms, int64_t max_age_us, struct mb_error *err)
{
	struct mb_lease *lease = mb_calloc(1, sizeof(*lease));
	pthread_condattr_t attr;
	enum mb_code code;

	MB_ASSERT(mb_id_is_valid(id));
	lease->repo = repo;
	snprintf(lease->id, sizeof(lease->id), "%s", id);
	snprintf(lease->kind, sizeof(lease->kind), "%s", kind);
	lease->renew_ms = renew_ms;
	lease->max_age_us = max_age_us;
	pthread_mutex_init(&lease->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&lease->wake, &attr);
	pthread_condattr_destroy(&attr);
	code = put_lease(lease, lease->next_seq++, &lease->renewed_us, err);
	if (code)
	{
		lease_free(lease);
		return mb_error_context(err, "could not write a lease");
	}
	lease->started_us = lease->renewed_us;
	lease->started_ms = mb_monotonic_ms();
	if (mb_thread_start(&lease->thread, keep_renewing, lease) != 0)
		MB_BUG("could not start a thread");
	*out = lease;
	return MB_OK;
}

enum mb_code
mb_lease_start(struct mb_lease **lease, const struct mb_repo *repo, const char *id,
			   const char *kind, struct mb_error *err)
{
	return mb_lease_start_every(lease, repo, id, kind, MB_LEASE_RENEW_MS, MB_GRACE_US / 2, err);
}

enum mb_code
mb_lease_check(struct mb_lease *lease, struct mb_error *err)
{
	struct mb_error failure;
	int64_t now_us = 0, renewed_us;
	enum mb_code code = mb_store_clock(lease->repo->store, &now_us, err);

	if (code)
		return code;
	pthread_mutex_lock(&lease->lock);
	renewed_us = lease->renewed_us;
	failure = lease->failure;
	pthread_mutex_unlock(&lease->lock);
	if (now_us - renewed_us <= lease->max_age_us)
		return MB_OK;
	mb_fail(err, MB_CONFLICT,
			"the lease of this backup was last renewed %lld s ago, and expire may have removed "
			"what it wrote",
			(long long) ((now_us - renewed_us) / 1000000));
	if (failure.code)
		mb_error_detail(err, "The last renewal failed: %.900s", failure.message);
	return mb_error_hint(err, "Run the backup again.");
}

void
mb_lease_stop(struct mb_lease *lease)
{
	struct mb_error ignored;
	uint32_t seq;

	if (!lease)
		return;
	pthread_mutex_lock(&lease->lock);
	lease->stopping = true;
	pthread_cond_signal(&lease->wake);
	pthread_mutex_unlock(&lease->lock);
	pthread_join(lease->thread, NULL);
	/* Best effort: what stays behind is old in a day and swept. */
	for (seq = lease->next_seq; seq-- > 0;)
	{
		char name[MB_NAME_MAX];
		const char *names[] = {name};

		lease_name(name, lease, seq);
		if (mb_store_remove(lease->repo->store, names, 1, &ignored) != MB_OK)
			break;
	}
	lease_free(lease);
}

enum mb_code
mb_lease_clock_jumped(const struct mb_lease *lease, bool *jumped, struct mb_error *err)
{
	int64_t now_us = 0, apart_us;
	enum mb_code code = mb_store_clock(lease->repo->store, &now_us, err);

	if (code)
		return code;
	apart_us = (now_us - lease->started_us) - (mb_monotonic_ms() - lease->started_ms) * 1000;
	*jumped = apart_us > JUMP_US || apart_us < -JUMP_US;
	return MB_OK;
}

/* -- those of others ------------------------------------------------------------------------- */

static void
release_info(struct mb_lease_info *lease)
{
	size_t i;

	for (i = 0; i < lease->name_count; i++)
		free(lease->names[i]);
	free(lease->names);
}

void
mb_leases_release(struct mb_leases *leases)
{
	size_t i;

	for (i = 0; i < leases->count; i++)
		release_info(&leases->items[i]);
	free(leases->items);
	memset(leases, 0, sizeof(*leases));
}

/* leases/<id>/<seq>: names come in order, so the blobs of one lease stand together. */
static enum mb_code
note_lease(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	const char *id = info->name + strlen("leases/");
	const char *slash = strchr(id, '/');
	size_t len = slash ? (size_t) (slash - id) : 0;
	struct mb_leases *leases = ctx;
	struct mb_lease_info *last = leases->count > 0 ? &leases->items[leases->count - 1] : NULL;

	(void) err;
	if (len == 0 || len >= MB_ID_TEXT)
		return MB_OK;
	if (!last || strlen(last->id) != len || strncmp(last->id, id, len) != 0)
	{
		leases->items =
			mb_grow(leases->items, &leases->cap, leases->count + 1, sizeof(*leases->items));
		last = &leases->items[leases->count++];
		memset(last, 0, sizeof(*last));
		memcpy(last->id, id, len);
		/* Without its first blob nobody knows how old it is: as old as can be. */
		last->started_us = strcmp(slash, "/00000000") == 0 ? info->modified_us : 0;
		last->renewed_us = info->modified_us;
	}
	if (info->modified_us > last->renewed_us)
		last->renewed_us = info->modified_us;
	last->names = mb_grow(last->names, &last->name_cap, last->name_count + 1, sizeof(char *));
	last->names[last->name_count++] = mb_strdup(info->name);
	return MB_OK;
}

/* Who it is: for messages, and to know an expire.  One that cannot be read protects all the same. */
static enum mb_code
read_lease(const struct mb_repo *repo, struct mb_lease_info *lease, struct mb_error *err)
{
	enum mb_code code = MB_NOT_FOUND;
	struct mb_error why;
	json_t *json;
	size_t i;

	mb_error_clear(&why);
	for (i = lease->name_count; code == MB_NOT_FOUND && i-- > 0;)
		code = mb_doc_get(repo, MB_ROLE_LEASE, lease->names[i], &json, &why);
	if (code == MB_UNREACHABLE || code == MB_IO)
	{
		*err = why;
		return code;
	}
	if (code)
		return MB_OK;
	snprintf(lease->kind, sizeof(lease->kind), "%s", mb_json_str(json, "kind", ""));
	snprintf(lease->host, sizeof(lease->host), "%s", mb_json_str(json, "host", ""));
	lease->pid = mb_json_int(json, "pid", 0);
	json_decref(json);
	return MB_OK;
}

enum mb_code
mb_leases_list(const struct mb_repo *repo, struct mb_leases *leases, struct mb_error *err)
{
	enum mb_code code;
	size_t i;

	memset(leases, 0, sizeof(*leases));
	code = mb_store_list(repo->store, "leases/", note_lease, leases, err);
	for (i = 0; !code && i < leases->count; i++)
		code = read_lease(repo, &leases->items[i], err);
	if (code)
		mb_leases_release(leases);
	return code;
}

bool
mb_lease_is_live(const struct mb_lease_info *lease, int64_t now_us)
{
	return now_us - lease->renewed_us < MB_GRACE_US;
}
