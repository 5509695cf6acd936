/*
 * fault.h - LD_PRELOAD: one call into the kernel fails, is cut short, is late, or is the last one of the process.
 *
 *     LD_PRELOAD=fault.so MBACKUP_FAULT=CALL:WHICH:WHAT:PATH MBACKUP_FAULT_FILE=F mbackup ...
 *
 * CALL   of files: write sync rename link unlink mkdir truncate allocate attribute (all of them: change),
 *        open read stat readdir close (all of them: look), or any (change and look);
 *        of sockets: socket connect accept send recv poll (all of them: net);
 *        clock (the time of day), fork; or all
 * WHICH  N: the Nth, counted from 1, over all threads and processes of one run; 0 never comes (to
 *        count only); "N+": that one and all behind it.
 *        @SITE.N: the Nth that is made from this place of the program (see F)
 * WHAT   the name of an errno; short (half of a read or a write); eof (a recv: the peer has gone);
 *        kill (SIGKILL of the calling process, before the call); delay (of a second, before the call);
 *        ahead, back (clock: from this call on the time of day is an hour off); lie (see below)
 * PATH   only calls on paths that contain this, and never on the standard descriptors.  The path
 *        of a descriptor is what /proc says; of a socket "socket:" and where it leads.
 * F      is made, and begins with "<calls counted> <times hit> <the call hit> <its path>".  With
 *        MBACKUP_FAULT_SITES it holds behind that, for every place that made calls, struct site.
 *
 * A place of the program is a stack of return addresses: it is the same in every run, whatever threads and
 * other processes do meanwhile, where the number of a call is not.
 *
 * What cannot be is not done: EAGAIN on a descriptor that waits is not a hit, and a connection that was
 * reset is dead from then on.
 *
 * stat with "lie" does not fail: the file's ctime and mtime are said to be those of the first
 * second of 2001, as on a filesystem that does not keep them.
 *
 * MBACKUP_FAULT_NOSYNC=1, with or without the rest: nothing is really synced, so that a sweep does not
 * wait for the disk.  (What a power failure takes is not what this tests.)
 *
 * kill(-1), the signal to every process that there is, is never sent: the sender ends with 99.
 *
 * Only processes called mbackup and mbackup-wal-get are meant: what they start inherits the environment.  Not reached: what the C
 * library does inside fopen, opendir, realpath, getaddrinfo and the like; memory maps; what a child does
 * between fork and exec.
 */
#ifndef MB_TEST_FAULT_H
#define MB_TEST_FAULT_H

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens, when it is not an errno. */
enum fault_what
{
	SHORT = -1,
	KILL = -2,
	LIE = -3,
	DELAY = -4,
	AHEAD = -5,
	BACK = -6,
	END = -7
};

#define TEXT_BYTES 1024
#define SITES 8192 /* a power of two */

struct site
{
	atomic_ulong id; /* 0: free */
	atomic_ulong calls;
	char call[16];
	char path[224]; /* of its first call */
};

/* The file F: text for people, then what the processes of a run share. */
struct state
{
	char text[TEXT_BYTES];
	atomic_ulong calls;
	atomic_ulong hits;
	atomic_long clock_us; /* how far the time of day is off */
	char unused[TEXT_BYTES - 3 * 8];
	struct site sites[SITES];
};

struct fault
{
	struct state *state; /* NULL: not our process, or nothing to do */
	char call[16];
	unsigned long n;
	unsigned long site; /* 0: anywhere */
	bool from_then_on;
	int what; /* an errno, or enum fault_what */
	char path[512];
	bool no_sync;
	bool sites; /* note them */
};

extern struct fault fault;

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

/* 0, or what shall happen to this call.  Waits and kills itself. */
int fault_happens(const char *call, int fd, const char *name);
/* For calls that can only succeed or fail: errno is set. */
bool fault_fails(const char *call, int fd, const char *name);
/* How much of len is transferred. */
size_t fault_cut(int what, size_t len);
/* fault_sockets.c: what reads and writes of a descriptor are called: recv and send on a socket. */
const char *fault_transfer(int fd, const char *file_call, const char *socket_call);
/* After a failure of a socket: the connection is as dead as that says. */
void fault_socket_died(int fd, int what);

#endif
