#!/bin/bash
# A repository in a bucket: the store contract holds on real servers, in plain, versioned and locked
# buckets, and with a key that may do only what is needed. Behind a proxy that does harm nothing that was
# acknowledged is lost, as boto3 sees it; what is wrong in the configuration is told with the next step.
BUILD=${BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build}
[ -n "${STACK_STAGED:-}" ] || STACK_STAGE="$BUILD/tests/unit/store_contract_test"
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin
CONTRACT=$BUILD/store_contract_test
[ -x "$CONTRACT" ] || CONTRACT=$BUILD/tests/unit/store_contract_test

contract() # bucket [VARIABLE=VALUE...]
{
	local bucket=$1
	shift
	env CMOCKA_MESSAGE_OUTPUT=TAP S3_BUCKET="$bucket" "$@" "$CONTRACT"
}

# -- the contract ------------------------------------------------------------------------------------
ok "Ceph starts" s3_ceph
judge batch <<-EOF
	mkbucket plain
	mkbucket versioned versioning
	mkbucket locked lock
EOF
ok "Ceph: the contract holds" contract plain
ok "Ceph: also in a versioned bucket, where it ignores If-None-Match" contract versioned

# -- harm --------------------------------------------------------------------------------------------
# What boto3 finds at the server itself is what was acknowledged.
all_there() # file that the storm wrote
{
	local prefix

	prefix=$(head -n 1 "$1" | sed 's,^s3://[^/]*/,,')
	tail -n +2 "$1" | sort >"$T/acknowledged"
	[ "$(wc -l <"$T/acknowledged")" = 32 ] || return 1
	S3_ENDPOINT=$DIRECT judge dump plain "$prefix/storm/" --current >"$T/dump" || return 1
	python3 -c '
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    print(row["key"][len(sys.argv[2]) + 1:], row["sha256"])' "$T/dump" "$prefix" | sort | diff - "$T/acknowledged"
}

storm() # name mode-query...
{
	local name=$1 mode
	shift
	fault "$1"
	shift
	for mode in "$@"
	do
		fault_too "$mode"
	done
	rm -f "$T/storm"
	ok "$S3_SERVER: $name: acknowledged is stored, failed can be put again" contract plain S3_STORM="$T/storm"
	fault mode=none
	ok "$S3_SERVER: $name: boto3 agrees" all_there "$T/storm"
}

DIRECT=$S3_ENDPOINT
s3_proxy
storm "503 SlowDown" "mode=slowdown&p=0.3"
storm "503 without a body" "mode=slowdown_plain&p=0.3"
storm "a storm of 503 every other second" "mode=slowdown&on=1&off=1"
storm "200 with an <Error>" "mode=error200&p=0.3&methods=PUT,POST"
storm "200 with an <Error>, but done" "mode=error200_done&p=0.3&methods=PUT,POST"
storm "answers that end in the middle" "mode=truncate&p=0.3"
storm "answers that stop for a while" "mode=stall&p=0.2&seconds=1"
storm "resets before the request" "mode=reset_before&p=0.3"
storm "resets in the middle of it" "mode=reset_middle&p=0.3&methods=PUT"
storm "resets after the server acted" "mode=reset_after&p=0.3"
storm "lost answers" "mode=lost&p=0.3&methods=PUT,POST"
storm "a clock that is 20 minutes ahead" "mode=clock&offset=1200"
storm "a clock that is 20 minutes behind, and lost answers" "mode=clock&offset=-1200" "mode=lost&p=0.2"
for mode in slowdown error200 error200_done truncate reset_before reset_after lost
do
	ok "there was harm: $mode" test "$(fault_count $mode)" -gt 3
done

