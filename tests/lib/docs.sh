# docs.sh - sourced after stack.sh and s3.sh: runs the commands of a page of the documentation.
#
#     stack_begin
#     doc_page docs/howto/first-backup.md     # one test: each block runs, and prints what the page shows
#
# A page speaks of a host: /etc/mbackup/mbackup.conf, /var/lib/postgresql/15/main, port 6379. The test has all
# of that below $T/p (doc_map), with real servers, which "systemctl" starts and stops (tests/lib/doc_bin).
# What a page needs before its first line it says in "<!-- test: setup WORD... -->":
#
#     postgres redis objects files    running, with a table, a key, two objects, a file
#     conf                            /etc/mbackup/mbackup.conf for those that run, and its repository
#     backup stream                   a first backup; a stream that runs
#     extension                       CREATE EXTENSION (the test has called extension_server); mbackup daemon is not started
#     s3                              an S3 server with buckets: backups, archive (with lock), uploads (with versions)
#     pgbackrest barman               another tool that backs up this cluster; without it the page is skipped
#
# DOC_WRITE=DIR: the pages with what is printed in place of what they show otherwise, in that directory.

# What a page writes, a tab, what it is here.
doc_map()
{
	local path

	for path in /etc/mbackup /etc/shop /etc/postgresql /etc/cron.d /etc/systemd /srv /backup /mnt /media /opt/backup /opt/shop /root \
		/root-of-trust /usr/local/bin /var/lib /var/backups /var/log /var/tmp /run/postgresql /run/redis /tmp
	do
		printf '%s\t%s\n' "$path" "$P$path"
	done
	printf '%s\t%s\n' /var/run/postgresql "$P/run/postgresql" /usr/bin:/bin "$P/cron" /usr/lib/postgresql/15/bin "$PG_BIN" /usr/lib/postgresql/16/bin "$PG_BIN" \
		/usr/local/bin/mbackup "$MBACKUP" https://s3.example.com "${S3_ENDPOINT:-http://127.0.0.1:1}" \
		5432 "$PGPORT" 5433 "$(free_port)" 6379 "$REDIS_PORT" 6380 "$(free_port)" \
		54329 "$(free_port)" 63799 "$(free_port)" 8432 "$DOC_HTTP" 7000 "$(free_port)" 9000 "$(free_port)" \
		'myaccess' mbtestaccess 'mysecret' mbtestsecret0123
}

