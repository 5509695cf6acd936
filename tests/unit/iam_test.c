/* iam_test.c - what comes out of an export of MinIO's IAM, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/zip.h"
#include "objectstore/iam.h"

static const char *const plain[][2] = {
	{"iam-assets/policies.json", "{\"p\":{\"Statement\":[{\"Action\":[\"s3:b\",\"s3:a\"]}]}}"},
	{"iam-assets/users.json", "{\"u\":{\"secretKey\":\"TopSecret\",\"status\":\"disabled\"}}"},
	{"iam-assets/groups.json", "{\"g\":{\"status\":\"enabled\",\"members\":[\"v\",\"u\"],"
							   "\"updatedAt\":\"2026-11-24T18:36:53Z\"}}"},
	{"iam-assets/svcaccts.json",
	 "{\"s\":{\"parent\":\"u\",\"secretKey\":\"TopSecret\",\"status\":\"off\",\"groups\":null,"
	 "\"sessionPolicy\":null,\"claims\":{\"parent\":\"u\",\"sessionPolicy\":\"e30=\"},"
	 "\"expiration\":\"1970-01-01T00:00:00Z\"}}"},
	{"iam-assets/user_mappings.json", "{\"u\":{\"version\":1,\"policy\":\"p\"}}"},
	{"iam-assets/group_mappings.json", "{}"},
	{"iam-assets/stsuser_mappings.json", "{}"},
};
#define PLAIN (sizeof(plain) / sizeof(plain[0]))

/* The plain members, but for the one that `name` replaces (contents NULL: leaves out). */
static void
make_zip(struct mb_buf *out, const char *name, const char *contents)
{
	struct mb_zip zip = {0};
	bool is_new = contents != NULL;
	struct mb_error err;
	size_t i;

	for (i = 0; i < PLAIN; i++)
	{
		bool is_it = name && strcmp(plain[i][0], name) == 0;
		const char *text = is_it ? contents : plain[i][1];

		is_new = is_new && !is_it;
		if (text)
			mb_zip_add(&zip, plain[i][0], text, strlen(text));
	}
	if (is_new)
		mb_zip_add(&zip, name, contents, strlen(contents));
	assert_int_equal(mb_zip_write(&zip, out, &err), MB_OK);
	mb_zip_release(&zip);
}

static enum mb_code
read_with(const char *name, const char *contents, json_t **iam, struct mb_error *err)
{
	struct mb_buf zip = {0};
	enum mb_code code;

	mb_error_clear(err);
	make_zip(&zip, name, contents);
	code = mb_iam_from_zip(iam, zip.data, zip.len, err);
	mb_buf_wipe(&zip);
	return code;
}

static void
assert_refused(const char *name, const char *contents, const char *says)
{
	struct mb_error err;
	json_t *iam = NULL;

	assert_int_equal(read_with(name, contents, &iam, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, says));
	assert_null(strstr(err.message, "TopSecret"));
	assert_null(iam);
}

static void
test_iam__is_the_same_when_only_the_order_is_not(void **state)
{
	struct mb_buf one = {0}, other = {0};
	struct mb_error err;
	json_t *iam = NULL, *again = NULL, *differences;

	(void) state;
	assert_int_equal(read_with(NULL, NULL, &iam, &err), MB_OK);
	assert_int_equal(read_with("iam-assets/groups.json",
							   "{\"g\":{\"updatedAt\":\"2026-11-25T00:00:00Z\",\"members\":[\"u\","
							   "\"v\"],\"status\":\"enabled\"}}",
							   &again, &err),
					 MB_OK);
	mb_iam_text(iam, &one);
	mb_iam_text(again, &other);
	assert_string_equal(mb_buf_cstr(&one), mb_buf_cstr(&other));
	assert_non_null(strstr(mb_buf_cstr(&one), "[\"s3:a\",\"s3:b\"]"));
	assert_null(strstr(mb_buf_cstr(&one), "sessionPolicy"));
	assert_null(strstr(mb_buf_cstr(&one), "updatedAt"));
	differences = mb_iam_differences(iam, again);
	assert_int_equal(json_array_size(differences), 0);
	json_decref(differences);
	json_decref(iam);
	json_decref(again);
	mb_buf_wipe(&one);
	mb_buf_wipe(&other);
}

static void
test_iam__shows_no_secret(void **state)
{
	struct mb_error err;
	json_t *iam = NULL, *other = NULL, *summary, *differences;
	char *text;

	(void) state;
	assert_int_equal(read_with(NULL, NULL, &iam, &err), MB_OK);
	assert_int_equal(read_with("iam-assets/users.json",
							   "{\"u\":{\"secretKey\":\"TopSecret2\",\"status\":\"enabled\"},"
							   "\"w\":{\"secretKey\":\"TopSecret3\"}}",
							   &other, &err),
					 MB_OK);
	assert_true(mb_iam_is_disabled(iam, "users", "u"));
	assert_true(mb_iam_is_disabled(iam, "svcaccts", "s"));
	assert_false(mb_iam_is_disabled(iam, "groups", "g"));
	assert_false(mb_iam_is_disabled(iam, "groups", "none"));
	summary = mb_iam_summary(iam);
	text = mb_json_text(summary);
	assert_null(strstr(text, "TopSecret"));
	assert_non_null(strstr(text, "{\"name\":\"u\",\"policy\":\"p\",\"status\":\"disabled\"}"));
	assert_non_null(strstr(text, "{\"access_key\":\"s\",\"name\":\"\",\"parent\":\"u\","
								 "\"status\":\"disabled\"}"));
	free(text);
	differences = mb_iam_differences(iam, other);
	text = mb_json_text(differences);
	assert_string_equal(text, "[{\"fields\":[\"secretKey\",\"status\"],\"kind\":\"changed\","
							  "\"name\":\"u\",\"what\":\"user\"},"
							  "{\"kind\":\"extra\",\"name\":\"w\",\"what\":\"user\"}]");
	free(text);
	json_decref(differences);
	json_decref(summary);
	json_decref(iam);
	json_decref(other);
}

