/* bucket_iam.c - see bucket_iam.h. */
#include "objectstore/bucket_iam.h"

#include <stdlib.h>
#include <string.h>

#include "objectstore/bucket_config.h"
#include "objectstore/component_bucket.h"

#define ADMIN "minio/admin/v3/"

/* -- the admin API ------------------------------------------------------------------------------- */

/* It explains itself in JSON, where the rest of the server does in XML. */
static enum mb_code
admin_failed(const struct mb_s3_op *op, const char *what, const char *permission,
			 struct mb_error *err)
{
	const struct mb_buf *body = &op->http.response.body;
	json_t *answer = NULL;
	struct mb_error ignored;
	const char *why;

	*err = op->err;
	if (op->http.response.status &&
		!mb_json_parse(&answer, (const char *) body->data, body->len, "answer", &ignored))
	{
		why = mb_json_str(answer, "Code", "");
		mb_fail(err, op->code, "%s: %.100s: %.500s", what, why, mb_json_str(answer, "Message", ""));
		if (strcmp(why, "XMinioInvalidIAMCredentials") == 0)
		{
			err->code = MB_CONFLICT;
			mb_error_hint(err, "A user in the backup has the name of the server's root key: give "
							   "the server another one (MINIO_ROOT_USER).");
		}
		else if (op->code == MB_DENIED)
			mb_error_hint(err, "Allow %s to the access key, in a policy without a resource.",
						  permission);
		json_decref(answer);
		return err->code;
	}
	return mb_error_context(err, "%s", what);
}

/*
 * Answers of the admin API do not say whose they are, so the list of buckets is asked for; that it
 * is denied tells as much.  Others take the path for a bucket named "minio".
 */
static enum mb_code
check_server(struct mb_s3 *s3, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET"};
	enum mb_code code = MB_OK;

	if (mb_s3_dialect(s3) == MB_S3_UNKNOWN)
		code = mb_s3_perform(s3, &op, err);
	if (code == MB_DENIED)
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	mb_s3_op_release(&op);
	if (code || mb_s3_dialect(s3) == MB_S3_MINIO)
		return code;
	mb_fail(err, MB_UNSUPPORTED,
			"only MinIO has an IAM that can be exported: this server is another one");
	return mb_error_hint(err, "Write iam = no in the section of the bucket.");
}

enum mb_code
mb_iam_export(struct mb_s3 *s3, json_t **iam, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "GET", .key = ADMIN "export-iam"};
	enum mb_code code = check_server(s3, err);

	if (code)
		return code;
	if (mb_s3_perform(s3, &op, err))
		code = admin_failed(&op, "could not read the IAM", "admin:ExportIAM", err);
	else
		code = mb_iam_from_zip(iam, op.http.response.body.data, op.http.response.body.len, err);
	mb_buf_wipe(&op.http.response.body);
	mb_s3_op_release(&op);
	return code;
}

static enum mb_code
import_part(struct mb_s3 *s3, const json_t *part, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT", .key = ADMIN "import-iam"};
	struct mb_buf zip = {0};
	enum mb_code code = mb_iam_to_zip(part, &zip, err);

	op.body = zip.data;
	op.body_len = zip.len;
	if (!code && mb_s3_perform(s3, &op, err))
		code = admin_failed(&op, "could not import the IAM", "admin:ImportIAM", err);
	mb_s3_op_release(&op);
	mb_buf_wipe(&zip);
	return code;
}

/* A group that the import could not make is no failure here: the comparison tells it. */
static enum mb_code
disable_group(struct mb_s3 *s3, const char *group, struct mb_error *err)
{
	struct mb_s3_op op = {.method = "PUT", .key = ADMIN "set-group-status"};
	enum mb_code code;

	mb_s3_op_query(&op, "group", group);
	mb_s3_op_query(&op, "status", "disabled");
	code = mb_s3_perform(s3, &op, err);
	if (code == MB_NOT_FOUND)
	{
		mb_error_clear(err);
		code = MB_OK;
	}
	if (code)
		code = admin_failed(&op, "could not disable a group", "admin:EnableGroup", err);
	mb_s3_op_release(&op);
	return code;
}

/* -- an import in parts -------------------------------------------------------------------------- */

/* Take a name out and say so; what is NULL: in silence.  The name may be that of the member itself. */
static void
leave_out(json_t *iam, json_t *left_out, const char *section, const char *name, const char *what,
		  const char *why)
{
	json_t *items = json_object_get(iam, section), *said;

	if (!json_object_get(items, name))
		return;
	if (what)
	{
		said = json_object();
		mb_json_set_str(said, "what", what);
		mb_json_set_str(said, "name", name);
		mb_json_set_str(said, "why", why);
		json_array_append_new(left_out, said);
	}
	json_object_del(items, name);
}

