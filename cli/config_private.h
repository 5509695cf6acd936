/* config_private.h - what config.c, config_file.c and config_secret.c share. */
#ifndef MB_CLI_CONFIG_PRIVATE_H
#define MB_CLI_CONFIG_PRIVATE_H

#include "cli/config.h"

/*
 * config_file.c: read config->path into config, as it stands there: neither defaults nor secrets are
 * looked up.  MB_CONFIG with file and line, MB_DENIED when others may read a secret in it.
 */
enum mb_code mb_config_parse(struct mb_config *config, struct mb_error *err) MB_MUST_CHECK;
/* Whose keys a section of this kind takes ("redis", "repository"). */
enum mb_scope mb_config_scope_of_kind(const char *kind);

/*
 * config_secret.c: the secret of a section of its own, from MBACKUP_<NAME>_<KEY>, "password",
 * "password-file" or "password-command", into the settings; without any, nothing.
 */
enum mb_code mb_config_resolve_secret(struct mb_settings *settings, const struct mb_option *option,
									  struct mb_error *err) MB_MUST_CHECK;

#endif
