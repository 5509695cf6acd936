# stack.sh - sourced by the integration tests, the demo and the benchmarks: TAP, and a
# throw-away stack (Postgres, Redis, a bucket directory, configuration files) on private
# ports and directories.
#
#     . "$(dirname "$0")/../lib/stack.sh"
#     stack_begin            # private directory $T, unprivileged user, cleanup at exit
#     stack_postgres         # $PGPORT, $PGHOST (socket directory), $PGDATA
#     stack_redis            # $REDIS_PORT
#     ok "name" command...   # one test
#     done_testing
#
# Postgres and Redis refuse root or should not run as root: as root everything is run again
# as an unprivileged user.

set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$here/build}
TESTS=0
FAILED=0

# -- TAP --------------------------------------------------------------------------------------

diag() { printf '%s\n' "$*" | sed 's/^/# /' >&2; }

result() # name status
{
	TESTS=$((TESTS + 1))
	if [ "$2" = 0 ]
	then
		printf 'ok %d - %s\n' "$TESTS" "$1"
	else
		printf 'not ok %d - %s\n' "$TESTS" "$1"
		FAILED=$((FAILED + 1))
	fi
}

ok() # name command...
{
	local name=$1
	shift
	if "$@" >"$T/ok.out" 2>&1
	then
		result "$name" 0
	else
		result "$name" 1
		diag "failed: $*"
		tail -n 30 "$T/ok.out" | sed 's/^/# /' >&2
		return 1
	fi
}

is() # got expected name
{
	if [ "$1" = "$2" ]
	then
		result "$3" 0
	else
		result "$3" 1
		diag "got:      $1"
		diag "expected: $2"
		return 1
	fi
}

like() # text extended-regexp name
{
	if grep -Eq -- "$2" <<<"$1"
	then
		result "$3" 0
	else
		result "$3" 1
		diag "does not match /$2/:"
		diag "$1"
		return 1
	fi
}

unlike() # text extended-regexp name
{
	if grep -Eq -- "$2" <<<"$1"
	then
		result "$3" 1
		diag "matches /$2/:"
		diag "$1"
		return 1
	fi
	result "$3" 0
}

# A word that is misspelled in a test must not just be passed over.  (This runs in a shell of its own.)
command_not_found_handle()
{
	diag "no such command: $*"
	[ -z "${T:-}" ] || echo "$1" >>"$T/not-found"
	return 127
}

# Run a command; its stdout, stderr and exit status land in $out, $err and $status.
run()
{
	"$@" >"$T/run.out" 2>"$T/run.err"
	status=$?
	out=$(tr -d '\0' <"$T/run.out")
	err=$(tr -d '\0' <"$T/run.err")
}

done_testing()
{
	[ ! -e "$T/not-found" ] || result "every command that the test uses is there" 1
	printf '1..%d\n' "$TESTS"
	[ "$FAILED" = 0 ]
	exit
}

skip_all() # reason
{
	printf '1..0 # SKIP %s\n' "$1"
	exit 0
}

# -- the throw-away stack -----------------------------------------------------------------------

PIDS=""
declare -A BORN

# When a process began, in ticks since the machine did; nothing when there is none.
stack_born() # pid
{
	local line fields

	read -r line <"/proc/$1/stat" || return
	read -ra fields <<<"${line##*) }"
	echo "${fields[19]}"
} 2>/dev/null

# Remember a process that must be gone at the end.
stack_owns() # pid
{
	PIDS="$PIDS $1"
	[ -z "$1" ] || BORN[$1]=$(stack_born "$1")
}

# Does it live, and is it the one that was remembered?  With many tests beside each other a number is soon somebody else's.
stack_lives() # pid
{
	kill -0 "$1" 2>/dev/null && { [ -z "${BORN[$1]+known}" ] || [ "$(stack_born "$1")" = "${BORN[$1]}" ]; }
}

# It is gone: its number may be somebody else's by the time we end.
stack_forgets() # pid
{
	PIDS=" $PIDS "
	PIDS=${PIDS/ $1 / }
}

# Stop one process, by pid, and wait until it is gone.
stack_kill() # pid [signal]
{
	! stack_lives "$1" || kill "-${2:-TERM}" "$1" 2>/dev/null
	for _ in $(seq 100)
	do
		stack_lives "$1" || { stack_forgets "$1"; return 0; }
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null
}

stack_end()
{
	local code=$?
	trap - EXIT
	for pid in $PIDS
	do
		! stack_lives "$pid" || kill -TERM "$pid" 2>/dev/null
	done
	if [ -d "$T" ]
	then
		for data in "$T"/*/postmaster.pid "$T"/*/*/postmaster.pid
		do
			stop_cluster "$(dirname "$data")" immediate
		done
	fi
	for pid in $PIDS
	do
		stack_kill "$pid" TERM
		wait "$pid" 2>/dev/null
	done
	if [ -n "${STACK_KEEP:-}" ]
	then
		diag "kept: $T"
	else
		chmod -R u+rwX "$T" 2>/dev/null
		rm -rf "$T"
	fi
	exit "$code"
}

