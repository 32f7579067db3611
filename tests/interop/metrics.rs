//! The page of metrics as Prometheus's own tool reads it, while traffic flows.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::support::{Client, Server, Setup, Tool};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let server = Server::start(Setup::default());
    std::fs::write(server.directory().join("metrics"), server.metrics()).unwrap();
    let mut command = Command::new("sh");
    command.current_dir(server.directory()).args(["-c", "promtool check metrics <metrics"]);
    let run = Tool::run(command, server.directory(), "promtool", LIMIT);
    assert!(run.status.success() && run.output.is_empty(), "{}", run.output);
}

#[test]
fn traffic_is_counted_while_it_flows() {
    let server = Server::start(Setup::default().loopback_peers());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let mut client = Client::new(server.address());
    let relay = client.allocate().unwrap();
    client.bind_channel(0x4000, peer.local_addr().unwrap()).unwrap();
    for _ in 0..100 {
        client.send_channel(0x4000, &[5; 160]);
        let mut buffer = [0; 200];
        let length = peer.recv(&mut buffer).unwrap();
        peer.send_to(&buffer[..length], relay).unwrap();
        assert!(client.receive(LIMIT).is_some());
    }
    assert_eq!(server.metric("iceway_relayed_datagrams_total", &[]), 200.0);
    assert_eq!(server.metric("iceway_relayed_bytes_total", &[]), 200.0 * 160.0);
    assert_eq!(server.metric("iceway_allocations", &["transport=\"udp\""]), 1.0);
    assert_eq!(server.metric("iceway_channels", &[]), 1.0);
}
