/* base_test.c - core/base: errors, times, sizes, memory, names, hashes. */
#include "tests/lib/repo_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"

static void
errors_carry_code_message_and_hint(void **state)
{
	struct mb_error err;

	(void) state;
	assert_int_equal(mb_fail(&err, MB_CONFLICT, "could not %s", "do it"), MB_CONFLICT);
	assert_string_equal(err.message, "could not do it");
	mb_error_hint(&err, "Do %d.", 1);
	assert_string_equal(err.hint, "Do 1.");
	assert_int_equal(mb_error_context(&err, "ctx"), MB_CONFLICT);
	assert_string_equal(err.message, "ctx: could not do it");
	assert_int_equal(mb_fail_errno(&err, ENOENT, "x"), MB_NOT_FOUND);
	assert_int_equal(err.hint[0], '\0');
	assert_int_equal(mb_fail_errno(&err, EACCES, "x"), MB_DENIED);
	assert_int_equal(mb_fail_errno(&err, ENOSPC, "x"), MB_NO_SPACE);
	assert_int_equal(mb_fail_errno(&err, EEXIST, "x"), MB_EXISTS);
	assert_int_equal(mb_fail_errno(&err, ECONNREFUSED, "x"), MB_UNREACHABLE);
	assert_int_equal(mb_fail_errno(&err, EIO, "x"), MB_IO);
	/* DENIED: by a secret that does not open it, or by somebody who lets nobody look. */
	assert_false(mb_error_is_of_contents(&err));
	mb_fail_errno(&err, EACCES, "x");
	assert_false(mb_error_is_of_contents(&err));
	mb_fail(&err, MB_DENIED, "no key");
	assert_true(mb_error_is_of_contents(&err));
	mb_fail(&err, MB_UNREACHABLE, "x");
	assert_false(mb_error_is_of_contents(&err));
	assert_int_equal(mb_code_exit_status(MB_CORRUPT, 0), 6);
	assert_int_equal(mb_code_exit_status(MB_INTERRUPTED, 15), 143);
}

static void
times_are_parsed(void **state)
{
	static const struct
	{
		const char *text;
		int64_t us; /* -1: refused */
	} table[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-11-23T06:44:02.123456Z", 1795416242123456},
		{"2026-11-23 06:44:02.5+00", 1795416242500000},
		{"2026-11-23T08:44:02+02:00", 1795416242000000},
		{"2026-11-23T08:44:02+0200", 1795416242000000},
		{"2026-11-23 01:14:02-05:30", 1795416242000000},
		{"2026-11-23T06:44Z", 1795416240000000},
		{"2024-02-29T00:00:00Z", 1709164800000000},
		{"2026-02-29T00:00:00Z", -1},
		{"2026-13-01T00:00:00Z", -1},
		{"2026-11-23T24:00:00Z", -1},
		{"2026-11-23T06:44:02Zx", -1},
		{"2026-11-23T06:44:02+99", -1},
		{"yesterday", -1},
		{"", -1},
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		struct mb_error err;
		int64_t us = 0;
		enum mb_code code = mb_time_parse(&us, table[i].text, &err);

		if (table[i].us < 0)
			assert_int_equal(code, MB_CONFIG);
		else if (code || us != table[i].us)
			fail_msg("\"%s\": %lld", table[i].text, (long long) us);
	}
}

static void
times_are_formatted(void **state)
{
	char text[MB_TIME_TEXT];

	(void) state;
	mb_time_format(text, 1795416242123456);
	assert_string_equal(text, "2026-11-23T06:44:02.123456Z");
	mb_time_format(text, -1);
	assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
	mb_time_compact(text, 1795416242123456);
	assert_string_equal(text, "20261123T064402Z");
}

