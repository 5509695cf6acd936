#!/bin/bash
# Proves that "mbackup report" says how the stack stands, alike as JSON, as text and as one page with nothing from outside, whatever
# names are in it; and that it says so too when the repository is away, which is when somebody looks.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
command -v chromium >/dev/null || skip_all "no chromium: tools/install-deps"
stack_postgres && stack_redis || { result "a stack" 1; done_testing; }
stack_config
printf '\n[schedule]\nincremental = 0 2 * * *\n\n[retention]\ndays = 30\nlast = 2\n' >>"$CONF"
echo one >"$T/objects/o1"

run mb report
is "$status" 0 "no repository yet: a report all the same"
like "$out" "Nothing can be restored yet" "no repository yet: what that means"
like "$out" "^failed: repository list: .*" "no repository yet: a problem"
mb init >/dev/null 2>&1
run mb report
like "$out" 'run "mbackup backup"' "no backup yet: what to do"

hostile='</script><img src=x onerror=window.hacked=1><b>'
start_stream
mb backup >/dev/null 2>&1
mb backup --label "release=$hostile" >/dev/null 2>&1
mb mark "$hostile" >/dev/null 2>&1
is $? 0 "a mark whose name wants to be markup"
mb mark 'a-name-that-is-so-long-that-it-has-no-place-anywhere-and-has-no-blank-in-it-where-it-could-be-broken' >/dev/null 2>&1
mb backup --type full >/dev/null 2>&1
mb verify --read-data full >/dev/null 2>&1
mb verify --restore >/dev/null 2>&1
is $? 0 "a drill"
mb list --json >"$T/list.json"

mb report --json >"$T/report.json"
is $? 0 "the report as JSON"
is "$(json report.backups <"$T/report.json" | python3 -c 'import json, sys; print([b["id"] for b in json.load(sys.stdin)])')" \
	"$(json backups <"$T/list.json" | python3 -c 'import json, sys; print([b["id"] for b in json.load(sys.stdin)][::-1])')" "the backups of \"mbackup list\", the newest first"
is "$(json report.drills.0.status <"$T/report.json")" passed "the drill, with its result"
like "$(json report.drills.0.rto_seconds <"$T/report.json")" '^[0-9.]+$' "... and its RTO"
is "$(json report.retention.policy.days <"$T/report.json")" 30 "what is kept"
like "$(json report.retention.backups.0.reasons.0 <"$T/report.json")" "younger than 30 days" "... and why"
run mb report --html "$T/report.html"
is "$status" 0 "the report as a page"
like "$out" "The page is \"$T/report.html\"" "it says where"
for id in $(python3 -c 'import json, sys; print(*[b["id"] for b in json.load(open(sys.argv[1]))["report"]["backups"]])' "$T/report.json")
do
	grep -q "$id" <<<"$out" || echo "$id"
done >"$T/missing"
is "$(cat "$T/missing")" "" "the text has every backup of the JSON"
mb report --html - >"$T/stdout.html" 2>/dev/null
[ "$(head -c 15 "$T/stdout.html")" = '<!doctype html>' ] && grep -q '</html>' "$T/stdout.html" && [ "$(grep -c '</html>' "$T/stdout.html")" = 1 ]
result "--html -: the page and nothing else on stdout" $?
run mb report --html "$T/none/report.html"
[ "$status" != 0 ]
result "a page that cannot be written: an error" $?
like "$err" "hint: Name a file in a directory" "a page that cannot be written: what to do"
run mb report --repository nowhere --json
like "$(json report.problems.0.message <<<"$out")" "nowhere" "a copy that there is not: said in the report"

mkdir -p "$T/pictures"
while read -r wrong what
do
	result "$what" "$wrong"
done < <(timeout -k 5 240 /usr/bin/python3 "$here/tests/lib/report_page.py" "$T/report.html" "$T/report.json" "$hostile" "$T/pictures" 2>"$T/look.err"; echo "$? the look at the page came to its end")
[ ! -s "$T/look.err" ] || sed 's/^/# /' "$T/look.err" >&2
[ -z "${STATUS_PICTURES:-}" ] || cp "$T/pictures"/*.png "$STATUS_PICTURES/"

# The day on which somebody looks.
stack_kill "$STREAM"
mv "$REPO" "$REPO.away"
run mb report --html "$T/away.html"
is "$status" 0 "the repository is away: a report all the same"
like "$out" "failed: repository list:" "the repository is away: a problem"
grep -q '"state":"down"' "$T/away.html"
result "the repository is away: the page says so" $?
done_testing
