#!/bin/bash
# Single faults that must have one answer. A filesystem whose times lie: what was changed behind them is
# told by verify-unchanged, and kept. A directory that cannot be read to its end is never empty. With
# ack = spool a sync that fails once acknowledges nothing and takes nothing away. An init that was interrupted is finished by the next.
# What a signal interrupts is repeated. What cannot be looked at is not "not there". A clock that goes back is told.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
[ -e "$BUILD/fault.so" ] || skip_all "no $BUILD/fault.so: make all"
stack_postgres --wal-segsize=1 || exit 1
printf 'fsync = off\nautovacuum = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config none
sed -i '/^\[objects/,$d' "$CONF"
echo "tail-interval = 100ms" >>"$CONF"
export MBACKUP_TEST_OLD_ENOUGH_S=1
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
# fault CALL:N:WHAT:PATH command...
fault()
{
	local what=$1
	shift
	rm -f "$T/fault"
	run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$what" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" "$@"
}
hits() { head -c 1024 "$T/fault" | head -1 | tr -d '\0' | cut -d' ' -f2; }
restored() { rm -rf "$T/r"; mb restore --yes --component "postgres=$T/r" && pg_verifybackup -n "$T/r"; }

# -- times that lie ------------------------------------------------------------------------------------
sql "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS m FROM generate_series(1, 20000) g; UPDATE t SET m = md5(m) WHERE id = 7; CHECKPOINT"
file=$(sql "SELECT pg_relation_filepath('t')")
lie="stat:1+:lie:$file"
sleep 1.2
fault "$lie" backup
is "$status" 0 "a backup while the times of $file lie"
ok "... they did" test "$(hits)" -gt 0
size=$(stat -c %s "$PGDATA/$file")
sql "UPDATE t SET m = md5(m) WHERE id = 9; CHECKPOINT"
is "$(stat -c %s "$PGDATA/$file")" "$size" "the file changes and keeps its size"
fault "$lie" backup
like "$err" "[1-9][0-9]* of [0-9]+ files are as backup" "the next backup believes the times"
restored >/dev/null 2>&1
ok "... and keeps the file as it was: this is what must be told" bash -c "! cmp -s '$PGDATA/$file' '$T/r/$file'"
sed -i 's/^tail-interval/verify-unchanged = 0\n&/' "$CONF"
fault "$lie" backup
is "$status" 0 "a backup that reads every file"
like "$err" "warning: .*$file\" is not what backup" "... tells the file whose times lie"
ok "... keeps it all the same" restored
ok "... as it is" cmp "$PGDATA/$file" "$T/r/$file"
sed -i '/^verify-unchanged/d' "$CONF"

# -- a clock that does not answer --------------------------------------------------------------------------
bad=0 hit=0
for n in 1 2 3 4 5 6
do
	fault "stat:$n:EIO: (deleted)" backup
	[ "$(hits)" = 1 ] || continue
	hit=$((hit + 1))
	[ "$status" = 0 ] || continue
	run mb restore --dry-run --component "postgres=$T/none"
	[ "$status" = 0 ] || { bad=$((bad + 1)); diag "look $n: $err"; }
done
ok "a backup that could not ask the repository for the time ($hit times) fails, or can be restored" test "$bad" = 0 -a "$hit" -gt 1

# -- a directory that cannot be read to its end ------------------------------------------------------------
mkdir "$T/precious"; echo mine >"$T/precious/file"
fault "readdir:1+:EIO:$T/precious" restore --yes --component "postgres=$T/precious"
is "$status" 11 "a target that cannot be read is not empty"
is "$(cat "$T/precious/file")" mine "... and is as it was"
is "$(ls "$T/precious")" file "... with nothing else"

fault "readdir:1+:EIO:/proc" restore --yes --delta --component "postgres=$T/r"
is "$status" 11 "that no server is running there is not believed when processes cannot be listed"
like "$err" 'could not read directory "/proc"' "... and said"
ok "... without the fault it is done" mb restore --yes --delta --component "postgres=$T/r"

# -- a restore that is killed before its first mark has its name -------------------------------------------------
fault "rename:1:kill:mbackup_restore.partial" restore --yes --component "postgres=$T/k"
is "$status" 137 "a restore is killed at its first step"
run mb restore --yes --delta --component "postgres=$T/k"
is "$status" 0 "... and finished by a delta"
[ "$status" = 0 ] || diag "$err"
ok "... pg_verifybackup" pg_verifybackup -n "$T/k"
ok "... with nothing else in it" test -z "$(ls "$T/k" | grep partial)"

