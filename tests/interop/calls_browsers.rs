//! Two pages call each other through `/iceway.js` and the relay, on one machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls_support::{Browser, Pages, setup, token};
use crate::signal_support::Issuer;
use crate::support::Server;
use crate::support::server::TestDirectory;

/// Lifetime of credentials where it matters; fresh ones come at four fifths of it.
const LIFETIME: Duration = Duration::from_secs(25);

#[test]
fn two_chromium_pages_call_each_other_through_the_relay() {
    let mut stage = Stage::new(&[]);
    stage.open([Browser::Chromium, Browser::Chromium], "relay");
    stage.pages.connect("ann", "bob");
    for page in ["ann", "bob"] {
        let state = stage.pages.state(page);
        assert_eq!(state["local"]["candidateType"], "relay", "{state:#}");
        assert_eq!(state["remote"]["candidateType"], "relay", "{state:#}");
        assert_eq!(state["relayed"], true, "{state:#}");
        assert!(state["audioBytes"].as_u64().unwrap_or_default() > 1_000, "{state:#}");
    }
    stage.pages.take_screenshots();
    stage.pages.call("ann", "hangup", json!([]));
    assert_eq!(stage.pages.call("bob", "ended", json!([])), json!({ "reason": "user", "by": "remote" }));
}

#[test]
fn chromium_calls_firefox_and_is_called_back() {
    let mut stage = Stage::new(&[]);
    stage.open([Browser::Chromium, Browser::Firefox], "relay");
    for (caller, callee) in [("ann", "bob"), ("bob", "ann")] {
        stage.pages.connect(caller, callee);
        for page in ["ann", "bob"] {
            let state = stage.pages.state(page);
            assert_eq!(state["local"]["candidateType"], "relay", "{state:#}");
            assert_eq!(state["relayed"], true, "{state:#}");
        }
        stage.pages.call(callee, "hangup", json!([]));
        let ended = stage.pages.call(caller, "ended", json!([]));
        assert_eq!(ended, json!({ "reason": "user", "by": "remote" }));
    }
}

#[test]
fn crossed_calls_become_one() {
    let mut stage = Stage::new(&[]);
    stage.open([Browser::Chromium, Browser::Chromium], "relay");
    stage.pages.place_both("ann", "bob");
    stage.pages.call_all(&["ann", "bob"], "entered", &json!(["connected"]));
    stage.pages.call_all(&["ann", "bob"], "flows", &json!([]));
    let [ann, bob] = ["ann", "bob"].map(|page| stage.pages.state(page));
    assert_eq!(ann["id"], bob["id"], "{ann:#} {bob:#}");
    assert_ne!(ann["direction"], bob["direction"], "{ann:#} {bob:#}");
}

#[test]
fn fresh_credentials_reach_an_idle_page_and_a_call_that_is_relayed() {
    let lifetime = format!("\"{}s\"", LIFETIME.as_secs());
    let keys = [
        ("credentials.ttl_default", &*lifetime),
        ("credentials.ttl_min", "\"1s\""),
        ("auth.expiry", "\"strict\""),
    ];
    let mut stage = Stage::new(&keys);
    stage.open([Browser::Chromium, Browser::Chromium], "relay");
    stage.start("idle", Browser::Chromium, "relay");
    let idle = stage.pages.call("idle", "client", json!([]));
    let started = Instant::now();
    stage.pages.connect("ann", "bob");
    let before = ["ann", "bob"].map(|page| stage.pages.state(page));

    stage.pages.call_all(&["ann", "bob", "idle"], "logged", &json!(["ice refresh"]));
    let renewed = stage.pages.call("idle", "client", json!([]));
    assert_ne!(username(&renewed), username(&idle));
    // The allocations of before end with their credentials.
    std::thread::sleep((LIFETIME + Duration::from_secs(5)).saturating_sub(started.elapsed()));
    stage.pages.call_all(&["ann", "bob"], "flows", &json!([40]));
    for (page, before) in ["ann", "bob"].into_iter().zip(before) {
        let state = stage.pages.state(page);
        assert_eq!(state["state"], "connected", "{state:#}");
        assert_ne!(state["ufrag"], before["ufrag"], "ICE began anew: {state:#}");
        assert_ne!(state["username"], before["username"], "{state:#}");
        assert_eq!(state["local"]["candidateType"], "relay", "{state:#}");
    }
    stage.pages.call("ann", "hangup", json!([]));
    stage.pages.call("bob", "ended", json!([]));
    // The page that did nothing all the while calls with what it was given.
    stage.pages.connect("idle", "bob");
    let state = stage.pages.state("idle");
    assert_ne!(state["username"], *username(&idle), "{state:#}");
}

fn username(client: &Value) -> &Value {
    let servers = client["iceServers"].as_array().map(Vec::as_slice).unwrap_or_default();
    servers.iter().map(|server| &server["username"]).find(|name| !name.is_null()).expect("a TURN server")
}

/// A server, and pages of users named like them.
struct Stage {
    pages: Pages,
    server: Server,
    issuer: Issuer,
    _directory: TestDirectory,
}

impl Stage {
    fn new(keys: &[(&str, &str)]) -> Self {
        let directory = TestDirectory::new("calls");
        let issuer = Issuer::new();
        let setup =
            keys.iter().fold(setup(&issuer, &directory), |setup, (key, value)| setup.with(key, value));
        let server = Server::start(setup);
        Self { pages: Pages::new(), server, issuer, _directory: directory }
    }

    /// Ann and Bob.
    fn open(&mut self, browsers: [Browser; 2], policy: &str) {
        for (user, browser) in ["ann", "bob"].into_iter().zip(browsers) {
            self.start(user, browser, policy);
        }
    }

    fn start(&mut self, user: &str, browser: Browser, policy: &str) {
        self.pages.open(user, browser, &self.server);
        let tokens = [token(&self.issuer, user)];
        let options = json!({ "tokens": tokens, "rtc": { "iceTransportPolicy": policy } });
        self.pages.call(user, "start", json!([options]));
    }
}
