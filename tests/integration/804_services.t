#!/bin/bash
# What stops and starts a server: pg_ctlcluster for real, systemctl and docker by stand-ins that note how they are
# called (744_systemd.t has a real systemd); hooks around backups; a part restored in place; no snapshot; a full disk.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
# Not of the server is it asked whether a power failure takes anything.
sql "ALTER SYSTEM SET fsync = off" && sql "SELECT pg_reload_conf()" >/dev/null
stack_redis || exit 1
mkdir -p "$T/objects/a" "$T/etc" "$T/bin"
stack_config none
plain=$(cat "$CONF")
with() # key-line behind conninfo, then further sections on stdin
{
	sed "s|^conninfo.*|&\n$1|" <<<"$plain" >"$CONF"
	cat >>"$CONF"
}
sql "CREATE TABLE t (v text); INSERT INTO t VALUES ('backup')"
echo backup >"$T/objects/a/1"
echo backup >"$T/objects/b"
echo 'v = backup' >"$T/etc/f"
rcli mset user:1 backup job:1 backup >/dev/null
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

# -- hooks of a backup ----------------------------------------------------------------------------------------
with "" <<EOT

[hooks]
before-backup = echo "\$MBACKUP_EVENT \$MBACKUP_COMPONENTS" >>$T/said
after-backup = cat >$T/after.json
on-success = echo "\$MBACKUP_EVENT \$MBACKUP_STATUS \$MBACKUP_ID" >>$T/said
on-failure = echo "\$MBACKUP_EVENT \$MBACKUP_STATUS: \$MBACKUP_ERROR" >>$T/said
EOT
run mb backup --json
is "$status" 0 "a backup with hooks"
[ "$status" = 0 ] || diag "$err"
id=$(json backup.id <<<"$out")
is "$(cat "$T/said")" "before-backup postgres uploads redis config
on-success complete $id" "each is told what happens"
is "$(json backup.id <"$T/after.json")" "$id" "and gets the backup as JSON"
with "" <<EOT

[hooks]
before-backup = exit 3
on-failure = echo "\$MBACKUP_STATUS: \$MBACKUP_ERROR" >$T/said
EOT
run mb backup
is "$status" 1 "a hook before-backup that says no: exit 1"
is "$(cat "$T/said")" "failed: hook before-backup ended with exit status 3" "on-failure hears why"
run mb backup --no-hooks
is "$status" 0 "--no-hooks runs none"
with "" <<EOT

[hooks]
after-backup = sleep 600
timeout = 1s
EOT
run mb backup
is "$status" 0 "one that hangs is killed"
like "$err" "after-backup: it did not end" "and said to be"

# -- a part, in place -------------------------------------------------------------------------------------------
echo "$plain" >"$CONF"
present() { sql "UPDATE t SET v = 'present'"; echo present >"$T/objects/a/1"; echo present >"$T/objects/a/2"; echo present >"$T/objects/b"; echo 'v = present' >"$T/etc/f"; rcli mset user:1 present job:1 present user:2 present >/dev/null; }
state() { echo "$(sql 'SELECT v FROM t') $(cat "$T/objects/a/1" "$T/objects/b" "$T/etc/f" | tr '\n' ' ')$(ls "$T/objects/a" | tr '\n' ' ')$(rcli mget user:1 job:1 user:2 | tr '\n' ' ')"; }
present
now=$(state)
run mb restore --component uploads --only 'a/*' --yes
is "$status" 0 "some keys of a directory, in place"
[ "$status" = 0 ] || diag "$err"
is "$(cat "$T/objects/a/1" "$T/objects/b") $(ls "$T/objects/a")" "backup
present 1" "those are the backup's, the others as they were"
run mb rollback --yes
is "$(state)" "$now" "and back"
run mb restore --component redis --only 'user:*' --yes --json
is "$status" 0 "some keys of the running Redis, in place"
[ "$status" = 0 ] || diag "$err"
is "$(rcli mget user:1 job:1 user:2 | tr '\n' ' ')" "backup present  " "those are the backup's"
run mb rollback --yes
is "$(state)" "$now" "and back again"
[ "$(state)" = "$now" ] || diag "$err"
run mb restore --component config --only "$T/etc/f" --component uploads --yes
is "$status" 0 "two components"
is "$(cat "$T/etc/f" "$T/objects/b")" "v = backup
present" "the pattern holds for both"
mb rollback --yes >/dev/null 2>&1
is "$(state)" "$now" "back"

# -- no way back ------------------------------------------------------------------------------------------------
run mb restore --component uploads --no-snapshot --yes --json
is "$status" 0 "--no-snapshot"
is "$(json restore.rollback <<<"$out")" false "the answer says that there is no way back"
like "$(json restore.cannot_undo <<<"$out")" "$T/objects" "and of what"
run mb rollback --yes
is "$status" 9 "a rollback of it: exit 9"
like "$err" "was not kept" "says why"
is "$(ls -A "$T/objects" | tr '\n' ' ')" "a b " "nothing is left over"
present

# -- no room, and a mount point -------------------------------------------------------------------------------
head -c 3000000 /dev/urandom >"$T/objects/big"
mb backup --component uploads >/dev/null 2>&1
cat >"$T/mounted" <<-EOT
	#!/bin/bash
	mount -t tmpfs -o size=\$1 tmpfs "$T/objects" || exit 77
	echo there >"$T/objects/there"
	shift
	"$MBACKUP" --config "$CONF" restore --component uploads --yes "\$@" || exit
	[ "\$(ls -A "$T/objects" | grep -c mbackup-old)" = 1 ] && [ -e "$T/objects/big" ] && [ ! -e "$T/objects/there" ] || exit 78
	"$MBACKUP" --config "$CONF" rollback --yes || exit
	[ "\$(ls -A "$T/objects")" = there ] || exit 79
