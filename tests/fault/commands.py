"""commands.py - the commands that the fault sweep runs, each with what is true when it says that all went well.

A command is a row: its words, what makes the state that it needs, and its judge.  No judge is the code under test where
another one exists: diff, pg_verifybackup, DEBUG DIGEST of a stock server, openssl and tar.  "Again" is the same command once
more, without a fault: it must succeed, whatever the fault left.
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

import world
from world import CONF, MBACKUP, OUT, T, Problem, mb, must, must_run, same

KEY2 = f"{T}/key2"
COMMANDS = []


class Command:
    """Of the state: conf, stack (world.py).  Of the answer: status, also statuses (allowed under a fault) and statuses_again (when it had done its work
    and then failed).  repository: verified after each point.  removes: blobs may go."""

    def __init__(self, name, words, **more):
        self.name, self.words = name, words
        self.conf, self.status, self.statuses, self.statuses_again = CONF, 0, (), ()
        self.stack, self.repository, self.removes = world.BASE, True, False
        self.before = self.judge_more = self.after = self.meanwhile = self.way_again = None
        self.same_output, self.env, self.cwd = False, {}, None
        self.clean = None
        self.__dict__.update(more)
        COMMANDS.append(self)

    def reset(self):
        self.stack.reset()
        if self.before:
            self.before()

    def argv(self):
        return [MBACKUP, *([] if self.conf is None else ["--config", self.conf]), *self.words]

    def run(self, env=None):
        return world.run(self.argv(), env={**self.env, **(env or {})}, meanwhile=self.meanwhile, cwd=self.cwd)

    def judge(self, result, clock=False):
        """The command says that all went well; clock: it was set meanwhile."""
        result.clock = clock
        if self.same_output and not clock:
            self.clean = self.clean or plain(result.out)
            # What could not be read is listed as what it is.
            if plain(result.out) != self.clean and not any(w in result.out + result.err for w in ("damaged", "unreadable", "cannot be read", "passed over")):
                raise Problem(f"says something else than without a fault: {plain(result.out)[:300]!r}")
        # The newest backup cannot be opened: an older one is what was asked for, aloud.
        if self.judge_more and "is newer, and passed over" not in result.err:
            self.judge_more(result)

    def always(self, result):
        if self.after:
            self.after(result)

    def again(self, result):
        if self.way_again:
            return self.way_again(result)
        return self.run()

    def explains(self, result):
        return "mbackup: error: " in result.err or re.search(r'"error":{"code":"[A-Z_]+",.*"message":"[^"]', result.out) or (result.status == 1 and result.out) or (result.status == 3 and "warning" in result.err)


def plain(text):
    """Without what differs from run to run: ages and the seconds that something took."""
    text = re.sub(r"restore \d{8}T\d{6}Z-[0-9a-f]{12} ", "restore ID ", text)
    text = re.sub(r"(by an expire after) [0-9: -]+Z?", r"\1 then", text)
    return re.sub(r"\b\d+(\.\d+)? ?(ms|s|min|h|MiB/s|KiB/s|GiB/s|B/s)\b", "N", text)


def command(name, *words, **more):
    return Command(name, list(words), **more)


# -- judges -----------------------------------------------------------------------------------------------------


def check_trees(backup, objects, etc):
    """What a backup gives back, of the components that are asked for."""
    parts = []
    if objects:
        parts += ["--component", f"uploads={OUT}/chk/objects"]
    if etc:
        parts += ["--component", f"config={OUT}/chk/etc"]
    world.remove(f"{OUT}/chk")
    os.mkdir(f"{OUT}/chk")
    must("restore", backup, "--yes", *parts)
    if objects:
        same(objects, f"{OUT}/chk/objects")
    if etc:
        same(etc, f"{OUT}/chk/etc{T}/etc")


def digest_of(directory):
    """DEBUG DIGEST of a stock server on a directory."""
    socket = f"{T}/scratch.sock"
    server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--dir", directory, "--appendonly", "yes", "--save", "",
                               "--enable-debug-command", "local"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return wait_digest(["-s", socket])
    finally:
        server.kill()
        server.wait()


def wait_digest(where):
    for _ in range(1200):
        done = subprocess.run(["redis-cli", *where, "debug", "digest"], capture_output=True, text=True)
        if re.fullmatch(r"[0-9a-f]{40}\s*", done.stdout):
            return done.stdout.strip()
        time.sleep(0.05)
    raise Problem(f"the Redis server does not come up: {done.stdout}{done.stderr}")


def is_digest(found, wanted):
    if found != wanted:
        raise Problem(f"DEBUG DIGEST {found}, not {wanted}")


def check_redis(backup, wanted):
    world.remove(f"{OUT}/chk-redis")
    must("restore", backup, "--yes", "--component", f"redis={OUT}/chk-redis")
    is_digest(digest_of(f"{OUT}/chk-redis"), wanted)


def check_postgres(backup):
    world.remove(f"{OUT}/chk-pg")
    must("restore", backup, "--yes", "--component", f"postgres={OUT}/chk-pg")
    must_run("pg_verifybackup", "-n", f"{OUT}/chk-pg")


def made(result):
    """The id of the backup that --json says was made."""
    return json.loads(result.out)["backup"]["id"]


def backed_up(objects=False, etc=False, redis=False, postgres=False):
    def judge(result):
        backup = made(result)
        if "the clock was set back" in result.out + result.err:
            return  # it says that a restore to it leaves something out
        if backup not in [b["id"] for b in world.backups()]:
            raise Problem(f"{backup} is not listed")
        if objects or etc:
            check_trees(backup, objects and f"{T}/objects", etc and f"{T}/etc")
        if redis:
            check_redis(backup, wait_digest(["-p", os.environ["REDIS_PORT"]]))
        if postgres:
            check_postgres(backup)

    return judge


digests = {}

# -- what only looks -----------------------------------------------------------------------------------------------

for words in (["list"], ["info"], ["list", "--json"], ["objects", "ls", "uploads"], ["objects", "cat", "uploads", "big"],
              ["redis", "ls"], ["redis", "info"], ["key", "list"], ["expire", "--dry-run"], ["restore", "--dry-run", "--component", f"config={OUT}/r"],
              ["rollback", "--list"]):
    command(" ".join(w for w in words if "=" not in w), *words, same_output=True)
command("schedule show", "schedule", "show")
command("objects diff", "objects", "diff", "uploads", status=1)
command("objects verify", "objects", "verify", "uploads")
command("check", "check", statuses=(1,))
command("check --list", "check", "--list", same_output=True)
command("verify --history", "verify", "--history", same_output=True)
command("report", "report")
command("verify", "verify")
command("verify full", "verify", "--read-data", "full")
command("verify --restore", "verify", "--restore", "--component", "config", "--component", "uploads", "--component", "redis", env={"TMPDIR": f"{OUT}/tmp"}, statuses=(1,))
command("redis info --rdb", "redis", "info", "--rdb", f"{T}/now.rdb", same_output=True)
command("redis ls --rdb", "redis", "ls", "--rdb", f"{T}/now.rdb", same_output=True)



def page_whole(result):
    if os.path.exists(f"{OUT}/report.html") and not world.read(f"{OUT}/report.html").rstrip().endswith("</html>"):
        raise Problem("half a page")
    if result.status == 0 and not os.path.exists(f"{OUT}/report.html"):
        raise Problem("there is no page")


command("report --html", "report", "--html", f"{OUT}/report.html", after=page_whole)

# -- what makes backups -----------------------------------------------------------------------------------------------

command("backup", "backup", "--component", "uploads", "--component", "config", "--component", "redis", "--json",
        judge_more=backed_up(True, True, True))
command("backup full", "backup", "--type", "full", "--component", "config", "--component", "uploads", "--json", judge_more=backed_up(True, True))
command("objects snapshot", "objects", "snapshot", "uploads", "--json", judge_more=backed_up(objects=True))
command("redis snapshot", "redis", "snapshot", "--json", judge_more=backed_up(redis=True))
command("backup postgres", "backup", "--component", "postgres", "--json", judge_more=backed_up(postgres=True))
command("backup postgres full", "backup", "--type", "full", "--component", "postgres", "--json", judge_more=backed_up(postgres=True))


def snapshot_file(result):
    os.makedirs(f"{OUT}/rdb", exist_ok=True)
    shutil.copy(f"{OUT}/x.rdb", f"{OUT}/rdb/dump.rdb")
    must_run("redis-check-rdb", f"{OUT}/x.rdb")


def whole_or_none(path):
    def after(result):
        if os.path.exists(path):
            must_run("redis-check-rdb", path)

    return after


command("redis snapshot --output", "redis", "snapshot", "--output", f"{OUT}/x.rdb", "--force", judge_more=snapshot_file, after=whole_or_none(f"{OUT}/x.rdb"))


def marks():
    return [m["name"] for m in json.loads(must("list", "--json").out)["marks"]]


def has_mark(result):
    if "here" not in marks():
        raise Problem("the mark is not listed")


def mark_again(result):
    return None if "here" in marks() else mb("mark", "here", "--json")


def with_slot():
    without_slot()
    must_run("psql", "-Xqc", "SELECT pg_create_physical_replication_slot('mbackup', true)")


def without_slot():
    must_run("psql", "-Xqc", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


# Without streams nothing is held at the mark: partly (3) is right.
command("mark", "mark", "here", "--json", status=3, before=with_slot, judge_more=has_mark, way_again=mark_again)

# -- restores ------------------------------------------------------------------------------------------------------------


def restored_beside(result):
    same(f"{T}/was2/objects", f"{OUT}/r/objects")
    same(f"{T}/was2/etc", f"{OUT}/r/etc{T}/etc")


def beside_again(result):
    # What was written stands in the way of the next one, and must not be taken for something whole.
    world.remove(f"{OUT}/r")
    os.mkdir(f"{OUT}/r")
    return mb("restore", "--yes", "--component", f"uploads={OUT}/r/objects", "--component", f"config={OUT}/r/etc")


command("restore", "restore", "--yes", "--component", f"uploads={OUT}/r/objects", "--component", f"config={OUT}/r/etc",
        before=lambda: os.mkdir(f"{OUT}/r"), judge_more=restored_beside, way_again=beside_again)


def restored_old(result):
    same(f"{T}/was/objects", f"{OUT}/r/objects")




command("objects restore", "objects", "restore", "uploads", f"{OUT}/r/objects", "--at", "@first", "--yes", before=lambda: os.mkdir(f"{OUT}/r"),
        judge_more=restored_old, way_again=lambda result: None)


def redis_restored(result):
    is_digest(digest_of(f"{OUT}/redis"), digests["was2"])


def redis_again(result):
    world.remove(f"{OUT}/redis")
    return mb("redis", "restore", f"{OUT}/redis", "--yes")


command("redis restore", "redis", "restore", f"{OUT}/redis", "--yes", judge_more=redis_restored, way_again=redis_again)


def running_redis(result):
    is_digest(wait_digest(["-p", os.environ["REDIS2_PORT"]]), digests["was2"])


def set_running():
    must_run("redis-cli", "-p", os.environ["REDIS2_PORT"], "flushall")
    must_run("redis-cli", "-p", os.environ["REDIS2_PORT"], "set", "other", "thing")


command("redis restore, running", "redis", "restore", f"redis://127.0.0.1:{os.environ['REDIS2_PORT']}", "--yes", before=set_running, judge_more=running_redis)


def postgres_restored(result):
    must_run("pg_verifybackup", "-n", f"{OUT}/pg")


def postgres_half(result):
    # It comes last; an empty one, made and not yet written, starts no server.
    if result.status and os.path.exists(f"{OUT}/pg/global/pg_control") and os.path.getsize(f"{OUT}/pg/global/pg_control"):
        postgres_restored(result)


def postgres_again(result):
    delta = ["--delta"] if os.path.isdir(f"{OUT}/pg") and os.listdir(f"{OUT}/pg") else []
    return mb("restore", "--yes", *delta, "--component", f"postgres={OUT}/pg")


command("restore postgres", "restore", "--yes", "--component", f"postgres={OUT}/pg", judge_more=postgres_restored, after=postgres_half, way_again=postgres_again)


def in_place_is(state):
    for name in ("objects", "etc"):
        same(f"{T}/{state}/{name}", f"{T}/{name}")


def last_restore_of(conf):
    restores = json.loads(must("rollback", "--list", "--json", conf=conf).out)["restores"]
    return restores[-1]["status"] if restores else "none"


turn = [0]


def settle(conf, whole):
    """A restore in place is whole("backup") when it is finished, also by --continue (in turns), and whole("now") before it begins
    and when it is rolled back, which is how this ends."""
    status = last_restore_of(conf)
    turn[0] += 1
    if status == "unfinished" and turn[0] % 2:
        must("restore", "--continue", "--yes", conf=conf)
        status = "finished"
    if status == "finished":
        whole("backup")
    if status not in ("none", "aborted", "rolled back"):
        must("rollback", "--yes", conf=conf)
    whole("now")
    return status


def small_stack(word):
    in_place_is("was2" if word == "backup" else word)


command("restore in place", "restore", "--yes", "--component", "uploads", "--component", "config", after=lambda result: settle(CONF, small_stack),
        judge_more=lambda result: in_place_is("was2"))


def rollback_before():
    must("restore", "--yes", "--component", "uploads", "--component", "config")


command("rollback", "rollback", "--yes", before=rollback_before, judge_more=lambda result: in_place_is("now"))



def whole_and_forgotten(result):
    in_place_is("was2")
    if glob.glob(f"{T}/objects/.mbackup-old-*"):
        raise Problem("what was kept is still there")


def forget_before():
    rollback_before()
    forget.words = ["rollback", "--forget", json.loads(must("rollback", "--list", "--json").out)["restores"][-1]["id"], "--yes"]


# Nobody can go back any more: what is there stays.
forget = command("rollback --forget", before=forget_before, judge_more=whole_and_forgotten, after=lambda result: in_place_is("was2"))


def goes_on(result):
    """There is no way back: an unfinished one is gone on with."""
    if last_restore_of(CONF) == "unfinished":
        must("restore", "--continue", "--yes")
    in_place_is("now" if last_restore_of(CONF) in ("none", "aborted") else "was2")


command("restore --no-snapshot", "restore", "--no-snapshot", "--yes", "--component", "uploads", "--component", "config", after=goes_on,
        judge_more=lambda result: in_place_is("was2"))



def other_redis(word):
    is_digest(wait_digest(["-p", os.environ["REDIS2_PORT"]]), digests["was2" if word == "backup" else "other"])


command("restore in place, running redis", "restore", "--yes", "--component", "redis", conf=f"{T}/redis2.conf", before=set_running,
        judge_more=lambda result: other_redis("backup"), after=lambda result: settle(f"{T}/redis2.conf", other_redis))

# -- keys, pins, retention --------------------------------------------------------------------------------------------------


def opens(key):
    return mb("list", env={"MBACKUP_REPOSITORY_KEY_FILE": key}).status == 0


def both_open(result):
    if not opens(KEY2) or not opens(f"{T}/key"):
        raise Problem("a key does not open the repository")


def first_opens(result):
    must("list")


command("key add", "key", "add", "--new-key-file", KEY2, "--label", "second", judge_more=both_open, after=first_opens,
        way_again=lambda result: None if opens(KEY2) else mb("key", "add", "--new-key-file", KEY2, "--label", "second"))


def only_first(result):
    must("list")
    if opens(KEY2):
        raise Problem("the key that was removed opens the repository")


command("key remove", "key", "remove", "second", "--yes", before=lambda: must("key", "add", "--new-key-file", KEY2, "--label", "second"), removes=True,
        judge_more=only_first, after=first_opens, statuses_again=(10,))
command("key rotate", "key", "rotate", "--yes", before=lambda: must("key", "add", "--new-key-file", KEY2, "--label", "second"),
        judge_more=lambda result: check_trees("latest", f"{T}/was2/objects", None), after=first_opens)
command("key export", "key", "export", "--paper", after=first_opens)


def pinned(result):
    if not any(b.get("pin") for b in world.backups()):
        raise Problem("the pin is not listed")


command("pin", "pin", "latest", "--reason", "the sweep", judge_more=pinned)
command("unpin", "unpin", "latest", before=lambda: must("pin", "latest"), removes=True, statuses_again=(10,))


def kept(result):
    check_trees("latest", f"{T}/was2/objects", f"{T}/was2/etc")
    must("verify", "--read-data", "full")


command("expire", "expire", "--yes", removes=True, judge_more=kept, after=kept)


def expired_before():
    must("expire", "--yes", "--grace", "0s")


command("expire, blobs", "expire", "--yes", "--grace", "0s", before=expired_before, removes=True, judge_more=kept, after=kept)

# -- archives --------------------------------------------------------------------------------------------------------------------


def archive_whole(result):
    os.makedirs(f"{OUT}/a", exist_ok=True)
    must_run("tar", "-xzf", f"{OUT}/x.tar.gz", "-C", f"{OUT}/a")
    must_run("sha256sum", "-c", "--quiet", "metadata/SHA256SUMS", cwd=f"{OUT}/a")


def archive_after(result):
    if result.status and os.path.exists(f"{OUT}/x.tar.gz"):
        archive_whole(result)


command("export", "export", f"{OUT}/x.tar.gz", "--force", "--component", "uploads", "--component", "config", "--component", "redis",
        env={"TMPDIR": f"{OUT}/tmp"}, judge_more=archive_whole, after=archive_after)


def imported(result):
    same(f"{T}/was2/objects", f"{OUT}/i/objects")
    same(f"{T}/was2/etc", f"{OUT}/i/etc{T}/etc")


command("import", "import", f"{T}/archive.tar.gz", "--yes", "--force", "--component", f"uploads={OUT}/i/objects", "--component", f"config={OUT}/i/etc",
        before=lambda: os.mkdir(f"{OUT}/i"), judge_more=imported)


def archive_before():
    """An archive of Redis too, made once."""
    if not os.path.exists(f"{T}/redis.tar"):
        must("export", f"{T}/redis.tar", "--component", "redis", env={"TMPDIR": f"{OUT}/tmp"})
    set_running()


command("import, redis", "import", f"{T}/redis.tar", "--yes", "--force", "--component", f"redis=redis://127.0.0.1:{os.environ['REDIS2_PORT']}",
        before=archive_before, judge_more=running_redis)


def compat_judge(result):
    archive = result.out.strip()
    os.makedirs(f"{OUT}/a", exist_ok=True)
    must_run("tar", "-xzf", archive, "-C", f"{OUT}/a")
    same(f"{T}/objects", f"{OUT}/a/minio/minio")


COMPAT = {"BACKUP_DIR": f"{OUT}/compat", "BACKUP_TYPE": "minio", "MINIO_DATA_DIR": f"{T}/objects", "COMPRESS": "true", "ENCRYPT": "false", "TMPDIR": f"{OUT}/tmp"}
command("compat backup", "compat", "backup", conf=None, env=COMPAT, judge_more=compat_judge, repository=False)

def objects_back(result):
    same(f"{T}/now/objects", f"{OUT}/target")


command("compat restore", "compat", "restore", "@archive", conf=None, env=dict(COMPAT, MINIO_DATA_DIR=f"{OUT}/target"), before=lambda: os.mkdir(f"{OUT}/target"),
        judge_more=objects_back, repository=False)

# -- beginnings --------------------------------------------------------------------------------------------------------------------


def new_stack(result):
    must("check", conf=f"{OUT}/new.conf")
    must("backup", conf=f"{OUT}/new.conf")


def new_stack_if(result):
    """The configuration is written last: with it, all is there."""
    if result.status and os.path.exists(f"{OUT}/new.conf"):
        new_stack(result)


command("init", "init", "--repository-url", f"{OUT}/new", "--repository-key-file", f"{T}/key", "--spool", f"{OUT}/spool", "--objects", f"uploads=file://{T}/objects",
        "--files", f"{T}/etc", conf=f"{OUT}/new.conf", repository=False, judge_more=new_stack, after=new_stack_if,
        way_again=lambda result: None if os.path.exists(f"{OUT}/new.conf") else mb("init", *INIT, conf=f"{OUT}/new.conf"))
INIT = COMMANDS[-1].words[1:]

def from_old(result):
    must("backup", conf=f"{OUT}/new.conf")


command("init --from-backup-conf", "init", "--from-backup-conf", f"{T}/backup.conf", "--spool", f"{OUT}/spool", conf=f"{OUT}/new.conf", repository=False, judge_more=from_old,
        way_again=lambda result: mb("init", *([] if os.path.exists(f"{OUT}/new.conf") else ["--from-backup-conf", f"{T}/backup.conf", "--spool", f"{OUT}/spool"]),
                                    conf=f"{OUT}/new.conf"), statuses_again=(4,))
command("schedule uninstall", "schedule", "uninstall", "--root", f"{OUT}/root", "--yes",
        before=lambda: (os.mkdir(f"{OUT}/root"), must("schedule", "install", "--systemd", "--root", f"{OUT}/root", "--user", "root", "--yes")),
        judge_more=lambda result: must_run("sh", "-c", f"! find {OUT}/root -name '*.timer' | grep -q ."))
command("schedule install", "schedule", "install", "--systemd", "--root", f"{OUT}/root", "--user", "root", "--yes", before=lambda: os.mkdir(f"{OUT}/root"),
        judge_more=lambda result: must_run("grep", "-rq", "OnCalendar", f"{OUT}/root"))


def due():
    must("schedule", "run-due", conf=f"{T}/due.conf")
    state = json.load(open(f"{T}/spool/schedule.json", encoding="utf-8"))
    for entry in state["schedules"].values():
        entry["seen"] = "2020-01-01T00:00:00Z"
    with open(f"{T}/spool/schedule.json", "w", encoding="utf-8") as file:
        json.dump(state, file)


def ran_check(result):
    if "check" not in json.loads(must("schedule", "show", "--json", conf=f"{T}/due.conf").out)["schedules"][0]["name"]:
        raise Problem("not shown")


command("schedule run", "schedule", "run", "check", conf=f"{T}/due.conf", statuses=(1, 130))
command("schedule run-due", "schedule", "run-due", conf=f"{T}/due.conf", before=due, judge_more=ran_check, statuses=(1, 130))

# -- WAL, streams, daemon -----------------------------------------------------------------------------------------------------------


def wal_segments(count):
    """So many finished segments."""
    names = []
    for _ in range(count):
        names.append(must_run("psql", "-XqAtc", "SELECT pg_walfile_name(pg_current_wal_insert_lsn()) FROM pg_logical_emit_message(true, 'x', 'x')").strip())
        must_run("psql", "-XqAtc", "SELECT pg_switch_wal()")
    return names


segments = []
PGDATA = os.environ["PGDATA"]


def ready():
    """The first was pushed before; two more wait."""
    for name in segments[1:]:
        with open(f"{PGDATA}/pg_wal/archive_status/{name}.ready", "w", encoding="utf-8"):
            pass


def got(name):
    def judge(result):
        must_run("cmp", f"{OUT}/got", f"{PGDATA}/pg_wal/{segments[name]}")

    return judge


def pushed(result):
    world.end_helpers()
    must("wal-get", segments[1], f"{OUT}/got", cwd=PGDATA)
    got(1)(result)


push = command("wal-push", "wal-push", "", before=ready, judge_more=pushed, cwd=PGDATA)


class WalGet(Command):
    """PostgreSQL forces its statuses: 1 is "there is none", which here is never true; else 200 and the code."""

    def explains(self, result):
        return "error: " in result.err


get = WalGet("wal-get", [], cwd=PGDATA, judge_more=got(0), statuses=tuple(range(202, 212)))


def for_a_while(child):
    """Something happens, then it is told to end."""
    for i in range(3):
        time.sleep(0.35)
        if child.poll() is not None:
            return
        with open(f"{T}/objects/streamed", "w", encoding="utf-8") as file:
            file.write(str(i))
        must_run("redis-cli", "-p", os.environ["REDIS_PORT"], "set", "streamed", str(i))
    child.terminate()


def stream_held(result):
    """A stream without a fault after it, a mark: it is held, and comes back."""
    def mark_it(child):
        for _ in range(240):
            time.sleep(0.25)
            done = mb("mark", f"m{time.time_ns()}", "--json")
            held.__dict__.update(done.__dict__)
            if done.status == 0 or (done.status == 3 and set(json.loads(done.out)["mark"]["uncovered"]) == {"redis"}):
                # A gap in the commands of Redis is told; the next backup ends it.
                redis_too.append(done.status == 0)
                streamed.append(json.loads(done.out)["mark"]["name"])
                break
        child.terminate()

    streamed, redis_too, held = [], [], world.Result(0, "", "")
    world.remove(f"{OUT}/m")
    os.mkdir(f"{OUT}/m")
    result = world.run([MBACKUP, "--config", CONF, "stream"], meanwhile=mark_it)
    if not streamed:
        raise Problem(f"no mark is held after the next stream: {held.tail()}, {result.tail()}")
    must("restore", "--to-mark", streamed[0], "--yes", "--component", f"uploads={OUT}/m/objects", *(["--component", f"redis={OUT}/m/redis"] if redis_too[0] else []))
    same(f"{T}/objects", f"{OUT}/m/objects")
    if redis_too[0]:
        is_digest(digest_of(f"{OUT}/m/redis"), wait_digest(["-p", os.environ["REDIS_PORT"]]))


command("stream", "stream", "--component", "uploads", "--component", "config", "--component", "redis", status=143, before=without_slot, meanwhile=for_a_while,
        judge_more=stream_held, way_again=lambda result: None)


def write_rows(child):
    for _ in range(4):
        time.sleep(0.3)
        if child.poll() is not None:
            return
        must_run("psql", "-Xqc", "INSERT INTO t SELECT g, 'stream' FROM generate_series(1, 300) g")
    child.terminate()


def wal_held(result):
    """The next stream goes on without a gap."""
    world.run([MBACKUP, "--config", CONF, "stream", "--component", "postgres"], meanwhile=write_rows)
    gaps = [w["gaps"] for w in json.loads(must("list", "--json").out)["windows"] if w["component"] == "postgres"]
    if gaps != [[]]:
        raise Problem(f"lost WAL: {gaps}")


command("stream postgres", "stream", "--component", "postgres", status=143, meanwhile=write_rows, judge_more=wal_held, way_again=lambda result: None,
        before=without_slot)


def adopt_before():
    must_run("cp", "-a", f"{T}/adoptee", f"{OUT}/adoptee")


def adopted(result):
    if "mbackup.restored" in world.read(f"{OUT}/adoptee/postgresql.auto.conf"):
        raise Problem("is not adopted")


command("adopt", "adopt", f"{OUT}/adoptee", before=adopt_before, judge_more=adopted)


def synced(result):
    found = must_run("psql", "-XqAtc", "SELECT count(*) FROM mbackup.backups").strip()
    if int(found) < 2:
        raise Problem(f"the catalog knows {found} backups")


if os.environ.get("HAS_EXTENSION"):
    command("catalog sync", "catalog", "sync", judge_more=synced)

    def job(child):
        """A backup is asked for in SQL; it ends, or the daemon does."""
        time.sleep(0.5)
        number = must_run("psql", "-XqAtc", "SELECT mbackup.make_job('backup', '{\"components\": [\"config\"]}', 'mbtest', 'mbtest', NULL, NULL)").strip()
        for _ in range(80):
            state = must_run("psql", "-XqAtc", f"SELECT state FROM mbackup.job_table WHERE id = {number}").strip()
            if child.poll() is not None or state in ("done", "failed", "partial", "abandoned"):
                break
            time.sleep(0.1)
        last_job[0] = state
        child.terminate()

    def job_true(result):
        """What is written down as done has been done."""
        if last_job[0] == "done":
            check_trees("latest", None, f"{T}/etc")

    last_job = [None]
    command("daemon", "daemon", conf=f"{T}/daemon.conf", status=143, meanwhile=job, judge_more=job_true, way_again=lambda result: None)

command("version", "version", same_output=True)
command("help", "help", same_output=True)


# -- the base state -----------------------------------------------------------------------------------------------------------------


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def keep(name):
    for tree in ("objects", "etc"):
        must_run("cp", "-a", "--", f"{T}/{tree}", f"{T}/{name}/{tree}")
    digests[name] = wait_digest(["-p", os.environ["REDIS_PORT"]])


def redis(*words):
    must_run("redis-cli", "-p", os.environ["REDIS_PORT"], *words)


def begin():
    """The base state, between the servers that run."""
    for name in ("objects", "etc", "was", "was2", "now", "base", "out"):
        os.makedirs(f"{T}/{name}", exist_ok=True)
    write(f"{T}/objects/big", os.urandom(300000))
    for i in range(8):
        write(f"{T}/objects/d{i % 2}/o{i}", f"object {i}\n" * 50)
    write(f"{T}/etc/app.conf", "option = 1\n")
    write(f"{T}/etc/sub/other.conf", "[a]\nb = c\n")
    os.symlink("app.conf", f"{T}/etc/link")
    for i in range(30):
        redis("set", f"k{i}", "v" * i * 20 + "v")
    redis("hset", "h", "a", "1", "b", "2")
    must_run("psql", "-Xqc", "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 2000) g; CHECKPOINT")
    must("init")
    first = made(must("backup", "--json"))
    keep("was")
    write(f"{T}/objects/d0/new", "new\n")
    os.unlink(f"{T}/objects/d1/o1")
    write(f"{T}/etc/app.conf", "option = 2\n")
    redis("set", "k1", "second")
    must("backup", "--json")
    keep("was2")
    write(f"{T}/objects/d0/o0", "changed\n")
    write(f"{T}/objects/d1/third", "third\n")
    write(f"{T}/etc/sub/more", "more = 1\n")
    redis("set", "k2", "third")
    keep("now")
    must("restore", "--yes", "--component", f"postgres={T}/adoptee")
    for name in os.listdir(f"{T}/adoptee"):
        if name not in ("PG_VERSION", "global", "postgresql.conf", "postgresql.auto.conf", "mbackup_restore.json"):
            world.remove(f"{T}/adoptee/{name}")
    must("export", f"{T}/archive.tar.gz", "--component", "uploads", "--component", "config")
    must("redis", "snapshot", "--output", f"{T}/now.rdb")
    os.makedirs(f"{OUT}/tmp", exist_ok=True)
    archive = world.run([MBACKUP, "compat", "backup"], env=dict(COMPAT, BACKUP_DIR=f"{T}/compat")).out.strip()
    write(f"{T}/backup.conf", f"BACKUP_DIR={OUT}/backups\nMINIO_DATA_DIR={T}/objects\nENCRYPT=false\nRETENTION_DAYS=7\n")
    os.chmod(f"{T}/backup.conf", 0o600)
    write(f"{T}/redis2.conf", re.sub(r"url = redis:.*", f"url = redis://127.0.0.1:{os.environ['REDIS2_PORT']}\ndir = {T}/redis2", world.read(CONF)))
    os.chmod(f"{T}/redis2.conf", 0o600)
    set_running()
    digests["other"] = wait_digest(["-p", os.environ["REDIS2_PORT"]])
    os.makedirs(f"{T}/spool", exist_ok=True)
    segments.extend(wal_segments(3))
    must("wal-push", f"pg_wal/{segments[0]}", cwd=PGDATA)
    push.words = ["wal-push", f"pg_wal/{segments[1]}"]
    get.words = ["wal-get", segments[0], f"{OUT}/got"]
    for c in COMMANDS:
        c.words = [{"@first": first, "@archive": archive}.get(w, w) for w in c.words]
    world.save()
