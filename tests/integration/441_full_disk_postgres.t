#!/bin/bash
# A full disk under the spool of WAL, under the repository that segments are pushed to, and under a
# directory that a delta restores: it is told, nothing that was acknowledged is lost, nothing is half-made,
# and all goes on by itself when there is room again.

. "$(dirname "$0")/../lib/small_disk.sh" 64m
. "$(dirname "$0")/../lib/stack.sh"
[ -z "${MBACKUP_TEST_REPOSITORY:-}" ] || skip_all "a bucket has no disk of ours that could fill up"
[ -n "${MB_TMPFS:-}" ] || skip_all "cannot mount a tmpfs here"
small_disk_stage
stack_begin
stack_postgres --wal-segsize=1 || exit 1
printf 'fsync = off\nautovacuum = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
cp "$CONF" "$T/plain.conf"
fill() { dd if=/dev/zero of="$MB_TMPFS/fill" bs=64k >/dev/null 2>&1; truncate -s "-$1" "$MB_TMPFS/fill"; }
insert() { sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 500) g"; }

# -- the spool of WAL ------------------------------------------------------------------------------------
sed -i "s,^spool = .*,spool = $MB_TMPFS/spool," "$CONF"
printf 'tail-interval = 200ms\nack = spool\n' >>"$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"
run mb backup
is "$status" 0 "a backup"
start_stream
insert
mv "$REPO" "$REPO.away"
fill 3000000
alarmed() { grep -q "no more WAL is read.*No space" "$T/stream.log" || { insert; false; }; }
ok "a spool without space is told" wait_for 30 alarmed
is "$(grep -c 'no more WAL is read' "$T/stream.log")" 1 "... once"
ok "the stream lives on" kill -0 "$STREAM"
flushed() { sql "SELECT flush_lsn FROM pg_stat_replication"; }
before=$(flushed); insert; sleep 2.5
is "$(flushed)" "$before" "nothing more is acknowledged"
ok "... while the server goes on" test "$(sql "SELECT pg_current_wal_lsn() > '$before'")" = t
rm "$MB_TMPFS/fill"
again() { grep -q 'WAL is read again' "$T/stream.log"; }
ok "it goes on by itself when there is space" wait_for 20 again
caught_up() { [ "$(sql "SELECT flush_lsn >= '$1' FROM pg_stat_replication")" = t ]; }
ok "... to the end" wait_for 20 caught_up "$(sql "SELECT pg_current_wal_lsn()")"
# Killed while it is full: what was acknowledged is still there.
fill 1500000
: >"$T/stream.log"
ok "full again" wait_for 30 alarmed
sleep 1.5
acked=$(flushed)
kill -KILL "$STREAM"; wait "$STREAM" 2>/dev/null
mv "$REPO.away" "$REPO"
rm "$MB_TMPFS/fill"
start_stream
run mb mark spooled
is "$status" 0 "killed while it was full: a mark"
[ "$status" = 0 ] || diag "$err"
is "$(find "$REPO/streams/postgres/gaps" -type f 2>/dev/null | wc -l)" 0 "no gap behind what was acknowledged ($acked)"
rows=$(sql "SELECT count(*) FROM event")
stack_kill "$STREAM"
sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null

# -- a delta ------------------------------------------------------------------------------------------------
rm -rf "$MB_TMPFS"/spool/wal-*
run mb restore --yes --to-mark spooled --component "postgres=$MB_TMPFS/d"
is "$status" 0 "a restore that fits"
[ "$status" = 0 ] || diag "$err"
for file in $(find "$MB_TMPFS/d/base" -type f -size +100k | head -n 20); do truncate -s 0 "$file"; done
touch "$MB_TMPFS/d/mine"
fill 500000
run mb restore --yes --delta --to-mark spooled --component "postgres=$MB_TMPFS/d"
is "$status" 8 "a delta that does not fit: exit 8"
[ "$status" = 8 ] || diag "$out$err"
ok "... before anything is touched" test -e "$MB_TMPFS/d/mine" -a -e "$MB_TMPFS/d/global/pg_control"
rm "$MB_TMPFS/fill"
# Room for the pages when it was looked at, but not when they are written.
"$MBACKUP" --config "$CONF" restore --yes --delta --to-mark spooled --component "postgres=$MB_TMPFS/d" >"$T/delta.out" 2>&1 & pid=$!
for _ in $(seq 200); do [ -e "$MB_TMPFS/d/mine" ] || break; sleep 0.005; done
fill 0
wait "$pid"
status=$?
ok "the disk fills up in the middle: done or exit 8 ($status)" test "$status" = 8 -o "$status" = 0
ok "... and what is not whole cannot be started" test "$status" = 0 -o ! -e "$MB_TMPFS/d/global/pg_control"
rm "$MB_TMPFS/fill"
run mb restore --yes --delta --to-mark spooled --component "postgres=$MB_TMPFS/d"
is "$status" 0 "room again: the same command finishes it"
ok "... pg_verifybackup" pg_verifybackup -n "$MB_TMPFS/d"
printf 'port = %s\nfsync = off\n' "$(free_port)" >>"$MB_TMPFS/d/postgresql.conf"
ok "... it starts" start_cluster "$MB_TMPFS/d"
port=$(sed -n 4p "$MB_TMPFS/d/postmaster.pid")
wait_for 30 sql 'CREATE TEMP TABLE x ()' -p "$port"
is "$(sql "SELECT count(*) FROM event" -p "$port")" "$rows" "... with the rows of the mark"
stop_cluster "$MB_TMPFS/d"
rm -rf "$MB_TMPFS/d" "$MB_TMPFS/d.log"

# -- segments into a full repository ----------------------------------------------------------------------------
REPO=$MB_TMPFS/repo
sed "s,^url = .*,url = $REPO,; s,^spool = .*,spool = $T/spool2," "$T/plain.conf" >"$CONF"
run mb init
is "$status" 0 "a repository on the small disk"
run mb backup
is "$status" 0 "a backup"
fill 100000
sql "ALTER SYSTEM SET archive_command = '$MBACKUP --config $CONF wal-push %p'"
echo "archive_mode = on" >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
for _ in 1 2 3; do sql "INSERT INTO event (note) SELECT md5(random()::text) FROM generate_series(1, 6000)"; last=$(sql "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"); sql "SELECT pg_switch_wal()" >/dev/null; done
refused() { grep -q "archive command failed with exit code 8" "$PGDATA.log"; }
ok "a full repository takes no segment: exit 8" wait_for 20 refused
is "$(find "$REPO" -name '.tmp-*' | wc -l)" 0 "... and nothing half"
run mb verify --read-data full
is "$status" 0 "... the repository verifies"
archived() { [ -e "$PGDATA/pg_wal/archive_status/$last.done" ]; }
ok "... the server keeps it" test ! -e "$PGDATA/pg_wal/archive_status/$last.done"
rm "$MB_TMPFS/fill"
ok "room again: the server archives it by itself" wait_for 90 archived
cd "$PGDATA" || exit 1
got() { mb wal-get "$last" "$T/got"; }
ok "... and it comes back" wait_for 10 got
ok "... byte for byte" cmp "$T/got" "pg_wal/$last"
cd "$T" || exit 1
done_testing
