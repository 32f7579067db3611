//! The built-in page in Chromium: what it shows of a server, and a call between two of its tabs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::browser::trust;
use crate::support::http::Http;
use crate::support::namespace::Namespace;
use crate::support::ports::free_port;
use crate::support::server::TestDirectory;
use crate::support::{Process, Server, Setup, Tool};

/// All ways take about 12 seconds, those that are blocked 12 more.
const LIMIT: Duration = Duration::from_secs(240);
const START_LIMIT: Duration = Duration::from_secs(20);
const TOKEN_SECRET: &str = "a secret of the issuer, with more than 32 bytes";
/// STUN and TURN over UDP, TURN over TCP and over TLS, each over IPv4 and IPv6.
const WAYS: usize = 8;

#[test]
fn every_way_is_green_and_a_login_token_is_asked_for() {
    let server = Server::start(issuer(Setup::default()));
    let findings = page(&server, json!({ "token": token("ann") }));
    assert_eq!(findings["complaints"], json!([]), "{findings:#}");
    assert_eq!(findings["verdict"]["state"], "good", "{findings:#}");
    assert_eq!(findings["verdict"]["title"], "Everything works", "{findings:#}");
    assert_eq!(
        findings["about"],
        Value::Null,
        "who is no administrator sees nothing of the server: {findings:#}"
    );
    let rows = rows(&findings);
    assert_eq!(rows.len(), WAYS + 1, "and signaling: {findings:#}");
    for row in rows {
        assert_eq!(row["state"], "good", "{row:#}");
        let figures = row["figures"].as_object().unwrap();
        assert!(figures.values().all(|figure| figure.as_str().unwrap().contains(' ')), "{row:#}");
        let wanted = if text(row, "url").starts_with("turn") { 3 } else { 1 };
        assert!(figures.len() >= wanted, "{row:#}");
    }
}

