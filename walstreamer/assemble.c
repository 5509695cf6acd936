/* assemble.c - the bytes of WAL out of its pieces; see inventory.h. */
#include <string.h>

#include "walstreamer/inventory.h"

/* The piece that holds `at` and goes furthest, or NULL. */
static const struct mb_wal_span *
best_piece(const struct mb_wal_branch *branch, uint64_t at)
{
	const struct mb_wal_span *best = NULL;
	size_t i;

	for (i = 0; branch && i < branch->piece_count; i++)
		if (branch->pieces[i].from_lsn <= at && branch->pieces[i].to_lsn > at &&
			(!best || branch->pieces[i].to_lsn > best->to_lsn))
			best = &branch->pieces[i];
	return best;
}

static enum mb_code
fail_missing(const struct mb_wal_where *where, uint64_t from_lsn, uint64_t at, struct mb_error *err)
{
	char file[MB_WAL_FILE_TEXT];

	mb_wal_file_name(file, where->timeline, from_lsn, where->segment_size);
	return mb_fail(err, MB_CORRUPT,
				   "WAL is missing at %X/%X (segment %s, branch %s) though it was there",
				   (unsigned) (at >> 32), (unsigned) at, file, where->branch);
}

static enum mb_code
assemble_once(const struct mb_repo *repo, const struct mb_wal_where *where, uint64_t from_lsn,
			  uint64_t to_lsn, unsigned char *out, bool *vanished, struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	const struct mb_wal_branch *branch;
	struct mb_buf bytes = {0};
	uint64_t at = from_lsn;
	enum mb_code code;

	*vanished = false;
	code = mb_wal_inventory_segment(&inventory, repo, where, from_lsn, err);
	if (code)
		return code;
	branch = inventory->branch_count > 0 ? &inventory->branches[0] : NULL;
	while (!code && at < to_lsn)
	{
		const struct mb_wal_span *best = best_piece(branch, at);
		char name[MB_NAME_MAX];
		size_t skip, take;

		if (!best)
		{
			code = fail_missing(where, from_lsn, at, err);
			break;
		}
		mb_wal_piece_name(name, where, best->from_lsn, best->to_lsn);
		mb_buf_reset(&bytes);
		code = mb_wal_piece_get(repo, name, NULL, &bytes, err);
		*vanished = code == MB_NOT_FOUND;
		if (code)
			break;
		skip = (size_t) (at - best->from_lsn);
		take = bytes.len - skip;
		if (take > to_lsn - at)
			take = (size_t) (to_lsn - at);
		memcpy(out + (at - from_lsn), bytes.data + skip, take);
		at += take;
	}
	mb_buf_release(&bytes);
	mb_wal_inventory_free(inventory);
	return code;
}

enum mb_code
mb_wal_assemble(const struct mb_repo *repo, const struct mb_wal_where *where, uint64_t from_lsn,
				uint64_t to_lsn, unsigned char *out, struct mb_error *err)
{
	bool vanished;
	enum mb_code code = assemble_once(repo, where, from_lsn, to_lsn, out, &vanished, err);

	/* A tail piece may be removed, once the whole unit is there, between listing and get. */
	if (code == MB_NOT_FOUND && vanished)
		code = assemble_once(repo, where, from_lsn, to_lsn, out, &vanished, err);
	if (code == MB_NOT_FOUND)
	{
		err->code = MB_CORRUPT;
		code = MB_CORRUPT;
	}
	return code;
}
