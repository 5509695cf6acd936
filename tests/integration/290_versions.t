#!/bin/bash
# The same story on every version of PostgreSQL at hand: full, incremental, over the wire, stream,
# mark, promotion; each restore is judged by pg_verifybackup, row hashes and amcheck. Binaries
# are those of /usr/lib/postgresql/*/bin and of MBACKUP_TEST_PG_BINS (directories, with colons).
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

bins=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null; tr : '\n' <<<"${MBACKUP_TEST_PG_BINS:-}")
TOP=$T
PLAIN_PATH=$PATH

start_stream() { "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 & STREAM=$!; stack_owns "$STREAM"; wait_for 20 stream_runs; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }
state() { sql "SELECT count(*), sum(id), md5(string_agg(id || note, ',' ORDER BY id)) FROM event" "$@"; }
add() { sql "INSERT INTO event (note) SELECT md5(g::text) FROM generate_series(1, $1) g"; }
whole() # port: every index and every heap page
{
	[ -z "$(sql "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p'" -p "$1" | sort -u)" ] || return 1
	[ "${VERSION%%.*}" -lt 14 ] || [ -z "$(sql "SELECT v.* FROM pg_class c, LATERAL verify_heapam(c.oid) v WHERE c.relkind = 'r' AND c.relpersistence = 'p'" -p "$1")" ]
}
N=0
# judge name expected option...
judge()
{
	local name="$VERSION, $1" expected=$2 r port
	shift 2
	N=$((N + 1)); r=$T/r$N
	run mb restore --component "postgres=$r" --yes "$@"
	is "$status" 0 "$name: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	ok "$name: pg_verifybackup" pg_verifybackup -n "$r"
	printf 'port = %s\nfsync = off\n' "$(free_port)" >>"$r/postgresql.conf"
	ok "$name: starts" start_cluster "$r"
	port=$(sed -n 4p "$r/postmaster.pid" 2>/dev/null); port=${port:-1}
	ok "$name: promotes" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
	is "$(state -p "$port")" "$expected" "$name: the rows of that moment"
	ok "$name: amcheck" whole "$port"
	stop_cluster "$r" immediate
	rm -rf "$r"
}
backup_by() # method expected-type
{
	sed -i '/^method/d; s/^conninfo.*/&\nmethod = '"$1"'/' "$CONF"
	run mb backup --json
	is "$status" 0 "$VERSION: a backup, $1"
	[ "$status" = 0 ] || diag "$out$err"
	is "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["backup"]["type"])' <<<"$out" 2>/dev/null)" "$2" "... $2"
}

for PG_BIN in $bins
do
	[ -x "$PG_BIN/postgres" ] || { diag "no server in $PG_BIN"; continue; }
	VERSION=$("$PG_BIN/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')
	T=$TOP/$VERSION CONF=$TOP/$VERSION/mbackup.conf REPO=$TOP/$VERSION/repo N=0
	export PATH=$PG_BIN:$PLAIN_PATH
	mkdir -p "$T"
	stack_postgres || { is 1 0 "$VERSION starts"; continue; }
	stack_config none
	sed -i '/^\[objects/,$d' "$CONF"
	run mb init
	is "$status" 0 "$VERSION: init"
	run mb check
	like "$out" "PostgreSQL $VERSION" "$VERSION: check"
	[ "$(grep -c '^failed' <<<"$out")" = 0 ] || diag "$out"
	sql "CREATE EXTENSION amcheck"
	sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"
	start_stream
	is "$?" 0 "$VERSION: the stream starts"
	add 5000
	backup_by direct full
	judge "full" "$(state)" --to-backup
	add 1000; sql "UPDATE event SET note = 'x' || note WHERE id % 100 = 0"
	backup_by basebackup incremental
	judge "over the wire" "$(state)" --to-backup
	sql "DELETE FROM event WHERE id % 7 = 0"; sql "VACUUM event"
	backup_by direct incremental
	add 100; at_mark=$(state)
	run mb mark here
	is "$status" 0 "$VERSION: mark"
	sql "SELECT pg_switch_wal()" >/dev/null
	add 100
	judge "mark" "$at_mark" --to-mark here
	at_end=$(state)
	run mb mark end
	judge "latest" "$at_end" --to-latest
	# The restored cluster takes the place: another timeline.
	run mb restore --component "postgres=$T/next" --yes --to-mark here
	is "$status" 0 "$VERSION: restore, to go on from there"
	run mb adopt "$T/next"
	is "$status" 0 "$VERSION: adopt it"
	stop_cluster "$PGDATA"; mv "$PGDATA" "$T/old"; mv "$T/next" "$PGDATA"
	printf 'port = %s\n' "$PGPORT" >>"$PGDATA/postgresql.conf"
	ok "$VERSION: it starts" start_cluster "$PGDATA"
	ok "$VERSION: it is promoted" wait_for 30 sql 'CREATE TEMP TABLE t ()'
	ok "$VERSION: the stream follows" wait_for 40 stream_runs
	add 10; at_two=$(state)
	run mb mark two
	is "$status" 0 "$VERSION: mark on timeline 2"
	[ "$status" = 0 ] || diag "$err"
	judge "timeline 2" "$at_two" --to-mark two
	run mb verify
	is "$status" 0 "$VERSION: verify"
	stack_kill "$STREAM"
	stop_cluster "$PGDATA" immediate
done
T=$TOP
done_testing
