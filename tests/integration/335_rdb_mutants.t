#!/bin/bash
# Proves by 1,000 structural mutants of real RDB files (every type and encoding that Redis 7.0 writes; one field changed, checksum
# made anew so that only the structure can tell) that the walker never crashes, says the same whether the file comes whole or in
# pieces, refuses nothing that a redis-server loads and accepts nothing that redis-check-rdb refuses, but for what is declared to
# be deeper than it looks; the differences are counted.  Then the same of the scanner of the replication stream.
. "$(dirname "$0")/../lib/stack.sh"
[ -n "${STACK_STAGED:-}" ] || STACK_STAGE="$here/build/asan/tests/fuzz/rdb_fuzz $here/build/asan/tests/fuzz/resp_fuzz"
stack_begin
MUTANTS=${MBACKUP_MUTANTS_RDB:-1000}
[ -z "${MBACKUP_LONG:-}" ] || MUTANTS=20000
FUZZ=$BUILD
[ -x "$FUZZ/rdb_fuzz" ] || FUZZ=$here/build/asan/tests/fuzz

# Every type; with large limits as listpacks and intsets, with small ones as tables.
fill()
{
	{
		printf 'SET text hello\nSET number 12345\nSET large 1234567890123\nSET negative -7\nSET empty ""\n'
		printf 'SET packed %s\n' "$(printf 'abcabcabd%.0s' $(seq 12))"
		printf 'SET %s name\n' "$(printf 'key%.0s' $(seq 20))"
		printf 'RPUSH list a bb 3 %s\nRPUSH list2 %s\n' "$(printf 'x%.0s' $(seq 70))" "$(seq -s' ' 12)"
		printf 'SADD ints 1 2 300 70000 5000000000\nSADD words a b 3\nZADD zset 1 a 2.5 b -3 c +inf d\nZADD zset2 1.1 m1 2 m2\n'
		printf 'HSET hash f1 v1 f2 2 f3 %s\nHSET hash2 a 1\nPFADD hll a b c\nSETBIT bits 70 1\nGEOADD geo 13.36 38.11 Palermo\n' "$(printf 'y%.0s' $(seq 70))"
		printf 'SET expires v PX 864000000\nHSET expires2 f v\nEXPIRE expires2 864000\n'
		printf 'XADD stream 1-1 a 1\nXADD stream 1-2 a 2 b 3\nXADD stream 2-1 c 4\nXDEL stream 1-2\nXGROUP CREATE stream g 0\nXGROUP CREATE stream h $\n'
		printf 'XREADGROUP GROUP g alice COUNT 1 STREAMS stream >\nXREADGROUP GROUP g bob STREAMS stream >\nXGROUP CREATECONSUMER stream h carol\nXADD bare 5-5 k v\n'
		printf 'SELECT 3\nSET other 1\nRPUSH l 1\n'
	} | rcli >/dev/null
	rcli function load "#!lua name=lib1
redis.register_function('f1', function(keys, args) return 42 end)" >/dev/null
}

source_file() # name
{
	rcli save >/dev/null
	cp "$T/redis/dump.rdb" "$T/sources/$1.rdb"
}

mkdir "$T/sources"
stack_redis --hash-max-listpack-entries 64
fill
source_file packed
rcli config set maxmemory-policy allkeys-lfu >/dev/null
source_file lfu
rcli config set maxmemory-policy allkeys-lru >/dev/null
for limit in hash-max-listpack-entries zset-max-listpack-entries set-max-intset-entries hash-max-listpack-value
do
	rcli config set "$limit" 0 >/dev/null
