/* check.c - see check.h. */
#include "core/engine/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/time.h"
#include "core/engine/drill.h"
#include "core/engine/verified.h"
#include "core/repo/store_mirror.h"

/* -- findings --------------------------------------------------------------------------------- */

static const char *const statuses[] = {"ok", "warning", "failed", "skipped", "accepted"};

/* "postgres" and "permission s3:GetObject" make "postgres.permission". */
static void
set_id(json_t *item, const struct mb_checks *checks, const char *component, const char *name)
{
	const char *area = checks->kind ? checks->kind : component;
	char *id =
		mb_asprintf("%.*s.%.*s", (int) strcspn(area, ":/"), area, (int) strcspn(name, " "), name);

	mb_json_set_str(item, "id", strchr(name, '.') && !strchr(name, ' ') ? name : id);
	free(id);
}

static bool
is_accepted(const struct mb_checks *checks, const char *id, const char *component)
{
	size_t i, len = strlen(id);

	for (i = 0; checks->accepted && i < checks->accepted->count; i++)
	{
		const char *word = checks->accepted->items[i];

		if (mb_starts_with(word, id) &&
			(word[len] == '\0' || (word[len] == ':' && strcmp(word + len + 1, component) == 0)))
			return true;
	}
	return false;
}

static void
add(struct mb_checks *checks, enum mb_check_status status, const char *component, const char *name,
	const char *fix, const char *message_fmt, va_list ap)
{
	json_t *item = json_object();
	char message[1024];

	vsnprintf(message, sizeof(message), message_fmt, ap);
	set_id(item, checks, component, name);
	if (status == MB_CHECK_WARNING && is_accepted(checks, mb_json_str(item, "id", ""), component))
		status = MB_CHECK_ACCEPTED;
	mb_json_set_str(item, "name", name);
	mb_json_set_str(item, "component", component);
	mb_json_set_str(item, "status", statuses[status]);
	mb_json_set_str(item, "message", message);
	mb_json_set_str(item, "fix", fix);
	json_array_append_new(checks->list, item);
}

void
mb_check_add(struct mb_checks *checks, enum mb_check_status status, const char *component,
			 const char *name, const char *fix, const char *message_fmt, ...)
{
	va_list ap;

	va_start(ap, message_fmt);
	add(checks, status, component, name, fix, message_fmt, ap);
	va_end(ap);
}

void
mb_check_add_fix(struct mb_checks *checks, enum mb_check_status status, const char *component,
				 const char *name, char *fix, const char *message_fmt, ...)
{
	va_list ap;

	va_start(ap, message_fmt);
	add(checks, status, component, name, fix, message_fmt, ap);
	va_end(ap);
	free(fix);
}

size_t
mb_checks_failed(const struct mb_checks *checks)
{
	size_t i, failed = 0;

	for (i = 0; i < json_array_size(checks->list); i++)
		failed += strcmp(mb_json_str(json_array_get(checks->list, i), "status", ""),
						 statuses[MB_CHECK_FAILED]) == 0;
	return failed;
}

/* -- the repository --------------------------------------------------------------------------- */

/* A copy that is behind fails nothing, and is what one wants to know before the first is lost. */
static void
check_copy(struct mb_store *store, size_t i, struct mb_checks *checks)
{
	struct mb_mirror_status status;
	char since[MB_TIME_TEXT], name[MB_COMPONENT_MAX + 8];

	mb_mirror_status(store, i, &status);
	snprintf(name, sizeof(name), "copy %s", status.name);
	mb_time_format(since, status.since_us);
	if (status.access.code)
		mb_check_add(checks, status.access.code == MB_CONFIG ? MB_CHECK_FAILED : MB_CHECK_WARNING,
					 "repository", name,
					 status.access.hint[0] ? status.access.hint : "Make it readable and writable.",
					 "copy \"%s\" cannot be used: %s", status.name, status.access.message);
	else if (status.is_behind)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", name, "mbackup backup",
					 "copy \"%s\" at \"%s\" is behind%s%s: %s", status.name, status.url,
					 status.since_us ? " since " : "", status.since_us ? since : "", status.why);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", name, "",
					 "copy \"%s\" at \"%s\" is up to date", status.name, status.url);
}

static void
check_writable(const struct mb_stack *stack, struct mb_checks *checks)
{
	struct mb_store *store = stack->env->repo->store;
	struct mb_error err;
	int64_t store_us, skew_ms;
	size_t i;

	mb_error_clear(&err);
	if (mb_store_clock(store, &store_us, &err))
	{
		mb_check_add(checks, MB_CHECK_FAILED, "repository", "writable",
					 err.hint[0] ? err.hint : "Make the repository writable for this user.", "%s",
					 err.message);
		return;
	}
	mb_check_add(checks, MB_CHECK_OK, "repository", "writable", "", "%s can be written",
				 store->url);
	skew_ms = (store_us - mb_time_now_us()) / 1000;
	if (skew_ms > 60000 || skew_ms < -60000)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "clock",
					 "sudo timedatectl set-ntp true",
					 "its clock differs from this machine's by %lld s",
					 (long long) (skew_ms / 1000));
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "clock", "", "its clock agrees with ours");
	if (stack->env->repo->suite == MB_SUITE_NONE)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "encryption",
					 "encryption = aes-256-gcm and another url in [repository], then mbackup init",
					 "it is not encrypted: damage is found, tampering is not");
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "encryption", "",
					 "it is encrypted with AES-256-GCM");
	for (i = 0; i < mb_mirror_count(store); i++)
		check_copy(store, i, checks);
}

