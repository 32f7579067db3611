//! Files that cannot be used, at the start and while it serves: each is named on one line with its mend, and what
//! worked before goes on.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Received;
use crate::support::http::Http;
use crate::support::server::{API_KEY, TestDirectory, get};
use crate::support::{Authority, Client, Server, Setup, Tool};

/// How long a refusal may take: a pipe is given five seconds.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(10);
/// How soon renewed certificates are taken.
const NOTICED: Duration = Duration::from_secs(20);
/// More than anything but a file that is not read whole could hold.
const HUGE_BYTES: u64 = 4 << 30;
const WRONG_CONFIGURATION: i32 = 78;
const CHANNEL: u16 = 0x4000;

/// Files of many kinds that are no configuration, no secret and no certificate.
struct Bad(TestDirectory);

impl Bad {
    fn new() -> Self {
        let bad = Self(TestDirectory::new("bad"));
        assert!(Command::new("mkfifo").arg(bad.path("pipe")).status().unwrap().success());
        File::create(bad.path("huge")).unwrap().set_len(HUGE_BYTES).unwrap();
        bad.write("empty", "");
        bad.write("binary", [b'#', 0xff, 0xfe]);
        bad.write("half", "[limits]\nallocations_per_user = 5\nallocations_per_addr");
        bad.write("unknown", "[limit]\nallocations_per_user = 5\n");
        bad.write("contradiction", "[relay]\nport_min = 5000\nport_max = 4000\n");
        bad.write("comment", "# nothing\n");
        bad.write("nobody", "nobody\n");
        bad
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }
}

/// What an emptied file is, while it serves: at the start it is one without settings.
const EMPTIED: (&str, &str) =
    ("empty", "empty: is empty, as if it were being written; write at least a comment");

/// What the file is, and what is said of it.
const CONFIGURATIONS: [(&str, &str); 8] = [
    (
        "missing",
        "missing: cannot be read: No such file or directory (os error 2); check the path and its permissions",
    ),
    (".", "cannot be read: Is a directory (os error 21); check the path"),
    ("pipe", "pipe: is a pipe that nothing comes from; name a file, or have something written to it"),
    ("huge", "huge: is larger than 1048576 bytes; is this the right file?"),
    ("binary", "binary: is not a text: byte 1 is not UTF-8; is this the right file?"),
    ("half", "half:3: is not TOML here: "),
    ("unknown", "did you mean limits.allocations_per_user?"),
    ("contradiction", "relay.port_min = 5000 (contradiction:2): is above relay.port_max = 4000; swap them"),
];

/// Runs the binary until it refuses; answers what it said, without the paths of this test.
fn refusal(bad: &Bad, flags: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    command.arg("serve").args(flags).current_dir(bad.0.path()).env_remove("ICEWAY_CONFIG");
    let run = Tool::run(command, bad.0.path(), "refused", REFUSED_WITHIN);
    let lines = run.output.lines().map(str::to_owned);
    (lines.collect(), run.status.code())
}

#[test]
fn a_configuration_that_cannot_be_used_is_one_line_with_its_mend() {
    let bad = Bad::new();
    for (file, expected) in CONFIGURATIONS {
        let (lines, status) = refusal(&bad, &["--config", file]);
        assert_eq!(status, Some(WRONG_CONFIGURATION), "{file}: {lines:#?}");
        // The headline, and what is wrong.
        assert_eq!(lines.len(), 2, "{file}: {lines:#?}");
        assert!(lines[1].contains(expected), "{file}: {lines:#?}\n  lacks\n{expected}");
    }
}

