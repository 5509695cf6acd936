"""s3_proxy.py - a proxy between an S3 client and a server that does harm as it is told.

    s3_proxy.py --listen PORT --server HOST:PORT --control PORT [--seed N] [--tls CERT KEY]

The Host header stays as it came, so signatures hold.  Harm is told over HTTP on the control port:

    /set?mode=slowdown&p=0.3        with probability p (1) each request ...
        &methods=PUT,POST           of these methods (all) ...
        &match=REGEX                whose path and query match (all) ...
        &skip=N&times=N             after N of them were spared (0), at most N times (no limit)
        &on=1&off=2                 for one second out of three only: a storm
    /add?...                        the same, besides what was set before
    /set?mode=none                  nothing any more
    /counts                         lines "what number"

Modes:
    minio                           the server says that it is MinIO
    slowdown, slowdown_plain        503 with and without an XML body; not forwarded
    error200                        200 with <Error> InternalError; not forwarded
    error200_done                   the same, but the server has done it
    truncate                        the answer ends in the middle, the connection with it
    shorten                         the body is shorter, and Content-Length agrees
    duplicate                       a part of the body comes twice, and Content-Length agrees
    flip                            one bit of the body is another
    say (&body=TEXT)                the body is TEXT (nothing), and Content-Length agrees
    stall (&seconds=S)              the answer stops in the middle for S (60) seconds
    reset_before, reset_middle      reset before the request is forwarded; half of the body is forwarded
    reset_after                     the server has done it, the client gets a reset
    lost                            the same, but the connection is closed in order
    clock (&offset=SECONDS)         the server's clock is off: Date, Last-Modified and <LastModified> are
                                    moved, who signs for another time than that gets 403
                                    RequestTimeTooSkewed.  Signed again with S3_ACCESS, S3_SECRET.
"""
import argparse
import datetime
import email.utils
import hashlib
import hmac
import http.server
import os
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

SKEW_ALLOWED = 15 * 60
BODY_MAX = 256 << 20
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>{0}</Code><Message>{1}</Message><RequestId>proxy</RequestId></Error>"
)


class Gone(Exception):
    """The other side is no longer there, or must not be."""


# -- what harm to do -------------------------------------------------------------------------------


class Rule:
    def __init__(self, query):
        self.mode = query["mode"]
        self.probability = float(query.get("p", 1))
        self.methods = set(filter(None, query.get("methods", "").split(",")))
        self.match = re.compile(query.get("match", ""))
        self.skip = int(query.get("skip", 0))
        self.times = int(query["times"]) if "times" in query else None
        self.on = float(query.get("on", 1))
        self.off = float(query.get("off", 0))
        self.seconds = float(query.get("seconds", 60))
        self.offset = int(query.get("offset", 0))
        self.body = query.get("body", "").encode()


class Plan:
    def __init__(self, seed):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.rules = []
        self.counts = {}
        self.began = time.monotonic()

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def offset(self):
        with self.lock:
            return next((r.offset for r in self.rules if r.mode == "clock"), 0)

    def choose(self, method, target):
        with self.lock:
            for rule in self.rules:
                if rule.mode == "clock" or (rule.methods and method not in rule.methods):
                    continue
                if not rule.match.search(target):
                    continue
                period = (time.monotonic() - self.began) % (rule.on + rule.off)
                if rule.off and period > rule.on:
                    continue
                if rule.times == 0 or self.random.random() >= rule.probability:
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                self.counts[rule.mode] = self.counts.get(rule.mode, 0) + 1
                return rule
        return None

    def between(self, low, high):
        with self.lock:
            return self.random.randint(low, max(low, high))


class Control(http.server.BaseHTTPRequestHandler):
    plan = None

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        with self.plan.lock:
            if url.path == "/set":
                self.plan.rules = []
                self.plan.began = time.monotonic()
            if url.path in ("/set", "/add") and query.get("mode", "none") != "none":
                self.plan.rules.append(Rule(query))
            text = "".join(f"{k} {v}\n" for k, v in sorted(self.plan.counts.items()))
        body = text.encode() if url.path == "/counts" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


