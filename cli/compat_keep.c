/* compat_keep.c - see compat.h: archives after they are made. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/archive.h"
#include "cli/compat.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "objectstore/s3_settings.h"
#include "objectstore/upload.h"

#define DAY_SECONDS 86400

static bool
is_archive(const char *name)
{
	static const char *const ends[] = {".tar", ".tar.gz", ".tar.enc", ".tar.gz.enc"};
	const char *p = name;
	size_t digits = 0, i;

	if (!mb_starts_with(name, "backup-"))
		return false;
	for (p += strlen("backup-");
		 isdigit((unsigned char) *p) || *p == '-' || *p == '_' || *p == 'T' || *p == 'Z'; p++)
		digits += isdigit((unsigned char) *p) != 0;
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (strcmp(p, ends[i]) == 0)
			return digits >= 8;
	return false;
}

/* -- upload ----------------------------------------------------------------------------------------- */

static void
add_setting(const struct compat_run *run, struct mb_settings *settings, const char *key,
			const char *name)
{
	const char *value = backup_conf_get(&run->conf, name);

	if (value)
		mb_settings_add(settings, key, value);
}

static enum mb_code
upload_file(struct mb_s3 *s3, const char *bucket, const char *path, struct mb_error *err)
{
	const char *slash = strrchr(path, '/');
	unsigned char *chunk = mb_malloc(ARCHIVE_CHUNK);
	struct mb_upload *upload = NULL;
	int fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);
	enum mb_code code = MB_OK;
	uint64_t at = 0;
	struct stat st = {0};
	size_t got;

	if (fd < 0 || fstat(fd, &st) != 0)
		code = mb_fail_errno(err, errno, "could not open \"%s\"", path);
	if (!code)
		code = mb_upload_begin(&upload, s3, bucket, slash ? slash + 1 : path, (uint64_t) st.st_size,
							   NULL, err);
	while (!code && at < (uint64_t) st.st_size)
	{
		code = mb_pread_full(fd, chunk, ARCHIVE_CHUNK, (int64_t) at, &got, path, err);
		if (!code && (got == 0 || got > (uint64_t) st.st_size - at))
			code = mb_fail(err, MB_IO, "\"%s\" changes while it is uploaded", path);
		if (!code)
			code = mb_upload_write(upload, chunk, got, err);
		at += code ? 0 : got;
	}
	if (!code)
	{
		code = mb_upload_end(upload, err);
		upload = NULL;
	}
	mb_upload_abort(upload);
	if (fd >= 0)
		close(fd);
	free(chunk);
	return code;
}

enum mb_code
compat_upload(struct compat_run *run, struct mb_error *err)
{
	struct mb_settings settings = {.name = "S3_BACKUP", .kind = "repository"};
	const char *bucket = backup_conf_get(&run->conf, "S3_BUCKET");
	const char *secret = backup_conf_get(&run->conf, "S3_SECRET_KEY");
	struct mb_s3 *s3 = NULL;
	bool wanted;
	enum mb_code code = backup_conf_flag(&run->conf, "S3_BACKUP", false, &wanted, err);
	char *sum;

	if (code || !wanted)
		return code;
	if (!bucket)
		return mb_fail(err, MB_CONFIG, "S3_BACKUP is set, but S3_BUCKET is not");
	mb_settings_add(&settings, "credentials", "auto");
	add_setting(run, &settings, "endpoint", "S3_ENDPOINT");
	add_setting(run, &settings, "region", "S3_REGION");
	add_setting(run, &settings, "access-key", "S3_ACCESS_KEY");
	if (secret)
		mb_settings_add_secret(&settings, "secret-key", secret, strlen(secret));
	code = mb_s3_from_settings(&s3, &settings, &run->cli->env, err);
	if (!code)
		code = upload_file(s3, bucket, run->archive, err);
	sum = mb_asprintf("%s.sha256", run->archive);
	if (!code)
		code = upload_file(s3, bucket, sum, err);
	free(sum);
	mb_s3_free(s3);
	mb_settings_release(&settings);
	run->uploaded = !code;
	if (code)
		mb_error_detail(err, "The archive is in \"%s\".", run->archive);
	return code;
}

