/* rdb.c - see rdb.h. */
#include "redis/rdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "redis/crc64.h"

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

/*
 * The programs.  Primitives:
 *     s  a string              l  a length             [..]  a length n, then the body n times
 *     d  a double as text      8 4 1  so many bytes    G  16 bytes (a stream id)
 *     m  a module value: its id, then module opcodes up to 0
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
	[7] = "m",       [9] = "s",
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
/* The last one that Valkey gives the same meaning. */
#define TYPE_SHARED 21

static const char *const type_names[] = {
	[0] = "string", [1] = "list",    [2] = "set",   [3] = "zset",  [4] = "hash",  [5] = "zset",
	[7] = "module", [9] = "hash",    [10] = "list", [11] = "set",  [12] = "zset", [13] = "hash",
	[14] = "list",  [15] = "stream", [16] = "hash", [17] = "zset", [18] = "list", [19] = "stream",
	[20] = "set",   [21] = "stream", [22] = "hash", [23] = "hash", [24] = "hash", [25] = "hash",
};

static const char *
opcode_program(unsigned op)
{
	switch (op)
	{
		case OP_SLOT_INFO:
			return "lll";
		case OP_FUNCTION2:
			return "Fs";
		case OP_MODULE_AUX:
			return "m";
		case OP_IDLE:
			return "l";
		case OP_FREQ:
			return "1";
		case OP_AUX:
			return "ssA";
		case OP_RESIZEDB:
			return "ll";
		case OP_EXPIRE_MS:
			return "8X";
		case OP_EXPIRE_S:
			return "4Y";
		case OP_SELECTDB:
			return "lD";
		default:
			return NULL;
	}
}

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
	bool in_module; /* the id was read, opcodes follow */
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
	uint64_t packed_plain; /* its length after decompression; 0: not compressed */
	mb_rdb_key_fn on_key;
	void *on_key_ctx;
	mb_rdb_expiry_fn on_expiry;
	void *on_expiry_ctx;
	unsigned flags;
	bool foreign;
	uint64_t crc;
};

/* The input of one feed. */
struct input
{
	const unsigned char *p;
	const unsigned char *end;
	const unsigned char *hashed; /* up to here it is part of the checksum */
};

struct mb_rdb *
mb_rdb_new(void)
{
	return mb_rdb_new_flags(0);
}

struct mb_rdb *
mb_rdb_new_flags(unsigned flags)
{
	struct mb_rdb *rdb = mb_calloc(1, sizeof(*rdb));

	rdb->flags = flags;
	return rdb;
}

void
mb_rdb_on_key(struct mb_rdb *rdb, mb_rdb_key_fn fn, void *ctx)
{
	rdb->on_key = fn;
	rdb->on_key_ctx = ctx;
}

void
mb_rdb_on_expiry(struct mb_rdb *rdb, mb_rdb_expiry_fn fn, void *ctx)
{
	rdb->on_expiry = fn;
	rdb->on_expiry_ctx = ctx;
}

void
mb_rdb_free(struct mb_rdb *rdb)
{
	if (rdb)
		free(rdb->sum.dbs);
	free(rdb);
}

const struct mb_rdb_summary *
mb_rdb_summary(const struct mb_rdb *rdb)
{
	return &rdb->sum;
}

/* -- primitives: they return false when the input ends before they are complete ------------- */

/* n <= 16 contiguous bytes, joined over feeds. */
static const unsigned char *
take(struct mb_rdb *rdb, struct input *in, size_t n)
{
	size_t have = (size_t) (in->end - in->p), more;
	const unsigned char *p = in->p;

	if (rdb->need_len == 0 && have >= n)
	{
		in->p += n;
		return p;
	}
	more = n - rdb->need_len < have ? n - rdb->need_len : have;
	if (more > 0)
		memcpy(rdb->need + rdb->need_len, in->p, more);
	rdb->need_len += more;
	in->p += more;
	if (rdb->need_len < n)
		return NULL;
	rdb->need_len = 0;
	return rdb->need;
}

