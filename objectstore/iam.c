/* iam.c - see iam.h. */
#include "objectstore/iam.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/zip.h"

#define FOLDER "iam-assets/"
#define SUFFIX ".json"
#define SECTION_MAX 40
#define SECTIONS_MAX 32

static const struct
{
	const char *section;
	const char *what; /* one of it, for people */
} sections[] = {
	{"policies", "policy"},
	{"users", "user"},
	{"groups", "group"},
	{"svcaccts", "service account"},
	{"user_mappings", "policies of user"},
	{"group_mappings", "policies of group"},
	{"stsuser_mappings", "policies of session user"},
};
#define SECTION_COUNT (sizeof(sections) / sizeof(sections[0]))

static const char *
what_of(const char *section)
{
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (strcmp(sections[i].section, section) == 0)
			return sections[i].what;
	return section;
}

static const json_t *
find(const json_t *iam, const char *section, const char *name)
{
	return json_object_get(json_object_get(iam, section), name);
}

/* -- one form for what is equal ------------------------------------------------------------------ */

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *) a), json_string_value(*(json_t *const *) b));
}

/* Lists of texts are sets (actions, resources, members), in whatever order the server met them. */
static void
sort_texts(json_t *list)
{
	size_t count = json_array_size(list), i;
	json_t **items;

	if (count < 2)
		return;
	for (i = 0; i < count; i++)
		if (!json_is_string(json_array_get(list, i)))
			return;
	items = mb_calloc(count, sizeof(json_t *));
	for (i = 0; i < count; i++)
		items[i] = json_incref(json_array_get(list, i));
	qsort(items, count, sizeof(json_t *), compare_texts);
	json_array_clear(list);
	for (i = 0; i < count; i++)
		json_array_append_new(list, items[i]);
	free(items);
}

/* As deep as the parser let it be. */
static void
sort_sets(json_t *value)
{
	const char *name;
	json_t *member;
	size_t i;

	json_object_foreach(value, name, member)
	{
		sort_sets(member);
	}
	json_array_foreach(value, i, member)
	{
		sort_sets(member);
	}
	sort_texts(value);
}

/*
 * Times of the last change are those of the import after a restore.  The claims of a service account
 * repeat its policy, in the random order of the moment when it was made; null is what MinIO writes
 * for "none", but not what it reads (a policy that is null is no policy).
 */
static void
leave_out_noise(json_t *section)
{
	const char *name;
	json_t *item, *claims;

	json_object_foreach(section, name, item)
	{
		json_object_del(item, "updatedAt");
		if (json_is_null(json_object_get(item, "sessionPolicy")))
			json_object_del(item, "sessionPolicy");
		if (json_is_null(json_object_get(item, "groups")))
			json_object_del(item, "groups");
		claims = json_object_get(item, "claims");
		json_object_del(claims, "sessionPolicy");
		json_object_del(claims, "sessionPolicy-extracted");
	}
}

/* -- in and out ------------------------------------------------------------------------------------ */

/* "users" of "iam-assets/users.json"; false: no such name. */
static bool
section_of(const char *path, char out[SECTION_MAX + 1])
{
	size_t len;

	if (!mb_starts_with(path, FOLDER))
		return false;
	path += strlen(FOLDER);
	len = strspn(path, "abcdefghijklmnopqrstuvwxyz_");
	if (len == 0 || len > SECTION_MAX || strcmp(path + len, SUFFIX) != 0)
		return false;
	memcpy(out, path, len);
	out[len] = '\0';
	return true;
}

/* What the parser says quotes the text, and with it secrets. */
static enum mb_code
parse(json_t **out, const void *data, size_t len, const char *what, struct mb_error *err)
{
	struct mb_error ignored;

	if (mb_json_parse(out, data, len, what, &ignored))
		return mb_fail(err, MB_CORRUPT, "\"%s\" of the IAM is not valid JSON", what);
	return MB_OK;
}

