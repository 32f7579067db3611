"""As much of a Kubernetes API as Helm needs to install: it knows the kinds, keeps objects, and forgets nothing."""

import http.server
import json
import re
import threading
import urllib.parse

# Group and version, then kind, plural.
KINDS = {
    "v1": [("Secret", "secrets"), ("ConfigMap", "configmaps"), ("Service", "services"), ("ServiceAccount", "serviceaccounts"),
           ("PersistentVolumeClaim", "persistentvolumeclaims"), ("Pod", "pods")],
    "apps/v1": [("Deployment", "deployments"), ("DaemonSet", "daemonsets")],
}


class Cluster:
    """Runs for as long as it is entered."""

    def __init__(self):
        self.objects = {}
        self.asked = []
        handler = type("Bound", (Handler,), {"cluster": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def kubeconfig(self):
        """A configuration that leads here."""
        entry = [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}]
        context = [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}]
        config = {"apiVersion": "v1", "kind": "Config", "clusters": entry, "contexts": context, "current-context": "here"}
        return json.dumps(config | {"users": [{"name": "nobody", "user": {}}]})

    def secrets(self):
        """The Secrets that the chart made, by name; not those in which Helm remembers releases."""
        made = [one for path, one in self.objects.items() if "/secrets/" in path]
        return {one["metadata"]["name"]: one["data"] for one in made if one.get("type") == "Opaque"}


def place(group):
    """Where a group is asked for: api/v1, apis/apps/v1."""
    return f"apis/{group}" if "/" in group else f"api/{group}"


def validating(path):
    """A description that says only that the server looks at fields itself."""
    name = path.split("/", 1)[1]
    group, _, version = name.rpartition("/")
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {
        f"/{path}/namespaces/{{namespace}}/{plural}/{{name}}": {
            "patch": {
                "parameters": [parameter],
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
                "responses": {},
            }
        }
        for kind, plural in KINDS.get(name, [])
    }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1"}, "paths": paths}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    cluster = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Says nothing."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.cluster.asked.append(self.path)
        if path == "/version":
            return self.answer({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})
        if path == "/api":
            return self.answer({"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            groups = [group.split("/") for group in KINDS if "/" in group]
            listed = [
                {"name": name, "versions": [version := {"groupVersion": f"{name}/{number}", "version": number}], "preferredVersion": version}
                for name, number in groups
            ]
            return self.answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        for group, kinds in KINDS.items():
            if path == f"/{place(group)}":
                listed = [
                    {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list", "create", "patch", "update", "delete"]}
                    for kind, plural in kinds
                ]
                return self.answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": listed})
        if path == "/openapi/v3":
            urls = {place(group): {"serverRelativeURL": f"/openapi/v3/{place(group)}"} for group in KINDS}
            return self.answer({"paths": urls})
        if path.startswith("/openapi/v3/"):
            return self.answer(validating(path.removeprefix("/openapi/v3/")))
        if path in self.cluster.objects:
            return self.answer(self.cluster.objects[path])
        if re.search(r"/namespaces/[^/]+/[a-z]+$", path):
            return self.answer(self.listed(path, query))
        return self.missing()

    def listed(self, path, query):
        """A list, as far as labels limit it."""
        wanted = urllib.parse.parse_qs(query).get("labelSelector", [""])[0]
        pairs = [pair.split("=") for pair in wanted.split(",") if "=" in pair and "!" not in pair]
        items = [
            one for place, one in self.cluster.objects.items()
            if place.startswith(path + "/") and all(one["metadata"].get("labels", {}).get(k) == v for k, v in pairs)
        ]
        kind = next((kind for kinds in KINDS.values() for kind, plural in kinds if path.endswith(plural)), "Unknown")
        return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}

    def do_POST(self):
        one = self.body()
        self.keep(f"{self.path.partition('?')[0]}/{one['metadata']['name']}", one, 201)

    def do_PUT(self):
        self.keep(self.path.partition("?")[0], self.body(), 200)

    def do_PATCH(self):
        path = self.path.partition("?")[0]
        self.keep(path, self.cluster.objects.get(path, {}) | self.body(), 200)

    def do_DELETE(self):
        self.body()
        self.cluster.objects.pop(self.path.partition("?")[0], None)
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def keep(self, path, one, status):
        """Keeps an object, as a cluster would complete it."""
        one["metadata"] = {"namespace": "media", "uid": path, "resourceVersion": "1"} | one["metadata"]
        if "stringData" in one:
            raise ValueError("stringData")
        self.cluster.objects[path] = one
        self.answer(one, status)

    def body(self):
        """The body, which is JSON, or YAML that is."""
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(text) if text else {}

    def missing(self):
        """What is not there."""
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}, 404)

    def answer(self, body, status=200):
        """One answer."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
