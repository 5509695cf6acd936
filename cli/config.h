/*
 * config.h - what is in force: command line > environment > mbackup.conf > default.
 */
#ifndef MB_CLI_CONFIG_H
#define MB_CLI_CONFIG_H

#include "cli/options.h"
#include "core/engine/env.h"

/* A second place of the repository. */
struct mb_copy_section
{
	char *name;
	char *url;                   /* never NULL once the file has been read */
	struct mb_settings settings; /* named "repository:NAME"; with defaults and secrets */
	char *place;                 /* what tells it from others: the url, and of s3:// the endpoint */
	int line;
};

struct mb_config
{
	char *path; /* absolute path of the file that was read, or NULL */
	struct mb_values command_line;
	struct mb_values file;          /* [global] and [repository] */
	struct mb_settings *components; /* sections of components, in order, defaults filled in */
	size_t component_count;
	size_t component_cap;
	struct mb_copy_section *copies; /* [repository:NAME], in order */
	size_t copy_count;
	size_t copy_cap;
	struct mb_settings *retentions; /* [retention] (name "") and [retention:COMPONENT] (its name) */
	size_t retention_count;
	size_t retention_cap;
};

enum mb_config_flags
{
	MB_CONFIG_MAY_BE_MISSING = 1,
	/* Which sections there are: no defaults, no secrets, nothing is run. */
	MB_CONFIG_NAMES_ONLY = 2
};

/*
 * Find and read the file (--config, $MBACKUP_CONFIG, ~/.config/mbackup/mbackup.conf,
 * /etc/mbackup/mbackup.conf).  config->command_line has been filled before.  MB_CONFIG
 * with file and line for anything that is not in the table (the nearest name in the
 * hint), MB_DENIED when it holds a secret and others may read it, MB_NOT_FOUND when
 * there is none.
 */
enum mb_code mb_config_read(struct mb_config *config, unsigned flags,
							struct mb_error *err) MB_MUST_CHECK;
void mb_config_release(struct mb_config *config);

/* The value in force of a [global] or [repository] key, or its default, or NULL. */
const char *mb_config_get(const struct mb_config *config, enum mb_scope scope, const char *name);
/* The path --config names, or the first that exists, or the one that init should write. */
char *mb_config_path(const struct mb_config *config);
/*
 * The secret of a row, from value, -file or -command (first line without its newline),
 * or from the environment.  *found is false when nothing is set.
 */
enum mb_code mb_config_secret(const struct mb_config *config, enum mb_scope scope, const char *name,
							  struct mb_secret *secret, bool *found,
							  struct mb_error *err) MB_MUST_CHECK;
/* What the first place of the repository needs, as settings named "repository". */
enum mb_code mb_config_place(const struct mb_config *config, struct mb_settings *settings,
							 struct mb_error *err) MB_MUST_CHECK;
/* The url, and of s3:// the endpoint; free it. */
char *mb_config_place_text(const struct mb_settings *settings);
/* Is a command-line flag set? */
bool mb_config_flag(const struct mb_config *config, const char *name);

#endif
