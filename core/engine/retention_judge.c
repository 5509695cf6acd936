/* retention_judge.c - see retention.h: from components to sets and marks. */
#include <stdlib.h>
#include <string.h>

#include "core/base/mem.h"
#include "core/base/time.h"
#include "core/engine/docs.h"
#include "core/engine/retention_private.h"
#include "core/repo/repo.h"

#define FUTURE_US (3600LL * 1000000) /* clocks may differ so much without anybody noticing */

/* -- reading documents ----------------------------------------------------------------------- */

static void add_why(json_t *why, const char *fmt, ...) MB_PRINTF(2, 3);

static void
add_why(json_t *why, const char *fmt, ...)
{
	char text[900];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(why, json_string(text));
}

/* "pinned since ...: reason"; false when there is no pin, or it is over. */
static bool
read_pin(const json_t *doc, int64_t now_us, json_t *why)
{
	const json_t *pin = json_object_get(doc, "pin");
	const char *reason = mb_json_str(pin, "reason", "");
	int64_t until_us = mb_json_time(pin, "until");
	char since[MB_TIME_TEXT], until[MB_TIME_TEXT];

	if (!pin || (until_us && until_us <= now_us))
		return false;
	mb_time_format(since, mb_json_time(pin, "time"));
	mb_time_format(until, until_us);
	add_why(why, "kept: pinned since %.19sZ%s%.19s%s%s%s", since, until_us ? " until " : "",
			until_us ? until : "", until_us ? "Z" : "", *reason ? ": " : "", reason);
	return true;
}

static void
read_set(const struct mb_retention *retention, const json_t *set, struct mb_kept_set *out)
{
	const json_t *parts = json_object_get(set, "components");
	size_t i;

	out->set = set;
	out->id = mb_json_str(set, "id", "");
	out->time_us = mb_id_is_valid(out->id) ? mb_id_time_us(out->id) : 0;
	out->why = json_array();
	out->is_pinned = out->is_kept = read_pin(set, retention->now_us, out->why);
	out->parts = mb_calloc(json_array_size(parts) + 1, sizeof(*out->parts));
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *part = json_array_get(parts, i);
		struct mb_kept_part *made = &out->parts[out->part_count];

		if (!mb_json_str(part, "backup", NULL) || !mb_json_str(part, "name", NULL))
			continue;
		made->component = mb_json_str(part, "name", "");
		made->commit = mb_json_str(part, "backup", "");
		made->why = json_array();
		out->part_count++;
	}
}

/* -- components ------------------------------------------------------------------------------ */

static const struct mb_override *
find_override(const struct mb_retention *retention, const char *component)
{
	size_t i;

	for (i = 0; i < retention->override_count; i++)
		if (strcmp(retention->overrides[i].component, component) == 0)
			return &retention->overrides[i];
	return NULL;
}

static bool
is_incomplete(const json_t *set, const char *component)
{
	const json_t *parts = json_object_get(set, "components");
	size_t i;

	for (i = 0; i < json_array_size(parts); i++)
		if (strcmp(mb_json_str(json_array_get(parts, i), "name", ""), component) == 0)
			return mb_json_bool(json_array_get(parts, i), "incomplete", false);
	return false;
}

static struct mb_kept_part *
part_of(struct mb_kept_set *set, const char *component)
{
	size_t i;

	for (i = 0; i < set->part_count; i++)
		if (strcmp(set->parts[i].component, component) == 0)
			return &set->parts[i];
	return NULL;
}

static void
judge_component(const struct mb_retention *retention, struct mb_verdict *verdict,
				struct mb_kept_window *window)
{
	const struct mb_override *override = find_override(retention, window->component);
	struct mb_candidate *candidates = mb_calloc(verdict->set_count + 1, sizeof(*candidates));
	size_t count = 0, i;

	for (i = 0; i < verdict->set_count; i++)
	{
		struct mb_kept_set *set = &verdict->sets[i];
		struct mb_kept_part *part = part_of(set, window->component);

		if (!part)
			continue;
		candidates[count].time_us = set->time_us;
		candidates[count].is_future = set->time_us > retention->now_us + FUTURE_US;
		candidates[count].is_incomplete = is_incomplete(set->set, window->component);
		candidates[count++].part = part;
	}
	window->from_us =
		mb_candidates_judge(candidates, count, override ? &override->policy : &retention->policy,
							retention->now_us);
	free(candidates);
}

