"""s3_story.py - random changes to a bucket, repeatable by a seed: put, overwrite, delete, delete
versions and markers, tags, metadata, retention, holds, multipart uploads, odd keys.

    s3_story.py BUCKET SEED STEPS [--lock]        do STEPS more changes
    s3_story.py --canonical ceph|minio < DUMP     a dump of s3_judge.py, for comparing

What is there is asked from the server, so a story may be told in pieces.
"""
import argparse
import json
import random
import sys

import botocore.exceptions
import s3_judge

KEYS = [
    "plain", "a/b/c.txt", "a/b/d.txt", "a b c", "plus+and%percent", "100%", "%41", "q?u=e&r#y",
    "back\\slash", "quote'\"both", "<xml>&amp;", "semi;colon,comma", "\u00e4\u00f6\u00fc/\u20ac.bin",
    "\u65e5\u672c\u8a9e", "emoji \U0001f600", "control\x01char", "tab\there", "tilde~", "star*(paren)!",
    "[bracket]{brace}", "pipe|caret^", "dollar$at@", "equals=", "trailing ", " leading", ".hidden",
    "..dots", "dots..", "x" * 200, "deep/" * 20 + "leaf", "case/Key", "case/key", "num/0", "num/00",
    "num/1", "z-last", "folder/", "new\nline", "colon:colon", "u/\u0301combining",
]
VALUES = ["", "x", "two words", "a=b", "plus+plus", "perc%ent", "semi;colon", "q\"uote", "1" * 120]


def some_pairs(rng, prefix):
    return {f"{prefix}{rng.randrange(5)}": rng.choice(VALUES[1:]) for _ in range(rng.randrange(4))}


def tag_text(rng):
    return {
        rng.choice(["color", "a b", "x+y", "k-1", "k_2"]): rng.choice(["red", "", "b c", "1+1=2"])
        for _ in range(rng.randrange(1, 4))
    }


def put_options(rng, lock):
    options = {"Metadata": some_pairs(rng, "m")}
    if rng.random() < 0.4:
        options["ContentType"] = rng.choice(["text/plain", "application/json; charset=utf-8"])
    if rng.random() < 0.2:
        options["CacheControl"] = "max-age=60, private"
    if rng.random() < 0.2:
        options["ContentDisposition"] = 'attachment; filename="a b.txt"'
    if rng.random() < 0.1:
        options["ContentEncoding"] = "gzip"
    if rng.random() < 0.1:
        options["ContentLanguage"] = "de, en"
    if rng.random() < 0.1:
        options["Expires"] = s3_judge.in_seconds(86400 * rng.randrange(1, 9))
    if rng.random() < 0.3:
        options["Tagging"] = "&".join(
            f"{s3_judge.urllib.parse.quote(k)}={s3_judge.urllib.parse.quote(v)}"
            for k, v in tag_text(rng).items()
        )
    if lock and rng.random() < 0.15:
        options["ObjectLockMode"] = "GOVERNANCE"
        options["ObjectLockRetainUntilDate"] = s3_judge.in_seconds(86400 * rng.randrange(1, 9))
    if lock and rng.random() < 0.1:
        options["ObjectLockLegalHoldStatus"] = "ON"
    return options


