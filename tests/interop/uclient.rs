//! coturn's own TURN client in its modes. It exits 0 even if every packet is lost, so it is judged by what it counted.

use std::process::Command;
use std::time::Duration;

use crate::support::server::{SECRET, USER, time_limited_password};
use crate::support::{Client, Process, Server, Setup, Tool, ports};

/// A run takes 2 to 7 seconds, 16 over TLS; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// It sends five messages per session.
const MESSAGES: u64 = 5;

/// One test for each mode: its flags, and how many sessions it opens.
macro_rules! relays {
    ($($name:ident: $sessions:literal, $flags:literal;)*) => {
        $(#[test]
        fn $name() {
            Scene::new().relays($flags, $sessions);
        })*
    };
}

relays! {
    udp_channels_with_rtcp_pair: 2, "-X";
    udp_channels_of_one_component: 1, "-c";
    udp_indications: 2, "-s";
    udp_client_to_client: 4, "-y";
    udp_client_to_client_by_indications: 2, "-y -s -c";
    udp_do_not_fragment: 2, "-g";
    udp_padded_channel_data: 2, "-D";
    udp_padded_odd_length: 1, "-c -D -l 171";
    udp_extra_requests: 2, "-G";
    udp_extra_requests_client_to_client: 4, "-G -y";
    udp_large_messages: 1, "-c -l 1400";
    udp_ipv6_relay: 2, "-x -6peer";
    udp_ipv6_relay_by_indications: 1, "-x -s -c -6peer";
    udp_ipv6_relay_client_to_client: 4, "-x -y";
    udp_from_ipv6_to_ipv4: 2, "-6server";
    udp_from_ipv6_to_ipv6: 2, "-x -6server -6peer";
    tcp_channels_with_rtcp_pair: 2, "-t";
    tcp_channels_of_one_component: 1, "-t -c";
    tcp_indications: 2, "-t -s";
    tcp_client_to_client: 4, "-t -y";
    tcp_odd_length: 1, "-t -c -l 171";
    tcp_extra_requests: 2, "-t -G";
    tcp_ipv6_relay: 2, "-t -x -6peer";
    tcp_from_ipv6: 2, "-t -6server";
    tls_channels_with_rtcp_pair: 2, "-t -S";
    tls_channels_of_one_component: 1, "-t -S -c";
    tls_indications: 2, "-t -S -s";
    tls_extra_requests: 2, "-t -S -G";
    tls_from_ipv6_to_ipv6: 2, "-t -S -x -6server -6peer";
    tls_on_the_plain_port: 1, "-t -S -c -plainport";
}

#[test]
fn tls_client_to_client_but_for_what_the_client_never_reads() {
    // It leaves the last message of a session in its TLS buffer, whatever the server.
    let scene = Scene::new();
    let run = scene.run("-t -S -y", &by_secret(SECRET));
    let (sent, received) = counts(&run).unwrap_or_default();
    assert_eq!(sent, 4 * MESSAGES, "{}", run.output);
    assert!(received >= sent - 4, "{received} of {sent}: {}", run.output);
}

#[test]
fn static_user_over_every_transport() {
    let scene = Scene::new();
    for flags in ["-c", "-t -c", "-t -S -c"] {
        let run = scene.run(flags, &["-u", USER.0, "-w", USER.1].map(String::from));
        assert_eq!(counts(&run), Some((MESSAGES, MESSAGES)), "{flags}: {}", run.output);
    }
}

#[test]
fn a_wrong_credential_gets_no_allocation() {
    let scene = Scene::new();
    let expired = "1600000000:bob";
    let cases = [
        ("wrong password", ["-u", USER.0, "-w", "wrong"].map(String::from)),
        ("wrong secret", by_secret("wrong")),
        ("expired", ["-u", expired, "-w", &time_limited_password(expired)].map(String::from)),
        ("unknown user", ["-u", "mallory", "-w", USER.1].map(String::from)),
    ];
    for (what, credential) in cases {
        for flags in ["-c", "-t -c"] {
            let run = scene.run(flags, &credential);
            assert!(!run.status.success(), "{what}: {}", run.output);
            assert!(run.output.contains("Cannot complete Allocation"), "{what}: {}", run.output);
            assert_eq!(counts(&run), None, "{what}: {}", run.output);
        }
    }
    scene.relays("-c", 1);
}

#[test]
fn a_bad_channel_number_is_refused_and_relaying_goes_on() {
    let scene = Scene::new();
    for flags in ["-N", "-t -N"] {
        let run = scene.run(flags, &by_secret(SECRET));
        assert!(run.output.contains("channel bind: error 400"), "{flags}: {}", run.output);
    }
    scene.relays("-c", 1);
}

#[test]
fn requests_that_break_the_protocol_leave_the_server_relaying() {
    // The client never retransmits in this mode, so it may wait for ever for what it lost.
    let scene = Scene::new();
    for flags in ["-R", "-N -R", "-t -R"] {
        let mut client = scene.start(flags, &by_secret(SECRET));
        client.wait_at_most(Duration::from_secs(12));
    }
    scene.relays("-c", 1);
}

