/* backup_conf_fuzz.c - any bytes as the backup.conf of a shell script, and what is made of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/backup_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *
environment(const char *name)
{
	return strcmp(name, "HOME") == 0 ? "/root" : NULL;
}

/* No value begins a section: all that are there, we have written. */
static void
check_sections(const char *text)
{
	static const char *const ours[] = {"[global]", "[repository]", "[repository:s3]", "[postgres]",
									   "[redis]",  "[objects:",    "[files:configs]"};
	const char *line;
	size_t i;

	for (line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (*line == '[')
		{
			for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
				if (mb_starts_with(line, ours[i]))
					break;
			MB_ASSERT(i < sizeof(ours) / sizeof(ours[0]));
		}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_conf_options options = {.repository = "/r", .spool = "/s"};
	struct backup_conf conf;
	struct mb_buf out = {0};
	struct mb_error err;

	mb_error_clear(&err);
	if (backup_conf_parse(&conf, (const char *) data, size, environment, &err) == MB_OK &&
		backup_conf_write(&conf, &options, &out, &err) == MB_OK)
		check_sections(mb_buf_cstr(&out));
	mb_buf_release(&out);
	backup_conf_release(&conf);
	return 0;
}
