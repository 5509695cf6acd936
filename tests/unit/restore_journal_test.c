/*
 * restore_journal_test.c - the journal of a restore tells another process what was begun and done,
 * whatever the last line looks like; which restore is unfinished; and services and hooks, with real processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/hooks.h"
#include "core/engine/restore_journal.h"
#include "core/engine/service.h"

static char spool[] = "/tmp/mb-journal-XXXXXX";

static int
set_up(void **state)
{
	(void) state;
	strcpy(spool, "/tmp/mb-journal-XXXXXX");
	assert_non_null(mkdtemp(spool));
	return 0;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	return mb_rmtree(spool, &err) != MB_OK;
}

static struct mb_journal *
create(const char *id)
{
	json_t *plan = json_pack("{s:s}", "id", id);
	struct mb_journal *journal;
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_journal_create(&journal, spool, id, plan, &err), MB_OK);
	json_decref(plan);
	return journal;
}

static struct mb_journal *
reopen(const char *id)
{
	struct mb_journal *journal;
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_journal_open(&journal, spool, id, &err), MB_OK);
	return journal;
}

static void
note(struct mb_journal *journal, const char *step, enum mb_step_state state)
{
	json_t *data = json_pack("{s:i}", "n", 7);
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_journal_note(journal, step, state, data, &err), MB_OK);
	json_decref(data);
}

static void
append(const char *id, const char *text)
{
	char *path = mb_asprintf("%s/restores/%s/journal", spool, id);
	int fd = open(path, O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	free(path);
}

static void
test_journal__tells_another_process(void **state)
{
	struct mb_journal *journal = create("20260101T000000Z-aaaaaaaaaaaa");

	(void) state;
	note(journal, "keep:0", MB_STEP_BEGUN);
	note(journal, "keep:0", MB_STEP_DONE);
	note(journal, "restore:postgres", MB_STEP_BEGUN);
	mb_journal_close(journal);
	journal = reopen("20260101T000000Z-aaaaaaaaaaaa");
	assert_int_equal(mb_journal_state(journal, "keep:0"), MB_STEP_DONE);
	assert_int_equal(mb_json_int(mb_journal_data(journal, "keep:0"), "n", 0), 7);
	assert_int_equal(mb_journal_state(journal, "restore:postgres"), MB_STEP_BEGUN);
	assert_int_equal(mb_journal_state(journal, "restore:redis"), MB_STEP_NEW);
	assert_true(mb_journal_time(journal, "keep:0") > 0);
	assert_string_equal(mb_json_str(journal->plan, "id", ""), "20260101T000000Z-aaaaaaaaaaaa");
	assert_string_equal(mb_journal_status(journal), "unfinished");
	mb_journal_close(journal);
}

/* Every length of a line that a power failure may leave: it is no line, and the next one is. */
static void
test_journal__half_a_line_is_none(void **state)
{
	static const char line[] = "{\"state\":\"done\",\"step\":\"keep:1\",\"time\":\"2026\"}";
	struct mb_journal *journal = create("20260101T000000Z-aaaaaaaaaaaa");
	size_t len;

	(void) state;
	note(journal, "keep:0", MB_STEP_DONE);
	mb_journal_close(journal);
	for (len = 1; len <= strlen(line); len++)
	{
		char *half = mb_strndup(line, len);

		append("20260101T000000Z-aaaaaaaaaaaa", half);
		free(half);
		journal = reopen("20260101T000000Z-aaaaaaaaaaaa");
		assert_int_equal(mb_journal_state(journal, "keep:0"), MB_STEP_DONE);
		assert_int_equal(mb_journal_state(journal, "keep:1"), MB_STEP_NEW);
		note(journal, "after", MB_STEP_DONE);
		mb_journal_close(journal);
		journal = reopen("20260101T000000Z-aaaaaaaaaaaa");
		assert_int_equal(mb_journal_state(journal, "after"), MB_STEP_DONE);
		mb_journal_close(journal);
	}
}

