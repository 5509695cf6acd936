# lib.sh - sourced by the benchmarks after stack.sh: options, samples, peers.
#
#     . "$(dirname "$0")/../lib/stack.sh"
#     . "$(dirname "$0")/lib.sh"
#     bench_begin SECTION "scale=100 rounds=5" "$@"     # $SCALE, $ROUNDS; then stack_begin
#     DATA="pgbench, 1.5 GiB" BYTES=...                 # what the next samples are about
#     ROUND=1
#     sample "full backup" pg_basebackup command...     # times it; round 0 warms up and does not count
#     bench_end
#
# A sample is a line of JSON (measure.py) in $BENCH_RESULTS; report.py makes tables and pictures of them.
# tests/bench/run sets BENCH_RESULTS and reports at the end; without it a benchmark reports by itself.

BENCH=$here/tests/bench
DATA=
BYTES=0
ROUND=0
# The peer's figures are compared with this one of ours.
VERSUS=mbackup
# MBACKUP_BENCH_SMOKE=1: do they still work?  No peers, no round to warm up, no pauses, no fsync.
SMOKE=${MBACKUP_BENCH_SMOKE:-}
WARM_UP=${SMOKE:+1}
WARM_UP=${WARM_UP:-0}
settle() { [ -n "$SMOKE" ] || sleep "$1"; }

