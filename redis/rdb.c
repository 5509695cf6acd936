/* rdb.c - see rdb.h: the walk. */
#include "redis/rdb.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "redis/crc64.h"
#include "redis/rdb_private.h"

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
	if (!rdb)
		return;
	free(rdb->sum.dbs);
	mb_buf_release(&rdb->name_bytes);
	mb_buf_release(&rdb->name_plain);
	free(rdb);
}

const struct mb_rdb_summary *
mb_rdb_summary(const struct mb_rdb *rdb)
{
	return &rdb->sum;
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
begin_loop(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	enum mb_code code = mb_rdb_run_length(rdb, in, done, err);

	if (code || !*done)
		return code;
	if (rdb->length > MB_RDB_MAX_LENGTH)
		return mb_rdb_corrupt(rdb, "a collection that is too large", err);
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
		return mb_rdb_corrupt(rdb, "too many databases", err);
	sum->dbs = mb_grow(sum->dbs, &sum->db_cap, sum->db_count + 1, sizeof(*sum->dbs));
	memset(&sum->dbs[sum->db_count], 0, sizeof(*sum->dbs));
	sum->dbs[sum->db_count++].db = rdb->length;
	return MB_OK;
}

/* Milliseconds in 8 bytes ('X') or seconds in 4 ('Y'), read just now. */
static void
take_expiry(struct mb_rdb *rdb, char primitive)
{
	struct mb_rdb_expiry expiry = {rdb->sum.bytes, primitive == 'X' ? 8 : 4};

	rdb->key.expires = true;
	rdb->key.expiry_ms =
		primitive == 'X' ? (int64_t) rdb->fixed : (int64_t) (int32_t) rdb->fixed * 1000;
	if (rdb->on_expiry)
		rdb->on_expiry(rdb->on_expiry_ctx, &expiry);
}

/* So many bytes that are taken whole; those of 4 and 8 are a number. */
static bool
take_fixed(struct mb_rdb *rdb, struct mb_rdb_input *in, size_t bytes)
{
	const unsigned char *p = mb_rdb_take(rdb, in, bytes);

	if (bytes == 4)
		rdb->fixed = p ? mb_get_u32(p) : 0;
	else if (bytes == 8)
		rdb->fixed = p ? mb_get_u64(p) : 0;
	return p != NULL;
}

static enum mb_code
run_primitive(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
{
	*done = true;
	switch (rdb->pc[-1])
	{
		case 's':
			return mb_rdb_run_string(rdb, in, done, err);
		case 'l':
			return mb_rdb_run_length(rdb, in, done, err);
		case 'L':
			if (mb_rdb_run_length(rdb, in, done, err))
				return err->code;
			/* How the loader says that it could read none. */
			return *done && rdb->length == UINT64_MAX ? mb_rdb_corrupt(rdb, "a bad length", err)
													  : MB_OK;
		case 'd':
			*done = mb_rdb_run_double(rdb, in);
			return MB_OK;
		case '1':
		case '4':
		case '8':
			*done = take_fixed(rdb, in, (size_t) (rdb->pc[-1] - '0'));
			return MB_OK;
		case 'G':
			*done = take_fixed(rdb, in, 16);
			return MB_OK;
		case 'm':
			return mb_rdb_run_module(rdb, in, done, err);
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
			take_expiry(rdb, rdb->pc[-1]);
			return MB_OK;
		case 'K':
			mb_rdb_end_name(rdb);
			return MB_OK;
		case 'W':
			return rdb->length == 2 ? MB_OK : mb_rdb_corrupt(rdb, "a bad aux value", err);
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
		return mb_rdb_corrupt(rdb, "it does not start with \"REDIS\"", err);
	memcpy(rdb->sum.magic, p, 9);
	for (i = valkey ? 6 : 5; i < 9; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return mb_rdb_corrupt(rdb, "its version is not a number", err);
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
	return op >= OP_FUNCTION2 || op <= MB_RDB_TYPE_SHARED;
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
	rdb->pc = op == OP_EOF ? "" : mb_rdb_opcode_program(op);
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
	if (!mb_rdb_type_program(op))
		return mb_rdb_corrupt(rdb, "an unknown type of value", err);
	/* A loader begins in database 0. */
	rdb->length = 0;
	if (rdb->sum.db_count == 0 && select_db(rdb, err))
		return err->code;
	rdb->key.type = mb_rdb_type_name(op);
	rdb->in_key = true;
	mb_buf_reset(&rdb->name_bytes);
	rdb->pc = "sK";
	rdb->value = mb_rdb_type_program(op);
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
hash_input(struct mb_rdb *rdb, struct mb_rdb_input *in)
{
	rdb->crc = mb_crc64(rdb->crc, in->hashed, (size_t) (in->p - in->hashed));
	in->hashed = in->p;
}

/* The next primitive of the program, or its end. */
static enum mb_code
step_program(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
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
take_opaque(struct mb_rdb *rdb, struct mb_rdb_input *in)
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
turn_opaque(struct mb_rdb *rdb, struct mb_rdb_input *in, enum mb_code code)
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
step(struct mb_rdb *rdb, struct mb_rdb_input *in, bool *done, struct mb_error *err)
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
		return in->p < in->end ? mb_rdb_corrupt(rdb, "bytes behind its end", err) : MB_OK;
	p = mb_rdb_take(rdb, in, rdb->phase == PHASE_MAGIC ? 9 : rdb->phase == PHASE_OP ? 1 : 8);
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
	struct mb_rdb_input in = {.p = start, .end = start + len, .hashed = start};
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
	return rdb->phase == PHASE_END ? MB_OK : mb_rdb_corrupt(rdb, "it ends too early", err);
}
