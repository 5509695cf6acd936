/*
 * report.h - mbackup report: how the stack stands, as one object, as text and as a page.
 *
 *     cmd_report.c      asks list, check, verify, expire and schedule, and makes the object of it
 *     report_page.c     the page: cli/status.html with the object in it, and without what asks a daemon
 *     render_report.c   the text
 *
 * The object (docs/configuration.md) is the status document of the daemon (docs/daemon.md) without
 * what only a daemon knows (daemon, database, streams, jobs) and with "drills", "verified" and
 * "retention"; so one page shows both.
 */
#ifndef MB_CLI_REPORT_H
#define MB_CLI_REPORT_H

#include "cli/cli.h"

/* report_html.c: text in HTML, between tags or in a quoted attribute. */
void report_put_escaped(struct mb_buf *out, const char *text);
/* The page, with nothing from outside; text is what stands there for who has no JavaScript. */
void report_page(struct mb_buf *out, const json_t *report, const char *text);

#endif
