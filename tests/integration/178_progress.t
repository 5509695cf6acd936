#!/bin/bash
# Proves that progress fits a terminal of any width, also when the width changes; that a log gets a line each ten seconds
# and no escape sequence; and that --quiet and --json mean what they say.  What a line says is in tests/unit/progress_line_test.c.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
# So slow that somebody could watch it: level 19 of what hardly gets smaller.
for n in 1 2 3 4
do
	mkdir -p "$T/$n/etc"
	head -c $((n == 1 ? 24000000 : 6000000)) /dev/urandom | base64 >"$T/$n/etc/data"
	printf '%s\n' '[global]' "spool = $T/$n/spool" 'workers = 1' '[repository]' "url = $T/$n/repo" 'encryption = none' 'compression = zstd:19' \
		'[files:config]' "paths = $T/$n/etc" >"$T/$n/mbackup.conf"
	"$MBACKUP" init --config "$T/$n/mbackup.conf" >/dev/null 2>"$T/init.err"
	is $? 0 "stack $n" || diag "$(cat "$T/init.err")"
done
while read -r wrong what
do
	result "$what" "$wrong"
done < <(timeout -k 5 400 /usr/bin/python3 "$here/tests/lib/progress_view.py" "$MBACKUP" "$T" 2>"$T/view.err"; echo "$? the look at it came to its end")
[ ! -s "$T/view.err" ] || sed 's/^/# /' "$T/view.err" >&2
done_testing
