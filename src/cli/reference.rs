//! The reference, generated from the tables of the code.

use super::{
    doctor::{Check, Level},
    exit::EXIT_CODES,
    meanings,
};
use crate::{
    api::{DecisionResult, PROBLEMS},
    config::reference_table,
    runtime::{AcceptFailure, StreamClose, StreamRefusal, StreamState},
    signaling::{CloseCode, ErrorCode, Rule},
    telemetry::{Kind, METRICS},
    turn::{BindError, Cause, CloseReason, Code, DropReason, Label, QuotaKind, Refusal, Request, Transport},
};

/// `config/REFERENCE.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Reference\n\nGenerated from the code; a test keeps it so. `config/iceway.toml` is the same table as a file.\n\n\
         ## Configuration\n\n\
         Precedence: flag, environment, file, default. An empty variable counts as not set. Switches take `true` or\n\
         `false`; as a flag, the name alone is `true`. Lists are arrays in the file; as a flag they may be repeated, and\n\
         in flags and variables commas separate. Durations: `30` (seconds), `30s`, `10m`, `1h30m`. Sizes: bytes, `64KiB`,\n\
         `4MiB`, `10MB`. Rates: bytes per second, `500kB/s`, `8Mbit/s`. 0 is unlimited where it says so.\n\n",
    );
    text.push_str(&reference_table());
    text.push_str(
        "\nA path may begin with `$CREDENTIALS_DIRECTORY/`, which systemd sets (`LoadCredential=`). A key of a FILE that is\n\
         not set is taken from that directory if it holds a file called like the key, such as `auth.secret_file`, also\n\
         after `iceway_`.\n",
    );
    text.push_str("\n`ICEWAY_CONFIG` names the file, as `--config` does. Unknown keys, flags and `ICEWAY_` variables are errors.\n");
    metrics(&mut text);
    labels(&mut text);
    causes(&mut text);
    log_lines(&mut text);
    problems(&mut text);
    signaling(&mut text);
    doctor(&mut text);
    exits(&mut text);
    text
}

fn metrics(text: &mut String) {
    text.push_str("\n## Metrics\n\n| name | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help));
    }
}

fn labels(text: &mut String) {
    text.push_str("\n## Reasons and codes\n\nEvery refusal and every drop is counted under one of these.\n");
    explained::<DropReason>(text, "iceway_datagrams_dropped_total", "reason", meanings::of_drop);
    explained::<Refusal>(text, "iceway_authentication_failures_total", "reason", meanings::of_refusal);
    explained::<Code>(text, "iceway_stun_responses_total", "code", meanings::of_code);
    text.push_str("\nOther labels:\n\n");
    list::<Request>(text, "iceway_stun_responses_total", "method");
    list::<Transport>(text, "iceway_allocations", "transport");
    list::<CloseReason>(text, "iceway_allocations_closed_total", "reason");
    list::<QuotaKind>(text, "iceway_allocations_refused_total", "quota");
    list::<BindError>(text, "iceway_relay_binds_failed_total", "reason");
    list::<StreamState>(text, "iceway_stream_connections", "state");
    list::<StreamRefusal>(text, "iceway_stream_connections_refused_total", "reason");
    list::<StreamClose>(text, "iceway_stream_connections_closed_total", "reason");
    list::<AcceptFailure>(text, "iceway_stream_accepts_failed_total", "reason");
}

fn explained<L: Label>(text: &mut String, metric: &str, label: &str, meaning: fn(L) -> &'static str) {
    text.push_str(&format!("\n`{metric}`\n\n| {label} | meaning |\n|---|---|\n"));
    for member in L::MEMBERS {
        text.push_str(&format!("| `{}` | {} |\n", member.label(), meaning(*member)));
    }
}

fn list<L: Label>(text: &mut String, metric: &str, label: &str) {
    let values: Vec<String> = L::MEMBERS.iter().map(|member| format!("`{}`", member.label())).collect();
    text.push_str(&format!("- `{metric}`, `{label}`: {}\n", values.join(", ")));
}

