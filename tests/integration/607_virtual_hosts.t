#!/bin/bash
# addressing = virtual: with the bucket in the host name a repository in a bucket and a bucket as a component work as
# they do with the bucket in the path; a proxy that resets every request with the bucket in the path is no harm.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
stack_begin

config() # endpoint addressing
{
	S3_ENDPOINT=$1 s3_keys >"$T/keys"
	{
		printf '[global]\nspool = %s/spool.%s\nworkers = 2\n' "$T" "$S3_SERVER"
		printf '[repository]\nurl = s3://repository/%s\nencryption = none\naddressing = %s\n' "$S3_SERVER" "$2"
		cat "$T/keys"
		printf '[objects:shop]\nurl = s3://shop\naddressing = %s\n' "$2"
		cat "$T/keys"
	} >"$CONF"
	chmod 600 "$CONF"
}

# libcurl finds any name below .localhost on this machine.
both() # server domain
{
	local server=$1 domain=$2 direct=$S3_ENDPOINT

	judge mkbucket repository
	judge mkbucket shop versioning
	judge put shop 'a b/c+d' random:70000 --meta x=y >/dev/null
	judge put shop 'a b/c+d' random:80000 --tags 'a=b' >/dev/null
	judge put shop plain text:x >/dev/null
	s3_proxy
	fault 'mode=reset_before&match=^/(shop|again|repository)([/?]|$)'
	config "http://$domain:${S3_ENDPOINT##*:}" virtual
	run mb init
	is "$status" 0 "$server: init"
	[ "$status" = 0 ] || diag "$err"
	run mb backup
	is "$status" 0 "$server: backup"
	run mb verify --read-data full
	is "$status" 0 "$server: verify"
	run mb restore --component shop=s3://again --yes
	is "$status" 0 "$server: restore into a bucket that is made for it"
	[ "$status" = 0 ] || diag "$err"
	S3_ENDPOINT=$direct judge dump shop --drop id,mtime,etag >"$T/was"
	S3_ENDPOINT=$direct judge dump again --drop id,mtime,etag >"$T/is"
	ok "$server: what came back is what there was" diff "$T/was" "$T/is"
	is "$(wc -l <"$T/is")" 3 "$server: all of it"
	is "$(fault_count reset_before)" 0 "$server: no request had its bucket in the path"
	run mb check
	like "$out" "ok +shop +objects.reachable" "$server: check"
	config "http://$domain:${S3_ENDPOINT##*:}" path
	run timeout 60 "$MBACKUP" --config "$CONF" check
	[ "$status" != 0 ] && [ "$(fault_count reset_before)" -gt 0 ]
	result "$server: the proxy would have seen one" $?
}

s3_ceph && both Ceph s3.localhost
if s3_has_minio
then
	s3_minio MINIO_DOMAIN=minio.localhost && both MinIO minio.localhost
else
	diag "no MinIO"
fi
done_testing
