//! The JavaScript client without a browser: its tests under Node, its types, its size.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::Tool;
use crate::support::server::TestDirectory;

const LIMIT: Duration = Duration::from_secs(120);
/// What it may weigh on the wire.
const COMPRESSED_BYTES_MAX: usize = 15_000;

#[test]
fn its_own_tests_pass_under_node() {
    let output = in_browser_tests("node", &["--test", "--test-reporter", "tap", "unit/"]);
    assert!(output.contains("\n# fail 0\n") && !output.contains("\n# pass 0\n"), "{output}");
}

#[test]
fn its_types_fit_how_it_is_used() {
    in_browser_tests("node_modules/.bin/tsc", &["-p", "."]);
}

#[test]
fn it_is_small() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/web/iceway.js");
    let output = Command::new("gzip").arg("-9c").arg(path).output().unwrap();
    assert!(output.status.success());
    let bytes = output.stdout.len();
    assert!((1_000..COMPRESSED_BYTES_MAX).contains(&bytes), "{bytes} bytes");
}

/// Runs a program in `tests/browser`; it must succeed.
fn in_browser_tests(program: &str, arguments: &[&str]) -> String {
    let directory = TestDirectory::new("client");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    let run = Tool::run(command, directory.path(), "client", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    run.output
}
