"""Tests of the Helm chart; the first argument says which, the second is the program."""

import base64
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import helm_python
import yaml

import cluster
import manifests
import monitoring
import rendering

REFERENCE = rendering.ROOT / "config" / "REFERENCE.md"
# Another address than the one that what connects to it has, as in a cluster.
POD = "127.0.0.2"
# Long enough for every rule, and the base64 that a cluster key has to be.
SECRET = "c2VjcmV0IG9mIHRoaXMgdGVzdCBhbmQgb2Ygbm8gb25lIGVsc2UhISE="


def main():
    """Runs one test, and says all that is wrong."""
    faults = TESTS[sys.argv[1]](*sys.argv[2:])
    if faults:
        sys.exit("\n".join(faults))


def valid(_program):
    """Every set of values is linted, rendered, and makes sound objects."""
    secret_keys = set(re.findall(r"^\| `([a-z0-9_.]+)` \| none: secret", REFERENCE.read_text(), re.M))
    faults = [] if secret_keys else ["config/REFERENCE.md names no secret key"]
    for name, values in rendering.value_sets().items():
        report = helm_python.lint(rendering.CHART, values, strict=True, namespace=rendering.NAMESPACE)
        # No icon is no fault.
        said = [one for one in report["messages"] if one["severity"] > 1]
        faults += [f"{name}: lint: {one['error']}" for one in said]
    chart = rendering.load()
    for one in rendering.render_all(chart):
        faults += manifests.check(one, secret_keys)
    return faults + undescribed(chart.values, chart.schema, "")


def undescribed(values, schema, path):
    """Values that the schema does not know, and the other way round."""
    known = schema.get("properties", {}) if schema.get("additionalProperties") is False else None
    if known is None or not isinstance(values, dict):
        return []
    # `config` has a section for each of the program, `global` belongs to charts around this one.
    different = set(values) ^ (set(known) - {"global"}) if path != ".config" else set()
    faults = [f"values and schema differ: {path}.{name}" for name in sorted(different)]
    return faults + [fault for name in set(values) & set(known) for fault in undescribed(values[name], known[name], f"{path}.{name}")]


def refused(_program):
    """What cannot work is refused, with the reason."""
    faults, chart = [], rendering.load()
    for case in yaml.safe_load((rendering.HERE / "refused.yaml").read_text()):
        try:
            chart.render(case["values"], name=rendering.RELEASE, namespace=rendering.NAMESPACE)
            faults.append(f"taken: {case['values']}")
        except helm_python.HelmError as refusal:
            words = [word for word in case["says"] if word not in str(refusal)]
            if words:
                faults.append(f"{case['values']}: {words} not in: {refusal}")
            if case.get("never") and case["never"] in str(refusal):
                faults.append(f"{case['values']}: the refusal tells the secret")
    return faults


