#!/bin/bash
# The WAL stream survives what passes: a restart of the server, a kill -9 under load at any
# moment, a repository that is away for a while, the death of the stream during a backup. What
# a synchronous commit acknowledged is restored; without a stream a mark says what to start.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config
sed -i '/^\[objects/,$d' "$CONF"
printf 'tail-interval = 200ms\n' >>"$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
start_stream() { "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"; wait_for 20 stream_runs; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }
sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"

# -- without a stream -----------------------------------------------------------------------------
run mb backup
is "$status" 0 "backup without a stream"
run mb mark lonely
is "$((status != 0))" 1 "a mark without stream and slot fails"
like "$err$out" "mbackup stream" "... and says what to start"
start_stream
is "$?" 0 "the stream starts"
stack_kill "$STREAM"
run mb mark by-itself
is "$status" 0 "with a free slot a mark receives by itself"
is "$(sql "SELECT active FROM pg_replication_slots WHERE slot_name = 'mbackup'")" f "... and lets the slot go"

# -- the server restarts -----------------------------------------------------------------------------
start_stream
stop_cluster "$PGDATA" immediate
sleep 0.5
start_cluster "$PGDATA"
ok "the stream reconnects after a crash of the server" wait_for 40 stream_runs
stop_cluster "$PGDATA" fast; start_cluster "$PGDATA"
ok "... and after a restart" wait_for 40 stream_runs
run mb mark after-restart
is "$status" 0 "mark after the restart"
is "$(ls "$REPO/streams/postgres/wal/"*/00000001 | wc -l)" 1 "still the one branch"

# -- the stream dies during a backup ----------------------------------------------------------------
pgbench -i -s 20 -q postgres >/dev/null 2>&1
pgbench -n -c 2 -T 60 postgres >"$T/pgbench.log" 2>&1 & LOAD=$!; stack_owns "$LOAD"
# A quick machine is done before the stream dies: then it dies earlier the next time.
for pause in 0.4 0.2 0.1 0.05
do
	"$MBACKUP" --config "$CONF" backup --type full >"$T/backup.out" 2>"$T/backup.err" & BACKUP=$!; stack_owns "$BACKUP"
	sleep $pause
	stack_kill "$STREAM" KILL
	wait "$BACKUP"
	code=$?
	[ $code = 0 ] && ! grep -q "no stream is running" "$T/backup.err" || break
	start_stream
done
is "$code" 0 "a backup survives the death of the stream" || cat "$T/backup.err" >&2
like "$(cat "$T/backup.err")" "no stream is running, receiving WAL from slot" "... by taking over the slot"
start_stream

# -- synchronous commits and kill -9 -----------------------------------------------------------------
sql "ALTER SYSTEM SET synchronous_standby_names = 'mbackup'"; sql "SELECT pg_reload_conf()" >/dev/null
ok "commits wait for the stream" wait_for 10 [ "$(sleep 1; sql "SELECT sync_state FROM pg_stat_replication")" = sync ]
( n=0; while PGOPTIONS='-c statement_timeout=30s' sql "INSERT INTO event (note) VALUES ('sync')" 2>/dev/null; do n=$((n + 1)); echo $n >"$T/acknowledged.tmp"; mv "$T/acknowledged.tmp" "$T/acknowledged"; done ) & WRITER=$!; stack_owns "$WRITER"
for _ in 1 2 3 4
do
	sleep 0.7
	stack_kill "$STREAM" KILL
	start_stream || diag "no stream"
done
sleep 1
stack_kill "$STREAM" KILL
acknowledged=$(cat "$T/acknowledged")
kill "$WRITER" "$LOAD" 2>/dev/null
# The machine is lost here: only the repository is left.
stop_cluster "$PGDATA" immediate
run mb restore --component "postgres=$T/r1" --yes --to-latest
is "$status" 0 "restore of what the repository has"
ok "pg_verifybackup" pg_verifybackup -n "$T/r1"
printf "port = %s\nfsync = off\nsynchronous_standby_names = ''\n" "$(free_port)" >>"$T/r1/postgresql.conf"
sed -i '/synchronous_standby_names/d' "$T/r1/postgresql.auto.conf"
ok "it starts" start_cluster "$T/r1"
port=$(sed -n 4p "$T/r1/postmaster.pid")
port=${port:-1}
wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
restored=$(sql "SELECT count(*) FROM event WHERE note = 'sync'" -p "$port")
diag "acknowledged $acknowledged, restored $restored"
is "$((acknowledged >= 1 && restored >= acknowledged))" 1 "nothing that was acknowledged is lost"
stop_cluster "$T/r1" immediate

# -- the repository is away ----------------------------------------------------------------------------
start_cluster "$PGDATA"
PGOPTIONS='-c synchronous_commit=local' sql "ALTER SYSTEM RESET synchronous_standby_names"; sql "SELECT pg_reload_conf()" >/dev/null
start_stream
sleep 0.5
if [ "$(id -u)" != 0 ]
then
	chmod 0500 "$(ls -d "$REPO/streams/postgres/wal/"*/00000001/*)"
	sql "SELECT pg_switch_wal()" >/dev/null; sql "INSERT INTO event (note) VALUES ('away')"
	sleep 1.5
	ok "the stream lives on" kill -0 "$STREAM"
	like "$(cat "$T/stream.log")" "will try again" "... and tells"
	chmod 0700 "$(ls -d "$REPO/streams/postgres/wal/"*/00000001/*)"
	run mb mark it-is-back
	is "$status" 0 "it goes on when the repository is back"
fi

# -- own state: the server has no more what would prove the branch -------------------------------------
sql "CHECKPOINT"; sql "SELECT pg_switch_wal()" >/dev/null
sleep 1
ok "the stream stops cleanly" stack_kill "$STREAM"
for _ in 1 2 3; do sql "INSERT INTO event (note) VALUES ('later')"; sql "SELECT pg_switch_wal()" >/dev/null; sql "CHECKPOINT"; done
start_stream
run mb mark by-own-state
is "$status" 0 "mark"
like "$(cat "$T/stream.log")" "continuing branch .* by own state" "own state decides where bytes cannot"
is "$(ls "$REPO/streams/postgres/wal/"*/00000001 | wc -l)" 1 "one branch to the end"
run mb verify
is "$status" 0 "verify"
run mb check --json
is "$(python3 -c 'import json, sys; print(sorted({c["status"] for c in json.load(sys.stdin)["checks"]}))' <<<"$out" | grep -c failed)" 0 "check finds nothing wrong"
stack_kill "$STREAM"
done_testing
