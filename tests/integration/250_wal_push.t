#!/bin/bash
# archive_command = mbackup wal-push: without any stream every archived moment comes back, over a
# promotion too; what is pushed twice is accepted, what differs never overwrites, and what is not
# the WAL that its name says is refused. A stream and the archiver write one branch together.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
PUSH="$MBACKUP --config $CONF wal-push %p"
archive() { sql "ALTER SYSTEM SET archive_command = '$1'"; sql "SELECT pg_reload_conf()" >/dev/null; }
state() { psql -X -q -A -t "$@" -c "SELECT count(*), coalesce(sum(id), 0), md5(coalesce(string_agg(id || note, ',' ORDER BY id), '')) FROM event"; }
add() { sql "INSERT INTO event (note) SELECT 'row ' || g FROM generate_series(1, $1) g"; }
# Close the segment and give its name.
closed() { sql "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"; sql "SELECT pg_switch_wal()" >/dev/null; }
archived() { [ -e "$PGDATA/pg_wal/archive_status/$1.done" ]; }
wal() { echo "$REPO/streams/postgres/wal"; }
pieces() { find "$(wal)" -type f -path "*/$1/*" | wc -l; }
N=0
restore_and_judge() # name expected option...
{
	local name=$1 expected=$2
	shift 2
	N=$((N + 1))
	run mb restore --component "postgres=$T/r$N" --yes "$@"
	is "$status" 0 "$name: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	ok "$name: pg_verifybackup" pg_verifybackup -n "$T/r$N"
	printf "port = %s\nfsync = off\narchive_mode = off\n" "$(free_port)" >>"$T/r$N/postgresql.conf"
	ok "$name: starts" start_cluster "$T/r$N"
	port=$(sed -n 4p "$T/r$N/postmaster.pid")
	ok "$name: promotes" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
	is "$(state -p "$port")" "$expected" "$name: the rows of that moment"
	stop_cluster "$T/r$N" immediate
}

printf "archive_mode = on\narchive_command = '%s'\n" "$PUSH" >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA"
sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"

# -- without a stream --------------------------------------------------------------------------------
add 500
run mb backup
is "$status" 0 "a backup"
is "$(sql "SELECT count(*) FROM pg_replication_slots")" 0 "no slot"
add 300; at_lsn=$(state); lsn=$(sql "SELECT pg_current_wal_lsn()")
seg=$(closed)
add 200; at_end=$(state); seg2=$(closed)
ok "segments are archived" wait_for 20 archived "$seg2"
# What the backup received and what was archived meanwhile may have begun as two.
branches=$(ls "$(wal)"/*/00000001 | wc -l)
to=$(mb list --json 2>/dev/null | json windows.0.to)
ok "the window reaches the archived end" test "$to" \> "$(date -u -d '30 seconds ago' +%Y-%m-%dT%H:%M:%S)"
restore_and_judge lsn "$at_lsn" --to-lsn "$lsn"
restore_and_judge latest "$at_end" --to-latest
ok "the repository holds the segment's very bytes" bash -c "cd '$PGDATA' && '$MBACKUP' --config '$CONF' wal-get $seg2 '$T/got' && cmp '$T/got' pg_wal/$seg2"

# -- the same again, and something else ---------------------------------------------------------------
cd "$PGDATA" || exit 1
before=$(find "$(wal)" -type f | sort | xargs sha256sum)
run mb wal-push "pg_wal/$seg2"
is "$status" 0 "the same segment again is accepted"
rm -f "$T/spool/wal-push-postgres.json"
run mb wal-push "pg_wal/$seg2"
is "$status" 0 "... also when the spool was lost"
is "$(find "$(wal)" -type f | sort | xargs sha256sum)" "$before" "... and nothing is written"
run mb wal-push "pg_wal/$seg2.00000028.backup"
is "$status" 0 "a backup history file is nothing"
mkdir -p "$T/fake/pg_wal" "$T/fake/global"
cp PG_VERSION "$T/fake/"; cp global/pg_control "$T/fake/global/"
cp "pg_wal/$seg2" "$T/fake/pg_wal/"
cd "$T/fake" || exit 1
printf 'other' | dd of="pg_wal/$seg2" bs=1 seek=300000 conv=notrunc 2>/dev/null
run mb wal-push "pg_wal/$seg2"
is "$status" 0 "other bytes of the same segment are kept"
is "$(ls "$(wal)"/*/00000001 | wc -l)" $((branches + 1)) "... on a branch of their own"
is "$(xargs -n1 <<<"$before" | grep / | xargs sha256sum)" "$before" "... and overwrite nothing"
cp "pg_wal/$seg2" "pg_wal/0000000100000000000000F0"
run mb wal-push pg_wal/0000000100000000000000F0
is "$status" 6 "a segment under another's name is refused"
like "$err" "another place in the WAL" "... with the reason"
head -c 100000 "pg_wal/$seg2" >pg_wal/short; mv pg_wal/short "pg_wal/$seg2"
run mb wal-push "pg_wal/$seg2"
is "$status" 6 "a truncated segment is refused"
head -c 16777216 /dev/zero >"pg_wal/$seg2"
run mb wal-push "pg_wal/$seg2"
is "$status" 6 "zeroes are refused"
run mb wal-push pg_wal/../../../etc/passwd
is "$status" 2 "a name that is not WAL is refused"
run mb wal-push "pg_wal/000000010000000000000001"
is "$status" 10 "a file that is not there is an error"
cd "$T" || exit 1
printf 'ERROR at end\n' >"$T/fake/pg_wal/00000002.history"
(cd "$T/fake" && mb wal-push pg_wal/00000002.history) 2>/dev/null
is "$?" 6 "a damaged history file is refused"
rm -rf "$(wal)"/*/00000001/"$(ls -t "$(wal)"/*/00000001 | head -1)"

