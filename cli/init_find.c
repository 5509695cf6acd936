/*
 * init_find.c - what runs on this host; see init.h.
 *
 * Only places that are meant for it are looked into: the environment, sockets, the configuration of
 * Debian, processes of this user, and what mc and the environment say of buckets.  No network is
 * scanned.  A failure to look is no news here: what is not found can be typed.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/init.h"
#include "core/base/fs.h"
#include "postgres/connection.h"
#include "redis/connection.h"

#define MAX_FOUND 8
#define CONNECT_MS 2000
#define SMALL_FILE 65536

/* -- lists -------------------------------------------------------------------------------------- */

void
init_list_release(struct init_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
	{
		free(list->items[i].value);
		free(list->items[i].shown);
		free(list->items[i].why);
	}
	free(list->items);
	memset(list, 0, sizeof(*list));
}

/* Takes value; once each. */
static void
add(struct init_list *list, char *value)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (strcmp(list->items[i].value, value) == 0)
			break;
	if (i < list->count || list->count >= MAX_FOUND)
	{
		free(value);
		return;
	}
	list->items = mb_grow(list->items, &list->cap, list->count + 1, sizeof(*list->items));
	list->items[list->count++] = (struct init_found){.value = value};
}

/* Ask each whether it answers; those that do come first, in the order in which they were found. */
static void
try_all(struct init_list *list, enum mb_code (*try)(const char *, char **, struct mb_error *))
{
	struct init_found *sorted = mb_calloc(list->count + 1, sizeof(*sorted));
	size_t count = 0, i, pass;

	for (i = 0; i < list->count; i++)
	{
		struct mb_error err;

		mb_error_clear(&err);
		if (try(list->items[i].value, &list->items[i].shown, &err))
			list->items[i].why = mb_strdup(err.message);
	}
	for (pass = 0; pass < 2; pass++)
		for (i = 0; i < list->count; i++)
			if ((list->items[i].why != NULL) == (pass == 1))
				sorted[count++] = list->items[i];
	for (i = 0; i < list->count; i++)
		list->items[i] = sorted[i];
	free(sorted);
}

static bool
read_small(const char *path, struct mb_buf *out)
{
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_file_read(out, path, SMALL_FILE, &err))
		return false;
	mb_buf_cstr(out);
	return true;
}

/* For each process of this name that lives: its directory in /proc. */
static void
each_process(const char *name, struct init_list *list,
			 void (*found)(struct init_list *list, const char *directory))
{
	DIR *proc = mb_opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)) != NULL)
	{
		char *directory, *path;
		struct mb_buf comm = {0};

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		directory = mb_asprintf("/proc/%s", entry->d_name);
		path = mb_path_join(directory, "comm");
		if (read_small(path, &comm) && mb_starts_with((char *) comm.data, name) &&
			comm.data[strlen(name)] == '\n')
			found(list, directory);
		mb_buf_release(&comm);
		free(path);
		free(directory);
	}
	if (proc)
		closedir(proc);
}

/* -- PostgreSQL ------------------------------------------------------------------------------------ */

static void
add_postgres(struct init_list *list, const char *host, const char *port)
{
	/* A blank or a quote would need quoting; no place has one. */
	if (host[0] && !strpbrk(host, " '\\") && port[0] && strspn(port, "0123456789") == strlen(port))
		add(list, mb_asprintf("host=%s port=%s dbname=postgres", host, port));
}

static void
add_sockets(struct init_list *list, const char *directory)
{
	static const char prefix[] = ".s.PGSQL.";
	DIR *dir = mb_opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (mb_starts_with(entry->d_name, prefix) && !mb_ends_with(entry->d_name, ".lock"))
			add_postgres(list, directory, entry->d_name + strlen(prefix));
	if (dir)
		closedir(dir);
}

/* postmaster.pid: the pid, the directory, the start, the port, the socket's directory, ... */
static void
add_data_directory(struct init_list *list, const char *data_directory)
{
	char *path = mb_path_join(data_directory, "postmaster.pid"), *line, *rest;
	char *lines[5] = {NULL};
	struct mb_buf text = {0};
	size_t i;

	if (read_small(path, &text))
	{
		rest = (char *) text.data;
		for (i = 0; i < 5 && (line = strsep(&rest, "\n")) != NULL; i++)
			lines[i] = line;
		if (lines[4])
			add_postgres(list, lines[4][0] ? lines[4] : "localhost", lines[3]);
	}
	mb_buf_release(&text);
	free(path);
}