# -- HTTP messages -----------------------------------------------------------------------------------


class Reader:
    def __init__(self, sock):
        self.sock = sock
        self.kept = b""

    def fill(self):
        try:
            got = self.sock.recv(1 << 18)
        except OSError as e:
            raise Gone() from e
        if not got:
            raise Gone()
        self.kept += got

    def line(self):
        while b"\n" not in self.kept:
            if len(self.kept) > 1 << 20:
                raise Gone()
            self.fill()
        line, self.kept = self.kept.split(b"\n", 1)
        return line.rstrip(b"\r")

    def take(self, n):
        parts, have = [self.kept[:n]], len(self.kept[:n])
        self.kept = self.kept[n:]
        while have < n:
            self.fill()
            part = self.kept[: n - have]
            self.kept = self.kept[len(part) :]
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def rest(self):
        try:
            while True:
                self.fill()
        except Gone:
            pass
        out, self.kept = self.kept, b""
        return out


class Message:
    """First line, headers [(name, value)...], body."""

    def __init__(self, first, headers, body=b""):
        self.first, self.headers, self.body = first, headers, body

    def get(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def set(self, name, value):
        """At the place where it was; behind all others when it is new."""
        for i, (n, _) in enumerate(self.headers):
            if n.lower() == name.lower():
                self.headers[i] = (n, value)
                return
        self.headers.append((name, value))

    def drop(self, name):
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]

    def head(self):
        lines = [self.first] + [f"{n}: {v}" for n, v in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_head(reader):
    first = reader.line().decode("latin-1")
    headers = []
    while True:
        line = reader.line().decode("latin-1")
        if not line:
            return Message(first, headers)
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))


def read_body(reader, message, until_end=False):
    if (message.get("Transfer-Encoding") or "").lower() == "chunked":
        parts = []
        while True:
            size = int(reader.line().split(b";")[0], 16)
            if size == 0:
                while reader.line():
                    pass
                message.body = b"".join(parts)
                return
            parts.append(reader.take(size))
            reader.line()
    length = message.get("Content-Length")
    if length is not None:
        if int(length) > BODY_MAX:
            raise Gone()
        message.body = reader.take(int(length))
    elif until_end:
        message.body = reader.rest()


def error_answer(status, code, text):
    body = ERROR.format(code, text).encode() if code else b""
    headers = [("Server", "proxy"), ("Content-Type", "application/xml")]
    return Message(f"HTTP/1.1 {status}", headers, body)


# -- a clock that is off -------------------------------------------------------------------------------


