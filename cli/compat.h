/*
 * compat.h - what the files of `mbackup compat` share: one run of it, as the scripts ran.
 *
 *     cmd_compat.c       the two verbs, their order and their answer
 *     compat_work.c      the lock, the configuration it works with, the commands it runs
 *     compat_keep.c      what happens to an archive afterwards: upload and retention
 *
 * The work is done by the ordinary commands, as children: backup, then export; or import.  Their
 * repository is that of mbackup.conf where there is one.  Where there is none it is thrown away: a
 * directory below BACKUP_DIR that is encrypted with a key that nobody ever sees, and removed at the end.  A
 * permanent one was rejected: nobody asked for it, it would double what BACKUP_DIR holds, and it would
 * need a secret of its own that nobody keeps.  Its price is that every archive reads everything.
 */
#ifndef MB_CLI_COMPAT_H
#define MB_CLI_COMPAT_H

#include "cli/backup_conf.h"
#include "cli/cli.h"

struct compat_run
{
	struct mb_cli *cli;
	struct backup_conf conf;
	const char *directory; /* BACKUP_DIR */
	int lock_fd;
	char *work;        /* below it, or NULL: not made */
	char *config_path; /* of the children */
	bool throw_away;   /* config_path and its repository are ours */
	bool compress;
	bool encrypt;
	bool verify;
	char *archive;
	bool uploaded;
	json_t *removed;
};

/* compat_work.c */
enum mb_code compat_open(struct compat_run *run, struct mb_error *err) MB_MUST_CHECK;
void compat_close(struct compat_run *run);
/* Run `mbackup --config CONFIG words... --json`; its answer in *answer (may be NULL), new. */
enum mb_code compat_command(struct compat_run *run, const char *const *words, json_t **answer,
							struct mb_error *err) MB_MUST_CHECK;
/*
 * Append "--component", NAME for each component that BACKUP_TYPE or RESTORE_MODE means; nothing for all.
 * The texts are owned by the configuration.  MB_CONFIG: no such type.
 */
enum mb_code compat_select(struct compat_run *run, const char *mode, const char **words,
						   size_t *count, size_t max, struct mb_error *err) MB_MUST_CHECK;

/* compat_keep.c */
enum mb_code compat_upload(struct compat_run *run, struct mb_error *err) MB_MUST_CHECK;
/* Remove archives of ours that are older than RETENTION_DAYS; never the newest, never another file. */
enum mb_code compat_expire(struct compat_run *run, struct mb_error *err) MB_MUST_CHECK;
/* The path of the newest archive in BACKUP_DIR; free it.  MB_NOT_FOUND. */
enum mb_code compat_newest(const struct compat_run *run, char **path,
						   struct mb_error *err) MB_MUST_CHECK;

#endif
