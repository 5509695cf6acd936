#!/usr/bin/python3
"""metrics.py - read /metrics with the parser of prometheus_client, which is not ours.

    metrics.py FILE                      every sample, one a line: name{label="value",...} value
    metrics.py FILE NAME [LABEL=VALUE]   the value of one sample; nothing when there is none
"""
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

with open(sys.argv[1], encoding="utf-8", newline="") as file:
    families = list(text_string_to_metric_families(file.read()))
samples = [s for f in families for s in f.samples]
if len(sys.argv) == 2:
    for family in families:
        if not family.documentation or family.type == "unknown":
            sys.exit(f"{family.name}: no HELP or TYPE")
        if family.name.endswith(("_seconds", "_bytes")) and not family.unit:
            sys.exit(f"{family.name}: no UNIT")
    for s in samples:
        print(s.name + "{" + ",".join(f"{k}={v!r}" for k, v in sorted(s.labels.items())) + "}", s.value)
    sys.exit()
wanted = dict(a.split("=", 1) for a in sys.argv[3:])
for s in samples:
    if s.name == sys.argv[2] and wanted.items() <= s.labels.items():
        print(f"{s.value:.6f}".rstrip("0").rstrip("."))