# -- an init that is interrupted --------------------------------------------------------------------------
# Before the repository has its header, between it and the configuration file, and then once more.
head -c 48 /dev/urandom >"$T/new.key"; chmod 600 "$T/new.key"
CONF_KEPT=$CONF CONF=$T/new.conf
init=(init --repository-url "$T/new" --repository-key-file "$T/new.key" --spool "$T/new.spool" --files "$T/precious")
fault "rename:1:kill:$T/new/.tmp-" "${init[@]}"
is "$status" 137 "an init is killed before the repository has its header"
ok "... there is a key, and no header" test -d "$T/new/keys" -a ! -e "$T/new/mbackup.json"
fault "rename:1:EIO:$T/new.conf" "${init[@]}"
is "$status" 11 "another one makes it, but not the configuration file"
like "$err" "the repository was made, but not its configuration file" "... and says so"
run mb "${init[@]}"
is "$status" 0 "the third one finishes it"
[ "$status" = 0 ] || diag "$err"
is "$(mb key list --json | json keys | grep -o '"id"' | wc -l)" 1 "... with one key, and no remains"
run mb backup
is "$status" 0 "... and a backup goes there"
rm "$CONF"
run mb "${init[@]}"
is "$status" 4 "what holds a backup is not taken for a new one"
like "$err" "a repository with backups" "... and it is said why"
ok "... nor is a configuration written" test ! -e "$CONF"
rm -rf "$T/new"; mkdir -p "$T/new/keys"; echo mine >"$T/new/keys/id_rsa"
run mb "${init[@]}"
is "$status" 4 "somebody else's directory of keys is not taken for remains"
is "$(cat "$T/new/keys/id_rsa")" mine "... and is as it was"
CONF=$CONF_KEPT

# -- a signal while the repository is read or written ------------------------------------------------------------
bad=0
for n in 1 2 5 9 14
do
	fault "open:$n:EINTR:$REPO" verify
	[ "$status" = 0 ] && [ "$(hits)" = 1 ] || { bad=$((bad + 1)); diag "open $n: $status, $(hits) hits: $err"; }
done
fault "sync:1:EINTR:$REPO" backup
[ "$(hits)" = 1 ] && [ "$status" = 0 ] || { bad=$((bad + 1)); diag "fsync: $status, $(hits) hits: $err"; }
is "$bad" 0 "an open or an fsync that a signal interrupts is repeated"
bad=0
interrupted() # path command...
{
	local path=$1 n

	shift
	for n in 1 3 7
	do
		rm -rf "$T/i"
		fault "open:$n:EINTR:$path" "$@"
		[ "$status" = 0 ] && [ "$(hits)" = 1 ] || { bad=$((bad + 1)); diag "$path, open $n: $status, $(hits) hits: $err"; }
	done
}
interrupted "$PGDATA" backup --type full
interrupted "$T/spool" backup
interrupted "$T/i" restore --yes --component "postgres=$T/i"
is "$bad" 0 "... also of what is backed up, of the spool, and of what a restore writes"

# -- a look that fails is no "not there" ----------------------------------------------------------------------
mkdir "$T/objects.d" "$T/etc.d"; echo before >"$T/objects.d/o"; echo before >"$T/etc.d/f"
CONF_KEPT=$CONF CONF=$T/place.conf
printf '[global]\nspool = %s/place.spool\n[repository]\nurl = %s/place\nencryption = none\n[objects:uploads]\nurl = file://%s/objects.d\n[files:config]\npaths = %s/etc.d\n' "$T" "$T" "$T" "$T" >"$CONF"
chmod 600 "$CONF"
mb init >/dev/null 2>&1; mb backup >/dev/null 2>&1
state() { cat "$T/objects.d/o" "$T/etc.d/f" | tr '\n' ' '; }
echo present >"$T/objects.d/o"; echo present >"$T/etc.d/f"
fault "readdir:1+:EIO:$T/etc.d" restore --yes
[ "$status" != 0 ]
result "a restore in place that cannot see what it replaces is refused" $?
mb rollback --yes >/dev/null 2>&1
is "$(state)" "present present " "... and all is as it was"
run mb restore --yes
is "$status" 0 "without the fault it is done"
for call in stat:1+:EACCES stat:1+:EIO
do
	fault "$call:.mbackup-old-" rollback --yes
	[ "$status" != 0 ] && [ "$(hits)" -gt 0 ]
	result "a rollback that cannot see what is kept ($call) does not say that it was rolled back" $?
