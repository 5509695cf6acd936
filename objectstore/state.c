/* state.c - see state.h. */
#include "objectstore/state.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"
#include "core/engine/entry.h"

struct mb_state
{
	struct mb_blocks blocks; /* a view of the commit's */
	struct mb_manifest_reader *reader;
	const char *from; /* NULL, or where the keys begin */
	struct mb_state_time time;
	const struct mb_entry *ahead; /* read, but of the next key; borrowed from the reader */
	bool has_begun;
	struct mb_arena arena; /* of the key that was returned */
	struct mb_state_key key;
	struct mb_state_version *versions;
	size_t cap;
};

/* T +- margin in the server's clock, which is skew_us ahead of the one that T was read from. */
static struct mb_state_time
time_at(int64_t time_us, int64_t skew_us, int64_t margin_us)
{
	int64_t server_us = time_us + skew_us;
	struct mb_state_time time = {(uint64_t) (server_us + margin_us) * 1000,
								 (uint64_t) (server_us - margin_us) * 1000, 0};

	return time;
}

struct mb_state_time
mb_state_of(const struct mb_commit *commit, const struct mb_settings *settings, int64_t time_us)
{
	int64_t margin_us = mb_json_int(commit->meta, "margin_us",
									mb_settings_ms(settings, "clock-margin", 1000) * 1000);

	struct mb_state_time time =
		time_at(time_us, mb_json_int(commit->meta, "clock_skew_us", 0), margin_us);

	if (time_us == mb_commit_cut_time(commit) &&
		!mb_lsn_parse(&time.lsn, mb_json_str(commit->meta, "cut_lsn", "")))
		time.lsn = 0;
	return time;
}

/* Manifest order: bytes, the shorter first. */
static int
compare_path(const char *path, size_t len, const char *key)
{
	size_t key_len = strlen(key);
	int order = memcmp(path, key, len < key_len ? len : key_len);

	return order ? order : len < key_len ? -1 : len > key_len;
}

struct mb_state *
mb_state_new(const struct mb_repo *repo, const struct mb_commit *commit, struct mb_state_time time)
{
	return mb_state_new_from(repo, commit, time, NULL);
}

