/*
 * error.h - how every function of mbackup says that it failed.
 *
 * A function that can fail returns enum mb_code (MB_OK is 0) and takes a
 * struct mb_error * as its last parameter.  On success the error is untouched;
 * on failure it holds the code, the cause and, where there is one, the next
 * step for the user.  Nothing below cli/ prints an error or exits.
 *
 *     if (fd < 0)
 *         return mb_fail_errno(err, errno, "could not open \"%s\"", path);
 *
 *     code = mb_repo_open(&repo, url, err);
 *     if (code)
 *         return mb_error_context(err, "could not start the backup");
 *
 * Wording follows PostgreSQL's Error Message Style Guide: lower case, no full
 * stop, what could not be done and why.  Hints and details are sentences.
 *
 * A struct mb_error belongs to one thread at a time; it owns no memory and
 * needs no release.  Passing err == NULL is a bug.
 */
#ifndef MB_BASE_ERROR_H
#define MB_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* The codes.  Their numbers never change; error.c maps each to a name and an exit status. */
enum mb_code
{
	MB_OK = 0,
	MB_NEGATIVE = 1,    /* the honest answer is no */
	MB_CONFIG = 2,      /* command line or configuration */
	MB_PARTIAL = 3,     /* finished, but something named is missing */
	MB_CONFLICT = 4,    /* somebody else is doing it; a target that is not empty */
	MB_UNREACHABLE = 5, /* repository or component cannot be reached */
	MB_CORRUPT = 6,     /* stored data is damaged or was tampered with */
	MB_DENIED = 7,      /* wrong passphrase, missing privilege */
	MB_NO_SPACE = 8,
	MB_UNSUPPORTED = 9, /* version or feature */
	MB_NOT_FOUND = 10,  /* no such blob, backup, mark, component, file */
	MB_IO = 11,         /* a read, a write or a child process failed */
	MB_EXISTS = 12,     /* a name that must be new is taken */
	MB_INTERRUPTED = 13 /* SIGINT or SIGTERM: stopped cleanly */
};

#define MB_CODE_COUNT 14

#define MB_MUST_CHECK __attribute__((warn_unused_result))
#define MB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

struct mb_error
{
	enum mb_code code;
	int sys_errno;      /* 0 when no system call was the cause; EACCES also of a server's refusal */
	char message[1024]; /* what could not be done and why */
	char detail[1024];  /* one more fact, or empty */
	char hint[512];     /* the next step, or empty */
};

/* Name ("CORRUPT") and exit status (6) of a code.  signo is used for MB_INTERRUPTED only. */
const char *mb_code_name(enum mb_code code);
int mb_code_exit_status(enum mb_code code, int signo);

/* The hint, else what is true of every error of this code, else ""; static, or err's own. */
const char *mb_error_next_step(const struct mb_error *err);

/*
 * Was something read, and is not good: damaged, tampered with, of a newer format, sealed by a key that
 * is not ours?  False when nobody could look: the mode of a file, a server that refuses, a disk.
 */
bool mb_error_is_of_contents(const struct mb_error *err);

/* Clear an error so that the struct can be used again. */
void mb_error_clear(struct mb_error *err);

/* Raise: fill *err (detail and hint emptied) and return code, so that it can be returned. */
enum mb_code mb_fail(struct mb_error *err, enum mb_code code, const char *fmt, ...) MB_PRINTF(3, 4);

/*
 * Raise from errno: appends ": <strerror>" to the message and chooses the code:
 * ENOENT NOT_FOUND, EACCES/EPERM DENIED, ENOSPC/EDQUOT NO_SPACE, EEXIST EXISTS,
 * ECONNREFUSED/ETIMEDOUT/... UNREACHABLE, else IO.
 */
enum mb_code mb_fail_errno(struct mb_error *err, int sys_errno, const char *fmt, ...)
	MB_PRINTF(3, 4);

/* Prefix "context: " to the message of an error that is on its way up; returns err->code. */
enum mb_code mb_error_context(struct mb_error *err, const char *fmt, ...) MB_PRINTF(2, 3);

/* Set the detail or the hint of a raised error; returns err->code. */
enum mb_code mb_error_detail(struct mb_error *err, const char *fmt, ...) MB_PRINTF(2, 3);
enum mb_code mb_error_hint(struct mb_error *err, const char *fmt, ...) MB_PRINTF(2, 3);

/* A broken invariant: print file, line and text to stderr and abort, in every build. */
void mb_bug(const char *file, int line, const char *fmt, ...) MB_PRINTF(3, 4)
	__attribute__((noreturn));

#define MB_BUG(...) mb_bug(__FILE__, __LINE__, __VA_ARGS__)
#define MB_ASSERT(cond) ((cond) ? (void) 0 : MB_BUG("assertion failed: %s", #cond))

#endif
