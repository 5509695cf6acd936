/* postgres_test.c - names of relation files, backup_manifest, settings of the driver. */
#include "tests/lib/repo_fixture.h"

#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/repo/crypto.h"
#include "postgres/backup_manifest.h"
#include "postgres/component_postgres.h"
#include "postgres/data_directory.h"
#include "postgres/parent.h"
#include "postgres/unchanged.h"
#include "walstreamer/source.h"

static void
relation_names(void **state)
{
	static const char *const wrong[] = {"",           "PG_VERSION",  "pg_filenode.map", "16384_",
										"16384_foo",  "16384.",      "16384_vm.",       "t_16384",
										"t3_",        "99999999999", "16384.1.2",       "-1",
										"16384_vm_1", "16384.x",     "t3_16384_x"};
	struct mb_pg_relation_name name;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(mb_pg_relation_parse(&name, wrong[i]));
	assert_true(mb_pg_relation_parse(&name, "16384"));
	assert_true(name.number == 16384 && name.fork == MB_PG_FORK_MAIN && name.segment == 0);
	assert_true(mb_pg_relation_parse(&name, "4294967295_vm.12"));
	assert_true(name.number == 4294967295u && name.fork == MB_PG_FORK_VM && name.segment == 12);
	assert_true(mb_pg_relation_parse(&name, "5_init") && name.fork == MB_PG_FORK_INIT);
	assert_true(mb_pg_relation_parse(&name, "5_fsm") && !name.temporary);
	assert_true(mb_pg_relation_parse(&name, "t12_16384.1") && name.temporary && name.segment == 1);
}

static void
touch(const char *root, const char *path)
{
	struct mb_error err;
	char *full = mb_path_join(root, path), *slash = strrchr(full, '/');

	*slash = '\0';
	assert_ok(mb_mkdirs(full, 0700, &err), err);
	*slash = '/';
	assert_ok(mb_file_write_durable(full, "x", 1, 0600, &err), err);
	free(full);
}

static void
exclusions(void **state)
{
	static const char *const out[] = {"postmaster.pid",
									  "pg_wal/000000010000000000000001",
									  "pg_replslot/s/state",
									  "pg_stat_tmp/db_0.stat",
									  "base/5/pg_internal.init",
									  "base/5/t3_16400",
									  "base/5/16500",
									  "base/5/16500_fsm",
									  "base/5/16500.1",
									  "base/pgsql_tmp/x",
									  "backup_label",
									  "recovery.signal",
									  "global/pg_internal.init.123"};
	static const char *const in[] = {"PG_VERSION",        "base/5/16384",    "base/5/16384_vm",
									 "base/5/16500_init", "global/1262",     "base/5/PG_VERSION",
									 "pg_xact/0000",      "postgresql.conf", "global/pg_control"};
	char root[] = "/tmp/mb-pg-test-XXXXXX";
	struct mb_pg_files files = {0};
	struct mb_error err;
	size_t i, f, found = 0;

	(void) state;
	assert_non_null(mkdtemp(root));
	for (i = 0; i < sizeof(out) / sizeof(*out); i++)
		touch(root, out[i]);
	for (i = 0; i < sizeof(in) / sizeof(*in); i++)
		touch(root, in[i]);
	assert_ok(mb_pg_files_scan(&files, root, "PG_15_1", &err), err);
	for (f = 0; f < files.count; f++)
	{
		for (i = 0; i < sizeof(out) / sizeof(*out); i++)
			assert_string_not_equal(files.items[f].path, out[i]);
		for (i = 0; i < sizeof(in) / sizeof(*in); i++)
			found += strcmp(files.items[f].path, in[i]) == 0;
		if (strcmp(files.items[f].path, "pg_wal") == 0)
			assert_int_equal(files.items[f].kind, MB_PG_DIRECTORY);
		if (strcmp(files.items[f].path, "base/5/16384") == 0)
			assert_int_equal(files.items[f].kind, MB_PG_RELATION);
	}
	assert_int_equal(found, sizeof(in) / sizeof(*in));
	mb_pg_files_release(&files);
	assert_ok(mb_rmtree(root, &err), err);
}

static void
manifest(void **state)
{
	static const char want[] =
		"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n"
		"{ \"Path\": \"base/1\", \"Size\": 9, \"Last-Modified\": \"1970-01-02 00:00:00 GMT\", "
		"\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"839206e3\" },\n"
		"{ \"Encoded-Path\": \"6cff\", \"Size\": 0, \"Last-Modified\": \"1970-01-01 00:00:00 "
		"GMT\", "
		"\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"00000000\" }\n],\n\"WAL-Ranges\": [\n"
		"{ \"Timeline\": 3, \"Start-LSN\": \"1/28\", \"End-LSN\": \"1/138\" }\n],\n";
	char root[] = "/tmp/mb-pg-test-XXXXXX", hex[65];
	unsigned char hash[MB_SHA256_BYTES];
	struct mb_pg_manifest made;
	struct mb_buf text = {0};
	struct mb_error err;
	char *path;

	(void) state;
	assert_non_null(mkdtemp(root));
	path = mb_path_join(root, "backup_manifest");
	assert_ok(mb_pg_manifest_begin(&made, path, &err), err);
	mb_pg_manifest_add(&made, "base/1", 9, 86400, mb_crc32c(MB_CRC32C_INIT, "123456789", 9));
	mb_pg_manifest_add(&made, "l\xff", 0, 0, 0);
	assert_ok(mb_pg_manifest_finish(&made, 3, 0x100000028, 0x100000138, &err), err);
	mb_pg_manifest_release(&made);
	assert_ok(mb_file_read(&text, path, 65536, &err), err);
	assert_memory_equal(text.data, want, strlen(want));
	mb_sha256(hash, text.data, strlen(want));
	mb_hex(hex, hash, sizeof(hash));
	assert_non_null(strstr(mb_buf_cstr(&text) + strlen(want), hex));
	assert_code(MB_EXISTS, mb_pg_manifest_begin(&made, path, &err), err);
	mb_buf_release(&text);
	free(path);
	assert_ok(mb_rmtree(root, &err), err);
}

