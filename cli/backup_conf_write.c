/*
 * backup_conf_write.c - see backup_conf.h: from the variables of the scripts to mbackup.conf.
 *
 * One table says which variables there are and what becomes of each, so that nothing is taken over in
 * silence and nothing is left out in silence.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/backup_conf.h"
#include "core/base/fs.h"
#include "core/repo/commit.h"

static const struct
{
	const char *name;
	const char *becomes; /* NULL: nothing, and why */
	const char *why;
} known[] = {
	{"BACKUP_DIR", "url in [repository], or where the archives are", NULL},
	{"BACKUP_TYPE", NULL,
	 "\"mbackup backup --type\" says it each time; \"mbackup compat\" reads it"},
	{"RETENTION_DAYS", "[retention]: days, and expire at the end of every backup", NULL},
	{"COMPRESS", "compression in [repository]", NULL},
	{"ENCRYPT", "encryption in [repository]", NULL},
	{"ENCRYPTION_KEY", "passphrase in [repository]", NULL},
	{"S3_BACKUP", "[repository:s3], a copy", NULL},
	{"S3_ENDPOINT", "endpoint in [repository:s3]", NULL},
	{"S3_BUCKET", "url in [repository:s3]", NULL},
	{"S3_REGION", "region in [repository:s3]", NULL},
	{"S3_ACCESS_KEY", "access-key in [repository:s3]", NULL},
	{"S3_SECRET_KEY", "secret-key in [repository:s3]", NULL},
	{"POSTGRES_HOST", "host of conninfo in [postgres]", NULL},
	{"POSTGRES_PORT", "port of conninfo in [postgres]", NULL},
	{"POSTGRES_USER", "user of conninfo in [postgres]", NULL},
	{"POSTGRES_PASSWORD", "password in [postgres]", NULL},
	{"POSTGRES_DB", "dbname of conninfo in [postgres]; archives hold this database only", NULL},
	{"REDIS_URL", "url in [redis]", NULL},
	{"REDIS_HOST", "url in [redis]", NULL},
	{"REDIS_PORT", "url in [redis]", NULL},
	{"REDIS_PASSWORD", "password in [redis]", NULL},
	{"MINIO_ENDPOINT", "endpoint in [objects:...]", NULL},
	{"MINIO_BUCKET", "[objects:...]", NULL},
	{"MINIO_BUCKETS", "[objects:...], one for each", NULL},
	{"MINIO_DATA_DIR", "[objects:minio], a directory", NULL},
	{"MINIO_ACCESS_KEY", "access-key in [objects:...]", NULL},
	{"MINIO_SECRET_KEY", "secret-key in [objects:...]", NULL},
	{"MINIO_ROOT_USER", "access-key in [objects:...]", NULL},
	{"MINIO_ROOT_PASSWORD", "secret-key in [objects:...]", NULL},
	{"CONFIG_PATHS", "paths in [files:configs]", NULL},
	{"CONFIG_DIR", "paths in [files:configs]", NULL},
	{"RESTORE_MODE", NULL,
	 "\"mbackup restore --component\" says it; \"mbackup compat restore\" reads it"},
	{"SKIP_VERIFICATION", NULL,
	 "\"mbackup verify\" is a command of its own; \"mbackup compat\" reads it"},
	{"CREATE_SNAPSHOT", NULL,
	 "every restore keeps what it can first; \"mbackup compat restore\" reads it"},
};
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))

enum mb_code
backup_conf_read(struct backup_conf *conf, const char *path, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = path ? mb_file_read(&text, path, BACKUP_CONF_MAX_BYTES, err) : MB_OK;
	size_t i;

	memset(conf, 0, sizeof(*conf));
	if (!code)
	{
		code = backup_conf_parse(conf, text.data ? (const char *) text.data : "", text.len,
								 (backup_conf_env) getenv, err);
		if (code)
			mb_error_context(err, "could not read \"%s\"", path);
	}
	/* As in the scripts, what the file sets counts and the rest comes from the environment. */
	for (i = 0; !code && i < KNOWN_COUNT; i++)
		if (!json_object_get(conf->values, known[i].name) && getenv(known[i].name))
		{
			mb_json_set_str(conf->values, known[i].name, getenv(known[i].name));
			mb_json_set_bool(conf->inherited, known[i].name, true);
		}
	mb_buf_wipe(&text);
	return code;
}

