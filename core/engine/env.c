/* env.c - see env.h. */
#include "core/engine/env.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/time.h"

struct mb_progress *
mb_env_progress(const struct mb_env *env, const char *component)
{
	/* Written by many, read by nobody: sharing one among all unwatched operations is fine. */
	static struct mb_progress unwatched;

	if (!env->progress)
		return &unwatched;
	return env->progress(env->progress_ctx, component);
}

void
mb_progress_phase(struct mb_progress *progress, const char *literal)
{
	atomic_store(&progress->phase, literal);
}

static struct mb_setting *
add_setting(struct mb_settings *settings, const char *key)
{
	struct mb_setting *item;

	settings->items =
		mb_grow(settings->items, &settings->cap, settings->count + 1, sizeof(*settings->items));
	item = &settings->items[settings->count++];
	memset(item, 0, sizeof(*item));
	item->key = mb_strdup(key);
	return item;
}

void
mb_settings_add(struct mb_settings *settings, const char *key, const char *value)
{
	add_setting(settings, key)->value = mb_strdup(value);
}

void
mb_settings_add_secret(struct mb_settings *settings, const char *key, const void *data, size_t len)
{
	mb_secret_set(&add_setting(settings, key)->secret, data, len);
}

static const struct mb_setting *
find_setting(const struct mb_settings *settings, const char *key)
{
	size_t i;

	/* The last one wins, as in every INI file. */
	for (i = settings->count; i > 0; i--)
		if (strcmp(settings->items[i - 1].key, key) == 0)
			return &settings->items[i - 1];
	return NULL;
}

const char *
mb_settings_get(const struct mb_settings *settings, const char *key)
{
	const struct mb_setting *item = find_setting(settings, key);

	return item ? item->value : NULL;
}

const struct mb_secret *
mb_settings_secret(const struct mb_settings *settings, const char *key)
{
	const struct mb_setting *item = find_setting(settings, key);

	return item && item->secret.data ? &item->secret : NULL;
}

int64_t
mb_settings_ms(const struct mb_settings *settings, const char *key, int64_t dflt)
{
	const char *value = mb_settings_get(settings, key);
	struct mb_error err;
	int64_t ms;

	if (!value)
		return dflt;
	if (mb_duration_parse(&ms, value, &err))
		MB_BUG("setting %s was not checked: %s", key, err.message);
	return ms;
}

char *
mb_settings_list(const struct mb_settings *settings, const char *key, size_t i)
{
	const char *p = mb_settings_get(settings, key);

	while (p && *p)
	{
		size_t len = strcspn(p, ",");
		const char *start = p;
		const char *end = p + len;

		while (start < end && isspace((unsigned char) *start))
			start++;
		while (end > start && isspace((unsigned char) end[-1]))
			end--;
		if (end > start && i-- == 0)
			return mb_strndup(start, (size_t) (end - start));
		p += len + (p[len] == ',');
	}
	return NULL;
}

void
mb_settings_release(struct mb_settings *settings)
{
	size_t i;

	for (i = 0; i < settings->count; i++)
	{
		free(settings->items[i].key);
		free(settings->items[i].value);
		mb_secret_release(&settings->items[i].secret);
	}
	free(settings->items);
	settings->items = NULL;
	settings->count = settings->cap = 0;
}
