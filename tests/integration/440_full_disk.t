#!/bin/bash
# A full disk, under the repository or under the target of a restore: a clear error, exit 8, nothing
# half-made; and when there is room again, the next run just works.

. "$(dirname "$0")/../lib/small_disk.sh" 12m
. "$(dirname "$0")/../lib/stack.sh"
[ -z "${MBACKUP_TEST_REPOSITORY:-}" ] || skip_all "a bucket has no disk of ours that could fill up"
[ -n "${MB_TMPFS:-}" ] || skip_all "cannot mount a tmpfs here"
small_disk_stage
stack_begin
REPO=$MB_TMPFS/repo
stack_config
run mb init
is "$status" 0 "init on a small filesystem"
head -c 2000000 /dev/urandom >"$T/objects/small"
run mb backup
is "$status" 0 "a backup that fits"
head -c 30000000 /dev/urandom >"$T/objects/large"
run mb backup
[ "$status" = 3 ] || [ "$status" = 8 ]
result "a component that does not fit: partial, or (no room for the rest either) exit 8" $?
like "$err" "[Nn]o space|space" "the reason is said"
run mb backup --component uploads
is "$status" 8 "a backup of nothing else: exit 8"
run mb verify --read-data full
is "$status" 0 "the repository verifies all the same"
[ "$status" = 0 ] || diag "$out$err"
is "$(find "$REPO" -name '.tmp-*' | wc -l)" 0 "no temporary file is left"
rm "$T/objects/large"
mkdir -p "$MB_TMPFS/x"
run mb restore --component "uploads=$T/r"
is "$status" 0 "what was backed up before can be restored"
ok "and is right" cmp "$T/objects/small" "$T/r/small"
dd if=/dev/zero of="$MB_TMPFS/fill" bs=64k >/dev/null 2>&1
run mb backup --component config
is "$status" 8 "not a byte left: exit 8"
run mb list
is "$status" 0 "not a byte left: list still works"
run mb restore --component "uploads=$T/r2"
is "$status" 0 "not a byte left: restore still works"
rm "$MB_TMPFS/fill"
run mb backup
is "$status" 0 "room again: the next backup just works"

# The target of a restore.
run mb restore --component "uploads=$MB_TMPFS/target"
is "$status" 0 "a restore that fits"
rm -rf "$MB_TMPFS/target"
dd if=/dev/zero of="$MB_TMPFS/fill" bs=64k >/dev/null 2>&1
truncate -s -500000 "$MB_TMPFS/fill"
run mb restore --component "uploads=$MB_TMPFS/target"
is "$status" 8 "a restore that does not fit: exit 8"
[ ! -e "$MB_TMPFS/target" ] || [ -z "$(ls -A "$MB_TMPFS/target")" ]
result "and leaves nothing half-made" $?
done_testing
