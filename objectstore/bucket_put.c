/* bucket_put.c - see bucket_put.h; in parts: bucket_put_parts.c. */
#include "objectstore/bucket_put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/time.h"
#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_put_private.h"

/* -- headers ----------------------------------------------------------------------------------------- */

void
mb_put_header(struct mb_put_texts *texts, struct mb_s3_op *op, const char *name, const char *value)
{
	/* Some remain for what the client adds itself. */
	if (op->header_count + 2 >= sizeof(op->headers) / sizeof(op->headers[0]))
	{
		texts->is_too_much = true;
		return;
	}
	mb_s3_op_header(op, mb_arena_strdup(&texts->arena, name),
					mb_arena_strdup(&texts->arena, value));
}

static void
add_members(struct mb_put_texts *texts, struct mb_s3_op *op, const json_t *object,
			const char *prefix)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *) (uintptr_t) object, name, value)
	{
		char *full = mb_asprintf("%s%s", prefix, name);

		if (json_is_string(value))
			mb_put_header(texts, op, full, json_string_value(value));
		free(full);
	}
}

static bool
is_past(const char *until)
{
	struct mb_error err;
	int64_t time_us;

	mb_error_clear(&err);
	return mb_time_parse(&time_us, until, &err) || time_us <= mb_time_now_us();
}

/* A lock that is over is refused by all but MinIO's replication. */
static void
add_lock(const struct mb_put_place *place, json_t *meta, struct mb_put_texts *texts,
		 struct mb_s3_op *op)
{
	json_t *retention = json_object_get(meta, "retention");
	const char *mode = mb_json_str(retention, "mode", NULL);
	const char *until = mb_json_str(retention, "until", NULL);
	bool is_locked = mb_json_bool(meta, "hold", false);

	if (mode && until && ((place->flags & MB_PUT_TIMES) || !is_past(until)))
	{
		mb_put_header(texts, op, "x-amz-object-lock-mode", mode);
		mb_put_header(texts, op, "x-amz-object-lock-retain-until-date", until);
		op->flags |= MB_S3_MD5;
	}
	if (is_locked)
	{
		mb_put_header(texts, op, "x-amz-object-lock-legal-hold", "ON");
		op->flags |= MB_S3_MD5;
	}
}

/* Everything that is said about a version, but for what its contents are. */
void
mb_put_headers(const struct mb_put_place *place, const struct mb_put_version *version,
			   unsigned flags, struct mb_put_texts *texts, struct mb_s3_op *op)
{
	const char *tags = mb_json_str(version->meta, "tags", NULL);

	add_members(texts, op, json_object_get(version->meta, "headers"), "");
	add_members(texts, op, json_object_get(version->meta, "user"), "x-amz-meta-");
	if (tags && tags[0] && !(flags & MB_HEADERS_WITHOUT_TAGS))
		mb_put_header(texts, op, "x-amz-tagging", tags);
	add_lock(place, version->meta, texts, op);
}

void
mb_put_tags_body(const char *tags, struct mb_buf *body)
{
	struct mb_buf text = {0};

	mb_buf_put_str(body, "<Tagging " MB_S3_XMLNS "><TagSet>");
	while (*tags)
	{
		size_t len = strcspn(tags, "&"), key_len = strcspn(tags, "=&");

		mb_buf_reset(&text);
		mb_xml_url_decode(&text, tags, key_len);
		mb_buf_put_str(body, "<Tag><Key>");
		mb_xml_escape(body, mb_buf_cstr(&text));
		mb_buf_put_str(body, "</Key><Value>");
		mb_buf_reset(&text);
		if (key_len < len)
			mb_xml_url_decode(&text, tags + key_len + 1, len - key_len - 1);
		mb_xml_escape(body, mb_buf_cstr(&text));
		mb_buf_put_str(body, "</Value></Tag>");
		tags += len;
		tags += *tags == '&';
	}
	mb_buf_put_str(body, "</TagSet></Tagging>");
	mb_buf_release(&text);
}

bool
mb_put_retention_body(const json_t *meta, struct mb_buf *body)
{
	json_t *retention = json_object_get(meta, "retention");
	const char *mode = mb_json_str(retention, "mode", NULL);
	const char *until = mb_json_str(retention, "until", NULL);

	if (!mode || !until || is_past(until))
		return false;
	mb_buf_put_str(body, "<Retention " MB_S3_XMLNS "><Mode>");
	mb_xml_escape(body, mode);
	mb_buf_put_str(body, "</Mode><RetainUntilDate>");
	mb_xml_escape(body, until);
	mb_buf_put_str(body, "</RetainUntilDate></Retention>");
	return true;
}

const char *
mb_put_id(const struct mb_put_place *place, const struct mb_put_version *version)
{
	const char *id = mb_json_str(version->meta, "id", NULL);

	return (place->flags & MB_PUT_IDS) && place->is_versioned && id && id[0] ? id : NULL;
}

void
mb_put_source(const struct mb_put_place *place, const struct mb_put_version *version, unsigned what,
			  struct mb_put_texts *texts, struct mb_s3_op *op)
{
	const char *etag = mb_json_str(version->meta, "etag", NULL);
	char time[40];

	if (!(place->flags & MB_PUT_TIMES))
		return;
	mb_s3_time_format(time, (int64_t) version->entry->version);
	if (what & MB_SOURCE_TIME)
		mb_put_header(texts, op, "x-minio-source-mtime", time);
	if ((what & MB_SOURCE_ETAG) && etag)
		mb_put_header(texts, op, "x-minio-source-etag", etag);
	mb_put_header(texts, op, "x-minio-source-replication-request", "true");
}

