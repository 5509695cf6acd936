/*
 * config_fuzz.c - any bytes as mbackup.conf.  Inputs that name files or commands of secrets are left out: they would be
 * read and run.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
has(const uint8_t *data, size_t size, const char *word)
{
	return memmem(data, size, word, strlen(word)) != NULL;
}

/* Everything that was taken can be asked for. */
static void
touch(const struct mb_config *config)
{
	struct mb_settings place = {0};
	struct mb_error err;
	size_t i, j;

	(void) mb_config_get(config, SCOPE_GLOBAL, "spool");
	(void) mb_config_get(config, SCOPE_REPOSITORY, "url");
	for (i = 0; i < config->component_count; i++)
	{
		const struct mb_settings *settings = &config->components[i];

		MB_ASSERT(settings->name[0] && settings->kind[0]);
		for (j = 0; j < settings->count; j++)
		{
			char *first = mb_settings_list(settings, settings->items[j].key, 0);

			free(first);
		}
	}
	for (i = 0; i < config->copy_count; i++)
	{
		char *text = mb_config_place_text(&config->copies[i].settings);

		MB_ASSERT(config->copies[i].url != NULL);
		free(text);
	}
	if (mb_config_place(config, &place, &err) == MB_OK && mb_settings_get(&place, "url"))
		free(mb_config_place_text(&place));
	mb_settings_release(&place);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_config config = {0};
	struct mb_error err;
	char path[64];
	int fd;

	if (has(data, size, "-file") || has(data, size, "-command") || has(data, size, "passphrase"))
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	MB_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t) size && fchmod(fd, 0600) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	setenv("MBACKUP_CONFIG", path, 1);
	mb_error_clear(&err);
	if (mb_config_read(&config, 0, &err) == MB_OK)
		touch(&config);
	else
		MB_ASSERT(err.message[0]);
	mb_config_release(&config);
	close(fd);
	return 0;
}
