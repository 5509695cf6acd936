/* attributes.c - see attributes.h. */
#include "core/engine/attributes.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIST_MAX_BYTES XATTR_LIST_MAX
#define VALUE_MAX_BYTES XATTR_SIZE_MAX
#define READ_TRIES 3

/* fgetxattr() refuses O_PATH; the name in /proc leads to the very file, also to a link. */
static void
proc_name(char out[64], int fd)
{
	snprintf(out, 64, "/proc/self/fd/%d", fd);
}

static bool
is_kept(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0 ||
		   strcmp(name, "system.posix_acl_access") == 0 ||
		   strcmp(name, "system.posix_acl_default") == 0 ||
		   (strncmp(name, "trusted.", 8) == 0 && geteuid() == 0);
}

static bool
is_without(int saved_errno)
{
	return saved_errno == ENOTSUP || saved_errno == ENOSYS || saved_errno == ENODATA;
}

struct names
{
	char *text; /* name NUL name NUL ... */
	char **items;
	size_t count;
};

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
release_names(struct names *names)
{
	free(names->text);
	free(names->items);
}

/* The names that we keep, sorted.  -1 and errno when they cannot be listed. */
static int
list_names(const char *proc, struct names *names)
{
	size_t cap = 0;
	ssize_t len;
	char *p;

	*names = (struct names){.text = mb_malloc(LIST_MAX_BYTES)};
	len = listxattr(proc, names->text, LIST_MAX_BYTES);
	if (len < 0)
		return is_without(errno) ? 0 : -1;
	for (p = names->text; p < names->text + len; p += strlen(p) + 1)
		if (is_kept(p))
		{
			names->items = mb_grow(names->items, &cap, names->count + 1, sizeof(names->items[0]));
			names->items[names->count++] = p;
		}
	if (names->count > 1)
		qsort(names->items, names->count, sizeof(names->items[0]), compare_names);
	return 0;
}

static void
put_attribute(struct mb_buf *out, const char *name, const void *value, size_t len)
{
	size_t name_len = strlen(name);

	mb_buf_put_u16(out, (uint16_t) name_len);
	mb_buf_put(out, name, name_len);
	mb_buf_put_u32(out, (uint32_t) len);
	mb_buf_put(out, value, len);
}

enum mb_code
mb_attributes_read(struct mb_buf *out, int fd, const char *path, unsigned *left_out,
				   struct mb_error *err)
{
	size_t start = out->len, i;
	unsigned char *value = NULL;
	enum mb_code code = MB_OK;
	struct names names;
	char proc[64];

	*left_out = 0;
	proc_name(proc, fd);
	if (list_names(proc, &names) != 0)
		code = mb_fail_errno(err, errno, "could not list the attributes of \"%s\"", path);
	if (!code && names.count > 0)
		value = mb_malloc(VALUE_MAX_BYTES);
	for (i = 0; !code && i < names.count; i++)
	{
		ssize_t len = getxattr(proc, names.items[i], value, VALUE_MAX_BYTES);

		if (len < 0 && is_without(errno))
			continue; /* removed since it was listed */
		if (len < 0)
			code = mb_fail_errno(err, errno, "could not read attribute %s of \"%s\"",
								 names.items[i], path);
		else if (out->len - start + strlen(names.items[i]) + (size_t) len + 6 >
				 MB_ATTRIBUTES_MAX_BYTES)
			(*left_out)++;
		else
			put_attribute(out, names.items[i], value, (size_t) len);
	}
	free(value);
	release_names(&names);
	return code;
}

/* -- writing ---------------------------------------------------------------------------------- */

static bool
has_name(const unsigned char *data, size_t len, const char *name)
{
	struct mb_rd rd = mb_rd_init(data, len);
	size_t wanted = strlen(name);

	while (mb_rd_left(&rd) > 0 && !rd.bad)
	{
		size_t name_len = mb_rd_u16(&rd);
		const unsigned char *at = mb_rd_bytes(&rd, name_len);

		if (at && name_len == wanted && memcmp(at, name, wanted) == 0)
			return true;
		mb_rd_bytes(&rd, mb_rd_u32(&rd));
	}
	return false;
}

static void
remove_others(const unsigned char *data, size_t len, const char *proc, mb_attribute_failed failed,
			  void *ctx)
{
	struct names names;
	size_t i;

	if (list_names(proc, &names) == 0)
		for (i = 0; i < names.count; i++)
			if (!has_name(data, len, names.items[i]) && removexattr(proc, names.items[i]) != 0 &&
				!is_without(errno))
				failed(ctx, names.items[i], errno);
	release_names(&names);
}

void
mb_attributes_write(const unsigned char *data, size_t len, int fd, unsigned flags,
					mb_attribute_failed failed, void *ctx)
{
	struct mb_rd rd = mb_rd_init(data, len);
	char proc[64];

	proc_name(proc, fd);
	if (flags & MB_ATTRIBUTES_EXACT)
		remove_others(data, len, proc, failed, ctx);
	while (mb_rd_left(&rd) > 0)
	{
		size_t name_len = mb_rd_u16(&rd);
		const unsigned char *at = mb_rd_bytes(&rd, name_len);
		uint32_t value_len = mb_rd_u32(&rd);
		const unsigned char *value = mb_rd_bytes(&rd, value_len);
		char *name;

		if (rd.bad)
			return; /* cannot be: the record's decoder has looked */
		name = mb_strndup((const char *) at, name_len);
		if (setxattr(proc, name, value, value_len, 0) != 0)
			failed(ctx, name, errno);
		free(name);
	}
}
