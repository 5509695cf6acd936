#!/bin/bash
# Proves that docs/format.md is enough to read a repository (tests/reader was written from it alone), that repositories
# made by the first mbackup of format 1 are still read and restored with exactly their contents, and that the reader and
# mbackup agree about a fresh repository with everything in it, byte for byte.
. "$(dirname "$0")/../lib/stack.sh"
/usr/bin/python3 -c 'import cryptography, xxhash, zstandard' 2>/dev/null || skip_all "no python3-{zstandard,cryptography,xxhash}"
stack_begin
export PYTHONDONTWRITEBYTECODE=1
golden=$here/tests/golden
PLACE=$REPO
reader() { /usr/bin/python3 "$here/tests/reader/mbackup_reader.py" "$@"; }

# The data of a restored Redis: load_redis directory appendonly
load_redis()
{
	local pid
	redis-server --port 0 --unixsocket "$1/s" --dir "$1" --appendonly "$2" --save '' --enable-debug-command yes \
		>"$T/loaded.log" 2>&1 &
	pid=$!
	stack_owns $pid
	wait_for 20 sh -c "redis-cli -s '$1/s' ping | grep -q PONG"
	redis-cli -s "$1/s" debug digest
	stack_kill $pid
}

matches() # expected tree name
{
	"$golden/listing" "$2" >"$T/listing" 2>"$T/listing.err"
	ok "$3" diff "$golden/v1/expected/$1" "$T/listing"
}

set_id() { mb list --json | json "backups.$1.id"; }

# -- the golden repositories --------------------------------------------------------------------------

check_golden() # plain|encrypted [option of the reader]...
{
	local name=$1 dir=$T/$1 moment n=0 digest
	shift
	mkdir -p "$dir"
	# A store ignores modes and times: a git checkout has its own.
	cp -r "$golden/v1/$name" "$dir/repo"
	REPO=$PLACE-$name
	blobs load "$dir/repo"
	CONF=$dir/conf
	cat >"$CONF" <<-END
		[global]
		spool = $dir/spool
		[repository]
		url = $REPO
		$(! in_bucket || s3_keys)
		$([ "$name" = plain ] && echo "encryption = none" || echo "passphrase-file = $T/passphrase")
		[objects:uploads]
		url = file://$dir/none
		[files:config]
		paths = $dir/none
		[redis]
		url = redis://127.0.0.1:1
	END
	chmod 600 "$CONF"
	run reader "$@" "$dir/repo" verify
	is "$status" 0 "golden $name: the reader verifies it ($out)"
	diag "$err"
	run reader "$@" "$dir/repo" streams
	is "$status" 0 "golden $name: the reader reads the stream pieces"
	like "$out" '"name": "golden"' "golden $name: with the restore point in the WAL"
	like "$out" '"kind": "data"' "golden $name: with pieces of the Redis stream"
	run mb verify --read-data full
	is "$status" 0 "golden $name: mbackup verifies it"
	for moment in first second
	do
		local id r=$dir/reader-$moment m=$dir/mbackup-$moment
		id=$(set_id $n)
		n=$((n + 1))
		for component in config uploads redis
		do
			run reader "$@" "$dir/repo" extract $component "$id" "$r/$component"
			is "$status" 0 "golden $name: the reader extracts $component of the $moment backup"
		done
		run mb restore "$id" --component "config=$m/config" --component "uploads=$m/uploads" --component "redis=$m/redis"
		is "$status" 0 "golden $name: mbackup restores the $moment backup"
		matches $moment-config "$r/config" "golden $name: reader, $moment: files"
		matches $moment-uploads "$r/uploads" "golden $name: reader, $moment: objects"
		matches $moment-config "$m/config" "golden $name: mbackup, $moment: files"
		matches $moment-uploads "$m/uploads" "golden $name: mbackup, $moment: objects"
		digest=$(sed -n "s/^$moment //p" "$golden/v1/expected/redis")
		is "$(load_redis "$r/redis" no)" "$digest" "golden $name: reader, $moment: Redis"
		is "$(load_redis "$m/redis" yes)" "$digest" "golden $name: mbackup, $moment: Redis"
	done
	local m=$dir/mark
	run mb restore --to-mark golden --component "config=$m/config" --component "uploads=$m/uploads" --component "redis=$m/redis"
	is "$status" 0 "golden $name: mbackup restores the mark"
	matches mark-config "$m/config" "golden $name: mbackup, mark: files"
	matches mark-uploads "$m/uploads" "golden $name: mbackup, mark: objects"
	is "$(load_redis "$m/redis" yes)" "$(sed -n 's/^mark //p' "$golden/v1/expected/redis")" "golden $name: mbackup, mark: Redis"
}

cp "$golden/v1/test-passphrase" "$T/passphrase"
chmod 600 "$T/passphrase"
[ -n "${MBACKUP_SHORT:-}" ] || check_golden plain
check_golden encrypted --passphrase-file "$T/passphrase"

# -- what the reader must refuse ------------------------------------------------------------------------

