#!/bin/bash
# The stories of the whole stack with the repository in a bucket: most of them in a short form on Ceph, one on
# MinIO; kill -9 behind a proxy that loses answers. With MBACKUP_LONG all of them on both servers, in order and
# behind a proxy that does all sorts of harm at once, and kill -9 with each sort by itself.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin

# Each harm is rare: a story has thousands of requests one after the other.
everything='mode=lost&p=0.005 mode=slowdown&p=0.005 mode=truncate&p=0.005 mode=reset_after&p=0.005 mode=reset_middle&p=0.005 mode=error200_done&p=0.005&methods=PUT,POST mode=stall&p=0.005&seconds=1'

story() # server number-of-the-test harm...
{
	local server=$1 test code name started=$SECONDS

	test=$(basename "$(ls "$here/tests/integration/$2"_*.t)")
	shift 2
	env MBACKUP_SHORT=1 MBACKUP_TEST_REPOSITORY="$server" MBACKUP_TEST_FAULT="$*" \
		bash "$here/tests/integration/$test" >"$T/story.out" 2>&1
	code=$?
	[ "$code" = 0 ] || grep -v '^ok' "$T/story.out" | sed 's/^/# /' >&2
	case $* in
	"") name="" ;;
	"$everything") name=" with everything" ;;
	*) name=" with $*" ;;
	esac
	result "$server: $test$name ($(grep -c '^ok' "$T/story.out") tests, $((SECONDS - started)) s)" "$code"
}

if [ -z "${MBACKUP_LONG:-}" ]
then
	story ceph 420 'mode=lost&p=0.03'
	for number in 110 300 400 410
	do
		story ceph $number
	done
	s3_has_minio && story minio 400 || diag "no MinIO: Ceph alone"
	done_testing
fi

servers=ceph
s3_has_minio && servers="ceph minio" || diag "no MinIO: Ceph alone"
for server in $servers
do
	for number in 110 300 400 410 420 430 450 460 500
	do
		story $server $number
		# The peak of memory is that of an undisturbed run.
		[ $number = 450 ] || story $server $number $everything
	done
	for harm in 'mode=lost&p=0.1' 'mode=slowdown&p=0.1' 'mode=slowdown_plain&p=0.1' 'mode=truncate&p=0.1' \
		'mode=reset_before&p=0.1' 'mode=reset_middle&p=0.1&methods=PUT' 'mode=reset_after&p=0.1' \
		'mode=error200&p=0.1&methods=PUT,POST' 'mode=error200_done&p=0.1&methods=PUT,POST' \
		'mode=stall&p=0.05&seconds=1' 'mode=clock&offset=1200' 'mode=clock&offset=-1200'
	do
		story $server 420 "$harm"
	done
done
done_testing
