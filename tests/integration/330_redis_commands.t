#!/bin/bash
# Proves that "mbackup redis ls" names exactly the keys that the server had at a backup, a mark and a time (KEYS of the source
# at that moment, hostile names and keys that expired since included), that "info" counts what is there, that "snapshot --output"
# writes an RDB that redis-check-rdb accepts and a server loads, and that "restore" is the restore of that component.  Proves
# also that a damaged file, a wrong word and a missing program are told, and that an interrupt leaves nothing behind.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

config() # [line for the section]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\n' "$T" "$REPO"
		! in_bucket || s3_keys
		printf 'key-file = %s/key\n\n[files:config]\npaths = %s/etc\n\n[redis]\nurl = redis://127.0.0.1:%s\n' "$T" "$T" "$REDIS_PORT"
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}

# What the server answers to KEYS, as lines "DB hex-of-name", sorted; by a socket, not by redis-cli's quoting.
source_keys() # port [glob]
{
	python3 - "$here/tests/lib" "$1" "${2:-*}" <<-'PY'
		import os, sys
		sys.path.insert(0, sys.argv[1])
		from redis_wire import Wire
		wire = Wire(int(sys.argv[2]))
		for db in (0, 3, 9):
		    wire("SELECT", db)
		    for key in sorted(wire("KEYS", os.fsencode(sys.argv[3]))):
		        print(db, key.hex() or "-")
	PY
}

# The same of the JSON of ls on stdin.
listed_keys()
{
	python3 -c '
import base64, json, sys
keys = [(k["db"], base64.b64decode(k["key_base64"]) if "key_base64" in k else k["key"].encode()) for k in json.load(sys.stdin)["keys"]]
assert len(keys) == len(set(keys)), "a key was named twice"
for db, key in sorted(keys):
    print(db, key.hex() or "-")'
}

# ... and of its text: redis-cli reads the quoted name, so the server itself says what it is.
ls_json() { mb --json redis ls "$@" >"$T/ls.json" 2>"$T/ls.err"; status=$?; listed_keys <"$T/ls.json"; }
no_rests() { ! ls "$T/spool" | grep -q 'redis-look-redis$' && ! pgrep -f "$T/spool/redis-look" >/dev/null && no_scratch; }
no_scratch() { ! pgrep -u "$(id -u)" -f 'scratch.conf|unixsocket:redis.sock' | while read -r p; do readlink "/proc/$p/cwd"; done | grep -q "^$T"; }

stack_redis --repl-backlog-size 16mb
mkdir -p "$T/spool" "$T/etc"
echo x >"$T/etc/x"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
config
ok "init" mb init

run mb redis ls redis
is "$status" 10 "ls without a backup: not found"
like "$err" 'there is no backup of "redis"|no backup' "and it says so"
run mb redis info
is "$status" 10 "so does info"

{
	for i in $(seq 200)
	do
		printf 'SET k%d v%d\nSET e%d v EX 86400\nRPUSH l%d %s\nZADD z 1.%d m%d\nSADD ints %d\nHSET h%d f%d %d\nXADD s%d * a %d\n' \
			$i $i $i $((i % 5)) "$(printf 'x%.0s' $(seq $((i % 90 + 1))))" $i $i $i $((i % 3)) $i $i $((i % 3)) $i
	done
	cat <<-'EOF'
		SET "" empty
		SET "with space" 1
		SET "line\nbreak\r\n" 1
		SET "\x00\xff\xfe\x00binary" 1
		SET "\x1b[31mred\x07" 1
		SET "quote\"back\\slash" 1
		SET "glob*?[a-z]\\" 1
		SET "{\"keys\":[" 1
		SET "-n" 1
		SETRANGE big 200000 end
		SELECT 3
		MSET cart:1 a cart:2 b "umlaut-\xc3\xbc" c
		SELECT 9
		SET nine 9 PX 86400000
	EOF
	printf 'SELECT 3\nSET %s 1\nSET %s 1\n' "$(printf 'n%.0s' $(seq 3000))" "$(seq -s: 900)"
} | rcli >/dev/null
rcli function load "#!lua name=lib1
redis.register_function('f1', function(keys, args) return 42 end)" >/dev/null

