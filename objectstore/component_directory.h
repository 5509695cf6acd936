/*
 * component_directory.h - a directory that stands for a bucket (url = file:///srv/objects):
 * every regular file below it is an object, its relative path the key.
 *
 * A directory keeps no versions, so the component keeps them: each scan (by a backup, a
 * mark or the stream) records for every key the newest version and what it superseded.
 * A version is named by its ctime in nanoseconds, the moment at which this content came
 * to be under this name.  Entries of one key, newest first:
 *
 *     MB_ENTRY_OBJECT  a version; AFTER_CUT when it is younger than the cut + margin
 *     MB_ENTRY_MARKER  the key was found gone by this scan (version: time of the scan)
 *     AMBIGUOUS        present just before the cut, gone just after it
 *
 * State at T: of each key the newest version at or before T + margin, unless a marker
 * at or before T - margin is younger.  Creations count until after T and deletions only
 * from before T, so that no row of the database restored to T misses its object, as
 * long as the application writes the object before the row and deletes the row before
 * the object.
 */
#ifndef MB_OBJECTSTORE_COMPONENT_DIRECTORY_H
#define MB_OBJECTSTORE_COMPONENT_DIRECTORY_H

#include "core/engine/component.h"

extern const struct mb_component_ops mb_directory_component_ops;

#endif