#[test]
fn files_of_secrets_and_certificates_that_cannot_be_used_are_one_line() {
    let bad = Bad::new();
    let authority = Authority::new(bad.0.path());
    authority.issue("first");
    let pem = fs::read_to_string(authority.certificate_path()).unwrap();
    bad.write("half.pem", &pem[..pem.len() / 2]);
    bad.write("wrong-order.pem", fs::read_to_string(authority.path()).unwrap() + &pem);
    let key = fs::read_to_string(authority.key_path()).unwrap();
    bad.write("half-key.pem", &key[..key.len() / 2]);
    encrypt(&authority.key_path(), &bad.path("encrypted.pem"));
    fs::rename(authority.key_path(), bad.path("good-key.pem")).unwrap();
    fs::rename(authority.certificate_path(), bad.path("good.pem")).unwrap();
    authority.issue("second");

    let tls = |certificate: &'static str, key: &'static str| {
        vec!["--tls-certificate", certificate, "--tls-private-key", key]
    };
    let secret = |file: &'static str| vec!["--auth-secret-file", file];
    let cases = [
        (
            secret("pipe"),
            "auth.secret_file = \"pipe\" (flag --auth-secret-file): is a pipe that nothing comes from",
        ),
        (secret("huge"), "is larger than 16777216 bytes; is this the right file?"),
        (secret("comment"), "comment: holds no secret; write one a line"),
        (secret("binary"), "is not a text: byte 1 is not UTF-8"),
        (vec!["--auth-users-file", "nobody"], "nobody:1: has no colon; write name:password"),
        (tls("pipe", "key.pem"), "the certificate pipe is a pipe that nothing comes from"),
        (tls("huge", "key.pem"), "the certificate huge is larger than 1048576 bytes"),
        (tls("comment", "key.pem"), "comment holds no certificate: it must be PEM"),
        (tls("half.pem", "good-key.pem"), "the certificate half.pem is damaged ("),
        (
            tls("wrong-order.pem", "good-key.pem"),
            "the first certificate in wrong-order.pem is not the server's, number 2 is",
        ),
        (tls("good.pem", "key.pem"), "the private key key.pem does not belong to the certificate good.pem"),
        (tls("good.pem", "half-key.pem"), "the private key half-key.pem cannot be used ("),
        (
            tls("good.pem", "encrypted.pem"),
            "the private key encrypted.pem is encrypted: store it without a passphrase",
        ),
        (tls("good.pem", "huge"), "the private key huge is larger than 1048576 bytes"),
        (vec!["--store-path", "."], "store.path = .: cannot be used: Is a directory"),
        (vec!["--store-path", "good.pem"], "store.path = good.pem: is another kind of file"),
        (vec!["--store-path", "pipe"], "store.path = pipe: is not a file; name one"),
    ];
    for (flags, expected) in cases {
        let usual = ["--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0", "--log-level", "warn"];
        let (lines, status) = refusal(&bad, &[&flags[..], &usual].concat());
        assert_eq!(status, Some(WRONG_CONFIGURATION), "{flags:?}: {lines:#?}");
        let about: Vec<&String> = lines.iter().filter(|line| line.contains(expected)).collect();
        assert_eq!(about.len(), 1, "{flags:?}: {lines:#?}\n  lacks\n{expected}");
        assert!(lines.len() <= 2, "{flags:?}: {lines:#?}");
    }
}

/// Writes a private key again, under a passphrase.
fn encrypt(key: &Path, encrypted: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-passout", "pass:interop", "-in"]).arg(key).arg("-out").arg(encrypted);
    assert!(openssl.status().unwrap().success());
}

/// Two clients that talk through their relays.
struct Talk([Client; 2]);

impl Talk {
    fn begin(server: &Server) -> Self {
        let mut clients = [(); 2].map(|()| Client::new(server.address()));
        let relays = clients.each_mut().map(|client| client.allocate().unwrap());
        clients[0].bind_channel(CHANNEL, relays[1]).unwrap();
        clients[1].bind_channel(CHANNEL, relays[0]).unwrap();
        Self(clients)
    }

