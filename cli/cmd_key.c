/* cmd_key.c - mbackup key list|add|remove|rotate|export: who can open the repository. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/fs.h"
#include "core/base/time.h"
#include "core/repo/keyring.h"

#define KEY_FILE_MAX (1u << 20)
#define KEY_FILE_MIN 32

static enum mb_code
read_ring(struct mb_cli *cli, struct mb_keyring *ring, struct mb_error *err)
{
	struct mb_unlock unlock = {0};
	enum mb_code code;

	if (cli->env.repo->suite == MB_SUITE_NONE)
	{
		mb_fail(err, MB_UNSUPPORTED, "the repository is not encrypted: it has no keys");
		return mb_error_hint(err, "Encryption is chosen at init: make a new repository.");
	}
	code = cli_read_unlock(cli, &unlock, err);
	if (!code)
		code = mb_keyring_read(cli->env.repo, &unlock, ring, err);
	mb_secret_release(&unlock.passphrase);
	mb_secret_release(&unlock.key_file);
	return code;
}

static json_t *
key_json(const struct mb_keyring *ring, const struct mb_keyring_key *key)
{
	json_t *json = json_object();

	mb_json_set_str(json, "id", key->id);
	mb_json_set_str(json, "label", key->label);
	mb_json_set_str(json, "kind", key->is_passphrase ? "passphrase" : "key-file");
	if (key->created_us)
		mb_json_set_time(json, "created", key->created_us);
	/* Without the newest epoch it opens nothing that is written now, so not the repository. */
	mb_json_set_bool(json, "opens", !key->is_damaged && key->slots == ring->epochs);
	mb_json_set_bool(json, "damaged", key->is_damaged);
	mb_json_set_bool(json, "in_use", key->is_ours);
	return json;
}

static enum mb_code
key_list(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_keyring ring = {0};
	json_t *keys, *answer;
	size_t i;

	if (read_ring(cli, &ring, err))
		return err->code;
	keys = json_array();
	for (i = 0; i < ring.count; i++)
		json_array_append_new(keys, key_json(&ring, &ring.items[i]));
	answer = json_object();
	mb_json_set_int(answer, "epoch", ring.newest);
	json_object_set_new(answer, "keys", keys);
	cli->answer = answer;
	mb_keyring_release(&ring);
	return MB_OK;
}

/* -- add -------------------------------------------------------------------------------------- */

static enum mb_code
read_fresh(struct mb_cli *cli, struct mb_unlock *fresh, struct mb_error *err)
{
	const char *file = cli_option(cli, "new-key-file");
	struct mb_buf bytes = {0};
	bool found = false;
	enum mb_code code = mb_config_secret(&cli->config, SCOPE_COMMAND, "new-passphrase",
										 &fresh->passphrase, &found, err);

	if (!code && file && found)
		return mb_fail(err, MB_CONFIG, "both a new passphrase and a new key file were given");
	if (!code && file)
	{
		code = mb_file_read(&bytes, file, KEY_FILE_MAX, err);
		if (!code && bytes.len < KEY_FILE_MIN)
		{
			code = mb_fail(err, MB_CONFIG, "the key file has only %zu bytes", bytes.len);
			mb_error_hint(err, "Make one of at least %d random bytes.", KEY_FILE_MIN);
		}
		else if (!code)
			mb_secret_set(&fresh->key_file, bytes.data, bytes.len);
		if (bytes.data)
			mb_wipe(bytes.data, bytes.cap);
		mb_buf_release(&bytes);
	}
	else if (!code && (!found || fresh->passphrase.len == 0))
	{
		code = mb_fail(err, MB_CONFIG, "there is no secret to add");
		mb_error_hint(err, "Give --new-passphrase-file FILE, --new-passphrase-command COMMAND or "
						   "--new-key-file FILE.");
	}
	return code;
}

static enum mb_code
add(struct mb_cli *cli, const struct mb_unlock *fresh, const char *label, struct mb_error *err)
{
	char id[MB_KEY_ID_TEXT];
	enum mb_code code = mb_keyring_add(cli->env.repo, fresh, label, id, err);

	if (!code)
		cli->answer = json_pack("{s:{s:s,s:s}}", "added", "id", id, "label", label);
	return code;
}

static enum mb_code
key_add(struct mb_cli *cli, struct mb_error *err)
{
	const char *label = cli_option(cli, "label");
	struct mb_keyring ring = {0};
	struct mb_unlock fresh = {0};
	enum mb_code code = label ? mb_key_label_check(label, err) : MB_OK;

	if (!code)
		code = read_fresh(cli, &fresh, err);
	if (!code)
		code = read_ring(cli, &ring, err);
	mb_keyring_release(&ring);
	/* One that opens it already is no new key. */
	if (!code)
		code = mb_keyring_read(cli->env.repo, &fresh, &ring, err);
	for (size_t i = 0; !code && i < ring.count; i++)
		if (ring.items[i].is_ours)
			code = mb_fail(err, MB_CONFLICT, "this secret opens the repository already: key %s",
						   ring.items[i].id);
	if (!code)
		code = add(cli, &fresh, label ? label : "", err);
	mb_keyring_release(&ring);
	mb_secret_release(&fresh.passphrase);
	mb_secret_release(&fresh.key_file);
	return code;
}

