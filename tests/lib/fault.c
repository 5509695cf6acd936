/*
 * fault.c - LD_PRELOAD: the Nth call into the kernel that concerns a file fails, is cut short, or
 * is the last one of the process.
 *
 *     LD_PRELOAD=fault.so MBACKUP_FAULT=CALL:N:WHAT:PATH MBACKUP_FAULT_FILE=F mbackup ...
 *
 * CALL   one of: write sync rename link unlink mkdir truncate allocate (all of them: change),
 *        open read stat readdir close (all of them: look), or any
 * N      counts from 1, over all threads and processes of one run; 0 never comes (to count only);
 *        "N+": that one and all behind it
 * WHAT   EIO, ENOSPC, EDQUOT, EACCES, EMFILE, EINTR, ESTALE; short (half of a read or a write);
 *        kill (SIGKILL of the calling process, before the call); lie (see below)
 * PATH   only calls on paths that contain this, and never on the standard descriptors.  The path
 *        of a descriptor is what /proc says.
 * F      is made, and begins with "<calls counted> <times hit> <the call hit> <its path>"
 *
 * stat with "lie" does not fail: the file's ctime and mtime are said to be those of the first
 * second of 2001, as on a filesystem that does not keep them.
 *
 * MBACKUP_FAULT_NOSYNC=1, with or without the rest: nothing is really synced, so that a sweep does not
 * wait for the disk.  (What a power failure takes is not what this tests.)
 *
 * Only processes called mbackup are meant: what they start inherits the environment.  Not reached:
 * what the C library does inside fopen, opendir, realpath and the like; memory maps; sockets.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT (-1)
#define KILL (-2)
#define LIE (-3)
#define STATE_BYTES 8192
#define TEXT_BYTES 1024
#define LIE_SECONDS 978307200

/* The file F: text for people, then what the processes of a run share. */
struct state
{
	char text[TEXT_BYTES];
	atomic_ulong calls;
	atomic_ulong hits;
};

static struct
{
	struct state *state; /* NULL: not our process, or nothing to do */
	char call[16];
	unsigned long n;
	bool from_then_on;
	int what;
	char path[512];
	bool no_sync;
} fault;

static const struct
{
	const char *name;
	int what;
} whats[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES},
			 {"EMFILE", EMFILE}, {"EINTR", EINTR},   {"ESTALE", ESTALE}, {"short", SHORT},
			 {"kill", KILL},     {"lie", LIE}};

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

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
	char n[24], what[16];
	size_t i;

	if (sscanf(text, "%15[^:]:%23[^:]:%15[^:]:%511s", fault.call, n, what, fault.path) < 3)
		complain("cannot read MBACKUP_FAULT");
	fault.n = strtoul(n, NULL, 10);
	fault.from_then_on = strchr(n, '+') != NULL;
	for (i = 0; i < sizeof(whats) / sizeof(whats[0]) && !fault.what; i++)
		if (strcmp(whats[i].name, what) == 0)
			fault.what = whats[i].what;
	if (!fault.what)
		complain("what shall happen?");
}

__attribute__((constructor)) static void
begin(void)
{
	const char *text = getenv("MBACKUP_FAULT");
	const char *file = getenv("MBACKUP_FAULT_FILE");
	int fd;

	if (strcmp(program_invocation_short_name, "mbackup") != 0)
		return;
	fault.no_sync = getenv("MBACKUP_FAULT_NOSYNC") != NULL;
	if (!text || !file)
		return;
	parse(text);
	fd = REAL(open)(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, STATE_BYTES) != 0)
		complain("cannot write MBACKUP_FAULT_FILE");
	fault.state = mmap(NULL, STATE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (fault.state == MAP_FAILED)
		complain("cannot map MBACKUP_FAULT_FILE");
}

/* -- whether it happens now ------------------------------------------------------------------------ */

/* The path of a name below a descriptor, or of the descriptor itself. */
static void
path_of(char *out, size_t size, int fd, const char *name)
{
	char link[64];
	size_t len = 0;

	out[0] = '\0';
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
}

