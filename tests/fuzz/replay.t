#!/bin/bash
# Replays the corpus of every fuzz target under ASan and UBSan, and a bounded number of mutants.
# Proves that no parser of foreign bytes crashes, reads outside of its input or overflows.
cd "$(dirname "$0")/../.." || exit 1
targets=$(ls build/asan/tests/fuzz/*_fuzz 2>/dev/null)
mutants=${MBACKUP_MUTANTS:-20000}
seconds=4
[ -n "${MBACKUP_LONG:-}" ] && mutants=2000000 seconds=600
echo "1..$(wc -w <<<"$targets")"
n=0
for target in $targets
do
	n=$((n + 1))
	name=$(basename "$target")
	if out=$("$target" -n "$mutants" -t $seconds -s $((n * 7919)) "tests/fuzz/corpus/${name%_fuzz}" 2>&1)
	then
		echo "ok $n - $name: $out"
	else
		echo "not ok $n - $name"
		tail -n 25 <<<"$out" | sed 's/^/# /'
		bad=1
	fi
done
exit ${bad:-0}
