/*
 * component_postgres.h - the Postgres driver of core/engine/component.h: the clock.
 *
 * Wiring, in cli/drivers.c:
 *
 *     drivers[n++] = mb_postgres_component_ops(&mb_walstreamer_ops);
 *
 * Settings (kind "postgres"): conninfo; password (secret); method = auto | direct |
 * basebackup; slot (default "mbackup"); tail-interval (default 1s); ack
 * (repository or spool); spool-limit (default 4GiB).
 */
#ifndef MB_POSTGRES_COMPONENT_POSTGRES_H
#define MB_POSTGRES_COMPONENT_POSTGRES_H

#include "core/engine/component.h"
#include "postgres/wal_source.h"

#define MB_PG_DEFAULT_SLOT "mbackup"
#define MB_PG_DEFAULT_SPOOL_BYTES (4ull << 30)
#define MB_PG_DEFAULT_TAIL_MS 1000

/*
 * The driver, using this WAL keeper (borrowed, const, lives as long as the program).
 * Call once at start, before any thread: it only remembers the pointer.
 */
const struct mb_component_ops *mb_postgres_component_ops(const struct mb_wal_ops *wal);

/*
 * Let a restored cluster continue as the original: backups and streams of it are accepted
 * from now on; the next one begins a branch of its own.  directory NULL: where the server
 * says that its data is.  One that needs no adopting is MB_OK with "changed": false.
 */
enum mb_code mb_postgres_adopt(struct mb_component *component, const char *directory,
							   json_t **answer, struct mb_error *err) MB_MUST_CHECK;
/* Without a server, of a data directory: MB_CONFLICT when it was restored and not adopted. */
enum mb_code mb_pg_directory_is_adopted(const char *directory, struct mb_error *err) MB_MUST_CHECK;

/* The database of "DB.SCHEMA.TABLE"; free() it.  MB_CONFIG for anything else. */
enum mb_code mb_postgres_table_database(const char *text, char **database,
										struct mb_error *err) MB_MUST_CHECK;

#endif