static void
add_components(struct mb_verdict *verdict, const struct mb_kept_set *set)
{
	size_t i, j;

	for (i = 0; i < set->part_count; i++)
	{
		for (j = 0; j < verdict->window_count; j++)
			if (strcmp(verdict->windows[j].component, set->parts[i].component) == 0)
				break;
		if (j < verdict->window_count)
			continue;
		verdict->windows =
			mb_realloc(verdict->windows, (verdict->window_count + 1) * sizeof(*verdict->windows));
		verdict->windows[verdict->window_count++] =
			(struct mb_kept_window){.component = set->parts[i].component};
	}
}

/* -- sets ------------------------------------------------------------------------------------ */

static bool
has_text(const json_t *list, const char *text)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
			return true;
	return false;
}

/* One reason of some components: named unless it is that of all. */
static void
tell_reason(struct mb_kept_set *set, const char *reason)
{
	struct mb_buf names = {0};
	size_t i, having = 0;

	for (i = 0; i < set->part_count; i++)
		if (has_text(set->parts[i].why, reason))
			mb_buf_printf(&names, "%s%s", having++ ? ", " : "", set->parts[i].component);
	if (having == set->part_count || mb_ends_with(reason, mb_buf_cstr(&names)))
		add_why(set->why, "kept: %s", reason);
	else
		add_why(set->why, "kept: %s (%s)", reason, mb_buf_cstr(&names));
	mb_buf_release(&names);
}

static void
tell_reasons(struct mb_kept_set *set)
{
	json_t *told = json_array();
	size_t i, j;

	for (i = 0; i < set->part_count; i++)
		for (j = 0; j < json_array_size(set->parts[i].why); j++)
		{
			const char *reason = json_string_value(json_array_get(set->parts[i].why, j));

			if (has_text(told, reason))
				continue;
			json_array_append_new(told, json_string(reason));
			tell_reason(set, reason);
		}
	json_decref(told);
}

/* What no rule can judge, and what cannot be done. */
static void
keep_special(const struct mb_retention *retention, struct mb_kept_set *set)
{
	char until[MB_TIME_TEXT];
	size_t before = json_array_size(set->why);

	if (mb_doc_is_unread(set->set) || set->time_us == 0)
		add_why(set->why, "kept: it cannot be read, so nobody knows what it holds");
	else if (set->time_us > retention->now_us + FUTURE_US)
		add_why(set->why, "kept: it is from the future by the repository's clock");
	else if (retention->lock_us && set->time_us + retention->lock_us > retention->now_us)
	{
		mb_time_format(until, set->time_us + retention->lock_us);
		add_why(set->why, "kept: the bucket locks it until about %.19sZ", until);
	}
	if (json_array_size(set->why) > before)
		set->is_kept = set->is_pinned = true;
}

/* A set lives or dies whole, but for components with a policy of their own. */
static void
settle_set(const struct mb_retention *retention, struct mb_kept_set *set)
{
	bool coupled = false, any = false;
	size_t i;

	for (i = 0; i < set->part_count; i++)
		if (!find_override(retention, set->parts[i].component))
			coupled = coupled || set->parts[i].is_wanted;
	for (i = 0; i < set->part_count; i++)
	{
		struct mb_kept_part *part = &set->parts[i];

		if (set->is_pinned || (coupled && !find_override(retention, part->component)))
			part->is_kept = true;
		any = any || part->is_kept;
	}
	set->is_kept = set->is_kept || any;
}

static void
explain_set(const struct mb_retention *retention, struct mb_kept_set *set)
{
	size_t i;

	tell_reasons(set);
	if (!set->is_kept && set->part_count == 0)
		add_why(set->why, "expires: it holds nothing any more");
	else if (!set->is_kept)
		add_why(set->why, "expires: no rule wants it");
	for (i = 0; set->is_kept && i < set->part_count; i++)
		if (!set->parts[i].is_kept)
			add_why(set->why, "expires: no rule of [retention%s%s] wants %s",
					find_override(retention, set->parts[i].component) ? ":" : "",
					find_override(retention, set->parts[i].component) ? set->parts[i].component
																	  : "",
					set->parts[i].component);
}

/* -- marks ----------------------------------------------------------------------------------- */

static struct mb_kept_set *
set_of_commit(struct mb_verdict *verdict, const char *component, const char *commit,
			  struct mb_kept_part **part)
{
	size_t i;

	for (i = 0; i < verdict->set_count; i++)
	{
		*part = part_of(&verdict->sets[i], component);
		if (*part && strcmp((*part)->commit, commit) == 0)
			return &verdict->sets[i];
	}
	return NULL;
}

