/* data_directory.c - see data_directory.h. */
#include "postgres/data_directory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/mem.h"
#include "core/base/names.h"

#define BLOCKS_PER_SEGMENT 131072u /* RELSEG_SIZE of every released build: 1 GiB */
#define MAX_DEPTH 32

/* Top-level directories whose contents mean nothing after a restore. */
static const char *const emptied[] = {"pg_wal",    "pg_replslot",  "pg_dynshmem", "pg_notify",
									  "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"};
static const char *const excluded_top[] =
	{"postmaster.pid",   "postmaster.opts",  "postgresql.auto.conf.tmp", "current_logfiles.tmp",
	 "backup_label",     "backup_label.old", "tablespace_map",           "tablespace_map.old",
	 "backup_manifest",  "recovery.signal",  "standby.signal",           "mbackup_restore.json",
	 "mbackup_start.log"};

static bool
is_listed(const char *name, const char *const *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}
#define IS_LISTED(name, list) is_listed(name, list, sizeof(list) / sizeof(*(list)))

static const char *
take_digits(const char *p, uint32_t *value)
{
	uint64_t v = 0;
	const char *start = p;

	for (; isdigit((unsigned char) *p) && p - start < 10; p++)
		v = v * 10 + (uint64_t) (*p - '0');
	if (p == start || v > UINT32_MAX || isdigit((unsigned char) *p))
		return NULL;
	*value = (uint32_t) v;
	return p;
}

uint32_t
mb_pg_first_block(const struct mb_pg_relation_name *name)
{
	return name->segment * BLOCKS_PER_SEGMENT;
}

bool
mb_pg_relation_parse(struct mb_pg_relation_name *out, const char *name)
{
	static const struct
	{
		const char *suffix;
		enum mb_pg_fork fork;
	} forks[] = {{"_fsm", MB_PG_FORK_FSM}, {"_vm", MB_PG_FORK_VM}, {"_init", MB_PG_FORK_INIT}};
	struct mb_pg_relation_name made = {0};
	const char *p = name;
	uint32_t backend;
	size_t i;

	if (*p == 't')
	{
		p = take_digits(p + 1, &backend);
		if (!p || *p++ != '_')
			return false;
		made.temporary = true;
	}
	p = take_digits(p, &made.number);
	if (!p)
		return false;
	for (i = 0; i < sizeof(forks) / sizeof(*forks); i++)
		if (mb_starts_with(p, forks[i].suffix))
		{
			made.fork = forks[i].fork;
			p += strlen(forks[i].suffix);
			break;
		}
	if (*p == '.')
	{
		p = take_digits(p + 1, &made.segment);
		if (!p)
			return false;
	}
	if (*p != '\0')
		return false;
	*out = made;
	return true;
}

/* -- one directory's names -------------------------------------------------------------------- */

