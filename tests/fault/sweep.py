#!/usr/bin/env python3
"""sweep.py - every command, while one of its calls into the kernel fails, is short, is late or is its last.

    sweep.py [--seconds N] [--commands N] [--part I/N] [--seed N] [--command NAME]... [--kind NAME]... [--per-place N] [--point @PLACE.N:KIND]... [--table] [--list]
    sweep.py --needs ...: the stacks that this run would take, and nothing else

Called by run, which starts the servers.  Without a fault a command is run first, and every place of the program that calls
into the kernel is noted (fault.h).  A point is a place, a kind of fault that can happen there, and which of the calls that are
made there: the first, the last, and one between.  --per-place N: only so many points, chosen by the seed, of each place; --point: only this one, as a problem names it.
--seconds: a sample by the seed that ends after about so long; --commands: of so many commands.  Prints TAP, one test for each command; --table a Markdown table too.
"""
import argparse
import atexit
import collections
import os
import random
import signal
import struct
import sys
import time

import buckets
import commands
import copies
import services
import world
from world import BUILD, CONF, MBACKUP, OUT, T, Problem

FILE = f"{T}/fault"
# What can happen to a call, by its name in fault.h.
KINDS = {
    "write": "EIO ENOSPC EDQUOT EINTR short kill delay", "sync": "EIO ENOSPC kill delay", "rename": "EIO ENOSPC EACCES kill",
    "link": "EIO ENOSPC kill", "unlink": "EIO EACCES kill", "mkdir": "ENOSPC EACCES kill", "truncate": "EIO EINTR kill",
    "allocate": "ENOSPC EINTR kill", "open": "EIO EACCES EMFILE EINTR kill", "read": "EIO EINTR short kill delay",
    "stat": "EIO EACCES kill", "attribute": "EIO EACCES kill", "readdir": "EIO kill", "close": "EIO kill", "socket": "EMFILE kill",
    "connect": "ECONNREFUSED ETIMEDOUT kill delay", "accept": "EMFILE EINTR EAGAIN kill",
    "send": "EPIPE ECONNRESET EINTR EAGAIN short kill delay", "recv": "ECONNRESET ETIMEDOUT eof EINTR EAGAIN short kill delay",
    "poll": "EINTR kill delay", "clock": "ahead back", "fork": "EAGAIN kill",
}
# What nobody may notice.
HARMLESS = {"EINTR", "EAGAIN", "short", "delay"}
SITE = struct.Struct("QQ16s224s")
STATE_SITES = 2048  # where they begin in the file
STATUSES = set(range(0, 12))

Point = collections.namedtuple("Point", "site call path number kind")
counts = collections.defaultdict(collections.Counter)
options = None
seen = collections.Counter()


def fault_env(which, kind, sites=False):
    env = {"MBACKUP_FAULT": f"all:{which}:{kind}:", "MBACKUP_FAULT_FILE": FILE}
    if sites:
        env["MBACKUP_FAULT_SITES"] = "1"
    return env


def hit():
    """(how often it happened, what it happened to)"""
    words = world.read(FILE)[:1024].split("\0")[0].split(None, 2)
    return (int(words[1]), words[2].strip() if len(words) > 2 else "") if len(words) > 1 else (0, "")


def places(command):
    """Every place of the program that makes calls when nothing fails, with how many."""
    command.reset()
    world.remove(FILE)
    result = command.run(fault_env(0, "EIO", True))
    if result.status != command.status:
        raise Problem(f"fails without a fault: exit {result.status}: {result.tail()}")
    command.judge(result)
    found = []
    with open(FILE, "rb") as file:
        data = file.read()
    for at in range(STATE_SITES, len(data) - SITE.size + 1, SITE.size):
        site, calls, call, path = SITE.unpack_from(data, at)
        if site:
            found.append((site, calls, call.split(b"\0")[0].decode(), path.split(b"\0")[0].decode("utf-8", "replace")))
    for _, calls, call, path in found:
        seen[call] += calls
    return result, sorted(found)


def points(found, rng):
    """All of them, in an order by chance."""
    chosen = []
    for site, calls, call, path in found:
        numbers = sorted({1, calls, rng.randint(1, calls)})
        here = [Point(site, call, path, n, kind) for kind in KINDS[call].split() for n in numbers if not options.kind or kind in options.kind]
        # Signals come to one who is told to end; what they interrupt elsewhere ends anyway.
        here = [p for p in here if p.kind != "EINTR" or call not in ("open", "truncate", "allocate") or world.REPO in path]
        # Where all come to nothing less, each kind comes once.
        here = [p for p in here if p.kind not in ("kill", "delay") or p.number == numbers[-1]]
        if options.point:
            here = [p for p in here if f"@{p.site:x}.{p.number}:{p.kind}" in options.point]
        rng.shuffle(here)
        chosen += here[:options.per_place or None]
    rng.shuffle(chosen)
    return chosen


def judge_status(command, point, result):
    killed = point.kind == "kill" and result.status == 137
    if "bug in mbackup" in result.err.lower() or result.status in (134, 139, 99):
        raise Problem(f"exit {result.status}: {result.tail()}")
    if killed or result.status == command.status or result.status in command.statuses:
        return
    # No room for another process is no moment to wait for.
    if point.kind in HARMLESS and point.call != "fork":
        raise Problem(f"is noticed: exit {result.status}: {result.tail()}")
    if result.status not in STATUSES:
        raise Problem(f"exit {result.status} is not of the table: {result.tail()}")
    if not command.explains(result):
        raise Problem(f"exit {result.status} without a word: {result.tail()}")


