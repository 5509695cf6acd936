#!/bin/bash
# Proves that /metrics is OpenMetrics by a parser that is not ours and says what SQL says, and that the daemon's HTTP side
# refuses what it must: other names (DNS rebinding), other methods, slow and too many clients; and that neither a port
# that is taken nor a database that is down keeps the daemon from its work.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/daemon.sh"
PYTHON=/usr/bin/python3
$PYTHON -c 'import prometheus_client.openmetrics.parser' 2>/dev/null || skip_all "no python3-prometheus-client"
daemon_stack
metric() { $PYTHON "$here/tests/lib/metrics.py" "$T/metrics" "$@"; }
scrape() { get /metrics && cp "$T/body" "$T/metrics"; }
epoch() { sql "SELECT round(extract(epoch FROM ($1)), 6)" | sed 's/\.*0*$//'; }

start_daemon
wait_for 20 served
answers() { get /status.json; [ "$code" = 200 ]; }
wait_for 10 answers
is "$code" 200 "the daemon answers on the port that the configuration names" || tail "$T/daemon.log" >&2

# Before there is anything.
scrape
is "$code $(header content-type)" "200 application/openmetrics-text; version=1.0.0; charset=utf-8" "/metrics: the type of OpenMetrics 1.0"
ok "... which the parser accepts, with HELP, TYPE and UNIT everywhere" $PYTHON "$here/tests/lib/metrics.py" "$T/metrics"
is "$(tail -n 1 "$T/metrics")" "# EOF" "... and ends as it must"
is "$(metric mbackup_last_backup_timestamp_seconds)" "" "without a backup there is no time of one"

# With data; names that want to be something else.
is "$(run_job backup '{"type": "full", "labels": {"release": "1.7 \"beta\" \\\\ </script>"}}')" "done" "a backup"
is "$(run_job verify '{"read-data": "full"}')" "done" "a verification"
is "$(run_job verify '{"restore": true}')" "done" "a drill"
is "$(run_job mark '{"name": "quo\"te \\\\ <b>"}')" "done" "a mark with a name that must be escaped"
run_job backup '{"components": ["nobody"]}' >/dev/null
sql "INSERT INTO mbackup.schedule_table (name, policy, cron, time_zone, owner, enabled, jitter, missed) VALUES ('nightly', 'default', '0 3 1 1 *', 'UTC', 'mbtest', true, '0', 3)"
wait_for 30 streaming
current() { scrape; [ "$(metric mbackup_schedule_missed_total name=nightly)" = 3 ] && [ -n "$(metric mbackup_schedule_next_timestamp_seconds)" ] && [ "$(metric mbackup_stream_running component=postgres)" = 1 ] && [ "$(metric mbackup_jobs state=failed)" = 1 ]; }
wait_for 30 current
is $? 0 "schedules, jobs and streams are there" || cat "$T/metrics" >&2
is "$(metric mbackup_up) $(metric mbackup_database_up) $(metric mbackup_repository_up)" "1 1 1" "daemon, database and repository are up"
is "$(metric mbackup_info version="$("$MBACKUP" version --json | json version)")" 1 "mbackup_info has the version"
is "$(metric mbackup_last_backup_timestamp_seconds type=full status=complete)" "$(epoch "SELECT max(finished) FROM mbackup.backup_table")" "the end of the newest backup is that of the catalog"
for component in postgres config
do
	is "$(metric mbackup_backup_bytes component=$component) $(metric mbackup_backup_stored_bytes component=$component)" \
		"$(sql "SELECT bytes, stored_bytes FROM mbackup.component_table WHERE name = '$component'" -F ' ')" "the sizes of $component too"
