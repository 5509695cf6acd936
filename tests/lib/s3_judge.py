"""s3_judge.py - what an S3 server holds, as boto3 sees it.

S3_ENDPOINT, S3_ACCESS and S3_SECRET name the server.  A KEY that begins with "url:" is decoded
from %XX.  Keys with "." or ".." segments cannot be judged: urllib3 normalises them away.

    s3_judge.py --help
"""
import argparse
import concurrent.futures
import datetime
import email.header
import hashlib
import io
import json
import os
import random
import shlex
import struct
import sys
import time
import urllib.parse
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.client
import botocore.exceptions
import botocore.handlers
import botocore.httpsession
import botocore.parsers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

THREADS = 8
HEADERS = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "ContentDisposition": "content-disposition",
    "CacheControl": "cache-control",
    "Expires": "expires",
}


def make_client():
    options = dict(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"max_attempts": 5},
        max_pool_connections=THREADS,
    )
    # Later releases send checksums in a trailer, which Ceph 16 does not know.
    try:
        config = botocore.client.Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **options,
        )
    except TypeError:
        config = botocore.client.Config(**options)
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_ACCESS"],
        aws_secret_access_key=os.environ["S3_SECRET"],
        aws_session_token=os.environ.get("S3_TOKEN"),
        region_name="us-east-1",
        verify=os.environ.get("S3_CA") or True,
        config=config,
    )
    # botocore takes what MinIO says to "Expect: 100-continue" for the end of the answer now and then,
    # and then waits for half a minute.
    client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
    return client


def key_of(text):
    return urllib.parse.unquote(text[4:]) if text.startswith("url:") else text


def data_of(source):
    if source == "-":
        return sys.stdin.buffer.read()
    if source.startswith("random:"):
        size, _, seed = source[7:].partition(":")
        return random.Random(seed or size).randbytes(int(size))
    if source.startswith("text:"):
        return source[5:].encode()
    with open(source, "rb") as f:
        return f.read()


def pairs(items):
    return dict(item.split("=", 1) for item in items or [])


def in_seconds(seconds):
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.replace(microsecond=0) + datetime.timedelta(seconds=float(seconds))


def put_arguments(args):
    """What put and multipart have in common."""
    out = {}
    if args.meta:
        out["Metadata"] = pairs(args.meta)
    names = {v: k for k, v in HEADERS.items()}
    for name, value in pairs(args.header).items():
        out[names[name.lower()]] = value
    if args.tags:
        out["Tagging"] = args.tags
    if args.retain:
        mode, seconds = args.retain.split("=")
        out["ObjectLockMode"] = mode.upper()
        out["ObjectLockRetainUntilDate"] = in_seconds(seconds)
    if args.hold:
        out["ObjectLockLegalHoldStatus"] = "ON"
    return out


def version(args):
    return {"VersionId": args.version} if args.version else {}


# -- looking -------------------------------------------------------------------------------------


def decoded(value):
    """MinIO answers values that are not ASCII as RFC 2047 words."""
    return str(email.header.make_header(email.header.decode_header(value)))


def time_text(when):
    return when.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def list_versions(s3, bucket, prefix=""):
    """All versions and markers, newest first within a key."""
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        here = [("object", v) for v in page.get("Versions", [])]
        here += [("marker", v) for v in page.get("DeleteMarkers", [])]
        found += here
    # boto3 takes versions and markers apart: put them in order again.
    found.sort(key=lambda f: f[1]["LastModified"], reverse=True)
    found.sort(key=lambda f: not f[1]["IsLatest"])
    found.sort(key=lambda f: f[1]["Key"].encode())
    return found


def parts_of(s3, bucket, key, which):
    """[[number, size]...] of a multipart object, from MinIO only: Ceph 16 answers the contents."""
    parts, marker = [], 0
    while True:
        answer = s3.get_object_attributes(
            Bucket=bucket,
            Key=key,
            ObjectAttributes=["ObjectParts"],
            MaxParts=1000,
            PartNumberMarker=marker,
            **which,
        )
        found = answer.get("ObjectParts", {})
        parts += [[p["PartNumber"], p["Size"]] for p in found.get("Parts", [])]
        # IsTruncated is not to be trusted when part numbers have holes.
        if len(parts) >= found.get("TotalPartsCount", 0) or not found.get("Parts"):
            return parts
        marker = parts[-1][0]