static enum mb_code
open_with(const char *key, const char *value, struct mb_error *err)
{
	const struct mb_component_ops *ops = mb_postgres_component_ops(&mb_walstreamer_ops);
	struct mb_settings settings = {.name = "postgres", .kind = "postgres"};
	struct mb_component *component = NULL;
	struct mb_env env = {.workers = 1};
	enum mb_code code;

	mb_settings_add(&settings, "conninfo", "host=/nowhere");
	mb_settings_add(&settings, key, value);
	code = ops->open(&component, &settings, &env, err);
	if (!code)
		assert_string_equal(component->name, "postgres");
	ops->close(component);
	mb_settings_release(&settings);
	return code;
}

static void
settings(void **state)
{
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_ok(open_with("slot", "backup_2", &err), err);
	assert_ok(open_with("method", "direct", &err), err);
	assert_code(MB_CONFIG, open_with("slot", "Bad-Slot", &err), err);
	assert_code(MB_CONFIG, open_with("slot", "", &err), err);
	assert_code(MB_CONFIG, open_with("method", "magic", &err), err);
}

/* -- incremental ---------------------------------------------------------------------------------- */

static void
histories(void **state)
{
	const char *text = "1\t0/5000000\tno recovery target specified\n\n"
					   "3\tA/1000\tbefore 2000-01-01 00:00:00+00\n";

	(void) state;
	assert_true(mb_pg_history_holds(text, 1, 0x5000000));
	assert_true(mb_pg_history_holds(text, 1, 0x4FFFFFF));
	assert_false(mb_pg_history_holds(text, 1, 0x5000001));
	assert_true(mb_pg_history_holds(text, 3, 0xA00001000));
	assert_false(mb_pg_history_holds(text, 2, 0x1000)); /* another branch of 1 */
	assert_false(mb_pg_history_holds(text, 4, 0x1000)); /* the timeline itself */
	assert_false(mb_pg_history_holds("", 1, 1));
	assert_false(mb_pg_history_holds("rubbish\n5\n", 5, 1));
}

/* What must differ for a file to be read. */
static void
skip_rule(void **state)
{
	const int64_t minute = 60LL * 1000000000, old = 1000 * minute;
	struct mb_pg_probe probe = {.fsid = 5, .settled_ns = old};
	struct mb_pg_unchanged unchanged = {.holds = true, .probes = &probe, .probe_count = 1};
	const struct mb_entry good = {.type = MB_ENTRY_FILE,
								  .size = 8192,
								  .mtime_ns = old,
								  .ctime_ns = old,
								  .inode = 9,
								  .fsid = 5,
								  .mode = 0600,
								  .uid = 1,
								  .gid = 2,
								  .has_crc32c = true};
	const struct stat same = {.st_size = 8192,
							  .st_mtim = {old / 1000000000, old % 1000000000},
							  .st_ctim = {old / 1000000000, old % 1000000000},
							  .st_ino = 9,
							  .st_dev = 5,
							  .st_mode = S_IFREG | 0600,
							  .st_uid = 1,
							  .st_gid = 2};
	struct mb_entry entry;
	struct stat st;

	(void) state;
#define READS(change) \
	(entry = good, st = same, (void) (change), !mb_pg_unchanged_file(&unchanged, &st, &entry))
	assert_false(READS(0));
	assert_true(READS(st.st_size++));
	assert_true(READS(st.st_mtim.tv_nsec++));
	assert_true(READS(st.st_ctim.tv_nsec++));
	assert_true(READS(st.st_ino++));
	assert_true(READS(st.st_dev++));
	assert_true(READS(st.st_mode ^= 1));
	assert_true(READS(st.st_uid++));
	assert_true(READS(entry.flags = MB_ENTRY_CHANGING));
	assert_true(READS(entry.damaged_count = 1));
	assert_true(READS(entry.has_crc32c = false));
	assert_true(READS(entry.type = MB_ENTRY_DATA));
	/* Not old enough, or on a filesystem whose time is not known. */
	assert_true(READS((entry.mtime_ns++, st.st_mtim.tv_nsec++)));
	assert_true(READS((entry.ctime_ns++, st.st_ctim.tv_nsec++)));
	assert_true(READS((entry.fsid++, st.st_dev++)));
	assert_false(mb_pg_unchanged_file(&unchanged, &same, NULL));
	unchanged.holds = false;
	assert_true(READS(0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relation_names), cmocka_unit_test(exclusions), cmocka_unit_test(manifest),
		cmocka_unit_test(settings),       cmocka_unit_test(histories),  cmocka_unit_test(skip_rule),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
}
