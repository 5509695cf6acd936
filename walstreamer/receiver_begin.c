/*
 * receiver_begin.c - what happens before WAL flows: who the server is, the slot, which
 * branch of which timeline to continue (see receiver_private.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/time.h"
#include "walstreamer/receiver_private.h"

/* A receiver for one backup does not fetch more than this to continue an old branch. */
#define TEMPORARY_CATCH_UP_BYTES (256u << 20)

/* Refused before, or its last unit is surely gone from the server: that is where it would begin. */
static bool
is_out(const struct mb_wal_receiver *receiver, const struct mb_wal_branch *branch, const char *own)
{
	size_t i;

	for (i = 0; i < receiver->refused_count; i++)
		if (strcmp(receiver->refused[i], branch->branch) == 0)
			return true;
	return mb_wal_branch_end(branch) <= receiver->removed_to &&
		   !(own && strcmp(branch->branch, own) == 0);
}

/* -- own state -------------------------------------------------------------------------------- */

static char *
state_path(const struct mb_wal_receiver *receiver)
{
	return mb_asprintf("%s/wal-%s.json", receiver->options.env->spool, receiver->options.component);
}

static json_t *
read_state(const struct mb_wal_receiver *receiver)
{
	struct mb_buf text = {0};
	struct mb_error ignored;
	json_t *json = NULL;
	char *path;

	if (!receiver->options.env->spool)
		return NULL;
	path = state_path(receiver);
	if (mb_file_read(&text, path, 65536, &ignored) ||
		mb_json_parse(&json, (const char *) text.data, text.len, path, &ignored))
		json = NULL;
	mb_buf_release(&text);
	free(path);
	return json;
}

/* Best effort: without it a branch is found again by its bytes. */
void
mb_walrecv_write_state(const struct mb_wal_receiver *receiver)
{
	json_t *json;
	char *text, *path;
	struct mb_error err;

	if (!receiver->options.env->spool || receiver->options.slot_kind == MB_WAL_SLOT_TEMPORARY)
		return;
	json = json_object();
	mb_json_set_str(json, "repository", receiver->options.env->repo->id_text);
	mb_json_set_str(json, "system_id", receiver->system_id);
	mb_json_set_int(json, "timeline", receiver->timeline);
	mb_json_set_str(json, "branch", receiver->branch);
	mb_json_set_lsn(json, "durable", receiver->durable_lsn);
	text = mb_json_text(json);
	path = state_path(receiver);
	if (mb_file_write_durable(path, text, strlen(text), 0600, &err))
		mb_log_warning(mb_walrecv_log(receiver), "%s: %s", receiver->options.component,
					   err.message);
	free(path);
	free(text);
	json_decref(json);
}

/* -- connecting -------------------------------------------------------------------------------- */

enum mb_code
mb_walrecv_identify(struct mb_wal_receiver *receiver, struct mb_error *err)
{
	PGresult *res;
	uint64_t size;
	enum mb_code code = mb_pg_command(receiver->conn, &res, "IDENTIFY_SYSTEM", err);

	if (code)
		return code;
	if (receiver->system_id[0] && strcmp(receiver->system_id, mb_pg_field(res, 0, "systemid")) != 0)
		mb_log_warning(mb_walrecv_log(receiver),
					   "%s: this is another cluster: system identifier %s, not %s",
					   receiver->options.component, mb_pg_field(res, 0, "systemid"),
					   receiver->system_id);
	snprintf(receiver->system_id, sizeof(receiver->system_id), "%s",
			 mb_pg_field(res, 0, "systemid"));
	receiver->server_timeline = (uint32_t) strtoul(mb_pg_field(res, 0, "timeline"), NULL, 10);
	if (!mb_lsn_parse(&receiver->server_lsn, mb_pg_field(res, 0, "xlogpos")))
		code = mb_fail(err, MB_IO, "IDENTIFY_SYSTEM gave no position");
	PQclear(res);
	if (code)
		return code;
	code = mb_pg_command(receiver->conn, &res, "SHOW wal_segment_size", err);
	if (code)
		return code;
	/* "16MB" */
	code = mb_size_parse(&size, PQgetvalue(res, 0, 0), err);
	PQclear(res);
	if (!code && !mb_wal_segment_size_is_valid(size))
		code = mb_fail(err, MB_UNSUPPORTED, "wal_segment_size is not usable");
	if (!code)
	{
		receiver->segment_size = (uint32_t) size;
		receiver->unit_bytes = mb_wal_unit_bytes(receiver->segment_size);
	}
	return code;
}

