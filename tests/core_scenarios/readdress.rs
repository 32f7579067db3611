//! Relay addresses that clients are told otherwise while calls are up.

use std::net::SocketAddr;

use iceway::turn::{DropReason, PeerOutcome, PeerPolicy, Prefix, RelayAddress};

use crate::support_core::{Client, Outcome, PEER, Request, Scene, Stage, ip};

const LOCAL: &str = "10.0.0.5";
const FIRST: &str = "198.51.100.9";
const SECOND: &str = "198.51.100.77";

fn told(address: &str) -> Vec<RelayAddress> {
    vec![RelayAddress { local: ip(LOCAL), advertised: ip(address) }]
}

fn scene() -> Scene {
    Stage::with(|stage| {
        stage.options.relay_addresses = told(FIRST);
        stage.policy = PeerPolicy::new(&[], &[], &[ip(LOCAL)]);
    })
}

fn readdress(scene: &mut Scene, address: &str) {
    scene.server.set_relay_addresses(scene.now, told(address));
    scene.options.relay_addresses = told(address);
    scene.drain();
}

fn local(relayed: SocketAddr) -> SocketAddr {
    SocketAddr::new(ip(LOCAL), relayed.port())
}

#[test]
fn new_allocations_are_told_the_new_address_and_old_ones_keep_theirs() {
    let mut scene = scene();
    let mut old = Client::alice("203.0.113.5:1");
    assert_eq!(old.allocate(&mut scene).ip(), ip(FIRST));

    readdress(&mut scene, SECOND);
    assert_eq!(Client::alice("203.0.113.5:2").allocate(&mut scene).ip(), ip(SECOND));
    let relayed: Vec<_> = scene.sockets.values().map(|local| local.ip().to_string()).collect();
    assert_eq!(relayed, [LOCAL, LOCAL]);
    assert_eq!(old.ask(&mut scene, &Request::refresh(600)).code(), 0);
}

#[test]
fn a_call_between_two_clients_goes_on_under_the_addresses_they_know() {
    let mut scene = scene();
    let mut clients = [Client::alice("203.0.113.5:1"), Client::alice("203.0.113.5:2")];
    let [one, two] = &mut clients;
    let relayed = [one.allocate(&mut scene), two.allocate(&mut scene)];
    let [to_one, to_two] = relayed.map(|address| address.to_string());
    assert_eq!(one.bind(&mut scene, 0x4000, &to_two), 0);
    assert_eq!(two.permit(&mut scene, &[&to_one]), 0);

    for address in [SECOND, "198.51.100.78", FIRST, SECOND] {
        readdress(&mut scene, address);
        let sent = one.send_on(&mut scene, 0x4000, b"hello").relayed();
        assert_eq!((sent.from, sent.peer), (local(relayed[0]), local(relayed[1])), "by no way round");
        let received = scene.peer_input(local(relayed[1]), &local(relayed[0]).to_string(), 5);
        let PeerOutcome::Relay { prefix: Prefix::Indication { peer, .. }, .. } = received else {
            panic!("{received:?}")
        };
        assert_eq!(peer, relayed[0], "shown as it was told");
        two.send(&mut scene, &to_one, b"hello yourself").relayed();
        let received = scene.peer_input(local(relayed[0]), &local(relayed[1]).to_string(), 5);
        let channel = Prefix::Channel(0x4000);
        assert_eq!(received, PeerOutcome::Relay { client: one.from, prefix: channel, count: 1 });
        assert_eq!(two.permit(&mut scene, &[&to_one]), 0, "permissions can be renewed");
    }
}

#[test]
fn somebody_made_before_and_somebody_made_after_reach_each_other() {
    let mut scene = scene();
    let mut old = Client::alice("203.0.113.5:1");
    let old_relayed = old.allocate(&mut scene);
    readdress(&mut scene, SECOND);
    let mut new = Client::alice("203.0.113.5:2");
    let new_relayed = new.allocate(&mut scene);
    assert_eq!(old.permit(&mut scene, &[&new_relayed.to_string()]), 0);
    assert_eq!(new.bind(&mut scene, 0x4001, &old_relayed.to_string()), 0);

    let sent = new.send_on(&mut scene, 0x4001, b"x").relayed();
    assert_eq!(sent.peer, local(old_relayed));
    let received = scene.peer_input(local(old_relayed), &local(new_relayed).to_string(), 1);
    let PeerOutcome::Relay { prefix: Prefix::Indication { peer, .. }, .. } = received else {
        panic!("{received:?}")
    };
    assert_eq!(peer, new_relayed);
    old.send(&mut scene, &new_relayed.to_string(), b"x").relayed();
    let received = scene.peer_input(local(new_relayed), &local(old_relayed).to_string(), 1);
    let channel = Prefix::Channel(0x4001);
    assert_eq!(received, PeerOutcome::Relay { client: new.from, prefix: channel, count: 1 });
}

#[test]
fn nothing_but_relay_sockets_is_reached_at_the_former_address() {
    let mut scene = scene();
    let mut client = Client::alice("203.0.113.5:1");
    client.allocate(&mut scene);
    readdress(&mut scene, SECOND);
    for address in [FIRST, SECOND, LOCAL] {
        let ssh = format!("{address}:22");
        assert_eq!(client.permit(&mut scene, &[&ssh]), 0);
        assert_eq!(client.send(&mut scene, &ssh, b"x"), Outcome::Drop(DropReason::OwnAddress), "{address}");
    }
}

#[test]
fn a_relay_address_may_come_while_the_server_works() {
    let mut scene = scene();
    let mut client = Client::alice("203.0.113.5:1");
    let relayed = client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);
    let other = RelayAddress { local: ip("10.0.0.6"), advertised: ip(SECOND) };
    assert!(scene.shared.ports.add(ip("10.0.0.6")));
    scene.server.set_relay_addresses(scene.now, vec![other]);
    scene.options.relay_addresses = vec![other];

    assert_eq!(Client::alice("203.0.113.5:2").allocate(&mut scene).ip(), ip(SECOND));
    assert!(scene.sockets.values().any(|local| local.ip() == ip("10.0.0.6")));
    assert_eq!(client.send_on(&mut scene, 0x4000, b"x").relayed().from, local(relayed));
}
