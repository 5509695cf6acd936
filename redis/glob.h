/*
 * glob.h - which keys a restore is about: the "--only [DB:]PATTERN" of Redis.
 *
 * A pattern is the glob of KEYS and SCAN: * ? [a-z] [^x] and \ before a character that is
 * meant as it stands.  Keys are bytes.  Digits and a colon in front are a database; a
 * pattern whose keys begin so is written [3]:... instead.
 */
#ifndef MB_REDIS_GLOB_H
#define MB_REDIS_GLOB_H

#include "core/base/mem.h"

#define MB_GLOB_EVERY_DB (-1)

struct mb_redis_only
{
	int64_t db;          /* or MB_GLOB_EVERY_DB */
	const char *pattern; /* borrowed from the text */
};

/* MB_CONFIG: an empty pattern, a database that is no number of one. */
enum mb_code mb_redis_only_parse(struct mb_redis_only *only, const char *text,
								 struct mb_error *err) MB_MUST_CHECK;

/* Is the key in one of them?  None (count 0): every key is. */
bool mb_redis_only_match(const struct mb_redis_only *only, size_t count, int64_t db,
						 const void *key, size_t len);
/* Can a key of this database be in one of them? */
bool mb_redis_only_db(const struct mb_redis_only *only, size_t count, int64_t db);

bool mb_redis_glob(const char *pattern, size_t pattern_len, const void *key, size_t len);

#endif