    /// A datagram gets through, and somebody else can begin to talk.
    #[track_caller]
    fn goes_on(&mut self, server: &Server, payload: &str) {
        let [one, other] = &mut self.0;
        one.send_channel(CHANNEL, payload.as_bytes());
        assert_eq!(other.receive(SOON), Some(Received::Channel(CHANNEL, payload.into())), "{payload}");
        assert_eq!(one.refresh(600), Ok(600), "{payload}");
        let mut third = Client::new(server.address());
        third.allocate().unwrap();
        third.refresh(0).unwrap();
    }
}

#[test]
fn a_configuration_that_turns_bad_changes_nothing_until_it_is_good_again() {
    let bad = Bad::new();
    let mut server = Server::start(Setup::default());
    let file = server.directory().join("iceway.toml");
    let good = fs::read_to_string(&file).unwrap();
    let mut talk = Talk::begin(&server);
    for (name, expected) in CONFIGURATIONS.into_iter().chain([EMPTIED]) {
        fs::rename(&file, bad.path("aside")).unwrap();
        if name != "missing" {
            std::os::unix::fs::symlink(bad.path(name), &file).unwrap();
        }
        let refused = server.post("/v1/reload", &json!({})).expect(409).json();
        assert_eq!(refused["code"], "configuration_invalid", "{name}: {refused}");
        // It is known by another name here.
        let expected = expected.split_once(name).map_or(expected, |(_, rest)| rest);
        let reasons = refused["reasons"].as_array().unwrap();
        assert!(reasons.len() == 1 && reasons[0].as_str().unwrap().contains(expected), "{name}: {refused}");
        talk.goes_on(&server, name);
        drop(fs::remove_file(&file));
        fs::rename(bad.path("aside"), &file).unwrap();
    }
    // Bytes that arrive one by one are refused or taken, and never anything in between.
    let changed = format!("{good}limits.allocations_per_user = 1\n");
    for end in (good.len() - 40..changed.len()).step_by(7) {
        fs::write(&file, &changed[..end]).unwrap();
        let reply = server.post("/v1/reload", &json!({}));
        assert!([200, 409].contains(&reply.status), "{}", reply.body);
        fs::write(&file, &good).unwrap();
        server.post("/v1/reload", &json!({})).expect(200);
    }
    talk.goes_on(&server, "in the end");
    fs::write(&file, &changed).unwrap();
    server.post("/v1/reload", &json!({})).expect(200);
    assert_eq!(Client::new(server.address()).allocate(), Err(486), "what is good is taken");
    assert_eq!(server.process.exit(), None);
}

#[test]
fn a_certificate_that_is_replaced_bit_by_bit_is_taken_when_it_is_whole() {
    let mut server = Server::start(Setup::default());
    let mut talk = Talk::begin(&server);
    let (certificate, key) = (server.authority.certificate_path(), server.authority.key_path());
    let old = [&certificate, &key].map(|path| fs::read(path).unwrap());
    server.authority.issue("second");
    let new = [&certificate, &key].map(|path| fs::read(path).unwrap());
    [&certificate, &key].into_iter().zip(&old).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());

    // The key first; then a certificate that stops in the middle.
    fs::write(&key, &new[1]).unwrap();
    server
        .process
        .wait_until("complaining", NOTICED, |log| log.contains("does not belong to the certificate"));
    fs::write(&certificate, &new[0][..new[0].len() / 2]).unwrap();
    server.process.wait_until("complaining again", NOTICED, |log| log.contains("is damaged ("));
    assert_eq!(server.metric("iceway_tls_certificate_reloads_total", &[]), 0.0);
    talk.goes_on(&server, "the old certificate serves");
    fs::write(&certificate, &new[0]).unwrap();
    server
        .process
        .wait_until("content", NOTICED, |log| log.contains("New TLS connections use the new certificate."));
    talk.goes_on(&server, "the new one too");

    // One that has expired does not replace one that has not.
    server.authority.issue_for("localhost", true);
    server.process.wait_until("warning", NOTICED, |log| log.contains("the old one stays in use: renew it"));
    let said = server.process.output();
    assert_eq!(said.matches("does not belong to the certificate").count(), 1, "said once");
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let directory = TestDirectory::new("expired");
    let authority = Authority::new(directory.path());
    authority.issue_for("localhost", true);
    let setup = Setup::default()
        .with("tls.certificate", format!("{:?}", authority.certificate_path()))
        .with("tls.private_key", format!("{:?}", authority.key_path()));
    let server = Server::start(setup);
    let said = server.process.output();
    assert!(said.contains("The certificate has expired: clients will refuse it. Renew it."), "{said}");
    Talk::begin(&server).goes_on(&server, "without TLS nobody minds");
}

