/* load_private.h - what load.c and load_roles.c share. */
#ifndef MB_POSTGRES_LOAD_PRIVATE_H
#define MB_POSTGRES_LOAD_PRIVATE_H

#include "postgres/load.h"
#include "postgres/restore_private.h"

struct mb_pg_load
{
	struct mb_postgres *pg;
	struct mb_pg_params params;
	unsigned flags;
	PGconn *conn; /* to a database that is not loaded */
	char *bindir;
	char *place;
	/* of the database under way */
	char *database; /* NULL: none */
	char *aside;    /* what the old one is called now */
	bool is_made;
	struct mb_pg_pipe pipe;
};

#endif
