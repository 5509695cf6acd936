#!/bin/bash
# Files come back with everything that the tools of the system see in them: ACLs, attributes, names of one file, holes,
# owners, setuid bits and times to the nanosecond, from full and incremental backups and over what is there. What is
# excluded, masked, refused or unreadable is exactly what was said; a kill at any call loses nothing.
. "$(dirname "$0")/../lib/stack.sh"
# Root sees more: parts are skipped for others.
stack_drop_root() { :; }
stack_begin
# Nothing is really synced: what a power failure takes is not what this tests.
[ -e "$BUILD/fault.so" ] || skip_all "no $BUILD/fault.so: make all"
mb() { LD_PRELOAD=$BUILD/fault.so MBACKUP_FAULT_NOSYNC=1 "$MBACKUP" --config "$CONF" "$@"; }
for tool in getfacl setfacl getfattr setfattr
do
	command -v "$tool" >/dev/null || skip_all "no $tool"
done
root=; [ "$(id -u)" = 0 ] && root=1
tree=$T/etc
reader() { /usr/bin/python3 "$here/tests/reader/mbackup_reader.py" "$@"; }
configure() # line...
{
	mkdir -p "$T/etc"
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n[files:config]\npaths = %s\n' "$T" "$T/repo" "$tree" >"$CONF"
	printf '%s\n' "$@" >>"$CONF"
	chmod 600 "$CONF"
}
configure
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
backup_id() { mb list --json | json backups.-1.components.0.backup; }
meta() { mb info --json "$@" | json backup.components.0; }

# What others see: names, types, modes, owners, sizes, times; ACLs; attributes; which names are one file.
seen() # directory
(
	cd "$1" || exit 1
	find . -printf '%p|%y|%m|%U|%G|%s|%T@|%l\0' | sort -z | sed -z 's/^\(.*|d|[^|]*|[^|]*|[^|]*|\)[0-9]*/\1/' | tr '\0' '\n'
	find . ! -type l -print0 | sort -z | xargs -0 getfacl -n -p 2>&1
	find . -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex 2>/dev/null
)
# Sets of names.
names_of_one() # directory
(
	cd "$1" || exit 1
	find . -type f -links +1 -printf '%i %p\n' | sort | awk '$1 != last { if (s) print s; s = ""; last = $1 } { s = s " " $2 } END { print s }' | sort
)
facts() { seen "$1" >"$2"; names_of_one "$1" >>"$2"; }
same() # directory name
{
	facts "$tree" "$T/facts.was"
	facts "$1" "$T/facts.is"
	ok "$2: everything that find, getfacl and getfattr say" diff "$T/facts.was" "$T/facts.is"
	ok "$2: contents" diff -r --no-dereference "$tree" "$1"
}

