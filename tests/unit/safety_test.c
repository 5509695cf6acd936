/*
 * safety_test.c - what stands in a place is kept, cleared, put back and forgotten, by each method, also
 * when each step is done again; and what must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/safety_private.h"

static char root[] = "/tmp/mb-safety-XXXXXX";

static int
set_up(void **state)
{
	(void) state;
	strcpy(root, "/tmp/mb-safety-XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int
tear_down(void **state)
{
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	return mb_rmtree(root, &err) != MB_OK;
}

static char *
at(const char *name)
{
	static char paths[8][512];
	static int next;
	char *path = paths[next++ % 8];

	snprintf(path, 512, "%s/%s", root, name);
	return path;
}

static void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(at(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static bool
holds(const char *name, const char *text)
{
	char found[256] = "";
	FILE *file = fopen(at(name), "r");

	if (!file)
		return false;
	if (!fgets(found, sizeof(found), file))
		found[0] = '\0';
	fclose(file);
	return strcmp(found, text) == 0;
}

static bool
exists(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) == 0;
}

static void
make_place(void)
{
	mkdir(at("place"), 0750);
	mkdir(at("place/sub"), 0700);
	write_text("place/a", "old a");
	write_text("place/sub/b", "old b");
	assert_int_equal(symlink("/nowhere", at("place/link")), 0);
}

static void
restore_into_place(void)
{
	mkdir(at("place"), 0700);
	write_text("place/a", "new a");
	write_text("place/c", "new c");
}

static struct mb_safety *
choose(const char *only, unsigned wishes)
{
	struct mb_safety *safety = mb_safety_new(at("place"), only, wishes);
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_OK);
	return safety;
}

/* As the journal hands it to another process. */
static struct mb_safety *
reload(struct mb_safety *safety)
{
	char *list = safety->is_list ? at("list") : NULL;
	struct mb_safety *again;
	struct mb_error err;
	json_t *json;

	mb_error_clear(&err);
	if (list)
		assert_int_equal(mb_safety_write_list(safety, list, &err), MB_OK);
	json = mb_safety_to_json(safety, list);
	assert_int_equal(mb_safety_from_json(&again, json, &err), MB_OK);
	json_decref(json);
	mb_safety_free(safety);
	return again;
}

#define TWICE(call)                    \
	do                                 \
	{                                  \
		struct mb_error err;           \
		mb_error_clear(&err);          \
		assert_int_equal(call, MB_OK); \
		assert_int_equal(call, MB_OK); \
	} while (0)

