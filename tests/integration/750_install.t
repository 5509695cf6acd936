#!/bin/bash
# Proves that "make install" puts everything where it is told, that "make uninstall" takes exactly that away again, and
# that a stranger's program can be built with what was installed, by pkg-config alone.
. "$(dirname "$0")/../lib/stack.sh"
# "make install" needs the sources and no server: no other user.
T=$(mktemp -d "${TMPDIR:-/tmp}/mb.XXXXXX")
trap 'rm -rf "$T"' EXIT
cd "$here" || exit 1
unset MBACKUP_CONFIG MBACKUP_PASSPHRASE DESTDIR PREFIX prefix MAKEFLAGS MAKELEVEL
# What is made on the way has places of its own: another test may install at the same time.
made() { make -s BUILD="$BUILD" STAGE="$T/made" EXTENSION_BUILD="$T/extension" "$@"; }
files() { (cd "$1" && find . ! -type d | sort); }

# -- where things go -------------------------------------------------------------------------------------
ok "make install, staged into a directory with a space" made DESTDIR="$T/a b" prefix=/usr install
cd "$T/a b" || exit 1
is "$(stat -c '%a %n' usr/bin/* | tr '\n' ' ')" "755 usr/bin/mbackup 755 usr/bin/mbackup-wal-get " "the programs"
is "$(find . -type f -perm /111 | sort | tr '\n' ' ')" "./usr/bin/mbackup ./usr/bin/mbackup-wal-get $(find . -name '*.so' -perm /111 | tr '\n' ' ')" "nothing else can be run"
is "$(find . -type f ! -path './usr/*')" "" "nothing is outside of the prefix, and nothing in /etc"
is "$(grep -rIl --exclude-dir=extension "$T\|a b/" usr)" "" "no file knows the staging directory"
is "$(for d in bin include/mbackup lib/libmbackup.a lib/pkgconfig/mbackup.pc lib/systemd/system/mbackup.service lib/tmpfiles.d/mbackup.conf share/mbackup/grafana.json share/doc/mbackup/deploy.md share/doc/mbackup/LICENSE; do [ -e "usr/$d" ] || echo "$d"; done)" "" "programs, headers, library, units, dashboard, documentation"
is "$(find usr/include -name '*_private.h')" "" "private headers stay private"
sharedir=$(pg_config --sharedir)
if [ -d "$sharedir/extension" ]
then
	is "$(ls ".$sharedir/extension" | sort | head -n 1)" mbackup--0.1--0.2.sql "the extension is where pg_config says"
	ok "make install WITH_EXTENSION=no" made -C "$here" DESTDIR="$T/none" prefix=/usr WITH_EXTENSION=no install
	is "$(files "$T/none" | grep -c 'bin/mbackup$') $(files "$T/none" | grep -c 'control$')" "1 0" "... leaves it out"
else
	result "the extension # SKIP there is no PostgreSQL" 0
fi
cd "$here" || exit 1

# -- and away again ----------------------------------------------------------------------------------------
mkdir -p "$T/a b/usr/share/doc/other" && touch "$T/a b/usr/share/doc/other/copyright" "$T/a b/usr/lib/systemd/system/other.service" "$T/a b/usr/share/mbackup/mine"
ok "make uninstall" made DESTDIR="$T/a b" prefix=/usr uninstall
is "$(files "$T/a b" | tr '\n' ' ')" "./usr/lib/systemd/system/other.service ./usr/share/doc/other/copyright ./usr/share/mbackup/mine " "takes away what was installed, and nothing else"
is "$(find "$T/a b/usr" -type d -path '*mbackup*' | wc -l)" 1 "... with its directories, but for one that is not empty"

# -- parts ----------------------------------------------------------------------------------------------------
lean() { made DESTDIR="$T/lean" prefix=/opt/mb WITH_EXTENSION=no WITH_SYSTEMD=no WITH_DEV=no WITH_DOCS=no "$@"; }
ok "without what is optional" lean install
is "$(files "$T/lean" | grep -v '/man/\|completion\|site-functions' | tr '\n' ' ')" "./opt/mb/bin/mbackup ./opt/mb/bin/mbackup-wal-get ./opt/mb/share/mbackup/grafana.json ./opt/mb/share/mbackup/mbackup.rules.yml " "only the programs are left, and what watches them"
lean uninstall >"$T/out" 2>&1
is "$(files "$T/lean")" "" "... and they go"
ok "each directory by itself" made DESTDIR="$T/own" WITH_EXTENSION=no prefix=/p bindir=/b/bin libdir=/l/lib64 includedir=/i docdir=/d unitdir=/u tmpfilesdir=/t datadir=/s mandir=/s/man install
is "$(cd "$T/own" && for d in *; do printf '%s:%s ' "$d" "$(find "$d" -type f | wc -l | sed 's/^0$/none/; s/^[1-9].*/some/')"; done)" "b:some d:some i:some l:some s:some t:some u:some " "... is where it was put"
like "$(cat "$T/own/u/mbackup.service")" '^ExecStart=/b/bin/mbackup daemon$' "the units know"
like "$(cat "$T/own/l/lib64/pkgconfig/mbackup.pc")" '^includedir=/i$' "... and so does pkg-config"
run make -s BUILD="$BUILD" STAGE="$T/made" prefix="$T/with space" install
is "$status" 2 "a prefix with a space is refused"
like "$err" "has a space in its name \(prefix\): choose another one, or stage by DESTDIR" "... by a message that says so"
is "$(ls "$T" | grep -c '^with')" 0 "... before anything is written"

# -- pkg-config -------------------------------------------------------------------------------------------------
ok "make install, into a prefix" made prefix="$T/prefix" WITH_EXTENSION=no install
export PKG_CONFIG_PATH=$T/prefix/lib/pkgconfig
is "$(pkg-config --modversion mbackup)" "$(cat VERSION)" "pkg-config knows the version"
mkdir "$T/user" && cp tests/lib/pkgconfig_user.c "$T/user/" && cd "$T/user" || exit 1
# shellcheck disable=SC2046
ok "a program is built by it alone" cc -std=c11 -Wall -Werror pkgconfig_user.c -o user $(pkg-config --cflags --libs mbackup)
run ./user "$T/repo"
is "$status $(grep -cE '^[0-9a-f-]{36}$' <<<"$out")" "0 1" "... runs, and makes a repository"
id=$out
run "$T/prefix/bin/mbackup" list --repository-url "$T/repo" --repository-encryption none --spool "$T/spool" --json
is "$status" 0 "... that mbackup opens" || diag "$out$err"
like "$(cat "$T/repo/mbackup.json")" "$id" "... and is the one"
while read -r header
do
	# shellcheck disable=SC2046
	printf '#include "%s"\n' "$header" | cc -std=c11 -Wall -Werror -fsyntax-only $(pkg-config --cflags mbackup) -x c - 2>"$T/err" || echo "$header: $(head -n 1 "$T/err")"
done < <(cd "$T/prefix/include/mbackup" && find core -name '*.h' | sort) >"$T/lame"
is "$(cat "$T/lame")" "" "every header can be included by itself"
done_testing
