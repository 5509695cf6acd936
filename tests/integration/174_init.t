#!/bin/bash
# Proves that "mbackup init" on a terminal leads by Enter alone to a verified backup that restores; that an interrupt or the end of the input
# at any question leaves nothing; and that no answer, however odd, ends up in the configuration as something else.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres && stack_redis || { result "a stack" 1; done_testing; }
sql "CREATE TABLE orders AS SELECT generate_series(1, 100) AS id"
rcli set order:1 one >/dev/null
export REDIS_URL=redis://127.0.0.1:$REDIS_PORT
while read -r wrong what
do
	result "$what" "$wrong"
done < <(timeout -k 5 400 /usr/bin/python3 "$here/tests/lib/init_dialog.py" "$MBACKUP" "$T/homes" 2>"$T/dialog.err"; echo "$? the dialogs came to their end")
[ ! -s "$T/dialog.err" ] || sed 's/^/# /' "$T/dialog.err" >&2

CONF=$T/homes/enter/mbackup.conf
run mb restore --component "postgres=$T/new/pg" --component "redis=$T/new/redis" --component "files=$T/new/files"
is "$status" 0 "what Enter alone has made restores" || diag "$err"
[ -f "$T/new/files$T/homes/enter/work/compose.yaml" ]
result "the files are there" $?
printf "port = %s\n" "$(free_port)" >>"$T/new/pg/postgresql.conf"
ok "the restored cluster starts" start_cluster "$T/new/pg"
is "$(sql 'SELECT count(*) FROM orders' -p "$(sed -n 4p "$T/new/pg/postmaster.pid")")" 100 "and has the rows"
start_redis_on "$T/new/redis"
is "$(redis-cli -p "$RPORT" get order:1)" one "and Redis its key"

# With the stream in the background, which lives on.
cat >"$T/stream.py" <<'PY'
import sys
sys.path.insert(0, sys.argv[3])
from terminal import Terminal
import os
home = sys.argv[2]
os.makedirs(home)
with Terminal([sys.argv[1], "init", "--config", home + "/mbackup.conf"], env={"HOME": home}, cwd=home) as t:
    for word in ("1", "none", "none", "none", "", "", "y"):
        t.expect(r"\]: $")
        t.send(word + "\n")
    t.expect(r"background now\?.*\]: $")
    t.send("y\n")
    t.expect("It runs, and says what it does in (.*)/stream.log")
    t.expect(r"Make it now\?.*\]: $")
    t.send("n\n")
    sys.exit(t.end())
PY
run /usr/bin/python3 "$T/stream.py" "$MBACKUP" "$T/homes/stream" "$here/tests/lib"
is "$status" 0 "the stream is started in the background" || diag "$err"
wait_for 30 slot_active
result "it runs when init has ended" $?
PID=$(sql "SELECT pid FROM pg_stat_replication LIMIT 1")
STREAMER=$(pgrep -f "stream --config=$T/homes/stream/mbackup.conf")
[ -n "$STREAMER" ] && stack_owns "$STREAMER"
result "it is a process of its own" $?
done_testing
