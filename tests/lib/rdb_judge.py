"""rdb_judge.py MBACKUP DIRECTORY - the mutants of rdb_mutants.py before three judges.

Every mutant goes to `mbackup redis info --rdb`; one that it accepts to redis-check-rdb, one that it refuses to a redis-server
that loads it.  Prints "MUTANTS n", counts, and one line for each verdict that is not explained below; ends with 1 then.
"""
import collections
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from rdb_mutants import Reader

mbackup, directory = sys.argv[1:3]

# mbackup accepts, redis-check-rdb does not: what lies inside of values is its business (rdb.h), and it is of one version.
DEEPER = [
    ("inside an encoding", r"-> .*([Ll]istpack|[Zz]iplist|Intset|[Zz]ipmap|Quicklist).* (integrity check failed|inside stream)"),
    ("inside an encoding", r"Unknown RDB encoding type|Stream listpacks loading failed"),
    ("the same member twice", r"-> .*([Dd]up fields|Duplicate|Duplicated|re-added with existing key)"),
    ("a stream that does not fit together", r"not found in group global PEL|NACK|not the size of a stream ID|Stream .*consumer"),
    ("a score that is no number", r"Zset with NAN score"),
    ("of a later version", r"Can't handle RDB format version|Wrong signature|Invalid object type: (20|21|22|23|24|25|244)\b"),
]
# mbackup refuses, the server loads it.
LAX = [
    ("bytes behind the end", r"bytes behind its end"),
    # The loader takes the 0 by which decompression fails for its result, and the value is lost.
    ("a compressed string of no bytes", r"a bad length of a compressed string"),
    ("a format from before Redis 2.6", r"RDB format \"REDIS000[1-4]\" is not supported"),
]


def why_eof(path, words):
    """redis-check-rdb gives up with no word at a collection without members (servers skip it) and at some others."""
    if re.search(r"empty keys skipped: [1-9]", words):
        return "an empty collection"
    with open(path, "rb") as f:
        reader = Reader(f.read())
    try:
        reader.read()
    except (ValueError, IndexError, KeyError, struct.error):
        pass  # what it has seen until there counts
    if reader.empty:
        return "an empty collection"
    return "inside an encoding" if reader.hollow else "a score that is no number" if reader.nan else None


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout.decode(errors="replace")


def load(name):
    """Does a server load it?  Its last words when not."""
    with tempfile.TemporaryDirectory() as place:
        os.link(f"{directory}/{name}", place + "/dump.rdb")
        server = subprocess.Popen(["prlimit", "--cpu=5", "redis-server", "--port", "0", "--unixsocket", "s", "--dir", place, "--save", ""],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = []
        for line in server.stdout:
            line = line.decode(errors="replace")
            said.append(line)
            if "ready to accept connections" in line:
                break
        loaded = bool(said) and "ready to accept connections" in said[-1]
        server.send_signal(signal.SIGKILL)
        server.stdout.close()
        server.wait()
        return loaded, "".join(said)


def judge(line):
    name, which, kind, what = line.rstrip("\n").split("\t")
    ours, said = run(mbackup, "redis", "info", "--rdb", f"{directory}/{name}")
    # It goes round for ever in some: a second of the processor is a no.
    theirs, their_words = run("prlimit", "--cpu=1", "redis-check-rdb", f"{directory}/{name}") if ours == 0 else (None, "")
    count = "both accept" if ours == 0 else "both refuse"
    trouble = None
    if ours not in (0, 6, 9):
        trouble = f"mbackup ended with {ours}: {said}"
    elif ours == 0 and theirs != 0:
        said = re.search(r"ERROR DETECTED ---\n(.*)", their_words)
        said = said.group(1) if said else their_words
        why = next((name for name, pattern in DEEPER if re.search(pattern, said)), None)
        if not why and "Unexpected EOF" in said:
            why = why_eof(f"{directory}/{name}", load(name)[1])
        count = f"only mbackup accepts: {why}"
        if not why:
            trouble = f"only mbackup accepts it, redis-check-rdb: {said}"
    elif ours != 0:
        loaded, words = load(name)
        why = next((name for name, pattern in LAX if re.search(pattern, said)), None)
        if loaded:
            count = f"only the server accepts: {why}"
        if loaded and not why:
            trouble = f"a server loads it, mbackup says: {said}"
    return count, kind, trouble and f"{name} ({which}, {kind}, {what}): {trouble}"


with open(directory + "/list") as f:
    lines = f.readlines()
with ThreadPoolExecutor(2) as pool:
    verdicts = list(pool.map(judge, lines))
print("MUTANTS", len(verdicts))
for count, n in sorted(collections.Counter(v[0] for v in verdicts).items()):
    print(f"{n:5} {count}")
troubles = [v[2] for v in verdicts if v[2]]
for trouble in troubles:
    print("OPEN", trouble)
sys.exit(bool(troubles))
