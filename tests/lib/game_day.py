"""The application of the game day, and what judges the outcome; neither knows anything of mbackup.

    game_day.py app DIR       write objects (S3), files, rows and keys until DIR/app.stop is there.  Each
                              number n: object photos/n, file uploads/n, row n, key n, in this order;
                              a line "n <time before the first> <time after the last>" in DIR/app.log
    game_day.py judge DIR T   what is there now belongs to the moment T (seconds): every row has its object
                              and file with its contents, every key its row; all that was over a second
                              and a half before T is there, and nothing that began after T
    game_day.py tree PATH     one line for each file below PATH: type, mode, size, sha256, name

Environment: PGHOST, PGPORT, PGUSER for psql, REDIS_PORT, and S3_* as tests/lib/s3.sh sets them.
"""
import hashlib
import os
import socket
import subprocess
import sys
import time

MARGIN = 1.5


def s3():
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_ACCESS"],
        aws_secret_access_key=os.environ["S3_SECRET"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
    )


class Redis:
    def __init__(self):
        self.file = socket.create_connection(("127.0.0.1", int(os.environ["REDIS_PORT"]))).makefile("rwb")

    def call(self, *words):
        self.file.write(b"*%d\r\n" % len(words))
        for word in words:
            word = str(word).encode()
            self.file.write(b"$%d\r\n%s\r\n" % (len(word), word))
        self.file.flush()
        return self.reply()

    def reply(self):
        line = self.file.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            data = self.file.read(int(rest) + 2)[:-2] if rest != b"-1" else None
            return data
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest


def psql(sql):
    out = subprocess.run(["psql", "-XqAtF", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return [line.split("\t") for line in out.stdout.splitlines()]


def contents(n):
    return (f"photo {n} " * (n % 50 + 1)).encode()


def app(where):
    client, redis = s3(), Redis()
    session = subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    n = int(psql("SELECT coalesce(max(id), 0) FROM events")[0][0])
    with open(f"{where}/app.log", "a", encoding="utf-8") as log:
        while not os.path.exists(f"{where}/app.stop"):
            n += 1
            began = time.time()
            body = contents(n)
            etag = client.put_object(Bucket="photos", Key=f"p/{n}", Body=body)["ETag"]
            with open(f"{where}/uploads/u{n}", "wb") as file:
                file.write(body)
            session.stdin.write(
                f"INSERT INTO events VALUES ({n}, 'photos', 'p/{n}', '{etag}', {len(body)});\nSELECT {n};\n"
            )
            session.stdin.flush()
            if session.stdout.readline().strip() != str(n):
                sys.exit("psql is gone")
            redis.call("SET", f"e:{n}", n)
            log.write(f"{n} {began} {time.time()}\n")
            log.flush()
            time.sleep(0.005)
    session.stdin.close()
    session.wait()


def judge(where, moment):
    client, redis = s3(), Redis()
    problems = []
    rows = {int(n): (key, etag, int(size)) for n, key, etag, size in psql("SELECT id, key, etag, size FROM events")}
    objects = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="photos"):
        for item in page.get("Contents", []):
            objects[item["Key"]] = (item["ETag"], item["Size"])
    files = set(os.listdir(f"{where}/uploads")) - {name for name in os.listdir(f"{where}/uploads") if name[0] == "."}
    keys = {int(key.decode().split(":")[1]) for key in redis.call("KEYS", "e:*")}
    log = {}
    for line in open(f"{where}/app.log", encoding="utf-8"):
        n, began, ended = line.split()
        log[int(n)] = (float(began), float(ended))
    for n, (key, etag, size) in rows.items():
        if objects.get(key) != (etag, size):
            problems.append(f"row {n}: object {key} is {objects.get(key)}, not {(etag, size)}")
        elif client.get_object(Bucket="photos", Key=key)["Body"].read() != contents(n):
            problems.append(f"row {n}: object {key} has other contents")
        if f"u{n}" not in files or open(f"{where}/uploads/u{n}", "rb").read() != contents(n):
            problems.append(f"row {n}: file u{n} is not as it was")
    for n in keys - set(rows):
        problems.append(f"key e:{n} has no row")
    for n, (began, ended) in log.items():
        if ended < moment - MARGIN:
            if n not in rows:
                problems.append(f"row {n} was over {moment - ended:.3f} s before the moment and is missing")
            if n not in keys:
                problems.append(f"key {n} was over {moment - ended:.3f} s before the moment and is missing")
        if began > moment and n in rows:
            problems.append(f"row {n} began {began - moment:.3f} s after the moment and is there")
        if began > moment and n in keys:
            problems.append(f"key {n} began {began - moment:.3f} s after the moment and is there")
    print(f"{len(rows)} rows, {len(objects)} objects, {len(files)} files, {len(keys)} keys")
    for problem in problems[:20]:
        print(problem)
    sys.exit(bool(problems) or len(rows) < 10)


def tree(root):
    for directory, names, files in sorted(os.walk(root)):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            what = os.path.relpath(path, root)
            if os.path.islink(path):
                print("link", oct(info.st_mode), os.readlink(path), what)
            elif os.path.isdir(path):
                print("dir", oct(info.st_mode), what)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
                print("file", oct(info.st_mode), info.st_size, digest, what)


if sys.argv[1] == "app":
    app(sys.argv[2])
elif sys.argv[1] == "judge":
    judge(sys.argv[2], float(sys.argv[3]))
else:
    tree(sys.argv[2])
