#!/bin/bash
# An archive of a whole stack, opened by openssl, tar, pg_restore, redis-server and sha256sum alone, is what
# the services held: judged by pg_dump, DEBUG DIGEST and diff. It loads into empty services and is the same
# again; what is damaged, cut off, locked or hostile is refused before anything is touched.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
# What is synced is not what this tests: no waiting for the disk.
export LD_PRELOAD=$BUILD/fault.so MBACKUP_FAULT_NOSYNC=1
echo "fsync = off" >>"$PGDATA/postgresql.conf"; pg_ctl -D "$PGDATA" reload >/dev/null
stack_config
export TMPDIR=$T/tmp; mkdir "$TMPDIR"
odd=$'od\'d "x=y\\z'

# -- something of everything ----------------------------------------------------------------------------
sql "CREATE ROLE \"App Role\" LOGIN PASSWORD 'secret' CONNECTION LIMIT 7; CREATE ROLE readers; GRANT readers TO \"App Role\""
createdb shop; createdb "$odd"
sql "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 20000) g; CREATE INDEX ON t (id);
	ALTER TABLE t OWNER TO \"App Role\"; CREATE TABLE \"T \"\"q\" (b bytea); INSERT INTO \"T \"\"q\" VALUES ('\\x000102ff');
	SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex'))" -d shop >/dev/null
psql -X -q -c 'CREATE TABLE z (i int)' -d "dbname='od\\'d \"x=y\\\\z'"
mkdir -p "$T/objects/a/b" "$T/etc/sub"
printf 'small' >"$T/objects/a/b/c"
printf 'percent' >"$T/objects/100%41"
printf 'bytes' >"$T/objects/"$'nl\nback\\slash'
printf 'latin' >"$T/objects/"$'caf\xe9'
printf 'utf' >"$T/objects/käse"
: >"$T/objects/empty"
head -c 5000000 /dev/urandom >"$T/objects/big"
echo "option = value" >"$T/etc/app.conf"; chmod 640 "$T/etc/app.conf"
echo deep >"$T/etc/sub/"$'we\\ird\nname'
ln -s ../nowhere "$T/etc/sub/link"; ln -s /etc/passwd "$T/etc/absolute"
mkdir "$T/etc/hollow"; ln "$T/etc/app.conf" "$T/etc/second name"
rcli set s x >/dev/null; rcli hset h a 1 b 2 >/dev/null; rcli rpush l 1 2 3 >/dev/null; rcli sadd m a b >/dev/null
rcli zadd z 1 a 2.5 b >/dev/null; rcli xadd x 1-1 f v >/dev/null; rcli pfadd p a b c >/dev/null; rcli setbit bits 100 1 >/dev/null
rcli -n 3 set other db >/dev/null; rcli set later 1 EX 100000 >/dev/null
rcli function load "#!lua name=lib
redis.register_function('f', function() return 1 end)" >/dev/null
run mb init
is "$status" 0 "init"
run mb backup
is "$status" 0 "backup"
[ "$status" = 0 ] || diag "$err"
judge_dump() { pg_dump "$@" | grep -v '^\\'; }
judge_dump -d shop >"$T/shop.want"
want_digest=$(rcli debug digest)

# What comes later is not in it.
sql "DELETE FROM t" -d shop; rcli set s changed >/dev/null; echo later >"$T/objects/later"

export MBACKUP_EXPORT_PASSPHRASE="pass phrase $RANDOM"
run mb export "$T/x.tar.gz.enc"
is "$status" 0 "export, encrypted"
[ "$status" = 0 ] || diag "$err"
is "$(ls "$TMPDIR")" "" "no scratch directory is left"
like "$(ls "$T" | grep part)" '^$' "no part of a file is left"
run mb export "$T/x.tar.gz.enc"
is "$status" 4 "a file that exists is refused"
run mb export "$T/x.tar.gz.enc" --force --json
is "$status" 0 "... and replaced with --force"
is "$(json export.sha256 <<<"$out")" "$(sha256sum "$T/x.tar.gz.enc" | cut -d' ' -f1)" "the JSON has its sum"
ok "sha256sum -c of the file beside it" bash -c "cd '$T' && sha256sum -c --status x.tar.gz.enc.sha256"
mb export - --component config 2>/dev/null | tar -tzf - >"$T/list"
is "$(grep -c '^configs/config/.*app.conf$' "$T/list")" 1 "to the standard output, one component"