/* A directory that vanishes meanwhile (DROP DATABASE) is an empty one. */
static enum mb_code
read_names(struct mb_names *names, const char *path, struct mb_error *err)
{
	DIR *dir = mb_opendir(path);
	struct dirent *entry;
	enum mb_code code = MB_OK;

	if (!dir)
		return errno == ENOENT ? MB_OK
							   : mb_fail_errno(err, errno, "could not open directory \"%s\"", path);
	for (errno = 0; (entry = readdir(dir)); errno = 0)
	{
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		mb_names_add(names, entry->d_name, strlen(entry->d_name));
	}
	if (errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	closedir(dir);
	mb_names_sort(names);
	return code;
}

static bool
has_init_fork(const struct mb_names *names, uint32_t number)
{
	char *name = mb_asprintf("%u_init", number);
	bool found = mb_names_has(names, name);

	free(name);
	return found;
}

/* -- the walk ------------------------------------------------------------------------------------ */

struct scan
{
	struct mb_pg_files *files;
	const char *root;
	const char *tablespace_version;
};

static struct mb_pg_file *
add_file(struct scan *scan, const char *path, enum mb_pg_file_kind kind, const struct stat *st)
{
	struct mb_pg_files *files = scan->files;
	struct mb_pg_file *file;

	files->items = mb_grow(files->items, &files->cap, files->count + 1, sizeof(*files->items));
	file = &files->items[files->count++];
	memset(file, 0, sizeof(*file));
	file->path = mb_strdup(path);
	file->kind = kind;
	file->st = *st;
	return file;
}

static void
skip_file(struct scan *scan, const char *path)
{
	struct mb_pg_files *files = scan->files;

	files->skipped =
		mb_grow(files->skipped, &files->skipped_cap, files->skipped_count + 1, sizeof(char *));
	files->skipped[files->skipped_count++] = mb_strdup(path);
}

/* Directories of relations: global, base/<oid>, pg_tblspc/<oid>/<version>/<oid>. */
static bool
holds_relations(const char *dir)
{
	return strcmp(dir, "global") == 0 || mb_starts_with(dir, "base/") ||
		   mb_starts_with(dir, "pg_tblspc/");
}

static void
add_regular(struct scan *scan, const char *dir, const char *name, const char *path,
			const struct mb_names *names, const struct stat *st)
{
	struct mb_pg_relation_name relation;
	struct mb_pg_file *file;

	if (!holds_relations(dir))
	{
		add_file(scan, path, MB_PG_PLAIN, st);
		return;
	}
	if (strcmp(path, "global/pg_control") == 0)
		add_file(scan, path, MB_PG_CONTROL, st);
	else if (!mb_pg_relation_parse(&relation, name))
		add_file(scan, path, MB_PG_PAGED, st);
	else if (!relation.temporary &&
			 (relation.fork == MB_PG_FORK_INIT || !has_init_fork(names, relation.number)))
	{
		file = add_file(scan, path, MB_PG_RELATION, st);
		file->first_block = mb_pg_first_block(&relation);
	}
}

static bool
is_excluded(const struct scan *scan, const char *dir, const char *name)
{
	if (mb_starts_with(name, "pgsql_tmp") || mb_starts_with(name, "pg_internal.init"))
		return true;
	if (*dir == '\0')
		return IS_LISTED(name, excluded_top);
	/* A tablespace may be shared with another major version. */
	if (mb_starts_with(dir, "pg_tblspc/") && !strchr(dir + strlen("pg_tblspc/"), '/'))
		return strcmp(name, scan->tablespace_version) != 0;
	return false;
}

static enum mb_code scan_directory(struct scan *scan, const char *dir, int depth,
								   struct mb_error *err);

/* What a symbolic link stands for: a tablespace, a moved pg_wal, a moved file. */
static enum mb_code
add_link(struct scan *scan, const char *dir, const char *path, const char *full, int depth,
		 const struct mb_names *names, const char *name, struct mb_error *err)
{
	char target[4096];
	struct stat st, link_st;
	ssize_t len;

	if (lstat(full, &link_st) != 0 || stat(full, &st) != 0)
	{
		skip_file(scan, path);
		return MB_OK;
	}
	if (strcmp(dir, "pg_tblspc") == 0 && S_ISDIR(st.st_mode))
	{
		len = readlink(full, target, sizeof(target) - 1);
		if (len <= 0)
			return mb_fail_errno(err, errno, "could not read link \"%s\"", full);
		target[len] = '\0';
		add_file(scan, path, MB_PG_LINK, &link_st)->link = mb_strdup(target);
		return scan_directory(scan, path, depth + 1, err);
	}
	if (strcmp(path, "pg_wal") == 0 && S_ISDIR(st.st_mode))
	{
		add_file(scan, path, MB_PG_DIRECTORY, &st);
		return MB_OK;
	}
	if (S_ISREG(st.st_mode))
		add_regular(scan, dir, name, path, names, &st);
	else
		skip_file(scan, path);
	return MB_OK;
}

static enum mb_code
add_name(struct scan *scan, const char *dir, const struct mb_names *names, const char *name,
		 int depth, struct mb_error *err)
{
	char *path = *dir ? mb_asprintf("%s/%s", dir, name) : mb_strdup(name);
	char *full = mb_path_join(scan->root, path);
	enum mb_code code = MB_OK;
	struct stat st;

	if (is_excluded(scan, dir, name) || mb_starts_with(name, MB_KEPT_PREFIX))
		;
	else if (lstat(full, &st) != 0)
	{
		if (errno != ENOENT)
			code = mb_fail_errno(err, errno, "could not stat \"%s\"", full);
	}
	else if (S_ISLNK(st.st_mode))
		code = add_link(scan, dir, path, full, depth, names, name, err);
	else if (S_ISREG(st.st_mode))
		add_regular(scan, dir, name, path, names, &st);
	else if (S_ISDIR(st.st_mode))
	{
		add_file(scan, path, MB_PG_DIRECTORY, &st);
		if (*dir || !IS_LISTED(name, emptied))
			code = scan_directory(scan, path, depth + 1, err);
	}
	else
		skip_file(scan, path);
	free(full);
	free(path);
	return code;
}

static enum mb_code
scan_directory(struct scan *scan, const char *dir, int depth, struct mb_error *err)
{
	char *full = *dir ? mb_path_join(scan->root, dir) : mb_strdup(scan->root);
	struct mb_names names = {0};
	enum mb_code code;
	size_t i;

	if (depth > MAX_DEPTH)
		code = mb_fail(err, MB_UNSUPPORTED, "directories below \"%s\" are nested too deeply", full);
	else
		code = read_names(&names, full, err);
	for (i = 0; !code && i < names.count; i++)
		code = add_name(scan, dir, &names, names.items[i], depth, err);
	mb_names_release(&names);
	free(full);
	return code;
}

enum mb_code
mb_pg_files_scan(struct mb_pg_files *files, const char *data_directory,
				 const char *tablespace_version, struct mb_error *err)
{
	struct scan scan = {files, data_directory, tablespace_version};

	return scan_directory(&scan, "", 0, err);
}

void
mb_pg_files_release(struct mb_pg_files *files)
{
	size_t i;

	for (i = 0; i < files->count; i++)
	{
		free(files->items[i].path);
		free(files->items[i].link);
	}
	for (i = 0; i < files->skipped_count; i++)
		free(files->skipped[i]);
	free(files->items);
	free(files->skipped);
	memset(files, 0, sizeof(*files));
}
