/*
 * control_file.c - see copy_files.h: global/pg_control, where recovery begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "postgres/copy_files.h"

#define CONTROL_BYTES 8192u
#define CONTROL_TRIES 100
#define CONTROL_WAIT_MS 10

/*
 * The CRC stands behind the last field, and where that is depends on the version: the
 * place where the CRC of everything before it is found is the right one.
 */
static bool
control_is_whole(const unsigned char *data)
{
	size_t at;

	for (at = 200; at + 4 <= 512; at += 4)
		if (mb_get_u32(data + at) == mb_crc32c(MB_CRC32C_INIT, data, at))
			return true;
	return false;
}

enum mb_code
mb_pg_copy_control(struct mb_pg_copy *copy, struct mb_error *err)
{
	unsigned char data[CONTROL_BYTES];
	struct mb_runs runs = {0};
	struct mb_pg_file file = {.path = "global/pg_control"};
	struct mb_entry entry;
	enum mb_code code = MB_OK;
	bool whole = false;
	int tries;

	for (tries = 0; !code && !whole && tries < CONTROL_TRIES; tries++)
	{
		size_t got = 0;
		int fd = mb_openat(copy->root_fd, file.path, O_RDONLY | O_CLOEXEC, 0);

		if (fd < 0)
			return mb_fail_errno(err, errno, "could not open \"%s\"", file.path);
		if (fstat(fd, &file.st) != 0)
			code = mb_fail_errno(err, errno, "could not stat \"%s\"", file.path);
		if (!code)
			code = mb_pread_full(fd, data, sizeof(data), 0, &got, file.path, err);
		close(fd);
		whole = !code && got == sizeof(data) && control_is_whole(data);
		if (!whole)
			mb_sleep_ms(CONTROL_WAIT_MS);
	}
	if (!code && !whole)
		code = mb_fail(err, MB_CORRUPT, "\"%s\" of the source has a wrong checksum", file.path);
	if (!code)
		code = mb_capture_bytes(copy->capture, 0, data, sizeof(data), &runs, err);
	if (!code)
	{
		mb_pg_copy_fill_entry(copy, &file, &entry);
		entry.size = sizeof(data);
		entry.has_crc32c = true;
		entry.crc32c = mb_crc32c(MB_CRC32C_INIT, data, sizeof(data));
		entry.runs = runs.items;
		entry.run_count = runs.count;
		code = mb_capture_add(copy->capture, &entry, err);
	}
	mb_runs_release(&runs);
	return code;
}
