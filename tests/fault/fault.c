/* fault.c - which call it is, and what happens to it: see fault.h. */
#include "fault.h"

#include <arpa/inet.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_MODULES 128
#define STACK_DEPTH 14 /* more would tell the levels of a recursion apart */
#define OWN_FRAMES 2   /* site_of and its caller, in this file */

struct fault fault;

static const struct
{
	const char *name;
	int what;
} whats[] = {{"EIO", EIO},
			 {"ENOSPC", ENOSPC},
			 {"EDQUOT", EDQUOT},
			 {"EACCES", EACCES},
			 {"EMFILE", EMFILE},
			 {"EINTR", EINTR},
			 {"EAGAIN", EAGAIN},
			 {"ESTALE", ESTALE},
			 {"ECONNRESET", ECONNRESET},
			 {"ECONNREFUSED", ECONNREFUSED},
			 {"EPIPE", EPIPE},
			 {"ETIMEDOUT", ETIMEDOUT},
			 {"short", SHORT},
			 {"eof", END},
			 {"kill", KILL},
			 {"delay", DELAY},
			 {"ahead", AHEAD},
			 {"back", BACK},
			 {"lie", LIE}};

/* Where the program and its libraries lie; what is loaded later has no place of its own. */
static struct
{
	uintptr_t from, to;
	unsigned long name;
} modules[MAX_MODULES];
static size_t module_count;
/* In the child of a fork a lock of the unwinder may be held for ever. */
static bool is_forked;
static _Thread_local bool is_busy;

/* -- what was asked for -------------------------------------------------------------------------- */

static void
complain(const char *text)
{
	fprintf(stderr, "fault.so: %s: \"%s\"\n", text, getenv("MBACKUP_FAULT"));
	_exit(99);
}

static void
parse(const char *text)
{
	char n[48], what[16];
	size_t i;

	if (sscanf(text, "%15[^:]:%47[^:]:%15[^:]:%511s", fault.call, n, what, fault.path) < 3)
		complain("cannot read MBACKUP_FAULT");
	if (n[0] == '@' && sscanf(n, "@%lx.%lu", &fault.site, &fault.n) != 2)
		complain("which place?");
	if (!fault.site)
		fault.n = strtoul(n, NULL, 10);
	fault.from_then_on = strchr(n, '+') != NULL;
	for (i = 0; i < sizeof(whats) / sizeof(whats[0]) && !fault.what; i++)
		if (strcmp(whats[i].name, what) == 0)
			fault.what = whats[i].what;
	if (!fault.what)
		complain("what shall happen?");
}

static unsigned long
hash(unsigned long h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		h = (h ^ *p++) * 1099511628211UL;
	return h;
}

static int
note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	int i;

	(void) size;
	(void) arg;
	for (i = 0; i < info->dlpi_phnum && module_count < MAX_MODULES; i++)
	{
		const char *name = strrchr(info->dlpi_name, '/');

		if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X))
			continue;
		name = name ? name : info->dlpi_name;
		modules[module_count].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		modules[module_count].to = modules[module_count].from + info->dlpi_phdr[i].p_memsz;
		modules[module_count++].name = hash(14695981039346656037UL, name, strlen(name));
	}
	return 0;
}

static void
after_fork(void)
{
	is_forked = true;
}

static void
begin_sites(void)
{
	void *frames[4];

	is_busy = true;
	backtrace(frames, 4); /* loads what it needs */
	is_busy = false;
	dl_iterate_phdr(note_module, NULL);
	pthread_atfork(NULL, NULL, after_fork);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *text = getenv("MBACKUP_FAULT");
	const char *file = getenv("MBACKUP_FAULT_FILE");
	int fd;

	if (strcmp(program_invocation_short_name, "mbackup") != 0 &&
		strcmp(program_invocation_short_name, "mbackup-wal-get") != 0)
		return;
	fault.no_sync = getenv("MBACKUP_FAULT_NOSYNC") != NULL;
	if (!text || !file)
		return;
	parse(text);
	fault.sites = getenv("MBACKUP_FAULT_SITES") != NULL;
	if (fault.sites || fault.site)
		begin_sites();
	fd = REAL(open)(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(struct state)) != 0)
		complain("cannot write MBACKUP_FAULT_FILE");
	fault.state = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (fault.state == MAP_FAILED)
		complain("cannot map MBACKUP_FAULT_FILE");
}

/* -- what it concerns ------------------------------------------------------------------------------ */

static void
name_socket(char *out, size_t size, int fd)
{
	union
	{
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
		struct sockaddr_storage all;
	} peer = {0};
	socklen_t len = sizeof(peer);

	if (getpeername(fd, &peer.any, &len) != 0 && getsockname(fd, &peer.any, &len) != 0)
		return;
	if (peer.any.sa_family == AF_INET)
		snprintf(out, size, "socket:%s:%d", inet_ntoa(peer.in.sin_addr), ntohs(peer.in.sin_port));
	else if (peer.any.sa_family == AF_UNIX)
		snprintf(out, size, "socket:%.100s", peer.un.sun_path);
}

