/*
 * bucket_put_parts.c - a version in parts: with the numbers and sizes that it had, so that ETag and
 * checksum come out the same.
 *
 * MinIO takes id, ETag and everything that is said about the version from the first request, the
 * time from the last one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "objectstore/bucket_put_private.h"

#define WINDOW 4
#define WINDOW_BYTES (64u << 20)

struct upload;

struct flight
{
	struct upload *upload;
	struct mb_put_part *part;
	struct mb_s3_op op;
	struct mb_buf body;
	char number[16];
};

struct upload
{
	const struct mb_put_place *place;
	const struct mb_put_version *version;
	struct mb_pack_reader *reader;
	struct mb_s3_lane *lane;
	struct mb_buf id;
	struct mb_put_part *parts;
	size_t count;
	const char *algorithm; /* "crc32c", "sha256": of which we can make the parts', or NULL */
	size_t started;
	uint64_t bytes; /* under way */
	struct flight flights[WINDOW];
	/* how far the contents were read */
	size_t run;
	uint32_t run_offset;
	uint32_t crc32c;
	enum mb_code code;
	struct mb_error *err;
};

/* -- checksums of parts --------------------------------------------------------------------------------- */

/* Composite checksums of these kinds we can make. */
static const char *
choose_algorithm(const struct upload *upload)
{
	json_t *checksums = json_object_get(upload->version->meta, "checksums");
	enum mb_s3_dialect dialect = mb_s3_dialect(upload->place->s3);

	if ((dialect != MB_S3_MINIO && dialect != MB_S3_AWS) ||
		strcmp(mb_json_str(checksums, "type", "COMPOSITE"), "COMPOSITE") != 0)
		return NULL;
	if (json_object_get(checksums, "crc32c"))
		return "crc32c";
	return json_object_get(checksums, "sha256") ? "sha256" : NULL;
}

static const char *
upper_algorithm(const struct upload *upload)
{
	return strcmp(upload->algorithm, "crc32c") == 0 ? "CRC32C" : "SHA256";
}

static void
make_checksum(const struct upload *upload, const struct mb_buf *body, char out[64])
{
	unsigned char bytes[MB_SHA256_BYTES];
	struct mb_buf text = {0};
	size_t len = sizeof(bytes);

	if (strcmp(upload->algorithm, "crc32c") == 0)
	{
		uint32_t crc = mb_crc32c(MB_CRC32C_INIT, body->data, body->len);

		for (len = 0; len < 4; len++)
			bytes[len] = (unsigned char) (crc >> (24 - 8 * len));
	}
	else
		mb_sha256(bytes, body->data, body->len);
	mb_base64(&text, bytes, len);
	snprintf(out, 64, "%s", mb_buf_cstr(&text));
	mb_buf_release(&text);
}

/* -- the requests ------------------------------------------------------------------------------------------ */

/* Not by expat: Ceph answers the key too, which may hold what no XML may. */
static bool
find_upload_id(struct mb_buf *body, struct mb_buf *id)
{
	const char *start = strstr(mb_buf_cstr(body), "<UploadId>");
	const char *end = start ? strstr(start, "</UploadId>") : NULL;

	if (!end)
		return false;
	start += strlen("<UploadId>");
	mb_buf_put(id, start, (size_t) (end - start));
	return id->len > 0 && !memchr(id->data, '&', id->len);
}

static enum mb_code
begin_upload(struct upload *upload, struct mb_error *err)
{
	const struct mb_put_version *version = upload->version;
	const char *id = mb_put_id(upload->place, version);
	struct mb_put_texts texts = {0};
	struct mb_s3_op op = {.method = "POST",
						  .bucket = upload->place->bucket,
						  .key = version->key,
						  .body = ""};
	enum mb_code code;

	mb_s3_op_query(&op, "uploads", NULL);
	if (id)
		mb_s3_op_query(&op, "versionId", id);
	mb_put_headers(upload->place, version,
				   mb_put_has_late(upload->place, version) ? MB_HEADERS_WITHOUT_TAGS : 0, &texts,
				   &op);
	op.flags &= ~(unsigned) MB_S3_MD5;
	mb_put_source(upload->place, version, MB_SOURCE_TIME | MB_SOURCE_ETAG, &texts, &op);
	if (upload->algorithm)
		mb_put_header(&texts, &op, "x-amz-checksum-algorithm", upper_algorithm(upload));
	code = texts.is_too_much ? mb_fail(err, MB_UNSUPPORTED, "it has too many metadata")
							 : mb_s3_perform_on(upload->lane, &op, err);
	if (!code && !find_upload_id(&op.http.response.body, &upload->id))
		code = mb_fail(err, MB_CORRUPT, "the server began an upload, but did not say which");
	mb_s3_op_release(&op);
	mb_arena_release(&texts.arena);
	return code;
}

