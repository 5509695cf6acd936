"""Section 11 of docs/format.md: pieces of captured WAL and of captured Redis commands."""
import re

from blobs import COMPONENT, ID, MIB, STREAM, TIME, Unsupported, member, need, parse_json, role_of, xxh128

LSN = r"[0-9A-F]{1,8}/[0-9A-F]{1,8}"
WAL = re.compile(rf"streams/{COMPONENT}/wal/(?P<system_id>\d+)/(?P<timeline>[0-9A-F]{{8}})/(?P<branch>[0-9a-f]{{16}})/"
                 r"(?P<segment>(?P=timeline)[0-9A-F]{16})/(?P<start>[0-9A-F]{8})-(?P<end>[0-9A-F]{8})", re.A)
HISTORY = re.compile(rf"streams/{COMPONENT}/wal/\d+/history/[0-9A-F]{{8}}\.history-([0-9a-f]{{32}})", re.A)
GAP = re.compile(rf"streams/{COMPONENT}/gaps/{ID}", re.A)
REDIS = re.compile(rf"streams/{COMPONENT}/(?P<replid>[0-9a-f]{{40}})/"
                   r"(?P<start>[0-9a-f]{16})-(?P<end>[0-9a-f]{16})", re.A)


class Stretches:
    """The bytes seen of each stream so far: what overlaps must be equal."""

    def __init__(self):
        self.seen = {}

    def add(self, stream, start, data, what):
        for other_start, other in self.seen.setdefault(stream, []):
            low, high = max(start, other_start), min(start + len(data), other_start + len(other))
            need(low >= high or data[low - start:high - start] == other[low - other_start:high - other_start],
                 f"{what}: overlaps another piece with other bytes")
        self.seen[stream].append((start, data))


def read_time(header, name, what):
    if name in header:
        need(re.fullmatch(TIME, member(header, name, str, what), re.A), f"{what}: {name}")


def read_wal(name, parts, frames, stretches):
    header = parse_json(frames[0], name)
    if member(header, "version", int, name) > 1:
        raise Unsupported(f"{name}: version {header['version']}")
    need(len(frames[0]) <= MIB // 2 and header["version"] == 1, f"{name}: header")
    start, end = int(parts["start"], 16), int(parts["end"], 16)
    named = {"system_id": parts["system_id"], "timeline": int(parts["timeline"], 16), "branch": parts["branch"],
             "segment": parts["segment"], "start": start, "end": end}
    need(all(header.get(key) == value for key, value in named.items()), f"{name}: the header is of another piece")
    size = member(header, "segment_size", int, name)
    need(MIB <= size <= 1024 * MIB and size & (size - 1) == 0, f"{name}: segment size")
    need(int(parts["segment"][16:], 16) < (1 << 32) // size, f"{name}: no such segment")
    unit = min(size, 16 * MIB)
    need(start < end <= size and start // unit == (end - 1) // unit, f"{name}: not within a unit")
    for field in ("received", "server_time", "first_commit_time", "last_commit_time"):
        read_time(header, field, name)
    need("received" in header and "server_time" in header, f"{name}: no time")
    need(("first_commit_time" in header) == ("last_commit_time" in header), f"{name}: half of the commit times")
    need(re.fullmatch(LSN, header.get("last_record_lsn", "0/0")), f"{name}: last_record_lsn")
    need(len(header.get("restore_points", [])) <= 1000, f"{name}: too many restore points")
    for point in header.get("restore_points", []):
        need(member(point, "name", str, name) and re.fullmatch(LSN, member(point, "lsn", str, name)),
             f"{name}: restore point")
        read_time(point, "time", name)
    need(HISTORY.fullmatch(header["history"]) if "history" in header else named["timeline"] == 1, f"{name}: history")
    need(re.fullmatch("[0-9a-f]{16}", header.get("parent_branch", "0" * 16)), f"{name}: parent_branch")
    data = b"".join(frames[1:])
    need(re.fullmatch("[0-9a-f]{32}", header.get("hash", "0" * 32)), f"{name}: hash")
    need(len(data) == end - start, f"{name}: another number of bytes than its name says")
    stretches.add(name.rsplit("/", 1)[0], start, data, name)
    return header


def read_point(value, what):
    need(isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value) and value[1] >= 0,
         f"{what}: not a point")
    return value


def read_redis(name, parts, frames, stretches):
    header = parse_json(frames[0], name)
    if member(header, "format", int, name) > 1:
        raise Unsupported(f"{name}: format {header['format']}")
    need(len(frames[0]) <= MIB // 16 and header["format"] == 1, f"{name}: header")
    start, end = int(parts["start"], 16), int(parts["end"], 16)
    need((header.get("replid"), header.get("start"), header.get("end")) == (parts["replid"], start, end),
         f"{name}: the header is of another piece")
    kind, data = header.get("kind"), b"".join(frames[1:])
    need(kind in ("data", "first", "continue", "gap") and start <= end <= start + 8 * MIB, f"{name}: kind or bounds")
    need((kind == "data") == (start < end) and len(data) == end - start and len(frames) >= 2, f"{name}: number of bytes")
    need(member(header, "command", int, name) <= start, f"{name}: command")
    need(type(header.get("db")) is int and header["db"] >= -1 and type(header.get("multi")) is bool,
         f"{name}: db or multi")
    for field in ("from_replid", "from_offset"):
        need((field in header) == (kind in ("continue", "gap")), f"{name}: {field}")
    if "from_replid" in header:
        need(re.fullmatch("[0-9a-f]{40}", member(header, "from_replid", str, name)), f"{name}: from_replid")
        need(member(header, "from_offset", int, name) == start or kind == "gap", f"{name}: from_offset")
    since = read_point(header["since"], name) if "since" in header else [0, 0]
    points = [since] + [read_point(point, name) for point in member(header, "index", list, name)]
    need(len(points) <= 257 and since[1] <= start and points[-1][1] <= end, f"{name}: index")
    need(all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(points, points[1:])), f"{name}: points out of order")
    stretches.add(name.rsplit("/", 1)[0], start, data, name)
    return header


def read_streams(repository):
    """(name, header) of every stream blob, all bytes decoded and every rule checked."""
    stretches = Stretches()
    for name in repository.names():
        if role_of(name) != STREAM:
            continue
        frames = repository.frames(name)
        if match := WAL.fullmatch(name):
            yield name, read_wal(name, match.groupdict(), frames, stretches)
        elif match := REDIS.fullmatch(name):
            yield name, read_redis(name, match.groupdict(), frames, stretches)
        elif match := HISTORY.fullmatch(name):
            need(xxh128(b"".join(frames)).hex() == match[1], f"{name}: other contents than its name says")
            yield name, {"bytes": sum(map(len, frames))}
        elif GAP.fullmatch(name):
            gap = parse_json(b"".join(frames), name)
            need(re.fullmatch(LSN, member(gap, "from", str, name)) and re.fullmatch(LSN, member(gap, "to", str, name)),
                 f"{name}: positions")
            yield name, gap
