/*
 * component_files.h - configuration files and trees (settings: paths, exclude, secrets,
 * scan-interval).
 *
 * Entries are absolute paths without their leading slash.  A restore into a directory
 * puts them below it ("etc/shop/app.conf" into DIR/etc/shop/app.conf); without a
 * destination they go back to where they came from, where none of them may exist.
 *
 * With secrets = mask the values of keys like *PASSWORD*, *SECRET*, *KEY* and *TOKEN* in
 * environment files (*.env, .env, .env.*, *.conf, *.ini, *.properties, *.yml, *.yaml) are
 * replaced by "********" before they reach the repository; the entry says so.
 */
#ifndef MB_FILES_COMPONENT_FILES_H
#define MB_FILES_COMPONENT_FILES_H

#include "core/engine/component.h"

extern const struct mb_component_ops mb_files_component_ops;

#endif
