#!/usr/bin/env python3
"""doc_page.py - a page of the documentation as a program.

    doc_page.py split PAGE DIR      its blocks as DIR/run.sh, which runs them in order in one shell
    doc_page.py judge PAGE DIR      did all run, and did each print what the page shows?
    doc_page.py list PAGE...        the blocks that are not run, with the reason

Fenced blocks: sh and sql are run, ini is written where the comment above it says, text right behind a block
is what that block prints, json and yaml are parsed. A comment above a block says what else a test must know:

    <!-- test: not run: REASON -->          of this block
    <!-- test: exits N -->                  the last command of the block
    <!-- test: file PATH -->                the block becomes this file (append PATH: is added to it)
    <!-- test: run                          hidden commands, up to the line with the end of the comment
    <!-- test: setup WORD... -->            what the test starts before (at the top of the page)

In a text block a line "..." stands for any lines, "..." in a line for anything. Ids, times, sizes, positions and
durations are equal to any other one. Paths and ports of a page are mapped into the test's own directory by the
pairs in $DOC_MAP (page's word, tab, test's word), and back in what is printed.
"""
import json
import os
import re
import sys

RUN = ("sh", "sql", "ini")
SHOWN = ("text", "json", "yaml", "")


class Block:
    def __init__(self, kind, line):
        self.kind, self.line = kind, line
        self.lines, self.not_run, self.exits, self.path, self.mode = [], None, 0, None, "w"
        self.expected = None

    def text(self):
        return "".join(line + "\n" for line in self.lines)


def parse(path):
    """([Block], [word of setup]).  Raises ValueError for what nobody would run."""
    blocks, setup, block, note, hidden = [], [], None, {}, None
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if hidden is not None:
            if line.strip() == "-->":
                blocks.append(hidden)
                hidden = None
            else:
                hidden.lines.append(line[hidden.indent:] if line[:hidden.indent].isspace() else line)
            continue
        if block is not None:
            if line.strip() == "```":
                finish(block, blocks, where)
                block = None
            else:
                block.lines.append(line[block.indent:] if line[:block.indent].isspace() else line)
            continue
        comment = re.fullmatch(r"\s*<!-- test: (.*?)( -->)?", line)
        fence = re.fullmatch(r"( *)```(\w*)", line)
        if comment and comment.group(1) == "run" and not comment.group(2):
            hidden = Block("sh", number)
            hidden.indent = len(line) - len(line.lstrip())
        elif comment:
            words = comment.group(1)
            if words.startswith("setup "):
                setup += words.split()[1:]
            else:
                note[words.split(":")[0].split()[0]] = words
        elif fence:
            if fence.group(2) not in RUN + SHOWN:
                raise ValueError(f"{where}: a block of kind \"{fence.group(2)}\"")
            block = Block(fence.group(2), number)
            block.indent = len(fence.group(1))
            if "not" in note:
                reason = note["not"].partition("not run:")[2].strip()
                if not reason:
                    raise ValueError(f"{where}: not run, but why?")
                block.not_run = reason
            if "exits" in note:
                block.exits = int(note["exits"].split()[1])
            for mode, word in (("w", "file"), ("a", "append")):
                if word in note:
                    block.path, block.mode = note[word].split()[1], mode
            note = {}
        elif note and line.strip():
            raise ValueError(f"{where}: a comment for a test without a block: {note}")
    if block is not None or hidden is not None:
        raise ValueError(f"{path}: a block that does not end")
    return blocks, setup


def finish(block, blocks, where):
    last = blocks[-1] if blocks else None
    if block.kind == "text" and last and last.kind in RUN and last.expected is None and not block.not_run:
        last.expected = block
        block.of = last
    elif block.kind == "json":
        json.loads(block.text())
    elif block.kind == "yaml":
        try:
            import yaml
        except ImportError:
            print("doc_page.py: no yaml: the manifests are not parsed", file=sys.stderr)
        else:
            list(yaml.safe_load_all(block.text()))
    elif block.kind == "ini" and not block.path and not block.not_run:
        raise ValueError(f"{where}: an ini block without a file")
    blocks.append(block)


# -- running ------------------------------------------------------------------------------------------------


def mapping():
    pairs = []
    for line in os.environ.get("DOC_MAP", "").splitlines():
        if line:
            pairs.append(line.split("\t"))
    return pairs


def into(text):
    """The page's words as the test's."""
    pairs = sorted(mapping(), key=lambda p: -len(p[0]))
    if not pairs:
        return text
    table = dict(pairs)
    alternatives = "|".join(re.escape(p[0]) for p in pairs)
    return re.sub(rf"(?:(?<![\w/.$}}-])|(?<=://))(?:{alternatives})(?!\w)", lambda m: table[m.group(0)], text)