# As root: copy what is needed where an unprivileged user can read it, and run this script
# again as that user.  STACK_STAGE: further programs, which are then in $BUILD.  STACK_DIR: where, instead of /tmp.
stack_drop_root()
{
	local user=nobody stage

	[ "$(id -u)" = 0 ] || return 0
	id postgres >/dev/null 2>&1 && user=postgres
	stage=$(mktemp -d "${STACK_DIR:-/tmp}/mbackup-test.XXXXXX")
	chmod 755 "$stage"
	mkdir "$stage/build"
	cp "$BUILD/mbackup" "$BUILD/mbackup-wal-get" "$BUILD/fault.so" ${STACK_STAGE:-} "$stage/build/" 2>/dev/null
	# What else of the build the test runs, such as tests/unit/s3_client_test.
	(cd "$BUILD" && [ -n "${STACK_STAGE:-}" ] && cp --parents $STACK_STAGE "$stage/build/")
	cp -r "$here/README.md" "$here/tests" "$here/tools" "$here/demo" "$here/docs" "$here/deploy" "$here/sql" "$here/pg_extension" "$stage/" 2>/dev/null
	mkdir "$stage/tmp"
	chown -R "$user" "$stage"
	(
		cd "$stage" || exit 1
		unset BUILD
		setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups \
			env HOME="$stage/tmp" TMPDIR="$stage/tmp" PATH="$PATH" STACK_STAGED=1 \
			bash "$stage/${0#"$here"/}" "$@"
	)
	local code=$?
	[ -n "${STACK_KEEP:-}" ] && diag "kept: $stage" || rm -rf "$stage"
	exit "$code"
}

stack_begin() # [argument of the test...]
{
	stack_drop_root "$@"
	T=$(mktemp -d "${TMPDIR:-/tmp}/mb.XXXXXX")
	trap stack_end EXIT
	trap 'exit 130' INT TERM
	export LC_ALL=C.UTF-8 TZ=UTC
	unset MBACKUP_CONFIG MBACKUP_PASSPHRASE
	export HOME=$T
	MBACKUP=$BUILD/mbackup
	PG_BIN=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
	[ -n "$PG_BIN" ] || PG_BIN=$(dirname "$(command -v postgres)")
	export PATH=$PG_BIN:$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
	CONF=$T/mbackup.conf
	REPO=$T/repo
	[ -z "${MBACKUP_TEST_REPOSITORY:-}" ] || stack_bucket "$MBACKUP_TEST_REPOSITORY"
}

# The repository in a bucket instead of a directory: MBACKUP_TEST_REPOSITORY = ceph|minio, and with
# MBACKUP_TEST_FAULT (what s3_proxy.py is told; several with spaces) behind a proxy that does harm.
stack_bucket() # server
{
	local mode

	. "$here/tests/lib/s3.sh"
	"s3_$1" && judge mkbucket repository || { echo "Bail out! no $1"; exit 1; }
	REPO=s3://repository/stack
	export S3_DIRECT=$S3_ENDPOINT
	[ -n "${MBACKUP_TEST_FAULT:-}" ] || return 0
	s3_proxy
	for mode in $MBACKUP_TEST_FAULT
	do
		fault_too "$mode"
	done
}

