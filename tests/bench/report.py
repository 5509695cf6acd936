"""report.py - samples of the benchmarks (measure.py) as tables and pictures.

    report.py RESULTS... [--markdown FILE] [--svg FILE] [--check SECTION...]

The tables go to stdout, or into FILE: between its two marker lines when it has them, else alone.  --svg draws the
ratios into FILE and what grows into FILE with "-growth" before its suffix.  --check: fail unless each section has
a figure of ours.
"""
import argparse
import json
import statistics
import sys

import pictures

BEGIN = "<!-- figures: begin (tests/bench/run writes what stands between) -->"
END = "<!-- figures: end -->"

# (section, what begins with, peer begins with, least ratio): how many times as good ours must be.
RATIO_GOALS = [
    ("full", "full backup", "pgBackRest", 2.0),
    ("full", "full backup", "zstd -1 on every core", 0.85),
    ("restore", "restore", "pgBackRest", 1.5),
    ("incremental", "1 % of the pages changed", "its full backup", 5.0),
    ("wal", "catching up", "pg_receivewal", 1.0),
    ("wal-get", "recovery", "cp", 0.9),
]
# (section, key, bound, text): of every figure of ours there.
BOUND_GOALS = [
    ("verify", "value", lambda v: v >= 1.0, ">= 1 GB/s a core"),
    ("memory", "peak", lambda v: v <= 256 * 1024, "<= 256 MiB"),
]
SECTIONS = ["full", "restore", "incremental", "wal", "wal-get", "commits", "verify", "files", "objects", "redis", "stack", "expire", "memory", "growth"]


def read(paths):
    samples, facts = [], {}
    for path in paths:
        for line in open(path):
            sample = json.loads(line)
            if "fact" in sample:
                facts.setdefault(sample["fact"], []).append(sample["text"])
            elif sample["round"] > 0:
                samples.append(sample)
    return samples, {name: list(dict.fromkeys(texts)) for name, texts in facts.items()}


class Figure:
    """All samples of one (section, what, data, who)."""

    def __init__(self):
        self.by_round = {}
        self.samples = []

    def add(self, sample):
        self.samples.append(sample)
        self.by_round[sample["round"]] = sample["value"]
        self.unit, self.versus, self.who = sample["unit"], sample["versus"], sample["who"]

    def median(self, key="value"):
        values = [s[key] for s in self.samples if key in s]
        return statistics.median(values) if values else None

    def most(self, key):
        values = [s[key] for s in self.samples if key in s]
        return max(values) if values else None

    def text(self, key="value", unit=None):
        values = [s[key] for s in self.samples if key in s]
        if not values:
            return "-"
        unit = self.unit if unit is None else unit
        middle = f"{number(statistics.median(values))} {unit}"
        return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def groups_of(samples):
    groups = {}
    for sample in samples:
        if "x" in sample:
            continue
        key = (sample["section"], sample["what"], sample["data"])
        groups.setdefault(key, {}).setdefault(sample["who"], Figure()).add(sample)
    place = {name: i for i, name in enumerate(SECTIONS)}
    return dict(sorted(groups.items(), key=lambda item: place.get(item[0][0], 99)))


def is_ours(who):
    return who.startswith("mbackup")


def ratio(ours, theirs):
    """How many times as good ours is: the ratio of the medians, and the least and the most of one round."""
    better = (lambda a, b: b / a) if ours.unit == "s" else (lambda a, b: a / b)
    rounds = [better(ours.by_round[r], theirs.by_round[r]) for r in ours.by_round if r in theirs.by_round]
    return better(ours.median(), theirs.median()), min(rounds, default=None), max(rounds, default=None)


def comparisons(groups):
    for (section, what, data), figures in groups.items():
        for who, theirs in figures.items():
            if is_ours(who) or theirs.versus not in figures:
                continue
            ours = figures[theirs.versus]
            middle, least, most = ratio(ours, theirs)
            goal = next((g for s, w, p, g in RATIO_GOALS if s == section and what.startswith(w) and (who == p or who.startswith(p + " ")) and ", uncompressed" not in what), None)
            yield {"section": section, "what": what, "data": data, "ours": ours, "theirs": theirs, "ratio": middle, "least": least, "most": most, "goal": goal}


def by_processor(c):
    """Of the client alone; rates are told for each processor second already, or have none."""
    ours, theirs = c["ours"].median("cpu"), c["theirs"].median("cpu")
    return f"{theirs / ours:.2f} x" if ours and theirs and c["ours"].unit == "s" else ""


def compared_table(groups):
    rows = ["| What | Data | mbackup | Peer | its figure | mbackup is | by processor time | Goal | Met |", "|---|---|---|---|---|---|---|---|---|"]
    for c in comparisons(groups):
        name = c["ours"].who.removeprefix("mbackup").lstrip(", ")
        spread = "" if c["least"] is None or len(c["ours"].samples) == 1 else f" ({c['least']:.2f} to {c['most']:.2f})"
        goal, met = "", ""
        if c["goal"] is not None:
            goal, met = f"{c['goal']:g} x", "yes" if c["ratio"] >= c["goal"] else "**no**"
        ours = c["ours"].text() + (f", {name}" if name else "")
        rows.append(f"| {c['what']} | {c['data']} | {ours} | {c['theirs'].who} | {c['theirs'].text()} | **{c['ratio']:.2f} x**{spread} | {by_processor(c)} | {goal} | {met} |")
    return rows


