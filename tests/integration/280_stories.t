#!/bin/bash
# Thirty failovers and recoveries, each on a cluster of its own: promotion during a backup and
# during a restore, the same timeline twice, the streamer down, servers and streamer killed with -9,
# forks in every position. Each restore is judged by the rows that were acknowledged.
# Without arguments a sample of them, with MBACKUP_LONG all; "280_stories.t 4 17" runs the ones that are named.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin "$@"
WANTED=${*:-1 3 4 5 6 7 9 15 17 19 22 23 28}
[ -n "${MBACKUP_LONG:-}" ] && WANTED=${*:-$(seq 30)}
TOP=$T

# -- the furniture ---------------------------------------------------------------------------------

"$PG_BIN/initdb" -D "$TOP/template" -U mbtest -A trust -k -N --no-locale -E UTF8 >"$TOP/initdb.log" 2>&1
cat >>"$TOP/template/postgresql.conf" <<-'EOF'
	listen_addresses = ''
	shared_buffers = 16MB
	fsync = off
	wal_keep_size = 64MB
	max_wal_size = 256MB
	log_line_prefix = '%m [%p] '
EOF
export PGDATABASE=postgres PGUSER=mbtest

# settle_port directory: its server's socket is in $T, its port is its own.
settle_port()
{
	PORT=$(free_port)
	sed -i '/^port =/d; /^unix_socket_directories =/d' "$1/postgresql.conf"
	printf "port = %s\nunix_socket_directories = '%s'\n" "$PORT" "$T" >>"$1/postgresql.conf"
}
on() { local port=$1; shift; sql "$@" -p "$port"; } # on PORT statement
state() { psql -X -q -A -t -p "$1" -c "SELECT count(*), coalesce(sum(id), 0), md5(coalesce(string_agg(id || note, ',' ORDER BY id), '')) FROM event" 2>&1; }
add() { on "$1" "INSERT INTO event (note) SELECT 'row ' || g || '${3:-}' FROM generate_series(1, $2) g"; } # port rows [tag]
position() { on "$1" "SELECT pg_current_wal_lsn()"; }
caught_up() { [ "$(on "$1" "SELECT pg_last_wal_replay_lsn() >= '$2'")" = t ]; }
catch_up() { wait_for 30 caught_up "$1" "$2"; }
is_primary() { on "$1" 'CREATE TEMP TABLE t ()'; }
stream_runs() { [ "$(on "$1" "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'mbackup' AND state = 'streaming'")" -ge 1 ]; }

