/* fault_host.c - another machine: MBACKUP_TEST_HOST is the name of the host that a process believes to be on. */
#include "fault.h"

#include <dlfcn.h>
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
