/* bucket_check.c - see bucket_check.h. */
#include "objectstore/bucket_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_config.h"
#include "objectstore/bucket_iam.h"
#include "objectstore/s3_xml.h"

#define SKEW_WARN_US 5000000
/* The first release of MinIO's fork in which CVE-2026-40344 is mended. */
#define MINIO_MENDED "2026-04-11"

struct checking
{
	struct mb_bucket *bucket;
	struct mb_checks *checks;
	struct mb_bucket_config config;
	struct mb_s3_page page;
	bool is_gone; /* the server does not answer any more: it is not asked further */
};

static const char *
name_of(const struct checking *checking)
{
	return checking->bucket->base.name;
}

/* -- reaching and listing --------------------------------------------------------------------------- */

static bool
check_reachable(struct checking *checking)
{
	struct mb_bucket *bucket = checking->bucket;
	struct mb_error err;
	enum mb_code code;

	mb_error_clear(&err);
	code = mb_bucket_connect(bucket, &err);
	if (!code)
		code = mb_bucket_config_read(&checking->config, bucket->s3, bucket->name, &err);
	if (!code)
	{
		mb_check_add(checking->checks, MB_CHECK_OK, name_of(checking), "reachable", "",
					 "bucket \"%s\" can be reached", bucket->name);
		return true;
	}
	mb_check_add(checking->checks, MB_CHECK_FAILED, name_of(checking), "reachable",
				 err.hint[0]              ? err.hint
				 : code == MB_NOT_FOUND   ? "aws s3 mb s3://BUCKET, or the right url in its section"
				 : code == MB_DENIED      ? "Allow s3:GetBucketVersioning on the bucket in the "
											"key's policy, or the right access-key"
				 : code == MB_UNREACHABLE ? "The right endpoint in its section, or start the server"
										  : "What the message says, in its section",
				 "%s", err.message);
	return false;
}

static void
say_permission(struct checking *checking, const char *permission, const char *resource,
			   const struct mb_s3_op *op, enum mb_check_status missing)
{
	char name[96], fix[256];

	checking->is_gone = op->code == MB_UNREACHABLE;
	snprintf(name, sizeof(name), "permission %s", permission);
	if (op->code == MB_DENIED)
	{
		snprintf(fix, sizeof(fix), "Allow %s on arn:aws:s3:::%s%s.", permission,
				 checking->bucket->name, resource);
		mb_check_add(checking->checks, missing, name_of(checking), name, fix, "%s is missing",
					 permission);
	}
	else if (op->code && op->code != MB_NOT_FOUND && op->code != MB_UNSUPPORTED)
		mb_check_add(checking->checks, MB_CHECK_FAILED, name_of(checking), name,
					 op->err.hint[0] ? op->err.hint : "What the message of the server says", "%s",
					 op->err.message);
	else
		mb_check_add(checking->checks, MB_CHECK_OK, name_of(checking), name, "", "%s is there",
					 permission);
}

/* One page, which tells a version to try the other permissions on. */
static bool
check_listing(struct checking *checking)
{
	struct mb_bucket *bucket = checking->bucket;
	struct mb_s3_op op = {.method = "GET", .bucket = bucket->name};
	struct mb_error err;
	bool is_fine;

	mb_error_clear(&err);
	mb_s3_op_query(&op, "encoding-type", "url");
	mb_s3_op_query(&op, "max-keys", "100");
	mb_s3_op_query(&op, "prefix", bucket->prefix);
	if (bucket->is_current_only)
		mb_s3_op_query(&op, "list-type", "2");
	else
		mb_s3_op_query(&op, "versions", NULL);
	if (mb_s3_perform(bucket->s3, &op, &err))
		mb_error_clear(&err); /* say_permission says it */
	say_permission(checking, bucket->is_current_only ? "s3:ListBucket" : "s3:ListBucketVersions",
				   "", &op, MB_CHECK_FAILED);
	is_fine = !op.code && mb_s3_page_parse(&checking->page, op.http.response.body.data,
										   op.http.response.body.len, &err) == MB_OK;
	if (!op.code && !is_fine)
		mb_check_add(checking->checks, MB_CHECK_FAILED, name_of(checking), "listing",
					 "A report with the server and its version", "%s", err.message);
	mb_s3_op_release(&op);
	return is_fine;
}

/* -- permissions, one by one -------------------------------------------------------------------------- */

struct permission
{
	const char *name;
	const char *query;  /* NULL: the object itself, by HEAD */
	const char *header; /* with the value ETag */
	bool is_needed;
	bool only_with_lock;
};

static const struct permission permissions[] = {
	{"s3:GetObjectVersion", NULL, NULL, true, false},
	{"s3:GetObjectTagging", "tagging", NULL, true, false},
	{"s3:GetObjectRetention", "retention", NULL, true, true},
	{"s3:GetObjectLegalHold", "legal-hold", NULL, true, true},
	{"s3:GetObjectVersionAttributes", "attributes", "x-amz-object-attributes", false, false},
};

