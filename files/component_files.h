/*
 * component_files.h - configuration files and trees (settings: paths, exclude, exclude-caches,
 * one-file-system, secrets, mask, mask-files, scan-interval).
 *
 * Entries are absolute paths without their leading slash.  A restore into a directory
 * puts them below it ("etc/shop/app.conf" into DIR/etc/shop/app.conf); without a
 * destination they go back to where they came from; what is there is moved aside first (files_in_place.c),
 * but for a file whose secrets the backup has masked: that one stays.
 *
 * Kept are owners, modes, times, extended attributes and ACLs (core/engine/attributes.h), symbolic links as
 * links, the names of one file as names of one file, and holes.  Devices, FIFOs and sockets are left out with
 * a warning; so is a repository of ours that lies below a path.
 *
 * With secrets = mask, secrets are replaced before they reach the repository (files/mask.h); the
 * entry says so, and meta.masked which rules hit how often in what was read.
 */
#ifndef MB_FILES_COMPONENT_FILES_H
#define MB_FILES_COMPONENT_FILES_H

#include "core/engine/component.h"

extern const struct mb_component_ops mb_files_component_ops;

#endif
