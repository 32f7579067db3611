//! The package, built once for all tests, and an older one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The packages, in a directory with nothing else.
pub(crate) struct Built {
    pub(crate) directory: PathBuf,
}

pub(crate) const NEW: &str = "iceway_new.deb";
pub(crate) const OLD: &str = "iceway_old.deb";
/// Of the older one.
pub(crate) const OLD_VERSION: &str = "0.0.1-1";

/// What the older one has as the configuration's first line.
const OLD_LINE: &str = "# As it was in the older version.\n";

pub(crate) fn packages() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        drop(fs::remove_dir_all(&work));
        let directory = work.join("packages");
        fs::create_dir_all(&directory).unwrap();
        let binary = stripped(&work);
        build(&work, &binary, &directory.join(NEW));
        make_older(&work, &directory);
        Built { directory }
    })
}

/// The binary under test without what only debuggers need.
pub(crate) fn stripped(directory: &Path) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let binary = directory.join("iceway");
    succeeds(Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_iceway")));
    binary
}

fn build(work: &Path, binary: &Path, package: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = format!("{}/.tools/cargo/bin:{}", root.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(root.join("debian/build"));
    command.arg("--binary").arg(binary).args(["--fast", "--quiet", "--output"]).arg(package);
    succeeds(command.env("CARGO_TARGET_DIR", work.join("target")).env("PATH", path));
}

/// The same with another version and another configuration.
fn make_older(work: &Path, directory: &Path) {
    let unpacked = work.join("older");
    succeeds(Command::new("dpkg-deb").arg("--raw-extract").arg(directory.join(NEW)).arg(&unpacked));
    let control = unpacked.join("DEBIAN/control");
    let version = |line: &str| match line.strip_prefix("Version: ") {
        Some(_) => format!("Version: {OLD_VERSION}\n"),
        None => format!("{line}\n"),
    };
    let text: String = fs::read_to_string(&control).unwrap().lines().map(version).collect();
    fs::write(control, text).unwrap();
    let configuration = unpacked.join("etc/iceway/iceway.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(configuration, format!("{OLD_LINE}{text}")).unwrap();
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]);
    succeeds(command.arg(&unpacked).arg(directory.join(OLD)));
}

/// Runs a command that must succeed: what it says on standard output.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{error}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}
