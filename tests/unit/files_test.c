/* files_test.c - which paths are meant by patterns, which files are masked, and what masking leaves of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "files/mask.h"
#include "files/patterns.h"

/* -- patterns -------------------------------------------------------------------------------------- */

static bool
means(const char *list, const char *path)
{
	struct mb_patterns patterns = {0};
	char *copy = mb_strdup(list), *save = NULL, *word;
	enum mb_path_kind kind = MB_PATH_OTHER;
	char *name = mb_strdup(path);
	struct mb_error err;
	bool found;

	if (mb_ends_with(name, "/"))
	{
		name[strlen(name) - 1] = '\0';
		kind = MB_PATH_DIRECTORY;
	}
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		assert_int_equal(mb_patterns_add(&patterns, word, &err), MB_OK);
	found = mb_patterns_match(&patterns, name, kind);
	mb_patterns_release(&patterns);
	free(copy);
	free(name);
	return found;
}

static void
test_patterns__mean_what_gitignore_means(void **state)
{
	static const struct
	{
		const char *list;
		const char *path; /* a directory with "/" at its end */
		bool means;
	} cases[] = {
		{"*.bak", "etc/a.bak", true},
		{"*.bak", "a.bak", true},
		{"*.bak", "etc/a.bak/b", false}, /* its parent is not descended into */
		{"*.bak", "etc/a.bakx", false},
		{"cache", "srv/cache/", true},
		{"cache", "srv/cache", true},
		{"cache/", "srv/cache/", true},
		{"cache/", "srv/cache", false},
		{"/srv/*.log", "srv/a.log", true},
		{"/srv/*.log", "srv/x/a.log", false}, /* "*" stays within a name */
		{"/srv/**/a.log", "srv/a.log", true},
		{"/srv/**/a.log", "srv/x/y/a.log", true},
		{"/srv/**", "srv/", false},
		{"/srv/**", "srv/x/y", true},
		{"**/node_modules", "a/b/node_modules/", true},
		{"/a/**/b/**/c", "a/1/b/2/3/c", true},
		{"/a/**/b/**/c", "a/1/2/3/c", false},
		{"/a/**/b/c", "a/b/x/b/c", true},
		{"/a/**/**/c", "a/c", true},
		{"log/tmp", "srv/log/tmp", true},
		{"log/tmp", "log/tmp", true},
		{"log/tmp", "srv/log/x/tmp", false},
		{"* !*.conf", "etc/a.conf", false},
		{"* !*.conf", "etc/a.txt", true},
		{"* !*.conf a.conf", "etc/a.conf", true},
		{"!a *", "a", true},
		{"[ab].txt", "b.txt", true},
		{"[!ab].txt", "b.txt", false},
		{"?.txt", ".txt", false},
		{"*", ".hidden", true},
		{"\\*", "x/*", true},
		{"\\*", "x/y", false},
		{"caf\xe9", "x/caf\xe9", true},
		{"a\nb", "x/a\nb", true},
		{"**", "anything/at/all", true},
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		if (means(cases[i].list, cases[i].path) != cases[i].means)
			fail_msg("\"%s\" and \"%s\"", cases[i].list, cases[i].path);
	}
}

static void
test_patterns__refuse_what_names_nothing(void **state)
{
	static const char *const bad[] = {"", "/", "//", "!", "!/"};
	char deep[300] = "";
	struct mb_patterns patterns = {0};
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mb_patterns_add(&patterns, bad[i], &err), MB_CONFIG);
	for (i = 0; i < 100; i++)
		strcat(deep, "/a");
	assert_int_equal(mb_patterns_add(&patterns, deep, &err), MB_CONFIG);
	mb_patterns_release(&patterns);
}

/* Many "**" take no time that anybody would notice. */
static void
test_patterns__are_not_exponential(void **state)
{
	char path[4000] = "";
	size_t i;

	(void) state;
	for (i = 0; i < 1900; i++)
		strcat(path, i ? "/a" : "a");
	assert_false(means("/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b", path));
}

/* -- which files ------------------------------------------------------------------------------------ */