done
rcli config set list-max-listpack-size 2 >/dev/null
rcli config set stream-node-max-entries 1 >/dev/null
rcli config set list-compress-depth 1 >/dev/null
rcli flushall >/dev/null
fill
source_file tables
rcli config set rdbcompression no >/dev/null
rcli config set maxmemory-policy noeviction >/dev/null
source_file plain
python3 "$here/tests/lib/rdb_mutants.py" craft "$T/sources"
for file in "$T"/sources/*.rdb
do
	ok "source $(basename "$file" .rdb) is good for redis-check-rdb" redis-check-rdb "$file"
	ok "and for mbackup" "$MBACKUP" redis info --rdb "$file"
done

# The same mutants each time: of files that were made so once.  In the long run of those from now, and others each time.
seed=7 sources=$here/tests/fixtures/rdb
[ -z "${MBACKUP_LONG:-}" ] || seed=$(date +%s) sources=$T/sources
ok "mutants are made (seed $seed)" python3 "$here/tests/lib/rdb_mutants.py" make "$T/mutants" "$MUTANTS" "$seed" "$sources"/*.rdb
python3 "$here/tests/lib/rdb_judge.py" "$MBACKUP" "$T/mutants" >"$T/verdicts" 2>&1
result "$MUTANTS mutants: no verdict is open" $?
sed 's/^/# /' "$T/verdicts" | head -n 60
both=$(sed -n 's/^ *\([0-9]*\) both accept$/\1/p' "$T/verdicts")
[ "${both:-0}" -gt $((MUTANTS / 20)) ] && [ "${both:-0}" -lt $((MUTANTS / 2)) ]
result "some of them are good files, most are not" $?

# Under the sanitizers, whole and in pieces of five sizes (the first byte says which).
python3 - "$T" <<'PY'
import os, sys
os.mkdir(sys.argv[1] + "/pieces")
for i, name in enumerate(sorted(os.listdir(sys.argv[1] + "/mutants"))):
    if name.endswith(".rdb"):
        data = open(f"{sys.argv[1]}/mutants/{name}", "rb").read()
        open(f"{sys.argv[1]}/pieces/{name}", "wb").write(bytes([(0, 1, 2, 7, 200)[i % 5]]) + data)
PY
if [ -x "$FUZZ/rdb_fuzz" ]
then
	mkdir "$T/part"
	for names in "$T"/pieces/?[0-4]* "$T"/pieces/?[5-9]*
	do
		mv "$names" "$T/part/"
		[ "$(ls "$T/part" | wc -l)" -lt 4000 ] || { "$FUZZ/rdb_fuzz" "$T/part" >>"$T/fuzz.out" 2>&1 || bad=1; rm -f "$T"/part/*; }
	done
	"$FUZZ/rdb_fuzz" "$T/part" >>"$T/fuzz.out" 2>&1 || bad=1
	[ -z "${bad:-}" ]
	result "no crash, and the same verdict whole and in pieces: $(tr '\n' ' ' <"$T/fuzz.out" | cut -c1-60)" $?
	[ -z "${bad:-}" ] || diag "$(tail -n 20 "$T/fuzz.out")"
else
	result "the sanitized walker is built (make fuzz-bin)" 1
fi

# -- the stream ------------------------------------------------------------------------------------------
python3 "$here/tests/lib/redis_wire.py" replica "$REDIS_PORT" "$T/capture" &
replica=$!
stack_owns "$replica"
wait_for 20 test -e "$T/capture/start"
rcli config set repl-ping-replica-period 1 >/dev/null
fill
{
	for i in $(seq 60)
	do
		printf 'MULTI\nSET a%d %d\nINCR n\nEXEC\nSELECT %d\nSET b%d "\\x00\\r\\n$5\\r\\n%d" PX 100000\n' $i $i $((i % 4)) $i $i
	done
	echo "EVAL \"for i = 1, 5 do redis.call('set', 'lua' .. i, i) end\" 0"
	echo 'PUBLISH channel hello'
} | rcli >/dev/null
sleep 1.2
stack_kill "$replica"
wait "$replica" 2>/dev/null
[ "$(stat -c %s "$T/capture/stream")" -gt 5000 ]
result "a stream was captured" $?
ok "which redis-check-aof reads" redis-check-aof "$T/capture/stream"
stream=$sources/stream
[ -z "${MBACKUP_LONG:-}" ] || stream=$T/capture/stream
ok "mutants of it are made" python3 "$here/tests/lib/resp_mutants.py" make "$T/stream" "$((MUTANTS < 4000 ? MUTANTS : 4000))" "$seed" "$stream"
python3 "$here/tests/lib/resp_mutants.py" judge "$T/stream" "$FUZZ/resp_fuzz" >"$T/verdicts" 2>&1
result "the scanner and redis-check-aof end at the same command" $?
sed 's/^/# /' "$T/verdicts" | head -n 40

done_testing
