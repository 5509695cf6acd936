#!/bin/bash
# Every section of tests/bench/run works, on toys and without peers: it has a figure of ours, and the table and
# the pictures that are made of them can be read.  No speed is asserted.
. "$(dirname "$0")/../lib/stack.sh"
STACK_STAGE=many.so
# What is tried is not the disk.
[ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 2000000 ] 2>/dev/null && [ -w /dev/shm ] && SHM=/dev/shm
stack_begin
[ -z "${SHM:-}" ] || export TMPDIR=$SHM
# Nothing but ours, and little of it.
export MBACKUP_BENCH_SMOKE=1 BUILD

results=$T/results
for part in full,restore incremental wal,wal-get,commits verify,files,memory,expire,redis stack growth
do
	ok "$part" "$here/tests/bench/run" --only "$part" --scale 1 --rounds 1 --results "$results"
done
# One that has no figure is found.
run python3 "$here/tests/bench/report.py" "$results" --check full objects
is "$status" 1 "a section without a figure of ours is an error"
like "$err" "^objects: no figure of ours" "and is named"

cat >"$T/page.md" <<'EOF'
before
<!-- figures: begin (tests/bench/run writes what stands between) -->
old
<!-- figures: end -->
behind
EOF
ok "the report" "$here/tests/bench/run" --report --results "$results" --markdown "$T/page.md" --svg "$T/ratios.svg"
ok "the page keeps what stands around" sh -c 'head -n 1 "$0" | grep -qx before && tail -n 1 "$0" | grep -qx behind && ! grep -qx old "$0"' "$T/page.md"
like "$(cat "$T/page.md")" '^\| 1 % of the pages changed .* \| its full backup \| ' "and has a table"
ok "the pictures are well-formed" python3 -c '
import sys, xml.dom.minidom
for path in sys.argv[1:]:
    svg = xml.dom.minidom.parse(path).documentElement
    assert svg.tagName == "svg" and svg.getElementsByTagName("text"), path' "$T/ratios.svg" "$T/ratios-growth.svg"
run "$here/tests/bench/run" --only nothing
is "$status" 2 "an unknown section is a mistake of usage"
done_testing
