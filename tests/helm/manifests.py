"""What is asked of the rendered objects: valid, of one piece, and without a secret where everybody looks."""

import base64
import functools
import re

import kubernetes_validate
from kubernetes_validate import utils

from rendering import NAMESPACE, RELEASE

# Read once, not for each object.
utils.schema_contents = functools.cache(utils.schema_contents)

# The oldest version that the chart names, and the newest there is a schema of.
VERSIONS = ["1.26", "1.37"]

# What the definitions of operators demand, as far as the chart uses it: fields by path, with their types.
DEFINED = {
    "Certificate": {
        "apiVersion": "cert-manager.io/v1",
        "spec": {
            "secretName": str, "duration": str, "renewBefore": str, "usages": list, "dnsNames": list,
            "privateKey": {"algorithm": str, "size": int, "rotationPolicy": str},
            "issuerRef": {"name": str, "kind": str, "group": str},
        },
    },
    "ServiceMonitor": {
        "apiVersion": "monitoring.coreos.com/v1",
        "spec": {"jobLabel": str, "selector": {"matchLabels": dict}, "endpoints": list},
    },
    "PrometheusRule": {"apiVersion": "monitoring.coreos.com/v1", "spec": {"groups": list}},
}


def check(rendered, secret_keys):
    """Every fault of what was rendered."""
    faults = []
    for one in rendered.objects:
        faults += [f"{one['kind']} {one['metadata']['name']}: {fault}" for fault in valid(one)]
    for rule in (ports, references, selectors, times, hardened, functools.partial(no_secrets, keys=secret_keys)):
        faults += rule(rendered)
    return [f"{rendered.name}: {fault}" for fault in faults]


def valid(one):
    """What the schemas of Kubernetes, or of an operator, say against an object."""
    if one["kind"] in DEFINED:
        expected = DEFINED[one["kind"]]
        if one["apiVersion"] != expected["apiVersion"]:
            yield f"apiVersion is {one['apiVersion']}"
        yield from shape(one["spec"], expected["spec"], "spec")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except Exception as fault:  # noqa: BLE001 whatever it is, it is a fault of the object
            yield f"Kubernetes {version}: {fault}"


def shape(value, expected, path):
    """Where a value differs from the shape that an operator's definition has."""
    if not isinstance(expected, dict):
        if not isinstance(value, expected) or value in ("", [], {}):
            yield f"{path} is {value!r}"
        return
    for name in sorted(set(value) | set(expected)):
        if name not in expected:
            yield f"{path}.{name} is not known"
        elif name not in value:
            yield f"{path}.{name} is missing"
        else:
            yield from shape(value[name], expected[name], f"{path}.{name}")


def ports(rendered):
    """Services, probes and policies name ports that the container has, and it listens on these."""
    faults = []
    declared = {(one["protocol"], one["containerPort"]): one for one in rendered.container["ports"]}
    if len(declared) != len(rendered.container["ports"]):
        faults.append("a port is declared twice")
    by_name = {one["name"]: (one["protocol"], one["containerPort"]) for one in rendered.container["ports"]}
    for service in rendered.of("Service"):
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            found = by_name.get(target) or ((port["protocol"], target) if (port["protocol"], target) in declared else None)
            if not found or found[0] != port["protocol"]:
                faults.append(f"Service {service['metadata']['name']}: nothing is behind port {port['name']}")
        mixes = len({one["protocol"] for one in service["spec"]["ports"]}) > 1
        if mixes and service["spec"]["type"] != "ClusterIP" and rendered.merged["service"]["layout"] != "mixed":
            faults.append(f"Service {service['metadata']['name']}: mixes protocols")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if rendered.container[probe]["httpGet"]["port"] not in by_name:
            faults.append(f"{probe}: no such port")
    environment = rendered.environment()
    listens = {
        ("UDP" if name.endswith("UDP") else "TCP", int(value.rsplit(":", 1)[1]))
        for name, value in environment.items()
        if name.startswith("ICEWAY_LISTEN_") or name == "ICEWAY_HTTP_LISTEN"
    }
    if listens != set(declared):
        faults.append(f"listens on {sorted(listens)}, declares {sorted(declared)}")
    if rendered.pod["hostNetwork"] and any(one.get("hostPort") != one["containerPort"] for one in declared.values()):
        faults.append("on the node's network each hostPort is the containerPort")
    relay = rendered.merged["ports"]["relay"]
    for policy in rendered.of("NetworkPolicy"):
        open_to = {
            (port["protocol"], port["port"], port.get("endPort"))
            for rule in policy["spec"]["ingress"] for port in rule["ports"]
        }
        wanted = {(protocol, port, None) for protocol, port in declared} | {("UDP", relay["min"], relay["max"])}
        if open_to != wanted:
            faults.append(f"NetworkPolicy lets {sorted(open_to, key=str)} in, not {sorted(wanted, key=str)}")
    return faults


