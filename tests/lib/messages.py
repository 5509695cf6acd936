"""messages.py - every text of the sources that a user may read: calls of mb_fail and its like, with their
string arguments as the compiler joins them.  messages(paths) yields Message objects in the order of the sources.
"""
import re

# Name, and at which argument the text stands.
CALLS = {"mb_fail": 2, "mb_fail_errno": 2, "mb_error_context": 1, "mb_error_hint": 1, "mb_error_detail": 1, "mb_pg_fail": 3}
CALL = re.compile(r"\b(" + "|".join(sorted(CALLS, key=len, reverse=True)) + r")\s*\(")
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|//[^\n]*|/\*.*?\*/|[()\[\]{},?:;]|\s+|[A-Za-z_]\w*|.', re.S)


class Message:
    def __init__(self, path, line, call, code, texts, where):
        self.path, self.line, self.call, self.code, self.texts, self.where = path, line, call, code, texts, where
        self.has_hint = False

    def __str__(self):
        return f"{self.path}:{self.line}"


def unescape(text):
    return text[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


def arguments(source, start):
    """The arguments of a call whose "(" ends at start, as lists of tokens, and where the call ends."""
    depth, args, at = 1, [[]], start
    while depth:
        match = TOKEN.match(source, at)
        token, at = match.group(0), match.end()
        if token.isspace() or token.startswith(("//", "/*")):
            continue
        depth += token in "([{" and len(token) == 1
        depth -= token in ")]}" and len(token) == 1
        if depth == 1 and token == ",":
            args.append([])
        elif depth:
            args[-1].append(token)
    return args, at


def alternatives(tokens):
    """The texts that an argument may be: adjacent strings are one, those of a ?: are several."""
    texts, open_text = [], None
    for token in tokens:
        if token.startswith('"'):
            open_text = (open_text or "") + unescape(token)
        elif re.fullmatch(r"[A-Z][A-Z0-9_]+|PRI\w+", token):
            open_text = (open_text or "") + "%s"
        elif open_text is not None:
            texts.append(open_text)
            open_text = None
    return texts + ([open_text] if open_text is not None else [])


def messages(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        # Comments do not count; strings stay.
        source = re.sub(r'("(?:[^"\\\n]|\\.)*")|/\*.*?\*/', lambda m: m.group(1) or re.sub(r"[^\n]", " ", m.group(0)), source, flags=re.S)
        for match in CALL.finditer(source):
            args, end = arguments(source, match.end())
            at = CALLS[match.group(1)]
            texts = alternatives(args[at]) if len(args) > at else []
            if not texts:
                continue
            code = "".join(args[1]) if match.group(1) == "mb_fail" else ""
            message = Message(path, source.count("\n", 0, match.start()) + 1, match.group(1), code, texts, (match.start(), end))
            message.after = source[end : end + 500]
            message.before = source[max(0, match.start() - 300) : match.start()]
            yield message
