# check.sh - sourced after stack.sh: what "mbackup check" finds, one finding at a time.
#
#     look [option...]                    # run it: $status, $err, and the findings in $T/check.json
#     found ID STATUS [PATTERN]           # a test: there is such a finding, it has a fix; that is in $FIX
#     is_well ID                          # a test: ID was looked at, and nothing is wrong with it
#     is_silent ID                        # a test: nothing is wrong with it, whether it was looked at or not
#     mends ID [option...]                # a test: the fix, run as it stands ($FIX of a found before), mends it
#
# tests/check_conditions.sh reads these lines: each identifier of cli needs a "found" that provokes it.
look()
{
	run mb check --json "$@"
	printf '%s' "$out" >"$T/check.json"
	printf '%s\n' "$out" >>"$T/check.all"
}

# A test: whatever was found had a name that the table has.
known_findings()
{
	"$MBACKUP" check --list --json >"$T/check.list"
	is "$(python3 - "$T/check.list" "$T/check.all" <<'PY'
import json, sys

known = {c["id"] for c in json.load(open(sys.argv[1]))["conditions"]}
seen = {c["id"] for line in open(sys.argv[2]) if line.strip() for c in json.loads(line)["checks"]}
print(sorted(seen - known), len(seen) > 5)
PY
)" "[] True" "every finding is in the table"
}

# finding FIELD ID [STATUS [PATTERN]]: that field of the first such finding
finding()
{
	python3 - "$T/check.json" "$@" <<'PY'
import json, re, sys

field, wanted = sys.argv[2:4]
status = sys.argv[4] if len(sys.argv) > 4 else None
pattern = sys.argv[5] if len(sys.argv) > 5 else ""
with open(sys.argv[1]) as file:
    checks = json.load(file)["checks"]
for check in checks:
    if check["id"] == wanted and status in (None, check["status"]) and re.search(pattern, check["message"]):
        print(check[field])
        break
else:
    sys.exit(1)
PY
}

findings() { python3 -c 'import json, sys
for c in json.load(open(sys.argv[1]))["checks"]: print(c["status"], c["id"], c["message"], "|", c["fix"])' "$T/check.json" 2>&1; }

found() # id status [pattern]
{
	FIX=$(finding fix "$@")
	if [ $? = 0 ] && [ -n "$FIX" ]
	then
		result "$1: $2${3:+ ($3)}" 0
	else
		result "$1: $2${3:+ ($3)}" 1
		findings | grep -F " $1 " | sed 's/^/# /' >&2
		diag "exit $status: $err"
		return 1
	fi
}

is_wrong() { finding status "$1" warning >/dev/null || finding status "$1" failed >/dev/null; }

is_silent() # id
{
	! is_wrong "$1"
	result "$1: nothing is wrong" $? || true
	is_wrong "$1" && findings | grep -F " $1 " | sed 's/^/# /' >&2
	return 0
}

is_well() # id
{
	finding status "$1" ok >/dev/null && ! is_wrong "$1"
	result "$1: well" $?
	is_wrong "$1" && findings | grep -F " $1 " | sed 's/^/# /' >&2
	return 0
}

# Run a fix.  What it says is of interest only when it does not help.
apply() { (cd "$T" && eval "$1") >"$T/fix.out" 2>&1 </dev/null; }

mends() # id [option of check...]
{
	local id=$1

	shift
	apply "$FIX" || diag "\"$FIX\" ended with $?: $(tail -n 3 "$T/fix.out")"
	look "$@"
	is_well "$id"
}
