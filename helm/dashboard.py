#!/usr/bin/env python3
"""Writes helm/iceway/files/dashboard.json, the dashboard for Grafana 10 and newer.

With --check nothing is written; it fails if the file is not what would be.
"""

import json
import pathlib
import sys

TARGET = pathlib.Path(__file__).resolve().parent / "iceway" / "files" / "dashboard.json"

# In every expression @ stands for the instances that are chosen.
CHOSEN = 'job=~"$job",instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

STAT, GRAPH, TABLE = "stat", "timeseries", "table"

# Rows of panels: title, kind, width of 24, unit, what it says, and queries with their legends. Colours: red from where on.
ROWS = [
    ("Overview", [
        ("Nodes", STAT, 4, "short", "Nodes that answer and take new clients.", [('count(iceway_draining{@} == 0)', "serving")]),
        ("Nodes down or draining", STAT, 4, "short", "Nodes that drain, and targets of the job that do not answer.",
         [('count(iceway_draining{@} == 1) or vector(0)', "draining"), ('count(up{@} == 0) or vector(0)', "down")], 1),
        ("Allocations", STAT, 4, "short", "Live allocations.", [('sum(iceway_allocations{@})', "")]),
        ("Calls", STAT, 4, "short", "Calls that were answered and go on.", [('sum(iceway_calls_active{@,state="active"})', "")]),
        ("Relayed", STAT, 4, "bps", "Payload in both directions.", [('sum(rate(iceway_relayed_bytes_total{@}[$__rate_interval])) * 8', "")]),
        ("Certificate", STAT, 4, "s", "Until the first certificate expires.",
         [('min(iceway_tls_certificate_expiry_timestamp_seconds{@}) - time()', "")]),
        ("Allocations by node", GRAPH, 12, "short", "A node that drains empties.", [('sum by (instance) (iceway_allocations{@})', "{{instance}}")]),
        ("Relayed by node", GRAPH, 12, "bps", "Payload in both directions.",
         [('sum by (instance) (rate(iceway_relayed_bytes_total{@}[$__rate_interval])) * 8', "{{instance}}")]),
        ("Processors by node", GRAPH, 8, "percentunit", "Of the relay threads; above 0.9 packets wait.",
         [('rate(process_cpu_seconds_total{@}[$__rate_interval]) / on (job, instance) iceway_shards{@}', "{{instance}}")], 0.9),
        ("Memory by node", GRAPH, 8, "bytes", "Resident.", [('process_resident_memory_bytes{@}', "{{instance}}")]),
        ("Descriptors by node", GRAPH, 8, "percentunit", "Open ones of those allowed.",
         [('process_open_fds{@} / process_max_fds{@}', "{{instance}}")], 0.85),
        ("Sent to other nodes", GRAPH, 12, "ops", "Clients that a node which drains answers with the address of another (300).",
         [('sum by (instance) (rate(iceway_drain_redirected_total{@}[$__rate_interval]))', "{{instance}}")]),
        ("Left to drain", GRAPH, 12, "s", "Until the time of a drain is over.",
         [('(iceway_drain_deadline_timestamp_seconds{@} > 0) - time()', "{{instance}}")]),
        ("Versions", TABLE, 12, "short", "What runs where.", [('max by (instance, version) (iceway_build_info{@})', "")]),
        ("Up since", TABLE, 12, "dateTimeFromNow", "When each process was started.",
         [('max by (instance) (process_start_time_seconds{@}) * 1000', "")]),
    ]),
    ("Relay", [
        ("Allocations by transport", GRAPH, 8, "short", "How clients reach the relay. Much tcp and tls means networks that let no UDP out.",
         [('sum by (transport) (iceway_allocations{@})', "{{transport}}")]),
        ("New allocations", GRAPH, 8, "ops", "Made, by transport.",
         [('sum by (transport) (rate(iceway_allocations_created_total{@}[$__rate_interval]))', "{{transport}}")]),
        ("Ended allocations", GRAPH, 8, "ops", "By reason; expired are clients that vanished.",
         [('sum by (reason) (rate(iceway_allocations_closed_total{@}[$__rate_interval]))', "{{reason}}")]),
        ("Payload", GRAPH, 12, "bps", "To peers and to clients. One side at zero: a firewall, or relay.external.",
         [('sum by (direction) (rate(iceway_relayed_bytes_total{@}[$__rate_interval])) * 8', "{{direction}}")]),
        ("Packets", GRAPH, 12, "pps", "To peers and to clients.",
         [('sum by (direction) (rate(iceway_relayed_datagrams_total{@}[$__rate_interval]))', "{{direction}}")]),
        ("Loss on the way here", GRAPH, 12, "percentunit", "Of the RTP streams that quality.sample measures; one side only: the network of clients, or of peers.",
         [('sum by (direction) (rate(iceway_call_quality_lost_packets_total{@}[$__rate_interval])) / sum by (direction) (rate(iceway_call_quality_packets_total{@}[$__rate_interval]))', "{{direction}}")], 0.05),
        ("Jitter on the way here, 95 %", GRAPH, 12, "s", "Of the RTP streams that quality.sample measures.",
         [('histogram_quantile(0.95, sum by (direction, le) (rate(iceway_call_quality_jitter_seconds_bucket{@}[$__rate_interval])))', "{{direction}}")]),
        ("Free relay ports", GRAPH, 8, "percentunit", "Of the range; at zero allocations are refused with 508.",
         [('iceway_relay_ports{@,state="free"} / ignoring (state) sum without (state) (iceway_relay_ports{@})', "{{instance}} {{family}}")]),
        ("Permissions and channels", GRAPH, 8, "short", "Held by live allocations.",
         [('sum(iceway_permissions{@})', "permissions"), ('sum(iceway_channels{@})', "channels")]),
        ("Datagrams for each system call", GRAPH, 8, "short", "How well sends are merged.",
         [('sum(rate(iceway_segments_sent_total{@}[$__rate_interval])) / sum(rate(iceway_segmented_sends_total{@}[$__rate_interval]))', "merged sends")]),
        ("TCP and TLS connections", GRAPH, 8, "short", "By how far they have come.",
         [('sum by (state) (iceway_stream_connections{@})', "{{state}}")]),
        ("Connections ended", GRAPH, 8, "ops", "By reason.",
         [('sum by (reason) (rate(iceway_stream_connections_closed_total{@}[$__rate_interval]))', "{{reason}}")]),
        ("TLS handshakes", GRAPH, 8, "ops", "Completed ones.", [('sum by (instance) (rate(iceway_tls_handshakes_total{@}[$__rate_interval]))', "{{instance}}")]),
    ]),
    ("Refusals and drops", [
        ("Answers to Allocate", GRAPH, 12, "ops", "401 once for each client is usual.",
         [('sum by (code) (rate(iceway_stun_responses_total{@,method="allocate"}[$__rate_interval]))', "{{code}}")]),
        ("Other requests that failed", GRAPH, 12, "ops", "By method and code; 438 is usual.",
         [('sum by (method, code) (rate(iceway_stun_responses_total{@,method!="allocate",code!="success"}[$__rate_interval])) > 0', "{{method}} {{code}}")]),
        ("Credentials refused", GRAPH, 8, "ops", "By reason; stale_nonce is usual.",
         [('sum by (reason) (rate(iceway_authentication_failures_total{@}[$__rate_interval]))', "{{reason}}")]),
        ("Quotas used up", GRAPH, 8, "ops", "Allocations refused.",
         [('sum by (quota) (rate(iceway_allocations_refused_total{@}[$__rate_interval]))', "{{quota}}")]),
        ("Peers denied", GRAPH, 8, "ops", "By the built-in list or by peers.deny.",
         [('sum by (rule) (rate(iceway_peers_denied_total{@}[$__rate_interval]))', "{{rule}}")]),
        ("Drops", GRAPH, 12, "pps", "By reason; no_permission is usual while calls are set up.",
         [('sum by (reason) (rate(iceway_datagrams_dropped_total{@}[$__rate_interval])) > 0', "{{reason}}")]),
        ("Dropped for slow TCP clients", GRAPH, 12, "pps", "Media that a client did not read in time.",
         [('sum by (instance) (rate(iceway_stream_datagrams_dropped_total{@}[$__rate_interval]))', "{{instance}}")]),
        ("The kernel refused", GRAPH, 12, "pps", "Sends by reason, and receives that failed.",
         [('sum by (reason) (rate(iceway_sends_failed_total{@}[$__rate_interval]))', "send: {{reason}}"),
          ('sum(rate(iceway_receives_failed_total{@}[$__rate_interval]))', "receive")]),
        ("Sockets refused", GRAPH, 12, "ops", "Relay sockets not bound, connections not accepted or closed at once.",
         [('sum by (reason) (rate(iceway_relay_binds_failed_total{@}[$__rate_interval]))', "bind: {{reason}}"),
          ('sum by (reason) (rate(iceway_stream_accepts_failed_total{@}[$__rate_interval]))', "accept: {{reason}}"),
          ('sum by (reason) (rate(iceway_stream_connections_refused_total{@}[$__rate_interval]))', "closed: {{reason}}")]),
    ]),
    ("API", [
        ("Requests", GRAPH, 12, "reqps", "By what they are about.",
         [('sum by (route) (rate(iceway_api_requests_total{@}[$__rate_interval]))', "{{route}}")]),
        ("Requests that failed", GRAPH, 12, "reqps", "4xx are the caller's faults, 5xx ours.",
         [('sum by (route, status) (rate(iceway_api_requests_total{@,status=~"4xx|5xx"}[$__rate_interval]))', "{{route}} {{status}}")]),
        ("Credentials issued", GRAPH, 8, "ops", "By the form they were asked for in.",
         [('sum by (dialect) (rate(iceway_credentials_issued_total{@}[$__rate_interval]))', "{{dialect}}")]),
        ("Callers turned away", GRAPH, 8, "ops", "By the code of the answer.",
         [('sum by (reason) (rate(iceway_api_authentication_failures_total{@}[$__rate_interval]))', "{{reason}}")]),
        ("Fetches of the issuer's keys", GRAPH, 8, "ops", "By result.",
         [('sum by (result) (rate(iceway_jwks_refreshes_total{@}[$__rate_interval]))', "{{result}}")]),
        ("Secrets, keys, revocations", GRAPH, 12, "short", "What is accepted, and what is taken back.",
         [('max(iceway_secrets{@})', "secrets"), ('max(iceway_api_keys{@})', "API keys"), ('max(iceway_revocations{@})', "revocations")]),
        ("Usage records", GRAPH, 12, "short", "That wait to be taken; lost ones are counted.",
         [('sum by (instance) (iceway_usage_records_pending{@})', "{{instance}} waiting"),
          ('sum(increase(iceway_usage_records_lost_total{@}[$__rate_interval]))', "lost")]),
    ]),
    ("Signaling and calls", [
        ("Sessions", GRAPH, 8, "short", "Attached have a socket, detached wait to be resumed.",
         [('sum by (state) (iceway_signal_sessions{@})', "{{state}}")]),
        ("Calls now", GRAPH, 8, "short", "That ring, and that were answered.", [('sum by (state) (iceway_calls_active{@})', "{{state}}")]),
        ("Calls that ended", GRAPH, 8, "ops", "By how they came out.",
         [('sum by (outcome) (rate(iceway_calls_total{@}[$__rate_interval]))', "{{outcome}}")]),
        ("Time to ring and to answer", GRAPH, 8, "s", "From the offer on, on average.",
         [('sum by (phase) (rate(iceway_calls_setup_seconds_total{@}[$__rate_interval])) / sum by (phase) (rate(iceway_calls_setups_total{@}[$__rate_interval]))', "{{phase}}")]),
        ("Time to ring and to answer, 95 %", GRAPH, 8, "s", "From the offer until a device rang, and from there until one answered.",
         [('histogram_quantile(0.95, sum by (phase, le) (rate(iceway_calls_progress_seconds_bucket{@}[$__rate_interval])))', "{{phase}}")]),
        ("Relayed calls", GRAPH, 8, "percentunit", "Of those whose clients said which way their media went.",
         [('sum(rate(iceway_calls_paths_total{@,path="relayed"}[$__rate_interval])) / sum(rate(iceway_calls_paths_total{@}[$__rate_interval]))', "relayed")]),
        ("Round trips of signaling", GRAPH, 8, "s", "Until clients answered a ping, for half and for 95 % of them.",
         [('histogram_quantile(0.5, sum by (le) (rate(iceway_signal_rtt_seconds_bucket{@}[$__rate_interval])))', "half"),
          ('histogram_quantile(0.95, sum by (le) (rate(iceway_signal_rtt_seconds_bucket{@}[$__rate_interval])))', "95 %")]),
        ("Frames", GRAPH, 8, "ops", "From clients and to them.",
         [('sum by (direction) (rate(iceway_signal_frames_total{@}[$__rate_interval]))', "{{direction}}")]),
        ("Resumes", GRAPH, 8, "ops", "Clients that came back, by what became of it.",
         [('sum by (result) (rate(iceway_signal_resumes_total{@}[$__rate_interval]))', "{{result}}")]),
        ("Sockets closed", GRAPH, 8, "ops", "By close code; from 4400 on the client is at fault.",
         [('sum by (code) (rate(iceway_signal_closes_total{@}[$__rate_interval]))', "{{code}}")]),
        ("Limits reached", GRAPH, 8, "ops", "By limit.",
         [('sum by (limit) (rate(iceway_signal_trips_total{@}[$__rate_interval]))', "{{limit}}")]),
        ("Questions to the backend", GRAPH, 8, "ops", "By result.",
         [('sum by (result) (rate(iceway_signal_decisions_total{@}[$__rate_interval]))', "{{result}}")]),
        ("Waiting for the backend", GRAPH, 8, "s", "For one answer, on average.",
         [('sum by (kind) (rate(iceway_signal_decisions_waited_seconds_total{@}[$__rate_interval])) / sum by (kind) (rate(iceway_signal_decisions_total{@}[$__rate_interval]))', "{{kind}}")]),
        ("Kept for clients", GRAPH, 8, "bytes", "Frames that clients have not acknowledged.",
         [('sum by (instance) (iceway_signal_queue_bytes{@})', "{{instance}}")]),
        ("Webhooks", GRAPH, 8, "ops", "Attempts by result.",
         [('sum by (result) (rate(iceway_webhook_deliveries_total{@}[$__rate_interval]))', "{{result}}")]),
        ("Webhooks that wait", GRAPH, 8, "short", "Events to be delivered, and those given up.",
         [('sum(iceway_webhook_pending{@})', "waiting"), ('max(iceway_webhook_dead_letters{@})', "given up")]),
        ("Age of the oldest webhook", GRAPH, 8, "s", "Of those that wait.",
         [('max by (instance) (iceway_webhook_oldest_seconds{@})', "{{instance}}")], 300),
    ]),
    ("Cluster", [
        ("Nodes as each sees them", GRAPH, 8, "short", "They should agree.",
         [('sum by (instance, state) (iceway_cluster_nodes{@})', "{{instance}} {{state}}")]),
        ("Redis reached", GRAPH, 8, "bool_on_off", "Whether other nodes can be reached.",
         [('iceway_cluster_connected{@}', "{{instance}}")]),
        ("Time without Redis", GRAPH, 8, "percentunit", "Part of the time in which it was not reached.",
         [('rate(iceway_cluster_degraded_seconds_total{@}[$__rate_interval])', "{{instance}}")]),
        ("Commands to Redis", GRAPH, 8, "ops", "Sent, and failed.",
         [('sum by (instance) (rate(iceway_redis_commands_total{@}[$__rate_interval]))', "{{instance}}"),
          ('sum by (instance) (rate(iceway_redis_commands_failed_total{@}[$__rate_interval]))', "{{instance}} failed")]),
        ("Refused from other nodes", GRAPH, 8, "ops", "Forged, replayed, or sealed with another key. Should be none.",
         [('sum by (instance) (rate(iceway_cluster_frames_refused_total{@}[$__rate_interval]))', "{{instance}} messages"),
          ('sum by (instance) (rate(iceway_cluster_rows_refused_total{@}[$__rate_interval]))', "{{instance}} rows")]),
        ("Store", GRAPH, 8, "ops", "Commits, and failures.",
         [('sum by (instance) (rate(iceway_store_commits_total{@}[$__rate_interval]))', "{{instance}}"),
          ('sum by (instance) (rate(iceway_store_errors_total{@}[$__rate_interval]))', "{{instance}} failed")]),
    ]),
]


