"""redis_cluster.py - an application of a Redis Cluster, and a judge of one.

    redis_cluster.py write PORT SEED STOP-FILE    until the file is there
    redis_cluster.py see PORT...                  all keys of all these servers, sorted

The writer follows MOVED and broken lines as a client library does.
"""
import binascii
import os
import random
import sys
import time

from redis_wire import Error, Wire, sweep


def slot_of(key):
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    if end > start + 1:
        key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % 16384


class Cluster:
    def __init__(self, port):
        self.ports, self.wires, self.owners = {port}, {}, {}

    def wire(self, port):
        if port not in self.wires:
            self.wires[port] = Wire(port)
        return self.wires[port]

    def forget(self, port):
        wire = self.wires.pop(port, None)
        if wire:
            wire.close()
        self.owners = {}

    def look(self):
        for port in list(self.ports):
            try:
                slots = self.wire(port)("CLUSTER", "SLOTS")
            except (OSError, EOFError):
                self.forget(port)
                continue
            for first, last, *nodes in slots:
                self.ports.update(node[1] for node in nodes)
                for slot in range(first, last + 1):
                    self.owners[slot] = nodes[0][1]
            return

    def __call__(self, key, *words):
        """For ten seconds; a failover takes two."""
        end = time.monotonic() + 10
        while True:
            if slot_of(key) not in self.owners:
                self.look()
            port = self.owners.get(slot_of(key))
            try:
                reply = self.wire(port)(*words) if port else Error("CLUSTERDOWN")
            except (OSError, EOFError):
                self.forget(port)
                reply = Error("CLUSTERDOWN")
            text = str(reply) if isinstance(reply, Error) else ""
            if text.startswith("ASK "):
                other = self.wire(int(text.rsplit(":", 1)[1]))
                other("ASKING")
                return other(*words)
            if not text.startswith(("MOVED", "CLUSTERDOWN", "TRYAGAIN", "READONLY")):
                return reply
            if time.monotonic() > end:
                raise SystemExit(f"{words!r}: {text}")
            self.owners = {}
            time.sleep(0.02)


def write(port, seed, stop):
    cluster, r, count = Cluster(port), random.Random(seed), 0
    while not os.path.exists(stop):
        n = r.randrange(400)
        user = b"{user:%d}" % n
        words = r.choice([
            ("SET", b"s:%d" % n, r.randbytes(r.randrange(1, 200))), ("INCR", b"n:%d" % n), ("RPUSH", b"l:%d" % n, count, count + 1),
            ("HSET", user + b":h", b"f%d" % r.randrange(20), count), ("ZADD", user + b":z", r.uniform(-9, 9), b"m%d" % r.randrange(20)),
            ("SET", b"t:%d" % n, count, "PX", r.choice([40, 3600000])), ("DEL", b"s:%d" % n), ("XADD", b"x:%d" % n, "*", "f", count),
            ("SPOP", b"e:%d" % n), ("SADD", b"e:%d" % n, *range(r.randrange(1, 9))), ("EVAL", "redis.call('set', KEYS[1], ARGV[1]) return redis.call('incr', KEYS[1])", 1, b"v:%d" % n, count),
        ])
        cluster(words[3] if words[0] == "EVAL" else words[1], *words)
        count += 1
    print(count)


def see(ports):
    lines = []
    time.sleep(0.1)  # what the writer gave milliseconds to live is gone then
    for port in ports:
        wire = Wire(port)
        sweep(wire)
        for key in wire("KEYS", "*"):
            lines.append(f"{wire('PEXPIRETIME', key)} {wire('TYPE', key).decode()} {wire('DEBUG', 'DIGEST-VALUE', key)[0].decode()} {key}")
        for library in wire("FUNCTION", "LIST", "WITHCODE"):
            lines.append(f"{library[1]} {library[-1]}")
    print("\n".join(sorted(set(lines))))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        see(map(int, sys.argv[2:]))
