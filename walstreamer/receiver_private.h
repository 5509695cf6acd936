/*
 * receiver_private.h - the receiver from the inside: receiver.c lives and connects,
 * receiver_begin.c chooses what to continue, receiver_stream.c follows timelines,
 * receiver_take.c reads messages, receiver_upload.c hands out pieces.  All of it runs on the
 * receiver's thread.
 */
#ifndef MB_WALSTREAMER_RECEIVER_PRIVATE_H
#define MB_WALSTREAMER_RECEIVER_PRIVATE_H

#include <pthread.h>

#include "walstreamer/inventory.h"
#include "walstreamer/receiver.h"
#include "walstreamer/receiver_sync.h"
#include "walstreamer/uploader.h"
#include "walstreamer/wal_spool.h"

#define POLL_MS 100
/* One that is filled beside those that are put. */
#define UNITS (MB_WAL_UPLOADS + 1)

struct unit
{
	uint64_t lsn; /* of its first byte */
	uint32_t len; /* received */
	uint32_t put; /* handed to the uploader, or known to be stored */
	uint32_t spooled;
	unsigned busy; /* jobs under way that read data */
	unsigned char *data;
	struct mb_wal_facts all;  /* up to put */
	struct mb_wal_facts tail; /* behind it */
};

/* A whole unit that lies in the spool and waits for the uploader. */
struct waiting_unit
{
	uint64_t lsn;
	int64_t server_time_us;
	struct mb_wal_facts facts;
};

struct mb_wal_receiver
{
	struct mb_wal_receive options;
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct mb_wal_status status; /* lock */
	bool ended;                  /* lock */

	PGconn *conn;
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t server_timeline;
	uint64_t server_lsn;
	uint32_t segment_size;
	uint32_t unit_bytes;
	uint64_t slot_lsn; /* restart_lsn, 0 when unknown */
	bool was_streaming;
	int64_t last_good_ms;
	struct mb_buf ancestry;              /* the server timeline's history file, empty on 1 */
	char (*refused)[MB_WAL_BRANCH_TEXT]; /* branches that are not ours, or cannot be proven */
	size_t refused_count;
	size_t refused_cap;
	uint64_t removed_to; /* the server has no WAL before this any more */

	/* the branch that is being written */
	uint32_t timeline;
	char branch[MB_WAL_BRANCH_TEXT];
	char history[MB_NAME_MAX];
	char parent_branch[MB_WAL_BRANCH_TEXT];
	bool trust_own; /* the server has no more what would prove that a branch is ours */
	bool verified;  /* what is stored was received again and is equal */
	unsigned char *known;
	uint64_t known_from, known_to;

	struct unit units[UNITS];
	unsigned current;
	struct mb_wal_walk walk;
	char *message; /* not yet taken whole */
	size_t message_len, message_at;
	uint64_t received_lsn, durable_lsn, reported_flush;
	int64_t server_time_us;
	bool reply_now;
	int64_t last_status_ms, last_tail_ms;
	int64_t hurry_until_ms; /* a restore point came by: somebody waits for it */
	int wake_fd;
	unsigned under_way[MB_WAL_UPLOADS]; /* units of the uploader's jobs, oldest first */
	unsigned under_way_count;
	struct mb_wal_sync *sync; /* NULL: nobody waits for us */
	/* ack = spool */
	struct mb_wal_spool *spool; /* NULL: ack = repository */
	uint64_t spooled_lsn;
	int64_t spool_tried_ms; /* when it failed last, 0: it works */
	bool alarmed;
	struct waiting_unit *waiting;
	size_t waiting_count;
	size_t waiting_cap;
	struct mb_wal_uploader *uploader;
	struct mb_blob_writer writer;
};

/* Where to begin on a timeline. */
struct beginning
{
	uint32_t timeline;
	uint64_t from_lsn;               /* unit or segment start */
	char branch[MB_WAL_BRANCH_TEXT]; /* "": a new one */
	uint64_t known_to;               /* end of the branch */
	bool own;                        /* the state file names it */
	char parent_branch[MB_WAL_BRANCH_TEXT];
};

