/*
 * base_backup.c - a full base backup by reading the data directory on this host.
 *
 * pg_backup_start(fast) and _stop on a session that is held and pinged; between them
 * workers read files, big ones in ranges.  Files that vanish, shrink or grow meanwhile
 * are normal: WAL from the start LSN on brings them right.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/time.h"
#include "postgres/data_directory.h"
#include "postgres/page_checksum.h"
#include "postgres/private.h"

#define PING_MS 10000
#define CONTROL_BYTES 8192u
#define CONTROL_TRIES 100
/* Reads of a page whose checksum is wrong, before it is judged. */
#define PAGE_TRIES 5
#define PAGE_WAIT_MS 10
#define MAX_DAMAGED 10000
/* Small files are handed out in batches. */
#define SMALL_BYTES (1u << 20)
#define BATCH_FILES 64

/* What the backup functions are called, by server version. */
static const struct
{
	int from_version;
	const char *start;
	const char *stop;
} backup_calls[] = {
	{150000, "SELECT pg_backup_start($1, true) AS lsn",
	 "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)"},
	{0, "SELECT pg_start_backup($1, true, false) AS lsn",
	 "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)"},
};

/* One file while its ranges are being read. */
struct reading
{
	const struct mb_pg_file *file;
	size_t ranges;
	struct mb_map_ref *maps;
	size_t *got;
	uint32_t *crcs;
	size_t left;   /* ranges not read yet; lock */
	bool vanished; /* lock */
	uint32_t *damaged;
	size_t damaged_count;
	size_t damaged_cap;
};

struct item
{
	struct reading *reading; /* of one range, or NULL for a batch */
	size_t range;
	const struct mb_pg_file **batch;
	size_t batch_count;
	uint64_t bytes; /* for the order */
};

struct copy
{
	struct mb_postgres *pg;
	struct mb_capture *capture;
	struct mb_pg_files files;
	struct reading *readings;
	size_t reading_count;
	const struct mb_pg_file **small; /* the batches' storage */
	size_t small_count;
	struct item *items;
	size_t item_count;
	size_t item_cap;
	int root_fd;
	const char *user;
	const char *group;
	char user_text[128];
	char group_text[128];
	pthread_mutex_t lock;
	atomic_bool session_lost;
};

/* -- the session ---------------------------------------------------------------------------------- */

struct pinger
{
	struct copy *copy;
	pthread_t thread;
	atomic_bool stop;
};

/* SELECT 1 now and then, so that nothing between us and the server forgets the session. */
static void *
ping_main(void *arg)
{
	struct pinger *pinger = arg;
	struct mb_postgres *pg = pinger->copy->pg;
	int64_t last = mb_monotonic_ms();

	while (!atomic_load(&pinger->stop))
	{
		struct mb_error ignored;

		mb_sleep_ms(50);
		if (mb_monotonic_ms() - last < PING_MS)
			continue;
		last = mb_monotonic_ms();
		pthread_mutex_lock(&pg->lock);
		if (mb_pg_exec(pg->conn, "SELECT 1", &ignored))
			atomic_store(&pinger->copy->session_lost, true);
		pthread_mutex_unlock(&pg->lock);
	}
	return NULL;
}

static size_t
calls_for(int version)
{
	size_t i = 0;

	while (version < backup_calls[i].from_version)
		i++;
	return i;
}

static int64_t
server_time_us(PGconn *conn)
{
	struct mb_error ignored;
	char *text;
	int64_t us;

	if (mb_pg_value(conn, &text, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
					0, NULL, &ignored))
		return mb_time_now_us();
	us = strtoll(text, NULL, 10);
	free(text);
	return us;
}

static enum mb_code
start_backup(struct copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	char *label = mb_asprintf("mbackup %s", copy->capture->id);
	const char *params[] = {label};
	PGresult *res;
	enum mb_code code;

	mb_progress_phase(copy->capture->progress, "waiting for a checkpoint");
	mb_json_set_time(copy->capture->meta, "start_time", server_time_us(pg->conn));
	code = mb_pg_query(pg->conn, &res, backup_calls[calls_for(pg->server.version)].start, 1, params,
					   err);
	free(label);
	if (code)
	{
		mb_error_context(err, "could not start a base backup");
		if (code == MB_DENIED)
			mb_error_hint(err, "Grant EXECUTE on %s and its counterpart to the user.",
						  pg->server.version >= 150000 ? "function pg_backup_start"
													   : "function pg_start_backup");
		return code;
	}
	if (!mb_lsn_parse(&pg->start_lsn, mb_pg_field(res, 0, "lsn")))
		code = mb_fail(err, MB_IO, "the server gave no start LSN");
	PQclear(res);
	return code;
}

