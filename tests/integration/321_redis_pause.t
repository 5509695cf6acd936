#!/bin/bash
# Proves that a cut says "paused" only when no write came between its positions: somebody else ends our pauses at once, with writes
# as long as two PINGs, and several hands pause and unpause at the same time.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
marks=30 hands=4
stack_redis --repl-backlog-size 64mb || exit 1
printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n[redis]\nurl = redis://127.0.0.1:%s\n' "$T" "$REPO" "$REDIS_PORT" >"$CONF"
chmod 600 "$CONF"
ok "init" mb init
start_stream
wait_for 20 eval 'rcli info replication | grep -q port=0,state=online'
ok "a backup" mb backup

# INCR of a name of eight bytes is 28 bytes of stream.
touch "$T/writing"
while [ -e "$T/writing" ]; do echo "INCR abcdefgh"; sleep 0.0005; done | rcli >/dev/null 2>&1 &
stack_owns $!
hand() # name
{
	local i
	for i in $(seq $marks)
	do
		mb mark "$1-$i" --pause --json 2>/dev/null | tr -d '\n' >>"$T/$1.marks"
		echo >>"$T/$1.marks"
	done
}
take() # name: the numbers of cuts by claim, and of false claims
{
	local pids="" i
	for i in $(seq $hands)
	do
		hand "$1$i" &
		pids="$pids $!"
	done
	wait $pids
	cat "$T/$1"*.marks | python3 -c '
import json, sys
paused = ordered = wrong = 0
for line in sys.stdin:
    cut = json.loads(line)["mark"]["cut"]
    moved = cut["positions"]["redis"]["after"]["offset"] - cut["positions"]["redis"]["before"]["offset"]
    paused += cut["consistency"] == "paused"
    ordered += cut["consistency"] == "ordered"
    # One PING may come.
    wrong += cut["consistency"] == "paused" and moved not in (0, 14)
print(paused, ordered, wrong)'
}
read -r paused ordered wrong <<<"$(take crowd)"
is "$wrong" 0 "$hands hands pause and unpause: of $((marks * hands)) cuts $paused say paused, none wrongly ($ordered ordered)"
is $((paused + ordered)) $((marks * hands)) "all of them were taken"
touch "$T/unpausing"
while [ -e "$T/unpausing" ]; do echo "CLIENT UNPAUSE"; sleep 0.0005; done | rcli >/dev/null 2>&1 &
stack_owns $!
read -r paused ordered wrong <<<"$(take broken)"
rm "$T/unpausing" "$T/writing"
is "$wrong" 0 "somebody ends every pause: of $((marks * hands)) cuts $paused say paused, none wrongly"
[ "$ordered" -gt 0 ]
result "$ordered say that they are ordered" $?
done_testing
