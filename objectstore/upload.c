/* upload.c - see upload.h. */
#include "objectstore/upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_apply.h"
#include "objectstore/s3_xml.h"

#define PART_BYTES (16u << 20) /* up to here in one request */
#define PARTS_MAX 10000
#define PART_MAX_BYTES (512u << 20)
#define MIB (1u << 20)

struct mb_upload
{
	struct mb_s3 *s3;
	char *bucket;
	char *key;
	json_t *meta;
	uint64_t size;
	uint64_t taken;
	size_t part_bytes;
	struct mb_buf part;
	char *id;          /* of the upload in parts, or NULL */
	struct mb_buf xml; /* of the parts that are there */
	unsigned parts;
};

static void
release(struct mb_upload *upload)
{
	free(upload->bucket);
	free(upload->key);
	json_decref(upload->meta);
	mb_buf_release(&upload->part);
	mb_buf_release(&upload->xml);
	free(upload->id);
	free(upload);
}

/* Texts of the headers live in the arena until the request is done. */
static void
add_members(struct mb_s3_op *op, struct mb_arena *arena, const json_t *object, const char *prefix)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) (uintptr_t) object, name, value)
	{
		char *full = mb_asprintf("%s%s", prefix, name);

		/* Some remain for what the client adds itself. */
		if (json_is_string(value) &&
			op->header_count + 4 < sizeof(op->headers) / sizeof(op->headers[0]))
			mb_s3_op_header(op, mb_arena_strdup(arena, full), json_string_value(value));
		free(full);
	}
}

static void
add_headers(const struct mb_upload *upload, struct mb_s3_op *op, struct mb_arena *arena)
{
	const char *tags = mb_json_str(upload->meta, "tags", NULL);

	add_members(op, arena, json_object_get(upload->meta, "headers"), "");
	add_members(op, arena, json_object_get(upload->meta, "user"), "x-amz-meta-");
	if (tags && tags[0])
		mb_s3_op_header(op, "x-amz-tagging", tags);
}

static enum mb_code
begin_parts(struct mb_upload *upload, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "POST",
						  .bucket = upload->bucket,
						  .key = upload->key,
						  .body = ""};
	struct mb_arena arena = {0};
	const char *start, *end;
	enum mb_code code;

	mb_s3_op_query(&op, "uploads", NULL);
	add_headers(upload, &op, &arena);
	code = mb_s3_perform(upload->s3, &op, err);
	/* Not by expat: some servers answer the key too, which may hold what no XML may. */
	start = code ? NULL : strstr(mb_buf_cstr(&op.http.response.body), "<UploadId>");
	end = start ? strstr(start, "</UploadId>") : NULL;
	if (!code && !end)
		code = mb_fail(err, MB_CORRUPT, "the server began an upload, but did not say which");
	if (!code)
		upload->id =
			mb_strndup(start + strlen("<UploadId>"), (size_t) (end - start) - strlen("<UploadId>"));
	mb_s3_op_release(&op);
	mb_arena_release(&arena);
	return code;
}

enum mb_code
mb_upload_begin(struct mb_upload **out, struct mb_s3 *s3, const char *bucket, const char *key,
				uint64_t size, const json_t *meta, struct mb_error *err)
{
	struct mb_upload *upload = mb_calloc(1, sizeof(*upload));
	uint64_t part = PART_BYTES;
	enum mb_code code = MB_OK;

	while ((size + part - 1) / part > PARTS_MAX)
		part += MIB;
	upload->s3 = s3;
	upload->bucket = mb_strdup(bucket);
	upload->key = mb_strdup(key);
	upload->size = size;
	upload->part_bytes = (size_t) part;
	upload->meta = meta ? json_deep_copy(meta) : json_object();
	if (part > PART_MAX_BYTES)
		code = mb_fail(err, MB_UNSUPPORTED, "\"%s\" is too large for an object", key);
	else if (size > PART_BYTES)
		code = begin_parts(upload, err);
	if (code)
		release(upload);
	else
		*out = upload;
	return code;
}

static enum mb_code
send_part(struct mb_upload *upload, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = upload->bucket,
						  .key = upload->key,
						  .body = upload->part.data,
						  .body_len = upload->part.len};
	char number[16];
	const char *etag;
	enum mb_code code;

	snprintf(number, sizeof(number), "%u", ++upload->parts);
	mb_s3_op_query(&op, "partNumber", number);
	mb_s3_op_query(&op, "uploadId", upload->id);
	code = mb_s3_perform(upload->s3, &op, err);
	etag = code ? NULL : mb_s3_op_answer(&op, "etag");
	if (!code && !etag)
		code = mb_fail(err, MB_CORRUPT, "the server took a part, but gave no ETag");
	if (!code)
	{
		mb_buf_printf(&upload->xml, "<Part><PartNumber>%s</PartNumber><ETag>", number);
		mb_xml_escape(&upload->xml, etag);
		mb_buf_put_str(&upload->xml, "</ETag></Part>");
	}
	mb_s3_op_release(&op);
	mb_buf_reset(&upload->part);
	return code;
}

