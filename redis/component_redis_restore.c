/*
 * component_redis_restore.c - files that a stock redis-server loads.
 *
 * From Redis 7.0 on: appendonlydir/ with the RDB as base file, the commands as one
 * incremental file, and the manifest.  Before: dump.rdb when there are no commands to
 * replay, else appendonly.aof, the RDB with the commands behind it (the form of 4.0 to
 * 6.2).  The loader starts every file in database 0, so the commands are led in by a
 * SELECT of the database that the stream was in (measured: without it, silently wrong).
 *
 * Nothing is handed over unchecked: the RDB is walked again as it stands on disk (a wrong
 * checksum makes a server exit), the commands are scanned while they are written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "redis/component_private.h"
#include "redis/expiry.h"
#include "redis/live.h"
#include "redis/pieces.h"
#include "redis/rdb.h"
#include "redis/resp.h"

#define AOF_MANIFEST "appendonly.aof.manifest"
#define CHECK_BYTES (1u << 20)

struct writing
{
	struct mb_component *component;
	struct mb_restore *restore;
	const char *directory;
	const char *replid;                  /* of the base */
	char reached_replid[MB_REPLID_TEXT]; /* of the last byte that was written */
	uint64_t rdb_offset;
	uint64_t base_offset; /* end of the base's own tail */
	uint64_t offset;      /* to replay to */
	bool to_end;
	int root_fd;
	int dir_fd; /* where the files go: root_fd, or appendonlydir */
	uid_t uid;  /* owner of the directory, for what is made in it */
	gid_t gid;
	/* The command file. */
	int fd;
	const char *name;
	uint64_t head_bytes; /* before the first stream byte */
	struct mb_resp resp;
	bool shifts; /* --expired shift */
	int64_t shift_ms;
	struct mb_expiry expiry;
};

/* -- the command file -------------------------------------------------------------------------- */

static enum mb_code
put_bytes(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	const struct writing *w = ctx;

	return mb_write_full(w->fd, data, len, w->name, err);
}

/* Bytes of the stream from `from` on: those up to the target that are not written yet. */
static enum mb_code
write_stream(struct writing *w, uint64_t from, const unsigned char *data, size_t len,
			 struct mb_error *err)
{
	uint64_t at = w->resp.offset, end = from + len < w->offset ? from + len : w->offset;

	if (from > at)
		return mb_fail(err, MB_CORRUPT, "the stored stream has a hole behind offset %" PRIu64, at);
	if (end <= at)
		return MB_OK;
	data += at - from;
	len = (size_t) (end - at);
	if (mb_resp_feed(&w->resp, data, len, err) ||
		(w->shifts ? mb_expiry_feed(&w->expiry, data, len, err) : put_bytes(w, data, len, err)))
		return err->code;
	atomic_fetch_add(&w->restore->progress->done_bytes, len);
	w->restore->bytes += len;
	return MB_OK;
}

/* The tail that the backup itself carries. */
static enum mb_code
write_tail(struct writing *w, const struct mb_entry *tail, struct mb_error *err)
{
	struct mb_pack_reader *reader = mb_pack_reader_new(w->component->env->repo);
	uint64_t at = w->rdb_offset;
	struct mb_buf bytes = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < tail->run_count && at < w->offset; i++)
	{
		mb_buf_reset(&bytes);
		code = mb_pack_reader_run(reader, &tail->runs[i], &bytes, err);
		if (!code)
			code = write_stream(w, at, bytes.data, bytes.len, err);
		at += bytes.len;
	}
	mb_buf_release(&bytes);
	mb_pack_reader_free(reader);
	return code;
}

/* The pieces behind the backup, up to the target. */
static enum mb_code
write_pieces(struct writing *w, struct mb_error *err)
{
	const struct mb_repo *repo = w->component->env->repo;
	const char *component = w->component->name;
	struct mb_piece *piece = mb_malloc(sizeof(*piece));
	struct mb_pieces pieces = {0};
	struct mb_chain chain = {0};
	struct mb_buf data = {0};
	enum mb_code code;
	size_t i;

	code = mb_pieces_list(repo, component, NULL, &pieces, err);
	if (!code)
		code = mb_chain_follow(repo, component, &pieces, w->replid, w->base_offset, &chain, err);
	for (i = 0; !code && i < chain.count && w->resp.offset < w->offset; i++)
	{
		strcpy(w->reached_replid, chain.items[i].replid);
		mb_buf_reset(&data);
		code = mb_cancel_check(w->component->env->cancel, err);
		if (!code)
			code = mb_piece_get(repo, component, &chain.items[i], piece, &data, err);
		if (!code)
			code = write_stream(w, chain.items[i].start, data.data, data.len, err);
	}
	mb_pieces_release(&pieces);
	mb_chain_release(&chain);
	mb_buf_release(&data);
	free(piece);
	return code;
}