/* Get and store the history file of a timeline; content replaces what is in out. */
enum mb_code
mb_walrecv_history(struct mb_wal_receiver *receiver, uint32_t timeline, struct mb_buf *out,
				   char name[MB_NAME_MAX], struct mb_error *err)
{
	char command[64];
	PGresult *res;
	enum mb_code code;

	mb_buf_reset(out);
	name[0] = '\0';
	if (timeline <= 1)
		return MB_OK;
	snprintf(command, sizeof(command), "TIMELINE_HISTORY %u", timeline);
	code = mb_pg_command(receiver->conn, &res, command, err);
	if (code)
		return code;
	mb_buf_put(out, PQgetvalue(res, 0, 1), (size_t) PQgetlength(res, 0, 1));
	PQclear(res);
	return mb_wal_history_put(&receiver->writer, receiver->options.env->repo,
							  receiver->options.component, receiver->system_id, timeline, out->data,
							  out->len, name, err);
}

static enum mb_code
create_slot(struct mb_wal_receiver *receiver, const char *ident, struct mb_error *err)
{
	bool temporary = receiver->options.slot_kind == MB_WAL_SLOT_TEMPORARY;
	char *command = mb_asprintf("CREATE_REPLICATION_SLOT %s%s PHYSICAL RESERVE_WAL", ident,
								temporary ? " TEMPORARY" : "");
	enum mb_code code = mb_pg_exec(receiver->conn, command, err);

	free(command);
	if (code == MB_EXISTS)
		return MB_OK; /* somebody was faster; START_REPLICATION will tell */
	if (code)
		return mb_error_context(err, "could not create replication slot %s", ident);
	if (!temporary)
		mb_log_info(mb_walrecv_log(receiver), "%s: created replication slot %s",
					receiver->options.component, ident);
	return MB_OK;
}

/* See what the slot looks like, over a connection for queries. */
static enum mb_code
query_slot(struct mb_wal_receiver *receiver, const char *slot, bool *exists, bool *active,
		   bool *lost, struct mb_error *err)
{
	PGconn *sql;
	PGresult *res;
	enum mb_code code = mb_pg_connect(&sql, &receiver->options.connect, MB_PG_SQL, err);

	if (code)
		return code;
	code = mb_pg_check_adopted(sql, err);
	if (code)
	{
		PQfinish(sql);
		return code;
	}
	code = mb_pg_query(sql, &res,
					   "SELECT slot_type, active, restart_lsn, wal_status FROM"
					   " pg_replication_slots WHERE slot_name = $1",
					   1, &slot, err);
	if (!code)
	{
		*exists = PQntuples(res) == 1;
		*active = *exists && mb_pg_field(res, 0, "active")[0] == 't';
		*lost = *exists && strcmp(mb_pg_field(res, 0, "wal_status"), "lost") == 0;
		if (!mb_lsn_parse(&receiver->slot_lsn, mb_pg_field(res, 0, "restart_lsn")))
			receiver->slot_lsn = 0;
		if (*exists && strcmp(mb_pg_field(res, 0, "slot_type"), "physical") != 0)
			code = mb_fail(err, MB_CONFIG, "replication slot \"%s\" is not a physical one", slot);
		PQclear(res);
	}
	PQfinish(sql);
	return code;
}

enum mb_code
mb_walrecv_prepare_slot(struct mb_wal_receiver *receiver, const char *slot, struct mb_error *err)
{
	bool exists, active, lost;
	char *ident = mb_pg_quote_ident(slot);
	enum mb_code code = MB_OK;

	if (receiver->options.slot_kind != MB_WAL_SLOT_TEMPORARY)
		code = query_slot(receiver, slot, &exists, &active, &lost, err);
	else
		exists = active = lost = false;
	if (!code && active)
	{
		code = mb_fail(err, MB_CONFLICT, "replication slot \"%s\" is in use", slot);
		mb_error_hint(err, "Is another \"mbackup stream\" running? See pg_replication_slots.");
	}
	if (!code && !exists && receiver->options.slot_kind == MB_WAL_SLOT_EXISTING)
		code = mb_fail(err, MB_NOT_FOUND, "there is no replication slot \"%s\"", slot);
	if (!code && lost)
	{
		char *command = mb_asprintf("DROP_REPLICATION_SLOT %s", ident);

		mb_log_warning(mb_walrecv_log(receiver),
					   "%s: the server has removed WAL that slot \"%s\" needed; making it anew",
					   receiver->options.component, slot);
		code = mb_pg_exec(receiver->conn, command, err);
		free(command);
		exists = false;
	}
	if (!code && !exists)
	{
		code = create_slot(receiver, ident, err);
		if (!code)
			code = query_slot(receiver, slot, &exists, &active, &lost, err);
	}
	free(ident);
	return code;
}

/* -- choosing where to begin -------------------------------------------------------------------- */

