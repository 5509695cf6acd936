/* bucket_apply.c - see bucket_apply.h. */
#include "objectstore/bucket_apply.h"

#include <stdlib.h>
#include <string.h>

#include "objectstore/s3_xml.h"

/* -- before ------------------------------------------------------------------------------------------ */

enum mb_code
mb_bucket_make(struct mb_s3 *s3, const char *name, bool with_lock, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT", .bucket = name};
	enum mb_code code;

	if (with_lock)
		mb_s3_op_header(&op, "x-amz-bucket-object-lock-enabled", "true");
	code = mb_s3_perform(s3, &op, err);
	/* Ours from the attempt before, or from an earlier try of this request. */
	if (code == MB_CONFLICT && (strcmp(op.error_code, "BucketAlreadyOwnedByYou") == 0))
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	mb_s3_op_release(&op);
	if (code)
		return mb_error_context(err, "could not make bucket \"%s\"", name);
	return MB_OK;
}

static enum mb_code
put_config(struct mb_s3 *s3, const char *name, const char *what, const void *body, size_t len,
		   struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = name,
						  .body = body,
						  .body_len = len,
						  .flags = MB_S3_MD5};
	enum mb_code code;

	mb_s3_op_query(&op, what, NULL);
	code = mb_s3_perform(s3, &op, err);
	mb_s3_op_release(&op);
	return code;
}

enum mb_code
mb_bucket_set_versioning(struct mb_s3 *s3, const char *name, const char *status,
						 struct mb_error *err)
{
	char *body = mb_asprintf("<VersioningConfiguration " MB_S3_XMLNS ">"
							 "<Status>%s</Status></VersioningConfiguration>",
							 status);
	enum mb_code code = put_config(s3, name, "versioning", body, strlen(body), err);

	free(body);
	if (code)
		return mb_error_context(err, "could not set versioning of bucket \"%s\"", name);
	return MB_OK;
}

bool
mb_bucket_has_default_retention(const struct mb_bucket_config *config)
{
	const struct mb_buf *lock = mb_bucket_config_get(config, "object-lock");

	return lock && memmem(lock->data, lock->len, "<DefaultRetention>", 18);
}

/* -- after ---------------------------------------------------------------------------------------------- */

/* Replace every occurrence. */
static void
replace(struct mb_buf *out, const struct mb_buf *from, const char *what, const char *with)
{
	const unsigned char *at = from->data, *end = from->data + from->len;
	size_t len = strlen(what);

	while (at < end)
	{
		const unsigned char *hit = memmem(at, (size_t) (end - at), what, len);

		mb_buf_put(out, at, (size_t) ((hit ? hit : end) - at));
		if (!hit)
			break;
		mb_buf_put_str(out, with);
		at = hit + len;
	}
}

static bool
contains(const struct mb_buf *body, const char *text)
{
	return body->len > 0 && memmem(body->data, body->len, text, strlen(text));
}

/* What a server says when there is nothing to say. */
static bool
is_empty(const struct mb_config_item *item)
{
	static const struct
	{
		const char *what;
		const char *needs; /* without this it says nothing */
	} full[] = {
		{"logging", "<LoggingEnabled>"},
		{"accelerate", "<Status>"},
		{"requestPayment", "Requester<"},
		{"object-lock", "<Rule>"},
		{"tagging", "<Tag>"},
		{"lifecycle", "<Rule>"},
		{"replication", "<Rule>"},
		{"publicAccessBlock", ">true<"},
	};
	size_t i;

	if (strcmp(item->what, "notification") == 0)
		return !contains(&item->body, "<QueueConfiguration>") &&
			   !contains(&item->body, "<TopicConfiguration>") &&
			   !contains(&item->body, "<CloudFunctionConfiguration>");
	for (i = 0; i < sizeof(full) / sizeof(full[0]); i++)
		if (strcmp(item->what, full[i].what) == 0)
			return !contains(&item->body, full[i].needs);
	return false;
}

