/* bucket_config.c - see bucket_config.h. */
#include "objectstore/bucket_config.h"

#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_iam.h"
#include "objectstore/s3_xml.h"

#define PREFIX "bucket/"
#define QUOTA "quota"
#define IAM "iam"
#define QUOTA_PATH "minio/admin/v3/get-bucket-quota"

/* MinIO has these only so that nobody stumbles: what it answers never changes. */
static const char *const dummies_of_minio[] = {"cors",
											   "acl",
											   "website",
											   "logging",
											   "accelerate",
											   "requestPayment",
											   "ownershipControls",
											   "publicAccessBlock"};

/* In the order in which a restore has to set them. */
static const char *const sub_resources[] = {
	"versioning",
	"object-lock",
	"encryption",
	"cors",
	"acl",
	"tagging",
	"ownershipControls",
	"publicAccessBlock",
	"website",
	"logging",
	"policy",
	"requestPayment",
	"accelerate",
	QUOTA,
	"notification",
	"replication",
	"lifecycle",
	IAM,
};
#define ITEMS (sizeof(sub_resources) / sizeof(sub_resources[0]))

static void
make_items(struct mb_bucket_config *config)
{
	size_t i;

	memset(config, 0, sizeof(*config));
	config->items = mb_calloc(ITEMS, sizeof(*config->items));
	config->count = ITEMS;
	for (i = 0; i < ITEMS; i++)
		config->items[i].what = sub_resources[i];
}

void
mb_bucket_config_release(struct mb_bucket_config *config)
{
	size_t i;

	for (i = 0; i < config->count; i++)
		mb_buf_wipe(&config->items[i].body); /* one of them may be secret */
	free(config->items);
	memset(config, 0, sizeof(*config));
}

const struct mb_buf *
mb_bucket_config_get(const struct mb_bucket_config *config, const char *what)
{
	size_t i;

	for (i = 0; i < config->count; i++)
		if (strcmp(config->items[i].what, what) == 0)
			return config->items[i].is_there ? &config->items[i].body : NULL;
	return NULL;
}

static bool
says(const struct mb_bucket_config *config, const char *what, const char *path, const char *value)
{
	const struct mb_buf *body = mb_bucket_config_get(config, what);
	struct mb_buf text = {0};
	bool is_so = body && mb_xml_find(body->data, body->len, path, &text) &&
				 strcmp(mb_buf_cstr(&text), value) == 0;

	mb_buf_release(&text);
	return is_so;
}

static void
understand(struct mb_bucket_config *config)
{
	config->is_suspended =
		says(config, "versioning", "VersioningConfiguration/Status", "Suspended");
	config->is_versioned = config->is_suspended ||
						   says(config, "versioning", "VersioningConfiguration/Status", "Enabled");
	config->has_lock =
		says(config, "object-lock", "ObjectLockConfiguration/ObjectLockEnabled", "Enabled");
}

/* -- from the server ---------------------------------------------------------------------------- */

static void
describe(struct mb_s3_op *op, const char *bucket, const char *what)
{
	op->method = "GET";
	op->max_bytes = MB_BUCKET_CONFIG_MAX_BYTES;
	if (strcmp(what, QUOTA) == 0)
	{
		op->key = QUOTA_PATH;
		mb_s3_op_query(op, "bucket", bucket);
		return;
	}
	op->bucket = bucket;
	mb_s3_op_query(op, what, NULL);
}

/* IAM is read by itself.  Only MinIO has the admin API; for others it would be a bucket named "minio". */
static bool
is_asked(const char *what, bool is_minio)
{
	size_t i;

	if (strcmp(what, IAM) == 0)
		return false;
	if (!is_minio)
		return strcmp(what, QUOTA) != 0;
	for (i = 0; i < sizeof(dummies_of_minio) / sizeof(dummies_of_minio[0]); i++)
		if (strcmp(what, dummies_of_minio[i]) == 0)
			return false;
	return true;
}

static enum mb_code
any_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	(void) ctx;
	(void) path;
	(void) text;
	(void) len;
	(void) err;
	return MB_OK;
}

