#!/bin/bash
# Proves the house rules of docs/architecture.md: a file includes its own folder and lower
# ranks only, each third-party header stands in the files that it is allowed to stand in, and files are
# opened by core/base/fs.h.
cd "$(dirname "$0")/.." || exit 1

rank_of() # path
{
	case $1 in
		core/base/*) echo 0 ;;
		core/repo/*) echo 1 ;;
		core/engine/*) echo 2 ;;
		postgres/* | walstreamer/* | objectstore/* | redis/* | files/*) echo 3 ;;
		cli/*) echo 4 ;;
		*) echo 9 ;;
	esac
}

# header -> the files that may include it (extended regular expression)
allowed_for()
{
	case $1 in
		zstd.h) echo '^core/repo/blob\.c$' ;;
		openssl/*) echo '^(core/repo/crypto|redis/tls)\.c$' ;;
		xxhash.h) echo '^core/base/hash\.c$' ;;
		jansson.h) echo '^core/base/json\.h$' ;;
		ini.h) echo '^cli/config_file\.c$' ;;
		libpq-fe.h) echo '^postgres/connection\.[ch]$' ;;
		hiredis/*) echo '^redis/connection\.[ch]$' ;;
		archive*.h) echo "^core/base/(tar|zip)\.c$" ;;
		curl/*) echo '^objectstore/http_private\.h$' ;;
		expat.h) echo '^objectstore/s3_xml\.c$' ;;
		microhttpd.h) echo '^cli/http\.c$' ;;
		*) echo '.' ;;
	esac
}

problems=0
say() { echo "# $*"; problems=$((problems + 1)); }

while IFS= read -r file
do
	mine=$(rank_of "$file")
	while IFS= read -r include
	do
		theirs=$(rank_of "$include")
		[ "$theirs" = 9 ] && { say "$file includes \"$include\", which is in no layer"; continue; }
		[ -f "$include" ] || say "$file includes \"$include\", which does not exist"
		if [ "$theirs" -gt "$mine" ]
		then
			say "$file (rank $mine) includes \"$include\" (rank $theirs)"
		elif [ "$theirs" = 3 ] && [ "$mine" = 3 ] && [ "${file%%/*}" != "${include%%/*}" ]
		then
			# Both speak libpq; wal_source.h is the seam that walstreamer fills.
			case "${file%%/*} $include" in
				"walstreamer postgres/connection.h" | "walstreamer postgres/wal_source.h") ;;
				*) say "$file includes its neighbour's \"$include\"" ;;
			esac
		fi
	done < <(sed -n 's/^#include "\(.*\)"$/\1/p' "$file")
	# What a signal may interrupt is repeated in one place, but for what a user names that may be a pipe.
	[[ $file = *.h || $file = core/base/fs.c || $file = cli/cmd_import.c || $file = redis/rdb_file.c ]] ||
		! sed 's/"[^"]*"//g; s,/\*.*,,; /^[[:space:]]*\*/d' "$file" | grep -Eq '(^|[^_[:alnum:].>])(open|openat|opendir|mkostemp)\(' ||
		say "$file opens something by itself: mb_open and its kin in core/base/fs.h repeat what a signal interrupts"
	while IFS= read -r header
	do
		grep -Eq "$(allowed_for "$header")" <<<"$file" || say "$file includes <$header>"
	done < <(sed -n 's/^#include <\(.*\)>$/\1/p' "$file")
done < <(git ls-files --cached --others --exclude-standard 2>/dev/null | grep -E '^(core|postgres|walstreamer|objectstore|redis|files|cli)/.*\.[ch]$' ||
	find core postgres walstreamer objectstore redis files cli -name '*.[ch]')

echo "1..1"
if [ "$problems" = 0 ]
then
	echo "ok 1 - every include points downwards, every library has its place"
else
	echo "not ok 1 - every include points downwards, every library has its place"
	exit 1
fi
