/* repo_test.c - mbackup.json, key slots, frames, blobs and documents. */
#include "tests/lib/repo_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <zstd.h>

#include "core/base/hash.h"
#include "core/base/time.h"
#include "tests/lib/sim_store.h"

#define BLOB_NAME "sets/20261123T064402Z-b25a94f1d3c7"

static enum mb_code
first_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) err;
	if (!*(char *) ctx)
		snprintf(ctx, MB_NAME_MAX, "%s", info->name);
	return MB_OK;
}

/* The store of a repository, kept when the repository is freed. */
static struct mb_store *
keep_store(struct mb_repo *repo)
{
	struct mb_store *store = repo->store;

	repo->store = NULL;
	mb_repo_free(repo);
	return store;
}

static void
get_blob(struct mb_store *store, const char *name, struct mb_buf *out)
{
	struct mb_error err;

	mb_buf_reset(out);
	assert_ok(mb_store_get(store, name, 0, SIZE_MAX, out, &err), err);
}

/* -- ids and the header ---------------------------------------------------------------------- */

static void
ids_sort_by_time(void **state)
{
	char a[MB_ID_TEXT], b[MB_ID_TEXT];
	int64_t now = mb_time_now_us();

	(void) state;
	mb_id_new(a, now);
	mb_id_new(b, now + 1000000);
	assert_true(mb_id_is_valid(a) && mb_id_is_valid(b));
	assert_true(strcmp(a, b) < 0);
	assert_false(mb_id_is_valid(""));
	a[strlen(a) - 1] = '\0';
	assert_false(mb_id_is_valid(a));
	b[3] = '/';
	assert_false(mb_id_is_valid(b));
}

static void
every_flipped_bit_of_the_header_is_found(void **state)
{
	struct mb_repo_header header;
	struct mb_store *store = keep_store(memory_repo(MB_SUITE_NONE));
	struct mb_buf bytes = {0};
	struct mb_error err;
	size_t bit, cut;

	(void) state;
	get_blob(store, MB_HEADER_NAME, &bytes);
	assert_ok(mb_repo_header_decode(&header, bytes.data, bytes.len, &err), err);
	for (bit = 0; bit < 8 * bytes.len; bit++)
	{
		bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
		assert_code(MB_CORRUPT, mb_repo_header_decode(&header, bytes.data, bytes.len, &err), err);
		bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
	}
	for (cut = 0; cut < bytes.len; cut++)
		assert_code(MB_CORRUPT, mb_repo_header_decode(&header, bytes.data, cut, &err), err);
	mb_buf_put_str(&bytes, "\n");
	assert_code(MB_CORRUPT, mb_repo_header_decode(&header, bytes.data, bytes.len, &err), err);
	assert_true(err.hint[0] != '\0');
	mb_buf_release(&bytes);
	mb_store_free(store);
}

/* Give a header text its checksum. */
static void
seal_header(struct mb_buf *out, const char *text)
{
	unsigned char sum[MB_XXH128_BYTES];
	char hex[33];

	mb_xxh128(sum, text, strlen(text));
	mb_hex(hex, sum, sizeof(sum));
	mb_buf_reset(out);
	mb_buf_printf(out, "%s,\"checksum\":\"%s\"}\n", text, hex);
}

