//! What `/asyncapi.json` and `/schemas/v1/` say, held against what the signaling relay reads and writes.
//! `UPDATE_REFERENCE=1 cargo test --test signal_schemas` writes `config/asyncapi.json` and the transcripts anew.

#![allow(clippy::unwrap_used)]

#[path = "../signal_support_core/mod.rs"]
mod support;

mod transcript;

use std::{collections::BTreeSet, fs, path::Path};

use iceway::{api, signaling::Frame};

use transcript::Transcript;

/// Conversations, each with what it is about.
const TRANSCRIPTS: [&str; 4] = ["begin", "rooms", "messages", "calls"];

fn is_up_to_date(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{}", path.display());
    }
    assert!(
        found == expected,
        "{} differs: run UPDATE_REFERENCE=1 cargo test --test signal_schemas",
        path.display()
    );
}

fn transcripts() -> impl Iterator<Item = (std::path::PathBuf, Transcript)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signal_schemas/transcripts");
    TRANSCRIPTS.into_iter().map(move |name| {
        let path = directory.join(format!("{name}.txt"));
        let transcript = Transcript::read(&fs::read_to_string(&path).unwrap());
        (path, transcript)
    })
}

#[test]
fn the_copy_of_the_description_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/asyncapi.json");
    is_up_to_date(&path, &api::asyncapi());
}

#[test]
fn conversations_go_as_they_are_written_down() {
    for (path, transcript) in transcripts() {
        is_up_to_date(&path, &transcript.play());
    }
}

#[test]
fn every_frame_that_is_written_down_is_described_and_read() {
    let mut seen: BTreeSet<(&str, String)> = BTreeSet::new();
    for (_, transcript) in transcripts() {
        for (side, text) in transcript.frames() {
            api::check_frame(side, &text).unwrap();
            if side == "client" {
                Frame::read(&text).unwrap();
            }
            let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
            seen.insert((side, frame["type"].as_str().unwrap().to_owned()));
        }
    }
    let missing: Vec<_> =
        api::frame_types().filter(|(side, kind)| !seen.contains(&(*side, (*kind).to_owned()))).collect();
    assert_eq!(missing, [], "each type of frame stands in a conversation");
}

#[test]
fn what_a_schema_requires_the_relay_requires_too() {
    for (name, schema) in api::schemas() {
        let Some(kind) = name.strip_prefix("client-") else { continue };
        let required: Vec<&str> =
            schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let bare = serde_json::json!({"type": kind}).to_string();
        // Candidates need a call or somebody to go to: no list of members says so.
        let needs_nothing = required == ["type"] && kind != "ice-candidate";
        assert_eq!(Frame::read(&bare).is_ok(), needs_nothing, "{kind}: {required:?}");
    }
}
