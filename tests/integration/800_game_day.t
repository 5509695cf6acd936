#!/bin/bash
# The game day: an application writes into PostgreSQL, a bucket, a directory and Redis on one host, then somebody drops
# the table, deletes the objects and flushes Redis. One restore in place brings all of it back to a second before
# that, judged by rows, objects and keys; one rollback puts back what was there before it, byte for byte.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin
stack_postgres || exit 1
# Not of the server is it asked whether a power failure takes anything.
sql "ALTER SYSTEM SET fsync = off" && sql "SELECT pg_reload_conf()" >/dev/null
stack_redis || exit 1
s3_ceph || { echo "Bail out! no ceph"; exit 1; }
game() { "$S3_PYTHON" "$here/tests/lib/game_day.py" "$@"; }
export REDIS_PORT

judge mkbucket photos versioning >/dev/null
mkdir -p "$T/uploads" "$T/etc"
printf 'answer = 42\n' >"$T/etc/app.conf"
printf 'LEVEL=debug\nDB_PASSWORD=swordfish\n' >"$T/etc/app.env"
sql "CREATE TABLE events (id int PRIMARY KEY, bucket text NOT NULL, key text NOT NULL, etag text, size bigint)"
cat >"$T/stop-app" <<-EOT
	#!/bin/bash
	touch "$T/app.stop"
	pid=\$(cat "$T/app.pid" 2>/dev/null) || exit 0
	for _ in \$(seq 300); do kill -0 "\$pid" 2>/dev/null || exit 0; sleep 0.1; done
	exit 1
EOT
cat >"$T/start-app" <<-EOT
	#!/bin/bash
	echo "\$MBACKUP_EVENT \$MBACKUP_ID \$MBACKUP_COMPONENTS" >>"$T/events"
	[ ! -e "$T/stay-down" ] || exit 0
	rm -f "$T/app.stop"
	"$S3_PYTHON" "$here/tests/lib/game_day.py" app "$T" >>"$T/app.out" 2>&1 &
	echo \$! >"$T/app.pid"
EOT
cat >"$T/check-app" <<-EOT
	#!/bin/bash
	cat >"$T/event.json"
	[ ! -e "$T/unwell" ]
EOT
chmod +x "$T/stop-app" "$T/start-app" "$T/check-app"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
cat >"$CONF" <<-EOT
	[global]
	spool = $T/spool
	workers = 2

	[repository]
	url = $REPO
	key-file = $T/key

	[postgres]
	conninfo = host=$PGHOST port=$PGPORT user=mbtest dbname=postgres
	service = pg_ctl

	[objects:photos]
	url = s3://photos
	$(s3_keys)
	scan-interval = 1s

	[objects:uploads]
	url = file://$T/uploads
	scan-interval = 1s

	[redis]
	url = redis://127.0.0.1:$REDIS_PORT

	[files:config]
	paths = $T/etc

	[hooks]
	stop-services = $T/stop-app
	start-services = $T/start-app
	health-check = $T/check-app

	[reference]
	sql = SELECT bucket, key, etag, size FROM public.events
EOT
chmod 600 "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
start_stream || { cat "$T/stream.log" >&2; exit 1; }
PGBIN_PGBENCH=$PG_BIN/pgbench
"$PGBIN_PGBENCH" -i -s 1 -q >/dev/null 2>&1
"$PGBIN_PGBENCH" -n -c 1 -R 50 -T 600 >/dev/null 2>&1 &
BENCH=$!
stack_owns $BENCH
"$T/start-app"
APP=$(cat "$T/app.pid")
stack_owns "$APP"
wait_for 60 sh -c "[ \$(cat '$T/app.log' 2>/dev/null | wc -l) -ge 20 ]"
run mb backup
is "$status" 0 "backup under load"
[ "$status" = 0 ] || diag "$err"
sleep 4

