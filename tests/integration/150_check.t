#!/bin/bash
# Every condition of "mbackup check" that needs no server: the configuration, secrets, the spool, the
# repository, files, hooks, services and schedules are spoilt one after the other. Each is found
# under its name, with a fix that is run as it stands where a command can do it.
. "$(dirname "$0")/../lib/small_disk.sh" 48m,nr_inodes=5000
. "$(dirname "$0")/../lib/stack.sh"
if [ "$(id -u)" = 0 ] && [ -n "${MB_TMPFS:-}" ]
then
	# What belongs to somebody else.
	mkdir -m 777 "$MB_TMPFS/spool"; : >"$MB_TMPFS/foreign.conf"; chmod 666 "$MB_TMPFS/foreign.conf"
	chown 1 "$MB_TMPFS/spool" "$MB_TMPFS/foreign.conf"
fi
small_disk_stage
stack_begin
. "$here/tests/lib/check.sh"
stack_config
export PATH=$BUILD:$PATH MBACKUP_CONFIG=$CONF
echo one >"$T/objects/o1"; echo 'DB_PASSWORD=hunter2' >"$T/etc/shop.env"
has() { grep -q "$1" "$CONF" || sed -i "/^\[$2\]/a $1" "$CONF"; }
hasnt() { sed -i "/^$1/d" "$CONF"; }

# -- nothing is wrong --------------------------------------------------------------------------------
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
look
is "$status" 0 "check of a new stack: exit 0"
found repository.backup-age warning "no complete backup"
found repository.same-disk warning
found objects.versioning warning
mb backup >/dev/null 2>&1
look
is_well repository.backup-age
is_well repository.backup-partial
is "$(findings | grep -v '^ok\|^skipped' | cut -d' ' -f2 | grep -v '^spool\.\|^repository.space' | sort | tr '\n' ' ')" \
	"objects.versioning repository.same-disk " "a small stack that is well has two honest warnings"
run mb check
like "$out" "^warning +repository +repository.same-disk " "as text too, with the identifier"
like "$out" "^         fix: \[repository:offsite\]" "... and the fix below"
is "$(mbackup check --list --json | json conditions | python3 -c 'import json, sys; c = json.load(sys.stdin); print(len(c) >= 100, len({x["id"] for x in c}) == len(c))')" "True True" "--list has all of them"
like "$(env -u MBACKUP_CONFIG HOME=/nonexistent "$MBACKUP" check --list)" "^postgres.wal-level" "... without a configuration"

# -- what somebody has read and lives with ------------------------------------------------------------
has 'accept-warnings = repository.same-disk, objects.versioning:uploads' global
look
is "$status $(finding status repository.same-disk) $(finding status objects.versioning)" "0 accepted accepted" "two warnings are accepted, and stay in the list"
run mb check
like "$out" "^accepted repository +repository.same-disk " "as text too"
unlike "$out" "fix: \[repository:offsite\]" "... without the fix"
sed -i 's/^accept-warnings.*/accept-warnings = objects.versioning:other, config.secret-mode/' "$CONF"
chmod 644 "$T/key"
look
is "$status $(finding status objects.versioning) $(finding status config.secret-mode)" "1 warning failed" "those of another component are not, nor is what failed"
chmod 600 "$T/key"
hasnt accept-warnings
run mb check --accept-warnings repository.same-disc
is "$status" 2 "a name that there is not: exit 2"
like "$err" "Did you mean repository.same-disk" "... and the one that was meant"

# -- the configuration -------------------------------------------------------------------------------
chmod 622 "$CONF"
look
found config.mode warning
mends config.mode
chmod 644 "$T/key"
look
is "$status" 1 "a finding that failed: exit 1"
found config.secret-mode failed
mends config.secret-mode
cp "$T/key" "$REPO/key"; sed -i "s|^key-file = .*|key-file = $REPO/key|" "$CONF"
look
found config.secret-place failed
mkdir "$T/etc-mbackup"
eval "$(sed "s|/etc/mbackup/|$T/etc-mbackup/|; s/, and .*//" <<<"$FIX")"
sed -i "s|^key-file = .*|key-file = $T/etc-mbackup/key|" "$CONF"
look
is_silent config.secret-place

