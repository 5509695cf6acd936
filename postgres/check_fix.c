/* check_fix.c - see check_private.h. */
#include <stdlib.h>
#include <string.h>

#include "postgres/check_private.h"

/* "psql -h H -p P -d D": a socket's directory is a host too. */
static void
put_psql(struct mb_buf *out, const struct checker *checker)
{
	PGconn *conn = checker->pg->conn;
	const char *host = PQhost(conn), *port = PQport(conn);
	char *word = mb_shell_word(host ? host : ""), *db = mb_shell_word(PQdb(conn));

	mb_buf_put_str(out, "psql");
	if (host && *host)
		mb_buf_printf(out, " -h %s", word);
	if (port && *port)
		mb_buf_printf(out, " -p %s", port);
	mb_buf_printf(out, " -d %s", db);
	free(word);
	free(db);
}

static char *
take(struct mb_buf *buf)
{
	char *made = mb_strdup(mb_buf_cstr(buf));

	mb_buf_release(buf);
	return made;
}

/* In double quotes, so that the quotes of SQL stay as they are; what a shell would expand is escaped. */
static void
put_statement(struct mb_buf *out, const char *sql)
{
	mb_buf_put_str(out, " -c \"");
	for (; *sql; sql++)
	{
		if (strchr("\"\\$`", *sql))
			mb_buf_put_u8(out, '\\');
		mb_buf_put_u8(out, (uint8_t) *sql);
	}
	mb_buf_put_u8(out, '"');
}

char *
mb_pg_fix(const struct checker *checker, const char *sql, const char *then)
{
	struct mb_buf out = {0};

	put_psql(&out, checker);
	put_statement(&out, sql);
	if (then)
		put_statement(&out, then);
	return take(&out);
}

char *
mb_pg_fix_restart(const struct checker *checker, const char *sql)
{
	const char *service = mb_settings_get(checker->pg->base.settings, "service");
	char *data = mb_shell_word(checker->pg->server.data_directory);
	struct mb_buf out = {0};

	put_psql(&out, checker);
	put_statement(&out, sql);
	if (service && mb_starts_with(service, "systemd:"))
		mb_buf_printf(&out, " && sudo systemctl restart %s", service + strlen("systemd:"));
	else
		mb_buf_printf(&out, " && pg_ctl restart -D %s", data);
	free(data);
	return take(&out);
}

char *
mb_pg_fix_hba(const struct checker *checker)
{
	const char *client = mb_pg_field(checker->facts, 0, "client");
	char *file = mb_shell_word(mb_pg_field(checker->facts, 0, "hba_file"));
	char *user = mb_pg_quote_ident(mb_pg_field(checker->facts, 0, "me"));
	struct mb_buf out = {0};

	if (*client)
		mb_buf_printf(&out, "sed -i '1i host replication %s %s scram-sha-256' %s && ", user, client,
					  file);
	else
		mb_buf_printf(&out, "sed -i '1i local replication %s peer' %s && ", user, file);
	put_psql(&out, checker);
	put_statement(&out, MB_PG_RELOAD_SQL);
	free(user);
	free(file);
	return take(&out);
}
