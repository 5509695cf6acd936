"""story.py - runs what a page of the docs says, and compares what is printed with what the page says.

    story.py PAGE HEADING [--write] REAL=SHOWN...

Below the heading, blocks of ```console hold "$ command" and what it prints. Commands are run by bash with SHOWN replaced
by REAL, in the environment as it is; in what they print REAL is replaced by SHOWN. Identifiers, times,
sizes and the like count as equal; a line "..." on the page stands for any lines. --write puts what was printed
into the page instead (lines around "..." are left to people). Exit status 1: they differ.
"""
import re
import subprocess
import sys

SAME = [
    (r"\d{8}T\d{6}Z-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00)?", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9A-F]{24}\b", "SEGMENT"),
    (r"\b[0-9A-F]+/[0-9A-F]+\b", "LSN"),
    (r"\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB|TiB|bytes)\b", "SIZE"),
    (r"-?\b\d+\.\d+ s\b", "SECONDS"),
    (r"\b(?:process|pid) \d+", "PROCESS"),
    (r"\b\d+ blobs\b", "BLOBS"),
    (r" +", " "),
]


def normal(line):
    for pattern, word in SAME:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def matches(shown, printed):
    """Do the lines agree, "..." being any number of them?"""
    if not shown:
        return not printed
    if shown[0].strip() == "...":
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and normal(shown[0]) == normal(printed[0]) and matches(shown[1:], printed[1:])


def main(path, heading, *rest):
    write = "--write" in rest
    pairs = sorted((r.split("=", 1) for r in rest if r != "--write"), key=lambda p: -len(p[0]))
    with open(path, encoding="utf-8") as file:
        page = file.read()
    start = page.index(f"\n## {heading}\n")
    end = page.find("\n## ", start + 1)
    end = len(page) if end < 0 else end
    differ, count = 0, 0

    def run(match):
        nonlocal differ, count
        out = []
        for step in re.split(r"^(?=\$ )", match.group(1), flags=re.M):
            if not step:
                continue
            command, *shown = step.rstrip("\n").split("\n")
            while command.endswith("\\"):
                command += "\n" + shown.pop(0)
            real = command[2:]
            for actual, name in sorted(pairs, key=lambda p: -len(p[1])):
                real = real.replace(name, actual)
            done = subprocess.run(["bash", "-c", real], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            printed = done.stdout
            for actual, name in pairs:
                printed = printed.replace(actual, name)
            printed = printed.rstrip("\n").split("\n") if printed.strip() else []
            count += 1
            if not matches(shown, printed):
                differ += 1
                if not write:
                    print(f"{command}\n-- the page says:", *shown, "-- it prints:", *printed, sep="\n")
                shown = printed if "..." not in [line.strip() for line in shown] else shown
            out += [command, *shown]
        return "```console\n" + "\n".join(out) + "\n```"

    made = re.sub(r"```console\n(.*?)\n```", run, page[start:end], flags=re.S)
    if write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page[:start] + made + page[end:])
    if not count:
        print(f"there are no commands below {heading}")
    sys.exit(1 if (differ and not write) or not count else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