# -- the spool ---------------------------------------------------------------------------------------
chmod 755 "$T/spool"
look
found spool.mode warning
mends spool.mode
mkdir -m 500 "$T/closed"
sed -i "s|^spool = .*|spool = $T/closed/spool|" "$CONF"
look
is "$status" 7 "a spool that cannot be made: exit 7"
found spool.usable failed
apply "${FIX/sudo install/chmod 700 $T/closed; install}"
look
is_well spool.usable
sed -i "s|^spool = .*|spool = $T/spool|" "$CONF"

# -- the repository ------------------------------------------------------------------------------------
mv "$REPO" "$REPO.away"
look
is "$status" 10 "a repository that is not there: exit 10"
found repository.reachable failed
mv "$REPO.away" "$REPO"
head -c 48 /dev/urandom >"$T/wrong"; chmod 600 "$T/wrong"
look --repository-key-file "$T/wrong"
is "$status" 7 "a key that does not open it: exit 7"
found repository.reachable failed "does not open"
look
is_well repository.reachable
chmod 755 "$REPO"
look
found repository.mode warning
mends repository.mode
chmod 500 "$REPO"
look
found repository.writable failed
chmod 700 "$REPO"
look
is_well repository.writable

has "backup-age = 1s" daemon || true
printf '\n[daemon]\nbackup-age = 1s\n' >>"$CONF"
sleep 1.1
look --verify-age 1s --drill-age 1s
found repository.backup-age warning "hours old"
found repository.verified warning
mends repository.verified --verify-age 1h
look --drill-age 1s
found repository.drill warning "no restore was tried"
export TMPDIR=$T; mends repository.drill --drill-age 1h
sed -i 's/^backup-age.*/backup-age = 26h/' "$CONF"

mb backup --component config >/dev/null 2>&1
chmod 000 "$T/etc/shop.env"; mb backup >/dev/null 2>&1; chmod 600 "$T/etc/shop.env"
mv "$T/objects" "$T/objects.away"; mb backup >/dev/null 2>&1; mv "$T/objects.away" "$T/objects"
look
found repository.backup-partial warning
mends repository.backup-partial

# A backup that is killed before its set is written leaves its lease.
killed() # change what command...
{
	rm -f "$T/fault"
	run env LD_PRELOAD="$BUILD/fault.so" MBACKUP_FAULT="$1" MBACKUP_FAULT_FILE="$T/fault" "$MBACKUP" --config "$CONF" "${@:2}"
	is "$status" 137 "killed: mbackup ${*:2}"
}
killed change:1:kill:/sets/ backup
look
found repository.unfinished warning
rm -rf "$REPO/leases"
look
is_well repository.unfinished
# One that another host has begun, and does not end.
export MBACKUP_TEST_HOST=elsewhere
killed change:1:kill:/sets/ backup
unset MBACKUP_TEST_HOST
look
found repository.foreign-lease warning "elsewhere"
rm -rf "$REPO/leases"
look
is_silent repository.foreign-lease
chmod 000 "$REPO/sets"
look
found repository.look failed
chmod 700 "$REPO/sets"

printf '\n[repository:offsite]\nurl = %s/offsite\n' "$T" >>"$CONF"
look
found repository.copy warning "cannot be used"
mb init >/dev/null 2>&1
look
is_well repository.copy
sed -i '/^\[repository:offsite\]/,$d' "$CONF"

mkdir "$T/plain"
sed "s|^url = $REPO\$|url = $T/plain/repo|; s|^key-file.*|encryption = none|; s|^paths = .*|&\nsecrets = include|" "$CONF" >"$T/plain.conf"; chmod 600 "$T/plain.conf"
"$MBACKUP" --config "$T/plain.conf" init >/dev/null 2>&1
(CONF=$T/plain.conf; look)
found repository.encryption warning
found files.secrets failed
sed -i '/^secrets/d' "$T/plain.conf"
(CONF=$T/plain.conf; look)
is_silent files.secrets

# Nothing expires, for months.
cp "$(ls "$REPO"/sets/* | tail -n 1)" "$REPO/sets/20260101T000000Z-0123456789ab"
look
found repository.retention warning
rm "$REPO/sets/20260101T000000Z-0123456789ab"
printf '\n[retention]\ndays = 30\n' >>"$CONF"
look
is_well repository.retention

