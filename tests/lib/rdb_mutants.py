"""rdb_mutants.py - structural mutants of RDB files.

    rdb_mutants.py make OUT COUNT SEED FILE...

takes good RDB files apart into fields by a reading of its own (not the one under test), changes one
field of one of them for each mutant, and writes them as OUT/NNNN.rdb with OUT/list: "name TAB checksum TAB
kind TAB what was done".  `checksum` says whether it was made anew ("new", so that only the structure can tell),
is that of the file before ("old") or is zero ("none").

    rdb_mutants.py craft OUT

writes RDB files of kinds that a present server does not write: old types, modules.
"""
import os
import random
import re
import struct
import sys

# -- CRC64 of Redis (Jones) ----------------------------------------------------------------------


def crc_table():
    table = []
    for n in range(256):
        crc = n
        for _ in range(8):
            crc = crc >> 1 ^ 0x95AC9329AC4BC9B5 if crc & 1 else crc >> 1
        table.append(crc)
    return table


TABLE = crc_table()


def crc64(data):
    crc = 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


# -- lengths ----------------------------------------------------------------------------------------


def length(n, form=None):
    """In its shortest form, or in that of 6, 14, 32 or 64 bits."""
    if form is None:
        form = 6 if n < 64 else 14 if n < 16384 else 32 if n < 1 << 32 else 64
    if form == 6:
        return bytes([n & 63])
    if form == 14:
        return struct.pack(">H", 0x4000 | n & 0x3FFF)
    if form == 32:
        return b"\x80" + struct.pack(">I", n & 0xFFFFFFFF)
    return b"\x81" + struct.pack(">Q", n & (1 << 64) - 1)


FITS = {6: 64, 14: 16384, 32: 1 << 32, 64: 1 << 64}

# -- taking apart ------------------------------------------------------------------------------------

# s string, e string that is an encoding of its own (listpack, intset, ...), l number, n count of what is in [],
# 8 4 1 bytes, G 16 bytes, d a double as text, m module
TYPES = {
    0: "s", 1: "n[s]", 2: "n[s]", 3: "n[sd]", 4: "n[ss]", 5: "n[s8]", 7: "m", 9: "e", 10: "e", 11: "e", 12: "e", 13: "e",
    14: "n[e]", 16: "e", 17: "e", 18: "n[le]",
    15: "n[ke]llln[slln[G8l]n[s8n[G]]]",
    19: "n[ke]lllllllln[sllln[G8l]n[s8n[G]]]",
}
OPS = {245: "s", 247: "m", 248: "l", 249: "1", 250: "ss", 251: "ll", 252: "8", 253: "4", 254: "l"}


class Field:
    def __init__(self, kind, at, end, value=None):
        self.kind, self.at, self.end, self.value = kind, at, end, value


