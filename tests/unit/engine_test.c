/*
 * engine_test.c - cuts and settings, and what a restored tree must never do: leave its
 * root, whatever names and links a manifest holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/engine/session.h"

static struct mb_env env;
static char work[] = "/tmp/mb-engine-XXXXXX";

/* A component that does nothing: captures need one for its name and kind. */
static enum mb_code
no_settle(struct mb_component *component, struct mb_capture *capture, const struct mb_cut *cut,
		  struct mb_error *err)
{
	(void) component;
	(void) capture;
	(void) cut;
	(void) err;
	return MB_OK;
}

static const struct mb_component_ops test_ops = {.kind = "test",
												 .capabilities = MB_CAP_SCAN | MB_CAP_INCREMENTAL,
												 .settle = no_settle};

static int
set_up(void **state)
{
	struct mb_unlock unlock = {0};
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_non_null(mkdtemp(work));
	env.spool = work;
	env.workers = 2;
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
	mb_repo_free(env.repo);
	return mb_rmtree(work, &err) != MB_OK;
}

/* -- a backup of given entries, and its restore ------------------------------------------------ */

struct given
{
	enum mb_entry_type type;
	const char *path;
	const char *text; /* contents, or the target of a link */
};

static void
back_up(const struct given *given, size_t count, struct mb_commit *commit)
{
	struct mb_component component = {&test_ops, NULL, &env, "test"};
	struct mb_cut cut = {.time_us = mb_time_now_us(), .positions = json_object()};
	struct mb_session session = {0};
	struct mb_capture *capture = NULL;
	json_t *summary = NULL;
	struct mb_error err;
	size_t i;

	mb_error_clear(&err);
	assert_int_equal(mb_session_open(&session, &env, "test", &err), MB_OK);
	assert_int_equal(mb_capture_begin(&session, &component, MB_PARENT_NONE, &capture, &err), MB_OK);
	for (i = 0; i < count; i++)
	{
		struct mb_entry entry = {.type = given[i].type,
								 .path = given[i].path,
								 .path_len = strlen(given[i].path),
								 .mode = 0644};
		struct mb_runs runs = {0};

		if (entry.type == MB_ENTRY_FILE)
		{
			entry.size = strlen(given[i].text);
			assert_int_equal(mb_capture_bytes(capture, 0, given[i].text, entry.size, &runs, &err),
							 MB_OK);
			entry.runs = runs.items;
			entry.run_count = runs.count;
		}
		else
			entry.link_target = given[i].text;
		assert_int_equal(mb_capture_add(capture, &entry, &err), MB_OK);
		mb_runs_release(&runs);
	}
	assert_int_equal(mb_capture_commit(&session, capture, &cut, "full", &summary, &err), MB_OK);
	assert_int_equal(mb_commit_get(env.repo, "test", mb_json_str(summary, "backup", ""), commit,
								   &err),
					 MB_OK);
	json_decref(summary);
	mb_capture_free(capture);
	mb_session_close(&session);
	mb_cut_release(&cut);
}

static enum mb_code
restore_into(struct mb_commit *commit, const char *dir, struct mb_error *err)
{
	struct mb_restore restore = {.env = &env,
								 .component = "test",
								 .commit = *commit,
								 .progress = mb_env_progress(&env, "test"),
								 .result = json_object()};
	struct mb_tree tree = {.flags = MB_TREE_TIMES};
	enum mb_code code;

	mb_error_clear(err);
	assert_int_equal(mkdir(dir, 0700), 0);
	tree.root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree.root_fd >= 0);
	code = mb_restore_tree(&restore, &tree, err);
	close(tree.root_fd);
	json_decref(restore.result);
	return code;
}

/* Over what is there. */
static enum mb_code
delta_into(struct mb_commit *commit, const char *dir, mb_tree_hollow hollow, uint64_t *written,
		   struct mb_error *err)
{
	static const char *const keep[] = {"ours", NULL};
	struct mb_restore restore = {.env = &env,
								 .component = "test",
								 .commit = *commit,
								 .progress = mb_env_progress(&env, "test"),
								 .result = json_object()};
	struct mb_tree_root root = {.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	struct mb_tree tree = {.root_fd = root.fd,
						   .flags = MB_TREE_DELTA,
						   .hollow = hollow,
						   .roots = &root,
						   .root_count = 1,
						   .keep = keep};
	enum mb_code code;

