"""redis_story.py - a random application of a Redis server.

    redis_story.py PORT SEED STOP-FILE      until the file is there; says how many commands of each kind

Every type and encoding, expiries that pass and that do not, scripts, functions, transactions,
bursts, blocking pops from a second connection, WAIT, SELECT, SWAPDB, FLUSHDB and now and then
FLUSHALL.  An error reply is part of the story (a wrong type is likely): only a lost connection ends it.
"""
import os
import random
import sys
import threading

from redis_wire import Error, Wire

LIBRARY = """#!lua name=lib%d
redis.register_function('both%d', function(keys, args)
  redis.call('set', keys[1], args[1])
  redis.call('rpush', keys[1] .. ':l', args[1], args[1])
  return redis.call('incr', keys[1] .. ':n')
end)
redis.register_function{function_name='peek%d', callback=function(keys, args) return redis.call('get', keys[1]) end, flags={'no-writes'}}"""
SCRIPTS = [
    "for i = 1, tonumber(ARGV[1]) do redis.call('set', KEYS[1] .. i, i) end return 1",
    "redis.call('lpush', KEYS[1], ARGV[1]) redis.call('ltrim', KEYS[1], 0, 20) return redis.call('llen', KEYS[1])",
    "if redis.call('exists', KEYS[1]) == 1 then return redis.call('del', KEYS[1]) end return redis.call('hset', KEYS[1], 'f', ARGV[1])",
    "redis.call('set', KEYS[1], redis.call('time')[2]) return redis.call('pexpire', KEYS[1], 3600000)",
]


