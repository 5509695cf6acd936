/*
 * backup_label.h - what backup_label says: the truth about where replay of a base backup begins.
 */
#ifndef MB_POSTGRES_BACKUP_LABEL_H
#define MB_POSTGRES_BACKUP_LABEL_H

#include <stdbool.h>
#include <stdint.h>

struct mb_backup_label
{
	uint64_t start_lsn;
	uint32_t timeline;
	bool from_standby;
};

/* False when a line is missing or makes no sense. */
bool mb_backup_label_parse(struct mb_backup_label *label, const char *text);

#endif