class Reader:
    def __init__(self, data):
        self.data, self.at, self.fields, self.records = data, 0, [], []
        self.empty = False  # has a collection without members
        self.nan = False  # has a score as text that is no number
        self.hollow = False  # has an encoding of no bytes

    def add(self, kind, size, value=None):
        self.fields.append(Field(kind, self.at, self.at + size, value))
        self.at += size

    def length(self, kind):
        first = self.data[self.at]
        if first >> 6 == 0:
            size, n = 1, first
        elif first >> 6 == 1:
            size, n = 2, struct.unpack_from(">H", self.data, self.at)[0] & 0x3FFF
        elif first in (0x80, 0x81):
            size = 5 if first == 0x80 else 9
            n = int.from_bytes(self.data[self.at + 1:self.at + size], "big")
        else:
            raise ValueError(f"no length at {self.at}")
        self.add(kind, size, n)
        return n

    def string(self, kind):
        first = self.data[self.at]
        if first in (0xC0, 0xC1, 0xC2):
            self.add("integer", 1 + (1 << first - 0xC0))
        elif first == 0xC3:
            self.add("lzf", 1)
            packed = self.length("lzf packed length")
            self.length("lzf plain length")
            self.add("lzf body", packed)
        else:
            size = self.length("string length")
            if size:
                self.add(kind, size)
            elif kind == "encoding":
                self.hollow = True

    def module(self):
        self.length("module id")
        while True:
            op = self.length("module opcode")
            if op == 0:
                return
            if op in (1, 2):
                self.length("module number")
            elif op in (3, 4):
                self.add("module fixed", 4 if op == 3 else 8)
            else:
                self.string("module string")

    def run(self, program, count=1):
        for _ in range(count):
            i = 0
            while i < len(program):
                c = program[i]
                if c == "n":
                    depth, j = 0, i + 1
                    while True:
                        depth += {"[": 1, "]": -1}.get(program[j], 0)
                        j += 1
                        if depth == 0:
                            break
                    self.run(program[i + 2:j - 1], self.length("count"))
                    i = j
                    continue
                if c in "sek":
                    self.string({"s": "string", "e": "encoding", "k": "stream id"}[c])
                elif c == "l":
                    self.length("number")
                elif c == "d":
                    size = self.data[self.at]
                    score = self.data[self.at + 1:self.at + 1 + size]
                    self.nan = self.nan or size == 253 or size < 253 and not re.match(rb"\s*[-+]?(\.?\d|inf|nan)", score, re.I)
                    self.add("double", 1 + (size if size < 253 else 0))
                elif c == "m":
                    self.module()
                else:
                    self.add("fixed", {"8": 8, "4": 4, "1": 1, "G": 16}[c])
                i += 1

    def read(self):
        self.add("magic", 9)
        while True:
            begin, op = self.at, self.data[self.at]
            self.add("opcode", 1, op)
            if op == 255:
                break
            if op in OPS:
                self.run(OPS[op])
            else:
                self.string("key")
                first = len(self.fields)
                self.run(TYPES[op])
                if TYPES[op].startswith("n[") and op not in (15, 19):
                    self.empty = self.empty or self.fields[first].value == 0
            self.records.append((begin, self.at))
        self.add("checksum", 8)
        if self.at != len(self.data):
            raise ValueError("bytes behind the end")
        return self


# -- changing one field --------------------------------------------------------------------------------


def mutate(rng, data, reader):
    """(kind, what, new bytes without checksum); one field was changed."""
    body = data[:-8]
    fields = [f for f in reader.fields if f.kind != "checksum"]
    how = rng.random()
    if how < 0.10:
        f = rng.choice(fields)
        return "truncated", f"before {f.kind}", body[:f.at]
    if how < 0.14:
        f = rng.choice(fields)
        at = rng.randrange(f.at, f.end) if f.end > f.at else f.at
        return "truncated", f"inside {f.kind}", body[:at]
    if how < 0.20:
        f = rng.choice(fields)
        return "removed", f.kind, body[:f.at] + body[f.end:]
    if how < 0.25:
        f = rng.choice(fields)
        return "doubled", f.kind, body[:f.end] + body[f.at:f.end] + body[f.end:]
    if how < 0.29:
        begin, end = rng.choice(reader.records)
        if rng.random() < 0.5:
            return "record", "removed", body[:begin] + body[end:]
        return "record", "doubled", body[:end] + body[begin:]
    # One kind of field first, then one of it: strings are many, counts are few.
    kind = rng.choice(sorted({f.kind for f in fields}))
    f = rng.choice([f for f in fields if f.kind == kind])
    put = lambda new: body[:f.at] + new + body[f.end:]
    if f.value is not None and kind != "opcode":
        n = f.value
        choice = rng.randrange(9)
        if choice < 2:
            forms = [form for form in FITS if n < FITS[form] and length(n, form) != data[f.at:f.end]]
            form = rng.choice(forms) if forms else 64
            return "form of length", f"{kind} in {form} bits", put(length(n, form))
        if choice == 2:
            return "bad length", f"{kind} special", put(bytes([rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xFF, 0x82, 0xBF])]))
        new = {3: 0, 4: n + 1, 5: max(n - 1, 0), 6: rng.choice([63, 16383, (1 << 32) - 1]), 7: rng.choice([1 << 40, (1 << 63) - 1, (1 << 64) - 1]),
               8: rng.randrange(2 * n + 3)}[choice]
        return "length", f"{kind} {n} to {new}", put(length(new))
    if kind == "opcode":
        new = rng.choice([rng.choice(sorted(TYPES)), rng.choice(sorted(OPS)), rng.randrange(256), 255, 6, 246, 244])
        return "opcode", f"{f.value} to {new}", put(bytes([new]))
    if kind == "magic":
        new = rng.choice([b"REDIS0009", b"REDIS0011", b"REDIS0099", b"REDIS0004", b"VALKEY080", b"REDISxxxx", b"redis0010", b"REDIS0010 "])
        return "magic", new.decode(), put(new)
    if f.end == f.at:
        return "byte", f"one more in {kind}", put(b"x")
    at = rng.randrange(f.at, f.end)
    new = rng.choice([data[at] ^ 1 << rng.randrange(8), 0, 0xFF, rng.randrange(256)])
    return "byte", f"{kind} +{at - f.at}: {data[at]} to {new}", body[:at] + bytes([new]) + body[at + 1:]


