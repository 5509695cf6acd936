/* store_s3_list.c - the names, in order; see store_s3.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "objectstore/s3_xml.h"
#include "objectstore/store_s3_private.h"

/* One page under way or here. */
struct page_op
{
	struct mb_s3_op op;
	char *token; /* of this page; NULL: the first */
	struct mb_s3_page page;
	bool is_filled;
};

struct lister
{
	struct mb_store_s3 *store;
	struct mb_s3_lane *lane;
	const char *wanted; /* what names must begin with */
	char *prefix;       /* what the server is asked for */
	char *last;         /* the key before */
	mb_store_list_fn fn;
	void *ctx;
	struct page_op pages[2];
};

static void
start_page(struct lister *lister, struct page_op *page, const char *token)
{
	struct mb_s3_op *op = &page->op;

	page->token = token ? mb_strdup(token) : NULL;
	mb_store_s3_begin(lister->store, op, "GET", NULL);
	op->flags = MB_S3_XML_ANSWER;
	mb_s3_op_query(op, "list-type", "2");
	mb_s3_op_query(op, "encoding-type", "url");
	mb_s3_op_query(op, "prefix", lister->prefix);
	if (token)
		mb_s3_op_query(op, "continuation-token", page->token);
	mb_s3_start(lister->lane, op);
}

static void
release_page(struct page_op *page)
{
	mb_s3_op_release(&page->op);
	free(page->token);
	if (page->is_filled)
		mb_s3_page_release(&page->page);
	memset(page, 0, sizeof(*page));
}

static enum mb_code
finish_page(struct lister *lister, struct page_op *page, struct mb_error *err)
{
	enum mb_code code = mb_s3_run(lister->lane, 0, err);
	const struct mb_buf *body = &page->op.http.response.body;

	if (!code)
		code = mb_store_s3_translate(lister->store, &page->op, err);
	if (!code)
	{
		page->is_filled = true;
		code = mb_s3_page_parse(&page->page, body->data, body->len, err);
		if (code)
			mb_error_context(err, "could not list s3://%s", lister->store->bucket);
	}
	if (!code && page->page.is_truncated &&
		(!page->page.next_key || (page->token && strcmp(page->token, page->page.next_key) == 0)))
		code = mb_fail(err, MB_CORRUPT, "the listing of s3://%s does not go on",
					   lister->store->bucket);
	return code;
}

/* Objects that no blob can be named after are not ours: "folders" of other tools, leftovers. */
static bool
is_blob_name(const char *name)
{
	return strlen(name) < MB_NAME_MAX && mb_name_is_safe(name, strlen(name)) &&
		   !mb_starts_with(name, ".tmp-") && !strstr(name, "/.tmp-");
}

/* What a trial of the server left behind when it was killed is for the next trial to find. */
static bool
is_wanted(const struct lister *lister, const char *name)
{
	return mb_starts_with(name, lister->wanted) && is_blob_name(name) &&
		   (!mb_starts_with(name, MB_STORE_S3_TRIALS) ||
			mb_starts_with(lister->wanted, MB_STORE_S3_TRIALS));
}

static enum mb_code
hand_over(struct lister *lister, const struct mb_s3_page *page, struct mb_error *err)
{
	size_t prefix_len = strlen(lister->store->prefix);
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < page->count; i++)
	{
		const struct mb_s3_version *object = &page->versions[i];
		struct mb_blob_info info = {object->key + prefix_len, object->size,
									object->modified_ns / 1000};

		if (!mb_starts_with(object->key, lister->prefix) ||
			(lister->last && strcmp(lister->last, object->key) >= 0))
			return mb_fail(err, MB_CORRUPT, "the listing of s3://%s is out of order at \"%s\"",
						   lister->store->bucket, object->key);
		free(lister->last);
		lister->last = mb_strdup(object->key);
		if (is_wanted(lister, info.name))
			code = lister->fn(lister->ctx, &info, err);
	}
	return code;
}

/* The next page is fetched while this one is handed over. */
static enum mb_code
list_pages(struct lister *lister, struct mb_error *err)
{
	unsigned at = 0;
	enum mb_code code;
	bool more = true;

	start_page(lister, &lister->pages[0], NULL);
	for (code = MB_OK; !code && more; at = !at)
	{
		struct page_op *page = &lister->pages[at];

		code = finish_page(lister, page, err);
		more = !code && page->page.is_truncated;
		if (more)
		{
			start_page(lister, &lister->pages[!at], page->page.next_key);
			code = mb_s3_poll(lister->lane, 0, err);
		}
		if (!code)
			code = hand_over(lister, &page->page, err);
		if (!code)
			release_page(page);
	}
	return code;
}

enum mb_code
mb_store_s3_list_op(struct mb_store *base, const char *prefix, mb_store_list_fn fn, void *ctx,
					struct mb_error *err)
{
	struct lister lister = {.store = mb_store_s3_from(base),
							.wanted = prefix,
							.fn = fn,
							.ctx = ctx};
	const char *slash = strrchr(prefix, '/');
	size_t folder_len = slash ? (size_t) (slash - prefix) : 0;
	size_t asked_len = strlen(prefix);
	enum mb_code code;

	/* What no name can begin with, and what a server might refuse to look for. */
	if (slash && !mb_name_is_safe(prefix, folder_len))
		return MB_OK;
	if ((slash ? slash + 1 : prefix)[0] == '.')
		asked_len = slash ? folder_len + 1 : 0;
	lister.prefix = mb_asprintf("%s%.*s", lister.store->prefix, (int) asked_len, prefix);
	lister.lane = mb_s3_lane_open(lister.store->s3);
	code = list_pages(&lister, err);
	mb_s3_drop(lister.lane);
	mb_s3_lane_close(lister.lane);
	release_page(&lister.pages[0]);
	release_page(&lister.pages[1]);
	free(lister.prefix);
	free(lister.last);
	return code;
}