# The repository behind its own back, in a directory or a bucket (blobs.py): blobs ls|get|put|...
blobs() { blobs_of "$REPO" "$@"; }
blobs_of() # url verb...
{
	case $1 in
	s3://*) "$S3_PYTHON" "$here/tests/lib/blobs.py" "$@" ;;
	*) python3 "$here/tests/lib/blobs.py" "$@" ;;
	esac
}
in_bucket() { [[ $REPO = s3://* ]]; }

# A TCP port that nobody listens on, and that this test has not been given before: a cluster with
# only a socket does not hold its port, so the system might hand it out again.
free_port()
{
	local port

	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])') || return
	grep -qx "$port" "$T/ports" 2>/dev/null && { free_port; return; }
	echo "$port" >>"$T/ports"
	echo "$port"
}

# Wait until a command succeeds, at most $1 seconds.
wait_for() # seconds command...
{
	local deadline=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1
	do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

# stack_postgres [initdb option...]: a cluster in $T/pg with checksums, on a socket in $T.
stack_postgres()
{
	PGDATA=$T/pg
	PGHOST=$T
	PGPORT=$(free_port)
	export PGHOST PGPORT PGDATABASE=postgres PGUSER=mbtest
	"$PG_BIN/initdb" -D "$PGDATA" -U mbtest -A trust -k -N --no-locale -E UTF8 "$@" >"$T/initdb.log" 2>&1 ||
		{ cat "$T/initdb.log" >&2; return 1; }
	cat >>"$PGDATA/postgresql.conf" <<-EOF
		port = $PGPORT
		listen_addresses = ''
		unix_socket_directories = '$T'
		shared_buffers = 64MB
		wal_level = replica
		max_wal_senders = 10
		max_replication_slots = 10
		fsync = on
		logging_collector = off
		log_line_prefix = '%m [%p] '
	EOF
	start_cluster "$PGDATA"
}

# Start the cluster in a directory (its own port and socket settings hold).
start_cluster() # directory
{
	"$PG_BIN/pg_ctl" -D "$1" -l "$1.log" -w -t 120 start >/dev/null ||
		{ tail -n 30 "$1.log" | sed 's/^/# /' >&2; return 1; }
}

# pg_ctl believes postmaster.pid; the server that it names may be long dead, and its number another's.
cluster_lives() # directory
{
	local pid

	pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && [ "$(readlink -f "/proc/$pid/cwd")" = "$(readlink -f "$1")" ]
}

stop_cluster() # directory [mode]
{
	cluster_lives "$1" || return
	"$PG_BIN/pg_ctl" -D "$1" -m "${2:-fast}" -w stop >/dev/null 2>&1
}

sql() # statement [psql option...]
{
	local statement=$1
	shift
	psql -X -q -A -t -v ON_ERROR_STOP=1 "$@" -c "$statement"
}

# stack_redis: a server with its data in $T/redis.
stack_redis() # [option...]
{
	REDIS_PORT=$(free_port)
	mkdir -p "$T/redis"
	redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$T/redis" --save '' --appendonly no \
		--enable-debug-command local --repl-diskless-sync-delay 0 --daemonize no "$@" >"$T/redis.log" 2>&1 &
	REDIS_PID=$!
	stack_owns "$REDIS_PID"
	wait_for 20 rcli ping
}

rcli() { redis-cli -p "$REDIS_PORT" "$@"; }

# A stock server on a restored directory: $RPORT, $RPID.
start_redis_on() # directory
{
	RPORT=$(free_port)
	redis-server --port "$RPORT" --bind 127.0.0.1 --dir "$1" --appendonly yes --save '' \
		--enable-debug-command local --daemonize no >"$1.log" 2>&1 &
	RPID=$!
	stack_owns "$RPID"
	wait_for 20 redis_on_ready || { tail -n 20 "$1.log" >&2; return 1; }
}
redis_on_ready() { [ "$(redis-cli -p "$RPORT" ping)" = PONG ]; }

# A configuration for what was started.  stack_config [none]: without encryption.
stack_config()
{
	mkdir -p "$T/objects" "$T/etc"
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n' "$T"
		printf '[repository]\nurl = %s\n' "$REPO"
		! in_bucket || s3_keys
		if [ "${1:-}" = none ]
		then
			printf 'encryption = none\n'
		else
			head -c 48 /dev/urandom >"$T/key"
			chmod 600 "$T/key"
			printf 'key-file = %s/key\n' "$T"
		fi
		[ -n "${PGDATA:-}" ] && printf '\n[postgres]\nconninfo = host=%s port=%s user=mbtest dbname=postgres\n' "$PGHOST" "$PGPORT"
		printf '\n[objects:uploads]\nurl = file://%s/objects\nscan-interval = 1s\n' "$T"
		[ -n "${REDIS_PORT:-}" ] && printf '\n[redis]\nurl = redis://127.0.0.1:%s\n' "$REDIS_PORT"
		printf '\n[files:config]\npaths = %s/etc\nscan-interval = 1s\n' "$T"
	} >"$CONF"
	chmod 600 "$CONF"
}

mb() { "$MBACKUP" --config "$CONF" "$@"; }

# A process of our own in the background, not a shell around it: $STREAM is its pid.
start_stream() # [option...]
{
	"$MBACKUP" --config "$CONF" stream "$@" >>"$T/stream.log" 2>&1 &
	STREAM=$!
	stack_owns "$STREAM"
	[ -z "${PGDATA:-}" ] || wait_for 30 slot_active
}

slot_active() { [ "$(sql "SELECT count(*) FROM pg_replication_slots WHERE active" 2>/dev/null)" -gt 0 ]; }

# A member of the JSON on stdin: json backup.components.0.name
json()
{
	python3 -c '
import json, sys
value = json.load(sys.stdin)
for part in sys.argv[1].split("."):
    value = value[int(part)] if isinstance(value, list) else value[part]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}