static void
sizes_and_durations_are_parsed(void **state)
{
	char text[MB_SIZE_TEXT];
	struct mb_error err;
	uint64_t bytes = 0;
	int64_t ms = 0;

	(void) state;
	assert_ok(mb_size_parse(&bytes, "64KiB", &err), err);
	assert_int_equal(bytes, 65536);
	assert_ok(mb_size_parse(&bytes, "16M", &err), err);
	assert_int_equal(bytes, 16 << 20);
	assert_ok(mb_size_parse(&bytes, "4096", &err), err);
	assert_int_equal(bytes, 4096);
	assert_int_equal(mb_size_parse(&bytes, "12 parsecs", &err), MB_CONFIG);
	assert_int_equal(mb_size_parse(&bytes, "-1", &err), MB_CONFIG);
	assert_ok(mb_duration_parse(&ms, "500ms", &err), err);
	assert_int_equal(ms, 500);
	assert_ok(mb_duration_parse(&ms, "7d", &err), err);
	assert_int_equal(ms, 7LL * 86400000);
	assert_ok(mb_duration_parse(&ms, "10", &err), err);
	assert_int_equal(ms, 10000);
	assert_int_equal(mb_duration_parse(&ms, "soon", &err), MB_CONFIG);
	mb_size_format(text, 17);
	assert_string_equal(text, "17 B");
	mb_size_format(text, 312 * 1024);
	assert_string_equal(text, "312 KiB");
}

static void
distances(void **state)
{
	(void) state;
	assert_int_equal(mb_distance("postgres", "postgres"), 0);
	assert_int_equal(mb_distance("postgres", "postgras"), 1);
	assert_int_equal(mb_distance("", "abc"), 3);
	assert_int_equal(mb_distance("kitten", "sitting"), 3);
}

static void
reading_past_the_end_is_noticed(void **state)
{
	static const unsigned char bytes[] = {1, 2, 0, 3, 0, 0, 0};
	struct mb_rd rd = mb_rd_init(bytes, sizeof(bytes));

	(void) state;
	assert_int_equal(mb_rd_u8(&rd), 1);
	assert_int_equal(mb_rd_u16(&rd), 2);
	assert_int_equal(mb_rd_u32(&rd), 3);
	assert_false(rd.bad);
	assert_int_equal(mb_rd_left(&rd), 0);
	assert_int_equal(mb_rd_u64(&rd), 0);
	assert_true(rd.bad);
	assert_null(mb_rd_bytes(&rd, 0));
}

static void
hex_both_ways(void **state)
{
	unsigned char bytes[4];
	char text[9];

	(void) state;
	mb_hex(text, (const unsigned char *) "\x00\xAB\xff\x10", 4);
	assert_string_equal(text, "00abff10");
	assert_true(mb_unhex(bytes, text, 4));
	assert_memory_equal(bytes, "\x00\xAB\xff\x10", 4);
	assert_false(mb_unhex(bytes, "00ABff10", 4));
	assert_false(mb_unhex(bytes, "00abff1", 4));
	assert_false(mb_unhex(bytes, "00abff100", 4));
}

static void
names_are_safe_or_not(void **state)
{
	static const char *const good[] = {"a", "a/b", "..a", "a..", "...", "a b/c"};
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/."};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(mb_name_is_safe(good[i], strlen(good[i])));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mb_name_is_safe(bad[i], strlen(bad[i])));
	assert_false(mb_name_is_safe("a\0b", 3));
}

