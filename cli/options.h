/*
 * options.h - everything a user can set, as one table.
 *
 * The table makes the command-line parser, the configuration reader, the environment
 * variables and --help.  A row belongs to a scope: SCOPE_COMMAND rows are options of
 * some commands only; SCOPE_GLOBAL and SCOPE_REPOSITORY rows are also keys of
 * mbackup.conf and environment variables (MBACKUP_WORKERS, MBACKUP_REPOSITORY_URL); those of
 * SCOPE_DAEMON and SCOPE_SCHEDULE too (MBACKUP_DAEMON_LISTEN), but no options; those of
 * SCOPE_RETENTION are keys of [retention] and [retention:COMPONENT] only; the rows of a component kind are keys of its section.
 *
 * A SECRET row "password" stands for three keys: password, password-file and
 * password-command, and for an environment variable.  A secret value is never an option
 * of the command line.
 */
#ifndef MB_CLI_OPTIONS_H
#define MB_CLI_OPTIONS_H

#include "core/base/mem.h"

enum mb_command_id
{
	CMD_INIT = 1 << 0,
	CMD_CHECK = 1 << 1,
	CMD_BACKUP = 1 << 2,
	CMD_STREAM = 1 << 3,
	CMD_MARK = 1 << 4,
	CMD_LIST = 1 << 5,
	CMD_INFO = 1 << 6,
	CMD_RESTORE = 1 << 7,
	CMD_VERIFY = 1 << 8,
	CMD_WAL_GET = 1 << 9,
	CMD_VERSION = 1 << 10,
	CMD_HELP = 1 << 11,
	CMD_WAL_PUSH = 1 << 12,
	CMD_ADOPT = 1 << 13,
	CMD_OBJECTS = 1 << 14,
	CMD_REDIS = 1 << 15,
	CMD_DAEMON = 1 << 16,
	CMD_CATALOG = 1 << 17,
	CMD_KEY = 1 << 18,
	CMD_EXPIRE = 1 << 19,
	CMD_PIN = 1 << 20,
	CMD_UNPIN = 1 << 21,
	CMD_REPORT = 1 << 22,
	CMD_COMPLETION = 1 << 23,
	CMD_SCHEDULE = 1 << 24,
	CMD_ROLLBACK = 1 << 25,
	CMD_EXPORT = 1 << 26,
	CMD_IMPORT = 1 << 27,
	CMD_COMPAT = 1 << 28
};
#define CMD_ANY 0x7FFFFFFFu

enum mb_scope
{
	SCOPE_COMMAND,
	SCOPE_GLOBAL,
	SCOPE_REPOSITORY,
	SCOPE_DAEMON,
	SCOPE_SCHEDULE,
	SCOPE_RETENTION,
	SCOPE_POSTGRES,
	SCOPE_OBJECTS,
	SCOPE_REDIS,
	SCOPE_FILES,
	SCOPE_HOOKS,
	SCOPE_SERVICES,
	SCOPE_REFERENCE
};

enum mb_option_type
{
	OPT_FLAG, /* no argument on the command line; on/off in the file */
	OPT_TEXT,
	OPT_LIST, /* comma-separated in the file; may be repeated on the command line */
	OPT_CHOICE,
	OPT_INTEGER,
	OPT_SIZE,
	OPT_DURATION,
	OPT_TIME,
	OPT_LSN,
	OPT_SECRET
};

struct mb_option
{
	const char *name; /* without dashes and without "repository-" */
	char letter;      /* short option, or 0 */
	enum mb_option_type type;
	enum mb_scope scope;
	unsigned commands;   /* which commands take it */
	const char *dflt;    /* or NULL */
	const char *choices; /* OPT_CHOICE: "a|b|c"; OPT_INTEGER: "auto|1..8" style help text */
	const char *metavar; /* "URL" */
	const char *help;
};

extern const struct mb_option mb_options[];
extern const size_t mb_option_count;

/* A value and where it came from, for error texts. */
struct mb_value
{
	const struct mb_option *option;
	char *text;
	char *origin; /* "option --workers", "variable MBACKUP_WORKERS", "/etc/m.conf line 3" */
};

struct mb_values
{
	struct mb_value *items;
	size_t count;
	size_t cap;
};

void mb_values_add(struct mb_values *values, const struct mb_option *option, const char *text,
				   const char *origin);
void mb_values_release(struct mb_values *values);
/* The i-th value of an option by scope and name, or NULL. */
const char *mb_values_get(const struct mb_values *values, enum mb_scope scope, const char *name,
						  size_t i);

/* Find a row; NULL when there is none. */
const struct mb_option *mb_option_find(enum mb_scope scope, const char *name);
/* The row that a key of the file stands for; *suffix is "", "-file" or "-command". */
const struct mb_option *mb_option_find_key(enum mb_scope scope, const char *key,
										   const char **suffix);
/* The row of a long option without its dashes, for a command; *suffix as above; NULL: there is none. */
const struct mb_option *mb_option_find_long(const char *name, unsigned command,
											const char **suffix);
/* The nearest known name in a scope (within 3 edits), or NULL. */
const char *mb_option_nearest(enum mb_scope scope, const char *name);
/* Does the text fit the type?  MB_CONFIG with the origin when not. */
enum mb_code mb_option_check(const struct mb_option *option, const char *text, const char *origin,
							 struct mb_error *err) MB_MUST_CHECK;
/* The long option of a row: "repository-url"; out has 80 bytes. */
void mb_option_long_name(const struct mb_option *option, char out[80]);
/* The environment variable of a [global] or [repository] row: "MBACKUP_REPOSITORY_URL". */
void mb_option_variable(const struct mb_option *option, char out[100]);
/* May a copy of the repository have a value of its own for this [repository] row? */
bool mb_option_is_of_place(const struct mb_option *option);

/*
 * Parse argv[1..] of one command.  Positional words are appended to words (borrowed
 * from argv).  "--name value", "--name=value", "-n value", "--" ends options.
 */
struct mb_words
{
	char **items;
	size_t count;
	size_t cap;
};
enum mb_code mb_options_parse(int argc, char **argv, enum mb_command_id command,
							  struct mb_values *values, struct mb_words *words,
							  struct mb_error *err) MB_MUST_CHECK;

#endif
