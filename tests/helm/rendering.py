"""Renders the chart with Helm's own engine, and reads what comes of it."""

import pathlib

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "iceway"
HERE = pathlib.Path(__file__).resolve().parent
RELEASE, NAMESPACE = "turn", "media"


class Strict(yaml.CSafeLoader):
    """YAML as Kubernetes takes it: the same key twice is a fault."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


class Rendered:
    """What the chart makes of one set of values."""

    def __init__(self, name, values, chart):
        self.name, self.values = name, values
        self.merged = chart.merge_values(values)
        files = chart.render(values, name=RELEASE, namespace=NAMESPACE)
        self.notes = files.pop("iceway/templates/NOTES.txt")
        self.objects = [
            document for text in files.values() for document in yaml.load_all(text, Loader=Strict) if document
        ]

    def of(self, kind):
        """All objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def names(self, kind):
        """The names of all objects of a kind."""
        return {one["metadata"]["name"] for one in self.of(kind)}

    @property
    def workload(self):
        """The Deployment or DaemonSet."""
        (workload,) = self.of("Deployment") + self.of("DaemonSet")
        return workload

    @property
    def pod(self):
        """The specification of its pods."""
        return self.workload["spec"]["template"]["spec"]

    @property
    def container(self):
        """The one container of these."""
        (container,) = self.pod["containers"]
        return container

    @property
    def config(self):
        """The text of iceway.toml."""
        (config,) = [one for one in self.of("ConfigMap") if "iceway.toml" in one["data"]]
        return config["data"]["iceway.toml"]

    def environment(self, **addresses):
        """What the container's environment says in the open, with these in place of what only a cluster knows."""
        known, plain = dict(addresses), {}
        for one in self.container["env"]:
            if "fieldRef" in one.get("valueFrom", {}):
                known.setdefault(one["name"], "known-in-a-cluster")
                plain[one["name"]] = known[one["name"]]
            elif "value" in one:
                value = one["value"]
                for name, content in known.items():
                    value = value.replace(f"$({name})", content)
                plain[one["name"]] = value
        return plain


def load():
    """The chart."""
    return helm_python.Chart.load(CHART)


def value_sets():
    """Every set of values that has to work, by name."""
    return {file.stem: yaml.safe_load(file.read_text()) or {} for file in sorted((HERE / "values").glob("*.yaml"))}


def render_all(chart):
    """What the chart makes of each of them."""
    return [Rendered(name, values, chart) for name, values in value_sets().items()]
