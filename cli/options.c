/* options.c - see options.h: the table, and the ways to find a row. */
#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READS                                                                                 \
	(CMD_CHECK | CMD_LIST | CMD_INFO | CMD_RESTORE | CMD_VERIFY | CMD_WAL_GET | CMD_OBJECTS | \
	 CMD_REDIS | CMD_EXPORT)
#define TARGETS (CMD_RESTORE | CMD_VERIFY | CMD_EXPORT)
#define SELECTS                                                                                    \
	(CMD_CHECK | CMD_BACKUP | CMD_STREAM | CMD_RESTORE | CMD_VERIFY | CMD_WAL_GET | CMD_WAL_PUSH | \
	 CMD_EXPORT | CMD_IMPORT)

/* clang-format off */
/* How an S3 server is reached: [repository], its copies, and [objects] (objectstore/s3_settings.h). */
#define S3_ROWS(scope, commands) \
	{"endpoint", 0, OPT_TEXT, scope, commands, NULL, NULL, "URL", "s3://: the server, such as https://minio:9000 (default: Amazon's)"}, \
	{"region", 0, OPT_TEXT, scope, commands, NULL, NULL, "NAME", "s3://: the region (default: what the server says)"}, \
	{"addressing", 0, OPT_CHOICE, scope, commands, NULL, "path|virtual", "HOW", "s3://: the bucket in the path or in the host name"}, \
	{"ca-file", 0, OPT_TEXT, scope, commands, NULL, NULL, "FILE", "s3://: certificates (PEM) to trust in place of the system's"}, \
	{"credentials", 0, OPT_CHOICE, scope, commands, "auto", "auto|environment|profile|web-identity|container|instance|anonymous", "SOURCE", "s3://: where the keys come from"}, \
	{"access-key", 0, OPT_TEXT, scope, commands, NULL, NULL, "KEY", "s3://: the access key"}, \
	{"secret-key", 0, OPT_SECRET, scope, commands, NULL, NULL, "SECRET", "s3://: the secret key that belongs to it"}, \
	{"session-token", 0, OPT_SECRET, scope, commands, NULL, NULL, "SECRET", "s3://: the token of keys for a time"}, \
	{"profile", 0, OPT_TEXT, scope, commands, NULL, NULL, "NAME", "s3://: section of ~/.aws/credentials and ~/.aws/config"}, \
	{"sts-endpoint", 0, OPT_TEXT, scope, commands, NULL, NULL, "URL", "s3://: the server that gives keys to a web identity"}

