/* manifest_test.c - manifests: records, order, spilling, blocks, page maps. */
#include "tests/lib/repo_fixture.h"

#include <pthread.h>

#include "core/base/hash.h"
#include "core/repo/manifest_private.h"

struct fixture
{
	struct mb_repo *repo;
	struct mb_uploader *uploader;
	struct mb_packer *packer;
	struct mb_blocks blocks;
	struct mb_pack_refs refs;
};

static void
fixture_start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->repo = memory_repo(MB_SUITE_AES_256_GCM);
	f->uploader = mb_uploader_new(f->repo->store, 1);
	f->packer = mb_packer_new(f->repo, f->uploader);
}

static void
fixture_finish(struct fixture *f, struct mb_manifest_writer *writer)
{
	struct mb_error err;

	assert_ok(mb_manifest_finish(writer, f->packer, &f->blocks, &f->refs, &err), err);
	assert_ok(mb_packer_finish(f->packer, &err), err);
	assert_ok(mb_uploader_drain(f->uploader, &err), err);
	mb_manifest_writer_free(writer);
}

static void
fixture_end(struct fixture *f)
{
	mb_blocks_release(&f->blocks);
	mb_pack_refs_release(&f->refs);
	mb_packer_free(f->packer);
	mb_uploader_free(f->uploader);
	mb_repo_free(f->repo);
}

static struct mb_entry
named(const char *path, uint64_t version)
{
	struct mb_entry entry = {.type = MB_ENTRY_OBJECT, .path = path, .version = version};

	entry.path_len = strlen(path);
	return entry;
}

static void
assert_text(const char *got, const char *want)
{
	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
}

static void
assert_runs(const struct mb_run *a, size_t a_count, const struct mb_run *b, size_t b_count)
{
	assert_int_equal(a_count, b_count);
	if (a_count)
		assert_memory_equal(a, b, a_count * sizeof(*a));
}

static void
assert_same_entry(const struct mb_entry *a, const struct mb_entry *b)
{
	size_t i;

	assert_int_equal(a->type, b->type);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->path_len, b->path_len);
	assert_memory_equal(a->path, b->path, a->path_len);
	assert_true(a->version == b->version && a->mode == b->mode && a->uid == b->uid &&
				a->gid == b->gid && a->size == b->size && a->mtime_ns == b->mtime_ns &&
				a->ctime_ns == b->ctime_ns && a->inode == b->inode && a->fsid == b->fsid);
	assert_text(a->user, b->user);
	assert_text(a->group, b->group);
	assert_text(a->link_target, b->link_target);
	assert_text(a->meta, b->meta);
	assert_runs(a->runs, a->run_count, b->runs, b->run_count);
	assert_int_equal(a->map_count, b->map_count);
	for (i = 0; i < a->map_count; i++)
	{
		const struct mb_map_ref *x = &a->maps[i], *y = &b->maps[i];

		assert_int_equal(x->is_inline, y->is_inline);
		assert_int_equal(x->ref_count, y->ref_count);
		assert_memory_equal(x->refs, y->refs, x->ref_count * sizeof(x->refs[0]));
		if (x->is_inline)
		{
			assert_int_equal(x->data_len, y->data_len);
			assert_memory_equal(x->data, y->data, x->data_len);
		}
		else
			assert_memory_equal(&x->run, &y->run, sizeof(x->run));
	}
	assert_int_equal(a->damaged_count, b->damaged_count);
	if (a->damaged_count)
		assert_memory_equal(a->damaged_pages, b->damaged_pages, 4 * a->damaged_count);
	assert_int_equal(a->has_crc32c, b->has_crc32c);
	assert_int_equal(a->crc32c, b->crc32c);
	assert_int_equal(a->xattrs_len, b->xattrs_len);
	if (a->xattrs_len)
		assert_memory_equal(a->xattrs, b->xattrs, a->xattrs_len);
}

/* Entries that between them use every field. */
static struct mb_entry full_entries[3];

