/* archive_test.c - names in archives, and archives written and read again. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/archive_check.h"
#include "cli/archive_name.h"

/* -- names ------------------------------------------------------------------------------------------- */

static void
check_name(const char *key, const char *wanted)
{
	struct mb_buf name = {0}, back = {0};

	archive_name_encode(&name, key, strlen(key), 0);
	assert_string_equal(mb_buf_cstr(&name), wanted);
	assert_true(archive_name_decode(&back, mb_buf_cstr(&name)));
	assert_string_equal(mb_buf_cstr(&back), key);
	mb_buf_release(&name);
	mb_buf_release(&back);
}

static void
test_archive__names_stand_as_they_are_where_they_can(void **state)
{
	(void) state;
	check_name("a/b/c.jpg", "a/b/c.jpg");
	check_name("k\xC3\xA4se", "k\xC3\xA4se");
	check_name("100%", "100%");
	check_name("50%zz", "50%zz");
	check_name(".hidden/..b", ".hidden/..b");
	check_name("-rf *", "-rf *");
}

static void
test_archive__hostile_names_become_harmless_ones(void **state)
{
	(void) state;
	check_name("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd");
	check_name(".", "%2E");
	check_name("/abs", "%2Fabs");
	check_name("//", "%2F%2F");
	check_name("a//b", "a%2F/b");
	check_name("folder/", "folder%2F");
	check_name("a/./b", "a/%2E/b");
	check_name("a\\b", "a%5Cb");
	check_name("nl\n\x7F", "nl%0A%7F");
	check_name("caf\xE9", "caf%E9");
	check_name("\xED\xA0\x80", "%ED%A0%80");
	check_name("a%2Fb", "a%252Fb");
	check_name("%long/x", "%25long/x");
}

static void
test_archive__what_fits_nowhere_is_in_the_index_only(void **state)
{
	char key[301];
	struct mb_buf name = {0}, back = {0};

	(void) state;
	memset(key, 'x', 300);
	key[300] = '\0';
	archive_name_encode(&name, key, 300, 0);
	assert_true(mb_starts_with(mb_buf_cstr(&name), "%long/"));
	assert_int_equal(name.len, strlen("%long/") + 64);
	assert_false(archive_name_decode(&back, mb_buf_cstr(&name)));
	mb_buf_release(&name);
	mb_buf_release(&back);
}

/* Every way of three letters: no two keys have one name, none is another one's directory. */
static void
test_archive__keys_of_a_bucket_never_collide(void **state)
{
	static const char letters[] = "%-/2aF";
	enum
	{
		N = 6
	};
	char *names[N + N * N + N * N * N];
	char keys[N + N * N + N * N * N][4];
	struct archive_keys walker = {0};
	size_t count = 0, i, j;

	(void) state;
	for (i = 1; i <= N + N * N + N * N * N; i++)
	{
		size_t n = i, len = 0;

		/* Bijective numbers: all texts, once each. */
		for (; n > 0; n = (n - 1) / N)
			keys[count][len++] = letters[(n - 1) % N];
		keys[count++][len] = '\0';
	}
	qsort(keys, count, sizeof(keys[0]), (int (*)(const void *, const void *)) strcmp);
	for (i = 0; i < count; i++)
	{
		struct mb_buf name = {0}, back = {0};

		archive_keys_encode(&walker, &name, keys[i], strlen(keys[i]));
		assert_true(archive_name_decode(&back, mb_buf_cstr(&name)));
		assert_string_equal(mb_buf_cstr(&back), keys[i]);
		names[i] = mb_strdup(mb_buf_cstr(&name));
		mb_buf_release(&name);
		mb_buf_release(&back);
	}
	for (i = 0; i < count; i++)
		for (j = 0; j < count; j++)
			if (i != j)
			{
				size_t len = strlen(names[i]);

				assert_false(strncmp(names[i], names[j], len) == 0 &&
							 (names[j][len] == '\0' || names[j][len] == '/'));
			}
	for (i = 0; i < count; i++)
		free(names[i]);
	archive_keys_release(&walker);
}

