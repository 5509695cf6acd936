#!/bin/bash
# Proves that people are told what is wrong, by a command, a webhook and mail: once when a problem comes and once when it
# goes, whatever the receiver does (slow, refusing, failing), and not again after a restart.  What flaps makes no storm,
# and words of servers are never run and begin no header.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/extension.sh"
extension_server || exit 1
stack_postgres
REPO=$T/repo
mkdir -p "$T/etc" "$T/spool" "$T/mail"
chmod 700 "$T/spool"
echo one >"$T/etc/app.conf"
sql "CREATE EXTENSION mbackup" >/dev/null

# The receivers.
echo 200 >"$T/mode"
python3 "$here/tests/lib/notify_receiver.py" "$T/port" "$T/mode" "$T/posts" &
RECEIVER=$!
stack_owns $RECEIVER
wait_for 10 [ -s "$T/port" ]
touch "$T/posts" "$T/hook" "$T/summaries"
cat >"$T/sendmail" <<END
#!/bin/bash
printf '%s\n' "\$*" >>"$T/mail.arguments"
cat >"$T/mail/\$(date +%s%N)"
END
cat >"$T/hook.sh" <<END
#!/bin/bash
{ cat; echo; } >>"$T/hook"
printf '%s\n' "\$MBACKUP_NOTIFY_SEVERITY \$MBACKUP_NOTIFY_SUMMARY" >>"$T/summaries"
[ -z "\${MBACKUP_SESSIONS_PASSWORD:-}" ] || touch "$T/leaked"
END
chmod +x "$T/sendmail" "$T/hook.sh"
URL=http://127.0.0.1:$(cat "$T/port")/hooks/secret-token

write_config() # [line of [daemon]...]
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf '[daemon]\nstreams = no\nsync-interval = 1s\nsendmail = %s/sendmail\nnotify-after = 1s\nnotify-interval = 2s\n' "$T"
		printf 'notify-webhook-file = %s/url\n' "$T"
		printf '%s\n' "$@"
		printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
		printf '[files:config]\npaths = %s/etc\nscan-interval = 1s\n' "$T"
	} >"$CONF"
	chmod 600 "$CONF"
}
all="notify-command = $T/hook.sh
notify-mail = ops@example.com, second@example.com"
(umask 077; printf "%s\n" "$URL" >"$T/url")
write_config "$all"
mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }

start_daemon()
{
	MBACKUP_SESSIONS_PASSWORD=hidden "$MBACKUP" --config "$CONF" daemon >>"$T/daemon.log" 2>&1 &
	DAEMON=$!
	stack_owns $DAEMON
}
stop_daemon() { kill "-${1:-TERM}" $DAEMON; wait $DAEMON 2>/dev/null; }
reload() # as write_config
{
	local before
	before=$(grep -c 'was read again' "$T/daemon.log")
	write_config "$@"
	kill -HUP $DAEMON
	wait_for 10 reloaded "$before"
}
reloaded() { [ "$(grep -c 'was read again' "$T/daemon.log")" -gt "$1" ]; }
# How often a change was told: accepted by the webhook, to the command, by mail ("FAILED stack backup-age").
told() # webhook|hook|mail change name
{
	python3 - "$T" "$@" <<'PY'
import email, email.policy, glob, json, sys
T, channel, change, name = sys.argv[1:]
if channel == "mail":
    word = {"appeared": ("FAILED", "WARNING"), "gone": ("GONE",)}[change]
    n = 0
    for path in glob.glob(T + "/mail/*"):
        news = email.message_from_binary_file(open(path, "rb"), policy=email.policy.default).get_content().partition("\nProblems now:")[0]
        n += sum(line.split()[:1] == [w] and line.split()[2] == name + ":" for line in news.splitlines() for w in word)
    print(n)
else:
    lines = [json.loads(l) for l in open(T + "/" + {"webhook": "posts", "hook": "hook"}[channel])]
    bodies = [l["body"] for l in lines if l["status"] == 200] if channel == "webhook" else lines
    print(sum(c["change"] == change and c["name"] == name for b in bodies for c in b["changes"]))
PY
}
is_told() { [ "$(told "$1" "$2" "$3")" -ge "${4:-1}" ]; }
three() { echo "$(told webhook "$1" "$2") $(told hook "$1" "$2") $(told mail "$1" "$2")"; }
all_told() { is_told webhook "$1" "$2" "${3:-1}" && is_told hook "$1" "$2" "${3:-1}" && is_told mail "$1" "$2" "${3:-1}"; }
says() { grep -q "$1" "$T/daemon.log"; }