/*
 * Half an answer must not pass for "no versions": it is whole when it can be parsed.  Some servers
 * answer nothing where there is nothing, but never about these two.
 */
static enum mb_code
check_whole(struct mb_config_item *item, struct mb_error *err)
{
	static const struct mb_xml_handler handler = {NULL, any_text};
	const struct mb_buf *body = &item->body;
	json_t *json;

	if (body->len == 0 && strcmp(item->what, "versioning") != 0 &&
		strcmp(item->what, "object-lock") != 0)
		return MB_OK;
	if (strcmp(item->what, "policy") != 0 && strcmp(item->what, QUOTA) != 0)
		return mb_xml_parse(body->data, body->len, &handler, NULL, item->what, err);
	if (mb_json_parse(&json, mb_buf_cstr(&item->body), body->len, item->what, err))
		return err->code;
	json_decref(json);
	return MB_OK;
}

/* Only a few failures mean that nobody knows: all others mean that there is nothing. */
static enum mb_code
take_item(struct mb_config_item *item, const struct mb_s3_op *op, struct mb_error *err)
{
	bool is_first = strcmp(item->what, "versioning") == 0;

	item->is_denied = op->code == MB_DENIED;
	if (!op->code)
	{
		/* Servers that do not know a sub-resource may answer with the listing of the bucket. */
		item->is_there =
			!(op->http.response.body.len > 0 &&
			  memmem(op->http.response.body.data,
					 op->http.response.body.len < 256 ? op->http.response.body.len : 256,
					 "<ListBucketResult", 17));
		if (!item->is_there)
			return MB_OK;
		mb_buf_put(&item->body, op->http.response.body.data, op->http.response.body.len);
		return check_whole(item, err)
				   ? mb_error_context(err, "could not read bucket/%s", item->what)
				   : MB_OK;
	}
	if (strcmp(op->error_code, "NoSuchBucket") == 0 || op->code == MB_UNREACHABLE ||
		op->code == MB_CONFIG || op->code == MB_INTERRUPTED ||
		(is_first && op->code != MB_UNSUPPORTED))
	{
		*err = op->err;
		return mb_error_context(err, "could not read bucket/%s", item->what);
	}
	return MB_OK;
}

enum mb_code
mb_bucket_config_read(struct mb_bucket_config *config, struct mb_s3 *s3, const char *bucket,
					  struct mb_error *err)
{
	struct mb_s3_op *ops = mb_calloc(ITEMS, sizeof(*ops));
	struct mb_s3_lane *lane;
	enum mb_code code;
	size_t i;

	make_items(config);
	/* The first one alone, so that a server that is not there is asked once. */
	describe(&ops[0], bucket, sub_resources[0]);
	if (mb_s3_perform(s3, &ops[0], err))
		mb_error_clear(err); /* take_item judges it */
	code = take_item(&config->items[0], &ops[0], err);
	lane = mb_s3_lane_open(s3);
	for (i = 1; !code && i < ITEMS; i++)
	{
		if (!is_asked(sub_resources[i], mb_s3_dialect(s3) == MB_S3_MINIO))
			continue;
		describe(&ops[i], bucket, sub_resources[i]);
		mb_s3_start(lane, &ops[i]);
	}
	if (!code)
		code = mb_s3_run(lane, 0, err);
	for (i = 1; !code && i < ITEMS; i++)
		if (ops[i].method)
			code = take_item(&config->items[i], &ops[i], err);
	mb_s3_lane_close(lane);
	for (i = 0; i < ITEMS; i++)
		mb_s3_op_release(&ops[i]);
	free(ops);
	if (code)
	{
		mb_bucket_config_release(config);
		return code;
	}
	understand(config);
	return MB_OK;
}

enum mb_code
mb_bucket_config_read_iam(struct mb_bucket_config *config, struct mb_s3 *s3, struct mb_error *err)
{
	struct mb_config_item *item = &config->items[config->count - 1];
	json_t *iam = NULL;
	enum mb_code code = mb_iam_export(s3, &iam, err);

	MB_ASSERT(strcmp(item->what, IAM) == 0);
	if (code)
		return code;
	item->is_there = true;
	mb_iam_text(iam, &item->body);
	json_decref(iam);
	return MB_OK;
}

