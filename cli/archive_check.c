/* archive_check.c - see archive_check.h. */
#include "cli/archive_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/env.h"

#define SUM_FILE_MAX 4096
#define HEX_LEN (2 * MB_SHA256_BYTES)
/* An index is smaller than this for each member of its folder, and a mebibyte. */
#define INDEX_ENTRY_BYTES 8192

/* -- contents --------------------------------------------------------------------------------------- */

/* Where the bytes of a member go besides its sum. */
struct take
{
	struct mb_buf *memory; /* or */
	FILE *file;
	uint64_t max_bytes;
};

static enum mb_code
too_large(const char *path, uint64_t max_bytes, struct mb_error *err)
{
	return mb_fail(err, MB_CORRUPT, "\"%s\" has more than the %llu bytes that it may have", path,
				   (unsigned long long) max_bytes);
}

static enum mb_code
read_member(struct archive_reader *reader, const struct archive_check *check,
			const struct mb_tar_member *member, const struct take *take, char hex[HEX_LEN + 1],
			struct mb_error *err)
{
	struct mb_sha256_sum *sum = mb_sha256_new();
	unsigned char bytes[MB_SHA256_BYTES];
	unsigned char *chunk = mb_malloc(ARCHIVE_CHUNK);
	uint64_t total = 0;
	enum mb_code code = MB_OK;
	size_t got = ARCHIVE_CHUNK;

	if ((take->memory || take->file) && member->size > take->max_bytes)
		code = too_large(member->path, take->max_bytes, err);
	while (!code && got == ARCHIVE_CHUNK)
	{
		code = mb_cancel_check(check->cancel, err);
		if (!code)
			code = archive_read(reader, chunk, ARCHIVE_CHUNK, &got, err);
		if (code)
			break;
		mb_sha256_add(sum, chunk, got);
		total += got;
		if (check->progress)
			atomic_fetch_add(&check->progress->done_bytes, got);
		if (take->memory)
			mb_buf_put(take->memory, chunk, got);
		else if (take->file && fwrite(chunk, 1, got, take->file) != got)
			code = mb_fail_errno(err, errno, "could not keep \"%s\" for a while", member->path);
	}
	if (!code && total != member->size)
		code = mb_fail(err, MB_CORRUPT, "\"%s\" ends too early", member->path);
	mb_sha256_end(sum, bytes);
	mb_hex(hex, bytes, sizeof(bytes));
	free(chunk);
	return code;
}

static enum mb_code
take_info(struct archive_inventory *inventory, const struct mb_buf *text, struct mb_error *err)
{
	json_t *info;

	if (mb_json_parse(&info, (const char *) text->data, text->len, ARCHIVE_INFO, err))
		return err->code;
	json_decref(inventory->info);
	inventory->info = info;
	inventory->is_ours = strcmp(mb_json_str(info, "format", ""), ARCHIVE_FORMAT) == 0;
	inventory->info_members = inventory->members;
	inventory->info_bytes = inventory->bytes;
	if (inventory->is_ours && mb_json_int(info, "version", 0) != ARCHIVE_VERSION)
		return mb_fail(err, MB_UNSUPPORTED, "the archive is of version %lld, known is %d",
					   (long long) mb_json_int(info, "version", 0), ARCHIVE_VERSION);
	return MB_OK;
}

/* "metadata/minio/uploads.jsonl" is the index of "minio/uploads/". */
static struct archive_item *
item_of_index(const struct archive_inventory *inventory, const char *path)
{
	size_t i;

	for (i = 0; i < inventory->count; i++)
	{
		struct archive_item *item = &inventory->items[i];
		size_t len = strlen(item->prefix);
		char *name;
		bool is_it;

		if (item->kind != ARCHIVE_BUCKET && item->kind != ARCHIVE_TREE)
			continue;
		name = mb_asprintf("metadata/%.*s.jsonl", (int) len - 1, item->prefix);
		is_it = strcmp(name, path) == 0;
		free(name);
		if (is_it && !item->index)
			return item;
	}
	return NULL;
}

static enum mb_code
take_member(struct archive_inventory *inventory, struct archive_reader *reader,
			const struct archive_check *check, const struct mb_tar_member *member,
			struct mb_error *err)
{
	bool is_info = strcmp(member->path, ARCHIVE_INFO) == 0;
	bool is_sums = strcmp(member->path, ARCHIVE_SUMS) == 0;
	struct archive_item *indexed = item_of_index(inventory, member->path);
	struct mb_buf text = {0};
	struct take take = {0};
	char hex[HEX_LEN + 1];
	enum mb_code code = MB_OK;

	if (is_info)
		take = (struct take){.memory = &text, .max_bytes = ARCHIVE_INFO_MAX_BYTES};
	else if (is_sums || indexed)
	{
		if (is_sums && inventory->sums_read)
			code = mb_fail(err, MB_CORRUPT, "the archive has two lists of checksums");
		else
			code = archive_temporary(&take.file, check->tmp_dir, err);
		take.max_bytes = (1 << 20) + (is_sums ? (uint64_t) ftell(inventory->sums_made)
											  : indexed->lines * INDEX_ENTRY_BYTES);
		*(is_sums ? &inventory->sums_read : &indexed->index) = take.file;
	}
	if (!code)
		code = read_member(reader, check, member, &take, hex, err);
	if (!code && is_info)
		code = take_info(inventory, &text, err);
	mb_buf_release(&text);
	if (code || is_sums)
		return code;
	/* Foreign lists may be of any form; only ours is compared with this one. */
	if (fprintf(inventory->sums_made, "%s  %s\n", hex, member->path) < 0)
		return mb_fail_errno(err, errno, "could not keep the checksums");
	inventory->members++;
	inventory->bytes += member->size;
	return MB_OK;
}

