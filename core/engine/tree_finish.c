/*
 * tree_finish.c - what follows when the contents of a tree are written: owners, extended
 * attributes, modes and times, and the names that lead to something.
 *
 * The order matters: a change of the owner takes capabilities and setuid bits away, an ACL may take
 * the setgid bit, and anything changes the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/attributes.h"
#include "core/engine/tree_private.h"

#define MAX_NAMED 20 /* files whose attributes could not be set */

enum mb_code
mb_tree_open_parent(int dir_fd, const char *name, int *parent_fd, const char **base,
					struct mb_error *err)
{
	const char *slash = strrchr(name, '/');
	enum mb_code code = MB_OK;

	*parent_fd = dir_fd;
	*base = slash ? slash + 1 : name;
	if (slash)
	{
		char *parent = mb_strndup(name, (size_t) (slash - name));

		code = mb_open_beneath(parent_fd, dir_fd, parent, O_PATH | O_DIRECTORY, 0, err);
		free(parent);
	}
	return code;
}

void
mb_tree_close_parent(int dir_fd, int parent_fd)
{
	if (parent_fd != dir_fd)
		close(parent_fd);
}

/* The owner by name where the name is known here, else by id. */
static void
owner_of(const struct mb_entry *entry, uid_t *uid, gid_t *gid)
{
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;

	if (entry->user)
		getpwnam_r(entry->user, &pw, buf, sizeof(buf), &pw_found);
	*uid = pw_found ? pw_found->pw_uid : entry->uid;
	if (entry->group)
		getgrnam_r(entry->group, &gr, buf, sizeof(buf), &gr_found);
	*gid = gr_found ? gr_found->gr_gid : entry->gid;
}

/* The modification time; before 1970 the seconds are negative and the nanoseconds are not. */
static enum mb_code
set_time(int parent_fd, const char *base, int64_t mtime_ns)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

	times[1].tv_sec = mtime_ns / 1000000000;
	times[1].tv_nsec = mtime_ns % 1000000000;
	if (times[1].tv_nsec < 0)
	{
		times[1].tv_sec--;
		times[1].tv_nsec += 1000000000;
	}
	return utimensat(parent_fd, base, times, AT_SYMLINK_NOFOLLOW) != 0 ? MB_IO : MB_OK;
}

/* -- attributes -------------------------------------------------------------------------------- */

struct attribute_target
{
	struct mb_tree_run *tree;
	const char *name;
};

static void
not_set(void *ctx, const char *attribute, int saved_errno)
{
	struct attribute_target *target = ctx;

	if (target->tree->not_set++ < MAX_NAMED)
		mb_restore_warn(target->tree->restore, "could not set attribute %s of \"%s\": %s",
						attribute, target->name, strerror(saved_errno));
}

void
mb_tree_tell_not_set(struct mb_tree_run *tree)
{
	if (tree->not_set > MAX_NAMED)
		mb_restore_warn(tree->restore, "... and %llu further attributes could not be set",
						(unsigned long long) tree->not_set - MAX_NAMED);
}

/* Exactly those: a directory with a default ACL gives one to what is made in it. */
static void
set_attributes(struct mb_tree_run *tree, int fd, const struct mb_tree_item *item)
{
	struct attribute_target target = {tree, item->name};

	if (tree->spec->flags & MB_TREE_ATTRIBUTES)
		mb_attributes_write(item->entry.xattrs, item->entry.xattrs_len, fd, MB_ATTRIBUTES_EXACT,
							not_set, &target);
}

/* -- owners and modes --------------------------------------------------------------------------- */

/* A program that ran as its owner must not run as somebody else who happens to restore it. */
static mode_t
mode_of(struct mb_tree_run *tree, const struct mb_tree_item *item, const struct stat *st)
{
	mode_t mode = item->entry.mode & 07777;
	bool is_others = (tree->spec->flags & MB_TREE_OWNER) && !tree->is_root &&
					 item->entry.type == MB_ENTRY_FILE &&
					 (((mode & S_ISUID) && item->entry.uid != st->st_uid) ||
					  ((mode & S_ISGID) && item->entry.gid != st->st_gid));

	if (!is_others)
		return mode;
	mb_restore_warn(tree->restore, "\"%s\" belongs to you now: it is not setuid or setgid any more",
					item->name);
	return mode & ~(mode_t) (S_ISUID | S_ISGID);
}

