/* archive_items.c - see archive_check.h: what a member's path says, and what an index says of it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/archive_check.h"

#define ITEMS_MAX 100000

/* -- items ------------------------------------------------------------------------------------------ */

/* "postgres/shop.dump" between two texts; NULL when it is not of that form. */
static char *
between(const char *path, const char *prefix, const char *suffix)
{
	size_t len = strlen(path);

	if (!mb_starts_with(path, prefix) || !mb_ends_with(path, suffix) ||
		len <= strlen(prefix) + strlen(suffix) || strchr(path + strlen(prefix), '/'))
		return NULL;
	return mb_strndup(path + strlen(prefix), len - strlen(prefix) - strlen(suffix));
}

static char *
first_segment(const char *text)
{
	return mb_strndup(text, strcspn(text, "/"));
}

/* What a member's path says; false: it is none of ours. */
static bool
classify(const struct archive_inventory *inventory, const char *path, struct archive_item *item)
{
	memset(item, 0, sizeof(*item));
	if (strcmp(path, "postgres/globals.sql") == 0)
	{
		item->kind = ARCHIVE_GLOBALS;
		item->name = mb_strdup("");
	}
	else if ((item->name = between(path, "postgres/", ".dump")) != NULL)
		item->kind = ARCHIVE_DATABASE;
	else if ((item->name = between(path, "postgres/", ".sql")) != NULL)
		item->kind = ARCHIVE_SQL;
	else if ((item->name = between(path, "redis/", ".rdb")) != NULL)
		item->kind = ARCHIVE_RDB;
	if (item->name)
	{
		item->prefix = mb_strdup(path);
		return true;
	}
	if (mb_starts_with(path, "minio/") && strchr(path + strlen("minio/"), '/'))
	{
		item->kind = ARCHIVE_BUCKET;
		item->name = first_segment(path + strlen("minio/"));
		item->prefix = mb_asprintf("minio/%s/", item->name);
		return true;
	}
	if (!mb_starts_with(path, "configs/"))
		return false;
	item->kind = ARCHIVE_TREE;
	/* Ours have a directory for each component; whose they are is known at the end only. */
	(void) inventory;
	item->name = strchr(path + strlen("configs/"), '/') ? first_segment(path + strlen("configs/"))
														: mb_strdup("");
	item->prefix = item->name[0] ? mb_asprintf("configs/%s/", item->name) : mb_strdup("configs/");
	return true;
}

void
archive_release_item(struct archive_item *item)
{
	free(item->name);
	free(item->prefix);
	if (item->index)
		fclose(item->index);
}

struct archive_item *
archive_inventory_find(const struct archive_inventory *inventory, const char *path,
					   const char **rest)
{
	struct archive_item *found = NULL;
	size_t i;

	for (i = inventory->count; i > 0; i--)
	{
		struct archive_item *item = &inventory->items[i - 1];
		size_t len = strlen(item->prefix);
		bool is_folder = item->kind == ARCHIVE_BUCKET || item->kind == ARCHIVE_TREE;

		if (is_folder ? strncmp(path, item->prefix, len) == 0 && path[len] != '\0'
					  : strcmp(path, item->prefix) == 0)
			if (!found || len > strlen(found->prefix))
				found = item;
	}
	if (found)
		*rest = path + (strchr(found->prefix, '\0')[-1] == '/' ? strlen(found->prefix) : 0);
	return found;
}

enum mb_code
archive_count_member(struct archive_inventory *inventory, const struct mb_tar_member *member,
					 struct mb_error *err)
{
	struct archive_item made, *item = NULL;
	bool is_dir = S_ISDIR(member->type);
	size_t i;

	if (!classify(inventory, member->path, &made))
		return MB_OK;
	if (is_dir && (made.kind != ARCHIVE_TREE || !made.name[0]))
	{
		archive_release_item(&made);
		return MB_OK;
	}
	for (i = inventory->count; i > 0 && !item; i--)
		if (strcmp(inventory->items[i - 1].prefix, made.prefix) == 0)
			item = &inventory->items[i - 1];
	if (item)
		archive_release_item(&made);
	else if (inventory->count >= ITEMS_MAX)
	{
		archive_release_item(&made);
		return mb_fail(err, MB_CORRUPT, "the archive holds more databases and buckets than %d",
					   ITEMS_MAX);
	}
	else
	{
		inventory->items = mb_grow(inventory->items, &inventory->cap, inventory->count + 1,
								   sizeof(*inventory->items));
		item = &inventory->items[inventory->count++];
		*item = made;
	}
	item->lines++;
	item->entries += !is_dir;
	item->bytes += is_dir ? 0 : member->size;
	return MB_OK;
}

/* Of others all of configs/ is one tree. */
void
archive_join_trees(struct archive_inventory *inventory)
{
	struct archive_item *first = NULL;
	size_t i, kept = 0;

	for (i = 0; i < inventory->count; i++)
	{
		struct archive_item *item = &inventory->items[i];

		if (item->kind == ARCHIVE_TREE && first)
		{
			first->entries += item->entries;
			first->lines += item->lines;
			first->bytes += item->bytes;
			archive_release_item(item);
			continue;
		}
		inventory->items[kept] = *item;
		item = &inventory->items[kept++];
		if (item->kind != ARCHIVE_TREE)
			continue;
		first = item;
		free(item->name);
		free(item->prefix);
		item->name = mb_strdup("");
		item->prefix = mb_strdup("configs/");
	}
	inventory->count = kept;
}

/* -- indexes ----------------------------------------------------------------------------------------- */

enum mb_code
archive_index_next(const struct archive_item *item, const char *member, json_t **line,
				   struct mb_error *err)
{
	char *text = NULL;
	size_t cap = 0;
	enum mb_code code;
	ssize_t len;

	*line = NULL;
	if (!item->index)
		return MB_OK;
	len = getline(&text, &cap, item->index);
	if (len <= 0 || len > ARCHIVE_LINE_MAX_BYTES)
		code = mb_fail(err, MB_CORRUPT, "the index of \"%s\" does not know \"%s\"", item->prefix,
					   member);
	else
		code = mb_json_parse(line, text, (size_t) len, "a line of an index", err);
	free(text);
	if (!code && strcmp(mb_json_str(*line, "file", ""), member) != 0)
	{
		json_decref(*line);
		*line = NULL;
		code = mb_fail(err, MB_CORRUPT, "the index of \"%s\" is of another order than its files",
					   item->prefix);
	}
	return code;
}

static int
base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int) (at - digits) : -1;
}

bool
archive_line_text(const json_t *line, const char *key, struct mb_buf *out)
{
	const char *text = mb_json_str(line, key, NULL);
	char *name = mb_asprintf("%s_base64", key);
	const char *base64 = mb_json_str(line, name, NULL);
	uint32_t bits = 0;
	int count = 0;

	free(name);
	if (text)
	{
		mb_buf_put_str(out, text);
		return true;
	}
	for (; base64 && *base64 && *base64 != '='; base64++)
	{
		int digit = base64_digit(*base64);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t) digit;
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		if ((bits >> count & 0xFF) == 0)
			return false;
		mb_buf_put_u8(out, (uint8_t) (bits >> count & 0xFF));
	}
	return base64 != NULL;
}
