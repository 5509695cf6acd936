/*
 * wire_manifest.c - see wire_manifest.h.
 *
 * The manifest is one JSON document, but the server writes it with one file on each line: lines are
 * parsed by themselves, so that a million files need no document tree of a gigabyte.
 */
#include "postgres/wire_manifest.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/mem.h"

#define LINE_MAX_BYTES 65536u

struct note
{
	uint64_t path_hash;
	uint64_t size;
	uint32_t crc32c;
	bool changed;
	bool seen;
};

struct mb_wire_manifest
{
	pthread_mutex_t lock;
	struct note *notes;
	size_t count;
	size_t cap;
	size_t listed; /* by the server */
};

struct mb_wire_manifest *
mb_wire_manifest_new(void)
{
	struct mb_wire_manifest *manifest = mb_calloc(1, sizeof(*manifest));

	pthread_mutex_init(&manifest->lock, NULL);
	return manifest;
}

void
mb_wire_manifest_free(struct mb_wire_manifest *manifest)
{
	if (!manifest)
		return;
	pthread_mutex_destroy(&manifest->lock);
	free(manifest->notes);
	free(manifest);
}

static void
add_note(struct mb_wire_manifest *manifest, const char *path, struct note note)
{
	note.path_hash = mb_xxh64_seed(path, strlen(path), 0);
	pthread_mutex_lock(&manifest->lock);
	manifest->notes =
		mb_grow(manifest->notes, &manifest->cap, manifest->count + 1, sizeof(*manifest->notes));
	manifest->notes[manifest->count++] = note;
	pthread_mutex_unlock(&manifest->lock);
}

void
mb_wire_manifest_note(struct mb_wire_manifest *manifest, const char *path, uint64_t size,
					  uint32_t crc32c)
{
	add_note(manifest, path, (struct note){.size = size, .crc32c = crc32c});
}

void
mb_wire_manifest_note_changed(struct mb_wire_manifest *manifest, const char *path)
{
	add_note(manifest, path, (struct note){.changed = true});
}

/* -- comparing ---------------------------------------------------------------------------------------- */

static int
compare_notes(const void *a, const void *b)
{
	const struct note *x = a, *y = b;

	return (x->path_hash > y->path_hash) - (x->path_hash < y->path_hash);
}

/* The bytes of the CRC in memory order, as hexadecimal digits. */
static bool
parse_crc(const char *text, uint32_t *crc)
{
	unsigned bytes[4];

	if (strlen(text) != 8 ||
		sscanf(text, "%2x%2x%2x%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3]) != 4)
		return false;
	*crc = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24;
	return true;
}

/* "Path", or "Encoded-Path" in hexadecimal for a name that is not UTF-8; free() it. */
static char *
path_of(const json_t *file)
{
	const char *encoded = mb_json_str(file, "Encoded-Path", NULL);
	char *path;
	size_t i, len;
	unsigned byte;

	if (!encoded)
		return mb_strdup(mb_json_str(file, "Path", ""));
	len = strlen(encoded) / 2;
	path = mb_calloc(1, len + 1);
	for (i = 0; i < len && sscanf(encoded + 2 * i, "%2x", &byte) == 1; i++)
		path[i] = (char) byte;
	return path;
}

static enum mb_code
compare_file(struct mb_wire_manifest *manifest, const json_t *file, struct mb_error *err)
{
	const char *algorithm = mb_json_str(file, "Checksum-Algorithm", "");
	char *path = path_of(file);
	struct note key = {.path_hash = mb_xxh64_seed(path, strlen(path), 0)}, *note;
	uint32_t crc = 0;
	enum mb_code code = MB_OK;

	note = manifest->count == 0 ? NULL
								: bsearch(&key, manifest->notes, manifest->count,
										  sizeof(*manifest->notes), compare_notes);
	if (!note)
		code = mb_fail(err, MB_CORRUPT,
					   "the server's manifest lists \"%s\", which the stream did not hold", path);
	else if (strcmp(algorithm, "CRC32C") != 0 ||
			 !parse_crc(mb_json_str(file, "Checksum", ""), &crc))
		code = mb_fail(err, MB_CORRUPT, "the server's manifest has no checksum of \"%s\"", path);
	else if (!note->changed &&
			 ((uint64_t) mb_json_int(file, "Size", -1) != note->size || note->crc32c != crc))
		code = mb_fail(err, MB_CORRUPT,
					   "\"%s\" arrived with %llu bytes and checksum %08x, but the server sent %lld "
					   "bytes with %08x",
					   path, (unsigned long long) note->size, note->crc32c,
					   (long long) mb_json_int(file, "Size", -1), crc);
	if (note)
		note->seen = true;
	manifest->listed++;
	free(path);
	return code;
}

/* One line of the document; only those of files concern us. */
static enum mb_code
compare_line(struct mb_wire_manifest *manifest, const char *line, size_t len, struct mb_error *err)
{
	struct mb_error ignored;
	json_t *file;
	enum mb_code code;

	while (len > 0 && (line[len - 1] == ',' || line[len - 1] == '\r'))
		len--;
	if (len == 0 || line[0] != '{' || line[len - 1] != '}' || !memmem(line, len, "Path\":", 6))
		return MB_OK;
	if (mb_json_parse(&file, line, len, "backup_manifest", &ignored))
		return mb_fail(err, MB_CORRUPT, "the server's manifest holds a line that is no JSON");
	code = compare_file(manifest, file, err);
	json_decref(file);
	return code;
}

static enum mb_code
compare_lines(struct mb_wire_manifest *manifest, struct mb_buf *text, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t at = 0;

	while (!code)
	{
		const unsigned char *end = memchr(text->data + at, '\n', text->len - at);

		if (!end)
			break;
		code = compare_line(manifest, (const char *) text->data + at,
							(size_t) (end - text->data) - at, err);
		at = (size_t) (end - text->data) + 1;
	}
	memmove(text->data, text->data + at, text->len - at);
	text->len -= at;
	if (!code && text->len > LINE_MAX_BYTES)
		code =
			mb_fail(err, MB_CORRUPT, "the server's manifest holds a line of %zu bytes", text->len);
	return code;
}

enum mb_code
mb_wire_manifest_compare(struct mb_wire_manifest *manifest, mb_tar_source source, void *ctx,
						 struct mb_error *err)
{
	struct mb_buf text = {0};
	const void *data;
	enum mb_code code;
	size_t len;

	if (manifest->count > 0)
		qsort(manifest->notes, manifest->count, sizeof(*manifest->notes), compare_notes);
	do
	{
		code = source(ctx, &data, &len, err);
		if (!code && len > 0)
		{
			mb_buf_put(&text, data, len);
			code = compare_lines(manifest, &text, err);
		}
	} while (!code && len > 0);
	mb_buf_release(&text);
	if (!code && manifest->listed != manifest->count)
		code = mb_fail(err, MB_CORRUPT,
					   "the server's manifest lists %zu files, but the stream held %zu",
					   manifest->listed, manifest->count);
	return code;
}
