/*
 * cmd_objects_verify.c - mbackup objects verify: every version of a backup against what is known of it.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/objects.h"
#include "core/base/hash.h"
#include "core/base/time.h"

/* The checks that an object's contents pass through. */
struct sums
{
	uint64_t bytes;
	uint32_t crc32c;
	struct mb_md5_sum *md5;   /* of the object, or of the part that is open */
	struct mb_md5_sum *parts; /* of the MD5s of all parts; NULL: no multipart */
	const json_t *part_list;  /* [[number, size]...] */
	size_t part;
	uint64_t part_left;
};

static uint64_t
part_size(const struct sums *sums, size_t part)
{
	return (uint64_t) json_integer_value(json_array_get(json_array_get(sums->part_list, part), 1));
}

static void
end_part(struct sums *sums)
{
	unsigned char md5[MB_MD5_BYTES];

	mb_md5_end(sums->md5, md5);
	mb_md5_add(sums->parts, md5, sizeof(md5));
	sums->md5 = mb_md5_new();
	sums->part++;
	sums->part_left = part_size(sums, sums->part);
}

static enum mb_code
add_to_sums(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct sums *sums = ctx;
	const unsigned char *p = data;

	(void) err;
	sums->bytes += len;
	sums->crc32c = mb_crc32c(sums->crc32c, data, len);
	while (sums->parts && len > sums->part_left)
	{
		size_t take = (size_t) sums->part_left;

		mb_md5_add(sums->md5, p, take);
		p += take;
		len -= take;
		end_part(sums);
		if (sums->part_left == 0 && sums->part >= json_array_size(sums->part_list))
			sums->part_left = UINT64_MAX; /* too long: the size will tell */
	}
	mb_md5_add(sums->md5, p, len);
	if (sums->parts)
		sums->part_left -= len;
	return MB_OK;
}

/* The ETag that a server gives such contents; out has 48 bytes. */
static void
end_sums(struct sums *sums, char out[48])
{
	unsigned char md5[MB_MD5_BYTES];

	if (!sums->parts)
	{
		mb_md5_end(sums->md5, md5);
		mb_hex(out, md5, sizeof(md5));
		return;
	}
	end_part(sums);
	mb_md5_end(sums->md5, NULL);
	mb_md5_end(sums->parts, md5);
	mb_hex(out, md5, sizeof(md5));
	snprintf(out + strlen(out), 48 - strlen(out), "-%zu", json_array_size(sums->part_list));
}

/* Has an ETag the form of an MD5, alone or of that many parts?  Encrypted objects have others. */
static bool
etag_tells(const char *etag, size_t parts)
{
	size_t len = strspn(etag, "0123456789abcdef");

	if (len != 2 * MB_MD5_BYTES)
		return false;
	return parts ? etag[len] == '-' && strtoul(etag + len + 1, NULL, 10) == parts
				 : etag[len] == '\0';
}

static enum mb_code
verify_version(struct mb_pack_reader *reader, const struct mb_state_version *version, char why[160],
			   struct mb_error *err)
{
	const struct mb_entry *entry = &version->entry;
	json_t *meta = mb_state_meta(entry);
	const char *etag = mb_json_str(meta, "etag", "");
	struct sums sums = {.md5 = mb_md5_new(), .part_list = json_object_get(meta, "parts")};
	size_t parts = json_array_size(sums.part_list);
	char computed[48] = "";
	enum mb_code code;

	why[0] = '\0';
	if (parts > 0)
	{
		sums.parts = mb_md5_new();
		sums.part_left = part_size(&sums, 0);
	}
	code = objects_contents(reader, entry, add_to_sums, &sums, err);
	end_sums(&sums, computed);
	if (code == MB_CORRUPT)
	{
		snprintf(why, 160, "%.150s", err->message);
		code = MB_OK;
	}
	else if (!code && sums.bytes != entry->size)
		snprintf(why, 160, "it has %llu bytes instead of %llu", (unsigned long long) sums.bytes,
				 (unsigned long long) entry->size);
	else if (!code && entry->has_crc32c && sums.crc32c != entry->crc32c)
		snprintf(why, 160, "its checksum is not the one that was read");
	else if (!code && etag_tells(etag, parts) && strcmp(etag, computed) != 0)
		snprintf(why, 160, "its MD5 is not the server's ETag (%s instead of %s)", computed, etag);
	json_decref(meta);
	return code;
}

