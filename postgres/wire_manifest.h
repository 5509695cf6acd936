/*
 * wire_manifest.h - what was read from a base backup stream, against the server's own
 * backup_manifest ("Backup Manifest Format" in the PostgreSQL manual): every file, its size and its
 * CRC-32C.
 *
 * Keeps 24 bytes for each file.  Notes may come from any thread.
 */
#ifndef MB_POSTGRES_WIRE_MANIFEST_H
#define MB_POSTGRES_WIRE_MANIFEST_H

#include <stdint.h>

#include "core/base/tar.h"

struct mb_wire_manifest;

struct mb_wire_manifest *mb_wire_manifest_new(void);
/* This file was read, with that size and checksum. */
void mb_wire_manifest_note(struct mb_wire_manifest *manifest, const char *path, uint64_t size,
						   uint32_t crc32c);
/* This one was read, but is stored otherwise than it was sent (a page was read again). */
void mb_wire_manifest_note_changed(struct mb_wire_manifest *manifest, const char *path);
/*
 * Read the server's manifest and compare.  MB_CORRUPT names the first file that is missing, too
 * much, or not the same.
 */
enum mb_code mb_wire_manifest_compare(struct mb_wire_manifest *manifest, mb_tar_source source,
									  void *ctx, struct mb_error *err) MB_MUST_CHECK;
void mb_wire_manifest_free(struct mb_wire_manifest *manifest); /* NULL does nothing */

#endif