def make(out, count, seed, paths):
    rng = random.Random(seed)
    sources = []
    for path in paths:
        with open(path, "rb") as f:
            data = f.read()
        sources.append((os.path.basename(path), data, Reader(data).read()))
    seen = {data for _, data, _ in sources}
    os.makedirs(out, exist_ok=True)
    with open(out + "/list", "w") as names:
        number = 0
        while number < count:
            source, data, reader = sources[number % len(sources)]
            kind, what, body = mutate(rng, data, reader)
            which = rng.choice(["new", "new", "new", "new", "new", "new", "none", "none", "old"])
            # Cut off is cut off; half of them have a footer all the same.
            if kind == "truncated" and rng.random() < 0.5:
                mutant = body
            else:
                end = {"new": struct.pack("<Q", crc64(body)), "none": bytes(8), "old": data[-8:]}[which]
                mutant = body + end
                if rng.random() < 0.03:
                    kind, what, mutant = "behind the end", "", mutant + rng.choice([b"\0", end, b"REDIS0010"])
            if mutant in seen:
                continue
            seen.add(mutant)
            name = f"{number:04d}.rdb"
            with open(f"{out}/{name}", "wb") as f:
                f.write(mutant)
            print(name, which, kind, f"{source}: {what}", sep="\t", file=names)
            number += 1


# -- what no present server writes ----------------------------------------------------------------------


def text(value):
    return length(len(value)) + value


def craft(out):
    os.makedirs(out, exist_ok=True)
    module = b"\x81" + struct.pack(">Q", 0x0123456789ABCC01)
    value = module + b"\1\x07\2\x40\xff" + b"\3" + bytes(4) + b"\4" + bytes(8) + b"\5" + text(b"hello") + b"\0"
    files = {
        "old-types": b"\xfe\0\xfb\4\1"
        + b"\1" + text(b"list") + b"\3" + text(b"a") + b"\xc0\5" + text(b"c" * 70)
        + b"\3" + text(b"zset") + b"\4" + text(b"a") + b"\x041.25" + text(b"b") + b"\xfe" + text(b"c") + b"\xff" + text(b"d") + b"\x0217"
        + b"\xfd" + struct.pack("<i", 1999999999) + b"\0" + text(b"seconds") + text(b"v")
        # A ziplist of one entry: length, last entry, count, (previous, size, bytes), end.
        + b"\x0e" + text(b"quicklist") + b"\1" + text(struct.pack("<IIH", 14, 10, 1) + b"\0\1a\xff"),
        "modules": b"\xf7" + module + b"\2\2" + b"\5" + text(b"aux") + b"\0" + b"\xfe\0\xfb\1\0" + b"\7" + text(b"module") + value,
    }
    for name, body in files.items():
        body = b"REDIS0010\xfa" + text(b"redis-ver") + text(b"7.0.15") + body + b"\xff"
        with open(f"{out}/{name}.rdb", "wb") as f:
            f.write(body + struct.pack("<Q", crc64(body)))


if __name__ == "__main__":
    if sys.argv[1] == "craft":
        craft(sys.argv[2])
    else:
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
