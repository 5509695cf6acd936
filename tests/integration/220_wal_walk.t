#!/bin/bash
# The walker sees in real WAL what pg_waldump sees: every record, every commit and abort with its
# time, every restore point with its LSN; with 1 MiB and 16 MiB segments and in any pieces.
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${WAL_WALK:-}" ]
then
	for dir in "${BUILD:-$root/build}" "$root/build" "$root/build/asan"
	do
		[ -x "$dir/tests/unit/wal_walk_test" ] || continue
		WAL_WALK=$(mktemp -d /tmp/wal-walk.XXXXXX)
		chmod 755 "$WAL_WALK"
		install -m 755 "$dir/tests/unit/wal_walk_test" "$WAL_WALK/walk"
		export WAL_WALK
		bash "$0"
		code=$?
		rm -rf "$WAL_WALK"
		exit $code
	done
	echo "1..0 # SKIP the unit tests are not built"
	exit 0
fi
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
for megabytes in 1 16
do
	stack_postgres --wal-segsize=$megabytes || exit 1
	sql "ALTER SYSTEM SET wal_keep_size = '1GB'"; sql "SELECT pg_reload_conf()" >/dev/null
	sql "SELECT pg_switch_wal()" >/dev/null
	first=$(sql "SELECT pg_walfile_name(pg_current_wal_lsn())")
	sql "CREATE TABLE t (id int PRIMARY KEY, v text)"
	sql "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g"
	for i in $(seq 20)
	do
		sql "UPDATE t SET v = 'y' WHERE id = $i"
		sql "BEGIN; DELETE FROM t WHERE id = $i; ROLLBACK"
		sql "SELECT pg_create_restore_point('point $i')" >/dev/null
	done
	sql "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (-1); ROLLBACK TO a; INSERT INTO t VALUES (-2); COMMIT"
	sql "SELECT pg_logical_emit_message(true, 'big', repeat('z', 3000000))" >/dev/null
	sql "SELECT pg_switch_wal()" >/dev/null; sql "INSERT INTO t VALUES (-3)"; sql "SELECT pg_switch_wal()" >/dev/null
	sql "VACUUM FREEZE t"; sql "CHECKPOINT"
	stop_cluster "$PGDATA"
	files=$(cd "$PGDATA/pg_wal" && for f in 0000*; do [[ $f < $first ]] || echo "$f"; done)
	(cd "$PGDATA/pg_wal" && pg_waldump "$first" "$(echo "$files" | tail -1)" 2>/dev/null) >"$T/dump"
	dump_says=$(
		echo "records $(wc -l <"$T/dump")"
		echo "commits $(grep -cE 'rmgr: Transaction.*desc: (COMMIT|ABORT)' "$T/dump")"
		echo "last record $(tail -1 "$T/dump" | sed -E 's/.*lsn: ([^,]*),.*/\1/')"
	)
	points=$(grep -c 'desc: RESTORE_POINT' "$T/dump")
	is "$points" 20 "$megabytes MiB: pg_waldump knows the restore points"
	cd "$PGDATA/pg_wal" || exit 1
	for chunk in 1 8191 131072
	do
		# shellcheck disable=SC2086
		run "$WAL_WALK/walk" $((megabytes * 1048576)) $chunk $files
		is "$(head -3 <<<"$out")" "$dump_says" "$megabytes MiB in pieces of $chunk: records, commits, last record"
		is "$(grep -c '^point point' <<<"$out")" 20 "$megabytes MiB in pieces of $chunk: restore points"
	done
	# The times.
	newest=$(grep -E 'rmgr: Transaction.*desc: (COMMIT|ABORT)' "$T/dump" | sed -E 's/.*desc: (COMMIT|ABORT) ([0-9-]+ [0-9:.]+) UTC.*/\2/' | sort | tail -1)
	is "$(sed -n 's/^newest //p' <<<"$out" | tr T ' ' | sed -E 's/0*Z$//')" "$(sed -E 's/0*$//' <<<"$newest")" "$megabytes MiB: the newest commit's time"
	cd "$T" || exit 1
	rm -rf "$PGDATA"
done
done_testing
