/* cmd_backup.c - backup, stream, mark, check, list, info, version. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/fs.h"
#include "core/engine/restore_journal.h"
#include "core/engine/stack_restore.h"

/* The stack narrowed by --component NAME... */
enum mb_code
cli_select_components(struct mb_cli *cli, struct mb_stack *chosen, struct mb_error *err)
{
	char *names[64];
	size_t count = 0;
	const char *name;

	while (count < 64 && (name = mb_values_get(&cli->config.command_line, SCOPE_COMMAND,
											   "component", count)) != NULL)
		names[count++] = (char *) (uintptr_t) name;
	return mb_stack_select(chosen, &cli->stack, names, count, err);
}

static enum mb_code
read_labels(const struct mb_cli *cli, json_t *labels, struct mb_error *err)
{
	const char *label;
	size_t i;

	for (i = 0; (label = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "label", i)); i++)
	{
		const char *equals = strchr(label, '=');
		char *key;

		if (!equals || equals == label)
		{
			mb_fail(err, MB_CONFIG, "label \"%s\" has no key and value", label);
			return mb_error_hint(err, "Write --label release=1.7.");
		}
		key = mb_strndup(label, (size_t) (equals - label));
		mb_json_set_str(labels, key, equals + 1);
		free(key);
	}
	return MB_OK;
}

/* -- hooks ------------------------------------------------------------------------------------ */

static json_t *
backup_event(const struct mb_stack *stack, const json_t *set, const char *status,
			 const struct mb_error *err)
{
	json_t *event = json_object(), *names = json_array();
	size_t i;

	for (i = 0; i < stack->count; i++)
		json_array_append_new(names, json_string(stack->components[i]->name));
	json_object_set_new(event, "components", names);
	mb_json_set_str(event, "id", mb_json_str(set, "id", ""));
	mb_json_set_str(event, "status", status);
	if (err && err->code)
		mb_json_set_str(event, "error", err->message);
	if (set)
		json_object_set(event, "backup", (json_t *) (uintptr_t) set);
	return event;
}

static enum mb_code
run_hook(struct mb_cli *cli, const struct mb_hooks *hooks, enum mb_hook hook, json_t *event,
		 struct mb_error *err)
{
	char *output = mb_path_join(cli->env.spool, "hooks.log");
	enum mb_code code = mb_hook_run(hooks, hook, event, &cli->env, output, err);

	free(output);
	json_decref(event);
	return code;
}

/* A stack that is half restored is backed up as it is, but not without a word. */
static void
warn_of_restore(struct mb_cli *cli)
{
	char id[MB_ID_TEXT] = "";
	struct mb_error ignored;

	mb_error_clear(&ignored);
	if (mb_journal_unfinished(id, cli->env.spool, &ignored) == MB_OK && id[0])
		mb_log_warning(&cli->log,
					   "restore %s is not finished: this is a backup of what it has left; see "
					   "\"mbackup rollback --list\"",
					   id);
}

/* After a backup, whatever came of it: a hook that fails changes nothing of that. */
static void
run_hooks_after(struct mb_cli *cli, const struct mb_hooks *hooks, const struct mb_stack *stack,
				const json_t *set, enum mb_code outcome, const struct mb_error *err)
{
	const char *status = !outcome ? "complete" : outcome == MB_PARTIAL ? "partial" : "failed";
	enum mb_hook last = outcome && outcome != MB_PARTIAL ? MB_HOOK_ON_FAILURE : MB_HOOK_ON_SUCCESS;
	struct mb_error why;

	mb_error_clear(&why);
	if (run_hook(cli, hooks, MB_HOOK_AFTER_BACKUP, backup_event(stack, set, status, err), &why))
		mb_log_warning(&cli->log, "%s", why.message);
	mb_error_clear(&why);
	if (run_hook(cli, hooks, last, backup_event(stack, set, status, err), &why))
		mb_log_warning(&cli->log, "%s", why.message);
}

