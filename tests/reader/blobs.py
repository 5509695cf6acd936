"""Sections 1 to 6 of docs/format.md: names, keys, blobs, frames, packs."""
import functools
import hashlib
import json
import os
import re
import struct
import uuid

import xxhash
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIB = 1 << 20
PACK, COMMIT, SET, MARK, STREAM, KEY, LEASE, TOMBSTONE, PROVISIONAL, PROBE = range(1, 11)
VERIFIED, DRILL = 13, 14
LAST, INDEX = 1, 2
COMPONENT = r"[a-z][a-z0-9_-]{0,62}"
ID = r"\d{8}T\d{6}Z-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
NAMES = [(re.compile(pattern, re.A), role) for pattern, role in (
    (r"keys/\d{8}/[0-9a-f]{16}", KEY), (r"packs/([0-9a-f]{2})/\1[0-9a-f]{30}", PACK),
    (rf"backups/{COMPONENT}/{ID}/commit", COMMIT), (rf"sets/{ID}", SET), (rf"marks/{ID}", MARK),
    (rf"streams/{COMPONENT}/.+", STREAM), (rf"leases/{ID}/\d{{8}}", LEASE),
    (r"tombstones/.+", TOMBSTONE), (r"provisional/.+", PROVISIONAL),
    (rf"probes/{ID}", PROBE), (rf"verified/{ID}", VERIFIED), (rf"drills/{ID}", DRILL))]


class Refused(Exception):
    status = 6


class Damaged(Refused):
    pass


class WrongKey(Refused):
    status = 7


class Unsupported(Refused):
    status = 9


class NotFound(Refused):
    status = 10


def need(condition, message):
    if not condition:
        raise Damaged(message)


def hkdf(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt or None, info).derive(key)


def xxh128(data):
    return xxhash.xxh3_128(data).digest()


def parse_json(data, what):
    """One JSON object; duplicate members are refused."""
    def pairs(items):
        need(len(dict(items)) == len(items), f"{what}: a member stands twice")
        return dict(items)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs)
    except ValueError as error:
        raise Damaged(f"{what}: {error}") from None
    need(isinstance(value, dict), f"{what}: not an object")
    return value


def member(document, name, kind, what):
    value = document.get(name)
    need(isinstance(value, kind) and not isinstance(value, bool), f"{what}: member {name} is missing or wrong")
    need(kind is not int or 0 <= value < 1 << 63, f"{what}: member {name} is out of range")
    return value