/* -- writing ----------------------------------------------------------------------------------------- */

struct writer
{
	struct backup_conf *conf;
	const struct backup_conf_options *options;
	struct mb_buf *out;
	struct mb_error *err;
	enum mb_code code;
};

static const char *
get(const struct writer *writer, const char *name, const char *other)
{
	const char *value = backup_conf_get(writer->conf, name);

	return value || !other ? value : backup_conf_get(writer->conf, other);
}

/* "key = value"; a value is one line, and what would be a comment in it cannot be written. */
static void
put_key(struct writer *writer, const char *key, const char *value)
{
	const char *p;

	for (p = value; *p; p++)
		if ((unsigned char) *p < 0x20 ||
			((*p == '#' || *p == ';') && p > value && (p[-1] == ' ' || p[-1] == '\t')))
		{
			if (!writer->code)
				writer->code = mb_fail(writer->err, MB_CONFIG,
									   "the value for \"%s\" cannot stand in mbackup.conf", key);
			return;
		}
	mb_buf_printf(writer->out, "%s = %s\n", key, value);
}

/* "password" of component "redis": MBACKUP_REDIS_PASSWORD.  The value is that of the first name, or the other. */
static void
put_secret(struct writer *writer, const char *key, const char *component, const char *name,
		   const char *other)
{
	const char *value = get(writer, name, other);
	const char *source = get(writer, name, NULL) ? name : other;
	char *variable, *p;

	if (!value)
		return;
	variable = strcmp(key, "passphrase") == 0 ? mb_strdup("MBACKUP_PASSPHRASE")
											  : mb_asprintf("MBACKUP_%s_%s", component, key);
	for (p = variable; *p; p++)
		*p = *p == '-' || *p == ':' ? '_' : (char) toupper((unsigned char) *p);
	if (writer->options->secrets == BACKUP_CONF_ENVIRONMENT ||
		json_object_get(writer->conf->inherited, source))
	{
		/* For our children, or for what this process does next. */
		setenv(variable, value, 1);
		mb_buf_printf(writer->out, "# %s comes from the environment: %s\n", key, variable);
	}
	else
		put_key(writer, key, value);
	free(variable);
}

static void
put_repository(struct writer *writer)
{
	const char *key = get(writer, "ENCRYPTION_KEY", NULL);
	bool encrypt = true, compress = true, copy = false;

	mb_buf_printf(writer->out, "[global]\n");
	put_key(writer, "spool", writer->options->spool);
	mb_buf_put_str(writer->out, "\n[repository]\n");
	put_key(writer, "url", writer->options->repository);
	if (writer->options->throw_away)
		return;
	writer->code = backup_conf_flag(writer->conf, "ENCRYPT", true, &encrypt, writer->err);
	if (!writer->code)
		writer->code = backup_conf_flag(writer->conf, "COMPRESS", true, &compress, writer->err);
	if (!writer->code)
		writer->code = backup_conf_flag(writer->conf, "S3_BACKUP", false, &copy, writer->err);
	if (!encrypt)
		mb_buf_put_str(writer->out, "encryption = none\n");
	else if (writer->options->unlock && writer->options->unlock[0])
		mb_buf_put_str(writer->out, writer->options->unlock);
	else if (key)
		put_secret(writer, "passphrase", "repository", "ENCRYPTION_KEY", NULL);
	mb_buf_printf(writer->out, "compression = %s\n", compress ? "zstd:1" : "none");
	if (!writer->code && copy && get(writer, "S3_BUCKET", NULL))
	{
		char *url = mb_asprintf("s3://%s/mbackup", get(writer, "S3_BUCKET", NULL));

		mb_buf_put_str(writer->out, "\n[repository:s3]\n");
		put_key(writer, "url", url);
		if (get(writer, "S3_ENDPOINT", NULL))
			put_key(writer, "endpoint", get(writer, "S3_ENDPOINT", NULL));
		if (get(writer, "S3_REGION", NULL))
			put_key(writer, "region", get(writer, "S3_REGION", NULL));
		if (get(writer, "S3_ACCESS_KEY", NULL))
			put_key(writer, "access-key", get(writer, "S3_ACCESS_KEY", NULL));
		put_secret(writer, "secret-key", "repository_s3", "S3_SECRET_KEY", NULL);
		free(url);
	}
	else if (!writer->code && copy)
		writer->code = mb_fail(writer->err, MB_CONFIG, "S3_BACKUP is set, but S3_BUCKET is not");
}

