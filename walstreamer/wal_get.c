/* wal_get.c - see wal_get.h. */
#include "walstreamer/wal_get.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "postgres/wal_source.h"
#include "walstreamer/inventory.h"

#define PLAN_MAX_BYTES (64u << 20)

/* Only names that Postgres asks for; anything else would be a path from outside. */
static bool
is_wal_file_name(const char *name)
{
	size_t len = strlen(name);

	return (len == 24 && strspn(name, "0123456789ABCDEF") == 24) ||
		   (len == 16 && strspn(name, "0123456789ABCDEF") == 8 && mb_ends_with(name, ".history"));
}

static enum mb_code
read_plan(json_t **plan, const char *restore_id, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, MB_WAL_PLAN_FILE, PLAN_MAX_BYTES, err);

	if (code == MB_NOT_FOUND)
		code =
			mb_fail(err, MB_CONFIG, "this directory was not restored by mbackup: \"%s\" is missing",
					MB_WAL_PLAN_FILE);
	if (!code)
		code = mb_json_parse(plan, (const char *) text.data, text.len, MB_WAL_PLAN_FILE, err);
	mb_buf_release(&text);
	if (!code && strcmp(mb_json_str(*plan, "restore", ""), restore_id) != 0)
	{
		code = mb_fail(err, MB_CONFIG, "this directory is of restore \"%s\", not of \"%s\"",
					   mb_json_str(*plan, "restore", ""), restore_id);
		mb_error_hint(err, "Did restore_command come from another cluster's configuration?");
		json_decref(*plan);
	}
	return code;
}

/* What the plan says about one segment. */
struct planned
{
	struct mb_wal_where where;
	uint64_t start_lsn; /* of the segment */
	uint64_t to_lsn;    /* bytes up to here, the rest is zero */
	char file[MB_WAL_FILE_TEXT];
};

/* MB_NEGATIVE: not in the plan.  The strings in *out live as long as the plan. */
static enum mb_code
find_planned(const json_t *plan, uint32_t timeline, uint64_t start_lsn, struct planned *out,
			 struct mb_error *err)
{
	const json_t *links = json_object_get(plan, "links");
	uint32_t size = (uint32_t) mb_json_int(plan, "segment_size", 0);
	size_t i;

	for (i = 0; i < json_array_size(links); i++)
	{
		const json_t *link = json_array_get(links, i);
		uint64_t from, to;

		if (mb_json_int(link, "timeline", 0) != timeline ||
			!mb_lsn_parse(&from, mb_json_str(link, "from", "")) ||
			!mb_lsn_parse(&to, mb_json_str(link, "to", "")) || start_lsn < from || start_lsn >= to)
			continue;
		out->where.component = mb_json_str(plan, "component", "");
		out->where.system_id = mb_json_str(plan, "system_id", "");
		out->where.timeline = timeline;
		out->where.branch = mb_json_str(link, "branch", "");
		out->where.segment_size = size;
		out->start_lsn = start_lsn;
		out->to_lsn = to < start_lsn + size ? to : start_lsn + size;
		mb_wal_file_name(out->file, timeline, start_lsn, size);
		return MB_OK;
	}
	return mb_fail(err, MB_NEGATIVE, "the restore ends before this segment");
}

/* Parse the plan's segment size and the wanted file's name. */
static enum mb_code
locate(const json_t *plan, const char *file_name, struct planned *out, struct mb_error *err)
{
	int64_t size = mb_json_int(plan, "segment_size", 0);
	uint32_t timeline;
	uint64_t start_lsn;

	if (size <= 0 || !mb_wal_segment_size_is_valid((uint64_t) size))
		return mb_fail(err, MB_CORRUPT, "\"%s\" has no valid segment size", MB_WAL_PLAN_FILE);
	if (!mb_wal_file_parse(file_name, (uint32_t) size, &timeline, &start_lsn))
		return mb_fail(err, MB_NEGATIVE, "\"%s\" is not a WAL segment", file_name);
	return find_planned(plan, timeline, start_lsn, out, err);
}

/* The next planned segment behind one, on its own or the next link. */
static bool
next_planned(const json_t *plan, const struct planned *now, struct planned *out)
{
	const json_t *links = json_object_get(plan, "links");
	uint64_t next = now->start_lsn + now->where.segment_size;
	struct mb_error ignored;
	size_t i;

	/* The youngest timeline that has it is the one that Postgres asks for first. */
	for (i = json_array_size(links); i-- > 0;)
		if (find_planned(plan, (uint32_t) mb_json_int(json_array_get(links, i), "timeline", 0),
						 next, out, &ignored) == MB_OK)
			return true;
	return false;
}

