//! Pages in real browsers that call one another through `/iceway.js`, driven line by line.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{panicking, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::signal_support::Issuer;
use crate::support::namespace::Namespace;
use crate::support::process::POLL;
use crate::support::server::TestDirectory;
use crate::support::{Server, Setup};

/// Longer than any wait of a page itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Which browser a page is in.
#[derive(Clone, Copy)]
pub(crate) enum Browser {
    Chromium,
    Firefox,
}

/// A setup whose server takes the tokens of this issuer and hands out itself as the relay over UDP.
pub(crate) fn setup(issuer: &Issuer, directory: &TestDirectory) -> Setup {
    let keys = directory.path().join("jwks.json");
    std::fs::write(&keys, issuer.jwks()).unwrap();
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
    Setup::default()
        .with("jwt.issuer", r#""https://auth.example/realms/m""#)
        .with("jwt.audience", r#"["rtc-signal"]"#)
        .with("jwt.keys_file", format!("{keys:?}"))
}

/// A token of a user who may call everybody and use the relay.
pub(crate) fn token(issuer: &Issuer, user: &str) -> String {
    let mut grants = Issuer::grants(&format!("device-of-{user}"));
    grants["turn"] = json!({ "use": true });
    issuer.token_with(user, grants)
}

/// Pages by name. All browsers end with it.
pub(crate) struct Pages {
    driver: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<Value>,
    errors: PathBuf,
    screenshots: PathBuf,
    directory: TestDirectory,
    names: Vec<String>,
    next: u64,
}

impl Pages {
    pub(crate) fn new() -> Self {
        let directory = TestDirectory::new("pages");
        let errors = directory.path().join("pages.log");
        let test = std::thread::current().name().unwrap_or("pages").replace("::", "-");
        let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(test);
        std::fs::create_dir_all(&screenshots).unwrap();
        let mut driver = Command::new("node")
            .arg("pages.js")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let (requests, output) = (driver.stdin.take(), driver.stdout.take().unwrap());
        let (told, answers) = channel();
        spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "error": line }));
                if told.send(answer).is_err() {
                    break;
                }
            }
        });
        Self { driver, requests, answers, errors, screenshots, directory, names: Vec::new(), next: 0 }
    }

    /// Opens a page of this server.
    pub(crate) fn open(&mut self, name: &str, browser: Browser, server: &Server) {
        self.open_in(name, browser, server, None);
    }

    /// The same in a network namespace.
    pub(crate) fn open_in(
        &mut self,
        name: &str,
        browser: Browser,
        server: &Server,
        namespace: Option<&Namespace>,
    ) {
        self.open_at(name, browser, server.http, namespace);
    }

    /// Opens a page of whoever serves HTTP there.
    pub(crate) fn open_at(
        &mut self,
        name: &str,
        browser: Browser,
        http: SocketAddr,
        namespace: Option<&Namespace>,
    ) {
        let browser = match browser {
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox",
        };
        let home = self.directory.path().join(name);
        std::fs::create_dir_all(&home).unwrap();
        self.ask(json!({
            "open": name, "browser": browser, "url": format!("http://{http}"), "home": home,
            "netns": namespace.map(Namespace::name),
        }));
        self.names.push(name.to_owned());
    }

    /// Calls a function of `tests/browser/calls.html`.
    pub(crate) fn call(&mut self, page: &str, function: &str, arguments: Value) -> Value {
        self.ask(json!({ "page": page, "call": function, "arguments": arguments }))
    }

    /// Calls the same function on several pages at once.
    pub(crate) fn call_all(&mut self, pages: &[&str], function: &str, arguments: &Value) -> Vec<Value> {
        let ask = |page: &&str| json!({ "page": page, "call": function, "arguments": arguments });
        self.ask_all(pages.iter().map(ask).collect())
    }

    /// A calls the user that b is, who answers; media flows both ways when this returns.
    pub(crate) fn connect(&mut self, a: &str, b: &str) {
        self.call(a, "place", json!([{ "user": b }]));
        self.call_all(&[a, b], "entered", &json!(["connected"]));
        self.call_all(&[a, b], "flows", &json!([]));
    }

    /// Both call each other at once.
    pub(crate) fn place_both(&mut self, a: &str, b: &str) {
        let place = |page, user| json!({ "page": page, "call": "place", "arguments": [{ "user": user }] });
        self.ask_all(vec![place(a, b), place(b, a)]);
    }

    /// How the call of a page is.
    pub(crate) fn state(&mut self, page: &str) -> Value {
        self.call(page, "state", json!([]))
    }

    fn ask(&mut self, request: Value) -> Value {
        self.ask_all(vec![request]).remove(0)
    }

    fn ask_all(&mut self, requests: Vec<Value>) -> Vec<Value> {
        let first = self.next;
        for mut request in requests.iter().cloned() {
            request["id"] = json!(self.next);
            self.next += 1;
            writeln!(self.requests.as_ref().unwrap(), "{request}").unwrap();
        }
        let mut values = vec![Value::Null; requests.len()];
        for _ in &requests {
            let answer = self.answers.recv_timeout(ANSWER_LIMIT);
            let answer = answer.unwrap_or_else(|error| panic!("{requests:?}: {error}"));
            let index = usize::try_from(answer["id"].as_u64().unwrap_or_default() - first).unwrap();
            assert!(answer["error"].is_null(), "{}: {}", requests[index], answer["error"]);
            values[index] = answer["value"].clone();
        }
        values
    }

    /// Screenshots are left in `target/tmp/screenshots/` for who wants to look.
    pub(crate) fn take_screenshots(&mut self) {
        for name in self.names.clone() {
            let path = self.screenshots.join(format!("{name}.png"));
            self.ask(json!({ "page": name, "screenshot": path }));
        }
    }

    fn end(&mut self) {
        // At the end of its input the driver closes all browsers.
        drop(self.requests.take());
        let deadline = Instant::now() + CLOSE_LIMIT;
        while self.driver.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            sleep(POLL);
        }
        if self.driver.kill().is_ok() {
            drop(self.driver.wait());
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.end();
        if panicking() {
            eprintln!("--- pages wrote:\n{}---", std::fs::read_to_string(&self.errors).unwrap_or_default());
        }
    }
}
