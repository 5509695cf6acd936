/* stack_space.c - see stack_restore_private.h: is there room for what comes, beside what is kept? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "core/base/time.h"
#include "core/engine/stack_restore_private.h"

#define MAX_FILESYSTEMS 64

struct filesystem
{
	dev_t device;
	char *path; /* one that is there */
	uint64_t needed;
	uint64_t freed;
};

/* The filesystem of a path, or of the first directory above it that is there. */
static struct filesystem *
filesystem_of(struct filesystem *list, size_t *count, const char *path)
{
	char *at = mb_strdup(path);
	struct stat st;
	size_t i;

	while (stat(at, &st) != 0)
	{
		char *slash = strrchr(at, '/');

		if (!slash || strcmp(at, "/") == 0)
		{
			free(at);
			return NULL;
		}
		slash[slash == at] = '\0';
	}
	for (i = 0; i < *count && list[i].device != st.st_dev; i++)
		;
	if (i == *count && *count < MAX_FILESYSTEMS)
	{
		list[i] = (struct filesystem){.device = st.st_dev, .path = at};
		(*count)++;
		return &list[i];
	}
	free(at);
	return i < *count ? &list[i] : NULL;
}

static void
add_needs(const struct mb_restoration *run, struct filesystem *list, size_t *count)
{
	size_t i, j;

	for (i = 0; i < run->session.stack.count; i++)
	{
		const struct mb_restore *part = &run->session.parts[i];
		const json_t *space = json_object_get(part->plan, "space");
		struct filesystem *fs = NULL;

		for (j = 0; j < json_array_size(space); j++)
		{
			const json_t *one = json_array_get(space, j);

			fs = filesystem_of(list, count, mb_json_str(one, "path", "/"));
			/* A delta has counted what it frees itself. */
			if (fs && !mb_json_bool(part->plan, "delta", false))
				fs->needed += (uint64_t) mb_json_int(one, "needed", 0);
		}
		for (j = 0; !space && j < run->place_count; j++)
			if (strcmp(run->places[j].component, part->component) == 0)
			{
				fs = filesystem_of(list, count, run->places[j].safety->path);
				if (fs)
					fs->needed += part->commit.bytes;
				break;
			}
	}
	for (j = 0; j < run->place_count; j++)
	{
		const struct mb_safety *safety = run->places[j].safety;
		struct filesystem *fs = filesystem_of(list, count, safety->path);

		if (fs && safety->method == MB_SAFETY_NONE && !(safety->wishes & MB_SAFETY_IS_USED))
			fs->freed += safety->bytes;
	}
}

enum mb_code
mb_restoration_check_space(struct mb_restoration *run, struct mb_error *err)
{
	struct filesystem list[MAX_FILESYSTEMS];
	json_t *space = json_array();
	enum mb_code code = MB_OK;
	size_t count = 0, i;

	add_needs(run, list, &count);
	for (i = 0; i < count; i++)
	{
		char want[MB_SIZE_TEXT], have[MB_SIZE_TEXT];
		struct statvfs fs;
		uint64_t available;

		if (!code && statvfs(list[i].path, &fs) != 0)
			code = mb_fail_errno(err, errno, "could not look at the filesystem of \"%s\"",
								 list[i].path);
		if (!code)
		{
			available = (uint64_t) fs.f_bavail * fs.f_frsize + list[i].freed;
			json_array_append_new(space, json_pack("{s:s, s:I, s:I}", "path", list[i].path,
												   "needed", (json_int_t) list[i].needed,
												   "available", (json_int_t) available));
			mb_size_format(want, list[i].needed);
			mb_size_format(have, available);
			if (list[i].needed > available)
			{
				code = mb_fail(err, MB_NO_SPACE,
							   "the restore needs %s on the filesystem of \"%s\", %s are available",
							   want, list[i].path, have);
				mb_error_hint(err, "What is there now is kept beside it. Make room, restore "
								   "elsewhere, or give it up with --no-snapshot.");
			}
		}
		free(list[i].path);
	}
	json_object_set_new(run->plan, "space", space);
	return code;
}
