#!/bin/bash
# Proves that a Redis Cluster is one component: backup and marks under writes (paused ones too) come back shard by shard as
# an independent replica of each master had them; the restored directories make a cluster again; a killed master
# costs the stream nothing; a backup goes into a cluster of another layout, into a single server, and back by
# the undo commands; moved slots are noticed, and what cannot be reached is said.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
PY=/usr/bin/python3
WIRE=$here/tests/lib/redis_wire.py CLUSTER=$here/tests/lib/redis_cluster.py

pong() { [ "$(redis-cli -p "$1" ping)" = PONG ]; }
node() # name [option...]: a node on $T/NAME, ${NAME}_port ${NAME}_bus ${NAME}_pid
{
	local name=$1 port bus
	shift
	port=$(free_port) bus=$(free_port)
	mkdir -p "$T/$name"
	redis-server --port "$port" --bind 127.0.0.1 --dir "$T/$name" --save '' --enable-debug-command local --cluster-enabled yes --cluster-port "$bus" \
		--cluster-node-timeout 1500 --repl-diskless-sync-delay 0 --repl-backlog-size 64mb --daemonize no "$@" >"$T/$name.log" 2>&1 &
	eval "${name}_pid=\$! ${name}_port=$port ${name}_bus=$bus"
	stack_owns $!
	wait_for 20 pong "$port"
}
port_of() { eval "echo \$$1_port"; }
id_of() { redis-cli -p "$(port_of "$1")" cluster myid; }
slots() # name from to epoch
{
	redis-cli -p "$(port_of "$1")" cluster addslotsrange "$2" "$3" >/dev/null
	redis-cli -p "$(port_of "$1")" cluster set-config-epoch "$4" >/dev/null
}
meet() # name other...
{
	local first=$1 other bus
	shift
	for other in "$@"
	do
		eval "bus=\$${other}_bus"
		redis-cli -p "$(port_of "$first")" cluster meet 127.0.0.1 "$(port_of "$other")" "$bus" >/dev/null
	done
}
whole() # count name...: all of them see so many nodes and a cluster that is well
{
	local count=$1 name info
	shift
	for name in "$@"
	do
		info=$(redis-cli -p "$(port_of "$name")" cluster info | tr -d '\r')
		grep -qx 'cluster_state:ok' <<<"$info" && grep -qx "cluster_known_nodes:$count" <<<"$info" || return 1
	done
}
see() { $PY "$CLUSTER" see "$@"; }
start_writer()
{
	rm -f "$T/stop"
	$PY "$CLUSTER" write "$a_port" "$RANDOM" "$T/stop" >"$T/writer.out" 2>&1 &
	WRITER=$!
	stack_owns $WRITER
}
stop_writer() { touch "$T/stop"; wait "$WRITER"; }
digest() { redis-cli -p "$1" debug digest; }
loaded() { [ "$(redis-cli -p "$1" info persistence | tr -d '\r' | sed -n 's/^loading:\(.*\)/\1/p')" = 0 ]; }

node a
node b
node c
node d
slots a 0 5460 1
slots b 5461 10922 2
slots c 10923 16383 3
meet a b c d
wait_for 20 whole 4 a b c d
is $? 0 "a cluster of three masters and a fourth node"
redis-cli -p "$d_port" cluster replicate "$(id_of a)" >/dev/null
is_replica() { [ "$(redis-cli -p "$d_port" info replication | tr -d '\r' | sed -n 's/^master_link_status:\(.*\)/\1/p')" = up ]; }
wait_for 20 is_replica

REPO=$T/repo
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
	printf '[redis:cells]\nurl = cluster://127.0.0.1:1,127.0.0.1:%s,127.0.0.1:%s\nside = after\n' "$b_port" "$c_port"
} >"$CONF"
mb init >"$T/init.out" 2>&1
is $? 0 "init" || cat "$T/init.out" >&2
mb check >"$T/check.out" 2>&1
like "$(cat "$T/check.out")" "3 masters serve all 16384 slots" "check asks the second seed when the first does not answer, and counts the masters"
like "$(cat "$T/check.out")" "cells/slot-10923.*it serves slots 10923-16383" "... and tells each one's slots"

