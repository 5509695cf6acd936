/* redis_cluster_test.c - slots, their keys, and the text of CLUSTER NODES. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "redis/cluster.h"

/* As "CLUSTER KEYSLOT" of a 7.0 server answers. */
static void
test_key_slots(void **state)
{
	static const struct
	{
		const char *key;
		unsigned slot;
	} known[] = {{"123456789", 12739},  {"foo", 12182},  {"", 0},         {"{foo}bar", 12182},
				 {"a{foo}b{c}", 12182}, {"{}foo", 9500}, {"{foo", 13308}, {"foo}{", 8134}};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_int_equal(mb_key_slot(known[i].key, strlen(known[i].key)), known[i].slot);
}

static void
test_slots_text(void **state)
{
	static const char *const texts[] = {"", "0", "16383", "0-16383", "0-5460,7000,9000-9001"};
	static const char *const bad[] =
		{"16384", "5-3", "a", "1-", "-1", "1;2", "0-99999999999999999999"};
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		struct mb_slots slots = {{0}};
		char *text;

		assert_true(mb_slots_parse(&slots, texts[i]));
		text = mb_slots_text(&slots);
		assert_string_equal(text, texts[i]);
		free(text);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		struct mb_slots slots = {{0}};

		assert_false(mb_slots_parse(&slots, bad[i]));
	}
}

#define ID_A "07c37dfeb235213a872192d90877d0cd55635b91"
#define ID_B "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"
#define ID_C "292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f"

static void
test_nodes(void **state)
{
	static const char text[] = ID_B
		" 127.0.0.1:30002@31002,node-b.example,shard-id=69bc master - 0 1426238316232 2 "
		"connected 5461-10922\r\n" ID_C " 127.0.0.1:30003@31003 slave " ID_B
		" 0 1426238317741 2 connected\n" ID_A
		" :30001@31001,,tls-port=0 myself,master - 0 0 1 connected 0-5460 10923 [93->-" ID_B "]\n"
		"e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca [::1]:30009@31009 master,fail - 0 0 7 "
		"disconnected 12000\n"
		"824fe116063bc5fcf9f4ffd895bc17aee7731ac3 127.0.0.1:30006@31006 master - 0 0 9 connected\n";
	struct mb_redis_url asked = {.host = "10.1.1.1", .port = 30001, .tls = true};
	struct mb_cluster_nodes nodes = {0};
	struct mb_error err;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_cluster_parse(&nodes, text, &asked, &err), MB_OK);
	assert_int_equal(nodes.count, 3);
	assert_string_equal(nodes.items[0].id, ID_A);
	assert_string_equal(nodes.items[0].url.host, "10.1.1.1"); /* it does not know its address */
	assert_int_equal(nodes.items[0].url.port, 30001);
	assert_true(nodes.items[0].url.tls);
	assert_true(nodes.items[0].is_myself && nodes.items[0].is_moving && !nodes.items[0].is_down);
	assert_int_equal(mb_slots_count(&nodes.items[0].slots), 5462);
	assert_string_equal(nodes.items[1].url.host, "node-b.example");
	assert_false(nodes.items[1].is_myself || nodes.items[1].is_moving);
	assert_true(nodes.items[2].is_down);
	assert_int_equal(mb_slots_first(&nodes.items[2].slots), 12000);
	mb_cluster_nodes_release(&nodes);
}

static void
test_bad_nodes(void **state)
{
	static const char *const texts[] = {"x",
										"short 127.0.0.1:1@2 master - 0 0 1 connected 0-1",
										ID_A " 127.0.0.1 master - 0 0 1 connected 0-1",
										ID_A " 127.0.0.1:x@2 master - 0 0 1 connected 0-1",
										ID_A " 127.0.0.1:99999@2 master - 0 0 1 connected 0-1",
										ID_A " 127.0.0.1:1@2 master - 0 0 1 connected 0-16384",
										ID_A " 127.0.0.1:1@2 master - 0"};
	struct mb_redis_url asked = {.host = "h"};
	struct mb_cluster_nodes nodes;
	struct mb_error err;
	size_t i;

	(void) state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		mb_error_clear(&err);
		assert_int_equal(mb_cluster_parse(&nodes, texts[i], &asked, &err), MB_CORRUPT);
		assert_int_equal(nodes.count, 0);
	}
}

static void
test_url(void **state)
{
	struct mb_redis_url url, copy;
	struct mb_error err;
	char *name;

	(void) state;
	mb_error_clear(&err);
	assert_int_equal(mb_redis_url_parse(&url, "cluster+tls://app@a,[::1]:7001/", &err), MB_OK);
	assert_true(url.cluster && url.tls && url.seeds[1].tls);
	assert_int_equal(url.seed_count, 2);
	assert_int_equal(url.seeds[0].port, 6379);
	assert_string_equal(url.seeds[1].host, "::1");
	assert_string_equal(url.user, "app");
	mb_redis_url_copy(&copy, &url);
	mb_redis_url_release(&url);
	name = mb_redis_url_name(&copy);
	assert_string_equal(name, "cluster at a:6379");
	free(name);
	mb_redis_url_release(&copy);
	assert_int_equal(mb_redis_url_parse(&url, "cluster://a/1", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "cluster://", &err), MB_CONFIG);
	assert_int_equal(mb_redis_url_parse(&url, "cluster://u:p@a", &err), MB_CONFIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_slots), cmocka_unit_test(test_slots_text),
		cmocka_unit_test(test_nodes),     cmocka_unit_test(test_bad_nodes),
		cmocka_unit_test(test_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