def main():
    """Writes the file, or compares it."""
    wanted = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(wanted)
    elif not TARGET.exists() or TARGET.read_text() != wanted:
        sys.exit("helm/iceway/files/dashboard.json is not what helm/dashboard.py writes: run it")


def dashboard():
    """All of it."""
    return {
        "title": "iceway",
        "uid": "iceway",
        "description": "TURN relay, credentials, signaling and calls",
        "tags": ["iceway", "turn", "webrtc"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables()},
        "annotations": {"list": [restarts()]},
        "panels": panels(),
    }


def variables():
    """What is chosen above: where from, which job, which instances."""
    def of(name, label, query):
        return {
            "name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "sort": 1, "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        of("job", "Job", "label_values(iceway_build_info, job)"),
        of("instance", "Node", 'label_values(iceway_build_info{job=~"$job"}, instance)'),
    ]


def restarts():
    """Marks where a process was started."""
    return {
        "name": "Starts", "datasource": DATASOURCE, "enable": True, "iconColor": "blue", "titleFormat": "{{instance}} started",
        "expr": f"changes(process_start_time_seconds{{{CHOSEN}}}[2m]) > 0", "step": "60s",
    }


def panels():
    """Rows and their panels, laid out from left to right."""
    made, y = [], 0
    for title, members in ROWS:
        made.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": at(0, y, 24, 1)})
        y, x, height = y + 1, 0, 0
        for member in members:
            width = member[2]
            if x + width > 24:
                x, y, height = 0, y + height, 0
            made.append(panel(member, at(x, y, width, 4 if member[1] == STAT else 8)))
            x, height = x + width, max(height, made[-1]["gridPos"]["h"])
        y += height
    for number, one in enumerate(made, 1):
        one["id"] = number
    return made


def at(x, y, width, height):
    """A place on the grid."""
    return {"x": x, "y": y, "w": width, "h": height}


def panel(member, place):
    """One panel."""
    title, kind, _, unit, description, queries, *limit = member
    steps = [{"color": "green", "value": None}] + [{"color": "red", "value": value} for value in limit]
    defaults = {"unit": unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == STAT:
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value", "graphMode": "area"}
    elif kind == TABLE:
        options = {"showHeader": True, "cellHeight": "sm"}
    else:
        defaults["custom"] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "thresholdsStyle": {"mode": "line" if limit else "off"}}
    made = {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE, "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        "targets": [target(number, query, legend, kind) for number, (query, legend) in enumerate(queries)],
    }
    if kind == TABLE:
        # Of what runs where the value says nothing.
        hidden = {"Time": True, **({"Value": True} if unit == "short" else {})}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def target(number, query, legend, kind):
    """One query of a panel."""
    return {
        "refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": query.replace("@", CHOSEN), "legendFormat": legend or "__auto",
        **({"instant": True, "range": False, "format": "table"} if kind == TABLE else {"range": True}),
    }


if __name__ == "__main__":
    main()
