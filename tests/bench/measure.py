"""measure.py - one sample to $BENCH_RESULTS, as a line of JSON.

    measure.py run SECTION WHAT WHO VERSUS DATA BYTES ROUND "SERVER-PID..." -- COMMAND...
    measure.py figure SECTION WHAT WHO VERSUS DATA BYTES ROUND VALUE UNIT [CPU-SECONDS [PEAK-KIB]]
    measure.py fact NAME TEXT

$BENCH_X, when it is set, is how large the data is: the sample is a point of a curve and no row of a table.

Times are those of the whole process as the kernel accounts them: wall clock, processor seconds of it and
of the children that it waited for, and the peak memory of the largest single process among them (a peer
of several processes has more in all).  BENCH_DETACHED: it leaves processes that it does not wait for, and
costs are not told.
"""
import json
import os
import sys
import tempfile
import time


def write(line):
    with open(os.environ["BENCH_RESULTS"], "a") as out:
        out.write(json.dumps(line) + "\n")


def head(words):
    section, what, who, versus, data, size, number = words
    line = {"section": section, "what": what, "who": who, "versus": versus, "data": data, "bytes": int(size), "round": int(number)}
    if os.environ.get("BENCH_X"):
        line["x"] = float(os.environ["BENCH_X"])
    return line


def processor_s(pids):
    times = (open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split() for pid in pids)
    return sum(int(t[11]) + int(t[12]) for t in times) / os.sysconf("SC_CLK_TCK")


def run(words, servers, command):
    with tempfile.TemporaryFile() as output:
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        before, begin = processor_s(servers), time.monotonic()
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        wall = time.monotonic() - begin
        code = os.waitstatus_to_exitcode(status)
        if code:
            output.seek(0)
            tail = output.read().decode(errors="replace").splitlines()[-8:]
            print(f"{words[1]} by {words[2]} failed ({code}):", *tail, sep="\n", file=sys.stderr)
            return 1
    line = head(words) | {"value": wall, "unit": "s"}
    if not os.environ.get("BENCH_DETACHED"):
        line |= {"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss}
    if servers:
        line["server_cpu"] = processor_s(servers) - before
    write(line)
    return 0


def main(argv):
    if argv[0] == "fact":
        write({"fact": argv[1], "text": argv[2]})
    elif argv[0] == "figure":
        line = head(argv[1:8]) | {"value": float(argv[8]), "unit": argv[9]}
        for name, text in zip(("cpu", "peak"), argv[10:]):
            if text:
                line[name] = float(text)
        write(line)
    else:
        return run(argv[1:8], argv[8].split(), argv[argv.index("--") + 1 :])
    return 0


sys.exit(main(sys.argv[1:]))
