/*
 * cli.h - what the commands of mbackup share: one struct for the run of one command.
 *
 * A command fills cli->answer (the JSON object of docs/configuration.md) and returns its code; main.c
 * prints the answer, as JSON or rendered as text, prints the error, and makes the
 * exit status.  Nothing else prints to stdout.
 */
#ifndef MB_CLI_CLI_H
#define MB_CLI_CLI_H

#include <pthread.h>

#include "cli/config.h"
#include "core/engine/stack.h"

/* MB_VERSION, "0.2.0", comes from the file VERSION by way of the Makefile, MB_VERSION_DATE from CHANGELOG.md. */
#define MAX_PROGRESS 64

struct mb_cli
{
	const struct mb_command *command;
	struct mb_config config;
	struct mb_words words;
	struct mb_log log;
	struct mb_env env;
	struct mb_stack stack;
	json_t *answer;
	bool json_open; /* `{"keys":[` and the items of it are printed; the answer has the rest */
	json_t *probes; /* init: what the servers of its places do; array */
	/* progress */
	struct mb_progress progress[MAX_PROGRESS];
	size_t progress_count;
	struct mb_progress_view *view; /* what shows them; NULL: nothing does */
	pthread_mutex_t progress_lock;
};

struct mb_command
{
	const char *name;
	enum mb_command_id id;
	enum mb_code (*run)(struct mb_cli *cli, struct mb_error *err);
	unsigned needs;
	size_t min_words;
	size_t max_words;
	const char *words; /* "NAME", "[BACKUP]" */
	const char *help;
	void (*render)(const json_t *answer, FILE *out);
};

enum mb_command_needs
{
	NEEDS_CONFIG = 1,
	NEEDS_REPOSITORY = 2,
	NEEDS_STACK = 4,
	NEEDS_SPOOL = 8,
	SHOWS_PROGRESS = 16,
	RAW_STATUS = 32 /* wal-get: its own exit codes */
};

extern const struct mb_command mb_commands[];
extern const size_t mb_command_count;
/* NULL: there is none. */
const struct mb_command *cli_find_command(const char *name);
/* MB_CONFIG; the words are what stands before a command, for the hint: "mbackup". */
enum mb_code cli_unknown_command(const char *words, const char *name,
								 struct mb_error *err) MB_MUST_CHECK;
/* Set by the signal handler; the only global, because a handler can reach nothing else. */
extern struct mb_cancel mb_interrupt;

