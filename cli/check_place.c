/* check_place.c - mbackup.conf, secrets, the spool and the repository's directory: see check.h. */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/check.h"
#include "core/base/process.h"
#include "core/base/time.h"

#define TMPFS 0x01021994
#define RAMFS 0x858458f6
/* What a spool needs at least: a restore's journal, some WAL, the sorting of a manifest. */
#define SPOOL_BYTES (256ull << 20)
#define REPOSITORY_BYTES (64ull << 20)
#define INODES 10000

const char *
check_user(char out[64])
{
	const struct passwd *who = getpwuid(geteuid());

	if (who)
		snprintf(out, 64, "%s", who->pw_name);
	else
		snprintf(out, 64, "%u", (unsigned) geteuid());
	return out;
}

/* "VERB PATH" with the path as a shell takes it. */
static char *
command(const char *verb, const char *path)
{
	char *word = mb_shell_word(path), *made = mb_asprintf("%s %s", verb, word);

	free(word);
	return made;
}

/* Root gives nothing away: it should be the owner who runs mbackup. */
static char *
chown_to_us(const char *options, const char *path, uid_t owner)
{
	char user[64], *verb, *made;
	const struct passwd *who;

	if (geteuid() == 0 && (who = getpwuid(owner)) != NULL)
		return mb_asprintf("sudo -u %s mbackup check", who->pw_name);
	verb = mb_asprintf("sudo chown %s%s", options, check_user(user));
	made = command(verb, path);
	free(verb);
	return made;
}

/* -- the configuration ------------------------------------------------------------------------- */