/* 0 kept everything, as no section does. */
static void
put_retention(struct writer *writer)
{
	const char *days = get(writer, "RETENTION_DAYS", NULL);

	if (!days || writer->options->throw_away || strspn(days, "0") == strlen(days))
		return;
	if (days[strspn(days, "0123456789")] != '\0' || strlen(days) > 5)
	{
		if (!writer->code)
			writer->code =
				mb_fail(writer->err, MB_CONFIG, "RETENTION_DAYS is not a number of days");
		return;
	}
	mb_buf_put_str(writer->out, "\n[retention]\n");
	put_key(writer, "days", days);
	mb_buf_put_str(writer->out, "after-backup = yes\n");
}

/* A value of a connection string, in quotes. */
static void
put_conninfo(struct mb_buf *text, const char *key, const char *value)
{
	if (!value)
		return;
	mb_buf_printf(text, "%s%s='", text->len ? " " : "", key);
	for (; *value; value++)
	{
		if (*value == '\'' || *value == '\\')
			mb_buf_put_u8(text, '\\');
		mb_buf_put_u8(text, (uint8_t) *value);
	}
	mb_buf_put_u8(text, '\'');
}

static void
put_postgres(struct writer *writer)
{
	struct mb_buf conninfo = {0};
	const char *database = get(writer, "POSTGRES_DB", NULL);

	if (!database && !get(writer, "POSTGRES_USER", "POSTGRES_HOST"))
		return;
	put_conninfo(&conninfo, "host", get(writer, "POSTGRES_HOST", NULL));
	put_conninfo(&conninfo, "port", get(writer, "POSTGRES_PORT", NULL));
	put_conninfo(&conninfo, "user", get(writer, "POSTGRES_USER", NULL));
	put_conninfo(&conninfo, "dbname", database ? database : "postgres");
	mb_buf_put_str(writer->out, "\n[postgres]\n");
	put_key(writer, "conninfo", mb_buf_cstr(&conninfo));
	put_secret(writer, "password", "postgres", "POSTGRES_PASSWORD", NULL);
	mb_buf_release(&conninfo);
}

static void
put_redis(struct writer *writer)
{
	const char *host = get(writer, "REDIS_HOST", NULL), *port = get(writer, "REDIS_PORT", NULL);
	char *url;

	if (!host && !port && !get(writer, "REDIS_URL", NULL))
		return;
	url = get(writer, "REDIS_URL", NULL)
			  ? mb_strdup(get(writer, "REDIS_URL", NULL))
			  : mb_asprintf("redis://%s:%s", host ? host : "127.0.0.1", port ? port : "6379");
	mb_buf_put_str(writer->out, "\n[redis]\n");
	put_key(writer, "url", url);
	put_secret(writer, "password", "redis", "REDIS_PASSWORD", NULL);
	free(url);
}

