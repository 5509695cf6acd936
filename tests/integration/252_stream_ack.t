#!/bin/bash
# A commit that waits for mbackup (synchronous_standby_names) is never lost, with ack = repository and with
# ack = spool, whatever is killed with -9 and when. While the repository is away the spool takes WAL up to its limit,
# reading stops there and goes on by itself, and nothing is dropped. A lost slot is a gap that is seen.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres --wal-segsize=1
stack_config
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
cp "$CONF" "$T/base.conf"
ROUNDS=4
[ -n "${MBACKUP_LONG:-}" ] && ROUNDS=30
ack() { cp "$T/base.conf" "$CONF"; printf 'ack = %s\n' "$1" >>"$CONF"; [ -z "${2:-}" ] || printf 'spool-limit = %s\n' "$2" >>"$CONF"; }
start_stream() { "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"; wait_for 20 stream_runs; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2>/dev/null)" -ge 1 ]; }
sync_works() { [ "$(sql "SELECT sync_state FROM pg_stat_replication")" = sync ]; }
asynchronous() { PGOPTIONS='-c synchronous_commit=local' sql "$1"; }
set_sync() { asynchronous "ALTER SYSTEM SET synchronous_standby_names = '$1'"; asynchronous "SELECT pg_reload_conf()" >/dev/null; }
spooled() { du -sb "$T/spool/wal-postgres" 2>/dev/null | cut -f1; }
spool_files() { find "$T/spool/wal-postgres" -type f -name '0*' | wc -l; }
# kill -9 of the postmaster; its children follow it, and only then it starts again.
crash_server()
{
	local pid
	pid=$(head -1 "$PGDATA/postmaster.pid")
	kill -KILL "$pid"
	wait_for 20 eval "! kill -0 $pid"
	wait_for 20 pg_ctl -D "$PGDATA" -l "$PGDATA.log" -w -t 20 start || diag "the server does not come back"
}
N=0
restored_has() # acknowledged name
{
	N=$((N + 1))
	run mb restore --component "postgres=$T/r$N" --yes --to-latest
	is "$status" 0 "$2: restore of what the repository has"
	[ "$status" = 0 ] || { diag "$err"; return; }
	printf "port = %s\nfsync = off\nsynchronous_standby_names = ''\n" "$(free_port)" >>"$T/r$N/postgresql.conf"
	sed -i '/synchronous_standby_names/d' "$T/r$N/postgresql.auto.conf"
	ok "$2: it starts" start_cluster "$T/r$N"
	local port restored
	port=$(sed -n 4p "$T/r$N/postmaster.pid")
	wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
	restored=$(sql "SELECT coalesce(max(id), 0) FROM event" -p "$port")
	diag "$2: acknowledged $1, restored $restored"
	is "$((restored >= $1))" 1 "$2: every acknowledged commit is there"
	stop_cluster "$T/r$N" immediate
}
# One connection that commits as fast as it may; the last id that was acknowledged is in a file.
start_writer()
{
	python3 - "$T/acknowledged" "$(cat "$T/acknowledged" 2>/dev/null || echo 0)" <<'PY' &
import subprocess, sys
path, n = sys.argv[1], int(sys.argv[2])
p = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
out = open(path, "w")
try:
    while True:
        p.stdin.write("INSERT INTO event (note) VALUES (repeat('x', 300)) RETURNING id;\n"); p.stdin.flush()
        line = p.stdout.readline()
        if not line:
            break
        n = int(line)
        out.seek(0); out.write(str(n)); out.flush()
except (BrokenPipeError, KeyboardInterrupt):
    pass
if not out.tell():
    out.write(str(n))
PY
	WRITER=$!; stack_owns "$WRITER"
}
sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"
run mb backup
is "$status" 0 "a backup"

# -- commits that wait for us --------------------------------------------------------------------------
for mode in repository spool
do
	ack $mode
	start_stream
	is "$?" 0 "ack = $mode: the stream runs"
	set_sync mbackup
	ok "commits wait for it" wait_for 10 sync_works
	sleep 1 # until it has asked whether it is waited for
	start_writer
	sleep 1
	from=$(cat "$T/acknowledged"); sleep 2; to=$(cat "$T/acknowledged")
	diag "ack = $mode: $(((to - from) / 2)) synchronous commits/s of one session, tail-interval 1s"
	is "$(((to - from) / 2 > 5))" 1 "a commit does not wait for the tail interval"
	for round in $(seq "$ROUNDS")
	do
		sleep "0.$((RANDOM % 7 + 1))"
		kill -KILL "$STREAM"; wait "$STREAM" 2>/dev/null
		if [ $((round % 2)) = 0 ]
		then
			crash_server
			wait "$WRITER" 2>/dev/null
			start_stream || diag "no stream"
			start_writer
		else
			sleep "0.$((RANDOM % 5))"
			start_stream || diag "no stream"
		fi
	done
	sleep 1
	kill -KILL "$STREAM"; wait "$STREAM" 2>/dev/null
	sleep 0.3
	acknowledged=$(cat "$T/acknowledged")
	kill "$WRITER" 2>/dev/null
	stop_cluster "$PGDATA" immediate
	if [ $mode = spool ]
	then
		# The database is lost, the host is not: a stream without a server still stores its spool.
		timeout 2 "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1
		is "$(spool_files)" 0 "the spool is stored without the server"
	fi
	restored_has "$acknowledged" "ack = $mode"
	start_cluster "$PGDATA"
	set_sync ''
