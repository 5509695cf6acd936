#!/bin/bash
# Sixty wrong command lines, configurations and places: each ends with the exit status of the table, says what could not
# be done and why in one line, and names the next step. The same stands in the JSON. What was meant is guessed where
# it can be.
. "$(dirname "$0")/../lib/small_disk.sh" 24m
. "$(dirname "$0")/../lib/stack.sh"
small_disk_stage
stack_begin
export PATH=$BUILD:$PATH
stack_config
echo one >"$T/objects/o1"; echo a=b >"$T/etc/a.conf"
mb init >/dev/null 2>&1 && mb backup >/dev/null 2>&1 || { diag "no stack"; exit 1; }

# fails STATUS MESSAGE HINT command...: extended regular expressions
fails()
{
	local wanted=$1 message=$2 hint=$3 name first
	shift 3
	name="${*//$T/}"
	run "$@" </dev/null
	first=$(grep -m 1 '^mbackup: error: ' <<<"$err")
	if [ "$status" = "$wanted" ] && grep -Eq -- "$message" <<<"$err" && grep -Eq -- "^  hint: .*($hint)" <<<"$err" &&
		[ -n "$first" ] && [[ $first != *. ]] && [ "$(grep -c '^mbackup: error: ' <<<"$err")" = 1 ]
	then
		result "$name" 0
	else
		result "$name" 1
		diag "exit $status, expected $wanted; /$message/; hint /$hint/"
		diag "$err"
	fi
}
with() # name what-sed-does: the configuration, spoilt
{
	sed "$2" "$CONF" >"$T/$1.conf"
	chmod 600 "$T/$1.conf"
}
m=mbackup

# -- command lines -----------------------------------------------------------------------------------------
fails 2 'there is no command "bakcup"' 'Did you mean "mbackup backup"' $m bakcup
fails 2 '"mbackup key" needs VERB' '"mbackup help key" lists the verbs' $m key
with headless '1i url = x'
fails 2 'headless.conf line 1: this stands in no section' 'such as \[repository\]' $m --config "$T/headless.conf" list
fails 2 'there is no command "xyzzy"' 'mbackup help' $m xyzzy
fails 2 'there is no option' 'Did you mean --to-time' $m restore --to-tiem x
fails 2 'there is no option' 'help' $m backup --xyzzyxyzzy
fails 2 'there is no option "-Z"' 'help' $m backup -Z
fails 2 'needs a value' 'Write --to-time' $m restore --to-time
fails 2 'needs a value' 'help' $m backup -c
fails 2 'needs NAME' 'mbackup mark NAME' $m mark
fails 2 'one word too many' 'mbackup mark' $m mark a b
fails 2 'workers' 'help|auto|Write|[Uu]se' mb backup --workers many
fails 2 'workers = 1000' 'help' mb list --workers 1000
fails 2 'log-level' 'debug' mb list --log-level loud
fails 2 'secret|password|passphrase' 'file|command' mb list --repository-passphrase hunter2
fails 2 'there is no command "mbackup key ad"' 'add' mb key ad
fails 2 'there is no command "mbackup redis"?|snapsho' 'snapshot' mb redis snapsho redis
fails 2 'there is no command|objects' 'snapshot' mb objects snapsot uploads
fails 2 'schedule' 'install' mb schedule instal
fails 2 'compat' 'backup|restore' $m compat bakup
fails 2 'catalog' 'sync' mb catalog snc

# -- configurations ---------------------------------------------------------------------------------------------
fails 10 'there is no configuration file' 'mbackup init' env HOME=/nonexistent $m --config "$T/none.conf" list
: >"$T/empty.conf"
fails 2 'no repository is configured' 'url = ' $m -c "$T/empty.conf" list
mkdir "$T/dir.conf"
fails 2 'dir.conf" is a directory' '--config' $m -c "$T/dir.conf" list
with closed ''; chmod 000 "$T/closed.conf"
fails 7 'closed.conf": Permission denied' 'user|chown' $m -c "$T/closed.conf" list
with section 's/^\[global\]/[golbal]/'
fails 2 'line 1: there is no section \[golbal\]' 'Did you mean \[global\]' $m -c "$T/section.conf" list
with key 's/^workers/wrokers/'
fails 2 'line 3: there is no key "wrokers"' 'Did you mean "workers"' $m -c "$T/key.conf" list
with noise '1i this is no line of a configuration'
fails 2 'line 1: ' 'key = value' $m -c "$T/noise.conf" list
with value 's/^workers = .*/workers = two/'
fails 2 'line 3' 'auto|number|help' $m -c "$T/value.conf" list
with spool 's/^spool = .*/spool = relative/'
fails 2 'not an absolute path' 'spool = /' $m -c "$T/spool.conf" backup
with double 's/^\[files:config\]/[files:uploads]/'
fails 2 'line 13: two components are named "uploads"' '\[files:NAME\]' $m -c "$T/double.conf" list
with badname 's/^\[files:config\]/[files:Config]/'
fails 2 'not a name for a component' 'lower-case' $m -c "$T/badname.conf" list
with relative "s|^url = $REPO|url = backup/shop|"
fails 2 'not an absolute path' '/backup/shop' $m -c "$T/relative.conf" list
with scheme "s|^url = $REPO|url = ftp://host/x|"
fails 2 'ftp://host/x' 's3://' $m -c "$T/scheme.conf" list
with nopaths 's/^paths = .*//'
fails 2 'no paths' 'paths = ' $m -c "$T/nopaths.conf" list
with compression '/^\[repository\]/a compression = gzip'
fails 2 'compression = "gzip"' 'zstd:1' $m -c "$T/compression.conf" list
with retention '$a [retention]\ndays = 0'
fails 2 'days' 'help|number|1|Write' $m -c "$T/retention.conf" expire
with secret '/^\[repository\]/a passphrase = hunter2'; chmod 644 "$T/secret.conf"
fails 7 'holds a secret and everybody may read it' "chmod 0600 $T/secret.conf" $m -c "$T/secret.conf" list
with password '/^key-file/d'; echo x >"$T/pass"; chmod 644 "$T/pass"
fails 7 'everybody may read it' "chmod 0600 $T/pass" $m -c "$T/password.conf" list --repository-passphrase-file "$T/pass"

