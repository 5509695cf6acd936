#!/usr/bin/env python3
"""doc_page.py - a page of the documentation as a program.

    doc_page.py split PAGE DIR      its blocks as DIR/run.sh, which runs them in order in one shell
    doc_page.py judge PAGE DIR      did all run, and did each print what the page shows?
    doc_page.py write PAGE DIR      puts what was printed into the page, where it shows something else
    doc_page.py count PAGE          how many commands are run, and how many are left out
    doc_page.py list PAGE...        what is left out, with the reason
    doc_page.py means DIR WORD TEXT from now on WORD of the page is TEXT, in what has not run yet

Fenced blocks: sh and sql are run; console holds "$ command" and all that it prints; ini is written where the comment
above it says, or else must be understood by mbackup as it stands; text right behind a block is what that block prints,
json and yaml are parsed. A comment above a block says what else a test must know:

    <!-- test: not run: REASON -->          of this block
    <!-- test: left out: WORDS: REASON -->  the commands of the block that begin with WORDS
    <!-- test: each: COMMAND -->            a hidden command before each one of the block: they are alternatives
    <!-- test: answer: TEXT -->             what is typed when mbackup asks: it gets a terminal
    <!-- test: exits N -->                  the last command of the block
    <!-- test: file PATH -->                the block becomes this file (append PATH: is added to it)
    <!-- test: section: NAME -->            the keys of an ini block without a header belong there
    <!-- test: run                          hidden commands, up to the line with the end of the comment
    <!-- test: setup WORD... -->            what the test starts before (at the top of the page)

In a text or console block a line "..." stands for any lines, "..." in a line for anything. Ids, times, sizes, positions
and durations are equal to any other one. Paths and ports of a page are mapped into the test's own directory by the
pairs in $DOC_MAP (page's word, tab, test's word), and back in what is printed.
"""
import os
import re
import shlex
import sys

from doc_block import RUN, count, left_out, parse  # noqa: F401 (others take them from here)


# -- running ------------------------------------------------------------------------------------------------


def mapping():
    pairs = []
    for line in os.environ.get("DOC_MAP", "").splitlines():
        if line:
            pairs.append(line.split("\t"))
    return pairs


def into(text, pairs=None):
    """The page's words as the test's."""
    pairs = sorted(pairs or mapping(), key=lambda p: -len(p[0]))
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