static void
add_postmaster(struct init_list *list, const char *directory)
{
	char *link = mb_path_join(directory, "cwd"), target[4096];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len > 0)
	{
		target[len] = '\0';
		add_data_directory(list, target);
	}
	free(link);
}

void
init_find_postgres(struct init_list *list)
{
	const char *host = getenv("PGHOST"), *port = getenv("PGPORT"), *data = getenv("PGDATA");

	if (host)
		add_postgres(list, host, port ? port : "5432");
	if (data)
		add_data_directory(list, data);
	add_sockets(list, "/var/run/postgresql");
	add_sockets(list, "/tmp");
	each_process("postgres", list, add_postmaster);
	try_all(list, init_try_postgres);
}

enum mb_code
init_try_postgres(const char *conninfo, char **shown, struct mb_error *err)
{
	char *quick = mb_asprintf("%s connect_timeout=3", conninfo);
	struct mb_pg_params params = {.conninfo = strchr(conninfo, '=') ? quick : conninfo};
	PGconn *conn = NULL;
	char *what = NULL;
	enum mb_code code = mb_pg_conninfo_check(conninfo, err);

	if (!code)
		code = mb_pg_connect(&conn, &params, MB_PG_SQL, err);
	if (!code)
		code = mb_pg_value(conn, &what,
						   "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), "
						   "' ', 1) || ', ' || "
						   "pg_size_pretty(sum(pg_database_size(oid))) || ' in ' || count(*) || ' "
						   "databases, user ' || "
						   "current_user FROM pg_database WHERE datallowconn AND "
						   "has_database_privilege(oid, 'CONNECT')",
						   0, NULL, err);
	if (!code)
		*shown = mb_asprintf("%s, at %s", what, conninfo);
	else if (code == MB_DENIED)
		mb_error_hint(err,
					  "Name a user that may replicate, such as \"%s user=postgres\", or run "
					  "\"mbackup init\" as the system user postgres.",
					  conninfo);
	if (conn)
		PQfinish(conn);
	free(what);
	free(quick);
	return code;
}

/* -- Redis ------------------------------------------------------------------------------------------ */

static void
add_redis_sockets(struct init_list *list, const char *directory)
{
	DIR *dir = mb_opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (mb_ends_with(entry->d_name, ".sock"))
			add(list, mb_asprintf("unix://%s/%s", directory, entry->d_name));
	if (dir)
		closedir(dir);
}

/* "redis-server 127.0.0.1:6379": that is how it calls itself; a * is every address. */
static void
add_redis_process(struct init_list *list, const char *directory)
{
	char *path = mb_path_join(directory, "cmdline"), *colon;
	struct mb_buf line = {0};

	if (read_small(path, &line))
	{
		const char *where = strchr((char *) line.data, ' ');

		colon = where ? strrchr(where, ':') : NULL;
		if (colon && strspn(colon + 1, "0123456789") == strcspn(colon + 1, " ") && colon[1] > '0')
			add(list,
				mb_asprintf("redis://127.0.0.1:%.*s", (int) strcspn(colon + 1, " "), colon + 1));
	}
	mb_buf_release(&line);
	free(path);
}

void
init_find_redis(struct init_list *list)
{
	const char *url = getenv("REDIS_URL");
	struct mb_redis_url parsed = {0};
	struct mb_error err;

	mb_error_clear(&err);
	/* One with a password in it is no URL of ours. */
	if (url && !mb_redis_url_parse(&parsed, url, &err))
		add(list, mb_strdup(url));
	mb_redis_url_release(&parsed);
	add(list, mb_strdup("redis://127.0.0.1:6379"));
	add_redis_sockets(list, "/var/run/redis");
	each_process("redis-server", list, add_redis_process);
	try_all(list, init_try_redis);
	/* The usual port of a server that is not there is no finding. */
	while (list->count > 0 && list->items[list->count - 1].why &&
		   strstr(list->items[list->count - 1].why, "refused"))
	{
		list->count--;
		free(list->items[list->count].value);
		free(list->items[list->count].why);
	}
}