def describe(s3, bucket, kind, item, args):
    """One version as a dictionary of plain values."""
    key = item["Key"]
    out = {
        "key": key,
        "kind": kind,
        "id": item.get("VersionId", "null"),
        "latest": item["IsLatest"],
        "mtime": time_text(item["LastModified"]),
    }
    if kind == "marker":
        return out
    which = {} if out["id"] == "null" and item["IsLatest"] else {"VersionId": out["id"]}
    out["size"] = item["Size"]
    out["etag"] = item["ETag"].strip('"')
    if args.no_head:
        return out
    if args.no_data:
        answer = s3.head_object(Bucket=bucket, Key=key, **which)
    else:
        answer = s3.get_object(Bucket=bucket, Key=key, **which)
        digest = hashlib.sha256()
        for chunk in answer["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
        out["sha256"] = digest.hexdigest()
    raw = answer["ResponseMetadata"]["HTTPHeaders"]
    out["headers"] = {h: raw[h] for h in HEADERS.values() if raw.get(h)}
    out["user"] = {k.lower(): decoded(v) for k, v in answer.get("Metadata", {}).items()}
    if answer.get("ObjectLockMode"):
        out["retention"] = [
            answer["ObjectLockMode"],
            time_text(answer["ObjectLockRetainUntilDate"]),
        ]
    if answer.get("ObjectLockLegalHoldStatus") == "ON":
        out["hold"] = True
    if int(raw.get("x-amz-tagging-count", 0)) or "minio" not in raw.get("server", "").lower():
        tags = tags_of(s3, Bucket=bucket, Key=key, **which)
        if tags:
            out["tags"] = {t["Key"]: t["Value"] for t in tags}
    if "-" in out["etag"] and "minio" in raw.get("server", "").lower():
        out["parts"] = parts_of(s3, bucket, key, which)
    return out


def tags_of(s3, **which):
    """Ceph's gateway answers 200 without a TagSet now and then, when it is busy."""
    for _ in range(20):
        answer = s3.get_object_tagging(**which)
        if "TagSet" in answer:
            return answer["TagSet"]
        time.sleep(0.5)
    raise KeyError(f"no TagSet: {answer}")


def cmd_dump(s3, args):
    """every version and marker, one line of JSON each; rank 0 is the newest of its key"""
    found = list_versions(s3, args.bucket, args.prefix)
    if args.current:
        found = [f for f in found if f[1]["IsLatest"] and f[0] == "object"]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(lambda f: describe(s3, args.bucket, f[0], f[1], args), found))
    rank, last = 0, None
    for row in rows:
        rank = rank + 1 if row["key"] == last else 0
        last = row["key"]
        row["rank"] = rank
        if args.current:
            del row["rank"], row["latest"]
        for field in args.drop.split(","):
            row.pop(field, None)
        print(json.dumps(row, sort_keys=True))


def cmd_ls(s3, args):
    """current objects: key, size, ETag"""
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=args.bucket, Prefix=args.prefix
    ):
        for item in page.get("Contents", []):
            print(json.dumps(item["Key"])[1:-1], item["Size"], item["ETag"].strip('"'), sep="\t")


def cmd_count(s3, args):
    """how many: current objects, versions, markers"""
    found = list_versions(s3, args.bucket, args.prefix)
    objects = [f for f in found if f[0] == "object"]
    current = [f for f in objects if f[1]["IsLatest"]]
    print(len(current), len(objects), len(found) - len(objects))


def cmd_get(s3, args):
    """contents to stdout"""
    answer = s3.get_object(Bucket=args.bucket, Key=args.key, **version(args))
    for chunk in answer["Body"].iter_chunks(1 << 20):
        sys.stdout.buffer.write(chunk)


def cmd_sha(s3, args):
    """SHA-256 of the contents"""
    answer = s3.get_object(Bucket=args.bucket, Key=args.key, **version(args))
    digest = hashlib.sha256()
    for chunk in answer["Body"].iter_chunks(1 << 20):
        digest.update(chunk)
    print(digest.hexdigest())


def cmd_head(s3, args):
    """headers of the answer, as JSON"""
    answer = s3.head_object(Bucket=args.bucket, Key=args.key, **version(args))
    print(json.dumps(answer["ResponseMetadata"]["HTTPHeaders"], sort_keys=True, indent=1))


