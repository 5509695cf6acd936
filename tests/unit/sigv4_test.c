/* sigv4_test.c - signatures: the published examples, and keys that others sign wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "objectstore/sigv4.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define IN_2013 1369353600 /* 20130524T000000Z */
#define IN_2015 1440938160 /* 20150830T123600Z */

/* The examples of "Signature calculations for the Authorization header" (S3 API reference). */
static const struct mb_sigv4_identity s3_user = {"AKIAIOSFODNN7EXAMPLE",
												 "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL};
/* Those of the signing test suite. */
static const struct mb_sigv4_identity suite_user = {"AKIDEXAMPLE",
													"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
													NULL};

static void
expect_signature(const struct mb_sigv4_request *request, const struct mb_sigv4_identity *identity,
				 const char *signature)
{
	struct mb_sigv4_key key = {0};
	struct mb_buf out = {0};
	char want[100];
	int i;

	snprintf(want, sizeof(want), ",Signature=%s\n", signature);
	/* Twice: with a new key and with the one that was kept. */
	for (i = 0; i < 2; i++)
	{
		mb_buf_reset(&out);
		mb_sigv4_sign(request, identity, &key, &out);
		if (!mb_ends_with(mb_buf_cstr(&out), want))
			fail_msg("%s %s: %s", request->method, request->path, mb_buf_cstr(&out));
	}
	mb_buf_release(&out);
}

static struct mb_sigv4_request
s3_example(const char *method, const char *path)
{
	struct mb_sigv4_request request = {.method = method,
									   .host = "examplebucket.s3.amazonaws.com",
									   .path = path,
									   .payload_hash = EMPTY_HASH,
									   .region = "us-east-1",
									   .service = "s3",
									   .time_s = IN_2013};

	return request;
}

static void
test_sigv4__signs_the_examples_of_the_s3_reference(void **state)
{
	char *range[] = {"Range: bytes=0-9"};
	char *put[] = {"Date: Fri, 24 May 2013 00:00:00 GMT",
				   "x-amz-storage-class: REDUCED_REDUNDANCY"};
	struct mb_query lifecycle[] = {{"lifecycle", NULL}};
	struct mb_query list[] = {{"max-keys", "2"}, {"prefix", "J"}};
	struct mb_sigv4_request request = s3_example("GET", "/test.txt");

	(void) state;
	request.lines = range;
	request.line_count = 1;
	expect_signature(&request, &s3_user,
					 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

	request = s3_example("PUT", "/test$file.text");
	request.lines = put;
	request.line_count = 2;
	request.payload_hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	expect_signature(&request, &s3_user,
					 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");

	request = s3_example("GET", "/");
	request.query = lifecycle;
	request.query_count = 1;
	expect_signature(&request, &s3_user,
					 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	request.query = list;
	request.query_count = 2;
	expect_signature(&request, &s3_user,
					 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static struct mb_sigv4_request
suite_example(const char *method, const char *path)
{
	struct mb_sigv4_request request = {.method = method,
									   .host = "example.amazonaws.com",
									   .path = path,
									   .payload_hash = EMPTY_HASH,
									   .region = "us-east-1",
									   .service = "service",
									   .time_s = IN_2015,
									   .no_content_header = true};

	return request;
}

static void
test_sigv4__signs_the_vectors_of_the_suite(void **state)
{
	/* clang-format off */
	static char *duplicate[] = {"My-Header1:value2", "My-Header1:value2", "My-Header1:value1"};
	static char *order[] = {"My-Header1:value4", "My-Header1:value1", "My-Header1:value3", "My-Header1:value2"};
	static char *trim[] = {"My-Header1: value1", "My-Header2: \"a   b   c\""};
	static char *form[] = {"Content-Type:application/x-www-form-urlencoded", "Content-Length:13"};
	static char *sort[] = {"My-Header1:value1"};
	static const struct mb_query order_key[] = {{"Param-3", "Value3"}, {"Param", "Value2"}, {"\xe1\x88\xb4", "Value1"}};
	static const struct mb_query unreserved[] = {{"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"}};
	static const struct mb_query utf8[] = {{"\xe1\x88\xb4", "bar"}};
	static const struct mb_query one[] = {{"Param1", "value1"}};
	static const struct
	{
		const char *method, *path;
		char **lines;
		size_t line_count;
		const struct mb_query *query;
		size_t query_count;
		const char *payload_hash;
		const char *signature;
	} vectors[] = {
		{"GET", "/", NULL, 0, NULL, 0, EMPTY_HASH, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"GET", "/", duplicate, 3, NULL, 0, EMPTY_HASH, "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"GET", "/", order, 4, NULL, 0, EMPTY_HASH, "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		{"GET", "/", trim, 2, NULL, 0, EMPTY_HASH, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", NULL, 0, NULL, 0, EMPTY_HASH, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"GET", "/\xe1\x88\xb4", NULL, 0, NULL, 0, EMPTY_HASH, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		{"GET", "/", NULL, 0, one, 1, EMPTY_HASH, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"GET", "/", NULL, 0, order_key, 3, EMPTY_HASH, "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
		{"GET", "/", NULL, 0, unreserved, 1, EMPTY_HASH, "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"GET", "/", NULL, 0, utf8, 1, EMPTY_HASH, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"POST", "/", NULL, 0, NULL, 0, EMPTY_HASH, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"POST", "/", sort, 1, NULL, 0, EMPTY_HASH, "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"POST", "/", NULL, 0, one, 1, EMPTY_HASH, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
		{"POST", "/", form, 2, NULL, 0, "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
	};
	/* clang-format on */
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
	{
		struct mb_sigv4_request request = suite_example(vectors[i].method, vectors[i].path);

		request.lines = vectors[i].lines;
		request.line_count = vectors[i].line_count;
		request.query = vectors[i].query;
		request.query_count = vectors[i].query_count;
		request.payload_hash = vectors[i].payload_hash;
		request.no_content_header = strcmp(vectors[i].payload_hash, EMPTY_HASH) == 0;
		expect_signature(&request, &suite_user, vectors[i].signature);
	}
}

static void
test_sigv4__keeps_odd_paths_and_queries(void **state)
{
	static const struct mb_query query[] = {{"versions", NULL},
											{"prefix", "a+b c%/\x01"},
											{"key-marker", "\xc3\xa9=&"}};
	struct mb_buf url = {0};

	(void) state;
	mb_sigv4_url(&url, "/b/a//./../+%20 \x01\xc3\xa9!'()*~", query, 3);
	assert_string_equal(mb_buf_cstr(&url),
						"/b/a//./../%2B%2520%20%01%C3%A9%21%27%28%29%2A~?versions&"
						"prefix=a%2Bb%20c%25%2F%01&key-marker=%C3%A9%3D%26");
	mb_buf_release(&url);
}

/* "a-b" sorts behind "a" as a header and as a parameter, though '-' is less than ':' and '='. */
static void
test_sigv4__sorts_names_that_begin_alike(void **state)
{
	char *lines[] = {"x-amz-meta-a-b: 2", "x-amz-meta-a: 1", "X-Amz-Meta-C;"};
	struct mb_query query[] = {{"a-b", "2"}, {"a", "1"}, {"uploads", NULL}};
	struct mb_sigv4_request request = s3_example("GET", "/k");
	struct mb_buf canonical = {0}, names = {0};

	(void) state;
	request.lines = lines;
	request.line_count = 3;
	request.query = query;
	request.query_count = 3;
	mb_sigv4_canonical(&request, &s3_user, &canonical, &names);
	assert_string_equal(mb_buf_cstr(&canonical),
						"GET\n/k\na=1&a-b=2&uploads=\nhost:examplebucket.s3.amazonaws.com\n"
						"x-amz-content-sha256:" EMPTY_HASH "\nx-amz-date:20130524T000000Z\n"
						"x-amz-meta-a:1\nx-amz-meta-a-b:2\nx-amz-meta-c:\n\n"
						"host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-meta-a-b;"
						"x-amz-meta-c\n" EMPTY_HASH);
	mb_buf_release(&canonical);
	mb_buf_release(&names);
}

static void
test_sigv4__signs_and_sends_the_session_token(void **state)
{
	struct mb_sigv4_identity identity = {"AKID", "secret", "to/ken=="};
	struct mb_sigv4_request request = s3_example("GET", "/");
	struct mb_sigv4_key key = {0};
	struct mb_buf out = {0};

	(void) state;
	mb_sigv4_sign(&request, &identity, &key, &out);
	assert_non_null(strstr(mb_buf_cstr(&out), "x-amz-security-token: to/ken==\n"));
	assert_non_null(strstr(mb_buf_cstr(&out), ";x-amz-security-token,"));
	mb_buf_release(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sigv4__signs_the_examples_of_the_s3_reference),
		cmocka_unit_test(test_sigv4__signs_the_vectors_of_the_suite),
		cmocka_unit_test(test_sigv4__keeps_odd_paths_and_queries),
		cmocka_unit_test(test_sigv4__sorts_names_that_begin_alike),
		cmocka_unit_test(test_sigv4__signs_and_sends_the_session_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
