/* wal_standby.c - a plan for who asks without one: a standby, or by hand (see restore_plan.h). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "walstreamer/data_dir.h"
#include "walstreamer/restore_plan.h"

/* -- which component --------------------------------------------------------------------------- */

struct lookup
{
	const char *system_id;
	char component[64];
	bool has_others; /* WAL of other system identifiers */
	bool ambiguous;
};

static enum mb_code
look_at_name(void *ctx, const struct mb_blob_info *info, struct mb_error *err)
{
	struct lookup *lookup = ctx;
	const char *component = info->name + strlen("streams/");
	const char *wal = strstr(component, "/wal/");
	size_t len = strcspn(component, "/");

	(void) err;
	if (!wal || wal != component + len)
		return MB_OK;
	wal += strlen("/wal/");
	if (strncmp(wal, lookup->system_id, strlen(lookup->system_id)) != 0 ||
		wal[strlen(lookup->system_id)] != '/')
		lookup->has_others = true;
	else if (!lookup->component[0])
		snprintf(lookup->component, sizeof(lookup->component), "%.*s", (int) len, component);
	else if (strlen(lookup->component) != len || strncmp(lookup->component, component, len) != 0)
		lookup->ambiguous = true;
	return MB_OK;
}

static enum mb_code
find_component(struct lookup *lookup, const struct mb_env *env, const char *component,
			   struct mb_error *err)
{
	char *prefix = component ? mb_asprintf("streams/%s/wal/", component) : mb_strdup("streams/");
	enum mb_code code = mb_store_list(env->repo->store, prefix, look_at_name, lookup, err);

	free(prefix);
	if (code)
		return code;
	if (lookup->ambiguous)
	{
		mb_fail(err, MB_CONFLICT, "several components have WAL of system identifier %s",
				lookup->system_id);
		return mb_error_hint(err, "Add --component NAME to restore_command.");
	}
	if (lookup->component[0])
		return MB_OK;
	if (!lookup->has_others)
		return mb_fail(err, MB_NEGATIVE, "there is no WAL in the repository");
	mb_fail(err, MB_CONFIG, "the repository holds WAL of other clusters only, not of %s",
			lookup->system_id);
	return mb_error_hint(err, "Did restore_command come from another cluster's configuration?");
}

/* -- which branch -------------------------------------------------------------------------------- */

/* Does the local segment of redo_lsn, as far as recovery has passed it, equal the branch's? */
static enum mb_code
agrees_with_local(const struct mb_wal_inventory *inventory, const struct mb_wal_branch *branch,
				  const struct mb_data_dir *dir, bool *known, bool *agrees, struct mb_error *err)
{
	uint64_t from = dir->redo_lsn - dir->redo_lsn % inventory->segment_size;
	struct mb_wal_where where = {inventory->component, inventory->system_id, branch->timeline,
								 branch->branch, inventory->segment_size};
	uint64_t unit_from = dir->redo_lsn - dir->redo_lsn % mb_wal_unit_bytes(where.segment_size);
	size_t len = (size_t) (dir->redo_lsn - unit_from), got = 0;
	char file[MB_WAL_FILE_TEXT], path[64];
	unsigned char *local, *stored;
	struct mb_error ignored;
	enum mb_code code = MB_OK;
	int fd;

	*known = *agrees = false;
	mb_wal_file_name(file, branch->timeline, from, where.segment_size);
	snprintf(path, sizeof(path), "pg_wal/%s", file);
	fd = mb_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0 || len == 0)
	{
		if (fd >= 0)
			close(fd);
		return MB_OK;
	}
	local = mb_malloc(len);
	stored = mb_malloc(len);
	if (mb_pread_full(fd, local, len, (int64_t) (unit_from - from), &got, path, &ignored) ==
			MB_OK &&
		got == len)
	{
		code = mb_wal_assemble(inventory->repo, &where, unit_from, dir->redo_lsn, stored, err);
		*known = !code;
		*agrees = !code && memcmp(local, stored, len) == 0;
	}
	close(fd);
	free(local);
	free(stored);
	return code;
}

/*
 * Several branches hold the place where recovery begins: the one that agrees with the local WAL.
 * One alone is taken unless it disagrees.  *name "": none holds it.
 */
