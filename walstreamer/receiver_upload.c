/* receiver_upload.c - from units to the uploader, and what is durable (see receiver_private.h). */
#include "walstreamer/receiver_private.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"

void
mb_walrecv_reset_unit(struct unit *unit, uint64_t lsn)
{
	unit->lsn = lsn;
	unit->len = unit->put = 0;
	mb_wal_facts_release(&unit->all);
	mb_wal_facts_release(&unit->tail);
}

static void
submit(struct mb_wal_receiver *receiver, struct unit *unit, uint32_t from, bool whole)
{
	struct mb_wal_job job = {.whole_unit = whole};
	struct mb_wal_facts *facts = whole ? &unit->all : &unit->tail;

	mb_wal_facts_merge(&unit->all, &unit->tail);

	snprintf(job.component, sizeof(job.component), "%s", receiver->options.component);
	snprintf(job.system_id, sizeof(job.system_id), "%s", receiver->system_id);
	snprintf(job.branch, sizeof(job.branch), "%s", receiver->branch);
	snprintf(job.history, sizeof(job.history), "%s", receiver->history);
	snprintf(job.parent_branch, sizeof(job.parent_branch), "%s", receiver->parent_branch);
	job.piece.where.timeline = receiver->timeline;
	job.piece.where.segment_size = receiver->segment_size;
	job.piece.from_lsn = unit->lsn + from;
	job.piece.to_lsn = unit->lsn + unit->len;
	job.piece.received_us = mb_time_now_us();
	job.piece.server_time_us = receiver->server_time_us;
	job.piece.data = unit->data + from;
	job.facts = *facts;
	memset(facts, 0, sizeof(*facts));
	mb_wal_facts_release(&unit->tail);
	unit->put = unit->len;
	mb_wal_uploader_submit(receiver->uploader, &job);
}

/* Collect what is done, hand over what is due.  MB_EXISTS: another history is stored there. */
enum mb_code
mb_walrecv_move_uploads(struct mb_wal_receiver *receiver, bool flush_all, struct mb_error *err)
{
	struct unit *unit = &receiver->units[receiver->current];
	int64_t now = mb_monotonic_ms();
	bool finished;
	uint64_t to_lsn;
	enum mb_code code;

	code = mb_wal_uploader_collect(receiver->uploader, &finished, &to_lsn, err);
	if (code)
		return code;
	if (finished && to_lsn > receiver->durable_lsn)
	{
		bool first = receiver->durable_lsn == 0;

		receiver->durable_lsn = to_lsn;
		if (first || to_lsn % receiver->unit_bytes == 0)
			mb_walrecv_write_state(receiver);
		mb_walrecv_publish(receiver, true);
	}
	if (!receiver->verified || !mb_wal_uploader_is_idle(receiver->uploader))
		return MB_OK;
	if (unit->len == receiver->unit_bytes)
	{
		submit(receiver, unit, 0, true);
		receiver->last_tail_ms = now;
		receiver->current ^= 1;
		mb_walrecv_reset_unit(&receiver->units[receiver->current],
							  unit->lsn + receiver->unit_bytes);
	}
	else if (unit->len > unit->put &&
			 (flush_all || now - receiver->last_tail_ms >= receiver->options.tail_interval_ms))
	{
		receiver->last_tail_ms = now;
		submit(receiver, unit, unit->put, false);
	}
	return MB_OK;
}

static bool
all_is_stored(const struct mb_wal_receiver *receiver)
{
	const struct unit *unit = &receiver->units[receiver->current];

	return !receiver->verified || (mb_wal_uploader_is_idle(receiver->uploader) &&
								   unit->put == unit->len && unit->len < receiver->unit_bytes);
}

/* Put everything that was received; for the end of a timeline or of the run. */
enum mb_code
mb_walrecv_flush_uploads(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && !all_is_stored(receiver))
	{
		code = mb_walrecv_move_uploads(receiver, true, err);
		if (!code && !mb_wal_uploader_is_idle(receiver->uploader))
		{
			struct pollfd fd = {.fd = receiver->wake_fd, .events = POLLIN};
			uint64_t count;

			if (poll(&fd, 1, POLL_MS) > 0 && read(receiver->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
	}
	if (!code)
		mb_walrecv_publish(receiver, true);
	return code;
}

/* Drop whatever is under way; after an error. */
void
mb_walrecv_abandon_uploads(struct mb_wal_receiver *receiver)
{
	struct mb_error ignored;
	bool finished = false;
	uint64_t to_lsn;

	while (!mb_wal_uploader_is_idle(receiver->uploader))
	{
		if (mb_wal_uploader_collect(receiver->uploader, &finished, &to_lsn, &ignored) || finished)
			continue;
		mb_sleep_ms(10);
	}
}