# -- a batch ------------------------------------------------------------------------------------------
archive /bin/false
for _ in 1 2 3 4 5 6 7 8; do add 20; last=$(closed); done
archive "$PUSH"
ok "a backlog is archived" wait_for 30 archived "$last"
# The archiver's next calls were answered by the note: it knows them all.
is "$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["segments"]) > 4)' "$T/spool/wal-push-postgres.json")" True "one call stored several"
cd "$PGDATA" || exit 1
head -c 48 /dev/urandom >"$T/wrong"; chmod 600 "$T/wrong"
run mb --repository-key-file "$T/wrong" wal-push "pg_wal/$last"
is "$status" 0 "what is noted needs no key"
touch "pg_wal/$last"
run mb --repository-key-file "$T/wrong" wal-push "pg_wal/$last"
is "$status" 7 "... but another file of that name does"
cd "$T" || exit 1
# kill -9 in the middle of a batch
archive /bin/false
for _ in 1 2 3 4 5 6; do add 20; last=$(closed); done
first=$(cd "$PGDATA/pg_wal/archive_status" && ls ./*.ready | head -1 | xargs basename -s .ready)
for delay in 0.02 0.05 0.1
do
	(cd "$PGDATA" && exec "$MBACKUP" --config "$CONF" wal-push "pg_wal/$first") 2>/dev/null & pid=$!
	sleep $delay; kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null
done
# the repository is away, then back
mv "$REPO" "$REPO.away"
(cd "$PGDATA" && mb wal-push "pg_wal/$first") >/dev/null 2>&1
is "$((status=$?, status > 0))" 1 "without the repository nothing is archived"
mv "$REPO.away" "$REPO"
archive "$PUSH"
ok "after kill -9 and an absent repository all is archived" wait_for 30 archived "$last"
at_batch=$(state)
is "$(ls "$(wal)"/*/00000001 | wc -l)" "$branches" "no further branch"
restore_and_judge batch "$at_batch" --to-latest

# -- together with a stream -----------------------------------------------------------------------------
start_stream
for _ in 1 2 3 4; do add 50; last=$(closed); done
ok "segments are archived beside a stream" wait_for 20 archived "$last"
run mb mark both
is "$status" 0 "a mark"
stack_kill "$STREAM"
sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
add 10; at_both=$(state); last=$(closed)
ok "... and without it again" wait_for 20 archived "$last"
is "$(ls "$(wal)"/*/00000001 | wc -l)" "$branches" "no branch of its own"
restore_and_judge both "$at_both" --to-latest

# -- a promotion, archived only ---------------------------------------------------------------------------
run mb restore --component "postgres=$T/next" --yes --to-lsn "$lsn"
is "$status" 0 "restore to go on from there"
stop_cluster "$PGDATA"; mv "$PGDATA" "$PGDATA.old"; mv "$T/next" "$PGDATA"; mb adopt "$PGDATA" >/dev/null
printf 'port = %s\n' "$PGPORT" >>"$PGDATA/postgresql.conf"
start_cluster "$PGDATA"
ok "it is promoted" wait_for 30 sql 'CREATE TEMP TABLE t ()'
add 33; at_two=$(state); last=$(closed)
ok "the new timeline is archived" wait_for 20 archived "$last"
like "$last" "^00000002" "... timeline 2"
ok "... with its history file" archived 00000002.history
restore_and_judge timeline-2 "$at_two" --to-latest
restore_and_judge timeline-1 "$at_both" --to-latest --timeline 1

# A standby is promoted in the middle of a segment that the primary never finished.
pg_basebackup -D "$T/standby" -X stream -c fast >/dev/null 2>&1
sed -i '/^restore_command\|^recovery_target/d' "$T/standby/postgresql.auto.conf"
printf "primary_conninfo = 'host=%s port=%s user=mbtest'\n" "$PGHOST" "$PGPORT" >>"$T/standby/postgresql.auto.conf"
touch "$T/standby/standby.signal"
standby_port=$(free_port)
printf "port = %s\n" "$standby_port" >>"$T/standby/postgresql.conf"
ok "a standby" start_cluster "$T/standby"
add 44; at_three=$(state)
synced() { [ "$(state -p "$standby_port")" = "$at_three" ]; }
ok "... follows" wait_for 20 synced
stop_cluster "$PGDATA" immediate
pg_ctl -D "$T/standby" -w promote >/dev/null
PGDATA=$T/standby PGPORT=$standby_port
add 5; at_three=$(state); last=$(closed)
ok "timeline 3 is archived" wait_for 20 archived "$last"
ok "the end of timeline 2 came as .partial" bash -c "ls '$T/standby/pg_wal/archive_status/' | grep -q '^00000002.*partial.done'"
restore_and_judge timeline-3 "$at_three" --to-latest
run mb verify
is "$status" 0 "verify"

# -- another cluster through the same configuration ----------------------------------------------------------
initdb -D "$T/other" -A trust -N >/dev/null 2>&1
(cd "$T/other" && mb wal-push pg_wal/000000010000000000000001) 2>/dev/null
is "$?" 0 "another cluster's WAL"
is "$(ls "$(wal)" | wc -l)" 2 "... goes to its own system identifier"
is "$(grep -c 'archive command failed' "$T/standby.log")" 0 "no failure in the last server's log"
done_testing