static void
assert_as_it_was(void)
{
	struct stat st;

	assert_true(holds("place/a", "old a"));
	assert_true(holds("place/sub/b", "old b"));
	assert_true(exists("place/link"));
	assert_false(exists("place/c"));
	assert_int_equal(stat(at("place"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(mb_tree_bytes(at("place.mbackup-new-id1")), 0);
	assert_false(exists("place/.mbackup-old-id1"));
	assert_false(exists("place/.mbackup-back-id1"));
	assert_false(exists("place.mbackup-old-id1"));
}

static void
whole_life(unsigned wishes, enum mb_safety_method method)
{
	struct mb_safety *safety;

	make_place();
	safety = choose(NULL, wishes);
	assert_int_equal(safety->method, method);
	assert_true(safety->bytes > 0);
	safety = reload(safety);
	TWICE(mb_safety_keep(safety, &err));
	assert_true(mb_safety_is_kept(safety));
	assert_false(exists("place/a"));
	restore_into_place();
	assert_int_equal(chmod(at("place"), 0700), 0);
	TWICE(mb_safety_clear(safety, &err));
	assert_false(exists("place/a"));
	assert_true(mb_safety_is_kept(safety));
	restore_into_place();
	TWICE(mb_safety_put_back(safety, &err));
	assert_as_it_was();
	TWICE(mb_safety_forget(safety, &err));
	assert_as_it_was();
	mb_safety_free(safety);
}

static void
test_safety__rename(void **state)
{
	(void) state;
	whole_life(0, MB_SAFETY_RENAME);
}

static void
test_safety__move_where_the_directory_stays(void **state)
{
	(void) state;
	whole_life(MB_SAFETY_STAYS, MB_SAFETY_MOVE);
}

/* The directory itself is a link: what it leads to is moved, the link stays. */
static void
test_safety__a_link_is_gone_along_once(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	assert_int_equal(rename(at("place"), at("real")), 0);
	assert_int_equal(symlink(at("real"), at("place")), 0);
	safety = choose(NULL, 0);
	assert_int_equal(safety->method, MB_SAFETY_MOVE);
	assert_string_equal(safety->path, at("real"));
	TWICE(mb_safety_keep(safety, &err));
	assert_true(exists("real/.mbackup-old-id1/a"));
	TWICE(mb_safety_put_back(safety, &err));
	assert_true(holds("place/a", "old a"));
	mb_safety_free(safety);
}

static void
test_safety__forget_removes_what_is_kept_and_nothing_else(void **state)
{
	unsigned wishes;

	(void) state;
	for (wishes = 0; wishes <= MB_SAFETY_STAYS; wishes++)
	{
		struct mb_safety *safety;

		make_place();
		safety = choose(NULL, wishes);
		TWICE(mb_safety_keep(safety, &err));
		restore_into_place();
		TWICE(mb_safety_forget(safety, &err));
		assert_false(mb_safety_is_kept(safety));
		assert_true(holds("place/a", "new a"));
		assert_true(holds("place/c", "new c"));
		TWICE(mb_rmtree(at("place"), &err));
		mb_safety_free(safety);
	}
}

static void
test_safety__one_name_in_a_shared_directory(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	safety = choose("sub", 0);
	assert_int_equal(safety->method, MB_SAFETY_MOVE);
	TWICE(mb_safety_keep(safety, &err));
	assert_true(holds("place/a", "old a"));
	assert_false(exists("place/sub"));
	mkdir(at("place/sub"), 0700);
	write_text("place/sub/new", "x");
	TWICE(mb_safety_put_back(safety, &err));
	assert_as_it_was();
	assert_false(exists("place/sub/new"));
	mb_safety_free(safety);
}

static void
test_safety__nothing_there(void **state)
{
	struct mb_safety *safety = choose(NULL, 0);

	(void) state;
	assert_int_equal(safety->method, MB_SAFETY_EMPTY);
	TWICE(mb_safety_keep(safety, &err));
	restore_into_place();
	TWICE(mb_safety_put_back(safety, &err));
	assert_false(exists("place"));
	mb_safety_free(safety);
}

static void
test_safety__none_is_lost(void **state)
{
	struct mb_safety *safety;
	struct mb_error err;

	(void) state;
	make_place();
	safety = choose(NULL, MB_SAFETY_UNKEPT);
	assert_int_equal(safety->method, MB_SAFETY_NONE);
	TWICE(mb_safety_keep(safety, &err));
	assert_false(exists("place/a"));
	assert_true(exists("place"));
	mb_error_clear(&err);
	assert_int_equal(mb_safety_put_back(safety, &err), MB_UNSUPPORTED);
	mb_safety_free(safety);
}

/* A delta works on what is there: without reflinks it cannot be kept, and must not be removed. */
static void
test_safety__a_delta_is_cloned_or_not_kept(void **state)
{
	struct mb_safety *safety;
	struct mb_error err;
	int fd;

	(void) state;
	make_place();
	fd = open(at("place"), O_RDONLY | O_DIRECTORY);
	safety = choose(NULL, MB_SAFETY_IS_USED);
	assert_int_equal(safety->method, mb_can_clone(fd) ? MB_SAFETY_REFLINK : MB_SAFETY_NONE);
	close(fd);
	TWICE(mb_safety_keep(safety, &err));
	assert_true(holds("place/a", "old a"));
	TWICE(mb_safety_clear(safety, &err));
	assert_true(holds("place/a", "old a"));
	if (safety->method == MB_SAFETY_REFLINK)
	{
		restore_into_place();
		TWICE(mb_safety_put_back(safety, &err));
		assert_as_it_was();
	}
	else
	{
		mb_error_clear(&err);
		assert_int_equal(mb_clone_tree(AT_FDCWD, at("copy"), &err) == MB_OK, false);
	}
	mb_safety_free(safety);
}

/* -- files ------------------------------------------------------------------------------------------ */

static struct mb_safety *
choose_files(void)
{
	struct mb_safety *safety = mb_safety_new(at("place"), NULL, MB_SAFETY_STAYS);
	struct mb_error err;

	safety->is_list = true;
	mb_names_add(&safety->keep, "a", 1);
	mb_names_add(&safety->keep, "sub/b", 5);
	mb_names_add(&safety->put, "a", 1);
	mb_names_add(&safety->put, "deep/er/c", 9);
	mb_error_clear(&err);
	assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_OK);
	assert_int_equal(safety->method, MB_SAFETY_FILES);
	return reload(safety);
}

static void
put_files(void)
{
	write_text("place/a", "new a");
	mkdir(at("place/deep"), 0700);
	mkdir(at("place/deep/er"), 0700);
	write_text("place/deep/er/c", "new c");
}

static void
test_safety__files(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	write_text("place/other", "stays");
	safety = choose_files();
	TWICE(mb_safety_keep(safety, &err));
	assert_false(exists("place/a"));
	assert_false(exists("place/sub/b"));
	assert_true(exists("place/sub"));
	assert_true(holds("place/other", "stays"));
	put_files();
	TWICE(mb_safety_clear(safety, &err));
	assert_false(exists("place/a"));
	put_files();
	TWICE(mb_safety_put_back(safety, &err));
	assert_true(holds("place/a", "old a"));
	assert_true(holds("place/sub/b", "old b"));
	assert_true(holds("place/other", "stays"));
	assert_false(exists("place/deep/er/c"));
	assert_false(exists("place/.mbackup-old-id1"));
	mb_safety_free(safety);
}

/* -- killed on the way ------------------------------------------------------------------------------- */

/* Half of the names are in the directory that is being filled: nothing of the other half may go. */
static void
test_safety__half_kept_is_put_back_whole(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	safety = choose(NULL, MB_SAFETY_STAYS);
	assert_int_equal(mkdir(at("place/.mbackup-part-id1"), 0700), 0);
	assert_int_equal(rename(at("place/a"), at("place/.mbackup-part-id1/a")), 0);
	TWICE(mb_safety_put_back(safety, &err));
	assert_as_it_was();
	assert_false(exists("place/.mbackup-part-id1"));
	/* And it can go on instead. */
	assert_int_equal(mkdir(at("place/.mbackup-part-id1"), 0700), 0);
	assert_int_equal(rename(at("place/a"), at("place/.mbackup-part-id1/a")), 0);
	TWICE(mb_safety_keep(safety, &err));
	assert_true(exists("place/.mbackup-old-id1/a"));
	assert_true(exists("place/.mbackup-old-id1/sub/b"));
	assert_true(exists("place/.mbackup-old-id1/link"));
	mb_safety_free(safety);
}

/* Half of what was kept is in its place again: it is not the restore's. */
static void
test_safety__half_put_back_goes_on(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	safety = choose(NULL, MB_SAFETY_STAYS);
	TWICE(mb_safety_keep(safety, &err));
	assert_int_equal(rename(at("place/.mbackup-old-id1"), at("place/.mbackup-back-id1")), 0);
	assert_int_equal(rename(at("place/.mbackup-back-id1/a"), at("place/a")), 0);
	TWICE(mb_safety_put_back(safety, &err));
	assert_as_it_was();
	mb_safety_free(safety);
}

static void
test_safety__rename_between_its_two_halves(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	safety = choose(NULL, 0);
	TWICE(mb_safety_keep(safety, &err));
	restore_into_place();
	/* Killed when the new one was out of the way and the old one not yet in it. */
	assert_int_equal(rename(at("place"), at("place.mbackup-new-id1")), 0);
	TWICE(mb_safety_put_back(safety, &err));
	assert_as_it_was();
	mb_safety_free(safety);
}

/* -- what is refused -------------------------------------------------------------------------------- */

static void
test_safety__a_link_that_was_swapped_in_is_not_followed(void **state)
{
	struct mb_safety *safety;
	struct mb_error err;
	unsigned wishes;

	(void) state;
	mkdir(at("victim"), 0700);
	write_text("victim/precious", "x");
	for (wishes = 0; wishes <= MB_SAFETY_STAYS; wishes++)
	{
		make_place();
		safety = choose(NULL, wishes);
		assert_int_equal(rename(at("place"), at("elsewhere")), 0);
		assert_int_equal(symlink(at("victim"), at("place")), 0);
		mb_error_clear(&err);
		assert_int_not_equal(mb_safety_keep(safety, &err), MB_OK);
		mb_error_clear(&err);
		assert_int_not_equal(mb_safety_clear(safety, &err), MB_OK);
		assert_true(holds("victim/precious", "x"));
		assert_int_equal(unlink(at("place")), 0);
		/* Another directory of that name is another one. */
		mkdir(at("place"), 0700);
		write_text("place/new", "x");
		mb_error_clear(&err);
		assert_int_equal(mb_safety_keep(safety, &err), MB_CONFLICT);
		assert_true(holds("place/new", "x"));
		mb_safety_free(safety);
		mb_error_clear(&err);
		assert_int_equal(mb_rmtree(at("place"), &err), MB_OK);
		assert_int_equal(mb_rmtree(at("elsewhere"), &err), MB_OK);
	}
}

/* A directory on the way to a file became a link out of the place. */
static void
test_safety__files_do_not_follow_links(void **state)
{
	struct mb_safety *safety;
	struct mb_error err;

	(void) state;
	mkdir(at("victim"), 0700);
	write_text("victim/b", "precious");
	make_place();
	safety = choose_files();
	assert_int_equal(rename(at("place/sub"), at("away")), 0);
	assert_int_equal(symlink(at("victim"), at("place/sub")), 0);
	mb_error_clear(&err);
	assert_int_not_equal(mb_safety_keep(safety, &err), MB_OK);
	assert_true(holds("victim/b", "precious"));
	mb_safety_free(safety);
}

static void
test_safety__names_that_lead_out_are_refused(void **state)
{
	static const char *const bad[] = {"../x", "/etc/passwd", "a/../../x", ".", "", "a//b"};
	struct mb_error err;
	size_t i;

	(void) state;
	make_place();
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
	{
		struct mb_safety *safety = mb_safety_new(at("place"), NULL, 0);

		safety->is_list = true;
		mb_names_add(&safety->keep, bad[i], strlen(bad[i]));
		mb_names_add(&safety->put, bad[i], strlen(bad[i]));
		mb_error_clear(&err);
		assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_OK);
		assert_int_not_equal(mb_safety_keep(safety, &err), MB_OK);
		mb_error_clear(&err);
		assert_int_not_equal(mb_safety_clear(safety, &err), MB_OK);
		mb_error_clear(&err);
		assert_int_equal(mb_rmtree(at("place/.mbackup-part-id1"), &err), MB_OK);
		mb_safety_free(safety);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
	{
		struct mb_safety *safety = mb_safety_new(at("place"), bad[i], 0);

		mb_error_clear(&err);
		assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_CONFIG);
		mb_safety_free(safety);
	}
}

static void
test_safety__what_is_in_the_way_is_not_replaced(void **state)
{
	struct mb_safety *safety;
	struct mb_error err;

	(void) state;
	make_place();
	mkdir(at("place.mbackup-old-id1"), 0700);
	safety = mb_safety_new(at("place"), NULL, 0);
	mb_error_clear(&err);
	assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_CONFLICT);
	mb_safety_free(safety);
	write_text("file", "x");
	safety = mb_safety_new(at("file"), NULL, 0);
	mb_error_clear(&err);
	assert_int_equal(mb_safety_choose(safety, "id1", &err), MB_CONFLICT);
	mb_safety_free(safety);
}

