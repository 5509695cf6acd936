"""doc_asked.py ANSWER COMMAND...: runs it on a terminal, answers each question, and prints what the terminal showed."""
import os
import sys

from terminal import Terminal


def main(answer, *command):
    question = r"\[(y/N|Y/n)\] $|Type \"[^\"]*\" to go on: $"
    with Terminal(list(command), columns=200) as terminal:
        try:
            while True:
                terminal.expect(question, 600)
                terminal.send(answer + "\n")
        except (AssertionError, OSError):
            pass
        status = terminal.end(600)
        sys.stdout.write(terminal.text.replace("\r\n", "\n"))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
