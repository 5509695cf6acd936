/*
 * schedule_units.c - timers and services of systemd for [schedule].
 *
 * What a service may see and do is deploy/systemd/common.conf, which the assembler takes in as it is; a few lines of
 * it depend on the stack and on the user.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/schedule_private.h"

__asm__(".section .rodata\n"
		".global mb_common_conf\n"
		".global mb_common_conf_end\n"
		"mb_common_conf:\n"
		".incbin \"deploy/systemd/common.conf\"\n"
		"mb_common_conf_end:\n"
		".byte 0\n"
		".text\n");

extern const char mb_common_conf[], mb_common_conf_end[];

/* "%" and "\" mean something in a unit, and so do quotes in a command line. */
static void
put_escaped(struct mb_buf *out, const char *text)
{
	for (; *text; text++)
	{
		if (*text == '%')
			mb_buf_put_u8(out, '%');
		else if (*text == '\\' || *text == '"')
			mb_buf_put_u8(out, '\\');
		mb_buf_put_u8(out, (uint8_t) *text);
	}
}

static void
put_quoted(struct mb_buf *out, const char *before, const char *text, const char *after)
{
	mb_buf_printf(out, "%s\"", before);
	put_escaped(out, text);
	mb_buf_printf(out, "\"%s", after);
}

static void
put_user(const struct schedule_unit *unit, struct mb_buf *out)
{
	const struct passwd *user = getpwnam(unit->user);
	const struct group *group = user ? getgrgid(user->pw_gid) : NULL;

	mb_buf_printf(out, "User=%s\n", unit->user);
	if (group)
		mb_buf_printf(out, "Group=%s\n", group->gr_name);
}

/* The places that it writes to. */
static void
put_places(const struct schedule_unit *unit, struct mb_buf *out)
{
	const struct mb_config *config = &unit->cli->config;
	const char *url = mb_config_get(config, SCOPE_REPOSITORY, "url");
	size_t i;

	put_quoted(out, "ReadWritePaths=-", mb_config_get(config, SCOPE_GLOBAL, "spool"), "\n");
	for (i = 0; url; url = i < config->copy_count ? config->copies[i].url : NULL, i++)
	{
		if (strncmp(url, "file://", 7) == 0)
			url += 7;
		if (url[0] == '/')
			put_quoted(out, "ReadWritePaths=-", url, "\n");
	}
}

static bool
begins(const char *line, const char *with)
{
	return strncmp(line, with, strlen(with)) == 0;
}

/* One line of common.conf as it is for this user and this stack. */
static void
put_common_line(const struct schedule_unit *unit, const char *line, size_t len, struct mb_buf *out)
{
	bool is_root = strcmp(unit->user, "root") == 0;
	char *credentials = mb_asprintf("%s/etc/mbackup/credentials", unit->root);

	if (begins(line, "User="))
		put_user(unit, out);
	else if (begins(line, "Environment=MBACKUP_CONFIG="))
		;
	else if (begins(line, "Group="))
		;
	else if (begins(line, "LoadCredential=") && access(credentials, F_OK) != 0)
		;
	else if (begins(line, "StateDirectory") &&
			 !begins(mb_config_get(&unit->cli->config, SCOPE_GLOBAL, "spool"), "/var/lib/mbackup/"))
		;
	else if (begins(line, "ReadWritePaths="))
		put_places(unit, out);
	else if (begins(line, "CapabilityBoundingSet=") && is_root)
		/* Root without it reads its own files only. */
		mb_buf_put_str(out, "CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n");
	else
	{
		mb_buf_put(out, line, len);
		mb_buf_put_str(out, "\n");
	}
	free(credentials);
}

/* Without its comments: they are said once, in the package. */
static void
put_common(const struct schedule_unit *unit, struct mb_buf *out)
{
	const char *line = mb_common_conf;

	while (line < mb_common_conf_end)
	{
		const char *end = memchr(line, '\n', (size_t) (mb_common_conf_end - line));
		size_t len = end ? (size_t) (end - line) : (size_t) (mb_common_conf_end - line);

		if (len > 0 && line[0] != '#' && line[0] != '[')
			put_common_line(unit, line, len, out);
		line += len + 1;
	}
}

void
schedule_put_service(const struct schedule_unit *unit, struct mb_buf *out)
{
	mb_buf_printf(out,
				  "[Unit]\nDescription=mbackup schedule: %s\n"
				  "Wants=network-online.target\n"
				  "After=network-online.target postgresql.service redis-server.service\n\n"
				  "[Service]\nType=oneshot\n",
				  unit->schedule->kind->what);
	put_quoted(out, "ExecStart=", unit->cli->env.program, " --config ");
	put_quoted(out, "", unit->cli->config.path, "");
	mb_buf_printf(out, " schedule run %s\n", unit->schedule->kind->name);
	mb_buf_put_str(out, "TimeoutStartSec=infinity\nTimeoutStopSec=100s\nNice=10\n"
						"IOSchedulingClass=best-effort\nIOSchedulingPriority=7\n"
						/* In part, and what a check or a verification found, are answers. */
						"SuccessExitStatus=3\n\n");
	put_common(unit, out);
}

void
schedule_put_timer(const struct schedule_unit *unit, struct mb_buf *out)
{
	mb_buf_printf(out, "[Unit]\nDescription=mbackup schedule: %s (%s)\n\n[Timer]\n",
				  unit->schedule->kind->what, unit->schedule->kind->name);
	mb_cron_on_calendar(&unit->schedule->cron, out);
	mb_buf_put_str(out, "AccuracySec=1s\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n");
}