static void
check_file(const char *path, struct mb_checks *checks)
{
	struct stat st;

	if (!path || stat(path, &st) != 0)
		return;
	if (st.st_mode & 0022)
		mb_check_add_fix(checks, MB_CHECK_WARNING, "config", "mode", command("chmod 0600", path),
						 "\"%s\" can be changed by others: they can have mbackup run what they "
						 "like",
						 path);
	else
		mb_check_add(checks, MB_CHECK_OK, "config", "mode", "", "only its owner can change \"%s\"",
					 path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		mb_check_add_fix(checks, MB_CHECK_WARNING, "config", "owner",
						 chown_to_us("", path, st.st_uid), "\"%s\" belongs to another user", path);
	else
		mb_check_add(checks, MB_CHECK_OK, "config", "owner", "", "it belongs to us or to root");
}

struct secret_files
{
	const char *directory; /* of the repository, or NULL */
	struct mb_checks *checks;
	size_t count;
	size_t wrong;
};

static void
check_secret_file(struct secret_files *files, const char *path)
{
	char inside[PATH_MAX], outside[PATH_MAX];
	struct stat st;

	/* One that is not there is told by who needs it; a pipe has no mode that would matter. */
	if (!path || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	files->count++;
	if (st.st_mode & 0027)
	{
		files->wrong++;
		mb_check_add_fix(files->checks, MB_CHECK_FAILED, "config", "secret-mode",
						 command("chmod 0600", path), "\"%s\" holds a secret, and %s", path,
						 st.st_mode & 0007 ? "everybody may read it" : "its group may change it");
	}
	if (!files->directory || !realpath(path, inside) || !realpath(files->directory, outside))
		return;
	if (mb_starts_with(inside, outside) && inside[strlen(outside)] == '/')
	{
		char *word = mb_shell_word(path);

		mb_check_add_fix(files->checks, MB_CHECK_FAILED, "config", "secret-place",
						 mb_asprintf("mv %s /etc/mbackup/, and the same path in mbackup.conf",
									 word),
						 "\"%s\" lies in the repository that it opens", path);
		free(word);
	}
}

/* "-file:PATH", as the parser keeps secrets. */
static void
check_stored(struct secret_files *files, const struct mb_values *values)
{
	size_t i;

	for (i = 0; i < values->count; i++)
		if (values->items[i].option->type == OPT_SECRET &&
			mb_starts_with(values->items[i].text, "-file:"))
			check_secret_file(files, values->items[i].text + strlen("-file:"));
}

static void
check_settings(struct secret_files *files, const struct mb_settings *settings)
{
	size_t i;

	for (i = 0; i < mb_option_count; i++)
	{
		char *key = mb_asprintf("%s-file", mb_options[i].name);

		/* Names repeat from section to section: once is enough. */
		if (mb_options[i].type == OPT_SECRET &&
			mb_option_find(mb_options[i].scope, mb_options[i].name) == &mb_options[i] &&
			strcmp(mb_options[i].scope == SCOPE_POSTGRES  ? "postgres"
				   : mb_options[i].scope == SCOPE_REDIS   ? "redis"
				   : mb_options[i].scope == SCOPE_OBJECTS ? "objects"
														  : "",
				   settings->kind) == 0)
			check_secret_file(files, mb_settings_get(settings, key));
		free(key);
	}
}

static const char *
repository_directory(const struct mb_cli *cli)
{
	const char *url = mb_config_get(&cli->config, SCOPE_REPOSITORY, "url");

	if (url && mb_starts_with(url, "file://"))
		url += strlen("file://");
	return url && url[0] == '/' ? url : NULL;
}

void
check_configuration(const struct mb_cli *cli, struct mb_checks *checks)
{
	struct secret_files files = {repository_directory(cli), checks, 0, 0};
	size_t i;

	check_file(cli->config.path, checks);
	check_secret_file(&files, mb_config_get(&cli->config, SCOPE_REPOSITORY, "key-file"));
	check_stored(&files, &cli->config.command_line);
	check_stored(&files, &cli->config.file);
	for (i = 0; i < cli->config.component_count; i++)
		check_settings(&files, &cli->config.components[i]);
	if (files.count > 0 && files.wrong == 0)
		mb_check_add(checks, MB_CHECK_OK, "config", "secret-mode", "",
					 "the files of secrets are closed to others");
}

/* -- the spool ----------------------------------------------------------------------------------- */

static uint64_t
spool_needs(const struct mb_cli *cli)
{
	uint64_t need = SPOOL_BYTES, limit;
	struct mb_error ignored;
	size_t i;

	mb_error_clear(&ignored);
	for (i = 0; i < cli->config.component_count; i++)
	{
		const struct mb_settings *settings = &cli->config.components[i];
		const char *ack = mb_settings_get(settings, "ack");
		const char *text = mb_settings_get(settings, "spool-limit");

		if (ack && strcmp(ack, "spool") == 0 && text &&
			mb_size_parse(&limit, text, &ignored) == MB_OK && limit > need)
			need = limit;
	}
	return need;
}

static void
check_spool_room(const struct mb_cli *cli, struct mb_checks *checks)
{
	char have[MB_SIZE_TEXT], want[MB_SIZE_TEXT];
	uint64_t need = spool_needs(cli), room;
	struct statvfs fs;

	if (statvfs(cli->env.spool, &fs) != 0)
		return;
	room = (uint64_t) fs.f_bavail * fs.f_frsize;
	mb_size_format(have, room);
	mb_size_format(want, need);
	if (room < need)
		mb_check_add(checks, MB_CHECK_WARNING, "spool", "space",
					 "spool = /a/larger/directory in [global]; or free room in its filesystem",
					 "%s are free in \"%s\", which may need %s", have, cli->env.spool, want);
	else
		mb_check_add(checks, MB_CHECK_OK, "spool", "space", "", "%s are free", have);
}

void
check_spool(const struct mb_cli *cli, struct mb_checks *checks)
{
	const char *spool = cli->env.spool;
	struct statfs fs;
	struct stat st;

	if (stat(spool, &st) != 0)
		return;
	if (st.st_mode & 0077)
		mb_check_add_fix(checks, MB_CHECK_WARNING, "spool", "mode", command("chmod 0700", spool),
						 "others may look into \"%s\"", spool);
	else
		mb_check_add(checks, MB_CHECK_OK, "spool", "mode", "", "\"%s\" is closed to others", spool);
	if (st.st_uid != geteuid())
		mb_check_add_fix(checks, MB_CHECK_WARNING, "spool", "owner",
						 chown_to_us("-R ", spool, st.st_uid),
						 "\"%s\" belongs to another user, whose locks stand in our way", spool);
	else
		mb_check_add(checks, MB_CHECK_OK, "spool", "owner", "", "it is ours");
	check_spool_room(cli, checks);
	if (statfs(spool, &fs) == 0 && (fs.f_type == TMPFS || fs.f_type == RAMFS))
		mb_check_add(checks, MB_CHECK_WARNING, "spool", "tmpfs",
					 "spool = /var/lib/mbackup/spool in [global]",
					 "\"%s\" is in memory: what a rollback needs is gone after a reboot", spool);
	else
		mb_check_add(checks, MB_CHECK_OK, "spool", "tmpfs", "", "it is on a disk");
}

/* -- the repository's directory --------------------------------------------------------------- */

static void
check_room(const char *directory, uint64_t full_bytes, struct mb_checks *checks)
{
	char have[MB_SIZE_TEXT], want[MB_SIZE_TEXT];
	uint64_t need = full_bytes > REPOSITORY_BYTES ? full_bytes : REPOSITORY_BYTES, room;
	struct statvfs fs;

	if (statvfs(directory, &fs) != 0)
		return;
	room = (uint64_t) fs.f_bavail * fs.f_frsize;
	mb_size_format(have, room);
	mb_size_format(want, need);
	if (room < need)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "space",
					 "days = 14 in [retention], then mbackup expire; or a larger disk",
					 "%s are free in \"%s\", and another full backup needs about %s", have,
					 directory, want);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "space", "",
					 "%s are free, another full backup needs about %s", have, want);
	/* Filesystems without a table of inodes say 0. */
	if (fs.f_files > 0 && fs.f_favail < INODES)
		mb_check_add(checks, MB_CHECK_WARNING, "repository", "inodes",
					 "days = 14 in [retention], then mbackup expire; or a filesystem with more "
					 "inodes",
					 "%llu inodes are free in \"%s\"", (unsigned long long) fs.f_favail, directory);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "inodes", "", "there are inodes enough");
}

void
check_directory(const struct mb_cli *cli, uint64_t full_bytes, struct mb_checks *checks)
{
	const char *directory = repository_directory(cli);
	struct stat st;

	if (!directory || stat(directory, &st) != 0)
		return;
	if (st.st_mode & 0007)
		mb_check_add_fix(checks, MB_CHECK_WARNING, "repository", "mode",
						 command("chmod 0700", directory), "everybody may look into \"%s\"",
						 directory);
	else
		mb_check_add(checks, MB_CHECK_OK, "repository", "mode", "",
					 "the directory is closed to others");
	check_room(directory, full_bytes, checks);
}