done
is "$(metric mbackup_backup_duration_seconds component=postgres)" "$(sql "SELECT round(seconds::numeric, 6) FROM mbackup.component_table WHERE name = 'postgres'" | sed 's/\.*0*$//')" "... and how long it took"
is "$(metric mbackup_recovery_window_start_timestamp_seconds component=stack)" "$(epoch "SELECT starts FROM mbackup.window_table WHERE component = 'stack'")" "the window of the stack begins where the catalog says"
is "$(metric mbackup_recovery_window_gaps component=postgres)" 0 "... without gaps"
is "$(metric mbackup_stream_lag_seconds component=postgres | awk '{ print ($1 < 10) }') $(metric mbackup_stream_lag_seconds component=config)" "1 " "Postgres is a few seconds behind; of files that nobody changes there is no lag"
is "$(metric mbackup_verify_last_success_timestamp_seconds)" "$(epoch "SELECT max(finished) FROM mbackup.job_table WHERE kind = 'verify' AND state = 'done'")" "the last verification"
drilled() { scrape; [ -n "$(metric mbackup_drill_timestamp_seconds status=passed)" ]; }
wait_for 20 drilled
is "$(metric mbackup_drill_rto_seconds) $(metric mbackup_drill_rpo_seconds)" "$(sql "SELECT trim_scale(round((result #>> '{drill,rto_seconds}')::numeric, 6)), trim_scale(round((result #>> '{drill,rpo_seconds}')::numeric, 6)) FROM mbackup.job_table WHERE kind = 'verify' AND result ? 'drill'" -F ' ')" "what the drill measured"
is "$(metric mbackup_job_last_finished_timestamp_seconds kind=backup state=failed)" "$(epoch "SELECT max(finished) FROM mbackup.job_table WHERE kind = 'backup' AND state = 'failed'")" "the last backup that failed"
is "$(metric mbackup_schedule_next_timestamp_seconds name=nightly)" "$(epoch "SELECT next FROM mbackup.schedule_table")" "when the schedule runs next"
for s in queued running done partial failed cancelled abandoned
do
	[ "$(metric mbackup_jobs state=$s)" = "$(sql "SELECT count(*) FROM mbackup.job_table WHERE state = '$s'")" ] || { diag "$s"; false; break; }
done
is $? 0 "jobs by state"
is "$(metric mbackup_problems severity=failed)" "$(sql "SELECT count(*) FROM mbackup.problem_table WHERE severity = 'failed'")" "problems by severity"
documented=$(sed -n 's/^| `\(mbackup_[a-z_]*\)` | [a-z]* |.*/\1/p' "$here/docs/daemon.md" | sort -u)
shown=$(sed -n 's/^# TYPE \([a-z_]*\) \([a-z]*\)$/\1 \2/p' "$T/metrics" | sed 's/ counter/_total/; s/ info/_info/; s/ .*//' | sort -u)
is "$shown" "$documented" "docs/daemon.md has every metric, and no other"
# A weekly verification must not be forgotten because of what came after it.
sql "INSERT INTO mbackup.job_table (kind, arguments, state, requested_by, requested_as, requested, finished, system_identifier, timeline)
	SELECT 'mark', '{}', 'cancelled', 'a', 'a', now(), now(), 1, 1 FROM generate_series(1, 60)"
verified=$(metric mbackup_verify_last_success_timestamp_seconds)
crowded() { scrape; [ "$(metric mbackup_jobs state=cancelled)" = 50 ]; }
wait_for 15 crowded
is "$(metric mbackup_verify_last_success_timestamp_seconds)" "$verified" "sixty jobs later the last verification is still known"

# Hostile names: as they are in JSON, escaped in a label.
is "$(status '["marks"][0]["name"]')" 'quo"te \\ <b>' "the document has the name of the mark as it is"
printf '' >"$T/etc/none"
document_keys() { status '.keys() and sorted(document)'; }
is "$(document_keys)" "$(sql "SELECT jsonb_agg(k ORDER BY k COLLATE \"C\") FROM jsonb_object_keys(mbackup_status()) k")" "the document of the daemon has the members that mbackup_status() has"
same() { is "$(status "$1")" "$(sql "SELECT mbackup_status() $2" | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin), sort_keys=True))')" "... and $3"; }
same '["backups"]' "-> 'backups'" "the same backups"
same '["marks"]' "-> 'marks'" "the same marks"
same '["schedules"]' "-> 'schedules'" "the same schedules"
same '["last"]["backups"]' "-> 'last' -> 'backups'" "the same last backups"

# Who is answered.
for host in localhost 127.0.0.1 '[::1]' "localhost:$PORT" LOCALHOST
do
	get /status.json -H "Host: $host"
	is "$code" 200 "Host: $host is answered"
done
for host in evil.example "evil.example:$PORT" 127.0.0.1.evil.example localhost.evil.example 192.168.1.1 '[::1' 'localhost:x' ''
do
	get /status.json -H "Host: $host"
	is "$code $(wc -c <"$T/body" | awk '{print $1 < 200}')" "403 1" "Host: $host is not" || diag "$(head -c 100 "$T/body")"
done
raw() { "$PYTHON" - "$PORT" "$1" <<'PY'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
print(s.recv(4096).decode().split("\r\n")[0].split(" ")[1])
PY
}
is "$(raw 'GET /status.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n')" 403 "nor are two of them"
is "$(raw 'GET /status.json HTTP/1.0\r\n\r\n')" 403 "... nor none"
for method in POST PUT DELETE OPTIONS TRACE PATCH
do
	get /status.json -X $method
	is "$code $(header allow)" "405 GET, HEAD" "$method is not allowed"
done
head -c 3000000 /dev/zero >"$T/big"
get / -X POST --data-binary @"$T/big"
like "$code" '405|000' "... nor 3 MB of it"
for path in /nothing /status.json/ /../etc/passwd //metrics '/metrics%00x'
do
	get "$path"
	is "$code" 404 "$path does not exist"
done
get /
is "$code $(header content-type)" "200 text/html; charset=utf-8" "the page"
length=$(header content-length)
like "$(header content-security-policy)" "^default-src 'none'; script-src 'sha256-[^ ]*'; style-src 'sha256-[^ ]*'; connect-src 'self'; .*frame-ancestors 'none'" "... allows nothing but what is in it"
is "$(header x-content-type-options) $(header referrer-policy) $(header cache-control)" "nosniff no-referrer no-store" "... and is neither sniffed, referred to nor kept"
code=$(curl -sS -m 20 -I -o "$T/headers" -w '%{http_code} %{size_download}' "http://127.0.0.1:$PORT/")
is "$code $(header content-length)" "200 0 $length" "HEAD: the same without the body"
get /healthz
is "$code $out" "200 ok" "/healthz"

# Too much, too many, too slow.
get / -H "X-Long: $(head -c 40000 /dev/zero | tr '\0' a)"
like "$code" '413|431' "40 kB of header are too many"
"$PYTHON" - "$PORT" >"$T/slow.out" <<'PY' &
import socket, sys, time
begin = time.time()
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(0.5)
s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
while time.time() - begin < 45:
    try:
        s.sendall(b"a")
        if s.recv(100) == b"":
            break
    except socket.timeout:
        continue
    except OSError:
        break
print(int(time.time() - begin))
PY
slow=$!
"$PYTHON" - "$PORT" >"$T/many.out" <<'PY'
import socket, sys, time, urllib.request
port = int(sys.argv[1])
many = []
for i in range(200):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", port))
    many.append(s)
time.sleep(1)
begin = time.time()
status = urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60).status
print(status, "soon" if time.time() - begin < 45 else time.time() - begin)
PY
is "$(cat "$T/many.out")" "200 soon" "with 200 connections that say nothing, the next one waits but is answered"
wait $slow
is "$(awk '{print ($1 > 5 && $1 < 30)}' "$T/slow.out")" 1 "a client that sends a byte now and then is cut off ($(cat "$T/slow.out") s)"
# /proc/PID/fd is closed to us: the daemon is not dumpable.
is "$(awk -v port=":$(printf %04X "$PORT")$" '$2 ~ port && $4 != "0A" && $4 != "06"' /proc/net/tcp | wc -l)" 0 "... and no connection is left"
seen() { [ "$(sql "SELECT seen > now() - interval '10 s' FROM mbackup.daemon_table WHERE replaced_by IS NULL")" = t ]; }
ok "... while the daemon went on with its work" seen
"$PYTHON" - "$PORT" <<'PY'
import sys, threading, urllib.request
bad = []
def ask():
    for i in range(100):
        for path in ("", "status.json", "metrics"):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/{path}", timeout=20).read()
            except Exception as e:
                bad.append(e)
threads = [threading.Thread(target=ask) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(bad[:3]) if bad else None
sys.exit(bool(bad))
PY
is $? 0 "2400 requests by eight at once"

# The database is down.
stop_cluster "$PGDATA" immediate
down() { [ "$(status '["database"]["state"]')" = down ]; }
wait_for 20 down
is $? 0 "the database is down: the document says so"
is "$(status '["backups"][0]["status"]') $(status '["jobs"][0]["kind"]')" "complete mark" "... and still has what was known"
scrape
is "$(metric mbackup_database_up) $(metric mbackup_up) $(metric mbackup_schedule_missed_total)" "0 1 3" "... and so do the metrics"
get /healthz
is "$code" 200 "... and the daemon is healthy"
start_cluster "$PGDATA"
up() { [ "$(status '["database"]["state"]')" = up ]; }
wait_for 30 up
is $? 0 "... and when it is back"

# Another port by reload, none, and one that is taken.
old=$PORT
PORT=$(free_port)
daemon_config
kill -HUP $DAEMON
wait_for 20 answers
is "$code $(curl -s -m 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$old/healthz")" "200 000" "a reload moves it to another port"
daemon_config 'listen = none'
kill -HUP $DAEMON
closed() { ! curl -s -m 5 -o /dev/null "http://127.0.0.1:$PORT/healthz"; }
wait_for 10 closed
is $? 0 "listen = none: nobody listens"
"$PYTHON" -c 'import socket, sys, time; s = socket.create_server(("127.0.0.1", int(sys.argv[1]))); print("taken", flush=True); time.sleep(300)' "$PORT" >"$T/taken" &
stack_owns $!
wait_for 10 test -s "$T/taken"
daemon_config
kill -HUP $DAEMON
wait_for 10 says "there is no status page: could not listen on 127.0.0.1 port $PORT: it is taken - Choose another one"
is $? 0 "a port that is taken is a warning that says what to do" || tail -n 3 "$T/daemon.log" >&2
is "$(run_job mark '{"name": "still at work"}')" "done" "... and the daemon works on"
daemon_config 'listen = somewhere'
kill -HUP $DAEMON
wait_for 10 says '"somewhere" is no address to listen on'
is $? 0 "so is what is no address"
PORT=$(free_port)
daemon_config "listen = *:$PORT"
kill -HUP $DAEMON
wait_for 10 says 'others reach it, without authentication or TLS'
is $? 0 "an address that is not loopback is a warning too"
wait_for 10 answers
get /healthz -H "Host: 192.0.2.1:$PORT"
one=$code
get /healthz -H "Host: evil.example:$PORT"
is "$one $code" "200 403" "... there any address will do as Host, but no name"
PORT=$(free_port)
daemon_config "listen = [::1]:$PORT"
kill -HUP $DAEMON
if "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' 2>/dev/null
then
	six() { [ "$(curl -g -s -m 5 -o /dev/null -w '%{http_code}' "http://[::1]:$PORT/healthz")" = 200 ]; }
	wait_for 10 six
	is $? 0 "IPv6"
fi
kill -TERM $DAEMON
wait $DAEMON
is $? 143 "SIGTERM ends the daemon"

# Nothing secret gets out, not even from what libpq complains about.
for catalog in "postgresql://u:hunter2@[::1/db" "postgresql://u:hunter2@h:99999/db" "host=$T password=hun ter2" "host=$T/nowhere password=hunter2"
do
	PORT=$(free_port)
	daemon_config "catalog = $catalog"
	start_daemon
	wait_for 10 answers
	down() { [ "$(status '["database"]["state"]')" = down ] && [ -n "$(status '["database"]["message"]')" ]; }
	wait_for 10 down
	is $? 0 "a catalog that cannot be reached ($(status '["database"]["message"]' | cut -c 1-60)...)"
	get /status.json
	secrets=$(grep -c 'hunter2\|ter2' "$T/body")
	get /metrics
	is "$secrets $(grep -c 'hunter2\|ter2' "$T/body" "$T/daemon.log" | cut -d : -f 2 | xargs)" "0 0 0" "... and no secret is in the document, the metrics or the log" || grep -h 'ter2' "$T/daemon.log" >&2
	kill -TERM $DAEMON
	wait $DAEMON
done

# The loop hangs: its thread sleeps in poll(), the server's does not.
if [ -n "${MBACKUP_LONG:-}" ]
then
	cat >"$T/hang.c" <<-'EOC'
		#define _GNU_SOURCE
		#include <dlfcn.h>
		#include <poll.h>
		#include <stdlib.h>
		#include <unistd.h>
		int poll(struct pollfd *fds, nfds_t count, int ms)
		{
			int (*next)(struct pollfd *, nfds_t, int) = (int (*)(struct pollfd *, nfds_t, int)) dlsym(RTLD_NEXT, "poll");
			while (gettid() == getpid() && access(getenv("HANG"), F_OK) == 0)
				usleep(100000);
			return next(fds, count, ms);
		}
	EOC
	ok "a poll() that hangs" cc -shared -fPIC -o "$T/hang.so" "$T/hang.c" -ldl
	PORT=$(free_port)
	daemon_config
	LD_PRELOAD=$T/hang.so HANG=$T/hang start_daemon
	wait_for 30 answers
	touch "$T/hang"
	sick() { get /healthz; [ "$code" = 503 ]; }
	wait_for 60 sick
	is $? 0 "/healthz says that the loop hangs"
	scrape
	is "$(metric mbackup_up) $(metric mbackup_database_up)" "0 1" "mbackup_up is 0, and the rest is what was known"
	rm "$T/hang"
	healthy() { get /healthz; [ "$code" = 200 ]; }
	wait_for 10 healthy
	is $? 0 "... until it turns again"
	kill -TERM $DAEMON
	wait $DAEMON
fi
done_testing
