# extension.sh - sourced after stack_begin: a PostgreSQL that has the extension mbackup, without touching the system's.
#
#     . "$here/tests/lib/extension.sh"
#     extension_server       # PG_BIN is now a private copy of the installation in $T
#     stack_postgres; sql "CREATE EXTENSION mbackup"
#
# The server finds its files relative to its program, so a copy of the programs beside links to everything else is an
# installation of its own (PostgreSQL 18 has extension_control_path for this; 13 to 17 do not).

# The scripts of every version, as pg_extension/Makefile makes them.
extension_scripts() # directory
{
	cp "$here/sql/mbackup.control" "$1/"
	cat "$here"/sql/0.1/*.sql >"$1/mbackup--0.1.sql"
	cp "$here"/sql/mbackup--*.sql "$1/" 2>/dev/null || true
}

extension_server() # [libdir of more libraries]
{
	local share bin=$PG_BIN root=${1:-$T/installation} top file rel_bin rel_share

	share=$("$bin/initdb" -s -D "$T/none" 2>&1 | sed -n 's/^share_path=//p')
	[ -d "$share/extension" ] || { diag "no share directory of $bin"; return 1; }
	# The longest common directory of both is where the installation is rooted.
	top=$bin
	while [ "${share#"$top"/}" = "$share" ]
	do
		top=$(dirname "$top")
	done
	rel_bin=${bin#"${top%/}"/} rel_share=${share#"${top%/}"/}
	mkdir -p "$root/$rel_bin" "$root/$rel_share/extension"
	cp "$bin/postgres" "$bin/initdb" "$bin/pg_ctl" "$root/$rel_bin/"
	for file in "$bin"/*
	do
		[ -e "$root/$rel_bin/${file##*/}" ] || ln -s "$file" "$root/$rel_bin/"
	done
	ln -s "$(dirname "$bin")/lib" "$root/$(dirname "$rel_bin")/lib"
	for file in "$share"/*
	do
		[ "${file##*/}" = extension ] || ln -s "$file" "$root/$rel_share/"
	done
	ln -s "$share"/extension/* "$root/$rel_share/extension/"
	rm -f "$root/$rel_share"/extension/mbackup*
	EXTENSION_DIR=$root/$rel_share/extension
	extension_scripts "$EXTENSION_DIR"
	PG_BIN=$root/$rel_bin
	export PATH=$PG_BIN:$PATH
}