/* The first byte of what comes next, without taking it. */
static bool
peek(const struct mb_rdb *rdb, const struct input *in, unsigned char *byte)
{
	if (rdb->need_len == 0 && in->p == in->end)
		return false;
	*byte = rdb->need_len > 0 ? rdb->need[0] : *in->p;
	return true;
}

static uint64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* *special is -1 for a length, else the string encoding. */
static bool
take_length(struct mb_rdb *rdb, struct input *in, uint64_t *length, int *special)
{
	const unsigned char *p;
	unsigned char first;

	if (!peek(rdb, in, &first))
		return false;
	*special = -1;
	if (first >> 6 == 1)
	{
		if (!(p = take(rdb, in, 2)))
			return false;
		*length = big_endian(p, 2) & 0x3fff;
	}
	else if (first >> 6 == 2)
	{
		/* 0x80: 32 bits, 0x81: 64 bits; others are told apart by the caller. */
		size_t n = first == 0x81 ? 8 : 4;

		if (!(p = take(rdb, in, 1 + n)))
			return false;
		*length = big_endian(p + 1, n);
		if (first > 0x81)
			*special = 256;
	}
	else
	{
		if (!take(rdb, in, 1))
			return false;
		*length = first & 0x3f;
		if (first >> 6 == 3)
			*special = (int) *length;
	}
	return true;
}

static enum mb_code
corrupt(const struct mb_rdb *rdb, const char *what, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "the RDB data is damaged at byte %llu: %s",
				   (unsigned long long) rdb->sum.bytes, what);
}

static enum mb_code
plain_length(const struct mb_rdb *rdb, int special, struct mb_error *err)
{
	return special < 0 ? MB_OK : corrupt(rdb, "a bad length", err);
}

/* Every primitive: MB_OK and *done when complete, MB_OK and !*done when the input ended. */

static enum mb_code
run_length(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	int special;

	*done = take_length(rdb, in, &rdb->length, &special);
	return *done ? plain_length(rdb, special, err) : MB_OK;
}

static void
keep_text(struct mb_rdb *rdb, const void *data, size_t len)
{
	struct mb_rdb_key *key = &rdb->key;
	size_t *at, room;

	if (rdb->in_key && rdb->packed_plain > 0)
	{
		room = sizeof(rdb->packed) - rdb->packed_len;
		memcpy(rdb->packed + rdb->packed_len, data, len < room ? len : room);
		rdb->packed_len += len < room ? len : room;
	}
	else if (rdb->in_key)
	{
		room = sizeof(key->name) - key->name_kept;
		memcpy(key->name + key->name_kept, data, len < room ? len : room);
		key->name_kept += len < room ? len : room;
		key->name_len += len;
	}
	if (!rdb->keep || rdb->strings >= 2)
		return;
	at = &rdb->text_len[rdb->strings];
	if (len > MB_RDB_TEXT - 1 - *at)
		len = MB_RDB_TEXT - 1 - *at;
	memcpy(rdb->text[rdb->strings] + *at, data, len);
	*at += len;
	rdb->text[rdb->strings][*at] = '\0';
}

static void
keep_integer(struct mb_rdb *rdb, const unsigned char *p, size_t n)
{
	char text[24];
	int64_t v = n == 1 ? (int8_t) p[0] : n == 2 ? (int16_t) mb_get_u16(p) : (int32_t) mb_get_u32(p);

	keep_text(rdb, text, (size_t) snprintf(text, sizeof(text), "%lld", (long long) v));
}

