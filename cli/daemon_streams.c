/* daemon_streams.c - mbackup stream, kept running. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "core/base/time.h"

#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000
/* One that ran for so long did not fail at its start. */
#define SETTLED_MS 60000
/* One that failed is taken for running again when it has lasted so long. */
#define PROVEN_MS 10000

static void
set_state(struct daemon *daemon, const char *state, const char *message)
{
	if (strcmp(daemon->stream_state, state) != 0)
		daemon->stream_since_us = mb_time_now_us();
	snprintf(daemon->stream_state, sizeof(daemon->stream_state), "%s", state);
	snprintf(daemon->stream_message, sizeof(daemon->stream_message), "%s", message);
}

static bool
has_streams(const struct daemon *daemon)
{
	const struct mb_stack *stack = &daemon->cli->stack;
	const char *wanted = mb_config_get(&daemon->cli->config, SCOPE_DAEMON, "streams");
	size_t i;

	if (strcmp(wanted, "no") == 0)
		return false;
	for (i = 0; i < stack->count; i++)
		if (stack->components[i]->ops->capabilities & (MB_CAP_STREAM | MB_CAP_SCAN))
			return true;
	return false;
}

static void
start(struct daemon *daemon)
{
	static const char *const words[] = {"stream", "--json", NULL};
	char **argv = daemon_argv(daemon, words);
	struct mb_error err;

	mb_error_clear(&err);
	child_release(&daemon->stream);
	if (child_start(&daemon->stream, argv, -1, &err))
		set_state(daemon, "failed", err.message);
	else if (strcmp(daemon->stream_state, "failed") != 0)
		set_state(daemon, "running", "");
	free(argv);
}

/* It has ended by itself: say why, and try again later and later. */
static void
take_end(struct daemon *daemon)
{
	json_t *answer = child_answer(&daemon->stream);
	const json_t *error = json_object_get(answer, "error");
	const char *why = mb_json_str(error, "message", "the stream ended");
	int64_t now = mb_monotonic_ms();

	/* We asked it to: the configuration is another, or we end. */
	if (daemon->stream.stop_ms)
	{
		set_state(daemon, "stopped", "");
		json_decref(answer);
		child_release(&daemon->stream);
		return;
	}
	if (now - daemon->stream.started_ms > SETTLED_MS)
		daemon->stream_backoff_ms = 0;
	daemon->stream_backoff_ms =
		daemon->stream_backoff_ms ? daemon->stream_backoff_ms * 2 : BACKOFF_MIN_MS;
	if (daemon->stream_backoff_ms > BACKOFF_MAX_MS)
		daemon->stream_backoff_ms = BACKOFF_MAX_MS;
	daemon->stream_retry_ms = now + daemon->stream_backoff_ms;
	mb_log_warning(&daemon->cli->log, "the streams ended (status %d): %s; again in %d s",
				   child_exit_status(&daemon->stream), why,
				   (int) (daemon->stream_backoff_ms / 1000));
	set_state(daemon, "failed", why);
	json_decref(answer);
	child_release(&daemon->stream);
}

void
streams_turn(struct daemon *daemon)
{
	int64_t now = mb_monotonic_ms();

	if (daemon->stream.pid && child_pump(&daemon->stream))
		take_end(daemon);
	/* Started again is not mended: it has to last. */
	else if (daemon->stream.pid && strcmp(daemon->stream_state, "failed") == 0 &&
			 now - daemon->stream.started_ms > PROVEN_MS)
		set_state(daemon, "running", "");
	else if (!daemon->stream.pid && has_streams(daemon) && now >= daemon->stream_retry_ms)
		start(daemon);
}

void
streams_stop(struct daemon *daemon)
{
	child_stop(&daemon->stream);
	daemon->stream_retry_ms = INT64_MAX;
}

bool
streams_are_running(const struct daemon *daemon)
{
	return daemon->stream.pid != 0;
}

/* The end of a component's window in the newest list: what is in the repository. */
static int64_t
window_end_us(const struct daemon *daemon, const char *component)
{
	json_t *window;
	size_t i;

	json_array_foreach(json_object_get(daemon->list, "windows"), i,
					   window) if (strcmp(mb_json_str(window, "component", ""), component) ==
								   0) return mb_json_time(window, "to");
	return 0;
}

/* What the process says of a component: its phase, "" when it has said nothing. */
static const char *
phase_of(const struct daemon *daemon, const char *component)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(daemon->stream.progress, "components"), i,
					   item) if (strcmp(mb_json_str(item, "name", ""), component) ==
								 0) return mb_json_str(item, "phase", "");
	return "";
}

json_t *
streams_json(const struct daemon *daemon)
{
	const struct mb_stack *stack = &daemon->cli->stack;
	json_t *list = json_array();
	size_t i;

	for (i = 0; has_streams(daemon) && i < stack->count; i++)
	{
		const struct mb_component *component = stack->components[i];
		const char *state = daemon->stream_state[0] ? daemon->stream_state : "stopped";
		int64_t end_us = window_end_us(daemon, component->name);
		json_t *item;

		if (!(component->ops->capabilities & (MB_CAP_STREAM | MB_CAP_SCAN)))
			continue;
		/* The process lives, but this one looks for its server. */
		if (strcmp(state, "running") == 0 &&
			strcmp(phase_of(daemon, component->name), "connecting") == 0)
			state = "waiting";
		item = json_object();
		mb_json_set_str(item, "component", component->name);
		mb_json_set_str(item, "kind", component->ops->kind);
		mb_json_set_str(item, "state", state);
		mb_json_set_time(item, "since", daemon->stream_since_us);
		/* What is scanned has no lag: its last scan holds until another one sees something else. */
		if (end_us && !(component->ops->capabilities & MB_CAP_SCAN))
			mb_json_set_int(item, "lag_seconds", (mb_time_now_us() - end_us) / 1000000);
		mb_json_set_str(item, "message", daemon->stream_message);
		json_array_append_new(list, item);
	}
	return list;
}