/* "START TIMELINE: 1" of the label: the truth about where replay begins. */
static uint32_t
label_timeline(const char *label)
{
	const char *line = strstr(label, "START TIMELINE: ");

	return line ? (uint32_t) strtoul(line + strlen("START TIMELINE: "), NULL, 10) : 0;
}

static enum mb_code
stop_backup(struct copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	const char *label, *map;
	PGresult *res;
	uint64_t label_lsn;
	char lsn_text[32] = "";
	enum mb_code code;

	code =
		mb_pg_query(pg->conn, &res, backup_calls[calls_for(pg->server.version)].stop, 0, NULL, err);
	if (code)
		return mb_error_context(err, "could not finish the base backup");
	label = mb_pg_field(res, 0, "labelfile");
	map = mb_pg_field(res, 0, "spcmapfile");
	pg->backup_timeline = label_timeline(label);
	if (!mb_lsn_parse(&pg->stop_lsn, mb_pg_field(res, 0, "lsn")) || pg->backup_timeline == 0 ||
		sscanf(label, "START WAL LOCATION: %31s", lsn_text) != 1 ||
		!mb_lsn_parse(&label_lsn, lsn_text) || label_lsn != pg->start_lsn)
		code = mb_fail(err, MB_IO, "the server's backup label makes no sense");
	if (!code)
		code = mb_capture_data(copy->capture, "backup_label", label, strlen(label), err);
	if (!code && *map)
		code = mb_capture_data(copy->capture, "tablespace_map", map, strlen(map), err);
	PQclear(res);
	return code;
}

/* -- pages ----------------------------------------------------------------------------------------- */

struct page_check
{
	struct copy *copy;
	struct reading *reading;
};

static enum mb_code
is_torn(struct copy *copy, const unsigned char *page, bool *torn, struct mb_error *err)
{
	uint64_t lsn = mb_page_lsn(page), now;
	enum mb_code code;

	*torn = false;
	if (lsn <= copy->pg->start_lsn)
		return MB_OK;
	code = mb_postgres_lsn(copy->pg, &now, "SELECT pg_current_wal_insert_lsn()", err);
	*torn = !code && lsn <= now;
	return code;
}

/*
 * The page at `offset` has a wrong checksum.  Read it again a few times: a page that is being
 * written is whole soon.  One that stays wrong is torn only if WAL since our start
 * holds a full image of it, so only if its LSN lies behind the start; else it is damaged.
 */
static enum mb_code
judge_page(struct page_check *check, int fd, unsigned char *page, int64_t offset,
		   struct mb_error *err)
{
	struct reading *reading = check->reading;
	uint32_t number = (uint32_t) (offset / MB_PG_PAGE_BYTES);
	bool torn = false;
	enum mb_code code = MB_OK;
	int tries;

	for (tries = 0; tries < PAGE_TRIES; tries++)
	{
		unsigned char again[MB_PG_PAGE_BYTES];
		size_t got;

		mb_sleep_ms(PAGE_WAIT_MS);
		code = mb_pread_full(fd, again, sizeof(again), offset, &got, reading->file->path, err);
		if (code)
			return code;
		if (got < sizeof(again))
			return MB_OK; /* truncated meanwhile: WAL says so */
		memcpy(page, again, sizeof(again));
		if (mb_page_is_good(page, reading->file->first_block + number))
			return MB_OK;
	}
	code = is_torn(check->copy, page, &torn, err);
	if (code || torn)
		return code;
	pthread_mutex_lock(&check->copy->lock);
	if (reading->damaged_count < MAX_DAMAGED)
	{
		reading->damaged = mb_grow(reading->damaged, &reading->damaged_cap,
								   reading->damaged_count + 1, sizeof(uint32_t));
		reading->damaged[reading->damaged_count++] = number;
	}
	pthread_mutex_unlock(&check->copy->lock);
	return MB_OK;
}