/* The header of a string: sets string_left, or *whole when the string is an integer. */
static enum mb_code
string_header(struct mb_rdb *rdb, struct input *in, bool *done, bool *whole, struct mb_error *err)
{
	const unsigned char *p;
	unsigned char first;
	uint64_t length;
	int special;

	*done = *whole = false;
	if (!peek(rdb, in, &first))
		return MB_OK;
	if (first >= 0xc0 && first <= 0xc2)
	{
		size_t n = (size_t) 1 << (first - 0xc0);

		if (!(p = take(rdb, in, 1 + n)))
			return MB_OK;
		keep_integer(rdb, p + 1, n);
		*done = *whole = true;
		return MB_OK;
	}
	if (first == 0xc3)
	{
		/* LZF: compressed length, plain length, compressed bytes. */
		if (!take(rdb, in, 1))
			return MB_OK;
		rdb->string_phase = STRING_LZF_PLAIN;
		rdb->string_left = UINT64_MAX;
		*done = true;
		return MB_OK;
	}
	if (!take_length(rdb, in, &length, &special))
		return MB_OK;
	*done = true;
	if (special >= 0 || length > MB_RDB_MAX_LENGTH)
		return corrupt(rdb, "a bad string length", err);
	rdb->string_left = length;
	rdb->string_phase = STRING_BODY;
	return MB_OK;
}

/* The next of the two lengths of an LZF string; string_left is UINT64_MAX before the first. */
static enum mb_code
lzf_lengths(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	uint64_t length;
	int special;

	*done = take_length(rdb, in, &length, &special);
	if (!*done)
		return MB_OK;
	if (special >= 0 || length > MB_RDB_MAX_LENGTH || length == 0)
		return corrupt(rdb, "a bad length of a compressed string", err);
	if (rdb->string_left == UINT64_MAX)
		rdb->string_left = length;
	else
	{
		rdb->string_phase = STRING_BODY;
		if (rdb->in_key)
			rdb->packed_plain = length;
	}
	return MB_OK;
}

static enum mb_code
run_string(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	bool ready = true, whole = false;
	enum mb_code code = MB_OK;
	uint64_t n;

	*done = false;
	if (rdb->string_phase == STRING_LENGTH)
		code = string_header(rdb, in, &ready, &whole, err);
	while (!code && ready && !whole && rdb->string_phase == STRING_LZF_PLAIN)
		code = lzf_lengths(rdb, in, &ready, err);
	if (code || !ready)
		return code;
	if (!whole)
	{
		n = (uint64_t) (in->end - in->p);
		n = n < rdb->string_left ? n : rdb->string_left;
		keep_text(rdb, in->p, (size_t) n);
		in->p += n;
		rdb->string_left -= n;
		if (rdb->string_left > 0)
			return MB_OK;
	}
	rdb->string_phase = STRING_LENGTH;
	rdb->strings++;
	*done = true;
	return MB_OK;
}

static bool
run_double(struct mb_rdb *rdb, struct input *in)
{
	/* One byte of length, then so many characters; 253 to 255 are nan and the infinities. */
	const unsigned char *p;
	uint64_t n;

	if (rdb->string_phase == STRING_LENGTH)
	{
		if (!(p = take(rdb, in, 1)))
			return false;
		rdb->string_left = *p >= 253 ? 0 : *p;
		rdb->string_phase = STRING_BODY;
	}
	n = (uint64_t) (in->end - in->p);
	n = n < rdb->string_left ? n : rdb->string_left;
	in->p += n;
	rdb->string_left -= n;
	if (rdb->string_left > 0)
		return false;
	rdb->string_phase = STRING_LENGTH;
	return true;
}

