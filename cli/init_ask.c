/* init_ask.c - the questions of "mbackup init", in their order; see init.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/init.h"
#include "core/base/fs.h"

#define MAX_TRIES 20

static void
set(struct mb_cli *cli, enum mb_scope scope, const char *name, const char *text)
{
	mb_values_add(&cli->config.command_line, mb_option_find(scope, name), text, "answer");
}

static const char *
given(const struct mb_cli *cli, const char *name)
{
	return mb_values_get(&cli->config.command_line, SCOPE_COMMAND, name, 0);
}

bool
init_wants_to_ask(const struct mb_cli *cli)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO) &&
		   !cli->config.path && !mb_config_flag(&cli->config, "yes") &&
		   !mb_config_flag(&cli->config, "json") && !given(cli, "from-backup-conf") &&
		   !mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");
}

static void
show_list(const struct init_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (list->items[i].why)
			init_say("  %zu  %s: %s", i + 1, list->items[i].value, list->items[i].why);
		else
			init_say("  %zu  %s", i + 1, list->items[i].shown);
}

/* A number of the list, a value, or none (NULL); asked until it works. */
static enum mb_code
choose(const struct init_list *list, const char *question, char **value,
	   enum mb_code (*try)(const char *, char **, struct mb_error *), struct mb_error *err)
{
	bool usable = list->count > 0 && !list->items[0].why;
	int tries;

	show_list(list);
	for (tries = 0; tries < MAX_TRIES; tries++)
	{
		char *answer = NULL, *shown = NULL, *end;
		struct mb_error failed;
		enum mb_code code = init_ask_text(question, usable ? "1" : "none", &answer, err);
		unsigned long number;

		if (code)
			return code;
		*value = NULL;
		if (strcmp(answer, "none") == 0)
		{
			free(answer);
			return MB_OK;
		}
		number = strtoul(answer, &end, 10);
		if (*end == '\0' && number >= 1 && number <= list->count)
			*value = mb_strdup(list->items[number - 1].value);
		else
			*value = mb_strdup(answer);
		free(answer);
		mb_error_clear(&failed);
		code = try(*value, &shown, &failed);
		free(shown);
		if (!code)
			return MB_OK;
		free(*value);
		*value = NULL;
		if (code == MB_INTERRUPTED)
		{
			*err = failed;
			return code;
		}
		init_say_failure(&failed);
	}
	return mb_fail(err, MB_CONFIG, "no answer could be understood: nothing was written");
}

static enum mb_code
ask_servers(struct mb_cli *cli, struct mb_error *err)
{
	struct init_list list = {0};
	enum mb_code code = MB_OK;
	char *value = NULL;

	if (!given(cli, "postgres"))
	{
		init_title("PostgreSQL");
		init_find_postgres(&list);
		if (list.count == 0)
			init_say("  None was found on this host.");
		code = choose(&list, "Which one (a number, a connection string, or none)", &value,
					  init_try_postgres, err);
		if (!code && value)
			set(cli, SCOPE_COMMAND, "postgres", value);
		free(value);
		init_list_release(&list);
	}
	value = NULL;
	if (!code && !given(cli, "redis"))
	{
		init_title("Redis");
		init_find_redis(&list);
		if (list.count == 0)
			init_say("  None was found on this host.");
		code = choose(&list, "Which one (a number, a URL, or none)", &value, init_try_redis, err);
		if (!code && value)
			set(cli, SCOPE_COMMAND, "redis", value);
		free(value);
		init_list_release(&list);
	}
	return code;
}

/* -- words with blanks between ------------------------------------------------------------------- */

/* NULL when each is fine, else why not (owned). */
typedef char *(*word_check)(const char *word);

