#!/bin/bash
# A backup that is killed after it has saved what it had finished is not for nothing: the next one,
# full or incremental, stores only the rest, restores to the source's rows, and cleans up.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
printf 'fsync = off\nautovacuum = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
echo "tail-interval = 100ms" >>"$CONF"
export MBACKUP_TEST_SAVE_MS=150
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE EXTENSION amcheck"
for i in $(seq 12); do sql "CREATE TABLE t$i AS SELECT g AS id, md5((g * $i)::text) || md5((g + $i)::text) AS a FROM generate_series(1, 150000) g" ; done
sql "CHECKPOINT"

backup() # [option...]
{
	run mb backup --json "$@"
	type=$(json backup.components.0.type <<<"$out" 2>/dev/null)
	changed=$(json backup.components.0.changed_bytes <<<"$out" 2>/dev/null)
	bytes=$(json backup.components.0.bytes <<<"$out" 2>/dev/null)
}
saved() { find "$REPO/provisional" -type f ! -name '.tmp-*' 2>/dev/null | wc -l; }
killed() # [option...]: kill -9 when something was saved; 0 when it was not done before
{
	local before
	before=$(saved)
	"$MBACKUP" --config "$CONF" backup "$@" >"$T/b.out" 2>&1 & pid=$!
	until [ "$(saved)" -gt "$before" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ $? = 137 ]
}
rows() { for i in $(seq 12); do sql "SELECT count(*), sum(hashtext(t::text)) FROM t$i t" -p "$1"; done; }
restores()
{
	local port
	rm -rf "$T/r"
	mb restore --component "postgres=$T/r" --yes && pg_verifybackup -n "$T/r" || return 1
	port=$(free_port)
	printf 'port = %s\n' "$port" >>"$T/r/postgresql.conf"
	start_cluster "$T/r" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port" && rows "$port" >"$T/r.rows"
	pg_amcheck -p "$port" postgres || return 1
	stop_cluster "$T/r"
	rows "$PGPORT" | diff - "$T/r.rows"
}

ok "a full backup is killed after it has saved something" killed
n=$(saved)
ok "it has left $n provisional manifest(s)" test "$n" -gt 0
run mb verify --read-data full
is "$status" 0 "the repository verifies"
backup
is "$status $type" "0 full" "the next backup is full"
like "$err" "going on from what a killed backup has stored" "... and goes on from there"
ok "... packed $changed of $bytes bytes" test "$changed" -lt $((bytes / 10 * 9))
is "$(saved)" 0 "... and removed what the killed one left"
ok "... and restores" restores

for i in $(seq 12); do sql "UPDATE t$i SET a = md5(a) WHERE id % 3 = 1"; done
sql "CHECKPOINT"
ok "an incremental is killed" killed
ok "and another one" killed
# What was saved may be damaged: a help and no promise.
file=$(find "$REPO/provisional" -type f ! -name '.tmp-*' | sort | head -1)
chmod u+w "$file"; printf XXXX | dd of="$file" bs=1 seek=60 conv=notrunc 2>/dev/null
backup
is "$status $type" "0 incremental" "the next is an incremental, whatever was saved"
like "$err" "going on from what a killed backup has stored" "... goes on from the other's"
is "$(saved)" 0 "... and removed both"
ok "... and restores" restores
run mb verify --read-data full
is "$status" 0 "verify"
done_testing
