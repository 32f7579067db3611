//! The reference, generated from the tables of the code.

use super::exit::EXIT_CODES;
use crate::{
    api::PROBLEMS,
    config::reference_table,
    telemetry::{Kind, METRICS},
    turn::{CloseReason, Code, DropReason, Refusal},
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
    text.push_str("\n`ICEWAY_CONFIG` names the file, as `--config` does. Unknown keys, flags and `ICEWAY_` variables are errors.\n");
    metrics(&mut text);
    labels(&mut text);
    exits(&mut text);
    text
}

fn metrics(text: &mut String) {
    text.push_str("\n## Metrics\n\n| name | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels.join(", "), metric.help));
    }
}

fn labels(text: &mut String) {
    text.push_str(
        "\n## Reasons and codes\n\nEvery refusal and every drop is counted under one of these.\n\n",
    );
    list(
        text,
        "`iceway_datagrams_dropped_total{reason}`",
        DropReason::ALL.map(DropReason::as_str).as_slice(),
    );
    list(
        text,
        "`iceway_authentication_failures_total{reason}`",
        Refusal::ALL.map(Refusal::as_str).as_slice(),
    );
    list(
        text,
        "`iceway_allocations_closed_total{reason}`",
        CloseReason::ALL.map(CloseReason::as_str).as_slice(),
    );
    list(text, "`iceway_stun_responses_total{code}`", Code::ALL.map(Code::as_str).as_slice());
    text.push_str("\n## Errors over HTTP\n\nProblem documents of RFC 9457; `code` is stable.\n\n| code | status | meaning |\n|---|---|---|\n");
    for problem in PROBLEMS {
        text.push_str(&format!("| `{}` | {} | {} |\n", problem.code, problem.status, problem.title));
    }
}

fn list(text: &mut String, name: &str, values: &[&str]) {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    text.push_str(&format!("- {name}: {}\n", values.join(", ")));
}

fn exits(text: &mut String) {
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in EXIT_CODES {
        text.push_str(&format!("| {} | {meaning} |\n", exit.code()));
    }
}
