/*
 * resync.h - at most one full resync an hour that nobody asked for.
 *
 * A full resync forks the server.  A stream needs one only of a server without a
 * backlog, or when the server answers PSYNC with one unasked; if something then goes
 * wrong each time, the next attempt must not fork it again and again (the fork may be
 * what brings it down).  When the last one was begun, of which process of the server,
 * and whether it came to its end is kept in the spool directory:
 *
 *     <spool>/redis-<component>.resync     {"time": ..., "run_id": ..., "complete": ...}
 *
 * Within an hour another one is allowed only of another process (a restart), and only if
 * the last one was complete.  One that the server begins unasked has forked it already when
 * it is refused; so that this does not go on, the note then says "refused" and the size of the
 * backlog, and for an hour not even a PSYNC is sent, unless the backlog becomes larger.  `mbackup backup` is somebody who asks: it is not limited,
 * and gives the server the backlog that a stream needs.
 */
#ifndef MB_REDIS_RESYNC_H
#define MB_REDIS_RESYNC_H

#include <stdint.h>

#include "core/base/error.h"

#define MB_RESYNC_INTERVAL_US (INT64_C(3600) * 1000000)

enum mb_resync_state
{
	MB_RESYNC_BEGUN,
	MB_RESYNC_COMPLETE
};

/* MB_UNREACHABLE, saying when the next one is allowed.  run_id: of INFO server. */
enum mb_code mb_resync_check(const char *spool, const char *component, const char *run_id,
							 int64_t now_us, struct mb_error *err) MB_MUST_CHECK;
/* Note it, durably: before it is asked for, and when its RDB is here. */
enum mb_code mb_resync_note(const char *spool, const char *component, const char *run_id,
							int64_t now_us, enum mb_resync_state state,
							struct mb_error *err) MB_MUST_CHECK;

/* An unasked one was refused, of a server with a backlog of this size. */
enum mb_code mb_resync_refuse(const char *spool, const char *component, const char *run_id,
							  int64_t now_us, uint64_t backlog_bytes,
							  struct mb_error *err) MB_MUST_CHECK;
/* May a PSYNC be sent that asks for none?  MB_UNREACHABLE after a refusal, saying what ends it. */
enum mb_code mb_resync_check_psync(const char *spool, const char *component, const char *run_id,
								   int64_t now_us, uint64_t backlog_bytes,
								   struct mb_error *err) MB_MUST_CHECK;

#endif
