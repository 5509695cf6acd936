#!/bin/bash
# Proves that a daemon set up as docs/deploy.md says works: secrets come as systemd's credentials, readiness, watchdog and
# reload are told as Type=notify wants it, and /metrics has every metric that the alerts and the dashboard ask for.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || exit 1
stack_postgres
mkdir -p "$T/etc" "$T/spool" "$T/credentials"
chmod 700 "$T/spool"
echo one >"$T/etc/app.conf"
(umask 077; head -c 32 /dev/urandom | base64 >"$T/credentials/mbackup_passphrase")
chmod 400 "$T/credentials/mbackup_passphrase"
chmod 500 "$T/credentials"
export CREDENTIALS_DIRECTORY=$T/credentials
has_listen=$(grep -c '^| `listen` |' "$here/docs/configuration.md")
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
{
	printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\n' "$T" "$REPO"
	sed -n 's/^ *\(passphrase-command = .*\)/\1/p' "$here/docs/deploy.md" | head -n 1
	printf '[daemon]\nsync-interval = 1s\n'
	[ "$has_listen" = 0 ] || printf 'listen = 127.0.0.1:%s\n' "$PORT"
	printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
	printf '[files:config]\npaths = %s/etc\nscan-interval = 1s\n' "$T"
} >"$CONF"
# It holds no secret, so everybody may read it.
chmod 644 "$CONF"
mb init >"$T/init.out" 2>&1
is $? 0 "a passphrase comes from \$CREDENTIALS_DIRECTORY" || cat "$T/init.out" >&2
sql "CREATE EXTENSION mbackup" >/dev/null

# What systemd does.
python3 - "$T" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1] + "/notify.sock")
open(sys.argv[1] + "/listening", "w").close()
while True:
    with open(sys.argv[1] + "/told", "a") as out:
        out.write(s.recv(4096).decode().replace("\n", " ") + "\n")
PY
stack_owns $!
wait_for 10 [ -e "$T/listening" ]
touch "$T/told"
NOTIFY_SOCKET=$T/notify.sock WATCHDOG_USEC=2000000 "$MBACKUP" --config "$CONF" daemon >>"$T/daemon.log" 2>&1 &
DAEMON=$!
stack_owns $DAEMON
told() { grep -q "$1" "$T/told"; }
wait_for 10 told READY=1
is $? 0 "systemd is told that it is ready" || cat "$T/daemon.log" >&2
wait_for 10 told WATCHDOG=1
is $? 0 "... and that it lives"
kill -HUP $DAEMON
wait_for 10 told RELOADING=1
is $? 0 "... and that it reads its configuration again"

has_ended() { case "$(sql "SELECT state FROM mbackup.job_table WHERE id = $1")" in done|partial|failed|cancelled|abandoned) ;; *) false ;; esac; }
for kind in backup verify plan
do
	arguments='{}'
	[ $kind != verify ] || arguments='{"restore": true}'
	[ $kind != plan ] || arguments='{"target": {"kind": "mark", "value": "there is none"}}'
	job=$(sql "SELECT mbackup.make_job('$kind', '$arguments', 'mbtest', 'mbtest', NULL, NULL)")
	wait_for 60 has_ended "$job"
done
is "$(sql "SELECT string_agg(state, ' ' ORDER BY id) FROM mbackup.job_table")" "done done failed" "jobs run with the credentials of the service" || tail -n 5 "$T/daemon.log" >&2

if [ "$has_listen" != 0 ]
then
	sql "INSERT INTO mbackup.policy_table (name, kind, arguments) VALUES ('default', 'backup', '{\"type\": \"auto\"}') ON CONFLICT DO NOTHING" >/dev/null
	sql "INSERT INTO mbackup.schedule_table (name, policy, cron, time_zone, owner, enabled, jitter) VALUES ('yearly', 'default', '0 0 1 1 *', 'UTC', 'mbtest', true, '0')" >/dev/null
	metrics() { python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())' "http://127.0.0.1:$PORT/metrics" >"$T/metrics" 2>"$T/metrics.err"; }
	# What is not known is left out: of a stream it is its lag, of a schedule its next time.
	complete() { metrics && grep -q '^mbackup_stream_lag_seconds{' "$T/metrics" && grep -q '^mbackup_schedule_next' "$T/metrics" && grep -q '^mbackup_job_last_finished.*failed' "$T/metrics" && grep -q '^mbackup_drill_rpo' "$T/metrics"; }
	wait_for 60 complete
	is $? 0 "/metrics answers" || { cat "$T/metrics" "$T/metrics.err"; tail -n 5 "$T/daemon.log"; } >&2
	python3 - "$here" "$T/metrics" >"$T/missing" <<'PY'
