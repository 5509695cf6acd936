/*
 * names.h - a list of names: of files, of blobs.  It owns them; all zero is an empty one.
 */
#ifndef MB_BASE_NAMES_H
#define MB_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct mb_names
{
	char **items; /* in the order of adding, until sorted */
	size_t count;
	size_t cap;
};

void mb_names_add(struct mb_names *names, const char *name, size_t len);
/* By bytes. */
void mb_names_sort(struct mb_names *names);
bool mb_names_has(const struct mb_names *sorted, const char *name);
void mb_names_release(struct mb_names *names);

#endif