done
fault "stat:1+:EIO:/restores/" rollback --list
is "$status" 11 "a restore whose plan cannot be seen is not overlooked"
fault "readdir:1+:EIO:$T/place.spool/restores" rollback --list
is "$status" 11 "... nor when the directory cannot be read to its end"
run mb rollback --yes
is "$status" 0 "the next rollback does it"
is "$(state)" "present present " "... and all is as it was again"
mb backup >/dev/null 2>&1
set=$(ls "$T/place/sets" | tail -1)
cp "$T/place/sets/$set" "$T/set"
printf XX | dd of="$T/place/sets/$set" bs=1 seek=200 conv=notrunc 2>/dev/null
run mb restore --dry-run --component "config=$T/o"
like "$status $err" "warning: config: backup $set is newer, and passed over: .*checksum" "the newest backup is damaged: a restore of an older one says so"
cp "$T/set" "$T/place/sets/$set"

# -- ... and no "damaged" either ---------------------------------------------------------------------------------
closed() # path command...
{
	local path=$1

	shift
	fault "open:1+:EACCES:$T/place/$path" "$@"
	is "$status" 7 "$path that may not be opened: $1 says that it could not look"
	unlike "$out$err" "damaged|[0-9] problem" "... and calls nothing damaged"
	like "$err" "could not (open|list) \"$path.*Permission denied" "... but names it"
}
closed sets/ verify
fault "open:1+:EACCES:$T/place/sets/" list
like "$status $out" '^0 ' "list has the others"
like "$out" ' unreadable' "... and the unreadable one as what it is"
fault "open:1+:EACCES:$T/place/sets/" restore --dry-run --component "config=$T/o" "$(ls "$T/place/sets" | tail -n 1)"
is "$status" 7 "a restore of one that may not be opened"
like "$err" "cannot be read: could not open .*Permission denied" "... says why"
mb mark here >/dev/null 2>&1
fault "open:1+:EACCES:$T/place/marks/" restore --dry-run --to-mark here --component "config=$T/o"
is "$status" 10 "a mark that cannot be read is not found"
like "$err" "may be it: could not open .*Permission denied" "... and may be the one that was meant"
closed backups/ verify
closed packs/ verify

bad=0 hit=0
ln -s f "$T/etc.d/link"
for call in stat:{1,2,3,4,5,6}:EIO:etc.d stat:{1,2,3}:EIO:etc.d/f stat:{1,2,3}:EIO:etc.d/link
do
	echo "$call" >"$T/etc.d/f"
	fault "$call" backup --component config
	[ "$(hits)" = 1 ] || continue
	hit=$((hit + 1))
	[ "$status" = 0 ] || continue
	rm -rf "$T/o"
	mb restore --yes --component "config=$T/o" >/dev/null 2>&1
	diff -r --no-dereference "$T/etc.d" "$T/o$T/etc.d" >/dev/null || { bad=$((bad + 1)); diag "$call: $err"; }
done
ok "what could not be looked at ($hit looks) is not taken for missing" test "$bad" = 0 -a "$hit" -gt 6
rm "$T/etc.d/link"; echo present >"$T/etc.d/f"
mb backup --component config >/dev/null 2>&1
bad=0 hit=0
for n in 1 2 3 4 5 6 7 8
do
	echo extra >"$T/etc.d/extra"
	fault "stat:$n:EIO:$T/etc.d" restore --yes --no-snapshot --component config
	[ "$(hits)" = 1 ] || continue
	hit=$((hit + 1))
	[ "$status" != 0 ] || [ ! -e "$T/etc.d/extra" ] || { bad=$((bad + 1)); diag "look $n: $err"; }
	[ "$status" = 0 ] || mb rollback --yes >/dev/null 2>&1
done
ok "nor does a restore in place leave what it could not look at ($hit looks)" test "$bad" = 0 -a "$hit" -gt 1
rm -f "$T/etc.d/extra"
rm -rf "$T/o"
mkdir -p "$T/closed/etc"; echo mine >"$T/closed/etc/f"; chmod 000 "$T/closed"
sed -i "s|^paths = .*|&, $T/closed/etc|" "$CONF"
run mb backup --component config
like "$status $err" "^3 .*could not look for files at or below \"$T/closed/etc\"" "nor is a path that is closed to us missing"
chmod 700 "$T/closed"
sed -i "s|, $T/closed/etc||" "$CONF"

