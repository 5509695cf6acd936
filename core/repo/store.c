/* store.c - see store.h: what is the same for every driver. */
#include "core/repo/store.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"

/* A name that a blob may have; anything else was made by somebody hostile or is a bug. */
static enum mb_code
check_name(const char *name, struct mb_error *err)
{
	size_t len = strnlen(name, MB_NAME_MAX);
	bool ok = len < MB_NAME_MAX && mb_name_is_safe(name, len) && !mb_starts_with(name, ".tmp-") &&
			  !strstr(name, "/.tmp-");

	if (!ok)
		return mb_fail(err, MB_CORRUPT, "\"%.*s\" cannot be the name of a blob", (int) len, name);
	return MB_OK;
}

enum mb_code
mb_store_put(struct mb_store *store, const char *name, const void *data, size_t len,
			 struct mb_error *err)
{
	enum mb_code code = check_name(name, err);

	if (code)
		return code;
	if (len > MB_BLOB_MAX_BYTES)
		return mb_fail(err, MB_UNSUPPORTED, "blob \"%s\" of %zu bytes is larger than %u bytes",
					   name, len, MB_BLOB_MAX_BYTES);
	return store->ops->put(store, name, data, len, err);
}

enum mb_code
mb_store_get(struct mb_store *store, const char *name, uint64_t offset, size_t len,
			 struct mb_buf *out, struct mb_error *err)
{
	enum mb_code code = check_name(name, err);

	return code ? code : store->ops->get(store, name, offset, len, out, err);
}

enum mb_code
mb_store_head(struct mb_store *store, const char *name, struct mb_blob_info *info,
			  struct mb_error *err)
{
	enum mb_code code = check_name(name, err);

	return code ? code : store->ops->head(store, name, info, err);
}

enum mb_code
mb_store_list(struct mb_store *store, const char *prefix, mb_store_list_fn fn, void *ctx,
			  struct mb_error *err)
{
	return store->ops->list(store, prefix, fn, ctx, err);
}

enum mb_code
mb_store_remove(struct mb_store *store, const char *const *names, size_t count,
				struct mb_error *err)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		enum mb_code code = check_name(names[i], err);

		if (code)
			return code;
	}
	return count == 0 ? MB_OK : store->ops->remove(store, names, count, err);
}

enum mb_code
mb_store_clock(struct mb_store *store, int64_t *now_us, struct mb_error *err)
{
	return store->ops->clock(store, now_us, err);
}

void
mb_store_free(struct mb_store *store)
{
	if (store)
		store->ops->free(store);
}
