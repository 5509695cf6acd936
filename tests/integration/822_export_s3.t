#!/bin/bash
# A bucket in an archive and back: contents, headers, user metadata and tags of what is current, keys that no file
# can have, large objects in parts, judged by boto3; old archives are uploaded as the scripts did it. Memory
# stays bounded whatever the size of an object.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin
s3_ceph || { echo "Bail out! no Ceph"; exit 1; }
judge mkbucket uploads versioning && judge mkbucket archives || exit 1
mkdir "$T/work"
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$T/repo"
	printf '[objects:pictures]\nurl = s3://uploads\n'; s3_keys
} >"$T/mbackup.conf"
chmod 600 "$T/mbackup.conf"
judge put uploads plain text:one --meta colour=red --header content-type=text/x-test --tags 'x=1&y=a%20b' >/dev/null
judge put uploads plain text:two --meta colour=blue --header content-type=text/x-test --header cache-control=no-store --tags 'x=2' >/dev/null
judge put uploads gone text:gone >/dev/null; judge del uploads gone >/dev/null
judge put uploads a text:file >/dev/null; judge put uploads a/b text:below >/dev/null; judge put uploads a/ text: >/dev/null
for key in '../up' '/lead' 'x//y' 'tr/' 'dot/./x' 'pct%41' $'nl\nx' 'käse ü' 'back\slash' "$(printf 'l%.0s' $(seq 300))"; do judge put uploads "$key" "text:$key" >/dev/null; done
judge put uploads big random:20000000 --meta size=big >/dev/null
judge put uploads empty text: >/dev/null
run mb init
is "$status" 0 "init"
run mb backup
is "$status" 0 "backup"
[ "$status" = 0 ] || diag "$err"
want=$(judge dump uploads --current --drop id,mtime,etag)
run mb export "$T/x.tar.gz"
is "$status" 0 "export"
[ "$status" = 0 ] || diag "$err"
mkdir "$T/o"
ok "tar opens it" tar -xzf "$T/x.tar.gz" -C "$T/o"
ok "nothing of it is outside" test ! -e "$T/up"
ok "sha256sum -c" bash -c "cd '$T/o' && sha256sum -c --quiet --strict metadata/SHA256SUMS"
is "$(cat "$T/o/minio/uploads/plain")" two "the folder has the bucket's name, and what was current"
is "$(find "$T/o/minio" -name 'gone*')" "" "... and not what was deleted"
python3 - "$T/o" <<'PY' 2>"$T/index.err"
import json, os, sys
lines = [json.loads(l) for l in open(sys.argv[1] + "/metadata/minio/uploads.jsonl", encoding="utf-8")]
for item in lines:
    data = open(os.path.join(sys.argv[1], item["file"]), "rb").read()
    if item["key"] in ("../up", "/lead", "x//y", "tr/", "dot/./x", "pct%41", "nl\nx", "käse ü", "back\\slash"):
        assert data.decode() == item["key"], item
plain = [i for i in lines if i["key"] == "plain"][0]["meta"]
assert plain["user"] == {"colour": "blue"} and plain["headers"]["cache-control"] == "no-store", plain
PY
is "$?" 0 "the index says keys and metadata"
run mb import "$T/x.tar.gz" --yes
is "$status" 4 "into a bucket that holds something"
run mb import "$T/x.tar.gz" --yes --component pictures=s3://fresh
is "$status" 0 "import into a bucket that is made"
[ "$status" = 0 ] || diag "$err"
is "$(judge dump fresh --current --drop id,mtime,etag)" "$want" "boto3: contents, headers, metadata and tags are the same"
judge put fresh plain text:three >/dev/null; judge put fresh other text:other >/dev/null
run mb import "$T/x.tar.gz" --yes --force --component pictures=s3://fresh
is "$status" 0 "--force over it"
is "$(judge ls fresh | wc -l)" "$(($(wc -l <<<"$want") + 1))" "... replaces keys, and leaves others"
run mb import "$T/x.tar.gz" --yes --component "pictures=$T/files"
is "$status" 3 "into a directory: what can be no file is left out, and said"
like "$out" "keys of .minio/uploads/. cannot be names of files" "... with a warning"
is "$(cat "$T/files/plain" "$T/files/käse ü")" "twokäse ü" "... the rest is there"

# -- the scripts' upload ------------------------------------------------------------------------------------
run env BACKUP_DIR="$T/backups" S3_BACKUP=true S3_BUCKET=archives S3_ENDPOINT="$S3_ENDPOINT" S3_ACCESS_KEY="$S3_ACCESS" S3_SECRET_KEY="$S3_SECRET" \
	COMPRESS=false "$MBACKUP" --config "$T/mbackup.conf" compat backup
is "$status" 0 "S3_BACKUP"
[ "$status" = 0 ] || diag "$err"
judge get archives "$(basename "$out")" >"$T/uploaded"
ok "the archive is in the bucket, in parts" cmp "$out" "$T/uploaded"
is "$(judge get archives "$(basename "$out").sha256")" "$(cat "$out.sha256")" "... with its sum"
run env BACKUP_DIR="$T/backups" S3_BACKUP=true S3_BUCKET=archives S3_ENDPOINT="$S3_ENDPOINT" S3_ACCESS_KEY="$S3_ACCESS" S3_SECRET_KEY=wrong-secret \
	"$MBACKUP" --config "$T/mbackup.conf" compat backup
is "$status" 7 "a wrong key"
like "$err" "The archive is in \"$T/backups/backup-" "... says where the archive is all the same"
is "$(grep -c wrong-secret <<<"$err")" 0 "... and not the key"

# -- memory ---------------------------------------------------------------------------------------------------
mib=64; [ -n "${MBACKUP_LONG:-}" ] && mib=1024
mkdir "$T/large"
head -c $((mib << 20)) /dev/urandom >"$T/large/one"
printf '[global]\nspool = %s/spool2\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n[objects:large]\nurl = file://%s\n' "$T" "$T/repo2" "$T/large" >"$T/large.conf"
"$MBACKUP" --config "$T/large.conf" init >/dev/null 2>&1 && "$MBACKUP" --config "$T/large.conf" backup >/dev/null 2>&1
peak() # command... -> "KiB status"
{
	python3 - "$@" <<'PY'
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)
PY
}
export MBACKUP_EXPORT_PASSPHRASE=x
read -r kib code < <(peak "$MBACKUP" --config "$T/large.conf" export "$T/large.tar.enc")
is "$code $((kib < 65536))" "0 1" "export of an object of $mib MiB: peak $((kib / 1024)) MiB"
read -r kib code < <(peak "$MBACKUP" --config "$T/large.conf" import --yes --component "large=$T/large2" "$T/large.tar.enc")
is "$code $((kib < 65536))" "0 1" "import of it: peak $((kib / 1024)) MiB"
ok "... the same" cmp "$T/large/one" "$T/large2/one"
done_testing
