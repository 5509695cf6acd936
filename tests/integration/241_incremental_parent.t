#!/bin/bash
# What an incremental backup may be built on, and what it is when it may not: another cluster, a fork
# of the history, a damaged manifest or page map, a missing pack. And kill -9 in the middle of
# incrementals: the repository verifies, the next one works and restores to the source's rows.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
printf 'fsync = off\nautovacuum = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
echo "tail-interval = 100ms" >>"$CONF"
export MBACKUP_TEST_OLD_ENOUGH_S=1
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
kills=4
[ -n "${MBACKUP_LONG:-}" ] && kills=20

sql "CREATE EXTENSION amcheck"
sql "CREATE TABLE big AS SELECT g AS id, md5(g::text) AS a, repeat(md5((g * 7)::text), 6) AS b FROM generate_series(1, 160000) g"
sql "CREATE INDEX ON big (id); CREATE TABLE small (t text)"

backup() # [option...]: $type, $stored, $err
{
	run mb backup --json "$@"
	type=$(json backup.components.0.type <<<"$out" 2>/dev/null)
	stored=$(json backup.components.0.stored_bytes <<<"$out" 2>/dev/null)
	id=$(json backup.components.0.backup <<<"$out" 2>/dev/null)
}
sums() { sql "SELECT count(*), sum(hashtext(big::text)) FROM big" -p "$1"; sql "SELECT count(*), sum(hashtext(small::text)) FROM small" -p "$1"; }
restores() # the newest backup, to the rows of the source
{
	local port
	rm -rf "$T/r"
	mb restore --component "postgres=$T/r" --yes && pg_verifybackup -n "$T/r" || return 1
	port=$(free_port)
	printf 'port = %s\n' "$port" >>"$T/r/postgresql.conf"
	start_cluster "$T/r" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port" && sums "$port" >"$T/r.sums"
	pg_amcheck -p "$port" postgres || return 1
	stop_cluster "$T/r"
	sums "$PGPORT" | diff - "$T/r.sums" && pg_checksums --check -D "$T/r"
}

backup
is "$type" full "the first backup is full"
full=$stored
sql "CHECKPOINT"; sleep 1.2
backup
is "$type" incremental "the second is not"
ok "nothing changed: it stores little ($stored of $full bytes)" test "$stored" -lt $((full / 50))
sleep 1.2
backup
like "$err" "of [0-9]+ files are as backup" "files are not even read"
ok "... and it stores kilobytes ($stored)" test "$stored" -lt 100000
backup --type full
is "$type" full "--type full"
ok "... stores everything again" test "$stored" -gt $((full / 10 * 9))
backup
sql "UPDATE big SET a = 'changed' WHERE id % 16000 = 5"
backup
is "$type" incremental "ten rows later"
ok "... as many pages and no more ($stored bytes)" test "$stored" -lt 700000
ok "restores to the rows of the source" restores

# -- verify-unchanged --------------------------------------------------------------------------------
sed -i 's/^tail-interval/verify-unchanged = 0\n&/' "$CONF"
sleep 1.2
backup; backup
is "$type" incremental "verify-unchanged = 0"
like "$err" "every file is read this time" "... reads every file"
like "$err" " 0 of [0-9]+ files are as backup" "... and skips none"
ok "... but stores nothing twice ($stored)" test "$stored" -lt 300000
sed -i '/^verify-unchanged/d' "$CONF"
backup

# -- a parent that is damaged ------------------------------------------------------------------------
refs_of() # backup id: names of its packs
{
	/usr/bin/python3 -c 'import xxhash' 2>/dev/null || return 1
	PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$here/tests/reader" "$REPO" "$1" <<'PY'
import sys, struct
sys.path.insert(0, sys.argv[1])
data = open(f"{sys.argv[2]}/backups/postgres/{sys.argv[3]}/commit", "rb").read()
import zstandard
# Suite none: walk the frames (docs/format.md, 5), the reference table is the last part.
at, parts = 32, []
while at < len(data):
    number, flags, codec, _, plain, stored = struct.unpack_from("<IBBHII", data, at)
    payload = data[at + 16 + 16:at + 16 + stored - 16]
    parts.append(payload if codec == 0 else zstandard.ZstdDecompressor().decompress(payload, max_output_size=plain))
    at += 16 + stored
refs = parts[-1]
best = max((struct.unpack_from("<Q", refs, i + 16)[0], refs[i:i + 16].hex()) for i in range(0, len(refs), 24))
print(f"packs/{best[1][:2]}/{best[1]}")
PY
}
pack=$(refs_of "$id")
ok "the pack that holds the most of the parent: $pack" test -s "$REPO/$pack"
mv "$REPO/$pack" "$T/pack"
run mb verify
is "$status" 6 "without it the repository is damaged"
backup
is "$status" 0 "an incremental on it"
is "$type" incremental "... is one still"
ok "... has what was missing again ($stored bytes)" test "$stored" -gt 1000000
ok "... and restores" restores
mkdir -p "$(dirname "$REPO/$pack")"; mv "$T/pack" "$REPO/$pack"

