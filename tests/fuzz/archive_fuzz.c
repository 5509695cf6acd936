/* archive_fuzz.c - any bytes as an archive that somebody wants to import, and as the name of a member. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/archive_check.h"
#include "cli/archive_name.h"
#include "core/base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any key has a name that is one of a file, and comes back. */
static void
touch_name(const uint8_t *data, size_t size)
{
	struct mb_buf name = {0}, back = {0};
	size_t len = size < 1024 ? size : 1024;

	if (len == 0 || memchr(data, 0, len))
		return;
	archive_name_encode(&name, (const char *) data, len, 0);
	MB_ASSERT(mb_name_is_safe(mb_buf_cstr(&name), name.len));
	if (archive_name_decode(&back, mb_buf_cstr(&name)))
		MB_ASSERT(back.len == len && memcmp(back.data, data, len) == 0);
	mb_buf_release(&name);
	mb_buf_release(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_secret pass = {0};
	struct archive_check check = {.path = "/nonexistent/fuzz", .pass = &pass, .tmp_dir = "/tmp"};
	struct archive_inventory inventory;
	struct mb_error err;
	size_t i;

	touch_name(data, size);
	check.fd = memfd_create("fuzz", MFD_CLOEXEC);
	MB_ASSERT(check.fd >= 0 && write(check.fd, data, size) == (ssize_t) size);
	mb_secret_set(&pass, "fuzz", 4);
	mb_error_clear(&err);
	if (archive_inventory_read(&inventory, &check, &err) == MB_OK)
		for (i = 0; i < inventory.count; i++)
		{
			struct archive_item *item = &inventory.items[i];
			json_t *line = NULL;

			MB_ASSERT(mb_name_is_safe(item->prefix, strlen(item->prefix) -
														(mb_ends_with(item->prefix, "/") ? 1 : 0)));
			if (archive_index_next(item, "x", &line, &err) == MB_OK)
				json_decref(line);
		}
	archive_inventory_release(&inventory);
	mb_secret_release(&pass);
	close(check.fd);
	return 0;
}