/* -- which there are -------------------------------------------------------------------------------- */

typedef enum mb_code (*archive_fn)(void *ctx, const char *path, const struct stat *st,
								   struct mb_error *err);

static enum mb_code
each_archive(const struct compat_run *run, archive_fn fn, void *ctx, struct mb_error *err)
{
	DIR *dir = mb_opendir(run->directory);
	enum mb_code code = MB_OK;
	struct dirent *item;

	if (!dir)
		return mb_fail_errno(err, errno, "could not open \"%s\"", run->directory);
	for (errno = 0; !code && (item = readdir(dir)) != NULL; errno = 0)
	{
		char *path = mb_path_join(run->directory, item->d_name);
		struct stat st;

		if (is_archive(item->d_name) && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			code = fn(ctx, path, &st, err);
		free(path);
	}
	if (!code && errno)
		code = mb_fail_errno(err, errno, "could not read \"%s\"", run->directory);
	closedir(dir);
	return code;
}

struct newest
{
	char *path;
	struct timespec time;
};

static enum mb_code
take_newest(void *ctx, const char *path, const struct stat *st, struct mb_error *err)
{
	struct newest *newest = ctx;

	(void) err;
	if (newest->path &&
		(st->st_mtim.tv_sec < newest->time.tv_sec || (st->st_mtim.tv_sec == newest->time.tv_sec &&
													  st->st_mtim.tv_nsec <= newest->time.tv_nsec)))
		return MB_OK;
	free(newest->path);
	newest->path = mb_strdup(path);
	newest->time = st->st_mtim;
	return MB_OK;
}

enum mb_code
compat_newest(const struct compat_run *run, char **path, struct mb_error *err)
{
	struct newest newest = {0};

	if (each_archive(run, take_newest, &newest, err))
		return err->code;
	if (!newest.path)
	{
		mb_fail(err, MB_NOT_FOUND, "there is no archive in \"%s\"", run->directory);
		return mb_error_hint(err, "Name one: mbackup compat restore FILE.");
	}
	*path = newest.path;
	return MB_OK;
}

/* -- retention --------------------------------------------------------------------------------------- */

struct expiring
{
	struct compat_run *run;
	const char *keep;
	int64_t before; /* seconds */
};

static enum mb_code
expire_one(void *ctx, const char *path, const struct stat *st, struct mb_error *err)
{
	struct expiring *expiring = ctx;
	char *sum;

	if (st->st_mtim.tv_sec >= expiring->before || strcmp(path, expiring->keep) == 0)
		return MB_OK;
	if (unlink(path) != 0)
		return mb_fail_errno(err, errno, "could not remove \"%s\"", path);
	sum = mb_asprintf("%s.sha256", path);
	if (unlink(sum) != 0 && errno != ENOENT)
		mb_log_warning(&expiring->run->cli->log, "could not remove \"%s\"", sum);
	free(sum);
	json_array_append_new(expiring->run->removed, json_string(path));
	return MB_OK;
}

enum mb_code
compat_expire(struct compat_run *run, struct mb_error *err)
{
	const char *text = backup_conf_get(&run->conf, "RETENTION_DAYS");
	struct expiring expiring = {.run = run, .keep = run->archive};
	char *end;
	long days;

	if (!text)
		return MB_OK;
	days = strtol(text, &end, 10);
	if (*end != '\0' || days < 0 || days > 100000 || !isdigit((unsigned char) text[0]))
		return mb_fail(err, MB_CONFIG, "RETENTION_DAYS is not a number of days");
	/* 0 never meant "remove everything". */
	if (days == 0)
		return MB_OK;
	expiring.before = mb_time_now_us() / 1000000 - (int64_t) days * DAY_SECONDS;
	return each_archive(run, expire_one, &expiring, err);
}