/* A kept mark needs what a restore to it starts from; its set stays whole with it. */
static void
keep_bases(struct mb_verdict *verdict, const struct mb_kept_mark *kept)
{
	const char *component;
	json_t *base;

	json_object_foreach(json_object_get(kept->mark, "bases"), component, base)
	{
		struct mb_kept_part *part;
		struct mb_kept_set *set =
			set_of_commit(verdict, component, mb_json_value_str(base, "?"), &part);
		char text[300];

		if (!set)
			continue;
		snprintf(text, sizeof(text), "the mark \"%s\" starts from it",
				 mb_json_str(kept->mark, "name", "?"));
		if (!has_text(part->why, text) && json_array_size(part->why) == 0)
			json_array_append_new(part->why, json_string(text));
		part->is_kept = part->is_wanted = true;
	}
}

static void
judge_mark(const struct mb_retention *retention, struct mb_verdict *verdict, const json_t *mark,
		   struct mb_kept_mark *out)
{
	const char *id = mb_json_str(mark, "id", ""), *component;
	int64_t time_us = mb_id_is_valid(id) ? mb_id_time_us(id) : 0;
	bool inside = true;
	json_t *base;

	out->mark = mark;
	out->why = json_array();
	out->is_pinned = out->is_kept = read_pin(mark, retention->now_us, out->why);
	if (mb_doc_is_unread(mark) || time_us == 0)
	{
		add_why(out->why, "kept: it cannot be read, so nobody knows what it needs");
		out->is_kept = true;
		return;
	}
	json_object_foreach(json_object_get(mark, "bases"), component, base)
	{
		int64_t from_us = mb_verdict_window_us(verdict, component);

		/* A component that no set holds lives by its scans: they go with the window of the rest. */
		inside = inside && (from_us == INT64_MAX || time_us >= from_us);
	}
	if (inside)
		add_why(out->why, "kept: it is inside the recovery window");
	else if (!out->is_kept)
		add_why(out->why, "expires: the recovery window begins after it");
	out->is_kept = out->is_kept || inside;
}

/* -- the whole ------------------------------------------------------------------------------- */

int64_t
mb_verdict_window_us(const struct mb_verdict *verdict, const char *component)
{
	size_t i;

	for (i = 0; i < verdict->window_count; i++)
		if (strcmp(verdict->windows[i].component, component) == 0)
			return verdict->windows[i].from_us;
	return INT64_MAX;
}

void
mb_retention_judge(const struct mb_retention *retention, struct mb_verdict *verdict)
{
	size_t i;

	memset(verdict, 0, sizeof(*verdict));
	verdict->set_count = json_array_size(retention->sets);
	verdict->mark_count = json_array_size(retention->marks);
	verdict->sets = mb_calloc(verdict->set_count + 1, sizeof(*verdict->sets));
	verdict->marks = mb_calloc(verdict->mark_count + 1, sizeof(*verdict->marks));
	for (i = 0; i < verdict->set_count; i++)
	{
		read_set(retention, json_array_get(retention->sets, i), &verdict->sets[i]);
		add_components(verdict, &verdict->sets[i]);
		keep_special(retention, &verdict->sets[i]);
		verdict->is_damaged = verdict->is_damaged || mb_doc_is_unread(verdict->sets[i].set);
	}
	for (i = 0; i < verdict->window_count; i++)
		judge_component(retention, verdict, &verdict->windows[i]);
	for (i = 0; i < verdict->mark_count; i++)
	{
		judge_mark(retention, verdict, json_array_get(retention->marks, i), &verdict->marks[i]);
		if (verdict->marks[i].is_kept)
			keep_bases(verdict, &verdict->marks[i]);
		verdict->is_damaged = verdict->is_damaged || mb_doc_is_unread(verdict->marks[i].mark);
	}
	for (i = 0; i < verdict->set_count; i++)
	{
		settle_set(retention, &verdict->sets[i]);
		explain_set(retention, &verdict->sets[i]);
	}
}

void
mb_verdict_release(struct mb_verdict *verdict)
{
	size_t i, j;

	for (i = 0; i < verdict->set_count; i++)
	{
		for (j = 0; j < verdict->sets[i].part_count; j++)
			json_decref(verdict->sets[i].parts[j].why);
		free(verdict->sets[i].parts);
		json_decref(verdict->sets[i].why);
	}
	for (i = 0; i < verdict->mark_count; i++)
		json_decref(verdict->marks[i].why);
	free(verdict->sets);
	free(verdict->marks);
	free(verdict->windows);
	memset(verdict, 0, sizeof(*verdict));
}
