/*
 * report_html.c - the answer of a restore as one page: light and dark, nothing from outside, so that it
 * can be mailed or printed.  What it says stands in the JSON answer too.
 */

#include "cli/report.h"
#include "core/base/fs.h"
#include "core/base/time.h"

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<meta name=\"color-scheme\" content=\"light dark\">\n"
	"<title>Restore report</title>\n<style>\n"
	":root{--bg:#fff;--fg:#1b1f24;--soft:#59636e;--line:#d1d9e0;--ok:#1a7f37;--bad:#b3261e;"
	"--card:#f6f8fa}\n"
	"@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;"
	"--line:#30363d;--ok:#3fb950;--bad:#ff7b72;--card:#161b22}}\n"
	"body{margin:2rem auto;max-width:60rem;padding:0 1rem;background:var(--bg);color:var(--fg);"
	"font:16px/1.5 system-ui,sans-serif}\n"
	"h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\n"
	"table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;"
	"border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--soft);font-weight:600}\n"
	"td.n{text-align:right;font-variant-numeric:tabular-nums}\n"
	".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:1rem}\n"
	".facts div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;"
	"padding:.75rem 1rem}.facts b{display:block;font-size:1.4rem}.facts span{color:var(--soft)}\n"
	".ok{color:var(--ok)}.bad{color:var(--bad)}code{background:var(--card);padding:.1rem .3rem;"
	"border-radius:.25rem;overflow-wrap:anywhere}\n"
	"</style></head><body>\n";

void
report_put_escaped(struct mb_buf *out, const char *text)
{
	for (; *text; text++)
		switch (*text)
		{
			case '&':
				mb_buf_put_str(out, "&amp;");
				break;
			case '<':
				mb_buf_put_str(out, "&lt;");
				break;
			case '>':
				mb_buf_put_str(out, "&gt;");
				break;
			case '"':
				mb_buf_put_str(out, "&quot;");
				break;
			default:
				mb_buf_put_u8(out, (uint8_t) *text);
		}
}

static void
put_cell(struct mb_buf *out, const char *text)
{
	mb_buf_put_str(out, "<td>");
	report_put_escaped(out, text);
	mb_buf_put_str(out, "</td>");
}

static void
put_size_cell(struct mb_buf *out, int64_t bytes)
{
	char text[MB_SIZE_TEXT];

	mb_size_format(text, (uint64_t) bytes);
	mb_buf_printf(out, "<td class=\"n\">%s</td>", text);
}

static void
put_seconds_cell(struct mb_buf *out, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_number(value))
		mb_buf_printf(out, "<td class=\"n\">%.2f s</td>", json_number_value(value));
	else
		mb_buf_put_str(out, "<td class=\"n\">-</td>");
}

static void
put_fact(struct mb_buf *out, const char *name, const json_t *seconds)
{
	mb_buf_put_str(out, "<div><b>");
	if (json_is_number(seconds))
		mb_buf_printf(out, "%.1f s", json_number_value(seconds));
	else
		mb_buf_put_str(out, "unknown");
	mb_buf_printf(out, "</b><span>%s</span></div>\n", name);
}

static void
put_components(struct mb_buf *out, const json_t *restore)
{
	const json_t *list = json_object_get(restore, "components");
	size_t i;

	mb_buf_put_str(out,
				   "<h2>Components</h2>\n<table><tr><th>Name</th><th>Kind</th><th>Backup</th>"
				   "<th>Into</th><th>Size</th><th>Copied in</th><th>Well after</th><th>Lost</th>"
				   "<th>Health</th></tr>\n");
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);

		mb_buf_put_str(out, "<tr>");
		put_cell(out, mb_json_str(one, "name", "?"));
		put_cell(out, mb_json_str(one, "kind", "?"));
		put_cell(out, mb_json_str(one, "backup", "-"));
		put_cell(out, mb_json_str(one, "destination", "/"));
		put_size_cell(out, mb_json_int(one, "bytes", 0));
		put_seconds_cell(out, one, "seconds");
		put_seconds_cell(out, one, "rto_seconds");
		put_seconds_cell(out, one, "rpo_seconds");
		put_cell(out, mb_json_str(one, "health", "-"));
		mb_buf_put_str(out, "</tr>\n");
	}
	mb_buf_put_str(out, "</table>\n");
}

static void
put_warnings(struct mb_buf *out, const json_t *object, const char *who, bool *any)
{
	const json_t *list = json_object_get(object, "warnings");
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
	{
		mb_buf_put_str(out, *any ? "<li>" : "<h2>Warnings</h2>\n<ul><li>");
		*any = true;
		report_put_escaped(out, who);
		mb_buf_put_str(out, *who ? ": " : "");
		report_put_escaped(out, json_string_value(json_array_get(list, i)));
		mb_buf_put_str(out, "</li>\n");
	}
}

static void
put_all_warnings(struct mb_buf *out, const json_t *restore)
{
	const json_t *list = json_object_get(restore, "components");
	bool any = false;
	size_t i;

	put_warnings(out, restore, "", &any);
	for (i = 0; i < json_array_size(list); i++)
		put_warnings(out, json_array_get(list, i), mb_json_str(json_array_get(list, i), "name", ""),
					 &any);
	if (any)
		mb_buf_put_str(out, "</ul>\n");
}