class Cursor:
    """Bytes from outside, read in order."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def take(self, count):
        need(count <= self.left(), f"{self.what}: cut short")
        self.at += count
        return self.data[self.at - count:self.at]

    def read(self, form):
        values = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return values if len(values) > 1 else values[0]

    def left(self):
        return len(self.data) - self.at


def role_of(name):
    return next((role for pattern, role in NAMES if pattern.fullmatch(name)), None)


class Repository:
    def __init__(self, root, passphrase=None, key_file=None):
        self.root = root
        self.read_identity()
        self.keys = {}
        has_key = passphrase is not None or key_file is not None
        if self.suite == 0:
            if has_key:
                raise WrongKey("a key was given, but the repository says that it is not encrypted")
            self.page_seed = xxhash.xxh3_64_intdigest(self.id, seed=0)
            return
        if not has_key:
            raise WrongKey("the repository is encrypted: a passphrase or a key file is needed")
        self.open_keys(passphrase, key_file)
        self.page_seed = struct.unpack("<Q", hkdf(self.keys[1], b"", b"mbackup page seed")[:8])[0]

    # section 2
    def read_identity(self):
        try:
            with open(os.path.join(self.root, "mbackup.json"), "rb") as file:
                line = file.read(4097)
        except FileNotFoundError:
            raise NotFound(f"{self.root}: not a repository") from None
        need(48 < len(line) <= 4096, "mbackup.json: wrong size")
        need(line[-48:-35] == b',"checksum":"' and line[-3:] == b'"}\n', "mbackup.json: wrong end")
        need(line[-35:-3] == xxh128(line[:-48]).hex().encode(), "mbackup.json: wrong checksum")
        said = parse_json(line, "mbackup.json")
        need(said.get("magic") == "mbackup", "mbackup.json: wrong magic")
        if member(said, "format", int, "mbackup.json") > 1:
            raise Unsupported(f"format {said['format']} of the repository is newer than this reader")
        need(said["format"] == 1 and said.get("suite") in ("none", "aes-256-gcm"), "mbackup.json: wrong member")
        need(re.fullmatch(TIME, str(said.get("created")), re.A), "mbackup.json: wrong time")
        try:
            self.id = uuid.UUID(str(said.get("id"))).bytes
        except ValueError:
            raise Damaged("mbackup.json: wrong id") from None
        self.uuid, self.created = str(uuid.UUID(bytes=self.id)), said["created"]
        self.suite = ("none", "aes-256-gcm").index(said["suite"])
        again = (f'{{"magic":"mbackup","format":1,"id":"{self.uuid}","created":"{said["created"]}",'
                 f'"suite":"{said["suite"]}"').encode()
        need(line[:-48] == again, "mbackup.json: not as it is written")

    # section 1
    def names(self):
        found = []
        for where, folders, files in os.walk(self.root):
            folders[:] = [f for f in folders if not f.startswith(".tmp-") and (where != self.root or f != "lost+found")]
            for file in files:
                name = os.path.relpath(os.path.join(where, file), self.root)
                if not file.startswith(".tmp-") and len(os.fsencode(name)) <= 511 and role_of(name):
                    found.append(name)
        return sorted(found, key=os.fsencode)

    # section 3
    def open_keys(self, passphrase, key_file):
        need(passphrase is None or len(passphrase) >= 1, "the passphrase is empty")
        need(key_file is None or len(key_file) >= 32, "the key file is shorter than 32 bytes")
        slots = [name for name in self.names() if name.startswith("keys/")]
        need(0 < len(slots) <= 4096, "no key slots, or too many")
        epochs = {int(name.split("/")[1]) for name in slots}
        need(min(epochs) >= 1, "a key slot of epoch 0")
        useless = None
        for name in slots:
            try:
                slot = self.document(name)
                key = passphrase if slot.get("kdf") == "scrypt" else key_file if slot.get("kdf") == "raw" else None
                if key is not None and int(name.split("/")[1]) not in self.keys:
                    self.open_slot(name, slot, key)
            except Damaged as error:
                useless = error  # another slot may let us in
        if not {1, max(epochs)} <= set(self.keys):
            raise useless or WrongKey("no key slot fits: wrong passphrase or key file")

    def open_slot(self, name, slot, key):
        epoch, text = int(name.split("/")[1]), name.split("/")[2]
        fields = {}
        for field, digits in (("salt", 64), ("wrapped", 96), ("commitment", 64)):
            need(re.fullmatch(r"[0-9a-f]{%d}" % digits, member(slot, field, str, name)), f"{name}: {field}")
            fields[field] = bytes.fromhex(slot[field])
        if slot["kdf"] == "scrypt":
            n, r, p = (member(slot, field, int, name) for field in "nrp")
            need(2 <= n <= 1 << 20 and n & (n - 1) == 0 and 1 <= r <= 64 and 1 <= p <= 64 and
                 128 * n * r <= 1 << 30 and n * r * p <= 1 << 26, f"{name}: scrypt parameters")
            kek = hashlib.scrypt(key, salt=fields["salt"], n=n, r=r, p=p, maxmem=(1 << 31) - 1, dklen=32)
        else:
            kek = hkdf(key, fields["salt"], b"mbackup key file")
        number = struct.pack("<I", epoch)
        try:
            epoch_key = AESGCM(kek).decrypt(bytes(12), fields["wrapped"],
                                            b"mbackup slot\0" + self.id + number + text.encode())
        except InvalidTag:
            return
        need(hkdf(epoch_key, self.id, b"mbackup key commitment\0" + number) == fields["commitment"],
             f"{name}: the commitment does not fit")
        self.keys[epoch] = epoch_key

    # section 4
    @functools.lru_cache(maxsize=8)
    def blob(self, name):
        """The bytes of a blob and its key (None with suite 0), the header checked."""
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                data = file.read(64 * MIB + 1)
        except FileNotFoundError:
            raise NotFound(f"{name}: missing") from None
        need(32 <= len(data) <= 64 * MIB, f"{name}: wrong size")
        magic, version, role, suite, epoch, salt = struct.unpack("<8sHBBI16s", data[:32])
        need(magic == b"MBACKUP\n" and version, f"{name}: no blob header")
        if version > 1:
            raise Unsupported(f"{name}: version {version}")
        need(role == role_of(name), f"{name}: role {role}")
        need(suite == (0 if role == KEY else self.suite), f"{name}: suite {suite}")
        if suite == 0:
            need(epoch == 0 and salt == bytes(16), f"{name}: epoch or salt without encryption")
            return data, None
        need(epoch >= 1, f"{name}: epoch 0")
        if epoch not in self.keys:
            raise WrongKey(f"{name}: no key of epoch {epoch}")
        return data, AESGCM(hkdf(self.keys[epoch], salt, b"mbackup blob\0" + bytes([role]) + self.id))

    # section 5
    def frame(self, name, at, number):
        """The frame at an offset: its flags, plain bytes and the offset behind it."""
        data, key = self.blob(name)
        what = f"{name}: frame {number}"
        head = data[at:at + 16]
        need(len(head) == 16, f"{what}: cut short")
        said, flags, codec, zero, plain_len, stored_len = struct.unpack("<IBBHII", head)
        need(said == number and flags in (0, LAST, LAST | INDEX) and codec in (0, 1) and zero == 0, f"{what}: header")
        need(not flags & INDEX or role_of(name) == PACK, f"{what}: an index")
        need(plain_len <= MIB and 32 <= stored_len <= MIB + 32, f"{what}: lengths")
        need(stored_len == plain_len + 32 if codec == 0 else stored_len < plain_len + 32, f"{what}: lengths")
        end = at + 16 + stored_len
        need(end <= len(data), f"{what}: cut short")
        extra = b"mbackup frame\0" + self.id + data[:32] + head + os.fsencode(name)
        if key:
            try:
                sealed = key.decrypt(bytes(4) + struct.pack("<Q", number), data[at + 16:end], extra)
            except InvalidTag:
                raise Damaged(f"{what}: wrong tag") from None
        else:
            sealed = data[at + 16:end - 16]
            need(xxh128(extra + sealed) == data[end - 16:end], f"{what}: wrong tag")
        plain = sealed[16:] if codec == 0 else unpack_zstd(sealed[16:], plain_len, what)
        need(xxh128(plain) == sealed[:16], f"{what}: wrong checksum")
        return flags, plain, end

    def frames(self, name):
        """All frames of a blob but a pack, the rule of the last one checked."""
        data, _ = self.blob(name)
        at, plains, flags = 32, [], 0
        while not flags & LAST:
            flags, plain, at = self.frame(name, at, len(plains))
            plains.append(plain)
        need(at == len(data), f"{name}: bytes behind the last frame")
        return plains

    def document(self, name):
        plain = b"".join(self.frames(name))
        need(len(plain) <= 16 * MIB, f"{name}: too large")
        return parse_json(plain, name)

    # section 6
    @functools.lru_cache(maxsize=64)
    def pack_index(self, name):
        """(offset, stored_len, plain_len) of each data frame of a pack."""
        data, _ = self.blob(name)
        need(len(data) <= 17825792, f"{name}: a pack of {len(data)} bytes")  # section 13
        need(len(data) > 40 and data[-4:] == b"PACK", f"{name}: no tail")
        index_at = struct.unpack("<I", data[-8:-4])[0]
        need(32 <= index_at <= len(data) - 8 - 48, f"{name}: tail")
        # The number of the index frame is the count of the frames before it; the tag covers it.
        count = struct.unpack("<I", data[index_at:index_at + 4])[0]
        flags, plain, end = self.frame(name, index_at, count)
        need(flags == LAST | INDEX and end == len(data) - 8, f"{name}: index frame")
        need(1 <= count <= 65536 and len(plain) == 12 * count, f"{name}: count of frames")
        index, at = list(struct.iter_unpack("<III", plain)), 32
        for offset, stored_len, plain_len in index:
            need(offset == at and struct.unpack("<II", data[at + 8:at + 16]) == (plain_len, stored_len),
                 f"{name}: the index does not fit the frames")
            at += 16 + stored_len
        need(at == index_at, f"{name}: the index stands elsewhere")
        return index

    @functools.lru_cache(maxsize=128)
    def pack_frame(self, pack, number):
        name = f"packs/{pack.hex()[:2]}/{pack.hex()}"
        index = self.pack_index(name)
        need(number < len(index), f"{name}: no frame {number}")
        flags, plain, _ = self.frame(name, index[number][0], number)
        need(flags == 0, f"{name}: frame {number}: flags")
        return plain

    def run(self, run):
        pack, number, offset, length = run
        plain = self.pack_frame(pack, number)
        need(offset + length <= len(plain), f"a run beyond frame {number} of pack {pack.hex()}")
        return plain[offset:offset + length]


def unpack_zstd(payload, plain_len, what):
    try:
        need(payload[:4] == b"\x28\xb5\x2f\xfd", f"{what}: not a zstd frame")
        need(zstandard.get_frame_parameters(payload).dict_id == 0, f"{what}: a dictionary")
        # First with a bound, then to see that the frame ends with the payload.
        with zstandard.ZstdDecompressor().stream_reader(payload) as reader:
            need(len(reader.read(plain_len + 1)) == plain_len, f"{what}: wrong length")
        decoder = zstandard.ZstdDecompressor().decompressobj()
        plain = decoder.decompress(payload)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: {error}") from None
    need(decoder.eof and not decoder.unused_data and len(plain) == plain_len, f"{what}: not one zstd frame")
    return plain