def cmd_config(s3, args):
    """the bucket's own configuration, as canonical JSON"""
    calls = {
        "versioning": "get_bucket_versioning",
        "lock": "get_object_lock_configuration",
        "policy": "get_bucket_policy",
        "lifecycle": "get_bucket_lifecycle_configuration",
        "tags": "get_bucket_tagging",
        "encryption": "get_bucket_encryption",
        "cors": "get_bucket_cors",
        "notification": "get_bucket_notification_configuration",
    }
    out = {}
    for name, call in calls.items():
        try:
            answer = getattr(s3, call)(Bucket=args.bucket)
        except botocore.exceptions.ClientError as e:
            answer = {"none": e.response["Error"]["Code"]}
        except botocore.parsers.ResponseParserError:
            # Ceph 16 answers a listing to what it does not know.
            answer = {"none": "NotImplemented"}
        answer.pop("ResponseMetadata", None)
        if "Policy" in answer:
            answer["Policy"] = json.loads(answer["Policy"])
        out[name] = answer
    print(json.dumps(out, sort_keys=True, indent=1, default=str))


def cmd_buckets(s3, args):
    """names of all buckets"""
    for bucket in s3.list_buckets()["Buckets"]:
        print(bucket["Name"])


def cmd_date(s3, args):
    """the server's Date, in seconds since 1970"""
    date = s3.list_buckets()["ResponseMetadata"]["HTTPHeaders"]["date"]
    print(int(email.utils.parsedate_to_datetime(date).timestamp()))


# -- changing ------------------------------------------------------------------------------------


def cmd_mkbucket(s3, args):
    """make a bucket; "versioning" and "lock" may follow"""
    s3.create_bucket(Bucket=args.bucket, ObjectLockEnabledForBucket="lock" in args.what)
    if "versioning" in args.what and "lock" not in args.what:
        set_versioning(s3, args.bucket, "Enabled")


def set_versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def cmd_versioning(s3, args):
    """Enabled or Suspended"""
    set_versioning(s3, args.bucket, args.status.capitalize())


def cmd_put(s3, args):
    """SOURCE: a file, "-", "text:...", or "random:BYTES[:SEED]"; prints the version id"""
    answer = s3.put_object(
        Bucket=args.bucket, Key=args.key, Body=data_of(args.source), **put_arguments(args)
    )
    print(answer.get("VersionId", "null"))


def cmd_multipart(s3, args):
    """parts of SIZE random bytes each (NUMBER:SIZE for a part number); prints the version id"""
    upload = s3.create_multipart_upload(
        Bucket=args.bucket, Key=args.key, **put_arguments(args)
    )["UploadId"]
    parts = []
    for i, size in enumerate(args.sizes):
        number, _, size = size.rpartition(":")
        number = int(number or i + 1)
        answer = s3.upload_part(
            Bucket=args.bucket,
            Key=args.key,
            UploadId=upload,
            PartNumber=number,
            Body=random.Random(f"{args.seed}/{number}").randbytes(int(size)),
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    if args.leave:
        print(upload)
        return
    answer = s3.complete_multipart_upload(
        Bucket=args.bucket, Key=args.key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    print(answer.get("VersionId", "null"))


def cmd_fill(s3, args):
    """COUNT objects of BYTES random bytes each: PREFIX00000000, ..."""

    def one(i):
        body = random.Random(f"{args.seed}/{i}").randbytes(args.bytes)
        s3.put_object(Bucket=args.bucket, Key=f"{args.prefix}{i:08d}", Body=body)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, range(args.start, args.start + args.count)):
            pass


def cmd_del(s3, args):
    """delete: a marker in a versioned bucket, or one version; prints the id"""
    bypass = {"BypassGovernanceRetention": True} if args.bypass else {}
    answer = s3.delete_object(Bucket=args.bucket, Key=args.key, **version(args), **bypass)
    print(answer.get("VersionId", "null"))


def cmd_tag(s3, args):
    """replace the tags, "a=b&c=d"; "" removes them"""
    if not args.tags:
        s3.delete_object_tagging(Bucket=args.bucket, Key=args.key, **version(args))
        return
    tags = urllib.parse.parse_qsl(args.tags, keep_blank_values=True)
    s3.put_object_tagging(
        Bucket=args.bucket,
        Key=args.key,
        Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in tags]},
        **version(args),
    )


def cmd_retain(s3, args):
    """lock a version: MODE (governance, compliance) for SECONDS"""
    s3.put_object_retention(
        Bucket=args.bucket,
        Key=args.key,
        Retention={"Mode": args.mode.upper(), "RetainUntilDate": in_seconds(args.seconds)},
        **version(args),
    )


