/* hooks.c - see hooks.h. */
#include "core/engine/hooks.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/process.h"

#define MAX_VARIABLES 8

static const char *const names[MB_HOOK_COUNT] = {"before-backup", "after-backup",  "before-restore",
												 "after-restore", "stop-services", "start-services",
												 "health-check",  "on-failure",    "on-success"};

const char *
mb_hook_name(enum mb_hook hook)
{
	return names[hook];
}

/* Only a plain first word can be looked for: "cd /srv && ..." is the shell's business. */
enum mb_code
mb_hook_check(const struct mb_hooks *hooks, enum mb_hook hook, struct mb_error *err)
{
	static const char *const builtins[] = {".",     ":",    "[",    "case",   "cd",     "command",
										   "echo",  "eval", "exec", "exit",   "export", "false",
										   "for",   "if",   "kill", "printf", "read",   "set",
										   "test",  "trap", "true", "ulimit", "umask",  "unset",
										   "until", "wait", "while"};
	const char *command = hooks->commands[hook];
	enum mb_code code = MB_OK;
	char *word;
	size_t i;

	if (!command)
		return MB_OK;
	command += strspn(command, " \t");
	word = mb_strndup(command, strcspn(command, " \t;&|<>()"));
	for (i = 0; i < sizeof(builtins) / sizeof(*builtins); i++)
		if (strcmp(word, builtins[i]) == 0)
			word[0] = '\0';
	if (word[0] && !strpbrk(word, "$`'\"\\={~*?") && !mb_program_exists(word))
	{
		code = mb_fail(err, MB_CONFIG, "hook %s: there is no program \"%s\"", names[hook], word);
		mb_error_hint(err, "Correct it in [hooks], or add --no-hooks.");
	}
	free(word);
	return code;
}

static char *
join(const json_t *list)
{
	struct mb_buf text = {0};
	char *made;
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		mb_buf_printf(&text, "%s%s", i ? " " : "", json_string_value(json_array_get(list, i)));
	made = mb_strdup(mb_buf_cstr(&text));
	mb_buf_release(&text);
	return made;
}

static void
make_variables(char *out[MAX_VARIABLES + 1], enum mb_hook hook, const json_t *event)
{
	char *components = join(json_object_get(event, "components"));
	size_t n = 0;

	out[n++] = mb_asprintf("MBACKUP_EVENT=%s", names[hook]);
	out[n++] = mb_asprintf("MBACKUP_ID=%s", mb_json_str(event, "id", ""));
	out[n++] = mb_asprintf("MBACKUP_COMPONENTS=%s", components);
	out[n++] = mb_asprintf("MBACKUP_TARGET=%s", mb_json_str(event, "target", ""));
	out[n++] = mb_asprintf("MBACKUP_STATUS=%s", mb_json_str(event, "status", ""));
	out[n++] = mb_asprintf("MBACKUP_ERROR=%s", mb_json_str(event, "error", ""));
	out[n] = NULL;
	free(components);
}

enum mb_code
mb_hook_run(const struct mb_hooks *hooks, enum mb_hook hook, const json_t *event,
			const struct mb_env *env, const char *output_path, struct mb_error *err)
{
	const char *argv[] = {"/bin/sh", "-c", hooks->commands[hook], NULL};
	char *variables[MAX_VARIABLES + 1], *input, *tail = NULL;
	struct mb_process process = {.argv = argv,
								 .environment = (const char *const *) variables,
								 .output_path = output_path,
								 .timeout_ms = hooks->timeout_ms,
								 .cancel = env->cancel};
	int status = 0;
	enum mb_code code;
	size_t i;

	if (!hooks->commands[hook])
		return MB_OK;
	make_variables(variables, hook, event);
	input = mb_json_text(event);
	process.input = input;
	mb_log_info(env->log, "hook %s", names[hook]);
	code = mb_process_run(&process, &status, &tail, err);
	if (tail && *tail)
		mb_log_info(env->log, "hook %s said: %.800s", names[hook], tail);
	if (!code && status != 0)
	{
		code = mb_fail(err, MB_NEGATIVE, "hook %s ended with exit status %d", names[hook], status);
		if (tail && *tail)
			mb_error_detail(err, "%.900s", tail);
	}
	else if (code)
		mb_error_context(err, "hook %s", names[hook]);
	for (i = 0; variables[i]; i++)
		free(variables[i]);
	free(input);
	free(tail);
	return code;
}
