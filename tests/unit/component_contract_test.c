/*
 * component_contract_test.c - every driver of core/engine/component.h through the same cases:
 * all callbacks are there, capabilities and stubs agree, settings that make no sense are
 * refused with a hint, and a source that is not there is told from an empty one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/session.h"
#include "files/component_files.h"
#include "objectstore/component_objects.h"
#include "postgres/component_postgres.h"
#include "redis/component_private.h"
#include "walstreamer/source.h"

struct driver_case
{
	const struct mb_component_ops *ops;
	const char *good[4]; /* key, value, key, value: opens, but nothing is there */
	const char *bad[4];  /* refused by open; NULL when it takes anything */
};

static struct driver_case cases[5];
static char spool[] = "/tmp/mb-contract-XXXXXX";
static struct mb_env env;

static int
set_up(void **state)
{
	struct mb_unlock unlock = {0};
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	cases[0] =
		(struct driver_case){mb_postgres_component_ops(&mb_walstreamer_ops),
							 {"conninfo", "host=/nonexistent dbname=postgres connect_timeout=2",
							  NULL, NULL},
							 {"conninfo", "no such thing = = 'x", NULL, NULL}};
	cases[1] = (struct driver_case){mb_objects_component_ops(NULL),
									{"url", "file:///nonexistent/bucket", NULL, NULL},
									{"url", "ftp://bucket", NULL, NULL}};
	cases[2] = (struct driver_case){&mb_redis_component_ops,
									{"url", "redis://127.0.0.1:1", NULL, NULL},
									{"url", "http://127.0.0.1", NULL, NULL}};
	cases[3] = (struct driver_case){&mb_files_component_ops,
									{"paths", "/nonexistent/path", "secrets", "mask"},
									{"secrets", "mask", NULL, NULL}};
	cases[4] = (struct driver_case){&mb_redis_rdb_component_ops,
									{"url", "redis://127.0.0.1:1", "capture", "rdb"},
									{"capture", "often", NULL, NULL}};
	assert_non_null(mkdtemp(spool));
	env.spool = spool;
	env.workers = 2;
	env.program = "/bin/true";
	assert_int_equal(mb_repo_create(&env.repo, mb_store_memory_new(0), MB_SUITE_NONE, &unlock,
									&err),
					 MB_OK);
	return 0;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	mb_repo_free(env.repo);
	return mb_rmtree(spool, &err) != MB_OK;
}

static struct mb_component *
open_case(const struct driver_case *test, const char *const pairs[4], struct mb_settings *settings,
		  enum mb_code *code, struct mb_error *err)
{
	struct mb_component *component = NULL;
	size_t i;

	memset(settings, 0, sizeof(*settings));
	snprintf(settings->name, sizeof(settings->name), "it");
	snprintf(settings->kind, sizeof(settings->kind), "%s", test->ops->kind);
	for (i = 0; i < 4 && pairs[i]; i += 2)
		mb_settings_add(settings, pairs[i], pairs[i + 1]);
	mb_error_clear(err);
	*code = test->ops->open(&component, settings, &env, err);
	return component;
}

/* An ops table of pointers behind kind and capabilities: none may be NULL. */
static void
test_component__fills_every_callback(void **state)
{
	size_t i, j;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		const struct mb_component_ops *ops = cases[i].ops;
		void (*const *first)(void) = (void (*const *)(void))(const void *) &ops->open;
		size_t count = (sizeof(*ops) - offsetof(struct mb_component_ops, open)) / sizeof(*first);

		assert_non_null(ops->kind);
		for (j = 0; j < count; j++)
			assert_true(first[j] != NULL);
	}
}

static void
test_component__capabilities_agree_with_stubs(void **state)
{
	size_t i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		const struct mb_component_ops *ops = cases[i].ops;

		assert_int_equal((ops->capabilities & MB_CAP_HOLD) != 0, ops->hold != mb_no_hold);
		assert_int_equal((ops->capabilities & MB_CAP_STREAM) != 0, ops->stream != mb_no_stream);
		/* A mark needs one of both. */
		assert_true((ops->capabilities & MB_CAP_SCAN) || ops->await != mb_no_await);
		if (ops->capabilities & MB_CAP_PRESCAN)
			assert_true(ops->capabilities & MB_CAP_INCREMENTAL);
	}
}