# -- a tree with everything ---------------------------------------------------------------------------
mkdir -p "$tree/dir/sub" "$tree/acl" "$tree/modes" "$tree/$(printf 'new\nline')" "$tree/$(printf 'caf\xe9')" "$tree/many"
echo plain >"$tree/dir/plain"; echo x >"$tree/$(printf 'new\nline')/$(printf '\xff\xfe')"
echo first >"$tree/dir/b-first"; ln "$tree/dir/b-first" "$tree/dir/sub/second"; ln "$tree/dir/b-first" "$tree/a-before"
echo 1 >"$tree/many/1"; ln "$tree/many/1" "$tree/many/2"; : >"$tree/many/empty"; ln "$tree/many/empty" "$tree/many/empty2"
ln -s plain "$tree/dir/link"; ln -s /nowhere "$tree/dir/dangling"; ln -s . "$tree/dir/loop"
truncate -s 6M "$tree/hole"; truncate -s 5M "$tree/islands"
for at in 1 3 4; do echo island | dd of="$tree/islands" bs=1M seek=$at conv=notrunc status=none; done
dd if=/dev/zero of="$tree/zeros" bs=1M count=1 status=none
printf '#!/bin/sh\n' >"$tree/modes/setuid"; chmod 4755 "$tree/modes/setuid"
: >"$tree/modes/none"; chmod 000 "$tree/modes/none"; : >"$tree/modes/setgid"; chmod 2711 "$tree/modes/setgid"
mkdir "$tree/modes/shared" "$tree/modes/sticky"; chmod 2775 "$tree/modes/shared"; chmod 1777 "$tree/modes/sticky"
echo acl >"$tree/acl/file"; setfacl -m u:12345:rw-,g:54321:r--,m:rw- "$tree/acl/file"
mkdir "$tree/acl/default"; setfacl -d -m u:12345:rwx,o::--- "$tree/acl/default"; setfacl -m g:54321:r-x "$tree/acl/default"
echo in >"$tree/acl/default/inherits"; echo bare >"$tree/acl/default/bare"; setfacl -b "$tree/acl/default/bare"; chmod 640 "$tree/acl/default/bare"
setfattr -n user.text -v value "$tree/dir/plain"; setfattr -n user.bytes -v 0x00ff0a "$tree/dir/plain"; setfattr -n user.empty "$tree/dir/plain"
setfattr -n user.dir -v d "$tree/dir"; setfattr -n user.name -v n "$tree/dir/b-first"; setfattr -n user.big -v "$(head -c 2000 /dev/zero | tr '\0' x)" "$tree/acl/file"
if [ -n "$root" ]
then
	setfattr -n trusted.root -v t "$tree/dir/plain"
	setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 "$tree/modes/setgid"
	chown 12345:54321 "$tree/acl/file" "$tree/modes/setuid" "$tree/modes/shared"; chmod 6755 "$tree/modes/setuid"; chmod 2775 "$tree/modes/shared"
	chown -h 12345:54321 "$tree/dir/link"
	setfattr -h -n trusted.link -v l "$tree/dir/link"
else
	chmod 400 "$tree/modes/none"
fi
for f in dir/plain islands acl modes/sticky; do touch -d '2001-02-03 04:05:06.123456789' "$tree/$f"; done
touch -h -d '2002-02-03 04:05:06.987654321' "$tree/dir/link"; touch -d '1965-01-02 03:04:05.5' "$tree/zeros"
sleep 2.1

run mb backup --json
is "$status" 0 "a full backup"
is "$(json backup.components.0.warnings <<<"$out")" "[]" "... without a warning"
run mb restore --component "config=$T/r1"
is "$status" 0 "restored"
same "$T/r1$tree" "full"
for f in hole islands
do
	had=$(du -B1 "$tree/$f" | cut -f1) got=$(du -B1 "$T/r1$tree/$f" | cut -f1)
	[ "$got" -le "$had" ]
	result "$f takes no more room than it did ($got of $(stat -c %s "$tree/$f") bytes, was $had)" $?
done
is "$(du -B1M "$T/r1$tree/zeros" | cut -f1)" 1 "zeros that were written are written"
is "$(find "$T/repo/packs" -type f -printf '%s\n' | awk '{ s += $1 } END { print (s < 1000000) }')" 1 "holes take no room in the repository"
run reader "$T/repo" extract config "$(backup_id)" "$T/read"
is "$status" 0 "the independent reader reads it"
ok "... with the same contents" diff -r --no-dereference "$tree" "$T/read$tree"
is "$(names_of_one "$T/read$tree")" "$(names_of_one "$tree")" "... and the same names of one file"

if "$MBACKUP" help verify | grep -q -- --restore && [ -n "$root" ]
then
	run mb verify --restore
	is "$status" 0 "the drill says the same"
fi

# -- incremental -----------------------------------------------------------------------------------------
run mb backup --json
is "$(json backup.components.0.changed_bytes <<<"$out")" 0 "nothing changed: nothing is read"
run mb restore --component "config=$T/r2"
same "$T/r2$tree" "a backup that read nothing"
rm "$tree/a-before"                                 # the first name of three
ln "$tree/zeros" "$tree/zeros-too"
setfattr -n user.text -v other "$tree/dir/plain"; setfacl -x u:12345 "$tree/acl/file"
chmod 700 "$tree/many"; setfattr -n user.dir -v e "$tree/dir/sub"
rm "$tree/many/2"; echo 2 >"$tree/many/2"           # no name of the first any more
sleep 2.1
run mb backup --json
is "$status" 0 "an incremental backup after attributes, names and modes changed"
run mb restore --component "config=$T/r3"
same "$T/r3$tree" "incremental"
before=$(mb list --json | json backups.-1.id)

