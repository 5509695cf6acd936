/* http_test.c - the daemon's HTTP side where no server is needed: names, documents, metrics. */
#include "tests/lib/repo_fixture.h"

#include <string.h>

#include "cli/daemon.h"
#include "cli/http.h"

static json_t *
parse(const char *text)
{
	json_error_t why;
	json_t *json = json_loads(text, 0, &why);

	assert_non_null(json);
	return json;
}

/* -- names -------------------------------------------------------------------------------------- */

static void
listen_addresses(void **state)
{
	static const char *const bad[] = {"",        ":",       "8432",
									  ":8432",   "a:",      "a:0",
									  "a:65536", "a:80x",   "a: 80",
									  "a:-1",    "::1:80",  "[::1:80",
									  "[]:80",   "[::1]80", "[::1]x:80",
									  "[:80",    "a:+80",   "a:99999999999999999999"};
	struct http_listen listen;
	struct mb_error err = {0};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_int_equal(http_listen_parse(&listen, bad[i], &err), MB_CONFIG);
		assert_true(err.hint[0] != '\0');
	}
	assert_int_equal(http_listen_parse(&listen, "[fe80::1]:65535", &err), MB_OK);
	assert_string_equal(listen.host, "fe80::1");
	assert_string_equal(listen.port, "65535");
	assert_int_equal(http_listen_parse(&listen, "*:1", &err), MB_OK);
	assert_string_equal(listen.host, "");
}

static void
hosts(void **state)
{
	static const char *const ours[] = {"localhost",      "LocalHost:1", "127.0.0.1",
									   "127.0.0.1:8432", "[::1]",       "[::1]:80",
									   "db1:8432",       "DB1",         "localhost:"};
	static const char *const others[] = {"",
										 "evil",
										 "localhost.evil",
										 "127.0.0.1.evil",
										 "db1.evil",
										 "db1:x",
										 "[::1",
										 "[::1]x",
										 "::1",
										 "127.1",
										 "localhost ",
										 "[localhost",
										 "localhost:1:2",
										 " localhost",
										 "192.0.2.1",
										 "db",
										 "[]"};
	struct http_listen listen = {.host = "db1", .port = "8432"}, every = {.host = ""};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_true(http_host_is_ours(&listen, ours[i]));
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(http_host_is_ours(&listen, others[i]));
	assert_false(http_host_is_ours(&listen, NULL));
	assert_true(http_host_is_ours(&every, "192.0.2.1:1"));
	assert_true(http_host_is_ours(&every, "[2001:db8::1]"));
	assert_false(http_host_is_ours(&every, "db1"));
}

static void
urls(void **state)
{
	static const char *const pairs[][2] = {
		{"/backup/shop", "/backup/shop"},
		{"s3://bucket/a@b", "s3://bucket/a@b"},
		{"s3://key:secret@bucket/prefix", "s3://bucket/prefix"},
		{"s3://key:se@cret@bucket", "s3://bucket"},
		{"file:///srv/x@y", "file:///srv/x@y"},
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char *url = document_url(pairs[i][0]);

		assert_string_equal(url, pairs[i][1]);
		free(url);
	}
}

/* -- the document ------------------------------------------------------------------------------- */

static void
last_backups(void **state)
{
	/* Of each type and status the newest, in whatever order they come. */
	json_t *list = parse(
		"{\"backups\": ["
		"{\"type\": \"full\", \"status\": \"complete\", \"finished\": \"2026-01-02T00:00:00Z\"},"
		"{\"type\": \"full\", \"status\": \"complete\", \"finished\": \"2026-01-05T00:00:00Z\"},"
		"{\"type\": \"full\", \"status\": \"partial\", \"finished\": \"2026-01-06T00:00:00Z\"},"
		"{\"type\": \"full\", \"status\": \"complete\", \"finished\": \"2026-01-03T00:00:00Z\"}]}");
	json_t *last = document_last_backups(list), *none = document_last_backups(NULL);

	(void) state;
	assert_int_equal(json_array_size(last), 2);
	assert_string_equal(mb_json_str(json_array_get(last, 0), "finished", ""),
						"2026-01-05T00:00:00Z");
	assert_string_equal(mb_json_str(json_array_get(last, 1), "status", ""), "partial");
	assert_int_equal(json_array_size(none), 0);
	json_decref(none);
	json_decref(last);
	json_decref(list);
}

