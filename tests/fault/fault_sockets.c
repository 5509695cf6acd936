/* fault_sockets.c - the calls that concern sockets, and the clock: see fault.h. */
#include "fault.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

const char *
fault_transfer(int fd, const char *file_call, const char *socket_call)
{
	struct stat st;

	if (!fault.state)
		return file_call;
	return syscall(SYS_fstat, fd, &st) == 0 && S_ISSOCK(st.st_mode) ? socket_call : file_call;
}

void
fault_socket_died(int fd, int what)
{
	if (what == ECONNRESET || what == EPIPE || what == ETIMEDOUT || what == END)
		shutdown(fd, SHUT_RDWR);
}

#define TRANSFER(kind, name, parameters, ...)                          \
	ssize_t name parameters                                            \
	{                                                                  \
		int what = fault_happens(kind, fd, NULL);                      \
                                                                       \
		fault_socket_died(fd, what);                                   \
		if (what == END)                                               \
			return 0;                                                  \
		if (what > 0)                                                  \
		{                                                              \
			errno = what;                                              \
			return -1;                                                 \
		}                                                              \
		return REAL(name)(fd, buf, fault_cut(what, len), __VA_ARGS__); \
	}

TRANSFER("send", send, (int fd, const void *buf, size_t len, int flags), flags)
TRANSFER("recv", recv, (int fd, void *buf, size_t len, int flags), flags)
TRANSFER("send", sendto,
		 (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
		  socklen_t size),
		 flags, to, size)
TRANSFER("recv", recvfrom,
		 (int fd, void *restrict buf, size_t len, int flags, struct sockaddr *restrict from,
		  socklen_t *restrict size),
		 flags, from, size)

#define SIMPLE(kind, fd, name, parameters, ...)                            \
	int name parameters                                                    \
	{                                                                      \
		return fault_fails(kind, fd, NULL) ? -1 : REAL(name)(__VA_ARGS__); \
	}

SIMPLE("socket", -1, socket, (int domain, int type, int protocol), domain, type, protocol)
SIMPLE("socket", -1, socketpair, (int domain, int type, int protocol, int fds[2]), domain, type,
	   protocol, fds)
SIMPLE("socket", -1, pipe2, (int fds[2], int flags), fds, flags)
SIMPLE("connect", fd, connect, (int fd, const struct sockaddr *to, socklen_t size), fd, to, size)
SIMPLE("accept", fd, accept4,
	   (int fd, struct sockaddr *restrict from, socklen_t *restrict size, int flags), fd, from,
	   size, flags)
SIMPLE("poll", -1, poll, (struct pollfd * fds, nfds_t count, int timeout), fds, count, timeout)
SIMPLE("poll", -1, epoll_wait, (int fd, struct epoll_event *events, int count, int timeout), fd,
	   events, count, timeout)
SIMPLE("fork", -1, fork, (void) )

/* -- the time of day --------------------------------------------------------------------------------- */

/* How far it is off by now. */
static long
off_us(void)
{
	if (!fault.state)
		return 0;
	fault_happens("clock", -1, NULL);
	return atomic_load(&fault.state->clock_us);
}

int
clock_gettime(clockid_t id, struct timespec *now)
{
	long off = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? off_us() : 0;
	int got = REAL(clock_gettime)(id, now);

	now->tv_sec += off / 1000000;
	return got;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	long off = off_us();
	int got = REAL(gettimeofday)(now, zone);

	now->tv_sec += off / 1000000;
	return got;
}

time_t
time(time_t *out)
{
	time_t now = REAL(time)(NULL) + off_us() / 1000000;

	if (out)
		*out = now;
	return now;
}
