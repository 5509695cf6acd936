#!/usr/bin/env python3
"""release_judge.py meta FILE DIRECTORY | sbom FILE PROGRAM... - what a release says about itself, against what it must say:
PGXN's Meta Spec 1.0.0 and CycloneDX 1.5.  A line for each thing that is wrong; the exit status is 1 when there is one."""
import json
import os
import re
import subprocess
import sys

SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-?[A-Za-z][0-9A-Za-z-]*)?$")
TERM = re.compile(r"[^\s/\\\x00-\x1f]{2,}$")
LICENCES = {"agpl_3", "apache_1_1", "apache_2_0", "artistic_1", "artistic_2", "bsd", "freebsd", "gfdl_1_2", "gfdl_1_3", "gpl_1", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit",
            "mozilla_1_0", "mozilla_1_1", "openssl", "perl_5", "postgresql", "qpl_1_0", "ssleay", "sun", "zlib", "open_source", "restricted", "unrestricted", "unknown"}
META_KEYS = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec", "description", "generated_by", "tags", "no_index", "prereqs", "release_status", "resources"}
SPDX = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "GPL-2.0-only", "LGPL-2.1-or-later", "MIT", "PostgreSQL", "curl"}
wrong = []


def must(condition, what):
    if not condition:
        wrong.append(what)


def text(value):
    return isinstance(value, str) and value.strip() != ""


def judge_meta(path, directory):
    with open(path, encoding="utf-8") as file:
        meta = json.load(file)
    for key in ("name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"):
        must(key in meta, f"{key} is required")
    for key in meta:
        must(key in META_KEYS or re.match(r"[xX]_", key), f"{key} is not in the specification")
    must(TERM.match(str(meta.get("name", ""))), "name is a term")
    must(SEMVER.match(str(meta.get("version", ""))), "version is semantic")
    must(text(meta.get("abstract")), "abstract is text")
    maintainer = meta.get("maintainer")
    must(text(maintainer) or isinstance(maintainer, list) and maintainer and all(map(text, maintainer)), "maintainer is text, or a list of it")
    licence = meta.get("license")
    must(licence in LICENCES if isinstance(licence, str) else isinstance(licence, (dict, list)) and licence, "license is one of the specification's")
    must(meta.get("meta-spec", {}).get("version") == "1.0.0" and meta["meta-spec"].get("url") in (None, "https://pgxn.org/meta/spec.txt", "http://pgxn.org/meta/spec.txt"), "meta-spec is 1.0.0")
    provides = meta.get("provides")
    must(isinstance(provides, dict) and provides, "provides names an extension")
    for name, item in (provides or {}).items():
        must(TERM.match(name), f"provides {name}: a term")
        must(SEMVER.match(str(item.get("version", ""))), f"provides {name}: version")
        for key in ("file", "docfile"):
            must(key != "file" or key in item, f"provides {name}: {key} is required")
            must(key not in item or os.path.isfile(os.path.join(directory, item[key])), f"provides {name}: {key} {item.get(key)} is not there")
        must(set(item) <= {"file", "version", "abstract", "docfile"}, f"provides {name}: unknown keys")
    must(meta.get("release_status", "stable") in ("stable", "testing", "unstable"), "release_status")
    must(all(map(text, meta.get("tags", ["a"]))) and len(set(meta.get("tags", []))) == len(meta.get("tags", [])), "tags are different texts")
    for phase, kinds in meta.get("prereqs", {}).items():
        must(phase in ("configure", "build", "test", "runtime", "develop"), f"prereqs: phase {phase}")
        for kind, needs in kinds.items():
            must(kind in ("requires", "recommends", "suggests", "conflicts"), f"prereqs: {kind}")
            must(all(re.match(r"(0$|((>=|<=|==|!=|<|>)\s*)?\d+\.\d+\.\d+)", v) for v in needs.values()), "prereqs: versions")


def judge_sbom(path, programs):
    with open(path, encoding="utf-8") as file:
        bom = json.load(file)
    must(bom.get("bomFormat") == "CycloneDX" and bom.get("specVersion") == "1.5", "bomFormat, specVersion")
    must(isinstance(bom.get("version"), int) and bom["version"] >= 1, "version is a number from 1")
    must(re.match(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", bom.get("serialNumber", "")), "serialNumber is a urn")
    must(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", bom["metadata"].get("timestamp", "")), "timestamp is of ISO 8601")
    root = bom["metadata"]["component"]
    everything = [root] + root.get("components", []) + bom["components"]
    refs = [c.get("bom-ref") for c in everything]
    must(None not in refs and len(set(refs)) == len(refs), "bom-refs are there, and different")
    for c in everything:
        must(c.get("type") in ("application", "library", "file") and text(c.get("name")), f"{c}: type and name")
        for h in c.get("hashes", []):
            must(h["alg"] == "SHA-256" and re.match(r"[0-9a-f]{64}$", h["content"]), f"{c['name']}: hash")
    for c in [root] + bom["components"]:
        must(text(c.get("version")), f"{c['name']}: version")
        must(re.match(r"pkg:(deb|generic)/[^ @]+@[^ @+?]+(\?arch=\w+)?$", c.get("purl", "")), f"{c['name']}: purl")
        spdx = [l.get("expression") or l["license"]["id"] for l in c.get("licenses", [])]
        must(len(spdx) == 1 and set(spdx[0].split(" OR ")) <= SPDX, f"{c['name']}: licence")
    must({d["ref"] for d in bom["dependencies"]} == set(refs), "each component has a line of dependencies")
    must(all(set(d.get("dependsOn", [])) <= set(refs) for d in bom["dependencies"]), "dependencies are of components")
    listed = {p["value"]: c["bom-ref"] for c in bom["components"] for p in c["properties"] if p["name"] == "mbackup:soname"}
    graph = {d["ref"]: d.get("dependsOn", []) for d in bom["dependencies"]}
    for program in programs:
        dynamic = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
        must(len(needed) > 2, f"{program}: readelf names few libraries")
        entry = [c for c in root["components"] if c["name"] == os.path.basename(program)]
        must(len(entry) == 1, f"{program} is not listed")
        for soname in needed:
            must(soname in listed, f"{program}: {soname} is not listed")
            must(entry and listed.get(soname) in graph[entry[0]["bom-ref"]], f"{program}: does not depend on {soname}")
    for c in bom["components"]:
        if c["purl"].startswith("pkg:deb/"):
            version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", c["name"]], capture_output=True, text=True, check=False).stdout
            must(version == c["version"], f"{c['name']}: dpkg says {version}")


{"meta": lambda: judge_meta(*sys.argv[2:]), "sbom": lambda: judge_sbom(sys.argv[2], sys.argv[3:])}[sys.argv[1]]()
print("\n".join(wrong), end="")
sys.exit(bool(wrong))
