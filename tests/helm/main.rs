//! The Helm chart, by Helm's own engine, the schemas of Kubernetes, promtool and the program itself.
//!
//! The tests are in Python, as is the engine; tests/install puts it into `.tools/python`.

#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

/// Runs one of the tests of a script; what it finds wrong is the message.
fn passes(script: &str, test: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/python/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install", python.display());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120"])
        .arg(python)
        .arg(root.join(script))
        .args([test, env!("CARGO_BIN_EXE_iceway")])
        // The chart has no files but its own.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{test}: {}\n{}", output.status, said.join("\n"));
}

#[test]
fn every_set_of_values_makes_sound_objects_without_a_secret_in_the_open() {
    passes("tests/helm/chart.py", "valid");
}

#[test]
fn values_that_cannot_work_are_refused_with_the_reason() {
    passes("tests/helm/chart.py", "refused");
}

#[test]
fn the_program_takes_what_its_container_is_given() {
    passes("tests/helm/chart.py", "accepted");
}

#[test]
fn the_command_of_the_container_serves_what_probes_and_prometheus_ask() {
    passes("tests/helm/chart.py", "served");
}

#[test]
fn what_is_generated_is_generated_once() {
    passes("tests/helm/chart.py", "kept");
}

#[test]
fn alerts_say_what_to_do_and_name_metrics_that_there_are() {
    passes("tests/helm/monitoring.py", "rules");
}

#[test]
fn alerts_fire_where_they_should_and_nowhere_else() {
    passes("tests/helm/monitoring.py", "alerts");
}

#[test]
fn every_query_of_the_dashboard_is_answered() {
    passes("tests/helm/monitoring.py", "dashboard");
}

#[test]
fn readme_and_dashboard_are_what_their_scripts_write() {
    passes("helm/readme.py", "--check");
    passes("helm/dashboard.py", "--check");
}