# -- the accident ----------------------------------------------------------------------------------
rows=$(sql "SELECT count(*) FROM events")
moment=$(python3 -c 'import time; print(time.time())')
sql "DROP TABLE events"
"$T/stop-app"
kill "$APP" 2>/dev/null
stack_kill $BENCH
for key in $(judge ls photos); do echo "del photos $key"; done >"$T/deletions"
judge batch <"$T/deletions" >/dev/null 2>&1 || diag "batch failed"
find "$T/uploads" -type f -delete
rcli flushall >/dev/null
printf 'answer = 41\n' >"$T/etc/app.conf"
printf 'a mistake\n' >"$T/etc/extra.conf"
is "$(judge ls photos | wc -l)" 0 "the objects are gone"
rcli set after accident >/dev/null
diag "$rows rows before the accident"
sleep 3
# The stream has the table's end too, so --to-latest would bring the accident back.
stop_cluster "$PGDATA"
before_pg=$(game tree "$PGDATA")
before_etc=$(game tree "$T/etc")
before_uploads=$(game tree "$T/uploads")
before_photos=$(judge ls photos | sha256sum)
before_redis=$(rcli debug digest)
target=$(python3 -c "import datetime; print(datetime.datetime.fromtimestamp($moment - 1, datetime.timezone.utc).isoformat())")

# -- the plan ---------------------------------------------------------------------------------------
run mb restore --to-time "$target" --dry-run --json
is "$status" 0 "--dry-run"
is "$(python3 -c "import json, sys; print([c['name'] for c in json.load(sys.stdin)['restore']['components'] if not c['bytes'] or not (c.get('destination') or c['kind'] == 'files') or not c.get('backup_time')])" <<<"$out")" "[]" "it says how much comes of when to where"
[ "$status" = 0 ] || diag "$err"
plan=$out
like "$(json restore.keeps <<<"$plan")" '"method": "rename"' "the plan: the data directory is renamed"
like "$(json restore.keeps <<<"$plan")" '"method": "scan"' "the plan: the bucket is kept in the repository"
like "$(json restore.keeps <<<"$plan")" '"method": "rdb"' "the plan: Redis is kept as an RDB"
like "$(json restore.services <<<"$plan")" 'pg_ctl of postgres' "the plan: names the service"
is "$(json restore.cannot_undo <<<"$plan")" "[]" "the plan: everything can be undone"
ok "the plan: says what is lost" python3 -c "import sys; sys.exit(not $(json restore.lost.seconds <<<"$plan") > 1)"
is "$(game tree "$PGDATA")" "$before_pg" "the plan touched nothing"
is "$(ls "$T/spool/restores" 2>/dev/null | grep -v lock | wc -l)" 0 "and left no journal"
run mb restore --to-time "$target"
is "$status" 2 "without --yes nobody restores in place"
run mb restore --to-time "$target" --verify-only --json
is "$status" 0 "--verify-only reads it all"
[ "$status" = 0 ] || diag "$err"
is "$(game tree "$PGDATA")" "$before_pg" "and touched nothing"