static void
make_full_entries(void)
{
	static const unsigned char xattrs[] = {6, 0, 'u', 's', 'e', 'r', '.', 'a', 3, 0, 0, 0, 0,
										   1, 2, 4,   0,   'n', 'a', 'm', 'e', 0, 0, 0, 0};
	static const uint32_t damaged_pages[] = {0, 7, 4000000000u};
	static struct mb_pack_ref refs[] = {{{{1}}, 100}, {{{2}}, UINT64_MAX}};
	static struct mb_run runs[] = {{{{9}}, 3, 5, 100},
								   {{{9}}, 4, 0, MB_FRAME_MAX_PLAIN},
								   {{{9}}, 5, 0, MB_FRAME_MAX_PLAIN},
								   {{{8}}, 65535, MB_FRAME_MAX_PLAIN - 1, 1}};
	static struct mb_map_ref maps[2];

	maps[0] = (struct mb_map_ref){.run = runs[0], .refs = refs, .ref_count = 2};
	maps[1] = (struct mb_map_ref){.is_inline = true,
								  .data = xattrs,
								  .data_len = 9,
								  .refs = refs,
								  .ref_count = 1};
	full_entries[0] = named("a/file", 0);
	full_entries[0].type = MB_ENTRY_FILE;
	full_entries[0].flags = MB_ENTRY_MASKED | MB_ENTRY_AMBIGUOUS;
	full_entries[0].mode = 07777;
	full_entries[0].uid = UINT32_MAX;
	full_entries[0].gid = 12;
	full_entries[0].size = 1ULL << 40;
	full_entries[0].mtime_ns = -1;
	full_entries[0].ctime_ns = INT64_MAX;
	full_entries[0].inode = UINT64_MAX;
	full_entries[0].fsid = 77;
	full_entries[0].user = "postgres";
	full_entries[0].group = "";
	full_entries[0].meta = "{\"etag\":\"x\"}";
	full_entries[0].runs = runs;
	full_entries[0].run_count = 4;
	full_entries[0].damaged_pages = damaged_pages;
	full_entries[0].damaged_count = 3;
	full_entries[0].has_crc32c = true;
	full_entries[0].crc32c = 0xDEADBEEF;
	full_entries[0].xattrs = xattrs;
	full_entries[0].xattrs_len = sizeof(xattrs);
	full_entries[1] = named("a/link", 0);
	full_entries[1].type = MB_ENTRY_SYMLINK;
	full_entries[1].link_target = "../else/where";
	full_entries[2] = named("base/1/2", 5);
	full_entries[2].type = MB_ENTRY_FILE;
	full_entries[2].maps = maps;
	full_entries[2].map_count = 2;
}

static void
every_field_comes_back(void **state)
{
	struct mb_manifest_reader *reader;
	const struct mb_entry *entry;
	struct mb_error err;
	struct fixture f;
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");
	int i;

	(void) state;
	make_full_entries();
	fixture_start(&f);
	for (i = 2; i >= 0; i--)
		assert_ok(mb_manifest_add(writer, &full_entries[i], &err), err);
	fixture_finish(&f, writer);
	assert_int_equal(f.blocks.count, 1);
	assert_int_equal(f.blocks.items[0].entries, 3);
	reader = mb_manifest_reader_new(f.repo, &f.blocks);
	for (i = 0; i < 3; i++)
	{
		assert_ok(mb_manifest_next(reader, &entry, &err), err);
		assert_non_null(entry);
		assert_same_entry(entry, &full_entries[i]);
	}
	assert_ok(mb_manifest_next(reader, &entry, &err), err);
	assert_null(entry);
	assert_ok(mb_manifest_next(reader, &entry, &err), err);
	assert_null(entry);
	mb_manifest_reader_free(reader);
	/* Packs 1, 2, 8, 9 and the one that holds the block. */
	assert_int_equal(f.refs.count, 5);
	assert_true(mb_refs_are_sorted(f.refs.items, f.refs.count));
	fixture_end(&f);
}

