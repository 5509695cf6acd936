#!/bin/bash
# Proves that "make deb" makes packages that lintian has nothing to say about, and that they do their work: installed by
# dpkg into a copy (overlay) of this machine that nobody else sees, they back up and restore a cluster with the packaged extension.
. "$(dirname "$0")/../lib/stack.sh"
command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null && command -v pg_buildext >/dev/null || skip_all "dpkg-dev, debhelper or postgresql-server-dev-all is not installed"
[ "$(id -u)" = 0 ] || skip_all "needs root, for namespaces"
T=$(mktemp -d /tmp/mb.XXXXXX)
chmod 755 "$T"
trap 'rm -rf "$T"' EXIT
cd "$here" || exit 1
version=$(cat VERSION)
unset MAKEFLAGS MAKELEVEL
export LC_ALL=C.UTF-8

# -- built ---------------------------------------------------------------------------------------------
export DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=2"
ok "make deb" make DEB_DIR="$T/deb" deb || { done_testing; exit 1; }
majors=$(ls -d /usr/lib/postgresql/*/bin/pg_config | cut -d/ -f5 | sort)
is "$(cd "$T/deb" && ls ./*.deb | sort | tr '\n' ' ')" \
	"$( (echo "./mbackup_${version}_$(dpkg --print-architecture).deb"; for m in $majors; do echo "./postgresql-$m-mbackup_${version}_$(dpkg --print-architecture).deb"; done) | sort | tr '\n' ' ')" \
	"the program, and the extension for each PostgreSQL with headers"
if command -v lintian >/dev/null
then
	# Where the build makes no man pages it is known that they lack.
	grep -q '/man1/mbackup\.1' <<<"$(dpkg-deb -c "$T"/deb/mbackup_*.deb)" || lenient="--suppress-tags no-manual-page"
	# shellcheck disable=SC2086
	run lintian --no-cfg --allow-root --fail-on error,warning --tag-display-limit 0 ${lenient:-} "$T"/deb/*.changes
	is "$status $out" "0 " "lintian has nothing to say" || diag "$err"
	cp -r "$T/deb" "$T/broken"
	dpkg-deb -R "$T"/broken/mbackup_*.deb "$T/unpacked"
	rm "$T/unpacked/usr/share/doc/mbackup/copyright"
	dpkg-deb -b --root-owner-group "$T/unpacked" "$T/broken/mbackup_broken.deb" >/dev/null
	run lintian --no-cfg --allow-root --fail-on error,warning "$T/broken/mbackup_broken.deb"
	is "$status $(grep -c 'E: mbackup: no-copyright-file' <<<"$out")" "2 1" "... and would say it"
else
	result "lintian # SKIP it is not installed" 0
fi
program=$(echo "$T"/deb/mbackup_*.deb)
is "$(dpkg-deb -f "$program" Version)" "$version" "the version is the one of VERSION"
like "$(dpkg-deb -f "$program" Depends)" "libpq5.*libssl3" "the libraries are depended on"
dpkg-deb -c "$program" | awk '$1 !~ /^d/ {print $6}' | sort >"$T/list"
for file in ./usr/bin/mbackup ./usr/bin/mbackup-wal-get ./lib/systemd/system/mbackup.service ./usr/share/mbackup/mbackup.rules.yml ./usr/share/doc/mbackup/deploy.md ./usr/share/doc/mbackup/README.Debian ./usr/share/doc/mbackup/copyright
do
	grep -qx "$file" "$T/list" || echo "$file"
done >"$T/lacking"
is "$(cat "$T/lacking")" "" "program, units, alerts and manual are in the package"
is "$(grep -v '^./usr/bin/mbackup\|^./lib/systemd/system/mbackup\|^./usr/share/' "$T/list")" "" "... and nothing that is not expected"
is "$(dpkg-deb -c "$T"/deb/postgresql-*-mbackup_*.deb 2>/dev/null | head -n 0; for m in $majors; do dpkg-deb -c "$T/deb/postgresql-$m-mbackup_${version}_$(dpkg --print-architecture).deb" | grep -c "/lib/mbackup.so$\|/extension/mbackup.control$\|/extension/mbackup--0.2.sql$"; done | sort -u)" 3 "library, control file and script are in each package of the extension"

# -- installed --------------------------------------------------------------------------------------------
cat >"$T/story" <<'END'
#!/bin/bash
# In the copy: says what happened as lines "what=...".
say() { echo "$1=$2" >>/out/said; }
state() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || echo none; }
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
rm -rf /etc/mbackup /var/lib/mbackup
dpkg --force-unsafe-io -i /out/deb/*.deb >/out/log 2>&1
say installed "$? $(state mbackup)"
say directory "$(stat -c '%U:%G %a' /etc/mbackup) $(stat -c '%U:%G %a' /etc/mbackup/credentials)"
# Small images of Debian leave the documentation out.
say verify "$(dpkg --verify mbackup | grep -vc ' /usr/share/\(doc\|man\)/')"
say links "$(find /etc/systemd -name 'mbackup*' | wc -l)"
/out/backup-restore >/out/backup-restore.log 2>&1
say story $?
chmod 700 /etc/mbackup
dpkg --force-unsafe-io -i /out/deb/mbackup_*.deb >>/out/log 2>&1
say again "$? $(stat -c %a /etc/mbackup)"
dpkg-statoverride --update --add root root 0700 /etc/mbackup
dpkg --force-unsafe-io -i /out/deb/mbackup_*.deb >>/out/log 2>&1
say override "$? $(stat -c '%U:%G %a' /etc/mbackup)"
echo secret >/etc/mbackup/credentials/passphrase
dpkg -r mbackup >>/out/log 2>&1
say removed "$? $(command -v mbackup) $(ls /lib/systemd/system | grep -c mbackup)"
dpkg -P mbackup $(dpkg-query -W -f '${Package}\n' 'postgresql-*-mbackup') >/out/purge 2>&1
say purged "$? $(state mbackup) $(cat /etc/mbackup/credentials/passphrase)"
say told "$(grep -c 'mbackup: /etc/mbackup is left as it is' /out/purge)"
dpkg-statoverride --remove /etc/mbackup
rm /etc/mbackup/credentials/passphrase
rm -rf /etc/mbackup
dpkg --force-unsafe-io -i /out/deb/*.deb >>/out/log 2>&1 && dpkg -P mbackup $(dpkg-query -W -f '${Package}\n' 'postgresql-*-mbackup') >>/out/log 2>&1
say clean "$? $(find /etc /usr /srv /var/lib -xdev -path /var/lib/dpkg -prune -o -path "$1" -prune -o -name '*mbackup*' -newer /out/story -print | tr '\n' ' ')"
say finished yes
END
chmod +x "$T/story"
mkdir -p "$T/out" "$T/root"
cp -r "$T/deb" "$T/story" debian/tests/backup-restore "$T/out/"
# Everything that is written lands in memory, and goes with the namespace.
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
	mount --rbind /dev dev
	mount -t tmpfs -o mode=1777 tmpfs dev/shm
	mount -t tmpfs tmpfs run
	mount -t tmpfs -o mode=1777 tmpfs tmp
	mkdir -p out
	mount --bind "$T/out" out
	exec chroot . env -i LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin bash /out/story "$here"
}
export -f machine
export T
traces() { dpkg-query -W '*mbackup*' 2>/dev/null; ls -d /etc/mbackup /var/lib/mbackup /usr/bin/mbackup /usr/lib/postgresql/*/lib/mbackup.so 2>/dev/null; }
before=$(traces)
if unshare --mount --pid --fork bash -c "mount --make-rprivate / && mount -t tmpfs tmpfs '$T/root' && mkdir $T/root/u $T/root/w $T/root/m && mount -t overlay overlay -o lowerdir=/,upperdir=$T/root/u,workdir=$T/root/w $T/root/m" 2>"$T/err"
then
	timeout -k 10 900 unshare --fork --kill-child=KILL --pid --mount --uts --ipc bash -c machine >"$T/machine.log" 2>&1
	expect() # what value name
	{
		is "$(sed -n "s/^$1=//p" "$T/out/said" 2>/dev/null)" "$2" "$3" || { tail -n 5 "$T/out/log" "$T/machine.log" "$T/out/purge"; } >&2
	}
	expect installed "0 installed" "dpkg -i"
	expect directory "root:postgres 750 root:root 700" "/etc/mbackup is for root and postgres, its secrets are for root"
	expect verify 0 "every file is as packaged"
	expect links 0 "no unit is enabled"
	expect story 0 "the autopkgtest: CREATE EXTENSION, backup, mark, verify, restore" || tail -n 20 "$T/out/backup-restore.log" >&2
	like "$(cat "$T/out/backup-restore.log")" "is back as of the mark" "... to its end"
	expect again "0 750" "installed again, the rights are put right"
	expect override "0 root:root 700" "... but for whom dpkg-statoverride says otherwise"
	expect removed "0  0" "removed, program and units are gone"
	expect purged "0 none secret" "purged, the passphrase is still there"
	expect told 1 "... and that is said"
	expect clean "0 " "with nothing of the administrator's, nothing is left"
	expect finished yes "all of that was tried"
else
	result "installed by dpkg # SKIP no overlay may be mounted here: $(tr '\n' ' ' <"$T/err")" 0
fi
is "$(traces)" "$before" "this machine has noticed nothing"
done_testing
