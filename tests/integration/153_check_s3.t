#!/bin/bash
# Every condition of "mbackup check" about buckets, as the repository and as what is protected, provoked on Ceph, and
# behind a proxy that moves its clock, cuts listings short or says that it is MinIO. Where boto3 can do what the fix
# says, it does, and then nothing is wrong any more.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
stack_begin
. "$here/tests/lib/check.sh"
s3_ceph || exit 1
export S3_DIRECT=$S3_ENDPOINT
judge mkbucket repository
judge mkbucket shop
# The paths of MinIO's admin API lie in it; there is nothing there.
judge mkbucket minio
s3_proxy || exit 1
section() { printf '\n[objects:%s]\nurl = s3://%s\n' "$1" "$1"; s3_keys; }
{
	printf '[global]\nspool = %s/spool\n[repository]\nurl = s3://repository/stack\nencryption = none\n' "$T"
	s3_keys
	section shop
} >"$CONF"
chmod 600 "$CONF"
export PATH=$BUILD:$PATH MBACKUP_CONFIG=$CONF
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

look
is_well repository.server
found objects.permissions skipped
found objects.versioning warning "keeps no versions"
found repository.encryption warning
judge set shop put_bucket_versioning '{"VersioningConfiguration": {"Status": "Enabled"}}' >/dev/null
judge put shop o text:x >/dev/null
judge set shop put_bucket_lifecycle_configuration '{"LifecycleConfiguration": {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]}}' >/dev/null
fault 'mode=clock&offset=1200'
look
found repository.clock warning
found objects.clock warning
found objects.lifecycle warning "after 1 day"
is_well objects.versioning
fault mode=none
judge set shop put_bucket_lifecycle_configuration '{"LifecycleConfiguration": {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}]}}' >/dev/null
look
is_well objects.lifecycle
is_well objects.clock
is_well repository.clock
is_well objects.permission

# -- rights, listings ------------------------------------------------------------------------------------------------
echo '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": ["arn:aws:s3:::shop/*"]}]}' >"$T/policy"
ok "a policy that denies" judge policy shop "$T/policy"
look
found objects.permission failed "s3:GetObjectVersion"
like "$FIX" "Allow s3:GetObjectVersion on arn:aws:s3:::shop/\*" "... with the resource"
sed -i 's/Deny/Allow/' "$T/policy"
judge policy shop "$T/policy"
fault 'mode=shorten&methods=GET&match=^/shop.*versions'
look
found objects.listing failed
fault mode=none

# -- what the bucket of the repository is --------------------------------------------------------------------------------
judge set repository put_bucket_versioning '{"VersioningConfiguration": {"Status": "Enabled"}}' >/dev/null
look
found repository.server warning "If-None-Match"
found repository.server-changed warning
fault mode=minio
sed -i '/^\[objects:shop\]/a iam = yes\nconsistency = journalled\njournal = host=/nonexistent dbname=postgres' "$CONF"
look
found repository.versions warning "by their id"
found objects.minio-version skipped
found objects.iam failed
found objects.journal failed
fault mode=none
sed -i '/^iam/d; /^consistency/d; /^journal/d' "$CONF"
judge set repository put_bucket_versioning '{"VersioningConfiguration": {"Status": "Suspended"}}' >/dev/null
sed -i '/^\[repository\]/a object-lock = governance' "$CONF"
look
found repository.object-lock failed
sed -i '/^object-lock/d' "$CONF"
look
is_silent repository.object-lock
sed -i 's|s3://shop|s3://nobody|' "$CONF"
look
found objects.reachable failed
judge mkbucket nobody
look
is_well objects.reachable
known_findings
done_testing
