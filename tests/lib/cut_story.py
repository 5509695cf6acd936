"""cut_story.py - an application that speaks to PostgreSQL and Redis, and the judge of cuts between them.

    cut_story.py write REDIS_PORT STOP_FILE

runs until STOP_FILE exists: threads of two kinds, each with numbers of its own.  Kind a commits row n and then
sets key a:n; kind b sets key b:n and then commits row n.  (libpq by ctypes: its environment says where.)

    cut_story.py judge MARKS WALDUMP ROWS REPLICA OUT NAME...

MARKS: one answer of `mbackup mark --json` a line.  WALDUMP: what pg_waldump says of the source's WAL.  ROWS:
"<kind> <xmin> <n>" a line.  REPLICA: what redis_wire.py captured.  No code of ours is asked: a row is in a cut
when its COMMIT stands in the WAL before the cut's restore point, a key when its SET ends at or before the offset.
Prints one line of JSON for each way to look at the cuts; into OUT go, for each mark that is named, the rows and the
keys that a restore must show (NAME.rows, NAME.keys).

An inversion of kind a is a key without its row, one of kind b a row without its key.
"""
import bisect
import ctypes
import ctypes.util
import json
import os
import random
import statistics
import sys
import threading
import time

from redis_wire import Error, Wire

PQ_COMMAND_OK = 1
THREADS = 4


# -- the application -----------------------------------------------------------------------------


class Database:
    def __init__(self):
        self.pq = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
        self.pq.PQconnectdb.restype = ctypes.c_void_p
        self.pq.PQexec.restype = ctypes.c_void_p
        self.pq.PQerrorMessage.restype = ctypes.c_char_p
        for name in ("PQerrorMessage", "PQresultStatus", "PQclear", "PQstatus"):
            getattr(self.pq, name).argtypes = [ctypes.c_void_p]
        self.pq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self.conn = self.pq.PQconnectdb(b"")
        if self.pq.PQstatus(self.conn) != 0:
            raise OSError(self.pq.PQerrorMessage(self.conn).decode())

    def __call__(self, statement):
        result = self.pq.PQexec(self.conn, statement.encode())
        status = self.pq.PQresultStatus(result)
        self.pq.PQclear(result)
        if status != PQ_COMMAND_OK:
            raise OSError(self.pq.PQerrorMessage(self.conn).decode())


