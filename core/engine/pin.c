/* pin.c - mb_pin_run and mb_unpin_run; see expire.h. */
#include <string.h>
#include <unistd.h>

#include "core/engine/expire.h"
#include "core/engine/pins.h"
#include "core/engine/session.h"

#define EXPIRE_LOCK_WAIT_MS 60000
/* An expire renews its lease every 5 minutes; one that is older than this was killed. */
#define EXPIRE_ALIVE_US (15LL * 60 * 1000000)

/* A set, or else a mark. */
static enum mb_code
find_target(const struct mb_repo *repo, const char *which, json_t **doc, bool *is_mark,
			struct mb_error *err)
{
	struct mb_error ignored;
	enum mb_code code = mb_set_find(repo, which, doc, err);

	*is_mark = code == MB_NOT_FOUND && mb_mark_find(repo, which, doc, &ignored) == MB_OK;
	return *is_mark ? MB_OK : code;
}

/* Another machine's expire may have decided already, and not removed yet. */
static enum mb_code
check_no_expire(const struct mb_repo *repo, struct mb_error *err)
{
	struct mb_leases leases = {0};
	char host[256] = "";
	int64_t now_us = 0;
	enum mb_code code = mb_store_clock(repo->store, &now_us, err);
	size_t i;

	if (!code)
		code = mb_leases_list(repo, &leases, err);
	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	for (i = 0; !code && i < leases.count; i++)
	{
		const struct mb_lease_info *lease = &leases.items[i];

		/* On this machine the lock has told that none runs. */
		if (strcmp(lease->kind, "expire") != 0 || strcmp(lease->host, host) == 0 ||
			now_us - lease->renewed_us >= EXPIRE_ALIVE_US)
			continue;
		code = mb_fail(err, MB_CONFLICT, "an expire is running on \"%s\"", lease->host);
		mb_error_hint(err, "Try again when it has ended.");
	}
	mb_leases_release(&leases);
	return code;
}

/* The pin is there, and so is what it pins. */
static enum mb_code
check_still_there(const struct mb_repo *repo, const char *id, bool is_mark, struct mb_error *err)
{
	struct mb_blob_info info;
	char name[MB_NAME_MAX];
	enum mb_code code;

	snprintf(name, sizeof(name), "%s/%s", is_mark ? "marks" : "sets", id);
	code = mb_store_head(repo->store, name, &info, err);
	return code == MB_NOT_FOUND ? mb_fail(err, code, "backup %s has expired meanwhile", id) : code;
}

static enum mb_code
pin_target(const struct mb_repo *repo, const char *id, bool is_mark, const char *reason,
		   int64_t until_us, struct mb_error *err)
{
	struct mb_error ignored;
	size_t removed;
	enum mb_code code = mb_pin_put(repo, id, reason, until_us, err);

	if (code)
		return code;
	code = check_no_expire(repo, err);
	if (!code)
		code = check_still_there(repo, id, is_mark, err);
	if (code && mb_pins_remove(repo, id, &removed, &ignored))
		mb_error_detail(err, "The pin is there all the same.");
	return code;
}

static json_t *
pin_answer(const char *member, const json_t *doc, bool is_mark)
{
	json_t *json = json_object();

	mb_json_set_str(json, "id", mb_json_str(doc, "id", ""));
	mb_json_set_str(json, "kind", is_mark ? "mark" : "backup");
	if (is_mark)
		mb_json_set_str(json, "name", mb_json_str(doc, "name", ""));
	return json_pack("{s:o}", member, json);
}

static enum mb_code
check_until(const struct mb_repo *repo, int64_t until_us, struct mb_error *err)
{
	int64_t now_us = 0;
	enum mb_code code = until_us ? mb_store_clock(repo->store, &now_us, err) : MB_OK;

	if (!code && until_us && until_us <= now_us)
		code = mb_fail(err, MB_CONFIG, "the pin would be over already");
	return code;
}

enum mb_code
mb_pin_run(const struct mb_stack *stack, const char *which, const char *reason, int64_t until_us,
		   json_t **answer, struct mb_error *err)
{
	const struct mb_repo *repo = stack->env->repo;
	json_t *doc = NULL;
	bool is_mark = false;
	int lock_fd = -1;
	enum mb_code code = check_until(repo, until_us, err);

	if (!code)
		code = mb_session_lock(stack->env, "expire", EXPIRE_LOCK_WAIT_MS, &lock_fd, err);
	if (!code)
		code = find_target(repo, which, &doc, &is_mark, err);
	if (!code)
		code = pin_target(repo, mb_json_str(doc, "id", ""), is_mark, reason, until_us, err);
	if (!code)
	{
		*answer = pin_answer("pin", doc, is_mark);
		mb_json_set_str(json_object_get(*answer, "pin"), "reason", reason ? reason : "");
		if (until_us)
			mb_json_set_time(json_object_get(*answer, "pin"), "until", until_us);
	}
	if (lock_fd >= 0)
		close(lock_fd);
	json_decref(doc);
	return code;
}

enum mb_code
mb_unpin_run(const struct mb_stack *stack, const char *which, json_t **answer, struct mb_error *err)
{
	const struct mb_repo *repo = stack->env->repo;
	json_t *doc = NULL;
	bool is_mark = false;
	size_t removed = 0;
	enum mb_code code = find_target(repo, which, &doc, &is_mark, err);

	if (!code)
		code = mb_pins_remove(repo, mb_json_str(doc, "id", ""), &removed, err);
	if (!code)
	{
		*answer = pin_answer("unpin", doc, is_mark);
		mb_json_set_bool(json_object_get(*answer, "unpin"), "was_pinned", removed > 0);
	}
	json_decref(doc);
	return code;
}
