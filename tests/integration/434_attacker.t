#!/bin/bash
# Proves, attack by attack, what docs/threat-model.md says: a repository that is set back, downgraded or swapped, a destination
# that somebody changes while it is written, a memory and an environment that others look at, keys and nonces that never meet
# twice, a server that lies. Also what is not found: these tests say so, and fail when it changes.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_config
in_bucket && skip_all "of a repository in a directory"
marker=SECRET-MARKER-8351
mkdir -p "$T/etc/a/b/c" "$T/etc/a/d"
for i in $(seq 40); do echo "$i" >"$T/etc/a/b/f$i"; echo "$i" >"$T/etc/a/b/c/g$i"; echo "$i" >"$T/etc/a/d/h$i"; done
echo one >"$T/objects/o1"
run mb init
is "$status" 0 "init"
# Besides the key file, which costs no scrypt, a passphrase.
printf 'correct-horse-%s\n' "$marker" >"$T/pass"
chmod 600 "$T/pass"
run mb key add --new-passphrase-file "$T/pass"
is "$status" 0 "a passphrase opens it too"
sed "s|^key-file = .*|passphrase-file = $T/pass|" "$CONF" >"$T/pass.conf"
sed '/^key-file = /d' "$CONF" >"$T/bare.conf"
chmod 600 "$T"/*.conf
run mb backup
is "$status" 0 "a backup"
cp -a "$REPO" "$T/old"
echo two >"$T/objects/o2"
run mb backup
is "$status" 0 "another one"
newest=$(mb list --json | json backups.1.id)

# -- replay and roll back ------------------------------------------------------------------------------------------------
# Another host: the same repository, nothing remembered.
sed "s|^spool = .*|spool = $T/spool-elsewhere|" "$CONF" >"$T/elsewhere.conf"
chmod 600 "$T/elsewhere.conf"
elsewhere() { "$MBACKUP" --config "$T/elsewhere.conf" "$@"; }
replace() { chmod -R u+w "$REPO"; rm -rf "$REPO"; cp -a "$1" "$REPO"; }
cp -a "$REPO" "$T/new"
replace "$T/old"
run mb verify
is "$status" 6 "an old copy of the whole repository: the machine that has written a younger one finds it"
like "$out$err" "set back" "... and says that it was set back"
run elsewhere verify
is "$status" 0 "an old copy of the whole repository: a machine that has never written to it cannot know"
replace "$T/new"
chmod -R u+w "$REPO"
id=$(mb list --json | json backups.1.components.0.backup)
rm -r "$REPO"/backups/*/"$id"
run elsewhere verify
is "$status" 6 "a commit that was removed: the set that names it tells"
replace "$T/new"
chmod -R u+w "$REPO"
for id in $(mb list --json | python3 -c 'import json, sys; print(*[c["backup"] for c in json.load(sys.stdin)["backups"][1]["components"]])'); do rm -r "$REPO"/backups/*/"$id"; done
rm "$REPO/sets/$newest"
run elsewhere verify
is "$status" 0 "the newest set removed with its commits: a machine that has never written to it cannot know"
run mb verify
is "$status" 6 "the newest set removed with its commits: the machine that has written it finds it"
run mb restore "$newest" --component "uploads=$T/gone"
is "$((status != 0))" 1 "... and what is gone is not restored from something else"
replace "$T/new"
run mb verify --read-data full
is "$status" 0 "with everything back it verifies"

# -- a downgrade: an unencrypted repository in the place of the encrypted one -------------------------------------------
sed -e "s|^url = $REPO|url = $T/plain|" -e 's|^key-file.*|encryption = none|' -e "s|^spool = .*|spool = $T/spool-plain|" "$CONF" >"$T/plain.conf"
chmod 600 "$T/plain.conf"
"$MBACKUP" --config "$T/plain.conf" init >/dev/null 2>&1
"$MBACKUP" --config "$T/plain.conf" backup >/dev/null 2>&1
replace "$T/plain"
for command in "backup" "list" "restore latest --component uploads=$T/x" "verify"
do
	run mb $command
	is "$((status != 0)) $([ -e "$T/x" ] && echo restored)" "1 " "a repository without encryption in the place of ours: ${command%% *} refuses (exit $status)"
done
diag "$err"
replace "$T/new"

# -- races: the destination is changed while it is written ----------------------------------------------------------------
cat >"$T/racer.py" <<'PY'
import os, random, sys, time
root, outside, stop = sys.argv[1:4]
places = [("", "a"), ("a", "b"), ("a/b", "c"), ("a", "d")]
flips = 0

def real(parent):
    """The directory itself, never by way of our own links."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    for segment in filter(None, parent.split("/")):
        try:
            below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd

while not os.path.exists(stop):
    parent, name = random.choice(places)
    try:
        fd = real(parent)
    except OSError:
        continue
    try:
        moved = False
        try:
            os.rename(name, name + ".moved", src_dir_fd=fd, dst_dir_fd=fd)
            moved = True
        except OSError:
            pass
        os.symlink(outside, name, dir_fd=fd)
        flips += 1
        time.sleep(random.random() / 500)
        os.unlink(name, dir_fd=fd)
        if moved:
            os.rename(name + ".moved", name, src_dir_fd=fd, dst_dir_fd=fd)
    except OSError:
        pass
    finally:
        os.close(fd)
    time.sleep(random.random() / 200)
print(flips)
PY
mkdir -p "$T/outside/b/c"
for i in f1 h1 b/f1 b/c/g1 c/g1; do mkdir -p "$(dirname "$T/outside/$i")"; echo keep >"$T/outside/$i"; done
chmod 0711 "$T/outside"
outside() { (cd "$T/outside" && find . -not -type l -printf '%p %y %m %s\n' | sort; cat f1 h1 b/f1 b/c/g1 c/g1) 2>&1; }
before=$(outside)
rounds=12 flips=0 done_well=0
[ -n "${MBACKUP_LONG:-}" ] && rounds=200
for i in $(seq $rounds)
do
	rm -f "$T/stop"
	python3 "$T/racer.py" "$T/race-$i$T/etc" "$T/outside" "$T/stop" >"$T/flips" &
	racer=$!
	stack_owns $racer
	"$MBACKUP" --config "$CONF" restore latest --component "config=$T/race-$i" >/dev/null 2>"$T/race.err" && done_well=$((done_well + 1))
	touch "$T/stop"
	wait $racer
	stack_forgets $racer
	flips=$((flips + $(cat "$T/flips")))
	rm -rf "$T/race-$i"
done
is "$(outside)" "$before" "symlinks put into the destination while it is written: nothing was written through them ($flips links, $done_well of $rounds restores came to their end)"
[ "$flips" -gt 0 ]
result "the racer has put links" $?

# -- modes, devices, links of the source ----------------------------------------------------------------------------------
mkdir -p "$T/etc/special"
echo x >"$T/etc/special/suid"
chmod 4755 "$T/etc/special/suid"
mkfifo "$T/etc/special/fifo"
ln -s /etc/passwd "$T/etc/special/link"
run mb backup --component config
is "$status" 0 "a backup of a tree with a FIFO, a setuid file and a link that leads out"
run mb restore latest --component "config=$T/special"
is "$(find "$T/special" -type p -o -type b -o -type c -o -type s | wc -l)" 0 "no device, FIFO or socket is made by a restore"
is "$(readlink "$T/special$T/etc/special/link")" /etc/passwd "a link that leads out is restored as a link"
is "$(stat -c %a "$T/special$T/etc/special/suid")" 4755 "a setuid file that its owner made is restored as one"

# -- what others can see of a running process -------------------------------------------------------------------------------
printf '[hooks]\nbefore-backup = env >%s\n' "$T/hook.env" >>"$T/bare.conf"
MBACKUP_PASSPHRASE=$(cat "$T/pass") "$MBACKUP" --config "$T/bare.conf" backup >"$T/hook.out" 2>&1
is "$? $(grep -c '^PATH=' "$T/hook.env") $(grep -c "$marker" "$T/hook.env")" "0 1 0" "a hook is not given the passphrase in its environment"
cd "$T" || exit 1
ulimit -c unlimited 2>/dev/null
"$MBACKUP" --config "$T/pass.conf" stream >"$T/stream.log" 2>&1 &
STREAM=$!
stack_owns $STREAM
scanned() { grep -q . "$T/stream.log" || [ -n "$(ls "$REPO/leases" 2>/dev/null)" ]; }
wait_for 30 scanned
is "$(tr '\0' '\n' <"/proc/$STREAM/cmdline" | grep -c "$marker")" 0 "no secret in the arguments"
(tr '\0' '\n' <"/proc/$STREAM/environ") >"$T/environ" 2>/dev/null
is "$(grep -c "$marker" "$T/environ")" 0 "no secret in the environment"
if [ "$(id -u)" != 0 ]
then
	python3 -c 'import sys; open(sys.argv[1], "rb").read(1)' "/proc/$STREAM/mem" 2>/dev/null
	is $? 1 "its memory cannot be read by another process of the same user"
	[ ! -r "/proc/$STREAM/environ" ]
	result "... nor its environment" $?
fi
kill -SEGV $STREAM
wait $STREAM 2>/dev/null
stack_forgets $STREAM
is "$(find "$T" -maxdepth 1 -name 'core*' | wc -l)" 0 "it leaves no core file when it is killed, where cores are allowed"
is "$(grep -rlaF "$marker" "$T/stream.log" "$T/spool" "$REPO" 2>/dev/null | wc -l)" 0 "no secret in log, spool or repository"
cd / || exit 1

# -- keys and nonces ------------------------------------------------------------------------------------------------------------
for i in $(seq 6); do echo "again $i" >"$T/objects/o1"; mb backup >/dev/null 2>&1; done
python3 - "$REPO" >"$T/nonces" <<'PY'
import os, sys
salts, frames, blobs, wrong = {}, 0, 0, []
for root, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(root, name)
        data = open(path, "rb").read()
        if name == "mbackup.json" or f"{os.sep}keys{os.sep}" in path:
            continue
        blobs += 1
        # suite AES, a salt of its own: its own key. Then frames 0, 1, 2 ...: each nonce once.
        if data[11] != 1 or data[16:32] in salts or data[16:32] == bytes(16):
            wrong.append(path)
        salts[data[16:32]] = path
        at, number = 32, 0
        while at + 16 <= len(data):
            if int.from_bytes(data[at:at + 4], "little") != number:
                wrong.append(f"{path} frame {number}")
            frames += 1
            number += 1
            last = data[at + 4] & 1
            at += 16 + int.from_bytes(data[at + 12:at + 16], "little")
            if last:
                break
print(len(wrong), blobs, frames, *wrong[:3])
PY
is "$?" 0 "the scan of all blobs came to its end"
read -r wrong blobs frames _ <"$T/nonces"
is "$wrong $((blobs > 30))" "0 1" "no key and nonce are used twice: $blobs blobs with a salt of their own, $frames frames numbered from 0"

# -- a Redis that lies ------------------------------------------------------------------------------------------------------------
cat >"$T/liar.py" <<'PY'
import socket, sys, threading
answer = {"length": b"$900000000000\r\n" + b"x" * 1000, "deep": b"*1\r\n" * 200000, "array": b"*2147483647\r\n", "rubbish": bytes(range(256)) * 400,
          "info": b"$64\r\n" + b"role:master\nmaster_replid:" + b"z" * 39 + b"\r\n"}[sys.argv[1]]
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
def serve(peer):
    try:
        while peer.recv(65536):
            peer.sendall(answer)
    except OSError:
        pass
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
PY
for lie in length deep info
do
	python3 "$T/liar.py" $lie >"$T/port" &
	liar=$!
	disown $liar
	stack_owns $liar
	wait_for 20 test -s "$T/port"
	printf '[global]\nspool = %s\n[repository]\nurl = %s\nencryption = none\n[redis]\nurl = redis://127.0.0.1:%s\n' "$T/spool-l" "$T/plain" "$(cat "$T/port")" >"$T/liar.conf"
	chmod 600 "$T/liar.conf"
	(ulimit -v 1500000; timeout 100 "$MBACKUP" --config "$T/liar.conf" backup --component redis >"$T/liar.out" 2>&1)
	code=$?
	is "$((code > 0 && code < 100))" 1 "a Redis that lies ($lie): exit $code, within 1.5 GB of address space" || diag "$(tail -n 3 "$T/liar.out")"
	stack_kill $liar
done
done_testing
