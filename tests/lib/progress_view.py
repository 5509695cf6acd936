"""progress_view.py - watch the progress of a slow backup as people do, and as logs do.

    progress_view.py PROGRAM DIRECTORY

DIRECTORY/N/mbackup.conf (N: 1 to 4) are stacks whose backup takes a second or more.  Prints "0 what" or "1 what".
"""
import datetime
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

from terminal import Tap, Terminal

program, directory = sys.argv[1:3]
tap = Tap()


def argv(n, *words):
    return [program, *words, "--config", f"{directory}/{n}/mbackup.conf"]


# -- a terminal that changes its size -------------------------------------------------------------------

early = False
with Terminal(argv(1, "backup"), columns=100) as t:
    for columns in (100, 24, 200, 60):
        t.resize(columns)
        # What was drawn before the change is still on its way: the second block knows of it.
        try:
            t.expect(r"\x1b\[\d+A", 60)
            t.expect(r"\x1b\[\d+A", 60)
            t.screen.wrapped, begin = 0, t.at
            t.expect(r"\x1b\[\d+A", 60)
        except AssertionError:
            early = True
            break  # it has come to its end
        block = t.text[begin:t.at]
        tap(f"{columns} columns: no line is wider, and the component is named", t.screen.wrapped or "config" not in block and block)
    status = t.end()
    tap("the backup is made", status)
    tap("nothing but moves and clears", [x for x in t.screen.strange if x != "\a"])
    seen = [float(n) * {"KiB": 1, "MiB": 1024}[unit] for n, unit in re.findall(r"copying +([\d.]+) (KiB|MiB)(?!/)", t.text)]
    tap("what is done grows", seen != sorted(seen) or len(seen) < 3 and seen)
    tap("and how fast it goes is said", not re.search(r"copying +[\d.]+ MiB +[\d.]+ [KM]iB/s", t.text) and t.text[:3000])
    shown = t.screen.shown()
    mine = [line for line in shown if line.startswith("config ")]
    # A fast machine is at the end before the terminal is wide again: then there may be no room for the word.
    tap("at the end the component is there once, and done", (len(mine) != 1 or (" done " not in mine[0] and not early)) and shown)
    tap("the answer stands behind it", not any(line.startswith("backup 2") for line in shown))

# -- no terminal, a dumb one, and silence: over ten seconds each, at the same time --------------------------


def feed():
    read, write = os.pipe()
    return read, write


def wait_for_bytes(read, seconds=60):
    """Until it has begun to copy."""
    until, text = time.monotonic() + seconds, b""
    while time.monotonic() < until:
        if select.select([read], [], [], 0.2)[0]:
            data = os.read(read, 65536)
            text += data
            if not data or re.search(rb'"done_bytes":[1-9]', text):
                return bool(data)
    return False


feeds = [feed() for _ in range(3)]
with open(f"{directory}/log", "w") as log:
    plain = subprocess.Popen(argv(2, "backup", "--json"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, preexec_fn=lambda: os.dup2(feeds[0][1], 3), close_fds=False,
                             env={**os.environ, "MBACKUP_PROGRESS_FD": "3", "TERM": "xterm"})
with Terminal(argv(3, "backup"), env={"TERM": "dumb", "MBACKUP_PROGRESS_FD": "3"}, feed=feeds[1][1]) as dumb, Terminal(argv(4, "backup", "--quiet"), env={"MBACKUP_PROGRESS_FD": "3"}, feed=feeds[2][1]) as quiet:
    pids = [plain.pid, dumb.pid, quiet.pid]
    ready = []
    for (read, write), pid in zip(feeds, pids):
        os.close(write)
        ready.append(wait_for_bytes(read))
        os.kill(pid, signal.SIGSTOP)
    tap("all three were stopped in the middle of it", not all(ready))
    time.sleep(10.5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    out, _ = plain.communicate(timeout=120)
    statuses = [plain.returncode, dumb.end(120), quiet.end(120)]
    tap("and went on to their end", any(statuses) and statuses)
    try:
        answer = json.loads(out)
        tap("no terminal: stdout is one JSON object", "backup" not in answer)
    except ValueError as error:
        tap("no terminal: stdout is one JSON object", str(error))
    lines = open(f"{directory}/log").read()
    told = [line for line in lines.splitlines() if re.search(r"info: config +copying", line)]
    tap("no terminal: a log line after ten seconds", not told and lines)
    at = [datetime.datetime.fromisoformat(line.split("Z", 1)[0]) for line in told]
    tap("no terminal: not more than one each ten seconds", any((b - a).total_seconds() < 9.5 for a, b in zip(at, at[1:])) and lines)
    tap("no terminal: no escape sequence", "\x1b" in lines)
    tap("TERM=dumb: the same line", not re.search(r"info: config +copying", dumb.text) and dumb.text)
    tap("TERM=dumb: no escape sequence", "\x1b" in dumb.text or dumb.screen.strange)
    tap("--quiet: nothing but the answer", not quiet.text.startswith("backup 2") and quiet.text)
