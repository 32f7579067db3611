//! The documents that are made from the table of keys. `UPDATE_REFERENCE=1 cargo test --test config_reference` writes
//! them anew.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use iceway::config::{Sources, load};

fn is_up_to_date(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} differs from the code: run UPDATE_REFERENCE=1 cargo test --test config_reference",
        path.display()
    );
}

#[test]
fn the_example_file_shows_every_key_with_its_default() {
    is_up_to_date("config/iceway.toml", &iceway::config::example_file());
}

#[test]
fn the_reference_is_what_the_code_says() {
    is_up_to_date("config/REFERENCE.md", &iceway::cli::reference());
}

#[test]
fn the_example_file_configures_exactly_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/iceway.toml");
    let from_file = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert_eq!(from_file.config, iceway::config::Config::default());
    assert_eq!(from_file.warnings, []);
}

#[test]
fn the_example_file_is_valid_with_every_line_put_in_force() {
    let directory = std::env::temp_dir().join(format!("iceway-example-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for (name, content) in [
        ("certificate.pem", "x"),
        ("private-key.pem", "x"),
        ("secrets", "0123456789abcdef0123456789abcdef\n"),
        ("users", "alice:wonderland\n"),
        ("client-authorities.pem", "x"),
        ("issuer-authorities.pem", "x"),
        ("api-keys", "# none\n"),
        // RFC 8037 A.2.
        (
            "issuer-keys.json",
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        ),
        ("issuer-secret", "0123456789abcdef0123456789abcdef\n"),
        ("webhook-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ("backend-authorities.pem", "x"),
        ("redis-password", "x\n"),
        ("sentinel-password", "x\n"),
        ("cluster-key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    let all: String = iceway::config::example_file()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains([' ', '`'])) => rest,
            _ => line,
        })
        .map(|line| line.replace("\"…\"", "\"a secret of many characters\"") + "\n")
        .collect();
    let file = directory.join("iceway.toml");
    fs::write(&file, all.replace("/etc/iceway", directory.to_str().unwrap())).unwrap();
    let loaded = load(&Sources { file: Some(file), ..Sources::default() });
    fs::remove_dir_all(&directory).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.auth.secrets.len(), 2);
    assert_eq!(loaded.config.auth.users.len(), 1);
    assert!(!loaded.show().contains("not set"), "{}", loaded.show());
}

#[test]
fn the_reference_lists_every_metric_and_every_reason() {
    let reference = iceway::cli::reference();
    for metric in iceway::telemetry::METRICS {
        assert!(reference.contains(&format!("| `{}` |", metric.name)), "{}", metric.name);
    }
    for reason in iceway::turn::DropReason::ALL {
        assert!(reference.contains(&format!("`{}`", reason.as_str())), "{}", reason.as_str());
    }
}
