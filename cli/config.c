/* config.c - see config.h; the only file that includes inih's ini.h. */
#include "cli/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/repo/commit.h"

#define SECRET_FILE_MAX 65536

static const struct
{
	const char *name;
	enum mb_scope scope;
	bool is_component;
} sections[] = {{"global", SCOPE_GLOBAL, false},       {"repository", SCOPE_REPOSITORY, false},
				{"daemon", SCOPE_DAEMON, false},       {"schedule", SCOPE_SCHEDULE, false},
				{"retention", SCOPE_RETENTION, false}, {"postgres", SCOPE_POSTGRES, true},
				{"objects", SCOPE_OBJECTS, true},      {"redis", SCOPE_REDIS, true},
				{"files", SCOPE_FILES, true},          {"hooks", SCOPE_HOOKS, false},
				{"services", SCOPE_SERVICES, false},   {"reference", SCOPE_REFERENCE, true}};
#define SECTION_COUNT (sizeof(sections) / sizeof(sections[0]))

struct reader
{
	struct mb_config *config;
	FILE *file;
	int line;
	char section[256];
	size_t section_index; /* of sections[]; SECTION_COUNT before the first */
	bool holds_secret;
	enum mb_code code;
	struct mb_error *err;
};

/* -- sections ------------------------------------------------------------------------------- */

static enum mb_code
unknown_section(struct reader *reader, const char *section)
{
	struct mb_nearest nearest = {.word = section};
	size_t i;

	if (!section[0])
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: this stands in no section",
				reader->config->path, reader->line);
		return mb_error_hint(reader->err, "Write a line such as [repository] before it.");
	}
	for (i = 0; i < SECTION_COUNT; i++)
		mb_nearest_try(&nearest, sections[i].name);
	mb_fail(reader->err, MB_CONFIG, "%s line %d: there is no section [%s]", reader->config->path,
			reader->line, section);
	if (nearest.best)
		return mb_error_hint(reader->err, "Did you mean [%s]?", nearest.best);
	return mb_error_hint(reader->err,
						 "Sections are [global], [repository], [retention], [schedule], "
						 "[postgres], [objects], [redis], [files], [daemon], [hooks], "
						 "[services] and [reference]; components may be named "
						 "([objects:uploads]), and so are copies of the "
						 "repository ([repository:offsite]).");
}

static struct mb_settings *
find_component(struct mb_config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->component_count; i++)
		if (strcmp(config->components[i].name, name) == 0)
			return &config->components[i];
	return NULL;
}

static enum mb_code
open_component(struct reader *reader, const char *kind, const char *name)
{
	struct mb_config *config = reader->config;
	struct mb_settings *settings = find_component(config, name);

	if (!mb_component_name_is_valid(name))
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: \"%s\" is not a name for a component",
				config->path, reader->line, name);
		return mb_error_hint(reader->err, "Use lower-case letters, digits, - and _, beginning "
										  "with a letter.");
	}
	if (settings && strcmp(settings->kind, kind) != 0)
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: two components are named \"%s\"", config->path,
				reader->line, name);
		return mb_error_hint(reader->err, "Give one of them a name of its own: [%s:NAME].", kind);
	}
	if (!settings)
	{
		config->components = mb_grow(config->components, &config->component_cap,
									 config->component_count + 1, sizeof(*config->components));
		settings = &config->components[config->component_count++];
		memset(settings, 0, sizeof(*settings));
		snprintf(settings->name, sizeof(settings->name), "%s", name);
		snprintf(settings->kind, sizeof(settings->kind), "%s", kind);
	}
	return MB_OK;
}

static struct mb_copy_section *
find_copy(struct mb_config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->copy_count; i++)
		if (strcmp(config->copies[i].name, name) == 0)
			return &config->copies[i];
	return NULL;
}

static enum mb_code
open_copy(struct reader *reader, const char *name)
{
	struct mb_config *config = reader->config;
	struct mb_copy_section *copy = find_copy(config, name);

	if (!mb_component_name_is_valid(name))
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: \"%s\" is not a name for a copy", config->path,
				reader->line, name);
		return mb_error_hint(reader->err, "Use lower-case letters, digits, - and _, beginning "
										  "with a letter.");
	}
	if (!copy)
	{
		config->copies = mb_grow(config->copies, &config->copy_cap, config->copy_count + 1,
								 sizeof(*config->copies));
		copy = &config->copies[config->copy_count++];
		*copy = (struct mb_copy_section){.name = mb_strdup(name), .line = reader->line};
		snprintf(copy->settings.name, sizeof(copy->settings.name), "repository:%s", name);
		snprintf(copy->settings.kind, sizeof(copy->settings.kind), "repository");
	}
	return MB_OK;
}

static struct mb_settings *
find_retention(struct mb_config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->retention_count; i++)
		if (strcmp(config->retentions[i].name, name) == 0)
			return &config->retentions[i];
	return NULL;
}

