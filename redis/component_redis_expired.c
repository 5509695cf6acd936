/*
 * component_redis_expired.c - restore --expired shift: by how much expiries are moved, and the
 * RDB on its way into a file with that.  The commands behind it: expiry.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "redis/component_private.h"
#include "redis/rdb_shift.h"

bool
mb_redis_shifts(const struct mb_restore *restore)
{
	return restore->wishes->expired == MB_EXPIRED_SHIFT;
}

enum mb_code
mb_redis_plan_shift(const struct mb_component *component, const struct mb_restore *restore,
					const struct mb_commit *commit, uint64_t offset, struct mb_error *err)
{
	const char *version = mb_json_str(commit->meta, "server_version", "");
	uint64_t rdb_offset = (uint64_t) mb_json_int(commit->meta, "rdb_offset", 0);

	if (!mb_redis_shifts(restore))
		return MB_OK;
	if (restore->wishes->rdb)
	{
		mb_fail(err, MB_CONFIG,
				"--expired shift cannot go together with --rdb: nothing says of "
				"what moment a file is");
		return mb_error_hint(err, "Restore a backup, a mark or a time.");
	}
	if (offset == rdb_offset || strtoul(version, NULL, 10) >= 7)
		return MB_OK;
	mb_fail(err, MB_UNSUPPORTED,
			"the expiries of \"%s\" cannot be moved: Redis %s replicates relative ones",
			component->name, version);
	return mb_error_hint(err, "Restore without --expired shift.");
}

int64_t
mb_redis_shift_ms(const struct mb_component *component, struct mb_restore *restore)
{
	int64_t reached_us = mb_json_time(restore->plan, "reached");
	int64_t shift_ms = (mb_time_now_us() - reached_us) / 1000;

	/* The server's clock may go before ours: no time has passed then. */
	shift_ms = reached_us > 0 && shift_ms > 0 ? shift_ms : 0;
	mb_log_info(component->env->log,
				"%s: expiries are moved by %.3f s, from the moment restored to", component->name,
				(double) shift_ms / 1000);
	mb_json_set_int(restore->result, "expiries_moved_ms", shift_ms);
	return shift_ms;
}

struct target
{
	int fd;
	const char *name;
};

static enum mb_code
write_piece(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	const struct target *target = ctx;

	return mb_write_full(target->fd, data, len, target->name, err);
}

static enum mb_code
shift_entry(const struct mb_repo *repo, const struct mb_entry *entry, struct mb_rdb_shift *shift,
			struct mb_error *err)
{
	struct mb_pack_reader *reader = mb_pack_reader_new(repo);
	struct mb_buf bytes = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < entry->run_count; i++)
	{
		mb_buf_reset(&bytes);
		code = mb_pack_reader_run(reader, &entry->runs[i], &bytes, err);
		if (!code)
			code = mb_rdb_shift_feed(shift, bytes.data, bytes.len, err);
	}
	if (!code)
		code = mb_rdb_shift_finish(shift, err);
	mb_buf_release(&bytes);
	mb_pack_reader_free(reader);
	return code;
}

enum mb_code
mb_redis_shifted_to_file(const struct mb_repo *repo, const struct mb_entry *entry, int dir_fd,
						 const char *name, int64_t shift_ms, struct mb_error *err)
{
	struct target target = {.name = name};
	struct mb_rdb_shift *shift;
	enum mb_code code;

	code = mb_open_beneath(&target.fd, dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600, err);
	if (code)
		return code;
	shift = mb_rdb_shift_new(shift_ms, write_piece, &target);
	code = shift_entry(repo, entry, shift, err);
	if (!code && fsync(target.fd) != 0)
		code = mb_fail_errno(err, errno, "could not write \"%s\"", name);
	mb_rdb_shift_free(shift);
	close(target.fd);
	return code;
}
