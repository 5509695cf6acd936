#!/bin/bash
# Every condition of "mbackup check" about PostgreSQL, provoked on real servers, several at a time: settings,
# rights, slots, archive_command, damage, timelines, the host. The fix is run as it stands, and then
# nothing is wrong any more.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/check.sh"
. "$here/tests/lib/extension.sh"
extension_server || exit 1
stack_postgres || exit 1
printf 'wal_init_zero = off\nwal_recycle = off\nautovacuum = off\nfsync = off\n' >>"$PGDATA/postgresql.conf"
stop_cluster "$PGDATA"; start_cluster "$PGDATA" || exit 1
stack_config
sed -i '/^\[objects/,$d' "$CONF"
export PATH=$BUILD:$PATH MBACKUP_CONFIG=$CONF
restart() { stop_cluster "$PGDATA"; start_cluster "$PGDATA"; }
tampered() # port [change...]: a server behind a proxy, and a configuration for it in $T/tampered.conf
{
	local port=$1

	shift
	python3 "$here/tests/lib/tamper_proxy.py" "$port" "$PGHOST/.s.PGSQL.$PGPORT" "$@" & PROXY=$!
	stack_owns "$PROXY"
	wait_for 10 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
	sed "s|^conninfo = .*|conninfo = host=127.0.0.1 port=$port user=mbtest dbname=postgres sslmode=disable gssencmode=disable|" "$CONF" >"$T/tampered.conf"
	chmod 600 "$T/tampered.conf"
}

mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
mb backup >/dev/null 2>&1 || { diag "backup failed"; exit 1; }

# -- settings that are read anew, and what the server tells of itself --------------------------------------------
sql "ALTER SYSTEM SET full_page_writes = off"
sql "ALTER SYSTEM SET synchronous_standby_names = 'mbackup'"
sql "ALTER SYSTEM SET synchronous_commit = local"
sql "ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'"
sql "ALTER SYSTEM SET max_wal_size = '1000TB'"
sql "SELECT pg_reload_conf()" >/dev/null
sql "CREATE UNLOGGED TABLE \"Scratch\" (i int)"
sql "SELECT pg_create_physical_replication_slot('forgotten', true)" >/dev/null
sed -i "s|dbname=postgres|dbname=postgres password=hunter2|" "$CONF"
look
found postgres.stream warning "no stream is running"
found postgres.full-page-writes warning
mends postgres.full-page-writes
found postgres.fsync warning
apply "$FIX"
found postgres.synchronous warning
found postgres.slot-limit warning
apply "$FIX"
found postgres.unlogged warning
apply "$FIX"
found postgres.slot-other warning "forgotten"
apply "$FIX"
found postgres.wal-disk warning
apply "$FIX"
found postgres.password warning
sed -i "s| password=hunter2||" "$CONF"
sql "ALTER SYSTEM RESET synchronous_standby_names" && sql "SELECT pg_reload_conf()" >/dev/null
look
for id in fsync synchronous slot-limit unlogged slot-other password wal-disk
do
	is_well "postgres.$id"
done
sql "ALTER SYSTEM SET fsync = off" && sql "SELECT pg_reload_conf()" >/dev/null

# -- the extension ---------------------------------------------------------------------------------------------------
sql "CREATE EXTENSION mbackup"
look
is_well postgres.extension
sed -i "s/^default_version.*/default_version = '9.9'/" "$EXTENSION_DIR/mbackup.control"
version=$(sql "SELECT extversion FROM pg_extension WHERE extname = 'mbackup'")
echo "SELECT 1;" >"$EXTENSION_DIR/mbackup--$version--9.9.sql"
look
found postgres.extension warning
mends postgres.extension