# -- without mbackup ------------------------------------------------------------------------------------------
mkdir "$T/o"
ok "openssl and tar open it" bash -c "openssl enc -d -aes-256-cbc -pbkdf2 -pass env:MBACKUP_EXPORT_PASSPHRASE -in '$T/x.tar.gz.enc' | tar -xzf - -C '$T/o'"
ok "sha256sum -c" bash -c "cd '$T/o' && sha256sum -c --quiet --strict metadata/SHA256SUMS"
is "$(cd "$T/o" && find . -type f ! -path ./metadata/SHA256SUMS -printf '%i\n' | sort -u | wc -l)" "$(wc -l <"$T/o/metadata/SHA256SUMS")" "... of every file"
ok "backup-info.json says what it is" python3 - "$T/o/metadata/backup-info.json" <<'PY'
import json, sys
info = json.load(open(sys.argv[1]))
assert info["format"] == "mbackup-archive" and info["version"] == 1 and info["cut"]["positions"], info
assert {c["name"] for c in info["components"]} == {"postgres", "redis", "uploads", "config"}, info
PY
createdb restored
ok "pg_restore loads a dump" pg_restore --exit-on-error -d restored "$T/o/postgres/shop.dump"
judge_dump -d restored | diff - "$T/shop.want" >"$T/d" 2>&1
is "$(cat "$T/d")" "" "... and pg_dump says that it is the same"
createdb restored2
ok "psql loads the SQL" psql -X -q -v ON_ERROR_STOP=1 -d restored2 -f "$T/o/postgres/shop.sql"
is "$(judge_dump -d restored2 | diff - "$T/shop.want")" "" "... the same"
ok "globals has the roles" grep -q 'CREATE ROLE "App Role"' "$T/o/postgres/globals.sql"
mkdir "$T/r"; cp "$T/o/redis/redis.rdb" "$T/r/dump.rdb"
p=$(free_port)
redis-server --port "$p" --bind 127.0.0.1 --dir "$T/r" --save '' --enable-debug-command local >"$T/r.log" 2>&1 & rpid=$!
stack_owns "$rpid"
wait_for 20 bash -c "[ \"\$(redis-cli -p $p ping)\" = PONG ]"
is "$(redis-cli -p "$p" debug digest)" "$want_digest" "redis-server loads the RDB: DEBUG DIGEST is the same"
stack_kill "$rpid"
ok "the files are the same" diff -r --no-dereference "$T/o/configs/config$T/etc/sub/link" "$T/etc/sub/link"
is "$(stat -c %a "$T/o/configs/config$T/etc/app.conf")" 640 "... with their modes"
python3 - "$T" <<'PY' >"$T/objects.judge" 2>&1
import base64, json, os, sys
root = sys.argv[1]
wanted = {}
for where, _, names in os.walk(os.fsencode(root + "/objects")):
    for name in names:
        path = os.path.join(where, name)
        wanted[os.path.relpath(path, os.fsencode(root + "/objects"))] = open(path, "rb").read()
del wanted[b"later"]
for line in open(root + "/o/metadata/minio/uploads.jsonl", encoding="utf-8"):
    item = json.loads(line)
    key = item["key"].encode() if "key" in item else base64.b64decode(item["key_base64"])
    assert open(os.path.join(root, "o", item["file"]), "rb").read() == wanted.pop(key), item
assert not wanted, wanted
PY
is "$?" 0 "every object is there, under the key that the index says"
[ -s "$T/objects.judge" ] && diag "$(cat "$T/objects.judge")"

