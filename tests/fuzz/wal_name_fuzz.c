/* wal_name_fuzz.c - any bytes as a blob name, a WAL file name, a history file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "postgres/data_directory.h"
#include "walstreamer/wal_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mb_strndup((const char *) data, size);
	struct mb_pg_relation_name relation;
	struct mb_wal_piece_parts parts;
	struct mb_error err;
	uint32_t timeline, parent;
	uint64_t lsn;

	if (mb_wal_piece_parse(text, &parts) && mb_wal_piece_lsn(&parts, 16u << 20, &lsn))
		MB_ASSERT(lsn % (16u << 20) == 0 && parts.end <= 16u << 20);
	if (mb_wal_file_parse(text, 16u << 20, &timeline, &lsn))
	{
		char again[MB_WAL_FILE_TEXT];

		mb_wal_file_name(again, timeline, lsn, 16u << 20);
		MB_ASSERT(strcmp(again, text) == 0);
	}
	(void) mb_wal_history_parse(text, &timeline);
	(void) mb_wal_history_blob_parse(text, &timeline);
	(void) mb_pg_relation_parse(&relation, text);
	if (mb_wal_history_parent(data, size, 9, &parent, &lsn, &err) == MB_OK)
		MB_ASSERT(parent > 0 && parent < 9);
	free(text);
	return 0;
}
