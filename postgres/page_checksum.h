/*
 * page_checksum.h - the checksum that Postgres puts into every 8 KiB page (pd_checksum),
 * as PostgreSQL's storage/checksum_impl.h describes it: FNV-1a over 32 lanes, the block
 * number mixed in.  And the little of a page header that judging a page takes.
 */
#ifndef MB_POSTGRES_PAGE_CHECKSUM_H
#define MB_POSTGRES_PAGE_CHECKSUM_H

#include <stdbool.h>
#include <stdint.h>

#define MB_PG_PAGE_BYTES 8192u

/* Of a page at block number `block` of its fork (over all segments); the page is not changed. */
uint16_t mb_page_checksum(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block);
/* Does the page carry its right checksum, or is it one that was never written (pd_upper 0)? */
bool mb_page_is_good(const unsigned char page[MB_PG_PAGE_BYTES], uint32_t block);
uint64_t mb_page_lsn(const unsigned char page[MB_PG_PAGE_BYTES]);

#endif
