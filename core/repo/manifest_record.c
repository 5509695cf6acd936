/*
 * manifest_record.c - one entry as bytes and back; docs/format.md has the layout.
 *
 * Decoding believes nothing: lengths are bounded by what is there, counts by lengths,
 * fields come in ascending order of their tags and at most once.
 */
#include <string.h>

#include "core/repo/manifest_private.h"

#define VERSION_OFFSET 20
#define PATH_LEN_OFFSET 68
#define KNOWN_FLAGS (MB_ENTRY_MASKED | MB_ENTRY_CHANGING | MB_ENTRY_AFTER_CUT | MB_ENTRY_AMBIGUOUS)
#define KNOWN_TYPES "fdlhomx"
#define INLINE_MAP_MAX_BYTES \
	(MB_MAP_HEADER_BYTES + MB_MAP_INLINE_PAGES * 8 + MB_MAP_INLINE_PAGES * MB_SPAN_BYTES)

int
mb_record_order(const unsigned char *a, const unsigned char *b)
{
	return mb_entry_order((const char *) a + MB_RECORD_FIXED_BYTES, mb_get_u16(a + PATH_LEN_OFFSET),
						  mb_get_u64(a + VERSION_OFFSET), (const char *) b + MB_RECORD_FIXED_BYTES,
						  mb_get_u16(b + PATH_LEN_OFFSET), mb_get_u64(b + VERSION_OFFSET));
}

/* -- encoding -------------------------------------------------------------------------------- */

/* Write the tag and room for the length; end_field fills that in. */
static size_t
begin_field(struct mb_buf *out, enum mb_record_tag tag)
{
	mb_buf_put_u16(out, (uint16_t) tag);
	mb_buf_put_u32(out, 0);
	return out->len;
}

static void
end_field(struct mb_buf *out, size_t start)
{
	mb_set_u32(out->data + start - 4, (uint32_t) (out->len - start));
}

static void
put_field(struct mb_buf *out, enum mb_record_tag tag, const void *data, size_t len)
{
	size_t start = begin_field(out, tag);

	mb_buf_put(out, data, len);
	end_field(out, start);
}

static void
put_text(struct mb_buf *out, enum mb_record_tag tag, const char *text)
{
	if (text)
		put_field(out, tag, text, strlen(text));
}

static void
put_map(struct mb_buf *out, const struct mb_map_ref *map)
{
	uint32_t i;

	mb_buf_put_u8(out, map->is_inline);
	if (map->is_inline)
	{
		mb_buf_put_u32(out, map->data_len);
		mb_buf_put(out, map->data, map->data_len);
	}
	else
		mb_put_run(out, &map->run);
	mb_buf_put_u32(out, map->ref_count);
	for (i = 0; i < map->ref_count; i++)
		mb_put_ref(out, &map->refs[i]);
}

static void
put_fields(struct mb_buf *out, const struct mb_entry *entry)
{
	size_t start, i;

	put_text(out, MB_TAG_USER, entry->user);
	put_text(out, MB_TAG_GROUP, entry->group);
	put_text(out, MB_TAG_META, entry->meta);
	if (entry->xattrs_len)
		put_field(out, MB_TAG_XATTRS, entry->xattrs, entry->xattrs_len);
	if (entry->has_crc32c)
	{
		start = begin_field(out, MB_TAG_CRC32C);
		mb_buf_put_u32(out, entry->crc32c);
		end_field(out, start);
	}
	if (entry->damaged_count)
	{
		start = begin_field(out, MB_TAG_DAMAGED);
		for (i = 0; i < entry->damaged_count; i++)
			mb_buf_put_u32(out, entry->damaged_pages[i]);
		end_field(out, start);
	}
	if (entry->run_count)
	{
		start = begin_field(out, MB_TAG_RUNS);
		mb_put_spans(out, entry->runs, entry->run_count);
		end_field(out, start);
	}
	if (entry->map_count)
	{
		start = begin_field(out, MB_TAG_MAPS);
		mb_buf_put_u32(out, (uint32_t) entry->map_count);
		for (i = 0; i < entry->map_count; i++)
			put_map(out, &entry->maps[i]);
		end_field(out, start);
	}
	put_text(out, MB_TAG_LINK, entry->link_target);
}

