/* repo.c - see repo.h: ids, mbackup.json, create and open.  Key slots are keyslot.c's. */
#include "core/repo/repo.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/hash.h"
#include "core/base/names.h"
#include "core/base/time.h"
#include "core/repo/repo_private.h"

#define MAGIC "mbackup"
#define CHECKSUM_MEMBER ",\"checksum\":\""
#define CHECKSUM_END "\"}\n"
#define CHECKSUM_DIGITS 32
#define PAGE_SEED_TEXT "mbackup page seed"
#define DEFAULT_ZSTD_LEVEL 3

static const char *const suite_names[] =
	{[MB_SUITE_NONE] = "none", [MB_SUITE_AES_256_GCM] = "aes-256-gcm"};

/* -- ids ------------------------------------------------------------------------------------- */

void
mb_id_new(char out[MB_ID_TEXT], int64_t now_us)
{
	char time_text[MB_TIME_TEXT];
	int64_t micros = ((now_us % 1000000) + 1000000) % 1000000;
	unsigned char random[4];
	char hex[9];

	mb_time_compact(time_text, now_us);
	mb_random(random, sizeof(random));
	mb_hex(hex, random, sizeof(random));
	/* Five digits of microseconds first, so that ids of one second sort by time too. */
	snprintf(out, MB_ID_TEXT, "%.16s-%05x%.7s", time_text, (unsigned) micros, hex);
}

bool
mb_id_is_valid(const char *id)
{
	static const char pattern[] = "00000000T000000Z-xxxxxxxxxxxx";
	size_t i;

	for (i = 0; pattern[i]; i++)
	{
		unsigned char c = (unsigned char) id[i];
		bool ok = pattern[i] == '0' ? isdigit(c) != 0
									: (pattern[i] == 'x' ? isdigit(c) || (c >= 'a' && c <= 'f')
														 : c == pattern[i]);

		if (!ok)
			return false;
	}
	return id[i] == '\0';
}

int64_t
mb_id_time_us(const char *id)
{
	int year, month, day, hour, minute, second;
	unsigned micros;
	struct tm tm = {0};

	MB_ASSERT(sscanf(id, "%4d%2d%2dT%2d%2d%2dZ-%5x", &year, &month, &day, &hour, &minute, &second,
					 &micros) == 7);
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	tm.tm_hour = hour;
	tm.tm_min = minute;
	tm.tm_sec = second;
	return (int64_t) timegm(&tm) * 1000000 + micros;
}

static void
format_uuid(char out[37], const unsigned char id[MB_REPO_ID_BYTES])
{
	char hex[2 * MB_REPO_ID_BYTES + 1];

	mb_hex(hex, id, MB_REPO_ID_BYTES);
	snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static bool
parse_uuid(unsigned char id[MB_REPO_ID_BYTES], const char *text)
{
	char hex[2 * MB_REPO_ID_BYTES + 1];
	size_t n = 0, i;

	if (strlen(text) != 36)
		return false;
	for (i = 0; i < 36; i++)
	{
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (text[i] == '-'))
			return false;
		if (!dash)
			hex[n++] = text[i];
	}
	hex[n] = '\0';
	return mb_unhex(id, hex, MB_REPO_ID_BYTES);
}

/* -- mbackup.json ---------------------------------------------------------------------------- */

void
mb_repo_header_encode(struct mb_buf *out, const struct mb_repo_header *header)
{
	unsigned char checksum[MB_XXH128_BYTES];
	char hex[CHECKSUM_DIGITS + 1];
	char created[MB_TIME_TEXT];
	size_t start = out->len;

	mb_time_format(created, header->created_us);
	mb_buf_printf(out,
				  "{\"magic\":\"" MAGIC "\",\"format\":%d,\"id\":\"%s\",\"created\":\"%s\","
				  "\"suite\":\"%s\"",
				  MB_FORMAT_VERSION, header->id_text, created, suite_names[header->suite]);
	mb_xxh128(checksum, out->data + start, out->len - start);
	mb_hex(hex, checksum, sizeof(checksum));
	mb_buf_printf(out, CHECKSUM_MEMBER "%s" CHECKSUM_END, hex);
}

