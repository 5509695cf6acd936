/* files_check.c - what `check` says of paths: there, readable, and all that is below them. */
#include <errno.h>
#include <fts.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/process.h"
#include "core/engine/check.h"
#include "files/files_private.h"
#include "files/paths.h"

/* A tree may be large, and check is run often: so many names are looked at. */
#define LOOK_AT_MOST 20000

static char *
read_fix(const char *path)
{
	char *word = mb_shell_word(path);
	const struct passwd *who = getpwuid(geteuid());
	char *fix = mb_asprintf("sudo setfacl -R -m u:%s:rX %s", who ? who->pw_name : "mbackup", word);

	free(word);
	return fix;
}

/* Below a root that can be read: what cannot be, the first of it. */
static void
check_below(const struct files_component *files, const char *root, struct mb_checks *checks)
{
	char *roots[] = {(char *) (uintptr_t) root, NULL};
	FTS *walk =
		fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | (files->stays_on_filesystem ? FTS_XDEV : 0),
				 NULL);
	size_t seen = 0, closed = 0;
	char *first = NULL;
	FTSENT *entry;

	while (walk && seen < LOOK_AT_MOST && (entry = fts_read(walk)) != NULL)
	{
		bool is_directory = entry->fts_info == FTS_D || entry->fts_info == FTS_DNR;

		if (entry->fts_info == FTS_DP)
			continue;
		seen++;
		if (mb_patterns_match(&files->exclude, entry->fts_path + 1,
							  is_directory ? MB_PATH_DIRECTORY : MB_PATH_OTHER))
			fts_set(walk, entry, FTS_SKIP);
		else if (entry->fts_info == FTS_DNR ||
				 (entry->fts_info == FTS_F && access(entry->fts_accpath, R_OK) != 0))
		{
			closed++;
			if (!first)
				first = mb_strdup(entry->fts_path);
		}
	}
	if (walk)
		fts_close(walk);
	if (closed > 0)
		mb_check_add_fix(checks, MB_CHECK_WARNING, files->base.name, "unreadable", read_fix(first),
						 "%zu files or directories below %s cannot be read, such as %s: they are "
						 "in "
						 "no backup",
						 closed, root, first);
	else
		mb_check_add(checks, MB_CHECK_OK, files->base.name, "unreadable", "",
					 "what is below %s can be read", root);
	free(first);
}

enum mb_code
mb_files_check(struct mb_component *component, struct mb_checks *checks, struct mb_error *err)
{
	struct files_component *files = (struct files_component *) component;
	enum mb_code code = MB_OK;
	char *path;
	size_t i;

	for (i = 0; !code && (path = mb_settings_list(component->settings, "paths", i)); i++)
	{
		struct mb_roots roots = {0};
		char *root;
		size_t found;

		code = mb_roots_add(&roots, path, &files->exclude, &found, err);
		root = !code && found ? mb_asprintf("/%s", roots.items[0]) : NULL;
		if (!code && found == 0 && roots.unreadable)
			mb_check_add_fix(checks, MB_CHECK_FAILED, component->name, "path",
							 read_fix(roots.unreadable), "%s cannot be looked at",
							 roots.unreadable);
		else if (!code && found == 0)
			mb_check_add_fix(checks, MB_CHECK_WARNING, component->name, "path",
							 mb_asprintf("mkdir -p %s, or paths without it in its section", path),
							 "there is nothing at %s", path);
		else if (!code && access(root, R_OK) != 0)
			mb_check_add_fix(checks, MB_CHECK_FAILED, component->name, "path", read_fix(root),
							 "%s cannot be read: %s", path, strerror(errno));
		else if (!code)
		{
			mb_check_add(checks, MB_CHECK_OK, component->name, "path", "", "%s can be read", path);
			mb_check_same_disk(component->env, root, checks);
			check_below(files, root, checks);
		}
		free(root);
		mb_roots_release(&roots);
		free(path);
	}
	if (!files->is_masking && component->env->repo->suite == MB_SUITE_NONE)
		mb_check_add(checks, MB_CHECK_FAILED, component->name, "secrets",
					 "secrets = mask in its section",
					 "secrets = include needs an encrypted repository");
	return code;
}
