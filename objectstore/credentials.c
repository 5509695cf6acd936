/* credentials.c - see credentials.h: the order of the sources, and when they are asked again. */
#include "objectstore/credentials.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/time.h"
#include "objectstore/credentials_private.h"

#define RENEW_BEFORE_US ((int64_t) 5 * 60 * 1000000)

struct mb_credentials
{
	struct mb_credentials_options options; /* texts and secrets owned */
	struct mb_secret secret_key;
	struct mb_secret session_token;
	pthread_mutex_t lock;
	struct mb_found_keys found;
	uint64_t serial; /* of what was found; 0: nothing yet */
	bool is_stale;   /* the server refused it */
};

static char *
copy_text(const char *text)
{
	return text ? mb_strdup(text) : NULL;
}

struct mb_credentials *
mb_credentials_new(const struct mb_credentials_options *options)
{
	struct mb_credentials *made = mb_calloc(1, sizeof(*made));

	made->options = *options;
	made->options.source = mb_strdup(options->source ? options->source : "auto");
	made->options.access_key = copy_text(options->access_key);
	made->options.profile = copy_text(options->profile);
	made->options.sts_endpoint = copy_text(options->sts_endpoint);
	made->options.region = copy_text(options->region);
	made->options.ca_file = copy_text(options->ca_file);
	if (options->secret_key)
		mb_secret_set(&made->secret_key, options->secret_key->data, options->secret_key->len);
	if (options->session_token && options->session_token->len)
		mb_secret_set(&made->session_token, options->session_token->data,
					  options->session_token->len);
	made->options.secret_key = &made->secret_key;
	made->options.session_token = &made->session_token;
	pthread_mutex_init(&made->lock, NULL);
	return made;
}

void
mb_credentials_free(struct mb_credentials *credentials)
{
	if (!credentials)
		return;
	free((char *) credentials->options.source);
	free((char *) credentials->options.access_key);
	free((char *) credentials->options.profile);
	free((char *) credentials->options.sts_endpoint);
	free((char *) credentials->options.region);
	free((char *) credentials->options.ca_file);
	mb_secret_release(&credentials->secret_key);
	mb_secret_release(&credentials->session_token);
	mb_found_keys_release(&credentials->found);
	pthread_mutex_destroy(&credentials->lock);
	free(credentials);
}

void
mb_s3_keys_release(struct mb_s3_keys *keys)
{
	mb_secret_release(&keys->access_key);
	mb_secret_release(&keys->secret_key);
	mb_secret_release(&keys->session_token);
}

void
mb_found_keys_release(struct mb_found_keys *found)
{
	mb_s3_keys_release(&found->keys);
	memset(found, 0, sizeof(*found));
}

static void
take_text(struct mb_secret *secret, const json_t *json, const char *name)
{
	const char *text = mb_json_str(json, name, "");

	if (text[0] && strlen(text) <= MB_SECRET_MAX)
		mb_secret_set(secret, text, strlen(text));
}

enum mb_code
mb_found_keys_parse(struct mb_found_keys *found, const void *data, size_t len, const char *what,
					struct mb_error *err)
{
	struct mb_error ignored;
	json_t *json = NULL;
	const char *expires;

	if (mb_json_parse(&json, data, len, what, err))
		return err->code;
	take_text(&found->keys.access_key, json, "AccessKeyId");
	take_text(&found->keys.secret_key, json, "SecretAccessKey");
	take_text(&found->keys.session_token, json,
			  json_object_get(json, "SessionToken") ? "SessionToken" : "Token");
	expires = mb_json_str(json, "Expiration", "");
	if (!expires[0] || mb_time_parse(&found->expires_us, expires, &ignored))
		found->expires_us = 0;
	json_decref(json);
	if (found->keys.access_key.len && found->keys.secret_key.len)
		return MB_OK;
	return mb_fail(err, MB_CORRUPT, "the answer of %s holds no credentials", what);
}

/* -- sources that ask nobody ------------------------------------------------------------------------- */

static enum mb_code
from_settings(const struct mb_credentials_options *options, struct mb_found_keys *found,
			  struct mb_error *err)
{
	if (!options->access_key)
		return mb_fail(err, MB_NOT_FOUND, "access-key is not set");
	if (options->secret_key->len == 0)
	{
		mb_fail(err, MB_CONFIG, "access-key is set, but there is no secret-key");
		return mb_error_hint(err, "Write secret-key-file = FILE, or secret-key-command.");
	}
	mb_secret_set(&found->keys.access_key, options->access_key, strlen(options->access_key));
	mb_secret_set(&found->keys.secret_key, options->secret_key->data, options->secret_key->len);
	if (options->session_token->len)
		mb_secret_set(&found->keys.session_token, options->session_token->data,
					  options->session_token->len);
	return MB_OK;
}

static enum mb_code
from_pair(const char *access, const char *secret, const char *token, struct mb_found_keys *found,
		  struct mb_error *err)
{
	const char *access_key = getenv(access);
	const char *secret_key = getenv(secret);
	const char *session_token = token ? getenv(token) : NULL;

