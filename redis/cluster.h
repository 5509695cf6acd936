/*
 * cluster.h - the nodes of a Redis Cluster and their hash slots.
 *
 * A cluster divides the keys over 16384 slots; each master serves some of them and is, as
 * a server, like any other: its own RDB, its own replication stream.  CLUSTER NODES tells
 * who serves what.  It is asked of the seeds of a URL in turn to find the masters, and of
 * each master itself at a cut, because only a node itself says that it is moving a slot.
 *
 * Source: "Redis cluster specification" and CLUSTER NODES of redis.io (the format of 4.0 and
 * later: a node has "host:port@bus[,hostname]", slots "n", "n-m", and in the node's own line
 * "[n->-ID]" and "[n-<-ID]" for a slot that is being moved).
 */
#ifndef MB_REDIS_CLUSTER_H
#define MB_REDIS_CLUSTER_H

#include "redis/connection.h"

#define MB_CLUSTER_SLOTS 16384
#define MB_CLUSTER_MAX_NODES 1024
#define MB_NODE_ID_LEN 40

/* -- slots ---------------------------------------------------------------------------------- */

struct mb_slots
{
	unsigned char bits[MB_CLUSTER_SLOTS / 8];
};

bool mb_slots_has(const struct mb_slots *slots, unsigned slot);
unsigned mb_slots_count(const struct mb_slots *slots);
bool mb_slots_equal(const struct mb_slots *a, const struct mb_slots *b);
/* The lowest one; MB_CLUSTER_SLOTS when there is none. */
unsigned mb_slots_first(const struct mb_slots *slots);
/* "0-5460,7000"; free() it. */
char *mb_slots_text(const struct mb_slots *slots);
/* Add those of such a text, with commas or spaces; false when it is none. */
bool mb_slots_parse(struct mb_slots *slots, const char *text);

/* Which slot a key is in: CRC16 (XMODEM) of it, or of what stands between its first { and the next }. */
unsigned mb_key_slot(const void *key, size_t len);

/* -- nodes ---------------------------------------------------------------------------------- */

/* A master that serves slots. */
struct mb_cluster_node
{
	char id[MB_NODE_ID_LEN + 1];
	struct mb_redis_url url;
	struct mb_slots slots;
	bool is_myself; /* of the node that was asked */
	bool is_moving; /* myself: some slot is on its way to or from another node */
	bool is_down;   /* the others take it for dead */
};

struct mb_cluster_nodes
{
	struct mb_cluster_node *items; /* by their lowest slot */
	size_t count;
	size_t cap;
};
void mb_cluster_nodes_release(struct mb_cluster_nodes *nodes);

/* The answer to CLUSTER NODES.  `asked`: who gave it; a node may not know its own address. */
enum mb_code mb_cluster_parse(struct mb_cluster_nodes *nodes, const char *text,
							  const struct mb_redis_url *asked, struct mb_error *err) MB_MUST_CHECK;

/*
 * Ask the seeds of options->url in turn.  MB_UNREACHABLE: none answers, a master is down, a
 * slot is served by nobody.  MB_UNSUPPORTED: this is no cluster.
 */
enum mb_code mb_cluster_nodes_read(struct mb_cluster_nodes *nodes,
								   const struct mb_redis_options *options,
								   struct mb_error *err) MB_MUST_CHECK;

/* What the server at the other end says of itself; *node is the caller's (mb_cluster_node_release). */
enum mb_code mb_cluster_myself(struct mb_redis *redis, struct mb_cluster_node *node,
							   struct mb_error *err) MB_MUST_CHECK;
void mb_cluster_node_release(struct mb_cluster_node *node);

/* As mb_redis_connect, which calls it, for a url of a cluster: to the master of url->slot. */
enum mb_code mb_redis_cluster_connect(struct mb_redis **redis,
									  const struct mb_redis_options *options,
									  struct mb_error *err) MB_MUST_CHECK;

#endif
