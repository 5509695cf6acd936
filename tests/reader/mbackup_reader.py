#!/usr/bin/python3
"""A second reader of mbackup repositories, written from docs/format.md and not from the program.

It shares no code with mbackup: what both read alike is what the page says.  blobs.py has sections
1 to 6 of the page, manifests.py 7 to 9, streams.py 11; here are the commands.  Every checksum, tag,
cap and ordering rule of the page is checked; what is against it ends with exit status 6 (damaged),
7 (wrong key), 9 (unsupported) or 10 (not found).  BACKUP: id of a commit or a set, or "latest".

    mbackup_reader.py [--passphrase-file F | --key-file F] REPOSITORY info | list | verify | streams
    mbackup_reader.py [--passphrase-file F | --key-file F] REPOSITORY extract COMPONENT BACKUP DIR
"""
import argparse
import collections
import hashlib
import json
import os
import stat
import sys

from blobs import (COMMIT, LEASE, MARK, PACK, PROVISIONAL, SET, TOMBSTONE, NotFound, Refused, Repository, need,
                   role_of)
from manifests import AFTER_CUT, Backup
from streams import read_streams


def backups_of(repository, component=None):
    for name in repository.names():
        parts = name.split("/")
        if parts[0] == "backups" and component in (None, parts[1]):
            yield parts[1], parts[2]


def state_at_cut(backup):
    """The newest version of every path that the cut has (section 8)."""
    done = None
    for entry in backup.entries():
        if entry.path == done or entry.flags & AFTER_CUT:
            continue
        done = entry.path
        if entry.type != "m":
            yield entry


def safe_path(root, path):
    """A path below root for a path out of the repository, its parents made; no link is followed."""
    segments = path.split(b"/")
    need(all(s not in (b"", b".", b"..") for s in segments), f"unsafe path {path!r}")
    where = root
    for segment in segments[:-1]:
        where = os.path.join(where, segment)
        if not os.path.lexists(where):
            os.mkdir(where)
        need(stat.S_ISDIR(os.lstat(where).st_mode), f"{path!r}: something is in the way")
    where = os.path.join(where, segments[-1])
    return where


def write_entry(backup, entry, where):
    need(not os.path.lexists(where) or entry.type == "d", f"{entry.path!r}: exists")
    if entry.type == "d":
        if not os.path.isdir(where):
            os.mkdir(where)
    else:
        with open(where, "xb") as file:
            file.write(backup.content(entry))
        os.chmod(where, entry.mode or 0o600)


def find_backup(repository, component, which):
    """The commit of a component that a commit's id, a set's id or "latest" (the newest set) stands for."""
    sets = [name for name in repository.names() if role_of(name) == SET]
    if f"sets/{which}" not in sets + ["sets/latest"]:
        return which
    if not sets:
        raise NotFound("there is no set")
    for member in repository.document(sets[-1] if which == "latest" else f"sets/{which}")["components"]:
        if member["name"] == component and "backup" in member:
            return member["backup"]
    raise NotFound(f"{component} is not in set {which}")


def extract(repository, arguments):
    backup = Backup(repository, arguments.component, find_backup(repository, arguments.component, arguments.backup))
    root, late, count = os.fsencode(arguments.directory), [], 0
    os.makedirs(root, exist_ok=True)
    need(not os.listdir(root), f"{arguments.directory}: not empty")
    for entry in state_at_cut(backup):
        count += 1
        if entry.type in "dhl":
            late.append(entry)
        if entry.type not in "hl":
            write_entry(backup, entry, safe_path(root, entry.path))
    for entry in late:
        where = safe_path(root, entry.path)
        if entry.type == "h":
            os.link(safe_path(root, entry.fields[0x8003]), where, follow_symlinks=False)
        # A tablespace is a link with entries below it: here they stay below the directory.
        elif entry.type == "l" and not os.path.isdir(where):
            os.symlink(entry.fields[0x8003], where)
    for entry in reversed(late):
        if entry.type == "d":
            os.chmod(safe_path(root, entry.path), entry.mode | 0o700)
    print(f"extracted {count} entries of {arguments.component} {backup.head['id']}")


def info(repository, _):
    counts = collections.Counter(name.split("/")[0] for name in repository.names())
    print(f"id {repository.uuid}\ncreated {repository.created}\nsuite {('none', 'aes-256-gcm')[repository.suite]}")
    print(f"epochs {' '.join(map(str, sorted(repository.keys))) or '-'}")
    for role, count in sorted(counts.items()):
        print(f"{role} {count}")


def list_all(repository, _):
    for component, backup in backups_of(repository):
        head = Backup(repository, component, backup).head
        print(f"backup {component} {backup} {head['kind']} {head['type']} {head['sequence']} "
              f"{head['entries']} entries {head['bytes']} bytes")
    for name in repository.names():
        if name.split("/")[0] in ("sets", "marks"):
            print(name, json.dumps(repository.document(name), sort_keys=True))


def streams(repository, _):
    for name, header in read_streams(repository):
        print(name, json.dumps(header, sort_keys=True))


def verify(repository, _):
    """Every frame of every blob, every manifest, every reference, every piece of a stream."""
    blobs = frames = entries = 0
    for name in repository.names():
        blobs += 1
        if role_of(name) == PACK:
            pack = bytes.fromhex(name[-32:])
            count = len(repository.pack_index(name))
            for number in range(count):
                repository.pack_frame(pack, number)
            frames += count + 1
        else:
            frames += len(repository.frames(name))
        if role_of(name) in (SET, MARK, LEASE, TOMBSTONE, PROVISIONAL):
            repository.document(name)
    for component, backup in backups_of(repository):
        entries += verify_backup(repository, Backup(repository, component, backup))
    pieces = sum(1 for _ in read_streams(repository))
    print(f"verified {pieces} pieces, {blobs} blobs, {frames} frames, {entries} entries")


def verify_backup(repository, backup):
    head, count = backup.head, 0
    if head["previous"]:
        name = f"backups/{head['component']}/{head['previous']}/commit"
        if os.path.exists(os.path.join(repository.root, name)):
            need(head["previous_hash"] in ("0" * 64, hashlib.sha256(repository.blob(name)[0]).hexdigest()), f"{name}: was replaced")
            before = Backup(repository, head["component"], head["previous"]).head["sequence"]
            need(head["sequence"] == before + 1, f"{backup.name}: sequence")
    for entry in backup.entries():
        count += 1
        for runs, _, _ in backup.runs(entry):
            for pack, number, offset, length in runs:
                index = repository.pack_index(f"packs/{pack.hex()[:2]}/{pack.hex()}")
                need(number < len(index) and offset + length <= index[number][2], f"{backup.name}: a run beyond its frame")
    return count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--passphrase-file")
    parser.add_argument("--key-file")
    parser.add_argument("repository")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("info", info), ("list", list_all), ("verify", verify), ("streams", streams)):
        commands.add_parser(name).set_defaults(run=function)
    command = commands.add_parser("extract")
    command.set_defaults(run=extract)
    for name in ("component", "backup", "directory"):
        command.add_argument(name)
    arguments = parser.parse_args()
    keys = {}
    for option in ("passphrase_file", "key_file"):
        if getattr(arguments, option):
            with open(getattr(arguments, option), "rb") as file:
                keys[option] = file.read()
    if "passphrase_file" in keys:
        keys["passphrase"] = keys.pop("passphrase_file").rstrip(b"\r\n")
    try:
        arguments.run(Repository(arguments.repository, **keys), arguments)
    except Refused as error:
        print(f"mbackup_reader: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