done

# -- the repository is away ------------------------------------------------------------------------------
: >"$T/stream.log"
ack spool 8MiB
start_stream
mv "$REPO" "$REPO.away"
lsn_before=$(sql "SELECT pg_current_wal_lsn()")
for _ in 1 2 3 4; do sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 1500) g"; done
alarmed() { grep -q "no more WAL is read.*spool-limit" "$T/stream.log" || { sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 1500) g"; false; }; }
flushed() { [ "$(sql "SELECT flush_lsn > '$lsn_before'::pg_lsn + 1048576 FROM pg_stat_replication")" = t ]; }
ok "the spool takes WAL while the repository is away" wait_for 10 flushed
ok "it has a limit, and says so" wait_for 30 alarmed
diag "spool: $(spooled) bytes"
is "$(($(spooled) < 12582912))" 1 "... and keeps to it"
is "$(grep -c 'could not store WAL' "$T/stream.log")" 1 "the absent repository is told once"
mv "$REPO.away" "$REPO"
run mb check --component postgres
like "$out" "spool" "check speaks of the spool"
like "$out" "survives a crash of a process only" "... and of what it is worth"
sql "INSERT INTO event (note) VALUES ('the last')"; last=$(sql "SELECT max(id) FROM event")
empty() { [ "$(spool_files)" -le 1 ]; }
ok "all is stored when the repository is back" wait_for 40 empty
ok "reading goes on by itself" wait_for 10 grep -q "WAL is read again" "$T/stream.log"
run mb mark back
is "$status" 0 "a mark"
is "$(find "$REPO/streams/postgres/gaps" -type f 2>/dev/null | wc -l)" 0 "no gap"
stack_kill "$STREAM"
restored_has "$last" "after the absence"

# ack = repository: two units, then the server keeps it
: >"$T/stream.log"
ack repository
start_stream
mv "$REPO" "$REPO.away"
for _ in 1 2 3 4 5 6; do sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 1500) g"; done
sleep 1.5
ok "the stream lives on" kill -0 "$STREAM"
is "$(grep -c 'could not store WAL' "$T/stream.log")" 1 "the absent repository is told once"
mv "$REPO.away" "$REPO"
sql "INSERT INTO event (note) VALUES ('the last')"; last=$(sql "SELECT max(id) FROM event")
run mb mark back-again
is "$status" 0 "a mark when it is back"
stack_kill "$STREAM"

# -- a lost slot ----------------------------------------------------------------------------------------
sql "ALTER SYSTEM SET max_slot_wal_keep_size = '2MB'"; sql "ALTER SYSTEM SET max_wal_size = '4MB'"; sql "ALTER SYSTEM SET wal_keep_size = 0"; sql "ALTER SYSTEM SET min_wal_size = '2MB'"; sql "SELECT pg_reload_conf()" >/dev/null
lost() { [ "$(sql "SELECT wal_status FROM pg_replication_slots")" = lost ]; }
for _ in 1 2 3 4 5 6 7 8 9 10; do sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 3000) g"; sql "CHECKPOINT"; lost && break; done
ok "the slot is lost" lost
run mb check --component postgres
like "$out" "the history has a gap" "check tells a lost slot"
start_stream
is "$?" 0 "the stream goes on"
sql "INSERT INTO event (note) VALUES ('behind')"
run mb mark behind
is "$(find "$REPO/streams/postgres/gaps" -type f | wc -l)" 1 "a gap record"
run mb check --component postgres
like "$out" "WAL from .* to .* was never received" "check tells the gap"
run mb restore --component "postgres=$T/no" --yes --to-mark behind
is "$status" 6 "no restore crosses it"
run mb backup
is "$status" 0 "a new backup"
is "$(mb list --json 2>/dev/null | python3 -c 'import json, sys; print([len(w["gaps"]) for w in json.load(sys.stdin)["windows"] if w["component"] == "postgres"])')" "[1]" "list shows the gap"
run mb check --component postgres
is "$(grep -c 'was never received' <<<"$out")" 0 "... and check is content when a backup lies behind it"
stack_kill "$STREAM"
done_testing