static void
test_iam__keeps_what_it_does_not_know(void **state)
{
	struct mb_error err;
	json_t *iam = NULL;

	(void) state;
	assert_int_equal(read_with("iam-assets/new_things.json", "{\"n\":{\"order\":[\"b\",\"a\"]}}",
							   &iam, &err),
					 MB_OK);
	assert_string_equal(
		json_string_value(
			json_array_get(json_object_get(json_object_get(json_object_get(iam, "new_things"), "n"),
										   "order"),
						   0)),
		"b");
	json_decref(iam);
}

static void
test_iam__refuses_what_is_no_export(void **state)
{
	(void) state;
	/* A server that failed half-way ends the archive all the same. */
	assert_refused("iam-assets/stsuser_mappings.json", NULL, "lacks \"stsuser_mappings\"");
	assert_refused("iam-assets/users.json", NULL, "lacks \"users\"");
	assert_refused("iam-assets/users.json", "{\"u\":{\"secretKey\":\"TopSecret\" TopSecret}",
				   "\"users\" of the IAM is not valid JSON");
	assert_refused("iam-assets/users.json", "[\"TopSecret\"]", "not valid JSON");
	assert_refused("iam-assets/users.json", "{\"u\":{},\"u\":{}}", "not valid JSON");
	assert_refused("iam-assets/../../etc/passwd.json", "{}", "unknown name");
	assert_refused("/iam-assets/x.json", "{}", "unknown name");
	assert_refused("iam-assets/x.json.json", "{}", "unknown name");
	assert_refused("iam-assets/.json", "{}", "unknown name");
	assert_refused("other.json", "{}", "unknown name");
}

static void
test_zip__refuses_what_is_not_whole(void **state)
{
	static const struct mb_zip_limits limits = {"test", 3, 1000};
	struct mb_zip made = {0}, read = {0};
	struct mb_buf bytes = {0}, copy = {0};
	struct mb_error err;
	char big[2000];
	size_t i, at;

	(void) state;
	mb_zip_add(&made, "a", "contents of a", 13);
	mb_zip_add(&made, "b", "", 0);
	assert_int_equal(mb_zip_write(&made, &bytes, &err), MB_OK);
	assert_int_equal(mb_zip_read(&read, bytes.data, bytes.len, &limits, &err), MB_OK);
	assert_int_equal(read.count, 2);
	assert_memory_equal(mb_zip_find(&read, "a")->data, "contents of a", 13);
	assert_int_equal(mb_zip_find(&read, "b")->len, 0);
	assert_null(mb_zip_find(&read, "c"));
	mb_zip_release(&read);
	/* Cut off anywhere, and a flipped bit in the contents. */
	for (i = 0; i < bytes.len; i++)
	{
		assert_int_equal(mb_zip_read(&read, bytes.data, i, &limits, &err), MB_CORRUPT);
		mb_zip_release(&read);
	}
	mb_buf_put(&copy, bytes.data, bytes.len);
	at = (size_t) ((unsigned char *) memmem(copy.data, copy.len, "contents", 8) - copy.data);
	copy.data[at] ^= 1;
	assert_int_equal(mb_zip_read(&read, copy.data, copy.len, &limits, &err), MB_CORRUPT);
	mb_zip_release(&read);
	/* Two of one name, too many, too much. */
	mb_buf_reset(&bytes);
	mb_zip_add(&made, "a", "again", 5);
	assert_int_equal(mb_zip_write(&made, &bytes, &err), MB_OK);
	assert_int_equal(mb_zip_read(&read, bytes.data, bytes.len, &limits, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, "two members of one name"));
	mb_zip_release(&read);
	mb_zip_release(&made);
	for (i = 0; i < 4; i++)
	{
		char name[2] = {(char) ('a' + i), '\0'};

		mb_zip_add(&made, name, "x", 1);
	}
	mb_buf_reset(&bytes);
	assert_int_equal(mb_zip_write(&made, &bytes, &err), MB_OK);
	assert_int_equal(mb_zip_read(&read, bytes.data, bytes.len, &limits, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, "more than 3 members"));
	mb_zip_release(&read);
	mb_zip_release(&made);
	memset(big, 'x', sizeof(big));
	mb_zip_add(&made, "big", big, sizeof(big));
	mb_buf_reset(&bytes);
	assert_int_equal(mb_zip_write(&made, &bytes, &err), MB_OK);
	assert_int_equal(mb_zip_read(&read, bytes.data, bytes.len, &limits, &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, "more than 1000 bytes"));
	mb_zip_release(&read);
	mb_zip_release(&made);
	mb_buf_wipe(&bytes);
	mb_buf_wipe(&copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iam__is_the_same_when_only_the_order_is_not),
		cmocka_unit_test(test_iam__shows_no_secret),
		cmocka_unit_test(test_iam__keeps_what_it_does_not_know),
		cmocka_unit_test(test_iam__refuses_what_is_no_export),
		cmocka_unit_test(test_zip__refuses_what_is_not_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
