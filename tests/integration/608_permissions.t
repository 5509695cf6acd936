#!/bin/bash
# The permissions that docs/objects.md lists are enough for a repository in a bucket, for the backup of a bucket and for
# its restore, on MinIO. With any one of them left out a command does the whole of it all the same, or it says what was
# denied: no backup leaves anything out in silence, as boto3 sees what comes back.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
[ -n "$S3_PYTHON" ] || skip_all "no python3 with boto3"
s3_has_minio || skip_all "no minio on the PATH, and MBACKUP_TEST_MINIO names none"
stack_begin
s3_minio || exit 1

listed() { sed -n "/^$1 needs/,/^\$/p" "$here/docs/objects.md" | grep -o 's3:[A-Za-z]*' | sort -u; }
all_but() { local p; for p in $2; do [ "$p" = "$1" ] || echo "$p"; done; }

number=0
# A key that may do so much: $S3_USER.
user() # permission...
{
	number=$((number + 1))
	S3_USER=user$number
	printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": ["arn:aws:s3:::*"], "Action": [%s]}]}' \
		"$(printf '"%s",' "$@" | sed 's/,$//')" >"$T/policy"
	s3_user "$S3_USER" "$S3_USER-secret" "$T/policy"
}
keys_of() { S3_ACCESS=$1 S3_SECRET=${2:-$1-secret} s3_keys; }
config() # repository-url repository-user bucket-user
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$1"
		[[ $1 != s3:* ]] || keys_of $2
		printf '[objects:shop]\nurl = s3://shop\nclock-margin = 200ms\n'
		keys_of $3
	} >"$CONF"
	chmod 600 "$CONF"
}
root="$S3_ACCESS $S3_SECRET"
denied='AccessDenied|[Aa]ccess [Dd]enied|permission|denied|answered 403'

judge mkbucket repository
judge mkbucket shop lock
judge put shop tagged random:5000 --tags a=b --meta c=d >/dev/null
judge put shop tagged random:6000 --retain governance=864000 >/dev/null
judge put shop held random:10 --hold >/dev/null
judge multipart shop parts 5242880 1000 --meta e=f >/dev/null
judge put shop gone text:x >/dev/null
judge del shop gone >/dev/null
judge set shop put_bucket_tagging '{"Tagging": {"TagSet": [{"Key": "x", "Value": "y"}]}}' >/dev/null
sleep 1.5
judge dump shop >"$T/was"

repository=$(listed "A repository in a bucket" | grep -E ':(PutObject|GetObject|ListBucket|DeleteObject)$')

# -- a repository ------------------------------------------------------------------------------------------
uses_repository() # command by command, until one fails
{
	run mb init && [ "$status" = 0 ] &&
		{ run mb backup; [ "$status" = 0 ]; } && { run mb verify --read-data full; [ "$status" = 0 ]; } &&
		{ run mb list; [ "$status" = 0 ]; } &&
		{ run mb restore --component "shop=file://$T/files$number" --yes; [ "$status" = 0 ]; }
}
user $repository
config "s3://repository/all" "$S3_USER" "$root"
ok "a repository needs $(wc -w <<<"$repository") permissions" uses_repository
for permission in $repository
do
	user $(all_but $permission "$repository")
	config "s3://repository/$number" "$S3_USER" "$root"
	if uses_repository
	then
		result "a repository without $permission: works all the same" 0
	else
		like "$err" "$denied" "a repository without $permission: exit $status, and says what was denied"
	fi
done

# -- a key that may not delete -----------------------------------------------------------------------------
# It cannot remove the past; init and backups work with it, and what removes is run with another one.
user $(all_but s3:DeleteObject "$repository")
config "s3://repository/kept" "$S3_USER" "$root"
run mb init
is "$status" 0 "init with a key that may not delete"
like "$err" 'warning.*may not remove objects.*expire.* needs another key' "... says so"
run mb backup
is "$status" 0 "... a backup"
tried() { judge ls repository kept/probe/ | grep -c probe/; }
before=$(tried)
run mb check
like "$out" 'skipped +repository +repository.server .*may not remove objects' "check tells it"
is "$(tried)" "$before" "... and leaves nothing more behind"
run mb verify --read-data full
is "$status" 0 "... all is whole"

# -- a key slot that may not be read is no passphrase that does not fit ------------------------------------
user $repository
config "s3://repository/sealed" "$S3_USER" "$root"
head -c 48 /dev/urandom >"$T/key"; chmod 600 "$T/key"
sed -i "s|^encryption = none|key-file = $T/key|" "$CONF"
ok "init, encrypted" mb init
number=$((number + 1)); S3_USER=user$number
printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": ["arn:aws:s3:::*"], "Action": ["s3:*"]}, {"Effect": "Deny", "Resource": ["arn:aws:s3:::repository/sealed/keys/*"], "Action": ["s3:GetObject"]}]}' >"$T/policy"
s3_user "$S3_USER" "$S3_USER-secret" "$T/policy"
config "s3://repository/sealed" "$S3_USER" "$root"
sed -i "s|^encryption = none|key-file = $T/key|" "$CONF"
run mb list
is "$status" 7 "a key slot that the server refuses"
like "$err" 'keys/.*Access.?Denied' "... is what is said"
unlike "$err" 'does not open the repository' "... and not that the key is wrong"

# -- the backup of a bucket ----------------------------------------------------------------------------------
restored() # as root, into a new bucket
{
	config "$T/repo" "" "$root"
	mb restore "$1" --component "shop=s3://copy$number" --yes && judge dump "copy$number" | diff "$T/was" -
}
backs_up() # name
{
	config "$T/repo" "" "$S3_USER"
	run mb backup --type full --json
	if [ "$status" = 0 ] && [ "$(json backup.components.0.warnings <<<"$out")" = "[]" ]
	then
		ok "$1: the backup is whole" restored "$(json backup.id <<<"$out")"
	else
		like "$out$err" "$denied" "$1: exit $status, and says what was denied"
	fi
}
config "$T/repo" "" "$root"
mb init >/dev/null 2>&1
backup=$(listed "A backup")
user $backup
backs_up "backup with the $(wc -w <<<"$backup") of the list"
is "$status" 0 "... exit 0"
for permission in $backup
do
	user $(all_but $permission "$backup")
	backs_up "backup without $permission"
done

# -- its restore ------------------------------------------------------------------------------------------------
config "$T/repo" "" "$root"
run mb backup --json
id=$(json backup.id <<<"$out")
restores() # name
{
	config "$T/repo" "" "$S3_USER"
	run mb restore "$id" --component "shop=s3://copy$number" --yes
	if [ "$status" = 0 ]
	then
		judge dump "copy$number" >"$T/is"
		ok "$1: all is there" diff "$T/was" "$T/is"
	else
		like "$out$err" "$denied" "$1: exit $status, and says what was denied"
	fi
}
restore=$(listed "A restore")
user $restore
restores "restore with the $(wc -w <<<"$restore") of the list"
is "$status" 0 "... exit 0"
for permission in $restore
do
	user $(all_but $permission "$restore")
	restores "restore without $permission"
done
done_testing