/* What the reader would refuse is a bug of the caller. */
static void
check_contents(const struct mb_entry *entry)
{
	size_t i;

	MB_ASSERT(strchr(KNOWN_TYPES, entry->type) && (entry->flags & ~(unsigned) KNOWN_FLAGS) == 0);
	MB_ASSERT(entry->mode <= 07777 && (entry->run_count == 0 || entry->map_count == 0));
	for (i = 0; i < entry->run_count; i++)
		MB_ASSERT(mb_run_is_valid(&entry->runs[i]));
	for (i = 0; i < entry->map_count; i++)
		MB_ASSERT((entry->maps[i].is_inline || mb_run_is_valid(&entry->maps[i].run)) &&
				  mb_refs_are_sorted(entry->maps[i].refs, entry->maps[i].ref_count));
}

enum mb_code
mb_record_encode(struct mb_buf *out, const struct mb_entry *entry, struct mb_error *err)
{
	size_t start = out->len;
	int shown = (int) (entry->path_len < 256 ? entry->path_len : 256);

	if (entry->path_len == 0 || entry->path_len > MB_PATH_MAX ||
		memchr(entry->path, '\0', entry->path_len))
		return mb_fail(err, MB_CONFIG, "\"%.*s...\" is not a path of 1 to %d bytes", shown,
					   entry->path, MB_PATH_MAX);
	check_contents(entry);
	mb_buf_put_u32(out, 0);
	mb_buf_put_u8(out, (uint8_t) entry->type);
	mb_buf_put_u8(out, 0);
	mb_buf_put_u16(out, (uint16_t) entry->flags);
	mb_buf_put_u32(out, entry->mode);
	mb_buf_put_u32(out, entry->uid);
	mb_buf_put_u32(out, entry->gid);
	mb_buf_put_u64(out, entry->version);
	mb_buf_put_u64(out, entry->size);
	mb_buf_put_u64(out, (uint64_t) entry->mtime_ns);
	mb_buf_put_u64(out, (uint64_t) entry->ctime_ns);
	mb_buf_put_u64(out, entry->inode);
	mb_buf_put_u64(out, entry->fsid);
	mb_buf_put_u16(out, (uint16_t) entry->path_len);
	mb_buf_put(out, entry->path, entry->path_len);
	if (entry->run_count <= MB_ENTRY_MAX_RUNS)
		put_fields(out, entry);
	if (out->len - start > MB_RECORD_MAX_BYTES || entry->run_count > MB_ENTRY_MAX_RUNS)
	{
		out->len = start;
		return mb_fail(err, MB_CONFIG,
					   "what is to be stored about \"%.*s\" is larger than %u bytes", shown,
					   entry->path, MB_RECORD_MAX_BYTES);
	}
	mb_set_u32(out->data + start, (uint32_t) (out->len - start - 4));
	return MB_OK;
}

/* -- decoding -------------------------------------------------------------------------------- */

static bool
get_text(struct mb_arena *arena, struct mb_rd *field, const char **text)
{
	size_t len = mb_rd_left(field);
	char *copy;

	if (memchr(field->p, '\0', len))
		return false;
	copy = mb_arena_alloc(arena, len + 1);
	memcpy(copy, field->p, len);
	field->p += len;
	*text = copy;
	return true;
}

