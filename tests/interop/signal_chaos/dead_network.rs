//! A client whose packets are dropped for forty seconds: nobody says so, and no frame is lost.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    process::{Command, Stdio},
    time::Duration,
};

use super::scene::{Scene, expect_numbers, message, unlimited};
use crate::signal_support::Client;

const DEAD: Duration = Duration::from_secs(40);
/// Fewer than a session keeps.
const MESSAGES: usize = 200;

#[tokio::test]
async fn no_frame_is_lost_when_a_dead_client_resumes_on_its_node() {
    resumes_after_silence(Ipv4Addr::new(127, 0, 77, 1), 1).await;
}

#[tokio::test]
async fn no_frame_is_lost_when_a_dead_client_resumes_on_another_node() {
    resumes_after_silence(Ipv4Addr::new(127, 0, 77, 2), 2).await;
}

/// Bob is on the second node, his packets are dropped; he comes back to this one.
async fn resumes_after_silence(address: Ipv4Addr, back: usize) {
    let scene = Scene::start(3, unlimited()).await;
    let mut ann = scene.client(0, "ann", "web").await;
    let token = scene.issuer.token("bob", "phone");
    let mut bob = Client::open_from(IpAddr::V4(address), &scene.nodes[1], &token).await;
    scene.wait_until_known(0, "bob").await;
    for number in 0..10 {
        ann.send(message(bob.session(), number)).await;
    }
    expect_numbers(&mut bob, 0..10).await;

    let wall = Wall::around(address);
    let begin = tokio::time::Instant::now();
    for number in 10..10 + MESSAGES {
        ann.send(message(bob.session(), number)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lost = bob.lose();
    tokio::time::sleep_until(begin + DEAD).await;
    drop(wall);
    let mut bob = lost.resume(&scene.nodes[back]).await;
    // What is said after he is back comes after what was said before.
    for number in 10 + MESSAGES..20 + MESSAGES {
        ann.send(message(bob.session(), number)).await;
    }
    expect_numbers(&mut bob, 10..20 + MESSAGES).await;
}

/// Drops every packet from and to an address of this machine while it lives.
struct Wall {
    table: String,
}

impl Wall {
    fn around(address: Ipv4Addr) -> Self {
        let name = address.to_string().replace('.', "-");
        let wall = Self { table: format!("iceway-{}-{name}", std::process::id()) };
        let rules = format!(
            "add table ip {table}\nadd chain ip {table} input {{ type filter hook input priority 0; }}\n\
             add rule ip {table} input ip saddr {address} drop\nadd rule ip {table} input ip daddr {address} drop\n",
            table = wall.table
        );
        assert!(nft(&rules), "nft refuses {rules}");
        wall
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        // tests/run looks for what is left.
        nft(&format!("delete table ip {}\n", self.table));
    }
}

/// Whether it is done.
fn nft(rules: &str) -> bool {
    let child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return false };
    let is_written = child.stdin.take().is_some_and(|mut input| input.write_all(rules.as_bytes()).is_ok());
    is_written && child.wait().is_ok_and(|status| status.success())
}
