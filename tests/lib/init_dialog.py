"""init_dialog.py - answer the questions of "mbackup init" as people do.

    init_dialog.py PROGRAM DIRECTORY

Needs a PostgreSQL ($PGHOST, $PGPORT) and a Redis ($REDIS_URL).  Prints "0 what" or "1 what".  The configuration of the whole
dialog is left as DIRECTORY/enter/mbackup.conf, with a repository that has a backup.
"""
import os
import re
import sys

from terminal import Tap, Terminal

program, directory = sys.argv[1:3]
tap = Tap()
ENTER = "\n"
# What is asked, in this order, up to the last question before anything is written.
QUESTIONS = [r"Which one \(a number, a connection string, or none\) \[1\]: ", r"Which one \(a number, a URL, or none\) \[1\]: ", r"Which \(\[NAME=\]s3://BUCKET.*\[none\]: ",
             r"Which \(absolute paths, .*\]: ", r"Where \(a directory.*\]: ", r"File of the passphrase.*\]: ", r"Write it, and make the repository\? \[Y/n\]: "]


def place(name):
    """A home of its own, with something to find in it."""
    home = f"{directory}/{name}"
    os.makedirs(home + "/work")
    with open(home + "/work/compose.yaml", "w") as file:
        file.write("services: {}\n")
    return home


def start(name, *options, **how):
    home = f"{directory}/{name}"
    env = {"HOME": home, **how.pop("env", {})}
    return Terminal([program, "init", "--config", home + "/mbackup.conf", *options], env=env, cwd=home + "/work", **how)


def left(name):
    """What lies in a place, but for what was there before."""
    home = f"{directory}/{name}"
    return sorted(os.path.relpath(os.path.join(d, f), home) for d, _, files in os.walk(home) for f in files if not f.startswith("compose")) + \
        [d for d in os.listdir(home) if d != "work"]


def to(t, number):
    """Enter, up to a question that is not answered."""
    for question in QUESTIONS[:number]:
        t.expect(question)
        t.send(ENTER)
    t.expect(QUESTIONS[number])


# -- Enter, Enter, Enter -----------------------------------------------------------------------------

home = place("enter")
with start("enter", columns=100) as t:
    to(t, 0)
    tap("the cluster was found, with what it is", not re.search(r"1  PostgreSQL \d+[.\d]*, .* in \d databases, user \w+, at host=", t.text))
    t.send(ENTER)
    t.expect(QUESTIONS[1])
    tap("Redis was found, with its version", "1  Redis " not in t.text)
    t.send(ENTER)
    t.expect(QUESTIONS[2])
    t.send(ENTER)
    t.expect(QUESTIONS[3])
    tap("the compose file here was found", f"[{home}/work/compose.yaml" not in t.text)
    t.send(f"{home}/work\n")
    t.expect(QUESTIONS[4])
    t.send(ENTER)
    t.expect(QUESTIONS[5])
    t.send(ENTER)
    t.expect(QUESTIONS[6])
    shown = t.text[t.text.index("# mbackup.conf"):]
    tap("what would be written is shown before", [x for x in ("[repository]", f"url = {home}/mbackup-repository", "[postgres]", "conninfo = host=", "[redis]", "[files]", f"paths = {home}/work", f"passphrase-file = {home}/passphrase") if x not in shown])
    tap("until then nothing is written", left("enter"))
    t.send(ENTER)
    t.expect(r"repository .* made")
    t.expect(r"\$ mbackup check --config=")
    t.expect(r"ok +repository +repository\.writable")
    t.expect(r"Start it in the background now\? \[y/N\]: ")
    t.send(ENTER)
    t.expect(r"Make it now\? \[Y/n\]: ")
    t.send(ENTER)
    t.expect(r"backup \S+: full, complete")
    t.expect(r"Read all of it again, to prove it\? \[Y/n\]: ")
    t.send(ENTER)
    t.expect(r"The first backup is verified")
    t.expect(r"mbackup key export --paper --config " + re.escape(home))
    status = t.end()
    tap("Enter to every question: exit 0", status != 0 and status)
    tap("bold titles, and no other colour", set(re.findall(r"\x1b\[[0-9;]*m", t.text)) - {"\x1b[1m", "\x1b[0m"} or "\x1b[1m" not in t.text)
