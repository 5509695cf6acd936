/* judge.c - see mutants.h: what mbackup makes of a repository, and whether it is the truth. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/engine/docs.h"
#include "files/component_files.h"
#include "objectstore/component_objects.h"
#include "redis/component_redis.h"
#include "tests/mutants/mutants.h"

/* The components of the fixture; none of their sources is needed, or there. */
#define COMPONENTS 3
static const struct
{
	const char *name;
	const char *kind;
	const char *key;
	const char *value;
} sources[COMPONENTS] = {{"uploads", "objects", "url", "file:///nonexistent/objects"},
						 {"redis", "redis", "url", "redis://127.0.0.1:1"},
						 {"config", "files", "paths", "/nonexistent/etc"}};

static const struct mb_component_ops *
driver_of(const char *kind)
{
	if (strcmp(kind, "files") == 0)
		return &mb_files_component_ops;
	return strcmp(kind, "redis") == 0 ? &mb_redis_component_ops : mb_objects_component_ops(NULL);
}

struct session
{
	struct mb_env env;
	struct mb_stack stack;
	struct mb_component *components[COMPONENTS];
	struct mb_settings settings[COMPONENTS];
};

static enum mb_code
session_open(struct session *session, struct mb_store *store, const struct mb_unlock *unlock,
			 struct mb_error *err)
{
	enum mb_code code;
	size_t i;

	memset(session, 0, sizeof(*session));
	mb_error_clear(err);
	code = mb_repo_open(&session->env.repo, store, unlock, err);
	session->env.workers = 1;
	session->stack.env = &session->env;
	session->stack.components = session->components;
	for (i = 0; !code && i < COMPONENTS; i++)
	{
		struct mb_settings *settings = &session->settings[i];

		snprintf(settings->name, sizeof(settings->name), "%s", sources[i].name);
		snprintf(settings->kind, sizeof(settings->kind), "%s", sources[i].kind);
		mb_settings_add(settings, sources[i].key, sources[i].value);
		code =
			driver_of(sources[i].kind)->open(&session->components[i], settings, &session->env, err);
		session->stack.count += !code;
	}
	return code;
}

static void
session_close(struct session *session)
{
	size_t i;

	for (i = 0; i < session->stack.count; i++)
		session->components[i]->ops->close(session->components[i]);
	for (i = 0; i < COMPONENTS; i++)
		mb_settings_release(&session->settings[i]);
	mb_repo_free(session->env.repo);
}

/* -- the hash of a tree: names, types, modes, links, contents ---------------------------------- */

static int
not_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void
describe_tree(struct mb_buf *out, const char *path)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, not_dots, alphasort), i;

	for (i = 0; i < count; i++)
	{
		char *full = mb_path_join(path, names[i]->d_name);
		struct mb_buf bytes = {0};
		unsigned char sum[MB_XXH128_BYTES] = {0};
		char link[4096];
		ssize_t link_len;
		struct stat st;
		struct mb_error err;

		if (lstat(full, &st) != 0)
			memset(&st, 0, sizeof(st));
		mb_buf_printf(out, "%s%c%o%c", names[i]->d_name, 0, st.st_mode, 0);
		if (S_ISREG(st.st_mode) && mb_file_read(&bytes, full, MB_BLOB_MAX_BYTES, &err) == MB_OK)
		{
			mb_xxh128(sum, bytes.data, bytes.len);
			mb_buf_put(out, sum, sizeof(sum));
		}
		else if (S_ISLNK(st.st_mode) && (link_len = readlink(full, link, sizeof(link))) > 0)
			mb_buf_put(out, link, (size_t) link_len);
		else if (S_ISDIR(st.st_mode))
			describe_tree(out, full);
		mb_buf_put_str(out, "\n");
		mb_buf_release(&bytes);
		free(full);
		free(names[i]);
	}
	free(names);
}

static void
hash_tree(char hex[2 * MB_XXH128_BYTES + 1], const char *path)
{
	unsigned char sum[MB_XXH128_BYTES];
	struct mb_buf text = {0};

	describe_tree(&text, path);
	mb_xxh128(sum, text.data, text.len);
	mb_hex(hex, sum, sizeof(sum));
	mb_buf_release(&text);
}

/* -- restoring --------------------------------------------------------------------------------- */