static enum mb_code
take_member(json_t *iam, const struct mb_zip_member *member, struct mb_error *err)
{
	char section[SECTION_MAX + 1];
	json_t *items = NULL;

	if (!section_of(member->name, section))
		return mb_fail(err, MB_CORRUPT, "the export of the IAM has a member of an unknown name");
	if (parse(&items, member->data.data, member->data.len, section, err))
		return err->code;
	/* Sections that we do not know may mean something by an order or a time. */
	if (what_of(section) != section)
	{
		leave_out_noise(items);
		sort_sets(items);
	}
	json_object_set_new(iam, section, items);
	return MB_OK;
}

static enum mb_code
check_sections(const json_t *iam, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (!json_object_get(iam, sections[i].section))
		{
			mb_fail(err, MB_CORRUPT, "the export of the IAM lacks \"%s\"", sections[i].section);
			return mb_error_hint(err, "The server's log says why.");
		}
	return MB_OK;
}

enum mb_code
mb_iam_from_zip(json_t **iam, const void *data, size_t len, struct mb_error *err)
{
	static const struct mb_zip_limits limits = {"export of the IAM", SECTIONS_MAX,
												MB_IAM_MAX_BYTES};
	json_t *made = json_object();
	struct mb_zip zip = {0};
	enum mb_code code = mb_zip_read(&zip, data, len, &limits, err);
	size_t i;

	for (i = 0; !code && i < zip.count; i++)
		code = take_member(made, &zip.members[i], err);
	if (!code)
		code = check_sections(made, err);
	mb_zip_release(&zip);
	if (code)
		json_decref(made);
	else
		*iam = made;
	return code;
}

void
mb_iam_text(const json_t *iam, struct mb_buf *out)
{
	char *text = mb_json_text(iam);
	size_t len = strlen(text);

	mb_buf_put(out, text, len);
	mb_wipe(text, len);
	free(text);
}

enum mb_code
mb_iam_to_zip(const json_t *iam, struct mb_buf *out, struct mb_error *err)
{
	json_t *object = (json_t *) (uintptr_t) iam; /* jansson's iterator is not const */
	struct mb_zip zip = {0};
	const char *section;
	json_t *items;
	enum mb_code code;

	json_object_foreach(object, section, items)
	{
		char *name = mb_asprintf(FOLDER "%s" SUFFIX, section);
		struct mb_buf text = {0};

		mb_iam_text(items, &text);
		mb_zip_add(&zip, name, text.data, text.len);
		mb_buf_wipe(&text);
		free(name);
	}
	code = mb_zip_write(&zip, out, err);
	mb_zip_release(&zip);
	return code;
}

enum mb_code
mb_iam_parse(json_t **iam, const void *data, size_t len, struct mb_error *err)
{
	json_t *made = NULL, *items;
	const char *section;
	enum mb_code code = parse(&made, data, len, "document", err);

	json_object_foreach(made, section, items)
	{
		if (!json_is_object(items))
			code = mb_fail(err, MB_CORRUPT, "\"%s\" of the IAM is no object", section);
	}
	if (code)
		json_decref(made);
	else
		*iam = made;
	return code;
}

/* -- what may be shown ------------------------------------------------------------------------------- */

bool
mb_iam_is_disabled(const json_t *iam, const char *section, const char *name)
{
	const char *status = mb_json_str(find(iam, section, name), "status", "");

	return strcmp(status, "disabled") == 0 || strcmp(status, "off") == 0;
}

/* One item of a list, with its status where it has one, and its policies when `mappings` tells. */
static json_t *
show_item(const json_t *iam, const char *section, const char *name, const char *mappings)
{
	json_t *shown = json_object();
	const char *policy = mappings ? mb_json_str(find(iam, mappings, name), "policy", NULL) : NULL;

	mb_json_set_str(shown, "name", name);
	if (mb_json_str(find(iam, section, name), "status", NULL))
		mb_json_set_str(shown, "status",
						mb_iam_is_disabled(iam, section, name) ? "disabled" : "enabled");
	if (policy)
		mb_json_set_str(shown, "policy", policy);
	return shown;
}

