#!/bin/bash
# Every fuzz target under libFuzzer, from its corpus: the same few thousand inputs each, or two seconds, in "make check"; FUZZ_SECONDS
# of inputs by chance with "make fuzz-all".
# Proves that no target has a crash, hang or leak that lies near; that each is instrumented; and that what crashes is kept.
cd "$(dirname "$0")/../.." || exit 1
build=${FUZZ_BUILD:-build/clang}
bound="-seed=1 -runs=5000 -max_total_time=${FUZZ_LIMIT:-2}"
[ -z "${FUZZ_SECONDS:-}" ] || bound="-max_total_time=$FUZZ_SECONDS"
found=${FUZZ_FOUND:-$(mktemp -d)}
[ -n "${FUZZ_FOUND:-}" ] || trap 'rm -rf "$found"' EXIT
targets=$(ls "$build"/tests/fuzz/*_fuzz 2>/dev/null)
[ -n "$targets" ] || { echo "1..0 # SKIP no libFuzzer: install libclang-rt-dev"; exit 0; }
echo "1..$(wc -w <<<"$targets")"
n=0
for target in $targets
do
	n=$((n + 1))
	name=$(basename "$target" _fuzz)
	mkdir -p "$found/$name/new" "$found/$name/crashes"
	# shellcheck disable=SC2086
	"$target" $bound -max_len=65536 -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$found/$name/crashes/" "$found/$name/new" "tests/fuzz/corpus/$name" >"$found/$name/log" 2>&1
	status=$?
	execs=$(grep -a 'number_of_executed_units' "$found/$name/log" | tr -dc 0-9)
	coverage=$(grep -ao 'cov: [0-9]*' "$found/$name/log" | tail -n 1 | tr -dc 0-9)
	if [ $status = 0 ] && [ "${execs:-0}" -gt 0 ] && [ "${coverage:-0}" -gt 0 ]
	then
		echo "ok $n - $name: $execs inputs, $coverage edges"
	else
		echo "not ok $n - $name: exit $status"
		tail -n 30 "$found/$name/log" | sed 's/^/# /'
		for crash in "$found/$name/crashes"/*; do [ ! -e "$crash" ] || { echo "# $(basename "$crash"):"; base64 -w 0 "$crash" | head -c 4000 | sed 's/^/# /'; echo; }; done
		bad=1
	fi
done
exit ${bad:-0}
