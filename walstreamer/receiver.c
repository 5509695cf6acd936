/* receiver.c - see receiver.h: the loop: take messages, hand out pieces, follow timelines. */
#include "walstreamer/receiver_private.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/time.h"
#include "walstreamer/gap.h"

#define PG_EPOCH_US 946684800000000LL
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
/* Our own walsender of a broken connection may hold the slot until wal_sender_timeout. */
#define OWN_SLOT_MS 90000
/* The same of a stream that was killed just before we began. */
#define FIRST_SLOT_MS 5000
#define STATUS_MS 5000
#define POLL_MS 100

/* What ended a stretch of streaming. */
enum ending
{
	END_STOPPED, /* asked to */
	END_SWITCH,  /* the timeline ended: another one begins */
	END_LOST,    /* the connection or the server went away */
	END_REFUSED  /* the branch does not fit: choose again */
};

static bool
must_end(const struct mb_wal_receiver *receiver)
{
	return atomic_load(&receiver->stop) || mb_cancelled(receiver->options.env->cancel);
}

static void
publish(struct mb_wal_receiver *receiver, bool streaming)
{
	pthread_mutex_lock(&receiver->lock);
	receiver->status.streaming = streaming;
	snprintf(receiver->status.system_id, sizeof(receiver->status.system_id), "%s",
			 receiver->system_id);
	snprintf(receiver->status.branch, sizeof(receiver->status.branch), "%s",
			 receiver->verified ? receiver->branch : "");
	receiver->status.timeline = receiver->timeline;
	receiver->status.received_lsn = receiver->received_lsn;
	receiver->status.durable_lsn = receiver->durable_lsn;
	pthread_cond_broadcast(&receiver->changed);
	pthread_mutex_unlock(&receiver->lock);
}

static void
refuse_branch(struct mb_wal_receiver *receiver, const char *why)
{
	if (!receiver->branch[0])
		return;
	mb_log_info(mb_walrecv_log(receiver), "%s: WAL branch %s of timeline %u is not continued: %s",
				receiver->options.component, receiver->branch, receiver->timeline, why);
	snprintf(receiver->refused[receiver->refused_count % MAX_REFUSED], MB_WAL_BRANCH_TEXT, "%s",
			 receiver->branch);
	receiver->refused_count++;
}

/* -- beginning a stretch -------------------------------------------------------------------------- */

static void
reset_unit(struct unit *unit, uint64_t lsn)
{
	unit->lsn = lsn;
	unit->len = unit->put = 0;
	mb_wal_facts_release(&unit->all);
	mb_wal_facts_release(&unit->tail);
}

static void
drop_message(struct mb_wal_receiver *receiver)
{
	PQfreemem(receiver->message);
	receiver->message = NULL;
}

static enum mb_code
set_branch(struct mb_wal_receiver *receiver, const struct beginning *beginning,
		   struct mb_error *err)
{
	unsigned char random[8];
	struct mb_buf history = {0};
	enum mb_code code;

	receiver->timeline = beginning->timeline;
	snprintf(receiver->parent_branch, sizeof(receiver->parent_branch), "%s",
			 beginning->parent_branch);
	free(receiver->known);
	receiver->known = NULL;
	receiver->known_from = beginning->from_lsn;
	receiver->known_to = 0;
	receiver->verified = !beginning->branch[0];
	receiver->durable_lsn = receiver->reported_flush = 0;
	receiver->received_lsn = beginning->from_lsn;
	if (beginning->branch[0])
		snprintf(receiver->branch, sizeof(receiver->branch), "%s", beginning->branch);
	else
	{
		mb_random(random, sizeof(random));
		mb_hex(receiver->branch, random, sizeof(random));
	}
	code = mb_walrecv_history(receiver, beginning->timeline, &history, receiver->history, err);
	mb_buf_release(&history);
	if (!code && beginning->branch[0] && beginning->from_lsn == beginning->known_to)
	{
		receiver->verified = true;
		receiver->durable_lsn = beginning->known_to;
	}
	else if (!code && beginning->branch[0])
	{
		struct mb_wal_where where = {receiver->options.component, receiver->system_id,
									 receiver->timeline, receiver->branch, receiver->segment_size};

		receiver->known = mb_malloc(receiver->unit_bytes);
		code = mb_wal_assemble(receiver->options.env->repo, &where, beginning->from_lsn,
							   beginning->known_to, receiver->known, err);
		receiver->known_to = beginning->known_to;
	}
	return code;
}

