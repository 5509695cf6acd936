/*
 * s3_xml.h - reading the XML that S3 servers answer, by expat, with limits.
 *
 * Element names are local names (a namespace may be there or not).  DOCTYPE is refused, so
 * there are no entities but the five of XML.  Never deeper than 16, a text at most 64 KiB, a
 * document at most MB_S3_ANSWER_MAX_BYTES.
 *
 * Sources: ListObjectsV2, ListObjectVersions, DeleteObjects, ListMultipartUploads of the S3 API
 * reference; MinIO's extension of ListObjectVersions (metadata=true).
 */
#ifndef MB_OBJECTSTORE_S3_XML_H
#define MB_OBJECTSTORE_S3_XML_H

#include "core/base/mem.h"

/* What the root of a body that we write is an element of. */
#define MB_S3_XMLNS "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

/*
 * path: names joined by '/', such as "ListVersionsResult/Version/Key".  begin() when an element
 * starts, text() when one ends, with the text directly in it (white space kept).  Returning an
 * error ends the parsing with it.
 */
struct mb_xml_handler
{
	enum mb_code (*begin)(void *ctx, const char *path, struct mb_error *err); /* may be NULL */
	enum mb_code (*text)(void *ctx, const char *path, const char *text, size_t len,
						 struct mb_error *err);
};
/* MB_CORRUPT: not well-formed, or over a limit; `what` is for the message. */
enum mb_code mb_xml_parse(const void *data, size_t len, const struct mb_xml_handler *handler,
						  void *ctx, const char *what, struct mb_error *err) MB_MUST_CHECK;

/* The first text at a path, NUL-terminated into out; false when there is none or no XML. */
bool mb_xml_find(const void *data, size_t len, const char *path, struct mb_buf *out);
/* Append text with & < > " ' replaced, for a body that we write; control characters as &#x1;. */
void mb_xml_escape(struct mb_buf *out, const char *text);

/* Undo encoding-type=url: %XX, and '+' is a space. */
void mb_xml_url_decode(struct mb_buf *out, const char *text, size_t len);

/* -- listings -------------------------------------------------------------------------------- */

/* One name and value of user metadata, headers or tags; both owned by the page. */
struct mb_pair
{
	const char *name;
	const char *value;
};

struct mb_s3_version
{
	const char *key;        /* decoded */
	const char *version_id; /* "null" for the null version; "" in a plain listing */
	const char *etag;       /* without quotes; "" for a marker */
	const char *storage_class;
	bool is_marker;
	bool is_latest;
	uint64_t size;
	int64_t modified_ns; /* as precise as the server said (MinIO: ms, AWS: s) */
	/* MinIO with metadata=true; has_metadata is false when the page does not tell. */
	bool has_metadata;
	const struct mb_pair *metadata; /* "content-type", "x-amz-meta-a", ...: names as listed */
	size_t metadata_count;
	const char *tags; /* "a=b&c=d", url-encoded; NULL: none told */
	uint64_t lsn;     /* of its event in a journal; no listing tells it: 0 */
};

/* One page of ListObjectVersions or ListObjectsV2; everything lives in the arena. */
struct mb_s3_page
{
	struct mb_arena arena;
	struct mb_s3_version *versions;
	size_t count;
	size_t cap;
	bool is_truncated;
	const char *next_key; /* opaque: key-marker or continuation-token; decoded */
	const char *next_version;
	const char **prefixes; /* CommonPrefixes, decoded */
	size_t prefix_count;
	size_t prefix_cap;
};
/* MB_CORRUPT: not that XML (the caller may ask again without metadata). */
enum mb_code mb_s3_page_parse(struct mb_s3_page *page, const void *data, size_t len,
							  struct mb_error *err) MB_MUST_CHECK;
void mb_s3_page_release(struct mb_s3_page *page);

/* "2009-10-12T17:50:30.123456789Z" to nanoseconds; false when it is no time. */
bool mb_s3_time_parse(int64_t *time_ns, const char *text);
/* RFC 3339 with nanoseconds (x-minio-source-mtime); out has 40 bytes. */
void mb_s3_time_format(char out[40], int64_t time_ns);

#endif
