#!/bin/bash
# Proves that every C file is formatted as .clang-format says, and that every test can be run.
cd "$(dirname "$0")/.." || exit 1
files=$(git ls-files '*.[ch]' 2>/dev/null)
[ -n "$files" ] || files=$(find core postgres walstreamer objectstore redis files cli tests -name '*.[ch]')
echo "1..2"
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
# prove ends at the first one that is not executable, and says little.
lame=$(find tests/unit tests/fuzz tests/integration -name '*.t' ! -perm -u+x)
if [ -z "$lame" ]
then
	echo "ok 2 - every test is executable"
else
	printf '# chmod +x %s\n' $lame
	echo "not ok 2 - every test is executable"
	status=1
fi
exit ${status:-0}
