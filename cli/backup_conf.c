/* backup_conf.c - see backup_conf.h: the reader. */
#include "cli/backup_conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUE_MAX_BYTES 65536

struct parser
{
	struct backup_conf *conf;
	const char *p;
	const char *end;
	int line;
	backup_conf_env env;
	const char *why; /* the word under way cannot be taken */
};

static bool
at_end(const struct parser *parser)
{
	return parser->p >= parser->end;
}

static char
peek(const struct parser *parser)
{
	return at_end(parser) ? '\0' : *parser->p;
}

static void
skip_blanks(struct parser *parser)
{
	while (!at_end(parser) && (*parser->p == ' ' || *parser->p == '\t' || *parser->p == '\r'))
		parser->p++;
}

static void
skip_line(struct parser *parser)
{
	while (!at_end(parser) && *parser->p != '\n')
		parser->p++;
}

static size_t
name_len(const char *p, const char *end)
{
	size_t len = 0;

	if (p < end && isdigit((unsigned char) *p))
		return 0;
	while (p + len < end && (isalnum((unsigned char) p[len]) || p[len] == '_'))
		len++;
	return len;
}

/* -- words ------------------------------------------------------------------------------------------- */

static void
put_value(struct parser *parser, struct mb_buf *out, const char *name)
{
	const char *value = mb_json_str(parser->conf->values, name, NULL);

	if (!value)
		value = parser->env(name);
	if (value)
		mb_buf_put_str(out, value);
}

static void take_word(struct parser *parser, struct mb_buf *out, const char *stops);

/* Behind a '$'. */
static void
take_expansion(struct parser *parser, struct mb_buf *out)
{
	bool braces = peek(parser) == '{';
	size_t before = out->len, len;
	char *name;

	if (peek(parser) == '(')
	{
		parser->why = "it runs a command";
		return;
	}
	parser->p += braces;
	len = name_len(parser->p, parser->end);
	if (len == 0)
	{
		parser->why = "of $ only $NAME, ${NAME} and ${NAME:-value} are understood";
		return;
	}
	name = mb_strndup(parser->p, len);
	parser->p += len;
	put_value(parser, out, name);
	free(name);
	if (!braces)
		return;
	if (peek(parser) == ':' && parser->p + 1 < parser->end && parser->p[1] == '-')
	{
		struct mb_buf other = {0};

		parser->p += 2;
		take_word(parser, &other, "}");
		if (out->len == before)
			mb_buf_put(out, other.data, other.len);
		mb_buf_release(&other);
	}
	if (peek(parser) == '}')
		parser->p++;
	else
		parser->why = "of $ only $NAME, ${NAME} and ${NAME:-value} are understood";
}

static void
take_single(struct parser *parser, struct mb_buf *out)
{
	for (; !at_end(parser) && *parser->p != '\''; parser->p++)
	{
		parser->line += *parser->p == '\n';
		mb_buf_put_u8(out, (uint8_t) *parser->p);
	}
	if (at_end(parser))
		parser->why = "a quote is not closed";
	else
		parser->p++;
}

static void
take_double(struct parser *parser, struct mb_buf *out)
{
	while (!parser->why && !at_end(parser) && *parser->p != '"')
	{
		char c = *parser->p++;

		parser->line += c == '\n';
		if (c == '$')
			take_expansion(parser, out);
		else if (c == '`')
			parser->why = "it runs a command";
		else if (c == '\\' && !at_end(parser) && strchr("\"\\$`\n", *parser->p))
		{
			if (*parser->p != '\n')
				mb_buf_put_u8(out, (uint8_t) *parser->p);
			else
				parser->line++;
			parser->p++;
		}
		else
			mb_buf_put_u8(out, (uint8_t) c);
	}
	if (!parser->why && at_end(parser))
		parser->why = "a quote is not closed";
	else if (!parser->why)
		parser->p++;
}

/* Up to a blank, the end of the line or one of `stops`. */
static void
take_word(struct parser *parser, struct mb_buf *out, const char *stops)
{
	while (!parser->why && !at_end(parser) && !isspace((unsigned char) *parser->p) &&
		   !strchr(stops, *parser->p))
	{
		char c = *parser->p++;

		if (out->len > VALUE_MAX_BYTES)
			parser->why = "it is too long";
		else if (c == '\'')
			take_single(parser, out);
		else if (c == '"')
			take_double(parser, out);
		else if (c == '$')
			take_expansion(parser, out);
		else if (c == '`' || c == '(' || c == ')' || c == '<' || c == '>' || c == '|' || c == '&')
			parser->why = "it is more than a value";
		else if (c == '\\' && !at_end(parser))
		{
			if (*parser->p == '\n')
				parser->line++;
			else
				mb_buf_put_u8(out, (uint8_t) *parser->p);
			parser->p++;
		}
		else
			mb_buf_put_u8(out, (uint8_t) c);
	}
}