static void
headers_that_are_not_ours(void **state)
{
	static const struct
	{
		const char *text;
		enum mb_code code;
	} table[] = {
		{"{\"magic\":\"mbackup\",\"format\":1,\"id\":\"01234567-89ab-4def-8123-456789abcdef\","
		 "\"created\":\"2026-11-23T06:44:02.123456Z\",\"suite\":\"none\"",
		 MB_OK},
		{"{\"magic\":\"mbackup\",\"format\":2,\"what\":\"ever\"", MB_UNSUPPORTED},
		{"{\"magic\":\"mbackup\",\"format\":0", MB_CORRUPT},
		{"{\"magic\":\"other\",\"format\":2", MB_CORRUPT},
		{"{\"magic\":\"mbackup\", \"format\":1,\"id\":\"01234567-89ab-4def-8123-456789abcdef\","
		 "\"created\":\"2026-11-23T06:44:02.123456Z\",\"suite\":\"none\"",
		 MB_CORRUPT},
		{"{\"magic\":\"mbackup\",\"format\":1,\"id\":\"01234567-89ab-4def-8123-456789abcdef\","
		 "\"created\":\"2026-11-23T06:44:02.123456Z\",\"suite\":\"rot13\"",
		 MB_CORRUPT},
		{"{\"magic\":\"mbackup\",\"format\":1,\"id\":\"01234567-89AB-4def-8123-456789abcdef\","
		 "\"created\":\"2026-11-23T06:44:02.123456Z\",\"suite\":\"none\"",
		 MB_CORRUPT},
	};
	struct mb_buf bytes = {0};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		struct mb_repo_header header;
		struct mb_error err;

		seal_header(&bytes, table[i].text);
		if (table[i].code)
			assert_code(table[i].code, mb_repo_header_decode(&header, bytes.data, bytes.len, &err),
						err);
		else
			assert_ok(mb_repo_header_decode(&header, bytes.data, bytes.len, &err), err);
	}
	mb_buf_release(&bytes);
}

/* -- create, open, keys ---------------------------------------------------------------------- */

static void
create_and_open_again(void **state)
{
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		unsigned char id[MB_REPO_ID_BYTES];
		uint64_t seed = repo->page_seed;
		struct mb_unlock unlock = {0};
		struct mb_store *store;
		struct mb_error err;

		memcpy(id, repo->id, sizeof(id));
		assert_int_equal(repo->epoch, suite == MB_SUITE_NONE ? 0 : 1);
		store = keep_store(repo);
		assert_ok(mb_repo_verify_header(store, &err), err);
		if (suite != MB_SUITE_NONE)
			unlock_by_key_file(&unlock, FIXTURE_KEY);
		assert_ok(mb_repo_open(&repo, store, &unlock, &err), err);
		assert_memory_equal(repo->id, id, sizeof(id));
		assert_int_equal(repo->suite, suite);
		assert_true(repo->page_seed == seed);
		unlock_release(&unlock);
		mb_repo_free(repo);
	}
}

static void
create_refuses(void **state)
{
	struct mb_store *store = mb_store_memory_new(0);
	struct mb_unlock unlock = {0};
	struct mb_repo *repo = NULL;
	struct mb_error err;

	(void) state;
	assert_ok(mb_store_put(store, "something", "x", 1, &err), err);
	assert_code(MB_CONFLICT, mb_repo_create(&repo, store, MB_SUITE_NONE, &unlock, &err), err);
	store = mb_store_memory_new(0);
	assert_code(MB_CONFIG, mb_repo_create(&repo, store, MB_SUITE_AES_256_GCM, &unlock, &err), err);
	mb_secret_set(&unlock.passphrase, "", 0);
	store = mb_store_memory_new(0);
	assert_code(MB_CONFIG, mb_repo_create(&repo, store, MB_SUITE_AES_256_GCM, &unlock, &err), err);
	mb_secret_set(&unlock.key_file, "too short", 9);
	store = mb_store_memory_new(0);
	assert_code(MB_CONFIG, mb_repo_create(&repo, store, MB_SUITE_AES_256_GCM, &unlock, &err), err);
	mb_secret_set(&unlock.key_file, FIXTURE_KEY, 32);
	mb_secret_set(&unlock.passphrase, "both", 4);
	store = mb_store_memory_new(0);
	assert_code(MB_CONFIG, mb_repo_create(&repo, store, MB_SUITE_AES_256_GCM, &unlock, &err), err);
	unlock_release(&unlock);
	/* A failed put leaves no repository. */
	unlock_by_key_file(&unlock, FIXTURE_KEY);
	store = mb_store_memory_new(0);
	mb_store_memory_fail_after(store, 1, MB_NO_SPACE);
	assert_code(MB_NO_SPACE, mb_repo_create(&repo, store, MB_SUITE_AES_256_GCM, &unlock, &err),
				err);
	unlock_release(&unlock);
}