static void
abort_upload(struct upload *upload)
{
	struct mb_s3_op op = {.method = "DELETE",
						  .bucket = upload->place->bucket,
						  .key = upload->version->key};
	struct mb_error err;

	/* What stays is swept by the server, or by the next restore's owner: nothing depends on it. */
	mb_error_clear(&err);
	mb_s3_op_query(&op, "uploadId", mb_buf_cstr(&upload->id));
	if (mb_s3_perform(upload->place->s3, &op, &err))
		mb_error_clear(&err);
	mb_s3_op_release(&op);
}

/* The next len bytes of the contents. */
static enum mb_code
read_part(struct upload *upload, uint64_t len, struct mb_buf *out, struct mb_error *err)
{
	const struct mb_entry *entry = upload->version->entry;
	enum mb_code code = MB_OK;

	mb_buf_reset(out);
	mb_buf_reserve(out, len);
	while (!code && out->len < len && upload->run < entry->run_count)
	{
		struct mb_run run = entry->runs[upload->run];
		uint64_t wanted = len - out->len;

		run.offset += upload->run_offset;
		run.length -= upload->run_offset;
		if (run.length > wanted)
		{
			run.length = (uint32_t) wanted;
			upload->run_offset += run.length;
		}
		else
		{
			upload->run++;
			upload->run_offset = 0;
		}
		code = mb_pack_reader_run(upload->reader, &run, out, err);
	}
	if (!code && out->len != len)
		code = mb_fail(err, MB_CORRUPT, "the contents end too early");
	upload->crc32c = mb_crc32c(upload->crc32c, out->data, out->len);
	if (code)
		return mb_error_context(err, "could not read \"%.*s\" from the repository",
								(int) entry->path_len, entry->path);
	return MB_OK;
}

static void start_parts(struct upload *upload);

static void
on_part(struct mb_s3_op *op)
{
	struct flight *flight = op->ctx;
	struct upload *upload = flight->upload;
	const char *etag = op->code ? NULL : mb_s3_op_answer(op, "etag");

	if (!op->code && !etag)
		op->code = mb_fail(&op->err, MB_CORRUPT, "the server took a part, but gave no ETag");
	if (op->code && !upload->code)
	{
		upload->code = op->code;
		*upload->err = op->err;
	}
	if (!op->code)
		snprintf(flight->part->etag, sizeof(flight->part->etag), "%s", etag);
	upload->bytes -= flight->part->size;
	flight->part = NULL;
	mb_s3_op_release(op);
	start_parts(upload);
}

static void
send_part(struct upload *upload, struct flight *flight)
{
	struct mb_put_part *part = flight->part;
	struct mb_s3_op *op = &flight->op;

	upload->code = read_part(upload, part->size, &flight->body, upload->err);
	if (upload->code)
		return;
	op->method = "PUT";
	op->bucket = upload->place->bucket;
	op->key = upload->version->key;
	snprintf(flight->number, sizeof(flight->number), "%u", part->number);
	mb_s3_op_query(op, "partNumber", flight->number);
	mb_s3_op_query(op, "uploadId", mb_buf_cstr(&upload->id));
	if (upload->algorithm)
	{
		make_checksum(upload, &flight->body, part->checksum);
		mb_s3_op_header(op,
						strcmp(upload->algorithm, "crc32c") == 0 ? "x-amz-checksum-crc32c"
																 : "x-amz-checksum-sha256",
						part->checksum);
	}
	op->body = flight->body.len ? (const void *) flight->body.data : "";
	op->body_len = flight->body.len;
	op->done = on_part;
	op->ctx = flight;
	mb_s3_start(upload->lane, op);
}

static void
start_parts(struct upload *upload)
{
	size_t i;

	for (i = 0; i < WINDOW && !upload->code && upload->started < upload->count; i++)
	{
		struct flight *flight = &upload->flights[i];
		struct mb_put_part *part = &upload->parts[upload->started];

		if (flight->part)
			continue;
		if (upload->bytes > 0 && upload->bytes + part->size > WINDOW_BYTES)
			return;
		flight->upload = upload;
		flight->part = part;
		upload->started++;
		upload->bytes += part->size;
		send_part(upload, flight);
	}
}

