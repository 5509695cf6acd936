#!/bin/bash
# Reads every text of the sources that a user may see when something fails (tests/lib/messages.py finds them), and
# proves of each: it says what could not be done and of what, in the style of the house; hints and details are
# sentences; every code that a user can do something about ends in a hint.
cd "$(dirname "$0")/.." || exit 1
exec python3 - <<'PY'
import glob, re, sys

sys.path.insert(0, "tests/lib")
from messages import messages
from tap import done, result

PATHS = sorted(p for p in glob.glob("*/*.c") + glob.glob("core/*/*.c") if not p.startswith("tests/"))
ALL = list(messages(PATHS))
RAISED = [m for m in ALL if m.call in ("mb_fail", "mb_fail_errno", "mb_pg_fail")]


def each(kinds, test):
    return [f"{m}: {why}: {text!r}" for m in ALL if m.call in kinds for text in m.texts for why in [test(text)] if why]


RAISES = ("mb_fail", "mb_fail_errno", "mb_pg_fail")
MESSAGES = RAISES + ("mb_error_context",)
# What is written with a capital wherever it stands.
PROPER = re.compile(r"(PostgreSQL|Redis|Sentinel|MinIO|Amazon|Ceph|Linux|WAL|RDB|AOF|SQL|S3|XML|JSON|HTTP|TLS|URL|IAM|LSN|UUID|"
                    r"PSYNC|SYNC|SCAN|INFO|BASE_BACKUP|START_REPLICATION|[A-Z][A-Z_]+\b|[A-Z]\w*[a-z][A-Z])")


def begins(text):
    if not re.match(r"[a-z\"%\[(/.0-9-]", text) and not PROPER.match(text):
        return "begins with a capital"


def ends(text):
    if re.search(r"[.!:;, ]$", text) and not text.endswith("..."):
        return "ends in punctuation"


FORBIDDEN = re.compile(r"\b(invalid|illegal|fatal|unable to|failed to|please|oops|sorry|sanity|bogus|errno|malloc|ptr|struct|"
                       r"retval|assert\w*|exception|internal error|unexpected error|unknown error|something went wrong|segfault|"
                       r"E(?:NOENT|ACCES|PERM|INVAL|IO|EXIST|NOSPC))\b", re.I)


def jargon(text):
    found = FORBIDDEN.search(text)
    return found and f"says \"{found.group(0)}\""


# As PostgreSQL writes: American where the two differ in the words that we need.
BRITISH = re.compile(r"\b(\w+isation\w*|(?:synchron|initial|normal|recogn|organ|author|serial|real|util)is(?:e|ed|ing|es)|colour\w*|"
                     r"behaviour\w*|cancell?ed|licence|catalogue\w*|analyse\w*|favour\w*|centre)\b", re.I)


def dialect(text):
    found = BRITISH.search(text)
    return found and found.group(0) not in ("cancelled", "cancellation") and f"\"{found.group(0)}\" is not how the rest is spelt"


def bare(text):
    """Words that say nothing of what and why."""
    if text in SEEN_BY_NOBODY:
        return None
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"%[-+ #0-9.*]*(?:ll|z|l|h)*[a-zA-Z]", " ", text))
    has_object = "%" in text or '"' in text
    if len(words) < 2 and not has_object:
        return "says too little"
    if re.fullmatch(r"(?:the )?(?:error|failed|failure|it failed|not found|denied|cannot|could not)\b.{0,3}", text, re.I):
        return "says too little"


# Ends a walk, or goes where only the code looks.
SEEN_BY_NOBODY = ("found", "interrupted")

result(f"{sum(len(m.texts) for m in ALL)} texts in {len(PATHS)} sources are understood",
       [] if len(ALL) > 1500 and len(RAISED) > 1000 else ["too few"])
result("messages begin in lower case", each(MESSAGES, begins))
result("messages have no full stop", each(MESSAGES, ends))
result("no text has a word that only we understand, or one that blames", each(MESSAGES + ("mb_error_hint", "mb_error_detail"), jargon))
result("all are spelt the same way", each(MESSAGES + ("mb_error_hint", "mb_error_detail"), dialect))
result("every message says something", each(RAISES, bare))


def says_what(text):
    if not text.startswith("could not ") and not re.match(r"\"%s\"|%s", text):
        return "does not begin with \"could not\""
    if "%" not in text and '"' not in text and not OBJECTS.search(text):
        return "does not name what"


# There is one of it only.
OBJECTS = re.compile(r"\b(checksums|an index|input of a command|of the destination|of what is kept|credential_process|thread|pipe|clock|time|process|socket|random|memory|working directory|standard output|event|lock|child|file|disk|signal|host|stdin|stdout|epoll|server|spool|log|journal)s?\b")
result("what the system refused: what could not be done, and to what", each(("mb_fail_errno",), says_what))


def sentence(text):
    if text.strip() in ("%s", "%s.", "%.900s", "%.500s") or text.startswith("%"):
        return None
    if not re.match(r"[A-Z\"\[0-9(]|%|mbackup|pg_|redis-|aws |libpq|initdb|s3:|--|docs/", text):
        return "does not begin as a sentence"


def hint_ends(text):
    # A sentence; or a colon, and then what is to be typed.
    if not re.search(r"[.?!\"')\]]$", text) and ":" not in text and "%" not in text[-8:] and "=" not in text:
        return "does not end as a sentence, nor in a command"


result("hints are sentences", each(("mb_error_hint",), lambda t: sentence(t) or hint_ends(t)))

# -- hints for all codes --------------------------------------------------------------------------------------

with open("core/base/error.c", encoding="utf-8") as file:
    table = re.findall(r"\[MB_(\w+)\] =\s*\{\"(\w+)\", (\d+),\s*((?:\"(?:[^\"\\]|\\.)*\"\s*)+|NULL)\}", file.read())
default = {name: hint for name, _, _, hint in table}
# "No" is an answer; who stops us knows why.
NO_HINT = {"OK", "NEGATIVE", "INTERRUPTED"}
result("every code that a user can do something about has a next step",
       [f"MB_{name} has none" for name, hint in default.items() if hint == "NULL" and name not in NO_HINT] +
       ([] if len(default) >= 14 else ["the table of core/base/error.c was not understood"]))


def hinted(message):
    return bool(re.match(r"[^;]*;(?:[^;]*;)?[^;]*mb_error_hint", message.after)) or "mb_error_hint" in message.before[-120:]


config = [m for m in RAISED if m.code == "MB_CONFIG"]
share = sum(map(hinted, config)) / len(config)
result(f"{share:.0%} of what is wrong with a configuration has a hint of its own", [] if share > 0.5 else ["less than half"])
done()
PY
