/* backup_conf_test.c - the settings of shell scripts, read and never run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/backup_conf.h"

static const char *
environment(const char *name)
{
	return strcmp(name, "HOME") == 0 ? "/root" : NULL;
}

static void
check_value(const char *text, const char *name, const char *wanted)
{
	struct backup_conf conf;
	struct mb_error err;

	assert_int_equal(backup_conf_parse(&conf, text, strlen(text), environment, &err), MB_OK);
	if (wanted)
		assert_string_equal(mb_json_str(conf.values, name, "(missing)"), wanted);
	else
	{
		assert_null(json_object_get(conf.values, name));
		assert_true(json_array_size(conf.not_taken) > 0);
	}
	backup_conf_release(&conf);
}

static void
test_backup_conf__reads_what_a_shell_would(void **state)
{
	(void) state;
	check_value("A=1", "A", "1");
	check_value("export A=1\n", "A", "1");
	check_value("A=1 # comment", "A", "1");
	check_value("A=a#b", "A", "a#b");
	check_value("A='a b $HOME'", "A", "a b $HOME");
	check_value("A=\"a b $HOME\"", "A", "a b /root");
	check_value("A=\"a\\\"b\\$c\\d\"", "A", "a\"b$c\\d");
	check_value("A=a'b'\"c\"d", "A", "abcd");
	check_value("A=a\\ b", "A", "a b");
	check_value("A=1\nB=$A/2", "B", "1/2");
	check_value("B=${HOME}x", "B", "/rootx");
	check_value("B=${NOTHING:-a b}", "B", NULL);
	check_value("B=${NOTHING:-ab}", "B", "ab");
	check_value("B=\"${NOTHING:-/x/$HOME}\"", "B", "/x//root");
	check_value("A=1; B=2", "B", "2");
	check_value("A=1 B=2", "B", "2");
	check_value("A=(a 'b c'\n  d # no\n)", "A", "a b c d");
	check_value("A='two\nlines'\nB=3", "B", "3");
	check_value("A=", "A", "");
	check_value("A=1\r\nB=2\r\n", "A", "1");
	check_value("  \t A=1", "A", "1");
}

static void
test_backup_conf__says_what_it_does_not_understand(void **state)
{
	(void) state;
	check_value("A=$(rm -rf /)", "A", NULL);
	check_value("A=`date`", "A", NULL);
	check_value("A=\"x $(date)\"", "A", NULL);
	check_value("A=${B%x}", "A", NULL);
	check_value("A='open", "A", NULL);
	check_value("A=\"open", "A", NULL);
	check_value("A=(open", "A", NULL);
	check_value("A=a|b", "A", NULL);
	check_value("if true; then A=1; fi", "A", NULL);
	check_value("source x", "A", NULL);
	check_value("A = 1", "A", NULL);
	check_value("1A=1", "1A", NULL);
}

static void
test_backup_conf__a_line_that_is_not_understood_hides_no_other(void **state)
{
	struct backup_conf conf;
	struct mb_error err;
	const char text[] = "A=1\nB=$(x)\nfoo() {\n  C=2\n}\nD=3\n";

	(void) state;
	assert_int_equal(backup_conf_parse(&conf, text, strlen(text), environment, &err), MB_OK);
	assert_string_equal(backup_conf_get(&conf, "A"), "1");
	assert_string_equal(backup_conf_get(&conf, "D"), "3");
	assert_int_equal(mb_json_int(json_array_get(conf.not_taken, 0), "line", 0), 2);
	assert_int_equal(mb_json_int(json_array_get(conf.not_taken, 1), "line", 0), 3);
	backup_conf_release(&conf);
	assert_int_equal(backup_conf_parse(&conf, "A=\0B", 4, environment, &err), MB_CORRUPT);
	backup_conf_release(&conf);
}

static void
test_backup_conf__flags(void **state)
{
	struct backup_conf conf;
	struct mb_error err;
	const char text[] = "A=true\nB=NO\nC=maybe\n";
	bool value;

	(void) state;
	assert_int_equal(backup_conf_parse(&conf, text, strlen(text), environment, &err), MB_OK);
	assert_int_equal(backup_conf_flag(&conf, "A", false, &value, &err), MB_OK);
	assert_true(value);
	assert_int_equal(backup_conf_flag(&conf, "B", true, &value, &err), MB_OK);
	assert_false(value);
	assert_int_equal(backup_conf_flag(&conf, "D", true, &value, &err), MB_OK);
	assert_true(value);
	assert_int_equal(backup_conf_flag(&conf, "C", true, &value, &err), MB_CONFIG);
	backup_conf_release(&conf);
}

static void
test_backup_conf__makes_a_configuration(void **state)
{
	struct backup_conf_options options = {.repository = "/b/repository", .spool = "/s"};
	const char text[] =
		"POSTGRES_USER=me\nPOSTGRES_DB=\"my db's\"\nENCRYPT=true\nENCRYPTION_KEY=k\n"
		"MINIO_BUCKETS='uploads Up.2'\nMINIO_ENDPOINT=http://m:9000\n"
		"REDIS_HOST=r\nCONFIG_PATHS='/etc/a /etc/b'\nFOO=1\n";
	struct backup_conf conf;
	struct mb_buf out = {0};
	struct mb_error err;
	const char *made;

	(void) state;
	assert_int_equal(backup_conf_parse(&conf, text, strlen(text), environment, &err), MB_OK);
	assert_int_equal(backup_conf_write(&conf, &options, &out, &err), MB_OK);
	made = mb_buf_cstr(&out);
	assert_non_null(strstr(made, "conninfo = user='me' dbname='my db\\'s'\n"));
	assert_non_null(
		strstr(made, "[objects:uploads]\nurl = s3://uploads\nendpoint = http://m:9000\n"));
	assert_non_null(strstr(made, "[objects:bucket2]\nurl = s3://Up.2\n"));
	assert_non_null(strstr(made, "url = redis://r:6379\n"));
	assert_non_null(strstr(made, "paths = /etc/a, /etc/b\n"));
	assert_non_null(strstr(made, "passphrase = k\n"));
	assert_int_equal(json_array_size(conf.not_taken), 1);
	backup_conf_release(&conf);
	mb_buf_reset(&out);
	/* What would begin a section of its own, or a comment, cannot be smuggled in. */
	assert_int_equal(backup_conf_parse(&conf, "REDIS_HOST='a\n[hooks]'", 22, environment, &err),
					 MB_OK);
	assert_int_equal(backup_conf_write(&conf, &options, &out, &err), MB_CONFIG);
	backup_conf_release(&conf);
	mb_buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backup_conf__reads_what_a_shell_would),
		cmocka_unit_test(test_backup_conf__says_what_it_does_not_understand),
		cmocka_unit_test(test_backup_conf__a_line_that_is_not_understood_hides_no_other),
		cmocka_unit_test(test_backup_conf__flags),
		cmocka_unit_test(test_backup_conf__makes_a_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
