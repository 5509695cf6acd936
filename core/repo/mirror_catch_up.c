/*
 * mirror_catch_up.c - compare a copy with the first and give it what it lacks; see
 * mirror_private.h.
 *
 * What refers is listed before what it refers to, and copied after it: sets and marks, then
 * commits, then packs.  So the packs of every commit that a listing shows are in that listing,
 * and a commit never gets to the copy before them, whoever is killed in between.  Rounds go
 * on, beside the puts, until little is left; the last one is made alone, and ends with the
 * word that the copy is up to date: from then on it gets every put.
 */
#include "core/repo/mirror_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/mem.h"
#include "core/base/time.h"

/* Blobs: so few are copied while puts wait; more only when the rounds have ceased to shrink. */
#define LITTLE 16
#define MUCH 256
#define REMOVED_MAX_BYTES (17 << 20)
#define REMOVE_AT_ONCE 256

struct blob
{
	char *name;
	uint64_t bytes;
	int rank;
};

/* What the copy lacks. */
struct lack
{
	struct blob *items;
	size_t count;
	size_t cap;
};

struct pass
{
	struct mb_mirror_copy *copy;
	struct lack lack;
	uint64_t blobs; /* copied */
	uint64_t bytes;
};

static void
lack_reset(struct lack *lack)
{
	size_t i;

	for (i = 0; i < lack->count; i++)
		free(lack->items[i].name);
	lack->count = 0;
}

static void
lack_release(struct lack *lack)
{
	lack_reset(lack);
	free(lack->items);
	memset(lack, 0, sizeof(*lack));
}

