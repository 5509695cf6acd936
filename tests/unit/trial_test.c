/* trial_test.c - a drill's look at a restored tree: whatever is not as it was backed up is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "core/engine/session.h"

static struct mb_env env;
static char work[] = "/tmp/mb-trial-XXXXXX";
static struct mb_commit files_commit, objects_commit;
static struct mb_component_ops files_ops = {.kind = "files", .capabilities = MB_CAP_SCAN};
static struct mb_component_ops objects_ops = {.kind = "objects", .capabilities = MB_CAP_SCAN};

struct given
{
	enum mb_entry_type type;
	const char *path;
	uint64_t version;
	const char *text;
	unsigned flags;
};

static void
back_up(const struct mb_component_ops *ops, const struct given *given, size_t count,
		struct mb_commit *commit)
{
	struct mb_component component = {ops, NULL, &env, ops->kind};
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
								 .version = given[i].version,
								 .flags = (uint16_t) given[i].flags,
								 .mode = 0644};
		struct mb_runs runs = {0};

		if (entry.type == MB_ENTRY_HARDLINK)
			entry.link_target = given[i].text;
		else
		{
			entry.size = strlen(given[i].text);
			entry.has_crc32c = true;
			entry.crc32c = mb_crc32c(MB_CRC32C_INIT, given[i].text, entry.size);
			assert_int_equal(mb_capture_bytes(capture, 0, given[i].text, entry.size, &runs, &err),
							 MB_OK);
			entry.runs = runs.items;
			entry.run_count = runs.count;
		}
		assert_int_equal(mb_capture_add(capture, &entry, &err), MB_OK);
		mb_runs_release(&runs);
	}
	assert_int_equal(mb_capture_commit(&session, capture, &cut, "full", &summary, &err), MB_OK);
	assert_int_equal(mb_commit_get(env.repo, ops->kind, mb_json_str(summary, "backup", ""), commit,
								   &err),
					 MB_OK);
	json_decref(summary);
	mb_capture_free(capture);
	mb_session_close(&session);
	mb_cut_release(&cut);
}

static int
set_up_all(void **state)
{
	static const struct given files[] = {{MB_ENTRY_FILE, "d/a", 0, "alpha", 0},
										 {MB_ENTRY_HARDLINK, "d/b", 0, "d/a", 0},
										 {MB_ENTRY_FILE, "later", 0, "x", MB_ENTRY_AFTER_CUT},
										 {MB_ENTRY_FILE, "top", 0, "omega", 0}};
	static const struct given objects[] = {{MB_ENTRY_OBJECT, "../up", 1, "no name", 0},
										   {MB_ENTRY_OBJECT, "k", 20, "newer", 0},
										   {MB_ENTRY_OBJECT, "k", 10, "older", 0},
										   {MB_ENTRY_OBJECT, "z", 10, "last", 0}};
	struct mb_unlock unlock = {0};
	struct mb_error err;

	(void) state;
	assert_non_null(mkdtemp(work));
	env.spool = work;
	env.workers = 1;
	assert_int_equal(mb_repo_create(&env.repo, mb_store_memory_new(0), MB_SUITE_NONE, &unlock,
									&err),
					 MB_OK);
	back_up(&files_ops, files, 4, &files_commit);
	back_up(&objects_ops, objects, 4, &objects_commit);
	return 0;
}

static int
tear_down_all(void **state)
{
	struct mb_error err;

	(void) state;
	mb_commit_release(&files_commit);
	mb_commit_release(&objects_commit);
	mb_repo_free(env.repo);
	return mb_rmtree(work, &err) != MB_OK;
}

/* -- the tree at hand ------------------------------------------------------------------------------ */

static char *
tree(void)
{
	return mb_asprintf("%s/tree", work);
}

static void
put(const char *name, const char *text)
{
	char *path = mb_asprintf("%s/tree/%s", work, name);
	struct mb_error err;

	assert_int_equal(mb_file_write_durable(path, text, strlen(text), 0600, &err), MB_OK);
	free(path);
}

static void
drop(const char *name)
{
	char *path = mb_asprintf("%s/tree/%s", work, name);

	unlink(path);
	free(path);
}

static void
begin(void)
{
	char *dir = mb_asprintf("%s/tree/d", work), *root = tree();
	struct mb_error err;

	assert_int_equal(mb_rmtree(root, &err), MB_OK);
	assert_int_equal(mb_mkdirs(dir, 0700, &err), MB_OK);
	free(root);
	free(dir);
}

static void
expect(enum mb_code want, const struct mb_component_ops *ops, const struct mb_commit *commit,
	   const char *word)
{
	struct mb_component component = {ops, NULL, &env, ops->kind};
	struct mb_trial trial = {.commit = commit,
							 .progress = mb_env_progress(&env, ops->kind),
							 .report = json_object(),
							 .environment = json_object()};
	struct mb_error err;
	char *root = tree();
	enum mb_code got;

	mb_error_clear(&err);
	trial.directory = root;
	got = mb_tree_revive(&component, &trial, &err);
	if (got != want)
		fail_msg("%s instead of %s: %s", mb_code_name(got), mb_code_name(want), err.message);
	if (want && !strstr(err.message, word))
		fail_msg("\"%s\" does not say \"%s\"", err.message, word);
	free(root);
	json_decref(trial.report);
	json_decref(trial.environment);
}

static void
put_files(void)
{
	begin();
	put("d/a", "alpha");
	put("d/b", "alpha");
	put("top", "omega");
}

static void
files_are_all_there_and_equal(void **state)
{
	(void) state;
	put_files();
	expect(MB_OK, &files_ops, &files_commit, "");
	put("top", "omegA");
	expect(MB_NEGATIVE, &files_ops, &files_commit, "\"top\" is not what");
	put("top", "omega2");
	expect(MB_NEGATIVE, &files_ops, &files_commit, "\"top\" is not what");
	drop("top");
	expect(MB_NEGATIVE, &files_ops, &files_commit, "\"top\" is missing");
	put_files();
	drop("d/b");
	expect(MB_NEGATIVE, &files_ops, &files_commit, "\"d/b\" is missing");
	put_files();
	put("d/c", "more");
	expect(MB_NEGATIVE, &files_ops, &files_commit, "4 files, and the backup explains 3");
}

/* A link in place of a file leads to equal bytes, and is not what was backed up. */
static void
links_are_not_followed(void **state)
{
	char *from = mb_asprintf("%s/tree/top", work);

	(void) state;
	put_files();
	drop("top");
	put("d/c", "omega");
	assert_int_equal(symlink("d/c", from), 0);
	expect(MB_NEGATIVE, &files_ops, &files_commit, "\"top\" is missing");
	free(from);
}

static void
of_objects_any_version_will_do(void **state)
{
	(void) state;
	begin();
	put("k", "newer");
	put("z", "last");
	expect(MB_OK, &objects_ops, &objects_commit, "");
	put("k", "older");
	expect(MB_OK, &objects_ops, &objects_commit, "");
	drop("z");
	expect(MB_OK, &objects_ops, &objects_commit, "");
	put("k", "other");
	expect(MB_NEGATIVE, &objects_ops, &objects_commit, "\"k\" is not what");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_all_there_and_equal),
		cmocka_unit_test(links_are_not_followed),
		cmocka_unit_test(of_objects_any_version_will_do),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
