"""complete.py - press TAB in an interactive shell, and see what is on the line then.

    complete.py bash|zsh SCRIPT DIRECTORY

Lines of "WHAT<tab>TYPED<tab>LINE" on stdin: what is typed before the key, and what the line must be after it.  A LINE that
begins with ~ is a pattern of which candidates must be listed instead.  Prints "0 what" or "1 what".
"""
import re
import sys

from terminal import Tap, Terminal

shell, script, directory = sys.argv[1:4]
tap = Tap()
if shell == "bash":
    argv, setup = ["bash", "--norc", "--noprofile", "-i"], [
        "bind 'set enable-bracketed-paste off'", "bind 'set show-all-if-ambiguous on'", "bind 'set page-completions off'",
        "bind 'set completion-query-items 0'", "bind 'set bell-style none'", "show() { printf '\\n<<%s>>\\n' \"$READLINE_LINE\"; READLINE_LINE=; }",
        "bind -x '\"\\C-t\": show'", f"source '{script}'"]
else:
    argv, setup = ["zsh", "-f", "-i"], [
        "unsetopt beep zle_bracketed_paste prompt_sp 2>/dev/null", "unset zle_bracketed_paste", "setopt nolistbeep", "LISTMAX=9999", f"fpath=('{directory}' $fpath)",
        f"autoload -Uz compinit; compinit -u -d '{directory}/zcompdump'", "show() { zle -I; print -r -- \"<<$BUFFER>>\"; BUFFER= }", "zle -N show", "bindkey '^T' show",
        "bindkey '^I' complete-word"]

with Terminal(argv, columns=200, env={"PS1": "$ ", "PROMPT": "$ ", "HISTFILE": "/dev/null", "LC_ALL": "C.UTF-8"}) as t:
    for line in setup:
        t.send(line + "\n")
    t.send("echo ready-$((40 + 2))\n")
    t.expect("ready-42")
    for case in sys.stdin:
        what, typed, wanted = case.rstrip("\n").split("\t")
        # One key after the other has been dealt with: Ctrl-T shows the line only when the TAB is done.
        t.send(typed + "\t")
        t.send("\x14")
        begin = t.at
        got = t.expect(r"<<(.*)>>").group(1)
        if wanted.startswith("~"):
            seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", t.text[begin:t.at])
            wrong = [word for word in wanted[1:].split() if word not in seen]
            tap(what, wrong and f"not listed: {wrong}: {seen}")
        else:
            tap(what, got != wanted and f"the line is {got!r}, not {wanted!r}")
