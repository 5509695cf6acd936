"""tap.py - what the checks of the house (tests/check_*.sh) share: results as TAP, and the text of a file."""
import sys

total = failed = 0


def result(name, problems):
    """One result: ok without problems, else each of them in a line before it."""
    global total, failed
    total += 1
    for problem in problems:
        print(f"# {problem}")
    failed += bool(problems)
    print(f"{'not ok' if problems else 'ok'} {total} - {name}")


def done():
    """The plan, and the exit status."""
    print(f"1..{total}")
    sys.exit(bool(failed))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