class Story:
    def __init__(self, s3, bucket, rng, lock):
        self.s3, self.bucket, self.rng, self.lock = s3, bucket, rng, lock
        self.known = [
            (kind, v["Key"], v["VersionId"])
            for kind, v in s3_judge.list_versions(s3, bucket)
        ]
        self.done = {}

    def pick(self, kind):
        found = [k for k in self.known if k[0] == kind]
        return self.rng.choice(found) if found else None

    def put(self):
        rng, key = self.rng, self.rng.choice(KEYS)
        size = 0 if key.endswith("/") else rng.choice([0, 1, 10, 1000, 4096, 70000, 300000])
        answer = self.s3.put_object(
            Bucket=self.bucket, Key=key, Body=rng.randbytes(size), **put_options(rng, self.lock)
        )
        self.known.append(("object", key, answer.get("VersionId", "null")))

    def multipart(self):
        # Ceph answers a key with a control character in what is no XML, and loses tags.
        keys = [k for k in KEYS if not k.endswith("/") and min(k) >= " "]
        rng, key = self.rng, self.rng.choice(keys)
        options = put_options(rng, self.lock)
        options.pop("Tagging", None)
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key=key, **options)["UploadId"]
        sizes = [5 << 20] * rng.randrange(3) + [rng.randrange(1, 100000)]
        parts = []
        for i, size in enumerate(sizes):
            answer = self.s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=i + 1,
                Body=rng.randbytes(1000) * (size // 1000) + rng.randbytes(size % 1000),
            )
            parts.append({"PartNumber": i + 1, "ETag": answer["ETag"]})
        answer = self.s3.complete_multipart_upload(
            Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        self.known.append(("object", key, answer.get("VersionId", "null")))

    def delete(self):
        found = self.pick("object")
        if found:
            answer = self.s3.delete_object(Bucket=self.bucket, Key=found[1])
            if answer.get("DeleteMarker"):
                self.known.append(("marker", found[1], answer["VersionId"]))

    def erase(self, kind):
        found = self.pick(kind)
        if found:
            self.s3.delete_object(Bucket=self.bucket, Key=found[1], VersionId=found[2])
            self.known.remove(found)

    def erase_version(self):
        self.erase("object")

    def erase_marker(self):
        self.erase("marker")

    def tag(self):
        found = self.pick("object")
        if found and self.rng.random() < 0.3:
            self.s3.delete_object_tagging(Bucket=self.bucket, Key=found[1], VersionId=found[2])
        elif found:
            tags = [{"Key": k, "Value": v} for k, v in tag_text(self.rng).items()]
            self.s3.put_object_tagging(
                Bucket=self.bucket, Key=found[1], VersionId=found[2], Tagging={"TagSet": tags}
            )

    def retain(self):
        found = self.pick("object") if self.lock else None
        if found:
            until = s3_judge.in_seconds(86400 * self.rng.randrange(10, 19))
            self.s3.put_object_retention(
                Bucket=self.bucket, Key=found[1], VersionId=found[2],
                Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
                BypassGovernanceRetention=True,
            )

    def hold(self):
        found = self.pick("object") if self.lock else None
        if found:
            self.s3.put_object_legal_hold(
                Bucket=self.bucket, Key=found[1], VersionId=found[2],
                LegalHold={"Status": self.rng.choice(["ON", "OFF"])},
            )

    def step(self):
        what = self.rng.choices(
            ["put", "delete", "erase_version", "erase_marker", "tag", "retain", "hold", "multipart"],
            [50, 14, 9, 3, 12, 5, 4, 3],
        )[0]
        try:
            getattr(self, what)()
            self.done[what] = self.done.get(what, 0) + 1
        except botocore.exceptions.ClientError as e:
            # Locked versions are not erased; folders cannot be tagged everywhere.
            code = e.response["Error"]["Code"]
            if code not in (
                "AccessDenied", "InvalidRequest", "MethodNotAllowed", "NoSuchKey", "NoSuchVersion",
            ):
                raise
            self.done["refused"] = self.done.get("refused", 0) + 1


def canonical(server):
    """
    Without what the server does not let a restore set.  Ceph: ids and times; of several markers
    in a row a restore makes one, and none below the first version.  ETags: Ceph forgets those of
    versions that are tagged or locked later; the contents are compared anyway.
    """
    rows = [json.loads(line) for line in sys.stdin]
    keys = {}
    for row in rows:
        keys.setdefault(row["key"], []).append(row)
    for key in sorted(keys):
        kept = []
        for row in reversed(keys[key]):  # oldest first
            if server == "ceph":
                if row["kind"] == "marker" and (not kept or kept[-1]["kind"] == "marker"):
                    continue
                for field in ("id", "mtime", "latest", "etag"):
                    row.pop(field, None)
            kept.append(row)
        for rank, row in enumerate(reversed(kept)):
            row["rank"] = rank
            print(json.dumps(row, sort_keys=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bucket", nargs="?")
    parser.add_argument("seed", nargs="?")
    parser.add_argument("steps", nargs="?", type=int)
    parser.add_argument("--lock", action="store_true")
    parser.add_argument("--canonical")
    args = parser.parse_args()
    if args.canonical:
        canonical(args.canonical)
        return
    story = Story(s3_judge.make_client(), args.bucket, random.Random(args.seed), args.lock)
    for _ in range(args.steps):
        story.step()
    print(json.dumps(story.done, sort_keys=True))


if __name__ == "__main__":
    main()