def try_point(command, point, number):
    """One point; 0: it was not reached."""
    command.reset()
    world.remove(FILE)
    result = command.run(fault_env(f"@{point.site:x}.{point.number}", point.kind))
    times, what = hit()
    if not times:
        return None
    judge_status(command, point, result)
    if result.status == command.status:
        command.judge(result, point.kind in ("ahead", "back"))
    looks = command.same_output
    if not command.removes and not looks:
        gone = command.stack.repository.lost()
        if gone:
            raise Problem(f"lost of the repository: {gone[:5]}")
    if command.repository and (not looks or number % 8 == 0):
        world.must("verify", "--read-data", "full" if number % 8 == 0 else "none", conf=command.conf)
    command.always(result)
    again = command.again(result)
    if again is not None and again.status != command.status and again.status not in command.statuses_again:
        raise Problem(f"exit {result.status} ({result.tail()}); again, without a fault: exit {again.status}: {again.tail()}")
    if again is not None and again.status == command.status:
        command.judge(again)
    return result


def sort_of(problem):
    text = str(problem)
    return "hangs" if text.startswith("hangs") else "lost" if text.startswith("lost") else "other"


def sweep(command, rng, until):
    bad, tried, missed, began = 0, collections.Counter(), 0, time.time()
    mine = counts[command.name]
    try:
        result, found = places(command)
    except Problem as problem:
        print(f"# {command.name}: {problem}", flush=True)
        return False, 0
    mine["places"], mine["calls"] = len(found), sum(f[1] for f in found)
    mine["failed"] = mine["passed"] = 0
    for number, point in enumerate(points(found, rng)):
        if number > 0 and time.time() >= until:
            break
        try:
            done = try_point(command, point, number)
            if done is None:
                mine["missed"] += 1
                continue
            mine["passed" if done.status == command.status else "failed"] += 1
        except Problem as problem:
            bad += 1
            mine[sort_of(problem)] += 1
            print(f"# {command.name}, @{point.site:x}.{point.number}:{point.kind} ({hit()[1] or point.call + ' ' + point.path}): {problem}", flush=True)
        mine["points"] += 1
        mine["kind " + point.kind] += 1
    mine["seconds"] = round(time.time() - began)
    return bad == 0, mine["points"]


def table():
    kinds = [k for k in dict.fromkeys(" ".join(KINDS.values()).split())]
    everything = collections.Counter()
    print("\n| Command | calls | places | points | survived | failed, said so | not reached | problems |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, c in counts.items():
        everything.update(c)
        print(f"| `{name}` | {c['calls']} | {c['places']} | {c['points']} | {c['passed']} | {c['failed']} | {c['missed']} | {c['hangs'] + c['lost'] + c['other']} |")
    c = everything
    print(f"| all {len(counts)} | {c['calls']} | {c['places']} | **{c['points']}** | {c['passed']} | {c['failed']} | {c['missed']} | **{c['hangs'] + c['lost'] + c['other']}** |")
    print("\n| Fault | " + " | ".join(kinds) + " |\n|---|" + "--:|" * len(kinds))
    print("| points | " + " | ".join(str(c["kind " + k]) for k in kinds) + " |")
    print(f"\nHangs: {c['hangs']}. Lost data: {c['lost']}. Silent successes and other problems: {c['other']}.")


def options_of(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--commands", type=int, default=0)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("MBACKUP_SEED") or random.SystemRandom().randint(1, 999999)))
    parser.add_argument("--command", action="append")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--per-place", type=int, default=0)
    parser.add_argument("--point", action="append")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--needs", action="store_true")
    return parser.parse_args(words)


def choose():
    """The commands of this run, in its order."""
    part, parts = (int(x) for x in options.part.split("/"))
    wanted = [c for c in commands.COMMANDS if not options.command or c.name in options.command]
    if options.command and len(wanted) != len(options.command):
        sys.exit(f"no such command; there are: {', '.join(c.name for c in commands.COMMANDS)}")
    wanted = [c for i, c in enumerate(wanted) if i % parts == part - 1]
    if options.seconds:
        random.Random(options.seed).shuffle(wanted)
    return wanted[:options.commands or None]


def main():
    global options
    options = options_of(sys.argv[1:])
    if options.list:
        print("\n".join(c.name for c in commands.COMMANDS))
        return 0
    wanted = choose()
    stacks = list(dict.fromkeys(c.stack for c in wanted))
    if options.needs:
        print(" ".join(stack.name for stack in stacks))
        return 0
    print(f"# seed {options.seed}", flush=True)
    # Ended early, it still says what it has seen.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))
    if options.table:
        atexit.register(table)
    end = time.time() + options.seconds if options.seconds else float("inf")
    commands.begin()
    try:
        for stack in stacks:
            stack.begin()
        return sweep_all(wanted, end)
    finally:
        for stack in stacks:
            stack.end()


def sweep_all(wanted, end):
    failed = 0
    for i, command in enumerate(wanted):
        # What is left of the time is shared by what is left of the commands.
        until = time.time() + (end - time.time()) / (len(wanted) - i) if options.seconds else end
        good, tried = sweep(command, random.Random(f"{options.seed} {command.name}"), until)
        failed += not good
        c = counts[command.name]
        print(f"{'ok' if good else 'not ok'} {i + 1} - {command.name}: {tried} points at {c['places']} places of {c['calls']} calls, "
              f"{c['failed']} failed, {c['passed']} survived, {c['missed']} not reached, {c['seconds']} s", flush=True)
    # Other names of the same functions, as _FILE_OFFSET_BITS makes them, would go by unseen.
    blind = [call for call in ("open", "read", "stat", "readdir", "close") if not seen[call]]
    failed += bool(blind)
    print(f"{'not ok' if blind else 'ok'} {len(wanted) + 1} - the calls of mbackup are seen{': not ' + ' '.join(blind) if blind else ''}")
    print(f"1..{len(wanted) + 1}")
    return failed > 0


sys.exit(main())
