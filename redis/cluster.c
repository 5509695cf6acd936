/* cluster.c - see cluster.h. */
#include "redis/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/sentinel.h"

/* One that does not answer must not use up the time of the others. */
#define SEED_MS 3000

/* -- slots ---------------------------------------------------------------------------------- */

bool
mb_slots_has(const struct mb_slots *slots, unsigned slot)
{
	return slots->bits[slot / 8] >> slot % 8 & 1;
}

unsigned
mb_slots_count(const struct mb_slots *slots)
{
	unsigned count = 0, slot;

	for (slot = 0; slot < MB_CLUSTER_SLOTS; slot++)
		count += mb_slots_has(slots, slot);
	return count;
}

bool
mb_slots_equal(const struct mb_slots *a, const struct mb_slots *b)
{
	return memcmp(a->bits, b->bits, sizeof(a->bits)) == 0;
}

unsigned
mb_slots_first(const struct mb_slots *slots)
{
	unsigned slot = 0;

	while (slot < MB_CLUSTER_SLOTS && !mb_slots_has(slots, slot))
		slot++;
	return slot;
}

char *
mb_slots_text(const struct mb_slots *slots)
{
	struct mb_buf text = {0};
	unsigned from, to;

	for (from = 0; from < MB_CLUSTER_SLOTS; from = to + 1)
	{
		to = from;
		if (!mb_slots_has(slots, from))
			continue;
		while (to + 1 < MB_CLUSTER_SLOTS && mb_slots_has(slots, to + 1))
			to++;
		mb_buf_printf(&text, to > from ? "%s%u-%u" : "%s%u", text.len ? "," : "", from, to);
	}
	mb_buf_put_u8(&text, '\0');
	return (char *) text.data;
}

bool
mb_slots_parse(struct mb_slots *slots, const char *text)
{
	while (*text)
	{
		unsigned long from, to;
		char *end;

		from = to = strtoul(text, &end, 10);
		if (end == text)
			return false;
		if (*end == '-')
		{
			text = end + 1;
			to = strtoul(text, &end, 10);
			if (end == text)
				return false;
		}
		if (from > to || to >= MB_CLUSTER_SLOTS || (*end && *end != ',' && *end != ' '))
			return false;
		for (; from <= to; from++)
			slots->bits[from / 8] |= (unsigned char) (1u << from % 8);
		text = *end ? end + 1 : end;
	}
	return true;
}

static unsigned
crc16(const unsigned char *data, size_t len)
{
	unsigned crc = 0, bit;
	size_t i;

	for (i = 0; i < len; i++)
	{
		crc ^= (unsigned) data[i] << 8;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
	}
	return crc;
}

unsigned
mb_key_slot(const void *key, size_t len)
{
	const unsigned char *open = memchr(key, '{', len), *from = key;
	const unsigned char *end = from + len, *close;

	close = open ? memchr(open + 1, '}', (size_t) (end - open - 1)) : NULL;
	/* "{}" is no tag: then the whole key counts. */
	if (close && close > open + 1)
	{
		from = open + 1;
		end = close;
	}
	return crc16(from, (size_t) (end - from)) % MB_CLUSTER_SLOTS;
}

/* -- the text of CLUSTER NODES -------------------------------------------------------------- */

void
mb_cluster_node_release(struct mb_cluster_node *node)
{
	mb_redis_url_release(&node->url);
}

void
mb_cluster_nodes_release(struct mb_cluster_nodes *nodes)
{
	size_t i;

	for (i = 0; i < nodes->count; i++)
		mb_cluster_node_release(&nodes->items[i]);
	free(nodes->items);
	memset(nodes, 0, sizeof(*nodes));
}

static bool
has_flag(const char *flags, const char *flag)
{
	size_t len = strlen(flag);

	while (flags)
	{
		if (strncmp(flags, flag, len) == 0 && (flags[len] == ',' || !flags[len]))
			return true;
		flags = strchr(flags, ',');
		if (flags)
			flags++;
	}
	return false;
}