static void
the_order_is_path_then_newest(void **state)
{
	static const struct
	{
		const char *path;
		uint64_t version;
	} sorted[] = {{"a", 9},  {"a", 8},     {"a", 0},     {"a-", 1},    {"a-b", 1},
				  {"a/", 1}, {"a/b", 1},   {"a0", 1},    {"ab", 1},    {"b", UINT64_MAX},
				  {"b", 1},  {"b\x7f", 1}, {"b\x80", 1}, {"b\xff", 1}, {"b\xff\xff", 1}};
	const size_t count = sizeof(sorted) / sizeof(sorted[0]);
	struct mb_manifest_reader *reader;
	const struct mb_entry *entry;
	struct mb_error err;
	struct fixture f;
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");
	size_t i;

	(void) state;
	fixture_start(&f);
	for (i = 0; i < count; i++)
	{
		struct mb_entry e = named(sorted[i * 7 % count].path, sorted[i * 7 % count].version);

		assert_ok(mb_manifest_add(writer, &e, &err), err);
	}
	fixture_finish(&f, writer);
	reader = mb_manifest_reader_new(f.repo, &f.blocks);
	for (i = 0; i < count; i++)
	{
		assert_ok(mb_manifest_next(reader, &entry, &err), err);
		assert_non_null(entry);
		assert_int_equal(entry->path_len, strlen(sorted[i].path));
		assert_memory_equal(entry->path, sorted[i].path, entry->path_len);
		assert_true(entry->version == sorted[i].version);
	}
	mb_manifest_reader_free(reader);
	fixture_end(&f);
}

static void
the_same_name_twice_is_noticed(void **state)
{
	struct mb_entry e = named("twice", 3);
	struct mb_error err;
	struct fixture f;
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");

	(void) state;
	fixture_start(&f);
	assert_ok(mb_manifest_add(writer, &e, &err), err);
	assert_ok(mb_manifest_add(writer, &e, &err), err);
	assert_code(MB_CORRUPT, mb_manifest_finish(writer, f.packer, &f.blocks, &f.refs, &err), err);
	mb_manifest_writer_free(writer);
	fixture_end(&f);
}

struct adder
{
	struct mb_manifest_writer *writer;
	unsigned first;
	unsigned step;
	unsigned count;
	enum mb_code code;
};

static void *
add_many(void *ctx)
{
	struct adder *adder = ctx;
	struct mb_error err;
	unsigned i;

	for (i = adder->first; i < adder->count && !adder->code; i += adder->step)
	{
		char path[64];
		struct mb_run run = {.pack = {{(unsigned char) (i % 5)}}, .frame = i % 100, .length = 10};
		struct mb_entry e;

		/* Numbers backwards, so that nothing comes in order. */
		snprintf(path, sizeof(path), "dir/%08u/file", adder->count - i);
		e = named(path, 0);
		e.type = MB_ENTRY_FILE;
		e.size = 10;
		e.runs = &run;
		e.run_count = 1;
		adder->code = mb_manifest_add(adder->writer, &e, &err);
	}
	return NULL;
}

/* The same entries with and without spilling, from four threads. */
static void
spilled_entries_come_back_in_order(void **state)
{
	const unsigned count = 20000;
	size_t limit;

	(void) state;
	for (limit = 50000; limit <= MB_SPILL_BYTES; limit *= 1400)
	{
		struct mb_manifest_writer *writer = mb_manifest_writer_new_sized("/tmp", limit);
		struct mb_manifest_reader *reader;
		const struct mb_entry *entry;
		struct adder adders[4];
		pthread_t threads[4];
		struct mb_error err;
		struct fixture f;
		uint64_t bytes = 0, live = 0;
		unsigned i;

		fixture_start(&f);
		for (i = 0; i < 4; i++)
		{
			adders[i] = (struct adder){writer, i, 4, count, MB_OK};
			assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
		}
		for (i = 0; i < 4; i++)
		{
			pthread_join(threads[i], NULL);
			assert_int_equal(adders[i].code, MB_OK);
		}
		if (limit == 50000)
			assert_true(mb_manifest_writer_spills(writer) > 20);
		fixture_finish(&f, writer);
		assert_true(f.blocks.count > 5);
		reader = mb_manifest_reader_new(f.repo, &f.blocks);
		for (i = 1; i <= count; i++)
		{
			char path[64];

			snprintf(path, sizeof(path), "dir/%08u/file", i);
			assert_ok(mb_manifest_next(reader, &entry, &err), err);
			assert_non_null(entry);
			assert_int_equal(entry->path_len, strlen(path));
			assert_memory_equal(entry->path, path, entry->path_len);
			bytes += entry->size;
		}
		assert_ok(mb_manifest_next(reader, &entry, &err), err);
		assert_null(entry);
		mb_manifest_reader_free(reader);
		assert_int_equal(bytes, 10 * count);
		for (i = 0; i < f.refs.count; i++)
			live += f.refs.items[i].live_bytes;
		for (i = 0; i < f.blocks.count; i++)
			live -= f.blocks.items[i].run.length;
		assert_int_equal(live, 10 * count);
		fixture_end(&f);
	}
}