/* The checksum stands at a fixed distance from the end, so that this holds in every format. */
static bool
header_checksum_matches(const unsigned char *data, size_t len)
{
	size_t tail = strlen(CHECKSUM_MEMBER) + CHECKSUM_DIGITS + strlen(CHECKSUM_END);
	unsigned char checksum[MB_XXH128_BYTES];
	char hex[CHECKSUM_DIGITS + 1];
	const unsigned char *p;

	if (len < tail || len > MB_HEADER_MAX_BYTES)
		return false;
	p = data + len - tail;
	mb_xxh128(checksum, data, len - tail);
	mb_hex(hex, checksum, sizeof(checksum));
	return memcmp(p, CHECKSUM_MEMBER, strlen(CHECKSUM_MEMBER)) == 0 &&
		   memcmp(p + strlen(CHECKSUM_MEMBER), hex, CHECKSUM_DIGITS) == 0 &&
		   memcmp(p + tail - strlen(CHECKSUM_END), CHECKSUM_END, strlen(CHECKSUM_END)) == 0;
}

static bool
header_from_json(struct mb_repo_header *header, const json_t *json)
{
	const char *id = mb_json_str(json, "id", "");
	const char *suite = mb_json_str(json, "suite", "");

	memset(header, 0, sizeof(*header));
	if (!parse_uuid(header->id, id))
		return false;
	format_uuid(header->id_text, header->id);
	header->created_us = mb_json_time(json, "created");
	if (strcmp(suite, suite_names[MB_SUITE_AES_256_GCM]) == 0)
		header->suite = MB_SUITE_AES_256_GCM;
	else if (strcmp(suite, suite_names[MB_SUITE_NONE]) != 0)
		return false;
	return true;
}

static enum mb_code
header_damaged(struct mb_error *err)
{
	mb_fail(err, MB_CORRUPT, MB_HEADER_NAME " is damaged");
	return mb_error_hint(err, "Restore this small file from a copy of the repository; it never "
							  "changes after mbackup init.");
}

enum mb_code
mb_repo_header_decode(struct mb_repo_header *header, const void *data, size_t len,
					  struct mb_error *err)
{
	struct mb_buf again = {0};
	json_t *json = NULL;
	bool same;

	if (!header_checksum_matches(data, len) ||
		mb_json_parse(&json, data, len, MB_HEADER_NAME, err) != MB_OK)
		return header_damaged(err);
	if (strcmp(mb_json_str(json, "magic", ""), MAGIC) == 0 &&
		mb_json_int(json, "format", 0) > MB_FORMAT_VERSION)
	{
		mb_fail(err, MB_UNSUPPORTED, "the repository has format %lld, and this mbackup knows %d",
				(long long) mb_json_int(json, "format", 0), MB_FORMAT_VERSION);
		mb_error_hint(err, "Upgrade mbackup on this machine.");
		json_decref(json);
		return err->code;
	}
	same = header_from_json(header, json);
	json_decref(json);
	if (same)
		mb_repo_header_encode(&again, header);
	same = same && again.len == len && memcmp(again.data, data, len) == 0;
	mb_buf_release(&again);
	return same ? MB_OK : header_damaged(err);
}

static enum mb_code
read_header(struct mb_repo_header *header, struct mb_store *store, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	enum mb_code code =
		mb_store_get(store, MB_HEADER_NAME, 0, MB_HEADER_MAX_BYTES + 1, &bytes, err);

	if (code == MB_NOT_FOUND)
	{
		mb_fail(err, code, "there is no repository at \"%s\"", store->url);
		mb_error_hint(err, "Make one with mbackup init, or check the repository setting.");
	}
	else if (!code)
		code = mb_repo_header_decode(header, bytes.data, bytes.len, err);
	mb_buf_release(&bytes);
	return code;
}

/* -- create and open ------------------------------------------------------------------------- */