# -- what is wrong is told ------------------------------------------------------------------------------
number=0
start_init() # option...
{
	number=$((number + 1))
	run timeout 60 "$MBACKUP" --config "$T/init$number.conf" init --spool "$T/spool" --repository-encryption none "$@"
}
init() # expected-status regexp name option...
{
	local want=$1 pattern=$2 name=$3
	shift 3
	start_init "$@"
	is "$status" "$want" "$name: exit $want"
	like "$err" "$pattern" "$name: says so"
}
# The same for what takes its 20 seconds: beside the others, looked at by late_inits.
LATE=""
late_init()
{
	local at=$T/late$number

	printf '%s\n%s\n%s\n' "$1" "$2" "$3" >"$at.want"
	shift 3
	LATE="$LATE $at"
	number=$((number + 1))
	(
		timeout 60 "$MBACKUP" --config "$at.conf" init --spool "$T/spool" --repository-encryption none "$@" 2>"$at.err"
		echo $? >"$at.status"
	) >/dev/null &
}
late_inits()
{
	local at want pattern name

	for at in $LATE
	do
		{ read -r want; read -r pattern; read -r name; } <"$at.want"
		wait_for 60 test -s "$at.status"
		is "$(cat "$at.status")" "$want" "$name: exit $want"
		like "$(cat "$at.err")" "$pattern" "$name: says so"
	done
}
s3_use ceph
printf '%s\n' "$S3_SECRET" >"$T/secret"
printf 'wrong\n' >"$T/wrong"
chmod 600 "$T/secret" "$T/wrong"
there="--repository-endpoint $S3_ENDPOINT"
keys="--repository-access-key $S3_ACCESS --repository-secret-key-file $T/secret"
init 2 's3://bucket' "no bucket in the url" --repository-url s3:// $there $keys
init 2 's3://bucket' "an empty bucket name" --repository-url s3:///x $there $keys
init 2 'some/prefix' "a prefix that climbs" --repository-url s3://plain/../x $there $keys
init 10 'there is no bucket "nowhere"' "a bucket that is missing" --repository-url s3://nowhere/x $there $keys
init 2 'no credentials' "no keys" --repository-url s3://plain/a $there
init 7 'InvalidAccessKeyId' "an unknown key" --repository-url s3://plain/a $there --repository-access-key nobody --repository-secret-key-file "$T/secret"
init 7 'SignatureDoesNotMatch' "a wrong secret" --repository-url s3://plain/a $there --repository-access-key "$S3_ACCESS" --repository-secret-key-file "$T/wrong"
init 2 'no secret-key' "a key without its secret" --repository-url s3://plain/a $there --repository-access-key "$S3_ACCESS"
init 2 'endpoint "ftp://' "an endpoint that is none" --repository-url s3://plain/a --repository-endpoint ftp://x $keys
late_init 5 'refused|connect' "nobody at the endpoint" --repository-url s3://plain/a --repository-endpoint "http://127.0.0.1:$(free_port)" $keys
late_init 5 'TLS' "https to a port that speaks http" --repository-url s3://plain/a --repository-endpoint "https://${S3_ENDPOINT#http://}" $keys
init 4 'not empty' "a prefix that is in use" --repository-url s3://plain/contract $there $keys
init 2 'object-lock-days' "a lock for no time" --repository-url s3://plain/a $there $keys --repository-object-lock governance --repository-object-lock-days auto

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/tls.key" -out "$T/tls.pem" -days 2 -subj /CN=127.0.0.1 \
	-addext subjectAltName=IP:127.0.0.1 >/dev/null 2>&1
s3_proxy --tls "$T/tls.pem" "$T/tls.key"
init 2 'certificate' "a certificate that nobody vouches for" --repository-url s3://plain/tls --repository-endpoint "$S3_ENDPOINT" $keys
init 0 '' "with ca-file" --repository-url s3://plain/tls --repository-endpoint "$S3_ENDPOINT" --repository-ca-file "$T/tls.pem" $keys
run grep -c -e "^ca-file = $T/tls.pem" -e "^secret-key-file = $T/secret" -e "^endpoint = https" "$T/init$number.conf"
is "$out" 3 "init writes the way there into the file"
late_init 5 '.' "http to a port that speaks TLS" --repository-url s3://plain/tls2 --repository-endpoint "${S3_ENDPOINT/https/http}" $keys

s3_use ceph
export MBACKUP_REPOSITORY_ACCESS_KEY=$S3_ACCESS MBACKUP_REPOSITORY_SECRET_KEY=$S3_SECRET
init 0 '' "keys from the environment" --repository-url s3://plain/env $there
is "$(grep -c "$S3_SECRET" "$T/init$number.conf")" 0 "init writes no secret of the environment"
unset MBACKUP_REPOSITORY_ACCESS_KEY MBACKUP_REPOSITORY_SECRET_KEY

late_inits

