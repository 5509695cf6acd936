/* reference.c - see reference.h. */
#include "objectstore/reference.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/replace.h"
#include "objectstore/bucket_listing.h"

struct mb_reference_check
{
	struct mb_component *component;
	/* a bucket ... */
	struct mb_bucket_listing *listing;
	const struct mb_listed_key *key;
	/* ... or a directory */
	int dir_fd;
	struct mb_names files;
	size_t at;
	/* what was found */
	char *last; /* the key that the last row named */
	uint64_t rows;
	uint64_t dangling;
	uint64_t mismatched;
	uint64_t ambiguous;
	uint64_t orphaned;
	json_t *examples;
};

static const char *
url_of(const struct mb_component *component)
{
	const char *url = mb_settings_get(component->settings, "url");

	return url ? url : "";
}

bool
mb_reference_is_bucket(const struct mb_component *component, const char *name)
{
	const char *url = url_of(component), *slash;
	size_t len = strlen(name);

	if (strcmp(component->ops->kind, "objects") != 0)
		return false;
	if (strcmp(component->name, name) == 0 || strcmp(url, name) == 0)
		return true;
	if (mb_starts_with(url, "s3://"))
		return strncmp(url + 5, name, len) == 0 && (url[5 + len] == '\0' || url[5 + len] == '/');
	slash = strrchr(url, '/');
	return slash && strcmp(slash + 1, name) == 0;
}

/* -- what there is, key by key ----------------------------------------------------------------------- */

static bool
is_any(void *ctx, const char *path, const struct stat *st)
{
	(void) ctx;
	(void) path;
	(void) st;
	return true;
}

static enum mb_code
advance(struct mb_reference_check *check, struct mb_error *err)
{
	if (check->dir_fd >= 0)
	{
		check->at++;
		return MB_OK;
	}
	return mb_bucket_listing_next(check->listing, &check->key, err);
}

/* The key that stands next, NULL at the end. */
static const char *
current(const struct mb_reference_check *check)
{
	if (check->dir_fd >= 0)
		return check->at < check->files.count ? check->files.items[check->at] : NULL;
	return check->key ? check->key->key : NULL;
}

/* A key whose newest version is a delete marker is gone. */
static bool
is_there(const struct mb_reference_check *check)
{
	return check->dir_fd >= 0 || !check->key->versions[0].is_marker;
}

enum mb_code
mb_reference_check_begin(struct mb_reference_check **out, struct mb_component *component,
						 struct mb_error *err)
{
	struct mb_reference_check *check = mb_calloc(1, sizeof(*check));
	const char *url = url_of(component);
	enum mb_code code;

	*out = check;
	check->component = component;
	check->examples = json_array();
	check->dir_fd = -1;
	if (mb_starts_with(url, "file://"))
	{
		check->dir_fd = mb_open(url + strlen("file://"), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
		if (check->dir_fd < 0)
			return mb_fail(err, MB_UNREACHABLE, "directory \"%s\" cannot be read", url);
		code = mb_walk_names(check->dir_fd, "", is_any, NULL, &check->files, err);
		mb_names_sort(&check->files);
		return code;
	}
	code = mb_bucket_connect((struct mb_bucket *) component, err);
	if (code)
		return code;
	{
		struct mb_bucket *bucket = (struct mb_bucket *) component;

		check->listing = mb_bucket_listing_new(bucket->s3, bucket->name, bucket->prefix, 0,
											   component->env->cancel);
	}
	return advance(check, err);
}

/* -- comparing ------------------------------------------------------------------------------------------ */

static void
found(struct mb_reference_check *check, uint64_t *count, const char *key, const char *what)
{
	json_t *example;

	(*count)++;
	if (json_array_size(check->examples) >= MB_REFERENCE_EXAMPLES)
		return;
	example = json_object();
	mb_json_set_str(example, "key", key);
	mb_json_set_str(example, "what", what);
	json_array_append_new(check->examples, example);
}

static bool
fits(const struct mb_reference *row, const struct mb_s3_version *version)
{
	const char *etag = row->etag;
	size_t len = etag ? strlen(etag) : 0;

	/* Rows often have it as the header had it, in quotes. */
	if (len > 1 && etag[0] == '"' && etag[len - 1] == '"')
	{
		etag++;
		len -= 2;
	}
	return !version->is_marker && (row->size < 0 || (uint64_t) row->size == version->size) &&
		   (!etag || (strlen(version->etag) == len && strncmp(version->etag, etag, len) == 0)) &&
		   (!row->version || strcmp(row->version, version->version_id) == 0);
}

static void
compare_version(struct mb_reference_check *check, const struct mb_reference *row)
{
	const struct mb_listed_key *key = check->key;
	bool any = false;
	size_t i;

	if (fits(row, &key->versions[0]))
		return;
	for (i = 1; i < key->count && !any; i++)
		any = fits(row, &key->versions[i]);
	if (any)
		found(check, &check->ambiguous, row->key,
			  "ambiguous: an older version is what the row says");
	else if (key->versions[0].is_marker)
		found(check, &check->dangling, row->key, "dangling: it was deleted");
	else
		found(check, &check->mismatched, row->key, "mismatched: size, ETag or version differ");
}

/* A directory has no versions and no ETags. */
static void
compare_file(struct mb_reference_check *check, const struct mb_reference *row)
{
	struct stat st;

	if (fstatat(check->dir_fd, row->key, &st, AT_SYMLINK_NOFOLLOW) != 0)
		found(check, &check->dangling, row->key, "dangling: there is no such file");
	else if (row->size >= 0 && row->size != st.st_size)
		found(check, &check->mismatched, row->key, "mismatched: the size differs");
}

enum mb_code
mb_reference_check_row(struct mb_reference_check *check, const struct mb_reference *row,
					   struct mb_error *err)
{
	enum mb_code code = MB_OK;
	const char *key;

	check->rows++;
	while (!code && (key = current(check)) != NULL && strcmp(key, row->key) < 0)
	{
		if (is_there(check) && (!check->last || strcmp(check->last, key) != 0))
			check->orphaned++;
		code = advance(check, err);
	}
	if (code)
		return code;
	free(check->last);
	check->last = mb_strdup(row->key);
	key = current(check);
	if (!key || strcmp(key, row->key) != 0)
		found(check, &check->dangling, row->key, "dangling: there is no such object");
	else if (check->dir_fd >= 0)
		compare_file(check, row);
	else
		compare_version(check, row);
	return MB_OK;
}

enum mb_code
mb_reference_check_end(struct mb_reference_check *check, json_t *result, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	const char *key;

	while (!code && (key = current(check)) != NULL)
	{
		if (is_there(check) && (!check->last || strcmp(check->last, key) != 0))
			check->orphaned++;
		code = advance(check, err);
	}
	mb_json_set_int(result, "rows", (int64_t) check->rows);
	mb_json_set_int(result, "dangling", (int64_t) check->dangling);
	mb_json_set_int(result, "mismatched", (int64_t) check->mismatched);
	mb_json_set_int(result, "ambiguous", (int64_t) check->ambiguous);
	mb_json_set_int(result, "orphaned", (int64_t) check->orphaned);
	json_object_set(result, "examples", check->examples);
	return code;
}

void
mb_reference_check_free(struct mb_reference_check *check)
{
	if (!check)
		return;
	mb_bucket_listing_free(check->listing);
	mb_names_release(&check->files);
	if (check->dir_fd >= 0)
		close(check->dir_fd);
	json_decref(check->examples);
	free(check->last);
	free(check);
}
