/* wire.c - see wire.h. */
#include "postgres/wire.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "postgres/dialect.h"

#define POLL_MS 200
#define MAX_TABLESPACES 10000

/* -- waiting, so that a signal is noticed -------------------------------------------------------- */

static enum mb_code
wait_for_bytes(struct mb_wire *wire, struct mb_error *err)
{
	struct pollfd fd = {.fd = PQsocket(wire->conn), .events = POLLIN};
	enum mb_code code = mb_cancel_check(wire->cancel, err);

	if (code)
		return code;
	poll(&fd, 1, POLL_MS);
	if (!PQconsumeInput(wire->conn))
		return mb_pg_fail(err, wire->conn, NULL, "lost the connection of the base backup");
	return MB_OK;
}

/* The next result; NULL in *res at the end of the command. */
static enum mb_code
next_result(struct mb_wire *wire, PGresult **res, struct mb_error *err)
{
	while (PQisBusy(wire->conn))
	{
		enum mb_code code = wait_for_bytes(wire, err);

		if (code)
			return code;
	}
	*res = PQgetResult(wire->conn);
	if (*res && PQresultStatus(*res) == PGRES_FATAL_ERROR)
	{
		mb_pg_fail(err, wire->conn, *res, "the server ended the base backup");
		PQclear(*res);
		return err->code;
	}
	return MB_OK;
}

static enum mb_code
unexpected(struct mb_wire *wire, const char *what, struct mb_error *err)
{
	return mb_fail(err, MB_IO, "the server (version %d) sent %s during a base backup",
				   wire->version, what);
}

/* One row set, which the protocol promises here. */
static enum mb_code
next_rows(struct mb_wire *wire, PGresult **res, struct mb_error *err)
{
	enum mb_code code = next_result(wire, res, err);

	if (code)
		return code;
	if (!*res || PQresultStatus(*res) != PGRES_TUPLES_OK || PQntuples(*res) < 1)
	{
		PQclear(*res);
		return unexpected(wire, "no rows where rows were due", err);
	}
	return MB_OK;
}

/* -- starting ----------------------------------------------------------------------------------------- */

static enum mb_code
make_command(struct mb_wire *wire, const struct mb_wire_options *options, struct mb_buf *out,
			 struct mb_error *err)
{
	bool compress = options->compression && strcmp(options->compression, "none") != 0;
	char *label = PQescapeLiteral(wire->conn, options->label, strlen(options->label));

	if (!label)
		MB_BUG("a label that is no text");
	if (!wire->lists)
	{
		mb_buf_printf(out,
					  "BASE_BACKUP LABEL %s PROGRESS FAST NOWAIT TABLESPACE_MAP NOVERIFY_CHECKSUMS"
					  " MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'",
					  label);
		if (compress)
		{
			mb_fail(err, MB_UNSUPPORTED, "the server cannot compress a base backup");
			mb_error_hint(err, "Servers from version 15 on can: set wire-compression = none.");
		}
	}
	else
	{
		mb_buf_printf(out,
					  "BASE_BACKUP (LABEL %s, PROGRESS true, CHECKPOINT 'fast', WAIT false,"
					  " TABLESPACE_MAP true, VERIFY_CHECKSUMS false, MANIFEST 'yes',"
					  " MANIFEST_CHECKSUMS 'CRC32C'",
					  label);
		if (compress)
		{
			size_t method = strcspn(options->compression, ":");

			mb_buf_printf(out, ", COMPRESSION '%.*s'", (int) method, options->compression);
			if (options->compression[method] == ':')
				mb_buf_printf(out, ", COMPRESSION_DETAIL '%s'", options->compression + method + 1);
		}
		mb_buf_printf(out, ")");
	}
	PQfreemem(label);
	mb_buf_put_u8(out, 0);
	return !wire->lists && compress ? err->code : MB_OK;
}

