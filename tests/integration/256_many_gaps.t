#!/bin/bash
# A stream that lost its slot again and again leaves many branches behind. A new start does not try
# them all: what the server has removed rules out everything older, so it streams at once, the
# gap is recorded, and a new backup restores. Forty gaps in the long form, four else.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
rounds=4
[ -n "${MBACKUP_LONG:-}" ] && rounds=40

start_stream() { "$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"; wait_for 20 stream_runs; }
stream_runs() { grep -q ', new branch' "$T/stream.log" && [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }

sql "CREATE TABLE event (id bigserial PRIMARY KEY)"
start_stream
for round in $(seq "$rounds")
do
	stack_kill "$STREAM"
	sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
	for _ in 1 2 3
	do
		sql "INSERT INTO event DEFAULT VALUES"
		sql "SELECT pg_switch_wal()" >/dev/null
	done
	sql "CHECKPOINT"; sql "CHECKPOINT"
	start_stream || { is 1 0 "the stream starts, round $round"; tail -5 "$T/stream.log" | sed 's/^/# /'; break; }
done
is "$round" "$rounds" "the stream starts after every gap"
is "$(grep -c 'is not continued' "$T/stream.log")" 1 "... and tries one old branch only"
is "$(find "$REPO/streams/postgres/gaps" -type f | wc -l)" "$rounds" "every gap is recorded"
run mb backup
is "$status" 0 "a backup"
is "$(ls -d "$REPO/streams/postgres/wal/"*/00000001/* | wc -l)" "$((rounds + 1))" "every stretch has its branch"
run mb restore --component "postgres=$T/r" --yes --to-backup
is "$status" 0 "its restore"
printf 'port = %s\n' "$(free_port)" >>"$T/r/postgresql.conf"
ok "it starts" start_cluster "$T/r"
port=$(sed -n 4p "$T/r/postmaster.pid" 2>/dev/null)
ok "it opens" wait_for 30 sql 'CREATE TEMP TABLE t ()' -p "${port:-1}"
is "$(sql "SELECT count(*) FROM event" -p "${port:-1}")" "$((rounds * 3))" "with every row"
stop_cluster "$T/r" immediate
stack_kill "$STREAM"
done_testing