static void
describe_parts(const struct upload *upload, struct mb_buf *body)
{
	size_t i;

	mb_buf_put_str(body, "<CompleteMultipartUpload " MB_S3_XMLNS ">");
	for (i = 0; i < upload->count; i++)
	{
		const struct mb_put_part *part = &upload->parts[i];

		mb_buf_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>", part->number);
		mb_xml_escape(body, part->etag);
		mb_buf_put_str(body, "</ETag>");
		if (upload->algorithm)
			mb_buf_printf(body, "<Checksum%s>%s</Checksum%s>", upper_algorithm(upload),
						  part->checksum, upper_algorithm(upload));
		mb_buf_put_str(body, "</Part>");
	}
	mb_buf_put_str(body, "</CompleteMultipartUpload>");
}

/* The upload is not known any more: is it because it was completed by a try without an answer? */
static enum mb_code
look_for_it(struct upload *upload, char **new_id, struct mb_error *err)
{
	const char *id = mb_put_id(upload->place, upload->version);
	struct mb_put_found found;
	struct mb_error why = *err;
	enum mb_code code = mb_put_look(upload->place, upload->version->key, id, &found, err);

	if (code)
		return code;
	if (id ? found.has_id : found.count > 0 && found.size == upload->version->entry->size)
	{
		*new_id = mb_strdup(found.id);
		return MB_OK;
	}
	*err = why;
	return why.code;
}

static enum mb_code
complete(struct upload *upload, char **new_id, struct mb_error *err)
{
	const struct mb_put_version *version = upload->version;
	struct mb_put_texts texts = {0};
	struct mb_buf body = {0};
	struct mb_s3_op op = {.method = "POST", .bucket = upload->place->bucket, .key = version->key};
	const char *told;
	enum mb_code code;

	mb_s3_op_query(&op, "uploadId", mb_buf_cstr(&upload->id));
	mb_put_source(upload->place, version, MB_SOURCE_TIME, &texts, &op);
	describe_parts(upload, &body);
	op.body = body.data;
	op.body_len = body.len;
	code = mb_s3_perform_on(upload->lane, &op, err);
	told = code ? NULL : mb_s3_op_answer(&op, "x-amz-version-id");
	if (told)
		*new_id = mb_strdup(told);
	if (code == MB_NOT_FOUND && op.maybe_done)
		code = look_for_it(upload, new_id, err);
	mb_s3_op_release(&op);
	mb_arena_release(&texts.arena);
	mb_buf_release(&body);
	return code;
}

static enum mb_code
run_upload(struct upload *upload, char **new_id, struct mb_error *err)
{
	const struct mb_entry *entry = upload->version->entry;
	enum mb_code code = begin_upload(upload, err);

	if (code)
		return code;
	start_parts(upload);
	code = mb_s3_run(upload->lane, 0, err);
	if (!code)
		code = upload->code;
	if (!code && entry->has_crc32c && upload->crc32c != entry->crc32c)
		code = mb_fail(err, MB_CORRUPT, "the contents are not those that were read then");
	if (!code)
		code = complete(upload, new_id, err);
	if (code)
		abort_upload(upload);
	else if (mb_put_has_late(upload->place, upload->version))
		code = mb_put_late(upload->place, upload->version, *new_id, upload->lane, err);
	return code;
}

enum mb_code
mb_put_parts(const struct mb_put_place *place, const struct mb_put_version *version,
			 struct mb_pack_reader *reader, struct mb_s3_lane *lane, char **new_id,
			 struct mb_error *err)
{
	struct upload *upload = mb_calloc(1, sizeof(*upload));
	enum mb_code code;
	size_t i;

	*new_id = NULL;
	upload->place = place;
	upload->version = version;
	upload->reader = reader;
	upload->lane = lane;
	upload->err = err;
	upload->crc32c = MB_CRC32C_INIT;
	upload->algorithm = choose_algorithm(upload);
	upload->parts = mb_put_choose_parts(version, &upload->count);
	code = run_upload(upload, new_id, err);
	for (i = 0; i < WINDOW; i++)
	{
		mb_s3_op_release(&upload->flights[i].op);
		mb_buf_release(&upload->flights[i].body);
	}
	mb_buf_release(&upload->id);
	free(upload->parts);
	free(upload);
	return code;
}
