/*
 * mirror_state.c - what all processes of a machine know about the copies, in the spool;
 * see mirror_private.h.
 *
 *     copy-<id>-<name>           JSON: up to date or behind, since when, why, of which url
 *     copy-<id>-<name>.removed   names that were removed while it was behind
 *     writing-<id>-<pid>-<r>     held by flock while that process may put
 *     mirror-<id>.lock           byte ranges, held by open file description
 *
 * Being up to date is what has to be proven: a spool that was lost, or a writer that was
 * killed between the first and a copy, leads to a comparison, never to a hole that nobody
 * looks for.  Puts hold PUTS together; who ends a catching up holds it alone.  Everybody
 * passes the GATE first, so that a steady flow of puts cannot keep that one out.
 */
#include "core/repo/mirror_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/base/time.h"

#define STATE_MAX_BYTES 65536
#define REMOVED_MAX_BYTES (16 << 20)

/* -- locks ----------------------------------------------------------------------------------- */

/* Give the range a lock of this type (F_RDLCK, F_WRLCK, F_UNLCK); wait at most so long. */
static bool
lock_range(int fd, enum mb_mirror_lock range, short type, int64_t patience_ms)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = range, .l_len = 1};
	int64_t end_ms = mb_monotonic_ms() + patience_ms, nap_ms = 1;

	while (fcntl(fd, F_OFD_SETLK, &lock) != 0)
	{
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false;
		if (mb_monotonic_ms() >= end_ms)
			return false;
		mb_sleep_ms(nap_ms);
		nap_ms = nap_ms < 16 ? nap_ms * 2 : 16;
	}
	return true;
}

