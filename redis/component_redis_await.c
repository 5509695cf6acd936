/* component_redis_await.c - waiting until the repository holds a cut. */
#include <inttypes.h>

#include "core/base/time.h"
#include "redis/component_private.h"

#define POLL_MS 100
/* A stream that begins has put something before that. */
#define NO_STREAM_MS 5000

static enum mb_code
no_stream(const struct mb_component *component, uint64_t offset, struct mb_error *err)
{
	mb_fail(err, MB_NEGATIVE, "no stream of \"%s\" holds the cut at offset %" PRIu64,
			component->name, offset);
	return mb_error_hint(err, "Start \"mbackup stream\" and keep it running.");
}

/*
 * *any: was there ever a stream?  Of whichever history: right after a failover nothing of the new
 * one is there yet, and a stream that looks for its server may need half a minute (BACKOFF_MAX_MS).
 */
static enum mb_code
has_stream(struct mb_component *component, bool *any, struct mb_error *err)
{
	struct mb_pieces pieces = {0};

	if (mb_pieces_list(component->env->repo, component->name, NULL, &pieces, err))
		return err->code;
	*any = pieces.count > 0;
	mb_pieces_release(&pieces);
	return MB_OK;
}

static enum mb_code
wait_held(struct mb_component *component, const char *replid, uint64_t offset, int64_t timeout_ms,
		  struct mb_error *err)
{
	const struct mb_repo *repo = component->env->repo;
	int64_t start_ms = mb_monotonic_ms();
	bool looked = false, any = true, held = false;

	while (any && mb_monotonic_ms() - start_ms < timeout_ms)
	{
		if (mb_cancel_check(component->env->cancel, err) ||
			mb_pieces_hold(repo, component->name, replid, offset, &held, err))
			return err->code;
		if (held)
			return MB_OK;
		if (!looked && mb_monotonic_ms() - start_ms >= NO_STREAM_MS)
		{
			looked = true;
			if (has_stream(component, &any, err))
				return err->code;
		}
		mb_sleep_ms(POLL_MS);
	}
	return no_stream(component, offset, err);
}

/* Held is not enough: the newest backup must get there without a gap. */
static enum mb_code
check_base(struct mb_component *component, const struct mb_commit *newest, const char *replid,
		   uint64_t offset, struct mb_error *err)
{
	struct mb_pieces pieces = {0};
	bool yes = false;
	enum mb_code code = MB_OK;

	if (newest)
		code = mb_pieces_list(component->env->repo, component->name, NULL, &pieces, err);
	if (!code && newest)
		code = mb_redis_commit_reaches(component, newest, &pieces, replid, offset, &yes, err);
	mb_pieces_release(&pieces);
	if (code || yes)
		return code;
	mb_fail(err, MB_NEGATIVE,
			"the stream of \"%s\" has a gap between its newest backup and the cut",
			component->name);
	return mb_error_hint(err, "Run \"mbackup backup\": marks after it are held.");
}

enum mb_code
mb_redis_await_position(struct mb_component *component, const json_t *position, int64_t timeout_ms,
						const struct mb_commit *newest, struct mb_error *err)
{
	const char *replid = mb_json_str(position, "replid", "");
	uint64_t offset = (uint64_t) mb_json_int(position, "offset", 0);
	enum mb_code code;

	if (!mb_replid_is_valid(replid))
		return mb_fail(err, MB_NEGATIVE, "the cut holds no position of \"%s\"", component->name);
	code = wait_held(component, replid, offset, timeout_ms, err);
	return code ? code : check_base(component, newest, replid, offset, err);
}

enum mb_code
mb_redis_newest(struct mb_component *component, struct mb_commit *newest, bool *any,
				struct mb_error *err)
{
	const struct mb_repo *repo = component->env->repo;
	struct mb_commit_names names = {0};
	enum mb_code code = mb_commit_list(repo, component->name, &names, err);

	*any = !code && names.count > 0;
	if (*any)
		code = mb_commit_head(repo, component->name, names.items[names.count - 1].id, newest, err);
	mb_commit_names_release(&names);
	return code;
}

enum mb_code
mb_redis_await(struct mb_component *component, const struct mb_cut *cut, int64_t timeout_ms,
			   struct mb_error *err)
{
	const json_t *position = json_object_get(cut->positions, component->name);
	struct mb_commit newest = {0};
	bool any = false;
	enum mb_code code = mb_redis_newest(component, &newest, &any, err);

	if (!code)
		code = mb_redis_await_position(component, position, timeout_ms, any ? &newest : NULL, err);
	mb_commit_release(&newest);
	return code;
}
