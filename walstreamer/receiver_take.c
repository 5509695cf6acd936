/* receiver_take.c - messages of the server: WAL into the current unit, replies (see receiver_private.h). */
#include "walstreamer/receiver_private.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"

/* Behind a restore point nothing waits for tail-interval: the small commit behind it is stored too. */
#define HURRY_MS 250
#define PG_EPOCH_US 946684800000000LL

void
mb_walrecv_drop_message(struct mb_wal_receiver *receiver)
{
	PQfreemem(receiver->message);
	receiver->message = NULL;
}

enum mb_code
mb_walrecv_send_status(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	unsigned char reply[34] = {'r'};
	uint64_t fields[4] = {receiver->received_lsn, mb_walrecv_flushed(receiver), 0,
						  (uint64_t) (mb_time_now_us() - PG_EPOCH_US)};
	int i, b;

	for (i = 0; i < 4; i++)
		for (b = 0; b < 8; b++)
			reply[1 + i * 8 + b] = (unsigned char) (fields[i] >> (56 - 8 * b));
	if (PQputCopyData(receiver->conn, (const char *) reply, sizeof(reply)) <= 0 ||
		PQflush(receiver->conn) < 0)
		return mb_pg_fail(err, receiver->conn, NULL, "could not reply to the server");
	receiver->reported_flush = fields[1];
	receiver->reply_now = false;
	receiver->last_status_ms = mb_monotonic_ms();
	return MB_OK;
}

/* Compare what arrives with what is stored; false when it differs. */
static bool
compare_known(struct mb_wal_receiver *receiver, uint64_t lsn, const unsigned char *data, size_t len)
{
	uint64_t from = lsn > receiver->known_from ? lsn : receiver->known_from;
	uint64_t to = lsn + len < receiver->known_to ? lsn + len : receiver->known_to;

	if (from < to && memcmp(data + (from - lsn), receiver->known + (from - receiver->known_from),
							(size_t) (to - from)) != 0)
		return false;
	if (lsn + len >= receiver->known_to)
	{
		receiver->verified = true;
		receiver->durable_lsn = receiver->known_to;
		free(receiver->known);
		receiver->known = NULL;
		mb_walrecv_write_state(receiver);
	}
	return true;
}

/* Take as much of the message as fits into the current unit; MB_NEGATIVE: it differs. */
static enum mb_code
take_wal(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	struct unit *unit = &receiver->units[receiver->current];
	const unsigned char *data = (unsigned char *) receiver->message + receiver->message_at;
	size_t len = receiver->message_len - receiver->message_at;
	size_t room = receiver->unit_bytes - unit->len;
	bool was_verified = receiver->verified;
	size_t points = unit->tail.point_count;

	if (len > room)
		len = room;
	if (len == 0)
		return MB_OK;
	memcpy(unit->data + unit->len, data, len);
	if (!receiver->verified && !compare_known(receiver, receiver->received_lsn, data, len))
		return mb_fail(err, MB_NEGATIVE, "the stored WAL differs from the server's");
	mb_wal_walk_feed(&receiver->walk, data, len, &unit->tail);
	/* A cut makes one, and a small commit behind it: it waits until both are stored. */
	if (unit->tail.point_count > points)
		receiver->hurry_until_ms = mb_monotonic_ms() + HURRY_MS;
	unit->len += (uint32_t) len;
	if (!was_verified && receiver->verified)
		unit->put = (uint32_t) (receiver->known_to - unit->lsn);
	receiver->received_lsn += len;
	receiver->message_at += len;
	if (receiver->options.progress)
		atomic_fetch_add(&receiver->options.progress->done_bytes, len);
	if (receiver->message_at == receiver->message_len)
		mb_walrecv_drop_message(receiver);
	return MB_OK;
}

static enum mb_code
take_message(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	struct mb_rd rd = mb_rd_init(receiver->message, receiver->message_len);
	uint8_t type = mb_rd_u8(&rd);
	uint64_t lsn = mb_rd_u64_be(&rd);
	uint64_t second = mb_rd_u64_be(&rd);

	if (type == 'w')
	{
		receiver->server_time_us = (int64_t) mb_rd_u64_be(&rd) + PG_EPOCH_US;
		if (rd.bad || lsn != receiver->received_lsn)
			return mb_fail(err, MB_IO, "the server sent WAL of " LSN_FMT " instead of " LSN_FMT,
						   LSN_ARGS(lsn), LSN_ARGS(receiver->received_lsn));
		receiver->message_at = 25;
		if (receiver->message_at == receiver->message_len)
			mb_walrecv_drop_message(receiver);
		return MB_OK;
	}
	if (type == 'k')
	{
		receiver->server_time_us = (int64_t) second + PG_EPOCH_US;
		if (mb_rd_u8(&rd))
			receiver->reply_now = true;
	}
	else
		return mb_fail(err, MB_IO, "the server sent an unknown message of type %u", type);
	mb_walrecv_drop_message(receiver);
	return MB_OK;
}

/* Read messages until there are none, the unit is full, or the copy has ended. */
enum mb_code
mb_walrecv_read_messages(struct mb_wal_receiver *receiver, bool *copy_ended, bool *drained,
						 struct mb_error *err)
{
	struct unit *unit = &receiver->units[receiver->current];
	enum mb_code code = MB_OK;
	int rounds;

	*drained = false;
	/* A bounded number at a time, so that uploads and replies have their turn. */
	for (rounds = 0; !code && rounds < 256; rounds++)
	{
		int len;

		if (receiver->message)
		{
			code = take_wal(receiver, err);
			if (code || unit->len == receiver->unit_bytes)
				break;
			continue;
		}
		len = PQgetCopyData(receiver->conn, &receiver->message, 1);
		if (len > 0)
		{
			receiver->message_len = (size_t) len;
			receiver->message_at = 0;
			code = take_message(receiver, err);
			continue;
		}
		receiver->message = NULL;
		*drained = true;
		if (len == -1)
			*copy_ended = true;
		else if (len == -2)
			code = mb_pg_fail(err, receiver->conn, NULL, "lost the connection to the server");
		break;
	}
	return code;
}
