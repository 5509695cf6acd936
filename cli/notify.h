/*
 * notify.h - telling people what is wrong: a command, a webhook, mail.
 *
 *     notify.c        settings, the state file, and when what is sent where
 *     notify_state.c  what is to be told: no clock, no file, no socket
 *     notify_mail.c   a message as mail
 *     notify_send.c   one attempt, on a thread of its own
 *
 * Each channel has a record of what it was told.  A message is the difference between that and
 * what is, made anew for each attempt: what could not be sent is not queued, it is still a
 * difference.  So nothing is lost while a receiver is away, and what comes when it is back is one
 * message.  The record is written after the receiver has accepted; a kill in between repeats the
 * message, with the same id.
 */
#ifndef MB_CLI_NOTIFY_H
#define MB_CLI_NOTIFY_H

#include <pthread.h>

#include "core/base/json.h"
#include "core/base/mem.h"
#include "core/base/pool.h"

/* -- what is to be told --------------------------------------------------------------------- */

struct notify_rules
{
	int64_t after_us;    /* a problem is told when it is so old; its end too */
	int64_t interval_us; /* between two messages of a channel */
	int64_t reminder_us; /* of what lasts; 0: never */
};

/*
 * Does the absence of a problem mean anything now?  What was not looked at since the start has not
 * gone.
 */
typedef bool (*notify_judge)(void *ctx, const char *component, const char *name);

/*
 * seen: the problems of now and of the last after_us, by "component/name"; an object that is
 * changed.  A problem that comes and goes is one that lasts: only after_us without it end it.
 */
void notify_observe(json_t *seen, const struct notify_rules *rules, const json_t *problems,
					notify_judge judge, void *ctx, int64_t now_us);
/* After a start: what this channel was told was there until now. */
void notify_resume(json_t *seen, const json_t *channel, int64_t now_us);
/* A channel that was told nothing.  A new reference. */
json_t *notify_channel_new(int64_t now_us);
/*
 * The message that is due (docs/daemon.md), without what it is from, or NULL.  jobs: of the status
 * document.  At most two in an interval: one, and one more when something failed meanwhile.
 */
json_t *notify_compose(json_t *channel, json_t *seen, const json_t *jobs,
					   const struct notify_rules *rules, int64_t now_us);
/* It was told. */
void notify_told(json_t *channel, const json_t *message, const struct notify_rules *rules,
				 int64_t now_us);
/* One line, and all of it, for people; without control characters. */
void notify_summary(struct mb_buf *out, const json_t *message);
void notify_text(struct mb_buf *out, const json_t *message);

/* The mail for sendmail -t; to: as the configuration has it. */
void notify_mail(struct mb_buf *out, const char *to, const json_t *message, int64_t now_us);

/* -- one attempt ---------------------------------------------------------------------------- */

#define NOTIFY_LIMIT_MS 30000

struct notify_send
{
	char **words; /* the program, or NULL: a webhook */
	char *url;
	char **envp;
	struct mb_buf body;
	struct mb_cancel cancel;
	pthread_t thread;
	bool is_under_way;
	atomic_bool is_done;
	struct mb_error err; /* of the thread, once done */
};

/*
 * Begin; everything is copied.  words (NULL at the end, [0] a path) is the program, which gets the
 * body on its standard input and variables ("NAME=value") beside our environment; without words
 * the body is posted to url.
 */
enum mb_code notify_send_start(struct notify_send *send, const char *const *words, const char *url,
							   const char *const *variables, const struct mb_buf *body,
							   struct mb_error *err) MB_MUST_CHECK;
/* True when it has ended: *err is then how. */
bool notify_send_ended(struct notify_send *send, struct mb_error *err);
/* Give up, wait for the thread (it looks twice a second), free. */
void notify_send_release(struct notify_send *send);

/* -- the daemon's --------------------------------------------------------------------------- */

struct daemon;
struct notify;

struct notify *notify_new(struct daemon *daemon);
/* daemon->cli is another one. */
void notify_reload(struct notify *notify);
/*
 * At once after status_turn: what is judged by what was looked at must be of the same moment as
 * the problems.
 */
void notify_look(struct notify *notify);
/* In each turn: what a receiver has accepted is soon noted. */
void notify_turn(struct notify *notify);
void notify_free(struct notify *notify);

#endif