/* Two that make a repository in one place, one step of its store after the other. */
struct maker
{
	struct mb_store *place;
	struct mb_store_ops ops; /* of the simulated store in front of it */
	const char *key;
	int64_t pause_at; /* before this call of the store */
	sem_t paused;     /* ... it is, or it is done */
	sem_t go_on;
	enum mb_code code;
	struct mb_error err;
	pthread_t thread;
};

static void
pause_maker(void *ctx)
{
	struct maker *maker = ctx;

	sem_post(&maker->paused);
	sem_wait(&maker->go_on);
}

/* The place is not a maker's. */
static void
free_maker_store(struct mb_store *base)
{
	struct sim_store *sim = (struct sim_store *) base;

	free(sim->base.url);
	free(sim);
}

static void *
make_repository(void *ctx)
{
	struct maker *maker = ctx;
	struct sim_store *sim = sim_store_new();
	struct mb_unlock unlock = {0};
	struct mb_repo *repo = NULL;

	mb_store_free(sim->inner);
	sim->inner = maker->place;
	maker->ops = sim_ops;
	maker->ops.free = free_maker_store;
	sim->base.ops = &maker->ops;
	sim->hook_at = maker->pause_at;
	sim->hook = pause_maker;
	sim->hook_ctx = maker;
	unlock_by_key_file(&unlock, maker->key);
	maker->code = mb_repo_create(&repo, &sim->base, MB_SUITE_AES_256_GCM, &unlock, &maker->err);
	if (!maker->code)
		mb_repo_free(repo);
	unlock_release(&unlock);
	sem_post(&maker->paused);
	return NULL;
}

static enum mb_code
count_slots(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	(void) info;
	(void) err;
	++*(int *) ctx;
	return MB_OK;
}

/* The first pauses before its call a, the second runs to its call b, both end in this order. */
static int
race(int64_t a, int64_t b)
{
	struct mb_store *place = mb_store_memory_new(0);
	struct maker makers[2] = {{.place = place, .key = FIXTURE_KEY, .pause_at = a},
							  {.place = place,
							   .key = "another key of thirty-two bytes!",
							   .pause_at = b}};
	struct mb_unlock unlock = {0};
	struct mb_repo *repo = NULL;
	struct mb_error err;
	int i, winner, slots = 0;

	for (i = 0; i < 2; i++)
	{
		sem_init(&makers[i].paused, 0, 0);
		sem_init(&makers[i].go_on, 0, 0);
		assert_int_equal(pthread_create(&makers[i].thread, NULL, make_repository, &makers[i]), 0);
		sem_wait(&makers[i].paused);
	}
	for (i = 0; i < 2; i++)
	{
		sem_post(&makers[i].go_on);
		pthread_join(makers[i].thread, NULL);
	}
	winner = makers[0].code ? 1 : 0;
	assert_int_equal(makers[winner].code, MB_OK);
	assert_int_equal(makers[!winner].code, MB_CONFLICT);
	unlock_by_key_file(&unlock, makers[winner].key);
	assert_ok(mb_store_list(place, "keys/", count_slots, &slots, &err), err);
	assert_int_equal(slots, 1);
	assert_ok(mb_repo_open(&repo, place, &unlock, &err), err);
	mb_repo_free(repo);
	unlock_release(&unlock);
	return winner;
}

static void
of_two_that_create_one_wins(void **state)
{
	int64_t a, b;
	int wins[2] = {0, 0};

	(void) state;
	for (a = 1; a < 8; a++)
		for (b = 1; b < 8; b++)
			wins[race(a, b)]++;
	assert_true(wins[0] > 0 && wins[1] > 0);
}

static void
no_repository_is_not_found(void **state)
{
	struct mb_unlock unlock = {0};
	struct mb_repo *repo = NULL;
	struct mb_error err;

	(void) state;
	assert_code(MB_NOT_FOUND, mb_repo_open(&repo, mb_store_memory_new(0), &unlock, &err), err);
	assert_non_null(strstr(err.hint, "mbackup init"));
}

