"""Sections 7 to 9 of docs/format.md: runs, manifests, page maps, commits."""
import collections
import json
import os
import re
import struct

import xxhash

from blobs import ID, MIB, TIME, Cursor, Damaged, Unsupported, member, need, parse_json

RANGE = 32 * MIB
PAGE = 8192
MASKED, CHANGING, AFTER_CUT, AMBIGUOUS = 1, 2, 4, 8


def crc32c(data):
    crc, table = 0xFFFFFFFF, CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc32c_step(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_TABLE = [crc32c_step(n) for n in range(256)]


def read_run(cursor):
    pack, number, offset, length = cursor.read("16sIII")
    need(length >= 1 and offset + length <= MIB and number < 65536, f"{cursor.what}: a wrong run")
    return pack, number, offset, length


def read_spans(cursor, limit):
    """Spans to the end, taken apart into runs."""
    runs = []
    while cursor.left():
        run, more = read_run(cursor), cursor.read("I")
        need(run[1] + more < 65536 and len(runs) + 1 + more <= limit, f"{cursor.what}: a wrong span")
        runs.append(run)
        runs += [(run[0], run[1] + n, 0, MIB) for n in range(1, more + 1)]
    return runs


def read_refs(cursor, count):
    need(24 * count <= cursor.left(), f"{cursor.what}: cut short")
    pairs = [cursor.read("16sQ") for _ in range(count)]
    need(all(a[0] < b[0] for a, b in zip(pairs, pairs[1:])), f"{cursor.what}: references out of order")
    return collections.Counter(dict(pairs))


def refs_of(runs):
    refs = collections.Counter()
    for pack, _, _, length in runs:
        refs[pack] += length
    return refs


Entry = collections.namedtuple("Entry", "type flags mode uid gid version size mtime ctime inode fsid path fields runs maps")


def read_text(data, what):
    need(b"\0" not in data, f"{what}: a zero byte")
    return data


def read_meta(data, what):
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError:
        raise Damaged(f"{what}: not JSON") from None


def read_xattrs(data, what):
    cursor, pairs = Cursor(data, what), []
    while cursor.left() or not pairs:
        name = read_text(cursor.take(cursor.read("H")), what)
        need(name, f"{what}: an empty name")
        pairs.append((name, cursor.take(cursor.read("I"))))
    return pairs


def read_numbers(data, what):
    need(data and len(data) % 4 == 0, f"{what}: length")
    return [n for n, in struct.iter_unpack("<I", data)]


def read_crc(data, what):
    need(len(data) == 4, f"{what}: length")
    return struct.unpack("<I", data)[0]


def read_map_places(data, what):
    """Where the page maps stand: (encoded map or None, run or None, references) of each."""
    cursor, maps = Cursor(data, what), []
    count = cursor.read("I")
    need(count >= 1, f"{what}: none")
    for _ in range(count):
        inline, encoded, run = cursor.read("B"), None, None
        need(inline in (0, 1), f"{what}: inline {inline}")
        if inline:
            length = cursor.read("I")
            need(length <= 660, f"{what}: an inline map of {length} bytes")
            encoded = cursor.take(length)
        else:
            run = read_run(cursor)
        maps.append((encoded, run, read_refs(cursor, cursor.read("I"))))
    need(not cursor.left(), f"{what}: bytes behind the maps")
    return maps


def read_runs(data, what):
    need(data, f"{what}: none")
    return read_spans(Cursor(data, what), 1 << 20)


FIELDS = {0x0001: read_text, 0x0002: read_text, 0x0003: read_meta, 0x0004: read_xattrs,
          0x0005: read_crc, 0x0006: read_numbers, 0x8001: read_runs, 0x8002: read_map_places, 0x8003: read_text}


def read_record(data):
    what = "a record"
    cursor = Cursor(data, what)
    kind, zero, flags, mode, uid, gid, version, size, mtime, ctime, inode, fsid, length = cursor.read("cBHIIIQQqqQQH")
    if kind not in (b"f", b"d", b"l", b"h", b"o", b"m", b"x") or flags & ~15:
        raise Unsupported(f"{what}: type {kind} or flags {flags}")
    need(zero == 0 and mode <= 0o7777 and 1 <= length <= 4096, f"{what}: a wrong field")
    path = read_text(cursor.take(length), what)
    what = cursor.what = f"entry {path.decode('utf-8', 'backslashreplace')}"
    fields, before = {}, -1
    while cursor.left():
        tag, length = cursor.read("HI")
        need(tag > before, f"{what}: fields out of order")
        before, content = tag, cursor.take(length)
        if tag in FIELDS:
            fields[tag] = FIELDS[tag](content, f"{what}: field {tag:#06x}")
        elif tag & 0x8000:
            raise Unsupported(f"{what}: field {tag:#06x}")
    runs, maps = fields.get(0x8001, []), fields.get(0x8002, [])
    need(not (runs and maps), f"{what}: runs and maps")
    need(maps or sum(run[3] for run in runs) == size, f"{what}: the runs do not add up to the size")
    need(len(maps) == 0 or len(maps) == -(-size // RANGE), f"{what}: {len(maps)} maps for {size} bytes")
    need((kind in b"lh") == (0x8003 in fields), f"{what}: a link without a target, or a target without a link")
    return Entry(kind.decode(), flags, mode, uid, gid, version, size, mtime, ctime, inode, fsid, path, fields, runs, maps)


def read_page_map(encoded, refs, length, what):
    """The runs, page hashes and checksum of one range, which must have this length."""
    cursor = Cursor(encoded, what)
    magic, count, crc, pages, spans = cursor.read("4sIIII")
    need(magic == b"MMAP" and count == length, f"{what}: header")
    need(pages == -(-count // PAGE) and spans <= 512, f"{what}: counts")
    page_hashes = struct.unpack(f"<{pages}Q", cursor.take(8 * pages))
    need(cursor.left() == 32 * spans, f"{what}: length")
    runs = read_spans(cursor, 512)
    need(sum(run[3] for run in runs) == count, f"{what}: the runs do not add up")
    need(refs_of(runs) == refs, f"{what}: the references do not fit the runs")
    return runs, page_hashes, crc


class Backup:
    """One commit (section 9), its parts checked against each other."""

    def __init__(self, repository, component, backup):
        self.repository, self.name = repository, f"backups/{component}/{backup}/commit"
        frames = repository.frames(self.name)
        self.head = head = parse_json(frames[0], self.name)
        if member(head, "format", int, self.name) > 1:
            raise Unsupported(f"{self.name}: format {head['format']}")
        need(head["format"] == 1, f"{self.name}: format")
        need(head.get("id") == backup and head.get("component") == component, f"{self.name}: another backup")
        for name in ("kind", "type"):
            need(1 <= len(member(head, name, str, self.name)) <= 15, f"{self.name}: {name}")
        for name in ("parent", "previous"):
            need(re.fullmatch(f"({ID})?", member(head, name, str, self.name), re.A), f"{self.name}: {name}")
        for name in ("started", "finished"):
            need(re.fullmatch(TIME, member(head, name, str, self.name), re.A), f"{self.name}: {name}")
        for name in ("sequence", "entries", "bytes", "changed_bytes", "stored_bytes"):
            member(head, name, int, self.name)
        need(head["sequence"] >= 1, f"{self.name}: sequence")
        digest = member(head, "previous_hash", str, self.name)
        need(re.fullmatch("[0-9a-f]{64}", digest), f"{self.name}: previous_hash")
        need(bool(head["previous"]) or digest == "0" * 64, f"{self.name}: a hash of nothing")
        member(head, "meta", dict, self.name)
        parts, frames = [], frames[1:]
        for part in ("blocks", "refs"):
            said = member(head, part, dict, self.name)
            left, content = member(said, "bytes", int, self.name), b""
            while left:
                need(frames and len(frames[0]) == min(left, MIB), f"{self.name}: frames of the {part}")
                left -= len(frames[0])
                content += frames.pop(0)
            parts.append((member(said, "count", int, self.name), content))
        need(not frames, f"{self.name}: more frames than parts")
        (self.block_count, self.block_list), (count, refs) = parts
        need(len(refs) == 24 * count, f"{self.name}: reference table")
        self.refs = read_refs(Cursor(refs, self.name), count)

    def blocks(self):
        cursor = Cursor(self.block_list, f"{self.name}: block list")
        for _ in range(self.block_count):
            run = read_run(cursor)
            entries, size, version, length = cursor.read("QQQH")
            need(run[2] == 0, f"{cursor.what}: a block inside a frame")
            yield run, entries, size, version, cursor.take(length)
        need(not cursor.left(), f"{cursor.what}: bytes behind it")

    def entries(self):
        """Every entry in order, all sums and the order checked."""
        refs, before, total, total_bytes = collections.Counter(), None, 0, 0
        for run, count, size, version, path in self.blocks():
            entries, block_refs = self.read_block(run)
            need(len(entries) == count and sum(e.size for e in entries) == size and
                 (entries[0].path, entries[0].version) == (path, version), f"{self.name}: the block list does not fit")
            refs += block_refs + refs_of([run])
            total, total_bytes = total + count, total_bytes + size
            for entry in entries:
                place = (entry.path, -entry.version)
                need(before is None or before < place, f"{self.name}: entries out of order")
                before = place
                yield entry
        need(refs == self.refs, f"{self.name}: the reference table does not fit the blocks")
        need((total, total_bytes) == (self.head["entries"], self.head["bytes"]), f"{self.name}: totals")

    def read_block(self, run):
        frame = self.repository.pack_frame(run[0], run[1])
        cursor = Cursor(frame, f"{self.name}: a block")
        need(len(frame) == run[3], f"{cursor.what}: not the whole frame")
        magic, count, refs = cursor.read("4sII")
        need(magic == b"MBLK" and count >= 1, f"{cursor.what}: header")
        said, entries = read_refs(cursor, refs), []
        for _ in range(count):
            length = cursor.read("I")
            need(length <= 524284, f"{cursor.what}: a record of {length} bytes")
            entries.append(read_record(cursor.take(length)))
        need(not cursor.left(), f"{cursor.what}: bytes behind the records")
        sums = collections.Counter()
        for entry in entries:
            sums += refs_of(entry.runs)
            for _, place, map_refs in entry.maps:
                sums += map_refs + refs_of([place] if place else [])
        need(sums == said, f"{cursor.what}: the references do not fit the records")
        return entries, said

    def runs(self, entry):
        """The runs of an entry's contents, and for a file with page maps what each range must hold."""
        if not entry.maps:
            return [(entry.runs, None, None)]
        ranges = []
        for number, (encoded, place, refs) in enumerate(entry.maps):
            length = min(RANGE, entry.size - number * RANGE)
            encoded = self.repository.run(place) if place else encoded
            ranges.append(read_page_map(encoded, refs, length, f"map {number} of {os.fsdecode(entry.path)}"))
        return ranges

    def content(self, entry):
        parts, what = [], os.fsdecode(entry.path)
        for runs, page_hashes, crc in self.runs(entry):
            part = b"".join(self.repository.run(run) for run in runs)
            if page_hashes is not None:
                need(crc32c(part) == crc, f"{what}: wrong CRC of a range")
                for n, value in enumerate(page_hashes):
                    page = part[n * PAGE:(n + 1) * PAGE]
                    need(xxhash.xxh3_64_intdigest(page, seed=self.repository.page_seed) == value, f"{what}: page {n}")
            parts.append(part)
        content = b"".join(parts)
        need(0x0005 not in entry.fields or crc32c(content) == entry.fields[0x0005], f"{what}: wrong CRC")
        return content