/* The disk is full in the middle of a line: the next line is one again. */
static void
test_journal__a_line_that_does_not_fit(void **state)
{
	struct mb_journal *journal = create("20260101T000000Z-aaaaaaaaaaaa");
	struct rlimit kept, small;
	struct mb_error err;

	(void) state;
	note(journal, "keep:0", MB_STEP_DONE);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
	small = kept;
	small.rlim_cur = (rlim_t) lseek(journal->fd, 0, SEEK_END) + 10;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	mb_error_clear(&err);
	assert_int_not_equal(mb_journal_note(journal, "keep:1", MB_STEP_BEGUN, NULL, &err), MB_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
	note(journal, "rolled back", MB_STEP_BEGUN);
	mb_journal_close(journal);
	journal = reopen("20260101T000000Z-aaaaaaaaaaaa");
	assert_int_equal(mb_journal_state(journal, "keep:1"), MB_STEP_NEW);
	assert_string_equal(mb_journal_status(journal), "rolling back");
	mb_journal_close(journal);
}

/* It may be a line that its writer has not finished yet. */
static void
test_journal__who_reads_cuts_nothing(void **state)
{
	struct mb_journal *journal = create("20260101T000000Z-aaaaaaaaaaaa");

	(void) state;
	append("20260101T000000Z-aaaaaaaaaaaa", "{\"state\":\"done\",");
	mb_journal_close(reopen("20260101T000000Z-aaaaaaaaaaaa"));
	append("20260101T000000Z-aaaaaaaaaaaa", "\"step\":\"keep:1\",\"time\":\"2026\"}\n");
	mb_journal_close(journal);
	journal = reopen("20260101T000000Z-aaaaaaaaaaaa");
	assert_int_equal(mb_journal_state(journal, "keep:1"), MB_STEP_DONE);
	mb_journal_close(journal);
}

static void
test_journal__states(void **state)
{
	struct mb_journal *journal = create("20260101T000000Z-aaaaaaaaaaaa");
	char id[MB_ID_TEXT];
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_journal_unfinished(id, spool, &err), MB_OK);
	assert_string_equal(id, "20260101T000000Z-aaaaaaaaaaaa");
	note(journal, "finished", MB_STEP_DONE);
	assert_string_equal(mb_journal_status(journal), "finished");
	assert_int_equal(mb_journal_unfinished(id, spool, &err), MB_OK);
	assert_string_equal(id, "");
	note(journal, "rolled back", MB_STEP_BEGUN);
	assert_string_equal(mb_journal_status(journal), "rolling back");
	assert_int_equal(mb_journal_unfinished(id, spool, &err), MB_OK);
	assert_string_equal(id, "20260101T000000Z-aaaaaaaaaaaa");
	note(journal, "rolled back", MB_STEP_DONE);
	assert_string_equal(mb_journal_status(journal), "rolled back");
	mb_journal_close(journal);
	journal = create("20260102T000000Z-bbbbbbbbbbbb");
	note(journal, "aborted", MB_STEP_BEGUN);
	assert_string_equal(mb_journal_status(journal), "rolling back");
	note(journal, "aborted", MB_STEP_DONE);
	assert_string_equal(mb_journal_status(journal), "aborted");
	mb_journal_close(journal);
}

static void
test_journal__is_found_by_prefix(void **state)
{
	char id[MB_ID_TEXT], *stray = mb_asprintf("%s/restores/20270101T000000Z-cccccccccccc", spool);
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_journal_find(id, spool, NULL, &err), MB_NOT_FOUND);
	mb_journal_close(create("20260102T000000Z-bbbbbbbbbbbb"));
	mb_journal_close(create("20260101T000000Z-aaaaaaaaaaaa"));
	/* Killed before its plan was written: no restore. */
	assert_int_equal(mkdir(stray, 0700), 0);
	free(stray);
	mb_error_clear(&err);
	assert_int_equal(mb_journal_find(id, spool, NULL, &err), MB_OK);
	assert_string_equal(id, "20260102T000000Z-bbbbbbbbbbbb");
	assert_int_equal(mb_journal_find(id, spool, "20260101", &err), MB_OK);
	assert_string_equal(id, "20260101T000000Z-aaaaaaaaaaaa");
	assert_int_equal(mb_journal_find(id, spool, "2026", &err), MB_CONFIG);
	assert_int_equal(mb_journal_find(id, spool, "1999", &err), MB_NOT_FOUND);
}

/* -- processes ----------------------------------------------------------------------------------------- */

static enum mb_code
run(const char *command, int64_t timeout_ms, const struct mb_cancel *cancel, int *status,
	char **tail, struct mb_error *err)
{
	const char *argv[] = {"/bin/sh", "-c", command, NULL};
	char *output = mb_asprintf("%s/output", spool);
	struct mb_process process = {.argv = argv,
								 .input = "hello",
								 .output_path = output,
								 .timeout_ms = timeout_ms,
								 .cancel = cancel};
	enum mb_code code;

	mb_error_clear(err);
	code = mb_process_run(&process, status, tail, err);
	free(output);
	return code;
}

