/* bucket_entry.c - see bucket_entry.h. */
#include "objectstore/bucket_entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/hash.h"
#include "objectstore/sigv4.h"

#define PARTS_MAX 10000

/* -- from the listing --------------------------------------------------------------------------- */

static uint64_t
hash_pair(const char *name, const char *value, uint64_t seed)
{
	return mb_xxh64_seed(value, strlen(value), mb_xxh64_seed(name, strlen(name), seed));
}

void
mb_version_listed(const struct mb_s3_version *version, char out[MB_LISTED_TEXT])
{
	uint64_t sum = 0;
	size_t i;

	out[0] = '\0';
	if (!version->has_metadata)
		return;
	/* A sum, because MinIO lists them in another order each time.  A hold that is off is none. */
	for (i = 0; i < version->metadata_count; i++)
		if (strcasecmp(version->metadata[i].name, "x-amz-object-lock-legal-hold") != 0 ||
			strcasecmp(version->metadata[i].value, "OFF") != 0)
			sum += hash_pair(version->metadata[i].name, version->metadata[i].value, 1);
	sum += hash_pair("tags", version->tags ? version->tags : "", 2);
	sum += hash_pair("class", version->storage_class, 3);
	snprintf(out, MB_LISTED_TEXT, "%016" PRIx64, sum);
}

/* The value that the listing has for a header, or "". */
static const char *
listed_header(const struct mb_s3_version *version, const char *header)
{
	size_t i;

	for (i = 0; i < version->metadata_count; i++)
		if (strcasecmp(version->metadata[i].name, header) == 0)
			return version->metadata[i].value;
	return "";
}

static const char *
class_or_standard(const char *class)
{
	return class[0] ? class : "STANDARD";
}

/* Headers have values that are not ASCII as RFC 2047 words, or as words that look the same. */
static bool
has_encoded_values(const json_t *meta)
{
	const char *name;
	json_t *value;

	json_object_foreach(json_object_get(meta, "user"), name, value)
	{
		if (mb_starts_with(mb_json_value_str(value, ""), "=?"))
			return true;
	}
	return false;
}

bool
mb_version_agrees(const struct mb_s3_version *version, const json_t *meta)
{
	const json_t *retention = json_object_get(meta, "retention");
	bool has_hold = strcasecmp(listed_header(version, "x-amz-object-lock-legal-hold"), "ON") == 0;

	return strcmp(version->tags ? version->tags : "", mb_json_str(meta, "tags", "")) == 0 &&
		   strcmp(listed_header(version, "x-amz-object-lock-mode"),
				  mb_json_str(retention, "mode", "")) == 0 &&
		   strcmp(listed_header(version, "x-amz-object-lock-retain-until-date"),
				  mb_json_str(retention, "until", "")) == 0 &&
		   has_hold == mb_json_bool(meta, "hold", false) &&
		   strcmp(class_or_standard(version->storage_class),
				  class_or_standard(mb_json_str(meta, "class", ""))) == 0 &&
		   !has_encoded_values(meta);
}

json_t *
mb_version_meta(const struct mb_s3_version *version)
{
	json_t *meta = json_object();
	char listed[MB_LISTED_TEXT];

	mb_version_listed(version, listed);
	if (version->version_id[0])
		mb_json_set_str(meta, "id", version->version_id);
	if (version->etag[0])
		mb_json_set_str(meta, "etag", version->etag);
	if (version->storage_class[0] && strcmp(version->storage_class, "STANDARD") != 0)
		mb_json_set_str(meta, "class", version->storage_class);
	if (listed[0])
		mb_json_set_str(meta, "listed", listed);
	if (version->lsn)
		mb_json_set_lsn(meta, "lsn", version->lsn);
	return meta;
}

/* -- from headers --------------------------------------------------------------------------------- */

static json_t *
member(json_t *meta, const char *name)
{
	json_t *object = json_object_get(meta, name);

	if (!object)
	{
		object = json_object();
		json_object_set_new(meta, name, object);
	}
	return object;
}

static bool
is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char) *text >= 0x80)
			return false;
	return true;
}

/*
 * MinIO sends values that are not ASCII as RFC 2047 words, so "=?UTF-8?q?=C3=A9?=" may be an e
 * with an accent or these very characters.  The listing has them as they are.
 */
static const char *
listed_value(const struct mb_s3_version *version, const char *header)
{
	size_t i;

	for (i = 0; i < version->metadata_count; i++)
	{
		const char *value = version->metadata[i].value;

		if (strcasecmp(version->metadata[i].name, header) == 0)
			return !is_ascii(value) && !strstr(value, "\xEF\xBF\xBD") ? value : NULL;
	}
	return NULL;
}