/* Where the server left a timeline that is not its newest, or UINT64_MAX; 0: not its ancestor. */
static uint64_t
timeline_end(const struct mb_wal_receiver *receiver, uint32_t timeline)
{
	uint64_t end;

	if (timeline == receiver->server_timeline)
		return UINT64_MAX;
	if (receiver->ancestry.len == 0 ||
		!mb_wal_history_left(receiver->ancestry.data, receiver->ancestry.len, timeline, &end))
		return 0;
	return end;
}

static uint32_t
timeline_of(const struct mb_wal_receiver *receiver, uint64_t lsn)
{
	uint32_t timeline;

	for (timeline = 1; timeline < receiver->server_timeline; timeline++)
		if (timeline_end(receiver, timeline) > lsn)
			return timeline;
	return receiver->server_timeline;
}

/* The unit that holds the branch's last byte, so that it is received again. */
static void
begin_at_branch(struct beginning *beginning, const struct mb_wal_receiver *receiver,
				uint32_t timeline, const char *branch, uint64_t end)
{
	memset(beginning, 0, sizeof(*beginning));
	beginning->timeline = timeline;
	snprintf(beginning->branch, sizeof(beginning->branch), "%s", branch);
	beginning->known_to = end;
	beginning->from_lsn = (end - 1) - (end - 1) % receiver->unit_bytes;
}

/*
 * The best branch on one timeline at or below limit: the one that our state names, else
 * the longest.
 */
bool
mb_walrecv_find_branch(const struct mb_wal_receiver *receiver,
					   const struct mb_wal_inventory *inventory, uint32_t timeline, uint64_t limit,
					   const char *own, struct beginning *beginning)
{
	const struct mb_wal_branch *best = NULL;
	size_t i;

	for (i = 0; i < inventory->branch_count; i++)
	{
		const struct mb_wal_branch *branch = &inventory->branches[i];
		uint64_t end = mb_wal_branch_end(branch);

		if (branch->timeline != timeline || end == 0 || end > limit ||
			is_out(receiver, branch, own))
			continue;
		if (!best || (own && strcmp(branch->branch, own) == 0) ||
			(end > mb_wal_branch_end(best) && !(own && strcmp(best->branch, own) == 0)))
			best = branch;
	}
	if (!best)
		return false;
	begin_at_branch(beginning, receiver, timeline, best->branch, mb_wal_branch_end(best));
	beginning->own = own && strcmp(best->branch, own) == 0;
	return true;
}

/* Nothing to continue: from where the slot keeps WAL. */
static void
begin_anew(const struct mb_wal_receiver *receiver, struct beginning *beginning)
{
	uint64_t lsn = receiver->slot_lsn ? receiver->slot_lsn : receiver->server_lsn;

	memset(beginning, 0, sizeof(*beginning));
	beginning->timeline = timeline_of(receiver, lsn);
	beginning->from_lsn = lsn - lsn % receiver->segment_size;
}

enum mb_code
mb_walrecv_choose(struct mb_wal_receiver *receiver, struct beginning *beginning,
				  struct mb_error *err)
{
	struct mb_wal_inventory *inventory;
	json_t *state = read_state(receiver);
	const char *own = NULL;
	bool found = false;
	uint32_t timeline;
	enum mb_code code;

	code = mb_wal_inventory_load(&inventory, receiver->options.env->repo,
								 receiver->options.component, receiver->system_id, err);
	if (code)
		goto done;
	if (state &&
		strcmp(mb_json_str(state, "repository", ""), receiver->options.env->repo->id_text) == 0 &&
		strcmp(mb_json_str(state, "system_id", ""), receiver->system_id) == 0)
		own = mb_json_str(state, "branch", NULL);
	if (inventory->segment_size && inventory->segment_size != receiver->segment_size)
		mb_log_warning(mb_walrecv_log(receiver),
					   "%s: wal_segment_size has changed; beginning a new branch",
					   receiver->options.component);
	else
		/* The newest timeline that we have something of and that the server comes from. */
		for (timeline = receiver->server_timeline; timeline > 0 && !found; timeline--)
		{
			uint64_t limit = timeline_end(receiver, timeline);

			if (limit == UINT64_MAX)
				limit = receiver->server_lsn;
			if (limit > 0)
				found =
					mb_walrecv_find_branch(receiver, inventory, timeline, limit, own, beginning);
		}
	if (found && receiver->options.slot_kind == MB_WAL_SLOT_TEMPORARY && receiver->slot_lsn &&
		beginning->known_to + TEMPORARY_CATCH_UP_BYTES < receiver->slot_lsn)
		found = false;
	if (!found)
		begin_anew(receiver, beginning);
	else if (beginning->own && receiver->trust_own &&
			 beginning->known_to % receiver->unit_bytes == 0)
		beginning->from_lsn = beginning->known_to;
	mb_wal_inventory_free(inventory);
done:
	json_decref(state);
	return code;
}
