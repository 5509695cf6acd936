#!/bin/bash
# Proves that keys can be given away and taken back: each secret opens the repository exactly as long as it is in the list,
# the last one cannot be removed, a rotation locks all others out of what is written from then on and loses nothing that was
# written before; also in the copies of a repository, and killed at any moment.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
REPO=$T/repo
mkdir -p "$T/etc" "$T/spool"
chmod 700 "$T/spool"
echo one >"$T/etc/app.conf"
for n in one two three; do (umask 077; echo "secret $n" >"$T/$n"); done
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
config() # secret-line [more lines...]
{
	local line=$1
	shift
	{
		printf '[global]\nspool = %s/spool\n[repository]\nurl = %s\n%s\n' "$T" "$REPO" "$line"
		printf '%s\n' "$@"
		printf '[files:config]\npaths = %s/etc\n' "$T"
	} >"$CONF"
	chmod 600 "$CONF"
}
as() # secret-line command...: with that secret in the configuration
{
	config "$1"
	shift
	run mb "$@"
}
ONE="passphrase-file = $T/one" TWO="passphrase-file = $T/two" THREE="passphrase-file = $T/three" FILE="key-file = $T/key"
# What a reader that is not ours makes of all backups with this passphrase.
judge() { /usr/bin/python3 "$here/tests/reader/mbackup_reader.py" --passphrase-file "$1" "$REPO" verify >"$T/judge.out" 2>&1; }
keys() { mb key list --json 2>/dev/null | python3 -c 'import json, sys
for key in json.load(sys.stdin)["keys"]: print(key["label"] or "-", key["kind"], "opens" if key["opens"] else "shut", "used" if key["in_use"] else "")'; }

as "$ONE" init
is "$status" 0 "init with a passphrase"
run mb backup
is "$(keys)" "- passphrase opens used" "one key, which is in use"
run mb key add --new-passphrase-file "$T/two" --label "the office"
is "$status" 0 "a second passphrase is added" || diag "$err"
run mb key add --new-key-file "$T/key" --label robot
is "$status" 0 "... and a key file" || diag "$err"
is "$(keys)" "- passphrase opens used
the office passphrase opens 
robot key-file opens " "the list shows all three"
as "$TWO" backup
is "$status" 0 "the second opens the repository"
as "$FILE" verify --read-data full
is "$status" 0 "... and the key file" || diag "$err"
as "$THREE" list
is "$status" 7 "a third does not"
as "$ONE" key add --new-passphrase-file "$T/two"
is "$status" 4 "a secret that opens it already is not added again"
run mb key add
is "$status" 2 "add without a secret"
run mb key add --new-passphrase geheim
is "$status" 2 "no secret is taken from the command line"
run mb key add --new-passphrase-file "$T/three" --label "$(printf 'a\nb')"
is "$status" 2 "a label with a line end"
run mb key
is "$status" 2 "key without a verb"
run mb key steal
is "$status" 2 "an unknown verb"
run mb key remove nobody
is "$status" 10 "remove of a key that is not there"

run mb key remove "the office"
is "$status" 0 "a key is removed by its label" || diag "$err"
as "$TWO" list
is "$status" 7 "... and opens nothing any more"
config "$ONE"
run mb key remove "$(mb key list --json | json keys.0.id)"
is "$status" 2 "removing the key in use must be confirmed"
run mb key remove "$(mb key list --json | json keys.0.id)" --yes
is "$status" 0 "... and can be" || diag "$err"
as "$ONE" list
is "$status" 7 "then the old passphrase is refused"
as "$FILE" list
is "$status" 0 "... and the key file opens it"
run mb key remove robot --yes
is "$status" 4 "the last key cannot be removed"
like "$err" "nothing would open all of the repository" "... and it says why"

run mb key export --paper
is "$status" 0 "a recovery sheet"
sheet=$(grep -E '^ {6}[0-9A-Z]{5}(-[0-9A-Z]{5}){7}$' <<<"$out" | tr -d ' ')
is "${#sheet}" 47 "... has a passphrase of eight groups"
(umask 077; echo "$sheet" >"$T/paper")
as "passphrase-file = $T/paper" verify --read-data full
is "$status" 0 "... which opens the repository" || diag "$err"
judge "$T/paper"
is $? 0 "... also for a reader that is not ours" || head -n 5 "$T/judge.out" >&2

# Rotation, while a stream runs under the old key.
config "$FILE"
"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns $STREAM
sleep 1
run mb key rotate
is "$status" 2 "a rotation that locks others out must be confirmed"
before=$(find "$REPO" -type f -name commit | wc -l)
run mb key rotate --yes
is "$status" 0 "a rotation" || diag "$err"
as "passphrase-file = $T/paper" list
is "$status" 7 "locks the recovery sheet out"
as "$FILE" backup
is "$status" 0 "the key in use goes on"
echo two >>"$T/etc/app.conf"
sleep 2
stack_kill $STREAM
run mb verify --read-data full
is "$status" 0 "what was written before, meanwhile and since is whole" || diag "$err"
run mb key add --new-passphrase-file "$T/three"
is "$status" 0 "another key is added for both epochs"
judge "$T/three"
is $? 0 "... and opens all of it, for a reader that is not ours" || head -n 5 "$T/judge.out" >&2
is "$(keys | sort)" "- passphrase opens 
recovery sheet passphrase shut 
robot key-file opens used" "the list says who is shut out"
run mb key rotate --yes
run mb key add --new-passphrase-file "$T/three" --label again
is "$status" 0 "a passphrase that a rotation has locked out is added again" || diag "$err"
run mb backup
run mb restore latest --component "config=$T/out"
is "$status$(diff -r "$T/etc" "$T/out$T/etc" && echo same)" "0same" "a restore over three epochs"

# Killed at any moment: the key in use opens it, and everything goes on.
bad=0
for i in $(seq 12)
do
	case $((i % 3)) in
		0) "$MBACKUP" --config "$CONF" key rotate --yes >/dev/null 2>&1 & ;;
		1) "$MBACKUP" --config "$CONF" key add --new-passphrase-file "$T/two" --label "k$i" >/dev/null 2>&1 & ;;
		2) "$MBACKUP" --config "$CONF" key remove "k$((i - 1))" --yes >/dev/null 2>&1 & ;;
	esac
	pid=$!
	sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
	{ kill -9 $pid; wait $pid; } 2>/dev/null
	mb backup >"$T/backup.out" 2>&1 && mb verify >"$T/verify.out" 2>&1 || { bad=$((bad + 1)); cat "$T/backup.out" "$T/verify.out" >&2; }