/* "10.0.0.1:6379@16379,host.example": the name where there is one, for TLS has its name in the certificate. */
static bool
parse_address(struct mb_redis_url *url, char *text, const struct mb_redis_url *asked)
{
	char *name = strchr(text, ','), *bus = strchr(text, '@'), *colon, *end;

	if (name)
		*name++ = '\0';
	if (bus)
		*bus = '\0';
	colon = strrchr(text, ':');
	if (!colon)
		return false;
	*colon = '\0';
	url->port = (unsigned) strtoul(colon + 1, &end, 10);
	if (*end || end == colon + 1 || url->port > 65535)
		return false;
	/* Of what follows only a first name without "=" is a hostname (7.0); 7.2 adds "shard-id=...". */
	if (name)
		name[strcspn(name, ",")] = '\0';
	if (name && *name && *name != '?' && !strchr(name, '='))
		text = name;
	else if (!*text && asked->host)
		text = asked->host;
	url->host = mb_strdup(text);
	url->user = asked->user ? mb_strdup(asked->user) : NULL;
	url->tls = asked->tls;
	return *text != '\0';
}

/* One line; *take is false for what is no master with slots. */
static bool
parse_line(struct mb_cluster_node *node, char *line, const struct mb_redis_url *asked, bool *take)
{
	enum
	{
		ID,
		ADDRESS,
		FLAGS,
		LINK = 7,
		FIRST_SLOT
	};
	char *save = NULL, *word = strtok_r(line, " ", &save);
	unsigned field;
	bool good = true;

	for (field = ID; word && good; field++, word = strtok_r(NULL, " ", &save))
		if (field == ID)
		{
			good = strlen(word) == MB_NODE_ID_LEN;
			snprintf(node->id, sizeof(node->id), "%s", word);
		}
		else if (field == ADDRESS)
			good = parse_address(&node->url, word, asked);
		else if (field == FLAGS)
		{
			*take = has_flag(word, "master");
			node->is_myself = has_flag(word, "myself");
			node->is_down = has_flag(word, "fail") || has_flag(word, "noaddr");
		}
		else if (field >= FIRST_SLOT && *word == '[')
			node->is_moving = true;
		else if (field >= FIRST_SLOT)
			good = mb_slots_parse(&node->slots, word);
	*take = *take && mb_slots_count(&node->slots) > 0;
	return good && field > LINK;
}

static int
compare_nodes(const void *a, const void *b)
{
	unsigned first = mb_slots_first(&((const struct mb_cluster_node *) a)->slots);
	unsigned second = mb_slots_first(&((const struct mb_cluster_node *) b)->slots);

	return (first > second) - (first < second);
}

enum mb_code
mb_cluster_parse(struct mb_cluster_nodes *out, const char *text, const struct mb_redis_url *asked,
				 struct mb_error *err)
{
	struct mb_cluster_nodes nodes = {0};
	char *copy = mb_strdup(text), *save = NULL, *line;
	enum mb_code code = MB_OK;

	for (line = strtok_r(copy, "\r\n", &save); line && !code; line = strtok_r(NULL, "\r\n", &save))
	{
		struct mb_cluster_node node = {0};
		bool take = false;

		if (!parse_line(&node, line, asked, &take) || nodes.count == MB_CLUSTER_MAX_NODES)
			code = mb_fail(err, MB_CORRUPT, "the answer of Redis to CLUSTER NODES cannot be read");
		else if (take)
		{
			nodes.items = mb_grow(nodes.items, &nodes.cap, nodes.count + 1, sizeof(*nodes.items));
			nodes.items[nodes.count++] = node;
			continue;
		}
		mb_cluster_node_release(&node);
	}
	free(copy);
	if (code)
		mb_cluster_nodes_release(&nodes);
	else if (nodes.count > 0)
		qsort(nodes.items, nodes.count, sizeof(*nodes.items), compare_nodes);
	*out = nodes;
	return code;
}

/* -- asking --------------------------------------------------------------------------------- */

static enum mb_code
ask(struct mb_redis *redis, struct mb_cluster_nodes *nodes, struct mb_error *err)
{
	struct mb_redis_reply reply = {0};
	enum mb_code code = MB_REDIS_CALL(redis, &reply, err, "CLUSTER", "NODES");

	if (code && strstr(err->message, "cluster support disabled"))
	{
		mb_fail(err, MB_UNSUPPORTED, "Redis at %s is no node of a cluster", mb_redis_name(redis));
		return mb_error_hint(err, "Write redis://HOST:PORT in url for a single server.");
	}
	if (code == MB_DENIED)
		mb_error_hint(err, "A user of a cluster needs +cluster|nodes on every node.");
	if (!code && reply.type != MB_REDIS_STRING)
		code = mb_fail(err, MB_CORRUPT, "the answer of Redis to CLUSTER NODES is no text");
	if (!code)
		code = mb_cluster_parse(nodes, reply.text, mb_redis_where(redis), err);
	mb_redis_reply_release(&reply);
	return code;
}