	mb_error_clear(err);
	assert_true(root.fd >= 0);
	code = mb_restore_tree(&restore, &tree, err);
	if (written)
		*written = restore.written_bytes;
	close(root.fd);
	json_decref(restore.result);
	return code;
}

static char *
in_work(const char *name)
{
	return mb_path_join(work, name);
}

static void
test_tree__round_trip(void **state)
{
	static const struct given given[] = {{MB_ENTRY_FILE, "a/b/c", "deep"},
										 {MB_ENTRY_FILE, "empty", ""},
										 {MB_ENTRY_SYMLINK, "link", "a/b/c"},
										 {MB_ENTRY_HARDLINK, "same", "a/b/c"}};
	struct mb_commit commit = {0};
	struct mb_buf buf = {0};
	struct mb_error err;
	char *dir = in_work("round");
	char *link = in_work("round/link");
	char *same = in_work("round/same");
	struct stat st;

	(void) state;
	back_up(given, 4, &commit);
	assert_int_equal(restore_into(&commit, dir, &err), MB_OK);
	assert_int_equal(mb_file_read(&buf, link, 100, &err), MB_OK);
	assert_string_equal(mb_buf_cstr(&buf), "deep");
	assert_int_equal(stat(same, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	mb_buf_release(&buf);
	mb_commit_release(&commit);
	free(dir);
	free(link);
	free(same);
}

/* Whatever a manifest says, nothing may appear beside the root. */
static void
test_tree__never_leaves_its_root(void **state)
{
	static const struct given hostile[][2] = {
		{{MB_ENTRY_FILE, "../evil", "x"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_FILE, "/evil", "x"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_FILE, "a/../../evil", "x"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_FILE, "a//evil", "x"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_FILE, "./evil", "x"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_DIR, "..", NULL}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_SYMLINK, "l", ".."}, {MB_ENTRY_FILE, "l/evil", "x"}},
		{{MB_ENTRY_SYMLINK, "l", "/tmp"}, {MB_ENTRY_DIR, "l/evil", NULL}},
		{{MB_ENTRY_HARDLINK, "l", "../outside"}, {MB_ENTRY_FILE, "z", "z"}},
		{{MB_ENTRY_HARDLINK, "l", "/etc/passwd"}, {MB_ENTRY_FILE, "z", "z"}},
	};
	char *outside = in_work("outside");
	struct mb_error err;
	size_t i;

	(void) state;
	assert_int_equal(mb_file_write_durable(outside, "o", 1, 0600, &err), MB_OK);
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
	{
		struct mb_commit commit = {0};
		char name[32];
		char *dir, *evil = in_work("evil");
		enum mb_code code;
		struct stat st;

		snprintf(name, sizeof(name), "hostile-%zu", i);
		dir = in_work(name);
		back_up(hostile[i], 2, &commit);
		code = restore_into(&commit, dir, &err);
		assert_true(code != MB_OK);
		assert_true(err.message[0] != '\0');
		assert_int_equal(access(evil, F_OK), -1);
		assert_int_equal(access("/tmp/evil", F_OK), -1);
		assert_int_equal(stat(outside, &st), 0);
		assert_int_equal(st.st_nlink, 1);
		mb_commit_release(&commit);
		free(dir);
		free(evil);
	}
	free(outside);
}

static void
test_tree__never_overwrites(void **state)
{
	static const struct given given[] = {{MB_ENTRY_FILE, "a", "new"}};
	struct mb_commit commit = {0};
	struct mb_restore restore = {0};
	struct mb_tree tree = {0};
	struct mb_buf buf = {0};
	struct mb_error err;
	char *dir = in_work("busy");
	char *file = in_work("busy/a");

	(void) state;
	back_up(given, 1, &commit);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(mb_file_write_durable(file, "old", 3, 0600, &err), MB_OK);
	restore = (struct mb_restore){.env = &env,
								  .component = "test",
								  .commit = commit,
								  .progress = mb_env_progress(&env, "test"),
								  .result = json_object()};
	tree.root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mb_restore_tree(&restore, &tree, &err), MB_EXISTS);
	close(tree.root_fd);
	assert_int_equal(mb_file_read(&buf, file, 100, &err), MB_OK);
	assert_string_equal(mb_buf_cstr(&buf), "old");
	mb_buf_release(&buf);
	json_decref(restore.result);
	mb_commit_release(&commit);
	free(dir);
	free(file);
}

/* -- small things ---------------------------------------------------------------------------------- */

static void
assert_holds(const char *dir, const char *name, const char *text)
{
	char *path = mb_path_join(dir, name);
	struct mb_buf buf = {0};
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_file_read(&buf, path, 100, &err), MB_OK);
	assert_int_equal(buf.len, strlen(text));
	assert_string_equal(mb_buf_cstr(&buf), text);
	mb_buf_release(&buf);
	free(path);
}