static struct mb_repo *
new_repo(struct mb_store *store, const struct mb_repo_header *header)
{
	struct mb_repo *repo = mb_calloc(1, sizeof(*repo));

	repo->store = store;
	memcpy(repo->id, header->id, sizeof(repo->id));
	memcpy(repo->id_text, header->id_text, sizeof(repo->id_text));
	repo->created_us = header->created_us;
	repo->suite = header->suite;
	repo->zstd_level = DEFAULT_ZSTD_LEVEL;
	repo->keys = mb_keys_new();
	return repo;
}

static void
set_page_seed(struct mb_repo *repo)
{
	unsigned char seed[MB_KEY_BYTES];

	if (repo->suite == MB_SUITE_NONE)
	{
		repo->page_seed = mb_xxh64_seed(repo->id, MB_REPO_ID_BYTES, 0);
		return;
	}
	mb_hkdf(seed, mb_repo_epoch_key(repo, 1), MB_KEY_BYTES, NULL, 0, PAGE_SEED_TEXT,
			strlen(PAGE_SEED_TEXT));
	repo->page_seed = mb_get_u64(seed);
	mb_wipe(seed, sizeof(seed));
}

/* What was given must fit what the repository is: never write in the clear by mistake. */
static enum mb_code
check_unlock(enum mb_suite suite, const struct mb_unlock *unlock, struct mb_error *err)
{
	bool has_passphrase = unlock && unlock->passphrase.len > 0;
	bool has_key_file = unlock && unlock->key_file.len > 0;

	if (has_passphrase && has_key_file)
		return mb_fail(err, MB_CONFIG, "both a passphrase and a key file were given");
	if (has_key_file && unlock->key_file.len < MB_KEY_FILE_MIN_BYTES)
	{
		mb_fail(err, MB_CONFIG, "the key file has only %zu bytes", unlock->key_file.len);
		return mb_error_hint(err, "Make one of at least %d random bytes.", MB_KEY_FILE_MIN_BYTES);
	}
	if (suite != MB_SUITE_NONE && !has_passphrase && !has_key_file)
	{
		mb_fail(err, MB_CONFIG, "the repository is encrypted, and no passphrase was given");
		return mb_error_hint(err, "Give its passphrase or key file in the configuration.");
	}
	if (suite == MB_SUITE_NONE && (has_passphrase || has_key_file))
	{
		mb_fail(err, MB_CONFIG, "a %s was given, but the repository is not encrypted",
				has_passphrase ? "passphrase" : "key file");
		return mb_error_hint(err, "If it was made with encryption, somebody has replaced " //
								  "its " MB_HEADER_NAME "; else remove the setting.");
	}
	return MB_OK;
}

/* What is found where a repository shall be made: the key slots of an init that was interrupted. */
struct remains
{
	struct mb_store *store;
	struct mb_names slots;
};

static enum mb_code
found_something(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct remains *remains = ctx;
	struct mb_slot_name slot;

	if (mb_slot_name_parse(&slot, info->name))
	{
		mb_names_add(&remains->slots, info->name, strlen(info->name));
		return MB_OK;
	}
	mb_fail(err, MB_CONFLICT, "there is something at \"%s\" already (\"%s\")", remains->store->url,
			info->name);
	return mb_error_hint(err, "Choose an empty place for the new repository.");
}

static void
name_repository(struct mb_repo_header *header)
{
	mb_random(header->id, sizeof(header->id));
	header->id[6] = (header->id[6] & 0x0F) | 0x40; /* a random UUID: version 4 */
	header->id[8] = (header->id[8] & 0x3F) | 0x80;
	format_uuid(header->id_text, header->id);
}

static enum mb_code
put_first_slot(struct mb_repo *repo, const struct mb_unlock *unlock, char blob_name[MB_NAME_MAX],
			   struct mb_error *err)
{
	struct mb_slot_name name = {.epoch = 1};
	unsigned char key[MB_KEY_BYTES];
	enum mb_code code;

	mb_slot_id_new(name.id);
	mb_slot_blob_name(blob_name, &name);
	mb_random(key, sizeof(key));
	mb_keys_add(repo->keys, 1, key);
	repo->epoch = 1;
	code = mb_slot_put(repo, &name, "", key, unlock, MB_SCRYPT_N, err);
	mb_wipe(key, sizeof(key));
	return code;
}

