//! Why users fail: the kinds that ready-made clients do not show, each from an address of its own, and on several nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};

use serde_json::json;
use stun::message::METHOD_ALLOCATE;

use crate::explain::{expect, explained, incidents, now, only, until};
use crate::support::client::{Attribute, REQUESTED_TRANSPORT, UDP};
use crate::support::nodes::Cluster;
use crate::support::server::{API_KEY, time_limited_credential, time_limited_password};
use crate::support::{Client, Server, Setup};

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9)), 9);
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const PASSWORD_ALGORITHM: u16 = 0x001D;

#[test]
fn requests_that_are_refused_for_what_is_in_them() {
    let setup = Setup::default().with("limits.permissions_per_allocation", 1).loopback_peers();
    let server = Server::start(setup.with("relay.addresses", r#"["127.0.0.1"]"#));
    let allocate = |last, user, attribute: Attribute| {
        let transport = Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec());
        client(&server, last, user).request(METHOD_ALLOCATE, &[transport, attribute]).map(drop)
    };
    let unknown = Attribute::Raw(0x7f01, Vec::new());
    assert_eq!(allocate(1, "attribute", unknown), Err(420));
    let family = Attribute::Raw(REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0]);
    assert_eq!(allocate(2, "family", family), Err(440));
    let algorithm = Attribute::Raw(PASSWORD_ALGORITHM, vec![0, 1, 0, 0]);
    assert_eq!(allocate(3, "algorithm", algorithm), Err(400));
    let tcp = Attribute::Raw(REQUESTED_TRANSPORT, vec![6, 0, 0, 0]);
    assert_eq!(client(&server, 4, "tcp").request(METHOD_ALLOCATE, &[tcp]).map(drop), Err(442));
    assert_eq!(client(&server, 5, "homeless").refresh(600), Err(437));
    assert_eq!(client(&server, 6, "realm").with_realm("elsewhere").allocate(), Err(401));
    let mut number = client(&server, 7, "number");
    number.allocate().unwrap();
    assert_eq!(number.bind_channel(0x5000, PEER), Err(400));
    let mut many = client(&server, 8, "many");
    many.allocate().unwrap();
    many.permit(PEER.ip()).unwrap();
    assert_eq!(many.permit(Ipv4Addr::new(127, 0, 9, 8).into()), Err(508));
    let (username, password) = time_limited_credential("other");
    assert_eq!(many.with_credential(username, password).refresh(600), Err(441));

    for (user, cause, said) in [
        ("attribute", "refused", "Allocate was refused (420): it has an attribute that must be understood"),
        ("family", "refused", "(440): there is no relay address of the family"),
        ("algorithm", "algorithm_mismatch", "(400): the password algorithms in it"),
        ("tcp", "refused", "(442): only UDP is relayed"),
        ("homeless", "refused", "Refresh was refused (437): the client has no allocation here"),
        ("realm", "wrong_realm", "(401): it named another realm than \"interop.test\""),
        ("number", "refused", "ChannelBind was refused (400): the channel number is not from 0x4000"),
        ("many", "refused", "CreatePermission was refused (508): the most permissions"),
        ("other", "other_user", "Refresh was refused (441): the allocation of this address and port"),
    ] {
        expect(&only(&server, user), cause, &[said]);
    }
}

#[test]
fn limits_of_address_and_node_and_credentials_that_end_calls() {
    let strict = Server::start(
        Setup::default()
            .with("auth.expiry", "\"strict\"")
            .with("limits.allocations_total", 2)
            .with("limits.allocations_per_address", 1),
    );
    let expired = format!("{}:short", now() + 2);
    let mut short = at(&strict, 1).with_credential(expired.clone(), time_limited_password(&expired));
    short.allocate().unwrap();
    assert_eq!(client(&strict, 1, "address").allocate(), Err(486));
    client(&strict, 2, "long").allocate().unwrap();
    assert_eq!(client(&strict, 3, "full").allocate(), Err(508));

    expect(&only(&strict, "address"), "quota", &["(486)", "the client's address has the 1 allocations"]);
    expect(
        &only(&strict, "full"),
        "quota",
        &["(508)", "this node has the 2 allocations", "allocations_total"],
    );
    until(|| !incidents(&explained(&strict, "short")).is_empty());
    let ended = only(&strict, "short");
    expect(&ended, "ended", &["A live allocation was cut: its credential expired"]);
    assert!(ended["mend"].as_str().unwrap().contains("fetch a new credential in time"), "{ended}");
}

