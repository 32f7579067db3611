//! What stands in examples/: compiled, type-checked, and run against the real server.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::page;
use crate::signal_support::{Client, PATIENCE, Socket, until};
use crate::support::http::{Http, Reply};
use crate::support::nodes::Issued;
use crate::support::ports::free_port;
use crate::support::server::API_KEY;
use crate::support::{Process, Server, Setup, Tool};

const COMPILE_LIMIT: Duration = Duration::from_secs(120);
const CALL_LIMIT: Duration = Duration::from_secs(150);
const START_LIMIT: Duration = Duration::from_secs(60);
const WEBHOOK_SECRET: &str = "a webhook secret with enough bytes";
/// Debian's, which are those of Spring 4.3: what the example uses is the same in Spring 6.
const JARS: [&str; 8] = [
    "spring3-web",
    "spring3-core",
    "spring3-beans",
    "spring3-context",
    "commons-logging",
    "jackson-databind",
    "jackson-core",
    "jackson-annotations",
];

#[test]
fn the_spring_example_gives_out_credentials_and_keeps_a_history() {
    let server = Server::start(Setup::default());
    let backend = Backend::start(&server);

    let answer = backend.get("/api/ice-servers?ann");
    Issued::read(&answer).allocates_at(&server);

    let ask =
        |from: &str| json!({ "kind": "call", "id": "1", "from": { "user": from }, "to": { "user": "bob" } });
    assert_eq!(
        backend.signed("/iceway/authorize", "q1", &ask("ann")).json(),
        json!({ "allow": true, "ttl": 30 })
    );
    let refused = backend.signed("/iceway/authorize", "q2", &ask("eve")).json();
    assert_eq!(refused, json!({ "allow": false, "reason": "not-contacts" }));
    let unknown = json!({ "kind": "teleport", "from": { "user": "ann" }, "to": { "user": "bob" } });
    assert_eq!(backend.signed("/iceway/authorize", "q3", &unknown).json()["allow"], false);

    let event = |kind: &str, sequence: u32, state: &str| {
        json!({ "type": kind, "callSeq": sequence, "call": {
            "id": "c_1", "sequence": sequence, "state": state, "callee": "bob", "caller": { "user": "ann" } } })
    };
    backend.signed("/iceway/events", "e1", &event("call.push_needed", 2, "ringing")).expect(204);
    backend.signed("/iceway/events", "e1", &event("call.push_needed", 2, "ringing")).expect(204);
    backend.signed("/iceway/events", "e3", &event("call.ended", 4, "ended")).expect(204);
    // Late: the history goes on, not back.
    backend.signed("/iceway/events", "e2", &event("call.answered", 3, "active")).expect(204);
    let history = backend.get("/history");
    assert_eq!(history.as_array().map(Vec::len), Some(1), "{history}");
    assert_eq!((&history[0]["sequence"], &history[0]["state"]), (&json!(4), &json!("ended")));
    assert_eq!(backend.process.output().matches("wake bob").count(), 1, "told once, though it came twice");
    backend.refuses_what_is_not_signed(&event("call.ended", 9, "ended"));
}

#[test]
fn the_spring_example_decides_about_calls_and_hears_how_they_went() {
    let port = free_port();
    let secret = secret_file();
    let place = |path: &str| format!("\"http://127.0.0.1:{port}{path}\"");
    let setup = page::issuer(Setup::default())
        .with("webhooks.url", place("/iceway/events"))
        .with("webhooks.secret_file", &secret)
        .with("webhooks.retries", r#"["1s"]"#)
        .with("signal.authorize_url", place("/iceway/authorize"))
        .with("signal.authorize_secret_file", &secret);
    let server = Server::start(setup);
    let mut backend = Backend::start_at(&server, port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let [mut ann, mut bob] = [open(&server, "ann").await, open(&server, "bob").await];
        open(&server, "eve").await.refused(offer("c_eve"), "forbidden").await;
        call(&mut ann, &mut bob, "c_1").await;
        until("the history has the call", PATIENCE, || backend.state_of("c_1") == "ended").await;
        assert!(backend.process.output().contains("asked call by ann"), "{}", backend.process.output());

        // What happens while the backend is away is there when it asks.
        backend.process.kill();
        drop(backend);
        let backend = Backend::start_at(&server, free_port());
        let missed = Http::get(backend.address, "/reconcile").send().expect(200).json();
        assert_eq!(missed, json!({ "missed": 1 }), "what it has lost");
        assert_eq!(backend.state_of("c_1"), "ended");
        assert_eq!(backend.get("/reconcile"), json!({ "missed": 0 }));
    });
}

