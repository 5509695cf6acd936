#!/bin/bash
# Whatever happens to a cluster between two backups, an incremental one restores to the same rows
# as the source had, and as a full backup of another repository that is replayed to the same point.
# Rounds are random: DML, VACUUM, VACUUM FULL, TRUNCATE, CREATE DATABASE both ways, tablespaces,
# unlogged tables, hint bits, visibility maps, crashes, checksums on and off. MBACKUP_LONG=1: 200.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
cat >>"$PGDATA/postgresql.conf" <<-EOF
	fsync = off
	autovacuum_naptime = 5s
	max_wal_size = 256MB
EOF
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
echo "tail-interval = 100ms" >>"$CONF"
# The skip rule asks for times that are a minute old; no test round is that long.
export MBACKUP_TEST_OLD_ENOUGH_S=1
ROUNDS=6 EVERY=3 FUZZY=6 SWITCH=4
[ -n "${MBACKUP_LONG:-}" ] && ROUNDS=200 EVERY=5 FUZZY=20 SWITCH=33
SEED=${MBACKUP_SEED:-$$}
RANDOM=$SEED
diag "seed $SEED"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

# -- what the rows are ---------------------------------------------------------------------------------

hash_sql="SELECT coalesce(string_agg(format('%s %s', c.oid::regclass, (xpath('//h/text()', query_to_xml(format(
 'SELECT count(*) || ''/'' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS h FROM %s t', c.oid::regclass),
 false, false, '')))[1]::text), E'\n' ORDER BY c.oid::regclass::text), '') FROM pg_class c
 WHERE relkind IN ('r', 'm') AND relpersistence = 'p' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
rows() # port
{
	local db
	for db in $(sql "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1" -p "$1")
	do
		echo "database $db"
		sql "$hash_sql" -p "$1" -d "$db" || echo "failed $RANDOM"
	done
}

# -- what happens between two backups -------------------------------------------------------------------

sql "CREATE EXTENSION amcheck" -d template1
sql "CREATE EXTENSION amcheck" -d postgres
mkdir "$T/space one"
sql "CREATE TABLESPACE space LOCATION '$T/space one'"
sql "CREATE TABLE big AS SELECT g AS id, g % 97 AS k, md5(g::text) AS t FROM generate_series(1, 60000) g; ALTER TABLE big ADD PRIMARY KEY (id); CREATE INDEX ON big (k, t)"
for i in 1 2 3 4; do sql "CREATE TABLE t$i (id serial PRIMARY KEY, t text); INSERT INTO t$i (t) SELECT md5(g::text) FROM generate_series(1, 2000) g"; done
sql "CREATE UNLOGGED TABLE volatile AS SELECT generate_series(1, 500) AS g"
"$PG_BIN/pgbench" -i -s 1 -q >/dev/null 2>&1

databases=0
something()
{
	local t=t$((RANDOM % 4 + 1)) n=$((RANDOM % 14))
	OPS="$OPS $n"
	case $n in
		0) sql "INSERT INTO $t (t) SELECT md5((g * $RANDOM)::text) FROM generate_series(1, $((RANDOM % 3000))) g" ;;
		1) sql "UPDATE big SET t = md5(t) WHERE id % 101 = $((RANDOM % 101))" ;;
		2) sql "DELETE FROM $t WHERE id % 7 = $((RANDOM % 7))"; sql "VACUUM $t" ;;
		3) sql "VACUUM FULL $t" ;;
		4) sql "BEGIN; TRUNCATE $t; INSERT INTO $t (t) SELECT repeat('x', g % 500) FROM generate_series(1, 1000) g; COMMIT" ;;
		5) [ $databases = 4 ] || { databases=$((databases + 1)); sql "CREATE DATABASE d$databases TEMPLATE template1 STRATEGY $([ $((RANDOM % 2)) = 0 ] && echo wal_log || echo file_copy)"; sql "CREATE TABLE inside AS SELECT generate_series(1, 3000) AS g" -d d$databases; } ;;
		6) [ $databases = 0 ] || { sql "DROP DATABASE d$databases"; databases=$((databases - 1)); } ;;
		7) sql "ALTER TABLE $t SET TABLESPACE $([ $((RANDOM % 2)) = 0 ] && echo space || echo pg_default)" ;;
		8) sql "INSERT INTO volatile SELECT g FROM generate_series(1, 300) g; ALTER TABLE t4 SET $([ $((RANDOM % 2)) = 0 ] && echo UNLOGGED || echo LOGGED)" ;;
		9) # Hint bits: the first read after the commit is on disk sets them.
			sql "INSERT INTO $t (t) SELECT 'hint' FROM generate_series(1, 1000); CHECKPOINT"
			sql "SELECT count(*) FROM $t" >/dev/null; sql "CHECKPOINT" ;;
		10) # The visibility map is cleared without a new page LSN.
			sql "VACUUM (FREEZE) big"; sql "DELETE FROM big WHERE id % 1009 = $((RANDOM % 1009))" ;;
		11) sql "REINDEX TABLE $t" ;;
		12) "$PG_BIN/pgbench" -n -c 2 -t 200 >/dev/null 2>&1 ;;
		13) sql "CREATE TABLE IF NOT EXISTS extra$((RANDOM % 3)) AS SELECT g, repeat('y', 100) AS y FROM generate_series(1, 20000) g"
			sql "DROP TABLE IF EXISTS extra$((RANDOM % 3))" ;;
	esac
	[ $((RANDOM % 6)) != 0 ] || sql "CHECKPOINT"
}

