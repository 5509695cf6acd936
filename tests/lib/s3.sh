# s3.sh - sourced after stack.sh: throw-away S3 servers on loopback, and a judge of their contents
# that is not ours (boto3).
#
#     . "$(dirname "$0")/../lib/stack.sh"
#     . "$(dirname "$0")/../lib/s3.sh"
#     stack_begin
#     s3_ceph                       # Ceph's gateway, in memory; about three seconds
#     s3_minio || skip ...          # MinIO, when MBACKUP_TEST_MINIO or the PATH has one, else 1
#     judge mkbucket shop versioning
#     judge put shop a/b FILE --meta colour=red --tags 'x=1&y=2'
#     judge dump shop               # every version and marker: canonical, sorted, one line each
#     s3_proxy                      # from now on through a proxy ...
#     fault 'mode=lost&p=0.2&methods=PUT'     # ... that does harm: s3_proxy.py
#
# Each start exports S3_SERVER (ceph, minio), S3_ENDPOINT, S3_ACCESS and S3_SECRET; s3_use goes back
# to a server that runs already.  S3_PIDS has the processes of all of them.  They keep their data below
# $T and end with the test.

# The judge needs Debian's boto3.
S3_PYTHON=$(for p in /usr/bin/python3 python3; do "$p" -c 'import boto3' 2>/dev/null && { echo "$p"; break; }; done)

judge() { "$S3_PYTHON" "$here/tests/lib/s3_judge.py" "$@"; }

s3_export() # server endpoint access secret
{
	export S3_SERVER=$1 S3_ENDPOINT=$2 S3_ACCESS=$3 S3_SECRET=$4
}

s3_use() # ceph|minio
{
	case $1 in
	ceph) s3_export ceph "$S3_CEPH_URL" mbtestaccess mbtestsecret0123 ;;
	minio) s3_export minio "$S3_MINIO_URL" mbtestaccess mbtestsecret0123 ;;
	esac
}

# The lines of a configuration section that lead to the server: s3_keys >>"$CONF"
s3_keys()
{
	printf 'endpoint = %s\naccess-key = %s\nsecret-key = %s\n' "$S3_ENDPOINT" "$S3_ACCESS" "$S3_SECRET"
}

# -- Ceph ---------------------------------------------------------------------------------------

# One monitor, one OSD that keeps everything in memory, one gateway.  Without authentication between
# them there is no encryption either, which the gateway wants by default: ms mon client mode.  Without
# tcp_nodelay each answer with a body takes 40 ms, a delayed acknowledgement.
ceph_config() # directory monitor-port gateway-port
{
	cat <<-EOF
		[global]
		fsid = $(cat /proc/sys/kernel/random/uuid)
		mon host = v2:127.0.0.1:$2
		public addr = 127.0.0.1
		ms bind ipv6 = false
		ms mon client mode = crc
		auth cluster required = none
		auth service required = none
		auth client required = none
		run dir = $1
		admin socket =
		pid file =
		log file = $1/\$name.log
		log to stderr = false
		err to stderr = false
		mon cluster log file = $1/cluster.log
		mon data = $1/mon
		mon data avail crit = 0
		mon data avail warn = 0
		mon allow pool size one = true
		mon max pg per osd = 1000
		paxos propose interval = 0.05
		paxos min wait = 0.01
		osd data = $1/osd
		osd objectstore = memstore
		memstore device bytes = 8589934592
		osd fast shutdown = true
		osd crush chooseleaf type = 0
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 1
		osd pool default pgp num = 1
		osd pool default pg autoscale mode = off
		rgw data = $1/rgw
		rgw frontends = beast endpoint=127.0.0.1:$3 tcp_nodelay=1
		rgw dns name = s3.localhost
	EOF
}

# Which step failed stands in the log of the test.
ceph_start() # directory monitor-port
{
	local osd

	osd=$(cat /proc/sys/kernel/random/uuid)
	export CEPH_CONF=$1/ceph.conf
	mkdir -p "$1/mon" "$1/osd" "$1/rgw" &&
		monmaptool --create --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" --addv a "[v2:127.0.0.1:$2]" "$1/monmap" &&
		ceph-mon --mkfs -i a --monmap "$1/monmap" || return
	ceph-mon -f -i a &
	stack_owns $!
	S3_PIDS="${S3_PIDS:-} $!"
	timeout 60 ceph osd new "$osd" &&
		ceph-osd -i 0 --mkfs --osd-uuid "$osd" || return
	ceph-osd -f -i 0 &
	stack_owns $!
	S3_PIDS="${S3_PIDS:-} $!"
	timeout 120 radosgw-admin user create --uid mbtest --display-name mbtest \
		--access-key mbtestaccess --secret mbtestsecret0123 || return
	radosgw -f -n client.admin &
	stack_owns $!
	S3_PIDS="${S3_PIDS:-} $!"
}