static enum mb_code
take_start(struct mb_wire *wire, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = next_rows(wire, &res, err);

	if (code)
		return code;
	wire->timeline = (uint32_t) strtoul(PQgetvalue(res, 0, 1), NULL, 10);
	if (!mb_lsn_parse(&wire->start_lsn, PQgetvalue(res, 0, 0)) || wire->timeline == 0)
		code = unexpected(wire, "a start that makes no sense", err);
	PQclear(res);
	return code;
}

static enum mb_code
take_tablespaces(struct mb_wire *wire, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = next_rows(wire, &res, err);
	int i;

	if (code)
		return code;
	if (PQntuples(res) > MAX_TABLESPACES || PQnfields(res) < 3)
	{
		PQclear(res);
		return unexpected(wire, "a strange list of tablespaces", err);
	}
	wire->tablespace_count = (size_t) PQntuples(res);
	wire->tablespaces = mb_calloc(wire->tablespace_count, sizeof(*wire->tablespaces));
	for (i = 0; i < PQntuples(res); i++)
	{
		struct mb_wire_tablespace *tablespace = &wire->tablespaces[i];

		snprintf(tablespace->oid, sizeof(tablespace->oid), "%s", PQgetvalue(res, i, 0));
		tablespace->path = mb_strdup(PQgetvalue(res, i, 1));
		tablespace->bytes = strtoull(PQgetvalue(res, i, 2), NULL, 10) * 1024;
		wire->total_bytes += tablespace->bytes;
	}
	PQclear(res);
	return MB_OK;
}

static enum mb_code
start_command(struct mb_wire *wire, const struct mb_wire_options *options, struct mb_error *err)
{
	struct mb_buf command = {0};
	enum mb_code code = make_command(wire, options, &command, err);

	if (!code && !PQsendQuery(wire->conn, (const char *) command.data))
		code = mb_pg_fail(err, wire->conn, NULL, "could not send the base backup command");
	mb_buf_release(&command);
	if (!code)
		code = take_start(wire, err);
	if (code)
		mb_error_context(err, "could not start a base backup");
	if (!code)
		code = take_tablespaces(wire, err);
	return code;
}

enum mb_code
mb_wire_open(struct mb_wire *wire, const struct mb_wire_options *options, struct mb_error *err)
{
	enum mb_code code;

	memset(wire, 0, sizeof(*wire));
	wire->cancel = options->cancel;
	code = mb_pg_connect(&wire->conn, options->params, MB_PG_REPLICATION, err);
	if (code)
		return code;
	wire->version = PQserverVersion(wire->conn);
	wire->lists = mb_pg_dialect_of(wire->version)->wire_lists;
	code = start_command(wire, options, err);
	if (code)
		mb_wire_close(wire);
	return code;
}

/* -- parts ---------------------------------------------------------------------------------------------- */

/*
 * "16385.tar", perhaps ".tar.zst", is of tablespace 16385; anything else is the data directory.
 * Whoever takes the archive apart reads ahead, so the current part keeps its name until next.
 */
static void
name_waiting(struct mb_wire *wire, const char *name)
{
	size_t digits = strspn(name, "0123456789");

	wire->waiting_oid[0] = '\0';
	if (digits > 0 && digits < sizeof(wire->waiting_oid) && name[digits] == '.')
		snprintf(wire->waiting_oid, sizeof(wire->waiting_oid), "%.*s", (int) digits, name);
}

/* The command's last rows: where the backup ends. */
static enum mb_code
take_end(struct mb_wire *wire, PGresult *res, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (PQntuples(res) < 1 || !mb_lsn_parse(&wire->end_lsn, PQgetvalue(res, 0, 0)))
		code = unexpected(wire, "an end that makes no sense", err);
	PQclear(res);
	while (!code)
	{
		code = next_result(wire, &res, err);
		if (code || !res)
			break;
		PQclear(res);
	}
	return code;
}