static bool
is_content_header(const char *name)
{
	static const char *const names[] = {"content-type",
										"content-encoding",
										"content-language",
										"content-disposition",
										"cache-control",
										"expires",
										"x-amz-website-redirect-location"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* "x-amz-checksum-crc32c": {"crc32c": value}; "...-type": {"type": value}. */
static void
set_checksum(json_t *meta, const char *name, const char *value)
{
	mb_json_set_str(member(meta, "checksums"), name, value);
}

/* Ceph lists versions that were tagged or locked afterwards without their ETag. */
static void
set_etag(json_t *meta, const char *value)
{
	size_t len = strlen(value);
	char *text;

	if (json_object_get(meta, "etag"))
		return;
	text = len >= 2 && value[0] == '"' && value[len - 1] == '"' ? mb_strndup(value + 1, len - 2)
																: mb_strdup(value);
	mb_json_set_str(meta, "etag", text);
	free(text);
}

static void
set_header(json_t *meta, const char *name, const char *value, const struct mb_s3_version *version)
{
	if (is_content_header(name))
		mb_json_set_str(member(meta, "headers"), name, value);
	else if (mb_starts_with(name, "x-amz-meta-"))
	{
		const char *raw = mb_starts_with(value, "=?") ? listed_value(version, name) : NULL;

		mb_json_set_str(member(meta, "user"), name + strlen("x-amz-meta-"), raw ? raw : value);
	}
	else if (strcmp(name, "etag") == 0)
		set_etag(meta, value);
	else if (strcmp(name, "x-amz-tagging") == 0)
		mb_json_set_str(meta, "tags", value);
	else if (strcmp(name, "x-amz-object-lock-mode") == 0)
		mb_json_set_str(member(meta, "retention"), "mode", value);
	else if (strcmp(name, "x-amz-object-lock-retain-until-date") == 0)
		mb_json_set_str(member(meta, "retention"), "until", value);
	else if (strcmp(name, "x-amz-object-lock-legal-hold") == 0 && strcasecmp(value, "ON") == 0)
		mb_json_set_bool(meta, "hold", true);
	else if (mb_starts_with(name, "x-amz-checksum-"))
		set_checksum(meta, name + strlen("x-amz-checksum-"), value);
	else if (strcmp(name, "x-amz-storage-class") == 0 && strcmp(value, "STANDARD") != 0)
		mb_json_set_str(meta, "class", value);
	else if (strcmp(name, "x-amz-replication-status") == 0)
		mb_json_set_str(meta, "replication", value);
	else if (mb_starts_with(name, "x-amz-server-side-encryption"))
		mb_json_set_str(member(meta, "encryption"), name + strlen("x-amz-server-side-"), value);
}

void
mb_version_meta_headers(json_t *meta, const struct mb_http_response *response,
						const struct mb_s3_version *version)
{
	struct mb_buf name = {0}, value = {0};
	size_t at = 0;

	/* What is no ASCII is the name of no header, and could not be a key of the meta. */
	while (mb_http_next_header(response, &at, &name, &value))
		if (is_ascii(mb_buf_cstr(&name)))
			set_header(meta, mb_buf_cstr(&name), mb_buf_cstr(&value), version);
	/* Some servers send a mode without a date, or the other way round: neither is a retention. */
	if (json_object_size(json_object_get(meta, "retention")) == 1)
		json_object_del(meta, "retention");
	mb_buf_release(&name);
	mb_buf_release(&value);
}

/* -- from bodies ----------------------------------------------------------------------------------- */

struct reading_tags
{
	struct mb_buf text; /* "a=b&c=d" */
	struct mb_buf key;
	bool has_set;
};

static enum mb_code
tags_begin(void *ctx, const char *path, struct mb_error *err)
{
	struct reading_tags *tags = ctx;

	if (!strchr(path, '/') && strcmp(path, "Tagging") != 0)
		return mb_fail(err, MB_CORRUPT, "the answer is a <%.64s>, not tags", path);
	tags->has_set = tags->has_set || strcmp(path, "Tagging/TagSet") == 0;
	return MB_OK;
}

static enum mb_code
tag_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct reading_tags *tags = ctx;

	(void) err;
	if (strcmp(path, "Tagging/TagSet/Tag/Key") == 0)
	{
		mb_buf_reset(&tags->key);
		mb_sigv4_encode(&tags->key, text, len, false);
	}
	else if (strcmp(path, "Tagging/TagSet/Tag/Value") == 0)
	{
		if (tags->text.len > 0)
			mb_buf_put_u8(&tags->text, '&');
		mb_buf_put(&tags->text, tags->key.data, tags->key.len);
		mb_buf_put_u8(&tags->text, '=');
		mb_sigv4_encode(&tags->text, text, len, false);
	}
	return MB_OK;
}

enum mb_code
mb_version_meta_tags(json_t *meta, const void *body, size_t len, struct mb_error *err)
{
	static const struct mb_xml_handler handler = {tags_begin, tag_text};
	struct reading_tags tags = {0};
	enum mb_code code = mb_xml_parse(body, len, &handler, &tags, "tags", err);

	/* Without a set it says nothing, which is not the same as none. */
	if (!code && !tags.has_set)
		code = mb_fail(err, MB_CORRUPT, "the answer about tags has no TagSet");
	if (!code)
	{
		json_object_del(meta, "tags");
		if (tags.text.len > 0)
			mb_json_set_str(meta, "tags", mb_buf_cstr(&tags.text));
	}
	mb_buf_release(&tags.text);
	mb_buf_release(&tags.key);
	return code;
}

struct reading_parts
{
	json_t *parts; /* [[number, size]...] */
	json_t *meta;
	int64_t number;
	int64_t size;
	bool is_root;
};

static enum mb_code
parts_begin(void *ctx, const char *path, struct mb_error *err)
{
	struct reading_parts *reading = ctx;

	if (strchr(path, '/'))
	{
		if (mb_ends_with(path, "/ObjectParts/Part"))
			reading->number = reading->size = -1;
		return MB_OK;
	}
	/* Servers that do not know ?attributes answer with the contents of the object. */
	if (strcasecmp(path, "GetObjectAttributesResponse") != 0 &&
		strcasecmp(path, "GetObjectAttributesOutput") != 0)
		return mb_fail(err, MB_CORRUPT, "the answer is a <%.64s>, not attributes", path);
	return MB_OK;
}

static int64_t
number_of(const char *text)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	return *end || end == text || value < 0 ? -1 : value;
}