# It comes, and it goes.
start_daemon
wait_for 10 says 'problems are told'
like "$(grep 'problems are told' "$T/daemon.log")" "to notify-command, to the webhook at http://127.0.0.1:[0-9]+, by mail to ops@example.com, second@example.com" "at start the log says where problems are told"
is "$(grep -c secret-token "$T/daemon.log")" 0 "... without the path of the webhook's URL, which is a secret"
wait_for 20 all_told appeared backup-age
is "$(three appeared backup-age)" "1 1 1" "that there is no backup is told on all three ways" || tail -n 5 "$T/daemon.log" >&2
mb backup >"$T/backup.out" 2>&1 || cat "$T/backup.out" >&2
wait_for 20 all_told gone backup-age
sleep 4
is "$(three appeared backup-age), $(three gone backup-age)" "1 1 1, 1 1 1" "... and that it is mended, each once"
is "$(python3 -c '
import json, sys
p = json.loads(open(sys.argv[1]).readline()); b = p["body"]
print(p["type"], sorted(b), b["severity"], b["problems"][0]["severity"], b["reminder"])' "$T/posts")" \
	"application/json ['changes', 'host', 'id', 'jobs', 'problems', 'reminder', 'severity', 'stack', 'summary', 'text', 'time', 'version'] failed failed False" "the document is as docs/daemon.md has it"
