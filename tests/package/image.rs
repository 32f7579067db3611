//! The container image, without an engine: its Dockerfile is read, its files are laid out, and its command runs as an
//! engine would run it.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::{
    built::{stripped, succeeds},
    machine::PATIENCE,
};

/// What the last stage of the Dockerfile says.
struct Image {
    lines: Vec<String>,
}

impl Image {
    fn read() -> Self {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile")).unwrap();
        let text = text.replace("\\\n", " ");
        let last = text.rsplit_once("\nFROM ").unwrap().1.to_owned();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { lines: last.lines().filter(|line| !line.starts_with('#')).map(words).collect() }
    }

    /// What follows an instruction that there is once.
    fn one(&self, instruction: &str) -> &str {
        let mut found =
            self.lines.iter().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        let value = found.next().unwrap_or_else(|| panic!("no {instruction}"));
        assert_eq!(found.next(), None, "{instruction}");
        value
    }

    fn list(&self, instruction: &str) -> Vec<String> {
        serde_json::from_str(self.one(instruction)).unwrap()
    }

    fn health_command(&self) -> Vec<String> {
        serde_json::from_str(self.one("HEALTHCHECK").split_once(" CMD ").unwrap().1).unwrap()
    }

    fn user(&self) -> u32 {
        self.one("USER").split_once(':').unwrap().0.parse().unwrap()
    }
}

/// The files of the image, with a place for what an engine mounts.
fn laid_out(image: &Image) -> PathBuf {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    drop(fs::remove_dir_all(&work));
    let binary = stripped(&work.join("binary"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/debian/image");
    succeeds(Command::new(script).arg(&binary).arg(&work));
    let root = work.join("root");
    for volume in image.list("VOLUME") {
        let volume = root.join(volume.trim_start_matches('/'));
        fs::create_dir_all(&volume).unwrap();
        chown(&volume, Some(image.user()), Some(image.user())).unwrap();
    }
    for place in ["proc", "dev"] {
        fs::create_dir(root.join(place)).unwrap();
    }
    root
}

/// A running container; killed when it is dropped.
struct Container {
    child: Child,
    process: String,
    user: String,
}

impl Container {
    fn start(image: &Image, root: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/package/container");
        let (user, volumes) = (image.user().to_string(), image.list("VOLUME").join("\n"));
        let mut variables = image.one("ENV").replace(' ', "\n");
        variables.push_str("\nICEWAY_AUTH_SECRET=north0123456789abcdef\nICEWAY_PEERS_ALLOW=127.0.0.0/8");
        let mut command = Command::new(script);
        command.arg(root).args([&user, &variables, &volumes]);
        command.args(image.list("ENTRYPOINT")).args(image.list("CMD"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let process = first_child(child.id());
        Self { child, process, user }
    }

    /// Runs a command in it, of its own files or of this machine's.
    fn enter(&self, is_own_file: bool, command: &[String]) -> std::process::Output {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &self.process, "--mount", "--pid", "--net"]);
        if is_own_file {
            entered.args(["--root", "--wd", "--setuid", &self.user, "--setgid", &self.user]);
        }
        entered.arg("--").args(command).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn first_child(of: u32) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.to_owned();
        }
        assert!(Instant::now() < deadline, "the container does not begin");
        std::thread::yield_now();
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_image_runs_without_root_shell_or_a_place_to_write() {
    let image = Image::read();
    let root = laid_out(&image);
    assert_ne!(image.user(), 0);
    for absent in ["bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/apt-get", "usr/bin/dpkg"] {
        assert!(!root.join(absent).exists(), "{absent}");
    }
    assert_eq!(fs::read_dir(root.join("usr/bin")).unwrap().count(), 1, "the server alone");

    let mut container = Container::start(&image, &root);
    let deadline = Instant::now() + PATIENCE;
    let health = loop {
        let health = container.enter(true, &image.health_command());
        if health.status.success() || Instant::now() > deadline {
            break health;
        }
    };
    let said = String::from_utf8_lossy(&[health.stdout, health.stderr].concat()).into_owned();
    assert!(health.status.success() && said.contains("\"ready\""), "{said}");

    let status = fs::read_to_string(format!("/proc/{}/status", container.process)).unwrap();
    assert!(status.contains(&format!("\nUid:\t{0}\t{0}\t{0}\t{0}\n", container.user)), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", container.process)).unwrap();
    let of_root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(of_root.split(' ').nth(3).unwrap().starts_with("ro,"), "{of_root}");
    let written = |path: &str| Path::new(&format!("/proc/{}/root{path}", container.process)).exists();
    assert!(written("/var/lib/iceway/iceway.redb") && written("/run/iceway/control.sock"));

    let challenge = container.enter(false, &words("turnutils_stunclient 127.0.0.1"));
    let said = String::from_utf8_lossy(&challenge.stdout).into_owned();
    assert!(said.contains("reflexive addr: 127.0.0.1"), "{said}");

    let signal = image.one("STOPSIGNAL").trim_start_matches("SIG");
    succeeds(Command::new("kill").args([&format!("-{signal}"), &container.process]));
    assert_eq!(container.child.wait().unwrap().code(), Some(0), "process 1 obeys the signal to stop");
}

#[test]
fn the_dockerfile_says_what_an_engine_wants_to_know() {
    let image = Image::read();
    for port in ["3478/udp", "3478/tcp", "5349/tcp", "9641/tcp"] {
        assert!(image.one("EXPOSE").split(' ').any(|exposed| exposed == port), "{port}");
    }
    assert!(image.one("LABEL").contains("org.opencontainers.image.licenses=\"Apache-2.0 OR MIT\""));
    let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
    assert_eq!(image.one("ARG"), version, "the label's default is this version");
    for copied in image.lines.iter().filter(|line| line.starts_with("COPY ")) {
        assert!(copied.contains("--from=build "), "only what was laid out is in the image: {copied}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    succeeds(Command::new(root.join(".tools/python/bin/hadolint")).arg(root.join("Dockerfile")));
}

/// What `.dockerignore` lets through is enough to build from.
#[test]
fn everything_that_is_compiled_reaches_the_engine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = Path::new(env!("CARGO_TARGET_TMPDIR")).join("context");
    drop(fs::remove_dir_all(&context));
    fs::create_dir_all(&context).unwrap();
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    for path in ignore.lines().filter_map(|line| line.strip_prefix("!/")) {
        fs::create_dir_all(context.join(path).parent().unwrap()).unwrap();
        succeeds(Command::new("cp").arg("-r").arg(root.join(path)).arg(context.join(path)));
    }
    let manifest = context.join("Cargo.toml");
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args([
        "metadata",
        "--locked",
        "--offline",
        "--no-deps",
        "--format-version=1",
        "--manifest-path",
    ]);
    succeeds(metadata.arg(manifest));
    // Whatever the code takes in lies beside it.
    let included = Command::new("grep")
        .args(["-rnE", r#"include_(str|bytes)!\("(\.\./)*(config|tests|examples|systemd|helm)/"#, "src"])
        .current_dir(&context)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&included.stdout), "");
    assert!(context.join("debian/image").exists());
}
