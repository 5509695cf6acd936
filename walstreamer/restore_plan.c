/* restore_plan.c - see restore_plan.h. */
#include "walstreamer/restore_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"

#define PLAN_MAX_BYTES (64u << 20)
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

enum mb_code
mb_plan_read(json_t **plan, const char *restore_id, struct mb_error *err)
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
		*plan = NULL;
	}
	return code;
}

/* MB_NEGATIVE: not in the plan. */
static enum mb_code
find_item(const json_t *plan, uint32_t timeline, uint64_t start_lsn, struct mb_plan_item *out,
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

enum mb_code
mb_plan_locate(const json_t *plan, const char *file_name, struct mb_plan_item *out,
			   struct mb_error *err)
{
	int64_t size = mb_json_int(plan, "segment_size", 0);
	uint32_t timeline;
	uint64_t start_lsn;

	if (size <= 0 || !mb_wal_segment_size_is_valid((uint64_t) size))
		return mb_fail(err, MB_CORRUPT, "\"%s\" has no valid segment size", MB_WAL_PLAN_FILE);
	if (!mb_wal_file_parse(file_name, (uint32_t) size, &timeline, &start_lsn))
		return mb_fail(err, MB_NEGATIVE, "\"%s\" is not a WAL segment", file_name);
	return find_item(plan, timeline, start_lsn, out, err);
}

bool
mb_plan_next(const json_t *plan, const struct mb_plan_item *now, struct mb_plan_item *out)
{
	const json_t *links = json_object_get(plan, "links");
	uint64_t next = now->start_lsn + now->where.segment_size;
	struct mb_error ignored;
	size_t i;

	/* The youngest timeline that has it is the one that Postgres asks for first. */
	for (i = json_array_size(links); i-- > 0;)
		if (find_item(plan, (uint32_t) mb_json_int(json_array_get(links, i), "timeline", 0), next,
					  out, &ignored) == MB_OK)
			return true;
	return false;
}

bool
mb_plan_is_whole(const struct mb_plan_item *item)
{
	return item->to_lsn == item->start_lsn + item->where.segment_size;
}

const char *
mb_plan_history(const json_t *plan, uint32_t timeline)
{
	char key[16];

	snprintf(key, sizeof(key), "%08X", timeline);
	return mb_json_str(json_object_get(plan, "histories"), key, NULL);
}

void
mb_plan_prefetch_path(const json_t *plan, const struct mb_plan_item *item,
					  char out[MB_WAL_PREFETCH_PATH])
{
	struct mb_buf identity = {0};
	struct mb_error ignored;

	mb_buf_printf(&identity, "%s %s %s %u %s %" PRIX64 " %" PRIX64 " ",
				  mb_json_str(plan, "repository", ""), item->where.component, item->where.system_id,
				  item->where.timeline, item->where.branch, item->start_lsn, item->to_lsn);
	if (mb_file_read(&identity, BOOT_ID_FILE, 128, &ignored))
	{
		/* Without a boot id a crash of the machine is not noticed; recovery checks each record. */
	}
	snprintf(out, MB_WAL_PREFETCH_PATH, "%s/%s.%016" PRIx64, MB_WAL_PREFETCH_DIR, item->file,
			 mb_xxh64_seed(identity.data, identity.len, 0));
	mb_buf_release(&identity);
}
