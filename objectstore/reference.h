/*
 * reference.h - do the objects that rows name stand in a bucket as the rows say?
 *
 * Rows come in the byte order of their keys, the bucket's listing does too: one walk, in constant
 * memory (a directory that stands for a bucket is listed into memory first).
 *
 *     dangling    no such object, or deleted
 *     mismatched  it is there, with another size, ETag or version
 *     ambiguous   what is current is another version than the row says, but that one is there too
 *     orphaned    an object that no row names: counted only
 */
#ifndef MB_OBJECTSTORE_REFERENCE_H
#define MB_OBJECTSTORE_REFERENCE_H

#include "core/engine/component.h"

#define MB_REFERENCE_EXAMPLES 20

/* One row; NULL or -1 for what it does not say. */
struct mb_reference
{
	const char *key;
	const char *version;
	const char *etag;
	int64_t size;
};

struct mb_reference_check;

/* Of an objects component as it is now.  Release it also after a failure. */
enum mb_code mb_reference_check_begin(struct mb_reference_check **check,
									  struct mb_component *component,
									  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_reference_check_row(struct mb_reference_check *check,
									const struct mb_reference *row,
									struct mb_error *err) MB_MUST_CHECK;
/*
 * The rest of the bucket; adds "rows", "dangling", "mismatched", "ambiguous", "orphaned" and the first
 * "examples" ({"key", "what"}) to result.
 */
enum mb_code mb_reference_check_end(struct mb_reference_check *check, json_t *result,
									struct mb_error *err) MB_MUST_CHECK;
void mb_reference_check_free(struct mb_reference_check *check); /* NULL does nothing */

/* Is this what a row may call the component: its name, its bucket, its directory's name? */
bool mb_reference_is_bucket(const struct mb_component *component, const char *name);

#endif