def application(kind, first, port, stop, failed):
    try:
        database, redis, r, n = Database(), Wire(port), random.Random(first), first
        # Half of them do not wait for the disk: the order of the WAL must be enough.
        database("SET synchronous_commit = " + ("off" if first >= THREADS // 2 else "on"))
        while not os.path.exists(stop):
            row = lambda: database(f"INSERT INTO {kind} VALUES ({n})")
            steps = [row, lambda: redis("SET", f"{kind}:{n}", n)]
            for step in steps if kind == "a" else reversed(steps):
                if isinstance(step(), Error):
                    raise OSError("SET was refused")
            n += THREADS
            time.sleep(r.random() * 0.012)
    except Exception as e:
        failed.append(f"{kind}: {e!r}")


def write(port, stop):
    failed = []
    threads = [threading.Thread(target=application, args=("ab"[i % 2], i, port, stop, failed)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text in failed:
        print(text)
    return 1 if failed else 0


# -- what was written, and when ------------------------------------------------------------------


def read_wal(path):
    """The places in the WAL of commits (by xid) and restore points (by name): any rising number will do."""
    commits, points = {}, {}
    with open(path) as f:
        for place, line in enumerate(f):
            head, _, what = line.partition("desc: ")
            if what.startswith("COMMIT"):
                commits[int(head.partition("tx:")[2].split(",")[0])] = place
            elif what.startswith("RESTORE_POINT"):
                points[what.split()[1]] = place
    return commits, points


def read_keys(directory):
    """The offset at which each key's SET ends."""
    with open(directory + "/start") as f:
        start = int(f.read().split()[1])
    with open(directory + "/stream", "rb") as f:
        data = f.read()
    keys, at = {}, 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            break
        words, pos = [], end + 2
        for _ in range(int(data[at + 1:end])):
            end = data.find(b"\r\n", pos)
            size = int(data[pos + 1:end]) if end >= 0 else len(data)
            words.append(data[end + 2:end + 2 + size])
            pos = end + 2 + size + 2
        if pos > len(data):
            break
        at = pos
        if words[0].upper() == b"SET":
            keys[words[1].decode()] = start + at
    return keys


class History:
    def __init__(self, waldump, rows, replica):
        commits, self.points = read_wal(waldump)
        keys = read_keys(replica)
        self.rows, self.keys = {"a": {}, "b": {}}, {"a": {}, "b": {}}
        with open(rows) as f:
            for line in f:
                kind, xid, n = line.split()
                # A row whose commit was not seen would make the judge blind.
                self.rows[kind][int(n)] = commits[int(xid)]
        for key, offset in keys.items():
            kind, n = key.split(":")
            self.keys[kind][int(n)] = offset
        never = float("inf")
        # By the second step, with the latest first step of all so far: does a cut have a second without its first?
        self.a = self.running([(offset, self.rows["a"].get(n, never), n) for n, offset in self.keys["a"].items()])
        self.b = self.running([(place, self.keys["b"].get(n, never), n) for n, place in self.rows["b"].items()])
        # By the first step: does it have a first without its second?
        self.a_first = self.running([(place, self.keys["a"].get(n, never), n) for n, place in self.rows["a"].items()])
        self.b_first = self.running([(offset, self.rows["b"].get(n, never), n) for n, offset in self.keys["b"].items()])

    @staticmethod
    def running(pairs):
        pairs.sort()
        highest, top = [], -1
        for pair in pairs:
            top = max(top, pair[1])
            highest.append(top)
        return pairs, highest

    @staticmethod
    def missing(side, limit, other):
        """The numbers whose one step is in the cut (at or before limit) while the other is not."""
        pairs, highest = side
        i = bisect.bisect_right(pairs, (limit, float("inf"), 0))
        if i == 0 or highest[i - 1] <= other:
            return []
        return [n for _, step, n in pairs[:i] if step > other]

    def inversions(self, place, offset):
        return self.missing(self.a, offset, place), self.missing(self.b, place, offset)

    def half_done(self, place, offset):
        """How many pairs the cut holds only the first step of: it went through the middle of something."""
        return len(self.missing(self.a_first, place, offset)) + len(self.missing(self.b_first, offset, place))

    def expect(self, name, place, offset, out):
        for what, steps, inside in (("rows", self.rows, lambda p: p < place), ("keys", self.keys, lambda o: o <= offset)):
            with open(f"{out}/{name}.{what}", "w") as f:
                for kind in "ab":
                    for n in sorted(n for n, at in steps[kind].items() if inside(at)):
                        f.write(f"{kind}:{n}\n")


# -- the verdict ---------------------------------------------------------------------------------


def judge(marks, waldump, rows, replica, out, *names):
    history = History(waldump, rows, replica)
    looks, pauses = {}, []
    with open(marks) as f:
        cuts = [json.loads(line)["mark"] for line in f]
    for cut in cuts:
        name, cut = cut["name"], cut["cut"]
        redis, place = cut["positions"]["redis"], history.points[cut["restore_point"]]
        kind = "paused" if cut["consistency"] == "paused" else redis["side"]
        if name in names:
            history.expect(name, place, redis["offset"], out)
        if kind == "paused":
            pauses.append(cut["pause_ms"])
        sides = {kind: redis["offset"]}
        if kind != "paused":
            sides.update({"bracket-before": redis["before"]["offset"], "bracket-after": redis["after"]["offset"]})
        for side, offset in sides.items():
            look = looks.setdefault(side, dict(look=side, cuts=0, half_done=0, a=0, b=0, a_cuts=0, b_cuts=0))
            a, b = history.inversions(place, offset)
            look["cuts"] += 1
            look["half_done"] += history.half_done(place, offset) > 0
            look["a"] += len(a)
            look["b"] += len(b)
            look["a_cuts"] += bool(a)
            look["b_cuts"] += bool(b)
    if pauses:
        looks["paused"].update(median_ms=statistics.median(pauses), worst_ms=max(pauses))
    print(json.dumps(dict(look="pairs", a=len(history.keys["a"]), b=len(history.keys["b"]))))
    for look in looks.values():
        print(json.dumps(look))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        sys.exit(write(int(sys.argv[2]), sys.argv[3]))
    judge(*sys.argv[2:])
