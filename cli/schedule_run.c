/*
 * schedule_run.c - run what is due, one after the other, each in a process of its own.
 *
 * A run is noted before it begins and when it has ended.  What is noted as begun and not as ended was
 * killed, with us or with the host: it is due once more.  One that found somebody else at work (a backup by hand) stays due, and is
 * tried again at the next call.  One that failed has had its time: what failed at two would fail at one
 * minute past two as well, and its message has been sent.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/schedule_private.h"
#include "core/base/fs.h"
#include "core/base/time.h"

#define PATIENCE_MS 500
#define MAX_ARGS 16

struct runner
{
	struct mb_cli *cli;
	struct schedule_set set;
	char *state_path;
	json_t *state;
	json_t *runs; /* array, of the answer */
	int lock_fd;
	enum mb_code worst;
	struct mb_error why; /* of the first that failed */
};

/* -- one run -------------------------------------------------------------------------------------- */

/* The code that an exit status stands for. */
static enum mb_code
code_of_status(int status)
{
	int code;

	for (code = MB_OK; code < MB_CODE_COUNT; code++)
		if (mb_code_exit_status((enum mb_code) code, 0) == status)
			return (enum mb_code) code;
	return MB_IO;
}

/* Until it has ended; asked to stop when we are. */
static void
wait_for(struct child *child)
{
	while (!child_pump(child))
	{
		if (mb_cancelled(&mb_interrupt))
			child_stop(child);
		mb_sleep_ms(50);
	}
}

/* Its result, and why in *err when it is none. */
static enum mb_code
take_end(struct child *child, const char *name, struct mb_error *err)
{
	enum mb_code code =
		child_exit_status(child) > 128 ? MB_INTERRUPTED : code_of_status(child_exit_status(child));
	json_t *answer = child_answer(child);
	const json_t *error = json_object_get(answer, "error");

	if (code)
	{
		mb_fail(err, code, "schedule %s: %s", name,
				mb_json_str(error, "message", "it was stopped, or gave no answer"));
		if (mb_json_str(error, "hint", "")[0])
			mb_error_hint(err, "%s", mb_json_str(error, "hint", ""));
	}
	json_decref(answer);
	return code;
}

static enum mb_code
run_command(struct runner *runner, const struct schedule *schedule, struct mb_error *err)
{
	const char *const *words = schedule->kind->words;
	struct child child = {.answer_fd = -1, .progress_fd = -1};
	char *argv[MAX_ARGS] = {(char *) (uintptr_t) runner->cli->env.program};
	char *label = NULL, now[MB_TIME_TEXT];
	size_t n = 1;
	enum mb_code code;

	if (!cli_find_command(words[0]))
		return mb_fail(err, MB_UNSUPPORTED, "schedule %s: this mbackup has no command \"%s\"",
					   schedule->kind->name, words[0]);
	for (; *words; words++)
		argv[n++] = (char *) (uintptr_t) *words;
	mb_time_compact(now, mb_time_now_us());
	if (strcmp(schedule->kind->words[0], "mark") == 0)
		argv[n++] = label = mb_asprintf("schedule-%s", now);
	else if (strcmp(schedule->kind->words[0], "backup") == 0)
	{
		argv[n++] = (char *) "--label";
		argv[n++] = label = mb_asprintf("schedule=%s", schedule->kind->name);
	}
	argv[n++] = (char *) "--json";
	argv[n++] = (char *) "--quiet";
	argv[n++] = (char *) "--config";
	argv[n++] = (char *) (uintptr_t) runner->cli->config.path;
	/* The lock stays held while it lives, whatever becomes of us. */
	code = child_start(&child, argv, runner->lock_fd, err);
	if (!code)
	{
		wait_for(&child);
		code = take_end(&child, schedule->kind->name, err);
	}
	child_release(&child);
	free(label);
	return code;
}

/* -- what is noted ------------------------------------------------------------------------------------ */

static enum mb_code
note_begin(struct runner *runner, const struct schedule *schedule, struct mb_error *err)
{
	json_t *one = schedule_state_of(runner->state, schedule->kind->name);

	mb_json_set_str(one, "expression", schedule->text);
	mb_json_set_time(one, "seen", schedule->seen_us);
	mb_json_set_time(one, "due", schedule->due_us);
	mb_json_set_time(one, "started", mb_time_now_us());
	mb_json_set_int(one, "attempts", schedule->attempts + 1);
	mb_json_set_str(one, "result", "RUNNING");
	json_object_del(one, "finished");
	json_object_del(one, "message");
	return schedule_state_write(runner->state_path, runner->state, err);
}