def cmd_hold(s3, args):
    """legal hold: on, off"""
    s3.put_object_legal_hold(
        Bucket=args.bucket,
        Key=args.key,
        LegalHold={"Status": args.status.upper()},
        **version(args),
    )


def cmd_copy(s3, args):
    """copy a key to another one, in the server"""
    s3.copy_object(
        Bucket=args.bucket, Key=args.to, CopySource={"Bucket": args.bucket, "Key": args.key}
    )


def cmd_empty(s3, args):
    """remove every version and marker"""
    found = list_versions(s3, args.bucket, args.prefix)
    for at in range(0, len(found), 1000):
        objects = [
            {"Key": v["Key"], "VersionId": v.get("VersionId", "null")}
            for _, v in found[at : at + 1000]
        ]
        answer = s3.delete_objects(
            Bucket=args.bucket,
            Delete={"Objects": objects, "Quiet": True},
            BypassGovernanceRetention=True,
        )
        for error in answer.get("Errors", []):
            sys.exit(f"{error['Key']}: {error['Code']}")


def cmd_rmbucket(s3, args):
    """remove an empty bucket"""
    s3.delete_bucket(Bucket=args.bucket)


def cmd_policy(s3, args):
    """set the bucket policy from a file"""
    with open(args.file) as f:
        s3.put_bucket_policy(Bucket=args.bucket, Policy=f.read())


def cmd_set(s3, args):
    """any call: set BUCKET put_bucket_tagging '{"Tagging": ...}'"""
    answer = getattr(s3, args.call)(Bucket=args.bucket, **json.loads(args.arguments))
    answer.pop("ResponseMetadata", None)
    print(json.dumps(answer, sort_keys=True, default=str))


# -- MinIO's own ---------------------------------------------------------------------------------


def admin(method, path, body=b""):
    """MinIO's admin API, /minio/admin/v3/..., signed as S3."""
    url = os.environ["S3_ENDPOINT"] + "/minio/admin/v3/" + path
    request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body)
    request.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    credentials = boto3.Session(
        os.environ["S3_ACCESS"], os.environ["S3_SECRET"], region_name="us-east-1"
    ).get_credentials()
    botocore.auth.SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    answer = botocore.httpsession.URLLib3Session().send(request.prepare())
    if answer.status_code >= 300:
        sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.content


def import_iam(sections):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as z:
        for what, value in sections.items():
            z.writestr(f"iam-assets/{what}.json", json.dumps(value))
    admin("PUT", "import-iam", zipped.getvalue())


def cmd_minio_user(s3, args):
    """make a user who may do what a policy file says, by an import of IAM"""
    with open(args.file) as f:
        policy = json.load(f)
    name = args.access + "-policy"
    import_iam(
        {
            "policies": {name: policy},
            "users": {args.access: {"secretKey": args.secret, "status": "enabled"}},
            "user_mappings": {args.access: {"version": 1, "policy": name}},
        }
    )


def sealed(secret, data):
    """As MinIO's clients seal what they send: PBKDF2 and AES-256-GCM, one chunk."""
    salt, nonce = os.urandom(32), os.urandom(8)
    aead = AESGCM(hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, 8192, 32))
    tag = aead.encrypt(nonce + struct.pack("<I", 0), b"", b"")
    return salt + b"\2" + nonce + aead.encrypt(nonce + struct.pack("<I", 1), data, b"\x80" + tag)


def cmd_minio_iam(s3, args):
    """import IAM from a file of sections, {"users": {...}, ...}; a status that an import forgets is set"""
    with open(args.file) as f:
        sections = json.load(f)
    import_iam(sections)
    for name, group in sections.get("groups", {}).items():
        query = urllib.parse.urlencode({"group": name, "status": group["status"]}, quote_via=urllib.parse.quote)
        admin("PUT", "set-group-status?" + query)
    for key, account in sections.get("svcaccts", {}).items():
        if account.get("status") == "off":
            body = sealed(os.environ["S3_SECRET"], b'{"newStatus": "off"}')
            admin("POST", "update-service-account?accessKey=" + key, body)


def cmd_minio_iam_dump(s3, args):
    """everything of the IAM, secrets too, without times and in one order: one line for each name"""
    with zipfile.ZipFile(io.BytesIO(admin("GET", "export-iam"))) as z:
        for member in sorted(z.namelist()):
            for name, value in sorted(json.loads(z.read(member)).items()):
                value.pop("updatedAt", None)
                for claim in ("sessionPolicy", "sessionPolicy-extracted"):
                    (value.get("claims") or {}).pop(claim, None)
                print(member, json.dumps([name, in_order(value)], sort_keys=True))


