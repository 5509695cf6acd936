#!/bin/bash
# Proves that a Redis behind Sentinel is found through the sentinels, and that its stream goes on over a forced failover and
# over a master killed with -9, both under writes: a restore equals the new master, without a gap.  Proves also that what a
# failover lost is in no restore, and that a promoted server without the history is called a gap.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

server() # name [option...]
{
	local name=$1 port
	shift
	port=$(free_port)
	mkdir -p "$T/$name"
	redis-server --port "$port" --bind 127.0.0.1 --dir "$T/$name" --save '' --appendonly no --enable-debug-command local \
		--repl-diskless-sync-delay 0 --repl-backlog-size 64mb --daemonize no "$@" >"$T/$name.log" 2>&1 &
	eval "${name}_pid=\$! ${name}_port=$port"
	stack_owns $!
	wait_for 20 pong "$port"
}
pong() { [ "$(redis-cli -p "$1" ping)" = PONG ]; }
info_of() { redis-cli -p "$1" info "$2" | tr -d '\r' | sed -n "s/^$3:\(.*\)/\1/p"; }
link_is_up() { [ "$(info_of "$1" replication master_link_status)" = up ]; }
digest() { redis-cli -p "$1" debug digest; }

# The same program as redis-sentinel, which looks at its own name.
sentinel() # number
{
	local port
	port=$(free_port)
	mkdir -p "$T/s$1"
	cat >"$T/s$1/sentinel.conf" <<-EOS
		port $port
		bind 127.0.0.1
		dir $T/s$1
		sentinel monitor stack 127.0.0.1 $one_port 2
		sentinel down-after-milliseconds stack 1000
		sentinel failover-timeout stack 4000
		sentinel parallel-syncs stack 1
	EOS
	redis-server "$T/s$1/sentinel.conf" --sentinel >"$T/s$1.log" 2>&1 &
	eval "s$1_pid=\$! s$1_port=$port"
	stack_owns $!
	wait_for 20 pong "$port"
}
master_port() { redis-cli -p "$s1_port" sentinel get-master-addr-by-name stack | sed -n 2p; }
# All sentinels and both replicas are known to all sentinels.
all_met()
{
	local port
	for port in $s1_port $s2_port $s3_port
	do
		redis-cli -p "$port" sentinel ckquorum stack | grep -q "^OK 3" || return 1
		[ "$(redis-cli -p "$port" sentinel replicas stack | grep -c '^role-reported$')" -ge 2 ] || return 1
	done
}

# Clients as they are: they write to whom the sentinels name, and begin again when the line breaks.
start_writers()
{
	rm -f "$T/stop"
	(
		i=0
		while [ ! -e "$T/stop" ]
		do
			port=$(master_port)
			[ -n "$port" ] && while [ ! -e "$T/stop" ]
			do
				i=$((i + 1))
				printf 'SELECT %d\nSET w:%d %d PX 86400000\nMULTI\nINCR counter\nRPUSH list %d\nEXEC\n' $((i % 3)) $((i % 500)) $i $i
				[ $((i % 50)) = 0 ] && sleep 0.01
				# A new line often enough to notice who is the master now.
				[ $((i % 2000)) = 0 ] && break
			done | redis-cli -p "$port" >/dev/null 2>&1
			i=$((i + 2000))
		done
	) &
	WRITERS=$!
}
stop_writers() { touch "$T/stop"; wait "$WRITERS"; }

redis_config() # url [line]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\n' "$T" "$REPO"
		printf 'key-file = %s/key\n\n[redis]\nurl = %s\n' "$T" "$1"
		shift
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}
# Does the master have our stream?
streamed() { redis-cli -p "$(master_port)" info replication | grep -q 'port=0,state=online'; }
master_moved() { [ -n "$(master_port)" ] && [ "$(master_port)" != "$1" ]; }
went_on() { [ "$(grep -c "the stream goes on at" "$T/stream.log")" -gt "$1" ]; }

server one
server two --replicaof "127.0.0.1 $one_port"
server three --replicaof "127.0.0.1 $one_port"
for i in 1 2 3
do
	sentinel $i
done
ok "the replicas are in step" wait_for 20 eval 'link_is_up $two_port && link_is_up $three_port'
ok "the sentinels have met" wait_for 30 all_met
mkdir -p "$T/spool"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
dead=$(free_port)
redis_config "sentinel://127.0.0.1:$dead,127.0.0.1:$s1_port,127.0.0.1:$s2_port,127.0.0.1:$s3_port/stack"
ok "init" mb init
ok "check finds the master past a sentinel that is down" mb check
start_stream
ok "the stream is at the master" wait_for 20 streamed
ok "a backup of the master" mb backup

# Mark, restore, compare with the master of now.
exactly() # name
{
	local port
	port=$(master_port)
	run mb mark "$1"
	is "$status" 0 "$1: a mark"
	[ "$status" = 0 ] || diag "$err" "$(tail -n 20 "$T/stream.log")" "$(redis-cli -p "$port" info replication)"
	run mb restore --to-mark "$1" --component "redis=$T/$1" --yes
	is "$status$(grep -c warning <<<"$err")" 00 "$1: is restored without a warning"
	[ "$status" = 0 ] || diag "$err"
	start_redis_on "$T/$1"
	is "$(digest "$RPORT")" "$(digest "$port")" "$1: its digest is that of the new master"
	for db in 0 1 2
	do
		is "$(redis-cli -p "$RPORT" -n $db llen list)" "$(redis-cli -p "$RPORT" -n $db get counter)" "$1: database $db: no transaction is torn"
	done
	stack_kill "$RPID"
	grep -q "are lost to the stream" "$T/stream.log"
	is "$?" 1 "$1: without a gap"
}

