#!/bin/bash
# The S3 client against real servers: odd keys and queries, failures told apart, many requests at once.
# Through a proxy that does harm nothing acknowledged is lost and nothing is guessed.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
STACK_STAGE=tests/unit/s3_client_test
stack_begin

export S3_BUCKET=mb-client CMOCKA_MESSAGE_OUTPUT=STDOUT
client() { "$BUILD/tests/unit/s3_client_test"; }
harm() { env S3_HARM="${1:-any}" "$BUILD/tests/unit/s3_client_test"; }

story() # server
{
	local mode

	judge mkbucket mb-client
	ok "$1: the client does what it says" client
	s3_proxy --seed 7 || return
	# Duplicated and shortened bodies agree with their length: whoever knows better sees it, see 61x.
	for mode in slowdown slowdown_plain error200_done truncate reset_before reset_middle reset_after lost
	do
		fault "mode=$mode&p=0.3$([ $mode = error200_done ] && echo '&methods=PUT')" >"$T/fault.out"
		ok "$1: $mode: nothing is lost" harm
		ok "$1: $mode: the proxy did it" [ "$(fault_count $mode)" -gt 3 ]
	done
	fault 'mode=stall&skip=3&times=2&seconds=30' >"$T/fault.out"
	ok "$1: stall: given up after some seconds of silence" harm
	fault 'mode=slowdown&on=1&off=3' >"$T/fault.out"
	ok "$1: storms: waited for to pass" harm
	fault 'mode=clock&offset=1200' >"$T/fault.out"
	ok "$1: a clock 20 minutes off: learnt from the server" harm
	fault 'mode=lost&methods=PUT' >"$T/fault.out"
	ok "$1: an unclear outcome is told, not repeated" harm lost
	fault 'mode=none' >"$T/fault.out"
}

s3_ceph && story ceph
if s3_has_minio
then
	s3_minio && story minio
else
	diag "no minio on the PATH: skipped there"
fi
done_testing
