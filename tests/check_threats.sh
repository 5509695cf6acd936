#!/bin/bash
# Proves that every claim of docs/threat-model.md names a test that exists and words that stand in it, that every parser in its
# table exists and has a fuzz target with a corpus, and that every fuzz target is in the table.
cd "$(dirname "$0")/.." || exit 1
exec python3 - <<'PY'
import glob, os, re, sys

sys.path.insert(0, "tests/lib")
from tap import done, read, result

page = read("docs/threat-model.md")
rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in page.splitlines() if line.startswith("|") and not line.startswith("|--")]
claims = [r for r in rows if len(r) == 3 and re.fullmatch(r"`tests/[^`]+`", r[1])]
parsers = [r for r in rows if len(r) == 3 and r[1].startswith("`") and not r[1].startswith("`tests/")]

problems = [] if len(claims) > 30 else [f"understood {len(claims)} claims only"]
heads = ("What holds", "What is read")
problems += [f"is neither a claim nor a parser: {' | '.join(r)}" for r in rows if r not in claims and r not in parsers and r[0] not in heads]
for claim, path, words in claims:
    path, words = path.strip("`"), words.strip("`")
    if not os.path.exists(path):
        problems.append(f"{claim}: there is no {path}")
    elif not words or words not in read(path):
        problems.append(f"{claim}: \"{words}\" does not stand in {path}")
result(f"every claim has its test ({len(claims)} claims)", problems)

problems = [] if len(parsers) > 20 else [f"understood {len(parsers)} parsers only"]
targets = set()
for what, files, target in parsers:
    target = target.strip("`")
    targets.add(target)
    problems += [f"{what}: there is no {path}" for path in re.findall(r"`([^`]+)`", files) if not os.path.exists(path)]
    if not os.path.exists(f"tests/fuzz/{target}_fuzz.c"):
        problems.append(f"{what}: there is no target {target}")
    if not glob.glob(f"tests/fuzz/corpus/{target}/*"):
        problems.append(f"{what}: {target} has no corpus")
there = {os.path.basename(path)[:-len("_fuzz.c")] for path in glob.glob("tests/fuzz/*_fuzz.c")}
problems += [f"target {target} is not in the table" for target in sorted(there - targets)]
result(f"every parser has its fuzz target ({len(parsers)} rows, {len(there)} targets)", problems)

done()
PY
