/* cmd_rollback.c - rollback: undo a restore, show what can be undone, forget it. */

#include "cli/cli.h"
#include "core/engine/restore_journal.h"
#include "core/engine/stack_restore.h"

/* What has been written since is what a rollback loses: said before it is asked for. */
static enum mb_code
confirm_rollback(void *ctx, const json_t *plan, struct mb_error *err)
{
	struct mb_cli *cli = ctx;
	const json_t *places = json_object_get(plan, "keeps");
	const json_t *services = json_object_get(plan, "services");
	size_t i;

	if (!mb_config_flag(&cli->config, "quiet"))
	{
		fprintf(stderr, "This puts back what was there before restore %s:\n",
				mb_json_str(plan, "id", "?"));
		for (i = 0; i < json_array_size(places); i++)
			fprintf(stderr, "  %-12s %s\n",
					mb_json_str(json_array_get(places, i), "component", "?"),
					mb_json_str(json_array_get(places, i), "path", "?"));
		for (i = 0; i < json_array_size(services); i++)
			fprintf(stderr, "  stops        %s\n",
					mb_json_str(json_array_get(services, i), "service", "?"));
		fprintf(stderr, "Everything that was written there since %s is lost.\n",
				mb_json_str(plan, "started", "the restore"));
	}
	return cli_confirm(cli, "", "a rollback",
					   "Look at \"mbackup rollback --list\", then add --yes.", err);
}

static enum mb_code
dry_run(struct mb_cli *cli, const char *which, struct mb_error *err)
{
	struct mb_journal *journal;
	char id[MB_ID_TEXT] = "";
	json_t *answer;
	enum mb_code code = MB_OK;

	if (!which)
		code = mb_journal_unfinished(id, cli->env.spool, err);
	if (!code && !id[0])
		code = mb_journal_find(id, cli->env.spool, which, err);
	if (!code)
		code = mb_journal_open(&journal, cli->env.spool, id, err);
	if (code)
		return code;
	answer = json_object();
	mb_json_set_str(answer, "id", id);
	mb_json_set_str(answer, "status", mb_journal_status(journal));
	mb_json_set_bool(answer, "dry_run", true);
	json_object_set(answer, "places", json_object_get(journal->plan, "keeps"));
	json_object_set(answer, "services", json_object_get(journal->plan, "services"));
	json_object_set(answer, "cannot_undo", json_object_get(journal->plan, "cannot_undo"));
	mb_json_set_str(answer, "lost_since", mb_json_str(journal->plan, "started", ""));
	cli->answer = json_pack("{s:o}", "rollback", answer);
	mb_journal_close(journal);
	return MB_OK;
}

static enum mb_code
list_restores(struct mb_cli *cli, struct mb_error *err)
{
	json_t *list;
	enum mb_code code = mb_restores_list(cli->env.spool, &list, err);

	if (!code)
		cli->answer = json_pack("{s:o}", "restores", list);
	return code;
}

enum mb_code
cmd_rollback(struct mb_cli *cli, struct mb_error *err)
{
	const char *which = cli->words.count ? cli->words.items[0] : NULL;
	struct mb_stack_restore_options options = {0};
	bool needs_repository;
	enum mb_code code;

	if (mb_config_flag(&cli->config, "list"))
		return list_restores(cli, err);
	if (mb_config_flag(&cli->config, "forget"))
	{
		if (!which)
		{
			mb_fail(err, MB_CONFIG, "--forget needs the id of a restore");
			return mb_error_hint(err, "See \"mbackup rollback --list\".");
		}
		code =
			cli_confirm(cli, "What the restore has kept is removed; it cannot be rolled back then.",
						"removing what a restore has kept", "Add --yes.", err);
		return code ? code : mb_restores_forget(cli->env.spool, which, &cli->answer, err);
	}
	if (mb_config_flag(&cli->config, "dry-run"))
		return dry_run(cli, which, err);
	/* Only what stood in a bucket or a running server: files need nothing but their disk. */
	code = mb_rollback_needs_repository(&needs_repository, cli->env.spool, which, err);
	if (!code && needs_repository)
		code = cli_open_repository(cli, err);
	if (!code)
		code = cli_read_in_place(cli, &options, err);
	options.confirm = confirm_rollback;
	if (!code)
		code = mb_stack_rollback(&cli->stack, &options, which, &cli->answer, err);
	cli_free_in_place(&options);
	return code;
}
