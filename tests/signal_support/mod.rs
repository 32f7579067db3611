//! A client of the signaling protocol, the tokens it shows, and nodes to talk to, for whoever tests over real sockets:
//!
//! ```ignore
//! #[path = "../signal_support/mod.rs"]
//! mod signal_support;
//! use signal_support::{Client, Issuer, Node, Setup};
//!
//! let issuer = Issuer::new();
//! let node = Node::start(&issuer, Setup::default().with("signal.hello_timeout", "\"1s\""));
//! let mut ann = Client::open(&node, &issuer.token("ann", "web")).await;      // connects, says hello, has its welcome
//! let room = ann.request(json!({ "type": "join", "room": "r" })).await;      // the `ok`; `refused` for an `error`
//! ann.send(json!({ "type": "message", "to": { "user": "bob" }, "data": 1 })).await;
//! let frame = bob.expect("message").await;      // the next stateful frame, which must be of this type
//! let lost = ann.lose();                        // the socket is gone without a word
//! let mut ann = lost.resume(&other_node).await; // on any node; every `seq` is accounted for, repeated ones are dropped
//! assert_eq!(ann.closed().await, 4009);
//! ```
//!
//! Every stateful frame must have the `seq` after the last one: a client that misses one panics. Frames are acknowledged
//! as they are taken, every sixteen. Everything that waits fails after [`PATIENCE`]. Processes end with the thread that
//! started them, so nodes are started on the thread of the test. Programs that use this need a runtime of tokio.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

mod client;
mod issuer;
mod node;
mod socket;

use std::{future::Future, time::Duration};

pub(crate) use client::{Client, Lost};
pub(crate) use issuer::Issuer;
pub(crate) use node::{API_KEY, Node, Setup};
pub(crate) use socket::{Came, Socket};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen soon.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until something is so, looking again and again.
pub(crate) async fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
