#!/bin/bash
# A server that falls silent for longer than an answer is waited for: backup, restore and stream, of a bucket and with the
# repository in one, go on when it speaks again; check gives it up within ten seconds. With MBACKUP_LONG the silence is
# that of the real limits, and a server that never speaks again ends a backup with an error; the next one works.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
stack_begin
silence=3
export MBACKUP_TEST_STALL_MS=1000
[ -n "${MBACKUP_LONG:-}" ] && silence=40 && unset MBACKUP_TEST_STALL_MS

config() # repository [line...]
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$1"
		shift
		printf '%s\n' "$@"
		printf '[objects:shop]\nurl = s3://shop\nscan-interval = 1s\n'
		s3_keys
	} >"$CONF"
	chmod 600 "$CONF"
}
mute() { kill -STOP "$S3_PROXY_PID"; }
speak() { kill -CONT "$S3_PROXY_PID"; }
dump() { S3_ENDPOINT=$DIRECT judge dump "$1" --drop id,mtime,etag; }

# A command that the server leaves alone in the middle; $status, $err.
meanwhile() # name command...
{
	local name=$1 pid caught=1
	shift
	"$MBACKUP" --config "$CONF" "$@" >"$T/m.out" 2>"$T/m.err" &
	pid=$!
	sleep 0.2
	mute
	sleep "$silence"
	kill -0 "$pid" 2>/dev/null && caught=0
	speak
	wait "$pid"
	status=$?
	err=$(cat "$T/m.err")
	result "$name: it was under way" $caught
	is "$status" 0 "$name: it went on"
	[ "$status" = 0 ] || diag "$err"
}
within() # seconds command...: exit status in $status
{
	local limit=$1 started=$SECONDS
	shift
	run timeout $((limit * 3)) "$@"
	took=$((SECONDS - started))
	[ "$took" -le "$limit" ]
}

s3_ceph || exit 1
DIRECT=$S3_ENDPOINT
judge mkbucket repository
judge mkbucket shop versioning
judge fill shop 60 500000 --prefix many/
judge put shop large random:30000000 >/dev/null
s3_proxy
config s3://repository/stall "$(s3_keys)"
ok "init" mb init
meanwhile "a backup" backup
meanwhile "a restore" restore --component shop=s3://again --yes
dump shop >"$T/was"
ok "and it is what there was" diff "$T/was" <(dump again)

# -- the stream ------------------------------------------------------------------------------------------
start_stream
sleep 2
mute
sleep "$silence"
S3_ENDPOINT=$DIRECT judge put shop later text:later >/dev/null
sleep 1
speak
ok "the stream lives" kill -0 "$STREAM"
marked() { mb mark "$(date +%s%N)"; }
ok "and a mark is taken again" wait_for 60 marked
ok "restore to it" mb restore --to-latest --component shop=s3://latest --yes
is "$(S3_ENDPOINT=$DIRECT judge get latest later)" later "with what came during the silence"
kill "$STREAM"
wait "$STREAM" 2>/dev/null

# -- check -------------------------------------------------------------------------------------------------
mute
ok "check gives a silent repository up within ten seconds" within 10 "$MBACKUP" --config "$CONF" check
is "$status" 5 "exit 5 ($took s)"
speak
config "$T/repo"
mb init >/dev/null 2>&1
mute
ok "check gives a silent bucket up within ten seconds" within 10 "$MBACKUP" --config "$CONF" check
is "$status" 1 "exit 1 ($took s)"
like "$out" 'failed +shop +objects.reachable' "and says so"
speak
ok "then all is well" mb check

# -- silence without end -------------------------------------------------------------------------------------
if [ -n "${MBACKUP_LONG:-}" ]
then
	mute
	ok "a backup ends within its two minutes, and an answer's time" within 200 "$MBACKUP" --config "$CONF" backup
	is "$status" 5 "exit 5 ($took s)"
	like "$err" 'shop' "and names it"
	speak
	ok "the next one works" mb backup
fi
done_testing
