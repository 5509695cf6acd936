/*
 * mask.h - hide secrets in configuration files before they are stored.
 *
 * Hidden are, in files that mb_mask_applies() to,
 *   the value of a key that a rule means: "KEY=value", "export KEY=value", "key: value",
 *   "key = value", '"key": "value"', "key value" (of a few keys, in *.conf), what a key has
 *   below it in YAML and between brackets, also over several lines;
 *   the password in a URL (scheme://user:password@) and in a query (?password=...);
 *   the passwords of .pgpass, .netrc and of users of Redis;
 * and in every text the private keys between the lines of PEM that say so.
 *
 * A value becomes "********", in its quotes if it has any; all else stays as it is, line ends too.
 * Left alone are empty values, true, false, null and the like, ${NAME}, and a path behind a key that ends in
 * "file" or "path".  When in doubt more is hidden.
 *
 * A rule is a glob over the name of a key, in any case; the last that matches decides, and "!GLOB" means that it
 * is no secret.  Which rule hit is counted; values are never told.
 *
 * Threads: a mask is read-only once its rules are added; hits belong to one thread.
 */
#ifndef MB_FILES_MASK_H
#define MB_FILES_MASK_H

#include <stdbool.h>

#include "core/base/mem.h"

#define MB_MASK_MAX_RULES 128

struct mb_mask
{
	char *rules[MB_MASK_MAX_RULES]; /* owned; names of rules, "!" in front of exceptions */
	size_t count;
};

/* How often each rule hit. */
struct mb_mask_hits
{
	uint64_t counts[MB_MASK_MAX_RULES];
};

/* With the rules that are built in. */
void mb_mask_init(struct mb_mask *mask);
/* MB_CONFIG when it is no glob, or there are too many. */
enum mb_code mb_mask_add(struct mb_mask *mask, const char *rule,
						 struct mb_error *err) MB_MUST_CHECK;
void mb_mask_release(struct mb_mask *mask);

/* How a file writes its keys and values. */
enum mb_mask_format
{
	MB_MASK_NONE, /* no file of configuration: private keys only */
	MB_MASK_TEXT, /* ini, properties, env, shell */
	MB_MASK_CONF, /* the same, and "key value" */
	MB_MASK_YAML,
	MB_MASK_TOML,
	MB_MASK_JSON,
	MB_MASK_PGPASS,
	MB_MASK_NETRC
};

/* By its name. */
enum mb_mask_format mb_mask_format_of(const char *path);
/* Mask in place; true when something was hidden.  Binary contents (a NUL) are left alone. */
bool mb_mask_contents(const struct mb_mask *mask, enum mb_mask_format format,
					  struct mb_buf *contents, struct mb_mask_hits *hits);

#endif
