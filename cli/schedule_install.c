/*
 * schedule_install.c - write what calls mbackup at its times: timers of systemd, or one line of cron.
 *
 * All files begin with a line that says so, and for which configuration they are. Whatever else has such names is not
 * touched. What an earlier call wrote and this one would not is removed; the same call again changes nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/schedule_private.h"
#include "core/base/fs.h"

#define MARK "# Written by \"mbackup schedule install\" for "
#define UNITS "/etc/systemd/system"
#define WANTS UNITS "/timers.target.wants"
#define CRON "/etc/cron.d"
#define PREFIX "mbackup-schedule"
#define FILE_MAX_BYTES (1u << 20)
#define MAX_FILES 64

enum action
{
	WRITE,
	UNCHANGED,
	REMOVE
};

struct planned
{
	char *path; /* below root */
	char *text; /* NULL: a link */
	char *link; /* where it leads */
	enum action action;
};

struct plan
{
	struct mb_cli *cli;
	const char *root;
	struct planned files[MAX_FILES];
	size_t count;
	json_t *next; /* commands, array */
};

static void
add(struct plan *plan, enum action action, char *path, char *text, char *link)
{
	MB_ASSERT(plan->count < MAX_FILES);
	plan->files[plan->count++] = (struct planned){path, text, link, action};
}

static bool
has_path(const struct plan *plan, const char *path)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
		if (strcmp(plan->files[i].path, path) == 0)
			return true;
	return false;
}

static void
release(struct plan *plan)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
	{
		free(plan->files[i].path);
		free(plan->files[i].text);
		free(plan->files[i].link);
	}
	json_decref(plan->next);
}

/* -- what is wanted ------------------------------------------------------------------------------- */

/* Who runs it: --user, else who may read the files of the database, else whose the configuration is. */
static enum mb_code
choose_user(const struct mb_cli *cli, char **user, struct mb_error *err)
{
	const char *given = cli_option(cli, "user");
	const struct passwd *owner = NULL;
	struct stat st;
	size_t i;

	for (i = 0; !given && i < cli->config.component_count; i++)
		if (strcmp(cli->config.components[i].kind, "postgres") == 0 && getpwnam("postgres"))
			given = "postgres";
	if (!given && stat(cli->config.path, &st) == 0)
		owner = getpwuid(st.st_uid);
	if (!given && owner)
		given = owner->pw_name;
	if (!given || strpbrk(given, " \t\n%\"'\\"))
	{
		mb_fail(err, MB_CONFIG, "it is not clear who shall run it");
		return mb_error_hint(err, "Name a user: --user postgres.");
	}
	*user = mb_strdup(given);
	return MB_OK;
}

static char *
marked(const struct mb_cli *cli, const struct mb_buf *text)
{
	return mb_asprintf(MARK "%s\n# Change [schedule] there, and install again.\n%.*s",
					   cli->config.path, (int) text->len, (const char *) text->data);
}

static void
plan_systemd(struct plan *plan, const struct schedule_set *set, const char *user)
{
	struct mb_buf start = {0};
	size_t i;

	for (i = 0; i < set->count; i++)
	{
		const char *name = set->items[i].kind->name;
		struct schedule_unit unit = {plan->cli, &set->items[i], user, plan->root};
		struct mb_buf service = {0}, timer = {0};

		schedule_put_service(&unit, &service);
		schedule_put_timer(&unit, &timer);
		add(plan, WRITE, mb_asprintf("%s" UNITS "/" PREFIX "-%s.service", plan->root, name),
			marked(plan->cli, &service), NULL);
		add(plan, WRITE, mb_asprintf("%s" UNITS "/" PREFIX "-%s.timer", plan->root, name),
			marked(plan->cli, &timer), NULL);
		/* What "systemctl enable" makes. */
		add(plan, WRITE, mb_asprintf("%s" WANTS "/" PREFIX "-%s.timer", plan->root, name), NULL,
			mb_asprintf(UNITS "/" PREFIX "-%s.timer", name));
		mb_buf_printf(&start, " " PREFIX "-%s.timer", name);
		mb_buf_release(&service);
		mb_buf_release(&timer);
	}
	if (!plan->root[0])
	{
		json_array_append_new(plan->next, json_string("systemctl daemon-reload"));
		json_array_append_new(plan->next, json_sprintf("systemctl restart%s", mb_buf_cstr(&start)));
	}
	mb_buf_release(&start);
}

/* In quotes for the shell; "%" is a line's end for cron. */
static void
put_shell(struct mb_buf *out, const char *text)
{
	mb_buf_put_u8(out, '\'');
	for (; *text; text++)
		if (*text == '\'')
			mb_buf_put_str(out, "'\\''");
		else if (*text == '%')
			mb_buf_put_str(out, "'\\%'");
		else
			mb_buf_put_u8(out, (uint8_t) *text);
	mb_buf_put_u8(out, '\'');
}

