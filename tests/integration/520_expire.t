#!/bin/bash
# Retention on a real stack under load: what a policy, pins and marks keep can be restored, each of it and
# any moment of the window, judged by the servers; what they do not keep is gone, and its bytes after it.
# expire killed at random moments, and beside a backup and a stream, leaves a repository that verifies.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
stack_config
# A copy loses what the first loses.
printf '\n[repository:copy]\nurl = %s/copy\n' "$T" >>"$CONF"
rounds=5
[ -n "${MBACKUP_LONG:-}" ] && rounds=60
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
sql "CREATE TABLE story (n int PRIMARY KEY)"
"$PG_BIN/pgbench" -i -s 1 -q >/dev/null 2>&1
"$PG_BIN/pgbench" -n -c 1 -R 20 -T 3000 >/dev/null 2>&1 &
stack_owns $!
start_stream || exit 1

# One chapter: a row, a key and an object with its number; enough WAL for a segment of its own.
chapter() # number
{
	sql "INSERT INTO story VALUES ($1)"
	rcli set story "$1" >/dev/null
	echo "$1" >"$T/objects/story"
	head -c 100000 /dev/urandom >"$T/objects/chapter-$1"
	sql "CREATE TABLE t$1 AS SELECT md5(i::text) FROM generate_series(1, 60000) i; SELECT pg_switch_wal()" >/dev/null
}
backup_id() { mb list --json | json "backups.$1.id"; }
streams() { blobs ls | grep -c "^streams/$1/"; }
expire() { run mb expire --grace 0s --yes "$@"; }

# -- without a policy ------------------------------------------------------------------------------
chapter 1
run mb backup
is "$status" 0 "a first backup"
run mb mark early
is "$status" 0 "a mark behind it"
run mb expire --json
is "$status $(json expire.removed.backups <<<"$out") $(json expire.policy <<<"$out")" "0 0 null" "without [retention] nothing expires"
like "$(json expire.warnings.0 <<<"$out")" "no retention is configured" "and expire says so"
printf '[retention]\n' >"$T/empty.conf"
cat "$CONF" "$T/empty.conf" >"$T/c2.conf"
chmod 600 "$T/c2.conf"
run "$MBACKUP" --config "$T/c2.conf" expire
is "$status" 2 "a policy that keeps nothing is refused"
run mb expire --grace 1h
is "$status" 2 "a short grace must be confirmed"

# -- a history --------------------------------------------------------------------------------------
printf '\n[retention]\nlast = 2\n' >>"$CONF"
for n in 2 3 4 5
do
	chapter $n
	run mb backup
	is "$status" 0 "backup of chapter $n"
	[ $n = 3 ] && mb mark middle >/dev/null
done
sql "INSERT INTO story VALUES (50)"
rcli set story 50 >/dev/null
echo 50 >"$T/objects/story"
# The moment is behind the next point of Redis' stream, whenever that comes.
reached=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
streamed() { [[ $(mb list --json | python3 -c 'import json, sys; print(*[w["to"] for w in json.load(sys.stdin)["windows"] if w["component"] == "redis"])') > $1 ]]; }
ok "the stream goes on" wait_for 60 streamed "$reached"
moment=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
wait_for 60 streamed "$moment"
chapter 6
run mb backup
is "$status" 0 "backup of chapter 6"
run mb mark late
is "$status" 0 "a mark in the window"
ids=(none $(for i in 0 1 2 3 4 5; do backup_id $i; done))
run mb pin "${ids[2]}" --reason "for the auditor"
is "$status" 0 "chapter 2 is pinned"
run mb pin early
is "$status" 0 "and the mark behind chapter 1"
like "$(mb list)" "pinned: for the auditor" "list shows it"

run mb expire --dry-run
like "$out" "${ids[1]} .* kept: the mark \"early\" starts from it" "--dry-run tells why: a mark's base"
like "$out" "${ids[2]} .* kept: pinned since .*: for the auditor" "... a pin"
like "$out" "${ids[3]} .* expires: no rule wants it" "... nothing"
like "$out" "${ids[6]} .* kept: last 1 of 2" "... a rule"
like "$out" "middle .* expires: the recovery window begins after it" "... of a mark"
like "$out" "would be removed: 2 backups, 1 mark" "and how much"
is "$(mb list --json | json backups | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')" 6 "and has done nothing"

before_wal=$(streams postgres)
before_packs=$(blobs ls | grep -c '^packs/')
expire --json
is "$status $(json expire.removed.backups <<<"$out") $(json expire.removed.marks <<<"$out")" "0 2 1" "expire: two backups and a mark are gone"
is "$(mb list --json | python3 -c 'import json,sys; print(*[b["id"] for b in json.load(sys.stdin)["backups"]])')" "${ids[1]} ${ids[2]} ${ids[5]} ${ids[6]}" "the others stay"
run mb restore "${ids[3]}" --component "postgres=$T/never"
is "$status" 10 "what has expired is not found"
sleep 3
expire --json
sleep 3
expire --json
is "$status" 0 "and again"
after_packs=$(blobs ls | grep -c '^packs/')
ok "packs are gone ($before_packs before, $after_packs after)" [ "$after_packs" -lt "$before_packs" ]
after_wal=$(streams postgres)
ok "WAL between the windows too ($before_wal blobs before, $after_wal after)" [ "$after_wal" -lt "$before_wal" ]
run mb verify --read-data full
is "$status" 0 "the repository is whole"
[ "$status" = 0 ] || diag "$out $err"