static enum mb_code
choose_branch(const struct mb_wal_inventory *inventory, const struct mb_data_dir *dir,
			  char name[MB_WAL_BRANCH_TEXT], struct mb_error *err)
{
	uint64_t segment = dir->redo_lsn - dir->redo_lsn % inventory->segment_size;
	size_t i, covering = 0, agreeing = 0, unknown = 0;
	const char *covers = NULL, *good = NULL;

	name[0] = '\0';
	for (i = 0; i < inventory->branch_count; i++)
	{
		const struct mb_wal_branch *branch = &inventory->branches[i];
		const struct mb_wal_span *span = mb_wal_branch_span(branch, segment);
		bool known, agrees;
		enum mb_code code;

		if (branch->timeline != dir->timeline || !span || span->to_lsn <= dir->redo_lsn)
			continue;
		code = agrees_with_local(inventory, branch, dir, &known, &agrees, err);
		if (code)
			return code;
		covering++;
		covers = branch->branch;
		unknown += !known;
		if (agrees)
		{
			agreeing++;
			good = branch->branch;
		}
	}
	if (covering == 0)
		return MB_OK;
	/* Several that agree so far are told apart by what planning prefers: the newest. */
	if (agreeing == 1)
		snprintf(name, MB_WAL_BRANCH_TEXT, "%s", good);
	else if (agreeing == 0 && covering == 1 && unknown == 1)
		snprintf(name, MB_WAL_BRANCH_TEXT, "%s", covers);
	else if (agreeing == 0 && (covering > 1 || unknown == 0))
	{
		mb_fail(err, MB_CONFLICT,
				unknown ? "there are several histories of timeline %u, and the local WAL does not "
						  "tell which one this cluster is on"
						: "the repository's history of timeline %u is not the one that this "
						  "cluster is on",
				dir->timeline);
		return mb_error_hint(err, "Use \"mbackup restore\", which chooses one and says so in "
								  "restore_command.");
	}
	return MB_OK;
}

/* The way from the local position on; failing that, from the segment that is asked for. */
static enum mb_code
find_way(struct mb_wal_inventory *inventory, const struct mb_data_dir *dir, const char *file_name,
		 struct mb_wal_chain *chain, struct mb_error *err)
{
	struct mb_wal_query query = {.start_lsn = dir->redo_lsn, .timeline = dir->timeline};
	char branch[MB_WAL_BRANCH_TEXT];
	struct mb_data_dir wanted = *dir;
	enum mb_code code = choose_branch(inventory, dir, branch, err);

	if (code)
		return code;
	query.branch = branch;
	code = mb_wal_chain_find(inventory, &query, chain, err);
	if (code != MB_NOT_FOUND && code != MB_CORRUPT)
		return code;
	if (!mb_wal_file_parse(file_name, inventory->segment_size, &wanted.timeline, &wanted.redo_lsn))
		return err->code = MB_NEGATIVE;
	code = choose_branch(inventory, &wanted, branch, err);
	if (code)
		return code;
	query.start_lsn = wanted.redo_lsn;
	query.timeline = wanted.timeline;
	code = mb_wal_chain_find(inventory, &query, chain, err);
	if (code == MB_NOT_FOUND || code == MB_CORRUPT)
		code = mb_fail(err, MB_NEGATIVE, "\"%s\" is not in the repository", file_name);
	return code;
}

/* Only histories of the way itself: another one would not be this server's future. */
static void
keep_own_histories(json_t *plan, const struct mb_wal_chain *chain)
{
	json_t *histories = json_object();
	char key[16];
	size_t i;

	for (i = 0; i < chain->count; i++)
		if (chain->links[i].history[0])
		{
			snprintf(key, sizeof(key), "%08X", chain->links[i].timeline);
			mb_json_set_str(histories, key, chain->links[i].history);
		}
	json_object_set_new(plan, "histories", histories);
}

enum mb_code
mb_wal_standby_plan(json_t **plan, const struct mb_env *env, const char *component,
					const char *file_name, struct mb_error *err)
{
	struct mb_wal_inventory *inventory = NULL;
	struct mb_wal_chain chain = {0};
	struct lookup lookup = {0};
	struct mb_data_dir dir;
	enum mb_code code = mb_data_dir_read(&dir, err);

	if (code)
		return code;
	lookup.system_id = dir.system_id;
	code = find_component(&lookup, env, component, err);
	if (!code)
		code = mb_wal_inventory_load(&inventory, env->repo, lookup.component, dir.system_id, err);
	if (!code && inventory->segment_size == 0)
		code = mb_fail(err, MB_NEGATIVE, "\"%s\" is not in the repository", file_name);
	if (!code)
		code = find_way(inventory, &dir, file_name, &chain, err);
	if (!code)
	{
		*plan = mb_wal_chain_plan(inventory, &chain, env, lookup.component, "");
		keep_own_histories(*plan, &chain);
		mb_wal_chain_release(&chain);
	}
	mb_wal_inventory_free(inventory);
	return code;
}
