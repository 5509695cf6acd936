#!/bin/bash
# Proves that a Redis behind TLS is backed up, marked and streamed with real certificates, and that every way in which TLS
# can fail is refused with a message of its own and a next step.  Proves also that an ACL user with exactly the documented
# rights is enough over TLS and over a unix socket, and that each right that is missing is named.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin

# -- certificates ----------------------------------------------------------------------------------------

authority() # name
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
		-keyout "$T/tls/$1.key" -out "$T/tls/$1.pem" 2>/dev/null
}

# A certificate of an authority for a subjectAltName; -days -1 makes one that has expired.
certificate() # authority name altname days
{
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
		-keyout "$T/tls/$2.key" -out "$T/tls/$2.csr" 2>/dev/null &&
		openssl x509 -req -in "$T/tls/$2.csr" -CA "$T/tls/$1.pem" -CAkey "$T/tls/$1.key" -CAcreateserial \
			-days "$4" -extfile <(echo "subjectAltName=$3") -out "$T/tls/$2.pem" 2>/dev/null &&
		chmod 600 "$T/tls/$2.key"
}

mkdir -p "$T/tls" "$T/spool"
ok "certificates are made" eval '
	authority ca && authority stranger &&
	certificate ca server "DNS:localhost,IP:127.0.0.1" 2 && certificate ca other DNS:redis.example.org 2 &&
	certificate ca old "DNS:localhost,IP:127.0.0.1" -1 && certificate ca client DNS:client 2 &&
	certificate stranger intruder DNS:intruder 2'

