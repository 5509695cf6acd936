/*
 * method.h - how to read a cluster: its data directory on this host, or over the wire.
 */
#ifndef MB_POSTGRES_METHOD_H
#define MB_POSTGRES_METHOD_H

#include "postgres/private.h"

enum mb_pg_method
{
	MB_PG_DIRECT,
	MB_PG_WIRE
};

/*
 * By the key `method`.  With "auto" the data directory is read directly when it can be opened and is
 * provably the server's (the running server's postmaster.pid and system identifier stand in it),
 * else over the wire; with "direct" the same proof is demanded.  The server is connected.
 * *root_fd is the open data directory for MB_PG_DIRECT, else -1.
 */
enum mb_code mb_postgres_choose_method(struct mb_postgres *pg, enum mb_pg_method *method,
									   int *root_fd, struct mb_error *err) MB_MUST_CHECK;

#endif
