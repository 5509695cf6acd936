/* store_s3_remove.c - removing by DeleteObjects; see store_s3.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/s3_xml.h"
#include "objectstore/store_s3_private.h"

#define REMOVE_BATCH 1000
#define REMOVE_TRIES 6

/* What DeleteObjects answers: <Error> with Key, Code and Message for what was not removed. */
struct removal
{
	const struct mb_store_s3 *store;
	struct mb_buf key;
	struct mb_buf error_code;
	struct mb_buf message;
	const char **names; /* to be tried again */
	size_t count;
	size_t cap;
	struct mb_buf kept; /* the texts of names, NUL-terminated, one behind the other */
	enum mb_code code;  /* of the first refusal that will not pass */
	struct mb_error *err;
};

static bool
passes_by_itself(const char *error_code)
{
	return strcmp(error_code, "InternalError") == 0 ||
		   strcmp(error_code, "ServiceUnavailable") == 0 ||
		   strcmp(error_code, "RequestTimeout") == 0 || mb_starts_with(error_code, "SlowDown");
}

static enum mb_code
begin_removal(void *ctx, const char *path, struct mb_error *err)
{
	struct removal *removal = ctx;

	(void) err;
	if (strcmp(path, "DeleteResult/Error") == 0)
	{
		mb_buf_reset(&removal->key);
		mb_buf_reset(&removal->error_code);
		mb_buf_reset(&removal->message);
	}
	return MB_OK;
}

static enum mb_code
end_removal(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct removal *removal = ctx;
	const char *why, *name;

	(void) err;
	if (strcmp(path, "DeleteResult/Error/Key") == 0)
		mb_buf_put(&removal->key, text, len);
	else if (strcmp(path, "DeleteResult/Error/Code") == 0)
		mb_buf_put(&removal->error_code, text, len);
	else if (strcmp(path, "DeleteResult/Error/Message") == 0)
		mb_buf_put(&removal->message, text, len);
	if (strcmp(path, "DeleteResult/Error") != 0)
		return MB_OK;
	why = mb_buf_cstr(&removal->error_code);
	name = mb_buf_cstr(&removal->key);
	if (strcmp(why, "NoSuchKey") == 0 || strcmp(why, "NoSuchVersion") == 0)
		return MB_OK;
	if (passes_by_itself(why) && mb_starts_with(name, removal->store->prefix))
	{
		mb_buf_put(&removal->kept, name, strlen(name) + 1);
		removal->count++;
	}
	else if (!removal->code)
		removal->code = mb_fail(removal->err, strcmp(why, "AccessDenied") == 0 ? MB_DENIED : MB_IO,
								"could not remove \"%s\": %s: %.300s", name, why,
								mb_buf_cstr(&removal->message));
	return MB_OK;
}

static void
write_removal(struct mb_buf *body, const struct mb_store_s3 *store, const char *const *names,
			  size_t count)
{
	size_t i;

	mb_buf_put_str(body, "<Delete " MB_S3_XMLNS "><Quiet>true</Quiet>");
	for (i = 0; i < count; i++)
	{
		mb_buf_put_str(body, "<Object><Key>");
		mb_xml_escape(body, store->prefix);
		mb_xml_escape(body, names[i]);
		mb_buf_put_str(body, "</Key></Object>");
	}
	mb_buf_put_str(body, "</Delete>");
}

/* One request; what should be tried again stands in removal->kept. */
static enum mb_code
send_removal(struct mb_store_s3 *store, const char *const *names, size_t count,
			 struct removal *removal, struct mb_error *err)
{
	static const struct mb_xml_handler handler = {begin_removal, end_removal};
	struct mb_s3_op op = {0};
	struct mb_buf body = {0};
	const struct mb_buf *answer = &op.http.response.body;
	enum mb_code code;

	write_removal(&body, store, names, count);
	mb_store_s3_begin(store, &op, "POST", NULL);
	mb_s3_op_query(&op, "delete", NULL);
	mb_s3_op_header(&op, "Content-Type", "application/xml");
	op.body = body.data;
	op.body_len = body.len;
	op.flags = MB_S3_MD5;
	code = mb_store_s3_ask(store, &op, err);
	removal->err = err;
	if (!code)
		code = mb_xml_parse(answer->data, answer->len, &handler, removal, "DeleteResult", err);
	if (!code)
		code = removal->code;
	mb_s3_op_release(&op);
	mb_buf_release(&body);
	return code;
}

static void
release_removal(struct removal *removal)
{
	mb_buf_release(&removal->key);
	mb_buf_release(&removal->error_code);
	mb_buf_release(&removal->message);
	mb_buf_release(&removal->kept);
	free(removal->names);
}

/* The names to be tried again, without the store's prefix. */
static void
find_kept(struct removal *removal)
{
	const char *at = (const char *) removal->kept.data;
	size_t i;

	removal->names = mb_calloc(removal->count, sizeof(*removal->names));
	for (i = 0; i < removal->count; i++)
	{
		removal->names[i] = at + strlen(removal->store->prefix);
		at += strlen(at) + 1;
	}
}

static enum mb_code
remove_batch(struct mb_store_s3 *store, const char *const *names, size_t count,
			 struct mb_error *err)
{
	struct removal last = {.store = store};
	enum mb_code code = MB_OK;
	unsigned tries;

	for (tries = 1; !code && count > 0; tries++)
	{
		struct removal removal = {.store = store};

		code = send_removal(store, names, count, &removal, err);
		if (!code && removal.count > 0 && tries == REMOVE_TRIES)
			code = mb_fail(err, MB_UNREACHABLE, "could not remove %zu blobs: %s", removal.count,
						   mb_buf_cstr(&removal.error_code));
		if (!code && removal.count > 0)
			mb_sleep_ms(50ll << tries);
		find_kept(&removal);
		release_removal(&last);
		last = removal;
		names = last.names;
		count = last.count;
	}
	release_removal(&last);
	return code;
}

enum mb_code
mb_store_s3_remove_op(struct mb_store *base, const char *const *names, size_t count,
					  struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t at;

	for (at = 0; !code && at < count; at += REMOVE_BATCH)
		code = remove_batch(mb_store_s3_from(base), names + at,
							count - at < REMOVE_BATCH ? count - at : REMOVE_BATCH, err);
	return code;
}
