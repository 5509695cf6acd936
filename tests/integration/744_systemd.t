#!/bin/bash
# Proves that the installed units work under a real systemd: it is started as process 1 of namespaces of its own, over a copy
# (overlay) of this machine's files.  Credentials arrive, the hardened daemon makes backups, systemd sees it die and hang.
. "$(dirname "$0")/../lib/stack.sh"
[ -n "${MBACKUP_LONG:-}" ] || skip_all "MBACKUP_LONG is not set"
[ "$(id -u)" = 0 ] || skip_all "needs root, for namespaces"
[ -x /lib/systemd/systemd ] || skip_all "there is no systemd"
. "$here/tests/lib/extension.sh"
T=$(mktemp -d /tmp/mb.XXXXXX)
chmod 755 "$T"
mkdir "$T/out" "$T/root" "$T/sql"
CGROUP=/sys/fs/cgroup
[ ! -d $CGROUP/systemd ] || CGROUP=$CGROUP/systemd
CGROUP=$CGROUP/mbackup-test-$$
INIT=""
finish()
{
	[ -z "$INIT" ] || { kill -KILL "$INIT"; wait "$INIT"; } 2>/dev/null
	sleep 1
	find "$CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null
	rm -rf "$T"
}
trap finish EXIT
mkdir "$CGROUP" 2>/dev/null || skip_all "cannot make a control group"
EXTENSION_DIR=$T/sql
extension_install
BIN=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
SHARE=$("$BIN/initdb" -s -D "$T/none" 2>&1 | sed -n 's/^share_path=//p')
[ -d "$SHARE/extension" ] || SHARE=$(runuser -u nobody -- "$BIN/initdb" -s -D /none 2>&1 | sed -n 's/^share_path=//p')
make -s -C "$here" BUILD="$BUILD" DESTDIR="$T/install" install >"$T/install.out" 2>&1
is $? 0 "make install" || cat "$T/install.out" >&2

# -- what systemd starts, before the daemon and after -----------------------------------------------------
cat >"$T/prepare" <<END
#!/bin/bash
set -e
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/mbackup.conf
umask 077
head -c 32 /dev/urandom | base64 >/etc/mbackup/credentials/passphrase
umask 022
install -d -o postgres /srv/mbackup /run/postgresql /var/lib/postgresql/test
# Whatever this machine has there: ours is a copy.
rm -rf /var/lib/mbackup
install -d -o postgres -m 700 /var/lib/mbackup
as() { runuser -u postgres -- "\$@"; }
as $BIN/initdb -D /var/lib/postgresql/test/data -A peer >/dev/null
as $BIN/pg_ctl -D /var/lib/postgresql/test/data -l /var/lib/postgresql/test/log -w start -o '-c unix_socket_directories=/run/postgresql -c listen_addresses=' >/dev/null
as psql -h /run/postgresql -c 'CREATE EXTENSION mbackup'
cat >/etc/mbackup/mbackup.conf <<E
[repository]
url = /srv/mbackup/repo
$(sed -n 's/^ *\(passphrase-command = .*\)/\1/p' "$here/docs/deploy.md" | head -n 1 | sed 's/\$/\\$/g')
[daemon]
sync-interval = 2s
notify-after = 1s
notify-command = cat >>/var/lib/mbackup/told
[postgres]
conninfo = host=/run/postgresql dbname=postgres
[files:etc]
paths = /etc/postgresql-common
E
install -d -o postgres -m 700 /tmp/credentials
install -o postgres -m 400 /etc/mbackup/credentials/passphrase /tmp/credentials/mbackup_passphrase
as env CREDENTIALS_DIRECTORY=/tmp/credentials MBACKUP_CONFIG=/etc/mbackup/mbackup.conf mbackup init
rm -rf /tmp/credentials
END
cat >"$T/judge" <<'END'
#!/bin/bash
q() { runuser -u postgres -- psql -h /run/postgresql -qAtc "$1"; }
say() { echo "$1=$2" >>/out/said; }
of() { systemctl show mbackup -p "$1" --value; }
job()
{
	local id state
	id=$(q "SELECT mbackup.make_job('$1', '$2', 'postgres', 'postgres', NULL, NULL)")
	for _ in $(seq 60)
	do
		state=$(q "SELECT state FROM mbackup.job_table WHERE id = $id")
		case $state in queued|running) sleep 1 ;; *) break ;; esac
	done
	say "$1" "$state"
	q "SELECT error FROM mbackup.job_table WHERE id = $id"
}
segments=$(ls /dev/shm | grep -c PostgreSQL)
say started "$(systemctl is-active mbackup) $(of StatusText) $(of User)"
say credential "$(stat -c '%U %a' /run/credentials/mbackup.service/mbackup_passphrase)"
sleep 4
job backup '{"type": "full"}'
job verify '{"read-data": "full"}'
say streams "$(q "SELECT string_agg(state, ' ') FROM mbackup.stream_table")"
systemctl reload mbackup
say reload "$? $(systemctl is-active mbackup)"
kill -KILL "$(of MainPID)"
sleep 8
say killed "$(systemctl is-active mbackup) $(of NRestarts)"
kill -STOP "$(of MainPID)"
sleep 20
say hung "$(systemctl is-active mbackup) $(of NRestarts)"
systemctl stop mbackup
say stopped "$(of Result) $(of ActiveState)"
say database "$(q 'SELECT 1') $(($(ls /dev/shm | grep -c PostgreSQL) - segments))"
say told "$([ -s /var/lib/mbackup/told ] && echo yes)"
for unit in backup verify
do
	systemctl start mbackup-$unit.service
	say "by timer: $unit" $?