static bool
is_meant(const char *call)
{
	static const char *const looks[] = {"open", "read", "stat", "readdir", "close"};
	const char *group = "change";
	size_t i;

	for (i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
		if (strcmp(call, looks[i]) == 0)
			group = "look";
	return strcmp(fault.call, "any") == 0 || strcmp(fault.call, group) == 0 ||
		   strcmp(fault.call, call) == 0;
}

/* 0, or what shall happen to this call. */
static int
happens(const char *call, int fd, const char *name)
{
	char path[PATH_MAX];
	int saved = errno;
	unsigned long n;

	if (!fault.state || !is_meant(call) || (!name && fd >= 0 && fd <= STDERR_FILENO))
		return 0;
	path_of(path, sizeof(path), fd, name);
	errno = saved;
	if (!strstr(path, fault.path) || strstr(path, getenv("MBACKUP_FAULT_FILE")))
		return 0;
	n = atomic_fetch_add(&fault.state->calls, 1) + 1;
	if (fault.n == 0 || (fault.from_then_on ? n < fault.n : n != fault.n))
	{
		if (atomic_load(&fault.state->hits) == 0)
			snprintf(fault.state->text, 32, "%lu 0\n", n);
		return 0;
	}
	atomic_fetch_add(&fault.state->hits, 1);
	snprintf(fault.state->text, TEXT_BYTES, "%lu %lu %s %.900s\n", n,
			 atomic_load(&fault.state->hits), call, path);
	if (fault.what == KILL)
		kill(getpid(), SIGKILL);
	return fault.what;
}

/* For calls that can only succeed or fail. */
static bool
fails(const char *call, int fd, const char *name)
{
	int what = happens(call, fd, name);

	if (what > 0)
		errno = what;
	return what > 0;
}

/* -- reading and writing ----------------------------------------------------------------------------- */

static size_t
cut(int what, size_t len)
{
	return what == SHORT && len > 1 ? len / 2 : len;
}

#define TRANSFER(name, kind, buffer, ...)                  \
	ssize_t name(int fd, buffer, size_t len __VA_ARGS__)   \
	{                                                      \
		int what = happens(kind, fd, NULL);                \
                                                           \
		if (what > 0)                                      \
		{                                                  \
			errno = what;                                  \
			return -1;                                     \
		}                                                  \
		return REAL(name)(fd, buf, cut(what, len) OFFSET); \
	}

#define OFFSET
TRANSFER(read, "read", void *buf)
TRANSFER(write, "write", const void *buf)
#undef OFFSET
#define OFFSET , offset
TRANSFER(pread, "read", void *buf, , off_t offset)
TRANSFER(pwrite, "write", const void *buf, , off_t offset)

/* -- opening --------------------------------------------------------------------------------------- */

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("open", AT_FDCWD, path) ? -1 : REAL(open)(path, flags, mode);
}

int
openat(int dir_fd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails("open", dir_fd, path) ? -1 : REAL(openat)(dir_fd, path, flags, mode);
}

int
mkostemp(char *path, int flags)
{
	return fails("open", AT_FDCWD, path) ? -1 : REAL(mkostemp)(path, flags);
}

DIR *
opendir(const char *path)
{
	return fails("open", AT_FDCWD, path) ? NULL : REAL(opendir)(path);
}

/* openat2 has no function of its own. */
long
syscall(long number, ...)
{
	long a[6];
	va_list ap;
	int i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2 && fails("open", (int) a[0], (const char *) a[1]))
		return -1;
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* -- the others ------------------------------------------------------------------------------------- */

#define SIMPLE(name, kind, at, path, parameters, ...)                \
	int name parameters                                              \
	{                                                                \
		return fails(kind, at, path) ? -1 : REAL(name)(__VA_ARGS__); \
	}

#define SYNC(name)                                                                \
	int name(int fd)                                                              \
	{                                                                             \
		return fails("sync", fd, NULL) ? -1 : fault.no_sync ? 0 : REAL(name)(fd); \
	}

SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)
SIMPLE(rename, "rename", AT_FDCWD, a, (const char *a, const char *b), a, b)
SIMPLE(renameat, "rename", x, a, (int x, const char *a, int y, const char *b), x, a, y, b)
SIMPLE(renameat2, "rename", x, a, (int x, const char *a, int y, const char *b, unsigned f), x, a, y,
	   b, f)
SIMPLE(link, "link", AT_FDCWD, b, (const char *a, const char *b), a, b)
SIMPLE(linkat, "link", y, b, (int x, const char *a, int y, const char *b, int f), x, a, y, b, f)
SIMPLE(symlinkat, "link", y, b, (const char *a, int y, const char *b), a, y, b)
SIMPLE(unlink, "unlink", AT_FDCWD, a, (const char *a), a)
SIMPLE(unlinkat, "unlink", x, a, (int x, const char *a, int f), x, a, f)
SIMPLE(mkdir, "mkdir", AT_FDCWD, a, (const char *a, mode_t m), a, m)
SIMPLE(mkdirat, "mkdir", x, a, (int x, const char *a, mode_t m), x, a, m)
SIMPLE(ftruncate, "truncate", fd, NULL, (int fd, off_t n), fd, n)
SIMPLE(fallocate, "allocate", fd, NULL, (int fd, int m, off_t o, off_t n), fd, m, o, n)

/* The descriptor is gone, whatever close says. */
int
close(int fd)
{
	bool fail = fails("close", fd, NULL);
	int saved = errno;

	if (REAL(close)(fd) != 0)
		return -1;
	errno = saved;
	return fail ? -1 : 0;
}

struct dirent *
readdir(DIR *dir)
{
	return fails("readdir", dirfd(dir), NULL) ? NULL : REAL(readdir)(dir);
}

#define LOOK(name, at, path, parameters, ...)                                     \
	int name parameters                                                           \
	{                                                                             \
		int what = happens("stat", at, path), got;                                \
                                                                                  \
		if (what > 0)                                                             \
		{                                                                         \
			errno = what;                                                         \
			return -1;                                                            \
		}                                                                         \
		got = REAL(name)(__VA_ARGS__);                                            \
		if (got == 0 && what == LIE)                                              \
			st->st_ctim = st->st_mtim = (struct timespec){.tv_sec = LIE_SECONDS}; \
		return got;                                                               \
	}

LOOK(stat, AT_FDCWD, a, (const char *restrict a, struct stat *restrict st), a, st)
LOOK(lstat, AT_FDCWD, a, (const char *restrict a, struct stat *restrict st), a, st)
LOOK(fstat, fd, NULL, (int fd, struct stat *st), fd, st)
LOOK(fstatat, x, a, (int x, const char *restrict a, struct stat *restrict st, int f), x, a, st, f)
