/* spool.c - see spool.h. */
#include "redis/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"

#define READ_BYTES (256u << 10)
#define READ_WAIT_MS 200
#define PUNCH_BYTES (4u << 20)
/* Right after the RDB an acknowledgement may come too early to start the stream. */
#define FIRST_ACKS 10
#define FIRST_ACK_MS 100
#define REOPEN_MS 500

struct mb_spool
{
	struct mb_replica *replica;
	int fd;
	char *path; /* for messages */
	uint64_t base;
	struct mb_spool_options options;
	atomic_uint_fast64_t received;
	atomic_uint_fast64_t durable;
	int64_t heard_ms; /* when the last byte came; the thread's own */
	uint64_t punched; /* file offset up to which space was given back */
	atomic_bool stop;
	atomic_bool ended;
	struct mb_error err; /* valid once ended */
	pthread_t thread;
};

static enum mb_code
open_file(struct mb_spool *spool, const char *dir, struct mb_error *err)
{
	spool->path = mb_asprintf("%s/redis-stream-XXXXXX", dir);
	spool->fd = mb_mkostemp(spool->path, O_CLOEXEC);
	if (spool->fd < 0)
		return mb_fail_errno(err, errno, "could not create \"%s\"", spool->path);
	unlink(spool->path);
	return MB_OK;
}

static bool
is_full(const struct mb_spool *spool)
{
	return atomic_load(&spool->received) - atomic_load(&spool->durable) >=
		   spool->options.limit_bytes;
}

static enum mb_code
receive(struct mb_spool *spool, unsigned char *buffer, int64_t wait_ms, struct mb_error *err)
{
	uint64_t at = atomic_load(&spool->received);
	size_t got = 0;

	if (is_full(spool))
	{
		mb_sleep_ms(wait_ms);
		spool->heard_ms = mb_monotonic_ms();
		return MB_OK;
	}
	if (mb_replica_read(spool->replica, buffer, READ_BYTES, wait_ms, &got, err))
		return err->code;
	/* A server pings every 10 s: this one is gone without having closed the line. */
	if (got > 0)
		spool->heard_ms = mb_monotonic_ms();
	else if (mb_monotonic_ms() - spool->heard_ms > MB_REPLICA_SILENCE_MS)
		return mb_fail(err, MB_UNREACHABLE, "Redis said nothing for %d s",
					   MB_REPLICA_SILENCE_MS / 1000);
	if (got > 0 &&
		mb_pwrite_full(spool->fd, buffer, got, (int64_t) (at - spool->base), spool->path, err))
		return err->code;
	atomic_store(&spool->received, at + got);
	return MB_OK;
}

/* Until there is a connection again, or it is known that there will be none.  MB_OK when stopped. */
static enum mb_code
reopen(struct mb_spool *spool)
{
	enum mb_code code = MB_UNREACHABLE;
	int64_t next_ms = 0;

	mb_replica_close(spool->replica);
	spool->replica = NULL;
	while (code == MB_UNREACHABLE && !atomic_load(&spool->stop))
	{
		if (mb_monotonic_ms() < next_ms)
		{
			mb_sleep_ms(FIRST_ACK_MS);
			continue;
		}
		next_ms = mb_monotonic_ms() + REOPEN_MS;
		mb_error_clear(&spool->err);
		code = spool->options.reopen(spool->options.reopen_ctx, atomic_load(&spool->received),
									 &spool->replica, &spool->err);
	}
	spool->heard_ms = mb_monotonic_ms();
	return spool->replica ? MB_OK : code;
}

static void *
spool_main(void *arg)
{
	struct mb_spool *spool = arg;
	unsigned char *buffer = mb_malloc(READ_BYTES);
	int64_t next_ack = 0, now;
	enum mb_code code = MB_OK;
	unsigned acks = 0;

	mb_error_clear(&spool->err);
	spool->heard_ms = mb_monotonic_ms();
	while (!code && !atomic_load(&spool->stop))
	{
		MB_ASSERT(spool->replica);
		now = mb_monotonic_ms();
		if (now >= next_ack)
		{
			code = mb_replica_ack(spool->replica, atomic_load(&spool->durable), &spool->err);
			next_ack = now + (++acks < FIRST_ACKS ? FIRST_ACK_MS : MB_REPLICA_ACK_MS);
		}
		if (!code)
			code = receive(spool, buffer, acks < FIRST_ACKS ? FIRST_ACK_MS : READ_WAIT_MS,
						   &spool->err);
		if (code == MB_UNREACHABLE && spool->options.reopen)
			code = reopen(spool);
	}
	free(buffer);
	atomic_store(&spool->ended, true);
	return NULL;
}

enum mb_code
mb_spool_start(struct mb_spool **out, struct mb_replica *replica, uint64_t offset,
			   const struct mb_spool_options *options, struct mb_error *err)
{
	struct mb_spool *spool = mb_calloc(1, sizeof(*spool));
	int failed;

	spool->base = offset;
	spool->options = *options;
	atomic_init(&spool->received, offset);
	atomic_init(&spool->durable, offset);
	if (open_file(spool, options->dir, err))
	{
		free(spool->path);
		free(spool);
		return err->code;
	}
	spool->replica = replica;
	failed = pthread_create(&spool->thread, NULL, spool_main, spool);
	if (failed)
	{
		close(spool->fd);
		free(spool->path);
		free(spool);
		return mb_fail_errno(err, failed, "could not start a thread");
	}
	*out = spool;
	return MB_OK;
}

void
mb_spool_stop(struct mb_spool *spool)
{
	if (!spool)
		return;
	atomic_store(&spool->stop, true);
	pthread_join(spool->thread, NULL);
	mb_replica_close(spool->replica);
	close(spool->fd);
	free(spool->path);
	free(spool);
}

uint64_t
mb_spool_received(const struct mb_spool *spool)
{
	return atomic_load(&spool->received);
}

enum mb_code
mb_spool_state(struct mb_spool *spool, struct mb_error *err)
{
	if (!atomic_load(&spool->ended) || spool->err.code == MB_OK)
		return MB_OK;
	*err = spool->err;
	return err->code;
}

enum mb_code
mb_spool_read(struct mb_spool *spool, uint64_t from, size_t len, struct mb_buf *out,
			  struct mb_error *err)
{
	size_t got;

	MB_ASSERT(from >= spool->base && from + len <= mb_spool_received(spool));
	mb_buf_reserve(out, len);
	if (mb_pread_full(spool->fd, out->data + out->len, len, (int64_t) (from - spool->base), &got,
					  spool->path, err))
		return err->code;
	if (got != len)
		return mb_fail(err, MB_IO, "the spool file \"%s\" is shorter than what was written to it",
					   spool->path);
	out->len += len;
	return MB_OK;
}

void
mb_spool_durable(struct mb_spool *spool, uint64_t offset)
{
	uint64_t upto = offset - spool->base;

	atomic_store(&spool->durable, offset);
	if (upto - spool->punched < PUNCH_BYTES)
		return;
	/* A filesystem without holes keeps the bytes until the file is closed. */
	(void) fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) spool->punched,
					 (off_t) (upto - spool->punched));
	spool->punched = upto;
}
