//! An interface with the public address, beside the one that clients come in by.

use super::{Call, Inside, ip, setup};
use crate::support::namespace::Namespace;

#[test]
fn relay_sockets_are_on_the_interface_and_follow_its_address() {
    let [inside, outside] = ["inside", "outside"].map(Namespace::new);
    inside.link("10.77.23.2/24", &outside, "10.77.23.1/24", "lan");
    inside.link("203.0.113.5/24", &outside, "203.0.113.10/24", "wan");
    let setup = setup(r#"["interface:wan"]"#, r#"["10.77.23.2:3478"]"#);
    let inside = Inside::start(inside, setup.with("peers.allow", r#"["10.77.23.0/24"]"#));
    assert_eq!(inside.told("203.0.113.5"), Some(("203.0.113.5".to_owned(), "interface".to_owned(), true)));
    assert_eq!(inside.told("10.77.23.2"), None);
    let call = || Call::open(&outside, ip("10.77.23.1"), "10.77.23.2:3478".parse().unwrap());
    let mut old = call();
    assert_eq!(old.relayed.ip(), ip("203.0.113.5"));
    old.flows();

    inside.namespace.run("ip address add 203.0.113.6/24 dev wan");
    inside.namespace.run("ip address delete 203.0.113.5/24 dev wan");
    inside.namespace.run("ip address replace 203.0.113.6/24 dev wan");
    inside.wait_until_told("203.0.113.6", ("203.0.113.6", "interface", true));
    let mut new = call();
    assert_eq!(new.relayed.ip(), ip("203.0.113.6"));
    new.flows();

    inside.namespace.run("ip address flush dev wan");
    inside.wait_until_told("203.0.113.6", ("203.0.113.6", "interface", false));
    assert_eq!(inside.said("interface:wan has no IPv4 address"), 1);
}