static void
check_permission(struct checking *checking, const struct permission *permission,
				 const struct mb_s3_version *version)
{
	struct mb_s3_op op = {.method = permission->query ? "GET" : "HEAD",
						  .bucket = checking->bucket->name,
						  .key = version->key};
	struct mb_error err;

	mb_error_clear(&err);
	if (permission->query)
		mb_s3_op_query(&op, permission->query, NULL);
	if (permission->header)
		mb_s3_op_header(&op, permission->header, "ETag");
	if (version->version_id[0])
		mb_s3_op_query(&op, "versionId", version->version_id);
	if (mb_s3_perform(checking->bucket->s3, &op, &err))
		mb_error_clear(&err); /* say_permission says it */
	/* 400 and 404: it may be asked for, there is none. */
	if (op.status == 400 || op.status == 404)
		op.code = MB_OK;
	say_permission(checking, permission->name, "/*", &op,
				   permission->is_needed ? MB_CHECK_FAILED : MB_CHECK_WARNING);
	mb_s3_op_release(&op);
}

static void
check_permissions(struct checking *checking)
{
	const struct mb_s3_version *version = NULL;
	enum mb_s3_dialect dialect = mb_s3_dialect(checking->bucket->s3);
	size_t i;

	for (i = 0; !version && i < checking->page.count; i++)
		if (!checking->page.versions[i].is_marker)
			version = &checking->page.versions[i];
	if (!version)
	{
		mb_check_add(checking->checks, MB_CHECK_SKIPPED, name_of(checking), "permissions",
					 "aws s3 cp FILE s3://BUCKET/, then mbackup check",
					 "the bucket has no object to try them on");
		return;
	}
	for (i = 0; !checking->is_gone && i < sizeof(permissions) / sizeof(permissions[0]); i++)
	{
		const struct permission *permission = &permissions[i];

		if (permission->only_with_lock && !checking->config.has_lock)
			continue;
		/* Others answer ?attributes with the contents. */
		if (permission->header && dialect != MB_S3_MINIO && dialect != MB_S3_AWS)
			continue;
		check_permission(checking, permission, version);
	}
	for (i = 0; i < checking->config.count; i++)
		if (checking->config.items[i].is_denied &&
			strcmp(checking->config.items[i].what, "object-lock") == 0)
			mb_check_add(checking->checks, MB_CHECK_WARNING, name_of(checking),
						 "permission s3:GetBucketObjectLockConfiguration",
						 "Allow s3:GetBucketObjectLockConfiguration on the bucket.",
						 "s3:GetBucketObjectLockConfiguration is missing");
}

/* -- the bucket ------------------------------------------------------------------------------------------ */

static void
check_versioning(struct checking *checking)
{
	const struct mb_bucket_config *config = &checking->config;
	char fix[256];

	if (checking->bucket->is_current_only)
		return;
	snprintf(fix, sizeof(fix),
			 "aws s3api put-bucket-versioning --bucket %.100s --versioning-configuration "
			 "Status=Enabled",
			 checking->bucket->name);
	if (config->is_versioned && !config->is_suspended)
		mb_check_add(checking->checks, MB_CHECK_OK, name_of(checking), "versioning", "",
					 "the bucket keeps versions");
	else
		mb_check_add(checking->checks, MB_CHECK_WARNING, name_of(checking), "versioning", fix,
					 "%s: what is overwritten or deleted between two backups is not in the "
					 "repository",
					 config->is_suspended ? "versioning is suspended"
										  : "the bucket keeps no versions");
}

struct shortest
{
	int64_t days; /* of a rule; 0: none yet */
	bool is_enabled;
	int64_t noncurrent;
};

static enum mb_code
lifecycle_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct shortest *shortest = ctx;

	(void) len;
	(void) err;
	if (mb_ends_with(path, "/Rule/Status"))
		shortest->is_enabled = strcmp(text, "Enabled") == 0;
	else if (mb_ends_with(path, "/NoncurrentVersionExpiration/NoncurrentDays"))
		shortest->noncurrent = strtoll(text, NULL, 10);
	else if (mb_ends_with(path, "/Rule"))
	{
		if (shortest->is_enabled && shortest->noncurrent > 0 &&
			(shortest->days == 0 || shortest->noncurrent < shortest->days))
			shortest->days = shortest->noncurrent;
		shortest->is_enabled = false;
		shortest->noncurrent = 0;
	}
	return MB_OK;
}