#[test]
fn ways_that_do_not_work_are_red_and_say_why() {
    let (other, closed) = (Server::start(Setup::default()), free_port());
    let elsewhere = format!("turn:127.0.0.1:{}?transport=tcp", other.port);
    // A secret that the other server does not have.
    let setup = issuer(Setup::default()).with("auth.secret", r#""another secret of 32 characters""#);
    let uris = [
        "turn:127.0.0.1:{own}?transport=udp".to_owned(),
        elsewhere.clone(),
        format!("turn:127.0.0.1:{closed}?transport=udp"),
        format!("turn:127.0.0.1:{closed}?transport=tcp"),
        format!("turns:127.0.0.1:{closed}?transport=tcp"),
        "turn:nobody.invalid:3478?transport=udp".to_owned(),
    ];
    let own = free_port();
    let listen = format!("[\"127.0.0.1:{own}\"]");
    let uris = format!("{uris:?}").replace("{own}", &own.to_string());
    let setup = setup.with("node.uris", uris).with("listen.udp", &listen).with("listen.tcp", &listen);
    let server = Server::start(setup);
    let findings = page(&server, json!({ "token": token("ann") }));
    let judged = |url: &str| {
        let row = rows(&findings).into_iter().find(|row| text(row, "url") == url);
        let row = row.unwrap_or_else(|| panic!("no line for {url}: {findings:#}"));
        [text(row, "state"), text(row, "says"), text(row, "wrong")]
    };
    let closed_place = format!("port {closed} of 127.0.0.1");
    assert_eq!(judged(&format!("turn:127.0.0.1:{own}?transport=udp"))[0], "good", "{findings:#}");
    assert_eq!(judged(&elsewhere), ["bad", "refused (401)", "The server does not know this credential."]);
    assert_eq!(
        judged(&format!("turn:127.0.0.1:{closed}?transport=udp")),
        ["bad", "blocked", &format!("Nothing comes back from {closed_place} over UDP.")]
    );
    assert_eq!(
        judged(&format!("turn:127.0.0.1:{closed}?transport=tcp")),
        ["bad", "refused", &format!("The connection to {closed_place} is refused.")]
    );
    assert_eq!(
        judged(&format!("turns:127.0.0.1:{closed}?transport=tcp")),
        ["bad", "no TLS", &format!("No TLS connection comes about with {closed_place}.")]
    );
    assert_eq!(judged("turn:nobody.invalid:3478?transport=udp")[1], "name not found");
    assert_eq!(findings["verdict"]["state"], "fair", "{findings:#}");
    assert_eq!(findings["verdict"]["title"], "Calls get through", "{findings:#}");
    let remedies = rows(&findings).iter().filter(|row| !text(row, "remedy").is_empty()).count();
    assert_eq!(remedies, 5, "one for each that is red: {findings:#}");
}

#[test]
fn a_bare_start_is_tried_and_called_through_without_any_login() {
    let (machine, router) = (Namespace::new("page"), Namespace::new("router"));
    machine.link("10.9.8.7/24", &router, "10.9.8.1/24", "wire");
    machine.run("ip route add default via 10.9.8.1");
    let (home, _server) = bare_start(&machine, &[]);
    let checks = run(machine.command("node"), home.path(), json!({ "url": "http://127.0.0.1:9641/" }));
    assert_eq!(checks["complaints"], json!([]), "{checks:#}");
    assert_eq!(checks["verdict"]["state"], "good", "{checks:#}");
    let states: Vec<&str> = rows(&checks).into_iter().map(|row| text(row, "state")).collect();
    assert!(states.iter().filter(|state| **state == "good").count() >= 4, "{checks:#}");
    assert!(!states.contains(&"bad"), "{checks:#}");
    says_what_the_doctor_says(&machine, &checks);

    for (camera, only_relay) in [(true, false), (false, true)] {
        let room = json!({ "camera": camera, "onlyRelay": only_relay });
        let plan = json!({ "url": "http://127.0.0.1:9641/", "room": room });
        let call = run(machine.command("node"), home.path(), plan);
        assert_eq!(call["complaints"], json!([]), "{call:#}");
        assert_eq!(call["tiles"], 1, "one's own remains when the other leaves: {call:#}");
        for side in call["sides"].as_array().unwrap() {
            assert!(side["frames"].as_u64().unwrap() >= 30, "{call:#}");
            // Black has one colour.
            assert!(side["colours"].as_u64().unwrap() > 20, "{call:#}");
            let way = if only_relay { "relayed" } else { "direct" };
            assert!(text(side, "quality").contains(way), "{call:#}");
            assert_eq!(side["status"], "You are connected.", "{call:#}");
        }
        let pressed = if camera { json!(["mute true", "camera true"]) } else { json!(["camera true"]) };
        assert_eq!(call["pressed"], pressed, "what is drawn has no sound to mute: {call:#}");
    }
}

/// The page shows what the server finds itself, each line in the same words.
fn says_what_the_doctor_says(machine: &Namespace, shown: &Value) {
    let mut curl = machine.command("curl");
    curl.args(["--silent", "--fail", "--max-time", "20", "http://127.0.0.1:9641/v1/doctor"]);
    let output = curl.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = shown["doctor"].as_array().unwrap();
    for check in report["checks"].as_array().unwrap() {
        let line = lines.iter().find(|line| line["name"] == check["name"] && line["level"] == check["level"]);
        let line = line.unwrap_or_else(|| panic!("not on the page: {check:#}\n{shown:#}"));
        assert_eq!(line["mend"].as_str().unwrap(), text(check, "mend"), "{check:#}");
        let is_wrong = ["warning", "failure"].contains(&text(check, "level"));
        assert_eq!(line["isSeen"], is_wrong, "what is wrong is seen at once, the rest when asked: {line:#}");
    }
    assert!(shown["about"].as_str().unwrap().contains("iceway doctor finds on node"), "{shown:#}");
}

#[test]
fn an_announced_address_that_leads_elsewhere_is_named() {
    let (machine, router) = (Namespace::new("page"), Namespace::new("router"));
    machine.link("10.9.8.7/24", &router, "10.9.8.1/24", "wire");
    machine.run("ip route add default via 10.9.8.1");
    let (home, _server) = bare_start(&machine, &["serve", "--relay-external", "203.0.113.9"]);
    let findings = run(machine.command("node"), home.path(), json!({ "url": "http://127.0.0.1:9641/" }));
    assert_eq!(findings["verdict"]["title"], "Calls cannot be relayed", "{findings:#}");
    assert_eq!(findings["verdict"]["state"], "bad", "{findings:#}");
    let red: Vec<&Value> = rows(&findings).into_iter().filter(|row| text(row, "state") == "bad").collect();
    assert_eq!(red.len(), 3, "STUN, UDP, TCP: {findings:#}");
    for row in red {
        assert!(text(row, "remedy").contains("relay.external is wrong"), "{row:#}");
    }
}

#[test]
fn tokens_of_a_bare_start_are_for_its_own_page_alone() {
    let directory = TestDirectory::new("trial");
    let port = free_port();
    let http: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    let turn = format!("127.0.0.1:{}", free_port());
    command.args(["serve", "--listen-udp", &turn, "--listen-tcp", &turn, "--http-listen", &http.to_string()]);
    command.current_dir(directory.path()).env_clear();
    let mut server = Process::start(command, directory.path(), "iceway");
    server.wait_until("ready", START_LIMIT, |_| Http::get(http, "/readyz").try_send().is_ok());

    let ask = || Http::get(http, "/v1/trial/token?user=ann");
    let token = ask().header("Sec-Fetch-Site", "same-origin").send().expect(200).json();
    let bearer = token["token"].as_str().unwrap();
    let own = Http::get(http, "/v1/ice-servers").key(bearer).send().expect(200).json();
    assert!(own["iceServers"].is_array(), "{own}");
    Http::get(http, "/v1/nodes").key(bearer).send().expect(403);
    let report = Http::get(http, "/v1/doctor").send().expect(200).json();
    assert_eq!(report["counts"]["failure"], 0, "{report:#}");
    let stranger = Http::get(http, "/v1/doctor").key(bearer).header("Sec-Fetch-Site", "cross-site");
    stranger.send().expect(403);
    Http::get(http, "/v1/doctor").header("X-Forwarded-For", "203.0.113.9").send().expect(401);
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://stranger.example"),
        ("X-Forwarded-For", "203.0.113.9"),
    ] {
        assert_eq!(ask().header(name, value).send().status, 403, "{name}: {value}");
    }
    // A page of a stranger whose name leads to this machine.
    let rebound = raw(http, "GET /v1/trial/token?user=ann HTTP/1.0\r\nHost: stranger.example\r\n\r\n");
    assert!(rebound.starts_with("HTTP/1.0 403"), "{rebound}");
    assert_eq!(Http::get(http, "/v1/trial/token?user=a%20b").send().status, 422);

    let page = Http::get(http, "/").header("Accept", "text/html").send().expect(200);
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let tag = page.header("etag").unwrap();
    Http::get(http, "/").header("Accept", "text/html").header("If-None-Match", tag).send().expect(304);
    assert_eq!(Http::get(http, "/").send().json()["name"], "iceway", "programs get the index");
    let client = Http::get(http, "/iceway.js").send().expect(200);
    assert_eq!(client.header("access-control-allow-origin"), Some("*"));
    assert_eq!(client.header("content-type"), Some("text/javascript; charset=utf-8"));
}