/* One line: which schedule is due, run-due knows better than cron, also after a pause. */
static void
plan_cron(struct plan *plan, const char *user)
{
	struct mb_buf text = {0};

	mb_buf_printf(&text, "SHELL=/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n* * * * * %s ", user);
	put_shell(&text, plan->cli->env.program);
	mb_buf_put_str(&text, " --config ");
	put_shell(&text, plan->cli->config.path);
	/* What goes wrong is on stderr, and cron sends it. */
	mb_buf_put_str(&text, " schedule run-due --quiet >/dev/null\n");
	add(plan, WRITE, mb_asprintf("%s" CRON "/" PREFIX, plan->root), marked(plan->cli, &text), NULL);
	mb_buf_release(&text);
}

/* -- what is there ---------------------------------------------------------------------------------- */

/* Ours, by its first line; of another configuration it is refused. */
static enum mb_code
look_at_file(const struct plan *plan, const char *path, bool *is_ours, struct mb_buf *text,
			 struct mb_error *err)
{
	size_t mark_len = strlen(MARK), name_len = strlen(plan->cli->config.path);
	enum mb_code code = mb_file_read(text, path, FILE_MAX_BYTES, err);

	*is_ours = false;
	if (code == MB_NOT_FOUND)
		return MB_OK;
	if (code)
		return code;
	if (text->len < mark_len || memcmp(text->data, MARK, mark_len) != 0)
		return MB_OK;
	*is_ours = true;
	if (text->len > mark_len + name_len && text->data[mark_len + name_len] == '\n' &&
		memcmp(text->data + mark_len, plan->cli->config.path, name_len) == 0)
		return MB_OK;
	mb_fail(err, MB_CONFLICT, "\"%s\" was written for another configuration", path);
	return mb_error_hint(err, "Only one stack of a host can be installed so: give the other one a "
							  "timer or a line of cron of its own, or uninstall it first.");
}

/* What is written and is the same needs no writing. */
static enum mb_code
compare_file(const struct plan *plan, struct planned *file, struct mb_error *err)
{
	struct mb_buf text = {0};
	enum mb_code code;
	bool is_ours, is_same;

	if (file->link)
	{
		char target[4096];
		ssize_t len = readlink(file->path, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		if (strcmp(target, file->link) == 0)
			file->action = UNCHANGED;
		return MB_OK;
	}
	code = look_at_file(plan, file->path, &is_ours, &text, err);
	is_same = text.len == strlen(file->text) && memcmp(text.data, file->text, text.len) == 0;
	if (!code && is_same)
		file->action = UNCHANGED;
	else if (!code && !is_ours && access(file->path, F_OK) == 0)
	{
		code = mb_fail(err, MB_CONFLICT, "\"%s\" exists and is not ours", file->path);
		mb_error_hint(err, "Move it away.");
	}
	mb_buf_release(&text);
	return code;
}

/* Files of ours in a directory that are not wanted any more, and links to them. */
static enum mb_code
plan_removals(struct plan *plan, const char *directory, struct mb_error *err)
{
	char *path = mb_asprintf("%s%s", plan->root, directory);
	DIR *dir = mb_opendir(path);
	struct dirent *entry;
	enum mb_code code = MB_OK;

	/* What is overlooked would go on running: a failure to look is none. */
	if (!dir && errno != ENOENT)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	for (errno = 0; !code && dir && plan->count < MAX_FILES && (entry = readdir(dir)) != NULL;
		 errno = 0)
	{
		char *name = mb_path_join(path, entry->d_name);
		struct mb_buf text = {0};
		bool is_ours = false;
		struct stat st;

		if (mb_starts_with(entry->d_name, PREFIX) && !strstr(entry->d_name, ".tmp-") &&
			!has_path(plan, name))
		{
			if (lstat(name, &st) != 0)
				code = mb_fail_errno(err, errno, "could not look at \"%s\"", name);
			else if (S_ISREG(st.st_mode))
				code = look_at_file(plan, name, &is_ours, &text, err);
			else
				is_ours = S_ISLNK(st.st_mode) && strcmp(directory, WANTS) == 0;
		}
		if (!code && is_ours)
			add(plan, REMOVE, mb_strdup(name), NULL, NULL);
		mb_buf_release(&text);
		free(name);
	}
	if (!code && dir && errno)
		code = mb_fail_errno(err, errno, "could not read directory \"%s\"", path);
	if (dir)
		closedir(dir);
	free(path);
	return code;
}

static enum mb_code
look(struct plan *plan, struct mb_error *err)
{
	size_t wanted = plan->count, i;
	enum mb_code code = MB_OK;

	for (i = 0; !code && i < wanted; i++)
		code = compare_file(plan, &plan->files[i], err);
	if (!code)
		code = plan_removals(plan, WANTS, err);
	if (!code)
		code = plan_removals(plan, UNITS, err);
	if (!code)
		code = plan_removals(plan, CRON, err);
	return code;
}

/* -- doing it ------------------------------------------------------------------------------------------- */

static enum mb_code
write_file(const struct planned *file, struct mb_error *err)
{
	char *parent = mb_strndup(file->path, (size_t) (strrchr(file->path, '/') - file->path));
	mode_t mask = umask(022);
	enum mb_code code = mb_mkdirs(parent, 0755, err);

	if (!code && file->link)
	{
		unlink(file->path);
		if (symlink(file->link, file->path) != 0)
			code = mb_fail_errno(err, errno, "could not create link \"%s\"", file->path);
	}
	else if (!code)
		code = mb_file_write_durable(file->path, file->text, strlen(file->text), 0644, err);
	umask(mask);
	free(parent);
	return code;
}

static enum mb_code
carry_out(const struct plan *plan, struct mb_error *err)
{
	enum mb_code code = MB_OK;
	size_t i;

	for (i = 0; !code && i < plan->count; i++)
		if (plan->files[i].action == WRITE)
			code = write_file(&plan->files[i], err);
		else if (plan->files[i].action == REMOVE && unlink(plan->files[i].path) != 0 &&
				 errno != ENOENT)
			code = mb_fail_errno(err, errno, "could not remove \"%s\"", plan->files[i].path);
	if (code == MB_DENIED)
		mb_error_hint(err, "Run it as root, or write below another directory with --root DIR.");
	return code;
}

static json_t *
describe(const struct plan *plan, bool is_dry_run)
{
	static const char *const actions[] = {"write", "unchanged", "remove"};
	json_t *answer = json_object(), *files = json_array();
	size_t i;

	for (i = 0; i < plan->count; i++)
	{
		json_t *file = json_object();

		mb_json_set_str(file, "path", plan->files[i].path);
		mb_json_set_str(file, "action", actions[plan->files[i].action]);
		if (plan->files[i].text)
			mb_json_set_str(file, "text", plan->files[i].text);
		json_array_append_new(files, file);
	}
	json_object_set_new(answer, "files", files);
	json_object_set(answer, "next", plan->next);
	mb_json_set_bool(answer, "dry_run", is_dry_run);
	return answer;
}

static bool
changes_something(const struct plan *plan)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
		if (plan->files[i].action != UNCHANGED)
			return true;
	return false;
}