static enum mb_code
check_pages(void *ctx, int fd, unsigned char *data, size_t len, int64_t offset,
			struct mb_error *err)
{
	struct page_check *check = ctx;
	enum mb_code code = MB_OK;
	size_t at;

	for (at = 0; !code && at + MB_PG_PAGE_BYTES <= len; at += MB_PG_PAGE_BYTES)
	{
		uint32_t number = (uint32_t) ((offset + (int64_t) at) / MB_PG_PAGE_BYTES);

		if (!mb_page_is_good(data + at, check->reading->file->first_block + number))
			code = judge_page(check, fd, data + at, offset + (int64_t) at, err);
	}
	return code;
}

/* -- entries ----------------------------------------------------------------------------------------- */

static void
fill_entry(const struct copy *copy, const struct mb_pg_file *file, struct mb_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->type = MB_ENTRY_FILE;
	entry->path = file->path;
	entry->path_len = strlen(file->path);
	entry->mode = file->st.st_mode & 07777;
	entry->uid = file->st.st_uid;
	entry->gid = file->st.st_gid;
	entry->user = copy->user;
	entry->group = copy->group;
	entry->mtime_ns = file->st.st_mtim.tv_sec * 1000000000LL + file->st.st_mtim.tv_nsec;
	entry->ctime_ns = file->st.st_ctim.tv_sec * 1000000000LL + file->st.st_ctim.tv_nsec;
	entry->inode = file->st.st_ino;
	entry->fsid = file->st.st_dev;
}

/* All ranges are read: put them together.  Behind a short range nothing counts. */
static enum mb_code
finish_reading(struct copy *copy, struct reading *reading, struct mb_error *err)
{
	struct mb_entry entry;
	enum mb_code code = MB_OK;
	size_t i, maps = 0;

	fill_entry(copy, reading->file, &entry);
	for (i = 0; i < reading->ranges; i++)
	{
		if (reading->got[i] == 0)
			break;
		entry.crc32c = i == 0 ? reading->crcs[0]
							  : mb_crc32c_combine(entry.crc32c, reading->crcs[i], reading->got[i]);
		entry.size += reading->got[i];
		maps++;
		if (reading->got[i] < MB_RANGE_BYTES)
			break;
	}
	entry.has_crc32c = true;
	entry.maps = reading->maps;
	entry.map_count = maps;
	while (reading->damaged_count > 0 &&
		   (uint64_t) reading->damaged[reading->damaged_count - 1] * MB_PG_PAGE_BYTES >= entry.size)
		reading->damaged_count--;
	entry.damaged_pages = reading->damaged;
	entry.damaged_count = reading->damaged_count;
	if (!reading->vanished)
		code = mb_capture_add(copy->capture, &entry, err);
	if (!reading->vanished && reading->damaged_count > 0)
		mb_capture_warn(copy->capture,
						"%zu page(s) of \"%s\" have a wrong checksum in the source, the first is "
						"block %u",
						reading->damaged_count, reading->file->path, reading->damaged[0]);
	for (i = 0; i < reading->ranges; i++)
		mb_map_ref_release(&reading->maps[i]);
	free(reading->damaged);
	reading->damaged = NULL;
	return code;
}

static enum mb_code
open_file(const struct copy *copy, const char *path, int *fd, struct mb_error *err)
{
	*fd = openat(copy->root_fd, path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 && errno != ENOENT)
		return mb_fail_errno(err, errno, "could not open \"%s\"", path);
	return MB_OK;
}

static int
compare_blocks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

static enum mb_code
read_range(struct copy *copy, unsigned worker, struct reading *reading, size_t range,
		   struct mb_error *err)
{
	bool check = reading->file->kind == MB_PG_RELATION && copy->pg->server.checksums;
	struct page_check ctx = {copy, reading};
	uint64_t offset = (uint64_t) range * MB_RANGE_BYTES;
	uint64_t size = (uint64_t) reading->file->st.st_size;
	size_t len = size - offset < MB_RANGE_BYTES ? (size_t) (size - offset) : MB_RANGE_BYTES;
	enum mb_code code;
	bool last;
	int fd;