# This is about the reader alone, which reads directories.
reader_refuses()
{
	local name role option victim pair

	printf 'not the passphrase' >"$T/wrong"
	head -c 48 /dev/zero >"$T/wrong-key"
	run reader --passphrase-file "$T/wrong" "$T/encrypted/repo" verify
	is "$status" 7 "reader: a wrong passphrase"
	like "$err" "wrong passphrase" "reader: and says so"
	run reader --key-file "$T/wrong-key" "$T/encrypted/repo" verify
	is "$status" 7 "reader: a wrong key file"
	run reader "$T/encrypted/repo" verify
	is "$status" 7 "reader: no passphrase"
	run reader --passphrase-file "$T/passphrase" "$T/plain/repo" verify
	is "$status" 7 "reader: a passphrase for an unencrypted repository: it may have been replaced"

	# One bit of one blob of every role, in the middle.
	for name in encrypted plain
	do
		option=$([ $name = encrypted ] && echo "--passphrase-file $T/passphrase")
		for role in keys packs backups sets marks streams/postgres streams/redis mbackup.json
		do
			[ "$name-$role" = plain-keys ] && continue
			rm -rf "$T/flip"
			cp -r "$T/$name/repo" "$T/flip"
			victim=$(find "$T/flip/$role" -type f | sort | head -n 1)
			/usr/bin/python3 -c '
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 4
open(sys.argv[1], "wb").write(data)' "$victim"
			# shellcheck disable=SC2086
			run reader $option "$T/flip" verify
			is "$status" 6 "reader: a flipped bit in $role of $name is damage"
		done
		# A whole blob in the place of another of its role.
		rm -rf "$T/flip"
		cp -r "$T/$name/repo" "$T/flip"
		mapfile -t pair < <(find "$T/flip/packs" -type f | sort | head -n 2)
		cp "${pair[0]}" "${pair[1]}"
		# shellcheck disable=SC2086
		run reader $option "$T/flip" verify
		is "$status" 6 "reader: a pack in the place of another of $name is damage"
	done
}
in_bucket || reader_refuses

# -- a fresh repository with everything in it --------------------------------------------------------------

stack_postgres || exit 1
stack_redis || exit 1
REPO=$PLACE
CONF=$T/mbackup.conf
stack_config
mkdir -p "$T/space"
sql "CREATE TABLESPACE elsewhere LOCATION '$T/space'"
sql "CREATE TABLE t AS SELECT g, repeat('row ' || g, 20) AS text FROM generate_series(1, 200000) g"
sql "CREATE TABLE s TABLESPACE elsewhere AS SELECT generate_series(1, 10000) g"
rcli set key value >/dev/null
rcli rpush list 1 2 3 >/dev/null
for i in $(seq 30); do head -c $((i * 1000)) /dev/urandom >"$T/objects/o$i"; done
head -c 5000000 /dev/urandom >"$T/etc/large"
ln -s large "$T/etc/link"
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
start_stream
mb backup >/dev/null 2>&1
echo changed >"$T/objects/o1"
rm "$T/objects/o2"
sql "UPDATE t SET text = 'changed' WHERE g < 1000"
rcli set key changed >/dev/null
sleep 3
run mb backup --json
is "$status" 0 "fresh: a backup of everything"
id=$(json backup.id <<<"$out")
run mb mark after
is "$status" 0 "fresh: a mark"
sleep 2
kill -TERM "$STREAM"
wait "$STREAM"
digest=$(rcli debug digest)
blobs save "$T/fresh"

run reader --key-file "$T/key" "$T/fresh" verify
is "$status" 0 "fresh: the reader verifies it ($out)"
diag "$err"
run reader --key-file "$T/key" "$T/fresh" streams
is "$status" 0 "fresh: the reader reads the stream pieces"
like "$out" '"name": "mbackup_' "fresh: with the restore points of the cuts"
for component in postgres uploads redis config
do
	run reader --key-file "$T/key" "$T/fresh" extract $component "$id" "$T/r/$component"
	is "$status" 0 "fresh: the reader extracts $component"
	diag "$err"
done
run mb restore "$id" --component "postgres=$T/m/postgres" --tablespace "$T/space=$T/m/space" \
	--component "uploads=$T/m/uploads" --component "redis=$T/m/redis" --component "config=$T/m/config"
is "$status" 0 "fresh: mbackup restores it"
diag "$err"

# Every relation file, those of tablespaces through the links that mbackup made, and what else both have.
relations() { (cd "$1" && find -L base global pg_tblspc pg_xact -type f -exec sha256sum {} + | sort -k 2); }
relations "$T/r/postgres" >"$T/relations.reader"
relations "$T/m/postgres" >"$T/relations.mbackup"
ok "fresh: relation files, reader = mbackup" diff "$T/relations.reader" "$T/relations.mbackup"
count=$(wc -l <"$T/relations.reader")
[ "$count" -gt 900 ] && grep -q pg_tblspc/ "$T/relations.reader"
result "fresh: $count of them, a tablespace among them" $?
ok "fresh: objects, reader = mbackup" diff <("$golden/listing" "$T/r/uploads") <("$golden/listing" "$T/m/uploads")
ok "fresh: objects = the bucket" diff -r "$T/r/uploads" "$T/objects"
ok "fresh: files, reader = mbackup" diff <("$golden/listing" "$T/r/config") <("$golden/listing" "$T/m/config")
ok "fresh: files = the sources" diff -r --no-dereference "$T/r/config$T/etc" "$T/etc"
is "$(load_redis "$T/r/redis" no)" "$digest" "fresh: Redis, reader"
is "$(load_redis "$T/m/redis" yes)" "$digest" "fresh: Redis, mbackup"
done_testing