	if (!access_key || !access_key[0])
		return mb_fail(err, MB_NOT_FOUND, "%s is not set", access);
	if (!secret_key || !secret_key[0])
		return mb_fail(err, MB_CONFIG, "%s is set, but %s is not", access, secret);
	mb_secret_set(&found->keys.access_key, access_key, strlen(access_key));
	mb_secret_set(&found->keys.secret_key, secret_key, strlen(secret_key));
	if (session_token && session_token[0])
		mb_secret_set(&found->keys.session_token, session_token, strlen(session_token));
	return MB_OK;
}

static enum mb_code
from_environment(const struct mb_credentials_options *options, struct mb_found_keys *found,
				 struct mb_error *err)
{
	enum mb_code code;

	(void) options;
	code = from_pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", found, err);
	if (code == MB_NOT_FOUND)
		code = from_pair("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", NULL, found, err);
	return code;
}

static enum mb_code
from_nobody(const struct mb_credentials_options *options, struct mb_found_keys *found,
			struct mb_error *err)
{
	(void) options;
	(void) found;
	(void) err;
	return MB_OK;
}

/* -- the order ----------------------------------------------------------------------------------------- */

struct source
{
	const char *name;
	enum mb_code (*fetch)(const struct mb_credentials_options *options, struct mb_found_keys *found,
						  struct mb_error *err);
	bool on_request_only;
};

static const struct source sources[] = {
	{"static", from_settings, false},
	{"environment", from_environment, false},
	{"profile", mb_keys_from_profile, false},
	{"web-identity", mb_keys_from_web_identity, false},
	{"container", mb_keys_from_container, false},
	{"instance", mb_keys_from_instance, true},
	{"anonymous", from_nobody, true},
};

static enum mb_code
fetch_any(const struct mb_credentials_options *options, struct mb_found_keys *found,
		  struct mb_error *err)
{
	struct mb_buf looked = {0};
	bool is_auto = strcmp(options->source, "auto") == 0;
	enum mb_code code = MB_NOT_FOUND;
	size_t i;

	for (i = 0; code == MB_NOT_FOUND && i < sizeof(sources) / sizeof(sources[0]); i++)
	{
		if (is_auto ? sources[i].on_request_only : strcmp(sources[i].name, options->source) != 0)
			continue;
		code = sources[i].fetch(options, found, err);
		if (code == MB_NOT_FOUND)
			mb_buf_printf(&looked, "%s%s", looked.len ? "; " : "", err->message);
	}
	if (code == MB_NOT_FOUND)
	{
		code = mb_fail(err, MB_CONFIG, "there are no credentials for the object store");
		if (looked.len)
			mb_error_detail(err, "%.900s", mb_buf_cstr(&looked));
		mb_error_hint(err, "Write access-key and secret-key-file, or set AWS_ACCESS_KEY_ID and "
						   "AWS_SECRET_ACCESS_KEY; credentials = anonymous for none.");
	}
	mb_buf_release(&looked);
	return code;
}

/* Fetch when there is nothing, when it was refused, or when it ends soon. */
static enum mb_code
renew(struct mb_credentials *credentials, struct mb_error *err)
{
	struct mb_found_keys fresh = {0};
	int64_t now_us = mb_time_now_us();
	int64_t expires_us = credentials->found.expires_us;
	bool ends_soon = expires_us && now_us > expires_us - RENEW_BEFORE_US;
	enum mb_code code;

	if (credentials->serial && !credentials->is_stale && !ends_soon)
		return MB_OK;
	code = fetch_any(&credentials->options, &fresh, err);
	if (code)
	{
		mb_found_keys_release(&fresh);
		/* What is still valid serves until the source answers again. */
		return credentials->serial && !credentials->is_stale && now_us < expires_us ? MB_OK : code;
	}
	mb_found_keys_release(&credentials->found);
	credentials->found = fresh;
	credentials->is_stale = false;
	credentials->serial++;
	return MB_OK;
}

static void
copy_secret(struct mb_secret *to, const struct mb_secret *from)
{
	if (from->len)
		mb_secret_set(to, from->data, from->len);
}

enum mb_code
mb_credentials_get(struct mb_credentials *credentials, struct mb_s3_keys *keys,
				   struct mb_error *err)
{
	enum mb_code code;

	pthread_mutex_lock(&credentials->lock);
	code = renew(credentials, err);
	if (!code)
	{
		copy_secret(&keys->access_key, &credentials->found.keys.access_key);
		copy_secret(&keys->secret_key, &credentials->found.keys.secret_key);
		copy_secret(&keys->session_token, &credentials->found.keys.session_token);
		keys->serial = credentials->serial;
	}
	pthread_mutex_unlock(&credentials->lock);
	return code;
}

void
mb_credentials_refused(struct mb_credentials *credentials, uint64_t serial)
{
	pthread_mutex_lock(&credentials->lock);
	if (credentials->serial == serial)
		credentials->is_stale = true;
	pthread_mutex_unlock(&credentials->lock);
}
