#!/bin/bash
# Proves what can be proven of deploy/container without Docker: Dockerfile and compose file fit together and to the program
# (a judge reads them), and their scripts and configuration do what they are for, run beside real servers: secrets,
# database, repository, health check, backup, restore, end.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
/usr/bin/python3 -c 'import yaml' 2>/dev/null || skip_all "python3-yaml is not installed"
. "$here/tests/lib/s3.sh"
. "$here/tests/lib/extension.sh"
files=$here/deploy/container

# -- read ----------------------------------------------------------------------------------------------------
packages=$("$here/tools/sbom" 0 "$MBACKUP" "$BUILD/mbackup-wal-get" | python3 -c 'import json, sys; print(*[c["name"] for c in json.load(sys.stdin)["components"]])')
judge_files() { run /usr/bin/python3 "$here/tests/lib/container_judge.py" "$@"; }
# shellcheck disable=SC2086
judge_files "$files" $packages
is "$status $out" "0 " "Dockerfile and compose file: stages, packages, secrets, volumes, names, health checks" || diag "$err"
mkdir -p "$T/lame/deploy" && cp -r "$files" "$here/deploy/grafana" "$here/deploy/prometheus" "$T/lame/deploy/"
lame=$T/lame/deploy/container
sed -i 's/^USER .*/USER root/; s/ libpq5 / /' "$lame/Dockerfile"
sed -i 's/http:..minio:9000/http:\/\/s3:9000/; s/secrets: .passphrase, /secrets: [/; s/"127.0.0.1:8432:8432"/"8432:8432"/; s/- spool:/- spoon:/' "$lame/compose.yaml" "$lame/mbackup.conf"
# shellcheck disable=SC2086
judge_files "$lame" $packages
for complaint in "runs as root" "the program needs .*libpq5" "is no service" "mbackup: reads .*passphrase" "is open to everybody" "there is no volume spoon"
do
	like "$out" "$complaint" "... and its judge would say: $complaint"
done

# -- run: the secrets, the servers -------------------------------------------------------------------------------
mkdir "$T/container" && cp "$files"/* "$T/container/" 2>/dev/null
(umask 022; "$T/container/prepare" "$T/secrets") >"$T/prepare.out" 2>&1
is $? 0 "prepare makes up the secrets"
is "$(stat -c %a "$T/secrets") $(cd "$T/secrets" && stat -c %a ./* | sort -u) $(cat "$T"/secrets/* | wc -c) $(sort -u "$T"/secrets/* | tr -d '\n' | wc -c)" "700 444 288 288" "... six, all different, in a directory that nobody else enters"
sums=$(sha256sum "$T"/secrets/*)
"$T/container/prepare" "$T/secrets" >/dev/null
is "$(sha256sum "$T"/secrets/*)" "$sums" "... and leaves them alone the next time"
secret() { cat "$T/secrets/$1"; }

extension_server || exit 1
PGPORT=$(free_port)
export PGPORT PGHOST=$T PGDATA=$T/pg PGUSER=postgres PGDATABASE=shop
"$PG_BIN/initdb" -D "$PGDATA" -U postgres -A trust -N --no-locale -E UTF8 --data-checksums >"$T/initdb.log" 2>&1
printf '%s\n' "port = $PGPORT" "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$T'" "max_slot_wal_keep_size = 4GB" >>"$PGDATA/postgresql.conf"
# As the image of PostgreSQL writes it.
printf 'local all all trust\nhost all all all scram-sha-256\n' >"$PGDATA/pg_hba.conf"
start_cluster "$PGDATA" && createdb -U postgres shop || exit 1
MBACKUP_PASSWORD_FILE=$T/secrets/mbackup_password POSTGRES_USER=postgres POSTGRES_DB=shop bash "$files/postgres-init.sh" >"$T/init.log" 2>&1
is $? 0 "postgres-init.sh: a role with its rights, the extension" || diag "$(cat "$T/init.log")"
"$PG_BIN/pg_ctl" -D "$PGDATA" reload >/dev/null
REDIS_PORT=$(free_port)
mkdir "$T/redis"
/usr/bin/python3 - "$files/compose.yaml" >"$T/redis.sh" <<'PY'
import sys, yaml
command = yaml.safe_load(open(sys.argv[1]))["services"]["redis"]["command"]
assert command[:2] == ["sh", "-c"]
print(command[2].replace("$$", "$"))
PY
sed -i "s,/run/secrets,$T/secrets,; s,dir /data,dir $T/redis\\\\nport $REDIS_PORT\\\\nbind 127.0.0.1," "$T/redis.sh"
sh "$T/redis.sh" >"$T/redis.log" 2>&1 &
stack_owns $!
export REDISCLI_AUTH=$(secret redis_password)
is "$(wait_for 20 rcli ping && rcli ping)" PONG "the command of Redis: a server with a password" || diag "$(tail -n 5 "$T/redis.log")"
stack_owns "$(rcli info server | sed -n 's/^process_id:\([0-9]*\).*/\1/p')"
is "$(unset REDISCLI_AUTH; rcli ping 2>&1)" "NOAUTH Authentication required." "... that it insists on"
[ -n "$S3_PYTHON" ] && command -v radosgw >/dev/null || { result "the rest # SKIP there is no Ceph, or no boto3" 0; done_testing; }
s3_ceph && judge mkbucket backups && judge mkbucket uploads versioning || exit 1
chmod 644 "$T/secrets/s3_secret_key" && printf %s "$S3_SECRET" >"$T/secrets/s3_secret_key"