static void
large_and_impossible_entries(void **state)
{
	static char path[MB_PATH_MAX + 2];
	struct mb_run *runs = mb_calloc(18000, sizeof(*runs));
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");
	struct mb_manifest_reader *reader;
	const struct mb_entry *entry;
	char *meta = mb_calloc(1, MB_RECORD_MAX_BYTES + 1);
	struct mb_error err;
	struct fixture f;
	struct mb_entry e;
	int i;

	(void) state;
	fixture_start(&f);
	memset(path, 'p', sizeof(path) - 1);
	e = named(path, 0);
	assert_code(MB_CONFIG, mb_manifest_add(writer, &e, &err), err);
	e.path_len = MB_PATH_MAX;
	assert_ok(mb_manifest_add(writer, &e, &err), err);
	e.path_len = 0;
	assert_code(MB_CONFIG, mb_manifest_add(writer, &e, &err), err);
	e = named("meta", 0);
	memset(meta, 'm', MB_RECORD_MAX_BYTES);
	e.meta = meta;
	assert_code(MB_CONFIG, mb_manifest_add(writer, &e, &err), err);
	/* Records with as many packs as fit: their tables must fit into the frame, too. */
	for (i = 0; i < 16000; i++)
	{
		runs[i].length = 1;
		mb_set_u32(runs[i].pack.bytes, (uint32_t) i);
	}
	for (i = 0; i < 4; i++)
	{
		char name[] = "many0";

		name[4] = (char) ('0' + i);
		e = named(name, 0);
		e.runs = runs;
		e.run_count = 16000;
		assert_ok(mb_manifest_add(writer, &e, &err), err);
		mb_set_u32(runs[0].pack.bytes, (uint32_t) (20000 + i));
	}
	e = named("toomany", 0);
	e.runs = runs;
	e.run_count = 17000;
	for (i = 16000; i < 17000; i++)
	{
		runs[i].length = 1;
		mb_set_u32(runs[i].pack.bytes, (uint32_t) i);
	}
	assert_code(MB_CONFIG, mb_manifest_add(writer, &e, &err), err);
	fixture_finish(&f, writer);
	reader = mb_manifest_reader_new(f.repo, &f.blocks);
	for (i = 0; i < 4; i++)
	{
		assert_ok(mb_manifest_next(reader, &entry, &err), err);
		assert_non_null(entry);
		assert_int_equal(entry->run_count, 16000);
	}
	assert_ok(mb_manifest_next(reader, &entry, &err), err);
	assert_int_equal(entry->path_len, MB_PATH_MAX);
	assert_ok(mb_manifest_next(reader, &entry, &err), err);
	assert_null(entry);
	mb_manifest_reader_free(reader);
	free(runs);
	free(meta);
	fixture_end(&f);
}