/* An import makes every service account anew, and enabled. */
static void
leave_out_disabled_accounts(json_t *iam, json_t *left_out)
{
	json_t *accounts = json_object_get(iam, "svcaccts"), *account;
	const char *key;
	void *next;

	json_object_foreach_safe(accounts, next, key, account)
	{
		if (mb_iam_is_disabled(iam, "svcaccts", key))
			leave_out(iam, left_out, "svcaccts", key, "service account",
					  "it is disabled, and an import would enable it");
	}
}

/* The key that signs must not change under the restore; as root key it could not be imported. */
static void
leave_out_own_key(json_t *iam, json_t *left_out, const char *key)
{
	static const char why[] = "mbackup signs with this key";

	leave_out(iam, left_out, "users", key, "user", why);
	leave_out(iam, left_out, "user_mappings", key, NULL, why);
	leave_out(iam, left_out, "svcaccts", key, "service account", why);
}

/* Take the policies of disabled groups out of iam. */
static json_t *
split_disabled_groups(json_t *iam)
{
	json_t *mappings = json_object_get(iam, "group_mappings"), *later = json_object(), *policy;
	const char *group;
	void *next;

	json_object_foreach_safe(mappings, next, group, policy)
	{
		if (mb_iam_is_disabled(iam, "groups", group))
		{
			json_object_set(later, group, policy);
			json_object_del(mappings, group);
		}
	}
	return later;
}

/*
 * An import makes groups enabled: the disabled ones get their policies after they were disabled
 * again.  import-iam-v2, which names what failed, was rejected: it says neither why nor more than
 * an export afterwards, and older servers do not have it.
 */
static enum mb_code
import_all(struct mb_s3 *s3, json_t *iam, struct mb_error *err)
{
	json_t *later = split_disabled_groups(iam);
	json_t *part = json_pack("{s:o}", "group_mappings", later);
	json_t *group;
	const char *name;
	enum mb_code code = import_part(s3, iam, err);

	json_object_foreach(json_object_get(iam, "groups"), name, group)
	{
		if (!code && mb_iam_is_disabled(iam, "groups", name))
			code = disable_group(s3, name, err);
	}
	if (!code && json_object_size(later) > 0)
		code = import_part(s3, part, err);
	json_decref(part);
	return code;
}

/* -- components and backups ------------------------------------------------------------------------- */

enum mb_code
mb_bucket_iam_allowed(const struct mb_bucket *bucket, const struct mb_repo *repo,
					  struct mb_error *err)
{
	if (!bucket->has_iam || repo->suite != MB_SUITE_NONE)
		return MB_OK;
	mb_fail(err, MB_CONFIG,
			"iam = yes needs an encrypted repository: the identities come with their secrets");
	return mb_error_hint(err,
						 "Write iam = no in [objects:%s], or make a repository with encryption.",
						 bucket->base.name);
}

static enum mb_code
connect_to(struct mb_component *component, struct mb_s3 **s3, struct mb_error *err)
{
	struct mb_bucket *bucket = (struct mb_bucket *) component;
	enum mb_code code;

	if (component->ops != &mb_bucket_component_ops)
		return mb_fail(err, MB_UNSUPPORTED, "\"%s\" is a directory, which has no IAM",
					   component->name);
	code = mb_bucket_connect(bucket, err);
	*s3 = bucket->s3;
	return code;
}

enum mb_code
mb_bucket_iam_now(struct mb_component *component, json_t **iam, struct mb_error *err)
{
	struct mb_s3 *s3 = NULL;
	enum mb_code code = connect_to(component, &s3, err);

	return code ? code : mb_iam_export(s3, iam, err);
}

enum mb_code
mb_bucket_iam_stored(const struct mb_repo *repo, const struct mb_commit *commit, json_t **iam,
					 struct mb_error *err)
{
	struct mb_bucket_config config = {0};
	enum mb_code code = mb_bucket_config_load(&config, repo, commit, err);
	const struct mb_buf *body = code ? NULL : mb_bucket_config_get(&config, "iam");

	if (body)
		code = mb_iam_parse(iam, body->data, body->len, err);
	else if (!code)
	{
		mb_fail(err, MB_NOT_FOUND, "backup %s holds no IAM", commit->id);
		mb_error_hint(err, "Write iam = yes in [objects:%s]: the next backup has it.",
					  commit->component);
	}
	mb_bucket_config_release(&config);
	return code;
}

enum mb_code
mb_bucket_iam_import(struct mb_component *component, const json_t *iam, json_t *left_out,
					 struct mb_error *err)
{
	json_t *copy = json_deep_copy(iam);
	struct mb_s3 *s3 = NULL;
	char *key = NULL;
	enum mb_code code = connect_to(component, &s3, err);

	if (!code)
		code = check_server(s3, err);
	if (!code)
		code = mb_s3_access_key(s3, &key, err);
	if (!code)
	{
		leave_out_disabled_accounts(copy, left_out);
		leave_out_own_key(copy, left_out, key);
		code = import_all(s3, copy, err);
	}
	free(key);
	json_decref(copy);
	return code;
}
