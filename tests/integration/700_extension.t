#!/bin/bash
# The catalog in SQL keeps its promises: every function and view (pgTAP), cron expressions against two judges, what two
# sessions at once may take, nothing for who has no right to it, dump and restore, every way to each version.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || { is 1 0 "a server of its own"; done_testing; }
# pgTAP is SQL: that of another version will do.
[ -e "$EXTENSION_DIR/pgtap.control" ] || ln -s "$(ls -d /usr/share/postgresql/*/extension 2>/dev/null | sort -V | tail -n 1)"/pgtap* "$EXTENSION_DIR/"
stack_postgres
PGTAP=$(sql "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'")
[ "$PGTAP" = 1 ] || skip_all "no pgTAP for $PG_BIN"

# tap file database: what pgTAP says becomes ours; a plan that is not kept is a failure.
tap()
{
	local line plan=0 seen=0 before=$FAILED

	psql -X -q -A -t -v ON_ERROR_STOP=1 -v tests="$here/tests" -d "$2" -f "$1" >"$T/tap.out" 2>"$T/tap.err"
	status=$?
	while IFS= read -r line
	do
		case $line in
		'ok '*) seen=$((seen + 1)); result "${line#ok * - }" 0 ;;
		'not ok '*) seen=$((seen + 1)); result "${line#not ok * - }" 1 ;;
		1..*) plan=$((plan + ${line#1..})) ;;
		'#'*) [ "$FAILED" = "$before" ] || printf '%s\n' "$line" >&2 ;;
		esac
	done <"$T/tap.out"
	is "$status $seen" "0 $plan" "$(basename "$1"): ran to its end, as many as planned"
	[ "$status" = 0 ] || diag "$(tail -n 20 "$T/tap.err")"
}
database() # name [schema of the extension]
{
	sql "CREATE DATABASE $1"
	sql "CREATE EXTENSION pgtap SCHEMA pg_catalog" -d "$1" 2>/dev/null || sql "CREATE SCHEMA tap; CREATE EXTENSION pgtap SCHEMA tap" -d "$1"
	[ -z "${2:-}" ] || sql "CREATE SCHEMA IF NOT EXISTS $2" -d "$1"
	sql "CREATE EXTENSION mbackup ${2:+SCHEMA $2}" -d "$1"
}

for file in "$here"/tests/pgtap/*.sql
do
	name=$(basename "$file" .sql)
	database "tap_$name"
	tap "$file" "tap_$name"
done
done_testing
