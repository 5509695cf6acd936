/*
 * credentials_profile.c - keys from the files of the AWS command line, and credential_process.
 *
 * Read line by line and not by inih, which cuts a line at 200 bytes: session tokens have a thousand.
 * Source: "Configuration and credential file settings" and "Sourcing credentials with an external
 * process" of the AWS command line's user guide.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/base/fs.h"
#include "objectstore/credentials_private.h"

#define FILE_MAX_BYTES (1u << 20)
#define PROCESS_MAX_BYTES (64u << 10)

/* What a section says; every text owned. */
struct section
{
	char *access_key;
	char *secret_key;
	char *session_token;
	char *process;
	bool is_there;
};

static void
forget(char **text)
{
	if (*text)
		mb_wipe(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void
release_section(struct section *section)
{
	forget(&section->access_key);
	forget(&section->secret_key);
	forget(&section->session_token);
	forget(&section->process);
}

static char *
trim(char *text)
{
	size_t len;

	while (*text == ' ' || *text == '\t')
		text++;
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static void
take_pair(struct section *section, const char *name, const char *value)
{
	char **slot = strcmp(name, "aws_access_key_id") == 0       ? &section->access_key
				  : strcmp(name, "aws_secret_access_key") == 0 ? &section->secret_key
				  : strcmp(name, "aws_session_token") == 0     ? &section->session_token
				  : strcmp(name, "credential_process") == 0    ? &section->process
															   : NULL;

	if (!slot || !value[0])
		return;
	forget(slot);
	*slot = mb_strdup(value);
}

/* "[profile NAME]" in the one file, "[NAME]" in the other, "[default]" in both. */
static bool
is_section(char *line, const char *profile)
{
	char *end = strchr(line, ']');
	char *name;

	if (!end)
		return false;
	*end = '\0';
	name = trim(line + 1);
	if (mb_starts_with(name, "profile "))
		name = trim(name + strlen("profile "));
	return strcmp(name, profile) == 0;
}

static enum mb_code
read_section(const char *path, const char *profile, struct section *section, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code = mb_file_read(&text, path, FILE_MAX_BYTES, err);
	bool is_mine = false;
	char *line, *rest;

	if (code)
		return code;
	for (line = strtok_r((char *) (uintptr_t) mb_buf_cstr(&text), "\n", &rest); line;
		 line = strtok_r(NULL, "\n", &rest))
	{
		char *equals = strchr(line, '=');
		/* Settings of a setting, as in "s3 =\n  max_requests = 10". */
		bool is_nested = line[0] == ' ' || line[0] == '\t';

		line = trim(line);
		if (line[0] == '[')
		{
			is_mine = is_section(line, profile);
			section->is_there = section->is_there || is_mine;
		}
		else if (is_mine && !is_nested && equals && line[0] != '#' && line[0] != ';')
		{
			*equals = '\0';
			take_pair(section, trim(line), trim(equals + 1));
		}
	}
	mb_wipe(text.data, text.cap);
	mb_buf_release(&text);
	return MB_OK;
}

static char *
file_path(const char *variable, const char *name)
{
	const char *path = getenv(variable);
	const char *home = getenv("HOME");

	if (path && path[0])
		return mb_strdup(path);
	return mb_asprintf("%s/.aws/%s", home ? home : "", name);
}

static enum mb_code
run_process(const char *command, struct mb_found_keys *found, struct mb_error *err)
{
	struct mb_buf out = {0};
	FILE *pipe = popen(command, "re");
	enum mb_code code = MB_OK;
	int status;

	if (!pipe)
		return mb_fail_errno(err, errno, "could not run credential_process");
	mb_buf_reserve(&out, PROCESS_MAX_BYTES);
	out.len = fread(out.data, 1, PROCESS_MAX_BYTES, pipe);
	status = pclose(pipe);
	if (status != 0)
		code = mb_fail(err, MB_DENIED, "credential_process failed with status %d",
					   WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	else
		code = mb_found_keys_parse(found, out.data, out.len, "credential_process", err);
	mb_wipe(out.data, out.cap);
	mb_buf_release(&out);
	return code;
}

static enum mb_code
use_section(const struct section *section, const char *profile, const char *path,
			struct mb_found_keys *found, struct mb_error *err)
{
	enum mb_code code = MB_OK;

	if (section->access_key && !section->secret_key)
		return mb_fail(err, MB_CONFIG, "profile \"%s\" has no aws_secret_access_key", profile);
	if (section->access_key)
	{
		mb_secret_set(&found->keys.access_key, section->access_key, strlen(section->access_key));
		mb_secret_set(&found->keys.secret_key, section->secret_key, strlen(section->secret_key));
		if (section->session_token)
			mb_secret_set(&found->keys.session_token, section->session_token,
						  strlen(section->session_token));
	}
	else if (section->process)
		code = run_process(section->process, found, err);
	else
		return mb_fail(err, MB_NOT_FOUND, "no keys in profile \"%s\" of %s", profile, path);
	return code;
}

enum mb_code
mb_keys_from_profile(const struct mb_credentials_options *options, struct mb_found_keys *found,
					 struct mb_error *err)
{
	const char *named = options->profile ? options->profile : getenv("AWS_PROFILE");
	const char *profile = named && named[0] ? named : "default";
	char *keys_path = file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	char *config_path = file_path("AWS_CONFIG_FILE", "config");
	struct section section = {0};
	enum mb_code code;

	/* What the second file says counts where both do. */
	code = read_section(config_path, profile, &section, err);
	if (!code || code == MB_NOT_FOUND)
		code = read_section(keys_path, profile, &section, err);
	if (!code || code == MB_NOT_FOUND)
		code = use_section(&section, profile, keys_path, found, err);
	/* A profile that somebody named must be there. */
	if (code == MB_NOT_FOUND && named && named[0] && !section.is_there)
	{
		code = mb_fail(err, MB_CONFIG, "there is no profile \"%s\" in %s or %s", profile, keys_path,
					   config_path);
		mb_error_hint(err, "Add it, or correct profile or AWS_PROFILE.");
	}
	release_section(&section);
	free(keys_path);
	free(config_path);
	return code;
}