/* What was not read for long may be damaged by now without anybody knowing. */
static void
check_verified(const struct mb_stack *stack, struct mb_checks *checks)
{
	const struct mb_env *env = stack->env;
	int64_t age_us = env->verify_age_ms * 1000, since_us, now_us = 0;
	struct mb_verified *verified = NULL;
	struct mb_error why;
	char since[MB_TIME_TEXT];

	mb_error_clear(&why);
	if (!age_us || env->repository || env->is_copy)
		return;
	if (mb_verified_load(&verified, env->repo, &why) ||
		mb_store_clock(env->repo->store, &now_us, &why))
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "verified",
					 why.hint[0] ? why.hint : "Make the repository readable and writable.",
					 "when its data was read last is not known: %s", why.message);
	else
	{
		since_us = mb_verified_since(verified);
		if (!since_us)
			since_us = env->repo->created_us;
		mb_time_format(since, since_us);
		if (now_us - since_us > age_us)
			mb_check_add(checks, MB_CHECK_WARNING, "repository", "verified",
						 "mbackup verify --read-data full",
						 "some of its data was not read since %s", since);
		else
			mb_check_add(checks, MB_CHECK_OK, "repository", "verified", "",
						 "all of its data was read or stored since %s", since);
	}
	mb_verified_free(verified);
}

/* The last drill: did it go well, and when was that? */
static void
check_drill(const struct mb_stack *stack, struct mb_checks *checks)
{
	const struct mb_env *env = stack->env;
	int64_t age_us = env->drill_age_ms * 1000, passed_us = env->repo->created_us;
	const json_t *drill = NULL, *last = NULL;
	struct mb_error why;
	json_t *drills = NULL;
	char since[MB_TIME_TEXT];
	size_t i;

	mb_error_clear(&why);
	if (mb_drills_list(env->repo, age_us ? 0 : 1, &drills, &why))
	{
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill",
					 "Make the repository readable.",
					 "whether restores were tried is not known: %s", why.message);
		return;
	}
	json_array_foreach(drills, i, drill)
	{
		last = drill;
		if (strcmp(mb_json_str(drill, "status", ""), "passed") == 0)
			passed_us = mb_json_time(drill, "started");
	}
	mb_time_format(since, passed_us);
	if (last && strcmp(mb_json_str(last, "status", ""), "passed") != 0)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill", "mbackup verify --restore",
					 "the drill of %s failed: %s", mb_json_str(last, "started", "?"),
					 mb_json_str(json_object_get(last, "error"), "message", "?"));
	else if (age_us && mb_time_now_us() - passed_us > age_us)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "drill", "mbackup verify --restore",
					 "no restore was tried with success since %s", since);
	else if (last)
		mb_check_add(checks, MB_CHECK_OK, "repository", "drill", "",
					 "the drill of %s passed, with an RTO of %.1f s",
					 mb_json_str(last, "started", "?"),
					 json_number_value(json_object_get(last, "rto_seconds")));
	json_decref(drills);
}

void
mb_check_repository(const struct mb_stack *stack, struct mb_checks *checks)
{
	check_writable(stack, checks);
	check_verified(stack, checks);
	check_drill(stack, checks);
}

/* -- the disk ----------------------------------------------------------------------------------- */

static bool
is_on(const char *url, dev_t device)
{
	struct stat st;

	if (mb_starts_with(url, "file://"))
		url += strlen("file://");
	return url[0] == '/' && stat(url, &st) == 0 && st.st_dev == device;
}

static bool
is_known(const struct mb_checks *checks, const char *id)
{
	size_t i;

	for (i = 0; i < json_array_size(checks->list); i++)
		if (strcmp(mb_json_str(json_array_get(checks->list, i), "id", ""), id) == 0)
			return true;
	return false;
}

void
mb_check_same_disk(const struct mb_env *env, const char *path, struct mb_checks *checks)
{
	static const char id[] = "repository.same-disk";
	struct mb_store *store = env->repo->store;
	bool elsewhere;
	struct stat st;
	size_t i;

	if (is_known(checks, id) || stat(path, &st) != 0)
		return;
	elsewhere = !is_on(store->url, st.st_dev);
	for (i = 0; !elsewhere && i < mb_mirror_count(store); i++)
	{
		struct mb_mirror_status status;

		mb_mirror_status(store, i, &status);
		elsewhere = !is_on(status.url, st.st_dev);
	}
	if (!elsewhere)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", id,
					 "[repository:offsite] and, below it, url = /another/disk/mbackup in "
					 "mbackup.conf; then mbackup init",
					 "\"%s\" is on the disk of \"%s\": both are lost with it", store->url, path);
}

/* -- components ------------------------------------------------------------------------------- */

void
mb_check_components(const struct mb_stack *stack, struct mb_checks *checks)
{
	size_t i;

	if (stack->count == 0)
		mb_check_add(checks, MB_CHECK_FAILED, "stack", "components",
					 "[files:etc] and, below it, paths = /etc in mbackup.conf; or [postgres], "
					 "[objects:NAME], [redis]",
					 "the configuration names no component");
	for (i = 0; i < stack->count; i++)
	{
		struct mb_component *component = stack->components[i];
		struct mb_error why;

		mb_error_clear(&why);
		checks->kind = component->ops->kind;
		if (component->ops->check(component, checks, &why))
			mb_check_add(checks, MB_CHECK_FAILED, component->name, "stack.look",
						 why.hint[0] ? why.hint : "What the message says", "%s", why.message);
		checks->kind = NULL;
	}
}
