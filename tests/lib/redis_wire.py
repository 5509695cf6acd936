"""redis_wire.py - a connection to a Redis server, and a replica that is not ours.

    redis_wire.py replica PORT DIRECTORY

takes the server's RDB into DIRECTORY/base.rdb and every stream byte behind it into
DIRECTORY/stream, until it is told to stop (SIGTERM); DIRECTORY/start has "<replid> <offset>".

    redis_wire.py build DIRECTORY OFFSET TARGET

makes TARGET a directory that a stock server (7.0 and later) loads to exactly that offset.

    redis_wire.py see PORT [DATABASES]

prints all that counts of a server: of every key its expiry, type, DEBUG DIGEST-VALUE and name,
then the functions and the DEBUG DIGEST of it all.
"""
import os
import signal
import socket
import sys
import time


class Error(Exception):
    pass


class Wire:
    """RESP2, and nothing but a socket."""

    def __init__(self, port, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def close(self):
        self.sock.close()

    @staticmethod
    def encode(words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            if not isinstance(word, bytes):
                word = str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        return b"".join(out)

    def send(self, *words):
        self.sock.sendall(self.encode(words))

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError("the server closed the connection")
        self.buf += data

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def exactly(self, count):
        while len(self.buf) < count:
            self.more()
        data, self.buf = self.buf[:count], self.buf[count:]
        return data

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return Error(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.exactly(size + 2)[:-2]
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self.reply() for _ in range(count)]
        raise ValueError(f"no reply: {line[:50]!r}")

    def __call__(self, *words):
        self.send(*words)
        return self.reply()

    def burst(self, commands):
        """All at once, then all the replies."""
        self.sock.sendall(b"".join(self.encode(words) for words in commands))
        return [self.reply() for _ in commands]


# -- the replica -----------------------------------------------------------------------------


def header(wire):
    """A line of the handshake; the server may send bare newlines before it."""
    while True:
        while not wire.buf:
            wire.more()
        if wire.buf[:1] != b"\n":
            return wire.line()
        wire.buf = wire.buf[1:]


def save_rdb(wire, path):
    line = header(wire)
    if not line.startswith(b"$"):
        raise ValueError(f"no payload: {line[:50]!r}")
    with open(path, "wb") as out:
        if not line.startswith(b"$EOF:"):
            out.write(wire.exactly(int(line[1:])))
            return
        mark = line[5:]
        while True:
            at = wire.buf.find(mark)
            if at >= 0:
                out.write(wire.buf[:at])
                wire.buf = wire.buf[at + len(mark):]
                return
            keep = len(mark) - 1
            out.write(wire.buf[:-keep])
            wire.buf = wire.buf[-keep:]
            wire.more()


def replica(port, directory):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    os.makedirs(directory, exist_ok=True)
    wire = Wire(port)
    # Not ours, which says 0.
    wire("REPLCONF", "listening-port", "1")
    wire("REPLCONF", "capa", "eof")
    wire("REPLCONF", "capa", "psync2")
    wire.send("PSYNC", "?", "-1")
    _, replid, offset = header(wire).split()
    save_rdb(wire, directory + "/base.rdb")
    offset = int(offset)
    wire.sock.settimeout(0.1)
    acked = 0
    with open(directory + "/stream", "wb", buffering=0) as out:
        with open(directory + "/start.new", "w") as f:
            f.write(f"{replid.decode()} {offset}\n")
        os.rename(directory + "/start.new", directory + "/start")
        while not stopped:
            if wire.buf:
                out.write(wire.buf)
                offset += len(wire.buf)
                wire.buf = b""
            if time.monotonic() - acked > 0.2:
                wire.send("REPLCONF", "ACK", offset)
                acked = time.monotonic()
            try:
                wire.more()
            except socket.timeout:
                pass


def build(directory, offset, target):
    with open(directory + "/start") as f:
        start = int(f.read().split()[1])
    with open(directory + "/stream", "rb") as f:
        stream = f.read(offset - start)
    if len(stream) != offset - start:
        raise SystemExit(f"offset {offset} was not captured: {start} + {len(stream)}")
    files = target + "/appendonlydir"
    os.makedirs(files)
    os.link(directory + "/base.rdb", files + "/appendonly.aof.1.base.rdb")
    with open(files + "/appendonly.aof.1.incr.aof", "wb") as f:
        f.write(stream)
    with open(files + "/appendonly.aof.manifest", "w") as f:
        f.write("file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n")


# -- the judge -------------------------------------------------------------------------------


def sweep(wire):
    """SCAN removes what has expired; KEYS only leaves it out, and DEBUG DIGEST counts it."""
    cursor = b"0"
    while True:
        cursor, _ = wire("SCAN", cursor, "COUNT", 1000)
        if cursor == b"0":
            return


def see(port, databases):
    wire = Wire(port)
    for db in range(databases):
        wire("SELECT", db)
        sweep(wire)
        for key in sorted(wire("KEYS", "*")):
            expiry, kind = wire("PEXPIRETIME", key), wire("TYPE", key).decode()
            print(db, expiry, kind, wire("DEBUG", "DIGEST-VALUE", key)[0].decode(), key)
    for library in sorted(wire("FUNCTION", "LIST", "WITHCODE")):
        print(library[1], library[-1], sorted(function[1] for function in library[5]))
    print(wire("DEBUG", "DIGEST").decode())


if __name__ == "__main__":
    if sys.argv[1] == "replica":
        replica(int(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "see":
        see(int(sys.argv[2]), int((sys.argv + ["4"])[3]))
    else:
        build(sys.argv[2], int(sys.argv[3]), sys.argv[4])