	code = open_file(copy, reading->file->path, &fd, err);
	if (!code && fd >= 0)
	{
		code = mb_capture_range(copy->capture, worker, fd, reading->file->path, (int64_t) offset,
								len, check ? check_pages : NULL, &ctx, &reading->maps[range],
								&reading->got[range], &reading->crcs[range], err);
		close(fd);
	}
	if (code)
		return code;
	pthread_mutex_lock(&copy->lock);
	reading->vanished |= fd < 0;
	last = --reading->left == 0;
	pthread_mutex_unlock(&copy->lock);
	if (!last)
		return MB_OK;
	if (reading->damaged_count > 0)
		qsort(reading->damaged, reading->damaged_count, sizeof(uint32_t), compare_blocks);
	return finish_reading(copy, reading, err);
}

static enum mb_code
read_plain(struct copy *copy, unsigned worker, const struct mb_pg_file *file, struct mb_error *err)
{
	struct mb_runs runs = {0};
	struct mb_entry entry;
	enum mb_code code;
	int fd;

	code = open_file(copy, file->path, &fd, err);
	if (code || fd < 0)
		return code;
	fill_entry(copy, file, &entry);
	code = mb_capture_fd(copy->capture, worker, fd, file->path, &runs, &entry.size, &entry.crc32c,
						 err);
	close(fd);
	entry.has_crc32c = true;
	entry.runs = runs.items;
	entry.run_count = runs.count;
	if (!code)
		code = mb_capture_add(copy->capture, &entry, err);
	mb_runs_release(&runs);
	return code;
}

static enum mb_code
add_empty(struct copy *copy, const struct mb_pg_file *file, struct mb_error *err)
{
	struct mb_entry entry;

	fill_entry(copy, file, &entry);
	if (file->kind == MB_PG_DIRECTORY)
		entry.type = MB_ENTRY_DIR;
	else if (file->kind == MB_PG_LINK)
	{
		entry.type = MB_ENTRY_SYMLINK;
		entry.link_target = file->link;
	}
	else
		entry.has_crc32c = true;
	return mb_capture_add(copy->capture, &entry, err);
}

/* -- the work list ------------------------------------------------------------------------------------- */

static bool
is_small(const struct mb_pg_file *file)
{
	return file->st.st_size <= SMALL_BYTES;
}

static bool
is_ranged(const struct mb_pg_file *file)
{
	return (file->kind == MB_PG_RELATION || file->kind == MB_PG_PAGED) && file->st.st_size > 0;
}

static void
begin_reading(struct reading *reading, const struct mb_pg_file *file)
{
	reading->file = file;
	reading->ranges = ((size_t) file->st.st_size + MB_RANGE_BYTES - 1) / MB_RANGE_BYTES;
	reading->left = reading->ranges;
	reading->maps = mb_calloc(reading->ranges, sizeof(*reading->maps));
	reading->got = mb_calloc(reading->ranges, sizeof(*reading->got));
	reading->crcs = mb_calloc(reading->ranges, sizeof(*reading->crcs));
}

static void
end_reading(struct reading *reading)
{
	size_t i;

	for (i = 0; reading->maps && i < reading->ranges; i++)
		mb_map_ref_release(&reading->maps[i]);
	free(reading->maps);
	free(reading->got);
	free(reading->crcs);
	free(reading->damaged);
}

static struct item *
new_item(struct copy *copy)
{
	struct item *item;

	copy->items = mb_grow(copy->items, &copy->item_cap, copy->item_count + 1, sizeof(*copy->items));
	item = &copy->items[copy->item_count++];
	memset(item, 0, sizeof(*item));
	return item;
}

/* Big files first, so that no worker is left alone with one at the end; batches last. */
static int
compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->reading != y->reading)
		return x->reading < y->reading ? -1 : 1;
	return (x->range > y->range) - (x->range < y->range);
}

