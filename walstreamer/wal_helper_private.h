/* wal_helper_private.h - what the two ends of the helper's socket agree on. */
#ifndef MB_WALSTREAMER_WAL_HELPER_PRIVATE_H
#define MB_WALSTREAMER_WAL_HELPER_PRIVATE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "walstreamer/restore_plan.h"
#include "walstreamer/wal_helper.h"

enum mb_helper_kind
{
	MB_HELPER_WANTED, /* fetch it and say where it is */
	MB_HELPER_TAKEN,  /* it was there and is delivered: go on behind it; no answer */
	MB_HELPER_END     /* recovery is over */
};

/* One packet each way. */
struct mb_helper_question
{
	uint32_t magic;
	uint32_t kind;
	char file_name[32];
};

struct mb_helper_answer
{
	uint32_t magic;
	uint32_t code; /* enum mb_code: MB_OK, MB_NEGATIVE or why it failed */
	char path[MB_WAL_PREFETCH_PATH];
	char message[1024];
};

#define MB_HELPER_MAGIC 0x4d427731 /* changes with these structs */

/* The socket's name for the current directory; false when that can not be looked at. */
bool mb_helper_address(const struct mb_wal_request *request, struct sockaddr_un *address,
					   socklen_t *len);
/* Is the other end of our own user, or root? */
bool mb_helper_is_friend(int fd);

#endif
