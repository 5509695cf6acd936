/* rdb_file.c - see rdb_file.h. */
#include "redis/rdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/fs.h"

#define PIECE_BYTES (1u << 20)

static enum mb_code
walk_fd(struct mb_rdb *walker, int fd, const char *path, const struct mb_rdb_file_options *options,
		struct mb_error *err)
{
	unsigned char *bytes = mb_malloc(PIECE_BYTES);
	enum mb_code code = MB_OK;
	int64_t at = 0;
	size_t got = 1;

	while (!code && got > 0)
	{
		code = options->cancel ? mb_cancel_check(options->cancel, err) : MB_OK;
		if (!code)
			code = mb_pread_full(fd, bytes, PIECE_BYTES, at, &got, path, err);
		if (!code && got > 0 && mb_rdb_feed(walker, bytes, got, err))
			code = mb_error_context(err, "\"%s\" is not a good RDB file", path);
		if (!code && options->between)
			code = options->between(options->ctx, err);
		at += (int64_t) got;
	}
	if (!code && mb_rdb_finish(walker, err))
		code = mb_error_context(err, "\"%s\" is not a good RDB file", path);
	free(bytes);
	return code;
}

enum mb_code
mb_rdb_file_walk(struct mb_rdb **out, const char *path, const struct mb_rdb_file_options *options,
				 struct mb_error *err)
{
	/* Not repeated: it may be a pipe that nobody writes to, and a signal ends the wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mb_rdb *walker;
	enum mb_code code;

	if (fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	walker = mb_rdb_new_flags(options->flags);
	mb_rdb_on_key(walker, options->on_key, options->ctx);
	code = walk_fd(walker, fd, path, options, err);
	close(fd);
	if (code)
		mb_rdb_free(walker);
	else
		*out = walker;
	return code;
}
