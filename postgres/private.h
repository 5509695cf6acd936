/* private.h - what the files of the Postgres driver share; nobody else includes it. */
#ifndef MB_POSTGRES_PRIVATE_H
#define MB_POSTGRES_PRIVATE_H

#include <pthread.h>

#include "core/engine/component.h"
#include "postgres/component_postgres.h"

/* Facts about the server that a session is connected to. */
struct mb_pg_server
{
	int version; /* 150020 */
	char version_text[64];
	char system_id[MB_WAL_SYSID_TEXT];
	uint32_t timeline;
	uint32_t segment_size;
	uint32_t block_size;
	int64_t catalog_version;
	bool checksums;
	bool in_recovery;
	char *data_directory; /* owned */
	char *config_file;    /* owned */
};
void mb_pg_server_release(struct mb_pg_server *server);

struct mb_postgres
{
	struct mb_component base;
	const struct mb_wal_ops *wal;
	struct mb_pg_params params;
	/* Files are read there, when there is one; its own session, parameters and facts.  Owned. */
	struct mb_postgres *standby;
	const char *slot;
	int64_t tail_ms;
	bool ack_spool;
	uint64_t spool_limit_bytes;
	PGconn *conn;         /* for questions; made when needed */
	pthread_mutex_t lock; /* conn, while a backup's threads share it */
	struct mb_pg_server server;
	bool server_known;
	/* of the backup under way */
	struct mb_wal_receiver *receiver; /* our own, when no stream runs */
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t backup_timeline;
};

/* session.c: connect and learn about the server, once. */
enum mb_code mb_postgres_connect(struct mb_postgres *pg, struct mb_error *err) MB_MUST_CHECK;
void mb_postgres_disconnect(struct mb_postgres *pg);
/* Query with the lock held; the result is the caller's. */
enum mb_code mb_postgres_query(struct mb_postgres *pg, PGresult **res, const char *sql, int count,
							   const char *const *params, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_postgres_lsn(struct mb_postgres *pg, uint64_t *lsn, const char *sql,
							 struct mb_error *err) MB_MUST_CHECK;

/* How far the server's WAL goes: inserted, or replayed on a standby. */
enum mb_code mb_postgres_wal_lsn(struct mb_postgres *pg, uint64_t *lsn,
								 struct mb_error *err) MB_MUST_CHECK;

struct mb_pg_slot
{
	bool exists;
	bool active;
	bool lost;
	uint64_t restart_lsn;
};
enum mb_code mb_postgres_slot(struct mb_postgres *pg, struct mb_pg_slot *slot,
							  struct mb_error *err) MB_MUST_CHECK;
/* Start our own receiver: on the permanent slot if it is there and free, else temporary. */
enum mb_code mb_postgres_receive(struct mb_postgres *pg, enum mb_wal_slot kind,
								 struct mb_error *err) MB_MUST_CHECK;
void mb_postgres_receive_options(struct mb_postgres *pg, enum mb_wal_slot kind,
								 struct mb_wal_receive *options);
/*
 * Wait until the WAL [cursor->from_lsn, to_lsn) is in the repository.  Takes over with an own
 * receiver when no stream is active.  MB_UNREACHABLE when nothing moved for idle_ms.
 */
enum mb_code mb_postgres_wait_for_wal(struct mb_postgres *pg, struct mb_wal_cursor *cursor,
									  uint64_t to_lsn, int64_t idle_ms,
									  struct mb_error *err) MB_MUST_CHECK;

/* cut.c: callbacks of component.h. */
enum mb_code mb_postgres_position(struct mb_component *component, struct mb_cut *cut,
								  enum mb_moment moment, struct mb_error *err);
enum mb_code mb_postgres_settle(struct mb_component *component, struct mb_capture *capture,
								const struct mb_cut *cut, struct mb_error *err);
enum mb_code mb_postgres_await(struct mb_component *component, const struct mb_cut *cut,
							   int64_t timeout_ms, struct mb_error *err);

/* base_backup.c */
enum mb_code mb_postgres_snapshot(struct mb_component *component, struct mb_capture *capture,
								  struct mb_error *err);
/* Can `from` (pg itself, or its standby; both connected) be backed up? */
enum mb_code mb_postgres_check_source(const struct mb_postgres *pg, const struct mb_postgres *from,
									  struct mb_error *err) MB_MUST_CHECK;
/*
 * wire_backup.c: the same over the wire.  Fills start_lsn, stop_lsn, backup_timeline and the
 * owner in the meta.
 */
struct mb_pg_parent;
enum mb_code mb_postgres_wire_copy(struct mb_postgres *pg, struct mb_capture *capture,
								   const struct mb_pg_parent *parent,
								   struct mb_error *err) MB_MUST_CHECK;
/* plan.c */
enum mb_code mb_postgres_plan(struct mb_component *component, struct mb_restore *restore,
							  struct mb_error *err);
enum mb_code mb_postgres_window(struct mb_component *component, struct mb_window *window,
								struct mb_error *err);
enum mb_code mb_postgres_trim(struct mb_component *component, struct mb_trim *trim,
							  struct mb_error *err);
enum mb_code mb_postgres_verify(struct mb_component *component, const struct mb_commit *commit,
								struct mb_error *err);
enum mb_code mb_postgres_reach(struct mb_component *component, const struct mb_commit *commit,
							   struct mb_reach *reaches, size_t count, struct mb_error *err);
/* recovery.c */
enum mb_code mb_postgres_restore(struct mb_component *component, struct mb_restore *restore,
								 struct mb_error *err);
/* trial.c */
enum mb_code mb_postgres_revive(struct mb_component *component, struct mb_trial *trial,
								struct mb_error *err);
void mb_postgres_lay_down(struct mb_component *component, struct mb_trial *trial);
/* check.c */
enum mb_code mb_postgres_check(struct mb_component *component, struct mb_checks *checks,
							   struct mb_error *err);

/* check_wal.c: WAL that waits in the spool, and gaps that no backup has closed. */
enum mb_code mb_postgres_check_wal(struct mb_postgres *pg, struct mb_checks *checks,
								   struct mb_error *err) MB_MUST_CHECK;

#endif