# -- rights ---------------------------------------------------------------------------------------------------------
sql "CREATE ROLE poor LOGIN; GRANT pg_monitor TO poor"
sed -i "s|user=mbtest|user=poor|" "$CONF"
look
found postgres.privilege-replication failed
mends postgres.privilege-replication
found postgres.privilege-backup failed
mends postgres.privilege-backup
found postgres.privilege-restore-point failed
mends postgres.privilege-restore-point
sed -i '1i local replication poor reject' "$PGDATA/pg_hba.conf"; sql "SELECT pg_reload_conf()" >/dev/null
look
found postgres.replication-connection failed
FIX=${FIX/ peer/ trust}
mends postgres.replication-connection
sed -i '1i local postgres poor reject' "$PGDATA/pg_hba.conf"; sql "SELECT pg_reload_conf()" >/dev/null
look
found postgres.connection failed
sed -i '1d' "$PGDATA/pg_hba.conf"; sql "SELECT pg_reload_conf()" >/dev/null
look
is_well postgres.connection
sed -i "s|user=poor|user=mbtest|" "$CONF"
sed -i "/^conninfo/a method = direct" "$CONF"
chmod 000 "$PGDATA/postmaster.pid"
look
found postgres.data-directory failed
chmod 600 "$PGDATA/postmaster.pid"
sed -i '/^method/d' "$CONF"
look
is_well postgres.data-directory

# -- archive_command ---------------------------------------------------------------------------------------------------
sql "ALTER SYSTEM SET archive_mode = on"; sql "ALTER SYSTEM SET archive_command = ''"
sql "ALTER SYSTEM SET max_replication_slots = 1"; sql "ALTER SYSTEM SET max_wal_senders = 1"
restart
sql "SELECT pg_create_physical_replication_slot('taken')" >/dev/null
# Somebody who receives, all the time.
pg_receivewal -D "$T" --slot taken >/dev/null 2>&1 & RECEIVER=$!; stack_owns "$RECEIVER"
wait_for 20 slot_active
look
found postgres.archive-empty warning
apply "$FIX"
found postgres.wal-senders failed
found postgres.slot failed "no replication slot is free"
apply "$FIX"
stack_kill "$RECEIVER"
sql "SELECT pg_drop_replication_slot('taken')" >/dev/null
look
is_well postgres.archive-empty
is_well postgres.wal-senders
found postgres.stream warning
sql "ALTER SYSTEM SET max_wal_senders = 10"
sql "ALTER SYSTEM SET archive_command = 'false %p'"; sql "SELECT pg_reload_conf()" >/dev/null
sql "SELECT pg_switch_wal()" >/dev/null
wait_for 60 sh -c "[ \"\$(psql -XAtc 'SELECT failed_count > 0 FROM pg_stat_archiver')\" = t ]"
look
found postgres.archive-failing warning
like "$FIX" "^cd .*/pg && false pg_wal/[0-9A-F]{24}$" "... the command as the server runs it"
found postgres.archive-other warning
mends postgres.archive-other
wait_for 60 sh -c "[ \"\$(psql -XAtc 'SELECT last_archived_time > last_failed_time FROM pg_stat_archiver')\" = t ]"
look
is_well postgres.archive-failing
sql "ALTER SYSTEM SET archive_mode = off"; sql "ALTER SYSTEM RESET archive_command"

# -- with a restart -----------------------------------------------------------------------------------------------------
sql "ALTER SYSTEM SET wal_level = minimal"; sql "ALTER SYSTEM SET max_wal_senders = 0"
restart
look
found postgres.wal-level failed
apply "$FIX"
look
found postgres.wal-senders failed
mends postgres.wal-senders
is_well postgres.wal-level
sql "ALTER SYSTEM SET max_wal_senders = 10"; sql "ALTER SYSTEM SET max_replication_slots = 10"
restart

# -- what stands in between ------------------------------------------------------------------------------------------------
tampered "$(free_port)" 8192=4096 pooler
(CONF=$T/tampered.conf; look)
found postgres.page-size failed
found postgres.direct-connection failed
stack_kill "$PROXY"
look
is_well postgres.direct-connection