# -- another moment -----------------------------------------------------------------------------------------------
start_stream
mb backup >/dev/null 2>&1
sql "CREATE TABLE moment AS SELECT 'at the mark' AS t" -d shop; rcli set moment mark >/dev/null; echo mark >"$T/objects/moment"
run mb mark here
is "$status" 0 "a mark"
[ "$status" = 0 ] || diag "$err$out"
sql "DROP TABLE moment" -d shop; rcli del moment >/dev/null; rm "$T/objects/moment"
run mb export "$T/mark.tar" --to-mark here --database shop
is "$status" 0 "export to a mark, one database"
[ "$status" = 0 ] || diag "$err"
stack_kill "$STREAM"
is "$(tar -tf "$T/mark.tar" | grep -c '^postgres/.*\.dump$')" 1 "... has one"
is "$(tar -xOf "$T/mark.tar" postgres/shop.sql | grep -c 'at the mark'):$(tar -xOf "$T/mark.tar" minio/uploads/moment):$(tar -xOf "$T/mark.tar" redis/redis.rdb | grep -ac moment)" 1:mark:1 "... of that moment, all of it"
"$MBACKUP" --config "$CONF" export "$T/stop.tar" >/dev/null 2>&1 & pid=$!
wait_for 20 bash -c "ls '$TMPDIR'/mbackup-export-*/data/postmaster.pid"
kill -TERM "$pid"; wait "$pid"
is "$?" 143 "SIGTERM in the middle"
is "$(ls "$TMPDIR"; ls "$T" | grep stop.tar)" "" "... leaves nothing"

# -- refused, and nothing touched -------------------------------------------------------------------------------
dropdb restored; dropdb restored2
state() { { sql "SELECT datname FROM pg_database ORDER BY 1"; rcli debug digest; find "$T/objects" "$T/etc" | sort; } 2>&1 | sha256sum; }
before=$(state)
refused() # file status pattern name
{
	run mb import "$1" --yes --force
	is "$status" "$2" "$4: refused"
	like "$err" "$3" "... and why"
	is "$(state)" "$before" "... and nothing touched"
}
MBACKUP_EXPORT_PASSPHRASE=wrong refused "$T/x.tar.gz.enc" 7 "passphrase does not open" "a wrong passphrase"
run env -u MBACKUP_EXPORT_PASSPHRASE "$MBACKUP" --config "$CONF" import "$T/x.tar.gz.enc" --yes
is "$status" 7 "no passphrase"
size=$(stat -c %s "$T/x.tar.gz.enc")
head -c $((size - 1000)) "$T/x.tar.gz.enc" >"$T/short.tar.gz.enc"
refused "$T/short.tar.gz.enc" 6 "damaged|too early|truncated" "one that was cut off"
head -c $((size / 32 * 16)) "$T/x.tar.gz.enc" >"$T/short.tar.gz.enc"
refused "$T/short.tar.gz.enc" 6 "damaged|too early|truncated|gzip" "one that was cut off in the middle"
mb export "$T/x.tar" >/dev/null 2>&1
flip() { python3 -c 'import sys; d=bytearray(open(sys.argv[1],"rb").read()); d[int(sys.argv[3])]^=1; open(sys.argv[2],"wb").write(d)' "$@"; }
at=$(grep -abo 'option = value' "$T/x.tar" | head -n 1 | cut -d: -f1)
flip "$T/x.tar" "$T/flip.tar" "$at"
refused "$T/flip.tar" 6 "app.conf.* is not what its checksum says" "a flipped bit in a file"
flip "$T/x.tar.gz.enc" "$T/flip.tar.gz.enc" $((size / 2))
refused "$T/flip.tar.gz.enc" 6 "." "a flipped bit in an encrypted archive"
cp "$T/x.tar" "$T/summed.tar"; echo "$(printf '0%.0s' $(seq 64))  summed.tar" >"$T/summed.tar.sha256"
refused "$T/summed.tar" 6 "speaks of" "another file than its .sha256"
python3 - "$T" <<'PY'
import io, sys, tarfile
root = sys.argv[1]
def hostile(name, members):
    with tarfile.open(f"{root}/{name}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for path, kind, link in members:
            info = tarfile.TarInfo(path)
            data = b"hostile"
            info.type, info.linkname = kind, link
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data) if info.size else None)
R, S, L = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
hostile("dots", [("minio/uploads/../../../../hostile", R, "")])
hostile("absolute", [("/tmp/hostile", R, "")])
hostile("symlink", [("minio/uploads/x", S, "/etc"), ("minio/uploads/x/y", R, "")])
hostile("hardlink", [("configs/config/x", L, "../../../etc/passwd")])
hostile("through", [("configs/l", S, "/tmp"), ("configs/l/hostile", R, "")])
hostile("device", [("configs/null", tarfile.CHRTYPE, "")])
PY
for kind in dots absolute symlink hardlink device
do
	refused "$T/$kind.tar" 6 "leads out|symbolic link|link to what|neither a file" "a hostile name: $kind"