/*
 * MB_NEGATIVE: everything of this timeline is there already and another one follows.
 * MB_NOT_FOUND: the server's history has no such position.
 */
static enum mb_code
start_replication(struct mb_wal_receiver *receiver, const char *slot, uint64_t from_lsn,
				  uint32_t *next_timeline, uint64_t *switch_lsn, struct mb_error *err)
{
	char *ident = mb_pg_quote_ident(slot);
	char *command = mb_asprintf("START_REPLICATION SLOT %s PHYSICAL " LSN_FMT " TIMELINE %u", ident,
								LSN_ARGS(from_lsn), receiver->timeline);
	PGresult *res = NULL;
	enum mb_code code = MB_OK;

	/* Not PQexec: it would drop the result set that names the next timeline. */
	if (PQsendQuery(receiver->conn, command))
		res = PQgetResult(receiver->conn);
	if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 &&
		mb_lsn_parse(switch_lsn, PQgetvalue(res, 0, 1)))
	{
		*next_timeline = (uint32_t) strtoul(PQgetvalue(res, 0, 0), NULL, 10);
		code = mb_fail(err, MB_NEGATIVE, "timeline %u ends here", receiver->timeline);
	}
	else if (PQresultStatus(res) != PGRES_COPY_BOTH)
	{
		code = mb_pg_fail(err, receiver->conn, res, "could not start replication");
		if (code == MB_IO && PQstatus(receiver->conn) == CONNECTION_OK)
			code = err->code = MB_NOT_FOUND;
	}
	while (code && res)
	{
		PQclear(res);
		res = PQgetResult(receiver->conn);
	}
	PQclear(res);
	free(command);
	free(ident);
	return code;
}

/* -- taking messages ------------------------------------------------------------------------------- */

static enum mb_code
send_status(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	unsigned char reply[34] = {'r'};
	uint64_t fields[4] = {receiver->received_lsn, receiver->durable_lsn, 0,
						  (uint64_t) (mb_time_now_us() - PG_EPOCH_US)};
	int i, b;

	for (i = 0; i < 4; i++)
		for (b = 0; b < 8; b++)
			reply[1 + i * 8 + b] = (unsigned char) (fields[i] >> (56 - 8 * b));
	if (PQputCopyData(receiver->conn, (const char *) reply, sizeof(reply)) <= 0 ||
		PQflush(receiver->conn) < 0)
		return mb_pg_fail(err, receiver->conn, NULL, "could not reply to the server");
	receiver->reported_flush = receiver->durable_lsn;
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

	if (len > room)
		len = room;
	if (len == 0)
		return MB_OK;
	memcpy(unit->data + unit->len, data, len);
	if (!receiver->verified && !compare_known(receiver, receiver->received_lsn, data, len))
		return mb_fail(err, MB_NEGATIVE, "the stored WAL differs from the server's");
	mb_wal_walk_feed(&receiver->walk, data, len, &unit->tail);
	unit->len += (uint32_t) len;
	if (!was_verified && receiver->verified)
		unit->put = (uint32_t) (receiver->known_to - unit->lsn);
	receiver->received_lsn += len;
	receiver->message_at += len;
	if (receiver->options.progress)
		atomic_fetch_add(&receiver->options.progress->done_bytes, len);
	if (receiver->message_at == receiver->message_len)
		drop_message(receiver);
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
			drop_message(receiver);
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
	drop_message(receiver);
	return MB_OK;
}

