/* rdb_types.c - how each opcode and type of value of an RDB is laid out, as short programs. */
#include "redis/rdb_private.h"

/*
 * The programs.  Primitives:
 *     s  a string              l  a length, any        [..]  a length n, then the body n times
 *     L  a length, not the largest
 *     d  a double as text      8 4 1  so many bytes    G  16 bytes (a stream id)
 *     m  module opcodes up to 0 (the id of the module stands before)
 *     W  the length was 2: the number says when an aux value is loaded
 * Upper-case letters do something with what was read: A keeps an aux field, D selects the
 * database, X and Y note an expiry (ms and s), F counts a function, K ends the name of a key.
 */
#define STREAM_HEAD "[ss]lll"
#define STREAM_LIMITS "lllll" /* from 7.0: first id, largest deleted id, entries added */
#define CONSUMER "[s8[G]]"
#define CONSUMER_3 "[s88[G]]" /* from 7.2: active time */
#define PEL "[G8l]"

static const char *const type_programs[] = {
	[0] = "s",       [1] = "[s]",
	[2] = "[s]",     [3] = "[sd]",
	[4] = "[ss]",    [5] = "[s8]",
	[7] = "lm",      [9] = "s",
	[10] = "s",      [11] = "s",
	[12] = "s",      [13] = "s",
	[14] = "[s]",    [15] = STREAM_HEAD "[sll" PEL CONSUMER "]",
	[16] = "s",      [17] = "s",
	[18] = "[ls]",   [19] = STREAM_HEAD STREAM_LIMITS "[slll" PEL CONSUMER "]",
	[20] = "s",      [21] = STREAM_HEAD STREAM_LIMITS "[slll" PEL CONSUMER_3 "]",
	[22] = "[lss]",  [23] = "s",
	[24] = "8[lss]", [25] = "8s",
};
#define TYPE_COUNT (sizeof(type_programs) / sizeof(type_programs[0]))

static const char *const type_names[] = {
	[0] = "string", [1] = "list",    [2] = "set",   [3] = "zset",  [4] = "hash",  [5] = "zset",
	[7] = "module", [9] = "hash",    [10] = "list", [11] = "set",  [12] = "zset", [13] = "hash",
	[14] = "list",  [15] = "stream", [16] = "hash", [17] = "zset", [18] = "list", [19] = "stream",
	[20] = "set",   [21] = "stream", [22] = "hash", [23] = "hash", [24] = "hash", [25] = "hash",
};

const char *
mb_rdb_opcode_program(unsigned op)
{
	switch (op)
	{
		case OP_SLOT_INFO:
			return "LLL";
		case OP_FUNCTION2:
			return "Fs";
		case OP_MODULE_AUX:
			return "llWlm";
		case OP_IDLE:
			return "L";
		case OP_FREQ:
			return "1";
		case OP_AUX:
			return "ssA";
		case OP_RESIZEDB:
			return "LL";
		case OP_EXPIRE_MS:
			return "8X";
		case OP_EXPIRE_S:
			return "4Y";
		case OP_SELECTDB:
			return "LD";
		default:
			return NULL;
	}
}

const char *
mb_rdb_type_program(unsigned type)
{
	return type < TYPE_COUNT ? type_programs[type] : NULL;
}

const char *
mb_rdb_type_name(unsigned type)
{
	return type < TYPE_COUNT ? type_names[type] : NULL;
}
