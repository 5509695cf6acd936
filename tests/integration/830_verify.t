#!/bin/bash
# Reading by age finds a damage at the latest when its turn comes, keeps to its budget and goes on after
# kill -9. A drill passes on a good repository and fails, with the exact reason, on a damaged pack, missing
# WAL, a damaged index, a health command that says no; it leaves nothing behind, killed or not.
. "$(dirname "$0")/../lib/stack.sh"
[ -z "${MBACKUP_TEST_REPOSITORY:-}" ] || skip_all "blobs are damaged with a local editor"
stack_begin
stack_postgres
stop_cluster "$PGDATA"; pg_checksums --disable -D "$PGDATA" >/dev/null; start_cluster "$PGDATA"
stack_redis
stack_config
export TMPDIR=$T/tmp; mkdir "$TMPDIR"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

flip() # file offset
{
	python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); byte = f.read(1)[0]
    f.seek(int(sys.argv[2])); f.write(bytes([byte ^ 1]))
PY
}
answer() { python3 -c 'import json, sys; print(eval(sys.argv[2], {"a": json.load(open(sys.argv[1]))}))' "$T/run.out" "$1"; }
documents() { find "$REPO/verified" -type f ! -name '.tmp-*' 2>/dev/null | wc -l; }
# Nothing runs in the scratch directories, and nothing is in them.
scratch_processes() { local p n=0; for p in /proc/[0-9]*; do case $(readlink "$p/cwd" 2>/dev/null) in "$TMPDIR"/*) n=$((n + 1)) ;; esac; done; echo "$n"; }
nothing_left() { wait_for 10 no_process && [ -z "$(ls -A "$TMPDIR")" ]; }
no_process() { [ "$(scratch_processes)" = 0 ]; }

mkdir -p "$T/objects/a" "$T/etc/app"
for i in $(seq 9); do head -c 4000000 /dev/urandom >"$T/objects/a/$i"; done
printf 'listen = 8080\n' >"$T/etc/app/app.conf"; ln -s app.conf "$T/etc/app/link"
sql "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 30000) g; CREATE INDEX t_id ON t (id)"
sql "CREATE DATABASE other"; sql "CREATE TABLE few AS SELECT generate_series(1, 7) AS n" -d other
for i in $(seq 50); do echo "SET k$i v$i"; done | rcli >/dev/null; rcli HSET h a 1 b 2 >/dev/null
run mb backup
is "$status" 0 "backup"

# -- by age -----------------------------------------------------------------------------------------------
run mb check
like "$out" "ok .*read or stored since|read or stored since" "a young repository needs no reading"
run mb verify --budget 1MiB --json
is "$status" 0 "a slice"
blobs=$(find "$REPO/packs" "$REPO/streams" -type f ! -name '.tmp-*' | wc -l)
is "$(answer 'a["verify"]["blobs"] + a["verify"]["left"]')" "$blobs" "... of all blobs"
ok "... no more than what was under way when the budget was spent" test "$(answer 'a["verify"]["stored_bytes"]')" -le $((1048576 + 2 * 17825792))
run mb verify --older-than 1h --json
is "$(answer 'a["verify"]["blobs"] + '"$(answer 'a["verify"]["left"]')")" "$(answer 'a["verify"]["blobs"]')" "the rest in one go"
run mb verify --older-than 1h --json
is "$(answer 'a["verify"]["blobs"]')" 0 "then there is nothing left to do"
is "$(documents)" 2 "two documents say so"
run mb verify --read-data full --json
is "$(answer 'a["verify"]["blobs"]') $(documents)" "$blobs 1" "all of it once more: one document"
run mb verify --budget 7 ; is "$status" 2 "a budget without a unit is refused"
run mb verify --older-than 7d --read-data changed; is "$status" 2 "only the whole is read by age"

victim=$(find "$REPO/packs" -type f -size +3M | sort | sed -n 2p)
flip "$victim" 1000000
for round in $(seq "$blobs"); do run mb verify --older-than 1ms --budget 1MiB --json; [ "$status" = 0 ] || break; done
is "$status" 6 "a damaged pack is found by slices, in round $round of at most $blobs"
is "$(answer 'a["verify"]["problems"][0]["where"]')" "${victim#"$REPO"/}" "... by its name"
run mb verify --older-than 7d --budget 1MiB --json
is "$status $(answer 'len(a["verify"]["problems"])')" "6 1" "it comes first from now on"
flip "$victim" 1000000
run mb verify --older-than 7d
is "$status" 0 "whole again"
like "$out" "no problem" "... and said to be"

kills=$([ -n "${MBACKUP_LONG:-}" ] && echo 60 || echo 6)
for i in $(seq "$kills"); do
	"$MBACKUP" --config "$CONF" verify --older-than 1ms --budget 100MiB >/dev/null 2>&1 & pid=$!
	sleep "0.$(printf %02d $((RANDOM % 30)))"; kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
done
run mb verify --read-data full --json
is "$status $(answer 'len(a["verify"]["problems"])') $(documents)" "0 0 1" "$kills kills -9 later all is well, and one document is left"
sed -i '/^\[global\]/a verify-age = 1s' "$CONF"; sleep 2
run mb check
like "$out" "was not read since" "check tells what was not read for verify-age"
sed -i '/^verify-age/d' "$CONF"

# -- drills -----------------------------------------------------------------------------------------------
run mb verify --restore --json
is "$status" 0 "a drill of the newest backup"
[ "$status" = 0 ] || diag "$err"
is "$(answer '[(c["tables"], c["rows"], c["databases"], c["method"]) for c in a["drill"]["components"] if c["kind"] == "postgres"]')" \
	"[(2, 30007, 2, 'pg_amcheck')]" "rows of all tables, as the source has them"
is "$(answer '[c["keys"] for c in a["drill"]["components"] if c["kind"] == "redis"]')" "[$(rcli DBSIZE)]" "keys as the source has them"
is "$(answer '[(c["files"], c["file_bytes"]) for c in a["drill"]["components"] if c["kind"] == "objects"]')" "[(9, 36000000)]" "objects and their bytes"
is "$(answer 'a["drill"]["status"], a["drill"]["rto_seconds"] > 0, a["drill"]["rpo_seconds"]')" "('passed', True, 0.0)" "RTO and RPO"
ok "nothing is left" nothing_left

start_stream; wait_for 20 slot_active
sql "INSERT INTO t SELECT g, 'new' FROM generate_series(1, 11) g"; rcli SET late 1 >/dev/null
run mb mark here
is "$status" 0 "mark"
# What lies between a backup and a mark belongs to no backup; verify looks at it all the same.
stack_kill "$STREAM" INT; stack_forgets "$STREAM" # it would store more beside what is hidden
run mb verify
is "$status" 0 "the mark can be reached"
mv "$REPO/streams/redis" "$T/hidden"
run mb restore --dry-run --to-mark here --component "redis=$T/none"
like "$status $err" "^0 .*no stream holds the commands up to this mark" "commands of Redis are missing: the restore warns"
run mb verify --read-data none --json
is "$status $(answer '[(p["kind"], p["where"][:6], p["backups"]) for p in a["verify"]["problems"]]')" "6 [('missing', 'marks/', ['here'])]" "... and verify names the mark"
run mb verify
like "$out" 'the commands of "redis" up to this mark are missing' "... and says what is missing"
mv "$T/hidden" "$REPO/streams/redis"
mkdir "$T/hidden"
set=$(ls -t "$REPO/sets" | head -n 1)
find "$REPO/streams/postgres" -type f -newer "$REPO/sets/$set" >"$T/behind"
ok "there is WAL behind the backup" test -s "$T/behind"
while IFS= read -r file; do mv "$file" "$T/hidden/$(basename "$file")"; done <"$T/behind"
run mb restore --dry-run --to-mark here --component "postgres=$T/none"
ok "WAL is missing: the restore refuses" test "$status" = 6 -o "$status" = 10
run mb verify --read-data none --json
is "$status $(answer '[(p["kind"], p["where"][:6], p["backups"]) for p in a["verify"]["problems"]]')" "6 [('missing', 'marks/', ['here'])]" "... and verify names the mark, and no backup"
like "$out" 'postgres.. cannot be restored to this mark' "... and says of what"
while IFS= read -r file; do mv "$T/hidden/$(basename "$file")" "$file"; done <"$T/behind"
run mb verify
is "$status" 0 "all is back"
start_stream; wait_for 20 slot_active
cat >"$T/health" <<'SH'
[ "$(psql -X -A -t -c 'SELECT count(*) FROM t' "$MBACKUP_DRILL_POSTGRES_CONNINFO")" = 30011 ] || { echo "rows are missing"; exit 1; }
[ "$(redis-cli --no-auth-warning -s "$MBACKUP_DRILL_REDIS_SOCKET" -a "$MBACKUP_DRILL_REDIS_PASSWORD" GET late)" = 1 ] || { echo "no late key"; exit 1; }
[ -f "$MBACKUP_DRILL_UPLOADS_DIRECTORY/a/9" ] && grep -qr 8080 "$MBACKUP_DRILL_CONFIG_DIRECTORY" || { echo "files are missing"; exit 1; }
[ -z "$(psql -X -A -t -c "SHOW archive_command" "$MBACKUP_DRILL_POSTGRES_CONNINFO" | grep -v disabled)" ] || exit 1
[ -z "$(psql -X -A -t -c "SHOW listen_addresses" "$MBACKUP_DRILL_POSTGRES_CONNINFO")" ] || { echo "it listens"; exit 1; }
SH
run mb verify --restore --to-mark here --health "sh $T/health" --json
is "$status" 0 "a drill to a mark, with the application's own opinion"
[ "$status" = 0 ] || diag "$err"
run mb verify --restore --health 'echo first; echo "the shop is shut"; exit 3'
is "$status" 1 "the health command says no"
like "$err" "status 3.*the shop is shut" "... in its own words"
ok "nothing is left" nothing_left
run mb list
like "$out" "last drill: .* failed" "list shows the last one"
run mb check
like "$out" "the drill of .* failed" "check warns"

"$MBACKUP" --config "$CONF" verify --restore --health 'touch "$MBACKUP_DRILL_DIRECTORY/../up"; sleep 60' >/dev/null 2>&1 & pid=$!
ok "a drill is up" wait_for 30 test -e "$TMPDIR/up"; rm -f "$TMPDIR/up"
kill -9 "$pid"; wait "$pid" 2>/dev/null
ok "killed with -9: its servers die with it" wait_for 60 no_process
ok "... its directory is still there" test -n "$(ls -A "$TMPDIR")"
"$MBACKUP" --config "$CONF" verify --restore --component config --component uploads --health 'touch "$MBACKUP_DRILL_DIRECTORY/../up"; exec sleep 60' >/dev/null 2>&1 & pid=$!
ok "the next one is up" wait_for 30 test -e "$TMPDIR/up"; rm -f "$TMPDIR/up"
is "$(ls -d "$TMPDIR"/* | wc -l)" 1 "... and has removed it"
kill -INT "$pid"; wait "$pid"
is "$?" 130 "SIGINT"
ok "... leaves nothing" nothing_left

# Killed anywhere, also between two steps: the next one removes what it left, and passes.
for i in $(seq "$([ -n "${MBACKUP_LONG:-}" ] && echo 40 || echo 1)"); do
	"$MBACKUP" --config "$CONF" verify --restore >/dev/null 2>&1 & pid=$!
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"; kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
	wait_for 60 no_process || { result "kill $i: a process stays" 1; break; }
done
find "$TMPDIR" -maxdepth 1 -name 'mbackup-drill-*' -exec touch -d '-2 min' {} + # one that was killed before it had a lock counts as new for a minute
mb verify --restore --component config >/dev/null 2>&1
ok "... killed at random, nothing is left after the next one" nothing_left

# -- what is not good ----------------------------------------------------------------------------------------
stack_kill "$STREAM" INT; stack_forgets "$STREAM"
large=$(find "$REPO/packs" -type f -size +2M)
for pack in $large; do flip "$pack" 1000000; done
run mb verify --restore --json
is "$status" 6 "damaged packs"
like "$out" "packs/[0-9a-f/]*.{0,9} is damaged" "... one of them is named"
for pack in $large; do flip "$pack" 1000000; done
start=$(mb info --json | json backup.cut.positions.postgres.start_lsn)
wal=$(find "$REPO/streams/postgres/wal" -type d -name "*$(printf '%08X' $((16#${start#*/} >> 24)))" | head -n 1)
mv "$wal" "$T/wal"
run mb verify --restore
is "$status" 6 "WAL that the cut needs is missing"
like "$err" "WAL" "... is what is said"
mv "$T/wal" "$wal"
run mb verify --restore --json
is "$status" 0 "with both back in place it passes"
run mb verify --restore --drill-directory "$T/$(printf 'd%.0s' $(seq 80))"; is "$status" 2 "a directory whose sockets would have no names"

