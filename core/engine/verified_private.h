/* verified_private.h - what verified.c (reading) and verified_notes.c (writing) share. */
#ifndef MB_ENGINE_VERIFIED_PRIVATE_H
#define MB_ENGINE_VERIFIED_PRIVATE_H

#include "core/base/hash.h"
#include "core/engine/verified.h"

#define MB_VERIFIED_PREFIX "verified/"

/* What a document says about a blob. */
struct mb_verified_word
{
	unsigned char print[MB_XXH128_BYTES];
	int64_t time_us;
	bool is_damage;
	uint32_t document; /* index into documents */
};

struct mb_verified_list
{
	struct mb_verified_word *items;
	size_t count;
	size_t cap;
};

struct mb_verified_document
{
	char name[MB_NAME_MAX];
	bool counts;
};

struct mb_verified
{
	struct mb_verified_list all; /* sorted by fingerprint; only the one that counts of each blob */
	struct mb_verified_document *documents;
	size_t document_count;
	size_t document_cap;
	int64_t since_us;
	int64_t since_time_us; /* of the document that says so */
};

/* The fingerprint of a blob. */
void mb_verified_print(unsigned char out[MB_XXH128_BYTES], const char *blob);
/* A new one at the end; the caller fills in the fingerprint. */
struct mb_verified_word *mb_verified_add(struct mb_verified_list *list, int64_t time_us,
										 bool is_damage);
/* Sort, and keep of each blob the one that counts; before _find. */
void mb_verified_settle(struct mb_verified_list *list);
struct mb_verified_word *mb_verified_find(const struct mb_verified_list *list, const char *blob);

#endif
