/* backup_label.c - see backup_label.h. */
#include "postgres/backup_label.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

/* What stands behind "NAME: " at the beginning of a line; NULL when there is no such line. */
static const char *
value_of(const char *text, const char *name)
{
	size_t len = strlen(name);

	while (text && strncmp(text, name, len) != 0)
	{
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text ? text + len : NULL;
}

bool
mb_backup_label_parse(struct mb_backup_label *label, const char *text)
{
	const char *start = value_of(text, "START WAL LOCATION: ");
	const char *timeline = value_of(text, "START TIMELINE: ");
	const char *from = value_of(text, "BACKUP FROM: ");
	char lsn[32];

	if (!start || !timeline || sscanf(start, "%31s", lsn) != 1 ||
		!mb_lsn_parse(&label->start_lsn, lsn))
		return false;
	label->timeline = (uint32_t) strtoul(timeline, NULL, 10);
	label->from_standby = from && strncmp(from, "standby", strlen("standby")) == 0;
	return label->timeline != 0;
}
