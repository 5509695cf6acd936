/*
 * rdb_private.h - what the files of the RDB walker share:
 * rdb.c (the walk and its programs), rdb_types.c (the programs of opcodes and types),
 * rdb_value.c (the primitives that take bytes) and rdb_lzf.c (what is compressed).
 */
#ifndef MB_REDIS_RDB_PRIVATE_H
#define MB_REDIS_RDB_PRIVATE_H

#include "core/base/mem.h"
#include "redis/rdb.h"

/* Opcodes (rdb.h of Redis).  Smaller numbers are value types. */
enum
{
	OP_SLOT_INFO = 244,
	OP_FUNCTION2 = 245,
	OP_FUNCTION_PRE_GA = 246,
	OP_MODULE_AUX = 247,
	OP_IDLE = 248,
	OP_FREQ = 249,
	OP_AUX = 250,
	OP_RESIZEDB = 251,
	OP_EXPIRE_MS = 252,
	OP_EXPIRE_S = 253,
	OP_SELECTDB = 254,
	OP_EOF = 255
};

enum phase
{
	PHASE_MAGIC,
	PHASE_OP,
	PHASE_RUN,
	PHASE_FOOTER,
	PHASE_END,
	PHASE_OPAQUE /* need holds the last bytes, at most 8: the footer if nothing follows */
};

/* Where inside a string we are. */
enum string_phase
{
	STRING_LENGTH,
	STRING_LZF_PLAIN, /* the length after decompression */
	STRING_BODY
};

/* What the next byte of a compressed string is (lzf_d.c of liblzf). */
enum lzf_phase
{
	LZF_CONTROL,
	LZF_LITERAL, /* below 32, plus one: so many bytes follow as they are */
	LZF_LENGTH,  /* of a repeat longer than 8 */
	LZF_OFFSET   /* how far back the repeat begins, its lower 8 bits */
};

/* Decompression without the bytes: does it come out at the length that was announced? */
struct lzf
{
	enum lzf_phase phase;
	unsigned run;
	unsigned back;
	uint64_t made;
	uint64_t plain;
};

struct loop
{
	const char *body; /* behind its '[' */
	uint64_t left;
};

struct mb_rdb
{
	struct mb_rdb_summary sum;
	enum phase phase;
	const char *pc;    /* next primitive */
	const char *value; /* the program to run after this one, or NULL */
	struct loop loops[MB_RDB_DEPTH];
	size_t depth;

	unsigned char need[16]; /* a primitive that is not complete */
	size_t need_len;

	enum string_phase string_phase;
	uint64_t string_left;
	bool is_lzf;
	struct lzf lzf;
	bool in_module; /* between its opcodes */
	unsigned module_op;

	bool keep; /* strings go into text[] */
	unsigned strings;
	char text[2][MB_RDB_TEXT];
	size_t text_len[2];
	uint64_t length; /* the last 'l' */
	uint64_t fixed;  /* the last '4' or '8' */
	bool in_key;     /* a string goes into key.name */
	bool in_value;
	uint64_t value_at; /* where the value began */
	struct mb_rdb_key key;
	/* A compressed name: enough of it for what key.name holds (LZF adds 1 byte to 32 at worst). */
	unsigned char packed[MB_RDB_KEY + MB_RDB_KEY / 32 + 2];
	size_t packed_len;
	uint64_t packed_plain;    /* its length after decompression; 0: not compressed */
	struct mb_buf name_bytes; /* MB_RDB_NAMES: the name as it came */
	struct mb_buf name_plain; /* ... and decompressed */
	mb_rdb_key_fn on_key;
	void *on_key_ctx;
	mb_rdb_expiry_fn on_expiry;
	void *on_expiry_ctx;
	unsigned flags;
	bool foreign;
	uint64_t crc;
};

/* The input of one feed. */
struct mb_rdb_input
{
	const unsigned char *p;
	const unsigned char *end;
	const unsigned char *hashed; /* up to here it is part of the checksum */
};

/* -- rdb_types.c ----------------------------------------------------------------------------- */

/* The last type that Valkey gives the same meaning. */
#define MB_RDB_TYPE_SHARED 21

/* NULL: no such opcode, no such type. */
const char *mb_rdb_opcode_program(unsigned op);
const char *mb_rdb_type_program(unsigned type);
const char *mb_rdb_type_name(unsigned type);

/* -- rdb_value.c ----------------------------------------------------------------------------- */

/* n <= 16 contiguous bytes, joined over feeds; NULL when the input ended. */
const unsigned char *mb_rdb_take(struct mb_rdb *rdb, struct mb_rdb_input *in, size_t n);
/* MB_CORRUPT at the present byte. */
enum mb_code mb_rdb_corrupt(const struct mb_rdb *rdb, const char *what, struct mb_error *err);
/* MB_OK and *done when complete, MB_OK and !*done when the input ended. */
enum mb_code mb_rdb_run_length(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done,
							   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_rdb_run_string(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done,
							   struct mb_error *err) MB_MUST_CHECK;
bool mb_rdb_run_double(struct mb_rdb *rdb, struct mb_rdb_input *in);
enum mb_code mb_rdb_run_module(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done,
							   struct mb_error *err) MB_MUST_CHECK;

/* -- rdb_lzf.c ------------------------------------------------------------------------------- */

/*
 * The next bytes of a compressed string; false when no decompression can come of it.  *at is behind
 * the last byte that was looked at, which is the same however the input is cut.
 */
bool mb_rdb_follow_lzf(struct lzf *lzf, const unsigned char **at, const unsigned char *end);
/* The name of a key has passed by. */
void mb_rdb_end_name(struct mb_rdb *rdb);

#endif
