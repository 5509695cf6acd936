/* postgres_restore_test.c - what a restore of Postgres reads and writes without a server. */
#include "tests/lib/repo_fixture.h"

#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "postgres/restore_private.h"

static void
test_table__names(void **state)
{
	static const struct
	{
		const char *text, *database, *schema, *table; /* NULL: refused */
	} cases[] = {{"db.public.t", "db", "public", "t"},
				 {"DB.Public.T", "DB", "Public", "T"},
				 {"\"d.b\".\"s\"\"x\".\"t.*\"", "d.b", "s\"x", "t.*"},
				 {"db.public.\"\"\"\"", "db", "public", "\""},
				 {"db.public", NULL, NULL, NULL},
				 {"db..t", NULL, NULL, NULL},
				 {"db.public.", NULL, NULL, NULL},
				 {"db.public.t.x", NULL, NULL, NULL},
				 {"db.public.\"t", NULL, NULL, NULL},
				 {"db.\"public\"x.t", NULL, NULL, NULL},
				 {"", NULL, NULL, NULL}};
	struct mb_pg_table table;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		mb_error_clear(&err);
		if (!cases[i].database)
		{
			assert_code(MB_CONFIG, mb_pg_table_parse(&table, cases[i].text, &err), err);
			continue;
		}
		assert_ok(mb_pg_table_parse(&table, cases[i].text, &err), err);
		assert_string_equal(table.database, cases[i].database);
		assert_string_equal(table.schema, cases[i].schema);
		assert_string_equal(table.table, cases[i].table);
		mb_pg_table_release(&table);
	}
}

static void
test_databases__hollow_paths(void **state)
{
	static const struct
	{
		const char *path;
		bool hollow;
	} cases[] = {{"base/5/1259", true},
				 {"base/5/1259_fsm", true},
				 {"base/5/pg_filenode.map", true},
				 {"base/5/PG_VERSION", false},
				 {"base/55/1259", false},
				 {"base/4/1259", false},
				 {"base/5", false},
				 {"global/1262", false},
				 {"pg_tblspc/16384/PG_15_202209061/5/16390", true},
				 {"pg_tblspc/16384/PG_15_202209061/6/16390", false},
				 {"pg_tblspc/5/1259", false},
				 {"pg_xact/5/1259", false}};
	uint32_t oids[] = {5};
	struct mb_pg_databases databases = {.hollow = oids, .hollow_count = 1};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		struct mb_entry entry = {.type = MB_ENTRY_FILE,
								 .path = cases[i].path,
								 .path_len = strlen(cases[i].path)};

		if (mb_pg_is_hollow(&databases, &entry) != cases[i].hollow)
			fail_msg("%s", cases[i].path);
	}
}

static void
test_databases__crc_of_zeros(void **state)
{
	static const uint64_t sizes[] = {0, 1, 8191, 8192, 8193, 3 * 8192, 1000003, 5u << 20};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
	{
		unsigned char *zeros = mb_calloc(sizes[i] + 1, 1);

		assert_int_equal(mb_pg_zero_crc(sizes[i]),
						 mb_crc32c(MB_CRC32C_INIT, zeros, (size_t) sizes[i]));
		free(zeros);
	}
}

static void
make_conf_by(struct mb_buf *out, const char *program, const char *source_text, bool in_place)
{
	struct mb_env env = {.program = program};
	struct mb_restore_wishes wishes = {.port = 5433};
	struct mb_restore restore = {.env = &env,
								 .id = "ID",
								 .wishes = &wishes,
								 .plan = json_pack("{s:i}", "timeline", 3)};
	struct mb_pg_place place = {.in_place = in_place};
	struct mb_buf source = {0};

	mb_buf_put_str(&source, source_text);
	mb_pg_autoconf_make(out, &source, &restore, &place);
	mb_buf_release(&source);
	json_decref(restore.plan);
}

static void
make_conf(struct mb_buf *out, const char *source_text, bool in_place)
{
	make_conf_by(out, "/usr/bin/mb'ackup", source_text, in_place);
}

/* restore_command as it is written for this program. */
static void
assert_command(const char *program, const char *expected)
{
	struct mb_buf out = {0};
	char *line = mb_asprintf("restore_command = '%s'\n", expected);

	make_conf_by(&out, program, "", false);
	assert_non_null(strstr(mb_buf_cstr(&out), line));
	free(line);
	mb_buf_release(&out);
}

static void
write_program(const char *path, mode_t mode)
{
	struct mb_error err;

	assert_int_equal(mb_file_write_durable(path, "", 0, mode, &err), MB_OK);
	assert_int_equal(chmod(path, mode), 0);
}

static void
test_autoconf__names_the_quick_program(void **state)
{
	char dir[] = "/tmp/mbackup-autoconf.XXXXXX";
	char *full, *quick, *by_full, *by_quick;
	struct mb_error err;

	(void) state;
	assert_non_null(mkdtemp(dir));
	full = mb_asprintf("%s/mbackup", dir);
	quick = mb_asprintf("%s-wal-get", full);
	by_full = mb_asprintf("''%s'' wal-get --restore=ID %%f %%p", full);
	by_quick = mb_asprintf("''%s'' --restore=ID %%f %%p", quick);
	write_program(full, 0755);
	assert_command(full, by_full);
	write_program(quick, 0755);
	assert_command(full, by_quick);
	/* Who may run mbackup could not run this one. */
	assert_int_equal(chmod(quick, 0700), 0);
	assert_command(full, by_full);
	assert_int_equal(mb_rmtree(dir, &err), MB_OK);
	free(full);
	free(quick);
	free(by_full);
	free(by_quick);
}

static void
test_autoconf__drops_and_marks(void **state)
{
	static const char source[] = "work_mem = '1MB'\n"
								 "Recovery_Target_Name = 'x'\n"
								 "mbackup.restored = 'OLD'\n"
								 "restore_command = 'cp'\n"
								 "restore_commands = 'kept'";
	struct mb_buf out = {0};

	(void) state;
	make_conf(&out, source, false);
	assert_non_null(strstr(mb_buf_cstr(&out), "work_mem = '1MB'\n"));
	assert_non_null(strstr(mb_buf_cstr(&out), "restore_commands = 'kept'\n"));
	assert_non_null(strstr(mb_buf_cstr(&out), "mbackup.restored = 'ID'\n"));
	assert_non_null(strstr(mb_buf_cstr(&out), "port = '5433'\n"));
	assert_non_null(strstr(mb_buf_cstr(&out), "recovery_target_timeline = '3'\n"));
	assert_null(strstr(mb_buf_cstr(&out), "'x'"));
	assert_null(strstr(mb_buf_cstr(&out), "OLD"));
	assert_null(strstr(mb_buf_cstr(&out), "'cp'"));
	mb_buf_reset(&out);
	make_conf(&out, source, true);
	assert_null(strstr(mb_buf_cstr(&out), "mbackup.restored"));
	mb_buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table__names),
		cmocka_unit_test(test_databases__hollow_paths),
		cmocka_unit_test(test_databases__crc_of_zeros),
		cmocka_unit_test(test_autoconf__drops_and_marks),
		cmocka_unit_test(test_autoconf__names_the_quick_program),
	};

	return cmocka_run_group_tests_name("postgres_restore", tests, NULL, NULL);
}
