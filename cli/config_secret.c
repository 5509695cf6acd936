/* config_secret.c - secrets of the configuration: written there, in a file, or told by a command. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/config_private.h"
#include "core/base/fs.h"

/* One line: what `echo secret > file` makes is meant without its newline. */
static void
set_secret(struct mb_secret *secret, struct mb_buf *buf)
{
	while (buf->len > 0 && (buf->data[buf->len - 1] == '\n' || buf->data[buf->len - 1] == '\r'))
		buf->len--;
	mb_secret_set(secret, buf->data, buf->len);
	mb_wipe(buf->data, buf->cap);
	mb_buf_release(buf);
}

static enum mb_code
secret_from_file(const char *path, struct mb_secret *secret, struct mb_error *err)
{
	struct mb_buf buf = {0};
	enum mb_code code;
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0007))
	{
		mb_fail(err, MB_DENIED, "\"%s\" holds a secret and everybody may read it", path);
		return mb_error_hint(err, "Run: chmod 0600 %s", path);
	}
	code = mb_file_read(&buf, path, MB_SECRET_MAX - 1, err);
	if (code)
	{
		mb_buf_release(&buf);
		return mb_error_context(err, "could not read a secret");
	}
	set_secret(secret, &buf);
	return MB_OK;
}

static enum mb_code
secret_from_command(const char *command, struct mb_secret *secret, struct mb_error *err)
{
	struct mb_buf buf = {0};
	FILE *pipe = popen(command, "re");
	size_t got;
	int status;

	if (!pipe)
		return mb_fail_errno(err, errno, "could not run \"%s\" for a secret", command);
	mb_buf_reserve(&buf, MB_SECRET_MAX);
	while (buf.len < MB_SECRET_MAX - 1 &&
		   (got = fread(buf.data + buf.len, 1, MB_SECRET_MAX - 1 - buf.len, pipe)) > 0)
		buf.len += got;
	status = pclose(pipe);
	if (status != 0 || buf.len == 0)
	{
		mb_wipe(buf.data, buf.cap);
		mb_buf_release(&buf);
		return mb_fail(err, MB_DENIED, "command \"%s\" gave no secret (exit status %d)", command,
					   WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	}
	set_secret(secret, &buf);
	return MB_OK;
}

static enum mb_code
secret_from(const char *suffix, const char *text, struct mb_secret *secret, struct mb_error *err)
{
	if (strcmp(suffix, "-file") == 0)
		return secret_from_file(text, secret, err);
	if (strcmp(suffix, "-command") == 0)
		return secret_from_command(text, secret, err);
	mb_secret_set(secret, text, strlen(text));
	return MB_OK;
}

/* "suffix:text", as options.c and take_key store it. */
static enum mb_code
secret_from_stored(const char *stored, struct mb_secret *secret, struct mb_error *err)
{
	const char *colon = strchr(stored, ':');
	char *suffix = mb_strndup(stored, (size_t) (colon - stored));
	enum mb_code code = secret_from(suffix, colon + 1, secret, err);

	free(suffix);
	return code;
}

enum mb_code
mb_config_secret(const struct mb_config *config, enum mb_scope scope, const char *name,
				 struct mb_secret *secret, bool *found, struct mb_error *err)
{
	const char *stored = mb_values_get(&config->command_line, scope, name, 0);
	char variable[100];
	const char *env;

	mb_option_variable(mb_option_find(scope, name), variable);
	env = getenv(variable);
	*found = true;
	if (stored)
		return secret_from_stored(stored, secret, err);
	if (env)
	{
		mb_secret_set(secret, env, strlen(env));
		return MB_OK;
	}
	stored = mb_values_get(&config->file, scope, name, 0);
	if (stored)
		return secret_from_stored(stored, secret, err);
	*found = false;
	return MB_OK;
}

enum mb_code
mb_config_resolve_secret(struct mb_settings *settings, const struct mb_option *option,
						 struct mb_error *err)
{
	static const char *const suffixes[] = {"", "-file", "-command"};
	char *variable = mb_asprintf("MBACKUP_%s_%s", settings->name, option->name);
	struct mb_secret secret = {0};
	const char *env;
	enum mb_code code = MB_OK;
	size_t i;
	char *p;

	for (p = variable; *p; p++)
		*p = *p == '-' || *p == ':' ? '_' : (char) toupper((unsigned char) *p);
	env = getenv(variable);
	free(variable);
	if (env)
		mb_secret_set(&secret, env, strlen(env));
	for (i = 0; !code && !secret.data && i < 3; i++)
	{
		char *key = mb_asprintf("%s%s", option->name, suffixes[i]);
		const char *text = mb_settings_get(settings, key);

		if (text)
			code = secret_from(suffixes[i], text, &secret, err);
		free(key);
	}
	if (!code && secret.data)
		mb_settings_add_secret(settings, option->name, secret.data, secret.len);
	mb_secret_release(&secret);
	return code;
}
