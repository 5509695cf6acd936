"""world.py - the small stack of the fault sweep: its base state, to which every point goes back, and its judges.

The servers were started by run (bash); what they are stands in the environment.  Directories below $T:

    objects etc     the sources as they are now
    was/            the same as they were when the first backup was made
    base/           repository and spool as they are put back before each point
    out/            where commands of a point write to; emptied before each point
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

T = os.environ["T"]
BUILD = os.environ["BUILD"]
MBACKUP = os.path.join(BUILD, "mbackup")
CONF = os.environ["CONF"]
REPO = os.environ["REPO"]
OUT = os.path.join(T, "out")
# For a command that takes less than a second as a rule, on a machine that does something else.
DEADLINE_S = 150


class Problem(Exception):
    """What must not be."""


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err
        self.clock = False

    def tail(self):
        return " / ".join((self.err or self.out).strip().splitlines()[-4:])[-700:]


def read(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def left_behind(group):
    """The processes of a group that are alive."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = read(path).rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(path.split("/")[2]))
    return found


def end_group(group):
    for pid in left_behind(group):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(argv, env=None, deadline=DEADLINE_S, meanwhile=None, cwd=None):
    """To its end, or to meanwhile's, which gets the process and ends it; hangs are a Problem."""
    everything = dict(os.environ, MBACKUP_FAULT_NOSYNC="1", LD_PRELOAD=os.path.join(BUILD, "fault.so"))
    everything.update(env or {})
    with open(f"{T}/run.out", "wb") as out, open(f"{T}/run.err", "wb") as err:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=everything, start_new_session=True, cwd=cwd)
    try:
        if meanwhile:
            meanwhile(child)
        status = child.wait(timeout=deadline)
    except subprocess.TimeoutExpired:
        end_group(child.pid)
        child.wait()
        raise Problem(f"hangs for {deadline} s: {Result(0, read(f'{T}/run.out'), read(f'{T}/run.err')).tail()}") from None
    # What it started ends with it, but for the time that this takes.
    for _ in range(300):
        if not left_behind(child.pid):
            break
        time.sleep(0.1)
    else:
        names = [read(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in left_behind(child.pid)]
        end_group(child.pid)
        raise Problem(f"status {status}, and left running: {names}")
    return Result(status if status >= 0 else 128 - status, read(f"{T}/run.out"), read(f"{T}/run.err"))


def mb(*words, conf=CONF, **options):
    return run([MBACKUP, "--config", conf, *words], **options)


def must(*words, **options):
    result = mb(*words, **options)
    if result.status != 0:
        raise Problem(f"without a fault: {' '.join(words)}: exit {result.status}: {result.tail()}")
    return result


def must_run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Problem(f"{' '.join(argv)}: {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    return done.stdout


def same(left, right):
    """diff -r, links compared as links; what a restore keeps, or a killed one leaves, is nobody's data (core/base/fs.h)."""
    must_run("diff", "-r", "--no-dereference", "-x", ".mbackup-*", left, right)


def end_helpers():
    """The helper of wal-get outlives it for a while, and knows the repository that was."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if f"{T}/" in read(path) and "wal-get" in read(path):
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            pass


# -- the repository ---------------------------------------------------------------------------------


WAL_PIECE = re.compile(r"(.*streams/[^/]+/wal/.*/)([0-9A-F]{8})-([0-9A-F]{8})$", re.I)


def replaced(name, names):
    """A piece of a WAL segment may go when a longer one holds all of it."""
    piece = WAL_PIECE.match(name)
    if not piece:
        return False
    others = (WAL_PIECE.match(n) for n in names if n.startswith(piece[1]))
    return any(o and int(o[2], 16) <= int(piece[2], 16) and int(o[3], 16) >= int(piece[3], 16) for o in others)


class DirectoryRepository:
    """Copies by hard links: a blob is written once, so what was there is there, the same file with the same times."""

    def __init__(self, path, kept):
        self.path, self.kept, self.known = path, kept, {}

    def save(self):
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.path, self.kept, copy_function=shutil.copy2)
        self.known = {}
        for root, _, names in os.walk(self.kept):
            for name in names:
                path = os.path.join(root, name)
                self.known[os.path.relpath(path, self.kept)] = self.look(path)

    @staticmethod
    def look(path):
        st = os.stat(path)
        return st.st_ino, st.st_size, st.st_mtime_ns

    def reset(self):
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.kept, self.path, copy_function=os.link)

    def lost(self):
        gone = []
        for name, was in self.known.items():
            try:
                if self.look(os.path.join(self.path, name)) != was:
                    gone.append(f"{name} (changed)")
            except FileNotFoundError:
                place = os.path.dirname(name)
                there = os.path.join(self.path, place)
                if not replaced(name, [f"{place}/{n}" for n in (os.listdir(there) if os.path.isdir(there) else [])]):
                    gone.append(name)
        return gone


class BucketRepository:
    def __init__(self):
        import boto3
        from botocore.config import Config

        self.bucket, _, self.prefix = REPO[len("s3://"):].partition("/")
        self.s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], aws_access_key_id=os.environ["S3_ACCESS"],
                               aws_secret_access_key=os.environ["S3_SECRET"], region_name="us-east-1",
                               config=Config(s3={"addressing_style": "path"}))

    def list(self):
        found = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + "/"):
            found.update({o["Key"]: (o["ETag"], o["Size"]) for o in page.get("Contents", [])})
        return found

    def save(self):
        self.known = self.list()
        self.bytes = {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in self.known}

    def reset(self):
        now = self.list()
        for key in now.keys() - self.known.keys():
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        for key in self.known:
            if now.get(key) != self.known[key]:
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=self.bytes[key])
        self.known = self.list()

    def lost(self):
        now = self.list()
        return [key for key, was in self.known.items() if now.get(key) != was and not (key not in now and replaced(key, now))]


repository = BucketRepository() if REPO.startswith("s3://") else DirectoryRepository(REPO, f"{T}/base/repo")


def save():
    shutil.rmtree(f"{T}/base/spool", ignore_errors=True)
    repository.save()
    shutil.copytree(f"{T}/spool", f"{T}/base/spool", symlinks=True)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        subprocess.run(["chmod", "-R", "u+rwX", path], check=False)
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def put_sources():
    """The sources as they are when a command begins."""
    for name in ("objects", "etc"):
        remove(f"{T}/{name}")
        shutil.copytree(f"{T}/now/{name}", f"{T}/{name}", symlinks=True)
    for name in os.listdir(T):
        if ".mbackup-" in name:
            remove(f"{T}/{name}")


def empty_out():
    remove(OUT)
    os.makedirs(f"{OUT}/tmp")


def reset():
    end_helpers()
    repository.reset()
    put_sources()
    remove(f"{T}/spool")
    shutil.copytree(f"{T}/base/spool", f"{T}/spool", symlinks=True)
    empty_out()


class Stack:
    """What a command runs on: how it is made, and put back before each point.  This one is made by commands.begin()."""

    name = "base"
    repository = repository

    def begin(self):
        pass

    def reset(self):
        reset()

    def end(self):
        pass


BASE = Stack()


def backups():
    return json.loads(must("list", "--json").out)["backups"]