static enum mb_code
ask_words(struct mb_cli *cli, const char *option, const char *question, const char *dflt,
		  word_check check, struct mb_error *err)
{
	int tries;

	for (tries = 0; tries < MAX_TRIES; tries++)
	{
		char *answer = NULL, *rest, *word, *why = NULL;
		struct mb_words words = {0};
		enum mb_code code = init_ask_text(question, dflt, &answer, err);
		size_t i;

		if (code)
			return code;
		rest = answer;
		while (!why && strcmp(answer, "none") != 0 && (word = strsep(&rest, " ")) != NULL)
			if (word[0])
			{
				why = check(word);
				words.items = mb_grow(words.items, &words.cap, words.count + 1, sizeof(char *));
				words.items[words.count++] = word;
			}
		for (i = 0; !why && i < words.count; i++)
			set(cli, SCOPE_COMMAND, option, words.items[i]);
		free(words.items);
		free(answer);
		if (!why)
			return MB_OK;
		init_say("  That does not work: %s", why);
		free(why);
	}
	return mb_fail(err, MB_CONFIG, "no answer could be understood: nothing was written");
}

static char *
check_bucket(const char *word)
{
	static const char name_chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *equals = strchr(word, '='), *colon = strchr(word, ':');
	const char *url = equals && (!colon || equals < colon) ? equals + 1 : word;

	if (mb_starts_with(url, "file:///") && access(url + strlen("file://"), R_OK | X_OK) != 0)
		return mb_asprintf("%s cannot be read (%s)", url, strerror(errno));
	if (url != word && (equals == word || strspn(word, name_chars) != (size_t) (equals - word)))
		return mb_asprintf("\"%s\" has no name that a section can have", word);
	if (mb_starts_with(url, "file:///") || (mb_starts_with(url, "s3://") && url[5]))
		return NULL;
	return mb_asprintf("\"%s\" is neither s3://BUCKET nor file:///DIRECTORY", word);
}

static char *
check_path(const char *word)
{
	if (word[0] != '/')
		return mb_asprintf("\"%s\" is not an absolute path", word);
	if (strchr(word, ','))
		return mb_asprintf("\"%s\" has a comma, which separates paths in mbackup.conf", word);
	if (!strpbrk(word, "*?[") && access(word, R_OK) != 0)
		return mb_asprintf("\"%s\" cannot be read (%s)", word, strerror(errno));
	return NULL;
}

static bool
any_in_s3(const struct mb_cli *cli)
{
	const char *text;
	size_t i;

	for (i = 0; (text = mb_values_get(&cli->config.command_line, SCOPE_COMMAND, "objects", i)); i++)
		if (strstr(text, "s3://"))
			return true;
	return false;
}

/* The server of buckets, and what it is logged in to with. */
static enum mb_code
ask_server(struct init_answers *answers, const char *config_path, struct mb_error *err)
{
	bool found = init_find_server(&answers->server);
	const char *dflt = found ? answers->server.endpoint : "aws";
	char *answer = NULL, *slash = strrchr(config_path, '/');
	enum mb_code code;

	if (found)
		init_say("  %s knows %s.", answers->server.where, answers->server.endpoint);
	code =
		init_ask_text("The server of the buckets (http://HOST:PORT, or aws)", dflt, &answer, err);
	if (code)
		return code;
	if (found && strcmp(answer, dflt) == 0)
	{
		answers->secret_path =
			mb_asprintf("%.*s/s3-secret-key", (int) (slash ? slash - config_path : 1),
						slash ? config_path : ".");
		answers->bucket_keys =
			mb_asprintf("endpoint = %s\naccess-key = %s\nsecret-key-file = %s\n", answer,
						answers->server.access_key, answers->secret_path);
	}
	else
	{
		init_say("  Its keys come from the environment or from ~/.aws: \"mbackup help "
				 "mbackup.conf\" says how.");
		answers->bucket_keys =
			strcmp(answer, "aws") == 0 ? mb_strdup("") : mb_asprintf("endpoint = %s\n", answer);
	}
	free(answer);
	return MB_OK;
}