start_writer
for p in $a_port $b_port $c_port
do
	redis-cli -p "$p" function load "#!lua name=lib
redis.register_function('f', function(keys, args) return redis.call('set', keys[1], args[1]) end)" >/dev/null
done
for n in a b c
do
	$PY "$WIRE" replica "$(port_of $n)" "$T/replica-$n" >"$T/replica.log" 2>&1 &
	eval "replica_$n=\$!"
	stack_owns $!
done
for n in a b c; do wait_for 30 test -s "$T/replica-$n/start"; done
"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns $STREAM
sleep 1
mb backup >"$T/backup.out" 2>&1
is $? 0 "a backup under writes" || cat "$T/backup.out" >&2
mb verify --read-data full >"$T/verify.out" 2>&1
is $? 0 "... verifies" || cat "$T/verify.out" >&2

# Every shard of a mark against what our judge captured of its master up to the same offset.
compare() # mark
{
	local n shard bad=0
	rm -rf "$T/ours" "$T/theirs"-*
	mb restore --to-mark "$1" --component "cells=$T/ours" --yes >"$T/restore.out" 2>&1 || { cat "$T/restore.out" >&2; return 1; }
	for n in a:0 b:5461 c:10923
	do
		shard=cells/slot-${n#*:}
		offset=$(json "mark.cut.positions.cells.shards.$shard.offset" <"$T/$1.json")
		$PY "$WIRE" build "$T/replica-${n%:*}" "$offset" "$T/theirs-${n%:*}" || return
		start_redis_on "$T/theirs-${n%:*}" || return
		see "$RPORT" >"$T/theirs.seen"; kill "$RPID"; wait "$RPID"
		start_redis_on "$T/ours/slot-${n#*:}" || return
		see "$RPORT" >"$T/ours.seen"; kill "$RPID"; wait "$RPID"
		[ -s "$T/ours.seen" ] && diff "$T/theirs.seen" "$T/ours.seen" >"$T/difference" || { bad=1; diag "$shard at $offset: $(head -n 3 "$T/difference")"; }
	done
	return $bad
}
for i in 1 2 3
do
	[ $i = 3 ] && pause="" || pause=--pause
	sleep 0.7
	mb mark "m$i" $pause --json >"$T/m$i.json" 2>"$T/mark.err"
	is $? 0 "mark $i $pause" || cat "$T/mark.err" "$T/stream.log" >&2
done
is "$(json mark.cut.consistency <"$T/m1.json")" paused "the pause held on every master"
for i in 1 2 3
do
	compare "m$i"
	is $? 0 "mark $i: every shard is what an independent replica had at its offset"
done

# At rest: the directories make a cluster that is the same.
stop_writer
is $? 0 "the application had no error: $(cat "$T/writer.out") commands"
mb mark rest --json >"$T/rest.json" 2>&1
mb restore --to-mark rest --component "cells=$T/again" --yes >"$T/restore.out" 2>&1
is $? 0 "restore into a directory for each shard" || cat "$T/restore.out" >&2
for n in e:0 f:5461 g:10923
do
	mkdir -p "$T/${n%:*}"
	mv "$T/again/slot-${n#*:}"/* "$T/${n%:*}/"
	node "${n%:*}" --appendonly yes
	wait_for 20 loaded "$(port_of "${n%:*}")"
done
meet e f g
wait_for 20 whole 3 e f g
is $? 0 "servers on these directories make a whole cluster" || redis-cli -p "$e_port" cluster nodes >&2
same=0
for n in a:e b:f c:g
do
	see "$(port_of "${n%:*}")" >"$T/one.seen"
	see "$(port_of "${n#*:}")" >"$T/two.seen"
	diff -q "$T/one.seen" "$T/two.seen" >/dev/null && [ "$(digest "$(port_of "${n%:*}")")" = "$(digest "$(port_of "${n#*:}")")" ] && same=$((same + 1))
done
is $same 3 "... with the same DEBUG DIGEST shard by shard"
redis-cli --cluster check 127.0.0.1:"$e_port" >"$T/clustercheck" 2>&1
is $? 0 "... and redis-cli --cluster check finds nothing" || cat "$T/clustercheck" >&2

mb redis ls cells --at rest --json >"$T/ls.json" 2>"$T/ls.err"
is $? 0 "mbackup redis ls of a cluster" || cat "$T/ls.err" >&2
see "$a_port" "$b_port" "$c_port" >"$T/all.seen"
alive() { python3 -c 'import json, sys, time
print(sum(key.get("expires_ms", 1e18) > time.time() * 1000 for key in json.load(sys.stdin)["keys"]))'; }
is "$(alive <"$T/ls.json")" "$(grep -c "^-\?[0-9]* [a-z]* [0-9a-f]\{40\}" "$T/all.seen")" "... names as many keys as its masters have"
like "$(mb redis info cells 2>&1)" "string" "... and info counts them by type"
mb redis snapshot cells --output "$T/cells.rdb" >"$T/out" 2>&1
is $? 9 "one RDB file of a cluster is refused" || cat "$T/out" >&2

# A master is killed under writes; its replica takes over.
for n in a b c; do eval "kill \$replica_$n; wait \$replica_$n"; done 2>/dev/null
start_writer
sleep 1
{ kill -9 "$a_pid"; wait "$a_pid"; } 2>/dev/null
took_over() { redis-cli -p "$d_port" cluster nodes | grep -q 'myself,master.* 0-5460'; }
wait_for 30 took_over
is $? 0 "a master is killed and its replica takes over"
sleep 3
stop_writer
is $? 0 "... under writes" || cat "$T/writer.out" >&2
mb mark after-kill --json >"$T/after.json" 2>"$T/mark.err"
is $? 0 "a mark behind the failover is held: the stream goes on" || cat "$T/mark.err" "$T/stream.log" >&2
mb restore --to-mark after-kill --component "cells=$T/after" --yes >"$T/restore.out" 2>&1
same=0
for n in d:0 b:5461 c:10923
do
	see "$(port_of "${n%:*}")" >"$T/one.seen"
	start_redis_on "$T/after/slot-${n#*:}"
	see "$RPORT" >"$T/two.seen"; kill "$RPID"; wait "$RPID"
	diff -q "$T/one.seen" "$T/two.seen" >/dev/null && same=$((same + 1))
done
is $same 3 "... and what it restores is what the cluster has"
mb list --json 2>/dev/null >"$T/list.json"
is "$(json windows.0.gaps <"$T/list.json")" "[]" "... without a gap" || { cat "$T/list.json" "$T/stream.log" >&2; }

# Into a cluster of another layout, which has other data.
node h
node i
slots h 0 999 1
redis-cli -p "$h_port" cluster addslotsrange 9000 16383 >/dev/null
slots i 1000 8999 2
meet h i
wait_for 20 whole 2 h i
$PY "$CLUSTER" write "$h_port" 7 "$T/stop2" >/dev/null 2>&1 &
other=$!
stack_owns $other
sleep 1
touch "$T/stop2"
wait $other
redis-cli -c -p "$h_port" set only-there 1 >/dev/null
see "$h_port" "$i_port" >"$T/other.seen"
see "$d_port" "$b_port" "$c_port" >"$T/source.seen"
mb restore --to-mark after-kill --component "cells=cluster://127.0.0.1:$i_port" --yes --json >"$T/restore.json" 2>"$T/restore.err"
is $? 0 "restore into a running cluster of two masters" || cat "$T/restore.err" >&2
see "$h_port" "$i_port" >"$T/now.seen"
diff "$T/source.seen" "$T/now.seen" >"$T/difference"
is $? 0 "... every key and function is as in the source, and nothing else: $(wc -l <"$T/now.seen")" || head -n 5 "$T/difference" >&2
is "$(redis-cli -p "$h_port" --cluster check 127.0.0.1:"$h_port" >/dev/null 2>&1; echo $?)" 0 "... each in its slot"
n=0
while read -r undo
do
	bash -c "${undo/#mbackup/$MBACKUP}" >"$T/undo.out" 2>&1 || cat "$T/undo.out" >&2
	n=$((n + 1))
done < <(python3 -c 'import json, sys
for server in json.load(sys.stdin)["restore"]["components"][0]["servers"]: print(server["undo"])' <"$T/restore.json")
see "$h_port" "$i_port" >"$T/now.seen"
diff "$T/other.seen" "$T/now.seen" >"$T/difference"
is "$n $?" "2 0" "the undo commands of both masters bring the data from before back" || head -n 5 "$T/difference" >&2
mb restore --to-mark after-kill --component "cells=cluster://127.0.0.1:$h_port" --only '{user:*' --yes >"$T/restore.out" 2>&1
grep -v 'user:' "$T/other.seen" >"$T/want.seen"
grep 'user:' "$T/source.seen" >>"$T/want.seen"
see "$h_port" "$i_port" | sort >"$T/now.seen"
diff <(sort "$T/want.seen") "$T/now.seen" >"$T/difference"
is $? 0 "--only brings a part and leaves the rest" || head -n 5 "$T/difference" >&2

# Into a single server, and from a single server into a cluster.
stack_redis --databases 16
redis-cli -p "$REDIS_PORT" -n 3 set gone 1 >/dev/null
redis-cli -p "$REDIS_PORT" set gone 1 >/dev/null
mb restore --to-mark after-kill --component "cells=redis://127.0.0.1:$REDIS_PORT" --yes >"$T/restore.out" 2>&1
is $? 0 "restore of a cluster into a single server" || cat "$T/restore.out" >&2
see "$REDIS_PORT" >"$T/now.seen"
diff -q "$T/source.seen" "$T/now.seen" >/dev/null
is "$? $(redis-cli -p "$REDIS_PORT" -n 3 dbsize)" "0 0" "... replaces all that was there"
sed "s#^url = cluster.*#url = redis://127.0.0.1:$REDIS_PORT#; s#^\[redis:cells\]#[redis:single]#" "$CONF" >"$T/single.conf"
"$MBACKUP" --config "$T/single.conf" backup >"$T/backup.out" 2>&1 || cat "$T/backup.out" >&2
"$MBACKUP" --config "$T/single.conf" restore latest --component "single=cluster://127.0.0.1:$h_port" --yes >"$T/restore.out" 2>&1
is $? 0 "restore of a single server into a cluster" || cat "$T/restore.out" >&2
see "$h_port" "$i_port" >"$T/now.seen"
diff -q "$T/source.seen" "$T/now.seen" >/dev/null
is $? 0 "... every key is in its slot"
redis-cli -p "$REDIS_PORT" -n 5 set x 1 >/dev/null
"$MBACKUP" --config "$T/single.conf" backup >/dev/null 2>&1
"$MBACKUP" --config "$T/single.conf" restore latest --component "single=cluster://127.0.0.1:$h_port" --yes >"$T/restore.out" 2>&1
is $? 9 "a backup with keys in database 5 is refused by a cluster" || cat "$T/restore.out" >&2
like "$(cat "$T/restore.out")" "database 5.*only database 0" "... and it says why"

# Slots that are on their way, and slots that were moved.
redis-cli -p "$b_port" cluster setslot 5461 migrating "$(id_of c)" >/dev/null
redis-cli -p "$c_port" cluster setslot 5461 importing "$(id_of b)" >/dev/null
mb mark moving >"$T/mark.out" 2>&1
is $? 3 "a mark while a slot is on its way is partial" || cat "$T/mark.out" >&2
like "$(cat "$T/mark.out")" "slots of shard cells/slot-5461 moved.*" "... and names the shard"
mb backup >"$T/backup.out" 2>&1
is "$([ $? != 0 ] && echo refused)" refused "a backup meanwhile is refused" || cat "$T/backup.out" >&2
redis-cli -p "$b_port" cluster setslot 5461 stable >/dev/null
redis-cli -p "$c_port" cluster setslot 5461 stable >/dev/null
redis-cli --cluster reshard 127.0.0.1:"$b_port" --cluster-from "$(id_of b)" --cluster-to "$(id_of c)" --cluster-slots 200 --cluster-yes >"$T/reshard.out" 2>&1
is $? 0 "200 slots are moved" || tail -n 5 "$T/reshard.out" >&2
wait_for 60 grep -q "cells/slot-5661: the stream starts" "$T/stream.log"
is $? 0 "... and the streams are those of the new layout" || tail -n 20 "$T/stream.log" >&2
mb mark moved >"$T/mark.out" 2>&1
is $? 3 "a mark behind that is partial" || cat "$T/mark.out" >&2
like "$(cat "$T/mark.out")" "Run .mbackup backup.: marks after it are held" "... and says that a backup is needed"
mb backup >"$T/backup.out" 2>&1
is $? 0 "after a backup" || cat "$T/backup.out" >&2
sleep 2
mb mark well >"$T/mark.out" 2>&1
is $? 0 "... a mark is held again" || cat "$T/mark.out" "$T/stream.log" >&2
mb restore --to-mark well --component "cells=$T/moved" --yes >"$T/restore.out" 2>&1
see "$d_port" "$b_port" "$c_port" >"$T/source.seen"
ports=""
for dir in "$T/moved"/slot-*
do
	rm "$dir/nodes.conf"
	start_redis_on "$dir" && ports="$ports $RPORT"
done
see $ports >"$T/now.seen"
diff "$T/source.seen" "$T/now.seen" >"$T/difference"
is $? 0 "... and comes back whole in the new layout" || head -n 5 "$T/difference" >&2
mb restore --to-mark rest --component "cells=$T/back" --yes >"$T/restore.out" 2>&1
is "$? $(ls "$T/back" | wc -l)" "0 3" "a mark from before the slots were moved comes back in the old one" || cat "$T/restore.out" >&2
mb verify >"$T/verify.out" 2>&1
is $? 0 "all marks can be reached, but for what they said that they do not hold" || cat "$T/verify.out" >&2
mv "$REPO/streams/cells/slot-0" "$T/hidden"
run mb verify --read-data none
is "$status" 6 "the stream of one shard is missing"
for mark in rest after-kill
do
	like "$out" "concerns $mark\$" "... verify names mark $mark"
done
unlike "$out" "concerns mov" "... but not those that never held it"
mkdir -p "$REPO/streams/cells/slot-0"; cp -a "$T/hidden/." "$REPO/streams/cells/slot-0/" # beside what came meanwhile

# Words for what does not work.
{ kill -9 "$c_pid"; wait "$c_pid"; } 2>/dev/null
sleep 4
mb backup >"$T/backup.out" 2>&1
is $? 5 "a backup without one of the masters fails" || cat "$T/backup.out" >&2
like "$(cat "$T/backup.out")" "the master of slot .*is down" "... and names it"
sed "s#^url = cluster.*#url = cluster://127.0.0.1:$REDIS_PORT#" "$CONF" >"$T/wrong.conf"
"$MBACKUP" --config "$T/wrong.conf" backup >"$T/backup.out" 2>&1
is $? 9 "a single server is no cluster" || cat "$T/backup.out" >&2
like "$(cat "$T/backup.out")" "no node of a cluster.*|redis://HOST:PORT" "... and the url to write is told"
stack_kill $STREAM TERM
wait $STREAM
is $? 143 "the stream ends well"
done_testing
