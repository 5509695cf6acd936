/* notify.c - when what is told where, and the record of it in the spool (notify.h). */
#include "cli/notify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define RETRY_MIN_MS 2000
#define RETRY_MAX_MS 900000
#define STATE_MAX_BYTES (16u << 20)
/* What the daemon itself waits before it calls a stream, or the database, a problem. */
#define STREAM_GRACE_MS 90000
#define DATABASE_GRACE_MS 30000

enum channel_id
{
	BY_COMMAND,
	BY_WEBHOOK,
	BY_MAIL,
	CHANNELS
};

static const char *const channel_names[CHANNELS] = {"command", "webhook", "mail"};

struct channel
{
	char *target;    /* the setting; NULL: not used */
	json_t *message; /* under way, or NULL */
	struct notify_send send;
	int64_t retry_ms;
	int64_t backoff_ms;
	bool has_failed; /* and that was logged */
};

struct notify
{
	struct daemon *daemon;
	const struct mb_cli *cli; /* whose settings are in force */
	struct notify_rules rules;
	struct channel channels[CHANNELS];
	char *sendmail;
	json_t *seen;
	json_t *state; /* {"version", "id", "channels": {name: record}} */
	int64_t started_ms;
	bool cannot_save; /* and that was logged */
};

/* -- the state file ------------------------------------------------------------------------- */

static char *
state_path(const struct notify *notify)
{
	return mb_asprintf("%s/notify.json", notify->daemon->cli->env.spool);
}

static void
save(struct notify *notify)
{
	char *path = state_path(notify), *text = mb_json_text(notify->state);
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_file_write_durable(path, text, strlen(text), 0600, &err) == MB_OK)
		notify->cannot_save = false;
	else if (!notify->cannot_save)
	{
		mb_log_warning(&notify->daemon->cli->log,
					   "could not note what was told; after a restart it is told again: %s",
					   err.message);
		notify->cannot_save = true;
	}
	free(path);
	free(text);
}

/* A file that cannot be understood is one that is not there: all is told again. */
static void
load(struct notify *notify)
{
	char *path = state_path(notify), *id;
	struct mb_buf text = {0};
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_file_read(&text, path, STATE_MAX_BYTES, &err) == MB_OK &&
		mb_json_parse(&notify->state, (const char *) text.data, text.len, path, &err) == MB_OK &&
		mb_json_int(notify->state, "version", 0) != 1)
	{
		mb_fail(&err, MB_CORRUPT, "\"%s\" is of another version", path);
		json_decref(notify->state);
		notify->state = NULL;
	}
	if (err.code && err.code != MB_NOT_FOUND)
		mb_log_warning(&notify->daemon->cli->log, "what was told is not known: %s", err.message);
	if (!notify->state)
	{
		notify->state = json_object();
		mb_json_set_int(notify->state, "version", 1);
		id = mb_strdup(notify->daemon->uuid);
		mb_json_set_str(notify->state, "id", id);
		free(id);
	}
	if (!json_is_object(json_object_get(notify->state, "channels")))
		json_object_set_new(notify->state, "channels", json_object());
	mb_buf_release(&text);
	free(path);
}

static json_t *
record_of(const struct notify *notify, int id)
{
	return json_object_get(json_object_get(notify->state, "channels"), channel_names[id]);
}

/* -- settings ------------------------------------------------------------------------------- */

static char *
setting(const struct notify *notify, const char *name)
{
	const char *value = mb_config_get(&notify->cli->config, SCOPE_DAEMON, name);

	return value && *value ? mb_strdup(value) : NULL;
}

/* A webhook's URL is a secret: whoever has it can post. */
static char *
webhook_url(const struct notify *notify)
{
	struct mb_secret secret = {0};
	struct mb_error err;
	char *url = NULL;
	bool found;

	mb_error_clear(&err);
	if (mb_config_secret(&notify->cli->config, SCOPE_DAEMON, "notify-webhook", &secret, &found,
						 &err))
		mb_log_warning(&notify->cli->log, "notify-webhook: %s", err.message);
	else if (found && secret.len > 0)
		url = mb_strdup((const char *) secret.data);
	if (url && !mb_starts_with(url, "https://") && !mb_starts_with(url, "http://"))
	{
		mb_log_warning(&notify->cli->log, "notify-webhook is not used: it is no http:// or "
										  "https:// URL");
		free(url);
		url = NULL;
	}
	mb_secret_release(&secret);
	return url;
}

/* Of a URL only what is no secret: scheme and host. */
static void
put_place(struct mb_buf *out, const char *url)
{
	const char *host = strstr(url, "://") + 3;
	size_t len = strcspn(host, "/?#");
	const char *at = memchr(host, '@', len);

	mb_buf_put(out, url, (size_t) (host - url));
	if (at)
		len -= (size_t) (at + 1 - host);
	mb_buf_put(out, at ? at + 1 : host, len);
}

