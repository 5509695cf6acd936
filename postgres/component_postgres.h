/*
 * component_postgres.h - the Postgres driver of engine/component.h: the clock.
 *
 * Wiring, in cli/drivers.c:
 *
 *     drivers[n++] = mb_postgres_component_ops(&mb_walstreamer_ops);
 *
 * Settings (kind "postgres"): conninfo; password (secret); method = auto | direct |
 * basebackup; slot (default "mbackup"); tail-interval (default 1s).
 */
#ifndef MB_POSTGRES_COMPONENT_POSTGRES_H
#define MB_POSTGRES_COMPONENT_POSTGRES_H

#include "core/engine/component.h"
#include "postgres/wal_source.h"

#define MB_PG_DEFAULT_SLOT "mbackup"
#define MB_PG_DEFAULT_TAIL_MS 1000

/*
 * The driver, using this WAL keeper (borrowed, const, lives as long as the program).
 * Call once at start, before any thread: it only remembers the pointer.
 */
const struct mb_component_ops *mb_postgres_component_ops(const struct mb_wal_ops *wal);

#endif
