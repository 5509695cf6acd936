/*
 * env.h - what every long operation is given: the repository, the log, the cancel
 * flag, the number of workers, the spool directory; and the settings of a component.
 */
#ifndef MB_ENGINE_ENV_H
#define MB_ENGINE_ENV_H

#include <stdatomic.h>

#include "core/base/log.h"
#include "core/base/pool.h"
#include "core/repo/repo.h"

/* Counters that workers bump and the renderer in cli/ reads, without a lock. */
struct mb_progress
{
	char name[64];                    /* component */
	_Atomic(const char *) phase;      /* a literal: "copying", "waiting for WAL", "done" */
	atomic_uint_fast64_t total_bytes; /* 0 when unknown */
	atomic_uint_fast64_t done_bytes;
	atomic_uint_fast64_t done_entries;
};

struct mb_env
{
	struct mb_repo *repo;
	const struct mb_log *log;       /* may be NULL */
	const struct mb_cancel *cancel; /* may be NULL */
	unsigned workers;               /* >= 1 */
	const char *spool;              /* local directory that exists and is ours, 0700 */
	const char *program;            /* absolute path of mbackup, for restore_command */
	const char *config_path;        /* absolute path of mbackup.conf, or NULL */
	const char *repository;         /* the copy that --repository names, or NULL */
	bool
		is_copy; /* the repository is a copy, because the first cannot be read: nothing may be put */
	int64_t verify_age_ms; /* check warns when stored data was not read for so long; 0: never */
	int64_t drill_age_ms;  /* ... when the last drill that passed is older; 0: never */
	int64_t patience_ms;   /* with a server that does not answer; 0: as each driver has */
	/*
	 * Called when a long operation begins on a component; the progress lives until
	 * mb_env's owner frees it.  Never NULL in practice: see mb_env_progress.
	 */
	struct mb_progress *(*progress)(void *ctx, const char *component);
	void *progress_ctx;
};

/* A progress to bump; a throw-away one when nobody watches. */
struct mb_progress *mb_env_progress(const struct mb_env *env, const char *component);
void mb_progress_phase(struct mb_progress *progress, const char *literal);

/*
 * The settings of one component: what the option table allows for its kind, with
 * defaults filled in by cli/ and secrets resolved (from value, file, command or
 * environment).  Values are strings; lists are comma-separated in the file and
 * come as several values.
 */
struct mb_setting
{
	char *key;
	char *value;             /* NULL for a secret */
	struct mb_secret secret; /* empty unless a secret */
};

struct mb_settings
{
	char name[64]; /* component name: "postgres", "uploads" */
	char kind[16];
	struct mb_setting *items;
	size_t count;
	size_t cap;
};

void mb_settings_add(struct mb_settings *settings, const char *key, const char *value);
void mb_settings_add_secret(struct mb_settings *settings, const char *key, const void *data,
							size_t len);
/* The (last) value of a key, or NULL. Borrowed. */
const char *mb_settings_get(const struct mb_settings *settings, const char *key);
const struct mb_secret *mb_settings_secret(const struct mb_settings *settings, const char *key);
/* Typed: the option table has checked the syntax, so a bad value here is a bug. */
int64_t mb_settings_ms(const struct mb_settings *settings, const char *key, int64_t dflt);
/* The i-th element of a comma-separated value, trimmed, into out (free it), or NULL past the end. */
char *mb_settings_list(const struct mb_settings *settings, const char *key, size_t i);
void mb_settings_release(struct mb_settings *settings);

#endif
