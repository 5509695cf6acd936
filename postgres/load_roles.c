/* load_roles.c - roles out of a dump of pg_dumpall, as far as the server lacks them; see load.h. */
#include <stdlib.h>
#include <string.h>

#include "postgres/load_private.h"

/* The name as it is written there (quoted where it must be), or NULL. */
static char *
name_behind(const char *line, const char *words)
{
	const char *p, *end;

	if (!mb_starts_with(line, words))
		return NULL;
	p = line + strlen(words);
	end = p;
	if (*end == '"')
		for (end++; *end && !(end[0] == '"' && end[1] != '"'); end++)
			end += *end == '"';
	else
		end += strcspn(end, " ;");
	if (*end == '"')
		end++;
	return mb_strndup(p, (size_t) (end - p));
}

static enum mb_code
role_exists(struct mb_pg_load *load, const char *quoted, bool *exists, struct mb_error *err)
{
	char *value;
	enum mb_code code = mb_pg_value(load->conn, &value,
									"SELECT count(*) FROM pg_roles WHERE quote_ident(rolname) = $1",
									1, (const char *const[]){quoted}, err);

	if (code)
		return code;
	*exists = strcmp(value, "0") != 0;
	free(value);
	return MB_OK;
}

/* Is this statement about roles that we make, or about memberships? */
static enum mb_code
is_for_us(struct mb_pg_load *load, const char *line, json_t *made, bool *yes, struct mb_error *err)
{
	char *name = name_behind(line, "CREATE ROLE ");
	enum mb_code code = MB_OK;
	bool exists;

	*yes = mb_starts_with(line, "GRANT ");
	if (name)
	{
		code = role_exists(load, name, &exists, err);
		*yes = !code && !exists;
		if (*yes)
			json_object_set_new(made, name, json_true());
		free(name);
		return code;
	}
	name = name_behind(line, "ALTER ROLE ");
	if (name)
		*yes = json_object_get(made, name) != NULL;
	free(name);
	return MB_OK;
}

enum mb_code
mb_pg_load_globals(struct mb_pg_load *load, const char *text, json_t *warnings,
				   struct mb_error *err)
{
	json_t *made = json_object();
	enum mb_code code = MB_OK;

	while (!code && *text)
	{
		size_t len = strcspn(text, "\n");
		char *line = mb_strndup(text, len);
		struct mb_error why;
		bool yes = false;

		mb_error_clear(&why);
		if (mb_ends_with(line, ";"))
			code = is_for_us(load, line, made, &yes, err);
		/* A membership may be there, or a right that we lack: what it is needed for will say so. */
		if (!code && yes && mb_pg_exec(load->conn, line, &why))
		{
			char *warning = mb_asprintf("roles: %s", why.message);

			json_array_append_new(warnings, json_string(warning));
			free(warning);
		}
		if (line[0])
			mb_wipe(line, len);
		free(line);
		text += len;
		text += *text == '\n';
	}
	json_decref(made);
	return code;
}