const struct mb_option mb_options[] = {
	/* name, letter, type, scope, commands, default, choices, metavar, help */
	{"config", 'c', OPT_TEXT, SCOPE_COMMAND, CMD_ANY, NULL, NULL, "FILE", "configuration file (default: $MBACKUP_CONFIG, ~/.config/mbackup/mbackup.conf, /etc/mbackup/mbackup.conf)"},
	{"help", 'h', OPT_FLAG, SCOPE_COMMAND, CMD_ANY, NULL, NULL, NULL, "show this help"},
	{"json", 0, OPT_FLAG, SCOPE_COMMAND, CMD_ANY, NULL, NULL, NULL, "print exactly one JSON object on stdout, also on failure"},
	{"quiet", 'q', OPT_FLAG, SCOPE_COMMAND, CMD_ANY, NULL, NULL, NULL, "no progress and no log below warnings"},
	{"postgres", 0, OPT_TEXT, SCOPE_COMMAND, CMD_INIT, NULL, NULL, "CONNINFO", "protect this PostgreSQL cluster"},
	{"objects", 0, OPT_LIST, SCOPE_COMMAND, CMD_INIT, NULL, NULL, "[NAME=]URL", "protect this bucket (file:///DIR), repeatable"},
	{"redis", 0, OPT_TEXT, SCOPE_COMMAND, CMD_INIT, NULL, NULL, "URL", "protect this Redis"},
	{"files", 0, OPT_LIST, SCOPE_COMMAND, CMD_INIT, NULL, NULL, "PATH", "protect this file or tree, repeatable"},
	{"type", 0, OPT_CHOICE, SCOPE_COMMAND, CMD_BACKUP | CMD_OBJECTS, "auto", "auto|full|incremental", "TYPE", "what to read again: all of it, or what changed"},
	{"component", 0, OPT_LIST, SCOPE_COMMAND, SELECTS, NULL, NULL, "NAME", "only this component, repeatable; a restore takes NAME=DESTINATION too"},
	{"label", 0, OPT_LIST, SCOPE_COMMAND, CMD_BACKUP | CMD_OBJECTS | CMD_REDIS, NULL, NULL, "KEY=VALUE", "note this with the backup, repeatable"},
	{"label", 0, OPT_TEXT, SCOPE_COMMAND, CMD_KEY, NULL, NULL, "TEXT", "add, export: what the list of keys calls it"},
	{"new-passphrase", 0, OPT_SECRET, SCOPE_COMMAND, CMD_KEY, NULL, NULL, "SECRET", "add: the passphrase that shall open the repository too"},
	{"new-key-file", 0, OPT_TEXT, SCOPE_COMMAND, CMD_KEY, NULL, NULL, "FILE", "add: a file of 32 random bytes or more that shall open it too"},
	{"paper", 0, OPT_FLAG, SCOPE_COMMAND, CMD_KEY, NULL, NULL, NULL, "export: a new passphrase, printed with what one needs to know, for a safe"},
	{"pause", 0, OPT_FLAG, SCOPE_COMMAND, CMD_BACKUP | CMD_MARK | CMD_REDIS, NULL, NULL, NULL, "hold Redis writes for the milliseconds of the cut"},
	{"to-time", 0, OPT_TIME, SCOPE_COMMAND, TARGETS, NULL, NULL, "TIME", "to this time"},
	{"to-mark", 0, OPT_TEXT, SCOPE_COMMAND, TARGETS, NULL, NULL, "NAME", "to this mark"},
	{"to-lsn", 0, OPT_LSN, SCOPE_COMMAND, TARGETS, NULL, NULL, "LSN", "to this WAL position"},
	{"to-xid", 0, OPT_TEXT, SCOPE_COMMAND, TARGETS, NULL, NULL, "XID", "to this transaction"},
	{"to-name", 0, OPT_TEXT, SCOPE_COMMAND, TARGETS, NULL, NULL, "RESTORE_POINT", "to this restore point of pg_create_restore_point()"},
	{"to-latest", 0, OPT_FLAG, SCOPE_COMMAND, TARGETS, NULL, NULL, NULL, "as far as there is WAL"},
	{"to-backup", 0, OPT_FLAG, SCOPE_COMMAND, TARGETS, NULL, NULL, NULL, "to the cut of the backup (default)"},
	{"timeline", 0, OPT_TEXT, SCOPE_COMMAND, TARGETS, "latest", "current|latest|N", "N", "along this timeline: current is the backup's own, latest the newest that leads to the target"},
	{"exclusive", 0, OPT_FLAG, SCOPE_COMMAND, TARGETS, NULL, NULL, NULL, "stop just before the target"},
	{"target-action", 0, OPT_CHOICE, SCOPE_COMMAND, CMD_RESTORE, "promote", "promote|pause|shutdown", "ACTION", "what Postgres does when the target is reached"},
	{"tablespace", 0, OPT_LIST, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "OLD=NEW", "put a tablespace into another directory, repeatable"},
	{"tablespace-all", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "DIR", "put every other tablespace into DIR/OID"},
	{"wal-dir", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "DIR", "put pg_wal there and make a link to it"},
	{"delta", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE | CMD_OBJECTS, NULL, NULL, NULL, "over what is there: write only what differs (Postgres, buckets)"},
	{"force", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "also over another cluster's data directory, or another version's"},
	{"database", 0, OPT_LIST, SCOPE_COMMAND, CMD_RESTORE | CMD_EXPORT, NULL, NULL, "NAME", "Postgres: only this database comes back whole, repeatable"},
	{"table", 0, OPT_LIST, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "DB.SCHEMA.TABLE", "Postgres: only this table, to --output or --into, repeatable"},
	{"output", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "FILE", "write the tables to this new file, as SQL"},
	{"into", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "CONNINFO", "load the tables into this database, in one transaction"},
	{"rdb", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "FILE", "Redis, running: load this RDB file instead of a backup (undoes a restore)"},
	{"expired", 0, OPT_CHOICE, SCOPE_COMMAND, CMD_RESTORE, "drop", "drop|shift", "WHAT", "Redis: keys whose time is over by now vanish, or all have as much time left as they had then"},
	{"output", 0, OPT_TEXT, SCOPE_COMMAND, CMD_REDIS, NULL, NULL, "FILE", "snapshot: into this new RDB file (-: standard output), not into the repository"},
	{"force", 0, OPT_FLAG, SCOPE_COMMAND, CMD_REDIS, NULL, NULL, NULL, "snapshot --output: replace a file that exists"},
	{"rdb", 0, OPT_TEXT, SCOPE_COMMAND, CMD_REDIS, NULL, NULL, "FILE", "info, ls: look into this RDB file; restore: load it instead of a backup"},
	{"db", 0, OPT_TEXT, SCOPE_COMMAND, CMD_REDIS, NULL, NULL, "N", "ls: only this database"},
	{"long", 'l', OPT_FLAG, SCOPE_COMMAND, CMD_REDIS, NULL, NULL, NULL, "ls: also type, expiry and serialized size"},
	{"start", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "start the restored Postgres and wait until the target is reached"},
	{"start-timeout", 0, OPT_DURATION, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "TIME", "wait at most so long (default: as long as it takes)"},
	{"port", 0, OPT_INTEGER, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "PORT", "the port of the restored Postgres, instead of the original's"},
	{"standby", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "CONNINFO", "Postgres: a standby that streams from this primary, not a server of its own"},
	{"only", 0, OPT_LIST, SCOPE_COMMAND, CMD_RESTORE | CMD_OBJECTS | CMD_REDIS, NULL, NULL, "PATTERN", "only paths and keys that match, repeatable (files, objects, a running Redis)"},
	{"at", 0, OPT_TEXT, SCOPE_COMMAND, CMD_OBJECTS | CMD_REDIS, NULL, NULL, "MARK|BACKUP|TIME", "as of this moment (default: the newest backup)"},
	{"versions", 0, OPT_FLAG, SCOPE_COMMAND, CMD_OBJECTS, NULL, NULL, NULL, "ls: every version and delete marker, not only what is current"},
	{"version-id", 0, OPT_TEXT, SCOPE_COMMAND, CMD_OBJECTS, NULL, NULL, "ID", "cat: this version"},
	{"apply", 0, OPT_FLAG, SCOPE_COMMAND, CMD_OBJECTS, NULL, NULL, NULL, "iam: import it into the server"},
	{"dry-run", 'n', OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE | CMD_ROLLBACK | CMD_OBJECTS | CMD_REDIS | CMD_EXPIRE, NULL, NULL, NULL, "plan and show, write nothing"},
	{"yes", 'y', OPT_FLAG, SCOPE_COMMAND, CMD_KEY | CMD_RESTORE | CMD_ROLLBACK | CMD_OBJECTS | CMD_REDIS | CMD_EXPIRE, NULL, NULL, NULL, "do not ask"},
	{"grace", 0, OPT_DURATION, SCOPE_COMMAND, CMD_EXPIRE, "24h", NULL, "TIME", "from the moment that nothing needs a blob to its end; less than 24h must be confirmed"},
	{"reason", 0, OPT_TEXT, SCOPE_COMMAND, CMD_PIN, NULL, NULL, "TEXT", "why it is kept, for those who come later"},
	{"until", 0, OPT_TIME, SCOPE_COMMAND, CMD_PIN, NULL, NULL, "TIME", "until then (default: until it is unpinned)"},
	{"repository", 0, OPT_TEXT, SCOPE_COMMAND, READS, NULL, NULL, "NAME", "read this copy of the repository, [repository:NAME]"},
	{"force", 0, OPT_FLAG, SCOPE_COMMAND, CMD_EXPORT | CMD_IMPORT, NULL, NULL, NULL, "export: replace a file that exists; import: also where there is something already (databases are renamed, objects and files replaced)"},
	{"encrypt", 0, OPT_FLAG, SCOPE_COMMAND, CMD_EXPORT, NULL, NULL, NULL, "encrypt, also when the name does not end in .enc"},
	{"dry-run", 'n', OPT_FLAG, SCOPE_COMMAND, CMD_IMPORT, NULL, NULL, NULL, "check every checksum and say what is in it, touch nothing"},
	{"yes", 'y', OPT_FLAG, SCOPE_COMMAND, CMD_IMPORT, NULL, NULL, NULL, "do not ask"},
	{"backup-conf", 0, OPT_TEXT, SCOPE_COMMAND, CMD_COMPAT, NULL, NULL, "FILE", "the backup.conf of the scripts (default: $BACKUP_CONF, else the environment alone)"},
	{"from-backup-conf", 0, OPT_TEXT, SCOPE_COMMAND, CMD_INIT, NULL, NULL, "FILE", "take over the backup.conf of shell scripts, and their variables in the environment"},
	{"read-data", 0, OPT_CHOICE, SCOPE_COMMAND, CMD_VERIFY, "changed", "full|changed|none", "HOW", "read every blob; the packs of the backups named; or only commits and manifests"},
	{"older-than", 0, OPT_DURATION, SCOPE_COMMAND, CMD_VERIFY, NULL, NULL, "TIME", "read only what was not read for so long; the oldest first"},
	{"budget", 0, OPT_TEXT, SCOPE_COMMAND, CMD_VERIFY, NULL, NULL, "TIME|SIZE", "stop after so long (30min) or so much (200GiB), and go on there next time"},
	{"restore", 0, OPT_FLAG, SCOPE_COMMAND, CMD_VERIFY, NULL, NULL, NULL, "the drill: restore everything into a scratch directory, start it, look at it, remove it"},
	{"health", 0, OPT_TEXT, SCOPE_COMMAND, CMD_VERIFY, NULL, NULL, "COMMAND", "--restore: ask this command, run by /bin/sh, whether what was restored is good"},
	{"health-timeout", 0, OPT_DURATION, SCOPE_COMMAND, CMD_VERIFY, "10min", NULL, "TIME", "--restore: how long that command may take"},
	{"history", 0, OPT_FLAG, SCOPE_COMMAND, CMD_VERIFY, NULL, NULL, NULL, "show the drills that were made, and what they measured"},
	{"restore", 0, OPT_TEXT, SCOPE_COMMAND, CMD_WAL_GET, NULL, NULL, "ID", "serve the plan of this restore (restore_command has it)"},

	{"systemd", 0, OPT_FLAG, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, NULL, "install: a timer and a service for each schedule"},
	{"cron", 0, OPT_FLAG, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, NULL, "install: one line of cron, which calls run-due each minute"},
	{"user", 0, OPT_TEXT, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, "NAME", "install: who runs it (default: postgres where there is a cluster, else the owner of the configuration)"},
	{"root", 0, OPT_TEXT, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, "DIR", "install, uninstall: below this directory instead of /, for packages"},
	{"dry-run", 'n', OPT_FLAG, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, NULL, "install, uninstall: show the files, write nothing"},
	{"yes", 'y', OPT_FLAG, SCOPE_COMMAND, CMD_SCHEDULE, NULL, NULL, NULL, "do not ask"},
	{"continue", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "go on with a restore that was interrupted (the word is then its id)"},
	{"no-snapshot", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "what is in the own places now is removed, not kept: there is no way back"},
	{"no-hooks", 0, OPT_FLAG, SCOPE_COMMAND, CMD_BACKUP | CMD_RESTORE | CMD_ROLLBACK, NULL, NULL, NULL, "run none of [hooks]"},
	{"rollback-on-failure", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "when a step or a health check fails, put everything back at once"},
	{"verify-only", 0, OPT_FLAG, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, NULL, "plan, look at everything, read all that would be restored; write nothing"},
	{"report", 0, OPT_TEXT, SCOPE_COMMAND, CMD_RESTORE, NULL, NULL, "FILE.html", "also write the report of the restore as a page"},
	{"list", 0, OPT_FLAG, SCOPE_COMMAND, CMD_CHECK, NULL, NULL, NULL, "show every condition, why it matters and what mends it; look at nothing"},
	{"list", 0, OPT_FLAG, SCOPE_COMMAND, CMD_ROLLBACK, NULL, NULL, NULL, "show the restores that there were, and what is kept of them"},
	{"forget", 0, OPT_FLAG, SCOPE_COMMAND, CMD_ROLLBACK, NULL, NULL, NULL, "remove what the restore has kept: it cannot be rolled back any more"},

	{"html", 0, OPT_TEXT, SCOPE_COMMAND, CMD_REPORT, NULL, NULL, "FILE", "write the report as one page with nothing from outside (-: standard output)"},
	{"repository", 0, OPT_TEXT, SCOPE_COMMAND, CMD_REPORT, NULL, NULL, "NAME", "look at this copy of the repository, [repository:NAME]"},
	{"format", 0, OPT_CHOICE, SCOPE_COMMAND, CMD_HELP, "text", "text|man|markdown", "FORMAT", "for the terminal, as a manual page, or as a page for the web"},
	{"yes", 'y', OPT_FLAG, SCOPE_COMMAND, CMD_INIT, NULL, NULL, NULL, "do not ask, also on a terminal"},

	{"workers", 'w', OPT_INTEGER, SCOPE_GLOBAL, CMD_ANY, "auto", "auto|1..64", "N", "threads that read, compress and write (auto: cores, at most 4)"},
	{"log-level", 0, OPT_CHOICE, SCOPE_GLOBAL, CMD_ANY, "info", "error|warning|info|debug", "LEVEL", "how much to say on stderr"},
	{"log-format", 0, OPT_CHOICE, SCOPE_GLOBAL, CMD_ANY, "text", "text|json", "FORMAT", "lines for people or for machines"},
	{"spool", 0, OPT_TEXT, SCOPE_GLOBAL, CMD_ANY, "/var/lib/mbackup/spool", NULL, "DIR", "local directory for state, locks and temporary files"},
	{"export-passphrase", 0, OPT_SECRET, SCOPE_GLOBAL, CMD_EXPORT | CMD_IMPORT, NULL, NULL, "SECRET", "what archives of \"mbackup export\" are encrypted with"},
	{"catch-up-interval", 0, OPT_DURATION, SCOPE_GLOBAL, CMD_ANY, "30s", NULL, "TIME", "how often a copy of the repository that is behind is tried again"},
	{"drill-directory", 0, OPT_TEXT, SCOPE_GLOBAL, CMD_VERIFY, NULL, NULL, "DIR", "where drills restore to (default: $TMPDIR or /var/tmp)"},
	{"drill-age", 0, OPT_DURATION, SCOPE_GLOBAL, CMD_CHECK | CMD_DAEMON, "0", NULL, "TIME", "check warns when the last drill that passed is older; 0: never"},
	{"verify-age", 0, OPT_DURATION, SCOPE_GLOBAL, CMD_CHECK | CMD_DAEMON, "35d", NULL, "TIME", "check warns when stored data was not read for so long; 0: never"},
	{"accept-warnings", 0, OPT_TEXT, SCOPE_GLOBAL, CMD_CHECK, NULL, NULL, "IDS", "warnings of check that are known and stay: told as accepted, and no problem"},

	{"url", 0, OPT_TEXT, SCOPE_REPOSITORY, CMD_ANY, NULL, NULL, "URL", "where backups are kept: a directory, or s3://BUCKET[/PREFIX]"},
	{"encryption", 0, OPT_CHOICE, SCOPE_REPOSITORY, CMD_ANY, "aes-256-gcm", "aes-256-gcm|none", "HOW", "chosen at init, fixed afterwards"},
	{"passphrase", 0, OPT_SECRET, SCOPE_REPOSITORY, CMD_ANY, NULL, NULL, "SECRET", "what unlocks an encrypted repository"},
	{"key-file", 0, OPT_TEXT, SCOPE_REPOSITORY, CMD_ANY, NULL, NULL, "FILE", "a file of 32 random bytes or more, instead of a passphrase"},
	{"compression", 0, OPT_TEXT, SCOPE_REPOSITORY, CMD_ANY, "zstd:1", NULL, "HOW", "zstd:1 to zstd:19, or none"},
	{"id", 0, OPT_TEXT, SCOPE_REPOSITORY, CMD_ANY, NULL, NULL, "UUID", "refuse any other repository at that place"},
	S3_ROWS(SCOPE_REPOSITORY, CMD_ANY),
	{"object-lock", 0, OPT_CHOICE, SCOPE_REPOSITORY, CMD_ANY, "none", "none|governance|compliance", "MODE", "s3://: lock packs and commits, in a bucket with object lock"},
	{"object-lock-days", 0, OPT_INTEGER, SCOPE_REPOSITORY, CMD_ANY, "30", NULL, "DAYS", "s3://: for how long"},

	{"catalog", 0, OPT_TEXT, SCOPE_DAEMON, 0, NULL, NULL, "CONNINFO", "the database with the extension mbackup (default: conninfo of [postgres])"},
	{"streams", 0, OPT_CHOICE, SCOPE_DAEMON, 0, "yes", "yes|no", "WHETHER", "run \"mbackup stream\" and keep it running"},
	{"sync-interval", 0, OPT_DURATION, SCOPE_DAEMON, 0, "60s", NULL, "TIME", "how often the catalog learns what the repository has"},
	{"check-interval", 0, OPT_DURATION, SCOPE_DAEMON, 0, "1h", NULL, "TIME", "how often the findings of \"mbackup check\" are looked for"},
	{"backup-age", 0, OPT_DURATION, SCOPE_DAEMON, 0, "26h", NULL, "TIME", "an older newest backup is a problem; 0: never"},
	{"max-lag", 0, OPT_DURATION, SCOPE_DAEMON, 0, "5min", NULL, "TIME", "a stream that is further behind is a problem; 0: never"},
	{"listen", 0, OPT_TEXT, SCOPE_DAEMON, 0, "127.0.0.1:8432", NULL, "ADDRESS:PORT", "where the status page and the metrics are, or none"},
	{"notify-command", 0, OPT_TEXT, SCOPE_DAEMON, 0, NULL, NULL, "COMMAND", "run by /bin/sh when a problem comes, changes or goes"},
	{"notify-webhook", 0, OPT_SECRET, SCOPE_DAEMON, 0, NULL, NULL, "URL", "the same as JSON, posted to this URL"},
	{"notify-mail", 0, OPT_TEXT, SCOPE_DAEMON, 0, NULL, NULL, "ADDRESSES", "the same as mail, to these addresses (commas between them)"},
	{"sendmail", 0, OPT_TEXT, SCOPE_DAEMON, 0, "/usr/sbin/sendmail", NULL, "PROGRAM", "what sends mail: it is run with -t -i"},
	{"notify-after", 0, OPT_DURATION, SCOPE_DAEMON, 0, "1min", NULL, "TIME", "a problem, or its end, is told when it is so old"},
	{"notify-interval", 0, OPT_DURATION, SCOPE_DAEMON, 0, "5min", NULL, "TIME", "from one message to the next, but for one when something new failed"},
	{"notify-reminder", 0, OPT_DURATION, SCOPE_DAEMON, 0, "24h", NULL, "TIME", "what lasts is told again so often; 0: never"},

	{"full", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "full backups: a cron expression, or a calendar expression of systemd"},
	{"incremental", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "incremental backups"},
	{"mark", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "marks, named schedule-TIME"},
	{"expire", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "remove what the retention does not keep"},
	{"verify", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "verify the repository"},
	{"drill", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "try a restore: verify --restore"},
	{"check", 0, OPT_TEXT, SCOPE_SCHEDULE, 0, NULL, NULL, "WHEN", "test every precondition"},

	{"days", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "DAYS", "keep every backup that is younger"},
	{"last", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "keep the newest N, whatever their age"},
	{"hourly", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "keep the newest of each hour, for N hours that have one"},
	{"daily", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "the same by day"},
	{"weekly", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "the same by week, from Monday"},
	{"monthly", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "the same by month"},
	{"yearly", 0, OPT_INTEGER, SCOPE_RETENTION, 0, NULL, NULL, "N", "the same by year"},
	{"window", 0, OPT_DURATION, SCOPE_RETENTION, 0, NULL, NULL, "TIME", "any moment of so long can be restored (default: from the oldest backup that days or last keeps)"},
	{"after-backup", 0, OPT_CHOICE, SCOPE_RETENTION, 0, "no", "yes|no", "WHETHER", "expire at the end of every backup"},

	{"conninfo", 0, OPT_TEXT, SCOPE_POSTGRES, 0, "", NULL, "CONNINFO", "how to connect: a direct connection, no pooler"},
	{"method", 0, OPT_CHOICE, SCOPE_POSTGRES, 0, "auto", "auto|direct|basebackup", "HOW", "read the data directory, or over the wire"},
	{"standby", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "CONNINFO", "read the files from this standby; the cut and the WAL stay with conninfo"},
	{"wire-compression", 0, OPT_TEXT, SCOPE_POSTGRES, 0, "none", NULL, "HOW", "what the server compresses a base backup with on the wire: none, or zstd, lz4, gzip[:LEVEL]"},
	{"slot", 0, OPT_TEXT, SCOPE_POSTGRES, 0, "mbackup", NULL, "NAME", "replication slot of the stream"},
	{"tail-interval", 0, OPT_DURATION, SCOPE_POSTGRES, 0, "1s", NULL, "TIME", "how often the unfinished WAL segment goes to the repository"},
	{"verify-unchanged", 0, OPT_DURATION, SCOPE_POSTGRES, 0, "7d", NULL, "TIME", "how often incremental backups read even files that did not change; 0: always"},
	{"bindir", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "DIR", "where the programs of Postgres are (default: $PG_BIN, $PATH, the usual places)"},
	{"ack", 0, OPT_CHOICE, SCOPE_POSTGRES, 0, "repository", "repository|spool", "WHERE", "where WAL must be durable before the server is told that it is flushed"},
	{"spool-limit", 0, OPT_SIZE, SCOPE_POSTGRES, 0, "4GiB", NULL, "SIZE", "with ack = spool: how much may wait there for the repository"},
	{"password", 0, OPT_SECRET, SCOPE_POSTGRES, 0, NULL, NULL, "SECRET", "when ~/.pgpass and peer are no option"},
	{"service", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "SERVICE", "how a restore stops and starts the server: systemd:NAME, compose:FILE#SERVICE, pg_ctlcluster:VERSION/NAME, pg_ctl or command"},
	{"service-stop", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "COMMAND", "with service = command: stops it"},
	{"service-start", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "COMMAND", "with service = command: starts it"},
	{"service-status", 0, OPT_TEXT, SCOPE_POSTGRES, 0, NULL, NULL, "COMMAND", "with service = command: exit status 0 when it runs"},

	{"url", 0, OPT_TEXT, SCOPE_OBJECTS, 0, NULL, NULL, "URL", "s3://BUCKET[/PREFIX], or file:///DIR: a directory stands for a bucket"},
	S3_ROWS(SCOPE_OBJECTS, 0),
	{"versions", 0, OPT_CHOICE, SCOPE_OBJECTS, 0, "all", "all|current", "WHICH", "s3://: every version and delete marker, or current objects only"},
	{"check-tags", 0, OPT_CHOICE, SCOPE_OBJECTS, 0, "auto", "auto|always|never", "WHEN", "s3://: ask for tags and locks of unchanged versions where the listing does not tell"},
	{"consistency", 0, OPT_CHOICE, SCOPE_OBJECTS, 0, "ordered", "ordered|journalled", "HOW", "how objects are placed against the cut: by time, or by MinIO's events in the database"},
	{"iam", 0, OPT_CHOICE, SCOPE_OBJECTS, 0, "no", "no|yes", "WHETHER", "s3://: also the users, groups and policies of the whole MinIO, with their secrets (encrypted repositories only)"},
	{"journal", 0, OPT_TEXT, SCOPE_OBJECTS, 0, NULL, NULL, "CONNINFO", "journalled: the database that MinIO writes its events to (default: conninfo of [postgres])"},
	{"clock-margin", 0, OPT_DURATION, SCOPE_OBJECTS, 0, "1s", NULL, "TIME", "uncertainty around the cut: creations up to this much later still count"},
	{"scan-interval", 0, OPT_DURATION, SCOPE_OBJECTS, 0, "10s", NULL, "TIME", "how often \"mbackup stream\" looks for changes"},
	{"reconcile-interval", 0, OPT_DURATION, SCOPE_OBJECTS, 0, "10min", NULL, "TIME", "how often \"mbackup stream\" lists all of a bucket whose server tells what happens; 0: every time"},

	{"url", 0, OPT_TEXT, SCOPE_REDIS, 0, "redis://127.0.0.1:6379", NULL, "URL", "redis://[USER@]HOST:PORT, rediss:// for TLS, unix:///SOCKET, sentinel://HOST:PORT,.../MASTER or cluster://HOST:PORT,..."},
	{"user", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "NAME", "ACL user"},
	{"password", 0, OPT_SECRET, SCOPE_REDIS, 0, NULL, NULL, "SECRET", "of that user, or of the server"},
	{"sentinel-user", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "NAME", "ACL user of the sentinels"},
	{"sentinel-password", 0, OPT_SECRET, SCOPE_REDIS, 0, NULL, NULL, "SECRET", "of that user, or of the sentinels"},
	{"ca-file", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "FILE", "rediss://: certificates (PEM) to trust in place of the system's"},
	{"client-cert", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "FILE", "rediss://: our certificate (PEM), when the server wants one"},
	{"client-key", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "FILE", "rediss://: its key (PEM), which not everybody may read"},
	{"tls-server-name", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "NAME", "rediss://: what the certificate names, when that is not the host of url"},
	{"side", 0, OPT_CHOICE, SCOPE_REDIS, 0, "before", "before|after", "SIDE", "which end of the cut's bracket Redis is restored to"},
	{"role", 0, OPT_CHOICE, SCOPE_REDIS, 0, "data", "data|cache", "ROLE", "cache: comes back empty, because no cut makes a stale cache right"},
	{"capture", 0, OPT_CHOICE, SCOPE_REDIS, 0, "replica", "replica|rdb", "HOW", "rdb: a snapshot and no stream, key by key where the server refuses PSYNC"},
	{"redis-server", 0, OPT_TEXT, SCOPE_REDIS, 0, "redis-server", NULL, "PROGRAM", "the program that loads a backup which goes into a running server"},
	{"dir", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "DIR", "the server's data directory, where a restore goes when a service stops the server"},
	{"service", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "SERVICE", "how a restore stops and starts the server: systemd:NAME, compose:FILE#SERVICE, pg_ctlcluster:VERSION/NAME, pg_ctl or command"},
	{"service-stop", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "COMMAND", "with service = command: stops it"},
	{"service-start", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "COMMAND", "with service = command: starts it"},
	{"service-status", 0, OPT_TEXT, SCOPE_REDIS, 0, NULL, NULL, "COMMAND", "with service = command: exit status 0 when it runs"},

	{"paths", 0, OPT_LIST, SCOPE_FILES, 0, NULL, NULL, "PATHS", "files, trees and globs; ** is any number of directories"},
	{"exclude", 0, OPT_LIST, SCOPE_FILES, 0, NULL, NULL, "PATTERNS", "what to leave out, as in .gitignore: NAME, DIRECTORY/, /PATH, **, and !PATTERN for what stays"},
	{"exclude-caches", 0, OPT_CHOICE, SCOPE_FILES, 0, "no", "no|yes", "WHETHER", "of directories with a CACHEDIR.TAG nothing but the directory"},
	{"one-file-system", 0, OPT_CHOICE, SCOPE_FILES, 0, "no", "no|yes", "WHETHER", "stay on the filesystems that paths are on"},
	{"secrets", 0, OPT_CHOICE, SCOPE_FILES, 0, "mask", "mask|include", "HOW", "mask values of keys like *PASSWORD* in configuration files, or include them (encrypted repositories only)"},
	{"mask", 0, OPT_LIST, SCOPE_FILES, 0, NULL, NULL, "KEYS", "names of further keys that are secrets, such as *_dsn; !KEY for what is none"},
	{"mask-files", 0, OPT_LIST, SCOPE_FILES, 0, NULL, NULL, "PATTERNS", "further files that are masked, as in exclude"},
	{"scan-interval", 0, OPT_DURATION, SCOPE_FILES, 0, "60s", NULL, "TIME", "how often \"mbackup stream\" looks for changes"},

	{"application", 0, OPT_LIST, SCOPE_SERVICES, 0, NULL, NULL, "SERVICES", "what is stopped before anything is restored, and started last"},
	{"timeout", 0, OPT_DURATION, SCOPE_SERVICES, 0, "5min", NULL, "TIME", "how long stopping or starting one may take; 0: as long as it takes"},

	{"before-backup", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "before a backup; when it fails there is none"},
	{"after-backup", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "after a backup, whatever came of it"},
	{"before-restore", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "before anything is touched; when it fails nothing is"},
	{"after-restore", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "when everything is restored, started and well"},
	{"stop-services", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "stops what [services] and service do not"},
	{"start-services", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "starts it again"},
	{"health-check", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "is the stack well?  Exit status 0: yes"},
	{"on-failure", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "after a backup or a restore that failed"},
	{"on-success", 0, OPT_TEXT, SCOPE_HOOKS, 0, NULL, NULL, "COMMAND", "after one that did not"},
	{"timeout", 0, OPT_DURATION, SCOPE_HOOKS, 0, "10min", NULL, "TIME", "a hook that takes longer is killed and has failed; 0: never"},

	{"sql", 0, OPT_TEXT, SCOPE_REFERENCE, 0, NULL, NULL, "QUERY", "yields bucket and key of every object that the rows name, and version, etag, size where they say them"},
	{"sql-file", 0, OPT_TEXT, SCOPE_REFERENCE, 0, NULL, NULL, "FILE", "the same query, in a file"},
	{"database", 0, OPT_TEXT, SCOPE_REFERENCE, 0, NULL, NULL, "NAME", "where it is asked (default: the database of conninfo)"},
};
/* clang-format on */

