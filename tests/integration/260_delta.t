#!/bin/bash
# A delta restore brings any damaged, changed or half-restored data directory to exactly the state
# of a fresh restore of the same backup: judged by diff -r, pg_verifybackup and rows. kill -9 at any
# moment leaves a directory that does not start and that the same command finishes.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

mkdir "$T/ts"
sql "CREATE TABLESPACE ts LOCATION '$T/ts'"
sql "CREATE TABLE a AS SELECT g AS id, repeat(md5(g::text), 8) AS t FROM generate_series(1, 60000) g"
sql "CREATE TABLE b TABLESPACE ts AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 20000) g"
sql "CREATE INDEX ON a (id)"; sql "VACUUM"
state() { psql -X -q -A -t "$@" -c "SELECT (SELECT md5(string_agg(t, ',' ORDER BY id)) FROM a), (SELECT md5(string_agg(t, ',' ORDER BY id)) FROM b)"; }
run mb backup
is "$status" 0 "backup"
at_backup=$(state)
run mb restore --component "postgres=$T/fresh" --tablespace "$T/ts=$T/fresh-ts"
is "$status" 0 "a fresh restore to compare with"
like "$out$err" "restore" "it answers"

# What two restores may differ in: the restore's own id, and where the tablespace went.
settled() # directory: a list of names, types, modes, links and contents
{
	(cd "$1" && find . -printf '%P %y %m %l\n' | sed "s,$T/[a-z-]*ts$,TS," | sort
		find . -type f ! -name mbackup_restore.json ! -name postgresql.auto.conf ! -name backup_manifest \
			! -name tablespace_map -print0 | sort -z | xargs -0 sha256sum)
	(cd "$2" && find . -printf '%P %y %m %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}
settled "$T/fresh" "$T/fresh-ts" >"$T/fresh.list"
same() { settled "$T/d" "$T/d-ts" >"$T/d.list"; diff "$T/fresh.list" "$T/d.list"; }
delta() { mb restore --delta --yes --component "postgres=$T/d" --tablespace "$T/ts=$T/d-ts" "$@"; }

run delta
is "$status" 0 "a delta into a directory that is missing"
ok "... is a fresh restore" same
run delta
is "$status" 0 "a delta over an equal directory"
ok "... changes nothing" same
is "$(delta --json 2>/dev/null | json restore.components.0.written_bytes)" 0 "... writes no file data"
ok "pg_verifybackup" pg_verifybackup -n "$T/d"

# -- random damage ----------------------------------------------------------------------------------
echo secret >"$T/outside"; mkdir "$T/elsewhere"; echo keep >"$T/elsewhere/keep"
damage()
{
	python3 - "$T/d" "$T/d-ts" "$T" "$1" <<'PY'
import os, random, sys
root, space, base, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
r = random.Random(seed)
files = [os.path.join(d, f) for top in (root, space) for d, _, fs in os.walk(top) for f in fs]
files.sort()
pick = [f for f in r.sample(files, 60) if os.path.basename(f) not in ("PG_VERSION", "pg_control", "mbackup_restore.partial")]
big = max(files, key=os.path.getsize)
pick.append(big)
for n, f in enumerate(pick):
    if not os.path.lexists(f): continue
    size = os.path.getsize(f)
    kind = n % 7 if f != big else 0
    if kind == 0:                                     # pages
        with open(f, "r+b") as h:
            for _ in range(5):
                h.seek(r.randrange(size + 1)); h.write(r.randbytes(100))
            h.truncate(size)
    elif kind == 1: os.truncate(f, size // 2)
    elif kind == 2:
        with open(f, "ab") as h: h.write(b"x" * r.randrange(1, 20000))
    elif kind == 3: os.unlink(f)
    elif kind == 4: os.unlink(f); os.symlink(base + "/outside", f)
    elif kind == 5: os.chmod(f, 0o666)
    elif kind == 6: os.unlink(f); os.mkdir(f); open(f + "/in", "w").close()
for d in (root, root + "/base", root + "/pg_wal", space):
    open(d + "/extra%d" % r.randrange(1000), "w").write("extra")
os.makedirs(root + "/base/99999/deep", exist_ok=True)
# links that lead outside, in place of a directory and of a file; a second name of a foreign file
os.system("rm -rf '%s/pg_xact'" % root); os.symlink(base + "/elsewhere", root + "/pg_xact")
p = root + "/postgresql.conf"
os.system("rm -rf '%s'" % p)
os.link(base + "/outside", p)
p = root + "/pg_hba.conf"
os.system("rm -rf '%s'" % p)
os.symlink(base + "/outside", p)
PY
}
for seed in $(seq 1 "${MBACKUP_LONG:+20}" 2>/dev/null || echo 1 2)
do
	damage "$seed"
	# A name at the top of a tablespace may be another version's: a delta leaves it alone.
	run delta
	is "$status" 0 "a delta over random damage ($seed)"
	[ "$status" = 0 ] || diag "$err"
	rm -f "$T"/d-ts/extra*
	ok "... equals the fresh restore" same
	like "$out" "is lost" "... and says that what was there is lost"
done
is "$(cat "$T/outside")" secret "nothing outside was written through a link"
is "$(ls "$T/elsewhere")" keep "... or removed"
ok "pg_verifybackup" pg_verifybackup -n "$T/d"

# -- a cluster that lived on --------------------------------------------------------------------------
printf 'port = %s\n' "$(free_port)" >>"$T/d/postgresql.conf"
ok "it starts" start_cluster "$T/d"
p=$(sed -n 4p "$T/d/postmaster.pid")
wait_for 30 sql 'CREATE TEMP TABLE t ()' -p "$p"
run delta
is "$status" 4 "over a running server: a conflict"
like "$err" "a server is running" "... that says so"
is "$(state -p "$p")" "$at_backup" "... and does not touch it"
sql "UPDATE a SET t = 'changed' WHERE id % 100 = 0" -p "$p"; sql "CREATE TABLE c AS SELECT * FROM a" -p "$p"; sql "DROP TABLE b" -p "$p"
stop_cluster "$T/d"
run delta --dry-run
is "$status" 0 "a dry run"
like "$out" "is lost" "... says what will be lost"
is "$(mb restore --delta --dry-run --json --component "postgres=$T/d" --tablespace "$T/ts=$T/d-ts" 2>/dev/null | json restore.components.0.plan.delta)" true "... in JSON too"
ok "... and changes nothing" test -e "$T/d/global/pg_control"
run mb restore --delta --component "postgres=$T/d" --tablespace "$T/ts=$T/d-ts" </dev/null
is "$status" 2 "without --yes it is asked"

# -- kill -9 at random moments, then again ------------------------------------------------------------
killed=0
for try in $(seq "${MBACKUP_LONG:+25}" 2>/dev/null || seq 5)
do
	damage "$((100 + try))"; rm -f "$T"/d-ts/extra*
	"$MBACKUP" --config "$CONF" restore --delta --yes --component "postgres=$T/d" --tablespace "$T/ts=$T/d-ts" >/dev/null 2>&1 &
	pid=$!
	sleep "0.0$((RANDOM % 9))$((RANDOM % 10))"
	if kill -9 "$pid" 2>/dev/null && [ -e "$T/d/mbackup_restore.partial" ]
	then
		killed=$((killed + 1))
# With pg_control still there nothing has been changed yet.
		[ "$killed" = 1 ] && [ ! -e "$T/d/global/pg_control" ] && pg_ctl -D "$T/d" -l "$T/d.log" -w -t 5 start >/dev/null 2>&1 && { result "a killed delta does not start" 1; stop_cluster "$T/d" immediate; }
	fi
	wait "$pid" 2>/dev/null
done
diag "$killed of the kills hit in the middle"
run delta
is "$status" 0 "after kill -9 the same command finishes"
[ "$status" = 0 ] || diag "$err"
ok "... and equals the fresh restore" same
ok "pg_verifybackup" pg_verifybackup -n "$T/d"
# A write that fails in the middle (no file may pass 1 MiB, as with a full disk).
damage 55; rm -f "$T"/d-ts/extra*; find "$T/d/base" -size +2M -exec truncate -s 0 {} +
run bash -c "trap '' XFSZ; ulimit -f 1024; exec '$MBACKUP' --config '$CONF' restore --delta --yes --component 'postgres=$T/d' --tablespace '$T/ts=$T/d-ts'"
is "$((status != 0 && status < 128))" 1 "a write that fails is an error"
like "$err" "run the same restore with --delta again" "... that says how to go on"
ok "... what is there does not start" test ! -e "$T/d/global/pg_control"
run delta
is "$status" 0 "the same command finishes"
ok "... and equals the fresh restore" same
# A restore into an empty directory that was killed is finished by a delta too.
# (One that was at its end before it was hit is done again.)
for _ in $(seq 20)
do
	rm -rf "$T/k" "$T/k-ts"
	"$MBACKUP" --config "$CONF" restore --component "postgres=$T/k" --tablespace "$T/ts=$T/k-ts" >/dev/null 2>&1 & pid=$!
	while [ ! -e "$T/k/base" ] && kill -0 "$pid" 2>/dev/null; do :; done
	kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
	[ -e "$T/k/base" ] && [ ! -e "$T/k/global/pg_control" ] && break
done
ok "a killed restore left something" test ! -e "$T/k/global/pg_control"
run mb restore --component "postgres=$T/k" --tablespace "$T/ts=$T/k-ts"
is "$status" 4 "a plain restore refuses it"
run mb restore --delta --yes --component "postgres=$T/k" --tablespace "$T/ts=$T/k-ts"
is "$status" 0 "a delta finishes it"
ok "pg_verifybackup" pg_verifybackup -n "$T/k"
printf 'port = %s\n' "$(free_port)" >>"$T/k/postgresql.conf"
ok "it starts" start_cluster "$T/k"
p=$(sed -n 4p "$T/k/postmaster.pid")
wait_for 30 sql 'CREATE TEMP TABLE t ()' -p "$p"
is "$(state -p "$p")" "$at_backup" "with the rows of the backup"
stop_cluster "$T/k" immediate

# -- what it refuses ------------------------------------------------------------------------------------
mkdir "$T/home"; echo precious >"$T/home/letter"
run mb restore --delta --yes --component "postgres=$T/home" --tablespace-all "$T/all"
is "$status" 4 "a directory that is no data directory"
like "$err" "not a data directory" "... is named so"
is "$(cat "$T/home/letter")" precious "... and untouched"
initdb -D "$T/other" -U x -A trust -N >/dev/null 2>&1
run mb restore --delta --yes --component "postgres=$T/other" --tablespace-all "$T/all"
is "$status" 4 "another cluster"
like "$err" "another cluster" "... is told by its system identifier"
ok "... and untouched" pg_controldata "$T/other"
run mb restore --delta --force --yes --component "postgres=$T/other" --tablespace-all "$T/all"
is "$status" 0 "--force replaces it"
ok "pg_verifybackup" pg_verifybackup -n "$T/other"
is "$(ls "$T/all" | wc -l)" 1 "--tablespace-all puts the tablespace below its directory"
run mb restore --delta --yes --component "postgres=$T/other"
is "$status" 4 "the original's tablespace directory is not taken"
ok "... and untouched" test -n "$(find "$T/ts" -type f | head -1)"
run mb restore --delta --yes --component "postgres=$T/other" --tablespace-all "$T/all" --wal-dir "$T/wal"
is "$status" 0 "pg_wal moves to another directory"
is "$(readlink "$T/other/pg_wal")" "$T/wal" "... by a link"
printf 'port = %s\n' "$(free_port)" >>"$T/other/postgresql.conf"
ok "it starts" start_cluster "$T/other"
p=$(sed -n 4p "$T/other/postmaster.pid")
wait_for 30 sql 'CREATE TEMP TABLE t ()' -p "$p"
is "$(state -p "$p")" "$at_backup" "with the rows of the backup"
ok "the WAL is there" test -n "$(ls "$T/wal" | grep -E '^0')"
stop_cluster "$T/other"
run mb restore --delta --yes --component "postgres=$T/other" --tablespace-all "$T/all" --wal-dir "$T/wal"
is "$status" 0 "a delta over it keeps the place"
is "$(ls "$T/wal" | grep -cE '^0')" 0 "... and cleans the WAL"
run mb restore --delta --yes --component "postgres=$T/other" --tablespace-all "$T/other/base/all"
is "$status" 2 "a tablespace inside the data directory"
pack=$(find "$REPO/packs" -type f | head -1); mv "$pack" "$T/pack"
run mb restore --delta --yes --component "postgres=$T/other" --tablespace-all "$T/all" --wal-dir "$T/wal"
is "$status" 6 "a missing pack is seen before anything is touched"
like "$err" "packs/" "... and named"
ok "... indeed" test -e "$T/other/global/pg_control"
mv "$T/pack" "$pack"
done_testing