done
is "$bad" 0 "killed 12 times in add, remove and rotate: the repository opens and verifies each time"

# A copy of the repository.
REPO=$T/repo2
config "$ONE" "[repository:second]" "url = $T/copy"
run mb init
is "$status" 0 "a repository with a copy" || diag "$err"
run mb key add --new-passphrase-file "$T/two" --label two
is "$(find "$T/copy/keys" -type f | wc -l)" 2 "a key that is added opens the copy too"
chmod 000 "$T/copy"
run mb key remove two
is "$status" 3 "a copy that cannot be reached keeps the key: partial" || diag "$err"
like "$err" "may still open them" "... and it says so"
chmod 700 "$T/copy"
run bash -c "$(sed -n "s#.*run: mbackup key#'$MBACKUP' --config '$CONF' key#p" <<<"$err")"
is "$status $(find "$T/copy/keys" -type f | wc -l)" "0 1" "... and what to do, which then works" || diag "$err"
run mb key add --new-passphrase-file "$T/three" --label three
run mb key remove three
is "$status $(find "$T/copy/keys" -type f | wc -l) $(find "$T/repo2/keys" -type f | wc -l)" "0 1 1" "removed from both"
run mb key remove 0123456789abcdef
is "$status" 10 "an id that is nowhere"
printf '[global]\nspool = %s/spool\n[repository]\nurl = %s/plain\nencryption = none\n' "$T" "$T" >"$CONF"
run mb init
run mb key list
is "$status" 9 "a repository that is not encrypted has no keys"
done_testing
