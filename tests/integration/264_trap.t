#!/bin/bash
# The measured trap: an archive without the segment in which a new timeline forked lets Postgres replay
# the old timeline past the fork, and open. Here the restore is refused with that segment's name; and
# when it vanishes after planning, recovery stops with its name and never opens on the old line.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
stream_runs() { [ "$(sql "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" -ge 1 ]; }
sql "CREATE TABLE t (line text)"
start_stream
run mb backup
is "$status" 0 "backup on timeline 1"
sql "INSERT INTO t VALUES ('common')"
run mb mark fork
# The old line goes on for a while, so that there is something to replay past the fork.
sql "INSERT INTO t VALUES ('old line')"
middle=$(sql "SELECT pg_walfile_name(pg_current_wal_lsn())")
sql "SELECT pg_switch_wal()" >/dev/null; sql "INSERT INTO t VALUES ('old line')"
run mb mark old-end
run mb restore --to-mark fork --component "postgres=$T/new"
is "$status" 0 "restore to the fork"
stop_cluster "$PGDATA"; mv "$PGDATA" "$PGDATA.old"; mv "$T/new" "$PGDATA"
mb adopt "$PGDATA" >/dev/null 2>&1
ok "timeline 2 begins" start_cluster "$PGDATA"
wait_for 30 sql 'CREATE TEMP TABLE x ()'
ok "the stream follows" wait_for 40 stream_runs
sql "INSERT INTO t VALUES ('new line')"; sql "SELECT pg_switch_wal()" >/dev/null; sql "INSERT INTO t VALUES ('new line')"
run mb mark new-end
is "$status" 0 "mark on timeline 2"
stack_kill "$STREAM"
segment=$(ls "$REPO"/streams/postgres/wal/*/00000002/* | grep -E '^00000002[0-9A-F]{16}$' | sort | head -1)
like "$segment" "^00000002" "the segment of the fork"
lines() { psql -X -q -A -t -p "$1" -c "SELECT string_agg(DISTINCT line, ',' ORDER BY line) FROM t"; }

# -- with everything there: the new line -----------------------------------------------------------------
run mb restore --to-latest --component "postgres=$T/r1" --start --start-timeout 60s --port "$(free_port)"
is "$status" 0 "with all of the WAL"
is "$(lines "$(sed -n 4p "$T/r1/postmaster.pid")")" "common,new line" "... it opens on the new line"
stop_cluster "$T/r1" immediate

# -- it vanishes after planning ----------------------------------------------------------------------------
run mb restore --to-latest --component "postgres=$T/r2"
is "$status" 0 "planned and restored"
mkdir "$T/away"; piece=$(ls -d "$REPO"/streams/postgres/wal/*/00000002/*/"$segment"); mv "$piece" "$T/away/"
printf 'port = %s\n' "$(free_port)" >>"$T/r2/postgresql.conf"
pg_ctl -D "$T/r2" -l "$T/r2.log" -w -t 30 start >/dev/null 2>&1
wait_for 20 test ! -e "$T/r2/postmaster.pid"
ok "recovery stops" test ! -e "$T/r2/postmaster.pid"
like "$(cat "$T/r2.log")" "could not get \"$segment\"" "... with the segment's name"
is "$(grep -c 'archive recovery complete\|ready to accept connections' "$T/r2.log")" 0 "... and never opened"
like "$(pg_controldata "$T/r2" | grep 'cluster state')" "recovery" "... says pg_control too"

# -- it is missing before --------------------------------------------------------------------------------------
for option in "--to-latest" "--to-mark new-end" "--to-latest --timeline 2"
do
	run mb restore $option --component "postgres=$T/r3"
	is "$status" 6 "$option: refused"
	like "$err" "segment $segment|from .* on timeline 2" "... and the segment is named"
	ok "... before anything is made" test ! -e "$T/r3"
done
run mb restore --to-latest --component "postgres=$T/r3" --dry-run
is "$status" 6 "a dry run says so too"
like "$err" "segment $segment" "... with its name"
like "$err" "[-]-timeline 1" "... and how to go along the old line on purpose"
run mb restore --to-latest --timeline 1 --component "postgres=$T/r3" --start --start-timeout 60s --port "$(free_port)"
is "$status" 0 "on purpose"
is "$(lines "$(sed -n 4p "$T/r3/postmaster.pid")")" "common,old line" "... it opens on the old line"
stop_cluster "$T/r3" immediate
run mb restore --to-mark old-end --component "postgres=$T/r4"
is "$status" 0 "a mark of the old line needs nothing of the new one"
mv "$T/away/$segment" "$(dirname "$piece")/"

# -- a hole in the middle, and a history file ----------------------------------------------------------------------
# The new cluster may have streamed the end of the old line too: another branch, which would fill the hole to the fork.
(cd "$REPO" && find streams/postgres/wal/*/00000001 -name "$middle*" | tar cf "$T/away/middle.tar" --remove-files -T -)
like "$(tar tf "$T/away/middle.tar")" "$middle" "the segment after the fork is taken away"
run mb restore --to-latest --timeline 1 --component "postgres=$T/r5"
is "$status" 6 "a hole on the way: refused"
like "$err" "WAL is missing from [0-9A-F]+/[0-9A-F]+ to [0-9A-F]+/[0-9A-F]+ on timeline 1" "... with its LSNs"
like "$err" "segments? $middle" "... and its segment"
like "$err" "[-]-to-lsn" "... and how to go as far as it"
tar xf "$T/away/middle.tar" -C "$REPO"
history=$(ls "$REPO"/streams/postgres/wal/*/history/00000002.history-* | head -1)
mv "$history" "$T/away/"
run mb restore --to-latest --component "postgres=$T/r5"
is "$((status != 0))" 1 "a missing history file: refused"
like "$err" "00000002.history" "... and named"
ok "nothing was made" test ! -e "$T/r5"
done_testing
