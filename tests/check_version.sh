#!/bin/bash
# Proves that there is one version: that of VERSION is told by the program, both changelogs, Debian's packages, META.json,
# pkg-config and the documentation, and the extension has its first two numbers and can be updated to them.
cd "$(dirname "$0")/.." || exit 1
version=$(cat VERSION)
minor=${version%.*}
n=0
same() # got expected name
{
	n=$((n + 1))
	if [ "$1" = "$2" ]
	then
		echo "ok $n - $3"
	else
		printf 'not ok %d - %s\n# got:      %s\n# expected: %s\n' "$n" "$3" "$1" "$2"
		bad=1
	fi
}
same "$(grep -cxE '[0-9]+\.[0-9]+\.[0-9]+' VERSION) $(wc -l <VERSION)" "1 1" "VERSION is three numbers: $version"
same "$("${BUILD:-build}/mbackup" --version | sed 's/^mbackup \([^ ]*\) .*/\1/')" "$version" "mbackup --version"
same "$("${BUILD:-build}/mbackup" --version --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])')" "$version" "... in JSON"
same "$(sed -n '1s/^mbackup (\(.*\)) .*/\1/p' debian/changelog)" "$version" "debian/changelog begins with it"
same "$(sed -n 's/^## \[\([0-9].*\)\] - [0-9-]*$/\1/p' CHANGELOG.md | head -n 1)" "$version" "CHANGELOG.md's newest release is it"
same "$(python3 -c 'import json; m = json.load(open("pg_extension/META.json")); print(m["version"], m["provides"]["mbackup"]["version"])')" "$version $version" "pg_extension/META.json, twice"
same "$(sed -n 's/^DEFAULT_VERSION = //p' pg_extension/Makefile | head -n 1)" "$minor" "the extension has its first two numbers"
same "$(ls sql/mbackup--*--"$minor".sql 2>/dev/null | wc -l)" 1 "... and a script leads there"
same "$(grep -c '^Version: @VERSION@$' deploy/mbackup.pc.in)" 1 "pkg-config is told by make"
same "$(grep -rnoE '"version": "[0-9.]+", "format"|mbackup [0-9]+\.[0-9]+\.[0-9]+' docs/configuration.md | grep -vc -- "$version")" 0 "the examples of docs/configuration.md have it"
date=$(sed -n "s/^## \[$version\] - //p" CHANGELOG.md)
same "$(build=${BUILD:-build}; "$build/mbackup" help --format man | sed -n "s/^\.TH \"MBACKUP\" 1 \"\([0-9-]*\)\".*/\1/p")" "$date" "the manual pages have the day of CHANGELOG.md"
same "$(LC_ALL=C date -u -d "$(sed -n 's/^ -- .*>  //p' debian/changelog | head -n 1)" +%F)" "$date" "... and so has debian/changelog"
same "$(grep -rnF --include='*.[ch]' "\"$version\"" core postgres walstreamer objectstore redis files cli pg_extension | grep -v '/\*')" "" "no source has a version of its own"
echo "1..$n"
exit ${bad:-0}
