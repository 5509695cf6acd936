/* store_s3_probe.c - what the server of a repository really does; see store_s3.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "objectstore/s3_xml.h"
#include "objectstore/store_s3_private.h"

#define FOLDER_TEXT 64
/* Older trials are over: they were killed. */
#define TRIAL_MAX_US (3600 * INT64_C(1000000))

struct probe
{
	struct mb_store_s3 *store;
	char folder[FOLDER_TEXT]; /* "probe/<random>" */
	int64_t now_us;
	bool removes;      /* this key may */
	struct mb_buf old; /* names of trials that were killed, NUL-terminated each */
};

/* -- single questions -------------------------------------------------------------------------- */

/* Asked of a name that nobody has. */
enum mb_code
mb_store_s3_removes(struct mb_store *store, bool *removes, struct mb_error *err)
{
	char name[FOLDER_TEXT];
	const char *names[] = {name};
	struct mb_error why;
	uint64_t random;
	enum mb_code code;

	mb_random(&random, sizeof(random));
	snprintf(name, sizeof(name), MB_STORE_S3_TRIALS "%016llx", (unsigned long long) random);
	code = mb_store_remove(store, names, 1, &why);
	*removes = code == MB_OK;
	if (code == MB_OK || code == MB_DENIED)
		return MB_OK;
	*err = why;
	return code;
}

/* A put; *status is the server's answer, whatever it is.  Fails when there is none. */
static enum mb_code
put_once(struct probe *probe, const char *file, const char *text, bool is_conditional,
		 const char *body_hash, int *status, struct mb_error *err)
{
	char *name = mb_asprintf("%s/%s", probe->folder, file);
	char *key = mb_store_s3_key(probe->store, name);
	struct mb_s3_op op = {0};
	enum mb_code code;

	mb_store_s3_begin(probe->store, &op, "PUT", key);
	op.body = text;
	op.body_len = strlen(text);
	op.body_hash = body_hash;
	if (is_conditional)
		mb_s3_op_header(&op, "If-None-Match", "*");
	code = mb_s3_perform(probe->store->s3, &op, err);
	*status = op.status;
	/* An answer is an answer; only trouble of the way is a failure. */
	if (code != MB_UNREACHABLE && code != MB_INTERRUPTED && code != MB_DENIED)
		code = MB_OK;
	mb_s3_op_release(&op);
	free(key);
	free(name);
	return code;
}

/* A second put of other bytes is refused, also over a name that was just removed and made again, if we may. */
static enum mb_code
try_conditional(struct probe *probe, bool *kept, struct mb_error *err)
{
	char *name = mb_asprintf("%s/b", probe->folder);
	const char *names[] = {name};
	int first = 0, second = 0, third = 0, fourth = 0;
	enum mb_code code = put_once(probe, "b", "first", true, NULL, &first, err);

	if (!code)
		code = put_once(probe, "b", "second", true, NULL, &second, err);
	*kept = first / 100 == 2 && second == 412;
	if (!code && probe->removes)
	{
		code = mb_store_remove(&probe->store->base, names, 1, err);
		if (!code)
			code = put_once(probe, "b", "third", true, NULL, &third, err);
		if (!code)
			code = put_once(probe, "b", "fourth", true, NULL, &fourth, err);
		*kept = *kept && third / 100 == 2 && fourth == 412;
	}
	free(name);
	return code;
}

/* A body that is not what was signed must not be stored. */
static enum mb_code
try_wrong_body(struct probe *probe, bool *checks, struct mb_error *err)
{
	static const char other[] = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
	int status = 0;
	enum mb_code code = put_once(probe, "wrong", "not foo", false, other, &status, err);

	*checks = status / 100 == 4;
	return code == MB_DENIED ? MB_OK : code;
}

static enum mb_code
add_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) err;
	mb_buf_printf(ctx, "%s ", strrchr(info->name, '/') + 1);
	return MB_OK;
}

/* Names put in another order come in order, and right behind their puts. */
static enum mb_code
try_listing(struct probe *probe, bool *ordered, bool *immediate, struct mb_error *err)
{
	static const char *const files[] = {"c", "a", "a.b", "a-b", "B"};
	char *prefix = mb_asprintf("%s/", probe->folder);
	struct mb_buf names = {0};
	enum mb_code code = MB_OK;
	int status;
	size_t i;

	for (i = 0; !code && i < sizeof(files) / sizeof(files[0]); i++)
		code = put_once(probe, files[i], "x", false, NULL, &status, err);
	if (!code)
	{
		code = mb_store_list(&probe->store->base, prefix, add_name, &names, err);
		*ordered = code == MB_OK;
		*immediate = *ordered && strcmp(mb_buf_cstr(&names), "B a a-b a.b b c ") == 0;
		code = code == MB_CORRUPT ? MB_OK : code;
	}
	mb_buf_release(&names);
	free(prefix);
	return code;
}

