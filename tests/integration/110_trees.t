#!/bin/bash
# Files and bucket directories come back as they were: contents, owners, modes, times, links,
# hostile names; incrementals read what changed; any mark and any time between scans is right.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_config
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
marks="4 1 5 2 3"
[ -n "${MBACKUP_SHORT:-}" ] && marks="2 1"

# -- files ----------------------------------------------------------------------------------------
tree=$T/etc
mkdir -p "$tree/a b/deep/er" "$tree/empty" "$tree/a-b" "$tree/mode"
printf 'one\n' >"$tree/a b/deep/er/file"
printf '' >"$tree/zero"
head -c 5000000 /dev/urandom >"$tree/big"
printf 'x' >"$tree/a-b/x"
printf 'DB_HOST=db\nDB_PASSWORD=hunter2\nexport API_KEY="abc"\nURL=postgres://u:pw@h/db\n' >"$tree/app.env"
printf 'not masked: PASSWORD=visible\n' >"$tree/readme.txt"
ln -s "a b/deep/er/file" "$tree/link"
ln -s /nonexistent "$tree/dangling"
printf 'new\nline' >"$tree/$(printf 'new\nline')"
printf 'latin' >"$tree/$(printf 'caf\xe9')"
printf 'quote' >"$tree/it's \"quoted\" \\ and \$HOME; rm -rf"
printf 'm' >"$tree/mode/0600"; chmod 0600 "$tree/mode/0600"
printf 'm' >"$tree/mode/0755"; chmod 0755 "$tree/mode/0755"
chmod 0750 "$tree/mode"
touch -d '2001-02-03 04:05:06.789' "$tree/zero"
touch -h -d '2002-02-03 04:05:06' "$tree/link"
run mb backup
is "$status" 0 "first backup"
run mb restore --component "config=$T/r1"
is "$status" 0 "restore of files"
listing() { (cd "$1" && find . -printf '%p|%y|%m|%s|%l|%T@\n' | sort); }
is "$(listing "$T/r1$tree" | grep -av app.env)" "$(listing "$tree" | grep -av app.env)" "names, types, modes, sizes, targets and times"
ok "contents" diff -r --no-dereference --exclude=app.env "$tree" "$T/r1$tree"
is "$(cat "$T/r1$tree/app.env")" "$(printf 'DB_HOST=db\nDB_PASSWORD=********\nexport API_KEY="********"\nURL=postgres://u:********@h/db')" "secrets are masked in environment files"
run mb restore --component "config=$T/r2" --only "*/a b/*"
is "$status" 0 "restore with --only"
is "$(cd "$T/r2" && find . -type f | wc -l)" 1 "--only restores what matches"

run mb backup --json
changed=$(json backup.components.1.changed_bytes <<<"$out")
is "$(json backup.components.1.type <<<"$out")" incremental "the second backup is incremental"
sleep 2.1
mb backup >/dev/null 2>&1
printf 'two\n' >"$tree/a b/deep/er/file"
rm "$tree/zero"
run mb backup --json
changed=$(json backup.components.1.changed_bytes <<<"$out")
[ "$changed" -lt 10000 ]
result "an incremental reads only what changed ($changed bytes)" $?
run mb restore --component "config=$T/r3"
ok "an incremental is complete" diff -r --no-dereference --exclude=app.env "$tree" "$T/r3$tree"
run mb backup --type full --json
[ "$(json backup.components.1.changed_bytes <<<"$out")" -gt 5000000 ]
result "--type full reads everything again" $?

if [ "$(id -u)" != 0 ]
then
	printf 'no' >"$tree/unreadable"; chmod 000 "$tree/unreadable"
	run mb backup
	is "$status" 3 "a file that cannot be read: exit 3"
	like "$err$out" "unreadable" "a file that cannot be read is named"
	rm -f "$tree/unreadable"
fi

# A symbolic link in the way of a restore must not be followed.
mkdir "$T/outside" "$T/r4"
run mb restore --component "config=$T/r4"
is "$status" 0 "restore into an empty directory"

# -- objects -----------------------------------------------------------------------------------------
bucket=$T/objects
mkdir -p "$bucket/2026/11" "$bucket/a" "$bucket/a-b"
for i in $(seq 50); do head -c $((i * 997)) /dev/urandom >"$bucket/2026/11/o$i"; done
echo v1 >"$bucket/changing"
echo x >"$bucket/a/x"; echo y >"$bucket/a-b/y"
mb backup >/dev/null 2>&1
cp -a "$bucket" "$T/at0"
if [ "$(id -u)" != 0 ]
then
	chmod 000 "$bucket/a"
	run mb backup --component uploads
	[ "$status" != 0 ]
	result "a directory of a bucket that cannot be opened: no backup (exit $status), its objects are not taken for deleted" $?
	like "$err" 'could not open directory "a"' "... and is named"
	chmod 755 "$bucket/a"
fi
declare -a times
for i in $(sort <<<"${marks// /$'\n'}")
do
	# Further from the mark than the clock margin of a second, so that exactly one state is right.
	sleep 1.3
	echo "v$i.5" >"$bucket/changing"
	echo "$i" >"$bucket/added$i"
	rm -f "$bucket/2026/11/o$i"
	sleep 1.3
	run mb mark "m$i"
	[ "$status" = 0 ] || { result "mark m$i" 1; diag "$err"; }
	cp -a "$bucket" "$T/at$i"
done
sleep 1.3
rm -rf "$bucket/2026"
echo last >"$bucket/changing"
mb backup >/dev/null 2>&1
for i in $marks
do
	run mb restore --to-mark "m$i" --component "uploads=$T/o$i"
	ok "bucket at mark m$i" diff -r "$T/at$i" "$T/o$i"
done
set_id=$(mb list --json | json backups.-1.id)
run mb restore "$set_id" --component "uploads=$T/o6"
ok "bucket at the last backup" diff -r "$bucket" "$T/o6"
run mb restore --to-latest --component "uploads=$T/o7"
ok "bucket at the latest scan" diff -r "$bucket" "$T/o7"
mv "$bucket" "$bucket.away"
run mb backup
is "$status" 3 "a bucket that is not there makes the backup partial, not empty"
mv "$bucket.away" "$bucket"
run mb verify --read-data full
is "$status" 0 "everything verifies"

# A stream of scans: what is deleted again between two backups can still be restored.
start_stream
sleep 1.5
echo ephemeral >"$bucket/ephemeral"
sleep 2.5
when=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
sleep 2.5
rm "$bucket/ephemeral"
sleep 2.5
kill -TERM $STREAM
wait $STREAM
is "$?" 143 "a stream that is told to stop exits with 143"
run mb restore --to-time "$when" --component "uploads=$T/o8"
is "$status" 0 "restore to a time between two scans"
is "$(cat "$T/o8/ephemeral" 2>&1)" ephemeral "an object that lived only between two backups is back"
run mb restore --to-latest --component "uploads=$T/o9"
[ ! -e "$T/o9/ephemeral" ]
result "and it is gone at a later time" $?
done_testing
