//! The same two pages, each in a network of its own behind a symmetric NAT.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::calls_support::{Browser, Pages, setup, token};
use crate::signal_support::Issuer;
use crate::support::Server;
use crate::support::namespace::Namespace;
use crate::support::server::TestDirectory;

/// The server's address: a public one, as far as the namespaces know.
const SERVER: &str = "5.1.0.1";

#[test]
fn only_the_relay_connects_pages_behind_symmetric_nats() {
    let mut world = World::new();
    world.start("all");
    world.pages.connect("ann", "bob");
    for page in ["ann", "bob"] {
        let state = world.pages.state(page);
        assert_eq!(state["relayed"], true, "{state:#}");
    }
    assert!(world.server_relays(), "the media is the server's work");
    world.pages.take_screenshots();
}

#[test]
fn without_the_relay_these_pages_do_not_connect() {
    let mut world = World::new();
    world.start_with(json!({ "withoutRelay": true, "mediaTimeoutMs": 12_000 }));
    world.pages.call("ann", "place", json!([{ "user": "bob" }]));
    let ended = world.pages.call_all(&["ann", "bob"], "ended", &json!([]));
    let reasons = ended.iter().map(|ended| &ended["reason"]).collect::<Vec<_>>();
    assert_eq!(reasons, ["ice-timeout", "ice-timeout"], "{ended:#?}");
}

#[test]
fn a_call_survives_a_network_that_is_gone_for_a_while() {
    let mut world = World::new();
    world.start("relay");
    world.pages.connect("ann", "bob");
    let before = ["ann", "bob"].map(|page| world.pages.state(page));
    world.pages.call_all(&["ann", "bob"], "forget", &json!([]));

    world.cut("ann");
    world.pages.call("bob", "entered", json!(["reconnecting"]));
    world.pages.call("ann", "logged", json!(["client reconnecting"]));
    sleep(Duration::from_secs(5));
    world.mend("ann");

    world.pages.call_all(&["ann", "bob"], "entered", &json!(["connected"]));
    world.pages.call_all(&["ann", "bob"], "flows", &json!([40]));
    let log = world.pages.call("ann", "logged", json!(["resumed true"]));
    assert!(!log.to_string().contains("call ended"), "{log}");
    for (page, before) in ["ann", "bob"].into_iter().zip(before) {
        let state = world.pages.state(page);
        assert_eq!(state["id"], before["id"]);
        assert_ne!(state["ufrag"], before["ufrag"], "ICE began anew: {state:#}");
    }
}

#[test]
fn a_call_survives_a_line_that_swallows_everything_for_40_seconds() {
    let mut world = World::new();
    world.start("relay");
    world.pages.connect("ann", "bob");
    let before = world.pages.state("ann");
    world.pages.call_all(&["ann", "bob"], "forget", &json!([]));

    world.swallow("ann");
    sleep(Duration::from_secs(40));
    world.spit_out("ann");

    world.pages.call("ann", "logged", json!(["resumed true"]));
    world.pages.call_all(&["ann", "bob"], "entered", &json!(["connected"]));
    world.pages.call_all(&["ann", "bob"], "flows", &json!([40]));
    let state = world.pages.state("ann");
    assert_eq!(state["id"], before["id"]);
    assert_ne!(state["ufrag"], before["ufrag"], "ICE began anew: {state:#}");
}

/// Ann – NAT – server – NAT – Bob, each in a network namespace of its own.
struct World {
    pages: Pages,
    server: Server,
    issuer: Issuer,
    sides: [Side; 2],
    public: Namespace,
    _directory: TestDirectory,
}

/// A page's network and its way out.
struct Side {
    name: &'static str,
    inside: Namespace,
    nat: Namespace,
}

impl World {
    fn new() -> Self {
        let public = Namespace::new("public");
        public.run(&format!("ip address add {SERVER}/32 dev lo"));
        public.run("sysctl -q -w net.ipv4.ip_forward=1");
        let sides = [Side::new("ann", 1, &public), Side::new("bob", 2, &public)];
        let directory = TestDirectory::new("calls");
        let issuer = Issuer::new();
        let setup = setup(&issuer, &directory)
            .with("listen.udp", format!(r#"["{SERVER}:3478"]"#))
            .with("listen.tcp", "[]")
            .with("listen.tls", "[]")
            .with("http.require_https", r#""never""#)
            .with("http.metrics_from", format!(r#"["{SERVER}/32"]"#))
            .with("http.listen", format!(r#""{SERVER}:8080""#));
        let server = public.enter(|| Server::start_with(public.command(env!("CARGO_BIN_EXE_iceway")), setup));
        Self { pages: Pages::new(), server, issuer, sides, public, _directory: directory }
    }

    fn start(&mut self, policy: &str) {
        self.start_with(json!({ "rtc": { "iceTransportPolicy": policy } }));
    }

    fn start_with(&mut self, options: Value) {
        for side in &self.sides {
            self.pages.open_in(side.name, Browser::Chromium, &self.server, Some(&side.inside));
            let mut options = options.clone();
            options["tokens"] = json!([token(&self.issuer, side.name)]);
            self.pages.call(side.name, "start", json!([options]));
        }
    }

    fn server_relays(&self) -> bool {
        let server = &self.server;
        self.public.enter(|| server.metric("iceway_relayed_bytes_total", &[])) > 20_000.0
    }

    /// The cable is pulled, as when a phone leaves a wireless network.
    fn cut(&self, name: &str) {
        self.side(name).inside.run("ip link set inside down");
    }

    fn mend(&self, name: &str) {
        let side = self.side(name);
        side.inside.run("ip link set inside up");
        side.inside.run(&format!("ip route replace default via {}", side.gateway()));
    }

    /// Packets vanish without a word, and the NAT forgets who they were of.
    fn swallow(&self, name: &str) {
        let nat = &self.side(name).nat;
        nat.run("nft add chain ip nat hole { type filter hook forward priority 0 ; policy drop ; }");
        nat.run("conntrack -D -p udp");
    }

    fn spit_out(&self, name: &str) {
        self.side(name).nat.run("nft delete chain ip nat hole");
    }

    fn side(&self, name: &str) -> &Side {
        self.sides.iter().find(|side| side.name == name).unwrap()
    }
}

impl Side {
    fn new(name: &'static str, number: u8, public: &Namespace) -> Self {
        let [inside, nat] = [name, "nat"].map(Namespace::new);
        let (outside, near, far) =
            (format!("outside{number}"), format!("5.1.{number}.1/24"), format!("5.1.{number}.2/24"));
        inside.link(&format!("10.80.{number}.2/24"), &nat, &format!("10.80.{number}.1/24"), "inside");
        nat.link(&far, public, &near, &outside);
        inside.run(&format!("ip route add default via 10.80.{number}.1"));
        nat.run(&format!("ip route add default via 5.1.{number}.1"));
        nat.run("sysctl -q -w net.ipv4.ip_forward=1");
        nat.run("nft add table ip nat");
        nat.run("nft add chain ip nat out { type nat hook postrouting priority 100 ; }");
        nat.run(&format!("nft add rule ip nat out oifname {outside} masquerade random,fully-random"));
        Self { name, inside, nat }
    }

    fn gateway(&self) -> &'static str {
        if self.name == "ann" { "10.80.1.1" } else { "10.80.2.1" }
    }
}