static void
wrong_or_missing_keys(void **state)
{
	struct mb_store *store = keep_store(memory_repo(MB_SUITE_AES_256_GCM));
	struct mb_buf header = {0}, slot = {0};
	char slot_name[MB_NAME_MAX] = "";
	struct mb_unlock unlock = {0};
	struct mb_repo *repo = NULL;
	struct mb_error err;

	(void) state;
	get_blob(store, MB_HEADER_NAME, &header);
	assert_ok(mb_store_list(store, "keys/", first_name, slot_name, &err), err);
	get_blob(store, slot_name, &slot);
#define COPY_OF_STORE()                                                    \
	(store = mb_store_memory_new(0),                                       \
	 mb_store_put(store, MB_HEADER_NAME, header.data, header.len, &err) || \
			 mb_store_put(store, slot_name, slot.data, slot.len, &err)     \
		 ? NULL                                                            \
		 : store)
	assert_code(MB_CONFIG, mb_repo_open(&repo, store, &unlock, &err), err);
	unlock_by_key_file(&unlock, "another key, also thirty-two bytes");
	assert_code(MB_DENIED, mb_repo_open(&repo, COPY_OF_STORE(), &unlock, &err), err);
	assert_true(err.hint[0] != '\0');
	unlock_release(&unlock);
	mb_secret_set(&unlock.passphrase, "passphrase", 10);
	assert_code(MB_DENIED, mb_repo_open(&repo, COPY_OF_STORE(), &unlock, &err), err);
	unlock_release(&unlock);
	unlock_by_key_file(&unlock, FIXTURE_KEY);
	assert_ok(mb_repo_open(&repo, COPY_OF_STORE(), &unlock, &err), err);
	mb_repo_free(repo);
	/* The only slot damaged, and missing. */
	slot.data[slot.len / 2] ^= 1;
	assert_code(MB_CORRUPT, mb_repo_open(&repo, COPY_OF_STORE(), &unlock, &err), err);
	store = COPY_OF_STORE();
	assert_code(MB_CORRUPT, mb_repo_verify_header(store, &err), err);
	assert_ok(mb_store_remove(store, (const char *[]){slot_name}, 1, &err), err);
	assert_code(MB_CORRUPT, mb_repo_verify_header(store, &err), err);
	assert_code(MB_CORRUPT, mb_repo_open(&repo, store, &unlock, &err), err);
	unlock_release(&unlock);
	mb_buf_release(&header);
	mb_buf_release(&slot);
}

static void
passphrases_and_further_slots(void **state)
{
	struct mb_unlock unlock = {0}, other = {0};
	unsigned char key[MB_KEY_BYTES];
	struct mb_repo *repo = NULL;
	struct mb_store *store;
	struct mb_error err;
	int64_t before;

	(void) state;
	mb_secret_set(&unlock.passphrase, "correct horse", 13);
	assert_ok(mb_repo_create(&repo, mb_store_memory_new(0), MB_SUITE_AES_256_GCM, &unlock, &err),
			  err);
	memcpy(key, mb_repo_epoch_key(repo, 1), sizeof(key));
	store = keep_store(repo);
	assert_ok(mb_repo_open(&repo, store, &unlock, &err), err);
	assert_memory_equal(mb_repo_epoch_key(repo, 1), key, sizeof(key));
	/* A second slot of the same epoch opens the same key. */
	mb_secret_set(&other.passphrase, "battery staple", 14);
	assert_ok(mb_repo_add_slot(repo, 1, key, &other, 1024, &err), err);
	store = keep_store(repo);
	assert_ok(mb_repo_open(&repo, store, &other, &err), err);
	assert_memory_equal(mb_repo_epoch_key(repo, 1), key, sizeof(key));
	/* A new epoch becomes the one to write with; the old one stays readable. */
	fill_random(key, sizeof(key), 3);
	assert_ok(mb_repo_add_slot(repo, 2, key, &other, 1024, &err), err);
	store = keep_store(repo);
	assert_ok(mb_repo_open(&repo, store, &other, &err), err);
	assert_int_equal(repo->epoch, 2);
	assert_non_null(mb_repo_epoch_key(repo, 1));
	store = keep_store(repo);
	before = mb_monotonic_ms();
	assert_code(MB_DENIED, mb_repo_open(&repo, store, &unlock, &err), err);
	assert_true(mb_monotonic_ms() - before < 20000);
	unlock_release(&unlock);
	unlock_release(&other);
}