/* The server compares it with the body: the one checksum that the version had over all of it. */
static void
add_checksum(const struct mb_put_place *place, json_t *meta, struct mb_put_texts *texts,
			 struct mb_s3_op *op)
{
	json_t *checksums = json_object_get(meta, "checksums");
	enum mb_s3_dialect dialect = mb_s3_dialect(place->s3);
	const char *name;
	json_t *value;

	if ((dialect != MB_S3_MINIO && dialect != MB_S3_AWS) ||
		strcmp(mb_json_str(checksums, "type", "FULL_OBJECT"), "FULL_OBJECT") != 0)
		return;
	json_object_foreach(checksums, name, value)
	{
		const char *text = json_string_value(value);
		char *header;

		if (strcmp(name, "type") == 0 || !text || strchr(text, '-'))
			continue;
		header = mb_asprintf("x-amz-checksum-%s", name);
		mb_put_header(texts, op, header, text);
		free(header);
		return;
	}
}

/* -- requests ----------------------------------------------------------------------------------------- */

bool
mb_put_in_parts(const struct mb_put_place *place, const struct mb_put_version *version)
{
	uint64_t most = MB_PUT_SINGLE_BYTES;

	if (version->entry->type != MB_ENTRY_OBJECT)
		return false;
	if (mb_etag_parts(mb_json_str(version->meta, "etag", "")) > 0)
		return true;
	/* Where the server makes the ETag it comes out the same only in one piece. */
	if (!(place->flags & MB_PUT_TIMES))
		most = MB_PUT_PART_MAX_BYTES;
	return version->entry->size > most;
}

void
mb_put_object(const struct mb_put_place *place, const struct mb_put_version *version,
			  struct mb_put_texts *texts, struct mb_s3_op *op)
{
	const char *id = mb_put_id(place, version);

	op->method = "PUT";
	op->bucket = place->bucket;
	op->key = version->key;
	if (id)
		mb_s3_op_query(op, "versionId", id);
	mb_put_headers(place, version, 0, texts, op);
	mb_put_source(place, version, MB_SOURCE_TIME | MB_SOURCE_ETAG, texts, op);
	add_checksum(place, version->meta, texts, op);
	/* Sent twice with an id it is one version; without it would be two. */
	if (!id && place->is_versioned)
		op->flags |= MB_S3_ONCE;
}

void
mb_put_marker(const struct mb_put_place *place, const struct mb_put_version *version,
			  struct mb_put_texts *texts, struct mb_s3_op *op)
{
	const char *id = mb_put_id(place, version);

	op->method = "DELETE";
	op->bucket = place->bucket;
	op->key = version->key;
	/* A marker that is sent twice is taken away again: never blindly. */
	op->flags |= MB_S3_ONCE;
	if (!id)
		return;
	mb_s3_op_query(op, "versionId", id);
	mb_put_header(texts, op, "x-minio-source-deletemarker", "true");
	mb_put_source(place, version, MB_SOURCE_TIME, texts, op);
}

enum mb_code
mb_put_contents(struct mb_pack_reader *reader, const struct mb_entry *entry, struct mb_buf *out,
				struct mb_error *err)
{
	size_t start = out->len, i;
	enum mb_code code = MB_OK;

	mb_buf_reserve(out, entry->size);
	for (i = 0; !code && i < entry->run_count; i++)
		code = mb_pack_reader_run(reader, &entry->runs[i], out, err);
	if (!code && (out->len - start != entry->size ||
				  (entry->has_crc32c && mb_crc32c(MB_CRC32C_INIT, out->data + start,
												  out->len - start) != entry->crc32c)))
		code = mb_fail(err, MB_CORRUPT, "the contents are not those that were read then");
	if (code)
		return mb_error_context(err, "could not read \"%.*s\" from the repository",
								(int) entry->path_len, entry->path);
	return MB_OK;
}

/* -- looking -------------------------------------------------------------------------------------------- */

enum mb_code
mb_put_look(const struct mb_put_place *place, const char *key, const char *id,
			struct mb_put_found *found, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET", .bucket = place->bucket};
	struct mb_s3_page page;
	enum mb_code code;
	size_t i;

	memset(found, 0, sizeof(*found));
	mb_s3_op_query(&op, "encoding-type", "url");
	mb_s3_op_query(&op, "prefix", key);
	mb_s3_op_query(&op, "versions", NULL);
	code = mb_s3_perform(place->s3, &op, err);
	if (!code)
		code = mb_s3_page_parse(&page, op.http.response.body.data, op.http.response.body.len, err);
	mb_s3_op_release(&op);
	if (code)
		return code;
	/* The key itself comes before longer ones that begin with it. */
	for (i = 0; i < page.count && strcmp(page.versions[i].key, key) == 0; i++)
	{
		const struct mb_s3_version *version = &page.versions[i];

		if (found->count++ == 0)
		{
			found->is_marker = version->is_marker;
			found->size = version->size;
			snprintf(found->id, sizeof(found->id), "%s", version->version_id);
			snprintf(found->etag, sizeof(found->etag), "%s", version->etag);
		}
		if (id && strcmp(version->version_id, id) == 0)
			found->has_id = true;
	}
	mb_s3_page_release(&page);
	return MB_OK;
}
