/* disk.c - see mutants.h: mutants of the files of a repository in a directory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "tests/mutants/mutants.h"

static bool
write_file(const char *path, const void *data, size_t len)
{
	struct mb_error err;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	bool good = fd >= 0 && mb_write_full(fd, data, len, path, &err) == MB_OK;

	if (fd >= 0)
		close(fd);
	return good;
}

/* A directory of the path becomes a link to itself under another name. */
static bool
link_parent(const char *path, const char *name, const char *outside)
{
	char *dir = mb_strndup(path, strlen(path) - strlen(strrchr(path, '/')));
	bool good = strchr(name, '/') && rename(dir, outside) == 0 && symlink(outside, dir) == 0;

	free(dir);
	return good;
}

static bool
make_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = strlen(path) < sizeof(address.sun_path);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	good = good && fd >= 0 && unlink(path) == 0 &&
		   bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0;
	if (fd >= 0)
		close(fd);
	return good;
}

static bool
add_stranger(struct mutant *mutant, const char *path)
{
	static const char *const tails[] = {".bak", "~", "\n", " ", ".tmp-1", "\xFF\xFE", "/"};
	unsigned i = (unsigned) mutant_random(mutant, 7);
	char *name = mb_asprintf("%s%s", path, tails[i]);
	bool good = i == 6 ? unlink(path) == 0 && mkdir(path, 0700) == 0 : write_file(name, "x", 1);

	free(name);
	return good;
}

bool
mutate_disk(struct mutant *mutant, const char *directory, const char *outside)
{
	static const char *const ways[] = {"is a link to a copy outside",
									   "is a link to another blob",
									   "is a dangling link",
									   "is a link to a file of the system",
									   "is a hard link to another blob",
									   "is a hard link from outside",
									   "is a directory",
									   "is a FIFO",
									   "is a socket",
									   "cannot be read",
									   "lies behind a linked directory",
									   "has a stranger beside it"};
	const struct mutant_blob *blob = mutant_victim(mutant), *other = mutant_victim(mutant);
	char *path = mb_path_join(directory, blob->name);
	char *other_path = mb_path_join(directory, other->name);
	unsigned way = (unsigned) mutant_random(mutant, 12);
	bool done = false;

	snprintf(mutant->what, sizeof(mutant->what), "%s %s", blob->name, ways[way]);
	switch (way)
	{
		case 0:
			done = write_file(outside, blob->data, blob->len) && unlink(path) == 0 &&
				   symlink(outside, path) == 0;
			break;
		case 1:
			done = other != blob && unlink(path) == 0 && symlink(other_path, path) == 0;
			break;
		case 2:
			done = unlink(path) == 0 && symlink("nowhere", path) == 0;
			break;
		case 3:
			done = unlink(path) == 0 &&
				   symlink(mutant_random(mutant, 2) ? "/dev/zero" : "/etc/passwd", path) == 0;
			break;
		case 4:
			done = other != blob && unlink(path) == 0 && link(other_path, path) == 0;
			break;
		case 5:
			done = link(path, outside) == 0;
			break;
		case 6:
			done = unlink(path) == 0 && mkdir(path, 0700) == 0;
			break;
		case 7:
			done = unlink(path) == 0 && mkfifo(path, 0600) == 0;
			break;
		case 8:
			done = make_socket(path);
			break;
		case 9:
			done = geteuid() != 0 && chmod(path, 0) == 0;
			break;
		case 10:
			done = link_parent(path, blob->name, outside);
			break;
		default:
			done = add_stranger(mutant, path);
	}
	free(path);
	free(other_path);
	return done;
}
