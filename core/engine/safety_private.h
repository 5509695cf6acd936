/* safety_private.h - what safety.c, safety_back.c, safety_files.c and safety_clone.c share. */
#ifndef MB_ENGINE_SAFETY_PRIVATE_H
#define MB_ENGINE_SAFETY_PRIVATE_H

#include "core/engine/safety.h"

/* rename(2) that never replaces; a name that is gone is MB_NOT_FOUND. */
enum mb_code mb_rename_new(int from_fd, const char *from, int to_fd, const char *to,
						   struct mb_error *err) MB_MUST_CHECK;
/* Open the directory itself, never by a link; refused when it is another one. */
enum mb_code mb_safety_open(const struct mb_safety *safety, int *fd,
							struct mb_error *err) MB_MUST_CHECK;
/* safety->kept as it is called while it is put back: "-old-" becomes word; free() it. */
char *mb_safety_other(const struct mb_safety *safety, const char *word);
/* The last part of an absolute path, borrowed. */
const char *mb_safety_base(const char *path);
/* The names in a directory, all at once: it is changed while they are gone through. */
enum mb_code mb_safety_read(int dir_fd, const char *path, struct mb_names *names,
							struct mb_error *err) MB_MUST_CHECK;
/* One directory in another, made when missing, opened without following. */
enum mb_code mb_open_or_make(int dir_fd, const char *name, int *fd,
							 struct mb_error *err) MB_MUST_CHECK;
/* The directory that an absolute path stands in. */
enum mb_code mb_safety_open_above(const char *path, int *fd, struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_safety_sync(int fd, const char *path, struct mb_error *err) MB_MUST_CHECK;
/*
 * Names of one directory into another (only: this one); what has gone before is not there any more.
 * from is its path, for errors.
 */
enum mb_code mb_safety_move_names(int from_fd, const char *from, int to_fd, const char *only,
								  struct mb_error *err) MB_MUST_CHECK;

/* safety_files.c */
/* The files of safety->keep from one directory into another, under the same names. */
enum mb_code mb_safety_files_move(const struct mb_safety *safety, int from_fd, int to_fd,
								  struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_safety_files_clear(const struct mb_safety *safety,
								   struct mb_error *err) MB_MUST_CHECK;
enum mb_code mb_safety_files_put_back(const struct mb_safety *safety,
									  struct mb_error *err) MB_MUST_CHECK;

/* safety_clone.c: can files of this directory share blocks? */
bool mb_can_clone(int dir_fd);
/* Copy a tree into a new one by sharing blocks; what is left of an earlier try is removed first. */
enum mb_code mb_clone_tree(int from_fd, const char *to, struct mb_error *err) MB_MUST_CHECK;

#endif