# -- over what is there ------------------------------------------------------------------------------------
d=$T/r3$tree
setfattr -n user.stranger -v s "$d/dir/plain"; setfattr -x user.bytes "$d/dir/plain"; setfacl -m u:9:r "$d/acl/file"
rm "$d/zeros-too"; cp "$d/zeros" "$d/zeros-too"; rm "$d/dir/link"; mkdir "$d/dir/link"; echo more >"$d/dir/more"
dd if=/dev/urandom of="$d/islands" bs=1M seek=2 count=2 conv=notrunc status=none; rm "$d/hole"; chmod 777 "$d/modes/shared"
run mb restore --delta --yes --component "config=$T/r3" --json
is "$status" 0 "a delta"
same "$T/r3$tree" "delta"
had=$(du -B1 "$tree/islands" | cut -f1) got=$(du -B1 "$d/islands" | cut -f1)
[ "$got" -le "$had" ]
result "... with its holes ($got, was $had)" $?
mkdir "$T/r3/somebody-elses"
run mb restore --delta --yes --component "config=$T/r3"
is "$status" 4 "a delta over a directory that holds something else is refused"
ok "... which is still there" test -d "$T/r3/somebody-elses"
run mb restore --delta --yes --force --component "config=$T/r3"
is "$status" 0 "... and done with --force"
run mb restore --delta --yes --component "config=$T/r3" --only '*/dir/*'
is "$status" 2 "--delta and --only do not go together"

# -- a part --------------------------------------------------------------------------------------------------
run mb restore --component "config=$T/r4" --only '*/dir/sub/second' --only '*/zeros-too'
is "$status" 0 "a second name without the first"
is "$(cat "$T/r4$tree/dir/sub/second")" first "... has the contents"
is "$(cd "$T/r4" && find . -type f | wc -l)" 2 "... and nothing else comes"
run mb restore --component "config=$T/r5" --only '*e*'
ok "names of one file are one also among a part" test "$T/r5$tree/zeros" -ef "$T/r5$tree/zeros-too"

# -- what cannot be set, read or kept -------------------------------------------------------------------------
if [ -n "$root" ]
then
	# Nobody but root sets trusted.*: mbackup as somebody else says so and restores the rest.
	chmod -R a+rX "$T/repo"; chmod a+rx "$T"; mkdir "$T/theirs" "$T/their-spool"; chown 65534 "$T/theirs" "$T/their-spool"
	sed "s|^spool.*|spool = $T/their-spool|" "$CONF" >"$T/their.conf"; chmod 644 "$T/their.conf"
	cp "$MBACKUP" "$T/mbackup"; chmod 755 "$T/mbackup"
	run setpriv --reuid=65534 --regid=65534 --clear-groups "$T/mbackup" --config "$T/their.conf" restore --component "config=$T/theirs/r"
	is "$status" 0 "a restore as somebody who may not set all of it"
	like "$err" "could not set attribute trusted.root of .*dir/plain" "... names the attribute and the file"
	is "$(getfattr --only-values -n user.text "$T/theirs/r$tree/dir/plain" 2>/dev/null)" other "... and sets the others"
	is "$(stat -c %a "$T/theirs/r$tree/modes/setuid")" 755 "a program of root's is not setuid of whoever restores it"
	like "$err" "modes/setuid. belongs to you now" "... which is said"
	# Another filesystem in a mount point: in, or with one-file-system the directory alone.
	unshare -m sh -c "mkdir '$tree/mnt' && mount -t tmpfs none '$tree/mnt' && echo m >'$tree/mnt/inside' && '$MBACKUP' --config '$CONF' backup" >/dev/null 2>&1
	if [ $? = 0 ]
	then
		mb restore --component "config=$T/m1" >/dev/null 2>&1
		is "$(cat "$T/m1$tree/mnt/inside" 2>&1)" m "what is mounted is in the backup"
		configure "one-file-system = yes"
		unshare -m sh -c "mount -t tmpfs none '$tree/mnt' && echo m >'$tree/mnt/inside' && '$MBACKUP' --config '$CONF' backup" >/dev/null 2>&1
		mb restore --component "config=$T/m2" >/dev/null 2>&1
		ok "one-file-system: the mount point is" test -d "$T/m2$tree/mnt"
		ok "... and nothing in it" test ! -e "$T/m2$tree/mnt/inside"
		configure
	fi
	rm -rf "$tree/mnt"