/* -- remove ----------------------------------------------------------------------------------- */

struct removal
{
	const char *id;
	size_t places;
	size_t slots;
};

static enum mb_code
remove_from(void *ctx, const char *name, struct mb_store *store, struct mb_error *err)
{
	struct removal *removal = ctx;
	size_t slots;

	if (mb_keyring_remove(store, removal->id, &slots, err))
		return mb_error_context(err, "could not remove the key from %s%s",
								name ? "the copy " : "the repository", name ? name : "");
	removal->places++;
	removal->slots += slots;
	return MB_OK;
}

static enum mb_code
remove_everywhere(struct mb_cli *cli, const char *id, const char *label, struct mb_error *err)
{
	struct removal removal = {.id = id};
	size_t places = cli->env.repository ? 1 : 1 + cli->config.copy_count;
	enum mb_code code = cli_each_place(cli, remove_from, &removal, err);

	if (code)
		return code;
	if (removal.slots > 0)
		cli->answer = json_pack("{s:{s:s,s:s,s:I}}", "removed", "id", id, "label", label, "places",
								(json_int_t) removal.places);
	if (removal.places < places)
	{
		mb_fail(err, MB_PARTIAL,
				"%zu of %zu places of the repository could not be reached: key %s may still open "
				"them",
				places - removal.places, places, id);
		return mb_error_hint(err, "When they can be, run: mbackup key remove %s", id);
	}
	if (removal.slots > 0)
		return MB_OK;
	mb_fail(err, MB_NOT_FOUND, "there is no key %s in any place of the repository", id);
	return mb_error_hint(err, "\"mbackup key list\" shows the ids.");
}

/* A whole id: it may be left in a copy that could not be reached when the key was removed. */
static bool
is_whole_id(const char *word)
{
	return strlen(word) == MB_KEY_ID_TEXT - 1 &&
		   strspn(word, "0123456789abcdef") == MB_KEY_ID_TEXT - 1;
}

static enum mb_code
key_remove(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_keyring ring = {0};
	size_t found = 0;
	enum mb_code code;

	if (cli->words.count < 2)
	{
		mb_fail(err, MB_CONFIG, "\"mbackup key remove\" needs a key");
		return mb_error_hint(err, "Give its id or its label: \"mbackup key list\".");
	}
	code = read_ring(cli, &ring, err);
	if (!code)
		code = mb_keyring_find(&ring, cli->words.items[1], &found, err);
	if (code == MB_NOT_FOUND && is_whole_id(cli->words.items[1]))
	{
		mb_keyring_release(&ring);
		mb_error_clear(err);
		return remove_everywhere(cli, cli->words.items[1], "", err);
	}
	if (!code)
		code = mb_keyring_may_remove(&ring, found, err);
	if (!code && ring.items[found].is_ours)
		code = cli_confirm(cli,
						   "This is the key that this configuration uses: it will not open the "
						   "repository any more.",
						   "the removal of the key in use",
						   "Set the other passphrase or key file in mbackup.conf first, or add "
						   "--yes.",
						   err);
	if (!code)
		code = remove_everywhere(cli, ring.items[found].id, ring.items[found].label, err);
	mb_keyring_release(&ring);
	return code;
}

/* -- rotate ----------------------------------------------------------------------------------- */

static enum mb_code
rotate(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_unlock unlock = {0};
	enum mb_code code = cli_read_unlock(cli, &unlock, err);

	if (!code)
		code = mb_keyring_rotate(cli->env.repo, &unlock, err);
	mb_secret_release(&unlock.passphrase);
	mb_secret_release(&unlock.key_file);
	return code;
}

static enum mb_code
key_rotate(struct mb_cli *cli, struct mb_error *err)
{
	struct mb_keyring ring = {0};
	struct mb_buf what = {0};
	enum mb_code code = read_ring(cli, &ring, err);
	size_t others = 0, i;

	if (code)
		return code;
	for (i = 0; i < ring.count; i++)
		others += !ring.items[i].is_ours && ring.items[i].slots == ring.epochs;
	mb_buf_printf(&what,
				  "%zu other key%s will not open the repository any more, until added again.",
				  others, others == 1 ? "" : "s");
	if (others > 0)
		code = cli_confirm(cli, mb_buf_cstr(&what), "a rotation that locks other keys out",
						   "\"mbackup key list\" shows them; add --yes, and add them again "
						   "afterwards.",
						   err);
	if (!code)
		code = rotate(cli, err);
	if (!code)
		cli->answer =
			json_pack("{s:{s:I,s:I}}", "rotated", "epoch", (json_int_t) cli->env.repo->epoch,
					  "locked_out", (json_int_t) others);
	mb_buf_release(&what);
	mb_keyring_release(&ring);
	return code;
}

/* -- export ----------------------------------------------------------------------------------- */

