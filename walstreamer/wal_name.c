/* wal_name.c - see wal_name.h. */
#include "walstreamer/wal_name.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/mem.h"

uint32_t
mb_wal_unit_bytes(uint32_t segment_size)
{
	return segment_size < MB_WAL_UNIT_MAX ? segment_size : MB_WAL_UNIT_MAX;
}

bool
mb_wal_segment_size_is_valid(uint64_t segment_size)
{
	return segment_size >= (1u << 20) && segment_size <= (1u << 30) &&
		   (segment_size & (segment_size - 1)) == 0;
}

void
mb_wal_file_name(char out[MB_WAL_FILE_TEXT], uint32_t timeline, uint64_t lsn, uint32_t segment_size)
{
	uint64_t number = lsn / segment_size;
	uint64_t per_id = 0x100000000ULL / segment_size;

	snprintf(out, MB_WAL_FILE_TEXT, "%08X%08X%08X", timeline, (uint32_t) (number / per_id),
			 (uint32_t) (number % per_id));
}

/* Exactly `digits` upper-case hex digits. */
static bool
take_hex(const char *text, int digits, uint32_t *value)
{
	int i;

	*value = 0;
	for (i = 0; i < digits; i++)
	{
		char c = text[i];

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint32_t) (c - '0');
		else if (c >= 'A' && c <= 'F')
			*value = *value << 4 | (uint32_t) (c - 'A' + 10);
		else
			return false;
	}
	return true;
}

bool
mb_wal_file_parse(const char *name, uint32_t segment_size, uint32_t *timeline, uint64_t *start_lsn)
{
	uint64_t per_id = 0x100000000ULL / segment_size;
	uint32_t tli, id, seg;

	if (strlen(name) != 24 || !take_hex(name, 8, &tli) || !take_hex(name + 8, 8, &id) ||
		!take_hex(name + 16, 8, &seg) || seg >= per_id)
		return false;
	*timeline = tli;
	*start_lsn = (id * per_id + seg) * segment_size;
	return true;
}

bool
mb_wal_history_parse(const char *name, uint32_t *timeline)
{
	return take_hex(name, 8, timeline) && strcmp(name + 8, ".history") == 0;
}

bool
mb_wal_file_name_is_known(const char *name)
{
	size_t len = strlen(name);

	return (len == 24 && strspn(name, "0123456789ABCDEF") == 24) ||
		   (len == 16 && strspn(name, "0123456789ABCDEF") == 8 && mb_ends_with(name, ".history"));
}

void
mb_wal_system_prefix(char out[MB_NAME_MAX], const char *component, const char *system_id)
{
	snprintf(out, MB_NAME_MAX, "streams/%s/wal/%s/", component, system_id);
}

void
mb_wal_branch_prefix(char out[MB_NAME_MAX], const struct mb_wal_where *where)
{
	snprintf(out, MB_NAME_MAX, "streams/%s/wal/%s/%08X/%s/", where->component, where->system_id,
			 where->timeline, where->branch);
}

void
mb_wal_segment_prefix(char out[MB_NAME_MAX], const struct mb_wal_where *where, uint64_t from_lsn)
{
	char file[MB_WAL_FILE_TEXT];

	mb_wal_file_name(file, where->timeline, from_lsn, where->segment_size);
	snprintf(out, MB_NAME_MAX, "streams/%s/wal/%s/%08X/%s/%s/", where->component, where->system_id,
			 where->timeline, where->branch, file);
}

void
mb_wal_piece_name(char out[MB_NAME_MAX], const struct mb_wal_where *where, uint64_t from_lsn,
				  uint64_t to_lsn)
{
	uint64_t segment = from_lsn - from_lsn % where->segment_size;
	size_t len;

	MB_ASSERT(to_lsn > from_lsn && to_lsn - segment <= where->segment_size);
	mb_wal_segment_prefix(out, where, from_lsn);
	len = strlen(out);
	snprintf(out + len, MB_NAME_MAX - len, "%08X-%08X", (uint32_t) (from_lsn - segment),
			 (uint32_t) (to_lsn - segment));
}