/*
 * Owner, attributes and mode of what is open (O_PATH): in a delta the directories belong to somebody
 * who may swap names for links meanwhile, and as root we must change nothing that they lead to.
 */
static const char *
set_owner_and_mode(struct mb_tree_run *tree, int fd, const struct mb_tree_item *item)
{
	const struct mb_entry *entry = &item->entry;
	char proc[64];
	struct stat st;
	mode_t mode;
	uid_t uid;
	gid_t gid;

	if (fstat(fd, &st) != 0)
		return "state";
	if ((tree->spec->flags & MB_TREE_OWNER) && tree->is_root)
	{
		owner_of(entry, &uid, &gid);
		if ((st.st_uid != uid || st.st_gid != gid) &&
			fchownat(fd, "", uid, gid, AT_EMPTY_PATH) != 0)
			return "owner";
	}
	set_attributes(tree, fd, item);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (entry->type == MB_ENTRY_SYMLINK || fstat(fd, &st) != 0 || S_ISLNK(st.st_mode))
		return NULL;
	mode = mode_of(tree, item, &st);
	return (st.st_mode & 07777) != mode && chmod(proc, mode) != 0 ? "mode" : NULL;
}

enum mb_code
mb_tree_finish_item(struct mb_tree_run *tree, const struct mb_tree_item *item, struct mb_error *err)
{
	const char *base, *what = NULL;
	enum mb_code code;
	int parent_fd, fd;

	code = mb_tree_open_parent(item->dir_fd, item->name, &parent_fd, &base, err);
	if (code)
		return code;
	fd = mb_openat(parent_fd, base, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		what = "owner";
	else
		what = set_owner_and_mode(tree, fd, item);
	if (!what && (tree->spec->flags & MB_TREE_TIMES) &&
		set_time(parent_fd, base, item->entry.mtime_ns))
		what = "time";
	if (what)
		code = mb_fail_errno(err, errno, "could not set the %s of \"%s\"", what, item->name);
	if (fd >= 0)
		close(fd);
	mb_tree_close_parent(item->dir_fd, parent_fd);
	return code;
}

/* -- links --------------------------------------------------------------------------------------- */

/* A hard link's target is a name of ours: open it safely, then link the open file. */
static enum mb_code
make_hard_link(const struct mb_tree_run *tree, const struct mb_tree_item *item, int parent_fd,
			   const char *base, struct mb_error *err)
{
	const char *target = item->entry.link_target;
	enum mb_code code;
	char proc[64];
	int fd;

	if (tree->spec->link_to)
		target = tree->spec->link_to(tree->spec->ctx, &item->entry);
	code = mb_open_beneath(&fd, item->dir_fd, target, O_PATH, 0, err);
	if (code)
		return code;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, parent_fd, base, AT_SYMLINK_FOLLOW) != 0)
		code = mb_fail_errno(err, errno, "could not create link \"%s\"", item->name);
	close(fd);
	return code;
}

enum mb_code
mb_tree_make_link(struct mb_tree_run *tree, const struct mb_tree_item *item, struct mb_error *err)
{
	const char *base;
	enum mb_code code;
	int parent_fd;

	if (!item->entry.link_target)
		return mb_fail(err, MB_CORRUPT, "link \"%s\" has no target", item->name);
	code = mb_tree_open_parent(item->dir_fd, item->name, &parent_fd, &base, err);
	if (code)
		return code;
	if (item->entry.type == MB_ENTRY_HARDLINK)
		code = make_hard_link(tree, item, parent_fd, base, err);
	else if (symlinkat(item->entry.link_target, parent_fd, base) != 0)
		code = mb_fail_errno(err, errno, "could not create link \"%s\"", item->name);
	mb_tree_close_parent(item->dir_fd, parent_fd);
	return code;
}
