#!/usr/bin/env python3
"""Writes helm/iceway/README.md: its text stands here, its tables come from the alerts, and from values.yaml with its comments.

With --check nothing is written; it fails if the file is not what would be. Needs PyYAML (.tools/python has it).
"""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parent / "iceway"

TEXT = """# iceway for Kubernetes

<!-- Written by helm/readme.py from values.yaml and files/iceway.rules.yml; a test keeps it so. -->

```sh
helm install turn helm/iceway --namespace media --create-namespace --set image.repository=registry.example.org/iceway
helm test turn --namespace media --logs
```

One pod on the network of its node, with a generated secret. What is printed afterwards says how clients reach it, which
ports firewalls must let in, and how to make a credential to try it with. Kubernetes 1.26 or newer.

## How peers reach the relay

Each allocation has a UDP port of its own, out of 49152–65535. No Service carries 16384 ports: load balancers stop at some tens,
NodePorts are 2768 and not the ports the relay would name. So relay ports are always those of a node or of a pod:

| | `network.host` | `network.publicAddress.from` | `service.type` |
|---|---|---|---|
| nodes with public addresses: a Deployment, or a DaemonSet on the nodes chosen | true | `node` (default) | None |
| nodes behind one-to-one NAT (most clouds), with addresses known beforehand | true | `configured`, PUBLIC/PRIVATE pairs | None |
| the same, with addresses that come and go: autoscaled nodes | true | `stun`, with a STUN server outside, or `hostname` | None |
| nodes with a second interface for the public address | true | `interface` | None |
| clients by one name or port 443, media directly to the nodes | true | as above | LoadBalancer |
| pods with addresses that peers reach: public IPv6, or a media server in the same network | false | `own` | LoadBalancer, NodePort |
| one pod, and a router that maps an address to it one to one | false | `configured` | any |

An address that is looked for (`stun`, `hostname`, `interface`) is found before the pod is ready, looked for again every
`config.relay.external_refresh`, and told to new allocations when it changes; `iceway_public_address_confirmed` is 0 while it is only the
last known one. `ipFamily: dual` with `node` takes both families from `status.hostIPs` (Kubernetes 1.29 or newer).

Everything else is refused, with the reason: pods that nobody reaches, several pods without Redis, one name for two load
balancers, ports below 1024 on a node, a NetworkPolicy that would not act, a disruption budget that blocks every drain, and so on.

**UDP and TCP in one Service** (`service.layout: mixed`) needs a cloud that balances both on one address. Where it cannot, `split`
makes two Services; give each its name (`service.udp.host`, `service.tcp.host`), or let them share an address. `Local`
traffic policy keeps client addresses, without which STUN would tell clients the address of a node.

**Several nodes, each by its own name**: `host: $(NODE_NAME).turn.example.org` with a wildcard certificate, or no `host`, where
clients are told addresses (`turns:` needs names). Credentials then name the less loaded of two nodes, never one that drains.

Pods on the network of their node need a namespace with `pod-security.kubernetes.io/enforce: privileged`, where that is enforced;
otherwise `restricted` is enough.

## Secrets

They are mounted as files or come from the environment of the container, never from a ConfigMap or an argument. What is not named
(`auth.existingSecret`, `redis.clusterKey.existingSecret`) is generated once, read back by later upgrades, and kept when the
release is removed. Tools that only render (`helm template`, Argo CD) cannot read it back: name Secrets there.

## Stopping

A pod that is to stop drains: new allocations go elsewhere, calls that are up go on for `drain.timeoutSeconds`, and only then
the pod is killed (`terminationGracePeriodSeconds` follows). Changes of the configuration make new pods. A certificate is read
again when it changes; other Secrets are after `kubectl exec … -- iceway reload`, on each pod.

## Scaling by allocations

The HorizontalPodAutoscaler asks for the metric `iceway_allocations` of pods, which an adapter has to serve from
Prometheus. The rule for prometheus-adapter:

```yaml
rules:
  custom:
    - seriesQuery: iceway_allocations{namespace!="",pod!=""}
      resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
      name: {matches: iceway_allocations, as: iceway_allocations}
      metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
```

Pods come at once and go one by one, each after its calls. On the node's network there can be no more pods than nodes.

## Watching

`monitoring` has a ServiceMonitor, the alerts of `files/iceway.rules.yml` and the dashboard of `files/dashboard.json`; both files
work without the chart too. What each alert says, and asks of you:

| alert | | what it means | what to do |
|---|---|---|---|
@ALERTS@
## Values

| value | default | |
|---|---|---|
"""


def main():
    """Writes the file, or compares it."""
    target = CHART / "README.md"
    wanted = TEXT.replace("@ALERTS@", "".join(alerts())) + "".join(rows((CHART / "values.yaml").read_text()))
    if "--check" not in sys.argv:
        target.write_text(wanted)
    elif not target.exists() or target.read_text() != wanted:
        sys.exit("helm/iceway/README.md is not what helm/readme.py writes: run it")


def alerts():
    """One row for each alert."""
    groups = yaml.safe_load((CHART / "files" / "iceway.rules.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        said = rule["annotations"]
        cells = [f"`{rule['alert']}`", rule["labels"]["severity"], said["description"], said["runbook"]]
        yield "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |\n"


def rows(text):
    """One row for each value, described by the comment above it; those above a group describe all of it."""
    lines = text.splitlines()
    root = yaml.compose(text)
    values = yaml.safe_load(text)
    yield from below(lines, root, values, ())


def below(lines, node, values, path):
    """The rows of what is in a group."""
    for key, value in node.value:
        here = (*path, key.value)
        said = comment(lines, key.start_mark.line)
        content = values[key.value]
        if isinstance(content, dict) and content and not value.flow_style:
            if said:
                yield f"| **`{'.'.join(here)}`** | | {said} |\n"
            yield from below(lines, value, content, here)
            continue
        if not said:
            sys.exit(f"values.yaml: {'.'.join(here)} has no comment")
        yield f"| `{'.'.join(here)}` | `{json.dumps(content)}` | {said} |\n"


def comment(lines, at):
    """The comment lines directly above a line, as one."""
    said = []
    while at > 0 and re.match(r"\s*#", lines[at - 1]):
        at -= 1
        said.insert(0, lines[at].strip().lstrip("#").strip())
    return " ".join(said).replace("|", "\\|")


if __name__ == "__main__":
    main()
