"""pictures.py - SVG without anything from outside: ratios as bars, growth as lines on logarithmic axes.

Readable on light and on dark ground: the text takes its colour from what the reader's system prefers.
"""
import html
import math
import statistics

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.faint { fill: #59636e; font-size: 12px }
.line { stroke: #8c959f; stroke-width: 1 }
.grid { stroke: #8c959f; stroke-width: 1; opacity: .25 }
.goal { stroke: #bf8700; stroke-width: 3 }
.spread { stroke: #1f2328; stroke-width: 1.5 }
.met { fill: #2da44e } .missed { fill: #cf222e } .plain { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint { fill: #9198a1 } .spread { stroke: #e6edf3 }
.met { fill: #3fb950 } .missed { fill: #f85149 } .plain { fill: #4493f8 } .goal { stroke: #d29922 }
}
</style>"""
COLOURS = ["#0969da", "#bf8700", "#2da44e", "#8250df", "#cf222e", "#1b7c83", "#bc4c00", "#bf3989", "#6e7781", "#4d2d00"]


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html.escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def save(path, width, height, parts, title):
    with open(path, "w") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" role="img">\n')
        out.write(f"<title>{html.escape(title)}</title>\n{STYLE}\n" + "\n".join(parts) + "\n</svg>\n")


def ratios(path, rows):
    """One bar for each comparison, from 1 to the ratio, on a logarithmic axis."""
    width, left, right, top, step = 1160, 640, 90, 70, 22
    low = min([0.5] + [r["least"] or r["ratio"] for r in rows])
    high = max([4.0] + [r["most"] or r["ratio"] for r in rows])
    low, high = max(low, 0.05), min(high, 1000)

    def at(value):
        value = min(max(value, low), high)
        return left + (width - left - right) * (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    parts = [text(10, 24, "How many times as fast mbackup is", kind="title")]
    parts.append(text(10, 44, "bar: ratio of medians; thin line: single rounds; yellow: the goal; green met, red missed, blue without a goal", kind="faint"))
    bottom = top + step * len(rows)
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if low <= tick <= high:
            parts.append(line(at(tick), top - 8, at(tick), bottom, "line" if tick == 1 else "grid"))
            parts.append(text(at(tick), bottom + 16, f"{tick:g} x", "middle", "faint"))
    for i, row in enumerate(rows):
        y = top + step * i
        kind = "plain" if row["goal"] is None else "met" if row["ratio"] >= row["goal"] else "missed"
        a, b = sorted((at(1), at(row["ratio"])))
        parts.append(text(left - 12, y + 12, f"{row['what']}, {row['data']}: {row['theirs'].who}", "end"))
        parts.append(f'<rect x="{a:.1f}" y="{y + 2}" width="{max(b - a, 1):.1f}" height="{step - 8}" class="{kind}"/>')
        if row["least"] is not None and row["least"] != row["most"]:
            parts.append(line(at(row["least"]), y + step / 2 - 2, at(row["most"]), y + step / 2 - 2, "spread"))
        if row["goal"] is not None:
            parts.append(line(at(row["goal"]), y, at(row["goal"]), y + step - 4, "goal"))
        parts.append(text(width - right + 12, y + 12, f"{row['ratio']:.2f} x"))
    save(path, width, bottom + 30, parts, "How many times as fast mbackup is")


def ticks(low, high):
    return [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def plot(parts, top, name, series):
    """One plot with its legend; the height that it took."""
    width, left, right, height = 960, 70, 400, 320
    points = {s: sorted((x, statistics.median(v["value"] for v in values)) for x, values in by_x.items()) for s, by_x in series.items()}
    xs = [x for p in points.values() for x, _ in p]
    ys = [y for p in points.values() for _, y in p]
    x_low, x_high = min(xs), max(max(xs), min(xs) * 1.01)
    y_low, y_high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys) * 1.0001))
    x_at = lambda x: left + (width - left - right) * math.log(x / x_low) / math.log(x_high / x_low)
    y_at = lambda y: top + 30 + height - height * math.log(y / y_low) / math.log(y_high / y_low)

    parts.append(text(10, top + 12, f"Seconds by {name}", kind="title"))
    for tick in ticks(y_low, y_high):
        parts += [line(left, y_at(tick), width - right, y_at(tick), "grid"), text(left - 8, y_at(tick) + 4, f"{tick:g} s", "end", "faint")]
    for tick in sorted(set(xs)):
        parts += [line(x_at(tick), y_at(y_low), x_at(tick), y_at(y_high), "grid"), text(x_at(tick), y_at(y_low) + 18, f"{tick:,g}" if tick < 1e4 else f"{tick:,.0f}", "middle", "faint")]
    for i, (label, line_points) in enumerate(points.items()):
        colour = COLOURS[i % len(COLOURS)]
        stroke = f'stroke="{colour}" stroke-width="2.5"' + ("" if "mbackup" in label else ' stroke-dasharray="6 3"')
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line_points)
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        parts += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in line_points]
        y = top + 40 + 20 * i
        parts.append(f'<line x1="{width - right + 20}" y1="{y}" x2="{width - right + 50}" y2="{y}" {stroke}/>')
        parts.append(text(width - right + 58, y + 4, label))
    return max(height, 20 * len(points)) + 80


def growth(path, plots):
    parts, top = [], 14
    for name, series in plots.items():
        top += plot(parts, top, name, series)
    save(path, 960, top + 10, parts, "How the time grows with the size")