/* Decode a record to which a field was appended. */
static enum mb_code
with_field(unsigned tag, const void *data, size_t len, struct mb_error *err)
{
	struct mb_arena arena = {0};
	struct mb_buf record = {0};
	struct mb_entry e = named("x", 0), back;
	enum mb_code code;
	size_t used = 0;

	assert_ok(mb_record_encode(&record, &e, err), *err);
	mb_buf_put_u16(&record, (uint16_t) tag);
	mb_buf_put_u32(&record, (uint32_t) len);
	mb_buf_put(&record, data, len);
	mb_set_u32(record.data, (uint32_t) record.len - 4);
	code = mb_record_decode(&arena, &back, record.data, record.len, &used, err);
	if (!code)
	{
		assert_int_equal(used, record.len);
		assert_int_equal(back.path_len, 1);
	}
	mb_arena_release(&arena);
	mb_buf_release(&record);
	return code;
}

static void
unknown_fields(void **state)
{
	unsigned char span[MB_SPAN_BYTES] = {0};
	struct mb_error err;

	(void) state;
	assert_ok(with_field(0x0777, "whatever", 8, &err), err);
	assert_ok(with_field(0x7FFF, "", 0, &err), err);
	assert_code(MB_UNSUPPORTED, with_field(0x8777, "whatever", 8, &err), err);
	assert_non_null(strstr(err.message, "0x8777"));
	assert_code(MB_UNSUPPORTED, with_field(0xFFFF, "", 0, &err), err);
	/* Known ones with contents that make no sense. */
	assert_code(MB_CORRUPT, with_field(0, "x", 1, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_USER, "a\0b", 3, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_CRC32C, "abc", 3, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_CRC32C, "abcde", 5, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_DAMAGED, "abcde", 5, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_XATTRS, "\xff\xff", 2, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_RUNS, "", 0, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_RUNS, span, sizeof(span), &err), err);
	span[24] = 1;
	assert_ok(with_field(MB_TAG_RUNS, span, sizeof(span), &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_RUNS, span, sizeof(span) - 1, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_MAPS, "\xff\xff\xff\xff", 4, &err), err);
	assert_code(MB_CORRUPT, with_field(MB_TAG_MAPS, "\1\0\0\0\2\0\0\0\0\0\0\0\0", 13, &err), err);
}

/* No cut and no flipped bit of a record makes the decoder read outside of it (see ASan). */
static void
mangled_records_are_survived(void **state)
{
	int i;

	(void) state;
	make_full_entries();
	for (i = 0; i < 3; i++)
	{
		struct mb_buf record = {0};
		struct mb_error err;
		size_t bit, cut;

		assert_ok(mb_record_encode(&record, &full_entries[i], &err), err);
		for (cut = 0; cut < record.len; cut++)
		{
			struct mb_arena arena = {0};
			struct mb_entry back;
			size_t used;
			unsigned char *exact = mb_malloc(cut);

			memcpy(exact, record.data, cut);
			assert_code(MB_CORRUPT, mb_record_decode(&arena, &back, exact, cut, &used, &err), err);
			free(exact);
			mb_arena_release(&arena);
		}
		for (bit = 0; bit < 8 * record.len; bit++)
		{
			struct mb_arena arena = {0};
			struct mb_entry back;
			size_t used;
			unsigned char *exact = mb_malloc(record.len);

			memcpy(exact, record.data, record.len);
			exact[bit / 8] ^= (unsigned char) (1u << (bit % 8));
			if (mb_record_decode(&arena, &back, exact, record.len, &used, &err) == MB_OK)
				assert_true(used <= record.len);
			free(exact);
			mb_arena_release(&arena);
		}
		mb_buf_release(&record);
	}
}