static void
in_shell(const char *dir, const char *commands)
{
	char *command = mb_asprintf("cd '%s' && %s", dir, commands);

	assert_int_equal(system(command), 0);
	free(command);
}

/* Whatever stood there: the same state, and nothing outside is touched. */
static void
test_delta__replaces_anything(void **state)
{
	static const struct given given[] = {{MB_ENTRY_DIR, "a", NULL},
										 {MB_ENTRY_FILE, "a/b/c", "deep"},
										 {MB_ENTRY_FILE, "d", "other"},
										 {MB_ENTRY_FILE, "empty", ""},
										 {MB_ENTRY_SYMLINK, "link", "a/b/c"}};
	static const char *const damages[] = {
		"true",
		"echo deeq >a/b/c && : >d",
		"rm -r a && ln -s ../victim a",
		"rm d && ln -s ../victim/file d",
		"rm d && ln ../victim/file d",
		"rm d && mkdir d && echo x >d/e",
		"rm -r a && echo x >a",
		"rm d && mkfifo d",
		"rm link && mkdir -p link/x && echo x >link/x/y",
		"mkdir -p extra/deep && ln -s ../../../victim extra/deep/l && echo x >a/b/x",
		"rm -r a d empty link",
	};
	char *dir = in_work("delta"), *victim = in_work("victim");
	struct mb_commit commit = {0};
	struct mb_error err;
	uint64_t written;
	size_t i;

	(void) state;
	back_up(given, 5, &commit);
	assert_int_equal(mkdir(victim, 0700), 0);
	in_shell(victim, "printf precious >file && chmod 640 file");
	assert_int_equal(restore_into(&commit, dir, &err), MB_OK);
	in_shell(dir, "printf mine >ours");
	for (i = 0; i < sizeof(damages) / sizeof(*damages); i++)
	{
		in_shell(dir, damages[i]);
		assert_int_equal(delta_into(&commit, dir, NULL, &written, &err), MB_OK);
		assert_holds(dir, "a/b/c", "deep");
		assert_holds(dir, "d", "other");
		assert_holds(dir, "empty", "");
		assert_holds(dir, "link", "deep");
		assert_holds(dir, "ours", "mine");
		assert_holds(victim, "file", "precious");
		in_shell(dir, "test \"$(find . | sort | tr '\\n' ' ')\" = "
					  "\". ./a ./a/b ./a/b/c ./d ./empty ./link ./ours \"");
		in_shell(dir, "test -L link && test -f d && test ! -L a && test \"$(stat -c %a a/b/c)\" = "
					  "644 && test \"$(stat -c %a ../victim/file)\" = 640");
	}
	mb_commit_release(&commit);
	free(dir);
	free(victim);
}

static bool
only_d(void *ctx, const struct mb_entry *entry)
{
	(void) ctx;
	return entry->path_len == 1 && entry->path[0] == 'd';
}