/* name "": of the stack, else of one component. */
static enum mb_code
open_retention(struct reader *reader, const char *name)
{
	struct mb_config *config = reader->config;
	struct mb_settings *settings;

	if (*name && !mb_component_name_is_valid(name))
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: \"%s\" is not the name of a component",
				config->path, reader->line, name);
		return mb_error_hint(reader->err, "[retention:redis] is for the component [redis], "
										  "[retention:uploads] for [objects:uploads].");
	}
	if (find_retention(config, name))
		return MB_OK;
	config->retentions = mb_grow(config->retentions, &config->retention_cap,
								 config->retention_count + 1, sizeof(*config->retentions));
	settings = &config->retentions[config->retention_count++];
	memset(settings, 0, sizeof(*settings));
	snprintf(settings->name, sizeof(settings->name), "%s", name);
	snprintf(settings->kind, sizeof(settings->kind), "retention");
	return MB_OK;
}

static enum mb_code
open_section(struct reader *reader, const char *section)
{
	const char *colon = strchr(section, ':');
	size_t kind_len = colon ? (size_t) (colon - section) : strlen(section);
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (strlen(sections[i].name) == kind_len &&
			strncmp(section, sections[i].name, kind_len) == 0 &&
			(sections[i].is_component || !colon || sections[i].scope == SCOPE_REPOSITORY ||
			 sections[i].scope == SCOPE_RETENTION))
			break;
	if (i == SECTION_COUNT)
		return unknown_section(reader, section);
	snprintf(reader->section, sizeof(reader->section), "%s", section);
	reader->section_index = i;
	if (sections[i].scope == SCOPE_RETENTION)
		return open_retention(reader, colon ? colon + 1 : "");
	if (!sections[i].is_component)
		return colon ? open_copy(reader, colon + 1) : MB_OK;
	return open_component(reader, sections[i].name, colon ? colon + 1 : sections[i].name);
}

/* -- keys ------------------------------------------------------------------------------------ */

static enum mb_code
unknown_key(struct reader *reader, enum mb_scope scope, const char *key)
{
	const char *nearest = mb_option_nearest(scope, key);
	struct mb_buf known = {0};
	size_t i;

	mb_fail(reader->err, MB_CONFIG, "%s line %d: there is no key \"%s\" in [%s]",
			reader->config->path, reader->line, key, reader->section);
	if (nearest)
		return mb_error_hint(reader->err, "Did you mean \"%s\"?", nearest);
	for (i = 0; i < mb_option_count; i++)
		if (mb_options[i].scope == scope)
			mb_buf_printf(&known, "%s%s", known.len ? ", " : "", mb_options[i].name);
	mb_error_hint(reader->err, "Keys of this section are: %s.", mb_buf_cstr(&known));
	mb_buf_release(&known);
	return reader->err->code;
}

/* " # comment" and " ; comment" behind a value; a secret may contain anything. */
static void
strip_comment(char *value)
{
	char *p = value;

	while ((p = strpbrk(p, "#;")) != NULL)
	{
		if (p > value && isspace((unsigned char) p[-1]))
		{
			while (p > value && isspace((unsigned char) p[-1]))
				p--;
			*p = '\0';
			return;
		}
		p++;
	}
}

/* A copy has a place of its own, with the way there, and nothing else: its blobs are those of the
 * first. */
static enum mb_code
take_copy_key(struct reader *reader, const struct mb_option *option, const char *key,
			  const char *value)
{
	struct mb_config *config = reader->config;
	struct mb_copy_section *copy = find_copy(config, strchr(reader->section, ':') + 1);

	if (!mb_option_is_of_place(option))
	{
		mb_fail(reader->err, MB_CONFIG, "%s line %d: \"%s\" is shared by all copies", config->path,
				reader->line, key);
		return mb_error_hint(reader->err,
							 "Write it in [repository]; [%s] has only url, and how to get there.",
							 reader->section);
	}
	mb_settings_add(&copy->settings, key, value);
	if (strcmp(option->name, "url") != 0)
		return MB_OK;
	free(copy->url);
	copy->url = mb_strdup(value);
	return MB_OK;
}

static enum mb_code
take_key(struct reader *reader, const char *key, const char *raw_value)
{
	struct mb_config *config = reader->config;
	enum mb_scope scope = sections[reader->section_index].scope;
	const char *suffix;
	const struct mb_option *option = mb_option_find_key(scope, key, &suffix);
	char *origin = mb_asprintf("%s line %d, %s", config->path, reader->line, key);
	char *value = mb_strdup(raw_value);
	enum mb_code code = MB_OK;

	if (!option)
		code = unknown_key(reader, scope, key);
	else
	{
		if (option->type == OPT_SECRET && !suffix[0])
			reader->holds_secret = true;
		/* A # may be part of a command or a query. */
		else if (scope != SCOPE_HOOKS && scope != SCOPE_REFERENCE &&
				 !mb_starts_with(option->name, "service-"))
			strip_comment(value);
		if (!suffix[0])
			code = mb_option_check(option, value, origin, reader->err);
	}
	if (!code && sections[reader->section_index].is_component)
	{
		const char *colon = strchr(reader->section, ':');
		struct mb_settings *settings = find_component(config, colon ? colon + 1 : reader->section);

		mb_settings_add(settings, key, value);
	}
	else if (!code && scope == SCOPE_RETENTION)
	{
		const char *colon = strchr(reader->section, ':');

		mb_settings_add(find_retention(config, colon ? colon + 1 : ""), key, value);
	}
	else if (!code && strchr(reader->section, ':'))
		code = take_copy_key(reader, option, key, value);
	else if (!code)
	{
		char *text =
			option->type == OPT_SECRET ? mb_asprintf("%s:%s", suffix, value) : mb_strdup(value);

		mb_values_add(&config->file, option, text, origin);
		mb_wipe(text, strlen(text));
		free(text);
	}
	mb_wipe(value, strlen(value));
	free(value);
	free(origin);
	return code;
}