# -- what is kept can be restored ---------------------------------------------------------------------

# Restore, and ask the servers what chapter they are in.
told() # name argument...
{
	local dir=$T/r-$1 port
	shift
	mkdir -p "$dir/redis"
	mb restore "$@" --component "postgres=$dir/pg" --component "redis=$dir/redis" --component "uploads=$dir/objects" >"$dir.log" 2>&1 ||
		{ tail -n 5 "$dir.log"; return; }
	port=$(free_port)
	echo "port = $port" >>"$dir/pg/postgresql.auto.conf"
	"$PG_BIN/pg_ctl" -D "$dir/pg" -l "$dir/pg.log" -w -t 120 start >/dev/null 2>&1 || { tail -n 5 "$dir/pg.log"; return; }
	wait_for 60 promoted "$port"
	start_redis_on "$dir/redis" >/dev/null || { echo "redis: $(tail -n 1 "$dir/redis.log")"; return; }
	echo "$(psql -X -q -A -t -p "$port" -c "SELECT n FROM story ORDER BY n" | xargs) / $(redis-cli -p "$RPORT" get story) / $(cat "$dir/objects/story")"
	PGPORT=$port pg_amcheck --install-missing -d postgres >"$dir.am" 2>&1 || echo "pg_amcheck: $(head -n 1 "$dir.am")"
	stop_cluster "$dir/pg" immediate
	stack_kill "$RPID"
	wait "$RPID" 2>/dev/null
	rm -rf "$dir"
}
promoted() { [ "$(psql -X -q -A -t -p "$1" -c "SELECT pg_is_in_recovery()")" = f ]; }
is "$(told one --to-mark early)" "1 / 1 / 1" "the pinned mark"
is "$(told two "${ids[2]}")" "1 2 / 2 / 2" "the pinned backup"
is "$(told five "${ids[5]}")" "1 2 3 4 5 / 5 / 5" "the last but one"
is "$(told moment --to-time "$moment")" "1 2 3 4 5 50 / 50 / 50" "a moment inside the window"
is "$(told late --to-mark late)" "1 2 3 4 5 6 50 / 6 / 6" "the mark inside the window"
run mb restore --to-time "$(date -u -d '2001-01-01' +%FT%TZ)" --component "postgres=$T/never"
is "$status" 10 "a moment before the window is refused"

# -- the history is the one that was written ---------------------------------------------------------
run mb verify --read-data none
is "$status" 0 "that old commits are gone is no problem to verify"
cp -r "$REPO/backups/config" "$T/config-before"
mb backup --component config >/dev/null 2>&1
mv "$REPO/backups/config" "$T/config-after"
cp -r "$T/config-before" "$REPO/backups/config"
run mb verify --read-data none
is "$status" 6 "a repository that was set back is one"
like "$out" "it was set back" "and verify says so"
rm -r "$REPO/backups/config"
mv "$T/config-after" "$REPO/backups/config"
run mb verify --read-data none
is "$status" 0 "with what is younger it is whole again"

# -- killed, and beside others --------------------------------------------------------------------------
run mb unpin early
is "$status $(mb unpin "${ids[2]}" --json | json unpin.was_pinned)" "0 true" "unpinned"
bad=0
for i in $(seq "$rounds")
do
	echo "$i" >"$T/objects/story"
	run mb backup --component uploads --component redis
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "round $i: backup: $status $err"; }
	"$MBACKUP" --config "$CONF" expire --grace 0s --yes >/dev/null 2>&1 &
	pid=$!
	sleep "$(python3 -c 'import random; print(random.uniform(0, 0.12))')"
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	run mb verify --read-data full
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "round $i: verify: $status $out $err"; }
done
is "$bad" 0 "expire killed $rounds times: the repository verifies each time, the next backup works"
bad=0
for i in 1 2 3
do
	"$MBACKUP" --config "$CONF" backup >"$T/b.out" 2>&1 &
	pid=$!
	for _ in 1 2 3 4
	do
		expire
		[ "$status" = 0 ] || { bad=$((bad + 1)); diag "expire: $status $err"; }
	done
	wait $pid || { bad=$((bad + 1)); diag "backup: $(cat "$T/b.out")"; }
done
run mb verify --read-data full
is "$bad $status" "0 0" "expire beside backups and a stream: both succeed, the repository verifies"
ok "the stream has not ended" kill -0 "$STREAM"
run mb backup
is "$status" 0 "another backup"
latest=$(backup_id -1)
for _ in 1 2 3
do
	sleep 2.5
	expire --json
done
is "$(mb list --json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["backups"]))')" 2 "two backups are left"
is "$(told latest "$latest" | cut -d/ -f1)" "1 2 3 4 5 6 50 " "and the last one can be restored"
run mb mark again
is "$status" 0 "the stream covers a mark"
sed 's/^last = 2/last = 2\nafter-backup = yes/' "$CONF" >"$T/c2.conf"
run "$MBACKUP" --config "$T/c2.conf" backup --json
is "$status $(json expire.removed.backups <<<"$out")" "0 1" "with after-backup a backup expires the oldest"
kept() { blobs_of "$1" ls | grep -E '^(packs|backups|sets|marks|pins|reduced)/'; }
kept "$REPO" >"$T/first.ls"
kept "$T/copy" >"$T/copy.ls"
ok "the copy has what the first has, and nothing else" diff "$T/first.ls" "$T/copy.ls"
done_testing