# -- restores ------------------------------------------------------------------------------------------
chmod 000 "$T/spool/restores" 2>/dev/null || { mkdir "$T/spool/restores"; chmod 000 "$T/spool/restores"; }
look
found stack.restores warning
apply "$FIX"
look
is_silent stack.restores
killed "change:1:kill:$T/etc" restore --yes --component config
look
found stack.restore failed
apply "${FIX##*, or } --yes"
look
is_silent stack.restore
sed '/^\[objects/,$d' "$CONF" >"$T/empty.conf"; chmod 600 "$T/empty.conf"
(CONF=$T/empty.conf; look)
found stack.components failed
sed "s|^paths = .*|paths = etc/shop|" "$CONF" >"$T/relative.conf"; chmod 600 "$T/relative.conf"
(CONF=$T/relative.conf; look)
found stack.look failed

# -- files and directories --------------------------------------------------------------------------------
sed -i "s|^paths = .*|&, $T/missing|" "$CONF"
look
found files.path warning "there is nothing"
apply "${FIX%%, or*}"
look
is_well files.path
mkdir "$T/etc/d"; echo x >"$T/etc/d/x"; chmod 000 "$T/etc/d"
look
found files.unreadable warning "1 files or directories"
chmod 700 "$T/etc/d"
look
is_well files.unreadable
chmod 000 "$T/objects"
look
found objects.readable failed
mends objects.readable
mv "$T/objects" "$T/objects.away"
look
found objects.reachable failed
apply "${FIX%%, or*}"
look
is_silent objects.reachable
rmdir "$T/objects"; mv "$T/objects.away" "$T/objects"

# -- hooks, services, what tells of problems -------------------------------------------------------------
printf '\n[hooks]\nbefore-backup = /nonexistent/hook\n' >>"$CONF"
printf '\n[services]\napplication = systemd:mbackup-nothing-of-this-name\n' >>"$CONF"
sed -i '/^backup-age/a notify-mail = root\nsendmail = /nonexistent/sendmail\nnotify-command = /nonexistent/tell' "$CONF"
look
found hooks.command failed
found services.service failed
found daemon.notify warning "/nonexistent/sendmail"
found daemon.notify warning "/nonexistent/tell"
sed -i 's|/nonexistent/hook|/bin/true|; s|/nonexistent/sendmail|/bin/true|; s|/nonexistent/tell|/bin/true|; /^application/d' "$CONF"
look
is_well hooks.command
is_silent services.service
is_well daemon.notify

# -- schedules -----------------------------------------------------------------------------------------------
printf '\n[schedule]\nfull = 61 * * * *\n' >>"$CONF"
look
found schedule.expression failed
sed -i 's/^full = .*/full = 0 0 30 2 */' "$CONF"
look
is_well schedule.expression
found schedule.never warning
sed -i 's/^full = .*/full = * * * * */' "$CONF"
mb schedule run-due >/dev/null 2>&1
python3 - "$T/spool" <<'PY'
import glob, json, sys
# Nobody came since: as if the last run had been noted three days ago.
for path in glob.glob(sys.argv[1] + "/schedule*.json"):
    text = open(path).read()
    import re, datetime
    old = (datetime.datetime.utcnow() - datetime.timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    open(path, "w").write(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", old, text))
PY
look
found schedule.missed warning
flock "$T/spool/daemon.lock" sleep 60 &
holder=$!; stack_owns "$holder"
wait_for 10 sh -c "! flock -n '$T/spool/daemon.lock' true"
look
found schedule.daemon warning
pkill -P "$holder"; stack_kill "$holder"
look
is_silent schedule.daemon

# -- what only root can spoil ------------------------------------------------------------------------------
if [ -n "${MB_TMPFS:-}" ]
then
	sed "s|^spool = .*|spool = $MB_TMPFS/spool|; s|^url = $REPO\$|url = $MB_TMPFS/repo|" "$CONF" >"$MB_TMPFS/foreign.conf"
	CONF=$MB_TMPFS/foreign.conf mb init >/dev/null 2>&1
	MAIN=$CONF; CONF=$MB_TMPFS/foreign.conf
	look
	found config.owner warning
	found spool.owner warning
	found spool.space warning
	found spool.tmpfs warning
	found repository.space warning
	found repository.inodes warning
	is_silent repository.same-disk
	CONF=$MAIN
	look
	is_well config.owner
	is_well spool.owner
	is_well repository.inodes
fi
known_findings
done_testing