static enum mb_code
make_items(struct copy *copy, struct mb_error *err)
{
	uint64_t total = 0;
	enum mb_code code = MB_OK;
	size_t i, r;

	copy->readings = mb_calloc(copy->files.count + 1, sizeof(*copy->readings));
	copy->small = mb_calloc(copy->files.count + 1, sizeof(*copy->small));
	for (i = 0; !code && i < copy->files.count; i++)
	{
		const struct mb_pg_file *file = &copy->files.items[i];
		struct reading *reading;

		if (file->kind == MB_PG_CONTROL)
			continue;
		if (file->kind == MB_PG_DIRECTORY || file->kind == MB_PG_LINK)
		{
			code = add_empty(copy, file, err);
			continue;
		}
		total += (uint64_t) file->st.st_size;
		if (is_small(file) || !is_ranged(file))
		{
			copy->small[copy->small_count++] = file;
			continue;
		}
		reading = &copy->readings[copy->reading_count++];
		begin_reading(reading, file);
		for (r = 0; r < reading->ranges; r++)
		{
			struct item *item = new_item(copy);

			item->reading = reading;
			item->range = r;
			item->bytes = (uint64_t) file->st.st_size;
		}
	}
	for (i = 0; i < copy->small_count; i += BATCH_FILES)
	{
		struct item *item = new_item(copy);

		item->batch = &copy->small[i];
		item->batch_count =
			copy->small_count - i < BATCH_FILES ? copy->small_count - i : BATCH_FILES;
	}
	if (copy->item_count > 0)
		qsort(copy->items, copy->item_count, sizeof(*copy->items), compare_items);
	atomic_store(&copy->capture->progress->total_bytes, total);
	return code;
}

static enum mb_code
read_small(struct copy *copy, unsigned worker, const struct mb_pg_file *file, struct mb_error *err)
{
	struct reading reading = {0};
	enum mb_code code;

	if (file->st.st_size == 0 && file->kind != MB_PG_PLAIN)
		return add_empty(copy, file, err);
	if (!is_ranged(file))
		return read_plain(copy, worker, file, err);
	begin_reading(&reading, file);
	code = read_range(copy, worker, &reading, 0, err);
	end_reading(&reading);
	return code;
}

static enum mb_code
run_item(void *ctx, unsigned worker, size_t index, struct mb_error *err)
{
	struct copy *copy = ctx;
	const struct item *item = &copy->items[index];
	enum mb_code code = MB_OK;
	size_t i;

	if (atomic_load(&copy->session_lost))
		return mb_fail(err, MB_UNREACHABLE,
					   "lost the session that holds the base backup: it cannot be completed");
	if (item->reading)
		return read_range(copy, worker, item->reading, item->range, err);
	for (i = 0; !code && i < item->batch_count; i++)
		code = read_small(copy, worker, item->batch[i], err);
	return code;
}

/* -- pg_control ------------------------------------------------------------------------------------------ */

/*
 * The CRC stands behind the last field, and where that is depends on the version: the
 * place where the CRC of everything before it is found is the right one.
 */
static bool
control_is_whole(const unsigned char *data)
{
	size_t at;

	for (at = 200; at + 4 <= 512; at += 4)
		if (mb_get_u32(data + at) == mb_crc32c(MB_CRC32C_INIT, data, at))
			return true;
	return false;
}

