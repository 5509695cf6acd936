/* receiver_upload.c - from units to the uploader, and what is durable (see receiver_private.h). */
#include "walstreamer/receiver_private.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"

#define SPOOL_RETRY_MS 1000

void
mb_walrecv_reset_unit(struct unit *unit, uint64_t lsn)
{
	unit->lsn = lsn;
	unit->len = unit->put = unit->spooled = 0;
	mb_wal_facts_release(&unit->all);
	mb_wal_facts_release(&unit->tail);
}

uint64_t
mb_walrecv_flushed(const struct mb_wal_receiver *receiver)
{
	return receiver->spooled_lsn > receiver->durable_lsn ? receiver->spooled_lsn
														 : receiver->durable_lsn;
}

static struct mb_wal_where
where_of(const struct mb_wal_receiver *receiver)
{
	struct mb_wal_where where = {receiver->options.component, receiver->system_id,
								 receiver->timeline, receiver->branch, receiver->segment_size};

	return where;
}

/* -- jobs ---------------------------------------------------------------------------------------- */

/* [from, len) of a unit; takes the facts. */
static void
submit(struct mb_wal_receiver *receiver, struct unit *unit, uint32_t from, bool whole,
	   struct mb_wal_facts *facts, int64_t server_time_us)
{
	struct mb_wal_job job = {.whole_unit = whole};

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
	job.piece.server_time_us = server_time_us;
	job.piece.data = unit->data + from;
	job.facts = *facts;
	memset(facts, 0, sizeof(*facts));
	unit->put = unit->len;
	unit->busy++;
	receiver->under_way[receiver->under_way_count++] = (unsigned) (unit - receiver->units);
	mb_wal_uploader_submit(receiver->uploader, &job);
}

/* A buffer that nobody reads: there is one more than there are jobs. */
static unsigned
free_unit(const struct mb_wal_receiver *receiver)
{
	unsigned i;

	for (i = 0; i < UNITS; i++)
		if (i != receiver->current && receiver->units[i].busy == 0)
			return i;
	MB_BUG("all units are busy");
}

static void
submit_whole(struct mb_wal_receiver *receiver, struct unit *unit)
{
	uint64_t next_lsn = unit->lsn + receiver->unit_bytes;

	mb_wal_facts_merge(&unit->all, &unit->tail);
	submit(receiver, unit, 0, true, &unit->all, receiver->server_time_us);
	receiver->current = free_unit(receiver);
	mb_walrecv_reset_unit(&receiver->units[receiver->current], next_lsn);
}

static void
submit_tail(struct mb_wal_receiver *receiver, struct unit *unit)
{
	mb_wal_facts_merge(&unit->all, &unit->tail);
	submit(receiver, unit, unit->put, false, &unit->tail, receiver->server_time_us);
	mb_wal_facts_release(&unit->tail);
}

/* The oldest finished job, if there is one. */
static enum mb_code
collect(struct mb_wal_receiver *receiver, bool *finished, struct mb_error *err)
{
	uint64_t to_lsn = 0;
	enum mb_code code = mb_wal_uploader_collect(receiver->uploader, finished, &to_lsn, err);
	unsigned i;

	if (!*finished)
		return code;
	receiver->units[receiver->under_way[0]].busy--;
	receiver->under_way_count--;
	for (i = 0; i < receiver->under_way_count; i++)
		receiver->under_way[i] = receiver->under_way[i + 1];
	if (!code && to_lsn > receiver->durable_lsn)
	{
		bool first = receiver->durable_lsn == 0, whole = to_lsn % receiver->unit_bytes == 0;
		struct mb_wal_where where = where_of(receiver);

		receiver->durable_lsn = to_lsn;
		if (first || whole)
			mb_walrecv_write_state(receiver);
		if (whole && receiver->spool)
			mb_wal_spool_remove(receiver->spool, &where, to_lsn - receiver->unit_bytes);
		mb_walrecv_publish(receiver, true);
	}
	return code;
}

/* -- the spool ----------------------------------------------------------------------------------- */

/* Said once when reading stops for the spool's sake, and once when it goes on. */
static void
alarm_about(struct mb_wal_receiver *receiver, const char *why)
{
	if (why && !receiver->alarmed)
		mb_log_warning(mb_walrecv_log(receiver), "%s: no more WAL is read, the server keeps it: %s",
					   receiver->options.component, why);
	if (!why && receiver->alarmed)
		mb_log_info(mb_walrecv_log(receiver), "%s: WAL is read again", receiver->options.component);
	receiver->alarmed = why != NULL;
}

/* What is new of the unit goes to the spool and is durable there, or is tried again later. */
static void
spool_unit(struct mb_wal_receiver *receiver, struct unit *unit)
{
	struct mb_wal_piece piece = {.where = where_of(receiver), .from_lsn = unit->lsn};
	struct mb_error err;
	enum mb_code code = MB_OK;
	bool appended = false;

	if (unit->len == unit->spooled || unit->lsn + unit->len <= receiver->durable_lsn ||
		(receiver->spool_tried_ms && mb_monotonic_ms() - receiver->spool_tried_ms < SPOOL_RETRY_MS))
		return;
	piece.history = receiver->history;
	piece.parent_branch = receiver->parent_branch;
	if (unit->spooled == 0)
		code = mb_wal_spool_begin(receiver->spool, &piece, &err);
	if (!code)
		code = mb_wal_spool_append(receiver->spool, unit->lsn + unit->spooled,
								   unit->data + unit->spooled, unit->len - unit->spooled, &err);
	appended = !code;
	if (!code)
		code = mb_wal_spool_sync(receiver->spool, &err);
	receiver->spool_tried_ms = code ? mb_monotonic_ms() : 0;
	if (code)
	{
		/*
		 * A file that could not be synced is written anew, beside the one that holds what was
		 * acknowledged; one that could not grow goes on from where it is.
		 */
		if (appended)
			unit->spooled = 0;
		alarm_about(receiver, err.message);
		return;
	}
	alarm_about(receiver, NULL);
	unit->spooled = unit->len;
	receiver->spooled_lsn = unit->lsn + unit->len;
}

