/* error.c - see error.h.  The table below is the only place that knows exit statuses. */
#include "core/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct
{
	const char *name;
	int exit_status;
	/* The next step where the place that failed knows none; true of whatever ends in this code. */
	const char *hint;
} code_table[MB_CODE_COUNT] = {
	[MB_OK] = {"OK", 0, NULL},
	[MB_NEGATIVE] = {"NEGATIVE", 1, NULL},
	[MB_CONFIG] = {"CONFIG", 2,
				   "Correct it and try again; \"mbackup help COMMAND\" lists options, "
				   "docs/configuration.md every key."},
	[MB_PARTIAL] = {"PARTIAL", 3, "Mend what is named above, and run the command again."},
	[MB_CONFLICT] = {"CONFLICT", 4,
					 "Wait for what is in the way, or take it away, and run the command again."},
	[MB_UNREACHABLE] =
		{"UNREACHABLE", 5,
		 "See that it runs and can be reached from here (\"mbackup check\"), and run the "
		 "command again."},
	[MB_CORRUPT] =
		{"CORRUPT", 6,
		 "\"mbackup verify --read-data full\" tells what else is damaged, and which backups "
		 "that concerns; a copy of the repository may have it whole."},
	[MB_DENIED] = {"DENIED", 7,
				   "\"mbackup check\" tells which right is missing, and how to grant it."},
	[MB_NO_SPACE] =
		{"NO_SPACE", 8,
		 "Make room, for instance by \"mbackup expire\", and run the command again: what is "
		 "stored stays."},
	[MB_UNSUPPORTED] =
		{"UNSUPPORTED", 9,
		 "\"mbackup check\" tells what these servers can do, \"mbackup version\" what this "
		 "program can read."},
	[MB_NOT_FOUND] = {"NOT_FOUND", 10, "\"mbackup list\" shows what there is."},
	[MB_IO] = {"IO", 11,
			   "Run it again with --log-level debug: its last lines tell what it was doing."},
	[MB_EXISTS] = {"CONFLICT", 4, "Nothing is overwritten: choose another name or place."},
	[MB_INTERRUPTED] = {"INTERRUPTED", 128, NULL},
};

const char *
mb_error_next_step(const struct mb_error *err)
{
	MB_ASSERT((unsigned) err->code < MB_CODE_COUNT);
	if (err->hint[0])
		return err->hint;
	/* The system said no: then it is about a path, or a disk. */
	if (err->sys_errno == ENOENT || err->sys_errno == ENOTDIR)
		return "Check the path, and that its filesystem is mounted.";
	if (err->sys_errno == EACCES || err->sys_errno == EPERM)
		return "Run mbackup as the user whose file it is, or let this one have it (chown, "
			   "setfacl).";
	if (err->code == MB_IO && err->sys_errno)
		return "The system's log (dmesg, journalctl -k) says more of the disk.";
	return code_table[err->code].hint ? code_table[err->code].hint : "";
}

bool
mb_error_is_of_contents(const struct mb_error *err)
{
	return !err->sys_errno &&
		   (err->code == MB_CORRUPT || err->code == MB_DENIED || err->code == MB_UNSUPPORTED);
}

const char *
mb_code_name(enum mb_code code)
{
	MB_ASSERT((unsigned) code < MB_CODE_COUNT);
	return code_table[code].name;
}

int
mb_code_exit_status(enum mb_code code, int signo)
{
	MB_ASSERT((unsigned) code < MB_CODE_COUNT);
	if (code == MB_INTERRUPTED)
		return code_table[code].exit_status + (signo > 0 ? signo : 2);
	return code_table[code].exit_status;
}

void
mb_error_clear(struct mb_error *err)
{
	err->code = MB_OK;
	err->sys_errno = 0;
	err->message[0] = err->detail[0] = err->hint[0] = '\0';
}

enum mb_code
mb_fail(struct mb_error *err, enum mb_code code, const char *fmt, ...)
{
	va_list ap;

	mb_error_clear(err);
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return code;
}

static enum mb_code
code_of_errno(int sys_errno)
{
	switch (sys_errno)
	{
		case ENOENT:
		case ENOTDIR:
			return MB_NOT_FOUND;
		case EACCES:
		case EPERM:
		case EROFS:
			return MB_DENIED;
		case ENOSPC:
		case EDQUOT:
			return MB_NO_SPACE;
		case EEXIST:
			return MB_EXISTS;
		case ECONNREFUSED:
		case ECONNRESET:
		case ETIMEDOUT:
		case EHOSTUNREACH:
		case ENETUNREACH:
		case EPIPE:
			return MB_UNREACHABLE;
		default:
			return MB_IO;
	}
}

enum mb_code
mb_fail_errno(struct mb_error *err, int sys_errno, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	mb_error_clear(err);
	err->code = code_of_errno(sys_errno);
	err->sys_errno = sys_errno;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	len = strlen(err->message);
	snprintf(err->message + len, sizeof(err->message) - len, ": %s", strerror(sys_errno));
	return err->code;
}

enum mb_code
mb_error_context(struct mb_error *err, const char *fmt, ...)
{
	char old[sizeof(err->message)];
	va_list ap;
	size_t len;

	memcpy(old, err->message, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	len = strlen(err->message);
	snprintf(err->message + len, sizeof(err->message) - len, ": %s", old);
	return err->code;
}

enum mb_code
mb_error_detail(struct mb_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->detail, sizeof(err->detail), fmt, ap);
	va_end(ap);
	return err->code;
}

enum mb_code
mb_error_hint(struct mb_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return err->code;
}

void
mb_bug(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "mbackup: internal error at %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