printf '[retention]\nlast = 1\n' >>"$CONF"
mb backup --type full >/dev/null 2>&1; mb backup --type full >/dev/null 2>&1
fault "unlink:1:EACCES:/sets/" expire
is "$status:$(hits)" 3:1 "a backup that the place does not let go is said"
run mb verify --read-data none
is "$status" 0 "... and keeps what it names"
run mb expire
is "$status:$(ls "$T/place/sets" | wc -l)" 0:1 "the next expire removes it"
sed -i '/^.retention/,$d' "$CONF"

# -- a clock that is set back ---------------------------------------------------------------------------------
fault "clock:1:back:" backup --component uploads
is "$status" 0 "a backup after the clock was set back by an hour"
like "$err$out" "the clock was set back: [0-9]+ objects were written later than it is now" "... says what a restore to it leaves out"
rm -rf "$T/o"
run mb restore --yes --to-latest --component "uploads=$T/o"
is "$(cat "$T/o/o")" present "... and --to-latest has it"
echo today >"$T/objects.d/o"
fault "clock:1:back:" restore --yes --json
is "$status" 0 "a restore in place after the clock was set back"
id=$(json restore.id <<<"$out")
mb verify >/dev/null 2>&1
run mb rollback "$id" --yes
is "$status:$(cat "$T/objects.d/o")" 0:today "... is rolled back: no backup of before has become younger than it"
echo present >"$T/objects.d/o"
CONF=$CONF_KEPT

# -- timers that would go on running ------------------------------------------------------------------------
CONF_KEPT=$CONF CONF=$T/timers.conf
{ cat "$T/place.conf"; printf '[schedule]\nfull = 0 2 * * 0\n'; } >"$CONF"; chmod 600 "$CONF"; mkdir "$T/root"
mb schedule install --systemd --root "$T/root" --user root --yes >/dev/null 2>&1
timers() { find "$T/root" -name '*.timer' -type f | wc -l; }
is "$(timers)" 1 "a timer is installed"
for call in open:1:EMFILE readdir:1+:EIO stat:1+:EACCES
do
	fault "$call:$T/root/etc/systemd/system" schedule uninstall --root "$T/root" --yes
	[ "$status" != 0 ] && [ "$(hits)" -gt 0 ] && [ "$(timers)" = 1 ]
	result "uninstall that cannot see it ($call) does not say that it is gone" $?
done
run mb schedule uninstall --root "$T/root" --yes
is "$status:$(timers)" 0:0 "without the fault it goes"
CONF=$CONF_KEPT

# -- a line that breaks while a private Redis loads ---------------------------------------------------------------
if stack_redis
then
	CONF_KEPT=$CONF CONF=$T/redis.conf
	{ cat "$T/place.conf"; printf '[redis]\nurl = redis://127.0.0.1:%s\n' "$REDIS_PORT"; } >"$CONF"; chmod 600 "$CONF"
	rcli set k v >/dev/null
	mb backup --component redis >/dev/null 2>&1
	rm -f "$T/fault"
	run timeout -k 5 100 env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT=recv:1:ECONNRESET:redis.sock MBACKUP_FAULT_FILE="$T/fault" \
		"$MBACKUP" --config "$CONF" verify --restore --component redis
	is "$status:$(hits)" 0:1 "a drill whose line to its Redis breaks connects again"
	[ "$status" = 0 ] || diag "$err"
	mkdir "$T/drills"
	fault "readdir:1:EIO:$T/drills" verify --restore --component redis --drill-directory "$T/drills"
	is "$status:$(hits)" 0:1 "a drill that cannot see what dead ones have left goes on"
	like "$err" "warning: could not read directory .*$T/drills" "... and says so"
	rcli set k present >/dev/null
	run mb restore --component redis --yes
	is "$status:$(rcli get k)" 0:v "a running Redis is restored in place"
	fault "open:1:EIO:/restores/" rollback --yes
	is "$status:$(hits)" 11:1 "a rollback that cannot see whether it needs the repository does not go on without"
	run mb rollback --yes
	is "$status:$(rcli get k)" 0:present "the next one does it"
	echo "dir = $T/redis" >>"$CONF"
	fault "recv:1:ECONNRESET:$REDIS_PORT" restore --component redis --yes
	is "$status:$(hits):$(rcli get k)" 5:1:present "a Redis whose line breaks is there: its directory is not replaced under it"
	CONF=$CONF_KEPT
fi