done
run mb import "$T/through.tar" --yes --component "config=$T/below"
is "$((status != 0))" 1 "a link that is written through"
ok "... leads nowhere" test ! -e /tmp/hostile
python3 - "$T" <<'PY'
import gzip, sys
with gzip.open(sys.argv[1] + "/bomb.tar.gz", "wb", 9) as out:
    header = bytearray(512)
    name = b"metadata/backup-info.json"
    header[:len(name)] = name
    header[100:108], header[108:116], header[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    header[124:136], header[136:148], header[156:157] = b"07777777777\0", b"00000000000\0", b"0"
    header[257:265] = b"ustar  \0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    out.write(header)
    for _ in range(64):
        out.write(bytes(1 << 20))
PY
refused "$T/bomb.tar.gz" 6 "more than the [0-9]+ bytes" "a bomb"
echo nonsense >"$T/none.tar.gz"
refused "$T/none.tar.gz" 6 "no archive" "no archive at all"

# -- into what is not empty, and into what is ------------------------------------------------------------------
run mb import "$T/x.tar.gz.enc" --dry-run --json
is "$status" 4 "into a stack that holds something"
run mb import "$T/x.tar.gz.enc" --dry-run --json --force
is "$status" 0 "--force would do"
is "$(state)" "$before" "... a dry run touches nothing"
stop_cluster "$PGDATA"; mv "$PGDATA" "$T/pg.old"; stack_postgres || exit 1
sed -i "s/port=[0-9]*/port=$PGPORT/" "$CONF"
rcli flushall >/dev/null; rcli function flush >/dev/null
mv "$T/objects" "$T/objects.old"; mv "$T/etc" "$T/etc.old"
run mb import "$T/x.tar.gz.enc"
is "$status" 2 "without a terminal it must be confirmed"
ok "... and nothing was made" test ! -e "$T/objects"
run mb import "$T/x.tar.gz.enc" --yes
is "$status" 0 "import into an empty stack"
[ "$status" = 0 ] || diag "$err"
is "$(judge_dump -d shop | diff - "$T/shop.want")" "" "the database is the same"
is "$(sql "SELECT lo_get(4711) = decode(repeat('00ff', 5000), 'hex')" -d shop)" t "... with its large object"
is "$(sql "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'App Role'"):$(sql "SELECT count(*) FROM pg_auth_members WHERE roleid = 'readers'::regrole")" 7:1 "... and the roles"
is "$(psql -X -A -t -c 'SELECT count(*) FROM z' -d "dbname='od\\'d \"x=y\\\\z'")" 0 "the odd database is there"
is "$(rcli debug digest)" "$want_digest" "Redis is the same"
is "$(rcli fcall f 0)" 1 "... with its functions"
rm "$T/objects.old/later"
ok "the objects are the same" diff -r "$T/objects.old" "$T/objects"
ok "the files are the same" diff -r --no-dereference "$T/etc.old" "$T/etc"
is "$(stat -c '%a %Y' "$T/etc/app.conf")" "$(stat -c '%a %Y' "$T/etc.old/app.conf")" "... with mode and time"
ok "... hard links" test "$T/etc/app.conf" -ef "$T/etc/second name"
ok "... and empty directories" test -d "$T/etc/hollow"
sql "INSERT INTO t VALUES (-1, 'kept')" -d shop
run mb import "$T/x.tar.gz.enc" --yes --force --component postgres --json
is "$status" 0 "--force over a database"
aside=$(python3 -c 'import json,sys; print([p["set_aside"] for p in json.load(sys.stdin)["import"]["parts"] if p.get("set_aside","").startswith("shop")][0])' <<<"$out")
is "$(sql "SELECT m FROM t WHERE id = -1" -d "$aside")" kept "what was there is kept under another name"
is "$(sql "SELECT count(*) FROM t WHERE id = -1" -d shop)" 0 "... and the archive's is in its place"
run mb import "$T/x.tar.gz.enc" --yes --component "config=$T/elsewhere" --component "uploads=$T/elsewhere2"
is "$status" 0 "to other places"
ok "... the same there" diff -r "$T/elsewhere2" "$T/objects"