class Story:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def key(self, kind):
        # Hostile names too: an empty one, bytes, spaces, line ends.
        if self.r.random() < 0.03:
            return self.r.choice([b"", b"\x00\xff", b"a b", b"line\r\nend", b"*", b"{tag}x"]) + kind.encode()
        return b"%s:%d" % (kind.encode(), self.r.randrange(40))

    def value(self):
        kind = self.r.random()
        if kind < 0.4:
            return str(self.r.randrange(-(10**6), 10**6)).encode()
        if kind < 0.9:
            return self.r.randbytes(self.r.randrange(1, 80))
        if kind < 0.99:
            return self.r.randbytes(self.r.randrange(200, 3000))
        return self.r.randbytes(50000)

    def field(self):
        return b"f%d" % self.r.randrange(self.r.choice([6, 200]))

    def strings(self):
        k = self.key("s")
        return self.r.choice([
            lambda: ("SET", k, self.value()), lambda: ("APPEND", k, self.value()), lambda: ("SETRANGE", k, self.r.randrange(500), self.value()),
            lambda: ("INCRBY", self.key("n"), self.r.randrange(1000)), lambda: ("INCRBYFLOAT", self.key("n"), self.r.uniform(-5, 5)),
            lambda: ("SETBIT", self.key("b"), self.r.randrange(5000), self.r.randrange(2)),
            lambda: ("BITFIELD", self.key("b"), "INCRBY", "u7", self.r.randrange(100), 3), lambda: ("GETDEL", k), lambda: ("GETSET", k, self.value()),
            lambda: ("MSET", k, self.value(), self.key("s"), self.value()), lambda: ("PFADD", self.key("hll"), self.value(), self.value()),
            lambda: ("PFMERGE", self.key("hll"), self.key("hll"), self.key("hll")), lambda: ("LCS", k, self.key("s")),
        ])()

    def lists(self):
        k = self.key("l")
        return self.r.choice([
            lambda: ("RPUSH", k, *[self.value() for _ in range(self.r.choice([1, 3, 30]))]), lambda: ("LPUSH", k, self.value()),
            lambda: ("LINSERT", k, "BEFORE", self.value(), self.value()), lambda: ("LSET", k, self.r.randrange(5), self.value()),
            lambda: ("LTRIM", k, 0, self.r.randrange(100)), lambda: ("LMOVE", k, self.key("l"), "LEFT", "RIGHT"), lambda: ("LPOP", k, 2),
            lambda: ("RPUSH", self.key("q"), self.value()), lambda: ("LREM", k, 1, self.value()),
        ])()

    def sets(self):
        k = self.key("e")
        return self.r.choice([
            lambda: ("SADD", k, *[self.r.randrange(10**5) for _ in range(self.r.choice([1, 10, 600]))]), lambda: ("SADD", k, self.value()),
            lambda: ("SPOP", k, self.r.randrange(1, 5)), lambda: ("SREM", k, self.r.randrange(10**5)),
            lambda: ("SMOVE", k, self.key("e"), self.r.randrange(10**5)), lambda: ("SINTERSTORE", self.key("e"), k, self.key("e")),
            lambda: ("SUNIONSTORE", self.key("e"), k, self.key("e")), lambda: ("SORT", k, "ALPHA", "STORE", self.key("l")),
        ])()

    def sorted_sets(self):
        k = self.key("z")
        return self.r.choice([
            lambda: ("ZADD", k, *[x for _ in range(self.r.choice([1, 5, 150])) for x in (self.r.uniform(-99, 99), self.field())]),
            lambda: ("ZINCRBY", k, self.r.uniform(-3, 3), self.field()), lambda: ("ZREM", k, self.field()), lambda: ("ZPOPMIN", k, 2),
            lambda: ("ZUNIONSTORE", self.key("z"), 2, k, self.key("z")), lambda: ("ZREMRANGEBYRANK", k, 0, 1),
            lambda: ("GEOADD", self.key("g"), self.r.uniform(-180, 180), self.r.uniform(-85, 85), self.field()),
            lambda: ("GEOSEARCHSTORE", self.key("z"), self.key("g"), "FROMLONLAT", 0, 0, "BYRADIUS", 9000, "km"),
            lambda: ("ZRANGESTORE", self.key("z"), k, 0, 10),
        ])()

    def hashes(self):
        k = self.key("h")
        return self.r.choice([
            lambda: ("HSET", k, *[x for _ in range(self.r.choice([1, 4, 200])) for x in (self.field(), self.value())]),
            lambda: ("HDEL", k, self.field()), lambda: ("HINCRBYFLOAT", k, b"fl", self.r.uniform(-2, 2)), lambda: ("HINCRBY", k, b"in", 7),
            lambda: ("HSETNX", k, self.field(), self.value()),
        ])()

    def streams(self):
        k = self.key("x")
        return self.r.choice([
            lambda: ("XADD", k, "*", self.field(), self.value()), lambda: ("XADD", k, "MAXLEN", "~", 50, "*", "a", 1, "b", self.value()),
            lambda: ("XGROUP", "CREATE", k, "g%d" % self.r.randrange(3), "0", "MKSTREAM"), lambda: ("XREADGROUP", "GROUP", "g%d" % self.r.randrange(3), "c%d" % self.r.randrange(3), "COUNT", 3, "STREAMS", k, ">"),
            lambda: ("XAUTOCLAIM", k, "g0", "c1", 0, "0"), lambda: ("XTRIM", k, "MAXLEN", 20), lambda: ("XSETID", k, "9999999999999-1"),
            lambda: ("XGROUP", "DELCONSUMER", k, "g1", "c1"), lambda: ("XGROUP", "DESTROY", k, "g2"), lambda: ("XACK", k, "g0", "1-1"),
        ])()

    def any_key(self):
        return self.key(self.r.choice("s n b l e z h x q g".split()))

    def keys(self):
        k = self.any_key()
        return self.r.choice([
            lambda: ("PEXPIRE", k, self.r.randrange(20, 400)), lambda: ("EXPIRE", k, self.r.randrange(3600, 90000)), lambda: ("PERSIST", k),
            lambda: ("SET", self.key("s"), self.value(), "PX", self.r.choice([50, 300, 7200000])), lambda: ("GETEX", self.key("s"), "EX", 7200),
            lambda: ("DEL", k), lambda: ("UNLINK", k, self.any_key()), lambda: ("RENAME", k, self.any_key()), lambda: ("COPY", k, self.any_key(), "DB", self.r.randrange(4), "REPLACE"),
            lambda: ("MOVE", k, self.r.randrange(4)), lambda: ("EXPIREAT", k, 1), lambda: ("GET", k), lambda: ("TOUCH", k),
        ])()

    def programs(self):
        n = self.r.randrange(3)
        return self.r.choice([
            lambda: ("EVAL", self.r.choice(SCRIPTS), 1, self.any_key(), self.r.randrange(1, 20)),
            lambda: ("FUNCTION", "LOAD", "REPLACE", LIBRARY % (n, n, n)), lambda: ("FCALL", "both%d" % n, 1, self.key("s"), self.value()),
            lambda: ("FCALL_RO", "peek%d" % n, 1, self.key("s")), lambda: ("FUNCTION", "DELETE", "lib%d" % n),
        ])()

    def whole(self):
        p = self.r.random()
        if p < 0.6:
            return ("SELECT", self.r.randrange(4))
        if p < 0.8:
            return ("PUBLISH", "channel", self.value())
        if p < 0.9:
            return ("SWAPDB", self.r.randrange(4), self.r.randrange(4))
        if p < 0.95:
            return ("FLUSHDB",)
        if p < 0.955:
            return ("FLUSHALL",)
        return ("WAIT", self.r.randrange(2), 10)

    KINDS = [(strings, 20), (lists, 14), (sets, 12), (sorted_sets, 12), (hashes, 12), (streams, 12), (keys, 20), (programs, 5), (whole, 4)]

    def command(self):
        kinds, weights = zip(*self.KINDS)
        return self.r.choices(kinds, weights)[0](self)

    def step(self):
        """One command, a transaction, or a burst."""
        p = self.r.random()
        if p < 0.08:
            inner = [self.command() for _ in range(self.r.randrange(1, 12))]
            inner = [c for c in inner if c[0] not in ("WAIT",)]
            return [("MULTI",), *inner, (self.r.choice(["EXEC", "EXEC", "EXEC", "DISCARD"]),)]
        if p < 0.12:
            return [self.command() for _ in range(self.r.randrange(20, 300))]
        return [self.command()]


def pop(port, stop):
    """Whoever waits at the queues: BLPOP and its kind are replicated as what they did."""
    wire = Wire(port)
    queues = ["q:%d" % i for i in range(40)]
    r = random.Random(port)
    while not os.path.exists(stop):
        r.shuffle(queues)
        wire(*r.choice([("BLPOP", *queues[:20], "0.05"), ("BLMOVE", queues[0], "l:1", "LEFT", "RIGHT", "0.02"), ("BZPOPMIN", "z:1", "z:2", "0.02")]))


def main():
    port, seed, stop = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    story, wire, counts = Story(seed), Wire(port), {}
    thread = threading.Thread(target=pop, args=(port, stop))
    thread.start()
    while not os.path.exists(stop):
        commands = story.step()
        for command, reply in zip(commands, wire.burst(commands)):
            name = command[0] + (" (refused)" if isinstance(reply, Error) else "")
            counts[name] = counts.get(name, 0) + 1
    thread.join()
    for name in sorted(counts):
        print(counts[name], name)


if __name__ == "__main__":
    main()
