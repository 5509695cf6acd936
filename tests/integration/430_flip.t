#!/bin/bash
# Flipping any single bit of any stored file is found by verify --read-data full, which names the
# backups concerned and exits with 6; a restore refuses what is damaged and leaves nothing behind.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
stack_postgres || exit 1
stack_redis || exit 1
flips=60
PLACE=$REPO
[ -n "${MBACKUP_LONG:-}" ] && flips=500
[ -n "${MBACKUP_SHORT:-}" ] && flips=16

flip_rounds() # suite count
{
	local suite=$1 count=$2
	PYTHONPATH=$here/tests/lib "${S3_PYTHON:-python3}" - "$MBACKUP" "$CONF" "$REPO" "$T" "$count" "$suite" <<'PY'
import json, os, random, shutil, subprocess, sys
import blobs
mbackup, conf, repo, tmp, count, suite = sys.argv[1:7]
count = int(count)
random.seed(int.from_bytes(os.urandom(4), "big"))

def run(*args):
    return subprocess.run([mbackup, "--config", conf, *args], capture_output=True, text=True, errors="replace")

def tree(path):
    out = {}
    for root, _, names in os.walk(path):
        for name in names:
            full = os.path.join(root, name)
            out[os.path.relpath(full, path)] = open(full, "rb").read()
    return out

stored = blobs.at(repo)

def by_kinds():
    """Anew for each round: verify writes what it has read, and replaces what it wrote before."""
    kinds = {}
    for name in stored.names():
        kinds.setdefault(name.split("/")[0], []).append(name)
    return kinds

good = {}
for name in ("uploads", "config", "redis"):
    r = run("restore", "--component", f"{name}={tmp}/good-{suite}-{name}")
    assert r.returncode == 0, r.stderr
    good[name] = tree(f"{tmp}/good-{suite}-{name}")

missed, unnamed, wrong, silent, found = [], [], [], [], {}
for i in range(count):
    # Every kind of file in turn, so that the few small ones are hit as often as the packs.
    by_kind = by_kinds()
    k = sorted(by_kind)[i % len(by_kind)]
    victim = random.choice(by_kind[k])
    data = bytearray(stored.read(victim))
    # Half of the flips in the first 256 bytes, where the headers are.
    limit = min(len(data), 256) if i % 2 else len(data)
    at, bit = random.randrange(limit), random.randrange(8)
    data[at] ^= 1 << bit
    stored.write(victim, bytes(data))
    where = f"{victim} byte {at} bit {bit}"
    r = run("verify", "--read-data", "full", "--json")
    try:
        answer = json.loads(r.stdout)
    except ValueError:
        answer = {}
    if r.returncode != 6:
        missed.append(f"{where}: exit {r.returncode} {r.stderr.strip()[:200]}")
    elif k in ("packs", "backups", "streams"):
        problems = answer.get("verify", {}).get("problems", [])
        if not any(p["backups"] or "no backup needs it" in p["message"] for p in problems):
            unnamed.append(f"{where}: {json.dumps(problems)[:300]}")
    found[k] = found.get(k, 0) + 1
    if i % 3 == 0:
        for name in good:
            dest = f"{tmp}/flip"
            r = run("restore", "--component", f"{name}={dest}")
            if r.returncode == 0:
                if tree(dest) != good[name]:
                    silent.append(f"{where}: {name} restored differently")
            elif os.path.exists(dest) and os.listdir(dest):
                wrong.append(f"{where}: {name}: a failed restore left {os.listdir(dest)[:5]}")
            shutil.rmtree(dest, ignore_errors=True)
    data[at] ^= 1 << bit
    if victim in stored.names():
        stored.write(victim, bytes(data))
for what, bad in (("found, exit 6", missed), ("the backups concerned are named", unnamed),
                  ("nothing damaged was restored silently", silent), ("a refused restore left nothing", wrong)):
    for line in bad[:10]:
        print(f"# {line}")
    print(f"{'not ok' if bad else 'ok'} - {suite}: {count} flipped bits ({', '.join(f'{n} {k}' for k, n in sorted(found.items()))}): {what}")
PY
}

for suite in aes-256-gcm none
do
	REPO=$PLACE-$suite
	CONF=$T/$suite.conf
	[ $suite = none ] && stack_config none || stack_config
	mb init >/dev/null 2>&1 || { diag "init failed"; exit 1; }
	for i in $(seq 40); do head -c $((i * 700)) /dev/urandom >"$T/objects/o$i"; done
	printf 'A=1\nPASSWORD=x\n' >"$T/etc/a.env"
	head -c 100000 /dev/urandom >"$T/etc/data"
	for i in $(seq 100); do rcli set "k$i" "v$i" >/dev/null; done
	start_stream
	run mb backup
	is "$status" 0 "$suite: backup"
	rcli set later 1 >/dev/null
	sql "CREATE TABLE t_${RANDOM} AS SELECT generate_series(1, 1000)"
	run mb mark m
	is "$status" 0 "$suite: mark"
	kill -TERM $STREAM; wait $STREAM
	sql "SELECT pg_drop_replication_slot('mbackup')" >/dev/null
	rm -rf "$T/spool"
	run mb verify --read-data full
	is "$status" 0 "$suite: the undamaged repository verifies"
	[ "$status" = 0 ] || diag "$out$err"
	flip_rounds $suite $((flips / 2)) >"$T/judged"
	is $? 0 "$suite: the judge came to its end"
	while IFS= read -r line
	do
		case $line in
			ok*) result "${line#ok - }" 0 ;;
			"not ok"*) result "${line#not ok - }" 1 ;;
			*) diag "${line#\# }" ;;
		esac
	done <"$T/judged"
	run mb verify --read-data full
	is "$status" 0 "$suite: with every bit back in place it verifies again"
done

# A file that is cut, emptied, lost or swapped with its neighbour: done to a copy, which then takes the
# place of the repository.
blobs save "$T/safe"
first() { (cd "$T/safe" && find "$@" -type f | sort | head -n 1); }
pack=$(first packs)
other=$(cd "$T/safe" && find packs -type f | sort | tail -n 1)
damage() # name command...
{
	local name=$1
	shift
	cp -a "$T/safe" "$T/harmed"
	chmod -R u+w "$T/harmed"
	(cd "$T/harmed" && "$@") && blobs load "$T/harmed"
	result "$name" $?
	run mb verify --read-data full
	is "$status" 6 "$name: exit 6"
	blobs load "$T/safe"
	rm -rf "$T/harmed"
}
swap() { mv "$1" "$T/s"; mv "$2" "$1"; mv "$T/s" "$2"; }
damage "a pack that is cut" truncate -s -1 "$pack"
damage "a pack with a byte more" sh -c "printf x >>'$pack'"
damage "a pack that is empty" truncate -s 0 "$pack"
damage "a pack that is gone" rm "$pack"
damage "two packs swapped" swap "$pack" "$other"
damage "a commit that is gone" rm "$(first backups/redis)"
damage "a file that does not belong" sh -c "echo x >packs/stranger"
damage "all WAL gone" rm -r streams/postgres
run mb verify --read-data full
is "$status" 0 "with everything back in place it verifies"
done_testing
