/*
 * report_page.c - the status page with a document in it.
 *
 * cli/status.html has marks for that, which are comments to a browser: what stands between
 * <!--live--> and <!--/live--> asks a daemon and goes, and the other marks are where something comes.
 * The document is data in a <script> that nothing runs: its only danger is a "<" that would end it.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"
#include "cli/report.h"

/* JSON in which no "<" stands: inside of strings only can there be one. */
static void
put_document(struct mb_buf *out, const json_t *report)
{
	char *json = mb_json_text(report), *p;

	mb_buf_put_str(out, "<script type=\"application/json\" id=\"document\">");
	for (p = json; *p; p++)
		if (*p == '<')
			mb_buf_put_str(out, "\\u003c");
		else
			mb_buf_put_u8(out, (uint8_t) *p);
	mb_buf_put_str(out, "</script>\n");
	free(json);
}

static void
put_policy(struct mb_buf *out)
{
	char *policy = http_page_policy();
	char *frames = strstr(policy, "; frame-ancestors"),
		 *connect = strstr(policy, "connect-src 'self'");

	/* A page that is a file cannot say the one, and asks nobody. */
	MB_ASSERT(frames && connect);
	*frames = '\0';
	memcpy(connect, "connect-src 'none'", strlen("connect-src 'none'"));
	mb_buf_put_str(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"");
	report_put_escaped(out, policy);
	mb_buf_put_str(out, "\">\n");
	free(policy);
}

void
report_page(struct mb_buf *out, const json_t *report, const char *text)
{
	static const char live[] = "<!--live-->", live_end[] = "<!--/live-->",
					  policy[] = "<!--policy-->", document[] = "<!--document-->";
	size_t len;
	const char *page = http_page(&len), *mark;

	while ((mark = strstr(page, "<!--")) != NULL)
	{
		mb_buf_put(out, page, (size_t) (mark - page));
		page = strstr(mark, "-->");
		MB_ASSERT(page);
		page += strlen("-->");
		if (mb_starts_with(mark, live))
		{
			page = strstr(mark, live_end);
			MB_ASSERT(page);
			page += strlen(live_end);
		}
		else if (mb_starts_with(mark, policy))
			put_policy(out);
		else if (mb_starts_with(mark, document))
		{
			put_document(out, report);
			mb_buf_put_str(out, "<noscript><pre class=\"plain\">");
			report_put_escaped(out, text);
			mb_buf_put_str(out, "</pre></noscript>\n");
		}
	}
	mb_buf_put_str(out, page);
}