conf = open(home + "/mbackup.conf").read()
tap("what was shown is what was written", [line for line in conf.splitlines() if line and not line.startswith("id = ") and line not in shown.replace("\r", "")])
modes = {name: oct(os.stat(f"{home}/{name}").st_mode & 0o777) for name in ("mbackup.conf", "passphrase")}
tap("configuration and passphrase: for the owner only", set(modes.values()) != {"0o600"} and modes)
tap("the passphrase has 256 bits", len(open(home + "/passphrase").read().strip()) != 44)
tap("the passphrase was never shown", open(home + "/passphrase").read().strip() in t.text)

# -- and away ------------------------------------------------------------------------------------------

for i, question in enumerate(QUESTIONS):
    for key, name, wanted, word in (("\x03", "interrupt", 130, "interrupted"), ("\x04", "end", 2, "the input ended")):
        place(f"{name}{i}")
        with start(f"{name}{i}") as t:
            to(t, i)
            t.send(key)
            status = t.end()
            tap(f"{name} at question {i + 1}: exit {wanted}, nothing written, and it says so", [x for x in (status != wanted and f"exit {status}", left(f"{name}{i}"), "nothing was written" not in t.text and t.text[-300:]) if x])
home = place("no")
with start("no") as t:
    to(t, 6)
    t.send("n\n")
    status = t.end()
    tap("no to the last question: exit 2, nothing written", [x for x in (status != 2 and f"exit {status}", left("no"), "nothing was written" not in t.text) if x])
home = place("late")
with start("late") as t:
    to(t, 6)
    t.send(ENTER)
    t.expect(r"Start it in the background now\?")
    t.send("\x03")
    status = t.end()
    tap("interrupted after the writing: exit 130, and what is made is told", [x for x in (status != 130 and f"exit {status}", "configuration are made" not in t.text and t.text[-600:], not os.path.exists(home + "/mbackup.conf") and "no file") if x])

# -- hostile answers -------------------------------------------------------------------------------------

home = place("hostile")
os.makedirs(home + "/full/x")
with start("hostile") as t:
    t.expect(QUESTIONS[0])
    t.send("99\n")
    t.expect("That does not work: .*")
    t.expect(QUESTIONS[0])
    t.send("host=/nowhere port=1\n")
    t.expect(r"That does not work: could not connect")
    t.expect(QUESTIONS[0])
    t.send("\x1b[2J\x07evil\n")
    t.expect("control character")
    t.expect(QUESTIONS[0])
    t.send("none\n")
    t.expect(QUESTIONS[1])
    t.send("redis://user:secret@127.0.0.1:1\n")
    t.expect("That does not work")
    t.expect(QUESTIONS[1])
    t.send("none\n")
    t.expect(QUESTIONS[2])
    t.send("http://not-a-bucket\n")
    t.expect("neither s3://BUCKET nor file:///")
    t.expect(QUESTIONS[2])
    t.send("a]b=file:///tmp\n")
    t.expect("has no name that a section can have")
    t.expect(QUESTIONS[2])
    t.send("none\n")
    t.expect(QUESTIONS[3])
    t.send("relative/path\n")
    t.expect("is not an absolute path")
    t.expect(QUESTIONS[3])
    t.send(f"{home}/none-such\n")
    t.expect("cannot be read")
    t.expect(QUESTIONS[3])
    t.send(f"{home}/work # a comment\n")
    t.expect("begin a comment")
    t.expect(QUESTIONS[3])
    t.send(f"{home}/work\n")
    t.expect(QUESTIONS[4])
    t.send(f"{home}/full\n")
    t.expect("is there and not empty")
    t.expect(QUESTIONS[4])
    t.send("/proc/none/here\n")
    t.expect("cannot be written to")
    t.expect(QUESTIONS[4])
    t.send("x" * 3000 + "\n")
    t.expect("neither an absolute path nor s3://BUCKET")
    t.expect(QUESTIONS[4])
    t.send(f"{home}/repo\n")
    t.expect(QUESTIONS[5])
    t.send(ENTER)
    t.expect(QUESTIONS[6])
    t.send("perhaps\n")
    t.expect("y or n")
    t.expect(QUESTIONS[6])
    t.send("y\n")
    t.expect(r"Make it now\? \[Y/n\]: ")
    t.send("n\n")
    t.expect(r"Make the first backup:\s+mbackup backup --config")
    status = t.end()
    tap("answers that cannot be: asked again, and well in the end", status != 0 and t.text[-500:])
