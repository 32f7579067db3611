//! Why users fail: each kind of failure made by a real client, and told by `iceway explain` and the API.

use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stun::message::METHOD_REFRESH;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use turn::client::{Client as TurnClient, ClientConfig};
use webrtc_util::Conn;

use crate::support::ports::RelayRange;
use crate::support::server::{
    API_KEY, REALM, SECRET, TestDirectory, USER, password_by, time_limited_credential, time_limited_password,
};
use crate::support::{Client, Http, Server, Setup, Tool};

const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn an_expired_credential_says_since_when_and_by_which_secret() {
    let server = Server::start(Setup::default());
    let username = format!("{}:bob", now() - 90);
    assert!(Caller::allocate(&server, &username, &time_limited_password(&username)).is_err());

    let incident = only(&server, "bob");
    expect(
        &incident,
        "expired",
        &["Allocate was refused (401)", "expired since", "1m30s before", "made with secret"],
    );
    assert_eq!((&incident["proved"], &incident["request"]), (&json!(true), &json!("allocate")));
    // A whole username is as good as the user.
    assert_eq!(only(&server, &username)["cause"], "expired");
}

#[test]
fn a_wrong_secret_says_which_there_are() {
    let server = Server::start(Setup::default());
    let (username, _) = time_limited_credential("bob");
    assert!(Caller::allocate(&server, &username, &password_by("another secret", &username)).is_err());
    // One name a second is noted of an address.
    std::thread::sleep(Duration::from_millis(1100));
    let claimed = format!("{}:ann~1~gone~{}~~~", now() + 600, now());
    assert!(Caller::allocate(&server, &claimed, &password_by("another secret", &claimed)).is_err());

    let ids = secret_ids(&server);
    let incident = only(&server, "bob");
    expect(&incident, "wrong_password", &["not made with any secret known here", &ids]);
    assert_eq!(incident["proved"], json!(false));
    assert!(incident["mend"].as_str().unwrap().contains("iceway credentials verify"), "{incident}");
    expect(&only(&server, "ann"), "wrong_password", &["names secret gone, which is not one of them", &ids]);
}

#[test]
fn coturns_client_with_a_wrong_password_and_an_unknown_name() {
    let server = Server::start(Setup::default());
    for (user, password) in [(USER.0, "wrong"), ("mallory", "x")] {
        let mut command = Command::new("turnutils_uclient");
        command.args(["-u", user, "-w", password, "-p", &server.port.to_string(), "-c", "-e", "127.0.0.1"]);
        command.args(["-n", "1", "127.0.0.1"]);
        let run = Tool::run(command, server.directory(), "uclient", LIMIT * 2);
        assert!(run.output.contains("Cannot complete Allocation"), "{}", run.output);
        // One name a second is noted of an address.
        std::thread::sleep(Duration::from_millis(1100));
    }

    expect(&only(&server, USER.0), "wrong_password", &["not the one of this user"]);
    expect(
        &only(&server, "mallory"),
        "unknown_user",
        &["neither a user", "nor a username with an expiry time"],
    );
}

