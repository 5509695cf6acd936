#!/bin/bash
# The peak memory of a backup, a verify and a restore stays under 256 MiB: on 200,000 small files
# and on a database (2 GiB in the long run, a few hundred MiB otherwise).
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
limit=$((256 * 1024))
scale=20
many=1000
[ -n "${MBACKUP_LONG:-}" ] && scale=140
[ -n "${MBACKUP_SHORT:-}" ] && scale=5 many=100
stack_postgres || exit 1
stack_config
mb init >/dev/null 2>&1

peak() # command... -> "KiB status"
{
	python3 - "$@" <<'PY'
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)
PY
}
measure() # name command...
{
	local name=$1 kib code
	shift
	read -r kib code < <(peak "$@")
	is "$code" 0 "$name: exit 0"
	[ "$kib" -lt $limit ]
	result "$name: peak $((kib / 1024)) MiB" $?
}

python3 - "$many" "$T/etc" "$T/objects" <<'PY'
import os, sys
for d in sys.argv[2:]:
    for i in range(100):
        os.makedirs(f"{d}/{i:02d}", exist_ok=True)
        for j in range(int(sys.argv[1])):
            with open(f"{d}/{i:02d}/file-with-a-name-{j}.conf", "w") as f:
                f.write(f"{i} {j}\n")
PY
measure "backup of $((many * 200)) small files" "$MBACKUP" --config "$CONF" backup --component config --component uploads
sleep 2.1
measure "incremental of $((many * 200)) small files" "$MBACKUP" --config "$CONF" backup --component config --component uploads
measure "verify of $((many * 200)) small files" "$MBACKUP" --config "$CONF" verify --read-data full
measure "restore of $((many * 100)) small files" "$MBACKUP" --config "$CONF" restore --component "uploads=$T/r"
ok "they are the same" diff -rq "$T/objects" "$T/r"
rm -rf "$T/r" "$T/objects" "$T/etc"
mkdir "$T/objects" "$T/etc"
"$PG_BIN/pgbench" -i -s $scale -q >/dev/null 2>&1
size=$(sql "SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database")
measure "backup of a database of $size" "$MBACKUP" --config "$CONF" backup --component postgres
measure "verify of it" "$MBACKUP" --config "$CONF" verify --read-data full
measure "restore of it" "$MBACKUP" --config "$CONF" restore --component "postgres=$T/pgr"
ok "pg_verifybackup" "$PG_BIN/pg_verifybackup" -n -q "$T/pgr"
done_testing