else
	echo secret >"$tree/unreadable"; chmod 000 "$tree/unreadable"; mkdir "$tree/closed" "$tree/half"; chmod 000 "$tree/closed"; echo h >"$tree/half/h"; chmod 444 "$tree/half"
	run mb backup
	is "$status" 3 "what cannot be read makes the backup partial"
	like "$err" "unreadable" "... the file is named"
	like "$err" "closed" "... the directory too"
	like "$err" "etc/half" "... and what cannot be looked at"
	run mb restore --component "config=$T/p1"
	is "$(cat "$T/p1$tree/dir/plain")" plain "... and the rest is there"
	chmod 755 "$tree/closed" "$tree/half"; rm -rf "$tree/unreadable" "$tree/closed" "$tree/half"
fi
mkfifo "$tree/fifo"; python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$T/s" && mv "$T/s" "$tree/socket"
head -c 12000000 /dev/urandom >"$tree/busy"
(while :; do printf x >>"$tree/busy"; done) &
writer=$!
stack_owns "$writer"
run mb backup --json
kill "$writer"; wait "$writer" 2>/dev/null; stack_forgets "$writer"
like "$out" "fifo.*is a device, socket or FIFO: left out" "a FIFO is left out, with a warning"
like "$out" "socket.*is a device, socket or FIFO: left out" "... a socket too"
like "$out" "busy.*changed while it was read" "a file that changes all the time is taken, with a warning"
rm "$tree/fifo" "$tree/socket" "$tree/busy"
# The first name of a file vanishes between the look and the reading: its second name carries it.
run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="open:1+:EACCES:$tree/dir/b-first" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" backup --type full
is "$status" 3 "the first name of a file cannot be opened"
run mb restore --component "config=$T/l1"
is "$(cat "$T/l1$tree/dir/sub/second" 2>&1)" first "... and the second has its contents"

# -- what is excluded -----------------------------------------------------------------------------------------
w=$tree/where
mkdir -p "$w/cache/deep" "$w/logs/old" "$w/src/tmp" "$w/tagged/in" "$w/tmp"
touch "$w/a.bak" "$w/keep.bak" "$w/cache/deep/x" "$w/logs/a.log" "$w/logs/old/a.log" "$w/src/tmp/t" "$w/src/s" "$w/tmp/file" "$w/tagged/in/x"
printf 'Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n' >"$w/tagged/CACHEDIR.TAG"
contents() { run mb backup; rm -rf "$T/x"; mb restore --component "config=$T/x" >/dev/null 2>&1; (cd "$T/x$1" && find . | sort | tr '\n' ' '); }
configure "exclude = *.bak, !keep.bak, cache/, $w/logs/*.log, src/tmp" "exclude-caches = yes"
is "$(contents "$w")" ". ./keep.bak ./logs ./logs/old ./logs/old/a.log ./src ./src/s ./tagged ./tmp ./tmp/file " "exclude and exclude-caches"
configure "paths = $w/**/*.log, $w/s?c, $T/link-to-where/tmp"
ln -s "$w" "$T/link-to-where"
is "$(contents "$w")" ". ./logs ./logs/a.log ./logs/old ./logs/old/a.log ./src ./src/s ./src/tmp ./src/tmp/t ./tmp ./tmp/file " "paths with **, ? and a link in front"
configure "paths = $T/nothing/**/x, $w/src"
run mb backup
like "$err" "there is nothing at .*/nothing/" "a path that matches nothing is told"
configure "exclude = /"
run mb backup
is "$status" 2 "a pattern that names nothing is refused"
configure "paths = $T/repo, $w/src"
run mb backup
like "$err" "repo. is a repository of mbackup: left out" "the repository is not put into itself"
ok "... and what else was asked for is there" test "$(contents "$w/src" | wc -w)" = 4

