"""forward.py - the two ends of a proxy of tests: what it listens at, and the real server behind it."""
import socket


def connect(target):
    """A Unix socket (its path), or a port of this host."""
    if target.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(target)
        return sock
    return socket.create_connection(("127.0.0.1", int(target)))


def listen(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(50)
    return listener
