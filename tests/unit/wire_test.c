/* wire_test.c - a base backup stream taken apart: tar, the server's manifest, labels, the feed. */
#include "tests/lib/repo_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/base/feed.h"
#include "core/base/hash.h"
#include "core/base/tar.h"
#include "postgres/backup_label.h"
#include "postgres/dialect.h"
#include "postgres/wire_manifest.h"

/* -- a source that gives a few bytes at a time ---------------------------------------------------- */

struct bytes
{
	const char *data;
	size_t len;
	size_t step;
	size_t fail_at; /* 0: never */
	size_t at;
};

static enum mb_code
give(void *ctx, const void **data, size_t *len, struct mb_error *err)
{
	struct bytes *bytes = ctx;

	if (bytes->fail_at && bytes->at >= bytes->fail_at)
		return mb_fail(err, MB_UNREACHABLE, "the wire broke");
	*data = bytes->data + bytes->at;
	*len = bytes->len - bytes->at < bytes->step ? bytes->len - bytes->at : bytes->step;
	bytes->at += *len;
	return MB_OK;
}

/* What tar(1) makes of: a directory, a file of 700 bytes, a link; without the closing zeroes. */
static char *
make_tar(size_t *len)
{
	static const char command[] = "set -e; dir=$(mktemp -d); cd \"$dir\"; mkdir d;"
								  " head -c 700 /dev/zero | tr '\\0' x >d/f;"
								  " ln -s /some/where l; tar --format=ustar -cf - ./d l;"
								  " cd /; rm -rf \"$dir\"";
	FILE *pipe = popen(command, "r");
	char *data = mb_calloc(1, 65536);

	assert_non_null(pipe);
	*len = fread(data, 1, 65536, pipe);
	assert_int_equal(pclose(pipe), 0);
	while (*len >= 512 && data[*len - 512] == '\0')
		*len -= 512;
	return data;
}

static void
tar_members(void **state)
{
	struct mb_tar_member member;
	struct mb_error err = {0};
	struct mb_tar *tar;
	char contents[1000];
	size_t len, got;
	char *data = make_tar(&len);
	struct bytes bytes = {.data = data, .len = len, .step = 100};
	bool more;

	(void) state;
	assert_int_equal(mb_tar_open(&tar, "test", give, &bytes, &err), MB_OK);
	assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
	assert_true(more && member.type == S_IFDIR);
	assert_string_equal(member.path, "d");
	assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
	assert_true(more && member.type == S_IFREG && member.size == 700);
	assert_string_equal(member.path, "d/f");
	assert_int_equal(mb_tar_read(tar, contents, 500, &got, &err), MB_OK);
	assert_true(got == 500 && contents[499] == 'x');
	assert_int_equal(mb_tar_read(tar, contents, 500, &got, &err), MB_OK);
	assert_int_equal(got, 200);
	assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
	assert_true(more && member.type == S_IFLNK);
	assert_string_equal(member.link, "/some/where");
	assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
	assert_false(more);
	mb_tar_close(tar);
	free(data);
}

static void
tar_that_breaks(void **state)
{
	struct mb_tar_member member;
	struct mb_error err = {0};
	struct mb_tar *tar;
	char contents[1000];
	size_t len, got, cut;
	char *data = make_tar(&len);
	bool more = true;

	(void) state;
	/* The source fails: its own error comes out. */
	struct bytes broken = {.data = data, .len = len, .step = 100, .fail_at = 700};
	enum mb_code code = mb_tar_open(&tar, "test", give, &broken, &err);

	while (!code && more)
		code = mb_tar_next(tar, &member, &more, &err);
	assert_int_equal(code, MB_UNREACHABLE);
	assert_string_equal(err.message, "the wire broke");
	mb_tar_close(tar);
	/* The archive ends in the middle of a file: never a whole file. */
	for (cut = 1100; cut < 1500; cut += 77)
	{
		struct bytes torn = {.data = data, .len = cut, .step = 64};

		assert_int_equal(mb_tar_open(&tar, "test", give, &torn, &err), MB_OK);
		assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
		assert_int_equal(mb_tar_next(tar, &member, &more, &err), MB_OK);
		code = mb_tar_read(tar, contents, 700, &got, &err);
		assert_true(code == MB_CORRUPT || got < 700);
		mb_tar_close(tar);
	}
	free(data);
}

/* -- the manifest ------------------------------------------------------------------------------------ */

static char *
manifest_text(const char *size_of_b, bool with_c)
{
	return mb_asprintf(
		"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n"
		"{ \"Path\": \"a\", \"Size\": 3, \"Last-Modified\": \"2026-01-01 00:00:00 GMT\", "
		"\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"b73f4b36\" },\n"
		"{ \"Encoded-Path\": \"62ff\", \"Size\": %s, \"Last-Modified\": \"x\", "
		"\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"b73f4b36\" }%s\n"
		"%s],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": "
		"\"0/2000100\" }\n],\n\"Manifest-Checksum\": \"00\"}\n",
		size_of_b, with_c ? "," : "",
		with_c ? "{ \"Path\": \"c\", \"Size\": 0, \"Last-Modified\": \"x\", "
				 "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"00000000\" }\n"
			   : "");
}