static void
test_process__input_output_status(void **state)
{
	struct mb_error err;
	char *tail;
	int status;

	(void) state;
	assert_int_equal(run("cat; echo; echo world >&2; exit 3", 0, NULL, &status, &tail, &err),
					 MB_OK);
	assert_int_equal(status, 3);
	assert_string_equal(tail, "hello\nworld");
	free(tail);
	assert_int_equal(run("true", 0, NULL, &status, &tail, &err), MB_OK);
	assert_string_equal(tail, "");
	free(tail);
	assert_int_equal(run("kill -9 $$", 0, NULL, &status, &tail, &err), MB_OK);
	assert_int_equal(status, 137);
	free(tail);
}

static bool
is_gone(const char *name)
{
	char *path = mb_asprintf("%s/%s", spool, name);
	struct mb_buf text = {0};
	struct mb_error err;
	bool gone;

	mb_error_clear(&err);
	assert_int_equal(mb_file_read(&text, path, 64, &err), MB_OK);
	gone = kill((pid_t) strtol(mb_buf_cstr(&text), NULL, 10), 0) != 0;
	mb_buf_release(&text);
	free(path);
	return gone;
}

/* Its children die with it: they are in its group. */
static void
test_process__is_killed_with_its_children(void **state)
{
	char *command =
		mb_asprintf("sleep 600 & echo $! >%s/child; echo $$ >%s/parent; wait", spool, spool);
	struct mb_cancel cancel = {.signo = 0};
	struct mb_error err;
	char *tail;
	int status, i;

	(void) state;
	assert_int_equal(run(command, 500, NULL, &status, &tail, &err), MB_UNREACHABLE);
	free(tail);
	for (i = 0; i < 100 && !(is_gone("child") && is_gone("parent")); i++)
		mb_sleep_ms(50);
	assert_true(is_gone("child"));
	assert_true(is_gone("parent"));
	atomic_store(&cancel.signo, SIGINT);
	assert_int_equal(run("sleep 600", 0, &cancel, &status, &tail, &err), MB_INTERRUPTED);
	free(tail);
	free(command);
}

/* What it leaves running keeps its output open; nobody waits for that, and it lives on. */
static void
test_process__does_not_wait_for_a_daemon(void **state)
{
	char *command = mb_asprintf("sleep 600 & echo $! >%s/daemon", spool);
	int64_t started_ms = mb_monotonic_ms();
	struct mb_error err;
	char *tail, *path;
	int status;
	FILE *file;
	int pid = 0;

	(void) state;
	assert_int_equal(run(command, 0, NULL, &status, &tail, &err), MB_OK);
	free(tail);
	assert_true(mb_monotonic_ms() - started_ms < 300000);
	assert_false(is_gone("daemon"));
	path = mb_asprintf("%s/daemon", spool);
	file = fopen(path, "r");
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	kill(pid, SIGKILL);
	free(path);
	free(command);
}

static void
test_process__no_such_program(void **state)
{
	const char *argv[] = {"no-such-program-of-mbackup", NULL};
	struct mb_process process = {.argv = argv};
	struct mb_error err;
	int status;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_process_run(&process, &status, NULL, &err), MB_NOT_FOUND);
	assert_true(mb_program_exists("sh"));
	assert_true(mb_program_exists("/bin/sh"));
	assert_false(mb_program_exists("no-such-program-of-mbackup"));
}

/* -- services and hooks ------------------------------------------------------------------------------- */

static void
test_service__words(void **state)
{
	static const char *const good[] = {"systemd:shop.service", "compose:/srv/x/y.yml#web",
									   "pg_ctlcluster:15/main", "pg_ctl"};
	static const char *const bad[] = {"systemd:",         "systemd:-x",      "compose:/srv/x.yml",
									  "compose:#web",     "compose:a#-f",    "pg_ctlcluster:15",
									  "pg_ctlcluster:/x", "upstart:shop",    "",
									  "command",          "compose:/a.yml#", "systemd"};
	struct mb_service service;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++)
	{
		mb_error_clear(&err);
		assert_int_equal(mb_service_parse(&service, good[i], NULL, &err), MB_OK);
		mb_service_release(&service);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
	{
		mb_error_clear(&err);
		assert_int_equal(mb_service_parse(&service, bad[i], NULL, &err), MB_CONFIG);
		assert_true(err.hint[0] != '\0');
	}
}

