/* cmd_compat.c - compat: one archive as the shell scripts made it, and one of theirs brought back. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/compat.h"

#define WORDS 48

/* -- backup ------------------------------------------------------------------------------------------ */

/* backup-20261129_020000.tar.gz.enc; of two in one second the later one waits. */
static enum mb_code
name_archive(struct compat_run *run, struct mb_error *err)
{
	int tries;

	for (tries = 0; tries < 3; tries++)
	{
		time_t now = time(NULL);
		struct tm parts;
		char stamp[32];

		localtime_r(&now, &parts);
		strftime(stamp, sizeof(stamp), "%Y%m%d_%H%M%S", &parts);
		free(run->archive);
		run->archive = mb_asprintf("%s/backup-%s.tar%s%s", run->directory, stamp,
								   run->compress ? ".gz" : "", run->encrypt ? ".enc" : "");
		if (access(run->archive, F_OK) != 0)
			return MB_OK;
		sleep(1);
	}
	return mb_fail(err, MB_EXISTS, "\"%s\" exists", run->archive);
}

static enum mb_code
take_backup(struct compat_run *run, const char *type, struct mb_error *err)
{
	static const char *const init[] = {"init", NULL};
	bool is_incremental = strcmp(type, "incremental") == 0 || strcmp(type, "differential") == 0;
	const char *words[WORDS] = {"backup", "--type",
								is_incremental && !run->throw_away ? "incremental"
								: run->throw_away                  ? "full"
																   : "auto"};
	json_t *answer = NULL;
	enum mb_code code = MB_OK;
	size_t count = 3;

	if (run->throw_away && is_incremental)
		mb_log_warning(&run->cli->log,
					   "BACKUP_TYPE=%s: without a mbackup.conf there is no earlier backup to build "
					   "on, everything is read (\"mbackup init --from-backup-conf\" makes one)",
					   type);
	if (run->throw_away)
		code = compat_command(run, init, &answer, err);
	json_decref(answer);
	answer = NULL;
	if (!code)
		code = compat_select(run, type, words, &count, WORDS, err);
	if (!code)
		code = compat_command(run, words, &answer, err);
	json_decref(answer);
	return code;
}

static enum mb_code
write_archive(struct compat_run *run, const char *type, json_t **answer, struct mb_error *err)
{
	const char *database = backup_conf_get(&run->conf, "POSTGRES_DB");
	const char *words[WORDS] = {"export"};
	bool has_postgres = false;
	size_t count = 1, i;
	enum mb_code code = compat_select(run, type, words, &count, WORDS - 4, err);

	for (i = 0; i < run->cli->config.component_count; i++)
		if (strcmp(run->cli->config.components[i].kind, "postgres") == 0)
			has_postgres = true;
	/* Of "postgres" alone, or of everything: their pg_dump had this one database. */
	for (i = 1; !code && i < count; i += 2)
		has_postgres = has_postgres && strcmp(words[i + 1], "postgres") == 0;
	if (database && has_postgres)
	{
		words[count++] = "--database";
		words[count++] = database;
	}
	words[count++] = run->archive;
	return code ? code : compat_command(run, words, answer, err);
}

/* Read back from the first byte to the last, as a restore would. */
static enum mb_code
verify_archive(struct compat_run *run, const char *path, struct mb_error *err)
{
	const char *words[] = {"import", "--dry-run", "--force", path, NULL};
	json_t *answer = NULL;
	enum mb_code code = compat_command(run, words, &answer, err);

	json_decref(answer);
	return code;
}

static enum mb_code
backup(struct compat_run *run, bool is_last, struct mb_error *err)
{
	const char *type = backup_conf_get(&run->conf, "BACKUP_TYPE");
	json_t *answer = NULL;
	enum mb_code code = name_archive(run, err);

	/* What is there before a restore is kept whole, whatever is restored. */
	if (!type || !is_last)
		type = "full";
	if (!code)
		code = take_backup(run, type, err);
	if (!code)
		code = write_archive(run, type, &answer, err);
	if (!code && run->verify)
		code = verify_archive(run, run->archive, err);
	if (!code && is_last)
		code = compat_upload(run, err);
	if (!code && is_last)
		code = compat_expire(run, err);
	json_decref(answer);
	return code;
}

