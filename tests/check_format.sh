#!/bin/bash
# Proves that every C file is formatted as .clang-format says.
cd "$(dirname "$0")/.." || exit 1
files=$(git ls-files '*.[ch]' 2>/dev/null)
[ -n "$files" ] || files=$(find core postgres walstreamer objectstore redis files cli tests -name '*.[ch]')
echo "1..1"
# shellcheck disable=SC2086
if clang-format --dry-run -Werror $files 2>/tmp/mb-format.$$
then
	echo "ok 1 - every C file is formatted"
else
	grep -o '^[^:]*: error' /tmp/mb-format.$$ | sort | uniq -c | sed 's/^/# /' | head -n 20
	sed 's/^/# /' /tmp/mb-format.$$ | head -n 10
	echo "not ok 1 - every C file is formatted (make format)"
	status=1
fi
rm -f /tmp/mb-format.$$
exit ${status:-0}