/* The uploader is busy: the unit waits in the spool, and its buffer is free. */
static void
put_aside(struct mb_wal_receiver *receiver, struct unit *unit)
{
	struct waiting_unit *waiting;

	if (mb_wal_spool_is_full(receiver->spool))
	{
		alarm_about(receiver, "the spool has reached spool-limit");
		return;
	}
	alarm_about(receiver, NULL);
	mb_wal_facts_merge(&unit->all, &unit->tail);
	receiver->waiting = mb_grow(receiver->waiting, &receiver->waiting_cap,
								receiver->waiting_count + 1, sizeof(*waiting));
	waiting = &receiver->waiting[receiver->waiting_count++];
	waiting->lsn = unit->lsn;
	waiting->server_time_us = receiver->server_time_us;
	waiting->facts = unit->all;
	memset(&unit->all, 0, sizeof(unit->all));
	/* A job may still read it: then another buffer is free. */
	if (unit->busy)
	{
		receiver->current = free_unit(receiver);
		mb_walrecv_reset_unit(&receiver->units[receiver->current],
							  unit->lsn + receiver->unit_bytes);
	}
	else
		mb_walrecv_reset_unit(unit, unit->lsn + receiver->unit_bytes);
}

static enum mb_code
submit_waiting(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	struct mb_wal_where where = where_of(receiver);
	struct waiting_unit waiting = receiver->waiting[0];
	struct unit *unit = &receiver->units[free_unit(receiver)];
	enum mb_code code;

	mb_walrecv_reset_unit(unit, waiting.lsn);
	code = mb_wal_spool_load(receiver->spool, &where, waiting.lsn, unit->data, &unit->len, err);
	if (!code && unit->len != receiver->unit_bytes)
		code = mb_fail(err, MB_IO, "a file of the spool has been damaged");
	if (code)
		return code;
	receiver->waiting_count--;
	memmove(receiver->waiting, receiver->waiting + 1,
			receiver->waiting_count * sizeof(*receiver->waiting));
	submit(receiver, unit, 0, true, &waiting.facts, waiting.server_time_us);
	return MB_OK;
}

/* -- moving on ----------------------------------------------------------------------------------- */

/* Is it time for a tail piece? */
static bool
is_tail_due(const struct mb_wal_receiver *receiver, bool flush_all, int64_t now)
{
	return flush_all || now < receiver->hurry_until_ms ||
		   (mb_wal_sync_is_waited_for(receiver->sync) && !receiver->spool) ||
		   now - receiver->last_tail_ms >= receiver->options.tail_interval_ms;
}

enum mb_code
mb_walrecv_move_uploads(struct mb_wal_receiver *receiver, bool flush_all, struct mb_error *err)
{
	struct unit *unit = &receiver->units[receiver->current];
	int64_t now = mb_monotonic_ms();
	bool finished = true, has_room;
	enum mb_code code = MB_OK;

	while (!code && finished)
		code = collect(receiver, &finished, err);
	if (code || !receiver->verified)
		return code;
	if (receiver->spool)
		spool_unit(receiver, unit);
	has_room = mb_wal_uploader_has_room(receiver->uploader);
	if (has_room && receiver->waiting_count > 0)
		return submit_waiting(receiver, err);
	if (unit->len == receiver->unit_bytes)
	{
		if (has_room)
		{
			submit_whole(receiver, unit);
			receiver->last_tail_ms = now;
		}
		else if (receiver->spool && unit->spooled == unit->len)
			put_aside(receiver, unit);
	}
	else if (unit->len > unit->put && receiver->waiting_count == 0 &&
			 mb_wal_uploader_is_idle(receiver->uploader) && is_tail_due(receiver, flush_all, now))
	{
		receiver->last_tail_ms = now;
		submit_tail(receiver, unit);
	}
	return MB_OK;
}

static bool
all_is_stored(const struct mb_wal_receiver *receiver)
{
	const struct unit *unit = &receiver->units[receiver->current];

	return !receiver->verified ||
		   (receiver->waiting_count == 0 && mb_wal_uploader_is_idle(receiver->uploader) &&
			unit->put == unit->len && unit->len < receiver->unit_bytes);
}

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

void
mb_walrecv_abandon_uploads(struct mb_wal_receiver *receiver)
{
	struct mb_error ignored;
	bool finished = false;
	uint64_t to_lsn;
	size_t i;

	while (!mb_wal_uploader_is_idle(receiver->uploader))
	{
		if (mb_wal_uploader_collect(receiver->uploader, &finished, &to_lsn, &ignored) || finished)
			continue;
		mb_sleep_ms(10);
	}
	receiver->under_way_count = 0;
	for (i = 0; i < UNITS; i++)
		receiver->units[i].busy = 0;
	for (i = 0; i < receiver->waiting_count; i++)
		mb_wal_facts_release(&receiver->waiting[i].facts);
	receiver->waiting_count = 0;
}
