"""copies.py - a repository with a copy, [repository:NAME]: commands of the fault sweep that write to both, or read the copy."""
import os
import re

import world
from commands import backed_up, beside_again, command, restored_beside, write
from world import CONF, OUT, T, Problem, mb, must, must_run

COPY_CONF = f"{T}/copy.conf"


class Copied(world.Stack):
    """The base stack, with a second repository, and a spool that knows about it."""

    name = "copy"
    copy = world.DirectoryRepository(f"{T}/copy", f"{T}/base/copy")

    def begin(self):
        text = re.sub(r"(?m)^spool = .*", f"spool = {T}/copy-spool", world.read(CONF))
        write(COPY_CONF, text.replace("[repository]", f"[repository:second]\nurl = {T}/copy\n\n[repository]", 1))
        os.chmod(COPY_CONF, 0o600)
        world.reset()
        must("init", conf=COPY_CONF)
        self.copy.save()
        os.rename(f"{T}/copy-spool", f"{T}/base/copy-spool")

    def reset(self):
        world.reset()
        self.copy.reset()
        world.remove(f"{T}/copy-spool")
        must_run("cp", "-a", f"{T}/base/copy-spool", f"{T}/copy-spool")


COPY = Copied()
# What stays with the first, and what a killed put leaves.
ONLY_FIRST = ("leases", "provisional", "tombstones", "probes", "verified")


def blobs(place):
    found = {}
    for root, names, files in os.walk(place):
        names[:] = [n for n in names if root != place or n not in ONLY_FIRST]
        for name in files:
            path = os.path.join(root, name)
            if not name.startswith(".tmp-"):
                found[os.path.relpath(path, place)] = path
    return found


def copy_has_all(result, unless="behind"):
    """Unless it says that the copy is behind."""
    if unless and unless in result.err:
        return
    first, second = blobs(world.REPO), blobs(f"{T}/copy")
    lacking = first.keys() - second.keys()
    if lacking:
        raise Problem(f"lost: the copy lacks {sorted(lacking)[:3]}, and nobody says so")
    for name, path in first.items():
        must_run("cmp", path, second[name])


def copy_keeps_all(result):
    gone = COPY.copy.lost()
    if gone:
        raise Problem(f"lost of the copy: {gone[:5]}")


def caught_up(words, statuses=(0,)):
    """Again, and a backup: who writes next gives the copy what it lacks."""

    def again(result):
        done = mb(*words, conf=COPY_CONF)
        if words[0] == "init" and done.status in statuses:
            done = mb(*WORDS, conf=COPY_CONF)
        if done.status not in statuses:
            raise Problem(f"again, without a fault: exit {done.status}: {done.tail()}")
        copy_has_all(done, None)

    return again


def two_copies(result):
    backed_up(True, True)(result)
    copy_has_all(result)


def no_copy_yet():
    world.remove(f"{T}/copy")
    world.remove(f"{T}/copy-spool")


if not world.REPO.startswith("s3://"):
    WORDS = ["backup", "--component", "uploads", "--component", "config", "--json"]
    command("backup, copy", *WORDS, conf=COPY_CONF, stack=COPY, judge_more=two_copies, after=copy_keeps_all, way_again=caught_up(WORDS))
    command("init, copy", "init", conf=COPY_CONF, stack=COPY, before=no_copy_yet, judge_more=copy_has_all, way_again=caught_up(["init"], (0, 4)))
    command("verify, copy", "verify", "--repository", "second", "--read-data", "full", conf=COPY_CONF, stack=COPY, after=copy_keeps_all)
    command("restore, copy", "restore", "--repository", "second", "--yes", "--component", f"uploads={OUT}/r/objects", "--component", f"config={OUT}/r/etc", conf=COPY_CONF,
            stack=COPY, before=lambda: os.mkdir(f"{OUT}/r"), judge_more=restored_beside, way_again=beside_again)
