#!/bin/bash
# An old backup.conf and its cron line go on working: archives of the same names, for openssl and tar, by type,
# with retention and one line of output; and they come back. init makes a mbackup.conf of the same file and
# says what became of every line. No secret is in an argument, a log or an error.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
key="the-old-key-$RANDOM$RANDOM" redispass="redis-secret-$RANDOM" s3secret="s3-secret-$RANDOM"
export REDISCLI_AUTH=$redispass
stack_redis --requirepass "$redispass" || exit 1
# What is synced is not what this tests: no waiting for the disk.
export LD_PRELOAD=$BUILD/fault.so MBACKUP_FAULT_NOSYNC=1
echo "fsync = off" >>"$PGDATA/postgresql.conf"; pg_ctl -D "$PGDATA" reload >/dev/null
export TMPDIR=$T/tmp; mkdir "$TMPDIR" "$T/objects" "$T/etc"
createdb shop
sql "CREATE TABLE t AS SELECT generate_series(1, 5000) AS i" -d shop
echo object >"$T/objects/one"; echo "option = 1" >"$T/etc/app.conf"
rcli set k v >/dev/null
conf=$T/backup.conf
cat >"$conf" <<-EOF
	#!/bin/bash
	# settings of the nightly backup
	export BACKUP_DIR="$T/backups"   # where
	BACKUP_TYPE=\${BACKUP_TYPE:-full}
	RETENTION_DAYS=7
	COMPRESS=true; ENCRYPT=true
	ENCRYPTION_KEY='$key'
	POSTGRES_HOST=$PGHOST
	POSTGRES_PORT=$PGPORT
	POSTGRES_USER=mbtest
	POSTGRES_DB=shop
	REDIS_HOST=127.0.0.1 REDIS_PORT=$REDIS_PORT
	REDIS_PASSWORD="$redispass"
	MINIO_DATA_DIR=$T/objects
	CONFIG_PATHS=($T/etc)
	S3_SECRET_KEY=$s3secret
	SKIP_VERIFICATION=false
	LOG_FILE=/var/log/backup.log
	HOSTNAME_SHORT=\$(touch $T/executed)
	if [ -n "\$X" ]; then ENCRYPT=false; fi
	. /etc/other.conf
EOF
chmod 600 "$conf"
compat() { run env BACKUP_CONF="$conf" "$MBACKUP" compat "$@"; }
opened() { OLD="$key" openssl enc -d -aes-256-cbc -pbkdf2 -pass env:OLD -in "$1"; }

# -- a run as cron did it ---------------------------------------------------------------------------------
compat backup
is "$status" 0 "a run with the old file"
[ "$status" = 0 ] || diag "$err"
archive=$out
like "$archive" "^$T/backups/backup-[0-9]{8}_[0-9]{6}\.tar\.gz\.enc$" "prints one line: the archive"
is "$(wc -l <<<"$out")" 1 "... and nothing else"
is "$(ls -d "$T"/backups/.mbackup-work-* 2>/dev/null)" "" "no repository is left"
ok "nothing of the file was executed" test ! -e "$T/executed"
mkdir "$T/o"
opened "$archive" | tar -xzf - -C "$T/o"
is "${PIPESTATUS[*]}" "0 0" "openssl and tar open it"
is "$(cd "$T/o" && ls -d */ | tr -d '\n')" "configs/metadata/minio/postgres/redis/" "with the folders that it always had"
is "$(ls "$T/o/postgres" | tr '\n' ' ')" "globals.sql shop.dump shop.sql " "POSTGRES_DB: this database only"
is "$(cat "$T/o/minio/minio/one")" object "... an object"
ok "sha256sum -c" bash -c "cd '$T/o' && sha256sum -c --quiet metadata/SHA256SUMS"
is "$(grep -rlaF -e "$key" -e "$redispass" "$T/run.err" "$T/run.out" "$T/backups" "$TMPDIR" 2>/dev/null)" "" "no secret in the output, the archive's folder or a log"