def signature_of(request, signed, date, scope, secret):
    """SigV4 of a request as it is on the wire, for another x-amz-date."""
    method, target, _ = request.first.split(" ")
    path, _, query = target.partition("?")
    pairs = [p if "=" in p else p + "=" for p in query.split("&") if p]
    values = {n.lower(): " ".join(v.split()) for n, v in request.headers}
    values["x-amz-date"] = date
    canonical = "\n".join(
        [method, path, "&".join(sorted(pairs))]
        + [f"{n}:{values.get(n, '')}" for n in signed.split(";")]
        + ["", signed, values.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    )
    text = "\n".join(
        ["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode("latin-1")).hexdigest()]
    )
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def sign_again(request, offset):
    """Move the request's time by -offset.  An answer when it must be refused, else None."""
    date = request.get("x-amz-date")
    authorization = request.get("Authorization") or ""
    found = re.match(
        r"AWS4-HMAC-SHA256 Credential=([^/,]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)",
        authorization,
    )
    if not date or not found:
        return None
    signed_for = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
    signed_for = signed_for.replace(tzinfo=datetime.timezone.utc).timestamp()
    if abs(signed_for - (time.time() + offset)) > SKEW_ALLOWED:
        return error_answer("403 Forbidden", "RequestTimeTooSkewed", "the times differ too much")
    access, scope, signed, signature = found.groups()
    secret = os.environ["S3_SECRET"]
    if signature_of(request, signed, date, scope, secret) != signature:
        return error_answer("403 Forbidden", "SignatureDoesNotMatch", "says the proxy")
    moved = datetime.datetime.fromtimestamp(signed_for - offset, datetime.timezone.utc)
    date = moved.strftime("%Y%m%dT%H%M%SZ")
    scope = "/".join([date[:8]] + scope.split("/")[1:])
    signature = signature_of(request, signed, date, scope, secret)
    request.set("x-amz-date", date)
    request.set(
        "Authorization",
        f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={signed}, "
        f"Signature={signature}",
    )
    return None


def move_times(answer, offset):
    for name in ("Date", "Last-Modified"):
        value = answer.get(name)
        if value:
            when = email.utils.parsedate_to_datetime(value).timestamp() + offset
            answer.set(name, email.utils.formatdate(when, usegmt=True))

    def moved(found):
        text = found.group(2).decode()
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        when += datetime.timedelta(seconds=offset)
        text = when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
        return found.group(1) + text.encode() + found.group(3)

    if "xml" in (answer.get("Content-Type") or ""):
        answer.body = re.sub(
            rb"(<LastModified>)([^<]+)(</LastModified>)", moved, answer.body
        )


# -- a connection ----------------------------------------------------------------------------------------


class Connection(threading.Thread):
    def __init__(self, client, server, plan):
        super().__init__(daemon=True)
        self.client, self.server, self.plan = client, server, plan
        self.upstream = None

    def send(self, sock, data):
        try:
            sock.sendall(data)
        except OSError as e:
            raise Gone() from e

    def reset(self):
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone()

    def connect(self):
        if self.upstream:
            self.upstream.close()
        try:
            self.upstream = socket.create_connection(self.server, 10)
        except OSError as e:
            raise Gone() from e
        self.upstream.settimeout(None)
        self.upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.from_server = Reader(self.upstream)

    def ask(self, request):
        """The head of the server's answer.  An idle connection may be dead: try another one once."""
        fresh = self.upstream is None
        for _ in range(2):
            if fresh:
                self.connect()
            try:
                self.send(self.upstream, request.head() + request.body)
                head = read_head(self.from_server)
                while head.first.split(" ")[1] == "100":
                    head = read_head(self.from_server)
                return head
            except Gone:
                if fresh:
                    raise
                fresh = True
        raise Gone()

    def answer_of_server(self, request):
        answer = self.ask(request)
        method = request.first.split(" ")[0]
        status = answer.first.split(" ")[1]
        if method == "HEAD" or status in ("204", "304"):
            return answer
        read_body(self.from_server, answer, until_end=True)
        if answer.get("Transfer-Encoding"):
            answer.drop("Transfer-Encoding")
        return answer

    def send_answer(self, answer, is_head):
        if not is_head and not answer.first.split(" ")[1] == "204":
            answer.set("Content-Length", str(len(answer.body)))
        self.send(self.client, answer.head() + (b"" if is_head else answer.body))

    def relay_for_ever(self, request):
        """ListenNotification: bytes as they come."""
        answer = self.ask(request)
        self.send(self.client, answer.head() + self.from_server.kept)
        self.from_server.kept = b""
        while True:
            self.from_server.fill()
            self.send(self.client, self.from_server.kept)
            self.from_server.kept = b""

    def harm_before(self, rule, request):
        """The answer instead of the server's, or None to ask it."""
        mode = rule.mode if rule else ""
        if mode == "slowdown":
            return error_answer("503 Slow Down", "SlowDown", "Please reduce your request rate.")
        if mode == "slowdown_plain":
            return error_answer("503 Service Unavailable", "", "")
        if mode == "error200":
            return error_answer("200 OK", "InternalError", "We encountered an internal error.")
        if mode == "reset_before":
            self.reset()
        if mode == "reset_middle":
            self.connect()
            self.send(self.upstream, request.head() + request.body[: len(request.body) // 2])
            time.sleep(0.05)
            self.upstream.close()
            self.upstream = None
            self.reset()
        return None

    def harm_after(self, rule, answer, is_head):
        """True when the answer was sent, in whatever shape."""
        mode = rule.mode if rule else ""
        whole = answer.head() + (b"" if is_head else answer.body)
        if mode == "minio":
            answer.set("Server", "MinIO")
        if mode == "reset_after":
            self.reset()
        if mode == "lost":
            raise Gone()
        if mode == "error200_done":
            answer = error_answer("200 OK", "InternalError", "We encountered an internal error.")
            self.send_answer(answer, is_head)
            return True
        if mode in ("truncate", "stall"):
            answer.set("Content-Length", answer.get("Content-Length") or str(len(answer.body)))
            whole = answer.head() + (b"" if is_head else answer.body)
            cut = self.plan.between(1, len(whole) - 1)
            self.send(self.client, whole[:cut])
            if mode == "truncate":
                raise Gone()
            time.sleep(rule.seconds)
            self.send(self.client, whole[cut:])
            return True
        if answer.body and mode == "flip":
            body = bytearray(answer.body)
            body[self.plan.between(0, len(body) - 1)] ^= 1 << self.plan.between(0, 7)
            answer.body = bytes(body)
        if mode == "say":
            answer.body = rule.body
        if answer.body and mode in ("shorten", "duplicate"):
            cut = self.plan.between(0, len(answer.body) - 1)
            again = answer.body[self.plan.between(0, cut) : cut + 1]
            answer.body = answer.body[:cut] + (again + answer.body[cut:] if mode == "duplicate" else b"")
        return False

    def serve_one(self):
        reader = self.from_client
        request = read_head(reader)
        method, target, _ = request.first.split(" ")
        self.plan.count("requests")
        if (request.get("Expect") or "").lower() == "100-continue":
            self.send(self.client, b"HTTP/1.1 100 Continue\r\n\r\n")
            request.drop("Expect")
        read_body(reader, request)
        offset = self.plan.offset()
        is_head = method == "HEAD"
        refused = sign_again(request, offset) if offset else None
        if refused:
            self.plan.count("skewed")
            move = email.utils.formatdate(time.time() + offset, usegmt=True)
            refused.set("Date", move)
            self.send_answer(refused, is_head)
            return
        if "events=" in target and method == "GET":
            self.relay_for_ever(request)
        rule = self.plan.choose(method, target)
        answer = self.harm_before(rule, request)
        if not answer:
            self.plan.count("forwarded")
            answer = self.answer_of_server(request)
            if offset:
                move_times(answer, offset)
            if self.harm_after(rule, answer, is_head):
                return
        self.send_answer(answer, is_head)
        if (answer.get("Connection") or request.get("Connection") or "").lower() == "close":
            raise Gone()

    def run(self):
        self.from_client = Reader(self.client)
        try:
            while True:
                self.serve_one()
        except Gone:
            pass
        finally:
            self.client.close()
            if self.upstream:
                self.upstream.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tls", nargs=2)
    args = parser.parse_args()
    host, port = args.server.rsplit(":", 1)
    Control.plan = plan = Plan(args.seed)
    control = http.server.ThreadingHTTPServer(("127.0.0.1", args.control), Control)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", args.listen), backlog=256)
    context = None
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            client.settimeout(10)
            try:
                client = context.wrap_socket(client, server_side=True)
            except OSError as e:
                print(f"tls: {e}", file=sys.stderr)
                continue
            client.settimeout(None)
        Connection(client, (host, int(port)), plan).start()


if __name__ == "__main__":
    main()
