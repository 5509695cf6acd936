#!/bin/bash
# One repository in several places: backup and stream write to all; a copy that goes away, fills up or
# loses its writer to kill -9 falls behind without failing anything, and catches up to equal bytes.
# With the first destroyed a copy restores the cluster; no other directory is ever filled or touched.

# A small tmpfs needs root; the script then goes on as an unprivileged user.
if [ "$(id -u)" = 0 ]
then
	MB_TMPFS=$(mktemp -d /tmp/mb-small.XXXXXX)
	if mount -t tmpfs -o size=12m,mode=777 tmpfs "$MB_TMPFS" 2>/dev/null
	then
		export MB_TMPFS
	else
		rmdir "$MB_TMPFS"
		unset MB_TMPFS
	fi
	[ -z "${MB_TMPFS:-}" ] || trap 'umount -l "$MB_TMPFS"; rmdir "$MB_TMPFS"' EXIT
fi
. "$(dirname "$0")/../lib/stack.sh"
if [ "$(id -u)" = 0 ]
then
	# Not exec: the trap above must run afterwards.
	(stack_begin)
	exit
fi
stack_begin
stack_postgres
stack_config
OFF=$T/offsite
SECOND=$T/second
sed -i "s,^spool,catch-up-interval = 300ms\nspool,; s,^\[postgres\],[repository:offsite]\nurl = $OFF\n\n[postgres]," "$CONF"

# A directory with what there is at a url.
held() # url name
{
	case $1 in
	s3://*) blobs_of "$1" save "$T/held.$2" && echo "$T/held.$2" ;;
	*) echo "$1" ;;
	esac
}
# Not diff -r: a kill may leave an empty directory in one place.
sums() # directory
{
	(cd "$1" && find . -type f ! -path './leases/*' ! -path './provisional/*' ! -path './probes/*' ! -path './verified/*' ! -name '.tmp-*' -exec sha256sum {} + | sort -k 2)
}
same() # url url
{
	diff <(sums "$(held "$1" 1)") <(sums "$(held "$2" 2)")
}
# For sed: other places than the first are directories, and need no keys.
no_keys="/^endpoint = /d; /^access-key = /d; /^secret-key = /d"
# Every name that a commit of the copy needs is there, says a verify of the copy alone.
whole() { mb verify --repository "${1:-offsite}" --read-data full; }
says() { mb check --json 2>/dev/null | grep -Eq "$1"; }

# -- made together, written together --------------------------------------------------------------
run mb init
is "$status" 0 "init makes the repository and its copy"
ok "they are the same" same "$REPO" "$OFF"
run mb init
is "$status" 4 "a second init has nothing to make: exit 4"
head -c 3000000 /dev/urandom >"$T/objects/o1"
pgbench -i -s 3 -q postgres >/dev/null 2>&1
start_stream
run mb backup
is "$status" 0 "backup"
ok "the copy gets all of it, and the WAL" wait_for 10 same "$REPO" "$OFF"
run mb check
like "$out" "repository.copy +copy .offsite. at .* is up to date" "check says so"

# -- away for some seconds, under load ---------------------------------------------------------------
pgbench -n -c 2 -R 300 -T 60 postgres >"$T/pgbench.log" 2>&1 & LOAD=$!; stack_owns "$LOAD"
sleep 0.5
mv "$OFF" "$T/away"
sleep 1.5
run mb backup
is "$status" 0 "a backup while the copy is away"
like "$err" "copy \"offsite\" at .* is behind" "... with a warning"
run mb check
like "$out" "warning +repository +repository.copy +copy .offsite. cannot be used: there is no copy of the repository at" "check says that it is not there"
mkdir "$OFF"
sleep 1
run mb check
like "$out" "there is no copy of the repository at" "an empty mount point is no copy"
like "$out" "fix: Check that it is mounted" "... and the fix is named"
is "$(ls -A "$OFF")" "" "an empty mount point is not filled"
rmdir "$OFF"
is "$(grep -c 'is behind' "$T/stream.log")" 1 "the stream warned once"
mv "$T/away" "$OFF"
ok "it catches up under load" wait_for 15 says 'up to date'
like "$(cat "$T/stream.log")" "copy \"offsite\" is up to date: [0-9]+ blobs" "the stream says so"
run mb backup
is "$status" 0 "the next backup"

# -- kill -9 of the writer -----------------------------------------------------------------------------
for i in 1 2 3
do
	sleep 0.$((i * 2))
	kill -9 "$STREAM"; wait "$STREAM" 2>/dev/null
	start_stream
