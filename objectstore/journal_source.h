/*
 * journal_source.h - what a journalled bucket needs from whoever keeps its events in a database.
 *
 * With consistency = journalled MinIO writes each event of the bucket into a table of the very
 * database that is the clock, synchronously (docs/objects.md): the history of the objects is then
 * itself in the WAL, and a version is before or after a cut because its event is, whatever the
 * clocks say.  objectstore/ may not include postgres/, so it states its needs here; cli/object_journal.c
 * fills the table and cli/drivers.c hands it over: mb_objects_component_ops(&cli_object_journal).
 *
 * What a fault of the database lost is not in it: a version without an event is placed by its time, and
 * counted.
 */
#ifndef MB_OBJECTSTORE_JOURNAL_SOURCE_H
#define MB_OBJECTSTORE_JOURNAL_SOURCE_H

#include "core/engine/component.h"

/* data: {"Records": [...]} with encoded keys; borrowed for the call. */
typedef enum mb_code (*mb_journal_row_fn)(void *ctx, uint64_t id, uint64_t lsn, const char *data,
										  size_t len, struct mb_error *err);

/* settings: those of the bucket's component; `journal` is the connection string. */
struct mb_journal_source
{
	/*
	 * Every row behind `after`, in the order of ids.  MB_NOT_FOUND: there is no such table
	 * ("mbackup objects journal install" makes it); MB_UNREACHABLE, MB_DENIED.
	 */
	enum mb_code (*read)(const struct mb_settings *settings, uint64_t after, mb_journal_row_fn fn,
						 void *ctx, struct mb_error *err);
	/* Remove rows up to this id that are older than a day: they are in the repository. */
	enum mb_code (*prune)(const struct mb_settings *settings, uint64_t up_to, struct mb_error *err);
	/* Findings of `mbackup check`. */
	enum mb_code (*check)(const struct mb_settings *settings, struct mb_checks *checks,
						  struct mb_error *err);
};

#endif
