"""resp_mutants.py - structural mutants of a replication stream, and their judge.

    resp_mutants.py make OUT COUNT SEED STREAM

takes a captured stream apart into commands, arguments and their headers, changes one of these for each mutant and writes
OUT/NNNN (a byte that says in what pieces it is to be read, then the mutant) and OUT/list: "name TAB what was done".

    resp_mutants.py judge OUT FUZZ

lets FUZZ (tests/fuzz/resp_fuzz, under the sanitizers) say how far it understands each of them, and redis-check-aof, which reads
the same format.  Both must end at the same command, but for what no master sends and redis-check-aof lets pass: that is
counted.  Ends with 1 when a verdict is open.
"""
import collections
import os
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

# The scanner is as strict as a replica (networking.c), redis-check-aof takes what strtol takes.
STRICTER = [
    ("a number in a form that no master writes", r"a bad length|without a line feed|a length line without end"),
    ("a command of no words", r"an empty command"),
    ("a SELECT of no database", r"a SELECT without a database"),
    ("an annotation, which only files have", r"no command starts here"),
]


def apart(data):
    """Commands as lists of (header, body)."""
    commands, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        args = []
        count = int(data[at + 1:end])
        at = end + 2
        for _ in range(count):
            end = data.index(b"\r\n", at)
            size = int(data[at + 1:end])
            args.append(data[end + 2:end + 2 + size])
            at = end + 2 + size + 2
        commands.append(args)
    return commands


def number(rng, n):
    return rng.choice([b"%d" % max(n - 1, 0), b"%d" % (n + 1), b"0", b"-1", b"-%d" % n, b"+%d" % n, b" %d" % n, b"0%d" % n, b"%d " % n, b"%dx" % n, b"",
                       b"99999999999", b"9223372036854775807", b"18446744073709551615", b"1" * 30, b"%d" % (2 * n), b"x"])


def encode(command, arg=None, count=None, size=None, ends=None):
    """With one header or one line end that is otherwise than it should be."""
    out = [b"*", count if count is not None else b"%d" % len(command), ends[1] if ends and ends[0] == 0 else b"\r\n"]
    for i, word in enumerate(command):
        bad = ends and ends[0] == i + 1
        out += [b"$", size if size is not None and arg == i else b"%d" % len(word), ends[1] if bad and ends[2] else b"\r\n", word,
                ends[1] if bad and not ends[2] else b"\r\n"]
    return b"".join(out)


def mutate(rng, commands):
    begin = rng.randrange(len(commands))
    part = commands[begin:begin + rng.randrange(3, 30)]
    i = rng.randrange(len(part))
    # Transactions and SELECT are few: look for one half of the time.
    special = [j for j, c in enumerate(part) if c[0].upper() in (b"MULTI", b"EXEC", b"SELECT")]
    if special and rng.random() < 0.5:
        i = rng.choice(special)
    command = part[i]
    encoded = [encode(c) for c in part]
    arg = rng.randrange(len(command))
    how = rng.randrange(12)
    if how == 0:
        what, encoded[i] = "count", encode(command, count=number(rng, len(command)))
    elif how in (1, 2):
        what, encoded[i] = "length", encode(command, arg=arg, size=number(rng, len(command[arg])))
    elif how == 3:
        bad = rng.choice([b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b" \r\n", b"\0\n"])
        what, encoded[i] = "line end", encode(command, ends=(rng.randrange(len(command) + 1), bad, rng.random() < 0.5))
    elif how == 4:
        what, encoded[i] = "removed", b""
    elif how == 5:
        what, encoded[i] = "doubled", encoded[i] * 2
    elif how == 6:
        other = [rng.choice([b"MULTI", b"EXEC", b"multi", b"eXeC", b"SELECT", b"PING", b"DISCARD", b""])] + command[rng.randrange(2):][1:]
        what, encoded[i] = "name", encode(other)
    elif how == 7:
        what, encoded[i] = "word", encode(command[:arg] + [b"*3\r\n$3\r\nSET\r\n", b"\r\n", b"$5", b"EXEC"][rng.randrange(4):][:1] + command[arg + 1:])
    elif how == 8:
        what, encoded[i] = "prefix", rng.choice([b"$", b"+", b":", b"\n", b"#TS:1\r\n", b"PING\r\n", b"\0"]) + encoded[i][rng.randrange(2):]
    elif how == 9:
        at = rng.randrange(len(encoded[i]))
        what, encoded[i] = "byte", encoded[i][:at] + bytes([rng.randrange(256)]) + encoded[i][at + 1:]
    elif how == 10:
        data = b"".join(encoded)
        return "cut off", data[:rng.randrange(len(data))]
    else:
        j = rng.randrange(len(part))
        what = "exchanged"
        encoded[i], encoded[j] = encoded[j], encoded[i]
    return what, b"".join(encoded)


