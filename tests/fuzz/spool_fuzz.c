/*
 * spool_fuzz.c - any bytes as one of the files that mbackup keeps on a host: byte 0 says which.  Somebody who may write
 * there, or a disk that tears, must not do more than make it forget.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/engine/chain_check.h"
#include "core/engine/restore_journal.h"
#include "core/repo/mirror_private.h"
#include "redis/resync.h"
#include "walstreamer/restore_plan.h"
#include "walstreamer/wal_spool_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "20261123T064402Z-b25a94f1d3c7"

static char spool[] = "/tmp/mb-spool-fuzz.XXXXXX";

static void
remove_spool(void)
{
	struct mb_error err;

	if (mb_rmtree(spool, &err) != MB_OK)
		fprintf(stderr, "%s is left\n", spool);
}

static char *
put(const char *name, const uint8_t *data, size_t size)
{
	char *path = mb_path_join(spool, name);
	FILE *file = fopen(path, "w");

	MB_ASSERT(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
	return path;
}

static void
touch_journal(const uint8_t *data, size_t size, bool is_plan)
{
	char *plan = put("restores/" ID "/plan.json", is_plan ? data : (const uint8_t *) "{}",
					 is_plan ? size : 2);
	char *lines = put("restores/" ID "/journal", data, is_plan ? 0 : size);
	struct mb_journal *journal;
	char id[MB_ID_TEXT];
	struct mb_error err;

	if (mb_journal_open(&journal, spool, ID, &err) == MB_OK)
	{
		MB_ASSERT(mb_journal_status(journal) != NULL);
		(void) mb_journal_state(journal, "keep:0");
		(void) mb_journal_data(journal, "keep:0");
		(void) mb_journal_time(journal, "keep:0");
		mb_journal_close(journal);
	}
	(void) !mb_journal_unfinished(id, spool, &err);
	free(plan);
	free(lines);
}

static void
touch_plan(const uint8_t *data, size_t size)
{
	char *path = put("mbackup_restore.json", data, size);
	struct mb_plan_item item, next;
	char prefetch[MB_WAL_PREFETCH_PATH];
	json_t *plan = NULL;
	struct mb_error err;
	int steps = 0, before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (chdir(spool) == 0 && mb_plan_read(&plan, ID, &err) == MB_OK)
	{
		(void) mb_plan_history(plan, 2);
		if (mb_plan_locate(plan, "000000010000000000000002", &item, &err) == MB_OK)
		{
			mb_plan_prefetch_path(plan, &item, prefetch);
			(void) mb_plan_is_whole(&item);
			while (steps++ < 100 && mb_plan_next(plan, &item, &next))
				item = next;
		}
	}
	MB_ASSERT(before >= 0 && fchdir(before) == 0);
	close(before);
	json_decref(plan);
	free(path);
}

static void
touch_notes(const uint8_t *data, size_t size)
{
	char *state = put("copy", data, size), *resync = put("redis-redis.resync", data, size);
	char *newest = put("newest-x-config", data, size);
	struct mb_repo repo = {.store = mb_store_memory_new(0), .id_text = "x"};
	struct mb_env env = {.repo = &repo, .spool = spool, .workers = 1};
	struct mb_mirror_copy copy = {.state_path = state, .url = (char *) (uintptr_t) "s3://b"};
	struct mb_mirror_state mirror;
	struct mb_error err;

	mb_error_clear(&err);
	mb_mirror_state_read(&copy, &mirror);
	MB_ASSERT(strlen(mirror.why) < sizeof(mirror.why));
	(void) !mb_resync_check(spool, "redis", "run", 1795502642000000LL, &err);
	(void) !mb_chain_check_newest(&env, "config", 1, &err);
	mb_store_free(repo.store);
	free(state);
	free(resync);
	free(newest);
}

static void
touch_wal(const uint8_t *data, size_t size)
{
	static unsigned char out[MB_WAL_UNIT_MAX];
	char *path = put("wal", data, size);
	json_t *meta = NULL;
	struct mb_error err;
	uint32_t len;

	if (mb_wal_spool_read(path, &meta, out, &len, &err) == MB_OK)
	{
		MB_ASSERT(len <= MB_WAL_UNIT_MAX && len <= size);
		json_decref(meta);
	}
	free(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;
	struct mb_error err;

	if (!is_ready)
	{
		char *directory;

		MB_ASSERT(mkdtemp(spool) != NULL);
		directory = mb_path_join(spool, "restores/" ID);
		MB_ASSERT(mb_mkdirs(directory, 0700, &err) == MB_OK);
		free(directory);
		atexit(remove_spool);
		is_ready = true;
	}
	if (size < 1)
		return 0;
	switch (data[0] % 5)
	{
		case 0:
			touch_journal(data + 1, size - 1, true);
			break;
		case 1:
			touch_journal(data + 1, size - 1, false);
			break;
		case 2:
			touch_plan(data + 1, size - 1);
			break;
		case 3:
			touch_notes(data + 1, size - 1);
			break;
		default:
			touch_wal(data + 1, size - 1);
	}
	return 0;
}