/* setup.c: bring up what a command needs, in this order; cli_release undoes all. */
enum mb_code cli_open_repository(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_open_store(struct mb_cli *cli, unsigned flags, struct mb_store **store,
							struct mb_error *err) MB_MUST_CHECK;
/* places.c: MB_CONFIG when the configuration names no repository. */
enum mb_code cli_check_url(const struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
/* The first, and the copies that the configuration names. */
enum mb_code cli_open_places(struct mb_cli *cli, struct mb_store **store,
							 struct mb_error *err) MB_MUST_CHECK;
/*
 * Each place by itself, with its name (NULL: the first): those that cannot be opened are left out,
 * which is told elsewhere.
 */
typedef enum mb_code (*cli_place_fn)(void *ctx, const char *name, struct mb_store *store,
									 struct mb_error *err);
enum mb_code cli_each_place(struct mb_cli *cli, cli_place_fn fn, void *ctx,
							struct mb_error *err) MB_MUST_CHECK;
/* probe.c: try out the server of a bucket; refuse it, or warn.  Nothing for another driver. */
enum mb_code cli_probe_place(struct mb_cli *cli, struct mb_store *store,
							 struct mb_error *err) MB_MUST_CHECK;
/* Write what was found into the repository, when there is one. */
enum mb_code cli_keep_probes(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
/* Findings about the buckets of all places; fails when it could not look. */
enum mb_code cli_check_places(struct mb_cli *cli, struct mb_checks *checks,
							  struct mb_error *err) MB_MUST_CHECK;
/* Bring the copies up to date at the end of a backup; what cannot be is a warning. */
void cli_reconcile(struct mb_cli *cli);
/* schedule_check.c: findings about [schedule]. */
void cli_check_schedule(const struct mb_cli *cli, struct mb_checks *checks);
/* cmd_backup.c: those that --component names, or all; mb_stack_release them. */
enum mb_code cli_select_components(struct mb_cli *cli, struct mb_stack *chosen,
								   struct mb_error *err) MB_MUST_CHECK;
/* init: make the copies that are missing; then give them everything (takes first). */
enum mb_code cli_make_copies(struct mb_cli *cli, struct mb_store *first, size_t *made,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_fill_copies(struct mb_cli *cli, struct mb_store *first,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_prepare(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_read_unlock(const struct mb_cli *cli, struct mb_unlock *unlock,
							 struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_open_spool(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
enum mb_code cli_open_stack(struct mb_cli *cli, struct mb_error *err) MB_MUST_CHECK;
void cli_release(struct mb_cli *cli);
/*
 * The same command line over the configuration file as it is now, without the repository; the old
 * one is not touched.  cli_reload_release ends it, before the one it was made of.
 */
enum mb_code cli_reload(const struct mb_cli *cli, struct mb_cli **made,
						struct mb_error *err) MB_MUST_CHECK;
void cli_reload_release(struct mb_cli *made); /* NULL does nothing */

/* The value of an option of this command (its first), or NULL. */
const char *cli_option(const struct mb_cli *cli, const char *name);
/* As if it had been on the command line: for commands that are another one with a narrower front. */
void cli_add_option(struct mb_cli *cli, const char *name, const char *text);
/* MB_CONFIG for "mbackup COMMAND VERB"; nearest may be NULL. */
enum mb_code cli_unknown_verb(const char *command, const char *verb, const char *nearest,
							  const char *there_is, struct mb_error *err) MB_MUST_CHECK;
/* target.c: the options --to-..., --exclusive, --timeline and --target-action. */
enum mb_code cli_read_target(const struct mb_cli *cli, struct mb_target *target,
							 struct mb_error *err) MB_MUST_CHECK;
/* All values of a repeatable option; free() the array, not the texts. */
char **cli_all_values(const struct mb_cli *cli, const char *name, size_t *count);

/*
 * Ask on the terminal: "<what> Go on? [y/N]"; --yes has answered.  Without a terminal and --yes it
 * fails: refusal says what must be confirmed, hint what to write.
 */
enum mb_code cli_confirm(const struct mb_cli *cli, const char *what, const char *refusal,
						 const char *hint, struct mb_error *err) MB_MUST_CHECK;

/*
 * cmd_expire.c: the end of a backup, when [retention] says after-backup = yes; what it did is in the
 * answer, under "expire".  A failure is a warning: the backup is made.
 */
void cli_expire_after_backup(struct mb_cli *cli);
/* Does anything ever expire? */
void cli_check_retention(struct mb_cli *cli, struct mb_checks *checks);

/* drivers.c */
const struct mb_component_ops *cli_find_driver(const char *kind);

/* in_place.c: what a restore over what is there, a rollback and the hooks of a backup share. */
struct mb_stack_restore_options;
struct mb_hooks;
/* [hooks], but for --no-hooks; texts are borrowed from the configuration. */
void cli_read_hooks(const struct mb_cli *cli, struct mb_hooks *hooks);
/* Everything but what is restored; free options->application with cli_free_in_place. */
enum mb_code cli_read_in_place(struct mb_cli *cli, struct mb_stack_restore_options *options,
							   struct mb_error *err) MB_MUST_CHECK;
void cli_free_in_place(struct mb_stack_restore_options *options);

/* references.c: mb_stack_restore_options.references; ctx is the struct mb_cli. */
enum mb_code cli_check_references(void *ctx, json_t **found, struct mb_error *err) MB_MUST_CHECK;
bool cli_has_references(const struct mb_cli *cli);

/* report_html.c: the "restore" object as one page with nothing from outside. */
enum mb_code cli_write_report(const char *path, const json_t *restore,
							  struct mb_error *err) MB_MUST_CHECK;

/* render_stack.c */
void render_restore_plan(const json_t *plan, FILE *out);
void render_stack_restore(const json_t *restore, FILE *out);

/* progress.c: a thread that shows the progress of a command on stderr until stopped. */
void cli_progress_start(struct mb_cli *cli);
void cli_progress_stop(struct mb_cli *cli); /* does nothing when it was not started */
/* Show no lines from now on: the command prints on the same terminal. */
void cli_progress_hide(struct mb_cli *cli);
/* Show none while somebody is asked; with what is there cleared. */
void cli_progress_pause(const struct mb_cli *cli);
void cli_progress_resume(const struct mb_cli *cli);

/* The commands. */
enum mb_code cmd_init(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_check(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_backup(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_stream(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_mark(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_list(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_info(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_restore(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_rollback(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_objects(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_redis(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_adopt(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_verify(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_wal_push(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_wal_get(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_daemon(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_key(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_expire(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_pin(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_unpin(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_catalog(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_schedule(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_export(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_import(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_compat(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_version(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_help(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_report(struct mb_cli *cli, struct mb_error *err);
enum mb_code cmd_completion(struct mb_cli *cli, struct mb_error *err);

/* help.c */
void cli_print_help(const struct mb_command *command, FILE *out); /* NULL: the overview */

/* render.c: the same answers for people. */
void render_init(const json_t *answer, FILE *out);
void render_check(const json_t *answer, FILE *out);
void render_backup(const json_t *answer, FILE *out);
void render_info(const json_t *answer, FILE *out);
void render_mark(const json_t *answer, FILE *out);
void render_list(const json_t *answer, FILE *out);
void render_restore(const json_t *answer, FILE *out);
void render_rollback(const json_t *answer, FILE *out);
void render_objects(const json_t *answer, FILE *out);
void render_redis(const json_t *answer, FILE *out);
void render_adopt(const json_t *answer, FILE *out);
void render_key(const json_t *answer, FILE *out);
void render_expire(const json_t *answer, FILE *out);
void render_pin(const json_t *answer, FILE *out);
void render_unpin(const json_t *answer, FILE *out);
void render_catalog(const json_t *answer, FILE *out);
void render_verify(const json_t *answer, FILE *out);
void render_schedule(const json_t *answer, FILE *out);
void render_export(const json_t *answer, FILE *out);
void render_import(const json_t *answer, FILE *out);
void render_compat(const json_t *answer, FILE *out);
void render_version(const json_t *answer, FILE *out);
void render_report(const json_t *answer, FILE *out);

#endif