done
kill "$LOAD"; wait "$LOAD" 2>/dev/null
ok "after kill -9 of the stream the copy catches up" wait_for 15 says 'up to date'
ok "both are the same again" wait_for 15 same "$REPO" "$OFF"
ok "the copy verifies" whole

# -- a copy that comes later ---------------------------------------------------------------------------
kill "$STREAM"; wait "$STREAM" 2>/dev/null # it would not know the new copy
sed -i "s,^\[postgres\],[repository:second]\nurl = $SECOND\n\n[postgres]," "$CONF"
run mb backup --component config
is "$status" 0 "a backup with a copy that was never made"
like "$err" "there is no copy of the repository at|No such file" "... says that it is not there"
ok "... and does not make it" test ! -e "$SECOND"
run mb init
is "$status" 0 "init makes the copy that is missing"
ok "and fills it" wait_for 10 same "$REPO" "$SECOND"
run mb init
is "$status" 4 "then there is nothing to make"
sed -i "s,url = $SECOND,&\nencryption = none," "$CONF"
run mb check
is "$status" 2 "a copy has no encryption of its own"
like "$err" "line [0-9]+: \"encryption\" is shared" "... says the place"
sed -i "/^encryption = none/d" "$CONF"
run mb list --repository nowhere
is "$status" 2 "an unknown copy"
like "$err" "mbackup.conf names: offsite, second" "... and those there are"

