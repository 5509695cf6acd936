/* names.c - see names.h. */
#include "core/base/names.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"

void
mb_names_add(struct mb_names *names, const char *name, size_t len)
{
	names->items = mb_grow(names->items, &names->cap, names->count + 1, sizeof(*names->items));
	names->items[names->count++] = mb_strndup(name, len);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

void
mb_names_sort(struct mb_names *names)
{
	if (names->count > 1)
		qsort(names->items, names->count, sizeof(*names->items), compare);
}

bool
mb_names_has(const struct mb_names *sorted, const char *name)
{
	return sorted->count > 0 &&
		   bsearch(&name, sorted->items, sorted->count, sizeof(*sorted->items), compare) != NULL;
}

void
mb_names_release(struct mb_names *names)
{
	while (names->count > 0)
		free(names->items[--names->count]);
	free(names->items);
	memset(names, 0, sizeof(*names));
}