static enum mb_code
compare(const char *size_of_b, bool with_c, bool changed, struct mb_error *err)
{
	struct mb_wire_manifest *manifest = mb_wire_manifest_new();
	char *text = manifest_text(size_of_b, with_c);
	struct bytes bytes = {.data = text, .len = strlen(text), .step = 13};
	uint32_t crc = mb_crc32c(MB_CRC32C_INIT, "abc", 3);
	enum mb_code code;

	mb_wire_manifest_note(manifest, "a", 3, crc);
	if (changed)
		mb_wire_manifest_note_changed(manifest, "b\xff");
	else
		mb_wire_manifest_note(manifest, "b\xff", 3, crc);
	code = mb_wire_manifest_compare(manifest, give, &bytes, err);
	mb_wire_manifest_free(manifest);
	free(text);
	return code;
}

static void
manifest(void **state)
{
	struct mb_error err = {0};

	(void) state;
	assert_int_equal(compare("3", false, false, &err), MB_OK);
	assert_int_equal(compare("4", false, false, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, "but the server sent 4"));
	assert_int_equal(compare("4", false, true, &err), MB_OK);
	assert_int_equal(compare("3", true, false, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, "\"c\", which the stream did not hold"));
}

static void
manifest_of_fewer_files(void **state)
{
	struct mb_wire_manifest *manifest = mb_wire_manifest_new();
	struct bytes nothing = {.data = "", .step = 1};
	struct mb_error err = {0};

	(void) state;
	mb_wire_manifest_note(manifest, "a", 3, 0);
	assert_int_equal(mb_wire_manifest_compare(manifest, give, &nothing, &err), MB_CORRUPT);
	mb_wire_manifest_free(manifest);
}

/* -- labels and dialects --------------------------------------------------------------------------------- */

static void
labels(void **state)
{
	struct mb_backup_label label;

	(void) state;
	assert_true(mb_backup_label_parse(
		&label, "START WAL LOCATION: 2/4000028 (file 000000010000000200000004)\n"
				"CHECKPOINT LOCATION: 2/4000060\nBACKUP METHOD: streamed\nBACKUP FROM: standby\n"
				"START TIME: 2026-01-01\nLABEL: START TIMELINE: 9\nSTART TIMELINE: 3\n"));
	assert_true(label.start_lsn == 0x204000028 && label.timeline == 3 && label.from_standby);
	assert_false(mb_backup_label_parse(&label, ""));
	assert_false(mb_backup_label_parse(&label, "START WAL LOCATION: x\nSTART TIMELINE: 1\n"));
	assert_false(mb_backup_label_parse(&label, "START WAL LOCATION: 0/28 (f)\n"));
	assert_false(mb_pg_dialect_of(130005)->wire_lists);
	assert_true(mb_pg_dialect_of(180000)->wire_lists);
	assert_non_null(strstr(mb_pg_dialect_of(140000)->backup_start, "pg_start_backup"));
}

/* -- the feed --------------------------------------------------------------------------------------------- */

struct counts
{
	atomic_uint done;
	atomic_uint dropped;
	unsigned fail_at; /* 0: never */
};

static enum mb_code
count(void *ctx, unsigned worker, void *job, struct mb_error *err)
{
	struct counts *counts = ctx;
	unsigned n = *(unsigned *) job;

	assert_true(worker < 3);
	free(job);
	atomic_fetch_add(&counts->done, 1);
	return counts->fail_at && n >= counts->fail_at ? mb_fail(err, MB_NO_SPACE, "full at %u", n)
												   : MB_OK;
}

static void
drop(void *ctx, void *job)
{
	struct counts *counts = ctx;

	atomic_fetch_add(&counts->dropped, 1);
	free(job);
}

static enum mb_code
put_jobs(struct mb_feed *feed, unsigned jobs, unsigned *put, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	for (*put = 0; !code && *put < jobs; (*put)++)
	{
		unsigned *job = mb_malloc(sizeof(*job));

		*job = *put;
		code = mb_feed_put(feed, job, 100, err);
	}
	return code;
}

static void
feed_works_all_off(void **state)
{
	struct counts counts = {0};
	struct mb_feed *feed = mb_feed_new(3, 250, count, drop, &counts);
	struct mb_error err = {0};
	unsigned put;

	(void) state;
	assert_int_equal(put_jobs(feed, 5000, &put, &err), MB_OK);
	assert_int_equal(mb_feed_drain(feed, &err), MB_OK);
	assert_int_equal(atomic_load(&counts.done), 5000);
	assert_int_equal(put_jobs(feed, 10, &put, &err), MB_OK);
	assert_int_equal(mb_feed_drain(feed, &err), MB_OK);
	assert_int_equal(atomic_load(&counts.done), 5010);
	mb_feed_free(feed);
}

static void
feed_fails(void **state)
{
	struct counts counts = {.fail_at = 50};
	struct mb_feed *feed = mb_feed_new(3, 1000, count, drop, &counts);
	struct mb_error err = {0};
	unsigned put;

	(void) state;
	assert_int_equal(put_jobs(feed, 5000, &put, &err), MB_NO_SPACE);
	assert_true(put < 5000);
	assert_int_equal(mb_feed_drain(feed, &err), MB_NO_SPACE);
	mb_feed_free(feed);
	/* None is lost and none is freed twice. */
	assert_int_equal(atomic_load(&counts.done) + atomic_load(&counts.dropped), put);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tar_members), cmocka_unit_test(tar_that_breaks),
		cmocka_unit_test(manifest),    cmocka_unit_test(manifest_of_fewer_files),
		cmocka_unit_test(labels),      cmocka_unit_test(feed_works_all_off),
		cmocka_unit_test(feed_fails),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
