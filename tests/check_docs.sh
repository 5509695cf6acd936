#!/bin/bash
# Proves that docs/configuration.md names every option, key, default and choice of cli/options.c, every
# option that "mbackup help COMMAND" prints and every exit code, and nothing that is not there; that every
# relative link in README.md and docs/ leads somewhere; and that every command line of mbackup that a page
# shows is one: the command exists, and takes these options. That every page is in the index, that a test runs
# every page with commands in it, with a list of what cannot run, and that pictures of terminals are true.
cd "$(dirname "$0")/.." || exit 1
exec python3 - "${BUILD:-build}/mbackup" <<'PY'
import glob, os, re, subprocess, sys

sys.path.insert(0, "tests/lib")
from tap import done, read, result

mbackup = sys.argv[1]

# -- the table ------------------------------------------------------------------------------------

text = read("cli/options.c")
table = text[text.index("mb_options[] = {"):]
table = table[:table.index("\n};")]
# The rows that [repository] and [objects] share are described once.
S3_KEYS = "Keys of s3:// places"
shared = re.search(r"#define S3_ROWS\(scope, commands\) \\\n((?:.*\\\n)*.*)", text).group(1)
for scope in ("REPOSITORY", "OBJECTS"):
    if f"\tS3_ROWS(SCOPE_{scope}, " not in table:
        print(f"# S3_ROWS is not part of {scope}")
row = re.compile(r'^\t\{("[^"]*"), (\S+), OPT_(\w+), SCOPE_(\w+), ([^,]+), (NULL|"[^"]*"), (NULL|"[^"]*"),', re.M)
rows = [m.groups() for m in row.finditer(table)]
s3_rows = [m.groups() for m in row.finditer(re.sub(r", scope, commands, ", ", SCOPE_REPOSITORY, CMD_ANY, ", shared))]
unquote = lambda s: None if s == "NULL" else s.strip('"')

page = read("docs/configuration.md")
sections = {}
for part in re.split(r"^(?=#{2,3} )", page, flags=re.M):
    title, _, body = part.partition("\n")
    sections[title.lstrip("# ").strip()] = body


def table_line(body, name):
    """The line of a Markdown table whose first cell is `name`."""
    for line in body.splitlines():
        if line.startswith(f"| `{name}` |"):
            return line
    return None


# -- keys -------------------------------------------------------------------------------------------

problems = [] if len(rows) == table.count("\n\t{\"") else [f"understood {len(rows)} rows only"]
if len(s3_rows) != shared.count("{\""):
    problems.append(f"understood {len(s3_rows)} rows of S3_ROWS only")
known = {}
for name, letter, kind, scope, commands, default, choices in rows + s3_rows:
    is_s3 = (name, letter, kind, scope, commands, default, choices) in s3_rows
    name, default, choices = unquote(name), unquote(default), unquote(choices)
    if scope == "COMMAND":
        continue
    section = S3_KEYS if is_s3 else f"[{scope.lower()}]"
    known.setdefault(section, set()).add(name)
    line = table_line(sections.get(section, ""), name)
    if not line:
        problems.append(f"key {name} of {section} is not described")
        continue
    if default and f"`{default}`" not in line:
        problems.append(f"key {name} of {section}: default {default} is not named")
    if choices and kind == "CHOICE":
        problems += [f"key {name} of {section}: choice {c} is not named" for c in choices.split("|") if f"`{c}`" not in line]
    if kind == "SECRET" and "secret" not in line:
        problems.append(f"key {name} of {section}: is a secret")
    long_name = ("repository-" if scope == "REPOSITORY" else "") + name
    if scope in ("GLOBAL", "REPOSITORY"):
        for option in [f"--{long_name}"] if kind != "SECRET" else [f"--{long_name}-file", f"--{long_name}-command"]:
            if f"`{option} " not in sections[section]:
                problems.append(f"option {option} is not named below {section}")
        variable = "MBACKUP_" + (name if name == "passphrase" else long_name).upper().replace("-", "_")
        if f"`{variable}`" not in line:
            problems.append(f"key {name} of {section}: variable {variable} is not named")
result("every key of cli/options.c is described with its default and choices", problems)