/* Last of all, and whole: it is where recovery begins. */
static enum mb_code
copy_control(struct copy *copy, struct mb_error *err)
{
	unsigned char data[CONTROL_BYTES];
	struct mb_runs runs = {0};
	struct mb_pg_file file = {.path = "global/pg_control"};
	struct mb_entry entry;
	enum mb_code code = MB_OK;
	bool whole = false;
	int tries;

	for (tries = 0; !code && !whole && tries < CONTROL_TRIES; tries++)
	{
		size_t got = 0;
		int fd = openat(copy->root_fd, file.path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return mb_fail_errno(err, errno, "could not open \"%s\"", file.path);
		if (fstat(fd, &file.st) != 0)
			code = mb_fail_errno(err, errno, "could not stat \"%s\"", file.path);
		if (!code)
			code = mb_pread_full(fd, data, sizeof(data), 0, &got, file.path, err);
		close(fd);
		whole = !code && got == sizeof(data) && control_is_whole(data);
		if (!whole)
			mb_sleep_ms(PAGE_WAIT_MS);
	}
	if (!code && !whole)
		code = mb_fail(err, MB_CORRUPT, "\"%s\" of the source has a wrong checksum", file.path);
	if (!code)
		code = mb_capture_bytes(copy->capture, 0, data, sizeof(data), &runs, err);
	if (!code)
	{
		fill_entry(copy, &file, &entry);
		entry.size = sizeof(data);
		entry.has_crc32c = true;
		entry.crc32c = mb_crc32c(MB_CRC32C_INIT, data, sizeof(data));
		entry.runs = runs.items;
		entry.run_count = runs.count;
		code = mb_capture_add(copy->capture, &entry, err);
	}
	mb_runs_release(&runs);
	return code;
}

/* -- all of it ---------------------------------------------------------------------------------------------- */

static void
name_owner(struct copy *copy)
{
	char buf[4096];
	struct passwd pw, *pw_found = NULL;
	struct group gr, *gr_found = NULL;
	struct stat st;

	if (fstat(copy->root_fd, &st) != 0)
		return;
	mb_json_set_int(copy->capture->meta, "mode", st.st_mode & 07777);
	mb_json_set_int(copy->capture->meta, "uid", st.st_uid);
	mb_json_set_int(copy->capture->meta, "gid", st.st_gid);
	if (getpwuid_r(st.st_uid, &pw, buf, sizeof(buf), &pw_found) == 0 && pw_found)
	{
		snprintf(copy->user_text, sizeof(copy->user_text), "%s", pw_found->pw_name);
		copy->user = copy->user_text;
		mb_json_set_str(copy->capture->meta, "user", copy->user);
	}
	if (getgrgid_r(st.st_gid, &gr, buf, sizeof(buf), &gr_found) == 0 && gr_found)
	{
		snprintf(copy->group_text, sizeof(copy->group_text), "%s", gr_found->gr_name);
		copy->group = copy->group_text;
		mb_json_set_str(copy->capture->meta, "group", copy->group);
	}
}

static enum mb_code
copy_files(struct copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	char version[64];
	enum mb_code code;
	size_t i;

	mb_progress_phase(copy->capture->progress, "copying");
	snprintf(version, sizeof(version), "PG_%d_%lld", pg->server.version / 10000,
			 (long long) pg->server.catalog_version);
	code = mb_pg_files_scan(&copy->files, pg->server.data_directory, version, err);
	for (i = 0; i < copy->files.skipped_count; i++)
		mb_capture_warn(copy->capture, "\"%s\" is not a file or directory and was left out",
						copy->files.skipped[i]);
	if (!code)
		code = make_items(copy, err);
	if (!code && copy->item_count > 0)
		code = mb_pool_run(copy->capture->workers, copy->item_count, run_item, copy,
						   pg->base.env->cancel, err);
	if (!code)
		code = copy_control(copy, err);
	return code;
}

static enum mb_code
copy_under_session(struct copy *copy, struct mb_error *err)
{
	struct pinger pinger = {.copy = copy};
	enum mb_code code;

	if (pthread_create(&pinger.thread, NULL, ping_main, &pinger) != 0)
		MB_BUG("could not create a thread");
	code = copy_files(copy, err);
	atomic_store(&pinger.stop, true);
	pthread_join(pinger.thread, NULL);
	return code;
}

static void
release_copy(struct copy *copy)
{
	size_t i;

	for (i = 0; i < copy->reading_count; i++)
		end_reading(&copy->readings[i]);
	free(copy->readings);
	free(copy->items);
	free(copy->small);
	mb_pg_files_release(&copy->files);
	if (copy->root_fd >= 0)
		close(copy->root_fd);
	pthread_mutex_destroy(&copy->lock);
}

static enum mb_code
describe_backup(struct copy *copy, struct mb_error *err)
{
	static const char tablespaces_sql[] =
		"SELECT oid::text, pg_tablespace_location(oid) AS path FROM pg_tablespace"
		" WHERE pg_tablespace_location(oid) <> ''";
	struct mb_postgres *pg = copy->pg;
	json_t *meta = copy->capture->meta;
	json_t *tablespaces = json_array();
	PGresult *res;
	enum mb_code code;
	char *text;
	int i;

	mb_json_set_str(meta, "version", pg->server.version_text);
	mb_json_set_int(meta, "version_num", pg->server.version);
	mb_json_set_str(meta, "system_id", pg->server.system_id);
	mb_json_set_int(meta, "catalog_version", pg->server.catalog_version);
	mb_json_set_int(meta, "wal_segment_size", pg->server.segment_size);
	mb_json_set_int(meta, "page_size", pg->server.block_size);
	mb_json_set_bool(meta, "data_checksums", pg->server.checksums);
	mb_json_set_str(meta, "data_directory", pg->server.data_directory);
	mb_json_set_str(meta, "config_file", pg->server.config_file);
	mb_json_set_int(meta, "timeline", pg->backup_timeline);
	mb_json_set_lsn(meta, "start_lsn", pg->start_lsn);
	mb_json_set_lsn(meta, "stop_lsn", pg->stop_lsn);
	mb_json_set_time(meta, "stop_time", server_time_us(pg->conn));
	json_object_set_new(meta, "tablespaces", tablespaces);
	code = mb_pg_query(pg->conn, &res, tablespaces_sql, 0, NULL, err);
	if (code)
		return code;
	for (i = 0; i < PQntuples(res); i++)
	{
		json_t *one = json_object();

		mb_json_set_str(one, "oid", mb_pg_field(res, i, "oid"));
		mb_json_set_str(one, "path", mb_pg_field(res, i, "path"));
		json_array_append_new(tablespaces, one);
	}
	PQclear(res);
	code = mb_pg_value(pg->conn, &text, "SELECT txid_snapshot_xmax(txid_current_snapshot())", 0,
					   NULL, err);
	if (code)
		return code;
	mb_json_set_int(meta, "next_xid", strtoll(text, NULL, 10));
	free(text);
	return MB_OK;
}

static enum mb_code
check_source(struct copy *copy, struct mb_error *err)
{
	struct mb_postgres *pg = copy->pg;
	const char *method = mb_settings_get(pg->base.settings, "method");

	if (method && strcmp(method, "basebackup") == 0)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"backups over the wire (method = basebackup) are not supported yet");
		return mb_error_hint(err, "Run mbackup on the database host with method = direct.");
	}
	if (pg->server.in_recovery)
	{
		mb_fail(err, MB_UNSUPPORTED,
				"the server is a standby: backups of a standby are not supported yet");
		return mb_error_hint(err, "Point conninfo at the primary.");
	}
	if (pg->server.block_size != MB_PG_PAGE_BYTES)
		return mb_fail(err, MB_UNSUPPORTED, "the server has pages of %u bytes instead of 8192",
					   pg->server.block_size);
	if (!pg->server.data_directory || !*pg->server.data_directory)
	{
		mb_fail(err, MB_DENIED, "the server does not tell its data directory");
		return mb_error_hint(err, "Grant pg_read_all_settings to the user.");
	}
	copy->root_fd = open(pg->server.data_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy->root_fd < 0)
	{
		mb_fail_errno(err, errno, "could not open data directory \"%s\"",
					  pg->server.data_directory);
		return mb_error_hint(err, "Run mbackup on the database host as the user that runs "
								  "PostgreSQL (usually postgres), or as root.");
	}
	return MB_OK;
}