# -- a backup ------------------------------------------------------------------------------------------
run mb --json redis snapshot redis --label why=test
is "$status" 0 "snapshot is a backup of this component"
is "$(json backup.components.0.name <<<"$out") $(python3 -c 'import json,sys; print(len(json.load(sys.stdin)["backup"]["components"]))' <<<"$out")" "redis 1" "and of no other"
is "$(json backup.labels.why <<<"$out")" test "with its label"
first=$(json backup.id <<<"$out")
first_part=$(json backup.components.0.backup <<<"$out")
at_first=$(source_keys "$REDIS_PORT")
is "$(ls_json)" "$at_first" "ls names exactly the keys of the source"
is "$(ls_json redis 'k1*')" "$(source_keys "$REDIS_PORT" 'k1*')" "with a glob those of KEYS with that glob"
is "$(ls_json redis '*[*?]*')" "$(source_keys "$REDIS_PORT" '*[*?]*')" "also of hostile names"
is "$(ls_json redis --db 3)" "$(grep '^3 ' <<<"$at_first")" "--db takes one database"
run mb redis ls redis 'glob*' --db 0
is "$out" '    0 "glob*?[a-z]\\"' "the text is quoted as redis-cli quotes"
mb redis ls redis >"$T/ls.txt" 2>/dev/null
is "$(wc -l <"$T/ls.txt")" "$(wc -l <<<"$at_first")" "one line for each key, whatever is in its name"
# redis-cli understands every name: EXISTS through it, database by database.
is "$(sed 's/^ *\([0-9]*\) \(.*\)/SELECT \1\nEXISTS \2/' "$T/ls.txt" | rcli | grep -c '^1$')" "$(wc -l <<<"$at_first")" "and redis-cli takes each of them back"
run mb redis ls redis 'e1' --long
like "$out" '^ +0 string +20[0-9-]+T[0-9:.]+Z +[0-9]+ "e1"$' "--long has type, expiry and size"
ls_json redis >/dev/null
is "$(python3 -c '
import json, sys
print(sum(k["type"] == "stream" for k in json.load(sys.stdin)["keys"]))' <"$T/ls.json")" 3 "--json has the type"
is "$(python3 -c '
import json, sys
for k in json.load(sys.stdin)["keys"]:
    if k.get("key") == "e7": print(k["expires_ms"])' <"$T/ls.json")" "$(rcli pexpiretime e7)" "and the expiry to the millisecond"
is "$(json count <"$T/ls.json")" "$(wc -l <<<"$at_first")" "and the count"

# -- with commands behind it: a mark, a time, expired keys ---------------------------------------------
start_redis_stream() { start_stream --component redis; wait_for 20 stream_attached; }
stream_attached() { rcli info replication | grep -q 'port=0,state=online'; }
start_redis_stream
rcli --no-raw set short-lived 1 PX 6000000 >/dev/null
printf 'SET soon-gone 1 PX 3000\nSELECT 3\nSET behind 1\nDEL cart:1\nMULTI\nSET in-multi 1\nDEL cart:2\nEXEC\nSELECT 9\nFLUSHDB\n' | rcli >/dev/null
ok "a mark" mb mark before-expiry
at_mark=$(source_keys "$REDIS_PORT")
like "$at_mark" "^0 $(printf soon-gone | xxd -p)" "a key with a short life was there"
is "$(ls_json redis --at before-expiry)" "$at_mark" "ls --at MARK is exact, commands replayed"
sleep 3.2
rcli exists soon-gone >/dev/null
is "$(source_keys "$REDIS_PORT" soon-gone)" "" "now it has expired"
is "$(ls_json redis --at before-expiry)" "$at_mark" "a key that has expired since is in the list of its moment"
moment=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ | sed 's/...Z$/Z/')
at_moment=$(source_keys "$REDIS_PORT")
sleep 2.2
printf 'SET later 1\nSELECT 3\nDEL behind\n' | rcli >/dev/null
ok "another mark, so that the stream is behind it" mb mark later
is "$(ls_json redis --at "$moment")" "$at_moment" "ls --at TIME is exact; what has expired by then is not in it"
is "$(ls_json redis --at later)" "$(source_keys "$REDIS_PORT")" "at the later mark the later key"
rcli debug set-active-expire 0 >/dev/null
rcli set lazy 1 PX 300 >/dev/null
sleep 0.6
ok "a mark with a key in the server whose time has passed" mb mark lazy
is "$(rcli dbsize) $(source_keys "$REDIS_PORT" lazy)" "$(($(source_keys "$REDIS_PORT" | grep -c '^0') + 1)) " "which the server holds, but does not name"
is "$(ls_json redis --at lazy)" "$(source_keys "$REDIS_PORT")" "nor does ls"
rcli debug set-active-expire 1 >/dev/null
rcli exists lazy >/dev/null
is "$(ls_json redis --at "${first:0:20}")" "$at_first" "--at a backup by a prefix"
is "$(ls_json redis --at "$first_part")" "$at_first" "--at a backup of the component by its own id"
run mb redis ls redis --at nothing-such
is "$status" 10 "an unknown moment: not found"
run mb redis ls redis --at 2001-01-01T00:00:00Z
is "$status" 10 "a time before the first backup: not found"
ok "nothing of a private server is left" no_rests

