#!/bin/bash
# Proves that what is installed beside the program is right: the units are accepted by systemd and hardened, every alert
# fires when it must and is silent when all is well, and alerts and dashboard ask for metrics that exist.
. "$(dirname "$0")/../lib/stack.sh"
# No server is started, and "make install" needs the sources: no other user.
T=$(mktemp -d "${TMPDIR:-/tmp}/mb.XXXXXX")
trap 'rm -rf "$T"' EXIT
chmod 755 "$T"
cd "$here" || exit 1

# -- install ------------------------------------------------------------------------------------------
ok "make install, into a place of its own" make BUILD="$BUILD" STAGE="$T/stage" WITH_EXTENSION=no PREFIX="$T/prefix" install
units=$T/prefix/lib/systemd/system
is "$(cd "$units" && echo *)" "mbackup-.service.d mbackup-backup.service mbackup-backup.timer mbackup-stream.service mbackup-verify.service mbackup-verify.timer mbackup.service mbackup.service.d" "the units are there"
is "$(grep -rlE '@[a-z]+@|@PREFIX@' "$units")" "" "... and know where the program is"
ok "DESTDIR" make BUILD="$BUILD" STAGE="$T/stage" WITH_EXTENSION=no PREFIX=/usr DESTDIR="$T/root" install
like "$(cat "$T/root/usr/lib/systemd/system/mbackup.service")" '^ExecStart=/usr/bin/mbackup daemon$' "... is not in the units"

# -- systemd ------------------------------------------------------------------------------------------
if command -v systemd-analyze >/dev/null
then
	run systemd-analyze verify "$units"/*.service "$units"/*.timer
	is "$status $out$err" "0 " "systemd-analyze verify has nothing to say"
	sed 's/^Type=notify$/Type=notfy/' "$units/mbackup.service" >"$T/broken.service"
	run systemd-analyze verify "$T/broken.service"
	like "$err" "Type=|service type" "... and would say it"
	for unit in "$units"/*.service
	do
		# 3.0 of 10, where less is better; OK begins at 4.
		run systemd-analyze security --offline=yes --threshold=30 --no-pager "$unit"
		is "$status" 0 "${unit##*/}: $(tail -n 1 <<<"$out" | tr -dc 'a-zA-Z0-9.: -')" || diag "$out"
	done
else
	result "systemd-analyze # SKIP there is none" 0
fi
# The daemon ends its jobs within 75 s (cli/cmd_daemon.c).
stop=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' "$units/mbackup.service")
end=$(sed -n 's/^#define END_MS \([0-9]*\)000 .*/\1/p' cli/cmd_daemon.c)
is "$([ "$stop" -gt "$end" ] && echo longer)" longer "systemd waits longer ($stop s) than the daemon takes to end its jobs ($end s)"
watchdog=$(sed -n 's/^WatchdogSec=\([0-9]*\)min$/\1/p' "$units/mbackup.service")
database=$(sed -n 's/^#define DAEMON_DATABASE_MS \([0-9]*\)000$/\1/p' cli/daemon.h)
is "$([ $((watchdog * 60)) -ge $((4 * database)) ] && echo longer)" longer "... and its watchdog longer than a slow database"
is "$(grep -c '^RemoveIPC=no$\|^PrivateUsers=no$' deploy/systemd/common.conf)" 2 "what would harm the database or the backup is off"

# -- Prometheus and Grafana -----------------------------------------------------------------------------
python3 - >"$T/judged" <<'PY'
import json, re, sys

failed = 0


def result(name, problems):
    global failed
    for problem in problems:
        print("# " + problem, file=sys.stderr)
    failed |= bool(problems)
    print(("FAIL " if problems else "PASS ") + name)


docs = open("docs/daemon.md", encoding="utf-8").read()
known = {}
for name, labels in re.findall(r"^\| `(mbackup_[a-z_]+)` \| \w+ \| ([^|]*)\|", docs, re.M):
    known[name] = set(re.findall(r"`(\w+)`", labels)) | {"job", "instance"}
rules = open("deploy/prometheus/mbackup.rules.yml", encoding="utf-8").read()
dashboard = json.load(open("deploy/grafana/mbackup.json", encoding="utf-8"))
panels = dashboard["panels"]
exprs = [t["expr"] for p in panels for t in p["targets"]]
result("the dashboard is one: schema, ids, places", [] if dashboard["schemaVersion"] >= 36 and dashboard["uid"] == "mbackup" and
       len({p["id"] for p in panels}) == len(panels) and
       len({(x, y) for p in panels for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
            for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])}) ==
       sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in panels) and
       all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels) else ["panels overlap, or ids do"])
alerts = re.split(r"^      - alert: ", rules, flags=re.M)[1:]
result("every alert has a summary, a runbook and a severity", ([] if len(alerts) > 10 else ["few alerts"]) +
       [a.split("\n")[0] for a in alerts if not all(w in a for w in ('summary: "', 'runbook: "', "severity: "))])
expr_text = "\n".join(re.findall(r"^        expr: ((?:>-\n(?:          .*\n)+)|.*)", rules, re.M))
problems = []
if known:
    for where, text in (("rules", expr_text), ("dashboard", "\n".join(exprs))):
        for name, _, labels in re.findall(r"\b(mbackup_[a-z_]+)\b(\{([^}]*)\})?", text):
            if name not in known:
                problems.append(f"{where}: there is no metric {name}")
            else:
                problems += [f"{where}: {name} has no label {l}" for l in re.findall(r"(\w+)\s*[!=]", labels) if l not in known[name]]
    result("alerts and dashboard ask for metrics of docs/daemon.md, by labels that they have", problems)
    used = set(re.findall(r"\bmbackup_[a-z_]+\b", expr_text + "\n".join(exprs)))
    result("... and every metric is asked for by one of them", sorted(set(known) - used))
else:
    result("docs/daemon.md has no table of metrics yet", [])
sys.exit(failed)
PY
while read -r verdict name
do
	[ "$verdict" = PASS ]
	result "$name" $?
done <"$T/judged"
is "$([ "$(grep -c '' "$T/judged")" -ge 3 ] && echo all)" all "... all of that was looked at"
if command -v promtool >/dev/null
then
	cp deploy/prometheus/mbackup.rules.yml tests/lib/mbackup_rules_test.yml "$T/"
	ok "promtool accepts the rules" promtool check rules "$T/mbackup.rules.yml"
	ok "each alert fires when it must, and none when all is well" promtool test rules "$T/mbackup_rules_test.yml"
	sed -i 's/> 26 \* 3600/> 99 * 3600/' "$T/mbackup.rules.yml"
	run promtool test rules "$T/mbackup_rules_test.yml"
	is "$status" 1 "... and a limit that is wrong is noticed"
else
	result "promtool # SKIP it is not installed (Debian: prometheus)" 0
fi
done_testing
