/* wal_push_file.c - one segment file: check it, compare it with a branch, put its units. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "walstreamer/wal_push_private.h"

#define LONG_HEADER 40

static enum mb_code
refuse(const struct mb_push_file *file, struct mb_error *err, const char *why)
{
	mb_fail(err, MB_CORRUPT, "\"%s\" is not the WAL that its name says: %s", file->path, why);
	return mb_error_hint(err, "It is not archived, so PostgreSQL keeps it and asks again. See who "
							  "writes into pg_wal, and look at it with pg_waldump.");
}

/* The first page's header against the name; fills system id and sizes. */
static enum mb_code
check_header(struct mb_push_file *file, const unsigned char *head, size_t len, uint64_t size,
			 struct mb_error *err)
{
	uint64_t system_id;
	const char *why;

	if (len < LONG_HEADER)
		return refuse(file, err, "it is too short");
	system_id = mb_get_u64(head + 24);
	file->segment_size = mb_get_u32(head + 32);
	if (!mb_wal_magic_is_known(mb_get_u16(head)))
		return refuse(file, err, "it does not begin with a WAL page header");
	if (!mb_wal_segment_size_is_valid(file->segment_size) || size != file->segment_size)
		return refuse(file, err, "its size is not the segment size in its header");
	if (!mb_wal_file_parse(file->file, file->segment_size, &file->timeline, &file->start_lsn))
		return refuse(file, err, "the name fits no segment of this size");
	if (!mb_wal_segment_is(head, len, system_id, file->start_lsn, file->segment_size, &why))
		return refuse(file, err, why);
	/* The first segment of a timeline begins as a copy of its parent's. */
	if (mb_get_u32(head + 4) == 0 || mb_get_u32(head + 4) > file->timeline)
		return refuse(file, err, "it is of another timeline");
	snprintf(file->system_id, sizeof(file->system_id), "%" PRIu64, system_id);
	file->end_lsn = file->start_lsn + file->segment_size;
	return MB_OK;
}

enum mb_code
mb_push_open(struct mb_push_file *file, const char *path, struct mb_error *err)
{
	const char *slash = strrchr(path, '/');
	unsigned char head[LONG_HEADER];
	struct stat st;
	size_t got = 0;
	enum mb_code code = MB_OK;

	memset(file, 0, sizeof(*file));
	file->path = path;
	snprintf(file->file, sizeof(file->file), "%.24s", slash ? slash + 1 : path);
	file->fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (file->fd < 0)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	if (fstat(file->fd, &st) != 0)
		code = mb_fail_errno(err, errno, "could not look at \"%s\"", path);
	if (!code)
		code = mb_pread_full(file->fd, head, sizeof(head), 0, &got, path, err);
	if (!code)
		code = check_header(file, head, got, (uint64_t) st.st_size, err);
	if (code)
	{
		close(file->fd);
		return code;
	}
	file->inode = (uint64_t) st.st_ino;
	file->modified_us = (int64_t) st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
	return MB_OK;
}

struct mb_wal_where
mb_push_where(const struct mb_push_target *target, const struct mb_push_file *file)
{
	struct mb_wal_where where = {target->component, file->system_id, file->timeline, target->branch,
								 file->segment_size};

	return where;
}

static enum mb_code
read_stretch(const struct mb_push_file *file, uint64_t from_lsn, uint64_t to_lsn,
			 unsigned char *out, struct mb_error *err)
{
	size_t want = (size_t) (to_lsn - from_lsn), got = 0;
	enum mb_code code = mb_pread_full(file->fd, out, want, (int64_t) (from_lsn - file->start_lsn),
									  &got, file->path, err);

	if (!code && got != want)
		code = mb_fail(err, MB_IO, "\"%s\" has become shorter", file->path);
	return code;
}

/* -- comparing ------------------------------------------------------------------------------- */

/* The stored piece, or as much of it as the file vouches for, against the file. */
static enum mb_code
compare_piece(const struct mb_push_target *target, const struct mb_push_file *file,
			  const struct mb_wal_where *where, const struct mb_wal_span *piece,
			  unsigned char *buffer, bool *same, struct mb_error *err)
{
	uint64_t to_lsn = piece->to_lsn < file->end_lsn ? piece->to_lsn : file->end_lsn;
	char name[MB_NAME_MAX], hash[MB_WAL_HASH_TEXT];
	struct mb_buf stored = {0};
	json_t *header = NULL;
	const char *known = NULL;
	enum mb_code code;

	*same = true;
	if (piece->from_lsn >= to_lsn)
		return MB_OK;
	mb_wal_piece_name(name, where, piece->from_lsn, piece->to_lsn);
	code = read_stretch(file, piece->from_lsn, to_lsn, buffer, err);
	if (!code)
		code = mb_wal_piece_header(target->env->repo, name, &header, err);
	if (!code && to_lsn == piece->to_lsn)
		known = mb_json_str(header, "hash", NULL);
	mb_wal_hash(hash, buffer, (size_t) (to_lsn - piece->from_lsn));
	if (!code && known)
		*same = strcmp(known, hash) == 0;
	else if (!code)
	{
		code = mb_wal_piece_get(target->env->repo, name, NULL, &stored, err);
		*same = !code && memcmp(stored.data, buffer, (size_t) (to_lsn - piece->from_lsn)) == 0;
	}
	json_decref(header);
	mb_buf_release(&stored);
	return code;
}

