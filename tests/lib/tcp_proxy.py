"""tcp_proxy.py - a line that can break: forwards a TCP port to a Unix socket or a port.

    tcp_proxy.py PORT TARGET CONTROL-FILE

CONTROL-FILE, read all the time, says what happens: "pass" (also when it is missing), "stall" (nothing moves, no line is
closed), "cut" (every line is closed, new ones are refused).
"""
import os
import select
import sys
import time

from forward import connect, listen


def mode(path):
    try:
        with open(path) as f:
            return f.read().strip() or "pass"
    except FileNotFoundError:
        return "pass"


def main(port, target, control):
    listener = listen(port)
    peers = {}

    def close(sock):
        other = peers.pop(sock, None)
        sock.close()
        if other:
            peers.pop(other, None)
            other.close()

    while True:
        now = mode(control)
        if now == "cut":
            for sock in list(peers):
                if sock in peers:
                    close(sock)
        if now == "stall":
            time.sleep(0.05)
            continue
        ready, _, _ = select.select([listener, *peers], [], [], 0.05)
        for sock in ready:
            if sock is listener:
                client, _ = listener.accept()
                try:
                    if now == "cut":
                        raise OSError
                    server = connect(target)
                    peers[client], peers[server] = server, client
                except OSError:
                    client.close()
            elif sock in peers:
                try:
                    data = sock.recv(65536)
                    if not data:
                        raise OSError
                    peers[sock].sendall(data)
                except OSError:
                    close(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