static void
an_encrypted_repository_is_not_downgraded(void **state)
{
	struct mb_repo_header header = {.suite = MB_SUITE_NONE};
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_repo plain = *repo;
	struct mb_unlock unlock = {0};
	struct mb_buf bytes = {0};
	struct mb_store *store;
	struct mb_error err;
	json_t *json = json_object();

	(void) state;
	/* A blob of suite 0 in an encrypted repository is refused. */
	plain.suite = MB_SUITE_NONE;
	assert_ok(mb_doc_put(&plain, MB_ROLE_SET, BLOB_NAME, json, &err), err);
	json_decref(json);
	assert_code(MB_CORRUPT, mb_doc_get(repo, MB_ROLE_SET, BLOB_NAME, &json, &err), err);
	/* So is a header that says "not encrypted" when a key is given. */
	memcpy(header.id, repo->id, sizeof(header.id));
	memcpy(header.id_text, repo->id_text, sizeof(header.id_text));
	mb_repo_header_encode(&bytes, &header);
	replace_blob(repo->store, MB_HEADER_NAME, bytes.data, bytes.len);
	store = keep_store(repo);
	unlock_by_key_file(&unlock, FIXTURE_KEY);
	assert_code(MB_CONFIG, mb_repo_open(&repo, store, &unlock, &err), err);
	unlock_release(&unlock);
	mb_buf_release(&bytes);
}

/* -- frames ---------------------------------------------------------------------------------- */

static void
put_blob(const struct mb_repo *repo, const char *name, const void *data, size_t len)
{
	struct mb_blob_writer writer = {0};
	struct mb_error err;

	mb_blob_begin(&writer, repo, MB_ROLE_SET, name);
	mb_blob_frames_last(&writer, data, len);
	assert_ok(mb_blob_put(&writer, &err), err);
	mb_blob_writer_release(&writer);
}

static void
blobs_of_all_sizes_come_back(void **state)
{
	static const size_t sizes[] = {0,
								   1,
								   100,
								   MB_FRAME_MAX_PLAIN - 1,
								   MB_FRAME_MAX_PLAIN,
								   MB_FRAME_MAX_PLAIN + 1,
								   3 * MB_FRAME_MAX_PLAIN + 17};
	unsigned char *data = malloc(4 * MB_FRAME_MAX_PLAIN);
	enum mb_suite suite;
	size_t i;
	int pattern, level;

	(void) state;
	assert_non_null(data);
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
		for (pattern = 0; pattern < 2; pattern++)
			for (level = 0; level <= 3; level += 3)
				for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
				{
					struct mb_repo *repo = memory_repo(suite);
					struct mb_blob_info info;
					struct mb_buf out = {0};
					struct mb_error err;

					repo->zstd_level = level;
					if (pattern == 0)
						memset(data, 'x', sizes[i]);
					else
						fill_random(data, sizes[i], i + 1);
					put_blob(repo, BLOB_NAME, data, sizes[i]);
					assert_ok(mb_blob_get(repo, MB_ROLE_SET, BLOB_NAME, SIZE_MAX, &out, &err), err);
					assert_int_equal(out.len, sizes[i]);
					if (sizes[i])
						assert_memory_equal(out.data, data, sizes[i]);
					assert_ok(mb_store_head(repo->store, BLOB_NAME, &info, &err), err);
					/* Never more than the raw size and what frames cost. */
					assert_true(info.bytes <= sizes[i] + 32 + 5 * 48);
					if (pattern == 0 && level > 0 && sizes[i] > 1000)
						assert_true(info.bytes < sizes[i] / 10);
					mb_buf_release(&out);
					mb_repo_free(repo);
				}
	free(data);
}