problems = []
for section, names in known.items():
    for key in re.findall(r"^\| `([^`]+)` \|", sections.get(section, ""), re.M):
        if key not in names:
            problems.append(f"{section} has no key {key}")
result("every key that is described exists", problems)

# -- commands ----------------------------------------------------------------------------------------

problems = []
overview = subprocess.run([mbackup, "help"], capture_output=True, text=True)
commands = re.findall(r"^  ([a-z-]+)\b.*\S  +\S|^  ([a-z-]+)  ", overview.stdout.split("Commands:")[-1].split("\nRun ")[0], re.M)
commands = [a or b for a, b in commands]
if overview.returncode or len(commands) < 5:
    problems.append(f"{mbackup} help does not list commands")
general = sections.get("Options of every command", "") + sections.get("[global]", "") + sections.get("[repository]", "") + sections.get(S3_KEYS, "")
for command in commands:
    body = sections.get(f"mbackup {command}")
    if body is None:
        problems.append(f"there is no section \"mbackup {command}\"")
        continue
    own, _, every = subprocess.run([mbackup, "help", command], capture_output=True, text=True).stdout.partition("Options of every command")
    printed = re.compile(r"(?:^|, )\s*(?:-(\w), )?--([a-z-]+)", re.M)
    for where, what in ((body, own), (general, every)):
        for letter, option in printed.findall("\n".join(l for l in what.splitlines() if l.startswith("  ") and l.lstrip().startswith("-"))):
            if not re.search(rf"`--{option}[ `\[]", where):
                problems.append(f"mbackup {command}: option --{option} is not described")
            if letter and f"`-{letter}`" not in where:
                problems.append(f"mbackup {command}: -{letter} is not described")
    for choices, default in re.findall(r"\(([a-z0-9|]+\|[a-z0-9|-]+)\)(?: \[(\S+)\])?", own):
        problems += [f"mbackup {command}: choice {c} is not named" for c in choices.split("|") if f"`{c}`" not in body]
        if default and not re.search(rf"`{default}` \(default\)", body):
            problems.append(f"mbackup {command}: default {default} is not named")
    for option in re.findall(r"^\| `--([a-z-]+)", body, re.M):
        if f"--{option}" not in own:
            problems.append(f"mbackup {command} has no option --{option}")
for title in sections:
    if title.startswith("mbackup ") and title.split()[1] not in commands:
        problems.append(f"there is no command {title}") if title.split()[1] != "mbackup.conf" else None
result("every command and option is described, and no other", problems)

problems = []
codes = re.findall(r'\{"([A-Z_]+)", (\d+),', read("core/base/error.c"))
for name, status in codes:
    shown = "128 + n" if name == "INTERRUPTED" else status
    if f"| {shown} | {name} |" not in sections["Exit codes"]:
        problems.append(f"exit code {status} {name} is not in the table")
if len(codes) < 10:
    problems.append("core/base/error.c: the table of codes was not understood")
result("every exit code is in the table", problems)

# -- the manual -------------------------------------------------------------------------------------

made = subprocess.run([mbackup, "help", "--format", "markdown"], capture_output=True, text=True).stdout
problems = [] if made == read("docs/commands.md") else ["run: build/mbackup help --format markdown >docs/commands.md"]
result("docs/commands.md is what the tables say", problems)

# Every row of the table is on a page of the manual, where it belongs.
problems = []
parts = {re.sub(r"[^a-z.-]", "", part.partition("\n")[0].replace("mbackup ", "").strip()): part for part in re.split(r"^## ", made, flags=re.M)[1:]}
for name, letter, kind, scope, owners, default, choices in rows + s3_rows:
    name = unquote(name)
    if scope in ("COMMAND", "GLOBAL", "REPOSITORY"):
        option = ("repository-" if scope == "REPOSITORY" else "") + name + ("-file" if kind == "SECRET" else "")
        if not re.search(rf"^\| `(-\w, )?--{re.escape(option)}[ `]", made, re.M):
            problems.append(f"the manual has no option --{option}")
    if scope != "COMMAND" and not re.search(rf"^\| `{re.escape(name)}[ `]", parts.get("mbackup.conf", ""), re.M):
        problems.append(f"the manual of mbackup.conf has no key {name}")
