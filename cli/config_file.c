/* config_file.c - mbackup.conf, line by line; the only file that includes inih's ini.h. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/config_private.h"
#include "core/repo/commit.h"

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

/* Into the section that is open. */
static enum mb_code
store_key(struct reader *reader, const struct mb_option *option, const char *suffix,
		  const char *key, const char *value, const char *origin)
{
	struct mb_config *config = reader->config;
	const char *colon = strchr(reader->section, ':');
	const char *name = colon ? colon + 1 : NULL;
	char *text;

	if (sections[reader->section_index].is_component)
		mb_settings_add(find_component(config, name ? name : reader->section), key, value);
	else if (option->scope == SCOPE_RETENTION)
		mb_settings_add(find_retention(config, name ? name : ""), key, value);
	else if (name)
		return take_copy_key(reader, option, key, value);
	else
	{
		text = option->type == OPT_SECRET ? mb_asprintf("%s:%s", suffix, value) : mb_strdup(value);
		mb_values_add(&config->file, option, text, origin);
		mb_wipe(text, strlen(text));
		free(text);
	}
	return MB_OK;
}

static enum mb_code
take_key(struct reader *reader, const char *key, const char *raw_value)
{
	enum mb_scope scope = sections[reader->section_index].scope;
	const char *suffix;
	const struct mb_option *option = mb_option_find_key(scope, key, &suffix);
	char *origin, *value;
	enum mb_code code = MB_OK;

	if (!option)
		return unknown_key(reader, scope, key);
	origin = mb_asprintf("%s line %d, %s", reader->config->path, reader->line, key);
	value = mb_strdup(raw_value);
	if (option->type == OPT_SECRET && !suffix[0])
		reader->holds_secret = true;
	/* A # may be part of a command or a query. */
	else if (scope != SCOPE_HOOKS && scope != SCOPE_REFERENCE &&
			 !mb_starts_with(option->name, "service-"))
		strip_comment(value);
	if (!suffix[0])
		code = mb_option_check(option, value, origin, reader->err);
	if (!code)
		code = store_key(reader, option, suffix, key, value, origin);
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

enum mb_code
mb_config_parse(struct mb_config *config, struct mb_error *err)
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

enum mb_scope
mb_config_scope_of_kind(const char *kind)
{
	size_t i;

	for (i = 0; i < SECTION_COUNT; i++)
		if (strcmp(sections[i].name, kind) == 0)
			return sections[i].scope;
	MB_BUG("no scope for kind %s", kind);
}