/* Show, ask, do. */
static enum mb_code
finish(struct plan *plan, struct mb_error *err)
{
	bool is_dry_run = mb_config_flag(&plan->cli->config, "dry-run");
	enum mb_code code = look(plan, err);

	if (!code && !changes_something(plan))
		json_array_clear(plan->next);
	if (!code && !is_dry_run && changes_something(plan))
	{
		if (!mb_config_flag(&plan->cli->config, "yes") && isatty(STDIN_FILENO))
		{
			json_t *shown = json_pack("{s:o}", "installed", describe(plan, true));

			json_array_clear(json_object_get(json_object_get(shown, "installed"), "next"));
			render_schedule(shown, stderr);
			json_decref(shown);
		}
		code = cli_confirm(plan->cli, "These files are written and removed.",
						   "writing to the system's directories",
						   "Look at it with --dry-run, then add --yes.", err);
		if (!code)
			code = carry_out(plan, err);
	}
	if (!code)
		plan->cli->answer = json_pack("{s:o}", "installed", describe(plan, is_dry_run));
	release(plan);
	return code;
}

static const char *
root_of(const struct mb_cli *cli)
{
	const char *root = cli_option(cli, "root");

	return root && strcmp(root, "/") != 0 ? root : "";
}

enum mb_code
schedule_install(struct mb_cli *cli, struct mb_error *err)
{
	struct plan plan = {.cli = cli, .root = root_of(cli), .next = json_array()};
	bool with_systemd = mb_config_flag(&cli->config, "systemd");
	bool with_cron = mb_config_flag(&cli->config, "cron");
	struct schedule_set set;
	char *user = NULL;
	enum mb_code code = schedule_read(cli, &set, err);

	if (!code && with_systemd == with_cron)
	{
		code = mb_fail(err, MB_CONFIG, "say what shall call mbackup");
		mb_error_hint(err, "Write --systemd (a timer for each schedule) or --cron (one line, each "
						   "minute).");
	}
	if (!code)
		code = choose_user(cli, &user, err);
	if (code)
	{
		release(&plan);
		return code;
	}
	if (with_systemd)
		plan_systemd(&plan, &set, user);
	else
		plan_cron(&plan, user);
	free(user);
	return finish(&plan, err);
}

enum mb_code
schedule_uninstall(struct mb_cli *cli, struct mb_error *err)
{
	struct plan plan = {.cli = cli, .root = root_of(cli), .next = json_array()};

	if (!plan.root[0])
		json_array_append_new(plan.next, json_string("systemctl daemon-reload"));
	return finish(&plan, err);
}