init 0 'does not keep If-None-Match' "a bucket where a name may be written twice" --repository-url s3://versioned/init $there $keys
init 0 '' "a bucket with object lock" --repository-url s3://locked/init $there $keys --repository-object-lock governance
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'ok +repository +repository.object-lock +.*locked for 30 days' "check tells of the lock"
mkdir "$T/tree"
printf '\n[files:tree]\npaths = %s/tree\n[retention]\nlast = 1\n' "$T" >>"$T/init$number.conf"
saved() { MBACKUP_SPOOL=$T/tree-spool "$MBACKUP" --config "$T/init$number.conf" "$@"; }
for i in 1 2 3; do head -c 200000 /dev/urandom >"$T/tree/f"; saved backup >/dev/null 2>&1; done
run saved expire
is "$status $(grep -c 'kept: the bucket locks it until' <<<"$out")" "0 3" "expire leaves alone what the bucket locks, and says until when"
sed -i 's,^url = .*,url = s3://plain/env,; /^id =/d' "$T/init$number.conf"
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'failed +repository +repository.object-lock +.*has no object lock' "and that there can be none"
sed -i '/^object-lock/d' "$T/init$number.conf"
# The store tells the time to half a second: what is nearer to the beginning of the window is inside.
for i in 1 2 3; do head -c 200000 /dev/urandom >"$T/tree/f"; saved backup >/dev/null 2>&1; sleep 1.5; done
before=$(judge ls plain env/packs/ | grep -c packs/)
run saved expire --grace 0s --yes
is "$status $(saved list --json | json backups | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" "0 1" "expire in a bucket: one backup is left"
packs_go() { sleep 3; saved expire --grace 0s --yes && [ "$(judge ls plain env/packs/ | grep -c packs/)" = 1 ]; }
ok "and its packs alone, of $before" wait_for 60 packs_go
run saved verify --read-data full
is "$status" 0 "which are whole"

# -- what the server was found to do ---------------------------------------------------------------------
judge mkbucket tried
init 0 '' "a bucket to be tried out" --repository-url s3://tried/shop $there $keys
probes() { judge ls tried shop/probes/ | grep -c probes/; }
is "$(probes)" 1 "what its server does stands in the repository"
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'ok +repository +repository.server +Ceph keeps what a repository needs' "check tries it out again"
is "$(probes)" 1 "and keeps only what is new"
judge versioning tried Enabled
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'warning +repository +repository.server-changed +.*conditional_put: false, was true' "check finds a bucket that changed"
like "$out" 'warning +repository +repository.server +.*does not keep If-None-Match' "and what that means"
is "$(probes)" 2 "what it does now is kept"
run "$MBACKUP" --config "$T/init$number.conf" check
is "$(grep -c server-changed <<<"$out")" 0 "the change is told once"
echo left >"$T/left"
judge put tried shop/probe/0123456789abcdef/b "$T/left"
run "$MBACKUP" --config "$T/init$number.conf" verify --read-data full
is "$status" 0 "what a killed trial left is no damage"
judge put tried other/probe/0123456789abcdef/b "$T/left"
init 0 '' "nor in the way of a new repository" --repository-url s3://tried/other $there $keys

# -- MinIO -----------------------------------------------------------------------------------------------
if ! s3_has_minio
then
	result "# SKIP no minio" 0
	done_testing
fi
ok "MinIO starts" s3_minio
judge batch <<-EOF
	mkbucket plain
	mkbucket versioned versioning
	mkbucket locked lock
EOF
cat >"$T/policy" <<-EOF
	{"Version": "2012-10-17", "Statement": [
	 {"Effect": "Allow", "Resource": ["arn:aws:s3:::*"], "Action": ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject",
	  "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation",
	  "s3:GetBucketVersioning"]},
	 {"Effect": "Deny", "Resource": ["arn:aws:s3:::*"], "Action": ["s3:PutObject"], "Condition": {"StringLike": {"s3:versionid": "?*"}}}]}
EOF
ok "a user who may do what a repository needs" s3_user repository repository-secret "$T/policy"
ok "MinIO: the contract holds for this user" contract plain S3_ACCESS=repository S3_SECRET=repository-secret
ok "MinIO: and with locks" contract locked S3_LOCK=governance
judge dump locked contract --no-data | grep '"key": "contract/[^"]*/packs/' >"$T/packs"
is "$(grep -c '"retention": \["GOVERNANCE"' "$T/packs")" "$(grep -vc '"marker"' "$T/packs")" "packs are locked, boto3 says"
like "$(wc -l <"$T/packs")" '^[1-9]' "there are some"
there="--repository-endpoint $S3_ENDPOINT"
init 0 '' "a versioned bucket" --repository-url s3://versioned/init $there $keys
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'warning +repository +repository.versions +this key can replace' "check warns of a key that can replace versions"
like "$out" 'fix: .*"s3:versionid": "\?\*"' "and prints the policy that forbids it"
printf 'repository-secret\n' >"$T/secret"
sed -i 's,^access-key = .*,access-key = repository,' "$T/init$number.conf"
run "$MBACKUP" --config "$T/init$number.conf" check
like "$out" 'ok +repository +repository.versions +this key cannot' "with that policy it cannot"
DIRECT=$S3_ENDPOINT
s3_proxy
storm "everything at once" "mode=slowdown&p=0.1" "mode=error200_done&p=0.1&methods=PUT,POST" "mode=truncate&p=0.1" \
	"mode=reset_before&p=0.1" "mode=reset_after&p=0.1" "mode=lost&p=0.1" "mode=clock&offset=1200"
done_testing
