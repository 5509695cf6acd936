/* wal_walk.c - see wal_walk.h. */
#include "walstreamer/wal_walk.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"

#define SHORT_HEADER 24u
#define LONG_HEADER 40u
#define FIRST_IS_CONTRECORD 0x0001
#define HAS_LONG_HEADER 0x0002
#define FIRST_IS_OVERWRITE 0x0008
#define ALL_PAGE_FLAGS 0x000F

#define RECORD_HEADER 24u
/* XLogRecordMaxSize of 16 and later; older servers bound it by MaxAllocSize. */
#define RECORD_MAX (1020u << 20)

#define RM_XLOG 0
#define RM_XACT 1
#define XLOG_SWITCH 0x40
#define XLOG_RESTORE_POINT 0x70
#define XACT_OPMASK 0x70
#define XACT_COMMIT 0x00
#define XACT_ABORT 0x20
#define XACT_COMMIT_PREPARED 0x30
#define XACT_ABORT_PREPARED 0x40

#define ID_DATA_SHORT 255
#define ID_DATA_LONG 254
#define ID_ORIGIN 253
#define ID_TOPLEVEL_XID 252

/* Microseconds between 1970-01-01 and 2000-01-01. */
#define PG_EPOCH_US 946684800000000LL

/* XLOG_PAGE_MAGIC of the released versions, 13 to 18. */
static const uint16_t known_magic[] = {0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118};

bool
mb_wal_magic_is_known(uint16_t magic)
{
	size_t i;

	for (i = 0; i < sizeof(known_magic) / sizeof(*known_magic); i++)
		if (known_magic[i] == magic)
			return true;
	return false;
}

void
mb_wal_facts_release(struct mb_wal_facts *facts)
{
	free(facts->points);
	memset(facts, 0, sizeof(*facts));
}

/* A place for one more restore point; above the maximum the last one is given again. */
static struct mb_wal_fact_point *
next_point(struct mb_wal_facts *facts)
{
	if (facts->point_count >= MB_WAL_MAX_POINTS)
		facts->points_dropped = true;
	else
	{
		facts->points = mb_grow(facts->points, &facts->point_cap, facts->point_count + 1,
								sizeof(*facts->points));
		facts->point_count++;
	}
	return &facts->points[facts->point_count - 1];
}

void
mb_wal_facts_merge(struct mb_wal_facts *facts, const struct mb_wal_facts *later)
{
	size_t i;

	if (later->commits > 0)
	{
		if (facts->commits == 0)
			facts->first_commit_us = later->first_commit_us;
		if (facts->commits == 0 || later->newest_commit_us > facts->newest_commit_us)
			facts->newest_commit_us = later->newest_commit_us;
		facts->last_commit_us = later->last_commit_us;
		facts->commits += later->commits;
	}
	if (later->records > 0)
	{
		facts->last_record_lsn = later->last_record_lsn;
		facts->records += later->records;
	}
	for (i = 0; i < later->point_count; i++)
		*next_point(facts) = later->points[i];
	facts->points_dropped |= later->points_dropped;
}

void
mb_wal_walk_init(struct mb_wal_walk *walk, uint64_t lsn, uint32_t segment_size)
{
	MB_ASSERT(lsn % MB_WAL_PAGE_BYTES == 0);
	memset(walk, 0, sizeof(*walk));
	walk->lsn = lsn;
	walk->segment_size = segment_size;
}

static uint32_t
page_offset(const struct mb_wal_walk *walk)
{
	return (uint32_t) (walk->lsn % MB_WAL_PAGE_BYTES);
}

static void
lose(struct mb_wal_walk *walk)
{
	walk->lost = true;
	walk->lost_count++;
	walk->record_total = 0;
	walk->skip = 0;
}

static void
add_commit(struct mb_wal_facts *facts, int64_t time_us)
{
	if (facts->commits++ == 0)
		facts->first_commit_us = time_us;
	facts->last_commit_us = time_us;
	if (facts->commits == 1 || time_us > facts->newest_commit_us)
		facts->newest_commit_us = time_us;
}

