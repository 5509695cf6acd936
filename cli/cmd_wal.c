/* cmd_wal.c - wal-push and wal-get: what PostgreSQL itself calls, in its data directory. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "postgres/component_postgres.h"
#include "walstreamer/wal_get.h"
#include "walstreamer/wal_helper.h"
#include "walstreamer/wal_push.h"

#define HEADER_NAME "mbackup.json"
#define HEADER_MAX_BYTES 65536

/* The postgres component: --component, or the only one; NULL when none is configured. */
static enum mb_code
find_component(const struct mb_cli *cli, const char **name, struct mb_error *err)
{
	const char *wanted = cli_option(cli, "component");
	size_t i, count = 0;

	*name = NULL;
	for (i = 0; i < cli->config.component_count; i++)
	{
		const struct mb_settings *settings = &cli->config.components[i];

		if (strcmp(settings->kind, "postgres") != 0 ||
			(wanted && strcmp(settings->name, wanted) != 0))
			continue;
		*name = settings->name;
		count++;
	}
	if (wanted && count == 0)
		return mb_fail(err, MB_CONFIG, "there is no PostgreSQL component \"%s\"", wanted);
	if (count > 1)
	{
		mb_fail(err, MB_CONFIG, "there are several PostgreSQL components");
		return mb_error_hint(err, "Add --component NAME to the command.");
	}
	return MB_OK;
}

/* Which repository it is, as its plain header says: no key is needed, nothing is proven. */
static enum mb_code
peek_repository_id(struct mb_cli *cli, char id[64], struct mb_error *err)
{
	struct mb_store *store;
	struct mb_buf text = {0};
	json_t *json = NULL;
	enum mb_code code = cli_open_store(cli, MB_STORE_OPEN, &store, err);

	if (code)
		return code;
	code = mb_store_get(store, HEADER_NAME, 0, HEADER_MAX_BYTES, &text, err);
	if (!code)
		code = mb_json_parse(&json, (const char *) text.data, text.len, HEADER_NAME, err);
	snprintf(id, 64, "%s", !code ? mb_json_str(json, "id", "") : "");
	json_decref(json);
	mb_buf_release(&text);
	mb_store_free(store);
	return code;
}

/* A restored copy keeps the archive_command of its original; its WAL must not go there. */
static enum mb_code
refuse_copy(const char *path, struct mb_error *err)
{
	const char *wal = strstr(path, "/pg_wal/");
	enum mb_code code;
	char *directory;

	if (!wal && !mb_starts_with(path, "pg_wal/"))
		return MB_OK; /* not the server's call */
	directory = wal ? mb_strndup(path, (size_t) (wal - path)) : mb_strdup(".");
	code = mb_pg_directory_is_adopted(directory, err);
	free(directory);
	return code;
}

enum mb_code
cmd_wal_push(struct mb_cli *cli, struct mb_error *err)
{
	const char *path = cli->words.items[0];
	const char *component;
	char repository_id[64];
	enum mb_code code;

	if (mb_wal_push_is_nothing(path))
		return MB_OK;
	code = refuse_copy(path, err);
	if (!code)
		code = find_component(cli, &component, err);
	if (!code && !component)
	{
		code = mb_fail(err, MB_CONFIG, "there is no PostgreSQL component in the configuration");
		mb_error_hint(err, "Add a [postgres] section to mbackup.conf.");
	}
	if (!code)
		code = peek_repository_id(cli, repository_id, err);
	if (code)
		return code;
	if (repository_id[0] && mb_wal_push_is_noted(cli->env.spool, component, repository_id, path))
		return MB_OK;
	code = cli_open_repository(cli, err);
	return code ? code : mb_wal_push(&cli->env, component, path, err);
}

enum mb_code
cmd_wal_get(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_wal_request request = {.restore_id = cli_option(cli, "restore"),
									 .file_name = cli->words.items[0],
									 .target_path = cli->words.items[1]};
	enum mb_code code = MB_OK;

	/* A helper outlives us: it must hold nothing that the server has left open. */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (!request.restore_id)
		code = find_component(cli, &request.component, err);
	if (!code)
		code = mb_wal_get_quickly(&request, err);
	if (code != MB_NOT_FOUND)
		return code;
	code = cli_open_repository(cli, err);
	if (!code)
		code = mb_wal_get(&cli->env, &request, err);
	if (!code)
		mb_wal_helper_start(&cli->env, &request);
	return code;
}