# -- kill -9 while it catches up -------------------------------------------------------------------------
head -c 60000000 /dev/urandom >"$T/objects/large"
mv "$SECOND" "$T/away"
mb backup >/dev/null 2>&1
mv "$T/away" "$SECOND"
packs() { case $1 in s3://*) blobs_of "$1" ls | grep -c ^packs/ ;; *) find "$1/packs" -type f ! -name '.tmp-*' | wc -l ;; esac; }
before=$(packs "$SECOND")
middle=0
for _ in 1 2 3 4 5
do
	[ "$middle" = 0 ] || break
	"$MBACKUP" --config "$CONF" backup --component config >/dev/null 2>&1 & B=$!; stack_owns "$B"
	while kill -0 "$B" 2>/dev/null && [ "$(packs "$SECOND")" = "$before" ]; do sleep 0.005; done
	kill -9 "$B" 2>/dev/null; wait "$B" 2>/dev/null
	[ "$(packs "$SECOND")" -lt "$(packs "$REPO")" ] && middle=1
	before=$(packs "$SECOND")
	[ "$middle" = 1 ] || rm -rf "$SECOND"/packs/*
done
is "$middle" 1 "killed in the middle of catching up"
ok "what the copy has by then is whole" whole second
run mb backup --component config
is "$status" 0 "the next backup goes on"
ok "and makes it equal" same "$REPO" "$SECOND"

# -- another repository ---------------------------------------------------------------------------------
sed "$no_keys; s,^spool.*,spool = $T/spool2,; s,^url = $REPO\$,url = $T/other,; /^\[repository:/,/^\$/d" "$CONF" >"$T/other.conf"
"$MBACKUP" --config "$T/other.conf" init >/dev/null 2>&1
cp -a "$T/other" "$T/other.before"
sed "s,url = $SECOND,url = $T/other," "$CONF" >"$T/wrong.conf"
chmod 600 "$T/wrong.conf"
run "$MBACKUP" --config "$T/wrong.conf" backup
is "$status" 2 "another repository as a copy is refused"
like "$err" "repository:second.*is repository .*, not a copy of" "... and named"
run "$MBACKUP" --config "$T/wrong.conf" check
like "$out" "failed +repository +repository.copy .*second" "check fails"
ok "... and it was not touched" diff -r "$T/other.before" "$T/other"

# -- a full disk ------------------------------------------------------------------------------------------
if [ -n "${MB_TMPFS:-}" ]
then
	sed "$no_keys; s,url = $SECOND,url = $MB_TMPFS/copy,; s,^url = $REPO\$,url = $T/repo3,; s,^spool.*,spool = $T/spool3,; /^\[repository:offsite/,/^\$/d; /^\[postgres/,/^\$/d" "$CONF" >"$T/small.conf"
	rm "$T/objects/large"
	run "$MBACKUP" --config "$T/small.conf" init
	is "$status" 0 "a copy on a small file system"
	head -c 30000000 /dev/urandom >"$T/objects/large"
	run "$MBACKUP" --config "$T/small.conf" backup
	is "$status" 0 "a backup that fits into the first only"
	like "$err" "behind.*No space" "... leaves the copy behind"
	ok "what the copy has is whole" "$MBACKUP" --config "$T/small.conf" verify --repository second --read-data full
	is "$("$MBACKUP" --config "$T/small.conf" list --repository second --json 2>/dev/null | json backups)" "[]" "no set got there without its packs"
	mount_options=$(stat -f -c %T "$MB_TMPFS")
	is "$mount_options" tmpfs "it really is the small file system"
	cp -a "$MB_TMPFS/copy" "$T/copy3"
	sed -i "s,$MB_TMPFS/copy,$T/copy3," "$T/small.conf"
	run "$MBACKUP" --config "$T/small.conf" backup
	is "$status" 0 "with more room the next backup fills it"
	ok "to the same" same "$T/repo3" "$T/copy3"
	rm "$T/objects/large"
fi

# -- the first is destroyed ------------------------------------------------------------------------------
start_stream
sql "CREATE TABLE last_words AS SELECT g, md5(g::text) AS m FROM generate_series(1, 5000) g"
rows=$(sql "SELECT count(*), md5(string_agg(m, ',' ORDER BY g)) FROM last_words")
ok "a mark" mb mark the-end
ok "is in the copy, too" wait_for 10 same "$REPO" "$OFF"
kill "$STREAM"; wait "$STREAM" 2>/dev/null
# What stays of a lost directory is the mount point.
mkdir "$T/nothing"
lose() { in_bucket && blobs load "$T/nothing" || { rm -rf "$REPO"; mkdir "$REPO"; }; }
blobs save "$T/destroyed"
lose
run mb backup
is "$status" 10 "without the first nothing is written"
like "$err" "make its url that of \[repository\]" "... and the way out is named"
ok "nothing is made in its place" diff -r "$T/nothing" "$(held "$REPO" 1)"
run mb list
is "$status" 0 "list reads the copy"
like "$err" "reading the copy \"offsite\"" "... and says so"
run mb restore --component "postgres=$T/r1" --to-mark the-end
is "$status" 0 "restore from the copy"
ok "pg_verifybackup" pg_verifybackup -n "$T/r1"
printf 'port = %s\narchive_mode = off\n' "$(free_port)" >>"$T/r1/postgresql.conf"
start_cluster "$T/r1"
port=$(sed -n 4p "$T/r1/postmaster.pid")
ok "it recovers, by WAL from the copy" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
is "$(sql "SELECT count(*), md5(string_agg(m, ',' ORDER BY g)) FROM last_words" -p "$port")" "$rows" "to the last row"
stop_cluster "$T/r1" immediate

# -- the first is damaged: the copy is named ---------------------------------------------------------------
find "$T/destroyed/packs" "$T/destroyed/streams" -type f -exec sh -c 'printf XXXX | dd of="$1" bs=1 seek=200 conv=notrunc 2>/dev/null' _ {} \;
blobs load "$T/destroyed"
run mb verify --read-data full
is "$status" 6 "the first is damaged"
ok "the copy is not" whole
run mb restore --component "postgres=$T/r2" --to-mark the-end --repository offsite
is "$status" 0 "restore --repository"
ok "pg_verifybackup" pg_verifybackup -n "$T/r2"
printf 'port = %s\narchive_mode = off\n' "$(free_port)" >>"$T/r2/postgresql.conf"
start_cluster "$T/r2"
port=$(sed -n 4p "$T/r2/postmaster.pid")
ok "its WAL comes from the copy, too" wait_for 60 sql 'CREATE TEMP TABLE t ()' -p "$port"
is "$(sql "SELECT count(*), md5(string_agg(m, ',' ORDER BY g)) FROM last_words" -p "$port")" "$rows" "to the last row"
stop_cluster "$T/r2" immediate

# -- going on from the copy ------------------------------------------------------------------------------
lose
in_bucket || rmdir "$REPO"
sed -i "$no_keys; s,^url = $REPO\$,url = SWAP,; s,^url = $OFF\$,url = $REPO,; s,^url = SWAP\$,url = $OFF," "$CONF"
in_bucket && s3_keys >"$T/keys" && sed -i "/^url = s3:/r $T/keys" "$CONF"
run mb init
is "$status" 0 "the urls swapped: init makes the lost place a copy"
run mb backup
is "$status" 0 "and backups go on"
ok "all three are the same" same "$REPO" "$OFF"
ok "all three are the same" same "$SECOND" "$OFF"
done_testing
