//! A host name that leads to other addresses as time goes by.

use std::net::UdpSocket;

use super::{Inside, SOON, ip, names::Names, setup};
use crate::support::namespace::Namespace;
use crate::support::{Client, Tool};

#[test]
fn a_host_name_is_resolved_again_and_each_family_follows_it() {
    let namespace = Namespace::new("named");
    namespace.run("ip address add 10.77.22.2/24 dev lo");
    namespace.run("ip address add fd77:22::2/64 dev lo nodad");
    let names = Names::serve(&namespace, &["203.0.113.7", "2001:db8:22::7"]);
    let listen = r#"["10.77.22.2:3478", "[fd77:22::2]:3478"]"#;
    let inside = Inside::start(namespace, setup(r#"["dns:relay.iceway.example"]"#, listen));
    let [local, local6] = ["10.77.22.2", "fd77:22::2"];
    inside.wait_until_told(local, ("203.0.113.7", "dns", true));
    inside.wait_until_told(local6, ("2001:db8:22::7", "dns", true));
    assert_eq!(allocated(&inside), ip("203.0.113.7"));
    let report = doctor(&inside);
    assert!(
        report.contains("clients are told 203.0.113.7 (found by the host name of relay.external)"),
        "{report}"
    );

    names.set(&["203.0.113.8", "203.0.113.7", "2001:db8:22::8"]);
    inside.wait_until_told(local6, ("2001:db8:22::8", "dns", true));
    assert_eq!(inside.told(local).unwrap().0, "203.0.113.7", "it is still one of them");
    names.set(&["203.0.113.9", "203.0.113.8"]);
    inside.wait_until_told(local, ("203.0.113.8", "dns", true));
    assert_eq!(allocated(&inside), ip("203.0.113.8"));
    inside.wait_until_told(local6, ("2001:db8:22::8", "dns", false));

    names.set(&[]);
    inside.wait_until_told(local, ("203.0.113.8", "dns", false));
    assert_eq!(allocated(&inside), ip("203.0.113.8"), "the last known address stays");
    names.set(&["203.0.113.10", "2001:db8:22::8"]);
    inside.wait_until_told(local, ("203.0.113.10", "dns", true));
    inside.wait_until_told(local6, ("2001:db8:22::8", "dns", true));
}

/// What the doctor says to the operator.
fn doctor(inside: &Inside) -> String {
    let mut doctor = inside.namespace.command(env!("CARGO_BIN_EXE_iceway"));
    doctor.args(["doctor", "--config"]).arg(inside.server.directory().join("iceway.toml"));
    Tool::run(doctor, inside.server.directory(), "doctor", SOON).output
}

fn allocated(inside: &Inside) -> std::net::IpAddr {
    let socket = inside.namespace.enter(|| UdpSocket::bind("10.77.22.2:0").unwrap());
    let mut client = Client::on(socket, "10.77.22.2:3478".parse().unwrap());
    let relayed = client.allocate().unwrap();
    client.refresh(0).unwrap();
    relayed.ip()
}
