/* receiver.c - see receiver.h: the life of a receiver and its sessions. */
#include "walstreamer/receiver_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/time.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
/* Our own walsender of a broken connection may hold the slot until wal_sender_timeout. */
#define OWN_SLOT_MS 90000
/* The same of a stream that was killed just before we began. */
#define FIRST_SLOT_MS 5000

bool
mb_walrecv_must_end(const struct mb_wal_receiver *receiver)
{
	return atomic_load(&receiver->stop) || mb_cancelled(receiver->options.env->cancel);
}

void
mb_walrecv_publish(struct mb_wal_receiver *receiver, bool streaming)
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

/*
 * What is in the spool goes first, whatever ack says now: an earlier session or run may have
 * reported it as flushed.
 */
static enum mb_code
begin_spool(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	const struct mb_wal_receive *options = &receiver->options;
	bool is_stream = options->slot_kind == MB_WAL_SLOT_PERMANENT;
	enum mb_code code = MB_OK;

	if (!options->env->spool)
		return MB_OK;
	if (!receiver->spool)
		code = mb_wal_spool_open(&receiver->spool, options->env, options->component,
								 options->spool_limit_bytes, err);
	/* A stream that is running stores its own; who only takes over for a backup leaves that. */
	if (code == MB_CONFLICT && !is_stream)
		return MB_OK;
	if (!code)
		code = mb_wal_spool_flush(receiver->spool, err);
	if (!code && !(options->ack_spool && is_stream))
	{
		mb_wal_spool_close(receiver->spool);
		receiver->spool = NULL;
	}
	return code;
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
	code = begin_spool(receiver, err);
	if (code)
		return code;
	code = mb_pg_connect(&receiver->conn, &receiver->options.connect, MB_PG_REPLICATION, err);
	if (code)
		return code;
	mb_wal_sync_watch(receiver->sync, PQbackendPID(receiver->conn));
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
		code = mb_walrecv_stream_from(receiver, slot, &beginning, ending, err);
	mb_wal_sync_watch(receiver->sync, 0);
	mb_walrecv_abandon_uploads(receiver);
	mb_walrecv_drop_message(receiver);
	PQfinish(receiver->conn);
	receiver->conn = NULL;
	mb_walrecv_publish(receiver, false);
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
		case MB_DENIED:
			return receiver->was_streaming;
		default:
			return false;
	}
}

static void
sleep_or_end(const struct mb_wal_receiver *receiver, int64_t ms)
{
	for (; ms > 0 && !mb_walrecv_must_end(receiver); ms -= 50)
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

		if (ending == END_STOPPED || mb_walrecv_must_end(receiver))
			return code == MB_UNREACHABLE ? MB_OK : code;
		if (code == MB_OK)
			continue; /* another branch, at once */
		/* Whoever answers next may be another server, which keeps more. */
		receiver->removed_to = 0;
		if (!is_passing(receiver, code, mb_monotonic_ms() - receiver->last_good_ms))
			return code;
		/* It had come to something: this is a new loss, and not the next try of the old one. */
		if (receiver->last_good_ms != good_before || receiver->was_streaming != streamed_before)
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
		if (mb_walrecv_must_end(receiver))
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
	for (i = 0; i < UNITS; i++)
		receiver->units[i].data = mb_malloc(MB_WAL_UNIT_MAX);
	receiver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (receiver->wake_fd < 0)
		MB_BUG("could not create an eventfd");
	receiver->uploader = mb_wal_uploader_new(options->env, options->give_up_ms, receiver->wake_fd);
	if (options->slot_kind == MB_WAL_SLOT_PERMANENT)
		receiver->sync = mb_wal_sync_new(&options->connect);
	return receiver;
}

static void
receiver_free(struct mb_wal_receiver *receiver)
{
	int i;

	mb_wal_uploader_free(receiver->uploader);
	for (i = 0; i < UNITS; i++)
	{
		free(receiver->units[i].data);
		mb_wal_facts_release(&receiver->units[i].all);
		mb_wal_facts_release(&receiver->units[i].tail);
	}
	mb_wal_sync_free(receiver->sync);
	mb_wal_spool_close(receiver->spool);
	free(receiver->waiting);
	free(receiver->known);
	free(receiver->refused);
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