EOT
chmod +x "$T/mounted"
run unshare -c --keep-caps -m "$T/mounted" 20m --dry-run
if [ "$status" = 78 ]
then
	run unshare -c --keep-caps -m "$T/mounted" 2m
	is "$status" 8 "no room beside what is kept: exit 8, before anything is touched"
	like "$err" "needs 2.9 MiB on the filesystem of \"$T/objects\"" "says where and how much"
	is "$(mb rollback --list --json | json restores.-1.status)" finished "no restore was begun"
	run unshare -c --keep-caps -m "$T/mounted" 20m
	is "$status" 0 "a mount point is filled, and what was in it put back"
	[ "$status" = 0 ] || diag "$out$err"
	like "$err" "a mount point" "the plan says why it is moved inside"
else
	diag "no mounts here: $err"
fi
rm "$T/objects/big"
mb backup --component uploads >/dev/null 2>&1

# -- services -----------------------------------------------------------------------------------------------------
stand_in() # name: notes its arguments, and does what the file $T/NAME.d/ARGUMENT says
{
	cat >"$T/bin/$1" <<-EOT
		#!/bin/bash
		echo "$1 \$*" >>"$T/called"
		for word in "\$@"; do [ ! -e "$T/$1.\$word" ] || . "$T/$1.\$word"; done
		exit 0
	EOT
	chmod +x "$T/bin/$1"
}
stand_in systemctl
stand_in docker
export PATH=$T/bin:$PATH
echo '[ -e "'"$T"'/unit.down" ] && exit 3' >"$T/systemctl.is-active"
echo 'touch "'"$T"'/unit.down"' >"$T/systemctl.stop"
echo 'rm -f "'"$T"'/unit.down"' >"$T/systemctl.start"
echo '[ -e "'"$T"'/web.down" ] || echo 0123abc' >"$T/docker.ps"
echo 'touch "'"$T"'/web.down"' >"$T/docker.stop"
echo 'rm -f "'"$T"'/web.down"' >"$T/docker.start"
with "" <<EOT

[services]
application = systemd:shop.service, compose:/srv/my shop/compose.yml#web
EOT
run mb restore --component config --component uploads --yes --json
is "$status" 0 "an application of systemd and of compose"
[ "$status" = 0 ] || diag "$err"
is "$(grep -vE ' (is-active|ps)\b' "$T/called" | grep -v ' ps ')" "docker compose -f /srv/my shop/compose.yml stop web
systemctl stop shop.service
systemctl start shop.service
docker compose -f /srv/my shop/compose.yml start web" "is stopped in one order and started in the other"
mb rollback --yes >/dev/null 2>&1
: >"$T/called"
touch "$T/unit.down"
run mb restore --component config --yes
is "$(grep -c 'systemctl start' "$T/called")" 0 "what did not run before is not started"
mb rollback --yes >/dev/null 2>&1
rm -f "$T/unit.down"
echo 'exit 0' >"$T/systemctl.stop"
run mb restore --component config --yes
is "$status" 4 "one that says that it stopped, and runs: exit 4"
like "$err" "runs on" "says so"
is "$(cat "$T/etc/f")" "v = present" "nothing was restored"
[ ! -e "$T/web.down" ]
result "what had been stopped runs again" $?
is "$(mb rollback --list --json | json restores.-1.status)" aborted "the restore was aborted"
echo "$plain" >"$CONF"

# pg_ctlcluster, as Debian has it: its own configuration for a cluster in our directory.
if command -v pg_ctlcluster >/dev/null && [ -d /usr/share/postgresql-common ]
then
	version=$(cat "$PGDATA/PG_VERSION")
	export PG_CLUSTER_CONF_ROOT=$T/pgconf
	mkdir -p "$T/pgconf/$version/main"
	cp "$PGDATA/postgresql.conf" "$PGDATA/pg_hba.conf" "$PGDATA/pg_ident.conf" "$T/pgconf/$version/main/"
	cat >>"$T/pgconf/$version/main/postgresql.conf" <<-EOT
		data_directory = '$PGDATA'
		hba_file = '$T/pgconf/$version/main/pg_hba.conf'
		ident_file = '$T/pgconf/$version/main/pg_ident.conf'
	EOT
	echo "manual" >"$T/pgconf/$version/main/start.conf"
	stop_cluster "$PGDATA"
	if pg_ctlcluster "$version" main start >"$T/ctl.out" 2>&1 && wait_for 30 sql "SELECT 1"
	then
		with "service = pg_ctlcluster:$version/main" </dev/null
		run mb backup
		is "$status" 0 "a cluster of pg_ctlcluster, backed up"
		sql "UPDATE t SET v = 'later'"
		run mb restore --component postgres --yes
		is "$status" 0 "and restored in place"
		[ "$status" = 0 ] || diag "$err"
		is "$(sql 'SELECT v FROM t')" present "it is the backup's"
		run mb rollback --yes
		is "$status" 0 "and rolled back"
		is "$(sql 'SELECT v FROM t')" later "it is what it was"
		pg_ctlcluster "$version" main stop -m fast >/dev/null 2>&1
	else
		diag "pg_ctlcluster does not start here: $(cat "$T/ctl.out")"
		start_cluster "$PGDATA"
	fi
else
	diag "no pg_ctlcluster"
fi
done_testing
