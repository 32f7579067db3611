//! Every crate that is built has a licence and a source that `.deny.toml` allows.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    let policy: toml::Table = include_str!("../.deny.toml").parse().expect(".deny.toml is TOML");
    let allowed: BTreeSet<&str> = policy["licenses"]["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let banned: BTreeSet<&str> = policy["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|ban| ban["crate"].as_str())
        .collect();

    let mut faults = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let licence = package["license"].as_str().unwrap_or("none");
        let source = package["source"].as_str();
        if !licence_is_allowed(licence, &allowed) {
            faults.push(format!("{name}: licence {licence:?} is not in .deny.toml"));
        }
        if banned.contains(name) {
            faults.push(format!("{name}: banned in .deny.toml"));
        }
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            faults.push(format!("{name}: comes from {source:?}, not from the registry"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether one side of every `OR` inside each `AND` is allowed: SPDX expressions as crates write them.
fn licence_is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    let one = |term: &str| term.split(" OR ").any(|licence| allowed.contains(licence.trim()));
    // "A AND B OR C" is ambiguous without its parentheses: demanding an allowed choice on each side of every AND is
    // never laxer than what the expression says.
    plain.split(" AND ").all(one)
}

/// What is built for this target: every package that the resolved graph reaches.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .args(["--locked", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let reached: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a resolved graph")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let all = metadata["packages"].as_array().expect("packages");
    all.iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| reached.contains(id)))
        .cloned()
        .collect()
}
