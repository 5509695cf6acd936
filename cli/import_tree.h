/*
 * import_tree.h - members of an archive as files below a directory: configuration, and directories
 * that stand for a bucket.
 *
 * Every name is opened beneath the directory without following links; symbolic links are made at the
 * end, when nothing is written through any name any more.
 */
#ifndef MB_CLI_IMPORT_TREE_H
#define MB_CLI_IMPORT_TREE_H

#include "core/base/mem.h"
#include "core/base/tar.h"

enum import_tree_flags
{
	IMPORT_TREE_REPLACE = 1 /* files that are there */
};

struct import_tree
{
	const char *root; /* borrowed */
	unsigned flags;
	int root_fd;
	/* of the file under way */
	int fd;
	char *path;
	char *part;
	struct mb_tar_member member;
	struct mb_buf links; /* path NUL target NUL ... */
};

/* Makes the directory when it is missing.  import_tree_close in any case. */
enum mb_code import_tree_open(struct import_tree *tree, const char *root, unsigned flags,
							  struct mb_error *err) MB_MUST_CHECK;
/* A file: begin, write, end.  member: mode, uid, gid, mtime; its path is not looked at. */
enum mb_code import_tree_begin(struct import_tree *tree, const char *path,
							   const struct mb_tar_member *member,
							   struct mb_error *err) MB_MUST_CHECK;
enum mb_code import_tree_write(struct import_tree *tree, const void *data, size_t len,
							   struct mb_error *err) MB_MUST_CHECK;
enum mb_code import_tree_end(struct import_tree *tree, struct mb_error *err) MB_MUST_CHECK;
enum mb_code import_tree_directory(struct import_tree *tree, const char *path,
								   const struct mb_tar_member *member,
								   struct mb_error *err) MB_MUST_CHECK;
void import_tree_symlink(struct import_tree *tree, const char *path, const char *target);
enum mb_code import_tree_hard_link(struct import_tree *tree, const char *path, const char *target,
								   struct mb_error *err) MB_MUST_CHECK;
/* Links, and everything durable. */
enum mb_code import_tree_finish(struct import_tree *tree, struct mb_error *err) MB_MUST_CHECK;
void import_tree_close(struct import_tree *tree);

#endif
