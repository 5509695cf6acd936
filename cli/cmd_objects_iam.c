/* cmd_objects_iam.c - mbackup objects iam: a MinIO's users, groups and policies. */
#include <string.h>

#include "cli/objects.h"
#include "objectstore/bucket_iam.h"

/* As a restore over what is there. */
static enum mb_code
confirm(const struct mb_cli *cli, struct mb_error *err)
{
	return cli_confirm(cli,
					   "This replaces users, groups, policies and service accounts of the same "
					   "names on the server.",
					   "an import of users, groups and policies",
					   "Look at it without --apply, then add --yes.", err);
}

/* What of the backup is not on the server; that the server has more is no harm. */
static size_t
count_lacking(const json_t *differences)
{
	size_t lacking = 0, i;

	for (i = 0; i < json_array_size(differences); i++)
		lacking += strcmp(mb_json_str(json_array_get(differences, i), "kind", ""), "extra") != 0;
	return lacking;
}

static enum mb_code
compare(struct mb_component *component, const json_t *stored, json_t *answer, size_t *lacking,
		struct mb_error *err)
{
	json_t *now = NULL, *differences;
	enum mb_code code = mb_bucket_iam_now(component, &now, err);

	if (code)
		return code;
	differences = mb_iam_differences(stored, now);
	*lacking = count_lacking(differences);
	json_object_set_new(answer, "differences", differences);
	json_decref(now);
	return MB_OK;
}

static enum mb_code
apply(struct mb_component *component, const json_t *stored, json_t *answer, struct mb_error *err)
{
	json_t *left_out = json_array();
	size_t lacking = 0;
	enum mb_code code;

	json_object_set_new(answer, "left_out", left_out);
	code = mb_bucket_iam_import(component, stored, left_out, err);
	if (code)
		return code;
	mb_json_set_bool(answer, "applied", true);
	code = compare(component, stored, answer, &lacking, err);
	if (!code && lacking > 0)
	{
		mb_fail(err, MB_PARTIAL,
				"%zu of the identities in the backup are not on the server as they were", lacking);
		mb_error_hint(err, "The differences name them; what was left out says why.");
		code = err->code;
	}
	return code;
}

/* The server is asked last: what the backup holds is shown also when nobody answers. */
enum mb_code
objects_iam(struct mb_cli *cli, struct mb_error *err)
{
	bool applies =
		mb_config_flag(&cli->config, "apply") && !mb_config_flag(&cli->config, "dry-run");
	struct objects_view view = {0};
	json_t *stored = NULL, *answer;
	size_t lacking;
	enum mb_code code = applies ? confirm(cli, err) : MB_OK;

	if (!code)
		code = objects_open(cli, &view, err);
	if (!code)
		code = mb_bucket_iam_stored(cli->env.repo, &view.look.commit, &stored, err);
	if (!code)
	{
		answer = mb_iam_summary(stored);
		mb_json_set_str(answer, "component", view.component->name);
		mb_json_set_str(answer, "backup", view.look.commit.id);
		mb_json_set_time(answer, "time", view.look.time_us);
		mb_json_set_bool(answer, "applied", false);
		cli->answer = json_pack("{s:o}", "iam", answer);
		code = applies ? apply(view.component, stored, answer, err)
					   : compare(view.component, stored, answer, &lacking, err);
	}
	json_decref(stored);
	objects_close(&view);
	return code;
}

/* -- as text ----------------------------------------------------------------------------------------- */

static void
print_member(const json_t *item, const char *member, const char *label, FILE *out)
{
	const char *text = mb_json_str(item, member, "");

	if (!text[0])
		return;
	fprintf(out, ", %s", label);
	objects_print_name(text, out);
}

static void
print_items(const json_t *iam, const char *list_name, const char *what, FILE *out)
{
	const json_t *list = json_object_get(iam, list_name);
	size_t i, j;

	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *item = json_array_get(list, i);
		const json_t *members = json_object_get(item, "members");
		const char *key = mb_json_str(item, "access_key", NULL);

		fprintf(out, "%-16s ", what);
		objects_print_name(key ? key : mb_json_str(item, "name", "?"), out);
		print_member(item, "status", "", out);
		if (key)
			print_member(item, "name", "named ", out);
		print_member(item, "parent", "of ", out);
		print_member(item, "expires", "until ", out);
		print_member(item, "policy", "policy ", out);
		for (j = 0; j < json_array_size(members); j++)
		{
			fputs(j ? ", " : ": ", out);
			objects_print_name(json_string_value(json_array_get(members, j)), out);
		}
		fputc('\n', out);
	}
}

static void
print_difference(const json_t *item, FILE *out)
{
	const json_t *fields = json_object_get(item, "fields");
	size_t i;

	fprintf(out, "  %-8s %s \"", mb_json_str(item, "kind", "left out"),
			mb_json_str(item, "what", "?"));
	objects_print_name(mb_json_str(item, "name", "?"), out);
	fputc('"', out);
	for (i = 0; i < json_array_size(fields); i++)
	{
		fputs(i ? ", " : ": ", out);
		objects_print_name(json_string_value(json_array_get(fields, i)), out);
	}
	print_member(item, "why", "", out);
	fputc('\n', out);
}

void
render_iam(const json_t *iam, FILE *out)
{
	const json_t *policies = json_object_get(iam, "policies");
	const json_t *differences = json_object_get(iam, "differences");
	const json_t *left_out = json_object_get(iam, "left_out");
	size_t i;

	for (i = 0; i < json_array_size(policies); i++)
	{
		fprintf(out, "%-16s ", "policy");
		objects_print_name(json_string_value(json_array_get(policies, i)), out);
		fputc('\n', out);
	}
	print_items(iam, "users", "user", out);
	print_items(iam, "groups", "group", out);
	print_items(iam, "service_accounts", "service account", out);
	print_items(iam, "session_policies", "session user", out);
	for (i = 0; i < json_array_size(left_out); i++)
		print_difference(json_array_get(left_out, i), out);
	if (!differences)
		return;
	fprintf(out, "%s backup %s: %zu differences%s\n",
			mb_json_bool(iam, "applied", false) ? "imported, and compared with" : "the server and",
			mb_json_str(iam, "backup", "?"), json_array_size(differences),
			json_array_size(differences) ? "" : ", the server has just this");
	for (i = 0; i < json_array_size(differences); i++)
		print_difference(json_array_get(differences, i), out);
}