/* All warnings of a restore, one behind the other. */
static void
note_warnings(const json_t *answer, char *warnings, size_t cap)
{
	const json_t *parts = json_object_get(json_object_get(answer, "restore"), "components");
	size_t i, j;

	warnings[0] = '\0';
	for (i = 0; i < json_array_size(parts); i++)
	{
		const json_t *list = json_object_get(json_array_get(parts, i), "warnings");

		for (j = 0; j < json_array_size(list); j++)
			snprintf(warnings + strlen(warnings), cap - strlen(warnings), "%s. ",
					 mb_json_value_str(json_array_get(list, j), ""));
	}
}

/* All components of one moment into <scratch>/out; MB_OK and the hash of what came out. */
static enum mb_code
restore_moment(struct session *session, const char *scratch, const json_t *moment,
			   char hex[2 * MB_XXH128_BYTES + 1], char *warning, size_t warning_cap,
			   struct mb_error *err)
{
	struct mb_restore_destination destinations[COMPONENTS];
	struct mb_restore_options options = {.destinations = destinations,
										 .destination_count = COMPONENTS};
	const char *mark = mb_json_str(moment, "mark", NULL);
	json_t *answer = NULL;
	char *out = mb_path_join(scratch, "out");
	enum mb_code code;
	size_t i;

	mb_error_clear(err);
	code = mb_rmtree(out, err);
	for (i = 0; i < COMPONENTS; i++)
	{
		destinations[i].component = (char *) (uintptr_t) sources[i].name;
		destinations[i].destination = mb_path_join(out, sources[i].name);
	}
	options.backup = mb_json_str(moment, "backup", NULL);
	options.target.kind = mark ? MB_TARGET_MARK : MB_TARGET_BACKUP;
	options.target.text = mark ? mark : options.backup;
	if (!code)
		code = mb_restore_run(&session->stack, &options, &answer, err);
	if (!code)
	{
		hash_tree(hex, out);
		note_warnings(answer, warning, warning_cap);
	}
	json_decref(answer);
	for (i = 0; i < COMPONENTS; i++)
		free(destinations[i].destination);
	free(out);
	return code;
}

/* Is there something in the scratch directory that we did not make? */
static bool
wrote_outside(const struct mutant_judge *judge)
{
	struct dirent **names = NULL;
	int count = scandir(judge->scratch, &names, not_dots, alphasort), i;
	bool yes = count < 0;

	for (i = 0; i < count; i++)
	{
		yes =
			yes || (strcmp(names[i]->d_name, "out") != 0 && strcmp(names[i]->d_name, "disk") != 0);
		free(names[i]);
	}
	free(names);
	return yes;
}

static enum mutant_outcome
judge_restores(struct mutant_judge *judge, struct session *session)
{
	bool refused = false;
	size_t i;

	for (i = 0; i < json_array_size(judge->moments); i++)
	{
		const json_t *moment = json_array_get(judge->moments, i);
		char hex[2 * MB_XXH128_BYTES + 1];
		char warning[sizeof(judge->detail)];
		struct mb_error err;

		judge->restores++;
		if (restore_moment(session, judge->scratch, moment, hex, warning, sizeof(warning), &err))
		{
			refused = true;
			snprintf(judge->detail, sizeof(judge->detail), "%s", err.message);
		}
		else if (strcmp(hex, json_string_value(json_array_get(judge->truth, i))) == 0)
			continue;
		else if (strcmp(warning, mb_json_value_str(json_array_get(judge->warnings, i), "")) != 0)
		{
			refused = true;
			snprintf(judge->detail, sizeof(judge->detail), "%s", warning);
		}
		else
		{
			snprintf(judge->detail, sizeof(judge->detail), "restored otherwise: %s",
					 mb_json_str(moment, "backup", mb_json_str(moment, "mark", "?")));
			return MUTANT_BELIEVED;
		}
	}
	return refused ? MUTANT_REFUSED : MUTANT_HARMLESS;
}

static enum mutant_outcome
judge_store(struct mutant_judge *judge, struct mb_store *store)
{
	struct mb_verify_options options = {.read_data = MB_READ_FULL};
	enum mutant_outcome outcome = MUTANT_FOUND;
	bool found = true;
	struct session session;
	struct mb_error err;
	json_t *answer = NULL;

	judge->detail[0] = '\0';
	if (session_open(&session, store, &judge->unlock, &err))
		snprintf(judge->detail, sizeof(judge->detail), "%s", err.message);
	else if (judge->unlock.key_file.len > 0 && session.env.repo->suite == MB_SUITE_NONE)
		/* As the command line says it to whoever has configured a key. */
		snprintf(judge->detail, sizeof(judge->detail), "a key, and no encryption");
	else
	{
		found = mb_verify_run(&session.stack, &options, &answer, &err) != MB_OK;
		if (found)
			snprintf(judge->detail, sizeof(judge->detail), "%s", err.message);
		if (!judge->skip_restores)
			outcome = judge_restores(judge, &session);
		else
			outcome = MUTANT_HARMLESS;
		if (outcome != MUTANT_BELIEVED && found)
			outcome = MUTANT_FOUND;
	}
	json_decref(answer);
	session_close(&session);
	return wrote_outside(judge) ? MUTANT_OUTSIDE : outcome;
}