def bound_table(groups):
    rows = []
    for section, key, holds, text in BOUND_GOALS:
        for (s, what, data), figures in groups.items():
            for who, figure in figures.items():
                if s != section or not is_ours(who):
                    continue
                value = figure.most(key) if key == "peak" else figure.median(key)
                shown = f"{value / 1024:.0f} MiB" if key == "peak" else figure.text(key)
                rows.append(f"| {what}{who.removeprefix('mbackup')} | {data} | {shown} | {text} | {'yes' if holds(value) else '**no**'} |")
    return ["| What | Data | Figure | Goal | Met |", "|---|---|---|---|---|"] + rows if rows else []


def cost_table(groups):
    rows = ["| What | Data | Who | Figure | MiB/s | Processor s | of the server | Peak memory |", "|---|---|---|---|---|---|---|---|"]
    for (section, what, data), figures in groups.items():
        for who, f in sorted(figures.items(), key=lambda item: (not is_ours(item[0]), item[0])):
            cpu, peak, server, size = f.median("cpu"), f.most("peak"), f.median("server_cpu"), f.samples[0]["bytes"]
            speed = f"{size / 2**20 / f.median():.0f}" if size and f.unit == "s" else ""
            cells = [number(v) if v is not None else "" for v in (cpu, server)] + [f"{peak / 1024:.0f} MiB" if peak else ""]
            rows.append(f"| {what} | {data} | {who} | {f.text()} | {speed} | " + " | ".join(cells) + " |")
    return rows


def growth_of(samples):
    """{plot: {series: [(x, median)]}} of the samples with an x."""
    plots = {}
    for s in samples:
        if "x" in s:
            plots.setdefault(s["data"], {}).setdefault(f"{s['what']}, {s['who']}", {}).setdefault(s["x"], []).append(s)
    return {plot: dict(sorted(series.items(), key=lambda item: ("mbackup" not in item[0], item[0]))) for plot, series in plots.items()}


def growth_table(plots):
    lines = []
    for plot, series in plots.items():
        xs = sorted({x for points in series.values() for x in points})
        lines += ["", f"| {plot} | " + " | ".join(f"{x:,.0f}" if x >= 100 else f"{x:g}" for x in xs) + " |", "|---|" + "---|" * len(xs)]
        for name, points in series.items():
            cells = []
            for x in xs:
                if x not in points:
                    cells.append("")
                    continue
                peak = max((s.get("peak", 0) for s in points[x]), default=0)
                cells.append(f"{number(statistics.median(s['value'] for s in points[x]))} s" + (f", {peak / 1024:.0f} MiB" if peak else ""))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def page(samples, facts):
    groups = groups_of(samples)
    rounds = sorted({s["round"] for s in samples})
    lines = [f"Measured with: {'; '.join(t for n, ts in facts.items() if n != 'left out' for t in ts)}."]
    if "left out" in facts:
        lines.append(f"Left out, because they are not here: {', '.join(facts['left out'])}.")
    lines += [f"Medians of {max(rounds, default=0)} rounds at most, with the least and the most of them; \"2.00 x\" means twice as fast, and in brackets stand the ratios of single rounds. Beside it the same of the processor seconds of both, which say less about the disk and the neighbours.", ""]
    lines += compared_table(groups)
    bounds = bound_table(groups)
    if bounds:
        lines += [""] + bounds
    lines += ["", "What it cost: processor seconds of the client (and of the server, where it is on this machine), and the peak memory of its largest process.", ""]
    lines += cost_table(groups)
    plots = growth_of(samples)
    if plots:
        lines += ["", "How it grows:"] + growth_table(plots)
    return "\n".join(lines) + "\n"


def write_page(path, text):
    try:
        with open(path) as old:
            before = old.read()
    except FileNotFoundError:
        before = ""
    if BEGIN in before and END in before:
        text = before[: before.index(BEGIN)] + BEGIN + "\n\n" + text + "\n" + before[before.index(END) :]
    with open(path, "w") as out:
        out.write(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results", nargs="+")
    parser.add_argument("--markdown")
    parser.add_argument("--svg")
    parser.add_argument("--check", nargs="*", default=[])
    options = parser.parse_args()
    samples, facts = read(options.results)
    text = page(samples, facts)
    if options.markdown:
        write_page(options.markdown, text)
    else:
        print(text, end="")
    if options.svg:
        pictures.ratios(options.svg, list(comparisons(groups_of(samples))))
        pictures.growth(options.svg.removesuffix(".svg") + "-growth.svg", growth_of(samples))
    missing = [s for s in options.check if not any(x["section"] == s and is_ours(x["who"]) for x in samples)]
    for section in missing:
        print(f"{section}: no figure of ours", file=sys.stderr)
    return 1 if missing else 0


sys.exit(main())