redis_config() # url [line for the section]...
{
	{
		printf '[global]\nspool = %s/spool\nworkers = 2\n\n[repository]\nurl = %s\n' "$T" "$REPO"
		printf 'key-file = %s/key\n\n[redis]\nurl = %s\n' "$T" "$1"
		shift
		printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}

# The refusal of a backup: exit status, message, next step.
refuses() # name status message hint
{
	run mb backup
	is "$status" "$2" "$1: exit status $2"
	like "$err" "$3" "$1: it says what"
	like "$err" "$4" "$1: it says what to do"
}

TLS_PORT=$(free_port)
SOCKET=$T/redis.sock
stack_redis --tls-port "$TLS_PORT" --tls-cert-file "$T/tls/server.pem" --tls-key-file "$T/tls/server.key" \
	--tls-ca-cert-file "$T/tls/ca.pem" --tls-auth-clients no --unixsocket "$SOCKET" --repl-backlog-size 64mb
head -c 48 /dev/urandom >"$T/key"
chmod 600 "$T/key"
CA="ca-file = $T/tls/ca.pem"
redis_config "rediss://localhost:$TLS_PORT" "$CA"
ok "init" mb init
rcli eval "math.randomseed(7) for i = 1, 20000 do redis.call('set', 'k' .. i, string.rep(tostring(math.random()), 10)) end" 0 >/dev/null

digest() { redis-cli -p "$1" debug digest; }
info_of() { rcli info "$1" | tr -d '\r' | sed -n "s/^$2:\(.*\)/\1/p"; }
start_redis_stream()
{
	start_stream
	wait_for 20 attached
}
attached() { rcli info replication | grep -q state=online; }

# Backup, stream under writes with the line broken again and again, mark, restore: exactly the source.
story() # name
{
	local i full
	ok "$1: check" mb check
	ok "$1: a backup" mb backup
	start_redis_stream
	full=$(info_of stats sync_full)
	for i in $(seq 6)
	do
		rcli eval "for i = 1, 3000 do redis.call('set', KEYS[1] .. i, string.rep(KEYS[1], 30)) end" 1 "$1$i" >/dev/null
		rcli client kill type replica >/dev/null
		sleep 0.3
	done
	ok "$1: a paused mark" mb mark --pause "$1"
	is "$(info_of stats sync_full)" "$full" "$1: every interruption went on without a full resync"
	stack_kill "$STREAM"
	ok "$1: restore" mb restore --to-mark "$1" --component "redis=$T/r-$1" --yes
	start_redis_on "$T/r-$1"
	is "$(digest "$RPORT")" "$(digest "$REDIS_PORT")" "$1: the digest is that of the source"
	stack_kill "$RPID"
}

story tls
rcli config set repl-diskless-sync no >/dev/null
ok "a backup by TLS of a server that syncs over its disk" mb backup
ok "restore" mb restore latest --component "redis=$T/disk" --yes
start_redis_on "$T/disk"
is "$(digest "$RPORT")" "$(digest "$REDIS_PORT")" "the digest is that of the source"
stack_kill "$RPID"
rcli config set repl-diskless-sync yes >/dev/null

# -- refusals --------------------------------------------------------------------------------------------------

redis_config "rediss://localhost:$TLS_PORT"
refuses "an authority that is not known" 2 "is not trusted" "Set ca-file"
redis_config "rediss://localhost:$TLS_PORT" "ca-file = $T/tls/stranger.pem"
refuses "another authority" 2 "is not trusted" "Set ca-file"
redis_config "rediss://localhost:$TLS_PORT" "ca-file = $T/tls/nothing.pem"
refuses "no such ca-file" 2 "could not use ca-file" "nothing.pem"
redis_config "rediss://127.0.0.2:$TLS_PORT" "$CA"
rcli config set bind "127.0.0.1 127.0.0.2" >/dev/null
refuses "an address that is not in the certificate" 2 'is not for "127.0.0.2"' "tls-server-name"
redis_config "rediss://127.0.0.2:$TLS_PORT" "$CA" "tls-server-name = localhost"
ok "tls-server-name names it" mb backup
redis_config "redis://127.0.0.1:$TLS_PORT"
refuses "plain text to a TLS port" 5 "closed the connection|answers with TLS|reset by peer" "rediss://"
redis_config "rediss://localhost:$REDIS_PORT" "$CA"
refuses "TLS to a plain port" 5 "TLS" "Does the server speak TLS"
redis_config "redis://127.0.0.1:$REDIS_PORT" "$CA"
refuses "ca-file without TLS" 2 "without TLS" "rediss://"
rcli config set tls-cert-file "$T/tls/old.pem" tls-key-file "$T/tls/old.key" >/dev/null
redis_config "rediss://localhost:$TLS_PORT" "$CA"
refuses "an expired certificate" 5 "has expired" "Renew"
rcli config set tls-cert-file "$T/tls/other.pem" tls-key-file "$T/tls/other.key" >/dev/null
refuses "another host's certificate" 2 'is not for "localhost"' "tls-server-name"
redis_config "rediss://localhost:$TLS_PORT" "$CA" "tls-server-name = redis.example.org"
ok "is taken by its name" mb backup
rcli config set tls-cert-file "$T/tls/server.pem" tls-key-file "$T/tls/server.key" tls-auth-clients yes >/dev/null

# -- client certificates -------------------------------------------------------------------------------------------

PAIR="client-cert = $T/tls/client.pem"
redis_config "rediss://localhost:$TLS_PORT" "$CA"
run mb backup
like "$status" '^[57]$' "a server that wants a client certificate refuses"
like "$err" "client-cert and client-key" "and the message says what to set"
redis_config "rediss://localhost:$TLS_PORT" "$CA" "$PAIR"
refuses "a certificate without its key" 2 "need each other" client-key
redis_config "rediss://localhost:$TLS_PORT" "$CA" "$PAIR" "client-key = $T/tls/client.key"
ok "a client certificate is enough" mb backup
chmod 644 "$T/tls/client.key"
refuses "a key that everybody may read" 7 "everybody may read it" "chmod 0600"
chmod 600 "$T/tls/client.key"
redis_config "rediss://localhost:$TLS_PORT" "$CA" "$PAIR" "client-key = $T/tls/server.key"
refuses "a key of another certificate" 2 "could not use client-key" "PEM key of client-cert"
redis_config "rediss://localhost:$TLS_PORT" "$CA" "client-cert = $T/tls/intruder.pem" "client-key = $T/tls/intruder.key"
run mb backup
like "$status" '^[57]$' "a stranger's client certificate is refused"
like "$err" "client-cert and client-key" "and the message says which are wanted"
openssl ec -in "$T/tls/client.key" -aes128 -passout pass:geheim -out "$T/tls/locked.key" 2>/dev/null
chmod 600 "$T/tls/locked.key"
redis_config "rediss://localhost:$TLS_PORT" "$CA" "$PAIR" "client-key = $T/tls/locked.key"
refuses "a key with a passphrase, without asking for it" 2 "could not use client-key" "without a passphrase"
rcli config set tls-protocols TLSv1.1 >/dev/null
redis_config "rediss://localhost:$TLS_PORT" "$CA" "$PAIR" "client-key = $T/tls/client.key"
run mb backup
like "$status" '^[59]$' "a server without TLS 1.2 is refused"
rcli config set tls-protocols TLSv1.2 >/dev/null
ok "TLS 1.2 is enough" mb backup
rcli config set tls-protocols "" >/dev/null

# -- a user with the least rights -------------------------------------------------------------------------------------

RIGHTS="+psync +replconf +info +client|pause +client|unpause"
rcli acl setuser backup on '>secret' resetchannels resetkeys -@all $RIGHTS >/dev/null
for url in "rediss://localhost:$TLS_PORT" "unix://$SOCKET"
do
	tls=("$CA" "$PAIR" "client-key = $T/tls/client.key")
	[[ $url == rediss* ]] || tls=()
	redis_config "$url" "${tls[@]}" 'user = backup' 'password = wrong'
	refuses "${url%%:*}: a wrong password" 7 "could not log in" "$([[ $url == rediss* ]] && echo user || echo password)"
	redis_config "$url" "${tls[@]}" 'user = backup' 'password = secret'
	story "${url%%:*}-user"
done

# Each right left out: the message names it.
for right in $RIGHTS
do
	command=${right#+}
	rcli acl setuser backup "-$command" >/dev/null
	run mb --json backup --pause
	like "$err$out" "refused .*'${command/|/\\|}' command" "without $right a paused backup says so"
	if [ "$command" = 'client|unpause' ]
	then
		is "$status$(json backup.cut.consistency <<<"$out")" 0ordered "and claims no pause"
	else
		is "$status" 7 "and is denied"
	fi
	case $command in client*) ;; *)
		run timeout 20 "$MBACKUP" --config "$CONF" stream
		is "$status" 7 "so is a stream"
		like "$err" "refused .*'$command' command" "which says so too"
	esac
	run mb check
	like "$err$out" "$command" "check names it"
	rcli acl setuser backup "$right" >/dev/null
done
rcli acl setuser backup '-client|pause' '-client|unpause' >/dev/null
ok "without a pause the rights to it are not needed" mb backup
rcli acl setuser backup '+client|pause' '+client|unpause' >/dev/null
ok "and all of them are enough again" mb backup --pause

done_testing
