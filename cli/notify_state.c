/* notify_state.c - what is to be told, and how it is said (notify.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/notify.h"

#define TEXT_MAX_BYTES 32768 /* an environment variable takes 128 KiB */
#define SUMMARY_MAX_BYTES 200

static char *
key_of(const json_t *problem)
{
	return mb_asprintf("%s/%s", mb_json_str(problem, "component", "?"),
					   mb_json_str(problem, "name", "?"));
}

static bool
is_failed(const json_t *problem)
{
	return strcmp(mb_json_str(problem, "severity", ""), "failed") == 0;
}

/* A moment that was noted; when the clock has been put back since, it is now. */
static int64_t
moment(json_t *object, const char *name, int64_t now_us)
{
	if (mb_json_int(object, name, 0) > now_us)
		mb_json_set_int(object, name, now_us);
	return mb_json_int(object, name, 0);
}

/* -- what is there -------------------------------------------------------------------------- */

static void
see(json_t *seen, const json_t *problem, int64_t now_us)
{
	char *key = key_of(problem);
	json_t *entry = json_object_get(seen, key);
	const char *severity = mb_json_str(json_object_get(entry, "problem"), "severity", "");

	if (!entry)
	{
		entry = json_object();
		mb_json_set_int(entry, "first", now_us);
		json_object_set_new(seen, key, entry);
	}
	if (strcmp(severity, mb_json_str(problem, "severity", "")) != 0)
		mb_json_set_int(entry, "severity_since", now_us);
	json_object_set(entry, "problem", (json_t *) problem);
	mb_json_set_int(entry, "last", now_us);
	mb_json_set_bool(entry, "present", true);
	free(key);
}

void
notify_observe(json_t *seen, const struct notify_rules *rules, const json_t *problems,
			   notify_judge judge, void *ctx, int64_t now_us)
{
	json_t *entry, *problem;
	const char *key;
	size_t i;
	void *next;

	json_object_foreach(seen, key, entry) mb_json_set_bool(entry, "present", false);
	json_array_foreach((json_t *) problems, i, problem) see(seen, problem, now_us);
	json_object_foreach_safe(seen, next, key, entry)
	{
		problem = json_object_get(entry, "problem");
		if (mb_json_bool(entry, "present", false))
			continue;
		if (judge &&
			!judge(ctx, mb_json_str(problem, "component", "?"), mb_json_str(problem, "name", "?")))
			mb_json_set_int(entry, "last", now_us);
		else if (now_us - moment(entry, "last", now_us) >= rules->after_us)
			json_object_del(seen, key);
	}
}

void
notify_resume(json_t *seen, const json_t *channel, int64_t now_us)
{
	json_t *problem;
	const char *key;

	json_object_foreach(json_object_get(channel, "told"), key, problem)
	{
		see(seen, problem, now_us);
		mb_json_set_bool(json_object_get(seen, key), "present", false);
	}
}

/* -- what a channel does not know ----------------------------------------------------------- */

json_t *
notify_channel_new(int64_t now_us)
{
	json_t *channel = json_object();

	mb_json_set_int(channel, "next", 1);
	mb_json_set_int(channel, "jobs", now_us);
	json_object_set_new(channel, "told", json_object());
	return channel;
}

static void
add_change(json_t *message, const char *change, const json_t *problem, const char *before)
{
	json_t *item = json_copy((json_t *) problem);

	mb_json_set_str(item, "change", change);
	if (before)
		mb_json_set_str(item, "before", before);
	json_array_append_new(json_object_get(message, "changes"), item);
}

/* Something that is there: in the message as the channel knows it, and what is new of it. */
static void
add_seen(json_t *message, json_t *entry, const json_t *told, const struct notify_rules *rules,
		 int64_t now_us)
{
	const json_t *problem = json_object_get(entry, "problem");
	const char *before = mb_json_str(told, "severity", "");
	bool is_present = mb_json_bool(entry, "present", false);
	bool is_other = strcmp(before, mb_json_str(problem, "severity", "")) != 0;
	json_t *known = json_copy((json_t *) problem);

	if (!told && is_present && now_us - moment(entry, "first", now_us) >= rules->after_us)
		add_change(message, "appeared", problem, NULL);
	else if (told && is_present && is_other &&
			 now_us - moment(entry, "severity_since", now_us) >= rules->after_us)
		add_change(message, "changed", problem, before);
	else if (told)
	{
		mb_json_set_str(known, "severity", before);
		/* A daemon that was started anew has found it anew. */
		mb_json_set_str(known, "since", mb_json_str(told, "since", ""));
	}
	else
	{
		json_decref(known);
		return;
	}
	json_array_append_new(json_object_get(message, "problems"), known);
}

