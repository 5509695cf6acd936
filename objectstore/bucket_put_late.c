/*
 * bucket_put_late.c - what is said about a version when it is there.
 *
 * Ceph loses tags and locks that come with the beginning of an upload, and answers nothing when it is
 * asked for such tags.
 */
#include "objectstore/bucket_put_private.h"

bool
mb_put_has_late(const struct mb_put_place *place, const struct mb_put_version *version)
{
	return mb_s3_dialect(place->s3) == MB_S3_CEPH && (mb_json_str(version->meta, "tags", "")[0] ||
													  json_object_get(version->meta, "retention") ||
													  mb_json_bool(version->meta, "hold", false));
}

static enum mb_code
put_one(const struct mb_put_place *place, const char *key, const char *id, struct mb_s3_lane *lane,
		const char *what, const struct mb_buf *body, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = place->bucket,
						  .key = key,
						  .body = body->data,
						  .body_len = body->len,
						  .flags = MB_S3_MD5};
	enum mb_code code;

	mb_s3_op_query(&op, what, NULL);
	if (id && place->is_versioned)
		mb_s3_op_query(&op, "versionId", id);
	code = mb_s3_perform_on(lane, &op, err);
	mb_s3_op_release(&op);
	return code;
}

enum mb_code
mb_put_late(const struct mb_put_place *place, const struct mb_put_version *version, const char *id,
			struct mb_s3_lane *lane, struct mb_error *err)
{
	const char *tags = mb_json_str(version->meta, "tags", "");
	struct mb_buf body = {0};
	enum mb_code code = MB_OK;

	if (tags[0])
	{
		mb_put_tags_body(tags, &body);
		code = put_one(place, version->key, id, lane, "tagging", &body, err);
	}
	mb_buf_reset(&body);
	if (!code && mb_put_retention_body(version->meta, &body))
		code = put_one(place, version->key, id, lane, "retention", &body, err);
	if (!code && mb_json_bool(version->meta, "hold", false))
	{
		mb_buf_reset(&body);
		mb_buf_put_str(&body, "<LegalHold " MB_S3_XMLNS "><Status>ON</Status></LegalHold>");
		code = put_one(place, version->key, id, lane, "legal-hold", &body, err);
	}
	mb_buf_release(&body);
	return code;
}