#[test]
fn the_page_can_be_switched_off() {
    let off = Server::start(Setup::default().with("page.enabled", r#""off""#));
    let html =
        |server: &Server, path: &str| Http::get(server.http, path).header("Accept", "text/html").send();
    assert_eq!(html(&off, "/").json()["name"], "iceway");
    assert_eq!(html(&off, "/page/page.js").status, 404);
    assert_eq!(html(&off, "/iceway.js").status, 200, "the client is there for other pages");
    // Nobody could log in.
    let production = Server::start(Setup::default());
    assert_eq!(html(&production, "/").json()["name"], "iceway");
    assert_eq!(Http::get(production.http, "/v1/trial/token?user=ann").send().status, 404);
}

/// A server that takes tokens made by [`token`], for calls to anybody.
pub(crate) fn issuer(setup: Setup) -> Setup {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-issuer");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("secret");
    std::fs::write(&file, TOKEN_SECRET).unwrap();
    setup
        .with("jwt.issuer", r#""https://issuer.test""#)
        .with("jwt.audience", r#"["iceway"]"#)
        .with("jwt.hs256_secret_file", format!("{file:?}"))
}

/// A login token of somebody who may do everything a user can.
pub(crate) fn token(user: &str) -> String {
    token_for(user, "any")
}

/// The same for somebody whose calls are decided so.
pub(crate) fn token_for(user: &str, calls: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "https://issuer.test", "aud": "iceway", "sub": user, "iat": now, "exp": now + 3600,
        "rtc": {
            "turn": { "use": true }, "call": { "mode": calls }, "rooms": { "*": ["join", "send"] },
            "presence": true, "message": true,
        },
    });
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(json!({ "alg": "HS256" }).to_string()), encode(claims.to_string()));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(TOKEN_SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The bare command in a machine of its own, when it has said where its page is.
fn bare_start(machine: &Namespace, arguments: &[&str]) -> (TestDirectory, Process) {
    let home = TestDirectory::new("page");
    let mut command = machine.command(env!("CARGO_BIN_EXE_iceway"));
    let kept = std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "INTEROP_RUN");
    command.args(arguments).current_dir(home.path()).env_clear().envs(kept).env("HOME", home.path());
    let mut server = Process::start(command, home.path(), "iceway");
    server.wait_until("saying where its page is", START_LIMIT, |output| {
        output.contains("http://127.0.0.1:9641/\n")
    });
    (home, server)
}

/// What the page shows of this server.
fn page(server: &Server, plan: Value) -> Value {
    trust(server);
    let mut plan = plan;
    plan["url"] = json!(format!("http://{}/", server.http));
    run(Command::new("node"), server.directory(), plan)
}

/// Runs the driver. Screenshots are left in `target/tmp/screenshots/` for who wants to look.
fn run(mut command: Command, home: &Path, mut plan: Value) -> Value {
    let test = std::thread::current().name().unwrap_or("page").replace("::", "-");
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(test);
    std::fs::create_dir_all(&screenshots).unwrap();
    plan["executable"] = json!("/usr/bin/chromium");
    plan["home"] = json!(home);
    plan["screenshots"] = json!(screenshots);
    command.arg("check.js").arg(plan.to_string());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"));
    let run = Tool::run(command, home, "browser", LIMIT);
    assert!(run.status.success(), "{}", run.output);
    let last = run.output.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", run.output))
}

fn rows(findings: &Value) -> Vec<&Value> {
    findings["rows"].as_array().unwrap().iter().collect()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn raw(address: SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(START_LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
