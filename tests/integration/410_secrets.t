#!/bin/bash
# An encrypted repository shows nothing of what it holds, from any component, and a wrong
# passphrase is told so within the time of one scrypt; no secret turns up in logs or arguments.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
stack_config
# A passphrase this time, so that scrypt takes part.
printf 'correct-horse-%s\n' "$RANDOM" >"$T/pass"
chmod 600 "$T/pass"
sed -i "s|^key-file = .*|passphrase-file = $T/pass|" "$CONF"
marker=PLAINTEXT-MARKER-4711
sql "CREATE TABLE secrets AS SELECT '$marker' || i AS t FROM generate_series(1, 1000) i"
rcli set "$marker-key" "$marker-value" >/dev/null
echo "$marker in an object" >"$T/objects/$marker.txt"
echo "$marker in a file" >"$T/etc/$marker.txt"
run mb init
is "$status" 0 "init with a passphrase"
start_stream
run mb backup --label "release=$marker"
is "$status" 0 "backup"
sql "INSERT INTO secrets VALUES ('$marker in the WAL')"
rcli set "$marker-later" 1 >/dev/null
run mb mark "$marker-mark"
is "$status" 0 "mark"
kill -TERM $STREAM
wait $STREAM
blobs save "$T/stored"
ok "there are stored files" test -e "$T/stored/mbackup.json"
is "$(grep -rlF "$marker" "$T/stored" | wc -l)" 0 "no stored file holds the marker"
is "$(find "$T/stored" -name "*$marker*" | wc -l)" 0 "no name of a stored file holds the marker"
is "$(grep -rlF "$(cat "$T/pass")" "$T/stored" "$T/stream.log" "$CONF" | wc -l)" 0 "the passphrase is nowhere"
is "$(grep -rlaF "$(id -un)" "$T/stored" | wc -l)" 0 "no owner's name either"

# The same blob twice has nothing in common: nonces and keys never meet again.
python3 - "$T/stored" <<'PY' >"$T/repeats"
import os, sys
seen, repeats, blocks = set(), 0, 0
for root, _, names in os.walk(sys.argv[1]):
    for name in names:
        if name == "mbackup.json" or "/keys/" in root + "/":
            continue
        data = open(os.path.join(root, name), "rb").read()
        at = 32
        while at + 16 <= len(data):
            # number u32, flags u8, codec u8, zero u16, plain_len u32, stored_len u32
            flags, stored = data[at + 4], int.from_bytes(data[at + 12:at + 16], "little")
            sealed = data[at + 16:at + 16 + stored]
            for i in range(0, len(sealed) - 15, 16):
                blocks += 1
                repeats += sealed[i:i + 16] in seen
                seen.add(sealed[i:i + 16])
            at += 16 + stored
            if flags & 1:
                break
print(repeats, blocks)
PY
read -r repeats blocks <"$T/repeats"
is "$repeats" 0 "no 16 bytes of ciphertext occur twice ($blocks blocks)"

seconds() { python3 -c "import subprocess, sys, time; t = time.time(); r = subprocess.run(sys.argv[1:], capture_output=True); print('%.2f %d' % (time.time() - t, r.returncode))" "$@"; }
read -r right code < <(seconds "$MBACKUP" --config "$CONF" info)
is "$code" 0 "the right passphrase opens it (${right} s)"
read -r wrong code < <(MBACKUP_PASSPHRASE=wrong seconds "$MBACKUP" --config "$CONF" info)
is "$code" 7 "a wrong passphrase: exit 7 (${wrong} s)"
ok "within the time of one scrypt" python3 -c "import sys; sys.exit(not $wrong < 2 * $right + 0.5)"
run env MBACKUP_PASSPHRASE=wrong "$MBACKUP" --config "$CONF" restore --component "uploads=$T/x"
is "$status" 7 "restore with a wrong passphrase: exit 7"
[ ! -e "$T/x" ]
result "and nothing made" $?
run mb restore --component "uploads=$T/y"
is "$(cat "$T/y/$marker.txt" 2>&1)" "$marker in an object" "with the right one it is all there"

# Unencrypted repositories exist, but never by accident.
sed -e "s|^url = $REPO|url = $REPO-plain|" -e 's|^passphrase-file.*|encryption = none|' "$CONF" >"$T/plain.conf"
chmod 600 "$T/plain.conf"
CONF=$T/plain.conf
run mb init
is "$status" 0 "a repository without encryption can be made"
run mb backup --component uploads
is "$status" 0 "and used"
sed -i 's|^encryption = none|encryption = aes-256-gcm|' "$CONF"
run mb list
is "$status" 6 "a configuration that demands encryption refuses it: exit 6"
sed -i 's|^encryption = .*|encryption = none|; s|^paths = |secrets = include\npaths = |' "$CONF"
run mb backup --component config
is "$status" 2 "secrets = include needs encryption: exit 2"
done_testing
