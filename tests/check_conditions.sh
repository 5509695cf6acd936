#!/bin/bash
# Proves that the conditions of "mbackup check" (core/engine/conditions.c) are what docs/check.md says, that every
# one of them is provoked by a test (a line "found ID STATUS" of tests/integration), that every name which the
# sources give to a finding is in the table, and that no finding is without a fix. --write makes the page anew.
cd "$(dirname "$0")/.." || exit 1
exec python3 - "${BUILD:-build}/mbackup" "$@" <<'PY'
import glob, json, re, subprocess, sys

sys.path.insert(0, "tests/lib")
from tap import done, read, result

AREAS = {"config": "The configuration", "spool": "The spool", "repository": "The repository", "stack": "The stack",
         "postgres": "PostgreSQL", "objects": "Buckets and directories", "redis": "Redis", "files": "Files",
         "hooks": "Hooks, services, notifications and schedules"}
WITH_HOOKS = ("hooks", "services", "daemon", "schedule")

listed = subprocess.run([sys.argv[1], "check", "--list", "--json"], capture_output=True, text=True, check=True)
conditions = json.loads(listed.stdout)["conditions"]
ids = [c["id"] for c in conditions]
problems = [f"{i} stands twice" for i in set(ids) if ids.count(i) > 1]
problems += [f"{i} is no identifier" for i in ids if not re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", i)]
problems += [f"{c['id']}: {k} is empty, or ends in a full stop" for c in conditions for k in ("what", "why", "fix") if not c[k] or c[k].endswith(".")]
if len(ids) < 100:
    problems.append(f"there are {len(ids)} only")
result(f"{len(ids)} conditions, each with what is looked at, why, and a fix", problems)

# -- the page ---------------------------------------------------------------------------------------------

BEGIN, END = "<!-- made by tests/check_conditions.sh --write -->", "<!-- end -->"


def cell(text):
    return text.replace("|", "\\|")


def code(fix):
    """Commands and lines of the configuration as such, where the fix begins with one."""
    return cell(fix)


table = [BEGIN]
for area, title in AREAS.items():
    rows = [c for c in conditions if c["id"].split(".")[0] in (WITH_HOOKS if area == "hooks" else (area,))]
    table += ["", f"### {title}", "", "| Identifier | What is looked at | Why | What mends it |", "|---|---|---|---|"]
    table += [f"| `{c['id']}` | {cell(c['what'])} | {cell(c['why'])} | {code(c['fix'])} |" for c in rows]
table += ["", END]
made = "\n".join(table)
page = read("docs/check.md")
if "--write" in sys.argv:
    page = page[: page.index(BEGIN)] + made + page[page.index(END) + len(END) :]
    with open("docs/check.md", "w", encoding="utf-8") as file:
        file.write(page)
problems = [] if made in page else ["docs/check.md is not what --list says: tests/check_conditions.sh --write"]
problems += [f"{i} is not on the page" for i in ids if f"| `{i}` |" not in page]
result("docs/check.md has all of them, in the same words", problems)

# -- tests --------------------------------------------------------------------------------------------------

provoked = {}
for path in sorted(glob.glob("tests/integration/*.t")):
    text = read(path)
    for match in re.finditer(r"^\s*found \"?([a-z]+\.[a-z$-]+)\"? (?:warning|failed|skipped)", text, re.M):
        name = match.group(1)
        if name.endswith("$id"):
            loop = re.findall(r"for id in ([^\n]*)\n\s*do\n(?:(?!done)[^\n]*\n)*?\s*found \"" + re.escape(name), text)
            for words in loop:
                for word in words.split():
                    provoked[name.replace("$id", word)] = path
        else:
            provoked[name] = path
# Without what to be allowed, all is well: said of the rights together.
AGREES = {"redis.privilege-keys": "152_check_redis.t"}
problems = [f"nothing provokes {i}" for i in ids if i not in provoked and i not in AGREES]
problems += [f"{path} expects {i}, which is not in the table" for i, path in provoked.items() if i not in ids]
result("every condition is provoked by a test", problems)

# -- the sources ----------------------------------------------------------------------------------------------

names = {i.split(".", 1)[1] for i in ids}
problems = []
calls = 0
for path in sorted(glob.glob("*/*.c") + glob.glob("core/*/*.c")):
    if path.startswith("tests/"):
        continue
    text = re.sub(r'"\s*\n\s*"', "", read(path))
    for match in re.finditer(r"\bmb_check_add(?:_fix)?\(\s*([^;]*?)\);", text, re.S):
        calls += 1
        words = re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1))
        ternary = re.sub(r"\s+", " ", match.group(1))
        known = [w for w in words if w.split(" ")[0] in names or w in ids]
        # A name that is put together before, or comes as a parameter.
        if not known and not re.search(r"\b(name|id|place, \"|what)\b", ternary):
            problems.append(f"{path}: {ternary[:100]}")
    for match in re.finditer(r"\b(?:found|mb_pg_found_ok|add|add_fix)\(&?(?:checker|in), (?:[^;\"]*, )?\"([a-z-]+)\"", text):
        calls += 1
        if match.group(1) not in names:
            problems.append(f"{path}: \"{match.group(1)}\" is not in the table")
if calls < 100:
    problems.append(f"{calls} findings only were understood")
result("every name of a finding in the sources is in the table", problems)

done()
PY