# The arguments of everything that runs meanwhile.
env BACKUP_CONF="$conf" BACKUP_TYPE=postgres "$MBACKUP" compat backup >"$T/second.out" 2>"$T/second.err" & pid=$!
: >"$T/args"
wait_for 20 bash -c "ls -d '$T'/backups/.mbackup-work-*"
while kill -0 "$pid" 2>/dev/null
do
	cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' >>"$T/args"
	[ -n "${seen:-}" ] || { env BACKUP_CONF="$conf" "$MBACKUP" compat restore nothing >/dev/null 2>"$T/overlap.err"; [ "$?" = 4 ] && grep -q "another mbackup compat" "$T/overlap.err" && seen=1; }
	sleep 0.05
done
wait "$pid"
is "$?" 0 "BACKUP_TYPE=postgres from the environment"
is "${seen:-0}" 1 "a second one meanwhile is refused (exit 4)"
is "$(grep -cF -e "$key" -e "$redispass" "$T/args")" 0 "no secret in any argument"
ok "... while there were some to look at" grep -q 'export' "$T/args"
is "$(opened "$(cat "$T/second.out")" | tar -tzf - | cut -d/ -f1 | sort -u | tr '\n' ' ')" "metadata postgres " "... has only that"
compat backup "ENCRYPTION_KEY=$key"
is "$status" 2 "a key among the arguments is refused"
like "$err" "ENCRYPTION_KEY stands among the arguments" "... and says why"
is "$(grep -cF "$key" <<<"$err")" 0 "... without repeating it"
run env BACKUP_CONF="$conf" BACKUP_TYPE=sideways "$MBACKUP" compat backup
is "$status" 2 "an unknown type"
sed -i '/^ENCRYPTION_KEY/d' "$conf"
compat backup
is "$status" 2 "ENCRYPT without a key"
export ENCRYPTION_KEY=$key

# -- retention ----------------------------------------------------------------------------------------------
for name in backup-20200101_000000.tar.gz backup-20200101_000000.tar.gz.sha256 backup-notes.tar.gz other.tar.gz backup-20200102-030405.tar.gz.enc
do
	echo old >"$T/backups/$name"; touch -d '2020-01-01' "$T/backups/$name"
done
echo new >"$T/backups/backup-20200103_000000.tar.gz"
run env BACKUP_CONF="$conf" BACKUP_TYPE=configs "$MBACKUP" compat backup --json
is "$status" 0 "one with old archives beside it"
is "$(json compat.removed <<<"$out" | tr -d '[]" ' | tr ',' '\n' | sort | xargs -n 1 basename | tr '\n' ' ')" "backup-20200101_000000.tar.gz backup-20200102-030405.tar.gz.enc " "RETENTION_DAYS removes them"
is "$(ls "$T/backups" | grep -c -e notes -e other -e 20200103)" 3 "... and nothing else"
ok "the sum goes with its archive" test ! -e "$T/backups/backup-20200101_000000.tar.gz.sha256"
touch -d '2020-01-01' "$T"/backups/backup-20200103_000000.tar.gz
run env BACKUP_CONF="$conf" BACKUP_TYPE=sideways "$MBACKUP" compat backup
ok "a run that fails removes nothing" test -e "$T/backups/backup-20200103_000000.tar.gz"

# -- and back -------------------------------------------------------------------------------------------------
sql "DROP TABLE t" -d shop; rcli set k changed >/dev/null; rm "$T/objects/one"; echo broken >"$T/etc/app.conf"
run env BACKUP_CONF="$conf" RESTORE_MODE=verify "$MBACKUP" compat restore "$archive"
is "$status" 0 "RESTORE_MODE=verify"
is "$(rcli get k)" changed "... touches nothing"
run env BACKUP_CONF="$conf" RESTORE_MODE=redis "$MBACKUP" compat restore "$archive"
is "$status" 0 "RESTORE_MODE=redis"
[ "$status" = 0 ] || diag "$err"
is "$(rcli get k)" v "... brings Redis back"
ok "... and only that" test ! -e "$T/objects/one"
run env BACKUP_CONF="$conf" CREATE_SNAPSHOT=true "$MBACKUP" compat restore "$archive" --json
is "$status" 0 "the whole, with CREATE_SNAPSHOT"
[ "$status" = 0 ] || diag "$err"
ok "... a snapshot was made first" test -f "$(json compat.snapshot <<<"$out")"
is "$(sql "SELECT count(*) FROM t" -d shop)" 5000 "the database is back"
is "$(cat "$T/objects/one"):$(cat "$T/etc/app.conf")" "object:option = 1" "... objects and files too"