/* The order of copying. */
static int
rank_of(const char *name)
{
	static const char *const prefixes[] = {"keys/", "streams/", "backups/", "sets/", "marks/"};
	static const int ranks[] = {0, 2, 3, 4, 5};
	size_t i;

	for (i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
		if (mb_starts_with(name, prefixes[i]))
			return ranks[i];
	return 1; /* packs, and whatever a later version adds */
}

static int
compare_blobs(const void *a, const void *b)
{
	const struct blob *left = a, *right = b;

	if (left->rank != right->rank)
		return left->rank - right->rank;
	return strcmp(left->name, right->name);
}

static enum mb_code
check_going_on(const struct mb_mirror *mirror, struct mb_error *err)
{
	if (atomic_load(&mirror->stopping))
		return mb_fail(err, MB_INTERRUPTED, "the catching up was stopped");
	return mb_cancel_check(mirror->options.cancel, err);
}

/* -- comparing ------------------------------------------------------------------------------- */

struct cursor
{
	struct mb_rd rd;
	const char *name; /* NULL at the end */
	uint64_t bytes;
};

static void
cursor_next(struct cursor *cursor)
{
	cursor->name = NULL;
	if (mb_rd_left(&cursor->rd) == 0)
		return;
	cursor->bytes = mb_rd_u64(&cursor->rd);
	cursor->name = (const char *) cursor->rd.p;
	mb_rd_bytes(&cursor->rd, strlen(cursor->name) + 1);
}

static void
add_lack(struct lack *lack, const char *name, uint64_t bytes)
{
	lack->items = mb_grow(lack->items, &lack->cap, lack->count + 1, sizeof(*lack->items));
	lack->items[lack->count++] = (struct blob){mb_strdup(name), bytes, rank_of(name)};
}

/* sets/ and marks/ are listed on their own, before all else. */
static bool
is_skipped(const char *name, const char *prefix)
{
	return strcmp(name, MB_HEADER_NAME) == 0 || mb_mirror_is_local(name) ||
		   (prefix[0] == '\0' && rank_of(name) >= 4);
}

/* Add what the copy lacks of two sorted listings. */
static enum mb_code
merge(struct pass *pass, const char *prefix, const struct mb_buf *first, const struct mb_buf *copy,
	  struct mb_error *err)
{
	struct cursor a = {.rd = mb_rd_init(first->data, first->len)};
	struct cursor b = {.rd = mb_rd_init(copy->data, copy->len)};

	cursor_next(&a);
	cursor_next(&b);
	for (; a.name; cursor_next(&a))
	{
		int order = 1;

		while (b.name && (order = strcmp(b.name, a.name)) < 0)
			cursor_next(&b);
		if (is_skipped(a.name, prefix))
			continue;
		if (!b.name || order > 0)
			add_lack(&pass->lack, a.name, a.bytes);
		else if (a.bytes != b.bytes)
		{
			mb_fail(err, MB_CORRUPT,
					"blob \"%s\" has %llu bytes in the copy and %llu in the repository", a.name,
					(unsigned long long) b.bytes, (unsigned long long) a.bytes);
			return mb_error_hint(err, "Run \"mbackup verify\" on both; remove the wrong one by "
									  "hand.");
		}
	}
	return MB_OK;
}

static enum mb_code
find_lack(struct pass *pass, struct mb_error *err)
{
	static const char *const prefixes[] = {"marks/", "sets/", ""};
	struct mb_mirror *mirror = pass->copy->mirror;
	enum mb_code code = MB_OK;
	size_t i;

	lack_reset(&pass->lack);
	for (i = 0; !code && i < 3; i++)
	{
		struct mb_buf first = {0}, copy = {0};

		code = mb_store_list(mirror->first, prefixes[i], mb_mirror_add_listed, &first, err);
		if (!code)
			code = mb_mirror_copy_list(pass->copy, prefixes[i], &copy, err);
		if (!code)
			code = merge(pass, prefixes[i], &first, &copy, err);
		mb_buf_release(&first);
		mb_buf_release(&copy);
	}
	if (pass->lack.count > 1)
		qsort(pass->lack.items, pass->lack.count, sizeof(*pass->lack.items), compare_blobs);
	return code;
}

/* -- copying --------------------------------------------------------------------------------- */

static enum mb_code
copy_blob(struct pass *pass, const char *name, struct mb_buf *data, struct mb_error *err)
{
	enum mb_code code;

	mb_buf_reset(data);
	code = mb_store_get(pass->copy->mirror->first, name, 0, SIZE_MAX, data, err);
	if (code == MB_NOT_FOUND)
		return MB_OK; /* a tail piece that was replaced since the listing */
	if (!code)
		code = mb_mirror_copy_put(pass->copy, name, data->data, data->len, err);
	if (!code)
	{
		pass->blobs++;
		pass->bytes += data->len;
	}
	return code;
}

static enum mb_code
copy_lack(struct pass *pass, struct mb_error *err)
{
	struct mb_buf data = {0};
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < pass->lack.count; i++)
	{
		code = check_going_on(pass->copy->mirror, err);
		if (!code)
			code = copy_blob(pass, pass->lack.items[i].name, &data, err);
	}
	mb_buf_release(&data);
	return code;
}

/* Of these names, remove from the copy what the first has no more. */
static enum mb_code
remove_gone(struct pass *pass, char **names, size_t count, struct mb_error *err)
{
	const char *gone[REMOVE_AT_ONCE];
	size_t gone_count = 0, i;

	for (i = 0; i < count; i++)
	{
		struct mb_blob_info info;
		struct mb_error why;
		enum mb_code code = mb_store_head(pass->copy->mirror->first, names[i], &info, &why);

		if (code == MB_NOT_FOUND)
			gone[gone_count++] = names[i];
	}
	return gone_count ? mb_mirror_copy_remove(pass->copy, gone, gone_count, err) : MB_OK;
}

/* What mbackup itself removed while the copy was behind; called alone. */
static enum mb_code
apply_removed(struct pass *pass, struct mb_error *err)
{
	struct mb_buf text = {0};
	struct mb_error why;
	enum mb_code code = mb_file_read(&text, pass->copy->removed_path, REMOVED_MAX_BYTES, &why);
	char *names[REMOVE_AT_ONCE];
	char *line, *rest = NULL;
	size_t count = 0;

	if (code)
	{
		/* None; or unreadable, and what it names stays as bytes that nobody needs. */
		mb_buf_release(&text);
		return MB_OK;
	}
	mb_buf_cstr(&text);
	for (line = strtok_r((char *) text.data, "\n", &rest); line && !code;
		 line = strtok_r(NULL, "\n", &rest))
	{
		if (!mb_name_is_safe(line, strlen(line)) || strlen(line) >= MB_NAME_MAX)
			continue; /* torn by a power cut */
		names[count++] = line;
		if (count == REMOVE_AT_ONCE)
		{
			code = remove_gone(pass, names, count, err);
			count = 0;
		}
	}
	if (!code && count > 0)
		code = remove_gone(pass, names, count, err);
	if (!code)
		unlink(pass->copy->removed_path);
	mb_buf_release(&text);
	return code;
}

