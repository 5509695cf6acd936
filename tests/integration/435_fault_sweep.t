#!/bin/bash
# Every PostgreSQL operation, while one of its system calls fails (EIO, ENOSPC), comes up short or is its last
# (kill -9): it says so with a status of the table and never hangs; the repository verifies, the same command
# then just works, nothing that was acknowledged is lost, and nothing half-made looks whole.
# MBACKUP_LONG=1 tries many more points; MBACKUP_SEED=N chooses the same ones again; MBACKUP_SWEEP=operation.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
[ -e "$BUILD/fault.so" ] || skip_all "no $BUILD/fault.so: make all"
stack_postgres --wal-segsize=1 || exit 1
printf 'fsync = off\nautovacuum = off\nwal_keep_size = 512MB\nmax_wal_size = 1GB\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
echo "tail-interval = 100ms" >>"$CONF"
DIRECT=$CONF
sed '$a method = basebackup' "$CONF" >"$T/wire.conf"
sed '$a ack = spool' "$CONF" >"$T/spool.conf"
# What a killed backup has finished is saved, the skip rule is in force.
export MBACKUP_TEST_SAVE_MS=20 MBACKUP_TEST_OLD_ENOUGH_S=1
export TMPDIR=$T/tmp; mkdir "$TMPDIR"
SEED=${MBACKUP_SEED:-$$}
RANDOM=$SEED
LONG=${MBACKUP_LONG:-}
diag "seed $SEED"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE DATABASE other"
sql "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 5000) g; ALTER TABLE t ADD PRIMARY KEY (id); CHECKPOINT"
run mb backup
is "$status" 0 "a backup"
[ "$status" = 0 ] || diag "$err"

export MBACKUP_FAULT_NOSYNC=1
mb() { LD_PRELOAD="$BUILD/fault.so" "$MBACKUP" --config "$CONF" "$@"; }

# -- one point ---------------------------------------------------------------------------------------------

FAULT=any:0:EIO:$T
# The command under the fault.
broken() { timeout -k 1 60 env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$FAULT" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" "$@"; }
hit() { head -c 1024 "$T/fault" | head -1 | tr -d '\0'; }
problem() { bad=$((bad + 1)); diag "$operation, $FAULT ($(hit)): $*"; }
# Must succeed, or it is a problem.
must() { "$@" >"$T/must.out" 2>&1 || problem "failed ($?): $* $(tail -n 8 "$T/must.out")"; }
# The status of what was broken: of the table, and an error that has a text.
fair_status() # status file-of-stderr
{
	case $1 in
		0 | 3 | 4 | 5 | 6 | 7 | 8 | 10 | 11) ;;
		137) [[ $FAULT = *:kill:* ]] || problem "killed without being told" ;;
		*) problem "status $1: $(tail -n 5 "$2")" ;;
	esac
	[ "$1" = 0 ] || [ "$1" = 137 ] || grep -q "mbackup: error: ..*" "$2" || problem "status $1 without an error"
	! grep -qi "bug in mbackup\|sanitizer\|assert" "$2" || problem "$(tail -n 5 "$2")"
}
try()
{
	broken "$@" >"$T/try.out" 2>"$T/try.err"
	tried=$?
	fair_status "$tried" "$T/try.err"
}

# sweep operation points: the calls are counted first; the points are spread over those that change something
# and those that only look, in turns, because there are many more of the second kind.
sweep()
{
	local kind i points=$2 calls changes per whats=(EIO ENOSPC kill short EIO kill ENOSPC)
	operation=$1 bad=0
	[ -z "${MBACKUP_SWEEP:-}" ] || [ "$MBACKUP_SWEEP" = "$operation" ] || return 0
	began=$(date +%s)
	counted any; calls=$count
	[ -n "$LONG" ] || [ "$points" -gt 2 ] && { counted change; changes=$count; } || changes=$((calls / 12))
	failed=0 passed=0 killed=0
	for i in $(seq 0 $((points - 1)))
	do
		rm -f "$T/fault"
		[ $(((i + RANDOM % 2 * (points < 3)) % 2)) = 0 ] && kind=change per=$changes || kind=look per=$((calls - changes))
		FAULT=$kind:$((1 + per * i / points + (RANDOM * 32768 + RANDOM) % (per / points + 1))):${whats[$(((i + RANDOM) % 7))]}:$T
		"$operation"
		case $tried in 0) passed=$((passed + 1)) ;; 137) killed=$((killed + 1)) ;; *) failed=$((failed + 1)) ;; esac
		[ -z "${SHOW:-}" ] || diag "$operation $FAULT ($(hit)): $tried $(grep -v Killed "$T/try.err" | tail -n 1)"
	done
	FAULT=any:0:EIO:$T
	must mb verify --read-data full
	all=$((all + points))
	is "$bad" 0 "$operation: $points points of $calls calls ($failed failed, $killed killed, $passed survived), $(($(date +%s) - began)) s: nothing lost"
}
# How many calls of a kind the operation makes when none fails.
counted() # kind
{
	rm -f "$T/fault"
	FAULT=$1:0:EIO:$T
	"$operation"
	count=$(hit | cut -d' ' -f1)
	[ "$tried" = 0 ] || problem "fails without a fault: $(cat "$T/try.err")"
	[ "${count:-0}" -gt 0 ] || { problem "no calls were counted"; count=1; }
}
all=0 bad=0

