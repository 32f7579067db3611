//! Events of calls on their way to a backend: a real HTTP receiver, real files, a real Redis, real processes.

#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod alone;
mod node;
mod process;
mod receiver;
mod redis;
#[path = "../support_redis/mod.rs"]
mod support_redis;

use std::collections::HashMap;

use receiver::Seen;

/// Holds what was taken against what it must be: of each call every step, in order.
fn is_complete(taken: &[Seen], calls: usize, steps: u64) {
    let mut by_call: HashMap<&str, Vec<u64>> = HashMap::new();
    for seen in taken {
        let call = seen.body["call"]["id"].as_str().unwrap();
        by_call.entry(call).or_default().push(seen.body["callSeq"].as_u64().unwrap());
    }
    assert_eq!(by_call.len(), calls);
    for (call, sequence) in by_call {
        assert_eq!(sequence, (1..=steps).collect::<Vec<_>>(), "{call}");
    }
}
