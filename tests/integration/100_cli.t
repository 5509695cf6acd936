#!/bin/bash
# The command line, the configuration and the errors a user makes first: every wrong
# input gets a message with a cause and a next step, the right exit status, and leaves nothing half-made.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

mkdir -p "$T/objects" "$T/etc"
echo "NAME=shop" >"$T/etc/shop.env"
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"

run "$MBACKUP"
is "$status" 2 "no command: exit 2"
like "$err" "Commands:" "no command: the overview"
run "$MBACKUP" help
is "$status" 0 "help: exit 0"
for command in init check backup stream mark list info restore verify wal-get wal-push version
do
	run "$MBACKUP" "$command" --help
	[ "$status" = 0 ] && grep -q "Usage: mbackup $command" <<<"$out"
	result "$command --help" $?
done
run "$MBACKUP" --version
like "$out" "^mbackup [0-9.]+" "--version"
run "$MBACKUP" bakcup
is "$status" 2 "an unknown command: exit 2"
like "$err" 'Did you mean "mbackup backup"' "an unknown command: the nearest is named"
run "$MBACKUP" backup --tpye full
is "$status" 2 "an unknown option: exit 2"
like "$err" "Did you mean --type" "an unknown option: the nearest is named"
run "$MBACKUP" backup --type half
is "$status" 2 "an impossible value: exit 2"
like "$err" "auto\|full\|incremental" "an impossible value: the possible ones are named"
run "$MBACKUP" list --repository-passphrase hunter2
is "$status" 2 "a secret on the command line: exit 2"
like "$err" "passphrase-file" "a secret on the command line: where it belongs"
[[ $err != *hunter2* ]]
result "a secret on the command line is not repeated" $?
run "$MBACKUP" mark
is "$status" 2 "a missing word: exit 2"
run "$MBACKUP" list too many
is "$status" 2 "a word too many: exit 2"
run "$MBACKUP" list --config "$T/none.conf"
is "$status" 10 "no configuration: exit 10"
like "$err" "mbackup init" "no configuration: what to do"
run "$MBACKUP" list --json --config "$T/none.conf"
is "$(json error.code <<<"$out")" NOT_FOUND "--json: one JSON object on failure too"
[ -n "$(json error.hint <<<"$out")" ]
result "--json: the hint is there" $?

# init
run "$MBACKUP" init --config "$CONF" --spool "$T/spool" --repository-url "$REPO" --files "$T/etc"
is "$status" 2 "init without a passphrase: exit 2"
[ ! -e "$REPO" ] && [ ! -e "$CONF" ]
result "init without a passphrase: nothing half-made" $?
run env MBACKUP_PASSPHRASE= "$MBACKUP" init --config "$CONF" --spool "$T/spool" --repository-url "$REPO" --files "$T/etc"
is "$status" 2 "init with an empty passphrase: exit 2"
mkdir "$T/full" && touch "$T/full/something"
run "$MBACKUP" init --config "$CONF" --spool "$T/spool" --repository-url "$T/full" --repository-key-file "$T/key"
is "$status" 4 "init into a directory that is not empty: exit 4"
is "$(ls -A "$T/full")" something "init into a directory that is not empty: left alone"
run "$MBACKUP" init --config "$CONF" --spool "$T/spool" --repository-url "$REPO" --repository-key-file "$T/key" \
	--objects "uploads=file://$T/objects" --files "$T/etc"
is "$status" 0 "init: exit 0"
is "$(stat -c %a "$CONF")" 600 "the configuration is for its owner only"
run "$MBACKUP" init --config "$CONF" --repository-url "$T/other"
is "$status" 4 "init over an existing configuration: exit 4"
run mb init
is "$status" 4 "init again: exit 4"

run mb list
is "$status" 0 "list of an empty repository: exit 0"
run mb restore --yes
is "$status" 10 "restore without a backup: exit 10"
like "$err" "mbackup backup" "restore without a backup: what to do"
run mb restore
is "$status" 2 "restore into the components' own places without --yes: exit 2"
run mb check
is "$status" 0 "check: exit 0"
run mb backup
is "$status" 0 "backup: exit 0"
run mb info
like "$out" "uploads .*files|uploads" "info shows the components"
run mb info nonsense
is "$status" 10 "info of an unknown backup: exit 10"
run mb restore --to-mark nowhere --component "files=$T/r"
is "$status" 10 "an unknown mark: exit 10"
run mb restore --to-mark a --to-latest --component "files=$T/r"
is "$status" 2 "two targets: exit 2"
run mb restore --to-time yesterday --component "files=$T/r"
is "$status" 2 "a time that is none: exit 2"
run mb restore --to-time 2001-01-01T00:00:00Z --component "uploads=$T/r"
is "$status" 10 "a time before the first backup: exit 10"
like "$err" "of 20[0-9-]+T" "a time before the first backup: says from when on"
run mb restore --component "nobody=$T/r"
is "$status" 10 "an unknown component: exit 10"
like "$err" "uploads, files" "an unknown component: says which there are"
mkdir "$T/busy" && touch "$T/busy/file"
run mb restore --component "files=$T/busy"
is "$status" 4 "a target that is not empty: exit 4"
is "$(ls -A "$T/busy")" file "a target that is not empty: left alone"
run mb restore --component "files=$T/dry" --dry-run
is "$status" 0 "--dry-run: exit 0"
[ ! -e "$T/dry" ]
result "--dry-run: nothing written" $?
before=$(cd "$T" && find objects etc -type f | sort | xargs sha256sum)
run mb restore --yes
is "$status" 0 "own places that are not empty: what is there is kept"
run mb rollback --yes
is "$status" 0 "and comes back"
is "$(cd "$T" && find objects etc -type f | sort | xargs sha256sum)" "$before" "as it was"

