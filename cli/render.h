/* render.h - what the files that render answers for people share. */
#ifndef MB_CLI_RENDER_H
#define MB_CLI_RENDER_H

#include <stdio.h>

#include "core/base/json.h"
#include "core/base/time.h"

/* "22.2 MiB"; out, which is returned, has room for it. */
const char *render_size(const json_t *object, const char *key, char out[MB_SIZE_TEXT]);
/* "2026-11-23 06:44:02Z": to the second, for columns; "-" when there is none. */
const char *render_time(const json_t *object, const char *key, char out[MB_TIME_TEXT]);
double render_number(const json_t *object, const char *key);
/* ": to time T, that is T": what a restore went for; ends the line. */
void render_restore_target(const json_t *restore, FILE *out);
/* "pinned until T: why", in a line; nothing for what has no "pin". */
void render_pinned(const json_t *doc, const char *indent, FILE *out);
/* A line for each of the object's "warnings". */
void render_warnings(const json_t *object, const char *indent, FILE *out);

#endif