/* A module value: id, then {opcode, operand} up to opcode 0. */
static enum mb_code
run_module(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	enum
	{
		MODULE_EOF,
		MODULE_SINT,
		MODULE_UINT,
		MODULE_FLOAT,
		MODULE_DOUBLE,
		MODULE_STRING,
		MODULE_WANT_OP /* ours: no opcode read yet */
	};

	for (;;)
	{
		bool ready = false;

		if (!rdb->in_module || rdb->module_op == MODULE_WANT_OP)
		{
			if (run_length(rdb, in, &ready, err))
				return err->code;
			if (ready && rdb->in_module && rdb->length > MODULE_STRING)
				return corrupt(rdb, "an unknown module opcode", err);
			if (ready)
				rdb->module_op = rdb->in_module ? (unsigned) rdb->length : MODULE_WANT_OP;
			rdb->in_module = rdb->in_module || ready;
			if (ready && rdb->module_op == MODULE_EOF)
			{
				rdb->in_module = false;
				*done = true;
				return MB_OK;
			}
		}
		else
		{
			if (rdb->module_op == MODULE_STRING)
			{
				if (run_string(rdb, in, &ready, err))
					return err->code;
			}
			else if (rdb->module_op == MODULE_FLOAT || rdb->module_op == MODULE_DOUBLE)
				ready = take(rdb, in, rdb->module_op == MODULE_FLOAT ? 4 : 8) != NULL;
			else if (run_length(rdb, in, &ready, err))
				return err->code;
			if (ready)
				rdb->module_op = MODULE_WANT_OP;
		}
		if (!ready)
		{
			*done = false;
			return MB_OK;
		}
	}
}

/* -- programs ------------------------------------------------------------------------------- */

/* The ']' that closes the body at pc. */
static const char *
body_end(const char *pc)
{
	int open = 1;

	for (;; pc++)
	{
		open += *pc == '[' ? 1 : *pc == ']' ? -1 : 0;
		if (open == 0)
			return pc;
	}
}

/* pc stands behind the '[' or ']' that is being run. */
static enum mb_code
begin_loop(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	enum mb_code code = run_length(rdb, in, done, err);

	if (code || !*done)
		return code;
	if (rdb->length > MB_RDB_MAX_LENGTH)
		return corrupt(rdb, "a collection that is too large", err);
	if (rdb->length == 0)
	{
		rdb->pc = body_end(rdb->pc) + 1;
		return MB_OK;
	}
	MB_ASSERT(rdb->depth < MB_RDB_DEPTH);
	rdb->loops[rdb->depth].body = rdb->pc;
	rdb->loops[rdb->depth++].left = rdb->length;
	return MB_OK;
}

static void
end_loop(struct mb_rdb *rdb)
{
	struct loop *loop = &rdb->loops[rdb->depth - 1];

	if (--loop->left > 0)
		rdb->pc = loop->body;
	else
		rdb->depth--;
}

static void
keep_aux(struct mb_rdb *rdb)
{
	const char *key = rdb->text[0], *value = rdb->text[1];

	if (strcmp(key, "redis-ver") == 0 || strcmp(key, "valkey-ver") == 0)
		strcpy(rdb->sum.server, value);
	else if (strcmp(key, "repl-id") == 0)
		strcpy(rdb->sum.replid, value);
	else if (strcmp(key, "repl-stream-db") == 0)
		rdb->sum.stream_db = strtoll(value, NULL, 10);
	else if (strcmp(key, "repl-offset") == 0)
	{
		rdb->sum.has_offset = true;
		rdb->sum.offset = strtoull(value, NULL, 10);
	}
}

static enum mb_code
select_db(struct mb_rdb *rdb, struct mb_error *err)
{
	struct mb_rdb_summary *sum = &rdb->sum;

	if (sum->db_count == MB_RDB_MAX_DBS)
		return corrupt(rdb, "too many databases", err);
	sum->dbs = mb_grow(sum->dbs, &sum->db_cap, sum->db_count + 1, sizeof(*sum->dbs));
	memset(&sum->dbs[sum->db_count], 0, sizeof(*sum->dbs));
	sum->dbs[sum->db_count++].db = rdb->length;
	return MB_OK;
}

/*
 * The start of a name that was compressed (lzf_d.c of liblzf): a control byte below 32 copies so
 * many plus one bytes, another repeats some that came before.  Ends at what is damaged: the name is
 * for people.
 */