# -- the operations ------------------------------------------------------------------------------------------

change() { sql "UPDATE t SET m = md5(m) WHERE id % 50 = $((RANDOM % 50)); INSERT INTO t SELECT max(id) + 1, 'more' FROM t; CHECKPOINT"; }
restored() # the newest backup, judged
{
	rm -rf "$T/r"
	must mb restore --yes --component "postgres=$T/r"
	must pg_verifybackup -n "$T/r"
}
backup_with() # conf option...
{
	change
	CONF=$1; shift
	try backup "$@"
	must mb verify
	[ "$tried" = 0 ] && restored
	must mb backup "$@"
	restored
	CONF=$DIRECT
}
backup_full() { backup_with "$DIRECT" --type full; }
backup_incremental() { backup_with "$DIRECT"; }
backup_wire() { backup_with "$T/wire.conf"; }
backup_standby() { backup_with "$T/standby.conf"; }

# Two segments wait; what is acknowledged must be in the repository, byte for byte.
wal_push()
{
	local first second
	first=$(sql "INSERT INTO t SELECT max(id) + 1, 'push' FROM t; SELECT pg_walfile_name(pg_current_wal_insert_lsn()); SELECT pg_switch_wal()" | sed -n 1p)
	second=$(sql "INSERT INTO t SELECT max(id) + 1, 'push' FROM t; SELECT pg_walfile_name(pg_current_wal_insert_lsn()); SELECT pg_switch_wal()" | sed -n 1p)
	cd "$PGDATA" || exit 1
	touch "pg_wal/archive_status/$first.ready" "pg_wal/archive_status/$second.ready"
	try wal-push "pg_wal/$first"
	[ "$tried" = 0 ] && pushed "$first"
	must mb wal-push "pg_wal/$first"
	must mb wal-push "pg_wal/$second"
	pushed "$first"; pushed "$second"
	rm -f "pg_wal/archive_status/$first.ready" "pg_wal/archive_status/$second.ready"
	cd "$T" || exit 1
}
# A standby's wal-get may say "not yet" for half a second: what it knows is as old as that.
pushed() { rm -f "$T/got"; must wait_for 5 mb wal-get "$1" "$T/got"; must cmp "$T/got" "pg_wal/$1"; }

# Recovery must get the very segment, or stop; "past the end" (1) would lose what comes behind.
wal_get()
{
	local i worst=0
	rm -rf "$T/get"; mkdir "$T/get"
	cp -a "$T/plan/PG_VERSION" "$T/plan/mbackup_restore.json" "$T/get/"; mkdir "$T/get/pg_wal" "$T/get/global"
	cp -a "$T/plan/global/pg_control" "$T/get/global/"
	cd "$T/get" || exit 1
	for i in 0 1 2
	do
		rm -f pg_wal/RECOVERYXLOG
		broken wal-get --restore="$PLAN" "${SEGMENTS[i]}" pg_wal/RECOVERYXLOG >"$T/try.out" 2>"$T/try.err"
		tried=$?
		case $tried in
			0) must cmp pg_wal/RECOVERYXLOG "$PGDATA/pg_wal/${SEGMENTS[i]}" ;;
			137) fair_status 137 "$T/try.err" ;;
			20[2-9] | 21[01]) fair_status $((tried - 200)) "$T/try.err" ;;
			*) problem "wal-get exits $tried: $(cat "$T/try.err")" ;;
		esac
		[ "$tried" = 0 ] || worst=$tried
	done
	tried=$worst
	sleep 0.2 # for the helper's calls
	for i in 0 1 2
	do
		must mb wal-get --restore="$PLAN" "${SEGMENTS[i]}" pg_wal/RECOVERYXLOG
		must cmp pg_wal/RECOVERYXLOG "$PGDATA/pg_wal/${SEGMENTS[i]}"
	done
	cd "$T" || exit 1
}