like "$(head -n 1 "$T/summaries")" "^failed mbackup .*: FAILED stack backup-age: there is no complete backup" "the command gets the summary in its environment"
is "$([ -e "$T/leaked" ] && echo yes)" "" "... and no secret of ours"
like "$(cat "$(ls "$T"/mail/* | head -n 1)")" "^Subject: mbackup .*: FAILED stack backup-age: there is no complete backup$" "mail has a subject that says it"
is "$(sort -u "$T/mail.arguments")" "-t -i" "... and goes to sendmail -t -i"

# The database goes and comes back.  Meanwhile the receiver fails, and the others do not wait for it.
echo 500 >"$T/mode"
stop_cluster "$PGDATA" immediate
wait_for 40 is_told hook appeared catalog
wait_for 5 is_told mail appeared catalog
is "$(three appeared catalog)" "0 1 1" "a receiver that answers 500 keeps the others from nothing"
tried() { [ "$(grep -c '"status": 500' "$T/posts")" -ge 2 ]; }
wait_for 20 tried
is $? 0 "... and is tried again"
is "$(grep -c 'could not notify by webhook' "$T/daemon.log")" 1 "... which the log says once" || grep tell "$T/daemon.log" >&2
# Slow is slower than a turn, but the daemon does not wait.
echo slow 4 >"$T/mode"
wait_for 30 is_told webhook appeared catalog
echo 200 >"$T/mode"
start_cluster "$PGDATA"
wait_for 40 all_told gone catalog
sleep 3
is "$(three appeared catalog), $(three gone catalog)" "1 1 1, 1 1 1" "a database that was down and is up again: each told once"
says 'notifications by webhook go out again'
is $? 0 "... and that the receiver is well again is in the log"

# A job that fails, with hostile words; the receiver takes its time.
echo slow 6 >"$T/mode"
evil="x
Bcc: evil@example.com

\$(touch $T/pwned) \`touch $T/pwned\` \"'; touch $T/pwned; #"
fresh() { [ "$(sql "SELECT count(*) FROM mbackup.job_table WHERE state = 'queued'" 2>/dev/null)" = 0 ]; }
wait_for 20 fresh
psql -h "$PGHOST" -p "$PGPORT" -U mbtest -d postgres -qAt -v evil="$evil" >/dev/null <<'END'
SELECT mbackup.make_job('backup', jsonb_build_object('components', jsonb_build_array(:'evil')), 'mbtest', 'mbtest', NULL, NULL);
END
job_told() { grep -q 'Bcc' "$T/hook"; }
wait_for 20 job_told
is $? 0 "a job that failed is told" || { tail -n 3 "$T/daemon.log"; sql "SELECT state, error FROM mbackup.job_table"; } >&2
begun=$(date +%s%N)
job=$(sql "SELECT mbackup.make_job('verify', '{\"read-data\": \"none\"}', 'mbtest', 'mbtest', NULL, NULL)")
job_done() { [ "$(sql "SELECT state FROM mbackup.job_table WHERE id = $job")" = "done" ]; }
wait_for 20 job_done
is "$([ $((($(date +%s%N) - begun) / 1000000)) -lt 5000 ] && echo soon)" soon "... and the daemon serves while a receiver is slow"
posted() { [ "$(grep -c Bcc "$T/posts")" -ge 1 ]; }
wait_for 10 posted
echo 200 >"$T/mode"
sleep 3
is "$([ -e "$T/pwned" ] && echo pwned)" "" "words of others are not run"
is "$(cat "$T"/mail/* | grep -ic '^bcc')" 0 "... and begin no header"
is "$(grep -c '' "$T/summaries")" "$(grep -c '' "$T/hook")" "... the summary is one line"
is "$(grep -c Bcc "$T/posts") $(grep -c Bcc "$T/hook")" "1 1" "... and told once"

# A restart repeats nothing and forgets nothing.
reload "$all" 'backup-age = 1s'
wait_for 20 all_told appeared backup-age 2
sleep 1
stop_daemon KILL
start_daemon
sleep 6
is "$(three appeared backup-age), $(three gone backup-age)" "2 2 2, 1 1 1" "after kill -9 and a start nothing is told again"
stop_daemon
write_config "$all"
start_daemon
wait_for 20 all_told gone backup-age 2
is "$(three gone backup-age)" "2 2 2" "what went while the daemon was away is told"

# Reminders.
reload "$all" 'backup-age = 1s' 'notify-reminder = 3s'
reminders() { grep -c '"reminder":true' "$T/hook"; }
reminded() { [ "$(reminders)" -ge 2 ]; }
wait_for 20 reminded
is $? 0 "what lasts is told again"
reload "$all"
wait_for 20 all_told gone backup-age 3
n=$(reminders)
sleep 5
is "$(reminders)" "$n" "... and not when it is gone"

# Flapping: 20 changes, and a receiver that refuses.
stack_kill $RECEIVER
messages=$(grep -c '' "$T/hook")
reload "$all" 'notify-after = 1s' 'notify-interval = 10s'
begun=$(date +%s)
for i in $(seq 10)
do
	reload "$all" 'notify-after = 1s' 'notify-interval = 10s' 'backup-age = 1s'
	sleep 1.2
	reload "$all" 'notify-after = 1s' 'notify-interval = 10s'
	sleep 1.2
done
took=$(($(date +%s) - begun))
sleep 1
n=$(($(grep -c '' "$T/hook") - messages))
is "$([ $n -ge 1 ] && [ $n -le $((2 * (took / 10 + 1))) ] && echo few)" few "20 changes in $took s make $n messages, at most two each 10 s"

# A command that hangs holds up nothing, not even the end.
calm() { python3 -c 'import json, sys; sys.exit(len(json.load(open(sys.argv[1]))["channels"]["command"]["told"]))' "$T/spool/notify.json"; }
wait_for 30 calm
reload 'notify-command = sleep 987' 'backup-age = 1s'
hangs() { pgrep -u "$(id -u)" -f 'sleep 987' >/dev/null; }
wait_for 20 hangs
is $? 0 "a command may hang"
begun=$(date +%s%N)
stop_daemon
is "$([ $((($(date +%s%N) - begun) / 1000000)) -lt 3000 ] && echo soon)" soon "... the daemon ends all the same"
is "$(pgrep -u "$(id -u)" -f 'sleep 987' | wc -l)" 0 "... and takes it along"
# What takes longer than 30 s is given up, and tried again.
if [ -n "${MBACKUP_LONG:-}" ]
then
	echo slow 40 >"$T/mode"
	python3 "$here/tests/lib/notify_receiver.py" "$T/port" "$T/mode" "$T/late" &
	stack_owns $!
	sleep 1
	printf 'http://127.0.0.1:%s/\n' "$(cat "$T/port")" >"$T/url"
	rm -f "$T/spool/notify.json"
	mv "$T/daemon.log" "$T/daemon.log.before"
	write_config "notify-command = echo \$\$ >>$T/groups; sleep 987 & sleep 988" 'backup-age = 1s'
	start_daemon
	late() { says 'could not notify by command.*did not end within 30 s' && says 'could not notify by webhook'; }
	wait_for 45 late
	is $? 0 "a command and a receiver that take longer than 30 s are given up" || cat "$T/daemon.log" >&2
	# They are not our children: whoever is asked to reap them may take a moment.
	ended() { ! pgrep -g "$(head -n 1 "$T/groups")" >/dev/null; }
	wait_for 5 ended
	is $? 0 "... with all that the command has started"
	stop_daemon
fi
is "$(cat "$T"/daemon.log* | grep -c Sanitizer)" 0 "and a sanitized daemon has nothing to say" || grep -h -A 30 Sanitizer "$T"/daemon.log* >&2
is "$(cat "$T"/daemon.log* | grep -c secret-token)" 0 "... and the URL of the webhook is nowhere in the log"
done_testing
