/* bucket_locks.c - see bucket_locks.h. */
#include "objectstore/bucket_locks.h"

#include "objectstore/s3_xml.h"

static enum mb_code
list_some(struct mb_bucket *bucket, struct mb_s3_page *page, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET", .bucket = bucket->name};
	enum mb_code code;

	mb_s3_op_query(&op, "encoding-type", "url");
	mb_s3_op_query(&op, "max-keys", "100");
	mb_s3_op_query(&op, "prefix", bucket->prefix);
	mb_s3_op_query(&op, bucket->is_current_only ? "list-type" : "versions",
				   bucket->is_current_only ? "2" : NULL);
	code = mb_s3_perform(bucket->s3, &op, err);
	if (!code)
		code = mb_s3_page_parse(page, op.http.response.body.data, op.http.response.body.len, err);
	mb_s3_op_release(&op);
	return code;
}

/* Whatever is answered but a denial is an answer: most versions have no lock. */
static enum mb_code
ask(struct mb_bucket *bucket, const struct mb_s3_version *version, const char *what,
	const char *permission, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET", .bucket = bucket->name, .key = version->key};
	enum mb_code code;

	mb_s3_op_query(&op, what, NULL);
	if (version->version_id[0])
		mb_s3_op_query(&op, "versionId", version->version_id);
	code = mb_s3_perform(bucket->s3, &op, err);
	mb_s3_op_release(&op);
	if (code == MB_UNREACHABLE || code == MB_INTERRUPTED || code == MB_CONFIG)
		return code;
	mb_error_clear(err);
	if (code == MB_DENIED)
	{
		mb_capture_warn(capture,
						"not in this backup: %s of any version, no permission to read it: %s", what,
						permission);
		atomic_store(&capture->incomplete, true);
	}
	return MB_OK;
}

enum mb_code
mb_bucket_check_locks(struct mb_bucket *bucket, struct mb_capture *capture, struct mb_error *err)
{
	struct mb_s3_page page = {0};
	enum mb_code code;
	size_t i = 0;

	if (bucket->may_read_locks)
		return MB_OK;
	code = list_some(bucket, &page, err);
	while (!code && i < page.count && page.versions[i].is_marker)
		i++;
	if (!code && i < page.count)
	{
		code = ask(bucket, &page.versions[i], "retention", "s3:GetObjectRetention", capture, err);
		if (!code)
			code =
				ask(bucket, &page.versions[i], "legal-hold", "s3:GetObjectLegalHold", capture, err);
		bucket->may_read_locks = !code && !atomic_load(&capture->incomplete);
	}
	mb_s3_page_release(&page);
	return code ? mb_error_context(err, "could not look for locks in \"%s\"", bucket->name) : MB_OK;
}