# A load that fails leaves the database that was there under its own name.
mkdir "$T/bad" && cp -r "$T/o/." "$T/bad" && head -c 3000 "$T/o/postgres/shop.dump" >"$T/bad/postgres/shop.dump"
rm -r "$T/bad/metadata" && tar -czf "$T/bad.tar.gz" -C "$T/bad" postgres/shop.dump
run mb import "$T/bad.tar.gz" --yes --force
is "$((status != 0))" 1 "a dump that ends early fails"
is "$(sql "SELECT count(*) FROM t" -d shop)" 20000 "... and the database is as it was"

# -- no space, kill -9 -------------------------------------------------------------------------------------------
head -c 3000000 /dev/urandom >"$T/objects/big2"
mb objects snapshot uploads >/dev/null 2>&1
mkdir "$T/out"
full() # fault
{
	rm -f "$T/fault"
	run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$1" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" export "$T/out/full.tar" --component uploads
}
for fault in write:20+ sync:1 link:1
do
	full "$fault:ENOSPC:$T/out"
	is "$status" 8 "no space ($fault): exit 8"
	is "$(ls "$T/out")" "" "... and no file"
done
rounds=4; [ -n "${MBACKUP_LONG:-}" ] && rounds=60
bad=0
for i in $(seq "$rounds")
do
	rm -f "$T"/k.tar.gz*
	LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT_NOSYNC=1 "$MBACKUP" --config "$CONF" export "$T/k.tar.gz" >/dev/null 2>&1 & pid=$!
	sleep "$(python3 -c "import random; print(random.random() * 3)")"
	kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
	[ ! -e "$T/k.tar.gz" ] || gzip -t "$T/k.tar.gz" || bad=1
	[ -z "$(find "$T" -maxdepth 1 -name 'k.tar.gz.part*')" ] || bad=1
done
is "$bad" 0 "kill -9 at $rounds moments leaves no half archive"
rm -f "$T"/k.tar.gz*
no_server() { ! pgrep -u "$(id -u)" -f "postgres -D $TMPDIR/mbackup-export"; }
ok "... and no server" wait_for 20 no_server
run mb export "$T/k.tar.gz"
is "$status" 0 "the next one just works"
is "$(ls "$TMPDIR")" "" "... and removes what the dead have left"
is "$(grep -rlaF "$MBACKUP_EXPORT_PASSPHRASE" "$T/x.tar.gz.enc" "$T/spool" "$REPO" "$T/run.err" "$T/run.out" 2>/dev/null | wc -l)" 0 "the passphrase is nowhere"
done_testing