/* Those of schedules are problems, and last until the next one has ended well. */
static void
add_jobs(json_t *message, const json_t *channel, const json_t *jobs)
{
	int64_t known_us = mb_json_int(channel, "jobs", 0);
	json_t *job;
	size_t i;

	json_array_foreach((json_t *) jobs, i, job)
	{
		if (strcmp(mb_json_str(job, "state", ""), "failed") == 0 &&
			!mb_json_str(job, "schedule", NULL) && mb_json_time(job, "finished") > known_us)
			json_array_append_new(json_object_get(message, "jobs"),
								  json_pack("{s:I,s:s,s:s,s:s,s:O*}", "id",
											(json_int_t) mb_json_int(job, "id", 0), "kind",
											mb_json_str(job, "kind", "?"), "requested_by",
											mb_json_str(job, "requested_by", ""), "finished",
											mb_json_str(job, "finished", ""), "error",
											json_object_get(job, "error")));
	}
}

static bool
has_failure(const json_t *message)
{
	json_t *change;
	size_t i;

	json_array_foreach(json_object_get(message, "changes"), i,
					   change) if (is_failed(change) && strcmp(mb_json_str(change, "change", ""),
															   "gone") != 0) return true;
	return json_array_size(json_object_get(message, "jobs")) > 0;
}

static const char *
worst(const json_t *message)
{
	const json_t *problems = json_object_get(message, "problems");
	json_t *problem;
	size_t i;

	if (json_array_size(json_object_get(message, "jobs")) > 0)
		return "failed";
	json_array_foreach((json_t *) problems, i, problem) if (is_failed(problem)) return "failed";
	return json_array_size(problems) > 0 ? "warning" : "ok";
}

static bool
is_due(json_t *channel, const json_t *message, const struct notify_rules *rules, int64_t now_us)
{
	int64_t since_last = now_us - moment(channel, "last", now_us);
	int64_t since_urgent = now_us - moment(channel, "urgent", now_us);

	if (mb_json_bool(message, "reminder", false))
		return rules->reminder_us > 0 && since_last >= rules->reminder_us &&
			   json_array_size(json_object_get(message, "problems")) > 0;
	return since_last >= rules->interval_us ||
		   (has_failure(message) && since_urgent >= rules->interval_us);
}

json_t *
notify_compose(json_t *channel, json_t *seen, const json_t *jobs, const struct notify_rules *rules,
			   int64_t now_us)
{
	const json_t *told = json_object_get(channel, "told");
	json_t *message = json_pack("{s:[],s:[],s:[]}", "changes", "jobs", "problems"), *item;
	const char *key;

	json_object_foreach(seen, key, item)
		add_seen(message, item, json_object_get(told, key), rules, now_us);
	json_object_foreach((json_t *) told, key, item) if (!json_object_get(seen, key))
		add_change(message, "gone", item, NULL);
	add_jobs(message, channel, jobs);
	mb_json_set_bool(message, "reminder",
					 json_array_size(json_object_get(message, "changes")) == 0 &&
						 json_array_size(json_object_get(message, "jobs")) == 0);
	mb_json_set_str(message, "severity", worst(message));
	mb_json_set_time(message, "time", now_us);
	if (is_due(channel, message, rules, now_us))
		return message;
	json_decref(message);
	return NULL;
}

void
notify_told(json_t *channel, const json_t *message, const struct notify_rules *rules,
			int64_t now_us)
{
	json_t *told = json_object(), *item;
	int64_t jobs_us = mb_json_int(channel, "jobs", 0);
	size_t i;

	json_array_foreach(json_object_get(message, "problems"), i, item)
	{
		char *key = key_of(item);

		json_object_set(told, key, item);
		free(key);
	}
	json_array_foreach(json_object_get(message, "jobs"), i,
					   item) if (mb_json_time(item, "finished") > jobs_us) jobs_us =
		mb_json_time(item, "finished");
	if (now_us - moment(channel, "last", now_us) < rules->interval_us)
		mb_json_set_int(channel, "urgent", now_us);
	json_object_set_new(channel, "told", told);
	mb_json_set_int(channel, "jobs", jobs_us);
	mb_json_set_int(channel, "last", now_us);
	mb_json_set_int(channel, "next", mb_json_int(channel, "next", 1) + 1);
}

/* -- for people ----------------------------------------------------------------------------- */