def in_order(value):
    if isinstance(value, dict):
        return {k: in_order(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted((in_order(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    return value


def cmd_minio_admin(s3, args):
    """any call of the admin API with a plain body: METHOD PATH [FILE]; the answer to stdout"""
    sys.stdout.buffer.write(admin(args.method, args.path, data_of(args.file) if args.file else b""))


# -- the command line ----------------------------------------------------------------------------


def make_parser():
    parser = argparse.ArgumentParser(prog="s3_judge.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def add(function, *names, **options):
        name = function.__name__[4:].replace("_", "-")
        sub = commands.add_parser(name, help=function.__doc__)
        sub.set_defaults(function=function)
        for n in names:
            sub.add_argument(n, **({"type": key_of} if n in ("key", "to") else {}))
        return sub

    def prefix(sub):
        sub.add_argument("prefix", nargs="?", default="", type=key_of)
        return sub

    def one(sub):
        sub.add_argument("--version")
        return sub

    def putting(sub):
        sub.add_argument("--meta", action="append", metavar="NAME=VALUE")
        sub.add_argument("--header", action="append", metavar="NAME=VALUE")
        sub.add_argument("--tags", metavar="A=B&C=D")
        sub.add_argument("--retain", metavar="MODE=SECONDS")
        sub.add_argument("--hold", action="store_true")
        return sub

    dump = prefix(add(cmd_dump, "bucket"))
    dump.add_argument("--current", action="store_true", help="only what a plain listing shows")
    dump.add_argument("--drop", default="", metavar="FIELD,...", help="leave these fields out")
    dump.add_argument("--no-data", action="store_true", help="do not read contents")
    dump.add_argument("--no-head", action="store_true", help="only what the listing tells")
    prefix(add(cmd_ls, "bucket"))
    prefix(add(cmd_count, "bucket"))
    one(add(cmd_get, "bucket", "key"))
    one(add(cmd_sha, "bucket", "key"))
    one(add(cmd_head, "bucket", "key"))
    add(cmd_config, "bucket")
    add(cmd_buckets)
    add(cmd_date)
    add(cmd_mkbucket, "bucket").add_argument("what", nargs="*", choices=["versioning", "lock", []])
    add(cmd_versioning, "bucket", "status")
    putting(add(cmd_put, "bucket", "key", "source"))
    multipart = putting(add(cmd_multipart, "bucket", "key"))
    multipart.add_argument("sizes", nargs="+")
    multipart.add_argument("--seed", default="1")
    multipart.add_argument("--leave", action="store_true", help="do not complete it")
    fill = add(cmd_fill, "bucket")
    fill.add_argument("count", type=int)
    fill.add_argument("bytes", type=int)
    fill.add_argument("--prefix", default="")
    fill.add_argument("--seed", default="1")
    fill.add_argument("--start", type=int, default=0)
    one(add(cmd_del, "bucket", "key")).add_argument("--bypass", action="store_true")
    one(add(cmd_tag, "bucket", "key", "tags"))
    one(add(cmd_retain, "bucket", "key", "mode", "seconds"))
    one(add(cmd_hold, "bucket", "key", "status"))
    add(cmd_copy, "bucket", "key", "to")
    prefix(add(cmd_empty, "bucket"))
    add(cmd_rmbucket, "bucket")
    add(cmd_policy, "bucket", "file")
    add(cmd_set, "bucket", "call", "arguments")
    add(cmd_minio_user, "access", "secret", "file")
    add(cmd_minio_iam, "file")
    add(cmd_minio_iam_dump)
    admin_call = add(cmd_minio_admin, "method", "path")
    admin_call.add_argument("file", nargs="?")
    commands.add_parser("batch", help="commands from stdin, one a line, quoted as in a shell")
    return parser


def main():
    parser = make_parser()
    args = parser.parse_args()
    s3 = make_client()
    if args.command != "batch":
        lines = [args]
    else:
        words = (shlex.split(line, comments=True) for line in sys.stdin)
        lines = (parser.parse_args(w) for w in words if w)
    for args in lines:
        try:
            args.function(s3, args)
        except botocore.exceptions.ClientError as e:
            error = e.response["Error"]
            sys.exit(f"{args.command}: {error.get('Code')}: {error.get('Message', '')}")


if __name__ == "__main__":
    main()