doc_begin() # page
{
	local word

	P=$T/p
	rm -rf "$P"
	for word in bin backup cron etc/mbackup etc/shop etc/cron.d media mnt opt/backup opt/shop root root-of-trust run/postgresql run/redis srv tmp usr/local/bin \
		var/lib/postgresql var/lib/mbackup var/log var/tmp work
	do
		mkdir -p "$P/$word"
	done
	export PGPORT REDIS_PORT DOC_MAP DOC_PRELUDE MBACKUP_CONFIG TMPDIR
	PGPORT=$(free_port)
	REDIS_PORT=$(free_port)
	DOC_HTTP=$(free_port)
	export PGHOST=$P/run/postgresql PGUSER=postgres PGDATABASE=postgres
	export DOC_ROOT=$P DOC_DATA=$P/var/lib/postgresql/15/main DOC_REDIS=$P/var/lib/redis
	MBACKUP_CONFIG=$P/etc/mbackup/mbackup.conf
	TMPDIR=$P/tmp
	ln -sf "$here"/tests/lib/doc_bin/* "$MBACKUP" "$(dirname "$MBACKUP")/mbackup-wal-get" "$P/bin/"
	ln -s "$MBACKUP" "$P/usr/local/bin/"
	DOC_REAL_PATH=$PATH
	export DOC_REAL_PATH S3_PYTHON DOC_TESTS=$here/tests
	PATH=$P/bin:$PATH
	for word in $(python3 "$here/tests/lib/doc_page.py" setup "$1")
	do
		"doc_setup_$word" && continue
		[ $? = 77 ] && { DOC_SKIP=$word; return 77; }
		diag "$1: could not set up $word"
		return 1
	done
	DOC_MAP=$(doc_map)
	DOC_PRELUDE=$P/prelude
	printf '%s\n' "cd '${DOC_CWD:-$P/work}'" '. "$DOC_TESTS/lib/doc_prelude.sh"' >"$DOC_PRELUDE"
}

doc_setup_postgres()
{
	[ -d "$T/template" ] || initdb -D "$T/template" -U postgres -A trust -k -N --no-locale -E UTF8 >"$T/initdb.log" 2>&1 || return
	mkdir -p "$(dirname "$DOC_DATA")" && cp -r "$T/template" "$DOC_DATA" || return
	cat >>"$DOC_DATA/postgresql.conf" <<-EOF
		port = $PGPORT
		listen_addresses = ''
		unix_socket_directories = '$PGHOST'
		shared_buffers = 32MB
		fsync = off
	EOF
	systemctl start postgresql || return
	sql "CREATE DATABASE shop" && sql "CREATE TABLE orders AS SELECT 1 AS id, 'invoices/1' AS object" -d shop
}
doc_setup_redis()
{
	mkdir -p "$DOC_REDIS" && systemctl start redis-server && redis-cli set order:1 new >/dev/null
}
doc_setup_objects() { mkdir -p "$P/srv/objects/invoices" && echo one >"$P/srv/objects/invoices/1" && echo logo >"$P/srv/objects/logo"; }
doc_setup_files() { printf 'NAME=shop\nDB_PASSWORD=hunter2\n' >"$P/etc/shop/shop.env"; }
doc_setup_s3()
{
	[ -n "$S3_PYTHON" ] || return 77
	[ -z "${DOC_S3:-}" ] || return 0
	if s3_has_minio
	then
		s3_minio || return
	else
		command -v radosgw >/dev/null && command -v ceph-osd >/dev/null || return 77
		s3_ceph || return
	fi
	DOC_S3=1
	judge mkbucket backups && judge mkbucket archive lock && judge mkbucket uploads versioning
}
doc_setup_conf()
{
	(umask 077; head -c 32 /dev/urandom | base64 >"$P/etc/mbackup/passphrase")
	{
		printf '[global]\nspool = %s/var/lib/mbackup/spool\n\n[repository]\nurl = %s/backup/shop\npassphrase-file = %s/etc/mbackup/passphrase\n' "$P" "$P" "$P"
		[ ! -d "$DOC_DATA" ] || printf '\n[postgres]\nconninfo = host=%s dbname=postgres\ntail-interval = 200ms\nservice = systemd:postgresql\n' "$PGHOST"
		[ ! -d "$P/srv/objects" ] || printf '\n[objects:uploads]\nurl = file://%s/srv/objects\nscan-interval = 1s\n' "$P"
		[ ! -d "$DOC_REDIS" ] || printf '\n[redis]\nurl = redis://127.0.0.1:%s\ndir = %s\nservice = systemd:redis-server\n' "$REDIS_PORT" "$DOC_REDIS"
		[ "${DOC_EXTENSION:-}" != "$P" ] || printf '\n[daemon]\nlisten = 127.0.0.1:%s\nsync-interval = 1s\n' "$DOC_HTTP"
		[ ! -e "$P/etc/shop/shop.env" ] || printf '\n[files:config]\npaths = %s/etc/shop\nscan-interval = 1s\n' "$P"
	} >"$MBACKUP_CONFIG"
	chmod 600 "$MBACKUP_CONFIG"
	mbackup init >/dev/null 2>"$T/setup.err" || { cat "$T/setup.err" >&2; return 1; }
}
doc_setup_extension() { DOC_EXTENSION=$P; sql "CREATE EXTENSION mbackup"; }
doc_setup_stream() { systemctl start mbackup-stream && { [ ! -d "$DOC_DATA" ] || wait_for 30 slot_active; }; }
doc_setup_backup() { mbackup backup >/dev/null 2>"$T/setup.err" || { cat "$T/setup.err" >&2; return 1; }; }

doc_setup_pgbackrest()
{
	command -v pgbackrest >/dev/null || return 77
	export PGBACKREST_CONFIG=$P/etc/pgbackrest.conf
	mkdir -p "$P/srv/pgbackrest" "$P/var/pgbackrest"
	cat >"$PGBACKREST_CONFIG" <<-EOF
		[global]
		repo1-path=$P/srv/pgbackrest
		log-path=$P/var/pgbackrest
		lock-path=$P/var/pgbackrest
		start-fast=y
		[shop]
		pg1-path=$DOC_DATA
		pg1-port=$PGPORT
		pg1-socket-path=$PGHOST
		pg1-user=postgres
	EOF
	sql "ALTER SYSTEM SET archive_mode = on" &&
		sql "ALTER SYSTEM SET archive_command = 'PGBACKREST_CONFIG=$PGBACKREST_CONFIG pgbackrest --stanza=shop archive-push %p'" || return
	systemctl restart postgresql &&
		pgbackrest --stanza=shop stanza-create >"$T/setup.err" 2>&1 && pgbackrest --stanza=shop backup >>"$T/setup.err" 2>&1 ||
		{ tail -n 20 "$T/setup.err" | sed 's/^/# /' >&2; return 1; }
}
doc_setup_barman()
{
	command -v barman >/dev/null || return 77
	mkdir -p "$P/srv/barman"
	cat >"$HOME/.barman.conf" <<-EOF
		[barman]
		barman_home = $P/srv/barman
		barman_user = $(id -un)
		log_file = $P/var/barman.log
		[shop]
		description = shop
		conninfo = host=$PGHOST port=$PGPORT user=postgres dbname=postgres
		streaming_conninfo = host=$PGHOST port=$PGPORT user=postgres
		backup_method = postgres
		streaming_archiver = on
		slot_name = barman
		create_slot = auto
		path_prefix = $PG_BIN
	EOF
	sql "CREATE TABLE written ()" # barman waits for WAL
	(cd "$P/work" && exec barman receive-wal --create-slot shop) >"$T/setup.err" 2>&1
	(cd "$P/work" && exec barman receive-wal shop) >>"$T/setup.err" 2>&1 &
	wait_for 30 doc_barman_receives &&
		barman switch-wal --force --archive shop >>"$T/setup.err" 2>&1 && barman backup --wait shop >>"$T/setup.err" 2>&1 ||
		{ tail -n 20 "$T/setup.err" | sed 's/^/# /' >&2; return 1; }
}
doc_barman_receives() { [ "$(sql "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'barman' AND active")" = 1 ]; }

# Everything that the page has started: in its session, or with its directory in the command line or as the working
# directory (which mbackup, having keys in memory, tells nobody).
doc_end()
{
	local pid data

	for data in $(find "$P" -name postmaster.pid 2>/dev/null)
	do
		pg_ctl -D "$(dirname "$data")" -m immediate -w stop >/dev/null 2>&1
	done
	for pid in $(doc_processes)
	do
		kill -TERM "$pid" 2>/dev/null
	done
	wait_for 10 doc_is_quiet && return
	for pid in $(doc_processes)
	do
		kill -KILL "$pid" 2>/dev/null
	done
	wait_for 10 doc_is_quiet
}
doc_processes()
{
	local link

	# (A session whose leader lives is another one, with the number of ours, which has ended.)
	ps -eo pid=,sid=,args= | awk -v page="$P/" -v sid="${DOC_SID:-none}" -v self=$$ '
		$1 == sid { is_reused = 1 }
		$1 == self || $3 ~ /awk$/ { next }
		index($0, page) { print $1; next }
		$2 == sid { in_session[$1] }
		END { if (!is_reused) for (pid in in_session) print pid }'
	for link in /proc/[0-9]*/cwd
	do
		case $(readlink "$link" 2>/dev/null) in
		"$P"/*) link=${link#/proc/}; echo "${link%/cwd}" ;;
		esac
	done
}
doc_is_quiet() { [ -z "$(doc_processes)" ]; }

# What the servers of a page that failed said last.
doc_logs()
{
	local log

	for log in "$P"/var/*.log
	do
		[ ! -s "$log" ] || diag "${log##*/}: $(tail -n 15 "$log")"
	done
}