/* Messages come from servers: a newline in one must not look like a line of ours. */
static void
put_plain(struct mb_buf *out, const char *text)
{
	for (; *text; text++)
		mb_buf_put_u8(out, (unsigned char) *text < 32 || *text == 127 ? ' ' : (uint8_t) *text);
}

/* Cut at the end of a character. */
static void
cut(struct mb_buf *out, size_t max_bytes)
{
	if (out->len <= max_bytes)
		return;
	while (max_bytes > 0 && (out->data[max_bytes] & 0xc0) == 0x80)
		max_bytes--;
	out->len = max_bytes;
	mb_buf_put_str(out, " ...");
}

static const char *
word_of(const json_t *change)
{
	if (strcmp(mb_json_str(change, "change", ""), "gone") == 0)
		return "GONE";
	return is_failed(change) ? "FAILED" : "WARNING";
}

static void
put_problem(struct mb_buf *out, const char *word, const json_t *problem)
{
	mb_buf_printf(out, "%s ", word);
	put_plain(out, mb_json_str(problem, "component", "?"));
	mb_buf_put_str(out, " ");
	put_plain(out, mb_json_str(problem, "name", "?"));
	mb_buf_put_str(out, ": ");
	put_plain(out, mb_json_str(problem, "message", ""));
}

static void
put_job(struct mb_buf *out, const json_t *job)
{
	mb_buf_printf(out, "FAILED job %" PRId64 " (", mb_json_int(job, "id", 0));
	put_plain(out, mb_json_str(job, "kind", "?"));
	mb_buf_put_str(out, "): ");
	put_plain(out, mb_json_str(json_object_get(job, "error"), "message", "see the job"));
}

/* The worst change first. */
static void
put_first(struct mb_buf *out, const json_t *message)
{
	static const char *const order[] = {"FAILED", "WARNING", "GONE"};
	const json_t *jobs = json_object_get(message, "jobs");
	json_t *change;
	size_t i, rank;

	for (rank = 0; rank < 3; rank++)
	{
		json_array_foreach(json_object_get(message, "changes"), i,
						   change) if (strcmp(word_of(change), order[rank]) == 0)
		{
			put_problem(out, order[rank], change);
			return;
		}
		if (rank == 0 && json_array_size(jobs) > 0)
		{
			put_job(out, json_array_get(jobs, 0));
			return;
		}
	}
}

void
notify_summary(struct mb_buf *out, const json_t *message)
{
	size_t start = out->len, lasting = json_array_size(json_object_get(message, "problems"));
	size_t news = json_array_size(json_object_get(message, "changes")) +
				  json_array_size(json_object_get(message, "jobs"));
	struct mb_buf line = {0};

	if (mb_json_bool(message, "reminder", false))
		mb_buf_printf(&line, "still %zu problem%s", lasting, lasting == 1 ? "" : "s");
	else
		put_first(&line, message);
	cut(&line, SUMMARY_MAX_BYTES);
	mb_buf_put_str(out, "mbackup ");
	put_plain(out, mb_json_str(message, "host", "?"));
	mb_buf_put_str(out, ": ");
	mb_buf_put(out, line.data, line.len);
	if (news > 1)
		mb_buf_printf(out, " (and %zu more)", news - 1);
	mb_buf_release(&line);
	MB_ASSERT(out->len > start);
}

static void
put_detail(struct mb_buf *out, const char *label, const char *text)
{
	if (!*text)
		return;
	mb_buf_printf(out, "    %s: ", label);
	put_plain(out, text);
	mb_buf_put_str(out, "\n");
}

void
notify_text(struct mb_buf *out, const json_t *message)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(message, "changes"), i, item)
	{
		put_problem(out, word_of(item), item);
		mb_buf_put_str(out, "\n");
		put_detail(out, "since", mb_json_str(item, "since", ""));
		if (strcmp(word_of(item), "GONE") != 0)
			put_detail(out, "to do", mb_json_str(item, "fix", ""));
	}
	json_array_foreach(json_object_get(message, "jobs"), i, item)
	{
		put_job(out, item);
		mb_buf_put_str(out, "\n");
		put_detail(out, "to do", mb_json_str(json_object_get(item, "error"), "hint", ""));
	}
	if (json_array_size(json_object_get(message, "problems")) == 0)
		mb_buf_put_str(out, "\nNo problem is left.\n");
	else
		mb_buf_put_str(out, "\nProblems now:\n");
	json_array_foreach(json_object_get(message, "problems"), i, item)
	{
		put_problem(out, is_failed(item) ? "FAILED" : "WARNING", item);
		mb_buf_put_str(out, "\n");
	}
	cut(out, TEXT_MAX_BYTES);
}