/* -- into and out of a backup --------------------------------------------------------------------- */

static const struct mb_entry *
find_parent(const struct mb_entry *parents, size_t count, const char *path)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (parents[i].path_len == strlen(path) &&
			memcmp(parents[i].path, path, parents[i].path_len) == 0)
			return &parents[i];
	return NULL;
}

static enum mb_code
keep_item(const struct mb_config_item *item, struct mb_capture *capture,
		  const struct mb_entry *parent, const char *path, bool *changed, struct mb_error *err)
{
	struct mb_runs runs = {0};
	struct mb_entry entry = {.type = MB_ENTRY_DATA,
							 .path = path,
							 .path_len = strlen(path),
							 .mode = 0600,
							 .size = item->body.len,
							 .has_crc32c = true};
	enum mb_code code = mb_capture_small(capture, 0, item->body.data, item->body.len, parent, &runs,
										 &entry.crc32c, err);

	entry.runs = runs.items;
	entry.run_count = runs.count;
	if (!code)
		code = mb_capture_add(capture, &entry, err);
	if (!parent || parent->size != entry.size || parent->crc32c != entry.crc32c)
		*changed = true;
	mb_runs_release(&runs);
	return code;
}

enum mb_code
mb_bucket_config_keep(const struct mb_bucket_config *config, struct mb_capture *capture,
					  const struct mb_entry *parents, size_t parent_count, bool *changed,
					  struct mb_error *err)
{
	size_t kept = 0, i;
	enum mb_code code = MB_OK;

	for (i = 0; !code && i < config->count; i++)
	{
		const struct mb_config_item *item = &config->items[i];
		const struct mb_entry *parent;
		char *path;

		if (item->is_denied && strcmp(item->what, "object-lock") == 0)
			mb_capture_warn(capture,
							"no permission to read whether the bucket has locks, which a restore "
							"then leaves out: s3:GetBucketObjectLockConfiguration");
		else if (item->is_denied && strcmp(item->what, QUOTA) != 0)
			mb_capture_note(capture, "bucket/%s is not in this backup: no permission to read it",
							item->what);
		if (!item->is_there)
			continue;
		path = mb_asprintf(PREFIX "%s", item->what);
		parent = find_parent(parents, parent_count, path);
		kept += parent != NULL;
		code = keep_item(item, capture, parent, path, changed, err);
		free(path);
	}
	if (kept != parent_count)
		*changed = true;
	return code;
}

static enum mb_code
load_item(struct mb_bucket_config *config, const struct mb_repo *repo, const struct mb_entry *entry,
		  struct mb_error *err)
{
	size_t i;

	for (i = 0; i < config->count; i++)
	{
		struct mb_config_item *item = &config->items[i];
		char *path = mb_asprintf(PREFIX "%s", item->what);
		bool is_it =
			entry->path_len == strlen(path) && memcmp(entry->path, path, entry->path_len) == 0;

		free(path);
		if (!is_it)
			continue;
		item->is_there = true;
		return mb_entry_contents(repo, entry,
								 strcmp(item->what, IAM) == 0 ? MB_IAM_MAX_BYTES
															  : MB_BUCKET_CONFIG_MAX_BYTES,
								 &item->body, err);
	}
	return MB_OK;
}

enum mb_code
mb_bucket_config_load(struct mb_bucket_config *config, const struct mb_repo *repo,
					  const struct mb_commit *commit, struct mb_error *err)
{
	struct mb_manifest_reader *reader = mb_manifest_reader_new(repo, &commit->blocks);
	const struct mb_entry *entry = NULL;
	enum mb_code code;

	make_items(config);
	do
	{
		code = mb_manifest_next(reader, &entry, err);
		if (!code && entry && entry->type == MB_ENTRY_DATA)
			code = load_item(config, repo, entry, err);
	} while (!code && entry);
	mb_manifest_reader_free(reader);
	if (code)
		mb_bucket_config_release(config);
	else
		understand(config);
	return code;
}