doc_page() # page
{
	local page=$here/$1 saved=$PATH status

	doc_begin "$page"
	status=$?
	echo "# $1: $(python3 "$here/tests/lib/doc_page.py" count "$page")"
	if [ $status = 77 ]
	then
		result "$1 # SKIP there is no $DOC_SKIP" 0
		diag "$1 WAS NOT RUN: there is no $DOC_SKIP"
	elif [ $status = 0 ]
	then
		if python3 "$here/tests/lib/doc_page.py" split "$page" "$P/blocks"
		then
			setsid bash "$P/blocks/run.sh" >"$P/run.log" 2>&1 &
			DOC_SID=$!
			stack_owns $DOC_SID
			wait $DOC_SID
			stack_forgets $DOC_SID
		fi
		tail -n 3 "$P/run.log" | sed 's/^/# /' >&2
		[ -z "${DOC_WRITE:-}" ] || { python3 "$here/tests/lib/doc_page.py" write "$page" "$P/blocks"; cp "$page" "$DOC_WRITE/"; }
		ok "$1: every command runs, and prints what is shown" python3 "$here/tests/lib/doc_page.py" judge "$page" "$P/blocks" || doc_logs
	else
		result "$1: the stack starts" 1
	fi
	doc_end
	PATH=$saved
	unset TMPDIR
}
