"""tamper_proxy.py - a real server that is not what it says: forwards a TCP port to a Unix socket or a
port, and replaces words in what the server answers.

    tamper_proxy.py PORT TARGET [OLD=NEW]... [pooler]

OLD and NEW are of the same length.  "pooler" tells clients of PostgreSQL another process id than that of
the process that serves them, as poolers do.
"""
import socket
import struct
import sys
import threading

from forward import connect, listen


def other_process(data):
    """BackendKeyData: K, length 12, process id, key."""
    at = data.find(b"K\0\0\0\x0c")
    if at < 0 or at + 9 > len(data):
        return data
    pid = struct.unpack("!I", data[at + 5 : at + 9])[0]
    return data[: at + 5] + struct.pack("!I", pid + 1) + data[at + 9 :]


def pump(source, sink, change):
    try:
        while data := source.recv(65536):
            sink.sendall(change(data))
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main(port, target, wishes):
    pairs = [wish.encode().split(b"=", 1) for wish in wishes if wish != "pooler"]
    assert all(len(old) == len(new) for old, new in pairs), "the lengths differ"

    def change(data):
        for old, new in pairs:
            data = data.replace(old, new)
        return other_process(data) if "pooler" in wishes else data

    listener = listen(port)
    while True:
        client, _ = listener.accept()
        try:
            server = connect(target)
        except OSError:
            client.close()
            continue
        for way in ((client, server, lambda data: data), (server, client, change)):
            threading.Thread(target=pump, args=way, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