import json, re, sys
here, path = sys.argv[1:]
real = {}
for line in open(path, encoding="utf-8"):
    match = re.match(r"(mbackup_[a-z_]+)(\{[^}]*\})?", line)
    if match:
        real.setdefault(match[1], {"job", "instance"}).update(re.findall(r'(\w+)="', match[2] or ""))
text = open(here + "/deploy/prometheus/mbackup.rules.yml", encoding="utf-8").read()
wanted = re.findall(r"^        expr: ((?:>-\n(?:          .*\n)+)|.*)", text, re.M)
wanted += [t["expr"] for p in json.load(open(here + "/deploy/grafana/mbackup.json", encoding="utf-8"))["panels"] for t in p["targets"]]
found = 0
for name, _, labels in re.findall(r"\b(mbackup_[a-z_]+)\b(\{([^}]*)\})?", "\n".join(wanted)):
    found += 1
    if name not in real:
        # There is one only when something is wrong.
        if name != "mbackup_problem":
            print(name)
    else:
        for label in re.findall(r"(\w+)\s*[!=]", labels):
            if label not in real[name]:
                print(name, label)
if found < 30:
    print("the expressions were not understood")
PY
	is "$(sort -u "$T/missing")" "" "... and has every metric that the alerts and the dashboard ask for" || cat "$T/metrics" >&2
	# The real one, when it is there (Debian: prometheus): it takes what the daemon says, and the rules.
	if command -v prometheus >/dev/null
	then
		prom=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
		printf '%s\n' 'global: {scrape_interval: 1s, evaluation_interval: 1s}' "rule_files: ['$here/deploy/prometheus/mbackup.rules.yml']" \
			'scrape_configs:' "  - {job_name: mbackup, static_configs: [{targets: ['127.0.0.1:$PORT']}]}" >"$T/prometheus.yml"
		prometheus --config.file="$T/prometheus.yml" --storage.tsdb.path="$T/tsdb" --web.listen-address="127.0.0.1:$prom" >"$T/prometheus.log" 2>&1 &
		stack_owns $!
		ask() { python3 -c 'import json, sys, urllib.parse, urllib.request
answer = json.load(urllib.request.urlopen("http://127.0.0.1:%s/api/v1/query?query=%s" % (sys.argv[1], urllib.parse.quote(sys.argv[2])), timeout=10))
print(*[r["value"][1] for r in answer["data"]["result"]])' "$prom" "$1" 2>/dev/null; }
		asked() { [ "$(ask "$1")" = "$2" ]; }
		wait_for 30 asked 'up{job="mbackup"}' 1
		is $? 0 "Prometheus scrapes it" || tail -n 3 "$T/prometheus.log" >&2
		wait_for 10 asked 'count(mbackup_info)' 1
		is "$(ask 'count({__name__=~"mbackup_.*"})')" "$(grep -c '^mbackup_' "$T/metrics")" "... and takes every line" || ask 'count by (__name__) ({__name__=~"mbackup_.*"})' >&2
		is "$(ask 'sum(scrape_samples_scraped{job="mbackup"}) > 20 and on () vector(1)' | wc -w)" 1 "... of which there are some"
		pending() { [ -n "$(ask 'ALERTS{alertname="MbackupJobFailed", kind="plan"}')" ]; }
		wait_for 10 pending
		is $? 0 "... and its alerts see the job that failed"
		is "$(ask 'ALERTS{alertname=~"MbackupDown|MbackupMissing|MbackupRepositoryDown|MbackupDatabaseDown|MbackupNoBackup|MbackupBackupTooOld|MbackupStreamDown"}')" "" "... and nothing else that is not so"
	else
		result "Prometheus # SKIP it is not installed" 0
	fi
else
	result "/metrics # SKIP the daemon has none" 0
fi

kill -TERM $DAEMON
wait $DAEMON
is $? 143 "SIGTERM ends it with the status that the unit calls success"
wait_for 5 told STOPPING=1
is $? 0 "... and systemd is told"
is "$(grep -c "$(cat "$T/credentials/mbackup_passphrase")" "$T/daemon.log")" 0 "the passphrase is not in the log"
done_testing
