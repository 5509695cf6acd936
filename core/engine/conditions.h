/*
 * conditions.h - everything that `mbackup check` looks at, as one table: the identifier that stands in
 * its answers, what is looked at, why it matters, and what mends it.
 *
 * docs/check.md is made of it (tests/check_conditions.sh --write), and a finding whose identifier
 * is not in it, a row that no test provokes, and a page that says something else fail
 * tests/check_conditions.sh.
 */
#ifndef MB_ENGINE_CONDITIONS_H
#define MB_ENGINE_CONDITIONS_H

#include <stddef.h>

struct mb_condition
{
	const char *id;   /* "postgres.wal-level"; it never changes */
	const char *what; /* what is looked at */
	const char *why;  /* what happens to those who leave it so */
	const char *fix;  /* with names in capitals; the finding itself has the real ones */
};

extern const struct mb_condition mb_conditions[];
extern const size_t mb_condition_count;

const struct mb_condition *mb_condition_find(const char *id); /* NULL: there is none */

#endif