# What the stream has acknowledged is in the repository or in the spool: the next stream has no gap.
stream_spool()
{
	local pid i
	CONF=$T/spool.conf
	# Not by a function, so that the pid is its own.
	LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$FAULT" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" stream >"$T/try.out" 2>"$T/try.err" & pid=$!
	stack_owns $pid
	for i in 1 2 3 4
	do
		kill -0 $pid 2>/dev/null || break
		sql "INSERT INTO t SELECT max(id) + g, 'stream' FROM t, generate_series(1, 500) g GROUP BY g"
		sleep 0.2
	done
	stack_kill $pid
	wait $pid 2>/dev/null
	tried=$?
	[ "$tried" = 143 ] && tried=0
	fair_status "$tried" "$T/try.err"
	"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 & pid=$!
	stack_owns $pid
	wait_for 20 slot_active || problem "the stream does not start again: $(tail -n 5 "$T/stream.log")"
	must mb mark "m$RANDOM$RANDOM"
	stack_kill $pid
	[ -z "$(find "$REPO/streams/postgres/gaps" -type f 2>/dev/null)" ] || problem "a gap"
	must mb verify
	CONF=$DIRECT
}

# It is as if it had not begun, or it cannot be started, or it is whole.
half() # directory
{
	[ ! -s "$1/global/pg_control" ] || { [ -n "$before" ] && [ "$before" = "$(contents "$1")" ]; } || pg_verifybackup -n "$1" >"$T/must.out" 2>&1 || problem "what is not whole could be started: $(tail -n 3 "$T/must.out")"
}
before=""
contents() { (cd "$1" && find . -type f ! -name "mbackup_restore.partial*" -print0 | sort -z | xargs -0 cat | sha256sum); }
finish() # directory option...
{
	local directory=$1 over=""
	shift
	half "$directory"
	[ -z "$(ls -A "$directory" 2>/dev/null)" ] || over="--delta"
	must mb restore --yes $over --component "postgres=$directory" "$@"
	must pg_verifybackup -n "$directory"
}
restore_new()
{
	rm -rf "$T/n"
	try restore --yes --component "postgres=$T/n"
	[ "$tried" != 0 ] || must pg_verifybackup -n "$T/n"
	finish "$T/n"
}
restore_database()
{
	rm -rf "$T/n"
	try restore --yes --component "postgres=$T/n" --database postgres
	[ "$tried" != 0 ] || must pg_verifybackup -n "$T/n"
	finish "$T/n" --database postgres
}
restore_delta()
{
	local file
	for file in $(find "$T/n/base" -type f -size +64k | sort | head -n 40)
	do
		printf 'old data' | dd of="$file" bs=1 seek=$((RANDOM + 100)) conv=notrunc 2>/dev/null
	done
	rm -f "$(find "$T/n/base" -type f -name '[0-9]*' | sort | sed -n 20p)"
	echo foreign >"$T/n/base/99999"
	printf 'more' >>"$(find "$T/n/base" -type f -name '[0-9]*_fsm' | sort | sed -n 5p)"
	before=$(contents "$T/n")
	try restore --yes --delta --component "postgres=$T/n"
	[ "$tried" != 0 ] || must pg_verifybackup -n "$T/n"
	finish "$T/n"
	before=""
}
restore_table()
{
	rm -f "$T/t.sql"
	try restore --table postgres.public.t --output "$T/t.sql"
	if [ "$tried" = 0 ]
	then
		must cmp "$T/t.expected" <(grep -v '^\\' "$T/t.sql")
	else
		[ ! -e "$T/t.sql" ] || must cmp "$T/t.expected" <(grep -v '^\\' "$T/t.sql")
		rm -f "$T/t.sql"
		must mb restore --table postgres.public.t --output "$T/t.sql"
		must cmp "$T/t.expected" <(grep -v '^\\' "$T/t.sql")
	fi
	[ "$tried" = 137 ] || [ -z "$(ls "$TMPDIR")" ] || problem "left in the scratch directory: $(ls "$TMPDIR")"
	wait_for 10 no_scratch || problem "a scratch server is left"
	chmod -R u+rwX "$TMPDIR"; rm -rf "${TMPDIR:?}"/*
}
no_scratch() { ! pgrep -u "$(id -u)" -f "postgres -D $TMPDIR/mbackup-tables"; }
restore_start()
{
	rm -rf "$T/n"
	try restore --yes --component "postgres=$T/n" --start --start-timeout 30s --port "$(free_port)"
	stop_cluster "$T/n" immediate
	[ "$tried" = 0 ] || { [ -e "$T/n/global/pg_control" ] && [ -e "$T/n/mbackup_start.log" ]; } || half "$T/n"
	rm -rf "$T/n"
	must mb restore --yes --component "postgres=$T/n" --start --start-timeout 30s --port "$(free_port)"
	[ "$(sql "SELECT count(*) FROM t" -p "$(sed -n 4p "$T/n/postmaster.pid")")" = "$ROWS" ] || problem "rows"
	stop_cluster "$T/n" immediate
}
adopt()
{
	rm -rf "$T/a"; mkdir "$T/a" "$T/a/global"
	cp -a "$T/plan/PG_VERSION" "$T/plan/postgresql.auto.conf" "$T/plan/postgresql.conf" "$T/a/"; cp -a "$T/plan/global/pg_control" "$T/a/global/"
	try adopt "$T/a"
	cmp -s "$T/a/postgresql.auto.conf" "$T/plan/postgresql.auto.conf" || cmp -s "$T/a/postgresql.auto.conf" "$T/adopted.conf" ||
		problem "postgresql.auto.conf is neither the old nor the new one"
	[ "$tried" != 0 ] || must cmp "$T/a/postgresql.auto.conf" "$T/adopted.conf"
	must mb adopt "$T/a"
	must cmp "$T/a/postgresql.auto.conf" "$T/adopted.conf"
	[ -z "$(ls "$T/a" | grep tmp)" ] || [ "$tried" = 137 ] || problem "left: $(ls "$T/a")"
}

# -- all of them -----------------------------------------------------------------------------------------------

# What one point costs differs by a hundred times: so do the numbers of points.
n() { [ -n "$LONG" ] && echo "$2" || echo "$1"; } # short long
sweep backup_full "$(n 1 25)"
sweep backup_incremental "$(n 1 30)"
sweep backup_wire "$(n 1 15)"
if [ -n "$LONG" ]
then
	pg_basebackup -D "$T/standby" -R -X stream -c fast >/dev/null 2>&1
	SPORT=$(free_port)
	printf 'port = %s\n' "$SPORT" >>"$T/standby/postgresql.conf"
	start_cluster "$T/standby"
	sed "\$a standby = host=$T port=$SPORT user=mbtest dbname=postgres" "$CONF" >"$T/standby.conf"
	sweep backup_standby 12
	stop_cluster "$T/standby"
fi
operation=wal_push
wal_push # the first one makes the branch
sweep wal_push "$(n 5 80)"
sql "SELECT pg_create_physical_replication_slot('mbackup', true)" >/dev/null

# A plan over segments that the source still has.
must mb backup
for _ in 1 2 3 4 5 6; do sql "INSERT INTO t SELECT max(id) + g, 'plan' FROM t, generate_series(1, 2000) g GROUP BY g; SELECT pg_switch_wal()" >/dev/null; done
mb mark plan >/dev/null 2>&1
run mb restore --yes --component "postgres=$T/plan" --to-mark plan
is "$status" 0 "a plan"
PLAN=$(json restore <"$T/plan/mbackup_restore.json")
# shellcheck disable=SC2207
SEGMENTS=($(python3 - "$T/plan/mbackup_restore.json" <<'PY'
import json, sys
plan = json.load(open(sys.argv[1])); link = plan["links"][-1]
hi, lo = (int(x, 16) for x in link["from"].split("/"))
n = (hi << 32 | lo) // plan["segment_size"]
for i in range(3):
    print("%08X%08X%08X" % (link["timeline"], (n + i) // 4096, (n + i) % 4096))
PY
))
sweep wal_get "$(n 3 70)"
sweep stream_spool "$(n 1 10)"
must mb backup
sweep restore_new "$(n 2 60)"
rm -rf "$T/n"
must mb restore --yes --component "postgres=$T/n"
sweep restore_delta "$(n 3 60)"
sweep restore_database "$(n 1 40)"
pg_dump -t public.t postgres | grep -v '^\\' >"$T/t.expected"
ROWS=$(sql "SELECT count(*) FROM t")
sweep restore_table "$(n 1 14)"
sweep restore_start "$(n 1 20)"
cp "$T/plan/postgresql.auto.conf" "$T/adopted.conf"; sed -i '/mbackup.restored/d' "$T/adopted.conf"
sweep adopt "$(n 4 46)"

# Everything that was written while things broke: the newest moment has the source's rows.
mb mark the-end >/dev/null 2>&1
rm -rf "$T/n"
run mb restore --yes --to-mark the-end --component "postgres=$T/n" --start --start-timeout 60s --port "$(free_port)"
is "$status" 0 "the newest moment, started"
row_hash() { sql "SELECT count(*), sum(hashtext(t::text)) FROM t" -p "$1"; }
is "$(row_hash "$(sed -n 4p "$T/n/postmaster.pid")")" "$(row_hash "$PGPORT")" "... has the rows of the source"
stop_cluster "$T/n"
diag "$all points"
done_testing