static void
test_component__refuses_bad_settings(void **state)
{
	size_t i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		struct mb_settings settings;
		struct mb_error err;
		enum mb_code code;

		assert_null(open_case(&cases[i], cases[i].bad, &settings, &code, &err));
		assert_int_equal(code, MB_CONFIG);
		assert_true(err.message[0] != '\0');
		mb_settings_release(&settings);
	}
}

static void
test_component__opens_without_connecting_and_checks(void **state)
{
	size_t i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		struct mb_checks checks = {.list = json_array()};
		struct mb_settings settings;
		struct mb_component *component;
		struct mb_error err;
		enum mb_code code;
		char *text;
		size_t j, trouble = 0;

		component = open_case(&cases[i], cases[i].good, &settings, &code, &err);
		assert_int_equal(code, MB_OK);
		assert_string_equal(component->name, "it");
		text = component->ops->describe(component);
		assert_true(text && text[0]);
		free(text);
		code = component->ops->check(component, &checks, &err);
		for (j = 0; j < json_array_size(checks.list); j++)
		{
			const json_t *item = json_array_get(checks.list, j);
			const char *status = mb_json_str(item, "status", "");

			if (strcmp(status, "failed") == 0 || strcmp(status, "warning") == 0)
			{
				trouble++;
				/* Whatever is wrong comes with the next step. */
				assert_true(mb_json_str(item, "fix", "")[0] != '\0');
			}
		}
		assert_true(code != MB_OK || trouble > 0);
		json_decref(checks.list);
		cases[i].ops->close(component);
		cases[i].ops->close(NULL);
		mb_settings_release(&settings);
	}
}

/* A source that is not there must fail its backup; files may be absent, and that is a warning. */
static void
test_component__missing_source_is_no_empty_backup(void **state)
{
	size_t i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		struct mb_settings settings;
		struct mb_session session = {0};
		struct mb_capture *capture = NULL;
		struct mb_component *component;
		struct mb_cut cut = {.time_us = 1, .positions = json_object()};
		struct mb_error err;
		enum mb_code code;

		component = open_case(&cases[i], cases[i].good, &settings, &code, &err);
		assert_int_equal(code, MB_OK);
		assert_int_equal(mb_session_open(&session, &env, "test", &err), MB_OK);
		assert_int_equal(mb_capture_begin(&session, component, MB_PARENT_NONE, &capture, &err),
						 MB_OK);
		code = component->ops->snapshot(component, capture, &err);
		if (!code)
			code = component->ops->settle(component, capture, &cut, &err);
		if (strcmp(component->ops->kind, "files") == 0)
		{
			assert_int_equal(code, MB_OK);
			assert_int_equal(json_array_size(capture->warnings), 1);
		}
		else
			assert_int_equal(code, MB_UNREACHABLE);
		mb_capture_free(capture);
		mb_session_close(&session);
		mb_cut_release(&cut);
		component->ops->close(component);
		mb_settings_release(&settings);
	}
}

static void
test_component__window_of_nothing_is_empty(void **state)
{
	size_t i;

	(void) state;
	for (i = 0; i < 5; i++)
	{
		struct mb_window window = {0};
		struct mb_settings settings;
		struct mb_component *component;
		struct mb_error err;
		enum mb_code code;

		component = open_case(&cases[i], cases[i].good, &settings, &code, &err);
		assert_int_equal(component->ops->window(component, &window, &err), MB_OK);
		assert_int_equal(window.from_us, 0);
		json_decref(window.gaps);
		component->ops->close(component);
		mb_settings_release(&settings);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_component__fills_every_callback),
		cmocka_unit_test(test_component__capabilities_agree_with_stubs),
		cmocka_unit_test(test_component__refuses_bad_settings),
		cmocka_unit_test(test_component__opens_without_connecting_and_checks),
		cmocka_unit_test(test_component__missing_source_is_no_empty_backup),
		cmocka_unit_test(test_component__window_of_nothing_is_empty),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
