/* wal_spool_flush.c - what an earlier run left in the spool goes to the repository first. */
#include <errno.h>
#include <stdio.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "walstreamer/inventory.h"
#include "walstreamer/wal_spool_private.h"

/* One file, as a piece of its whole length. */
struct leftover
{
	json_t *meta;
	unsigned char *data;
	uint32_t len;
	char branch[MB_WAL_BRANCH_TEXT];
	struct mb_wal_piece piece;
};

static enum mb_code
describe(const struct mb_wal_spool *spool, struct leftover *left, const char *path,
		 struct mb_error *err)
{
	int64_t size = mb_json_int(left->meta, "segment_size", 0);
	struct mb_wal_piece *piece = &left->piece;

	if (strcmp(mb_json_str(left->meta, "repository", ""), spool->env->repo->id_text) != 0)
	{
		mb_fail(err, MB_CONFLICT, "\"%s\" holds WAL for repository %s, not for this one", path,
				mb_json_str(left->meta, "repository", "?"));
		return mb_error_hint(err, "Configure that repository until the spool is empty, or move the "
								  "file away.");
	}
	if (size <= 0 || !mb_wal_segment_size_is_valid((uint64_t) size) ||
		!mb_lsn_parse(&piece->from_lsn, mb_json_str(left->meta, "lsn", "")))
		return mb_fail(err, MB_CORRUPT, "\"%s\" is damaged", path);
	snprintf(left->branch, sizeof(left->branch), "%s", mb_json_str(left->meta, "branch", ""));
	piece->where = (struct mb_wal_where){spool->component, mb_json_str(left->meta, "system_id", ""),
										 (uint32_t) mb_json_int(left->meta, "timeline", 0),
										 left->branch, (uint32_t) size};
	piece->history = mb_json_str(left->meta, "history", "");
	piece->parent_branch = mb_json_str(left->meta, "parent_branch", "");
	piece->received_us = piece->server_time_us = mb_time_now_us();
	return MB_OK;
}

/* How far the branch holds this unit; MB_EXISTS when it holds other bytes. */
static enum mb_code
compare_stored(const struct mb_wal_spool *spool, const struct leftover *left, uint64_t *stored_to,
			   struct mb_error *err)
{
	const struct mb_wal_piece *piece = &left->piece;
	uint64_t end = piece->from_lsn + left->len;
	struct mb_wal_inventory *inventory;
	const struct mb_wal_span *span = NULL;
	unsigned char *bytes;
	enum mb_code code =
		mb_wal_inventory_segment(&inventory, spool->env->repo, &piece->where, piece->from_lsn, err);

	if (code)
		return code;
	if (inventory->branch_count > 0)
		span = mb_wal_branch_span(&inventory->branches[0], piece->from_lsn);
	*stored_to = span && span->to_lsn > piece->from_lsn ? span->to_lsn : piece->from_lsn;
	mb_wal_inventory_free(inventory);
	if (*stored_to > end)
		*stored_to = end;
	if (*stored_to == piece->from_lsn)
		return MB_OK;
	bytes = mb_malloc(left->len);
	code =
		mb_wal_assemble(spool->env->repo, &piece->where, piece->from_lsn, *stored_to, bytes, err);
	if (!code && memcmp(bytes, left->data, (size_t) (*stored_to - piece->from_lsn)) != 0)
		code = mb_fail(err, MB_EXISTS, "branch %s holds other WAL", left->branch);
	free(bytes);
	return code;
}

static enum mb_code
put_rest(const struct mb_wal_spool *spool, struct leftover *left, uint64_t from_lsn,
		 struct mb_error *err)
{
	struct mb_wal_piece piece = left->piece;
	bool whole = left->len == mb_wal_unit_bytes(piece.where.segment_size);
	struct mb_blob_writer writer = {0};
	struct mb_wal_facts facts = {0};
	struct mb_wal_walk walk;
	enum mb_code code = MB_OK;

	piece.to_lsn = piece.from_lsn + left->len;
	if (from_lsn < piece.to_lsn)
	{
		/* Facts are of the unit from its beginning, as after a restart of the receiver. */
		mb_wal_walk_init(&walk, piece.from_lsn, piece.where.segment_size);
		mb_wal_walk_feed(&walk, left->data, left->len, &facts);
		piece.facts = &facts;
		piece.from_lsn = whole ? piece.from_lsn : from_lsn;
		piece.data = left->data + (piece.from_lsn - left->piece.from_lsn);
		code = mb_wal_piece_put(&writer, spool->env->repo, &piece, err);
		if (!code && whole)
			mb_wal_tails_remove(spool->env->repo, &piece.where, piece.from_lsn, piece.to_lsn);
	}
	mb_blob_writer_release(&writer);
	mb_wal_facts_release(&facts);
	return code;
}

static enum mb_code
flush_file(struct mb_wal_spool *spool, const char *path, struct mb_error *err)
{
	struct leftover left = {.data = mb_malloc(MB_WAL_UNIT_MAX)};
	unsigned char random[8];
	uint64_t stored_to = 0;
	enum mb_code code = mb_wal_spool_read(path, &left.meta, left.data, &left.len, err);

	if (code == MB_CORRUPT)
	{
		/* Cut before its first record was whole: nothing in it was reported. */
		mb_log_warning(spool->env->log, "%s: %s; removed", spool->component, err->message);
		mb_wal_spool_unlink(spool, path);
		free(left.data);
		return MB_OK;
	}
	if (!code)
		code = describe(spool, &left, path, err);
	if (!code && left.len > 0)
		code = compare_stored(spool, &left, &stored_to, err);
	if (code == MB_EXISTS)
	{
		mb_random(random, sizeof(random));
		mb_hex(left.branch, random, sizeof(random));
		stored_to = left.piece.from_lsn;
		mb_log_warning(spool->env->log, "%s: spooled WAL disagrees with its branch, new branch %s",
					   spool->component, left.branch);
		code = MB_OK;
	}
	if (!code && left.len > 0)
		code = put_rest(spool, &left, stored_to, err);
	if (!code)
		mb_wal_spool_unlink(spool, path);
	json_decref(left.meta);
	free(left.data);
	return code;
}

static int
is_spool_file(const struct dirent *entry)
{
	return strlen(entry->d_name) == 8 + 1 + 16 + 1 + 16;
}

enum mb_code
mb_wal_spool_flush(struct mb_wal_spool *spool, struct mb_error *err)
{
	struct dirent **entries = NULL;
	int count, i;
	enum mb_code code = MB_OK;

	mb_wal_spool_leave(spool);
	/* By timeline, then by position. */
	count = scandir(spool->dir, &entries, is_spool_file, alphasort);
	if (count < 0)
		return mb_fail_errno(err, errno, "could not list \"%s\"", spool->dir);
	if (count > 0)
		mb_log_info(spool->env->log, "%s: storing WAL that was left in the spool: %d files",
					spool->component, count);
	for (i = 0; i < count; i++)
	{
		char *path = mb_asprintf("%s/%s", spool->dir, entries[i]->d_name);

		if (!code)
			code = mb_cancel_check(spool->env->cancel, err);
		if (!code)
			code = flush_file(spool, path, err);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return code ? mb_error_context(err, "could not store spooled WAL") : MB_OK;
}