/* What /proc/self/smaps says of the mapping at an address: "dd" is MADV_DONTDUMP. */
static bool
mapping_has_flag(const void *address, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from, to, wanted = (unsigned long) (uintptr_t) address;
	bool is_ours = false, found = false;
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
	{
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_ours = wanted >= from && wanted < to;
		if (is_ours && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	fclose(file);
	return found;
}

static void
secrets_are_left_out_of_cores(void **state)
{
	struct mb_secret secret = {0};
	const unsigned char *data;

	(void) state;
	mb_secret_set(&secret, "hunter2", 7);
	data = secret.data;
	assert_true(mapping_has_flag(data, " dd"));
	assert_false(mapping_has_flag(state, " dd"));
	mb_secret_release(&secret);
	assert_null(secret.data);
}

/* A child that may leave a core and holds a secret: it is not in it.  Where cores go elsewhere, nothing is said. */
static void
a_real_core_holds_no_secret(void **state)
{
	char dir[] = "/tmp/mb-core-XXXXXX", word[] = "Vswordfish", plain[32], name[64];
	struct mb_buf core = {0};
	struct mb_error err;
	pid_t child;
	size_t i;

	(void) state;
	assert_non_null(mkdtemp(dir));
	child = fork();
	if (child == 0)
	{
		struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
		struct mb_secret secret = {0};

		if (chdir(dir) != 0 || setrlimit(RLIMIT_CORE, &all) != 0)
			_exit(0);
		prctl(PR_SET_DUMPABLE, 1);
		for (i = 0; i < sizeof(word); i++)
			plain[i] = (char) (word[i] + (word[i] != 0)); /* no literal is what we look for */
		mb_secret_set(&secret, plain, strlen(plain));
		memset(plain, 0, sizeof(plain));
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	snprintf(name, sizeof(name), "%s/core", dir);
	if (mb_file_read(&core, name, 1u << 30, &err) != MB_OK)
	{
		snprintf(name, sizeof(name), "%s/core.%d", dir, (int) child);
		(void) !mb_file_read(&core, name, 1u << 30, &err);
	}
	assert_null(memmem(core.data ? core.data : (unsigned char *) "", core.len, "Wtxpsegjti", 10));
	if (core.len == 0)
		print_message("no core file here to look into\n");
	mb_buf_release(&core);
	assert_ok(mb_rmtree(dir, &err), err);
}

static void
opening_beneath_follows_no_link(void **state)
{
	char dir[] = "/tmp/mb-base-XXXXXX";
	struct mb_error err;
	int root, fd = -1;

	(void) state;
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "real", 0700), 0);
	assert_int_equal(symlinkat("/etc", root, "out"), 0);
	assert_int_equal(symlinkat("real", root, "alias"), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "file"), 0);
	assert_ok(mb_open_beneath(&fd, root, "real/x", O_CREAT | O_WRONLY, 0600, &err), err);
	close(fd);
	assert_true(mb_open_beneath(&fd, root, "out/passwd", O_RDONLY, 0, &err) != MB_OK);
	assert_true(mb_open_beneath(&fd, root, "alias/x", O_RDONLY, 0, &err) != MB_OK);
	assert_true(mb_open_beneath(&fd, root, "file", O_RDONLY, 0, &err) != MB_OK);
	assert_true(mb_open_beneath(&fd, root, "../etc/passwd", O_RDONLY, 0, &err) != MB_OK);
	assert_true(mb_open_beneath(&fd, root, "/etc/passwd", O_RDONLY, 0, &err) != MB_OK);
	assert_code(MB_NOT_FOUND, mb_open_beneath(&fd, root, "none", O_RDONLY, 0, &err), err);
	close(root);
	assert_ok(mb_rmtree(dir, &err), err);
}

static void
a_directory_is_read_to_its_end_or_fails(void **state)
{
	char dir[] = "/tmp/mb-base-XXXXXX", path[64];
	struct mb_names names = {0};
	struct dirent *entry;
	struct mb_error err;
	DIR *handle;

	(void) state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_ok(mb_dir_names(path, "", &names, &err), err);
	assert_int_equal(names.count, 0);
	snprintf(path, sizeof(path), "%s/work-1", dir);
	assert_ok(mb_file_write_durable(path, "x", 1, 0600, &err), err);
	assert_code(MB_NOT_FOUND, mb_dir_names(path, "", &names, &err), err); /* no directory */
	snprintf(path, sizeof(path), "%s/other", dir);
	assert_ok(mb_file_write_durable(path, "x", 1, 0600, &err), err);
	assert_ok(mb_dir_names(dir, "work-", &names, &err), err);
	assert_int_equal(names.count, 1);
	assert_string_equal(names.items[0], "work-1");
	mb_names_release(&names);
	assert_ok(mb_dir_names(dir, "", &names, &err), err);
	assert_int_equal(names.count, 2); /* "." and ".." are none */
	mb_names_release(&names);

	handle = opendir(dir);
	assert_non_null(handle);
	close(dirfd(handle)); /* so that reading fails */
	assert_code(MB_IO, mb_dir_next(handle, dir, &entry, &err), err);
	assert_null(entry);
	assert_non_null(strstr(err.message, dir));
	closedir(handle);
	assert_ok(mb_rmtree(dir, &err), err);
}

