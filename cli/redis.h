/*
 * redis.h - what the verbs of `mbackup redis` share: one component of kind redis and its data at
 * a moment.
 */
#ifndef MB_CLI_REDIS_H
#define MB_CLI_REDIS_H

#include "cli/cli.h"

/* What a command needs before it runs, by its verb: an RDB file needs no configuration. */
unsigned redis_needs(const struct mb_cli *cli);

/* cmd_redis.c */
/*
 * The component that the first word behind the verb names, or the only one; *next is the word
 * behind it.  MB_NOT_FOUND names what there is; MB_CONFIG when it is of another kind.
 */
enum mb_code redis_component(struct mb_cli *cli, struct mb_component **component, size_t *next,
							 struct mb_error *err) MB_MUST_CHECK;

/* "exclude each other" and "one word too many", with what to write instead; MB_CONFIG. */
enum mb_code redis_exclude(const char *one, const char *other, struct mb_error *err);
enum mb_code redis_too_many(const struct mb_cli *cli, size_t word, struct mb_error *err);

/* A moment as a restore is told it. */
struct redis_moment
{
	struct mb_target target;
	char id[256]; /* of a backup or a mark; else empty */
};
/* What --at says: a mark, a backup or a time; without it the newest backup. */
enum mb_code redis_moment(struct mb_cli *cli, const struct mb_component *component,
						  struct redis_moment *moment, struct mb_error *err) MB_MUST_CHECK;
/*
 * A restore of the component to that moment into `directory` (flags: enum mb_restore_flags); *part
 * is the component's part of the answer, a new reference.
 */
enum mb_code redis_restore_to(struct mb_cli *cli, struct mb_component *component,
							  const struct redis_moment *moment, const char *directory,
							  unsigned flags, json_t **part, struct mb_error *err) MB_MUST_CHECK;

/* cmd_redis_info.c */
enum mb_code redis_info(struct mb_cli *cli, struct mb_error *err);
void render_redis_info(const json_t *info, FILE *out);
/* cmd_redis_ls.c */
enum mb_code redis_ls(struct mb_cli *cli, struct mb_error *err);

#endif