for command in commands:
    part = parts.get(command, "")
    if "**Examples**" not in part or len(part.split("*\n", 1)[-1]) < 300:
        problems.append(f"cli/manual.txt says too little of mbackup {command}")
result("the manual has every option, key and command", problems)

# -- SQL ------------------------------------------------------------------------------------------------

sql = "".join(read(path) for path in sorted(glob.glob("sql/0.1/*.sql")) + sorted(glob.glob("sql/mbackup--*.sql")))
page = read("docs/sql.md") + read("docs/daemon.md")
made = set(re.findall(r"^CREATE (?:FUNCTION|PROCEDURE) @extschema@\.(\w+)", sql, re.M))
made |= {f"mbackup.{name}" for name in ("cron_next", "flush_wal", "wal_positions") if f"CREATE FUNCTION mbackup.{name}(" in sql}
daemon = set(re.findall(r"^CREATE FUNCTION mbackup\.(daemon_\w+|sync)\(", sql, re.M)) - {"daemon_seen"}
views = set(re.findall(r"^CREATE VIEW mbackup\.(\w+)", sql, re.M))
problems = [f"function {name} is not described" for name in sorted(made | daemon) if f"| `{name}(" not in page]
problems += [f"view {name} is not described" for name in sorted(views) if f"| `{name}` |" not in page]
problems += [f"there is no function {name}" for name in set(re.findall(r"^\| `((?:mbackup\.)?\w+)\(", page, re.M)) - made - daemon]
if len(made) < 10 or len(views) < 10 or len(daemon) < 7:
    problems.append("sql/: the functions and views were not understood")
result("every function and view of the extension is described, and no other", problems)

# -- links -----------------------------------------------------------------------------------------------


def anchors(markdown):
    titles = re.findall(r"^#{1,6} +(.+)$", re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", t.strip().lower()).replace(" ", "-") for t in titles}


problems = []
PAGES = ["README.md"] + sorted(glob.glob("docs/**/*.md", recursive=True))
for page_path in PAGES:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"<!--.*?-->", "", read(page_path), flags=re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(page_path), path)) if path else page_path
        if not os.path.exists(full):
            problems.append(f"{page_path}: {target} does not exist")
        elif anchor and full.endswith(".md") and anchor not in anchors(read(full)):
            problems.append(f"{page_path}: {target}: there is no such heading")
result("every relative link leads somewhere", problems)

# A page that nobody is led to is read by nobody.
index = read("docs/README.md")
problems = [f"docs/README.md does not name {path}" for path in PAGES[1:]
            if path != "docs/README.md" and f"({os.path.relpath(path, 'docs')})" not in re.sub(r"#[\w-]*\)", ")", index)]
result("every page is in the index", problems)

# -- command lines ---------------------------------------------------------------------------------------

TWO_WORDS = ("objects", "redis", "key", "catalog", "schedule", "compat")
options = {}
for command in commands:
    shown = subprocess.run([mbackup, "help", command], capture_output=True, text=True).stdout
    shown = "\n".join(l for l in shown.splitlines() if l.startswith("  ") and l.lstrip().startswith("-"))
    options[command] = {f"--{o}" for o in re.findall(r"--([a-z0-9-]+)", shown)} | {f"-{o}" for o in re.findall(r"(?:^|\s)-(\w),", shown)}


def command_lines(text):
    """(line number, words behind "mbackup", is it indented only?) of each command in a block, and in `code` that begins with mbackup."""
    text = re.sub(r"\\\n", "  ", text)
    fenced = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.match(r" *```(\w*)", line)
        if fence:
            fenced = None if fenced else fence.group(1) or "plain"
            continue
        if fenced == "console":
            line = line[2:] if line.startswith("$ ") else ""
        if fenced in ("sh", "console", "plain") or (not fenced and line.startswith("    ") and not line.lstrip().startswith(("-", "*", "#", "|"))):
            # A synopsis has its explanation behind some blanks.
            line = line if fenced else "    " + re.split(r"\s{3,}", line.strip())[0]
            for part in re.split(r"&&|\|\||[|;&]|\$\(", re.split(r"(?:^|\s)#", line)[0]):
                found = re.match(r"\s*(?:sudo -u \S+ |\S+=\S+ |until |if |@reboot +|[-*\d/,]+ +[-*\d/,]+ +[-*\d/,]+ +[-*\d/,]+ +[-*\d/,]+ +)*mbackup +(\S.*)", part)
                if found:
                    yield number, found.group(1), not fenced
        elif not fenced:
            for code in re.findall(r"`mbackup ([a-z][^`]*)`", line):
                yield number, code, False


