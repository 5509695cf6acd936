#!/bin/bash
# --start brings a restore up and says what was reached, or why not, with the server's own words. A
# copy beside its original cannot write into the original's history until it is adopted; a restore
# into the component's own place can at once.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }
member() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1]))["restore"]["components"][0]
for k in sys.argv[2].split("."): d = d[k]
print(d)' "$T/answer.json" "$1"; }
start_restore() { mb restore --json --start --start-timeout 60s --port "$(free_port)" "$@" >"$T/answer.json" 2>"$T/err"; }

sql "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id"
start_stream
run mb backup
is "$status" 0 "backup"
sql "INSERT INTO t SELECT generate_series(1, 10)"
run mb mark m
is "$status" 0 "mark"
sql "INSERT INTO t VALUES (1)"; xid=$(sql "BEGIN; INSERT INTO t VALUES (2); SELECT txid_current(); COMMIT" | head -1); sql "INSERT INTO t VALUES (3)"
run mb mark end

ok "--start promotes" start_restore --to-mark m --component "postgres=$T/r1"
is "$(member reached.state)" promoted "... and says so"
is "$(member reached.timeline)" 2 "... with the timeline"
like "$(member reached.lsn)" "^[0-9A-F]+/[0-9A-F]+$" "... and the LSN"
like "$(member reached.stopped)" "recovery stopping at restore point" "... and where it stopped"
p1=$(sed -n 4p "$T/r1/postmaster.pid")
is "$(sql "SELECT count(*) FROM t" -p "$p1")" 1010 "the rows are those of the mark"
ok "--start pauses" start_restore --to-xid "$xid" --target-action pause --component "postgres=$T/r2"
is "$(member reached.state)" paused "... and says so"
p2=$(sed -n 4p "$T/r2/postmaster.pid")
is "$(sql "SELECT count(*) FROM t" -p "$p2")" 1012 "the rows include the transaction"
like "$(member reached.last_commit_time)" "^20" "... whose time is told"
stop_cluster "$T/r2" immediate
ok "--start shuts down" start_restore --to-xid "$xid" --exclusive --target-action shutdown --component "postgres=$T/r3"
is "$(member reached.state)" "shut down" "... and says so"
ok "... indeed" test ! -e "$T/r3/postmaster.pid"

# -- what goes wrong is told ----------------------------------------------------------------------------
run mb restore --start --start-timeout 30s --to-mark m --component "postgres=$T/r4"
is "$status" 11 "the original's port is in use"
like "$err" "lock file|could not (bind|create)" "... the server's own line is shown"
like "$err" "[-]-port" "... and the way out"
ok "what was restored stays" test -e "$T/r4/global/pg_control"
printf 'bindir = /nowhere\n' >"$T/add"; sed "/^\[postgres\]/r $T/add" "$CONF" >"$T/bindir.conf"
run "$MBACKUP" --config "$T/bindir.conf" restore --start --to-mark m --component "postgres=$T/r5"
is "$status" 10 "a bindir without Postgres"
like "$err" "/nowhere" "... says where it looked"
ok "... before anything is touched" test ! -e "$T/r5"
mkdir "$T/fake"; printf '#!/bin/sh\necho "postgres (PostgreSQL) 14.9"\n' >"$T/fake/postgres"; chmod +x "$T/fake/postgres"
sed -i "s,/nowhere,$T/fake," "$T/bindir.conf"
run "$MBACKUP" --config "$T/bindir.conf" restore --start --to-mark m --component "postgres=$T/r5"
is "$status" 10 "a bindir of another version"
like "$err" "version 14" "... says which"

# -- a copy is not the original -----------------------------------------------------------------------------
like "$(sql "SHOW mbackup.restored" -p "$p1")" "^20[0-9TZ]+-[0-9a-f]+$" "a copy knows that it is one"
sed "s/port=$PGPORT/port=$p1/" "$CONF" >"$T/copy.conf"
copy() { "$MBACKUP" --config "$T/copy.conf" "$@"; }
stack_kill "$STREAM"
before=$(find "$REPO" -type f ! -path '*/leases/*' | sort | sha256sum)
for command in stream backup "mark x"
do
	run timeout 20 "$MBACKUP" --config "$T/copy.conf" $command
	is "$status" 4 "a copy may not $command"
	like "$err" "mbackup adopt" "... and what to run is said"
done
run mb wal-push "$T/r1/pg_wal/$(ls "$T/r1/pg_wal" | grep -E '^[0-9A-F]{24}$' | head -1)"
is "$status" 4 "its archive_command may not push either"
is "$(find "$REPO" -type f ! -path '*/leases/*' | sort | sha256sum)" "$before" "the repository is as it was"
is "$(find "$REPO/streams" -type d -name 00000002 | wc -l)" 0 "no WAL of the copy is in it"
ok "a base backup of the copy is one too" bash -c "pg_basebackup -h '$T' -p $p1 -U mbtest -D '$T/bb' -X none && grep -q mbackup.restored '$T/bb/postgresql.auto.conf'"
run copy adopt
is "$status" 0 "adopt"
like "$out" "continues as" "... says what it did"
is "$(sql "SELECT current_setting('mbackup.restored', true)" -p "$p1")" "" "the running server knows"
run copy adopt
like "$out" "needs no adopting" "twice is no harm"
stop_cluster "$PGDATA"
"$MBACKUP" --config "$T/copy.conf" stream >>"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"
PGPORT=$p1
ok "its stream runs" wait_for 20 stream_runs
sql "INSERT INTO t VALUES (77)" -p "$p1"
run copy mark adopted
is "$status" 0 "a mark on the new timeline"
is "$(find "$REPO/streams" -type d -name 00000002 | wc -l)" 1 "... has a branch of its own"
run copy backup
is "$status" 0 "a backup too"
stack_kill "$STREAM"
stop_cluster "$T/r1"
# What was copied while in recovery is adopted by its directory, before it ever ran.
run mb adopt "$T/r3"
is "$status" 0 "adopt of a directory"
is "$(grep -c mbackup.restored "$T/r3/postgresql.auto.conf")" 0 "... takes the mark away"
like "$(cat "$T/r3/postgresql.auto.conf")" "restore_command" "... and leaves the recovery settings"
run mb adopt "$T/fake"
is "$status" 10 "a directory that is none"

# -- the own place -----------------------------------------------------------------------------------------------
run mb restore --to-mark m --delta --yes --start --start-timeout 60s --component postgres
is "$status" 0 "a delta into the component's own place, started"
[ "$status" = 0 ] || diag "$err"
PGPORT=$(sed -n 4p "$PGDATA/postmaster.pid")
is "$(sql "SELECT count(*) FROM t")" 1010 "the rows are those of the mark"
is "$(sql "SELECT current_setting('mbackup.restored', true)")" "" "it is the original: nothing to adopt"
start_stream
run mb mark again
is "$status" 0 "its stream and marks go on"
stack_kill "$STREAM"
done_testing
