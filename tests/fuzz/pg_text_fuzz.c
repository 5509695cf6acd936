/* pg_text_fuzz.c - any bytes as a text of PostgreSQL's: backup_label, postgresql.auto.conf, the name of a table. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/backup_label.h"
#include "postgres/restore_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mb_strndup((const char *) data, size);
	struct mb_backup_label label;
	struct mb_pg_table table = {0};
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_backup_label_parse(&label, text))
		MB_ASSERT(label.timeline != 0);
	if (mb_pg_table_parse(&table, text, &err) == MB_OK)
		mb_pg_table_release(&table);
	free(text);
	return 0;
}
