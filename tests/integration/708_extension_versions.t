#!/bin/bash
# The extension without its library on every other version of PostgreSQL at hand: what 700 and 705 prove on the newest.
# Binaries are those of /usr/lib/postgresql/*/bin and of MBACKUP_TEST_PG_BINS (directories, with colons).
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

newest=$PG_BIN
bins=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null; tr : '\n' <<<"${MBACKUP_TEST_PG_BINS:-}")
for bin in $bins
do
	[ "$bin" != "$newest" ] && [ -x "$bin/postgres" ] || continue
	version=$("$bin/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')
	for story in 700_extension 705_extension_life
	do
		PG_BIN=$bin TMPDIR=$T bash "$here/tests/integration/$story.t" >"$T/story.out" 2>"$T/story.err"
		status=$?
		is "$status $(grep -c '^not ok' "$T/story.out")" "0 0" "$version: $story, $(grep -c '^ok' "$T/story.out") tests"
		[ "$status" = 0 ] || diag "$(grep -A 5 '^not ok' "$T/story.out" | head -n 40; tail -n 20 "$T/story.err")"
		grep -q '# SKIP' "$T/story.out" && diag "$version: $story was skipped"
	done
done
[ "$TESTS" -gt 0 ] || skip_all "no other version of PostgreSQL"
done_testing