commit=$REPO/backups/postgres/$id/commit
chmod u+w "$commit"; cp "$commit" "$T/commit"
printf XXXX | dd of="$commit" bs=1 seek=$(($(stat -c %s "$commit") - 40)) conv=notrunc 2>/dev/null
backup
is "$status" 0 "with a damaged commit as parent"
is "$type" full "... the backup is full"
like "$err" "cannot be built on" "... and says why"
cp "$T/commit" "$commit"

# -- a parent of another history or cluster ---------------------------------------------------------------
rm -rf "$T/fork"
mb restore --component "postgres=$T/fork" --yes >/dev/null 2>&1
port=$(free_port)
printf 'port = %s\n' "$port" >>"$T/fork/postgresql.conf"
start_cluster "$T/fork" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
sql "INSERT INTO small SELECT 'after the fork' FROM generate_series(1, 100000)"
backup
is "$type" incremental "the source goes on on timeline 1"
sed "s/port=$PGPORT/port=$port/" "$CONF" >"$T/fork.conf"
CONF=$T/fork.conf mb adopt "$T/fork" >/dev/null 2>&1
CONF=$T/fork.conf backup
is "$status" 0 "a backup of its fork on timeline 2"
is "$type" full "... is not built on what came after the fork"
like "$err" "not in the history of this server" "... and says why"
CONF=$T/fork.conf backup
is "$type" incremental "... but on its own"
sql "SELECT pg_switch_wal()" -p "$port" >/dev/null; stop_cluster "$T/fork"; start_cluster "$T/fork"
backup
is "$type" full "a backup of the source is not built on that"
"$PG_BIN/initdb" -D "$T/other" -U mbtest -A trust -N --no-locale -E UTF8 >/dev/null 2>&1
port=$(free_port)
printf "port = %s\nlisten_addresses = ''\nunix_socket_directories = '%s'\nwal_level = replica\n" "$port" "$T" >>"$T/other/postgresql.conf"
start_cluster "$T/other"
sed "s/port=$PGPORT/port=$port/" "$CONF" >"$T/other.conf"
CONF=$T/other.conf backup
is "$type" full "a backup of another cluster"
like "$err" "another cluster" "... says why"
stop_cluster "$T/other"; stop_cluster "$T/fork"
backup
is "$status" 0 "back to the source"

# -- kill -9 -------------------------------------------------------------------------------------------------
bad=0 finished=0
started=$(date +%s%N)
sql "UPDATE big SET a = md5(a) WHERE id % 50 = 7"
backup
length_ms=$((($(date +%s%N) - started) / 1000000))
for i in $(seq "$kills")
do
	sql "UPDATE big SET a = md5(a) WHERE id % 50 = $i; INSERT INTO small VALUES ('$i')"
	"$MBACKUP" --config "$CONF" backup >"$T/b.out" 2>&1 & pid=$!
	sleep "$(python3 -c "import random; print(random.uniform(0, $length_ms / 1000))")"
	kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null
	[ $? = 0 ] && finished=$((finished + 1))
	run mb verify --read-data full
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "kill $i: verify: $out $err"; }
	if [ $((i % 4)) = 0 ]
	then
		backup
		[ "$status $type" = "0 incremental" ] || { bad=$((bad + 1)); diag "kill $i: next: $status $type $err"; }
		restores >"$T/restores.out" 2>&1 || { bad=$((bad + 1)); diag "kill $i: $(cat "$T/restores.out")"; }
	fi
done
is "$bad" 0 "killed $kills times within ${length_ms} ms ($finished were done before): verifies, goes on, restores"
done_testing