def accepted(program):
    """The program takes the configuration, environment and arguments that its container gets."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(check, program, one) for one in rendering.render_all(rendering.load())]
        return [fault for job in jobs for fault in job.result()]


def check(program, rendered):
    """`iceway check` on what is mounted into a container."""
    with tempfile.TemporaryDirectory() as directory:
        environment = mounted(rendered, pathlib.Path(directory))
        command = [program, "check", *rendered.container["args"][1:]]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    faults = []
    said = answer.stdout + answer.stderr
    if rendered.container["command"] != ["iceway"] or rendered.container["args"][0] != "serve":
        faults.append(f"{rendered.name}: the container runs {rendered.container['command']}")
    if answer.returncode != 0:
        faults.append(f"{rendered.name}: refused: {said}")
    # That a load balancer's name is not the machine's, nobody can know here.
    if "warning" in said:
        faults.append(f"{rendered.name}: {said}")
    return faults


def mounted(rendered, root):
    """Makes the files of the container below `root`, and answers with its environment."""
    environment = rendered.environment(POD_IP="::1" if is_v6(rendered) else POD, HOST_IP="203.0.113.9", POD_IPS=f"{POD},::1", HOST_IPS="203.0.113.9,2001:db8::9")
    for mount in rendered.container["volumeMounts"]:
        (volume,) = [one for one in rendered.pod["volumes"] if one["name"] == mount["name"]]
        place = root / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True)
        secret = volume.get("secret", {})
        made = [one["data"] for one in rendered.of("Secret") if one["metadata"]["name"] == secret.get("secretName")]
        for item in secret.get("items", []):
            known = base64.b64decode(made[0][item["key"]]).decode() if made else content(volume["name"])
            write(place / item["path"], known)
        if volume["name"] == "tls":
            certificate(place)
    config = rendered.config
    for top in ("etc/iceway", "var/lib", "run"):
        config = config.replace(f'"/{top}/', f'"{root}/{top}/')
    (root / "etc/iceway/config/iceway.toml").write_text(config)
    environment = {name: value.replace("/etc/iceway", f"{root}/etc/iceway") for name, value in environment.items()}
    if any(one["name"] == "ICEWAY_REDIS_URL" for one in rendered.container["env"]):
        environment["ICEWAY_REDIS_URL"] = "redis://iceway:password@127.0.0.1:6379"
    return environment


def is_v6(rendered):
    """Whether pods have one address, of IPv6."""
    return rendered.merged["network"]["ipFamily"] == "IPv6"


def content(volume):
    """What a Secret may hold for the file of a key."""
    if volume == "auth-users-file":
        return "alice:a password of hers\n"
    if volume == "api-keys-file":
        return f"backend {'0' * 64} issue,revoke\n"
    if volume in ("jwt-keys-file", "redis-ca-file"):
        name = ["-subj", "/CN=test"] if volume == "redis-ca-file" else []
        key = ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout"]
        private = subprocess.run(key, check=True, capture_output=True).stdout
        public = ["openssl", "req", "-x509", "-key", "/dev/stdin", *name] if name else ["openssl", "ec", "-pubout"]
        return subprocess.run(public, input=private, check=True, capture_output=True).stdout.decode()
    return SECRET + "\n"


def certificate(place):
    """A certificate, as cert-manager leaves it."""
    files = ["-keyout", place / "tls.key", "-out", place / "tls.crt"]
    names = ["-subj", "/CN=turn.example.org", "-addext", "subjectAltName=DNS:turn.example.org"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *files, *names]
    subprocess.run(command, check=True, capture_output=True)
    (place / "tls.key").chmod(0o440)


def write(path, text):
    """A file as the kubelet mounts it."""
    path.write_text(text)
    path.chmod(0o440)


def served(program):
    """The container's command runs; its probes and what Prometheus asks are answered."""
    ports = {"udp": free_port(), "tcp": free_port(), "http": free_port(), "relay": {"min": 21000, "max": 21100}}
    values = {"ports": ports, "network": {"publicAddress": {"from": "own"}}, "drain": {"timeoutSeconds": 10}}
    rendered = rendering.Rendered("served", values, rendering.load())
    with tempfile.TemporaryDirectory() as directory:
        environment = mounted(rendered, pathlib.Path(directory))
        log = open(pathlib.Path(directory) / "log", "w+")
        server = subprocess.Popen([program, *rendered.container["args"]], env=environment, stdout=log, stderr=log)
        try:
            paths = [rendered.container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
            faults = [fault for path in [*paths, "/metrics"] for fault in answered(server, ports["http"], path)]
            faults = faults or unknown_values(f"http://{POD}:{ports['http']}/metrics")
            faults = faults or works(program, rendered, environment, ports["http"])
        finally:
            server.kill()
            server.wait()
        if faults:
            log.seek(0)
            faults.append(log.read())
    return faults


def works(program, rendered, environment, port):
    """The generated key opens the API, and the commands that the notes name reach the server."""
    (secret,) = [one["data"] for one in rendered.of("Secret") if "hashes" in one["data"]]
    key = base64.b64decode(secret["key"]).decode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{POD}:{port}/v1/turn/credentials", b'{"user": "test"}', headers)
    faults = []
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        faults.append(f"the generated key is answered {error.code}: {error.read().decode()}")
    commands = [shlex.split(command) for command in re.findall(r"-- iceway (.*?)[)\n]", rendered.notes)]
    if len(commands) < 2:
        faults.append(f"the notes name only {commands}")
    commands += [["healthcheck"], doctor(rendered, port), rendered.container["lifecycle"]["preStop"]["exec"]["command"][1:]]
    for command in commands:
        # The doctor of `helm test` has no configuration, and looks from outside.
        known = {"ICEWAY_DOCTOR_KEY": key} if command[0] == "doctor" else environment
        answer = subprocess.run([program, *command], env=known, capture_output=True, text=True, timeout=60)
        if answer.returncode != 0:
            faults.append(f"{command}: {answer.stdout}{answer.stderr}")
    return faults


def doctor(rendered, port):
    """What the pod of `helm test` runs, with the server of this test in place of a Service."""
    (pod,) = rendered.of("Pod")
    (container,) = pod["spec"]["containers"]
    service = f"http://turn-iceway-api.media:{port}"
    if container["command"] != ["iceway"] or f"--server={service}" not in container["args"]:
        raise ValueError(f"helm test runs {container['command']} {container['args']}")
    return [argument.replace(service, f"http://{POD}:{port}") for argument in container["args"]]


def kept(_program):
    """What is generated is generated once: it survives an upgrade, and the release."""
    faults, values = [], {"redis": {"existingSecret": "redis"}}
    with cluster.Cluster() as here:
        config = helm_python.Config(kubeconfig_content=here.kubeconfig, namespace="media", storage_driver="memory")
        config.install(rendering.CHART, "turn", values, namespace="media", timeout=20)
        first = here.secrets()
        if set(first) != {"turn-iceway-auth", "turn-iceway-cluster-key", "turn-iceway-api-key"}:
            faults.append(f"generated are {sorted(first)}")
        config.upgrade(rendering.CHART, "turn", values, namespace="media", timeout=20)
        if here.secrets() != first:
            faults.append("an upgrade changes secrets")
        config.uninstall("turn")
        if here.secrets() != first or len(here.objects) != len(first):
            faults.append(f"left are {sorted(here.objects)}")
        config.install(rendering.CHART, "turn", values, namespace="media", timeout=20)
        if here.secrets() != first:
            faults.append("a new release has other secrets")
    return faults


def unknown_values(url):
    """Values of labels that alerts and dashboard look for and that are never there; all are, from the start."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    faults = []
    for name, label, value in sorted(monitoring.compared_values()):
        lines = re.findall(rf"^{name}\{{.*", text, re.M)
        if lines and not any(f'{label}="{value}"' in line for line in lines):
            faults.append(f"{name} has no {label} {value}")
    return faults


def answered(server, port, path):
    """Asks until there is an answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://{POD}:{port}{path}", timeout=5) as answer:
                return [] if answer.status == 200 else [f"{path}: {answer.status}"]
        except urllib.error.HTTPError as error:
            return [f"{path}: {error.code}"]
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                return [f"{path}: {error}; exit status {server.poll()}"]
            time.sleep(0.05)


def free_port():
    """A port below the ephemeral ones, so that no connection takes it meanwhile."""
    for port in range(20000 + os.getpid() % 900, 32000):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind((POD, port))
                datagrams.bind((POD, port))
            except OSError:
                continue
            if port not in TAKEN:
                TAKEN.add(port)
                return port
    raise OSError("no port is free")


TAKEN = set()
TESTS = {"valid": valid, "refused": refused, "accepted": accepted, "served": served, "kept": kept}

if __name__ == "__main__":
    main()
