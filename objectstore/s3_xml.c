/* s3_xml.c - see s3_xml.h.  The listings themselves: s3_page.c. */
#include "objectstore/s3_xml.h"

#include <ctype.h>
#include <expat.h>
#include <string.h>

#define DEPTH_MAX 16
#define TEXT_MAX_BYTES (64u << 10)
#define PATH_MAX_BYTES (16u << 10)
#define DOCUMENT_MAX_BYTES (16u << 20)

struct parsing
{
	XML_Parser parser;
	const struct mb_xml_handler *handler;
	void *ctx;
	const char *what;
	struct mb_buf path;
	/* The texts of all open elements behind each other: a child's is cut off when it ends. */
	struct mb_buf text;
	size_t path_starts[DEPTH_MAX];
	size_t text_starts[DEPTH_MAX];
	size_t depth;
	enum mb_code code;
	struct mb_error *err;
};

static void
stop(struct parsing *parsing, enum mb_code code)
{
	parsing->code = code;
	XML_StopParser(parsing->parser, XML_FALSE);
}

static void
refuse(struct parsing *parsing, const char *why)
{
	stop(parsing, mb_fail(parsing->err, MB_CORRUPT, "%s: the answer has %s", parsing->what, why));
}

/* Expat calls on after a stop within one token, so every handler asks first. */
static void
on_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
	struct parsing *parsing = data;
	const char *local = strrchr(name, ':');
	enum mb_code code;

	(void) attributes;
	if (parsing->code)
		return;
	local = local ? local + 1 : name;
	if (parsing->depth == DEPTH_MAX)
	{
		refuse(parsing, "too many levels");
		return;
	}
	if (parsing->path.len + strlen(local) > PATH_MAX_BYTES)
	{
		refuse(parsing, "too long names");
		return;
	}
	parsing->path_starts[parsing->depth] = parsing->path.len;
	parsing->text_starts[parsing->depth] = parsing->text.len;
	if (parsing->depth++ > 0)
		mb_buf_put_u8(&parsing->path, '/');
	mb_buf_put_str(&parsing->path, local);
	if (!parsing->handler->begin)
		return;
	code = parsing->handler->begin(parsing->ctx, mb_buf_cstr(&parsing->path), parsing->err);
	if (code)
		stop(parsing, code);
}

static void
on_end(void *data, const XML_Char *name)
{
	struct parsing *parsing = data;
	size_t start;
	enum mb_code code;

	(void) name;
	if (parsing->code)
		return;
	start = parsing->text_starts[--parsing->depth];
	code = parsing->handler->text(parsing->ctx, mb_buf_cstr(&parsing->path),
								  mb_buf_cstr(&parsing->text) + start, parsing->text.len - start,
								  parsing->err);
	if (code)
		stop(parsing, code);
	parsing->text.len = start;
	parsing->path.len = parsing->path_starts[parsing->depth];
}

static void
on_text(void *data, const XML_Char *text, int len)
{
	struct parsing *parsing = data;

	if (parsing->code || parsing->depth == 0)
		return;
	if (parsing->text.len - parsing->text_starts[parsing->depth - 1] + (size_t) len >
		TEXT_MAX_BYTES)
		refuse(parsing, "a too long text");
	else
		mb_buf_put(&parsing->text, text, (size_t) len);
}

static void
on_doctype(void *data, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
		   int has_internal_subset)
{
	struct parsing *parsing = data;

	(void) name;
	(void) system_id;
	(void) public_id;
	(void) has_internal_subset;
	if (!parsing->code)
		refuse(parsing, "a DOCTYPE");
}

static XML_Parser
make_parser(struct parsing *parsing)
{
	/* UTF-8 whatever the declaration says: nobody sends anything else. */
	XML_Parser parser = XML_ParserCreate("UTF-8");

	if (!parser)
		MB_BUG("out of memory");
	XML_SetUserData(parser, parsing);
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	XML_SetStartDoctypeDeclHandler(parser, on_doctype);
	return parser;
}

enum mb_code
mb_xml_parse(const void *data, size_t len, const struct mb_xml_handler *handler, void *ctx,
			 const char *what, struct mb_error *err)
{
	struct parsing parsing = {.handler = handler, .ctx = ctx, .what = what, .err = err};
	const char *bytes = data;

	if (len > DOCUMENT_MAX_BYTES)
		return mb_fail(err, MB_CORRUPT, "%s: the answer is longer than %u bytes", what,
					   DOCUMENT_MAX_BYTES);
	/* An XML declaration must be the first thing; MinIO sends blanks while it works. */
	while (len > 0 && strchr(" \t\r\n", *bytes) && *bytes)
	{
		bytes++;
		len--;
	}
	parsing.parser = make_parser(&parsing);
	if (XML_Parse(parsing.parser, bytes, (int) len, XML_TRUE) != XML_STATUS_OK && !parsing.code)
		parsing.code =
			mb_fail(err, MB_CORRUPT, "%s: the answer is not well-formed XML: %s at line %lu", what,
					XML_ErrorString(XML_GetErrorCode(parsing.parser)),
					(unsigned long) XML_GetCurrentLineNumber(parsing.parser));
	XML_ParserFree(parsing.parser);
	mb_buf_release(&parsing.path);
	mb_buf_release(&parsing.text);
	return parsing.code;
}

/* -- finding one text ---------------------------------------------------------------------------- */

struct finding
{
	const char *path;
	struct mb_buf *out;
	bool found;
};

static enum mb_code
find_text(void *ctx, const char *path, const char *text, size_t len, struct mb_error *err)
{
	struct finding *finding = ctx;

	if (strcmp(path, finding->path) != 0)
		return MB_OK;
	mb_buf_reset(finding->out);
	mb_buf_put(finding->out, text, len);
	mb_buf_cstr(finding->out);
	finding->found = true;
	/* Only to end the parsing: nobody sees it. */
	return mb_fail(err, MB_EXISTS, "found");
}

bool
mb_xml_find(const void *data, size_t len, const char *path, struct mb_buf *out)
{
	static const struct mb_xml_handler handler = {NULL, find_text};
	struct finding finding = {.path = path, .out = out};
	struct mb_error err;

	mb_error_clear(&err);
	/* What is behind a torn end is not believed, what stands before it is. */
	if (mb_xml_parse(data, len, &handler, &finding, "answer", &err) != MB_EXISTS)
		return false;
	return finding.found;
}

/* -- texts ----------------------------------------------------------------------------------------- */

void
mb_xml_escape(struct mb_buf *out, const char *text)
{
	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c == '&')
			mb_buf_put_str(out, "&amp;");
		else if (c == '<')
			mb_buf_put_str(out, "&lt;");
		else if (c == '>')
			mb_buf_put_str(out, "&gt;");
		else if (c == '"')
			mb_buf_put_str(out, "&quot;");
		else if (c == '\'')
			mb_buf_put_str(out, "&apos;");
		else if (c < 0x20 || c == 0x7F)
			mb_buf_printf(out, "&#x%X;", c);
		else
			mb_buf_put_u8(out, c);
	}
}

static int
hex_digit(char c)
{
	return mb_hex_digit((char) tolower((unsigned char) c));
}

void
mb_xml_url_decode(struct mb_buf *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
	{
		if (text[i] == '+')
			mb_buf_put_u8(out, ' ');
		else if (text[i] == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 &&
				 hex_digit(text[i + 2]) >= 0)
		{
			mb_buf_put_u8(out, (uint8_t) (hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
			i += 2;
		}
		else
			mb_buf_put_u8(out, (uint8_t) text[i]);
	}
}
