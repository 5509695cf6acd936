#!/bin/bash
# Proves that a release is the same whoever makes it: tarball, zip for PGXN and objects, out of two clones, under another
# umask, time zone and language; that it builds without git; and that what it says about itself (META.json, SBOM) is true.
. "$(dirname "$0")/../lib/stack.sh"
command -v git >/dev/null || skip_all "git is not installed"
# No server is started, and the sources are needed: no other user.
T=$(mktemp -d "${TMPDIR:-/tmp}/mb.XXXXXX")
trap 'rm -rf "$T"' EXIT
cd "$here" || exit 1
unset MAKEFLAGS MAKELEVEL SOURCE_DATE_EPOCH "${!GIT_@}"
export HOME=$T GIT_CONFIG_NOSYSTEM=1
version=$(cat VERSION)
name=mbackup-$version
judge_release() { run python3 "$here/tests/lib/release_judge.py" "$@"; }

# -- two makers of one commit -----------------------------------------------------------------------------
mkdir "$T/one" && tools/source-files >"$T/files" && tar -c -T "$T/files" | tar -x -C "$T/one"
(
	cd "$T/one" && git init -q -b main && git config user.name a && git config user.email a@example.org && git add -A -f &&
		GIT_AUTHOR_DATE='2026-11-29T03:00:00Z' GIT_COMMITTER_DATE='2026-11-29T03:00:00Z' git commit -q -m one
) >"$T/out" 2>&1
is $? 0 "a repository of these sources" || diag "$(cat "$T/out")"
mkdir -p "$T/a longer path/of"
git clone -q "$T/one" "$T/a longer path/of/two"
echo untracked >"$T/one/untracked"
git -C "$T/a longer path/of/two" config core.autocrlf true
git -C "$T/a longer path/of/two" config tar.umask user
ok "make dist pgxn" make -s -C "$T/one" DIST_DIR="$T/d1" dist pgxn
(umask 077; TZ=Asia/Tokyo LC_ALL=C make -s -C "$T/a longer path/of/two" DIST_DIR="$T/d2" dist pgxn) >"$T/out" 2>&1
is $? 0 "... by somebody else, elsewhere" || diag "$(cat "$T/out")"
is "$(cd "$T/d1" && ls | tr '\n' ' ')" "$name.tar.gz $name.zip " "a tarball, and a zip for PGXN"
is "$(cd "$T/d2" && sha256sum "$name.tar.gz" "$name.zip")" "$(cd "$T/d1" && sha256sum "$name.tar.gz" "$name.zip")" "... that are the same for both"
is "$(TZ=UTC tar --numeric-owner --full-time -tvf "$T/d1/$name.tar.gz" | awk '{print $2, $4, $5}' | sort -u)" "0/0 2026-11-29 03:00:00" "of user 0, with the time of the commit"
is "$(tar -tf "$T/d1/$name.tar.gz" | grep -v '/$' | sed "s,^$name/,," | LC_ALL=C sort)" "$(cat "$T/files")" "it holds the sources, all of them and nothing else"
(cd "$T/one" && echo 9.9.9 >VERSION && make -s DIST_DIR="$T/d3" dist) >"$T/out" 2>&1
is "$(cd "$T/d3" && sha256sum ./*)" "$(cd "$T/d1" && sha256sum ./*.gz)" "what is not committed is not in it"
like "$(cat "$T/out")" "what is not committed is not in it" "... which is said"

