/*
 * load.h - dumps into a running server: what an import of an archive does to Postgres.
 *
 * A database that is not there is made as the dump says.  One that is there and empty is filled, in one
 * transaction.  One that holds something is refused, or with MB_PG_LOAD_ASIDE renamed first and kept.
 * What a load that fails has made is dropped, and what it has renamed gets its name back.
 *
 * A dump is a program: whoever loads one trusts who made it.  One thread at a time.
 */
#ifndef MB_POSTGRES_LOAD_H
#define MB_POSTGRES_LOAD_H

#include "core/engine/component.h"

enum mb_pg_load_flags
{
	MB_PG_LOAD_ASIDE = 1
};
enum mb_pg_load_kind
{
	MB_PG_LOAD_DUMP, /* of pg_dump -Fc */
	MB_PG_LOAD_SQL   /* of pg_dump */
};

struct mb_pg_load;

/* conninfo NULL: the component's own.  MB_UNREACHABLE, MB_DENIED; MB_NOT_FOUND: no pg_restore. */
enum mb_code mb_pg_load_open(struct mb_pg_load **load, struct mb_component *component,
							 const char *conninfo, unsigned flags,
							 struct mb_error *err) MB_MUST_CHECK;
void mb_pg_load_close(struct mb_pg_load *load); /* drops what is half loaded; NULL does nothing */
const char *mb_pg_load_place(const struct mb_pg_load *load); /* "host:port", borrowed */

/* May this database be loaded?  MB_CONFLICT: it holds something.  Touches nothing. */
enum mb_code mb_pg_load_check(struct mb_pg_load *load, const char *database,
							  struct mb_error *err) MB_MUST_CHECK;
/*
 * Roles of pg_dumpall --globals-only that the server does not have, with their memberships.  What is there
 * already stays as it is.  Adds to warnings (array of texts).
 */
enum mb_code mb_pg_load_globals(struct mb_pg_load *load, const char *text, json_t *warnings,
								struct mb_error *err) MB_MUST_CHECK;

/*
 * One database at a time: begin, write the dump, end.  What a failure leaves is taken back, at the latest by
 * mb_pg_load_close.  MB_CONFLICT as mb_pg_load_check.
 */
enum mb_code mb_pg_load_begin(struct mb_pg_load *load, const char *database,
							  enum mb_pg_load_kind kind, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_pg_load_write(struct mb_pg_load *load, const void *data, size_t len,
							  struct mb_error *err) MB_MUST_CHECK;
/* *aside: what the database that was there is called now, or NULL; free() it. */
enum mb_code mb_pg_load_end(struct mb_pg_load *load, char **aside,
							struct mb_error *err) MB_MUST_CHECK;

#endif