def make(out, count, seed, path):
    rng = random.Random(seed)
    with open(path, "rb") as f:
        commands = apart(f.read())
    os.makedirs(out)
    seen = set()
    with open(out + ".list", "w") as names:
        while len(seen) < count:
            what, mutant = mutate(rng, commands)
            if len(mutant) < 2 or mutant in seen:
                continue
            name = f"{len(seen):05d}"
            seen.add(mutant)
            with open(f"{out}/{name}", "wb") as f:
                f.write(bytes([rng.choice([0, 1, 2, 7, 200])]) + mutant)
            print(name, what, sep="\t", file=names)


def check_aof(path):
    """Where redis-check-aof says the last good command ended."""
    with open(path, "rb") as f, tempfile.NamedTemporaryFile(dir=os.path.dirname(path) + "/..") as aof:
        aof.write(f.read()[1:])
        aof.flush()
        done = subprocess.run(["prlimit", "--cpu=2", "redis-check-aof", aof.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode(errors="replace")
    found = re.search(r"ok_up_to=(\d+)", said)
    return int(found.group(1)) if found else None, said


def discards(path):
    with open(path, "rb") as f:
        return b"\r\nDISCARD\r\n" in f.read()


def judge(out, fuzz):
    said = subprocess.run([fuzz, "-v", out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = said.stdout.decode(errors="replace").splitlines()
    if said.returncode != 0:
        print("OPEN the scanner ended with", said.returncode, *lines[-20:], sep="\n")
        return 1
    with open(out + ".list") as f:
        kinds = dict(line.rstrip("\n").split("\t") for line in f)
    ours = {w[0]: (int(w[1]), int(w[2]), w[4]) for w in (line.split(" ", 4) for line in lines) if w[0] in kinds}
    if len(ours) != len(kinds):
        print(f"OPEN {len(kinds)} mutants, {len(ours)} verdicts")
        return 1
    with ThreadPoolExecutor(2) as pool:
        theirs = dict(zip(kinds, pool.map(lambda name: check_aof(f"{out}/{name}"), kinds)))
    counts, troubles = collections.Counter(), []
    for name, kind in kinds.items():
        boundary, offset, error = ours[name]
        size = os.path.getsize(f"{out}/{name}") - 1
        end, words = theirs[name]
        why = next((text for text, pattern in STRICTER if re.search(pattern, error)), None)
        if boundary == end:
            counts["both to the end" if end == size else "both to the same command"] += 1
        elif discards(f"{out}/{name}"):
            counts["a DISCARD, which ends a transaction for a replica but not for redis-check-aof"] += 1
        elif end is None or boundary > end:
            troubles.append(f"{name} ({kind}): scanned to {boundary}, redis-check-aof to {end}: {words}")
        elif why:
            counts["redis-check-aof goes on: " + why] += 1
        else:
            troubles.append(f"{name} ({kind}): scanned to {boundary} ({error}), redis-check-aof to {end}")
        if error == "-" and offset != size:
            troubles.append(f"{name} ({kind}): no error, but only {offset} of {size} bytes were read")
    print("MUTANTS", len(kinds))
    for count, n in sorted(counts.items()):
        print(f"{n:5} {count}")
    for trouble in troubles:
        print("OPEN", trouble)
    return bool(troubles)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        sys.exit(judge(sys.argv[2], sys.argv[3]))