static bool
get_runs(struct mb_arena *arena, struct mb_rd *field, struct mb_entry *entry)
{
	struct mb_runs runs = {0};
	size_t len = mb_rd_left(field);
	bool ok = len > 0 && len % MB_SPAN_BYTES == 0 &&
			  mb_get_spans(field, (uint32_t) (len / MB_SPAN_BYTES), MB_ENTRY_MAX_RUNS, &runs);

	if (ok)
	{
		entry->runs = mb_arena_copy(arena, runs.items, runs.count * sizeof(runs.items[0]));
		entry->run_count = runs.count;
	}
	mb_runs_release(&runs);
	return ok;
}

static bool
get_map(struct mb_arena *arena, struct mb_rd *field, struct mb_map_ref *map)
{
	uint8_t is_inline = mb_rd_u8(field);
	uint32_t i;

	if (is_inline > 1)
		return false;
	map->is_inline = is_inline == 1;
	if (map->is_inline)
	{
		map->data_len = mb_rd_u32(field);
		map->data = mb_rd_bytes(field, map->data_len);
		if (field->bad || map->data_len > INLINE_MAP_MAX_BYTES)
			return false;
	}
	else
	{
		mb_get_run(field, &map->run);
		if (field->bad || !mb_run_is_valid(&map->run))
			return false;
	}
	map->ref_count = mb_rd_u32(field);
	if (field->bad || map->ref_count > mb_rd_left(field) / MB_REF_BYTES)
		return false;
	map->refs = mb_arena_alloc(arena, map->ref_count * sizeof(map->refs[0]));
	for (i = 0; i < map->ref_count; i++)
		mb_get_ref(field, &map->refs[i]);
	return mb_refs_are_sorted(map->refs, map->ref_count);
}

static bool
get_maps(struct mb_arena *arena, struct mb_rd *field, struct mb_entry *entry)
{
	uint32_t count = mb_rd_u32(field);
	struct mb_map_ref *maps;
	uint32_t i;

	/* The smallest map takes 9 bytes. */
	if (field->bad || count == 0 || count > mb_rd_left(field) / 9)
		return false;
	maps = mb_arena_alloc(arena, count * sizeof(maps[0]));
	for (i = 0; i < count; i++)
		if (!get_map(arena, field, &maps[i]))
			return false;
	entry->maps = maps;
	entry->map_count = count;
	return true;
}

static bool
get_damaged(struct mb_arena *arena, struct mb_rd *field, struct mb_entry *entry)
{
	size_t count = mb_rd_left(field) / 4;
	uint32_t *pages;
	size_t i;

	if (count == 0 || mb_rd_left(field) % 4 != 0)
		return false;
	pages = mb_arena_alloc(arena, count * sizeof(pages[0]));
	for (i = 0; i < count; i++)
		pages[i] = mb_rd_u32(field);
	entry->damaged_pages = pages;
	entry->damaged_count = count;
	return true;
}

/* {name_len u16, name, value_len u32, value}, again and again to the end. */
static bool
get_xattrs(struct mb_rd *field, struct mb_entry *entry)
{
	entry->xattrs = field->p;
	entry->xattrs_len = mb_rd_left(field);
	while (mb_rd_left(field) > 0 && !field->bad)
	{
		size_t name_len = mb_rd_u16(field);
		const unsigned char *name = mb_rd_bytes(field, name_len);

		if (!name || name_len == 0 || memchr(name, '\0', name_len))
			return false;
		mb_rd_bytes(field, mb_rd_u32(field));
	}
	return !field->bad && entry->xattrs_len > 0;
}

