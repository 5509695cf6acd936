/*
 * live_swap.c - the whole data set at one instant.
 *
 * Each database of the backup is filled into a database of the destination that is empty,
 * and one MULTI ... EXEC exchanges them (SWAPDB), loads the functions and empties everything
 * else.  Clients see the old data until then and the new data from then on, never a
 * mixture; a replica and the append-only file get the same transaction.  It costs the
 * memory of both, and as many empty databases as the backup has.
 *
 * Rejected: CLIENT PAUSE ALL stops our own connection too; REPLICAOF needs the destination to
 * reach us, changes its configuration, and leaves a read-only server when we die.
 *
 * A key marks the databases that are being filled.  The transaction deletes it; where it is found
 * later, a run died, and what is there is emptied.
 */
#include <inttypes.h>

#include "redis/live.h"

static void
number_text(char out[24], int64_t number)
{
	snprintf(out, 24, "%" PRId64, number);
}

/* -- what dead runs left -------------------------------------------------------------------- */

static enum mb_code
call(struct mb_pipe *pipe, const char *command, struct mb_pipe_reply *reply, struct mb_error *err)
{
	if (mb_pipe_flush(pipe, err))
		return err->code;
	return mb_pipe_expect(pipe, command, reply, err);
}

static enum mb_code
sweep_db(struct mb_live *live, struct mb_pipe *pipe, int64_t db, struct mb_error *err)
{
	struct mb_pipe_reply reply;

	if (mb_live_select(pipe, db, err))
		return err->code;
	mb_pipe_add_texts(pipe, "EXISTS", MB_LIVE_MARKER, NULL);
	if (call(pipe, "EXISTS", &reply, err))
		return err->code;
	if (reply.integer == 0)
		return MB_OK;
	mb_log_info(live->component->env->log,
				"%s: a restore that died left database %" PRId64
				" of %s half filled: it is emptied",
				live->component->name, db, mb_redis_name(live->redis));
	mb_pipe_add_texts(pipe, "FLUSHDB", "ASYNC", NULL);
	return call(pipe, "FLUSHDB", &reply, err);
}

enum mb_code
mb_live_sweep(struct mb_live *live, struct mb_error *err)
{
	struct mb_pipe pipe = {.redis = live->redis};
	struct mb_live_dbs dbs = {0};
	enum mb_code code = mb_live_dbs_read(live->redis, &dbs, err);
	size_t i;

	for (i = 0; !code && i < dbs.count; i++)
		code = sweep_db(live, &pipe, dbs.items[i].db, err);
	mb_live_dbs_release(&dbs);
	mb_pipe_release(&pipe);
	return code;
}

/* -- choosing ------------------------------------------------------------------------------- */

enum mb_code
mb_live_swap_plan(struct mb_live *live, struct mb_live_swap *swap, bool *yes, struct mb_error *err)
{
	struct mb_live_dbs used = {0};
	size_t found = 0;
	int64_t db;

	if (mb_live_dbs_read(live->redis, &used, err))
		return err->code;
	swap->staging = mb_calloc(swap->dbs->count + 1, sizeof(*swap->staging));
	/* From above: low numbers are those that an application may take into use meanwhile. */
	for (db = (int64_t) live->databases - 1; db >= 0 && found < swap->dbs->count; db--)
		if (mb_live_dbs_keys(&used, db) == 0 && mb_live_dbs_keys(swap->dbs, db) == 0)
			swap->staging[found++] = db;
	*yes = found == swap->dbs->count;
	mb_live_dbs_release(&used);
	return MB_OK;
}

/* -- filling -------------------------------------------------------------------------------- */

/* Mark it first: whatever happens from now on, the next run knows it for ours. */
static enum mb_code
fill(struct mb_live_copy *copy, int64_t from, int64_t staging, struct mb_error *err)
{
	uint64_t before = copy->keys;
	struct mb_pipe_reply reply;

	if (mb_live_select(&copy->to, staging, err))
		return err->code;
	mb_pipe_add_texts(&copy->to, "DBSIZE", NULL);
	if (call(&copy->to, "DBSIZE", &reply, err))
		return err->code;
	if (reply.integer != 0)
		return mb_fail(err, MB_CONFLICT, "database %" PRId64 " was empty and is used now", staging);
	mb_pipe_add_texts(&copy->to, "SET", MB_LIVE_MARKER, copy->live->restore->id, NULL);
	if (call(&copy->to, "SET", &reply, err) || mb_live_copy_db(copy, from, staging, err))
		return err->code;
	/* Fewer is what has expired; more is somebody else's. */
	mb_pipe_add_texts(&copy->to, "DBSIZE", NULL);
	if (call(&copy->to, "DBSIZE", &reply, err))
		return err->code;
	if (reply.integer > (int64_t) (copy->keys - before) + 1)
		return mb_fail(err, MB_CONFLICT,
					   "another client writes into database %" PRId64 ", which was empty", staging);
	return MB_OK;
}

