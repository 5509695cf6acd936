/* service.c - see service.h. */
#include "core/engine/service.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WORDS 12
/* pg_ctl status, pg_ctlcluster status and systemctl is-active: "it does not run". */
#define STATUS_STOPPED 3
#define STATUS_NO_DATA 4
/* Of a shell from here on: the command could not be run, or a signal ended it. */
#define STATUS_NOT_RUN 126

/* -- reading ------------------------------------------------------------------------------------- */

static enum mb_code
unknown(const char *text, struct mb_error *err)
{
	mb_fail(err, MB_CONFIG, "service \"%s\" is not possible", text);
	return mb_error_hint(err, "Write systemd:NAME, compose:FILE#SERVICE, pg_ctlcluster:15/main, "
							  "pg_ctl or command.");
}

/* "left<sep>right" behind the prefix; both must be there. */
static bool
split(const char *text, char sep, char **left, char **right)
{
	const char *at = strrchr(text, sep);

	if (!at || at == text || !at[1])
		return false;
	*left = mb_strndup(text, (size_t) (at - text));
	*right = mb_strdup(at + 1);
	return true;
}

static enum mb_code
parse_command(struct mb_service *service, const struct mb_settings *settings, struct mb_error *err)
{
	const char *stop = settings ? mb_settings_get(settings, "service-stop") : NULL;
	const char *start = settings ? mb_settings_get(settings, "service-start") : NULL;
	const char *status = settings ? mb_settings_get(settings, "service-status") : NULL;

	service->kind = MB_SERVICE_COMMAND;
	if (!stop || !start)
	{
		mb_fail(err, MB_CONFIG, "service = command needs service-stop and service-start");
		return mb_error_hint(err, "Write both into the section of the component.");
	}
	service->stop = mb_strdup(stop);
	service->start = mb_strdup(start);
	service->status = status ? mb_strdup(status) : NULL;
	return MB_OK;
}

static enum mb_code
parse_kind(struct mb_service *service, const char *text, const struct mb_settings *settings,
		   struct mb_error *err)
{
	const char *colon = strchr(text, ':');

	if (strcmp(text, "command") == 0)
		return parse_command(service, settings, err);
	if (strcmp(text, "pg_ctl") == 0)
	{
		service->kind = MB_SERVICE_PG_CTL;
		return MB_OK;
	}
	/* A name that begins with a dash would be an option of the program. */
	if (!colon || !colon[1] || colon[1] == '-')
		return unknown(text, err);
	if (mb_starts_with(text, "systemd:"))
	{
		service->kind = MB_SERVICE_SYSTEMD;
		service->name = mb_strdup(colon + 1);
		return MB_OK;
	}
	service->kind =
		mb_starts_with(text, "compose:") ? MB_SERVICE_COMPOSE : MB_SERVICE_PG_CTLCLUSTER;
	if ((mb_starts_with(text, "compose:") &&
		 split(colon + 1, '#', &service->file, &service->name) && service->name[0] != '-') ||
		(mb_starts_with(text, "pg_ctlcluster:") &&
		 split(colon + 1, '/', &service->name, &service->file)))
		return MB_OK;
	return unknown(text, err);
}

enum mb_code
mb_service_parse(struct mb_service *service, const char *text, const struct mb_settings *settings,
				 struct mb_error *err)
{
	enum mb_code code;

	memset(service, 0, sizeof(*service));
	code = parse_kind(service, text, settings, err);
	if (code)
	{
		mb_service_release(service);
		return code;
	}
	service->component = settings ? mb_strdup(settings->name) : NULL;
	service->text = settings && !strchr(text, ':') ? mb_asprintf("%s of %s", text, settings->name)
												   : mb_strdup(text);
	return MB_OK;
}

void
mb_service_release(struct mb_service *service)
{
	free(service->text);
	free(service->component);
	free(service->name);
	free(service->file);
	free(service->stop);
	free(service->start);
	free(service->status);
	free(service->bindir);
	free(service->directory);
	memset(service, 0, sizeof(*service));
}

/* -- the commands ---------------------------------------------------------------------------------- */

enum verb
{
	VERB_STOP,
	VERB_START,
	VERB_STATUS
};

struct words
{
	const char *items[MAX_WORDS];
	size_t count;
	char *owned; /* a path that was made */
};

static void
add(struct words *words, const char *word)
{
	MB_ASSERT(words->count + 1 < MAX_WORDS);
	words->items[words->count++] = word;
}

static void
make_pg_ctl(const struct mb_service *service, enum verb verb, struct words *words)
{
	static const char *const verbs[] = {"stop", "start", "status"};

	words->owned =
		service->bindir ? mb_asprintf("%s/pg_ctl", service->bindir) : mb_strdup("pg_ctl");
	add(words, words->owned);
	add(words, "-D");
	add(words, service->directory ? service->directory : "");
	if (verb == VERB_STOP)
	{
		add(words, "-m");
		add(words, "fast");
		/* As long as our own limit: the smaller of the two would be a surprise. */
		add(words, "-t");
		add(words, "86400");
	}
	/* Whether it recovers to the target is waited for by the health check. */
	else if (verb == VERB_START)
	{
		add(words, "-W");
		add(words, "-l");
		add(words, service->file ? service->file : "/dev/null");
	}
	add(words, verbs[verb]);
}