static void
add_point(struct mb_wal_facts *facts, const unsigned char *main_data, uint64_t end_lsn)
{
	struct mb_wal_fact_point *point = next_point(facts);

	point->time_us = (int64_t) mb_get_u64(main_data) + PG_EPOCH_US;
	point->lsn = end_lsn;
	memcpy(point->name, main_data + 8, MB_WAL_POINT_NAME);
	point->name[MB_WAL_POINT_NAME - 1] = '\0';
}

/*
 * Offset of the main data of a record without block references, or 0.  Records of the two
 * managers that we look into have none, but for those that we do not want.
 */
static size_t
main_data_offset(const unsigned char *record, size_t len, uint32_t *main_len)
{
	size_t at = RECORD_HEADER;

	while (at < len)
	{
		unsigned id = record[at++];

		if (id == ID_DATA_SHORT && at + 1 <= len)
		{
			*main_len = record[at];
			return at + 1;
		}
		if (id == ID_DATA_LONG && at + 4 <= len)
		{
			*main_len = mb_get_u32(record + at);
			return at + 4;
		}
		if (id == ID_ORIGIN)
			at += 2;
		else if (id == ID_TOPLEVEL_XID)
			at += 4;
		else
			return 0;
	}
	return 0;
}

static bool
is_transaction_end(unsigned info)
{
	unsigned op = info & XACT_OPMASK;

	return op == XACT_COMMIT || op == XACT_ABORT || op == XACT_COMMIT_PREPARED ||
		   op == XACT_ABORT_PREPARED;
}

/* A whole record has gone by; walk->lsn stands behind its last byte. */
static void
finish_record(struct mb_wal_walk *walk, struct mb_wal_facts *facts)
{
	size_t len =
		walk->record_total < MB_WAL_RECORD_KEEP ? (size_t) walk->record_total : MB_WAL_RECORD_KEEP;
	unsigned info = walk->record[16];
	unsigned manager = walk->record[17];
	uint64_t end_lsn = (walk->lsn + 7) & ~(uint64_t) 7;
	uint32_t main_len = 0;
	size_t at;

	walk->record_total = 0;
	if (manager == RM_XLOG && (info & 0xF0) == XLOG_SWITCH)
		walk->skip_until =
			(walk->lsn + walk->segment_size - 1) / walk->segment_size * walk->segment_size;
	if (!facts)
		return;
	facts->records++;
	facts->last_record_lsn = walk->record_lsn;
	if (manager != RM_XLOG && manager != RM_XACT)
		return;
	at = main_data_offset(walk->record, len, &main_len);
	if (at == 0)
		return;
	if (manager == RM_XACT && is_transaction_end(info) && main_len >= 8 && at + 8 <= len)
		add_commit(facts, (int64_t) mb_get_u64(walk->record + at) + PG_EPOCH_US);
	else if (manager == RM_XLOG && (info & 0xF0) == XLOG_RESTORE_POINT &&
			 main_len >= 8 + MB_WAL_POINT_NAME && at + 8 + MB_WAL_POINT_NAME <= len)
		add_point(facts, walk->record + at, end_lsn);
}

/* The page header is complete: check it and see how the page begins. */
static void
take_page_header(struct mb_wal_walk *walk)
{
	uint16_t info = mb_get_u16(walk->head + 2);
	uint64_t page = walk->lsn - walk->head_len;
	uint32_t rest = mb_get_u32(walk->head + 16);

	walk->lost = false;
	if (walk->lsn <= walk->skip_until)
		return; /* padding behind a switch */
	walk->magic = mb_get_u16(walk->head);
	walk->timeline = mb_get_u32(walk->head + 4);
	if (!mb_wal_magic_is_known(walk->magic) || (info & ~ALL_PAGE_FLAGS) ||
		mb_get_u64(walk->head + 8) != page)
	{
		lose(walk);
		return;
	}
	if (info & HAS_LONG_HEADER)
		walk->system_id = mb_get_u64(walk->head + 24);
	walk->skip = 0;
	if (info & FIRST_IS_CONTRECORD)
	{
		if (walk->record_total > 0 && walk->record_total - walk->record_got == rest)
			return;
		/* A record whose beginning we have not seen, or not this one. */
		walk->record_total = 0;
		walk->skip = rest;
	}
	else
		walk->record_total = 0; /* overwritten after a crash, or nothing open */
}

