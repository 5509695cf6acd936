/*
 * many.c - LD_PRELOAD: directories that have more files than there are on the disk.
 *
 *     LD_PRELOAD=many.so MBACKUP_MANY=N mbackup ...
 *
 * Where a directory has a file many.000000, N names stand for it: many.000000 to many.<N - 1>, each
 * with an inode of its own.  Names, looking and opening are simulated; contents and times are read
 * from the file.  So mbackup itself runs as it is, and walks, reads and stores every one of them.
 *
 * Meant for readers that read one directory at a time, as the scanner does.  Only readdir, fstatat
 * and openat2 (by syscall()) are seen, the first two also by their names with 64, which are the same
 * where files are large anyway.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEM "many."
#define DIGITS 6
#define FIRST STEM "000000"
#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static unsigned long many = 1;

/* The directory that is being read, and which name comes next. */
static _Thread_local struct
{
	DIR *dir;
	struct dirent entry;
	unsigned long next;
} listing;

__attribute__((constructor)) static void
begin(void)
{
	const char *text = getenv("MBACKUP_MANY");

	if (text)
		many = strtoul(text, NULL, 10);
}

/* The number of a name that may be simulated, or -1. */
static long
number_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (strlen(name) != strlen(FIRST) || strncmp(name, STEM, strlen(STEM)) != 0)
		return -1;
	return strtol(name + strlen(STEM), NULL, 10);
}

/* The path of the file that stands for it. */
static void
first_of(char *out, size_t size, const char *path)
{
	snprintf(out, size, "%s", path);
	if (strlen(out) >= DIGITS)
		memset(out + strlen(out) - DIGITS, '0', DIGITS);
}

struct dirent *
readdir(DIR *dir)
{
	static struct dirent *(*real)(DIR *);
	struct dirent *entry;

	if (!real)
		real = REAL(readdir);
	if (listing.dir == dir && listing.next < many)
	{
		snprintf(listing.entry.d_name, sizeof(listing.entry.d_name), STEM "%06lu", listing.next++);
		return &listing.entry;
	}
	entry = real(dir);
	if (entry && strcmp(entry->d_name, FIRST) == 0)
	{
		listing.dir = dir;
		listing.entry = *entry;
		listing.next = 1;
	}
	else if (!entry)
		listing.dir = NULL;
	return entry;
}

int
fstatat(int dir_fd, const char *path, struct stat *st, int flags)
{
	static int (*real)(int, const char *, struct stat *, int);
	char first[4096];
	long number = number_of(path);
	int got;

	if (!real)
		real = REAL(fstatat);
	if (number <= 0)
		return real(dir_fd, path, st, flags);
	first_of(first, sizeof(first), path);
	got = real(dir_fd, first, st, flags);
	st->st_ino += (ino_t) number << 32;
	return got;
}

struct dirent64 *
readdir64(DIR *dir)
{
	return (struct dirent64 *) readdir(dir);
}

int
fstatat64(int dir_fd, const char *path, struct stat64 *st, int flags)
{
	return fstatat(dir_fd, path, (struct stat *) st, flags);
}

long
syscall(long number, ...)
{
	static long (*real)(long, ...);
	char first[4096];
	long a[6];
	va_list ap;
	int i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = REAL(syscall);
	if (number == SYS_openat2 && number_of((const char *) a[1]) > 0)
	{
		first_of(first, sizeof(first), (const char *) a[1]);
		a[1] = (long) first;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