/* -- prefetched files ------------------------------------------------------------------------------ */

static void
remove_prefetched(void)
{
	struct mb_error ignored;

	/* Only a directory of ours in the current one; nothing is followed. */
	if (mb_rmtree(MB_WAL_PREFETCH_DIR, &ignored))
	{
	}
}

/* Does the file begin as the segment must?  (It was checked in full when it was written.) */
static bool
begins_as(const char *path, const struct planned *planned)
{
	unsigned char head[64];
	struct mb_error ignored;
	const char *why;
	struct stat st;
	size_t got = 0;
	bool good;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return false;
	good = fstat(fd, &st) == 0 && st.st_size == (off_t) planned->where.segment_size &&
		   mb_pread_full(fd, head, sizeof(head), 0, &got, path, &ignored) == MB_OK &&
		   mb_wal_segment_is(head, got, strtoull(planned->where.system_id, NULL, 10),
							 planned->start_lsn, planned->where.segment_size, &why);
	close(fd);
	return good;
}

enum mb_code
mb_wal_get_prefetched(const char *restore_id, const char *file_name, const char *target_path,
					  struct mb_error *err)
{
	struct planned planned;
	json_t *plan;
	char path[128];
	uint32_t timeline;
	enum mb_code code;

	if (!is_wal_file_name(file_name))
		return mb_fail(err, MB_NEGATIVE, "\"%.64s\" is not a WAL file", file_name);
	code = read_plan(&plan, restore_id, err);
	if (code)
		return code;
	if (mb_wal_history_parse(file_name, &timeline))
	{
		char key[16];

		snprintf(key, sizeof(key), "%08X", timeline);
		if (mb_json_str(json_object_get(plan, "histories"), key, NULL))
			code = mb_fail(err, MB_NOT_FOUND, "it is in the repository");
		else
		{
			code = mb_fail(err, MB_NEGATIVE, "there is no timeline %u", timeline);
			/* Asked for when recovery is over: the search for an unused timeline. */
			remove_prefetched();
		}
		json_decref(plan);
		return code;
	}
	code = locate(plan, file_name, &planned, err);
	if (code == MB_NEGATIVE)
		remove_prefetched();
	if (!code)
	{
		snprintf(path, sizeof(path), "%s/%s", MB_WAL_PREFETCH_DIR, file_name);
		if (!begins_as(path, &planned) || rename(path, target_path) != 0)
			code = mb_fail(err, MB_NOT_FOUND, "\"%s\" has not been fetched yet", file_name);
	}
	json_decref(plan);
	return code;
}

/* -- from the repository ----------------------------------------------------------------------------- */

/* The whole segment in memory: pieces, then zeroes. */
static enum mb_code
build_segment(const struct mb_repo *repo, const struct planned *planned, struct mb_buf *out,
			  struct mb_error *err)
{
	uint32_t size = planned->where.segment_size;
	const char *why;
	enum mb_code code;

	mb_buf_reset(out);
	mb_buf_reserve(out, size);
	memset(out->data, 0, size);
	out->len = size;
	code =
		mb_wal_assemble(repo, &planned->where, planned->start_lsn, planned->to_lsn, out->data, err);
	if (!code &&
		!mb_wal_segment_is(out->data, out->len, strtoull(planned->where.system_id, NULL, 10),
						   planned->start_lsn, size, &why))
		code = mb_fail(err, MB_CORRUPT, "segment %s is damaged: %s", planned->file, why);
	return code;
}

/* Postgres itself makes the file durable before it relies on it; a complete one is enough. */
static enum mb_code
write_target(const char *path, const struct mb_buf *bytes, struct mb_error *err)
{
	char *temporary = mb_asprintf("%s.mbackup-tmp", path);
	enum mb_code code = MB_OK;
	int fd;

	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		code = mb_fail_errno(err, errno, "could not create \"%s\"", temporary);
	if (!code)
		code = mb_write_full(fd, bytes->data, bytes->len, temporary, err);
	if (!code && fsync(fd) != 0)
		code = mb_fail_errno(err, errno, "could not fsync \"%s\"", temporary);
	if (fd >= 0)
		close(fd);
	if (!code && rename(temporary, path) != 0)
		code = mb_fail_errno(err, errno, "could not rename \"%s\"", temporary);
	if (code)
		unlink(temporary);
	free(temporary);
	return code;
}

