/* bytes.c - see mutants.h: mutants of the bytes of blobs and of their names. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tests/mutants/mutants.h"

uint64_t
mutant_random(struct mutant *mutant, uint64_t below)
{
	mutant->random ^= mutant->random >> 12;
	mutant->random ^= mutant->random << 25;
	mutant->random ^= mutant->random >> 27;
	return below ? mutant->random * 2685821657736338717ULL % below : 0;
}

/* Every kind of blob is chosen as often as every other, so that the few small ones have their turn. */
const struct mutant_blob *
mutant_victim(struct mutant *mutant)
{
	const struct mutant_image *image = mutant->image;
	size_t firsts[64] = {0}, count = 0, i, first, last;

	for (i = 0; i < image->count && count < 63; i++)
	{
		const char *name = image->items[i].name;
		size_t len = strcspn(name, "/");

		if (i == 0 || strncmp(name, image->items[i - 1].name, len + 1) != 0)
			firsts[count++] = i;
	}
	i = mutant_random(mutant, count);
	first = firsts[i];
	last = i + 1 < count ? firsts[i + 1] : image->count;
	return &image->items[first + mutant_random(mutant, last - first)];
}

/* Another one; of the same kind when there is one and the dice say so. */
static const struct mutant_blob *
other_than(struct mutant *mutant, const struct mutant_blob *victim)
{
	bool same_kind = mutant_random(mutant, 2) != 0;
	int tries;

	for (tries = 0; tries < 50; tries++)
	{
		const struct mutant_blob *other = mutant_victim(mutant);

		if (other != victim &&
			(!same_kind || mutant_role(other->name) == mutant_role(victim->name)))
			return other;
	}
	return NULL;
}

static void
put(struct mutant *mutant, const char *name, struct mb_buf *bytes)
{
	if (mutant->fix)
		frames_fix(mutant->judge->repo, name, bytes);
	image_put(mutant->image, name,
			  mb_arena_copy(&mutant->arena, bytes->data ? bytes->data : (unsigned char *) "",
							bytes->len),
			  bytes->len);
}

/* -- lengths ----------------------------------------------------------------------------------- */

static void
truncate_at(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	size_t offsets[MUTANT_MAX_FRAMES + 1];
	size_t count = frames_find(blob, offsets);
	size_t len = mutant_random(mutant, blob->len);

	if (count > 0 && mutant_random(mutant, 2))
		len = offsets[mutant_random(mutant, count)];
	else if (mutant_random(mutant, 4) == 0)
		len = blob->len > 0 ? blob->len - 1 : 0;
	mb_buf_put(out, blob->data, len);
	snprintf(mutant->what, sizeof(mutant->what), "%s cut from %zu to %zu bytes", blob->name,
			 blob->len, len);
}

static void
extend(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	const struct mutant_blob *other = mutant_victim(mutant);
	size_t more = 1 + mutant_random(mutant, 100);

	mb_buf_put(out, blob->data, blob->len);
	if (mutant_random(mutant, 2))
		mb_buf_put(out, other->data, other->len < more ? other->len : more);
	if (out->len == blob->len || mutant_random(mutant, 3) == 0)
		while (more-- > 0)
			mb_buf_put_u8(out, 0);
	snprintf(mutant->what, sizeof(mutant->what), "%s grown from %zu to %zu bytes", blob->name,
			 blob->len, out->len);
}

/* A stretch overwritten, taken out, or put in twice. */
static void
mangle(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	size_t at = mutant_random(mutant, blob->len);
	size_t len = 1 + mutant_random(mutant, blob->len - at < 64 ? blob->len - at : 64), i;
	unsigned how = (unsigned) mutant_random(mutant, 3);

	mb_buf_put(out, blob->data, at);
	if (how == 0)
		for (i = 0; i < len; i++)
			mb_buf_put_u8(out, (uint8_t) mutant_random(mutant, 256));
	if (how == 1)
		mb_buf_put(out, blob->data + at, len);
	mb_buf_put(out, blob->data + (how == 1 ? at : at + len),
			   blob->len - (how == 1 ? at : at + len));
	snprintf(mutant->what, sizeof(mutant->what), "%s: %zu bytes at %zu %s", blob->name, len, at,
			 how == 0   ? "overwritten"
			 : how == 1 ? "doubled"
						: "taken out");
}

