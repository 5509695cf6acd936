# small_disk.sh SIZE - a filesystem that can be full, at $MB_TMPFS, for as long as the test runs: sourced
# before stack.sh.  Root mounts it; the script then goes on as an unprivileged user (not by exec, so
# that the trap here runs afterwards):
#
#     . small_disk.sh 12m; . stack.sh; small_disk_stage; stack_begin
#
# Without root, or where nothing can be mounted, MB_TMPFS is not set.
if [ "$(id -u)" = 0 ] && [ -z "${STACK_STAGED:-}" ]
then
	MB_TMPFS=$(mktemp -d /tmp/mb-small.XXXXXX)
	if mount -t tmpfs -o size="$1",mode=777 tmpfs "$MB_TMPFS" 2>/dev/null
	then
		export MB_TMPFS
		trap 'umount -l "$MB_TMPFS"; rmdir "$MB_TMPFS"' EXIT
	else
		rmdir "$MB_TMPFS"
		unset MB_TMPFS
	fi
fi

# As root with a small disk: run the whole test as the other user, and end.
small_disk_stage()
{
	if [ "$(id -u)" = 0 ] && [ -n "${MB_TMPFS:-}" ]
	then
		(stack_begin)
		exit
	fi
}