static enum mb_code
key_export(struct mb_cli *cli, struct mb_error *err)
{
	const char *label = cli_option(cli, "label") ? cli_option(cli, "label") : "recovery sheet";
	struct mb_keyring ring = {0};
	struct mb_unlock fresh = {0};
	char paper[MB_PAPER_TEXT], now[MB_TIME_TEXT];
	enum mb_code code;

	if (!mb_config_flag(&cli->config, "paper"))
	{
		mb_fail(err, MB_CONFIG, "a key leaves the repository only as a sheet of paper");
		return mb_error_hint(err, "Write: mbackup key export --paper");
	}
	code = mb_key_label_check(label, err);
	if (!code)
		code = read_ring(cli, &ring, err);
	mb_keyring_release(&ring);
	if (code)
		return code;
	mb_keyring_paper(paper);
	mb_secret_set(&fresh.passphrase, paper, strlen(paper));
	code = add(cli, &fresh, label, err);
	mb_secret_release(&fresh.passphrase);
	if (!code)
	{
		json_t *sheet = json_object();

		mb_time_format(now, mb_time_now_us());
		mb_json_set_str(sheet, "passphrase", paper);
		mb_json_set_str(sheet, "repository", cli->env.repo->store->url);
		mb_json_set_str(sheet, "repository_id", cli->env.repo->id_text);
		mb_json_set_str(sheet, "time", now);
		json_object_set_new(cli->answer, "sheet", sheet);
	}
	mb_wipe(paper, sizeof(paper));
	return code;
}

/* -- the command ------------------------------------------------------------------------------ */

enum mb_code
cmd_key(struct mb_cli *cli, struct mb_error *err)
{
	static const struct
	{
		const char *verb;
		enum mb_code (*run)(struct mb_cli *cli, struct mb_error *err);
		bool takes_key;
	} verbs[] = {{"list", key_list, false},
				 {"add", key_add, false},
				 {"remove", key_remove, true},
				 {"rotate", key_rotate, false},
				 {"export", key_export, false}};
	const char *verb = cli->words.items[0];
	struct mb_nearest nearest = {.word = verb};
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
	{
		mb_nearest_try(&nearest, verbs[i].verb);
		if (strcmp(verbs[i].verb, verb) == 0)
		{
			if (verbs[i].takes_key || cli->words.count == 1)
				return verbs[i].run(cli, err);
			mb_fail(err, MB_CONFIG, "\"%s\" is one word too many for \"mbackup key %s\"",
					cli->words.items[1], verb);
			return mb_error_hint(err, "Run \"mbackup help key\".");
		}
	}
	return cli_unknown_verb("key", verb, nearest.best,
							"list, add, remove, rotate and export --paper", err);
}

static void
render_sheet(const json_t *sheet, FILE *out)
{
	fprintf(out,
			"mbackup recovery sheet, %s\n\n"
			"  This passphrase opens the repository. Whoever has it can read every backup.\n"
			"  Print it, put it into a safe, and keep it nowhere else.\n\n"
			"      %s\n\n"
			"  repository     %s\n"
			"  repository id  %s\n\n"
			"  To use it: put the passphrase into a file that only you can read, name that file\n"
			"  by passphrase-file in [repository] of mbackup.conf, and run mbackup list.\n"
			"  The hyphens belong to it; there is no letter I, L, O or U in it.\n",
			mb_json_str(sheet, "time", ""), mb_json_str(sheet, "passphrase", ""),
			mb_json_str(sheet, "repository", ""), mb_json_str(sheet, "repository_id", ""));
}

void
render_key(const json_t *answer, FILE *out)
{
	const json_t *added = json_object_get(answer, "added");
	const json_t *removed = json_object_get(answer, "removed");
	const json_t *rotated = json_object_get(answer, "rotated");
	json_t *key;
	size_t i;

	if (json_object_get(answer, "keys"))
		fprintf(out, "%-2s%-17s %-11s %-28s %-8s %s\n", "", "Key", "Kind", "Created", "Opens",
				"Label");
	json_array_foreach(json_object_get(answer, "keys"), i, key)
		fprintf(out, "%-2s%-17s %-11s %-28s %-8s %s\n",
				mb_json_bool(key, "in_use", false) ? "*" : "", mb_json_str(key, "id", ""),
				mb_json_str(key, "kind", ""), mb_json_str(key, "created", "-"),
				mb_json_bool(key, "damaged", false) ? "damaged"
				: mb_json_bool(key, "opens", false) ? "yes"
													: "no",
				mb_json_str(key, "label", ""));
	if (json_object_get(answer, "sheet"))
		render_sheet(json_object_get(answer, "sheet"), out);
	else if (added)
		fprintf(out, "key %s opens the repository now\n", mb_json_str(added, "id", ""));
	if (removed)
		fprintf(out,
				"key %s is removed. Who had it may have kept what it opened: if it has leaked, "
				"also run \"mbackup key rotate\".\n",
				mb_json_str(removed, "id", ""));
	if (rotated)
		fprintf(out,
				"what is written from now on is under a new key (epoch %lld); restart the streams "
				"so that they use it\n",
				(long long) mb_json_int(rotated, "epoch", 0));
}