static void
every_flipped_bit_of_a_blob_is_found(void **state)
{
	static const char text[] = "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		struct mb_blob_writer writer = {0};
		struct mb_buf bytes = {0}, out = {0};
		struct mb_error err;
		size_t bit, cut;

		mb_blob_begin(&writer, repo, MB_ROLE_SET, BLOB_NAME);
		mb_blob_frame(&writer, text, sizeof(text), 0);
		mb_blob_frame(&writer, "tiny", 4, 0);
		mb_blob_frame(&writer, "", 0, MB_FRAME_LAST);
		assert_ok(mb_blob_put(&writer, &err), err);
		mb_blob_writer_release(&writer);
		get_blob(repo->store, BLOB_NAME, &bytes);
		for (bit = 0; bit < 8 * bytes.len; bit++)
		{
			bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
			replace_blob(repo->store, BLOB_NAME, bytes.data, bytes.len);
			if (mb_blob_get(repo, MB_ROLE_SET, BLOB_NAME, 1000, &out, &err) == MB_OK)
				fail_msg("flipped bit %zu was not noticed", bit);
			assert_true(err.code == MB_CORRUPT || err.code == MB_UNSUPPORTED ||
						err.code == MB_DENIED);
			assert_int_equal(out.len, 0);
			bytes.data[bit / 8] ^= (unsigned char) (1u << (bit % 8));
		}
		for (cut = 0; cut < bytes.len; cut++)
		{
			replace_blob(repo->store, BLOB_NAME, bytes.data, cut);
			assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, BLOB_NAME, 1000, &out, &err),
						err);
		}
		mb_buf_put(&bytes, "\0", 1);
		replace_blob(repo->store, BLOB_NAME, bytes.data, bytes.len);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, BLOB_NAME, 1000, &out, &err), err);
		bytes.len--;
		replace_blob(repo->store, BLOB_NAME, bytes.data, bytes.len);
		assert_ok(mb_blob_get(repo, MB_ROLE_SET, BLOB_NAME, 1000, &out, &err), err);
		assert_int_equal(out.len, sizeof(text) + 4);
		mb_buf_release(&bytes);
		mb_buf_release(&out);
		mb_repo_free(repo);
	}
}

static void
no_blob_takes_anothers_place(void **state)
{
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		struct mb_repo *twin = memory_repo(suite);
		struct mb_buf bytes = {0}, out = {0};
		struct mb_error err;

		put_blob(repo, "sets/a", "contents", 8);
		get_blob(repo->store, "sets/a", &bytes);
		/* Another name, role, repository. */
		assert_ok(mb_store_put(repo->store, "sets/b", bytes.data, bytes.len, &err), err);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, "sets/b", 100, &out, &err), err);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_MARK, "sets/a", 100, &out, &err), err);
		assert_ok(mb_store_put(twin->store, "sets/a", bytes.data, bytes.len, &err), err);
		assert_code(MB_CORRUPT, mb_blob_get(twin, MB_ROLE_SET, "sets/a", 100, &out, &err), err);
		/* The role byte changed along with the wish. */
		bytes.data[10] = MB_ROLE_MARK;
		replace_blob(repo->store, "sets/a", bytes.data, bytes.len);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_MARK, "sets/a", 100, &out, &err), err);
		mb_buf_release(&bytes);
		mb_buf_release(&out);
		mb_repo_free(repo);
		mb_repo_free(twin);
	}
}