done
systemctl start mbackup-stream.service
sleep 4
say stream "$(systemctl is-active mbackup-stream)"
systemctl start mbackup
say "and the daemon" "$(systemctl is-active mbackup) $(systemctl is-active mbackup-stream)"
systemctl stop mbackup

# A cluster that systemd starts, restored in place: service = systemd:NAME.
install -d -o postgres -m 700 /tmp/credentials
install -o postgres -m 400 /etc/mbackup/credentials/passphrase /tmp/credentials/mbackup_passphrase
export CREDENTIALS_DIRECTORY=/tmp/credentials MBACKUP_CONFIG=/etc/mbackup/mbackup.conf
data=/var/lib/postgresql/test/data
bin=$(cat /usr/local/bin/bindir)
runuser -u postgres -- "$bin/pg_ctl" -D $data -m fast -w stop >/dev/null
cat >/etc/systemd/system/shopdb.service <<E
[Unit]
DefaultDependencies=no
[Service]
Type=forking
User=postgres
Environment=MBACKUP_CONFIG=/etc/mbackup/mbackup.conf
LoadCredential=mbackup_passphrase:/etc/mbackup/credentials/passphrase
ExecStart=$bin/pg_ctl -D $data -l /var/lib/postgresql/test/log -W start -o "-c unix_socket_directories=/run/postgresql -c listen_addresses="
ExecStop=$bin/pg_ctl -D $data -m fast stop
TimeoutStartSec=infinity
E
systemctl daemon-reload
systemctl start shopdb
sed -i 's/^conninfo.*/&\nservice = systemd:shopdb/' /etc/mbackup/mbackup.conf
for _ in $(seq 30); do q 'SELECT 1' >/dev/null && break; sleep 1; done
q "CREATE TABLE shop AS SELECT 'backup'::text AS v"
runuser -u postgres -- mbackup backup --component postgres
say "shop backup" $?
q "UPDATE shop SET v = 'later'"
mbackup restore --component postgres --yes
say "shop restored" "$? $(systemctl is-active shopdb) $(q 'SELECT v FROM shop')"
mbackup rollback --yes
say "shop back" "$? $(systemctl is-active shopdb) $(q 'SELECT v FROM shop')"
systemctl stop shopdb
say finished yes
END
chmod +x "$T/prepare" "$T/judge"
unit() # name program after
{
	printf '[Unit]\nDefaultDependencies=no\n%s\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=%s\nStandardOutput=append:/out/log\nStandardError=append:/out/log\n' "$3" "$2" >"etc/systemd/system/$1.service"
}