/* Pieces that are parts of others which were compared say nothing new. */
static enum mb_code
compare_once(const struct mb_push_target *target, const struct mb_push_file *file,
			 const struct mb_wal_where *where, struct mb_push_agreement *out, unsigned char *buffer,
			 struct mb_error *err)
{
	uint32_t unit = mb_wal_unit_bytes(file->segment_size);
	struct mb_wal_inventory *inventory;
	const struct mb_wal_branch *branch;
	uint64_t seen = file->start_lsn;
	enum mb_code code;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->covered_to = file->start_lsn;
	code = mb_wal_inventory_segment(&inventory, target->env->repo, where, file->start_lsn, err);
	if (code)
		return code;
	branch = inventory->branch_count > 0 ? &inventory->branches[0] : NULL;
	for (i = 0; !code && branch && i < branch->piece_count && !out->differs; i++)
	{
		const struct mb_wal_span *piece = &branch->pieces[i];
		bool same;

		if (piece->to_lsn - piece->from_lsn == unit)
			out->whole_pieces |= 1ull << ((piece->from_lsn - file->start_lsn) / unit);
		if (piece->to_lsn <= seen)
			continue;
		code = compare_piece(target, file, where, piece, buffer, &same, err);
		if (code)
			break;
		out->differs = !same;
		out->equal_bytes += piece->to_lsn - piece->from_lsn;
		if (piece->from_lsn <= out->covered_to)
			out->covered_to = piece->to_lsn;
		seen = piece->to_lsn;
	}
	mb_wal_inventory_free(inventory);
	return code;
}

enum mb_code
mb_push_compare(const struct mb_push_target *target, const struct mb_push_file *file,
				const char *branch, struct mb_push_agreement *out, struct mb_error *err)
{
	struct mb_wal_where where = mb_push_where(target, file);
	unsigned char *buffer = mb_malloc(mb_wal_unit_bytes(file->segment_size));
	enum mb_code code;

	where.branch = branch;
	code = compare_once(target, file, &where, out, buffer, err);
	/* A tail piece may be removed, once the whole unit is there, between listing and get. */
	if (code == MB_NOT_FOUND)
		code = compare_once(target, file, &where, out, buffer, err);
	if (code == MB_NOT_FOUND)
		code = err->code = MB_CORRUPT;
	free(buffer);
	return code;
}

/* -- putting --------------------------------------------------------------------------------- */

/* When the server wrote the end of it: the file's time, unless the clock has been turned back. */
static int64_t
server_time(const struct mb_push_file *file, const struct mb_wal_facts *facts)
{
	return facts->newest_commit_us > file->modified_us ? facts->newest_commit_us
													   : file->modified_us;
}

static enum mb_code
put_unit(const struct mb_push_target *target, const struct mb_push_file *file,
		 struct mb_blob_writer *writer, const unsigned char *data, uint64_t from_lsn,
		 uint64_t to_lsn, const struct mb_wal_facts *facts, struct mb_error *err)
{
	struct mb_wal_piece piece = {.where = mb_push_where(target, file)};
	enum mb_code code;

	piece.from_lsn = from_lsn;
	piece.to_lsn = to_lsn;
	piece.received_us = mb_time_now_us();
	piece.server_time_us = server_time(file, facts);
	piece.history = target->history;
	piece.parent_branch = target->parent_branch;
	piece.facts = facts;
	piece.data = data;
	code = mb_wal_piece_put(writer, target->env->repo, &piece, err);
	if (!code && to_lsn - from_lsn == mb_wal_unit_bytes(file->segment_size))
		mb_wal_tails_remove(target->env->repo, &piece.where, from_lsn, to_lsn);
	return code;
}

enum mb_code
mb_push_put(const struct mb_push_target *target, const struct mb_push_file *file,
			struct mb_error *err)
{
	uint32_t unit = mb_wal_unit_bytes(file->segment_size);
	unsigned char *data = mb_malloc(unit);
	struct mb_blob_writer writer = {0};
	struct mb_push_agreement agreement;
	struct mb_wal_walk walk;
	uint64_t from_lsn, to_lsn;
	enum mb_code code = mb_push_compare(target, file, target->branch, &agreement, err);

	if (!code && agreement.differs)
		code = mb_fail(err, MB_EXISTS, "branch %s holds other WAL of segment %s", target->branch,
					   file->file);
	mb_wal_walk_init(&walk, file->start_lsn, file->segment_size);
	for (from_lsn = file->start_lsn;
		 !code && agreement.covered_to < file->end_lsn && from_lsn < file->end_lsn;
		 from_lsn = to_lsn)
	{
		bool is_there = (agreement.whole_pieces >> ((from_lsn - file->start_lsn) / unit) & 1) != 0;
		struct mb_wal_facts facts = {0};

		to_lsn = from_lsn + unit < file->end_lsn ? from_lsn + unit : file->end_lsn;
		code = mb_cancel_check(target->env->cancel, err);
		if (!code)
			code = read_stretch(file, from_lsn, to_lsn, data, err);
		if (!code)
			mb_wal_walk_feed(&walk, data, (size_t) (to_lsn - from_lsn), &facts);
		if (!code && !is_there && to_lsn > agreement.covered_to)
			code = put_unit(target, file, &writer, data, from_lsn, to_lsn, &facts, err);
		mb_wal_facts_release(&facts);
	}
	mb_blob_writer_release(&writer);
	free(data);
	return code;
}