static void
frames_keep_their_order(void **state)
{
	enum mb_suite suite;

	(void) state;
	for (suite = MB_SUITE_NONE; suite <= MB_SUITE_AES_256_GCM; suite++)
	{
		struct mb_repo *repo = memory_repo(suite);
		struct mb_blob_writer writer = {0};
		struct mb_buf swapped = {0}, out = {0};
		struct mb_error err;
		size_t frame = 16 + 32 + 5;

		mb_blob_begin(&writer, repo, MB_ROLE_SET, "sets/a");
		mb_blob_frame(&writer, "first", 5, 0);
		mb_blob_frame(&writer, "other", 5, 0);
		mb_blob_frame(&writer, "final", 5, MB_FRAME_LAST);
		assert_int_equal(writer.bytes.len, 32 + 3 * frame);
		mb_buf_put(&swapped, writer.bytes.data, 32);
		mb_buf_put(&swapped, writer.bytes.data + 32 + frame, frame);
		mb_buf_put(&swapped, writer.bytes.data + 32, frame);
		mb_buf_put(&swapped, writer.bytes.data + 32 + 2 * frame, frame);
		assert_ok(mb_store_put(repo->store, "sets/a", swapped.data, swapped.len, &err), err);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, "sets/a", 100, &out, &err), err);
		/* One left out, one twice. */
		mb_buf_reset(&swapped);
		mb_buf_put(&swapped, writer.bytes.data, 32 + frame);
		mb_buf_put(&swapped, writer.bytes.data + 32 + 2 * frame, frame);
		replace_blob(repo->store, "sets/a", swapped.data, swapped.len);
		assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, "sets/a", 100, &out, &err), err);
		mb_buf_release(&swapped);
		mb_buf_release(&out);
		mb_blob_writer_release(&writer);
		mb_repo_free(repo);
	}
}

struct hostile_frame
{
	uint32_t number;
	uint8_t flags;
	uint8_t codec;
	uint16_t zero;
	uint32_t plain_len;
	int32_t stored_more; /* than the payload and 32 */
	bool payload_is_zstd;
};

/* A blob of one frame that says this of itself, and whose tag fits. */
static void
make_hostile(const struct mb_repo *repo, const struct hostile_frame *says, struct mb_buf *blob)
{
	unsigned char plain[1000], packed[2000], sum[16], *frame;
	struct mb_blob_writer writer = {0};
	struct mb_buf ad = {0};
	size_t packed_len;

	memset(plain, 'p', sizeof(plain));
	packed_len = ZSTD_compress(packed, sizeof(packed), plain, sizeof(plain), 1);
	if (!says->payload_is_zstd)
		memset(packed, 'z', packed_len);
	mb_blob_begin(&writer, repo, MB_ROLE_SET, "sets/x");
	mb_buf_put(blob, writer.bytes.data, 32);
	mb_blob_writer_release(&writer);
	mb_buf_put_u32(blob, says->number);
	mb_buf_put_u8(blob, says->flags);
	mb_buf_put_u8(blob, says->codec);
	mb_buf_put_u16(blob, says->zero);
	mb_buf_put_u32(blob, says->plain_len);
	mb_buf_put_u32(blob, (uint32_t) ((int64_t) packed_len + 32 + says->stored_more));
	mb_xxh128(sum, plain, sizeof(plain));
	mb_buf_put(blob, sum, 16);
	mb_buf_put(blob, packed, packed_len);
	frame = blob->data + 32;
	mb_buf_put(&ad, "mbackup frame", 14);
	mb_buf_put(&ad, repo->id, 16);
	mb_buf_put(&ad, blob->data, 32);
	mb_buf_put(&ad, frame, 16);
	mb_buf_put_str(&ad, "sets/x");
	mb_xxh128_2(sum, ad.data, ad.len, frame + 16, blob->len - 48);
	mb_buf_put(blob, sum, 16);
	mb_buf_release(&ad);
}