# -- info --------------------------------------------------------------------------------------------------
run mb --json redis info redis --at before-expiry
is "$status" 0 "info --at MARK"
is "$(json info.backup <<<"$out") $(json info.keys <<<"$out") $(json info.functions <<<"$out")" "$first_part $(wc -l <<<"$at_first") 1" "keys and functions of the snapshot"
is "$(json info.statistics.expires.keys <<<"$out")" 201 "those that expire"
is "$(json info.server_version <<<"$out")" "$(rcli info server | sed -n 's/^redis_version:\(.*\)\r/\1/p')" "the server's version"
[ "$(json info.replay_bytes <<<"$out")" -gt 300 ]
result "and how many bytes of commands follow" $?
like "$(json info.window.from <<<"$out") $(json info.reaches <<<"$out")" '^20.*Z 20.*Z$' "the window, and where it ends"
run mb redis info
is "$status" 0 "info without a name, as there is one Redis"
like "$out" "contents  $(wc -l <<<"$at_first") keys in 3 databases, 1 function" "as text"
like "$out" '^ +0  zset +1 ' "a table of types"
like "$out" '^ +0  string .* big$' "and the biggest keys"

# -- a file ------------------------------------------------------------------------------------------------
run mb --json redis snapshot --output "$T/out.rdb"
is "$status" 0 "snapshot into a file"
[ "$status" = 0 ] || diag "$err"
is "$(json snapshot.keys <<<"$out") $(json snapshot.bytes <<<"$out")" "$(source_keys "$REDIS_PORT" | wc -l) $(stat -c %s "$T/out.rdb")" "says keys and bytes"
ok "redis-check-rdb accepts it" redis-check-rdb "$T/out.rdb"
mkdir "$T/loaded"
cp "$T/out.rdb" "$T/loaded/dump.rdb"
LPORT=$(free_port)
redis-server --port "$LPORT" --bind 127.0.0.1 --dir "$T/loaded" --save '' --enable-debug-command local >"$T/loaded.log" 2>&1 &
LPID=$!
stack_owns "$LPID"
loaded_ready() { [ "$(redis-cli -p "$LPORT" ping)" = PONG ]; }
wait_for 20 loaded_ready
is "$(redis-cli -p "$LPORT" debug digest)" "$(rcli debug digest)" "a server that loads it has the data of the source"
stack_kill "$LPID"
run mb redis snapshot --output "$T/out.rdb"
is "$status" 4 "a file that exists is not replaced"
before=$(stat -c %i "$T/out.rdb")
run mb redis snapshot redis --output "$T/out.rdb" --force
is "$status" 0 "but with --force"
like "$out" 'out.rdb: [0-9]+ keys, .* in [0-9.]+ s' "the text says keys, bytes and time"
[ "$(stat -c %i "$T/out.rdb")" != "$before" ]
result "by a new file" $?
mb redis snapshot --output - >"$T/stdout.rdb" 2>"$T/stdout.err"
is "$?" 0 "to the standard output"
ok "which is as good" redis-check-rdb "$T/stdout.rdb"
run mb --json redis snapshot --output -
is "$status" 2 "not together with --json"
run mb redis snapshot --output "$T/no/such/file.rdb"
is "$status" 10 "a directory that is not there"
mv "$REPO" "$REPO.away"
run mb redis snapshot --output "$T/second.rdb"
is "$status" 0 "no repository is needed for it"
mv "$REPO.away" "$REPO"
is "$(ls "$T" | grep -c part)" 0 "no temporary file is left"