/// What `iceway explain` may find.
fn causes(text: &mut String) {
    text.push_str("\n## Causes\n\n`iceway explain` and `GET /v1/explain/{user}` tell of these; what happened and the mend are sentences.\n\n");
    let names: Vec<String> = Cause::NAMES.iter().map(|name| format!("`{name}`")).collect();
    text.push_str(&format!("{}\n", names.join(", ")));
}

fn log_lines(text: &mut String) {
    text.push_str(
        "\n## Log lines\n\nMessages and fields of these lines stay as they are, in text and in JSON (`log.format`), so that other programs\n\
         can read them; `config/fail2ban` has a filter that does, and a jail. One JSON object a line has `timestamp`\n\
         (RFC 3339, UTC), `level`, `message`, the fields in this order, and `target`. With `log.redact` addresses, ports and\n\
         names are `***`.\n\n\
         | message | level | fields |\n|---|---|---|\n\
         | `Authentication failed.` | WARN | `address`, `reason` (as in `iceway_authentication_failures_total`), `transport`, `port`, `username`. The client is where it says it is: it has a nonce that was sent there, or a connection. At most one a second of each address and 50 in all; others at DEBUG. |\n\
         | `Authentication failed, perhaps from a forged address.` | WARN | `reason`, `suppressed`, `five_tuple`, `username`. Nothing tells that the client is at that address: never ban it. At most one in 10 s; others at DEBUG. |\n\
         | `An API caller was refused.` | WARN | `address`, `reason` (the `code` of the answer), `request`. At most one a second of each address and 50 in all; others are only counted. Without any key or token: DEBUG. |\n",
    );
}

fn problems(text: &mut String) {
    text.push_str("\n## Errors over HTTP\n\nProblem documents of RFC 9457; `code` is stable.\n\n");
    text.push_str("| code | status | meaning |\n|---|---|---|\n");
    for problem in PROBLEMS {
        text.push_str(&format!("| `{}` | {} | {} |\n", problem.code, problem.status, problem.title));
    }
}

fn signaling(text: &mut String) {
    text.push_str("\n## Signaling\n\nSockets are closed with a code; up to 4199 clients resume, up to 4399 they begin anew, from 4400 on they stop.\n\n");
    text.push_str("| close code | meaning |\n|---|---|\n");
    let mut codes = CloseCode::ALL;
    codes.sort_unstable_by_key(|code| code.code());
    for code in codes {
        text.push_str(&format!("| {} | {} |\n", code.code(), meanings::of_close(code)));
    }
    text.push_str("\nRequests are refused with a `code`; those marked may succeed later.\n\n| code | meaning |\n|---|---|\n");
    for code in ErrorCode::ALL {
        let mark = if code.is_retryable() { " (retryable)" } else { "" };
        text.push_str(&format!("| `{}`{mark} | {} |\n", code.as_str(), meanings::of_error(code)));
    }
    let results: Vec<String> = DecisionResult::ALL.iter().map(|it| format!("`{}`", it.as_str())).collect();
    text.push_str(&format!("\n`iceway_signal_decisions_total`, `result`: {}\n", results.join(", ")));
    let rules: Vec<String> = Rule::ALL.iter().map(|it| format!("`{}`", it.as_str())).collect();
    text.push_str(&format!("\n`iceway_signal_trips_total`, `limit`: {}\n", rules.join(", ")));
}

fn doctor(text: &mut String) {
    text.push_str("\n## Doctor\n\n`iceway doctor --json` has a member `checks` with `id`, `subject`, `level`, `fact` and `mend`.\n\n");
    text.push_str("| level | meaning |\n|---|---|\n");
    for (level, meaning) in Level::ALL {
        text.push_str(&format!("| `{}` | {meaning} |\n", level.as_str()));
    }
    text.push_str("\n| check | as it should be |\n|---|---|\n");
    for check in Check::ALL {
        text.push_str(&format!("| `{}` | {} |\n", check.id(), check.meaning()));
    }
}

fn exits(text: &mut String) {
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in EXIT_CODES {
        text.push_str(&format!("| {} | {meaning} |\n", exit.code()));
    }
}