s3_ceph()
{
	local monitor gateway

	if [ -z "${S3_CEPH_URL:-}" ]
	then
		monitor=$(free_port)
		gateway=$(free_port)
		mkdir -p "$T/ceph"
		ceph_config "$T/ceph" "$monitor" "$gateway" >"$T/ceph/ceph.conf"
		ceph_start "$T/ceph" "$monitor" >"$T/ceph/start.log" 2>&1 &&
			wait_for 60 curl -sf "http://127.0.0.1:$gateway/" ||
			{ tail -n 20 "$T/ceph/start.log" | sed 's/^/# /' >&2; return 1; }
		S3_CEPH_URL=http://127.0.0.1:$gateway
	fi
	s3_use ceph
}

# -- MinIO --------------------------------------------------------------------------------------

S3_MINIO_BIN=${MBACKUP_TEST_MINIO:-$(command -v minio)}

s3_has_minio() { [ -x "${S3_MINIO_BIN:-/nowhere}" ]; }

# 1: there is none.  s3_minio [NAME=VALUE...]: with these environment variables.
s3_minio()
{
	local port

	s3_has_minio || return 1
	if [ -z "${S3_MINIO_URL:-}" ]
	then
		port=$(free_port)
		mkdir -p "$T/minio"
		env MINIO_ROOT_USER=mbtestaccess MINIO_ROOT_PASSWORD=mbtestsecret0123 MINIO_BROWSER=off \
			MINIO_UPDATE=off "$@" "$S3_MINIO_BIN" server --quiet --address "127.0.0.1:$port" \
			"$T/minio" >"$T/minio.log" 2>&1 &
		S3_MINIO_PID=$!
		stack_owns "$S3_MINIO_PID"
		S3_PIDS="${S3_PIDS:-} $S3_MINIO_PID"
		S3_MINIO_URL=http://127.0.0.1:$port
		wait_for 60 curl -sf "$S3_MINIO_URL/minio/health/ready" ||
			{ tail -n 20 "$T/minio.log" | sed 's/^/# /' >&2; return 1; }
	fi
	s3_use minio
}

# -- users ----------------------------------------------------------------------------------------

# A user who may do what a policy (IAM JSON) says.  Ceph: a user without a policy, whom only bucket
# policies can let in.
s3_user() # access-key secret-key policy-file
{
	case $S3_SERVER in
	minio) judge minio-user "$@" ;;
	ceph) radosgw-admin user create --uid "$1" --display-name "$1" --access-key "$1" --secret "$2" >/dev/null ;;
	esac
}

# -- harm -------------------------------------------------------------------------------------------

# A proxy before the present server; S3_ENDPOINT leads through it, s3_use goes back to the server.
s3_proxy() # [option of s3_proxy.py...]
{
	local port scheme=http

	port=$(free_port)
	S3_CONTROL=$(free_port)
	python3 "$here/tests/lib/s3_proxy.py" --listen "$port" --control "$S3_CONTROL" \
		--server "${S3_ENDPOINT#http://}" "$@" >>"$T/proxy.log" 2>&1 &
	S3_PROXY_PID=$!
	stack_owns "$S3_PROXY_PID"
	case " $* " in *" --tls "*) scheme=https ;; esac
	wait_for 20 curl -sf "http://127.0.0.1:$S3_CONTROL/counts" || return
	export S3_ENDPOINT=$scheme://127.0.0.1:$port
}

fault() { curl -gsf "http://127.0.0.1:$S3_CONTROL/set?$1"; }
fault_too() { curl -gsf "http://127.0.0.1:$S3_CONTROL/add?$1"; }
# How often: fault_count lost
fault_count() { curl -sf "http://127.0.0.1:$S3_CONTROL/counts" | awk -v what="$1" '$1 == what { n = $2 } END { print n + 0 }'; }
