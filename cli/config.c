/* config.c - what is in force; see config.h. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config_private.h"

static char *
default_path(void)
{
	const char *env = getenv("MBACKUP_CONFIG");
	const char *home = getenv("HOME");
	char *user = home ? mb_asprintf("%s/.config/mbackup/mbackup.conf", home) : NULL;
	char *chosen;

	if (env && env[0])
		chosen = mb_strdup(env);
	else if (user && (access(user, F_OK) == 0 || geteuid() != 0))
		chosen = mb_strdup(user);
	else
		chosen = mb_strdup("/etc/mbackup/mbackup.conf");
	free(user);
	return chosen;
}

char *
mb_config_path(const struct mb_config *config)
{
	const char *given = mb_values_get(&config->command_line, SCOPE_COMMAND, "config", 0);

	return given ? mb_strdup(given) : default_path();
}

/* -- components and places --------------------------------------------------------------------- */

static enum mb_code
check_copies(const struct mb_config *config, struct mb_error *err)
{
	size_t i;

	for (i = 0; i < config->copy_count; i++)
	{
		const struct mb_copy_section *copy = &config->copies[i];

		if (copy->url && copy->url[0])
			continue;
		mb_fail(err, MB_CONFIG, "%s line %d: [repository:%s] has no url", config->path, copy->line,
				copy->name);
		return mb_error_hint(err, "Write url = /a/directory there.");
	}
	return MB_OK;
}

static enum mb_code
complete_component(struct mb_settings *settings, struct mb_error *err)
{
	enum mb_scope scope = mb_config_scope_of_kind(settings->kind);
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < mb_option_count; i++)
	{
		const struct mb_option *option = &mb_options[i];

		if (option->scope != scope || (scope == SCOPE_REPOSITORY && !mb_option_is_of_place(option)))
			continue;
		if (option->type == OPT_SECRET)
			code = mb_config_resolve_secret(settings, option, err);
		else if (option->dflt && !mb_settings_get(settings, option->name))
			mb_settings_add(settings, option->name, option->dflt);
	}
	return code ? mb_error_context(err, "[%s]", settings->name) : MB_OK;
}

enum mb_code
mb_config_place(const struct mb_config *config, struct mb_settings *settings, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	snprintf(settings->name, sizeof(settings->name), "repository");
	snprintf(settings->kind, sizeof(settings->kind), "repository");
	for (i = 0; !code && i < mb_option_count; i++)
	{
		const struct mb_option *option = &mb_options[i];
		struct mb_secret secret = {0};
		const char *value;
		bool found = false;

		if (!mb_option_is_of_place(option))
			continue;
		if (option->type == OPT_SECRET)
		{
			code = mb_config_secret(config, SCOPE_REPOSITORY, option->name, &secret, &found, err);
			if (!code && found)
				mb_settings_add_secret(settings, option->name, secret.data, secret.len);
			mb_secret_release(&secret);
		}
		else if ((value = mb_config_get(config, SCOPE_REPOSITORY, option->name)) != NULL)
			mb_settings_add(settings, option->name, value);
	}
	return code ? mb_error_context(err, "[repository]") : MB_OK;
}

char *
mb_config_place_text(const struct mb_settings *settings)
{
	const char *url = mb_settings_get(settings, "url");
	const char *endpoint = mb_settings_get(settings, "endpoint");

	if (!mb_starts_with(url, "s3://") || !endpoint)
		return mb_strdup(url);
	return mb_asprintf("%s at %s", url, endpoint);
}

/* -- reading and asking ------------------------------------------------------------------------ */

enum mb_code
mb_config_read(struct mb_config *config, unsigned flags, struct mb_error *err)
{
	char *path = mb_config_path(config);
	char absolute[PATH_MAX];
	enum mb_code code = MB_OK;
	size_t i;

	if (access(path, F_OK) != 0 && errno == ENOENT)
	{
		if (!(flags & MB_CONFIG_MAY_BE_MISSING))
		{
			code = mb_fail(err, MB_NOT_FOUND, "there is no configuration file \"%s\"", path);
			mb_error_hint(err, "Run \"mbackup init\" to make one, or name it with --config.");
		}
		free(path);
		return code;
	}
	config->path = mb_strdup(realpath(path, absolute) ? absolute : path);
	free(path);
	code = mb_config_parse(config, err);
	if (code || (flags & MB_CONFIG_NAMES_ONLY))
		return code;
	code = check_copies(config, err);
	for (i = 0; !code && i < config->component_count; i++)
		code = complete_component(&config->components[i], err);
	for (i = 0; !code && i < config->copy_count; i++)
	{
		code = complete_component(&config->copies[i].settings, err);
		config->copies[i].place = mb_config_place_text(&config->copies[i].settings);
	}
	return code;
}

void
mb_config_release(struct mb_config *config)
{
	size_t i;

	mb_values_release(&config->command_line);
	mb_values_release(&config->file);
	for (i = 0; i < config->component_count; i++)
		mb_settings_release(&config->components[i]);
	free(config->components);
	for (i = 0; i < config->copy_count; i++)
	{
		free(config->copies[i].name);
		free(config->copies[i].url);
		free(config->copies[i].place);
		mb_settings_release(&config->copies[i].settings);
	}
	free(config->copies);
	for (i = 0; i < config->retention_count; i++)
		mb_settings_release(&config->retentions[i]);
	free(config->retentions);
	free(config->path);
	memset(config, 0, sizeof(*config));
}

const char *
mb_config_get(const struct mb_config *config, enum mb_scope scope, const char *name)
{
	const char *value = mb_values_get(&config->command_line, scope, name, 0);
	const struct mb_option *option = mb_option_find(scope, name);

	MB_ASSERT(option != NULL);
	if (!value)
	{
		char variable[100];

		mb_option_variable(option, variable);
		value = getenv(variable);
	}
	if (!value)
	{
		/* The last line of the file wins. */
		size_t i;

		for (i = 0; i < config->file.count; i++)
			if (config->file.items[i].option == option)
				value = config->file.items[i].text;
	}
	return value ? value : option->dflt;
}

bool
mb_config_flag(const struct mb_config *config, const char *name)
{
	const char *value = mb_values_get(&config->command_line, SCOPE_COMMAND, name, 0);

	return value && (strcmp(value, "on") == 0 || strcmp(value, "true") == 0 ||
					 strcmp(value, "yes") == 0 || strcmp(value, "1") == 0);
}