# -- the machine in the machine ------------------------------------------------------------------------------
# Becomes process 1.
machine()
{
	set -e
	mount --make-rprivate /
	mount -t tmpfs tmpfs "$T/root"
	cd "$T/root"
	mkdir up work m
	mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/up,workdir=$PWD/work" m
	cd m
	[ "$PWD" = "$T/root/m" ] && [ -d "$T/root/m/etc" ]
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	case $CGROUP in
		*/systemd/*)
			mount -t tmpfs tmpfs sys/fs/cgroup
			mkdir sys/fs/cgroup/systemd
			mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
			;;
		*) mount -t cgroup2 cgroup sys/fs/cgroup ;;
	esac
	mount --rbind /dev dev
	mount -t tmpfs -o mode=1777 tmpfs dev/shm
	mount -t tmpfs tmpfs run
	mkdir -p out
	mount --bind "$T/out" out
	cp -r "$T/install/usr/local/." usr/local/
	cp "$T/prepare" "$T/judge" usr/local/bin/
	echo "$BIN" >usr/local/bin/bindir
	cp "$T/sql"/* "./$SHARE/extension/"
	mount -t tmpfs tmpfs tmp
	# Nothing of this machine's own is started.
	rm -rf ./etc/systemd/system/*
	unit prepare /usr/local/bin/prepare ''
	unit judge /usr/local/bin/judge 'After=mbackup.service'
	printf '[Unit]\nDefaultDependencies=no\nWants=prepare.service mbackup.service judge.service\n' >etc/systemd/system/test.target
	mkdir -p etc/systemd/system/mbackup.service.d
	printf '[Unit]\nDefaultDependencies=no\nRequires=prepare.service\nAfter=prepare.service\n[Service]\nWatchdogSec=6s\nStandardOutput=append:/out/log\nStandardError=append:/out/log\n' >etc/systemd/system/mbackup.service.d/50-test.conf
	# Credentials are mounted by a helper, and must get from its namespace into ours.
	mount --make-rshared .
	exec chroot . env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=test.target --show-status=no --log-target=console
}
export -f machine unit
export T CGROUP SHARE BIN
(
	echo "$BASHPID" >"$CGROUP/cgroup.procs"
	exec unshare --fork --kill-child=KILL --pid --mount --uts --ipc --cgroup bash -c machine
) >"$T/init.log" 2>&1 &
INIT=$!
said() { [ "$(sed -n "s/^$1=//p" "$T/out/said" 2>/dev/null)" = "$2" ]; }
wait_for 240 said finished yes
is $? 0 "systemd runs the units" || { tail -n 20 "$T/init.log" "$T/out/log"; } >&2
expect() # what value name
{
	is "$(sed -n "s/^$1=//p" "$T/out/said")" "$2" "$3" || tail -n 5 "$T/out/log" >&2
}
expect started "active running postgres" "the daemon tells that it is ready, as postgres"
expect credential "postgres 400" "its passphrase is a credential, for it alone"
expect backup "done" "hardened as it is it makes a backup"
expect verify "done" "... and verifies it"
expect streams "running running" "... and streams"
expect reload "0 active" "systemctl reload"
expect killed "active 1" "killed, it is started again"
expect hung "active 2" "... and when it hangs, by the watchdog"
expect stopped "success inactive" "systemctl stop is no failure"
expect database "1 0" "... and takes nothing from the database that it shares a user with"
expect told yes "notify-command runs"
expect "by timer: backup" 0 "mbackup-backup.service"
expect "by timer: verify" 0 "mbackup-verify.service"
expect stream active "mbackup-stream.service"
expect "and the daemon" "active inactive" "... which the daemon replaces"
expect "shop backup" 0 "a cluster of a unit is backed up"
expect "shop restored" "0 active backup" "restored in place, systemd stops and starts it"
expect "shop back" "0 active later" "... and back"
done_testing