static enum mb_code
put_quota(struct mb_s3 *s3, const char *name, const struct mb_buf *body, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .key = "minio/admin/v3/set-bucket-quota",
						  .body = body->data,
						  .body_len = body->len};
	json_t *quota = NULL;
	enum mb_code code;

	if (mb_json_parse(&quota, (const char *) body->data, body->len, "quota", err))
		return err->code;
	code = MB_OK;
	if (mb_json_int(quota, "quota", 0) > 0 || mb_json_int(quota, "size", 0) > 0)
	{
		mb_s3_op_query(&op, "bucket", name);
		code = mb_s3_perform(s3, &op, err);
		mb_s3_op_release(&op);
	}
	json_decref(quota);
	return code;
}

static bool
speaks_of_another(const struct mb_buf *policy, const char *source, const char *name)
{
	return strcmp(source, name) != 0 && contains(policy, "arn:aws:s3:::");
}

/* Fatal failures are those that would hit everything else too. */
static enum mb_code
warn_or_fail(struct mb_restore *restore, const char *what, enum mb_code code, struct mb_error *err)
{
	if (!code || code == MB_UNREACHABLE || code == MB_INTERRUPTED)
		return code;
	mb_restore_warn(restore, "bucket/%s could not be set: %s", what, err->message);
	mb_error_clear(err);
	return MB_OK;
}

static enum mb_code
apply_lifecycle(struct mb_restore *restore, struct mb_s3 *s3, const char *name,
				const struct mb_buf *body, struct mb_error *err)
{
	struct mb_buf disabled = {0};
	enum mb_code code;

	replace(&disabled, body, "<Status>Enabled</Status>", "<Status>Disabled</Status>");
	code = put_config(s3, name, "lifecycle", disabled.data, disabled.len, err);
	mb_buf_release(&disabled);
	if (!code)
		mb_restore_warn(restore, "the lifecycle rules are set, but disabled: enabled they would "
								 "remove old versions at once");
	return warn_or_fail(restore, "lifecycle", code, err);
}

static enum mb_code
apply_item(struct mb_restore *restore, struct mb_s3 *s3, const char *name, const char *source,
		   const struct mb_config_item *item, struct mb_error *err)
{
	if (is_empty(item) || strcmp(item->what, "versioning") == 0 || strcmp(item->what, "acl") == 0)
		return MB_OK;
	if (strcmp(item->what, "replication") == 0)
	{
		mb_restore_warn(restore, "replication is not set: its targets need secrets that no backup "
								 "has");
		return MB_OK;
	}
	if (strcmp(item->what, "iam") == 0)
	{
		mb_restore_warn(restore,
						"users, groups and policies of the server are in this backup too, and not "
						"restored: mbackup objects iam %s",
						restore->component);
		return MB_OK;
	}
	if (strcmp(item->what, "lifecycle") == 0)
		return apply_lifecycle(restore, s3, name, &item->body, err);
	if (strcmp(item->what, "quota") == 0)
		return warn_or_fail(restore, item->what, put_quota(s3, name, &item->body, err), err);
	if (strcmp(item->what, "policy") == 0 && speaks_of_another(&item->body, source, name))
	{
		mb_restore_warn(restore, "the policy is not set: it speaks of bucket \"%s\"", source);
		return MB_OK;
	}
	return warn_or_fail(restore, item->what,
						put_config(s3, name, item->what, item->body.data, item->body.len, err),
						err);
}

enum mb_code
mb_bucket_apply(struct mb_restore *restore, struct mb_s3 *s3, const char *name, const char *source,
				const struct mb_bucket_config *config, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	if (config->is_suspended)
		code = mb_bucket_set_versioning(s3, name, "Suspended", err);
	for (i = 0; !code && i < config->count; i++)
		if (config->items[i].is_there)
			code = apply_item(restore, s3, name, source, &config->items[i], err);
	return code;
}