# -- run: the daemon -----------------------------------------------------------------------------------------------
PORT=$(free_port)
export MBACKUP_CONFIG=$T/mbackup.conf MBACKUP_HEALTH_URL=http://127.0.0.1:$PORT/healthz PATH=$BUILD:$PATH
sed "s,/run/secrets,$T/secrets,; s,http://minio:9000,$S3_ENDPOINT,; s,^access-key = mbackup,access-key = $S3_ACCESS,; s,mbackup:8432,127.0.0.1:$PORT,
	s,host=postgres,host=127.0.0.1 port=$PGPORT,; s,redis:6379,127.0.0.1:$REDIS_PORT,; s,^spool = .*,spool = $T/spool," "$files/mbackup.conf" >"$MBACKUP_CONFIG"
container() { "$files/entrypoint" "$@"; }
run container healthy
is "$([ "$status" != 0 ] && echo ill)" ill "the health check fails while there is no daemon"
start_daemon() { MBACKUP_INIT=${1:-no} "$files/entrypoint" daemon >>"$T/daemon.log" 2>&1 & DAEMON=$!; stack_owns $DAEMON; }
start_daemon
wait_for 60 container healthy
is $? 0 "... and succeeds with one"
stack_kill $DAEMON
wait $DAEMON 2>/dev/null
is "$(judge ls backups)" "" "no repository is made without being asked for"
start_daemon yes
wait_for 60 container healthy
sql "CREATE TABLE orders AS SELECT 1 AS id"
rcli set order:1 o1 >/dev/null
echo one >"$T/o1" && judge put uploads o1 "$T/o1" >/dev/null
served() { [ "$(sql "SELECT count(*) FROM mbackup.daemon_table WHERE pid = $DAEMON")" = 1 ] && [ "$(sql "SELECT count(*) FROM mbackup.stream_table WHERE state = 'running'")" -ge 2 ]; }
wait_for 90 served
is $? 0 "asked for, there is one, and the daemon serves the catalog and streams" || diag "$(tail -n 20 "$T/daemon.log")"
job=$(sql "SELECT mbackup_start()")
ended() { [ "$(sql "SELECT state NOT IN ('queued', 'running') FROM mbackup.job_table WHERE id = $job")" = t ]; }
wait_for 120 ended
is "$(sql "SELECT state FROM mbackup.job_table WHERE id = $job")" "done" "a backup of all three, over the wire" || diag "$(sql "SELECT error, result FROM mbackup.job_table WHERE id = $job")"
run container check --quiet
is "$status" 0 "mbackup check, as a command of the container" || diag "$out$err"
is "$(grep -lF -e "$(secret passphrase)" -e "$(secret mbackup_password)" -e "$(secret redis_password)" "$T/daemon.log" "$MBACKUP_CONFIG")" "" "no secret is in the log or the configuration"
container mark good --quiet >/dev/null 2>"$T/err"
is $? 0 "a mark" || diag "$(cat "$T/err")"
kill -TERM $DAEMON
wait $DAEMON
is $? 143 "docker stop: it ends by SIGTERM"
stack_forgets $DAEMON
sql "DROP TABLE orders" && rcli flushall >/dev/null
stop_cluster "$PGDATA"
run container restore --to-mark good --component "postgres=$T/restore/pg" --component "redis=$T/restore/redis" --component uploads=s3://restored
is "$status" 0 "restored to the mark" || diag "$out$err"
start_cluster "$T/restore/pg"
back() { [ "$(sql 'SELECT pg_is_in_recovery()')" = f ]; }
wait_for 60 back
is "$(sql 'SELECT * FROM orders')" 1 "the database is back"
is "$(judge ls restored | cut -f1)" o1 "... the bucket"
unset REDISCLI_AUTH
start_redis_on "$T/restore/redis"
is "$(redis-cli -p "$RPORT" get order:1)" o1 "... and Redis"
done_testing