# begin [options of pg_ctl]: a primary at $A with table event, and its repository.
begin()
{
	T=$TOP/s$STORY; REPO=$T/repo CONF=$T/mbackup.conf PGHOST=$T STREAM="" N=0 B=""
	export PGHOST
	mkdir -p "$T"
	cp -r "$TOP/template" "$T/a"
	settle_port "$T/a"; A=$PORT
	start_cluster "$T/a"
	on "$A" "CREATE TABLE event (id bigserial PRIMARY KEY, note text)"
	configure "$A"
	mb init >/dev/null 2>&1
}
# configure port [port]: conninfo leads to whichever is the primary.
configure()
{
	local hosts=$T ports=$1 attrs=""
	[ -n "${2:-}" ] && { hosts=$T,$T; ports=$1,$2; attrs=" target_session_attrs=read-write"; }
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf "[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres%s\ntail-interval = 200ms\n" "$hosts" "$ports" "$attrs"
	} >"$CONF"
}
# standby: a standby of $A at $B, streaming; mbackup is told of both.
standby()
{
	pg_basebackup -p "$A" -D "$T/b" -R -X stream -c fast >/dev/null 2>&1
	settle_port "$T/b"; B=$PORT
	start_cluster "$T/b"
	configure "$A" "$B"
}
start_stream() # port
{
	"$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1 & STREAM=$!
	stack_owns "$STREAM"
	wait_for 30 stream_runs "$1"
}
stop_stream() { stack_kill "$STREAM" "${1:-TERM}"; wait "$STREAM" 2>/dev/null; }
promote() { "$PG_BIN/pg_ctl" -D "$1" -w promote >/dev/null 2>&1 && wait_for 30 is_primary "$2"; } # directory port
# crash directory: kill -9, and wait until all of its processes are gone (and reaped).
crash()
{
	local pid
	pid=$(head -1 "$1/postmaster.pid")
	kill -9 "$pid"
	wait_for 60 gone "$pid" "$1"
}
gone() { ! kill -0 "$1" 2>/dev/null && ! ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -q -- "-> $2\$"; }
backup() { run mb backup "$@"; is "$status" 0 "$NAME: backup"; [ "$status" = 0 ] || diag "$err"; }
mark() { run mb mark "$1"; is "$status" 0 "$NAME: mark $1"; [ "$status" = 0 ] || { diag "$err"; tail -5 "$T/stream.log" | sed 's/^/# /' >&2; }; }
# restored what option...: restore, start, wait for the promotion; its port in $R
restored()
{
	local what="$NAME: $1"
	shift
	N=$((N + 1)) R=1
	run mb restore --component "postgres=$T/r$N" --yes "$@"
	is "$status" 0 "$what: restore"
	[ "$status" = 0 ] || { diag "$err"; return; }
	settle_port "$T/r$N"; R=$PORT
	ok "$what: starts" start_cluster "$T/r$N"
	ok "$what: promotes" wait_for 60 is_primary "$R"
}
# judge what expected option...: the same, and it holds the rows expected.
judge()
{
	local what=$1 expected=$2
	shift 2
	restored "$what" "$@"
	is "$(state "$R")" "$expected" "$NAME: $what: the rows"
	stop_cluster "$T/r$N" immediate
}
refused() # what pattern option...
{
	local what=$1 pattern=$2
	shift 2
	run mb restore --component "postgres=$T/no" --yes "$@"
	isnt_zero "$what"
	like "$err" "$pattern" "$NAME: $what: and says why"
	ok "$NAME: $what: nothing was made" test ! -e "$T/no"
}
isnt_zero() { [ "$status" != 0 ]; result "$NAME: $1: refused ($status)" "$?"; [ "$status" != 0 ] || diag "it was not"; }
gaps() { find "$REPO/streams/postgres/gaps" -type f 2>/dev/null | wc -l; }
LOST= # the mark that this story leaves without a way to it
finish()
{
	[ -n "$STREAM" ] && stop_stream
	for data in "$T"/*/postmaster.pid; do [ -f "$data" ] && stop_cluster "$(dirname "$data")" immediate; done
	run mb verify
	if [ -n "$LOST" ]
	then
		like "$status $(tr '\n' ' ' <<<"$out")" "^6 .* 1 problem .*cannot be restored to this mark: .*concerns $LOST" "$NAME: verify names the mark that cannot be restored, and nothing else"
		LOST=
	else
		is "$status" 0 "$NAME: the repository verifies"
		[ "$status" = 0 ] || diag "$out$err"
	fi
	[ -n "${STACK_KEEP:-}" ] || rm -rf "$T"
	T=$TOP
}
# A restored cluster at directory takes the place of $A.
take_place() # directory
{
	stop_cluster "$T/a"; mv "$T/a" "$T/a.before.$N"; mv "$1" "$T/a"
	sed -i '/^port =/d' "$T/a/postgresql.conf"
	printf 'port = %s\n' "$A" >>"$T/a/postgresql.conf"
	start_cluster "$T/a" && wait_for 30 is_primary "$A"
}

# -- the stories ------------------------------------------------------------------------------------

story_1="the stream follows a failover"
tell_1()
{
	begin; standby; start_stream "$A"; backup
	add "$A" 100; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"
	ok "$NAME: it follows" wait_for 30 stream_runs "$B"
	add "$B" 50; mark two
	judge "latest" "$(state "$B")" --to-latest
	is "$(gaps)" 0 "$NAME: no gap"
}

story_2="the streamer is down across a promotion"
tell_2()
{
	begin; standby; start_stream "$A"; backup; add "$A" 100; mark one
	at_one=$(state "$A"); stop_stream
	add "$A" 30; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; add "$B" 50
	start_stream "$B"; add "$B" 5; mark two
	judge "latest" "$(state "$B")" --to-latest
	judge "before" "$at_one" --to-mark one
}

story_3="down across a promotion, and the WAL is gone"
tell_3()
{
	begin; standby; start_stream "$A"; backup; add "$A" 100; mark one
	at_one=$(state "$A"); stop_stream
	add "$A" 30; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"
	on "$B" "ALTER SYSTEM SET wal_keep_size = 0"; on "$B" "SELECT pg_reload_conf()" >/dev/null
	for _ in 1 2 3; do add "$B" 10; on "$B" "SELECT pg_switch_wal()" >/dev/null; done
	on "$B" CHECKPOINT; on "$B" CHECKPOINT
	start_stream "$B"; add "$B" 5; mark behind
	is "$(($(gaps) > 0))" 1 "$NAME: a gap is recorded"
	refused "behind the gap" "missing|gap" --to-mark behind; LOST=behind
	judge "before the gap" "$at_one" --to-mark one
	backup
	judge "healed" "$(state "$B")" --to-backup
}

story_4="commits that only the old primary had"
tell_4()
{
	begin; standby; start_stream "$A"; backup; add "$A" 100; catch_up "$B" "$(position "$A")"
	on "$B" "SELECT pg_wal_replay_pause()" >/dev/null
	stop_cluster "$T/b" fast
	add "$A" 70 lost; mark lost; at_lost=$(state "$A")
	crash "$T/a"
	rm -f "$T/b/standby.signal"; start_cluster "$T/b"; stop_cluster "$T/b"
	touch "$T/b/standby.signal"; sed -i '/primary_conninfo/d' "$T/b/postgresql.auto.conf"
	start_cluster "$T/b"; promote "$T/b" "$B"
	ok "$NAME: the stream comes along" wait_for 60 stream_runs "$B"
	add "$B" 50; mark two
	judge "the lost commits are in their own history" "$at_lost" --to-mark lost
	refused "no base is on the way to the new primary" "cannot be reached" --to-mark two; LOST=two
	backup
	judge "the new primary" "$(state "$B")" --to-backup
}

story_5="there and back again: three timelines"
tell_5()
{
	begin; standby; start_stream "$A"; backup; add "$A" 20; mark one; at_one=$(state "$A")
	catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; wait_for 30 stream_runs "$B"
	add "$B" 20; mark two; at_two=$(state "$B")
	# The old primary comes back as a standby of the new one, and takes over again.
	touch "$T/a/standby.signal"
	printf "primary_conninfo = 'host=%s port=%s user=mbtest'\n" "$T" "$B" >>"$T/a/postgresql.auto.conf"
	start_cluster "$T/a"; add "$B" 5; catch_up "$A" "$(position "$B")"
	stop_cluster "$T/b" fast; promote "$T/a" "$A"
	ok "$NAME: it follows again" wait_for 30 stream_runs "$A"
	add "$A" 20; mark three
	judge "timeline 3" "$(state "$A")" --to-latest
	judge "timeline 2" "$at_two" --to-mark two
	judge "timeline 1" "$at_one" --to-mark one
}

story_6="the primary dies during a backup"
tell_6()
{
	begin; standby; start_stream "$A"; backup; add "$A" 100; catch_up "$B" "$(position "$A")"
	head -c 300000000 /dev/urandom >"$T/a/big"
	"$MBACKUP" --config "$CONF" backup --type full >"$T/victim.out" 2>&1 & VICTIM=$!; stack_owns "$VICTIM"
	# Held in the middle, so that it cannot be over before the server is gone.
	sleep 0.25; kill -STOP "$VICTIM"
	crash "$T/a"; kill -CONT "$VICTIM"; wait "$VICTIM"; status=$?
	rm -f "$T/a/big"
	isnt_zero "the backup that was under way"
	promote "$T/b" "$B"; add "$B" 10
	sed -i 's/^tail-interval/method = auto\n&/' "$CONF"
	backup
	judge "the next one" "$(state "$B")" --to-backup
}

story_7="promotion during a restore"
tell_7()
{
	begin; standby; start_stream "$A"; head -c 200000000 /dev/urandom >"$T/a/big"; backup; rm -f "$T/a/big"
	add "$A" 100; mark one; at_one=$(state "$A"); catch_up "$B" "$(position "$A")"
	"$MBACKUP" --config "$CONF" restore --component "postgres=$T/during" --yes --to-latest >"$T/during.out" 2>&1 & VICTIM=$!; stack_owns "$VICTIM"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; add "$B" 50
	wait "$VICTIM"; is "$?" 0 "$NAME: the restore ends well"
	wait_for 30 stream_runs "$B"; mark two
	settle_port "$T/during"; R=$PORT
	ok "$NAME: starts" start_cluster "$T/during"
	ok "$NAME: promotes" wait_for 60 is_primary "$R"
	is "$(state "$R")" "$at_one" "$NAME: the rows of its plan"
	judge "afterwards" "$(state "$B")" --to-latest
}

story_8="promotion between a restore and its start"
tell_8()
{
	begin; standby; start_stream "$A"; backup; add "$A" 100; mark one; at_one=$(state "$A")
	add "$A" 10; catch_up "$B" "$(position "$A")"
	run mb restore --component "postgres=$T/early" --yes --to-mark one
	is "$status" 0 "$NAME: restore"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; wait_for 30 stream_runs "$B"; add "$B" 50; mark two
	settle_port "$T/early"; R=$PORT
	ok "$NAME: starts" start_cluster "$T/early"
	ok "$NAME: promotes" wait_for 60 is_primary "$R"
	is "$(state "$R")" "$at_one" "$NAME: the rows of its plan"
}

# The same base restored twice becomes timeline 2 twice; both histories are kept apart.
twice()
{
	begin; start_stream "$A"; backup; add "$A" 20; mark base
	restored "first" --to-mark base; stop_cluster "$T/r$N"; mb adopt "$T/r$N" >/dev/null 2>&1; take_place "$T/r$N"
	wait_for 40 stream_runs "$A"; add "$A" 11 first; mark first; at_first=$(state "$A")
	run mb restore --component "postgres=$T/second" --yes --to-mark base --timeline 1
	is "$status" 0 "$NAME: second restore"
	python3 - "$T/second/mbackup_restore.json" <<-'PY'
		import json, sys
		plan = json.load(open(sys.argv[1])); plan["histories"] = {}; json.dump(plan, open(sys.argv[1], "w"))
	PY
	mb adopt "$T/second" >/dev/null 2>&1
	take_place "$T/second"
	is "$(on "$A" "SELECT timeline_id FROM pg_control_checkpoint()")" 2 "$NAME: timeline 2 again"
	wait_for 40 stream_runs "$A"; add "$A" 22 second; mark second; at_second=$(state "$A")
}
story_9="twice to the same timeline: the first history"
tell_9() { twice; judge "first" "$at_first" --to-mark first; }
story_10="twice to the same timeline: the second history"
tell_10() { twice; judge "second" "$at_second" --to-mark second; }

# A fork in the middle of WAL that goes on: around it in every direction.
fork()
{
	begin; standby; start_stream "$A"; backup; add "$A" 20
	sleep 0.3; time_one=$(on "$A" "SELECT clock_timestamp()"); at_one=$(state "$A"); sleep 0.3
	add "$A" 10; at_fork=$(state "$A"); catch_up "$B" "$(position "$A")"
	mark fork
	stop_cluster "$T/a" fast; promote "$T/b" "$B"
	fork_lsn=$(awk 'NR == 1 { print $2 }' "$T/b/pg_wal/00000002.history")
	wait_for 30 stream_runs "$B"
	add "$B" 5; sleep 0.3; time_two=$(on "$B" "SELECT clock_timestamp()"); at_two=$(state "$B"); sleep 0.3
	xid=$(on "$B" "INSERT INTO event (note) VALUES ('xid') RETURNING pg_current_xact_id()" | head -1); at_xid=$(state "$B")
	add "$B" 5; mark two
}
story_11="a time before the fork"
tell_11() { fork; judge "time" "$at_one" --to-time "$time_one"; }
story_12="the fork itself"
tell_12() { fork; judge "lsn" "$at_fork" --to-lsn "$fork_lsn"; }
story_13="a time behind the fork"
tell_13() { fork; judge "time" "$at_two" --to-time "$time_two"; }
story_14="the end of the old timeline"
tell_14() { fork; judge "timeline 1" "$at_fork" --to-latest --timeline 1; }
story_15="a transaction behind the fork, with and without it"
tell_15() { fork; judge "with it" "$at_xid" --to-xid "$xid"; judge "without it" "$at_two" --to-xid "$xid" --exclusive; }

story_16="one restore point's name on two timelines"
tell_16()
{
	begin; standby; start_stream "$A"; backup
	add "$A" 10; on "$A" "SELECT pg_create_restore_point('same')" >/dev/null; at_one=$(state "$A"); add "$A" 10
	catch_up "$B" "$(position "$A")"; mark m
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; wait_for 30 stream_runs "$B"
	add "$B" 10; mark n
	judge "the first on the way" "$at_one" --to-name same
}

story_17="dropped, restored, and on from there, twice"
tell_17()
{
	begin; start_stream "$A"; backup; add "$A" 30; mark good; at_good=$(state "$A")
	on "$A" "DROP TABLE event"; on "$A" "SELECT pg_switch_wal()" >/dev/null
	restored "undo the drop" --to-mark good
	is "$(state "$R")" "$at_good" "$NAME: the rows are back"
	stop_cluster "$T/r$N"; mb adopt "$T/r$N" >/dev/null 2>&1; take_place "$T/r$N"
	wait_for 40 stream_runs "$A"; add "$A" 5; mark better
	at_better=$(state "$A"); on "$A" "TRUNCATE event"; mark empty
	judge "undo the truncation" "$at_better" --to-mark better
	judge "before all of it" "$at_good" --to-mark good
}

story_18="a backup of the new primary without a stream"
tell_18()
{
	begin; standby; backup; add "$A" 20; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; add "$B" 20
	backup
	judge "it" "$(state "$B")" --to-backup
}

story_19="the streamer is killed during a backup"
tell_19()
{
	begin; start_stream "$A"; add "$A" 500
	head -c 300000000 /dev/zero >"$T/a/big"
	"$MBACKUP" --config "$CONF" backup >"$T/backup.out" 2>&1 & VICTIM=$!; stack_owns "$VICTIM"
	sleep 0.3; stop_stream KILL
	add "$A" 50
	start_stream "$A" || start_stream "$A"
	wait "$VICTIM"; is "$?" 0 "$NAME: the backup completes"
	rm -f "$T/a/big"; add "$A" 5; mark end
	judge "latest" "$(state "$A")" --to-latest
}

story_20="kill -9 of the primary, again and again"
tell_20()
{
	begin; start_stream "$A"; backup
	for i in 1 2 3 4
	do
		add "$A" 40; crash "$T/a"; start_cluster "$T/a"; wait_for 40 stream_runs "$A"
	done
	add "$A" 3; mark end
	judge "latest" "$(state "$A")" --to-latest
	is "$(gaps)" 0 "$NAME: no gap"
}

story_21="kill -9 of the streamer, again and again"
tell_21()
{
	begin; start_stream "$A"; backup
	for i in 1 2 3 4 5 6
	do
		add "$A" 40; stop_stream KILL; add "$A" 10; start_stream "$A"
	done
	add "$A" 3; mark end
	judge "latest" "$(state "$A")" --to-latest
	is "$(gaps)" 0 "$NAME: no gap"
	is "$(ls "$REPO/streams/postgres/wal/"*/00000001 | wc -l)" 1 "$NAME: one branch"
}