# -- the stream, its slot, and gaps ------------------------------------------------------------------------------------------
printf 'ack = spool\nspool-limit = 1MiB\n' >>"$CONF"
start_stream || diag "$(cat "$T/stream.log")"
look
is_well postgres.stream
is_well postgres.slot
found postgres.ack warning
stack_kill "$STREAM"
mkdir -p "$T/spool/wal-postgres"; head -c 2000000 /dev/zero >"$T/spool/wal-postgres/waiting"
look
found postgres.spool failed
rm "$T/spool/wal-postgres/waiting"
sed -i '/^ack/d; /^spool-limit/d' "$CONF"
# A GiB of WAL of next to nothing.
for _ in $(seq 66); do echo "SELECT pg_switch_wal(); INSERT INTO w VALUES (1);"; done >"$T/switches"
sql "CREATE TABLE w (i int)"; psql -Xq -f "$T/switches" >/dev/null
look
found postgres.stream warning "its disk fills"
found postgres.lag warning
is_well postgres.ack
sql "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'" && sql "SELECT pg_reload_conf()" >/dev/null
sql "CHECKPOINT"
wait_for 20 sh -c "[ \"\$(psql -XAtc \"SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'mbackup'\")\" = lost ]" || sql "CHECKPOINT"
look
found postgres.slot failed "the history has a gap"
# Else the next checkpoint takes it away again.
sql "ALTER SYSTEM RESET max_slot_wal_keep_size" && sql "SELECT pg_reload_conf()" >/dev/null
start_stream
look
is_well postgres.slot
found postgres.gap warning
apply "$FIX" || diag "\"$FIX\" ended with $?: $(tail -n 5 "$T/fix.out") $(tail -n 5 "$T/stream.log")"
look
is_silent postgres.gap
is_silent postgres.lag
stack_kill "$STREAM"

# -- damage -------------------------------------------------------------------------------------------------------------------
sql "CREATE TABLE d AS SELECT g, repeat('x', 500) FROM generate_series(1, 100) g"; sql "CHECKPOINT"
file=$PGDATA/$(sql "SELECT pg_relation_filepath('d')")
stop_cluster "$PGDATA"
printf 'damage' | dd of="$file" bs=1 seek=9000 conv=notrunc 2>/dev/null
start_cluster "$PGDATA"
sql "SELECT count(*) FROM d" >/dev/null 2>&1
wait_for 20 sh -c "[ \"\$(psql -XAtc 'SELECT sum(checksum_failures) > 0 FROM pg_stat_database')\" = t ]"
look
found postgres.checksum-failures failed
sql "DROP TABLE d"
apply "${FIX##*mended: }"
wait_for 20 sh -c "[ \"\$(psql -XAtc 'SELECT sum(checksum_failures) FROM pg_stat_database')\" = 0 ]"
look
is_well postgres.checksum-failures
stop_cluster "$PGDATA"; pg_checksums --disable -D "$PGDATA" >/dev/null; start_cluster "$PGDATA"
look
found postgres.checksums warning
mends postgres.checksums

# -- other clusters ---------------------------------------------------------------------------------------------------------------
mb backup >/dev/null 2>&1
mb restore --yes --component "postgres=$T/r/pg" --port "$(free_port)" >"$T/restore.out" 2>&1 || diag "$(cat "$T/restore.out")"
start_cluster "$T/r/pg"
R_PORT=$(sed -n 4p "$T/r/pg/postmaster.pid")
wait_for 60 sh -c "[ \"\$(psql -XAt -p $R_PORT -c 'SELECT pg_is_in_recovery()')\" = f ]"
sql CHECKPOINT -p "$R_PORT"
sed "s|port=$PGPORT|port=$R_PORT|" "$CONF" >"$T/r.conf"; chmod 600 "$T/r.conf"
(CONF=$T/r.conf; look)
found postgres.timeline warning
found postgres.restored failed
MBACKUP_CONFIG=$T/r.conf apply "$FIX"
(CONF=$T/r.conf; look)
is_well postgres.restored
stop_cluster "$T/r/pg"
N_PORT=$(free_port)
"$PG_BIN/initdb" -D "$T/n" -U mbtest -A trust -N >/dev/null 2>&1
printf "port = %s\nlisten_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\n" "$N_PORT" "$T" >>"$T/n/postgresql.conf"
start_cluster "$T/n"
sed "s|port=$PGPORT|port=$N_PORT|" "$CONF" >"$T/n.conf"; chmod 600 "$T/n.conf"
(CONF=$T/n.conf; look)
found postgres.system-id failed
sed -i "/^conninfo/a standby = host=$T port=$N_PORT user=mbtest dbname=postgres" "$CONF"
look
found postgres.standby failed
sed -i '/^standby/d' "$CONF"
stop_cluster "$T/n"; touch "$T/n/standby.signal"; start_cluster "$T/n"
(CONF=$T/n.conf; look)
found postgres.primary failed
look
is_silent postgres.standby
is_well postgres.system-id
known_findings
done_testing