# -- unpacked, without git ------------------------------------------------------------------------------------
mkdir "$T/unpacked" && tar -xf "$T/d1/$name.tar.gz" -C "$T/unpacked"
cd "$T/unpacked/$name" || exit 1
is "$(tools/source-files)" "$(cat "$T/files")" "without git the same files are the sources"
run make -s DIST_DIR="$T/d4" dist
is "$status" 2 "a release is made from a commit only"
like "$err" "there is no git repository here: a release is made from a commit" "... which is said"
# Objects with every kind of thing that could tell where they were made: assertions, what the assembler takes in, the
# version, the debugger's directories.  All of both programs when there is time.
what="build/cli/http_page.o build/cli/help.o build/cli/schedule_units.o build/core/base/mem.o build/core/repo/pack.o build/redis/rdb_shift.o build/postgres/connection.o"
[ -z "${MBACKUP_LONG:-}" ] || what="build/mbackup build/mbackup-wal-get build/libmbackup.a"
# shellcheck disable=SC2086
ok "it builds" make -s -j2 BUILD=build $what
# shellcheck disable=SC2086
cp -r "$T/unpacked/$name" "$T/another" && rm -rf "$T/another/build"
# shellcheck disable=SC2086
(umask 077; TZ=Asia/Tokyo LC_ALL=C make -s -j1 -C "$T/another" BUILD=build $what) >"$T/out" 2>&1
is $? 0 "... elsewhere too" || diag "$(cat "$T/out")"
# shellcheck disable=SC2086
is "$(cd "$T/another" && sha256sum $what)" "$(sha256sum $what)" "... and what is built is the same, bit by bit"
# shellcheck disable=SC2086
is "$(grep -laF "$T" $what)" "" "... because no path is in it"
cd "$here" || exit 1
is "$(grep -rnE '__(DATE|TIME|TIMESTAMP)__' --include='*.[ch]' core postgres walstreamer objectstore redis files cli pg_extension)" "" "no source asks for the time of the build"

# -- PGXN -------------------------------------------------------------------------------------------------------
python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' "$T/d1/$name.zip" "$T/pgxn"
cd "$T/pgxn/$name" || exit 1
judge_release meta META.json .
is "$status $out" "0 " "META.json is one of PGXN's Meta Spec 1.0.0"
sed 's/"license": "postgresql"/"license": "ours"/; s/"file": "sql/"file": "nowhere/; s/"version": "0/"version": "v0/' META.json >"$T/lame.json"
judge_release meta "$T/lame.json" .
is "$(grep -c . <<<"$out")" 4 "... and its judge can find fault"
is "$(python3 -c 'import json; print(json.load(open("META.json"))["version"])')" "$version" "... of this version"
tried=0
for config in /usr/lib/postgresql/*/bin/pg_config
do
	[ -f "$($config --includedir-server 2>/dev/null)/postgres.h" ] || continue
	tried=$((tried + 1))
	ok "by PGXS alone, for $($config --version)" make -s PG_CONFIG="$config" || continue
	ok "... make install" make -s PG_CONFIG="$config" DESTDIR="$T/stage" install
	is "$(cd "$T/stage$($config --sharedir)/extension" && ls | tr '\n' ' ')$(cd "$T/stage$($config --pkglibdir)" && ls)" \
		"mbackup--0.1--0.2.sql mbackup--0.1.sql mbackup--0.2.sql mbackup.control mbackup.so" "... scripts, control file, library"
	for script in "$T/stage$($config --sharedir)/extension"/mbackup--0.1.sql
	do
		is "$(sha256sum <"$script")" "$(cat "$here"/sql/0.1/*.sql | sha256sum)" "... of these sources"
	done
	make -s PG_CONFIG="$config" clean >/dev/null 2>&1
done
[ $tried -gt 0 ] || result "PGXS # SKIP there are no headers of a server" 0
cd "$here" || exit 1

# -- what is in it ------------------------------------------------------------------------------------------------
sbom() { SOURCE_DATE_EPOCH=1795921200 tools/sbom "$version" "$@"; }
sbom "$BUILD/mbackup" "$BUILD/mbackup-wal-get" >"$T/sbom.json"
is $? 0 "make sbom"
judge_release sbom "$T/sbom.json" "$BUILD/mbackup" "$BUILD/mbackup-wal-get"
is "$status $out" "0 " "it is CycloneDX 1.5, and lists every library that the programs name"
is "$(sbom "$BUILD/mbackup" "$BUILD/mbackup-wal-get" | sha256sum)" "$(sha256sum <"$T/sbom.json")" "... the same each time"
python3 - "$T/sbom.json" >"$T/lame.json" <<'PY'
import json, sys
bom = json.load(open(sys.argv[1]))
bom["components"] = [c for c in bom["components"] if c["name"] != "libpq5"]
print(json.dumps(bom))
PY
judge_release sbom "$T/lame.json" "$BUILD/mbackup"
like "$out" "libpq.so.5 is not listed" "... and its judge can find fault"
run sbom "$(command -v bash)"
is "$status" 1 "a library without a known licence is an error"
like "$err" "is not known: add a line with its licence" "... which says what to do"
done_testing