static enum mb_code
check_whole(const struct mb_cluster_nodes *nodes, struct mb_error *err)
{
	unsigned served = 0;
	size_t i;

	for (i = 0; i < nodes->count; i++)
	{
		const struct mb_cluster_node *node = &nodes->items[i];

		if (node->is_down)
		{
			mb_fail(err, MB_UNREACHABLE, "the master of slot %u, %s:%u, is down",
					mb_slots_first(&node->slots), node->url.host, node->url.port);
			return mb_error_hint(err, "\"redis-cli --cluster check HOST:PORT\" says more.");
		}
		served += mb_slots_count(&node->slots);
	}
	if (served == MB_CLUSTER_SLOTS)
		return MB_OK;
	mb_fail(err, MB_UNREACHABLE, "only %u of the cluster's %d slots are served", served,
			MB_CLUSTER_SLOTS);
	return mb_error_hint(err, "\"redis-cli --cluster fix HOST:PORT\" repairs it.");
}

enum mb_code
mb_cluster_nodes_read(struct mb_cluster_nodes *out, const struct mb_redis_options *options,
					  struct mb_error *err)
{
	const struct mb_redis_url *url = options->url;
	enum mb_code code = MB_UNREACHABLE;
	bool answered = false;
	size_t i;

	for (i = 0; i < url->seed_count && code == MB_UNREACHABLE && !answered; i++)
	{
		struct mb_redis_options own = *options;
		struct mb_cluster_nodes nodes = {0};
		struct mb_redis *redis = NULL;

		mb_error_clear(err);
		own.url = &url->seeds[i];
		own.user = options->user ? options->user : url->user;
		own.connect_ms = own.io_ms = SEED_MS;
		code = mb_redis_connect(&redis, &own, err);
		if (!code)
			code = ask(redis, &nodes, err);
		answered = !code;
		if (!code)
			code = check_whole(&nodes, err);
		mb_redis_close(redis);
		if (code)
			mb_cluster_nodes_release(&nodes);
		else
			*out = nodes;
	}
	return code;
}

enum mb_code
mb_cluster_myself(struct mb_redis *redis, struct mb_cluster_node *node, struct mb_error *err)
{
	struct mb_cluster_nodes nodes = {0};
	enum mb_code code = ask(redis, &nodes, err);
	size_t i;

	if (code)
		return code;
	code = mb_fail(err, MB_UNSUPPORTED, "Redis at %s serves no slots of its cluster",
				   mb_redis_name(redis));
	mb_error_hint(err, "Name a master that has slots, or the whole: cluster://HOST:PORT.");
	for (i = 0; code && i < nodes.count; i++)
		if (nodes.items[i].is_myself)
		{
			*node = nodes.items[i];
			memset(&nodes.items[i].url, 0, sizeof(nodes.items[i].url));
			mb_error_clear(err);
			code = MB_OK;
		}
	mb_cluster_nodes_release(&nodes);
	return code;
}

/* To the one that serves the slot, if it calls itself a master. */
static enum mb_code
connect_once(struct mb_redis **redis, const struct mb_redis_options *options, struct mb_error *err)
{
	struct mb_cluster_nodes nodes = {0};
	enum mb_code code = mb_cluster_nodes_read(&nodes, options, err);
	size_t i;

	for (i = 0; !code && i < nodes.count; i++)
		if (mb_slots_has(&nodes.items[i].slots, options->url->slot))
		{
			struct mb_redis_url *master = &nodes.items[i].url;

			/* Whoever connects to where this leads (mb_redis_where) needs the user too. */
			if (!master->user && options->url->user)
				master->user = mb_strdup(options->url->user);
			code = mb_redis_connect_master(redis, options, master, err);
			break;
		}
	mb_cluster_nodes_release(&nodes);
	return code;
}

enum mb_code
mb_redis_cluster_connect(struct mb_redis **redis, const struct mb_redis_options *options,
						 struct mb_error *err)
{
	if (mb_redis_connect_rounds(redis, options, connect_once, err))
		return mb_error_context(err, "could not reach the master of slot %u", options->url->slot);
	return MB_OK;
}