# -- restoring and comparing --------------------------------------------------------------------------

restored_port() { sed -n 4p "$1/postmaster.pid"; }
start_restored() # directory
{
	printf 'port = %s\nfsync = off\nautovacuum = off\n' "$(free_port)" >>"$1/postgresql.conf"
	start_cluster "$1" && wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$(restored_port "$1")"
}

# Restore what CONF says with these options into r/, judge it, leave its rows in $1.
judge() # file restore-option...
{
	local file=$1 port
	shift
	rm -rf "$T/r" "$T/r space"
	mb restore --component "postgres=$T/r" --yes --tablespace "$T/space one=$T/r space" "$@" >"$T/j.out" 2>&1 || { cat "$T/j.out"; return 1; }
	pg_verifybackup -n "$T/r" >"$T/j.out" 2>&1 || { cat "$T/j.out"; return 1; }
	start_restored "$T/r" || return 1
	port=$(restored_port "$T/r")
	rows "$port" >"$file"
	pg_amcheck -p "$port" -a --heapallindexed >"$T/j.out" 2>&1 || { cat "$T/j.out"; return 1; }
	stop_cluster "$T/r"
	[ "$(sql "SHOW data_checksums")" = off ] || pg_checksums --check -D "$T/r" >"$T/j.out" 2>&1 || { cat "$T/j.out"; return 1; }
	judged=$((judged + 1))
}

same() { judge "$T/restored.rows" && rows "$PGPORT" >"$T/source.rows" && diff "$T/source.rows" "$T/restored.rows"; }

# Under load: this repository's incremental to its own cut, the other one's full to the same point.
same_as_full()
{
	local point load
	CONF=$T/other.conf mb backup --type full >"$T/b.out" 2>&1 || { cat "$T/b.out"; return 1; }
	"$PG_BIN/pgbench" -n -c 3 -T 100 >/dev/null 2>&1 & load=$!; stack_owns $load
	mb backup --json >"$T/b.json" 2>"$T/b.err" || { cat "$T/b.err"; return 1; }
	sleep 0.5
	stack_kill $load INT; wait $load 2>/dev/null
	point=mbackup_$(json backup.cut.id <"$T/b.json")
	CONF=$T/other.conf mb mark "after$RANDOM$judged" >"$T/m.out" 2>&1 || { cat "$T/m.out"; return 1; }
	judge "$T/incremental.rows" || return 1
	CONF=$T/other.conf judge "$T/full.rows" --to-name "$point" || return 1
	diff "$T/full.rows" "$T/incremental.rows"
}

# -- the rounds ------------------------------------------------------------------------------------------

run mb backup
is "$status" 0 "a full backup"
like "$out" "full" "... says that it is one"
sed "s,^url = .*,url = $T/repo-other,; s,^spool = .*,spool = $T/spool-other," "$CONF" >"$T/other.conf"
printf 'slot = other\n' >>"$T/other.conf"
CONF=$T/other.conf mb init >/dev/null 2>&1
CONF=$T/other.conf start_stream
judged=0 bad=0 incrementals=0 switches=0 skipped=0
for round in $(seq "$ROUNDS")
do
	OPS=""
	for _ in $(seq $((RANDOM % 4 + 1))); do something >"$T/op.out" 2>&1 || { diag "round $round: an operation failed:$OPS: $(cat "$T/op.out")"; }; done
	if [ $((round % SWITCH)) = 0 ]
	then
		stop_cluster "$PGDATA"
		pg_checksums "$([ "$(pg_controldata "$PGDATA" | sed -n 's/^Data page checksum version: *//p')" = 0 ] && printf %s -e || printf %s -d)" -D "$PGDATA" >/dev/null || diag "pg_checksums failed"
		switches=$((switches + 1))
		start_cluster "$PGDATA"
	elif [ $((RANDOM % 10)) = 0 ]
	then
		OPS="$OPS crash"
		stop_cluster "$PGDATA" immediate; start_cluster "$PGDATA"
	fi
	if [ $((round % FUZZY)) = 0 ]
	then
		same_as_full >"$T/same.out" 2>&1 || { bad=$((bad + 1)); diag "round $round ($OPS), under load: $(tail -n 20 "$T/same.out")"; }
		cp "$T/b.json" "$T/run.json"
	else
		mb backup --json >"$T/run.json" 2>"$T/b.err" || { bad=$((bad + 1)); diag "round $round: backup: $(cat "$T/b.err")"; continue; }
		if [ $((round % EVERY)) = 0 ]
		then
			same >"$T/same.out" 2>&1 || { bad=$((bad + 1)); diag "round $round ($OPS): $(tail -n 20 "$T/same.out")"; }
		fi
	fi
	[ "$(json backup.components.0.type <"$T/run.json")" = incremental ] && incrementals=$((incrementals + 1))
	skipped=$((skipped + $(sed -n 's/.* \([0-9]*\) of [0-9]* files are as backup.*/\1/p' "$T/b.err" | grep . || echo 0)))
done
is "$bad" 0 "$ROUNDS rounds, $incrementals incremental, $judged restores judged, $skipped files skipped: no difference"
ok "backups are full only when checksums were switched ($switches times)" test $((incrementals + switches)) = "$ROUNDS"
ok "the skip rule was used" test "$skipped" -gt 0
run mb verify --read-data full
is "$status" 0 "verify"
[ "$status" = 0 ] || diag "$err$out"
done_testing