static void
note_end(struct runner *runner, const struct schedule *schedule, enum mb_code code,
		 const struct mb_error *why)
{
	json_t *one = schedule_state_of(runner->state, schedule->kind->name);
	bool stays_due = code == MB_CONFLICT || code == MB_INTERRUPTED;

	mb_json_set_time(one, "finished", mb_time_now_us());
	mb_json_set_str(one, "result", mb_code_name(code));
	if (code)
		mb_json_set_str(one, "message", why->message);
	if (!stays_due)
		mb_json_set_time(one, "seen", schedule->due_us);
	/* That somebody else is at work is no fault of its own; being killed may be. */
	if (!stays_due || code == MB_CONFLICT)
		mb_json_set_int(one, "attempts", 0);
}

static void
add_run(struct runner *runner, const struct schedule *schedule)
{
	json_t *run = json_deep_copy(schedule_state_of(runner->state, schedule->kind->name));

	json_object_del(run, "seen");
	json_object_del(run, "attempts");
	mb_json_set_str(run, "name", schedule->kind->name);
	mb_json_set_int(run, "missed", (int64_t) schedule->missed);
	json_array_append_new(runner->runs, run);
}

static enum mb_code
run_it(struct runner *runner, const struct schedule *schedule, struct mb_error *err)
{
	struct mb_error why;
	enum mb_code code;

	if (note_begin(runner, schedule, err))
		return err->code;
	if (schedule->missed > 0)
		mb_log_warning(&runner->cli->log,
					   "schedule %s: %llu%s runs before this one were missed and are not made up "
					   "for",
					   schedule->kind->name, (unsigned long long) schedule->missed,
					   schedule->missed + 1 == SCHEDULE_MAX_COUNTED ? " or more" : "");
	mb_log_info(&runner->cli->log, "schedule %s begins", schedule->kind->name);
	mb_error_clear(&why);
	code = run_command(runner, schedule, &why);
	if (code == MB_CONFLICT)
		mb_log_info(&runner->cli->log, "schedule %s: somebody else is at work; it stays due: %s",
					schedule->kind->name, why.message);
	else if (code && !runner->worst)
	{
		runner->worst = code;
		runner->why = why;
	}
	note_end(runner, schedule, code, &why);
	add_run(runner, schedule);
	return schedule_state_write(runner->state_path, runner->state, err);
}

/* -- what is due ------------------------------------------------------------------------------------------ */

/* A run that was killed too often has had its time. */
static void
give_up(struct runner *runner, struct schedule *schedule)
{
	json_t *one = schedule_state_of(runner->state, schedule->kind->name);

	if (!schedule->is_due || schedule->attempts < SCHEDULE_MAX_ATTEMPTS)
		return;
	mb_log_warning(&runner->cli->log,
				   "schedule %s was killed %d times and is given up until its next time",
				   schedule->kind->name, schedule->attempts);
	schedule->is_due = false;
	schedule->attempts = 0;
	mb_json_set_time(one, "seen", schedule->due_us);
	mb_json_set_int(one, "attempts", 0);
	mb_json_set_str(one, "result", mb_code_name(MB_INTERRUPTED));
}

/* A full backup does what an incremental one of the same moment would. */
static void
cover_incremental(struct runner *runner)
{
	struct schedule *full = NULL, *incremental = NULL;
	size_t i;

	for (i = 0; i < runner->set.count; i++)
		if (runner->set.items[i].is_due && strcmp(runner->set.items[i].kind->name, "full") == 0)
			full = &runner->set.items[i];
		else if (runner->set.items[i].is_due &&
				 strcmp(runner->set.items[i].kind->name, "incremental") == 0)
			incremental = &runner->set.items[i];
	if (!full || !incremental)
		return;
	incremental->is_due = false;
	mb_json_set_time(schedule_state_of(runner->state, "incremental"), "seen", incremental->due_us);
	mb_log_info(&runner->cli->log, "schedule incremental is due too: the full backup does for it");
}

static enum mb_code
run_all(struct runner *runner, struct mb_error *err)
{
	int64_t now_us = mb_time_now_us();
	enum mb_code code = MB_OK;
	size_t i;

	schedule_take_state(runner->set.items, runner->set.count, runner->state, now_us);
	schedule_look(runner->set.items, runner->set.count, now_us);
	for (i = 0; i < runner->set.count; i++)
	{
		struct schedule *schedule = &runner->set.items[i];
		json_t *one = schedule_state_of(runner->state, schedule->kind->name);

		if (schedule->is_new)
			mb_json_set_str(one, "expression", schedule->text);
		mb_json_set_time(one, "seen", schedule->seen_us);
		give_up(runner, schedule);
	}
	cover_incremental(runner);
	code = schedule_state_write(runner->state_path, runner->state, err);
	for (i = 0; !code && i < runner->set.count && !mb_cancelled(&mb_interrupt); i++)
		if (runner->set.items[i].is_due)
			code = run_it(runner, &runner->set.items[i], err);
	return code;
}

