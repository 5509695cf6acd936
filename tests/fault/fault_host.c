/*
 * fault_host.c - another machine: MBACKUP_TEST_HOST is the name of the host that a process believes to be on; and
 * what would be the end of this one: a signal to all processes, as to the "child" of a fork that failed, ends the
 * sender (99) instead.
 */
#include "fault.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int
gethostname(char *name, size_t len)
{
	const char *other = getenv("MBACKUP_TEST_HOST");

	if (!other || !*other)
		return REAL(gethostname)(name, len);
	snprintf(name, len, "%s", other);
	return 0;
}

int
kill(pid_t pid, int number)
{
	if (pid == -1 && fault.state)
	{
		fprintf(stderr, "fault.so: a bug in mbackup: kill(-1, %d)\n", number);
		_exit(99);
	}
	return REAL(kill)(pid, number);
}
