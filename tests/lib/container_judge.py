#!/usr/bin/env python3
"""container_judge.py DIRECTORY PACKAGE... - the Dockerfile and the compose file of deploy/container, read without Docker:
that what they name exists, fits together and is as careful as it should be.  PACKAGE: whose libraries the program needs.
A line for each thing that is wrong; the exit status is 1 when there is one."""
import os
import re
import shlex
import sys

import yaml

where, packages = sys.argv[1], set(sys.argv[2:])
root = os.path.normpath(os.path.join(where, "../.."))
wrong = []


def must(condition, what):
    if not condition:
        wrong.append(what)


def read(name):
    with open(os.path.join(where, name), encoding="utf-8") as file:
        return file.read()


# -- the Dockerfile ---------------------------------------------------------------------------------------
joined = re.sub(r"\\\n\s*", " ", "".join(l for l in read("Dockerfile").splitlines(True) if not l.lstrip().startswith("#")))
stages, order = {}, []
for line in filter(str.strip, joined.splitlines()):
    word, _, rest = line.strip().partition(" ")
    must(word in {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD"}, f"Dockerfile: {word} is not used here")
    if word == "FROM":
        image, _, name = rest.partition(" AS ")
        must(re.match(r"[a-z/.]+:[\w.-]+$", image) and not image.endswith(":latest"), f"Dockerfile: {image} has no tag of its own")
        must(name, f"Dockerfile: the stage of {image} has no name")
        order.append(name)
        stages[name] = []
        continue
    stages[order[-1]].append((word, rest))
    if word == "RUN":
        must(not re.search(r"\bsudo\b|\bcurl\b.*\|\s*sh|:latest", rest), f"Dockerfile: {rest}")
        if "apt-get install" in rest:
            must("--no-install-recommends" in rest and "apt-get update" in rest and "rm -rf /var/lib/apt/lists/*" in rest, f"Dockerfile: apt-get of {order[-1]}")
    if word == "COPY":
        words = shlex.split(rest)
        source = [w for w in words if w.startswith("--from=")]
        must(not source or source[0][7:] in order[:-1], f"Dockerfile: {rest}: no such stage before")
        for path in words[:-1] if not source else []:
            must(os.path.exists(os.path.join(root, path)), f"Dockerfile: COPY {path}: is not there")
    if word in ("ENTRYPOINT", "CMD"):
        must(rest.startswith("["), f"Dockerfile: {word} by a shell")


def last(stage, word):
    return next((r for w, r in reversed(stages.get(stage, [])) if w == word), "")


must(last("mbackup", "USER").split(":")[0] not in ("", "0", "root"), "Dockerfile: mbackup runs as root")
must("mbackup-container" in last("mbackup", "HEALTHCHECK"), "Dockerfile: no health check")
run = " ".join(r for w, r in stages["mbackup"] if w == "RUN")
installed = set(re.search(r"--no-install-recommends (.*?)&&", run)[1].split()) - {"ca-certificates", "curl"}
must(packages - {"libc6"} == installed, f"Dockerfile: installs {sorted(installed)}, the program needs {sorted(packages)}")
for name in open(os.path.join(root, ".dockerignore"), encoding="utf-8") if os.path.exists(os.path.join(root, ".dockerignore")) else []:
    must("secrets" not in name or os.path.normpath(name.strip()) == "deploy/container/secrets", ".dockerignore")

# -- the compose file ----------------------------------------------------------------------------------------
compose = yaml.safe_load(read("compose.yaml"))
services = compose["services"]
made = set(re.search(r"^for name in (.*)$", read("prepare"), re.M)[1].split())
used = set()
must(set(compose) <= {"name", "services", "secrets", "volumes", "x-hardened"}, "compose.yaml: unknown parts")
must(made == set(compose["secrets"]), f"prepare makes {sorted(made)}, compose.yaml has {sorted(compose['secrets'])}")
for name, secret in compose["secrets"].items():
    must(secret == {"file": f"./secrets/{name}"}, f"secret {name}: where it is")
for name, service in services.items():
    must(("image" in service) != ("build" in service), f"{name}: an image, or how it is built")
    image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service.get("image", "a:b"))
    must(re.match(r"[a-z0-9./-]+:[\w.-]+$", image) and not image.endswith(":latest"), f"{name}: {image} is not pinned")
    if "build" in service:
        must(service["build"]["target"] in stages, f"{name}: there is no stage {service['build']['target']}")
        must(os.path.normpath(os.path.join(where, service["build"]["context"])) == root, f"{name}: context")
        must(os.path.exists(os.path.join(root, service["build"]["dockerfile"])), f"{name}: Dockerfile")
    ends = service.get("restart") == "no"
    test = service.get("healthcheck", {}).get("test", [])
    must(ends or test[:1] in (["CMD"], ["CMD-SHELL"]) or name == "mbackup", f"{name}: no health check")
    for other, how in service.get("depends_on", {}).items():
        must(other in services, f"{name}: depends on {other}, which is not there")
        must(how["condition"] == ("service_completed_successfully" if services.get(other, {}).get("restart") == "no" else "service_healthy"), f"{name}: waits for {other}")
        must("profiles" not in services.get(other, {}) or services[other]["profiles"] == service.get("profiles"), f"{name}: {other} is of another profile")
    if name != "postgres" and not ends:
        must(service.get("read_only") is True and service.get("cap_drop") == ["ALL"], f"{name}: may write and has capabilities")
    for port in service.get("ports", []):
        must(port.startswith("127.0.0.1:"), f"{name}: {port} is open to everybody")
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            must(os.path.isfile(os.path.join(where, source)) and mode == ["ro"], f"{name}: {source}")
        else:
            must(source in compose["volumes"], f"{name}: there is no volume {source}")
    text = str(service)
    if name == "mbackup":
        text += read("mbackup.conf")
    if name == "postgres":
        text += read("postgres-init.sh")
    text = re.sub(r"MINIO_ROOT_PASSWORD_FILE': '", r"\g<0>/run/secrets/", text)
    asked = set(re.findall(r"/run/secrets/(\w+)", text))
    must(asked == set(service.get("secrets", [])), f"{name}: reads {sorted(asked)}, is given {sorted(service.get('secrets', []))}")
    used |= asked
    for key, value in service.get("environment", {}).items():
        must(not re.search("PASSWORD$|SECRET$|PASSPHRASE$", key), f"{name}: {key} is a secret in the environment")
        if key.startswith("MBACKUP_"):
            must(key in read("entrypoint"), f"{name}: {key} is not known")
must(used == made, f"nobody uses {sorted(made - used)}")
must(all(any(v.split(":")[0] == name for s in services.values() for v in s.get("volumes", [])) for name in compose["volumes"]), "a volume that nobody uses")

# -- who is asked for by name ------------------------------------------------------------------------------------
conf = read("mbackup.conf")
hosts = set(re.findall(r"(?:https?|redis)://([\w.]+)", conf) + re.findall(r"\bhost=(\S+)", conf))
must(hosts and hosts <= set(services), f"mbackup.conf: {sorted(hosts - set(services))} is no service")
listen = re.search(r"^listen = (\S+)$", conf, re.M)[1]
must(listen.split(":")[0] == services["mbackup"]["hostname"], "listen is not the name of the container")
must(services["mbackup"]["environment"]["MBACKUP_HEALTH_URL"] == f"http://{listen}/healthz", "the health check asks elsewhere")
prometheus = yaml.safe_load(read("prometheus.yml"))
must([t for s in prometheus["scrape_configs"] for c in s["static_configs"] for t in c["targets"]] == [listen], "Prometheus asks elsewhere")
must(prometheus["scrape_configs"][0]["job_name"] == "mbackup", "the alerts need the job mbackup")
datasource = yaml.safe_load(read("grafana/datasource.yml"))["datasources"][0]
must(re.match(r"http://(\w+):9090$", datasource["url"])[1] in services, "Grafana asks elsewhere")
must(yaml.safe_load(read("grafana/dashboards.yml"))["providers"][0]["options"]["path"] in str(services["grafana"]["volumes"]), "Grafana has no dashboard")
print("\n".join(wrong), end="")
sys.exit(bool(wrong))
