#!/bin/bash
# The quick start of README.md, as a reader would type it: every command runs on real servers. And a page with a
# mistake is found: a command that fails, an output that is another one, a key that there is not, a page that ends early.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
. "$(dirname "$0")/../lib/docs.sh"
stack_begin
DOC_CWD=$here doc_page README.md

# -- the judge itself ------------------------------------------------------------------------------------
wrong() # name < page
{
	{ cat; printf '\n```sh\ntrue\n```\n'; } >"$T/wrong.md"
	P=$T/p
	mkdir -p "$P/tmp"
	printf '. "$DOC_TESTS/lib/doc_prelude.sh"\n' >"$P/prelude"
	rm -rf "$P/blocks"
	export DOC_PRELUDE=$P/prelude DOC_MAP= DOC_ROOT=$P
	python3 "$here/tests/lib/doc_page.py" split "$T/wrong.md" "$P/blocks" && bash "$P/blocks/run.sh" >/dev/null 2>&1
	run python3 "$here/tests/lib/doc_page.py" judge "$T/wrong.md" "$P/blocks"
}
wrong <<<$'```sh\necho one two\n```\n\n```text\none ...\n```'
is "$status" 0 "the judge: what is printed as shown is fine"
wrong <<<$'```sh\necho one two\n```\n\n```text\none three\n```'
is "$status" 1 "the judge: another output is found"
like "$out" 'wrong.md:5: this is not what is printed' "... with file and line"
wrong <<<$'```sh\nfalse\necho never\n```'
like "$out" 'wrong.md:1: the block failed' "the judge: a command that fails is found"
wrong <<<$'```sh\nfalse | cat\n```'
is "$status" 1 "the judge: also inside of a pipe"
wrong <<<$'<!-- test: exits 3 -->\n```sh\nexit 4\n```'
is "$status" 1 "the judge: another exit status is found"
wrong <<<$'```sh\nexit 0\n```'
is "$status" 1 "the judge: a page that ends early is found"
wrong <<<$'```sh\necho 20261129T035047Z-3f42deb62728 at 2026-11-29 03:50:36Z, 11.1 s, 70.5 MiB\n```\n\n```text\n20250101T000000Z-000000000000 at 2025-01-01 00:00:00Z, 1 s, 1 B\n```'
is "$status" 0 "the judge: ids, times and sizes are equal to any other"
export PATH=$BUILD:$PATH
wrong <<<$'```ini\n[redis]\nurl = redis://localhost\n```'
is "$status" 0 "the judge: a configuration that mbackup understands is fine"
wrong <<<$'```ini\n[redis]\nadress = redis://localhost\n```'
like "$out" 'there is no key "adress" in \[redis\]' "the judge: a key that there is not is found"
wrong <<<$'<!-- test: section: redis -->\n```ini\nconninfo = x\n```'
like "$out" 'there is no key "conninfo" in \[redis\]' "... also without a header"
wrong <<<$'```console\n$ echo one; false\none\n$ X=two\n$ echo $X\n...\n```'
is "$status" 0 "the judge: a dialogue is fine, whatever its exit status"
wrong <<<$'```console\n$ echo one; echo two\none\n```'
like "$out" 'wrong.md:2: this is not what is printed' "the judge: all that a dialogue prints must be shown"
wrong <<<$'```console\n$ true\none\n```'
is "$status" 1 "... and nothing else"
wrong <<<$'<!-- test: each: X=0 -->\n<!-- test: left out: false: because -->\n```sh\n# a comment\nX=$((X + 1)); echo $X\nfalse\nfor i in 1\ndo\n\techo $X\ndone\n```\n\n```text\n1\n0\n```'
is "$status" 0 "the judge: what is before each command, and what is left out" || diag "$out"
is "$(python3 "$here/tests/lib/doc_page.py" count "$T/wrong.md")" "3 commands run, 0 configurations read, 1 commands left out" "... is counted"
wrong <<<$'<!-- test: left out: false -->\n```sh\nfalse\n```'
like "$err" 'left out, but why' "the judge: nothing is left out without a reason"
wrong <<<$'<!-- test: left out: flase: because -->\n```sh\nfalse\n```'
like "$err" 'nothing begins with "flase"' "... nor what is not there"
wrong <<<$'```sh\nmeans noon "at 12"\n```\n```sh\necho it is noon\n```\n\n```text\nit is at 12\n```'
is "$status" 0 "the judge: a word gets its meaning on the way"
done_testing