def put(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def means(directory, word, text):
    """Into the commands that have not begun yet: those that have are read already."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name.endswith(".in") and word in read(path):
            put(path, re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda _: text, read(path)))


def run_lines(block, name):
    """The lines of run.sh for a block; what they run is in files called name."""
    if block.kind == "console":
        lines = []
        for k, (command, _) in enumerate(block.steps()):
            put(f"{name}.{k}.in", into(command) + "\n")
            lines += [f"exec >{name}.{k}.out 2>&1", f". {name}.{k}.in || true"]
        return lines
    text = block.text()
    if block.each or block.left_out:
        text = "".join((block.each + "\n" if block.each else "") + command + "\n" for command in block.commands()[0])
    put(name + ".in", into(text))
    if block.path:
        target = into(block.path)
        return [f"mkdir -p \"$(dirname \"{target}\")\"",
                f"cat {name}.in >{'>' if block.mode == 'a' else ''}\"{target}\"; chmod 600 \"{target}\""]
    if block.kind == "ini":
        return [f"doc_reads {name}.in {block.section or ''}"]
    if block.kind == "sql":
        return [f"psql -X -v ON_ERROR_STOP=1 -f {name}.in"]
    lines = [f". {name}.in"]
    if block.exits:
        lines = ["set +e", f"( . {name}.in ); DOC_STATUS=$?", "set -e",
                 f"[ $DOC_STATUS = {block.exits} ] || {{ echo \"exit status $DOC_STATUS\"; exit 99; }}"]
    if block.answer is not None:
        lines = [f"DOC_ANSWER={shlex.quote(block.answer)}", "mbackup() { doc_asked \"$@\"; }"] + lines + ["unset -f mbackup"]
    return lines


def split(page, directory):
    blocks, _ = parse(page)
    os.makedirs(directory, exist_ok=True)
    script = ["# Made of " + page, "set -eE -o pipefail", f"DOC_BLOCKS={directory}", ". \"$DOC_PRELUDE\"", "exec </dev/null"]
    for i, block in enumerate(blocks):
        if block.kind not in RUN or block.not_run:
            continue
        script += [f"exec >{directory}/{i:03}.out 2>&1", f"echo {i} >{directory}/begun"]
        script += run_lines(block, f"{directory}/{i:03}")
        script += [f"echo {i} >>{directory}/ran", "[ -z \"${TRY:-}\" ] || echo \"$TRY\" >\"$DOC_ROOT/try\""]
    script += [f"touch {directory}/end"]
    put(f"{directory}/run.sh", "\n".join(script) + "\n")


# -- judging ------------------------------------------------------------------------------------------------

EQUAL = [
    (r"\b\d{8}T\d{6}(?:\.\d+)?Z-[0-9a-f]{12}\b", "<id>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?)?", "<time>"),
    (r"\b\d{8}T\d{6}Z?\b", "<time>"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?Z?\b", "<time>"),
    (r"\b[0-9A-F]{24}\b", "<segment>"),
    (r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b", "<lsn>"),
    (r"\b\d+(?:\.\d+)? ?(?:B|KiB|MiB|GiB|TiB|kB|bytes)(?:/s)?(?=\W|$)", "<size>"),
    (r"-?\b\d+(?:\.\d+)? ?(?:s|ms|min|h|seconds|minutes)\b", "<duration>"),
    (r"\b(?:process|pid) \d+\b", "<process>"),
    (r"\b\d+ blobs\b", "<blobs>"),
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


def is_all(expected, got):
    """Is this the whole output, "..." being any number of lines?"""
    if not expected:
        return not got
    if expected[0].strip() == "...":
        return any(is_all(expected[1:], got[i:]) for i in range(len(got) + 1))
    return bool(got) and line_fits(expected[0], got[0]) and is_all(expected[1:], got[1:])


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def differences(block, name):
    """[(line of the page behind which it stands, lines that it shows, what is printed, the missing ones)]"""
    if block.kind == "console":
        at, found = block.line, []
        for k, (command, shown) in enumerate(block.steps()):
            at += command.count("\n") + 1
            got = [line.rstrip() for line in back(read(f"{name}.{k}.out")).rstrip("\n").split("\n")]
            got = [] if got == [""] else got
            if not is_all(shown, got):
                found.append((at, shown, got, shown))
            at += len(shown)
        return found
    if block.expected is None:
        return []
    got = back(read(f"{name}.out")).rstrip("\n").split("\n")
    missing = fits(block.expected.lines, got)
    return [] if missing is None else [(block.expected.line, block.expected.lines, got, missing)]


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
        for line, _, got, missing in differences(blocks[i], f"{directory}/{i:03}"):
            print(f"{page}:{line}: this is not what is printed:\n" + "\n".join(missing) + "\n--- printed:\n" + "\n".join(got))
            bad += 1
    if not wanted:
        print(f"{page}: there is nothing to run")
        bad += 1
    if not bad and not os.path.exists(f"{directory}/end"):
        print(f"{page}: did not come to its end")
        bad += 1
    return bad


def write(page, directory):
    """What was printed into the page; around "..." people must do it."""
    lines = read(page).split("\n")
    changes = [(line, shown, got, block.indent) for i, block in enumerate(parse(page)[0]) if block.kind in RUN and not block.not_run
               for line, shown, got, _ in differences(block, f"{directory}/{i:03}")]
    for line, shown, got, indent in sorted(changes, key=lambda c: -c[0]):
        if not any("..." in text for text in shown):
            lines[line:line + len(shown)] = [" " * indent + text if text else "" for text in got]
    put(page, "\n".join(lines))


def main(verb, *words):
    if verb in ("split", "write", "means"):
        {"split": split, "write": write, "means": means}[verb](*words)
    elif verb == "judge":
        sys.exit(bool(judge(*words)))
    elif verb == "setup":
        print(" ".join(parse(words[0])[1]))
    elif verb == "count":
        print("{} commands run, {} configurations read, {} commands left out".format(*count(words[0])))
    elif verb == "list":
        for page in words:
            for line, number, reason in left_out(page):
                print(f"{page}:{line}: {number}: {reason}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as e:
        sys.exit(f"{e}")