/* What ended a stretch of streaming. */
enum ending
{
	END_STOPPED, /* asked to */
	END_SWITCH,  /* the timeline ended: another one begins */
	END_LOST,    /* the connection or the server went away */
	END_REFUSED  /* the branch does not fit: choose again */
};

static inline const struct mb_log *
mb_walrecv_log(const struct mb_wal_receiver *receiver)
{
	return receiver->options.env->log;
}

/* The durable position, in a small file of the spool: what makes a branch our own. */
void mb_walrecv_write_state(const struct mb_wal_receiver *receiver);

/* IDENTIFY_SYSTEM and the segment size. */
enum mb_code mb_walrecv_identify(struct mb_wal_receiver *receiver,
								 struct mb_error *err) MB_MUST_CHECK;
/* Get and store the history file of a timeline; its content replaces what is in out. */
enum mb_code mb_walrecv_history(struct mb_wal_receiver *receiver, uint32_t timeline,
								struct mb_buf *out, char name[MB_NAME_MAX],
								struct mb_error *err) MB_MUST_CHECK;
/* Make sure that the slot is there and free: MB_CONFLICT when it is in use, MB_NOT_FOUND. */
enum mb_code mb_walrecv_prepare_slot(struct mb_wal_receiver *receiver, const char *slot,
									 struct mb_error *err) MB_MUST_CHECK;
/* Where to begin: a branch to continue, or a new one. */
enum mb_code mb_walrecv_choose(struct mb_wal_receiver *receiver, struct beginning *beginning,
							   struct mb_error *err) MB_MUST_CHECK;
/*
 * The best branch of one timeline that ends at or below limit: the one that our state
 * names (own, or NULL), else the longest.
 */
bool mb_walrecv_find_branch(const struct mb_wal_receiver *receiver,
							const struct mb_wal_inventory *inventory, uint32_t timeline,
							uint64_t limit, const char *own, struct beginning *beginning);

/* -- receiver.c -- */
bool mb_walrecv_must_end(const struct mb_wal_receiver *receiver);
/* Make the status visible to other threads. */
void mb_walrecv_publish(struct mb_wal_receiver *receiver, bool streaming);

/* -- receiver_stream.c -- */
/* One beginning, followed over timelines until it ends. */
enum mb_code mb_walrecv_stream_from(struct mb_wal_receiver *receiver, const char *slot,
									struct beginning *beginning, enum ending *ending,
									struct mb_error *err) MB_MUST_CHECK;

/* -- receiver_take.c -- */
void mb_walrecv_drop_message(struct mb_wal_receiver *receiver);
enum mb_code mb_walrecv_send_status(struct mb_wal_receiver *receiver,
									struct mb_error *err) MB_MUST_CHECK;
/* Read messages until there are none (drained), the unit is full, or the copy has ended. */
enum mb_code mb_walrecv_read_messages(struct mb_wal_receiver *receiver, bool *copy_ended,
									  bool *drained, struct mb_error *err) MB_MUST_CHECK;

/* -- receiver_upload.c -- */
void mb_walrecv_reset_unit(struct unit *unit, uint64_t lsn);
/* Collect what is done, hand over what is due.  MB_EXISTS: another history is stored there. */
enum mb_code mb_walrecv_move_uploads(struct mb_wal_receiver *receiver, bool flush_all,
									 struct mb_error *err) MB_MUST_CHECK;
/* Put everything that was received; for the end of a timeline or of the run. */
enum mb_code mb_walrecv_flush_uploads(struct mb_wal_receiver *receiver,
									  struct mb_error *err) MB_MUST_CHECK;
/* What the server may be told is flushed. */
uint64_t mb_walrecv_flushed(const struct mb_wal_receiver *receiver);
/* Drop whatever is under way; after an error. */
void mb_walrecv_abandon_uploads(struct mb_wal_receiver *receiver);

#endif