# -- keys and places --------------------------------------------------------------------------------------------------
fails 7 'key file does not open the repository|does not open' 'repository was made with' mb list --repository-key-file <(head -c 48 /dev/urandom)
fails 2 'no passphrase was given' 'passphrase or key file' $m -c "$T/password.conf" list
fails 10 'key' 'path|mounted' mb list --repository-key-file "$T/nokey"
fails 7 'gave no secret' 'check|exit' $m -c "$T/password.conf" list --repository-passphrase-command false
fails 10 'repository|directory' 'mbackup init' mb list --repository-url "$T/nowhere"
mkdir "$T/other"; echo x >"$T/other/x"
fails 10 'repository' 'mbackup init|url' mb list --repository-url "$T/other"
fails 4 'not empty' 'directory|empty' $m init --repository-url "$T/other" --repository-key-file "$T/key" --spool "$T/spool" --files "$T/etc" --config "$T/new.conf"
fails 4 'is not empty' 'new or an empty directory' mb init
cp -r "$REPO" "$T/newer"; sed -i 's/"format": *1/"format":99/' "$T/newer/mbackup.json"
fails 6 'mbackup.json is damaged' 'from a copy of the repository' mb list --repository-url "$T/newer"
cp -r "$REPO" "$T/broken"; echo nonsense >"$T/broken/mbackup.json"
fails 6 'mbackup.json|header|damaged|JSON' 'verify|copy|replaced' mb list --repository-url "$T/broken"
with id '/^\[repository\]/a id = 00000000-0000-4000-8000-000000000000'
fails 6 'is repository .*, not 00000000' 'id|url|verify' $m -c "$T/id.conf" list
with plain '/^\[repository\]/a encryption = none'
fails 5 's3|connect|127.0.0.1' 'check|runs|endpoint' mb list --repository-url s3://b/p --repository-endpoint http://127.0.0.1:1 --repository-access-key a --repository-secret-key-file "$T/key"
fails 2 'there is no copy "offsite"' 'repository:offsite' mb list --repository offsite
(exec 9>"$T/spool/backup.lock"; flock 9; ls "$T/spool" >"$T/locks"; sleep 0)
chmod 500 "$REPO/sets" "$REPO/commits" "$REPO"/commits/* 2>/dev/null
fails 7 'Permission denied' 'user|chown|check' mb backup
chmod -R u+w "$REPO"

# -- backups, targets, destinations ---------------------------------------------------------------------------------------
fails 10 'nonsense' 'list|There|backups' mb info nonsense
fails 10 'no mark|nowhere' 'mark|list' mb restore --to-mark nowhere --component "config=$T/r"
fails 2 'time' '2026-|RFC|Write' mb restore --to-time yesterday --component "config=$T/r"
fails 10 'the first backup of "config" is younger' 'mbackup list' mb restore --to-time 2001-01-01T00:00:00Z --component "config=$T/r"
fails 2 'two targets|only one|--to' 'one|help' mb restore --to-mark a --to-latest --component "config=$T/r"
fails 10 'there is no component "nobody"' 'uploads, config' mb backup --component nobody
mkdir "$T/busy"; touch "$T/busy/file"
fails 4 'not empty' 'empty|another|directory' mb restore --component "config=$T/busy"
fails 2 'confirmed' '--yes' mb restore
fails 9 '"0/1" says something to PostgreSQL only' '--to-time or --to-mark' mb restore --to-lsn 0/1 --component "config=$T/r"
fails 2 'LSN|lsn|position' '/' mb restore --to-lsn nonsense --component "config=$T/r"
mb mark once >/dev/null 2>&1
fails 4 'once' 'another name|name' mb mark once
fails 10 'restore' 'list|rollback' mb rollback 20260101T000000Z-000000000000 --yes
fails 2 'KEY=VALUE|label' 'KEY=VALUE|help|Write' mb backup --label nonsense
if [ -n "${MB_TMPFS:-}" ]
then
	head -c 40000000 /dev/urandom >"$T/objects/large"
	mb init --config "$MB_TMPFS/c.conf" --spool "$T/spool" --repository-url "$MB_TMPFS/repo" --repository-key-file "$T/key" --objects "uploads=file://$T/objects" >/dev/null 2>&1
	fails 8 'No space left|full|no room' 'room|expire' $m -c "$MB_TMPFS/c.conf" backup
	rm "$T/objects/large"
fi

# The same in JSON, with the hint of the code where there is no better one.
run mb info nonsense --json
is "$(json error.code <<<"$out")" NOT_FOUND "JSON: the code"
[ -n "$(json error.hint <<<"$out")" ]
result "JSON: the next step" $?
run mb list --workers 1000 --json
like "$(json error.hint <<<"$out")" "mbackup help COMMAND" "JSON: of the code, where there is no better one"
done_testing