static enum mb_code
write_select(struct writing *w, struct mb_error *err)
{
	char text[64], db[24];
	int db_len = snprintf(db, sizeof(db), "%" PRId64, w->resp.db);
	int len = snprintf(text, sizeof(text), "*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", db_len, db);

	w->head_bytes += (uint64_t) len;
	return mb_write_full(w->fd, text, (size_t) len, w->name, err);
}

/* The end must be between two commands; a target "as far as it goes" is cut back to there. */
static enum mb_code
end_stream(struct writing *w, struct mb_error *err)
{
	uint64_t bytes = w->shifts ? w->expiry.boundary : w->resp.boundary - w->rdb_offset;

	if (w->resp.offset < w->offset)
		return mb_fail(err, MB_CORRUPT,
					   "the stream ends at offset %" PRIu64 ", before the target %" PRIu64,
					   w->resp.offset, w->offset);
	if (!mb_resp_at_boundary(&w->resp) && !w->to_end)
		return mb_fail(err, MB_CORRUPT, "the target offset %" PRIu64 " is inside a command",
					   w->offset);
	if (ftruncate(w->fd, (off_t) (w->head_bytes + bytes)) != 0 || fsync(w->fd) != 0)
		return mb_fail_errno(err, errno, "could not write \"%s\"", w->name);
	return MB_OK;
}

/* Everything between the RDB and the target, appended to w->fd. */
static enum mb_code
write_commands(struct writing *w, struct mb_error *err)
{
	struct mb_arena arena = {0};
	char name[MB_REDIS_ENTRY_MAX];
	struct mb_entry tail;
	bool found = false;
	enum mb_code code = MB_OK;

	mb_redis_entry_name(mb_redis_of(w->component), MB_REDIS_TAIL_NAME, name);
	w->expiry = (struct mb_expiry){.shift_ms = w->shift_ms, .fn = put_bytes, .ctx = w};
	mb_resp_init(&w->resp, w->rdb_offset, mb_json_int(w->restore->commit.meta, "db", 0), false);
	if (w->offset > w->rdb_offset)
		code = write_select(w, err);
	if (!code && w->base_offset > w->rdb_offset && w->offset > w->rdb_offset)
		code = mb_commit_find(w->component->env->repo, &w->restore->commit, name, &arena, &tail,
							  &found, err);
	if (!code && found)
		code = write_tail(w, &tail, err);
	if (!code && w->offset > w->base_offset)
		code = write_pieces(w, err);
	if (!code)
		code = end_stream(w, err);
	mb_expiry_release(&w->expiry);
	mb_arena_release(&arena);
	return code;
}

/* -- files -------------------------------------------------------------------------------------- */

/* Walk the RDB that stands on disk. */
static enum mb_code
check_file(struct writing *w, const char *name, struct mb_error *err)
{
	unsigned char *bytes = mb_malloc(CHECK_BYTES);
	struct mb_rdb *walker = mb_rdb_new_flags(MB_RDB_FOREIGN);
	enum mb_code code;
	int64_t at = 0;
	size_t got = 1;
	int fd;

	code = mb_open_beneath(&fd, w->dir_fd, name, O_RDONLY, 0, err);
	if (code)
		goto done;
	while (!code && got > 0)
	{
		code = mb_pread_full(fd, bytes, CHECK_BYTES, at, &got, name, err);
		if (!code && got > 0)
			code = mb_rdb_feed(walker, bytes, got, err);
		at += (int64_t) got;
	}
	if (!code)
		code = mb_rdb_finish(walker, err);
	close(fd);
done:
	mb_rdb_free(walker);
	free(bytes);
	return code ? mb_error_context(err, "\"%s\" is not a good RDB file", name) : MB_OK;
}