#[test]
fn fifty_clients_that_vanish_at_once_leave_the_server_relaying() {
    // It closes all its sockets as soon as it has sent more than five messages between two looks at the clock.
    for flags in ["-B -m 50 -n 10 -z 1", "-B -m 50 -n 10 -z 1 -y", "-t -B -m 50 -n 10 -z 1"] {
        let scene = Scene::new();
        let run = scene.run(flags, &by_secret(SECRET));
        let (sent, _) = counts(&run).unwrap_or_default();
        assert!((1..500).contains(&sent), "{flags}: {}", run.output);
        let left = scene.server.metric("iceway_allocations", &[]);
        let expected = if flags.starts_with("-t") { 0.0..=0.0 } else { 50.0..=200.0 };
        assert!(
            expected.contains(&left),
            "{flags}: only a closed connection ends an allocation at once: {left}"
        );
        // Over TCP, since the port of a client that vanished may come again, and its allocation is still up.
        scene.relays("-t -c", 1);
    }
}

#[test]
fn a_channel_number_of_rfc_5766_is_refused_unless_allowed() {
    // The client draws from 0x4000 to 0x7FFF. That all of 50 sessions draw below 0x5000 has probability 2^-100.
    let scene = Scene::with(Setup::default().loopback_peers().with("protocol.legacy_channel_numbers", false));
    let run = scene.run("-c -m 50", &by_secret(SECRET));
    assert!(run.output.contains("channel bind: error 400"), "{}", run.output);
}

#[test]
fn clients_of_this_server_reach_each_other_under_the_default_policy() {
    let scene = Scene::with(Setup::default().with("protocol.legacy_channel_numbers", true));
    let run = scene.run("-y", &by_secret(SECRET));
    assert_eq!(counts(&run), Some((4 * MESSAGES, 4 * MESSAGES)), "{}", run.output);
}

#[test]
fn services_of_the_machine_itself_are_out_of_reach_under_the_default_policy() {
    let scene = Scene::with(Setup::default().with("protocol.legacy_channel_numbers", true));
    // The peer sits on the relay's own address, where only relay ports are legal peers. The client sends all the same.
    let run = scene.run("-c", &by_secret(SECRET));
    assert_eq!(counts(&run), Some((MESSAGES, 0)), "{}", run.output);
    let own_address = ["reason=\"own_address\""];
    assert!(scene.server.metric("iceway_datagrams_dropped_total", &own_address) >= MESSAGES as f64);

    let mut client = Client::new(scene.server.address());
    client.allocate().unwrap();
    for denied in ["127.0.0.2", "10.0.0.1", "169.254.169.254", "0.0.0.0"] {
        assert_eq!(client.permit(denied.parse().unwrap()), Err(403), "{denied}");
    }
}

/// A server and an echo peer.
struct Scene {
    server: Server,
    // Killed when the scene ends.
    _peer: Process,
    peer_port: u16,
}

impl Scene {
    fn new() -> Self {
        Self::with(Setup::default().loopback_peers().with("protocol.legacy_channel_numbers", true))
    }

    fn with(setup: Setup) -> Self {
        let server = Server::start(setup);
        let peer_port = ports::free_port();
        let mut command = Command::new("turnutils_peer");
        command.args(["-L", "127.0.0.1", "-L", "::1", "-p", &peer_port.to_string()]);
        let _peer = Process::start(command, server.directory(), "peer");
        Self { server, _peer, peer_port }
    }

    /// Everything that each of `sessions` sends must come back.
    fn relays(&self, flags: &str, sessions: u64) {
        let run = self.run(flags, &by_secret(SECRET));
        let sent = sessions * MESSAGES;
        assert_eq!(counts(&run), Some((sent, sent)), "{flags}: {}", run.output);
    }

    fn run(&self, flags: &str, credential: &[String]) -> Tool {
        Tool::of(self.start(flags, credential), LIMIT)
    }

    /// Starts the client with `flags`; three of them are ours: `-6peer`, `-6server`, `-plainport`.
    fn start(&self, flags: &str, credential: &[String]) -> Process {
        let flags: Vec<&str> = flags.split(' ').collect();
        let has = |flag| flags.contains(&flag);
        let tls = has("-S") && !has("-plainport");
        let port = if tls { self.server.tls_port } else { self.server.port };
        let mut command = Command::new("turnutils_uclient");
        command.args(flags.iter().filter(|flag| !["-6peer", "-6server", "-plainport"].contains(flag)));
        command.args(["-e", if has("-6peer") { "::1" } else { "127.0.0.1" }]);
        command.args(["-r", &self.peer_port.to_string(), "-p", &port.to_string()]);
        if has("-S") {
            command.arg("-E").arg(self.server.authority.path());
        }
        command.args(credential).arg(if has("-6server") { "::1" } else { "127.0.0.1" });
        Process::start(command, self.server.directory(), "uclient")
    }
}

/// Messages sent and received at the end; `None` if it did not get that far.
fn counts(run: &Tool) -> Option<(u64, u64)> {
    let line = run.output.lines().rfind(|line| line.contains("start_mclient: tot_send_msgs="))?;
    let number = |key: &str| -> Option<u64> {
        let digits = line.split_once(key)?.1.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    Some((number("tot_send_msgs=")?, number("tot_recv_msgs=")?))
}

/// The client makes a time-limited credential of the secret itself.
fn by_secret(secret: &str) -> [String; 4] {
    ["-u", "bob", "-W", secret].map(String::from)
}