static enum mb_code
ask_data(struct mb_cli *cli, struct init_answers *answers, const char *config_path,
		 struct mb_error *err)
{
	struct init_list list = {0};
	struct mb_buf dflt = {0};
	enum mb_code code = MB_OK;
	size_t i;

	if (!given(cli, "objects"))
	{
		init_title("Buckets, and directories that stand for one");
		code = ask_words(cli, "objects",
						 "Which ([NAME=]s3://BUCKET or [NAME=]file:///DIRECTORY, blanks between; "
						 "or none)",
						 "none", check_bucket, err);
	}
	if (!code && any_in_s3(cli))
		code = ask_server(answers, config_path, err);
	if (!code && !given(cli, "files"))
	{
		init_title("Configuration files and trees");
		init_find_files(&list);
		for (i = 0; i < list.count; i++)
			mb_buf_printf(&dflt, "%s%s", i ? " " : "", list.items[i].value);
		code = ask_words(cli, "files", "Which (absolute paths, blanks between; or none)",
						 i ? mb_buf_cstr(&dflt) : "none", check_path, err);
	}
	mb_buf_release(&dflt);
	init_list_release(&list);
	if (!code && !given(cli, "postgres") && !given(cli, "redis") && !given(cli, "objects") &&
		!given(cli, "files"))
	{
		mb_fail(err, MB_CONFIG, "there is nothing to protect: nothing was written");
		return mb_error_hint(err,
							 "Run \"mbackup init\" again and name a cluster, a bucket, a Redis "
							 "or a path.");
	}
	return code;
}

/* -- the repository ---------------------------------------------------------------------------------- */

/* NULL: backups can be kept there. */
static char *
why_not_there(const char *url)
{
	char *parent, *slash;
	struct stat st;

	if (mb_starts_with(url, "s3://"))
		return url[5] ? NULL : mb_strdup("it names no bucket");
	if (url[0] != '/')
		return mb_asprintf("\"%s\" is neither an absolute path nor s3://BUCKET", url);
	if (stat(url, &st) == 0 && !S_ISDIR(st.st_mode))
		return mb_asprintf("\"%s\" is no directory", url);
	if (stat(url, &st) == 0 && rmdir(url) != 0)
		return mb_asprintf("\"%s\" is there and not empty", url);
	parent = mb_strdup(url);
	while (access(parent, F_OK) != 0 && (slash = strrchr(parent, '/')) != NULL && slash != parent)
		*slash = '\0';
	if (access(parent, W_OK | X_OK) != 0)
	{
		char *why = mb_asprintf("\"%s\" cannot be written to (%s)", parent, strerror(errno));

		free(parent);
		return why;
	}
	free(parent);
	return NULL;
}

static enum mb_code
ask_repository(struct mb_cli *cli, struct init_answers *answers, const char *config_path,
			   struct mb_error *err)
{
	const char *home = getenv("HOME");
	char *dflt = geteuid() == 0 || !home ? mb_strdup("/var/lib/mbackup/repository")
										 : mb_path_join(home, "mbackup-repository");
	enum mb_code code = MB_OK;
	bool done = false;
	int tries;

	init_title("The repository: where backups are kept");
	init_say("  Best on another disk or in a bucket; a second place can be added later.");
	for (tries = 0; !code && !done && tries < MAX_TRIES; tries++)
	{
		char *answer = NULL, *why;

		code = init_ask_text("Where (a directory, or s3://BUCKET/PREFIX)", dflt, &answer, err);
		if (code)
			break;
		why = why_not_there(answer);
		if (why)
			init_say("  That does not work: %s.", why);
		else
		{
			set(cli, SCOPE_REPOSITORY, "url", answer);
			done = true;
		}
		free(why);
		if (done && mb_starts_with(answer, "s3://") && !answers->bucket_keys)
			code = ask_server(answers, config_path, err);
		free(answer);
	}
	free(dflt);
	if (!code && !done)
		code = mb_fail(err, MB_CONFIG, "no answer could be understood: nothing was written");
	if (!code && answers->server.endpoint && answers->secret_path &&
		mb_starts_with(mb_config_get(&cli->config, SCOPE_REPOSITORY, "url"), "s3://"))
	{
		char *stored = mb_asprintf("-file:%s", answers->secret_path);

		set(cli, SCOPE_REPOSITORY, "endpoint", answers->server.endpoint);
		set(cli, SCOPE_REPOSITORY, "access-key", answers->server.access_key);
		set(cli, SCOPE_REPOSITORY, "secret-key", stored);
		free(stored);
	}
	return code;
}

