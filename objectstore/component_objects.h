/*
 * component_objects.h - the driver of kind "objects": by its url a component is a bucket
 * (s3://bucket/prefix, component_bucket.h) or a directory (file:///DIR, component_directory.h).
 */
#ifndef MB_OBJECTSTORE_COMPONENT_OBJECTS_H
#define MB_OBJECTSTORE_COMPONENT_OBJECTS_H

#include "core/engine/component.h"
#include "objectstore/journal_source.h"

/*
 * For finding and opening: what it opens has the operations of its own driver.  source: who keeps
 * the events of journalled buckets, remembered; NULL: nobody.  Called before there are threads.
 */
const struct mb_component_ops *mb_objects_component_ops(const struct mb_journal_source *source);
const struct mb_journal_source *mb_objects_journal_source(void);

/*
 * The scan that shows the state at restore->stack_time_us: the oldest one at or after it, so that
 * everything up to it was seen.  Sets restore->chosen unless the engine did.
 */
enum mb_code mb_objects_choose_scan(struct mb_restore *restore, struct mb_error *err) MB_MUST_CHECK;

/* position() of both drivers: the window in which objects are placed. */
enum mb_code mb_objects_position(struct mb_component *component, struct mb_cut *cut,
								 enum mb_moment moment, struct mb_error *err);

#endif