problems, seen = [], 0
for page_path in PAGES:
    for number, line, _ in command_lines(read(page_path)):
        line = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", line)
        words = [w for w in re.sub(r"[<>].*", "", line).split()]
        while words and words[0] in ("--config", "-c"):
            words = words[2:]
        if not words or not re.fullmatch(r"[a-z-]+", words[0]) or words[0].startswith("-"):
            continue
        seen += 1
        if words[0] not in options:
            problems.append(f"{page_path}:{number}: there is no command mbackup {words[0]}")
            continue
        for word in words[1:]:
            option = re.match(r"\[?(--[a-z][a-z0-9-]*|-[a-z]\b)", word)
            if option and option.group(1) not in options[words[0]]:
                problems.append(f"{page_path}:{number}: mbackup {words[0]} has no option {option.group(1)}")
if seen < 200:
    problems.append(f"understood {seen} command lines only")
print(f"# {seen} command lines of mbackup in {len(PAGES)} pages")
result("every command line of mbackup in a page is one that it understands", problems)

# -- what the tests run ----------------------------------------------------------------------------------

sys.path.insert(0, "tests/lib")
import doc_page

problems, skipped, totals = [], [], [0, 0, 0]
tests = "".join(read(path) for path in glob.glob("tests/integration/*.t"))
# The examples of the manual are run by tests/integration/170_manual.t; the other two measure, for hours.
NOT_A_PROGRAM = {"docs/commands.md", "docs/performance.md", "docs/reliability.md"}
for page_path in PAGES:
    if page_path in NOT_A_PROGRAM:
        continue
    try:
        blocks, _ = doc_page.parse(page_path)
        numbers, left_out = doc_page.count(page_path), doc_page.left_out(page_path)
    except ValueError as e:
        problems.append(str(e))
        continue
    totals = [a + b for a, b in zip(totals, numbers)]
    skipped += [f"{page_path}:{line}: {reason}" for line, _, reason in left_out]
    if any(b.kind in doc_page.RUN and not b.not_run for b in blocks):
        if f"doc_page {page_path}\n" not in tests:
            problems.append(f"{page_path}: no test runs it")
    elif page_path == "docs/tutorial.md" or page_path.startswith("docs/howto/"):
        problems.append(f"{page_path}: has nothing that is run")
    problems += [f"{page_path}:{number}: mbackup {line}: not in a block that a test knows (```sh)"
                 for number, line, is_indented in command_lines(read(page_path)) if is_indented and not re.search(r"\b[A-Z]{3,}\b", line)]
print("# tests run {} commands and read {} configurations of the pages, and leave out {} commands:".format(*totals))
for line in skipped:
    print(f"#   {line}")
if totals[2] > 60:
    problems.append("too many commands are not run by any test")
if totals[0] < 300:
    problems.append("too few commands are run")
result("the commands and configurations of every page are run by a test", problems)

# -- pictures --------------------------------------------------------------------------------------------

import importlib.machinery, importlib.util

loader = importlib.machinery.SourceFileLoader("terminal_picture", "tools/terminal-picture")
terminal = importlib.util.module_from_spec(importlib.util.spec_from_loader("terminal_picture", loader))
sys.dont_write_bytecode = True
loader.exec_module(terminal)
problems = []
for name, what in terminal.PICTURES.items():
    if read(f"docs/images/{name}.svg") != terminal.picture(*what):
        problems.append(f"docs/images/{name}.svg is not what {what[0]} shows: run tools/terminal-picture --all")
used = "".join(read(path) for path in PAGES)
for path in sorted(glob.glob("docs/images/*")):
    if f"images/{os.path.basename(path)})" not in used:
        problems.append(f"{path}: no page shows it")
result("every picture is shown by a page; those of terminals are what the pages prove", problems)

done()
PY