static void
unpack_name(struct mb_rdb *rdb)
{
	struct mb_rdb_key *key = &rdb->key;
	struct mb_rd in = mb_rd_init(rdb->packed, rdb->packed_len);

	while (!in.bad && mb_rd_left(&in) > 0 && key->name_kept < sizeof(key->name))
	{
		unsigned control = mb_rd_u8(&in), n = control >> 5, back, i;

		if (n == 7)
			n += mb_rd_u8(&in);
		back = control < 32 ? 0 : ((control & 31) << 8) + mb_rd_u8(&in) + 1;
		n = control < 32 ? control + 1 : n + 2;
		for (i = 0;
			 i < n && !in.bad && back <= key->name_kept && key->name_kept < sizeof(key->name); i++)
		{
			unsigned char c = back ? key->name[key->name_kept - back] : mb_rd_u8(&in);

			if (!in.bad)
				key->name[key->name_kept++] = c;
		}
		if (back > key->name_kept)
			break;
	}
	key->name_len = (size_t) rdb->packed_plain;
	rdb->packed_len = 0;
	rdb->packed_plain = 0;
}

static enum mb_code
run_primitive(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	const unsigned char *p;

	*done = true;
	switch (rdb->pc[-1])
	{
		case 's':
			return run_string(rdb, in, done, err);
		case 'l':
			return run_length(rdb, in, done, err);
		case 'd':
			*done = run_double(rdb, in);
			return MB_OK;
		case '1':
			*done = take(rdb, in, 1) != NULL;
			return MB_OK;
		case '4':
			*done = (p = take(rdb, in, 4)) != NULL;
			rdb->fixed = *done ? mb_get_u32(p) : 0;
			return MB_OK;
		case '8':
			*done = (p = take(rdb, in, 8)) != NULL;
			rdb->fixed = *done ? mb_get_u64(p) : 0;
			return MB_OK;
		case 'G':
			*done = take(rdb, in, 16) != NULL;
			return MB_OK;
		case 'm':
			return run_module(rdb, in, done, err);
		case '[':
			return begin_loop(rdb, in, done, err);
		case ']':
			end_loop(rdb);
			return MB_OK;
		case 'A':
			keep_aux(rdb);
			return MB_OK;
		case 'D':
			return select_db(rdb, err);
		case 'X':
		case 'Y':
			rdb->key.expires = true;
			rdb->key.expiry_ms =
				rdb->pc[-1] == 'X' ? (int64_t) rdb->fixed : (int64_t) (int32_t) rdb->fixed * 1000;
			if (rdb->on_expiry)
				rdb->on_expiry(rdb->on_expiry_ctx,
							   &(struct mb_rdb_expiry){rdb->sum.bytes, rdb->pc[-1] == 'X' ? 8 : 4});
			return MB_OK;
		case 'K':
			rdb->in_key = false;
			if (rdb->packed_plain > 0)
				unpack_name(rdb);
			return MB_OK;
		case 'F':
			rdb->sum.functions++;
			return MB_OK;
		default:
			MB_BUG("bad RDB program \"%s\"", rdb->pc);
	}
}

/* -- the walk ------------------------------------------------------------------------------- */

static enum mb_code
check_magic(struct mb_rdb *rdb, const unsigned char *p, struct mb_error *err)
{
	bool valkey = memcmp(p, "VALKEY", 6) == 0;
	unsigned i;

	if (!valkey && memcmp(p, "REDIS", 5) != 0)
		return corrupt(rdb, "it does not start with \"REDIS\"", err);
	memcpy(rdb->sum.magic, p, 9);
	for (i = valkey ? 6 : 5; i < 9; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return corrupt(rdb, "its version is not a number", err);
		rdb->sum.version = rdb->sum.version * 10 + (unsigned) (p[i] - '0');
	}
	rdb->foreign = valkey || rdb->sum.version > 12;
	if (rdb->sum.version >= 5 && (!rdb->foreign || rdb->flags & MB_RDB_FOREIGN))
		return MB_OK;
	return mb_fail(err, MB_UNSUPPORTED,
				   "RDB format \"%s\" is not supported (known: REDIS0005 to "
				   "REDIS0012)",
				   rdb->sum.magic);
}