static enum mb_code
ask_passphrase(struct mb_cli *cli, struct init_answers *answers, const char *config_path,
			   struct mb_error *err)
{
	const char *slash = strrchr(config_path, '/');
	char *dflt, *stored;
	enum mb_code code;
	char *answer = NULL;

	if (strcmp(mb_config_get(&cli->config, SCOPE_REPOSITORY, "encryption"), "none") == 0 ||
		mb_config_get(&cli->config, SCOPE_REPOSITORY, "key-file") || getenv("MBACKUP_PASSPHRASE") ||
		mb_values_get(&cli->config.command_line, SCOPE_REPOSITORY, "passphrase", 0))
		return MB_OK;
	dflt = mb_asprintf("%.*s/passphrase", (int) (slash ? slash - config_path : 1),
					   slash ? config_path : ".");
	init_title("The passphrase");
	init_say(
		"  Backups are encrypted. Without the passphrase nothing can be restored, by anybody.");
	code = init_ask_text("File of the passphrase (it is made when it does not exist)", dflt,
						 &answer, err);
	free(dflt);
	if (code)
		return code;
	if (answer[0] != '/')
	{
		mb_fail(err, MB_CONFIG, "\"%s\" is not an absolute path: nothing was written", answer);
		free(answer);
		return mb_error_hint(err, "Run \"mbackup init\" again.");
	}
	stored = mb_asprintf("-file:%s", answer);
	set(cli, SCOPE_REPOSITORY, "passphrase", stored);
	free(stored);
	if (access(answer, F_OK) != 0)
		answers->passphrase_path = answer;
	else
		free(answer);
	return MB_OK;
}

static enum mb_code
ask_to_write(const struct mb_cli *cli, const struct init_answers *answers, const char *config_path,
			 struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code;
	bool yes = false;

	init_title("This is what would be written");
	init_config_text(cli, answers, "(of the new repository)", &text);
	fputs(mb_buf_cstr(&text), stderr);
	mb_buf_release(&text);
	init_say("\n  to %s%s%s", config_path,
			 answers->passphrase_path ? ", and a new passphrase to " : "",
			 answers->passphrase_path ? answers->passphrase_path : "");
	code = init_ask_yes("Write it, and make the repository?", true, &yes, err);
	if (!code && !yes)
	{
		mb_fail(err, MB_CONFIG, "not confirmed: nothing was written");
		code = mb_error_hint(err, "Run \"mbackup init\" again.");
	}
	return code;
}

enum mb_code
init_ask(struct mb_cli *cli, const char *config_path, struct init_answers *answers,
		 struct mb_error *err)
{
	enum mb_code code;

	answers->asked = true;
	init_say("What shall be protected, and where shall it be kept? Enter takes what stands in "
			 "[brackets];\nCtrl-C leaves everything as it is.");
	code = ask_servers(cli, err);
	if (!code)
		code = ask_data(cli, answers, config_path, err);
	if (!code)
		code = ask_repository(cli, answers, config_path, err);
	if (!code)
		code = ask_passphrase(cli, answers, config_path, err);
	if (!code)
		code = ask_to_write(cli, answers, config_path, err);
	return code;
}
