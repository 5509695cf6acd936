/* init_secrets.c - the secrets that "mbackup init" makes: written, taken back, forgotten; see init.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/init.h"
#include "core/base/fs.h"

#define PASSPHRASE_BYTES 32

static enum mb_code
write_secret(const char *path, const void *data, size_t len, struct mb_error *err)
{
	char *parent = mb_strdup(path), *slash = strrchr(parent, '/');
	enum mb_code code = MB_OK;

	if (slash && slash != parent)
	{
		*slash = '\0';
		code = mb_mkdirs(parent, 0755, err);
	}
	/* It did not exist when it was asked for: what came since is somebody else's. */
	if (!code && access(path, F_OK) == 0)
		code = mb_fail(err, MB_CONFLICT, "\"%s\" has come to exist in the meantime", path);
	if (!code)
		code = mb_file_write_durable(path, data, len, 0600, err);
	free(parent);
	return code ? mb_error_context(err, "could not write a secret") : MB_OK;
}

enum mb_code
init_write_secrets(struct init_answers *answers, struct mb_error *err)
{
	unsigned char random[PASSPHRASE_BYTES];
	struct mb_buf text = {0};
	enum mb_code code = MB_OK;

	if (answers->passphrase_path)
	{
		mb_random(random, sizeof(random));
		mb_base64(&text, random, sizeof(random));
		mb_buf_put_str(&text, "\n");
		mb_wipe(random, sizeof(random));
		code = write_secret(answers->passphrase_path, text.data, text.len, err);
		answers->wrote_passphrase = !code;
		mb_buf_wipe(&text);
	}
	if (!code && answers->secret_path)
	{
		code = write_secret(answers->secret_path, answers->server.secret_key.data,
							answers->server.secret_key.len, err);
		answers->wrote_secret = !code;
	}
	return code;
}

void
init_take_back(struct init_answers *answers)
{
	if (answers->wrote_passphrase)
		unlink(answers->passphrase_path);
	if (answers->wrote_secret)
		unlink(answers->secret_path);
	answers->wrote_passphrase = answers->wrote_secret = false;
}

void
init_answers_release(struct init_answers *answers)
{
	free(answers->passphrase_path);
	free(answers->secret_path);
	free(answers->bucket_keys);
	init_server_release(&answers->server);
	memset(answers, 0, sizeof(*answers));
}