static void
test_mask__knows_formats_by_name(void **state)
{
	static const struct
	{
		const char *path;
		enum mb_mask_format format;
	} cases[] = {
		{"a/.env", MB_MASK_TEXT},
		{"x.env", MB_MASK_TEXT},
		{"b/.env.production", MB_MASK_TEXT},
		{"my.cnf", MB_MASK_TEXT},
		{"app.conf", MB_MASK_CONF},
		{"c.yml", MB_MASK_YAML},
		{"d.yaml", MB_MASK_YAML},
		{"e.ini", MB_MASK_TEXT},
		{".pgpass", MB_MASK_PGPASS},
		{"home/x/.netrc", MB_MASK_NETRC},
		{"config.JSON", MB_MASK_JSON},
		{"a.toml", MB_MASK_TOML},
		{"a.txt", MB_MASK_NONE},
		{"env.txt", MB_MASK_NONE},
		{"conf", MB_MASK_NONE},
		{"x.env.d/readme", MB_MASK_NONE},
		{"id_rsa.pub", MB_MASK_NONE},
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (mb_mask_format_of(cases[i].path) != cases[i].format)
			fail_msg("%s", cases[i].path);
}

/* -- what is hidden ---------------------------------------------------------------------------------- */

static void
check_with(const char *extra, enum mb_mask_format format, const char *before, const char *after)
{
	struct mb_mask_hits hits = {0};
	struct mb_buf buf = {0};
	struct mb_mask mask;
	struct mb_error err;
	bool hidden;
	uint64_t sum = 0;
	size_t i;

	mb_mask_init(&mask);
	if (extra)
		assert_int_equal(mb_mask_add(&mask, extra, &err), MB_OK);
	mb_buf_put(&buf, before, strlen(before));
	hidden = mb_mask_contents(&mask, format, &buf, &hits);
	assert_string_equal(mb_buf_cstr(&buf), after);
	assert_int_equal(hidden, strcmp(before, after) != 0);
	for (i = 0; i < MB_MASK_MAX_RULES; i++)
		sum += hits.counts[i];
	assert_int_equal(sum > 0, hidden);
	mb_buf_release(&buf);
	mb_mask_release(&mask);
}

static void
check(enum mb_mask_format format, const char *before, const char *after)
{
	check_with(NULL, format, before, after);
}

static void
test_mask__hides_values_and_nothing_else(void **state)
{
	enum mb_mask_format f = MB_MASK_TEXT;

	(void) state;
	check(f, "DB_PASSWORD=x\n", "DB_PASSWORD=********\n");
	check(f, "export API_KEY=\"abc def\"", "export API_KEY=\"********\"");
	check(f, "token = t\n\nPATH=/bin\n", "token = ********\n\nPATH=/bin\n");
	check(f, "a=1\r\nDB_PASS=x y\r\nb=2\r\n", "a=1\r\nDB_PASS=********\r\nb=2\r\n");
	check(f, "URL=postgres://u:pw@h/db?x=1\n", "URL=postgres://u:********@h/db?x=1\n");
	check(f, "URLS=a://u:p1@h b://u:p2@h\n", "URLS=a://u:********@h b://u:********@h\n");
	check(f, "R=redis://:p@ss/w@h:1/0\n", "R=redis://:********@h:1/0\n");
	check(f, "U=http://h/x?token=abc&user=u\n", "U=http://h/x?token=********&user=u\n");
	check(f, "#DB_PASSWORD=old\n", "#DB_PASSWORD=********\n");
	check(f, "# the password: ask somebody\n", "# the password: ask somebody\n");
	check(f, "PASSWORD=\nA=1\n", "PASSWORD=\nA=1\n");
	check(f, "PASSWORD=${OTHER}\n", "PASSWORD=${OTHER}\n");
	check(f, "PASSWORD=${X:-secret}\n", "PASSWORD=********\n");
	check(f, "USE_TOKEN=true\nKEYBOARD=no\n", "USE_TOKEN=true\nKEYBOARD=no\n");
	check(f, "DB_PASSWORD_FILE=/run/secrets/pw\n", "DB_PASSWORD_FILE=/run/secrets/pw\n");
	check(f, "http://host:8080/path@x\n", "http://host:8080/path@x\n");
	check(f, "no sign at all\n", "no sign at all\n");
	check(f, "", "");
	check(f, "KEY='it''s'x\nA=1", "KEY='********'\nA=1");
	check(f, "KEY=\"a\\\"b\" # c\n", "KEY=\"********\" # c\n");
	check(f, "KEY=\"line one\nline two\"\nA=1\n", "KEY=\"********\"\nA=1\n");
	check(f, "KEY=\"unclosed\nA=\"1\"\n", "KEY=********\nA=\"1\"\n");
	check(f, "Environment=\"DB_PASSWORD=a b\" \"A=1\"\n",
		  "Environment=\"DB_PASSWORD=********\" \"A=1\"\n");
	check(f, "primary_conninfo = 'host=h password=pw'\n",
		  "primary_conninfo = 'host=h password=********'\n");
	check(f, "api key = x\n", "api key = ********\n");
	check(f, "a_password := x\n", "a_password := ********\n");
	check(f, "SECRET=a=b=c\n", "SECRET=********\n");
}

static void
test_mask__of_conf(void **state)
{
	enum mb_mask_format f = MB_MASK_CONF;

	(void) state;
	check(f, "requirepass foobared\n", "requirepass ********\n");
	check(f, "masterauth \"x y\"\nport 1\n", "masterauth \"********\"\nport 1\n");
	check(f, "user app on >pw ~* +@all\n", "user app on >******** ~* +@all\n");
	check(f, "proxy_pass http://u:p@h:80/;\n", "proxy_pass http://u:********@h:80/;\n");
	check(f, "ssl_certificate_key /etc/x.key;\n", "ssl_certificate_key /etc/x.key;\n");
	check(f, "passphrase-file = /etc/mbackup/pass\n", "passphrase-file = /etc/mbackup/pass\n");
	check(f, "password = x\n", "password = ********\n");
}

static void
test_mask__of_yaml(void **state)
{
	enum mb_mask_format f = MB_MASK_YAML;

	(void) state;
	check(f, "  secret: s3cr3t\r\nname: shop\r\n", "  secret: ********\r\nname: shop\r\n");
	check(f, "- passphrase: x\n", "- passphrase: ********\n");
	check(f, "db: {user: u, password: p, host: h}\n",
		  "db: {user: u, password: ********, host: h}\n");
	check(f, "password: |\n  one\n  two\n\nname: x\n",
		  "password: |\n  ********\n  ********\n\nname: x\n");
	check(f, "tokens:\n- a\n- b\nname: x\n", "tokens:\n- ********\n- ********\nname: x\n");
	check(f, "tokens:\n  one: a\n  two:\n    - b\nname: x\n",
		  "tokens:\n  one: ********\n  two:\n    - ********\nname: x\n");
	check(f, "token: [a, \"b\"]\nx: 1\n", "token: [********, \"********\"]\nx: 1\n");
	check(f, "key: !vault\n  abc\nx: 1\n", "key: !vault\n  ********\nx: 1\n");
	check(f, "key: &a b\n", "key: ********\n");
	check(f, "secret_name: # why\n  a: b\n", "secret_name: # why\n  a: ********\n");
	check(f, "password: \"a\n  b\"\nx: 1\n", "password: \"********\"\nx: 1\n");
}

static void
test_mask__of_json_and_toml(void **state)
{
	(void) state;
	check(MB_MASK_JSON, "{\"password\": \"x\", \"user\": \"u\"}",
		  "{\"password\": \"********\", \"user\": \"u\"}");
	check(MB_MASK_JSON, "{\"a_key\":12,\"b\":{\"token\":null}}",
		  "{\"a_key\":\"********\",\"b\":{\"token\":null}}");
	check(MB_MASK_JSON, "{\"keys\": [\"a\",\n \"b\", 3], \"x\": 1}",
		  "{\"keys\": [\"********\",\n \"********\", \"********\"], \"x\": 1}");
	check(MB_MASK_JSON, "{\"secret\": {\"a\": \"b\", \"c\": {\"d\": \"e\"}}}",
		  "{\"secret\": {\"a\": \"********\", \"c\": {\"d\": \"********\"}}}");
	check(MB_MASK_JSON, "{\"password\": \"a\\\"b\"}\n", "{\"password\": \"********\"}\n");
	check(MB_MASK_TOML, "key = \"\"\"a\nb\"\"\"\nx = 1\n", "key = \"\"\"********\"\"\"\nx = 1\n");
	check(MB_MASK_TOML, "tokens = [ \"a\", 'b' ]\n", "tokens = [ \"********\", '********' ]\n");
	check(MB_MASK_TOML, "db = { password = \"p\", port = 1 }\n",
		  "db = { password = \"********\", port = 1 }\n");
}

static void
test_mask__of_password_files_and_private_keys(void **state)
{
	(void) state;
	check(MB_MASK_PGPASS, "h:5432:*:u:p:w\n# c\nh\\:1:2:3:u:\n",
		  "h:5432:*:u:********\n# c\nh\\:1:2:3:u:\n");
	check(MB_MASK_NETRC, "machine m login l password p\n", "machine m login l password ********\n");
	check(MB_MASK_NONE,
		  "x\n-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\ny\n",
		  "x\n-----BEGIN RSA PRIVATE KEY-----\n********\n-----END RSA PRIVATE KEY-----\ny\n");
	check(MB_MASK_NONE, "-----BEGIN PRIVATE KEY-----\nabc",
		  "-----BEGIN PRIVATE KEY-----\n********\n");
	check(MB_MASK_NONE, "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
		  "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n");
	check(MB_MASK_NONE, "PASSWORD=seen\n", "PASSWORD=seen\n");
}

static void
test_mask__takes_rules(void **state)
{
	struct mb_mask mask;
	struct mb_error err;

	(void) state;
	check_with("*_DSN", MB_MASK_TEXT, "app_dsn=x\n", "app_dsn=********\n");
	check_with("!keyboard*", MB_MASK_TEXT, "KEYBOARD_LAYOUT=de\nKEY=k\n",
			   "KEYBOARD_LAYOUT=de\nKEY=********\n");
	mb_mask_init(&mask);
	assert_int_equal(mb_mask_add(&mask, "", &err), MB_CONFIG);
	assert_int_equal(mb_mask_add(&mask, "!", &err), MB_CONFIG);
	assert_int_equal(mb_mask_add(&mask, "a b", &err), MB_CONFIG);
	while (mask.count < MB_MASK_MAX_RULES)
		assert_int_equal(mb_mask_add(&mask, "x", &err), MB_OK);
	assert_int_equal(mb_mask_add(&mask, "x", &err), MB_CONFIG);
	mb_mask_release(&mask);
}

static void
test_mask__leaves_binary_alone(void **state)
{
	static const char bytes[] = "PASSWORD=x\0y";
	struct mb_mask_hits hits = {0};
	struct mb_buf buf = {0};
	struct mb_mask mask;

	(void) state;
	mb_mask_init(&mask);
	mb_buf_put(&buf, bytes, sizeof(bytes));
	assert_false(mb_mask_contents(&mask, MB_MASK_TEXT, &buf, &hits));
	assert_memory_equal(buf.data, bytes, sizeof(bytes));
	mb_buf_release(&buf);
	mb_mask_release(&mask);
}

/* A file of one line takes no time that anybody would notice. */
static void
test_mask__is_not_quadratic(void **state)
{
	static const char *const pieces[] = {"key: a, ", "key: [", "{\"key\": {",
										 "=",        "'",      "KEY=\"",
										 "a://b:",   "\"k=",   "-----BEGIN PRIVATE KEY-----"};
	size_t i, n;

	(void) state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		for (n = MB_MASK_TEXT; n <= MB_MASK_NETRC; n++)
		{
			struct mb_mask_hits hits = {0};
			struct mb_buf buf = {0};
			struct mb_mask mask;
			clock_t began;

			mb_mask_init(&mask);
			mb_buf_put_str(&buf, "{");
			while (buf.len < 300000)
				mb_buf_put_str(&buf, pieces[i]);
			began = clock();
			(void) mb_mask_contents(&mask, (enum mb_mask_format) n, &buf, &hits);
			/* Of the processor, so that others on it do not count: milliseconds, where a square takes 20 s. */
			if ((clock() - began) / CLOCKS_PER_SEC >= 8)
				fail_msg("\"%s...\" takes too long", pieces[i]);
			mb_buf_release(&buf);
			mb_mask_release(&mask);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns__mean_what_gitignore_means),
		cmocka_unit_test(test_patterns__refuse_what_names_nothing),
		cmocka_unit_test(test_patterns__are_not_exponential),
		cmocka_unit_test(test_mask__knows_formats_by_name),
		cmocka_unit_test(test_mask__hides_values_and_nothing_else),
		cmocka_unit_test(test_mask__of_conf),
		cmocka_unit_test(test_mask__of_yaml),
		cmocka_unit_test(test_mask__of_json_and_toml),
		cmocka_unit_test(test_mask__of_password_files_and_private_keys),
		cmocka_unit_test(test_mask__takes_rules),
		cmocka_unit_test(test_mask__leaves_binary_alone),
		cmocka_unit_test(test_mask__is_not_quadratic),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