/* Gather the page header; returns the bytes taken. */
static size_t
feed_header(struct mb_wal_walk *walk, const unsigned char *data, size_t len)
{
	size_t take;

	if (walk->head_len == 0)
		walk->head_want = SHORT_HEADER;
	take = walk->head_want - walk->head_len;
	if (take > len)
		take = len;
	memcpy(walk->head + walk->head_len, data, take);
	walk->head_len += (uint32_t) take;
	walk->lsn += take;
	if (walk->head_len == SHORT_HEADER && walk->head_want == SHORT_HEADER &&
		(mb_get_u16(walk->head + 2) & HAS_LONG_HEADER))
		walk->head_want = LONG_HEADER;
	if (walk->head_len == walk->head_want)
	{
		take_page_header(walk);
		walk->head_len = walk->head_want = 0;
	}
	return take;
}

/* Bytes of the open record; returns the bytes taken (at least one, unless len is 0). */
static size_t
feed_record(struct mb_wal_walk *walk, const unsigned char *data, size_t len,
			struct mb_wal_facts *facts)
{
	uint64_t want = walk->record_total - walk->record_got;
	size_t take = len < want ? len : (size_t) want;

	if (walk->record_got < MB_WAL_RECORD_KEEP)
	{
		size_t keep = MB_WAL_RECORD_KEEP - (size_t) walk->record_got;

		memcpy(walk->record + walk->record_got, data, take < keep ? take : keep);
	}
	walk->record_got += take;
	walk->lsn += take;
	/* The length is known once its four bytes are there; they never cross a page. */
	if (walk->record_got >= 4 && walk->record_total == 4)
	{
		uint32_t total = mb_get_u32(walk->record);

		if (total == 0)
		{
			/* Nothing more on this page: zeroes behind a switch or the end. */
			walk->record_total = 0;
			walk->lost = true;
		}
		else if (total < RECORD_HEADER || total > RECORD_MAX)
			lose(walk);
		else
			walk->record_total = total;
	}
	else if (walk->record_got == walk->record_total)
		finish_record(walk, facts);
	return take;
}

static size_t
feed_page(struct mb_wal_walk *walk, const unsigned char *data, size_t len,
		  struct mb_wal_facts *facts)
{
	size_t pad;

	if (walk->lost || walk->lsn < walk->skip_until)
	{
		walk->lsn += len;
		return len;
	}
	if (walk->skip > 0)
	{
		size_t take = len < walk->skip ? len : (size_t) walk->skip;

		walk->skip -= take;
		walk->lsn += take;
		return take;
	}
	if (walk->record_total > 0)
		return feed_record(walk, data, len, facts);
	pad = (size_t) (-walk->lsn & 7);
	if (pad > 0)
	{
		pad = pad < len ? pad : len;
		walk->lsn += pad;
		return pad;
	}
	walk->record_lsn = walk->lsn;
	walk->record_total = 4; /* for now: its length */
	walk->record_got = 0;
	return feed_record(walk, data, len, facts);
}

void
mb_wal_walk_feed(struct mb_wal_walk *walk, const void *data, size_t len, struct mb_wal_facts *facts)
{
	const unsigned char *p = data;

	while (len > 0)
	{
		uint32_t at = page_offset(walk);
		size_t take;

		if (at == 0 || walk->head_len > 0)
			take = feed_header(walk, p, len);
		else
		{
			take = MB_WAL_PAGE_BYTES - at;
			take = feed_page(walk, p, take < len ? take : len, facts);
		}
		p += take;
		len -= take;
	}
}

bool
mb_wal_segment_is(const unsigned char *data, size_t len, uint64_t system_id, uint64_t start_lsn,
				  uint32_t segment_size, const char **why)
{
	*why = NULL;
	if (len < LONG_HEADER || !mb_wal_magic_is_known(mb_get_u16(data)) ||
		!(mb_get_u16(data + 2) & HAS_LONG_HEADER))
		*why = "it does not begin with a WAL page header";
	else if (mb_get_u64(data + 8) != start_lsn)
		*why = "it belongs to another place in the WAL";
	else if (mb_get_u64(data + 24) != system_id)
		*why = "it is of another system identifier";
	else if (mb_get_u32(data + 32) != segment_size)
		*why = "it has another segment size";
	return *why == NULL;
}