/* Best effort: what cannot be prefetched is asked for again, and fails then. */
static void
prefetch(const struct mb_env *env, const json_t *plan, const struct planned *first,
		 struct mb_buf *bytes)
{
	struct planned now = *first, next;
	struct mb_error err;
	uint64_t total = 0;
	int files;

	if (mkdir(MB_WAL_PREFETCH_DIR, 0700) != 0 && errno != EEXIST)
		return;
	for (files = 0; files < MB_WAL_PREFETCH_FILES && next_planned(plan, &now, &next); files++)
	{
		char path[128];

		total += next.where.segment_size;
		if (total > MB_WAL_PREFETCH_BYTES || mb_cancelled(env->cancel))
			break;
		now = next;
		snprintf(path, sizeof(path), "%s/%s", MB_WAL_PREFETCH_DIR, next.file);
		if (begins_as(path, &next))
			continue;
		if (build_segment(env->repo, &next, bytes, &err) || write_target(path, bytes, &err))
		{
			mb_log_warning(env->log, "could not prefetch %s: %s", next.file, err.message);
			break;
		}
	}
}

static enum mb_code
get_history(const struct mb_env *env, const char *blob, const char *target_path,
			struct mb_error *err)
{
	struct mb_buf content = {0};
	enum mb_code code =
		mb_blob_get(env->repo, MB_ROLE_STREAM, blob, MB_WAL_HISTORY_MAX, &content, err);

	if (code == MB_NOT_FOUND)
		code = err->code = MB_CORRUPT; /* the plan names it */
	if (!code)
		code = write_target(target_path, &content, err);
	mb_buf_release(&content);
	return code;
}

static enum mb_code
get_planned(const struct mb_env *env, const json_t *plan, const char *file_name,
			const char *target_path, struct mb_error *err)
{
	struct mb_buf bytes = {0};
	struct planned planned;
	uint32_t timeline;
	enum mb_code code;

	if (strcmp(mb_json_str(plan, "repository", ""), env->repo->id_text) != 0)
		return mb_fail(err, MB_CONFIG, "this restore came from repository %s, not from %s",
					   mb_json_str(plan, "repository", "?"), env->repo->id_text);
	if (mb_wal_history_parse(file_name, &timeline))
	{
		const char *blob;
		char key[16];

		snprintf(key, sizeof(key), "%08X", timeline);
		blob = mb_json_str(json_object_get(plan, "histories"), key, NULL);
		if (!blob)
			return mb_fail(err, MB_NEGATIVE, "there is no timeline %u", timeline);
		return get_history(env, blob, target_path, err);
	}
	code = locate(plan, file_name, &planned, err);
	if (!code)
		code = build_segment(env->repo, &planned, &bytes, err);
	if (!code)
		code = write_target(target_path, &bytes, err);
	if (!code)
		prefetch(env, plan, &planned, &bytes);
	mb_buf_release(&bytes);
	return code;
}

/* -- without a plan ---------------------------------------------------------------------------------- */

struct lookup
{
	const char *component; /* NULL: any */
	const char *file_name;
	uint32_t timeline;
	bool is_history;
	char name[MB_NAME_MAX]; /* of a piece or a history file */
	char key[MB_NAME_MAX];  /* what makes it another one: up to the branch */
	bool ambiguous;
};

static enum mb_code
look_at_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct lookup *lookup = ctx;
	const char *wal = strstr(info->name, "/wal/");
	const char *rest = wal ? strchr(wal + 5, '/') : NULL;
	struct mb_wal_piece_parts parts;
	uint32_t timeline;
	size_t key_len;

	(void) err;
	if (!rest)
		return MB_OK;
	rest++;
	if (lookup->is_history)
	{
		if (!mb_wal_history_blob_parse(rest, &timeline) || timeline != lookup->timeline)
			return MB_OK;
		key_len = strlen(info->name);
	}
	else
	{
		if (!mb_wal_piece_parse(rest, &parts) || strcmp(parts.file, lookup->file_name) != 0)
			return MB_OK;
		key_len = (size_t) (rest - info->name) + 25;
	}
	if (lookup->name[0] &&
		(strncmp(lookup->key, info->name, key_len) != 0 || strlen(lookup->key) != key_len))
		lookup->ambiguous = true;
	snprintf(lookup->name, sizeof(lookup->name), "%s", info->name);
	snprintf(lookup->key, sizeof(lookup->key), "%.*s", (int) key_len, info->name);
	return MB_OK;
}