/* -- headers and frames ------------------------------------------------------------------------ */

static bool
change_header(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	static const size_t at[] = {0, 8, 10, 11, 12, 16};
	static const char *const names[] = {"magic", "version", "role", "suite", "epoch", "salt"};
	unsigned i = (unsigned) mutant_random(mutant, 6);

	if (blob->len < MB_BLOB_HEADER_BYTES || mutant_role(blob->name) == 0)
		return false;
	mb_buf_put(out, blob->data, blob->len);
	out->data[at[i]] = (unsigned char) mutant_random(mutant, mutant_random(mutant, 2) ? 16 : 256);
	snprintf(mutant->what, sizeof(mutant->what), "%s: %s of the header changed", blob->name,
			 names[i]);
	return out->data[at[i]] != blob->data[at[i]];
}

static bool
change_frame_header(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	static const size_t at[] = {0, 4, 5, 6, 8, 12};
	static const char *const names[] = {"number", "flags",     "codec",
										"zero",   "plain_len", "stored_len"};
	static const uint32_t values[] = {0,        1,        2,        31,         32,        33,
									  0x100000, 0x100001, 0x100020, 0x7FFFFFFF, UINT32_MAX};
	size_t offsets[MUTANT_MAX_FRAMES + 1];
	size_t count = frames_find(blob, offsets), frame;
	unsigned i = (unsigned) mutant_random(mutant, 6);
	uint32_t value = values[mutant_random(mutant, sizeof(values) / sizeof(values[0]))];

	if (count == 0)
		return false;
	frame = mutant_random(mutant, count);
	mb_buf_put(out, blob->data, blob->len);
	if (mutant_random(mutant, 2))
		value =
			mb_get_u32(out->data + offsets[frame] + at[i]) + (mutant_random(mutant, 2) ? 1 : -1u);
	if (i == 1 || i == 2)
		out->data[offsets[frame] + at[i]] = (unsigned char) value;
	else if (i == 3)
		mb_set_u16(out->data + offsets[frame] + at[i], (uint16_t) value);
	else
		mb_set_u32(out->data + offsets[frame] + at[i], value);
	snprintf(mutant->what, sizeof(mutant->what), "%s frame %zu: %s changed", blob->name, frame,
			 names[i]);
	return memcmp(out->data, blob->data, blob->len) != 0;
}

/* Frames in another order, one missing, one twice, or one of another blob. */
static bool
shuffle_frames(struct mutant *mutant, const struct mutant_blob *blob, struct mb_buf *out)
{
	static const char *const ways[] = {"exchanged", "taken out", "doubled", "taken from elsewhere"};
	size_t mine[MUTANT_MAX_FRAMES + 1], theirs[MUTANT_MAX_FRAMES + 1];
	size_t count = frames_find(blob, mine), other_count, i, a, b;
	const struct mutant_blob *other = mutant_victim(mutant);
	unsigned way = (unsigned) mutant_random(mutant, 4);

	other_count = frames_find(other, theirs);
	if (count == 0 || (way == 0 && count < 2) || (way == 3 && (other_count == 0 || other == blob)))
		return false;
	a = mutant_random(mutant, count);
	b = way == 3 ? mutant_random(mutant, other_count) : mutant_random(mutant, count);
	if (way == 0 && a == b)
		return false;
	mb_buf_put(out, blob->data, mine[0]);
	for (i = 0; i < count; i++)
	{
		size_t from = way == 0 && i == a ? b : way == 0 && i == b ? a : i;

		if (way == 3 && i == a)
			mb_buf_put(out, other->data + theirs[b], theirs[b + 1] - theirs[b]);
		else if (way != 1 || i != a)
			mb_buf_put(out, blob->data + mine[from], mine[from + 1] - mine[from]);
		if (way == 2 && i == a)
			mb_buf_put(out, blob->data + mine[i], mine[i + 1] - mine[i]);
	}
	mb_buf_put(out, blob->data + mine[count], blob->len - mine[count]);
	snprintf(mutant->what, sizeof(mutant->what), "%s: frame %zu of %zu %s", blob->name, a, count,
			 ways[way]);
	return out->len != blob->len || memcmp(out->data, blob->data, blob->len) != 0;
}

