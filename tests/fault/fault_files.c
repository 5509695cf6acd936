/* fault_files.c - the calls that concern files: see fault.h. */
#include "fault.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIE_SECONDS 978307200

/* -- reading and writing ----------------------------------------------------------------------------- */

#define TRANSFER(name, file_kind, socket_kind, buffer, ...)                             \
	ssize_t name(int fd, buffer, size_t len __VA_ARGS__)                                \
	{                                                                                   \
		int what = fault_happens(fault_transfer(fd, file_kind, socket_kind), fd, NULL); \
                                                                                        \
		fault_socket_died(fd, what);                                                    \
		if (what == END)                                                                \
			return 0;                                                                   \
		if (what > 0)                                                                   \
		{                                                                               \
			errno = what;                                                               \
			return -1;                                                                  \
		}                                                                               \
		return REAL(name)(fd, buf, fault_cut(what, len) OFFSET);                        \
	}

#define OFFSET
TRANSFER(read, "read", "recv", void *buf)
TRANSFER(write, "write", "send", const void *buf)
#undef OFFSET
#define OFFSET , offset
TRANSFER(pread, "read", "read", void *buf, , off_t offset)
TRANSFER(pwrite, "write", "write", const void *buf, , off_t offset)

/* -- opening --------------------------------------------------------------------------------------- */

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fault_fails("open", AT_FDCWD, path) ? -1 : REAL(open)(path, flags, mode);
}

int
openat(int dir_fd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fault_fails("open", dir_fd, path) ? -1 : REAL(openat)(dir_fd, path, flags, mode);
}

int
mkostemp(char *path, int flags)
{
	return fault_fails("open", AT_FDCWD, path) ? -1 : REAL(mkostemp)(path, flags);
}

DIR *
opendir(const char *path)
{
	return fault_fails("open", AT_FDCWD, path) ? NULL : REAL(opendir)(path);
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
	if (number == SYS_openat2 && fault_fails("open", (int) a[0], (const char *) a[1]))
		return -1;
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* -- the others ------------------------------------------------------------------------------------- */

#define SIMPLE(name, kind, at, path, parameters, ...)                      \
	int name parameters                                                    \
	{                                                                      \
		return fault_fails(kind, at, path) ? -1 : REAL(name)(__VA_ARGS__); \
	}

#define SYNC(name)                                                                      \
	int name(int fd)                                                                    \
	{                                                                                   \
		return fault_fails("sync", fd, NULL) ? -1 : fault.no_sync ? 0 : REAL(name)(fd); \
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
SIMPLE(symlink, "link", AT_FDCWD, b, (const char *a, const char *b), a, b)
SIMPLE(symlinkat, "link", y, b, (const char *a, int y, const char *b), a, y, b)
SIMPLE(unlink, "unlink", AT_FDCWD, a, (const char *a), a)
SIMPLE(unlinkat, "unlink", x, a, (int x, const char *a, int f), x, a, f)
SIMPLE(rmdir, "unlink", AT_FDCWD, a, (const char *a), a)
SIMPLE(mkdir, "mkdir", AT_FDCWD, a, (const char *a, mode_t m), a, m)
SIMPLE(mkdirat, "mkdir", x, a, (int x, const char *a, mode_t m), x, a, m)

char *
mkdtemp(char *path)
{
	return fault_fails("mkdir", AT_FDCWD, path) ? NULL : REAL(mkdtemp)(path);
}

SIMPLE(ftruncate, "truncate", fd, NULL, (int fd, off_t n), fd, n)
SIMPLE(fallocate, "allocate", fd, NULL, (int fd, int m, off_t o, off_t n), fd, m, o, n)

/* The descriptor is gone, whatever close says. */
int
close(int fd)
{
	bool fail = fault_fails("close", fd, NULL);
	int saved = errno;

	if (REAL(close)(fd) != 0)
		return -1;
	errno = saved;
	return fail ? -1 : 0;
}

struct dirent *
readdir(DIR *dir)
{
	return fault_fails("readdir", dirfd(dir), NULL) ? NULL : REAL(readdir)(dir);
}

#define LOOK(name, at, path, parameters, ...)                                     \
	int name parameters                                                           \
	{                                                                             \
		int what = fault_happens("stat", at, path), got;                          \
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

ssize_t
readlink(const char *restrict path, char *restrict out, size_t size)
{
	return fault_fails("stat", AT_FDCWD, path) ? -1 : REAL(readlink)(path, out, size);
}

ssize_t
readlinkat(int dir_fd, const char *restrict path, char *restrict out, size_t size)
{
	return fault_fails("stat", dir_fd, path) ? -1 : REAL(readlinkat)(dir_fd, path, out, size);
}

SIMPLE(access, "stat", AT_FDCWD, a, (const char *a, int m), a, m)
SIMPLE(faccessat, "stat", x, a, (int x, const char *a, int m, int f), x, a, m, f)
SIMPLE(statx, "stat", x, a,
	   (int x, const char *restrict a, int f, unsigned m, struct statx *restrict s), x, a, f, m, s)
SIMPLE(chmod, "attribute", AT_FDCWD, a, (const char *a, mode_t m), a, m)
SIMPLE(chown, "attribute", AT_FDCWD, a, (const char *a, uid_t u, gid_t g), a, u, g)
SIMPLE(fchmod, "attribute", fd, NULL, (int fd, mode_t m), fd, m)
SIMPLE(fchown, "attribute", fd, NULL, (int fd, uid_t u, gid_t g), fd, u, g)
SIMPLE(fchownat, "attribute", x, a, (int x, const char *a, uid_t u, gid_t g, int f), x, a, u, g, f)
SIMPLE(futimens, "attribute", fd, NULL, (int fd, const struct timespec t[2]), fd, t)
SIMPLE(utimensat, "attribute", x, a, (int x, const char *a, const struct timespec t[2], int f), x,
	   a, t, f)

/* -- with _FILE_OFFSET_BITS=64 ------------------------------------------------------------------------ */

/* Where longs have 64 bits, which is where this runs, they are the same functions under other names. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#endif
#define ALSO(name) \
	extern __typeof__(name) also_##name __asm__(#name "64") __attribute__((alias(#name)));

ALSO(open)
ALSO(openat)
ALSO(mkostemp)
ALSO(pread)
ALSO(pwrite)
ALSO(ftruncate)
ALSO(fallocate)
ALSO(readdir)
ALSO(stat)
ALSO(lstat)
ALSO(fstat)
ALSO(fstatat)