static enum mb_code
get_whole_segment(const struct mb_env *env, const struct lookup *lookup, const char *target_path,
				  struct mb_error *err)
{
	char component[64], system_id[MB_WAL_SYSID_TEXT], branch[MB_WAL_BRANCH_TEXT];
	struct planned planned = {0};
	struct mb_buf bytes = {0};
	json_t *header;
	uint32_t timeline;
	enum mb_code code = mb_wal_piece_header(env->repo, lookup->name, &header, err);

	if (code)
		return code;
	snprintf(component, sizeof(component), "%.*s",
			 (int) strcspn(lookup->name + strlen("streams/"), "/"),
			 lookup->name + strlen("streams/"));
	snprintf(system_id, sizeof(system_id), "%s", mb_json_str(header, "system_id", ""));
	snprintf(branch, sizeof(branch), "%s", mb_json_str(header, "branch", ""));
	planned.where =
		(struct mb_wal_where){component, system_id, (uint32_t) mb_json_int(header, "timeline", 0),
							  branch, (uint32_t) mb_json_int(header, "segment_size", 0)};
	json_decref(header);
	if (!mb_wal_file_parse(lookup->file_name, planned.where.segment_size, &timeline,
						   &planned.start_lsn))
		return mb_fail(err, MB_NEGATIVE, "\"%s\" is not a WAL segment", lookup->file_name);
	snprintf(planned.file, sizeof(planned.file), "%s", lookup->file_name);
	planned.to_lsn = planned.start_lsn + planned.where.segment_size;
	{
		struct mb_wal_cursor cursor = {.timeline = planned.where.timeline,
									   .segment_size = planned.where.segment_size,
									   .from_lsn = planned.start_lsn,
									   .lsn = planned.start_lsn,
									   .listed_ms = INT64_MAX / 2};

		snprintf(cursor.system_id, sizeof(cursor.system_id), "%s", system_id);
		snprintf(cursor.branch, sizeof(cursor.branch), "%s", branch);
		code = mb_wal_cursor_advance(env, component, &cursor, err);
		if (!code && cursor.lsn < planned.to_lsn)
			code = mb_fail(err, MB_NEGATIVE, "segment %s is not complete yet", lookup->file_name);
	}
	if (!code)
		code = build_segment(env->repo, &planned, &bytes, err);
	if (!code)
		code = write_target(target_path, &bytes, err);
	mb_buf_release(&bytes);
	return code;
}

static enum mb_code
get_unplanned(const struct mb_env *env, const char *component, const char *file_name,
			  const char *target_path, struct mb_error *err)
{
	struct lookup lookup = {.component = component, .file_name = file_name};
	char *prefix = component ? mb_asprintf("streams/%s/wal/", component) : mb_strdup("streams/");
	enum mb_code code;

	lookup.is_history = mb_wal_history_parse(file_name, &lookup.timeline);
	code = mb_store_list(env->repo->store, prefix, look_at_name, &lookup, err);
	free(prefix);
	if (code)
		return code;
	if (!lookup.name[0])
		return mb_fail(err, MB_NEGATIVE, "\"%s\" is not in the repository", file_name);
	if (lookup.ambiguous)
	{
		mb_fail(err, MB_CONFLICT, "there are several histories with a \"%s\"", file_name);
		return mb_error_hint(err, "Use \"mbackup restore\", which chooses one and says so in "
								  "restore_command.");
	}
	if (lookup.is_history)
		return get_history(env, lookup.name, target_path, err);
	return get_whole_segment(env, &lookup, target_path, err);
}

enum mb_code
mb_wal_get(const struct mb_env *env, const char *component, const char *restore_id,
		   const char *file_name, const char *target_path, struct mb_error *err)
{
	json_t *plan;
	enum mb_code code;

	if (!is_wal_file_name(file_name))
		return mb_fail(err, MB_NEGATIVE, "\"%.64s\" is not a WAL file", file_name);
	if (!restore_id)
		code = get_unplanned(env, component, file_name, target_path, err);
	else
	{
		code = read_plan(&plan, restore_id, err);
		if (!code)
		{
			code = get_planned(env, plan, file_name, target_path, err);
			json_decref(plan);
		}
	}
	if (code)
		return mb_error_context(err, "could not get \"%s\"", file_name);
	return MB_OK;
}