bool
mutate_bytes(struct mutant *mutant)
{
	const struct mutant_blob *blob = mutant_victim(mutant);
	struct mb_buf out = {0};
	bool done = true;

	if (blob->len == 0)
		return false;
	switch (mutant_random(mutant, 6))
	{
		case 0:
			truncate_at(mutant, blob, &out);
			break;
		case 1:
			extend(mutant, blob, &out);
			break;
		case 2:
			mangle(mutant, blob, &out);
			break;
		case 3:
			done = change_header(mutant, blob, &out);
			break;
		case 4:
			done = change_frame_header(mutant, blob, &out);
			break;
		default:
			done = shuffle_frames(mutant, blob, &out);
	}
	if (done)
		put(mutant, blob->name, &out);
	mb_buf_release(&out);
	return done;
}

/* -- names --------------------------------------------------------------------------------------- */

/* Nearly the same name: another digit, another case, a segment more or less. */
static const char *
twist_name(struct mutant *mutant, const char *name)
{
	char *twisted = mb_arena_alloc(&mutant->arena, strlen(name) + 16);
	size_t at = mutant_random(mutant, strlen(name));

	memcpy(twisted, name, strlen(name) + 1);
	switch (mutant_random(mutant, 5))
	{
		case 0:
			twisted[at] = isdigit((unsigned char) twisted[at])
							  ? (char) ('0' + (twisted[at] - '0' + 1) % 10)
							  : 'f';
			break;
		case 1:
			twisted[at] = (char) (isupper((unsigned char) twisted[at])
									  ? tolower((unsigned char) twisted[at])
									  : toupper((unsigned char) twisted[at]));
			break;
		case 2:
			memcpy(twisted + strlen(twisted), "/x", 3);
			break;
		case 3:
			twisted[strlen(twisted) - 1] = '\0';
			break;
		default:
			memcpy(twisted + strlen(twisted), "0", 2);
	}
	return twisted;
}

static bool
move_blob(struct mutant *mutant, const struct mutant_blob *blob, bool keep)
{
	const char *name = twist_name(mutant, blob->name), *old = blob->name;
	struct mb_buf bytes = {0};

	if (image_find(mutant->image, name) || !name[0])
		return false;
	mb_buf_put(&bytes, blob->data, blob->len);
	snprintf(mutant->what, sizeof(mutant->what), "%s %s %s", blob->name,
			 keep ? "copied to" : "renamed to", name);
	if (!keep)
		image_remove(mutant->image, old);
	put(mutant, name, &bytes);
	mb_buf_release(&bytes);
	return true;
}

/* Both change places, or one takes the place of both. */
static bool
swap_blobs(struct mutant *mutant, const struct mutant_blob *blob)
{
	const struct mutant_blob *other = other_than(mutant, blob);
	bool both = mutant_random(mutant, 2) != 0;
	const char *name = blob->name, *other_name;
	struct mb_buf mine = {0}, theirs = {0};

	if (!other || (other->len == blob->len && memcmp(other->data, blob->data, blob->len) == 0))
		return false;
	other_name = other->name;
	mb_buf_put(&mine, blob->data, blob->len);
	mb_buf_put(&theirs, other->data, other->len);
	snprintf(mutant->what, sizeof(mutant->what), "%s %s %s", name,
			 both ? "exchanged with" : "replaced by", other_name);
	put(mutant, name, &theirs);
	if (both)
		put(mutant, other_name, &mine);
	mb_buf_release(&mine);
	mb_buf_release(&theirs);
	return true;
}

bool
mutate_names(struct mutant *mutant)
{
	const struct mutant_blob *blob = mutant_victim(mutant);
	struct mb_buf empty = {0};

	switch (mutant_random(mutant, 6))
	{
		case 0:
			snprintf(mutant->what, sizeof(mutant->what), "%s removed", blob->name);
			image_remove(mutant->image, blob->name);
			return true;
		case 1:
			snprintf(mutant->what, sizeof(mutant->what), "%s emptied", blob->name);
			put(mutant, blob->name, &empty);
			mb_buf_release(&empty);
			return true;
		case 2:
			return move_blob(mutant, blob, true);
		case 3:
			return move_blob(mutant, blob, false);
		default:
			return swap_blobs(mutant, blob);
	}
}
