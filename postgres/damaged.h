/*
 * damaged.h - pages with a wrong checksum: torn or damaged, and the list of a file's damaged ones.
 *
 * Both ways of reading a cluster judge by it.  The list has no lock of its own.
 */
#ifndef MB_POSTGRES_DAMAGED_H
#define MB_POSTGRES_DAMAGED_H

#include "postgres/private.h"

/*
 * A page that is being written is torn only if WAL since the backup's start holds a full image
 * of it, so only if its LSN lies behind the start and not in the future.
 */
enum mb_code mb_postgres_page_is_torn(struct mb_postgres *pg, uint64_t start_lsn,
									  const unsigned char *page, bool *torn,
									  struct mb_error *err) MB_MUST_CHECK;

struct mb_pg_damaged
{
	uint32_t *pages; /* numbers in the file; at most 10,000 are kept */
	size_t count;
	size_t cap;
};
void mb_pg_damaged_add(struct mb_pg_damaged *damaged, uint32_t page);
void mb_pg_damaged_sort(struct mb_pg_damaged *damaged);
void mb_pg_damaged_release(struct mb_pg_damaged *damaged);

#endif