static void
crc32c_and_its_combination(void **state)
{
	unsigned char data[3000];
	size_t cut;

	(void) state;
	assert_int_equal(mb_crc32c(MB_CRC32C_INIT, "123456789", 9), 0xE3069283u);
	fill_random(data, sizeof(data), 1);
	for (cut = 0; cut <= sizeof(data); cut += 97)
	{
		uint32_t whole = mb_crc32c(MB_CRC32C_INIT, data, sizeof(data));
		uint32_t a = mb_crc32c(MB_CRC32C_INIT, data, cut);
		uint32_t b = mb_crc32c(MB_CRC32C_INIT, data + cut, sizeof(data) - cut);

		assert_int_equal(mb_crc32c(a, data + cut, sizeof(data) - cut), whole);
		assert_int_equal(mb_crc32c_combine(a, b, sizeof(data) - cut), whole);
	}
}

static void
xxh128_of_pieces(void **state)
{
	unsigned char data[1000], whole[MB_XXH128_BYTES], pieces[MB_XXH128_BYTES];
	char hex[2 * MB_XXH128_BYTES + 1];
	size_t cut;

	(void) state;
	mb_xxh128(whole, "", 0);
	mb_hex(hex, whole, sizeof(whole));
	assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
	fill_random(data, sizeof(data), 2);
	mb_xxh128(whole, data, sizeof(data));
	for (cut = 0; cut <= sizeof(data); cut += 50)
	{
		mb_xxh128_2(pieces, data, cut, data + cut, sizeof(data) - cut);
		assert_memory_equal(whole, pieces, sizeof(whole));
	}
}

/* Long stretches are worked on three at a time: the same sums as in small steps. */
static void
test_hash__crc32c_of_long_data(void **state)
{
	size_t len = 200001, at, step;
	unsigned char *data = mb_malloc(len);
	uint32_t seed = 1, crc;

	(void) state;
	for (at = 0; at < len; at++)
		data[at] = (unsigned char) ((seed = seed * 1103515245u + 12345u) >> 16);
	for (step = 1000; step < 12288; step += 1777)
	{
		crc = MB_CRC32C_INIT;
		for (at = 0; at < len; at += step)
			crc = mb_crc32c(crc, data + at, len - at < step ? len - at : step);
		assert_int_equal(crc, mb_crc32c(MB_CRC32C_INIT, data, len));
	}
	for (at = 12285; at < 12295; at++)
		assert_int_equal(mb_crc32c(mb_crc32c(MB_CRC32C_INIT, data + 1, 5), data + 6, at),
						 mb_crc32c(MB_CRC32C_INIT, data + 1, at + 5));
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash__crc32c_of_long_data),
		cmocka_unit_test(errors_carry_code_message_and_hint),
		cmocka_unit_test(times_are_parsed),
		cmocka_unit_test(times_are_formatted),
		cmocka_unit_test(sizes_and_durations_are_parsed),
		cmocka_unit_test(distances),
		cmocka_unit_test(reading_past_the_end_is_noticed),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(names_are_safe_or_not),
		cmocka_unit_test(secrets_are_left_out_of_cores),
		cmocka_unit_test(a_real_core_holds_no_secret),
		cmocka_unit_test(opening_beneath_follows_no_link),
		cmocka_unit_test(a_directory_is_read_to_its_end_or_fails),
		cmocka_unit_test(crc32c_and_its_combination),
		cmocka_unit_test(xxh128_of_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
