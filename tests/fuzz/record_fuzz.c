/* record_fuzz.c - a manifest block: header, table and records. */
#include <stdint.h>
#include <stdlib.h>

#include "core/repo/manifest_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood must be written and understood the same way again. */
static void
check_again(const struct mb_entry *entry)
{
	struct mb_arena arena = {0};
	struct mb_buf record = {0};
	struct mb_entry back;
	struct mb_error err;
	size_t used;

	/* A span that was cut in two may come back longer or shorter, never other. */
	if (mb_record_encode(&record, entry, &err) == MB_OK)
	{
		if (mb_record_decode(&arena, &back, record.data, record.len, &used, &err) != MB_OK ||
			back.path_len != entry->path_len || back.run_count != entry->run_count ||
			back.map_count != entry->map_count || back.size != entry->size)
			abort();
	}
	mb_buf_release(&record);
	mb_arena_release(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_block_view view;
	struct mb_error err;
	size_t at = 0;
	bool is_block = mb_block_parse(&view, data, size, &err) == MB_OK;
	const unsigned char *records = is_block ? view.records : data;
	size_t len = is_block ? view.records_len : size;

	while (at < len)
	{
		struct mb_arena arena = {0};
		struct mb_entry entry;
		size_t used = 0;
		enum mb_code code = mb_record_decode(&arena, &entry, records + at, len - at, &used, &err);

		if (!code && entry.run_count < 10000)
			check_again(&entry);
		mb_arena_release(&arena);
		if (code)
			break;
		at += used;
	}
	return 0;
}