static enum mb_code
parts_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct reading_parts *reading = ctx;

	(void) len;
	if (mb_ends_with(path, "/Part/PartNumber"))
		reading->number = number_of(text);
	else if (mb_ends_with(path, "/Part/Size"))
		reading->size = number_of(text);
	else if (mb_ends_with(path, "/ObjectParts/Part"))
	{
		if (reading->number < 1 || reading->size < 0 ||
			json_array_size(reading->parts) == PARTS_MAX)
			return mb_fail(err, MB_CORRUPT, "the attributes have an impossible part");
		json_array_append_new(reading->parts, json_pack("[II]", (json_int_t) reading->number,
														(json_int_t) reading->size));
	}
	else if (mb_ends_with(path, "Response/Checksum/ChecksumType"))
		set_checksum(reading->meta, "type", text);
	else if (strstr(path, "Response/Checksum/Checksum") &&
			 mb_starts_with(strrchr(path, '/'), "/Checksum"))
	{
		char name[32];
		size_t i;

		snprintf(name, sizeof(name), "%s", strrchr(path, '/') + 1 + strlen("Checksum"));
		for (i = 0; name[i]; i++)
			name[i] = (char) (name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
		set_checksum(reading->meta, name, text);
	}
	return MB_OK;
}

enum mb_code
mb_version_meta_parts(json_t *meta, const void *body, size_t len, struct mb_error *err)
{
	static const struct mb_xml_handler handler = {parts_begin, parts_text};
	struct reading_parts reading = {.parts = json_array(), .meta = meta};
	enum mb_code code = mb_xml_parse(body, len, &handler, &reading, "attributes", err);

	if (!code && json_array_size(reading.parts) > 0)
		json_object_set(meta, "parts", reading.parts);
	json_decref(reading.parts);
	return code;
}

/* -- ETags ------------------------------------------------------------------------------------------ */

unsigned
mb_etag_parts(const char *etag)
{
	size_t hex = strspn(etag, "0123456789abcdef");
	char *end;
	unsigned long parts;

	if (hex != 32 || etag[32] != '-')
		return 0;
	parts = strtoul(etag + 33, &end, 10);
	return *end || parts > PARTS_MAX ? 0 : (unsigned) parts;
}

bool
mb_etag_is_md5(const json_t *meta, const char *etag)
{
	/* With KMS or a customer's key the ETag is something else; with the server's own key not. */
	const char *how = mb_json_str(json_object_get(meta, "encryption"), "encryption", "AES256");

	return strspn(etag, "0123456789abcdef") == 32 && etag[32] == '\0' &&
		   strcmp(how, "AES256") == 0 &&
		   !json_object_get(json_object_get(meta, "encryption"), "encryption-customer-algorithm");
}