# -- a table, and what it needs for a moment -----------------------------------------------------------------
mkdir "$T/scratch.d" "$T/dumped"
export TMPDIR=$T/scratch.d
fault "attribute:1:EACCES:mbackup-tables-" restore --table postgres.public.t --output "$T/dumped/t.sql"
[ "$status" != 0 ] && [ "$(hits)" = 1 ]
result "a scratch directory that cannot be given its mode" $?
is "$(ls "$TMPDIR")$(ls "$T/dumped")" "" "... is removed"
fault "sync:2:EIO:$T/dumped" restore --table postgres.public.t --output "$T/dumped/t.sql"
is "$status:$(hits)" 11:1 "a dump whose name is not durable is not done"
fault "fork:1:EAGAIN:" restore --table postgres.public.t --output "$T/dumped/none.sql"
is "$status:$(hits)" 11:1 "a scratch server that cannot be started is an error, and no other process is ended for it"
unset TMPDIR

# -- a service that cannot be asked ---------------------------------------------------------------------------
CONF_KEPT=$CONF CONF=$T/served.conf
mkdir "$T/bin"
printf '#!/bin/bash\necho "$*" >>"%s/called"\n[ -e "%s/down" ] || [ "$4" != ps ] || echo 0123abc\n[ "$4" != stop ] || touch "%s/down"\n[ "$4" != start ] || rm "%s/down"\n' \
	"$T" "$T" "$T" "$T" >"$T/bin/docker"
chmod +x "$T/bin/docker"
{ cat "$T/place.conf"; printf '[services]\napplication = compose:%s/compose.yml#web\n' "$T"; } >"$CONF"; chmod 600 "$CONF"
PATH=$T/bin:$PATH fault "read:1+:EIO:output.log" restore --yes
like "$(cat "$T/called")" "stop web" "what compose says is not read from a disk that fails: what runs is stopped"
PATH=$T/bin:$PATH mb rollback --yes >/dev/null 2>&1
CONF=$CONF_KEPT

# -- ack = spool, and no space for it -----------------------------------------------------------------------
sql "CREATE TABLE event (id int)"
run mb backup
echo "ack = spool" >>"$CONF"
rm -f "$T/fault"
LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="write:14+:ENOSPC:$T/spool/wal-postgres/" MBACKUP_FAULT_FILE="$T/fault" \
	"$MBACKUP" --config "$CONF" stream >"$T/stream.log" 2>&1 & STREAM=$!
stack_owns $STREAM
wait_for 20 slot_active
sql "ALTER SYSTEM SET synchronous_standby_names = 'mbackup'"; sql "SELECT pg_reload_conf()" >/dev/null
synchronous() { [ "$(sql "SELECT sync_state FROM pg_stat_replication")" = sync ]; }
ok "commits wait for the stream" wait_for 20 synchronous
mv "$REPO" "$REPO.away"
: >"$T/acked"
(for i in $(seq 200); do sql "INSERT INTO event VALUES ($i)" || break; echo "$i" >>"$T/acked"; done) >/dev/null 2>&1 & WRITER=$!
stack_owns $WRITER
alarmed() { grep -q "no more WAL is read.*No space" "$T/stream.log"; }
ok "a spool that is full is told" wait_for 20 alarmed
sleep 2.5 # it tries again meanwhile
acked=$(tail -n 1 "$T/acked")
ok "some commits were acknowledged (${acked:-0}), not all" test "${acked:-0}" -gt 0 -a "${acked:-0}" -lt 200
kill -KILL $STREAM; wait $STREAM 2>/dev/null
kill $WRITER 2>/dev/null
stop_cluster "$PGDATA" immediate
mv "$REPO.away" "$REPO"
# The server is lost, the spool is not.
timeout 3 "$MBACKUP" --config "$CONF" stream >>"$T/stream.log" 2>&1
rm -rf "$T/r"
run mb restore --yes --to-latest --component "postgres=$T/r"
is "$status" 0 "restore of what was acknowledged"
printf "port = %s\nsynchronous_standby_names = ''\n" "$(free_port)" >>"$T/r/postgresql.conf"
sed -i '/synchronous_standby_names/d' "$T/r/postgresql.auto.conf"
ok "it starts" start_cluster "$T/r"
port=$(sed -n 4p "$T/r/postmaster.pid")
wait_for 60 sql 'CREATE TEMP TABLE x ()' -p "$port"
ok "every acknowledged commit is there" test "$(sql "SELECT coalesce(max(id), 0) FROM event" -p "$port")" -ge "${acked:-1}"
stop_cluster "$T/r"
done_testing