/* What we have put is in the winner's way. */
static enum mb_code
give_way(struct mb_store *store, const char *slot, struct mb_error *err)
{
	struct mb_error why;

	mb_fail(err, MB_CONFLICT, "somebody else has just made a repository at \"%s\"", store->url);
	if (*slot && mb_store_remove(store, &slot, 1, &why))
		mb_error_detail(err, "Our key slot \"%s\" stays there: %.500s", slot, why.message);
	return err->code;
}

/*
 * The header is written last, and no name is written twice: of several that do this at one time the one
 * whose header stands has made the repository.  Only then are key slots taken for the remains of an init
 * that was interrupted: before, they may be those of one that is at work.
 */
static enum mb_code
put_repository(struct mb_repo *repo, const struct mb_repo_header *header,
			   const struct mb_unlock *unlock, struct remains *remains, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	char slot[MB_NAME_MAX] = "";
	enum mb_code code = MB_OK;

	if (header->suite != MB_SUITE_NONE)
		code = put_first_slot(repo, unlock, slot, err);
	mb_repo_header_encode(&bytes, header);
	if (!code)
		code = mb_store_put(repo->store, MB_HEADER_NAME, bytes.data, bytes.len, err);
	mb_buf_release(&bytes);
	if (code == MB_EXISTS)
		return give_way(repo->store, slot, err);
	if (!code && remains->slots.count > 0 &&
		mb_store_remove(repo->store, (const char *const *) remains->slots.items,
						remains->slots.count, err))
		code = mb_error_context(err, "the repository was made, but what an interrupted init has "
									 "left in it was not removed");
	return code;
}

enum mb_code
mb_repo_create(struct mb_repo **out, struct mb_store *store, enum mb_suite suite,
			   const struct mb_unlock *unlock, struct mb_error *err)
{
	struct mb_repo_header header = {.suite = suite};
	struct remains remains = {.store = store};
	struct mb_repo *repo = NULL;
	enum mb_code code = check_unlock(suite, unlock, err);

	if (!code)
		code = mb_store_list(store, "", found_something, &remains, err);
	if (!code)
		code = mb_store_clock(store, &header.created_us, err);
	if (code)
	{
		mb_names_release(&remains.slots);
		mb_store_free(store);
		return code;
	}
	name_repository(&header);
	repo = new_repo(store, &header);
	code = put_repository(repo, &header, unlock, &remains, err);
	mb_names_release(&remains.slots);
	if (code)
	{
		mb_repo_free(repo);
		return code;
	}
	set_page_seed(repo);
	*out = repo;
	return MB_OK;
}

enum mb_code
mb_repo_open(struct mb_repo **out, struct mb_store *store, const struct mb_unlock *unlock,
			 struct mb_error *err)
{
	struct mb_repo_header header;
	struct mb_repo *repo;
	enum mb_code code = read_header(&header, store, err);

	if (!code)
		code = check_unlock(header.suite, unlock, err);
	if (code)
	{
		mb_store_free(store);
		return code;
	}
	repo = new_repo(store, &header);
	if (repo->suite != MB_SUITE_NONE)
		code = mb_keys_open(repo, unlock, err);
	if (code)
	{
		mb_repo_free(repo);
		return code;
	}
	set_page_seed(repo);
	*out = repo;
	return MB_OK;
}

void
mb_repo_free(struct mb_repo *repo)
{
	if (!repo)
		return;
	mb_keys_free(repo->keys);
	mb_store_free(repo->store);
	free(repo);
}

enum mb_code
mb_repo_verify_header(struct mb_store *store, struct mb_error *err)
{
	struct mb_repo_header header;
	struct mb_repo *repo;
	enum mb_code code = read_header(&header, store, err);

	if (code || header.suite == MB_SUITE_NONE)
		return code;
	repo = new_repo(store, &header);
	code = mb_keys_check_slots(repo, err);
	repo->store = NULL; /* the caller's */
	mb_repo_free(repo);
	return code;
}