/* Without encryption anybody can make a frame whose tag fits: what it says is checked too. */
static void
hostile_frames_are_refused(void **state)
{
	static const struct hostile_frame table[] = {
		{0, 1, 1, 0, 1000, 0, true},        /* this one is fine */
		{1, 1, 1, 0, 1000, 0, true},        /* number */
		{0, 0, 1, 0, 1000, 0, true},        /* not the last */
		{0, 3, 1, 0, 1000, 0, true},        /* an index */
		{0, 5, 1, 0, 1000, 0, true},        /* unknown flag */
		{0, 1, 2, 0, 1000, 0, true},        /* unknown codec */
		{0, 1, 1, 7, 1000, 0, true},        /* reserved */
		{0, 1, 1, 0, 999, 0, true},         /* says less than there is */
		{0, 1, 1, 0, 1001, 0, true},        /* says more than there is */
		{0, 1, 1, 0, 0xFFFFFFF0u, 0, true}, /* over the cap */
		{0, 1, 1, 0, 1000, 1, true},        /* longer than the blob */
		{0, 1, 0, 0, 1000, 0, true},        /* raw, but not as long */
		{0, 1, 1, 0, 1000, 0, false},       /* not zstd */
	};
	struct mb_repo *repo = memory_repo(MB_SUITE_NONE);
	struct mb_buf out = {0};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		struct mb_buf blob = {0};
		struct mb_error err;
		enum mb_code code;

		make_hostile(repo, &table[i], &blob);
		if (i > 0)
			replace_blob(repo->store, "sets/x", blob.data, blob.len);
		else
			assert_ok(mb_store_put(repo->store, "sets/x", blob.data, blob.len, &err), err);
		code = mb_blob_get(repo, MB_ROLE_SET, "sets/x", 5000, &out, &err);
		if (code != (i == 0 ? MB_OK : MB_CORRUPT))
			fail_msg("case %zu: %s", i, mb_code_name(code));
		mb_buf_release(&blob);
	}
	mb_buf_release(&out);
	mb_repo_free(repo);
}

static void
plain_size_is_capped(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	struct mb_buf out = {0};
	struct mb_error err;

	(void) state;
	put_blob(repo, "sets/a", "0123456789", 10);
	assert_code(MB_CORRUPT, mb_blob_get(repo, MB_ROLE_SET, "sets/a", 9, &out, &err), err);
	assert_int_equal(out.len, 0);
	assert_ok(mb_blob_get(repo, MB_ROLE_SET, "sets/a", 10, &out, &err), err);
	mb_buf_release(&out);
	mb_repo_free(repo);
}

static void
documents_come_back(void **state)
{
	struct mb_repo *repo = memory_repo(MB_SUITE_AES_256_GCM);
	json_t *json = json_object(), *back = NULL;
	struct mb_error err;

	(void) state;
	mb_json_set_str(json, "text", "gr\xc3\xbc\xc3\x9f");
	mb_json_set_int(json, "number", INT64_MAX);
	assert_ok(mb_doc_put(repo, MB_ROLE_MARK, "marks/x", json, &err), err);
	assert_code(MB_EXISTS, mb_doc_put(repo, MB_ROLE_MARK, "marks/x", json, &err), err);
	assert_ok(mb_doc_get(repo, MB_ROLE_MARK, "marks/x", &back, &err), err);
	assert_true(json_equal(json, back));
	json_decref(json);
	json_decref(back);
	put_blob(repo, "sets/not-json", "[1]", 3);
	assert_code(MB_CORRUPT, mb_doc_get(repo, MB_ROLE_SET, "sets/not-json", &back, &err), err);
	mb_repo_free(repo);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_sort_by_time),
		cmocka_unit_test(every_flipped_bit_of_the_header_is_found),
		cmocka_unit_test(headers_that_are_not_ours),
		cmocka_unit_test(create_and_open_again),
		cmocka_unit_test(create_refuses),
		cmocka_unit_test(of_two_that_create_one_wins),
		cmocka_unit_test(no_repository_is_not_found),
		cmocka_unit_test(wrong_or_missing_keys),
		cmocka_unit_test(passphrases_and_further_slots),
		cmocka_unit_test(an_encrypted_repository_is_not_downgraded),
		cmocka_unit_test(blobs_of_all_sizes_come_back),
		cmocka_unit_test(every_flipped_bit_of_a_blob_is_found),
		cmocka_unit_test(no_blob_takes_anothers_place),
		cmocka_unit_test(frames_keep_their_order),
		cmocka_unit_test(hostile_frames_are_refused),
		cmocka_unit_test(plain_size_is_capped),
		cmocka_unit_test(documents_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
