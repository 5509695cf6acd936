"""blobs.py - a repository behind its own back: what its directory or its bucket holds.

    blobs.py URL ls                 names, sorted
    blobs.py URL get NAME           bytes to stdout
    blobs.py URL put NAME           bytes from stdin
    blobs.py URL rm NAME...
    blobs.py URL save DIRECTORY     make DIRECTORY the same
    blobs.py URL load DIRECTORY     make it the same as DIRECTORY
    blobs.py URL uploads            how many unfinished multipart uploads there are

For s3://BUCKET/PREFIX the variables of s3_judge.py name the server; S3_DIRECT, when it is set,
instead of S3_ENDPOINT, so that a proxy before it does no harm here.
"""
import os
import shutil
import sys


class Directory:
    def __init__(self, path):
        self.path = path

    def names(self):
        found = []
        for root, _, names in os.walk(self.path):
            found += [os.path.relpath(os.path.join(root, n), self.path) for n in names]
        return sorted(n for n in found if not os.path.basename(n).startswith(".tmp-"))

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as f:
            return f.read()

    def write(self, name, data):
        """In place, with the mode that it has: blobs are read-only."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = os.stat(path).st_mode if os.path.exists(path) else 0o600
        if os.path.exists(path):
            os.chmod(path, 0o600)
        with open(path, "wb") as f:
            f.write(data)
        os.chmod(path, mode)

    def remove(self, name):
        os.unlink(os.path.join(self.path, name))

    def uploads(self):
        return 0


class Bucket:
    def __init__(self, url):
        import s3_judge

        if os.environ.get("S3_DIRECT"):
            os.environ["S3_ENDPOINT"] = os.environ["S3_DIRECT"]
        self.bucket, _, prefix = url[len("s3://") :].partition("/")
        self.prefix = prefix and prefix + "/"
        self.s3 = s3_judge.make_client()

    def names(self):
        found = []
        for page in self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        ):
            found += [item["Key"][len(self.prefix) :] for item in page.get("Contents", [])]
        return sorted(found)

    def where(self, name):
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def read(self, name):
        return self.s3.get_object(**self.where(name))["Body"].read()

    def write(self, name, data):
        self.s3.put_object(**self.where(name), Body=data)

    def remove(self, name):
        self.s3.delete_object(**self.where(name))

    def uploads(self):
        return len(self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


def at(url):
    return Bucket(url) if url.startswith("s3://") else Directory(url)


def make_same(source, target):
    wanted, there = source.names(), target.names()
    for name in set(there) - set(wanted):
        target.remove(name)
    for name in wanted:
        data = source.read(name)
        if name not in there or target.read(name) != data:
            target.write(name, data)


def main():
    url, verb, *names = sys.argv[1:]
    blobs = at(url)
    if verb == "ls":
        sys.stdout.writelines(name + "\n" for name in blobs.names())
    elif verb == "get":
        sys.stdout.buffer.write(blobs.read(names[0]))
    elif verb == "put":
        blobs.write(names[0], sys.stdin.buffer.read())
    elif verb == "rm":
        for name in names:
            blobs.remove(name)
    elif verb == "save":
        shutil.rmtree(names[0], ignore_errors=True)
        os.makedirs(names[0])
        make_same(blobs, Directory(names[0]))
    elif verb == "load":
        make_same(Directory(names[0]), blobs)
    elif verb == "uploads":
        print(blobs.uploads())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