# -- what is masked ---------------------------------------------------------------------------------------------
configure "mask = *_dsn, !keyboard" "mask-files = wp-config.php"
m=$tree/masked
mkdir "$m"
printf 'A=1\nDB_PASSWORD=hunter2\nAPP_DSN=hunter2\nKEYBOARD=us\nURL=postgres://u:hunter2@h/d\n' >"$m/.env"
printf '{"db": {"password": "hunter2", "port": 5432}, "keys": ["hunter2"]}\n' >"$m/app.json"
printf 'db:\n  token: hunter2\n  secret: |\n    hunter2\n  name: shop\n' >"$m/app.yaml"
printf 'h:5432:*:u:hunter2\n' >"$m/.pgpass"
printf -- '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n' >"$m/server.pem"
printf 'password = hunter2\n' >"$m/wp-config.php"
printf 'password = seen\n' >"$m/notes.txt"
head -c 1100000 /dev/zero | tr '\0' '#' >"$m/large.conf"
run mb backup --json
is "$status" 0 "a backup with secrets"
like "$out" "large.conf.* has 1 MiB or more: no secret in it is masked" "a file that is too large to be masked is told"
run mb restore --component "config=$T/masked"
ok "no secret comes back" sh -c "! grep -rq hunter2 '$T/masked'"
is "$(cat "$T/masked$m/.env")" "$(printf 'A=1\nDB_PASSWORD=********\nAPP_DSN=********\nKEYBOARD=us\nURL=postgres://u:********@h/d')" "... of the rest everything does"
is "$(python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(d["db"]["password"], d["db"]["port"], d["keys"][0])' "$T/masked$m/app.json")" "******** 5432 ********" "... JSON is still JSON"
is "$(cat "$T/masked$m/notes.txt")" "password = seen" "... and a text is no configuration"
like "$err" "masked/.env.: its secrets were masked" "the restore says which files"
reader "$T/repo" extract config "$(backup_id)" "$T/read2" >/dev/null
ok "... nor by the independent reader" sh -c "[ -e '$T/read2$m/.env' ] && ! grep -rq hunter2 '$T/read2'"
sleep 2.1
configure "mask = *_dsn, !keyboard, a" "mask-files = wp-config.php"
mb backup >/dev/null 2>&1
run mb restore --component "config=$T/masked2"
is "$(head -1 "$T/masked2$m/.env")" "A=********" "other rules: files that did not change are read again"
rm -rf "$m" "$w"
configure

# -- kills and faults ----------------------------------------------------------------------------------------------
faulty() { rm -f "$T/fault"; { run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT_NOSYNC=1 MBACKUP_FAULT="$1" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" "${@:2}"; } 2>/dev/null; }
faulty "any:0:kill:$T" backup --type full
calls=$(head -c 1024 "$T/fault" | head -1 | tr -d '\0' | cut -d' ' -f1)
rounds=4; [ -n "${MBACKUP_LONG:-}" ] && rounds=60
killed=0
for i in $(seq "$rounds")
do
	faulty "any:$((calls * i / (rounds + 1))):kill:$T" backup --type full
	[ "$status" -gt 128 ] && killed=$((killed + 1))
done
is "$killed" "$rounds" "killed at $rounds of $calls calls"
run mb backup
is "$status" 0 "the next backup just works"
run mb verify --read-data full
is "$status" 0 "everything verifies"
run mb restore --component "config=$T/last"
same "$T/last$tree" "after kills"
faulty "any:0:kill:$T/k" restore --component "config=$T/k0"
calls=$(head -c 1024 "$T/fault" | head -1 | tr -d '\0' | cut -d' ' -f1)
cp -a "$T/k0" "$T/k"
for i in 1 2 3
do
	rm -rf "$T/k$tree/dir" "$T/k$tree/islands"
	faulty "any:$((calls * i / 5)):kill:$T/k" restore --delta --yes --component "config=$T/k"
done
run mb restore --delta --yes --component "config=$T/k"
is "$status" 0 "a delta that was killed is run again"
same "$T/k$tree" "after killed deltas"
done_testing
