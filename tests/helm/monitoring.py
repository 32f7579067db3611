"""Tests of the alerts and the dashboard; the first argument says which."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
FILES = ROOT / "helm" / "iceway" / "files"
RULES = FILES / "iceway.rules.yml"

# What Prometheus itself makes.
BUILT_IN = {"up"}


def main():
    """Runs one test, and says all that is wrong."""
    faults = TESTS[sys.argv[1]]()
    if faults:
        sys.exit("\n".join(faults))


def known_metrics():
    """Names of all metrics with their labels, from the table in the code."""
    table = (ROOT / "src/telemetry/metrics.rs").read_text()
    found = re.findall(r'^    [A-Z_0-9]+: (?:Counter|Gauge|Histogram) "(\w+)" \[([^\]]*)\]', table, re.M)
    return {name: set(re.findall(r'"(\w+)"', labels)) for name, labels in found}


def misnamed(expression, where):
    """Metrics in an expression that are not in the table, and labels that they do not have."""
    known, faults = known_metrics(), []
    if len(known) < 50:
        return [f"only {len(known)} metrics were found in src/telemetry/metrics.rs"]
    for name, matchers in re.findall(r"\b((?:iceway|process)_\w+|up)\b(?:\{([^}]*)\})?", expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if name in BUILT_IN or name in known or base in known:
            labels = known.get(name, known.get(base, set())) | {"job", "instance", "namespace", "le"}
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
                if label not in labels:
                    faults.append(f"{where}: {name} has no label {label}")
        else:
            faults.append(f"{where}: there is no metric {name}")
    return faults


def rules():
    """The alerts are sound, say all an operator needs, and name metrics that there are."""
    faults = [] if (said := promtool("check", "rules", RULES)) is None else [said]
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    names = [alert["alert"] for alert in alerts]
    if len(names) != len(set(names)):
        faults.append("a name is there twice")
    for alert in alerts:
        name = alert["alert"]
        faults += misnamed(alert["expr"], name)
        if alert["labels"].get("severity") not in ("critical", "warning"):
            faults.append(f"{name}: severity is {alert['labels'].get('severity')}")
        for part in ("summary", "description", "runbook"):
            if len(alert["annotations"].get(part, "")) < 30:
                faults.append(f"{name}: {part} says nothing")
        faults += unheard_of(alert["annotations"]["description"] + " " + alert["annotations"]["runbook"], name, names)
        if "$labels" not in alert["annotations"]["summary"] and "{{ $value" not in alert["annotations"]["summary"]:
            faults.append(f"{name}: the summary does not say where")
    return faults


def unheard_of(text, where, alerts):
    """What a text sends its reader to and that there is not: metrics, keys of the configuration, commands, alerts, paths."""
    reference = (ROOT / "config/REFERENCE.md").read_text()
    keys = set(re.findall(r"^\| `([a-z_.]+)` \| ", reference, re.M))
    sections = {key.split(".")[0] for key in keys}
    commands = (ROOT / "src/cli/command.rs").read_text() + "".join(
        file.read_text() for file in (ROOT / "src/cli").glob("*.rs")
    )
    paths = set(json.loads((ROOT / "config/openapi.json").read_text())["paths"])
    faults = [f"{where}: there is no alert {name}" for name in re.findall(r"Iceway[A-Z]\w+", text) if name not in alerts]
    faults += [f"{where}: there is no {name}" for name in re.findall(r"\biceway_\w+", text) if f"`{name}`" not in reference]
    for key in re.findall(r"(?<![\w.-])([a-z]+\.[a-z_]+)\b(?!\*)", text):
        if key.split(".")[0] in sections and key not in keys and not any(known.startswith(key) for known in keys):
            faults.append(f"{where}: there is no key {key}")
    for command in re.findall(r"\biceway ((?:[a-z-]+ ?)+)", text):
        if (first := command.split()[0]) not in ("at",) and f'Command::new("{first}")' not in commands:
            faults.append(f"{where}: there is no command {first}")
    faults += [f"{where}: there is no path {path}" for path in re.findall(r"/v1/[a-z/]+|/healthz|/readyz", text) if path not in paths]
    return faults


def alerts():
    """Each alert fires where it should, and not where it is close."""
    # As text: promtool's "0x40" is no number.
    cases = yaml.load((HERE / "alerts.yaml").read_text(), Loader=yaml.BaseLoader)
    named = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    faults = [f"{name}: no case" for name in sorted(named - set(cases))]
    faults += [f"{name}: no such alert" for name in sorted(set(cases) - named)]
    series, questions = [], []
    for name, case in cases.items():
        for kind in ("fires", "quiet"):
            for number, metrics in enumerate(case[kind]):
                place = f"{name}-{kind}-{number}"
                series += [located(metric, values, place) for metric, values in metrics.items()]
                series.append(located('iceway_build_info{version="1"}', "1x300", place))
                questions.append(question(name, case.get("at", "40m"), place, kind == "fires"))
    # All in one, each case a job of its own: starting Prometheus' storage takes longer than all questions.
    test = {"interval": "1m", "input_series": series, "promql_expr_test": questions}
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "tests.yml"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
        said = promtool("test", "rules", file)
    return faults + ([said] if said else [])


def question(alert, at, place, fires):
    """Whether an alert fires for the job of a case."""
    wanted = [{"labels": f'{{case="{place}"}}', "value": 1}] if fires else []
    fired = f'count(ALERTS{{alertname="{alert}",alertstate="firing",job=~"[a-z]+-{place}"}}) > bool 0'
    return {"expr": f'label_replace({fired}, "case", "{place}", "", "")', "eval_time": at, "exp_samples": wanted}


def located(metric, values, place):
    """A series with the job of its case, and an instance."""
    name, _, labels = metric.rstrip("}").partition("{")
    labels = dict(label.split("=", 1) for label in labels.split(",") if label)
    job = labels.pop("job", '"iceway"').strip('"')
    labels = {"instance": '"a"', **labels, "job": f'"{job}-{place}"'}
    return {"series": name + "{" + ",".join(f"{key}={value}" for key, value in labels.items()) + "}", "values": values}


def dashboard():
    """The dashboard is of one piece, every query is understood, finds what it asks for, and has the unit of its answer."""
    board = json.loads((FILES / "dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    faults = structure(board)
    queries = {}
    for panel in panels:
        for one in panel["targets"]:
            where = f"{panel['title']} {one['refId']}"
            if where in queries:
                faults.append(f"{where}: twice")
            if one["expr"].count('job=~"$job",instance=~"$instance"') != len(selectors(one["expr"])):
                faults.append(f"{where}: is not limited to the chosen instances")
            queries[where] = one["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
            faults += misnamed(queries[where], where)
            unit = panel["fieldConfig"]["defaults"]["unit"]
            if unit not in units(one["expr"]):
                faults.append(f"{where}: the unit is {unit}, of {units(one['expr'])}")
    queries |= {
        one["name"]: one["expr"].replace("$job", ".*").replace("$instance", ".*") for one in board["annotations"]["list"]
    }
    return faults + answered(queries)


def structure(board):
    """What Grafana needs to show it at all."""
    faults, seen, ids = [], set(), [panel["id"] for panel in board["panels"]]
    if len(ids) != len(set(ids)) or board["schemaVersion"] < 36 or not board["uid"]:
        faults.append("ids, uid or the version of the schema")
    if [one["name"] for one in board["templating"]["list"]] != ["datasource", "job", "instance"]:
        faults.append("the variables are not datasource, job, instance")
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if place["x"] + place["w"] > 24 or cells & seen:
            faults.append(f"{panel['title']}: lies over another panel, or beyond the edge")
        seen |= cells
        if panel["type"] != "row" and (len(panel["description"]) < 5 or panel["datasource"]["uid"] != "${datasource}"):
            faults.append(f"{panel['title']}: no description, or a datasource of its own")
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    if rows != ["Overview", "Relay", "Refusals and drops", "API", "Signaling and calls", "Cluster"]:
        faults.append(f"the rows are {rows}")
    return faults


def units(expression):
    """Units that fit what an expression answers."""
    if "histogram_quantile" in expression or " / " in expression and "_seconds_total" in expression and "process_cpu" not in expression:
        return {"s"}
    if "degraded_seconds_total" in expression or " / " in expression:
        return {"percentunit", "short"}
    if "* 8" in expression:
        return {"bps"}
    if "rate(" in expression:
        packets = re.search(r"iceway_(\w+_)?(datagrams|sends_failed|receives_failed)", expression)
        return {"pps"} if packets else {"reqps"} if "api_requests" in expression else {"ops"}
    if "_bytes{" in expression:
        return {"bytes"}
    if "start_time_seconds" in expression:
        return {"dateTimeFromNow"}
    if "_seconds{" in expression:
        return {"s"}
    return {"bool_on_off"} if expression.startswith("iceway_cluster_connected") else {"short"}


def selectors(expression):
    """Each metric in an expression with its matchers, as (label, operator, value)."""
    found = re.findall(r"\b((?:iceway|process)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    return [(name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)) for name, matchers in found]


def answered(queries):
    """Asks Prometheus each query, of series made for it: what matches nothing by mistake has no answer."""
    series, questions = {}, []
    known = known_metrics()
    for expression in queries.values():
        for name, matchers in selectors(expression):
            base = name.removesuffix("_bucket")
            labels = dict.fromkeys(known.get(base, set()), "x") | {"job": "iceway", "instance": "a"}
            for label, operator, value in matchers:
                if operator in ("=", "=~") and ".*" not in value:
                    labels[label] = value.split("|")[0]
            for end in ("1", "+Inf") if name != base else ("",):
                labels |= {"le": end} if end else {}
                text = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
                series[f"{name}{{{text}}}"] = "0x20" if name in ("up", "iceway_draining") else "1+1x20"
        # Of two states of a node only one can be: both are asked for.
        asked = f"count({expression}) >= bool 1"
        if "== 1" in expression and "or vector" not in expression:
            asked = f"count({expression.replace('== 1', '== 0')}) >= bool 1"
        questions.append({"expr": asked, "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]})
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "tests.yml"
        file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": questions}]}))
        said = promtool("test", "rules", file)
    return [said] if said else []


def compared_values():
    """Every (metric, label, value) that alerts and dashboard compare with."""
    texts = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    board = json.loads((FILES / "dashboard.json").read_text())
    texts += [one["expr"] for panel in board["panels"] for one in panel.get("targets", [])]
    return {
        (name, label, value)
        for text in texts for name, matchers in selectors(text) for label, _, values in matchers
        for value in values.split("|") if label not in ("job", "instance")
    }


def promtool(*arguments):
    """What promtool says, if it is not content."""
    command = ["timeout", "60", "promtool", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True)
    return None if answer.returncode == 0 else answer.stdout + answer.stderr


TESTS = {"rules": rules, "alerts": alerts, "dashboard": dashboard}

if __name__ == "__main__":
    main()
