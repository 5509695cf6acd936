/* check_accept.c - see check.h: accept-warnings, what somebody has seen and lives with. */
#include <string.h>

#include "cli/check.h"
#include "core/base/names.h"
#include "core/engine/conditions.h"

/* "repository.same-disk", or "objects.versioning:uploads": of this component only. */
static enum mb_code
take_word(const char *word, size_t len, struct mb_names *accepted, struct mb_error *err)
{
	struct mb_nearest nearest = {0};
	char id[128];
	size_t i;

	snprintf(id, sizeof(id), "%.*s", (int) (strcspn(word, ":") < len ? strcspn(word, ":") : len),
			 word);
	if (mb_condition_find(id))
	{
		mb_names_add(accepted, word, len);
		return MB_OK;
	}
	mb_fail(err, MB_CONFIG, "accept-warnings: nothing that check looks at is called \"%s\"", id);
	nearest.word = id;
	for (i = 0; i < mb_condition_count; i++)
		mb_nearest_try(&nearest, mb_conditions[i].id);
	if (nearest.best)
		return mb_error_hint(err, "Did you mean %s?", nearest.best);
	return mb_error_hint(err, "\"mbackup check --list\" has all names.");
}

enum mb_code
check_read_accepted(const struct mb_cli *cli, struct mb_names *accepted, struct mb_error *err)
{
	const char *text = mb_config_get(&cli->config, SCOPE_GLOBAL, "accept-warnings");
	enum mb_code code = MB_OK;

	while (!code && text && *text)
	{
		size_t len = strcspn(text, ", ");

		if (len > 0)
			code = take_word(text, len, accepted, err);
		text += len + (text[len] != '\0');
	}
	return code;
}