/* "Enabled" at a path of the answer to ?versioning or ?object-lock; an error is "no". */
static bool
is_enabled(struct mb_store_s3 *store, const char *what, const char *path)
{
	struct mb_s3_op op = {0};
	struct mb_buf text = {0};
	struct mb_error err;
	bool enabled;

	mb_store_s3_begin(store, &op, "GET", NULL);
	mb_s3_op_query(&op, what, NULL);
	enabled = mb_s3_perform(store->s3, &op, &err) == MB_OK &&
			  mb_xml_find(op.http.response.body.data, op.http.response.body.len, path, &text) &&
			  strcmp(mb_buf_cstr(&text), "Enabled") == 0;
	mb_s3_op_release(&op);
	mb_buf_release(&text);
	return enabled;
}

static bool
is_versioned(struct mb_store_s3 *store)
{
	return is_enabled(store, "versioning", "VersioningConfiguration/Status");
}

static bool
has_lock(struct mb_store_s3 *store)
{
	return is_enabled(store, "object-lock", "ObjectLockConfiguration/ObjectLockEnabled");
}

/* -- the probe ------------------------------------------------------------------------------------ */

static enum mb_code
clean_up(struct probe *probe, struct mb_error *err)
{
	static const char *const files[] = {"a", "a-b", "a.b", "b", "B", "c", "wrong"};
	char texts[sizeof(files) / sizeof(files[0])][FOLDER_TEXT + 8];
	const char *names[sizeof(files) / sizeof(files[0])];
	size_t i;

	if (!probe->removes)
		return MB_OK;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
	{
		snprintf(texts[i], sizeof(texts[i]), "%s/%s", probe->folder, files[i]);
		names[i] = texts[i];
	}
	return mb_store_remove(&probe->store->base, names, i, err);
}

static enum mb_code
add_old(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct probe *probe = ctx;

	(void) err;
	if (probe->now_us - info->modified_us > TRIAL_MAX_US)
		mb_buf_put(&probe->old, info->name, strlen(info->name) + 1);
	return MB_OK;
}

static enum mb_code
remove_old(struct probe *probe, struct mb_error *err)
{
	enum mb_code code = mb_store_list(&probe->store->base, MB_STORE_S3_TRIALS, add_old, probe, err);
	size_t at;

	for (at = 0; !code && at < probe->old.len;)
	{
		const char *name = (const char *) probe->old.data + at;

		code = mb_store_remove(&probe->store->base, &name, 1, err);
		at += strlen(name) + 1;
	}
	mb_buf_release(&probe->old);
	/* Listings out of order are for the probe to find. */
	return code == MB_CORRUPT ? MB_OK : code;
}

static const char *
server_name(const struct mb_store_s3 *store)
{
	switch (mb_s3_dialect(store->s3))
	{
		case MB_S3_AWS:
			return "Amazon S3";
		case MB_S3_MINIO:
			return "MinIO";
		case MB_S3_CEPH:
			return "Ceph";
		default:
			return "unknown";
	}
}

enum mb_code
mb_store_s3_probe(struct mb_store *store, json_t **verdict, struct mb_error *err)
{
	struct probe probe = {.store = mb_store_s3_of(store)};
	bool conditional = false, checks = false, ordered = false, immediate = false;
	int64_t low_us = 0, high_us = 0;
	struct mb_error why;
	char time[MB_TIME_TEXT];
	uint64_t random;
	enum mb_code code, cleaned;

	MB_ASSERT(probe.store != NULL);
	mb_random(&random, sizeof(random));
	snprintf(probe.folder, sizeof(probe.folder), MB_STORE_S3_TRIALS "%016llx",
			 (unsigned long long) random);
	code = mb_store_clock(store, &probe.now_us, err);
	if (!code)
		code = mb_store_s3_removes(store, &probe.removes, err);
	if (!code && probe.removes)
		code = remove_old(&probe, err);
	if (!code)
		code = try_conditional(&probe, &conditional, err);
	if (!code)
		code = try_wrong_body(&probe, &checks, err);
	if (!code)
		code = try_listing(&probe, &ordered, &immediate, err);
	cleaned = clean_up(&probe, code ? &why : err);
	if (!code)
		code = cleaned;
	if (code)
		return mb_error_context(err, "could not find out what the server of %s does", store->url);
	mb_s3_clock(probe.store->s3, &low_us, &high_us);
	mb_time_format(time, probe.now_us);
	*verdict = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:s, s:s}", "url", store->url,
						 "conditional_put", conditional, "checks_body", checks, "ordered_listing",
						 ordered, "read_after_write", immediate, "versioned",
						 is_versioned(probe.store), "object_lock", has_lock(probe.store),
						 "clock_error_ms", (json_int_t) ((high_us - low_us) / 2000), "server",
						 server_name(probe.store), "time", time);
	return MB_OK;
}

/* -- check ------------------------------------------------------------------------------------------- */

/*
 * MinIO lets whoever may put an object replace a version, locked or not, by naming its id.  Asked of
 * an upload to a name that nobody has, which is given up again at once.
 */
