#!/bin/bash
# Proves that a repository that somebody has changed gives back the truth, refuses, or says what it could not do: every single
# bit of whole blobs, and blobs cut, grown, exchanged, renamed, linked, with other frames, documents and names (tests/mutants).
. "$(dirname "$0")/../lib/stack.sh"
sanitized=asan/tests/mutants/mutants
[ -n "${STACK_STAGED:-}" ] || STACK_STAGE="tests/mutants/mutants $([ ! -x "$BUILD/$sanitized" ] || echo $sanitized)"
stack_begin
stack_redis || exit 1
seed=${MBACKUP_SEED:-1}
bits=1000 anywhere=300 structural=400 files=100
[ -n "${MBACKUP_LONG:-}" ] && bits=61440 anywhere=4096 structural=5000 files=500
MUTANTS=$BUILD/tests/mutants/mutants
PLACE=$REPO
# In memory where that is possible: each mutant is restored.
FAST=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$T")/mb-mutants.XXXXXX")
trap 'rm -rf "$FAST"; stack_end' EXIT

# The TAP of a program as ours.  One that dies has not said "1..N", or not exited with 0.
take_tap() # name command...
{
	local name=$1 line plan= code
	shift
	"$@" >"$T/tap" 2>"$T/tap.err"
	code=$?
	while IFS= read -r line
	do
		case $line in
			ok*) result "$name: ${line#ok * - }" 0 ;;
			"not ok"*) result "$name: ${line#not ok * - }" 1 ;;
			1..*) plan=$line ;;
			*) diag "$name: ${line#\# }" ;;
		esac
	done <"$T/tap"
	[ -n "$plan" ] && [ $code = 0 ]
	result "$name: the program came to its end" $? || true
	[ ! -s "$T/tap.err" ] || diag "$(cat "$T/tap.err")"
}

# A small repository with some of everything that needs no PostgreSQL.
fixture() # suite
{
	REPO=$PLACE-$1
	CONF=$T/$1.conf
	rm -rf "$T/objects" "$T/etc" "$T/spool"
	[ "$1" = none ] && stack_config none || stack_config
	mkdir -p "$T/etc/sub/deep"
	printf 'A=1\nPASSWORD=x\n' >"$T/etc/a.env"
	head -c 3000 /dev/urandom >"$T/etc/noise"
	ln -s ../a.env "$T/etc/sub/link"
	ln "$T/etc/noise" "$T/etc/sub/deep/second-name"
	for i in 1 2 3; do echo "object $i" >"$T/objects/o$i"; done
	rcli flushall >/dev/null
	rcli set k v >/dev/null
	mb init >"$T/init.out" 2>&1 || { diag "$(cat "$T/init.out")"; return 1; }
	start_stream
	mb backup >/dev/null 2>"$T/backup.err" || { diag "$(cat "$T/backup.err")"; return 1; }
	echo changed >"$T/objects/o1"
	rm "$T/objects/o2" "$T/etc/sub/link"
	rcli set later 1 >/dev/null
	run mb mark between
	is "$status" 0 "$1: a mark"
	rcli set k w >/dev/null
	run mb backup
	is "$status" 0 "$1: two backups"
	stack_kill $STREAM
	mb pin latest --reason test >/dev/null 2>&1
	mb verify --read-data full >/dev/null 2>&1
}

for suite in aes-256-gcm none
do
	fixture $suite || { result "$suite: a repository" 1; continue; }
	key=()
	[ $suite = none ] || key=(-k "$T/key")
	blobs save "$T/stored-$suite"
	mkdir "$FAST/$suite"
	take_tap $suite "$MUTANTS" "${key[@]}" -s "$seed" -b $bits -a $anywhere -n $structural -d $files "$T/stored-$suite" "$FAST/$suite"
done

# The same under the sanitizers, where they were built: what is read wrongly there is seen here.
if [ -x "$BUILD/$sanitized" ]
then
	mkdir "$FAST/sanitized"
	take_tap "under the sanitizers" env ASAN_OPTIONS=detect_leaks=0 "$BUILD/$sanitized" -s "$((seed + 1))" -a 50 -n $((structural / 4)) -d $((files / 4)) \
		"$T/stored-none" "$FAST/sanitized"
else
	diag "no $BUILD/$sanitized: make BUILD=build/asan unit-bin"
fi

# WAL too, in a repository that the first mbackup has written.
mkdir "$FAST/golden"
take_tap golden "$MUTANTS" -s "$seed" -a 100 -n $((structural / 10)) "$here/tests/golden/v1/plain" "$FAST/golden"

# The same by the command line, for a few: verify finds it, or a restore gives the truth, or nothing.
mkdir "$FAST/written"
"$MUTANTS" -s "$seed" -w 12 -k "$T/key" "$T/stored-aes-256-gcm" "$FAST/written" >/dev/null 2>"$T/written.err"
is $? 0 "mutants for the command line" || diag "$(cat "$T/written.err")"
CONF=$T/aes-256-gcm.conf
if ! in_bucket
then
	id=$(mb list --json | json backups.0.id)
	mb restore "$id" --component "uploads=$T/truth/u" --component "config=$T/truth/c" --component "redis=$T/truth/r" >/dev/null 2>&1
	wrong=0
	for i in $(seq 12)
	do
		sed "s|^url = $PLACE-aes-256-gcm|url = $FAST/written/$i|; s|^spool = .*|spool = $T/spool-$i|" "$T/aes-256-gcm.conf" >"$T/w.conf"
		chmod 600 "$T/w.conf"
		CONF=$T/w.conf
		run mb verify --read-data full
		verified=$status
		rm -rf "$T/w"
		run mb restore "$id" --component "uploads=$T/w/u" --component "config=$T/w/c" --component "redis=$T/w/r"
		[ "$status" != 0 ] || diff -r --no-dereference "$T/truth" "$T/w" >"$T/w.diff" || { wrong=$((wrong + 1)); diag "$(cat "$FAST/written/$i.what"): $(head -n 3 "$T/w.diff")"; }
		[ "$status" -lt 125 ] && [ "$verified" -lt 125 ] || { wrong=$((wrong + 1)); diag "$(cat "$FAST/written/$i.what"): exit $verified $status $err"; }
	done
	is "$wrong" 0 "by the command line: 12 mutants, none restored otherwise, none kills it"
fi
done_testing