run "$MBACKUP" --json redis info --rdb "$T/out.rdb"
is "$status $(json info.keys <<<"$out") $(json info.checksum <<<"$out")" "0 $(source_keys "$REDIS_PORT" | wc -l) true" "info --rdb needs no configuration"
is "$("$MBACKUP" --json redis ls --rdb "$T/out.rdb" 2>/dev/null | listed_keys)" "$(source_keys "$REDIS_PORT")" "ls --rdb lists a file"
is "$("$MBACKUP" --json redis ls --rdb "$T/out.rdb" 'n*' --db 3 2>/dev/null | listed_keys)" "$(source_keys "$REDIS_PORT" 'n*' | grep '^3')" "with pattern and database, a compressed name of 3000 bytes too"
size=$(stat -c %s "$T/out.rdb")
for at in $((size / 3)) $((size / 2)) $((size - 4))
do
	cp "$T/out.rdb" "$T/bad.rdb"
	printf '\xf3' | dd of="$T/bad.rdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	cmp -s "$T/out.rdb" "$T/bad.rdb" && printf '\x0c' | dd of="$T/bad.rdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	run "$MBACKUP" redis info --rdb "$T/bad.rdb"
	is "$status" 6 "one wrong byte at $at of $size is found"
done
head -c $((size - 100)) "$T/out.rdb" >"$T/bad.rdb"
run "$MBACKUP" redis info --rdb "$T/bad.rdb"
is "$status" 6 "a file that was cut off"
like "$err" "damaged at byte [0-9]+" "with the offset"
"$MBACKUP" --json redis ls --rdb "$T/bad.rdb" >"$T/ls.json" 2>/dev/null
is "$? $(json error.code <"$T/ls.json")" "6 CORRUPT" "ls of it ends with the error, in JSON that is whole"
run "$MBACKUP" redis info --rdb "$T/etc/x"
is "$status" 6 "a file that is no RDB"
run "$MBACKUP" redis info --rdb "$T/nothing"
is "$status" 10 "no such file"
"$MBACKUP" redis ls --rdb "$T/out.rdb" >/dev/full 2>"$T/full.err"
like "$?" '^(8|11)$' "a full disk behind stdout is told"

# -- restore -----------------------------------------------------------------------------------------------
ok "restore into a directory" mb redis restore redis "$T/r1" --at before-expiry
ok "a server starts from it" start_redis_on "$T/r1"
is "$(redis-cli -p "$RPORT" -n 3 exists behind cart:1 in-multi)" 2 "with the data of that mark"
stack_kill "$RPID"
ok "to a backup, without a name" mb redis restore "$T/r2" --at "$first"
ok "which starts" start_redis_on "$T/r2"
is "$(source_keys "$RPORT")" "$at_first" "and has its keys"
run mb redis restore "redis://127.0.0.1:$RPORT" --at later --only '3:in-*'
is "$status" 2 "into a running server it must be confirmed"
run mb redis restore redis "redis://127.0.0.1:$RPORT" --at later --only '3:in-*' --yes
is "$status" 0 "and then it is done"
is "$(redis-cli -p "$RPORT" -n 3 exists in-multi later)" 1 "of the part"
run mb redis restore "redis://127.0.0.1:$RPORT" --rdb "$T/out.rdb" --yes
is "$status" 0 "an RDB file into a running server"
is "$(source_keys "$RPORT")" "$(source_keys "$REDIS_PORT")" "all of it"
stack_kill "$RPID"
run mb redis restore redis "$T/r3" --dry-run
is "$status" 0 "restore --dry-run"
[ ! -e "$T/r3" ]
result "writes nothing" $?
run mb redis restore redis
is "$status" 2 "its own place is asked for, and missing here"