/* The value has passed by. */
static void
end_key(struct mb_rdb *rdb)
{
	struct mb_rdb_db *db = &rdb->sum.dbs[rdb->sum.db_count - 1];

	db->keys++;
	db->expires += rdb->key.expires;
	rdb->sum.keys++;
	rdb->key.db = db->db;
	rdb->key.bytes = rdb->sum.bytes - rdb->value_at;
	if (rdb->on_key)
		rdb->on_key(rdb->on_key_ctx, &rdb->key);
	rdb->key = (struct mb_rdb_key){0};
	rdb->in_value = false;
}

/* Does this byte mean the same in the formats that are foreign? */
static bool
is_shared(unsigned op)
{
	return op >= OP_FUNCTION2 || op <= TYPE_SHARED;
}

/* Choose the program that follows the byte op: that of an opcode, or key and value. */
static enum mb_code
begin_op(struct mb_rdb *rdb, unsigned op, struct mb_error *err)
{
	rdb->keep = op == OP_AUX;
	rdb->strings = 0;
	rdb->text_len[0] = rdb->text_len[1] = 0;
	rdb->text[0][0] = rdb->text[1][0] = '\0';
	rdb->phase = op == OP_EOF ? PHASE_FOOTER : PHASE_RUN;
	rdb->pc = op == OP_EOF ? "" : opcode_program(op);
	if (rdb->foreign && !is_shared(op))
		return mb_fail(err, MB_UNSUPPORTED, "opcode %u of RDB format \"%s\" is not known", op,
					   rdb->sum.magic);
	if (rdb->pc)
		return MB_OK;
	if (op == OP_FUNCTION_PRE_GA)
		return mb_fail(err, MB_UNSUPPORTED,
					   "the RDB data has functions as a Redis 7.0 release candidate wrote them");
	if (op == 6)
		return mb_fail(err, MB_UNSUPPORTED,
					   "the RDB data has a module value of the old encoding, which cannot be "
					   "skipped");
	if (op >= TYPE_COUNT || !type_programs[op])
		return corrupt(rdb, "an unknown type of value", err);
	if (rdb->sum.db_count == 0)
		return corrupt(rdb, "a key before the first database", err);
	rdb->key.type = type_names[op];
	rdb->in_key = true;
	rdb->pc = "sK";
	rdb->value = type_programs[op];
	return MB_OK;
}

static enum mb_code
compare_checksum(const struct mb_rdb *rdb, uint64_t stored, struct mb_error *err)
{
	if (stored == 0 || stored == rdb->crc)
		return MB_OK;
	return mb_fail(err, MB_CORRUPT,
				   "the RDB data does not match its checksum (is %016llx, should be %016llx)",
				   (unsigned long long) rdb->crc, (unsigned long long) stored);
}

static enum mb_code
check_footer(struct mb_rdb *rdb, const unsigned char *p, struct mb_error *err)
{
	rdb->phase = PHASE_END;
	rdb->sum.has_checksum = mb_get_u64(p) != 0;
	return compare_checksum(rdb, mb_get_u64(p), err);
}

/* The checksum covers everything before the footer. */
static void
hash_input(struct mb_rdb *rdb, struct input *in)
{
	rdb->crc = mb_crc64(rdb->crc, in->hashed, (size_t) (in->p - in->hashed));
	in->hashed = in->p;
}

/* The next primitive of the program, or its end. */
static enum mb_code
step_program(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	const char *at = rdb->pc;
	enum mb_code code;

	if (*at == '\0')
	{
		if (rdb->in_value)
			end_key(rdb);
		rdb->pc = rdb->value;
		rdb->value = NULL;
		rdb->in_value = rdb->pc != NULL;
		rdb->value_at = rdb->sum.bytes;
		if (!rdb->pc)
			rdb->phase = PHASE_OP;
		*done = true;
		return MB_OK;
	}
	rdb->pc++;
	code = run_primitive(rdb, in, done, err);
	if (!*done)
		rdb->pc = at;
	return code;
}