#[test]
fn datagrams_that_were_dropped_for_the_client() {
    let server =
        Server::start(Setup::default().loopback_peers().with("bandwidth.per_allocation", "\"8kB/s\""));
    let mut fast = client(&server, 1, "fast");
    fast.allocate().unwrap();
    let peer = UdpSocket::bind((PEER.ip(), 0)).unwrap();
    fast.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
    for _ in 0..300 {
        fast.send_channel(0x4000, &[7; 1000]);
    }
    let mut lost = client(&server, 2, "lost");
    lost.allocate().unwrap();
    lost.send(PEER, b"without a permission");
    lost.send_channel(0x4001, b"on no channel");
    // Answered after all that was sent before.
    assert!(fast.refresh(600).is_ok() && lost.refresh(600).is_ok());

    let told = explained(&server, "fast");
    let dropped = incidents(&told).iter().find(|incident| incident["cause"] == "dropped").unwrap();
    expect(dropped, "dropped", &["above the bandwidth of one allocation (bandwidth.per_allocation"]);
    let told = explained(&server, "lost");
    let all: Vec<&str> = incidents(&told).iter().map(|incident| incident["what"].as_str().unwrap()).collect();
    assert!(all.iter().any(|what| what.starts_with("1 datagrams") && what.contains("without a permission")));
    assert!(all.iter().any(|what| what.starts_with("1 datagrams") && what.contains("not bound")), "{all:?}");
}

#[test]
fn any_node_tells_what_happened_on_all_and_whose_word_is_missing() {
    let mut cluster = Cluster::start();
    let expired = format!("{}:bob", now() - 90);
    let mut late = Client::new(cluster.nodes[1].address())
        .with_credential(expired.clone(), time_limited_password(&expired));
    assert_eq!(late.allocate(), Err(401));
    let (username, password) = time_limited_credential("bob");
    let mut denied = Client::new(cluster.nodes[2].address()).with_credential(username, password);
    denied.allocate().unwrap();
    assert_eq!(denied.permit(Ipv4Addr::new(10, 1, 2, 3).into()), Err(403));

    let told = explained(&cluster.nodes[0], "bob");
    assert_eq!(told["nodes"], json!(["n1", "n2", "n3"]), "{told}");
    let mut found: Vec<_> = incidents(&told)
        .iter()
        .map(|one| (one["node"].as_str().unwrap(), one["cause"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("n2", "expired"), ("n3", "peer_denied")], "{told}");

    cluster.nodes[2].kill();
    let run = ask(&cluster.nodes[0], "bob");
    let [said, error] = [&run.stdout, &run.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(run.status.code(), Some(1), "{said}{error}");
    assert!(said.contains("1 thing went wrong") && said.contains("node n2"), "{said}");
    assert!(
        error.contains("what some nodes know is missing: n3: node \"n3\" did not answer in time"),
        "{error}"
    );
}

/// `iceway explain`.
fn ask(node: &Server, user: &str) -> Output {
    let key = node.directory().join("explain-key");
    std::fs::write(&key, API_KEY).unwrap();
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_iceway"), "explain", user]);
    command.args(["--server", &format!("http://{}", node.http), "--key-file"]).arg(key);
    command.output().unwrap()
}

/// A client at 127.0.3.`last`.
fn at(server: &Server, last: u8) -> Client {
    Client::on(UdpSocket::bind((Ipv4Addr::new(127, 0, 3, last), 0)).unwrap(), server.address())
}

fn client(server: &Server, last: u8, user: &str) -> Client {
    let (username, password) = time_limited_credential(user);
    at(server, last).with_credential(username, password)
}
