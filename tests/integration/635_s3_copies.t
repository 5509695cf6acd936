#!/bin/bash
# A bucket as a copy of a directory, and the other way round, equal as boto3 sees it: written together,
# caught up with after harm and kill -9, restored from. A changed or missing object is found.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin

ok "Ceph starts" s3_ceph
judge mkbucket copies
DIRECT=$S3_ENDPOINT
s3_proxy
stack_postgres
stack_config
sed -i "s,^spool,catch-up-interval = 300ms\nspool,; s,^\[postgres\],[repository:bucket]\nurl = s3://copies/shop\n$(s3_keys | tr '\n' '|' | sed 's/|/\\n/g')\n[postgres]," "$CONF"

# "name sha256" of every blob that a copy has, in a directory or as boto3 sees the bucket.
in_directory() { (cd "$1" && find . -type f ! -path './leases/*' ! -path './provisional/*' ! -path './probes/*' ! -path './verified/*' ! -name '.tmp-*' -exec sha256sum {} + | sed 's,^\([^ ]*\) *\./\(.*\),\2 \1,' | sort); }
in_bucket()
{
	S3_ENDPOINT=$DIRECT judge dump copies shop/ --current | python3 -c '
import json, sys
for row in map(json.loads, sys.stdin):
    name = row["key"][5:]
    if not name.startswith(("leases/", "provisional/", "probes/", "verified/")):
        print(name, row["sha256"])' | sort
}
same() { diff <(in_directory "$1") <(in_bucket); }
says() { mb check --json 2>/dev/null | grep -Eq "$1"; }

run mb init
is "$status" 0 "init makes a directory and its copy in a bucket"
[ "$status" = 0 ] || diag "$err"
head -c 3000000 /dev/urandom >"$T/objects/o1"
"$PG_BIN/pgbench" -i -s 2 -q >/dev/null 2>&1
start_stream
"$PG_BIN/pgbench" -n -c 1 -R 100 -T 300 >/dev/null 2>&1 &
LOAD=$!
stack_owns $LOAD
run mb backup
is "$status" 0 "backup"
run mb check
like "$out" "repository.copy +copy .bucket. at .* is up to date" "check says that the bucket is up to date"
fault 'mode=reset_before'
sleep 1
sql "SELECT pg_switch_wal()" >/dev/null
run mb backup --component config
is "$status" 0 "a backup while the bucket cannot be reached"
like "$err" 'copy "bucket" at .* is behind' "... with a warning"
fault mode=none
ok "it catches up under load" wait_for 60 says 'up to date'
kill -9 "$STREAM"
wait "$STREAM" 2>/dev/null
start_stream
ok "and after kill -9 of the stream" wait_for 60 says 'up to date'
kill "$LOAD" "$STREAM"
wait "$LOAD" "$STREAM" 2>/dev/null
run mb backup
is "$status" 0 "the next backup"
ok "both hold the same, boto3 says" same "$REPO"
run mb verify --repository bucket --read-data full
is "$status" 0 "the copy verifies"
rows=$(sql "SELECT count(*), sum(abalance) FROM pgbench_accounts")

# -- the directory is lost; the bucket becomes the first, a directory its copy ---------------------------
mv "$REPO" "$T/lost"
run mb restore --component "postgres=$T/r1"
is "$status" 0 "restore from the bucket"
like "$err" 'reading the copy "bucket"' "... and says so"
ok "pg_verifybackup" "$PG_BIN/pg_verifybackup" -n -q "$T/r1"
sed -i "/^\[repository\]/,/^\$/{s,^url = .*,url = s3://copies/shop\n$(s3_keys | tr '\n' '|' | sed 's/|/\\n/g'),}; /^\[repository:bucket\]/,/^\[postgres\]/{/^endpoint\|^access-key\|^secret-key/d; s,^url = s3.*,url = $T/repo2,}" "$CONF"
run mb init
is "$status" 0 "the other way round: init makes a directory the copy of the bucket"
[ "$status" = 0 ] || diag "$err"
run mb backup
is "$status" 0 "and backups go on"
ok "both hold the same, boto3 says" same "$T/repo2"
run mb restore --component "postgres=$T/r2"
is "$status" 0 "restore"
ok "pg_verifybackup" "$PG_BIN/pg_verifybackup" -n -q "$T/r2"
echo "port = $(free_port)" >>"$T/r2/postgresql.auto.conf"
start_cluster "$T/r2"
port=$(sed -n 4p "$T/r2/postmaster.pid")
ok "the server ends its recovery" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
is "$(sql "SELECT count(*), sum(abalance) FROM pgbench_accounts" -p "$port")" "$rows" "with every row"
stop_cluster "$T/r2" immediate

# -- damage in the bucket -----------------------------------------------------------------------------------
run mb verify --read-data full
is "$status" 0 "the bucket verifies"
S3_ENDPOINT=$DIRECT judge ls copies shop/ | cut -f 1 >"$T/names"
for kind in packs/ /commit keys/ streams/
do
	key=$(grep -F "$kind" "$T/names" | head -n 1)
	S3_ENDPOINT=$DIRECT judge get copies "$key" >"$T/blob"
	cp "$T/blob" "$T/damaged"
	python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    data[len(data) // 2] ^= 4
    f.seek(0)
    f.write(data)' "$T/damaged"
	S3_ENDPOINT=$DIRECT judge put copies "$key" "$T/damaged" >/dev/null
	run mb verify --read-data full
	[ "$status" != 0 ] && [ "$status" != 10 ]
	result "a flipped bit in $kind is found (exit $status)" $?
	S3_ENDPOINT=$DIRECT judge put copies "$key" "$T/blob" >/dev/null
done
key=$(grep -F packs/ "$T/names" | tail -n 1)
S3_ENDPOINT=$DIRECT judge get copies "$key" >"$T/blob"
S3_ENDPOINT=$DIRECT judge del copies "$key" >/dev/null
run mb verify --read-data full
is "$status" 6 "a pack that is gone is found"
S3_ENDPOINT=$DIRECT judge put copies "$key" "$T/blob" >/dev/null
run mb verify --read-data full
is "$status" 0 "all put back, it verifies again"
done_testing
