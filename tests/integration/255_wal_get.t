#!/bin/bash
# restore_command fetches ahead in a helper: one for a recovery, without a key derivation for each file;
# killed with -9 it is replaced, and it ends with its server or its directory. Without --restore a standby is
# served from the archive alone, over a promotion, and another cluster's directory is refused. The quick program
# delivers what the helper has and leaves everything else, also what it says, to mbackup.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres --wal-segsize=1
# A passphrase: opening the repository costs a second of scrypt, so it shows who opens it.
stack_config none
sed -i '/^\[objects/,$d; /^encryption/d' "$CONF"
printf 'passphrase-file = %s/pass\n' "$T" >"$T/line"; sed -i "/^url = /r $T/line" "$CONF"
printf 'a long passphrase for a test\n' >"$T/pass"; chmod 600 "$T/pass"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
printf "wal_keep_size = 512MB\narchive_mode = on\narchive_command = '%s --config %s wal-push %%p'\n" "$MBACKUP" "$CONF" >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA"
state() { psql -X -q -A -t "$@" -c "SELECT count(*), coalesce(sum(id), 0), md5(coalesce(string_agg(id || note, ',' ORDER BY id), '')) FROM event"; }
add() { sql "INSERT INTO event (note) SELECT repeat(md5(g::text), 20) FROM generate_series(1, $1) g"; }
closed() { sql "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"; sql "SELECT pg_switch_wal()" >/dev/null; }
archived() { [ -e "$PGDATA/pg_wal/archive_status/$1.done" ]; }
# Helpers by what they were called with; they are nobody's children. (Their /proc is closed to others.)
helpers() # restore id, or wal-get
{
	local p
	for p in /proc/[0-9]*
	do
		{ tr '\0' ' ' <"$p/cmdline"; } 2>/dev/null | grep -q -- "--config $CONF wal-get.*$1\|wal-get --config $CONF .*$1" &&
			grep -q '^PPid:[[:space:]]*1$' "$p/status" 2>/dev/null && echo "${p#/proc/}"
	done
}
no_helper() { [ -z "$(helpers "$1")" ]; }
one_helper() { [ "$(helpers "$1" | wc -l)" = 1 ]; }

sql "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"
add 100
run mb backup
is "$status" 0 "a backup"
for _ in $(seq 30); do add 1200; done
at_end=$(state); last=$(closed)
ok "WAL is archived" wait_for 60 archived "$last"