/* -- restore ----------------------------------------------------------------------------------------- */

static enum mb_code
restore(struct compat_run *run, const char *named, struct mb_error *err)
{
	const char *mode = backup_conf_get(&run->conf, "RESTORE_MODE");
	const char *words[WORDS] = {"import", "--yes", "--force"};
	bool only_looks = mode && (strcmp(mode, "verify") == 0 || strcmp(mode, "dry-run") == 0);
	bool snapshot = false;
	json_t *answer = NULL;
	char *path = NULL;
	size_t count = 3;
	enum mb_code code = MB_OK;

	/* The newest one is chosen before the snapshot becomes it. */
	if (named)
		path = mb_strdup(named);
	else
		code = compat_newest(run, &path, err);
	if (!code)
		code = backup_conf_flag(&run->conf, "CREATE_SNAPSHOT", false, &snapshot, err);
	if (!code && only_looks)
		code = verify_archive(run, path, err);
	if (!code && !only_looks && snapshot)
	{
		code = backup(run, false, err);
		if (code)
			mb_error_context(err, "nothing was restored: the snapshot before it failed");
		else
			mb_log_info(&run->cli->log, "what was there is in \"%s\"", run->archive);
	}
	if (!code && !only_looks)
		code = compat_select(run, mode ? mode : "full", words, &count, WORDS - 2, err);
	words[count++] = path;
	if (!code && !only_looks)
		code = compat_command(run, words, &answer, err);
	if (!code)
	{
		run->cli->answer =
			json_pack("{s:{s:s, s:b}}", "compat", "restored", path, "dry_run", only_looks ? 1 : 0);
		if (answer)
			json_object_set(json_object_get(run->cli->answer, "compat"), "import",
							json_object_get(answer, "import"));
		if (run->archive)
			mb_json_set_str(json_object_get(run->cli->answer, "compat"), "snapshot", run->archive);
	}
	json_decref(answer);
	free(path);
	return code;
}

/* -- the command ------------------------------------------------------------------------------------- */

/* Everybody can read arguments; the value is not repeated. */
static enum mb_code
refuse_assignments(const struct mb_cli *cli, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < cli->words.count; i++)
	{
		const char *word = cli->words.items[i], *equals = strchr(word, '=');

		if (!equals || strchr(word, '/'))
			continue;
		mb_fail(err, MB_CONFIG, "%.*s stands among the arguments, where everybody can read it",
				(int) (equals - word), word);
		return mb_error_hint(err, "Set it in the environment, or in a file: --backup-conf FILE.");
	}
	return MB_OK;
}

enum mb_code
cmd_compat(struct mb_cli *cli, struct mb_error *err)
{
	struct compat_run run = {.cli = cli, .lock_fd = -1};
	const char *verb = cli->words.items[0];
	bool is_backup = strcmp(verb, "backup") == 0;
	enum mb_code code = refuse_assignments(cli, err);

	if (code)
		return code;
	if (!is_backup && strcmp(verb, "restore") != 0)
		return cli_unknown_verb("compat", verb, NULL, "backup and restore", err);
	if (is_backup && cli->words.count > 1)
		return mb_fail(err, MB_CONFIG, "\"mbackup compat backup\" names its archive itself");
	code = compat_open(&run, err);
	if (!code && is_backup)
	{
		code = backup(&run, true, err);
		if (!code)
			cli->answer = json_pack("{s:{s:s, s:b, s:b, s:O}}", "compat", "archive", run.archive,
									"encrypted", run.encrypt ? 1 : 0, "uploaded",
									run.uploaded ? 1 : 0, "removed", run.removed);
	}
	else if (!code)
		code = restore(&run, cli->words.count > 1 ? cli->words.items[1] : NULL, err);
	compat_close(&run);
	return code;
}

/* One line, as the scripts had it: the archive. */
void
render_compat(const json_t *answer, FILE *out)
{
	const json_t *compat = json_object_get(answer, "compat");

	fprintf(out, "%s\n", mb_json_str(compat, "archive", mb_json_str(compat, "restored", "?")));
}