/* All that is left, but for the last 8 bytes: they are the footer if nothing follows. */
static void
take_opaque(struct mb_rdb *rdb, struct input *in)
{
	size_t have = (size_t) (in->end - in->p), total = rdb->need_len + have, hash, held;

	if (total > 8)
	{
		hash = total - 8;
		held = hash < rdb->need_len ? hash : rdb->need_len;
		rdb->crc = mb_crc64(rdb->crc, rdb->need, held);
		memmove(rdb->need, rdb->need + held, rdb->need_len - held);
		rdb->need_len -= held;
		rdb->crc = mb_crc64(rdb->crc, in->p, hash - held);
		in->p += hash - held;
	}
	memcpy(rdb->need + rdb->need_len, in->p, (size_t) (in->end - in->p));
	rdb->need_len += (size_t) (in->end - in->p);
	rdb->sum.has_checksum = rdb->need_len == 8 && mb_get_u64(rdb->need) != 0;
	in->p = in->hashed = in->end;
}

/* A foreign file says something that is not known, or does not add up as we read it. */
static bool
turn_opaque(struct mb_rdb *rdb, struct input *in, enum mb_code code)
{
	if (!rdb->foreign || !(rdb->flags & MB_RDB_FOREIGN) || rdb->phase >= PHASE_FOOTER ||
		(code != MB_CORRUPT && code != MB_UNSUPPORTED))
		return false;
	hash_input(rdb, in);
	rdb->sum.opaque = true;
	rdb->phase = PHASE_OPAQUE;
	rdb->need_len = 0;
	return true;
}

/* One step; *done is false when the input ended. */
static enum mb_code
step(struct mb_rdb *rdb, struct input *in, bool *done, struct mb_error *err)
{
	const unsigned char *p;

	if (rdb->phase == PHASE_RUN)
		return step_program(rdb, in, done, err);
	*done = false;
	if (rdb->phase == PHASE_OPAQUE)
	{
		take_opaque(rdb, in);
		return MB_OK;
	}
	if (rdb->phase == PHASE_END)
		return in->p < in->end ? corrupt(rdb, "bytes behind its end", err) : MB_OK;
	p = take(rdb, in, rdb->phase == PHASE_MAGIC ? 9 : rdb->phase == PHASE_OP ? 1 : 8);
	if (!p)
		return MB_OK;
	*done = true;
	if (rdb->phase == PHASE_FOOTER)
		return check_footer(rdb, p, err);
	if (rdb->phase == PHASE_MAGIC)
	{
		rdb->phase = PHASE_OP;
		return check_magic(rdb, p, err);
	}
	if (*p == OP_EOF)
		hash_input(rdb, in);
	return begin_op(rdb, *p, err);
}

enum mb_code
mb_rdb_feed(struct mb_rdb *rdb, const void *data, size_t len, struct mb_error *err)
{
	const unsigned char *start = data;
	struct input in = {.p = start, .end = start + len, .hashed = start};
	uint64_t before = rdb->sum.bytes;
	enum mb_code code;
	bool done = true;

	do
	{
		code = step(rdb, &in, &done, err);
		if (code && turn_opaque(rdb, &in, code))
		{
			code = MB_OK;
			done = true;
		}
		rdb->sum.bytes = before + (uint64_t) (in.p - start);
	} while (!code && done);
	if (!code && rdb->phase < PHASE_FOOTER)
		hash_input(rdb, &in);
	return code;
}

enum mb_code
mb_rdb_finish(const struct mb_rdb *rdb, struct mb_error *err)
{
	if (rdb->phase == PHASE_OPAQUE && rdb->need_len == 8)
		return compare_checksum(rdb, mb_get_u64(rdb->need), err);
	return rdb->phase == PHASE_END ? MB_OK : corrupt(rdb, "it ends too early", err);
}