/* The path of a name below a descriptor, or of the descriptor itself. */
static void
path_of(char *out, size_t size, int fd, const char *name)
{
	char link[64];
	size_t len = 0;

	out[0] = '\0';
	if (fd == -1)
		return;
	if (!name || name[0] != '/')
	{
		ssize_t got;

		snprintf(link, sizeof(link), fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
		got = syscall(SYS_readlink, link, out, size - 1);
		len = got > 0 ? (size_t) got : 0;
		out[len] = '\0';
	}
	if (name)
		snprintf(out + len, size - len, "%s%s", len ? "/" : "", name);
	else if (strncmp(out, "socket:", 7) == 0)
		name_socket(out, size, fd);
}

static bool
is_one_of(const char *call, const char *const *names)
{
	while (*names && strcmp(call, *names) != 0)
		names++;
	return *names != NULL;
}

static bool
is_meant(const char *call)
{
	static const char *const looks[] = {"open", "read", "stat", "readdir", "close", NULL};
	static const char *const nets[] = {"socket", "connect", "accept", "send", "recv", "poll", NULL};
	static const char *const others[] = {"clock", "fork", NULL};
	bool is_file = !is_one_of(call, nets) && !is_one_of(call, others);
	const char *group = is_one_of(call, looks)    ? "look"
						: is_one_of(call, nets)   ? "net"
						: is_one_of(call, others) ? call
												  : "change";

	return strcmp(fault.call, "all") == 0 || (is_file && strcmp(fault.call, "any") == 0) ||
		   strcmp(fault.call, group) == 0 || strcmp(fault.call, call) == 0;
}

/* -- where it comes from --------------------------------------------------------------------------- */

static unsigned long
place(uintptr_t address)
{
	size_t i;

	for (i = 0; i < module_count; i++)
		if (address >= modules[i].from && address < modules[i].to)
			return modules[i].name + (address - modules[i].from);
	return 0;
}

static __attribute__((noinline)) unsigned long
site_of(const char *call)
{
	void *frames[STACK_DEPTH + OWN_FRAMES];
	unsigned long h = hash(14695981039346656037UL, call, strlen(call));
	int count, i;

	is_busy = true;
	count = backtrace(frames, STACK_DEPTH + OWN_FRAMES);
	is_busy = false;
	for (i = OWN_FRAMES; i < count; i++)
	{
		unsigned long where = place((uintptr_t) frames[i]);

		h = hash(h, &where, sizeof(where));
	}
	return h ? h : 1;
}

static void
note_site(unsigned long id, const char *call, const char *path)
{
	size_t i, slot = id % SITES;

	for (i = 0; i < SITES; i++, slot = (slot + 1) % SITES)
	{
		struct site *site = &fault.state->sites[slot];
		unsigned long none = 0;

		if (atomic_compare_exchange_strong(&site->id, &none, id))
		{
			snprintf(site->call, sizeof(site->call), "%s", call);
			snprintf(site->path, sizeof(site->path), "%.223s", path);
		}
		if (atomic_load(&site->id) != id)
			continue;
		atomic_fetch_add(&site->calls, 1);
		return;
	}
}

/* -- whether it happens now ------------------------------------------------------------------------ */

static bool
waits(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

/* Does this call count? */
static bool
counts(const char *call, const char *path)
{
	if (fault.sites || fault.site)
	{
		unsigned long id = is_forked ? 0 : site_of(call);

		if (fault.site && id != fault.site)
			return false;
		if (fault.sites && id)
			note_site(id, call, path);
	}
	return true;
}

static void
hit(unsigned long n, const char *call, const char *path)
{
	atomic_fetch_add(&fault.state->hits, 1);
	snprintf(fault.state->text, TEXT_BYTES, "%lu %lu %s %.900s\n", n,
			 atomic_load(&fault.state->hits), call, path);
	if (fault.what == KILL)
		kill(getpid(), SIGKILL);
	if (fault.what == DELAY)
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	if (fault.what == AHEAD || fault.what == BACK)
		atomic_store(&fault.state->clock_us, (fault.what == AHEAD ? 3600L : -3600L) * 1000000);
}

int
fault_happens(const char *call, int fd, const char *name)
{
	char path[PATH_MAX];
	int saved = errno;
	unsigned long n;

	if (!fault.state || is_busy || !is_meant(call) || (!name && fd >= 0 && fd <= STDERR_FILENO))
		return 0;
	path_of(path, sizeof(path), fd, name);
	errno = saved;
	if (!strstr(path, fault.path) || strstr(path, getenv("MBACKUP_FAULT_FILE")) ||
		!counts(call, path))
		return 0;
	n = atomic_fetch_add(&fault.state->calls, 1) + 1;
	if (fault.n == 0 || (fault.from_then_on ? n < fault.n : n != fault.n) ||
		(fault.what == EAGAIN && fd >= 0 && waits(fd)))
	{
		if (atomic_load(&fault.state->hits) == 0)
			snprintf(fault.state->text, 32, "%lu 0\n", n);
		errno = saved;
		return 0;
	}
	hit(n, call, path);
	errno = saved;
	return fault.what;
}

bool
fault_fails(const char *call, int fd, const char *name)
{
	int what = fault_happens(call, fd, name);

	if (what > 0)
		errno = what;
	return what > 0;
}

size_t
fault_cut(int what, size_t len)
{
	return what == SHORT && len > 1 ? len / 2 : len;
}
