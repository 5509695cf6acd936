/* cmd_adopt.c - let a restored cluster continue as the original. */
#include <stdio.h>

#include "cli/cli.h"
#include "postgres/component_postgres.h"

enum mb_code
cmd_adopt(struct mb_cli *cli, struct mb_error *err)
{
	const char *directory = cli->words.count ? cli->words.items[0] : NULL;
	struct mb_component *clock = mb_stack_clock(&cli->stack);

	if (!clock)
	{
		mb_fail(err, MB_CONFIG, "the configuration names no Postgres");
		return mb_error_hint(err, "Only a Postgres cluster is adopted.");
	}
	return mb_postgres_adopt(clock, directory, &cli->answer, err);
}

void
render_adopt(const json_t *answer, FILE *out)
{
	const json_t *adopt = json_object_get(answer, "adopt");

	if (mb_json_bool(adopt, "changed", false))
		fprintf(out,
				"\"%s\" continues as \"%s\" from now on.\nNext: mbackup stream, then mbackup "
				"backup.\n",
				mb_json_str(adopt, "directory", "?"), mb_json_str(adopt, "component", "?"));
	else
		fprintf(out, "\"%s\" needs no adopting.\n", mb_json_str(adopt, "directory", "?"));
}