# -- what is wrong -----------------------------------------------------------------------------------------
wrong() # exit-status regexp argument...
{
	local want=$1 text=$2
	shift 2
	run mb redis "$@"
	[ "$status" = "$want" ] && grep -Eq -- "$text" <<<"$err"
	result "wrong: redis $*" $?
	[ "$status" = "$want" ] || diag "status $status: $err"
}
wrong 2 'Did you mean "mbackup redis snapshot"' snapshoot
wrong 2 'There is snapshot, info, ls and restore' flushall
wrong 2 'needs VERB'
wrong 10 'There is: redis' ls redsi
wrong 2 'it is of kind files' info config
wrong 2 'takes \[NAME\]' info redis more
wrong 2 'no meaning for "mbackup redis info"' info redis --long
wrong 2 'no meaning for "mbackup redis ls"' ls redis --output x
wrong 2 'no meaning for "mbackup redis snapshot"' snapshot --at later
wrong 2 'together with --output' snapshot --force
wrong 2 'not for --output' snapshot --output "$T/x.rdb" --label a=b
wrong 2 'not the number of a database' ls --db all
wrong 2 'exclude each other' info redis --rdb "$T/out.rdb"
wrong 2 'exclude each other' ls --at later --rdb "$T/out.rdb"
wrong 2 'exclude each other' restore redis --at later --rdb "$T/out.rdb"
run mb --json redis ls redsi
is "$(json error.code <<<"$out")" NOT_FOUND "an error before the first key is JSON too"
printf '[redis:other]\nurl = redis://127.0.0.1:1\n' >>"$CONF"
wrong 2 'Name one of: redis, other' ls
wrong 2 'Name one of: redis, other' snapshot --output "$T/y.rdb"
wrong 5 'could not connect' snapshot other --output "$T/y.rdb"
[ ! -e "$T/y.rdb" ] && ! ls "$T" | grep -q 'y.rdb'
result "no file of a server that cannot be reached" $?

config 'redis-server = /no/such/redis-server'
run mb redis ls redis --at later
is "$status" 10 "without redis-server a moment that needs a replay cannot be listed"
like "$err" 'install redis-server' "and it says what to install"
ok "it leaves nothing" no_rests
config 'role = cache'
is "$(ls_json redis --at later)" "$(source_keys "$REDIS_PORT")" "a cache, which a restore leaves empty, is listed all the same"
config

printf '[repository:copy]\nurl = %s/copy\n' "$T" >>"$CONF"
ok "a copy of the repository" mb init
mv "$T/copy" "$T/copy.away"
run mb redis ls --repository copy
is "$status" 10 "a copy that is not there"
mv "$T/copy.away" "$T/copy"
is "$(ls_json redis --at "$first" --repository copy)" "$at_first" "and from one that is"
config

# -- an interrupt in the middle ----------------------------------------------------------------------------
rcli debug populate 300000 many 200 >/dev/null
stack_kill "$STREAM"
wait "$STREAM" 2>/dev/null
ok "a larger backup" mb redis snapshot
rcli set one-more 1 >/dev/null
start_redis_stream
ok "and a mark behind it" mb mark large
rcli config set rdb-key-save-delay 50 >/dev/null
"$MBACKUP" --config "$CONF" redis snapshot --output "$T/slow.rdb" >"$T/slow.out" 2>&1 &
pid=$!
part_there() { ls "$T" | grep -q '^slow.rdb.part-'; }
wait_for 20 part_there
kill -INT "$pid"
wait "$pid"
is "$?" 130 "an interrupted snapshot ends with 130"
is "$(ls "$T" | grep -c '^slow.rdb')" 0 "and leaves no file"
rcli config set rdb-key-save-delay 0 >/dev/null
for what in 'redis-look-redis/appendonlydir' 'redis-look-redis/scratch.conf'
do
	"$MBACKUP" --config "$CONF" redis ls redis --at large >"$T/int.out" 2>"$T/int.err" &
	pid=$!
	there() { [ -e "$T/spool/$what" ]; }
	wait_for 20 there
	kill -INT "$pid"
	wait "$pid"
	is "$?" 130 "an interrupted ls ends with 130 ($what)"
	ok "and leaves no server and no directory" no_rests
done
"$MBACKUP" --config "$CONF" redis ls redis --at large >"$T/int.out" 2>"$T/int.err" &
pid=$!
scratch_seen() { ! no_scratch; }
ok "in the middle its server is seen" wait_for 20 scratch_seen
kill -KILL "$pid"
wait "$pid" 2>/dev/null
wait_for 10 no_scratch
result "killed, its server goes with it" $?
mb --json redis ls redis --at large >"$T/ls.json" 2>/dev/null
is "$(json count <"$T/ls.json")" "$(($(source_keys "$REDIS_PORT" | wc -l)))" "run again it lists 300,000 keys"
ok "and leaves nothing" no_rests
mb redis snapshot --output "$T/large.rdb" >/dev/null 2>&1
rss=$(python3 -c '
import resource, subprocess, sys
subprocess.run([sys.argv[1], "--json", "redis", "ls", "--rdb", sys.argv[2]], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$MBACKUP" "$T/large.rdb")
[ "$rss" -lt 32768 ]
result "in bounded memory ($rss kB)" $?

done_testing
