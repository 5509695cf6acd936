/* chain_check.c - see chain_check.h. */
#include "core/engine/chain_check.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/repo/crypto.h"

#define WITNESS_MAX 4096

static char *
witness_path(const struct mb_env *env, const char *component)
{
	return mb_asprintf("%s/newest-%s-%s", env->spool, env->repo->id_text, component);
}

void
mb_chain_remember(const struct mb_env *env, const struct mb_commit *commit)
{
	char *path = witness_path(env, commit->component);
	json_t *json = json_object();
	struct mb_error ignored;
	char *text;

	mb_json_set_str(json, "id", commit->id);
	mb_json_set_int(json, "sequence", (int64_t) commit->sequence);
	text = mb_json_text(json);
	if (mb_file_write_durable(path, text, strlen(text), 0600, &ignored))
		mb_log_warning(env->log, "%s: could not note the backup in the spool: %s",
					   commit->component, ignored.message);
	free(text);
	json_decref(json);
	free(path);
}

enum mb_code
mb_chain_check(const struct mb_repo *repo, const struct mb_commit *commit, struct mb_error *err)
{
	static const unsigned char unknown[MB_SHA256_BYTES];
	unsigned char hash[MB_SHA256_BYTES];
	struct mb_buf bytes = {0};
	char name[MB_NAME_MAX];
	enum mb_code code;

	/* Of one that was damaged when this one was made nothing is known. */
	if (!commit->previous[0] || memcmp(commit->previous_hash, unknown, sizeof(unknown)) == 0)
		return MB_OK;
	mb_commit_blob_name(name, commit->component, commit->previous);
	code = mb_store_get(repo->store, name, 0, SIZE_MAX, &bytes, err);
	if (!code)
	{
		mb_sha256(hash, bytes.data, bytes.len);
		if (memcmp(hash, commit->previous_hash, sizeof(hash)) != 0)
			code = mb_fail(err, MB_CORRUPT,
						   "the backup before it, %s, is not the one that it was made after",
						   commit->previous);
	}
	mb_buf_release(&bytes);
	return code == MB_NOT_FOUND ? MB_OK : code; /* it has expired */
}

enum mb_code
mb_chain_check_newest(const struct mb_env *env, const char *component, uint64_t sequence,
					  struct mb_error *err)
{
	struct mb_buf text = {0};
	json_t *json = NULL;
	struct mb_error ignored;
	char newest[MB_ID_TEXT];
	enum mb_code code = MB_OK;
	char *path;

	if (!env->spool)
		return MB_OK;
	path = witness_path(env, component);
	if (mb_file_read(&text, path, WITNESS_MAX, &ignored) == MB_OK &&
		mb_json_parse(&json, (const char *) text.data, text.len, path, &ignored) == MB_OK &&
		mb_json_int(json, "sequence", 0) > (int64_t) sequence &&
		/* A stream may have committed since somebody looked. */
		mb_commit_newest(env->repo, component, newest, &sequence, &ignored) == MB_OK &&
		mb_json_int(json, "sequence", 0) > (int64_t) sequence)
		code = mb_fail(err, MB_CORRUPT,
					   "this machine has written backup %s of \"%s\", and the repository knows "
					   "none so new: it was set back",
					   mb_json_str(json, "id", "?"), component);
	json_decref(json);
	mb_buf_release(&text);
	free(path);
	return code;
}
