"""terminal.py - a program on a real pseudo terminal, and the screen that a person would see.

    with Terminal(["mbackup", "init"], columns=80) as t:
        t.expect(r"Where to keep backups")
        t.send("\\n")
        status = t.end()

What was printed is t.text (escape sequences and all); t.screen is a Screen.  Every wait has an end: a
program that hangs fails its test.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata

PATIENCE = 60


def width_of(char):
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """As much of a terminal as lines that are redrawn need; anything else is noted as strange."""

    def __init__(self, columns, rows=200):
        self.columns, self.rows = columns, rows
        self.lines, self.x, self.y = [[]], 0, 0
        self.wrapped, self.strange = 0, []

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[^\[]|[^\x1b]", text, re.S):
            self.escape(part) if part[0] == "\x1b" else self.char(part)

    def escape(self, part):
        match = re.fullmatch(r"\x1b\[([0-9;]*)([A-Za-z])", part)
        number, what = (match.group(1), match.group(2)) if match else ("", "")
        if what == "A":
            self.y = max(0, self.y - int(number or 1))
        elif what == "K" and number in ("", "0"):
            del self.lines[self.y][self.x:]
        elif what == "K" and number == "2":
            self.lines[self.y] = []
        elif what == "J" and number in ("", "0"):
            del self.lines[self.y][self.x:], self.lines[self.y + 1:]
        elif what != "m":
            self.strange.append(part)

    def char(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.y += 1
            while self.y >= len(self.lines):
                self.lines.append([])
        elif ord(char) < 32 or 0x7F <= ord(char) < 0xA0:
            self.strange.append(char)
        else:
            for _ in range(width_of(char)):
                if self.x >= self.columns:
                    self.wrapped += 1
                    self.char("\r"), self.char("\n")
                line = self.lines[self.y]
                line += [" "] * (self.x + 1 - len(line))
                line[self.x] = char if _ == 0 else ""
                self.x += 1

    def shown(self):
        return ["".join(line).rstrip() for line in self.lines]


class Terminal:
    def __init__(self, argv, columns=80, rows=50, env=None, stdout=None, cwd=None, feed=None):
        """stdout: a file that takes it in place of the terminal (stderr and stdin stay).  feed: what descriptor 3 is."""
        self.text, self.screen = "", Screen(columns)
        self.at, self.status = 0, None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                if cwd:
                    os.chdir(cwd)
                if stdout:
                    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
                if feed is not None:
                    os.dup2(feed, 3)
                # The size must be there before the program asks for it.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm", **(env or {})})
            finally:
                os._exit(127)
        self.undecoded = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def resize(self, columns, rows=50):
        self.screen.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Take what comes within so long; False at the end of it all."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        data = self.undecoded + data
        end = len(data)
        while end > 0 and end > len(data) - 4:
            try:
                data[:end].decode()
                break
            except UnicodeDecodeError:
                end -= 1
        else:
            end = len(data)
        self.undecoded = data[end:]
        text = data[:end].decode(errors="replace")
        self.text += text
        self.screen.feed(text)
        return bool(data)

    def expect(self, pattern, seconds=PATIENCE):
        """Wait for it behind what was waited for last; the match."""
        until = time.monotonic() + seconds
        while True:
            match = re.compile(pattern).search(self.text, self.at)
            if match:
                self.at = match.end()
                return match
            if time.monotonic() > until or not self.read(0.2):
                self.read(0.2)
                match = re.compile(pattern).search(self.text, self.at)
                if match:
                    self.at = match.end()
                    return match
                raise AssertionError(f"/{pattern}/ did not come; there is: {self.text[self.at:][-1500:]!r}")

    def send(self, text):
        os.write(self.fd, text.encode())

    def end(self, seconds=PATIENCE):
        """Wait for its end: exit status as a shell says it."""
        until = time.monotonic() + seconds
        while self.read(0.2):
            if time.monotonic() > until:
                raise AssertionError(f"it did not end; the last it said: {self.text[-500:]!r}")
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                return self.status if self.status >= 0 else 128 - self.status
            time.sleep(0.02)
        raise AssertionError("it closed the terminal, but did not end")


class Tap:
    """Lines for a bash test that reads "0 what" and "1 what"."""

    def __call__(self, what, wrong):
        print(f"{int(bool(wrong))} {what}", flush=True)
        if wrong:
            import sys
            print(f"#   {wrong}"[:3000], file=sys.stderr, flush=True)
