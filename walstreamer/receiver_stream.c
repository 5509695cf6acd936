/* receiver_stream.c - one stretch after another: begin on a branch, follow timelines (see receiver_private.h). */
#include "walstreamer/receiver_private.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/time.h"
#include "walstreamer/gap.h"

#define STATUS_MS 5000

static void
refuse_branch(struct mb_wal_receiver *receiver, const char *why)
{
	if (!receiver->branch[0])
		return;
	mb_log_info(mb_walrecv_log(receiver), "%s: WAL branch %s of timeline %u is not continued: %s",
				receiver->options.component, receiver->branch, receiver->timeline, why);
	receiver->refused = mb_grow(receiver->refused, &receiver->refused_cap,
								receiver->refused_count + 1, sizeof(*receiver->refused));
	memcpy(receiver->refused[receiver->refused_count++], receiver->branch, MB_WAL_BRANCH_TEXT);
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
	receiver->durable_lsn = receiver->reported_flush = receiver->spooled_lsn = 0;
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
	mb_walrecv_publish(receiver, true);
	while (!code && !copy_ended)
	{
		bool full = receiver->units[receiver->current].len == receiver->unit_bytes;

		if (mb_walrecv_must_end(receiver))
		{
			*ending = END_STOPPED;
			mb_wal_uploader_hurry(receiver->uploader);
			code = mb_walrecv_flush_uploads(receiver, err);
			if (!code)
				code = mb_walrecv_send_status(receiver, err);
			return code;
		}
		if (!full)
			code = mb_walrecv_read_messages(receiver, &copy_ended, &drained, err);
		if (!code)
			code = mb_walrecv_move_uploads(receiver, false, err);
		if (!code &&
			(receiver->reply_now || mb_walrecv_flushed(receiver) > receiver->reported_flush ||
			 mb_monotonic_ms() - receiver->last_status_ms > STATUS_MS))
			code = mb_walrecv_send_status(receiver, err);
		full = receiver->units[receiver->current].len == receiver->unit_bytes;
		if (!code && !copy_ended && (full || drained))
			code = wait_for_work(receiver, !full, err);
		receiver->last_good_ms = mb_monotonic_ms();
	}
	if (!code)
		code = mb_walrecv_flush_uploads(receiver, err);
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
	int i;

	mb_walrecv_drop_message(receiver);
	receiver->current = 0;
	for (i = 1; i < UNITS; i++)
		mb_walrecv_reset_unit(&receiver->units[i], 0);
	mb_walrecv_reset_unit(&receiver->units[0], from_lsn - from_lsn % receiver->unit_bytes);
	mb_wal_walk_init(&receiver->walk, from_lsn, receiver->segment_size);
	receiver->known_from = from_lsn;
}

static void
tell_begun(struct mb_wal_receiver *receiver, const struct beginning *beginning)
{
	bool is_new = !beginning->branch[0];

	if (is_new)
	{
		struct mb_wal_where where = {receiver->options.component, receiver->system_id,
									 receiver->timeline, receiver->branch, receiver->segment_size};

		mb_wal_gap_note(receiver->options.env, &where, &receiver->ancestry, beginning->from_lsn);
	}
	mb_log_info(mb_walrecv_log(receiver),
				"%s: receiving WAL from " LSN_FMT " on timeline %u, %s branch %s",
				receiver->options.component, LSN_ARGS(beginning->from_lsn), receiver->timeline,
				is_new ? "new" : "comparing with", receiver->branch);
	receiver->was_streaming = true;
}

/* One branch, until its timeline ends or nothing more comes. */
static enum mb_code
stream_branch(struct mb_wal_receiver *receiver, const char *slot, const struct beginning *beginning,
			  enum ending *ending, uint32_t *next_timeline, uint64_t *switch_lsn,
			  struct mb_error *err)
{
	enum mb_code code =
		start_replication(receiver, slot, beginning->from_lsn, next_timeline, switch_lsn, err);

	if (code == MB_NEGATIVE && *next_timeline > beginning->timeline)
	{
		*ending = END_SWITCH;
		return MB_OK;
	}
	if (code)
		return code;
	tell_begun(receiver, beginning);
	return stream_timeline(receiver, ending, next_timeline, switch_lsn, err);
}

/* Does a failure only mean that this was the wrong beginning?  Notes what follows from that. */
static bool
is_refusal(struct mb_wal_receiver *receiver, const struct beginning *beginning, bool own,
		   enum mb_code code, const struct mb_error *why)
{
	bool is_unproven = beginning->branch[0] && (!receiver->verified || receiver->trust_own);

	if (code == MB_NOT_FOUND && own && !receiver->verified && !receiver->trust_own &&
		beginning->known_to % receiver->unit_bytes == 0 &&
		beginning->from_lsn != beginning->known_to)
	{
		/* The last unit is gone from the server; our own state says that it was this one. */
		receiver->trust_own = true;
		mb_log_info(mb_walrecv_log(receiver), "%s: continuing branch %s by own state",
					receiver->options.component, receiver->branch);
		return true;
	}
	if (!(is_unproven && (code == MB_NEGATIVE || code == MB_NOT_FOUND)) && code != MB_EXISTS &&
		code != MB_CORRUPT)
		return false;
	/* Servers remove WAL from its beginning, whatever the timeline. */
	if (code == MB_NOT_FOUND)
		receiver->removed_to = beginning->from_lsn - beginning->from_lsn % receiver->segment_size +
							   receiver->segment_size;
	refuse_branch(receiver, why->message);
	return true;
}

/* One beginning, followed over timelines until it ends. */
enum mb_code
mb_walrecv_stream_from(struct mb_wal_receiver *receiver, const char *slot,
					   struct beginning *beginning, enum ending *ending, struct mb_error *err)
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
		code = stream_branch(receiver, slot, beginning, ending, &next_timeline, &switch_lsn, err);
		if (is_refusal(receiver, beginning, own, code, err))
		{
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
