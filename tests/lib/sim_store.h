/*
 * sim_store.h - a store in memory whose clock stands where the test puts it, and which can be killed
 * or interrupted before any of its operations: a removal of many blobs is as many operations.
 *
 * Included by one test program only; it has no .c file.
 */
#ifndef MB_TESTS_SIM_STORE_H
#define MB_TESTS_SIM_STORE_H

#include <stdlib.h>
#include <string.h>

#include "core/repo/store.h"

struct sim_store
{
	struct mb_store base;
	struct mb_store *inner;
	int64_t calls;
	int64_t die_at; /* before this call everything fails, until it is revived; 0: never */
	int64_t hook_at;
	void (*hook)(void *ctx);
	void *hook_ctx;
};

static enum mb_code
sim_step(struct sim_store *sim, struct mb_error *err)
{
	sim->calls++;
	if (sim->hook && sim->calls == sim->hook_at)
	{
		void (*hook)(void *) = sim->hook;

		sim->hook = NULL;
		hook(sim->hook_ctx);
	}
	if (sim->die_at && sim->calls >= sim->die_at)
		return mb_fail(err, MB_IO, "the process was killed");
	return MB_OK;
}

static enum mb_code
sim_put(struct mb_store *base, const char *name, const void *data, size_t len, struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = sim_step(sim, err);

	return code ? code : mb_store_put(sim->inner, name, data, len, err);
}

static enum mb_code
sim_get(struct mb_store *base, const char *name, uint64_t offset, size_t len, struct mb_buf *out,
		struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = sim_step(sim, err);

	return code ? code : mb_store_get(sim->inner, name, offset, len, out, err);
}

static enum mb_code
sim_head(struct mb_store *base, const char *name, struct mb_blob_info *info, struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = sim_step(sim, err);

	return code ? code : mb_store_head(sim->inner, name, info, err);
}

static enum mb_code
sim_list(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
		 struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = sim_step(sim, err);

	return code ? code : mb_store_list(sim->inner, prefix, fn, ctx, err);
}

static enum mb_code
sim_remove(struct mb_store *base, const char *const *names, size_t count, struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < count; i++)
	{
		code = sim_step(sim, err);
		if (!code)
			code = mb_store_remove(sim->inner, names + i, 1, err);
	}
	return code;
}

static enum mb_code
sim_clock(struct mb_store *base, int64_t *now_us, struct mb_error *err)
{
	struct sim_store *sim = (struct sim_store *) base;
	enum mb_code code = sim_step(sim, err);

	return code ? code : mb_store_clock(sim->inner, now_us, err);
}

static void
sim_free(struct mb_store *base)
{
	struct sim_store *sim = (struct sim_store *) base;

	mb_store_free(sim->inner);
	free(sim->base.url);
	free(sim);
}

static const struct mb_store_ops sim_ops = {.driver = "sim",
											.put = sim_put,
											.get = sim_get,
											.head = sim_head,
											.list = sim_list,
											.remove = sim_remove,
											.clock = sim_clock,
											.free = sim_free};

static struct sim_store *
sim_store_new(void)
{
	struct sim_store *sim = mb_calloc(1, sizeof(*sim));

	sim->base.ops = &sim_ops;
	sim->base.url = mb_strdup("sim:");
	sim->inner = mb_store_memory_new(0);
	return sim;
}

#endif
