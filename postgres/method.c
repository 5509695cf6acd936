/*
 * method.c - see method.h.
 *
 * A path proves nothing: conninfo may lead to another host whose cluster lives at the same place,
 * and a standby here even has the same system identifier.  postmaster.pid names the start of
 * the server that runs in the directory; that must be the one that we are connected to.
 */
#include "postgres/method.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"

/* postmaster.pid is written a moment before the server notes its start. */
#define START_TOLERANCE_S 10
#define PID_FILE_MAX_BYTES 8192

/* Lines of postmaster.pid, from 1. */
enum pid_line
{
	PID_START = 3,
	PID_PORT = 4
};

static int64_t
pid_number(const char *text, enum pid_line wanted)
{
	int line;

	for (line = 1; line < (int) wanted && text; line++)
	{
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text ? strtoll(text, NULL, 10) : -1;
}

/* Is the server that we are connected to the one that runs in this directory? */
static enum mb_code
is_same_server(struct mb_postgres *pg, int root_fd, bool *same, struct mb_error *err)
{
	static const char sql[] =
		"SELECT extract(epoch FROM pg_postmaster_start_time())::bigint AS start,"
		" current_setting('port')::int AS port";
	char text[PID_FILE_MAX_BYTES + 1];
	unsigned char control[8];
	size_t len = 0, control_len = 0;
	int64_t drift;
	PGresult *res;
	enum mb_code code = MB_OK;
	int fd = mb_openat(root_fd, "postmaster.pid", O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	int control_fd = mb_openat(root_fd, "global/pg_control", O_RDONLY | O_CLOEXEC, 0);

	*same = false;
	if (fd >= 0 && control_fd >= 0)
	{
		code = mb_pread_full(fd, text, PID_FILE_MAX_BYTES, 0, &len, "postmaster.pid", err);
		if (!code)
			code = mb_pread_full(control_fd, control, sizeof(control), 0, &control_len,
								 "global/pg_control", err);
	}
	if (fd >= 0)
		close(fd);
	if (control_fd >= 0)
		close(control_fd);
	if (code || control_len < sizeof(control))
		return code;
	text[len] = '\0';
	code = mb_postgres_query(pg, &res, sql, 0, NULL, err);
	if (code)
		return code;
	drift = strtoll(mb_pg_field(res, 0, "start"), NULL, 10) - pid_number(text, PID_START);
	*same = drift >= -START_TOLERANCE_S && drift <= START_TOLERANCE_S &&
			pid_number(text, PID_PORT) == strtoll(mb_pg_field(res, 0, "port"), NULL, 10) &&
			mb_get_u64(control) == strtoull(pg->server.system_id, NULL, 10);
	PQclear(res);
	return MB_OK;
}

static enum mb_code
open_directly(struct mb_postgres *pg, int *root_fd, struct mb_error *err)
{
	const char *directory = pg->server.data_directory;
	enum mb_code code;
	bool same = false;

	if (!directory || !*directory)
	{
		mb_fail(err, MB_DENIED, "the server does not tell its data directory");
		return mb_error_hint(err, "Grant pg_read_all_settings to the user.");
	}
	*root_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*root_fd < 0)
	{
		mb_fail_errno(err, errno, "could not open data directory \"%s\"", directory);
		return mb_error_hint(err,
							 "Run mbackup on the database host as the user that runs PostgreSQL "
							 "(usually postgres), or as root; or set method = basebackup.");
	}
	code = is_same_server(pg, *root_fd, &same, err);
	if (!code && !same)
	{
		code = mb_fail(err, MB_CONFLICT,
					   "data directory \"%s\" on this host is not that of the server", directory);
		mb_error_hint(err, "The server that conninfo leads to runs elsewhere, or its "
						   "postmaster.pid cannot be read: set method = basebackup to read it "
						   "over the wire.");
	}
	if (code)
	{
		close(*root_fd);
		*root_fd = -1;
	}
	return code;
}

enum mb_code
mb_postgres_choose_method(struct mb_postgres *pg, enum mb_pg_method *method, int *root_fd,
						  struct mb_error *err)
{
	const char *wanted = mb_settings_get(pg->base.settings, "method");
	enum mb_code code;

	*root_fd = -1;
	*method = MB_PG_WIRE;
	if (wanted && strcmp(wanted, "basebackup") == 0)
		return MB_OK;
	code = open_directly(pg, root_fd, err);
	if (!code)
		*method = MB_PG_DIRECT;
	if (!code || (wanted && strcmp(wanted, "direct") == 0))
		return code;
	/* A server that cannot be asked any more is no reason for another method. */
	if (code == MB_UNREACHABLE || code == MB_INTERRUPTED)
		return code;
	mb_log_info(pg->base.env->log, "%s: reading over the wire, because %s", pg->base.name,
				err->message);
	return MB_OK;
}