# -- the restore ------------------------------------------------------------------------------------
touch "$T/stay-down" # until the judge has looked
run mb restore --to-time "$target" --yes --json --report "$T/report.html"
is "$status" 0 "restore of the whole stack, in place"
[ "$status" = 0 ] || diag "$err$out"
report=$out
id=$(json restore.id <<<"$report" 2>/dev/null)
ok "rows, objects, files and keys are of that one moment" game judge "$T" "$(python3 -c "print($moment - 1)")"
diag "$(head -n 3 "$T/ok.out")"
is "$(sql 'SELECT pg_is_in_recovery()')" f "the server is open"
is "$(json restore.references.missing <<<"$report")" false "the reference check is clean"
ok "it looked at every row" python3 -c "import sys; sys.exit(not $(json restore.references.buckets.0.rows <<<"$report") >= 10)"
is "$(cat "$T/etc/app.conf")" "answer = 42" "the configuration is back"
is "$(grep -c swordfish "$T/etc/app.env")" 1 "a file whose secrets are masked in the backup stayed as it is"
[ ! -e "$T/etc/extra.conf" ]
result "a file that came later is out of the way" $?
ok "the report has times" python3 -c "import sys; sys.exit(not (0 < $(json restore.rto_seconds <<<"$report") < 600 and $(json restore.rpo_seconds <<<"$report") > 1))"
is "$(python3 -c "import json, sys; print(sum('rto_seconds' in c and 'health' in c for c in json.load(sys.stdin)['restore']['components']))" <<<"$report")" 5 "of each component too"
is "$(grep -cE '(src|href)=|url\(|@import' "$T/report.html")" 0 "the page refers to nothing outside"
like "$(cat "$T/report.html")" "mbackup rollback $id" "and says how to go back"
like "$(cat "$T/events")" "start-services $id postgres" "hooks are told what happens"
is "$(json plan.id <"$T/event.json")" "$id" "as JSON too"
run mb list
like "$out" "Restore $id is finished, keeps [0-9]" "list: says what is kept"
run mb check --json
like "$out" "restore $id can be rolled back" "check: says so too"
run mb restore --to-time "$target" --verify-only --json
is "$status" 0 "a second plan is possible"

# The application goes on: what it writes now is what a rollback loses.
rm "$T/stay-down"
"$T/start-app"
stack_owns "$(cat "$T/app.pid")"
sleep 1

# A backup and an expire meanwhile take nothing away that the way back needs.
printf '[retention]\nlast = 1\n' >>"$CONF"
run mb backup --component photos
is "$status" 0 "a backup of the bucket after the restore"
for i in 1 2; do run mb expire --grace 0s --yes --json; sleep 2; done
is "$status" 0 "and an expire that keeps but one"

# -- and back ---------------------------------------------------------------------------------------
run mb rollback
is "$status" 2 "a rollback is asked for"
run mb rollback --dry-run --json
is "$(json rollback.id <<<"$out")" "$id" "rollback --dry-run names it"
touch "$T/stay-down"
run mb rollback --yes --json
is "$status" 0 "rollback"
[ "$status" = 0 ] || diag "$err$out"
is "$(json rollback.changed <<<"$out")" true "it did something"
is "$(game tree "$PGDATA" | diff - <(echo "$before_pg") | head -n 5)" "" "the data directory is as it was, byte for byte"
is "$(game tree "$T/etc" | diff - <(echo "$before_etc"))" "" "the configuration is"
is "$(game tree "$T/uploads")" "$before_uploads" "the directory of objects is"
is "$(judge ls photos | sha256sum)" "$before_photos" "the bucket lists the same"
is "$(rcli debug digest)" "$before_redis" "Redis holds the same"
run mb rollback --yes --json
is "$(json rollback.changed <<<"$out")" false "once more: nothing to do"
is "$status" 0 "and that is fine"
start_cluster "$PGDATA"
is "$(sql "SELECT to_regclass('events') IS NULL")" t "the server is the one of the accident"
kill -TERM $STREAM
wait $STREAM

# -- kept until a younger backup is verified ----------------------------------------------------------
run mb restore --to-time "$target" --yes --json --no-hooks
is "$status" 0 "restored again"
[ "$status" = 0 ] || diag "$err$out"
id=$(json restore.id <<<"$out" 2>/dev/null)
kept=$(json restore.keeps.0.kept <<<"$out")
run mb verify
[ -e "$kept" ]
result "verify of older backups keeps the snapshot" $?
start_stream
run mb backup
is "$status" 0 "a backup after the restore"
[ "$status" = 0 ] || diag "$err"
run mb verify --json
like "$out" "forgotten_restores.*$id" "verify of a younger one says that it removes it"
[ ! -e "$kept" ]
result "and does" $?
run mb rollback --yes
is "$status" 10 "then there is no way back: exit 10"
done_testing