file=$PGDATA/$(sql "SELECT pg_relation_filepath('t_id')")
stop_cluster "$PGDATA"
python3 - "$file" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:    # page 1, the first leaf: exchange two line pointers
    f.seek(8192 + 24 + 4 * 5); a = f.read(4); b = f.read(4)
    f.seek(8192 + 24 + 4 * 5); f.write(b + a)
PY
start_cluster "$PGDATA"
judge=$(pg_amcheck -p "$PGPORT" -d postgres --install-missing -i t_id 2>&1)
like "$judge" "item order invariant" "a damaged index, says pg_amcheck of the source"
run mb backup
is "$status" 0 "... which a backup cannot see"
run mb verify --restore --json
is "$status" 1 "the drill does"
like "$(answer 'a["drill"]["error"]["message"]')" 't_id' "... and names the index"
is "$(answer '[c["checks"][-1]["status"] for c in a["drill"]["components"]]')" "['failed', 'ok', 'ok', 'ok']" "the others were looked at all the same"
ok "nothing is left" nothing_left
run mb verify --history --json
is "$(answer '[d["status"] == "failed" for d in a["drills"]].count(True), a["drills"][0]["status"], a["drills"][-1]["status"]')" "(4, 'passed', 'failed')" "the history has all that came to a verdict"
run mb verify --history
like "$out" "failed .*t_id" "... for people too"
done_testing
