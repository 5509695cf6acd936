/*
 * backup_conf.h - the backup.conf of shell scripts: read, never run.
 *
 * A line NAME=value, with "export", quotes, comments, and the expansions $NAME, ${NAME} and ${NAME:-value}
 * of what stands above or in the environment; a list NAME=(a b) becomes its words with blanks between.
 * Whatever else a shell would do is not done, and said: conditions, functions, $(commands).
 */
#ifndef MB_CLI_BACKUP_CONF_H
#define MB_CLI_BACKUP_CONF_H

#include "core/base/json.h"
#include "core/base/mem.h"

#define BACKUP_CONF_MAX_BYTES (1u << 20)

struct backup_conf
{
	json_t *inherited; /* names of those that came from the environment, owned */
	json_t *values;    /* name -> text, owned */
	json_t *
		not_taken; /* array of {line, name, why}, owned: what was not understood, or has no meaning */
	json_t *taken; /* array of {name, becomes}, owned; without secrets */
};

/* Where $NAME is looked for besides: getenv(3) or something for tests. */
typedef const char *(*backup_conf_env)(const char *name);

/* MB_CORRUPT: not a text.  Anything else is read as far as it can be. */
enum mb_code backup_conf_parse(struct backup_conf *conf, const char *text, size_t len,
							   backup_conf_env env, struct mb_error *err) MB_MUST_CHECK;
/* The file, or NULL, and the variables of the environment that the scripts knew. */
enum mb_code backup_conf_read(struct backup_conf *conf, const char *path,
							  struct mb_error *err) MB_MUST_CHECK;
void backup_conf_release(struct backup_conf *conf);

/* A value, or NULL when it is missing or empty. */
const char *backup_conf_get(const struct backup_conf *conf, const char *name);
/* true, yes, on, 1; anything else but these and their opposites is MB_CONFIG. */
enum mb_code backup_conf_flag(const struct backup_conf *conf, const char *name, bool dflt,
							  bool *value, struct mb_error *err) MB_MUST_CHECK;

/* Where secrets go.  One from the environment is never written: a comment says where it comes from. */
enum backup_conf_secrets
{
	BACKUP_CONF_WRITE,      /* into the text */
	BACKUP_CONF_ENVIRONMENT /* setenv(3), for children */
};
struct backup_conf_options
{
	const char *repository; /* url */
	const char *spool;
	const char *unlock; /* lines of [repository] in place of ENCRYPTION_KEY; NULL or "": none */
	enum backup_conf_secrets secrets;
	bool throw_away; /* only components: encryption and copies are the caller's */
};
/* The mbackup.conf that means the same; fills conf->taken and ->not_taken.  MB_CONFIG. */
enum mb_code backup_conf_write(struct backup_conf *conf, const struct backup_conf_options *options,
							   struct mb_buf *out, struct mb_error *err) MB_MUST_CHECK;

#endif