enum mb_code
init_try_redis(const char *url, char **shown, struct mb_error *err)
{
	struct mb_redis_url parsed = {0};
	struct mb_redis_options options = {.url = &parsed,
									   .cancel = &mb_interrupt,
									   .connect_ms = CONNECT_MS,
									   .io_ms = CONNECT_MS};
	struct mb_redis_reply reply = {0};
	struct mb_redis *redis = NULL;
	enum mb_code code = mb_redis_url_parse(&parsed, url, err);

	if (!code)
		code = mb_redis_connect(&redis, &options, err);
	if (!code)
		code = MB_REDIS_CALL(redis, &reply, err, "INFO", "server");
	if (!code)
	{
		const char *version = reply.text ? strstr(reply.text, "redis_version:") : NULL;

		version = version ? version + strlen("redis_version:") : "";
		*shown = mb_asprintf("Redis %.*s, at %s", (int) strcspn(version, "\r\n"), version, url);
	}
	else if (code == MB_DENIED)
		mb_error_hint(err, "It wants a password: leave it out here, and write [redis] with url and "
						   "password-file into mbackup.conf afterwards.");
	mb_redis_reply_release(&reply);
	mb_redis_close(redis);
	mb_redis_url_release(&parsed);
	return code;
}

/* -- files -------------------------------------------------------------------------------------------- */

static void
add_path(struct init_list *list, const char *path)
{
	if (access(path, R_OK) == 0)
		add(list, mb_strdup(path));
}

void
init_find_files(struct init_list *list)
{
	static const char *const beside[] = {"compose.yaml", "compose.yml", "docker-compose.yaml",
										 "docker-compose.yml", ".env"};
	char directory[4096];
	size_t i;

	for (i = 0; getcwd(directory, sizeof(directory)) && i < sizeof(beside) / sizeof(beside[0]); i++)
	{
		char *path = mb_path_join(directory, beside[i]);

		add_path(list, path);
		free(path);
	}
	add_path(list, "/etc/postgresql");
	add_path(list, "/etc/redis");
}

/* -- buckets -------------------------------------------------------------------------------------------- */

/* The first alias of mc that has keys and is no playground of others. */
static bool
server_of_mc(struct init_server *server)
{
	const char *home = getenv("HOME"), *name;
	char *path = mb_asprintf("%s/.mc/config.json", home ? home : "");
	struct mb_buf text = {0};
	json_t *config = NULL, *alias;
	struct mb_error err;

	mb_error_clear(&err);
	if (read_small(path, &text) &&
		!mb_json_parse(&config, (char *) text.data, text.len, "the aliases of mc", &err))
		json_object_foreach(json_object_get(config, "aliases"), name, alias)
		{
			const char *url = mb_json_str(alias, "url", "");
			const char *secret = mb_json_str(alias, "secretKey", "");

			if (server->endpoint || !secret[0] || strcmp(name, "play") == 0 ||
				!mb_json_str(alias, "accessKey", "")[0])
				continue;
			server->endpoint = mb_strdup(url);
			server->access_key = mb_strdup(mb_json_str(alias, "accessKey", ""));
			mb_secret_set(&server->secret_key, secret, strlen(secret));
			server->where = "~/.mc/config.json";
		}
	json_decref(config);
	mb_buf_wipe(&text);
	free(path);
	return server->endpoint != NULL;
}

bool
init_find_server(struct init_server *server)
{
	const char *user = getenv("MINIO_ROOT_USER"), *password = getenv("MINIO_ROOT_PASSWORD");
	const char *endpoint = getenv("MINIO_ENDPOINT");

	if (user && password && user[0] && password[0])
	{
		server->endpoint = mb_strdup(endpoint ? endpoint : "http://127.0.0.1:9000");
		server->access_key = mb_strdup(user);
		mb_secret_set(&server->secret_key, password, strlen(password));
		server->where = "$MINIO_ROOT_USER";
		return true;
	}
	return server_of_mc(server);
}

void
init_server_release(struct init_server *server)
{
	free(server->endpoint);
	free(server->access_key);
	mb_secret_release(&server->secret_key);
	memset(server, 0, sizeof(*server));
}
