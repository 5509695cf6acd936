/*
 * rdb_lzf.c - what is compressed in an RDB (lzf_d.c of liblzf): followed without the bytes, and
 * decompressed for the names of keys.
 *
 * A control byte below 32 copies so many plus one bytes; another repeats some that came before.
 */

#include "core/base/mem.h"
#include "redis/rdb_private.h"

bool
mb_rdb_follow_lzf(struct lzf *lzf, const unsigned char **at, const unsigned char *end)
{
	const unsigned char *p = *at;
	size_t n;

	for (; p < end; *at = p)
		switch (lzf->phase)
		{
			case LZF_CONTROL:
				lzf->run = *p < 32 ? *p + 1u : (*p >> 5) + 2u;
				lzf->back = (*p & 31u) << 8;
				lzf->phase = *p < 32 ? LZF_LITERAL : *p >> 5 == 7 ? LZF_LENGTH : LZF_OFFSET;
				*at = ++p;
				if (lzf->phase == LZF_LITERAL && lzf->run > lzf->plain - lzf->made)
					return false;
				break;
			case LZF_LITERAL:
				n = (size_t) (end - p) < lzf->run ? (size_t) (end - p) : lzf->run;
				p += n;
				lzf->made += n;
				lzf->run -= (unsigned) n;
				if (lzf->run == 0)
					lzf->phase = LZF_CONTROL;
				break;
			case LZF_LENGTH:
				lzf->run += *p++;
				lzf->phase = LZF_OFFSET;
				break;
			case LZF_OFFSET:
				lzf->back += *p + 1u;
				*at = ++p;
				if (lzf->back > lzf->made || lzf->run > lzf->plain - lzf->made)
					return false;
				lzf->made += lzf->run;
				lzf->phase = LZF_CONTROL;
				break;
		}
	return true;
}

/* The start of what was compressed, at most cap bytes of it.  Ends at what is damaged. */
static size_t
unpack(const unsigned char *packed, size_t packed_len, unsigned char *out, size_t cap)
{
	struct mb_rd in = mb_rd_init(packed, packed_len);
	size_t len = 0;

	while (!in.bad && mb_rd_left(&in) > 0 && len < cap)
	{
		unsigned control = mb_rd_u8(&in), n = control >> 5, back, i;

		if (n == 7)
			n += mb_rd_u8(&in);
		back = control < 32 ? 0 : ((control & 31) << 8) + mb_rd_u8(&in) + 1;
		n = control < 32 ? control + 1 : n + 2;
		for (i = 0; i < n && !in.bad && back <= len && len < cap; i++)
		{
			unsigned char c = back ? out[len - back] : mb_rd_u8(&in);

			if (!in.bad)
				out[len++] = c;
		}
		if (back > len)
			break;
	}
	return len;
}

/* All of a name.  One byte of LZF gives 88 at most, whatever length the file claims. */
static void
end_whole_name(struct mb_rdb *rdb)
{
	const struct mb_buf *bytes = &rdb->name_bytes;
	uint64_t cap = rdb->packed_plain;

	if (rdb->packed_plain == 0)
	{
		/* Not NULL for an empty name either. */
		mb_buf_reserve(&rdb->name_bytes, 1);
		rdb->key.whole = bytes->data;
		rdb->key.whole_len = bytes->len;
		return;
	}
	if (cap > MB_RDB_NAME_MAX)
		cap = MB_RDB_NAME_MAX;
	if (cap > (uint64_t) bytes->len * 88 + 1)
		cap = (uint64_t) bytes->len * 88 + 1;
	mb_buf_reset(&rdb->name_plain);
	mb_buf_reserve(&rdb->name_plain, (size_t) cap);
	rdb->key.whole = rdb->name_plain.data;
	rdb->key.whole_len = unpack(bytes->data, bytes->len, rdb->name_plain.data, (size_t) cap);
}

void
mb_rdb_end_name(struct mb_rdb *rdb)
{
	struct mb_rdb_key *key = &rdb->key;

	rdb->in_key = false;
	if (rdb->flags & MB_RDB_NAMES)
		end_whole_name(rdb);
	if (rdb->packed_plain == 0)
		return;
	key->name_kept = unpack(rdb->packed, rdb->packed_len, key->name,
							rdb->packed_plain < sizeof(key->name) ? (size_t) rdb->packed_plain
																  : sizeof(key->name));
	key->name_len = (size_t) rdb->packed_plain;
	rdb->packed_len = 0;
	rdb->packed_plain = 0;
}