story_22="kill -9 of both at once"
tell_22()
{
	begin; start_stream "$A"; backup; add "$A" 100; mark sure; at_sure=$(on "$A" "SELECT max(id) FROM event")
	add "$A" 100
	kill -9 "$STREAM"; crash "$T/a"
	restored "what reached the repository" --to-latest
	is "$(on "$R" "SELECT max(id) >= $at_sure AND count(*) = max(id) FROM event")" t "$NAME: all that was marked, and no hole"
	stop_cluster "$T/r$N" immediate
	start_cluster "$T/a"; start_stream "$A"; add "$A" 5; mark end
	judge "after the return" "$(state "$A")" --to-latest
}

story_23="a backup from a standby that is promoted later"
tell_23()
{
	begin; standby; start_stream "$A"; add "$A" 30; on "$A" CHECKPOINT; catch_up "$B" "$(position "$A")"
	printf 'method = direct\nstandby = host=%s port=%s user=mbtest dbname=postgres\n' "$T" "$B" >>"$CONF"
	backup
	sed -i '/^standby/d' "$CONF"
	add "$A" 10; catch_up "$B" "$(position "$A")"; stop_cluster "$T/a" fast
	promote "$T/b" "$B"; wait_for 30 stream_runs "$B"; add "$B" 10; mark two
	judge "across the promotion" "$(state "$B")" --to-latest
}