const size_t mb_option_count = sizeof(mb_options) / sizeof(mb_options[0]);

const struct mb_option *
mb_option_find(enum mb_scope scope, const char *name)
{
	size_t i;

	for (i = 0; i < mb_option_count; i++)
		if (mb_options[i].scope == scope && strcmp(mb_options[i].name, name) == 0)
			return &mb_options[i];
	return NULL;
}

const struct mb_option *
mb_option_find_key(enum mb_scope scope, const char *key, const char **suffix)
{
	static const char *const suffixes[] = {"-file", "-command"};
	const struct mb_option *option = mb_option_find(scope, key);
	size_t i;

	*suffix = "";
	for (i = 0; !option && i < 2; i++)
		if (mb_ends_with(key, suffixes[i]))
		{
			char *stem = mb_strndup(key, strlen(key) - strlen(suffixes[i]));

			option = mb_option_find(scope, stem);
			free(stem);
			if (option && option->type != OPT_SECRET)
				option = NULL;
			*suffix = suffixes[i];
		}
	return option;
}

const char *
mb_option_nearest(enum mb_scope scope, const char *name)
{
	struct mb_nearest nearest = {.word = name};
	size_t i;

	for (i = 0; i < mb_option_count; i++)
		if (mb_options[i].scope == scope)
			mb_nearest_try(&nearest, mb_options[i].name);
	return nearest.best;
}