struct verify_counts
{
	uint64_t versions;
	uint64_t bytes;
	json_t *problems;
};

static enum mb_code
verify_key(struct mb_pack_reader *reader, const struct mb_state_key *key,
		   struct verify_counts *counts, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < key->count; i++)
	{
		char why[160];

		if (key->versions[i].entry.type != MB_ENTRY_OBJECT)
			continue;
		code = verify_version(reader, &key->versions[i], why, err);
		counts->versions++;
		counts->bytes += key->versions[i].entry.size;
		if (!code && why[0])
		{
			json_t *problem = json_object();

			mb_json_set_str(problem, "key", key->key);
			mb_json_set_str(problem, "message", why);
			json_array_append_new(counts->problems, problem);
		}
	}
	return code;
}

/*
 * Every version as of --at, read from the repository and held against what was known of it:
 * size, checksum as read, and the server's own ETag.
 */
enum mb_code
objects_verify(struct mb_cli *cli, struct mb_error *err)
{
	struct verify_counts counts = {.problems = json_array()};
	struct mb_pack_reader *reader = mb_pack_reader_new(cli->env.repo);
	struct objects_view view = {0};
	const struct mb_state_key *key = NULL;
	struct mb_state *state = NULL;
	int64_t started_ms = mb_monotonic_ms();
	enum mb_code code = objects_open(cli, &view, err);

	if (!code)
		state = mb_state_new(cli->env.repo, &view.look.commit, view.time);
	while (!code && (code = mb_state_next(state, &key, err)) == MB_OK && key)
		code = verify_key(reader, key, &counts, err);
	if (!code)
	{
		json_t *verify = json_object();

		mb_json_set_str(verify, "component", view.component->name);
		mb_json_set_str(verify, "backup", view.look.commit.id);
		mb_json_set_int(verify, "versions", (int64_t) counts.versions);
		mb_json_set_int(verify, "bytes", (int64_t) counts.bytes);
		json_object_set_new(verify, "seconds",
							json_real((double) (mb_monotonic_ms() - started_ms) / 1000));
		json_object_set(verify, "problems", counts.problems);
		cli->answer = json_pack("{s:o}", "verify", verify);
		if (json_array_size(counts.problems) > 0)
		{
			code = mb_fail(err, MB_CORRUPT, "%zu objects of backup %s are damaged",
						   json_array_size(counts.problems), view.look.commit.id);
			mb_error_hint(err, "Take a new full backup; \"mbackup verify\" tells which packs are "
							   "damaged.");
		}
	}
	json_decref(counts.problems);
	mb_pack_reader_free(reader);
	mb_state_free(state);
	objects_close(&view);
	return code;
}

void
render_objects_answer(const json_t *answer, FILE *out)
{
	const json_t *verify = json_object_get(answer, "verify");
	const json_t *problems = json_object_get(verify, "problems");
	const json_t *journal = json_object_get(answer, "journal");
	const json_t *next = json_object_get(journal, "next");
	char size[MB_SIZE_TEXT];
	size_t i;

	if (journal)
		fprintf(out, "%s and the role %s are there. Next:\n", mb_json_str(journal, "table", "?"),
				mb_json_str(journal, "role", "?"));
	for (i = 0; i < json_array_size(next); i++)
		fprintf(out, "  %s\n", json_string_value(json_array_get(next, i)));
	if (!verify)
		return;
	mb_size_format(size, (uint64_t) mb_json_int(verify, "bytes", 0));
	for (i = 0; i < json_array_size(problems); i++)
		fprintf(out, "%s: %s\n", mb_json_str(json_array_get(problems, i), "key", "?"),
				mb_json_str(json_array_get(problems, i), "message", "?"));
	fprintf(out, "%lld versions, %s of backup %s: %zu damaged\n",
			(long long) mb_json_int(verify, "versions", 0), size,
			mb_json_str(verify, "backup", "?"), json_array_size(problems));
}