story_24="an old base across two forks"
tell_24()
{
	begin; start_stream "$A"; backup; add "$A" 10; mark one
	for i in 2 3
	do
		stop_stream; touch "$T/a/standby.signal"
		"$PG_BIN/pg_ctl" -D "$T/a" -m fast -w restart -l "$T/a.log" >/dev/null 2>&1
		promote "$T/a" "$A"; start_stream "$A"; add "$A" 10; mark "line-$i"
	done
	is "$(on "$A" "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 8, 1)")" 3 "$NAME: timeline 3"
	judge "latest" "$(state "$A")" --to-latest
}

story_25="a mark goes to its own timeline by itself"
tell_25() { fork; judge "the mark on timeline 1" "$at_fork" --to-mark fork; }

story_26="the repository is away during the failover"
tell_26()
{
	begin; standby; start_stream "$A"; backup; add "$A" 20; mark one; catch_up "$B" "$(position "$A")"
	mv "$REPO" "$REPO.away"; add "$A" 20; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; add "$B" 20; sleep 1
	mv "$REPO.away" "$REPO"
	kill -0 "$STREAM" 2>/dev/null || start_stream "$B"
	ok "$NAME: the stream comes back" wait_for 60 stream_runs "$B"
	add "$B" 5; mark two
	judge "latest" "$(state "$B")" --to-latest
}

