#!/bin/bash
# A bucket that is changed at random comes back as it was at every backup: on MinIO with ids, times, ETags,
# parts, metadata, tags and locks, on Ceph in order with contents, metadata, tags and locks.
# boto3 says what was there and what came back.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
stack_begin

points=4 steps=30
[ -n "${MBACKUP_LONG:-}" ] && points=20 steps=100
story() { "$S3_PYTHON" "$here/tests/lib/s3_story.py" "$@"; }
config()
{
	printf '[global]\nspool = %s/spool.%s\nworkers = 2\n[repository]\nurl = %s/repo.%s\nencryption = none\n' \
		"$T" "$S3_SERVER" "$T" "$S3_SERVER" >"$CONF"
	printf '[objects:shop]\nurl = s3://shop\nclock-margin = 200ms\n' >>"$CONF"
	s3_keys >>"$CONF"
	chmod 600 "$CONF"
}

# A pause on both sides of a cut: what is nearer to it than the clocks are known is ambiguous.
look() # name
{
	sleep 1.7
	run mb backup --json
	[ "$status" = 0 ] || diag "$err"
	json backup.id <<<"$out" >"$T/id.$1"
	judge dump shop | story --canonical "$S3_SERVER" >"$T/was.$1"
	sleep 1.7
}

as_it_was() # name
{
	local bucket=shop-$1

	mb restore "$(cat "$T/id.$1")" --component "shop=s3://$bucket" --yes &&
		judge dump "$bucket" | story --canonical "$S3_SERVER" >"$T/is.$1" && diff "$T/was.$1" "$T/is.$1"
}

for server in ceph minio
do
	"s3_$server" || { diag "no $server"; continue; }
	config
	ok "$server: init" mb init
	judge mkbucket shop lock
	for point in $(seq "$points")
	do
		story shop "$server.$point" "$steps" --lock >"$T/story.log" || cat "$T/story.log" >&2
		look "$point"
	done
	for point in $(seq "$points")
	do
		ok "$server: as it was at backup $point ($(wc -l <"$T/was.$point") versions)" as_it_was "$point"
	done

	# -- what did not change is not read again ------------------------------------------------------
	run mb backup --json
	is "$(json backup.components.0.changed_bytes <<<"$out")" 0 "$server: nothing is read twice"
	judge put shop new random:5000 >/dev/null
	run mb backup --json
	is "$(json backup.components.0.changed_bytes <<<"$out")" 5000 "$server: what is new is read once"

	# -- a backup that is killed --------------------------------------------------------------------------
	judge fill shop 300 20000 --prefix many/
	"$MBACKUP" --config "$CONF" backup >"$T/killed.log" 2>&1 &
	pid=$!
	sleep 0.1
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	look after
	ok "$server: the backup after one that was killed is whole" as_it_was after

	# -- killed, and run again -------------------------------------------------------------------------
	"$MBACKUP" --config "$CONF" restore "$(cat "$T/id.$points")" --component shop=s3://shop-killed --yes \
		>"$T/killed.log" 2>&1 &
	pid=$!
	sleep 0.1
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	ok "$server: a restore that was killed is run again" mb restore "$(cat "$T/id.$points")" \
		--component shop=s3://shop-killed --yes
	judge dump shop-killed | story --canonical "$S3_SERVER" >"$T/is.killed"
	ok "$server: and ends in the same state" diff "$T/was.$points" "$T/is.killed"
	run mb restore "$(cat "$T/id.1")" --component shop=s3://shop-killed --yes
	is "$status" 4 "$server: a bucket that holds something else is refused"
	like "$err" "would not put" "$server: and that is said"

	# -- over what is there ---------------------------------------------------------------------------
	judge dump shop --current --drop id,mtime,etag >"$T/before.delta"
	run mb restore "$(cat "$T/id.1")" --component shop --delta --yes --json
	is "$status" 0 "$server: a delta goes over what is there"
	undo=$(json restore.components.0.before.undo <<<"$out")
	# Ceph's listing does not tell tags that were changed in place.
	drop=id,mtime,etag,hold,retention
	[ "$server" = ceph ] && drop=$drop,tags
	judge dump shop-1 --current --drop "$drop" >"$T/want.delta"
	judge dump shop --current --drop "$drop" >"$T/is.delta"
	ok "$server: and makes the current state that of the backup" diff "$T/want.delta" "$T/is.delta"
	ok "$server: it says how to undo it" eval "mb ${undo#mbackup } --yes"
	judge dump shop --current --drop id,mtime,etag >"$T/after.delta"
	ok "$server: it can be undone" diff "$T/before.delta" "$T/after.delta"

	# -- in place, and back ---------------------------------------------------------------------------
	judge put shop just-deleted text:x >/dev/null
	sed -i 's/^clock-margin = .*/clock-margin = 2s/' "$CONF"
	judge del shop just-deleted >/dev/null
	judge dump shop --current --drop "$drop" >"$T/before.place"
	run mb restore "$(cat "$T/id.1")" --component shop --yes
	is "$status" 0 "$server: a restore in place"
	run mb rollback --yes
	is "$status" 0 "$server: a rollback"
	judge dump shop --current --drop "$drop" >"$T/after.place"
	sed -i 's/^clock-margin = .*/clock-margin = 200ms/' "$CONF"
	ok "$server: it is as it was, without what had been deleted a moment before" diff "$T/before.place" "$T/after.place"

	# -- parts of it, and files --------------------------------------------------------------------------
	ok "$server: only some keys" mb restore "$(cat "$T/id.$points")" --component shop=s3://shop-some --only 'a/*' --yes
	judge dump shop-some | story --canonical "$S3_SERVER" >"$T/is.some"
	ok "$server: and no others" diff <(grep '"key": "a/' "$T/was.$points") "$T/is.some"
	ok "$server: below a prefix" mb restore "$(cat "$T/id.$points")" --component shop=s3://shop-below/there --only 'a/*' --yes
	is "$(judge count shop-below there/a/)" "$(judge count shop-some)" "$server: all of them are there"
	ok "$server: as files" mb restore "$(cat "$T/id.$points")" --component shop="file://$T/files.$server" --only 'a/*' --yes
	is "$(find "$T/files.$server" -type f | wc -l)" "$(judge count shop-some | cut -d' ' -f1)" "$server: all current ones"
	for f in "$T/files.$server"/a/b/*
	do
		[ -f "$f" ] && is "$(sha256sum <"$f" | cut -d' ' -f1)" "$(judge sha shop-some "a/b/$(basename "$f")")" "$server: $(basename "$f")"
	done
done
done_testing
