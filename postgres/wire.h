/*
 * wire.h - the replication command BASE_BACKUP: archives as the server sends them.
 *
 * Follows "Streaming Replication Protocol" of the PostgreSQL manual.  The two dialects (until 14 a
 * COPY for each archive, from 15 one COPY with typed messages) look the same from here:
 *
 *     open -> (next -> read until its end)... -> next says MB_WIRE_END -> close
 *
 * Archives are tar, perhaps compressed; mb_wire_read is a source for core/base/tar.h.  One thread.
 */
#ifndef MB_POSTGRES_WIRE_H
#define MB_POSTGRES_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/pool.h"
#include "postgres/connection.h"

struct mb_wire_options
{
	const struct mb_pg_params *params;
	const char *label;
	/* "none", "lz4", "zstd" or "zstd:LEVEL": done by the server, from version 15 on. */
	const char *compression;
	const struct mb_cancel *cancel;
};

struct mb_wire_tablespace
{
	char oid[16]; /* "" for the data directory itself */
	char *path;
	uint64_t bytes; /* as the server estimates them */
};

enum mb_wire_part
{
	MB_WIRE_ARCHIVE,
	MB_WIRE_MANIFEST, /* the text of backup_manifest */
	MB_WIRE_END
};

struct mb_wire
{
	const struct mb_cancel *cancel;
	PGconn *conn;
	int version;
	bool lists; /* the dialect of 15 and later */
	uint64_t start_lsn;
	uint64_t end_lsn; /* from MB_WIRE_END on */
	uint32_t timeline;
	struct mb_wire_tablespace *tablespaces; /* in the order of the archives until 14 */
	size_t tablespace_count;
	uint64_t total_bytes;

	/* the part that is being read */
	char oid[16]; /* of its tablespace, "" for the data directory */
	/* private */
	size_t archives_seen;
	bool in_copy;
	bool part_waits; /* a message that begins the next part was read */
	enum mb_wire_part waiting_part;
	char waiting_oid[16];
	char *message; /* from libpq */
};

/*
 * Connect and start the backup (with a fast checkpoint); waits until the server begins to send.
 * MB_DENIED without the REPLICATION attribute, MB_UNSUPPORTED when the server cannot compress so.
 */
enum mb_code mb_wire_open(struct mb_wire *wire, const struct mb_wire_options *options,
						  struct mb_error *err) MB_MUST_CHECK;
/* The next part; what was not read of the one before is skipped. */
enum mb_code mb_wire_next(struct mb_wire *wire, enum mb_wire_part *part,
						  struct mb_error *err) MB_MUST_CHECK;
/* Bytes of the part (an mb_tar_source): borrowed until the next call; *len 0 at its end. */
enum mb_code mb_wire_read(void *wire, const void **data, size_t *len,
						  struct mb_error *err) MB_MUST_CHECK;
void mb_wire_close(struct mb_wire *wire); /* all zero is fine */

#endif