/* -- exchanging ----------------------------------------------------------------------------- */

static size_t
add_flush(struct mb_pipe *pipe, int64_t db)
{
	char number[24];

	number_text(number, db);
	mb_pipe_add_texts(pipe, "SELECT", number, NULL);
	mb_pipe_add_texts(pipe, "FLUSHDB", "ASYNC", NULL);
	return 2;
}

static size_t
add_exchange(struct mb_pipe *pipe, int64_t staging, int64_t target)
{
	char from[24], to[24];

	number_text(from, staging);
	number_text(to, target);
	mb_pipe_add_texts(pipe, "SELECT", from, NULL);
	mb_pipe_add_texts(pipe, "DEL", MB_LIVE_MARKER, NULL);
	mb_pipe_add_texts(pipe, "SWAPDB", from, to, NULL);
	return 3 + add_flush(pipe, staging);
}

void
mb_live_add_functions(struct mb_pipe *pipe, const struct mb_buf *functions)
{
	mb_pipe_add(pipe,
				(struct mb_word[]){{"FUNCTION", 8},
								   {"RESTORE", 7},
								   {functions->data, functions->len},
								   {"FLUSH", 5}},
				4);
}

/*
 * The replies to MULTI, to `count` queued commands, and to EXEC with their results.  A step that
 * fails within EXEC does not stop the others; one that cannot be queued stops all.
 */
static enum mb_code
read_transaction(struct mb_pipe *pipe, size_t count, struct mb_error *err)
{
	struct mb_pipe_reply reply = {0};
	struct mb_error first;
	size_t i;

	mb_error_clear(&first);
	for (i = 0; i < count + 2; i++)
	{
		struct mb_error one;

		mb_error_clear(&one);
		if (mb_pipe_expect(pipe, i < count + 1 ? "a step of the exchange" : "EXEC", &reply, &one) &&
			!first.code)
			first = one;
		if (one.code == MB_UNREACHABLE || one.code == MB_INTERRUPTED || one.code == MB_CORRUPT)
			break;
	}
	if (first.code)
	{
		*err = first;
		return mb_error_context(err, "could not exchange the databases");
	}
	if (reply.type != MB_REDIS_ARRAY || reply.integer != (int64_t) count)
		return mb_fail(err, MB_CORRUPT, "the answer of Redis to EXEC cannot be read");
	for (i = 0; i < count; i++)
		if (mb_pipe_expect(pipe, "a step of the exchange", &reply, err))
			return mb_error_context(err, "the databases are exchanged, but not all of it was done");
	return MB_OK;
}

static enum mb_code
exchange(struct mb_live_copy *copy, const struct mb_live_swap *swap, const struct mb_buf *functions,
		 struct mb_error *err)
{
	const struct mb_live_dbs *targets = swap->dbs;
	struct mb_pipe *pipe = &copy->to;
	struct mb_live_dbs now = {0};
	size_t count = 0, i;
	enum mb_code code;

	if (mb_live_dbs_read(copy->live->redis, &now, err))
		return err->code;
	mb_pipe_add_texts(pipe, "MULTI", NULL);
	if (functions)
	{
		mb_live_add_functions(pipe, functions);
		count++;
	}
	for (i = 0; i < targets->count; i++)
		count += add_exchange(pipe, swap->staging[i], targets->items[i].db);
	for (i = 0; i < now.count; i++)
	{
		bool is_staging = false;
		size_t j;

		for (j = 0; j < targets->count; j++)
			is_staging = is_staging || swap->staging[j] == now.items[i].db;
		if (!is_staging && mb_live_dbs_keys(targets, now.items[i].db) == 0)
			count += add_flush(pipe, now.items[i].db);
	}
	mb_pipe_add_texts(pipe, "EXEC", NULL);
	code = mb_pipe_flush(pipe, err);
	if (!code)
		code = read_transaction(pipe, count, err);
	mb_live_dbs_release(&now);
	return code;
}

/* After a failure: a connection of its own, which no signal cancels; what it cannot do, the next
 * run does. */
static void
clean_up(struct mb_live *live)
{
	struct mb_redis_options options = live->options;
	struct mb_live again = {.component = live->component};
	struct mb_error err;

	options.cancel = NULL;
	mb_error_clear(&err);
	if (mb_redis_connect(&again.redis, &options, &err) || mb_live_sweep(&again, &err))
		mb_log_warning(live->component->env->log,
					   "%s: staging databases are left in the server until the next restore: %s",
					   live->component->name, err.message);
	mb_redis_close(again.redis);
}

enum mb_code
mb_live_swap_run(struct mb_live_copy *copy, struct mb_live_swap *swap,
				 const struct mb_buf *functions, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < swap->dbs->count; i++)
		code = fill(copy, swap->dbs->items[i].db, swap->staging[i], err);
	if (!code)
		code = exchange(copy, swap, functions, err);
	if (code)
		clean_up(copy->live);
	return code;
}
