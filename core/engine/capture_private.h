/*
 * capture_private.h - one range on its way from its bytes to a map, from memory or from a file.
 *
 * Begin, hash every byte in order, then one of: store (its runs are in the map already), share
 * or pack.  What is packed must be the very bytes that were hashed.
 */
#ifndef MB_ENGINE_CAPTURE_PRIVATE_H
#define MB_ENGINE_CAPTURE_PRIVATE_H

#include "core/engine/capture.h"
#include "core/engine/page_plan.h"

struct mb_range_work
{
	struct mb_capture *capture;
	unsigned worker;
	const struct mb_map_ref *parent; /* or NULL */
	struct mb_page_map old;          /* the parent's; empty when there is none that can be used */
	struct mb_page_map map;          /* of what is captured */
};

enum mb_range_layout
{
	MB_RANGE_WHOLE, /* data is the range */
	MB_RANGE_PACKED /* data is the pages that the plan does not keep, one behind the other */
};

static inline size_t
mb_pages_of(size_t bytes)
{
	return (bytes + MB_PAGE_BYTES - 1) / MB_PAGE_BYTES;
}

/* The worker's reader of the parent's packs, made when it is first asked for. */
struct mb_pack_reader *mb_capture_reader(struct mb_capture *capture, unsigned worker);

/* Load the parent's map, for a range of at most len bytes; capture, worker, parent are set. */
enum mb_code mb_range_begin(struct mb_range_work *work, size_t len,
							struct mb_error *err) MB_MUST_CHECK;
void mb_range_release(struct mb_range_work *work);
/* Forget what was hashed. */
void mb_range_restart(struct mb_range_work *work, size_t len);

uint64_t mb_range_page_hash(const struct mb_range_work *work, const unsigned char *data,
							size_t len);
/* Add the pages of the next stretch to the map, without their CRC. */
void mb_range_hash(struct mb_range_work *work, const unsigned char *data, size_t len);

/* True when nothing has changed: *ref is the parent's map, and nothing is written. */
bool mb_range_share(struct mb_range_work *work, const struct mb_page_plan *plan,
					struct mb_map_ref *ref);
/* Refer to what the plan keeps, pack the rest, store the map. */
enum mb_code mb_range_pack(struct mb_range_work *work, const struct mb_page_plan *plan,
						   const unsigned char *data, enum mb_range_layout layout,
						   struct mb_map_ref *ref, struct mb_error *err) MB_MUST_CHECK;
/* Plan, then share or pack. */
enum mb_code mb_range_finish(struct mb_range_work *work, const unsigned char *data,
							 struct mb_map_ref *ref, struct mb_error *err) MB_MUST_CHECK;
/* For a map that has its runs. */
enum mb_code mb_range_store(struct mb_range_work *work, struct mb_map_ref *ref,
							struct mb_error *err) MB_MUST_CHECK;

#endif