static void
make_words(const struct mb_service *service, enum verb verb, struct words *words)
{
	static const char *const plain[] = {"stop", "start", "is-active"};
	static const char *const cluster[] = {"stop", "start", "status"};
	const char *command = verb == VERB_STOP    ? service->stop
						  : verb == VERB_START ? service->start
											   : service->status;

	switch (service->kind)
	{
		case MB_SERVICE_SYSTEMD:
			add(words, "systemctl");
			add(words, plain[verb]);
			add(words, service->name);
			break;
		case MB_SERVICE_COMPOSE:
			add(words, "docker");
			add(words, "compose");
			add(words, "-f");
			add(words, service->file);
			add(words, verb == VERB_STATUS ? "ps" : plain[verb]);
			if (verb == VERB_STATUS)
			{
				add(words, "--status");
				add(words, "running");
				add(words, "-q");
			}
			add(words, service->name);
			break;
		case MB_SERVICE_PG_CTLCLUSTER:
			add(words, "pg_ctlcluster");
			add(words, service->name);
			add(words, service->file);
			add(words, cluster[verb]);
			if (verb == VERB_STOP)
			{
				add(words, "-m");
				add(words, "fast");
			}
			break;
		case MB_SERVICE_PG_CTL:
			make_pg_ctl(service, verb, words);
			break;
		case MB_SERVICE_COMMAND:
			add(words, "/bin/sh");
			add(words, "-c");
			add(words, command);
			break;
	}
}

static enum mb_code
run(const struct mb_service *service, const struct mb_service_env *env, enum verb verb, int *status,
	char **tail, struct mb_error *err)
{
	struct words words = {.count = 0};
	/* What compose says to a question is the answer: it must not depend on a disk. */
	bool is_answer = verb == VERB_STATUS && service->kind == MB_SERVICE_COMPOSE;
	struct mb_process process = {.output_path = is_answer ? NULL : env->output_path,
								 .timeout_ms = env->timeout_ms,
								 .keeps_passphrase = true,
								 .cancel = env->cancel};
	struct stat st;
	enum mb_code code;

	make_words(service, verb, &words);
	process.argv = words.items;
	/* The server refuses to run as root: it belongs to whom its directory belongs to. */
	if (service->kind == MB_SERVICE_PG_CTL && geteuid() == 0 && service->directory &&
		stat(service->directory, &st) == 0 && st.st_uid != 0)
	{
		process.change_user = true;
		process.uid = st.st_uid;
		process.gid = st.st_gid;
	}
	code = mb_process_run(&process, status, tail, err);
	if (code == MB_NOT_FOUND)
		mb_error_hint(err, "Is the program of \"%s\" installed, and in PATH?", service->text);
	free(words.owned);
	return code;
}

static enum mb_code
say_failed(const struct mb_service *service, const char *what, int status, const char *tail,
		   struct mb_error *err)
{
	mb_fail(err, MB_IO, "could not %s service \"%s\": exit status %d", what, service->text, status);
	if (tail && *tail)
		mb_error_detail(err, "%.900s", tail);
	return err->code;
}

/* -- asking, stopping, starting --------------------------------------------------------------------- */

/* A service that has no way to ask counts as running, so that it is stopped. */
enum mb_code
mb_service_state(const struct mb_service *service, const struct mb_service_env *env, bool *running,
				 struct mb_error *err)
{
	char *tail = NULL;
	int status = 0;
	enum mb_code code;

	*running = true;
	if (service->kind == MB_SERVICE_COMMAND && !service->status)
		return MB_OK;
	code = run(service, env, VERB_STATUS, &status, &tail, err);
	if (!code && service->kind == MB_SERVICE_COMPOSE)
	{
		*running = *tail != '\0';
		if (status != 0)
			code = say_failed(service, "ask for", status, tail, err);
	}
	else if (!code)
	{
		*running = status == 0;
		/* systemctl tells an unknown unit (4) from one that does not run (3). */
		if (service->kind == MB_SERVICE_SYSTEMD && status != 0 && status != STATUS_STOPPED)
			code = say_failed(service, "ask for", status, tail, err);
		if (service->kind == MB_SERVICE_PG_CTL && status != 0 && status != STATUS_STOPPED &&
			status != STATUS_NO_DATA)
			code = say_failed(service, "ask for", status, tail, err);
		if (service->kind == MB_SERVICE_COMMAND && status >= STATUS_NOT_RUN)
			code = say_failed(service, "ask for", status, tail, err);
	}
	free(tail);
	return code ? mb_error_context(err, "the state of \"%s\" is not known", service->text) : MB_OK;
}

static enum mb_code
change(const struct mb_service *service, const struct mb_service_env *env, enum verb verb,
	   const char *what, struct mb_error *err)
{
	char *tail = NULL;
	int status = 0;
	enum mb_code code;

	mb_log_info(env->log, "%s service %s", what, service->text);
	code = run(service, env, verb, &status, &tail, err);
	if (!code && status != 0)
		code = say_failed(service, what, status, tail, err);
	else if (code)
		mb_error_context(err, "could not %s service \"%s\"", what, service->text);
	free(tail);
	return code;
}

enum mb_code
mb_service_stop(const struct mb_service *service, const struct mb_service_env *env,
				struct mb_error *err)
{
	bool running;
	enum mb_code code = mb_service_state(service, env, &running, err);

	if (code || !running)
		return code;
	code = change(service, env, VERB_STOP, "stop", err);
	/* What says that it stopped and runs on would write into what is restored. */
	if (!code && (service->kind != MB_SERVICE_COMMAND || service->status))
	{
		code = mb_service_state(service, env, &running, err);
		if (!code && running)
			code =
				mb_fail(err, MB_CONFLICT, "service \"%s\" was stopped, but runs on", service->text);
	}
	return code;
}

enum mb_code
mb_service_start(const struct mb_service *service, const struct mb_service_env *env,
				 struct mb_error *err)
{
	bool running = false;
	enum mb_code code = MB_OK;

	if (service->kind != MB_SERVICE_COMMAND || service->status)
		code = mb_service_state(service, env, &running, err);
	if (code || running)
		return code;
	return change(service, env, VERB_START, "start", err);
}
