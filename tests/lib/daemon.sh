# daemon.sh - sourced after stack_begin: a Postgres with the extension, a files tree and a daemon that serves both.
#
#     . "$here/tests/lib/daemon.sh"
#     daemon_stack [line of [daemon]...]      # servers, configuration, repository; $PORT is where the daemon will listen
#     start_daemon                            # $DAEMON; its log is $T/daemon.log
#     get /metrics [curl option...]           # $out, $code
. "$here/tests/lib/extension.sh"

daemon_config() # [line of [daemon]...]
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n[repository]\nurl = %s\nencryption = none\n' "$T" "$REPO"
		printf '[daemon]\nsync-interval = 1s\ncheck-interval = 1h\n'
		[[ "$*" = *listen* ]] || printf 'listen = 127.0.0.1:%s\n' "$PORT"
		printf '%s\n' "$@"
		printf '[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
		printf '[files:config]\npaths = %s/etc\nscan-interval = 1s\n' "$T"
	} >"$CONF"
	chmod 600 "$CONF"
}

daemon_stack() # [line of [daemon]...]
{
	extension_server && stack_postgres || exit 1
	mkdir -p "$T/etc" "$T/spool"
	chmod 700 "$T/spool"
	echo one >"$T/etc/app.conf"
	PORT=$(free_port)
	daemon_config "$@"
	mb init >"$T/init.out" 2>&1 || { cat "$T/init.out" >&2; exit 1; }
	sql "CREATE EXTENSION mbackup" >/dev/null || exit 1
}

start_daemon()
{
	"$MBACKUP" --config "$CONF" daemon >>"$T/daemon.log" 2>&1 &
	DAEMON=$!
	stack_owns $DAEMON
}

says() { grep -q "$1" "$T/daemon.log"; }
served() { [ "$(sql "SELECT count(*) FROM mbackup.daemon_table WHERE replaced_by IS NULL AND pid = $DAEMON" 2>/dev/null)" = 1 ]; }
state() { sql "SELECT state FROM mbackup.job_table WHERE id = $1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
has_ended() { case "$(state "$1" 2>/dev/null)" in done|partial|failed|cancelled|abandoned) ;; *) false ;; esac; }
streaming() { [ "$(sql "SELECT count(*) FROM mbackup.stream_table WHERE state = 'running'")" = 2 ]; }

new_job() # kind [arguments]
{
	sql "SELECT mbackup.make_job('$1', '${2:-{\}}', 'mbtest', 'mbtest', NULL, NULL)"
}

# A job, to its end: $job, and how it ended.
run_job() # kind [arguments]
{
	job=$(new_job "$@") && wait_for 60 has_ended "$job"
	state "$job"
}

# Ask the daemon: the body in $out, the headers in $T/headers, the status in $code.
get() # path [curl option...]
{
	local path=$1
	shift
	code=$(curl -sS -m 20 --path-as-is -o "$T/body" -D "$T/headers" -w '%{http_code}' "$@" "http://127.0.0.1:$PORT$path" 2>"$T/curl.err")
	out=$(tr -d '\0' <"$T/body" 2>/dev/null)
}
header() { sed -n "s/^$1: \(.*\)\r$/\1/Ip" "$T/headers"; }

# A value of the status document: status '["backups"][0]["id"]', an expression of Python on it.
status()
{
	curl -sS -m 20 "http://127.0.0.1:$PORT/status.json" | python3 -c '
import json, sys
value = eval("document" + sys.argv[1], {"document": json.load(sys.stdin)})
print(value if isinstance(value, str) else json.dumps(value, sort_keys=True))' "$1"
}