enum mutant_outcome
judge_image(struct mutant_judge *judge, const struct mutant_image *image)
{
	return judge_store(judge, image_store_new(image));
}

enum mutant_outcome
judge_directory(struct mutant_judge *judge, const char *directory)
{
	struct mb_store *store;
	struct mb_error err;

	if (mb_store_posix_open(&store, directory, MB_STORE_OPEN, &err))
	{
		snprintf(judge->detail, sizeof(judge->detail), "%s", err.message);
		return MUTANT_FOUND;
	}
	return judge_store(judge, store);
}

/* -- the truth --------------------------------------------------------------------------------- */

static void
must(enum mb_code code, const char *what, const struct mb_error *err)
{
	if (!code)
		return;
	fprintf(stderr, "%s: %s\n", what, err->message);
	exit(2);
}

static void
add_moments(json_t *moments, json_t *documents, const char *kind, const char *key)
{
	size_t i;

	for (i = 0; i < json_array_size(documents); i++)
	{
		json_t *moment = json_object();

		mb_json_set_str(moment, kind, mb_json_str(json_array_get(documents, i), key, ""));
		json_array_append_new(moments, moment);
	}
	json_decref(documents);
}

static void
learn_truth(struct mutant_judge *judge, struct session *session)
{
	json_t *documents;
	struct mb_error err;
	size_t i;

	must(mb_sets_list(session->env.repo, &documents, &err), "sets", &err);
	add_moments(judge->moments, documents, "backup", "id");
	must(mb_marks_list(session->env.repo, &documents, &err), "marks", &err);
	add_moments(judge->moments, documents, "mark", "name");
	for (i = 0; i < json_array_size(judge->moments); i++)
	{
		const json_t *moment = json_array_get(judge->moments, i);
		char hex[2 * MB_XXH128_BYTES + 1], again[2 * MB_XXH128_BYTES + 1];
		char warning[sizeof(judge->detail)];

		must(restore_moment(session, judge->scratch, moment, hex, warning, sizeof(warning), &err),
			 "the undamaged", &err);
		must(restore_moment(session, judge->scratch, moment, again, warning, sizeof(warning), &err),
			 "the undamaged", &err);
		if (strcmp(hex, again) != 0)
			must(mb_fail(&err, MB_IO, "two restores differ"), "the undamaged", &err);
		json_array_append_new(judge->truth, json_string(hex));
		json_array_append_new(judge->warnings, json_string(warning));
	}
	if (json_array_size(judge->moments) < 2)
		must(mb_fail(&err, MB_IO, "it holds too little"), "the undamaged", &err);
}

void
judge_open(struct mutant_judge *judge, const struct mutant_image *image, const char *key_file,
		   const char *scratch)
{
	struct mb_buf key = {0};
	struct session session;
	struct mb_error err;

	memset(judge, 0, sizeof(*judge));
	judge->scratch = mb_strdup(scratch);
	judge->moments = json_array();
	judge->truth = json_array();
	judge->warnings = json_array();
	if (key_file)
	{
		must(mb_file_read(&key, key_file, MB_SECRET_MAX, &err), key_file, &err);
		mb_secret_set(&judge->unlock.key_file, key.data, key.len);
		mb_buf_wipe(&key);
	}
	must(session_open(&session, image_store_new(image), &judge->unlock, &err), "open", &err);
	learn_truth(judge, &session);
	session_close(&session);
	must(mb_repo_open(&judge->repo, image_store_new(image), &judge->unlock, &err), "open", &err);
	judge->suite = judge->repo->suite;
	if (judge_image(judge, image) != MUTANT_HARMLESS)
		must(mb_fail(&err, MB_IO, "%s", judge->detail), "the undamaged", &err);
}

void
judge_close(struct mutant_judge *judge)
{
	mb_repo_free(judge->repo);
	json_decref(judge->moments);
	json_decref(judge->truth);
	json_decref(judge->warnings);
	free(judge->scratch);
	mb_secret_release(&judge->unlock.key_file);
}