conf = open(home + "/mbackup.conf").read()
tap("... and the file has what was answered", [x for x in (f"url = {home}/repo", f"paths = {home}/work") if x not in conf.splitlines()])
home = place("nothing")
with start("nothing") as t:
    for question in QUESTIONS[:4]:
        t.expect(question)
        t.send("none\n")
    status = t.end()
    tap("none of all: exit 2, nothing written, and what to do", [x for x in (status != 2 and status, left("nothing"), "Run \"mbackup init\" again" not in t.text) if x])

# -- a bucket, by what mc knows ---------------------------------------------------------------------------

home = place("bucket")
os.makedirs(home + "/.mc")
with open(home + "/.mc/config.json", "w") as file:
    file.write('{"version": "10", "aliases": {"play": {"url": "https://play.min.io", "accessKey": "a", "secretKey": "b"}, "shop": {"url": "http://127.0.0.1:1", "accessKey": "shop-key", "secretKey": "hunter2hunter2"}}}')
with start("bucket") as t:
    to(t, 2)
    t.send("uploads=s3://uploads\n")
    t.expect(r"The server of the buckets .* \[http://127.0.0.1:1\]: ")
    t.send(ENTER)
    for question in QUESTIONS[3:6]:
        t.expect(question)
        t.send(ENTER)
    t.expect(QUESTIONS[6])
    t.send(ENTER)
    t.expect(r"background now\?")
    t.send(ENTER)
    t.expect(r"Make it now\?")
    t.send("n\n")
    t.end()
conf = open(home + "/mbackup.conf").read()
tap("a bucket: server and key of mc, the secret in a file of its own", [x for x in ("[objects:uploads]", "endpoint = http://127.0.0.1:1", "access-key = shop-key", f"secret-key-file = {home}/s3-secret-key") if x not in conf.splitlines()]
    or open(home + "/s3-secret-key").read() != "hunter2hunter2" or "hunter2" in t.text)

# -- other terminals, and none ---------------------------------------------------------------------------

for name, env in (("dumb", {"TERM": "dumb"}), ("no-color", {"NO_COLOR": "1"})):
    place(name)
    with start(name, env=env) as t:
        to(t, 4)
        t.send("\x03")
        t.end()
        tap(f"{name}: not one escape sequence", "\x1b" in t.text)
place("yes")
with start("yes", "--yes") as t:
    status = t.end()
    tap("--yes: no question", [x for x in (status != 2 and status, "Which" in t.text, "hint" not in t.text) if x])
place("pipe")
with start("pipe", stdout=f"{directory}/pipe/out") as t:
    status = t.end()
    tap("stdout is a file: no question", [x for x in (status != 2 and status, "Which" in t.text) if x])
with start("enter") as t:
    status = t.end()
    tap("it is all there already: exit 4 and what is there, no question", [x for x in (status != 4 and status, "Which" in t.text, "hint" not in t.text and t.text) if x])
