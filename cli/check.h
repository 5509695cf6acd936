/* check.h - what the files of "mbackup check" share: findings about this host and its configuration. */
#ifndef MB_CLI_CHECK_H
#define MB_CLI_CHECK_H

#include "cli/cli.h"
#include "core/base/names.h"
#include "core/engine/check.h"

/* check_place.c: mbackup.conf and the files of its secrets, then the spool (env.spool is set). */
void check_configuration(const struct mb_cli *cli, struct mb_checks *checks);
void check_spool(const struct mb_cli *cli, struct mb_checks *checks);
/* The directory of the repository, when it is one; full_bytes: of the newest full backup, or 0. */
void check_directory(const struct mb_cli *cli, uint64_t full_bytes, struct mb_checks *checks);

/* check_programs.c: what [hooks], the services and [daemon] name, as far as it can be looked for. */
void check_programs(struct mb_cli *cli, struct mb_checks *checks);

/*
 * check_accept.c: accept-warnings as names, "ID" or "ID:COMPONENT", for checks->accepted.  MB_CONFIG
 * for an identifier that there is not.  Release them in any case.
 */
enum mb_code check_read_accepted(const struct mb_cli *cli, struct mb_names *accepted,
								 struct mb_error *err) MB_MUST_CHECK;

/* "the user that we are", for chown; "#1000" when it has no name.  out has 64 bytes. */
const char *check_user(char out[64]);

#endif
