/* bucket_put_sizes.c - the parts of a version: as they were, or as they are likely to have been. */
#include <stdlib.h>

#include "objectstore/bucket_entry.h"
#include "objectstore/bucket_put_private.h"

#define PARTS_MAX 10000
#define MIB (1u << 20)

/* NULL: nobody noted them, or what was noted makes no sense. */
static struct mb_put_part *
take_recorded(const struct mb_put_version *version, size_t *count)
{
	const json_t *recorded = json_object_get(version->meta, "parts");
	struct mb_put_part *parts;
	uint64_t sum = 0;
	size_t i;

	*count = json_array_size(recorded);
	if (*count == 0 || *count > PARTS_MAX)
		return NULL;
	parts = mb_calloc(*count, sizeof(*parts));
	for (i = 0; i < *count; i++)
	{
		json_t *pair = json_array_get(recorded, i);
		json_int_t number = json_integer_value(json_array_get(pair, 0));
		json_int_t size = json_integer_value(json_array_get(pair, 1));

		if (number < 1 || number > PARTS_MAX || size < 0 || size > MB_PUT_PART_MAX_BYTES)
			break;
		parts[i].number = (unsigned) number;
		parts[i].size = (uint64_t) size;
		sum += (uint64_t) size;
	}
	if (i == *count && sum == version->entry->size)
		return parts;
	free(parts);
	return NULL;
}

/* Does a version of this size come out in so many parts? */
static bool
fits(uint64_t size, uint64_t part, unsigned count)
{
	return part <= MB_PUT_PART_MAX_BYTES && (size + part - 1) / part == count;
}

/*
 * Without a record: the part size that clients are likely to have used, if one of them makes as many
 * parts as the ETag says; else any in whole MiB; else our own.
 */
static uint64_t
guess_part_bytes(uint64_t size, unsigned count)
{
	static const unsigned usual[] = {5, 8, 16, 15, 10, 32, 64, 50};
	uint64_t part;
	size_t i;

	for (i = 0; count > 0 && i < sizeof(usual) / sizeof(usual[0]); i++)
		if (fits(size, (uint64_t) usual[i] * MIB, count))
			return (uint64_t) usual[i] * MIB;
	part = count > 0 ? (size / count + MIB - 1) / MIB * MIB : 0;
	if (part >= 5 * MIB && fits(size, part, count))
		return part;
	for (part = MB_PUT_SINGLE_BYTES; (size + part - 1) / part > PARTS_MAX;)
		part += MIB;
	return part;
}

struct mb_put_part *
mb_put_choose_parts(const struct mb_put_version *version, size_t *count)
{
	struct mb_put_part *parts = take_recorded(version, count);
	uint64_t size = version->entry->size, at = 0, part;
	size_t i;

	if (parts)
		return parts;
	part = guess_part_bytes(size, mb_etag_parts(mb_json_str(version->meta, "etag", "")));
	*count = size ? (size_t) ((size + part - 1) / part) : 1;
	parts = mb_calloc(*count, sizeof(*parts));
	for (i = 0; i < *count; i++, at += part)
	{
		parts[i].number = (unsigned) i + 1;
		parts[i].size = size - at < part ? size - at : part;
	}
	return parts;
}
