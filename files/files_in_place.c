/*
 * files_in_place.c - files restored over those that are there.
 *
 * Only the files that this component would capture are moved aside, each under its own path: what
 * `exclude` leaves out, directories, and files whose secrets the backup has masked stay where
 * they are.  A file that is in none of the configured paths any more stands for its own directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "files/files_private.h"

struct looking
{
	struct mb_restore *restore;
	struct mb_holdings *holdings;
	struct mb_names roots;  /* that the configured paths lead to, below "/" */
	struct mb_names bases;  /* absolute directories under which files are kept together */
	struct mb_names put;    /* below "/" */
	struct mb_names there;  /* likewise */
	struct mb_names masked; /* sorted: those stay */
};

/* -- which files ------------------------------------------------------------------------------------- */

static bool
select_masked(void *ctx, const struct mb_entry *entry, struct mb_buf *name, int *dir_fd)
{
	(void) ctx;
	(void) name;
	(void) dir_fd;
	return (entry->flags & MB_ENTRY_MASKED) != 0;
}

static void
add_base(struct looking *looking, const char *path)
{
	size_t i;

	for (i = 0; i < looking->bases.count; i++)
		if (strcmp(looking->bases.items[i], path) == 0)
			return;
	mb_names_add(&looking->bases, path, strlen(path));
}

/* Each directory that a configured path leads to; also one that is gone altogether, which will be again. */
static void
find_bases(struct looking *looking, const struct mb_settings *settings)
{
	struct stat st;
	char *path;
	size_t i;

	for (i = 0; i < looking->roots.count; i++)
	{
		char *absolute = mb_asprintf("/%s", looking->roots.items[i]);

		if (lstat(absolute, &st) == 0 && S_ISDIR(st.st_mode))
			add_base(looking, absolute);
		free(absolute);
	}
	for (i = 0; (path = mb_settings_list(settings, "paths", i)); i++)
	{
		if (lstat(path, &st) != 0 && !strpbrk(path, "*?[\\") && path[strlen(path) - 1] != '/')
			add_base(looking, path);
		free(path);
	}
}

/* -- by directory ------------------------------------------------------------------------------------- */

/* The directory that a file is kept under, and its name there. */
static struct mb_safety *
place_of(struct looking *looking, const char *name, const char **rest)
{
	char *absolute = mb_asprintf("/%s", name), *base = NULL;
	struct mb_safety *safety = NULL;
	size_t i;

	for (i = 0; i < looking->bases.count && !base; i++)
	{
		size_t len = strlen(looking->bases.items[i]);

		if (strncmp(absolute, looking->bases.items[i], len) == 0 && absolute[len] == '/')
			base = mb_strdup(looking->bases.items[i]);
	}
	if (!base)
		base = mb_strndup(absolute, (size_t) (strrchr(absolute, '/') - absolute));
	*rest = name + strlen(base);
	for (i = 0; i < looking->holdings->count && !safety; i++)
		if (strcmp(looking->holdings->items[i]->path, base) == 0)
			safety = looking->holdings->items[i];
	if (!safety)
	{
		safety = mb_safety_new(base, NULL, MB_SAFETY_STAYS);
		safety->is_list = true;
		mb_holdings_add(looking->holdings, safety);
	}
	free(base);
	free(absolute);
	return safety;
}

static void
sort_in(struct looking *looking)
{
	const char *rest;
	size_t i;

	for (i = 0; i < looking->there.count; i++)
		if (files_is_wanted(looking->restore, looking->there.items[i]) &&
			!mb_names_has(&looking->masked, looking->there.items[i]))
		{
			struct mb_safety *safety = place_of(looking, looking->there.items[i], &rest);

			mb_names_add(&safety->keep, rest, strlen(rest));
		}
	for (i = 0; i < looking->put.count; i++)
	{
		struct mb_safety *safety = place_of(looking, looking->put.items[i], &rest);

		mb_names_add(&safety->put, rest, strlen(rest));
	}
}

enum mb_code
mb_files_holds(struct mb_component *component, struct mb_restore *restore,
			   struct mb_holdings *holdings, struct mb_error *err)
{
	struct looking looking = {.restore = restore, .holdings = holdings};
	enum mb_code code;
	int root_fd;

	if (!restore->own_place)
	{
		unsigned wishes =
			restore->wishes->flags & MB_RESTORE_DELTA ? MB_SAFETY_IS_USED : MB_SAFETY_STAYS;

		mb_holdings_add(holdings, mb_safety_new(restore->destination, NULL, wishes));
		return MB_OK;
	}
	root_fd = mb_open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (root_fd < 0)
		return mb_fail_errno(err, errno, "could not open \"/\"");
	code = mb_restore_names(restore, select_masked, NULL, &looking.masked, err);
	mb_names_sort(&looking.masked);
	if (!code)
		code = files_names(restore, &looking.put, err);
	if (!code)
		code = files_walk((struct files_component *) component, root_fd, &looking.roots,
						  &looking.there, err);
	if (!code)
	{
		find_bases(&looking, component->settings);
		sort_in(&looking);
	}
	mb_names_release(&looking.roots);
	mb_names_release(&looking.bases);
	mb_names_release(&looking.put);
	mb_names_release(&looking.there);
	mb_names_release(&looking.masked);
	close(root_fd);
	return code;
}

/* -- afterwards ----------------------------------------------------------------------------------------- */

enum mb_code
mb_files_health(struct mb_component *component, struct mb_restore *restore, struct mb_error *err)
{
	struct mb_names names = {0};
	enum mb_code code = MB_OK;
	size_t i;

	(void) component;
	if (!restore)
		return MB_OK;
	code = files_names(restore, &names, err);
	for (i = 0; !code && i < names.count; i++)
	{
		char *path =
			mb_asprintf("%s/%s", restore->destination ? restore->destination : "", names.items[i]);

		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
			code = mb_fail(err, MB_NEGATIVE, "\"%s\" is not there", path);
		free(path);
	}
	mb_names_release(&names);
	if (!code)
		mb_json_set_str(restore->result, "health", "all files are there");
	return code;
}