# kill -9: the next one cleans up.
env BACKUP_CONF="$conf" "$MBACKUP" compat backup >/dev/null 2>&1 & pid=$!
wait_for 20 bash -c "ls -d '$T'/backups/.mbackup-work-*/repository"
kill -9 "$pid"; wait "$pid" 2>/dev/null
# Its children are told to stop when it dies.
is_free() { ! pgrep -u "$(id -u)" -f "$T/backups/.mbackup-work"; }
wait_for 30 is_free
compat backup
is "$status" 0 "after a kill -9 the next one just works"
is "$(ls -d "$T"/backups/.mbackup-work-* 2>/dev/null)" "" "... and cleans up"

# -- init --from-backup-conf -----------------------------------------------------------------------------------
printf "ENCRYPTION_KEY='%s'\n" "$key" >>"$conf"
unset ENCRYPTION_KEY
run "$MBACKUP" --config "$T/new.conf" init --from-backup-conf "$conf" --spool "$T/newspool"
is "$status" 0 "init --from-backup-conf"
[ "$status" = 0 ] || diag "$err"
like "$out" "taken +POSTGRES_DB +shop" "says what it took"
like "$out" "left out +LOG_FILE" "... and what it did not"
like "$out" "left out +HOSTNAME_SHORT +line [0-9]+: it runs a command" "... a command, with its line"
like "$out" "left out +line [0-9]+: it is no assignment" "... what only a shell can do"
is "$(grep -cF -e "$key" -e "$redispass" <<<"$out$err")" 0 "... without secrets"
is "$(stat -c %a "$T/new.conf")" 600 "mbackup.conf is private"
ok "nothing was executed" test ! -e "$T/executed"
run "$MBACKUP" --config "$T/new.conf" backup --json
is "$(json backup.status <<<"$out")" complete "and a backup works with it"
is "$(json expire.policy.days <<<"$out")" 7 "... RETENTION_DAYS is its retention, after every backup"
run "$MBACKUP" --config "$T/new.conf" init --from-backup-conf "$conf"
is "$status" 4 "a file that exists is not overwritten"
run env BACKUP_CONF="$conf" BACKUP_TYPE=incremental "$MBACKUP" --config "$T/new.conf" compat backup
is "$status" 0 "compat with a mbackup.conf: incremental, from its repository"
[ "$status" = 0 ] || diag "$err"
is "$("$MBACKUP" --config "$T/new.conf" list --json | json backups.1.components.0.type)" incremental "... it is in the list"
sed '/^ENCRYPTION_KEY/d' "$conf" >"$T/nokey.conf"
(umask 077; echo secret-of-a-file >"$T/pass-of-a-file")
run "$MBACKUP" --config "$T/file.conf" init --from-backup-conf "$T/nokey.conf" --repository-url "$T/filerepo" --spool "$T/newspool" --repository-passphrase-file "$T/pass-of-a-file"
is "$status $(grep -c "^passphrase-file = $T/pass-of-a-file$" "$T/file.conf")" "0 1" "a passphrase file that init is given stands in the new file"
run "$MBACKUP" --config "$T/file.conf" key list
is "$status" 0 "... and opens the repository from then on"
run env ENCRYPTION_KEY="$key" "$MBACKUP" --config "$T/env.conf" init --from-backup-conf "$T/nokey.conf" --repository-url "$T/envrepo" --spool "$T/newspool"
is "$status" 0 "init with the key in the environment"
is "$(grep -cF "$key" "$T/env.conf"):$(grep -c 'comes from the environment: MBACKUP_PASSPHRASE' "$T/env.conf")" 0:1 "... which is not written, and said"
echo "BACKUP_TYPE=full" >"$T/old.conf"
run "$MBACKUP" --config "$T/none.conf" init --from-backup-conf "$T/old.conf"
is "$status" 2 "a file that says nothing"
ok "... leaves no configuration" test ! -e "$T/none.conf"
done_testing
