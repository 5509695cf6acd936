/* wal_fetch.c - see wal_fetch.h. */
#include "walstreamer/wal_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/fs.h"

struct output
{
	char *temporary;
	int fd;
};

static enum mb_code
begin_output(struct output *output, const char *path, struct mb_error *err)
{
	output->temporary = mb_asprintf("%s.mbackup-tmp-%d", path, (int) getpid());
	unlink(output->temporary);
	output->fd =
		mb_open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (output->fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", output->temporary);
	return MB_OK;
}

/* The last step of every delivery: a file under its name is complete. */
static enum mb_code
end_output(struct output *output, const char *path, enum mb_code code, struct mb_error *err)
{
	if (output->fd >= 0 && close(output->fd) != 0 && !code)
		code = mb_fail_errno(err, errno, "could not write \"%s\"", output->temporary);
	if (!code && rename(output->temporary, path) != 0)
		code = mb_fail_errno(err, errno, "could not rename \"%s\"", output->temporary);
	if (code && output->fd >= 0)
		unlink(output->temporary);
	free(output->temporary);
	return code;
}

/* The stretches of one segment, a unit at a time; what lies behind to_lsn is zero. */
static enum mb_code
write_units(const struct mb_repo *repo, const struct mb_plan_item *item, int fd, const char *path,
			struct mb_error *err)
{
	uint32_t unit = mb_wal_unit_bytes(item->where.segment_size);
	unsigned char *data = mb_malloc(unit);
	uint64_t from_lsn, to_lsn;
	const char *why;
	enum mb_code code = MB_OK;

	for (from_lsn = item->start_lsn; !code && from_lsn < item->to_lsn; from_lsn = to_lsn)
	{
		to_lsn = from_lsn + unit < item->to_lsn ? from_lsn + unit : item->to_lsn;
		code = mb_wal_assemble(repo, &item->where, from_lsn, to_lsn, data, err);
		if (!code && from_lsn == item->start_lsn &&
			!mb_wal_segment_is(data, (size_t) (to_lsn - from_lsn),
							   strtoull(item->where.system_id, NULL, 10), item->start_lsn,
							   item->where.segment_size, &why))
			code = mb_fail(err, MB_CORRUPT, "segment %s is damaged: %s", item->file, why);
		if (!code)
			code = mb_pwrite_full(fd, data, (size_t) (to_lsn - from_lsn),
								  (int64_t) (from_lsn - item->start_lsn), path, err);
	}
	free(data);
	if (!code && ftruncate(fd, (off_t) item->where.segment_size) != 0)
		code = mb_fail_errno(err, errno, "could not write \"%s\"", path);
	return code;
}

enum mb_code
mb_wal_fetch_segment(const struct mb_repo *repo, const struct mb_plan_item *item, const char *path,
					 struct mb_error *err)
{
	struct output output;
	enum mb_code code = begin_output(&output, path, err);

	if (!code)
		code = write_units(repo, item, output.fd, output.temporary, err);
	return end_output(&output, path, code, err);
}

enum mb_code
mb_wal_fetch_history(const struct mb_repo *repo, const char *blob, const char *path,
					 struct mb_error *err)
{
	struct mb_buf content = {0};
	struct output output;
	enum mb_code code = mb_blob_get(repo, MB_ROLE_STREAM, blob, MB_WAL_HISTORY_MAX, &content, err);

	if (code == MB_NOT_FOUND)
		code = err->code = MB_CORRUPT; /* the plan names it */
	if (!code)
	{
		code = begin_output(&output, path, err);
		if (!code)
			code = mb_write_full(output.fd, content.data, content.len, output.temporary, err);
		code = end_output(&output, path, code, err);
	}
	mb_buf_release(&content);
	return code;
}