#[test]
fn the_react_example_is_typed_and_calls() {
    let port = free_port();
    let setup =
        page::issuer(Setup::default()).with("signal.origins", format!("[\"http://127.0.0.1:{port}\"]"));
    let server = Server::start(setup);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("node");
    command.arg("react.js").arg(server.directory()).current_dir(root.join("tests/examples"));
    let built = Tool::run(command, server.directory(), "react", COMPILE_LIMIT);
    assert!(built.status.success(), "{}", built.output);
    let built: Value = serde_json::from_str(built.output.lines().last().unwrap()).unwrap();

    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots/examples-react");
    std::fs::create_dir_all(&screenshots).unwrap();
    let users: Vec<Value> =
        ["ann", "bob"].map(|name| json!({ "name": name, "token": page::token(name) })).into();
    let plan = json!({
        "executable": "/usr/bin/chromium", "home": server.directory(), "screenshots": screenshots, "port": port,
        "bundle": built["bundle"], "url": format!("ws://{}/v1/signal", server.http), "users": users,
    });
    let mut command = Command::new("node");
    command.arg("react.js").arg(plan.to_string()).current_dir(root.join("tests/browser"));
    let run = Tool::run(command, server.directory(), "browser", CALL_LIMIT);
    assert!(run.status.success(), "{}", run.output);
    let found: Value = serde_json::from_str(run.output.lines().last().unwrap()).unwrap();
    assert_eq!(found["complaints"], json!([]), "{found:#}");
    for frames in found["frames"].as_array().unwrap() {
        assert!(frames.as_u64().unwrap() >= 30, "{found:#}");
    }
    assert_eq!(
        (&found["muted"], &found["ended"]),
        (&json!("true"), &json!(["Ready (user)", "Ready (user)"]))
    );
}

/// The classes of examples/spring, running.
struct Backend {
    process: Process,
    address: SocketAddr,
}

impl Backend {
    fn start(server: &Server) -> Self {
        let port = free_port();
        Self::start_at(server, port)
    }

    fn start_at(server: &Server, port: u16) -> Self {
        let classes = compile(server.directory());
        let mut command = Command::new("java");
        command.arg("--class-path").arg(format!("{}:{}", class_path(), classes.display())).arg("Backend");
        command.env("ICEWAY", format!("http://{}", server.http)).env("KEY", API_KEY);
        command.env("WEBHOOK_SECRET", WEBHOOK_SECRET).env("PORT", port.to_string());
        let mut process = Process::start(command, server.directory(), "backend");
        process.wait_until("listening", START_LIMIT, |output| output.contains("listening"));
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn get(&self, path: &str) -> Value {
        Http::get(self.address, path).send().expect(200).json()
    }

    /// A request as iceway would send it.
    fn signed(&self, path: &str, id: &str, body: &Value) -> Reply {
        self.post(path, id, body, 0, WEBHOOK_SECRET)
    }

    fn post(&self, path: &str, id: &str, body: &Value, age: u64, secret: &str) -> Reply {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - age;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{id}.{now}.{body}").as_bytes());
        let signature = format!("v1,bm90IHRoaXMgb25l v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let request = Http::post(self.address, path).json(body).header("webhook-id", id);
        request.header("webhook-timestamp", &now.to_string()).header("webhook-signature", &signature).send()
    }

    /// The state of a call in its history; empty if there is none.
    fn state_of(&self, call: &str) -> String {
        let history = self.get("/history");
        let found = history.as_array().unwrap().iter().find(|kept| kept["id"] == call);
        found.map(|call| call["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    fn refuses_what_is_not_signed(&self, body: &Value) {
        let before = self.get("/history");
        for path in ["/iceway/events", "/iceway/authorize"] {
            assert_eq!(self.post(path, "e9", body, 0, "another secret with enough bytes").status, 401);
            assert_eq!(
                self.post(path, "e9", body, 3600, WEBHOOK_SECRET).status,
                401,
                "replayed after an hour"
            );
            assert_eq!(Http::post(self.address, path).json(body).send().status, 401, "no signature");
        }
        assert_eq!(self.get("/history"), before);
    }
}

/// A session of a user about whose calls the backend is asked.
async fn open(server: &Server, user: &str) -> Client {
    let own = IpAddr::from([127, 0, 0, 1]);
    let socket = Socket::open_from(own, server.http, &[]).await;
    Client::hello(socket, own, &page::token_for(user, "webhook")).await
}

fn offer(call: &str) -> Value {
    let data = json!({ "type": "offer", "sdp": "v=0" });
    json!({ "type": "call-offer", "call": call, "to": { "user": "bob" }, "media": ["audio"], "data": data })
}

/// A call that is answered and hung up.
async fn call(caller: &mut Client, callee: &mut Client, id: &str) {
    caller.request(offer(id)).await;
    callee.wait_for("call-offer").await;
    let data = json!({ "type": "answer", "sdp": "v=0" });
    callee.request(json!({ "type": "call-answer", "call": id, "data": data })).await;
    caller.wait_for("call-answer").await;
    caller.request(json!({ "type": "call-hangup", "call": id, "reason": "user" })).await;
}

/// The file with the secret that both sides have, as TOML names it.
fn secret_file() -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-webhook-secret");
    std::fs::write(&file, WEBHOOK_SECRET).unwrap();
    format!("{file:?}")
}

/// Compiles the example and what runs it, with every warning there is.
fn compile(directory: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = root.join("examples/spring/src/main/java/org/example/calls");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.push(root.join("tests/examples/spring/Backend.java"));
    let classes = directory.join("classes");
    std::fs::create_dir_all(&classes).unwrap();
    let mut command = Command::new("javac");
    // Debian's jars name others that are not there; serial numbers are for exceptions that travel.
    command.args(["-Xlint:all,-path,-serial", "-Werror", "--class-path", &class_path(), "-d"]);
    command.arg(&classes).args(sources);
    let run = Tool::run(command, directory, "javac", COMPILE_LIMIT);
    assert!(run.status.success(), "{}", run.output);
    classes
}

fn class_path() -> String {
    JARS.map(|jar| format!("/usr/share/java/{jar}.jar")).join(":")
}
