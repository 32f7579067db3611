//! Clients that are sent elsewhere while the node drains (RFC 8489 §10, RFC 8656 §7.2).

use std::sync::Arc;

use iceway::{
    stun::{self, attribute},
    turn::{Alternate, Code, Request as Kind, Transport},
};

use crate::support_core::{Client, Request, Scene, tcp, udp};

const HERE: &str = "203.0.113.5:40000";

fn alternate(transport: Transport, address: &str) -> Alternate {
    Alternate { transport, address: address.parse().unwrap(), domain: None }
}

fn draining(alternates: &[Alternate]) -> Scene {
    let mut scene = Scene::new();
    scene.server.start_drain(alternates.into());
    scene
}

/// The code of a new client's Allocate, and where it is sent.
fn allocate(scene: &mut Scene, mut client: Client, request: &Request) -> (u16, Option<String>) {
    let answer = client.ask(scene, request);
    assert!(answer.is_signed_sha1(&client.key()), "nobody but the server says so");
    let named = answer.has(attribute::ALTERNATE_SERVER).then(|| {
        let value = answer.value(attribute::ALTERNATE_SERVER);
        stun::address(&value).unwrap().to_string()
    });
    (answer.code(), named)
}

#[test]
fn a_new_client_is_named_another_server_of_its_transport_and_family_in_turn() {
    let mut scene = draining(&[
        alternate(Transport::Udp, "198.51.100.1:3478"),
        alternate(Transport::Tcp, "198.51.100.1:3479"),
        alternate(Transport::Udp, "[2001:db8:1::1]:3478"),
        alternate(Transport::Udp, "198.51.100.2:3478"),
    ]);
    let mut ask = |client| allocate(&mut scene, client, &Request::allocate());
    let named: Vec<_> = (1..=4).map(|port| ask(Client::alice(&format!("203.0.113.5:{port}")))).collect();
    for (place, (code, address)) in named.into_iter().enumerate() {
        let wanted = ["198.51.100.1:3478", "198.51.100.2:3478"][place % 2];
        assert_eq!((code, address.as_deref()), (300, Some(wanted)));
    }
    let of_tcp = ask(Client::user(tcp(HERE), "alice", "wonderland"));
    assert_eq!(of_tcp, (300, Some("198.51.100.1:3479".to_owned())));
    let of_ipv6 = ask(Client::alice("[2001:db8:9::5]:40000"));
    assert_eq!(of_ipv6, (300, Some("[2001:db8:1::1]:3478".to_owned())));
    assert_eq!(scene.server.allocations(), 0);
    assert_eq!(scene.server.counters().responses.get(Kind::Allocate, Code::TryAlternate), 6);
}

#[test]
fn whoever_has_not_proved_a_credential_is_sent_nowhere() {
    let mut scene = draining(&[alternate(Transport::Udp, "198.51.100.1:3478")]);
    let mut client = Client::alice(HERE);
    assert_eq!(client.challenge(&mut scene).code(), 401);
    let mut wrong = Client::user(udp("203.0.113.5:2"), "alice", "another password");
    assert_eq!(wrong.ask(&mut scene, &Request::allocate()).code(), 401);
}

#[test]
fn where_no_server_suits_the_client_it_is_refused() {
    for (alternates, client) in [
        (vec![], HERE),
        (vec![alternate(Transport::Tcp, "198.51.100.1:3478")], HERE),
        (vec![alternate(Transport::Udp, "[2001:db8:1::1]:3478")], HERE),
        (vec![alternate(Transport::Udp, "10.0.0.1:3478")], HERE),
        (vec![alternate(Transport::Udp, "127.0.0.1:3478")], "10.0.0.9:40000"),
        (vec![alternate(Transport::Udp, "[fd00::1]:3478")], "[2001:db8:9::5]:40000"),
    ] {
        let mut scene = draining(&alternates);
        assert_eq!(
            allocate(&mut scene, Client::alice(client), &Request::allocate()),
            (508, None),
            "{alternates:?} for {client}"
        );
    }
    let mut scene = draining(&[alternate(Transport::Udp, "127.0.0.2:3478")]);
    let near = allocate(&mut scene, Client::alice("127.0.0.1:40000"), &Request::allocate());
    assert_eq!(near, (300, Some("127.0.0.2:3478".to_owned())));
}

#[test]
fn a_port_that_was_reserved_here_is_looked_for_nowhere_else() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let reserved = client.ask(&mut scene, &Request::allocate().even_port(true));
    let token = reserved.value(attribute::RESERVATION_TOKEN);
    scene.server.start_drain([alternate(Transport::Udp, "198.51.100.1:3478")].into());
    let request = Request::allocate().with(attribute::RESERVATION_TOKEN, &token);
    assert_eq!(allocate(&mut scene, Client::alice("203.0.113.5:2"), &request), (508, None));
}

#[test]
fn over_tls_the_name_in_the_other_certificate_is_told() {
    let named =
        Alternate { domain: Some("n2.example.org".into()), ..alternate(Transport::Tls, "198.51.100.1:5349") };
    let of_udp = Alternate { transport: Transport::Udp, ..named.clone() };
    let mut scene = draining(&[named, of_udp]);
    let mut from = tcp(HERE);
    from.transport = Transport::Tls;
    let answer = Client::user(from, "alice", "wonderland").ask(&mut scene, &Request::allocate());
    assert_eq!((answer.code(), answer.value(attribute::ALTERNATE_DOMAIN)), (300, b"n2.example.org".to_vec()));
    let answer = Client::alice(HERE).ask(&mut scene, &Request::allocate());
    assert!(answer.code() == 300 && !answer.has(attribute::ALTERNATE_DOMAIN));
}

#[test]
fn what_is_up_goes_on_and_a_drain_can_be_undone() {
    let mut scene = Scene::new();
    let mut client = Client::alice(HERE);
    let request = Request::allocate();
    let first = client.ask(&mut scene, &request);
    scene.server.start_drain([alternate(Transport::Udp, "198.51.100.1:3478")].into());
    assert_eq!(client.ask(&mut scene, &request), first, "a retransmission is answered alike");
    assert_eq!(client.ask(&mut scene, &Request::refresh(600)).code(), 0);
    assert_eq!(allocate(&mut scene, Client::alice("203.0.113.5:2"), &Request::allocate()).0, 300);
    // Others may take its place.
    scene.server.start_drain(Arc::default());
    assert_eq!(allocate(&mut scene, Client::alice("203.0.113.5:2"), &Request::allocate()).0, 508);
    scene.server.stop_drain();
    assert_eq!(Client::alice("203.0.113.5:2").ask(&mut scene, &Request::allocate()).code(), 0);
}