static void
log_places(const struct notify *notify)
{
	const struct channel *channels = notify->channels;
	struct mb_buf text = {0};

	if (channels[BY_COMMAND].target)
		mb_buf_put_str(&text, ", to notify-command");
	if (channels[BY_WEBHOOK].target)
	{
		mb_buf_put_str(&text, ", to the webhook at ");
		put_place(&text, channels[BY_WEBHOOK].target);
	}
	if (channels[BY_MAIL].target)
		mb_buf_printf(&text, ", by mail to %s", channels[BY_MAIL].target);
	if (text.len > 0)
		mb_log_info(&notify->cli->log, "problems are told%s", mb_buf_cstr(&text) + 1);
	else
		mb_log_info(&notify->cli->log, "problems are told to nobody: [daemon] has no "
									   "notify-command, notify-webhook or notify-mail");
	mb_buf_release(&text);
}

/* Take the settings of the configuration in force; what is under way goes on as it began. */
static void
configure(struct notify *notify)
{
	json_t *records = json_object_get(notify->state, "channels");
	int64_t now_us = mb_time_now_us();
	bool is_changed = false;
	int id;

	notify->cli = notify->daemon->cli;
	for (id = 0; id < CHANNELS; id++)
		free(notify->channels[id].target);
	free(notify->sendmail);
	notify->channels[BY_COMMAND].target = setting(notify, "notify-command");
	notify->channels[BY_WEBHOOK].target = webhook_url(notify);
	notify->channels[BY_MAIL].target = setting(notify, "notify-mail");
	notify->sendmail = setting(notify, "sendmail");
	notify->rules =
		(struct notify_rules){daemon_duration_ms(notify->daemon, "notify-after") * 1000,
							  daemon_duration_ms(notify->daemon, "notify-interval") * 1000,
							  daemon_duration_ms(notify->daemon, "notify-reminder") * 1000};
	for (id = 0; id < CHANNELS; id++)
	{
		json_t *record = record_of(notify, id);

		notify->channels[id].retry_ms = notify->channels[id].backoff_ms = 0;
		if (!notify->channels[id].target == !record)
			continue;
		is_changed = true;
		if (record)
			json_object_del(records, channel_names[id]);
		else
			json_object_set_new(records, channel_names[id], notify_channel_new(now_us));
	}
	if (is_changed)
		save(notify);
	log_places(notify);
}

/* -- sending -------------------------------------------------------------------------------- */

/* What a message is from, and which. */
static void
sign(const struct notify *notify, int id, json_t *message)
{
	char *text = mb_asprintf("%s-%s-%" PRId64, mb_json_str(notify->state, "id", ""),
							 channel_names[id], mb_json_int(record_of(notify, id), "next", 1));

	mb_json_set_str(message, "id", text);
	free(text);
	mb_json_set_str(message, "version", MB_VERSION);
	mb_json_set_str(message, "host", notify->daemon->host);
	mb_json_set_str(message, "stack", mb_json_str(notify->daemon->status, "stack", ""));
}

static enum mb_code
start(struct notify *notify, int id, struct mb_error *err)
{
	struct channel *channel = &notify->channels[id];
	const char *shell[] = {"/bin/sh", "-c", channel->target, NULL};
	const char *mailer[] = {notify->sendmail ? notify->sendmail : "", "-t", "-i", NULL};
	const json_t *message = channel->message;
	struct mb_buf body = {0}, summary = {0}, text = {0};
	char *variables[7] = {0}, *json;
	enum mb_code code;
	size_t i;

	notify_summary(&summary, message);
	notify_text(&text, message);
	mb_json_set_str(channel->message, "summary", mb_buf_cstr(&summary));
	mb_json_set_str(channel->message, "text", mb_buf_cstr(&text));
	json = mb_json_text(message);
	variables[0] = mb_asprintf("MBACKUP_NOTIFY_SUMMARY=%s", mb_buf_cstr(&summary));
	variables[1] = mb_asprintf("MBACKUP_NOTIFY_TEXT=%s", mb_buf_cstr(&text));
	variables[2] = mb_asprintf("MBACKUP_NOTIFY_SEVERITY=%s", mb_json_str(message, "severity", ""));
	variables[3] = mb_asprintf("MBACKUP_NOTIFY_HOST=%s", mb_json_str(message, "host", ""));
	variables[4] = mb_asprintf("MBACKUP_NOTIFY_REMINDER=%s",
							   mb_json_bool(message, "reminder", false) ? "yes" : "no");
	variables[5] = mb_asprintf("MBACKUP_NOTIFY_ID=%s", mb_json_str(message, "id", ""));
	if (id == BY_MAIL)
		notify_mail(&body, channel->target, message, mb_time_now_us());
	else
		mb_buf_put_str(&body, json);
	code = notify_send_start(&channel->send,
							 id == BY_WEBHOOK ? NULL
							 : id == BY_MAIL  ? mailer
											  : shell,
							 id == BY_WEBHOOK ? channel->target : NULL,
							 (const char *const *) variables, &body, err);
	for (i = 0; variables[i]; i++)
		free(variables[i]);
	free(json);
	mb_buf_release(&body);
	mb_buf_release(&summary);
	mb_buf_release(&text);
	return code;
}