/* What the commit says about a block must be so. */
static void
blocks_that_do_not_fit_are_refused(void **state)
{
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");
	struct fixture f;
	struct mb_error err;
	int i;

	(void) state;
	fixture_start(&f);
	for (i = 0; i < 3; i++)
	{
		static const char *const names[] = {"a", "b", "c"};
		struct mb_entry e = named(names[i], 0);

		e.size = 0;
		assert_ok(mb_manifest_add(writer, &e, &err), err);
	}
	fixture_finish(&f, writer);
	for (i = 0; i < 7; i++)
	{
		struct mb_block block = f.blocks.items[0];
		struct mb_block pair[2];
		struct mb_blocks blocks = {.items = &block, .count = 1};
		struct mb_manifest_reader *reader;
		const struct mb_entry *entry = NULL;
		enum mb_code code = MB_OK;

		if (i == 1)
			block.entries++;
		if (i == 2)
			block.bytes++;
		if (i == 3)
			block.first_version++;
		if (i == 4)
			block.first_path = (char *) "z";
		if (i == 5)
			block.run.length--;
		if (i == 6)
		{
			/* The same block twice: not sorted. */
			pair[0] = pair[1] = block;
			blocks.items = pair;
			blocks.count = 2;
		}
		reader = mb_manifest_reader_new(f.repo, &blocks);
		do
			code = mb_manifest_next(reader, &entry, &err);
		while (!code && entry);
		assert_int_equal(code, i == 0 ? MB_OK : MB_CORRUPT);
		mb_manifest_reader_free(reader);
	}
	fixture_end(&f);
}

/* -- page maps ------------------------------------------------------------------------------- */

static void
make_map(struct mb_page_map *map, uint64_t bytes)
{
	uint64_t left = bytes;
	uint32_t i;

	memset(map, 0, sizeof(*map));
	map->bytes = bytes;
	map->crc32c = 0x12345678;
	map->pages = (uint32_t) ((bytes + MB_PAGE_BYTES - 1) / MB_PAGE_BYTES);
	map->hashes = mb_calloc(map->pages, 8);
	fill_random((unsigned char *) map->hashes, map->pages * 8, bytes);
	for (i = 0; left > 0; i++)
	{
		struct mb_run run = {.pack = {{7}}, .frame = i, .length = MB_FRAME_MAX_PLAIN};

		if (left < run.length)
			run.length = (uint32_t) left;
		mb_runs_add(&map->runs, &run);
		left -= run.length;
	}
}

static void
page_maps_come_back(void **state)
{
	static const uint64_t sizes[] = {0, 1, 8192, 8193, 16 * 8192, MB_RANGE_BYTES};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		struct mb_page_map map, back;
		struct mb_buf bytes = {0};
		struct mb_error err;

		make_map(&map, sizes[i]);
		mb_page_map_encode(&bytes, &map);
		assert_ok(mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
		assert_true(back.bytes == map.bytes && back.crc32c == map.crc32c &&
					back.pages == map.pages);
		if (map.pages)
			assert_memory_equal(back.hashes, map.hashes, map.pages * 8);
		assert_runs(back.runs.items, back.runs.count, map.runs.items, map.runs.count);
		mb_page_map_release(&back);
		mb_page_map_release(&map);
		mb_buf_release(&bytes);
	}
}

static void
page_maps_that_do_not_add_up(void **state)
{
	struct mb_page_map map, back;
	struct mb_buf bytes = {0};
	struct mb_error err;
	size_t cut;

	(void) state;
	make_map(&map, 3 * MB_PAGE_BYTES);
	mb_page_map_encode(&bytes, &map);
	for (cut = 0; cut < bytes.len; cut++)
		assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, cut, &err), err);
	mb_buf_put(&bytes, "x", 1);
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	bytes.len--;
	mb_set_u32(bytes.data + 4, 3 * MB_PAGE_BYTES - 1); /* bytes */
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_set_u32(bytes.data + 4, MB_RANGE_BYTES + 1);
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_set_u32(bytes.data + 4, 3 * MB_PAGE_BYTES);
	mb_set_u32(bytes.data + 12, UINT32_MAX); /* pages */
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_set_u32(bytes.data + 12, 3);
	mb_set_u32(bytes.data + 16, UINT32_MAX); /* spans */
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_set_u32(bytes.data + 16, 1);
	mb_set_u32(bytes.data + bytes.len - 4, 60000); /* full frames behind the run */
	assert_code(MB_CORRUPT, mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_set_u32(bytes.data + bytes.len - 4, 0);
	assert_ok(mb_page_map_decode(&back, bytes.data, bytes.len, &err), err);
	mb_page_map_release(&back);
	mb_page_map_release(&map);
	mb_buf_release(&bytes);
}

