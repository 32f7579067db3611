//! The JavaScript client without a browser: its tests under Node, with a real server too, its types, its size.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::calls_support::{setup, token};
use crate::signal_support::Issuer;
use crate::support::server::TestDirectory;
use crate::support::{Server, Tool};

const LIMIT: Duration = Duration::from_secs(120);
/// What it may weigh on the wire.
const COMPRESSED_BYTES_MAX: usize = 15_000;

#[test]
fn its_own_tests_pass_under_node() {
    tests_pass(in_browser_tests("node", &["--test", "--test-reporter", "tap", "unit/"]));
}

#[test]
fn it_talks_to_a_real_server() {
    let (issuer, directory) = (Issuer::new(), TestDirectory::new("live"));
    let server = Server::start(setup(&issuer, &directory));
    let users = ["ann", "bob", "carol", "dave", "eve", "frank"];
    let tokens: Map<String, Value> =
        users.into_iter().map(|user| (user.to_owned(), json!(token(&issuer, user)))).collect();
    let live = json!({ "url": format!("http://{}/v1/signal", server.http), "tokens": tokens });
    let arguments = ["--experimental-websocket", "--test", "--test-reporter", "tap", "live.test.js"];
    let mut command = in_browser_tests("node", &arguments);
    command.env("LIVE", live.to_string());
    tests_pass(command);
}

#[test]
fn its_types_fit_how_it_is_used() {
    succeeds(in_browser_tests("node_modules/.bin/tsc", &["-p", "."]));
}

#[test]
fn it_is_small() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/web/iceway.js");
    let output = Command::new("gzip").arg("-9c").arg(path).output().unwrap();
    assert!(output.status.success());
    let bytes = output.stdout.len();
    assert!((1_000..COMPRESSED_BYTES_MAX).contains(&bytes), "{bytes} bytes");
}

/// A program in `tests/browser`.
fn in_browser_tests(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    command
}

fn tests_pass(command: Command) {
    let output = succeeds(command);
    assert!(output.contains("\n# fail 0\n") && !output.contains("\n# pass 0\n"), "{output}");
}

fn succeeds(command: Command) -> String {
    let directory = TestDirectory::new("client");
    let run = Tool::run(command, directory.path(), "client", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    run.output
}