/* False for damage; *unknown is set for a critical field that we do not know. */
static bool
get_field(struct mb_arena *arena, unsigned tag, struct mb_rd *field, struct mb_entry *entry,
		  bool *unknown)
{
	bool ok = true;

	switch (tag)
	{
		case MB_TAG_USER:
			ok = get_text(arena, field, &entry->user);
			break;
		case MB_TAG_GROUP:
			ok = get_text(arena, field, &entry->group);
			break;
		case MB_TAG_META:
			ok = get_text(arena, field, &entry->meta);
			break;
		case MB_TAG_LINK:
			ok = get_text(arena, field, &entry->link_target);
			break;
		case MB_TAG_XATTRS:
			ok = get_xattrs(field, entry);
			break;
		case MB_TAG_CRC32C:
			entry->has_crc32c = true;
			entry->crc32c = mb_rd_u32(field);
			break;
		case MB_TAG_DAMAGED:
			ok = get_damaged(arena, field, entry);
			break;
		case MB_TAG_RUNS:
			ok = get_runs(arena, field, entry);
			break;
		case MB_TAG_MAPS:
			ok = get_maps(arena, field, entry);
			break;
		default:
			*unknown = (tag & MB_TAG_CRITICAL) != 0;
			return !*unknown;
	}
	return ok && !field->bad && mb_rd_left(field) == 0;
}

static bool
get_fixed(struct mb_rd *rd, struct mb_entry *entry)
{
	uint8_t zero;

	entry->type = (enum mb_entry_type) mb_rd_u8(rd);
	zero = mb_rd_u8(rd);
	entry->flags = mb_rd_u16(rd);
	entry->mode = mb_rd_u32(rd);
	entry->uid = mb_rd_u32(rd);
	entry->gid = mb_rd_u32(rd);
	entry->version = mb_rd_u64(rd);
	entry->size = mb_rd_u64(rd);
	entry->mtime_ns = (int64_t) mb_rd_u64(rd);
	entry->ctime_ns = (int64_t) mb_rd_u64(rd);
	entry->inode = mb_rd_u64(rd);
	entry->fsid = mb_rd_u64(rd);
	entry->path_len = mb_rd_u16(rd);
	entry->path = (const char *) mb_rd_bytes(rd, entry->path_len);
	return !rd->bad && zero == 0 && entry->mode <= 07777 && entry->path_len > 0 &&
		   entry->path_len <= MB_PATH_MAX && !memchr(entry->path, '\0', entry->path_len);
}

static enum mb_code
damaged(struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "a manifest record is damaged");
}

static enum mb_code
too_new(const struct mb_entry *entry, const char *what, unsigned value, struct mb_error *err)
{
	mb_fail(err, MB_UNSUPPORTED, "entry \"%.*s\" has %s 0x%04x, which this mbackup does not know",
			(int) (entry->path_len < 256 ? entry->path_len : 256), entry->path, what, value);
	return mb_error_hint(err, "Upgrade mbackup on this machine.");
}

enum mb_code
mb_record_decode(struct mb_arena *arena, struct mb_entry *entry, const void *data, size_t len,
				 size_t *used, struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(data, len);
	uint32_t record_len = mb_rd_u32(&rd);
	unsigned last_tag = 0;

	memset(entry, 0, sizeof(*entry));
	if (rd.bad || record_len > mb_rd_left(&rd) || record_len > MB_RECORD_MAX_BYTES - 4)
		return damaged(err);
	rd.end = rd.p + record_len;
	if (!get_fixed(&rd, entry))
		return damaged(err);
	if (entry->type == 0 || !strchr(KNOWN_TYPES, entry->type))
		return too_new(entry, "type", entry->type, err);
	if (entry->flags & ~(unsigned) KNOWN_FLAGS)
		return too_new(entry, "flags", entry->flags, err);
	while (mb_rd_left(&rd) > 0)
	{
		unsigned tag = mb_rd_u16(&rd);
		uint32_t field_len = mb_rd_u32(&rd);
		const unsigned char *bytes = mb_rd_bytes(&rd, field_len);
		struct mb_rd field;
		bool unknown = false;

		if (rd.bad || tag <= last_tag)
			return damaged(err);
		last_tag = tag;
		field = mb_rd_init(bytes, field_len);
		if (!get_field(arena, tag, &field, entry, &unknown))
			return unknown ? too_new(entry, "field", tag, err) : damaged(err);
	}
	if (entry->run_count && entry->map_count)
		return damaged(err);
	*used = 4 + (size_t) record_len;
	return MB_OK;
}
