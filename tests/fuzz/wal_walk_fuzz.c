/* wal_walk_fuzz.c - any bytes as WAL, in any pieces: the same facts, no fault, bounded memory. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "walstreamer/wal_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk_all(const uint8_t *data, size_t size, size_t chunk, struct mb_wal_facts *facts,
		 struct mb_wal_walk *walk)
{
	size_t at;

	memset(facts, 0, sizeof(*facts));
	mb_wal_walk_init(walk, 3u << 20, 1u << 20);
	for (at = 0; at < size; at += chunk)
		mb_wal_walk_feed(walk, data + at, size - at < chunk ? size - at : chunk, facts);
	MB_ASSERT(walk->lsn == (3u << 20) + size);
	MB_ASSERT(facts->point_count <= MB_WAL_MAX_POINTS);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_wal_facts whole, pieces;
	struct mb_wal_walk a, b;
	const char *why;

	if (size < 2)
		return 0;
	walk_all(data + 1, size - 1, SIZE_MAX / 2, &whole, &a);
	walk_all(data + 1, size - 1, (size_t) data[0] + 1, &pieces, &b);
	MB_ASSERT(whole.records == pieces.records && whole.commits == pieces.commits);
	MB_ASSERT(whole.point_count == pieces.point_count && a.lost_count == b.lost_count);
	MB_ASSERT(whole.newest_commit_us == pieces.newest_commit_us);
	mb_wal_segment_is(data + 1, size - 1, 1, 0, 1u << 20, &why);
	mb_wal_facts_release(&whole);
	mb_wal_facts_release(&pieces);
	return 0;
}