# -- by hand --------------------------------------------------------------------------------------------
run mb restore --component "postgres=$T/r1" --yes --to-latest
is "$status" 0 "restore"
id=$(json restore <"$T/r1/mbackup_restore.json")
segment() { python3 -c '
import json, sys
plan = json.load(open(sys.argv[1])); link = plan["links"][-1]
hi, lo = (int(x, 16) for x in link["from"].split("/"))
n = (hi << 32 | lo) // plan["segment_size"] + int(sys.argv[2])
print("%08X%08X%08X" % (link["timeline"], n // 4096, n % 4096))' "$T/r1/mbackup_restore.json" "$1"; }
get() { run mb wal-get --restore="$id" "$1" pg_wal/RECOVERYXLOG; }
cd "$T/r1" || exit 1
get "$(segment 0)"
is "$status" 0 "the first segment"
ok "there is one helper" wait_for 10 one_helper "$id"
helper=$(helpers "$id")
ahead() { [ "$(find pg_wal/mbackup-prefetch -name '0*' ! -name '*tmp*' | wc -l)" -ge "$1" ]; }
ok "it fetches ahead" wait_for 20 ahead 10
mv "$REPO" "$REPO.away"
for i in 1 2 3 4 5 6 7 8; do get "$(segment $i)"; [ "$status" = 0 ] || break; done
is "$status" 0 "eight more, without opening the repository: it is away"
mv "$REPO.away" "$REPO"
is "$(helpers "$id")" "$helper" "... by the same helper"
kill -KILL "$helper"
wait_for 5 no_helper "$id"
rm -rf pg_wal/mbackup-prefetch
get "$(segment 9)"
is "$status" 0 "after kill -9 of the helper the next one is delivered"
ok "... and there is another helper" wait_for 10 one_helper "$id"
wait_for 20 ahead 5
helper=$(helpers "$id"); kill -KILL "$helper"
# What it left is good; what somebody else left is not.
next=$(segment 10); file=$(find pg_wal/mbackup-prefetch -name "$next.*")
ok "it left files" test -n "$file"
head -c 1048576 /dev/urandom >"pg_wal/mbackup-prefetch/$(segment 11).0123456789abcdef"
rm -f pg_wal/mbackup-prefetch/"$(segment 11)".[!0]*
get "$next"
is "$status" 0 "a left file is served"
get "$(segment 11)"
is "$status" 0 "a foreign one is not"
ok "... but the true one" bash -c "pg_waldump -n 1 pg_wal/RECOVERYXLOG 2>/dev/null || cp pg_wal/RECOVERYXLOG '$T/$(segment 11)' && pg_waldump -n 1 '$T/$(segment 11)' >/dev/null"
# the same restore, another plan: nothing past the new end
python3 - mbackup_restore.json "$(segment 11)" <<'PY'
import json, sys
plan = json.load(open(sys.argv[1]))
n = int(sys.argv[2][8:16], 16) * 4096 + int(sys.argv[2][16:], 16)
plan["links"][-1]["to"] = "%X/%X" % ((n + 1) * plan["segment_size"] >> 32, (n + 1) * plan["segment_size"] & 0xFFFFFFFF)
json.dump(plan, open(sys.argv[1], "w"))
PY
get "$(segment 12)"
is "$status" 1 "a helper of another plan is not asked"
get "$(segment 11)"
is "$status" 0 "the planned end is delivered"
get 00000002.history
is "$status" 1 "recovery is over"
ok "... and the helpers end" wait_for 10 no_helper "$id"
ok "... with what they fetched" test ! -e pg_wal/mbackup-prefetch
get "$(segment 9)"
ok "another one" wait_for 10 one_helper "$id"
cd "$T" || exit 1
mv "$T/r1" "$T/moved"
ok "a helper ends when its directory is gone" wait_for 10 no_helper "$id"

# -- the quick program ----------------------------------------------------------------------------------
heavy=$(ldd "$BUILD/mbackup-wal-get" | grep -Eo 'lib(pq|crypto|ssl|archive|zstd|hiredis)\.' | sort -u)
is "$heavy" "" "the quick program loads no large library"
mv "$T/moved" "$T/old"
run mb restore --component "postgres=$T/r1" --yes --to-latest
id=$(json restore <"$T/r1/mbackup_restore.json")
like "$(grep ^restore_command "$T/r1/postgresql.auto.conf")" "/mbackup-wal-get'' --config ''[^ ]*'' --restore=$id %f %p'\$" "restore_command names it"
# Without an mbackup beside it, it can only deliver.
mkdir "$T/alone"; cp "$BUILD/mbackup-wal-get" "$T/alone/"
quick() { run "$BUILD/mbackup-wal-get" --config "$CONF" --restore="$id" "$1" pg_wal/RECOVERYXLOG; }
alone() { run "$T/alone/mbackup-wal-get" --config "$CONF" --restore="$id" "$1" pg_wal/RECOVERYXLOG; }
delivered() { [ "$status" = 0 ] && cmp "$PGDATA/pg_wal/$1" pg_wal/RECOVERYXLOG && rm pg_wal/RECOVERYXLOG; }
cd "$T/r1" || exit 1
alone "$(segment 0)"
is "$status" 210 "without a helper it needs mbackup: 200 + NOT_FOUND"
like "$err" "could not run .*/alone/mbackup\"" "... and says so"
quick "$(segment 0)"
ok "the first segment" delivered "$(segment 0)"
ok "... and a helper" wait_for 10 one_helper "$id"
ok "... that fetches ahead" wait_for 20 ahead 10
alone "$(segment 1)"
ok "a prefetched segment by itself" delivered "$(segment 1)"
alone "$(segment 25)"
ok "one that the helper has to fetch" delivered "$(segment 25)"
alone 0000000100000FFF00000000
is "$status" 210 "it does not say itself that there is none"
quick 0000000100000FFF00000000
is "$status:$err" "1:" "... mbackup does: 1"
ok "... and the helper ends" wait_for 10 no_helper "$id"
quick 00000002.history
is "$status:$err" "1:" "a history file that does not exist: 1"
# What mbackup says of the same call, word for word.
same_as_mbackup() # status name argument...
{
	local expected=$1 name=$2 first
	shift 2
	run "$MBACKUP" wal-get "$@"
	first="$status:$err"
	run "$BUILD/mbackup-wal-get" "$@"
	is "$status" "$expected" "$name: $expected"
	is "$status:$err" "$first" "... as mbackup says"
}
same_as_mbackup 1 "not a WAL file" --config "$CONF" --restore="$id" ../../etc/passwd pg_wal/RECOVERYXLOG
same_as_mbackup 202 "the plan of another restore" --config "$CONF" --restore=other "$(segment 2)" pg_wal/RECOVERYXLOG
same_as_mbackup 210 "no configuration" --config "$T/none.conf" --restore="$id" "$(segment 2)" pg_wal/RECOVERYXLOG
same_as_mbackup 202 "no %p" --config "$CONF" --restore="$id" "$(segment 2)"
same_as_mbackup 202 "no such option" --config "$CONF" --restore="$id" --never "$(segment 2)" pg_wal/RECOVERYXLOG
same_as_mbackup 1 "without a plan, none" --config "$CONF" 0000000100000FFF00000000 pg_wal/RECOVERYXLOG
mv "$REPO" "$REPO.away"
same_as_mbackup 210 "no repository" --config "$CONF" --restore="$id" "$(segment 2)" pg_wal/RECOVERYXLOG
mv "$REPO.away" "$REPO"
blob=$(find "$REPO/streams/postgres/wal" -type d -name "$(segment 2)")
mv "$blob" "$T/blob.away"
quick "$(segment 2)"
is "$status" 206 "a planned segment that is missing: 200 + CORRUPT"
mv "$T/blob.away" "$blob"
quick "$(segment 2)"
ok "... and back again" delivered "$(segment 2)"
quick 00000002.history
cd "$T" || exit 1

# -- a recovery, and its end ------------------------------------------------------------------------------
run mb restore --component "postgres=$T/r2" --yes --to-latest --target-action pause
printf 'port = %s\nfsync = off\narchive_mode = off\n' "$(free_port)" >>"$T/r2/postgresql.conf"
ok "a recovery with the helper" start_cluster "$T/r2"
port=$(sed -n 4p "$T/r2/postmaster.pid")
wait_for 30 eval "[ \"\$(state -p $port)\" = '$at_end' ]"
is "$(state -p "$port")" "$at_end" "... recovers all rows"
stop_cluster "$T/r2" immediate
ok "the helper ends with the postmaster" wait_for 10 no_helper "$(json restore <"$T/r2/mbackup_restore.json")"

# -- a standby from the archive alone ---------------------------------------------------------------------
pg_basebackup -D "$T/standby" -X none -c fast >/dev/null 2>&1
port=$(free_port)
printf "port = %s\narchive_mode = off\nfsync = off\nwal_retrieve_retry_interval = '200ms'\nrestore_command = '%s --config %s wal-get %%f %%p'\n" "$port" "$MBACKUP" "$CONF" >>"$T/standby/postgresql.conf"
touch "$T/standby/standby.signal"
last=$(closed); wait_for 30 archived "$last"
ok "a standby without a connection" start_cluster "$T/standby"
add 77; at_now=$(state); last=$(closed)
follows() { [ "$(state -p "$port" 2>/dev/null)" = "$at_now" ]; }
ok "... follows the archive" wait_for 40 follows
stop_cluster "$PGDATA" fast
mkdir "$T/empty"
(cd "$T/empty" && mb wal-get 000000010000000000000001 x) 2>/dev/null
is "$?" 202 "outside of a data directory: 200 + CONFIG"
initdb -D "$T/other" -A trust -N >/dev/null 2>&1
(cd "$T/other" && mb wal-get 000000010000000000000001 pg_wal/x) 2>/dev/null
is "$?" 202 "another cluster's data directory: 200 + CONFIG"
cd "$T/standby" || exit 1
run mb wal-get 00000009.history pg_wal/RECOVERYHISTORY
is "$status" 1 "a history file that does not exist: 1"
run mb wal-get 0000000100000FFF00000000 pg_wal/RECOVERYXLOG
is "$status" 1 "a segment that does not exist: 1"
cd "$T" || exit 1
# The primary is replaced by a restore of it, which goes on as timeline 2; the standby goes with it.
run mb restore --component "postgres=$T/next" --yes --to-latest; mb adopt "$T/next" >/dev/null
printf 'port = %s\nfsync = off\n' "$PGPORT" >>"$T/next/postgresql.conf"
ok "a restored primary" start_cluster "$T/next"
PGDATA=$T/next
ok "... on a new timeline" wait_for 30 sql 'CREATE TEMP TABLE t ()'
add 5; at_now=$(state); last=$(closed)
like "$last" "^00000002" "... 2"
ok "... archives" wait_for 30 archived "$last"
ok "the standby follows the new timeline" wait_for 40 follows
stop_cluster "$T/standby"
ok "pg_checksums" pg_checksums --check -D "$T/standby"
done_testing