enum mb_code
cmd_backup(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_hooks hooks;
	const char *type = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "type", 0);
	struct mb_backup_options options = {.type = MB_BACKUP_AUTO};
	struct mb_stack chosen = {0};
	json_t *labels = json_object();
	json_t *set = NULL;
	enum mb_code code;

	if (type && strcmp(type, "full") == 0)
		options.type = MB_BACKUP_FULL;
	else if (type && strcmp(type, "incremental") == 0)
		options.type = MB_BACKUP_INCREMENTAL;
	options.flags = mb_config_flag(&cli->config, "pause") ? MB_CUT_PAUSE : 0;
	options.labels = labels;
	code = read_labels(cli, labels, err);
	if (!code)
		code = cli_select_components(cli, &chosen, err);
	cli_read_hooks(cli, &hooks);
	warn_of_restore(cli);
	if (!code)
	{
		code = run_hook(cli, &hooks, MB_HOOK_BEFORE_BACKUP, backup_event(&chosen, NULL, "", NULL),
						err);
		if (!code)
		{
			code = mb_backup_run(&chosen, &options, &set, err);
			cli_reconcile(cli);
		}
		run_hooks_after(cli, &hooks, &chosen, set, code, err);
	}
	if (set)
		cli->answer = json_pack("{s:o}", "backup", set);
	if (!code)
		cli_expire_after_backup(cli);
	mb_stack_release(&chosen);
	json_decref(labels);
	return code;
}

enum mb_code
cmd_stream(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_stack chosen = {0};
	enum mb_code code = cli_select_components(cli, &chosen, err);

	if (!code && chosen.count == 0)
	{
		code = mb_fail(err, MB_CONFIG, "there is no component to stream");
		mb_error_hint(err, "Add a section such as [postgres] to mbackup.conf.");
	}
	if (!code)
	{
		mb_log_info(&cli->log, "streaming into %s until stopped", cli->env.repo->store->url);
		code = mb_stream_run(&chosen, err);
	}
	mb_stack_release(&chosen);
	/* Being told to stop is how a stream ends well; the signal still shows in the status. */
	if (!code)
		code = mb_cancel_check(&mb_interrupt, err);
	if (code == MB_INTERRUPTED)
		mb_fail(err, code, "stopped by signal; everything acknowledged is in the repository");
	return code;
}

enum mb_code
cmd_mark(struct mb_cli *cli, struct mb_error *err)
{
	unsigned flags = mb_config_flag(&cli->config, "pause") ? MB_CUT_PAUSE : 0;
	json_t *mark = NULL;
	enum mb_code code = mb_mark_run(&cli->stack, cli->words.items[0], flags, &mark, err);

	if (mark)
		cli->answer = json_pack("{s:o}", "mark", mark);
	return code;
}

enum mb_code
cmd_list(struct mb_cli *cli, struct mb_error *err)
{
	enum mb_code code = mb_list_run(&cli->stack, &cli->answer, err);
	const char *spool = mb_config_get(&cli->config, SCOPE_GLOBAL, "spool");
	json_t *restores = NULL, *shown;
	struct mb_error ignored;
	size_t i;

	/* Who may not look into the spool sees what the repository has. */
	mb_error_clear(&ignored);
	if (code || mb_restores_list(spool, &restores, &ignored))
		return code;
	shown = json_array();
	for (i = 0; i < json_array_size(restores); i++)
		if (mb_json_bool(json_array_get(restores, i), "rollback", false) ||
			mb_json_int(json_array_get(restores, i), "kept_bytes", 0) > 0)
			json_array_append(shown, json_array_get(restores, i));
	if (json_array_size(shown) > 0)
		json_object_set(cli->answer, "restores", shown);
	json_decref(shown);
	json_decref(restores);
	return MB_OK;
}

enum mb_code
cmd_info(struct mb_cli *cli, struct mb_error *err)
{
	json_t *set = NULL;
	enum mb_code code =
		mb_set_find(cli->env.repo, cli->words.count ? cli->words.items[0] : "latest", &set, err);

	if (!code)
		cli->answer = json_pack("{s:o}", "backup", set);
	return code;
}

enum mb_code
cmd_version(struct mb_cli *cli, struct mb_error *err)
{
	(void) err;
	cli->answer = json_pack("{s:s, s:i}", "version", MB_VERSION, "format", (int) MB_FORMAT_VERSION);
	return MB_OK;
}