void
mb_wal_history_name(char out[MB_NAME_MAX], const char *component, const char *system_id,
					uint32_t timeline, const void *content, size_t len)
{
	unsigned char hash[MB_XXH128_BYTES];
	char hex[2 * MB_XXH128_BYTES + 1];

	mb_xxh128(hash, content, len);
	mb_hex(hex, hash, sizeof(hash));
	snprintf(out, MB_NAME_MAX, "streams/%s/wal/%s/history/%08X.history-%s", component, system_id,
			 timeline, hex);
}

bool
mb_wal_piece_parse(const char *rest, struct mb_wal_piece_parts *parts)
{
	struct mb_wal_piece_parts made;
	size_t i;

	/* 8 / 16 / 24 / 8 - 8 */
	if (strlen(rest) != 8 + 1 + 16 + 1 + 24 + 1 + 8 + 1 + 8 || rest[8] != '/' || rest[25] != '/' ||
		rest[50] != '/' || rest[59] != '-')
		return false;
	if (!take_hex(rest, 8, &made.timeline) || !take_hex(rest + 51, 8, &made.start) ||
		!take_hex(rest + 60, 8, &made.end) || made.start >= made.end)
		return false;
	for (i = 0; i < MB_WAL_BRANCH_CHARS; i++)
		if (!isdigit((unsigned char) rest[9 + i]) && (rest[9 + i] < 'a' || rest[9 + i] > 'f'))
			return false;
	memcpy(made.branch, rest + 9, MB_WAL_BRANCH_CHARS);
	made.branch[MB_WAL_BRANCH_CHARS] = '\0';
	memcpy(made.file, rest + 26, 24);
	made.file[24] = '\0';
	if (!take_hex(made.file + 8, 8, &made.log_id) || !take_hex(made.file + 16, 8, &made.log_seg))
		return false;
	if (memcmp(made.file, rest, 8) != 0)
		return false; /* the segment's timeline is the directory's */
	*parts = made;
	return true;
}

bool
mb_wal_piece_lsn(const struct mb_wal_piece_parts *parts, uint32_t segment_size,
				 uint64_t *segment_lsn)
{
	uint64_t per_id = 0x100000000ULL / segment_size;

	if (parts->log_seg >= per_id || parts->end > segment_size)
		return false;
	*segment_lsn = (parts->log_id * per_id + parts->log_seg) * segment_size;
	return true;
}

bool
mb_wal_history_blob_parse(const char *rest, uint32_t *timeline)
{
	return mb_starts_with(rest, "history/") && take_hex(rest + 8, 8, timeline) &&
		   mb_starts_with(rest + 16, ".history-");
}

enum mb_code
mb_wal_history_parent(const void *content, size_t len, uint32_t timeline, uint32_t *parent,
					  uint64_t *switch_lsn, struct mb_error *err)
{
	char *text = mb_strndup(content, len);
	char *line, *save = NULL;
	bool found = false;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
	{
		char lsn_text[32];
		uint64_t lsn;
		unsigned tli;

		while (isspace((unsigned char) *line))
			line++;
		if (*line == '\0' || *line == '#')
			continue;
		if (sscanf(line, "%u %31s", &tli, lsn_text) != 2 || !mb_lsn_parse(&lsn, lsn_text) ||
			tli == 0 || tli >= timeline || (found && (tli <= *parent || lsn < *switch_lsn)))
		{
			free(text);
			return mb_fail(err, MB_CORRUPT, "the history file of timeline %u is damaged", timeline);
		}
		*parent = tli;
		*switch_lsn = lsn;
		found = true;
	}
	free(text);
	if (!found)
		return mb_fail(err, MB_CORRUPT, "the history file of timeline %u is empty", timeline);
	return MB_OK;
}

bool
mb_wal_history_left(const void *content, size_t len, uint32_t ancestor, uint64_t *switch_lsn)
{
	char *text = mb_strndup(content, len);
	char *line, *save = NULL;
	bool found = false;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
	{
		char lsn_text[32];
		uint64_t lsn;
		unsigned tli;

		if (sscanf(line, "%u %31s", &tli, lsn_text) == 2 && tli == ancestor &&
			mb_lsn_parse(&lsn, lsn_text))
		{
			*switch_lsn = lsn;
			found = true;
		}
	}
	free(text);
	return found;
}