/* What is kept of another restore, and lost+found, are not part of a place. */
static void
test_safety__what_is_kept_of_others_stays(void **state)
{
	struct mb_safety *safety;

	(void) state;
	make_place();
	mkdir(at("place/.mbackup-old-id0"), 0700);
	write_text("place/.mbackup-old-id0/x", "older");
	mkdir(at("place/lost+found"), 0700);
	safety = choose(NULL, MB_SAFETY_STAYS);
	TWICE(mb_safety_keep(safety, &err));
	assert_true(holds("place/.mbackup-old-id0/x", "older"));
	assert_true(exists("place/lost+found"));
	TWICE(mb_safety_clear(safety, &err));
	TWICE(mb_safety_put_back(safety, &err));
	assert_true(holds("place/.mbackup-old-id0/x", "older"));
	assert_as_it_was();
	mb_safety_free(safety);
}

/* A mount point cannot be renamed; in a namespace of our own we can make one. */
static void
test_safety__mount_point(void **state)
{
	char program[512] = "", command[2048];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	(void) state;
	assert_true(len > 0);
	make_place();
	mkdir(at("mount"), 0700);
	snprintf(command, sizeof(command), "unshare -rm sh -c 'mount --bind %s %s' >/dev/null 2>&1",
			 at("place"), at("mount"));
	if (system(command) != 0)
		skip();
	/* In the namespace the same program looks at it: see main(). */
	snprintf(command, sizeof(command),
			 "unshare -rm sh -c 'mount --bind %s %s && exec %s mounted %s'", at("place"),
			 at("mount"), program, at("mount"));
	assert_int_equal(system(command), 0);
	assert_as_it_was();
}

