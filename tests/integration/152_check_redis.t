#!/bin/bash
# Every condition of "mbackup check" about Redis, provoked on real servers: rights, buffers, persistence,
# eviction, replicas, clusters. The fix is run as it stands, and then nothing is wrong any more.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
. "$here/tests/lib/check.sh"
stack_redis || exit 1
stack_config
sed -i '/^\[objects/,/^$/d; /^\[files/,$d' "$CONF"
export PATH=$BUILD:$PATH MBACKUP_CONFIG=$CONF
mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }

# -- settings, all at once ------------------------------------------------------------------------------------------
# A replica keeps the backlog alive, and lets writes be taken.
replica=$(free_port)
mkdir "$T/replica"
redis-server --port "$replica" --bind 127.0.0.1 --dir "$T/replica" --save '' --replicaof 127.0.0.1 "$REDIS_PORT" >"$T/replica.log" 2>&1 & REPLICA=$!
stack_owns "$REPLICA"
wait_for 30 sh -c "redis-cli -p $replica info replication | grep -q master_link_status:up"
rcli config set repl-backlog-size 16384 >/dev/null
rcli config set min-replicas-to-write 1 >/dev/null
rcli config set repl-diskless-sync no >/dev/null
rcli config set maxmemory 500mb >/dev/null
rcli config set maxmemory-policy allkeys-lru >/dev/null
rcli config set client-output-buffer-limit "replica 1mb 1mb 10" >/dev/null
# A snapshot of the server's own that cannot be: its name is a directory.
mkdir "$T/redis/dump.rdb"
rcli bgsave >/dev/null
wait_for 20 sh -c "redis-cli -p $REDIS_PORT info persistence | grep -q rdb_last_bgsave_status:err"
(while redis-cli -p "$REDIS_PORT" set filler "$(head -c 4000 /dev/zero | tr '\0' x)" >/dev/null; do :; done) 2>/dev/null & WRITER=$!
stack_owns "$WRITER"
look
stack_kill "$WRITER"
found redis.backlog warning
apply "$FIX"
found redis.min-replicas warning
apply "$FIX"
found redis.diskless warning
apply "$FIX"
found redis.eviction warning
apply "$FIX"
found redis.output-buffer warning
apply "$FIX"
found redis.persistence warning
apply "$FIX"
found redis.save-failing warning
rmdir "$T/redis/dump.rdb"
apply "${FIX##*then }"
wait_for 20 sh -c "redis-cli -p $REDIS_PORT info persistence | grep -q rdb_last_bgsave_status:ok"
is "$(rcli config get min-replicas-to-write | tail -n 1)" 2 "min-replicas-to-write counts mbackup"
rcli config set min-replicas-to-write 0 >/dev/null
look
for id in reachable version role backlog min-replicas diskless eviction output-buffer persistence save-failing cluster-mode
do
	is_well "redis.$id"
done

# -- rights -----------------------------------------------------------------------------------------------------------
rcli acl setuser poor on '>secret' '~*' +@all -psync -replconf '-client|pause' >/dev/null
sed -i "/^url = redis/a user = poor\npassword = secret" "$CONF"
look
found redis.privilege-psync failed
apply "$FIX"
found redis.privilege-replconf failed
apply "$FIX"
found redis.privilege-pause failed
apply "$FIX"
look
for id in psync replconf pause
do
	is_well "redis.privilege-$id"
done
rcli acl setuser poor -info >/dev/null
look
found redis.privilege-info failed
rcli acl setuser poor +info >/dev/null

# Without a replica.
rcli acl setuser poor -psync -scan -dump -select -time -pexpiretime -pttl '-function|dump' >/dev/null
sed -i "/^user = poor/a capture = rdb" "$CONF"
look
found redis.snapshot warning "of one moment"
snapshot=$FIX
for id in scan dump select time expiry
do
	found "redis.privilege-$id" failed
	apply "$FIX"
done
found redis.privilege-functions warning
apply "$FIX"
look
is_well redis.privilege-keys
apply "$snapshot"
look
is_well redis.snapshot
sed -i '/^user = poor/d; /^password = secret/d; /^capture/d' "$CONF"

# -- another role, another version, another place ----------------------------------------------------------------------------
sed "s|127.0.0.1:$REDIS_PORT|127.0.0.1:$replica|" "$CONF" >"$T/replica.conf"; chmod 600 "$T/replica.conf"
redis-cli -p "$replica" replicaof 127.0.0.1 1 >/dev/null
wait_for 20 sh -c "redis-cli -p $replica info replication | grep -q master_link_status:down"
port=$(free_port)
python3 "$here/tests/lib/tamper_proxy.py" "$port" "$REDIS_PORT" "redis_version:$(rcli info server | sed -n 's/^redis_version:\(.\).*/\1=redis_version:/p')6" & PROXY=$!
stack_owns "$PROXY"
wait_for 10 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
printf '\n[redis:replica]\nurl = redis://127.0.0.1:%s\n[redis:old]\nurl = redis://127.0.0.1:%s\n[redis:gone]\nurl = redis://127.0.0.1:1\n' "$replica" "$port" >>"$CONF"
# Two nodes of a cluster that serve no slot yet.
start_node() # port bus
{
	mkdir "$T/node-$1"
	redis-server --port "$1" --bind 127.0.0.1 --dir "$T/node-$1" --save '' --appendonly no --cluster-enabled yes --cluster-port "$2" >"$T/node-$1.log" 2>&1 &
	stack_owns $!
	wait_for 20 redis-cli -p "$1" ping
}
node=$(free_port) other=$(free_port) bus=$(free_port)
start_node "$node" "$(free_port)"
start_node "$other" "$bus"
redis-cli -p "$node" cluster meet 127.0.0.1 "$other" "$bus" >/dev/null
printf '[redis:node]\nurl = redis://127.0.0.1:%s\n[redis:cluster]\nurl = cluster://127.0.0.1:%s\n' "$node" "$node" >>"$CONF"
look
found redis.role failed
found redis.version warning "relative expiries"
found redis.reachable failed "127.0.0.1:1"
found redis.cluster-mode failed
found redis.cluster failed
redis-cli -p "$node" cluster addslotsrange 0 16383 >/dev/null
wait_for 20 sh -c "redis-cli -p $node cluster info | grep -q cluster_state:ok"
# A slot on its way.
id=$(redis-cli -p "$other" cluster myid)
wait_for 20 sh -c "redis-cli -p $node cluster setslot 7 migrating $id | grep -q OK"
look --component cluster
is_well redis.cluster
found redis.cluster-slots warning
known_findings
done_testing
