//! Something runs out: the client gets the right error code, it is counted, and all is well when the pressure ends.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use crate::support::ports::RelayRange;
use crate::support::{Client, Server, Setup};

#[test]
fn an_exhausted_port_range_is_508_until_a_port_comes_back() {
    let range = RelayRange::take();
    let setup = Setup::default().with("relay.port_min", range.first).with("relay.port_max", range.first + 3);
    let server = Server::start(setup);
    let mut clients = allocated(&server, 4);
    assert_eq!(Client::new(server.address()).allocate(), Err(508));
    assert_eq!(server.metric("iceway_stun_responses_total", &["method=\"allocate\"", "code=\"508\""]), 1.0);
    clients.pop().unwrap().refresh(0).unwrap();
    Client::new(server.address()).allocate().unwrap();
}

#[test]
fn a_relay_port_of_another_process_is_passed_over() {
    let range = RelayRange::take();
    let first = range.first;
    let setup = Setup::default().with("relay.port_min", first).with("relay.port_max", first + 7);
    // Half of the range is taken by somebody else.
    let taken: Vec<UdpSocket> =
        (0..4).map(|offset| UdpSocket::bind((Ipv4Addr::LOCALHOST, first + 2 * offset)).unwrap()).collect();
    let server = Server::start(setup);
    let relayed: Vec<u16> =
        (0..4).map(|_| Client::new(server.address()).allocate().unwrap().port()).collect();
    assert!(relayed.iter().all(|port| (port - first) % 2 == 1), "{relayed:?}");
    assert_eq!(Client::new(server.address()).allocate(), Err(508));
    drop(taken);
    Client::new(server.address()).allocate().unwrap();
}

#[test]
fn a_user_over_quota_is_486_until_an_allocation_ends() {
    let server = Server::start(Setup::default().with("limits.allocations_per_user", 3));
    let mut clients = allocated(&server, 3);
    assert_eq!(Client::new(server.address()).allocate(), Err(486));
    assert_eq!(server.metric("iceway_allocations_refused_total", &["\"user\""]), 1.0);
    clients.pop().unwrap().refresh(0).unwrap();
    Client::new(server.address()).allocate().unwrap();
}

#[test]
fn without_file_descriptors_allocations_are_508_and_the_rest_goes_on() {
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=64", "--", env!("CARGO_BIN_EXE_iceway")]);
    let server = Server::start_with(limited, Setup::default());
    let mut clients = Vec::new();
    let refusal = loop {
        let mut client = Client::new(server.address());
        match client.allocate() {
            Ok(_) => clients.push(client),
            Err(code) => break code,
        }
        assert!(clients.len() < 64, "a relay socket needs a descriptor");
    };
    assert_eq!(refusal, 508);
    for client in &mut clients {
        assert_eq!(client.refresh(600), Ok(600));
    }
    for mut client in clients {
        client.refresh(0).unwrap();
    }
    assert!(server.metric("iceway_relay_binds_failed_total", &["out_of_resources"]) >= 1.0);
    Client::new(server.address()).allocate().unwrap();
}

fn allocated(server: &Server, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = Client::new(server.address());
            client.allocate().unwrap();
            client
        })
        .collect()
}