static void
put_references(struct mb_buf *out, const json_t *references)
{
	static const char *const keys[] = {"rows", "dangling", "mismatched", "ambiguous", "orphaned"};
	const json_t *list = json_object_get(references, "buckets");
	size_t i, j;

	if (!references)
		return;
	mb_buf_printf(out, "<h2>References</h2>\n<p class=\"%s\">%s</p>\n",
				  mb_json_bool(references, "missing", false) ? "bad" : "ok",
				  mb_json_str(references, "error", NULL)       ? "not checked"
				  : mb_json_bool(references, "missing", false) ? "objects are missing"
															   : "every row finds its object");
	mb_buf_put_str(out,
				   "<table><tr><th>Bucket</th><th>Rows</th><th>Dangling</th><th>Mismatched</th>"
				   "<th>Ambiguous</th><th>Orphaned</th><th>First of them</th></tr>\n");
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i), *examples = json_object_get(one, "examples");

		mb_buf_put_str(out, "<tr>");
		put_cell(out, mb_json_str(one, "bucket", "?"));
		for (j = 0; j < sizeof(keys) / sizeof(*keys); j++)
			mb_buf_printf(out, "<td class=\"n\">%lld</td>",
						  (long long) mb_json_int(one, keys[j], 0));
		mb_buf_put_str(out, "<td>");
		report_put_escaped(out, mb_json_str(one, "problem", ""));
		for (j = 0; j < json_array_size(examples) && j < 5; j++)
		{
			report_put_escaped(out, mb_json_str(json_array_get(examples, j), "key", "?"));
			mb_buf_put_str(out, "<br>");
		}
		mb_buf_put_str(out, "</td></tr>\n");
	}
	mb_buf_put_str(out, "</table>\n");
}

static void
put_steps(struct mb_buf *out, const json_t *restore)
{
	const json_t *list = json_object_get(restore, "steps");
	size_t i;

	if (json_array_size(list) == 0)
		return;
	mb_buf_put_str(out, "<h2>Steps</h2>\n<table><tr><th>Step</th><th>State</th><th>At</th>"
						"<th>Took</th></tr>\n");
	for (i = 0; i < json_array_size(list); i++)
	{
		const json_t *one = json_array_get(list, i);

		mb_buf_put_str(out, "<tr>");
		put_cell(out, mb_json_str(one, "step", "?"));
		put_cell(out, mb_json_str(one, "state", "?"));
		put_cell(out, mb_json_str(one, "time", "?"));
		put_seconds_cell(out, one, "seconds");
		mb_buf_put_str(out, "</tr>\n");
	}
	mb_buf_put_str(out, "</table>\n");
}

static void
put_way_back(struct mb_buf *out, const json_t *restore)
{
	const json_t *keeps = json_object_get(restore, "keeps");
	const json_t *cannot = json_object_get(restore, "cannot_undo");
	size_t i;

	mb_buf_put_str(out, "<h2>The way back</h2>\n");
	if (mb_json_str(restore, "undo", NULL))
	{
		mb_buf_put_str(out, "<p><code>");
		report_put_escaped(out, mb_json_str(restore, "undo", ""));
		mb_buf_put_str(out, "</code> until a younger backup is verified.</p>\n");
	}
	else
		mb_buf_put_str(out, "<p class=\"bad\">There is none.</p>\n");
	mb_buf_put_str(out, "<ul>\n");
	for (i = 0; i < json_array_size(keeps); i++)
	{
		const json_t *one = json_array_get(keeps, i);

		mb_buf_put_str(out, "<li>");
		report_put_escaped(out, mb_json_str(one, "path", "?"));
		mb_buf_put_str(out, ": ");
		report_put_escaped(out, mb_json_str(one, "method", "?"));
		if (mb_json_str(one, "kept", NULL))
		{
			mb_buf_put_str(out, ", <code>");
			report_put_escaped(out, mb_json_str(one, "kept", ""));
			mb_buf_put_str(out, "</code>");
		}
		mb_buf_put_str(out, "</li>\n");
	}
	for (i = 0; i < json_array_size(cannot); i++)
	{
		mb_buf_put_str(out, "<li class=\"bad\">not kept: ");
		report_put_escaped(out, json_string_value(json_array_get(cannot, i)));
		mb_buf_put_str(out, "</li>\n");
	}
	mb_buf_put_str(out, "</ul>\n");
}

enum mb_code
cli_write_report(const char *path, const json_t *restore, struct mb_error *err)
{
	const json_t *target = json_object_get(restore, "target");
	struct mb_buf out = {0};
	enum mb_code code;

	mb_buf_put_str(&out, head);
	mb_buf_put_str(&out, "<h1>Restore ");
	report_put_escaped(&out, mb_json_str(restore, "id", "?"));
	mb_buf_put_str(&out, "</h1>\n<p>To ");
	report_put_escaped(&out, mb_json_str(target, "kind", "?"));
	mb_buf_put_str(&out, " ");
	report_put_escaped(&out, mb_json_str(target, "value", ""));
	mb_buf_put_str(&out, mb_json_str(restore, "reached", NULL) ? ", that is " : "");
	report_put_escaped(&out, mb_json_str(restore, "reached", ""));
	mb_buf_put_str(&out, mb_json_bool(restore, "dry_run", false) ? " (planned only)" : "");
	mb_buf_put_str(&out, "</p>\n<div class=\"facts\">\n");
	put_fact(&out, "until all was well (RTO)", json_object_get(restore, "rto_seconds"));
	put_fact(&out, "of writes lost (RPO)", json_object_get(restore, "rpo_seconds"));
	put_fact(&out, "of them copying", json_object_get(restore, "copy_seconds"));
	mb_buf_put_str(&out, "</div>\n");
	put_components(&out, restore);
	put_references(&out, json_object_get(restore, "references"));
	put_all_warnings(&out, restore);
	put_way_back(&out, restore);
	put_steps(&out, restore);
	mb_buf_put_str(&out, "</body></html>\n");
	code = mb_file_write_durable(path, out.data, out.len, 0644, err);
	mb_buf_release(&out);
	return code;
}
