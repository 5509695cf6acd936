#!/bin/bash
# The stream of a MinIO bucket looks at what it heard of, knows nanoseconds, and makes up for what it missed.
# A journalled bucket is cut by the position of its events in the WAL: not a moment's uncertainty is left.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
s3_has_minio || skip_all "no minio on the PATH, and MBACKUP_TEST_MINIO names none"
stack_begin
stack_postgres

(umask 077; echo "a passphrase" >"$T/pass")
export MBACKUP_CONFIG=$T/mbackup.conf
mbackup() { "$BUILD/mbackup" "$@"; }

# The database must be ready for MinIO before MinIO starts, and the bucket's section for both.
config() # [line...]
{
	(
		umask 077
		cat >"$MBACKUP_CONFIG" <<-END
			[global]
			spool = $T/spool
			[repository]
			url = $T/repo
			passphrase-file = $T/pass
			[postgres]
			conninfo = host=$PGHOST port=$PGPORT user=$PGUSER dbname=postgres
			[objects:shop]
			url = s3://shop
			endpoint = ${S3_ENDPOINT:-http://127.0.0.1:1}
			access-key = mbtestaccess
			secret-key = mbtestsecret0123
			scan-interval = 1s
			reconcile-interval = 1h
		END
		printf '%s\n' "$@" >>"$MBACKUP_CONFIG"
	)
}
config
ok "init" mbackup init
run mbackup objects journal install shop
is "$status" 0 "the journal is made in the database"
like "$out" "notify_postgres:mbackup" "and what MinIO has to be told is said"
ok "making it again changes nothing" mbackup objects journal install shop

s3_minio MINIO_NOTIFY_POSTGRES_ENABLE_mbackup=on MINIO_NOTIFY_POSTGRES_FORMAT_mbackup=access \
	MINIO_NOTIFY_POSTGRES_TABLE_mbackup=object_inbox MINIO_API_SYNC_EVENTS=on \
	"MINIO_NOTIFY_POSTGRES_CONNECTION_STRING_mbackup=host=$PGHOST port=$PGPORT dbname=postgres user=mbackup_minio sslmode=disable search_path=mbackup" || exit
config
judge mkbucket shop versioning >/dev/null
for i in 1 2 3; do judge put shop "first/$i" <(echo "$i") >/dev/null; done

# -- what is heard --------------------------------------------------------------------------------------

"$BUILD/mbackup" stream --component shop 2>"$T/stream.log" &
STREAM=$!
stack_owns $STREAM
shown() { mbackup objects ls shop --json | grep -q "\"key\":\"$1\""; }
wait_for 20 shown first/3
sleep 3
judge put shop heard/one <(echo one) >/dev/null
ok "an object that was heard of is in the repository soon" wait_for 20 shown heard/one
# A version's time is the server's, to the nanosecond: no listing tells more than milliseconds.
micros=$(mbackup objects ls shop heard/one --json | grep -o '"modified":"[^"]*"' | sed 's/.*\.\([0-9]*\)Z"/\1/')
# Builds of MinIO since 2025-10-23 keep to themselves what they should tell.
if grep -q 'says nothing to listeners' "$T/stream.log"
then
	result "its time is known beyond the millisecond # SKIP this minio says nothing to listeners" 0
else
	ok "its time is known beyond the millisecond ($micros)" [ "${micros#???}" != 000 ]
fi

judge put shop heard/gone <(echo gone) >/dev/null
wait_for 20 shown heard/gone
before=$(date -u +%FT%T.%6NZ)
sleep 2
version=$(mbackup objects ls shop heard/gone --versions --json | grep -o '"version_id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
judge del shop heard/gone --version "$version" >/dev/null
gone() { ! shown heard/gone; }
ok "a version that was erased for good is gone from the newest state" wait_for 20 gone
run mbackup objects ls shop heard/gone --at "$before"
like "$out" heard/gone "and there at a time before"

# Nobody hears what happens while nobody listens: a full listing makes up for it.
stack_kill $STREAM KILL
judge put shop missed/one <(echo one) >/dev/null
"$BUILD/mbackup" stream --component shop 2>>"$T/stream.log" &
STREAM=$!
stack_owns $STREAM
ok "what happened while no stream ran is found" wait_for 20 shown missed/one
for i in $(seq 40); do printf 'put shop burst/%s /dev/null\n' "$i"; done | judge batch >"$T/batch.out" 2>&1
ok "a burst is whole" wait_for 20 shown burst/40
is "$(mbackup objects ls shop burst/ | wc -l)" 40 "to the last object"
run mbackup objects diff shop
is "$status" 0 "bucket and repository are the same"
stack_kill $STREAM
ok "no warning in it" [ "$(grep -v 'says nothing to listeners' "$T/stream.log" | grep -c warning)" = 0 ]

# -- journalled -----------------------------------------------------------------------------------------

config "consistency = journalled"
"$S3_PYTHON" - "$S3_ENDPOINT" <<'PY' >"$T/notify.out" 2>&1
import sys, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="mbtestaccess",
                  aws_secret_access_key="mbtestsecret0123", region_name="us-east-1")
s3.put_bucket_notification_configuration(Bucket="shop", NotificationConfiguration={
    "QueueConfigurations": [{"QueueArn": "arn:minio:sqs::mbackup:postgresql",
                             "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]})
PY
ok "the bucket's events go to the database" [ $? = 0 ]
"$BUILD/mbackup" stream 2>"$T/stream2.log" &
STREAM=$!
stack_owns $STREAM
sleep 4
ok "a backup" mbackup backup --quiet
judge put shop row/0 <(echo 0) >/dev/null
is "$(psql -XAtc 'SELECT count(*) > 0 FROM mbackup.object_event')" t "an event is a row"
is "$(psql -XAtc 'SELECT count(*) FROM mbackup.object_inbox')" 0 "and the inbox stays empty"
run mbackup check --component shop
like "$out" "ok +shop +objects.journal" "check sees the journal"

# Just before and just after a mark: the margin of a second would take both.
exact=0
for i in 1 2 3 4 5
do
	judge put shop "row/$i-before" <(echo "$i") >/dev/null
	mbackup mark "m$i" --quiet >/dev/null
	judge put shop "row/$i-after" <(echo "$i") >/dev/null
	keys=$(mbackup objects ls shop row/ --at "m$i" | awk '{ print $NF }' | tr '\n' ' ')
	case $keys in
	*"row/$i-before "*) case $keys in *"row/$i-after "*) ;; *) exact=$((exact + 1)) ;; esac ;;
	esac
done
is "$exact" 5 "what came before a mark is in it, what came a moment later is not"
for i in 1 2 3 4 5
do
	keys=$(mbackup objects ls shop row/ --at "m$i" | awk '{ print $NF }' | tr '\n' ' ')
	case $keys in *"row/$i-after "*) exact=0 ;; esac
done
is "$exact" 5 "also when later scans have seen both"
run mbackup backup --json
like "$out" '"consistency":"journalled"' "a backup says what it reached"

# Events that the database did not get are not in the journal: said, and placed by time.
psql -Xqc 'REVOKE INSERT ON mbackup.object_inbox FROM mbackup_minio'
judge put shop lost/event <(echo x) >/dev/null
sleep 2
judge put shop lost/late <(echo x) >/dev/null
psql -Xqc 'GRANT INSERT ON mbackup.object_inbox TO mbackup_minio'
run mbackup backup --json
like "$out" '"consistency":"ordered"' "an event that was lost is noticed"
like "$out" "no event of 1 versions" "and counted"
ok "the object is in the backup all the same" shown lost/event
stack_kill $STREAM
done_testing