def references(rendered):
    """What pods mount and read is made by the chart, or named in the values."""
    faults = []
    text = str(rendered.values)
    mounted = {one["name"] for one in rendered.container["volumeMounts"]}
    volumes = {one["name"]: one for one in rendered.pod["volumes"]}
    if mounted != set(volumes):
        faults.append(f"mounts {sorted(mounted)} of the volumes {sorted(volumes)}")
    secrets = {one["secret"]["secretName"] for one in volumes.values() if "secret" in one}
    secrets |= {
        one["valueFrom"]["secretKeyRef"]["name"] for one in rendered.container["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    }
    made = rendered.names("Secret") | {one["spec"]["secretName"] for one in rendered.of("Certificate")}
    faults += [f"Secret {name} is not there" for name in sorted(secrets - made) if name not in text]
    for one in volumes.values():
        name = one.get("configMap", {}).get("name")
        if name and name not in rendered.names("ConfigMap"):
            faults.append(f"ConfigMap {name} is not there")
        claim = one.get("persistentVolumeClaim", {}).get("claimName")
        if claim and claim not in rendered.names("PersistentVolumeClaim") and claim not in text:
            faults.append(f"the claim {claim} is not there")
    if any("subPath" in one for one in rendered.container["volumeMounts"]):
        faults.append("a subPath is never brought up to date")
    account = rendered.pod["serviceAccountName"]
    if account != "default" and account not in rendered.names("ServiceAccount") and account not in text:
        faults.append(f"the service account {account} is not there")
    faults += [
        f"a HorizontalPodAutoscaler scales {target}" for scaler in rendered.of("HorizontalPodAutoscaler")
        if (target := scaler["spec"]["scaleTargetRef"])["name"] not in rendered.names(target["kind"])
    ]
    return faults


def selectors(rendered):
    """Everything that selects pods selects ours, and the ServiceMonitor one Service."""
    faults = []
    labels = rendered.workload["spec"]["template"]["metadata"]["labels"]
    chosen = [(rendered.workload, rendered.workload["spec"]["selector"]["matchLabels"])]
    chosen += [(one, one["spec"]["selector"]) for one in rendered.of("Service")]
    chosen += [(one, one["spec"]["selector"]["matchLabels"]) for one in rendered.of("PodDisruptionBudget")]
    chosen += [(one, one["spec"]["podSelector"]["matchLabels"]) for one in rendered.of("NetworkPolicy")]
    for constraint in rendered.pod.get("topologySpreadConstraints", []):
        chosen.append((rendered.workload, constraint["labelSelector"]["matchLabels"]))
    for one, selector in chosen:
        if not selector.items() <= labels.items():
            faults.append(f"{one['kind']} {one['metadata']['name']} does not select the pods")
    for test in rendered.of("Pod"):
        if chosen[0][1].items() <= test["metadata"]["labels"].items():
            faults.append(f"Services would send clients to the pod {test['metadata']['name']}")
    for monitor in rendered.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        seen = [one for one in rendered.of("Service") if wanted <= one["metadata"]["labels"].items()]
        names = [port["name"] for one in seen for port in one["spec"]["ports"]]
        if len(seen) != 1 or monitor["spec"]["endpoints"][0]["port"] not in names:
            faults.append(f"the ServiceMonitor finds {[one['metadata']['name'] for one in seen]} with {names}")
    for one in rendered.objects:
        if one["metadata"]["labels"].get("app.kubernetes.io/instance") != RELEASE:
            faults.append(f"{one['kind']} {one['metadata']['name']} has not the labels of the release")
        if one["metadata"].get("namespace", NAMESPACE) != NAMESPACE:
            faults.append(f"{one['kind']} {one['metadata']['name']} is in another namespace")
    return faults


def times(rendered):
    """A pod is killed only after its calls had their time."""
    drain = int(re.search(r'drain_timeout = "(\d+)s"', rendered.config).group(1))
    before = rendered.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["0s"])
    drain += int(before[-1].removeprefix("--timeout=").removesuffix("s"))
    if drain < rendered.merged["drain"]["timeoutSeconds"]:
        return [f"drains for {drain} s only"]
    grace = rendered.pod["terminationGracePeriodSeconds"]
    faults = [] if grace >= drain + 10 else [f"killed after {grace} s, though draining takes {drain} s"]
    deadline = rendered.workload["spec"].get("progressDeadlineSeconds", grace + 1)
    return faults + ([] if deadline > grace else [f"an update fails after {deadline} s, a pod ends after {grace} s"])


def hardened(rendered):
    """As little as a process can have."""
    pod, container = rendered.pod, rendered.container
    wants = {
        "runs as another user than root": pod["securityContext"]["runAsNonRoot"] is True
        and pod["securityContext"]["runAsUser"] > 0,
        "has the default filter of system calls": pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
        "cannot gain privileges": container["securityContext"]["allowPrivilegeEscalation"] is False,
        "writes nothing but volumes": container["securityContext"]["readOnlyRootFilesystem"] is True,
        "has no capability": container["securityContext"]["capabilities"] == {"drop": ["ALL"]},
        "has no token": pod["automountServiceAccountToken"] is False,
        "gets no variables of Services": pod["enableServiceLinks"] is False,
    }
    return [f"it does not hold that it {want}" for want, holds in wants.items() if not holds]


def no_secrets(rendered, keys):
    """No secret in a ConfigMap, an argument or a plain variable, and none of the keys that hold one."""
    faults = []
    hidden = [base64.b64decode(value).decode() for one in rendered.of("Secret") for value in one["data"].values()]
    container = rendered.container
    tests = [one["spec"]["containers"] for one in rendered.of("Pod")]
    hooks = str([container.get("lifecycle"), tests])
    places = {f"ConfigMap {one['metadata']['name']}": str(one["data"]) for one in rendered.of("ConfigMap")}
    places["the arguments"] = str([container["command"], container.get("args"), hooks])
    places["the environment"] = str([one["value"] for one in container["env"] if "value" in one])
    places["the annotations"] = str([one["metadata"].get("annotations") for one in rendered.objects])
    places["the notes"] = rendered.notes
    for place, text in places.items():
        if any(secret in text for secret in hidden):
            faults.append(f"a secret is in {place}")
        if re.search(r"://[^/\s\"']*:[^/\s\"']*@", text):
            faults.append(f"a password is in an URL in {place}")
    section = ""
    for line in rendered.config.splitlines():
        section = line.strip("[]") if line.startswith("[") else section
        if f"{section}.{line.split(' = ')[0]}" in keys and "://" not in line:
            faults.append(f"the ConfigMap has the key of a secret: {section}")
    for one in container["env"]:
        if one["name"] in {"ICEWAY_" + key.upper().replace(".", "_") for key in keys} and "value" in one:
            faults.append(f"{one['name']} has its secret in the open")
    return faults
