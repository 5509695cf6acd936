/*
 * wal_get_main.c - mbackup-wal-get: the restore_command that a restore writes.
 *
 *     mbackup-wal-get [--config FILE] --restore=ID [--repository=NAME] %f %p
 *
 * Postgres starts it once for each segment, and starting mbackup costs more than handing over a
 * segment that the helper has fetched already: it is linked with 40 libraries.  This one needs
 * few of them.  It only ever delivers; whatever else there is to do or to say, and whatever it
 * does not understand, is left to "mbackup wal-get" with the same arguments, in its place.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "walstreamer/wal_get.h"

#define OUR_SUFFIX "-wal-get"
/* As cli/main.c has it: above 125 recovery stops. */
#define FAILURE 200

/* Options with a value that we may leave to mbackup; any other one is a reason to ask it. */
static bool
is_harmless(const char *word, bool *value_follows)
{
	*value_follows = strcmp(word, "--config") == 0;
	return *value_follows || mb_starts_with(word, "--config=") ||
		   mb_starts_with(word, "--repository=");
}

/* False when this is not the plain call of a restore_command. */
static bool
read_arguments(int argc, char **argv, struct mb_wal_request *request)
{
	const char *words[2];
	int count = 0, i;

	for (i = 1; i < argc; i++)
	{
		bool value_follows;

		if (mb_starts_with(argv[i], "--restore="))
			request->restore_id = argv[i] + strlen("--restore=");
		else if (argv[i][0] != '-' && count < 2)
			words[count++] = argv[i];
		else if (argv[i][0] != '-' || !is_harmless(argv[i], &value_follows))
			return false;
		else if (value_follows && ++i == argc)
			return false;
	}
	if (count < 2 || !request->restore_id)
		return false;
	request->file_name = words[0];
	request->target_path = words[1];
	return true;
}

/* It stands beside us: our own name without the end. */
static bool
find_mbackup(char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *end = NULL, *at;

	if (len <= 0)
		return false;
	path[len] = '\0';
	for (at = path; (at = strstr(at, OUR_SUFFIX)) != NULL; at++)
		end = at;
	if (end)
		*end = '\0';
	return end != NULL;
}

static int
become_mbackup(int argc, char **argv)
{
	char **arguments = mb_calloc((size_t) argc + 2, sizeof(*arguments));
	char path[PATH_MAX];
	struct mb_error err;
	enum mb_code code;

	if (find_mbackup(path))
	{
		arguments[0] = path;
		arguments[1] = (char[]){"wal-get"};
		memcpy(arguments + 2, argv + 1, (size_t) argc * sizeof(*arguments));
		execv(path, arguments);
		code = mb_fail_errno(&err, errno, "could not run \"%s\"", path);
	}
	else
		code = mb_fail(&err, MB_CONFIG, "this program must be called ...%s, beside mbackup itself",
					   OUR_SUFFIX);
	fprintf(stderr, "mbackup: error: %s\n", err.message);
	free(arguments);
	return FAILURE + mb_code_exit_status(code, 0);
}

int
main(int argc, char **argv)
{
	struct mb_wal_request request = {0};
	struct mb_error err;

	if (read_arguments(argc, argv, &request) && mb_wal_get_quickly(&request, &err) == MB_OK)
		return 0;
	return become_mbackup(argc, argv);
}