enum mb_code
mb_upload_write(struct mb_upload *upload, const void *data, size_t len, struct mb_error *err)
{
	const unsigned char *p = data;
	enum mb_code code = MB_OK;

	MB_ASSERT(len <= upload->size - upload->taken);
	upload->taken += len;
	while (!code && len > 0)
	{
		size_t room = upload->part_bytes - upload->part.len;
		size_t piece = len < room ? len : room;

		mb_buf_put(&upload->part, p, piece);
		p += piece;
		len -= piece;
		if (upload->id && upload->part.len == upload->part_bytes)
			code = send_part(upload, err);
	}
	return code ? mb_error_context(err, "could not upload \"%s\"", upload->key) : MB_OK;
}

static enum mb_code
put_whole(struct mb_upload *upload, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = upload->bucket,
						  .key = upload->key,
						  .body = upload->part.len ? upload->part.data : (const void *) "",
						  .body_len = upload->part.len};
	struct mb_arena arena = {0};
	enum mb_code code;

	add_headers(upload, &op, &arena);
	code = mb_s3_perform(upload->s3, &op, err);
	mb_s3_op_release(&op);
	mb_arena_release(&arena);
	return code;
}

static enum mb_code
complete_parts(struct mb_upload *upload, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "POST", .bucket = upload->bucket, .key = upload->key};
	struct mb_buf body = {0};
	enum mb_code code = MB_OK;

	if (upload->part.len > 0)
		code = send_part(upload, err);
	if (code)
		return code;
	mb_buf_put_str(&body, "<CompleteMultipartUpload " MB_S3_XMLNS ">");
	mb_buf_put(&body, upload->xml.data, upload->xml.len);
	mb_buf_put_str(&body, "</CompleteMultipartUpload>");
	op.body = body.data;
	op.body_len = body.len;
	mb_s3_op_query(&op, "uploadId", upload->id);
	code = mb_s3_perform(upload->s3, &op, err);
	mb_s3_op_release(&op);
	mb_buf_release(&body);
	return code;
}

enum mb_code
mb_upload_end(struct mb_upload *upload, struct mb_error *err)
{
	enum mb_code code;

	MB_ASSERT(upload->taken == upload->size);
	code = upload->id ? complete_parts(upload, err) : put_whole(upload, err);
	if (code)
	{
		mb_error_context(err, "could not upload \"%s\"", upload->key);
		mb_upload_abort(upload);
		return code;
	}
	release(upload);
	return MB_OK;
}

void
mb_upload_abort(struct mb_upload *upload)
{
	struct mb_s3_op op;
	struct mb_error ignored;

	if (!upload)
		return;
	op = (struct mb_s3_op){.method = "DELETE", .bucket = upload->bucket, .key = upload->key};
	mb_error_clear(&ignored);
	/* What stays of it is swept by the server; it is no object. */
	if (upload->id)
	{
		mb_s3_op_query(&op, "uploadId", upload->id);
		if (mb_s3_perform(upload->s3, &op, &ignored))
			mb_error_clear(&ignored);
		mb_s3_op_release(&op);
	}
	release(upload);
}

enum mb_code
mb_upload_look(struct mb_s3 *s3, const char *bucket, const char *prefix, bool *exists,
			   bool *is_empty, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET", .bucket = bucket};
	enum mb_code code;

	mb_s3_op_query(&op, "list-type", "2");
	mb_s3_op_query(&op, "max-keys", "1");
	mb_s3_op_query(&op, "encoding-type", "url");
	if (prefix[0])
		mb_s3_op_query(&op, "prefix", prefix);
	code = mb_s3_perform(s3, &op, err);
	*exists = code == MB_OK;
	*is_empty = code || !strstr(mb_buf_cstr(&op.http.response.body), "<Key>");
	if (code == MB_NOT_FOUND)
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	mb_s3_op_release(&op);
	return code;
}

enum mb_code
mb_upload_make_bucket(struct mb_s3 *s3, const char *bucket, struct mb_error *err)
{
	return mb_bucket_make(s3, bucket, false, err);
}
