//! A NAT that maps one to one in front of the server, with coturn outside as the STUN server.

use nix::sys::signal::Signal;

use super::{CHANNEL, Call, Inside, SOON, ip, setup};
use crate::support::client::Received;
use crate::support::namespace::Namespace;
use crate::support::server::{SECRET, TestDirectory};
use crate::support::{Process, Tool};

const SERVER: &str = "10.77.21.2";
const SERVER6: &str = "fd77:21::2";
const FIRST: &str = "203.0.113.1";
const SECOND: &str = "203.0.113.2";
const PUBLIC6: &str = "2001:db8:21::1";
const STUN: &str = "203.0.113.10";
const STUN6: &str = "2001:db8:21::10";

struct World {
    inside: Inside,
    nat: Namespace,
    outside: Namespace,
    directory: TestDirectory,
    stun: Process,
}

impl World {
    fn new() -> Self {
        let [inside, nat, outside] = ["inside", "nat", "outside"].map(Namespace::new);
        inside.link(&format!("{SERVER}/24"), &nat, "10.77.21.1/24", "lan");
        nat.link(&format!("{FIRST}/24"), &outside, &format!("{STUN}/24"), "wan");
        for (namespace, address, interface) in [
            (&inside, SERVER6, "lan"),
            (&nat, "fd77:21::1", "lan"),
            (&nat, PUBLIC6, "wan"),
            (&outside, STUN6, "wan"),
        ] {
            namespace.run(&format!("ip address add {address}/64 dev {interface} nodad"));
        }
        // Nothing is known of it outside: an address that stands for no relay.
        inside.run("ip address add 10.99.99.9/32 dev lo");
        inside.run("ip route add default via 10.77.21.1");
        inside.run("ip route add default via fd77:21::1");
        nat.run(&format!("ip address add {SECOND}/24 dev wan"));
        nat.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        for (family, local, public) in
            [("ip", SERVER, format!("{{ {FIRST}, {SECOND} }}")), ("ip6", SERVER6, PUBLIC6.to_owned())]
        {
            nat.run(&format!("nft add table {family} nat"));
            nat.run(&format!("nft add chain {family} nat in {{ type nat hook prerouting priority -100 ; }}"));
            nat.run(&format!(
                "nft add rule {family} nat in iifname wan {family} daddr {public} dnat to {local}"
            ));
            nat.run(&format!(
                "nft add chain {family} nat out {{ type nat hook postrouting priority 100 ; }}"
            ));
        }
        nat.run(&format!("nft add rule ip6 nat out oifname wan ip6 saddr {SERVER6} snat to {PUBLIC6}"));
        let directory = TestDirectory::new("public");
        let stun = coturn(&outside, &directory);
        map_to(&nat, FIRST);
        let setup =
            setup(&format!(r#"["stun:{STUN}", "stun:[{STUN6}]:3478"]"#), r#"["0.0.0.0:3478", "[::]:3478"]"#);
        let setup = setup.with("peers.allow", r#"["203.0.113.10/32", "2001:db8:21::10/128"]"#);
        let inside = Inside::start(inside, setup.with("protocol.legacy_channel_numbers", true));
        Self { inside, nat, outside, directory, stun }
    }

    fn call(&self, server: &str) -> Call {
        let at = if server.contains(':') { STUN6 } else { STUN };
        Call::open(&self.outside, ip(at), (ip(server), 3478).into())
    }
}

/// coturn with STUN alone.
fn coturn(outside: &Namespace, directory: &TestDirectory) -> Process {
    let mut command = outside.command("turnserver");
    command.args([
        "-n",
        "--stun-only",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "--log-file",
        "stdout",
        "--simple-log",
    ]);
    command.args(["-L", STUN, "-L", STUN6, "-p", "3478"]);
    command.arg("--pidfile").arg(directory.path().join("coturn.pid"));
    let mut stun = Process::start(command, directory.path(), "coturn");
    stun.wait_until("listening", SOON, |_| {
        outside.enter(|| {
            std::net::UdpSocket::bind((STUN, 3478)).is_err()
                && std::net::UdpSocket::bind((STUN6, 3478)).is_err()
        })
    });
    stun
}

/// What goes out for the first time leaves from this address from now on.
fn map_to(nat: &Namespace, public: &str) {
    nat.run("nft flush chain ip nat out");
    nat.run(&format!("nft add rule ip nat out oifname wan ip saddr {SERVER} snat to {public}"));
}

#[test]
fn the_address_that_a_stun_server_sees_is_told_and_found_anew_while_calls_go_on() {
    let mut world = World::new();
    let inside = &world.inside;
    assert_eq!(inside.told(SERVER), Some((FIRST.to_owned(), "stun".to_owned(), true)));
    assert_eq!(inside.told(SERVER6), Some((PUBLIC6.to_owned(), "stun".to_owned(), true)));
    assert_eq!(inside.told("10.99.99.9"), None, "what nobody sees is not relayed from");
    assert_eq!(inside.uris()[0], format!("stun:{FIRST}:3478"));
    let confirmed = ["family=\"ipv4\"", "ip=\"203.0.113.1\"", "from=\"stun\""];
    assert_eq!(inside.metric("iceway_public_address_confirmed", &confirmed), 1.0);
    assert_eq!(inside.said("advertised=203.0.113.1 from=\"stun\""), 1);

    let mut old = world.call(FIRST);
    assert_eq!(old.relayed.ip(), ip(FIRST));
    old.flows();
    let mut six = world.call(PUBLIC6);
    assert_eq!(six.relayed.ip(), ip(PUBLIC6));
    six.flows();
    let clients = CoturnsClient::start(&world, FIRST);

    map_to(&world.nat, SECOND);
    inside.wait_until_told(SERVER, (SECOND, "stun", true));
    assert_eq!(inside.uris()[0], format!("stun:{SECOND}:3478"));
    assert_eq!(inside.said("Clients are told another public address"), 1);
    assert_eq!(inside.metric("iceway_public_address_changes_total", &[]), 1.0);
    old.flows();
    let mut new = world.call(SECOND);
    assert_eq!(new.relayed.ip(), ip(SECOND));
    new.flows();
    old.flows();
    assert!(old.client.refresh(600).is_ok());
    old_and_new_reach_each_other(&mut old, &mut new);
    clients.has_relayed_everything();

    world.stun.signal(Signal::SIGKILL);
    world.inside.wait_until_told(SERVER, (SECOND, "stun", false));
    world.inside.wait_until_told(SERVER6, (PUBLIC6, "stun", false));
    let mut still = world.call(SECOND);
    assert_eq!(still.relayed.ip(), ip(SECOND), "the last known address stays");
    still.flows();
    world.stun = coturn(&world.outside, &world.directory);
    world.inside.wait_until_told(SERVER, (SECOND, "stun", true));
    assert_eq!(
        world.inside.said("No public address is found, the last known one is kept"),
        2,
        "once for each family"
    );
    assert_eq!(world.inside.metric("iceway_public_address_changes_total", &[]), 1.0);
}

/// Through their relayed addresses, of which one is no longer told to anybody.
fn old_and_new_reach_each_other(old: &mut Call, new: &mut Call) {
    old.client.permit(new.relayed.ip()).unwrap();
    new.client.bind_channel(CHANNEL + 1, old.relayed).unwrap();
    new.client.send_channel(CHANNEL + 1, b"from the new one");
    let received = old.client.receive(SOON);
    assert_eq!(received, Some(Received::Data(new.relayed, b"from the new one".to_vec())));
    old.client.send(new.relayed, b"from the old one");
    let received = new.client.receive(SOON);
    assert_eq!(received, Some(Received::Channel(CHANNEL + 1, b"from the old one".to_vec())));
}

/// coturn's client, to a peer outside, and from one client to another by what they are told.
struct CoturnsClient {
    _peer: Process,
    runs: [(&'static str, u32, Process); 2],
}

impl CoturnsClient {
    fn start(world: &World, server: &str) -> Self {
        let mut peer = world.outside.command("turnutils_peer");
        peer.args(["-L", STUN, "-p", "3480"]);
        let _peer = Process::start(peer, world.directory.path(), "peer");
        let runs = [("-c", 5), ("-y -c -s", 10)].map(|(flags, count)| {
            let mut client = world.outside.command("turnutils_uclient");
            client.args(flags.split(' ')).args(["-u", "bob", "-W", SECRET, "-e", STUN]);
            client.args(["-r", "3480", "-p", "3478", server]);
            (flags, count, Process::start(client, world.directory.path(), &format!("uclient{flags}")))
        });
        Self { _peer, runs }
    }

    fn has_relayed_everything(self) {
        for (flags, count, process) in self.runs {
            let run = Tool::of(process, SOON);
            let sums = format!("tot_send_msgs={count}, tot_recv_msgs={count}");
            assert!(run.output.contains(&sums), "{flags}: {}", run.output);
        }
    }
}