static void
missing_components(void **state)
{
	json_t *list = parse(
		"{\"backups\": [{\"id\": \"a\", \"started\": \"2026-01-02T00:00:00Z\", \"components\": ["
		"{\"name\": \"z\", \"kind\": \"files\", \"bytes\": 1, \"entries\": 7},"
		"{\"name\": \"r\", \"error\": {\"code\": \"UNREACHABLE\", \"message\": \"gone\"}},"
		"{\"name\": \"b\", \"kind\": \"postgres\"}]}]}");
	json_t *backups = document_backups(list), *backup = json_array_get(backups, 0);
	json_t *components = json_object_get(backup, "components");

	(void) state;
	assert_string_equal(mb_json_str(json_object_get(backup, "missing"), "r", ""), "gone");
	assert_int_equal(json_array_size(components), 2);
	assert_string_equal(mb_json_str(json_array_get(components, 0), "name", ""), "b");
	assert_null(json_object_get(json_array_get(components, 1), "entries"));
	assert_false(mb_json_bool(backup, "pinned", true));
	json_decref(backups);
	json_decref(list);
}

/* -- metrics ------------------------------------------------------------------------------------ */

static char *
metrics_of(const char *text)
{
	json_t *status = parse(text);
	struct mb_buf out = {0};
	char *made;

	http_metrics(&out, status);
	http_metrics_end(&out, true);
	made = mb_strdup(mb_buf_cstr(&out));
	mb_buf_release(&out);
	json_decref(status);
	return made;
}

static void
metrics_of_nothing(void **state)
{
	/* A member that is missing, null or of another type is not known. */
	static const char *const odd[] = {
		"{}",
		"{\"windows\": null, \"streams\": {}, \"jobs\": 3, \"problems\": \"x\", \"last\": []}",
		"{\"backups\": [null, 1, {\"components\": 5}, {\"components\": [null, {}]}], \"windows\": "
		"[[]],"
		" \"streams\": [\"x\"], \"schedules\": [{\"missed\": \"many\", \"next\": 5}], "
		"\"problems\": [null, null]}",
	};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
	{
		char *text = metrics_of(odd[i]);

		assert_non_null(strstr(text, "\nmbackup_database_up 0\n"));
		assert_non_null(strstr(text, "\nmbackup_up 1\n# EOF\n"));
		assert_null(strstr(text, "\nmbackup_last_backup_timestamp_seconds{"));
		free(text);
	}
}

static void
metrics_rounded(void **state)
{
	/* 1.001 * 1e6 is 1000999.9999999999. */
	char *text =
		metrics_of("{\"backups\": [{\"components\": [{\"name\": \"a\", \"seconds\": 1.001}]}]}");

	(void) state;
	assert_non_null(strstr(text, "\nmbackup_backup_duration_seconds{component=\"a\"} 1.001000\n"));
	free(text);
}

static void
metrics_escaped(void **state)
{
	char *text = metrics_of(
		"{\"problems\": ["
		"{\"component\": \"a\\\"b\\\\c\\nd\", \"name\": \"\\u00e9\", \"severity\": \"failed\"},"
		"{\"component\": \"a\\\"b\\\\c\\nd\", \"name\": \"\\u00e9\", \"severity\": \"failed\"}],"
		"\"last\": {\"backups\": [{\"type\": \"full\", \"status\": \"complete\","
		" \"finished\": \"1969-12-31T23:59:58.500000Z\"}]}}");
	const char *sample = "\nmbackup_problem{component=\"a\\\"b\\\\c\\nd\",name=\"\xc3\xa9\","
						 "severity=\"failed\"} 1\n";
	const char *found = strstr(text, sample);

	(void) state;
	assert_non_null(found);
	/* The same set of labels once, but both are counted. */
	assert_null(strstr(found + 1, "\nmbackup_problem{"));
	assert_non_null(strstr(text, "\nmbackup_problems{severity=\"failed\"} 2\n"));
	assert_non_null(strstr(text, "status=\"complete\"} -1.500000\n"));
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listen_addresses),
		cmocka_unit_test(hosts),
		cmocka_unit_test(urls),
		cmocka_unit_test(last_backups),
		cmocka_unit_test(missing_components),
		cmocka_unit_test(metrics_of_nothing),
		cmocka_unit_test(metrics_escaped),
		cmocka_unit_test(metrics_rounded),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