story_27="a failover right behind a segment switch"
tell_27()
{
	begin; standby; start_stream "$A"; backup; add "$A" 20
	on "$A" "SELECT pg_switch_wal()" >/dev/null; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; wait_for 30 stream_runs "$B"
	add "$B" 10; on "$B" "SELECT pg_switch_wal()" >/dev/null; add "$B" 1; mark two
	judge "latest" "$(state "$B")" --to-latest
}

story_28="two promotions within one segment, streamer down"
tell_28()
{
	begin; start_stream "$A"; backup; add "$A" 10; mark one; stop_stream
	for i in 2 3
	do
		touch "$T/a/standby.signal"
		"$PG_BIN/pg_ctl" -D "$T/a" -m fast -w restart -l "$T/a.log" >/dev/null 2>&1
		promote "$T/a" "$A"
	done
	start_stream "$A"; add "$A" 7; mark three
	judge "latest" "$(state "$A")" --to-latest
}

story_29="nothing happens, then a failover, and nothing happens"
tell_29()
{
	begin; standby; start_stream "$A"; backup; catch_up "$B" "$(position "$A")"
	stop_cluster "$T/a" fast; promote "$T/b" "$B"; wait_for 30 stream_runs "$B"; mark quiet
	judge "latest" "$(state "$B")" --to-mark quiet
}

story_30="a restored cluster is the base of the next disaster"
tell_30()
{
	begin; start_stream "$A"; backup; add "$A" 10; mark one
	restored "first" --to-mark one; stop_cluster "$T/r$N"; mb adopt "$T/r$N" >/dev/null 2>&1; take_place "$T/r$N"
	wait_for 40 stream_runs "$A"; add "$A" 10; backup; add "$A" 10; mark two; at_two=$(state "$A")
	crash "$T/a"; rm -rf "$T/a/base"
	judge "second" "$at_two" --to-latest
}

for STORY in $WANTED
do
	title=story_$STORY
	NAME="$STORY. ${!title}"
	"tell_$STORY"
	finish
done
done_testing