static enum mb_code
write_rdb(struct writing *w, const char *name, struct mb_error *err)
{
	const struct mb_repo *repo = w->component->env->repo;
	struct mb_arena arena = {0};
	char stored[MB_REDIS_ENTRY_MAX];
	struct mb_entry entry;
	bool found = false;
	enum mb_code code;

	mb_redis_entry_name(mb_redis_of(w->component), MB_REDIS_RDB_NAME, stored);
	code = mb_commit_find(repo, &w->restore->commit, stored, &arena, &entry, &found, err);
	if (!code && !found)
		code = mb_fail(err, MB_CORRUPT, "backup %s holds no RDB", w->restore->commit.id);
	if (!code && w->shifts)
		code = mb_redis_shifted_to_file(repo, &entry, w->dir_fd, name, w->shift_ms, err);
	else if (!code)
		code = mb_entry_to_file(repo, &entry, w->dir_fd, name, 0600, err);
	if (!code)
		code = check_file(w, name, err);
	if (!code)
	{
		w->restore->entries++;
		w->restore->bytes += entry.size;
		w->head_bytes = entry.size;
		atomic_fetch_add(&w->restore->progress->done_bytes, entry.size);
	}
	mb_arena_release(&arena);
	return code;
}

static enum mb_code
give_away(struct writing *w, int fd, const char *name, struct mb_error *err)
{
	if (geteuid() == 0 && fchown(fd, w->uid, w->gid) != 0)
		return mb_fail_errno(err, errno, "could not give \"%s\" to the owner of its directory",
							 name);
	return MB_OK;
}

/* Owner by a name in dir_fd, for files that were written by others. */
static enum mb_code
give_away_name(struct writing *w, const char *name, struct mb_error *err)
{
	enum mb_code code;
	int fd;

	code = mb_open_beneath(&fd, w->dir_fd, name, O_RDONLY, 0, err);
	if (code)
		return code;
	code = give_away(w, fd, name, err);
	close(fd);
	return code;
}

/* Open the command file, let it be written, close it. */
static enum mb_code
write_command_file(struct writing *w, const char *name, int flags, struct mb_error *err)
{
	enum mb_code code;

	w->name = name;
	code = mb_open_beneath(&w->fd, w->dir_fd, name, O_WRONLY | O_APPEND | flags, 0600, err);
	if (code)
		return code;
	code = write_commands(w, err);
	if (!code)
		code = give_away(w, w->fd, name, err);
	close(w->fd);
	return code;
}

static enum mb_code
write_manifest(struct writing *w, struct mb_error *err)
{
	static const char text[] =
		"file " MB_REDIS_AOF_BASE " seq 1 type b\nfile " MB_REDIS_AOF_INCR " seq 1 type i\n";
	enum mb_code code;
	int fd;

	code = mb_open_beneath(&fd, w->dir_fd, AOF_MANIFEST, O_WRONLY | O_CREAT | O_EXCL, 0600, err);
	if (code)
		return code;
	code = mb_write_full(fd, text, sizeof(text) - 1, AOF_MANIFEST, err);
	if (!code)
		code = give_away(w, fd, AOF_MANIFEST, err);
	if (!code && fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not write \"%s\"", AOF_MANIFEST);
	close(fd);
	w->restore->entries += 2; /* with the command file */
	return code;
}

/* Redis 7.0 and later. */
static enum mb_code
write_multipart(struct writing *w, struct mb_error *err)
{
	enum mb_code code;

	if (mkdirat(w->root_fd, MB_REDIS_AOF_DIR, 0700) != 0)
		return mb_fail_errno(err, errno, "could not create \"%s/%s\"", w->directory,
							 MB_REDIS_AOF_DIR);
	code =
		mb_open_beneath(&w->dir_fd, w->root_fd, MB_REDIS_AOF_DIR, O_RDONLY | O_DIRECTORY, 0, err);
	if (code)
		return code;
	code = give_away(w, w->dir_fd, MB_REDIS_AOF_DIR, err);
	if (!code)
		code = write_rdb(w, MB_REDIS_AOF_BASE, err);
	if (!code)
		code = give_away_name(w, MB_REDIS_AOF_BASE, err);
	w->head_bytes = 0;
	if (!code)
		code = write_command_file(w, MB_REDIS_AOF_INCR, O_CREAT | O_EXCL, err);
	if (!code)
		code = write_manifest(w, err);
	if (!code && fsync(w->dir_fd) != 0)
		code =
			mb_fail_errno(err, errno, "could not sync \"%s/%s\"", w->directory, MB_REDIS_AOF_DIR);
	close(w->dir_fd);
	return code;
}

/* Redis 4.0 to 6.2. */
static enum mb_code
write_single(struct writing *w, struct mb_error *err)
{
	bool replay = w->offset > w->rdb_offset;
	const char *name = replay ? MB_REDIS_AOF_SINGLE : MB_REDIS_RDB_NAME;
	enum mb_code code;

	w->dir_fd = w->root_fd;
	code = write_rdb(w, name, err);
	if (!code)
		code = write_command_file(w, name, 0, err);
	if (!code && replay)
		mb_restore_warn(w->restore, "servers before 7.0 replicate relative expiries: keys that the "
									"replayed commands "
									"gave a time to live keep it from the moment of loading");
	return code;
}

