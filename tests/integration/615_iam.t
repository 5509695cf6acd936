#!/bin/bash
# The users, groups, policies and service accounts of a MinIO come back on an empty one: who could sign
# in before can again with the old key, and who was shut out still is.  Their secrets are nowhere in the clear, and
# nothing is kept where it could not be kept safely.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
s3_has_minio || skip_all "no MinIO: set MBACKUP_TEST_MINIO"
stack_begin

# config [encryption] [bucket] [line of the section]: of the present server
config()
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s/repo.%s\nencryption = %s\n' \
		"$T" "$T" "${1:-aes-256-gcm}" "${1:-aes-256-gcm}" >"$CONF"
	[ "${1:-}" = none ] || printf 'passphrase-file = %s/passphrase\n' "$T" >>"$CONF"
	printf '[objects:shop]\nurl = s3://%s\niam = yes\n' "${2:-shop}" >>"$CONF"
	s3_keys >>"$CONF"
	[ -z "${3:-}" ] || printf '%s\n' "$3" >>"$CONF"
	chmod 600 "$CONF"
}
echo "a passphrase of this test" >"$T/passphrase"
chmod 600 "$T/passphrase"

# Another MinIO, with nothing in it, in the place of the present one.
fresh()
{
	stack_kill "$S3_MINIO_PID"
	wait "$S3_MINIO_PID" 2>/dev/null
	rm -rf "$T/minio"
	S3_MINIO_URL=
	s3_minio
}

# as KEY SECRET judge-command...: what somebody may do
as() { S3_ACCESS=$1 S3_SECRET=$2 judge "${@:3}" 2>"$T/as.err"; }
may() { [ "$(as "$1" "$2" get shop a)" = one ]; }
may_not() { ! as "$1" "$2" get shop a >/dev/null && grep -Eq 'AccessDenied|InvalidAccessKeyId' "$T/as.err"; }