/* -- the verbs ---------------------------------------------------------------------------------------------- */

static enum mb_code
take_lock(struct runner *runner, struct mb_error *err)
{
	char *path = mb_asprintf("%s/schedule.lock", runner->cli->env.spool);
	enum mb_code code = mb_lock_file(&runner->lock_fd, path, err);

	free(path);
	return code;
}

static enum mb_code
begin(struct mb_cli *cli, struct runner *runner, struct mb_error *err)
{
	*runner = (struct runner){.cli = cli, .lock_fd = -1, .runs = json_array()};
	runner->state_path = schedule_state_path(cli);
	if (schedule_read(cli, &runner->set, err))
		return err->code;
	return cli_open_spool(cli, err);
}

static enum mb_code
finish(struct runner *runner, bool is_busy, enum mb_code code, struct mb_error *err)
{
	json_t *schedule = json_object();

	if (runner->lock_fd >= 0)
		close(runner->lock_fd);
	mb_json_set_bool(schedule, "busy", is_busy);
	json_object_set_new(schedule, "runs", runner->runs);
	runner->cli->answer = json_pack("{s:o}", "schedule", schedule);
	json_decref(runner->state);
	free(runner->state_path);
	if (!code)
		code = mb_cancel_check(&mb_interrupt, err);
	if (!code && runner->worst)
	{
		*err = runner->why;
		return runner->worst;
	}
	return code;
}

enum mb_code
schedule_run_due(struct mb_cli *cli, struct mb_error *err)
{
	struct runner runner;
	enum mb_code code = begin(cli, &runner, err);

	if (!code)
		code = take_lock(&runner, err);
	if (code == MB_CONFLICT)
	{
		/* The last call still works: that is no failure, each minute anew. */
		mb_error_clear(err);
		return finish(&runner, true, MB_OK, err);
	}
	if (!code)
		code = schedule_state_read(&runner.state, runner.state_path, err);
	if (!code)
		code = run_all(&runner, err);
	return finish(&runner, false, code, err);
}

static struct schedule *
find(struct runner *runner, const char *name)
{
	size_t i;

	for (i = 0; i < runner->set.count; i++)
		if (strcmp(runner->set.items[i].kind->name, name) == 0)
			return &runner->set.items[i];
	return NULL;
}

/* One after the other: wait for what else runs. */
static enum mb_code
wait_for_lock(struct runner *runner, struct mb_error *err)
{
	enum mb_code code;
	bool is_told = false;

	while ((code = take_lock(runner, err)) == MB_CONFLICT && !mb_cancelled(&mb_interrupt))
	{
		if (!is_told)
			mb_log_info(&runner->cli->log, "another schedule runs: waiting for its end");
		is_told = true;
		mb_error_clear(err);
		mb_sleep_ms(PATIENCE_MS);
	}
	return code;
}

enum mb_code
schedule_run_one(struct mb_cli *cli, const char *name, struct mb_error *err)
{
	struct runner runner;
	struct schedule *schedule;
	enum mb_code code = begin(cli, &runner, err);

	schedule = code ? NULL : find(&runner, name);
	if (!code && !schedule)
	{
		code = mb_fail(err, MB_NOT_FOUND, "there is no \"%s\" in [schedule]", name);
		mb_error_hint(err, "\"mbackup schedule show\" lists what there is.");
	}
	if (!code)
		code = wait_for_lock(&runner, err);
	if (!code)
		code = schedule_state_read(&runner.state, runner.state_path, err);
	if (!code)
	{
		schedule->seen_us = schedule->due_us = mb_time_now_us();
		code = run_it(&runner, schedule, err);
	}
	/* Who asked for this one wants to know that it was not done. */
	if (!code && !runner.worst &&
		strcmp(mb_json_str(schedule_state_of(runner.state, name), "result", ""),
			   mb_code_name(MB_CONFLICT)) == 0)
		code = mb_fail(err, MB_CONFLICT, "%s",
					   mb_json_str(schedule_state_of(runner.state, name), "message", ""));
	return finish(&runner, false, code, err);
}
