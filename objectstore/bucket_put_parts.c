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
#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_put_private.h"

#define WINDOW 4
#define WINDOW_BYTES (64u << 20)
#define PARTS_MAX 10000
#define MIB (1u << 20)

struct part
{
	unsigned number;
	uint64_t size;
	char etag[128];
	char checksum[64]; /* base64, or "" */
};

struct upload;

struct flight
{
	struct upload *upload;
	struct part *part;
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
	struct part *parts;
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

/* -- which parts ---------------------------------------------------------------------------------------- */

static bool
take_recorded(struct upload *upload, const json_t *recorded)
{
	uint64_t sum = 0;
	size_t i;

	upload->count = json_array_size(recorded);
	if (upload->count == 0 || upload->count > PARTS_MAX)
		return false;
	upload->parts = mb_calloc(upload->count, sizeof(*upload->parts));
	for (i = 0; i < upload->count; i++)
	{
		json_t *pair = json_array_get(recorded, i);
		json_int_t number = json_integer_value(json_array_get(pair, 0));
		json_int_t size = json_integer_value(json_array_get(pair, 1));

		if (number < 1 || number > PARTS_MAX || size < 0 || size > MB_PUT_PART_MAX_BYTES)
			return false;
		upload->parts[i].number = (unsigned) number;
		upload->parts[i].size = (uint64_t) size;
		sum += (uint64_t) size;
	}
	return sum == upload->version->entry->size;
}

/* Does a version of this size come out in so many parts? */
static bool
fits(uint64_t size, uint64_t part, unsigned count)
{
	return part <= MB_PUT_PART_MAX_BYTES && (size + part - 1) / part == count;
}

/*
 * Without a record: the part size that clients are likely to have used, if one of them makes as many
 * parts as the ETag says; else any in whole MiB; else our own.
 */
static uint64_t
guess_part_bytes(uint64_t size, unsigned count)
{
	static const unsigned usual[] = {5, 8, 16, 15, 10, 32, 64, 50};
	uint64_t part;
	size_t i;

	for (i = 0; count > 0 && i < sizeof(usual) / sizeof(usual[0]); i++)
		if (fits(size, (uint64_t) usual[i] * MIB, count))
			return (uint64_t) usual[i] * MIB;
	part = count > 0 ? (size / count + MIB - 1) / MIB * MIB : 0;
	if (part >= 5 * MIB && fits(size, part, count))
		return part;
	for (part = MB_PUT_SINGLE_BYTES; (size + part - 1) / part > PARTS_MAX;)
		part += MIB;
	return part;
}

static void
make_parts(struct upload *upload)
{
	uint64_t size = upload->version->entry->size, at = 0;
	uint64_t part =
		guess_part_bytes(size, mb_etag_parts(mb_json_str(upload->version->meta, "etag", "")));
	size_t i;

	free(upload->parts);
	upload->count = size ? (size_t) ((size + part - 1) / part) : 1;
	upload->parts = mb_calloc(upload->count, sizeof(*upload->parts));
	for (i = 0; i < upload->count; i++, at += part)
	{
		upload->parts[i].number = (unsigned) i + 1;
		upload->parts[i].size = size - at < part ? size - at : part;
	}
}

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

/* Run one op on the lane, which has nothing else under way. */
static enum mb_code
perform(struct upload *upload, struct mb_s3_op *op, struct mb_error *err)
{
	enum mb_code code;

	mb_s3_start(upload->lane, op);
	code = mb_s3_run(upload->lane, 0, err);
	if (code)
		return code;
	if (op->code)
		*err = op->err;
	return op->code;
}

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

/*
 * Ceph loses tags and locks that come with the beginning of an upload, and answers nothing when it is
 * asked for such tags: there they are set when the version is there.
 */
bool
mb_put_has_late(const struct mb_put_place *place, const struct mb_put_version *version)
{
	return mb_s3_dialect(place->s3) == MB_S3_CEPH && (mb_json_str(version->meta, "tags", "")[0] ||
													  json_object_get(version->meta, "retention") ||
													  mb_json_bool(version->meta, "hold", false));
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
							 : perform(upload, &op, err);
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
	struct part *part = flight->part;
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
		struct part *part = &upload->parts[upload->started];

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
		const struct part *part = &upload->parts[i];

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
	code = perform(upload, &op, err);
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
put_one_late(struct upload *upload, const char *what, const struct mb_buf *body, const char *id,
			 struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT",
						  .bucket = upload->place->bucket,
						  .key = upload->version->key,
						  .body = body->data,
						  .body_len = body->len,
						  .flags = MB_S3_MD5};
	enum mb_code code;

	mb_s3_op_query(&op, what, NULL);
	if (id && upload->place->is_versioned)
		mb_s3_op_query(&op, "versionId", id);
	code = perform(upload, &op, err);
	mb_s3_op_release(&op);
	return code;
}

enum mb_code
mb_put_late(const struct mb_put_place *place, const struct mb_put_version *version, const char *id,
			struct mb_s3_lane *lane, struct mb_error *err)
{
	struct upload upload = {.place = place, .version = version, .lane = lane};
	const char *tags = mb_json_str(version->meta, "tags", "");
	struct mb_buf body = {0};
	enum mb_code code = MB_OK;

	if (tags[0])
	{
		mb_put_tags_body(tags, &body);
		code = put_one_late(&upload, "tagging", &body, id, err);
	}
	mb_buf_reset(&body);
	if (!code && mb_put_retention_body(version->meta, &body))
		code = put_one_late(&upload, "retention", &body, id, err);
	if (!code && mb_json_bool(version->meta, "hold", false))
	{
		mb_buf_reset(&body);
		mb_buf_put_str(&body, "<LegalHold " MB_S3_XMLNS "><Status>ON</Status></LegalHold>");
		code = put_one_late(&upload, "legal-hold", &body, id, err);
	}
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
	if (!take_recorded(upload, json_object_get(version->meta, "parts")))
		make_parts(upload);
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
