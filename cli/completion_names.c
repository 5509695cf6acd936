/* completion_names.c - what only the configuration and the repository know: components, copies, backups, marks. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/completion_private.h"
#include "core/base/time.h"

#define PATIENCE_MS 3000 /* for the repository; a finger waits no longer */
#define STEP_US 5000

/* "~/": the shell that hands us the word has not looked into it. */
static char *
config_path(const struct completion_line *line)
{
	const char *home = getenv("HOME");

	if (mb_starts_with(line->config, "~/") && home)
		return mb_asprintf("%s%s", home, line->config + 1);
	return mb_strdup(line->config);
}

static void
read_config(const struct completion_line *line, struct mb_config *config)
{
	struct mb_error err;

	if (line->config)
	{
		char *path = config_path(line);

		mb_values_add(&config->command_line, mb_option_find(SCOPE_COMMAND, "config"), path,
					  "option --config");
		free(path);
	}
	mb_error_clear(&err);
	/* What could be read before an error is offered all the same. */
	if (mb_config_read(config, MB_CONFIG_MAY_BE_MISSING | MB_CONFIG_NAMES_ONLY, &err))
		return;
}

/* kind: only of this kind, or NULL. */
void
completion_offer_components(struct completion_line *line, const char *kind)
{
	struct mb_config config = {0};
	size_t i;

	read_config(line, &config);
	for (i = 0; i < config.component_count; i++)
		if (strcmp(config.components[i].kind, "reference") != 0 &&
			(!kind || strcmp(config.components[i].kind, kind) == 0))
			completion_offer(line, config.components[i].name, config.components[i].kind);
	mb_config_release(&config);
}

void
completion_offer_copies(struct completion_line *line)
{
	struct mb_config config = {0};
	size_t i;

	read_config(line, &config);
	for (i = 0; i < config.copy_count; i++)
		completion_offer(line, config.copies[i].name, "copy of the repository");
	mb_config_release(&config);
}

/* "mbackup list", unless it takes too long. */
static const json_t *
ask_list(struct completion_line *line)
{
	char program[4096];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *argv[] = {program, "list", "--json", "--quiet", NULL, NULL, NULL};
	int64_t until = mb_monotonic_ms() + PATIENCE_MS;
	struct child child = {0};
	struct mb_error err;
	char *path = NULL;

	if (line->asked || len <= 0)
		return line->list;
	line->asked = true;
	program[len] = '\0';
	if (line->config)
	{
		path = config_path(line);
		argv[4] = "--config";
		argv[5] = path;
	}
	mb_error_clear(&err);
	if (!child_start(&child, argv, -1, &err))
	{
		while (!child_pump(&child) && mb_monotonic_ms() < until)
			usleep(STEP_US);
		if (child.ended && child_exit_status(&child) == 0)
			line->list = child_answer(&child);
		child_release(&child);
	}
	free(path);
	return line->list;
}

void
completion_offer_backups(struct completion_line *line)
{
	const json_t *backups = json_object_get(ask_list(line), "backups");
	size_t i;

	completion_offer(line, "latest", "the newest backup");
	for (i = 0; i < json_array_size(backups); i++)
	{
		const json_t *backup = json_array_get(backups, i);
		char *meaning = mb_asprintf("%s, %s", mb_json_str(backup, "type", "backup"),
									mb_json_str(backup, "finished", ""));

		completion_offer(line, mb_json_str(backup, "id", ""), meaning);
		free(meaning);
	}
}

void
completion_offer_marks(struct completion_line *line)
{
	const json_t *marks = json_object_get(ask_list(line), "marks");
	size_t i;

	for (i = 0; i < json_array_size(marks); i++)
	{
		char *meaning = mb_asprintf("mark, %s", mb_json_str(json_array_get(marks, i), "time", ""));

		completion_offer(line, mb_json_str(json_array_get(marks, i), "name", ""), meaning);
		free(meaning);
	}
}