/* -- handing pieces to the uploader ------------------------------------------------------------------ */

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
static enum mb_code
move_uploads(struct mb_wal_receiver *receiver, bool flush_all, struct mb_error *err)
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
		publish(receiver, true);
	}
	if (!receiver->verified || !mb_wal_uploader_is_idle(receiver->uploader))
		return MB_OK;
	if (unit->len == receiver->unit_bytes)
	{
		submit(receiver, unit, 0, true);
		receiver->last_tail_ms = now;
		receiver->current ^= 1;
		reset_unit(&receiver->units[receiver->current], unit->lsn + receiver->unit_bytes);
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
static enum mb_code
flush_uploads(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && !all_is_stored(receiver))
	{
		code = move_uploads(receiver, true, err);
		if (!code && !mb_wal_uploader_is_idle(receiver->uploader))
		{
			struct pollfd fd = {.fd = receiver->wake_fd, .events = POLLIN};
			uint64_t count;

			if (poll(&fd, 1, POLL_MS) > 0 && read(receiver->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
	}
	if (!code)
		publish(receiver, true);
	return code;
}

/* Drop whatever is under way; after an error. */
static void
abandon_uploads(struct mb_wal_receiver *receiver)
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

/* -- the loop ----------------------------------------------------------------------------------------- */

/* Wait for the socket (only when there is room) or the uploader. */
static enum mb_code
wait_for_work(struct mb_wal_receiver *receiver, bool want_read, struct mb_error *err)
{
	struct pollfd fds[2] = {{.fd = receiver->wake_fd, .events = POLLIN},
							{.fd = PQsocket(receiver->conn), .events = POLLIN}};
	uint64_t count;

	if (poll(fds, want_read ? 2 : 1, POLL_MS) <= 0)
		return MB_OK;
	if ((fds[0].revents & POLLIN) && read(receiver->wake_fd, &count, sizeof(count)) < 0)
		return MB_OK;
	if (want_read && (fds[1].revents & (POLLIN | POLLERR | POLLHUP)) &&
		!PQconsumeInput(receiver->conn))
		return mb_pg_fail(err, receiver->conn, NULL, "lost the connection to the server");
	return MB_OK;
}

/* Read messages until there are none, the unit is full, or the copy has ended. */
static enum mb_code
read_messages(struct mb_wal_receiver *receiver, bool *copy_ended, bool *drained,
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

/* After the copy: the next timeline, an error, or the end of the server. */
static enum mb_code
end_of_copy(struct mb_wal_receiver *receiver, enum ending *ending, uint32_t *next_timeline,
			uint64_t *switch_lsn, struct mb_error *err)
{
	PGresult *res = PQgetResult(receiver->conn);
	enum mb_code code = MB_OK;

	*ending = END_LOST;
	if (PQresultStatus(res) == PGRES_COPY_IN || PQresultStatus(res) == PGRES_COPY_BOTH)
	{
		if (PQputCopyEnd(receiver->conn, NULL) <= 0 || PQflush(receiver->conn) < 0)
			code = mb_pg_fail(err, receiver->conn, res, "could not end the copy");
		PQclear(res);
		res = PQgetResult(receiver->conn);
	}
	if (!code && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
	{
		*next_timeline = (uint32_t) strtoul(PQgetvalue(res, 0, 0), NULL, 10);
		if (*next_timeline > receiver->timeline && mb_lsn_parse(switch_lsn, PQgetvalue(res, 0, 1)))
			*ending = END_SWITCH;
	}
	else if (!code && PQresultStatus(res) == PGRES_FATAL_ERROR)
		code = mb_pg_fail(err, receiver->conn, res, "streaming WAL failed");
	while (res)
	{
		PQclear(res);
		res = PQgetResult(receiver->conn);
	}
	if (!code && *ending == END_LOST)
		code = mb_fail(err, MB_UNREACHABLE, "the server ended the stream");
	return code;
}

/* Stream on one timeline until something ends it. */
static enum mb_code
stream_timeline(struct mb_wal_receiver *receiver, enum ending *ending, uint32_t *next_timeline,
				uint64_t *switch_lsn, struct mb_error *err)
{
	bool copy_ended = false, drained = false;
	enum mb_code code = MB_OK;

	*ending = END_LOST;
	receiver->last_status_ms = receiver->last_tail_ms = mb_monotonic_ms();
	publish(receiver, true);
	while (!code && !copy_ended)
	{
		bool full = receiver->units[receiver->current].len == receiver->unit_bytes;

		if (must_end(receiver))
		{
			*ending = END_STOPPED;
			mb_wal_uploader_hurry(receiver->uploader);
			code = flush_uploads(receiver, err);
			if (!code)
				code = send_status(receiver, err);
			return code;
		}
		if (!full)
			code = read_messages(receiver, &copy_ended, &drained, err);
		if (!code)
			code = move_uploads(receiver, false, err);
		if (!code && (receiver->reply_now || receiver->durable_lsn > receiver->reported_flush ||
					  mb_monotonic_ms() - receiver->last_status_ms > STATUS_MS))
			code = send_status(receiver, err);
		full = receiver->units[receiver->current].len == receiver->unit_bytes;
		if (!code && !copy_ended && (full || drained))
			code = wait_for_work(receiver, !full, err);
		receiver->last_good_ms = mb_monotonic_ms();
	}
	if (!code)
		code = flush_uploads(receiver, err);
	if (!code)
		code = end_of_copy(receiver, ending, next_timeline, switch_lsn, err);
	return code;
}

/* Where to begin on the timeline that follows. */
static enum mb_code
choose_next(struct mb_wal_receiver *receiver, uint32_t timeline, uint64_t switch_lsn,
			struct beginning *beginning, struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	char parent[MB_WAL_BRANCH_TEXT];
	enum mb_code code;

	snprintf(parent, sizeof(parent), "%s", receiver->branch);
	code = mb_wal_inventory_load(&inventory, receiver->options.env->repo,
								 receiver->options.component, receiver->system_id, err);
	if (code)
		return code;
	if (!mb_walrecv_find_branch(receiver, inventory, timeline, UINT64_MAX, NULL, beginning) ||
		beginning->from_lsn < switch_lsn - switch_lsn % receiver->segment_size)
	{
		memset(beginning, 0, sizeof(*beginning));
		beginning->timeline = timeline;
		beginning->from_lsn = switch_lsn - switch_lsn % receiver->segment_size;
	}
	/* Only a branch that we saw through to its end is known to be the parent. */
	if (receiver->verified)
		snprintf(beginning->parent_branch, sizeof(beginning->parent_branch), "%s", parent);
	mb_wal_inventory_free(inventory);
	return MB_OK;
}

static void
begin_units(struct mb_wal_receiver *receiver, uint64_t from_lsn)
{
	drop_message(receiver);
	receiver->current = 0;
	reset_unit(&receiver->units[0], from_lsn - from_lsn % receiver->unit_bytes);
	reset_unit(&receiver->units[1], 0);
	mb_wal_walk_init(&receiver->walk, from_lsn, receiver->segment_size);
	receiver->known_from = from_lsn;
}

/* One beginning, followed over timelines until it ends. */
static enum mb_code
stream_from(struct mb_wal_receiver *receiver, const char *slot, struct beginning *beginning,
			enum ending *ending, struct mb_error *err)
{
	bool own = beginning->own;
	enum mb_code code;

	for (;;)
	{
		uint32_t next_timeline = 0;
		uint64_t switch_lsn = 0;

		*ending = END_REFUSED;
		code = set_branch(receiver, beginning, err);
		if (code == MB_CORRUPT)
		{
			refuse_branch(receiver, err->message);
			return MB_OK;
		}
		if (code)
			return code;
		begin_units(receiver, beginning->from_lsn);
		code = start_replication(receiver, slot, beginning->from_lsn, &next_timeline, &switch_lsn,
								 err);
		if (code == MB_NEGATIVE && next_timeline > beginning->timeline)
		{
			code = MB_OK;
			*ending = END_SWITCH;
		}
		else if (!code)
		{
			if (!beginning->branch[0])
			{
				struct mb_wal_where where = {receiver->options.component, receiver->system_id,
											 receiver->timeline, receiver->branch,
											 receiver->segment_size};

				mb_wal_gap_note(receiver->options.env, &where, beginning->from_lsn);
			}
			mb_log_info(mb_walrecv_log(receiver),
						"%s: receiving WAL from " LSN_FMT " on timeline %u, %s branch %s",
						receiver->options.component, LSN_ARGS(beginning->from_lsn),
						receiver->timeline, beginning->branch[0] ? "comparing with" : "new",
						receiver->branch);
			receiver->was_streaming = true;
			code = stream_timeline(receiver, ending, &next_timeline, &switch_lsn, err);
		}
		if (code == MB_NOT_FOUND && own && !receiver->verified && !receiver->trust_own &&
			beginning->known_to % receiver->unit_bytes == 0 &&
			beginning->from_lsn != beginning->known_to)
		{
			/* The last unit is gone from the server; our own state says that it was this one. */
			receiver->trust_own = true;
			*ending = END_REFUSED;
			mb_log_info(mb_walrecv_log(receiver), "%s: continuing branch %s by own state",
						receiver->options.component, receiver->branch);
			return MB_OK;
		}
		if (beginning->branch[0] && (!receiver->verified || receiver->trust_own) &&
			(code == MB_NEGATIVE || code == MB_NOT_FOUND))
		{
			refuse_branch(receiver, err->message);
			*ending = END_REFUSED;
			return MB_OK;
		}
		if (code == MB_EXISTS || code == MB_CORRUPT)
		{
			refuse_branch(receiver, err->message);
			*ending = END_REFUSED;
			return MB_OK;
		}
		if (code || *ending != END_SWITCH)
			return code;
		mb_log_info(mb_walrecv_log(receiver),
					"%s: timeline %u ends at " LSN_FMT ", timeline %u begins",
					receiver->options.component, receiver->timeline, LSN_ARGS(switch_lsn),
					next_timeline);
		code = choose_next(receiver, next_timeline, switch_lsn, beginning, err);
		if (code)
			return code;
		own = false;
	}
}

/* Connect, choose, stream; until the connection ends or the branch is refused. */
static enum mb_code
one_session(struct mb_wal_receiver *receiver, enum ending *ending, struct mb_error *err)
{
	struct beginning beginning;
	char temporary[64], name[MB_NAME_MAX];
	const char *slot = receiver->options.slot;
	enum mb_code code;

	*ending = END_LOST;
	code = mb_pg_connect(&receiver->conn, &receiver->options.connect, MB_PG_REPLICATION, err);
	if (code)
		return code;
	if (receiver->options.slot_kind == MB_WAL_SLOT_TEMPORARY)
	{
		snprintf(temporary, sizeof(temporary), "mbackup_tmp_%d", PQbackendPID(receiver->conn));
		slot = temporary;
	}
	code = mb_walrecv_identify(receiver, err);
	if (!code)
		code = mb_walrecv_prepare_slot(receiver, slot, err);
	/* Again, now that the slot holds WAL: the flush position has moved on. */
	if (!code)
		code = mb_walrecv_identify(receiver, err);
	if (!code)
		code =
			mb_walrecv_history(receiver, receiver->server_timeline, &receiver->ancestry, name, err);
	if (!code)
		code = mb_walrecv_choose(receiver, &beginning, err);
	if (!code)
		code = stream_from(receiver, slot, &beginning, ending, err);
	abandon_uploads(receiver);
	drop_message(receiver);
	PQfinish(receiver->conn);
	receiver->conn = NULL;
	publish(receiver, false);
	return code;
}

/* Is this failure one that passes? */
static bool
is_passing(const struct mb_wal_receiver *receiver, enum mb_code code, int64_t lost_ms)
{
	if (receiver->options.give_up_ms && lost_ms > receiver->options.give_up_ms)
		return false;
	switch (code)
	{
		case MB_UNREACHABLE:
			return true;
		case MB_CONFLICT:
			return lost_ms < (receiver->was_streaming ? OWN_SLOT_MS : FIRST_SLOT_MS);
		case MB_IO:
		case MB_NOT_FOUND:
		case MB_NO_SPACE:
			return receiver->was_streaming;
		default:
			return false;
	}
}

static void
sleep_or_end(const struct mb_wal_receiver *receiver, int64_t ms)
{
	for (; ms > 0 && !must_end(receiver); ms -= 50)
		mb_sleep_ms(ms < 50 ? ms : 50);
}

static enum mb_code
receive(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	int64_t backoff = BACKOFF_MIN_MS;
	bool told = false;

	receiver->last_good_ms = mb_monotonic_ms();
	for (;;)
	{
		bool streamed_before = receiver->was_streaming;
		int64_t good_before = receiver->last_good_ms;
		enum ending ending;
		enum mb_code code = one_session(receiver, &ending, err);

		if (ending == END_STOPPED || must_end(receiver))
			return code == MB_UNREACHABLE ? MB_OK : code;
		if (code == MB_OK)
			continue; /* another branch, at once */
		if (!is_passing(receiver, code, mb_monotonic_ms() - receiver->last_good_ms))
			return code;
		if (receiver->last_good_ms != good_before || !streamed_before)
		{
			backoff = BACKOFF_MIN_MS;
			told = false;
		}
		if (!told)
			mb_log_warning(mb_walrecv_log(receiver),
						   "%s: WAL stream interrupted, will reconnect: %s",
						   receiver->options.component, err->message);
		told = true;
		sleep_or_end(receiver, backoff);
		if (must_end(receiver))
			return MB_OK;
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
	}
}

/* -- life ----------------------------------------------------------------------------------------------- */

static struct mb_wal_receiver *
receiver_new(const struct mb_wal_receive *options)
{
	struct mb_wal_receiver *receiver = mb_calloc(1, sizeof(*receiver));
	int i;

	receiver->options = *options;
	pthread_mutex_init(&receiver->lock, NULL);
	pthread_cond_init(&receiver->changed, NULL);
	for (i = 0; i < 2; i++)
		receiver->units[i].data = mb_malloc(MB_WAL_UNIT_MAX);
	receiver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (receiver->wake_fd < 0)
		MB_BUG("could not create an eventfd");
	receiver->uploader = mb_wal_uploader_new(options->env, options->give_up_ms, receiver->wake_fd);
	return receiver;
}

static void
receiver_free(struct mb_wal_receiver *receiver)
{
	int i;

	mb_wal_uploader_free(receiver->uploader);
	for (i = 0; i < 2; i++)
	{
		free(receiver->units[i].data);
		mb_wal_facts_release(&receiver->units[i].all);
		mb_wal_facts_release(&receiver->units[i].tail);
	}
	free(receiver->known);
	mb_buf_release(&receiver->ancestry);
	mb_blob_writer_release(&receiver->writer);
	close(receiver->wake_fd);
	pthread_mutex_destroy(&receiver->lock);
	pthread_cond_destroy(&receiver->changed);
	free(receiver);
}

enum mb_code
mb_wal_receiver_run(const struct mb_wal_receive *options, struct mb_error *err)
{
	struct mb_wal_receiver *receiver = receiver_new(options);
	enum mb_code code = receive(receiver, err);

	receiver_free(receiver);
	return code;
}

static void *
receiver_main(void *arg)
{
	struct mb_wal_receiver *receiver = arg;
	struct mb_error err;
	enum mb_code code = receive(receiver, &err);

	pthread_mutex_lock(&receiver->lock);
	receiver->status.code = code;
	if (code)
		receiver->status.err = err;
	receiver->status.streaming = false;
	receiver->ended = true;
	pthread_cond_broadcast(&receiver->changed);
	pthread_mutex_unlock(&receiver->lock);
	return NULL;
}

enum mb_code
mb_wal_receiver_start(struct mb_wal_receiver **receiver, const struct mb_wal_receive *options,
					  struct mb_error *err)
{
	struct mb_wal_receiver *made = receiver_new(options);
	enum mb_code code = MB_OK;

	if (pthread_create(&made->thread, NULL, receiver_main, made) != 0)
		MB_BUG("could not create a thread");
	made->has_thread = true;
	pthread_mutex_lock(&made->lock);
	while (!made->status.streaming && !made->ended)
		pthread_cond_wait(&made->changed, &made->lock);
	if (made->ended)
	{
		code = made->status.code;
		if (code)
			*err = made->status.err;
		else
			code = mb_fail(err, MB_INTERRUPTED, "interrupted");
	}
	pthread_mutex_unlock(&made->lock);
	if (code)
	{
		mb_wal_receiver_stop(made);
		return mb_error_context(err, "could not receive WAL");
	}
	*receiver = made;
	return MB_OK;
}

void
mb_wal_receiver_status(struct mb_wal_receiver *receiver, struct mb_wal_status *status)
{
	pthread_mutex_lock(&receiver->lock);
	*status = receiver->status;
	if (receiver->ended && status->code == MB_OK)
	{
		status->code = MB_INTERRUPTED;
		mb_fail(&status->err, MB_INTERRUPTED, "the WAL receiver has ended");
	}
	pthread_mutex_unlock(&receiver->lock);
}

void
mb_wal_receiver_stop(struct mb_wal_receiver *receiver)
{
	if (!receiver)
		return;
	atomic_store(&receiver->stop, true);
	if (receiver->has_thread)
		pthread_join(receiver->thread, NULL);
	receiver_free(receiver);
}
