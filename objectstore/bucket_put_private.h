/*
 * bucket_put_private.h - what bucket_put.c, bucket_put_parts.c, bucket_put_sizes.c and bucket_put_late.c
 * share.
 */
#ifndef MB_OBJECTSTORE_BUCKET_PUT_PRIVATE_H
#define MB_OBJECTSTORE_BUCKET_PUT_PRIVATE_H

#include "objectstore/bucket_put.h"
#include "objectstore/s3_xml.h"

enum mb_source
{
	MB_SOURCE_TIME = 1,
	MB_SOURCE_ETAG = 2
};

void mb_put_header(struct mb_put_texts *texts, struct mb_s3_op *op, const char *name,
				   const char *value);
enum mb_put_headers_flags
{
	MB_HEADERS_WITHOUT_TAGS = 1
};
void mb_put_headers(const struct mb_put_place *place, const struct mb_put_version *version,
					unsigned flags, struct mb_put_texts *texts, struct mb_s3_op *op);
/* "a=b&c=d" as the body of a PUT ?tagging. */
void mb_put_tags_body(const char *tags, struct mb_buf *body);
/* The body of a PUT ?retention; false: there is none, or it is over. */
bool mb_put_retention_body(const json_t *meta, struct mb_buf *body);
/* The id to be sent, or NULL. */
const char *mb_put_id(const struct mb_put_place *place, const struct mb_put_version *version);
/* x-minio-source-*: what is a set of enum mb_source. */
void mb_put_source(const struct mb_put_place *place, const struct mb_put_version *version,
				   unsigned what, struct mb_put_texts *texts, struct mb_s3_op *op);

/* bucket_put_sizes.c */
struct mb_put_part
{
	unsigned number;
	uint64_t size;
	char etag[128];
	char checksum[64]; /* base64, or "" */
};
/*
 * Numbers and sizes of the parts that the version had: as they were noted, or as clients are likely to
 * have made them; else our own.  Never none; free() them.
 */
struct mb_put_part *mb_put_choose_parts(const struct mb_put_version *version, size_t *count);

#endif
