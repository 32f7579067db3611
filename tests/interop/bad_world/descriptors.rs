//! A limit of 64 descriptors.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite;

use super::{Call, SOON, lines};
use crate::signal_support::{self as signaling, Issuer, Socket};
use crate::support::nodes::until;
use crate::support::server::TestDirectory;
use crate::support::{Client, Http, Server, Setup, Tool};

fn limited(descriptors: u32) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={descriptors}:{descriptors}")).arg("--").arg(env!("CARGO_BIN_EXE_iceway"));
    command
}

#[test]
fn a_server_that_is_full_is_named_obeys_and_recovers() {
    let mut server = Server::start_with(limited(64), Setup::default().loopback_peers());
    let warnings = lines(&server, "too few descriptors");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("limit=64") && warnings[0].contains("LimitNOFILE"), "{warnings:?}");
    let mut call = Call::begin(&server);
    let mut clients = Vec::new();
    loop {
        let mut client = Client::new(server.address());
        match client.allocate() {
            Ok(_) => clients.push(client),
            Err(code) => break assert_eq!(code, 508),
        }
    }
    // Relay sockets left some free: for those who look, and for the operator.
    assert_eq!(Http::get(server.http, "/readyz").send().status, 200);
    server.get("/v1/nodes").expect(200);
    assert_eq!(server.metric("process_max_fds", &[]), 64.0);
    // A client of TCP is told at once.
    let refused = TcpStream::connect(server.address()).unwrap();
    assert!(is_closed(&refused), "it is closed, not kept waiting");
    assert_eq!(server.metric("iceway_stream_connections_refused_total", &["descriptors"]), 1.0);
    call.goes_on();

    // Connections to HTTP leave some free too, and do not pile up unanswered.
    let held: Vec<TcpStream> = (0..24).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    assert!(held.iter().filter(|stream| is_closed(stream)).count() >= 16);
    call.goes_on();
    drop(held);
    until("HTTP answers again", SOON, || Http::get(server.http, "/readyz").try_send().is_ok());
    let told = lines(&server, "Descriptors are used up");
    assert_eq!(told.len(), 1, "once a minute: {told:?}");
    assert!(told[0].contains("LimitNOFILE"), "{told:?}");

    for mut client in clients {
        client.refresh(0).unwrap();
    }
    Client::new(server.address()).allocate().unwrap();
    let open = TcpStream::connect(server.address()).unwrap();
    assert!(!is_closed(&open));
    call.goes_on();
    call.end();
    assert!(server.process.exit().is_none());
}

#[tokio::test]
async fn signaling_sockets_leave_some_for_those_who_look() {
    let (issuer, directory) = (Issuer::new(), TestDirectory::new("few-sockets"));
    let jwks = directory.path().join("jwks.json");
    std::fs::write(&jwks, issuer.jwks()).unwrap();
    let setup = Setup::default()
        .loopback_peers()
        .with("jwt.issuer", r#""https://auth.example/realms/m""#)
        .with("jwt.audience", r#"["rtc-signal"]"#)
        .with("jwt.keys_file", format!("{jwks:?}"))
        .with("runtime.shards", 1)
        .with("listen.tcp", "[]")
        .with("listen.tls", "[]")
        .with("signal.connects_per_second", 0)
        .with("signal.unauthenticated_per_address_max", 1000);
    let mut server = Server::start_with(limited(64), setup);
    let mut call = Call::begin(&server);
    let open = async |user: &str| {
        let localhost = Ipv4Addr::LOCALHOST.into();
        let socket = Socket::try_open_from(localhost, server.http, &[]).await?;
        Ok::<_, tungstenite::Error>(
            signaling::Client::hello(socket, localhost, &issuer.token(user, "web")).await,
        )
    };
    let mut clients = Vec::new();
    let refused = loop {
        match open(&format!("user-{}", clients.len())).await {
            Ok(client) => clients.push(client),
            Err(tungstenite::Error::Http(answer)) => break answer,
            Err(error) => panic!("{error} after {}", clients.len()),
        }
    };
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["connection"]),
        (503, &"close".parse().unwrap())
    );
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    assert!(clients.len() >= 8, "{}", clients.len());
    assert!(open("late").await.is_err());
    let told = lines(&server, "Descriptors are used up");
    assert_eq!(told.len(), 1, "once a minute: {told:?}");
    assert!(told[0].contains("LimitNOFILE") && told[0].contains("limit=64"), "{told:?}");

    // Those who are there go on, those who look are answered, and so is the operator.
    let last = clients.len() - 1;
    for (from, to) in [(0, last), (last, 0), (1, 2)] {
        clients[from]
            .request(json!({ "type": "message", "to": { "user": format!("user-{to}") }, "data": from }))
            .await;
        assert_eq!(clients[to].expect("message").await["data"], from);
    }
    call.goes_on();
    for _ in 0..8 {
        assert_eq!(Http::get(server.http, "/readyz").send().status, 200);
        assert_eq!(server.metric("process_max_fds", &[]), 64.0);
    }
    server.get("/v1/nodes").expect(200);

    for mut client in clients.drain(..2) {
        client.send(json!({ "type": "bye" })).await;
        client.closed().await;
    }
    // Others get in, as many as have left.
    let deadline = Instant::now() + SOON;
    while clients.len() <= last {
        match open(&format!("new-{}", clients.len())).await {
            Ok(client) => clients.push(client),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
    clients[last].request(json!({ "type": "message", "to": { "user": "user-2" }, "data": "new" })).await;
    assert_eq!(clients[0].expect("message").await["data"], "new");
    call.goes_on();
    call.end();
    assert!(server.process.exit().is_none());
}

#[test]
fn too_few_to_begin_with_is_one_error_with_its_mend() {
    let directory = TestDirectory::new("few");
    for descriptors in [12, 20, 28] {
        let mut command = limited(descriptors);
        command.args(["serve", "--listen-udp", "127.0.0.1:0", "--listen-tcp", "127.0.0.1:0"]);
        command.args(["--http-listen", "127.0.0.1:0", "--runtime-shards", "2"]);
        command.env("ICEWAY_AUTH_SECRET", crate::support::server::SECRET);
        let tool = Tool::run(command, directory.path(), "iceway", SOON);
        assert_eq!(tool.status.code(), Some(1), "{}", tool.output);
        let errors: Vec<&str> = tool.output.lines().filter(|line| line.starts_with("iceway: ")).collect();
        let [error] = errors.as_slice() else { panic!("{}", tool.output) };
        assert!(error.contains("LimitNOFILE") && error.matches("os error 24").count() == 1, "{error}");
    }
}

/// Whether the server has closed a connection that nothing was sent on, soon.
fn is_closed(mut stream: &TcpStream) -> bool {
    let _peer: Option<SocketAddr> = stream.peer_addr().ok();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    match stream.read(&mut [0; 8]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
