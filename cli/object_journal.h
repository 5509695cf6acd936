/*
 * object_journal.h - the table of object events in Postgres: made by `mbackup objects journal
 * install`, read by journalled buckets (objectstore/journal_source.h).
 */
#ifndef MB_CLI_OBJECT_JOURNAL_H
#define MB_CLI_OBJECT_JOURNAL_H

#include "cli/objects.h"
#include "objectstore/journal_source.h"

extern const struct mb_journal_source cli_object_journal;

/* mbackup objects journal install NAME */
enum mb_code objects_journal(struct mb_cli *cli, struct mb_error *err);

#endif