/* -- archives ---------------------------------------------------------------------------------------- */

struct memory
{
	int fd;
};

static enum mb_code
into_memory(void *ctx, const void *data, size_t len, struct mb_error *err)
{
	struct memory *memory = ctx;

	if (write(memory->fd, data, len) != (ssize_t) len)
		return mb_fail(err, MB_IO, "could not write");
	return MB_OK;
}

/* An archive of ours with one object and one database, in a file without a name. */
static int
make_archive(const char *pass)
{
	static const char info[] = "{\"format\":\"mbackup-archive\",\"version\":1,\"members\":3,"
							   "\"bytes\":%d,\"components\":[]}";
	static const char line[] = "{\"file\":\"minio/b/key\",\"key\":\"key\"}\n";
	char path[] = "/tmp/archive-test-XXXXXX", text[256], *sum;
	struct archive_output out;
	struct archive_writer writer;
	struct mb_secret secret = {0};
	struct mb_error err;
	int fd, dir = mkdtemp(path) != NULL;
	char *file = mb_asprintf("%s/x", path);

	assert_true(dir);
	if (pass)
		mb_secret_set(&secret, pass, strlen(pass));
	assert_int_equal(archive_output_open(&out, file, 0, &secret, &err), MB_OK);
	assert_int_equal(archive_writer_open(&writer, &out, MB_TAR_GZIP, "/tmp", &err), MB_OK);
	assert_int_equal(archive_add_bytes(&writer, "postgres/d.dump", "dump", 4, &err), MB_OK);
	assert_int_equal(archive_add_bytes(&writer, "minio/b/key", "object", 6, &err), MB_OK);
	assert_int_equal(archive_add_bytes(&writer, "metadata/minio/b.jsonl", line, strlen(line), &err),
					 MB_OK);
	snprintf(text, sizeof(text), info, (int) (10 + strlen(line)));
	assert_int_equal(archive_add_bytes(&writer, ARCHIVE_INFO, text, strlen(text), &err), MB_OK);
	assert_int_equal(archive_finish(&writer, &err), MB_OK);
	assert_int_equal(archive_output_finish(&out, &err), MB_OK);
	archive_writer_close(&writer);
	archive_output_close(&out);
	mb_secret_release(&secret);
	fd = open(file, O_RDONLY);
	assert_true(fd >= 0);
	unlink(file);
	sum = mb_asprintf("%s.sha256", file);
	assert_int_equal(unlink(sum), 0);
	rmdir(path);
	free(sum);
	free(file);
	return fd;
}

static enum mb_code
read_archive(struct archive_inventory *inventory, int fd, const char *pass, struct mb_error *err)
{
	struct mb_secret secret = {0};
	struct archive_check check = {.path = "/nonexistent/x",
								  .fd = fd,
								  .pass = &secret,
								  .tmp_dir = "/tmp"};
	enum mb_code code;

	mb_error_clear(err);
	if (pass)
		mb_secret_set(&secret, pass, strlen(pass));
	code = archive_inventory_read(inventory, &check, err);
	mb_secret_release(&secret);
	return code;
}

static void
test_archive__what_is_written_is_read(void **state)
{
	static const char *const passes[] = {NULL, "a pass phrase"};
	struct archive_inventory inventory;
	struct archive_item *item;
	struct mb_error err;
	const char *rest;
	json_t *json;
	size_t i;

	(void) state;
	for (i = 0; i < 2; i++)
	{
		int fd = make_archive(passes[i]);

		assert_int_equal(read_archive(&inventory, fd, passes[i], &err), MB_OK);
		assert_true(inventory.is_ours);
		assert_int_equal(inventory.count, 2);
		assert_int_equal(inventory.encrypted, i == 1);
		item = archive_inventory_find(&inventory, "minio/b/key", &rest);
		assert_non_null(item);
		assert_string_equal(rest, "key");
		assert_int_equal(archive_index_next(item, "minio/b/key", &json, &err), MB_OK);
		assert_string_equal(mb_json_str(json, "key", ""), "key");
		json_decref(json);
		assert_int_equal(archive_index_next(item, "minio/b/other", &json, &err), MB_CORRUPT);
		archive_inventory_release(&inventory);
		if (passes[i])
		{
			assert_int_equal(read_archive(&inventory, fd, "another", &err), MB_DENIED);
			archive_inventory_release(&inventory);
			assert_int_equal(read_archive(&inventory, fd, NULL, &err), MB_DENIED);
			archive_inventory_release(&inventory);
		}
		close(fd);
	}
}