static void
take_failure(struct notify *notify, int id, const struct mb_error *err)
{
	struct channel *channel = &notify->channels[id];

	channel->backoff_ms = channel->backoff_ms ? channel->backoff_ms * 2 : RETRY_MIN_MS;
	if (channel->backoff_ms > RETRY_MAX_MS)
		channel->backoff_ms = RETRY_MAX_MS;
	channel->retry_ms = mb_monotonic_ms() + channel->backoff_ms;
	if (!channel->has_failed)
		mb_log_warning(&notify->daemon->cli->log,
					   "could not notify by %s, and goes on trying: %s%s%s", channel_names[id],
					   err->message, err->hint[0] ? " - " : "", err->hint);
	channel->has_failed = true;
}

static void
take_success(struct notify *notify, int id)
{
	struct channel *channel = &notify->channels[id];
	json_t *record = record_of(notify, id);

	if (channel->has_failed)
		mb_log_info(&notify->daemon->cli->log, "notifications by %s go out again",
					channel_names[id]);
	channel->has_failed = false;
	channel->backoff_ms = channel->retry_ms = 0;
	/* It may have been taken out of the configuration meanwhile. */
	if (!record)
		return;
	notify_told(record, channel->message, &notify->rules, mb_time_now_us());
	save(notify);
}

static void
channel_turn(struct notify *notify, int id)
{
	struct channel *channel = &notify->channels[id];
	struct mb_error err;

	mb_error_clear(&err);
	if (channel->message && notify_send_ended(&channel->send, &err))
	{
		if (err.code)
			take_failure(notify, id, &err);
		else
			take_success(notify, id);
		json_decref(channel->message);
		channel->message = NULL;
	}
	if (!channel->target || channel->message || mb_monotonic_ms() < channel->retry_ms)
		return;
	channel->message = notify_compose(record_of(notify, id), notify->seen,
									  json_object_get(notify->daemon->rows, "jobs"), &notify->rules,
									  mb_time_now_us());
	if (!channel->message)
		return;
	sign(notify, id, channel->message);
	if (start(notify, id, &err))
	{
		take_failure(notify, id, &err);
		json_decref(channel->message);
		channel->message = NULL;
	}
}

/* -- the daemon's --------------------------------------------------------------------------- */

/* Was looked at what this problem is found by (daemon_status.c), since the start? */
static bool
was_looked_at(void *ctx, const char *component, const char *name)
{
	const struct notify *notify = ctx;
	const struct daemon *daemon = notify->daemon;
	int64_t up_ms = mb_monotonic_ms() - notify->started_ms;

	if (strcmp(component, "daemon") == 0)
		return catalog_is_up(daemon->catalog) || up_ms > DATABASE_GRACE_MS;
	if (strcmp(component, "repository") == 0 && strcmp(name, "reachable") == 0)
		return daemon->repository_up || daemon->repository_message[0];
	if (mb_starts_with(name, "schedule-"))
		return daemon->rows != NULL;
	if (strcmp(name, "backup-age") == 0 || strcmp(name, "window-gap") == 0 ||
		strcmp(name, "stream-lag") == 0)
		return daemon->list != NULL;
	if (strcmp(name, "stream") == 0)
		return up_ms > STREAM_GRACE_MS;
	return daemon->checks != NULL;
}

struct notify *
notify_new(struct daemon *daemon)
{
	struct notify *notify = mb_calloc(1, sizeof(*notify));
	json_t *record;
	const char *name;

	notify->daemon = daemon;
	notify->started_ms = mb_monotonic_ms();
	notify->seen = json_object();
	load(notify);
	json_object_foreach(json_object_get(notify->state, "channels"), name, record)
		notify_resume(notify->seen, record, mb_time_now_us());
	configure(notify);
	return notify;
}

void
notify_reload(struct notify *notify)
{
	configure(notify);
}

void
notify_look(struct notify *notify)
{
	notify_observe(notify->seen, &notify->rules, notify->daemon->problems, was_looked_at, notify,
				   mb_time_now_us());
}

void
notify_turn(struct notify *notify)
{
	int id;

	for (id = 0; id < CHANNELS; id++)
		channel_turn(notify, id);
}

void
notify_free(struct notify *notify)
{
	int id;

	for (id = 0; id < CHANNELS; id++)
	{
		notify_send_release(&notify->channels[id].send);
		json_decref(notify->channels[id].message);
		free(notify->channels[id].target);
	}
	free(notify->sendmail);
	json_decref(notify->seen);
	json_decref(notify->state);
	free(notify);
}