static void
put_bucket(struct writer *writer, const char *bucket, size_t number)
{
	char *name = mb_component_name_is_valid(bucket) && strcmp(bucket, "postgres") != 0 &&
						 strcmp(bucket, "redis") != 0 && strcmp(bucket, "configs") != 0
					 ? mb_strdup(bucket)
					 : mb_asprintf("bucket%zu", number);
	char *url = mb_asprintf("s3://%s", bucket);

	mb_buf_printf(writer->out, "\n[objects:%s]\n", name);
	put_key(writer, "url", url);
	if (get(writer, "MINIO_ENDPOINT", NULL))
		put_key(writer, "endpoint", get(writer, "MINIO_ENDPOINT", NULL));
	if (get(writer, "MINIO_ACCESS_KEY", "MINIO_ROOT_USER"))
		put_key(writer, "access-key", get(writer, "MINIO_ACCESS_KEY", "MINIO_ROOT_USER"));
	put_secret(writer, "secret-key", name, "MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD");
	free(url);
	free(name);
}

/* Words of a list, with blanks or commas between; free() the copy behind the last. */
static char *
next_word(char **at)
{
	return strtok_r(NULL, " \t\n,", at);
}

static void
put_buckets(struct writer *writer)
{
	const char *list = get(writer, "MINIO_BUCKETS", "MINIO_BUCKET");
	const char *directory = get(writer, "MINIO_DATA_DIR", NULL);
	char *copy, *at, *word;
	size_t number = 0;

	if (list)
	{
		copy = mb_strdup(list);
		for (word = strtok_r(copy, " \t\n,", &at); word; word = next_word(&at))
			put_bucket(writer, word, ++number);
		free(copy);
	}
	else if (directory)
	{
		char *url = mb_asprintf("file://%s", directory);

		mb_buf_put_str(writer->out, "\n[objects:minio]\n");
		put_key(writer, "url", url);
		free(url);
	}
}

static void
put_files(struct writer *writer)
{
	const char *list = get(writer, "CONFIG_PATHS", "CONFIG_DIR");
	struct mb_buf paths = {0};
	char *copy, *at, *word;

	if (!list)
		return;
	copy = mb_strdup(list);
	for (word = strtok_r(copy, " \t\n,", &at); word; word = next_word(&at))
		mb_buf_printf(&paths, "%s%s", paths.len ? ", " : "", word);
	mb_buf_put_str(writer->out, "\n[files:configs]\n");
	put_key(writer, "paths", mb_buf_cstr(&paths));
	mb_buf_release(&paths);
	free(copy);
}

static bool
is_secret(const char *name)
{
	return strstr(name, "KEY") || strstr(name, "PASSWORD") || strstr(name, "SECRET");
}

/* What became of each variable. */
static void
report(struct backup_conf *conf)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(conf->values, name, value)
	{
		json_t *item = json_object();
		const char *why = "it is not known: nothing was made of it";

		mb_json_set_str(item, "name", name);
		for (i = 0; i < KNOWN_COUNT && strcmp(known[i].name, name) != 0; i++)
			;
		if (i < KNOWN_COUNT && known[i].becomes)
		{
			mb_json_set_str(item, "becomes", known[i].becomes);
			if (!is_secret(name))
				json_object_set(item, "value", value);
			json_array_append_new(conf->taken, item);
			continue;
		}
		if (i < KNOWN_COUNT)
			why = known[i].why;
		mb_json_set_int(item, "line", 0);
		mb_json_set_str(item, "why", why);
		json_array_append_new(conf->not_taken, item);
	}
}

enum mb_code
backup_conf_write(struct backup_conf *conf, const struct backup_conf_options *options,
				  struct mb_buf *out, struct mb_error *err)
{
	struct writer writer = {.conf = conf, .options = options, .out = out, .err = err};
	size_t components;

	put_repository(&writer);
	put_retention(&writer);
	components = out->len;
	put_postgres(&writer);
	put_buckets(&writer);
	put_redis(&writer);
	put_files(&writer);
	if (!writer.code && out->len == components)
	{
		writer.code = mb_fail(err, MB_CONFIG, "there is nothing to protect in these variables");
		mb_error_hint(err, "Set some of POSTGRES_USER, POSTGRES_DB, REDIS_HOST, MINIO_BUCKETS, "
						   "MINIO_DATA_DIR, CONFIG_PATHS.");
	}
	report(conf);
	return writer.code;
}