static json_t *
show_account(const json_t *iam, const char *key, const json_t *account)
{
	json_t *shown = show_item(iam, "svcaccts", key, NULL);
	const char *expires = mb_json_str(account, "expiration", "");

	mb_json_set_str(shown, "access_key", key);
	mb_json_set_str(shown, "name", mb_json_str(account, "name", ""));
	mb_json_set_str(shown, "parent", mb_json_str(account, "parent", ""));
	/* The beginning of time is MinIO's "never". */
	if (expires[0] && !mb_starts_with(expires, "1970-01-01T00:00:00"))
		mb_json_set_str(shown, "expires", expires);
	return shown;
}

json_t *
mb_iam_summary(const json_t *iam)
{
	json_t *policies = json_array(), *users = json_array(), *groups = json_array();
	json_t *accounts = json_array(), *sessions = json_array();
	const char *name;
	json_t *item, *shown;

	json_object_foreach(json_object_get(iam, "policies"), name, item)
		json_array_append_new(policies, json_string(name));
	json_object_foreach(json_object_get(iam, "users"), name, item)
		json_array_append_new(users, show_item(iam, "users", name, "user_mappings"));
	json_object_foreach(json_object_get(iam, "groups"), name, item)
	{
		shown = show_item(iam, "groups", name, "group_mappings");
		json_object_set(shown, "members", json_object_get(item, "members"));
		json_array_append_new(groups, shown);
	}
	json_object_foreach(json_object_get(iam, "svcaccts"), name, item)
		json_array_append_new(accounts, show_account(iam, name, item));
	json_object_foreach(json_object_get(iam, "stsuser_mappings"), name, item)
		json_array_append_new(sessions,
							  show_item(iam, "stsuser_mappings", name, "stsuser_mappings"));
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "policies", policies, "users", users, "groups",
					 groups, "service_accounts", accounts, "session_policies", sessions);
}

/* -- differences ---------------------------------------------------------------------------------------- */

/* The names of the members that are not the same in both. */
static json_t *
fields_between(const json_t *was, const json_t *is)
{
	json_t *fields = json_array(), *value;
	const char *name;

	json_object_foreach((json_t *) (uintptr_t) was, name, value)
	{
		if (!json_equal(value, json_object_get(is, name)))
			json_array_append_new(fields, json_string(name));
	}
	json_object_foreach((json_t *) (uintptr_t) is, name, value)
	{
		if (!json_object_get(was, name))
			json_array_append_new(fields, json_string(name));
	}
	return fields;
}

static void
add_difference(json_t *list, const char *kind, const char *section, const char *name,
			   json_t *fields)
{
	json_t *difference = json_object();

	mb_json_set_str(difference, "kind", kind);
	mb_json_set_str(difference, "what", what_of(section));
	mb_json_set_str(difference, "name", name);
	if (fields)
		json_object_set_new(difference, "fields", fields);
	json_array_append_new(list, difference);
}

static void
compare_section(json_t *list, const char *section, json_t *was, json_t *is)
{
	const char *name;
	json_t *item, *other;

	json_object_foreach(was, name, item)
	{
		other = json_object_get(is, name);
		if (!other)
			add_difference(list, "missing", section, name, NULL);
		else if (!json_equal(item, other))
			add_difference(list, "changed", section, name, fields_between(item, other));
	}
	json_object_foreach(is, name, item)
	{
		if (!json_object_get(was, name))
			add_difference(list, "extra", section, name, NULL);
	}
}

json_t *
mb_iam_differences(const json_t *was, const json_t *is)
{
	json_t *list = json_array(), *items;
	const char *section;

	json_object_foreach((json_t *) (uintptr_t) was, section, items)
		compare_section(list, section, items, json_object_get(is, section));
	json_object_foreach((json_t *) (uintptr_t) is, section, items)
	{
		if (!json_object_get(was, section))
			compare_section(list, section, NULL, items);
	}
	return list;
}
