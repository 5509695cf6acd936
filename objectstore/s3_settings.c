/* s3_settings.c - see s3_settings.h. */
#include "objectstore/s3_settings.h"

#include <stdlib.h>
#include <string.h>

static const char *
text_of(const struct mb_settings *settings, const char *key)
{
	const char *text = mb_settings_get(settings, key);

	return text && text[0] ? text : NULL;
}

/* What can be told without asking anybody. */
static enum mb_code
check_credentials(const struct mb_settings *settings, struct mb_error *err)
{
	const char *source = text_of(settings, "credentials");
	bool has_access = text_of(settings, "access-key") != NULL;
	bool has_secret = mb_settings_secret(settings, "secret-key") != NULL;
	bool has_token = mb_settings_secret(settings, "session-token") != NULL;

	if (source && strcmp(source, "auto") != 0 && (has_access || has_secret || has_token))
	{
		mb_fail(err, MB_CONFIG, "credentials = %s and %s exclude each other", source,
				has_access ? "access-key" : (has_secret ? "secret-key" : "session-token"));
		return mb_error_hint(err, "Remove one of them.");
	}
	if (has_access && !has_secret)
	{
		mb_fail(err, MB_CONFIG, "access-key is set, but there is no secret-key");
		return mb_error_hint(err, "Write secret-key-file = FILE or secret-key-command = COMMAND.");
	}
	if (!has_access && (has_secret || has_token))
	{
		mb_fail(err, MB_CONFIG, "%s is set, but there is no access-key",
				has_secret ? "secret-key" : "session-token");
		return mb_error_hint(err, "Write access-key = KEY.");
	}
	return MB_OK;
}

/* Tests cannot wait for half a minute. */
static int64_t
stall_ms(void)
{
	const char *text = getenv("MBACKUP_TEST_STALL_MS");

	return text ? strtoll(text, NULL, 10) : 0;
}

enum mb_code
mb_s3_from_settings(struct mb_s3 **s3, const struct mb_settings *settings, const struct mb_env *env,
					struct mb_error *err)
{
	struct mb_credentials_options identity = {.source = text_of(settings, "credentials"),
											  .access_key = text_of(settings, "access-key"),
											  .secret_key =
												  mb_settings_secret(settings, "secret-key"),
											  .session_token =
												  mb_settings_secret(settings, "session-token"),
											  .profile = text_of(settings, "profile"),
											  .sts_endpoint = text_of(settings, "sts-endpoint"),
											  .region = text_of(settings, "region"),
											  .ca_file = text_of(settings, "ca-file"),
											  .cancel = env->cancel};
	struct mb_s3_options options = {.endpoint = text_of(settings, "endpoint"),
									.region = identity.region,
									.addressing = text_of(settings, "addressing"),
									.ca_file = identity.ca_file,
									.stall_ms = stall_ms(),
									.patience_ms = env->patience_ms,
									.cancel = env->cancel,
									.log = env->log};
	enum mb_code code = check_credentials(settings, err);

	if (code)
		return code;
	options.credentials = mb_credentials_new(&identity);
	return mb_s3_new(s3, &options, err);
}