/* NAME=(a b "c d"): blanks between. */
static void
take_list(struct parser *parser, struct mb_buf *out)
{
	parser->p++;
	while (!parser->why)
	{
		while (!at_end(parser) && isspace((unsigned char) *parser->p))
			parser->line += *parser->p++ == '\n';
		if (at_end(parser))
			parser->why = "a list is not closed";
		else if (*parser->p == '#')
			skip_line(parser);
		else if (*parser->p == ')')
			break;
		else
		{
			if (out->len > 0)
				mb_buf_put_u8(out, ' ');
			take_word(parser, out, ")");
		}
	}
	if (!parser->why)
		parser->p++;
}

/* -- lines ------------------------------------------------------------------------------------------- */

static void
note(struct backup_conf *conf, int line, const char *name, const char *why)
{
	json_t *item = json_object();

	mb_json_set_int(item, "line", line);
	mb_json_set_str(item, "name", name);
	mb_json_set_str(item, "why", why);
	json_array_append_new(conf->not_taken, item);
}

static bool
skip_keyword(struct parser *parser, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (parser->end - parser->p) <= len || strncmp(parser->p, word, len) != 0 ||
		(parser->p[len] != ' ' && parser->p[len] != '\t'))
		return false;
	parser->p += len;
	skip_blanks(parser);
	return true;
}

static void
take_assignment(struct parser *parser, size_t len)
{
	char *name = mb_strndup(parser->p, len);
	struct mb_buf value = {0};
	int line = parser->line;

	parser->p += len + 1;
	if (peek(parser) == '(')
		take_list(parser, &value);
	else
		take_word(parser, &value, ";");
	if (!parser->why && memchr(value.data ? value.data : (unsigned char *) "", 0, value.len))
		parser->why = "it is no text";
	if (parser->why)
		note(parser->conf, line, name, parser->why);
	else
	{
		json_t *text = json_string(mb_buf_cstr(&value));

		if (text)
			json_object_set_new(parser->conf->values, name, text);
		else
			note(parser->conf, line, name, "it is no UTF-8");
	}
	mb_buf_wipe(&value);
	free(name);
}

/* One line: assignments, or something that only a shell could do. */
static void
take_line(struct parser *parser)
{
	bool any = false;

	parser->why = NULL;
	skip_blanks(parser);
	if (skip_keyword(parser, "export") || skip_keyword(parser, "readonly"))
		any = true;
	while (!at_end(parser) && *parser->p != '\n' && *parser->p != '#')
	{
		size_t len = name_len(parser->p, parser->end);

		if (len == 0 || parser->p + len >= parser->end || parser->p[len] != '=')
		{
			/* "export A B" makes known what is set already. */
			if (!any || len == 0)
				note(parser->conf, parser->line, "", "it is no assignment: only a shell can do it");
			if (!any || len == 0)
				break;
			parser->p += len;
		}
		else
			take_assignment(parser, len);
		any = true;
		if (parser->why)
			break;
		skip_blanks(parser);
		if (peek(parser) == ';')
			parser->p++;
		skip_blanks(parser);
	}
	skip_line(parser);
}

enum mb_code
backup_conf_parse(struct backup_conf *conf, const char *text, size_t len, backup_conf_env env,
				  struct mb_error *err)
{
	struct parser parser = {.conf = conf, .p = text, .end = text + len, .line = 1, .env = env};

	memset(conf, 0, sizeof(*conf));
	conf->values = json_object();
	conf->inherited = json_object();
	conf->not_taken = json_array();
	conf->taken = json_array();
	if (len > 0 && memchr(text, 0, len))
		return mb_fail(err, MB_CORRUPT, "it is no text");
	while (!at_end(&parser))
	{
		take_line(&parser);
		if (!at_end(&parser))
			parser.p++;
		parser.line++;
	}
	return MB_OK;
}

void
backup_conf_release(struct backup_conf *conf)
{
	json_decref(conf->values);
	json_decref(conf->inherited);
	json_decref(conf->not_taken);
	json_decref(conf->taken);
	memset(conf, 0, sizeof(*conf));
}

const char *
backup_conf_get(const struct backup_conf *conf, const char *name)
{
	const char *value = mb_json_str(conf->values, name, NULL);

	return value && value[0] ? value : NULL;
}

enum mb_code
backup_conf_flag(const struct backup_conf *conf, const char *name, bool dflt, bool *value,
				 struct mb_error *err)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0"};
	const char *text = backup_conf_get(conf, name);
	size_t i;

	*value = dflt;
	if (!text)
		return MB_OK;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
	{
		if (strcasecmp(text, yes[i]) == 0)
			*value = true;
		else if (strcasecmp(text, no[i]) == 0)
			*value = false;
		else
			continue;
		return MB_OK;
	}
	return mb_fail(err, MB_CONFIG, "%s is neither true nor false", name);
}