static void
runs_of_an_entry(void **state)
{
	struct mb_page_map map;
	struct mb_map_ref refs[2] = {{0}};
	struct mb_pack_reader *reader;
	struct mb_buf first = {0}, second = {0};
	struct mb_runs runs = {0};
	struct mb_entry e = named("base/1", 0);
	struct mb_error err;
	struct fixture f;
	uint64_t sum = 0;
	size_t i;

	(void) state;
	fixture_start(&f);
	make_map(&map, MB_RANGE_BYTES);
	mb_page_map_encode(&first, &map);
	mb_page_map_release(&map);
	make_map(&map, 100);
	mb_page_map_encode(&second, &map);
	mb_page_map_release(&map);
	assert_ok(mb_packer_append_frame(f.packer, first.data, first.len, &refs[0].run, &err), err);
	assert_ok(mb_packer_finish(f.packer, &err), err);
	assert_ok(mb_uploader_drain(f.uploader, &err), err);
	refs[1].is_inline = true;
	refs[1].data = second.data;
	refs[1].data_len = (uint32_t) second.len;
	e.maps = refs;
	e.map_count = 2;
	e.size = MB_RANGE_BYTES + 100;
	reader = mb_pack_reader_new(f.repo);
	assert_ok(mb_entry_runs(&e, reader, &runs, &err), err);
	for (i = 0; i < runs.count; i++)
		sum += runs.items[i].length;
	assert_int_equal(sum, e.size);
	e.size++;
	assert_code(MB_CORRUPT, mb_entry_runs(&e, reader, &runs, &err), err);
	/* A short range that is not the last one. */
	e.size = 200;
	refs[0] = refs[1];
	assert_code(MB_CORRUPT, mb_entry_runs(&e, reader, &runs, &err), err);
	mb_runs_release(&runs);
	mb_pack_reader_free(reader);
	mb_buf_release(&first);
	mb_buf_release(&second);
	fixture_end(&f);
}

/* -- blocks shared with a parent --------------------------------------------------------------- */

struct change
{
	int changed; /* the entry that is another one, or -1 */
	int left_out;
	bool one_more;
};

/* A manifest of 20,000 files with a change, against parent when there is one. */
static void
write_changed(struct fixture *f, const struct change *change, const struct mb_blocks *parent,
			  const struct mb_pack_refs *avoid, struct mb_blocks *blocks, struct mb_pack_refs *refs)
{
	struct mb_manifest_writer *writer = mb_manifest_writer_new("/tmp");
	struct mb_error err;
	int i;

	for (i = 0; i < 20000; i++)
	{
		char path[64];
		struct mb_run run = {.frame = (uint32_t) i % 50, .length = 100};
		struct mb_entry entry;

		snprintf(path, sizeof(path), "some/path/%02d/to-a-file-%d", i % 100, i);
		entry = named(path, 0);
		memset(run.pack.bytes, i % 7 + 1, sizeof(run.pack.bytes));
		entry.size = 100;
		entry.mtime_ns = i == change->changed ? 77 : 1000 + i;
		entry.runs = &run;
		entry.run_count = 1;
		if (i != change->left_out)
			assert_ok(mb_manifest_add(writer, &entry, &err), err);
	}
	if (change->one_more)
	{
		struct mb_entry entry = named("some/path/50/a-new-one", 0);

		assert_ok(mb_manifest_add(writer, &entry, &err), err);
	}
	if (parent)
		mb_manifest_share(writer, f->repo, parent, avoid);
	assert_ok(mb_manifest_finish(writer, f->packer, blocks, refs, &err), err);
	assert_ok(mb_packer_finish(f->packer, &err), err);
	assert_ok(mb_uploader_drain(f->uploader, &err), err);
	mb_manifest_writer_free(writer);
}