SECRETS='AliceSecret01 BobSecret0001 CarolSecret01 DaveSecret001 OddSecret0001 RobotSecret01 LimitSecret01 IdleSecret001'
cat >"$T/iam.json" <<'JSON'
{"policies": {
   "reader": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": ["arn:aws:s3:::shop/*", "arn:aws:s3:::shop"],
     "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:GetObjectTagging", "s3:GetObjectVersion"]}]},
   "odd / \u00fc \"quoted\" 'x' $(id)": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::shop/*"]}]}},
 "users": {
   "alice": {"secretKey": "AliceSecret01", "status": "enabled"},
   "bob": {"secretKey": "BobSecret0001", "status": "disabled"},
   "carol": {"secretKey": "CarolSecret01", "status": "enabled"},
   "dave": {"secretKey": "DaveSecret001", "status": "enabled"},
   "odd / \u00fc \"quoted\" 'x' $(id)": {"secretKey": "OddSecret0001", "status": "enabled"}},
 "groups": {
   "shut / \u00fc & ?x": {"version": 1, "status": "disabled", "members": ["carol"]},
   "open": {"version": 1, "status": "enabled", "members": ["dave", "bob"]}},
 "svcaccts": {
   "robot": {"parent": "alice", "accessKey": "robot", "secretKey": "RobotSecret01", "status": "on", "name": "a robot", "description": "of alice"},
   "limited": {"parent": "alice", "accessKey": "limited", "secretKey": "LimitSecret01", "status": "on", "sessionPolicy":
     {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:PutObject", "s3:ListBucket", "s3:DeleteObject"], "Resource": ["arn:aws:s3:::other/*", "arn:aws:s3:::other"]}]}},
   "idle": {"parent": "alice", "accessKey": "idle", "secretKey": "IdleSecret001", "status": "off"}},
 "user_mappings": {
   "alice": {"version": 1, "policy": "reader"}, "bob": {"version": 1, "policy": "reader"},
   "odd / \u00fc \"quoted\" 'x' $(id)": {"version": 1, "policy": "odd / \u00fc \"quoted\" 'x' $(id),reader"}},
 "group_mappings": {
   "shut / \u00fc & ?x": {"version": 1, "policy": "readwrite"}, "open": {"version": 1, "policy": "reader"}}}
JSON

# Who may what, before and after.
everybody() # when
{
	ok "$1: a user with a policy gets an object" may alice AliceSecret01
	ok "$1: a member of a group does" may dave DaveSecret001
	ok "$1: a service account does" may robot RobotSecret01
	ok "$1: a disabled user is refused, in a group or not" may_not bob BobSecret0001
	ok "$1: a member of a disabled group is refused" may_not carol CarolSecret01
	ok "$1: a limited service account is refused" may_not limited LimitSecret01
	ok "$1: a disabled service account is refused" may_not idle IdleSecret001
	ok "$1: a wrong secret is refused" bash -c '! "$@"' - may alice BobSecret0001
}
export -f may as judge
export S3_PYTHON here T

# -- capture ----------------------------------------------------------------------------------------

s3_minio || { diag "no MinIO"; exit 1; }
judge mkbucket shop versioning
judge put shop a text:one >/dev/null
config
ok "init" mb init
ok "the judge makes the identities" judge minio-iam "$T/iam.json"
everybody before
judge minio-iam-dump >"$T/was"
run mb check
is "$status" 0 "check is content"
like "$out" 'ok +shop +objects.iam ' "and says that the identities can be read"
run mb backup --json
is "$status" 0 "a backup"
first=$(json backup.id <<<"$out")
run mb backup --json
is "$(json backup.components.0.changed_bytes <<<"$out")" 0 "nothing is stored twice of what did not change"

# A stream makes a commit for each change, and none without one.
scans() { ls "$T/repo.aes-256-gcm/backups/shop" | wc -l; }
config "" "" $'scan-interval = 200ms\nreconcile-interval = 0s'
start_stream
sleep 3
scans_before=$(scans)
sleep 3
is "$(scans)" "$scans_before" "a stream makes no backup of identities that did not change"
judge minio-user erin ErinSecret001 <(echo '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::shop/*"]}]}')
more_scans() { [ "$(scans)" -gt "$scans_before" ]; }
ok "and one when somebody is new" wait_for 20 more_scans
stack_kill "$STREAM"
run mb objects iam shop --json
like "$out" '"name": ?"erin"' "who is in it"
run mb objects iam shop --at "$first" --json
is "$(json iam.differences <<<"$out" | grep -o '"kind": "[a-z]*", "name": "erin[a-z-]*"' | sort -u | wc -l)" 2 "an older backup lacks the user and her policy"

# -- secrets ---------------------------------------------------------------------------------------------

nowhere() # secret
{
	! grep -raF "$1" "$T/repo.aes-256-gcm" "$T/spool" "$T/stream.log" "$T/run.out" "$T/run.err" "$T/show" "$T/show.json"
}
mb objects iam shop >"$T/show" 2>&1
mb objects iam shop --json >"$T/show.json" 2>&1
mb --log-level debug backup >>"$T/show" 2>&1
for secret in $SECRETS
do
	ok "$secret is nowhere in the clear" nowhere "$secret"
done
like "$(cat "$T/show")" 'user +bob, disabled, policy reader' "users are shown with what they are"
like "$(cat "$T/show")" 'group +shut / ü & \?x, disabled, policy readwrite: carol' "groups too"
like "$(cat "$T/show")" 'service account +robot, enabled, named a robot, of alice' "and service accounts"

# -- what is refused ----------------------------------------------------------------------------------------

config none
mb init >/dev/null 2>&1
run mb backup --json
is "$status" 2 "a repository without encryption is refused"
like "$err$out" 'needs an encrypted repository' "that is said"
like "$err$out" 'Write iam = no in \[objects:shop\]' "with what to do"
is "$(find "$T/repo.none/packs" -type f 2>/dev/null | wc -l)" 0 "nothing was read"
run mb check
is "$status" 1 "check finds it too"
like "$out" 'failed +shop +objects.iam .*encrypted' "and says it"

cat >"$T/no-admin" <<'JSON'
{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}
JSON
judge minio-user poor PoorSecret001 "$T/no-admin"
config
sed -i 's/^access-key = .*/access-key = poor/; s/^secret-key = .*/secret-key = PoorSecret001/' "$CONF"
run mb backup
is "$status" 7 "without the permission the backup fails"
like "$err" 'Allow admin:ExportIAM' "and names it"
run mb check
like "$out" 'failed +shop +objects.iam ' "check says it too"
like "$out" 'fix: Allow admin:ExportIAM' "with the permission"
run mb objects iam shop --at "$first" --apply --yes
is "$status" 7 "nor may it import"
like "$err" 'Allow admin:ImportIAM' "which has a name too"
config
run mb objects iam shop --apply </dev/null
is "$status" 2 "an import must be confirmed"
like "$err" 'add --yes' "that is said"

# -- on an empty server --------------------------------------------------------------------------------------

fresh
config
run mb restore "$first" --component shop --yes
is "$status" 0 "the bucket comes back"
like "$out" 'mbackup objects iam shop' "and says that its identities did not"
ok "so nobody may sign in yet" may_not alice AliceSecret01
run mb objects iam shop --at "$first" --json
is "$(json iam.applied <<<"$out")" false "showing does nothing"
like "$out" '"kind": ?"missing"[^}]*"name": ?"alice"' "but tells who is missing"
ok "still nobody" may_not alice AliceSecret01

# Killed before each step, and at some moments in between: nobody may ever do what he could not before.
stopped() { [ "$(fault_count slowdown)" -gt "$stops" ]; }
s3_proxy
config
for step in match=import-iam match=set-group-status 'match=import-iam&skip=1'
do
	stops=$(fault_count slowdown)
	fault "mode=slowdown&p=1&$step"
	"$MBACKUP" --config "$CONF" objects iam shop --at "$first" --apply --yes >>"$T/killed.log" 2>&1 &
	pid=$!
	ok "an import comes to $step" wait_for 20 stopped
	stack_kill "$pid" KILL
	wait "$pid" 2>/dev/null
	ok "killed there, the member of a disabled group has no rights" may_not carol CarolSecret01
done
fault mode=none
s3_use minio
config
for delay in 0.01 0.03 0.05
do
	"$MBACKUP" --config "$CONF" objects iam shop --at "$first" --apply --yes >>"$T/killed.log" 2>&1 &
	pid=$!
	sleep "$delay"
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	ok "nor after $delay s" may_not carol CarolSecret01
done
run mb objects iam shop --at "$first" --apply --yes --json
is "$status" 3 "an import tells that something is left out"
is "$(json iam.left_out <<<"$out" | grep -o '"name": "[a-z]*"')" '"name": "idle"' "the disabled service account, by name"
is "$(json iam.differences <<<"$out" | grep -o '"kind": "[a-z]*"' | sort | uniq -c | xargs)" '1 kind: missing' "and nothing else"
everybody after
judge minio-iam-dump >"$T/is"
ok "everything else is as it was" diff <(grep -v '"idle"' "$T/was") "$T/is"
run mb objects iam shop --at "$first" --apply --yes
is "$status" 3 "it can be done again"
judge minio-iam-dump >"$T/again"
ok "to the same end" diff "$T/is" "$T/again"
for secret in $SECRETS
do
	grep -qaF "$secret" "$T/run.out" "$T/run.err" "$T/killed.log" && diag "$secret is shown"
done
is "$(grep -caF -e AliceSecret01 -e RobotSecret01 "$T/run.out" "$T/run.err" "$T/killed.log" | cut -d: -f2 | sort -u)" 0 "no secret is shown"

# -- over one that has others ----------------------------------------------------------------------------------

fresh
config
judge mkbucket shop versioning
judge put shop a text:one >/dev/null
judge minio-user alice OtherSecret01 "$T/no-admin"
judge minio-user stranger OtherSecret02 "$T/no-admin"
run mb objects iam shop --at "$first"
like "$out" 'changed +user "alice": secretKey' "what differs is named, but not shown"
like "$out" 'extra +user "stranger"' "and what the backup lacks"
mb objects iam shop --at "$first" --apply --yes >/dev/null 2>&1
ok "who was another has the key of the backup" may alice AliceSecret01
ok "and no longer his own" bash -c '! "$@"' - may alice OtherSecret01
ok "who is a stranger stays" may stranger OtherSecret02

# -- a server whose root key is a user of the backup ---------------------------------------------------------

stack_kill "$S3_MINIO_PID"
rm -rf "$T/minio"
S3_MINIO_URL=
s3_minio MINIO_ROOT_USER=alice MINIO_ROOT_PASSWORD=RootSecret001
S3_ACCESS=alice S3_SECRET=RootSecret001
config
run mb objects iam shop --at "$first" --apply --yes
is "$status" 3 "a user with the name of the root key does not stop the import"
like "$out" 'left out +user "alice", mbackup signs with this key' "but is left out, and named"
S3_ACCESS=alice S3_SECRET=RootSecret001 judge mkbucket shop
S3_ACCESS=alice S3_SECRET=RootSecret001 judge put shop a text:one >/dev/null
ok "the others are there" may dave DaveSecret001
ok "and the root key is what it was" may alice RootSecret001

# -- other servers ------------------------------------------------------------------------------------------

if s3_ceph
then
	judge mkbucket shop versioning
	config
	run mb backup
	is "$status" 9 "Ceph: refused"
	like "$err" 'only MinIO' "and why"
	run mb objects iam shop --at "$first" --apply --yes
	is "$status" 9 "Ceph: an import too"
fi
printf '[global]\nspool = %s/spool\n[repository]\nurl = %s/repo.aes-256-gcm\npassphrase-file = %s/passphrase\n[objects:shop]\nurl = file://%s/etc\niam = yes\n' \
	"$T" "$T" "$T" "$T" >"$CONF"
run mb check
is "$status" 2 "a directory has no identities"
like "$err" 'needs a bucket in MinIO' "and that is said"
done_testing
