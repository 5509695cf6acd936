# extension.sh - sourced after stack_begin: a PostgreSQL that has the extension mbackup, without touching the system's.
#
#     . "$here/tests/lib/extension.sh"
#     extension_server       # PG_BIN is now a private copy of the installation in $T
#     stack_postgres; sql "CREATE EXTENSION mbackup"
#
# The server finds its files relative to its program, so a copy of the programs beside links to everything else is an
# installation of its own (PostgreSQL 18 has extension_control_path for this; 13 to 17 do not).

# Links in one directory to everything in another but for one name.
extension_links() # from to but
{
	local file

	mkdir -p "$2"
	for file in "$1"/*
	do
		[ "${file##*/}" = "$3" ] || [ -e "$2/${file##*/}" ] || ln -s "$file" "$2/"
	done
}

# Sets EXTENSION_DIR and EXTENSION_LIB, where scripts and libraries are looked for.
extension_server()
{
	local share bin=$PG_BIN root=$T/installation top lib

	share=$("$bin/initdb" -s -D "$T/none" 2>&1 | sed -n 's/^share_path=//p')
	lib=$(dirname "$bin")/lib
	[ -d "$share/extension" ] && [ -d "$lib" ] || { diag "no installation around $bin"; return 1; }
	# The longest common directory is where the installation is rooted.
	top=$bin
	while [ "${share#"$top"/}" = "$share" ]
	do
		top=$(dirname "$top")
	done
	PG_BIN=$root/${bin#"${top%/}"/}
	mkdir -p "$PG_BIN"
	cp "$bin/postgres" "$bin/initdb" "$bin/pg_ctl" "$PG_BIN/"
	extension_links "$bin" "$PG_BIN" ''
	EXTENSION_DIR=$root/${share#"${top%/}"/}/extension
	extension_links "$share" "$(dirname "$EXTENSION_DIR")" extension
	extension_links "$share/extension" "$EXTENSION_DIR" ''
	EXTENSION_LIB=$(dirname "$PG_BIN")/lib
	extension_links "$lib" "$EXTENSION_LIB" postgresql
	if [ -d "$lib/postgresql" ]
	then
		extension_links "$lib/postgresql" "$EXTENSION_LIB/postgresql" ''
		EXTENSION_LIB=$EXTENSION_LIB/postgresql
	fi
	rm -f "$EXTENSION_DIR"/mbackup* "$EXTENSION_LIB"/mbackup*
	export PATH=$PG_BIN:$PATH
	extension_install
}

# As "make install" without the headers of a server: version 0.1.  With them: extension_install PG_CONFIG.
extension_install()
{
	rm -rf "$T/extension"
	cp -r "$here/pg_extension" "$T/extension"
	make -s -C "$T/extension" SQL="$here/sql" PG_CONFIG="${1:-false}" >"$T/extension.log" 2>&1 || { diag "$(cat "$T/extension.log")"; return 1; }
	cp "$T"/extension/mbackup*.sql "$T/extension/mbackup.control" "$EXTENSION_DIR/"
	[ -z "${1:-}" ] || cp "$T/extension/mbackup.so" "$EXTENSION_LIB/"
}