# targets that mean nothing here
run mb restore --to-lsn 0/1 --component "uploads=$T/r"
is "$status" 9 "an LSN without Postgres: exit 9"
run mb restore --to-time 2199-01-01T00:00:00Z --component "files=$T/r"
is "$status" 10 "a time in the future: exit 10"
run mb restore --to-latest --exclusive --component "files=$T/r"
is "$status" 2 "--exclusive where it means nothing: exit 2"
[ ! -e "$T/r" ]
result "and nothing was made" $?
run mb backup --component uploads
is "$status" 0 "a backup of one component"
run mb restore --component "files=$T/whole"
is "$status" 0 "the default is the newest backup that holds what is restored"
(cd "$T" && run mb restore --component files=relative/dir; [ -d "$T/relative/dir" ])
result "a relative destination means one here" $?
run "$MBACKUP" nonsense --json
is "$(json error.code <<<"$out")" CONFIG "--json: one JSON object for an unknown command too"

# configuration files
bad_conf() # text
{
	cp "$CONF" "$T/bad.conf"
	printf '%b' "$1" >>"$T/bad.conf"
	run "$MBACKUP" list --config "$T/bad.conf"
}
bad_conf '\n[redsi]\nurl = x\n'
is "$status" 2 "an unknown section: exit 2"
like "$err" "bad.conf line [0-9]+.*redsi" "an unknown section: file and line"
like "$err" "\[redis\]" "an unknown section: the nearest"
bad_conf '\n[files:more]\npath = /x\n'
like "$err" "line [0-9]+.*\"path\"" "an unknown key: file and line"
like "$err" 'Did you mean "paths"' "an unknown key: the nearest"
bad_conf '\n[global]\nworkers = many\n'
is "$status" 2 "a bad value: exit 2"
like "$err" "line [0-9]+" "a bad value: file and line"
bad_conf '\nnonsense without a sign\n'
is "$status" 2 "a line that is nothing: exit 2"
bad_conf '\n[files:UPPER]\npaths = /x\n'
is "$status" 2 "a bad component name: exit 2"
cp "$CONF" "$T/open.conf"
sed -i 's/^key-file = .*/passphrase = hunter2/' "$T/open.conf"
chmod 644 "$T/open.conf"
run "$MBACKUP" list --config "$T/open.conf"
is "$status" 7 "a secret that everybody may read: exit 7"
like "$err" "chmod 0600" "a secret that everybody may read: what to do"
[[ $err != *hunter2* ]]
result "the secret is not in the message" $?
chmod 600 "$T/open.conf"
run "$MBACKUP" list --config "$T/open.conf"
is "$status" 7 "a wrong passphrase: exit 7"
run env MBACKUP_WORKERS=lots "$MBACKUP" list --config "$CONF"
is "$status" 2 "a bad environment variable: exit 2"
like "$err" "workers" "a bad environment variable is named"

# repositories that are none
sed "s|^url = $REPO|url = $T/full|" "$CONF" >"$T/norepo.conf"
chmod 600 "$T/norepo.conf"
run "$MBACKUP" list --config "$T/norepo.conf"
is "$status" 10 "a directory that is no repository: exit 10"
like "$err" "mbackup init|url in" "a directory that is no repository: what to do"
sed "s|^url = $REPO|url = $T/missing|" "$CONF" >"$T/norepo.conf"
run "$MBACKUP" backup --config "$T/norepo.conf"
[ "$status" = 10 ] || [ "$status" = 5 ]
result "a repository that is not there: exit 10 or 5" $?
[ ! -e "$T/missing" ]
result "a repository that is not there is not made by backup" $?
run mb list --repository-encryption aes-256-gcm --repository-id 00000000-0000-0000-0000-000000000000
is "$status" 6 "another repository than the pinned one: exit 6"

# two at once
lock=$(ls "$T"/spool/*.backup.lock | head -n 1)
flock "$lock" sleep 5 &
sleep 0.3
run mb backup
is "$status" 4 "two backups at once: exit 4"
wait

# Ctrl-C and a dead reader
head -c 300M /dev/zero | openssl enc -aes-128-ctr -pass pass:x -nosalt >"$T/objects/big" 2>/dev/null
mb backup >"$T/int.out" 2>"$T/int.err" &
pid=$!
sleep 0.25
kill -INT "$pid"
wait "$pid"
status=$?
[ "$status" = 130 ] || [ "$status" = 0 ]
result "Ctrl-C: exit 130 (or it was done: 0)" $?
run mb verify --read-data full
is "$status" 0 "after Ctrl-C the repository verifies"
run mb backup
is "$status" 0 "after Ctrl-C the next backup just works"
done_testing