# -- a forced failover under writes ---------------------------------------------------------------------------
start_writers
sleep 1
before=$(master_port)
goes=$(grep -c "the stream goes on at" "$T/stream.log")
redis-cli -p "$s1_port" sentinel failover stack >/dev/null
ok "the sentinels name another master" wait_for 30 master_moved "$before"
ok "the stream follows" wait_for 60 went_on "$goes"
ok "to the new master" wait_for 20 streamed
sleep 1.5
stop_writers
ok "the old master has become a replica" wait_for 30 link_is_up "$before"
sleep 0.3
exactly forced

# -- the master is killed under writes ----------------------------------------------------------------------------
start_writers
sleep 1
before=$(master_port)
goes=$(grep -c "the stream goes on at" "$T/stream.log")
for name in one two three
do
	port=${name}_port pid=${name}_pid
	[ "${!port}" = "$before" ] && kill -KILL "${!pid}"
done
ok "the sentinels name another master" wait_for 30 master_moved "$before"
ok "the stream follows" wait_for 60 went_on "$goes"
ok "to the new master" wait_for 20 streamed
sleep 1.5
stop_writers
sleep 0.3
exactly killed

# -- what a failover lost ---------------------------------------------------------------------------------------------
# The replica hears nothing for a moment, in which the stream captures; then it is promoted.
port=$(master_port)
other=$(for p in $one_port $two_port $three_port; do [ "$p" != "$port" ] && pong "$p" && echo "$p"; done | head -n 1)
ok "a replica is left" wait_for 20 link_is_up "$other"
for name in one two three
do
	p=${name}_port pid=${name}_pid
	[ "${!p}" = "$port" ] && MASTER_PID=${!pid}
	[ "${!p}" = "$other" ] && OTHER_PID=${!pid}
done
kill -STOP "$OTHER_PID"
# Its line is cut before the writes: what is sent already it would still read.
redis-cli -p "$port" client kill type replica >/dev/null
ok "the stream alone is at the master" wait_for 20 streamed
redis-cli -p "$port" set only-here 1 >/dev/null
for i in $(seq 20); do redis-cli -p "$port" set "lost$i" "$i" >/dev/null; done
sleep 1.5
goes=$(grep -c "the stream goes on at" "$T/stream.log")
kill -KILL "$MASTER_PID"
sleep 0.2
kill -CONT "$OTHER_PID"
ok "the sentinels name the replica" wait_for 40 master_moved "$port"
is "$(redis-cli -p "$other" exists only-here)" 0 "which does not have the last writes"
ok "the stream follows" wait_for 60 went_on "$goes"
like "$(cat "$T/stream.log")" "the failover lost the last [0-9]+ captured bytes" "and says what the failover lost"
redis-cli -p "$other" set anew 1 >/dev/null
sleep 0.3
exactly after-loss
run mb --json list
is "$(json windows.0.gaps <<<"$out")" "[]" "there is no gap"

# -- a promoted server that does not have the history: a gap ----------------------------------------------------------------
stack_kill "$STREAM"
redis-cli -p "$other" config set repl-backlog-size 16384 >/dev/null
redis-cli -p "$other" eval "for i = 1, 3000 do redis.call('set', 'gap' .. i, string.rep('x', 100)) end" 0 >/dev/null
start_stream
ok "what is not to be had is called a gap" wait_for 30 grep -q "are lost to the stream" "$T/stream.log"
run mb mark behind
is "$status" 3 "a mark behind it is partial"
like "$err" "has a gap" "and says why"
ok "a new backup" mb backup
run mb --json list
like "$(json windows.0.gaps <<<"$out")" T "the gap is shown"
stack_kill "$STREAM"

# -- refusals ----------------------------------------------------------------------------------------------------------------
redis_config "sentinel://127.0.0.1:$s1_port/nobody"
run mb backup
is "$status" 2 "a name that no sentinel knows is refused"
like "$err" 'knows no master "nobody"' "by that name"
redis_config "sentinel://127.0.0.1:$dead/stack"
run mb backup
is "$status" 5 "no sentinel at all is unreachable"
redis_config "sentinel://127.0.0.1:$s1_port"
run mb backup
is "$status" 2 "a URL without a name is refused"
redis-cli -p "$s1_port" acl setuser default '>verborgen' resetpass '>verborgen' >/dev/null
redis_config "sentinel://127.0.0.1:$s1_port/stack"
run mb backup
is "$status" 7 "a sentinel with a password refuses"
like "$err" "sentinel-password" "and the message says what to set"
redis_config "sentinel://127.0.0.1:$s1_port/stack" 'sentinel-password = verborgen'
ok "the sentinels have a password of their own" mb backup

done_testing
