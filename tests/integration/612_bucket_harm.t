#!/bin/bash
# A bucket behind a proxy that spoils answers - shorter, with a part twice, with another bit, silent, lost - is backed
# up and restored exactly, or the command fails and says why: never anything in between. The next run just works.
# boto3 says what was there and what came back.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
stack_begin

steps=30
rounds=1
[ -n "${MBACKUP_LONG:-}" ] && steps=200 rounds=10
# Silence of a second is as much here as half a minute is elsewhere.
export MBACKUP_TEST_STALL_MS=1000
story() { "$S3_PYTHON" "$here/tests/lib/s3_story.py" "$@"; }
at_server() { S3_ENDPOINT=$DIRECT "$@"; }
dump() { at_server judge dump "$1" | story --canonical "$S3_SERVER"; }

config()
{
	printf '[global]\nspool = %s/spool.%s\nworkers = 2\n[repository]\nurl = %s/repo.%s\nencryption = none\n' \
		"$T" "$S3_SERVER" "$T" "$S3_SERVER" >"$CONF"
	printf '[objects:shop]\nurl = s3://shop\nclock-margin = 200ms\n' >>"$CONF"
	s3_keys >>"$CONF"
	chmod 600 "$CONF"
}

harm() # rule...
{
	local rule

	fault mode=none
	for rule in "$@"
	do
		fault_too "$rule"
	done
}

number=0
# A new bucket with what a backup holds: the one that there was?
same() # id
{
	number=$((number + 1))
	mb restore "$1" --component "shop=s3://again-$number" --yes && diff "$T/was" <(dump "again-$number")
}

under() # name rule...
{
	local name="$S3_SERVER: $1" before id

	shift
	before=$(fault_count requests)
	harm "$@"
	run timeout 100 "$MBACKUP" --config "$CONF" backup --type full --json
	harm
	id=$(json backup.id <<<"$out" 2>/dev/null)
	if [ "$status" = 0 ]
	then
		ok "$name: a backup that ends well is whole" same "$id"
	else
		like "$status $out$err" '^[3568] .*(shop|bucket)' "$name: a backup that fails (exit $status) says so"
	fi
	if [ "$status" != 0 ]
	then
		run mb backup --json
		ok "$name: and the next one is whole" same "$(json backup.id <<<"$out")"
	fi

	number=$((number + 1))
	harm "$@"
	run timeout 100 "$MBACKUP" --config "$CONF" restore "$GOOD" --component "shop=s3://again-$number" --yes
	harm
	if [ "$status" != 0 ]
	then
		like "$status $err" '^[3568] .*(shop|bucket|again)' "$name: a restore that fails (exit $status) says so"
		ok "$name: and can be run again" mb restore "$GOOD" --component "shop=s3://again-$number" --yes
	fi
	ok "$name: what it restored is what there was" diff "$T/was" <(dump "again-$number")
	ok "$name: there was harm" test "$(harm_done)" -gt "${HARM:-0}"
	HARM=$(harm_done)
}
# Whatever else the proxy counts than what it let pass.
harm_done() { curl -sf "http://127.0.0.1:$S3_CONTROL/counts" | awk '$1 != "requests" && $1 != "forwarded" { n += $2 } END { print n + 0 }'; }

# Tags are asked for one by one: what is no set of tags must not be taken for none.
untold_tags()
{
	local body n=0

	for body in '' '%3CTagging/%3E' '%3Chtml%3E%3CTagSet/%3E%3C/html%3E'
	do
		n=$((n + 1))
		harm "mode=say&methods=GET&match=tagged%5C?.*tagging&times=2&body=$body"
		run mb backup --type full --json
		is "$status" 0 "ceph: an answer without tags, twice ($n): asked again"
		ok "ceph: and the tags are there ($n)" same "$(json backup.id <<<"$out")"
		harm "mode=say&methods=GET&match=tagged%5C?.*tagging&body=$body"
		run mb backup --type full --json
		like "$status $out$err" '^3 .*not in this backup: version [^ ]* of \\?"tagged\\?"' "ceph: an answer without tags, always ($n): said"
		harm
	done
	run mb backup --json
	ok "ceph: and the next one has the tags" same "$(json backup.id <<<"$out")"
	HARM=$(harm_done)
}

objects='methods=GET&match=versionId'
for server in ceph minio
do
	"s3_$server" || { diag "no $server"; continue; }
	DIRECT=$S3_ENDPOINT
	HARM=0
	judge mkbucket shop lock
	story shop "harm.$server" "$steps" --lock >/dev/null
	# In ranges, and in parts.
	judge put shop large random:20000000 >/dev/null
	judge multipart shop parts 5242880 5242880 1000 --meta a=b >/dev/null
	judge put shop tagged text:x --tags 'a=b&c=d' >/dev/null
	judge fill shop 20 3000 --prefix small/
	# No name in XML: a listing of MinIO with metadata is broken by it.
	judge put shop broken text:x --meta 'a!b=c' --tags e=f >/dev/null
	sleep 1.7
	s3_proxy
	config
	dump shop >"$T/was"
	ok "$server: init" mb init
	run mb backup --json
	GOOD=$(json backup.id <<<"$out")
	ok "$server: undisturbed" same "$GOOD"
	if [ $server = ceph ]
	then
		untold_tags
	else
		harm 'mode=shorten&methods=GET&match=metadata=true'
		run mb backup --type full --json
		is "$status" 0 "$server: every page with metadata broken: the backup asks for pages without"
		harm
		ok "$server: and is whole" same "$(json backup.id <<<"$out")"
		ok "$server: there were such pages" test "$(harm_done)" -gt 0
	fi
	for round in $(seq $rounds)
	do
		under "shorter bodies" "mode=shorten&p=0.2&$objects"
		under "shorter answers of any sort" "mode=shorten&p=0.1&methods=GET"
		under "bodies with a part twice" "mode=duplicate&p=0.2&$objects"
		under "bodies with another bit" "mode=flip&p=0.3&methods=GET&match=small/"
		under "silence, longer than is waited for" "mode=stall&p=0.1&seconds=2"
		under "lost answers" "mode=lost&p=0.1"
		under "done, but said to have failed" "mode=error200_done&p=0.1&methods=PUT,POST" "mode=reset_after&p=0.1"
		under "answers that end in the middle" "mode=truncate&p=0.1"
	done
done
done_testing
