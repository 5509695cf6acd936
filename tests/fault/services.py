"""services.py - a stack whose servers a restore stops and starts, and the commands of the fault sweep that do so.

Below $T/services: a PostgreSQL of one database, a Redis behind a socket, a directory of objects and one of files, and
the spool.  It is as it was in the "backup", or as it is "now", all of it: nothing in between is right.
"""
import glob
import os
import shutil
import signal
import socket
import time

import world
from commands import archive_whole, command, is_digest, last_restore_of, settle, wait_digest, write
from world import OUT, T, Problem, must, must_run, same

S = f"{T}/services"
CONF = f"{T}/services.conf"
REDIS = f"{S}/redis.sock"
KEPT = f"{T}/base/services"
PARTS = ("postgres", "redis", "uploads", "config")
TREES = {"uploads": "objects", "config": "etc"}

START = """#!/bin/bash
exec redis-server --port 0 --unixsocket {redis} --dir {s}/redis --save '' --appendonly yes --enable-debug-command local \\
	--daemonize yes --pidfile {s}/redis.pid --logfile {t}/services-redis.log
"""
STOP = """#!/bin/bash
redis-cli -s {redis} shutdown nosave
for _ in $(seq 300); do redis-cli -s {redis} ping >/dev/null 2>&1 || exit 0; sleep 0.1; done
exit 1
"""
STATUS = """#!/bin/bash
redis-cli -s {redis} ping 2>&1 | grep -qE 'PONG|LOADING'
"""
SETTINGS = """[global]
spool = {s}/spool
workers = 2

[repository]
url = {t}/services-repo
key-file = {t}/key

[postgres]
conninfo = host={s} port={port} user=mbtest dbname=postgres
service = pg_ctl

[redis]
url = unix://{redis}
dir = {s}/redis
service = command
service-stop = {s}/redis-stop
service-start = {s}/redis-start
service-status = {s}/redis-status

[objects:uploads]
url = file://{s}/objects

[files:config]
paths = {s}/etc
secrets = include
"""
CLUSTER = """
port = {port}
listen_addresses = ''
unix_socket_directories = '{s}'
shared_buffers = 16MB
max_connections = 20
fsync = off
autovacuum = off
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def processes():
    """Those that belong to the stack, by their command lines."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if f"{S}/" in world.read(path) and int(path.split("/")[2]) != os.getpid():
                found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def tell(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def stop():
    """All of it at once: what it has is thrown away."""
    for i in range(200):
        there = processes()
        if not there:
            return
        if i in (0, 100):
            tell(there, signal.SIGKILL if i else signal.SIGQUIT)
        time.sleep(0.05)
    raise Problem(f"still there: {[world.read(f'/proc/{p}/cmdline') for p in processes()]}")


class Services(world.Stack):
    name = "services"
    repository = world.DirectoryRepository(f"{T}/services-repo", f"{T}/base/services-repo")

    def __init__(self):
        self.port = 0
        self.touched = True
        self.made = False
        self.truth = {}

    # -- how it is made ---------------------------------------------------------------------------------

    def begin(self):
        self.made = True
        for name in ("objects", "etc", "redis"):
            os.makedirs(f"{S}/{name}")
        self.port = free_port()
        words = {"s": S, "t": T, "redis": REDIS, "port": self.port}
        for name, text in (("start", START), ("stop", STOP), ("status", STATUS)):
            write(f"{S}/redis-{name}", text.format(**words))
            os.chmod(f"{S}/redis-{name}", 0o755)
        write(CONF, SETTINGS.format(**words))
        os.chmod(CONF, 0o600)
        self.make_cluster(CLUSTER.format(**words))
        must_run(f"{S}/redis-start")
        wait_digest(["-s", REDIS])
        self.put("backup")
        must("init", conf=CONF)
        must("backup", conf=CONF)
        self.note("backup")
        self.put("now")
        self.note("now")
        self.stop_gently()
        shutil.rmtree(KEPT, ignore_errors=True)
        must_run("cp", "-a", S, KEPT)
        self.repository.save()

    def make_cluster(self, settings):
        """The databases that nobody opens are most of a cluster."""
        must_run("initdb", "-D", f"{S}/pg", "-U", "mbtest", "-A", "trust", "-k", "-N", "--no-locale", "-E", "UTF8", "--wal-segsize=1")
        with open(f"{S}/pg/postgresql.conf", "a", encoding="utf-8") as file:
            file.write(settings)
        self.start_cluster()
        self.sql("UPDATE pg_database SET datistemplate = false")
        self.sql("DROP DATABASE template0")
        self.sql("DROP DATABASE template1")
        self.sql("CREATE TABLE item AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 2000) g; CREATE TABLE state AS SELECT ''::text AS v; CHECKPOINT")

    def put(self, word):
        self.sql(f"UPDATE state SET v = '{word}'; UPDATE item SET m = md5(m) WHERE id % 7 = 0; INSERT INTO item SELECT max(id) + 1, '{word}' FROM item")
        for i in range(20):
            must_run("redis-cli", "-s", REDIS, "set", f"k{i}", f"{word} {i}" * 20)
        for name in ("o", "a/b", f"only-{word}"):
            write(f"{S}/objects/{name}", word)
        for name in ("f", "d/g", f"only-{word}"):
            write(f"{S}/etc/{name}", f"v = {word}\n")
        if word == "now":
            os.unlink(f"{S}/objects/only-backup")
            os.unlink(f"{S}/etc/only-backup")

    def note(self, word):
        for name in TREES.values():
            must_run("cp", "-a", f"{S}/{name}", f"{T}/services-{word}-{name}")
        self.truth[word] = {"postgres": self.rows(), "redis": wait_digest(["-s", REDIS]), "item": self.sql(ITEM)}

    # -- how it is put back -------------------------------------------------------------------------------

    def reset(self):
        world.end_helpers()
        world.empty_out()
        self.repository.reset()
        if self.touched:
            stop()
            world.remove(S)
            must_run("cp", "-a", KEPT, S)
            self.start_cluster()
            must_run(f"{S}/redis-start")
            wait_digest(["-s", REDIS])
            self.touched = False
        world.remove(f"{S}/spool")
        must_run("cp", "-a", f"{KEPT}/spool", f"{S}/spool")

    def end(self):
        if self.made:
            stop()
            world.remove(f"{S}/redis.pid")

    def start_cluster(self):
        must_run("pg_ctl", "-D", f"{S}/pg", "-l", f"{T}/services-pg.log", "-w", "-t", "120", "start")

    def stop_gently(self):
        must_run("pg_ctl", "-D", f"{S}/pg", "-m", "fast", "-w", "stop")
        must_run(f"{S}/redis-stop")

    # -- what it is --------------------------------------------------------------------------------------

    def sql(self, statement):
        return must_run("psql", "-h", S, "-p", str(self.port), "-U", "mbtest", "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement).strip()

    def rows(self):
        """What is in the tables, and whether the server takes writes, when it is up."""
        for _ in range(600):
            try:
                return self.sql(f"SELECT v, pg_is_in_recovery() FROM state; {ITEM}")
            except Problem as problem:
                last = problem
            time.sleep(0.1)
        raise Problem(f"lost: the cluster does not come up: {last}")

    def is_whole(self, word, parts=PARTS):
        """The parts are as they were at that time, the others as they are now; all servers run."""
        for part in PARTS:
            state = word if part in parts else "now"
            if part == "postgres" and self.rows() != self.truth[state][part]:
                raise Problem(f"lost: {part} is not as it was {state}: {self.rows()}")
            if part == "redis":
                is_digest(wait_digest(["-s", REDIS]), self.truth[state][part])
            if part in TREES:
                same(f"{T}/services-{state}-{TREES[part]}", f"{S}/{TREES[part]}")


ITEM = "SELECT count(*), md5(string_agg(id || m, ',' ORDER BY id, m)) FROM item"
STACK = Services()

# -- in place, with services ------------------------------------------------------------------------------


def restored(parts):
    return lambda result: STACK.is_whole("backup", parts)


def one_of_both(parts):
    """So the next point finds the stack as it was."""

    def after(result):
        status = settle(CONF, lambda word: STACK.is_whole(word, parts))
        left = glob.glob(f"{S}/**/*.mbackup-*", recursive=True) + glob.glob(f"{S}/**/.mbackup-*", recursive=True)
        if left and status != "aborted":
            raise Problem(f"left over: {left}")
        STACK.touched = bool(left)

    return after


def touch():
    STACK.touched = True


def services_command(name, *words, **more):
    return command(name, *words, **{"conf": CONF, "stack": STACK, "way_again": lambda result: None, **more})


for name, parts in (("postgres", ("postgres",)), ("redis", ("redis",)), ("all", PARTS)):
    only = [word for part in parts for word in ("--component", part)] if parts != PARTS else []
    services_command(f"restore in place, {name}", "restore", "--yes", *only, before=touch, judge_more=restored(parts), after=one_of_both(parts))


def finished_before():
    touch()
    must("restore", "--yes", conf=CONF)


def unfinished_before():
    """What was kept was kept, and then the disk failed."""
    touch()
    fault = {"MBACKUP_FAULT": f"write:1+:EIO:{S}/objects/", "MBACKUP_FAULT_FILE": f"{T}/fault-before"}
    world.mb("restore", "--yes", conf=CONF, env=fault)
    if last_restore_of(CONF) != "unfinished":
        raise Problem("the restore that shall be gone on with is not unfinished")


services_command("rollback, all", "rollback", "--yes", before=finished_before, judge_more=lambda result: STACK.is_whole("now"), after=one_of_both(PARTS))
services_command("restore --continue, all", "restore", "--continue", "--yes", before=unfinished_before, judge_more=restored(PARTS), after=one_of_both(PARTS))

# -- one table, into the database of the other stack ---------------------------------------------------------


def scratch_left():
    return [word for path in glob.glob("/proc/[0-9]*/cmdline") for word in [cmdline(path)] if f"{OUT}/tmp/" in word]


def cmdline(path):
    try:
        return world.read(path).replace("\0", " ")
    except OSError:
        return ""


def no_scratch(result):
    """The server that the table came out of is gone, and its directory, or it is said where it is."""
    for _ in range(200):
        if not scratch_left():
            break
        time.sleep(0.1)
    else:
        raise Problem(f"a scratch server is left: {scratch_left()}")
    for name in os.listdir(f"{OUT}/tmp"):
        if result.status != 137 and name not in result.err:
            raise Problem(f"exit {result.status} ({result.tail()}), and {name} is left without a word")


def base_sql(statement):
    return must_run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement).strip()


def there():
    """The rows of the table as it is in the living database, or None."""
    for _ in range(100):
        if base_sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()") == "0":
            break
        time.sleep(0.1)
    return base_sql(ITEM) if base_sql("SELECT to_regclass('public.item') IS NOT NULL") == "t" else None


def no_item():
    base_sql("DROP TABLE IF EXISTS item")


def is_loaded(result):
    if there() != STACK.truth["backup"]["item"]:
        raise Problem(f"the table is not as it was: {there()}")


def loaded_or_not(result):
    """All of it or nothing, and which of both is not claimed otherwise."""
    no_scratch(result)
    found = there()
    if found and "the target is as it was" in result.err:
        raise Problem(f"the table is there, and it says: {result.tail()}")
    if found:
        is_loaded(result)


def load_again(result):
    no_item()
    return must("restore", *INTO, conf=CONF, env=TABLE["env"])


INTO = ["--table", "postgres.public.item", "--into", f"host={T} port={os.environ['PGPORT']} user=mbtest dbname=postgres"]
TABLE = {"env": {"TMPDIR": f"{OUT}/tmp"}}
services_command("restore --table --into", "restore", *INTO, **TABLE, before=no_item, judge_more=is_loaded, after=loaded_or_not, way_again=load_again)


def sql_file(result):
    no_item()
    must_run("psql", "-Xq1", "-v", "ON_ERROR_STOP=1", "-f", f"{OUT}/item.sql")
    is_loaded(result)


def whole_file_or_none(result):
    no_scratch(result)
    if os.path.exists(f"{OUT}/item.sql"):
        sql_file(result)


def write_again(result):
    world.remove(f"{OUT}/item.sql")
    return must("restore", *OUTPUT, conf=CONF, env=TABLE["env"])


OUTPUT = ["--table", "postgres.public.item", "--output", f"{OUT}/item.sql"]
services_command("restore --table --output", "restore", *OUTPUT, **TABLE, judge_more=sql_file, after=whole_file_or_none, way_again=write_again)

# -- other scratch servers -------------------------------------------------------------------------------------


def export_whole(result):
    archive_whole(result)
    must_run("pg_restore", "-l", *glob.glob(f"{OUT}/a/postgres/*.dump"))


def export_after(result):
    no_scratch(result)
    if os.path.exists(f"{OUT}/x.tar.gz"):
        export_whole(result)


services_command("export, all", "export", f"{OUT}/x.tar.gz", "--force", **TABLE, judge_more=export_whole, after=export_after, way_again=None)


def drilled(result):
    """A drill that passed and could not be noted is said to be that."""
    if "could not be noted" not in result.err and "passed" not in must("verify", "--history", conf=CONF).out:
        raise Problem("the drill is not listed")


services_command("verify --restore, all", "verify", "--restore", **TABLE, judge_more=drilled, after=no_scratch, way_again=None, statuses=(1,))
