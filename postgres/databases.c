/*
 * databases.c - a restore of some databases: the files of the others come back as holes of
 * their size, so that recovery can run over them (see restore_private.h).
 *
 * pg_filenode.map too: with it a session would begin on catalogs of zeros and take the server
 * down; without it every connection is refused, and DROP DATABASE does not mind.  A database
 * that is younger than the backup is made by its WAL and is whole.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "postgres/restore_private.h"

#define ZERO_BLOCK 8192u

static const json_t *
find_name(const json_t *list, const char *name)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		if (strcmp(mb_json_str(json_array_get(list, i), "name", ""), name) == 0)
			return json_array_get(list, i);
	return NULL;
}

static enum mb_code
unknown_database(const json_t *list, const char *name, struct mb_error *err)
{
	struct mb_buf names = {0};
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		mb_buf_printf(&names, "%s\"%s\"", i ? ", " : "",
					  mb_json_str(json_array_get(list, i), "name", ""));
	mb_fail(err, MB_NOT_FOUND, "there is no database \"%s\" in this backup", name);
	mb_error_hint(err, "It holds %.400s.", mb_buf_cstr(&names));
	mb_buf_release(&names);
	return err->code;
}

static bool
is_wanted(const struct mb_restore_wishes *wishes, const char *name)
{
	static const char *const always[] = {"template0", "template1", "postgres"};
	size_t i;

	for (i = 0; i < sizeof(always) / sizeof(*always); i++)
		if (strcmp(name, always[i]) == 0)
			return true;
	for (i = 0; i < wishes->database_count; i++)
		if (strcmp(name, wishes->databases[i]) == 0)
			return true;
	return false;
}

enum mb_code
mb_pg_databases_read(struct mb_pg_databases *databases, const struct mb_restore *restore,
					 struct mb_error *err)
{
	const json_t *list = json_object_get(restore->commit.meta, "databases");
	const struct mb_restore_wishes *wishes = restore->wishes;
	size_t i;

	memset(databases, 0, sizeof(*databases));
	if (wishes->database_count == 0)
		return MB_OK;
	if (json_array_size(list) == 0)
	{
		mb_fail(err, MB_UNSUPPORTED, "backup %s does not name its databases", restore->commit.id);
		return mb_error_hint(err, "It was made by an older mbackup. Restore all of it, or choose a "
								  "younger backup.");
	}
	for (i = 0; i < wishes->database_count; i++)
		if (!find_name(list, wishes->databases[i]))
			return unknown_database(list, wishes->databases[i], err);
	databases->hollow = mb_calloc(json_array_size(list), sizeof(*databases->hollow));
	databases->hollow_names = mb_calloc(json_array_size(list), sizeof(char *));
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);
		const char *name = mb_json_str(one, "name", "");

		if (is_wanted(wishes, name))
			continue;
		databases->hollow_names[databases->hollow_count] = mb_strdup(name);
		databases->hollow[databases->hollow_count++] = (uint32_t) mb_json_int(one, "oid", 0);
	}
	return MB_OK;
}

void
mb_pg_databases_release(struct mb_pg_databases *databases)
{
	size_t i;

	for (i = 0; i < databases->hollow_count; i++)
		free(databases->hollow_names[i]);
	free(databases->hollow_names);
	free(databases->hollow);
	memset(databases, 0, sizeof(*databases));
}

/* Step over "name/", any name when it is NULL. */
static const char *
step(const char *p, const char *name)
{
	const char *slash = p ? strchr(p, '/') : NULL;

	if (!slash ||
		(name && ((size_t) (slash - p) != strlen(name) || strncmp(p, name, strlen(name)) != 0)))
		return NULL;
	return slash + 1;
}

bool
mb_pg_is_hollow(const struct mb_pg_databases *databases, const struct mb_entry *entry)
{
	char path[256];
	const char *at;
	char *end;
	unsigned long oid;
	size_t i;

	if (databases->hollow_count == 0 || entry->type != MB_ENTRY_FILE ||
		entry->path_len >= sizeof(path))
		return false;
	memcpy(path, entry->path, entry->path_len);
	path[entry->path_len] = '\0';
	at = step(path, "base");
	if (!at)
		at = step(step(step(path, "pg_tblspc"), NULL), NULL);
	if (!at || !isdigit((unsigned char) *at))
		return false;
	oid = strtoul(at, &end, 10);
	if (*end != '/' || strcmp(end, "/PG_VERSION") == 0)
		return false;
	for (i = 0; i < databases->hollow_count; i++)
		if (databases->hollow[i] == oid)
			return true;
	return false;
}

uint32_t
mb_pg_zero_crc(uint64_t size)
{
	static const unsigned char zeros[ZERO_BLOCK];
	uint64_t block = ZERO_BLOCK, left = size / ZERO_BLOCK;
	uint32_t crc = mb_crc32c(MB_CRC32C_INIT, zeros, (size_t) (size % ZERO_BLOCK));
	uint32_t power = mb_crc32c(MB_CRC32C_INIT, zeros, ZERO_BLOCK);

	/* Zeros in blocks of 8 KiB times the powers of two that make up the rest. */
	for (; left > 0; left >>= 1)
	{
		if (left & 1)
			crc = mb_crc32c_combine(crc, power, block);
		power = mb_crc32c_combine(power, power, block);
		block *= 2;
	}
	return crc;
}