/* Read everything: the reader checks order, counts and sums; the references must hold the blocks. */
static size_t
count_entries(struct fixture *f, const struct mb_blocks *blocks, const struct mb_pack_refs *refs)
{
	struct mb_manifest_reader *reader = mb_manifest_reader_new(f->repo, blocks);
	const struct mb_entry *entry;
	struct mb_error err;
	uint64_t live = 0;
	size_t count = 0, i;

	for (;;)
	{
		assert_ok(mb_manifest_next(reader, &entry, &err), err);
		if (!entry)
			break;
		count++;
		live += entry->size;
	}
	mb_manifest_reader_free(reader);
	for (i = 0; i < blocks->count; i++)
	{
		assert_true(mb_pack_refs_has(refs, &blocks->items[i].run.pack));
		live += blocks->items[i].run.length;
	}
	for (i = 0; i < refs->count; i++)
		live -= refs->items[i].live_bytes;
	assert_int_equal(live, 0);
	return count;
}

static size_t
count_new_blocks(const struct mb_blocks *old, const struct mb_blocks *blocks)
{
	size_t i, j, count = 0;

	for (i = 0; i < blocks->count; i++)
	{
		for (j = 0; j < old->count; j++)
			if (memcmp(&old->items[j].run, &blocks->items[i].run, sizeof(struct mb_run)) == 0)
				break;
		count += j == old->count;
	}
	return count;
}

static void
unchanged_blocks_are_shared(void **state)
{
	static const struct
	{
		struct change change;
		size_t entries;
		size_t at_most; /* blocks that are written */
	} cases[] = {
		{{-1, -1, false}, 20000, 0},   {{0, -1, false}, 20000, 1}, {{9999, -1, false}, 20000, 1},
		{{-1, 5000, false}, 19999, 3}, {{-1, -1, true}, 20001, 3}, {{-1, 0, true}, 20000, 4},
	};
	struct fixture f;
	struct mb_blocks blocks;
	struct mb_pack_refs refs;
	size_t i, biggest = 0;

	(void) state;
	fixture_start(&f);
	write_changed(&f, &(struct change){-1, -1, false}, NULL, NULL, &f.blocks, &f.refs);
	assert_int_equal(count_entries(&f, &f.blocks, &f.refs), 20000);
	assert_true(f.blocks.count > 20);
	for (i = 0; i < f.blocks.count; i++)
		if (f.blocks.items[i].run.length > biggest)
			biggest = f.blocks.items[i].run.length;
	assert_true(biggest <= MB_BLOCK_TARGET_BYTES + 1000);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		size_t made;

		write_changed(&f, &cases[i].change, &f.blocks, NULL, &blocks, &refs);
		assert_int_equal(count_entries(&f, &blocks, &refs), cases[i].entries);
		made = count_new_blocks(&f.blocks, &blocks);
		if (made > cases[i].at_most)
			fail_msg("case %zu: %zu of %zu blocks are new", i, made, blocks.count);
		if (i > 0)
			assert_true(made > 0);
		mb_blocks_release(&blocks);
		mb_pack_refs_release(&refs);
	}
	/* Nothing is shared from packs that are to be avoided. */
	write_changed(&f, &(struct change){-1, -1, false}, &f.blocks, &f.refs, &blocks, &refs);
	assert_int_equal(count_new_blocks(&f.blocks, &blocks), blocks.count);
	assert_int_equal(count_entries(&f, &blocks, &refs), 20000);
	mb_blocks_release(&blocks);
	mb_pack_refs_release(&refs);
	fixture_end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_comes_back),
		cmocka_unit_test(the_order_is_path_then_newest),
		cmocka_unit_test(the_same_name_twice_is_noticed),
		cmocka_unit_test(spilled_entries_come_back_in_order),
		cmocka_unit_test(large_and_impossible_entries),
		cmocka_unit_test(unknown_fields),
		cmocka_unit_test(mangled_records_are_survived),
		cmocka_unit_test(blocks_that_do_not_fit_are_refused),
		cmocka_unit_test(page_maps_come_back),
		cmocka_unit_test(page_maps_that_do_not_add_up),
		cmocka_unit_test(runs_of_an_entry),
		cmocka_unit_test(unchanged_blocks_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