static enum mb_code
has_version_hole(struct mb_store_s3 *store, bool *hole, struct mb_error *err)
{
	struct mb_s3_op begin = {0}, abort = {0};
	struct mb_buf upload = {0};
	unsigned char random[16];
	char id[37], *key;
	enum mb_code code;

	mb_random(random, sizeof(random));
	snprintf(id, sizeof(id), "%02x%02x%02x%02x-%02x%02x-4%x%02x-8%x%02x-%02x%02x%02x%02x%02x%02x",
			 random[0], random[1], random[2], random[3], random[4], random[5], random[6] & 15,
			 random[7], random[8] & 15, random[9], random[10], random[11], random[12], random[13],
			 random[14], random[15]);
	key = mb_asprintf("%s" MB_STORE_S3_TRIALS "%s", store->prefix, id);
	mb_store_s3_begin(store, &begin, "POST", key);
	mb_s3_op_query(&begin, "uploads", NULL);
	mb_s3_op_query(&begin, "versionId", id);
	code = mb_s3_perform(store->s3, &begin, err);
	*hole = code == MB_OK;
	if (code == MB_OK && mb_xml_find(begin.http.response.body.data, begin.http.response.body.len,
									 "InitiateMultipartUploadResult/UploadId", &upload))
	{
		mb_store_s3_begin(store, &abort, "DELETE", key);
		mb_s3_op_query(&abort, "uploadId", mb_buf_cstr(&upload));
		code = mb_s3_perform(store->s3, &abort, err);
	}
	mb_s3_op_release(&begin);
	mb_s3_op_release(&abort);
	mb_buf_release(&upload);
	free(key);
	return code == MB_UNREACHABLE || code == MB_INTERRUPTED ? code : MB_OK;
}

static void
check_hole(struct mb_store_s3 *store, const char *place, struct mb_checks *checks)
{
	bool hole = false;
	struct mb_error err;
	char *fix;

	if (has_version_hole(store, &hole, &err) != MB_OK)
	{
		mb_check_add(checks, MB_CHECK_WARNING, place, "versions", "What the message says", "%s",
					 err.message);
		return;
	}
	if (!hole)
	{
		mb_check_add(checks, MB_CHECK_OK, place, "versions", "",
					 "this key cannot replace versions that are stored");
		return;
	}
	fix = mb_asprintf(
		"Give the key this policy: {\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": "
		"\"Allow\", \"Action\": [\"s3:PutObject\", \"s3:GetObject\", \"s3:ListBucket\", "
		"\"s3:DeleteObject\", \"s3:AbortMultipartUpload\", \"s3:ListMultipartUploadParts\", "
		"\"s3:ListBucketMultipartUploads\", \"s3:GetBucketLocation\", "
		"\"s3:GetBucketVersioning\"%s], "
		"\"Resource\": [\"arn:aws:s3:::%s\", \"arn:aws:s3:::%s/*\"]}, {\"Effect\": \"Deny\", "
		"\"Action\": [\"s3:PutObject\"], \"Resource\": [\"arn:aws:s3:::%s/*\"], \"Condition\": "
		"{\"StringLike\": {\"s3:versionid\": \"?*\"}}}]}",
		store->lock_mode ? ", \"s3:PutObjectRetention\", \"s3:GetBucketObjectLockConfiguration\""
						 : "",
		store->bucket, store->bucket, store->bucket);
	mb_check_add(checks, MB_CHECK_WARNING, place, "versions", fix,
				 "this key can replace stored versions by their id, locked ones too");
	free(fix);
}

static void
check_lock(struct mb_store_s3 *store, const char *place, bool locks, struct mb_checks *checks)
{
	if (store->lock_mode && !locks)
		mb_check_add(checks, MB_CHECK_FAILED, place, "object-lock",
					 "aws s3api create-bucket --object-lock-enabled-for-bucket --bucket NEW, for "
					 "another url; or object-lock = none in [repository]",
					 "bucket \"%s\" has no object lock", store->bucket);
	else if (store->lock_mode)
		mb_check_add(checks, MB_CHECK_OK, place, "object-lock", "",
					 "packs and commits are locked for %lld days",
					 (long long) (store->lock_ms / (24 * 3600 * 1000)));
	else if (locks)
		mb_check_add(checks, MB_CHECK_WARNING, place, "object-lock",
					 "object-lock = governance and object-lock-days = 30 in [repository]",
					 "bucket \"%s\" has object lock, but nothing is locked", store->bucket);
}

enum mb_code
mb_store_s3_check(struct mb_store *base, const char *place, struct mb_checks *checks,
				  struct mb_error *err)
{
	struct mb_store_s3 *store = mb_store_s3_of(base);

	(void) err;
	if (!store)
		return MB_OK;
	check_lock(store, place, has_lock(store), checks);
	if (mb_s3_dialect(store->s3) == MB_S3_MINIO && is_versioned(store))
		check_hole(store, place, checks);
	return MB_OK;
}