/* Between two COPYs: the next one begins, or the command ends. */
static enum mb_code
next_copy(struct mb_wire *wire, enum mb_wire_part *part, struct mb_error *err)
{
	PGresult *res;
	enum mb_code code = next_result(wire, &res, err);

	if (code)
		return code;
	if (!res)
		return unexpected(wire, "no end position", err);
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
	{
		*part = MB_WIRE_END;
		return take_end(wire, res, err);
	}
	if (PQresultStatus(res) != PGRES_COPY_OUT)
		code = unexpected(wire, "something that is no copy", err);
	PQclear(res);
	if (code)
		return code;
	wire->in_copy = true;
	if (wire->lists)
		return mb_wire_next(wire, part, err);
	if (wire->archives_seen < wire->tablespace_count)
	{
		*part = MB_WIRE_ARCHIVE;
		memcpy(wire->oid, wire->tablespaces[wire->archives_seen++].oid, sizeof(wire->oid));
		return MB_OK;
	}
	*part = MB_WIRE_MANIFEST;
	return MB_OK;
}

/* The next message of the COPY; *len -1 at its end. */
static enum mb_code
next_message(struct mb_wire *wire, int *len, struct mb_error *err)
{
	enum mb_code code;

	PQfreemem(wire->message);
	wire->message = NULL;
	while ((*len = PQgetCopyData(wire->conn, &wire->message, 1)) == 0)
	{
		code = wait_for_bytes(wire, err);
		if (code)
			return code;
	}
	if (*len == -2)
		return mb_pg_fail(err, wire->conn, NULL, "lost the connection of the base backup");
	if (*len == -1)
		wire->in_copy = false;
	return MB_OK;
}

/* A typed message of version 15 and later: contents, or the beginning of a part. */
static enum mb_code
take_typed(struct mb_wire *wire, int message_len, const void **data, size_t *len,
		   struct mb_error *err)
{
	*len = 0;
	switch (wire->message[0])
	{
		case 'd':
			*data = wire->message + 1;
			*len = (size_t) message_len - 1;
			return MB_OK;
		case 'n':
			if (!memchr(wire->message + 1, '\0', (size_t) message_len - 1))
				return unexpected(wire, "an archive without a name", err);
			name_waiting(wire, wire->message + 1);
			wire->part_waits = true;
			wire->waiting_part = MB_WIRE_ARCHIVE;
			return MB_OK;
		case 'm':
			wire->part_waits = true;
			wire->waiting_part = MB_WIRE_MANIFEST;
			return MB_OK;
		case 'p':
			return MB_OK;
		default:
			return unexpected(wire, "a message of an unknown type", err);
	}
}

enum mb_code
mb_wire_read(void *ctx, const void **data, size_t *len, struct mb_error *err)
{
	struct mb_wire *wire = ctx;
	enum mb_code code = MB_OK;
	int got;

	*data = NULL;
	*len = 0;
	while (!code && *len == 0 && wire->in_copy && !wire->part_waits)
	{
		code = next_message(wire, &got, err);
		if (code || got <= 0)
			continue;
		if (wire->lists)
			code = take_typed(wire, got, data, len, err);
		else
		{
			*data = wire->message;
			*len = (size_t) got;
		}
	}
	return code;
}

enum mb_code
mb_wire_next(struct mb_wire *wire, enum mb_wire_part *part, struct mb_error *err)
{
	const void *data;
	enum mb_code code;
	size_t len;

	do
		code = mb_wire_read(wire, &data, &len, err);
	while (!code && len > 0);
	if (code)
		return code;
	if (!wire->in_copy)
		return next_copy(wire, part, err);
	wire->part_waits = false;
	memcpy(wire->oid, wire->waiting_oid, sizeof(wire->oid));
	*part = wire->waiting_part;
	return MB_OK;
}

void
mb_wire_close(struct mb_wire *wire)
{
	size_t i;

	for (i = 0; i < wire->tablespace_count; i++)
		free(wire->tablespaces[i].path);
	free(wire->tablespaces);
	PQfreemem(wire->message);
	PQfinish(wire->conn);
	memset(wire, 0, sizeof(*wire));
}