/* -- a whole catching up --------------------------------------------------------------------- */

/* The last round: nobody puts meanwhile. */
static enum mb_code
finish(struct pass *pass, const char *epoch, struct mb_error *err)
{
	int alone = mb_mirror_enter_alone(pass->copy->mirror);
	enum mb_code code;

	if (alone < 0)
		return mb_fail(err, MB_CONFLICT, "puts did not pause for it");
	code = find_lack(pass, err);
	if (!code)
		code = copy_lack(pass, err);
	if (!code)
		code = apply_removed(pass, err);
	if (!code && !mb_mirror_set_current(pass->copy, epoch))
		code = mb_fail(err, MB_CONFLICT, "it fell behind again while it caught up");
	mb_mirror_leave(alone);
	return code;
}

static enum mb_code
catch_up(struct pass *pass, struct mb_error *err)
{
	const struct mb_mirror *mirror = pass->copy->mirror;
	struct mb_mirror_state state;
	enum mb_code code;
	size_t before = SIZE_MAX, left = SIZE_MAX;

	mb_mirror_state_read(pass->copy, &state);
	/* Anew: another directory may be mounted there by now. */
	code = mb_mirror_copy_open(pass->copy, true, mirror->options.patience_ms, err);
	while (!code && left > LITTLE && (left > MUCH || left < before / 2))
	{
		code = check_going_on(mirror, err);
		if (!code)
			code = find_lack(pass, err);
		if (!code)
			code = copy_lack(pass, err);
		before = left;
		left = pass->lack.count;
	}
	return code ? code : finish(pass, state.epoch, err);
}

enum mb_code
mb_mirror_catch_up(struct mb_mirror_copy *copy, struct mb_error *err)
{
	const struct mb_log *log = copy->mirror->options.log;
	struct pass pass = {.copy = copy};
	enum mb_code code = catch_up(&pass, err);
	char size[MB_SIZE_TEXT];

	mb_size_format(size, pass.bytes);
	if (!code)
		mb_log_info(log, "the copy \"%s\" is up to date: %llu blobs (%s) were copied", copy->name,
					(unsigned long long) pass.blobs, size);
	else if (code != MB_INTERRUPTED)
		mb_mirror_fall_behind(copy, err->message);
	lack_release(&pass.lack);
	return code;
}

/* Is it there by now?  Called when no put is under way that began before the listings. */
static enum mb_code
confirm_lack(struct pass *pass, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < pass->lack.count; i++)
	{
		const char *name = pass->lack.items[i].name;
		struct mb_blob_info info;
		uint64_t bytes;
		enum mb_code code = mb_store_head(pass->copy->mirror->first, name, &info, err);

		if (code == MB_NOT_FOUND)
			continue; /* removed since */
		if (!code)
			code = mb_mirror_copy_head(pass->copy, name, &bytes, err);
		if (code == MB_NOT_FOUND)
			return mb_fail(err, MB_NEGATIVE, "it lacks \"%s\", and perhaps more", name);
		if (code)
			return code;
	}
	return MB_OK;
}

enum mb_code
mb_mirror_compare(struct mb_mirror_copy *copy, struct mb_error *err)
{
	struct mb_mirror *mirror = copy->mirror;
	struct pass pass = {.copy = copy};
	enum mb_code code = mb_mirror_copy_open(copy, false, mirror->options.patience_ms, err);

	if (!code)
		code = find_lack(&pass, err);
	if (!code && pass.lack.count > 0)
	{
		/* Puts that were on their way from the first to the copy have arrived after this. */
		mb_mirror_leave(mb_mirror_enter_alone(mirror));
		code = confirm_lack(&pass, err);
	}
	lack_release(&pass.lack);
	return code;
}
