/*
 * credentials_fuzz.c - any bytes as the answer of a server that gives keys, and as ~/.aws/credentials.  A profile with
 * a program is left out: it would be run.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "objectstore/credentials_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_credentials_options options = {.profile = "default"};
	struct mb_found_keys found = {0};
	struct mb_error err;
	char path[64];
	int fd;

	mb_error_clear(&err);
	if (mb_found_keys_parse(&found, data, size, "fuzz", &err) == MB_OK)
		MB_ASSERT(found.keys.access_key.len > 0 && found.keys.secret_key.len > 0);
	mb_found_keys_release(&found);
	if (memmem(data, size, "process", strlen("process")))
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	MB_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t) size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	setenv("AWS_CONFIG_FILE", path, 1);
	memset(&found, 0, sizeof(found));
	if (mb_keys_from_profile(&options, &found, &err) == MB_OK)
		MB_ASSERT(found.keys.access_key.len > 0);
	mb_found_keys_release(&found);
	close(fd);
	return 0;
}