/* -- the whole ------------------------------------------------------------------------------------ */

static enum mb_code
open_directory(struct writing *w, struct mb_error *err)
{
	struct stat st;

	if (mb_restore_directory(w->directory, MB_DIRECTORY_CHECK, 0700, err))
		return err->code;
	/* A directory that stands ready keeps its mode: the server's user may need it so. */
	if (stat(w->directory, &st) != 0)
	{
		if (mb_restore_directory(w->directory, MB_DIRECTORY_CREATE, 0700, err))
			return err->code;
		if (stat(w->directory, &st) != 0)
			return mb_fail_errno(err, errno, "could not look at \"%s\"", w->directory);
	}
	mb_restore_made(w->restore, w->directory);
	w->uid = st.st_uid;
	w->gid = st.st_gid;
	w->root_fd = mb_open(w->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (w->root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", w->directory);
	return MB_OK;
}

static void
report_reached(const struct writing *w)
{
	json_t *reached = json_object();

	mb_json_set_str(reached, "replid", w->reached_replid[0] ? w->reached_replid : w->replid);
	mb_json_set_int(reached, "offset", (int64_t) w->resp.boundary);
	mb_json_set_time(reached, "time", mb_json_time(w->restore->plan, "reached"));
	json_object_set_new(w->restore->result, "reached", reached);
}

static struct writing
begin(struct mb_component *component, struct mb_restore *restore, const char *directory)
{
	const json_t *meta = restore->commit.meta;

	return (struct writing){.component = component,
							.restore = restore,
							.directory = directory,
							.replid = mb_json_str(meta, "replid", ""),
							.rdb_offset = (uint64_t) mb_json_int(meta, "rdb_offset", 0),
							.base_offset = (uint64_t) mb_json_int(meta, "offset", 0),
							.offset = (uint64_t) mb_json_int(restore->plan, "offset", 0),
							.to_end = mb_json_bool(restore->plan, "to_end", false),
							.root_fd = -1};
}

static enum mb_code
end(struct writing *w, enum mb_code code, struct mb_error *err)
{
	if (!code && fsync(w->root_fd) != 0)
		code = mb_fail_errno(err, errno, "could not sync \"%s\"", w->directory);
	close(w->root_fd);
	return code;
}

enum mb_code
mb_redis_write_files(struct mb_component *component, struct mb_restore *restore,
					 const char *directory, bool *append_only, struct mb_error *err)
{
	const char *version = mb_json_str(restore->commit.meta, "server_version", "");
	bool multipart = strtoul(version, NULL, 10) >= 7;
	struct writing w = begin(component, restore, directory);
	enum mb_code code = open_directory(&w, err);

	if (code)
		return code;
	w.shifts = mb_redis_shifts(restore);
	w.shift_ms = w.shifts ? mb_redis_shift_ms(component, restore) : 0;
	code = multipart ? write_multipart(&w, err) : write_single(&w, err);
	if (!code)
		report_reached(&w);
	*append_only = multipart || w.offset > w.rdb_offset;
	return end(&w, code, err);
}

/* A cache comes back empty: whatever was in it is older than the data it caches. */
static enum mb_code
restore_cache(struct mb_component *component, struct mb_restore *restore, const char *directory,
			  struct mb_error *err)
{
	struct writing w = begin(component, restore, directory);

	if (open_directory(&w, err))
		return err->code;
	mb_restore_warn(restore, "role = cache: \"%s\" is left empty, the application fills it anew",
					directory);
	mb_json_set_bool(restore->result, "empty", true);
	return end(&w, MB_OK, err);
}

enum mb_code
mb_redis_restore(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	const char *directory = mb_json_str(restore->plan, "directory", NULL);
	bool append_only = false;
	enum mb_code code;
	char *start;

	if (!directory)
		return mb_redis_live_restore(component, restore, err);
	mb_json_set_str(restore->result, "destination", directory);
	if (mb_redis_of(component)->is_cache && !(restore->wishes->flags & MB_RESTORE_LOOK))
		return restore_cache(component, restore, directory, err);
	code = mb_redis_write_files(component, restore, directory, &append_only, err);
	if (code)
		return code;
	start =
		mb_asprintf("redis-server --dir %s --appendonly %s", directory, append_only ? "yes" : "no");
	mb_json_set_str(restore->result, "next", start);
	free(start);
	return MB_OK;
}