/* No prefix of an archive is one. */
static void
test_archive__half_of_one_is_none(void **state)
{
	struct archive_inventory inventory;
	unsigned char bytes[4096];
	struct mb_error err;
	int fd = make_archive("p");
	ssize_t len = pread(fd, bytes, sizeof(bytes), 0), n;

	(void) state;
	assert_true(len > 64 && len < (ssize_t) sizeof(bytes));
	close(fd);
	for (n = 0; n < len; n += 7)
	{
		/* The last blocks hold nothing but padding and gzip's own sum: by chance they may look whole. */
		if (n % 16 == 0 && n > len - 48)
			continue;
		fd = memfd_create("short", 0);
		assert_int_equal(write(fd, bytes, (size_t) n), n);
		if (read_archive(&inventory, fd, "p", &err) == MB_OK)
			fail_msg("%zd of %zd bytes are taken for an archive", n, len);
		archive_inventory_release(&inventory);
		close(fd);
	}
}

static enum mb_code
read_tar(const struct mb_tar_member *members, size_t count, struct mb_error *err)
{
	struct memory memory = {memfd_create("tar", 0)};
	struct mb_tar_writer *tar = mb_tar_writer_new(0, into_memory, &memory);
	struct archive_inventory inventory;
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < count; i++)
	{
		code = mb_tar_begin(tar, &members[i], err);
		if (!code && members[i].size)
			code = mb_tar_write(tar, "x", 1, err);
	}
	assert_int_equal(code, MB_OK);
	assert_int_equal(mb_tar_finish(tar, err), MB_OK);
	mb_tar_writer_free(tar);
	lseek(memory.fd, 0, SEEK_SET);
	code = read_archive(&inventory, memory.fd, NULL, err);
	archive_inventory_release(&inventory);
	close(memory.fd);
	return code;
}

static void
test_archive__hostile_members_are_refused(void **state)
{
	static const struct mb_tar_member hostile[] = {
		{.path = "minio/b/../../x", .type = S_IFREG, .size = 1},
		{.path = "/etc/x", .type = S_IFREG, .size = 1},
		{.path = "minio/b/link", .type = S_IFLNK, .link = "/etc"},
		{.path = "configs/x", .type = S_IFREG, .hard_link = "../y"},
		{.path = "configs/x", .type = S_IFREG, .hard_link = "minio/b/y"},
		{.path = "configs/fifo", .type = S_IFIFO},
	};
	static const struct mb_tar_member fine[] = {
		{.path = "backup-20200101/minio/b/x", .type = S_IFREG, .size = 1}};
	static const struct mb_tar_member outside[] =
		{{.path = "backup-20200101/minio/b/x", .type = S_IFREG, .size = 1},
		 {.path = "minio/b/y", .type = S_IFREG, .size = 1}};
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		assert_int_equal(read_tar(&hostile[i], 1, &err), MB_CORRUPT);
	assert_int_equal(read_tar(fine, 1, &err), MB_OK);
	assert_int_equal(read_tar(outside, 2, &err), MB_CORRUPT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archive__names_stand_as_they_are_where_they_can),
		cmocka_unit_test(test_archive__hostile_names_become_harmless_ones),
		cmocka_unit_test(test_archive__what_fits_nowhere_is_in_the_index_only),
		cmocka_unit_test(test_archive__keys_of_a_bucket_never_collide),
		cmocka_unit_test(test_archive__what_is_written_is_read),
		cmocka_unit_test(test_archive__half_of_one_is_none),
		cmocka_unit_test(test_archive__hostile_members_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
