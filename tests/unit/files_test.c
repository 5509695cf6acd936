/* files_test.c - which files are masked, and what masking leaves of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "files/mask.h"

static void
test_mask__applies_by_name(void **state)
{
	static const char *const yes[] = {"a/.env", "x.env",    "b/.env.production",
									  "my.cnf", "app.conf", "c.yml",
									  "d.yaml", "e.ini",    ".pgpass"};
	static const char *const no[] = {"a.txt", "env.txt", "conf", "x.env.d/readme", "id_rsa.pub"};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(mb_mask_applies(yes[i]));
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(mb_mask_applies(no[i]));
}

static void
check_mask(const char *before, const char *after)
{
	struct mb_buf buf = {0};

	mb_buf_put_str(&buf, before);
	assert_int_equal(mb_mask_contents(&buf), strcmp(before, after) != 0);
	assert_string_equal(mb_buf_cstr(&buf), after);
	mb_buf_release(&buf);
}

static void
test_mask__hides_values_and_nothing_else(void **state)
{
	(void) state;
	check_mask("DB_PASSWORD=x\n", "DB_PASSWORD=********\n");
	check_mask("export API_KEY=\"abc def\"", "export API_KEY=********");
	check_mask("  secret: s3cr3t\r\nname: shop\r\n", "  secret: ********\r\nname: shop\r\n");
	check_mask("token = t\n\nPATH=/bin\n", "token = ********\n\nPATH=/bin\n");
	check_mask("- passphrase: x\n", "- passphrase: ********\n");
	check_mask("URL=postgres://u:pw@h/db?x=1\n", "URL=postgres://u:********@h/db?x=1\n");
	check_mask("# PASSWORD=example in a comment\n", "# PASSWORD=example in a comment\n");
	check_mask("PASSWORD=\n", "PASSWORD=\n");
	check_mask("http://host:8080/path\n", "http://host:8080/path\n");
	check_mask("no sign at all\n", "no sign at all\n");
	check_mask("", "");
}

static void
test_mask__leaves_binary_alone(void **state)
{
	static const char bytes[] = "PASSWORD=x\0y";
	struct mb_buf buf = {0};

	(void) state;
	mb_buf_put(&buf, bytes, sizeof(bytes));
	assert_false(mb_mask_contents(&buf));
	assert_memory_equal(buf.data, bytes, sizeof(bytes));
	mb_buf_release(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mask__applies_by_name),
		cmocka_unit_test(test_mask__hides_values_and_nothing_else),
		cmocka_unit_test(test_mask__leaves_binary_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