/* Exit status 0: chosen to be moved, kept, put back. */
static int
look_at_mount(const char *path)
{
	struct mb_safety *safety = mb_safety_new(path, NULL, 0);
	struct mb_error err;
	bool good;

	mb_error_clear(&err);
	good = mb_safety_choose(safety, "id1", &err) == MB_OK && safety->method == MB_SAFETY_MOVE &&
		   strcmp(safety->why, "a mount point") == 0 && mb_safety_keep(safety, &err) == MB_OK &&
		   mb_safety_is_kept(safety) && mb_safety_put_back(safety, &err) == MB_OK;
	if (!good)
		fprintf(stderr, "# %s\n", err.message);
	mb_safety_free(safety);
	return good ? 0 : 1;
}

int
main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_safety__rename),
		CASE(test_safety__move_where_the_directory_stays),
		CASE(test_safety__a_link_is_gone_along_once),
		CASE(test_safety__forget_removes_what_is_kept_and_nothing_else),
		CASE(test_safety__one_name_in_a_shared_directory),
		CASE(test_safety__nothing_there),
		CASE(test_safety__none_is_lost),
		CASE(test_safety__a_delta_is_cloned_or_not_kept),
		CASE(test_safety__files),
		CASE(test_safety__half_kept_is_put_back_whole),
		CASE(test_safety__half_put_back_goes_on),
		CASE(test_safety__rename_between_its_two_halves),
		CASE(test_safety__a_link_that_was_swapped_in_is_not_followed),
		CASE(test_safety__files_do_not_follow_links),
		CASE(test_safety__names_that_lead_out_are_refused),
		CASE(test_safety__what_is_in_the_way_is_not_replaced),
		CASE(test_safety__what_is_kept_of_others_stays),
		CASE(test_safety__mount_point),
	};

	if (argc == 3 && strcmp(argv[1], "mounted") == 0)
		return look_at_mount(argv[2]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("safety", tests, NULL, NULL);
}