/// A small disk that is there for one process alone, at `path`.
fn on_a_disk(path: &Path, size: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=\"$1\",mode=700 none \"$2\" && shift 2 && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh", size]).arg(path).arg(env!("CARGO_BIN_EXE_iceway"));
    command
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for block in [64 << 10, 4 << 10, 1] {
        let bytes = vec![0; block];
        loop {
            match file.write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_what_must_be_kept_and_nothing_else() {
    let disk = TestDirectory::new("disk");
    let store = format!("{:?}", disk.path().join("iceway.redb"));
    let mut server =
        Server::start_with(on_a_disk(disk.path(), "16m"), Setup::default().with("store.path", store));
    let mut talk = Talk::begin(&server);
    let revoke = |user: &str| {
        Http::post(server.http, "/v1/turn/revocations").key(API_KEY).json(&json!({ "user": user })).send()
    };
    revoke("before").expect(201);
    // As that process sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", server.process.id()))
        .join(disk.path().strip_prefix("/").unwrap());
    let filler = seen.join("filler");
    fill(&filler);

    let refused = (0..2000).map(|number| revoke(&format!("full-{number}"))).find(|reply| reply.status != 201);
    let refused = refused.expect("a full disk keeps nothing").expect(503).json();
    assert_eq!(refused["code"], "store_failed", "{refused}");
    talk.goes_on(&server, "relays need no disk");
    server.post("/v1/turn/credentials", &json!({ "user": "bob" })).expect(201);
    let (status, ready) = get(server.http, "/readyz").unwrap();
    assert_eq!(status, 200, "{ready}");
    server.metric("iceway_store_errors_total", &[]);
    let said = server.process.output();
    assert_eq!(said.matches("The store cannot be written: ").count(), 1, "{said}");

    fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + SOON;
    while revoke("after").status != 201 {
        assert!(Instant::now() < deadline, "there is room again");
        std::thread::sleep(Duration::from_millis(100));
    }
    server.process.wait_until("content", SOON, |log| log.contains("The store can be written again."));
    talk.goes_on(&server, "in the end");
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said() {
    let bad = Bad::new();
    let disk = TestDirectory::new("disk");
    let mut command = on_a_disk(disk.path(), "4k");
    command.args([
        "serve",
        "--listen-udp",
        "127.0.0.1:0",
        "--listen-tcp",
        "127.0.0.1:0",
        "--log-level",
        "warn",
    ]);
    command.arg("--store-path").arg(disk.path().join("iceway.redb"));
    let run = Tool::run(command, bad.0.path(), "full", REFUSED_WITHIN);
    assert_eq!(run.status.code(), Some(WRONG_CONFIGURATION), "{}", run.output);
    assert_eq!(run.output.lines().count(), 1, "{}", run.output);
    assert!(
        run.output.contains("No space left on device") && run.output.contains("free some space"),
        "{}",
        run.output
    );
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >/dev/full 2>&1", "sh", env!("CARGO_BIN_EXE_iceway")]);
    let server = Server::start_with(command, Setup::default());
    let mut talk = Talk::begin(&server);
    for number in 0..20 {
        // Each is a line.
        let mut wrong =
            Client::new(server.address()).with_credential("nobody".to_owned(), "wrong".to_owned());
        assert_eq!(wrong.allocate(), Err(401));
        talk.goes_on(&server, &format!("line {number}"));
    }
}
