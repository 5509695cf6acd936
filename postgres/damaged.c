/* damaged.c - see damaged.h. */
#include "postgres/damaged.h"

#include <stdlib.h>
#include <string.h>

#include "postgres/page_checksum.h"

#define MAX_DAMAGED 10000

enum mb_code
mb_postgres_page_is_torn(struct mb_postgres *pg, uint64_t start_lsn, const unsigned char *page,
						 bool *torn, struct mb_error *err)
{
	uint64_t lsn = mb_page_lsn(page), now;
	enum mb_code code;

	*torn = false;
	if (lsn <= start_lsn)
		return MB_OK;
	code = mb_postgres_wal_lsn(pg, &now, err);
	*torn = !code && lsn <= now;
	return code;
}

void
mb_pg_damaged_add(struct mb_pg_damaged *damaged, uint32_t page)
{
	if (damaged->count == MAX_DAMAGED)
		return;
	damaged->pages =
		mb_grow(damaged->pages, &damaged->cap, damaged->count + 1, sizeof(*damaged->pages));
	damaged->pages[damaged->count++] = page;
}

static int
compare_pages(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

void
mb_pg_damaged_sort(struct mb_pg_damaged *damaged)
{
	if (damaged->count > 0)
		qsort(damaged->pages, damaged->count, sizeof(*damaged->pages), compare_pages);
}

void
mb_pg_damaged_release(struct mb_pg_damaged *damaged)
{
	free(damaged->pages);
	memset(damaged, 0, sizeof(*damaged));
}