static void
check_lifecycle(struct checking *checking)
{
	static const struct mb_xml_handler handler = {NULL, lifecycle_text};
	const struct mb_buf *body = mb_bucket_config_get(&checking->config, "lifecycle");
	struct shortest shortest = {0};
	struct mb_error err;

	mb_error_clear(&err);
	if (!body || mb_xml_parse(body->data, body->len, &handler, &shortest, "lifecycle", &err) ||
		shortest.days == 0)
		return;
	mb_check_add(checking->checks, shortest.days < 2 ? MB_CHECK_WARNING : MB_CHECK_OK,
				 name_of(checking), "lifecycle",
				 shortest.days < 2 ? "Keep noncurrent versions at least two days, or back up more "
									 "often than they expire."
								   : "",
				 "noncurrent versions expire after %" PRId64 " day%s: back up more often than that",
				 shortest.days, shortest.days == 1 ? "" : "s");
}

static void
check_clock(struct checking *checking)
{
	int64_t low_us, high_us, skew_us;

	if (!mb_s3_clock(checking->bucket->s3, &low_us, &high_us))
		return;
	skew_us = (low_us + high_us) / 2;
	mb_check_add(checking->checks,
				 skew_us > SKEW_WARN_US || skew_us < -SKEW_WARN_US ? MB_CHECK_WARNING : MB_CHECK_OK,
				 name_of(checking), "clock",
				 skew_us > SKEW_WARN_US || skew_us < -SKEW_WARN_US
					 ? "sudo timedatectl set-ntp true, on both machines"
					 : "",
				 "the server's clock is %.3f s ahead of ours, give or take %.3f s",
				 (double) skew_us / 1e6, (double) (high_us - low_us) / 2e6);
}

/* The admin API tells the version only to those who may ask; its absence is no finding. */
static void
check_minio(struct checking *checking)
{
	struct mb_s3_op op = {.method = "GET", .key = "minio/admin/v3/info"};
	struct mb_error err;
	const char *body, *version;

	if (mb_s3_dialect(checking->bucket->s3) != MB_S3_MINIO)
		return;
	mb_error_clear(&err);
	if (mb_s3_perform(checking->bucket->s3, &op, &err))
		mb_error_clear(&err);
	body = op.code ? NULL : mb_buf_cstr(&op.http.response.body);
	version = body ? strstr(body, "\"version\":\"") : NULL;
	version = version ? version + strlen("\"version\":\"") : NULL;
	/* "RELEASE.2025-10-15T..." or only the date; who built it himself has neither. */
	if (version && strncmp(version, "RELEASE.", 8) == 0)
		version += 8;
	if (!version || version[0] < '0' || version[0] > '9')
		mb_check_add(checking->checks, MB_CHECK_SKIPPED, name_of(checking), "minio-version",
					 "Allow admin:ServerInfo to have it checked.",
					 "the version of MinIO is not known (CVE-2026-40344)");
	else if (strncmp(version, MINIO_MENDED, strlen(MINIO_MENDED)) < 0)
		mb_check_add(checking->checks, MB_CHECK_WARNING, name_of(checking), "minio-version",
					 "Block requests with x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER "
					 "at a proxy, or move to a server that is maintained.",
					 "MinIO of %.10s has CVE-2026-40344: who knows an access key can write any "
					 "object",
					 version);
	else
		mb_check_add(checking->checks, MB_CHECK_OK, name_of(checking), "minio-version", "",
					 "MinIO of %.10s", version);
	mb_s3_op_release(&op);
}

/* By doing it: nothing else tells whether it is allowed. */
static void
check_iam(struct checking *checking)
{
	struct mb_bucket *bucket = checking->bucket;
	json_t *iam = NULL;
	struct mb_error err;
	enum mb_code code;

	if (!bucket->has_iam)
		return;
	mb_error_clear(&err);
	code = mb_bucket_iam_allowed(bucket, bucket->base.env->repo, &err);
	if (!code)
		code = mb_iam_export(bucket->s3, &iam, &err);
	if (code)
		mb_check_add(checking->checks, MB_CHECK_FAILED, name_of(checking), "iam",
					 err.hint[0] ? err.hint : "What the message of the server says", "%s",
					 err.message);
	else
		mb_check_add(checking->checks, MB_CHECK_OK, name_of(checking), "iam", "",
					 "users, groups and policies of the server can be read");
	json_decref(iam);
}

enum mb_code
mb_bucket_check(struct mb_bucket *bucket, struct mb_checks *checks, struct mb_error *err)
{
	struct checking checking = {.bucket = bucket, .checks = checks};

	if (!check_reachable(&checking))
		return MB_OK;
	if (check_listing(&checking))
		check_permissions(&checking);
	check_versioning(&checking);
	check_lifecycle(&checking);
	check_clock(&checking);
	if (!checking.is_gone)
	{
		check_minio(&checking);
		check_iam(&checking);
	}
	if (bucket->is_journalled && bucket->source->check(bucket->base.settings, checks, err))
		return err->code;
	mb_s3_page_release(&checking.page);
	mb_bucket_config_release(&checking.config);
	return MB_OK;
}
