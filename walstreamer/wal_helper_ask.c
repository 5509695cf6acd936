/* wal_helper_ask.c - wal-get's end of the helper's socket; see wal_helper.h. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/fs.h"
#include "walstreamer/wal_helper_private.h"

/* A segment of 1 GiB from a slow repository may take this long; then wal-get goes by itself. */
#define ANSWER_MS 120000

bool
mb_helper_address(const struct mb_wal_request *request, struct sockaddr_un *address, socklen_t *len)
{
	struct mb_buf identity = {0};
	struct stat st;
	int written;

	if (stat(".", &st) != 0)
		return false;
	mb_buf_printf(&identity, "%" PRIu64 " %" PRIu64 " %u %s %s ", (uint64_t) st.st_dev,
				  (uint64_t) st.st_ino, (unsigned) geteuid(),
				  request->restore_id ? request->restore_id : "-",
				  request->component ? request->component : "-");
	if (request->restore_id)
	{
		struct mb_error ignored;

		/* The plan itself: a helper must not serve one that has been replaced. */
		if (mb_file_read(&identity, MB_WAL_PLAN_FILE, 64u << 20, &ignored))
		{
			mb_buf_release(&identity);
			return false;
		}
	}
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	/* Abstract (a leading NUL): no path that is too long, nothing to remove after a kill. */
	written =
		snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
				 "mbackup-wal-get-%016" PRIx64, mb_xxh64_seed(identity.data, identity.len, 0));
	*len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + (size_t) written);
	mb_buf_release(&identity);
	return true;
}

bool
mb_helper_is_friend(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
		   (peer.uid == geteuid() || peer.uid == 0);
}

/* Connect and send; -1 when there is no helper. */
static int
put_question(const struct mb_wal_request *request, enum mb_helper_kind kind)
{
	struct mb_helper_question question = {.magic = MB_HELPER_MAGIC, .kind = kind};
	struct sockaddr_un address;
	socklen_t len;
	int fd;

	if (!mb_helper_address(request, &address, &len))
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	snprintf(question.file_name, sizeof(question.file_name), "%s", request->file_name);
	if (connect(fd, (struct sockaddr *) &address, len) != 0 || !mb_helper_is_friend(fd) ||
		send(fd, &question, sizeof(question), MSG_NOSIGNAL) != (ssize_t) sizeof(question))
	{
		close(fd);
		return -1;
	}
	return fd;
}

static bool
get_answer(int fd, struct mb_helper_answer *answer)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	if (poll(&poll_fd, 1, ANSWER_MS) != 1 ||
		recv(fd, answer, sizeof(*answer), 0) != (ssize_t) sizeof(*answer) ||
		answer->magic != MB_HELPER_MAGIC)
		return false;
	answer->path[sizeof(answer->path) - 1] = '\0';
	answer->message[sizeof(answer->message) - 1] = '\0';
	return mb_starts_with(answer->path, MB_WAL_PREFETCH_DIR "/") || answer->code != MB_OK;
}

enum mb_code
mb_wal_helper_ask(const struct mb_wal_request *request, const char *path, struct mb_error *err)
{
	struct mb_helper_answer answer;
	/* It is there, as a rule; then the helper is only told to go on. */
	bool delivered = path && rename(path, request->target_path) == 0;
	int fd = put_question(request, delivered ? MB_HELPER_TAKEN : MB_HELPER_WANTED);
	enum mb_code code = MB_OK;

	if (!delivered && fd >= 0 && get_answer(fd, &answer))
	{
		if (answer.code == MB_OK)
			delivered = rename(answer.path, request->target_path) == 0;
		else if (answer.code == MB_NEGATIVE && !request->restore_id)
			code = mb_fail(err, MB_NEGATIVE, "%s", answer.message);
	}
	if (fd >= 0)
		close(fd);
	if (!delivered && !code)
		code = mb_fail(err, MB_NOT_FOUND, "\"%s\" has not been fetched yet", request->file_name);
	return code;
}

void
mb_wal_helper_end(const struct mb_wal_request *request)
{
	struct mb_helper_answer answer;
	int fd = put_question(request, MB_HELPER_END);

	if (fd < 0)
		return;
	/* It answers when its threads have ended: nothing is written behind our back. */
	if (!get_answer(fd, &answer))
	{
		/* A helper that hangs ends by itself. */
	}
	close(fd);
}
