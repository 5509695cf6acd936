"""redis_count.py - a writer that never stops: a running number, so that a hole is seen.

    redis_count.py write SOCKET STOP_FILE

Each step is one script: it takes the next number n, appends it to a list (of the last 2000), and sets a key to some bytes.
A line that breaks is opened again.

    redis_count.py look PORT

Prints the number that a server has come to; fails when the list has a hole, or does not end with that number.
"""
import os
import random
import socket
import sys
import time

from redis_wire import Error, Wire

STEP = """local n = redis.call('incr', 'counter')
redis.call('rpush', 'list', n)
redis.call('ltrim', 'list', -2000, -1)
redis.call('set', 'k' .. (n % 300), ARGV[1], 'px', 86400000)
return n"""


class Local(Wire):
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.buf = b""


def write(path, stop):
    r, wire, steps, breaks = random.Random(), None, 0, 0
    while not os.path.exists(stop):
        try:
            wire = wire or Local(path)
            if isinstance(wire("EVAL", STEP, 0, r.randbytes(r.randrange(10, 400))), Error):
                time.sleep(0.02)
            else:
                steps += 1
        except (OSError, EOFError):
            wire, breaks = None, breaks + 1
            time.sleep(0.02)
        if r.random() < 0.2:
            time.sleep(r.random() * 0.01)
    print(f"{steps} steps, {breaks} broken lines")


def look(port):
    wire = Wire(port)
    numbers = [int(n) for n in wire("LRANGE", "list", 0, -1)]
    last = int(wire("GET", "counter") or 0)
    if numbers != list(range(last - len(numbers) + 1, last + 1)):
        raise SystemExit(f"a hole: counter {last}, list of {len(numbers)} from {numbers[:1]} to {numbers[-1:]}")
    print(last)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:4])
    else:
        look(int(sys.argv[2]))
