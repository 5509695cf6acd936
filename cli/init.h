/*
 * init.h - mbackup init on a terminal: what is there, questions, and what comes after.
 *
 *     cmd_init.c      makes repository and configuration, asked or not
 *     init_config.c   what stands in that configuration
 *     init_find.c     what runs on this host, and what could be kept
 *     init_prompt.c   one question and its answer
 *     init_ask.c      the questions in their order
 *     init_secrets.c  what they lead to: a passphrase and a key in files
 *     init_follow.c   check, the first backup, what to do next
 *
 * Nothing is written before the last question is answered with yes; until then an interrupt, the end
 * of the input or an error leaves everything as it was.
 */
#ifndef MB_CLI_INIT_H
#define MB_CLI_INIT_H

#include "cli/cli.h"

/* -- what is there ---------------------------------------------------------------------------- */

struct init_found
{
	char *value; /* a connection string, a URL, a path */
	char *shown; /* for people: version, where, how much */
	char *why;   /* it cannot be used like this; NULL: it can */
};

struct init_list
{
	struct init_found *items;
	size_t count;
	size_t cap;
};
void init_list_release(struct init_list *list);

/* Clusters that run here: those of the environment first, those that answer before others. */
void init_find_postgres(struct init_list *list);
void init_find_redis(struct init_list *list);
/* Trees of configuration that exist and can be read. */
void init_find_files(struct init_list *list);
/* Does it answer?  *shown (free it) says what it is.  The failure has its next step. */
enum mb_code init_try_postgres(const char *conninfo, char **shown,
							   struct mb_error *err) MB_MUST_CHECK;
enum mb_code init_try_redis(const char *url, char **shown, struct mb_error *err) MB_MUST_CHECK;

/* A server of buckets that the environment or mc knows. */
struct init_server
{
	char *endpoint;
	char *access_key;
	struct mb_secret secret_key;
	const char *where; /* "~/.mc/config.json" */
};
/* False: none. */
bool init_find_server(struct init_server *server);
void init_server_release(struct init_server *server);

/* -- questions -------------------------------------------------------------------------------- */

/*
 * Ask on the terminal; Enter is dflt.  What a file cannot hold (control characters, a comment) is
 * refused there and asked again.  *answer is owned.  MB_INTERRUPTED, and MB_CONFIG at the end of the
 * input: both say that nothing was written.
 */
enum mb_code init_ask_text(const char *question, const char *dflt, char **answer,
						   struct mb_error *err) MB_MUST_CHECK;
enum mb_code init_ask_yes(const char *question, bool dflt, bool *yes,
						  struct mb_error *err) MB_MUST_CHECK;
/* A line of its own, with strong words on terminals that can; or a failure, to be asked again. */
void init_say(const char *fmt, ...) MB_PRINTF(1, 2);
void init_title(const char *text);
void init_say_failure(const struct mb_error *err);

/* -- the whole -------------------------------------------------------------------------------- */

struct init_answers
{
	bool asked;
	char *passphrase_path; /* to be made; NULL: it exists, or another way was given */
	char *secret_path;     /* to be made, of the secret key; or NULL */
	char *bucket_keys;     /* lines for a section of a bucket; NULL: as the repository's */
	struct init_server server;
	bool wrote_passphrase;
	bool wrote_secret;
};

/* Is this a call that asks?  Nothing is said about where backups go, and somebody is there. */
bool init_wants_to_ask(const struct mb_cli *cli);
/* Fill in the options that were not given; show what will be written; ask whether to. */
enum mb_code init_ask(struct mb_cli *cli, const char *config_path, struct init_answers *answers,
					  struct mb_error *err) MB_MUST_CHECK;
/* The files of secrets; init_take_back removes those that we made. */
enum mb_code init_write_secrets(struct init_answers *answers, struct mb_error *err) MB_MUST_CHECK;
void init_take_back(struct init_answers *answers);
void init_answers_release(struct init_answers *answers);
/* check, and when it is wanted the stream, a backup and its verification; then what is next. */
enum mb_code init_follow(const struct mb_cli *cli, const char *config_path,
						 struct mb_error *err) MB_MUST_CHECK;

/* init_config.c: append mbackup.conf as it would be; or what unlocks the repository, as it was given. */
void init_config_text(const struct mb_cli *cli, const struct init_answers *answers,
					  const char *repository_id, struct mb_buf *out);
void init_unlock_text(const struct mb_cli *cli, struct mb_buf *out);

#endif