# Options "--name value" by a list "name=default ..."; then the stack, with the same arguments.
bench_begin() # section "name=default ..." argument...
{
	local spec=$2 pair usage
	local -a given

	SECTION=$1
	shift 2
	given=("$@")
	usage="usage: $0$(for pair in $spec; do printf ' [--%s %s]' "${pair%%=*}" "${pair#*=}"; done)"
	for pair in $spec
	do
		printf -v "$(tr a-z A-Z <<<"${pair%%=*}")" %s "${pair#*=}"
	done
	while [ $# -gt 0 ]
	do
		[[ $# -ge 2 && $1 = --* && " $spec" = *" ${1#--}="* ]] || { echo "$usage" >&2; exit 2; }
		printf -v "$(tr a-z A-Z <<<"${1#--}")" %s "$2"
		shift 2
	done
	stack_begin "${given[@]}"
	BENCH_OWN=
	[ -n "${BENCH_RESULTS:-}" ] || { BENCH_OWN=1; BENCH_RESULTS=$T/results; }
	export BENCH_RESULTS
	fact mbackup "$("$MBACKUP" --version | head -n 1)"
	fact machine "$(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)), $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) of memory, $(uname -sr)"
}

bench_end()
{
	[ -z "$BENCH_OWN" ] || python3 "$BENCH/report.py" "$BENCH_RESULTS"
	exit
}

# What the figures were made with, and who was not there: shown once, at the end.
fact() # name text
{
	python3 "$BENCH/measure.py" fact "$1" "$2"
}
left_out() # peer
{
	echo "left out: $1" >&2
	fact "left out" "$1"
}
has_peer() # program [name]
{
	[ -z "$SMOKE" ] && command -v "$1" >/dev/null && return
	left_out "${2:-$1}"
	return 1
}

# Time one command.  A failure is said, and is no sample; one of ours ends the benchmark.
sample() # what who command...
{
	local what=$1 who=$2
	shift 2
	sync -f "$T"
	python3 "$BENCH/measure.py" run "$SECTION" "$what" "$who" "$VERSUS" "$DATA" "$BYTES" "$ROUND" "${SERVERS:-}" -- "$@" && return
	[[ $who != mbackup* ]] || { echo "$what: mbackup failed" >&2; exit 1; }
	return 1
}

# A figure that was taken otherwise: s (less is better) or a rate (more is better).
figure() # what who value unit [processor seconds [peak KiB]]
{
	python3 "$BENCH/measure.py" figure "$SECTION" "$1" "$2" "$VERSUS" "$DATA" "$BYTES" "$ROUND" "$3" "$4" "${5:-}" "${6:-}"
}

now() { date +%s%N; }
# Seconds since a now().
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", (b - a) / 1e9 }'; }
# "processor seconds, peak KiB" of a process that runs, and of the children that it has waited for.
used_by() # pid
{
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13 + $14 + $15) / hz }' "/proc/$1/stat" 2>/dev/null
	awk '/^VmHWM/ { print $2 }' "/proc/$1/status" 2>/dev/null
}

# -- peers ------------------------------------------------------------------------------------------------

# A cluster that does not disturb: no checkpoint and no autovacuum by themselves.
bench_postgres()
{
	stack_postgres || exit 1
	cat >>"$PGDATA/postgresql.conf" <<-EOF
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		shared_buffers = 512MB
		autovacuum = off
		fsync = $([ -n "$SMOKE" ] && echo off || echo on)
	EOF
	stop_cluster "$PGDATA"
	start_cluster "$PGDATA"
	fact PostgreSQL "$("$PG_BIN/postgres" --version)"
}
cluster_bytes() { sql "SELECT sum(pg_database_size(oid)) FROM pg_database"; }
# pgbench's own rows are almost empty: half of the accounts get text that compresses like text.
fill_accounts() # [pgbench option...]
{
	"$PG_BIN/pgbench" -i -s "$SCALE" -q "$@" >/dev/null 2>&1 || exit 1
	sql "UPDATE pgbench_accounts SET filler = left(md5(aid::text) || md5((aid * 7)::text) || md5((aid * 13)::text), 84) WHERE aid % 2 = 0"
	sql "VACUUM (FULL, FREEZE) pgbench_accounts"
	sql "CHECKPOINT"
}
mib() { awk -v b="$1" 'BEGIN { if (b < 10 * 2^30) printf "%.0f MiB", b / 2^20; else printf "%.1f GiB", b / 2^30 }'; }

# Configurations with the cluster alone, in $T/plain.conf and $T/sealed.conf.
bench_config()
{
	CONF=$T/plain.conf REPO=$T/repo-plain
	stack_config none && sed -i '/^\[objects/,$d' "$CONF"
	CONF=$T/sealed.conf REPO=$T/repo-sealed
	stack_config && sed -i '/^\[objects/,$d' "$CONF"
}
bench_init() # plain|sealed...
{
	local name

	for name
	do
		rm -rf "$T/repo-$name"
		"$MBACKUP" --config "$T/$name.conf" --quiet init >/dev/null 2>"$T/init.err" || { cat "$T/init.err" >&2; exit 1; }
	done
}

# Each pgBackRest to be compared: what is installed, or the programs of MBACKUP_BENCH_PGBACKREST.  Sets
# PGBACKRESTS to its numbers; pgbackrest_run NUMBER argument... runs one, and pgbackrest_name NUMBER names it.
pgbackrest_begin() # [line of configuration...]
{
	local program n=0

	PGBACKRESTS=
	PGBACKREST_PROGRAMS=()
	[ -n "${MBACKUP_BENCH_PGBACKREST:-}" ] || has_peer pgbackrest pgBackRest || return 0
	for program in ${MBACKUP_BENCH_PGBACKREST:-pgbackrest}
	do
		n=$((n + 1))
		PGBACKREST_PROGRAMS[n]=$program
		PGBACKREST_NAMES[n]=$("$program" version 2>/dev/null)
		pgbackrest_config $n "$@"
		pgbackrest_run $n stanza-create >"$T/pgbr.err" 2>&1 ||
			{ echo "pgBackRest: could not create the stanza" >&2; tail -n 5 "$T/pgbr.err" >&2; continue; }
		PGBACKRESTS="$PGBACKRESTS $n"
	done
}
pgbackrest_config() # number [line...]
{
	local t=$T/pgbr$1

	mkdir -p "$t" "$t-log" "$t-lock" "$t-spool"
	{
		printf '%s\n' '[global]' "repo1-path=$t" repo1-retention-full=1 "log-path=$t-log" "lock-path=$t-lock" "spool-path=$t-spool" \
			log-level-console=error log-level-file=off compress-type=zst compress-level=1 process-max=2 start-fast=y \
			archive-check=n repo1-bundle=y
		# Where it needs no further option: not known, or still being tried, in older ones.
		"${PGBACKREST_PROGRAMS[$1]}" --stanza=x --pg1-path=/nowhere --repo1-bundle=y --repo1-block=y --lock-path=/nowhere --log-level-file=off backup 2>&1 |
			grep -Eq 'invalid option|--beta' || echo repo1-block=y
		printf '%s\n' "${@:2}" '[x]' "pg1-path=$PGDATA" "pg1-port=$PGPORT" "pg1-socket-path=$PGHOST" pg1-user=mbtest
	} >"$T/pgbr$1.conf"
}
pgbackrest_name() { echo "${PGBACKREST_NAMES[$1]}"; }
# What sample() runs.
pgbackrest_command() # number argument... -> COMMAND
{
	COMMAND=("${PGBACKREST_PROGRAMS[$1]}" --config="$T/pgbr$1.conf" --stanza=x "${@:2}")
}
pgbackrest_run() { pgbackrest_command "$@" && "${COMMAND[@]}"; }