/* -- does it add up? -------------------------------------------------------------------------------- */

static enum mb_code
damaged(const char *line, struct mb_error *err)
{
	const char *name = strlen(line) > HEX_LEN + 2 ? line + HEX_LEN + 2 : "?";

	mb_fail(err, MB_CORRUPT, "\"%.*s\" is not what its checksum says", (int) strcspn(name, "\n"),
			name);
	return mb_error_hint(err, "The archive is damaged: use another copy. Nothing was touched.");
}

static enum mb_code
compare_sums(struct archive_inventory *inventory, struct mb_error *err)
{
	char *made = NULL, *read = NULL;
	size_t made_cap = 0, read_cap = 0;
	enum mb_code code = MB_OK;
	ssize_t a, b;

	if (!inventory->sums_read)
	{
		mb_fail(err, MB_CORRUPT, "the archive has no %s: it was cut off", ARCHIVE_SUMS);
		return mb_error_hint(err, "Nothing was touched.");
	}
	rewind(inventory->sums_made);
	rewind(inventory->sums_read);
	do
	{
		a = getline(&made, &made_cap, inventory->sums_made);
		b = getline(&read, &read_cap, inventory->sums_read);
		if (a != b || (a > 0 && memcmp(made, read, (size_t) a) != 0))
			code = damaged(b > 0 ? read : made, err);
	} while (!code && a > 0);
	free(made);
	free(read);
	return code;
}

/* FILE.sha256, when it is there: the only thing that sees every byte of an encrypted file. */
static enum mb_code
compare_file(const struct archive_check *check, const unsigned char sum[MB_SHA256_BYTES],
			 struct mb_error *err)
{
	char *path = mb_asprintf("%s.sha256", check->path);
	struct mb_buf text = {0};
	char hex[HEX_LEN + 1];
	struct mb_error ignored;
	enum mb_code code = MB_OK;

	mb_error_clear(&ignored);
	mb_hex(hex, sum, MB_SHA256_BYTES);
	if (mb_file_read(&text, path, SUM_FILE_MAX, &ignored) == MB_OK && text.len >= HEX_LEN &&
		strncasecmp((const char *) text.data, hex, HEX_LEN) != 0)
		code = mb_fail(err, MB_CORRUPT, "\"%s\" is not the file that \"%s\" speaks of", check->path,
					   path);
	mb_buf_release(&text);
	free(path);
	return code;
}

static enum mb_code
add_up(struct archive_inventory *inventory, struct mb_error *err)
{
	if (!inventory->is_ours)
	{
		json_array_append_new(inventory->warnings,
							  json_string("it was not written by \"mbackup export\": there are no "
										  "checksums to compare, only its structure was checked"));
		if (inventory->count == 0)
			return mb_fail(err, MB_CORRUPT,
						   "there is nothing in it that could be loaded: no "
						   "postgres/, redis/, minio/ or configs/");
		return MB_OK;
	}
	if (compare_sums(inventory, err))
		return err->code;
	if ((uint64_t) mb_json_int(inventory->info, "members", -1) != inventory->info_members ||
		(uint64_t) mb_json_int(inventory->info, "bytes", -1) != inventory->info_bytes ||
		inventory->members != inventory->info_members + 1)
		return mb_fail(err, MB_CORRUPT, "%s speaks of other files than there are", ARCHIVE_INFO);
	return MB_OK;
}

enum mb_code
archive_inventory_read(struct archive_inventory *inventory, const struct archive_check *check,
					   struct mb_error *err)
{
	unsigned char sum[MB_SHA256_BYTES];
	struct archive_reader reader = {0};
	struct mb_tar_member member;
	enum mb_code code;
	bool more = true;
	size_t i;

	memset(inventory, 0, sizeof(*inventory));
	inventory->info = json_object();
	inventory->warnings = json_array();
	code = archive_temporary(&inventory->sums_made, check->tmp_dir, err);
	if (!code)
		code = archive_reader_open(&reader, check->path, check->fd, check->pass, err);
	inventory->encrypted = reader.encrypted;
	while (!code && !(code = archive_next(&reader, &member, &more, err)) && more)
	{
		if (inventory->is_ours && inventory->sums_read)
			code = mb_fail(err, MB_CORRUPT, "\"%.200s\" stands behind the checksums", member.path);
		if (!code)
			code = archive_count_member(inventory, &member, err);
		if (!code && S_ISREG(member.type) && !member.hard_link)
			code = take_member(inventory, &reader, check, &member, err);
	}
	if (!code)
		code = archive_reader_sum(&reader, sum, err);
	archive_reader_close(&reader);
	if (!code)
		code = compare_file(check, sum, err);
	if (!code)
		code = add_up(inventory, err);
	if (!code && !inventory->is_ours)
		archive_join_trees(inventory);
	for (i = 0; !code && i < inventory->count; i++)
		if (inventory->items[i].index)
			rewind(inventory->items[i].index);
	return code;
}

void
archive_inventory_release(struct archive_inventory *inventory)
{
	size_t i;

	for (i = 0; i < inventory->count; i++)
		archive_release_item(&inventory->items[i]);
	free(inventory->items);
	if (inventory->sums_made)
		fclose(inventory->sums_made);
	if (inventory->sums_read)
		fclose(inventory->sums_read);
	json_decref(inventory->info);
	json_decref(inventory->warnings);
	memset(inventory, 0, sizeof(*inventory));
}