def back(text):
    try_dir = read(os.path.join(os.environ.get("DOC_ROOT", "/nowhere"), "try")).strip()
    if try_dir:
        text = text.replace(try_dir, "$TRY")
    table = {}
    for page, test in mapping():
        table.setdefault(test, page)
    if not table:
        return text
    longest = "|".join(re.escape(t) for t in sorted(table, key=len, reverse=True))
    return re.sub(longest, lambda m: table[m.group(0)], text)


def split(page, directory):
    blocks, _ = parse(page)
    os.makedirs(directory, exist_ok=True)
    script = ["# Made of " + page, "set -eE -o pipefail", ". \"$DOC_PRELUDE\"", "exec </dev/null"]
    for i, block in enumerate(blocks):
        if block.kind not in RUN or block.not_run:
            continue
        name = f"{directory}/{i:03}"
        with open(name + ".in", "w", encoding="utf-8") as file:
            file.write(into(block.text()))
        script += [f"exec >{name}.out 2>&1", f"echo {i} >{directory}/begun"]
        if block.path:
            target = into(block.path)
            script += [f"mkdir -p \"$(dirname \"{target}\")\"",
                       f"cat {name}.in >{'>' if block.mode == 'a' else ''}\"{target}\"; chmod 600 \"{target}\""]
        elif block.kind == "sql":
            script += [f"psql -X -v ON_ERROR_STOP=1 -f {name}.in"]
        elif block.exits:
            script += ["set +e", f"( . {name}.in ); DOC_STATUS=$?", "set -e",
                       f"[ $DOC_STATUS = {block.exits} ] || {{ echo \"exit status $DOC_STATUS\"; exit 99; }}"]
        else:
            script += [f". {name}.in"]
        script += [f"echo {i} >>{directory}/ran", "[ -z \"${TRY:-}\" ] || echo \"$TRY\" >\"$DOC_ROOT/try\""]
    script += [f"touch {directory}/end"]
    with open(f"{directory}/run.sh", "w", encoding="utf-8") as file:
        file.write("\n".join(script) + "\n")


# -- judging ------------------------------------------------------------------------------------------------

EQUAL = [
    (r"\b\d{8}T\d{6}(?:\.\d+)?Z-[0-9a-f]{12}\b", "<id>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?", "<time>"),
    (r"\b\d{8}T\d{6}Z?\b", "<time>"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?Z?\b", "<time>"),
    (r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b", "<lsn>"),
    (r"\b\d+(?:\.\d+)? ?(?:B|KiB|MiB|GiB|TiB|kB|bytes)(?:/s)?(?=\W|$)", "<size>"),
    (r"\b\d+(?:\.\d+)? ?(?:s|ms|min|h|seconds|minutes)\b", "<duration>"),
    (r"[ \t]+", " "),
]


def equal(text):
    for pattern, token in EQUAL:
        text = re.sub(pattern, token, text)
    return text.strip()


def line_fits(expected, got):
    parts = [re.escape(p) for p in equal(expected).split("...")]
    return re.fullmatch(".*".join(parts), equal(got)) is not None


def fits(expected, got):
    """Groups of lines between "..." must stand in the output, each in one piece, in this order."""
    groups, at = [[]], 0
    for line in expected:
        if line.strip() == "...":
            groups.append([])
        elif line.strip():
            groups[-1].append(line)
    got = [line for line in got if line.strip()]
    for group in groups:
        while not all(at + k < len(got) and line_fits(line, got[at + k]) for k, line in enumerate(group)):
            at += 1
            if at > len(got):
                return group
        at += len(group)
    return None


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def judge(page, directory):
    blocks, _ = parse(page)
    ran = {int(n) for n in read(f"{directory}/ran").split()}
    wanted = {i for i, b in enumerate(blocks) if b.kind in RUN and not b.not_run}
    bad = 0
    for i in sorted(wanted - ran)[:1]:
        block = blocks[i]
        print(f"{page}:{block.line}: the block failed:\n{block.text()}--- it printed:\n"
              f"{back(read(f'{directory}/{i:03}.out'))}")
        bad += 1
    for i in sorted(wanted & ran):
        expected = blocks[i].expected
        if expected is None:
            continue
        got = back(read(f"{directory}/{i:03}.out"))
        missing = fits(expected.lines, got.split("\n"))
        if missing is not None:
            print(f"{page}:{expected.line}: this is not what is printed:\n" + "\n".join(missing) + f"\n--- printed:\n{got}")
            bad += 1
    if not wanted:
        print(f"{page}: there is nothing to run")
        bad += 1
    if not bad and not os.path.exists(f"{directory}/end"):
        print(f"{page}: did not come to its end")
        bad += 1
    return bad


def main(verb, *words):
    if verb == "split":
        split(*words)
    elif verb == "judge":
        sys.exit(bool(judge(*words)))
    elif verb == "setup":
        print(" ".join(parse(words[0])[1]))
    elif verb == "list":
        for page in words:
            for block in parse(page)[0]:
                if block.not_run and block.kind in RUN:
                    print(f"{page}:{block.line}: {block.not_run}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as e:
        sys.exit(f"{e}")
