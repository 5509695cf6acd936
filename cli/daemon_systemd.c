/*
 * daemon_systemd.c - sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET.
 *
 * Source: sd_notify(3), "Notes": the protocol is stable and meant to be spoken directly.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/daemon.h"

void
systemd_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len;
	int fd;

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	/* An abstract name begins with a NUL. */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nobody who listens is nothing to fail for. */
	(void) !sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &address, len);
	close(fd);
}

int64_t
systemd_watchdog_ms(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!us || (pid && strtol(pid, NULL, 10) != (long) getpid()))
		return 0;
	return (int64_t) (strtoull(us, NULL, 10) / 2000);
}
