/* rdb_write.c - see rdb_write.h. */
#include "redis/rdb_write.h"

#include <stdio.h>
#include <string.h>

#include "redis/crc64.h"

#define FOOTER_BYTES 10
#define BUFFER_BYTES (64u << 10)
#define PIECE_BYTES (1u << 20)

/* Opcodes (rdb.h of Redis). */
enum
{
	OP_AUX = 250,
	OP_EXPIRE_MS = 252,
	OP_SELECTDB = 254,
	OP_EOF = 255
};

void
mb_rdb_writer_init(struct mb_rdb_writer *writer, mb_payload_fn fn, void *ctx)
{
	*writer = (struct mb_rdb_writer){.fn = fn, .ctx = ctx};
}

void
mb_rdb_writer_release(struct mb_rdb_writer *writer)
{
	mb_buf_release(&writer->buf);
	*writer = (struct mb_rdb_writer){0};
}

/* -- bytes ---------------------------------------------------------------------------------- */

static enum mb_code
hand_on(struct mb_rdb_writer *writer, const unsigned char *data, size_t len, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	while (!code && len > 0)
	{
		size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;

		writer->crc = mb_crc64(writer->crc, data, n);
		code = writer->fn(writer->ctx, data, n, err);
		data += n;
		len -= n;
	}
	return code;
}

static enum mb_code
flush(struct mb_rdb_writer *writer, struct mb_error *err)
{
	enum mb_code code = hand_on(writer, writer->buf.data, writer->buf.len, err);

	mb_buf_reset(&writer->buf);
	return code;
}

static enum mb_code
put(struct mb_rdb_writer *writer, const void *data, size_t len, struct mb_error *err)
{
	if (writer->buf.len + len <= BUFFER_BYTES)
	{
		mb_buf_put(&writer->buf, data, len);
		return MB_OK;
	}
	if (flush(writer, err))
		return err->code;
	if (len > BUFFER_BYTES / 2)
		return hand_on(writer, data, len, err);
	mb_buf_put(&writer->buf, data, len);
	return MB_OK;
}

static void
put_big_endian(unsigned char *out, uint64_t v, size_t n)
{
	while (n-- > 0)
	{
		out[n] = (unsigned char) v;
		v >>= 8;
	}
}

static enum mb_code
put_length(struct mb_rdb_writer *writer, uint64_t len, struct mb_error *err)
{
	unsigned char bytes[9];
	size_t n;

	if (len < 64)
	{
		bytes[0] = (unsigned char) len;
		n = 1;
	}
	else if (len < 16384)
	{
		put_big_endian(bytes, 0x4000 | len, 2);
		n = 2;
	}
	else
	{
		n = len <= UINT32_MAX ? 5 : 9;
		bytes[0] = n == 5 ? 0x80 : 0x81;
		put_big_endian(bytes + 1, len, n - 1);
	}
	return put(writer, bytes, n, err);
}

static enum mb_code
put_string(struct mb_rdb_writer *writer, const void *data, size_t len, struct mb_error *err)
{
	enum mb_code code = put_length(writer, len, err);

	return code ? code : put(writer, data, len, err);
}

static enum mb_code
put_byte(struct mb_rdb_writer *writer, unsigned char byte, struct mb_error *err)
{
	return put(writer, &byte, 1, err);
}

/* -- payloads ------------------------------------------------------------------------------- */

enum mb_code
mb_rdb_payload_check(const void *payload, size_t len, unsigned *version, struct mb_error *err)
{
	const unsigned char *p = payload;

	if (len < FOOTER_BYTES)
		return mb_fail(err, MB_CORRUPT, "Redis gave a payload of %zu bytes, which is too short",
					   len);
	if (mb_crc64(0, p, len - 8) != mb_get_u64(p + len - 8))
		return mb_fail(err, MB_CORRUPT, "Redis gave a payload that does not match its checksum");
	*version = mb_get_u16(p + len - FOOTER_BYTES);
	return MB_OK;
}

static enum mb_code
check_payload(const struct mb_rdb_writer *writer, const void *payload, size_t len,
			  struct mb_error *err)
{
	unsigned version;

	MB_ASSERT(writer->version > 0);
	if (mb_rdb_payload_check(payload, len, &version, err))
		return err->code;
	if (version == writer->version)
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "Redis changed its format from %u to %u in the middle",
			writer->version, version);
	return mb_error_hint(err, "The server was replaced by one of another version: take the backup "
							  "again.");
}

/* -- the file ------------------------------------------------------------------------------- */

enum mb_code
mb_rdb_write_begin(struct mb_rdb_writer *writer, enum mb_rdb_magic magic, unsigned version,
				   struct mb_error *err)
{
	char text[16];

	if (version < 1 || version > 9999 || (magic == MB_RDB_VALKEY && version > 999))
		return mb_fail(err, MB_UNSUPPORTED, "format %u of Redis is not known", version);
	if (magic == MB_RDB_VALKEY)
		snprintf(text, sizeof(text), "VALKEY%03u", version);
	else
		snprintf(text, sizeof(text), "REDIS%04u", version);
	writer->version = version;
	return put(writer, text, strlen(text), err);
}

enum mb_code
mb_rdb_write_aux(struct mb_rdb_writer *writer, const char *key, const char *value,
				 struct mb_error *err)
{
	enum mb_code code = put_byte(writer, OP_AUX, err);

	if (!code)
		code = put_string(writer, key, strlen(key), err);
	return code ? code : put_string(writer, value, strlen(value), err);
}

enum mb_code
mb_rdb_write_functions(struct mb_rdb_writer *writer, const void *payload, size_t len,
					   struct mb_error *err)
{
	/* Each library stands in it as in a file: opcode and string. */
	enum mb_code code = check_payload(writer, payload, len, err);

	return code ? code : put(writer, payload, len - FOOTER_BYTES, err);
}

enum mb_code
mb_rdb_write_select(struct mb_rdb_writer *writer, uint64_t db, struct mb_error *err)
{
	enum mb_code code = put_byte(writer, OP_SELECTDB, err);

	return code ? code : put_length(writer, db, err);
}

enum mb_code
mb_rdb_write_key(struct mb_rdb_writer *writer, const void *name, size_t name_len, int64_t expiry_ms,
				 const void *payload, size_t len, struct mb_error *err)
{
	unsigned char expiry[9] = {OP_EXPIRE_MS};
	const unsigned char *value = payload;
	enum mb_code code = check_payload(writer, payload, len, err);
	size_t i;

	if (!code && len <= FOOTER_BYTES)
		code = mb_fail(err, MB_CORRUPT, "Redis gave a payload without a value");
	for (i = 0; i < 8; i++)
		expiry[1 + i] = (unsigned char) ((uint64_t) expiry_ms >> (8 * i));
	if (!code && expiry_ms != MB_RDB_NO_EXPIRY)
		code = put(writer, expiry, sizeof(expiry), err);
	if (!code)
		code = put_byte(writer, value[0], err);
	if (!code)
		code = put_string(writer, name, name_len, err);
	return code ? code : put(writer, value + 1, len - 1 - FOOTER_BYTES, err);
}

enum mb_code
mb_rdb_write_end(struct mb_rdb_writer *writer, struct mb_error *err)
{
	unsigned char footer[8];
	uint64_t crc;
	size_t i;

	if (put_byte(writer, OP_EOF, err) || flush(writer, err))
		return err->code;
	crc = writer->crc;
	for (i = 0; i < 8; i++)
		footer[i] = (unsigned char) (crc >> (8 * i));
	return writer->fn(writer->ctx, footer, sizeof(footer), err);
}
