"""buckets.py - a bucket by s3://, its users and its journal: commands of the fault sweep that talk to an S3 server.

HAS_BUCKET says which server there is, minio or ceph; S3_ENDPOINT, S3_ACCESS and S3_SECRET, set when it runs, lead to it.
The judge is boto3 (tests/lib/s3_judge.py).  Below $T: bucket-repo, bucket-spool.
"""
import contextlib
import hashlib
import io
import json
import os
import sys
import time

import world
from commands import command, settle, write
from world import OUT, T, Problem, mb, must, must_run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

CONF = f"{T}/bucket.conf"
SERVER = os.environ.get("HAS_BUCKET")
SETTINGS = """[global]
spool = {t}/bucket-spool
workers = 2

[repository]
url = {t}/bucket-repo
key-file = {t}/key

[objects:shop]
url = s3://shop
endpoint = {endpoint}
access-key = {access}
secret-key = {secret}
scan-interval = 500ms
clock-margin = 200ms
"""
READER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::shop/*"]}]}
WRITER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::shop/*"]}]}
PEOPLE = {
    "policies": {"reader": READER},
    "users": {"alice": {"secretKey": "AliceSecret01", "status": "enabled"}, "bob": {"secretKey": "BobSecret0001", "status": "disabled"},
              "carol": {"secretKey": "CarolSecret01", "status": "enabled"}},
    "groups": {"shut": {"version": 1, "status": "disabled", "members": ["carol"]}},
    "svcaccts": {"robot": {"parent": "alice", "accessKey": "robot", "secretKey": "RobotSecret01", "status": "on", "name": "a robot"}},
    "user_mappings": {"alice": {"version": 1, "policy": "reader"}, "bob": {"version": 1, "policy": "reader"}},
    "group_mappings": {"shut": {"version": 1, "policy": "readwrite"}},
}
# The same names, and none of it is right.
OTHERS = {
    "policies": {"reader": WRITER},
    "users": {name: {"secretKey": "OtherSecret01", "status": "enabled"} for name in PEOPLE["users"]},
    "groups": {"shut": {"version": 1, "status": "enabled", "members": ["carol"]}},
    "svcaccts": {"robot": {"parent": "alice", "accessKey": "robot", "secretKey": "OtherSecret01", "status": "on", "name": "no robot"}},
    "user_mappings": {"alice": {"version": 1, "policy": "writeonly"}},
    "group_mappings": {"shut": {"version": 1, "policy": "readonly"}},
}


def judge(*words):
    """What boto3 sees and does."""
    import s3_judge

    out = io.StringIO()
    args = s3_judge.make_parser().parse_args(words)
    try:
        with contextlib.redirect_stdout(out):
            args.function(s3_judge.make_client(), args)
    except SystemExit as end:
        raise Problem(f"the judge: {' '.join(words)}: {end}") from None
    return out.getvalue()


def current(bucket="shop"):
    """What a plain listing shows: key, bytes, metadata, tags."""
    return [json.loads(line) for line in judge("dump", bucket, "--current", "--drop", "id,mtime,etag").splitlines()]


def history(bucket):
    return judge("dump", bucket, "--drop", "id,mtime,etag")


def files(directory):
    found = {}
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = hashlib.sha256(file.read()).hexdigest()
    return found


def is_same(found, wanted, what):
    """Of texts, and of JSON."""
    left, right = (sorted(json.dumps(x, sort_keys=True) for x in (v.items() if isinstance(v, dict) else v)) if not isinstance(v, str) else v.splitlines() for v in (found, wanted))
    if left != right:
        raise Problem(f"lost: {what} is not as it was: {[x for x in left if x not in right]!s:.400}, not {[x for x in right if x not in left]!s:.400}")


class Bucket(world.Stack):
    name = "bucket"
    repository = world.DirectoryRepository(f"{T}/bucket-repo", f"{T}/base/bucket-repo")

    def __init__(self):
        self.truth = {}
        self.past = self.people = ""
        self.touched = False

    def begin(self):
        words = {"t": T, "endpoint": os.environ["S3_ENDPOINT"], "access": os.environ["S3_ACCESS"], "secret": os.environ["S3_SECRET"]}
        write(CONF, SETTINGS.format(**words) + ("iam = yes\n" if SERVER == "minio" else ""))
        os.chmod(CONF, 0o600)
        for name, people in (("people", PEOPLE), ("others", OTHERS)):
            write(f"{T}/{name}.json", json.dumps(people))
        if SERVER == "minio":
            judge("minio-iam", f"{T}/people.json")
            self.people = judge("minio-iam-dump")
        judge("mkbucket", "shop", "versioning")
        self.put("backup")
        must("init", conf=CONF)
        self.settle_down()
        must("backup", conf=CONF)
        self.truth["backup"], self.past = current(), history("shop")
        self.settle_down()
        self.put("now")
        self.settle_down()
        self.truth["now"] = current()
        self.repository.save()
        os.rename(f"{T}/bucket-spool", f"{T}/base/bucket-spool")

    @staticmethod
    def settle_down():
        """What is nearer to a cut than the margin may be on either side of it: docs/objects.md."""
        time.sleep(1.8)

    @staticmethod
    def put(word):
        judge("put", "shop", "a/big", f"random:200000:{word}")
        judge("put", "shop", "a/b", f"text:{word}", "--meta", f"when={word}", "--tags", f"x={word}")
        judge("put", "shop", f"only-{word}", f"text:{word}")
        for i in range(3):
            judge("put", "shop", f"c/{i}", f"text:{word if i < 2 else 'same'}")
        judge("del", "shop", "c/0")
        if word == "now":
            judge("del", "shop", "only-backup")

    def reset(self):
        world.end_helpers()
        world.empty_out()
        self.repository.reset()
        world.remove(f"{T}/bucket-spool")
        must_run("cp", "-a", f"{T}/base/bucket-spool", f"{T}/bucket-spool")
        if self.touched:
            judge("empty", "shop")
            self.put("backup")
            self.put("now")
            self.settle_down()
            self.touched = False

    def is_whole(self, word):
        is_same(current(), self.truth[word], "the bucket")


STACK = Bucket()


def touch():
    STACK.touched = True


def bucket_command(name, *words, **more):
    if SERVER:
        command(name, *words, **{"conf": CONF, "stack": STACK, **more})


# -- copies of it ---------------------------------------------------------------------------------------------


def holds_it(backup):
    """What a backup gives back as files is what the bucket lists."""
    world.remove(f"{OUT}/chk")
    os.mkdir(f"{OUT}/chk")
    must("restore", *backup, "--yes", "--component", f"shop=file://{OUT}/chk/shop", conf=CONF)
    is_same(files(f"{OUT}/chk/shop"), {o["key"]: o["sha256"] for o in current()}, "a backup of the bucket")


def backed_up(result):
    """A clock that is set during a backup may put objects behind its cut: docs/objects.md."""
    backup = json.loads(result.out)["backup"]["id"]
    if result.clock:
        holds_it(["--to-latest"])
    else:
        holds_it([backup])


bucket_command("backup, bucket", "backup", "--json", judge_more=backed_up)
bucket_command("backup full, bucket", "backup", "--type", "full", "--json", judge_more=backed_up)
bucket_command("objects diff, bucket", "objects", "diff", "shop", status=1)
bucket_command("objects verify, bucket", "objects", "verify", "shop")
bucket_command("check, bucket", "check", statuses=(1,))


def some_puts(child):
    touch()
    for i in range(3):
        time.sleep(0.4)
        if child.poll() is not None:
            return
        judge("put", "shop", "streamed", f"text:{i}")
    child.terminate()


def stream_holds_it(result):
    """After a stream without a fault a mark is held, and comes back."""
    def mark_it(child):
        for _ in range(240):
            time.sleep(0.25)
            done = mb("mark", f"m{time.time_ns()}", "--json", conf=CONF)
            if done.status == 0:
                marks.append(json.loads(done.out)["mark"]["name"])
                break
        child.terminate()

    marks = []
    ended = world.run([world.MBACKUP, "--config", CONF, "stream"], meanwhile=mark_it)
    if not marks:
        raise Problem(f"no mark is held after the next stream: {ended.tail()}")
    holds_it(["--to-mark", marks[0]])


bucket_command("stream, bucket", "stream", status=143, meanwhile=some_puts, judge_more=stream_holds_it, way_again=lambda result: None)

# -- into buckets -----------------------------------------------------------------------------------------------


def no_copy():
    if "copy" in judge("buckets").split():
        judge("empty", "copy")
        judge("rmbucket", "copy")


def copied(result):
    is_same(history("copy"), STACK.past, "the new bucket")


bucket_command("objects restore, into a bucket", "objects", "restore", "shop", "s3://copy", "--yes", before=no_copy, judge_more=copied)


def in_place(result):
    STACK.is_whole("backup")


def back_again(result):
    settle(CONF, STACK.is_whole)
    STACK.touched = False


def restored_before():
    touch()
    must("restore", "--yes", conf=CONF)


bucket_command("restore in place, bucket", "restore", "--yes", before=touch, judge_more=in_place, after=back_again, way_again=lambda result: None)
bucket_command("rollback, bucket", "rollback", "--yes", before=restored_before, judge_more=lambda result: STACK.is_whole("now"), after=back_again,
               way_again=lambda result: None)

# -- users, groups and policies -----------------------------------------------------------------------------------


def others():
    judge("minio-iam", f"{T}/others.json")


def as_they_were(result):
    is_same(judge("minio-iam-dump"), STACK.people, "who may do what")


if SERVER == "minio":
    bucket_command("objects iam", "objects", "iam", "shop", "--json", before=others)
    bucket_command("objects iam --apply", "objects", "iam", "shop", "--apply", "--yes", before=others, judge_more=as_they_were)

# -- the journal: nobody but the database is asked ----------------------------------------------------------------------


class Journal(world.Stack):
    name = "journal"

    def begin(self):
        write(f"{T}/journal.conf", SETTINGS.format(t=T, endpoint="http://127.0.0.1:1", access="nobody", secret="nothing")
              + f"journal = host={T} port={os.environ['PGPORT']} user=mbtest dbname=postgres\n")
        os.chmod(f"{T}/journal.conf", 0o600)


def sql(statement, user="mbtest"):
    return must_run("psql", "-U", user, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement).strip()


def no_journal():
    sql("DROP TABLE IF EXISTS mbackup.object_inbox, mbackup.object_event")
    sql("DROP FUNCTION IF EXISTS mbackup.take_object_event()")
    if journal_parts() & 4:
        sql("DROP OWNED BY mbackup_minio; DROP ROLE mbackup_minio")


def journal_parts():
    return int(sql("SELECT (to_regclass('mbackup.object_inbox') IS NOT NULL)::int + 2 * (to_regclass('mbackup.object_event') IS NOT NULL)::int"
                   " + 4 * (SELECT count(*) FROM pg_roles WHERE rolname = 'mbackup_minio')"))


def takes_events(result):
    """What MinIO would write comes out at the other end, with a position."""
    sql("INSERT INTO mbackup.object_inbox VALUES (now(), '{\"an\": \"event\"}')", user="mbackup_minio")
    found = sql("SELECT count(*) FILTER (WHERE event_data = '{\"an\": \"event\"}' AND lsn > '0/0'), (SELECT count(*) FROM mbackup.object_inbox) FROM mbackup.object_event")
    if not found.endswith("|0") or found.startswith("0|"):
        raise Problem(f"an event does not get into the journal: {found}")


def all_of_it_or_nothing(result):
    if journal_parts() not in (0, 7):
        raise Problem(f"half a journal is made: {journal_parts()}")
    if journal_parts():
        takes_events(result)


command("objects journal install", "objects", "journal", "install", "shop", conf=f"{T}/journal.conf", stack=Journal(), repository=False, before=no_journal,
        judge_more=takes_events, after=all_of_it_or_nothing)