/* Before anything is read, somebody must be receiving WAL. */
static enum mb_code
ensure_receiver(struct mb_postgres *pg, struct mb_error *err)
{
	struct mb_pg_slot slot;
	enum mb_code code = mb_postgres_slot(pg, &slot, err);

	if (code || slot.active)
		return code;
	if (slot.exists && !slot.lost)
	{
		code = mb_postgres_receive(pg, MB_WAL_SLOT_EXISTING, err);
		/* A stream may have started just now. */
		return code == MB_CONFLICT ? MB_OK : code;
	}
	return mb_postgres_receive(pg, MB_WAL_SLOT_TEMPORARY, err);
}

enum mb_code
mb_postgres_snapshot(struct mb_component *component, struct mb_capture *capture,
					 struct mb_error *err)
{
	struct mb_postgres *pg = (struct mb_postgres *) component;
	struct copy copy = {.pg = pg, .capture = capture, .root_fd = -1};
	enum mb_code code;

	pthread_mutex_init(&copy.lock, NULL);
	code = mb_postgres_connect(pg, err);
	if (!code)
		code = check_source(&copy, err);
	if (!code)
		name_owner(&copy);
	if (!code)
		code = ensure_receiver(pg, err);
	if (!code)
		code = start_backup(&copy, err);
	if (!code)
		code = copy_under_session(&copy, err);
	if (!code)
		code = stop_backup(&copy, err);
	if (!code)
		code = describe_backup(&copy, err);
	if (code)
	{
		/* Ends the backup on the server too. */
		mb_postgres_disconnect(pg);
		pg->wal->stop(pg->receiver);
		pg->receiver = NULL;
	}
	release_copy(&copy);
	return code;
}