static void
test_delta__empties_what_is_hollow(void **state)
{
	static const struct given given[] = {{MB_ENTRY_FILE, "d", "12345"},
										 {MB_ENTRY_FILE, "e", "12345"}};
	char *dir = in_work("hollow");
	struct mb_commit commit = {0};
	struct mb_error err;

	(void) state;
	back_up(given, 2, &commit);
	assert_int_equal(restore_into(&commit, dir, &err), MB_OK);
	assert_int_equal(delta_into(&commit, dir, only_d, NULL, &err), MB_OK);
	in_shell(dir, "test \"$(tr -d '\\0' <d)\" = '' && test $(stat -c %s d) = 5");
	assert_holds(dir, "e", "12345");
	assert_int_equal(delta_into(&commit, dir, NULL, NULL, &err), MB_OK);
	assert_holds(dir, "d", "12345");
	mb_commit_release(&commit);
	free(dir);
}

static void
test_cut__survives_json(void **state)
{
	struct mb_cut cut = {.restore_point = "mbackup_x",
						 .consistency = "paused",
						 .time_us = 1764000000123456,
						 .pause_us = 900,
						 .clock_skew_us = -1500,
						 .positions = json_pack("{s:{s:i}}", "redis", "offset", 7)};
	struct mb_cut back;
	struct mb_error err;
	json_t *json;

	(void) state;
	mb_id_new(cut.id, cut.time_us);
	json = mb_cut_to_json(&cut);
	assert_int_equal(mb_cut_from_json(&back, json, &err), MB_OK);
	assert_string_equal(back.id, cut.id);
	assert_string_equal(back.consistency, "paused");
	assert_int_equal(back.time_us, cut.time_us);
	assert_int_equal(back.pause_us, 900);
	assert_int_equal(back.clock_skew_us, -1500);
	assert_true(json_equal(back.positions, cut.positions));
	mb_cut_release(&back);
	json_object_del(json, "positions");
	assert_int_equal(mb_cut_from_json(&back, json, &err), MB_CORRUPT);
	json_decref(json);
	mb_cut_release(&cut);
}

static void
test_settings__lists_and_last_wins(void **state)
{
	struct mb_settings settings = {0};
	char *item;

	(void) state;
	mb_settings_add(&settings, "paths", " /a , /b b/c ,, /d");
	mb_settings_add(&settings, "x", "1");
	mb_settings_add(&settings, "x", "2");
	item = mb_settings_list(&settings, "paths", 1);
	assert_string_equal(item, "/b b/c");
	free(item);
	item = mb_settings_list(&settings, "paths", 2);
	assert_string_equal(item, "/d");
	free(item);
	assert_null(mb_settings_list(&settings, "paths", 3));
	assert_null(mb_settings_list(&settings, "nothing", 0));
	assert_string_equal(mb_settings_get(&settings, "x"), "2");
	mb_settings_release(&settings);
}

static void
test_restore__chooses_by_time(void **state)
{
	struct mb_commit commits[3] = {{.finished_us = 10}, {.finished_us = 30}, {.finished_us = 20}};
	struct mb_restore restore = {.candidates = commits, .candidate_count = 3};

	(void) state;
	assert_int_equal(mb_restore_newest_before(&restore, 9), SIZE_MAX);
	assert_int_equal(mb_restore_newest_before(&restore, 10), 0);
	assert_int_equal(mb_restore_newest_before(&restore, 29), 2);
	assert_int_equal(mb_restore_newest_before(&restore, 99), 1);
	assert_int_equal(mb_restore_oldest_after(&restore, 11), 2);
	assert_int_equal(mb_restore_oldest_after(&restore, 31), SIZE_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree__round_trip),
		cmocka_unit_test(test_tree__never_leaves_its_root),
		cmocka_unit_test(test_tree__never_overwrites),
		cmocka_unit_test(test_delta__replaces_anything),
		cmocka_unit_test(test_delta__empties_what_is_hollow),
		cmocka_unit_test(test_cut__survives_json),
		cmocka_unit_test(test_settings__lists_and_last_wins),
		cmocka_unit_test(test_restore__chooses_by_time),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