static int
handle_pair(void *ctx, const char *section, const char *key, const char *value)
{
	struct reader *reader = ctx;

	if (reader->code)
		return 1;
	if (reader->section_index == SECTION_COUNT || strcmp(section, reader->section) != 0)
		reader->code = open_section(reader, section);
	if (!reader->code)
		reader->code = take_key(reader, key, value);
	return 1;
}

/* Section headers without keys ([redis] alone) never reach handle_pair: open them here. */
static void
note_header(struct reader *reader, const char *line)
{
	const char *start = line + strspn(line, " \t");
	const char *end = *start == '[' ? strchr(start, ']') : NULL;
	char *section;

	if (!end || reader->code)
		return;
	section = mb_strndup(start + 1, (size_t) (end - start - 1));
	reader->code = open_section(reader, section);
	free(section);
}

static char *
read_line(char *out, int size, void *ctx)
{
	struct reader *reader = ctx;
	char *line = fgets(out, size, reader->file);

	if (line)
	{
		reader->line++;
		note_header(reader, line);
	}
	return line;
}

/* -- the file -------------------------------------------------------------------------------- */

static char *
default_path(bool must_exist)
{
	const char *env = getenv("MBACKUP_CONFIG");
	const char *home = getenv("HOME");
	char *user = home ? mb_asprintf("%s/.config/mbackup/mbackup.conf", home) : NULL;
	char *chosen;

	if (env && env[0])
		chosen = mb_strdup(env);
	else if (user && (access(user, F_OK) == 0 || (!must_exist && geteuid() != 0)))
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

	return given ? mb_strdup(given) : default_path(false);
}

static enum mb_code
check_mode(const struct reader *reader, struct mb_error *err)
{
	struct stat st;

	if (fstat(fileno(reader->file), &st) != 0)
		return mb_fail_errno(err, errno, "could not look at \"%s\"", reader->config->path);
	if (!reader->holds_secret || !(st.st_mode & 0007))
		return MB_OK;
	mb_fail(err, MB_DENIED, "\"%s\" holds a secret and everybody may read it",
			reader->config->path);
	return mb_error_hint(err, "Run: chmod 0600 %s", reader->config->path);
}

static enum mb_code
parse_file(struct mb_config *config, struct mb_error *err)
{
	struct reader reader = {.config = config, .section_index = SECTION_COUNT, .err = err};
	struct stat st;
	int bad_line;

	reader.file = fopen(config->path, "re");
	if (!reader.file)
		return mb_fail_errno(err, errno, "could not open configuration file \"%s\"", config->path);
	if (fstat(fileno(reader.file), &st) == 0 && S_ISDIR(st.st_mode))
	{
		fclose(reader.file);
		mb_fail(err, MB_CONFIG, "configuration file \"%s\" is a directory", config->path);
		return mb_error_hint(err, "Write --config %s/mbackup.conf, or the name of another file.",
							 config->path);
	}
	bad_line = ini_parse_stream(read_line, &reader, handle_pair, &reader);
	if (!reader.code && bad_line != 0)
	{
		reader.code = mb_fail(err, MB_CONFIG,
							  "%s line %d: this is neither a section, a key nor a "
							  "comment",
							  config->path, bad_line > 0 ? bad_line : reader.line);
		mb_error_hint(err, "Write \"key = value\" under a [section]; comments begin with #.");
	}
	if (!reader.code)
		reader.code = check_mode(&reader, err);
	fclose(reader.file);
	return reader.code;
}

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

static enum mb_scope
scope_of_kind(const char *kind)
{
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (strcmp(sections[i].name, kind) == 0)
			return sections[i].scope;
	MB_BUG("no scope for kind %s", kind);
}

/* -- secrets ----------------------------------------------------------------------------------- */

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

/* Resolve "password", "password-file" and "password-command" of a component into a secret. */
static enum mb_code
resolve_component_secret(struct mb_settings *settings, const struct mb_option *option,
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

static enum mb_code
complete_component(struct mb_settings *settings, struct mb_error *err)
{
	enum mb_scope scope = scope_of_kind(settings->kind);
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < mb_option_count; i++)
	{
		const struct mb_option *option = &mb_options[i];

		if (option->scope != scope || (scope == SCOPE_REPOSITORY && !mb_option_is_of_place(option)))
			continue;
		if (option->type == OPT_SECRET)
			code = resolve_component_secret(settings, option, err);
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

/* -- the rest ------------------------------------------------------------------------------------ */

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
	code = parse_file(config, err);
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