void
mb_option_long_name(const struct mb_option *option, char out[80])
{
	const char *prefix = option->scope == SCOPE_REPOSITORY ? "repository-"
						 : option->scope == SCOPE_DAEMON   ? "daemon-"
						 : option->scope == SCOPE_SCHEDULE ? "schedule-"
						 : option->scope == SCOPE_HOOKS    ? "hooks-"
						 : option->scope == SCOPE_SERVICES ? "services-"
														   : "";

	snprintf(out, 80, "%s%s", prefix, option->name);
}

void
mb_option_variable(const struct mb_option *option, char out[100])
{
	char long_name[80];
	char *p;

	mb_option_long_name(option, long_name);
	/* Older than the rule. */
	snprintf(out, 100, "MBACKUP_%s",
			 strcmp(long_name, "repository-passphrase") == 0 ? "PASSPHRASE" : long_name);
	for (p = out; *p; p++)
		*p = *p == '-' ? '_' : (char) toupper((unsigned char) *p);
}

bool
mb_option_is_of_place(const struct mb_option *option)
{
	static const char *const shared[] = {"encryption", "passphrase", "key-file", "compression",
										 "id"};
	size_t i;

	for (i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
		if (strcmp(option->name, shared[i]) == 0)
			return false;
	return option->scope == SCOPE_REPOSITORY;
}