/* Key before block: the block before it may still end with versions of the key. */
static size_t
first_block(const struct mb_blocks *blocks, const char *from)
{
	size_t low = 0, high = blocks->count;

	/* Blocks below `low` begin before `from`. */
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		const struct mb_block *block = &blocks->items[middle];

		if (compare_path(block->first_path, block->first_path_len, from) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? low - 1 : 0;
}

struct mb_state *
mb_state_new_from(const struct mb_repo *repo, const struct mb_commit *commit,
				  struct mb_state_time time, const char *from)
{
	struct mb_state *state = mb_calloc(1, sizeof(*state));
	size_t skipped = from ? first_block(&commit->blocks, from) : 0;

	state->blocks = commit->blocks;
	state->blocks.items += skipped;
	state->blocks.count -= skipped;
	state->reader = mb_manifest_reader_new(repo, &state->blocks);
	state->from = from;
	state->time = time;
	return state;
}

void
mb_state_free(struct mb_state *state)
{
	if (!state)
		return;
	mb_manifest_reader_free(state->reader);
	mb_arena_release(&state->arena);
	free(state->versions);
	free(state);
}

enum presence
{
	ABSENT,
	PRESENT,
	MAYBE
};

/* meta.erased: [the last time that it was seen, the time when it was found gone]. */
static enum presence
erased_by_time(const json_t *erased, struct mb_state_time time)
{
	struct mb_error err;
	int64_t seen_us, gone_us;

	if (json_array_size(erased) != 2 ||
		mb_time_parse(&seen_us, mb_json_value_str(json_array_get(erased, 0), ""), &err) ||
		mb_time_parse(&gone_us, mb_json_value_str(json_array_get(erased, 1), ""), &err))
		return PRESENT;
	if ((uint64_t) gone_us * 1000 <= time.deleted_ns)
		return ABSENT;
	return (uint64_t) seen_us * 1000 < time.created_ns ? MAYBE : PRESENT;
}

static enum presence
by_time(const struct mb_entry *entry, struct mb_state_time time)
{
	if (entry->type == MB_ENTRY_MARKER)
		return entry->version <= time.deleted_ns ? PRESENT : ABSENT;
	return entry->version <= time.created_ns ? PRESENT : ABSENT;
}

/* Does the meta of an entry name this member?  Cheaper than reading every one. */
static bool
mentions(const struct mb_entry *entry, const char *member)
{
	return entry->meta && strstr(entry->meta, member);
}

json_t *
mb_state_meta(const struct mb_entry *entry)
{
	struct mb_error err;
	json_t *meta = NULL;

	if (!entry->meta || mb_json_parse(&meta, entry->meta, strlen(entry->meta), "meta", &err))
		return json_object();
	return meta;
}

static enum presence
presence_of(const struct mb_entry *entry, struct mb_state_time time)
{
	enum presence presence;
	const json_t *erased;
	json_t *meta;
	uint64_t lsn;

	if (entry->type != MB_ENTRY_MARKER && entry->type != MB_ENTRY_OBJECT)
		return ABSENT;
	presence = by_time(entry, time);
	if (!mentions(entry, "\"erased") && !(time.lsn && mentions(entry, "\"lsn\"")))
		return presence;
	meta = mb_state_meta(entry);
	if (time.lsn && mb_lsn_parse(&lsn, mb_json_str(meta, "lsn", "")))
		presence = lsn <= time.lsn ? PRESENT : ABSENT;
	erased = json_object_get(meta, "erased");
	if (presence == PRESENT && time.lsn && mb_lsn_parse(&lsn, mb_json_str(meta, "erased_lsn", "")))
		presence = lsn <= time.lsn ? ABSENT : PRESENT;
	else if (presence == PRESENT && erased)
		presence = erased_by_time(erased, time);
	json_decref(meta);
	return presence;
}

static bool
is_of_key(const struct mb_entry *entry, const struct mb_state_key *key)
{
	return entry->path_len == key->key_len && memcmp(entry->path, key->key, key->key_len) == 0;
}

static void
add_version(struct mb_state *state, const struct mb_entry *entry, enum presence presence)
{
	struct mb_state_version *version;

	state->versions =
		mb_grow(state->versions, &state->cap, state->key.count + 1, sizeof(*state->versions));
	version = &state->versions[state->key.count++];
	memset(version, 0, sizeof(*version));
	mb_entry_copy(&state->arena, entry, &version->entry);
	version->is_ambiguous = presence == MAYBE;
}

/* Take all versions of the key that `ahead` begins. */
static enum mb_code
take_key(struct mb_state *state, struct mb_error *err)
{
	struct mb_state_key *key = &state->key;
	enum mb_code code = MB_OK;
	char *name;

	mb_arena_release(&state->arena);
	memset(key, 0, sizeof(*key));
	key->key_len = state->ahead->path_len;
	name = mb_arena_alloc(&state->arena, key->key_len + 1);
	memcpy(name, state->ahead->path, key->key_len);
	key->key = name;
	while (!code && state->ahead && is_of_key(state->ahead, key))
	{
		enum presence presence = presence_of(state->ahead, state->time);

		if (presence != ABSENT)
			add_version(state, state->ahead, presence);
		code = mb_manifest_next(state->reader, &state->ahead, err);
	}
	key->versions = state->versions;
	if (!code && key->count > 0 && state->versions[0].entry.type == MB_ENTRY_OBJECT)
	{
		key->current = &state->versions[0];
		key->is_ambiguous =
			key->current->is_ambiguous || (key->current->entry.flags & MB_ENTRY_AMBIGUOUS) != 0;
	}
	return code;
}

enum mb_code
mb_state_next(struct mb_state *state, const struct mb_state_key **key, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	*key = NULL;
	if (!state->has_begun)
		do
			code = mb_manifest_next(state->reader, &state->ahead, err);
		while (!code && state->ahead && state->from &&
			   compare_path(state->ahead->path, state->ahead->path_len, state->from) < 0);
	state->has_begun = true;
	while (!code && state->ahead)
	{
		code = take_key(state, err);
		if (!code && state->key.count > 0)
		{
			*key = &state->key;
			break;
		}
	}
	return code;
}

bool
mb_state_wanted(char *const *only, size_t only_count, const char *key)
{
	size_t i;

	for (i = 0; i < only_count; i++)
		if (fnmatch(only[i], key, 0) == 0)
			return true;
	return only_count == 0;
}