#[test]
fn a_revocation_is_named_at_the_cut_and_at_the_next_attempt() {
    let server = Server::start(Setup::default());
    let made =
        server.post("/v1/turn/credentials", &json!({"user": "bob", "label": "desk"})).expect(201).json();
    let text = |name: &str| made["iceServers"][1][name].as_str().unwrap().to_owned();
    let (username, password) = (text("username"), text("credential"));
    let _live = Caller::allocate(&server, &username, &password).unwrap();
    let revoked = server.post("/v1/turn/revocations", &json!({"user": "bob"})).expect(201).json();
    let id = revoked["revocation"]["id"].as_str().unwrap_or_else(|| panic!("{revoked}")).to_owned();
    assert!(Caller::allocate(&server, &username, &password).is_err());

    let told = explained(&server, "bob");
    let causes: Vec<&str> = incidents(&told).iter().map(|one| one["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["revoked", "ended"], "{told}");
    let by = format!("revocation {id} of user \"bob\"");
    expect(&told["incidents"][0], "revoked", &[&by, "ends what was issued up to"]);
    expect(&told["incidents"][1], "ended", &["A live allocation was cut", &by]);
}

#[test]
fn a_denied_peer_is_named_with_its_rule() {
    let server = Server::start(Setup::default().with("peers.deny", r#"["198.18.0.0/15"]"#));
    let (username, password) = time_limited_credential("bob");
    let caller = Caller::allocate(&server, &username, &password).unwrap();
    for peer in ["10.1.2.3:9", "198.18.0.1:9"] {
        assert!(caller.send(b"x", peer.parse().unwrap()).is_err(), "{peer} is denied");
    }

    let told = explained(&server, "bob");
    expect(
        &told["incidents"][0],
        "peer_denied",
        &["198.18.0.1 is denied by the rule 198.18.0.0/15: denied by the configuration"],
    );
    expect(
        &told["incidents"][1],
        "peer_denied",
        &["CreatePermission", "(403)", "10.1.2.3 is denied", "10.0.0.0/8"],
    );
    assert!(told["incidents"][0]["mend"].as_str().unwrap().contains("peers.deny"), "{told}");
    assert_eq!(told["allocations"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn quotas_are_named_with_their_key() {
    let server = Server::start(Setup::default().with("limits.allocations_per_user", 1));
    let (username, password) = time_limited_credential("bob");
    let _first = Caller::allocate(&server, &username, &password).unwrap();
    assert!(Caller::allocate(&server, &username, &password).is_err());

    let incident = only(&server, "bob");
    expect(
        &incident,
        "quota",
        &["(486)", "the 1 allocations that are allowed", "limits.allocations_per_user"],
    );
    assert!(incident["mend"].as_str().unwrap().contains("iceway sessions --user bob"), "{incident}");
}

#[test]
fn ports_that_run_out_are_told() {
    let (setup, first, _) = two_ports();
    let server = Server::start(setup);
    let (ann, bob) = (time_limited_credential("ann"), time_limited_credential("bob"));
    let _both = [(); 2].map(|()| Caller::allocate(&server, &ann.0, &ann.1).unwrap());
    assert!(Caller::allocate(&server, &bob.0, &bob.1).is_err());

    expect(&only(&server, "bob"), "no_port", &["(508)", &format!("from {first} to {} was free", first + 1)]);
}

#[test]
fn ports_that_another_program_holds_are_told() {
    let (setup, first, range) = two_ports();
    let _held = [first, first + 1].map(|port| StdSocket::bind(("127.0.0.1", port)).unwrap());
    let server = Server::start(setup.with("relay.addresses", r#"["127.0.0.1"]"#));
    let (username, password) = time_limited_credential("bob");
    assert!(Caller::allocate(&server, &username, &password).is_err());
    drop(range);

    let incident = only(&server, "bob");
    expect(&incident, "no_socket", &["(508)", "other programs use the ports of the relay range"]);
}

#[test]
fn draining_is_told() {
    let server = Server::start(Setup::default().with("node.id", "\"n1\""));
    server.post("/v1/nodes/n1/drain", &json!({})).expect(200);
    let (username, password) = time_limited_credential("bob");
    assert!(Caller::allocate(&server, &username, &password).is_err());

    expect(&only(&server, "bob"), "draining", &["this node is draining"]);
}

#[test]
fn a_client_that_goes_on_with_old_nonces_is_told() {
    let server = Server::start(Setup::default());
    let mut client = Client::new(server.address());
    client.allocate().unwrap();
    let mut moved = Client::new(server.address());
    for _ in 0..4 {
        assert!(moved.exchange(&client.signed(METHOD_REFRESH, &[])).is_some(), "it is answered 438");
    }

    let incident = only(&server, USER.0);
    expect(
        &incident,
        "foreign_nonce",
        &["4 requests within", "not issued to the address it came from", "(438)"],
    );
}

#[test]
fn peers_without_a_permission_and_peers_that_never_answer_are_told_live_and_afterwards() {
    let server = Server::start(Setup::default().loopback_peers());
    let (username, password) = time_limited_credential("bob");
    let caller = Caller::allocate(&server, &username, &password).unwrap();
    let silent = StdSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..6 {
        caller.send(b"anybody there?", silent.local_addr().unwrap()).unwrap();
    }
    let stranger = StdSocket::bind("127.0.0.2:0").unwrap();
    stranger.send_to(b"hello", caller.relayed).unwrap();
    until(|| server.metric("iceway_datagrams_dropped_total", &["reason=\"no_permission\""]) >= 1.0);

    let told = explained(&server, "bob");
    let unpermitted = format!("the last from {}", stranger.local_addr().unwrap());
    expect(&told["incidents"][0], "not_permitted", &["1 datagrams from peers were dropped", &unpermitted]);
    expect(
        &told["incidents"][1],
        "nothing_from_peers",
        &["sent 6 datagrams", "no packet ever came from a peer"],
    );
    assert!(incidents(&told).iter().all(|incident| incident["live"] == json!(true)), "{told}");
    let dropped = &told["allocations"][0]["dropped"];
    assert_eq!(*dropped, json!([{"direction": "to_client", "reason": "no_permission", "datagrams": 1}]));

    let id = told["allocations"][0]["id"].as_str().unwrap();
    Http::delete(server.http, format!("/v1/allocations/{id}")).key(API_KEY).send().expect(204);
    let told = explained(&server, "bob");
    let causes: Vec<&str> = incidents(&told).iter().map(|one| one["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["ended", "nothing_from_peers", "not_permitted"], "{told}");
    assert!(incidents(&told).iter().all(|incident| incident["live"] == json!(false)), "{told}");
}

#[test]
fn the_commands_tell_people_and_end_a_session() {
    let control = TestDirectory::new("control");
    let socket = control.path().join("control.sock");
    let server =
        Server::start(Setup::default().loopback_peers().with("http.control_socket", format!("{socket:?}")));
    let (username, password) = time_limited_credential("bob");
    let _caller = Caller::allocate(&server, &username, &password).unwrap();
    let expired = format!("{}:bob", now() - 90);
    assert!(Caller::allocate(&server, &expired, &time_limited_password(&expired)).is_err());
    let configured = ["--config", server.directory().join("iceway.toml").to_str().unwrap()].map(String::from);

    let told = command(&server, "explain bob", &configured);
    assert!(
        told.contains("bob has 1 live allocation (iceway sessions --user bob); 1 thing went wrong:"),
        "{told}"
    );
    assert!(
        told.contains("the credential is expired since") && told.contains("\n  → Have the client fetch"),
        "{told}"
    );

    let listed = command(&server, "sessions --user bob", &configured);
    let [headings, line] = listed.lines().collect::<Vec<_>>()[..] else { panic!("{listed}") };
    assert!(headings.starts_with("ID") && line.contains(" bob ") && line.contains("127.0.0.1:"), "{listed}");
    assert!(command(&server, "sessions --user nobody", &configured).contains("Nothing is relayed"));
    let page: Value = serde_json::from_str(&command(&server, "sessions --json", &configured)).unwrap();
    let id = page["allocations"][0]["id"].as_str().unwrap().to_owned();
    assert!(line.starts_with(&id), "{listed}");

    let key = control.path().join("key");
    std::fs::write(&key, API_KEY).unwrap();
    let over_http = ["--server", &format!("http://{}", server.http), "--key-file", key.to_str().unwrap()]
        .map(String::from);
    assert_eq!(command(&server, &format!("sessions close {id}"), &over_http), format!("{id} has ended.\n"));
    let told: Value = serde_json::from_str(&command(&server, "explain bob --json", &over_http)).unwrap();
    expect(&told["incidents"][0], "ended", &["an operator ended it"]);
    let told = command(&server, "explain nobody", &over_http);
    assert!(told.contains("nothing is known to have gone wrong"), "{told}");
}

#[test]
fn switched_off_nothing_is_remembered_and_the_answer_says_so() {
    let server = Server::start(Setup::default().with("explain.enabled", false).with("node.id", "\"n1\""));
    let username = format!("{}:bob", now() - 90);
    assert!(Caller::allocate(&server, &username, &time_limited_password(&username)).is_err());

    let told = explained(&server, "bob");
    assert_eq!((&told["incidents"], &told["forgetful"]), (&json!([]), &json!(["n1"])), "{told}");
}

#[test]
fn nothing_secret_is_in_an_explanation() {
    let server = Server::start(Setup::default());
    let (username, password) = time_limited_credential("bob");
    let wrong = password_by("another secret", &username);
    assert!(Caller::allocate(&server, &username, &wrong).is_err());
    let expired = format!("{}:bob", now() - 90);
    assert!(Caller::allocate(&server, &expired, &time_limited_password(&expired)).is_err());

    let told = explained(&server, "bob").to_string();
    assert!(told.contains("wrong_password") || told.contains("expired"), "{told}");
    for secret in [SECRET, &password, &wrong, USER.1, API_KEY] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

/// The client of the `turn` crate with an allocation.
struct Caller {
    runtime: Runtime,
    // The allocation ends with it.
    _client: TurnClient,
    conn: Arc<dyn Conn + Send + Sync>,
    relayed: SocketAddr,
}

impl Caller {
    fn allocate(server: &Server, username: &str, password: &str) -> Result<Self, turn::Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = server.address().to_string();
        let made = runtime.block_on(async {
            let client = TurnClient::new(ClientConfig {
                stun_serv_addr: address.clone(),
                turn_serv_addr: address,
                username: username.to_owned(),
                password: password.to_owned(),
                realm: REALM.to_owned(),
                software: String::new(),
                rto_in_ms: 0,
                conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
                vnet: None,
            })
            .await?;
            client.listen().await?;
            let conn = timeout(LIMIT, client.allocate()).await.unwrap()?;
            Ok::<_, turn::Error>((client, conn))
        });
        let (client, conn) = made?;
        let conn: Arc<dyn Conn + Send + Sync> = Arc::new(conn);
        let relayed = conn.local_addr().unwrap();
        Ok(Self { runtime, _client: client, conn, relayed })
    }

    fn send(&self, payload: &[u8], peer: SocketAddr) -> Result<usize, webrtc_util::Error> {
        self.runtime.block_on(async { timeout(LIMIT, self.conn.send_to(payload, peer)).await.unwrap() })
    }
}

/// A server with two relay ports, and the first of them, which is even.
fn two_ports() -> (Setup, u16, RelayRange) {
    let range = RelayRange::take();
    let first = range.first.next_multiple_of(2);
    (Setup::default().with("relay.port_min", first).with("relay.port_max", first + 1), first, range)
}

/// What the API tells of a user.
pub(crate) fn explained(server: &Server, user: &str) -> Value {
    let told = server.get(&format!("/v1/explain/{user}")).expect(200).json();
    assert_eq!(told["unanswered"], json!([]));
    told
}

pub(crate) fn incidents(told: &Value) -> &[Value] {
    told["incidents"].as_array().unwrap()
}

pub(crate) fn only(server: &Server, user: &str) -> Value {
    let told = explained(server, user);
    let [one] = incidents(&told) else { panic!("not one thing: {told}") };
    one.clone()
}

pub(crate) fn expect(incident: &Value, cause: &str, said: &[&str]) {
    assert_eq!(incident["cause"], cause, "{incident}");
    let what = incident["what"].as_str().unwrap();
    for part in said {
        assert!(what.contains(part), "{part:?} is not in {what:?}");
    }
    assert!(incident["mend"].as_str().unwrap().len() > 10, "{incident}");
}

/// What a command prints.
fn command(server: &Server, words: &str, more: &[String]) -> String {
    run(Path::new(server.directory()), words, more)
}

fn run(directory: &Path, words: &str, more: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
    command.args(words.split(' ')).args(more);
    let run = Tool::run(command, directory, "command", LIMIT);
    assert!(run.status.success(), "iceway {words}: {}", run.output);
    run.output
}

/// The ids of the server's secrets as they are listed.
fn secret_ids(server: &Server) -> String {
    let secrets = server.get("/v1/turn/secrets").expect(200).json();
    let ids = secrets["secrets"].as_array().unwrap().iter().map(|secret| secret["id"].as_str().unwrap());
    ids.collect::<Vec<_>>().join(", ")
}

pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