static void
test_service__command(void **state)
{
	struct mb_settings settings = {.name = "redis", .kind = "redis"};
	char *flag = mb_asprintf("%s/runs", spool), *text;
	struct mb_service_env env = {.timeout_ms = 10000};
	struct mb_service service;
	struct mb_error err;
	bool running;

	(void) state;
	mb_error_clear(&err);
	text = mb_asprintf("rm -f %s", flag);
	mb_settings_add(&settings, "service-stop", text);
	free(text);
	text = mb_asprintf("touch %s", flag);
	mb_settings_add(&settings, "service-start", text);
	free(text);
	text = mb_asprintf("test -e %s", flag);
	mb_settings_add(&settings, "service-status", text);
	free(text);
	assert_int_equal(mb_service_parse(&service, "command", &settings, &err), MB_OK);
	assert_int_equal(mb_service_start(&service, &env, &err), MB_OK);
	assert_int_equal(mb_service_start(&service, &env, &err), MB_OK);
	assert_int_equal(mb_service_state(&service, &env, &running, &err), MB_OK);
	assert_true(running);
	assert_int_equal(mb_service_stop(&service, &env, &err), MB_OK);
	assert_int_equal(mb_service_stop(&service, &env, &err), MB_OK);
	assert_int_equal(mb_service_state(&service, &env, &running, &err), MB_OK);
	assert_false(running);
	mb_service_release(&service);
	/* One that says that it stopped, and runs on. */
	mb_settings_add(&settings, "service-stop", "true");
	mb_settings_add(&settings, "service-status", "true");
	assert_int_equal(mb_service_parse(&service, "command", &settings, &err), MB_OK);
	assert_int_equal(mb_service_stop(&service, &env, &err), MB_CONFLICT);
	mb_service_release(&service);
	mb_settings_add(&settings, "service-stop", "echo broken; false");
	mb_error_clear(&err);
	assert_int_equal(mb_service_parse(&service, "command", &settings, &err), MB_OK);
	assert_int_equal(mb_service_stop(&service, &env, &err), MB_IO);
	mb_service_release(&service);
	mb_settings_release(&settings);
	free(flag);
}

static void
test_hook__environment_and_input(void **state)
{
	struct mb_hooks hooks = {.timeout_ms = 10000};
	struct mb_env env = {.spool = spool};
	char *output = mb_asprintf("%s/hook.log", spool);
	json_t *event = json_pack("{s:s, s:[s, s], s:s}", "id", "x1", "components", "postgres", "redis",
							  "status", "it's \"done\"; rm -rf /");
	struct mb_buf text = {0};
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_hook_run(&hooks, MB_HOOK_ON_SUCCESS, event, &env, output, &err), MB_OK);
	hooks.commands[MB_HOOK_ON_SUCCESS] =
		"echo \"$MBACKUP_EVENT|$MBACKUP_ID|$MBACKUP_COMPONENTS|$MBACKUP_STATUS\"; cat";
	assert_int_equal(mb_hook_run(&hooks, MB_HOOK_ON_SUCCESS, event, &env, output, &err), MB_OK);
	assert_int_equal(mb_file_read(&text, output, 65536, &err), MB_OK);
	assert_non_null(
		strstr(mb_buf_cstr(&text), "on-success|x1|postgres redis|it's \"done\"; rm -rf /\n"));
	assert_non_null(strstr(mb_buf_cstr(&text), "\"components\":[\"postgres\",\"redis\"]"));
	hooks.commands[MB_HOOK_ON_SUCCESS] = "echo no >&2; exit 4";
	assert_int_equal(mb_hook_run(&hooks, MB_HOOK_ON_SUCCESS, event, &env, output, &err),
					 MB_NEGATIVE);
	assert_string_equal(err.detail, "no");
	hooks.commands[MB_HOOK_BEFORE_RESTORE] = "/no/such/program --x";
	mb_error_clear(&err);
	assert_int_equal(mb_hook_check(&hooks, MB_HOOK_BEFORE_RESTORE, &err), MB_CONFIG);
	hooks.commands[MB_HOOK_BEFORE_RESTORE] = "cd / && /no/such/program";
	mb_error_clear(&err);
	assert_int_equal(mb_hook_check(&hooks, MB_HOOK_BEFORE_RESTORE, &err), MB_OK);
	mb_buf_release(&text);
	json_decref(event);
	free(output);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_journal__tells_another_process),
		CASE(test_journal__half_a_line_is_none),
		CASE(test_journal__a_line_that_does_not_fit),
		CASE(test_journal__who_reads_cuts_nothing),
		CASE(test_journal__states),
		CASE(test_journal__is_found_by_prefix),
		CASE(test_process__input_output_status),
		CASE(test_process__is_killed_with_its_children),
		CASE(test_process__does_not_wait_for_a_daemon),
		CASE(test_process__no_such_program),
		CASE(test_service__words),
		CASE(test_service__command),
		CASE(test_hook__environment_and_input),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("restore_journal", tests, NULL, NULL);
}
