/*
 * piece_fuzz.c - any text as the header of a piece of a stream, of WAL (byte 0 even) or of Redis: what is accepted is
 * what its name says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/repo/repo_private.h"
#include "redis/pieces.h"
#include "walstreamer/inventory.h"
#include "walstreamer/piece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLID "0123456789012345678901234567890123456789"
#define WAL_NAME                                                                                   \
	"streams/postgres/wal/7000000000000000000/00000001/0123456789abcdef/000000010000000000000001/" \
	"00000000-00000010"
#define REDIS_NAME "streams/redis/" REPLID "/0000000000000000-0000000000000010"

static void
touch_wal(const struct mb_repo *repo)
{
	struct mb_buf bytes = {0};
	json_t *header = NULL;
	struct mb_error err;

	if (mb_wal_piece_header(repo, WAL_NAME, &header, &err) == MB_OK)
		json_decref(header);
	header = NULL;
	if (mb_wal_piece_get(repo, WAL_NAME, &header, &bytes, &err) == MB_OK)
	{
		MB_ASSERT(bytes.len == 16);
		json_decref(header);
	}
	mb_buf_release(&bytes);
}

static void
touch_redis(const struct mb_repo *repo)
{
	struct mb_time_offset point;
	struct mb_piece_name name;
	struct mb_pieces pieces = {0};
	struct mb_buf bytes = {0};
	struct mb_chain chain = {0};
	struct mb_piece piece;
	struct mb_error err;

	MB_ASSERT(mb_piece_name_parse(&REDIS_NAME[strlen("streams/redis/")], &name));
	if (mb_piece_get(repo, "redis", &name, &piece, &bytes, &err) == MB_OK)
		MB_ASSERT(bytes.len == 16 && piece.index_count <= MB_PIECE_MAX_INDEX);
	if (mb_pieces_list(repo, "redis", NULL, &pieces, &err) == MB_OK &&
		mb_chain_follow(repo, "redis", &pieces, REPLID, 0, &chain, &err) == MB_OK)
	{
		MB_ASSERT(mb_chain_end(&chain) <= 16);
		if (mb_chain_at_time(repo, "redis", &chain, INT64_MAX, &point, &err) == MB_OK &&
			point.time_us)
			MB_ASSERT(point.offset <= 16);
	}
	mb_chain_release(&chain);
	mb_pieces_release(&pieces);
	mb_buf_release(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mb_repo repo = {.suite = MB_SUITE_NONE, .id_text = "x"};
	struct mb_blob_writer writer = {0};
	bool is_wal;
	struct mb_error err;

	if (size < 1)
		return 0;
	is_wal = data[0] % 2 == 0;
	repo.store = mb_store_memory_new(0);
	mb_blob_begin(&writer, &repo, MB_ROLE_STREAM, is_wal ? WAL_NAME : REDIS_NAME);
	if (size - 1 <= MB_FRAME_MAX_PLAIN)
	{
		mb_blob_frame(&writer, data + 1, size - 1, 0);
		mb_blob_frame(&writer, "0123456789abcdef", 16, MB_FRAME_LAST);
		MB_ASSERT(mb_blob_put(&writer, &err) == MB_OK);
		if (is_wal)
			touch_wal(&repo);
		else
			touch_redis(&repo);
	}
	mb_blob_writer_release(&writer);
	mb_store_free(repo.store);
	return 0;
}
