"""doc_block.py - the blocks of a page of the documentation, as doc_page.py describes them: what is run, and what is not."""
import json
import re
import subprocess
import sys

RUN = ("sh", "sql", "ini", "console")
SHOWN = ("text", "json", "yaml", "c", "")
NOTES = ("not run", "left out", "each", "answer", "exits", "file", "append", "section")


class Block:
    def __init__(self, kind, line):
        self.kind, self.line = kind, line
        self.lines, self.not_run, self.exits, self.path, self.mode = [], None, 0, None, "w"
        self.expected, self.each, self.answer, self.section = None, None, None, None
        self.left_out, self.hidden, self.indent = [], False, 0

    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def annotate(self, notes, where):
        for word, rest in notes:
            if word == "not run":
                if not rest:
                    raise ValueError(f"{where}: not run, but why?")
                self.not_run = rest
            elif word == "left out":
                what, _, reason = rest.partition(": ")
                if not reason:
                    raise ValueError(f"{where}: left out, but why?")
                self.left_out.append((what, reason))
            elif word in ("file", "append"):
                self.path, self.mode = rest, word[0].replace("f", "w")
            else:
                setattr(self, word, int(rest) if word == "exits" else rest)

    def commands(self):
        """(commands that are run, [(command, reason) left out]): each as it stands."""
        if self.kind == "ini" or self.hidden:
            return [self.text()], []
        if self.kind == "console":
            return [command for command, _ in self.steps()], []
        run, out = [], []
        for command in whole_commands(self):
            reason = next((r for words, r in self.left_out if command.startswith(words)), None)
            out.append((command, reason)) if reason else run.append(command)
        unused = [w for w, _ in self.left_out if not any(command.startswith(w) for command, _ in out)]
        if unused:
            raise ValueError(f"nothing begins with \"{unused[0]}\"")
        return run, out

    def steps(self):
        """Of a console block: [(command, [line that it prints])]."""
        steps = []
        for line in self.lines:
            if line.startswith("$ "):
                steps.append([line[2:], []])
            elif steps and not steps[-1][1] and steps[-1][0].endswith("\\"):
                steps[-1][0] += "\n" + line
            else:
                steps[-1][1].append(line)
        return steps


def whole_commands(block):
    """The commands of sh and sql, in one piece when they take several lines. What is a comment only is none."""
    commands, so_far = [], ""
    for line in block.lines:
        so_far += line + "\n"
        if not so_far.strip() or so_far.lstrip().startswith("--" if block.kind == "sql" else "#") and "\n" not in so_far.strip():
            so_far = ""
            continue
        if block.kind == "sql":
            ended = re.search(r";\s*(--.*)?$|\\(gset|watch)\b", line)
        else:
            parsed = subprocess.run(["bash", "-n"], input=so_far, capture_output=True, text=True, check=False)
            ended = not parsed.returncode and not parsed.stderr and not line.endswith("\\")
        if ended:
            commands.append(so_far.rstrip("\n"))
            so_far = ""
    if so_far.strip():
        raise ValueError(f"a command without an end: {so_far}")
    return commands


def note_of(words, where):
    """A comment's word and what follows it."""
    for word in NOTES:
        match = re.fullmatch(rf"{word}(?::\s*|\s+)?(.*)", words)
        if match and (words[len(word):len(word) + 1] in (":", " ", "")):
            return word, match.group(1)
    raise ValueError(f"{where}: what is \"{words}\"?")


def parse(path):
    """([Block], [word of setup]).  Raises ValueError for what nobody would run."""
    blocks, setup, block, notes, hidden = [], [], None, [], None
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        open_block = hidden or block
        if open_block is not None:
            if line.strip() == ("-->" if hidden else "```"):
                finish(open_block, blocks, where)
                block = hidden = None
            else:
                open_block.lines.append(line[open_block.indent:] if line[:open_block.indent].isspace() else line)
            continue
        comment = re.fullmatch(r"\s*<!-- test: (.*?)( -->)?", line)
        fence = re.fullmatch(r"( *)```(\w*)", line)
        if comment and comment.group(1) == "run" and not comment.group(2):
            hidden = Block("sh", number)
            hidden.hidden, hidden.indent = True, len(line) - len(line.lstrip())
        elif comment and comment.group(1).startswith("setup "):
            setup += comment.group(1).split()[1:]
        elif comment:
            notes.append(note_of(comment.group(1), where))
        elif fence:
            if fence.group(2) not in RUN + SHOWN:
                raise ValueError(f"{where}: a block of kind \"{fence.group(2)}\"")
            block = Block(fence.group(2), number)
            block.indent = len(fence.group(1))
            block.annotate(notes, where)
            notes = []
        elif notes and line.strip():
            raise ValueError(f"{where}: a comment for a test without a block: {notes}")
    if block is not None or hidden is not None:
        raise ValueError(f"{path}: a block that does not end")
    return blocks, setup


def finish(block, blocks, where):
    last = blocks[-1] if blocks else None
    if block.left_out:
        try:
            block.commands()
        except ValueError as e:
            raise ValueError(f"{where}: {e}") from e
    if block.kind == "text" and last and last.kind in RUN and last.expected is None and not block.not_run:
        last.expected = block
    elif block.kind == "console" and not (block.lines and block.lines[0].startswith("$ ")):
        raise ValueError(f"{where}: a console block that does not begin with \"$ \"")
    elif block.kind == "json":
        json.loads(block.text())
    elif block.kind == "yaml":
        try:
            import yaml
        except ImportError:
            print("doc_page.py: no yaml: the manifests are not parsed", file=sys.stderr)
        else:
            list(yaml.safe_load_all(block.text()))
    blocks.append(block)


# -- counting -----------------------------------------------------------------------------------------------


def left_out(page):
    """[(line, number of commands, what and why)] for what no test runs."""
    found = []
    for block in parse(page)[0]:
        if block.kind not in RUN or block.hidden:
            continue
        if block.not_run:
            number = 1 if block.kind == "ini" else len(whole_commands(block)) if block.kind != "console" else len(block.steps())
            found.append((block.line, number, block.not_run))
        found += [(block.line, 1, re.sub(r"\s+#.*", "", command) + f": {reason}") for command, reason in ([] if block.not_run else block.commands()[1])]
    return found


def count(page):
    """(commands that are run, configurations that are read, commands that are left out)"""
    run = read_by_us = 0
    for block in parse(page)[0]:
        if block.kind in RUN and not block.not_run and not block.hidden:
            number = len(block.commands()[0])
            run, read_by_us = (run, read_by_us + 1) if block.kind == "ini" else (run + number, read_by_us)
    return run, read_by_us, sum(number for _, number, _ in left_out(page))