static int
open_lock(const struct mb_mirror *mirror)
{
	return mb_open(mirror->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

/* One range of a new description; -1 when it was not to be had. */
static int
take(const struct mb_mirror *mirror, enum mb_mirror_lock range, int64_t patience_ms)
{
	int fd = open_lock(mirror);

	if (fd >= 0 && !lock_range(fd, range, F_WRLCK, patience_ms))
	{
		close(fd);
		fd = -1;
	}
	return fd;
}

static int
enter(const struct mb_mirror *mirror, short type, int64_t patience_ms)
{
	int fd = open_lock(mirror);

	if (fd >= 0 && lock_range(fd, MB_MIRROR_GATE, type, patience_ms) &&
		lock_range(fd, MB_MIRROR_PUTS, type, patience_ms))
	{
		if (type == F_WRLCK || lock_range(fd, MB_MIRROR_GATE, F_UNLCK, 0))
			return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int
mb_mirror_enter(struct mb_mirror *mirror)
{
	int lock = enter(mirror, F_RDLCK, mirror->options.patience_ms);
	size_t i;

	for (i = 0; lock < 0 && i < mirror->count; i++)
		mb_mirror_fall_behind(&mirror->copies[i], "a put could not wait for it any longer");
	return lock;
}

int
mb_mirror_enter_alone(struct mb_mirror *mirror)
{
	/* Puts wait at the gate meanwhile, so give up before they do. */
	return enter(mirror, F_WRLCK, mirror->options.patience_ms / 2);
}

int
mb_mirror_try_catching(struct mb_mirror *mirror)
{
	return take(mirror, MB_MIRROR_CATCHING, 0);
}

void
mb_mirror_leave(int lock)
{
	if (lock >= 0)
		close(lock);
}

/* -- the state of a copy --------------------------------------------------------------------- */

void
mb_mirror_state_read(const struct mb_mirror_copy *copy, struct mb_mirror_state *state)
{
	struct mb_buf text = {0};
	json_t *json = NULL;
	struct mb_error err;

	memset(state, 0, sizeof(*state));
	state->is_behind = true;
	snprintf(state->why, sizeof(state->why), "it has not been compared yet");
	if (!mb_file_read(&text, copy->state_path, STATE_MAX_BYTES, &err) &&
		!mb_json_parse(&json, (const char *) text.data, text.len, copy->state_path, &err))
	{
		snprintf(state->epoch, sizeof(state->epoch), "%s", mb_json_str(json, "epoch", ""));
		/* Another place under the name of this one: nothing is known about it. */
		if (strcmp(mb_json_str(json, "url", ""), copy->url) == 0)
		{
			state->is_behind = mb_json_bool(json, "behind", true);
			state->since_us = mb_json_time(json, "since");
			snprintf(state->why, sizeof(state->why), "%s", mb_json_str(json, "why", ""));
		}
	}
	if (atomic_load(&copy->deaf))
		state->is_behind = true;
	json_decref(json);
	mb_buf_release(&text);
}

bool
mb_mirror_is_behind(const struct mb_mirror_copy *copy)
{
	struct mb_mirror_state state;

	mb_mirror_state_read(copy, &state);
	return state.is_behind;
}

static enum mb_code
state_write(const struct mb_mirror_copy *copy, const struct mb_mirror_state *state,
			struct mb_error *err)
{
	json_t *json = json_object();
	enum mb_code code;
	char *text;

	mb_json_set_str(json, "url", copy->url);
	mb_json_set_bool(json, "behind", state->is_behind);
	mb_json_set_time(json, "since", state->since_us);
	mb_json_set_str(json, "why", state->why);
	mb_json_set_str(json, "epoch", state->epoch);
	text = mb_json_text(json);
	code = mb_file_write_durable(copy->state_path, text, strlen(text), 0600, err);
	free(text);
	json_decref(json);
	return code;
}

static void
new_epoch(struct mb_mirror_state *state)
{
	unsigned char random[8];

	mb_random(random, sizeof(random));
	mb_hex(state->epoch, random, sizeof(random));
}

void
mb_mirror_fall_behind(struct mb_mirror_copy *copy, const char *why)
{
	const struct mb_mirror *mirror = copy->mirror;
	int lock = take(mirror, MB_MIRROR_STATE, mirror->options.patience_ms);
	struct mb_mirror_state state;
	struct mb_error err;

	mb_mirror_state_read(copy, &state);
	if (!state.is_behind || state.since_us == 0)
		state.since_us = mb_time_now_us();
	state.is_behind = true;
	snprintf(state.why, sizeof(state.why), "%s", why);
	new_epoch(&state);
	/* No file says the same, and needs no space. */
	if (state_write(copy, &state, &err) && unlink(copy->state_path) != 0 && errno != ENOENT)
		atomic_store(&copy->deaf, true);
	mb_mirror_leave(lock);
	if (!atomic_exchange(&copy->warned, true))
		mb_log_warning(mirror->options.log, "the copy \"%s\" at \"%s\" is behind: %s", copy->name,
					   copy->url, why);
}

bool
mb_mirror_set_current(struct mb_mirror_copy *copy, const char *epoch)
{
	int lock = take(copy->mirror, MB_MIRROR_STATE, copy->mirror->options.patience_ms);
	struct mb_mirror_state state;
	struct mb_error err;
	bool done = false;

	mb_mirror_state_read(copy, &state);
	if (lock >= 0 && strcmp(state.epoch, epoch) == 0)
	{
		atomic_store(&copy->deaf, false);
		state.is_behind = false;
		state.since_us = mb_time_now_us();
		state.why[0] = '\0';
		done = state_write(copy, &state, &err) == MB_OK;
	}
	if (done)
		atomic_store(&copy->warned, false);
	mb_mirror_leave(lock);
	return done;
}

void
mb_mirror_note_removed(struct mb_mirror_copy *copy, const char *const *names, size_t count)
{
	int lock = take(copy->mirror, MB_MIRROR_STATE, copy->mirror->options.patience_ms);
	int fd = mb_open(copy->removed_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct mb_buf text = {0};
	struct mb_error err;
	struct stat st;
	size_t i;

	for (i = 0; i < count; i++)
		if (!mb_mirror_is_local(names[i]))
			mb_buf_printf(&text, "%s\n", names[i]);
	/* What is not noted stays in the copy as a blob that nobody needs: no harm but its bytes. */
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size < REMOVED_MAX_BYTES &&
		mb_write_full(fd, text.data, text.len, copy->removed_path, &err))
		mb_log_debug(copy->mirror->options.log, "%s", err.message);
	if (fd >= 0)
		close(fd);
	mb_buf_release(&text);
	mb_mirror_leave(lock);
}

/* -- who writes ------------------------------------------------------------------------------ */

static void
all_behind(struct mb_mirror *mirror, const char *why)
{
	size_t i;

	for (i = 0; i < mirror->count; i++)
		mb_mirror_fall_behind(&mirror->copies[i], why);
}

/* Called with ROLL, so that no file is seen before its lock. */
static void
bury(struct mb_mirror *mirror, const char *path)
{
	struct mb_error err;
	int fd = -1;
	enum mb_code code = mb_lock_file(&fd, path, &err);

	if (code == MB_CONFLICT)
		return; /* alive */
	if (code)
	{
		all_behind(mirror, err.message);
		return;
	}
	all_behind(mirror, "a writer was killed, and the copy may lack what it wrote last");
	unlink(path);
	close(fd);
}

static void
bury_killed(struct mb_mirror *mirror)
{
	char *prefix = mb_asprintf("writing-%s-", mirror->id_text);
	DIR *dir = mb_opendir(mirror->options.spool);
	struct dirent *entry;

	if (!dir)
		all_behind(mirror, "the spool cannot be read");
	for (errno = 0; dir && (entry = readdir(dir)) != NULL; errno = 0)
	{
		char *path;

		if (!mb_starts_with(entry->d_name, prefix))
			continue;
		path = mb_path_join(mirror->options.spool, entry->d_name);
		if (!mirror->writing_path || strcmp(path, mirror->writing_path) != 0)
			bury(mirror, path);
		free(path);
	}
	if (dir && errno)
		all_behind(mirror, "the spool cannot be read");
	if (dir)
		closedir(dir);
	free(prefix);
}

void
mb_mirror_look_for_killed(struct mb_mirror *mirror)
{
	int lock = take(mirror, MB_MIRROR_ROLL, mirror->options.patience_ms);

	if (lock >= 0)
		bury_killed(mirror);
	mb_mirror_leave(lock);
}

enum mb_code
mb_mirror_begin_writing(struct mb_mirror *mirror, struct mb_error *err)
{
	int lock = take(mirror, MB_MIRROR_ROLL, mirror->options.patience_ms);
	unsigned char random[4];
	enum mb_code code;
	char hex[9];
	char *path;

	if (lock < 0)
		return mb_fail_errno(err, errno, "could not lock \"%s\"", mirror->lock_path);
	bury_killed(mirror);
	mb_random(random, sizeof(random));
	mb_hex(hex, random, sizeof(random));
	path = mb_asprintf("%s/writing-%s-%d-%s", mirror->options.spool, mirror->id_text,
					   (int) getpid(), hex);
	code = mb_lock_file(&mirror->writing_fd, path, err);
	if (!code)
	{
		mirror->writing_path = path;
		/* Durable: a power cut must leave it, as a kill does. */
		code = mb_fsync_path(mirror->options.spool, err);
	}
	else
		free(path);
	mb_mirror_leave(lock);
	return code;
}

void
mb_mirror_end_writing(struct mb_mirror *mirror)
{
	if (!mirror->writing_path)
		return;
	unlink(mirror->writing_path);
	close(mirror->writing_fd);
	free(mirror->writing_path);
	mirror->writing_path = NULL;
}
